"""Digits as they are dictated: one by one, in pairs, doubled, or in hundreds."""

from collections.abc import Sequence

from actors.slots.language import Language
from actors.slots.tokens import Token


def digits_at(tokens: Sequence[Token], start: int, language: Language) -> tuple[str, int] | None:
    """The digits of one group that begins at `start`, and where it ends: "double five" is "55", "forty-two" is "42"."""
    token = tokens[start]
    if token.is_number:
        return token.text, start + 1
    times = language.repeats.get(token.word)
    if times is not None and start + 1 < len(tokens):
        digit = _unit(tokens[start + 1], language)
        return None if digit is None else (digit * times, start + 2)
    small = small_at(tokens, start, language)
    if small is None:
        return None
    digits, place = small
    after = tokens[place].word if place < len(tokens) else ""
    if after == language.hundred and digits != "0":
        return digits + "00", place + 1
    if language.thousands.get(after) == 1000 and digits != "0":
        return _year(tokens, digits, place + 1, language)
    return digits, place


def small_at(tokens: Sequence[Token], start: int, language: Language) -> tuple[str, int] | None:
    """A number word below a hundred, as digits, and where it ends."""
    word = tokens[start].word
    if word in language.teens:
        return str(language.teens[word]), start + 1
    if word in language.tens:
        place = start + 1
        if place + 1 < len(tokens) and tokens[place].text == "-" and tokens[place].glued:
            place += 1
        if place < len(tokens) and tokens[place].word in language.units:
            return str(language.tens[word] + language.units[tokens[place].word]), place + 1
        return str(language.tens[word]), start + 1
    digit = _unit(tokens[start], language)
    return None if digit is None else (digit, start + 1)


def _year(tokens: Sequence[Token], thousands: str, place: int, language: Language) -> tuple[str, int]:
    """ "two thousand (and) one" is 2001: what follows the thousand stands in its last places."""
    after = place + 1 if place < len(tokens) and tokens[place].word == "and" else place
    rest = small_at(tokens, after, language) if after < len(tokens) and not tokens[after].is_number else None
    return (f"{thousands}0{rest[0]:0>2}", rest[1]) if rest else (thousands + "000", place)


def _unit(token: Token, language: Language) -> str | None:
    if token.word in language.zeros:
        return "0"
    if token.word in language.units:
        return str(language.units[token.word])
    return token.text if token.is_number and len(token.text) == 1 else None


def grouped(digits: str) -> str:
    """Digits to be said one by one, in groups of three and a last one of four or less: "4 1 5, 5 5 5, 0 1 2 3"."""
    groups: list[str] = []
    rest = digits
    while len(rest) > 4:
        groups.append(rest[:3])
        rest = rest[3:]
    return ", ".join(" ".join(group) for group in [*groups, rest])
