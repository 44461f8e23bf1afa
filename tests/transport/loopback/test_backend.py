"""The loopback backend: what it takes, what it refuses, and how it fails; in memory and over a socket."""

import hashlib
import hmac
import json
import time
from collections.abc import Mapping

import httpx2
import pytest
import trio
from trio.testing import MockClock

from tests.kit.patience import PATIENCE
from transport.loopback.backend import BackendFaults, LoopbackBackend
from transport.loopback.http_server import BODY_AT_MOST, HttpAnswer, serve_http

SECRET = "a secret"
BODY = json.dumps({"order": 17, "name": "Zoë"}).encode()
URL = "https://crm.example.com/hooks/triode"


def headers(
    body: bytes = BODY, *, at: int | None = None, secret: str = SECRET, delivery: str = "d-1"
) -> dict[str, str]:
    at = int(time.time()) if at is None else at
    mac = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return {
        "Content-Type": "application/json",
        "X-Triode-Signature": f"t={at},v1={mac}",
        "X-Triode-Delivery": delivery,
    }


def client(backend: LoopbackBackend, seconds: float = 5) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=backend.transport(), timeout=seconds)


async def test_a_signed_delivery_is_remembered(autojump_clock: MockClock) -> None:
    backend = LoopbackBackend(SECRET)
    async with client(backend) as http:
        await trio.sleep(3)
        answer = await http.post(URL, content=BODY, headers=headers(at=1_700_000_000))
    assert (answer.status_code, answer.json()) == (200, {"ok": True})
    (delivery,) = backend.deliveries
    assert (delivery.id, delivery.body, delivery.path) == ("d-1", {"order": 17, "name": "Zoë"}, "/hooks/triode")
    assert (delivery.at, delivery.signed_at) == (3, 1_700_000_000)
    assert (backend.ids_seen_twice, backend.refused) == ([], [])


WRONG = {
    "another secret": headers(secret="another"),
    "another body": headers(b"{}"),
    "no signature": {"Content-Type": "application/json", "X-Triode-Delivery": "d"},
    "another time": {
        **headers(at=17),
        "X-Triode-Signature": headers(at=17)["X-Triode-Signature"].replace("t=17", "t=18"),
    },
    "no time": {**headers(), "X-Triode-Signature": "v1=" + "0" * 64},
    "in capitals": {**headers(), "X-Triode-Signature": headers()["X-Triode-Signature"].upper()},
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_a_wrong_signature_is_refused(wrong: str, autojump_clock: MockClock) -> None:
    backend = LoopbackBackend(SECRET)
    async with client(backend) as http:
        assert (await http.post(URL, content=BODY, headers=WRONG[wrong])).status_code == 401
    assert backend.deliveries == []
    assert [status for status, _ in backend.refused] == [401]


async def test_what_is_no_delivery_is_refused_though_it_is_signed(autojump_clock: MockClock) -> None:
    backend = LoopbackBackend(SECRET)
    async with client(backend) as http:
        statuses = [
            (await http.get(URL)).status_code,
            (await http.post(URL, content=b"{", headers=headers(b"{"))).status_code,
            (await http.post(URL, content=BODY, headers={**headers(), "Content-Type": "text/plain"})).status_code,
            (await http.post(URL, content=BODY, headers=headers(delivery=""))).status_code,
        ]
    assert statuses == [405, 400, 400, 400]
    assert backend.deliveries == []


async def test_an_old_signature_is_refused_if_a_tolerance_is_set(autojump_clock: MockClock) -> None:
    backend = LoopbackBackend(SECRET, tolerance=300, now=lambda: 10_000)
    async with client(backend) as http:
        statuses = [(await http.post(URL, content=BODY, headers=headers(at=at))).status_code for at in (9_000, 9_800)]
    assert statuses == [401, 200]


async def test_an_id_that_comes_twice_is_noticed(autojump_clock: MockClock) -> None:
    backend = LoopbackBackend(SECRET)
    async with client(backend) as http:
        for delivery in ("a", "b", "a", "c", "a"):
            await http.post(URL, content=BODY, headers=headers(delivery=delivery))
    assert [delivery.id for delivery in backend.deliveries] == ["a", "b", "a", "c", "a"]
    assert backend.ids_seen_twice == ["a"]


async def test_faults_refuse_delay_and_lose_in_turn(autojump_clock: MockClock) -> None:
    backend = LoopbackBackend(SECRET, faults=BackendFaults(statuses=(503, 0, 429), slow=2, lose_answers=1))
    async with client(backend) as http:
        assert (await http.post(URL, content=BODY, headers=headers())).status_code == 503
        assert trio.current_time() == 2
        with pytest.raises(httpx2.ReadTimeout):
            await http.post(URL, content=BODY, headers=headers(delivery="lost"))
        assert trio.current_time() == 7
        assert (await http.post(URL, content=BODY, headers=headers())).status_code == 429
        assert (await http.post(URL, content=BODY, headers=headers(delivery="lost"))).status_code == 200
    assert [delivery.id for delivery in backend.deliveries] == ["lost", "lost"]
    assert backend.ids_seen_twice == ["lost"]


# ---------------------------------------------------------------- over a socket


async def test_over_a_socket_connections_are_kept_and_bodies_bounded(nursery: trio.Nursery) -> None:
    backend = LoopbackBackend(SECRET)
    with trio.fail_after(PATIENCE):
        port = await nursery.start(backend.serve)
        address = f"http://127.0.0.1:{port}/hook?a=1"
        async with httpx2.AsyncClient(trust_env=False, timeout=PATIENCE) as http:
            for number in range(3):
                answer = await http.post(address, content=BODY, headers=headers(delivery=str(number)))
                assert answer.status_code == 200
            long = b'"' + b"a" * BODY_AT_MOST + b'"'
            with_end = await http.post(address, content=long, headers=headers(long))
            assert with_end.status_code == 413
            assert (await http.post(address, content=BODY, headers=headers(delivery="4"))).status_code == 200
            assert (await http.head(address)).status_code == 405
        nursery.cancel_scope.cancel("the test is over")
    assert [delivery.path for delivery in backend.deliveries] == ["/hook"] * 4


async def test_over_a_socket_a_client_that_gives_up_leaves_nothing_behind(nursery: trio.Nursery) -> None:
    backend = LoopbackBackend(SECRET, faults=BackendFaults(lose_answers=1))
    with trio.fail_after(PATIENCE):
        port = await nursery.start(backend.serve)
        async with httpx2.AsyncClient(trust_env=False, timeout=0.3) as http:
            with pytest.raises(httpx2.ReadTimeout):
                await http.post(f"http://127.0.0.1:{port}/", content=BODY, headers=headers())
        async with httpx2.AsyncClient(trust_env=False, timeout=PATIENCE) as http:
            assert (await http.post(f"http://127.0.0.1:{port}/", content=BODY, headers=headers())).status_code == 200
        nursery.cancel_scope.cancel("the test is over")
    assert backend.ids_seen_twice == ["d-1"]


async def test_over_a_socket_a_client_that_leaves_cancels_the_handler(nursery: trio.Nursery) -> None:
    begun, cancelled = trio.Event(), trio.Event()

    async def handle(method: str, target: str, headers: Mapping[str, str], body: bytes) -> HttpAnswer:
        begun.set()
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()

    with trio.fail_after(PATIENCE):
        port = await nursery.start(serve_http, handle, 0)
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            await begun.wait()
        await cancelled.wait()
        nursery.cancel_scope.cancel("the test is over")


@pytest.mark.parametrize(
    "raw", [b"nonsense\r\n\r\n", b"POST / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n" * 9999]
)
async def test_what_is_no_http_is_refused_and_the_connection_closed(raw: bytes, nursery: trio.Nursery) -> None:
    backend = LoopbackBackend(SECRET)
    with trio.fail_after(PATIENCE):
        port = await nursery.start(backend.serve)
        answer = b""
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            try:
                await stream.send_all(raw)
                async for part in stream:
                    answer += bytes(part)
            except trio.BrokenResourceError:
                pass  # refused before all of it was read
        nursery.cancel_scope.cancel("the test is over")
    assert answer[:10] in (b"HTTP/1.1 4", b"")  # the refusal may be lost with the connection
    assert backend.refused == backend.deliveries == []


async def test_two_requests_sent_at_once_are_answered_in_turn(nursery: trio.Nursery) -> None:
    backend = LoopbackBackend(SECRET)
    with trio.fail_after(PATIENCE):
        port = await nursery.start(backend.serve)
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            one = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"
            await stream.send_all(one % 1 + one % 2)
            answers = b""
            while answers.count(b"HTTP/1.1 405") < 2:
                answers += bytes(await stream.receive_some(65536))
        nursery.cancel_scope.cancel("the test is over")
    assert len(backend.refused) == 2
