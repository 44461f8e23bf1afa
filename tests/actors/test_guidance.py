"""What the model is told: instructions that never change, and where the conversation stands."""

import copy
import datetime

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import details
from actors.dialogue import Dialogue, Held, Status
from actors.guidance import guidance, instructions
from actors.slots import read_back
from conf.flow import Flow, Slot, State
from conf.flow_file import FOLDER, load_flow

SLOTS = {
    "name": Slot("person_name", "the caller's name", spell=True),
    "email": Slot("email", "the address", spell=True),
    "phone": Slot("phone", "the number"),
    "size": Slot("choice", "the size", choices={"small": (), "large": ()}),
}
FLOW = Flow(
    "desk",
    "Be kind.",
    start="ask",
    slots=SLOTS,
    states={
        "ask": State("Get name and number.", collects=("name", "email", "phone"), seconds=4, tools=("free_times",)),
        "end": State("Say goodbye.", final=True),
    },
)
PLAIN = Flow("desk", "Be kind.")
NOW = datetime.datetime(2026, 11, 24, 10, 30, tzinfo=datetime.UTC)


def told(at: str = "ask", **slots: Held) -> str:
    return guidance(FLOW, Dialogue(at, slots=slots))


def line(name: str, held: Held) -> str:
    """The line about slot `name`, in a state that does not ask for it."""
    lines = [each for each in told("end", **{name: held}).strip("[]").splitlines() if each.startswith(f"{name}: ")]
    assert len(lines) <= 1
    return lines[0] if lines else ""


# ---------------------------------------------------------------- the state


def test_the_goal_of_the_state_comes_first_and_all_is_in_brackets() -> None:
    text = told()
    assert text.startswith("[Now: Get name and number.\n")
    assert text.endswith("]")
    assert told("end") == "[Now: Say goodbye.]"


def test_what_is_missing_is_asked_for_one_at_a_time() -> None:
    asks = "Still to ask for: name (the caller's name), email (the address), phone (the number). One at a time."
    assert asks in told()
    assert "Still to ask for: email (the address), phone (the number)." in told(name=Held("Ann", Status.HEARD))
    known = {name: Held("x", Status.CONFIRMED) for name in ("name", "email", "phone")}
    assert "Still to ask for" not in told(**known)
    assert "Still to ask for" not in told("end")


def test_what_is_spelled_is_asked_to_be_spelled_until_it_is_known() -> None:
    assert "Ask the caller to spell: name, email." in told()
    assert "Ask the caller to spell: email." in told(name=Held("Ann", Status.CONFIRMED))
    wrong = Held("Ann", Status.UNCLEAR, tries=1)
    assert "Ask the caller to spell: name, email." in told(name=wrong)


def test_bounds_tools_and_outcomes_are_said() -> None:
    text = guidance(FLOW, Dialogue("ask", outcomes={"sms": "failed", "free_times": "done"}))
    for part in ("Reply within 4 seconds", "Tools for this: free_times.", "sms: failed.", "free_times: done."):
        assert part in text
    for part in ("Reply within", "Tools for this"):
        assert part not in told("end")


def test_the_date_is_said_and_the_year_of_a_day_that_is_a_year_from_it() -> None:
    flow = attrs.evolve(FLOW, slots={"day": Slot("date", "the day")}, states={"ask": State("Ask.", collects=("day",))})
    text = guidance(flow, Dialogue("ask", slots={"day": Held("2027-12-03", Status.HEARD)}), today=NOW.date())
    assert "\nToday is Tuesday, November 24, 2026.\n" in text
    assert "Read it back as: Friday, December 3, 2027." in text


# ---------------------------------------------------------------- the slots


def test_nothing_is_said_of_what_nobody_spoke_of() -> None:
    assert line("name", Held()) == ""
    assert told("end", name=Held()) == told("end")


def test_what_was_heard_is_to_be_read_back() -> None:
    said = line("phone", Held("+12125550123", Status.HEARD))
    assert "+12125550123, not confirmed" in said
    assert f"Read it back as: {read_back('phone', '+12125550123')}." in said
    assert "spell" not in said


@pytest.mark.parametrize(
    ("held", "doubted"),
    [
        (Held("Ann", Status.HEARD, model=0.69), True),
        (Held("Ann", Status.HEARD, model=0.7), False),
        (Held("Ann", Status.HEARD, model=0.9, transcript=0.3), True),
        (Held("Ann", Status.HEARD, captures=("Ann", "Anne")), True),
        (Held("Ann", Status.HEARD, captures=("Ann", "Ann")), False),
        (Held("Ann", Status.HEARD), False),
        (Held("Ann", Status.CONFIRMED, model=0.1), False),
    ],
)
def test_what_is_doubtful_is_to_be_spelled(held: Held, doubted: bool) -> None:
    assert ("ask the caller to spell it" in line("name", held)) == doubted


def test_what_is_settled_is_said_to_be() -> None:
    assert line("email", Held("a@b.example", Status.CONFIRMED)) == "email: a@b.example (settled)."


def test_what_was_not_understood_is_asked_for_again_and_what_was_wrong_is_named() -> None:
    assert line("name", Held(status=Status.UNCLEAR, tries=1)).startswith("name: not understood yet. Ask again")
    assert "; Ann was wrong" in line("name", Held("Ann", Status.UNCLEAR, tries=1))


@pytest.mark.parametrize(("name", "tries", "offered"), [("phone", 1, False), ("phone", 2, True), ("email", 2, False)])
def test_the_keypad_is_offered_for_digits_after_two_tries(name: str, tries: int, offered: bool) -> None:
    assert ("keypad" in line(name, Held(status=Status.UNCLEAR, tries=tries))) == offered


@pytest.mark.parametrize("held", [Held(status=Status.DECLINED), Held("a@b.example", Status.DECLINED)])
def test_what_the_caller_will_not_say_is_not_asked_for_again(held: Held) -> None:
    text = told(email=held)
    assert "email: the caller does not want to say it. Do not ask again." in text
    rest = text.replace("email: the caller does not want to say it. Do not ask again.", "")
    assert "email" not in rest


# ---------------------------------------------------------------- what never changes


def test_the_instructions_are_the_flows_own_and_the_rules() -> None:
    text = instructions(attrs.evolve(FLOW, instructions="\n Be kind. \n", reply_seconds=3.5))
    assert text.startswith("Be kind.\nHow to speak: ")
    assert "3.5 seconds of speech at most" in text
    for tool in ("transfer_to_human", "end_call", "save_details", "confirm_details"):
        assert tool in text


def test_a_flow_without_anything_to_find_out_is_told_nothing_of_it() -> None:
    assert "save_details" not in instructions(PLAIN)
    assert guidance(PLAIN, Dialogue(PLAIN.start)) == ""


@pytest.mark.parametrize(
    "flow",
    [
        attrs.evolve(PLAIN, intents={"book": "x"}),
        attrs.evolve(PLAIN, slots=SLOTS),
        attrs.evolve(PLAIN, states={"talk": State("a"), "b": State("b")}),
    ],
)
def test_wishes_slots_or_states_are_something_to_guide(flow: Flow) -> None:
    assert guidance(flow, Dialogue("talk")).startswith("[Now: ")
    assert "system message in brackets" in instructions(flow)


def test_braces_in_the_instructions_are_only_braces() -> None:
    assert instructions(attrs.evolve(FLOW, instructions="Say {hello} {0} {")).startswith("Say {hello} {0} {\n")


SHIPPED = sorted(path.stem for path in FOLDER.glob("*.toml"))


@pytest.mark.parametrize("name", SHIPPED)
def test_the_instructions_of_a_shipped_flow_name_the_tools_there_are(name: str) -> None:
    flow = load_flow(name)
    text = instructions(flow)
    for tool in ("transfer_to_human", "end_call"):
        assert tool in text
    assert ("look_up" in text) == bool(flow.facts)
    assert ("save_details" in text) == bool(flow.slots)


HELD = st.builds(
    Held,
    st.sampled_from(["", "Ann"]),
    st.sampled_from(Status),
    tries=st.integers(0, 3),
    model=st.none() | st.floats(0, 1),
)
DIALOGUES = st.builds(
    Dialogue,
    st.sampled_from(["ask", "end"]),
    slots=st.dictionaries(st.sampled_from(["name", "size"]), HELD.filter(lambda held: held.text or not held.known)),
    turn=st.integers(0, 5),
    outcomes=st.dictionaries(st.sampled_from(["sms", "tool"]), st.sampled_from(["done", "failed"])),
)


@given(DIALOGUES)
def test_equal_dialogues_are_told_equally(dialogue: Dialogue) -> None:
    assert guidance(FLOW, dialogue) == guidance(copy.deepcopy(FLOW), copy.deepcopy(dialogue))


@given(DIALOGUES, st.permutations(["name", "size"]))
def test_the_order_in_which_things_were_said_makes_no_difference(dialogue: Dialogue, order: list[str]) -> None:
    slots = {name: dialogue.slots[name] for name in order if name in dialogue.slots}
    assert guidance(FLOW, attrs.evolve(dialogue, slots=slots)) == guidance(FLOW, dialogue)


@given(DIALOGUES, st.integers(0, 9), st.integers(0, 9))
def test_what_has_nothing_to_do_with_it_changes_nothing(dialogue: Dialogue, turn: int, idle: int) -> None:
    other = attrs.evolve(dialogue, turn=turn, idle=idle, wish="book", visits={"ask": 3})
    assert guidance(FLOW, other) == guidance(FLOW, dialogue)


def test_looking_changes_nothing() -> None:
    now, _ = details.save(Dialogue("ask", turn=1), FLOW, {"name": "John Smith"}, NOW)
    before = attrs.asdict(now)
    guidance(FLOW, now)
    assert attrs.asdict(now) == before
