"""The check of a flow: every kind of mistake is found, in one sentence with its place and a hint, and nothing else is."""

import datetime
import re
import tomllib

import attrs
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from actors import details, dialogue
from actors.dialogue import Dialogue, Done, Lasted, Learned, Outcome, Pressed, Silent, Stuck
from actors.guidance import guidance, instructions
from conf.flow import (
    EFFECTS,
    KEYS,
    SLOT_KINDS,
    STATUSES,
    Condition,
    Effect,
    Flow,
    PythonTool,
    Slot,
    State,
    Transition,
)
from conf.flow_check import DAYS, OUTCOMES, problems, successors
from conf.flow_file import structure
from conf.prompts import WORDS

NOW = datetime.datetime(2026, 11, 24, 10, 30, tzinfo=datetime.UTC)

BASE = """
name = "desk"
instructions = "Be kind."
start = "ask"
timezone = "Europe/Berlin"
reply_seconds = 5
reply_seconds_at_most = 30

[intents]
book = "Wants an appointment."

[slots.name]
kind = "person_name"
label = "the name"
tries = 2

[slots.phone]
kind = "phone"
label = "the number"

[slots.size]
kind = "choice"
label = "the size"
choices.small = ["little"]
choices.large = []

[slots.people]
kind = "number"
label = "how many"
least = 1
most = 9

[slots.sure]
kind = "yes_no"
label = "whether that is sure"

[states.ask]
goal = "Ask."
collects = ["name", "phone", "size", "people", "sure"]
tools = ["free_times"]
patience_ms = 900
on_entry = [{ do = "say", prompt = "resume" }]
on_exit = [
  { do = "sms", name = "hello", to = "phone", text = "Hello {name}." },
  { do = "tool", tool = "free_times" },
]
transitions = [
  { when.intent = "book", goto = "booked" },
  { when.key = ["1", "#"], effects = [{ do = "reply", text = "Say {name} again." }] },
  { when.silence = 6, effects = [{ do = "forget", slots = ["people"] }] },
  { when.after = 60, goto = "booked" },
  { when.corrected = ["phone"], goto = "booked" },
  { when.slots.name = ["heard"], when.confidence_below.name = 0.5, goto = "booked" },
  { when.tries.name = 2, goto = "booked" },
  { when.hours = "18:00-08:00", when.days = ["sat", "sun"], goto = "booked" },
  { when.slots.size = "confirmed", when.equals.size = "small", goto = "booked" },
  { when.equals.sure = "yes", goto = "booked" },
  { when.outcome.hello = ["failed"], goto = "booked" },
  { when.outcome.free_times = "done", goto = "booked" },
  { when.all = [{ key = "5" }, { slots.phone = "declined" }], goto = "booked" },
  { when.visits = 3, goto = "booked" },
]

[states.booked]
goal = "Say goodbye."
transitions = [
  { when.key = "2", goto = "ask" },
  { when.key = "3", goto = "over" },
]

[states.over]
goal = "It is over."
final = true

[[shared]]
when.key = "*"
effects = [{ do = "transfer" }]

[[shared]]
when.outcome.transfer = "busy"
goto = "over"
"""


@attrs.frozen
class Arguments:
    name: str = ""


async def nothing(name: str = "") -> None:
    """Does nothing."""


FREE_TIMES = PythonTool("free_times", "Finds free times.", Arguments, nothing)


def flow_of(text: str) -> Flow:
    return attrs.evolve(structure(tomllib.loads(text)), tools={"free_times": FREE_TIMES})


def changed(old: str, new: str) -> str:
    assert BASE.count(old) == 1, old
    return BASE.replace(old, new)


def test_a_flow_without_mistakes_has_no_problem() -> None:
    assert problems(flow_of(BASE)) == []
    assert problems(Flow("desk", "Be kind.")) == []


def test_a_flow_may_use_the_prompts_there_are_and_no_others() -> None:
    text = changed('prompt = "resume"', 'prompt = "closed_today"').replace("start =", 'greeting = "welcome"\nstart =')
    assert problems(flow_of(text), {"welcome", "closed_today"}) == []
    greeting, say = problems(flow_of(text), {"welcome_back", "resume"})
    assert greeting == "greeting = 'welcome' is no prompt @ greeting: did you mean 'welcome_back'?"
    assert say.startswith("prompt = 'closed_today' @ states.ask.on_entry[0].prompt: allowed are resume, welcome_back")


MISTAKES: list[tuple[str, str, str, str]] = [
    # what is right, what is wrong instead, where, and what is said of it
    ('start = "ask"', 'start = "aks"', "start", "start = 'aks' is no state: did you mean 'ask'"),
    ('start = "ask"', 'start = "ask"\ngreeting = "welcom_back"', "greeting",
     "greeting = 'welcom_back' is no prompt: did you mean 'welcome_back'"),
    ("Europe/Berlin", "Europe/Berlim", "timezone", "timezone = 'Europe/Berlim' is unknown: IANA"),
    ("Europe/Berlin", "Europe", "timezone", "timezone = 'Europe' is unknown: IANA"),
    ("Europe/Berlin", "../Berlin", "timezone", "timezone = '../Berlin' is unknown: IANA"),
    ("reply_seconds = 5", "reply_seconds = 0", "reply_seconds", "above 0: 5 and 30"),
    ("reply_seconds = 5", "reply_seconds = 31", "reply_seconds", "at most reply_seconds_at_most: 5 and 30"),
    ("reply_seconds = 5", "reply_seconds = nan", "reply_seconds", "above 0: 5 and 30"),
    ("reply_seconds = 5", "reply_seconds = 5\nidle_seconds = -1", "idle_seconds", "idle_seconds = -1: above 0"),
    ("reply_seconds = 5", "reply_seconds = 5\nidle_seconds = inf", "idle_seconds", "idle_seconds = inf: above 0"),
    ("reply_seconds = 5", "reply_seconds = 5\nhold_seconds = nan", "hold_seconds", "hold_seconds = nan: above 0"),
    ("reply_seconds = 5", "reply_seconds = 5\nidle_times = 0", "idle_times", "idle_times = 0: at least 1"),
    ("reply_seconds = 5", 'reply_seconds = 5\nregion = "UK"', "region", "region = 'UK': two capital letters"),
    # slots
    ("choices.large = []", "", "slots.size.choices", "at least two choices: choices.NAME"),
    ("choices.large = []", 'choices.large = ["Little"]', "slots.size.choices", "'little' stands for two choices: nobody"),
    ('collects = ["name", ', 'collects = ["name", "name", ', "states.ask.collects", "'name' is named twice: once is enough"),
    ('label = "how many"', 'label = "x"\nchoices.a = []', "slots.people.choices", "only kind = 'choice': take them out"),
    ("least = 1", "least = 10", "slots.people.least", "least is above most: no number"),
    ("least = 1", "least = nan", "slots.people.least", "least = nan: a number"),
    ("tries = 2", "tries = 2\nmost = 30", "slots.name.most", "most = 30: only kind = 'number'"),
    ("tries = 2", "tries = 0", "slots.name.tries", "tries = 0: at least 1"),
    ("tries = 2", 'tries = 2\nhours = "17:00-23:00"', "slots.name.hours", "hours = '17:00-23:00': only kind = 'time'"),
    ('kind = "person_name"', 'kind = "time"\nhours = "23:00-17:00"', "slots.name.hours", "hours = '23:00-17:00': within one day"),
    ('"people", "sure"', '"people", "sur"', "states.ask.collects", "'sur' is no slot: did you mean 'sure'"),
    ('"name", "phone", "size",', '"name", "phone", "size", "color",', "states.ask.collects", "'color' is no slot: "),
    # states
    ('tools = ["free_times"]', 'tools = ["free"]', "states.ask.tools", "'free' is no tool: free_times"),
    ("patience_ms = 900", "patience_ms = -1", "states.ask.patience_ms", "patience_ms = -1: to 5000"),
    ("patience_ms = 900", "patience_ms = 5001", "states.ask.patience_ms", "patience_ms = 5001: to 5000"),
    # effects
    ('prompt = "resume"', 'prompt = "resme"', "states.ask.on_entry[0].prompt", "prompt = 'resme': did you mean 'resume'"),
    ('text = "Hello {name}."', 'text = "{nam}"', "states.ask.on_exit[0].text", "{nam} is no slot: did you mean 'name'"),
    ('text = "Hello {name}."', 'text = "a {} b"', "states.ask.on_exit[0].text", "{} is no slot: allowed are name"),
    ('text = "Hello {name}."', 'text = "Hello.", floor = "protected"', "states.ask.on_exit[0].floor",
     "floor = 'protected': only say and reply"),
    ('prompt = "resume"', 'prompt = "resume", text = "We go on."', "states.ask.on_entry[0].text",
     "text = 'We go on.': only sms and reply"),
    ('do = "transfer"', 'do = "transfer", to = "phone"', "shared[0].effects[0].to", "to = 'phone': only sms"),
    ('text = "Hello {name}."', 'text = " "', "states.ask.on_exit[0].text", "SMS without a text: write"),
    ('to = "phone"', 'to = "name"', "states.ask.on_exit[0].to", "to = 'name': of kind phone"),
    ('to = "phone"', 'to = "callr"', "states.ask.on_exit[0].to", "to = 'callr': 'caller'"),
    ('do = "tool", tool = "free_times"', 'do = "tool", name = "free_times"', "states.ask.on_exit[1].tool", "tool = ''"),
    ('"Say {name} again."', '" "', "states.ask.transitions[1].effects[0].text", "reply without a text: write"),
    ('"Say {name} again."', '"{x}"', "states.ask.transitions[1].effects[0].text", "{x} is no slot: allowed are"),
    ('slots = ["people"]', 'slots = ["peple"]', "states.ask.transitions[2].effects[0].slots", "'peple' is no slot: did"),
    # transitions
    ('{ when.intent = "book", goto = "booked" }', '{ when.intent = "book", goto = "b" }',
     "states.ask.transitions[0].goto", "goto = 'b' is no state: "),
    ('{ when.visits = 3, goto = "booked" }', "{ when.visits = 3 }",
     "states.ask.transitions[13]", "neither leads anywhere nor does anything: give it a goto or effects"),
    ('{ when.intent = "book", goto = "booked" }', '{ effects = [{ do = "transfer" }] }, { when.key = "9", goto = "over" }',
     "states.ask.transitions[0].when", "holds always and stays: say when"),
    ('{ when.key = "2", goto = "ask" }', '{ goto = "ask" }',
     "states.booked.transitions[1]", "can never be reached: [0] above holds always"),
    ('when.outcome.transfer = "busy"\n', "", "shared[1].when", "it holds always, in every state: say when"),
    ('[[shared]]\nwhen.outcome', '[[shared]]\nwhen.intent = "bok"\ngoto = "over"\n[[shared]]\nwhen.outcome',
     "shared[1].when.intent", "'bok' is no intent: did you mean 'book'"),
    # guards: what happens
    ('when.key = ["1", "#"]', 'when.key = ["1", "E"]', "states.ask.transitions[1].when.key", "'E' is no key: one of 0"),
    ('when.key = ["1", "#"]', 'when.key = ["1", "12"]', "states.ask.transitions[1].when.key", "'12' is no key: one of"),
    ('when.key = ["1", "#"]', 'when.key = [""]', "states.ask.transitions[1].when.key", "'' is no key: one of"),
    ("when.silence = 6", "when.silence = 0", "states.ask.transitions[2].when.silence", "silence = 0: seconds above 0"),
    ("when.silence = 6", "when.silence = nan", "states.ask.transitions[2].when.silence", "silence = nan: above 0"),
    ("when.after = 60", "when.after = -1", "states.ask.transitions[3].when.after", "after = -1: seconds above 0"),
    ("when.after = 60", "when.after = 60, when.silence = 6", "states.ask.transitions[3].when",
     "silence and after never happen at the same moment: it can never hold"),
    ('when.corrected = ["phone"]', 'when.corrected = ["phone"], when.key = "1"', "states.ask.transitions[4].when",
     "key and corrected never happen at the same moment: two transitions"),
    ('[{ key = "5" }, ', '[{ key = "5" }, { silence = 5 }, ', "states.ask.transitions[12].when",
     "key and silence never happen at the same moment: use any"),
    ('when.all = [{ key = "5" }', 'when.silence = 4, when.all = [{ key = "5" }', "states.ask.transitions[12].when",
     "silence and key never happen at the same moment: use any"),
    ('[{ key = "5" }, ', '[{ key = "5" }, { corrected = "name" }, ', "states.ask.transitions[12].when",
     "key and corrected never happen at the same moment: use any"),
    ('[{ key = "5" }, ', '[{ key = "5" }, { key = "6" }, ', "states.ask.transitions[12].when",
     "never happen at the same moment: use any"),
    ('when.corrected = ["phone"]', 'when.corrected = ["phon"]', "states.ask.transitions[4].when.corrected",
     "'phon' is no slot: did you mean 'phone'"),
    ('when.outcome.hello = ["failed"]', 'when.outcome.helo = ["failed"]', "states.ask.transitions[10].when.outcome",
     "nothing goes by the name 'helo': did you mean 'hello'"),
    ('when.outcome.hello = ["failed"]', 'when.outcome.hello = ["fail"]', "states.ask.transitions[10].when.outcome.hello",
     "hello never comes out 'fail': did you mean 'failed'"),
    ('when.outcome.transfer = "busy"', 'when.outcome.transfer = "done"', "shared[1].when.outcome.transfer",
     "transfer never comes out 'done': allowed are busy"),
    ('when.outcome.free_times = "done"', 'when.outcome.free_times = "opted_out"',
     "states.ask.transitions[11].when.outcome.free_times", "free_times never comes out 'opted_out': allowed are"),
    ('when.outcome.free_times = "done"', 'when.outcome.say = "done"', "states.ask.transitions[11].when.outcome.say",
     "say never comes out 'done': "),
    ('when.outcome.hello = ["failed"]', 'when.outcome = { hello = "failed", transfer = "busy" }',
     "states.ask.transitions[10].when.outcome", "two outcomes never come at the same moment: use any"),
    # guards: what is known
    ('when.intent = "book"', 'when.intent = ["book", "bok"]', "states.ask.transitions[0].when.intent",
     "'bok' is no intent: did you mean 'book'"),
    ("{ slots.phone", "{ slots.fone", "states.ask.transitions[12].when.slots", "'fone' is no slot: did you mean 'phone'"),
    ('slots.phone = "declined"', 'slots.phone = "refused"', "states.ask.transitions[12].when.slots.phone",
     "'refused' is no status: "),
    ('when.slots.size = "confirmed", ', 'when.slots.size = "heard", ', "states.ask.transitions[8].when.slots.size",
     "it is never 'heard': write 'confirmed'"),
    ('when.slots.size = "confirmed", ', 'when.slots.size = ["missing", "declined"], ',
     "states.ask.transitions[8].when.equals.size", "a slot that is missing or declined has no value: it can never hold"),
    ('when.equals.size = "small"', 'when.equals.size = "smal"', "states.ask.transitions[8].when.equals.size",
     "it can never be 'smal': did you mean 'small'"),
    ('when.equals.sure = "yes"', 'when.equals.sure = "true"', "states.ask.transitions[9].when.equals.sure",
     "it can never be 'true': allowed are no, yes"),
    ('when.equals.sure = "yes"', 'when.equals.people = "two"', "states.ask.transitions[9].when.equals.people",
     "it can never be 'two': write it like '4'"),
    ('when.equals.sure = "yes"', 'when.equals.phone = "212 555 0123"', "states.ask.transitions[9].when.equals.phone",
     "it can never be '212 555 0123': write it like '+12125550123'"),
    ("when.equals.sure", "when.equals.sur", "states.ask.transitions[9].when.equals", "'sur' is no slot: did you mean"),
    ("when.confidence_below.name = 0.5", "when.confidence_below.name = 0",
     "states.ask.transitions[5].when.confidence_below.name", "confidence_below = 0: at most 1"),
    ("when.confidence_below.name = 0.5", "when.confidence_below.name = 1.1",
     "states.ask.transitions[5].when.confidence_below.name", "confidence_below = 1.1: at most 1"),
    ("when.confidence_below.name", "when.confidence_below.nme", "states.ask.transitions[5].when.confidence_below",
     "'nme' is no slot: did you mean 'name'"),
    ("when.tries.name = 2", "when.tries.name = 0", "states.ask.transitions[6].when.tries.name", "tries = 0: at least 1"),
    ("when.tries.name = 2", "when.tries.nme = 2", "states.ask.transitions[6].when.tries", "'nme' is no slot: did you"),
    ('["sat", "sun"]', '["sat", "sunday"]', "states.ask.transitions[7].when.days", "'sunday' is no day: did you mean 'sun'"),
    ('"18:00-08:00"', '"18-8"', "states.ask.transitions[7].when.hours", "hours = '18-8': '08:00-18:00'"),
    ('"18:00-08:00"', '"18:00-24:00"', "states.ask.transitions[7].when.hours", "hours = '18:00-24:00': write them as"),
    ('"18:00-08:00"', '"08:00-08:00"', "states.ask.transitions[7].when.hours", "hours = '08:00-08:00': it can never hold"),
    # the graph
    ('goal = "It is over."\nfinal = true', 'goal = "It is over."', "states.over", "a dead end: final = true"),
    ('goal = "It is over."\nfinal = true', 'goal = "It is over."\ntransitions = [{ when.key = "1", goto = "over" }]',
     "states.over", "a dead end: transition"),
    ('[states.over]', '[states.alone]\ngoal = "x"\nfinal = true\n[states.over]', "states.alone",
     "nothing leads there: goto = 'alone'"),
]  # fmt: skip


@pytest.mark.parametrize(("right", "wrong", "place", "said"), MISTAKES, ids=[f"{m[2]}: {m[3]}" for m in MISTAKES])
def test_a_mistake_is_said_in_one_sentence_with_place_and_hint(right: str, wrong: str, place: str, said: str) -> None:
    found = problems(flow_of(changed(right, wrong)))
    here = [sentence for sentence in found if f" @ {place}: " in sentence]
    assert here, found
    what, _, hint = said.partition(": ")
    told, _, help_ = here[0].partition(f" @ {place}: ")
    assert what in told
    assert help_
    assert hint in help_ or hint in told


@pytest.mark.parametrize(("right", "wrong", "place", "said"), MISTAKES, ids=[f"{m[2]}: {m[3]}" for m in MISTAKES])
def test_only_what_is_wrong_is_said_to_be(right: str, wrong: str, place: str, said: str) -> None:
    """A slot that is misspelt where it is collected is collected nowhere; a state misspelt as the start leads nowhere."""
    found = problems(flow_of(changed(right, wrong)))
    root = ".".join(place.split(".")[:2])
    others = [sentence for sentence in found if f" @ {root}" not in sentence]
    assert all("no state collects it @ slots.sure: " in other for other in others), others


@pytest.mark.parametrize("name", ["intent", "confidence", "first name", "2nd", "", "first-name"])
def test_a_slot_has_a_name_that_can_be_one(name: str) -> None:
    def flow(name: str) -> Flow:
        states = {"talk": State("Ask.", collects=(name,), final=True)}
        return Flow("desk", "Be kind.", slots={name: Slot("text", "x")}, states=states)

    (said,) = problems(flow(name))
    assert said.startswith(f"{name!r} cannot name a slot @ slots.{name}: use letters")
    assert problems(flow("first_name")) == []


@pytest.mark.parametrize("name", ["ask\n", "a\x1b[31msk", "a\u202esk", "\x00"])
def test_names_with_something_in_them_that_cannot_be_seen_are_refused(name: str) -> None:
    states = {name: State("Ask.", final=True)}
    said = problems(Flow(f"desk{name}", "Be kind.", start=name, intents={name: "Wants it."}, states=states))
    kinds = {"name": "a flow", "intents": "an intent", "states": "a state"}
    assert [one.partition(" cannot name ")[2] for one in said] == [
        f"{kind} @ {place}: take out what cannot be seen, such as line breaks" for place, kind in kinds.items()
    ]
    assert all(one.isprintable() for one in said)
    assert problems(Flow("Büro", "Be kind.", start="fragen 1", states={"fragen 1": State("Ask.", final=True)})) == []


def test_a_slot_that_no_state_collects_is_found() -> None:
    text = 'name = "x"\ninstructions = "x"\n[slots.n]\nkind = "text"\nlabel = "x"\n'
    (said,) = problems(structure(tomllib.loads(text)))
    assert said.startswith("no state collects it @ slots.n: add it to the `collects`")
    mended = text + '[states.talk]\ngoal = "x"\ncollects = "n"\nfinal = true\n'
    assert problems(structure(tomllib.loads(mended))) == []


def test_a_flow_has_states() -> None:
    (said,) = problems(Flow("desk", "Be kind.", states={}))
    assert said.startswith("there is no state @ states: write at least one")


def test_a_router_leads_only_to_states_there_are() -> None:
    def flow(*leads_to: str) -> Flow:
        ask = State("Ask.", leads_to=leads_to, router=lambda known: None)
        return Flow("desk", "Be kind.", start="ask", states={"ask": ask, "end": State("End.", final=True)})

    assert "'edn' is no state @ states.ask.leads_to: did you mean 'end'?" in problems(flow("end", "edn"))
    assert problems(flow("end")) == []
    assert problems(flow()) == [
        "a dead end @ states.ask: give it a transition with a goto, or final = true",
        "nothing leads there @ states.end: give a state that is reached a transition with goto = 'end'",
    ]


@pytest.mark.parametrize("do", ["hang_up", "transfer", "voicemail"])
def test_a_state_that_leaves_the_call_is_no_dead_end(do: str) -> None:
    leave = Transition(Condition(silence=6.0), effects=(Effect(do),))
    for state in (State("x", on_entry=(Effect(do),)), State("x", transitions=(leave,))):
        assert problems(Flow("desk", "Be kind.", states={"talk": state})) == []
    assert len(problems(Flow("desk", "Be kind.", states={"talk": State("x", on_entry=(Effect("say"),))}))) == 1


def test_the_successors_of_a_state_are_named_once_in_order() -> None:
    flow = flow_of(BASE)
    assert successors(flow, "ask") == ["booked", "over"]
    assert successors(flow, "booked") == ["ask", "over"]
    assert successors(flow, "over") == ["over"]


@pytest.mark.parametrize("names", [["a"], ["a", "b"], ["a", "b", "c"]])
def test_states_that_lead_round_in_a_circle_whatever_is_known_are_found(names: list[str]) -> None:
    """The machine stops such a circle, at every call; it is seen in the file before."""
    following = zip(names, [*names[1:], names[0]], strict=True)
    states = {name: State("x", transitions=(Transition(goto=to),), final=True) for name, to in following}
    flow = Flow("desk", "Be kind.", start="a", states=states)
    assert isinstance(dialogue.begin(flow, NOW)[1][-1], Stuck)
    assert [sentence for sentence in problems(flow) if "states.a" in sentence]


@pytest.mark.parametrize("field", [{"language": "xx"}, {"language": "de"}, {"language": ""}, {"region": "ZZ9"}])
def test_what_callers_say_can_be_read_in_a_flow_without_problems(field: dict[str, str]) -> None:
    slots = {"name": Slot("person_name", "x"), "phone": Slot("phone", "x"), "day": Slot("date", "x")}
    states = {"talk": State("Ask.", collects=tuple(slots), final=True)}
    flow = Flow("desk", "Be kind.", slots=slots, states=states, **field)
    if problems(flow):
        assert f" @ {next(iter(field))}: " in problems(flow)[0]
        return
    said = {"name": "John Smith", "phone": "212 555 0123", "day": "tomorrow"}
    details.save(Dialogue("talk"), flow, said, NOW)


def test_a_mistake_in_a_part_of_a_guard_is_found_however_deep() -> None:
    deep = Condition(but_not=Condition(any=(Condition(all=(Condition(intent=("x",)),)),)))
    flow = Flow("desk", "Be kind.", shared=(Transition(deep, "talk"),))
    (said,) = problems(flow)
    assert said.startswith("'x' is no intent @ shared[0].when")


# ---------------------------------------------------------------- whatever it is given

WORD = st.sampled_from(["a", "b", "name", "phone", "talk", "", "{a}", "{", "08:00-18:00", "x" * 30]) | st.text(
    max_size=6
)
LIST = st.lists(WORD, max_size=3).map(tuple)
FLOAT = st.floats() | st.sampled_from([0.0, 5.0, -1.0])
COUNT = st.integers(-2, 10_000)


def table(values: st.SearchStrategy[object]) -> st.SearchStrategy[dict[str, object]]:
    return st.dictionaries(WORD, values, max_size=2)


def condition(inner: st.SearchStrategy[Condition]) -> st.SearchStrategy[Condition]:
    some = st.lists(inner, max_size=2).map(tuple)
    return st.builds(
        Condition,
        key=LIST,
        silence=st.none() | FLOAT,
        after=st.none() | FLOAT,
        corrected=LIST,
        outcome=table(LIST),
        intent=LIST,
        slots=table(LIST),
        equals=table(LIST),
        confidence_below=table(FLOAT),
        tries=table(COUNT),
        visits=COUNT,
        hours=WORD,
        days=LIST,
        all=some,
        any=some,
        but_not=st.none() | inner,
    )


GUARD = st.recursive(st.just(Condition()), condition, max_leaves=3)
EFFECT = st.builds(
    Effect,
    st.sampled_from(EFFECTS),
    name=WORD,
    text=WORD,
    to=WORD,
    how=st.sampled_from(["", "cold", "warm"]),
    prompt=WORD,
    slots=LIST,
    tool=WORD,
)
SOME = st.lists(EFFECT, max_size=2).map(tuple)
TRANSITIONS = st.lists(st.builds(Transition, GUARD, WORD, SOME), max_size=3).map(tuple)
SLOT = st.builds(
    Slot,
    st.sampled_from(SLOT_KINDS),
    st.just("label"),
    choices=table(LIST),
    least=st.none() | FLOAT,
    most=st.none() | FLOAT,
    tries=COUNT,
)
STATE = st.builds(
    State,
    st.just("goal"),
    collects=LIST,
    tools=LIST,
    patience_ms=COUNT,
    model=WORD,
    seconds=FLOAT,
    on_entry=SOME,
    on_exit=SOME,
    transitions=TRANSITIONS,
    final=st.booleans(),
    leads_to=LIST,
)
FLOW = st.builds(
    Flow,
    st.just("name"),
    st.just("instructions"),
    facts=table(WORD),
    timezone=st.sampled_from(["UTC", "Europe", "../x", "Europe/Berlin"]),
    reply_seconds=FLOAT,
    reply_seconds_at_most=FLOAT,
    start=WORD,
    intents=table(WORD),
    slots=st.dictionaries(WORD, SLOT, max_size=3),
    states=st.dictionaries(WORD, STATE, max_size=3),
    shared=TRANSITIONS,
)


@given(st.text(max_size=8) | st.sampled_from(["/", ".", "..", "a/b", "Mars/Base", "Europe/", "\0", "\ud800", "utc "]))
@settings(deadline=None, database=None)
def test_no_time_zone_makes_the_check_raise(name: str) -> None:
    for sentence in problems(Flow("desk", "Be kind.", timezone=name)):
        assert " @ timezone: write an IANA name" in sentence


@given(FLOW)
@settings(deadline=None, database=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_the_check_raises_for_no_flow_however_wrong(flow: Flow) -> None:
    for sentence in problems(flow):
        assert re.search(r" @ [^:]*.*: .", sentence, re.DOTALL), sentence


# ---------------------------------------------------------------- what has no problem can be walked

GOODS = {
    "text": Slot("text", "a text"),
    "size": Slot("choice", "a size", choices={"small": (), "large": ()}),
    "sure": Slot("yes_no", "whether it is sure"),
    "people": Slot("number", "how many"),
}
NAMES = st.sampled_from(sorted(GOODS))
SEVERAL = st.lists(st.sampled_from(STATUSES), min_size=1, max_size=3, unique=True).map(tuple).filter(("heard",).__ne__)


@st.composite
def good_guard(draw: st.DrawFn, depth: int = 2, *, happens: bool = True) -> Condition:
    """A guard of one happening at most (none unless `happens`), and something known."""
    fields: dict[str, object] = {}
    event = draw(st.sampled_from(["", "", "key", "silence", "after", "corrected", "outcome"])) if happens else ""
    if event:
        fields[event] = {
            "key": tuple(draw(st.sets(st.sampled_from(KEYS), min_size=1, max_size=3))),
            "silence": draw(st.sampled_from([5.0, 10.0])),
            "after": draw(st.sampled_from([30.0, 60.0])),
            "corrected": (draw(NAMES),),
            "outcome": {"sms": ("done", "failed")},
        }[event]
    more = draw(st.sampled_from(["intent", "slots", "confidence_below", "tries", "visits", "hours", "days"]))
    fields[more] = {
        "intent": ("book",),
        "slots": {draw(NAMES): draw(SEVERAL)},
        "confidence_below": {draw(NAMES): 0.6},
        "tries": {draw(NAMES): draw(st.integers(1, 3))},
        "visits": draw(st.integers(1, 3)),
        "hours": draw(st.sampled_from(["08:00-18:00", "22:00-06:00"])),
        "days": tuple(draw(st.sets(st.sampled_from(DAYS), min_size=1, max_size=4))),
    }[more]
    if depth and draw(st.booleans()):
        beside = draw(st.sampled_from(["any", "all"]))  # two happenings never come together
        fields[beside] = (draw(good_guard(0, happens=beside == "any" or not event)),)
    if depth and draw(st.booleans()):
        fields["but_not"] = draw(good_guard(0))
    return Condition(**fields)


GOOD_EFFECT = st.one_of(
    st.builds(Effect, st.sampled_from(["transfer", "voicemail", "hang_up"])),
    st.builds(Effect, st.just("say"), prompt=st.sampled_from(sorted(WORDS))),
    st.builds(Effect, st.just("reply"), text=NAMES.map("Say {{{}}}.".format)),
    st.builds(Effect, st.just("sms"), text=NAMES.map("It is {{{}}}.".format)),
    st.builds(Effect, st.just("forget"), slots=st.lists(NAMES, max_size=2).map(tuple)),
)
GOOD_EFFECTS = st.lists(GOOD_EFFECT, max_size=2).map(tuple)
SOMETHING = st.lists(GOOD_EFFECT, min_size=1, max_size=2).map(tuple)


@st.composite
def good_flow(draw: st.DrawFn) -> Flow:
    places = [f"s{number}" for number in range(draw(st.integers(1, 4)))]
    goto = st.sampled_from(places)

    def transitions() -> tuple[Transition, ...]:
        return tuple(draw(st.lists(st.builds(Transition, good_guard(), goto, GOOD_EFFECTS), max_size=3)))

    states = {}
    for number, place in enumerate(places):
        on_way = (Transition(draw(good_guard()), places[(number + 1) % len(places)], draw(GOOD_EFFECTS)),)
        stay = draw(st.lists(st.builds(Transition, good_guard(), st.just(""), SOMETHING), max_size=2))
        states[place] = State(
            "goal",
            collects=tuple(GOODS),
            on_entry=draw(GOOD_EFFECTS),
            on_exit=draw(GOOD_EFFECTS),
            transitions=(*stay, *transitions(), *on_way),
            final=len(places) == 1 or draw(st.booleans()),
        )
    return Flow(
        "n", "i", start="s0", intents={"book": "x"}, slots=GOODS, states=states, shared=transitions()[:1]
    )  # fmt: skip


HAPPENING = st.one_of(
    st.builds(Pressed, st.sampled_from(KEYS)),
    st.builds(Silent, st.sampled_from([5.0, 10.0])),
    st.builds(Lasted, st.sampled_from([30.0, 60.0])),
    st.builds(Outcome, st.just("sms"), st.sampled_from(OUTCOMES["sms"])),
    st.just(Learned()),
    st.sampled_from(["book", ""]),
    st.dictionaries(
        NAMES, st.sampled_from(["small", "yes", "no", "7", "seven", "?", "I'd rather not say"]), max_size=2
    ),
    st.tuples(NAMES, st.booleans()),
)


def happened(now: Dialogue, what: object, flow: Flow) -> dialogue.Step:
    now = attrs.evolve(now, turn=now.turn + 1)
    if isinstance(what, str):
        now = attrs.evolve(now, intent=what, wish=what)
        return dialogue.happen(now, Learned(), flow, NOW)
    if isinstance(what, dict):
        now, report = details.save(now, flow, what, NOW, 0.5)
        return dialogue.happen(now, Learned(report.corrected), flow, NOW)
    if isinstance(what, tuple):
        now, report = details.confirm(now, flow, what[:1], what[1], NOW.date())
        return dialogue.happen(now, Learned(report.corrected), flow, NOW)
    return dialogue.happen(now, what, flow, NOW)


@given(good_flow(), st.lists(HAPPENING, max_size=12))
@settings(
    deadline=None,
    database=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
def test_a_flow_without_problems_can_be_walked(flow: Flow, happenings: list[object]) -> None:
    assume(not problems(flow))
    now, due = dialogue.begin(flow, NOW)
    assert instructions(flow)
    for what in happenings:
        assert all(isinstance(each, Done | Stuck) for each in due)
        assert now.at in flow.states
        assert guidance(flow, now)
        now, due = happened(now, what, flow)
        now, more = dialogue.redeliver(now, flow, NOW)
        due += more
