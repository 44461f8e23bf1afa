"""Where recordings of calls are kept: one file a call, the newest ones, no longer than the call itself is."""

import datetime
import functools
import os
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import attrs
import structlog
import trio

from actors.call import CallPlan
from actors.messages import CallBegan, Disposition
from actors.notebook import CallRecord
from conf.settings import Settings
from transport.flight_file import ENDING, VERSION, Head
from transport.flight_recorder import FlightRecorder

FILES_AT_MOST = 500
"""Recordings in a folder: 128 MB at the very most. The oldest are deleted."""
HALF_SECONDS = 600.0
"""Seconds after which nobody writes a file any more that is not whole."""
WRITE_WITHIN = 5.0
"""Seconds for a file to be written; a disk that hangs costs the recording."""
KEPT_OUT = ("url", "failover_url", "human_number")
"""Settings that are nobody's business and change nothing that a call does."""

log = structlog.get_logger("triode.flight")


@attrs.define
class FlightFolder:
    """The folder, and what is kept in it: `calls` as `server.flight_calls`, `keep_days` as `store.keep_days`."""

    path: Path
    calls: str
    keep_days: float
    clock: Callable[[], float] = time.time
    files_at_most: int = FILES_AT_MOST
    _limiter: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(1))

    def wants(self, record: CallRecord) -> bool:
        """Whether the recording of this call is to be kept."""
        return self.calls == "all" or bool(record.errors) or record.disposition is Disposition.IVR

    async def keep(self, record: CallRecord, recorder: FlightRecorder) -> None:
        """Writes the recording of a call that is over, if it is wanted. Bounded; a failure is logged."""
        if not self.wants(record):
            return
        name = f"{_safe(record.call_sid)}-{_safe(record.stream_sid)}{ENDING}"
        data, now = recorder.finish(), self.clock()

        def write() -> None:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            half = self.path / f".{name}.{os.getpid()}"
            try:
                half.write_bytes(data)
                half.chmod(0o600)
                os.utime(half, (now, now))
                half.replace(self.path / name)
            finally:  # the disk may be full
                half.unlink(missing_ok=True)
            self._delete_the_old(now)

        if await self._in_thread(write):
            log.info("flight_kept", file=name, bytes=len(data))

    async def tidy(self) -> None:
        """Deletes what is too old, or too much."""
        await self._in_thread(functools.partial(self._delete_the_old, self.clock()))

    async def _in_thread(self, work: Callable[[], None]) -> bool:
        try:
            with trio.fail_after(WRITE_WITHIN):
                await trio.to_thread.run_sync(work, limiter=self._limiter, abandon_on_cancel=True)
        except (OSError, trio.TooSlowError) as error:
            log.error("flight_not_kept", folder=str(self.path), error=str(error) or "too slow")
            return False
        return True

    def _delete_the_old(self, now: float) -> None:
        files = sorted(_files(self.path), key=_age, reverse=True)
        oldest = now - self.keep_days * 86_400 if self.keep_days else 0.0
        for number, file in enumerate(files):
            if number >= self.files_at_most or _age(file) < oldest:
                file.unlink(missing_ok=True)  # another process may have been faster
        for half in self.path.glob(f".*{ENDING}.*"):
            if _age(half) < now - HALF_SECONDS:  # who was writing it was killed
                half.unlink(missing_ok=True)


def folder_of(settings: Settings, clock: Callable[[], float] = time.time) -> FlightFolder | None:
    """The folder of the settings. None if there is none, or if no words are to be kept: there are words in recordings."""
    server, store = settings.server, settings.store
    if not server.flight_folder or store.transcripts == "drop":
        return None
    return FlightFolder(Path(server.flight_folder), server.flight_calls, store.keep_days, clock)


def recorder_of(
    settings: Settings,
    plan: CallPlan,
    sids: tuple[str, str],
    began: CallBegan,
    called: str,
    wall: datetime.datetime,
    endpoints: int,
) -> FlightRecorder:
    """A recorder for a call that begins now."""
    kept = {name: attrs.asdict(getattr(settings, name)) for name in ("model", "call", "audio")}
    head = Head(
        flight=VERSION,
        call_sid=sids[0],
        stream_sid=sids[1],
        flow=plan.rules.flow.name,
        wall=wall.isoformat(),
        before=began.before.value,
        caller=began.caller,
        called=called,
        story=None if began.story is None else dict(began.story),
        outcome=began.outcome,
        settings={
            name: {key: value for key, value in values.items() if key not in KEPT_OUT} for name, values in kept.items()
        },
        human=bool(settings.call.human_number),
        endpoints=endpoints,
    )
    return FlightRecorder(head)


async def forget_unknown(folder: Path, known: Callable[[str], Awaitable[object]]) -> int:
    """Deletes the recordings of calls that are not known any more; how many."""
    gone = [file for file in _files(folder) if not await known(file.name.partition("-")[0])]
    for file in gone:
        file.unlink(missing_ok=True)
    return len(gone)


def _files(folder: Path) -> Iterable[Path]:
    return list(folder.glob(f"*{ENDING}"))


def _age(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _safe(sid: str) -> str:
    """A SID as part of a file's name: it came from outside."""
    return "".join(c for c in sid if c.isascii() and c.isalnum())[:64] or "unknown"
