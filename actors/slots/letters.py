"""Speech as pieces: letters that were spelled, words, digits, symbols, and the marks by which callers correct themselves."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import attrs

from actors.slots.digits import digits_at
from actors.slots.language import Language
from actors.slots.reading import Puzzled
from actors.slots.tokens import Token

_ARTICLES = frozenset({"the", "an", "my", "your", "that", "this"})
"""What a letter is never made clear by: "E, like the flower"."""

PieceKind: TypeAlias = Literal["letter", "word", "digits", "symbol", "edit", "restart", "filler"]


@attrs.frozen
class Piece:
    kind: PieceKind
    text: str
    """What it stands for: lower-case letters (capitals only where "capital" was said), the word as written, digits."""
    pause: bool = False
    """Whether punctuation stands before it."""
    spoken: str = ""
    """A letter's own word ("Kilo", "see"), which it becomes again where nothing else is spelled; and how digits and
    symbols were said or written ("eleven", "-")."""
    sure: bool = True
    """Whether it can only be a letter."""


def pieces_of(tokens: Sequence[Token], language: Language) -> list[Piece]:
    """Raises Puzzled where a letter and its word contradict each other ("B as in dog")."""
    pieces: list[Piece] = []
    tokens = _unhyphened(tokens, language)
    place, pause = 0, False
    while place < len(tokens):
        piece, after = _piece_at(tokens, place, language)
        if piece is None:
            pause = True
        else:
            pieces.append(attrs.evolve(piece, pause=pause))
            pause = False
        place = after
    return _zeros(_settled(pieces, language))


def _piece_at(tokens: Sequence[Token], place: int, language: Language) -> tuple[Piece | None, int]:
    token = tokens[place]
    if token.text == "-" and _between_letters(tokens, place):
        return None, place + 1
    if token.text == "." and place + 1 < len(tokens) and token.glued and tokens[place + 1].glued:
        if not _between_letters(tokens, place):
            return Piece("symbol", "."), place + 1
        return None, place + 1
    if token.text == "-" and (token.glued or place + 1 == len(tokens) or not tokens[place + 1].glued):
        glued_after = place + 1 < len(tokens) and tokens[place + 1].glued
        if not (token.glued and glued_after):
            return None, place + 1
    letter = letter_at(tokens, place, language)
    if letter is not None and letter[0].sure and letter[1] > place + 1:
        return letter
    edit, filler = language.edits.at(tokens, place), language.fillers.at(tokens, place)
    if edit is not None and (filler is None or edit[1] >= filler[1]):
        return Piece("restart" if edit[0] else "edit", token.text), edit[1]
    if filler is not None:
        return Piece("filler", " ".join(word.word for word in tokens[place : filler[1]])), filler[1]
    symbol = language.symbols.at(tokens, place)
    if symbol is not None:
        return Piece("symbol", symbol[0], spoken=token.word), symbol[1]
    if letter is not None:
        return letter
    if place and token.is_word and token.glued and tokens[place - 1].is_number:  # "7eleven"
        return Piece("word", token.text), place + 1
    digits = digits_at(tokens, place, language)
    if digits is not None:
        said = " ".join(token.word for token in tokens[place : digits[1]])
        return Piece("digits", digits[0], spoken=said), digits[1]
    if token.is_word:
        return Piece("word", token.text), place + 1
    if token.is_pause:
        return None, place + 1
    return Piece("symbol", token.text), place + 1


def _unhyphened(tokens: Sequence[Token], language: Language) -> list[Token]:
    """Without the hyphens around "double" among letters: "T-O-double-M-Y"."""
    kept: list[Token] = []
    for place, token in enumerate(tokens):
        near = tokens[max(place - 1, 0) : place + 2]
        among = len(near) == 3 and token.text == "-" and token.glued and near[-1].glued
        sides = {near[0], near[-1]}
        doubles = any(side.word in language.repeats for side in sides) and any(len(side.text) == 1 for side in sides)
        if not (among and doubles):
            kept.append(token)
    return kept


def _between_letters(tokens: Sequence[Token], place: int) -> bool:
    """Whether a hyphen or dot only separates spelled letters: "S-M-I-T-H"."""
    if place == 0 or place + 1 >= len(tokens):
        return False
    return all(len(token.text) == 1 and token.is_word for token in (tokens[place - 1], tokens[place + 1]))


def letter_at(tokens: Sequence[Token], start: int, language: Language) -> tuple[Piece, int] | None:
    """The letter, or the doubled letter, that begins at `start`, and where it ends."""
    capital = language.capital.at(tokens, start)
    if capital is not None:
        inner = None if language.capital.at(tokens, capital[1]) else letter_at(tokens, capital[1], language)
        if inner is None:
            return None
        text = inner[0].text.upper() if capital[0] else inner[0].text.lower()
        return Piece("letter", text, spoken=inner[0].spoken), inner[1]
    if start >= len(tokens):
        return None
    double_u = language.double_u.at(tokens, start)
    if double_u is not None:
        return _with_word(tokens, double_u[1], Piece("letter", double_u[0]), language)
    word = tokens[start].word
    times = language.repeats.get(word)
    if times is not None:
        nested = start + 1 < len(tokens) and (
            tokens[start + 1].word in language.repeats or language.capital.at(tokens, start + 1)
        )
        inner = None if nested else letter_at(tokens, start + 1, language)
        if inner is None or len(inner[0].text) > 1 or (not inner[0].sure and inner[0].text in "o"):
            return None
        return Piece("letter", inner[0].text * times), inner[1]
    if len(word) == 1 and tokens[start].is_word:
        piece = Piece("letter", word, spoken=tokens[start].text, sure=word not in "ai")
    else:
        name = language.letter_names.get(word) or language.letter_words.get(word) or language.alphabet.get(word)
        if word == "x" and start + 2 < len(tokens) and tokens[start + 2].word == "ray":
            name = "x"
        if name is None:
            return None
        piece = Piece("letter", name, spoken=tokens[start].text, sure=False)
    if word in language.alphabet:
        return piece, start + 1
    return _with_word(tokens, start + 1, piece, language)


def _with_word(tokens: Sequence[Token], place: int, letter: Piece, language: Language) -> tuple[Piece, int]:
    """A letter, with the word by which it was made clear: "J as in John"."""
    here = place
    while here < len(tokens) and tokens[here].text in {",", "."}:
        here += 1
    link = language.as_in.at(tokens, here)
    if link is None or link[1] >= len(tokens):
        return letter, place
    word = tokens[link[1]]
    if not word.is_word or len(word.word) < 2 or word.word in _ARTICLES:
        return letter, place
    if word.word.startswith(letter.text) or _sounds(letter.text, word.word, language):
        return attrs.evolve(letter, sure=True, spoken=""), link[1] + 1
    if alike(letter.text, word.word[0], language):
        return attrs.evolve(letter, text=word.word[0], sure=True, spoken=""), link[1] + 1
    if link[1] - here == 1:
        return letter, place
    raise Puzzled(
        f'the letter {letter.text.upper()} and the word "{word.text}" do not go together: ask for this letter again'
    )


def _sounds(letter: str, word: str, language: Language) -> bool:
    """Whether the word begins with the letter's sound, though not with the letter: "X as in extra"."""
    return any(
        name == letter and word.startswith(spoken) for spoken, name in language.letter_names.items() if len(spoken) == 2
    )


def alike(one: str, other: str, language: Language) -> bool:
    """Whether two letters are mistaken for each other on the phone."""
    return one != other and any(one in group and other in group for group in language.sounds_alike)


def _settled(pieces: list[Piece], language: Language) -> list[Piece]:
    """Decides which of the words that may be letters are letters; the others become words."""
    settled: list[Piece] = []
    place = 0
    while place < len(pieces):
        if pieces[place].kind != "letter":
            settled.append(pieces[place])
            place += 1
            continue
        end = place
        while end < len(pieces) and pieces[end].kind == "letter":
            end += 1
        settled += _run(pieces[place:end], language)
        place = end
    return settled


def _run(run: list[Piece], language: Language) -> list[Piece]:
    """One run of possible letters. A word that is a name counts only among enough others ("Mike, M I K E")."""
    first = run[0]
    if not first.sure and len(first.spoken) > 1 and len(run) > 2 and run[1].sure and run[1].text == first.text:
        return [Piece("word", first.spoken, pause=first.pause), *_run(run[1:], language)]
    coded = [piece for piece in run if piece.spoken.casefold() in language.alphabet]
    names_only = all(piece.spoken.casefold() in language.alphabet_names for piece in run)
    named = [piece for piece in run if piece.spoken.casefold() in language.letter_names]
    single = [piece for piece in run if piece.sure or len(piece.spoken) == 1]
    if coded and coded[0] is first and len(coded) == 1 and not first.sure:
        rest = _run(run[1:], language) if len(run) > 1 else []
        return [Piece("word", first.spoken, pause=first.pause), *rest]
    if len(run) > 2 and not (single or named or coded):
        heard = " ".join(piece.spoken for piece in run)
        raise Puzzled(f'"{heard[:60]}" may be letters or words: ask for each letter with a word, such as A as in apple')
    enough = (len(run) >= (4 if names_only else 3) and bool(single or named or coded)) or (
        len(run) == 2 and bool(named)
    )
    return [
        piece if piece.sure or len(piece.spoken) == 1 or enough else Piece("word", piece.spoken, pause=piece.pause)
        for piece in run
    ]


def _zeros(pieces: list[Piece]) -> list[Piece]:
    """The letter O next to a digit, and next to no letter, is a zero; surely so only between two digits."""
    found: list[Piece] = []
    said = [piece for piece in pieces if piece.kind != "filler"]
    sides = {
        id(piece): [said[at].kind for at in (place - 1, place + 1) if 0 <= at < len(said)]
        for place, piece in enumerate(said)
    }
    for piece in pieces:
        around = sides.get(id(piece), [])
        word = piece.text if piece.kind == "word" else piece.spoken if piece.kind == "letter" else ""
        doubled = piece.kind == "letter" and not piece.spoken and piece.text in {"oo", "ooo"}  # "double O seven"
        zero = (doubled or word.casefold() in {"o", "oh"}) and "digits" in around and "letter" not in around
        zeros = "0" * len(piece.text) if doubled else "0"
        found.append(Piece("digits", zeros, pause=piece.pause, sure=around.count("digits") == 2) if zero else piece)
    return found
