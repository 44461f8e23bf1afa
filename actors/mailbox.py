"""A bounded memory channel with a stated policy for the moment it is full, and counters."""

import enum
from collections import deque
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
        self._messages: deque[T] = deque()
        self._readers, self._writers = trio.lowlevel.ParkingLot(), trio.lowlevel.ParkingLot()
        self._blocked: dict[object, T] = {}
        """What those hold who wait to send."""
        self._taken_in = 0
        self._dropped = 0
        self._peak = 0

    def offer(self, item: T) -> bool:
        """Puts `item` in at once if there is room; whether there was."""
        if len(self._messages) >= self.capacity:
            return False
        self._put(item)
        return True

    async def send(self, item: T) -> None:
        """Waits for room. Cancelled while waiting, it has sent nothing."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if len(self._messages) < self.capacity:
            self._put(item)
            await trio.lowlevel.cancel_shielded_checkpoint()
            return
        waiting = object()
        self._blocked[waiting] = item
        try:
            while waiting in self._blocked and len(self._messages) >= self.capacity:
                await self._writers.park()
            if waiting in self._blocked:  # else it was taken from there
                self._put(item)
        finally:
            self._blocked.pop(waiting, None)

    def post(self, item: T) -> None:
        """Puts `item` in at once, or acts by the policy. Raises MailboxFull if that is FATAL (or WAIT)."""
        if len(self._messages) >= self.capacity:
            if self.when_full is not WhenFull.DROP_OLDEST:
                raise MailboxFull(f"{self.name} holds {self.capacity} messages that nobody reads")
            self._messages.popleft()
            self._dropped += 1
        self._put(item)

    def replace_all(self, item: T) -> int:
        """Throws out what is waiting and puts `item` in its place; the number thrown out."""
        stale = len(self.take_all())
        self.post(item)
        return stale

    @property
    def holds(self) -> int:
        """Messages that are waiting."""
        return len(self._messages)

    def take_all(self) -> list[T]:
        """All that is waiting, and what waits to be sent, without waiting. A reader who was woken by it waits on."""
        taken = [*self._messages, *self._blocked.values()]
        self._taken_in += len(self._blocked)
        self._messages.clear()
        self._blocked.clear()
        self._writers.unpark_all()
        return taken

    async def receive(self) -> T:
        """The next message. Cancelled, it has taken nothing; and what it takes waits, for all to see, until it returns."""
        if self._messages:
            await trio.lowlevel.checkpoint()
        while not self._messages:
            await self._readers.park()
        return self._take()

    def stats(self) -> MailboxStats:
        """The counters so far."""
        return MailboxStats(self.name, self.capacity, self.when_full.value, self._taken_in, self._dropped, self._peak)

    def _put(self, item: T) -> None:
        self._messages.append(item)
        self._taken_in += 1
        if len(self._messages) > self._peak:
            self._peak = len(self._messages)
        if self._readers:
            self._readers.unpark()

    def _take(self) -> T:
        item = self._messages.popleft()
        if self._writers:
            self._writers.unpark_all()
        return item
