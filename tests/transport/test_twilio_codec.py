"""The Media Streams codec: what Twilio sends, what it might send, and exactly what it gets from us."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.messages import CallerAudio, KeyPressed, MarkEchoed, StreamStopped
from transport.twilio_codec import MULAW, BadMessage, Connected, Encoder, Started, Unknown, decode

STREAM = "MZ18ad3ab5a668481ce02b83e7395059f0"
CALL = "CA1234567890abcdef1234567890abcdef"
ACCOUNT = "AC1234567890abcdef1234567890abcdef"

CONNECTED = {"event": "connected", "protocol": "Call", "version": "1.0.0"}
START = {
    "event": "start",
    "sequenceNumber": "1",
    "start": {
        "accountSid": ACCOUNT,
        "streamSid": STREAM,
        "callSid": CALL,
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        "customParameters": {"token": "t0k3n", "Language": "en"},
    },
    "streamSid": STREAM,
}
MEDIA = {
    "event": "media",
    "sequenceNumber": "4",
    "media": {"track": "inbound", "chunk": "2", "timestamp": "155", "payload": "//7+/w=="},
    "streamSid": STREAM,
}
DTMF = {
    "event": "dtmf",
    "streamSid": STREAM,
    "sequenceNumber": "5",
    "dtmf": {"track": "inbound_track", "digit": "1"},
}
MARK = {"event": "mark", "sequenceNumber": "6", "streamSid": STREAM, "mark": {"name": "3.7"}}
STOP = {
    "event": "stop",
    "sequenceNumber": "352",
    "streamSid": STREAM,
    "stop": {"accountSid": ACCOUNT, "callSid": CALL},
}
UNDERSTOOD = [
    (CONNECTED, Connected()),
    (START, Started(STREAM, CALL, ACCOUNT, MULAW, {"token": "t0k3n", "Language": "en"})),
    (MEDIA, CallerAudio("//7+/w==", 155)),
    (DTMF, KeyPressed("1")),
    (MARK, MarkEchoed("3.7", 12.5)),
    (STOP, StreamStopped()),
]


def read(message: object, stream_sid: str = STREAM, now: float = 12.5) -> object:
    return decode(message if isinstance(message, str | bytes | None) else json.dumps(message), stream_sid, lambda: now)


def changed(message: dict, part: str, **fields: object) -> dict:
    inner = {**message[part], **fields}
    return {**message, part: {key: value for key, value in inner.items() if value is not ...}}


# ---------------------------------------------------------------- what is understood


@pytest.mark.parametrize(("message", "means"), UNDERSTOOD, ids=lambda x: x["event"] if isinstance(x, dict) else "")
def test_every_documented_event_is_understood(message: dict, means: object):
    assert read(message) == means


@pytest.mark.parametrize("message", [m for m, _ in UNDERSTOOD], ids=lambda m: m["event"])
def test_fields_that_are_new_are_left_alone(message: dict):
    wide = {"zzz": [1, {"a": None}], **message, "extra": "x"}
    for key, value in message.items():
        if isinstance(value, dict):
            wide[key] = {"new": {"deep": True}, **value}
    assert read(wide) == read(message)


@pytest.mark.parametrize("message", [m for m, _ in UNDERSTOOD], ids=lambda m: m["event"])
def test_the_order_of_the_keys_does_not_matter(message: dict):
    assert read(dict(reversed(message.items()))) == read(message)


@pytest.mark.parametrize("message", [m for m, _ in UNDERSTOOD], ids=lambda m: m["event"])
def test_before_the_start_any_stream_is_taken(message: dict):
    assert read(message, stream_sid="") == read(message)


@pytest.mark.parametrize("event", ["closed", "error", "ping", "speech", "", "Media", "x" * 500])
def test_an_unknown_event_is_named_and_tolerated(event: str):
    assert read({"event": event, "streamSid": STREAM, "payload": 3}) == Unknown(event[:64])


def test_old_versions_of_connected_are_welcome():
    assert read({"event": "connected", "protocol": "Call", "version": "0.2.0"}) == Connected()


def test_a_start_without_parameters_has_none():
    for empty in ({}, ...):
        started = read(changed(START, "start", customParameters=empty))
        assert isinstance(started, Started)
        assert started.parameters == {}


def test_the_stream_sid_of_a_start_may_be_in_either_place():
    outside = changed(START, "start", streamSid=...)
    inside = {k: v for k, v in START.items() if k != "streamSid"}
    for message in (outside, inside):
        started = read(message, stream_sid="")
        assert isinstance(started, Started)
        assert started.stream_sid == STREAM


def test_the_parameters_of_a_start_are_not_in_its_repr():
    assert "t0k3n" not in repr(read(START))


@pytest.mark.parametrize(
    "media_format",
    [
        {"encoding": "audio/x-alaw", "sampleRate": 8000, "channels": 1},
        {"encoding": "audio/x-mulaw", "sampleRate": 16000, "channels": 1},
        {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 2},
    ],
)
def test_another_media_format_is_told(media_format: dict):
    started = read(changed(START, "start", mediaFormat=media_format))
    assert isinstance(started, Started)
    assert started.media_format == tuple(media_format.values()) != MULAW


@pytest.mark.parametrize("digit", list("0123456789*#ABCD"))
def test_every_key_of_a_telephone_is_one(digit: str):
    assert read(changed(DTMF, "dtmf", digit=digit)) == KeyPressed(digit)


def test_the_agents_own_track_is_no_caller_audio():
    assert isinstance(read(changed(MEDIA, "media", track="outbound")), Unknown)


def test_media_without_a_timestamp_or_track_is_the_callers():
    assert read(changed(MEDIA, "media", timestamp=..., track=..., chunk=...)) == CallerAudio("//7+/w==", 0)


@pytest.mark.parametrize(("timestamp", "ms"), [("0", 0), ("18553", 18553), ("999999999999999", 999_999_999_999_999)])
def test_counters_are_strings_of_digits(timestamp: str, ms: int):
    event = read(changed(MEDIA, "media", timestamp=timestamp))
    assert isinstance(event, CallerAudio)
    assert event.timestamp_ms == ms


@given(st.binary(min_size=1, max_size=2000), st.integers(0, 10**15 - 1))
def test_every_payload_is_passed_on_as_it_came(audio: bytes, ms: int):
    payload = base64.b64encode(audio).decode()
    assert read(changed(MEDIA, "media", payload=payload, timestamp=str(ms))) == CallerAudio(payload, ms)


# ---------------------------------------------------------------- what is not


def bad(message: object, stream_sid: str = STREAM) -> BadMessage:
    with pytest.raises(BadMessage) as caught:
        read(message, stream_sid)
    assert str(caught.value)
    return caught.value


@pytest.mark.parametrize("message", [b"", b'{"event":"stop"}', json.dumps(MEDIA).encode(), None])
def test_a_binary_frame_is_bad_whatever_is_in_it(message: bytes | None):
    assert bad(message).kind == "binary"


@pytest.mark.parametrize(
    "text", ["", " ", "{", "nonsense", "{'event':'stop'}", '{"event":"stop"', '{"event":"stop"}x', "\x00", "[" * 5000]
)
def test_what_is_no_json_is_malformed(text: str):
    assert bad(text).kind in {"malformed JSON", "wrong types"}


@pytest.mark.parametrize("text", ["[]", "null", "3", '"stop"', "true", "{}", '{"event":3}', '{"event":null}'])
def test_json_that_is_no_event_is_of_wrong_types(text: str):
    assert bad(text).kind == "wrong types"


@pytest.mark.parametrize("message", [MEDIA, MARK, DTMF, STOP, START], ids=lambda m: m["event"])
def test_a_message_of_another_stream_is_bad(message: dict):
    assert bad({**message, "streamSid": "MZ" + "0" * 32}).kind == "wrong streamSid"


@pytest.mark.parametrize("event", ["media", "mark", "dtmf", "start"])
@pytest.mark.parametrize("inner", [..., None, [], "x", 3])
def test_an_event_without_its_object_is_bad(event: str, inner: object):
    message = {"event": event, "streamSid": STREAM, event: inner}
    if inner is ...:
        del message[event]
    assert bad(message).kind == "wrong types"


@pytest.mark.parametrize(
    "payload",
    ["", "=", "a", "ab", "abc", "ab=c", "ab==cd==", "//7+/w==\n", " //7+", "-_-_", "äöü=", "//7+/w=", "====", 'a"b\\'],
)
def test_a_payload_that_is_no_base64_is_bad(payload: str):
    assert bad(changed(MEDIA, "media", payload=payload)).kind == "wrong payload"


@pytest.mark.parametrize("payload", [3, None, ["//7+"], {"a": 1}, ...])
def test_a_payload_that_is_no_text_is_bad(payload: object):
    assert bad(changed(MEDIA, "media", payload=payload)).kind == "wrong types"


@pytest.mark.parametrize("timestamp", ["", "-5", "1.5", "1e3", "0x1f", "٣", "²", "9" * 16, "9" * 10000, " 5"])
def test_a_timestamp_that_is_no_number_of_ms_is_bad(timestamp: str):
    assert bad(changed(MEDIA, "media", timestamp=timestamp)).kind == "wrong types"


@pytest.mark.parametrize("digit", ["", "11", "E", "a", " ", "١", "+"])
def test_a_key_that_no_telephone_has_is_bad(digit: str):
    assert bad(changed(DTMF, "dtmf", digit=digit)).kind == "wrong key"


@pytest.mark.parametrize("number", ["1e999", "-1e999", "9" * 400, "1.5"])
def test_a_sample_rate_that_is_no_sensible_number_is_never_the_right_one(number: str):
    text = json.dumps(START).replace("8000", number)
    try:
        started = read(text)
    except BadMessage:
        return
    assert isinstance(started, Started)
    assert started.media_format != MULAW


@pytest.mark.parametrize(
    "field", [{"callSid": ...}, {"callSid": 3}, {"mediaFormat": ...}, {"customParameters": {"token": 3}}]
)
def test_a_start_that_lacks_what_is_needed_is_bad(field: dict):
    assert bad(changed(START, "start", **field), stream_sid="").kind == "wrong types"


def test_a_start_without_any_stream_sid_is_bad():
    message = changed({k: v for k, v in START.items() if k != "streamSid"}, "start", streamSid=...)
    assert bad(message, stream_sid="").kind == "wrong types"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
names = st.sampled_from(
    ["event", "streamSid", "media", "start", "stop", "mark", "dtmf", "payload", "timestamp", "track"]
)
inner_names = st.sampled_from(
    ["payload", "timestamp", "track", "digit", "name", "callSid", "mediaFormat", "customParameters", "streamSid"]
)
nearly = st.builds(
    lambda event, extra, body: {"event": event, **extra, event: body},
    st.sampled_from(["connected", "media", "start", "stop", "mark", "dtmf"]),
    st.dictionaries(names, json_values, max_size=3),
    st.dictionaries(inner_names, json_values, max_size=6) | json_values,
)
KINDS = {"binary", "malformed JSON", "wrong types", "wrong streamSid", "wrong payload", "wrong key"}


@given(
    st.text()
    | st.text(st.characters(codec=None))
    | st.binary()
    | st.none()
    | json_values.map(json.dumps)
    | nearly.map(json.dumps)
)
def test_nothing_that_comes_in_raises_anything_but_bad_message(message: str | bytes | None):
    try:
        event = decode(message, STREAM, lambda: 0.0)
    except BadMessage as error:
        assert error.kind in KINDS  # noqa: PT017 - either way is right
    else:
        if isinstance(event, CallerAudio):
            assert base64.b64decode(event.payload, validate=True)


@given(st.integers(0, len(json.dumps(START))), st.sampled_from([MEDIA, START, MARK, DTMF, STOP]), st.characters())
def test_a_message_with_one_character_changed_never_raises_anything_else(at: int, message: dict, character: str):
    text = json.dumps(message)
    try:
        read(text[:at] + character + text[at + 1 :])
    except BadMessage as error:
        assert error.kind in KINDS  # noqa: PT017 - either way is right


# ---------------------------------------------------------------- our messages


@given(st.binary(max_size=4000))
def test_audio_is_sent_with_exactly_the_documented_fields(audio: bytes):
    payload = base64.b64encode(audio).decode()
    assert json.loads(Encoder(STREAM).media(audio)) == {
        "event": "media",
        "streamSid": STREAM,
        "media": {"payload": payload},
    }


@pytest.mark.parametrize("name", ["1", "17.240", "g3-m12"])
def test_a_mark_is_sent_with_exactly_the_documented_fields(name: str):
    assert json.loads(Encoder(STREAM).mark(name)) == {"event": "mark", "streamSid": STREAM, "mark": {"name": name}}


def test_a_clear_is_sent_with_exactly_the_documented_fields():
    assert json.loads(Encoder(STREAM).clear) == {"event": "clear", "streamSid": STREAM}


def test_a_stream_sid_with_quotes_in_it_does_not_break_our_messages():
    encoder = Encoder('M"\\Z')
    for text in (encoder.media(b"x"), encoder.mark("1"), encoder.clear):
        assert json.loads(text)["streamSid"] == 'M"\\Z'


def test_what_is_played_and_echoed_reads_back():
    assert read(Encoder(STREAM).mark("4.1")) == MarkEchoed("4.1", 12.5)
    assert read(Encoder(STREAM).media(b"\xff" * 160)) == CallerAudio(base64.b64encode(b"\xff" * 160).decode(), 0)
