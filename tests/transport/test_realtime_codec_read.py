"""The Realtime codec: what is read is understood with new fields and without old ones, and garbage is an error of its own."""

import base64
import copy
import itertools
import json
import math
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import messages as say
from actors.messages import CallState, Gravity, ModelEvent, ModelTrouble, ReplyEnded, ReplyStatus, ToolCall
from tests.transport.realtime_kit import (
    BY_TYPE,
    CALL_ITEM,
    DELTA,
    EMPTY,
    HEARD,
    IDS,
    NOW,
    READ_ONLY,
    SAMPLES,
    SERVER_EVENT,
    SERVER_TYPES,
    TURN,
    UNDERSTOOD,
    USAGE,
    arguments_done,
    calls_of,
    documented,
    item_done,
    read,
    reply_done,
    texts,
)
from transport.realtime_codec import (
    ARGUMENTS_AT_MOST,
    CALLS_AT_MOST,
    MESSAGE_AT_MOST,
    WORDS_AT_MOST,
    BadEvent,
    EventReader,
    gravity,
)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda x: x["type"])
def test_the_samples_of_these_tests_are_as_documented(sample: dict[str, Any]) -> None:
    if "session" in sample:  # the types know nothing of its read-only fields
        sample = {**sample, "session": {k: v for k, v in sample["session"].items() if k not in READ_ONLY}}
    documented(json.dumps(sample), SERVER_EVENT)


@pytest.mark.parametrize(("sample", "means"), UNDERSTOOD, ids=lambda x: x["type"] if isinstance(x, dict) else "")
def test_every_event_that_matters_is_understood_with_new_fields_too(sample: dict[str, Any], means: ModelEvent) -> None:
    wide = {"phase": "commentary", "obfuscation": "xx", "new": [{"deep": None}], **dict(reversed(sample.items()))}
    for key, value in sample.items():
        if isinstance(value, dict):
            wide[key] = {"newer": {"deeper": [1.5]}, **value}
    assert read(sample, wide) == [means, means]


@pytest.mark.parametrize("kind", SERVER_TYPES)
def test_every_documented_event_may_lack_all_but_its_type_or_have_nulls(kind: str) -> None:
    fields = ["response_id", "item_id", "delta", "transcript", "name", "call_id", "arguments"]
    nulls = dict.fromkeys([*fields, "response", "session", "item", "error"])
    assert read({"type": kind}, {"type": kind, **nulls}) == [EMPTY.get(kind)] * 2


@pytest.mark.parametrize("end", ["delta", "done"])
@pytest.mark.parametrize("part", ["audio", "audio_transcript", "text"])
def test_the_names_of_the_beta_interface_mean_the_same(part: str, end: str) -> None:
    name = f"response.output_{part}.{end}"
    assert name in SERVER_TYPES
    sample, means = BY_TYPE.get(name, ({**IDS, "delta": "x"}, None))
    assert read({**sample, "type": f"response.{part}.{end}"}) == [means]


@pytest.mark.parametrize("kind", ["", "zzz", "response.cancelled", "conversation.item.created", "Error", "x" * 900])
def test_an_unknown_event_means_nothing(kind: str) -> None:
    assert read({"type": kind, "response": [], "session": 3, "item": "x"}) == [None]


@given(st.binary(min_size=1, max_size=3000))
def test_any_audio_comes_as_it_was(audio: bytes) -> None:
    event = {"type": DELTA, **IDS, "delta": base64.b64encode(audio).decode()}
    assert read(event) == [say.ReplyAudio("r", "i", audio)]


def test_a_session_without_turn_detection_says_so() -> None:
    session = {"id": "s", "audio": {"input": {"turn_detection": None}}}
    assert read({"type": "session.updated", "session": session}) == [EMPTY["session.updated"]]


@pytest.mark.parametrize("places", [p for n in (1, 2, 3) for p in itertools.combinations(range(3), n)], ids=repr)
def test_a_call_is_collected_once_from_wherever_it_stands(places: tuple[int, ...]) -> None:
    events = [event for place, event in enumerate((arguments_done(), item_done())) if place in places]
    assert read(*events) == [None] * len(events)  # told with the end of the reply, not before
    assert calls_of(*events, reply_done(*[CALL_ITEM] * (2 in places))) == (ToolCall("c", "f", {"a": 1}),)


def test_calls_keep_their_order_and_stay_with_their_reply() -> None:
    reader = EventReader()
    events = [arguments_done("c1"), arguments_done("d", "other"), item_done("c2"), item_done("c1")]
    for event in events:
        assert reader.read(json.dumps(event)) is None
    for reply, calls in (("r", ["c1", "c2"]), ("other", ["d"]), ("r", [])):
        ended = reader.read(json.dumps(reply_done(reply=reply)))
        assert isinstance(ended, ReplyEnded)
        assert [call.call_id for call in ended.calls] == calls


@pytest.mark.parametrize("status", ["incomplete", "in_progress"])
def test_a_call_that_was_broken_off_is_marked_so_by_what_comes_last(status: str) -> None:
    (call,) = calls_of(arguments_done(), item_done(status=status), reply_done())
    assert call.state is CallState.INCOMPLETE
    (call,) = calls_of(item_done(status="completed"), reply_done({**CALL_ITEM, "status": status}))
    assert call.state is CallState.INCOMPLETE


@pytest.mark.parametrize("arguments", ["{", "[]", "null", '"x"', "3", "[" * 9000, '{"a":NaN}', '{"a":1}}', "\x00"])
def test_arguments_that_are_no_object_are_told_as_a_problem(arguments: str) -> None:
    (call,) = calls_of(arguments_done(arguments=arguments), reply_done())
    assert (call.call_id, call.name, call.arguments) == ("c", "f", None)
    assert call.problem


def test_a_call_without_a_name_is_told_so_that_it_can_be_answered() -> None:
    nameless = {key: value for key, value in CALL_ITEM.items() if key != "name"}
    done = {"type": "response.done", "response": {"id": "r", "status": "completed", "output": [nameless]}}
    assert [(call.call_id, call.name) for call in calls_of(done)] == [(CALL_ITEM["call_id"], "")]


def test_a_name_that_one_event_tells_is_not_lost_by_another_that_does_not() -> None:
    nameless = {key: value for key, value in CALL_ITEM.items() if key != "name"} | {"call_id": "c"}
    done = {"type": "response.done", "response": {"id": "r", "status": "completed", "output": [nameless]}}
    assert [(call.call_id, call.name) for call in calls_of(arguments_done(), done)] == [("c", "f")]


def test_a_call_without_arguments_has_none() -> None:
    assert calls_of(arguments_done(arguments=""), reply_done()) == (ToolCall("c", "f", {}),)


@pytest.mark.parametrize("item", [{"call_id": None}, {"call_id": ""}, {"type": "message"}, {"type": []}])
def test_what_is_no_call_is_not_collected(item: dict[str, Any]) -> None:
    assert calls_of(item_done(**item), reply_done({**CALL_ITEM, **item}, [], "x", None)) == ()


def test_a_reply_of_too_many_calls_keeps_the_first() -> None:
    many = [{**CALL_ITEM, "call_id": f"c{n}"} for n in range(CALLS_AT_MOST + 5)]
    assert [call.call_id for call in calls_of(reply_done(*many))] == [f"c{n}" for n in range(CALLS_AT_MOST)]


def test_arguments_of_megabytes_are_refused_and_the_model_is_told_why() -> None:
    arguments = json.dumps({"name": "x" * ARGUMENTS_AT_MOST})
    (call,) = calls_of(reply_done({**CALL_ITEM, "arguments": arguments}))
    assert (call.call_id, call.name, call.arguments) == ("c", "f", None)
    assert str(ARGUMENTS_AT_MOST) in call.problem


# ---------------------------------------------------------------- how replies end, and what errors weigh


@pytest.mark.parametrize(
    ("status", "details", "means", "reason", "weight"),
    [
        ("cancelled", {"type": "cancelled", "reason": "turn_detected"}, "CANCELLED", "turn_detected", "BENIGN"),
        ("cancelled", "turn_detected", "CANCELLED", "turn_detected", "BENIGN"),
        ("incomplete", {"reason": "max_output_tokens"}, "INCOMPLETE", "max_output_tokens", "BENIGN"),
        ("completed", {"type": "completed"}, "COMPLETED", "", "BENIGN"),
        ("a_new_one", None, "COMPLETED", "", "BENIGN"),
        ("failed", {"error": {"code": "insufficient_quota"}}, "FAILED", "insufficient_quota", "FATAL"),
        ("failed", "insufficient_quota", "FAILED", "insufficient_quota", "FATAL"),
        ("failed", {"error": {"type": "server_error", "message": "m"}}, "FAILED", "server_error m", "RETRY"),
        ("failed", {"error": {"code": "rate_limit_exceeded"}}, "FAILED", "rate_limit_exceeded", "BUSY"),
        ("failed", {"error": {"code": "session_expired"}}, "FAILED", "session_expired", "LOST"),
        ("failed", {"error": "x"}, "FAILED", "", "RETRY"),
        ("failed", None, "FAILED", "", "RETRY"),
        ("failed", [], "FAILED", "", "RETRY"),
    ],
)
def test_how_a_reply_ended_is_told_with_its_reason(
    status: str, details: object, means: str, reason: str, weight: str
) -> None:
    done = reply_done(status=status, status_details=details)
    assert read(done) == [ReplyEnded("r", ReplyStatus[means], (), reason, Gravity[weight])]


@pytest.mark.parametrize(
    ("says", "seconds"),
    [
        ("Limit 40000, Used 39000, Requested 2400. Please try again in 2.1s. Visit https://example.com", 2.1),
        ("Please try again in 644ms.", 0.644),
        ("Please try again in 20s.", 20.0),
        ("Please try again in 1m26.4s.", 0.0),
        ("Please try again in a moment.", 0.0),
        ("", 0.0),
    ],
)
def test_when_a_busy_model_may_be_asked_again_is_read_from_what_it_says(says: str, seconds: float) -> None:
    details = {"error": {"type": "tokens", "code": "rate_limit_exceeded", "message": says}}
    (ended,) = read(reply_done(status="failed", status_details=details))
    assert isinstance(ended, ReplyEnded)
    assert ended.again_in == pytest.approx(seconds)
    (refused,) = read({"type": "error", **details})
    assert isinstance(refused, ModelTrouble)
    assert refused.again_in == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("codes", "kind", "weight"),
    [
        ("invalid_api_key beta_api_shape_disabled missing_model invalid_model model_not_found", "", Gravity.FATAL),
        ("insufficient_quota billing_hard_limit_reached account_deactivated", "", Gravity.FATAL),
        ("invalid_request_error.invalid_api_key", "invalid_request_error", Gravity.FATAL),
        ("session_expired", "invalid_request_error", Gravity.LOST),
        ("rate_limit_exceeded inference_rate_limit_exceeded", "", Gravity.BUSY),
        ("server_error", "", Gravity.RETRY),
        ("anything", "server_error", Gravity.RETRY),
        ("conversation_already_has_active_response response_cancel_not_active", "", Gravity.BENIGN),
        ("input_audio_buffer_commit_empty invalid_value item_truncate_invalid_item_id", "", Gravity.BENIGN),
        ("unsupported_content_type cannot_update_voice unknown_parameter invalid_json", "", Gravity.BENIGN),
    ],
)
def test_errors_weigh_what_the_reference_says(codes: str, kind: str, weight: Gravity) -> None:
    for code in codes.split():
        assert gravity(code, kind) is weight
        error = {"type": kind, "code": code, "message": "m", "event_id": None}
        assert read({"type": "error", "error": error}) == [ModelTrouble(code, "m", weight)]


def test_an_error_without_a_code_is_told_by_its_type_and_its_words() -> None:
    error = {"type": "invalid_request_error", "message": "Only model output audio can be truncated"}
    old = {"type": "invalid_request_error", "message": "Cancellation failed: no active response found"}
    assert read({"type": "error", "error": error}, {"type": "error", "error": old}) == [
        ModelTrouble("invalid_request_error", error["message"], Gravity.BENIGN),
        ModelTrouble("response_cancel_not_active", old["message"], Gravity.BENIGN),
    ]


def test_words_of_megabytes_are_cut() -> None:
    """They are looked at one by one, while all other calls wait, and kept."""
    much, heard = "well " * 1_000_000, "conversation.item.input_audio_transcription"
    failed = {"status": "failed", "status_details": {"error": {"code": "x", "message": much}}}
    words, partial, said, error, ended = read(
        {"type": f"{heard}.completed", "item_id": "u", "transcript": much},
        {"type": f"{heard}.delta", "item_id": "u", "delta": much},
        {"type": "response.output_audio_transcript.delta", **IDS, "delta": much},
        {"type": "error", "error": {"code": "x", "message": much}},
        reply_done(**failed),
    )
    assert isinstance(words, say.CallerWords)
    assert isinstance(partial, say.CallerWords)
    assert isinstance(said, say.ReplyWords)
    assert words.text == partial.text == said.text == much[:WORDS_AT_MOST]
    assert isinstance(error, ModelTrouble)
    assert isinstance(ended, ReplyEnded)
    assert len(error.text) == len(ended.reason) == MESSAGE_AT_MOST


# ---------------------------------------------------------------- garbage


NO_JSON = ["", " ", "{", "null", "[]", '"x"', "{}", '{"type":3}', '{"type":"error"', '{"type":"\ud800"}', "[" * 9000]
NO_BASE64 = ["é", "A", "AAA", "A===", "AA==AA==", "AA AA", "-_-_", "\n"]
BINARY = [b"", b'{"type":"error"}', b"\xff"]


@pytest.mark.parametrize("bad", [*BINARY, *NO_JSON, *({**BY_TYPE[DELTA][0], "delta": delta} for delta in NO_BASE64)])
def test_what_is_no_event_is_bad(bad: object) -> None:
    with pytest.raises(BadEvent):
        read(bad)


HUGE = 10**400


@pytest.mark.parametrize(
    "event",
    [
        {"type": "session.created", "session": {"id": "s", "expires_at": HUGE}},
        {"type": "session.updated", "session": {"audio": {"input": {"turn_detection": {"threshold": HUGE}}}}},
        reply_done(usage={"total_tokens": HUGE}),
        arguments_done(arguments=json.dumps({"a": HUGE})),
    ],
    ids=lambda x: x["type"],
)
def test_a_number_beyond_all_bounds_is_harmless(event: dict[str, Any]) -> None:
    harmless(EventReader(lambda: NOW), json.dumps(event))


@pytest.mark.parametrize("tokens", [-1, -(10**30), 10**30, 1.5, "9", None])
def test_a_number_of_tokens_that_is_none_is_not_counted(tokens: object) -> None:
    assert read(reply_done(usage={"total_tokens": tokens})) == [ReplyEnded("r", ReplyStatus.COMPLETED)]


@pytest.mark.parametrize("expires_at", [0, -1, NOW, NOW - 3600, -1e300])
def test_a_session_that_is_over_before_it_begins_has_no_end_that_is_known(expires_at: float) -> None:
    event = {"type": "session.created", "session": {"id": "s", "expires_at": expires_at}}
    assert read(event) == [say.SessionCreated("s", None)]


@pytest.mark.parametrize("behind", [1, 300, 7200])
def test_a_session_lasts_an_hour_at_most_however_far_behind_our_clock_is(behind: int) -> None:
    event = {"type": "session.created", "session": {"id": "s", "expires_at": int(NOW) + 3600 + behind}}
    assert read(event) == [say.SessionCreated("s", 3600.0)]


def harmless(reader: EventReader, text: str) -> None:
    try:
        event = reader.read(text)
    except BadEvent:
        return
    assert event is None or isinstance(event, ModelEvent)


def inside(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in `value` with each of its keys."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []:
        yield value, key
        yield from inside(value[key])


WILD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.just(HUGE),
    lambda x: st.lists(x, max_size=3) | st.dictionaries(st.sampled_from(["id", "type", "code", "item"]), x, max_size=3),
    max_leaves=6,
)


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """An event in which something is replaced, missing or cut off."""
    event = copy.deepcopy(draw(st.sampled_from([*SAMPLES, arguments_done(), item_done()])))
    for _ in range(draw(st.integers(1, 3))):
        places = list(inside(event))
        parent, key = places[draw(st.integers(0, len(places) - 1))]
        if draw(st.booleans()):
            parent[key] = draw(WILD)
        elif len(event) > 1:
            del parent[key]
    text = json.dumps(event)
    return text if draw(st.integers(0, 4)) else text[: draw(st.integers(0, len(text)))]


@given(st.lists(mutated() | st.text() | WILD.map(json.dumps), max_size=4))
def test_nothing_that_comes_raises_anything_but_bad_event(events: list[str]) -> None:
    reader = EventReader(lambda: NOW)
    for text in events:
        harmless(reader, text)


# ---------------------------------------------------------------- how sure the transcriber was


def heard(logprobs: object) -> ModelEvent | None:
    event = {"type": f"{HEARD}.completed", **TURN, "transcript": "Hello", "usage": USAGE, "logprobs": logprobs}
    return read(event)[0]


@pytest.mark.parametrize(
    ("logprobs", "confidence"),
    [
        ([{"token": "He", "logprob": 0.0, "bytes": [72]}], 1.0),
        ([{"token": "He", "logprob": math.log(0.5), "bytes": None}], 0.5),
        ([{"logprob": math.log(0.9)}, {"logprob": math.log(0.4)}], math.sqrt(0.9 * 0.4)),
        ([{"logprob": -9999.0}], 0.0),
        ([{"logprob": 0}], 1.0),
    ],
)
def test_how_sure_the_transcriber_was_is_told(logprobs: list[dict[str, Any]], confidence: float) -> None:
    words = heard(logprobs)
    assert isinstance(words, say.CallerWords)
    assert (words.text, words.final) == ("Hello", True)
    assert words.confidence == pytest.approx(confidence)


@pytest.mark.parametrize("logprobs", [None, [], {}, "x", [None], [{}], [{"logprob": "x"}], [{"logprob": 0.5}], [3]])
def test_where_nothing_usable_is_told_nothing_is_known(logprobs: object) -> None:
    assert heard(logprobs) == say.CallerWords("u", "Hello", final=True, confidence=None)


@given(st.lists(st.fixed_dictionaries({"logprob": st.floats(allow_nan=False) | st.integers() | st.none() | texts})))
def test_whatever_numbers_come_confidence_is_a_probability(logprobs: list[dict[str, Any]]) -> None:
    event = {"type": f"{HEARD}.completed", **TURN, "transcript": "Hello", "logprobs": logprobs}
    try:
        words = read(json.dumps(event))[0]
    except BadEvent:  # JSON knows no infinity
        return
    assert isinstance(words, say.CallerWords)
    assert words.confidence is None or 0 <= words.confidence <= 1
