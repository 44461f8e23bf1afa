"""The media lane: `/twilio/media` served by us, on hypercorn's port and in its Trio run, without hypercorn in between.

Fifty messages a second come and go on each media stream, and on the way through hypercorn, wsproto and Quart each of them
costs several times what the call itself does with it. So where hypercorn hands a new connection to its server class
(`server_guard.py`), the request head is looked at first: an upgrade for the media path is taken over here, anything else goes
on to hypercorn untouched. The checks are the application's own (`Gate`), the same on both ways in; the Quart route
remains for other servers, and for a media request on a connection that was used before.
"""

import base64
import binascii
import hashlib
from collections.abc import Awaitable, Callable
from typing import Protocol

import attrs
import h11
import structlog
import trio

from transport import ws_codec
from transport.direct_stream import DirectStream
from transport.media_socket import Socket
from transport.ws_codec import CLOSE, NORMAL, PING, PONG, TEXT, Closing, FrameError, FrameReader, Ping, server_frame

HEAD_AT_MOST = 16 * 1024
"""Bytes of a request head; Twilio's is about 500."""
MESSAGE_AT_MOST = 64 * 1024
READ_AT_ONCE = 8 * 1024
IN_A_ROW = 16
"""Messages of one read that are given out before others get a turn: the mailboxes of a call hold several times as many."""
HEAD_WITHIN = 5.0
"""Seconds for a request head to be whole: who is not known to be Twilio holds no connection for longer."""
PING_EVERY = 5.0
SILENT_AT_MOST = 4
"""Pings in a row to which not a byte came, no pong either: after a further pause the peer is held for gone."""
SEND_WITHIN = 10.0
"""Seconds a write may take; Twilio reads all the time or is gone."""
CLOSE_ANSWER_WITHIN = 1.0

log = structlog.get_logger("triode.media_lane")


class Gate(Protocol):
    """The application's side of the lane."""

    @property
    def media_path(self) -> str:
        """What the path of a media request ends with."""
        ...

    def admits(self, raw_path: str, signature: str | None) -> bool:
        """Whether the handshake is Twilio's."""
        ...

    async def serve(self, socket: Socket) -> None:
        """The call, from the open socket to the record."""
        ...


Send = Callable[[bytes], Awaitable[None]]
Receive = Callable[[], Awaitable[bytes]]


@attrs.frozen
class Upgrade:
    """The request head of a media stream."""

    path: str
    signature: str | None
    key: str
    problem: str


def is_media_request(data: bytes, path: str) -> bool | None:
    """Whether the request that begins with `data` asks for `path`; None if that cannot be told yet."""
    if not b"GET ".startswith(data[:4]):
        return False
    line, complete, _ = data.partition(b"\r\n")
    if not complete:
        return None if len(data) < HEAD_AT_MOST else False
    target = line.split(b" ")[1].partition(b"?")[0] if line.count(b" ") == 2 else b""
    return target.endswith(path.encode())


def read_upgrade(head: bytes) -> Upgrade | None:
    """The upgrade in `head`; None while it is not whole. `problem` says what is wrong with it."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_AT_MOST)
    try:
        connection.receive_data(head)
        request = connection.next_event()
    except h11.RemoteProtocolError as error:
        return Upgrade("", None, "", str(error))
    if not isinstance(request, h11.Request):
        return None
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers}
    key = headers.get("sec-websocket-key", "")
    problem = ""
    if headers.get("upgrade", "").lower() != "websocket" or "upgrade" not in headers.get("connection", "").lower():
        problem = "not an upgrade to websocket"
    elif headers.get("sec-websocket-version") != "13":
        problem = "not version 13"
    elif not _is_key(key):
        problem = "no Sec-WebSocket-Key"
    elif connection.trailing_data[0]:
        problem = "bytes before the upgrade was answered"
    path = request.target.decode("latin-1").partition("?")[0]
    return Upgrade(path, headers.get("x-twilio-signature"), key, problem)


def _is_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False


def accept(key: str) -> bytes:
    """The response that opens the WebSocket. No subprotocol, no extension: none is ever chosen."""
    digest = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()  # RFC 6455, 4.2.2
    answer = base64.b64encode(digest).decode()
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {answer}\r\n\r\n"
    ).encode()


def refuse(status: str) -> bytes:
    """A response that ends the connection."""
    return f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".encode()


async def serve(stream: trio.abc.Stream, head: bytes, gate: Gate) -> None:
    """One connection whose request begins with `head` and is for the media path, until its call is over."""
    upgrade = None
    with trio.move_on_after(HEAD_WITHIN):
        while (upgrade := read_upgrade(head)) is None and (more := await stream.receive_some(READ_AT_ONCE)):
            head += more
    if upgrade is None:
        return
    if upgrade.problem:
        log.warning("bad_upgrade", why=upgrade.problem[:200])
        await stream.send_all(refuse("400 Bad Request"))
    elif not gate.admits(upgrade.path, upgrade.signature):
        await stream.send_all(refuse("403 Forbidden"))
    else:
        await stream.send_all(accept(upgrade.key))
        socket = LaneSocket(stream)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(socket.keep_alive)
            await gate.serve(socket)
            nursery.cancel_scope.cancel("the call is over")


class LaneSocket:
    """One WebSocket of the lane, server side. One task reads, another writes.

    Raises trio.BrokenResourceError from `receive` and `send` when the connection is gone, closed or broken by the peer.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = DirectStream(stream)
        self._reader = FrameReader(MESSAGE_AT_MOST)
        self._events: list[ws_codec.Event] = []
        self._broken: FrameError | None = None
        """What the peer did wrong after those."""
        self._in_a_row = 0
        """Messages given out since anybody else had a turn."""
        self._unheard = 0
        """Pings since the last byte came."""
        self._closed = ""

    # ------------------------------------------------------------ reading

    async def receive(self) -> str | bytes:
        """The next message. Loses nothing when cancelled."""
        while True:
            while self._events:
                if self._in_a_row == IN_A_ROW:  # those who take them in get their turn
                    self._in_a_row = 0
                    await trio.lowlevel.checkpoint()
                self._in_a_row += 1
                event = self._events.pop(0)
                if isinstance(event, str | bytes):
                    return event
                await self._on_control(event)
            if self._closed:
                raise trio.BrokenResourceError(self._closed)
            if self._broken is not None:
                await self.close(self._broken.code, str(self._broken))
                raise trio.BrokenResourceError(f"the peer broke the protocol: {self._broken}")
            data = await self._read()
            self._in_a_row = self._unheard = 0
            try:
                self._events = self._reader.feed(data)
            except FrameError as error:
                self._events, self._broken = error.before, error

    @property
    def following(self) -> str:
        """The text that will be given out next, if it has been read already and nobody else gets a turn before; else empty."""
        event = self._events[0] if self._events and self._in_a_row < IN_A_ROW else ""
        return event if isinstance(event, str) else ""

    async def _read(self) -> bytes:
        try:
            data = await self._stream.receive_some(READ_AT_ONCE)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise trio.BrokenResourceError(self._closed or str(error)) from None
        if not data:
            raise trio.BrokenResourceError("the connection was lost")
        return data

    async def _on_control(self, event: ws_codec.Event) -> None:
        if isinstance(event, Ping):
            await self._write(server_frame(PONG, event.payload))
        elif isinstance(event, Closing):
            await self.close(NORMAL)
            raise trio.BrokenResourceError(f"the peer closed the connection: {event.code} {event.reason}".rstrip())

    # ------------------------------------------------------------ writing

    async def send(self, data: str) -> None:
        """Sends one text message. Where the socket takes it at once nothing is waited for, not even a checkpoint."""
        await self._write(server_frame(TEXT, data.encode()))

    async def close(self, code: int, reason: str = "") -> None:
        """Sends a close frame, waits a second for the peer's, and ends the connection. Raises nothing."""
        if self._closed:
            return
        frame = server_frame(CLOSE, ws_codec.close_payload(code, reason))
        try:
            with trio.move_on_after(CLOSE_ANSWER_WITHIN):
                await self._write(frame)
                self._closed = "the connection is being closed"
                while code == NORMAL and not any(isinstance(event, Closing) for event in self._events):
                    self._events = self._reader.feed(await self._read())
        except (trio.BrokenResourceError, trio.BusyResourceError, FrameError):
            pass  # it is going away all the same
        await self._drop("the connection is closed")

    async def _drop(self, why: str) -> None:
        self._closed = why
        await trio.aclose_forcefully(self._stream)

    async def _write(self, frame: bytes) -> None:
        if self._closed:
            raise trio.BrokenResourceError(self._closed)
        try:
            begun = self._stream.send_now(frame)
            if begun and not self._stream.busy:
                return
            # Once begun, only its own limit ends a write: the caller of a slow peer is not to hear half of it.
            with trio.fail_after(SEND_WITHIN, shield=True):
                await (self._stream.flush() if begun else self._stream.send_all(frame))
        except trio.TooSlowError:
            log.warning("peer_does_not_read", seconds=SEND_WITHIN)
            await self._drop("the peer does not read")  # noqa: ASYNC120 - closes at once
            raise trio.BrokenResourceError(self._closed) from None
        except trio.ClosedResourceError:
            raise trio.BrokenResourceError(self._closed) from None

    async def keep_alive(self) -> None:
        """Pings until cancelled, and closes a connection from which nothing has come for long: the reader then fails."""
        while not self._closed:
            await trio.sleep(PING_EVERY)
            if self._unheard > SILENT_AT_MOST:
                await self._drop(f"nothing came for {SILENT_AT_MOST * PING_EVERY:g} s")
                return
            self._unheard += 1
            try:
                await self._write(server_frame(PING, b""))
            except trio.BrokenResourceError:
                return
