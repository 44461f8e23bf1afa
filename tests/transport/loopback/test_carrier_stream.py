"""The loopback carrier's media stream: what it sends and when, what it plays, echoes and refuses."""

import base64
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock
from twilio.request_validator import RequestValidator

from actors.mulaw import decode, encode, silence
from tests.transport.loopback.carrier_kit import ACCOUNT, MEDIA, STREAM, TOKEN, Server, Stream, serving
from transport.loopback.caller import HangUp, Press, Speak, Wait
from transport.loopback.carrier import CarriedCall
from transport.loopback.stream import StreamFaults

Talk = Callable[[Stream], Awaitable[None]]
VOICE = bytes([0x20]) * 8
FORMAT = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}


async def carried(talk: Talk | None, *steps: Any, **how: Any) -> tuple[CarriedCall, Stream, Server]:
    """A call of one stream that the server closes when `talk` is over."""

    async def and_close(stream: Stream) -> None:
        await stream.next("start")
        if talk is not None:
            await talk(stream)
            stream.close()
        await stream.to_the_end()

    server = serving(how.pop("document", STREAM), after="<Hangup/>")
    server.talk = and_close
    call = await server.call(*steps, **how)
    return call, server.streams[0], server


async def test_the_handshake_has_twilios_headers_and_a_signature_of_the_wss_url(autojump_clock: MockClock) -> None:
    _, stream, _ = await carried(None, Wait(0.1), HangUp())
    assert stream.url == MEDIA
    assert stream.headers["User-Agent"] == "Twilio.TmeWs/1.0"
    assert RequestValidator(TOKEN).validate(MEDIA, {}, stream.headers["x-twilio-signature"])
    assert not {name.lower() for name in stream.headers} & {
        "origin",
        "sec-websocket-protocol",
        "sec-websocket-extensions",
    }


async def test_a_query_is_cut_off_before_dialling_and_not_signed(autojump_clock: MockClock) -> None:
    call, stream, _ = await carried(None, Wait(0.1), HangUp(), document=STREAM.replace("/media", "/media?a=1"))
    assert stream.url == MEDIA
    assert RequestValidator(TOKEN).validate(MEDIA, {}, stream.headers["x-twilio-signature"])
    assert [error[:5] for error in call.errors] == ["31920"]


async def test_connected_comes_first_then_start_then_only_media(autojump_clock: MockClock) -> None:
    document = f'<Connect><Stream url="{MEDIA}"><Parameter name="token" value="t&amp;1"/></Stream></Connect>'
    call, stream, _ = await carried(None, Wait(1), HangUp(), document=document)
    connected, start, *rest = (message for _, message in stream.got)
    assert connected == {"event": "connected", "protocol": "Call", "version": "1.0.0"}
    sid = call.streams[0].stream_sid
    assert start == {
        "event": "start",
        "sequenceNumber": "1",
        "streamSid": sid,
        "start": {
            "accountSid": ACCOUNT,
            "streamSid": sid,
            "callSid": call.call_sid,
            "tracks": ["inbound"],
            "mediaFormat": FORMAT,
            "customParameters": {"token": "t&1"},
        },
    }
    assert (sid[:2], len(sid)) == ("MZ", 34)
    assert [message["event"] for message in rest] == ["media"] * (len(rest) - 1) + ["stop"]


async def test_media_is_a_frame_every_20_ms_by_the_clock_all_counters_as_text(autojump_clock: MockClock) -> None:
    call, stream, _ = await carried(None, Wait(2), HangUp())
    frames = stream.of("media")
    assert len(frames) == pytest.approx(100, abs=1)
    assert call.streams[0].frames_sent == len(frames)
    for number, (at, message) in enumerate(frames):
        assert at == pytest.approx(number * 0.02)
        assert message["sequenceNumber"] == str(number + 2)
        assert message["streamSid"] == stream.sid
        media = message["media"]
        assert media.keys() == {"track", "chunk", "timestamp", "payload"}
        assert (media["track"], media["chunk"]) == ("inbound", str(number + 1))
        assert media["timestamp"] == str(int(frames[0][1]["media"]["timestamp"]) + 20 * number)
        assert base64.b64decode(media["payload"]) == silence(20)
    assert int(frames[0][1]["media"]["timestamp"]) > 0  # the real one never begins at 0


async def test_the_callers_words_are_in_the_frames_and_in_the_record_of_the_call(autojump_clock: MockClock) -> None:
    words = bytes(range(160)) + bytes(range(160, 240)) * 2
    call, stream, _ = await carried(None, Wait(0.5), Speak(words), Wait(0.1), HangUp())
    voice = b"".join(base64.b64decode(message["media"]["payload"]) for _, message in stream.of("media"))
    assert words in voice
    assert b"".join(piece.audio for piece in call.said) == words


@pytest.mark.parametrize("delay", [0.1, 0.37])
async def test_a_line_with_an_echo_sends_back_what_it_plays_softer_and_later(
    delay: float, autojump_clock: MockClock
) -> None:
    said = bytes([0x10, 0x90]) * 800
    began = 0.0

    async def talk(stream: Stream) -> None:
        nonlocal began
        await stream.listen(0.5)
        began = trio.current_time()
        stream.media(said)
        await stream.listen(1.0)

    faults = StreamFaults(line_echo_gain=0.5, line_echo_delay=delay)
    call, stream, _ = await carried(talk, faults=faults)
    frames = [(at, base64.b64decode(message["media"]["payload"])) for at, message in stream.of("media")]
    back = [at for at, audio in frames if audio != silence(20)]
    assert back[0] - 0.02 <= began + delay <= back[0]
    softer = encode(round(0.5 * sample) for sample in decode(said))
    assert softer in b"".join(audio for _, audio in frames)
    assert call.said == []


async def test_keys_come_as_dtmf_in_the_same_sequence(autojump_clock: MockClock) -> None:
    _, stream, _ = await carried(None, Wait(0.5), Press("5#"), Wait(0.5), HangUp())
    assert [(message["dtmf"]) for _, message in stream.of("dtmf")] == [
        {"track": "inbound_track", "digit": "5"},
        {"track": "inbound_track", "digit": "#"},
    ]
    numbers = [int(message["sequenceNumber"]) for _, message in stream.got[1:]]
    assert numbers == list(range(1, len(numbers) + 1))
    assert stream.of("media")[-1][1]["media"]["chunk"] == str(len(stream.of("media")))


async def test_a_caller_who_hangs_up_stops_the_stream_of_the_call_and_then_closes(autojump_clock: MockClock) -> None:
    call, stream, _ = await carried(None, Wait(0.5), HangUp())
    last = stream.got[-1][1]
    assert last["event"] == "stop"
    assert last["streamSid"] == stream.sid
    assert last["stop"] == {"accountSid": ACCOUNT, "callSid": call.call_sid}
    assert int(last["sequenceNumber"]) == len(stream.got) - 1
    assert stream.closed_by_carrier == "closed"
    assert call.streams[0].ended_by == "caller"


async def test_after_the_server_closed_nothing_more_is_sent(autojump_clock: MockClock) -> None:
    async def talk(stream: Stream) -> None:
        await stream.listen(0.5)

    call, stream, _ = await carried(talk)
    assert stream.of("stop") == []
    assert stream.got[-1][0] == pytest.approx(0.5, abs=0.03)
    assert (call.streams[0].ended_by, call.streams[0].close_code) == ("server", 1000)


async def test_the_streams_own_status_callback_is_told_of_its_beginning_and_end(autojump_clock: MockClock) -> None:
    document = f'<Connect><Stream url="{MEDIA}" statusCallback="/stream-status"/></Connect>'
    call, stream, server = await carried(None, Wait(1), HangUp(), document=document)
    told = server.asked("/stream-status")
    assert [post.form["StreamEvent"] for post in told] == ["stream-started", "stream-stopped"]
    for post in told:
        assert post.form["StreamSid"] == post.form["StreamName"] == stream.sid
        assert (post.form["CallSid"], post.form["AccountSid"]) == (call.call_sid, ACCOUNT)
        assert post.form["Timestamp"].endswith("Z")


# ---------------------------------------------------------------- playback


async def test_audio_is_played_in_time_and_marks_come_back_when_they_are_reached(autojump_clock: MockClock) -> None:
    async def talk(stream: Stream) -> None:
        stream.mark("at once")
        await stream.listen(1.005)
        stream.media(VOICE * 300)
        stream.mark("first")
        stream.media(VOICE * 205)
        stream.mark("second")
        await stream.listen(2)

    call, stream, _ = await carried(talk)
    marks = [(message["mark"]["name"], at) for at, message in stream.of("mark")]
    assert [name for name, _ in marks] == ["at once", "first", "second"]
    assert [at for _, at in marks] == pytest.approx([0, 1.305, 1.51], abs=1e-4)
    for _, message in stream.of("mark"):
        assert message.keys() == {"event", "sequenceNumber", "streamSid", "mark"}
    log = call.streams[0]
    assert log.marks == ["at once", "first", "second"]
    assert log.first_audio_ms == pytest.approx(1005)
    assert b"".join(piece.audio for piece in call.heard()) == VOICE * 505
    assert call.heard()[0].at - log.opened == pytest.approx(1.005)


async def test_a_clear_drops_what_was_not_played_and_returns_the_pending_marks_in_order(
    autojump_clock: MockClock,
) -> None:
    async def talk(stream: Stream) -> None:
        stream.media(VOICE * 500)
        for name in ("a", "b"):
            stream.mark(name)
        stream.media(VOICE * 500)
        stream.mark("c")
        await stream.listen(0.25)
        stream.event("clear")
        await stream.listen(1)
        stream.media(VOICE * 100)
        stream.mark("d")
        await stream.listen(1)

    call, stream, _ = await carried(talk)
    marks = [(message["mark"]["name"], at) for at, message in stream.of("mark")]
    assert [name for name, _ in marks] == ["a", "b", "c", "d"]
    assert [at for _, at in marks] == pytest.approx([0.25, 0.25, 0.25, 1.35], abs=1e-4)
    log = call.streams[0]
    assert [(at - log.opened, played) for at, played in log.clears] == [(pytest.approx(0.25), 2000)]
    assert log.playback.played == 2000 + 800
    assert [kind for _, kind in log.messages] == ["media", "mark", "mark", "media", "mark", "clear", "media", "mark"]


async def test_more_than_ten_minutes_are_discarded_with_one_warning(autojump_clock: MockClock) -> None:
    async def talk(stream: Stream) -> None:
        for _ in range(12):
            stream.media(bytes(60 * 8000))
        stream.mark("end")
        await stream.listen(700)

    call, stream, _ = await carried(talk)
    assert call.streams[0].warnings == [31931]
    assert [at for at, _ in stream.of("mark")] == [pytest.approx(600)]


# ---------------------------------------------------------------- what is refused


def good(**fields: object) -> dict[str, object]:
    return {"event": "media", "streamSid": "SID", "media": {"payload": "/w=="}, **fields}


BAD: list[tuple[object, int]] = [
    (b"\x00\x01", 31950),
    (b'{"event": "clear"}', 31950),
    ("not json", 31951),
    ("", 31951),
    ("[]", 31951),
    ('"media"', 31951),
    ("null", 31951),
    ({"event": "hello", "streamSid": "SID"}, 31951),
    ({"event": ["media"], "streamSid": "SID"}, 31951),
    ({"event": "clear"}, 31951),
    ({"event": "clear", "streamSid": "MZ" + "0" * 32}, 31951),
    ({"event": "clear", "streamSid": "SID", "why": "x"}, 31951),
    ({"event": "mark", "streamSid": "SID"}, 31951),
    ({"event": "mark", "streamSid": "SID", "mark": "x"}, 31951),
    ({"event": "mark", "streamSid": "SID", "mark": {}}, 31951),
    ({"event": "mark", "streamSid": "SID", "mark": {"name": 5}}, 31951),
    (good(media={}), 31951),
    (good(media={"payload": None}), 31951),
    (good(media=["payload"]), 31951),
    (good(media={"payload": "/w==", "track": "outbound"}), 31951),
    (good(sequenceNumber="1"), 31951),
    (good(media={"payload": "abc"}), 31951),
    (good(media={"payload": "ü"}), 31951),
    ("[" * 100_000, 31951),
]


@pytest.mark.parametrize(("message", "code"), BAD, ids=lambda value: str(value)[:60])
async def test_a_bad_message_is_warned_of_once_and_ignored(
    message: object, code: int, autojump_clock: MockClock
) -> None:
    async def talk(stream: Stream) -> None:
        for _ in range(3):
            stream.say({**message, "streamSid": stream.sid} if _has_sid(message) else message)
        stream.media(VOICE * 100)
        stream.mark("still there")
        await stream.listen(1)

    call, stream, _ = await carried(talk)
    log = call.streams[0]
    assert log.warnings == [code]
    assert log.marks == ["still there"]
    assert [at for at, _ in stream.of("mark")] == [pytest.approx(0.1)]
    assert (log.playback.received, log.ended_by) == (800, "server")


def _has_sid(message: object) -> bool:
    return isinstance(message, dict) and message.get("streamSid") == "SID"


async def test_each_kind_of_warning_comes_once_a_stream(autojump_clock: MockClock) -> None:
    async def talk(stream: Stream) -> None:
        for message in (b"x", "x", b"y", "y"):
            stream.say(message)
        await stream.listen(0.1)

    call, _, _ = await carried(talk)
    assert call.streams[0].warnings == [31950, 31951]


# ---------------------------------------------------------------- faults


async def test_a_connection_can_be_cut_without_a_word(autojump_clock: MockClock) -> None:
    call, stream, server = await carried(None, faults=StreamFaults(drop_after=1.5))
    assert stream.closed_by_carrier == "dropped"
    assert stream.of("stop") == []
    assert stream.got[-1][0] == pytest.approx(1.5, abs=0.03)
    assert call.streams[0].ended_by == "cut"
    assert len(server.asked("/after")) == 1


async def test_frames_in_a_gap_are_lost_while_their_counters_go_on(autojump_clock: MockClock) -> None:
    faults = StreamFaults(gap_at=0.5, gap_seconds=0.4)
    _, stream, _ = await carried(None, Wait(2), HangUp(), faults=faults)
    chunks = [int(message["media"]["chunk"]) for _, message in stream.of("media")]
    missing = sorted(set(range(1, 101)) - set(chunks))
    assert len(missing) == pytest.approx(20, abs=1)
    assert missing == list(range(missing[0], missing[0] + len(missing)))
    assert missing[0] == pytest.approx(26, abs=1)


async def test_marks_can_come_back_late_without_holding_up_the_callers_voice(autojump_clock: MockClock) -> None:
    async def talk(stream: Stream) -> None:
        for number in range(20):
            stream.media(VOICE * 20)
            stream.mark(str(number))
        await stream.listen(2)

    _, stream, _ = await carried(talk, faults=StreamFaults(echo_delay=0.3))
    assert [message["mark"]["name"] for _, message in stream.of("mark")] == [str(number) for number in range(20)]
    due = [0.3 + 0.02 * number for number in range(1, 21)]
    frames = [at for at, _ in stream.of("media")]
    assert frames == pytest.approx([0.02 * number for number in range(len(frames))])
    assert [at for at, _ in stream.of("mark")] == pytest.approx(due, abs=0.021)


async def test_marks_can_come_back_in_the_wrong_order(autojump_clock: MockClock) -> None:
    async def talk(stream: Stream) -> None:
        for number in range(5):
            stream.media(VOICE * 20)
            stream.mark(str(number))
        await stream.listen(2)

    _, stream, _ = await carried(talk, faults=StreamFaults(echo_swapped=True))
    assert [message["mark"]["name"] for _, message in stream.of("mark")] == ["1", "0", "3", "2", "4"]


async def test_messages_can_be_injected_as_they_are(autojump_clock: MockClock) -> None:
    extra = '{"event": "weather"}'
    faults = StreamFaults(inject=((0.5, extra), (0.7, extra)))
    _, stream, _ = await carried(None, Wait(1), HangUp(), faults=faults)
    assert [(at, message) for at, message in stream.of("weather")] == [
        (pytest.approx(0.5), {"event": "weather"}),
        (pytest.approx(0.7), {"event": "weather"}),
    ]


async def test_signature_and_parameters_can_be_wrong_for_one_stream_only(autojump_clock: MockClock) -> None:
    async def talk(stream: Stream) -> None:
        await stream.next("start")
        stream.close()

    server = serving(STREAM, after=STREAM.replace("/after", "/end"), end="<Hangup/>")
    server.talk = talk
    await server.call(faults=StreamFaults(signature="forged", parameters={"token": "stolen"}))
    bad, right = server.streams
    assert bad.headers["x-twilio-signature"] == "forged"
    assert bad.of("start")[0][1]["start"]["customParameters"] == {"token": "stolen"}
    assert RequestValidator(TOKEN).validate(MEDIA, {}, right.headers["x-twilio-signature"])
    assert right.of("start")[0][1]["start"]["customParameters"] == {}
    assert bad.sid != right.sid
    assert trio.current_time() < 10
