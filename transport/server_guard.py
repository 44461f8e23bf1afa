"""Repairs to hypercorn's trio worker. Everything here leans on hypercorn 0.18 (pinned) and on nothing else of it.

Three faults, each seen to happen, each with a test in tests/transport/test_server_guard.py:

1. An exception of one connection (a byte sent between an upgrade request and our 101 is enough) leaves its task, and takes
   the worker, then the master down. `GuardedServer.run` stops it at its connection, and says so in the log.
2. `protocol_send` shields its write without a limit: a peer that stops reading pins the sender for ever, and with it the
   shutdown. Here a write has `SEND_WITHIN` seconds; then the connection is torn down.
3. Nobody tells the application that a shutdown began: it only sees its handlers cancelled when `graceful_timeout` is over.
   `drain_begins` waits for the signals that hypercorn's master sends to its workers.

The same place is where a media stream is taken over before hypercorn parses it: see `media_lane.py`.

hypercorn imports the application before it looks its server class up, so putting ours in place at import is enough.
"""

import multiprocessing
import signal
from typing import Any, cast

import hypercorn.trio.run
import structlog
import trio
from hypercorn.events import Closed, Event, RawData
from hypercorn.trio.tcp_server import MAX_RECV, TCPServer

from transport.media_lane import Gate, is_media_request
from transport.media_lane import serve as serve_media

SEND_WITHIN = 10.0
"""Seconds a single write may take: Twilio reads 50 messages a second or is gone."""

log = structlog.get_logger("triode.server")


class GuardedServer(TCPServer):
    """One connection, whose errors stay its own and whose writes end."""

    async def run(self) -> None:
        """See TCPServer; raises nothing but Cancelled."""
        try:
            gate: Gate | None = getattr(getattr(self.app, "app", None), "media_gate", None)
            if gate is None or not await self._goes_to_the_lane(gate):
                await super().run()
        except* trio.Cancelled:
            raise
        except* Exception as errors:
            log.warning("connection_failed", error=_first(errors))
            await trio.aclose_forcefully(self.stream)

    async def _goes_to_the_lane(self, gate: Gate) -> bool:
        """Looks at the request head; serves it in the media lane if it is for that, else leaves all to hypercorn."""
        head, ours = b"", None
        with trio.move_on_after(self.config.keep_alive_timeout):
            while ours is None:
                more = await self.stream.receive_some(MAX_RECV)
                head += more
                ours = is_media_request(head, gate.media_path) if more else False
        if ours:
            await serve_media(self.stream, head, gate)
            return True
        self.stream = cast("trio.SSLStream[trio.SocketStream]", _ReadAgain(self.stream, head))
        return False

    async def protocol_send(self, event: Event) -> None:
        """See TCPServer."""
        if not isinstance(event, RawData):
            await super().protocol_send(event)
            return
        async with self.send_lock:
            try:
                # A write that is cut off halfway would garble the stream: nothing but its own limit may end it.
                with trio.fail_after(SEND_WITHIN, shield=True):
                    await self.stream.send_all(event.data)
                return
            except trio.TooSlowError:
                log.warning("peer_does_not_read", seconds=SEND_WITHIN)
                await trio.aclose_forcefully(self.stream)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass
        await self.protocol.handle(Closed())


class _ReadAgain:
    """A stream whose first bytes were looked at already and are read once more."""

    def __init__(self, stream: trio.abc.Stream, head: bytes) -> None:
        self._stream = stream
        self._head = head

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """See trio.abc.Stream."""
        if self._head:
            head, self._head = self._head, b""
            await trio.lowlevel.checkpoint()
            return head
        return await self._stream.receive_some(max_bytes)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def install() -> None:
    """Puts the guarded server in hypercorn's place for this process."""
    hypercorn.trio.run.TCPServer = GuardedServer  # type: ignore[misc]


async def drain_begins() -> None:
    """Returns when hypercorn's master wants this worker to stop, or SIGTERM comes. Waits for ever where there is no master."""
    async with trio.open_nursery() as either:

        async def by_signal() -> None:
            # With several workers the master sends SIGTERM to those still draining; unhandled it would kill them.
            with trio.open_signal_receiver(signal.SIGTERM) as signals:
                async for _ in signals:
                    either.cancel_scope.cancel("SIGTERM")

        async def by_event(stop: Any) -> None:
            # A multiprocessing event can only be waited for in a thread; it is left behind when this is cancelled.
            await trio.to_thread.run_sync(stop.wait, abandon_on_cancel=True, limiter=trio.CapacityLimiter(1))
            either.cancel_scope.cancel("the master's stop event")

        either.start_soon(by_signal)
        stop = _stop_event()
        if stop is not None:
            either.start_soon(by_event, stop)


def _stop_event() -> Any:
    """The worker's own stop flag: hypercorn hands it to the process as an argument and keeps it from the application."""
    arguments: dict[str, Any] = getattr(multiprocessing.current_process(), "_kwargs", {})
    return arguments.get("shutdown_event")


def _first(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"
