"""The call as a machine: `step(state, event, rules, now) -> (state, effects)`. Pure; the actor around it is in `flow.py`.

    TALKING ──end_call, transfer, key 0, the flow──▶ FAREWELL ──all heard──▶ LEFT
       ▲  │                                             │                      ▲
       │  └── link lost, moved away, hung up ───────────┼──────────────────────┘
       └────── the caller speaks or presses a key ──────┘

In FAREWELL what becomes of the caller is decided, and the last words are being said. A caller who interrupts them takes
the decision back. What is talked about while TALKING is the machine of `dialogue.py`, which this one feeds.

A step is made in layers, one a file: what the flow wants done (`flow_step.py`), what the model asks for (`tool_step.py`),
and here the beginning, the give and take, keys and timers. State and effects are in `call_state.py`, last words in `farewell.py`.
"""

import datetime
from collections.abc import Iterator

import attrs

from actors import details, dialogue
from actors.call_state import (
    APOLOGY,
    ASKED_TO_WAIT,
    DICTATED_AT_MOST,
    DIGITS_AT_MOST,
    DIGITS_PAUSE,
    END_KEY,
    HUMAN_KEY,
    LATE,
    ONE_MOMENT,
    STILL_HERE,
    AskModel,
    Effect,
    FlowEvent,
    Leave,
    Link,
    Listen,
    Phase,
    Recall,
    ReportQuiet,
    Result,
    Rules,
    Say,
    SetTimer,
    State,
    StopTimer,
    TellKeys,
    TellModel,
)
from actors.dialogue import Dialogue, Outcome, Pressed, Status
from actors.farewell import LAST_WORDS, MOVING, at_farewell, go, left, lost, moved, moving, stay
from actors.flow_step import floor_here, timer_name, timers
from actors.guidance import guidance
from actors.hold import asks_to_wait
from actors.messages import (
    AgentQuiet,
    AnswerTools,
    AwaitRest,
    Before,
    CallBegan,
    CallerDone,
    CallerSaid,
    CallerSpoke,
    CallerWaits,
    Disposition,
    ErrandDone,
    Extracted,
    Floor,
    FloorRule,
    Guide,
    HungUp,
    KeyPressed,
    LinkLost,
    LinkUp,
    MoveAway,
    ReplyOver,
    SetFloor,
    SetModel,
    SetPatience,
    TimerRang,
    ToolsCalled,
)
from actors.slots import Understood, understand
from actors.slots.unfinished import breaks_off
from actors.story import from_plain, known
from actors.tool_step import ToolStep
from conf.flow import Flow, Transition

# ---------------------------------------------------------------- the machine


def step(state: State, event: FlowEvent, rules: Rules, now: datetime.datetime) -> Result:
    """What follows from `event` in `state`; `now` is the caller's local time. After Leave nothing has any effect."""
    if state.phase is Phase.LEFT:
        return state, ()
    said = isinstance(event, ReplyOver | ToolsCalled) and event.spoke
    before = attrs.evolve(state, reply_floor="") if said and state.reply_floor else state
    after, effects = _Step(rules, now).everywhere(before, event)
    if after.phase is Phase.TALKING and after.link is Link.LOST:
        return left(after, Leave(Disposition.IVR, f"the model was lost: {after.why}", drain=True))
    if after.phase is Phase.LEFT:
        return after, effects
    after, effects = _told(state, after, effects, rules.flow, now.date())
    asks_anyway = isinstance(event, TimerRang) and event.name.startswith("silence")
    if not (after.kept_waiting or after.digits) or after.phase is not Phase.TALKING or asks_anyway:
        return after, effects
    return after, tuple(_unspoken(effects))


def _unspoken(effects: tuple[Effect, ...]) -> Iterator[Effect]:
    """The same effects for a caller who asked to wait, or is typing: the model learns of it all, and keeps quiet."""
    for effect in effects:
        if isinstance(effect, AnswerTools):
            yield attrs.evolve(effect, then_reply=False)
        elif effect != AskModel():
            yield effect


def _told(before: State, after: State, effects: tuple[Effect, ...], flow: Flow, today: datetime.date) -> Result:
    """The model and the timers learn of a change of the dialogue, before the model is asked to speak on it."""
    was, now = before.dialogue, after.dialogue
    floors = _floor(flow, before), _floor(flow, after)
    if was is now and before.caller == after.caller and floors[0] is floors[1]:
        return after, effects
    moved = (was.at, was.visits) != (now.at, now.visits)
    changes: list[Effect] = []
    if _patience(flow, was) != _patience(flow, now):
        changes.append(SetPatience(_patience(flow, now)))
    if _model(flow, was) != _model(flow, now):
        changes.append(SetModel(_model(flow, now)))
    if floors[0] is not floors[1]:
        changes.append(SetFloor(floors[1]))
    text = guidance(flow, now, after.caller, today)
    if text != after.guided:
        after = attrs.evolve(after, guided=text)
        changes.append(Guide(text))
    if moved:
        changes += [StopTimer(timer_name(*each)) for each in dialogue.timeouts(flow, was.at)]
        changes += timers(after, flow)
    if not changes:
        return after, effects
    told: list[Effect] = []
    for effect in effects:
        if isinstance(effect, AnswerTools) and effect.then_reply:
            told += [AnswerTools(effect.results, then_reply=False), *changes, AskModel()]
            changes = []
        elif isinstance(effect, AskModel):
            told += [*changes, effect]
            changes = []
        else:
            told.append(effect)
    return after, (*told, *changes)


def _patience(flow: Flow, now: Dialogue) -> int:
    """The state's patience while something is still to be dictated; a yes or no needs none. Before the call: 0."""
    state = flow.states[now.at]
    dictates = any(not now.held(name).known for name in state.collects) or not state.collects
    return state.patience_ms if now.visits and dictates else 0


def _model(flow: Flow, now: Dialogue) -> str:
    """The model that is to speak in the state; empty: the usual one, as before the call."""
    return flow.states[now.at].model if now.visits else ""


def _floor(flow: Flow, state: State) -> FloorRule:
    """How what the model says gives way to a caller who speaks; before the call, and with last words, at once."""
    if not state.dialogue.visits or state.phase is not Phase.TALKING:
        return FloorRule.OPEN
    return FloorRule(state.reply_floor or floor_here(flow, state.dialogue))


@attrs.frozen
class _Step(ToolStep):
    """One step of the call: what follows from what."""

    def everywhere(self, state: State, event: FlowEvent) -> Result:
        """What holds in every phase; what is left depends on it."""
        if isinstance(event, HungUp):
            # A lost stream is opened again if the caller is still there: only then does the carrier ask.
            return left(state, Leave(Disposition.RESUME if event.lost else Disposition.HANG_UP, event.reason))
        if isinstance(event, MoveAway):
            return moving(state)
        if state.moving and state.phase is Phase.TALKING:
            if isinstance(event, LinkLost) or (isinstance(event, AgentQuiet) and not state.in_exchange):
                return moved(state, in_time=True)
            if isinstance(event, ReplyOver):  # who was speaking, or waited for this, hears it first
                after, effects = self.talking(state, event)
                return after, (*effects, ReportQuiet())
        if isinstance(event, CallBegan):
            return self.began(state, event)
        if isinstance(event, LinkUp):
            return attrs.evolve(state, link=Link.UP), (StopTimer("link"),)
        if isinstance(event, LinkLost):
            return lost(state, event.reason)
        if isinstance(event, CallerWaits) and state.kept_waiting:
            return state, ()
        if isinstance(event, CallerWaits):
            later = APOLOGY if event.doubtful else STILL_HERE
            return state, (Say(ONE_MOMENT if event.times == 1 else later, told=False),)
        if isinstance(event, KeyPressed):
            return self.key(attrs.evolve(state, held_turn=0), event.digit)
        if isinstance(event, TimerRang):
            return self.rang(state, event.name)
        if isinstance(event, ToolsCalled):
            return self.tools(state, event)
        if isinstance(event, ErrandDone):
            return self.errand_done(state, event)
        if state.phase is Phase.FAREWELL:
            return at_farewell(state, event)
        return self.talking(state, event)

    def talking(self, state: State, event: FlowEvent) -> Result:
        """The give and take."""
        if isinstance(event, CallerSpoke):  # the model will answer that, and the keys with it
            fresh = attrs.evolve(state.dialogue, turn=state.dialogue.turn + (not event.again), idle=0)
            spoke = attrs.evolve(state, speaking=True, reply_owed=False, dialogue=fresh, unsaved=(), extract_tries=0)
            return spoke, tuple(StopTimer(t.name) for t in self.silences(state) if isinstance(t, SetTimer))
        if isinstance(event, CallerDone):
            items = (*state.items, event.item)[-3:]
            done = attrs.evolve(state, speaking=False, items=items, done_turn=state.dialogue.turn)
            # Who speaks and types is answered when both are over.
            return done, (*([Listen(Floor.KEY)] if state.digits else []), *self.silences(state))
        if isinstance(event, CallerSaid) and not event.text.strip():
            return self.still_held(state, event)
        if isinstance(event, CallerSaid):
            after, effects = self.overheard(state, event)
            after, more = self.held(after, event)
            return after, (*effects, *more)
        if isinstance(event, ReplyOver) and state.speaking:  # the one that they interrupted
            return state, tuple(self.silences(state))
        if isinstance(event, ReplyOver):
            turn = state.dialogue.turn
            # Who broke off while dictating is still to be answered, if that was put off.
            broke_off = bool(state.dictated) and state.dictated_turn == turn
            answered = state.answered_turn if broke_off and not event.spoke else turn
            replied = attrs.evolve(state, replied_turn=turn, answered_turn=answered)
            after, effects = self.extract_if_missed(replied)
            return after, (*self.silences(after), *effects)
        if isinstance(event, Extracted):
            return self.extracted(state, event)
        if isinstance(event, AgentQuiet) and state.reply_owed:
            return attrs.evolve(state, reply_owed=False), (AskModel(),)
        return state, ()

    def held(self, state: State, event: CallerSaid) -> Result:
        """Whether the caller asks to wait, or is back. What was said in an earlier turn, or while they speak on, is neither."""
        turn = state.dialogue.turn
        if event.item in state.items and (event.item != state.items[-1] or state.done_turn != turn):
            begun, rest = self.dictates(state, event.text)
            return begun if rest else state, ()  # what they dictate now begins with it
        if self.flow.hold_seconds and asks_to_wait(event.text, self.flow.language):
            waits = attrs.evolve(state, held_turn=turn, reply_owed=False)
            return waits, (Listen(Floor.WAIT), TellModel(ASKED_TO_WAIT), *self.silences(waits))
        state, rest = self.dictates(state, event.text)
        if not state.held_turn:
            return state, rest
        back = attrs.evolve(state, held_turn=0)
        return back, (*rest, *self.silences(back))

    def dictates(self, state: State, text: str) -> Result:
        """Whether the caller breaks off in the middle of a value that is asked for: then they look for the rest of it."""
        said = f"{state.dictated} {text}".strip()[-DICTATED_AT_MOST:]
        collects = self.flow.states[state.dialogue.at].collects
        asked = [n for n in collects if state.dialogue.held(n).status in {Status.MISSING, Status.UNCLEAR}]
        unfinished = False
        if state.dictated or not any(self.is_whole(state, name, text) for name in asked):
            for kind in {self.flow.slots[name].kind for name in asked}:
                # A name is said first, and spelled when they are asked to.
                spelled = f"{state.said_before} {said}" if kind == "person_name" else said
                unfinished = unfinished or breaks_off(kind, spelled, self.flow.language, self.flow.region)
        if unfinished:
            return attrs.evolve(state, dictated=said, dictated_turn=state.dialogue.turn), (AwaitRest(),)
        return attrs.evolve(state, dictated="", said_before=text[-DICTATED_AT_MOST:]), ()

    def is_whole(self, state: State, name: str, text: str) -> bool:
        """Whether `text` puts some digits of a number right that was told before, or is a day, an hour, how many: all of it."""
        slot, held = self.flow.slots[name], state.dialogue.held(name)
        if slot.kind in {"person_name", "email", "text"} or (slot.kind == "phone" and not held.text):
            return False
        how = details.context(slot, self.flow, self.now)
        return isinstance(understand(slot.kind, text, how, held.text), Understood)

    def still_held(self, state: State, event: CallerSaid) -> Result:
        """There were no words in the turn of a caller who asked to wait, or broke off while dictating: they do so still."""
        last = bool(state.items) and event.item == state.items[-1] and state.done_turn == state.dialogue.turn
        if not (state.held_turn and last):
            cough = last and state.dictated and state.dictated_turn == state.dialogue.turn - 1
            return state, (AwaitRest(),) if cough else ()
        waits = attrs.evolve(state, held_turn=state.dialogue.turn, reply_owed=False)
        return waits, tuple(self.silences(waits))

    # ------------------------------------------------------------ the beginning

    def began(self, state: State, event: CallBegan) -> Result:
        """The first words, at once; with what was before, if anything is known of it."""
        caller = attrs.evolve(state, caller=event.caller)
        story = from_plain(event.story, self.flow) if event.story else None
        told = story is not None and bool(
            known(self.flow, story.dialogue) or story.dialogue.wish or any(said.who == "caller" for said in story.said)
        )
        greeting_or = {
            Before.NOTHING: self.flow.greeting,
            Before.CUT_OFF: "reconnected" if told else "resume",
            Before.CALLED_BACK: "welcome_back",
            Before.NOT_TAKEN: "not_taken",
        }
        timers = (
            SetTimer("link", self.rules.greeting_seconds + self.rules.max_silence),
            SetTimer("longest call", self.rules.max_seconds),
        )
        if story is None:
            fresh, due = dialogue.begin(self.flow, self.now)
            opened, effects = self.do(attrs.evolve(caller, dialogue=fresh), due)
            floor = FloorRule(self.flow.greeting_floor if event.before is Before.NOTHING else "open")
            say = Say(greeting_or[event.before], first=True, floor=floor)
            ask = (AskModel(),) if event.before is Before.NOT_TAKEN else ()
            return opened, (say, *timers, *effects, *ask)
        again = story.dialogue
        opened = attrs.evolve(caller, dialogue=again)
        begun: tuple[Effect, ...] = (Recall(story.said), Say(greeting_or[event.before]), *timers)
        if event.before is Before.NOT_TAKEN:
            after, due = dialogue.happen(again, Outcome("transfer", event.outcome or "failed"), self.flow, self.now)
            opened, effects = self.do(attrs.evolve(opened, dialogue=after), due)
            effects = tuple(effect for effect in effects if not isinstance(effect, Listen))  # the prompt is to be heard
            ask = (AskModel(),) if opened.phase is Phase.TALKING and AskModel() not in effects else ()
            return opened, (*begun, *effects, *ask)
        if not told:  # the caller had said nothing yet: it is for them to speak
            return opened, begun
        # The stream may have broken while they waited for an answer, or for what a tool was to find out.
        owed = "If what they said last was not answered, do that now, with a tool if it takes one."
        text = "Else go on with the next thing that is missing, and name in a few words what you have. Do not greet."
        return opened, (*begun, TellModel(f"[The caller is back. {owed} {text}]", once=True), AskModel())

    # ------------------------------------------------------------ keys and timers

    def key(self, state: State, digit: str) -> Result:
        """The state's own keys first, then the one for a human, then what all states share, then it is typing."""
        own, shared = self.flow.states[state.dialogue.at].transitions, self.flow.shared
        if not state.digits and state.phase is Phase.TALKING and _names_key(own, digit):
            meant = self.pressed(state, digit)
            if meant is not None:
                return meant
        if digit == HUMAN_KEY and not state.digits:
            if state.going in {Disposition.DIAL, Disposition.DIAL_WARM}:
                return state, ()
            going = self.rules.transfer()
            return go(state, going, "the caller pressed 0", Floor.KEY, LAST_WORDS[going])
        if not state.digits and _names_key(shared, digit):
            meant = self.pressed(state, digit)
            if meant is not None:
                return meant
        if digit == END_KEY and state.digits:
            return self.digits_done(state)
        if len(state.digits) >= DIGITS_AT_MOST:
            return state, ()
        first = (Listen(Floor.KEY),) if not state.digits else ()
        staying, stopped = stay(state)  # a key is a word too: who presses one goes on
        staying = attrs.evolve(staying, digits=state.digits + digit, dialogue=attrs.evolve(state.dialogue, idle=0))
        timers = (SetTimer("digits", DIGITS_PAUSE), *self.silences(staying))
        return staying, (*stopped, *first, *timers)

    def pressed(self, state: State, digit: str) -> Result | None:
        """A key that may mean something to the flow; None if it does not, as things are."""
        before = attrs.evolve(state.dialogue, turn=state.dialogue.turn + 1, idle=0)
        after, due = dialogue.happen(before, Pressed(digit), self.flow, self.now)
        if after is before and not due:
            return None
        staying, stopped = stay(state)
        moved, effects = self.moved(attrs.evolve(staying, dialogue=after), due, asked=False, since=before)
        went_on = moved.phase is Phase.TALKING and (after.at, after.visits) != (before.at, before.visits)
        ask = (AskModel(),) if went_on and AskModel() not in effects else ()
        return moved, (*stopped, Listen(Floor.KEY), *effects, *ask, *([] if went_on else self.silences(moved)))

    def digits_done(self, state: State) -> Result:
        """Typed to the end: if the flow asks for something of digits, that is what they are."""
        told = attrs.evolve(
            state,
            digits="",
            reply_owed=True,
            dialogue=attrs.evolve(state.dialogue, turn=state.dialogue.turn + 1),
        )
        stop = StopTimer("digits")
        typed = details.keyed(told.dialogue, self.flow, state.digits, self.now)
        if typed is None:
            return told, (stop, TellKeys(state.digits), ReportQuiet())
        after, report, name = typed
        wrong = report.problems[0].partition(" @ ")[0] if report.problems else ""
        meaning = f"not usable as {name}: {wrong}" if wrong else f"saved as {name}"
        saved, effects = self.learned(told, after, report, asked=False)
        told_keys = (stop, TellKeys(state.digits, meaning), *effects)
        if saved.phase is not Phase.TALKING or AskModel() in effects:
            return attrs.evolve(saved, reply_owed=False), told_keys
        return saved, (*told_keys, ReportQuiet())

    def rang(self, state: State, name: str) -> Result:
        """A timer of ours."""
        if name == "digits":
            return self.digits_done(state)
        if name == MOVING:
            return moved(state, in_time=False)
        if name == "link":
            return lost(state, "it could not be had in time")
        if name == "longest call":
            return go(state, Disposition.HANG_UP, "the longest call", Floor.TIME, "goodbye")
        if name == "farewell" and state.going is not None:
            return left(state, Leave(state.going, state.why))
        if name == LATE:
            waits = bool(state.late) and state.phase is Phase.TALKING and not state.kept_waiting
            return state, (Say(STILL_HERE, told=False), *self.silences(state)) if waits else ()
        kind, _, number = name.partition(" ")
        if kind == "errands":
            return self.out_of_patience(state, int(number))
        if kind in {"silence", "after"} and state.phase is Phase.TALKING:
            return self.timed_out(state, kind, float(number))
        return state, ()

    def timed_out(self, state: State, kind: str, seconds: float) -> Result:
        """A timeout of the dialogue's state."""
        if kind == "silence" and (state.batches or state.late):
            return state, tuple(self.silences(state))  # it is not for the caller to speak
        before = state.dialogue
        happening = dialogue.Silent(seconds) if kind == "silence" else dialogue.Lasted(seconds)
        after, due = dialogue.happen(before, happening, self.flow, self.now)
        if after.idle > self.flow.idle_times:
            unheard = attrs.evolve(state, dialogue=attrs.evolve(before, idle=after.idle))
            return go(unheard, Disposition.HANG_UP, "nobody is there any more", Floor.TIME, "goodbye")
        moved, effects = self.moved(attrs.evolve(state, dialogue=after), due, asked=False, since=before)
        stayed = (moved.dialogue.at, moved.dialogue.visits) == (before.at, before.visits)
        again = self.silences(moved) if moved.phase is Phase.TALKING and stayed else []
        return moved, (*effects, *again)


def _names_key(transitions: tuple[Transition, ...], digit: str) -> bool:
    return any(digit in part.key for transition in transitions for part in transition.when.parts())
