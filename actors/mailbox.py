"""A bounded memory channel with a stated policy for the moment it is full, and counters."""

import enum
from typing import Generic, Protocol, TypeVar

import attrs
import trio

T = TypeVar("T")
Contra = TypeVar("Contra", contravariant=True)


class WhenFull(enum.Enum):
    """What `post` does with a full mailbox."""

    WAIT = "wait"
    """There is no `post`: senders wait in `send`."""
    DROP_OLDEST = "drop oldest"
    FATAL = "fatal"
    """A full one is a bug or a dead reader: MailboxFull, which ends the call."""


class MailboxFull(Exception):
    """A mailbox that must never be full is full."""


@attrs.frozen
class MailboxStats:
    """The life of one mailbox in numbers."""

    name: str
    capacity: int
    policy: str
    taken_in: int
    dropped: int
    peak: int


class Outbox(Protocol[Contra]):
    """A mailbox as seen by one who may only put something in."""

    def post(self, item: Contra) -> None:
        """See `Mailbox.post`."""
        ...


class Mailbox(Generic[T]):
    """Messages for one actor: many may write, one reads."""

    def __init__(self, name: str, capacity: int, when_full: WhenFull) -> None:
        self.name = name
        self.capacity = capacity
        self.when_full = when_full
        self._send, self._receive = trio.open_memory_channel[T](capacity)
        self._waiting = 0
        self._taken_in = 0
        self._dropped = 0
        self._peak = 0

    async def send(self, item: T) -> None:
        """Waits for room. Cancelled while waiting, it has sent nothing."""
        await self._send.send(item)
        self._count()

    def post(self, item: T) -> None:
        """Puts `item` in at once, or acts by the policy. Raises MailboxFull if that is FATAL (or WAIT)."""
        try:
            self._send.send_nowait(item)
        except trio.WouldBlock:
            if self.when_full is not WhenFull.DROP_OLDEST:
                raise MailboxFull(f"{self.name} holds {self.capacity} messages that nobody reads") from None
            self._receive.receive_nowait()
            self._waiting -= 1
            self._dropped += 1
            self._send.send_nowait(item)
        self._count()

    def replace_all(self, item: T) -> int:
        """Throws out what is waiting and puts `item` in its place; the number thrown out."""
        stale = len(self.take_all())
        self.post(item)
        return stale

    def take_all(self) -> list[T]:
        """All that is waiting, without waiting."""
        taken: list[T] = []
        while True:
            try:
                taken.append(self._receive.receive_nowait())
            except trio.WouldBlock:
                self._waiting -= len(taken)
                return taken

    async def receive(self) -> T:
        """The next message. Cancelled, it has taken nothing."""
        item = await self._receive.receive()
        self._waiting -= 1
        return item

    def stats(self) -> MailboxStats:
        """The counters so far."""
        return MailboxStats(self.name, self.capacity, self.when_full.value, self._taken_in, self._dropped, self._peak)

    def _count(self) -> None:
        self._taken_in += 1
        self._waiting += 1
        # One more than there is room for is on its way to a reader who has not run yet.
        self._peak = max(self._peak, min(self._waiting, self.capacity))
