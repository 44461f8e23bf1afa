"""WebSocket frames (RFC 6455), sans-IO, for both lanes: what a client sends and what a server sends, read and written.

Strict: reserved bits, unmasked client frames, masked server frames, wrong lengths, broken fragments and bad UTF-8 end the
connection with the code that the RFC names. No extensions. Small on purpose: 50 messages a second and call come through here.
"""

import os
import struct
from typing import TypeAlias

import attrs

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
NORMAL, PROTOCOL_ERROR, INVALID_DATA, TOO_BIG = 1000, 1002, 1007, 1009
_NO_CODE = 1005
_SHORT, _LONG = struct.Struct("!H"), struct.Struct("!Q")


class FrameError(Exception):
    """The peer broke the protocol; the connection is to be closed with `code`. `before`: what the same bytes held before that."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code
        self.before: list[Event] = []


@attrs.frozen
class Ping:
    """To be answered by a pong with the same payload."""

    payload: bytes


@attrs.frozen
class Pong:
    """The peer is alive, and had the ping with that payload."""

    payload: bytes = b""


@attrs.frozen
class Closing:
    """The peer closes; 1005 stands for no code."""

    code: int
    reason: str


Event: TypeAlias = str | bytes | Ping | Pong | Closing
"""What a frame, or the last frame of a message, means: a text message is a str, a binary one is bytes."""


class FrameReader:
    """Reads what a client sends, or (`of_server`) a server, up to its close; what comes behind that is nobody's affair.

    `limit`: bytes a message may have, fragments together.
    """

    def __init__(self, limit: int, *, of_server: bool = False) -> None:
        self._limit = limit
        self._mask_bit, self._mask_size = (0, 0) if of_server else (0x80, 4)
        self._rest = b""
        self._more: list[bytes] = []
        """What came after `_rest`, until there is enough for the frame."""
        self._missing = 0
        self._parts: list[bytes] = []
        self._kind = 0
        self._size = 0
        self._closed = False

    def feed(self, data: bytes) -> list[Event]:
        """The events that `data` completes. Raises FrameError, after which nothing more may be fed; it has those before it."""
        if self._closed:
            return []
        if self._rest:
            self._more.append(data)
            self._missing -= len(data)
            if self._missing > 0:
                return []
            data = b"".join((self._rest, *self._more))
            self._more.clear()
        events: list[Event] = []
        try:
            self._rest = data[self._read(data, events) :]
        except FrameError as error:
            error.before = events
            raise
        return events

    def _read(self, data: bytes, events: list[Event]) -> int:
        """Adds the events of whole frames to `events`; where the first frame begins that is not whole."""
        at, end, mask_size = 0, len(data), self._mask_size
        self._missing = 0
        while end - at >= 2 + mask_size:
            first, second = data[at], data[at + 1]
            if second & 0x80 != self._mask_bit:
                raise FrameError(PROTOCOL_ERROR, "a client frame without a mask, or a server frame with one")
            length, body = second & 0x7F, at + 2
            if length >= 126:
                form = _SHORT if length == 126 else _LONG
                if end < body + form.size + mask_size:
                    self._check_header(first, 126)
                    break
                (length,) = form.unpack_from(data, body)
                body += form.size
                if length < 126 or (form is _LONG and length < 65536):
                    raise FrameError(PROTOCOL_ERROR, "a length that is not in its shortest form")
            self._check_header(first, length)
            start = body + mask_size
            if end < start + length:
                self._missing = start + length - end
                break
            at = start + length
            payload = data[start:at]
            event = self._frame(first, _masked(payload, data[body:start]) if mask_size else payload)
            if event is not None:
                events.append(event)
                if first & 0x0F == CLOSE:
                    self._closed, at = True, end
        return at

    def _check_header(self, first: int, length: int) -> None:
        """Everything that can be refused before the payload is here."""
        opcode = first & 0x0F
        if first & 0x70:
            raise FrameError(PROTOCOL_ERROR, "a reserved bit is set")
        if opcode >= CLOSE:
            if opcode > PONG or not first & 0x80 or length > 125:
                raise FrameError(PROTOCOL_ERROR, "a control frame that is unknown, fragmented or too long")
        elif opcode > BINARY:
            raise FrameError(PROTOCOL_ERROR, "an unknown kind of frame")
        elif bool(opcode) == bool(self._kind):
            raise FrameError(PROTOCOL_ERROR, "a fragment out of order")
        elif self._size + length > self._limit:
            raise FrameError(TOO_BIG, f"a message of more than {self._limit} bytes")

    def _frame(self, first: int, payload: bytes) -> Event | None:
        opcode, final = first & 0x0F, first & 0x80
        if opcode >= CLOSE:
            return _control(opcode, payload)
        if opcode and final:
            return _text(payload) if opcode == TEXT else payload
        self._kind = opcode or self._kind
        self._parts.append(payload)
        self._size += len(payload)
        if not final:
            if len(self._parts) > 1024:
                raise FrameError(TOO_BIG, "a message in more than 1024 fragments")
            return None
        message, kind = b"".join(self._parts), self._kind
        self._parts, self._kind, self._size = [], 0, 0
        return _text(message) if kind == TEXT else message


def _control(opcode: int, payload: bytes) -> Event:
    if opcode == PING:
        return Ping(payload)
    if opcode == PONG:
        return Pong(payload)
    if not payload:
        return Closing(_NO_CODE, "")
    if len(payload) == 1:
        raise FrameError(PROTOCOL_ERROR, "a close code of one byte")
    (code,) = _SHORT.unpack_from(payload)
    if not (1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999):
        raise FrameError(PROTOCOL_ERROR, f"close code {code} may not be sent")
    return Closing(code, _text(payload[2:]))


def _text(payload: bytes) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise FrameError(INVALID_DATA, "text that is not UTF-8") from None


def _masked(payload: bytes, mask: bytes) -> bytes:
    """`payload` with `mask` applied or taken off: one addition of two long numbers instead of a loop."""
    size = len(payload)
    key = int.from_bytes((mask * (size // 4 + 1))[:size], "little")
    return (int.from_bytes(payload, "little") ^ key).to_bytes(size, "little")


class _Masks:
    """Unpredictable, as the RFC asks (10.3), and fetched many at a time: each fetch is a system call."""

    AT_ONCE = 1024

    def __init__(self) -> None:
        self._forget()
        os.register_at_fork(after_in_child=self._forget)  # two processes must not use the same ones

    def _forget(self) -> None:
        self._pool, self._at = b"", 0

    def next(self) -> bytes:
        at = self._at
        if at == len(self._pool):
            self._pool, at = os.urandom(4 * self.AT_ONCE), 0
        self._at = at + 4
        return self._pool[at : at + 4]


_masks = _Masks()


def _header(opcode: int, size: int, mask_bit: int) -> bytes:
    if size < 126:
        return bytes((0x80 | opcode, mask_bit | size))
    if size < 65536:
        return bytes((0x80 | opcode, mask_bit | 126)) + _SHORT.pack(size)
    return bytes((0x80 | opcode, mask_bit | 127)) + _LONG.pack(size)


def server_frame(opcode: int, payload: bytes) -> bytes:
    """One whole frame from a server."""
    return _header(opcode, len(payload), 0) + payload


def client_frame(opcode: int, payload: bytes) -> bytes:
    """One whole frame from a client, masked."""
    mask = _masks.next()
    return _header(opcode, len(payload), 0x80) + mask + _masked(payload, mask)


def close_payload(code: int, reason: str) -> bytes:
    """The payload of a close frame; a long reason is cut to what fits."""
    return _SHORT.pack(code) + reason.encode()[:123].decode(errors="ignore").encode()
