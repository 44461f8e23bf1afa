"""The manners of the call's machine: how it lets callers interrupt, minds their silence, and waits when they ask it to."""

import datetime
import tomllib
from collections.abc import Iterable
from typing import TypeVar
from zoneinfo import ZoneInfo

import attrs
import pytest

from actors import call_state
from actors.call_state import AskModel, Phase, Rules, Say, State
from actors.fsm import step
from actors.messages import (
    Before,
    CallBegan,
    CallerDone,
    CallerSpoke,
    FloorRule,
    KeyPressed,
    LinkUp,
    ReplyOver,
    SetFloor,
    ToolsCalled,
)
from conf.flow import Flow
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
    return run(call_state.initial(rules.flow), CallBegan(), LinkUp(), *events, rules=rules)[0]


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


def turn(item: str = "u") -> tuple[call_state.FlowEvent, ...]:
    """The caller speaks."""
    return CallerSpoke(), CallerDone(item)
