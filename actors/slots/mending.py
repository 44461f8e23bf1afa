"""Corrections in the middle of an utterance: "j o h m, no, n" as pieces."""

from collections.abc import Sequence
from difflib import SequenceMatcher

from actors.slots.language import Language
from actors.slots.letters import Piece, PieceKind, alike
from actors.slots.reading import Puzzled

UNPLACED = (
    "the caller corrected something and it is not clear which part: ask for the whole again, spelled letter by letter"
)


def mended(pieces: Sequence[Piece], language: Language) -> list[Piece]:
    """The pieces that hold in the end. Raises Puzzled if a correction fits nowhere."""
    held: list[Piece] = []
    part: list[Piece] = []
    restart = False
    for piece in [*pieces, None]:
        if piece is not None and piece.kind not in {"edit", "restart"}:
            part.append(piece)
            continue
        if [kept for kept in part if kept.kind != "filler"]:
            held = _merged(held, part, restart, language)
            part, restart = [], False
        restart = restart or (piece is not None and piece.kind == "restart")
    return held


def _merged(held: list[Piece], part: list[Piece], restart: bool, language: Language) -> list[Piece]:
    new = [piece for piece in part if piece.kind != "filler"]
    old = [piece for piece in held if piece.kind != "filler"]
    if not old:
        return part
    if restart and len(new) > 1 and (_has_at(new) or not _has_at(old)):
        return part
    if _has_at(new) and _has_at(old):
        return [*old[: _index_of_at(old)], *new] if new[0].text == "@" else part
    spelled = _leading(new, "letter")
    if spelled:
        return _respelled(old, new, spelled, language)
    digits, replaced = _leading(new, "digits"), _leading(old[::-1], "digits")
    if digits > 1 and replaced > 1:
        if digits != replaced:
            raise Puzzled(UNPLACED)
        return [*old[:-replaced], *new]
    size = len(new)
    if size <= len(old) and [piece.kind for piece in old[-size:]] == [piece.kind for piece in new]:
        return [*old[:-size], *new]
    if old[-1].kind == new[0].kind:
        return [*old[:-1], *new]
    raise Puzzled(UNPLACED)


def _respelled(old: list[Piece], new: list[Piece], spelled: int, language: Language) -> list[Piece]:
    """`new` begins with letters: one replaces the last letter, several replace the letters they resemble."""
    tail = _leading(old[::-1], "letter")
    if tail == 0:
        raise Puzzled(UNPLACED)
    if spelled == 1:
        return [*old[:-1], *new]
    before = "".join(piece.text for piece in old[-tail:])
    after = "".join(piece.text for piece in new[:spelled])
    if before[0] == after[0] and similarity(before, after) >= 0.5:
        return [*old[:-tail], *new]
    if alike(old[-1].text, new[0].text, language):
        return [*old[:-1], *new]
    raise Puzzled(UNPLACED)


def _has_at(pieces: Sequence[Piece]) -> bool:
    return any(piece.text == "@" for piece in pieces)


def _index_of_at(pieces: Sequence[Piece]) -> int:
    return next(place for place, piece in enumerate(pieces) if piece.text == "@")


def _leading(pieces: Sequence[Piece], kind: PieceKind) -> int:
    """How many pieces of a kind stand at the beginning."""
    return next((place for place, piece in enumerate(pieces) if piece.kind != kind), len(pieces))


def similarity(one: str, other: str) -> float:
    """How alike two spellings are, from 0 to 1."""
    return SequenceMatcher(None, one.casefold()[:60], other.casefold()[:60], autojunk=False).ratio()
