"""The dialogue's machine: a table of what follows from what, and what holds whatever happens."""

import datetime
import json
import signal
import tomllib
from collections.abc import Iterable
from typing import TypeVar
from zoneinfo import ZoneInfo

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors import call_state
from actors.call_state import (
    DIGITS_PAUSE,
    ERRAND_PATIENCE,
    EXTRACT,
    EXTRACT_TRIES,
    FAREWELL_AT_MOST,
    ROUNDS_AT_MOST,
    AskModel,
    Leave,
    Link,
    Listen,
    Note,
    Phase,
    Recall,
    ReportQuiet,
    Rules,
    Say,
    SetTimer,
    State,
    StopTimer,
    TellKeys,
    TellModel,
)
from actors.dialogue import Dialogue, Status, timeouts
from actors.fsm import step
from actors.guidance import guidance
from actors.messages import (
    AgentQuiet,
    AnswerTools,
    Before,
    CallBegan,
    CallerDone,
    CallerSaid,
    CallerSpoke,
    CallerWaits,
    Cut,
    Disposition,
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
    SetModel,
    SetPatience,
    TimerRang,
    ToolCall,
    ToolResult,
    ToolsCalled,
)
from actors.story import Said, Story, to_plain
from conf.flow import Condition, Effect, Flow, PythonTool, Transition
from conf.flow_check import problems
from conf.flow_file import load_flow, structure
from tests.kit.calls import FLOW, RULES, a_tool_call

E = TypeVar("E")
NOW = datetime.datetime(2026, 11, 24, 10, 0, tzinfo=ZoneInfo("America/New_York"))
"""A Tuesday."""
BEFORE = call_state.initial(FLOW)
"""Before the call begins."""
BEGUN = Dialogue("talk", visits={"talk": 1})
ONE_TURN = attrs.evolve(BEGUN, turn=1)
"""The caller has spoken, or pressed keys, once."""
TALKING = State(BEGUN, link=Link.UP)
FAREWELL = State(BEGUN, phase=Phase.FAREWELL, link=Link.UP, going=Disposition.HANG_UP, why="because")
ASKED = attrs.evolve(FAREWELL, last_words_asked=True)
DIALING = attrs.evolve(FAREWELL, going=Disposition.DIAL)


def interrupted(reason: Floor) -> Interrupted:
    return Interrupted(1.0, reason, (Cut("a", 800, 1600),), 20)


def run(state: State, *events: call_state.FlowEvent, rules: Rules = RULES) -> tuple[State, list[call_state.Effect]]:
    effects: list[call_state.Effect] = []
    for event in events:
        state, more = step(state, event, rules, NOW)
        effects.extend(more)
    return state, effects


FAREWELL_TIMER = SetTimer("farewell", FAREWELL_AT_MOST, prompts=True)

TABLE: dict[str, tuple[State, call_state.FlowEvent, dict[str, object], tuple[call_state.Effect, ...]]] = {
    "the call begins with the greeting": (
        BEFORE,
        CallBegan(),
        {"dialogue": BEGUN},
        (Say("greeting", first=True), SetTimer("link", 5.0), SetTimer("longest call", 600.0)),
    ),
    "a resumed call is not greeted again": (
        BEFORE,
        CallBegan(Before.CUT_OFF),
        {"dialogue": BEGUN},
        (Say("resume", first=True), SetTimer("link", 5.0), SetTimer("longest call", 600.0)),
    ),
    "the link is up": (BEFORE, LinkUp(), {"link": Link.UP}, (StopTimer("link"),)),
    "the link is lost: keypad, after what is being said": (
        TALKING,
        LinkLost("why"),
        {"phase": Phase.LEFT, "link": Link.LOST, "why": "why"},
        (Leave(Disposition.IVR, "the model was lost: why", drain=True),),
    ),
    "the link cannot be had in time": (
        BEFORE,
        TimerRang("link", 1),
        {"phase": Phase.LEFT, "link": Link.LOST, "why": "it could not be had in time"},
        (Leave(Disposition.IVR, "the model was lost: it could not be had in time", drain=True),),
    ),
    "the caller hangs up": (
        TALKING,
        HungUp("bye"),
        {"phase": Phase.LEFT},
        (Leave(Disposition.HANG_UP, "bye"),),
    ),
    "the caller hangs up on the last words": (
        DIALING,
        HungUp("bye"),
        {"phase": Phase.LEFT},
        (Leave(Disposition.HANG_UP, "bye"),),
    ),
    "the server goes down": (
        TALKING,
        MoveAway(),
        {"phase": Phase.TALKING, "moving": True},
        (SetTimer("moving", 10.0), ReportQuiet()),
    ),
    "the server goes down while last words are said": (
        DIALING,
        MoveAway(),
        {"phase": Phase.FAREWELL, "moving": True},
        (SetTimer("moving", 10.0),),
    ),
    "last words are heard to their end though the server goes down": (
        attrs.evolve(DIALING, moving=True),
        AgentQuiet(),
        {"phase": Phase.LEFT},
        (Leave(Disposition.DIAL, DIALING.why),),
    ),
    "last words take long and the server goes down": (
        attrs.evolve(DIALING, moving=True),
        TimerRang("moving", 1),
        {"phase": Phase.LEFT},
        (Leave(Disposition.DIAL, DIALING.why),),
    ),
    "what the agent was saying was heard, and the server goes down": (
        attrs.evolve(TALKING, moving=True),
        AgentQuiet(),
        {"phase": Phase.LEFT},
        (Leave(Disposition.RESUME, "the server is going down", drain=True),),
    ),
    "the model is lost while the server goes down": (
        attrs.evolve(TALKING, moving=True),
        LinkLost("x"),
        {"phase": Phase.LEFT},
        (Leave(Disposition.RESUME, "the server is going down", drain=True),),
    ),
    "the agent does not stop talking and the server goes down": (
        attrs.evolve(TALKING, moving=True),
        TimerRang("moving", 1),
        {"phase": Phase.LEFT},
        (Leave(Disposition.RESUME, "the server is going down"),),
    ),
    "zero brings a human": (
        TALKING,
        KeyPressed("0"),
        {"phase": Phase.FAREWELL, "going": Disposition.DIAL, "why": "the caller pressed 0"},
        (Listen(Floor.KEY), Say("transfer"), FAREWELL_TIMER, ReportQuiet()),
    ),
    "zero brings a human before there is a model": (
        BEFORE,
        KeyPressed("0"),
        {"phase": Phase.FAREWELL, "going": Disposition.DIAL, "why": "the caller pressed 0"},
        (Listen(Floor.KEY), Say("transfer"), FAREWELL_TIMER, ReportQuiet()),
    ),
    "zero in the goodbye brings a human": (
        FAREWELL,
        KeyPressed("0"),
        {"going": Disposition.DIAL, "why": "the caller pressed 0"},
        (Listen(Floor.KEY), Say("transfer"), FAREWELL_TIMER, ReportQuiet()),
    ),
    "zero on the way to a human changes nothing": (DIALING, KeyPressed("0"), {}, ()),
    "zero within a number is a digit": (
        attrs.evolve(TALKING, digits="1"),
        KeyPressed("0"),
        {"digits": "10"},
        (SetTimer("digits", DIGITS_PAUSE),),
    ),
    "the first key stops the agent": (
        TALKING,
        KeyPressed("4"),
        {"digits": "4"},
        (Listen(Floor.KEY), SetTimer("digits", DIGITS_PAUSE)),
    ),
    "a key in the goodbye takes it back": (
        FAREWELL,
        KeyPressed("4"),
        {"phase": Phase.TALKING, "going": None, "why": "", "digits": "4"},
        (StopTimer("farewell"), Listen(Floor.KEY), SetTimer("digits", DIGITS_PAUSE)),
    ),
    "the pound key ends a number": (
        attrs.evolve(TALKING, digits="42"),
        KeyPressed("#"),
        {"digits": "", "reply_owed": True, "dialogue": ONE_TURN},
        (StopTimer("digits"), TellKeys("42"), ReportQuiet()),
    ),
    "a pause ends a number": (
        attrs.evolve(TALKING, digits="42"),
        TimerRang("digits", 1),
        {"digits": "", "reply_owed": True, "dialogue": ONE_TURN},
        (StopTimer("digits"), TellKeys("42"), ReportQuiet()),
    ),
    "a number has an end": (attrs.evolve(TALKING, digits="1" * 64), KeyPressed("1"), {}, ()),
    "keys are answered when the agent is quiet": (
        attrs.evolve(TALKING, reply_owed=True),
        AgentQuiet(),
        {"reply_owed": False},
        (AskModel(),),
    ),
    "keys are answered with what the caller says": (
        attrs.evolve(TALKING, reply_owed=True),
        CallerSpoke(),
        {"reply_owed": False, "dialogue": ONE_TURN},
        (),
    ),
    "quiet alone asks for nothing": (TALKING, AgentQuiet(), {}, ()),
    "the longest call ends with a goodbye": (
        TALKING,
        TimerRang("longest call", 1),
        {"phase": Phase.FAREWELL, "going": Disposition.HANG_UP, "why": "the longest call"},
        (Listen(Floor.TIME), Say("goodbye"), FAREWELL_TIMER, ReportQuiet()),
    ),
    "the last words are heard": (
        FAREWELL,
        AgentQuiet(),
        {"phase": Phase.LEFT},
        (Leave(Disposition.HANG_UP, "because"),),
    ),
    "quiet before the last words is not their end": (ASKED, AgentQuiet(), {}, ()),
    "the last words are on their way": (
        ASKED,
        ReplyOver(spoke=True),
        {"last_words_asked": False},
        (ReportQuiet(),),
    ),
    "a model without last words has them said": (
        ASKED,
        ReplyOver(spoke=False),
        {"last_words_asked": False},
        (Say("goodbye"), ReportQuiet()),
    ),
    "a transfer without words has them said": (
        attrs.evolve(DIALING, last_words_asked=True),
        ReplyOver(spoke=False),
        {"last_words_asked": False},
        (Say("transfer"), ReportQuiet()),
    ),
    "last words that take too long": (
        ASKED,
        TimerRang("farewell", 1),
        {"phase": Phase.LEFT},
        (Leave(Disposition.HANG_UP, "because"),),
    ),
    "a caller who speaks into the goodbye goes on": (
        FAREWELL,
        interrupted(Floor.SPEECH),
        {"phase": Phase.TALKING, "going": None, "why": ""},
        (StopTimer("farewell"),),
    ),
    "a goodbye that the model broke off is taken back": (
        FAREWELL,
        interrupted(Floor.MODEL),
        {"phase": Phase.TALKING, "going": None, "why": ""},
        (StopTimer("farewell"),),
    ),
    "what a key cut does not take the transfer back": (DIALING, interrupted(Floor.KEY), {}, ()),
    "what the end of time cut does not take the goodbye back": (FAREWELL, interrupted(Floor.TIME), {}, ()),
    "a caller who speaks before the last words goes on": (
        ASKED,
        CallerSpoke(),
        {"phase": Phase.TALKING, "going": None, "why": "", "last_words_asked": False, "dialogue": ONE_TURN},
        (StopTimer("farewell"),),
    ),
    "a caller heard beside last words that nobody cut": (FAREWELL, CallerSpoke(), {"dialogue": ONE_TURN}, ()),
    "the model is lost in the goodbye": (FAREWELL, LinkLost("why"), {"link": Link.LOST}, (ReportQuiet(),)),
    "the model is lost before its last words": (
        ASKED,
        LinkLost("why"),
        {"link": Link.LOST, "last_words_asked": False},
        (Say("goodbye"), ReportQuiet()),
    ),
    "a reply of a talk is nothing to the machine": (TALKING, ReplyOver(True), {}, ()),
    "an interruption of a talk is nothing to the machine": (TALKING, interrupted(Floor.SPEECH), {}, ()),
}


@pytest.mark.parametrize("case", TABLE)
def test_what_follows(case: str) -> None:
    state, event, changes, effects = TABLE[case]
    assert step(state, event, RULES, NOW) == (attrs.evolve(state, **changes), effects)


# ---------------------------------------------------------------- tools


def answer_of(effects: list[call_state.Effect]) -> AnswerTools:
    (answer,) = [effect for effect in effects if isinstance(effect, AnswerTools)]
    return answer


def test_a_fact_is_looked_up_and_the_model_speaks() -> None:
    state, effects = run(TALKING, ToolsCalled((a_tool_call("look_up", topic="hours"),), spoke=True))
    assert attrs.evolve(state, rounds=(0, 0)) == TALKING
    answer = answer_of(effects)
    assert answer.then_reply
    assert answer.results[0].output == {"ok": True, "fact": "nine to five"}


def test_all_tools_of_a_reply_are_answered_in_one_message() -> None:
    calls = (
        a_tool_call("look_up", "c1", topic="hours"),
        a_tool_call("look_up", "c2", topic="weather"),
        a_tool_call("nonsense", "c3"),
        ToolCall("c4", "end_call", None, "torn"),
    )
    state, effects = run(TALKING, ToolsCalled(calls, spoke=False))
    answer = answer_of(effects)
    assert [result.call_id for result in answer.results] == ["c1", "c2", "c3", "c4"]
    assert [result.output["ok"] for result in answer.results] == [True, False, False, False]
    assert answer.then_reply
    assert attrs.evolve(state, rounds=(0, 0)) == TALKING


@pytest.mark.parametrize(
    ("tool", "going"), [("end_call", Disposition.HANG_UP), ("transfer_to_human", Disposition.DIAL)]
)
def test_a_spoken_farewell_is_left_when_it_was_heard(tool: str, going: Disposition) -> None:
    state, effects = run(TALKING, ToolsCalled((a_tool_call(tool, reason="r"),), spoke=True))
    assert (state.phase, state.going, state.last_words_asked) == (Phase.FAREWELL, going, False)
    assert effects[1:] == [FAREWELL_TIMER, ReportQuiet()]
    assert not answer_of(effects).then_reply
    _, effects = run(state, AgentQuiet())
    (leave,) = effects
    assert isinstance(leave, Leave)
    assert leave.disposition is going
    assert leave.reason.endswith(": r")


@pytest.mark.parametrize("tool", ["end_call", "transfer_to_human"])
def test_a_silent_farewell_asks_for_last_words(tool: str) -> None:
    state, effects = run(TALKING, ToolsCalled((a_tool_call(tool),), spoke=False))
    assert state.last_words_asked
    assert answer_of(effects).then_reply
    assert "one short sentence" in str(answer_of(effects).results[0].output["next"])
    assert ReportQuiet() not in effects
    assert FAREWELL_TIMER in effects


def test_the_first_tool_that_ends_the_talk_wins_over_the_others() -> None:
    calls = (
        a_tool_call("look_up", "c1", topic="hours"),
        a_tool_call("transfer_to_human", "c2"),
        a_tool_call("end_call", "c3"),
    )
    state, effects = run(TALKING, ToolsCalled(calls, spoke=True))
    assert state.going is Disposition.DIAL
    assert len(answer_of(effects).results) == 3


def test_calls_that_share_an_id_are_all_answered() -> None:
    calls = (a_tool_call("look_up", "c1", topic="hours"), a_tool_call("look_up", "c1", topic="weather"))
    _, effects = run(TALKING, ToolsCalled(calls, spoke=False))
    assert [(result.call_id, result.output["ok"]) for result in answer_of(effects).results] == [
        ("c1", True),
        ("c1", False),
    ]


def test_a_reason_that_is_empty_leaves_no_colon() -> None:
    state, _ = run(TALKING, ToolsCalled((a_tool_call("end_call"),), spoke=True))
    assert state.why == "the agent ended the call"


# ---------------------------------------------------------------- stories


def test_a_goodbye_taken_back_without_a_model_leads_to_the_keypad() -> None:
    lost = attrs.evolve(FAREWELL, link=Link.LOST)
    state, effects = run(lost, interrupted(Floor.SPEECH))
    assert state.phase is Phase.LEFT
    (leave,) = effects
    assert isinstance(leave, Leave)
    assert (leave.disposition, leave.drain) == (Disposition.IVR, True)


def test_keys_collect_until_the_pause_and_are_told_once() -> None:
    state, effects = run(TALKING, *(KeyPressed(digit) for digit in "4100#"))
    assert [effect for effect in effects if isinstance(effect, TellKeys)] == [TellKeys("4100")]
    assert [effect for effect in effects if isinstance(effect, Listen)] == [Listen(Floor.KEY)]
    state, effects = run(state, AgentQuiet(), AgentQuiet())
    assert effects == [AskModel()]


# ---------------------------------------------------------------- whatever happens

TIMERS = st.sampled_from(["link", "digits", "farewell", "longest call", "unknown"])
CALLS = st.lists(
    st.builds(
        ToolCall,
        st.sampled_from(["c1", "c2", "c3"]),
        st.sampled_from(["end_call", "transfer_to_human", "look_up", "x"]),
        st.sampled_from([{}, {"topic": "hours"}, {"topic": "x"}, {"reason": "r"}, {"reason": 1}, None]),
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda call: call.call_id,
)
EVENTS: st.SearchStrategy[call_state.FlowEvent] = st.one_of(
    st.builds(CallBegan, st.sampled_from(Before)),
    st.just(LinkUp()),
    st.just(LinkLost("lost")),
    st.just(CallerSpoke()),
    st.builds(ToolsCalled, CALLS.map(tuple), st.booleans()),
    st.builds(ReplyOver, st.booleans()),
    st.sampled_from(list(Floor)).map(interrupted),
    st.just(AgentQuiet()),
    st.sampled_from("0123456789*#ABCD").map(KeyPressed),
    st.builds(TimerRang, TIMERS, st.integers(0, 5)),
    st.just(MoveAway()),
)


@given(st.lists(EVENTS, max_size=50))
@settings(max_examples=400)
def test_whatever_happens_the_machine_stays_sound(events: list[call_state.FlowEvent]) -> None:
    state = BEFORE
    lost = False
    timers: set[str] = set()
    for event in events:
        before = state
        state, effects = step(state, event, RULES, NOW)
        leaves = [effect for effect in effects if isinstance(effect, Leave)]
        if before.phase is Phase.LEFT:
            assert (state, effects) == (before, ())
            continue
        assert len(leaves) == (1 if state.phase is Phase.LEFT else 0)
        lost = lost or isinstance(event, LinkLost) or (isinstance(event, TimerRang) and event.name == "link")
        lost = lost and not isinstance(event, LinkUp)
        if isinstance(event, TimerRang):
            timers.discard(event.name)
        for effect in effects:
            if isinstance(effect, SetTimer):
                assert effect.seconds > 0
                timers.add(effect.name)
            elif isinstance(effect, StopTimer):
                timers.discard(effect.name)
            elif isinstance(effect, AnswerTools):
                assert isinstance(event, ToolsCalled)
                assert [result.call_id for result in effect.results] == [call.call_id for call in event.calls]
        assert (state.going is None) == (state.phase is Phase.TALKING) or state.phase is Phase.LEFT
        assert not (lost and state.phase is Phase.TALKING), "the caller talks to nobody"
        assert not (state.last_words_asked and state.phase is Phase.TALKING)
        assert len(state.digits) <= call_state.DIGITS_AT_MOST


@given(st.lists(EVENTS, max_size=50), st.booleans())
@settings(max_examples=200)
def test_a_caller_who_hangs_up_is_always_let_go(events: list[call_state.FlowEvent], twice: bool) -> None:
    state, _ = run(BEFORE, *events)
    gone, effects = run(state, HungUp("gone"), *([HungUp("again")] if twice else []))
    assert gone.phase is Phase.LEFT
    if state.phase is not Phase.LEFT:
        assert effects == [Leave(Disposition.HANG_UP, "gone")]
    else:
        assert effects == []


@given(st.lists(EVENTS, max_size=50))
@settings(max_examples=300)
def test_last_words_always_come_to_an_end(events: list[call_state.FlowEvent]) -> None:
    timers: dict[str, bool] = {}
    state = BEFORE
    for event in events:
        if isinstance(event, TimerRang):
            if not timers.get(event.name):
                continue  # only what was set can ring
            timers[event.name] = False
        state, effects = step(state, event, RULES, NOW)
        for effect in effects:
            if isinstance(effect, SetTimer):
                timers[effect.name] = True
            elif isinstance(effect, StopTimer):
                timers[effect.name] = False
    if state.phase is Phase.FAREWELL:
        assert timers["farewell"], "last words with no limit"
        assert run(state, TimerRang("farewell", 1))[0].phase is Phase.LEFT


def test_a_model_that_answers_with_end_call_again_and_finds_no_words_is_spoken_for() -> None:
    end = ToolsCalled((ToolCall("c1", "end_call", {}),), spoke=False)
    state, first = run(TALKING, end)
    assert AnswerTools((first_answer(first),), then_reply=True) in first
    again, effects = run(state, end)
    assert call_state.Say("goodbye") in effects
    assert call_state.ReportQuiet() in effects
    assert not any(isinstance(effect, SetTimer) for effect in effects)
    assert run(again, AgentQuiet())[0].phase is Phase.LEFT


def first_answer(effects: list[call_state.Effect]) -> ToolResult:
    (answers,) = [effect for effect in effects if isinstance(effect, AnswerTools)]
    return answers.results[0]


# ---------------------------------------------------------------- a flow with states


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


def confirms(*slots: str, correct: bool = True, call_id: str = "k1") -> ToolsCalled:
    return ToolsCalled((a_tool_call("confirm_details", call_id, slots=list(slots), correct=correct),), spoke=False)


def turn(item: str = "u") -> tuple[call_state.FlowEvent, ...]:
    """The caller speaks."""
    return CallerSpoke(), CallerDone(item)


ASKING = (wishes("book"), ReplyOver(True))
"""On the way to the state where the number is asked for."""
GIVEN = (*ASKING, *turn("u1"), saves(phone="212 736 5000"), ReplyOver(True), *turn("u2"))
"""The number was told, read back, and the caller answers."""
CONFIRMED = (*GIVEN, confirms("phone"), ReplyOver(True))


def with_states(toml: str, **rules: object) -> Rules:
    """The rules of a flow that has nothing but what `toml` says."""
    return attrs.evolve(RULES, flow=flow_of('name = "small"\ninstructions = "Talk."\n' + toml), **rules)


# ---------------------------------------------------------------- keys


def test_a_key_that_the_state_minds_leads_where_the_flow_says_and_the_model_speaks_on_it() -> None:
    state, effects = run(begun(), KeyPressed("7"), rules=BOOKS)
    assert (state.dialogue.at, state.digits) == ("ask", "")
    assert effects[0] == Listen(Floor.KEY)
    assert of(AskModel, effects) == [AskModel()]
    assert of(TellKeys, effects) == []


def test_the_states_own_zero_comes_before_the_human() -> None:
    rules = with_states("""
start = "menu"
[states.menu]
goal = "Offer the choice."
transitions = [{ when.key = "0", goto = "office" }]
[states.office]
goal = "Tell them the hours."
final = true
""")
    state, effects = run(begun(rules), KeyPressed("0"), rules=rules)
    assert (state.phase, state.dialogue.at) == (Phase.TALKING, "office")
    assert of(Say, effects) == []
    state, effects = run(state, KeyPressed("0"), rules=rules)
    assert (state.phase, state.going) == (Phase.FAREWELL, Disposition.DIAL)


def test_zero_comes_before_what_all_states_share() -> None:
    rules = with_states("""
[[shared]]
when.key = "0"
effects = [{ do = "reply", text = "Zero." }]
""")
    state, _ = run(begun(rules), KeyPressed("0"), rules=rules)
    assert state.going is Disposition.DIAL


@pytest.mark.parametrize(
    ("changes", "going", "words"),
    [
        ({}, Disposition.DIAL, "transfer"),
        ({"warm": True}, Disposition.DIAL_WARM, "transfer"),
        ({"human": False}, Disposition.VOICEMAIL, "message"),
        ({"human": False, "warm": True}, Disposition.VOICEMAIL, "message"),
    ],
)
def test_zero_brings_whom_there_is(changes: dict[str, bool], going: Disposition, words: str) -> None:
    rules = attrs.evolve(BOOKS, **changes)
    state, effects = run(begun(rules), KeyPressed("0"), rules=rules)
    assert effects == [Listen(Floor.KEY), Say(words), FAREWELL_TIMER, ReportQuiet()]
    state, effects = run(state, KeyPressed("0"), rules=rules) if going is not Disposition.VOICEMAIL else (state, [])
    assert effects == []
    _, effects = run(state, AgentQuiet(), rules=rules)
    assert effects == [Leave(going, "the caller pressed 0")]


def test_a_key_that_all_states_share_is_no_typing() -> None:
    state, effects = run(begun(), KeyPressed("*"), rules=BOOKS)
    assert state.digits == ""
    assert effects[:3] == [Listen(Floor.KEY), TellModel("[Say now: Repeat.]", once=True), AskModel()]
    assert of(AskModel, effects) == [AskModel()]


def test_within_a_number_every_key_is_typing() -> None:
    state, effects = run(begun(), *(KeyPressed(digit) for digit in "4*70"), rules=BOOKS)
    assert (state.digits, state.dialogue.at, state.phase) == ("4*70", "hello", Phase.TALKING)
    assert of(TellModel, effects) == []


@pytest.mark.parametrize("last", [KeyPressed("#"), TimerRang("digits", 1)])
def test_a_telephone_number_that_is_asked_for_can_be_typed(last: call_state.FlowEvent) -> None:
    state, effects = run(begun(BOOKS, *ASKING), *(KeyPressed(d) for d in "2127365000"), last, rules=BOOKS)
    held = state.dialogue.held("phone")
    assert (held.text, held.status) == (PHONE, Status.HEARD)
    assert of(TellKeys, effects) == [TellKeys("2127365000", "saved as phone")]
    assert of(AskModel, effects) == []  # not before the agent is quiet
    assert PHONE in of(Guide, effects)[-1].text
    assert ReportQuiet() in effects
    _, effects = run(state, AgentQuiet(), AgentQuiet(), rules=BOOKS)
    assert effects == [AskModel()]


def test_a_typed_number_that_is_none_is_told_with_what_is_wrong() -> None:
    state, effects = run(begun(BOOKS, *ASKING), *(KeyPressed(digit) for digit in "12#"), rules=BOOKS)
    (told,) = of(TellKeys, effects)
    assert told.digits == "12"
    assert told.meaning.startswith("not usable as phone: ")
    assert "$" not in told.meaning
    assert state.dialogue.held("phone").tries == 1
    assert state.reply_owed


def test_what_is_typed_where_no_number_is_asked_for_is_only_told() -> None:
    state, effects = run(begun(), *(KeyPressed(digit) for digit in "42#"), rules=BOOKS)
    assert of(TellKeys, effects) == [TellKeys("42")]
    assert state.dialogue.slots == {}


TABLE_FOR = """
start = "table"
[slots.size]
kind = "number"
label = "how many people"
confirm = false
most = 9
[states.table]
goal = "Ask for how many."
collects = ["size"]
transitions = [{ when.slots.size = "confirmed", effects = [{ do = "hang_up" }] }]
"""


@pytest.mark.parametrize(
    ("keys", "going"),
    [("4#", Disposition.HANG_UP), ("77#88#99#", Disposition.DIAL)],
    ids=["the flow ends the call", "nobody understands"],
)
def test_a_number_that_ends_the_conversation_is_followed_by_last_words_at_once(keys: str, going: Disposition) -> None:
    rules = with_states(TABLE_FOR)
    state, effects = run(begun(rules), *(KeyPressed(key) for key in keys), rules=rules)
    assert (state.phase, state.going) == (Phase.FAREWELL, going)
    last_words = [*of(AskModel, effects), *of(Say, effects)]
    assert last_words, "the caller hears nothing until the farewell has taken too long"


def test_a_key_that_means_nothing_just_now_does_not_leave_the_caller_in_silence() -> None:
    rules = with_states("""
start = "menu"
[slots.size]
kind = "number"
label = "how many people"
[states.menu]
goal = "Offer the choice."
collects = ["size"]
transitions = [{ when.key = "5", when.slots.size = "confirmed", goto = "office" }]
[states.office]
goal = "Tell them the hours."
final = true
""")
    state, effects = run(begun(rules), KeyPressed("5"), rules=rules)
    assert state.dialogue.at == "menu"
    if "digits" in [timer.name for timer in of(SetTimer, effects)]:
        state, more = run(state, TimerRang("digits", 1), rules=rules)
        effects += more
    effects += run(state, AgentQuiet(), rules=rules)[1]
    assert Listen(Floor.KEY) in effects
    assert of(AskModel, effects) == [AskModel()], "the agent was stopped, and nobody speaks"


# ---------------------------------------------------------------- silence and time


def test_silence_is_timed_from_the_beginning_while_the_agent_is_not_heard() -> None:
    _, effects = run(call_state.initial(BOOK), CallBegan(), rules=BOOKS)
    assert SILENCE_10 in effects


def test_a_caller_who_speaks_stops_the_silence_and_when_they_are_done_it_is_timed_anew() -> None:
    state, effects = run(begun(), CallerSpoke(), rules=BOOKS)
    assert effects == [StopTimer("silence 10")]
    state, effects = run(state, CallerDone("u1"), rules=BOOKS)
    assert effects == [SILENCE_10]
    state, effects = run(state, ReplyOver(True), rules=BOOKS)
    assert effects == [SILENCE_10]
    state, effects = run(state, KeyPressed("4"), rules=BOOKS)
    assert SILENCE_10 in effects


def test_the_time_of_a_state_is_not_stopped_by_speech_and_dies_with_the_state() -> None:
    state = begun()
    state, effects = run(state, wishes("book"), rules=BOOKS)
    assert SetTimer("after 60", 60.0) in effects
    state, effects = run(state, *turn(), ReplyOver(True), rules=BOOKS)
    assert StopTimer("after 60") not in effects
    assert "after 60" not in [timer.name for timer in of(SetTimer, effects)]
    state, effects = run(state, TimerRang("after 60", 1), rules=BOOKS)
    assert state.dialogue.at == "mail"
    assert StopTimer("after 60") in effects
    assert effects.index(StopTimer("silence 10")) < effects.index(SILENCE_10)


def silent(state: State, rules: Rules) -> tuple[State, list[call_state.Effect]]:
    """The silence is minded, and the model says what the flow wants."""
    state, effects = run(state, TimerRang("silence 10", 1), rules=rules)
    if state.phase is Phase.TALKING:
        state, more = run(state, ReplyOver(True), AgentQuiet(), rules=rules)
        effects += more
    return state, effects


def test_after_two_silences_the_third_is_a_goodbye() -> None:
    state = begun()
    for _ in range(2):
        state, effects = silent(state, BOOKS)
        assert of(TellModel, effects) == [TellModel("[Say now: Ask whether they are there.]", once=True)]
        assert of(AskModel, effects) == [AskModel()]
        assert SILENCE_10 in effects
    state, effects = silent(state, BOOKS)
    assert effects == [Listen(Floor.TIME), Say("goodbye"), FAREWELL_TIMER, ReportQuiet()]
    _, effects = run(state, AgentQuiet(), rules=BOOKS)
    assert effects == [Leave(Disposition.HANG_UP, "nobody is there any more")]


@pytest.mark.parametrize("sign", [CallerSpoke(), KeyPressed("4"), KeyPressed("*")], ids=["a word", "a key", "*"])
def test_a_sign_of_the_caller_begins_the_silences_anew(sign: call_state.FlowEvent) -> None:
    state = begun()
    for _ in range(2):
        state, _ = silent(state, BOOKS)
    state, _ = run(state, sign, rules=BOOKS)
    for _ in range(2):
        state, _ = silent(state, BOOKS)
        assert state.phase is Phase.TALKING
    assert silent(state, BOOKS)[0].phase is Phase.FAREWELL


def test_a_silence_that_is_answered_with_a_recorded_prompt_is_timed_again() -> None:
    rules = with_states("""
[[shared]]
when.silence = 10
effects = [{ do = "say", prompt = "resume" }]
""")
    state = begun(rules)
    for _ in range(2):
        state, effects = run(state, TimerRang("silence 10", 1), rules=rules)
        assert of(Say, effects) == [Say("resume")]
        assert SILENCE_10 in effects, "the silence is minded once and never again"
    _, effects = run(state, TimerRang("silence 10", 1), rules=rules)
    assert of(Say, effects) == [Say("goodbye")]


def test_a_silence_in_the_farewell_is_nothing() -> None:
    state = begun(BOOKS, KeyPressed("0"))
    assert run(state, TimerRang("silence 10", 1), rules=BOOKS) == (state, [])


# ---------------------------------------------------------------- what the flow wants done


def test_a_text_message_of_the_flow_goes_to_the_confirmed_number_with_the_slots_filled_in() -> None:
    state, effects = run(
        begun(BOOKS, *CONFIRMED),
        *turn("u3"),
        saves(email="a.b@example.com"),
        *turn("u4"),
        confirms("email"),
        rules=BOOKS,
    )
    assert state.dialogue.at == "done"
    (text,) = of(SendText, effects)
    assert (text.name, text.to, text.text) == ("confirmation", PHONE, f"Booked for {PHONE}.")
    assert text.key.startswith("done.1.")


def test_a_text_message_goes_to_the_caller_where_no_number_is_confirmed() -> None:
    state = begun(BOOKS, *ASKING, TimerRang("after 60", 1))
    for _ in range(3):
        calls = (a_tool_call("save_details", "s1", email="mumble"), a_tool_call("save_details", "s2", size="4"))
        state, effects = run(state, *turn(), ToolsCalled(calls, spoke=False), rules=BOOKS)
    assert of(SendText, effects)[0].to == CALLER


def test_how_a_message_came_out_is_known_and_what_the_flow_says_to_it_is_done_once() -> None:
    state = begun(BOOKS, *CONFIRMED, *turn(), saves(email="a.b@example.com"), *turn(), confirms("email"))
    done = ErrandDone("done.1.4.entry.0", "confirmation", "failed")
    state, effects = run(state, done, rules=BOOKS)
    assert state.dialogue.outcomes == {"confirmation": "failed"}
    assert of(TellModel, effects) == [TellModel("[Say now: Say that it was not sent.]", once=True)]
    assert effects.index(AskModel()) > effects.index(of(Guide, effects)[0])
    assert of(AskModel, effects) == [AskModel()]


LEAVING: dict[str, tuple[str, dict[str, bool], Disposition, str]] = {
    "hang up": ('do = "hang_up"', {}, Disposition.HANG_UP, "goodbye"),
    "a voicemail": ('do = "voicemail"', {}, Disposition.VOICEMAIL, "message"),
    "a transfer": ('do = "transfer"', {}, Disposition.DIAL, "transfer"),
    "a transfer as the settings say": ('do = "transfer"', {"warm": True}, Disposition.DIAL_WARM, "transfer"),
    "a cold transfer": ('do = "transfer", how = "cold"', {"warm": True}, Disposition.DIAL, "transfer"),
    "a warm transfer": ('do = "transfer", how = "warm"', {}, Disposition.DIAL_WARM, "transfer"),
    "a transfer without a human": ('do = "transfer"', {"human": False}, Disposition.VOICEMAIL, "message"),
    "a warm one without a human": (
        'do = "transfer", how = "warm"',
        {"human": False},
        Disposition.VOICEMAIL,
        "message",
    ),
}


@pytest.mark.parametrize(("effect", "changes", "going", "words"), LEAVING.values(), ids=LEAVING)
def test_a_flow_that_leaves_by_itself_has_recorded_last_words(
    effect: str, changes: dict[str, bool], going: Disposition, words: str
) -> None:
    rules = with_states(f"[[shared]]\nwhen.silence = 10\neffects = [{{ {effect} }}]\n", **changes)
    state, effects = run(begun(rules), TimerRang("silence 10", 1), rules=rules)
    assert effects == [Listen(Floor.FLOW), Say(words), FAREWELL_TIMER, ReportQuiet()]
    _, effects = run(state, AgentQuiet(), rules=rules)
    (leave,) = of(Leave, effects)
    assert leave.disposition is going
    assert leave.reason.startswith("the flow, at 'talk'")


@pytest.mark.parametrize(("effect", "changes", "going", "words"), LEAVING.values(), ids=LEAVING)
def test_a_flow_that_leaves_while_the_model_is_to_speak_has_it_say_the_last_words(
    effect: str, changes: dict[str, bool], going: Disposition, words: str
) -> None:
    rules = with_states(
        f'[intents]\nbye = "Nothing more."\n[[shared]]\nwhen.intent = "bye"\neffects = [{{ {effect} }}]\n', **changes
    )
    state, effects = run(begun(rules), wishes("bye"), rules=rules)
    assert (state.phase, state.going, state.last_words_asked) == (Phase.FAREWELL, going, True)
    assert of(Say, effects) == []
    (told,) = of(TellModel, effects)
    assert "one short sentence" in told.text
    assert FAREWELL_TIMER in effects
    assert spoken_on(effects) == 1
    state, effects = run(state, ReplyOver(True), rules=rules)
    assert effects == [ReportQuiet()]
    _, effects = run(state, AgentQuiet(), rules=rules)
    assert [leave.disposition for leave in of(Leave, effects)] == [going]


def spoken_on(effects: Iterable[call_state.Effect]) -> int:
    """How often the model is asked to speak."""
    return sum(isinstance(e, AskModel) or (isinstance(e, AnswerTools) and e.then_reply) for e in effects)


def test_a_model_without_last_words_for_the_flow_has_the_fitting_ones_played() -> None:
    rules = attrs.evolve(BOOKS, human=False)
    state = begun(rules, wishes("human"))
    assert (state.going, state.last_words_asked) == (Disposition.VOICEMAIL, True)
    _, effects = run(state, ReplyOver(False), rules=rules)
    assert effects == [Say("message"), ReportQuiet()]


def test_a_prompt_of_the_flow_is_played_and_told() -> None:
    rules = with_states('[[shared]]\nwhen.key = "5"\neffects = [{ do = "say", prompt = "apology" }]\n')
    _, effects = run(begun(rules), KeyPressed("5"), rules=rules)
    assert of(Say, effects) == [Say("apology")]


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


def test_a_tool_of_the_flow_is_run_with_what_is_settled() -> None:
    state, effects = run(begun(TOOLS), saves(size="four"), rules=TOOLS)
    assert state.dialogue.at == "done"
    (errand,) = of(RunPython, effects)
    assert (errand.name, errand.tool, errand.arguments) == ("reserve", RESERVE, {"size": 4})
    assert spoken_on(effects) == 1  # nobody waits for what the flow does


def test_a_tool_of_the_flow_that_lacks_something_has_failed_and_the_flow_is_told() -> None:
    state, effects = run(begun(TOOLS), KeyPressed("8"), rules=TOOLS)
    assert of(RunPython, effects) == []
    assert "nothing is known of size" in of(Note, effects)[0].text
    assert state.dialogue.outcomes == {"reserve": "failed"}
    assert TellModel("[Say now: Say sorry.]", once=True) in effects


@pytest.mark.timeout(10)
def test_a_tool_that_can_never_run_and_is_tried_again_for_ever_does_not_hold_the_call_up() -> None:
    again = (Transition(Condition(outcome={"reserve": ("failed",)}), "done"),)
    done = attrs.evolve(TOOLED.states["done"], on_entry=(Effect("tool", tool="reserve"),), transitions=again)
    rules = attrs.evolve(TOOLS, flow=attrs.evolve(TOOLED, states={**TOOLED.states, "done": done}))
    signal.setitimer(signal.ITIMER_REAL, 2)
    previous = signal.signal(signal.SIGALRM, _too_long)
    try:
        state, effects = run(begun(rules), KeyPressed("8"), rules=rules)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert state.dialogue.at == "done"
    assert of(Note, effects)


def _too_long(*_: object) -> None:
    raise AssertionError("one step never ends")


# ---------------------------------------------------------------- slots that nobody understands


def test_a_detail_that_is_not_understood_as_often_as_allowed_leads_where_the_flow_says() -> None:
    state = begun(BOOKS, *CONFIRMED)
    for number in range(3):
        state, _ = run(state, *turn(), saves(email="mumble"), ReplyOver(True), rules=BOOKS)
        assert state.phase is Phase.TALKING, f"attempt {number + 1}: {state.why}"
    assert state.dialogue.at == "done"


def test_a_detail_that_is_not_understood_leads_to_a_human_if_the_flow_does_not_mind() -> None:
    state = begun(BOOKS, *ASKING)
    for _ in range(2):
        state, _ = run(state, *turn(), saves(phone="mumble"), ReplyOver(True), rules=BOOKS)
        assert state.phase is Phase.TALKING
    state, effects = run(state, *turn(), saves(phone="mumble"), rules=BOOKS)
    assert (state.phase, state.going) == (Phase.FAREWELL, Disposition.DIAL)
    assert spoken_on(effects) == 1


def test_a_detail_that_the_flow_went_on_without_does_not_end_the_call_later() -> None:
    state = begun(BOOKS, *CONFIRMED)
    useful = a_tool_call("confirm_details", "k9", slots=["phone"], correct=True)
    for _ in range(3):
        calls = (a_tool_call("save_details", "s9", email="mumble"), useful)
        state, _ = run(state, *turn(), ToolsCalled(calls, spoke=False), ReplyOver(True), rules=BOOKS)
    assert state.dialogue.at == "done"
    state, effects = run(state, ErrandDone("done.1.5.entry.0", "confirmation", "done"), rules=BOOKS)
    assert (state.phase, state.going) == (Phase.TALKING, None), state.why
    assert of(Say, effects) == []


# ---------------------------------------------------------------- guidance and patience


def test_the_model_is_told_where_it_stands_when_the_call_begins_and_not_again_while_nothing_changes() -> None:
    state, effects = run(call_state.initial(BOOK), CallBegan(), rules=BOOKS)
    assert [guide.text for guide in of(Guide, effects)] == [guidance(BOOK, state.dialogue, state.caller)]
    quiet = (LinkUp(), *turn(), CallerSaid("u", "hello"), ReplyOver(True), AgentQuiet(), interrupted(Floor.SPEECH))
    _, effects = run(state, *quiet, rules=BOOKS)
    assert of(Guide, effects) == []


def test_a_flow_without_states_guides_nobody() -> None:
    _, effects = run(BEFORE, CallBegan(), LinkUp(), *turn(), USELESS, ReplyOver(True))
    assert of(Guide, effects) == []


def test_where_the_conversation_stands_is_told_after_the_results_and_before_the_model_speaks_on_them() -> None:
    _, effects = run(begun(), wishes("book"), rules=BOOKS)
    told = [effect for effect in effects if isinstance(effect, AnswerTools | Guide | AskModel)]
    assert [type(effect) for effect in told] == [AnswerTools, Guide, AskModel]
    assert isinstance(told[0], AnswerTools)
    assert not told[0].then_reply
    assert "Get the number." in told[1].text  # type: ignore[union-attr]


def patience(effects: Iterable[call_state.Effect]) -> list[int]:
    return [effect.silence_ms for effect in of(SetPatience, effects)]


def test_there_is_patience_while_something_is_dictated_and_none_while_it_is_read_back() -> None:
    state, effects = run(call_state.initial(BOOK), CallBegan(), LinkUp(), rules=BOOKS)
    assert patience(effects) == []  # as the session was set up
    state, effects = run(state, wishes("book"), rules=BOOKS)
    assert patience(effects) == [900]
    state, effects = run(state, *turn(), CallerSaid("u", "well"), ReplyOver(True), rules=BOOKS)
    assert patience(effects) == []
    state, effects = run(state, *turn(), saves(phone="2127365000"), rules=BOOKS)
    assert patience(effects) == [0]
    state, effects = run(state, *turn(), confirms("phone", correct=False), rules=BOOKS)
    assert patience(effects) == [900]


def test_patience_is_not_set_anew_where_the_next_state_has_as_much() -> None:
    state, effects = run(begun(BOOKS, *ASKING), TimerRang("after 60", 1), rules=BOOKS)
    assert (state.dialogue.at, patience(effects)) == ("mail", [])


def test_patience_is_set_before_the_model_speaks() -> None:
    _, effects = run(begun(), KeyPressed("7"), rules=BOOKS)
    assert effects.index(SetPatience(900)) < effects.index(AskModel())


# ---------------------------------------------------------------- tools that take their time


def texts(call_id: str, text: str = "Hi.") -> ToolCall:
    return a_tool_call("send_sms", call_id, text=text)


@pytest.mark.parametrize(
    ("times", "doubtful", "prompt"),
    [
        (1, False, "one_moment"),
        (2, False, "still_here"),
        (3, False, "still_here"),
        (1, True, "one_moment"),
        (2, True, "apology"),
    ],
)
def test_a_caller_who_waits_hears_a_filler_of_which_the_model_is_not_told(
    times: int, doubtful: bool, prompt: str
) -> None:
    assert run(TALKING, CallerWaits(times, doubtful)) == (TALKING, [Say(prompt, told=False)])


def test_a_state_may_be_spoken_by_another_model() -> None:
    states = """
    start = "a"
    [states.a]
    goal = "A."
    model = "gpt-realtime-hard"
    transitions = [{ when.key = "7", goto = "b" }]
    [states.b]
    goal = "B."
    final = true
    """
    rules = with_states(states)
    state, effects = step(call_state.initial(rules.flow), CallBegan(), rules, NOW)
    assert of(SetModel, effects) == [SetModel("gpt-realtime-hard")]
    state, effects = step(state, KeyPressed("7"), rules, NOW)
    assert of(SetModel, effects) == [SetModel("")]
    _, effects = step(state, KeyPressed("8"), rules, NOW)
    assert of(SetModel, effects) == []


def test_a_model_that_repeats_a_text_sends_it_once_until_the_caller_speaks() -> None:
    state, effects = run(TALKING, CallBegan(caller=CALLER))
    sent: list[SendText] = []
    for number in range(ROUNDS_AT_MOST):
        state, effects = run(state, ToolsCalled((texts(f"c{number}"),), spoke=False), done(f"c{number}"))
        sent += of(SendText, effects)
    assert [text.key for text in sent] == ["tool.c0"]
    state, effects = run(state, CallerSpoke(), ToolsCalled((texts("again"),), spoke=False))
    assert [text.key for text in of(SendText, effects)] == ["tool.again"]


def test_a_text_that_failed_may_be_tried_once_more_and_no_more_than_two_go_out_in_one_turn() -> None:
    state, _ = run(TALKING, CallBegan(caller=CALLER))
    state, effects = run(state, ToolsCalled((texts("a"),), spoke=False), done("a", "failed"))
    state, more = run(state, ToolsCalled((texts("b"),), spoke=False), done("b", "failed"))
    state, last = run(state, ToolsCalled((texts("c"), texts("d", "Another.")), spoke=False))
    assert [text.key for text in of(SendText, [*effects, *more, *last])] == ["tool.a", "tool.b"]
    answer = answer_of(last)
    assert [result.output["ok"] for result in answer.results] == [False, False]
    assert "sent already" in str(answer.results[0].output["error"])


def test_a_model_that_goes_round_in_a_circle_is_taken_off_the_line() -> None:
    state, effects = TALKING, list[call_state.Effect]()
    for number in range(ROUNDS_AT_MOST):
        state, effects = run(state, ToolsCalled((a_tool_call("look_up", f"c{number}", topic="hours"),), spoke=False))
        assert state.phase is Phase.TALKING
    state, effects = run(state, ToolsCalled((a_tool_call("look_up", "last", topic="hours"),), spoke=False))
    assert (state.phase, state.going) == (Phase.FAREWELL, Disposition.IVR)
    assert not answer_of(effects).then_reply
    assert Say("apology") in effects


def test_many_rounds_are_no_circle_if_the_caller_speaks_between() -> None:
    state = TALKING
    for number in range(5 * ROUNDS_AT_MOST):
        call = a_tool_call("look_up", f"c{number}", topic="hours")
        state, _ = run(state, CallerSpoke(), ToolsCalled((call,), spoke=False))
    assert state.phase is Phase.TALKING


def done(call_id: str, outcome: str = "done", **detail: object) -> ErrandDone:
    return ErrandDone(f"tool.{call_id}", "sms", outcome, detail)


def test_the_model_waits_for_what_it_asked_for_and_speaks_when_all_is_there() -> None:
    calls = (texts("c1"), a_tool_call("look_up", "c2", topic="hours"), texts("c3", "Hello."))
    state, effects = run(TALKING, CallBegan(caller=CALLER), ToolsCalled(calls, spoke=False))
    assert [(text.key, text.to, text.text) for text in of(SendText, effects)] == [
        ("tool.c1", CALLER, "Hi."),
        ("tool.c3", CALLER, "Hello."),
    ]
    assert of(AnswerTools, effects) == []
    assert SetTimer("errands 1", ERRAND_PATIENCE) in effects
    state, effects = run(state, done("c3", "failed", reason="no such number"))
    assert effects == []
    state, effects = run(state, done("c1"))
    stop, answer = effects
    assert stop == StopTimer("errands 1")
    assert answer == AnswerTools(
        (
            ToolResult("c1", {"ok": True}),
            ToolResult("c2", {"ok": True, "fact": "nine to five"}),
            ToolResult("c3", {"ok": False, "error": "it failed: no such number", "reason": "no such number"}),
        ),
        then_reply=True,
    )
    assert state.dialogue.outcomes == {"sms": "done"}
    assert run(state, TimerRang("errands 1", 1), done("c1")) == (state, [])


def test_what_takes_longer_is_said_to_be_running_and_told_once_when_it_is_there() -> None:
    state, _ = run(TALKING, CallBegan(caller=CALLER), ToolsCalled((texts("c1"), texts("c2")), spoke=False), done("c2"))
    state, effects = run(state, TimerRang("errands 1", 1))
    answer = answer_of(effects)
    assert answer.then_reply
    assert [result.output.get("status") for result in answer.results] == ["still running", None]
    state, effects = run(state, done("c1", "opted_out"))
    (told,) = of(TellModel, effects)
    assert "does not want text messages" in told.text
    assert effects[-1] == AskModel()
    assert run(state, done("c1", "opted_out"))[1] == []


def test_two_replies_may_wait_for_their_tools_at_once() -> None:
    first, second = (ToolsCalled((texts(name),), spoke=False) for name in ("c1", "c2"))
    state, effects = run(TALKING, CallBegan(caller=CALLER), first, *turn(), second)
    assert [timer.name for timer in of(SetTimer, effects) if timer.name.startswith("errands")] == [
        "errands 1",
        "errands 2",
    ]
    state, effects = run(state, done("c2"))
    assert [result.call_id for result in answer_of(effects).results] == ["c2"]
    state, effects = run(state, TimerRang("errands 2", 1), TimerRang("errands 1", 1))
    assert [result.call_id for result in answer_of(effects).results] == ["c1"]
    assert state.batches == {}


@pytest.mark.parametrize("spoke", [True, False])
def test_a_goodbye_in_the_same_reply_as_a_message_does_not_wait_for_it(spoke: bool) -> None:
    calls = (texts("c1"), a_tool_call("end_call", "c2"))
    state, effects = run(TALKING, CallBegan(caller=CALLER), ToolsCalled(calls, spoke=spoke))
    assert (state.phase, state.going) == (Phase.FAREWELL, Disposition.HANG_UP)
    assert len(of(SendText, effects)) == 1
    answer = answer_of(effects)
    assert answer.then_reply is not spoke
    assert [result.call_id for result in answer.results] == ["c1", "c2"]
    assert answer.results[0].output["ok"] is True
    assert not [timer for timer in of(SetTimer, effects) if timer.name.startswith("errands")]
    state, effects = run(state, done("c1", "failed"))
    assert spoken_on(effects) == 0  # the last words are being said
    assert state.phase is Phase.FAREWELL
    assert run(state, done("c1", "failed"))[1] == []


def test_a_tool_whose_outcome_comes_in_the_farewell_is_answered_without_asking_the_model_to_speak() -> None:
    state, _ = run(TALKING, CallBegan(caller=CALLER), ToolsCalled((texts("c1"),), spoke=False), KeyPressed("0"))
    state, effects = run(state, done("c1"))
    assert [(result.call_id, answer_of(effects).then_reply) for result in answer_of(effects).results] == [("c1", False)]
    assert state.phase is Phase.FAREWELL


def test_a_message_to_nobody_is_refused() -> None:
    _, effects = run(TALKING, ToolsCalled((texts("c1"),), spoke=False))
    assert of(SendText, effects) == []
    assert "not known" in str(answer_of(effects).results[0].output["error"])


def test_a_tool_of_python_is_run_with_the_arguments_of_the_model() -> None:
    calls = (a_tool_call("reserve", "c1", size=4, phone="x"), a_tool_call("reserve", "c2"))
    state, effects = run(begun(TOOLS), ToolsCalled(calls, spoke=False), rules=TOOLS)
    (errand,) = of(RunPython, effects)
    assert (errand.key, errand.arguments) == ("tool.c1", {"size": 4.0, "phone": "x"})
    _, effects = run(state, ErrandDone("tool.c1", "reserve", "done", {"table": 7}), rules=TOOLS)
    assert [result.output["ok"] for result in of(AnswerTools, effects)[0].results] == [True, False]
    assert of(AnswerTools, effects)[0].results[0].output["table"] == 7


def test_a_tool_that_took_longer_is_told_with_what_it_found_out() -> None:
    state, effects = run(begun(TOOLS), ToolsCalled((a_tool_call("reserve", "c1", size=4),), spoke=False), rules=TOOLS)
    (patience,) = [timer for timer in of(SetTimer, effects) if timer.name.startswith("errands")]
    state, effects = run(state, TimerRang(patience.name, 1), rules=TOOLS)
    assert of(AnswerTools, effects)[0].results[0].output["status"] == "still running"
    state, effects = run(state, ErrandDone("tool.c1", "reserve", "done", {"table": 7, "at": "nine"}), rules=TOOLS)
    assert [told.text for told in of(TellModel, effects)] == ["[reserve, which took longer: done: table: 7; at: nine]"]
    assert len(of(AskModel, effects)) == 1
    assert run(state, ErrandDone("tool.c1", "reserve", "done", {"table": 7}), rules=TOOLS)[1] == []


USELESS = ToolsCalled((ToolCall("c1", "nonsense", {}), ToolCall("c2", "end_call", None, "torn")), spoke=False)


def test_three_replies_in_a_row_with_nothing_but_unusable_calls_lead_to_the_keypad() -> None:
    state, effects = run(TALKING, USELESS, USELESS)
    assert [answer.then_reply for answer in of(AnswerTools, effects)] == [True, True]
    assert state.phase is Phase.TALKING
    state, effects = run(state, USELESS)
    assert [len(answer.results) for answer in of(AnswerTools, effects)] == [2]
    assert spoken_on(effects) == 0
    assert of(Note, effects)
    assert [effect for effect in effects if isinstance(effect, Listen | Say | ReportQuiet)] == [
        Listen(Floor.FLOW),
        Say("apology"),
        ReportQuiet(),
    ]
    _, effects = run(state, AgentQuiet())
    assert [leave.disposition for leave in of(Leave, effects)] == [Disposition.IVR]


def test_one_call_that_can_be_used_makes_up_for_the_others() -> None:
    useful = ToolsCalled((ToolCall("c1", "nonsense", {}), a_tool_call("look_up", "c2", topic="hours")), spoke=False)
    state, _ = run(TALKING, USELESS, USELESS, useful, USELESS, USELESS)
    assert state.phase is Phase.TALKING
    assert run(state, USELESS)[0].going is Disposition.IVR


# ---------------------------------------------------------------- what the model did not save

NUMBER = "my number is 212 736 5000"
MISSED = (CallerSpoke(), CallerDone("u7"), CallerSaid("u7", NUMBER), ReplyOver(True))


def test_what_the_caller_said_and_the_model_did_not_save_is_asked_for_once() -> None:
    state, effects = run(begun(BOOKS, *ASKING), *MISSED, rules=BOOKS)
    (extract,) = of(Extract, effects)
    assert extract.items[-1] == "u7"
    assert '"phone"' in extract.instructions
    _, effects = run(state, CallerSaid("u7", NUMBER), ReplyOver(True), AgentQuiet(), rules=BOOKS)
    assert of(Extract, effects) == []


def test_it_does_not_matter_whether_the_words_or_the_reply_come_first() -> None:
    late = (CallerSpoke(), CallerDone("u7"), ReplyOver(True), CallerSaid("u7", NUMBER))
    assert len(of(Extract, run(begun(BOOKS, *ASKING), *late, rules=BOOKS)[1])) == 1


NOT_ASKED: dict[str, tuple[call_state.FlowEvent, ...]] = {
    "the model saved it": (*turn(), CallerSaid("u", NUMBER), saves(phone="2127365000"), ReplyOver(True)),
    "there is nothing in the words": (*turn(), CallerSaid("u", "I do not know"), ReplyOver(True)),
    "the model has not answered yet": (*turn(), CallerSaid("u", NUMBER)),
    "the caller went on": (*turn(), CallerSaid("u", NUMBER), CallerSpoke(), ReplyOver(True)),
}


@pytest.mark.parametrize("events", NOT_ASKED.values(), ids=NOT_ASKED)
def test_otherwise_nothing_is_asked_apart(events: tuple[call_state.FlowEvent, ...]) -> None:
    assert of(Extract, run(begun(BOOKS, *ASKING), *events, rules=BOOKS)[1]) == []


def test_nothing_is_asked_apart_where_the_flow_does_not_want_it_or_no_slot_is_asked_for() -> None:
    rules = attrs.evolve(BOOKS, flow=attrs.evolve(BOOK, extract=False))
    assert of(Extract, run(begun(rules, *ASKING), *MISSED, rules=rules)[1]) == []
    assert of(Extract, run(begun(), *MISSED, rules=BOOKS)[1]) == []


def test_what_was_extracted_is_saved_like_any_other_and_guides_the_model() -> None:
    state, effects = run(begun(BOOKS, *ASKING), *MISSED, Extracted(EXTRACT, {"phone": "2127365000"}), rules=BOOKS)
    held = state.dialogue.held("phone")
    assert (held.text, held.status) == (PHONE, Status.HEARD)
    assert PHONE in of(Guide, effects)[-1].text
    assert len(of(Extract, effects)) == 1


@pytest.mark.parametrize(
    "answer",
    [
        Extracted(EXTRACT, None, "no JSON"),
        Extracted(EXTRACT, {"phone": "12"}),
    ],
    ids=["no JSON", "no number"],
)
def test_an_answer_that_cannot_be_read_is_mended_once_and_then_given_up(answer: Extracted) -> None:
    state, effects = run(begun(BOOKS, *ASKING), *MISSED, answer, rules=BOOKS)
    first, second = of(Extract, effects)
    assert second.instructions.startswith(first.instructions)
    assert "could not be used" in second.instructions
    state, effects = run(state, answer, ReplyOver(True), rules=BOOKS)
    assert of(Extract, effects) == []
    assert "could not be extracted" in of(Note, effects)[0].text
    assert not state.dialogue.held("phone").known


@pytest.mark.parametrize("values", [{}, {"colour": "red"}, {"phone": None}, {"intent": "human", "name": "Anna"}])
def test_an_answer_without_anything_that_was_asked_for_is_the_end_of_it(values: dict[str, object]) -> None:
    before = begun(BOOKS, *ASKING, *MISSED)
    assert run(before, Extracted(EXTRACT, values), rules=BOOKS) == (before, [])


def test_each_turn_may_be_asked_about() -> None:
    _, effects = run(begun(BOOKS, *ASKING), *MISSED, Extracted(EXTRACT, {}), *MISSED, rules=BOOKS)
    assert len(of(Extract, effects)) == 2


def test_one_turn_is_not_asked_about_more_often_because_the_caller_went_on() -> None:
    unusable = Extracted(EXTRACT, None, "no JSON")
    _, effects = run(begun(BOOKS, *ASKING), *MISSED, CallerSpoke(), unusable, unusable, unusable, rules=BOOKS)
    assert len(of(Extract, effects)) <= EXTRACT_TRIES


# ---------------------------------------------------------------- a call that goes on

SAID = (Said("agent", "Which number?"), Said("caller", NUMBER))
STORY = to_plain(Story("booking", begun(BOOKS, *GIVEN).dialogue, SAID))


@pytest.mark.parametrize(
    ("before", "with_story", "without"),
    [
        (Before.NOTHING, "greeting", "greeting"),
        (Before.CUT_OFF, "reconnected", "resume"),
        (Before.CALLED_BACK, "welcome_back", "welcome_back"),
        (Before.NOT_TAKEN, "not_taken", "not_taken"),
    ],
)
def test_the_first_words_are_those_that_fit_what_was_before(before: Before, with_story: str, without: str) -> None:
    _, effects = run(call_state.initial(BOOK), CallBegan(before, CALLER, STORY), rules=BOOKS)
    assert of(Say, effects) == [Say(with_story)]
    for nothing in (None, {}, {"flow": "another"}):
        _, effects = run(call_state.initial(BOOK), CallBegan(before, CALLER, nothing), rules=BOOKS)
        assert of(Say, effects) == [Say(without, first=True)]
        assert of(Recall, effects) == []


@pytest.mark.parametrize("before", [Before.CUT_OFF, Before.CALLED_BACK])
def test_a_call_goes_on_where_it_was_and_the_model_is_told_what_was_said(before: Before) -> None:
    state, effects = run(call_state.initial(BOOK), CallBegan(before, CALLER, STORY), rules=BOOKS)
    assert state.dialogue.at == "ask"
    assert (state.dialogue.held("phone").text, state.caller) == (PHONE, CALLER)
    assert of(SetPatience, effects) == []  # it is to be confirmed, not dictated
    assert {SetTimer("after 60", 60.0), SILENCE_10} <= set(of(SetTimer, effects))
    order = [e for e in effects if isinstance(e, Recall | Say | TellModel | Guide | AskModel)]
    assert [type(effect) for effect in order] == [Recall, Say, TellModel, Guide, AskModel]
    assert order[0] == Recall(SAID)
    assert PHONE in order[3].text  # type: ignore[union-attr]


def test_a_call_that_goes_on_in_the_middle_of_dictation_is_patient_again() -> None:
    plain = to_plain(Story("booking", begun(BOOKS, *ASKING).dialogue))
    _, effects = run(call_state.initial(BOOK), CallBegan(Before.CUT_OFF, CALLER, plain), rules=BOOKS)
    assert patience(effects) == [900]


def test_a_caller_whom_nobody_took_comes_back_to_the_flow_with_how_it_came_out() -> None:
    plain = to_plain(Story("booking", begun(BOOKS, *GIVEN, wishes("human")).dialogue, SAID))
    state, effects = run(call_state.initial(BOOK), CallBegan(Before.NOT_TAKEN, CALLER, plain, "busy"), rules=BOOKS)
    assert state.dialogue.outcomes["transfer"] == "busy"
    assert TellModel("[Say now: Nobody could take it.]", once=True) in effects
    assert of(AskModel, effects) == [AskModel()]
    assert of(Say, effects) == [Say("not_taken")]
    assert state.phase is Phase.TALKING


def test_a_flow_that_has_nothing_to_say_to_it_lets_the_model_go_on() -> None:
    rules = attrs.evolve(BOOKS, flow=attrs.evolve(BOOK, shared=()))
    _, effects = run(call_state.initial(BOOK), CallBegan(Before.NOT_TAKEN, CALLER, STORY, "no-answer"), rules=rules)
    assert of(AskModel, effects) == [AskModel()]


def test_a_flow_that_takes_a_message_when_nobody_takes_the_call_does_not_ask_the_model_to_speak_too() -> None:
    to_voicemail = Transition(Condition(outcome={"transfer": ("busy",)}), "", (Effect("voicemail"),))
    rules = attrs.evolve(BOOKS, flow=attrs.evolve(BOOK, shared=(to_voicemail,)))
    state, effects = run(call_state.initial(BOOK), CallBegan(Before.NOT_TAKEN, CALLER, STORY, "busy"), rules=rules)
    assert (state.phase, state.going) == (Phase.FAREWELL, Disposition.VOICEMAIL)
    assert Say("message") in effects
    assert spoken_on(effects) == 0, "the model speaks while the last words are being played"


def test_what_was_done_in_a_state_is_not_done_again_when_the_call_goes_on() -> None:
    rules = with_states("""
start = "table"
[slots.size]
kind = "number"
label = "how many people"
confirm = false
[slots.phone]
kind = "phone"
label = "a number"
[states.table]
goal = "Ask for how many."
collects = ["size", "phone"]
final = true
transitions = [{ when.slots.size = "confirmed", effects = [{ do = "sms", name = "note", text = "For {size}." }] }]
""")
    state, effects = run(begun(rules), saves(size="4"), rules=rules)
    assert len(of(SendText, effects)) == 1
    _, effects = run(state, *turn(), saves(phone="2127365000"), rules=rules)
    assert of(SendText, effects) == []
    plain = to_plain(Story("small", state.dialogue))
    again = (CallBegan(Before.CUT_OFF, CALLER, plain), LinkUp(), *turn(), saves(phone="2127365000"))
    _, effects = run(call_state.initial(rules.flow), *again, rules=rules)
    assert of(SendText, effects) == [], "the same text message is sent again, under another key"


def test_a_caller_who_is_transferred_because_nobody_understands_is_not_transferred_again_at_once() -> None:
    state = begun(BOOKS, *ASKING)
    for _ in range(3):
        state, _ = run(state, *turn(), saves(phone="mumble"), ReplyOver(True), rules=BOOKS)
    assert state.going is Disposition.DIAL
    plain = to_plain(Story("booking", state.dialogue))
    back, _ = run(
        call_state.initial(BOOK),
        CallBegan(Before.NOT_TAKEN, CALLER, plain, "busy"),
        LinkUp(),
        ReplyOver(True),
        rules=BOOKS,
    )
    assert back.phase is Phase.TALKING
    back, _ = silent(back, BOOKS)
    assert back.phase is Phase.TALKING, f"{back.why}: round and round"


# ---------------------------------------------------------------- whatever happens, in a flow with states

IN_FLOWS = {"booking": BOOKS, "tools": TOOLS, "appointment": attrs.evolve(RULES, flow=load_flow("appointment"))}
OUTCOMES = st.sampled_from(["done", "failed", "opted_out", "unknown"])
VALUES = st.sampled_from(
    ["2127365000", "a.b@example.com", "Anna Smith", "tomorrow at 3 pm", "mumble", "no", "", 7, None]
)
FLOW_CALLS = st.one_of(
    st.tuples(
        st.just("save_details"),
        st.dictionaries(
            st.sampled_from(["phone", "email", "name", "day", "size", "intent", "confidence", "x"]),
            st.one_of(VALUES, st.sampled_from(["book", "human", "start_over", "bye"])),
            max_size=3,
        ),
    ),
    st.tuples(
        st.just("confirm_details"),
        st.fixed_dictionaries(
            {
                "slots": st.lists(st.sampled_from(["phone", "email", "name", "day", "x"]), max_size=2),
                "correct": st.booleans(),
            }
        ),
    ),
    st.tuples(st.just("send_sms"), st.sampled_from([{"text": "Hi."}, {"text": "Hi.", "to": "phone"}, {"text": ""}])),
    st.tuples(st.sampled_from(["end_call", "transfer_to_human", "start_over", "reserve", "nonsense"]), st.just({})),
    st.tuples(st.just("look_up"), st.sampled_from([{"topic": "address"}, {}, None])),
)
SPOKEN = st.sampled_from([NUMBER, "a dot b at example dot com", "hello", "no", "yes that is right", "one moment", ""])
FLOW_EVENTS: st.SearchStrategy[call_state.FlowEvent] = st.one_of(
    st.just(CallerSpoke()),
    st.builds(CallerDone, st.sampled_from(["u1", "u2"])),
    st.builds(CallerSaid, st.just("u1"), SPOKEN, st.one_of(st.none(), st.floats(0, 1))),
    st.lists(FLOW_CALLS, min_size=1, max_size=3).map(
        lambda calls: ToolsCalled(tuple(ToolCall(f"c{n}", *call) for n, call in enumerate(calls)), len(calls) % 2 == 0)
    ),
    st.builds(
        Extracted,
        st.just(EXTRACT),
        st.one_of(st.none(), st.dictionaries(st.sampled_from(["phone", "email", "x"]), VALUES, max_size=2)),
        st.just("a problem"),
    ),
    st.builds(
        ErrandDone,
        st.sampled_from(["tool.c0", "tool.c1", "done.1.2.entry.0", "x"]),
        st.sampled_from(["sms", "confirmation", "reserve", "transfer"]),
        OUTCOMES,
    ),
    st.builds(
        TimerRang,
        st.sampled_from(["silence 10", "silence 6", "silence 99", "after 60", "errands 1", "errands 2", "digits"]),
        st.just(1),
    ),
    EVENTS,
)
BEGINNINGS = st.builds(
    CallBegan,
    st.sampled_from(Before),
    st.sampled_from(["", CALLER]),
    st.sampled_from([None, STORY, {"flow": 7}]),
    st.sampled_from(["", "busy"]),
)


def timers_of(flow: Flow) -> set[str]:
    """The names that the timers of `flow` can have."""
    named = {f"{kind} {seconds:g}" for state in flow.states for kind, seconds in timeouts(flow, state)}
    return named | {"link", "digits", "farewell", "longest call", "moving"}


@given(st.sampled_from(sorted(IN_FLOWS)), BEGINNINGS, st.lists(FLOW_EVENTS, max_size=30), st.booleans())
@settings(max_examples=300)
def test_whatever_happens_in_a_flow_the_machine_stays_sound(
    name: str, beginning: CallBegan, events: list[call_state.FlowEvent], human: bool
) -> None:
    rules = attrs.evolve(IN_FLOWS[name], human=human)
    flow, state, guided = rules.flow, call_state.initial(rules.flow), ""
    keys: list[str] = []
    for event in (beginning, LinkUp(), *(event for event in events if not isinstance(event, CallBegan))):
        before = state
        state, effects = step(state, event, rules, NOW)
        if before.phase is Phase.LEFT:
            assert (state, effects) == (before, ())
            continue
        leaves = of(Leave, effects)
        assert len(leaves) == (1 if state.phase is Phase.LEFT else 0)
        assert all(isinstance(leave.disposition, Disposition) for leave in leaves)
        for timer in of(SetTimer, effects):
            assert timer.name in timers_of(flow) or timer.name.startswith("errands ")
            assert timer.seconds > 0
            assert timer.quiet == timer.name.startswith("silence ")
        guides = of(Guide, effects)
        assert len(guides) <= 1
        if state.phase is not Phase.LEFT:
            assert bool(guides) == (guidance(flow, state.dialogue, state.caller) != guided)
        for guide in guides:
            guided = guide.text
            assert not spoken_on(effects[: effects.index(guide)]), "the model speaks on what is not so any more"
        assert state.dialogue.at in flow.states
        assert (state.going is None) == (state.phase is Phase.TALKING) or state.phase is Phase.LEFT
        if not human:
            assert state.going not in {Disposition.DIAL, Disposition.DIAL_WARM}
        for answer in of(AnswerTools, effects):
            assert answer.results
        keys += [
            errand.key for errand in effects if isinstance(errand, SendText) and not errand.key.startswith("tool.")
        ]
    assert len(keys) == len(set(keys)), "two messages of the flow under one key: the second is never sent"


@given(st.sampled_from(sorted(IN_FLOWS)), BEGINNINGS, st.lists(FLOW_EVENTS, max_size=25))
@settings(max_examples=100)
def test_the_story_of_any_call_can_be_told_and_gone_on_with(
    name: str, beginning: CallBegan, events: list[call_state.FlowEvent]
) -> None:
    rules = IN_FLOWS[name]
    state, _ = run(call_state.initial(rules.flow), beginning, *events, rules=rules)
    plain = json.loads(json.dumps(to_plain(Story(rules.flow.name, state.dialogue, SAID))))
    again, _ = run(call_state.initial(rules.flow), CallBegan(Before.CUT_OFF, CALLER, plain), rules=rules)
    assert (again.dialogue.at, again.dialogue.slots) == (state.dialogue.at, state.dialogue.slots)


# ---------------------------------------------------------------- nothing to go on with, nobody to go to


@pytest.mark.parametrize(
    ("said", "words", "asked"),
    [((), "resume", 0), ((Said("agent", "Hello."),), "resume", 0), ((Said("caller", "Wait."),), "reconnected", 1)],
    ids=["nothing was said", "only the greeting", "the caller spoke"],
)
def test_a_caller_who_had_said_nothing_yet_is_asked_to_go_on_and_the_model_waits(
    said: tuple[Said, ...], words: str, asked: int
) -> None:
    plain = to_plain(Story("booking", begun().dialogue, said))
    _, effects = run(call_state.initial(BOOK), CallBegan(Before.CUT_OFF, CALLER, plain), rules=BOOKS)
    assert of(Say, effects) == [Say(words)]
    assert spoken_on(effects) == asked


def test_who_was_promised_a_human_where_there_is_none_is_told_so_before_they_are_handed_to_the_voicemail() -> None:
    rules = attrs.evolve(BOOKS, human=False)
    calls = (a_tool_call("transfer_to_human", "c1"),)
    state, effects = run(begun(rules), ToolsCalled(calls, spoke=True), rules=rules)
    assert state.going is Disposition.VOICEMAIL
    assert "nobody" in str(of(AnswerTools, effects)[0].results[0].output["next"])
    assert spoken_on(effects) or of(Say, effects), "the caller heard that they are connected, then a voicemail"
