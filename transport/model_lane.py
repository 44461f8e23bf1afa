"""The model lane: texts to and from the model, past trio-websocket's costly path, on a connection that it opens and owns.

trio-websocket is given a stream like any other, this one. It opens the WebSocket on it, pings, answers pings, and closes, and
reads as long as the connection lasts. What it reads passes through here: whole text messages are taken out and kept for
whoever calls `receive`; control frames go on to trio-websocket, which never sees anything else. What is sent as text is
framed by our own codec; wsproto keeps no state for whole messages, so the peer sees no difference.
"""

from collections import deque
from contextlib import suppress

import trio
from trio_websocket import ConnectionRejected, HandshakeError

from transport.direct_stream import DirectStream
from transport.ws_codec import (
    BINARY,
    CLOSE,
    NORMAL,
    PING,
    PONG,
    TEXT,
    Closing,
    Event,
    FrameError,
    FrameReader,
    Pong,
    client_frame,
    close_payload,
    server_frame,
)

HEAD_END = b"\r\n\r\n"
SWITCHED = b"HTTP/1.1 101"
NO_CODE = 1005
GOODBYE_WITHIN = 0.25
"""Seconds a close frame may take to be written; a caller may be waiting behind it."""
REFUSAL_AT_MOST, REFUSAL_WITHIN = 64 * 1024, 1.0
"""Bytes of a refusal that are read, and seconds in which: its status is enough."""


class TextLane(trio.abc.Stream):
    """`stream` for trio-websocket, and texts for everybody else.

    `queue`: messages that may wait for a reader, then nothing is read any more; `message_at_most`: bytes of one, after which the
    connection is closed with 1009. One task reads texts. Raises trio.BrokenResourceError or trio.ClosedResourceError when the
    connection is gone.
    """

    def __init__(self, stream: DirectStream, queue: int, message_at_most: int) -> None:
        self._stream = stream
        self._queue = queue
        self._frames = FrameReader(message_at_most, of_server=True)
        self._head: bytes | None = b""
        """The server's answer to the upgrade so far; None when it is through."""
        self._early = b""
        """What came with the end of that answer: trio-websocket is to have the answer first."""
        self._refused: int | None = None
        """The status with which the upgrade was refused, 0 if there was none that can be read; None: it was not refused."""
        self._refusal_left, self._refusal_until = REFUSAL_AT_MOST, 0.0
        self._texts: deque[str | bytes] = deque()
        self._reader, self._room = trio.lowlevel.ParkingLot(), trio.lowlevel.ParkingLot()
        self._over = False
        self._closing = False

    # ------------------------------------------------------------ texts

    def send_now(self, text: str) -> bool:
        """Sends one text message without waiting; False, and nothing is sent, if the connection is busy."""
        return self._stream.send_now(client_frame(TEXT, text.encode()))

    async def send(self, message: str | bytes) -> None:
        """Sends one message. Where the socket takes it at once nothing is waited for, not even a checkpoint."""
        frame = client_frame(TEXT, message.encode()) if isinstance(message, str) else client_frame(BINARY, message)
        if not self._stream.send_now(frame):
            await self._stream.send_all(frame)
        elif self._stream.busy:
            await self._stream.flush()

    async def send_on(self) -> None:
        """Sends what the connection did not take at once, until cancelled, or until the connection is gone."""
        try:
            while True:
                await self._stream.unsent()
                await self._stream.flush()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # whoever reads is told

    async def receive(self) -> str | bytes:
        """The next message; loses nothing when cancelled. Raises trio.EndOfChannel when no more will come."""
        if self._texts:  # many have come at once: whoever acts on one is to do so before the next
            await trio.lowlevel.checkpoint()
        while not self._texts:
            if self._over:
                raise trio.EndOfChannel
            await self._reader.park()
        text = self._texts.popleft()
        if self._room:
            self._room.unpark()
        return text

    def closes(self) -> None:
        """The connection is being closed from here: pings are not answered any more, which trio-websocket would fail to do."""
        self._closing = True
        self.no_more()

    async def say_goodbye(self) -> None:
        """Sends a close frame (1000) and waits for no answer: the connection is dropped next. Raises nothing."""
        await self._close(NORMAL, "")

    def no_more(self) -> None:
        """Nobody wants the texts that come from now on; those that wait are still given out."""
        self._over = True
        self._reader.unpark_all()
        self._room.unpark_all()

    async def _close(self, code: int, reason: str) -> None:
        with (
            trio.move_on_after(GOODBYE_WITHIN, shield=True),
            suppress(trio.BrokenResourceError, trio.ClosedResourceError),  # it may be gone already
        ):
            await self._stream.send_all(client_frame(CLOSE, close_payload(code, reason)))

    # ------------------------------------------------------------ the stream of trio-websocket

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The server's answer to the upgrade, then control frames only. Raises HandshakeError if it ends in the answer,
        ConnectionRejected if that says a status already."""
        while True:
            data, self._early = self._early, b""
            try:
                data = data or await (self._stream.receive_some() if self._refused is None else self._of_refusal())
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self._end_of_connection()
                raise
            if not data:
                self._end_of_connection()
                return b""
            if self._refused is not None:
                return data
            if self._head is not None:
                through, self._early = self._of_head(data)
                return through
            broken = None
            try:
                events = self._frames.feed(data)
            except FrameError as error:
                events, broken = error.before, error
            through = await self._take_out(events)
            if broken is not None:
                self.no_more()
                await self._close(broken.code, str(broken))
                raise trio.BrokenResourceError(f"the peer broke the protocol: {broken}")
            if through:
                return through

    def _end_of_connection(self) -> None:
        self.no_more()
        if self._refused:  # trio-websocket would wait for the rest of the answer
            raise ConnectionRejected(self._refused, (), None)
        if self._refused is not None or self._head is not None:
            raise HandshakeError("the server ended the connection and opened no WebSocket on it")

    async def _of_refusal(self) -> bytes:
        """More of what a refusal says; b"" when there is no more, or it is enough."""
        data = b""
        if self._refusal_left > 0:
            with trio.move_on_at(self._refusal_until):
                data = await self._stream.receive_some()
        self._refusal_left -= len(data)
        return data

    def _of_head(self, data: bytes) -> tuple[bytes, bytes]:
        """What of `data` belongs to the answer to the upgrade, and what does not."""
        assert self._head is not None
        before, self._head = len(self._head), self._head + data
        end = self._head.find(HEAD_END)
        if end < 0:
            return data, b""
        size = end + len(HEAD_END) - before
        switched, status = self._head.startswith(SWITCHED), _status(self._head)
        self._head = None
        if switched:
            return data[:size], data[size:]
        self._refused, self._refusal_until = status, trio.current_time() + REFUSAL_WITHIN
        return data, b""

    async def _take_out(self, events: list[Event]) -> bytes:
        """Keeps the texts among `events`, with a wait if there are too many; what is left for trio-websocket."""
        control = b""
        for event in events:
            if isinstance(event, str | bytes):
                if not self._over:
                    self._texts.append(event)
                    self._reader.unpark()
            elif isinstance(event, Closing):
                payload = b"" if event.code == NO_CODE else close_payload(event.code, event.reason)
                control += server_frame(CLOSE, payload)
                self.no_more()
            elif isinstance(event, Pong):
                control += server_frame(PONG, event.payload)
            elif not self._closing:
                control += server_frame(PING, event.payload)
        while len(self._texts) >= self._queue and not self._over:
            await self._room.park()
        return control

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See `trio.abc.SendStream`."""
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """See `trio.abc.SendStream`."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """See `trio.abc.AsyncResource`."""
        self.no_more()
        await self._stream.aclose()


def _status(head: bytes) -> int:
    """The status in the head of an HTTP answer; 0 if it has none."""
    words = head.split(maxsplit=2)
    return int(words[1]) if len(words) > 1 and len(words[1]) == 3 and words[1].isdigit() else 0
