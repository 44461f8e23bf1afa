"""The dialogue's machine: a table of what follows from what, and what holds whatever happens."""

import json

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors import call_state
from actors.call_state import (
    DIGITS_PAUSE,
    EXTRACT,
    AskModel,
    Leave,
    Link,
    Listen,
    Phase,
    ReportQuiet,
    Say,
    SetTimer,
    State,
    StopTimer,
    TellKeys,
    TellModel,
)
from actors.dialogue import timeouts
from actors.farewell import CALLED_OFF
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
    Disposition,
    ErrandDone,
    Extracted,
    Floor,
    Guide,
    HungUp,
    KeyPressed,
    LinkLost,
    LinkUp,
    MoveAway,
    ReplyOver,
    SendText,
    TimerRang,
    ToolCall,
    ToolResult,
    ToolsCalled,
)
from actors.story import Story, to_plain
from conf.flow import Flow
from conf.flow_file import load_flow
from tests.kit.calls import RULES, a_tool_call
from tests.kit.machine import (
    BEFORE,
    BEGUN,
    BOOKS,
    CALLER,
    FAREWELL_TIMER,
    NOW,
    NUMBER,
    SAID,
    STORY,
    TALKING,
    TODAY,
    TOOLS,
    answer_of,
    interrupted,
    of,
    run,
    spoken_on,
)

ONE_TURN = attrs.evolve(BEGUN, turn=1)
"""The caller has spoken, or pressed keys, once."""
FAREWELL = State(BEGUN, guided=TODAY, phase=Phase.FAREWELL, link=Link.UP, going=Disposition.HANG_UP, why="because")
ASKED = attrs.evolve(FAREWELL, last_words_asked=True)
DIALING = attrs.evolve(FAREWELL, going=Disposition.DIAL)
NOT_ENDED = TellModel(CALLED_OFF[Disposition.HANG_UP])
TABLE: dict[str, tuple[State, call_state.FlowEvent, dict[str, object], tuple[call_state.Effect, ...]]] = {
    "the call begins with the greeting": (
        BEFORE,
        CallBegan(),
        {"dialogue": BEGUN, "guided": TODAY},
        (Say("greeting", first=True), SetTimer("link", 5.0), SetTimer("longest call", 600.0), Guide(TODAY)),
    ),
    "a resumed call is not greeted again": (
        BEFORE,
        CallBegan(Before.CUT_OFF),
        {"dialogue": BEGUN, "guided": TODAY},
        (Say("resume", first=True), SetTimer("link", 5.0), SetTimer("longest call", 600.0), Guide(TODAY)),
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
    "the server goes down while the caller speaks": (
        attrs.evolve(TALKING, moving=True, dialogue=ONE_TURN),
        AgentQuiet(),
        {},
        (),
    ),
    "the server goes down and the caller takes the floor": (
        attrs.evolve(TALKING, moving=True),
        interrupted(Floor.SPEECH),
        {},
        (),
    ),
    "the server goes down while the caller types": (
        attrs.evolve(TALKING, moving=True, digits="12"),
        AgentQuiet(),
        {},
        (),
    ),
    "what the caller said is answered while the server goes down": (
        attrs.evolve(TALKING, moving=True, dialogue=ONE_TURN),
        ReplyOver(True),
        {"answered_turn": 1, "replied_turn": 1},
        (ReportQuiet(),),
    ),
    "the reply that the caller speaks into is over while the server goes down": (
        attrs.evolve(TALKING, moving=True, speaking=True, dialogue=ONE_TURN),
        ReplyOver(True),
        {},
        (ReportQuiet(),),
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
        (StopTimer("farewell"), NOT_ENDED, Listen(Floor.KEY), SetTimer("digits", DIGITS_PAUSE)),
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
    "who was speaking when they began to type is answered when they are done": (
        attrs.evolve(TALKING, digits="4"),
        CallerDone("u1"),
        {"items": ("u1",)},
        (Listen(Floor.KEY),),
    ),
    "a wish of ours waits for the end of a number": (
        attrs.evolve(TALKING, digits="4", reply_owed=True),
        AgentQuiet(),
        {"reply_owed": False},
        (),
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
        {"speaking": True, "reply_owed": False, "dialogue": ONE_TURN},
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
        (StopTimer("farewell"), NOT_ENDED),
    ),
    "a caller who speaks into the transfer is not connected, and the model knows that": (
        DIALING,
        interrupted(Floor.SPEECH),
        {"phase": Phase.TALKING, "going": None, "why": ""},
        (StopTimer("farewell"), TellModel(CALLED_OFF[Disposition.DIAL])),
    ),
    "a caller who speaks into the apology for the menu goes on, and no tool said otherwise": (
        attrs.evolve(FAREWELL, going=Disposition.IVR),
        interrupted(Floor.SPEECH),
        {"phase": Phase.TALKING, "going": None, "why": ""},
        (StopTimer("farewell"),),
    ),
    "a goodbye that the model broke off is taken back": (
        FAREWELL,
        interrupted(Floor.MODEL),
        {"phase": Phase.TALKING, "going": None, "why": ""},
        (StopTimer("farewell"), NOT_ENDED),
    ),
    "what a key cut does not take the transfer back": (DIALING, interrupted(Floor.KEY), {}, ()),
    "what the end of time cut does not take the goodbye back": (FAREWELL, interrupted(Floor.TIME), {}, ()),
    "a caller who speaks before the last words goes on": (
        ASKED,
        CallerSpoke(),
        {
            "phase": Phase.TALKING,
            "going": None,
            "why": "",
            "last_words_asked": False,
            "dialogue": ONE_TURN,
            "speaking": True,
        },
        (StopTimer("farewell"), NOT_ENDED),
    ),
    "a caller heard beside last words that nobody cut": (
        FAREWELL,
        CallerSpoke(),
        {"dialogue": ONE_TURN, "speaking": True},
        (),
    ),
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


@pytest.mark.parametrize("ends", [("transfer_to_human", "end_call"), ("end_call", "transfer_to_human")])
def test_of_tools_that_end_the_talk_a_human_wins_over_a_goodbye(ends: tuple[str, str]) -> None:
    calls = (
        a_tool_call("look_up", "c1", topic="hours"),
        a_tool_call(ends[0], "c2"),
        a_tool_call(ends[1], "c3"),
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
@settings(max_examples=150)
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
@settings(max_examples=100)
def test_a_caller_who_hangs_up_is_always_let_go(events: list[call_state.FlowEvent], twice: bool) -> None:
    state, _ = run(BEFORE, *events)
    gone, effects = run(state, HungUp("gone"), *([HungUp("again")] if twice else []))
    assert gone.phase is Phase.LEFT
    if state.phase is not Phase.LEFT:
        assert effects == [Leave(Disposition.HANG_UP, "gone")]
    else:
        assert effects == []


@given(st.lists(EVENTS, max_size=50))
@settings(max_examples=100)
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
        st.sampled_from(
            ["silence 10", "silence 6", "silence 99", "after 60", "errands 1", "errands 2", "digits", "late"]
        ),
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
    return named | {"link", "digits", "farewell", "late", "longest call", "moving"}


@given(st.sampled_from(sorted(IN_FLOWS)), BEGINNINGS, st.lists(FLOW_EVENTS, max_size=30), st.booleans())
@settings(max_examples=150)
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
            assert bool(guides) == (guidance(flow, state.dialogue, state.caller, NOW.date()) != guided)
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
    slots = {slot: attrs.evolve(held, failed="", failed_turn=0) for slot, held in state.dialogue.slots.items()}
    assert (again.dialogue.at, again.dialogue.slots) == (state.dialogue.at, slots)
