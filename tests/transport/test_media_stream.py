"""The media stream over the whole server in memory: the handshake, and who is let in.

Every test runs both ways in (see `house` in conftest.py). A clock is only taken from a test's own arguments, so each test
names it.
"""

import contextlib

import pytest
import trio
import trio_websocket
from trio.testing import MockClock

from tests.transport.wire_kit import (
    MEDIA_URL,
    House,
    Phone,
    is_alive,
    refused,
    sid,
    signature,
    until,
)
from transport.stream_token import StreamTokens

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
