"""The media stream's WebSocket: the carrier port of a call, and the welcome before it: signature, start, token."""

from collections.abc import Awaitable, Callable
from typing import Protocol

import attrs
import trio

from actors.messages import CarrierEvent
from actors.ports import CarrierGone
from transport.twilio_codec import MULAW, BadMessage, Connected, Encoder, Started, Unknown, decode

START_WITHIN = 10.0
"""Seconds for `start` to come after the upgrade; Twilio sends it at once."""
BEFORE_START_AT_MOST = 50
"""Messages that may come before `start`; a second of audio of a client that is out of order."""
BAD_AT_MOST = 500
"""Messages that cannot be understood on one stream; then the stream is ended."""
CLOSE_WITHIN = 2.0
NORMAL, PROTOCOL_ERROR, POLICY_VIOLATION = 1000, 1002, 1008


class Socket(Protocol):
    """What is needed of a server-side WebSocket; Quart's has it."""

    async def receive(self) -> str | bytes:
        """The next message; loses nothing when cancelled."""
        ...

    async def send(self, data: str) -> None:
        """Sends one text message."""
        ...

    async def close(self, code: int, reason: str = "") -> None:
        """Sends a close frame."""
        ...


class Refused(Exception):
    """The stream is not welcome; closed with `code`."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code
        self.why = why


Report = Callable[[str, str], None]
"""Told of the first message of each kind that cannot be understood: kind and text."""


class MediaSocket:
    """The carrier port over one WebSocket that has said `start`."""

    def __init__(self, socket: Socket, started: Started, report: Report) -> None:
        self.started = started
        self._socket = socket
        self._encoder = Encoder(started.stream_sid)
        self._report = report
        self._kinds: set[str] = set()
        self._bad = 0

    async def receive(self) -> CarrierEvent:
        """See `CarrierPort`."""
        while True:
            try:
                message = await self._socket.receive()
            except CLOSED_ERRORS as error:
                raise CarrierGone(str(error)) from None
            try:
                event = decode(message, self.started.stream_sid, trio.current_time)
            except BadMessage as bad:
                self._note(bad.kind, str(bad))
                continue
            if isinstance(event, Started):
                self._note("second start", f"start of {event.stream_sid}")
            elif isinstance(event, Unknown):
                self._note("unknown event", event.event, harmless=True)
            elif not isinstance(event, Connected):
                return event

    @property
    def more(self) -> bool:
        """See `CarrierPort`."""
        return '"payload"' in getattr(self._socket, "following", "")  # of Quart's it is not known

    def _note(self, kind: str, text: str, *, harmless: bool = False) -> None:
        self._bad += 0 if harmless else 1
        if kind not in self._kinds:
            self._kinds.add(kind)
            self._report(kind, text)
        if self._bad > BAD_AT_MOST:
            raise CarrierGone("too many messages that cannot be understood")

    async def send_frame(self, audio: bytes) -> None:
        """See `CarrierPort`."""
        await self._send(self._encoder.media(audio))

    async def send_mark(self, name: str) -> None:
        """See `CarrierPort`."""
        await self._send(self._encoder.mark(name))

    async def send_clear(self) -> None:
        """See `CarrierPort`."""
        await self._send(self._encoder.clear)

    async def close(self) -> None:
        """See `CarrierPort`. Code 1000: Twilio goes on with the call's `action`."""
        await close(self._socket, NORMAL, "")

    async def _send(self, text: str) -> None:
        try:
            await self._socket.send(text)
        except CLOSED_ERRORS as error:
            raise CarrierGone(f"{type(error).__name__}") from None


CLOSED_ERRORS: tuple[type[Exception], ...] = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)


async def close(socket: Socket, code: int, reason: str) -> None:
    """Closes within two seconds, whatever the peer does."""
    with trio.move_on_after(CLOSE_WITHIN, shield=True):
        try:
            await socket.close(code, reason)
        except Exception as error:  # a socket that is closed already raises what its library likes
            if not is_closed_error(error):
                raise


def is_closed_error(error: Exception) -> bool:
    """Whether `error` only says that the socket had been closed before."""
    return isinstance(error, CLOSED_ERRORS) or type(error).__name__ in {
        "UnexpectedMessageError",
        "LocalProtocolError",
        "WebsocketDisconnectError",
    }


async def welcome(socket: Socket, check: Callable[[Started], Awaitable[None]], report: Report) -> MediaSocket:
    """Reads up to `start` and has it checked (which raises Refused). Raises Refused for what is no Twilio stream."""
    kinds: set[str] = set()
    with trio.move_on_after(START_WITHIN):
        for _ in range(BEFORE_START_AT_MOST):
            try:
                message = await socket.receive()
            except CLOSED_ERRORS as error:
                raise Refused(PROTOCOL_ERROR, f"gone before start: {error}") from None
            kind = ""
            try:
                event = decode(message, "", trio.current_time)
            except BadMessage as bad:
                kind, event = bad.kind, str(bad)
            if isinstance(event, Started):
                if event.media_format != MULAW:
                    raise Refused(PROTOCOL_ERROR, f"the media format is {event.media_format}, not {MULAW}")
                await check(event)
                return MediaSocket(socket, event, report)
            if not isinstance(event, Connected):
                kind = kind or f"{type(event).__name__} before start"
                if kind not in kinds:
                    kinds.add(kind)
                    report(kind, str(event)[:200])
        raise Refused(PROTOCOL_ERROR, "no start among the first messages")
    raise Refused(PROTOCOL_ERROR, f"no start within {START_WITHIN:g} s")


@attrs.frozen
class HangUpWatch:
    """Turns the server's cancelling of a handler, its way of saying that the peer has gone, into an ordinary event."""

    tell: Callable[[str], None]

    async def run(self, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Sleeps until cancelled, then tells."""
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            self.tell("the media stream was lost")
