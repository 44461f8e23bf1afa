"""A model in memory: says what a test makes it say, and remembers what it was told and when."""

import math
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import attrs
import trio

from actors.messages import (
    AgreedSession,
    Configure,
    ItemEnded,
    ModelCommand,
    ModelEvent,
    Probe,
    ReplyAudio,
    ReplyBegan,
    ReplyEnded,
    ReplyStatus,
    ReplyWords,
    SessionAgreed,
    SessionConfig,
    SessionCreated,
    Tell,
    ToolCall,
)
from actors.ports import ModelGone

C = TypeVar("C")


def agreed_to(config: SessionConfig) -> AgreedSession:
    """The session exactly as it was asked for."""
    return AgreedSession(True, True, config.voice, config.turn_detection)


@attrs.define
class Place:
    """How one endpoint behaves: seconds until each step, `math.inf` for never; what it answers."""

    opens_after: float = 0.0
    refuses: ModelGone | None = None
    created_after: float = 0.0
    greets_with: ModelEvent = attrs.field(factory=lambda: SessionCreated("sess_1"))
    agreed_after: float = 0.0
    agrees_with: ModelEvent | None = None
    """None: to what was asked."""
    lives_after: float = math.inf
    """Until it answers a probe."""
    closes_after: float = 0.0


class FakeSession:
    """`ModelSession`: one connection."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.commands: list[tuple[float, ModelCommand]] = []
        self.appended: list[tuple[float, list[str], int]] = []
        self.closed = False
        self.takes = trio.Event()
        """Not set: sends wait for it."""
        self.takes.set()
        self._events: deque[tuple[float, ModelEvent]] = deque()
        self._gone: ModelGone | None = None
        self._agrees: ModelEvent | None = None
        self._news = trio.Event()
        self._told = trio.Event()
        self._later(place.created_after, place.greets_with)

    # ------------------------------------------------------------ what tests do

    def push(self, *events: ModelEvent) -> None:
        """The model says these, now."""
        for event in events:
            self._later(0, event)

    def lose(self, reason: str = "gone") -> None:
        """The connection breaks, after what was pushed before."""
        self._gone = ModelGone(reason)
        self._news.set()

    def speak(
        self,
        reply: str,
        item: str,
        audio: bytes | Sequence[bytes],
        words: str = "",
        *,
        calls: tuple[ToolCall, ...] = (),
        status: ReplyStatus = ReplyStatus.COMPLETED,
        end: bool = True,
    ) -> None:
        """A whole reply of one item, all at once, as a fast model does."""
        deltas = [audio] if isinstance(audio, bytes) else list(audio)
        self.push(ReplyBegan(reply))
        if words:
            self.push(ReplyWords(reply, item, words))
        self.push(*(ReplyAudio(reply, item, delta) for delta in deltas))
        if end:
            self.push(ItemEnded(reply, item), ReplyEnded(reply, status, calls))

    def said(self, kind: type[C]) -> list[C]:
        """The commands of one kind, in order."""
        return [command for _, command in self.commands if isinstance(command, kind)]

    def times(self, kind: type[C]) -> list[float]:
        """When the commands of one kind were sent."""
        return [at for at, command in self.commands if isinstance(command, kind)]

    async def told(self, kind: type[C], count: int = 1) -> C:
        """Waits until `count` commands of one kind were sent; the last of them."""
        while len(self.said(kind)) < count:
            if self._told.is_set():  # there may be others who wait
                self._told = trio.Event()
            await self._told.wait()
        return self.said(kind)[count - 1]

    @property
    def texts(self) -> list[str]:
        """What it was told as text, in order."""
        return [tell.text for tell in self.said(Tell)]

    @property
    def heard(self) -> list[str]:
        """The payloads appended, in order."""
        return [payload for _, payloads, _ in self.appended for payload in payloads]

    # ------------------------------------------------------------ the port

    async def receive(self) -> ModelEvent:
        """See `ModelSession`."""
        await trio.lowlevel.checkpoint()
        while True:
            due = self._events[0][0] if self._events else math.inf
            if due <= trio.current_time():
                return self._events.popleft()[1]
            if self._gone is not None:
                raise self._gone
            self._news = trio.Event()
            with trio.move_on_at(due):
                await self._news.wait()

    async def send(self, command: ModelCommand) -> None:
        """See `ModelSession`."""
        await self._writing()
        self.commands.append((trio.current_time(), command))
        if isinstance(command, Configure):
            self._agrees = self.place.agrees_with or SessionAgreed(agreed_to(command.config))
            self._later(self.place.agreed_after, self._agrees)
        if isinstance(command, Probe) and self._agrees and self.place.lives_after < math.inf:
            self._later(self.place.lives_after, self._agrees)
        self._told.set()

    def append_now(self, payload: str) -> bool:
        """See `ModelSession`."""
        if not self.takes.is_set() or self._gone is not None:
            return False
        self.appended.append((trio.current_time(), [payload], 0))
        return True

    async def append(self, payloads: list[str], silence_ms: int) -> None:
        """See `ModelSession`."""
        await self._writing()
        self.appended.append((trio.current_time(), list(payloads), silence_ms))

    async def _writing(self) -> None:
        await trio.lowlevel.checkpoint()
        await self.takes.wait()
        if self._gone is not None:
            raise self._gone

    def _later(self, seconds: float, event: ModelEvent) -> None:
        self._events.append((trio.current_time() + seconds, event))
        self._news.set()


class FakeModel:
    """`ModelPort`: `places` in the order in which they are tried."""

    def __init__(self, *places: Place) -> None:
        self.places = places or (Place(),)
        self.sessions: list[FakeSession] = []
        self.tried: list[tuple[float, int]] = []
        self.names: list[str] = []
        """Of the models that were asked for."""
        self._opened = trio.Event()

    @property
    def endpoints(self) -> int:
        """See `ModelPort`."""
        return len(self.places)

    @asynccontextmanager
    async def connect(self, endpoint: int, name: str = "") -> AsyncIterator[FakeSession]:
        """See `ModelPort`."""
        place = self.places[endpoint]
        self.tried.append((trio.current_time(), endpoint))
        self.names.append(name)
        await trio.sleep(place.opens_after)
        if place.refuses is not None:
            raise place.refuses
        session = FakeSession(place)
        self.sessions.append(session)
        self._opened.set()
        try:
            yield session
        finally:
            session.closed = True
            with trio.CancelScope(shield=True, deadline=trio.current_time() + place.closes_after):
                await trio.sleep(place.closes_after)

    async def session(self, number: int = 1) -> FakeSession:
        """Waits for the connection `number` (from 1) to be open and asked to be set up."""
        while len(self.sessions) < number:
            self._opened = trio.Event()
            await self._opened.wait()
        session = self.sessions[number - 1]
        await session.told(Configure)
        return session
