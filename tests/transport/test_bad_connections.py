"""One connection is not the server: poison, malformed requests and odd pieces harm nobody else."""

import json

import pytest
import structlog
import trio
from trio.testing import MockClock

from tests.transport.wire_kit import MEDIA_URL, House, is_alive, signature

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


@pytest.mark.parametrize("request_line", ["POST http://{}/twilio/voice", "GET http://{}/twilio/media"])
async def test_who_is_not_twilio_fills_no_log(house: House, autojump_clock: MockClock, request_line: str):
    upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" if request_line.startswith("GET") else ""
    head = f"{request_line.format('x' * 15_000)} HTTP/1.1\r\nHost: x\r\n{upgrade if key else ''}{key}"
    with structlog.testing.capture_logs() as lines:
        assert (await house.http(f"{head}\r\n".encode())).startswith(b"HTTP/1.1 403")
    assert sum(len(str(line)) for line in lines) < 500


async def test_json_of_ours_is_one_line(house: House, autojump_clock: MockClock):
    phone = await house.call()
    with trio.fail_after(10):
        text = await phone.socket.get_message()
    assert "\n" not in text
    assert json.loads(text)


@pytest.mark.parametrize(
    "head", [b"GET /twilio/media HTTP/1.1\r\nHost: x\r\n", b"GET /twilio/me", b"POST /twilio/voice HT"]
)
async def test_who_never_ends_a_request_holds_no_connection(house: House, autojump_clock: MockClock, head: bytes):
    stream = house.dial()
    await stream.send_all(head)
    with trio.fail_after(40):
        while await stream.receive_some(4096):
            pass
