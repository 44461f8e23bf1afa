"""Date and time phrases with their numbers in figures: "the fifth of december at quarter to nine" keeps only patterns to find."""

from collections.abc import Sequence

from actors.slots.digits import small_at
from actors.slots.language import Language
from actors.slots.tokens import Token, plain, tokens_of


def in_figures(utterance: str, language: Language) -> str:
    """Case folded, one blank between words; number words as figures ("5", "21st" for ordinals); "3 p.m." as "3 pm"."""
    tokens = tokens_of(plain(utterance))
    out: list[str] = []
    place = 0
    while place < len(tokens):
        token = tokens[place]
        ordinal = _ordinal(tokens, place, language)
        if ordinal is not None:
            out.append(f" {ordinal[0]}th")
            place = ordinal[1]
            continue
        small = None if token.is_number else small_at(tokens, place, language)
        if small is not None and (token.word not in {"o", "oh", "null", "nil"} or _after_number(out)):
            digits, place = small
            if digits == "0" and place < len(tokens) and tokens[place].word in language.units:
                digits, place = f"0{language.units[tokens[place].word]}", place + 1
            if _is_thousand(tokens, place, language):
                digits, place = _year(tokens, digits, place, language)
            out.append(f" {digits}")
            continue
        if token.word in {"a", "p"} and [other.word for other in tokens[place + 1 : place + 3]] == [".", "m"]:
            out.append(f" {token.word}m")
            place += 4 if place + 3 < len(tokens) and tokens[place + 3].text == "." and tokens[place + 3].glued else 3
            continue
        if token.word in {"a", "p"} and place + 1 < len(tokens) and tokens[place + 1].word == "m":
            out.append(f" {token.word}m")
            place += 2
            continue
        out.append(("" if token.glued else " ") + token.word)
        place += 1
    return " ".join("".join(out).split())


def _after_number(out: Sequence[str]) -> bool:
    return bool(out) and out[-1].strip().isdigit()


def _ordinal(tokens: Sequence[Token], place: int, language: Language) -> tuple[int, int] | None:
    word = tokens[place].word
    if tokens[place].is_number and place + 1 < len(tokens) and tokens[place + 1].glued:
        if tokens[place + 1].word in {"st", "nd", "rd", "th"} and len(word) < 3:
            return int(word), place + 2
        return None
    if word in language.tens:
        after = place + 1
        if after < len(tokens) and tokens[after].text == "-":
            after += 1
        if after < len(tokens) and 0 < language.ordinals.get(tokens[after].word, 0) < 10:
            return language.tens[word] + language.ordinals[tokens[after].word], after + 1
    number = language.ordinals.get(word, 0)
    return (number, place + 1) if number > 0 else None


def _is_thousand(tokens: Sequence[Token], place: int, language: Language) -> bool:
    return place < len(tokens) and language.thousands.get(tokens[place].word) == 1000


def _year(tokens: Sequence[Token], digits: str, place: int, language: Language) -> tuple[str, int]:
    """The year 2026 from "two thousand (and) twenty-six"."""
    after = place + 1
    if after < len(tokens) and tokens[after].word == "and":
        after += 1
    rest = small_at(tokens, after, language) if after < len(tokens) else None
    return (f"{digits}0{rest[0]:0>2}", rest[1]) if rest else (f"{digits}000", place + 1)
