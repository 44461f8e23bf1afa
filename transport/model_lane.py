"""The model lane: the caller's audio onto a trio-websocket connection, 50 frames a second, without its costly path.

trio-websocket opens, authenticates, reads and closes the connection. Only text frames of ours go past it: wsproto keeps no
state for whole text messages, so a frame built by our codec and written under trio-websocket's own lock is the same bytes
on the wire for a fifth of the time. This is the one place that leans on its private names (`_stream`, `_stream_lock`).
"""

import os

import trio
from trio_websocket import WebSocketConnection

from transport.ws_codec import client_text


async def send_text(connection: WebSocketConnection, text: str) -> None:
    """Sends one text message. Where the socket takes it at once nothing is waited for, not even a checkpoint.

    Raises ConnectionClosed (from trio-websocket) or trio.BrokenResourceError when the connection is gone.
    A cancelled send tears the connection, as with `send_message`.
    """
    if connection.closed is not None:
        await connection.send_message(text)  # raises, with the reason
        return
    stream: trio.abc.Stream = connection._stream
    lock: trio.StrictFIFOLock = connection._stream_lock
    frame = client_text(text.encode())
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
