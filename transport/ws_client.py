"""Opening a WebSocket as a client: trio-websocket on a TCP connection that is ours, and closed in any case.

Its own `open_websocket_url` leaves the connection open when the handshake fails or the peer closes first, and lets a
protocol error of the peer through as whatever its parser raised.
"""

import contextlib
import functools
import ssl
from collections.abc import AsyncIterator
from urllib.parse import SplitResult, urlsplit

import h11
import trio
import wsproto.utilities
from trio_websocket import HandshakeError, WebSocketConnection, wrap_client_stream

from transport.model_lane import say_goodbye

Headers = list[tuple[bytes, bytes]]
LINGER = 0.25
"""Seconds for the peer to answer our close: a connection with unread data is reset, and the close frame lost with it."""


@contextlib.asynccontextmanager
async def open_client(
    url: str, headers: Headers, *, queue: int, message_at_most: int
) -> AsyncIterator[WebSocketConnection]:
    """A connection to `url`, closed with 1000 at the end. Opening is bounded by the caller's cancel scope.

    `queue`: messages that may wait for a reader; `message_at_most`: bytes. Raises HandshakeError (ConnectionRejected with
    the HTTP status) or OSError when it cannot be opened.
    """
    parts = urlsplit(url)
    stream = await _connect(parts)
    refused: HandshakeError | OSError | None = None
    opened = False
    of_body: Exception | None = None
    try:
        async with trio.open_nursery() as nursery:
            connection = await wrap_client_stream(
                nursery,
                stream,
                parts.netloc,
                (parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
                extra_headers=headers,
                message_queue_size=queue,
                max_message_size=message_at_most,
            )
            opened = True
            try:
                yield connection
            except Exception as error:
                of_body = error
                raise
            finally:
                await say_goodbye(connection)  # noqa: ASYNC102 - it has its own shield and limit
            nursery.cancel_scope.cancel("the connection is over")
    except BaseExceptionGroup as errors:
        if of_body is not None:
            raise of_body from None  # plain, as it was: the nursery around it is our affair
        refused = _refusal(errors)
        if refused is None:
            raise
    finally:
        over = (
            trio.BrokenResourceError,
            trio.ClosedResourceError,
            OSError,
        )  # closed: by the library, after the goodbye
        with trio.move_on_after(LINGER, shield=True), contextlib.suppress(*over):
            while opened and await stream.receive_some(65536):
                pass
        await trio.aclose_forcefully(stream)
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


async def _connect(parts: SplitResult) -> trio.SocketStream | trio.SSLStream[trio.SocketStream]:
    host, secure = parts.hostname or "", parts.scheme == "wss"
    tcp = await trio.open_tcp_stream(host, parts.port or (443 if secure else 80))
    if not secure:
        return tcp
    stream = trio.SSLStream(tcp, _trust(), server_hostname=host, https_compatible=True)
    try:
        await stream.do_handshake()
    except trio.BrokenResourceError as error:
        await trio.aclose_forcefully(tcp)
        raise ConnectionError(f"TLS: {error.__cause__ or error}") from error
    except BaseException:
        await trio.aclose_forcefully(tcp)
        raise
    return stream
