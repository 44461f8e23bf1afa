"""The Realtime codec: questions apart from the conversation, and their answers."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import realtime
from pydantic import TypeAdapter, ValidationError

from actors import messages as say
from actors.messages import ReplyEnded
from tests.transport.realtime_kit import (
    BY_TYPE,
    CALL_ITEM,
    DELTA,
    IDS,
    NOW,
    SERVER_EVENT,
    arguments_done,
    documented,
    item_done,
    read,
    texts,
)
from transport.realtime_codec import EventReader, write

# ---------------------------------------------------------------- apart from the conversation

EXTRACT = say.Extract("details.3", "Find the e-mail.", ("item_1", "item_2"))
METADATA = {"triode": "details.3"}


WITH_REFERENCES: TypeAdapter[Any] = TypeAdapter(realtime.RealtimeResponseCreateParamsWithReferencesParam)


def documented_apart(text: str) -> None:
    """As `documented`; the items that are looked at are only named, which the provider has a type of its own for."""
    event = json.loads(text)
    assert event.keys() == {"event_id", "type", "response"}
    response = WITH_REFERENCES.validate_json(json.dumps(event["response"]), strict=True)
    response = {**response, **{key: list(response[key]) for key in ("input", "tools")}}  # lazy until looked at
    assert response == event["response"]  # what is not known was left out
    documented(json.dumps({**event, "response": {**event["response"], "input": []}}))


def test_a_question_apart_is_written_exactly_as_documented() -> None:
    text = write(EXTRACT, "triode_7")
    documented_apart(text)
    event = json.loads(text)
    assert (event["event_id"], event["type"]) == ("triode_7", "response.create")
    response = event["response"]
    assert response["conversation"] == "none"  # the caller's conversation knows nothing of it
    assert response["output_modalities"] == ["text"]
    assert response["instructions"] == "Find the e-mail."
    assert response["input"] == [{"type": "item_reference", "id": "item_1"}, {"type": "item_reference", "id": "item_2"}]
    assert response["metadata"] == METADATA
    assert (response["tools"], response["tool_choice"]) == ([], "none")
    assert 0 < response["max_output_tokens"] <= 4096


@given(texts, texts, st.lists(texts, max_size=4))
def test_any_question_apart_is_documented(purpose: str, instructions: str, items: list[str]) -> None:
    documented_apart(write(say.Extract(purpose, instructions, tuple(items)), "t"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"input": [{"type": "item_reference"}]},
        {"input": [{"type": "item_reference", "id": "i", "role": "user"}]},
        {"input": [{"type": "item", "id": "i"}]},
        {"modalities": ["text"]},
        {"output_modalities": ["words"]},
        {"metadata": {"triode": 3}},
    ],
    ids=repr,
)
def test_the_check_of_questions_apart_has_teeth(wrong: dict[str, Any]) -> None:
    event = json.loads(write(EXTRACT, "t"))
    with pytest.raises((ValidationError, AssertionError)):
        documented_apart(json.dumps({**event, "response": {**event["response"], **wrong}}))


def message(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"id": "i9", "type": "message", "role": "assistant", "status": "completed", "content": [*parts]}


def said(text: str) -> dict[str, Any]:
    return message({"type": "output_text", "text": text})


def apart(*output: object, status: str = "completed", name: str = "r9", **fields: Any) -> dict[str, Any]:
    """The end of a response that carries our metadata."""
    response = {"id": name, "status": status, "output": [*output], "metadata": METADATA, **fields}
    return {"type": "response.done", "response": response}


def test_the_samples_of_these_answers_are_as_documented() -> None:
    documented(json.dumps({"event_id": "e", **apart(said("{}"), conversation_id=None)}), SERVER_EVENT)
    documented(json.dumps({"event_id": "e", **apart(CALL_ITEM)}), SERVER_EVENT)


ANSWERS: list[tuple[tuple[Any, ...], dict[str, object]]] = [
    ((said('{"email": "a@b.org"}'),), {"email": "a@b.org"}),
    ((said(' \n {"email": "a@b.org"}\n'),), {"email": "a@b.org"}),
    ((said('```json\n{"email": "a@b.org"}\n```'),), {"email": "a@b.org"}),
    ((said('```\n{"email": "a@b.org"}\n```'),), {"email": "a@b.org"}),
    ((said("{}"),), {}),
    ((message({"type": "output_text", "text": '{"a":'}, {"type": "output_text", "text": " 1}"}),), {"a": 1}),
    ((message({"type": "output_audio", "transcript": '{"a": 1}'}),), {"a": 1}),
    ((CALL_ITEM,), {"a": 1}),
    (("nonsense", None, said('{"a": 1}')), {"a": 1}),
]


@pytest.mark.parametrize(("output", "values"), ANSWERS, ids=str)
def test_an_answer_apart_is_an_object_however_it_is_wrapped(output: tuple[Any, ...], values: dict[str, object]) -> None:
    assert read(apart(*output)) == [say.Extracted("details.3", values)]


BAD_ANSWERS: list[tuple[tuple[Any, ...], str]] = [
    ((), "completed"),
    ((said(""),), "completed"),
    ((said("  ``` "),), "completed"),
    ((message(),), "completed"),
    ((said("I am sorry."),), "completed"),
    ((said('{"a": 1'),), "incomplete"),
    ((said('{"a": 1} and so on'),), "completed"),
    ((said("[1]"),), "completed"),
    ((said("null"),), "completed"),
    ((said('"text"'),), "completed"),
    ((said("[" * 9000),), "completed"),
    ((message("nonsense", None, {"type": "output_text", "text": 3}),), "completed"),  # type: ignore[arg-type] # garbage
    ((), "failed"),
    ((), "cancelled"),
]


@pytest.mark.parametrize(("output", "status"), BAD_ANSWERS, ids=lambda x: str(x)[:40])
def test_an_answer_apart_that_is_no_object_says_why(output: tuple[Any, ...], status: str) -> None:
    (event,) = read(apart(*output, status=status))
    assert isinstance(event, say.Extracted)
    assert (event.purpose, event.values) == ("details.3", None)
    assert event.problem
    if status in {"failed", "cancelled"}:
        assert status in event.problem


EVENTS_OF_A_RESPONSE = [
    {"type": DELTA, **IDS, "response_id": "r9", "delta": "//7+/w=="},
    {"type": "response.output_audio_transcript.delta", **IDS, "response_id": "r9", "delta": "Hi "},
    {"type": "response.output_text.delta", **IDS, "response_id": "r9", "delta": "{}"},
    {"type": "response.output_audio.done", **IDS, "response_id": "r9"},
    arguments_done(reply="r9"),
    item_done(reply="r9"),
]


def test_nothing_of_a_response_apart_is_heard_or_done() -> None:
    began = {"type": "response.created", "response": {"id": "r9", "status": "in_progress", "metadata": METADATA}}
    events = read(began, *EVENTS_OF_A_RESPONSE, apart(said('{"b": 2}')), *EVENTS_OF_A_RESPONSE[:1])
    assert events[:-2] == [None] * (1 + len(EVENTS_OF_A_RESPONSE))
    assert events[-2] == say.Extracted("details.3", {"b": 2})


def test_the_conversation_goes_on_beside_a_response_apart() -> None:
    began = {"type": "response.created", "response": {"id": "r9", "metadata": METADATA}}
    sample, means = BY_TYPE[DELTA]
    reply, ended = BY_TYPE["response.done"]
    mine = {"type": "response.created", "response": {"id": "r"}}
    assert read(mine, began, sample, EVENTS_OF_A_RESPONSE[0], apart(said("{}")), reply) == [
        say.ReplyBegan("r"),
        None,
        means,
        None,
        say.Extracted("details.3", {}),
        ended,
    ]


def unmarked(name: str = "r9", **fields: Any) -> list[dict[str, Any]]:
    """A response of a compatible server that does not give our metadata back."""
    return [
        {"type": "response.created", "response": {"id": name, "status": "in_progress", **fields}},
        {
            "type": "response.done",
            "response": {"id": name, "status": "completed", "output": [said('{"a":1}')], **fields},
        },
    ]


def test_a_response_without_a_conversation_counts_as_apart_only_while_one_is_asked() -> None:
    reader = EventReader(lambda: NOW)
    without = [json.dumps(event) for event in unmarked(conversation_id=None)]
    assert [type(reader.read(text)) for text in without] == [say.ReplyBegan, ReplyEnded]
    reader.asked_apart("details.3")
    assert [reader.read(text) for text in without] == [None, say.Extracted("details.3", {"a": 1})]
    again = [text.replace("r9", "r10") for text in without]
    assert [type(reader.read(text)) for text in again] == [say.ReplyBegan, ReplyEnded]


@pytest.mark.parametrize("fields", [{}, {"conversation_id": "conv_1"}, {"conversation_id": ""}, {"metadata": None}])
def test_a_reply_in_the_conversation_is_never_taken_for_one_apart(fields: dict[str, Any]) -> None:
    reader = EventReader(lambda: NOW)
    reader.asked_apart("details.3")
    assert [type(reader.read(json.dumps(event))) for event in unmarked(**fields)] == [say.ReplyBegan, ReplyEnded]
    assert reader.read(json.dumps(apart(said("{}")))) == say.Extracted("details.3", {})


def test_questions_apart_are_answered_each_with_its_own_purpose() -> None:
    reader = EventReader(lambda: NOW)
    for purpose in ("one", "two"):
        reader.asked_apart(purpose)
    second = apart(said('{"n": 2}'), name="r2") | {}
    second["response"]["metadata"] = {"triode": "two"}
    assert reader.read(json.dumps(second)) == say.Extracted("two", {"n": 2})
    first = [json.dumps(event) for event in unmarked("r1", conversation_id=None)]
    assert [reader.read(text) for text in first] == [None, say.Extracted("one", {"a": 1})]
