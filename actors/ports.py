"""The doors of the room: what a call needs of the outside, and which errors may come through.

`transport/` implements them. Every method may be cancelled at any await unless its docstring says otherwise.
"""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from actors.messages import CarrierEvent, Disposition, ModelCommand, ModelEvent
from actors.notebook import CallRecord


class CarrierGone(Exception):
    """The media stream's connection is gone; nothing more can be sent or received."""


class ModelGone(Exception):
    """The model's connection could not be had, or is gone. `fatal`: no other connection would do better."""

    def __init__(self, reason: str, *, fatal: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.fatal = fatal


class CarrierPort(Protocol):
    """The media stream of one call, open and authenticated."""

    async def receive(self) -> CarrierEvent:
        """The next event. Loses nothing when cancelled. Raises CarrierGone."""
        ...

    @property
    def more(self) -> bool:
        """Whether the one after that is audio, and here already: much came at once, or is taken in late."""
        ...

    async def send_frame(self, audio: bytes) -> None:
        """Queues `audio` (µ-law bytes) for playback. Not to be cancelled alone: the connection would be torn."""
        ...

    async def send_mark(self, name: str) -> None:
        """Queues a mark. As `send_frame`."""
        ...

    async def send_clear(self) -> None:
        """Empties the playback queue. As `send_frame`."""
        ...

    async def close(self) -> None:
        """Ends the stream in order, so that the carrier asks what is next. Bounded; raises nothing."""
        ...


class ModelSession(Protocol):
    """One connection to the model."""

    async def receive(self) -> ModelEvent:
        """The next event that means something to a call. Loses nothing when cancelled. Raises ModelGone."""
        ...

    async def send(self, command: ModelCommand) -> None:
        """Sends one command. Concurrent sends keep their order. Raises ModelGone."""
        ...

    def append_now(self, payload: str) -> bool:
        """Sends the caller's audio without waiting. False, and nothing is sent, if the connection is busy, or gone."""
        ...

    async def append(self, payloads: list[str], silence_ms: int) -> None:
        """Sends the caller's audio: `payloads` joined, then `silence_ms` of silence. As `send`."""
        ...


class ModelPort(Protocol):
    """The way to the model."""

    @property
    def endpoints(self) -> int:
        """How many places there are to try, in order."""
        ...

    def connect(self, endpoint: int, name: str = "") -> AbstractAsyncContextManager[ModelSession]:
        """Opens a connection to the given place, for the model `name` (empty: the usual one).

        Leaving the block closes it, within 2 s. Raises ModelGone.
        """
        ...


class RecordPort(Protocol):
    """Where a call leaves what must outlive it. Never awaited in the audio path."""

    async def keep_disposition(self, call_sid: str, disposition: Disposition) -> None:
        """Stores what `/twilio/after` is to answer. Raises nothing: a failure is counted and logged."""
        ...

    async def keep_record(self, record: CallRecord) -> None:
        """Stores the finished call. Raises nothing: a failure is counted and logged."""
        ...

    async def keep_story(
        self, call_sid: str, caller: str, called: str, story: Mapping[str, object], *, over: bool
    ) -> None:
        """Stores what must be known to go on with the call, now or as soon as that can be done, unless there is a newer one by
        then; `over`: there is nothing to go on with.

        Raises nothing: a failure is counted and logged.
        """
        ...


class ErrandPort(Protocol):
    """Who carries out what the agent promises. Bounded; raises nothing: an outcome says what came of it."""

    async def send_text(self, call_sid: str, key: str, to: str, text: str) -> tuple[str, Mapping[str, object]]:
        """Sends a text message, at most once for `key`: done, failed, opted_out or unknown, and details ("reason")."""
        ...

    async def claim(self, call_sid: str, key: str, kind: str) -> bool:
        """Whether the errand `key` may be begun: it never was before, as far as can be known."""
        ...

    async def settle(self, call_sid: str, key: str, outcome: str, result: Mapping[str, object] | None = None) -> None:
        """Keeps what came of it; `result`: what is to be told to who asks for it again."""
        ...

    async def came(self, call_sid: str, key: str) -> tuple[str, Mapping[str, object]]:
        """What came of an errand that was begun before: its outcome ("unknown" if that is not known), and its result."""
        ...
