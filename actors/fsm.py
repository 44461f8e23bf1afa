"""The call as a machine: `step(state, event, rules, now) -> (state, effects)`. Pure; the actor around it is in `flow.py`.

    TALKING ──end_call, transfer, key 0, the flow──▶ FAREWELL ──all heard──▶ LEFT
       ▲  │                                             │                      ▲
       │  └── link lost, moved away, hung up ───────────┼──────────────────────┘
       └────── the caller speaks or presses a key ──────┘

In FAREWELL what becomes of the caller is decided, and the last words are being said. A caller who interrupts them takes
the decision back. What is talked about while TALKING is the machine of `dialogue.py`, which this one feeds.
"""

import datetime
import enum
from collections.abc import Mapping
from typing import TypeAlias

import attrs

from actors import details, dialogue
from actors.details import Report
from actors.dialogue import Dialogue, Done, Due, Learned, Outcome, Pressed
from actors.guidance import guidance
from actors.messages import (
    AgentQuiet,
    AnswerTools,
    Before,
    CallBegan,
    CallerDone,
    CallerSaid,
    CallerSpoke,
    Disposition,
    Errand,
    ErrandDone,
    Extract,
    Extracted,
    Floor,
    Guide,
    HungUp,
    Interrupted,
    KeyPressed,
    LinkLost,
    LinkUp,
    MoveAway,
    ReplyOver,
    RunPython,
    SendText,
    SetPatience,
    TimerRang,
    ToolResult,
    ToolsCalled,
)
from actors.slots import read_back, typed
from actors.story import Said, from_plain, known
from actors.tool_desk import Answer, Desk
from actors.tools import BadArguments, arguments_from
from actors.tools import details as told_details
from conf.flow import Flow, Transition

FlowEvent: TypeAlias = (
    CallBegan
    | LinkUp
    | LinkLost
    | CallerSpoke
    | CallerDone
    | CallerSaid
    | ToolsCalled
    | ReplyOver
    | Extracted
    | ErrandDone
    | Interrupted
    | AgentQuiet
    | KeyPressed
    | HungUp
    | TimerRang
    | MoveAway
)

HUMAN_KEY = "0"
END_KEY = "#"
DIGITS_PAUSE = 2.0
"""Seconds after the last key until the keys pressed so far are handed to the model."""
DIGITS_AT_MOST = 64
FAREWELL_AT_MOST = 30.0
"""Seconds that last words may take; a goodbye is not a speech."""
ERRAND_PATIENCE = 2.5
"""Seconds that the model waits for a tool before it is told that it takes longer: the caller hears nothing meanwhile."""
BAD_CALLS_AT_MOST = 3
"""Replies in a row with tool calls of which none could be used; then the keypad takes over."""
IDLE_AT_MOST = 3
"""Silences in a row that the flow minded, without a word or key of the caller; then the agent says goodbye."""
DUE_AT_MOST = 64
"""Effects of one step: more of them is a flow that goes round in a circle."""
EXTRACT_TRIES = 2
"""Times the model is asked apart for one turn's details."""
EXTRACT = "details"


@attrs.frozen
class Rules:
    """What the machine knows of the server and the flow; times in seconds."""

    flow: Flow
    greeting_seconds: float
    max_silence: float
    max_seconds: float
    human: bool = True
    """Whether there is a human to transfer to."""
    warm: bool = False
    """Whether that human is told first, when the flow does not say."""

    def transfer(self, how: str = "") -> Disposition:
        """What a transfer means here."""
        if not self.human:
            return Disposition.VOICEMAIL
        return Disposition.DIAL_WARM if (how == "warm" or (not how and self.warm)) else Disposition.DIAL


class Phase(enum.Enum):
    """Where the call stands."""

    TALKING = "talking"
    FAREWELL = "farewell"
    LEFT = "left"


class Link(enum.Enum):
    """How things are with the model."""

    COMING = "coming"
    UP = "up"
    LOST = "lost"


Results: TypeAlias = tuple[tuple[str, Mapping[str, object] | None], ...]
"""Call ids in the order of the calls, with their results; None for one that is still being carried out."""


@attrs.frozen
class Batch:
    """One reply's tool calls while some of them are still being carried out."""

    results: Results
    waiting: Mapping[str, int]
    """Errand keys, and which result each gives."""


@attrs.frozen
class State:
    """The state of one call."""

    dialogue: Dialogue
    phase: Phase = Phase.TALKING
    link: Link = Link.COMING
    caller: str = ""
    going: Disposition | None = None
    """What is to become of the caller, in FAREWELL."""
    why: str = ""
    last_words_asked: bool = False
    """Whether the model has been asked for last words and has not said them yet."""
    digits: str = ""
    """Keys pressed so far, not yet handed to the model."""
    reply_owed: bool = False
    """Whether the model is to be asked for a reply as soon as the agent is quiet."""
    batches: Mapping[int, Batch] = attrs.field(factory=dict[int, Batch])
    batch: int = 0
    late: frozenset[str] = frozenset()
    """Errands whose outcome the model did not wait for."""
    bad_calls: int = 0
    guided: str = ""
    """The guidance that the model was given last."""
    items: tuple[str, ...] = ()
    """The caller's last turns, as the model names them."""
    unsaved: tuple[str, ...] = ()
    """Slots that the caller's words seem to hold and nobody has saved."""
    replied_turn: int = 0
    saved_turn: int = 0
    extract_tries: int = 0
    extract_turn: int = 0
    """The turn that the model was asked about last."""


def initial(flow: Flow) -> State:
    """Before the call begins."""
    return State(Dialogue(flow.start))


# ---------------------------------------------------------------- effects


@attrs.frozen
class Say:
    """Play the recorded prompt `name`; the model is told that it was said, before all else if it is `first`."""

    name: str
    told: bool = True
    first: bool = False


@attrs.frozen
class Listen:
    """The agent stops talking, before anything else is said."""

    reason: Floor


@attrs.frozen
class ReportQuiet:
    """Let the machine know (`AgentQuiet`) when all that is being said has been heard."""


@attrs.frozen
class TellKeys:
    """The model is told which keys the caller pressed, and what they mean if that is known."""

    digits: str
    meaning: str = ""


@attrs.frozen
class TellModel:
    """The model is told something that the caller does not hear."""

    text: str


@attrs.frozen
class Recall:
    """The model is told what was said before, on another stream."""

    said: tuple[Said, ...]


@attrs.frozen
class AskModel:
    """The model is asked to speak."""


@attrs.frozen
class SetTimer:
    """Ring `name` after `seconds`, once; replaces an earlier setting. `quiet`: not counting while the agent is heard."""

    name: str
    seconds: float
    quiet: bool = False


@attrs.frozen
class StopTimer:
    """Timer `name` is not to ring."""

    name: str


@attrs.frozen
class Note:
    """Something that should not happen, for the record."""

    text: str


@attrs.frozen
class Leave:
    """Close the stream; `drain`: let the speech that is on its way be heard first."""

    disposition: Disposition
    reason: str
    drain: bool = False


Effect: TypeAlias = (
    Say
    | Listen
    | ReportQuiet
    | TellKeys
    | TellModel
    | Recall
    | AskModel
    | SetTimer
    | StopTimer
    | AnswerTools
    | Guide
    | SetPatience
    | Extract
    | Errand
    | Note
    | Leave
)
Result: TypeAlias = tuple[State, tuple[Effect, ...]]


# ---------------------------------------------------------------- the machine


def step(state: State, event: FlowEvent, rules: Rules, now: datetime.datetime) -> Result:
    """What follows from `event` in `state`; `now` is the caller's local time. After Leave nothing has any effect."""
    if state.phase is Phase.LEFT:
        return state, ()
    after, effects = _Step(rules, now).everywhere(state, event)
    if after.phase is Phase.TALKING and after.link is Link.LOST:
        return _left(after, Leave(Disposition.IVR, f"the model was lost: {after.why}", drain=True))
    if after.phase is Phase.LEFT:
        return after, effects
    return _told(state, after, effects, rules.flow)


def _told(before: State, after: State, effects: tuple[Effect, ...], flow: Flow) -> Result:
    """The model and the timers learn of a change of the dialogue, before the model is asked to speak on it."""
    was, now = before.dialogue, after.dialogue
    if was is now and before.caller == after.caller:
        return after, effects
    moved = (was.at, was.visits) != (now.at, now.visits)
    changes: list[Effect] = []
    if _patience(flow, was) != _patience(flow, now):
        changes.append(SetPatience(_patience(flow, now)))
    text = guidance(flow, now, after.caller)
    if text != after.guided:
        after = attrs.evolve(after, guided=text)
        changes.append(Guide(text))
    if moved:
        changes += [StopTimer(_timer(*each)) for each in dialogue.timeouts(flow, was.at)]
        changes += _timers(flow, now.at)
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


def _timer(kind: str, seconds: float) -> str:
    return f"{kind} {seconds:g}"


def _timers(flow: Flow, state: str, kinds: tuple[str, ...] = ("silence", "after")) -> list[Effect]:
    """The timeouts of `state`, set."""
    return [
        SetTimer(_timer(kind, seconds), seconds, quiet=kind == "silence")
        for kind, seconds in dialogue.timeouts(flow, state)
        if kind in kinds
    ]


@attrs.frozen
class _Step:
    """One step: the rules, the time, and the tables of what follows from what."""

    rules: Rules
    now: datetime.datetime

    @property
    def flow(self) -> Flow:
        """The flow."""
        return self.rules.flow

    def desk(self, state: State) -> Desk:
        """Who answers tool calls."""
        return Desk(self.flow, state.caller, self.rules.transfer(), self.now)

    def everywhere(self, state: State, event: FlowEvent) -> Result:
        """What holds in every phase; what is left depends on it."""
        if isinstance(event, HungUp):
            # A lost stream is opened again if the caller is still there: only then does the carrier ask.
            return _left(state, Leave(Disposition.RESUME if event.lost else Disposition.HANG_UP, event.reason))
        if isinstance(event, MoveAway):
            return _left(state, Leave(Disposition.RESUME, "the server is going down", drain=True))
        if isinstance(event, CallBegan):
            return self.began(state, event)
        if isinstance(event, LinkUp):
            return attrs.evolve(state, link=Link.UP), (StopTimer("link"),)
        if isinstance(event, LinkLost):
            return _lost(state, event.reason)
        if isinstance(event, KeyPressed):
            return self.key(state, event.digit)
        if isinstance(event, TimerRang):
            return self.rang(state, event.name)
        if isinstance(event, ToolsCalled):
            return self.tools(state, event)
        if isinstance(event, ErrandDone):
            return self.errand_done(state, event)
        if state.phase is Phase.FAREWELL:
            return _farewell(state, event)
        return self.talking(state, event)

    def talking(self, state: State, event: FlowEvent) -> Result:
        """The give and take."""
        if isinstance(event, CallerSpoke):  # the model will answer that, and the keys with it
            fresh = attrs.evolve(state.dialogue, turn=state.dialogue.turn + 1, idle=0)
            spoke = attrs.evolve(state, reply_owed=False, dialogue=fresh, unsaved=(), extract_tries=0)
            return spoke, tuple(StopTimer(t.name) for t in self.silences(state) if isinstance(t, SetTimer))
        if isinstance(event, CallerDone):
            return attrs.evolve(state, items=(*state.items, event.item)[-3:]), tuple(self.silences(state))
        if isinstance(event, CallerSaid):
            return self.overheard(state, event)
        if isinstance(event, ReplyOver):
            replied = attrs.evolve(state, replied_turn=state.dialogue.turn)
            after, effects = self.extract_if_missed(replied)
            return after, (*self.silences(after), *effects)
        if isinstance(event, Extracted):
            return self.extracted(state, event)
        if isinstance(event, AgentQuiet) and state.reply_owed:
            return attrs.evolve(state, reply_owed=False), (AskModel(),)
        return state, ()

    def silences(self, state: State) -> list[Effect]:
        """The timers of silence, set anew."""
        return _timers(self.flow, state.dialogue.at, ("silence",))

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
            say = Say(greeting_or[event.before], first=True)
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
        text = "Go on with the next thing that is missing; name in a few words what you already have, and do not greet."
        return opened, (*begun, TellModel(f"[The caller is back. {text}]"), AskModel())

    # ------------------------------------------------------------ what the flow wants done

    def do(self, state: State, due: tuple[Due, ...], *, asked: bool = False) -> Result:
        """The effects of the dialogue as effects of the call. `asked`: the model is going to speak anyway."""
        effects: list[Effect] = []
        waiting = list(due)
        for _ in range(DUE_AT_MOST):
            if not waiting:
                break
            one = waiting.pop(0)
            if not isinstance(one, Done):
                effects.append(Note(one.why))
                continue
            effect = one.effect
            if effect.do == "sms":
                effects += self.text(state, one)
            elif effect.do == "tool":
                tool = self.flow.tools[effect.tool]
                try:
                    arguments = arguments_from(tool, self.typed(one))
                except BadArguments as error:
                    effects.append(Note(f"{effect.tool} at {state.dialogue.at!r}: {error}"))
                    failed = Outcome(effect.outcome_name, "failed")
                    after, more = dialogue.happen(state.dialogue, failed, self.flow, self.now)
                    state, waiting = attrs.evolve(state, dialogue=after), [*waiting, *more]
                    continue
                effects.append(RunPython(one.key, effect.outcome_name, tool, arguments))
            elif effect.do == "say":
                effects.append(Say(effect.prompt))
            elif effect.do == "reply":
                effects += [TellModel(f"[Say now: {self.filled(effect.text, one)}]")]
                effects += [] if asked else [AskModel()]
            elif state.phase is Phase.TALKING:
                state, leaving = self.leave_by(state, effect.do, effect.how, asked)
                effects += leaving
        if waiting:
            effects.append(Note(f"too much is to be done at {state.dialogue.at!r}: {len(waiting)} effects are dropped"))
        return state, tuple(effects)

    def leave_by(self, state: State, do: str, how: str, asked: bool) -> Result:
        """The flow itself ends the conversation."""
        going = {"hang_up": Disposition.HANG_UP, "voicemail": Disposition.VOICEMAIL}.get(do) or self.rules.transfer(how)
        why = f"the flow, at {state.dialogue.at!r}: {do.replace('_', ' ')}"
        if asked:  # the model is about to speak: let it say the last words
            leaving = attrs.evolve(state, phase=Phase.FAREWELL, going=going, why=why, last_words_asked=True)
            words = "Say goodbye" if going is Disposition.HANG_UP else "Say that you are handing them over"
            return leaving, (TellModel(f"[{words}, in one short sentence. Call no tool.]"), _farewell_timer())
        return _go(state, going, why, Floor.FLOW, _WORDS[going])

    def text(self, state: State, one: Done) -> list[Effect]:
        """A text message of the flow: to the number that was confirmed, else to the one that calls."""
        effect = one.effect
        held = one.slots.get(effect.to, dialogue.MISSING)
        to = held.text if held.status is dialogue.Status.CONFIRMED else state.caller
        return [SendText(one.key, effect.outcome_name, to, self.filled(effect.text, one))]

    def typed(self, one: Done) -> dict[str, object]:
        """The slots that were settled when an effect came due, as typed values."""
        held = {name: each for name, each in one.slots.items() if name in self.flow.slots}
        settled = {name: each.text for name, each in held.items() if each.status is dialogue.Status.CONFIRMED}
        return {name: typed(self.flow.slots[name].kind, text) for name, text in settled.items()}

    def filled(self, text: str, one: Done) -> str:
        """`text` with the slots put in, as people read them, as they were when the effect came due."""
        for name, slot in self.flow.slots.items():
            held = one.slots.get(name, dialogue.MISSING)
            shown = held.text if held.known else ""
            if shown and slot.kind in {"date_time", "date", "time"}:
                shown = read_back(slot.kind, shown)
            text = text.replace(f"{{{name}}}", shown)
        return text

    def learned(self, state: State, after: Dialogue, report: Report, *, asked: bool) -> Result:
        """Slots have changed: the flow may move."""
        after, due = dialogue.happen(after, Learned(report.corrected), self.flow, self.now)
        return self.moved(attrs.evolve(state, dialogue=after), due, asked=asked, since=state.dialogue)

    def moved(self, state: State, due: tuple[Due, ...], *, asked: bool, since: Dialogue) -> Result:
        """The dialogue is where it is now: what was kept back is handed over, and a slot that nobody understands ends it."""
        if (since.at, since.visits) != (state.dialogue.at, state.dialogue.visits) and state.dialogue.postponed:
            after, more = dialogue.redeliver(state.dialogue, self.flow, self.now)
            state, due = attrs.evolve(state, dialogue=after), (*due, *more)
        state, effects = self.do(state, due, asked=asked)
        if state.phase is Phase.TALKING and state.dialogue.at == since.at and self.exhausted(since, state.dialogue):
            state, leaving = self.leave_by(state, "transfer", "", asked)
            effects += leaving
        return state, effects

    def exhausted(self, before: Dialogue, after: Dialogue) -> bool:
        """Whether a slot that is asked for has just been tried as often as the flow allows, and no transition ever minds."""
        every = (part for state in self.flow.states for t in self.flow.transitions_of(state) for part in t.when.parts())
        minded = {name for part in every for name in part.tries}
        return any(
            name not in minded and before.held(name).tries < self.flow.slots[name].tries <= after.held(name).tries
            for name in self.flow.states[after.at].collects
        )

    # ------------------------------------------------------------ tools

    def tools(self, state: State, event: ToolsCalled) -> Result:
        """Every call of the reply gets its answer; the first that ends the conversation decides."""
        before, was_talking = state.dialogue, state.phase is Phase.TALKING
        answers: list[Answer] = []
        due: list[Due] = []
        now = before
        for call in event.calls:
            answer = self.desk(state).answer(call, now, event.spoke)
            now = answer.dialogue
            due += answer.due
            answers.append(answer)
        bad = 0 if any(answer.good for answer in answers) else state.bad_calls + 1
        saved = before.turn if now.slots != before.slots or now.wish != before.wish else state.saved_turn
        state = attrs.evolve(state, dialogue=now, bad_calls=bad, saved_turn=saved, replied_turn=before.turn)
        state, effects = self.moved(state, tuple(due), asked=was_talking, since=before)
        chosen = next((answer for answer in answers if answer.leads_to is not None), None)
        results = tuple((c.call_id, answer.result) for c, answer in zip(event.calls, answers, strict=True))
        errands = [answer.errand for answer in answers if answer.errand is not None]
        if was_talking and state.phase is Phase.FAREWELL:  # the flow itself decided to leave, on what was saved
            return state, (*errands, *effects, _answers(results, then_reply=True))
        if state.phase is Phase.FAREWELL:
            going, why = (chosen.leads_to, chosen.why) if chosen else (None, "")
            after, leaving = _tools_at_farewell(state, event.spoke, _answers(results, then_reply=False), going, why)
            return after, (*errands, *effects, *leaving)
        if chosen is not None:
            # Who said that they are connecting and cannot must say so.
            said = event.spoke and chosen.leads_to is not Disposition.VOICEMAIL
            leaving = attrs.evolve(
                state,
                phase=Phase.FAREWELL,
                going=chosen.leads_to,
                why=chosen.why,
                last_words_asked=not said,
                late=state.late | {errand.key for errand in errands},
            )
            answered = _answers(results, then_reply=not said)
            quiet = (ReportQuiet(),) if said else ()
            return leaving, (*errands, *effects, answered, _farewell_timer(), *quiet)
        if bad >= BAD_CALLS_AT_MOST:
            answered = _answers(results, then_reply=False)
            why = f"{bad} replies in a row with tool calls that could not be used"
            after, leaving = _go(state, Disposition.IVR, why, Floor.FLOW, "apology")
            promised = [effect for effect in effects if isinstance(effect, SendText | RunPython)]
            return after, (*promised, answered, Note(why), *leaving)
        if errands:
            number = state.batch + 1
            waiting_for = {a.errand.key: index for index, a in enumerate(answers) if a.errand is not None}
            batch = Batch(results, waiting_for)
            waiting = attrs.evolve(state, batch=number, batches={**state.batches, number: batch})
            return waiting, (*errands, *effects, SetTimer(f"errands {number}", ERRAND_PATIENCE))
        return state, (*effects, _answers(results, then_reply=True))

    def errand_done(self, state: State, event: ErrandDone) -> Result:
        """An errand came back: the model waits for it, or did not wait any more, or it was the flow's own."""
        for number, batch in state.batches.items():
            if event.key in batch.waiting:
                results = _with_result(batch.results, batch.waiting[event.key], _of_errand(event))
                rest = {key: index for key, index in batch.waiting.items() if key != event.key}
                return self.batch(self.noted(state, event), number, Batch(results, rest))
        if event.key in state.late:
            state = attrs.evolve(self.noted(state, event), late=state.late - {event.key})
            told = TellModel(f"[{event.name}, which took longer: {_spoken_outcome(event)}]")
            return state, (told, AskModel()) if state.phase is Phase.TALKING else (told,)
        if event.key.startswith("tool."):
            return self.noted(state, event), ()
        before = state.dialogue
        after, due = dialogue.happen(before, Outcome(event.name, event.outcome), self.flow, self.now)
        return self.moved(attrs.evolve(state, dialogue=after), due, asked=False, since=before)

    def noted(self, state: State, event: ErrandDone) -> State:
        """The outcome is part of what is known; who asked for it is told directly."""
        outcomes = {**state.dialogue.outcomes, event.name: event.outcome}
        return attrs.evolve(state, dialogue=attrs.evolve(state.dialogue, outcomes=outcomes))

    def batch(self, state: State, number: int, batch: Batch) -> Result:
        """A batch is answered when nothing is waited for any more: then the model may speak, once."""
        if batch.waiting:
            return attrs.evolve(state, batches={**state.batches, number: batch}), ()
        rest = {n: b for n, b in state.batches.items() if n != number}
        state = attrs.evolve(state, batches=rest)
        answered = _answers(batch.results, then_reply=state.phase is Phase.TALKING)
        return state, (StopTimer(f"errands {number}"), answered)

    def out_of_patience(self, state: State, number: int) -> Result:
        """It takes longer: the model is told so, and may say so. What comes later is told then."""
        batch = state.batches.get(number)
        if batch is None:
            return state, ()
        results = batch.results
        for index in batch.waiting.values():
            running = {"ok": True, "status": "still running", "next": "Say that it takes a moment."}
            results = _with_result(results, index, running)
        late = attrs.evolve(state, late=state.late | set(batch.waiting))
        return self.batch(late, number, Batch(results, {}))

    # ------------------------------------------------------------ what the model did not save

    def overheard(self, state: State, event: CallerSaid) -> Result:
        """The caller's words, written down."""
        after, unsaved = details.overheard(state.dialogue, self.flow, event.text, event.confidence, self.now)
        return self.extract_if_missed(attrs.evolve(state, dialogue=after, unsaved=unsaved))

    def extract_if_missed(self, state: State) -> Result:
        """The model answered a turn and saved nothing of it, though its words seem to hold what is asked for."""
        turn = state.dialogue.turn
        missed = state.unsaved and state.replied_turn == turn and state.saved_turn < turn and not state.extract_tries
        if not missed or not self.flow.extract or not state.items or state.batches:
            return state, ()
        return self.extract(state, "")

    def extract(self, state: State, problem: str) -> Result:
        """Asks apart, in text."""
        fields = {name: self.flow.slots[name].label for name in self.flow.states[state.dialogue.at].collects}
        wanted = ", ".join(f'"{name}": {label}' for name, label in fields.items())
        text = (
            "Listen to the caller's words again. Answer with one JSON object and nothing else; no key for what they did "
            f"not say, nothing guessed. Keys: {wanted}."
        )
        text += f" Your last answer could not be used: {problem}." if problem else ""
        asked = attrs.evolve(state, extract_tries=state.extract_tries + 1, extract_turn=state.dialogue.turn)
        return asked, (Extract(EXTRACT, text, state.items),)

    def extracted(self, state: State, event: Extracted) -> Result:
        """The answer: it is read like a tool call, and what cannot be read is asked for once more."""
        problem = event.problem
        if event.values is not None:
            try:
                told = told_details(event.values, self.flow)
            except BadArguments as error:
                if not event.values:
                    return state, ()  # there was nothing in it after all
                problem = str(error)
            else:
                after, report = details.save(state.dialogue, self.flow, told.values, self.now, told.confidence)
                if told.intent:
                    after = attrs.evolve(after, intent=told.intent, wish=told.intent)
                if report.saved or not report.problems:
                    saved = attrs.evolve(state, saved_turn=state.dialogue.turn, unsaved=())
                    return self.learned(saved, after, report, asked=False)
                problem = "; ".join(report.problems)
        if state.extract_tries >= EXTRACT_TRIES or state.extract_turn != state.dialogue.turn:
            return state, (Note(f"details could not be extracted: {problem}"),)
        return self.extract(state, problem)

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
            return _go(state, going, "the caller pressed 0", Floor.KEY, _WORDS[going])
        if not state.digits and _names_key(shared, digit):
            meant = self.pressed(state, digit)
            if meant is not None:
                return meant
        if digit == END_KEY and state.digits:
            return self.digits_done(state)
        if len(state.digits) >= DIGITS_AT_MOST:
            return state, ()
        first = (Listen(Floor.KEY),) if not state.digits else ()
        staying, stopped = _stay(state)  # a key is a word too: who presses one goes on
        staying = attrs.evolve(staying, digits=state.digits + digit, dialogue=attrs.evolve(state.dialogue, idle=0))
        timers = (SetTimer("digits", DIGITS_PAUSE), *self.silences(staying))
        return staying, (*stopped, *first, *timers)

    def pressed(self, state: State, digit: str) -> Result | None:
        """A key that may mean something to the flow; None if it does not, as things are."""
        before = attrs.evolve(state.dialogue, turn=state.dialogue.turn + 1, idle=0)
        after, due = dialogue.happen(before, Pressed(digit), self.flow, self.now)
        if after is before and not due:
            return None
        staying, stopped = _stay(state)
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
        if name == "link":
            return _lost(state, "it could not be had in time")
        if name == "longest call":
            return _go(state, Disposition.HANG_UP, "the longest call", Floor.TIME, "goodbye")
        if name == "farewell" and state.going is not None:
            return _left(state, Leave(state.going, state.why))
        kind, _, number = name.partition(" ")
        if kind == "errands":
            return self.out_of_patience(state, int(number))
        if kind in {"silence", "after"} and state.phase is Phase.TALKING:
            return self.timed_out(state, kind, float(number))
        return state, ()

    def timed_out(self, state: State, kind: str, seconds: float) -> Result:
        """A timeout of the dialogue's state."""
        before = state.dialogue
        happening = dialogue.Silent(seconds) if kind == "silence" else dialogue.Lasted(seconds)
        after, due = dialogue.happen(before, happening, self.flow, self.now)
        if after.idle > IDLE_AT_MOST:
            return _go(state, Disposition.HANG_UP, "nobody is there any more", Floor.TIME, "goodbye")
        moved, effects = self.moved(attrs.evolve(state, dialogue=after), due, asked=False, since=before)
        stayed = (moved.dialogue.at, moved.dialogue.visits) == (before.at, before.visits)
        again = self.silences(moved) if moved.phase is Phase.TALKING and stayed else []
        return moved, (*effects, *again)


def _names_key(transitions: tuple[Transition, ...], digit: str) -> bool:
    return any(digit in part.key for transition in transitions for part in transition.when.parts())


# ---------------------------------------------------------------- saying goodbye

_WORDS = {
    Disposition.HANG_UP: "goodbye",
    Disposition.DIAL: "transfer",
    Disposition.DIAL_WARM: "transfer",
    Disposition.VOICEMAIL: "message",
}
"""The recorded last words, for when the model does not find its own."""


def _farewell_timer() -> SetTimer:
    return SetTimer("farewell", FAREWELL_AT_MOST)


def _farewell(state: State, event: FlowEvent) -> Result:
    """The last words are being said, or asked for."""
    if isinstance(event, AgentQuiet) and not state.last_words_asked and state.going is not None:
        return _left(state, Leave(state.going, state.why))
    if isinstance(event, ReplyOver) and state.last_words_asked:
        said = attrs.evolve(state, last_words_asked=False)
        return said, ((ReportQuiet(),) if event.spoke else (*_own_words(state), ReportQuiet()))
    if isinstance(event, Interrupted) and event.reason in {Floor.SPEECH, Floor.MODEL}:
        return _stay(state)
    if isinstance(event, CallerSpoke):
        spoke = attrs.evolve(state, dialogue=attrs.evolve(state.dialogue, turn=state.dialogue.turn + 1, idle=0))
        return _stay(spoke) if state.last_words_asked else (spoke, ())
    return state, ()


def _lost(state: State, reason: str) -> Result:
    """There is no model. Last words can be said without it."""
    lost = attrs.evolve(state, link=Link.LOST)
    if state.phase is not Phase.FAREWELL:
        return attrs.evolve(lost, why=reason), ()
    words = _own_words(state) if state.last_words_asked else ()
    return attrs.evolve(lost, last_words_asked=False), (*words, ReportQuiet())


def _tools_at_farewell(state: State, spoke: bool, answered: AnswerTools, going: Disposition | None, why: str) -> Result:
    """It is decided already; a human who was promised stays promised."""
    if going is not None and state.going not in {Disposition.DIAL, Disposition.DIAL_WARM}:
        state = attrs.evolve(state, going=going, why=why)
    if not spoke and going is None and state.last_words_asked:
        return state, (attrs.evolve(answered, then_reply=True),)
    # It spoke, or it was asked for words and answered with the same wish again: then it finds none.
    words = () if spoke or not state.last_words_asked else _own_words(state)
    said = attrs.evolve(state, last_words_asked=False)
    return said, (answered, *words, ReportQuiet())


def _go(state: State, going: Disposition, why: str, floor: Floor, words: str) -> Result:
    """It is decided without the model: stop it, say the recorded words, and leave."""
    leaving = attrs.evolve(state, phase=Phase.FAREWELL, going=going, why=why, last_words_asked=False)
    return leaving, (Listen(floor), Say(words), _farewell_timer(), ReportQuiet())


def _stay(state: State) -> Result:
    """The caller has more to say: nothing is decided any more."""
    staying = attrs.evolve(state, phase=Phase.TALKING, going=None, why="", last_words_asked=False)
    return staying, ((StopTimer("farewell"),) if state.phase is Phase.FAREWELL else ())


def _own_words(state: State) -> tuple[Effect, ...]:
    return (Say(_WORDS.get(state.going or Disposition.HANG_UP, "goodbye")),)


def _left(state: State, leave: Leave) -> Result:
    return attrs.evolve(state, phase=Phase.LEFT), (leave,)


# ---------------------------------------------------------------- what the model is answered


def _answers(results: Results, *, then_reply: bool) -> AnswerTools:
    """The results in the order of the calls; what is still being carried out is said to be."""
    running: Mapping[str, object] = {"ok": True, "status": "being carried out"}
    told = tuple(ToolResult(call_id, running if result is None else result) for call_id, result in results)
    return AnswerTools(told, then_reply)


def _with_result(results: Results, index: int, result: Mapping[str, object]) -> Results:
    return (*results[:index], (results[index][0], result), *results[index + 1 :])


def _of_errand(event: ErrandDone) -> Mapping[str, object]:
    if event.outcome == "done":
        return {"ok": True, **event.detail}
    return {"ok": False, "error": _spoken_outcome(event), **event.detail}


def _spoken_outcome(event: ErrandDone) -> str:
    reason = event.detail.get("reason", "")
    meaning = {
        "done": "done",
        "opted_out": "not sent: this number does not want text messages; do not offer it again",
        "unknown": "it is not known whether it was carried out; do not repeat it, and say so if asked",
    }.get(event.outcome, "it failed")
    return f"{meaning}: {reason}" if reason else meaning
