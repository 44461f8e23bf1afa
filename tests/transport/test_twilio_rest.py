"""Twilio's REST API on Trio: what is sent is what Twilio's own client sends, and every failure is one of three kinds."""

import contextlib
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import attrs
import httpx2
import pytest
import trio
from trio.testing import MockClock

from tests.kit.patience import PATIENCE
from tests.transport.loopback.carrier_kit import ACCOUNT, PUBLIC, TOKEN, Server, serving
from tests.transport.loopback.rest_kit import ANN, OURS, World, twilios, world
from transport.loopback.caller import HangUp, Wait
from transport.loopback.http_server import HttpAnswer, serve_http
from transport.loopback.human import Human
from transport.loopback.rest import RestFaults
from transport.twilio_rest import ANSWER_SECONDS, NOT_FOUND, TOO_MANY, Refused, TwilioRest, Unreached, Unsure, open_rest

API = "https://api.twilio.com"
SERVICE = "MG" + "5" * 32
CALLBACK = f"{PUBLIC}/sms"


@attrs.frozen
class Api:
    """The API, and our way to it."""

    world: World
    rest: TwilioRest


@contextlib.asynccontextmanager
async def api(
    faults: RestFaults | None = None, humans: Mapping[str, Human] | None = None, server: Server | None = None
) -> AsyncIterator[Api]:
    async with (
        world(server, faults, humans) as w,
        open_rest(ACCOUNT, TOKEN, API, w.rest.transport(), lambda: w.carrier.now().timestamp()) as rest,
    ):
        yield Api(w, rest)
        assert w.rest.problems == []


@contextlib.asynccontextmanager
async def answered_by(answer: Callable[[httpx2.Request], Awaitable[httpx2.Response]]) -> AsyncIterator[TwilioRest]:
    """Our way to an API that answers so."""
    async with open_rest(ACCOUNT, TOKEN, API, httpx2.MockTransport(answer)) as rest:
        yield rest


FIRST_REQUEST = """
import sys, httpx2, trio
from transport.twilio_rest import open_rest

async def refuse(request):
    return httpx2.Response(404, json={})

async def main():
    async with open_rest("AC1", "token", "https://api.twilio.com", httpx2.MockTransport(refuse)) as rest:
        before = set(sys.modules)
        assert await rest.call_status("CA1") == ""
        print(sorted(set(sys.modules) - before))

trio.run(main)
"""
"""In a process of its own: here others may have made requests before."""


async def test_the_first_request_loads_nothing_while_calls_are_up():
    done = await trio.run_process(
        [sys.executable, "-c", FIRST_REQUEST], capture_stdout=True, cwd=Path(__file__).parents[2]
    )
    assert done.stdout.split() == [b"[]"]


REQUESTS: dict[str, Callable[[TwilioRest], Awaitable[Any]]] = {
    "send_message": lambda rest: rest.send_message(ANN, OURS, "Hi", CALLBACK),
    "find_messages": lambda rest: rest.find_messages(ANN, "Hi", 300),
    "find_calls": lambda rest: rest.find_calls(ANN, OURS, 300),
    "ring": lambda rest: rest.ring(ANN, OURS, f"{PUBLIC}/brief", f"{PUBLIC}/status", 25),
    "redirect": lambda rest: rest.redirect("CA1", f"{PUBLIC}/back"),
    "call_status": lambda rest: rest.call_status("CA1"),
    "hang_up": lambda rest: rest.hang_up("CA1"),
}
LISTS = {"find_messages", "find_calls"}
"""Of a list Twilio's package does not tell a refusal from any other failure."""


# ---------------------------------------------------------------- what is sent


async def test_every_request_is_what_twilios_own_client_sends() -> None:
    """Ours and theirs, recorded: the same addresses, parameters and credentials."""
    sent: list[tuple[str, str, dict[str, str], dict[str, str], str]] = []

    async def record(method: str, url: str, headers: Mapping[str, str], body: bytes) -> HttpAnswer:
        parts = urlsplit(url)
        form, query = dict(parse_qsl(body.decode())), dict(parse_qsl(parts.query))
        query.pop("DateSent>", None)  # the present moment
        told = {name.lower(): value for name, value in headers.items()}
        sent.append((method, f"{parts.scheme}://{parts.netloc}{parts.path}", form, query, told["authorization"]))
        if parts.path.endswith("/Messages.json") and method == "GET":
            return HttpAnswer(200, "application/json", b'{"messages": [], "page": 0, "next_page_uri": null}')
        if parts.path.endswith("/Calls.json") and method == "GET":
            return HttpAnswer(200, "application/json", b'{"calls": [], "page": 0, "next_page_uri": null}')
        return HttpAnswer(201 if method == "POST" else 200, "application/json", b'{"sid": "XX1", "status": "queued"}')

    async def ours(request: httpx2.Request) -> httpx2.Response:
        answer = await record(request.method, str(request.url), request.headers, await request.aread())
        return httpx2.Response(answer.status, content=answer.body)

    class Theirs:
        handle = staticmethod(record)

    def use() -> None:
        client = twilios(Theirs())  # type: ignore[arg-type] # what it needs of the API is its handler
        client.messages.create(to=ANN, from_=OURS, body="Hi", status_callback=CALLBACK)
        client.messages.create(to=ANN, messaging_service_sid=SERVICE, body="Hi", status_callback=CALLBACK)
        client.messages.list(to=ANN, limit=20)
        client.calls.list(to=ANN, from_=OURS, limit=20)
        status = {"status_callback": f"{PUBLIC}/status", "status_callback_event": ["completed"]}
        client.calls.create(to=ANN, from_=OURS, url=f"{PUBLIC}/brief", timeout=25, **status)
        client.calls("CA1").update(url=f"{PUBLIC}/back", method="POST")
        client.calls("CA1").fetch()
        client.calls("CA1").update(status="completed")

    with trio.fail_after(PATIENCE):
        async with answered_by(ours) as rest:
            await rest.send_message(ANN, OURS, "Hi", CALLBACK)
            await rest.send_message(ANN, SERVICE, "Hi", CALLBACK)
            for name in ("find_messages", "find_calls", "ring", "redirect", "call_status", "hang_up"):
                await REQUESTS[name](rest)
        mine, sent[:] = sent[:], []
        await trio.to_thread.run_sync(use)
    assert len(mine) == 8
    assert mine == sent


async def test_a_message_is_sent_from_a_number_or_a_service(autojump_clock: MockClock) -> None:
    async with api() as a:
        first = await a.rest.send_message(ANN, OURS, "Grüß Gott & so", CALLBACK)
        second = await a.rest.send_message(ANN, SERVICE, "Hi", CALLBACK)
        one, two = a.world.rest.messages
        assert (one.sid, one.to, one.sender, one.text, one.callback) == (first, ANN, OURS, "Grüß Gott & so", CALLBACK)
        assert (two.sid, two.sender, two.service_sid) == (second, "", SERVICE)
        assert a.world.rest.unheeded == []


async def test_a_message_is_found_by_its_text_and_number_and_no_other(autojump_clock: MockClock) -> None:
    async with api() as a:
        sids = {text: await a.rest.send_message(ANN, OURS, text, CALLBACK) for text in ("one", "two", "three")}
        await a.rest.send_message("+15551110002", OURS, "four", CALLBACK)
        for text, sid in sids.items():
            assert await a.rest.find_messages(ANN, text, 300) == [sid]
        assert await a.rest.find_messages(ANN, "four", 300) == []
        assert await a.rest.find_messages(ANN, "on", 300) == []
        assert await a.rest.find_messages("+15551110003", "one", 300) == []


async def test_of_two_messages_with_the_same_text_the_newer_one_comes_first(autojump_clock: MockClock) -> None:
    async with api() as a:
        older = await a.rest.send_message(ANN, OURS, "again", CALLBACK)
        newer = await a.rest.send_message(ANN, OURS, "again", CALLBACK)
        assert await a.rest.find_messages(ANN, "again", 300) == [newer, older]


async def test_what_was_made_earlier_is_not_found(autojump_clock: MockClock) -> None:
    async with api() as a:
        await a.rest.send_message(ANN, OURS, "again", CALLBACK)
        await a.rest.ring(ANN, OURS, f"{PUBLIC}/brief", f"{PUBLIC}/status", 5)
        await trio.sleep(20)
        assert len(await a.rest.find_messages(ANN, "again", 30)) == len(await a.rest.find_calls(ANN, OURS, 30)) == 1
        await trio.sleep(20)
        assert await a.rest.find_messages(ANN, "again", 30) == []
        assert await a.rest.find_calls(ANN, OURS, 30) == []


async def test_a_call_is_found_by_both_its_numbers(autojump_clock: MockClock) -> None:
    async with api(humans={ANN: Human(rings=2)}) as a:
        sid = await a.rest.ring(ANN, OURS, f"{PUBLIC}/brief", f"{PUBLIC}/status", 5)
        await trio.sleep(1)
        assert await a.rest.find_calls(ANN, OURS, 300) == [(sid, "ringing")]
        assert await a.rest.find_calls("+15551110003", OURS, 300) == []
        assert await a.rest.find_calls(ANN, "+15551110003", 300) == []


async def test_a_person_is_rung_and_their_calls_state_is_told(autojump_clock: MockClock) -> None:
    server = serving("", brief="<Pause length='5'/>", back="<Pause length='20'/>")
    async with api(humans={ANN: Human(rings=2)}, server=server) as a:
        sid = await a.rest.ring(ANN, OURS, f"{PUBLIC}/brief", f"{PUBLIC}/status", 25)
        states = [await a.rest.call_status(sid)]
        for seconds in (1, 3, 10):
            await trio.sleep(seconds)
            states.append(await a.rest.call_status(sid))
        assert states == ["queued", "ringing", "in-progress", "completed"]
        (leg,) = a.world.carrier.legs
        assert (leg.to, leg.sender) == (ANN, OURS)
        assert [post.form["CallStatus"] for post in server.asked("/status")] == ["completed"]
        assert a.world.rest.unheeded == []


async def test_a_person_is_rung_no_longer_than_asked_for(autojump_clock: MockClock) -> None:
    async with api(humans={ANN: Human(rings=60)}) as a:
        sid = await a.rest.ring(ANN, OURS, f"{PUBLIC}/brief", f"{PUBLIC}/status", 7)
        await trio.sleep(9)
        assert await a.rest.call_status(sid) == "no-answer"


async def test_a_call_that_is_redirected_goes_on_elsewhere_and_twice_does_no_harm(autojump_clock: MockClock) -> None:
    server = serving("<Pause length='60'/>", back="<Say>Back.</Say><Pause length='60'/>")
    async with api(server=server) as a, trio.open_nursery() as nursery:
        sid = "CA" + "9" * 32
        steps = (Wait(20), HangUp())
        nursery.start_soon(
            lambda: a.world.carrier.place_call(steps, call_sid=sid, voice_path="/voice", status_path="/status")
        )
        await trio.sleep(3)
        await a.rest.redirect(sid, f"{PUBLIC}/back")
        await a.rest.redirect(sid, f"{PUBLIC}/back")
        await trio.sleep(1)
        assert server.asked("/back")
        assert await a.rest.call_status(sid) == "in-progress"
        await a.rest.hang_up(sid)
        await trio.sleep(1)
        assert await a.rest.call_status(sid) == "completed"
        with pytest.raises(Refused) as refused:
            await a.rest.redirect(sid, f"{PUBLIC}/back")
        assert (refused.value.code, refused.value.status) == (21220, 400)


async def test_a_call_that_is_not_known_has_no_state(autojump_clock: MockClock) -> None:
    async with api() as a:
        assert await a.rest.call_status("CA" + "0" * 32) == ""
        with pytest.raises(Refused) as refused:
            await a.rest.redirect("CA" + "0" * 32, f"{PUBLIC}/back")
        assert refused.value.status == NOT_FOUND


# ---------------------------------------------------------------- how it fails


async def test_a_refusal_says_why(autojump_clock: MockClock) -> None:
    faults = RestFaults(opted_out=frozenset({ANN}), refuse={"+15551110002": 21614})
    async with api(faults) as a:
        with pytest.raises(Refused) as stopped:
            await a.rest.send_message(ANN, OURS, "Hi", CALLBACK)
        assert (stopped.value.code, stopped.value.status) == (21610, 400)
        assert "unsubscribed" in stopped.value.text
        with pytest.raises(Refused) as landline:
            await a.rest.send_message("+15551110002", OURS, "Hi", CALLBACK)
        assert landline.value.code == 21614
        with pytest.raises(Refused) as no_number:
            await a.rest.ring("5551234", OURS, f"{PUBLIC}/brief", f"{PUBLIC}/status", 25)
        assert no_number.value.code == 21211


async def test_wrong_credentials_are_a_refusal(autojump_clock: MockClock) -> None:
    async with world() as w, open_rest(ACCOUNT, "wrong", API, w.rest.transport()) as rest:
        for name, ask in REQUESTS.items():
            if name in LISTS:
                continue
            with pytest.raises(Refused) as refused:
                await ask(rest)
            assert (refused.value.code, refused.value.status) == (20003, 401)
        assert w.rest.messages == []


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize(
    ("status", "kind"), [(400, Refused), (TOO_MANY, Refused), (500, Unsure), (502, Unsure), (503, Unsure)]
)
async def test_what_a_status_means_for_each_request(
    status: int, kind: type[Exception], name: str, autojump_clock: MockClock
) -> None:
    async with api(RestFaults(statuses=(status,))) as a:
        with pytest.raises(Unsure if name in LISTS else kind) as error:
            await REQUESTS[name](a.rest)
        if isinstance(error.value, Refused):
            assert error.value.status == status


ERRORS: dict[type[Exception], type[Exception]] = {
    httpx2.ConnectError: Unreached,
    httpx2.ConnectTimeout: Unreached,
    httpx2.PoolTimeout: Unreached,
    httpx2.ReadTimeout: Unsure,
    httpx2.WriteTimeout: Unsure,
    httpx2.ReadError: Unsure,
    httpx2.WriteError: Unsure,
    httpx2.CloseError: Unsure,
    httpx2.RemoteProtocolError: Unsure,
    httpx2.ProxyError: Unsure,
    httpx2.DecodingError: Unsure,
}


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
async def test_only_what_was_certainly_not_sent_is_unreached(
    error: type[Exception], name: str, autojump_clock: MockClock
) -> None:
    async def fail(request: httpx2.Request) -> httpx2.Response:
        raise error("broken")

    async with answered_by(fail) as rest:
        with pytest.raises(ERRORS[error]):
            await REQUESTS[name](rest)


NO_OBJECT = ["<html>Please log in.</html>", "", "[]", "null", '"queued"', "3"]


@pytest.mark.parametrize("name", REQUESTS)
async def test_an_answer_that_is_no_object_leaves_it_unsure(name: str, autojump_clock: MockClock) -> None:
    raised: dict[str, str] = {}

    for text in NO_OBJECT:

        async def answer(request: httpx2.Request, text: str = text) -> httpx2.Response:
            return httpx2.Response(200, text=text)

        async with answered_by(answer) as rest:
            try:
                await REQUESTS[name](rest)
                raised[text] = "nothing"
            except Exception as error:  # the test is about which
                raised[text] = type(error).__name__
    assert raised == dict.fromkeys(NO_OBJECT, "Unsure")


@pytest.mark.parametrize("name", ["send_message", "ring"])
async def test_an_answer_that_does_not_say_what_was_made_leaves_it_unsure(name: str, autojump_clock: MockClock) -> None:
    async def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(201, text="{}")

    async with answered_by(answer) as rest:
        with pytest.raises(Unsure):
            await REQUESTS[name](rest)


@pytest.mark.parametrize(("status", "kind"), [(403, Refused), (404, Refused), (502, Unsure)])
async def test_a_refusal_without_twilios_words_is_one_by_its_status(
    status: int, kind: type[Exception], autojump_clock: MockClock
) -> None:
    async def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(status, text="<html>A proxy's page.</html>")

    async with answered_by(answer) as rest:
        with pytest.raises(kind) as error:
            await rest.send_message(ANN, OURS, "Hi", CALLBACK)
        if isinstance(error.value, Refused):
            assert error.value.status == status


async def test_a_long_reason_is_cut(autojump_clock: MockClock) -> None:
    async def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(400, text=json.dumps({"code": 21617, "message": "a" * 5000, "status": 400}))

    async with answered_by(answer) as rest:
        with pytest.raises(Refused) as refused:
            await rest.send_message(ANN, OURS, "Hi", CALLBACK)
        assert (refused.value.code, len(refused.value.text)) == (21617, 200)


async def test_an_answer_that_is_lost_is_waited_for_a_while_and_then_unsure(autojump_clock: MockClock) -> None:
    async with api(RestFaults(lose_answers=1)) as a:
        with pytest.raises(Unsure):
            await a.rest.send_message(ANN, OURS, "Hi", CALLBACK)
        assert trio.current_time() == ANSWER_SECONDS
        (message,) = a.world.rest.messages
        assert await a.rest.find_messages(ANN, "Hi", 300) == [message.sid]


async def test_a_slow_answer_is_an_answer(autojump_clock: MockClock) -> None:
    async with api(RestFaults(slow=ANSWER_SECONDS - 1)) as a:
        assert await a.rest.send_message(ANN, OURS, "Hi", CALLBACK) == a.world.rest.messages[0].sid


# ---------------------------------------------------------------- where it is


async def test_an_address_with_a_path_is_put_before_every_path(autojump_clock: MockClock) -> None:
    urls: list[str] = []

    async def answer(request: httpx2.Request) -> httpx2.Response:
        urls.append(str(request.url))
        return httpx2.Response(404, json={"code": 20404, "message": "not found", "status": 404})

    for root in ("http://127.0.0.1:8080/stand-in", "http://127.0.0.1:8080/stand-in/"):
        async with open_rest(ACCOUNT, TOKEN, root, httpx2.MockTransport(answer)) as rest:
            for ask in REQUESTS.values():
                with contextlib.suppress(Refused, Unsure):
                    await ask(rest)
    assert len(urls) == 2 * len(REQUESTS)
    for url in urls:
        assert url.startswith(f"http://127.0.0.1:8080/stand-in/2010-04-01/Accounts/{ACCOUNT}/")


async def test_the_pages_of_a_list_come_from_the_same_place(autojump_clock: MockClock) -> None:
    asked: list[str] = []
    path = f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json"

    async def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(f"{request.url.scheme}://{request.url.host}{request.url.path}")
        last = "Page=1" in str(request.url)
        page = {
            "messages": [{"sid": "SM2" if last else "SM1", "body": "wanted" if last else "other"}],
            "next_page_uri": None if last else f"{path}?To=x&PageSize=1&Page=1",
        }
        return httpx2.Response(200, json=page)

    async with open_rest(ACCOUNT, TOKEN, "http://127.0.0.1/api", httpx2.MockTransport(answer)) as rest:
        assert await rest.find_messages(ANN, "wanted", 300) == ["SM2"]
    assert asked == [f"http://127.0.0.1/api{path}"] * 2


async def test_over_a_socket_it_is_the_same(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with trio.fail_after(PATIENCE):
        async with world(faults=RestFaults(opted_out=frozenset({ANN}))) as w:

            async def below(method: str, url: str, headers: Mapping[str, str], body: bytes) -> HttpAnswer:
                assert url.startswith("/api/")
                return await w.rest.handle(method, url.removeprefix("/api"), headers, body)

            port = await nursery.start(serve_http, below, 0)
            async with open_rest(ACCOUNT, TOKEN, f"http://127.0.0.1:{port}/api") as rest:
                sid = await rest.send_message("+15551110002", OURS, "Hé & so", CALLBACK)
                assert await rest.find_messages("+15551110002", "Hé & so", 300) == [sid]
                with pytest.raises(Refused):
                    await rest.send_message(ANN, OURS, "Hi", CALLBACK)
                assert await rest.call_status("CA" + "0" * 32) == ""
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            free = listeners[0].socket.getsockname()[1]
            await listeners[0].aclose()
            async with open_rest(ACCOUNT, TOKEN, f"http://127.0.0.1:{free}") as rest:
                with pytest.raises(Unreached):
                    await rest.send_message(ANN, OURS, "Hi", CALLBACK)
            nursery.cancel_scope.cancel("the test is over")
