"""What the model asks for is a claim: understood as a typed request, or answered with what to mend."""

import copy
import datetime
import json
from collections.abc import Mapping
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.realtime import RealtimeFunctionTool
from pydantic import TypeAdapter

from actors.messages import ToolCall, ToolSpec
from actors.tools import (
    REASON_AT_MOST,
    SMS_AT_MOST,
    BadArguments,
    ConfirmDetails,
    EndCall,
    LookUp,
    Request,
    RunTool,
    SaveDetails,
    SendSms,
    StartOver,
    TransferToHuman,
    arguments_from,
    details,
    specs,
    understand,
)
from conf.flow import SHARED_TOOLS, Flow, PythonTool, Slot, State
from conf.flow_file import FOLDER, load_flow

FACTS = {"hours": "nine to five", "address": "12 Harbour Street"}


@attrs.frozen
class Day:
    """Arguments of the tool in Python."""

    day: datetime.date
    at_most: int = 3


async def find(day: datetime.date, at_most: int = 3) -> None:
    """Finds nothing."""


TOOL = PythonTool("free_times", "Finds free times.", Day, find)
BARE = Flow("desk", "Be kind.", facts=FACTS)
FULL = Flow(
    "desk",
    "Be kind.",
    facts=FACTS,
    start="ask",
    intents={"book": "Wants an appointment.", "human": "Wants a person."},
    slots={
        "name": Slot("person_name", "the full name"),
        "phone": Slot("phone", "the number"),
        "mobile": Slot("phone", "another number"),
        "size": Slot("choice", "the size", choices={"small": (), "large": ()}),
    },
    states={
        "ask": State("Ask for a day.", collects=("name", "phone", "mobile", "size"), tools=("free_times",), final=True),
        "end": State("Say goodbye.", final=True),
    },
    tools={"free_times": TOOL},
)


def call(name: str, arguments: object = None, problem: str = "") -> ToolCall:
    return ToolCall("c1", name, arguments, problem)


def asked(name: str, arguments: object, flow: Flow = FULL, state: str = "") -> Request:
    return understand(call(name, arguments), flow, state or flow.start)


def refusal(name: str, arguments: object, flow: Flow = FULL, state: str = "") -> str:
    with pytest.raises(BadArguments) as refused:
        asked(name, arguments, flow, state)
    return str(refused.value)


@pytest.mark.parametrize("flow", [BARE, FULL])
@pytest.mark.parametrize(
    ("name", "arguments", "request_"),
    [
        ("end_call", {}, EndCall()),
        ("end_call", {"reason": "done"}, EndCall("done")),
        ("end_call", {"reason": "x" * REASON_AT_MOST}, EndCall("x" * REASON_AT_MOST)),
        ("transfer_to_human", {}, TransferToHuman()),
        ("transfer_to_human", {"reason": "asked"}, TransferToHuman("asked")),
        ("look_up", {"topic": "hours"}, LookUp("hours")),
        ("end_call", {"reason": "done", "mood": "happy"}, EndCall("done")),
        ("send_sms", {"text": "Hello."}, SendSms("Hello.", "caller")),
        ("send_sms", {"text": "Hello.", "to": "caller"}, SendSms("Hello.", "caller")),
        ("send_sms", {"body": "Hello."}, SendSms("Hello.")),
        ("send_sms", {"message": "Hello.", "to": "caller"}, SendSms("Hello.")),
        ("send_sms", {"text": "Hello.", "body": "Bye."}, SendSms("Hello.")),
        ("send_sms", {"text": "x" * SMS_AT_MOST}, SendSms("x" * SMS_AT_MOST)),
    ],
)
def test_a_good_call_becomes_a_request(name: str, arguments: dict[str, object], request_: object, flow: Flow) -> None:
    assert asked(name, arguments, flow) == request_


@pytest.mark.parametrize(
    ("name", "arguments", "request_"),
    [
        ("save_details", {"name": "John"}, SaveDetails({"name": "John"})),
        ("save_details", {"intent": "book"}, SaveDetails({}, "book")),
        (
            "save_details",
            {"intent": "book", "name": "John", "size": "small", "confidence": 0.5},
            SaveDetails({"name": "John", "size": "small"}, "book", 0.5),
        ),
        ("save_details", {"name": "John", "intent": None, "size": None, "confidence": None}, SaveDetails({"name": "John"})),
        ("save_details", {"name": 5, "color": [1]}, SaveDetails({"name": 5, "color": [1]})),
        ("save_details", {"name": "", "confidence": 0}, SaveDetails({"name": ""}, "", 0.0)),
        ("save_details", {"name": "John", "confidence": 1}, SaveDetails({"name": "John"}, "", 1.0)),
        ("confirm_details", {"slots": ["name", "phone"], "correct": True}, ConfirmDetails(("name", "phone"), True)),
        ("confirm_details", {"slots": ["name"], "correct": False}, ConfirmDetails(("name",), False)),
        ("start_over", {}, StartOver()),
        ("start_over", {"reason": "asked"}, StartOver()),
        ("send_sms", {"text": "Hello.", "to": "phone"}, SendSms("Hello.", "phone")),
        ("send_sms", {"text": "Hello.", "to": "mobile"}, SendSms("Hello.", "mobile")),
        ("free_times", {"day": "2026-12-01"}, RunTool(TOOL, Day(datetime.date(2026, 12, 1)))),
        ("free_times", {"day": "2026-12-01", "at_most": 5}, RunTool(TOOL, Day(datetime.date(2026, 12, 1), 5))),
    ],
)  # fmt: skip
def test_a_good_call_about_details_becomes_a_request(name: str, arguments: dict[str, object], request_: object) -> None:
    before = copy.deepcopy(arguments)
    assert asked(name, arguments) == request_
    assert arguments == before


@pytest.mark.parametrize("flow", [BARE, FULL])
@pytest.mark.parametrize(
    ("name", "arguments", "says", "path"),
    [
        ("end_call", {"reason": 5}, "expected str|expected a string", "$.reason"),
        ("end_call", {"reason": None}, "expected str|expected a string", "$.reason"),
        ("look_up", {}, "missing", "$.topic"),
        ("look_up", {"topic": 7}, "expected str|expected a string", "$.topic"),
        ("look_up", {"topic": "prices"}, "expected one of address, hours", "$.topic"),
        ("send_sms", {}, "missing", "$.text"),
        ("send_sms", {"to": "caller"}, "missing", "$.text"),
        ("send_sms", {"text": 5}, "expected str|expected a string", "$.text"),
        ("send_sms", {"body": 5}, "expected str|expected a string", "$.text"),
        ("send_sms", {"text": "Hello.", "to": "+12125550123"}, "expected one of caller", "$.to"),
        ("send_sms", {"text": "Hello.", "to": "name"}, "expected one of caller", "$.to"),
        ("send_sms", {"text": "Hello.", "to": ""}, "expected one of caller", "$.to"),
        ("send_sms", {"text": "Hello.", "to": None}, "expected str|expected a string", "$.to"),
    ],
)
def test_a_bad_call_is_told_what_to_mend_and_where(
    name: str, arguments: dict[str, object], says: str, path: str, flow: Flow
) -> None:
    with pytest.raises(BadArguments, match=says) as refused:
        asked(name, arguments, flow)
    assert f"@ {path}" in str(refused.value)


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("end_call", {"reason": "x" * (REASON_AT_MOST + 1)}, f"at most {REASON_AT_MOST} characters"),
        ("transfer_to_human", {"reason": "x" * (REASON_AT_MOST + 1)}, f"at most {REASON_AT_MOST} characters"),
        ("send_sms", {"text": "x" * (SMS_AT_MOST + 1)}, f"1 to {SMS_AT_MOST} characters"),
        ("send_sms", {"text": " \n"}, f"1 to {SMS_AT_MOST} characters"),
        ("send_sms", {"message": ""}, f"1 to {SMS_AT_MOST} characters"),
    ],
)
def test_a_value_out_of_bounds_is_told_its_bounds(name: str, arguments: dict[str, object], says: str) -> None:
    assert says in refusal(name, arguments)


@pytest.mark.parametrize(
    ("name", "arguments", "says", "path"),
    [
        ("save_details", {"intent": "dance"}, "expected one of book, human", "$.intent"),
        ("save_details", {"intent": 5}, "expected str|expected a string", "$.intent"),
        ("confirm_details", {}, "missing", "$.slots"),
        ("confirm_details", {"slots": ["name"]}, "missing", "$.correct"),
        ("confirm_details", {"slots": ["name"], "correct": "yes"}, "true or false|bool", "$.correct"),
        ("confirm_details", {"slots": ["name"], "correct": 1}, "true or false|bool", "$.correct"),
        ("confirm_details", {"slots": [], "correct": True}, "at least one", "$.slots"),
        ("confirm_details", {"slots": ["name", 5], "correct": True}, "expected str|expected a string", "$.slots[1]"),
        ("confirm_details", {"slots": 5, "correct": True}, None, "$.slots"),
        ("confirm_details", {"slots": {"name": "John"}, "correct": True}, None, "$.slots"),
        ("send_sms", {"text": "Hello.", "to": "size"}, "expected one of caller, phone, mobile", "$.to"),
        ("free_times", {}, "missing", "$.day"),
        ("free_times", {"day": "Tuesday"}, None, "$.day"),
        ("free_times", {"day": "2026-12-01", "at_most": "5"}, None, "$.at_most"),
    ],
)
def test_a_bad_call_about_details_is_told_what_to_mend_and_where(
    name: str, arguments: dict[str, object], says: str | None, path: str
) -> None:
    with pytest.raises(BadArguments, match=says) as refused:
        asked(name, arguments)
    assert f"@ {path}" in str(refused.value)


def test_one_detail_without_its_list_is_asked_for_as_a_list_and_not_taken_for_its_letters() -> None:
    with pytest.raises(BadArguments, match=r"expected a list @ \$\.slots"):
        asked("confirm_details", {"slots": "name", "correct": True})


@pytest.mark.parametrize("confidence", [90, 1.01, -0.1, float("nan"), "0.9", "high", True, [0.9]])
def test_a_bad_confidence_is_left_out_and_the_values_with_it_count(confidence: object) -> None:
    request = asked("save_details", {"intent": "book", "name": "John", "confidence": confidence})
    assert isinstance(request, SaveDetails)
    assert (request.values, request.intent, request.confidence) == ({"name": "John"}, "book", None)
    assert "@ $.confidence" in request.left_out


@pytest.mark.parametrize("intent", ["booking", "none", 5, ["book"]])
def test_an_intent_that_there_is_not_is_left_out_and_the_values_with_it_count(intent: object) -> None:
    request = asked("save_details", {"intent": intent, "name": "John"})
    assert isinstance(request, SaveDetails)
    assert (request.values, request.intent) == ({"name": "John"}, "")
    assert "@ $.intent" in request.left_out


def test_nothing_told_is_nothing_to_save() -> None:
    for arguments in ({}, {"confidence": 0.9}, {"name": None}, {"intent": ""}, {"intent": None}):
        said = refusal("save_details", arguments)
        assert "nothing is told" in said
        assert "name, phone, mobile, size" in said


def test_what_was_extracted_apart_is_read_as_what_the_model_saves() -> None:
    assert details({"name": "John", "intent": "book"}, FULL) == SaveDetails({"name": "John"}, "book")
    with pytest.raises(BadArguments, match=r"\$\.intent"):
        details({"intent": "dance"}, FULL)
    with pytest.raises(BadArguments, match="nothing is told"):
        details({}, FULL)


def test_there_are_intents_where_there_are_no_slots_and_the_other_way_round() -> None:
    wishes = Flow("desk", "x", intents={"book": "x"})
    assert asked("save_details", {"intent": "book"}, wishes) == SaveDetails({}, "book")
    slots = attrs.evolve(FULL, intents={})
    assert asked("save_details", {"name": "John"}, slots) == SaveDetails({"name": "John"})
    assert "$.intent" in refusal("save_details", {"intent": "book"}, slots)


@pytest.mark.parametrize("name", ["order_pizza", "", "END_CALL", "free_time"])
def test_a_tool_that_there_is_not_is_told_those_there_are(name: str) -> None:
    said = refusal(name, {})
    assert f"there is no tool {name!r}" in said
    for spec in specs(FULL):
        assert spec.name in said


@pytest.mark.parametrize("name", ["end_call", "save_details", "send_sms", "free_times"])
def test_arguments_that_were_no_object_are_told_why(name: str) -> None:
    with pytest.raises(BadArguments, match="not a JSON object: it ends in the middle"):
        understand(call(name, None, "it ends in the middle"), FULL, "ask")


def test_a_tool_of_python_is_refused_where_the_state_does_not_name_it() -> None:
    assert isinstance(asked("free_times", {"day": "2026-12-01"}, state="ask"), RunTool)
    assert refusal("free_times", {"day": "2026-12-01"}, state="end") == "free_times cannot be used now: Say goodbye."
    assert asked("end_call", {}, state="end") == EndCall()


def test_arguments_of_a_tool_come_from_the_values_of_the_same_names() -> None:
    day = datetime.date(2026, 12, 1)
    assert arguments_from(TOOL, {"day": day, "name": "John"}) == {"day": day}
    assert arguments_from(TOOL, {"day": day, "at_most": 2}) == {"day": day, "at_most": 2}
    with pytest.raises(BadArguments, match="nothing is known of day"):
        arguments_from(TOOL, {"at_most": 2})


# ---------------------------------------------------------------- what the model is told


def told(flow: Flow) -> dict[str, ToolSpec]:
    return {spec.name: spec for spec in specs(flow)}


def test_nothing_can_be_looked_up_where_there_are_no_facts() -> None:
    plain = attrs.evolve(BARE, facts={})
    assert list(told(plain)) == ["end_call", "transfer_to_human", "send_sms"]
    with pytest.raises(BadArguments, match="no tool"):
        asked("look_up", {"topic": "hours"}, plain)


@pytest.mark.parametrize("name", ["save_details", "confirm_details", "start_over", "free_times"])
def test_what_a_flow_has_no_use_for_is_neither_told_nor_allowed(name: str) -> None:
    assert name not in told(BARE)
    assert "there is no tool" in refusal(name, {}, BARE)


def test_the_model_is_told_of_every_tool_and_every_topic() -> None:
    assert set(told(BARE)) == {"end_call", "transfer_to_human", "send_sms", "look_up"}
    assert set(told(FULL)) == {*SHARED_TOOLS, "free_times"}
    assert told(FULL)["look_up"].parameters == {
        "type": "object",
        "properties": {"topic": {"type": "string", "enum": ["address", "hours"]}},
        "required": ["topic"],
    }
    for spec in specs(FULL):
        assert spec.description


def test_the_model_is_told_what_may_be_saved_and_confirmed_and_where_messages_go() -> None:
    save: Mapping[str, Any] = told(FULL)["save_details"].parameters
    assert list(save["properties"]) == ["intent", "name", "phone", "mobile", "size", "confidence"]
    assert save["properties"]["intent"]["enum"] == ["book", "human"]
    assert "Wants an appointment." in save["properties"]["intent"]["description"]
    assert save["properties"]["size"] == {"type": "string", "description": "the size", "enum": ["small", "large"]}
    assert "required" not in save
    confirm: Mapping[str, Any] = told(FULL)["confirm_details"].parameters
    assert confirm["properties"]["slots"]["items"]["enum"] == ["name", "phone", "mobile", "size"]
    assert confirm["required"] == ["slots", "correct"]
    assert told(FULL)["send_sms"].parameters["properties"]["to"]["enum"] == ["caller", "phone", "mobile"]
    assert told(BARE)["send_sms"].parameters["properties"]["to"]["enum"] == ["caller"]


def test_what_the_model_is_told_does_not_depend_on_the_state_and_is_the_same_each_time() -> None:
    assert specs(FULL) == specs(copy.deepcopy(FULL))


FLOWS = {"bare": BARE, "full": FULL, **{path.stem: load_flow(path.stem) for path in sorted(FOLDER.glob("*.toml"))}}
FUNCTION_TOOL: TypeAdapter[Any] = TypeAdapter(RealtimeFunctionTool)


def assert_schema(schema: Mapping[str, Any]) -> None:
    """That `schema` is one, of the few shapes that there are."""
    allowed = {
        "object": {"properties", "required"},
        "array": {"items"},
        "string": {"enum", "format"},
        "integer": set(),
        "number": set(),
        "boolean": set(),
    }
    assert set(schema) <= allowed[schema["type"]] | {"type", "description"}
    assert isinstance(schema.get("description", ""), str)
    if schema["type"] == "object":
        assert set(schema.get("required", ())) <= set(schema["properties"])
        assert schema.get("required", ["x"])
        for inner in schema["properties"].values():
            assert_schema(inner)
    if schema["type"] == "array":
        assert_schema(schema["items"])
    if "enum" in schema:
        assert schema["enum"]
        assert len(set(schema["enum"])) == len(schema["enum"])
        assert all(isinstance(each, str) for each in schema["enum"])


@pytest.mark.parametrize("flow", FLOWS.values(), ids=FLOWS)
def test_every_tool_is_one_by_the_types_of_the_provider(flow: Flow) -> None:
    for spec in specs(flow):
        plain = {
            "type": "function",
            "name": spec.name,
            "description": spec.description,
            "parameters": spec.parameters,
        }
        tool = FUNCTION_TOOL.validate_json(json.dumps(plain), strict=True)
        assert tool.model_dump(mode="json", exclude_unset=True) == plain
        assert not tool.model_extra
        assert spec.parameters["type"] == "object"
        assert_schema(spec.parameters)


# ---------------------------------------------------------------- whatever the model says

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)
KEYS = [
    "reason",
    "topic",
    "x",
    "text",
    "body",
    "message",
    "to",
    "intent",
    "confidence",
    "name",
    "slots",
    "correct",
    "day",
]
SENSIBLE = st.sampled_from(["caller", "phone", "hours", "book", "John", True, 0.5, ["name"], "2026-12-01"])
ARGUMENTS = st.none() | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), SENSIBLE | JSON, max_size=4)


@pytest.mark.parametrize("name", ["look_up", "send_sms", "save_details"])
def test_a_tool_of_the_house_that_a_state_takes_away_is_refused_there_with_the_reason(name: str) -> None:
    flow = load_flow("appointment")
    here = attrs.evolve(flow.states["welcome"], without=(name,))
    flow = attrs.evolve(flow, states={**flow.states, "welcome": here})
    arguments = {"look_up": {"topic": "address"}, "send_sms": {"text": "Hi."}, "save_details": {"intent": "book"}}[name]
    with pytest.raises(BadArguments, match=f"{name} cannot be used now: Find out"):
        understand(ToolCall("c", name, arguments), flow, "welcome")
    understand(ToolCall("c", name, arguments), flow, "name")


@given(st.sampled_from([*SHARED_TOOLS, "free_times", "", "x"]), ARGUMENTS, st.sampled_from(["ask", "end"]))
@settings(max_examples=150)
def test_whatever_the_model_says_is_a_request_or_a_sentence(
    name: str, arguments: dict[str, object] | None, state: str
) -> None:
    try:
        request: object = asked(name, arguments, state=state)
    except BadArguments as error:
        request = str(error)
        assert "unknown error" not in request
    assert request
    assert isinstance(request, str | Request)
