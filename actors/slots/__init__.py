"""Values that callers give on the phone, understood: what was said becomes a typed, canonical value, or a reason why not.

Pure: the present is given, nothing is remembered. An utterance is the transcript of speech, or what a speech model wrote
into a tool's argument.
"""

import datetime

import attrs

from actors.slots.choice import understand_choice, understand_yes_no
from actors.slots.email import spoken_email, understand_email
from actors.slots.frame import opening_words, unframed
from actors.slots.language import Language
from actors.slots.languages import language_of
from actors.slots.number import number_of, understand_number
from actors.slots.past_date import spoken_past_date, understand_past_date
from actors.slots.person_name import spoken_name, understand_name
from actors.slots.phone import spoken_phone, understand_phone
from actors.slots.reading import Context, Declined, Puzzled, Reading, SlotValue, Unclear, Understood
from actors.slots.tokens import plain, words_of
from actors.slots.when import spoken_day_with_year, understand_when
from actors.slots.when_clock import spoken_time
from conf.flow import SLOT_KINDS

__all__ = [
    "MOST_CHARACTERS",
    "Context",
    "Declined",
    "Reading",
    "SlotValue",
    "Unclear",
    "Understood",
    "read_back",
    "typed",
    "understand",
]

_ANSWERS = frozenset({"yes_no", "choice", "text"})
"""Kinds in which every word may count."""
_NO_VALUE = (
    "that is no value: leave the key out if the caller did not say it, or pass the caller's own words if they did"
)
_KEPT = Unclear("the caller leaves it: what was told before stays as it is, go on", said=False)
MOST_CHARACTERS = 1000
"""Longer utterances are not read: nobody says a value that long, and reading stays quick."""


def understand(kind: str, utterance: str, context: Context, before: str = "") -> Reading:
    """What the caller's words are as a value of `kind`.

    `before` is the canonical text of the value held so far, "" if there is none; a correction of a part of it keeps the
    rest. Raises ValueError for an unknown kind or language, and nothing else.
    """
    _known(kind)
    language = language_of(context.language)
    said = utterance.strip()
    if not said:
        return _no_value(said)
    if len(said) > MOST_CHARACTERS:
        return Unclear("that was too long: ask for this one value alone")
    if _declines(kind, said, context, language):
        return Declined()
    if kind != "yes_no" and said != before and language.dismissals.fullmatch(words_of(said)):
        return _KEPT if before else Declined()
    new = said != before
    if new and _stands_for_none(kind, said, language):
        return _no_value(said)
    if not new:  # a canonical text, in which every hour is exact
        context = attrs.evolve(context, hours="")
    try:
        understood = _understood(kind, said, context, _held(kind, before), language)
        _settled(kind, understood, context, language)
    except Puzzled as puzzled:
        return _no_value(said) if language.placeholders.fullmatch(plain(said)) else Unclear(str(puzzled))
    except OverflowError:
        return Unclear("that is out of range: ask again")
    named = kind == "person_name" and not _spells(said, understood.text)
    if new and named and _stands_for_none(kind, understood.text, language):  # "my name is Unknown"
        return _no_value(said)
    if understood.spoken:
        return understood
    return attrs.evolve(understood, spoken=read_back(kind, understood.text, context.now.date()))


def _declines(kind: str, said: str, context: Context, language: Language) -> bool:
    """Whether the caller gives no value; not if the same words are the answer to the question that was asked."""
    words = words_of(said)
    if kind == "yes_no" or (kind == "choice" and _is_choice(said, context, language)):
        return False
    if language.refusals.fullmatch(words):
        return True
    lack = language.lacks.fullmatch(words)
    if lack is None or kind == "text":  # "Any allergies?" "I don't have any."
        return False
    return kind != "number" or not (lack["count"] or lack["none"])  # "How many children?" "I have none."


def _is_choice(said: str, context: Context, language: Language) -> bool:
    """Whether it is nothing but one of the choices, which may be called "none" or "private"."""
    words = words_of(unframed(said, language))
    return any(words_of(phrase) == words for name, others in context.choices.items() for phrase in (name, *others))


def _stands_for_none(kind: str, text: str, language: Language) -> bool:
    """Whether a model wrote that where it heard nothing: no value, and no refusal either, since nobody refused."""
    if kind == "text":
        return language.unsaid.fullmatch(plain(text)) is not None
    return kind not in _ANSWERS and language.placeholders.fullmatch(plain(text)) is not None


def _no_value(said: str) -> Unclear:
    """A question mark is what models write of words that they did not understand: then there were some."""
    return Unclear(_NO_VALUE, said="?" in said)


def _spells(said: str, text: str) -> bool:
    """Whether a name is spelled, so that it is one even if it looks like no value: "N U L L"."""
    words, name = words_of(said), text.casefold()
    return name not in words or " ".join(name) in words


def _known(kind: str) -> None:
    if kind not in SLOT_KINDS:
        raise ValueError(f"unknown kind {kind!r}; known are {', '.join(SLOT_KINDS)}")


def _held(kind: str, before: str) -> str:
    """`before`, or nothing if it is no canonical text of this kind."""
    try:
        typed(kind, before)
    except ValueError:
        return ""
    return before


def _settled(kind: str, understood: Understood, context: Context, language: Language) -> None:
    """Raises Puzzled if the canonical text would be read as another value: then it was no sound reading."""
    try:
        again = _understood(kind, understood.text, attrs.evolve(context, hours=""), "", language).text
    except Puzzled:
        again = ""
    if again != understood.text:
        raise Puzzled(f'"{understood.text[:80]}" is not clear: ask for it again, letter by letter or digit by digit')


def _understood(kind: str, said: str, context: Context, before: str, language: Language) -> Understood:
    opening = opening_words(said, language)
    if kind not in _ANSWERS:
        said = unframed(said, language)
    match kind:
        case "person_name":
            replaces = not language.retracting.isdisjoint(opening)
            return understand_name(said, before, language, -1.0 if replaces else context.unlike)
        case "email":
            return understand_email(said, before, language)
        case "phone":
            return understand_phone(said, before, language, context.region, context.caller)
        case "number":
            return understand_number(said, language, context.least, context.most)
        case "yes_no":
            return understand_yes_no(said, language)
        case "choice":
            return understand_choice(said, context.choices, language)
        case "text":
            return Understood(said, said, said)
        case "past_date":
            return understand_past_date(said, before, context.now.date(), context.region, language)
        case _:
            return understand_when(kind, said, before, context, language)


def typed(kind: str, text: str) -> SlotValue:
    """The typed value of a canonical text. Raises ValueError for an unknown kind, or a text that is none of this kind."""
    _known(kind)
    match kind:
        case "date_time":
            return datetime.datetime.fromisoformat(text)
        case "date" | "past_date":
            return datetime.date.fromisoformat(text)
        case "time":
            return datetime.time.fromisoformat(text)
        case "number":
            return number_of(text)
        case "yes_no":
            if text not in {"yes", "no"}:
                raise ValueError(f"neither yes nor no: {text[:40]!r}")
            return text == "yes"
        case _:
            return text


def read_back(kind: str, text: str, today: datetime.date | None = None) -> str:
    """How to say a canonical text to the caller: with its year, if it is about a year from `today`. Raises ValueError as
    `typed` does."""
    value = typed(kind, text)
    language = language_of("en")
    if isinstance(value, datetime.datetime):
        return f"{spoken_day_with_year(value.date(), today)} at {spoken_time(value.time())}"
    if isinstance(value, datetime.date):
        return spoken_past_date(value) if kind == "past_date" else spoken_day_with_year(value, today)
    if isinstance(value, datetime.time):
        return spoken_time(value)
    match kind:
        case "person_name":
            return spoken_name(text, language)
        case "email":
            return spoken_email(text, language)
        case "phone":
            return spoken_phone(text)
        case _:
            return text
