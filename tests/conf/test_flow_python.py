"""Flows in Python: decorated states and tools, from scratch or on top of a shipped flow."""

import datetime
import enum
from typing import Any, Literal

import attrs
import pytest

from actors import dialogue
from actors.dialogue import Held, Learned, Status
from actors.messages import ToolCall
from actors.tools import BadArguments, RunTool, specs, understand
from conf.flow import SHARED_TOOLS, Condition, Flow, Slot, Transition
from conf.flow_check import problems
from conf.flow_file import load_flow
from conf.flow_python import PythonFlow
from conf.settings import SettingsError

NOW = datetime.datetime(2026, 11, 24, 10, 30)


class Size(enum.Enum):
    SMALL = "small"
    LARGE = "large"


@attrs.frozen
class Address:
    street: str
    floor: int = 0


def desk() -> PythonFlow:
    """A flow of two states and a slot."""
    made = PythonFlow(name="desk", instructions="Be kind.")
    made.slot("day", "date", "the day")

    @made.state("ask", goal="Ask.", collects=["day"], leads_to=["end"])
    def ask(known: dict[str, object]) -> str | None:
        return "end" if "day" in known else None

    @made.state("end", goal="Say goodbye.", final=True)
    def end(known: dict[str, object]) -> None:
        return None

    return made


def asked(flow: Flow, name: str, **arguments: object) -> object:
    """The arguments that the model's call makes."""
    request = understand(ToolCall("c1", name, arguments, ""), flow, flow.start)
    assert isinstance(request, RunTool)
    return request.arguments


# ---------------------------------------------------------------- states and slots


def test_a_flow_from_scratch_has_what_it_was_given_and_starts_at_its_first_state() -> None:
    flow = desk().build()
    assert (flow.name, flow.instructions, flow.start) == ("desk", "Be kind.", "ask")
    assert flow.slots == {"day": Slot("date", "the day")}
    assert (flow.states["ask"].collects, flow.states["ask"].leads_to) == (("day",), ("end",))
    assert flow.states["end"].final
    assert problems(flow) == []


def test_the_fields_of_a_flow_may_be_given() -> None:
    made = PythonFlow(name="desk", instructions="x", timezone="Europe/Berlin", start="b", intents={"book": "x"})
    made.state("a", goal="A.", final=True)(lambda known: None)
    made.state("b", goal="B.", final=True, patience_ms=900, leads_to=("a",))(lambda known: None)
    flow = made.build()
    assert (flow.timezone, flow.start, flow.intents) == ("Europe/Berlin", "b", {"book": "x"})
    assert flow.states["b"].patience_ms == 900


@pytest.mark.parametrize("given", [{"name": "desk"}, {"instructions": "x"}, {"name": " ", "instructions": "x"}])
def test_a_flow_from_scratch_needs_name_and_instructions(given: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="is empty"):
        PythonFlow(**given)


def test_a_flow_without_states_is_a_mistake() -> None:
    assert "there is no state" in problems(PythonFlow(name="x", instructions="x").build())[0]


def test_a_wrong_kind_of_slot_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"'dat'.*date_time"):
        desk().slot("day", "dat", "the day")


def test_the_function_of_a_state_leads_where_it_says() -> None:
    flow = desk().build()
    now, _ = dialogue.begin(flow, NOW)
    assert now.at == "ask"
    told = attrs.evolve(now, slots={"day": Held("2026-12-01", Status.HEARD)})
    assert dialogue.happen(told, Learned(), flow, NOW)[0].at == "end"


def test_the_function_of_a_state_is_asked_after_its_transitions() -> None:
    made = desk()
    to_end = Transition(Condition(key=("1",)), "end")
    made.state("ask", goal="Ask.", collects=["day"], transitions=(to_end,), leads_to=["end"])(lambda known: None)
    flow = made.build()
    now, _ = dialogue.begin(flow, NOW)
    assert dialogue.happen(now, dialogue.Pressed("1"), flow, NOW)[0].at == "end"


def test_the_decorators_give_the_functions_back() -> None:
    made = desk()

    async def find() -> None: ...

    def route(known: dict[str, object]) -> None: ...

    assert made.tool("Finds.")(find) is find
    assert made.state("ask", goal="Ask.")(route) is route


def test_what_is_built_does_not_change_when_more_is_added() -> None:
    made = desk()
    flow = made.build()
    made.slot("name", "person_name", "the name")
    made.state("more", goal="x")(lambda known: None)
    made.tool("Finds.", name="find")(nothing)
    assert (set(flow.slots), set(flow.states), set(flow.tools)) == ({"day"}, {"ask", "end"}, set())


async def nothing() -> None:
    """Does nothing."""


# ---------------------------------------------------------------- on top of a shipped flow


def test_a_shipped_flow_can_be_extended() -> None:
    made = PythonFlow("appointment", name="my practice", timezone="Europe/Berlin")
    made.slot("people", "number", "how many people come")

    @made.tool("Finds free times on a day.")
    async def free_times(day: datetime.date, at_most: int = 3) -> dict[str, object]:
        return {"times": [day.isoformat()] * at_most}

    base = load_flow("appointment")
    old = base.states["day"]

    @made.state(
        "day",
        goal="Find a time that suits.",
        collects=["day", "people"],
        tools=["free_times"],
        transitions=old.transitions,
        leads_to=["booked"],
    )
    def day(known: dict[str, object]) -> None:
        return None

    flow = made.build()
    assert problems(flow) == []
    assert (flow.name, flow.timezone, flow.start) == ("my practice", "Europe/Berlin", base.start)
    assert flow.instructions == base.instructions
    assert set(flow.states) == set(base.states)
    assert flow.states["name"] == base.states["name"]
    assert set(flow.slots) == {*base.slots, "people"}
    assert flow.shared == base.shared
    assert load_flow("appointment") == base
    with pytest.raises(BadArguments, match="cannot be used now"):
        asked(flow, "free_times", day="2026-12-01")


def test_a_base_that_does_not_exist_is_refused() -> None:
    with pytest.raises(SettingsError, match="dentist"):
        PythonFlow("dentist")


# ---------------------------------------------------------------- tools


def with_tool(function: Any, **how: Any) -> Flow:
    made = desk()
    made.tool("Finds free times.", **how)(function)
    called = how.get("name") or function.__name__
    made.state("ask", goal="Ask.", collects=["day"], tools=[called], leads_to=["end"])(lambda known: None)
    flow = made.build()
    assert problems(flow) == []
    return flow


async def find(
    day: datetime.date,
    size: Size,
    how: Literal["exact", "near"],
    address: Address,
    names: list[str],
    at: datetime.time | None = None,
    at_most: int = 3,
    share: float = 0.5,
    spoken: bool = True,
) -> dict[str, object]:
    """Finds something."""
    return {"day": day.isoformat(), "size": size.value}


def test_the_arguments_of_a_tool_are_told_by_their_types() -> None:
    spec = next(spec for spec in specs(with_tool(find)) if spec.name == "find")
    assert spec.description == "Finds free times."
    assert spec.parameters == {
        "type": "object",
        "properties": {
            "day": {"type": "string", "format": "date"},
            "size": {"type": "string", "enum": ["small", "large"]},
            "how": {"type": "string", "enum": ["exact", "near"]},
            "address": {
                "type": "object",
                "properties": {"street": {"type": "string"}, "floor": {"type": "integer"}},
                "required": ["street"],
            },
            "names": {"type": "array", "items": {"type": "string"}},
            "at": {"type": "string", "format": "time"},
            "at_most": {"type": "integer"},
            "share": {"type": "number"},
            "spoken": {"type": "boolean"},
        },
        "required": ["day", "size", "how", "address", "names"],
    }


FULL: dict[str, object] = {
    "day": "2026-12-01",
    "size": "large",
    "how": "near",
    "address": {"street": "12 Harbour Street"},
    "names": ["Ann", "Bob"],
}


async def test_the_arguments_of_a_call_are_typed_and_the_function_takes_them() -> None:
    flow = with_tool(find)
    arguments: Any = asked(flow, "find", **FULL)
    assert attrs.asdict(arguments, recurse=False) == {
        "day": datetime.date(2026, 12, 1),
        "size": Size.LARGE,
        "how": "near",
        "address": Address("12 Harbour Street"),
        "names": ["Ann", "Bob"],
        "at": None,
        "at_most": 3,
        "share": 0.5,
        "spoken": True,
    }
    told = await flow.tools["find"].run(**attrs.asdict(arguments, recurse=False))
    assert told == {"day": "2026-12-01", "size": "large"}
    more: Any = asked(flow, "find", **FULL, at="15:30", at_most=2.0, share=1, spoken=False)
    assert (more.at, more.at_most, more.share, more.spoken) == (datetime.time(15, 30), 2, 1.0, False)
    assert type(more.at_most) is int


@pytest.mark.parametrize(
    ("name", "value", "place"),
    [
        ("day", "next Tuesday", r"\$\.day"),
        ("day", 5, r"\$\.day"),
        ("size", "huge", r"\$\.size"),
        ("how", "far", r"\$\.how"),
        ("address", "12 Harbour Street", r"\$\.address"),
        ("address", {"street": 5}, r"\$\.address\.street"),
        ("names", ["Ann", 5], r"\$\.names\[1\]"),
        ("names", "Ann", r"\$\.names"),
        ("at", "half past three", r"\$\.at"),
        ("at_most", "3", r"\$\.at_most"),
        ("at_most", 2.5, r"\$\.at_most"),
        ("at_most", True, r"\$\.at_most"),
        ("at_most", float("inf"), r"\$\.at_most"),
        ("share", "0.5", r"\$\.share"),
        ("spoken", "no", r"\$\.spoken"),
    ],
)
def test_a_wrong_argument_is_told_with_its_path(name: str, value: object, place: str) -> None:
    with pytest.raises(BadArguments, match=place):
        asked(with_tool(find), "find", **{**FULL, name: value})


@pytest.mark.parametrize("name", sorted(FULL))
def test_a_missing_argument_is_told_with_its_path(name: str) -> None:
    with pytest.raises(BadArguments, match=rf"\$\.{name}"):
        asked(with_tool(find), "find", **{key: value for key, value in FULL.items() if key != name})


def test_a_tool_may_have_another_name_and_time() -> None:
    flow = with_tool(nothing, name="look_around", seconds=2.5)
    assert set(flow.tools) == {"look_around"}
    assert (flow.tools["look_around"].seconds, flow.tools["look_around"].run) == (2.5, nothing)
    assert flow.tools["look_around"].name == "look_around"


@pytest.mark.parametrize("name", SHARED_TOOLS)
def test_a_tool_cannot_have_the_name_of_one_of_the_house(name: str) -> None:
    with pytest.raises(SettingsError, match=rf"{name}.*one of the house"):
        desk().tool("x", name=name)(nothing)


def not_async() -> None:
    """Not async."""


async def untyped(day) -> None:
    """A type is missing."""


async def starred(*days: str) -> None:
    """Any number of arguments."""


async def double_starred(**days: str) -> None:
    """Any argument."""


async def odd(day: bytes) -> None:
    """A type without a schema."""


async def two_types(day: int | str) -> None:
    """A type without a schema."""


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (not_async, "'not_async' is not async: write `async def`"),
        (untyped, "'untyped': argument 'day' needs a type"),
        (starred, "'starred': argument 'days' needs a type"),
        (double_starred, "'double_starred': argument 'days' needs a type"),
        (odd, "'odd': argument 'day': .*no JSON Schema: use str"),
        (two_types, "'two_types': argument 'day': .*no JSON Schema: use str"),
    ],
)
def test_a_tool_that_cannot_be_described_is_refused(function: Any, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        desk().tool("x")(function)


async def positional(day: str, /) -> str:
    """Its argument cannot be given by name."""
    return day


async def test_a_tool_that_is_accepted_can_be_run_with_its_arguments_by_name() -> None:
    try:
        flow = with_tool(positional)
    except SettingsError:
        return  # refusing it would do as well
    arguments: Any = asked(flow, "positional", day="Monday")
    assert await flow.tools["positional"].run(**attrs.asdict(arguments, recurse=False)) == "Monday"


async def underscored(_day: str) -> str:
    """An argument that attrs would call otherwise."""
    return _day


async def test_a_tool_may_call_its_arguments_what_it_likes() -> None:
    try:
        flow = with_tool(underscored)
    except SettingsError:
        return  # refusing it would do as well
    arguments: Any = asked(flow, "underscored", _day="Monday")
    assert await flow.tools["underscored"].run(**attrs.asdict(arguments, recurse=False)) == "Monday"


def test_a_tool_that_no_state_names_can_be_used_nowhere() -> None:
    made = desk()
    made.tool("Finds.")(nothing)
    with pytest.raises(BadArguments, match=r"nothing cannot be used now: Ask\."):
        asked(made.build(), "nothing")
