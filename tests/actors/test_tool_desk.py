"""The desk that answers the model's tool calls: what the model is told, what changes, and what is still to be done."""

import datetime

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.dialogue import Dialogue, Held, Status
from actors.messages import Disposition, SendText, ToolCall
from actors.tool_desk import Desk
from conf.flow import Condition, Flow, Slot, State, Transition
from tests.kit.calls import a_tool_call

NOW = datetime.datetime(2026, 11, 24, 10, 0, tzinfo=datetime.UTC)
CALLER = "+12125550100"
PHONE = "+12127365000"
FLOW = Flow(
    "booking",
    "Book.",
    facts={"hours": "nine to five"},
    start="hello",
    intents={"book": "They want an appointment."},
    slots={
        "phone": Slot("phone", "a telephone number"),
        "name": Slot("person_name", "the name"),
        "size": Slot("number", "how many", confirm=False),
    },
    states={
        "hello": State("Greet.", collects=("phone",), transitions=(Transition(Condition(intent=("book",)), "ask"),)),
        "ask": State("Ask.", collects=("phone", "name", "size"), final=True),
    },
)
DESK = Desk(FLOW, CALLER, Disposition.DIAL, NOW)
HELLO = Dialogue("hello", turn=3, visits={"hello": 1})
HEARD = attrs.evolve(HELLO, slots={"phone": Held(PHONE, Status.HEARD, turn=2, captures=(PHONE,))})


def test_what_was_saved_is_told_with_how_to_read_it_back() -> None:
    answer = DESK.answer(a_tool_call("save_details", phone="212 736 5000", size="four"), HELLO, spoke=False)
    assert answer.result is not None
    saved = answer.result["saved"]
    assert isinstance(saved, dict)
    assert (answer.result["ok"], set(saved)) == (True, {"phone", "size"})
    assert saved["phone"]["value"] == PHONE
    assert saved["phone"]["status"] == "heard"
    assert saved["phone"]["read_back"]
    assert saved["size"]["status"] == "confirmed"  # nobody has to confirm it
    assert answer.dialogue.held("phone").turn == 3
    assert answer.good


def test_the_model_is_told_that_its_confidence_is_left_out_of_what_is_saved() -> None:
    answer = DESK.answer(a_tool_call("save_details", phone="212 736 5000", confidence="high"), HELLO, spoke=False)
    assert answer.result is not None
    assert (answer.result["ok"], answer.dialogue.held("phone").text) == (True, PHONE)
    assert "number" in str(answer.result["left_out"])


def test_what_could_be_read_is_saved_although_the_rest_could_not() -> None:
    answer = DESK.answer(a_tool_call("save_details", phone="12", name="Anna Smith", colour="red"), HELLO, spoke=False)
    assert answer.result is not None
    assert answer.result["ok"] is False
    assert set(answer.result["saved"]) == {"name"}  # type: ignore[call-overload] # JSON
    assert "@ $.phone" in str(answer.result["error"])
    assert "@ $.colour" in str(answer.result["error"])
    assert answer.good


def test_a_value_that_a_caller_said_badly_is_no_mistake_of_the_model() -> None:
    assert DESK.answer(a_tool_call("save_details", phone="12"), HELLO, spoke=False).good


@pytest.mark.parametrize(
    "call",
    [
        a_tool_call("confirm_details", slots=["name"] * 9000, correct=True),
        a_tool_call("confirm_details", slots=["x" * 60_000], correct=True),
        a_tool_call("save_details", **{f"x{number}": 1 for number in range(6000)}),
        a_tool_call("save_details", **{"x" * 60_000: 1}),
        a_tool_call("x" * 60_000),
    ],
    ids=["repeated", "long detail", "many", "long name", "long tool"],
)
def test_what_a_model_out_of_its_mind_has_to_mend_is_told_in_a_few_words(call: ToolCall) -> None:
    answer = DESK.answer(call, HELLO, spoke=False)
    assert answer.result is not None
    assert not answer.result["ok"]
    assert len(str(answer.result)) < 2500


def test_a_wish_moves_the_flow_and_is_kept_for_the_record() -> None:
    answer = DESK.answer(a_tool_call("save_details", intent="book"), HELLO, spoke=False)
    assert (answer.dialogue.at, answer.dialogue.intent, answer.dialogue.wish) == ("ask", "", "book")


def test_a_detail_is_confirmed_when_the_caller_has_answered_and_not_before() -> None:
    confirm = a_tool_call("confirm_details", slots=["phone"], correct=True)
    answer = DESK.answer(confirm, HEARD, spoke=False)
    assert answer.dialogue.held("phone").status is Status.CONFIRMED
    early = DESK.answer(confirm, attrs.evolve(HEARD, turn=2), spoke=False)
    assert early.dialogue.held("phone").status is Status.HEARD
    assert early.result is not None
    assert "wait for the caller's answer" in str(early.result["error"])


@pytest.mark.parametrize(
    ("dialogue", "to", "number"),
    [
        (HELLO, "caller", CALLER),
        (attrs.evolve(HELLO, slots={"phone": Held(PHONE, Status.CONFIRMED)}), "phone", PHONE),
        (HEARD, "phone", None),
        (HELLO, "phone", None),
        (HELLO, PHONE, None),
    ],
)
def test_a_text_message_goes_only_to_the_caller_or_a_number_that_was_confirmed(
    dialogue: Dialogue, to: str, number: str | None
) -> None:
    answer = DESK.answer(a_tool_call("send_sms", "c1", text="Hi.", to=to), dialogue, spoke=False)
    if number is None:
        assert answer.errand is None
        assert answer.result is not None
        assert answer.result["ok"] is False
    else:
        assert (answer.errand, answer.result) == (SendText("tool.c1", "sms", number, "Hi."), None)


def test_starting_over_forgets_everything_but_how_often_the_caller_spoke() -> None:
    answer = DESK.answer(a_tool_call("start_over"), attrs.evolve(HEARD, at="ask", wish="book"), spoke=False)
    assert (answer.dialogue.at, answer.dialogue.slots, answer.dialogue.wish) == ("hello", {}, "")
    assert answer.dialogue.turn == 3


@pytest.mark.parametrize(
    ("transfer", "spoke", "told"),
    [
        (Disposition.DIAL, False, "connecting them"),
        (Disposition.DIAL, True, ""),
        (Disposition.DIAL_WARM, False, "connecting them"),
        (Disposition.VOICEMAIL, False, "nobody"),
        (Disposition.VOICEMAIL, True, "nobody"),
    ],
)
def test_what_the_model_is_to_say_before_a_transfer(transfer: Disposition, spoke: bool, told: str) -> None:
    answer = attrs.evolve(DESK, transfer=transfer).answer(a_tool_call("transfer_to_human"), HELLO, spoke=spoke)
    assert answer.leads_to is transfer
    assert answer.result is not None
    assert told in str(answer.result.get("next", ""))
    assert bool(answer.result.get("next")) is bool(told)


ARGUMENTS = st.one_of(
    st.none(),
    st.dictionaries(
        st.sampled_from(
            ["phone", "name", "size", "intent", "confidence", "slots", "correct", "text", "to", "topic", "x"]
        ),
        st.one_of(
            st.text(max_size=12),
            st.integers(),
            st.floats(),
            st.booleans(),
            st.none(),
            st.lists(st.sampled_from(["phone", "x"]), max_size=2),
            st.sampled_from(["2127365000", "caller", "phone", "book", "hours"]),
        ),
        max_size=4,
    ),
)
NAMES = ["end_call", "transfer_to_human", "look_up", "send_sms", "save_details", "confirm_details", "start_over", "x"]


@given(st.sampled_from(NAMES), ARGUMENTS, st.booleans(), st.sampled_from([HELLO, HEARD]))
@settings(max_examples=150)
def test_whatever_the_model_asks_for_it_is_answered_or_an_errand_is_under_way(
    name: str, arguments: dict[str, object] | None, spoke: bool, dialogue: Dialogue
) -> None:
    answer = DESK.answer(ToolCall("c1", name, arguments, "torn"), dialogue, spoke)
    assert (answer.result is None) == (answer.errand is not None)
    if answer.result is not None:
        assert isinstance(answer.result["ok"], bool)
        assert answer.result["ok"] or answer.result["error"]
    if not answer.good:
        assert answer.dialogue == dialogue
