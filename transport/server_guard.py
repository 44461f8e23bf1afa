"""Repairs to hypercorn's trio worker. Everything here leans on hypercorn 0.18 (pinned) and on nothing else of it.

Six faults, each seen to happen, each with a test in tests/transport/test_server_guard.py:

1. An exception of one connection (a byte sent between an upgrade request and our 101 is enough) leaves its task, and takes
   the worker, then the master down. `GuardedServer.run` stops it at its connection, and says so in the log.
2. `protocol_send` shields its write without a limit: a peer that stops reading pins the sender for ever, and with it the
   shutdown. Here a write has `SEND_WITHIN` seconds; then the connection is torn down.
3. Nobody tells the application that a shutdown began: it only sees its handlers cancelled when `graceful_timeout` is over.
   And without a master (`workers = 0`, as in conf/hypercorn.toml: a start that is refused, or a crash, is then the exit
   status, which a master turns into 0) SIGTERM kills at once. `_serve_until_told` takes the signals, lets the application
   know, and begins hypercorn's own shutdown, which stops listening, when the application has no more calls.
4. The end of a connection (`Connection: close`) is awaited in a task that Quart-Trio has just cancelled, so the peer sees it
   only when `read_timeout` is over. `_close` is shielded, within `CLOSE_WITHIN`.
5. A worker whose master is killed lives on for ever, with its port, and no supervisor knows of it. `_serve_until_told` takes
   that for SIGTERM.
6. Its log lines come twice, once past our format, and a peer's mistake is printed with the traceback of a bug.

The same place is where a media stream is taken over before hypercorn parses it: see `media_lane.py`.

hypercorn imports the application before it looks these names up, so putting ours in their place at import is enough.
"""

import functools
import multiprocessing
import signal
import sys
from collections.abc import Awaitable, Callable
from multiprocessing.process import BaseProcess
from typing import Any, cast

import attrs
import h11
import hypercorn.config
import hypercorn.logging
import hypercorn.trio.run
import structlog
import trio
import wsproto.utilities
from hypercorn.events import Closed, Event, RawData
from hypercorn.trio.tcp_server import MAX_RECV, TCPServer

from transport.media_lane import Gate, is_media_request
from transport.media_lane import serve as serve_media

SEND_WITHIN = 10.0
"""Seconds a single write may take: Twilio reads 50 messages a second or is gone."""
CLOSE_WITHIN = 2.0
"""Seconds the end of a connection may take: TLS says goodbye."""

CUT_OFF = 75
"""EX_TEMPFAIL: the exit status if calls were cut off, because they neither ended nor could be moved in time."""
UNWRITTEN = 74
"""EX_IOERR: the exit status if no call was cut off, but the store did not take all that was to be kept."""

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

    async def _close(self) -> None:
        """See TCPServer."""
        with trio.move_on_after(CLOSE_WITHIN, shield=True) as limit:
            await super()._close()
        if limit.cancelled_caught:
            await trio.aclose_forcefully(self.stream)


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


class GuardedLogger(hypercorn.logging.Logger):
    """hypercorn's log lines, written once and by the root logger."""

    def __init__(self, config: hypercorn.config.Config) -> None:
        super().__init__(config)
        if self.error_logger is not None:
            self.error_logger.handlers.clear()

    async def exception(self, message: str, *args: Any, **kwargs: Any) -> None:
        """A bug, with its traceback; a peer that breaks the protocol is a line."""
        error = sys.exc_info()[1]
        if error is not None and _is_the_peers(error):
            await self.warning("A peer broke the protocol: %s", _first(error))
        else:
            await super().exception(message, *args, **kwargs)


@attrs.define
class Shutdown:
    """The way down of one server process, in two steps."""

    began: trio.Event = attrs.field(factory=trio.Event)
    """Set here: no new calls."""
    drained: trio.Event = attrs.field(factory=trio.Event)
    """Set by the application: no call is left, and hypercorn may stop listening. Until then webhooks are answered: a call
    that leaves its stream asks what is next, and on a single unit nobody else can tell."""
    cut: int = 0
    """Calls that were still up then, and will be cut off."""
    needs: float = 0.0
    """Seconds that the application may take from one to the other."""

    unwritten: int = 0
    """Writes that the store has not taken."""

    def leave(self, unwritten: int) -> None:
        """The application has ended, and left so many writes."""
        self.unwritten = unwritten

    def over(self, cut: int) -> None:
        """The application has drained; `cut` calls are left."""
        self.cut = cut
        self.drained.set()


_worker_serve = hypercorn.trio.run.worker_serve


async def _serve_until_told(
    shutdown: Shutdown,
    app: Any,
    config: hypercorn.config.Config,
    *,
    shutdown_trigger: Callable[[], Awaitable[None]] | None = None,
    **kwargs: Any,
) -> None:
    """hypercorn's server until SIGTERM, SIGINT, SIGHUP or its own trigger, and until the calls are gone. A second SIGINT stops
    at once.

    With several workers the master sends SIGTERM to those still draining: unhandled it would kill them. A worker whose master
    is gone drains.
    """
    if config.graceful_timeout < shutdown.needs:
        log.warning("graceful_timeout_too_short", seconds=config.graceful_timeout, needed=shutdown.needs)
    began = shutdown.began
    signals = {signal.SIGTERM} if shutdown_trigger else {signal.SIGTERM, signal.SIGINT}
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # its terminal is closed, and nobody said `nohup`
        signals.add(signal.SIGHUP)

    async def by_signal() -> None:
        async for number in received:
            if number == signal.SIGINT and began.is_set():
                log.warning("stopped_at_once")
                nursery.cancel_scope.cancel("a second SIGINT")
            began.set()

    async def by_trigger(trigger: Callable[[], Awaitable[None]]) -> None:
        await trigger()
        began.set()

    async def by_orphaning(master: BaseProcess) -> None:
        await trio.lowlevel.wait_readable(master.sentinel)  # its end of a pipe: readable when it is closed
        log.error("master_gone")
        began.set()

    async def down() -> None:
        """Until the drain is over. hypercorn waits for what is open then no longer than what is left of the time for all."""
        await began.wait()
        ends = trio.current_time() + config.graceful_timeout
        with trio.move_on_at(ends):
            await shutdown.drained.wait()
        config.graceful_timeout = max(ends - trio.current_time(), 0.0)

    with trio.open_signal_receiver(*signals) as received:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(by_signal)
            if shutdown_trigger:
                nursery.start_soon(by_trigger, shutdown_trigger)
            if (master := multiprocessing.parent_process()) is not None:
                nursery.start_soon(by_orphaning, master)
            await _worker_serve(app, config, shutdown_trigger=down, **kwargs)
            nursery.cancel_scope.cancel("the server has stopped")
    if shutdown.cut or (began.is_set() and not shutdown.drained.is_set()):
        sys.exit(CUT_OFF)
    if shutdown.unwritten:
        sys.exit(UNWRITTEN)


def install() -> Shutdown:
    """Puts the repairs in hypercorn's place for this process."""
    shutdown = Shutdown()
    hypercorn.config.Config.logger_class = GuardedLogger  # type: ignore[assignment] # meant to be replaced, typed as not
    hypercorn.trio.run.TCPServer = GuardedServer  # type: ignore[misc] # a class in the place of its base
    hypercorn.trio.run.worker_serve = functools.partial(_serve_until_told, shutdown)
    return shutdown


def _is_the_peers(error: BaseException) -> bool:
    """Whether nothing but protocol errors is in `error`."""
    if isinstance(error, BaseExceptionGroup):
        return all(_is_the_peers(each) for each in error.exceptions)
    protocol = (h11.ProtocolError, wsproto.utilities.ProtocolError)
    return isinstance(error, (*protocol, trio.Cancelled))


def _first(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = next((each for each in error.exceptions if not isinstance(each, trio.Cancelled)), error.exceptions[0])
    return f"{type(error).__name__}: {error}"
