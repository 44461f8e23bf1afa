"""Events of the Realtime API as they are documented, checked against the `openai` package's types."""

import json
from collections.abc import Iterator
from typing import Any, get_args

from hypothesis import strategies as st
from openai.types import realtime
from pydantic import BaseModel, TypeAdapter

from actors import messages as say
from actors.messages import Gravity, ModelEvent, ModelTrouble, ReplyEnded, ReplyStatus, ToolCall
from transport.realtime_codec import EventReader

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


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


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
