"""The manners of the call's machine: how it lets callers interrupt, minds their silence, and waits when they ask it to."""

import datetime
import tomllib
from collections.abc import Iterable
from typing import TypeVar
from zoneinfo import ZoneInfo

import attrs
import pytest

from actors import call_state
from actors.call_state import (
    ASKED_TO_WAIT,
    AskModel,
    Leave,
    Listen,
    Phase,
    Rules,
    Say,
    SetTimer,
    State,
    StopTimer,
    TellModel,
)
from actors.fsm import step
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
    Floor,
    FloorRule,
    KeyPressed,
    LinkUp,
    ReplyOver,
    SetFloor,
    TimerRang,
    ToolsCalled,
)
from conf.flow import STILL_THERE, Flow
from conf.flow_check import problems
from conf.flow_file import structure
from tests.kit.calls import RULES, a_tool_call

E = TypeVar("E")
NOW = datetime.datetime(2026, 11, 24, 10, 0, tzinfo=ZoneInfo("America/New_York"))


def run(state: State, *events: call_state.FlowEvent, rules: Rules) -> tuple[State, list[call_state.Effect]]:
    effects: list[call_state.Effect] = []
    for event in events:
        state, more = step(state, event, rules, NOW)
        effects.extend(more)
    return state, effects


def of(kind: type[E], effects: Iterable[call_state.Effect]) -> list[E]:
    return [effect for effect in effects if isinstance(effect, kind)]


def with_states(toml: str, **flow: object) -> Rules:
    """The rules of a flow that has nothing but what `toml` says."""
    read = structure(tomllib.loads('name = "small"\ninstructions = "Talk."\n' + toml))
    assert problems(read) == []
    return attrs.evolve(RULES, flow=attrs.evolve(read, **flow))


def begun(rules: Rules, *events: call_state.FlowEvent) -> State:
    return run(call_state.initial(rules.flow), CallBegan(caller="+12125550100"), LinkUp(), *events, rules=rules)[0]


def turn(item: str = "u") -> tuple[call_state.FlowEvent, ...]:
    """The caller speaks."""
    return CallerSpoke(), CallerDone(item)


# ---------------------------------------------------------------- the floor

NOTICE = """
start = "talk"
floor = "finish"
greeting_floor = "protected"
[states.talk]
goal = "Talk."
transitions = [
  { when.key = "1", goto = "notice" },
  { when.key = "2", effects = [{ do = "reply", text = "Calls are recorded.", floor = "protected" }] },
  { when.key = "3", effects = [{ do = "reply", text = "Repeat." }] },
  { when.key = "4", effects = [{ do = "say", prompt = "apology", floor = "open" }] },
  { when.key = "5", effects = [{ do = "say", prompt = "apology" }] },
  { when.key = "6", goto = "plain" },
]
[states.notice]
goal = "Say the notice."
floor = "protected"
on_entry = [{ do = "say", prompt = "apology" }]
transitions = [{ when.key = "1", goto = "talk" }]
[states.plain]
goal = "Talk on."
transitions = [{ when.key = "1", goto = "talk" }]
[[shared]]
when.silence = 10
effects = [{ do = "hang_up" }]
"""
NOTICES = with_states(NOTICE)


def floors(effects: Iterable[call_state.Effect]) -> list[FloorRule]:
    return [effect.rule for effect in of(SetFloor, effects)]


def test_the_greeting_gives_way_as_the_flow_says_and_what_follows_as_its_state_says() -> None:
    _, effects = run(call_state.initial(NOTICES.flow), CallBegan(), LinkUp(), rules=NOTICES)
    assert of(Say, effects) == [Say("greeting", first=True, floor=FloorRule.PROTECTED)]
    assert floors(effects) == [FloorRule.FINISH]


@pytest.mark.parametrize("before", [Before.CUT_OFF, Before.CALLED_BACK, Before.NOT_TAKEN])
def test_other_first_words_give_way_at_once(before: Before) -> None:
    _, effects = run(call_state.initial(NOTICES.flow), CallBegan(before), rules=NOTICES)
    assert [say.floor for say in of(Say, effects)] == [FloorRule.OPEN]


def test_a_call_without_rules_of_the_floor_sets_none() -> None:
    rules = attrs.evolve(RULES, flow=Flow("desk", "Be kind."))
    _, effects = run(call_state.initial(rules.flow), CallBegan(), LinkUp(), *turn(), ReplyOver(True), rules=rules)
    assert of(Say, effects) == [Say("greeting", first=True)]
    assert floors(effects) == []


def test_the_rule_is_set_when_the_state_has_another_and_before_the_model_speaks() -> None:
    state, effects = run(begun(NOTICES), KeyPressed("1"), rules=NOTICES)
    assert floors(effects) == [FloorRule.PROTECTED]
    assert effects.index(SetFloor(FloorRule.PROTECTED)) < effects.index(AskModel())
    assert of(Say, effects) == [Say("apology", floor=FloorRule.PROTECTED)]
    state, effects = run(state, KeyPressed("1"), rules=NOTICES)
    assert floors(effects) == [FloorRule.FINISH]
    _, effects = run(state, KeyPressed("6"), rules=NOTICES)
    assert floors(effects) == []


@pytest.mark.parametrize(("key", "floor"), [("4", FloorRule.OPEN), ("5", FloorRule.FINISH)])
def test_a_prompt_gives_way_as_its_effect_says_or_else_as_the_state_does(key: str, floor: FloorRule) -> None:
    _, effects = run(begun(NOTICES), KeyPressed(key), rules=NOTICES)
    assert of(Say, effects) == [Say("apology", floor=floor)]


@pytest.mark.parametrize("over", [ReplyOver(True), ToolsCalled((a_tool_call("look_up"),), spoke=True)])
def test_a_reply_with_a_rule_of_its_own_has_it_until_it_is_said(over: call_state.FlowEvent) -> None:
    state, effects = run(begun(NOTICES), KeyPressed("2"), rules=NOTICES)
    assert floors(effects) == [FloorRule.PROTECTED]
    assert effects.index(SetFloor(FloorRule.PROTECTED)) < effects.index(AskModel())
    state, effects = run(state, ReplyOver(False), rules=NOTICES)  # the one that the key broke off
    assert floors(effects) == []
    _, effects = run(state, over, rules=NOTICES)
    assert floors(effects) == [FloorRule.FINISH]


def test_a_reply_without_a_rule_of_its_own_changes_nothing() -> None:
    _, effects = run(begun(NOTICES), KeyPressed("3"), ReplyOver(True), rules=NOTICES)
    assert floors(effects) == []


def test_last_words_give_way_at_once_and_who_stays_hears_the_rest_as_before() -> None:
    state, effects = run(begun(NOTICES, KeyPressed("1")), ToolsCalled((a_tool_call("end_call"),), False), rules=NOTICES)
    assert state.phase is Phase.FAREWELL
    assert floors(effects) == [FloorRule.OPEN]
    state, effects = run(state, CallerSpoke(), rules=NOTICES)
    assert state.phase is Phase.TALKING
    assert floors(effects) == [FloorRule.PROTECTED]


# ---------------------------------------------------------------- silence

PLAIN = attrs.evolve(RULES, flow=Flow("desk", "Be kind."))
IDLE = SetTimer("silence 10", 10.0, quiet=True)
ASK_IF_THERE = TellModel(f"[Say now: {STILL_THERE}]", once=True)


def silent(state: State, rules: Rules = PLAIN) -> tuple[State, list[call_state.Effect]]:
    """Nobody says anything for as long as is minded, and the model says what it is to say."""
    state, effects = run(state, TimerRang("silence 10", 1), rules=rules)
    if state.phase is Phase.TALKING:
        state, more = run(state, ReplyOver(True), rules=rules)
        effects += more
    return state, effects


def test_who_is_silent_in_a_flow_that_does_not_mind_is_asked_twice_and_then_told_goodbye() -> None:
    state, effects = run(call_state.initial(PLAIN.flow), CallBegan(), LinkUp(), rules=PLAIN)
    assert IDLE in effects
    for _ in range(2):
        state, effects = silent(state)
        assert effects == [ASK_IF_THERE, AskModel(), IDLE, IDLE]
    state, effects = silent(state)
    assert of(Say, effects) == [Say("goodbye")]
    _, effects = run(state, AgentQuiet(), rules=PLAIN)
    assert effects == [Leave(Disposition.HANG_UP, "nobody is there any more")]


def test_how_long_and_how_often_is_for_the_flow_to_say() -> None:
    rules = with_states("idle_seconds = 25\nidle_times = 1\n")
    state, effects = run(call_state.initial(rules.flow), CallBegan(), LinkUp(), rules=rules)
    assert SetTimer("silence 25", 25.0, quiet=True) in effects
    state, effects = run(state, TimerRang("silence 25", 1), rules=rules)
    assert ASK_IF_THERE in effects
    state, _ = run(state, TimerRang("silence 25", 1), rules=rules)
    assert state.phase is Phase.FAREWELL


def test_a_flow_need_not_mind_silence() -> None:
    rules = with_states("idle_seconds = 0\n")
    _, effects = run(call_state.initial(rules.flow), CallBegan(), LinkUp(), *turn(), ReplyOver(True), rules=rules)
    assert [timer.name for timer in of(SetTimer, effects)] == ["link", "longest call"]


def test_a_state_that_minds_a_silence_itself_is_left_to_it() -> None:
    rules = with_states("""
start = "a"
[states.a]
goal = "A."
transitions = [{ when.silence = 20, goto = "b" }]
[states.b]
goal = "B."
final = true
""")
    state, effects = run(call_state.initial(rules.flow), CallBegan(), rules=rules)
    assert [timer.name for timer in of(SetTimer, effects) if timer.quiet] == ["silence 20"]
    state, effects = run(state, TimerRang("silence 20", 1), rules=rules)
    assert state.dialogue.at == "b"
    assert IDLE in effects


def test_a_caller_who_waits_for_a_tool_is_not_asked_whether_they_are_there() -> None:
    state = begun(PLAIN, *turn(), ToolsCalled((a_tool_call("send_sms", text="Hi."),), False))
    assert state.batches
    after, effects = run(state, TimerRang("silence 10", 1), rules=PLAIN)
    assert (after, effects) == (state, [IDLE])


# ---------------------------------------------------------------- asked to wait

LONGER = SetTimer("silence 10", 60.0, quiet=True)
ON_HOLD = (*turn("u1"), CallerSaid("u1", "Hold on, let me get my card."))


def test_who_asks_to_wait_silences_the_agent_and_has_time() -> None:
    state, effects = run(begun(PLAIN), *ON_HOLD, rules=PLAIN)
    assert effects == [StopTimer("silence 10"), IDLE, Listen(Floor.WAIT), TellModel(ASKED_TO_WAIT), LONGER]
    _, effects = run(state, ReplyOver(False), rules=PLAIN)  # the one that is not wanted
    assert effects == [LONGER]


def test_who_says_more_than_that_gets_an_answer() -> None:
    _, effects = run(begun(PLAIN), *turn("u1"), CallerSaid("u1", "Hold on, that's wrong, I said Tuesday."), rules=PLAIN)
    assert effects == [StopTimer("silence 10"), IDLE]


def test_nobody_speaks_while_the_caller_asked_to_wait() -> None:
    before = run(begun(PLAIN), *turn(), ToolsCalled((a_tool_call("send_sms", text="Hi."),), False), rules=PLAIN)[0]
    (key,) = next(iter(before.batches.values())).waiting
    state = run(before, *ON_HOLD, rules=PLAIN)[0]
    _, effects = run(state, CallerWaits(1), CallerWaits(2, doubtful=True), rules=PLAIN)
    assert effects == []
    _, effects = run(state, ErrandDone(key, "sms", "done"), rules=PLAIN)
    assert [answer.then_reply for answer in of(AnswerTools, effects)] == [False]
    assert of(AskModel, effects) == []


def test_who_asked_to_wait_and_stays_away_is_asked_whether_they_are_there_after_that_time_and_let_go_in_the_end() -> (
    None
):
    state = begun(PLAIN, *ON_HOLD)
    for _ in range(2):
        state, effects = silent(state)
        assert effects == [ASK_IF_THERE, AskModel(), LONGER, LONGER]
    assert silent(state)[0].phase is Phase.FAREWELL


@pytest.mark.parametrize(
    "back",
    [(*turn("u2"), CallerSaid("u2", "I have it.")), (KeyPressed("4"),)],
    ids=["words", "a key"],
)
def test_when_the_caller_is_back_everything_is_as_before(back: tuple[call_state.FlowEvent, ...]) -> None:
    state, effects = run(begun(PLAIN, *ON_HOLD), *back, rules=PLAIN)
    assert effects[-1] == IDLE
    _, effects = run(state, CallerWaits(1), ReplyOver(True), rules=PLAIN)
    assert effects == [Say("one_moment", told=False), IDLE]


def test_a_noise_does_not_end_the_wait_but_who_speaks_may_be_answered() -> None:
    state, effects = run(begun(PLAIN, *ON_HOLD), *turn("u2"), rules=PLAIN)
    assert effects == [StopTimer("silence 10"), LONGER]
    _, effects = run(state, CallerWaits(1), rules=PLAIN)
    assert effects == [Say("one_moment", told=False)]


def test_who_coughs_while_they_asked_to_wait_is_left_in_peace_by_a_tool_that_comes_back() -> None:
    before = run(begun(PLAIN), *turn(), ToolsCalled((a_tool_call("send_sms", text="Hi."),), False), rules=PLAIN)[0]
    (key,) = next(iter(before.batches.values())).waiting
    state = run(before, *ON_HOLD, *turn("u2"), CallerSaid("u2", ""), rules=PLAIN)[0]
    assert not state.in_exchange, "nor does a move wait for them"
    _, effects = run(state, ErrandDone(key, "sms", "done"), rules=PLAIN)
    assert [answer.then_reply for answer in of(AnswerTools, effects)] == [False]


def test_who_asks_to_wait_again_has_the_time_again() -> None:
    _, effects = run(begun(PLAIN, *ON_HOLD), *turn("u2"), CallerSaid("u2", "One more minute, please."), rules=PLAIN)
    assert effects[-3:] == [Listen(Floor.WAIT), TellModel(ASKED_TO_WAIT), LONGER]


@pytest.mark.parametrize(
    "since",
    [(CallerSpoke(),), turn("u2"), (KeyPressed("4"), TimerRang("digits", 1))],
    ids=["speaks on", "spoke on", "typed"],
)
def test_a_wish_to_wait_that_is_known_too_late_is_nothing(since: tuple[call_state.FlowEvent, ...]) -> None:
    state = begun(PLAIN, *turn("u1"), *since)
    assert run(state, CallerSaid("u1", "One moment."), rules=PLAIN) == (state, [])


def test_words_of_an_earlier_turn_that_are_known_late_do_not_end_the_wait() -> None:
    state = begun(PLAIN, *turn("u0"), *ON_HOLD)
    assert run(state, CallerSaid("u0", "Tuesday."), rules=PLAIN) == (state, [])


def test_a_flow_may_leave_it_to_the_model_or_give_more_time() -> None:
    rules = attrs.evolve(RULES, flow=Flow("desk", "Be kind.", hold_seconds=0))
    assert of(Listen, run(begun(rules), *ON_HOLD, rules=rules)[1]) == []
    rules = attrs.evolve(RULES, flow=Flow("desk", "Be kind.", hold_seconds=90))
    assert run(begun(rules), *ON_HOLD, rules=rules)[1][-1] == SetTimer("silence 10", 90.0, quiet=True)
    rules = attrs.evolve(RULES, flow=Flow("desk", "Be kind.", idle_seconds=120))
    assert run(begun(rules), *ON_HOLD, rules=rules)[1][-1] == SetTimer("silence 120", 120.0, quiet=True)


# ---------------------------------------------------------------- dictating

DICTATED = with_states(
    """
[slots.phone]
kind = "phone"
label = "their number"
[states.talk]
goal = "Get a number."
collects = ["phone"]
final = true
"""
)


SPELLED = with_states(
    """
[slots.name]
kind = "person_name"
label = "their name"
spell = true
[states.talk]
goal = "Get a name."
collects = ["name"]
final = true
"""
)


def said(*utterances: str, rules: Rules = DICTATED) -> list[call_state.Effect]:
    """What comes of utterances of turns, one after the other, in a state that asks for a number (or what `rules` say)."""
    events = [(*turn(f"u{n}"), CallerSaid(f"u{n}", words)) for n, words in enumerate(utterances)]
    return run(begun(rules), *(event for each in events for event in each), rules=rules)[1]


@pytest.mark.parametrize(
    ("utterances", "times"),
    [
        (("It is 4 1 5.",), 1),
        (("It is 4 1 5.", "5 5 5", "0 1 2 3."), 2),
        (("It is 4 1 5.", "Wait, what do you need that for?"), 1),
        (("415 555 0123",), 0),
        (("I would rather not.",), 0),
    ],
)
def test_who_breaks_off_in_the_middle_of_a_number_is_waited_for_until_they_have_said_it_all(
    utterances: tuple[str, ...], times: int
) -> None:
    assert len(of(AwaitRest, said(*utterances))) == times


def test_the_end_of_a_number_whose_beginning_is_written_down_late_is_not_taken_for_half_of_one() -> None:
    state, _ = run(begun(DICTATED), *turn("u1"), *turn("u2"), CallerSaid("u1", "It is 4 1 5 5 5 5."), rules=DICTATED)
    _, effects = run(state, CallerSaid("u2", "0 1 2 3."), rules=DICTATED)
    assert of(AwaitRest, effects) == []


@pytest.mark.parametrize(("utterances", "times"), [(("It is 4 1 5.", "", "", ""), 2), (("I would rather not.", ""), 0)])
def test_a_cough_does_not_end_the_time_of_a_caller_who_looks_for_the_rest_and_a_noisy_line_does(
    utterances: tuple[str, ...], times: int
) -> None:
    assert len(of(AwaitRest, said(*utterances))) == times


def test_who_looks_for_the_rest_is_not_moved_to_another_server_before_they_are_answered() -> None:
    state, _ = run(
        begun(DICTATED), *turn("u1"), CallerSaid("u1", "It is 4 1 5."), ReplyOver(spoke=False), rules=DICTATED
    )
    assert state.in_exchange
    assert not run(state, ReplyOver(spoke=True), rules=DICTATED)[0].in_exchange


def test_who_was_asked_to_spell_the_name_they_said_is_waited_for_in_the_middle_of_it() -> None:
    assert len(of(AwaitRest, said("Anna Schneider.", "S C H N", "E I D E R", rules=SPELLED))) == 1


def test_who_says_a_few_digits_of_a_number_that_is_known_is_not_waited_for() -> None:
    heard = ToolsCalled((a_tool_call("save_details", phone="415 555 0123"),), False)
    state = begun(DICTATED, *turn("u1"), heard)
    _, effects = run(state, *turn("u2"), CallerSaid("u2", "The last four are 0199."), rules=DICTATED)
    assert of(AwaitRest, effects) == []


TABLE = with_states(
    """
[slots.phone]
kind = "phone"
label = "their number"
[slots.people]
kind = "number"
label = "how many they are"
most = 20
[slots.day]
kind = "date_time"
label = "when they come"
[states.talk]
goal = "Book a table."
collects = ["people", "day", "phone"]
final = true
"""
)


@pytest.mark.parametrize(
    ("utterances", "times"), [(("Twelve.",), 0), (("Tuesday at 10 30.",), 0), (("It's 415 55.", "12", "3 4."), 2)]
)
def test_who_says_how_many_or_when_where_a_number_is_asked_for_too_is_not_waited_for(
    utterances: tuple[str, ...], times: int
) -> None:
    assert len(of(AwaitRest, said(*utterances, rules=TABLE))) == times


def test_who_does_not_want_to_give_a_number_is_not_waited_for() -> None:
    declined = ToolsCalled((a_tool_call("save_details", phone="I'd rather not say"),), False)
    state = begun(DICTATED, *turn("u1"), declined)
    _, effects = run(state, *turn("u2"), CallerSaid("u2", "It's number 42."), rules=DICTATED)
    assert of(AwaitRest, effects) == []


@pytest.mark.parametrize(("words", "times"), [("The last four are 0199.", 0), ("It is 4 1 5.", 1)])
def test_who_puts_some_digits_of_a_wrong_number_right_has_said_all(words: str, times: int) -> None:
    heard = ToolsCalled((a_tool_call("save_details", phone="415 555 2671"),), False)
    wrong = ToolsCalled((a_tool_call("confirm_details", slots=["phone"], correct=False),), False)
    state = begun(DICTATED, *turn("u1"), heard, *turn("u2"), wrong)
    _, effects = run(state, *turn("u3"), CallerSaid("u3", words), rules=DICTATED)
    assert len(of(AwaitRest, effects)) == times


def test_the_first_half_of_a_number_is_not_added_to_what_is_said_of_something_else_later() -> None:
    assert len(of(AwaitRest, said("It is 4 1 5.", "No, hang on.", "5 5 5"))) == 2
