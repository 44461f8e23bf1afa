"""Hostile input, wire by wire: codecs, both WebSockets, webhooks. Nothing crashes, nothing hangs, no other call is touched."""

import contextlib
import itertools
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlencode

import pytest
import trio
import trio.testing
import trio_websocket
from hypothesis import example, given
from hypothesis import strategies as st
from trio.testing import MockClock
from twilio.request_validator import RequestValidator
from werkzeug.datastructures import MultiDict

from actors import messages as say
from actors.ports import ModelGone
from tests.transport.hostile import (
    ARGUMENTS,
    FIELDS,
    MEGABYTE,
    MODEL_SAMPLES,
    examples,
    frames,
    model_events,
    pairs,
    twilio_messages,
    twilio_samples,
)
from tests.transport.web_kit import POSTS, send
from tests.transport.wire_kit import AUTH_TOKEN, PUBLIC, House, Phone, house_in_memory, is_alive, sid, until
from transport import realtime_codec, twilio_codec
from transport.media_lane import accept, read_upgrade
from transport.model_socket import ModelSocket
from transport.ws_codec import server_frame

Pairs = list[tuple[str, str]]

# ---------------------------------------------------------------- codecs


@examples(200)
@given(twilio_messages())
def test_a_message_of_the_carrier_is_understood_or_bad_whatever_is_wrong_with_it(message: str | bytes):
    understood(message)


def understood(message: str | bytes) -> None:
    try:
        event = twilio_codec.decode(message, "MZ1", lambda: 0.0)
    except twilio_codec.BadMessage:
        return
    assert isinstance(event, twilio_codec.Inbound)
    if isinstance(event, twilio_codec.Started):
        assert json.loads(twilio_codec.Encoder(event.stream_sid).mark("1"))["streamSid"] == event.stream_sid


@examples(200)
@given(st.lists(model_events(), min_size=1, max_size=5))
def test_an_event_of_the_model_is_understood_or_bad_whatever_is_wrong_with_it(events: list[str | bytes]):
    reader = realtime_codec.EventReader(lambda: 0.0)
    for event in events:
        read(reader, event)


def read(reader: realtime_codec.EventReader, event: str | bytes) -> None:
    try:
        meant = reader.read(event)
    except realtime_codec.BadEvent:
        return
    assert meant is None or isinstance(meant, say.ModelEvent)
    if isinstance(meant, say.ReplyEnded):
        assert 0 <= meant.tokens <= realtime_codec.TOKENS_AT_MOST
        assert len(meant.calls) <= realtime_codec.CALLS_AT_MOST
    elif isinstance(meant, say.SessionCreated):
        assert meant.expires_in is None or meant.expires_in > 0
    elif isinstance(meant, say.CallerWords) and meant.confidence is not None:
        assert 0 <= meant.confidence <= 1
    item = getattr(meant, "item", "")
    assert json.loads(realtime_codec.write(say.Truncate(item, 1), "e"))["item_id"] == item


@pytest.mark.parametrize("wide", [MEGABYTE, [MEGABYTE], [1] * 30_000, {str(n): [n] for n in range(5000)}], ids=type)
def test_what_is_huge_is_read_at_once(wide: object):
    began = time.process_time()
    for sample in (*twilio_samples(), *MODEL_SAMPLES):
        for key in sample:
            message = json.dumps({**sample, key: wide})
            understood(message)
            read(realtime_codec.EventReader(), message)
    assert time.process_time() - began < 10


# ---------------------------------------------------------------- the carrier's WebSocket


@contextlib.asynccontextmanager
async def beside_another_call(monkeypatch: pytest.MonkeyPatch, *, through_hypercorn: bool):
    """A house in which a call is up that must not notice anything, and ends as it should."""
    async with house_in_memory(monkeypatch, through_hypercorn=through_hypercorn) as house:
        bystander = await house.call()
        await bystander.hear()
        yield house
        await is_alive(bystander)
        assert house.store.of(bystander.call_sid) == []
        await bystander.stop()
        assert await bystander.closing() == 1000
        await until(lambda: house.unfinished == 0)
        (record,) = house.store.of(bystander.call_sid)
        assert (record.reason, record.errors) == ("the caller hung up", [])
        assert house.crashes == []
        assert house.app.extensions["triode"].switchboard.active == 0


async def over_with(house: House, phone: Phone, *, started: bool) -> None:
    """The call is lost, and leaves a record if there was one; none speaks of a bug."""
    await phone.lose()
    await until(lambda: house.unfinished == 1)
    records = house.store.of(phone.call_sid)
    assert len(records) <= (1 if started else 0)
    assert not [error for record in records for error in record.errors if error.kind == "bug"]


STREAM = "MZ" + "a" * 32


@examples(12)
@given(
    st.lists(twilio_messages(STREAM), max_size=6),
    st.lists(twilio_messages(STREAM), min_size=1, max_size=20),
    st.lists(twilio_messages(STREAM), max_size=4),
    st.booleans(),
)
async def test_hostile_messages_at_any_time_of_a_call_harm_no_other(
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: MockClock,
    before: list[str | bytes],
    between: list[str | bytes],
    after: list[str | bytes],
    through_hypercorn: bool,
):
    async with beside_another_call(monkeypatch, through_hypercorn=through_hypercorn) as house:
        phone = Phone(await house.upgrade(), house.last_stream, sid(), STREAM)
        with contextlib.suppress(trio_websocket.ConnectionClosed):
            for message in before:
                await phone.say(message)
            await phone.start(house.token(phone.call_sid))
            for message in between:
                await phone.say(message)
            await phone.media()
            await phone.stop()
            for message in after:
                await phone.say(message)
        await over_with(house, phone, started=True)


@examples(20)
@given(st.lists(frames(), min_size=1, max_size=8), st.booleans(), st.booleans())
async def test_hostile_frames_in_a_call_or_before_it_harm_no_other(
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: MockClock,
    pieces: list[bytes],
    started: bool,
    through_hypercorn: bool,
):
    async with beside_another_call(monkeypatch, through_hypercorn=through_hypercorn) as house:
        phone = Phone(await house.upgrade(), house.last_stream, sid(), sid("MZ"))
        if started:
            await phone.start(house.token(phone.call_sid))
            await phone.hear()
        with contextlib.suppress(trio.BrokenResourceError):
            for piece in pieces:
                await phone.stream.send_all(piece)
                await trio.sleep(0.1)
        await over_with(house, phone, started=started)


# ---------------------------------------------------------------- the model's WebSocket

MODEL = ModelSocket(("ws://model.example.com/v1",), "sk-secret", "gpt-realtime")


def dialled(nursery: trio.Nursery, model: Callable[[trio.StapledStream], Awaitable[None]]) -> Any:
    """The network in memory, with `model` at the other end of each connection."""

    async def dial(host: str, port: int) -> trio.StapledStream:
        ours, theirs = trio.testing.memory_stream_pair()
        nursery.start_soon(model, theirs)
        await trio.lowlevel.checkpoint()
        return ours

    return dial


@examples(25)
@given(st.lists(frames(server_frame) | frames(), max_size=8), st.sampled_from(["lose", "hold", "again"]))
@example([b"HTTP/1.1 200 OK\r\n\r\n" * 3], "hold")
async def test_hostile_frames_of_the_model_are_events_or_the_end_of_its_session(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock, pieces: list[bytes], then: str
):
    async def model(stream: trio.StapledStream) -> None:
        head = b""
        while (upgrade := read_upgrade(head)) is None:
            head += await stream.receive_some(4096)
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            for piece in (accept(upgrade.key), *pieces, *(pieces * 3 if then == "again" else [])):
                await stream.send_all(piece)
                await trio.sleep(0.1)
            if then == "hold":
                await trio.sleep_forever()
        await trio.aclose_forcefully(stream)

    gone: list[ModelGone] = []
    with trio.fail_after(120):
        async with trio.open_nursery() as nursery:
            monkeypatch.setattr(trio, "open_tcp_stream", dialled(nursery, model))
            try:
                async with MODEL.connect(0) as session:
                    while True:
                        assert isinstance(await session.receive(), say.ModelEvent)
            except* ModelGone as errors:
                gone += errors.exceptions  # type: ignore[arg-type] # a group has groups in it, or errors
            nursery.cancel_scope.cancel("the session is over")
    assert gone


HEADS = {
    "endless header": b"HTTP/1.1 101 Switching Protocols\r\nX: " + b"x" * 1_000_000,
    "endless headers": b"HTTP/1.1 101 Switching Protocols\r\n" + b"X: x\r\n" * 100_000,
    "no header": b"\xff" * 70_000,
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "two answers": b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n" * 2,
}


@pytest.mark.parametrize("head", HEADS)
async def test_a_model_whose_answer_to_the_upgrade_is_none_costs_the_time_to_connect_at_most(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock, head: str
):
    left = trio.Event()

    async def model(stream: trio.StapledStream) -> None:
        with contextlib.suppress(trio.BrokenResourceError):
            await stream.send_all(HEADS[head])
            while await stream.receive_some(4096):
                pass
        left.set()

    opened = False
    async with trio.open_nursery() as nursery:
        monkeypatch.setattr(trio, "open_tcp_stream", dialled(nursery, model))
        with trio.move_on_after(10), contextlib.suppress(ModelGone):
            async with MODEL.connect(0):
                opened = True
        with trio.fail_after(1):
            await left.wait()
    assert not opened


# ---------------------------------------------------------------- webhooks

VALIDATOR = RequestValidator(AUTH_TOKEN)
FORM = "application/x-www-form-urlencoded"


async def asked(house: House, path: str, body: bytes, signed: Pairs, kind: str = FORM, method: str = "POST") -> int:
    """The status of the answer, which is read as Twilio would read it."""
    right = VALIDATOR.compute_signature(PUBLIC + path, MultiDict(signed))
    answer = await send(house.app, method, path, {"Content-Type": kind, "X-Twilio-Signature": right}, body)
    if answer.status == 200:
        assert answer.verbs
    return answer.status


requests = st.tuples(st.sampled_from(POSTS), pairs(FIELDS, 8), pairs(ARGUMENTS, 3), st.booleans(), st.booleans())


@examples(25)
@given(st.lists(requests, min_size=5, max_size=15))
async def test_signed_webhooks_with_absurd_fields_are_answered_or_refused_and_calls_go_on(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock, several: list[tuple[str, Pairs, Pairs, bool, bool]]
):
    async with beside_another_call(monkeypatch, through_hypercorn=False) as house:
        for path, fields, arguments, of_a_call, of_another in several:
            form = [("CallSid", "CA1"), *fields] if of_a_call else fields
            query = urlencode([("call", "CA1"), *arguments] if of_another else arguments)
            path += f"?{query}" if query else ""
            assert await asked(house, path, urlencode(form).encode(), form) in {200, 204, 400, 413}
        unsigned = await send(
            house.app, "POST", several[0][0], {"Content-Type": FORM}, urlencode(several[0][1]).encode()
        )
        assert unsigned.status in {403, 413}


QUERIES = [
    f"{name}={value}"
    for name, value in itertools.product(ARGUMENTS, ["-1", "abc", "9" * 5000, "%D9%A3", "%FF", "../x", "%00", ""])
]


@pytest.mark.parametrize("path", POSTS)
async def test_arguments_of_every_kind_on_every_route_are_answered_or_refused(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock, path: str
):
    form: Pairs = [("CallSid", "CA1"), ("CallStatus", "in-progress")]
    async with house_in_memory(monkeypatch) as house:
        for query in QUERIES:
            assert await asked(house, f"{path}?call=CA1&{query}", urlencode(form).encode(), form) in {200, 204}


BODIES = {
    "no multipart": ("multipart/form-data", b"x"),
    "no boundary": ("multipart/form-data; boundary=", b"--x"),
    "half a part": ("multipart/form-data; boundary=x", b"--x\r\nbad"),
    "too many parts": (
        "multipart/form-data; boundary=x",
        b'--x\r\nContent-Disposition: form-data; name="a"; filename="f"\r\n\r\nx\r\n' * 800 + b"--x--",
    ),
    "JSON": ("application/json", b'{"CallSid":"CA1"}'),
    "text": ("text/plain", b"CallSid=CA1"),
    "no type": ("", b"CallSid=CA1"),
    "bad bytes": (FORM, b"\xff\xfe=%ff&CallSid=%00"),
    "nothing but separators": (FORM, b"&" * 60_000),
    "nothing": (FORM, b""),
}


@pytest.mark.parametrize("body", BODIES)
async def test_a_body_that_is_no_form_is_refused(house: House, autojump_clock: MockClock, body: str):
    kind, data = BODIES[body]
    for path in ("/twilio/voice", "/twilio/status", "/twilio/dialed"):
        assert await asked(house, path, data, [], kind) in {400, 403}
