"""The store: what must outlive a call, in SQL. SQLite in a file; every statement runs in a worker thread.

Raises StoreDown when the database cannot be used; callers decide what that means, and none of them is in the audio path.
"""

import contextlib
import datetime
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
import trio
from sqlalchemy import event, exc

from actors.messages import Disposition
from actors.notebook import CallRecord
from transport.log import mask_text

SECONDS = 3.0
"""A statement that takes longer has failed for whoever waits for it (it may still be carried out)."""
LOCKED_SECONDS = 2.5
"""How long SQLite waits for another process that writes."""

T = TypeVar("T")
_tables = sa.MetaData()

calls = sa.Table(
    "calls",
    _tables,
    sa.Column("call_sid", sa.String(64), primary_key=True),
    sa.Column("stream_sid", sa.String(64), default=""),
    sa.Column("caller", sa.String(64), default=""),
    sa.Column("called", sa.String(64), default=""),
    sa.Column("answered", sa.DateTime(timezone=True)),
    sa.Column("began", sa.DateTime(timezone=True)),
    sa.Column("ended", sa.DateTime(timezone=True)),
    sa.Column("seconds", sa.Float),
    sa.Column("disposition", sa.String(32)),
    sa.Column("reason", sa.Text, default=""),
    sa.Column("status", sa.String(32), default=""),
    sa.Column("status_sequence", sa.Integer, default=-1),
    sa.Column("reopened", sa.Integer, default=0),
    sa.Column("streams", sa.Integer, default=0),
    sa.Column("tokens", sa.Integer, default=0),
    sa.Column("details", sa.JSON, default=dict),
)
streams = sa.Table(
    "streams",
    _tables,
    sa.Column("stream_sid", sa.String(64), primary_key=True),
    sa.Column("call_sid", sa.ForeignKey("calls.call_sid"), index=True),
    sa.Column("began", sa.DateTime(timezone=True)),
    sa.Column("ended", sa.DateTime(timezone=True)),
    sa.Column("seconds", sa.Float),
    sa.Column("disposition", sa.String(32)),
    sa.Column("reason", sa.Text),
)
turns = sa.Table(
    "turns",
    _tables,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("call_sid", sa.ForeignKey("calls.call_sid"), index=True),
    sa.Column("stream_sid", sa.String(64)),
    sa.Column("number", sa.Integer),
    sa.Column("who", sa.String(16)),
    sa.Column("item", sa.String(64)),
    sa.Column("began", sa.Float),
    sa.Column("text", sa.Text),
    sa.Column("heard_text", sa.Text),
    sa.Column("heard_ms", sa.Integer),
    sa.Column("generated_ms", sa.Integer),
    sa.Column("interrupted", sa.Boolean),
    sa.Column("latency_ms", sa.JSON),
)
used_tokens = sa.Table(
    "used_tokens",
    _tables,
    sa.Column("nonce", sa.String(64), primary_key=True),
    sa.Column("expires", sa.Integer, index=True),
)
recordings = sa.Table(
    "recordings",
    _tables,
    sa.Column("recording_sid", sa.String(64), primary_key=True),
    sa.Column("call_sid", sa.String(64), index=True),
    sa.Column("url", sa.Text),
    sa.Column("seconds", sa.Integer),
    sa.Column("status", sa.String(32)),
    sa.Column("at", sa.DateTime(timezone=True)),
)

FINAL = frozenset({"completed", "busy", "no-answer", "failed", "canceled"})
"""Call statuses after which none may follow."""


class StoreDown(Exception):
    """The database could not be used."""


class Store:
    """Calls, turns, used tokens and voicemail. One thread writes at a time; leave `open_store` to close it."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        # SQLite takes one writer at a time: more threads would only wait inside it.
        self._limiter = trio.CapacityLimiter(1)

    async def answered(self, call_sid: str, caller: str, called: str) -> None:
        """A call rings; a webhook that comes twice changes nothing."""

        def keep(db: sa.Connection) -> None:
            _ensure(db, call_sid)  # its status callback may have been faster
            fresh = calls.c.answered.is_(None)
            change = calls.update().where(calls.c.call_sid == call_sid, fresh)
            db.execute(change.values(caller=caller, called=called, answered=_now()))

        await self._do(keep)

    async def claim_token(self, nonce: str, expires: int, now: float) -> bool:
        """Whether token `nonce` is used for the first time. Forgets those that expired before `now` (unix seconds)."""

        def claim(db: sa.Connection) -> bool:
            db.execute(used_tokens.delete().where(used_tokens.c.expires < now - 60))
            with contextlib.suppress(exc.IntegrityError):
                db.execute(used_tokens.insert().values(nonce=nonce, expires=expires))
                return True
            return False

        return await self._do(claim)

    async def keep_disposition(self, call_sid: str, disposition: Disposition) -> None:
        """What `/twilio/after` is to answer."""

        def keep(db: sa.Connection) -> None:
            _ensure(db, call_sid)
            status = db.scalar(sa.select(calls.c.status).where(calls.c.call_sid == call_sid))
            over = status in FINAL and disposition is Disposition.RESUME  # there is nothing to resume
            value = (Disposition.HANG_UP if over else disposition).value
            db.execute(calls.update().where(calls.c.call_sid == call_sid).values(disposition=value))

        await self._do(keep)

    async def take_disposition(self, call_sid: str) -> Disposition | None:
        """The stored decision; asking twice answers twice, since webhooks may be repeated."""
        chosen = await self._do(
            lambda db: db.scalar(sa.select(calls.c.disposition).where(calls.c.call_sid == call_sid)), reads=True
        )
        return Disposition(chosen) if chosen else None

    async def reopen(self, call_sid: str) -> int:
        """The stream is opened again, undecided: how often that has been done now."""

        def count(db: sa.Connection) -> int:
            _ensure(db, call_sid)
            change = calls.update().where(calls.c.call_sid == call_sid)
            db.execute(change.values(reopened=calls.c.reopened + 1, disposition=None))
            return int(db.scalar(sa.select(calls.c.reopened).where(calls.c.call_sid == call_sid)) or 0)

        return await self._do(count)

    async def status(self, call_sid: str, status: str, sequence: int) -> None:
        """A status callback: late, double or out of order, a final status stays and a later one is not undone."""

        def change(db: sa.Connection) -> None:
            _ensure(db, call_sid)
            row = db.execute(sa.select(calls).where(calls.c.call_sid == call_sid)).one()
            if row.status in FINAL or (sequence <= row.status_sequence and status not in FINAL):
                return
            values: dict[str, Any] = {"status": status, "status_sequence": sequence}
            if status in FINAL and row.ended is None:
                values["ended"] = _now()
            if status in FINAL and row.disposition == Disposition.RESUME.value:
                values["disposition"] = Disposition.HANG_UP.value  # the stream was lost because the caller hung up
            db.execute(calls.update().where(calls.c.call_sid == call_sid).values(values))

        await self._do(change)

    async def keep_record(self, record: CallRecord) -> None:
        """The finished stream of a call. A stream that was kept before is not kept twice; a late one decides nothing."""

        def keep(db: sa.Connection) -> None:
            _ensure(db, record.call_sid)
            known = sa.select(streams.c.stream_sid).where(streams.c.stream_sid == record.stream_sid)
            if db.scalar(known) is not None:
                return
            of_call = streams.c.call_sid == record.call_sid
            newest = db.scalar(sa.select(sa.func.max(streams.c.began)).where(of_call))
            db.execute(streams.insert().values(_stream_row(record)))
            row = db.execute(sa.select(calls).where(calls.c.call_sid == record.call_sid)).one()
            values = _sums(record, row)
            if newest is None or newest <= record.began.replace(tzinfo=None):
                values |= _last_word(record, row)
            db.execute(calls.update().where(calls.c.call_sid == record.call_sid).values(values))
            if record.turns:
                db.execute(turns.insert(), _turn_rows(record))

        await self._do(keep)

    async def keep_recording(self, recording_sid: str, call_sid: str, url: str, seconds: int, status: str) -> None:
        """A voicemail message, or news of one; in any order."""

        def keep(db: sa.Connection) -> None:
            known = db.execute(sa.select(recordings).where(recordings.c.recording_sid == recording_sid)).one_or_none()
            values: dict[str, Any] = {"call_sid": call_sid, "url": url, "seconds": seconds, "status": status}
            if known is None:
                db.execute(recordings.insert().values(recording_sid=recording_sid, at=_now(), **values))
            elif known.status != "completed":
                change = recordings.update().where(recordings.c.recording_sid == recording_sid)
                db.execute(change.values(values))

        await self._do(keep)

    async def call(self, call_sid: str) -> dict[str, Any] | None:
        """The row of a call with its turns under "turns"; None if there is none."""

        def read(db: sa.Connection) -> dict[str, Any] | None:
            row = db.execute(sa.select(calls).where(calls.c.call_sid == call_sid)).mappings().one_or_none()
            if row is None:
                return None
            said = db.execute(sa.select(turns).where(turns.c.call_sid == call_sid).order_by(turns.c.id)).mappings()
            return {**row, "turns": [dict(turn) for turn in said]}

        return await self._do(read, reads=True)

    async def _do(self, work: Callable[[sa.Connection], T], *, reads: bool = False) -> T:
        def in_thread() -> T:
            with self._engine.execution_options(reads=reads).begin() as db:
                return work(db)

        try:
            with trio.fail_after(SECONDS):
                return await trio.to_thread.run_sync(in_thread, limiter=self._limiter, abandon_on_cancel=True)
        except (exc.SQLAlchemyError, ValueError, OverflowError, trio.TooSlowError) as error:
            raise StoreDown(f"{type(error).__name__}: {error}") from error


def check(url: str) -> None:
    """Opens the store at `url` and closes it again, before there is a server. Raises StoreDown."""
    _open(url).dispose()


@contextlib.asynccontextmanager
async def open_store(url: str) -> AsyncIterator[Store]:
    """The store at `url` (sqlite:///path), its tables made if they are missing. Raises StoreDown."""
    engine = await trio.to_thread.run_sync(_open, url)
    try:
        yield Store(engine)
    finally:
        engine.dispose()


def _open(url: str) -> sa.Engine:
    if not url.startswith("sqlite:///"):
        raise StoreDown(f"store.url = {url!r} cannot be opened: allowed is sqlite:///path/to/file.db")
    try:
        return _make_engine(url)
    except (exc.SQLAlchemyError, OSError) as error:
        why = str(error).splitlines()[0]
        raise StoreDown(
            f"store.url = {url!r} cannot be opened: {why}; it must be a file that can be written"
        ) from error


def _make_engine(url: str) -> sa.Engine:
    Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(url, connect_args={"timeout": LOCKED_SECONDS})

    @event.listens_for(engine, "connect")
    def _tune(connection: Any, _: object) -> None:
        connection.isolation_level = None  # the driver's own idea of a transaction begins after its first read
        _use_wal(connection)
        connection.execute("PRAGMA synchronous=NORMAL")

    @event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        # A writer that reads first must be the only one from the start, or two of them decide on the same row.
        reads = connection.get_execution_options().get("reads", False)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    with engine.begin() as db:
        _tables.create_all(db)
    return engine


def _use_wal(connection: Any) -> None:
    """Readers never wait for the writer. SQLite does not wait by itself for others that switch at the same time."""
    give_up = time.monotonic() + LOCKED_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.02)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _ensure(db: sa.Connection, call_sid: str, **values: Any) -> None:
    """The row of `call_sid`, made with `values` if it is new."""
    if db.scalar(sa.select(calls.c.call_sid).where(calls.c.call_sid == call_sid)) is None:
        db.execute(calls.insert().values(call_sid=call_sid, **values))


def _stream_row(record: CallRecord) -> dict[str, Any]:
    return {
        "stream_sid": record.stream_sid,
        "call_sid": record.call_sid,
        "began": record.began,
        "ended": record.ended,
        "seconds": round(record.seconds, 3),
        "disposition": record.disposition.value if record.disposition else None,
        "reason": mask_text(record.reason),
    }


def _sums(record: CallRecord, row: Any) -> dict[str, Any]:
    """What every stream adds to its call."""
    return {
        "began": row.began or record.began,
        "seconds": (row.seconds or 0.0) + round(record.seconds, 3),
        "streams": row.streams + 1,
        "tokens": row.tokens + record.tokens,
    }


def _last_word(record: CallRecord, row: Any) -> dict[str, Any]:
    """What the newest stream says of its call. A disposition that is stored was stored by somebody who knew better."""
    return {
        "stream_sid": record.stream_sid,
        "ended": record.ended,
        "disposition": row.disposition or (record.disposition.value if record.disposition else None),
        "reason": mask_text(record.reason),
        "details": record_details(record),
    }


def record_details(record: CallRecord) -> dict[str, Any]:
    """What of a record has no column of its own, as plain data."""
    return {
        "frames_in": record.frames_in,
        "frames_out": record.frames_out,
        "silence_in_ms": record.silence_in_ms,
        "first_frame_ms": record.first_frame_ms,
        "keys": len(record.keys),
        "interruptions": [
            {
                "at": round(i.at, 3),
                "item": i.item,
                "heard_ms": i.heard_ms,
                "truncate_ms": i.truncate_ms,
                "generated_ms": i.generated_ms,
                "bound_ms": i.bound_ms,
                "reason": i.reason,
            }
            for i in record.interruptions
        ],
        "channels": {
            m.name: {
                "capacity": m.capacity,
                "policy": m.policy,
                "taken_in": m.taken_in,
                "dropped": m.dropped,
                "peak": m.peak,
            }
            for m in record.mailboxes
        },
        "errors": [{"at": round(t.at, 3), "kind": t.kind, "text": mask_text(t.text)} for t in record.errors],
        "errors_left_out": record.errors_left_out,
    }


def _turn_rows(record: CallRecord) -> list[dict[str, Any]]:
    return [
        {
            "call_sid": record.call_sid,
            "stream_sid": record.stream_sid,
            "number": number,
            "who": turn.who,
            "item": turn.item,
            "began": round(turn.began, 3),
            "text": turn.text,
            "heard_text": turn.heard_text,
            "heard_ms": turn.heard_ms,
            "generated_ms": turn.generated_ms,
            "interrupted": turn.interrupted,
            "latency_ms": turn.latency_ms,
        }
        for number, turn in enumerate(record.turns, 1)
    ]
