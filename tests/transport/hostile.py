"""Input of an enemy: the real messages of both wires with something wrong in them, forms that no carrier sends, odd frames.

Strategies for hypothesis only; what they are thrown at is in `test_hostile_input.py` and its neighbours.
"""

import copy
import json
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from transport.ws_codec import BINARY, CLOSE, PING, PONG, TEXT, client_frame

Sample = dict[str, Any]
HUGE_TEXT = "A" * 60_000
MEGABYTE = "x" * 1_000_000
TIMES = int(os.environ.get("HOSTILE_TIMES", "1"))
"""How many times as many examples as usual are tried."""


def examples(usual: int) -> settings:
    """The settings of a test that tries so many, or many times more when it is asked for."""
    return settings(max_examples=usual * TIMES, deadline=None, suppress_health_check=list(HealthCheck))


# ---------------------------------------------------------------- what is real

WHOSE = {"accountSid": "AC" + "0" * 32, "callSid": "CA" + "1" * 32}
FORMAT = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
_START = {**WHOSE, "streamSid": "MZ1", "tracks": ["inbound"], "mediaFormat": FORMAT, "customParameters": {"token": "t"}}
_MEDIA = {"track": "inbound", "chunk": "2", "timestamp": "140", "payload": "//7+/w=="}


def twilio_samples(stream_sid: str = "MZ1") -> list[Sample]:
    """What the carrier sends on a stream."""
    bodies: dict[str, Any] = {
        "start": {**_START, "streamSid": stream_sid},
        "media": _MEDIA,
        "mark": {"name": "g0.1"},
        "dtmf": {"track": "inbound_track", "digit": "5"},
        "stop": WHOSE,
    }
    named = [{"event": e, "sequenceNumber": "3", "streamSid": stream_sid, e: body} for e, body in bodies.items()]
    return [{"event": "connected", "protocol": "Call", "version": "1.0.0"}, *named]


_WHERE = {"response_id": "<reply>", "item_id": "<item>", "output_index": 0, "content_index": 0}
_CALL = {"id": "item_9", "type": "function_call", "status": "completed", "name": "end_call", "call_id": "call_1"}
_CALL["arguments"] = '{"reason": "over"}'
_TURNS = {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 500}
_AUDIO = {
    "input": {"format": {"type": "audio/pcmu"}, "turn_detection": {**_TURNS, "create_response": True}},
    "output": {"format": {"type": "audio/pcmu"}, "voice": "marin"},
}
_SESSION = {"type": "realtime", "id": "sess_1", "expires_at": 1_800_000_000, "audio": _AUDIO}
_DONE = {"id": "<reply>", "status": "completed", "status_details": None, "conversation_id": "conv_1", "metadata": None}
_FAILED = {"type": "failed", "reason": "x", "error": {"type": "server_error", "code": "x", "message": "no"}}
_WORDS = "conversation.item.input_audio_transcription"
MODEL_SAMPLES: list[Sample] = [
    {"type": "session.created", "session": _SESSION},
    {"type": "session.updated", "session": _SESSION},
    {"type": "input_audio_buffer.speech_started", "item_id": "<turn>", "audio_start_ms": 5},
    {"type": "input_audio_buffer.speech_stopped", "item_id": "<turn>", "audio_end_ms": 9},
    {"type": "input_audio_buffer.committed", "item_id": "<turn>", "previous_item_id": None},
    {"type": f"{_WORDS}.delta", "item_id": "<turn>", "content_index": 0, "delta": "He"},
    {
        "type": f"{_WORDS}.completed",
        "item_id": "<turn>",
        "transcript": "My name is John.",
        "logprobs": [{"token": "My", "logprob": -0.1}],
    },
    {"type": f"{_WORDS}.failed", "item_id": "<turn>", "error": {"code": "x", "message": "no"}},
    {"type": "response.created", "response": {"id": "<reply>", "status": "in_progress", "output": []}},
    {"type": "response.created", "response": {"id": "resp_of_nobody", "status": "in_progress", "output": []}},
    {"type": "response.output_item.added", "response_id": "<reply>", "output_index": 0, "item": _CALL},
    {"type": "response.output_audio.delta", **_WHERE, "delta": "//7+/w==" * 40},
    {"type": "response.output_audio.delta", **_WHERE, "response_id": "resp_of_nobody", "delta": "//7+/w==" * 40},
    {"type": "response.output_audio.delta", **_WHERE, "item_id": "prompt_1", "delta": "//7+/w==" * 40},
    {"type": "response.output_audio_transcript.delta", **_WHERE, "delta": "Hi "},
    {"type": "response.output_audio.done", **_WHERE},
    {"type": "response.function_call_arguments.done", **_WHERE, "call_id": "call_1", "name": "f", "arguments": "{}"},
    {"type": "response.output_item.done", "response_id": "<reply>", "output_index": 0, "item": _CALL},
    {"type": "response.done", "response": {**_DONE, "output": [_CALL], "usage": {"total_tokens": 1610}}},
    {"type": "response.done", "response": {**_DONE, "output": []}},
    {"type": "response.done", "response": {**_DONE, "status": "cancelled", "output": []}},
    {"type": "response.done", "response": {**_DONE, "status": "failed", "status_details": _FAILED}},
    {"type": "response.done", "response": {**_DONE, "id": "resp_of_nobody", "metadata": {"triode": "details"}}},
    {"type": "error", "error": {"type": "invalid_request_error", "code": "x", "message": "no", "event_id": "triode_1"}},
    {"type": "rate_limits.updated", "rate_limits": [{"name": "tokens", "limit": 1}]},
]

# ---------------------------------------------------------------- what is wrong with it

_RAW = [
    "NaN",
    "-Infinity",
    "1e999",
    "-",
    '"\\ud800"',
    '"\\u0000"',
    '"\x01"',
    "[" * 5000 + "]" * 5000,
    '{"a":' * 400 + "1" + "}" * 400,
    "1" * 5000,
    "0x10",
    "tru",
]
"""Values that `json` would not write; they are put into the text afterwards."""
_ODD: list[Any] = [
    None, True, False, 0, -1, -3.5, 2**31, 2**63, -(2**63) - 1, 2**64, 10**400, 1e308, -1e308, 5e-324, "", " ", "x", "-1",
    "1e5", "5", "٣", "²", "\x00", "\u202e", "😀" * 50, "../x", "<Dial>", "' OR 1=1 --", HUGE_TEXT, [], {}, [[[]]], [None],
    {"a": {"b": [1]}}, [1] * 2000, {str(n): n for n in range(500)},
]  # fmt: skip
_numbers = st.sampled_from([each for each in _ODD if type(each) in {int, float}])
_raws = st.sampled_from(range(len(_RAW))).map(lambda n: f"@@{n}@@")
odd = (
    st.sampled_from(_ODD).map(copy.deepcopy) | _raws | st.text(max_size=30) | st.integers() | st.floats(allow_nan=False)
)


def _inside(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in `value` with each of its keys."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []:
        yield value, key
        yield from _inside(value[key])


def _written(value: Any) -> str:
    text = json.dumps(value)
    for number, raw in enumerate(_RAW):
        text = text.replace(f'"@@{number}@@"', raw)
    return text


@st.composite
def mutants(draw: st.DrawFn, samples: Sequence[Sample], *, at_least: int = 0) -> str | bytes:
    """One of `samples` with at least so many things wrong with it, in its values, its shape or its text."""
    message = copy.deepcopy(draw(st.sampled_from(list(samples))))
    if draw(st.integers(0, 3)) == 0:
        number = draw(_numbers)
        for parent, key in _inside(message):
            if type(parent[key]) in {int, float}:
                parent[key] = number
    for _ in range(draw(st.integers(at_least, 3))):
        places = list(_inside(message))
        if not places:
            break
        parent, key = places[draw(st.integers(0, len(places) - 1))]
        what = draw(st.sampled_from(["odd", "odd", "odd", "missing", "wrapped", "text", "new", "of another"]))
        if what == "odd":
            parent[key] = draw(odd)
        elif what == "missing":
            del parent[key]
        elif what == "wrapped":
            parent[key] = draw(st.sampled_from([[parent[key]], {"value": parent[key]}]))
        elif what == "text":
            parent[key] = json.dumps(parent[key])
        elif what == "new" and isinstance(parent, dict):
            parent[draw(st.text(max_size=9) | st.sampled_from(["type", "event", "id", "item_id"]))] = draw(odd)
        else:
            others = list(_inside(draw(st.sampled_from(list(samples)))))
            there, name = others[draw(st.integers(0, len(others) - 1))]
            parent[key] = copy.deepcopy(there[name])
    text = _written(message)
    how = draw(st.integers(0, 15))
    if how == 0:
        text = text[: draw(st.integers(0, len(text)))]
    elif how == 1:
        names = [f'"{key}"' for key in message] + ['"event"', '"type"']
        text = text[:-1] + f", {draw(st.sampled_from(names))}: {_written(draw(odd))}" + "}"
    elif how == 2:
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.characters(codec="utf-8")) + text[at:]
    elif how == 3:
        return draw(st.binary(max_size=40)) + text.encode()
    return text


def twilio_messages(stream_sid: str = "MZ1") -> st.SearchStrategy[str | bytes]:
    """A message of the carrier, almost."""
    return mutants(twilio_samples(stream_sid))


def model_events() -> st.SearchStrategy[str | bytes]:
    """An event of the model, almost."""
    return mutants(MODEL_SAMPLES)


def timed(messages: st.SearchStrategy[str | bytes], at_most: int) -> st.SearchStrategy[list[tuple[int, str | bytes]]]:
    """Messages with the milliseconds at which they come, in order: single ones, and bursts."""
    single = st.tuples(st.integers(0, 10_000), messages).map(lambda one: [one])
    burst = st.tuples(st.integers(0, 10_000), messages, st.integers(2, 60)).map(lambda b: [(b[0], b[1])] * b[2])
    return st.lists(single | single | burst, min_size=1, max_size=at_most).map(
        lambda groups: sorted((one for group in groups for one in group), key=lambda one: one[0])
    )


# ---------------------------------------------------------------- frames


def _raw_frame(first: int, second: int, rest: bytes) -> bytes:
    return bytes((first, second)) + rest


_opcodes = st.sampled_from([TEXT, BINARY, CLOSE, PING, PONG, 0x0, 0x3, 0xB, 0xF])


def frames(of: Callable[[int, bytes], bytes] = client_frame) -> st.SearchStrategy[bytes]:
    """Whole frames, odd ones, halves of frames, and bytes that are none."""
    payloads = st.binary(max_size=140) | st.sampled_from([b"", b"\x03\xe8", b"\xff\xff", b"{}", bytes(range(64))])
    whole = st.builds(of, _opcodes, payloads)
    cut = st.builds(lambda frame, at: frame[: at % (len(frame) + 1)], whole, st.integers(0, 200))
    fragment = whole.map(lambda frame: bytes((frame[0] & 0x7F,)) + frame[1:])
    reserved = whole.map(lambda frame: bytes((frame[0] | 0x40,)) + frame[1:])
    giant = st.sampled_from([b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff", b"\x81\x7f\x7f\xff\xff\xff\xff\xff\xff\xff"])
    return whole | fragment | fragment | reserved | cut | giant | st.binary(min_size=1, max_size=60)


# ---------------------------------------------------------------- forms

FIELDS = [
    "CallSid", "From", "To", "CallStatus", "SequenceNumber", "Digits", "DialCallStatus", "DialBridged", "RecordingSid",
    "RecordingUrl", "RecordingDuration", "RecordingStatus", "StreamSid", "StreamEvent", "StreamError", "MessageSid",
    "MessageStatus", "ErrorCode", "SpeechResult",
]  # fmt: skip
_TEXTS = [
    "", " ", "CA1", "CA2", "completed", "busy", "in-progress", "1", "9", "-1", "0", "99999999999999999999", "9" * 5000,
    "1e9", "NaN", "٣", "²", "+15550002222", "anonymous", "client:bob", "\x00", "a\x00b", "\r\nX: y", "\u202e", "😀" * 20,
    "<Hangup/>", "]]>", "&amp;", "'; DROP TABLE calls; --", "../../etc/passwd", "%s%n", "x" * 60_000,
    "https://evil.example.com", "RE1", "SM1", "stream-error",
]  # fmt: skip
texts = st.sampled_from(_TEXTS) | st.text(st.characters(codec="utf-8"), max_size=20)
ARGUMENTS = ["call", "n", "tries", "why", "warm", "menu", "outcome", "errand", "x"]


def pairs(names: Sequence[str], at_most: int) -> st.SearchStrategy[list[tuple[str, str]]]:
    """Fields of a form or a query: any may be missing, there twice, or have another's value."""
    name = st.sampled_from(list(names)) | st.sampled_from(["CallSid", "CallSid[]", "CallSid[0]", "", "\x00"])
    return st.lists(st.tuples(name, texts), max_size=at_most)
