"""A carrier in memory: plays what it gets at the speed of sound, echoes marks, and remembers what was really heard."""

from collections import deque
from collections.abc import Callable

import attrs
import trio

from actors.messages import CallerAudio, CarrierEvent, KeyPressed, MarkEchoed, StreamStopped
from actors.ports import CarrierGone

BYTES_PER_SECOND = 8000
LINE_FRAME = 0.02
"""A telephone line delivers a frame of the caller's audio this often."""
TINY = 1e-6
"""Less than a hundredth of a byte: two moments closer than this are one."""


@attrs.define
class Played:
    """Bytes in the playback queue: they sound from `start` to `end`, which a clear may bring forward."""

    audio: bytes
    sent: float
    arrived: float
    start: float
    end: float

    def heard_by(self, now: float) -> int:
        """How many bytes of it had sounded at `now`."""
        until = min(now, self.end)
        return min(len(self.audio), max(0, int((until - self.start) * BYTES_PER_SECOND + TINY * BYTES_PER_SECOND)))


@attrs.define
class QueuedMark:
    """A mark in the playback queue: reached at `reached`."""

    name: str
    arrived: float
    reached: float
    flushed: bool = False
    back: float = 0.0
    """How long its echo takes."""


@attrs.frozen
class Wiped:
    """A clear: when it was sent, when it took effect, and the position truly played then (bytes since the clear before)."""

    sent: float
    effective: float
    played: int


@attrs.define
class PlaybackQueue:
    """The carrier's side of the media stream without any I/O: told what arrived and when, it knows what sounded when."""

    frames: list[Played] = attrs.field(factory=list[Played])
    marks: list[QueuedMark] = attrs.field(factory=list[QueuedMark])
    clears: list[Wiped] = attrs.field(factory=list[Wiped])
    _busy_until: float = float("-inf")
    _first: int = 0
    """Index of the first frame since the last clear."""

    def frame(self, audio: bytes, sent: float, arrived: float) -> None:
        """Audio arrived."""
        start = max(arrived, self._busy_until)
        self._busy_until = start + len(audio) / BYTES_PER_SECOND
        self.frames.append(Played(audio, sent, arrived, start, self._busy_until))

    def mark(self, name: str, arrived: float) -> QueuedMark:
        """A mark arrived; it is reached when all before it has sounded, or at once."""
        mark = QueuedMark(name, arrived, max(arrived, self._busy_until))
        self.marks.append(mark)
        return mark

    def clear(self, sent: float, arrived: float) -> None:
        """A clear arrived: what has not sounded never will, and the marks that wait are flushed."""
        self.clears.append(Wiped(sent, arrived, self.played(arrived)))
        for frame in self.frames[self._first :]:
            frame.end = max(frame.start, min(frame.end, arrived)) if frame.start < arrived else frame.start
        for mark in self.marks:
            if mark.reached > arrived:
                mark.reached, mark.flushed = arrived, True
        self._first = len(self.frames)
        self._busy_until = float("-inf")

    def played(self, now: float) -> int:
        """Bytes sounded since the last clear."""
        return sum(frame.heard_by(now) for frame in self.frames[self._first :])

    def sound(self, now: float) -> bytes:
        """Everything the caller had heard at `now`, from the beginning of the call."""
        return b"".join(frame.audio[: frame.heard_by(now)] for frame in self.frames)


def at_once() -> float:
    """No delay."""
    return 0.0


class FakeCarrier:
    """`CarrierPort` with a true playback queue.

    `there` and `back` give the delay of the next message in each direction (order is kept, as on one socket); `line` says
    whether the caller's telephone delivers a frame every 20 ms; `voice` is the payload of such a frame, or empty for
    numbered ones that are no audio.
    """

    def __init__(
        self,
        *,
        there: Callable[[], float] = at_once,
        back: Callable[[], float] = at_once,
        line: bool = False,
        voice: str = "",
    ) -> None:
        self.queue = PlaybackQueue()
        self.wire: list[tuple[float, str, object]] = []
        """What was written: time, "frame", "mark" or "clear", and its content."""
        self.closed_at: list[float] = []
        self.lose_marks = False
        self.close_hangs = False
        self.writable = trio.Event()
        """Not set: every write waits for it."""
        self.writable.set()
        self._there, self._back, self._line, self._voice = there, back, line, voice
        self._arrived = float("-inf")
        self._read_at = float("-inf")
        self._echoes: deque[QueuedMark] = deque()
        self._said: deque[tuple[float, CarrierEvent]] = deque()
        self._gone = ""
        self._news = trio.Event()
        self._next_frame = trio.current_time() + LINE_FRAME
        self._frames = 0

    # ------------------------------------------------------------ what tests do

    def press(self, digit: str) -> None:
        """The caller presses a key."""
        self._say(KeyPressed(digit))

    def speak(self, payload: str, timestamp_ms: int = 0) -> None:
        """One frame of the caller's voice arrives."""
        self._say(CallerAudio(payload, timestamp_ms))

    def hang_up(self) -> None:
        """The stream stops."""
        self._line = False
        self._say(StreamStopped())

    def line(self, on: bool) -> None:
        """The telephone goes on, or stops, delivering frames."""
        self._line = on
        self._next_frame = trio.current_time() + LINE_FRAME
        self._wake()

    def lose(self, why: str = "torn") -> None:
        """The connection breaks: reading and writing fail from now on."""
        self._gone = why
        self.writable.set()
        self._wake()

    def block(self) -> None:
        """Writes wait until `unblock`."""
        self.writable = trio.Event()

    def unblock(self) -> None:
        """Writes go through again."""
        self.writable.set()

    def sound(self) -> bytes:
        """All that the caller has heard by now."""
        return self.queue.sound(trio.current_time())

    def sent(self, kind: str) -> list[tuple[float, object]]:
        """Times and contents of what was written of one kind."""
        return [(at, content) for at, what, content in self.wire if what == kind]

    @property
    def frames(self) -> list[bytes]:
        """The frames written, in order."""
        return [content for _, content in self.sent("frame") if isinstance(content, bytes)]

    # ------------------------------------------------------------ the port

    async def receive(self) -> CarrierEvent:
        """See `CarrierPort`."""
        await trio.lowlevel.checkpoint()
        while True:
            now = trio.current_time()
            due, take = self._next()
            if due <= now:
                return take()
            if self._gone:
                raise CarrierGone(self._gone)
            self._news = trio.Event()
            with trio.move_on_at(due):
                await self._news.wait()

    @property
    def more(self) -> bool:
        """See `CarrierPort`."""
        due, event = self._said[0] if self._said else (float("inf"), None)
        return due <= trio.current_time() and isinstance(event, CallerAudio)

    async def send_frame(self, audio: bytes) -> None:
        """See `CarrierPort`."""
        await self._write("frame", audio)
        self.queue.frame(audio, trio.current_time(), self._arrival())

    async def send_mark(self, name: str) -> None:
        """See `CarrierPort`."""
        await self._write("mark", name)
        if not self.lose_marks:
            mark = self.queue.mark(name, self._arrival())
            mark.back = self._back()
            self._echoes.append(mark)
            self._wake()

    async def send_clear(self) -> None:
        """See `CarrierPort`."""
        await self._write("clear", None)
        self.queue.clear(trio.current_time(), self._arrival())
        self._wake()

    async def close(self) -> None:
        """See `CarrierPort`."""
        await trio.lowlevel.checkpoint()
        self.closed_at.append(trio.current_time())
        if self.close_hangs:
            await trio.sleep_forever()

    # ------------------------------------------------------------ inside

    def _say(self, event: CarrierEvent) -> None:
        self._said.append((trio.current_time() + self._back(), event))
        self._wake()

    def _wake(self) -> None:
        self._news.set()

    async def _write(self, what: str, content: object) -> None:
        await trio.lowlevel.checkpoint()
        await self.writable.wait()
        if self._gone:
            raise CarrierGone(self._gone)
        self.wire.append((trio.current_time(), what, content))

    def _arrival(self) -> float:
        self._arrived = max(self._arrived, trio.current_time() + self._there())
        return self._arrived

    def _next(self) -> tuple[float, Callable[[], CarrierEvent]]:
        """When the next event can be read, and how to take it."""
        choices: list[tuple[float, Callable[[], CarrierEvent]]] = [(float("inf"), self._nothing)]
        if self._said:
            choices.append((self._said[0][0], lambda: self._said.popleft()[1]))
        if self._line:
            choices.append((self._next_frame, self._line_frame))
        if self._echoes:
            mark = self._echoes[0]
            choices.append((mark.reached + mark.back, self._echo))
        return min(choices, key=lambda choice: choice[0])

    def _nothing(self) -> CarrierEvent:
        raise AssertionError("there is nothing to take")

    def _line_frame(self) -> CarrierEvent:
        self._frames += 1
        self._next_frame += LINE_FRAME
        return CallerAudio(self._voice or f"caller{self._frames}", self._frames * 20)

    def _echo(self) -> CarrierEvent:
        return MarkEchoed(self._echoes.popleft().name, trio.current_time())
