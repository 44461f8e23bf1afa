"""The model's connection: how it is opened, what comes through it, and how it ends, in order or not."""

import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import trio
import trio.testing
import wsproto
from trio.testing import MemoryReceiveStream, MemorySendStream, MockClock, wait_all_tasks_blocked
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, wrap_server_stream
from wsproto import events as wire

from actors.messages import (
    AskReply,
    DropItem,
    ModelTrouble,
    Probe,
    ReplyAudio,
    Role,
    SpeechStarted,
    SpeechStopped,
    Tell,
)
from actors.ports import ModelGone, ModelSession
from tests.kit.patience import PATIENCE
from transport import model_lane, ws_client
from transport.model_lane import GOODBYE_WITHIN
from transport.model_socket import PING_EVERY, PONG_WITHIN, ModelSocket
from transport.ws_client import LINGER

URL = "ws://model.example.com/v1/realtime"
STARTED = '{"type":"input_audio_buffer.speech_started","item_id":"u"}'
STOPPED = '{"type":"input_audio_buffer.speech_stopped","item_id":"u"}'
NO_PONG = pytest.RaisesExc(ModelGone, match="no pong")
raises_somewhere = partial(pytest.RaisesGroup, allow_unwrapped=True, flatten_subgroups=True)
"""A block of `connect` may end with its error alone or in groups."""


class Peer:
    """The model's end of one connection, frame by frame: does only what it is told."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.heard: list[wire.Event] = []
        self.ended = trio.Event()
        self._protocol = wsproto.WSConnection(wsproto.ConnectionType.SERVER)

    async def accept(self) -> None:
        await self.hear()
        await self.say(wire.AcceptConnection())

    async def say(self, event: wire.Event) -> None:
        await self.stream.send_all(self._protocol.send(event))

    async def hear(self) -> list[wire.Event]:
        """What comes next."""
        while not (found := list(self._protocol.events())):
            self._protocol.receive_data(await self.stream.receive_some() or None)
        return found

    async def hear_to_the_close(self) -> None:
        """All there is up to the close frame, which is answered; then the stream is to end."""
        while not self.heard or not isinstance(self.heard[-1], wire.CloseConnection):
            self.heard += await self.hear()
        await self.say(self.heard[-1].response())
        with contextlib.suppress(trio.BrokenResourceError):
            while await self.stream.receive_some():
                pass
        self.ended.set()


class World:
    """Models that can be reached: `answer` is what each connection gets."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.answer: Callable[[trio.abc.Stream], Awaitable[None]] = self.by_hand
        self.url = URL
        self.hosts: list[str] = []
        self.lines: list[trio.StapledStream[MemorySendStream, MemoryReceiveStream]] = []
        """Our ends of the connections in memory."""
        self.requests: list[WebSocketRequest] = []
        self._told, self._ends = trio.open_memory_channel[Any](9)

    async def by_hand(self, stream: trio.abc.Stream) -> None:
        """Opens, and reads nothing unless the test does."""
        peer = Peer(stream)
        await peer.accept()
        await self._told.send(peer)
        await trio.sleep_forever()

    async def polite(self, stream: trio.abc.Stream) -> None:
        """A whole WebSocket server."""
        request = await wrap_server_stream(self.nursery, stream, message_queue_size=10_000)
        self.requests.append(request)
        await self._told.send(await request.accept())

    async def end(self) -> Any:
        """The model's end of the next connection: a Peer, or the WebSocketConnection of `polite`."""
        return await self._ends.receive()

    def model(self, *urls: str, **fields: Any) -> ModelSocket:
        return ModelSocket(urls or (self.url,), "sk-secret", "gpt-realtime-2.1", **fields)


@pytest.fixture
async def memory(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> World:
    """The network is in memory, so that the clock may be virtual."""
    world = World(nursery)

    async def open_tcp_stream(host: str, port: int, **_: object) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        ours, theirs = trio.testing.memory_stream_pair()
        world.hosts.append(host)
        world.lines.append(ours)
        nursery.start_soon(world.answer, theirs)
        return ours

    monkeypatch.setattr(trio, "open_tcp_stream", open_tcp_stream)
    return world


@pytest.fixture
async def polite(memory: World) -> World:
    memory.answer = memory.polite
    return memory


@pytest.fixture
async def real(nursery: trio.Nursery) -> World:
    """The network is this machine's."""
    world = World(nursery)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    listener.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
    nursery.start_soon(trio.serve_listeners, lambda stream: world.answer(stream), [listener])
    world.url = f"ws://127.0.0.1:{listener.socket.getsockname()[1]}/v1/realtime"
    return world


@contextlib.asynccontextmanager
async def talking(
    world: World, model: ModelSocket | None = None, endpoint: int = 0
) -> AsyncIterator[tuple[ModelSession, WebSocketConnection]]:
    """A connection to `polite`, both ends."""
    with trio.fail_after(5000):
        async with (model or world.model()).connect(endpoint) as session:
            yield session, await world.end()


# ---------------------------------------------------------------- opening


@pytest.mark.parametrize(
    ("url", "path", "others"),
    [
        (URL, "/v1/realtime", {}),
        (f"{URL}?deployment=a%20b&x=1", "/v1/realtime", {"deployment": ["a b"], "x": ["1"]}),
        ("ws://model.example.com", "/", {}),
        ("ws://model.example.com:8080/a/b?", "/a/b", {}),
    ],
)
@pytest.mark.parametrize("name", ["gpt-realtime-2.1", "my model/ü&x=y"])
async def test_the_model_is_named_in_the_query(
    name: str, url: str, path: str, others: dict[str, list[str]], autojump_clock: MockClock, polite: World
) -> None:
    async with talking(polite, ModelSocket((url,), "sk-secret", name)):
        pass
    asked = urlsplit(polite.requests[0].path)
    assert asked.path == path
    assert parse_qs(asked.query, strict_parsing=True) == {**others, "model": [name]}


async def test_another_model_can_be_asked_for_even_where_the_address_names_one(
    autojump_clock: MockClock, polite: World
) -> None:
    model = ModelSocket((URL, f"{URL}?model=usual&x=1"), "sk-secret", "usual")
    for place in (0, 1):
        async with model.connect(place, "hard"):
            await polite.end()
    asked = [parse_qs(urlsplit(request.path).query) for request in polite.requests]
    assert asked == [{"model": ["hard"]}, {"x": ["1"], "model": ["hard"]}]


@pytest.mark.parametrize("identifier", ["", "5f2d8c"])
async def test_the_key_is_shown_and_the_caller_named_only_if_known(
    identifier: str, autojump_clock: MockClock, polite: World
) -> None:
    model = polite.model(safety_identifier=identifier)
    async with talking(polite, model):
        pass
    headers = {name.lower(): value for name, value in polite.requests[0].headers}
    assert headers[b"authorization"] == b"Bearer sk-secret"
    assert headers.get(b"openai-safety-identifier", b"") == identifier.encode()
    assert b"openai-beta" not in headers  # it is an error today
    assert "sk-secret" not in repr(model)


async def test_each_endpoint_is_its_own_place(autojump_clock: MockClock, polite: World) -> None:
    model = polite.model("ws://first.example.com/a", "ws://second.example.com/b")
    assert model.endpoints == 2
    for endpoint in (1, 0):
        async with talking(polite, model, endpoint):
            pass
    assert polite.hosts == ["second.example.com", "first.example.com"]


@pytest.mark.parametrize("body", [None, b'{"error":{"message":"no"}}'])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 502, 503])
async def test_only_a_refusal_of_the_key_is_fatal(
    status: int, body: bytes | None, autojump_clock: MockClock, memory: World
) -> None:
    async def refuse(stream: trio.abc.Stream) -> None:
        request = await wrap_server_stream(memory.nursery, stream)
        await request.reject(status, body=body)

    memory.answer = refuse
    with trio.fail_after(60), pytest.raises(ModelGone, match=str(status)) as caught:
        async with memory.model().connect(0):
            pytest.fail("it was refused")
    assert caught.value.fatal is (status in {401, 403})
    assert "sk-secret" not in str(caught.value)


async def test_a_place_where_nobody_listens_is_no_model() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        model = ModelSocket((f"ws://127.0.0.1:{deaf.getsockname()[1]}/",), "sk-secret", "m")
        with trio.fail_after(PATIENCE), pytest.raises(ModelGone, match="cannot be reached") as caught:
            async with model.connect(0):
                pytest.fail("nobody is there")
    assert not caught.value.fatal


@pytest.mark.parametrize("says", [b"", b"HTTP/1.1 101 Switching", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n"])
async def test_a_peer_that_never_answers_is_waited_for_as_long_as_the_caller_likes(
    says: bytes, autojump_clock: MockClock, memory: World
) -> None:
    memory.answer = lambda stream: stream.send_all(says)
    began = trio.current_time()
    with trio.move_on_after(5) as scope:
        async with memory.model().connect(0):
            pytest.fail("it never answered")
    assert scope.cancelled_caught
    assert trio.current_time() == began + 5


SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n"


@pytest.mark.parametrize(
    "says",
    [SWITCH + b"\r\n", SWITCH + b"sec-websocket-accept: x\r\n\r\n", b"SSH-2.0-x\r\n\r\n", b"\x15\x03\x01\0\2\2F"],
)
async def test_a_peer_that_answers_nonsense_is_no_model(says: bytes, autojump_clock: MockClock, memory: World) -> None:
    memory.answer = lambda stream: stream.send_all(says)
    with trio.fail_after(60), pytest.raises(ModelGone) as caught:
        async with memory.model().connect(0):
            pytest.fail("that was no handshake")
    assert not caught.value.fatal


@pytest.mark.parametrize("says", [b"", b"HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n"])
async def test_an_opening_that_fails_leaves_no_connection_behind(
    says: bytes, autojump_clock: MockClock, memory: World
) -> None:
    ended = trio.Event()

    async def answer(stream: trio.abc.Stream) -> None:
        await stream.send_all(says)
        with contextlib.suppress(trio.BrokenResourceError):
            while await stream.receive_some():
                pass
        ended.set()

    memory.answer = answer
    with trio.move_on_after(5), contextlib.suppress(ModelGone):
        async with memory.model().connect(0):
            pytest.fail("it was not opened")
    with trio.fail_after(5):
        await ended.wait()


# ---------------------------------------------------------------- what comes and goes


async def test_events_come_in_order_and_what_cannot_be_understood_is_told_and_skipped(
    autojump_clock: MockClock, polite: World
) -> None:
    troubles: list[str] = []
    bad = '{"type":"response.output_audio.delta","delta":"?"}'
    async with talking(polite, polite.model(trouble=troubles.append)) as (session, peer):
        for message in (STARTED, "{", b"\x00", bad, '{"type":"' + "x" * 999, '{"type":"x"}', STOPPED):
            await peer.send_message(message)
        assert [await session.receive(), await session.receive()] == [SpeechStarted("u"), SpeechStopped("u")]
    assert len(troubles) == 4
    assert all(0 < len(trouble) <= 200 for trouble in troubles)


async def test_a_message_of_megabytes_is_read(autojump_clock: MockClock, polite: World) -> None:
    async with talking(polite) as (session, peer):
        await peer.send_message(json.dumps({"type": "response.output_audio.delta", "delta": "A" * 4_000_000}))
        assert await session.receive() == ReplyAudio("", "", bytes(3_000_000))


async def test_a_cancelled_receive_loses_nothing_and_a_slow_reader_neither(
    autojump_clock: MockClock, polite: World
) -> None:
    async with talking(polite) as (session, peer):
        with trio.move_on_after(1):
            await session.receive()
        for number in range(500):
            await peer.send_message(json.dumps({"type": "input_audio_buffer.committed", "item_id": str(number)}))
        with trio.CancelScope() as scope:
            scope.cancel()
            await session.receive()
        assert [(await session.receive()).item for _ in range(500)] == [str(number) for number in range(500)]


async def test_commands_are_numbered_and_audio_is_not(autojump_clock: MockClock, polite: World) -> None:
    async with talking(polite) as (session, peer):
        await session.send(AskReply())
        await session.append(["//7+/w=="], 0)
        await session.send(DropItem("i"))
        sent = [json.loads(await peer.get_message()) for _ in range(3)]
    assert sent == [
        {"event_id": "triode_1", "type": "response.create"},
        {"type": "input_audio_buffer.append", "audio": "//7+/w=="},
        {"event_id": "triode_2", "type": "conversation.item.delete", "item_id": "i"},
    ]


async def test_an_error_in_answer_to_what_asked_for_a_reply_is_told_from_others(
    autojump_clock: MockClock, polite: World
) -> None:
    async with talking(polite) as (session, peer):
        for command in (AskReply(), DropItem("i")):
            await session.send(command)
        for number in (1, 2):
            error = {"type": "invalid_request_error", "code": "invalid_value", "event_id": f"triode_{number}"}
            await peer.send_message(json.dumps({"type": "error", "error": error}))
        told = [await session.receive() for _ in range(2)]
    assert [(event.ref, event.no_reply) for event in told if isinstance(event, ModelTrouble)] == [
        ("triode_1", True),
        ("triode_2", False),
    ]


async def test_concurrent_sends_keep_their_order_and_whole_frames(real: World) -> None:
    called: list[str] = []

    async def write(session: ModelSession, name: int) -> None:
        for number in range(4):
            called.append(f"{name}.{number}")
            await session.send(Tell(Role.CALLER, "x" * 250_000, item=called[-1]))

    with trio.fail_after(PATIENCE):
        async with real.model().connect(0) as session:
            peer = await real.end()
            async with trio.open_nursery() as nursery:
                for name in range(10):
                    nursery.start_soon(write, session, name)
                await wait_all_tasks_blocked()
                assert len(called) < 40  # the connection is full, and writers wait
                for number in range(5):
                    await peer.say(wire.Ping(bytes([number])))  # the pongs have to find their way between the frames
                texts, pongs, part = [], 0, ""
                while len(texts) < 40 or pongs < 5:
                    for event in await peer.hear():
                        pongs += isinstance(event, wire.Pong)
                        if isinstance(event, wire.TextMessage):
                            part += event.data
                            if event.message_finished:
                                texts.append(json.loads(part))
                                part = ""
            await trio.aclose_forcefully(peer.stream)
    assert [text["item"]["id"] for text in texts] == called
    assert {len(text["item"]["content"][0]["text"]) for text in texts} == {250_000}


# ---------------------------------------------------------------- how it ends, by the model


@pytest.mark.parametrize("code", [3000, 4000, 4004, 1000, 1001, 1008, 1011, 1012, 1013])
async def test_a_close_is_fatal_if_its_code_says_that_no_other_session_would_do_better(
    code: int, autojump_clock: MockClock, polite: World
) -> None:
    async with talking(polite) as (session, peer):
        await peer.send_message(STARTED)
        polite.nursery.start_soon(peer.aclose, code, "because")
        assert await session.receive() == SpeechStarted("u")  # what came before is still read
        for call in (session.receive(), session.send(Probe()), session.append(["/w=="], 0)):
            with pytest.raises(ModelGone, match=f"{code} because") as caught:
                await call
            assert caught.value.fatal is (code in {3000, 4000, 4004})


@pytest.mark.parametrize("reset", [False, True])
async def test_a_connection_that_is_lost_without_a_word_is_gone(reset: bool, real: World) -> None:
    with trio.fail_after(PATIENCE):
        async with real.model().connect(0) as session:
            peer = await real.end()
            assert isinstance(peer.stream, trio.SocketStream)
            if reset:
                peer.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            await peer.say(wire.TextMessage(data=STARTED))
            assert await session.receive() == SpeechStarted("u")
            await trio.aclose_forcefully(peer.stream)
            with pytest.raises(ModelGone) as caught:
                await session.receive()
            assert not caught.value.fatal
            for call in (session.send(Probe()), session.append(["/w=="], 20)):
                with pytest.raises(ModelGone):
                    await call


async def test_a_writer_that_waits_for_a_peer_that_dies_is_told(real: World) -> None:
    async def flood(session: ModelSession) -> None:
        for _ in range(20):
            await session.send(Tell(Role.CALLER, "x" * 1_000_000))

    with trio.fail_after(PATIENCE), raises_somewhere(ModelGone):
        async with real.model().connect(0) as session, trio.open_nursery() as nursery:
            nursery.start_soon(flood, session)
            peer = await real.end()
            await wait_all_tasks_blocked()
            await trio.aclose_forcefully(peer.stream)


async def test_the_loss_of_the_connection_comes_out_of_the_block(autojump_clock: MockClock, memory: World) -> None:
    with trio.fail_after(60), raises_somewhere(ModelGone):
        async with memory.model().connect(0) as session:
            await trio.aclose_forcefully((await memory.end()).stream)
            await session.receive()


async def test_a_pong_that_stays_away_ends_the_block(autojump_clock: MockClock, memory: World) -> None:
    began = trio.current_time()
    with trio.fail_after(600), raises_somewhere(NO_PONG):
        async with memory.model().connect(0) as session:
            await session.receive()
    took = trio.current_time() - began
    assert PING_EVERY + PONG_WITHIN <= took <= PING_EVERY + PONG_WITHIN + GOODBYE_WITHIN + LINGER


async def test_a_silent_connection_lives_as_long_as_pings_are_answered(
    autojump_clock: MockClock, polite: World
) -> None:
    async with talking(polite) as (session, peer):
        with trio.move_on_after(3600) as scope:
            await session.receive()
        assert scope.cancelled_caught
        await peer.send_message(STARTED)
        assert await session.receive() == SpeechStarted("u")


# ---------------------------------------------------------------- how it ends, by us


class Enough(Exception):
    """The block's own trouble."""


@pytest.mark.parametrize("how", ["in order", "cancelled", "by an error"])
async def test_leaving_says_goodbye(how: str, real: World) -> None:
    with trio.fail_after(PATIENCE), contextlib.suppress(ExceptionGroup, Enough), trio.CancelScope() as scope:
        async with real.model().connect(0) as session:
            peer = await real.end()
            real.nursery.start_soon(peer.hear_to_the_close)
            await session.send(AskReply())
            if how == "cancelled":
                scope.cancel()
                await trio.sleep_forever()
            if how == "by an error":
                raise Enough
    with trio.fail_after(PATIENCE):
        await peer.ended.wait()
    text, close = peer.heard
    assert isinstance(text, wire.TextMessage)
    assert isinstance(close, wire.CloseConnection)
    assert close.code == 1000


async def test_an_error_of_the_block_is_not_swallowed_by_a_peer_that_does_not_answer_the_close(
    autojump_clock: MockClock, memory: World
) -> None:
    with trio.fail_after(60), raises_somewhere(Enough):
        async with memory.model().connect(0):
            raise Enough


@pytest.mark.parametrize("reads", [True, False])
@pytest.mark.parametrize("cancelled", [True, False])
async def test_leaving_a_peer_that_does_not_answer_is_bounded(
    cancelled: bool, reads: bool, autojump_clock: MockClock, memory: World
) -> None:
    with trio.fail_after(60), trio.CancelScope() as scope:
        async with memory.model().connect(0):
            await memory.end()
            if not reads:
                memory.lines[0].send_stream.send_all_hook = trio.sleep_forever
            began = trio.current_time()
            if cancelled:
                scope.cancel()
                await trio.sleep_forever()
    assert trio.current_time() - began <= GOODBYE_WITHIN + LINGER


@pytest.mark.parametrize("cancelled", [True, False])
async def test_leaving_a_full_connection_does_not_hang(
    cancelled: bool, real: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_lane, "GOODBYE_WITHIN", 0.05)
    monkeypatch.setattr(ws_client, "LINGER", 0.05)
    with trio.fail_after(PATIENCE), trio.CancelScope() as scope:
        async with real.model().connect(0) as session, trio.open_nursery() as writers:
            peer = await real.end()
            for _ in range(20):
                writers.start_soon(session.send, Tell(Role.CALLER, "x" * 1_000_000))
            await wait_all_tasks_blocked()
            (scope if cancelled else writers.cancel_scope).cancel()
    await trio.aclose_forcefully(peer.stream)


async def test_a_connection_that_was_left_can_no_longer_be_used(autojump_clock: MockClock, polite: World) -> None:
    async with talking(polite) as (session, peer):
        pass
    with trio.fail_after(5):
        for call in (session.receive(), session.send(Probe()), session.append(["/w=="], 0)):
            with pytest.raises(ModelGone):
                await call
        with pytest.raises(ConnectionClosed):
            await peer.get_message()
