"""The model lane: the caller's audio onto a trio-websocket connection, 50 frames a second, without its costly path.

trio-websocket opens, authenticates, reads and closes the connection. Only text frames of ours go past it: wsproto keeps no
state for whole text messages, so a frame built by our codec and written under trio-websocket's own lock is the same bytes
on the wire for a fifth of the time. This is the one place that leans on its private names (`_stream`, `_stream_lock`).
"""

import os
from contextlib import suppress

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection

from transport.ws_codec import CLOSE, NORMAL, TEXT, client_frame, close_payload

GOODBYE_WITHIN = 0.25
"""Seconds a close frame may take to be written; a caller may be waiting behind it."""


async def send_text(connection: WebSocketConnection, text: str) -> None:
    """Sends one text message. Where the socket takes it at once nothing is waited for, not even a checkpoint.

    Raises ConnectionClosed (from trio-websocket) or trio.BrokenResourceError when the connection is gone.
    A cancelled send tears the connection, as with `send_message`.
    """
    if connection.closed is not None:
        raise ConnectionClosed(connection.closed)
    await _put(connection, client_frame(TEXT, text.encode()))


async def say_goodbye(connection: WebSocketConnection) -> None:
    """Sends a close frame (1000) and waits for no answer: the connection is dropped next. Raises nothing."""
    with trio.move_on_after(GOODBYE_WITHIN, shield=True):
        if connection.closed is None:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await _put(connection, client_frame(CLOSE, close_payload(NORMAL, "")))


async def _put(connection: WebSocketConnection, frame: bytes) -> None:
    stream: trio.abc.Stream = connection._stream
    lock: trio.StrictFIFOLock = connection._stream_lock
    if isinstance(stream, trio.SocketStream) and not lock.locked():
        try:
            sent = os.write(stream.socket.fileno(), frame)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise trio.BrokenResourceError(str(error)) from None
        if sent == len(frame):
            return
        frame = frame[sent:]
    async with lock:
        await stream.send_all(frame)
