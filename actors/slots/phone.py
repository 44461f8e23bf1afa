"""Telephone numbers, to E.164."""

import re
from collections.abc import Sequence

import phonenumbers

from actors.slots.corrections import split_instead
from actors.slots.digits import digits_at, grouped
from actors.slots.language import Language
from actors.slots.reading import Puzzled, Understood
from actors.slots.tokens import Token, tokens_of, words_of

_BEFORE_DIGITS = frozenset({"digit", "digits", "number", "numbers", "in", "with", "are", "is", "be"})
_SKIPPED = frozenset(",.-()/:;!?…'\"#")


def understand_phone(utterance: str, before: str, language: Language, region: str, caller: str = "") -> Understood:
    """`caller`: the number that is being called from, if it is known. Raises Puzzled."""
    tokens = tokens_of(utterance)
    if not any(token.is_number for token in tokens) and language.own_number.search(words_of(utterance)):
        if caller.startswith("+") and not any(token.word in language.negation for token in tokens):
            return _understood(caller, "", region)
        raise Puzzled(
            "the caller means the telephone in use, whose number is not given here: ask for it digit by digit"
        )
    if before:
        corrected = _corrected(tokens, before, language, region)
        if corrected is not None:
            return _understood(corrected, "", region)
    segments = _segments(tokens, language)
    digits, extension = segments[0]
    for more, later in segments[1:]:
        digits, extension = _mended(digits, more, region), later or extension
    return _understood(digits, extension, region)


def _segments(tokens: Sequence[Token], language: Language) -> list[tuple[str, str]]:
    """Digits (with a leading plus) and extension, for the utterance and each correction within it."""
    segments: list[tuple[str, str]] = []
    digits, extension, extending = "", "", False
    place = 0
    while place < len(tokens):
        if language.extension.at(tokens, place) and digits:
            extending = True
            place += 1
            continue
        plus = language.plus.at(tokens, place)
        edit = language.edits.at(tokens, place)
        lead = language.phone_leads.at(tokens, place) or language.fillers.at(tokens, place)
        found = digits_at(tokens, place, language)
        if plus is not None and not digits:
            digits, place = "+", plus[1]
        elif found is not None:
            digits, extension = (digits, extension + found[0]) if extending else (digits + found[0], extension)
            place = found[1]
        elif edit is not None:
            if digits.strip("+"):
                segments.append((digits, extension))
                digits, extension, extending = "", "", False
            place = edit[1]
        elif lead is not None:
            place = lead[1]
        elif tokens[place].text in _SKIPPED:
            place += 1
        else:
            raise Puzzled(f'"{tokens[place].text}" could not be read as digits: ask for the number digit by digit')
    if digits.strip("+") or not segments:
        segments.append((digits, extension))
    return segments


def _mended(held: str, more: str, region: str) -> str:
    """`held` with its end replaced by `more`, so that a number comes out; or `more`, if it is one."""
    if is_valid(more, region):
        return more
    numbers = {held[:-cut] + more for cut in range(1, len(more) + 1) if cut <= len(held)}
    fitting = sorted(number for number in numbers if is_valid(number, region))
    if len(fitting) == 1:
        return fitting[0]
    raise Puzzled("the caller corrected some digits and it is not clear which: ask for the whole number again")


def _parsed(digits: str, region: str) -> phonenumbers.PhoneNumber | None:
    try:
        return phonenumbers.parse(digits, region)
    except phonenumbers.NumberParseException:
        return None


def is_valid(digits: str, region: str) -> bool:
    """Whether there is such a number."""
    number = _parsed(digits, region)
    return number is not None and phonenumbers.is_valid_number(number)


def _understood(digits: str, extension: str, region: str) -> Understood:
    many = len(digits.strip("+"))
    heard = "no digits were" if many == 0 else "one digit was" if many == 1 else f"{many} digits were"
    number = _parsed(digits, region)
    if number is None or not phonenumbers.is_possible_number(number):
        raise Puzzled(f"{heard} heard, which is not a whole phone number: ask for the number with its area code")
    if not phonenumbers.is_valid_number(number):
        raise Puzzled(f"{heard} heard, and no such phone number exists: ask for the number again, digit by digit")
    if phonenumbers.number_type(number) == phonenumbers.PhoneNumberType.PREMIUM_RATE:
        # Whoever texts it or calls it back pays the caller for that.
        raise Puzzled("this is a premium-rate number, which is neither called nor texted: ask for another one")
    text = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    spoken = f"{spoken_phone(text)}, without the extension {grouped(extension)}" if extension else ""
    return Understood(text, text, spoken)


def spoken_phone(text: str) -> str:
    """The digits one by one, in the groups in which the country writes them: "plus 1, 4 1 5, 5 5 5, 0 1 2 3"."""
    number = _parsed(text, "ZZ")
    if number is None:
        return grouped(text.strip("+"))
    written = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.INTERNATIONAL)
    groups = [" ".join(group) for group in re.findall(r"\d+", written)]
    return "plus " + ", ".join(groups)


def _corrected(tokens: list[Token], before: str, language: Language, region: str) -> str | None:
    """`before` with some digits corrected, or None if a new number was given. Raises Puzzled."""
    number = _parsed(before, region)
    if number is None:
        return None
    parts = split_instead(tokens, language)
    national = phonenumbers.national_significant_number(number)
    if parts is not None:
        new, old = (_digits_of(part, language) for part in parts)
        if not new or national.count(old) != 1 or not old:
            raise Puzzled(
                f"it is not clear which digits of {spoken_phone(before)} are wrong: ask for the whole number again"
            )
        return f"+{number.country_code}{national.replace(old, new)}"
    words = " ".join(token.word for token in tokens if token.is_word or token.is_number)
    new = _digits_of(tokens, language)
    if re.search(r"\barea code\b", words) and len(new) < 7:
        length = phonenumbers.length_of_geographical_area_code(number)
        if length == 0 or len(new) != length:
            raise Puzzled(f"{len(new)} digits were heard for the area code: ask for the whole number again")
        return f"+{number.country_code}{new}{national[length:]}"
    if re.search(r"\bcountry code\b", words) and 0 < len(new) < 4:
        return f"+{new}{national}"
    place = re.search(
        r"\b(first|last|final|ends?|ending|starts?|begins)\b(?: (?:in|with))?(?: (\w+))?(?: (?:digits?|numbers?|ones?))?\b",
        words,
    )
    if place is None:
        return None
    return f"+{number.country_code}" + _ended(
        tokens, national, language, place[1] in {"first", "start", "starts", "begins"}
    )


def _ended(tokens: list[Token], national: str, language: Language, front: bool) -> str:
    """The national number with its first or last digits replaced; "the last four digits are 1 2 3 4"."""
    after = next(
        (i for i, token in enumerate(tokens) if token.word in _BEFORE_DIGITS),
        -1,
    )
    new = _digits_of(tokens[after + 1 :], language)
    count = _digits_of(tokens[: after + 1], language) if after >= 0 else ""
    single = after >= 0 and tokens[after].word == "digit"
    stated = 1 if single else int(count) if count and len(count) < 3 else len(new)
    if not new or stated != len(new) or len(new) >= len(national):
        raise Puzzled(f"{len(new)} digits were heard for a part of the number: ask for the whole number again")
    return new + national[len(new) :] if front else national[: -len(new)] + new


def _digits_of(tokens: Sequence[Token], language: Language) -> str:
    digits, place = "", 0
    while place < len(tokens):
        found = digits_at(tokens, place, language)
        digits, place = (digits + found[0], found[1]) if found else (digits, place + 1)
    return digits
