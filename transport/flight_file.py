"""A flight recording on disk: lines of JSON in gzip. A head, what happened in the order of its writing, and an end.

    {"flight": 1, "call_sid": …, "flow": …, …}            what the call was begun with
    [12.345678, "<", "model", "SpeechStarted", […]]        seconds since then, way, lane, what, value
    {"end": 61.2, "cut": null, "left_out": 0}

`<` came in, `>` is what the call did: replayed, the one is given and the other is compared. A file may come from anywhere:
everything in it is a claim, and it is read within bounds.
"""

import datetime
import zlib
from pathlib import Path
from typing import Any, cast

import attrs
import msgspec

VERSION = 1
ENDING = ".flight.jsonl.gz"
IN, OUT = "<", ">"
FILE_AT_MOST = 1024 * 1024
"""Bytes of a file; one that was written here has a quarter of it at most."""
TEXT_AT_MOST = 16 * 1024 * 1024
"""Bytes of what is in it."""
PARTS_AT_MOST = 4096
SECONDS_AT_MOST = 36_000.0
"""Of a call; longer than any that the settings allow."""
ENDPOINTS_AT_MOST = 16
_GZIP = 16 + zlib.MAX_WBITS


class BadFlight(Exception):
    """A file that is no recording, or none that this version can replay; the text is a sentence."""


@attrs.frozen
class Entry:
    """One thing that came in or was done, `at` seconds after the call began."""

    at: float
    way: str
    lane: str
    what: str
    value: Any


class Head(msgspec.Struct, kw_only=True):
    """What a call was begun with. Numbers are hidden (see `flight_mask.py`); there is no token and no key."""

    flight: int
    call_sid: str
    stream_sid: str
    flow: str
    wall: str
    """The time of its beginning, UTC, as ISO 8601."""
    before: str = "nothing"
    caller: str = ""
    called: str = ""
    story: dict[str, Any] | None = None
    outcome: str = ""
    settings: dict[str, dict[str, Any]] = {}
    human: bool = False
    """Whether there was a human to transfer to."""
    endpoints: int = 1


@attrs.frozen
class Flight:
    """A recording that was read."""

    head: Head
    entries: tuple[Entry, ...]
    """By time."""
    seconds: float
    cut: float | None
    """From when on nothing was recorded any more, because there was too much."""

    def of(self, way: str, lane: str) -> list[Entry]:
        """The entries of one lane."""
        return [entry for entry in self.entries if (entry.way, entry.lane) == (way, lane)]


def read(path: Path) -> Flight:
    """The recording at `path`. Raises BadFlight."""
    try:
        with path.open("rb") as file:
            data = file.read(FILE_AT_MOST + 1)
    except OSError as error:
        raise BadFlight(f"{path} cannot be read: {error.strerror}.") from error
    if len(data) > FILE_AT_MOST:
        raise BadFlight(f"{path} is no recording of a call: it is larger than {FILE_AT_MOST // 1024} kB.")
    try:
        return parse(unpacked(data))
    except BadFlight as bad:
        raise BadFlight(f"{path} cannot be replayed: {bad}") from bad


def pack(lines: bytes) -> bytes:
    """`lines` as a part of a file: such parts may follow one another."""
    return zlib.compress(lines, 6, _GZIP)


def unpacked(data: bytes) -> bytes:
    """What `pack` has packed, part by part. Raises BadFlight."""
    found = bytearray()
    for _ in range(PARTS_AT_MOST):
        part = zlib.decompressobj(_GZIP)
        try:
            found += part.decompress(data, TEXT_AT_MOST + 1 - len(found))
        except zlib.error as error:
            raise BadFlight(f"it is not gzip, or it is damaged ({error}).") from error
        if len(found) > TEXT_AT_MOST or part.unconsumed_tail:
            raise BadFlight(f"there are more than {TEXT_AT_MOST // 1024 // 1024} MB in it.")
        if not part.eof:
            raise BadFlight("it breaks off in the middle.")
        data = part.unused_data
        if not data:
            return bytes(found)
    raise BadFlight(f"there are more than {PARTS_AT_MOST} parts in it.")


def parse(text: bytes) -> Flight:
    """The recording in `text`. Raises BadFlight."""
    first, *lines = text.splitlines() or [b""]
    head = _head(first)
    if not lines:
        raise BadFlight("it has no end.")
    *middle, last = lines
    end = _decoded(last, len(lines) + 1)
    if not isinstance(end, dict) or "end" not in end:
        raise BadFlight("it has no end.")
    closing = cast("dict[str, object]", end)
    seconds, cut = _seconds(closing["end"], len(lines) + 1), closing.get("cut")
    entries = [_entry(_decoded(line, number), number) for number, line in enumerate(middle, 2)]
    entries.sort(key=lambda entry: entry.at)  # some are written when they are over, under the time of their beginning
    return Flight(head, tuple(entries), seconds, None if cut is None else _seconds(cut, len(lines) + 1))


def _head(line: bytes) -> Head:
    value = _decoded(line, 1)
    version = cast("dict[str, object]", value).get("flight") if isinstance(value, dict) else None
    if not isinstance(version, int):
        raise BadFlight("it is no recording of a call: its first line does not say so.")
    if version != VERSION:
        raise BadFlight(f"it is of version {version}, and this is the program for version {VERSION}.")
    try:
        head = msgspec.convert(value, Head)
        if not 2000 <= datetime.datetime.fromisoformat(head.wall).year < 2200:
            raise ValueError(f"{head.wall} is no time of a call")
        if not 0 < head.endpoints <= ENDPOINTS_AT_MOST:
            raise ValueError(f"{head.endpoints} places where a model may be")
    except (msgspec.ValidationError, ValueError) as error:
        raise BadFlight(f"line 1 is not what it should be: {error}.") from error
    return head


def _decoded(line: bytes, number: int) -> object:
    try:
        return msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise BadFlight(f"line {number} is no JSON: {error}.") from error


def _entry(value: object, number: int) -> Entry:
    fields = cast("list[object]", value) if isinstance(value, list) else []
    if len(fields) != 5:
        raise BadFlight(f"line {number} is no list of time, way, lane, what and value.")
    at, way, lane, what, inner = fields
    if way not in (IN, OUT) or not isinstance(lane, str) or not isinstance(what, str):
        raise BadFlight(f"line {number} says no way, or no lane.")
    return Entry(_seconds(at, number), str(way), lane, what, inner)


def _seconds(value: object, number: int) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadFlight(f"line {number} has no time.")
    if not 0 <= value <= SECONDS_AT_MOST:
        raise BadFlight(f"line {number} is at {str(value)[:20]} s, which is in no call.")
    return float(value)
