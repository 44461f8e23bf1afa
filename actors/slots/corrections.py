"""Corrections of single letters of a value that is held: "the second letter is an M", "no, B as in boy", "with two L's"."""

import re
from collections.abc import Sequence

from actors.slots.language import Language
from actors.slots.letters import alike, letter_at
from actors.slots.reading import Puzzled
from actors.slots.tokens import Token

_LETTER = r"<(\w+)>"
_LEAD = r"(?:(?:no|sorry|it|is|it's|that's|should|be|must|i|said|meant|mean|actually|the|letter|an?|but|wait|oh|yes|just)\s)*"


def marked(tokens: Sequence[Token], language: Language) -> str:
    """The words with every spelled letter as <letter>: "no it's <m> not <n>". Punctuation is left out."""
    words: list[str] = []
    place = 0
    while place < len(tokens):
        token = tokens[place]
        letter = letter_at(tokens, place, language)
        plural = re.fullmatch(r"(\w)'?s", token.word)
        if plural and token.word not in {"as", "is", "us"}:
            words.append(f"<{plural[1]}>")
            place += 1
        elif letter is not None and letter[0].sure:
            words.append(f"<{letter[0].text.lower()}>")
            place = letter[1]
        elif letter is not None and token.word in {"a", "i"} and letter[1] >= len(tokens):
            words.append(f"<{token.word}>")
            place = letter[1]
        else:
            if token.is_word or token.is_number:
                words.append(token.word)
            place += 1
    return " ".join(words)


def letter_edit(tokens: Sequence[Token], held: str, language: Language) -> str | None:
    """`held` with one letter corrected, or None if this is not such a correction. Raises Puzzled if it fits more than once."""
    placed = placed_letter(tokens, held, language)
    if placed is not None:
        return placed
    said = marked(tokens, language)
    if doubled := re.fullmatch(rf"{_LEAD}(?:with )?(?:(?:two|double|2) {_LETTER}|<(\w)\2>)", said):
        return _doubled(held, doubled[1] or doubled[2])
    if doubled := re.fullmatch(rf"{_LEAD}{_LETTER} (?:(?:is|should be|must be) )?(?:doubled|double|twice)", said):
        return _doubled(held, doubled[1])
    if dropped := re.fullmatch(rf"{_LEAD}(?:drop|remove|delete|take out|leave out) (?:an? |the )?{_LETTER}", said):
        return _without(held, dropped[1])
    if single := re.fullmatch(rf"{_LEAD}(?:with )?(?:only )?(?:one|single|a single|only one|1) {_LETTER}", said):
        return _once(held, single[1])
    if without := re.fullmatch(rf"{_LEAD}(?:\w+ )?(?:without (?:(?:an?|the) )?|no (?:an?|the) ){_LETTER}", said):
        return _without(held, without[1])
    if edge := re.fullmatch(rf"{_LEAD}(?:\w+ )?(ends?|ending|starts?|begins?) (?:with|in|on) (?:an? )?{_LETTER}", said):
        return _edged(held, edge[1].startswith("end"), edge[2])
    if exchanged := re.fullmatch(rf"{_LEAD}(?:\w+ )?with (?:an? )?{_LETTER}", said):
        return _confused(held, exchanged[1], language, language.written_alike)
    if alone := re.fullmatch(rf"{_LEAD}{_LETTER}", said):
        return _confused(held, alone[1], language, language.sounds_alike)
    return None


def placed_letter(tokens: Sequence[Token], held: str, language: Language) -> str | None:
    """`held` after "the third letter is a Y, not an I". Raises Puzzled for what is said of a letter's place otherwise."""
    said = marked(tokens, language)
    ordinal = rf"(second to |next to |second )?({'|'.join(re.escape(word) for word in language.ordinals)})"
    place = re.fullmatch(rf"{_LEAD}{ordinal} (?:letter|one|character)"
                         rf"(?: (?:is|should|must|be|it|to|was|in|an?|of|it's))* {_LETTER}"
                         rf"(?: (?:and )?(?:not|instead of|rather than) (?:an? )?(?:<(\w)>|([ai])))?", said)  # fmt: skip
    if place is None:
        if re.search(rf"\b{ordinal} (?:letter|character)\b", said):
            raise Puzzled(f"it is not clear which letter of {held} is wrong: ask for its place and the right letter")
        return None
    number = -2 if place[1] and language.ordinals[place[2]] == -1 else language.ordinals[place[2]]
    return _at(held, number, place[3], place[4] or place[5] or "")


def exchange(tokens: Sequence[Token], held: str, language: Language) -> str | None:
    """`held` after "change the I to a Y", or None if this is nothing like that. Raises Puzzled."""
    either = r"(?:<(\w)>|([ai]))"
    said = marked(tokens, language)
    asked = re.fullmatch(
        rf"{_LEAD}(?:replace|change|swap) (?:the )?{either} (?:with|to|by|for|into) (?:an? )?{_LETTER}", said
    )
    if asked is None:
        return None
    old = asked[1] or asked[2]
    places = _places(held, old)
    if len(places) != 1:
        raise Puzzled(
            f"{old.upper()} is {'more than once' if places else 'not'} in {held}: ask which letter, by its place"
        )
    return replaced(held, places[0], asked[3])


def split_instead(tokens: Sequence[Token], language: Language) -> tuple[list[Token], list[Token]] | None:
    """The new and the old of "M not N", "not N but M", "gmail instead of hotmail"; None if it is nothing like that."""
    place = next((i for i, token in enumerate(tokens) if token.word in {"not", "instead", "rather"}), None)
    if place is None:
        return None
    start = place + 1
    if tokens[place].word != "not":
        if start >= len(tokens) or tokens[start].word not in {"of", "than"}:
            return None
        start += 1
    new, old = list(tokens[:place]), list(tokens[start:])
    if language_words(new, language):
        return _bare(new), _bare(old)
    turn = next((i for i, token in enumerate(old) if token.text == "," or token.word in {"but", "it's"}), None)
    return None if turn is None else (_bare(old[turn + 1 :]), _bare(old[:turn]))


def _bare(tokens: list[Token]) -> list[Token]:
    """Without the words that lead to a letter or a symbol: "with a K", "an underscore"."""
    start = next((at for at, token in enumerate(tokens) if token.is_word), 0)
    while start + 1 < len(tokens) and tokens[start + 1].is_word and tokens[start].word in {"with", "a", "an", "the"}:
        start += 1
    return tokens[start:] if start else tokens


def language_words(tokens: Sequence[Token], language: Language) -> list[Token]:
    """The tokens that say something: no fillers, no marks of correction, no punctuation."""
    kept: list[Token] = []
    place = 0
    while place < len(tokens):
        found = language.fillers.at(tokens, place) or language.edits.at(tokens, place)
        if found is None and (tokens[place].is_word or tokens[place].is_number):
            kept.append(tokens[place])
        place = found[1] if found is not None else place + 1
    return kept


def _letters(held: str) -> list[int]:
    return [place for place, char in enumerate(held) if char.isalnum()]


def _at(held: str, number: int, letter: str, old: str) -> str:
    """`held` with its so-manieth letter replaced, which was `old` if the caller said so."""
    places = _letters(held)
    if " " in held and number not in {1, -1}:
        raise Puzzled(f"it is not clear which word of {held} that letter is in: ask whether the first or the last name")
    index = number - 1 if number > 0 else number
    if not -len(places) <= index < len(places):
        raise Puzzled(f"there are only {len(places)} letters: ask which letter is wrong")
    if old and held[places[index]].casefold() != old:
        raise Puzzled(f"that letter of {held} is no {old.upper()}: ask which letter is wrong")
    return replaced(held, places[index], letter)


def replaced(held: str, place: int, letter: str) -> str:
    """`held` with another letter at one place, in the case of the one that stood there."""
    new = letter.upper() if held[place].isupper() else letter.lower()
    return held[:place] + new + held[place + 1 :]


def _places(held: str, letter: str) -> list[int]:
    return [place for place, char in enumerate(held) if char.casefold() == letter]


def _edged(held: str, end: bool, letter: str) -> str:
    if held[-1 if end else 0].casefold() == letter:
        return held
    raise Puzzled(
        f"{held} does not {'end' if end else 'begin'} with {letter.upper()}: ask whether it is added or replaces a letter"
    )


def _doubled(held: str, letter: str) -> str:
    places = _places(held, letter)
    if len(places) == 2 and places[1] == places[0] + 1:
        return held
    if len(places) != 1:
        raise Puzzled(f"it is not clear which {letter.upper()} is double in {held}: ask for the spelling")
    return held[: places[0] + 1] + letter + held[places[0] + 1 :]


def _once(held: str, letter: str) -> str:
    places = _places(held, letter)
    if len(places) == 1:
        return held
    if len(places) != 2 or places[1] != places[0] + 1:
        raise Puzzled(f"it is not clear which {letter.upper()} is single in {held}: ask for the spelling")
    return held[: places[1]] + held[places[1] + 1 :]


def _without(held: str, letter: str) -> str:
    places = _places(held, letter)
    if not places:
        return held
    if len(places) > 1 or len(_letters(held)) < 2:
        raise Puzzled(f"it is not clear which {letter.upper()} is too much in {held}: ask for the spelling")
    return held[: places[0]] + held[places[0] + 1 :]


def _confused(held: str, letter: str, language: Language, groups: tuple[str, ...]) -> str:
    """`held` with the one letter that is mistaken for `letter` replaced by it."""
    if len(letter) != 1:
        raise Puzzled(f"it is not clear what {letter.upper()} replaces in {held}: ask for the spelling")
    spelled = [char.lower()[:1] for char in held]
    places = [
        place
        for place, char in enumerate(spelled)
        if char != letter and (alike(char, letter, language) if groups is language.sounds_alike else
                               any(char in group and letter in group for group in groups))
    ]  # fmt: skip
    if len(places) == 1 and spelled[places[0] : places[0] + 2] == ["c", "h"]:
        raise Puzzled(f"{held} is not spelled with a mere {letter.upper()} for its C: ask for the spelling")
    if len(places) == 1:
        return replaced(held, places[0], letter)
    if not places and letter in spelled and groups is language.written_alike:
        return held
    if not places:
        raise Puzzled(f"no letter of {held} sounds like {letter.upper()}: ask which letter it replaces")
    which = ", ".join(sorted({spelled[place].upper() for place in places}))
    raise Puzzled(f"{letter.upper()} may replace more than one letter of {held} ({which}): ask which one, by its place")
