"""The dialogue: where the conversation stands in its flow and what is known. Pure tables and functions, in the manner of
gen_statem: entering a state is an event, timeouts of a state die with it, and what comes too early is kept back, bounded.

`happen(dialogue, happening, flow, now)` is the whole machine: the first transition of the present state whose guard holds is
taken, its effects are returned, and the state that follows is entered, which may lead further at once.
"""

import datetime
import enum
from collections.abc import Iterator, Mapping
from typing import TypeAlias

import attrs

from conf import flow as flows

CHAIN_AT_MOST = 16
"""States that may be passed through at one event; more of them is a circle."""
POSTPONED_AT_MOST = 8
"""Outcomes that wait for a state that minds them."""
CAPTURES_KEPT = 6
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Status(enum.Enum):
    """What is true of a slot (the words are those of flow files)."""

    MISSING = "missing"
    UNCLEAR = "unclear"
    HEARD = "heard"
    CONFIRMED = "confirmed"
    DECLINED = "declined"


@attrs.frozen
class Held:
    """What is known of one slot. `text` is canonical; it is kept when it turns out wrong, so that a part can be mended."""

    text: str = ""
    status: Status = Status.MISSING
    tries: int = 0
    """Captures that failed, or turned out wrong, since the caller last confirmed one."""
    turn: int = 0
    """The caller's turn in which it was given."""
    captures: tuple[str, ...] = ()
    """The last readings of it, by whomever: the model, the transcript, keys."""
    model: float | None = None
    """How sure the model said it was, 0 to 1."""
    transcript: float | None = None
    """How sure the transcriber was of the words, 0 to 1."""
    failed: str = ""
    """What could not be read at the last try, as it was said: only for this stream."""
    failed_turn: int = 0
    """The caller's turn of that: only for this stream."""

    @property
    def known(self) -> bool:
        """Whether there is a value that may be used, as far as it goes."""
        return self.status in {Status.HEARD, Status.CONFIRMED}

    @property
    def confidence(self) -> float | None:
        """How sure one may be, 0 to 1: the least of what there is to go by; None if there is nothing."""
        sources = [source for source in (self.model, self.transcript) if source is not None]
        if len(self.captures) > 1:
            sources.append(sum(text == self.text for text in self.captures) / len(self.captures))
        return min(sources, default=None)


MISSING = Held()


@attrs.frozen
class Dialogue:
    """Where one conversation stands."""

    at: str
    slots: Mapping[str, Held] = attrs.field(factory=dict[str, Held])
    intent: str = ""
    """The caller's wish, until a transition has used it up."""
    wish: str = ""
    """The last wish, for the record."""
    turn: int = 0
    """The caller's turns so far."""
    visits: Mapping[str, int] = attrs.field(factory=dict[str, int])
    fired: frozenset[int] = frozenset()
    """Transitions that stay and ask for nothing to happen, taken in this visit already."""
    outcomes: Mapping[str, str] = attrs.field(factory=dict[str, str])
    """How effects came out, by name."""
    postponed: "tuple[Outcome, ...]" = ()
    idle: int = 0
    """Silences in a row in which the caller said nothing."""
    stays: int = 0
    """Transitions that stay, taken in this visit."""

    def held(self, slot: str) -> Held:
        """What is known of `slot`."""
        return self.slots.get(slot, MISSING)


# ---------------------------------------------------------------- what happens


@attrs.frozen
class Entered:
    """The state was entered."""


@attrs.frozen
class Learned:
    """Something was saved, confirmed or refused; `corrected`: slots that had another value before."""

    corrected: tuple[str, ...] = ()


@attrs.frozen
class Pressed:
    """A key."""

    key: str


@attrs.frozen
class Silent:
    """Nobody has said anything for so many seconds."""

    seconds: float


@attrs.frozen
class Lasted:
    """The state has lasted so many seconds."""

    seconds: float


@attrs.frozen
class Outcome:
    """Effect `name` came out so."""

    name: str
    outcome: str


attrs.resolve_types(Dialogue)
Happening: TypeAlias = Entered | Learned | Pressed | Silent | Lasted | Outcome


@attrs.frozen
class Done:
    """An effect that is due. `key` tells it from every other of the call, also after a resumption."""

    effect: flows.Effect
    key: str
    slots: Mapping[str, Held]
    """What was known at this moment: a later effect may forget it."""


@attrs.frozen
class Stuck:
    """The flow goes round in a circle, or more was kept back than there is room for; `why` says which."""

    why: str


Due: TypeAlias = Done | Stuck
Step: TypeAlias = tuple[Dialogue, tuple[Due, ...]]


# ---------------------------------------------------------------- the machine


def begin(flow: flows.Flow, now: datetime.datetime) -> Step:
    """A conversation from its start."""
    return _enter(Dialogue(flow.start), flow, now)


def again(dialogue: Dialogue, flow: flows.Flow, now: datetime.datetime) -> Step:
    """The same conversation from its start: everything that was told is forgotten."""
    return _enter(Dialogue(flow.start, turn=dialogue.turn, visits=dialogue.visits), flow, now)


def happen(dialogue: Dialogue, happening: Happening, flow: flows.Flow, now: datetime.datetime) -> Step:
    """What follows. `now`: wall clock in the flow's time zone, for conditions on the time of day."""
    if isinstance(happening, Silent):
        dialogue = attrs.evolve(dialogue, idle=dialogue.idle + 1)
    if not isinstance(happening, Outcome):
        return _run(dialogue, happening, flow, now)
    dialogue = attrs.evolve(dialogue, outcomes={**dialogue.outcomes, happening.name: happening.outcome})
    first = _first(dialogue, happening, flow, now)
    minded = first is not None and any(part.outcome for part in first[1].when.parts())
    after, due = _run(dialogue, happening, flow, now)
    if minded:
        return after, due
    kept, more = _postpone(after, happening, flow)
    return kept, (*due, *more)


def timeouts(flow: flows.Flow, state: str) -> tuple[tuple[str, float], ...]:
    """The timeouts of `state`: ("silence" or "after", seconds), each once."""
    found: dict[tuple[str, float], None] = {}
    for transition in flow.transitions_of(state):
        for part in transition.when.parts():
            if part.silence is not None:
                found["silence", part.silence] = None
            if part.after is not None:
                found["after", part.after] = None
    return tuple(found)


def _run(dialogue: Dialogue, happening: Happening, flow: flows.Flow, now: datetime.datetime) -> Step:
    due: list[Due] = []
    for _ in range(CHAIN_AT_MOST):
        found = _first(dialogue, happening, flow, now)
        if found is None:
            follows = _routed(dialogue, flow)
            if isinstance(follows, Stuck):
                return dialogue, (*due, follows)
            if not follows:
                return dialogue, tuple(due)
            dialogue, entered = _move(dialogue, flow, follows)
            due += entered
            happening = Entered()
            continue
        number, transition = found
        if _uses_intent(transition.when, dialogue, happening, now):
            dialogue = attrs.evolve(dialogue, intent="")
        if not transition.goto:
            dialogue = attrs.evolve(dialogue, stays=dialogue.stays + 1)
        dialogue, done = _do(transition.effects, dialogue, f"t{number}.{dialogue.stays}")
        due += done
        if transition.goto:
            dialogue, entered = _move(dialogue, flow, transition.goto)
            due += entered
            happening = Entered()
        elif _asks_for_an_event(transition.when):
            return dialogue, tuple(due)
        else:
            dialogue = attrs.evolve(dialogue, fired=dialogue.fired | {number})
    return dialogue, (*due, Stuck(f"the flow goes round in a circle at state {dialogue.at!r}"))


def _first(
    dialogue: Dialogue, happening: Happening, flow: flows.Flow, now: datetime.datetime
) -> tuple[int, flows.Transition] | None:
    for number, transition in enumerate(flow.transitions_of(dialogue.at)):
        if number not in dialogue.fired and holds(transition.when, dialogue, happening, now):
            return number, transition
    return None


def _routed(dialogue: Dialogue, flow: flows.Flow) -> "str | Stuck":
    """Where the state's own Python leads; empty if it has none, or stays. What it raises is its own failure."""
    state = flow.states[dialogue.at]
    if state.router is None:
        return ""
    known: dict[str, object] = {name: held.text for name, held in dialogue.slots.items() if held.known}
    try:
        follows = state.router({**known, "intent": dialogue.wish}) or ""
    except Exception as error:  # a flow's router may raise anything; it is noted, and the conversation stays
        return Stuck(f"the router of state {dialogue.at!r} failed: {type(error).__name__}: {error}")
    if follows and follows not in state.leads_to:
        return Stuck(f"the router of state {dialogue.at!r} leads to {follows!r}, which is not in its leads_to")
    return "" if follows == dialogue.at else follows


def _enter(dialogue: Dialogue, flow: flows.Flow, now: datetime.datetime) -> Step:
    """Into the start of the flow."""
    entered, due = _move(attrs.evolve(dialogue, at=""), flow, flow.start)
    after, more = _run(entered, Entered(), flow, now)
    return after, (*due, *more)


def _move(dialogue: Dialogue, flow: flows.Flow, to: str) -> Step:
    """Leaves the present state, if there is one, and enters `to`."""
    due: tuple[Due, ...] = ()
    if dialogue.at:
        dialogue, due = _do(flow.states[dialogue.at].on_exit, dialogue, "exit")
    visits = {**dialogue.visits, to: dialogue.visits.get(to, 0) + 1}
    dialogue = attrs.evolve(dialogue, at=to, visits=visits, fired=frozenset[int](), stays=0)
    dialogue, arriving = _do(flow.states[to].on_entry, dialogue, "entry")
    return dialogue, (*due, *arriving)


def _do(effects: tuple[flows.Effect, ...], dialogue: Dialogue, where: str) -> Step:
    """The effects in their order. Their keys are the same if the same step is taken again after a resumption."""
    visit = f"{dialogue.at}.{dialogue.visits.get(dialogue.at, 0)}"
    due: list[Due] = []
    for number, effect in enumerate(effects):
        if effect.do == "forget":
            kept = {name: held for name, held in dialogue.slots.items() if effect.slots and name not in effect.slots}
            dialogue = attrs.evolve(dialogue, slots=kept)
        else:
            due.append(Done(effect, f"{visit}.{where}.{number}", dialogue.slots))
    return dialogue, tuple(due)


# ---------------------------------------------------------------- what comes too early


def _postpone(dialogue: Dialogue, outcome: Outcome, flow: flows.Flow) -> Step:
    """Keeps `outcome` back if another state minds it; it is handed over by `redeliver` when the state has changed."""
    if not any(outcome.outcome in part.outcome.get(outcome.name, ()) for part in _parts(flow)):
        return dialogue, ()
    if len(dialogue.postponed) >= POSTPONED_AT_MOST:
        return dialogue, (Stuck(f"the outcome of {outcome.name!r} is dropped: too many are kept back"),)
    return attrs.evolve(dialogue, postponed=(*dialogue.postponed, outcome)), ()


def redeliver(dialogue: Dialogue, flow: flows.Flow, now: datetime.datetime) -> Step:
    """Hands over what was kept back; to be called when the state has changed. What changes it again begins anew."""
    due: tuple[Due, ...] = ()
    for _ in range(POSTPONED_AT_MOST):
        entered = (dialogue.at, dialogue.visits)
        waiting, dialogue = dialogue.postponed, attrs.evolve(dialogue, postponed=())
        for outcome in waiting:
            dialogue, more = happen(dialogue, outcome, flow, now)
            due += more
        if not dialogue.postponed or (dialogue.at, dialogue.visits) == entered:
            break
    return dialogue, due


def _parts(flow: flows.Flow) -> Iterator[flows.Condition]:
    """Every condition of a state's own."""
    for state in flow.states.values():
        for transition in state.transitions:
            yield from transition.when.parts()


# ---------------------------------------------------------------- guards


def holds(condition: flows.Condition, dialogue: Dialogue, happening: Happening, now: datetime.datetime) -> bool:
    """Whether everything that `condition` asks for is so."""
    return (
        _happens(condition, happening)
        and (not condition.intent or dialogue.intent in condition.intent)
        and all(dialogue.held(slot).status.value in statuses for slot, statuses in condition.slots.items())
        and all(dialogue.held(s).known and dialogue.held(s).text in values for s, values in condition.equals.items())
        and all(_unsure(dialogue.held(slot), below) for slot, below in condition.confidence_below.items())
        and all(dialogue.held(slot).tries >= times for slot, times in condition.tries.items())
        and dialogue.visits.get(dialogue.at, 0) >= condition.visits
        and (not condition.hours or _within(condition.hours, now.time()))
        and (not condition.days or DAYS[now.weekday()] in condition.days)
        and all(holds(part, dialogue, happening, now) for part in condition.all)
        and (not condition.any or any(holds(part, dialogue, happening, now) for part in condition.any))
        and (condition.but_not is None or not holds(condition.but_not, dialogue, happening, now))
    )


def _happens(condition: flows.Condition, happening: Happening) -> bool:
    if condition.key:
        return isinstance(happening, Pressed) and happening.key in condition.key
    if condition.silence is not None:
        return isinstance(happening, Silent) and happening.seconds == condition.silence
    if condition.after is not None:
        return isinstance(happening, Lasted) and happening.seconds == condition.after
    if condition.corrected:
        return isinstance(happening, Learned) and bool(set(happening.corrected) & set(condition.corrected))
    if condition.outcome:
        return isinstance(happening, Outcome) and happening.outcome in condition.outcome.get(happening.name, ())
    return True


def _asks_for_an_event(condition: flows.Condition) -> bool:
    """Whether it holds only at a moment: else it goes on holding, and what it does is done once a visit."""
    fields = ("key", "silence", "after", "corrected", "outcome", "intent")
    own = any(getattr(condition, field) not in ((), {}, None) for field in fields)
    return own or any(_asks_for_an_event(part) for part in (*condition.all, *condition.any))


def _uses_intent(condition: flows.Condition, dialogue: Dialogue, happening: Happening, now: datetime.datetime) -> bool:
    """Whether it holds because of the caller's wish."""
    chosen = (part for part in condition.any if holds(part, dialogue, happening, now))
    parts = (*condition.all, *chosen)
    return bool(condition.intent) or any(_uses_intent(part, dialogue, happening, now) for part in parts)


def _unsure(held: Held, below: float) -> bool:
    return held.known and held.confidence is not None and held.confidence < below


def _within(hours: str, time: datetime.time) -> bool:
    opens, closes = (datetime.time.fromisoformat(end) for end in hours.split("-"))
    return opens <= time < closes if opens < closes else time >= opens or time < closes
