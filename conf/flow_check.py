"""Finds the mistakes in a flow before a caller does: what does not exist, cannot be reached, cannot be left, can never hold.

Each is one sentence that names the place in the file and ends with a hint.
"""

import collections
import difflib
import math
import re
import zoneinfo
from collections.abc import Collection, Iterator, Mapping

import attrs
import phonenumbers

from conf.flow import (
    ALWAYS_THERE,
    KEYS,
    LANGUAGES,
    SHARED_TOOLS,
    STATUSES,
    Condition,
    Effect,
    Flow,
    Names,
    Slot,
    State,
    Transition,
)
from conf.prompts import WORDS

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")
_FIELD = re.compile(r"\{([^{}]*)\}")
_ANYTHING = re.compile(r".*", re.DOTALL)
_DAY = r"\d{4}-[01]\d-[0-3]\d"
CANONICAL: Mapping[str, tuple[re.Pattern[str], str]] = {
    "number": (re.compile(r"-?(0|[1-9]\d*)(\.\d*[1-9])?"), "4"),
    "phone": (re.compile(r"\+\d+"), "+12125550123"),
    "date": (re.compile(_DAY), "2026-12-24"),
    "past_date": (re.compile(_DAY), "1980-12-24"),
    "time": (re.compile(r"[0-2]\d:[0-5]\d"), "17:30"),
    "date_time": (re.compile(rf"{_DAY}T[0-2]\d:[0-5]\d"), "2026-12-24T17:30"),
}
"""How values are kept, by kind, with an example: a guard compares with that."""
EVENTS = ("key", "silence", "after", "corrected", "outcome")
OUTCOMES: Mapping[str, Names] = {
    "sms": ("done", "failed", "opted_out", "unknown"),
    "tool": ("done", "failed", "unknown"),
    "transfer": ("busy", "no-answer", "failed", "refused"),
}
"""How effects can come out; a transfer that succeeds never comes back."""

FIELDS: Mapping[str, Names] = {
    "text": ("sms", "reply"),
    "to": ("sms",),
    "how": ("transfer",),
    "prompt": ("say",),
    "floor": ("say", "reply"),
    "slots": ("forget",),
    "tool": ("tool",),
}
"""What belongs to which effects; another would do as if it were not there."""

KEYPAD_KINDS = ("number", "yes_no", "choice")
"""Kinds of slots that a telephone's keys can answer, besides the number to call back, which is asked in any case."""
KEYS_TO_CHOOSE = 9


def problems(flow: Flow, prompts: Collection[str] = WORDS) -> list[str]:
    """All mistakes, in the order of the file; empty if there are none. `prompts`: the names of those there are."""
    parts = (_of_the_whole(flow, prompts), _of_slots(flow), _of_the_keypad(flow), _of_states(flow, prompts))
    return [*(problem for part in parts for problem in part), *_of_the_graph(flow)]


def successors(flow: Flow, name: str) -> list[str]:
    """The states that may follow state `name`, each once, in order."""
    state = flow.states[name]
    following = [t.goto for t in flow.transitions_of(name) if t.goto] + list(state.leads_to)
    return list(dict.fromkeys(following))


# ---------------------------------------------------------------- the whole


def _of_the_whole(flow: Flow, prompts: Collection[str]) -> Iterator[str]:
    named = (
        ("a flow", "name", [flow.name]),
        ("an intent", "intents", flow.intents),
        ("a state", "states", flow.states),
    )
    for what, place, names in named:
        for name in (name for name in names if not name.isprintable()):
            yield f"{name!r} cannot name {what} @ {place}: take out what cannot be seen, such as line breaks"
    if flow.greeting not in prompts:
        yield f"greeting = {flow.greeting!r} is no prompt @ greeting: {_hint(flow.greeting, prompts)}"
    if not flow.states:
        yield "there is no state @ states: write at least one [states.NAME], or in Python a function below @flow.state"
    elif flow.start not in flow.states:
        yield f"start = {flow.start!r} is no state @ start: {_hint(flow.start, flow.states)}"
    try:
        zoneinfo.ZoneInfo(flow.timezone)
    except (KeyError, OSError, ValueError):
        yield f"timezone = {flow.timezone!r} is unknown @ timezone: write an IANA name such as 'Europe/Berlin'"
    if flow.region not in phonenumbers.SUPPORTED_REGIONS:
        yield f"region = {flow.region!r} @ region: write the two capital letters of a country, as 'US' or 'GB'"
    if flow.slots and flow.language not in LANGUAGES:
        yield f"language = {flow.language!r} @ language: slots are understood in {', '.join(LANGUAGES)}"
    if not 0 <= flow.idle_seconds < math.inf:
        yield f"idle_seconds = {flow.idle_seconds:g} @ idle_seconds: seconds above 0; 0 to ask nobody whether they are there"
    if not 0 <= flow.hold_seconds < math.inf:
        yield f"hold_seconds = {flow.hold_seconds:g} @ hold_seconds: seconds above 0; 0 to leave it to the model"
    if flow.idle_times < 1:
        yield f"idle_times = {flow.idle_times} @ idle_times: at least 1"
    if not 0 < flow.reply_seconds <= flow.reply_seconds_at_most:
        yield "reply_seconds must be above 0 and at most reply_seconds_at_most @ reply_seconds: 5 and 30 are good values"


# ---------------------------------------------------------------- slots


def _of_slots(flow: Flow) -> Iterator[str]:
    collected = {slot for state in flow.states.values() for slot in state.collects}
    for name, slot in flow.slots.items():
        place = f"slots.{name}"
        if not name.isidentifier() or name in {"intent", "confidence"}:
            yield f"{name!r} cannot name a slot @ {place}: use letters, digits and underscores, not intent or confidence"
        if slot.kind == "choice" and len(slot.choices) < 2:
            yield f'a choice needs at least two choices @ {place}.choices: write choices.NAME = ["other word", …]'
        meant = collections.Counter(
            word for choice, others in slot.choices.items() for word in {text.casefold() for text in (choice, *others)}
        )
        for word in (word for word, times in meant.items() if times > 1):
            yield f"{word!r} stands for two choices @ {place}.choices: nobody could tell which one is meant"
        if slot.kind != "choice" and slot.choices:
            yield f"only kind = 'choice' has choices @ {place}.choices: take them out, or change the kind"
        if slot.least is not None and slot.most is not None and slot.least > slot.most:
            yield f"least is above most @ {place}.least: no number can be both"
        for field in ("least", "most"):
            bound: float | None = getattr(slot, field)
            if bound is not None and (slot.kind != "number" or not math.isfinite(bound)):
                yield f"{field} = {bound:g} @ {place}.{field}: only kind = 'number' can have it, and it is a number"
        if slot.hours and slot.kind not in {"time", "date_time"}:
            yield f"hours = {slot.hours!r} @ {place}.hours: only kind = 'time' and 'date_time' can have it"
        elif slot.hours and not (_HOURS.fullmatch(slot.hours) and slot.hours[:5] < slot.hours[6:]):
            yield f"hours = {slot.hours!r} @ {place}.hours: write them as '17:00-23:00', within one day"
        if slot.tries < 1:
            yield f"tries = {slot.tries} @ {place}.tries: at least 1"
        if name not in collected:
            yield f"no state collects it @ {place}: add it to the `collects` of a state, or take it out"


# ---------------------------------------------------------------- the keypad


def _of_the_keypad(flow: Flow) -> Iterator[str]:
    for intent in flow.keypad.reasons:
        if intent not in flow.intents:
            yield f"{intent!r} is no intent @ keypad.reasons: {_hint(intent, flow.intents)}"
    if len(flow.keypad.reasons) > KEYS_TO_CHOOSE:
        yield f"{len(flow.keypad.reasons)} reasons @ keypad.reasons: at most {KEYS_TO_CHOOSE}, one a key"
    for name in flow.keypad.collects:
        slot = flow.slots.get(name)
        if slot is None:
            yield f"{name!r} is no slot @ keypad.collects: {_hint(name, flow.slots)}"
        elif slot.kind not in KEYPAD_KINDS:
            yield f"{name!r} cannot be typed @ keypad.collects: slots of kind {', '.join(KEYPAD_KINDS)} can"
        elif len(slot.choices) > KEYS_TO_CHOOSE:
            yield f"{name!r} has {len(slot.choices)} choices @ keypad.collects: at most {KEYS_TO_CHOOSE}, one a key"


# ---------------------------------------------------------------- states, transitions, effects


def _of_states(flow: Flow, prompts: Collection[str]) -> Iterator[str]:
    for name, state in flow.states.items():
        place = f"states.{name}"
        for slot in sorted({slot for slot in state.collects if state.collects.count(slot) > 1}):
            yield f"{slot!r} is named twice @ {place}.collects: once is enough"
        for slot in state.collects:
            if slot not in flow.slots:
                yield f"{slot!r} is no slot @ {place}.collects: {_hint(slot, flow.slots)}"
        for tool in state.tools:
            if tool not in flow.tools:
                yield f"{tool!r} is no tool @ {place}.tools: {_hint(tool, flow.tools, 'tools are written in Python')}"
        for tool in state.without:
            if tool not in SHARED_TOOLS or tool in ALWAYS_THERE:
                allowed = [name for name in SHARED_TOOLS if name not in ALWAYS_THERE]
                yield f"{tool!r} cannot be taken away @ {place}.without: {_hint(tool, allowed)}"
        if not 0 <= state.seconds < math.inf:
            yield f"seconds = {state.seconds:g} @ {place}.seconds: 0 (as the flow says) or more"
        if not 0 <= state.patience_ms <= 5000:
            yield f"patience_ms = {state.patience_ms} @ {place}.patience_ms: from 0 (as the settings say) to 5000"
        for follows in state.leads_to:
            if follows not in flow.states:
                yield f"{follows!r} is no state @ {place}.leads_to: {_hint(follows, flow.states)}"
        for where in ("on_entry", "on_exit"):
            effects: tuple[Effect, ...] = getattr(state, where)
            for number, effect in enumerate(effects):
                yield from _of_effect(flow, prompts, effect, f"{place}.{where}[{number}]")
        yield from _of_transitions(flow, prompts, state, state.transitions, f"{place}.transitions")
    yield from _of_transitions(flow, prompts, None, flow.shared, "shared")
    used = {tool for state in flow.states.values() for tool in state.tools} | {effect.tool for effect in flow.effects()}
    for tool in flow.tools:
        if tool not in used:
            yield f"no state offers it @ tools.{tool}: add it to the `tools` of a state, or take it out"


def _of_transitions(
    flow: Flow, prompts: Collection[str], state: State | None, transitions: tuple[Transition, ...], place: str
) -> Iterator[str]:
    always = -1
    for number, transition in enumerate(transitions):
        here = f"{place}[{number}]"
        if transition.goto and transition.goto not in flow.states:
            yield f"goto = {transition.goto!r} is no state @ {here}.goto: {_hint(transition.goto, flow.states)}"
        if not transition.goto and not transition.effects:
            yield f"it neither leads anywhere nor does anything @ {here}: give it a goto or effects"
        if always >= 0:
            yield f"it can never be reached @ {here}: [{always}] above holds always; put it last, or give it a `when`"
        if transition.when == Condition():
            if state is None:
                yield f"it holds always, in every state @ {here}.when: say when"
            elif not transition.goto:
                yield f"it holds always and stays: it would be done again and again @ {here}.when: say when"
            always = number
        for condition in transition.when.parts():
            yield from _of_condition(flow, condition, f"{here}.when")
        for index, effect in enumerate(transition.effects):
            yield from _of_effect(flow, prompts, effect, f"{here}.effects[{index}]")


def _of_effect(flow: Flow, prompts: Collection[str], effect: Effect, place: str) -> Iterator[str]:
    for field in _FIELD.findall(effect.text):
        if field not in flow.slots:
            yield f"{{{field}}} is no slot @ {place}.text: {_hint(field, flow.slots)}"
    if effect.do == "sms":
        if not effect.text.strip():
            yield f"an SMS without a text @ {place}.text: write what it says"
        slot = flow.slots.get(effect.to)
        if effect.to != "caller" and (slot is None or slot.kind != "phone"):
            yield f"to = {effect.to!r} @ {place}.to: 'caller', or a slot of kind phone"
    for name, effects in FIELDS.items():
        given = getattr(effect, name)
        if effect.do not in effects and given != getattr(Effect(effect.do), name):
            yield f"{name} = {given!r} @ {place}.{name}: only {' and '.join(effects)} can have it"
    if effect.do == "reply" and not effect.text.strip():
        yield f"a reply without a text @ {place}.text: write what the agent should say now"
    if effect.do == "say" and effect.prompt not in prompts:
        yield f"prompt = {effect.prompt!r} @ {place}.prompt: {_hint(effect.prompt, prompts)}"
    if effect.do == "tool" and effect.tool not in flow.tools:
        yield f"tool = {effect.tool!r} @ {place}.tool: {_hint(effect.tool, flow.tools, 'tools are written in Python')}"
    elif effect.do == "tool":
        for field in attrs.fields(flow.tools[effect.tool].arguments):
            if field.default is attrs.NOTHING and field.name not in flow.slots:
                yield f"{effect.tool} needs {field.name!r} @ {place}.tool: {_hint(field.name, flow.slots)}; or give it a default"
    for slot_name in effect.slots:
        if slot_name not in flow.slots:
            yield f"{slot_name!r} is no slot @ {place}.slots: {_hint(slot_name, flow.slots)}"


# ---------------------------------------------------------------- guards


def _of_condition(flow: Flow, condition: Condition, place: str) -> Iterator[str]:
    yield from _of_events(flow, condition, place)
    for intent in condition.intent:
        if intent not in flow.intents:
            yield f"{intent!r} is no intent @ {place}.intent: {_hint(intent, flow.intents)}"
    named = {
        "slots": condition.slots,
        "equals": condition.equals,
        "confidence_below": condition.confidence_below,
        "tries": condition.tries,
    }
    for field, slots in named.items():
        for name in slots:
            if name not in flow.slots:
                yield f"{name!r} is no slot @ {place}.{field}: {_hint(name, flow.slots)}"
    for name, statuses in condition.slots.items():
        if name in flow.slots:
            yield from _of_statuses(flow.slots[name], statuses, f"{place}.slots.{name}")
    for name, values in condition.equals.items():
        slot = flow.slots.get(name)
        known = {"choice": tuple(slot.choices), "yes_no": ("yes", "no")}.get(slot.kind, values) if slot else values
        for value in values:
            if value not in known:
                yield f"it can never be {value!r} @ {place}.equals.{name}: {_hint(value, known)}"
            form, example = CANONICAL.get(slot.kind if slot else "", (_ANYTHING, ""))
            if not form.fullmatch(value):
                yield f"it can never be {value!r} @ {place}.equals.{name}: write it like {example!r}"
        statuses = condition.slots.get(name, ("heard",))
        if not set(statuses) & {"heard", "confirmed"}:
            yield f"a slot that is {' or '.join(statuses)} has no value @ {place}.equals.{name}: it can never hold"
    for name, below in condition.confidence_below.items():
        if not 0 < below <= 1:
            yield f"confidence_below = {below:g} @ {place}.confidence_below.{name}: above 0 and at most 1"
    for name, times in condition.tries.items():
        if times < 1:
            yield f"tries = {times} @ {place}.tries.{name}: at least 1"
    for day in condition.days:
        if day not in DAYS:
            yield f"{day!r} is no day @ {place}.days: {_hint(day, DAYS)}"
    if condition.hours and not _HOURS.fullmatch(condition.hours):
        yield f"hours = {condition.hours!r} @ {place}.hours: write them as '08:00-18:00'"
    elif condition.hours and condition.hours[:5] == condition.hours[6:]:
        yield f"hours = {condition.hours!r} @ {place}.hours: no time lies in it; it can never hold"


def _of_events(flow: Flow, condition: Condition, place: str) -> Iterator[str]:
    """What happens, happens one at a time: two of them in one guard never hold together."""
    together = list(_together(condition))
    events = list(dict.fromkeys(name for part in together for name in EVENTS if getattr(part, name)))
    if len(events) > 1:
        both = " and ".join(events)
        yield f"{both} never happen at the same moment @ {place}: it can never hold; make it two transitions, or use any"
    keys = [part.key for part in together if part.key]
    if keys and not any(all(key in others for others in keys) for key in keys[0]):
        yield f"two keys never happen at the same moment @ {place}: it can never hold; use any, or write them in one list"
    if len(condition.outcome) > 1:
        yield f"two outcomes never come at the same moment @ {place}.outcome: make it two transitions, or use any"
    for key in condition.key:
        if len(key) != 1 or key not in KEYS:
            yield f"{key!r} is no key @ {place}.key: one of {' '.join(KEYS)}"
    for field in ("silence", "after"):
        seconds: float | None = getattr(condition, field)
        if seconds is not None and not 0 < seconds < math.inf:
            yield f"{field} = {seconds:g} @ {place}.{field}: seconds above 0"
    if condition.visits < 0:
        yield f"visits = {condition.visits} @ {place}.visits: 0 or more"
    for name in condition.corrected:
        if name not in flow.slots:
            yield f"{name!r} is no slot @ {place}.corrected: {_hint(name, flow.slots)}"
    done = {effect.outcome_name: effect.do for effect in flow.effects() if effect.do != "transfer"}
    done["transfer"] = "transfer"  # its outcome goes by this name, whoever asked for it
    for name, outcomes in condition.outcome.items():
        if name not in done:
            yield f"nothing goes by the name {name!r} @ {place}.outcome: {_hint(name, done)}"
            continue
        possible = OUTCOMES.get(done[name], ())
        for outcome in outcomes:
            if outcome not in possible:
                yield f"{name} never comes out {outcome!r} @ {place}.outcome.{name}: {_hint(outcome, possible)}"


def _together(condition: Condition) -> Iterator[Condition]:
    """The condition and all that must hold at the same moment."""
    yield condition
    for part in condition.all:
        yield from _together(part)


def _of_statuses(slot: Slot, statuses: Names, place: str) -> Iterator[str]:
    for status in statuses:
        if status not in STATUSES:
            yield f"{status!r} is no status @ {place}: {_hint(status, STATUSES)}"
    if statuses == ("heard",) and not slot.confirmed_by_caller:
        yield f"it is never 'heard': its kind counts as confirmed at once @ {place}: write 'confirmed', or confirm = true"


# ---------------------------------------------------------------- the graph


def _of_the_graph(flow: Flow) -> Iterator[str]:
    if flow.start not in flow.states:
        return
    known = {name: [s for s in successors(flow, name) if s in flow.states] for name in flow.states}
    reached, waiting = {flow.start}, [flow.start]
    while waiting:
        for name in known[waiting.pop()]:
            if name not in reached:
                reached.add(name)
                waiting.append(name)
    yield from _circles(flow)
    for name, state in flow.states.items():
        place = f"states.{name}"
        if name not in reached:
            yield f"nothing leads there @ {place}: give a state that is reached a transition with goto = {name!r}"
        leaves = any(e.do in {"hang_up", "transfer", "voicemail"} for e in _leaving(flow, state))
        own = {t.goto for t in state.transitions if t.goto and t.goto != name} | set(state.leads_to)
        if not state.final and not own and not leaves:
            yield f"a dead end @ {place}: give it a transition with a goto, or final = true"


def _circles(flow: Flow) -> Iterator[str]:
    """States that lead into each other without asking for anything: a call would go round in them for ever."""
    always = {
        name: next((t.goto for t in state.transitions if t.goto and t.when == Condition()), "")
        for name, state in flow.states.items()
    }
    known: set[str] = set()
    for name in flow.states:
        path: list[str] = []
        while name and name not in path and name not in known:
            path.append(name)
            name = always.get(name, "")
        if name in path:
            circle = " → ".join([*path[path.index(name) :], name])
            yield f"a circle without a condition: {circle} @ states.{name}.transitions: give one of them a `when`"
        known |= set(path)


def _leaving(flow: Flow, state: State) -> Iterator[Effect]:
    yield from (*state.on_entry, *(effect for t in state.transitions for effect in t.effects))


def _hint(given: str, known: Collection[str], none: str = "there are none yet") -> str:
    """What was probably meant."""
    close = difflib.get_close_matches(given, list(known), 1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"allowed are {', '.join(sorted(known))}" if known else none
