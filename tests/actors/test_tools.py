"""What the model asks for is a claim: understood as a typed request, or answered with what to mend."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.messages import ToolCall
from actors.tools import REASON_AT_MOST, BadArguments, EndCall, LookUp, TransferToHuman, specs, understand

FACTS = {"hours": "nine to five", "address": "12 Harbour Street"}


def call(name: str, arguments: object = None, problem: str = "") -> ToolCall:
    return ToolCall("c1", name, arguments, problem)


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
    ],
)
def test_a_good_call_becomes_a_request(name: str, arguments: dict[str, object], request_: object) -> None:
    assert understand(call(name, arguments), FACTS) == request_


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("order_pizza", {}, "there is no tool 'order_pizza'"),
        ("end_call", {"reason": 5}, r"expected str @ \$\.reason"),
        ("end_call", {"reason": None}, "reason"),
        ("end_call", {"reason": "x" * (REASON_AT_MOST + 1)}, "invalid value"),
        ("look_up", {}, "topic"),
        ("look_up", {"topic": 7}, r"expected str @ \$\.topic"),
        ("look_up", {"topic": "prices"}, r"expected one of address, hours @ \$\.topic"),
    ],
)
def test_a_bad_call_is_told_what_to_mend(name: str, arguments: dict[str, object], says: str) -> None:
    with pytest.raises(BadArguments, match=says):
        understand(call(name, arguments), FACTS)


def test_arguments_that_were_no_object_are_told_why() -> None:
    with pytest.raises(BadArguments, match="not a JSON object: it ends in the middle"):
        understand(call("end_call", None, "it ends in the middle"), FACTS)


def test_nothing_can_be_looked_up_where_there_are_no_facts() -> None:
    assert [spec.name for spec in specs({})] == ["end_call", "transfer_to_human"]
    with pytest.raises(BadArguments, match="no tool"):
        understand(call("look_up", {"topic": "hours"}), {})


def test_the_model_is_told_of_every_tool_and_every_topic() -> None:
    told = {spec.name: spec for spec in specs(FACTS)}
    assert set(told) == {"end_call", "transfer_to_human", "look_up"}
    assert told["look_up"].parameters == {
        "type": "object",
        "properties": {"topic": {"type": "string", "enum": ["address", "hours"]}},
        "required": ["topic"],
    }
    for spec in told.values():
        assert spec.description


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)
ARGUMENTS = st.none() | st.dictionaries(st.sampled_from(["reason", "topic", "x"]) | st.text(max_size=5), JSON)


@given(st.sampled_from(["end_call", "transfer_to_human", "look_up", "", "x"]), ARGUMENTS)
@settings(max_examples=200)
def test_whatever_the_model_says_is_a_request_or_a_sentence(name: str, arguments: dict[str, object] | None) -> None:
    try:
        request = understand(call(name, arguments), FACTS)
    except BadArguments as error:
        request = str(error)
    assert request
    assert isinstance(request, str | EndCall | TransferToHuman | LookUp)
