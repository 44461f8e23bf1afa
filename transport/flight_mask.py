"""What a flight recording hides: secrets, and the middle of telephone numbers, in such a way that it can still be replayed.

A number with asterisks in it would be no number to the code that reads it, and the replay would be of another call. So its
last seven digits but two are replaced by those of fiction (555 01..), wherever it stands and however it is written: with
spaces, read out digit by digit, in words. Of what is longer than a telephone number, as that of a card, only the beginning is
kept. Hidden twice it stays the same.
"""

import re
from collections.abc import Iterable, Mapping
from typing import cast

from transport.log import hide_secrets, is_secret

FICTION = "55501"
SHORTEST = len(FICTION) + 2
LONGEST = 13
"""Digits of a telephone number, with what is dialled before it."""
CARD_KEPT = 4
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_VALUES = {word: str(value) for value, word in enumerate(DIGITS)} | {"oh": "0"}
_WORDS = "|".join(_VALUES)
_DIGIT = rf"(?:\d|\b(?:(?:double|triple) +)?(?:{_WORDS}|\d)\b)"
_NUMBER = re.compile(rf"(?<![\w.-])\+?{_DIGIT}(?:[ ,.()-]{{0,3}}{_DIGIT}){{3,}}(?![\w-])", re.IGNORECASE)
_PART = re.compile(rf"\b(?:(double|triple) +)?({_WORDS}|\d)\b|\d", re.IGNORECASE)
_DATE = re.compile(r"\d{4}-\d\d-\d\d\b|\d\d?\.\d\d?\.\d{4}\Z")
DEPTH_AT_MOST = 12
"""Levels of a nested value; what is deeper is left out."""


def hide(text: str) -> str:
    """`text` without secrets, its telephone numbers fictional."""
    return _NUMBER.sub(_fictional, hide_secrets(text))


def hide_in(value: object, depth: int = 0) -> object:
    """As `hide`, in plain data, however deep."""
    if isinstance(value, str):
        return hide(value)
    if type(value) is int and abs(value) >= 10 ** (SHORTEST - 1):
        return int(_NUMBER.sub(_fictional, str(value)))
    if isinstance(value, Mapping):
        pairs = cast("Mapping[object, object]", value).items() if depth < DEPTH_AT_MOST else ()
        return {hide(str(k)): "***" if is_secret(str(k)) else hide_in(inner, depth + 1) for k, inner in pairs}
    if isinstance(value, list | tuple):
        return [hide_in(inner, depth + 1) for inner in cast("Iterable[object]", value)] if depth < DEPTH_AT_MOST else []
    return value


def hide_in_pieces(pieces: list[str]) -> list[str]:
    """As `hide`, where a text came in pieces and a number may go across them. As many pieces come back."""
    whole = "".join(pieces)
    hidden = hide(whole)
    if hidden == whole:
        return pieces
    found: list[str] = []
    end, done = 0, 0
    for piece in pieces:
        end += len(piece)
        until = end * len(hidden) // len(whole)
        found.append(hidden[done:until])
        done = until
    return found


def _fictional(match: re.Match[str]) -> str:
    text = match.group()
    digits = "".join(_read(part) for part in _PART.finditer(text))
    if len(digits) < SHORTEST or _DATE.match(text):
        return text
    kept = len(digits) - SHORTEST if len(digits) <= LONGEST else CARD_KEPT
    new = iter(digits[:kept] + (FICTION * len(digits))[: len(digits) - kept - 2] + digits[-2:])

    def write(part: re.Match[str]) -> str:
        old = _read(part)
        digits = "".join(next(new) for _ in old)
        if digits == old:
            return part.group()
        return digits if part.group().isdigit() else " ".join(DIGITS[int(digit)] for digit in digits)

    return _PART.sub(write, text)


def _read(part: re.Match[str]) -> str:
    """The digits that a part of a number stands for."""
    word = part.group(2) or part.group()
    times = {"double": 2, "triple": 3}.get((part.group(1) or "").lower(), 1)
    return _VALUES.get(word.lower(), word) * times
