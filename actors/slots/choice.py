"""Answers that are one of a few: yes or no, and named choices."""

from collections.abc import Mapping, Sequence

import attrs

from actors.slots.language import Language
from actors.slots.reading import Puzzled, Understood
from actors.slots.tokens import Phrases, Token, tokens_of

_EXCEPT = frozenset({"but", "except", "besides"})
_ALL = frozenset({"anything", "everything", "all", "any"})
_QUESTIONS = frozenset({"what", "which", "how", "who", "why", "is", "are", "does", "was"})
_PAST = frozenset({"had", "did"})
_NEAR = 2
"""How many words may stand between a negation and what it negates."""


def understand_yes_no(utterance: str, language: Language) -> Understood:
    """Raises Puzzled."""
    tokens = [token for token in tokens_of(utterance) if token.is_word or token.text == "?"]
    heard: list[bool] = []
    judged: list[bool] = []
    first: int | None = None
    others = 0
    negated = -_NEAR - 1
    place = 0
    while place < len(tokens):
        found = language.agreement.at(tokens, place)
        doubt = language.doubts.at(tokens, place)
        word = tokens[place].word
        if doubt is not None and (found is None or found[1] <= doubt[1]):
            place = doubt[1]
            negated = place - 1
            continue
        if language.open_answers.at(tokens, place) is not None:
            raise Puzzled("that may be a yes or a no: ask for yes or no")
        if word in language.hedges or word == "?":
            raise Puzzled("that is neither a clear yes nor a clear no: ask for yes or no")
        if found is not None and not found[0] and _denies_next(tokens, found[1], language):
            place = found[1]
            negated = place - 1
            continue
        if found is not None:
            denied = place - negated <= _NEAR
            heard.append(found[0] != denied)
            if tokens[found[1] - 1].word in language.judgements and (denied or found[1] - place > 1):
                judged.append(heard[-1])
            first = others if first is None else first
            place = found[1]
            continue
        if word in language.negation:
            negated = place
        elif language.fillers.at(tokens, place) is None and language.edits.at(tokens, place) is None:
            others += 1
        place += 1
    if not heard:
        raise Puzzled("neither yes nor no was heard: ask for yes or no")
    heard = judged or heard
    if len(set(heard)) > 1:
        raise Puzzled("both yes and no were heard: ask which of them it is")
    if first and others > 2:
        raise Puzzled("it is not clear whether that was a yes or a no: ask for yes or no")
    text = "yes" if heard[0] else "no"
    return Understood(heard[0], text, "")


def _denies_next(tokens: Sequence[Token], end: int, language: Language) -> bool:
    """Whether the no that ends there ("it's not") is the beginning of a longer statement ("it's not quite wrong")."""
    if tokens[end - 1].word not in language.negation:
        return False
    following = [language.agreement.at(tokens, place) for place in range(end, min(end + _NEAR, len(tokens)))]
    judged = any(token.word in language.judgements for token in tokens[end : end + _NEAR])
    return judged or any(found is not None and found[0] for found in following)


def understand_choice(utterance: str, choices: Mapping[str, tuple[str, ...]], language: Language) -> Understood:
    """Raises Puzzled."""
    names = list(choices)
    exact = next((name for name in names if name == utterance.strip()), None)
    if exact is not None:
        return Understood(exact, exact, "")
    table: dict[str, str] = {}
    for name in names:
        for phrase in (name, *choices[name]):
            words = _words(tokens_of(phrase))
            if words:
                table.setdefault(" ".join(words), name)
    tokens = [
        attrs.evolve(token, word=token.word.removesuffix("'s"))
        for token in tokens_of(utterance)
        if token.is_word or token.is_number or token.is_pause
    ]
    if tokens and tokens[0].word in _QUESTIONS:
        raise Puzzled("that was a question and not a choice: answer it and ask again")
    named = _named(tokens, Phrases(table), language)
    if not named:
        named = _counted(tokens, names, language)
    if named and any(token.word in _PAST for token in tokens):
        raise Puzzled("it is not clear whether that is wanted now or was before: ask which one is wanted now")
    if len(named) == 1:
        return Understood(named[0], named[0], "")
    if named:
        raise Puzzled(f"more than one was named ({', '.join(named)}): ask which one")
    raise Puzzled(f"none of the choices was heard: ask for one of {', '.join(names)}")


def _words(tokens: Sequence[Token]) -> list[str]:
    return [token.word.removesuffix("'s") for token in tokens if token.is_word or token.is_number]


def _named(tokens: list[Token], table: Phrases[str], language: Language) -> list[str]:
    """The choices that are named, without those that are denied; after a correction, those after it."""
    named: list[str] = []
    earlier: list[str] = []
    denied = False
    place = 0
    while place < len(tokens):
        found = table.at(tokens, place)
        if found is not None:
            if place and tokens[place - 1].word == "no":  # "no cleaning"
                denied = True
            if not denied and found[0] not in named:
                named.append(found[0])
            denied = False
            place = found[1]
            continue
        edit = language.edits.at(tokens, place)
        if edit is not None and named:
            earlier, named = named, []
        pair = [token.word for token in tokens[place : place + 2]]
        if tokens[place].word in language.negation or pair in (["instead", "of"], ["rather", "than"]):
            denied = True
        denied = denied or (tokens[place].word in _EXCEPT and place > 0 and tokens[place - 1].word in _ALL)
        place += 1
    return named or earlier


def _counted(tokens: list[Token], names: list[str], language: Language) -> list[str]:
    """The choice that is named by its place: "the second one", "number two", "option 2"."""
    for place, token in enumerate(tokens):
        number = language.ordinals.get(token.word)
        if number is None and place and tokens[place - 1].word in {"number", "option"}:
            number = language.units.get(token.word) or (
                int(token.word) if token.is_number and len(token.word) < 3 else None
            )
        if number is not None and (1 <= number <= len(names) or (number == -1 and names)):
            alone = {"first", "second", "third"} - {token.word}
            if any(other.word in alone or other.word in language.negation for other in tokens):
                return []
            return [names[number - 1 if number > 0 else -1]]
    return []
