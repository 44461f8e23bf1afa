"""A TCP connection, with TLS or without, for those who send and read fifty small pieces a second.

Trio's own streams pay three layers of calls, two locks and often a second system call for each piece. Here a piece is handed to
the socket at once where it takes it, and read with one call when there is something to read. What the socket does not take is
kept, in order, and sent when it does: who is cancelled in the middle never leaves half a piece behind. TLS is OpenSSL between
two memory buffers, applied at the moment when a piece is written, so that the order of its records is that of the wire.

Over anything that is neither a socket nor like one (`NonBlocking`) it is that stream, and nothing is ever sent at once.
"""

import os
import ssl
from abc import ABC, abstractmethod
from contextlib import suppress

import trio

READ_AT_ONCE = 16 * 1024


class NonBlocking(ABC):
    """What a connection does that never makes anybody wait who does not want to: as the system's sockets do it."""

    @abstractmethod
    def write(self, data: bytes) -> int:
        """How much of `data` it has taken. Raises BlockingIOError if nothing at all, OSError if it is broken."""

    @abstractmethod
    def read(self, at_most: int) -> bytes:
        """What has come; b"" at the end. Raises BlockingIOError if nothing has, OSError if it is broken."""

    @abstractmethod
    async def writable(self) -> None:
        """Until `write` takes something, or raises OSError. Raises trio.ClosedResourceError if it is closed here."""

    @abstractmethod
    async def readable(self) -> None:
        """Until `read` gives something, or raises OSError. Raises trio.ClosedResourceError if it is closed here."""


class _Socket(NonBlocking):
    def __init__(self, connection: trio.socket.SocketType) -> None:
        self._socket = connection

    def write(self, data: bytes) -> int:
        return os.write(self._socket.fileno(), data)

    def read(self, at_most: int) -> bytes:
        return os.read(self._socket.fileno(), at_most)

    async def writable(self) -> None:
        self._raise_if_closed()
        await trio.lowlevel.wait_writable(self._socket)

    async def readable(self) -> None:
        self._raise_if_closed()
        await trio.lowlevel.wait_readable(self._socket)

    def _raise_if_closed(self) -> None:
        """Before each wait: Trio cannot be asked to wait for a socket that is closed already."""
        if self._socket.fileno() < 0:
            raise trio.ClosedResourceError("the connection was closed here")


class DirectStream(trio.abc.Stream):
    """`stream`, and with `tls` (a context and the name of the server) encrypted: then `do_handshake` comes first.

    One task may read, any number may send. All raise trio.BrokenResourceError or trio.ClosedResourceError when the connection
    is gone.
    """

    def __init__(self, stream: trio.abc.Stream, tls: tuple[ssl.SSLContext, str] | None = None) -> None:
        self._stream = stream
        self._end = _Socket(stream.socket) if isinstance(stream, trio.SocketStream) else None
        if isinstance(stream, NonBlocking):
            self._end = stream
        self._came, self._goes = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = tls[0].wrap_bio(self._came, self._goes, server_hostname=tls[1]) if tls else None
        self._ended, self._broken = False, ""
        self._tail = b""
        """What the socket did not take, as it is to be on the wire."""
        self._lock = trio.StrictFIFOLock()
        self._unsent = trio.Event()

    async def do_handshake(self) -> None:
        """TLS begins. Raises ssl.SSLError if the server is not to be trusted or does not speak it."""
        assert self._tls is not None
        done = False
        while not done:
            try:
                self._tls.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                pass
            finally:  # an error is told to the peer too
                with suppress(trio.BrokenResourceError):
                    await self._stream.send_all(self._goes.read())  # noqa: ASYNC102 - nothing is awaited in the try
            if not done and not await self._read_sealed():
                raise ssl.SSLError("the server closed the connection during the handshake")

    # ------------------------------------------------------------ sending

    def send_now(self, data: bytes) -> bool:
        """Sends `data` without waiting; False, and nothing is sent, if the socket is still busy with what was sent before."""
        if self._end is None or self._tail or self._lock.locked():
            return False
        self._put(data)
        return True

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Waits until the socket has taken all of it. Cancelled before it began it has sent nothing, later all, by `flush`."""
        async with self._lock:
            if self._end is None:
                await self._stream.send_all(self._sealed(bytes(data)))
            else:
                await self._drain()
                self._put(bytes(data))
                await self._drain()

    @property
    def busy(self) -> bool:
        """Whether there is something that the socket has not taken yet."""
        return bool(self._tail)

    async def unsent(self) -> None:
        """Until `flush` is needed."""
        await self._unsent.wait()

    async def flush(self) -> None:
        """Sends what the socket did not take at once."""
        async with self._lock:
            await self._drain()

    async def wait_send_all_might_not_block(self) -> None:
        """See `trio.abc.SendStream`."""
        await self.flush()

    async def _drain(self) -> None:
        while self._tail:
            assert self._end is not None
            await self._end.writable()
            data, self._tail = self._tail, b""
            self._write(data)
        if self._unsent.is_set():  # else somebody may be waiting for this one
            self._unsent = trio.Event()

    def _put(self, data: bytes) -> None:
        self._write(self._sealed(data) if self._tls is not None else data)

    def _sealed(self, data: bytes) -> bytes:
        if self._tls is None:
            return data
        try:
            self._tls.write(data)
        except ssl.SSLError as error:
            raise trio.BrokenResourceError(f"TLS: {error}") from None
        return self._goes.read()

    def _write(self, data: bytes) -> None:
        assert self._end is not None
        try:
            sent = self._end.write(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise trio.BrokenResourceError(str(error)) from None
        if sent < len(data):
            self._tail = data[sent:]
            self._unsent.set()

    # ------------------------------------------------------------ reading

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """What has come, at most `max_bytes` where there is no TLS; b"" at the end. Cancelled, it has taken nothing."""
        if self._tls is None:
            return await self._read(max_bytes or READ_AT_ONCE)
        while (data := self._opened()) is None:
            if not await self._read_sealed():
                return b""
        return data

    async def _read(self, at_most: int) -> bytes:
        if self._end is None:
            return bytes(await self._stream.receive_some(at_most))
        while True:
            await self._end.readable()
            try:
                return self._end.read(at_most)
            except BlockingIOError:  # woken for nothing
                continue
            except OSError as error:
                raise trio.BrokenResourceError(str(error)) from None

    async def _read_sealed(self) -> bool:
        data = await self._read(READ_AT_ONCE)
        self._came.write(data)
        return bool(data)

    def _opened(self) -> bytes | None:
        """What can be read of what has come; b"" if no more will, None if nothing can yet."""
        assert self._tls is not None
        found: list[bytes] = []
        try:
            while self._came.pending or self._tls.pending():
                found.append(self._tls.read(READ_AT_ONCE))
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:  # the peer says that no more will come
            self._ended = True
        except ssl.SSLError as error:
            self._broken = f"TLS: {error}"  # told when all that came before it is read
        if self._goes.pending and self._end is not None and not self._tail and not self._lock.locked():
            with suppress(trio.BrokenResourceError):  # reading on tells that too
                self._write(self._goes.read())  # an answer of TLS itself; else it goes with what is sent next
        if self._broken and not found:
            raise trio.BrokenResourceError(self._broken)
        return b"".join(found) if found or self._ended else None

    # ------------------------------------------------------------ the end

    async def aclose(self) -> None:
        """Closes at once. With TLS the peer is told so, if the socket takes it."""
        if self._tls is not None and self._end is not None and not self._tail and not self._lock.locked():
            with suppress(ssl.SSLError, ValueError, trio.BrokenResourceError):
                with suppress(ssl.SSLWantReadError):
                    self._tls.unwrap()
                self._write(self._goes.read())
        await self._stream.aclose()
