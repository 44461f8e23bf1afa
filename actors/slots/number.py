"""Numbers in words and digits, with bounds."""

import math
import re
from collections.abc import Sequence

from actors.slots.language import Language
from actors.slots.reading import Puzzled, Understood
from actors.slots.tokens import Token, plain, tokens_of

_FIGURE = re.compile(r"(?<![\w.,])[-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?(?![\w])|(?<![\w.,])[-]?\d+(?:\.\d+)?(?!\w)")
_AMBIGUOUS = re.compile(
    r"or|to|between|not|less|more|least|most|half|quarter|third|percent|couple|few|several|some|many|no|than|from|under|over|up"
    r"|another|extra|each|per|first|second|last|every|times|minus|negative|point"
)
MOST_DIGITS = 15


def understand_number(utterance: str, language: Language, least: float | None, most: float | None) -> Understood:
    """Raises Puzzled."""
    said = plain(utterance).strip().rstrip(".!?,")
    value = _last_corrected(said, language)
    if (least is not None and value < least) or (most is not None and value > most):
        bounds = f"between {least:g} and {most:g}" if least is not None and most is not None else (
            f"at least {least:g}" if least is not None else f"at most {most:g}"
        )  # fmt: skip
        raise Puzzled(f"{written(value)} is out of range: ask for a number {bounds}")
    text = written(value)
    return Understood(number_of(text), text, "")


def written(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def number_of(text: str) -> int | float:
    """Raises ValueError if `text` is not a finite number in canonical form."""
    if not re.fullmatch(r"-?\d{1,15}(?:\.\d{1,12})?", text, re.ASCII):
        raise ValueError(f"not a number: {text[:40]!r}")
    return float(text) if "." in text else int(text)


def _last_corrected(said: str, language: Language) -> float:
    tokens = tokens_of(said)
    place, start = 0, 0
    last: list[Token] = []
    while place < len(tokens):
        edit = language.edits.at(tokens, place)
        if edit is None:
            place += 1
            continue
        if tokens[start:place]:
            last = tokens[start:place]
        place = start = edit[1]
    rest = tokens[start:]
    turn = next((at for at, token in enumerate(rest) if token.word == "not" and at > 0), None)
    if turn is not None and any(_is_number_word(token, language) for token in rest[:turn]):
        rest = rest[:turn]
    return _one(rest if rest else last, language)


def _one(tokens: Sequence[Token], language: Language) -> float:
    """The only number in the tokens."""
    glued = "".join((("" if token.glued else " ") + token.text) for token in tokens).strip()
    found: list[float] = []
    others: list[str] = []
    matches = list(_FIGURE.finditer(glued))
    if matches:
        if not any(_is_number_word(token, language) and not token.is_number for token in tokens):
            found = [float(match[0].replace(",", "")) for match in matches]
            glued = _FIGURE.sub(" ", glued)
            others = [token.word for token in tokens_of(glued) if token.is_word or token.is_number]
    else:
        place = 0
        while place < len(tokens):
            value = number_at(tokens, place, language)
            if value is not None:
                found.append(value[0])
                place = value[1]
                continue
            if tokens[place].is_word:
                others.append(tokens[place].word)
            place += 1
    if (
        len(found) > 2
        and not matches
        and all(0 <= digit <= 9 for digit in found)
        and found[0]
        and len(found) <= MOST_DIGITS
    ):
        found = [float("".join(str(int(digit)) for digit in found))]
    scales = {language.hundred, "dozen", *language.thousands, *language.repeats}
    odd = next((word for word in others if _AMBIGUOUS.fullmatch(word) or word in scales or word.isdigit()), None)
    if len(found) != 1 or odd is not None:
        many = "no number was heard" if not found else "it is not clear which single number was meant"
        raise Puzzled(f"{many}: ask for one number")
    if not math.isfinite(found[0]) or abs(found[0]) >= 10**MOST_DIGITS:
        raise Puzzled("that number is too large: ask for it again")
    return round(found[0], 12)


def _is_number_word(token: Token, language: Language) -> bool:
    return token.is_number or any(token.word in table for table in (language.units, language.teens, language.tens)) or (
        token.word in language.zeros - {"o", "oh"}
    )  # fmt: skip


def number_at(tokens: Sequence[Token], start: int, language: Language) -> tuple[float, int] | None:
    """The number in words that begins at `start` ("a hundred and five", "three point five", "a dozen"), and its end."""
    place = start
    sign = 1
    if tokens[place].word in {"minus", "negative"} and place + 1 < len(tokens):
        sign, place = -1, place + 1
    whole = _whole(tokens, place, language)
    if whole is None:
        return None
    value, place = float(whole[0]), whole[1]
    decimals = ""
    if place + 1 < len(tokens) and tokens[place].word in {"point", "dot"}:
        after = place + 1
        while after < len(tokens) and (digit := _digit(tokens[after], language)) is not None:
            decimals, after = decimals + digit, after + 1
        if decimals:
            value, place = float(f"{whole[0]}.{decimals[:12]}"), after
    small = tokens[place - 1].word in language.units or tokens[place - 1].word in language.teens
    if not decimals and small and [token.word for token in tokens[place : place + 3]] == ["and", "a", "half"]:
        value, place = value + 0.5, place + 3
    return sign * value, place


def _digit(token: Token, language: Language) -> str | None:
    if token.word in language.zeros:
        return "0"
    return str(language.units[token.word]) if token.word in language.units else None


def _whole(tokens: Sequence[Token], start: int, language: Language) -> tuple[int, int] | None:
    """A whole number in words, each scale smaller than the one before it."""
    total, group, place, seen = 0, 0, start, ""
    ceiling = 10**12
    while place < len(tokens):
        word = tokens[place].word
        if word in {"a", "an"} and not seen and place + 1 < len(tokens) and (
            tokens[place + 1].word in {language.hundred, "dozen"} or tokens[place + 1].word in language.thousands
        ):  # fmt: skip
            group, seen = 1, "unit"
        elif word in language.units and seen in {"", "tens", "hundred", "scale"}:
            group, seen = group + language.units[word], "unit"
        elif word in language.teens and seen in {"", "hundred", "scale"}:
            group, seen = group + language.teens[word], "teen"
        elif word in language.tens and seen in {"", "hundred", "scale"}:
            group, seen = group + language.tens[word], "tens"
        elif word in language.zeros - {"o", "oh"} and not seen:
            return 0, place + 1
        elif word == language.hundred and seen in {"unit", "teen"} and group < 100:
            group, seen = group * 100, "hundred"
        elif word in language.thousands and seen and seen != "scale" and language.thousands[word] < ceiling:
            ceiling = language.thousands[word]
            total, group, seen = total + group * ceiling, 0, "scale"
        elif word == "dozen" and seen in {"unit", "tens"} and not total:
            return group * 12, place + 1
        elif word == "dozen" and not seen:
            return 12, place + 1
        elif word == "and" and seen in {"hundred", "scale"} and place + 1 < len(tokens) and any(
            tokens[place + 1].word in table for table in (language.units, language.teens, language.tens)
        ):  # fmt: skip
            pass
        elif not (tokens[place].text == "-" and seen == "tens"):
            break
        place += 1
    return (total + group, place) if seen else None
