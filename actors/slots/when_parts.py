"""The parts of a date and time that a phrase names, found by pattern, before any of them is resolved."""

import re

import attrs

from actors.slots.english_when import BLOCKERS, NEGATIONS, PATTERNS, PartKind
from actors.slots.reading import Puzzled


@attrs.frozen
class Part:
    """`name` of its pattern and what the pattern captured."""

    kind: PartKind
    name: str
    start: int
    found: re.Match[str]


@attrs.frozen
class Found:
    parts: tuple[Part, ...]
    rest: str
    """What no pattern took."""


def find_parts(said: str, bare_hour: bool) -> Found:
    """The parts that `said` (see `when_words`) affirms, in their order. Raises Puzzled for what makes them conditional."""
    parts: list[Part] = []
    left = said
    for kind, name, pattern in PATTERNS:
        if name == "bare" and not bare_hour:
            continue
        for match in pattern.finditer(left):
            parts.append(Part(kind, name, match.start(), match))
        left = pattern.sub(lambda match: "§" * len(match[0]), left)
    parts.sort(key=lambda part: part.start)
    blocked = BLOCKERS.search(left)
    if blocked is not None:
        raise Puzzled(f'"{blocked[0].strip()}" leaves the date or time open: ask for one exact date or time')
    return Found(tuple(_affirmed(parts, left)), left)


def _affirmed(parts: list[Part], left: str) -> list[Part]:
    """Without the parts that follow a "not": up to the next comma or "but", or only one if there is none."""
    denied: set[int] = set()
    for negation in NEGATIONS.finditer(left):
        after = [at for at, part in enumerate(parts) if part.start > negation.start()]
        turn = re.search(r",|\bbut\b", left[negation.end() :])
        end = negation.end() + turn.start() if turn else None
        before_turn = [at for at in after if end is not None and parts[at].start < end]
        denied.update(before_turn or after[:1])
    affirmed = [part for at, part in enumerate(parts) if at not in denied]
    days = {parts[at].found["weekday"] for at in denied if parts[at].kind == "weekday"}
    if any(part.kind == "weekday" and part.found["weekday"] in days for part in affirmed):
        raise Puzzled("the same weekday was named and denied: ask for the date")
    return affirmed
