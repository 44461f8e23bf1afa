"""FlowFSM: the actor around the machine of `fsm.py`. Events in, effects out, timers as cancel scopes."""

from collections.abc import Callable, Mapping

import attrs
import trio

from actors import fsm
from actors.mailbox import Mailbox, Outbox, WhenFull
from actors.messages import (
    AnswerTools,
    AskReply,
    CallBegan,
    Floor,
    Play,
    Role,
    StopTalking,
    Tell,
    TellWhenQuiet,
    TimerRang,
)
from actors.realtime_link import PROMPT_PREFIX

QUEUE = 64
"""A silent dialogue is worse than a dead call: a full mailbox ends the call."""


@attrs.frozen
class Words:
    """A recorded prompt: what it says, and its audio in µ-law bytes."""

    text: str
    audio: bytes


class FlowActor:
    """Keeps the dialogue's state; what the machine wants done is sent to those who do it.

    Mailbox in: `inbox`. Out: `framer`, `link`; `yield_floor` stops the agent's speech at once, before what is said next.
    Ends by itself, with the decision how the stream is left.
    """

    def __init__(
        self, rules: fsm.Rules, prompts: Mapping[str, Words], on_step: Callable[[fsm.State], None] = lambda state: None
    ) -> None:
        self.inbox: Mailbox[fsm.FlowEvent] = Mailbox("flow", QUEUE, WhenFull.FATAL)
        self.state = fsm.State()
        self._rules = rules
        self._prompts = prompts
        self._on_step = on_step
        self._timers: dict[str, tuple[int, trio.CancelScope]] = {}
        self._settings = 0
        self._played = 0

    async def run(
        self,
        began: CallBegan,
        framer: Outbox[Play | TellWhenQuiet],
        link: Outbox[Tell | AskReply | AnswerTools | StopTalking],
        yield_floor: Callable[[Floor], None],
    ) -> fsm.Leave:
        """Until the machine wants to leave; how is the result."""
        self._framer, self._link, self._yield_floor = framer, link, yield_floor
        self.inbox.post(began)
        async with trio.open_nursery() as nursery:
            leave = await self._talk(nursery)
            nursery.cancel_scope.cancel("the dialogue is over")
        return leave

    async def _talk(self, nursery: trio.Nursery) -> fsm.Leave:
        """Step by step, until one of them is to leave."""
        while True:
            event = await self.inbox.receive()
            if isinstance(event, TimerRang) and self._timers.get(event.name, (0, None))[0] != event.setting:
                continue  # set anew or stopped while it rang
            self.state, effects = fsm.step(self.state, event, self._rules)
            self._on_step(self.state)
            for effect in effects:
                if isinstance(effect, fsm.Leave):
                    return effect
                self._perform(effect, nursery)

    def _perform(self, effect: fsm.Effect, nursery: trio.Nursery) -> None:
        if isinstance(effect, fsm.Say):
            self._say(effect)
        elif isinstance(effect, fsm.Listen):
            self._yield_floor(effect.reason)
            self._link.post(StopTalking())
        elif isinstance(effect, fsm.ReportQuiet):
            self._framer.post(TellWhenQuiet())
        elif isinstance(effect, fsm.TellKeys):
            self._link.post(Tell(Role.CALLER, f"[The caller pressed these keys on the telephone: {effect.digits}]"))
        elif isinstance(effect, fsm.AskModel):
            self._link.post(AskReply())
        elif isinstance(effect, fsm.SetTimer):
            self._stop(effect.name)
            self._settings += 1
            scope = trio.CancelScope()
            self._timers[effect.name] = (self._settings, scope)
            nursery.start_soon(self._ring, effect, self._settings, scope)
        elif isinstance(effect, fsm.StopTimer):
            self._stop(effect.name)
        elif isinstance(effect, AnswerTools):
            self._link.post(effect)

    def _say(self, effect: fsm.Say) -> None:
        words = self._prompts[effect.name]
        self._played += 1
        item = f"{PROMPT_PREFIX}{effect.name}_{self._played}"
        self._framer.post(Play(item, words.text, words.audio))
        if effect.told:
            self._link.post(Tell(Role.AGENT, words.text, item, first=self._played == 1))

    async def _ring(self, timer: fsm.SetTimer, setting: int, scope: trio.CancelScope) -> None:
        with scope:
            await trio.sleep(timer.seconds)
            self.inbox.post(TimerRang(timer.name, setting))

    def _stop(self, name: str) -> None:
        if name in self._timers:
            self._timers.pop(name)[1].cancel(f"timer {name} stopped")
