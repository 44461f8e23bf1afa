"""Opening a WebSocket as a client: TLS, what is refused and how it is told, and that errors of the body come plain."""

import contextlib
import socket
import ssl
from collections.abc import AsyncIterator

import pytest
import trio
import trio_websocket
import trustme

from tests.kit.patience import PATIENCE
from transport import ws_client
from transport.ws_client import open_client
from transport.ws_codec import PING, server_frame


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@contextlib.asynccontextmanager
async def echo_server(authority: trustme.CA | None = None, name: str = "localhost") -> AsyncIterator[int]:
    """A WebSocket server that sends back what it gets: its port."""
    context = None
    if authority is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(context)

    async def echo(request: trio_websocket.WebSocketRequest) -> None:
        connection = await request.accept()
        with contextlib.suppress(trio_websocket.ConnectionClosed):
            while True:
                await connection.send_message(await connection.get_message())

    async with trio.open_nursery() as nursery:
        # A client that breaks off its handshake is an error of the library's handler: not what is tested here.
        server = await nursery.start(trio_websocket.serve_websocket, echo, "127.0.0.1", 0, context)
        yield server.port
        nursery.cancel_scope.cancel("the test is over")


def trusting(monkeypatch: pytest.MonkeyPatch, authority: trustme.CA | None) -> None:
    context = ssl.create_default_context()
    if authority is not None:
        authority.configure_trust(context)
    monkeypatch.setattr(ws_client, "_trust", lambda: context)


async def said(url: str) -> str | bytes:
    with trio.fail_after(PATIENCE):
        async with open_client(url, [], queue=4, message_at_most=1000) as connection:
            await connection.send("hello")
            return await connection.receive()


async def test_a_model_behind_tls_is_talked_to(monkeypatch: pytest.MonkeyPatch, authority: trustme.CA):
    trusting(monkeypatch, authority)
    async with echo_server(authority) as port:
        assert await said(f"wss://localhost:{port}/v1") == "hello"


@pytest.mark.parametrize("name", ["localhost", "elsewhere.example.com"])
async def test_a_certificate_that_is_not_to_be_trusted_is_refused_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, authority: trustme.CA, name: str
):
    trusting(monkeypatch, None if name == "localhost" else authority)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)

    async def shake(stream: trio.SocketStream) -> None:
        with contextlib.suppress(trio.BrokenResourceError):
            await trio.SSLStream(stream, context, server_side=True).do_handshake()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, shake, 0)
        port = listeners[0].socket.getsockname()[1]
        with pytest.raises(ConnectionError, match=r"TLS: .*certificate"):
            await said(f"wss://localhost:{port}/v1")
        nursery.cancel_scope.cancel("the test is over")


async def test_a_port_that_nobody_listens_on_is_an_error_of_the_system():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match="attempts to connect"):
            await said(f"ws://127.0.0.1:{taken.getsockname()[1]}/v1")


async def test_an_error_of_the_body_comes_as_it_was_raised():
    async with echo_server() as port:
        with pytest.raises(KeyError, match="of the body"):
            async with open_client(f"ws://127.0.0.1:{port}/v1", [], queue=4, message_at_most=1000):
                raise KeyError("of the body")


async def test_the_certificates_of_the_system_are_read_once():
    assert ws_client._trust() is ws_client._trust()


async def test_a_ping_that_crosses_our_close_is_no_error():
    async def pings(stream: trio.SocketStream) -> None:
        request = await trio_websocket.wrap_server_stream(nursery, stream)
        connection = await request.accept()
        with contextlib.suppress(trio_websocket.ConnectionClosed):
            await connection.get_message()
            await stream.send_all(server_frame(PING, b"still there?"))
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, pings, 0)
        url = f"ws://127.0.0.1:{listeners[0].socket.getsockname()[1]}/v1"
        with trio.fail_after(PATIENCE):
            async with open_client(url, [], queue=4, message_at_most=1000) as client:
                await client.send("hello")
                await client.aclose()
        nursery.cancel_scope.cancel("the test is over")


async def test_a_stream_that_the_library_has_closed_already_is_left_without_an_error():
    async with (
        echo_server() as port,
        open_client(f"ws://127.0.0.1:{port}/v1", [], queue=4, message_at_most=1000) as connection,
    ):
        await connection.aclose()
        await connection.drop()
