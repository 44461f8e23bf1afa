"""ModelLine: one connection to the model, in a task of its own: opened, configured, kept as a spare, used, closed.

That it has its own task is what lets a session be prepared while another one is up, and lets a lost one take its time to close.
"""

import math
from collections.abc import Callable

import attrs
import trio

from actors.messages import (
    AgreedSession,
    Configure,
    Gravity,
    ModelEvent,
    ModelTrouble,
    SessionAgreed,
    SessionConfig,
    SessionCreated,
)
from actors.ports import ModelGone, ModelPort, ModelSession

SPARE_SHARE = 0.5
"""Share of its life that a session is kept as a spare: what takes the place of another must not be at its end itself."""


@attrs.define(eq=False)
class ModelLine:
    """The connection to `place`, for the model `name` (empty: the usual one), set up as `config` says.

    `connect`, `answer`: seconds for it to open, and for each answer while it is set up. `trouble` is told of what is odd but
    bearable.
    """

    model: ModelPort
    place: int
    name: str
    config: SessionConfig
    connect: float
    answer: float
    trouble: Callable[[str], None]
    expires: float = math.inf
    """When the session will be over (Trio's clock), and below how long it was to last, in seconds."""
    lasts: float = math.inf
    use: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    """Whoever uses the session does so in here: it is cancelled when the session is gone."""
    ended_by_us: str = ""
    """Why, if we gave it up, and below whether that was planned."""
    planned_end: bool = False
    gone: ModelGone | None = None
    settled: trio.Event = attrs.field(factory=trio.Event)
    """Set when it is ready, or over."""
    parted: trio.Event = attrs.field(factory=trio.Event)
    """Set when it is over, or no spare any more."""
    taken: bool = False
    _session: ModelSession | None = None
    _life: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    _sparing: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    @property
    def ready(self) -> bool:
        """Whether the session can be used."""
        return self._session is not None

    @property
    def over(self) -> bool:
        """Whether it is of no use any more."""
        return self.settled.is_set() and not self.ready

    async def run(self) -> None:
        """From the opening until it is gone, or let go. Raises nothing of the model's: see `gone`."""
        try:
            with self._life:
                await self._connected()
        except* ModelGone as errors:
            self.gone = joined(errors)
        finally:
            self._session = None
            self.use.cancel("the session is gone")
            self.settled.set()
            self.parted.set()

    async def _connected(self) -> None:
        with trio.move_on_after(self.connect) as opening:
            async with self.model.connect(self.place, self.name) as session:
                opening.deadline = math.inf
                await self._configure(session)
                self._session = session
                self.settled.set()
                if not self.taken:
                    await self._spared(session)
                if self.taken:
                    await trio.sleep_forever()
                self._session = None  # too old: nobody is to take it while it closes
                self.parted.set()
        if opening.cancelled_caught:
            raise ModelGone(f"no connection within {self.connect:g} s")

    async def _spared(self, session: ModelSession) -> None:
        """Until it is taken, or too old."""
        self._sparing.deadline = trio.current_time() + SPARE_SHARE * self.lasts
        with self._sparing:
            while True:  # a session that is not used has nothing to say but that it is over
                _raise_if_lost(await session.receive())

    async def take(self) -> ModelSession:
        """The session, for use, when it is ready. Raises ModelGone if it is over before."""
        self.taken = True
        await self.settled.wait()
        if self._session is None:
            raise self.gone or ModelGone("the session is over")
        self._sparing.cancel("it is used")
        self.parted.set()
        return self._session

    def end(self, why: str, *, planned: bool) -> None:
        """It is given up while it is used, for trouble or as planned."""
        self.ended_by_us, self.planned_end = why, planned
        self.use.cancel(why)

    def let_go(self) -> None:
        """It is not needed any more, and closes by itself."""
        self._life.cancel("it is not needed any more")

    def before_end(self, share: float) -> float:
        """When only `share` of the session's time is left; infinity if it does not end."""
        return math.inf if self.expires == math.inf else self.expires - share * self.lasts

    # ------------------------------------------------------------ set-up

    async def _configure(self, session: ModelSession) -> None:
        created = await self._answer(session, SessionCreated)
        if isinstance(created, SessionCreated) and created.expires_in is not None:
            self.expires, self.lasts = trio.current_time() + created.expires_in, created.expires_in
        await session.send(Configure(self.config))
        answer = await self._answer(session, SessionAgreed)
        assert isinstance(answer, SessionAgreed)
        if wrong := disagreement(self.config, answer.agreed):
            raise ModelGone(f"the session is not what was asked for: {wrong}", fatal=True)
        if answer.agreed.turn_detection != self.config.turn_detection:
            self.trouble(f"turns are detected otherwise than asked: {answer.agreed.turn_detection}")

    async def _answer(self, session: ModelSession, kind: type[SessionCreated] | type[SessionAgreed]) -> ModelEvent:
        with trio.move_on_after(self.answer):
            while True:
                event = await session.receive()
                if isinstance(event, kind):
                    return event
                if isinstance(event, ModelTrouble):
                    raise ModelGone(f"{event.code}: {event.text}", fatal=event.gravity is Gravity.FATAL)
        raise ModelGone(f"the model did not answer within {self.answer:g} s while the session was set up")


def disagreement(asked: SessionConfig, agreed: AgreedSession) -> str:
    """What of the agreed session differs from what was asked so that the call cannot go on; empty if nothing does."""
    if not agreed.mulaw_in or not agreed.mulaw_out:
        return "the audio is not µ-law both ways"
    if agreed.voice and agreed.voice != asked.voice:
        return f"the voice is {agreed.voice!r}, not {asked.voice!r}"
    got = agreed.turn_detection
    if got is None:
        return "there is no turn detection"
    if (got.create_response, got.interrupt_response) != (
        asked.turn_detection.create_response,
        asked.turn_detection.interrupt_response,
    ):
        return "turns are not detected as asked"
    return ""


def _raise_if_lost(event: ModelEvent) -> None:
    if isinstance(event, ModelTrouble) and event.gravity in {Gravity.LOST, Gravity.FATAL}:
        raise ModelGone(f"{event.code}: {event.text}", fatal=event.gravity is Gravity.FATAL)


def joined(group: BaseExceptionGroup[ModelGone]) -> ModelGone:
    """All that is said in a group, as one: whoever reads and whoever writes may meet the same end."""
    leaves = _leaves(group)
    reasons = dict.fromkeys(str(leaf) for leaf in leaves)
    return ModelGone("; ".join(reasons), fatal=any(leaf.fatal for leaf in leaves))


def _leaves(group: BaseExceptionGroup[ModelGone]) -> list[ModelGone]:
    found: list[ModelGone] = []
    for error in group.exceptions:
        found.extend(_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    return found
