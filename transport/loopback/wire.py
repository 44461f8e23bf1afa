"""A wire between two ends in memory, as bad as networks are: late, uneven, in pieces, slow, half dead, or cut at a byte."""

import math
import random
from collections import deque

import attrs
import trio

from transport.direct_stream import NonBlocking

WINDOW = 64 * 1024
"""Bytes that are on their way or unread; who sends more waits, as with TCP."""
AGAIN = 0.25
"""Seconds until a lost piece is sent again; what comes after it waits for it."""

GIVEN_UP_AFTER = 25.0
"""Seconds until the ends of a dead wire learn of it: nobody has confirmed what they sent."""


@attrs.frozen
class WireFaults:
    """How a wire misbehaves; everything is off unless set. Times in seconds since it was laid, sizes in bytes."""

    delay: float = 0.0
    """Each way; up to half as much again is drawn for each piece."""
    lost: float = 0.0
    """Share of pieces that have to be sent again."""
    pieces: bool = False
    """What is sent at once arrives in parts."""
    cut_up: int = 0
    cut_down: int = 0
    """Bytes to the server, and from it, after which the wire is cut."""
    dead_at: float = 0.0
    """From then on nothing comes through, either way, and nobody is told for long."""
    stuck_at: float = 0.0
    stuck_for: float = 0.0
    """From then on, for so long, nobody reads what goes to the server: it comes through afterwards."""
    slow: float = 0.0
    """Bytes a second that come through from the server; 0: all."""


class WireEnd(NonBlocking, trio.abc.Stream):
    """One end. Like a socket: bytes in order, an end of file, errors when it is broken or closed, and nobody waits who does not
    want to."""

    def __init__(self, out: "_Way", back: "_Way") -> None:
        self._out, self._back = out, back
        self._closed = False

    def write(self, data: bytes) -> int:
        """See `NonBlocking`."""
        return self._out.write(data)

    def read(self, at_most: int) -> bytes:
        """See `NonBlocking`."""
        return self._back.read(at_most)

    async def writable(self) -> None:
        """See `NonBlocking`."""
        self._raise_if_closed()
        await self._out.writable()
        self._raise_if_closed()

    async def readable(self) -> None:
        """See `NonBlocking`."""
        self._raise_if_closed()
        await self._back.readable()
        self._raise_if_closed()

    def _raise_if_closed(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See `trio.abc.SendStream`."""
        left = bytes(data)
        while left:
            await self.writable()
            try:
                left = left[self.write(left) :]
            except BlockingIOError:  # somebody else was faster
                continue
            except OSError as error:
                raise trio.BrokenResourceError from error

    async def wait_send_all_might_not_block(self) -> None:
        """See `trio.abc.SendStream`."""
        await self.writable()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """See `trio.abc.ReceiveStream`."""
        while True:
            await self.readable()
            try:
                return self.read(max_bytes or WINDOW)
            except BlockingIOError:  # somebody else was faster
                continue
            except OSError as error:
                raise trio.BrokenResourceError from error

    async def aclose(self) -> None:
        """See `trio.abc.AsyncResource`."""
        self._closed = True
        self._out.end()
        self._back.give_up()
        await trio.lowlevel.checkpoint()


def a_wire(faults: WireFaults, chance: random.Random) -> tuple[WireEnd, WireEnd]:
    """The caller's end and the server's."""
    up = _Way(faults, chance, faults.cut_up, 0.0, faults.stuck_for)
    down = _Way(faults, chance, faults.cut_down, faults.slow, 0.0)
    up.other, down.other = down, up
    return WireEnd(up, down), WireEnd(down, up)


class _Way:
    """One direction. Pieces are due at a time; the reader takes those that have come."""

    other: "_Way"

    def __init__(self, faults: WireFaults, chance: random.Random, cut: int, rate: float, stuck_for: float) -> None:
        self._faults, self._chance = faults, chance
        self._left = cut or math.inf
        self._rate = rate
        self._laid = trio.current_time()
        self._stuck_from = self._laid + faults.stuck_at
        self._stuck_until = self._stuck_from + stuck_for
        self._coming: deque[tuple[float, bytes]] = deque()
        self._bytes = 0
        self._last = 0.0
        self._ended = False
        """No more is sent."""
        self._broken = False
        """Nobody reads any more, or the wire is cut."""
        self._waiting = trio.lowlevel.ParkingLot()

    # ------------------------------------------------------------ who sends

    def write(self, data: bytes) -> int:
        """How much of it has been taken. Raises BlockingIOError, or BrokenPipeError if nobody will ever read it."""
        if self._useless:
            raise BrokenPipeError
        if self._bytes >= WINDOW:
            raise BlockingIOError
        size = self._chance.randint(1, len(data)) if self._faults.pieces else len(data)
        if size >= self._left:
            self._put(data[: int(self._left)])
            self._left = 0
            self._ended = self.other._ended = True
            self._tell()
            self.other._tell()
            raise BrokenPipeError
        self._left -= size
        self._put(data[:size])
        return size

    async def writable(self) -> None:
        """Until `write` does not raise BlockingIOError."""
        if self._bytes < WINDOW or self._useless:
            await trio.lowlevel.checkpoint()
        while self._bytes >= WINDOW and not self._useless:
            await self._news(self._given_up_at)

    def _put(self, piece: bytes) -> None:
        now, faults = trio.current_time(), self._faults
        due = now + faults.delay * (1 + self._chance.random() / 2) if faults.delay else now
        if faults.lost and self._chance.random() < faults.lost:
            due += AGAIN
        if self._stuck_from <= now < self._stuck_until:
            due = max(due, self._stuck_until)
        if self._rate:
            due = max(due, self._last) + len(piece) / self._rate
        self._last = max(due, self._last)  # bytes do not overtake each other
        self._coming.append((math.inf if self._dead else self._last, piece))
        self._bytes += len(piece)
        self._tell()

    # ------------------------------------------------------------ who reads

    def read(self, at_most: int) -> bytes:
        """What has come, b"" at the end. Raises BlockingIOError, or ConnectionResetError if the wire is broken at this end."""
        if (due := self._due()) > trio.current_time():
            raise BlockingIOError
        if self._broken or trio.current_time() >= self._given_up_at:
            raise ConnectionResetError
        if not self._coming:
            return b""
        _, piece = self._coming.popleft()
        if len(piece) > at_most:
            self._coming.appendleft((due, piece[at_most:]))
            piece = piece[:at_most]
        self._bytes -= len(piece)
        self._tell()
        return piece

    async def readable(self) -> None:
        """Until `read` does not raise BlockingIOError."""
        if self._due() <= trio.current_time():
            await trio.lowlevel.checkpoint()
        while (due := self._due()) > trio.current_time():
            await self._news(due)

    def _due(self) -> float:
        """When there is something to be read, as far as that is known."""
        if self._broken:
            return -math.inf
        if self._coming:
            return min(self._coming[0][0], self._given_up_at)
        return -math.inf if self._ended and not self._dead else self._given_up_at

    # ------------------------------------------------------------ both

    def end(self) -> None:
        self._ended = True
        self._tell()

    def give_up(self) -> None:
        self._broken = True
        self._tell()

    @property
    def _dead(self) -> bool:
        """Whether nothing comes through any more, not even that somebody has closed."""
        return bool(self._faults.dead_at) and trio.current_time() - self._laid >= self._faults.dead_at

    @property
    def _given_up_at(self) -> float:
        return self._laid + self._faults.dead_at + GIVEN_UP_AFTER if self._faults.dead_at else math.inf

    @property
    def _useless(self) -> bool:
        """Whether sending fails."""
        return self._ended or (self._broken and not self._dead) or trio.current_time() >= self._given_up_at

    def _tell(self) -> None:
        if self._waiting:
            self._waiting.unpark_all()

    async def _news(self, at: float) -> None:
        if at == math.inf:
            await self._waiting.park()
            return
        with trio.move_on_at(at):
            await self._waiting.park()
