"""The Realtime codec: what is written is what the provider's own types document, what is read may be anything."""

import base64
import copy
import itertools
import json
import math
from collections.abc import Iterator
from typing import Any, get_args

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import realtime
from pydantic import BaseModel, TypeAdapter, ValidationError

from actors import messages as say
from actors.messages import CallState, Gravity, ModelEvent, ModelTrouble, ReplyEnded, ReplyStatus, Role, ToolCall
from transport.realtime_codec import (
    ARGUMENTS_AT_MOST,
    CALLS_AT_MOST,
    MESSAGE_AT_MOST,
    WORDS_AT_MOST,
    BadEvent,
    EventReader,
    append,
    gravity,
    write,
)

NOW = 1_790_000_000.0
TOOL = say.ToolSpec("save_contact", "Keeps it.", {"type": "object", "properties": {"email": {"type": "string"}}})
TURNS = say.TurnDetection(0.6, 300, 500, True, False)
CONFIG = say.SessionConfig("marin", "Be kind.", (TOOL,), TURNS, "gpt-live-transcribe", "de", "low", 1024)
CLIENT_EVENT: TypeAdapter[Any] = TypeAdapter(realtime.RealtimeClientEvent)
SERVER_EVENT: TypeAdapter[Any] = TypeAdapter(realtime.RealtimeServerEvent)
SERVER_TYPES = sorted(
    get_args(kind.model_fields["type"].annotation)[0] for kind in get_args(get_args(realtime.RealtimeServerEvent)[0])
)


def models(value: object) -> Iterator[BaseModel]:
    if isinstance(value, BaseModel):
        yield value
        value = list(dict(value).values())
    if isinstance(value, list):
        for each in value:
            yield from models(each)


def documented(text: str, adapter: TypeAdapter[Any] = CLIENT_EVENT) -> BaseModel:
    """The event as the provider's type for it. Fails for a field that is unknown, missing, or of the wrong type."""
    event = adapter.validate_json(text, strict=True)
    assert event.model_dump(mode="json", exclude_unset=True) == json.loads(text)
    for model in models(event):
        assert not model.model_extra, (type(model), model.model_extra)
    return event


def read(*events: object) -> list[ModelEvent | None]:
    reader = EventReader(lambda: NOW)
    return [reader.read(event if isinstance(event, str | bytes) else json.dumps(event)) for event in events]


# ---------------------------------------------------------------- what is written

COMMANDS: list[tuple[say.ModelCommand, str]] = [
    (say.Probe(), '"session.update","session":{"type":"realtime"}'),
    (say.AskReply(), '"response.create"'),
    (say.CommitTurn(), '"input_audio_buffer.commit"'),
    (say.CancelReply("resp_1"), '"response.cancel","response_id":"resp_1"'),
    (say.Truncate("i_1", 14), '"conversation.item.truncate","item_id":"i_1","content_index":0,"audio_end_ms":14'),
    (say.DropItem("item_1"), '"conversation.item.delete","item_id":"item_1"'),
    (
        say.ToolResult("call_1", {"ok": True, "name": "Zoë"}),
        '"conversation.item.create","item":{"type":"function_call_output","call_id":"call_1",'
        r'"output":"{\"ok\":true,\"name\":\"Zoë\"}"}',
    ),
]
ROLES = [
    (Role.CALLER, "user", "input_text"),
    (Role.AGENT, "assistant", "output_text"),
    (Role.OPERATOR, "system", "input_text"),
]


@pytest.mark.parametrize(("command", "event"), COMMANDS, ids=lambda x: type(x).__name__)
def test_every_command_is_written_exactly_as_documented(command: say.ModelCommand, event: str) -> None:
    text = write(command, "triode_7")
    assert json.loads(text) == {"event_id": "triode_7", **json.loads(f'{{"type":{event}}}')}
    documented(text)


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("item", ["", "told_1"])
@pytest.mark.parametrize(("role", "speaker", "part"), ROLES)
def test_words_are_told_in_the_name_of_who_said_them(
    role: Role, speaker: str, part: str, item: str, first: bool
) -> None:
    text = write(say.Tell(role, "Hello.", item, first), "t")
    told = {"type": "message", "role": speaker, "content": [{"type": part, "text": "Hello."}]}
    event = {"event_id": "t", "type": "conversation.item.create", "item": {"id": item, **told} if item else told}
    assert json.loads(text) == (event | {"previous_item_id": "root"} if first else event)
    documented(text)


SESSION_WRITTEN = """{"type":"realtime","output_modalities":["audio"],"instructions":"Be kind.",
 "tools":[{"type":"function","name":"save_contact","description":"Keeps it.",
   "parameters":{"type":"object","properties":{"email":{"type":"string"}}}}],
 "tool_choice":"auto","reasoning":{"effort":"low"},"max_output_tokens":1024,
 "include":["item.input_audio_transcription.logprobs"],
 "audio":{"input":{"format":{"type":"audio/pcmu"},"noise_reduction":null,
   "transcription":{"model":"gpt-live-transcribe","languages":["de"]},
   "turn_detection":{"type":"server_vad","threshold":0.6,"prefix_padding_ms":300,"silence_duration_ms":500,
     "idle_timeout_ms":null,"create_response":true,"interrupt_response":false}},
  "output":{"format":{"type":"audio/pcmu"},"voice":"marin","speed":1.0}}}"""


def test_a_whole_session_is_written_exactly_as_documented() -> None:
    text = write(say.Configure(CONFIG), "t")
    documented(text)
    assert json.loads(text) == {"event_id": "t", "type": "session.update", "session": json.loads(SESSION_WRITTEN)}


@pytest.mark.parametrize(
    ("model", "language", "transcription"),
    [
        ("", "de", None),
        ("gpt-4o-transcribe", "", {"model": "gpt-4o-transcribe"}),
        ("gpt-4o-transcribe", "de", {"model": "gpt-4o-transcribe", "language": "de"}),
        ("gpt-transcribe", "de", {"model": "gpt-transcribe", "languages": ["de"]}),
        ("gpt-live-transcribe", "", {"model": "gpt-live-transcribe"}),
    ],
)
def test_the_language_is_said_as_the_transcriber_takes_it(
    model: str, language: str, transcription: dict[str, Any] | None
) -> None:
    config = say.SessionConfig("ash", "", (), TURNS, model, language, "", 100)
    text = write(say.Configure(config), "t")
    documented(text)
    assert json.loads(text)["session"]["audio"]["input"]["transcription"] == transcription


def test_a_model_that_does_not_reason_is_not_told_to_and_no_tools_are_said() -> None:
    text = write(say.Configure(say.SessionConfig("ash", "", (), TURNS, "", "", "", 100)), "t")
    session = json.loads(text)["session"]
    assert "reasoning" not in session
    assert session["tools"] == []  # left out, the tools of before would stay
    documented(text)


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "response.creates"},
        {"type": "response.create", "extra": 1},
        {"type": "conversation.item.truncate", "item_id": "i", "content_index": 0, "audio_end_ms": 1.5},
        {"type": "conversation.item.truncate", "item_id": "i", "content_index": 0},
        {"type": "session.update", "session": {"type": "realtime", "voice": "marin"}},
        {"type": "session.update", "session": {"type": "realtime", "audio": {"input": {"format": {"type": "g711"}}}}},
        {"type": "session.update", "session": {"type": "realtime", "tools": [{"type": "function", "strict": True}]}},
        {"type": "conversation.item.create", "item": {"type": "message", "role": "assistant", "content": [{"x": 1}]}},
    ],
    ids=repr,
)
def test_the_check_against_the_documentation_has_teeth(wrong: dict[str, Any]) -> None:
    with pytest.raises((ValidationError, AssertionError)):
        documented(json.dumps(wrong))


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@given(st.sampled_from(Role), texts, texts, st.booleans())
def test_any_words_reach_the_model_as_they_are(role: Role, words: str, item: str, first: bool) -> None:
    event = documented(write(say.Tell(role, words, item, first), "t"))
    assert isinstance(event, realtime.ConversationItemCreateEvent)
    assert event.model_dump()["item"]["content"][0]["text"] == words


@given(st.dictionaries(texts, st.recursive(st.none() | st.booleans() | texts, lambda x: st.lists(x, max_size=3))))
def test_the_result_of_a_tool_is_encoded_once(output: dict[str, object]) -> None:
    event = documented(write(say.ToolResult("call_1", output), "t"))
    assert json.loads(event.model_dump()["item"]["output"]) == output


@given(st.lists(st.binary(max_size=400), max_size=6), st.integers(0, 60))
def test_payloads_are_joined_byte_for_byte(chunks: list[bytes], silence_ms: int) -> None:
    event = documented(append([base64.b64encode(chunk).decode() for chunk in chunks], silence_ms))
    assert isinstance(event, realtime.InputAudioBufferAppendEvent)
    assert base64.b64decode(event.audio, validate=True) == b"".join(chunks) + b"\xff" * 8 * silence_ms


@given(st.binary(min_size=1, max_size=400))
def test_a_single_payload_is_passed_on_as_it_came(audio: bytes) -> None:
    payload = base64.b64encode(audio).decode()
    assert json.loads(append([payload])) == {"type": "input_audio_buffer.append", "audio": payload}


# ---------------------------------------------------------------- what is read

IDS: dict[str, Any] = {"response_id": "r", "item_id": "i", "output_index": 0, "content_index": 0}
CALL_ITEM = {"id": "i2", "type": "function_call", "name": "f", "call_id": "c", "arguments": '{"a":1}'}
WIRE_TURNS = {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 200}
AUDIO = {
    "input": {"format": {"type": "audio/pcmu"}, "turn_detection": {**WIRE_TURNS, "create_response": False}},
    "output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "ash"},
}
READ_ONLY = {"id": "sess_1", "object": "realtime.session", "expires_at": int(NOW) + 3600}
SESSION = {"type": "realtime", **READ_ONLY, "audio": AUDIO}
RESPONSE = {"id": "r", "status": "completed", "status_details": None}
TURN = {"item_id": "u", "content_index": 0}
USAGE = {"type": "duration", "seconds": 1.5}
AGREED = say.AgreedSession(True, False, "ash", say.TurnDetection(0.5, 300, 200, False, True))
DELTA = "response.output_audio.delta"
HEARD = "conversation.item.input_audio_transcription"
UNDERSTOOD: list[tuple[dict[str, Any], ModelEvent]] = [
    ({"type": "session.created", "session": SESSION}, say.SessionCreated("sess_1", 3600.0)),
    ({"type": "session.updated", "session": SESSION}, say.SessionAgreed(AGREED)),
    ({"type": "input_audio_buffer.speech_started", "item_id": "u", "audio_start_ms": 5}, say.SpeechStarted("u")),
    ({"type": "input_audio_buffer.speech_stopped", "item_id": "u", "audio_end_ms": 9}, say.SpeechStopped("u")),
    ({"type": "input_audio_buffer.committed", "item_id": "u", "previous_item_id": None}, say.TurnCommitted("u")),
    ({"type": f"{HEARD}.delta", "item_id": "u", "delta": "He"}, say.CallerWords("u", "He", final=False)),
    (
        {"type": f"{HEARD}.completed", **TURN, "transcript": "Hello", "usage": USAGE},
        say.CallerWords("u", "Hello", final=True),
    ),
    ({"type": f"{HEARD}.failed", **TURN, "error": {"code": "x"}}, ModelTrouble("x", "", Gravity.BENIGN)),
    ({"type": "response.created", "response": {"id": "r", "status": "in_progress", "output": []}}, say.ReplyBegan("r")),
    (
        {"type": DELTA, **IDS, "delta": "//7+/w=="},
        say.ReplyAudio("r", "i", b"\xff\xfe\xfe\xff"),
    ),
    ({"type": "response.output_audio.done", **IDS}, say.ItemEnded("r", "i")),
    ({"type": "response.output_audio_transcript.delta", **IDS, "delta": "Hi "}, say.ReplyWords("r", "i", "Hi ")),
    (
        {"type": "response.done", "response": {**RESPONSE, "output": [CALL_ITEM], "usage": {"total_tokens": 1610}}},
        ReplyEnded("r", ReplyStatus.COMPLETED, (ToolCall("c", "f", {"a": 1}),), tokens=1610),
    ),
    (
        {"type": "error", "error": {"type": "x_error", "code": "x", "message": "no", "event_id": "t7"}},
        ModelTrouble("x", "no", Gravity.BENIGN, "t7"),
    ),
]
for sample, _ in UNDERSTOOD:
    sample["event_id"] = "event_1"
SAMPLES = [sample for sample, _ in UNDERSTOOD]
BY_TYPE = {sample["type"]: (sample, means) for sample, means in UNDERSTOOD}
EMPTY: dict[str, ModelEvent | None] = {
    "session.created": say.SessionCreated("", None),
    "session.updated": say.SessionAgreed(say.AgreedSession(False, False, "", None)),
    "input_audio_buffer.speech_started": say.SpeechStarted(""),
    "input_audio_buffer.speech_stopped": say.SpeechStopped(""),
    "input_audio_buffer.committed": say.TurnCommitted(""),
    f"{HEARD}.completed": say.CallerWords("", "", final=True),
    f"{HEARD}.failed": ModelTrouble("unknown", "", Gravity.BENIGN),
    "response.created": say.ReplyBegan(""),
    "response.output_audio.done": say.ItemEnded("", ""),
    "response.done": ReplyEnded("", ReplyStatus.COMPLETED),
    "error": ModelTrouble("unknown", "", Gravity.BENIGN),
}


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


# ---------------------------------------------------------------- tool calls


def arguments_done(call: str = "c", reply: str = "r", arguments: str = '{"a":1}') -> dict[str, Any]:
    fields = {"response_id": reply, "item_id": "i2", "output_index": 1, "call_id": call, "name": "f"}
    return {"type": "response.function_call_arguments.done", **fields, "arguments": arguments}


def item_done(call: str = "c", reply: str = "r", **fields: Any) -> dict[str, Any]:
    item = {**CALL_ITEM, "call_id": call, **fields}
    return {"type": "response.output_item.done", "response_id": reply, "output_index": 1, "item": item}


def reply_done(*calls: dict[str, Any], reply: str = "r", **fields: Any) -> dict[str, Any]:
    return {"type": "response.done", "response": {"id": reply, "status": "completed", "output": [*calls], **fields}}


def calls_of(*events: dict[str, Any]) -> tuple[ToolCall, ...]:
    ended = read(*events)[-1]
    assert isinstance(ended, ReplyEnded)
    return ended.calls


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


@given(st.floats(0, 1), st.integers(0, 2000), st.integers(100, 5000), st.booleans(), st.booleans())
def test_another_patience_is_written_whole_and_changes_nothing_else(
    threshold: float, prefix_ms: int, silence_ms: int, create: bool, interrupt: bool
) -> None:
    turns = say.TurnDetection(threshold, prefix_ms, silence_ms, create, interrupt)
    text = write(say.Retune(turns), "t")
    documented(text)
    session = json.loads(text)["session"]
    assert session.keys() == {"type", "audio"}
    assert session["audio"].keys() == {"input"}
    assert session["audio"]["input"].keys() == {"turn_detection"}
    whole = json.loads(write(say.Configure(attrs.evolve(CONFIG, turn_detection=turns)), "t"))["session"]
    assert session["audio"]["input"]["turn_detection"] == whole["audio"]["input"]["turn_detection"]


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
