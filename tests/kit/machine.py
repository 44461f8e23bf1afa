"""The dialogue's machine in tests: flows, states to begin from, and the events by which callers and models act on them."""

import datetime
import tomllib
from collections.abc import Iterable
from typing import TypeVar
from zoneinfo import ZoneInfo

import attrs

from actors import call_state
from actors.call_state import (
    FAREWELL_AT_MOST,
    AskModel,
    Link,
    Phase,
    Rules,
    SetTimer,
    State,
)
from actors.dialogue import Dialogue
from actors.fsm import step
from actors.messages import (
    AgentQuiet,
    AnswerTools,
    CallBegan,
    CallerDone,
    CallerSpoke,
    Cut,
    ErrandDone,
    Floor,
    Interrupted,
    LinkUp,
    ReplyOver,
    SetPatience,
    TimerRang,
    ToolCall,
    ToolsCalled,
)
from actors.story import Said, Story, to_plain
from conf.flow import Condition, Effect, Flow, PythonTool, Transition
from conf.flow_check import problems
from conf.flow_file import structure
from tests.kit.calls import FLOW, RULES, a_tool_call

E = TypeVar("E")
NOW = datetime.datetime(2026, 11, 24, 10, 0, tzinfo=ZoneInfo("America/New_York"))
"""A Tuesday."""
BEFORE = call_state.initial(FLOW)
"""Before the call begins."""
BEGUN = Dialogue("talk", visits={"talk": 1})
TODAY = "[Today is Tuesday, November 24, 2026.]"
"""All that a flow without states is told."""
TALKING = State(BEGUN, link=Link.UP, guided=TODAY)


def interrupted(reason: Floor) -> Interrupted:
    return Interrupted(1.0, reason, (Cut("a", 800, 1600),), 20)


def run(state: State, *events: call_state.FlowEvent, rules: Rules = RULES) -> tuple[State, list[call_state.Effect]]:
    effects: list[call_state.Effect] = []
    for event in events:
        state, more = step(state, event, rules, NOW)
        effects.extend(more)
    return state, effects


FAREWELL_TIMER = SetTimer("farewell", FAREWELL_AT_MOST, prompts=True)


def answer_of(effects: list[call_state.Effect]) -> AnswerTools:
    (answer,) = [effect for effect in effects if isinstance(effect, AnswerTools)]
    return answer


def flow_of(text: str) -> Flow:
    """A flow as it is written in a file, with nothing wrong in it."""
    flow = structure(tomllib.loads(text))
    assert problems(flow) == []
    return flow


BOOKING = """
name = "booking"
instructions = "Book."
start = "hello"
timezone = "America/New_York"
[intents]
book = "An appointment."
human = "A person."
bye = "Nothing more."
[slots.phone]
kind = "phone"
label = "a telephone number"
[slots.email]
kind = "email"
label = "an e-mail address"
[slots.size]
kind = "number"
label = "how many people"
confirm = false
[states.hello]
goal = "Find out what they want."
transitions = [
  { when.intent = "book", goto = "ask" },
  { when.key = "7", goto = "ask" },
  { when.intent = "bye", effects = [{ do = "hang_up" }] },
]
[states.ask]
goal = "Get the number."
collects = ["phone"]
patience_ms = 900
transitions = [
  { when.slots.phone = "confirmed", goto = "mail" },
  { when.after = 60, goto = "mail" },
]
[states.mail]
goal = "Get the address."
collects = ["email"]
patience_ms = 900
transitions = [
  { when.slots.email = "confirmed", goto = "done" },
  { when.tries.email = 3, goto = "done" },
]
[states.done]
goal = "All is done."
collects = ["phone", "email", "size"]
final = true
on_entry = [{ do = "sms", name = "confirmation", to = "phone", text = "Booked for {phone}." }]
transitions = [
  { when.outcome.confirmation = ["failed", "opted_out"], effects = [{ do = "reply", text = "Say that it was not sent." }] },
]
[[shared]]
when.intent = "human"
effects = [{ do = "transfer" }]
[[shared]]
when.key = "*"
effects = [{ do = "reply", text = "Repeat." }]
[[shared]]
when.silence = 10
effects = [{ do = "reply", text = "Ask whether they are there." }]
[[shared]]
when.outcome.transfer = ["busy", "no-answer", "failed", "refused"]
effects = [{ do = "reply", text = "Nobody could take it." }]
"""
BOOK = flow_of(BOOKING)
BOOKS = attrs.evolve(RULES, flow=BOOK)
CALLER = "+12125550100"
PHONE = "+12127365000"
SILENCE_10 = SetTimer("silence 10", 10.0, quiet=True)


def of(kind: type[E], effects: Iterable[call_state.Effect]) -> list[E]:
    """The effects of one kind, in order."""
    return [effect for effect in effects if isinstance(effect, kind)]


def begun(rules: Rules = BOOKS, *events: call_state.FlowEvent) -> State:
    """The call has begun, the model is there, and then this happened."""
    return run(call_state.initial(rules.flow), CallBegan(caller=CALLER), LinkUp(), *events, rules=rules)[0]


def wishes(intent: str, call_id: str = "i1") -> ToolsCalled:
    return ToolsCalled((a_tool_call("save_details", call_id, intent=intent),), spoke=False)


def saves(call_id: str = "s1", /, **values: object) -> ToolsCalled:
    return ToolsCalled((a_tool_call("save_details", call_id, **values),), spoke=False)


def turn(item: str = "u") -> tuple[call_state.FlowEvent, ...]:
    """The caller speaks."""
    return CallerSpoke(), CallerDone(item)


ASKING = (wishes("book"), ReplyOver(True))
"""On the way to the state where the number is asked for."""
GIVEN = (*ASKING, *turn("u1"), saves(phone="212 736 5000"), ReplyOver(True), *turn("u2"))
"""The number was told, read back, and the caller answers."""


def with_states(toml: str, **rules: object) -> Rules:
    """The rules of a flow that has nothing but what `toml` says."""
    return attrs.evolve(RULES, flow=flow_of('name = "small"\ninstructions = "Talk."\n' + toml), **rules)


def silent(state: State, rules: Rules) -> tuple[State, list[call_state.Effect]]:
    """The silence is minded, and the model says what the flow wants."""
    state, effects = run(state, TimerRang("silence 10", 1), rules=rules)
    if state.phase is Phase.TALKING:
        state, more = run(state, ReplyOver(True), AgentQuiet(), rules=rules)
        effects += more
    return state, effects


def spoken_on(effects: Iterable[call_state.Effect]) -> int:
    """How often the model is asked to speak."""
    return sum(isinstance(e, AskModel) or (isinstance(e, AnswerTools) and e.then_reply) for e in effects)


@attrs.frozen
class Party:
    """What the tool of these tests is given."""

    size: float
    phone: str = ""


async def reserve(size: float, phone: str = "") -> object:
    return {"table": size}


RESERVE = PythonTool("reserve", "Reserves a table.", Party, reserve)
TOOLED = attrs.evolve(
    BOOK,
    tools={"reserve": RESERVE},
    states={
        **BOOK.states,
        "hello": attrs.evolve(
            BOOK.states["hello"],
            collects=("size",),
            tools=("reserve",),
            transitions=(
                Transition(Condition(slots={"size": ("confirmed",)}), "done", (Effect("tool", tool="reserve"),)),
                Transition(Condition(key=("8",)), "done", (Effect("tool", tool="reserve"),)),
            ),
        ),
        "done": attrs.evolve(
            BOOK.states["done"],
            on_entry=(),
            transitions=(
                Transition(
                    Condition(outcome={"reserve": ("failed", "unknown")}), "", (Effect("reply", text="Say sorry."),)
                ),
            ),
        ),
    },
)
TOOLS = attrs.evolve(RULES, flow=TOOLED)


def patience(effects: Iterable[call_state.Effect]) -> list[int]:
    return [effect.silence_ms for effect in of(SetPatience, effects)]


def done(call_id: str, outcome: str = "done", **detail: object) -> ErrandDone:
    return ErrandDone(f"tool.{call_id}", "sms", outcome, detail)


USELESS = ToolsCalled((ToolCall("c1", "nonsense", {}), ToolCall("c2", "end_call", None, "torn")), spoke=False)
NUMBER = "my number is 212 736 5000"
SAID = (Said("agent", "Which number?"), Said("caller", NUMBER))
STORY = to_plain(Story("booking", begun(BOOKS, *GIVEN).dialogue, SAID))
