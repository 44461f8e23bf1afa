"""The outside of a call that is replayed: ports that give what a recording says, when it says so, and send nothing anywhere.

What may answer something that the call did waits for it, though only for `GRACE`: until as much was sent on its lane as had been
when it came. A call that goes as it went then meets everything at its old place. And what came while an answer was being made,
which takes some time in the world and none here, comes before that answer here too.
"""

import contextlib
import math
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar, cast

import attrs
import msgspec
import trio

from actors import messages
from actors.call import Call
from actors.line_ear import Line
from actors.messages import (
    CallerAudio,
    CallerWords,
    CarrierEvent,
    Disposition,
    KeyPressed,
    MarkEchoed,
    ModelCommand,
    ModelEvent,
    ReplyAudio,
    ReplyWords,
    StreamStopped,
)
from actors.mulaw import BYTES_PER_MS, SILENCE, loudness, silence, to_base64
from actors.notebook import CallRecord
from actors.ports import CarrierGone, ModelGone, ModelSession
from conf.flow import Flow, PythonTool
from transport.flight_file import IN, OUT, SECONDS_AT_MOST, BadFlight, Entry, Flight
from transport.flight_mask import hide

ROUNDED = 0.0001
"""Seconds by which a time in a recording may be off."""
GRACE = 0.04
"""Seconds that something waits, past its time, for what it answered."""
AT_WORK = 0.02
"""Seconds that a call may have taken to answer something."""
AUDIO_AT_MOST = 64 * 1024 * 1024
"""Bytes of the model's speech in a recording: more than two hours."""
FRAME_AT_MOST = 200
"""Milliseconds of the caller's in one frame."""
NO_MORE = "the recording has no further connection"

T = TypeVar("T")
_EVENTS: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        messages.SessionCreated,
        messages.SessionAgreed,
        messages.SpeechStarted,
        messages.SpeechStopped,
        messages.TurnCommitted,
        messages.CallerWords,
        messages.ReplyBegan,
        messages.ItemEnded,
        messages.ToolCall,
        messages.ReplyEnded,
        messages.Extracted,
        messages.ModelTrouble,
    )
}
_FROM_CARRIER: dict[str, Callable[[str], CarrierEvent]] = {
    "mark": lambda name: MarkEchoed(name, 0.0),
    "key": KeyPressed,
    "stop": lambda _: StreamStopped(),
}
_MAGNITUDES = {loudness(bytes([byte])): byte for byte in range(256)}
"""A byte for each loudness that one byte can have."""


class Outside:
    """Everything that a replayed call meets, from the recording `flight`, of which time began now. Raises BadFlight."""

    def __init__(self, flight: Flight) -> None:
        self._began = trio.current_time()
        self.carrier = ReplayedCarrier(_carrier_events(flight), self._began)
        self.model = ReplayedModel(flight.head.endpoints, _connections(flight), self._began)
        self.errands = ReplayedErrands(_errands(flight))
        self.ear = ReplayedEar(flight.of(IN, "line"), self._began)
        self._from_outside = [_outside(entry) for entry in flight.of(IN, "call")]

    async def tell(self, call: Call) -> None:
        """What the switchboard told the call."""
        for at, tell in self._from_outside:
            await trio.sleep_until(self._began + at)
            tell(call)


# ---------------------------------------------------------------- the carrier


@attrs.frozen
class _Came:
    """An event and its time; `gone` in its place ends what it came through. `sent`: how much had been sent by then."""

    at: float
    event: Any = None
    gone: str | None = None
    sent: int = 0
    fatal: bool = False
    deaf: bool = False
    """Nothing can be sent from here on, whatever still comes."""


class _Tape:
    """What comes through one door, in its time, and not before as much was sent as had been sent by then."""

    def __init__(self, events: Iterable[_Came], began: float) -> None:
        self._events = deque(events)
        self._began = began
        self._sent = 0
        self._news = trio.Event()

    def sent(self) -> None:
        """One more of what counts was sent."""
        self._sent += 1
        self._news.set()

    async def next(self) -> _Came:
        """What comes next. Loses nothing when cancelled; what ends the tape comes again and again."""
        if not self._events:
            await trio.sleep_forever()
        first = self._events[0]
        await trio.sleep_until(self._began + first.at)
        with trio.move_on_at(self._began + first.at + GRACE):
            while self._sent < first.sent:
                self._news = trio.Event()
                await self._news.wait()
        if first.gone is None:
            self._events.popleft()
        return first


class ReplayedCarrier:
    """`CarrierPort`."""

    def __init__(self, events: list[_Came], began: float) -> None:
        self._tape = _Tape((one for one in events if not one.deaf), began)
        self._began = began
        self._deaf = next((one for one in events if one.deaf), None)

    async def receive(self) -> CarrierEvent:
        """See `CarrierPort`."""
        came = await self._tape.next()
        if came.gone is not None:
            raise CarrierGone(came.gone)
        event = cast("CarrierEvent", came.event)
        return attrs.evolve(event, at=trio.current_time()) if isinstance(event, MarkEchoed) else event

    @property
    def more(self) -> bool:
        """See `CarrierPort`. In how many pieces the caller's voice went to the model is not told apart."""
        return False

    async def send_frame(self, audio: bytes) -> None:
        """See `CarrierPort`."""
        await self._write()

    async def send_mark(self, name: str) -> None:
        """See `CarrierPort`."""
        await self._write()
        self._tape.sent()

    async def send_clear(self) -> None:
        """See `CarrierPort`."""
        await self._write()
        self._tape.sent()

    async def close(self) -> None:
        """See `CarrierPort`."""
        await trio.lowlevel.checkpoint()

    async def _write(self) -> None:
        await trio.lowlevel.checkpoint()
        if self._deaf is not None and trio.current_time() >= self._began + self._deaf.at:
            raise CarrierGone(self._deaf.gone or "")


def _carrier_events(flight: Flight) -> list[_Came]:
    found: list[_Came] = []
    frames = 0
    for entry in flight.of(IN, "carrier"):
        if entry.what == "voice":
            ms, runs = _as(tuple[int, list[int]], entry)
            counts = runs[1::2]
            frames += sum(counts)
            if (
                len(runs) % 2
                or not 0 < ms <= FRAME_AT_MOST
                or min(counts, default=0) < 0
                or frames > SECONDS_AT_MOST * 50
            ):
                raise BadFlight(f"the caller's voice at {entry.at:g} s is none.")
            levels = [level for level, count in zip(runs[::2], counts, strict=True) for _ in range(count)]
            found += [
                _Came(entry.at + number * ms / 1000, CallerAudio(_sound(level, ms), 0))
                for number, level in enumerate(levels)
            ]
            continue
        sent, text = _as(tuple[int, str], entry)
        if entry.what in {"lost", "deaf"}:
            found.append(_Came(entry.at, gone=text, sent=sent, deaf=entry.what == "deaf"))
        elif entry.what in _FROM_CARRIER:
            found.append(_Came(entry.at, _FROM_CARRIER[entry.what](text), sent=sent))
        else:
            raise BadFlight(f"it is not known what {entry.what!r} of the carrier is.")
    return sorted(found, key=lambda came: came.at)


_sounds: dict[tuple[int, int], str] = {}


def _sound(level: int, ms: int) -> str:
    """A payload that is as loud as that, as near as two kinds of bytes come."""
    known = _sounds.get((level, ms))
    if known is None:
        size = ms * BYTES_PER_MS
        low = max((loud for loud in _MAGNITUDES if loud <= level), default=0)
        high = min((loud for loud in _MAGNITUDES if loud >= level), default=max(_MAGNITUDES))
        share = 0 if high == low else -(-size * (level - low) // (high - low))
        audio = bytes([_MAGNITUDES[high]]) * share + bytes([_MAGNITUDES[low]]) * (size - share)
        known = _sounds[level, ms] = to_base64(audio if level > 0 else silence(ms))
    return known


class ReplayedEar:
    """`LinePort`: hears what was heard."""

    def __init__(self, entries: list[Entry], began: float) -> None:
        self.line = Line()
        self._heard = deque((entry.at, _line(entry, began)) for entry in entries if entry.what == "heard")
        self._only_echo = deque(
            None if entry.value is None else _as(bool, entry) for entry in entries if entry.what == "only_echo"
        )
        self._began = began

    def plays(self, audio: bytes, at: float) -> None:
        """See `LinePort`."""

    def hears(self, audio: bytes, now: float) -> Line:
        """See `LinePort`."""
        while self._heard and self._heard[0][0] <= now - self._began + ROUNDED:
            self.line = self._heard.popleft()[1]
        return self.line

    def rests(self, audio: bytes, now: float) -> None:
        """See `LinePort`."""

    def misses(self, seconds: float) -> None:
        """See `LinePort`."""

    def only_echo(self, now: float) -> bool | None:
        """See `LinePort`."""
        return self._only_echo.popleft() if self._only_echo else False


def _line(entry: Entry, began: float) -> Line:
    first, steady = _parted(entry, 7)
    fields = _as(tuple[float | None, float | None, int, bool, bool, bool, bool], first)
    since, until = (-math.inf if at is None else began + at for at in fields[:2])
    return Line(since, until, *fields[2:], steady=any(_as(tuple[bool, ...], steady)))


def _parted(entry: Entry, size: int) -> tuple[Entry, Entry]:
    """The first `size` values of an entry, and those after them: older recordings have none."""
    values = _as(list[Any], entry)
    return attrs.evolve(entry, value=values[:size]), attrs.evolve(entry, value=values[size:])


# ---------------------------------------------------------------- the model


@attrs.frozen
class _Blocked:
    """A message that had to wait: from when until when (infinity: it was given up)."""

    began: float
    until: float
    command: int
    """The how many-th command it was; 0: the caller's voice."""


@attrs.define
class _Connection:
    """One connection of the recording. Times; None if it was not, or not told."""

    opened: float | None = None
    failed: _Came | None = None
    left: float | None = None
    died: bool = False
    """Whether it was left because it was found dead, before those who used it were told so."""
    closed: float | None = None
    events: list[_Came] = attrs.field(factory=list[_Came])
    blocked: list["_Blocked"] = attrs.field(factory=list["_Blocked"])


class ReplayedModel:
    """`ModelPort`: the n-th connection is the recording's n-th."""

    def __init__(self, endpoints: int, connections: list[_Connection], began: float) -> None:
        self._endpoints = endpoints
        self._connections = iter(connections)
        self._began = began

    @property
    def endpoints(self) -> int:
        """See `ModelPort`."""
        return self._endpoints

    def connect(self, endpoint: int, name: str = "") -> AbstractAsyncContextManager[ModelSession]:
        """See `ModelPort`."""
        return self._connect(next(self._connections, None))

    @contextlib.asynccontextmanager
    async def _connect(self, one: _Connection | None) -> AsyncIterator[ModelSession]:
        await trio.lowlevel.checkpoint()
        if one is None:
            raise ModelGone(NO_MORE)
        if one.failed is not None:
            await trio.sleep_until(self._began + one.failed.at)
            raise ModelGone(one.failed.gone or "", fatal=one.failed.fatal)
        await trio.sleep_until(float("inf") if one.opened is None else self._began + one.opened)
        try:
            with trio.CancelScope(deadline=self._began + one.left if one.died and one.left else math.inf) as life:
                yield ReplayedSession(one.events, self._began, one.blocked)
            if life.cancelled_caught:
                raise ModelGone(next((came.gone for came in one.events if came.gone), ""))
        finally:
            took = (one.closed or 0.0) - (one.left or one.closed or 0.0)
            with trio.CancelScope(deadline=trio.current_time() + took, shield=True):
                await trio.sleep(took)


class ReplayedSession:
    """`ModelSession`."""

    def __init__(self, events: list[_Came], began: float, blocked: list[_Blocked]) -> None:
        self._tape = _Tape(events, began)
        self._began = began
        self._blocked = blocked
        self._commands = 0
        self._lost = next((one for one in events if one.gone is not None), None)

    async def receive(self) -> ModelEvent:
        """See `ModelSession`."""
        came = await self._tape.next()
        if came.gone is not None:
            raise ModelGone(came.gone, fatal=came.fatal)
        return cast("ModelEvent", came.event)

    async def send(self, command: ModelCommand) -> None:
        """See `ModelSession`."""
        self._commands += 1
        number = self._commands
        await self._writing(next((one for one in self._blocked if one.command == number), None))
        self._tape.sent()

    def append_now(self, payload: str) -> bool:
        """See `ModelSession`."""
        return not self._is_lost and self._waits() is None

    async def append(self, payloads: list[str], silence_ms: int) -> None:
        """See `ModelSession`."""
        await self._writing(self._waits(voice=True))

    def _waits(self, *, voice: bool = False) -> _Blocked | None:
        """What is waiting to be sent now; `voice`: of the caller's."""
        now = trio.current_time() - self._began
        return next(
            (one for one in self._blocked if one.began - AT_WORK <= now < one.until and not (voice and one.command)),
            None,
        )

    async def _writing(self, blocked: _Blocked | None) -> None:
        await trio.lowlevel.checkpoint()
        if blocked is not None:
            await trio.sleep_until(self._began + blocked.until)
        lost = self._lost
        if lost is not None and self._is_lost:
            raise ModelGone(lost.gone or "", fatal=lost.fatal)

    @property
    def _is_lost(self) -> bool:
        return self._lost is not None and trio.current_time() > self._began + self._lost.at + GRACE


def _connections(flight: Flight) -> list[_Connection]:
    found: dict[int, _Connection] = {}
    sends: dict[int, list[float]] = {}
    size = 0
    for entry in flight.entries:
        if entry.lane != "model":
            continue
        if entry.way == OUT:
            if entry.what == "connect":
                found[_as(tuple[int, int], entry)[0]] = _Connection()
            elif entry.what == "close":
                found[_known(_as(int, entry), found, entry)].left = entry.at
            else:
                sends.setdefault(_known(_as(list[Any], entry, 1)[0], found, entry), []).append(entry.at)
            continue
        number, sent, *rest = _as(list[Any], entry, 2)
        sent = _as(int, attrs.evolve(entry, value=sent))
        one = found[_known(number, found, entry)]
        if entry.what == "opened":
            one.opened = entry.at
        elif entry.what == "closed":
            one.closed = entry.at
        elif entry.what == "blocked":
            what, took = _as(tuple[str, float | None], attrs.evolve(entry, value=rest))
            until = math.inf if took is None else entry.at + took
            one.blocked.append(_Blocked(entry.at, until, sent if what == "send" else 0))
        elif entry.what in {"failed", "lost"}:
            reason, fatal = _as(tuple[str, bool], attrs.evolve(entry, value=rest))
            came = _Came(entry.at, gone=reason, sent=sent, fatal=fatal)
            if entry.what == "failed":
                one.failed = came
            else:
                one.events.append(came)
                one.died = one.left is not None
        else:
            event = _event(entry, rest)
            size += len(event.audio) if isinstance(event, ReplyAudio) else 0
            if size > AUDIO_AT_MOST:
                raise BadFlight("the model speaks for hours in it.")
            one.events.append(_Came(entry.at, event, sent=sent))
    for number, one in found.items():
        # Words that came in pieces were written down when they were whole, after what came at the same moment to their answer.
        one.events.sort(key=lambda came: (came.at, came.sent))
        one.events = _while_at_work(one.events, sends.get(number, []))
    return list(found.values())


def _while_at_work(events: list[_Came], sends: list[float]) -> list[_Came]:
    """`events`, where those that came one after the other while the call was at work on an answer come together, when the last
    one did: who takes them in as they come has all of them before the answer has gone through the actors that make it. Speech
    comes when it came. `sends`: when something was sent on this connection."""
    found: deque[_Came] = deque()
    for came in reversed(events):
        answered = sends[came.sent] if 0 <= came.sent < len(sends) else math.inf
        after = found[0] if found else None
        together = (
            after is not None
            and after.gone is None
            and after.sent == came.sent
            and answered - came.at <= AT_WORK
            and not isinstance(came.event, ReplyAudio)
        )
        found.appendleft(attrs.evolve(came, at=after.at) if after is not None and together else came)
    return list(found)


def _known(number: object, found: Mapping[int, _Connection], entry: Entry) -> int:
    if not isinstance(number, int) or number not in found:
        raise BadFlight(f"{entry.what!r} at {entry.at:g} s is of a connection that was not opened.")
    return number


def _event(entry: Entry, rest: list[Any]) -> ModelEvent:
    plain = attrs.evolve(entry, value=rest)
    if entry.what == "ReplyAudio":
        reply, item, size = _as(tuple[str, str, int], plain)
        if not 0 <= size <= AUDIO_AT_MOST:
            raise BadFlight(f"the speech at {entry.at:g} s is none.")
        return ReplyAudio(reply, item, bytes([SILENCE]) * size)
    if entry.what == "ReplyWords":
        return ReplyWords(*_as(tuple[str, str, str], plain))
    if entry.what == "CallerWords" and len(rest) == 2:
        item, text = _as(tuple[str, str], plain)
        return CallerWords(item, text, False)
    if entry.what not in _EVENTS or len(rest) != 1:
        raise BadFlight(f"it is not known what {entry.what!r} of the model is.")
    return _as(_EVENTS[entry.what], attrs.evolve(entry, value=rest[0]))


# ---------------------------------------------------------------- errands


@attrs.frozen
class _Errand:
    """What was asked, and what came of it after how long; None if nothing came."""

    what: str
    words: tuple[str, ...]
    seconds: float | None
    came: Entry | None


class ReplayedErrands:
    """`ErrandPort`, and the flow's own tools: nothing is sent and nothing run; each gets the answer that it got."""

    def __init__(self, errands: list[_Errand]) -> None:
        self._errands = errands

    async def send_text(self, call_sid: str, key: str, to: str, text: str) -> tuple[str, Mapping[str, object]]:
        """See `ErrandPort`."""
        entry = await self._answer("send_text", key)
        return ("unknown", {"reason": NOT_THERE}) if entry is None else _as_came(tuple[str, dict[str, Any]], entry)

    async def claim(self, call_sid: str, key: str, kind: str) -> bool:
        """See `ErrandPort`."""
        entry = await self._answer("claim", key)
        return True if entry is None else _as_came(bool, entry)

    async def settle(self, call_sid: str, key: str, outcome: str, result: Mapping[str, object] | None = None) -> None:
        """See `ErrandPort`."""
        await self._answer("settle", key)

    async def came(self, call_sid: str, key: str) -> tuple[str, Mapping[str, object]]:
        """See `ErrandPort`."""
        entry = await self._answer("ask", key)
        return ("unknown", {"reason": NOT_THERE}) if entry is None else _as_came(tuple[str, dict[str, Any]], entry)

    def flow(self, flow: Flow) -> Flow:
        """`flow` with tools that do nothing."""
        return attrs.evolve(
            flow, tools={name: attrs.evolve(tool, run=self._tool(tool)) for name, tool in flow.tools.items()}
        )

    def _tool(self, tool: PythonTool) -> Callable[..., Awaitable[object]]:
        async def run(**_: object) -> object:
            entry = await self._answer("tool", tool.name)
            if entry is None:
                return {"reason": NOT_THERE}
            if entry.what == "raised":
                name, text = _as_came(tuple[str, str], entry)
                raise type(name, (Exception,), {})(text)
            return _as_came(object, entry)

        return run

    async def _answer(self, what: str, name: str) -> Entry | None:
        """What came of the first errand of that name that is not taken yet, after as long as it took."""
        await trio.lowlevel.checkpoint()
        called = hide(name.partition("#")[0])
        found = next((one for one in self._errands if one.what == what and one.words[:1] == (called,)), None)
        if found is None:
            return None
        self._errands.remove(found)
        await trio.sleep(float("inf") if found.seconds is None else found.seconds)
        return found.came


NOT_THERE = "it is not in the recording"


def _as_came(kind: type[T], entry: Entry) -> T:
    return _as(kind, attrs.evolve(entry, value=_rest(entry)))


def _rest(entry: Entry) -> Any:
    value = cast("list[Any]", entry.value)[1:]
    return value if entry.what == "raised" else value[0]


def _errands(flight: Flight) -> list[_Errand]:
    came: dict[int, Entry] = {}
    for entry in flight.of(IN, "errands"):
        came[_number_of(entry)] = entry
    found: list[_Errand] = []
    for entry in flight.of(OUT, "errands"):
        answer = came.get(_number_of(entry))
        seconds = None if answer is None else max(0.0, answer.at - entry.at)
        found.append(_Errand(entry.what, tuple(str(word) for word in entry.value[1:]), seconds, answer))
    return found


def _number_of(entry: Entry) -> int:
    return _as(int, attrs.evolve(entry, value=_as(list[Any], entry, 2)[0]))


# ---------------------------------------------------------------- the switchboard and the store


def _outside(entry: Entry) -> tuple[float, Callable[[Call], None]]:
    if entry.what == "move_away":
        return entry.at, Call.move_away
    if entry.what != "carrier_gone":
        raise BadFlight(f"it is not known what {entry.what!r} of the call is.")
    reason, lost = _as(tuple[str, bool], entry)
    return entry.at, lambda call: call.carrier_gone(reason, lost=lost)


class NoRecords:
    """`RecordPort`: keeps nothing."""

    async def keep_disposition(self, call_sid: str, disposition: Disposition) -> None:
        """See `RecordPort`."""
        await trio.lowlevel.checkpoint()

    async def keep_record(self, record: CallRecord) -> None:
        """See `RecordPort`."""
        await trio.lowlevel.checkpoint()

    async def keep_story(
        self, call_sid: str, caller: str, called: str, story: Mapping[str, object], *, over: bool
    ) -> None:
        """See `RecordPort`."""
        await trio.lowlevel.checkpoint()


def _as(kind: type[T], entry: Entry, at_least: int = 0) -> T:
    """The value of an entry, if it is of that kind."""
    try:
        value = msgspec.convert(entry.value, kind)
    except msgspec.ValidationError as error:
        raise BadFlight(f"{entry.what!r} at {entry.at:g} s is not what it should be: {error}.") from error
    if at_least and len(cast("list[Any]", value)) < at_least:
        raise BadFlight(f"{entry.what!r} at {entry.at:g} s has no number.")
    return value
