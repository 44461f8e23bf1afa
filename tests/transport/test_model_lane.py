"""The model lane against wsproto, cut anywhere: texts in order, all else to trio-websocket, every end."""

import contextlib
import math
import socket
from collections.abc import AsyncIterator, Iterable
from urllib.parse import urlsplit

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MemoryReceiveStream, MemorySendStream, MockClock, memory_stream_pair, wait_all_tasks_blocked
from trio_websocket import ConnectionClosed, ConnectionRejected, HandshakeError
from wsproto import ConnectionType, WSConnection
from wsproto import events as wire

from tests.kit.patience import PATIENCE
from tests.transport.frames_kit import codes, cut, meaning, messages, texts
from transport.direct_stream import DirectStream
from transport.model_lane import GOODBYE_WITHIN, REFUSAL_AT_MOST, REFUSAL_WITHIN, TextLane
from transport.ws_client import LINGER, Client, client_on
from transport.ws_codec import CLOSE, PING, TEXT, client_frame, close_payload, server_frame

URL = urlsplit("wss://model.example.com/v1/realtime?model=m")
QUEUE = 4
AT_MOST = 2_000
Frames = Iterable[bytes | wire.Event]


class Server:
    """The other end: wsproto, and bytes by hand. It writes when told to, and remembers what it read."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._wire = WSConnection(ConnectionType.SERVER)
        self.read: list[wire.Event] = []
        self.over = False
        """Whether the client has ended the connection."""
        self._news = trio.Event()

    async def answer(self, frames: Frames, pieces: Iterable[int]) -> None:
        """Takes the request, accepts it, and says `frames`, all of it in pieces that are read one by one."""
        await self.next(wire.Request)
        head = self._wire.send(wire.AcceptConnection())
        await self.write(cut(head + self.framed(frames), pieces))

    def framed(self, frames: Frames) -> bytes:
        return b"".join(frame if isinstance(frame, bytes) else self._wire.send(frame) for frame in frames)

    async def write(self, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            await self._stream.send_all(piece)
            await wait_all_tasks_blocked()

    async def say(self, *frames: bytes | wire.Event) -> None:
        await self.write([self.framed(frames)])

    async def listen(self) -> None:
        """Until the client ends the connection."""
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while data := await self._stream.receive_some():
                self._wire.receive_data(data)
                self.read += self._wire.events()
                self._tell()
        self.over = True
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()

    async def next(self, kind: type[wire.Event]) -> wire.Event:
        """The first event of that kind that was read."""
        while not (found := self.of(kind)):
            await self.more()
        return found[0]

    async def more(self) -> None:
        """Until more was read."""
        assert not self.over, "the client ended the connection"
        await self._news.wait()

    def of(self, kind: type[wire.Event]) -> list[wire.Event]:
        return [event for event in self.read if isinstance(event, kind)]

    async def close(self) -> None:
        await self._stream.aclose()


@contextlib.asynccontextmanager
async def talking(
    *frames: bytes | wire.Event, pieces: Iterable[int] = (1 << 20,), queue: int = QUEUE
) -> AsyncIterator[tuple[Client, Server]]:
    """A client and its server, which says `frames` right behind its answer to the upgrade."""
    ours, theirs = memory_stream_pair()
    server = Server(theirs)
    with trio.fail_after(1000):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.listen)
            nursery.start_soon(server.answer, frames, pieces)
            async with client_on(DirectStream(ours), URL, [], queue=queue, message_at_most=AT_MOST) as client:
                yield client, server
            nursery.cancel_scope.cancel("the test is over")


async def told(client: Client) -> tuple[list[str | bytes], int | None]:
    """All that the client receives, and the code with which the connection was closed."""
    found: list[str | bytes] = []
    while True:
        try:
            found.append(await client.receive())
        except ConnectionClosed as closed:
            return found, closed.reason and closed.reason.code


# ---------------------------------------------------------------- what goes where

pieces = st.lists(st.integers(1, 60) | st.just(10_000), min_size=1, max_size=5)
ends = st.none() | st.tuples(codes, texts)


@given(st.lists(messages(), max_size=4), pieces, ends, st.integers(0, 200), st.integers(1, 5))
@settings(max_examples=60)
def test_texts_come_out_in_order_and_pings_are_answered_wherever_the_stream_is_cut(
    batches: list[list[wire.Event]], pieces: list[int], end: tuple[int, str] | None, head: int, queue: int
) -> None:
    events = [event for batch in batches for event in batch]
    whole = [message for message in meaning(events) if isinstance(message, str | bytes)]
    last = wire.CloseConnection(*end) if end else wire.TextMessage("that was all")
    sizes = [head or 1, *pieces]

    async def main() -> None:
        async with talking(*events, last, pieces=sizes, queue=queue) as (client, server):
            if end is None:
                assert [await client.receive() for _ in whole] == whole
                assert await client.receive() == "that was all"
            else:
                assert await told(client) == (whole, end[0])
            await wait_all_tasks_blocked()
            pings = [event.payload for event in events if isinstance(event, wire.Ping)]
            assert [pong.payload for pong in server.of(wire.Pong)] == pings

    trio.run(main, clock=MockClock(autojump_threshold=0))


async def test_a_ping_of_ours_waits_for_its_pong(autojump_clock: MockClock):
    async with talking() as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(client.ping)
        ping = await server.next(wire.Ping)
        await server.say(wire.TextMessage("in between"), wire.Pong(b"of another"))
        assert len(nursery.child_tasks) == 1
        assert isinstance(ping, wire.Ping)
        await server.say(ping.response())
        assert not nursery.child_tasks
        assert await client.receive() == "in between"


async def test_what_is_sent_is_read_by_wsproto_in_order(autojump_clock: MockClock):
    async with talking() as (client, server):
        assert not client.send_now("in memory nothing is sent at once")
        for message in ("first", b"second", "ü" * 70_000):
            await client.send(message)
        await wait_all_tasks_blocked()
        read = [event.data for event in server.of(wire.Message)]
        assert (read[0], bytes(read[1]), "".join(read[2:])) == ("first", b"second", "ü" * 70_000)


async def test_a_refusal_is_told_with_its_status_and_its_body_wherever_it_is_cut(autojump_clock: MockClock):
    answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\nX-Why: key\r\n\r\nno entry!"
    for at in (1, 12, answer.index(b"\r\n\r\n") + 2, len(answer) - 4, len(answer)):
        ours, theirs = memory_stream_pair()

        async def refuse(theirs: trio.abc.Stream = theirs, at: int = at) -> None:
            await theirs.receive_some()
            for piece in (answer[:at], answer[at:]):
                await theirs.send_all(piece)
                await wait_all_tasks_blocked()

        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(refuse)
                with pytest.raises(ConnectionRejected) as caught:
                    async with client_on(DirectStream(ours), URL, [], queue=QUEUE, message_at_most=AT_MOST):
                        pass
        assert (caught.value.status_code, caught.value.body) == (403, b"no entry!")


async def answered(says: bytes, *, lost: bool) -> HandshakeError:
    """How an opening fails to which the server says that, and then ends the connection or loses it."""
    ours, theirs = memory_stream_pair()

    async def end() -> None:
        await theirs.receive_some()
        await theirs.send_all(says)
        await wait_all_tasks_blocked()
        if lost:
            ours.receive_stream.close()
        else:
            await theirs.send_eof()

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(end)
            with pytest.raises(HandshakeError) as caught:
                async with client_on(DirectStream(ours), URL, [], queue=QUEUE, message_at_most=AT_MOST):
                    pass
    return caught.value


@pytest.mark.parametrize("says", [b"", b"HTTP/1.1 101 Switching", b"HTTP/1.1 403 Forbidden\r\n"])
@pytest.mark.parametrize("lost", [True, False])
async def test_a_server_that_ends_the_connection_in_the_head_of_its_answer_is_not_waited_for(
    says: bytes, lost: bool, autojump_clock: MockClock
):
    error = await answered(says, lost=lost)
    assert not isinstance(error, ConnectionRejected)
    assert "ended the connection" in str(error)


ENDED_IN_THE_BODY = [
    (b"HTTP/1.1 401 Unauthorized\r\n\r\n", 401),
    (b"HTTP/1.1 401 Unauthorized\r\n\r\n{'error':", 401),
    (b"HTTP/1.0 401\r\n\r\n", 401),
    (b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 100\r\n\r\n{'error':", 401),
    (b"HTTP/1.1 401 Unauthorized\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{'error'", 401),
    (b"HTTP/1.1 502 Bad Gateway\r\n\r\n<html>", 502),
]


@pytest.mark.parametrize(("says", "status"), ENDED_IN_THE_BODY)
@pytest.mark.parametrize("lost", [True, False])
async def test_a_refusal_whose_body_ends_with_the_connection_is_told_with_its_status(
    says: bytes, status: int, lost: bool, autojump_clock: MockClock
):
    error = await answered(says, lost=lost)
    assert isinstance(error, ConnectionRejected)
    assert error.status_code == status


@pytest.mark.parametrize("pause", [0.0, 0.1, math.inf])
async def test_a_refusal_that_does_not_end_is_told_with_its_status_all_the_same(
    pause: float, autojump_clock: MockClock
):
    ours, theirs = memory_stream_pair()
    sent = 0

    async def go_on() -> None:
        nonlocal sent
        await theirs.receive_some()
        with contextlib.suppress(trio.BrokenResourceError):
            await theirs.send_all(b"HTTP/1.1 401 Unauthorized\r\n\r\n")
            while True:
                await trio.sleep(pause)
                await theirs.send_all(b"x" * 4096)
                sent += 4096
                await wait_all_tasks_blocked()

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(go_on)
        with trio.fail_after(5), pytest.raises(ConnectionRejected) as caught:
            async with client_on(DirectStream(ours), URL, [], queue=QUEUE, message_at_most=AT_MOST):
                pass
        nursery.cancel_scope.cancel("it was told")
    assert caught.value.status_code == 401
    assert sent <= REFUSAL_AT_MOST + 4096
    assert trio.current_time() - began <= REFUSAL_WITHIN + LINGER


# ---------------------------------------------------------------- a reader that is slow, or cancelled


async def test_a_full_queue_stops_the_reading_which_goes_on_later(autojump_clock: MockClock):
    async with talking() as (client, server):
        for number in range(QUEUE):
            await server.say(wire.TextMessage(str(number)))
        await server.say(wire.Ping(b"read yet?"), wire.TextMessage("last"))
        await trio.sleep(10)
        assert server.of(wire.Pong) == []
        assert await client.receive() == "0"
        await wait_all_tasks_blocked()
        assert [pong.payload for pong in server.of(wire.Pong)] == []
        assert [await client.receive() for _ in range(QUEUE)] == ["1", "2", "3", "last"]
        await wait_all_tasks_blocked()
        assert [pong.payload for pong in server.of(wire.Pong)] == [b"read yet?"]


async def test_the_connection_is_open_although_more_came_with_the_answer_than_may_wait(autojump_clock: MockClock):
    many = [wire.TextMessage(str(number)) for number in range(3 * QUEUE)]
    async with talking(*many) as (client, _):
        assert [await client.receive() for _ in many] == [event.data for event in many]


async def test_a_cancelled_reader_has_taken_nothing(autojump_clock: MockClock):
    async with talking() as (client, server):
        for number in range(20):
            with trio.move_on_after(0.1) as early:
                await client.receive()
            assert early.cancelled_caught
            async with trio.open_nursery() as nursery:  # cancelled in the moment in which it comes
                got: list[str | bytes] = []

                async def receive(got: list[str | bytes] = got) -> None:
                    got.append(await client.receive())

                nursery.start_soon(receive)
                await wait_all_tasks_blocked()
                await server.say(wire.TextMessage(str(number)))
                nursery.cancel_scope.cancel("now")
            with trio.CancelScope() as scope:
                scope.cancel("before")
                got.append(await client.receive())
            if not got:
                got.append(await client.receive())
            assert got == [str(number)]


async def test_others_get_their_turn_after_each_text_that_came_with_others(autojump_clock: MockClock):
    many = 50
    async with talking(queue=100) as (client, server):
        await server.say(*(wire.TextMessage(str(number)) for number in range(many)))
        turns = 0
        async with trio.open_nursery() as nursery:

            async def other() -> None:
                nonlocal turns
                while True:
                    turns += 1
                    await trio.lowlevel.checkpoint()

            nursery.start_soon(other)
            for number in range(many):
                assert await client.receive() == str(number)
            nursery.cancel_scope.cancel("all is received")
        assert turns >= many - 1


# ---------------------------------------------------------------- the peer ends it


async def test_what_was_received_before_the_close_is_told_before_it(autojump_clock: MockClock):
    async with talking(wire.TextMessage("a"), wire.TextMessage("b"), wire.CloseConnection(4000, "key")) as (client, _):
        await trio.sleep(1)
        assert await told(client) == (["a", "b"], 4000)
        with pytest.raises(ConnectionClosed):
            client.send_now("too late")
        with pytest.raises(ConnectionClosed):
            await client.send("too late")
        with pytest.raises(ConnectionClosed):
            await client.receive()


async def test_a_close_without_a_code_is_1005(autojump_clock: MockClock):
    async with talking(server_frame(CLOSE, b"")) as (client, _):
        assert await told(client) == ([], 1005)


@pytest.mark.parametrize("in_one_read", [True, False])
async def test_what_comes_behind_a_close_changes_nothing(in_one_read: bool, autojump_clock: MockClock):
    behind = server_frame(PING, b"p") + server_frame(TEXT, b"never") + server_frame(CLOSE, b"") + b"\xff\xff"
    async with talking() as (client, server):
        close = server_frame(CLOSE, close_payload(3000, "invalid_request_error.key"))
        await server.write([close + behind] if in_one_read else [close, behind])
        assert await told(client) == ([], 3000)


async def test_a_connection_that_is_lost_is_told_when_what_came_is_received(autojump_clock: MockClock):
    async with talking(wire.TextMessage("a")) as (client, server):
        await server.close()
        await wait_all_tasks_blocked()
        assert await told(client) == (["a"], 1006)


BROKEN = [
    (server_frame(TEXT, bytes(AT_MOST + 1)), 1009),
    (server_frame(TEXT, bytes(AT_MOST + 1))[:4], 1009),
    (b"\x01\x01x" + b"\x00" + server_frame(TEXT, bytes(AT_MOST))[1:], 1009),
    (client_frame(TEXT, b"masked"), 1002),
    (b"\xc1\x01x", 1002),
    (b"\x81\x01\xff", 1007),
]
"""What the peer sends, and the code with which it is told off."""


@pytest.mark.parametrize(("bad", "code"), BROKEN, ids=range(len(BROKEN)))
@pytest.mark.parametrize("with_the_head", [True, False])
async def test_what_breaks_the_protocol_ends_the_connection_with_its_code(
    bad: bytes, code: int, with_the_head: bool, autojump_clock: MockClock
):
    async with talking(*([bad] if with_the_head else [])) as (client, server):
        if not with_the_head:
            await server.say(wire.TextMessage("good"))
            await server.say(bad)
        assert await told(client) == ([] if with_the_head else ["good"], 1006)
        closing = await server.next(wire.CloseConnection)
        assert isinstance(closing, wire.CloseConnection)
        assert closing.code == code
        with pytest.raises(ConnectionClosed):
            await client.send("too late")


@pytest.mark.parametrize(("bad", "code"), BROKEN, ids=range(len(BROKEN)))
async def test_what_was_good_in_the_same_read_is_received_before_the_connection_ends(
    bad: bytes, code: int, autojump_clock: MockClock
):
    async with talking() as (client, server):
        await server.write([server_frame(TEXT, b"good") + server_frame(TEXT, b"too") + bad])
        assert await told(client) == (["good", "too"], 1006)
        closing = await server.next(wire.CloseConnection)
        assert isinstance(closing, wire.CloseConnection)
        assert closing.code == code


async def test_who_breaks_the_protocol_and_does_not_read_is_not_waited_for(autojump_clock: MockClock):
    async def for_ever() -> None:
        await trio.sleep_forever()

    sends, receives = MemorySendStream(for_ever), MemoryReceiveStream()
    lane = TextLane(DirectStream(trio.StapledStream(sends, receives)), QUEUE, AT_MOST)
    receives.put_data(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
    with trio.fail_after(2 * GOODBYE_WITHIN):
        assert (await lane.receive_some()).startswith(b"HTTP/1.1 101")
        async with trio.open_nursery() as nursery:

            async def receive() -> None:
                with pytest.raises(trio.EndOfChannel):
                    await lane.receive()

            nursery.start_soon(receive)
            await wait_all_tasks_blocked()
            receives.put_data(client_frame(TEXT, b"masked"))
            with pytest.raises(trio.BrokenResourceError, match="broke the protocol"):
                await lane.receive_some()


# ---------------------------------------------------------------- it is ended here


async def test_leaving_says_goodbye_with_1000(autojump_clock: MockClock):
    async with talking() as (_, server):
        pass
    assert [closing.code for closing in server.of(wire.CloseConnection)] == [1000]


@pytest.mark.parametrize("waiting", [0, 1, 2 * QUEUE])
async def test_a_close_of_ours_is_over_when_the_peer_closes_too_whatever_waits(waiting: int, autojump_clock: MockClock):
    async with talking() as (client, server), trio.open_nursery() as nursery:
        await server.write([server_frame(TEXT, b"x")] * waiting)
        nursery.start_soon(client.aclose, 4001)
        closing = await server.next(wire.CloseConnection)
        assert isinstance(closing, wire.CloseConnection)
        assert closing.code == 4001
        await server.say(closing.response())
        assert not nursery.child_tasks
        with pytest.raises(ConnectionClosed):
            await client.send("too late")


async def test_a_reader_is_told_when_the_connection_is_closed_or_dropped_here(autojump_clock: MockClock):
    for end in (Client.aclose, Client.drop):
        async with talking() as (client, _), trio.open_nursery() as nursery:

            async def receive(client: Client = client) -> None:
                with pytest.raises(ConnectionClosed):
                    await client.receive()
                nursery.cancel_scope.cancel("it was told")

            nursery.start_soon(receive)
            await wait_all_tasks_blocked()
            await end(client)


# ---------------------------------------------------------------- on a real socket


@attrs.frozen
class Wires:
    """Two connected sockets that hold little."""

    ours: trio.SocketStream
    theirs: trio.SocketStream


@pytest.fixture
async def wires() -> AsyncIterator[Wires]:
    pair = socket.socketpair()
    for end in pair:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    ours, theirs = (trio.SocketStream(trio.socket.from_stdlib_socket(end)) for end in pair)
    yield Wires(ours, theirs)
    await trio.aclose_forcefully(ours)
    await trio.aclose_forcefully(theirs)


async def test_what_the_socket_did_not_take_at_once_is_sent_on_also_after_a_ping(wires: Wires):
    server = Server(wires.theirs)
    reading = trio.CancelScope()

    async def listen() -> None:
        with reading:
            await server.listen()

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.answer, [], [1 << 20])
            nursery.start_soon(listen)
            async with client_on(DirectStream(wires.ours), URL, [], queue=QUEUE, message_at_most=AT_MOST) as client:
                nursery.start_soon(client.send_on)
                nursery.start_soon(client.ping)
                await server.next(wire.Ping)
                reading.cancel("the server is slow")
                await wait_all_tasks_blocked()
                sent = 0
                while client.send_now("x" * 1000):
                    sent += 1
                reading = trio.CancelScope()
                nursery.start_soon(listen)
                while sum(len(event.data) for event in server.of(wire.TextMessage)) < sent * 1000:
                    await server.more()
                assert sent
                nursery.cancel_scope.cancel("all was sent")


async def test_a_connection_that_is_dropped_while_something_is_unsent_leaves_no_error(wires: Wires):
    lane = TextLane(DirectStream(wires.ours), QUEUE, AT_MOST)
    with trio.fail_after(PATIENCE):
        while lane.send_now("x" * 1000):
            pass
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lane.send_on)
            await wait_all_tasks_blocked()
            await lane.aclose()
        await lane.send_on()
        await lane.say_goodbye()
        with pytest.raises(trio.ClosedResourceError):
            await lane.send("too late")
