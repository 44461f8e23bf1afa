"""DirectStream on real sockets, with TLS and without: whole and in order to a peer that reads slowly, and every kind of end."""

import contextlib
import os
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable

import attrs
import pytest
import trio
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from tests.kit.patience import PATIENCE
from transport.direct_stream import READ_AT_ONCE, DirectStream

SMALL = 4096
"""Bytes that a socket here is asked to hold at most: the system makes a few more of it."""
MORE_THAN_FITS = 400_000
GONE = (trio.BrokenResourceError, trio.ClosedResourceError)
NUMBERED = struct.Struct("!HI")
"""Before each message of the mixtures: its number, and its size."""


@attrs.frozen
class Certificates:
    """A server's, and what a client knows of it."""

    server: ssl.SSLContext
    client: ssl.SSLContext
    stranger: ssl.SSLContext
    """A client that has never heard of who signed it."""


def make_certificates() -> Certificates:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return Certificates(server, client, ssl.create_default_context())


@pytest.fixture(scope="module")
def certificates() -> Certificates:
    return make_certificates()


@pytest.fixture(params=["plain", "tls"])
def tls(request: pytest.FixtureRequest, certificates: Certificates) -> Certificates | None:
    """For what holds with TLS and without."""
    return certificates if request.param == "tls" else None


@attrs.frozen
class Line:
    """A connection: our end, and the peer's, in somebody else's code."""

    ours: DirectStream
    theirs: trio.abc.Stream
    socket: trio.SocketStream
    """The peer's, below TLS."""


def pair_of_sockets() -> tuple[trio.SocketStream, trio.SocketStream]:
    """Without the delays by which TCP spares a small buffer."""
    ends = socket.socketpair()
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
    ours, theirs = (trio.SocketStream(trio.socket.from_stdlib_socket(end)) for end in ends)
    return ours, theirs


async def tcp_connection() -> tuple[trio.SocketStream, trio.SocketStream]:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        ours = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
        return ours, await listener.accept()


@contextlib.asynccontextmanager
async def a_line(tls: Certificates | None, ends: tuple[trio.SocketStream, trio.SocketStream]) -> AsyncIterator[Line]:
    ours, theirs = ends
    try:
        with trio.fail_after(PATIENCE):
            if tls is None:
                yield Line(DirectStream(ours), theirs, theirs)
                return
            stream = DirectStream(ours, (tls.client, "localhost"))
            peer = trio.SSLStream(theirs, tls.server, server_side=True)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(peer.do_handshake)
                await stream.do_handshake()
            yield Line(stream, peer, theirs)
    finally:
        await trio.aclose_forcefully(ours)
        await trio.aclose_forcefully(theirs)


async def read_exactly(stream: trio.abc.ReceiveStream, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := await stream.receive_some(size - len(data))):
        data += more
    return data


def fill(stream: DirectStream) -> bytes:
    """Sends until the socket takes no more; what was sent."""
    sent = b""
    while not stream.busy:
        sent += (piece := bytes([len(sent) % 251]) * 3000)
        assert stream.send_now(piece)
    return sent


# ---------------------------------------------------------------- in order, whole

sizes = st.integers(0, 300) | st.integers(0, 30_000)
steps = st.lists(
    st.tuples(st.just("now"), sizes)
    | st.tuples(st.just("all"), sizes)
    | st.tuples(st.sampled_from(["flush", "cancel"]), st.integers(0, 3))
    | st.tuples(st.just("peer reads"), st.integers(1, 20_000)),
    max_size=25,
)


class Mixture:
    """Does the steps one after the other, and knows what the peer must have read in the end."""

    def __init__(self, line: Line, nursery: trio.Nursery) -> None:
        self._line, self._nursery = line, nursery
        self._allow, self._allowed = trio.open_memory_channel[int](1000)
        self._got = b""
        self._sent: list[tuple[int, bytes]] = []
        self._unsure: set[int] = set()
        """Numbers of those who were cancelled: whole, or not at all."""
        self._under_way: list[tuple[int, trio.CancelScope]] = []
        nursery.start_soon(self._peer)

    async def _peer(self) -> None:
        async for size in self._allowed:
            self._got += await self._line.theirs.receive_some(size)

    async def _run(self, number: int, scope: trio.CancelScope, act: Callable[[], Awaitable[None]]) -> None:
        with scope:
            await act()
            self._under_way.remove((number, scope))
        if scope.cancelled_caught:
            self._unsure.add(number)

    async def _begin(self, number: int, act: Callable[[], Awaitable[None]]) -> None:
        scope = trio.CancelScope()
        self._under_way.append((number, scope))
        self._nursery.start_soon(self._run, number, scope, act)
        await wait_all_tasks_blocked()

    async def do(self, number: int, what: str, size: int) -> None:
        ours = self._line.ours
        message = NUMBERED.pack(number, size) + bytes([number % 251]) * size
        if what == "now":
            unsent = ours.busy
            if ours.send_now(message):
                assert not unsent
                self._sent.append((number, message))
            else:
                assert unsent
                assert ours.busy
        elif what == "all":
            self._sent.append((number, message))
            await self._begin(number, lambda: ours.send_all(message))
        elif what == "flush":
            await self._begin(number, ours.flush)
        elif what == "cancel" and len(self._under_way) > size:
            self._under_way.pop(size)[1].cancel("the test says so")
            await wait_all_tasks_blocked()
        elif what == "peer reads":
            self._allow.send_nowait(size)
            await wait_all_tasks_blocked()

    async def end(self) -> None:
        """Everything is read; it must be what was sent."""
        last = NUMBERED.pack(0xFFFF, 0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._line.ours.send_all, last)
            while not self._got.endswith(last):
                self._allow.send_nowait(50_000)
                await wait_all_tasks_blocked()
        assert not self._under_way
        assert not self._line.ours.busy
        at, read = 0, list[tuple[int, bytes]]()
        while at < len(self._got):
            number, size = NUMBERED.unpack_from(self._got, at)
            read.append((number, self._got[at : at + NUMBERED.size + size]))
            at += NUMBERED.size + size
        numbers = {number for number, _ in read}
        assert read[:-1] == [each for each in self._sent if each[0] in numbers or each[0] not in self._unsure]


@pytest.mark.parametrize("with_tls", [False, True])
def test_whatever_is_mixed_and_cancelled_the_peer_reads_whole_messages_in_order(with_tls: bool) -> None:
    certificates = make_certificates() if with_tls else None

    @given(steps)
    @settings(max_examples=40, deadline=None)
    def check(steps: list[tuple[str, int]]) -> None:
        async def main() -> None:
            async with a_line(certificates, pair_of_sockets()) as line, trio.open_nursery() as nursery:
                mixture = Mixture(line, nursery)
                for number, (what, size) in enumerate(steps):
                    await mixture.do(number, what, size)
                await mixture.end()
                nursery.cancel_scope.cancel("all is read")

        trio.run(main)

    check()


async def test_what_the_socket_did_not_take_is_sent_by_flush_when_the_sender_was_cancelled(tls: Certificates | None):
    async with a_line(tls, pair_of_sockets()) as line:
        sent = bytes(range(250)) * 800
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(line.ours.send_all, sent)
                await wait_all_tasks_blocked()
                assert line.ours.busy
                assert not line.ours.send_now(b"not in between")
                scope.cancel("in the middle of it")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(line.ours.flush)
            assert await read_exactly(line.theirs, len(sent)) == sent
        assert not line.ours.busy
        assert line.ours.send_now(b"afterwards")
        assert await line.theirs.receive_some() == b"afterwards"


async def test_who_is_cancelled_before_the_socket_had_room_has_sent_nothing(tls: Certificates | None):
    async with a_line(tls, pair_of_sockets()) as line:
        sent = fill(line.ours)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(line.ours.send_all, b"never")
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel("it waits for its turn")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(line.ours.send_all, b"end")
            assert await read_exactly(line.theirs, len(sent) + 3) == sent + b"end"


async def test_who_sends_at_once_does_not_overtake_who_has_waited_for_it(tls: Certificates | None):
    async with a_line(tls, pair_of_sockets()) as line:
        began: list[bool] = []

        async def first() -> None:
            await line.ours.send_all(bytes(MORE_THAN_FITS))
            began.append(line.ours.send_now(b"overtaking"))  # the next one is woken, and has not run yet

        async with trio.open_nursery() as nursery:
            nursery.start_soon(first)
            await wait_all_tasks_blocked()
            nursery.start_soon(line.ours.send_all, b"second")
            await wait_all_tasks_blocked()
            assert await read_exactly(line.theirs, MORE_THAN_FITS + 6) == bytes(MORE_THAN_FITS) + b"second"
        assert began == [False]


async def test_whoever_waits_for_something_unsent_is_told_however_much_was_sent_meanwhile(tls: Certificates | None):
    async with a_line(tls, pair_of_sockets()) as line:
        told: list[str] = []

        async def send_on() -> None:
            await line.ours.unsent()
            told.append("unsent")
            await line.ours.flush()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_on)
            await wait_all_tasks_blocked()
            await line.ours.send_all(b"taken at once")
            await line.ours.flush()
            assert not told
            sent = b"taken at once" + fill(line.ours)
            assert await read_exactly(line.theirs, len(sent)) == sent
        assert told == ["unsent"]
        assert not line.ours.busy


async def test_nothing_is_a_thing_that_can_be_sent(tls: Certificates | None):
    async with a_line(tls, pair_of_sockets()) as line:
        assert line.ours.send_now(b"")
        await line.ours.send_all(b"")
        await line.ours.send_all(b"x")
        assert await line.theirs.receive_some() == b"x"


async def test_what_comes_is_read_as_it_was_sent_and_a_cancelled_reader_has_taken_nothing(tls: Certificates | None):
    async with a_line(tls, pair_of_sockets()) as line:
        sent = os.urandom(5 * READ_AT_ONCE + 1)
        got = b""
        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as scope:
                scope.cancel("before there is anything")
                await line.ours.receive_some()
            assert scope.cancelled_caught
            nursery.start_soon(line.theirs.send_all, sent)
            while len(got) < len(sent):
                with trio.CancelScope() as scope:
                    if len(got) % 2:
                        scope.cancel("although there is something")
                    got += await line.ours.receive_some()
                if scope.cancelled_caught:
                    got += await line.ours.receive_some()
        assert got == sent


async def test_without_tls_no_more_is_read_than_was_asked_for():
    async with a_line(None, pair_of_sockets()) as line:
        await line.theirs.send_all(b"hello")
        assert [await line.ours.receive_some(2) for _ in range(3)] == [b"he", b"ll", b"o"]


async def test_over_a_stream_in_memory_nothing_is_sent_at_once():
    ours, theirs = memory_stream_pair()
    stream = DirectStream(ours)
    with trio.fail_after(PATIENCE):
        assert not stream.send_now(b"x")
        await stream.send_all(b"hello")
        assert (await theirs.receive_some(), stream.busy) == (b"hello", False)
        await theirs.send_all(b"and back")
        assert await stream.receive_some() == b"and back"
        await stream.aclose()
        assert await theirs.receive_some() == b""


async def test_over_a_stream_in_memory_tls_is_spoken_too(certificates: Certificates):
    ours, theirs = memory_stream_pair()
    stream = DirectStream(ours, (certificates.client, "localhost"))
    peer = trio.SSLStream(theirs, certificates.server, server_side=True)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.do_handshake)
            await stream.do_handshake()
        assert not stream.send_now(b"x")
        await stream.send_all(b"hello")
        await peer.send_all(b"and back")
        assert (await peer.receive_some(), await stream.receive_some()) == (b"hello", b"and back")


# ---------------------------------------------------------------- the peer ends it


async def test_the_peers_close_is_an_end_and_stays_one(tls: Certificates | None):
    async with a_line(tls, await tcp_connection()) as line:
        await line.theirs.send_all(b"last words")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(line.theirs.aclose)
            assert await line.ours.receive_some() == b"last words"
            assert [await line.ours.receive_some() for _ in range(3)] == [b""] * 3


async def test_the_peers_last_words_and_its_farewell_in_one_read_are_both_told(certificates: Certificates):
    async with a_line(certificates, pair_of_sockets()) as line:
        await line.theirs.send_all(b"last words")
        with trio.move_on_after(0):
            await line.theirs.aclose()  # all is there before the first byte is read
        assert [await line.ours.receive_some() for _ in range(3)] == [b"last words", b"", b""]


async def test_a_connection_that_the_peer_resets_is_broken(tls: Certificates | None):
    async with a_line(tls, await tcp_connection()) as line:
        line.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await trio.aclose_forcefully(line.socket)
        with pytest.raises(trio.BrokenResourceError):
            await line.ours.receive_some()
        with pytest.raises(trio.BrokenResourceError):
            await line.ours.send_all(b"hello")
        with pytest.raises(trio.BrokenResourceError):
            line.ours.send_now(b"hello")


async def test_whoever_waits_to_send_when_the_peer_resets_is_told(tls: Certificates | None):
    async with a_line(tls, await tcp_connection()) as line:

        async def send() -> None:
            with pytest.raises(trio.BrokenResourceError):
                await line.ours.send_all(bytes(20 * MORE_THAN_FITS))
            told.append("broken")

        told: list[str] = []
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(send)
            await wait_all_tasks_blocked()
            line.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await trio.aclose_forcefully(line.socket)
        assert told == ["broken"] * 3


GARBAGE = [b"\x17\x03\x03\x00\x20" + b"\x55" * 32, b"GET / HTTP/1.1\r\n\r\n"]
"""A record that was not sealed with the right key, and what is no record at all."""


@pytest.mark.parametrize("garbage", GARBAGE)
async def test_garbage_in_the_middle_of_tls_breaks_the_connection_and_the_peer_is_told(
    certificates: Certificates, garbage: bytes
):
    async with a_line(certificates, pair_of_sockets()) as line:
        await line.socket.send_all(garbage)
        for _ in range(2):
            with pytest.raises(trio.BrokenResourceError, match="TLS"):
                await line.ours.receive_some()
        with pytest.raises(trio.BrokenResourceError, match="TLS"):
            line.ours.send_now(b"hello")
        with pytest.raises(trio.BrokenResourceError) as caught:
            await line.theirs.receive_some()
        assert "alert" in str(caught.value.__cause__).lower()


@pytest.mark.parametrize("garbage", GARBAGE)
async def test_what_came_whole_before_the_garbage_is_read_first(certificates: Certificates, garbage: bytes):
    async with a_line(certificates, pair_of_sockets()) as line:
        await line.theirs.send_all(b"good")
        await line.socket.send_all(garbage)
        assert await line.ours.receive_some() == b"good"
        with pytest.raises(trio.BrokenResourceError, match="TLS"):
            await line.ours.receive_some()  # at once: nothing more comes


async def test_what_came_before_the_garbage_is_read_although_nobody_can_be_told_of_it(certificates: Certificates):
    async with a_line(certificates, pair_of_sockets()) as line:
        await line.theirs.send_all(b"good")
        await line.socket.send_all(GARBAGE[0])
        await trio.aclose_forcefully(line.socket)
        assert await line.ours.receive_some() == b"good"
        with pytest.raises(trio.BrokenResourceError):
            await line.ours.receive_some()


@pytest.mark.parametrize("known", [True, False])
async def test_a_certificate_that_cannot_be_trusted_is_refused_and_the_server_is_told(
    certificates: Certificates, known: bool
):
    ours, theirs = pair_of_sockets()
    peer = trio.SSLStream(theirs, certificates.server, server_side=True)
    context, name = (certificates.client, "elsewhere.example.com") if known else (certificates.stranger, "localhost")
    stream = DirectStream(ours, (context, name))

    async def serve() -> None:
        with pytest.raises(trio.BrokenResourceError) as caught:
            await peer.do_handshake()
        assert "alert" in str(caught.value.__cause__).lower()

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            with pytest.raises(ssl.SSLCertVerificationError):
                await stream.do_handshake()
        await stream.aclose()
        await trio.aclose_forcefully(theirs)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
async def test_a_server_that_does_not_speak_tls_is_an_error_of_tls(certificates: Certificates, answer: bytes):
    ours, theirs = pair_of_sockets()
    stream = DirectStream(ours, (certificates.client, "localhost"))
    with trio.fail_after(PATIENCE):
        await theirs.send_all(answer)
        await theirs.send_eof()
        with pytest.raises(ssl.SSLError):
            await stream.do_handshake()
        await stream.aclose()
        await trio.aclose_forcefully(theirs)


# ---------------------------------------------------------------- it is ended here


async def test_a_reader_is_told_when_the_connection_is_closed_here(tls: Certificates | None):
    async with a_line(tls, pair_of_sockets()) as line:

        async def read() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await line.ours.receive_some()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await wait_all_tasks_blocked()
            await line.ours.aclose()
        assert await line.theirs.receive_some() == b"", "and with TLS the peer was told properly"


async def test_all_who_send_are_told_when_the_connection_is_closed_here(tls: Certificates | None):
    async with a_line(tls, pair_of_sockets()) as line:
        told: list[str] = []

        async def gone(act: Callable[[], Awaitable[None]]) -> None:
            with pytest.raises(GONE):
                await act()
            told.append("gone")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(gone, lambda: line.ours.send_all(bytes(MORE_THAN_FITS)))
            await wait_all_tasks_blocked()
            nursery.start_soon(gone, lambda: line.ours.send_all(b"waits for its turn"))
            nursery.start_soon(gone, line.ours.flush)
            await wait_all_tasks_blocked()
            await line.ours.aclose()
        await gone(line.ours.flush)
        await gone(lambda: line.ours.send_all(b"too late"))
        await gone(line.ours.wait_send_all_might_not_block)
        assert told == ["gone"] * 6


async def test_closing_twice_is_closing_once(tls: Certificates | None):
    async with a_line(tls, pair_of_sockets()) as line:
        await line.ours.aclose()
        await line.ours.aclose()
        assert await line.theirs.receive_some() == b""


async def test_the_number_of_a_closed_socket_is_not_used_again_when_another_has_it(tls: Certificates | None):
    for unsent in (False, True):
        ours, theirs = pair_of_sockets()
        number = ours.socket.fileno()
        async with a_line(tls, (ours, theirs)) as line:
            if unsent:
                fill(line.ours)
            async with trio.open_nursery() as nursery:

                async def read(line: Line = line) -> None:
                    with pytest.raises(GONE):
                        await line.ours.receive_some()

                nursery.start_soon(read)
                await wait_all_tasks_blocked()
                await line.ours.aclose()
                near, far = socket.socketpair()
                if far.fileno() == number:
                    near, far = far, near
                with near, far:
                    if near.fileno() != number:
                        os.dup2(near.fileno(), number)
                    far.send(b"for somebody else")
                    for act in (lambda: line.ours.send_all(b"x"), line.ours.receive_some):
                        with pytest.raises(GONE):
                            await act()
                    with contextlib.suppress(*GONE):
                        assert not line.ours.send_now(b"x")
                    far.setblocking(False)
                    with pytest.raises(BlockingIOError):
                        far.recv(1)
                    assert near.recv(100) == b"for somebody else"
                    if near.fileno() != number:
                        os.close(number)
