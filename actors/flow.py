"""FlowFSM: the actor around the machine of `fsm.py`. Events in, effects out, timers as cancel scopes."""

import datetime
import math
from collections.abc import Callable, Mapping
from zoneinfo import ZoneInfo

import attrs
import trio

from actors import call_state, fsm
from actors.briefing import ONCE_PREFIX, PROMPT_PREFIX
from actors.mailbox import Mailbox, Outbox, WhenFull
from actors.messages import (
    BYTES_PER_MS,
    AnswerTools,
    AskReply,
    AwaitRest,
    CallBegan,
    Errand,
    Extract,
    Floor,
    Guide,
    Play,
    Role,
    RunPython,
    SendText,
    SetFloor,
    SetModel,
    SetPatience,
    StopTalking,
    Tell,
    TellWhenQuiet,
    TimerRang,
)

QUEUE = 64
"""A silent dialogue is worse than a dead call: a full mailbox ends the call."""

PROMPT_LATE = 5.0
"""Seconds that a recorded prompt may begin and be heard later than it was said."""

FlowOutput = Tell | AskReply | AnswerTools | StopTalking | AwaitRest | Guide | SetPatience | SetModel | Extract


@attrs.frozen
class Words:
    """A recorded prompt: what it says, and its audio in µ-law bytes."""

    text: str
    audio: bytes


@attrs.frozen
class Neighbours:
    """Where the flow's effects go. `yield_floor` stops the agent's speech at once; `speech_until` tells when it ends."""

    framer: Outbox[Play | TellWhenQuiet | SetFloor]
    link: Outbox[FlowOutput]
    errands: Outbox[Errand]
    yield_floor: Callable[[Floor], None]
    speech_until: Callable[[], float]
    on_step: Callable[[call_state.FlowEvent, call_state.State], None] = lambda event, state: None
    """Told of every step: what happened, and the state after it."""
    on_note: Callable[[str], None] = lambda text: None
    """Told of what should not happen."""
    protected: Callable[[], bool] = lambda: False
    """Whether what is being said must be heard to its end."""


class FlowActor:
    """Keeps the state of the call; what the machine wants done is sent to those who do it.

    Mailbox in: `inbox`. Out: see `Neighbours`. Ends by itself, with the decision how the stream is left.
    `wall` is the time of the call's beginning; from there Trio's clock tells what time it is for the caller.
    """

    def __init__(self, rules: call_state.Rules, prompts: Mapping[str, Words], wall: datetime.datetime) -> None:
        self.inbox: Mailbox[call_state.FlowEvent] = Mailbox("flow", QUEUE, WhenFull.FATAL)
        self.state = call_state.initial(rules.flow)
        self._rules = rules
        self._prompts = prompts
        self._began = wall.astimezone(ZoneInfo(rules.flow.timezone))
        self._start = trio.current_time()
        self._timers: dict[str, tuple[int, trio.CancelScope]] = {}
        self._settings = 0
        self._played = 0
        self._prompt_until = -math.inf
        """Until when the recorded prompt that was said last may be heard."""
        self._told_once = 0

    async def run(self, began: CallBegan, neighbours: Neighbours) -> call_state.Leave:
        """Until the machine wants to leave; how is the result."""
        self._to = neighbours
        self.inbox.post(began)
        async with trio.open_nursery() as nursery:
            leave = await self._talk(nursery)
            nursery.cancel_scope.cancel("the dialogue is over")
        return leave

    def now(self) -> datetime.datetime:
        """The caller's local time."""
        return self._began + datetime.timedelta(seconds=trio.current_time() - self._start)

    async def _talk(self, nursery: trio.Nursery) -> call_state.Leave:
        """Step by step, until one of them is to leave."""
        while True:
            event = await self.inbox.receive()
            if isinstance(event, TimerRang) and self._timers.get(event.name, (0, None))[0] != event.setting:
                continue  # set anew or stopped while it rang
            self.state, effects = fsm.step(self.state, event, self._rules, self.now())
            self._to.on_step(event, self.state)
            for effect in effects:
                if isinstance(effect, call_state.Leave):
                    return effect
                self._perform(effect, nursery)

    def _perform(self, effect: call_state.Effect, nursery: trio.Nursery) -> None:
        link = self._to.link
        if isinstance(effect, call_state.Say):
            self._say(effect)
        elif isinstance(effect, call_state.Listen) and effect.reason is Floor.KEY and self._to.protected():
            return  # a key does not cut it either: what it brings about is said afterwards
        elif isinstance(effect, AwaitRest) and self._to.protected():
            return
        elif isinstance(effect, call_state.Listen):
            self._to.yield_floor(effect.reason)
            link.post(StopTalking(until_words=effect.reason is Floor.WAIT))
        elif isinstance(effect, call_state.ReportQuiet):
            self._to.framer.post(TellWhenQuiet())
        elif isinstance(effect, SetFloor):
            self._to.framer.post(effect)
        elif isinstance(effect, call_state.TellKeys):
            meaning = f"; {effect.meaning}" if effect.meaning else ""
            text = f"[The caller pressed these keys on the telephone: {effect.digits}{meaning}]"
            link.post(Tell(Role.CALLER, text))
        elif isinstance(effect, call_state.TellModel):
            self._told_once += effect.once
            item = f"{ONCE_PREFIX}{self._told_once}" if effect.once else ""
            link.post(Tell(Role.OPERATOR, effect.text, item))
        elif isinstance(effect, call_state.Recall):
            for said in effect.said:
                link.post(Tell(Role.CALLER if said.who == "caller" else Role.AGENT, said.words))
        elif isinstance(effect, call_state.AskModel):
            link.post(AskReply())
        elif isinstance(effect, call_state.SetTimer):
            self._set(effect, nursery)
        elif isinstance(effect, call_state.StopTimer):
            self._stop(effect.name)
        elif isinstance(effect, SendText | RunPython):
            self._to.errands.post(effect)
        elif isinstance(effect, call_state.Note):
            self._to.on_note(effect.text)
        elif isinstance(effect, AnswerTools | Guide | SetPatience | SetModel | Extract | AwaitRest):
            link.post(effect)

    def _say(self, effect: call_state.Say) -> None:
        words = self._prompts[effect.name]
        self._played += 1
        item = f"{PROMPT_PREFIX}{effect.name}_{self._played}"
        self._to.framer.post(Play(item, words.text, words.audio, effect.floor))
        self._prompt_until = trio.current_time() + len(words.audio) / (BYTES_PER_MS * 1000) + PROMPT_LATE
        if effect.told:
            self._to.link.post(Tell(Role.AGENT, words.text, item, first=effect.first))

    def _set(self, timer: call_state.SetTimer, nursery: trio.Nursery) -> None:
        self._stop(timer.name)
        self._settings += 1
        scope = trio.CancelScope()
        self._timers[timer.name] = (self._settings, scope)
        nursery.start_soon(self._ring, timer, self._settings, scope)

    async def _ring(self, timer: call_state.SetTimer, setting: int, scope: trio.CancelScope) -> None:
        with scope:
            due = trio.current_time() + timer.seconds
            await trio.sleep_until(due)
            while timer.quiet and due < self._to.speech_until() + timer.seconds:  # somebody began to speak meanwhile
                due = self._to.speech_until() + timer.seconds
                await trio.sleep_until(due)
            while timer.prompts and due < self._prompt_until:
                due = self._prompt_until
                await trio.sleep_until(due)
            self.inbox.post(TimerRang(timer.name, setting))

    def _stop(self, name: str) -> None:
        if name in self._timers:
            self._timers.pop(name)[1].cancel(f"timer {name} stopped")
