"""Opening a WebSocket as a client: trio-websocket on a TCP connection that is ours, and closed in any case.

Its own `open_websocket_url` leaves the connection open when the handshake fails or the peer closes first, and lets a
protocol error of the peer through as whatever its parser raised.
"""

import contextlib
import functools
import ssl
from collections.abc import AsyncIterator
from typing import cast
from urllib.parse import SplitResult, urlsplit

import attrs
import h11
import trio
import wsproto.utilities
from trio_websocket import ConnectionClosed, HandshakeError, WebSocketConnection, wrap_client_stream

from transport.direct_stream import DirectStream
from transport.model_lane import TextLane

Headers = list[tuple[bytes, bytes]]
LINGER = 0.25
"""Seconds for the peer to answer our close: a connection with unread data is reset, and the close frame lost with it."""

GONE = (trio.BrokenResourceError, trio.ClosedResourceError)


@attrs.frozen
class Client:
    """One open WebSocket. All raise trio_websocket.ConnectionClosed when it is closed or lost."""

    _connection: WebSocketConnection
    _lane: TextLane

    def send_now(self, text: str) -> bool:
        """Sends one text message without waiting; False, and nothing is sent, if the connection is busy."""
        self._raise_if_closed()
        try:
            return self._lane.send_now(text)
        except GONE:
            return False  # whoever sends next, or reads, is told

    async def send(self, message: str | bytes) -> None:
        """Sends one message. Concurrent ones keep their order. Cancelled, it was sent whole or not at all."""
        self._raise_if_closed()
        try:
            await self._lane.send(message)
        except GONE:
            self._raise_if_closed()
            raise ConnectionClosed(None) from None

    async def receive(self) -> str | bytes:
        """The next message; loses nothing when cancelled."""
        try:
            return await self._lane.receive()
        except trio.EndOfChannel:
            return await self._connection.get_message()  # which knows why there is none

    async def ping(self) -> None:
        """Pings, and waits for the pong."""
        await self._connection.ping()

    async def send_on(self) -> None:
        """Sends what the connection did not take at once; runs beside whoever uses `send_now`."""
        await self._lane.send_on()

    async def aclose(self, code: int = 1000) -> None:
        """Closes, and waits for the peer to do the same."""
        self._lane.closes()
        await self._connection.aclose(code)

    async def drop(self) -> None:
        """Ends the connection without a word."""
        await trio.aclose_forcefully(self._lane)

    def _raise_if_closed(self) -> None:
        if self._connection.closed is not None:
            raise ConnectionClosed(self._connection.closed)


@contextlib.asynccontextmanager
async def open_client(url: str, headers: Headers, *, queue: int, message_at_most: int) -> AsyncIterator[Client]:
    """A connection to `url`, closed with 1000 at the end. Opening is bounded by the caller's cancel scope.

    `queue`: messages that may wait for a reader; `message_at_most`: bytes. Raises HandshakeError (ConnectionRejected with
    the HTTP status) or OSError when it cannot be opened.
    """
    parts = urlsplit(url)
    async with client_on(await _connect(parts), parts, headers, queue=queue, message_at_most=message_at_most) as client:
        yield client


@contextlib.asynccontextmanager
async def client_on(
    stream: DirectStream, parts: SplitResult, headers: Headers, *, queue: int, message_at_most: int
) -> AsyncIterator[Client]:
    """As `open_client`, on a connection that is there."""
    lane = TextLane(stream, queue, message_at_most)
    refused: HandshakeError | OSError | None = None
    opened = False
    of_body: Exception | None = None
    try:
        async with trio.open_nursery() as nursery:
            connection = await wrap_client_stream(
                nursery,
                cast("trio.SocketStream", lane),  # any stream will do
                parts.netloc,
                (parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
                extra_headers=headers,
            )
            opened = True
            try:
                yield Client(connection, lane)
            except Exception as error:
                of_body = error
                raise
            finally:
                if connection.closed is None:
                    await lane.say_goodbye()  # noqa: ASYNC102 - it has its own shield and limit
            nursery.cancel_scope.cancel("the connection is over")
    except BaseExceptionGroup as errors:
        if of_body is not None:
            raise of_body from None  # plain, as it was: the nursery around it is our affair
        refused = _refusal(errors)
        if refused is None:
            raise
    finally:
        over = (*GONE, OSError)  # closed: by the library, after the goodbye
        with trio.move_on_after(LINGER, shield=True), contextlib.suppress(*over):
            while opened and await stream.receive_some():
                pass
        await trio.aclose_forcefully(lane)
    if refused is not None:
        raise refused


def _refusal(errors: BaseExceptionGroup[BaseException]) -> HandshakeError | OSError | None:
    """What the peer did wrong, if nothing else is in `errors`."""
    theirs, others = errors.split((HandshakeError, h11.ProtocolError, wsproto.utilities.ProtocolError))
    if theirs is None or others is not None:
        return None
    error: BaseException = theirs
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error if isinstance(error, HandshakeError) else ConnectionError(f"the peer broke the protocol: {error}")


@functools.cache
def _trust() -> ssl.SSLContext:
    """The system's certificates, read once: reading them takes longer than a frame of audio."""
    return ssl.create_default_context()


async def _connect(parts: SplitResult) -> DirectStream:
    host, secure = parts.hostname or "", parts.scheme == "wss"
    tcp = await trio.open_tcp_stream(host, parts.port or (443 if secure else 80))
    if not secure:
        return DirectStream(tcp)
    stream = DirectStream(tcp, (_trust(), host))
    try:
        await stream.do_handshake()
    except (ssl.SSLError, trio.BrokenResourceError) as error:
        await trio.aclose_forcefully(tcp)
        raise ConnectionError(f"TLS: {error}") from error
    except BaseException:
        await trio.aclose_forcefully(tcp)
        raise
    return stream
