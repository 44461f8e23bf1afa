"""People who are called: by the API, or by `<Dial>`. Their script, their log, and the leg that carries both out."""

import contextlib
import math
from collections.abc import Awaitable, Callable
from typing import Literal, Protocol

import attrs
import trio

from transport.loopback import line
from transport.loopback.caller import Press
from transport.loopback.conference import Room
from transport.loopback.legs import Leg
from transport.loopback.line import CallLog, Dialled, Over, Sound
from transport.loopback.person import Person
from transport.loopback.twiml_reader import Conference, Dial, Pause

QUEUED_SECONDS = 0.1
DIALLING_SECONDS = 0.3
"""From `initiated` to `ringing`."""


@attrs.frozen
class Human:
    """What a person does whose number is called. Times in seconds."""

    outcome: Literal["answers", "busy", "no-answer", "failed"] = "answers"
    rings: float = 4.0
    """From the first ring until they answer, or refuse (`busy`); longer than the caller lets it ring is no answer."""
    keys: str = ""
    """Pressed when the prompt of the first `<Gather>` is over."""
    hangs_up_in_brief: bool = False
    """Puts the phone down in the middle of the first thing they are told."""
    talks: float = 30.0
    """From being connected with somebody until they put the phone down."""
    patience: float = 120.0
    """How long they wait in a conference that does not start."""


@attrs.define
class LegLog(CallLog):
    """A called person's leg. `end`: human, hangup, document, error, rest, busy, no-answer, failed, canceled, parent."""

    to: str = ""
    sender: str = ""
    direction: str = "outbound-api"
    status: str = "queued"
    """As `CallStatus` has it."""

    @property
    def told(self) -> list[str]:
        """What `<Say>` began to say to them."""
        return self.words()


class Exchange(line.Exchange, Protocol):
    """What a called person's leg needs of the carrier."""

    def stamp(self) -> str:
        """The time, as RFC 2822 has it."""
        ...

    def tell(self, url: str, forms: "trio.MemoryReceiveChannel[dict[str, str]]") -> None:
        """Posts forms in the background, in order, until their channel is closed."""
        ...


class HumanLeg(Leg):
    """A leg whose far end is a Human."""

    def __init__(
        self,
        exchange: Exchange,
        human: Human,
        log: LegLog,
        *,
        parent_sid: str = "",
        callback: str = "",
        events: frozenset[str] = frozenset(),
        fallback: str = "",
    ) -> None:
        person = Person((Press(human.keys),) if human.keys else ())
        super().__init__(
            exchange,
            log,
            person,
            caller=log.sender,
            called=log.to,
            direction=log.direction,
            parent_sid=parent_sid,
            state="queued",
        )
        self._human = human
        self._log = log
        self._hall = exchange
        self._events = events
        self._fallback_url = fallback
        self._sequence = 0
        self._announced = False
        self._forms: trio.MemorySendChannel[dict[str, str]] | None = None
        if callback and events:
            self._forms, received = trio.open_memory_channel[dict[str, str]](math.inf)
            exchange.tell(callback, received)
        self._prompts = 0
        self._briefed = False
        self._connected = trio.Event()
        self._nursery: trio.Nursery | None = None

    async def called_by_api(self, url: str, text: str, ring_seconds: float) -> None:
        """The whole leg: rings for at most `ring_seconds`, then the document at `url`, or `text`."""

        async def work() -> None:
            if await self._be_rung(ring_seconds):
                await self.talk(url, text)

        await self._live(work)

    async def dialled(self, parent: line.Line, verb: Dial, parent_gone: trio.Event) -> Dialled:
        """The whole leg: rings, hears the whisper, talks with `parent`. A parent who leaves ends it."""
        status, seconds = "no-answer", 0.0

        async def leave_with_parent() -> None:
            await parent_gone.wait()
            self.log.end = "parent"
            self.end_now("completed")

        async def work() -> None:
            nonlocal status, seconds
            self._do_soon(leave_with_parent)
            if not await self._be_rung(verb.timeout):
                status = self.state
                return
            if verb.whisper:
                await self.talk(verb.whisper)
                if self.log.end != "document":
                    return  # turned down, as far as the caller is told
                self.log.end = ""
            began = trio.current_time()
            self.joins()
            parent.joins()
            with trio.CancelScope() as self._scope:
                await self._person.gone.wait()
                self.log.end = "human"
            self.log.end = self.log.end or "rest"
            status, seconds = "completed", trio.current_time() - began

        await self._live(work)
        return Dialled(status, self.sid, seconds)

    def _fallback(self) -> str:
        """See Leg; who made the call has named it."""
        return self._fallback_url

    # ------------------------------------------------------------ from the ring to the end

    async def _live(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            async with trio.open_nursery() as self._nursery:
                await work()
                self._nursery.cancel_scope.cancel("the leg is over")
        finally:
            self._finish()

    def _finish(self) -> None:
        """Whatever it was that ended the leg."""
        if self.state in ("queued", "ringing", "in-progress"):
            self._enter("canceled" if self.answered_at is None else "completed")
        self.log.end = self.log.end or self.state
        self.log.ended, self.ended_at = trio.current_time(), self._exchange.now()
        if self._announced:
            self._tell("completed", CallDuration=str(self.duration), Duration=str(math.ceil(self.duration / 60)))
        if self._forms is not None:
            self._forms.close()

    async def _be_rung(self, at_most: float) -> bool:
        """Whether the person answers; if not, `state` says why."""
        human = self._human
        with trio.CancelScope() as self._scope:
            await trio.sleep(QUEUED_SECONDS)
            self._announced = True
            self._tell("initiated", CallStatus="initiated")
            await trio.sleep(DIALLING_SECONDS)
            if human.outcome == "failed":
                self._enter("failed")
                return False
            self._enter("ringing")
            self._tell("ringing")
            if human.outcome == "no-answer" or human.rings >= at_most:
                await trio.sleep(at_most)
                self._enter("no-answer")
                return False
            await trio.sleep(human.rings)
            if human.outcome == "busy":
                self._enter("busy")
                return False
            await self._answered()
            return True
        return False

    async def _answered(self) -> None:
        await super()._answered()
        self._enter("in-progress")
        self._tell("answered")

    def _enter(self, state: str) -> None:
        self.state = self._log.status = state

    def _tell(self, event: str, **extra: str) -> None:
        if self._forms is not None and event in self._events:
            told = {
                "CallbackSource": "call-progress-events",
                "SequenceNumber": str(self._sequence),
                "Timestamp": self._hall.stamp(),
                **extra,
            }
            self._sequence += 1
            with contextlib.suppress(trio.BrokenResourceError):  # the world has ended: there is nobody to tell
                self._forms.send_nowait(self.form(**told))

    # ------------------------------------------------------------ what the person does

    def _begins(self, verb: Sound) -> None:
        if self._human.hangs_up_in_brief and not self._briefed and not isinstance(verb, Pause):
            self._briefed = True
            self._do_soon(self._hang_up_after, self._seconds(verb) / 2)

    def _prompted(self) -> None:
        self._prompts += 1
        if self._prompts == 1:
            self._do_soon(self._person.live)

    def joins(self) -> None:
        """See Leg; the person hangs up when they have talked."""
        super().joins()
        if not self._connected.is_set():
            self._connected.set()
            self._do_soon(self._hang_up_after, self._human.talks)

    async def _in_room(self, room: Room, options: Conference) -> None:
        self._do_soon(self._lose_patience)
        await super()._in_room(room, options)

    async def _lose_patience(self) -> None:
        with trio.move_on_after(self._human.patience):
            await self._connected.wait()
            return
        self._person.gone.set()

    async def _hang_up_after(self, seconds: float) -> None:
        await trio.sleep(seconds)
        self._person.gone.set()

    def _do_soon(self, task: Callable[..., Awaitable[None]], *arguments: float) -> None:
        assert self._nursery is not None, "the leg is not alive"
        self._nursery.start_soon(task, *arguments)

    def _unless_gone(self) -> None:
        if self._person.gone.is_set():
            raise self._over("human")

    def _over(self, end: str) -> Over:
        return super()._over(self.log.end or end)
