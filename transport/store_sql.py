"""The store in SQL: SQLite in a file; every statement runs in a worker thread. The promises are those of `store.Store`."""

import contextlib
import datetime
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import attrs
import sqlalchemy as sa
import trio
from sqlalchemy import event, exc

from actors.messages import Disposition
from actors.notebook import CallRecord
from transport.log import mask_text
from transport.store import (
    DAY,
    FORGOTTEN,
    OPEN,
    Delivery,
    ErrandChange,
    ErrandRow,
    StoreAway,
    StoreDown,
    Unkeepable,
    disposition_kept,
)
from transport.store_rules import finished_stream, opened_again, settled, status_change, turn_rows

SECONDS = 3.0
"""A statement that takes longer has failed for whoever waits for it (it may still be carried out)."""
PASSING = ("database is locked", "database or disk is full", "disk I/O error", "No space left on device")
"""What SQLite and the system say of a file that may be opened in a moment: also when somebody has made room on the disk."""
LOCKED_SECONDS = 2.5
"""How long SQLite waits for another process that writes."""
HINDERED_MS = 200
"""The same for what can as well be done the next time, ms: all that a call is to keep waits behind it."""

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
    sa.Column("reopened_at", sa.Float),
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
    sa.Column("state", sa.String(64), default=""),
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

stories = sa.Table(
    "stories",
    _tables,
    sa.Column("call_sid", sa.String(64), primary_key=True),
    sa.Column("caller", sa.String(64), index=True),
    sa.Column("called", sa.String(64)),
    sa.Column("updated", sa.Float),
    sa.Column("over", sa.Boolean),
    sa.Column("story", sa.JSON),
)
_NEWER_STORY = stories.update().where(stories.c.call_sid == sa.bindparam("its_call"))
"""Written after every turn of every call: made once, and the only statement where the call has a story already."""
errands = sa.Table(
    "errands",
    _tables,
    sa.Column("key", sa.String(200), primary_key=True),
    sa.Column("call_sid", sa.String(64), index=True),
    sa.Column("name", sa.String(64)),
    sa.Column("status", sa.String(32)),
    sa.Column("reference", sa.String(64), index=True, default=""),
    sa.Column("detail", sa.JSON, default=dict),
    sa.Column("begun", sa.Float),
)
deliveries = sa.Table(
    "deliveries",
    _tables,
    sa.Column("call_sid", sa.String(64), primary_key=True),
    sa.Column("state", sa.String(16), index=True),
    sa.Column("due", sa.Float, index=True),
    sa.Column("tries", sa.Integer, default=0),
    sa.Column("error", sa.Text, default=""),
    sa.Column("at", sa.Float),
)
forgotten = sa.Table(
    "forgotten", _tables, sa.Column("call_sid", sa.String(64), primary_key=True), sa.Column("at", sa.Float)
)
"""Calls of numbers that were to be forgotten."""
opted_out = sa.Table(
    "opted_out", _tables, sa.Column("number", sa.String(64), primary_key=True), sa.Column("at", sa.Float)
)


texts = sa.Table(
    "texts",
    _tables,
    sa.Column("errand", sa.String(200), primary_key=True),
    sa.Column("number", sa.String(64), index=True),
    sa.Column("at", sa.Float, index=True),
)
"""Text messages of the last day: who was sent them."""


class SqlStore:
    """See `store.Store`. One thread writes at a time."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        # SQLite takes one writer at a time: more threads would only wait inside it.
        self._limiter = trio.CapacityLimiter(1)

    async def answered(self, call_sid: str, caller: str, called: str, at: float | None = None) -> None:
        """A call rings; a webhook that comes twice changes nothing."""

        def keep(db: sa.Connection) -> None:
            _ensure(db, call_sid)  # its status callback may have been faster
            fresh = calls.c.answered.is_(None)
            change = calls.update().where(calls.c.call_sid == call_sid, fresh)
            db.execute(change.values(caller=caller, called=called, answered=_now(at)))

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
            value = disposition_kept(disposition, status or "").value
            db.execute(calls.update().where(calls.c.call_sid == call_sid).values(disposition=value))

        await self._do(keep)

    async def take_disposition(self, call_sid: str) -> Disposition | None:
        """The stored decision; asking twice answers twice, since webhooks may be repeated."""
        chosen = await self._do(
            lambda db: db.scalar(sa.select(calls.c.disposition).where(calls.c.call_sid == call_sid)), reads=True
        )
        return Disposition(chosen) if chosen else None

    async def reopen(self, call_sid: str, at: float | None = None) -> int:
        """See `store.Store`."""

        def count(db: sa.Connection) -> int:
            _ensure(db, call_sid)
            row = dict(db.execute(sa.select(calls).where(calls.c.call_sid == call_sid)).mappings().one())
            values = opened_again(row, _now(at).timestamp())
            db.execute(calls.update().where(calls.c.call_sid == call_sid).values(values))
            return int(values["reopened"])

        return await self._do(count)

    async def status(
        self, call_sid: str, status: str, sequence: int, caller: str = "", called: str = "", at: float | None = None
    ) -> None:
        """A status callback: late, double or out of order, a final status stays and a later one is not undone."""

        def change(db: sa.Connection) -> None:
            if _is_forgotten(db, call_sid):
                return
            _ensure(db, call_sid)
            row = dict(db.execute(sa.select(calls).where(calls.c.call_sid == call_sid)).mappings().one())
            if values := status_change(row, status, sequence, (caller, called), _now(at)):
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
            row = dict(db.execute(sa.select(calls).where(calls.c.call_sid == record.call_sid)).mappings().one())
            values = finished_stream(row, record, newest)
            db.execute(calls.update().where(calls.c.call_sid == record.call_sid).values(values))
            if record.turns:
                db.execute(turns.insert(), turn_rows(record))

        await self._do(keep)

    async def keep_recording(
        self, recording_sid: str, call_sid: str, url: str, seconds: int, status: str, at: float | None = None
    ) -> None:
        """A voicemail message, or news of one; in any order."""

        def keep(db: sa.Connection) -> None:
            if _is_forgotten(db, call_sid):
                return
            known = db.execute(sa.select(recordings).where(recordings.c.recording_sid == recording_sid)).one_or_none()
            values: dict[str, Any] = {"call_sid": call_sid, "url": url, "seconds": seconds, "status": status}
            if known is None:
                db.execute(recordings.insert().values(recording_sid=recording_sid, at=_now(at), **values))
            elif known.status != "completed":
                change = recordings.update().where(recordings.c.recording_sid == recording_sid)
                db.execute(change.values(values))

        await self._do(keep)

    async def call(self, call_sid: str) -> dict[str, Any] | None:
        """See `store.Store`."""

        def read(db: sa.Connection) -> dict[str, Any] | None:
            row = db.execute(sa.select(calls).where(calls.c.call_sid == call_sid)).mappings().one_or_none()
            if row is None:
                return None
            return {
                **row,
                "turns": _rows(db, turns, turns.c.call_sid == call_sid, turns.c.id),
                "story": db.scalar(sa.select(stories.c.story).where(stories.c.call_sid == call_sid)),
                "errands": _rows(db, errands, errands.c.call_sid == call_sid, errands.c.begun),
                "recordings": _rows(db, recordings, recordings.c.call_sid == call_sid, recordings.c.at),
            }

        return await self._do(read, reads=True)

    # ------------------------------------------------------------ stories

    async def keep_story(
        self,
        call_sid: str,
        caller: str,
        called: str,
        story: Mapping[str, object],
        *,
        over: bool,
        now: float,
        late: bool = False,
    ) -> None:
        """See `store.Store`."""

        def keep(db: sa.Connection) -> None:
            if late and (db.scalar(sa.select(stories.c.updated).where(stories.c.call_sid == call_sid)) or 0.0) > now:
                return
            values = {"caller": caller, "called": called, "story": dict(story), "over": over, "updated": now}
            if db.execute(_NEWER_STORY, {"its_call": call_sid, **values}).rowcount:
                return
            _ensure(db, call_sid)  # so that it is found again, and forgotten, with its call
            unknown = (calls.c.call_sid == call_sid, calls.c.answered.is_(None))
            db.execute(calls.update().where(*unknown).values(caller=caller, called=called, answered=_now()))
            db.execute(stories.insert().values(call_sid=call_sid, **values))

        await self._do(keep)
        if story.get("said", True) == []:  # said to be none: they were dropped
            await self._empty_log()

    async def story(self, call_sid: str) -> dict[str, Any] | None:
        """See `store.Store`."""
        found = sa.select(stories.c.story).where(stories.c.call_sid == call_sid)
        return await self._do(lambda db: db.scalar(found), reads=True)

    async def unfinished(self, caller: str, called: str, since: float) -> str:
        """See `store.Store`."""

        def find(db: sa.Connection) -> str:
            row = _unfinished(db, caller, called, since)
            return row.call_sid if row is not None else ""

        return await self._do(find, reads=True)

    async def take_unfinished(self, caller: str, called: str, since: float) -> dict[str, Any] | None:
        """See `store.Store`."""

        def take(db: sa.Connection) -> dict[str, Any] | None:
            row = _unfinished(db, caller, called, since)
            if row is None:
                return None
            db.execute(stories.update().where(stories.c.call_sid == row.call_sid).values(over=True))
            return dict(row.story)

        return await self._do(take)

    # ------------------------------------------------------------ errands

    async def claim_errand(self, key: str, call_sid: str, name: str, now: float) -> ErrandRow | None:
        """See `store.Store`."""

        def claim(db: sa.Connection) -> ErrandRow | None:
            row = db.execute(sa.select(errands).where(errands.c.key == key)).one_or_none()
            if row is not None:
                return _errand(row)
            values = {"call_sid": call_sid, "name": name, "status": "begun", "begun": now, "detail": {}}
            db.execute(errands.insert().values(key=key, **values))
            return None

        return await self._do(claim)

    async def settle_errand(self, key: str, status: str, reference: str, detail: Mapping[str, object]) -> None:
        """See `store.Store`."""
        await self.change_errand(key, lambda row: settled(row, status, reference, detail))

    async def change_errand(self, key: str, change: ErrandChange) -> ErrandRow | None:
        """See `store.Store`."""

        def apply(db: sa.Connection) -> ErrandRow | None:
            row = db.execute(sa.select(errands).where(errands.c.key == key)).one_or_none()
            after = None if row is None else change(_errand(row))
            if after is not None:
                values = {"status": after.status, "reference": after.reference, "detail": dict(after.detail)}
                db.execute(errands.update().where(errands.c.key == key).values(values))
            return after

        return await self._do(apply)

    async def open_errands(self, name: str, since: float) -> list[ErrandRow]:
        """See `store.Store`."""
        wanted = (errands.c.name == name, errands.c.status.in_(OPEN), errands.c.begun >= since)
        found = sa.select(errands).where(*wanted).order_by(errands.c.begun)
        return await self._do(lambda db: [_errand(row) for row in db.execute(found)], reads=True)

    async def errand_by_reference(self, reference: str) -> ErrandRow | None:
        """See `store.Store`."""

        def read(db: sa.Connection) -> ErrandRow | None:
            mine = (errands.c.reference == reference, errands.c.reference != "")  # many have none yet
            row = db.execute(sa.select(errands).where(*mine).limit(1)).one_or_none()
            return None if row is None else _errand(row)

        return await self._do(read, reads=True)

    async def errands(self, call_sid: str) -> list[ErrandRow]:
        """See `store.Store`."""
        mine = sa.select(errands).where(errands.c.call_sid == call_sid).order_by(errands.c.begun)
        return await self._do(lambda db: [_errand(row) for row in db.execute(mine)], reads=True)

    async def opt_out(self, number: str, now: float) -> None:
        """See `store.Store`."""

        def keep(db: sa.Connection) -> None:
            with contextlib.suppress(exc.IntegrityError), db.begin_nested():
                db.execute(opted_out.insert().values(number=number, at=now))

        await self._do(keep)

    async def has_opted_out(self, number: str) -> bool:
        """See `store.Store`."""
        found = sa.select(opted_out.c.at).where(opted_out.c.number == number)
        return await self._do(lambda db: db.scalar(found) is not None, reads=True)

    async def claim_text(self, number: str, errand: str, now: float, at_most: int) -> bool:
        """See `store.Store`."""

        def claim(db: sa.Connection) -> bool:
            db.execute(texts.delete().where(texts.c.at <= now - DAY))
            if db.scalar(sa.select(texts.c.at).where(texts.c.errand == errand)) is not None:
                return True
            if (db.scalar(sa.select(sa.func.count()).where(texts.c.number == number)) or 0) >= at_most:
                return False
            db.execute(texts.insert().values(errand=errand, number=number, at=now))
            return True

        return await self._do(claim)

    # ------------------------------------------------------------ deliveries

    async def promise_delivery(self, call_sid: str, due: float) -> None:
        """See `store.Store`."""

        def keep(db: sa.Connection) -> None:
            if db.scalar(sa.select(deliveries.c.state).where(deliveries.c.call_sid == call_sid)) is None:
                db.execute(deliveries.insert().values(call_sid=call_sid, state="open", due=due, at=0.0))

        await self._do(keep)

    async def hasten_delivery(self, call_sid: str, due: float) -> None:
        """See `store.Store`."""
        mine = (deliveries.c.call_sid == call_sid, deliveries.c.state == "open", deliveries.c.due > due)
        untried = deliveries.update().where(*mine, deliveries.c.tries == 0)
        await self._do(lambda db: db.execute(untried.values(due=due)))

    async def take_deliveries(self, now: float, lease: float, limit: int) -> list[Delivery]:
        """See `store.Store`."""

        def take(db: sa.Connection) -> list[Delivery]:
            ready = sa.select(deliveries).where(deliveries.c.state == "open", deliveries.c.due <= now)
            rows = db.execute(ready.order_by(deliveries.c.due).limit(limit)).all()
            sids = [row.call_sid for row in rows]
            if sids:
                leased = deliveries.update().where(deliveries.c.call_sid.in_(sids))
                db.execute(leased.values(due=now + lease, tries=deliveries.c.tries + 1))
            return [attrs.evolve(_delivery(row), tries=row.tries + 1) for row in rows]

        return await self._do(take)

    async def next_delivery(self) -> float | None:
        """See `store.Store`."""
        soonest = sa.select(sa.func.min(deliveries.c.due)).where(deliveries.c.state == "open")
        return await self._do(lambda db: db.scalar(soonest), reads=True)

    async def settle_delivery(
        self, call_sid: str, state: str, due: float, error: str, now: float, tries: int | None = None
    ) -> None:
        """See `store.Store`."""
        values = {"state": state, "due": due, "error": error, "at": now}
        values |= {} if tries is None else {"tries": tries}
        mine = deliveries.update().where(deliveries.c.call_sid == call_sid)
        await self._do(lambda db: db.execute(mine.values(values)))

    async def deliveries(self, state: str = "") -> list[Delivery]:
        """See `store.Store`."""
        wanted = sa.select(deliveries).order_by(deliveries.c.due)
        wanted = wanted.where(deliveries.c.state == state) if state else wanted
        return await self._do(lambda db: [_delivery(row) for row in db.execute(wanted)], reads=True)

    async def revive_delivery(self, call_sid: str, due: float) -> bool:
        """See `store.Store`."""
        mine = (deliveries.c.call_sid == call_sid, deliveries.c.state == "dead")
        change = deliveries.update().where(*mine).values(state="open", due=due, tries=0)
        return await self._do(lambda db: db.execute(change).rowcount > 0)

    # ------------------------------------------------------------ forgetting

    async def forget_before(self, before: datetime.datetime) -> int:
        """See `store.Store`."""

        def forget(db: sa.Connection) -> int:
            db.execute(texts.delete().where(texts.c.at <= time.time() - DAY))
            age = sa.func.coalesce(calls.c.ended, calls.c.began, calls.c.answered)
            waiting = sa.select(deliveries.c.call_sid).where(deliveries.c.state == "open")
            old = db.scalars(sa.select(calls.c.call_sid).where(age < before, calls.c.call_sid.not_in(waiting))).all()
            return _forget(db, old)

        gone = await self._do(forget)
        await self._empty_log()
        return gone

    async def forget_number(self, number: str) -> int:
        """See `store.Store`."""

        def forget(db: sa.Connection) -> int:
            sids, now = db.scalars(sa.select(calls.c.call_sid).where(calls.c.caller == number)).all(), time.time()
            db.execute(forgotten.delete().where(forgotten.c.at < now - FORGOTTEN))
            for sid in sids:
                db.execute(forgotten.delete().where(forgotten.c.call_sid == sid))
                db.execute(forgotten.insert().values(call_sid=sid, at=now))
            db.execute(texts.delete().where(texts.c.number == number))
            return _forget(db, sids)

        gone = await self._do(forget)
        await self._empty_log()
        return gone

    async def _empty_log(self) -> None:
        """What was deleted is in the log of what changed, too, until that is begun anew, which may take days. Who reads or writes
        at the moment hinders this: then it is the next one's."""

        def empty() -> None:
            connection = self._engine.raw_connection()
            try:
                connection.execute(f"PRAGMA busy_timeout={HINDERED_MS}")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                connection.execute(f"PRAGMA busy_timeout={round(LOCKED_SECONDS * 1000)}")
                connection.close()

        await self._in_thread(empty)

    async def _do(self, work: Callable[[sa.Connection], T], *, reads: bool = False) -> T:
        def in_thread() -> T:
            with self._engine.execution_options(reads=reads).begin() as db:
                return work(db)

        return await self._in_thread(in_thread)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        try:
            with trio.fail_after(SECONDS):
                return await trio.to_thread.run_sync(work, limiter=self._limiter, abandon_on_cancel=True)
        except (ValueError, OverflowError) as error:
            raise Unkeepable(f"{type(error).__name__}: {error}") from error
        except (exc.SQLAlchemyError, sqlite3.Error, trio.TooSlowError) as error:
            told = str(error).partition("\n(Background on this error")[0]
            raise StoreDown(": ".join(part for part in (type(error).__name__, told) if part)) from error


def open_engine(url: str) -> sa.Engine:
    """The database at `url` (sqlite:///path), with all its tables. Raises StoreDown (StoreAway: that may pass)."""
    try:
        return _make_engine(url)
    except (exc.SQLAlchemyError, OSError) as error:
        why = str(error).splitlines()[0]
        raise (StoreAway if any(passing in why for passing in PASSING) else StoreDown)(
            f"store.url = {url!r} cannot be opened: {why}; it must be a file that can be written"
        ) from error


def _unfinished(db: sa.Connection, caller: str, called: str, since: float) -> sa.Row[Any] | None:
    """The newest story of `caller` with `called`, if it is not over and not older than `since`."""
    mine = (stories.c.caller == caller, stories.c.called == called)
    row = db.execute(sa.select(stories).where(*mine).order_by(stories.c.updated.desc()).limit(1)).one_or_none()
    return row if row is not None and not row.over and row.updated >= since else None


def close(store: SqlStore) -> None:
    """Closes its connections."""
    store._engine.dispose()


def _make_engine(url: str) -> sa.Engine:
    file = Path(sa.make_url(url).database or "")
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):  # a new one is its owner's only, and so is what SQLite puts beside it
        file.touch(0o600, exist_ok=False)
    # What goes wrong is logged, and there are words and numbers of callers in the parameters.
    engine = sa.create_engine(url, connect_args={"timeout": LOCKED_SECONDS}, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def _tune(connection: Any, _: object) -> None:
        connection.isolation_level = None  # the driver's own idea of a transaction begins after its first read
        _use_wal(connection)
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA secure_delete=ON")  # not every SQLite overwrites unasked what is forgotten

    @event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        # A writer that reads first must be the only one from the start, or two of them decide on the same row.
        reads = connection.get_execution_options().get("reads", False)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    with engine.begin() as db:
        _tables.create_all(db)
        _add_missing_columns(db)
        db.exec_driver_sql("PRAGMA user_version = 0")  # nothing else so far is refused by a file that can only be read
    return engine


def _add_missing_columns(db: sa.Connection) -> None:
    """A file of an earlier version gets what came since; nothing is ever taken away."""
    inspector = sa.inspect(db)
    for table in _tables.sorted_tables:
        there = {column["name"] for column in inspector.get_columns(table.name)}
        for column in table.columns:
            if column.name not in there:
                kind = column.type.compile(db.dialect)
                db.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {column.name} {kind}")


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


def _rows(db: sa.Connection, table: sa.Table, mine: Any, order: Any) -> list[dict[str, Any]]:
    return [dict(row) for row in db.execute(sa.select(table).where(mine).order_by(order)).mappings()]


def _errand(row: Any) -> ErrandRow:
    return ErrandRow(
        row.key, row.call_sid, row.name, row.status, row.reference or "", dict(row.detail or {}), row.begun
    )


def _delivery(row: Any) -> Delivery:
    return Delivery(row.call_sid, row.state, row.due, row.tries, row.error or "")


def _is_forgotten(db: sa.Connection, call_sid: str) -> bool:
    return db.scalar(sa.select(forgotten.c.at).where(forgotten.c.call_sid == call_sid)) is not None


def _forget(db: sa.Connection, sids: Sequence[str]) -> int:
    for start in range(0, len(sids), 500):
        some = sids[start : start + 500]
        for table in (turns, streams, recordings, errands, stories, deliveries, calls):
            db.execute(table.delete().where(table.c.call_sid.in_(some)))
    return len(sids)


def _now(at: float | None = None) -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC) if at is None else datetime.datetime.fromtimestamp(at, datetime.UTC)


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
