"""The media stream over the whole server in memory: who is let in, what is put up with, and how a call ends.

Every test runs both ways in: through the media lane and, without it, through hypercorn and Quart. A clock is only taken
from a test's own arguments, so each test names it.
"""

import base64
import contextlib
import json
from collections.abc import Callable

import pytest
import trio
import trio_websocket
from prometheus_client import generate_latest
from trio.testing import MockClock

from actors.messages import Disposition, ReplyAudio, ReplyBegan, ReplyEnded, ReplyStatus, Tell
from tests.transport.wire_kit import ACCOUNT, MEDIA_URL, House, Phone, house_in_memory, settings_for, sid, signature
from transport.stream_token import StreamTokens
from transport.ws_codec import TEXT, client_frame

WAYS = [pytest.param(False, id="lane"), pytest.param(True, id="hypercorn")]


@pytest.fixture(params=WAYS)
async def house(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    async with house_in_memory(monkeypatch, through_hypercorn=request.param) as house:
        yield house


async def until(condition: Callable[[], object], within: float = 60) -> None:
    with trio.fail_after(within):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event, and time is virtual
            await trio.sleep(0.01)


async def is_alive(phone: Phone) -> None:
    """The call still goes on: a key that is pressed is heard, and audio comes out."""
    await phone.media()
    await phone.hear(10)


def refused(house: House, why: str) -> float:
    return house_metric(house, f'triode_refused_total{{why="{why}"}}')


def house_metric(house: House, name: str) -> float:
    registry = house.app.extensions["triode"].switchboard.metrics.registry
    for line in generate_latest(registry).decode().splitlines():
        if line.startswith(name + " "):
            return float(line.rsplit(" ", 1)[1])
    return 0.0


# ---------------------------------------------------------------- the handshake


@pytest.mark.parametrize(
    "signed",
    [
        None,
        "",
        "nonsense",
        "ä",
        signature(MEDIA_URL, token="another token"),
        signature("https://phone.example.com/twilio/media"),
        signature("wss://other.example.com/twilio/media"),
        signature("wss://phone.example.com/twilio/medium"),
    ],
)
async def test_a_handshake_that_twilio_did_not_sign_is_refused(
    house: House, autojump_clock: MockClock, signed: str | None
):
    with pytest.raises(trio_websocket.ConnectionRejected) as rejected:
        await house.upgrade(signed=signed)
    assert rejected.value.status_code == 403
    assert house.model.contacts == 0
    assert refused(house, "handshake") == 1


@pytest.mark.parametrize(
    "url",
    [
        "wss://phone.example.com/twilio/media",
        "wss://phone.example.com/twilio/media/",
        "wss://phone.example.com:443/twilio/media",
    ],
)
async def test_a_handshake_signed_in_any_of_twilios_forms_is_let_in(house: House, autojump_clock: MockClock, url: str):
    socket = await house.upgrade(signed=signature(url))
    assert socket.subprotocol is None
    assert refused(house, "handshake") == 0


async def test_a_query_string_does_not_disturb_the_handshake(house: House, autojump_clock: MockClock):
    await house.upgrade(path="/twilio/media?a=b")


async def test_no_subprotocol_and_no_compression_is_ever_chosen(house: House, autojump_clock: MockClock):
    request = (
        b"GET /twilio/media HTTP/1.1\r\nHost: phone.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        b"Sec-WebSocket-Protocol: audio.twilio.com\r\nX-Twilio-Signature: "
        + signature(MEDIA_URL).encode()
        + b"\r\n\r\n"
    )
    head = (await house.http(request)).split(b"\r\n\r\n")[0].lower()
    assert head.startswith(b"http/1.1 101 ")
    assert b"sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=" in head
    assert b"sec-websocket-protocol" not in head
    assert b"sec-websocket-extensions" not in head


# ---------------------------------------------------------------- the token


async def test_a_stream_with_a_good_token_becomes_a_call(house: House, autojump_clock: MockClock):
    phone = await house.call()
    while (message := await phone.hear())["event"] != "media":
        pass
    assert set(message) == {"event", "streamSid", "media"}
    assert message["streamSid"] == phone.stream_sid
    assert set(message["media"]) == {"payload"}
    await until(lambda: house.model.contacts == 1)


async def refuse(house: House, token: str | None, code: int = 1008, call_sid: str = "", **start: object) -> None:
    phone = Phone(await house.upgrade(), house.last_stream, call_sid or sid(), sid("MZ"))
    await phone.connected()
    await phone.start(token, **start)
    assert await phone.closing() == code
    await trio.sleep(30)
    assert phone.heard == []
    assert house.model.contacts == 0
    assert house.store.records == []
    assert refused(house, "stream") == 1


async def test_a_stream_without_a_token_is_closed_before_the_model_is_asked(house: House, autojump_clock: MockClock):
    await refuse(house, None)


async def test_a_stream_with_the_token_of_another_call_is_closed_before_the_model_is_asked(
    house: House, autojump_clock: MockClock
):
    await refuse(house, house.token(sid()))


async def test_a_stream_with_a_forged_token_is_closed_before_the_model_is_asked(
    house: House, autojump_clock: MockClock
):
    call_sid = sid()
    await refuse(house, house.token(call_sid, auth_token="guessed"), call_sid=call_sid)


async def test_a_stream_with_a_token_that_is_too_old_is_closed_before_the_model_is_asked(
    house: House, autojump_clock: MockClock
):
    call_sid = sid()
    old = StreamTokens(house.settings.secrets.auth_token, 60, wall_clock=lambda: 1_000_000.0).make(call_sid)
    await refuse(house, old, call_sid=call_sid)


@pytest.mark.parametrize("token", ["", ".", "....", "a.b.c.d", "\u00e4.\u20ac.n.\U0001f600", "1" * 5000])
async def test_a_stream_with_garbage_for_a_token_is_closed_before_the_model_is_asked(
    house: House, autojump_clock: MockClock, token: str
):
    await refuse(house, token)


async def test_a_token_is_good_for_one_stream_only(house: House, autojump_clock: MockClock):
    call_sid = sid()
    token = house.token(call_sid)
    first = await house.call(call_sid, token=token)
    await first.hear()
    await until(lambda: house.model.contacts == 1)
    second = await house.call(call_sid, token=token)
    assert await second.closing() == 1008
    await is_alive(first)
    assert house.model.contacts == 1


async def test_of_two_streams_with_one_token_at_once_one_is_taken(house: House, autojump_clock: MockClock):
    call_sid = sid()
    token = house.token(call_sid)
    phones = [Phone(await house.upgrade(), house.last_stream, call_sid, sid("MZ")) for _ in range(2)]
    async with trio.open_nursery() as nursery:
        for phone in phones:
            nursery.start_soon(phone.start, token)
    await trio.sleep(1)
    assert house.model.made == 1


@pytest.mark.parametrize(
    "media_format",
    [
        {"encoding": "audio/x-alaw", "sampleRate": 8000, "channels": 1},
        {"encoding": "audio/x-mulaw", "sampleRate": 16000, "channels": 1},
        {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 2},
    ],
)
async def test_a_stream_in_another_format_is_closed_before_the_model_is_asked(
    house: House, autojump_clock: MockClock, media_format: dict
):
    call_sid = sid()
    await refuse(house, house.token(call_sid), 1002, call_sid, media_format=media_format)


async def test_a_stream_that_never_starts_is_closed(house: House, autojump_clock: MockClock):
    phone = Phone(await house.upgrade(), house.last_stream, sid(), sid("MZ"))
    await phone.connected()
    assert await phone.closing() == 1002
    assert house.model.contacts == 0


async def test_a_stream_that_says_nothing_at_all_is_closed(house: House, autojump_clock: MockClock):
    phone = Phone(await house.upgrade(), house.last_stream, sid(), sid("MZ"))
    assert await phone.closing() == 1002


async def test_a_stream_of_many_messages_without_a_start_is_closed(house: House, autojump_clock: MockClock):
    phone = Phone(await house.upgrade(), house.last_stream, sid(), sid("MZ"))
    with contextlib.suppress(trio_websocket.ConnectionClosed):
        for _ in range(60):
            await phone.media()
    assert await phone.closing(5) == 1002
    assert house.model.contacts == 0


async def test_a_stream_that_goes_before_it_started_leaves_nothing_behind(house: House, autojump_clock: MockClock):
    phone = Phone(await house.upgrade(), house.last_stream, sid(), sid("MZ"))
    await phone.connected()
    await phone.lose()
    await until(lambda: house.unfinished == 0)
    assert house.crashes == []
    assert house.store.records == []


# ---------------------------------------------------------------- what a call puts up with


async def test_media_before_the_start_does_no_harm(house: House, autojump_clock: MockClock):
    phone = Phone(await house.upgrade(), house.last_stream, sid(), sid("MZ"))
    for _ in range(10):
        await phone.media()
    await phone.connected()
    await phone.start(house.token(phone.call_sid))
    await is_alive(phone)


NOT_UNDERSTOOD = {
    "second start": lambda p: {"event": "start", "streamSid": p.stream_sid, "start": second_start(p)},
    "wrong streamSid": lambda p: {"event": "dtmf", "streamSid": sid("MZ"), "dtmf": {"digit": "0"}},
    "binary": lambda p: b"\x00\xff",
    "malformed JSON": lambda p: '{"event":',
    "wrong types": lambda p: {"event": "media", "streamSid": p.stream_sid, "media": {"payload": 3}},
    "wrong payload": lambda p: {"event": "media", "streamSid": p.stream_sid, "media": {"payload": "?"}},
    "wrong key": lambda p: {"event": "dtmf", "streamSid": p.stream_sid, "dtmf": {"digit": "E"}},
    "unknown event": lambda p: {"event": "weather", "streamSid": p.stream_sid},
}


def second_start(phone: Phone) -> dict:
    return {
        "callSid": phone.call_sid,
        "accountSid": ACCOUNT,
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
    }


@pytest.mark.parametrize("kind", NOT_UNDERSTOOD)
async def test_what_is_not_understood_is_reported_once_a_kind_and_the_call_goes_on(
    house: House, autojump_clock: MockClock, kind: str
):
    phone = await house.call()
    await phone.hear()
    for _ in range(5):
        await phone.say(NOT_UNDERSTOOD[kind](phone))
    await is_alive(phone)
    assert house_metric(house, f'triode_trouble_total{{kind="{kind}"}}') == 1
    assert house.store.records == []
    assert house.model.made == 1
    await phone.stop()
    await until(lambda: house.store.records)
    (record,) = house.store.records
    assert record.keys == ""
    assert record.frames_in == 1


async def test_two_calls_with_the_same_fault_are_both_reported(house: House, autojump_clock: MockClock):
    for number in (1, 2):
        phone = await house.call()
        await phone.say(b"binary")
        await is_alive(phone)
        assert house_metric(house, 'triode_trouble_total{kind="binary"}') == number


async def test_a_burst_of_keys_and_marks_in_one_piece_ends_no_call(house: House, autojump_clock: MockClock):
    phone = await house.call()
    await phone.hear()
    key = {"event": "dtmf", "streamSid": phone.stream_sid, "dtmf": {"track": "inbound_track", "digit": "7"}}
    mark = {"event": "mark", "streamSid": phone.stream_sid, "mark": {"name": "nobody's"}}
    frames = b"".join(client_frame(TEXT, json.dumps(event).encode()) for event in [key, mark] * 300)
    await phone.stream.send_all(frames)
    await is_alive(phone)
    await phone.stop()
    await until(lambda: house.store.of(phone.call_sid))
    (record,) = house.store.of(phone.call_sid)
    assert record.keys == "7" * 300
    assert record.errors == []
    assert record.reason == "the caller hung up"


async def test_a_stream_of_nothing_but_rubbish_is_ended_and_the_caller_kept(house: House, autojump_clock: MockClock):
    phone = await house.call()
    with trio.fail_after(60):
        for _ in range(600):
            try:
                await phone.say("rubbish")
            except trio_websocket.ConnectionClosed:
                break
    await until(lambda: house.store.records)
    assert len(house.store.of(phone.call_sid)) == 1


async def test_a_message_that_is_too_big_closes_its_stream_with_1009_and_no_other(
    house: House, autojump_clock: MockClock
):
    bystander = await house.call()
    phone = await house.call()
    await phone.hear()
    await phone.media("A" * 100_000)
    assert await phone.closing(10) == 1009
    await until(lambda: house.store.of(phone.call_sid))
    await is_alive(bystander)
    assert house.store.of(bystander.call_sid) == []


async def test_a_big_message_within_the_limit_is_taken(house: House, autojump_clock: MockClock):
    phone = await house.call()
    await phone.media("A" * 60_000)
    await is_alive(phone)


async def test_the_callers_audio_reaches_the_model_as_it_came(house: House, autojump_clock: MockClock):
    phone = await house.call()
    payloads = [f"AAA{letter}" for letter in "ABCDEFGH"]
    for payload in payloads:
        await phone.media(payload)
    await until(lambda: house.model.sessions and len(house.model.sessions[0].payloads) >= 8)
    assert house.model.sessions[0].payloads[:8] == payloads


async def test_a_key_reaches_the_model_as_text(house: House, autojump_clock: MockClock):
    phone = await house.call()
    await until(lambda: house.model.sessions)
    await phone.key("7")
    told = lambda: [c for c in house.model.sessions[0].commands if isinstance(c, Tell) and "7" in c.text]  # noqa: E731
    await until(told)
    await phone.stop()
    await until(lambda: house.store.records)
    assert house.store.records[0].keys == "7"


async def test_what_the_model_says_is_played_in_frames_and_marks_of_this_stream(
    house: House, autojump_clock: MockClock
):
    phone = await house.call()
    await until(lambda: house.model.sessions)
    session = house.model.sessions[0]
    audio = bytes(range(256)) * 25
    session.say(ReplyBegan("r1"), ReplyAudio("r1", "i1", audio), ReplyEnded("r1", ReplyStatus.COMPLETED))
    played = b""
    with trio.fail_after(60):
        while audio not in played:
            message = await phone.hear(30)
            assert message["streamSid"] == phone.stream_sid
            if message["event"] == "media":
                assert set(message) == {"event", "streamSid", "media"}
                played += base64.b64decode(message["media"]["payload"])
            elif message["event"] == "mark":
                assert set(message) == {"event", "streamSid", "mark"}
                await phone.say({"event": "mark", "streamSid": phone.stream_sid, "mark": message["mark"]})
            else:
                assert message == {"event": "clear", "streamSid": phone.stream_sid}


async def test_calls_do_not_hear_each_other(house: House, autojump_clock: MockClock):
    phones = [await house.call() for _ in range(5)]
    await until(lambda: len(house.model.sessions) == 5)
    await phones[2].media("////")
    await until(lambda: any("////" in s.payloads for s in house.model.sessions))
    assert sum("////" in s.payloads for s in house.model.sessions) == 1
    for phone in phones:
        for _ in range(10):
            assert (await phone.hear())["streamSid"] == phone.stream_sid


# ---------------------------------------------------------------- the end


async def one_record_after(house: House, phone: Phone) -> None:
    await until(lambda: house.store.of(phone.call_sid))
    await trio.sleep(90)
    (record,) = house.store.of(phone.call_sid)
    assert record.stream_sid == phone.stream_sid
    assert record.disposition is not None
    assert house.app.extensions["triode"].switchboard.active == 0
    assert house.crashes == []
    assert house.unfinished == 0


async def test_a_hang_up_by_stop_makes_one_record(house: House, autojump_clock: MockClock):
    phone = await house.call()
    await phone.hear()
    await phone.stop()
    assert await phone.closing() == 1000
    await one_record_after(house, phone)
    assert house.store.dispositions[phone.call_sid] is Disposition.HANG_UP


async def test_a_hang_up_by_stop_and_then_close_makes_one_record(house: House, autojump_clock: MockClock):
    phone = await house.call()
    await phone.hear()
    await phone.stop()
    with trio.move_on_after(5):
        await phone.socket.aclose()
    await one_record_after(house, phone)


async def test_a_stop_that_comes_twice_makes_one_record(house: House, autojump_clock: MockClock):
    phone = await house.call()
    await phone.hear()
    await phone.stop()
    with trio.move_on_after(5):
        try:
            await phone.stop()
            await phone.socket.aclose()
        except trio_websocket.ConnectionClosed:
            pass
    await one_record_after(house, phone)


async def test_a_close_without_stop_makes_one_record(house: House, autojump_clock: MockClock):
    phone = await house.call()
    await phone.hear()
    with trio.move_on_after(5):
        await phone.socket.aclose()
    await one_record_after(house, phone)


async def test_a_lost_connection_makes_one_record(house: House, autojump_clock: MockClock):
    phone = await house.call()
    await phone.hear()
    await phone.lose()
    await one_record_after(house, phone)


async def test_a_stop_on_a_connection_that_is_lost_at_once_makes_one_record(house: House, autojump_clock: MockClock):
    phone = await house.call()
    await phone.stop()
    await phone.lose()
    await one_record_after(house, phone)


async def test_a_peer_that_falls_silent_for_good_is_held_for_gone(house: House, autojump_clock: MockClock):
    """Neither audio nor pongs: what hypercorn's read_timeout finds, the lane finds too."""
    phone = Phone(await house.upgrade(), house.last_stream, sid(), sid("MZ"))
    await phone.start(house.token(phone.call_sid))
    await phone.hear()
    # From here on nobody reads or answers at the other end.
    deaf = phone.stream.receive_stream

    async def nothing(max_bytes: object = None) -> bytes:
        await trio.sleep_forever()
        return b""

    deaf.receive_some = nothing  # type: ignore[method-assign]
    await until(lambda: house.store.of(phone.call_sid), within=300)
    assert len(house.store.of(phone.call_sid)) == 1


async def test_the_status_callback_ends_a_call_whose_stream_says_nothing(house: House, autojump_clock: MockClock):
    phone = await house.call()
    await phone.hear()
    form = {"CallSid": phone.call_sid, "CallStatus": "completed", "SequenceNumber": "3"}
    headers = {"X-Twilio-Signature": signature("https://phone.example.com/twilio/status", form)}
    response = await house.app.test_client().post("/twilio/status", form=form, headers=headers)
    assert response.status_code == 204
    await phone.closing()
    await one_record_after(house, phone)


async def test_a_new_stream_of_a_call_ends_the_old_one(house: House, autojump_clock: MockClock):
    first = await house.call()
    await first.hear()
    second = await house.call(first.call_sid, token=house.token(first.call_sid, resumed=True))
    await second.hear()
    await first.closing()
    await until(lambda: house.store.of(first.call_sid))
    assert [r.stream_sid for r in house.store.of(first.call_sid)] == [first.stream_sid]
    await is_alive(second)


async def test_other_calls_go_on_when_one_is_lost(house: House, autojump_clock: MockClock):
    phones = [await house.call() for _ in range(4)]
    for phone in phones:
        await phone.hear()
    await phones[0].lose()
    await phones[1].stop()
    await phones[2].say(b"rubbish")
    await until(lambda: len(house.store.records) == 2)
    await is_alive(phones[2])
    await is_alive(phones[3])
    assert house.app.extensions["triode"].switchboard.active == 2


async def test_a_bug_in_the_model_port_sends_the_caller_to_the_menu(house: House, autojump_clock: MockClock):
    phone = await house.call()
    await until(lambda: house.model.sessions)
    house.model.sessions[0].say("not an event at all")  # type: ignore[arg-type]
    house.model.sessions[0].lose()
    await until(lambda: house.store.of(phone.call_sid))
    assert house.store.dispositions[phone.call_sid] is Disposition.IVR


@pytest.mark.parametrize("through_hypercorn", WAYS)
async def test_when_a_drain_is_over_the_streams_are_moved(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock, through_hypercorn: bool
):
    begins = trio.Event()
    settings = settings_for(drain_seconds=20.0)
    async with house_in_memory(
        monkeypatch, settings, through_hypercorn=through_hypercorn, drain_begins=begins.wait
    ) as house:
        phone = await house.call()
        await phone.hear()
        begins.set()
        with trio.move_on_after(10):
            await phone.closing()
        assert house.store.records == []
        assert await phone.closing() == 1000
        await until(lambda: house.store.of(phone.call_sid))
        assert house.store.dispositions[phone.call_sid] is Disposition.RESUME


# ---------------------------------------------------------------- one connection is not the server


POISON = {
    "bytes after the upgrade request": b"poison",
    "a frame after the upgrade request": b"\x81\x85\x00\x00\x00\x00hello",
    "a second request": b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("path", ["/twilio/media", "/elsewhere"])
@pytest.mark.parametrize("poison", POISON)
async def test_a_poisoned_upgrade_harms_only_its_own_connection(
    house: House, autojump_clock: MockClock, poison: str, path: str
):
    bystander = await house.call()
    request = (
        f"GET {path} HTTP/1.1\r\nHost: phone.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        f"X-Twilio-Signature: {signature(MEDIA_URL)}\r\n\r\n"
    ).encode()
    await house.http(request + POISON[poison])
    assert house.crashes == []
    await is_alive(bystander)
    answer = await house.http(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")


MALFORMED = [
    b"\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET\r\n\r\n",
    b"GET /twilio/media\r\n\r\n",
    b"GET /twilio/media HTTP/9.9\r\n\r\n",
    b"GET /twilio/media HTTP/1.1\r\n\r\n",
    b"GET /twilio/media HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n",
    b"GET /twilio/media HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 8\r\n\r\n",
    b"GET /twilio/media HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: short\r\n\r\n",
    b"GET /twilio/media HTTP/1.1\r\nHost: x\r\nBad Header\r\n\r\n",
    b"GET /twilio/media HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
    b"GET /" + b"y" * 70_000 + b" HTTP/1.1\r\n\r\n",
    b"GET /twilio/media\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /twilio/media HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    b"POST /twilio/voice HTTP/1.1\r\nHost: x\r\nContent-Length: -4\r\n\r\n",
    b"POST /twilio/voice HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
]


@pytest.mark.parametrize("request_bytes", MALFORMED, ids=lambda b: repr(b[:40]))
async def test_a_malformed_request_harms_nobody(house: House, autojump_clock: MockClock, request_bytes: bytes):
    answer = await house.http(request_bytes)
    assert not answer.startswith((b"HTTP/1.1 101", b"HTTP/1.1 200"))
    assert house.crashes == []
    assert house.model.contacts == 0
    answer = await house.http(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")


async def test_a_request_that_comes_byte_by_byte_is_understood(house: House, autojump_clock: MockClock):
    for target in ("/healthz", "/twilio/media"):
        stream = house.dial()
        for byte in f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode():
            await stream.send_all(bytes([byte]))
        answer = b""
        with trio.move_on_after(10):
            while data := await stream.receive_some(4096):
                answer += data
        assert answer.startswith(b"HTTP/1.1 200" if target == "/healthz" else b"HTTP/1.1 4")


async def test_an_upgrade_that_comes_byte_by_byte_opens_the_stream(house: House, autojump_clock: MockClock):
    stream = house.dial()
    request = (
        "GET /twilio/media HTTP/1.1\r\nHost: phone.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        f"x-twilio-signature: {signature(MEDIA_URL)}\r\n\r\n"
    ).encode()
    for byte in request:
        await stream.send_all(bytes([byte]))
    with trio.fail_after(10):
        assert (await stream.receive_some(4096)).startswith(b"HTTP/1.1 101")


async def test_a_signed_webhook_over_the_wire_is_answered(house: House, autojump_clock: MockClock):
    """Through the server's own parser: raw path and query are as Twilio signed them."""
    body = "CallSid=CA1&FromZip=&Digits=1"
    url = "https://phone.example.com/twilio/ivr/choice?tries=0"
    signed = signature(url, {"CallSid": "CA1", "FromZip": "", "Digits": "1"})
    request = (
        "POST /twilio/ivr/choice?tries=0 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        "Content-Type: application/x-www-form-urlencoded; charset=UTF-8\r\n"
        f"Content-Length: {len(body)}\r\nX-Twilio-Signature: {signed}\r\n\r\n{body}"
    )
    answer = await house.http(request.encode())
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"+15550001111" in answer
    assert (await house.http(request.replace("tries=0", "tries=1").encode())).startswith(b"HTTP/1.1 403")


async def test_json_of_ours_is_one_line(house: House, autojump_clock: MockClock):
    phone = await house.call()
    with trio.fail_after(10):
        text = await phone.socket.get_message()
    assert "\n" not in text
    assert json.loads(text)
