"""The store: what must outlive a call, in SQL. SQLite in a file; every statement runs in a worker thread.

Raises StoreDown when the database cannot be used; callers decide what that means, and none of them is in the audio path.
"""

import contextlib
import datetime
import functools
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
import trio
from sqlalchemy import event, exc

from actors.messages import Disposition
from actors.notebook import CallRecord

SECONDS = 5.0
"""A statement that takes longer has failed for whoever waits for it (it may still be carried out)."""

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
        await self._do(lambda db: _ensure(db, call_sid, caller=caller, called=called, answered=_now()))

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
            db.execute(calls.update().where(calls.c.call_sid == call_sid).values(disposition=disposition.value))

        await self._do(keep)

    async def take_disposition(self, call_sid: str) -> Disposition | None:
        """The stored decision; asking twice answers twice, since webhooks may be repeated."""
        chosen = await self._do(
            lambda db: db.scalar(sa.select(calls.c.disposition).where(calls.c.call_sid == call_sid))
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
            db.execute(calls.update().where(calls.c.call_sid == call_sid).values(values))

        await self._do(change)

    async def keep_record(self, record: CallRecord) -> None:
        """The finished stream of a call. A stream that was kept before is not kept twice."""

        def keep(db: sa.Connection) -> None:
            _ensure(db, record.call_sid)
            done = sa.select(turns.c.id).where(turns.c.stream_sid == record.stream_sid).limit(1)
            row = db.execute(sa.select(calls).where(calls.c.call_sid == record.call_sid)).one()
            if row.stream_sid == record.stream_sid and row.seconds is not None:
                return
            db.execute(calls.update().where(calls.c.call_sid == record.call_sid).values(_call_values(record, row)))
            if record.turns and db.scalar(done) is None:
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

        return await self._do(read)

    async def _do(self, work: Callable[[sa.Connection], T]) -> T:
        def in_thread() -> T:
            with self._engine.begin() as db:
                return work(db)

        try:
            with trio.fail_after(SECONDS):
                return await trio.to_thread.run_sync(in_thread, limiter=self._limiter, abandon_on_cancel=True)
        except (exc.SQLAlchemyError, trio.TooSlowError) as error:
            raise StoreDown(f"{type(error).__name__}: {error}") from error


@contextlib.asynccontextmanager
async def open_store(url: str) -> AsyncIterator[Store]:
    """The store at `url` (sqlite:///path), its tables made if they are missing. Raises StoreDown."""
    make = functools.partial(_make_engine, url)
    try:
        engine = await trio.to_thread.run_sync(make)
    except (exc.SQLAlchemyError, OSError) as error:
        raise StoreDown(f"store.url = {url!r} cannot be opened: {error}") from error
    try:
        yield Store(engine)
    finally:
        engine.dispose()


def _make_engine(url: str) -> sa.Engine:
    Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(url, connect_args={"timeout": SECONDS})

    @event.listens_for(engine, "connect")
    def _tune(connection: Any, _: object) -> None:
        connection.execute("PRAGMA journal_mode=WAL")  # readers never wait for the writer
        connection.execute("PRAGMA synchronous=NORMAL")

    _tables.create_all(engine)
    return engine


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _ensure(db: sa.Connection, call_sid: str, **values: Any) -> None:
    """The row of `call_sid`, made with `values` if it is new."""
    if db.scalar(sa.select(calls.c.call_sid).where(calls.c.call_sid == call_sid)) is None:
        db.execute(calls.insert().values(call_sid=call_sid, **values))


def _call_values(record: CallRecord, row: Any) -> dict[str, Any]:
    return {
        "stream_sid": record.stream_sid,
        "began": row.began or record.began,
        "ended": record.ended,
        "seconds": (row.seconds or 0.0) + round(record.seconds, 3),
        "disposition": record.disposition.value if record.disposition else None,
        "reason": record.reason,
        "streams": row.streams + 1,
        "tokens": row.tokens + record.tokens,
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
        "errors": [{"at": round(t.at, 3), "kind": t.kind, "text": t.text} for t in record.errors],
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
