"""The carrier's playback queue of one stream, told the time: audio at 8000 bytes a second, marks, clear. Pure."""

from collections import deque

import attrs

from actors.mulaw import BYTES_PER_MS, SILENCE

BYTES_PER_SECOND = BYTES_PER_MS * 1000
QUEUE_AT_MOST = 600 * BYTES_PER_SECOND
"""Ten minutes; what comes on top is discarded with warning 31931."""


@attrs.frozen
class Heard:
    """A stretch of audio that was played: from when, which bytes."""

    at: float
    audio: bytes = attrs.field(repr=False)


@attrs.define
class Playback:
    """The queue. Call `until` with the time before anything else happens at that time."""

    heard: list[Heard] = attrs.field(factory=list)
    received: int = 0
    """Bytes taken into the queue so far."""
    played: int = 0
    """Bytes played so far."""
    _queue: deque[bytes | str] = attrs.field(factory=deque)
    _queued: int = 0
    _head: int = 0
    """Bytes of the first piece in the queue that were played."""
    _since: float = 0.0
    """When the first piece, from `_head` on, begins to be played."""

    def put(self, audio: bytes, now: float) -> bool:
        """Queues audio; False if there is no room for it."""
        if self._queued + len(audio) > QUEUE_AT_MOST:
            return False
        if not self._queued:
            self._since = now
        self._queue.append(audio)
        self._queued += len(audio)
        self.received += len(audio)
        return True

    def mark(self, name: str) -> bool:
        """Queues a mark; True if it is to be echoed at once, since nothing is queued before it."""
        if not self._queue:
            return True
        self._queue.append(name)
        return False

    def clear(self) -> list[str]:
        """Drops the audio; the marks that were pending, in order."""
        marks = [piece for piece in self._queue if isinstance(piece, str)]
        self._queue.clear()
        self._queued = self._head = 0
        return marks

    def until(self, now: float) -> list[str]:
        """Plays up to `now`: the marks that were reached, in order."""
        reached: list[str] = []
        while self._queue:
            piece = self._queue[0]
            if isinstance(piece, str):
                reached.append(piece)
                self._queue.popleft()
                continue
            can = int((now - self._since) * BYTES_PER_SECOND + 1e-6)
            take = min(can, len(piece) - self._head)
            if take > 0:
                self.heard.append(Heard(self._since, piece[self._head : self._head + take]))
                self._since += take / BYTES_PER_SECOND
                self._head += take
                self._queued -= take
                self.played += take
            if self._head < len(piece):
                break
            self._queue.popleft()
            self._head = 0
        return reached

    def next_mark_at(self) -> float | None:
        """When the next mark is reached if nothing is cleared; None if there is none."""
        at, head = self._since, self._head
        for piece in self._queue:
            if isinstance(piece, str):
                return at
            at += (len(piece) - head) / BYTES_PER_SECOND
            head = 0
        return None

    def played_from(self, begin: float, size: int) -> bytes:
        """`size` bytes of what was heard from `begin` on, silence where nothing was."""
        sound = bytearray([SILENCE]) * size
        for piece in reversed(self.heard):
            at = round((piece.at - begin) * BYTES_PER_SECOND)
            if at + len(piece.audio) <= 0:
                break
            if at < size:
                audio = piece.audio[max(0, -at) : size - at]
                sound[max(0, at) : max(0, at) + len(audio)] = audio
        return bytes(sound)

    @property
    def busy(self) -> bool:
        """Whether there is audio left to play."""
        return self._queued > 0
