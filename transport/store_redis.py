"""The store in Redis (6.2 or newer, one server, not a cluster). The promises are those of `store.Store`.

What must not be torn apart is one Lua script (`store_redis_scripts.py`); a call's own document is read, decided upon here,
and written if nobody changed it meanwhile. Every key begins with `triode:`. Times are UTC.
"""

import contextlib
import datetime
import json
import logging
import math
import re
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

import trio
from coredis.connection import TCPConnection, TCPLocation
from coredis.exceptions import ReadOnlyError, RedisError, ResponseError

from actors.messages import Disposition
from actors.notebook import CallRecord
from transport import store_redis_scripts as scripts
from transport.store import (
    DAY,
    FORGOTTEN,
    OPEN,
    Delivery,
    ErrandChange,
    ErrandRow,
    Store,
    StoreAway,
    StoreDown,
    disposition_kept,
)
from transport.store_rules import finished_stream, opened_again, settled, status_change, turn_rows

SECONDS = 3.0
"""An operation that takes longer has failed for whoever waits for it (it may still be carried out)."""
ANSWER_SECONDS = 2.5
"""A server that does not answer for so long is connected to anew."""
CHANGES_AT_MOST = 50
"""How often a change of a call is tried when others change it at the same moment."""
AT_ONCE = 100
"""Calls that one script looks at: Redis serves nobody else meanwhile."""
PASSING = ("BUSY ", "MASTERDOWN ")
"""How answers begin of a Redis that others hold up, or whose own source is away."""
TOKEN_GRACE = 60
"""Seconds that a token is remembered after it has expired: clocks differ a little."""

DELIVERY_STATES = ("open", "delivered", "dead")
NEW_CALL: Mapping[str, Any] = {
    "call_sid": "",
    "stream_sid": "",
    "caller": "",
    "called": "",
    "answered": None,
    "began": None,
    "ended": None,
    "seconds": None,
    "disposition": None,
    "reason": "",
    "status": "",
    "status_sequence": -1,
    "reopened": 0,
    "reopened_at": None,
    "streams": 0,
    "tokens": 0,
    "details": {},
}
TIMES = ("answered", "began", "ended")

Row = dict[str, Any]
Began = dict[str, datetime.datetime]
"""When each stream of a call began, by its SID."""


class RedisStore:
    """See `store.Store`."""

    def __init__(self, line: "Line") -> None:
        self._line = line

    async def answered(self, call_sid: str, caller: str, called: str, at: float | None = None) -> None:
        """See `store.Store`."""

        def keep(row: Row, _: Began) -> Row:
            fresh = row["answered"] is None
            return {"caller": caller, "called": called, "answered": _now(at)} if fresh else {}

        await self._change(call_sid, keep)

    async def claim_token(self, nonce: str, expires: int, now: float) -> bool:
        """See `store.Store`. Redis forgets it by itself."""
        with _bounded():
            seconds = max(1, math.ceil(expires + TOKEN_GRACE - now))
            return await self._line.ask("SET", f"triode:token:{nonce}", 1, "NX", "EX", seconds) is not None

    async def keep_disposition(self, call_sid: str, disposition: Disposition) -> None:
        """See `store.Store`."""
        await self._change(call_sid, lambda row, _: {"disposition": disposition_kept(disposition, row["status"]).value})

    async def take_disposition(self, call_sid: str) -> Disposition | None:
        """See `store.Store`."""
        with _bounded():
            kept = await self._line.ask("HGET", f"triode:call:{call_sid}", "document")
            chosen = _opened(call_sid, kept)[0]["disposition"]
            return Disposition(chosen) if chosen else None

    async def reopen(self, call_sid: str, at: float | None = None) -> int:
        """See `store.Store`."""
        row = await self._change(call_sid, lambda row, _: opened_again(row, _seconds(_now(at))))
        return int(row["reopened"])

    async def status(
        self, call_sid: str, status: str, sequence: int, caller: str = "", called: str = "", at: float | None = None
    ) -> None:
        """See `store.Store`."""
        with _bounded():
            if await self._line.ask("EXISTS", f"triode:forgotten:{call_sid}"):
                return
        numbers = caller, called
        await self._change(call_sid, lambda row, _: status_change(row, status, sequence, numbers, _now(at)))

    async def keep_record(self, record: CallRecord) -> None:
        """See `store.Store`."""

        def keep(row: Row, began: Began) -> Row | None:
            if record.stream_sid in began:
                return None
            values = finished_stream(row, record, max(began.values(), default=None))
            began[record.stream_sid] = _utc(record.began)
            return values

        await self._change(record.call_sid, keep, turn_rows(record))

    async def keep_recording(
        self, recording_sid: str, call_sid: str, url: str, seconds: int, status: str, at: float | None = None
    ) -> None:
        """See `store.Store`."""
        await self._run(scripts.KEEP_RECORDING, recording_sid, call_sid, url, seconds, status, _now(at).isoformat())

    async def call(self, call_sid: str) -> dict[str, Any] | None:
        """See `store.Store`."""
        with _bounded():
            kept, turns, story, errands, recordings = await self._run(scripts.READ_CALL, call_sid)
            if kept is None:
                return None
            return {
                **_opened(call_sid, kept)[0],
                "turns": [{"id": number, **json.loads(turn)} for number, turn in enumerate(turns, 1)],
                "story": None if story is None else json.loads(story),
                "errands": sorted((_errand_row(each) for each in errands), key=lambda row: row["begun"]),
                "recordings": sorted((_recording(each) for each in recordings), key=lambda row: row["at"]),
            }

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
        with _bounded():
            text = _text(story)
        await self.answered(call_sid, caller, called)  # so that it is found again, and forgotten, with its call
        both = _both(caller, called)
        await self._run(scripts.KEEP_STORY, call_sid, both, text, int(over), float(now), int(late))

    async def story(self, call_sid: str) -> dict[str, Any] | None:
        """See `store.Store`."""
        with _bounded():
            kept = await self._line.ask("HGET", f"triode:story:{call_sid}", "story")
            return None if kept is None else json.loads(kept)

    async def unfinished(self, caller: str, called: str, since: float) -> str:
        """See `store.Store`."""
        return await self._run(scripts.UNFINISHED, _both(caller, called), float(since)) or ""

    async def take_unfinished(self, caller: str, called: str, since: float) -> dict[str, Any] | None:
        """See `store.Store`."""
        taken = await self._run(scripts.TAKE_UNFINISHED, _both(caller, called), float(since))
        return None if taken is None else json.loads(taken)

    # ------------------------------------------------------------ errands

    async def claim_errand(self, key: str, call_sid: str, name: str, now: float) -> ErrandRow | None:
        """See `store.Store`."""
        known = await self._run(scripts.CLAIM_ERRAND, key, call_sid, name, float(now))
        return _errand(known) if known else None

    async def settle_errand(self, key: str, status: str, reference: str, detail: Mapping[str, object]) -> None:
        """See `store.Store`."""
        await self.change_errand(key, lambda row: settled(row, status, reference, detail))

    async def change_errand(self, key: str, change: ErrandChange) -> ErrandRow | None:
        """See `store.Store`."""
        with _bounded():
            for _ in range(CHANGES_AT_MOST):
                known = _pairs(await self._run(scripts.READ_ERRAND, key))
                after = change(_errand_of(known)) if known else None
                if after is None:
                    return None
                before = (known["status"], known["reference"], known["detail"])
                words = (after.status, after.reference, _text(after.detail), int(after.status in OPEN))
                if await self._run(scripts.CHANGE_ERRAND, key, *before, *words):
                    return after
        raise StoreDown(f"errand {key} is changed by others all the time")

    async def open_errands(self, name: str, since: float) -> list[ErrandRow]:
        """See `store.Store`."""
        return [_errand(row) for row in await self._run(scripts.OPEN_ERRANDS, name, float(since))]

    async def errand_by_reference(self, reference: str) -> ErrandRow | None:
        """See `store.Store`."""
        known = await self._run(scripts.ERRAND_BY_REFERENCE, reference)
        return _errand(known) if known else None

    async def errands(self, call_sid: str) -> list[ErrandRow]:
        """See `store.Store`."""
        known = await self._run(scripts.ERRANDS, call_sid)
        rows = sorted(known, key=lambda flat: _errand_row(flat)["begun"])
        return [_errand(row) for row in rows]

    async def opt_out(self, number: str, now: float) -> None:
        """See `store.Store`."""
        with _bounded():
            await self._line.ask("HSETNX", "triode:opted_out", number, float(now))

    async def has_opted_out(self, number: str) -> bool:
        """See `store.Store`."""
        with _bounded():
            return bool(await self._line.ask("HEXISTS", "triode:opted_out", number))

    async def claim_text(self, number: str, errand: str, now: float, at_most: int) -> bool:
        """See `store.Store`."""
        bounds = (float(now), float(now - DAY), at_most, round(DAY))
        return bool(await self._run(scripts.CLAIM_TEXT, number, errand, *bounds))

    # ------------------------------------------------------------ deliveries

    async def promise_delivery(self, call_sid: str, due: float) -> None:
        """See `store.Store`."""
        await self._run(scripts.PROMISE_DELIVERY, call_sid, float(due))

    async def hasten_delivery(self, call_sid: str, due: float) -> None:
        """See `store.Store`."""
        await self._run(scripts.HASTEN_DELIVERY, call_sid, float(due))

    async def take_deliveries(self, now: float, lease: float, limit: int) -> list[Delivery]:
        """See `store.Store`."""
        taken = await self._run(scripts.TAKE_DELIVERIES, float(now), float(now + lease), limit)
        return [_delivery(flat) for flat in taken]

    async def next_delivery(self) -> float | None:
        """See `store.Store`."""
        with _bounded():
            first = await self._line.ask("ZRANGE", "triode:deliveries:open", 0, 0, "WITHSCORES")
            return float(first[0][1]) if first else None

    async def settle_delivery(
        self, call_sid: str, state: str, due: float, error: str, now: float, tries: int | None = None
    ) -> None:
        """See `store.Store`."""
        counted = () if tries is None else ("tries", tries)
        told = ("error", error, "at", float(now), *counted)
        await self._run(scripts.MOVE_DELIVERY, call_sid, "", state, float(due), *told)

    async def deliveries(self, state: str = "") -> list[Delivery]:
        """See `store.Store`. One that moves from state to state meanwhile is there once."""
        found: dict[str, Delivery] = {}
        with _bounded():
            for each in (state,) if state else DELIVERY_STATES:
                sids = await self._line.ask("ZRANGE", f"triode:deliveries:{each}", 0, -1)
                for some in _pieces(sids):
                    found |= {flat[0]: _delivery(flat) for flat in await self._run(scripts.READ_DELIVERIES, *some)}
        wanted = (delivery for delivery in found.values() if state in ("", delivery.state))
        return sorted(wanted, key=lambda delivery: delivery.due)

    async def revive_delivery(self, call_sid: str, due: float) -> bool:
        """See `store.Store`."""
        return bool(await self._run(scripts.MOVE_DELIVERY, call_sid, "dead", "open", float(due), "tries", 0))

    # ------------------------------------------------------------ forgetting

    async def forget_before(self, before: datetime.datetime) -> int:
        """See `store.Store`. A hundred at once; what was forgotten stays so if the store fails then."""
        until = _seconds(_utc(before))
        with _bounded():
            sids = await self._line.ask("ZRANGE", "triode:calls", "-inf", f"({until!r}", "BYSCORE")
            return sum([await self._run(scripts.FORGET, until, 0, *some) for some in _pieces(sids)])

    async def forget_number(self, number: str) -> int:
        """See `store.Store`. A hundred at once."""
        with _bounded():
            await self._line.ask("DEL", f"triode:texts:{number}")
            sids = await self._line.ask("SMEMBERS", f"triode:calls_of:{number}")
            return sum([await self._run(scripts.FORGET, "", FORGOTTEN, *some) for some in _pieces(list(sids))])

    # ------------------------------------------------------------ doing it

    async def ping(self) -> None:
        """Raises StoreDown unless there is an answer."""
        with _bounded():
            await self._line.ask("PING")

    async def _run(self, script: str, *words: str | float) -> Any:
        with _bounded():
            return await self._line.ask("EVAL", script, 0, *words)

    async def _change(
        self, call_sid: str, decide: Callable[[Row, Began], Row | None], turns: Sequence[Row] = ()
    ) -> Row:
        """Changes a call as `decide` says of its newest row (None: not at all), with `turns` to add; the row then."""
        with _bounded():
            for _ in range(CHANGES_AT_MOST):
                kept = await self._line.ask("HGET", f"triode:call:{call_sid}", "document")
                row, began = _opened(call_sid, kept)
                values = decide(row, began)
                if values is None:
                    return row
                row |= {name: _utc(value) if name in TIMES and value else value for name, value in values.items()}
                age = row["ended"] or row["began"] or row["answered"]
                words = (_text({"row": row, "began": began}), row["caller"], _seconds(age) if age else "")
                if await self._run(scripts.CHANGE_CALL, call_sid, kept or "", *words, *map(_text, turns)):
                    return row
        raise StoreDown(f"call {call_sid} is changed by others all the time")


class Line:
    """One connection for all: made when it is needed, made again when it is lost; Redis answers in the order it is asked.

    It stands in the place of coredis' client, whose pool loses a place for good whenever who waits for a new connection stops
    waiting (the callers of a store are patient for 0.2 s), and whose habit it is to send again what was not answered: then a
    token or an errand would be found claimed by its own claim.
    """

    def __init__(self, nursery: trio.Nursery, make: Callable[[], TCPConnection]) -> None:
        self._nursery = nursery
        self._make = make
        self._connecting = trio.Lock()
        self._connection: TCPConnection | None = None

    async def ask(self, name: str, *words: str | float) -> Any:
        """The answer to one command. Raises RedisError, OSError, ValueError or trio.TooSlowError."""
        plain = [word.encode() if isinstance(word, str) else repr(word).encode() for word in words]
        connection = None
        try:
            with trio.fail_after(ANSWER_SECONDS):
                connection = await self._connected()
                return await connection.create_request(name.encode(), *plain, decode=True)
        except (trio.TooSlowError, ResponseError) as error:
            if connection is not None and (isinstance(error, trio.TooSlowError) or _is_replica(error)):
                # Perhaps its other end is gone without a word, or has become a replica, and the address leads to another one now.
                connection.invalidate()
            raise

    async def _connected(self) -> TCPConnection:
        async with self._connecting:
            if self._connection is None or not self._connection.usable:
                connection = self._make()
                if (error := await self._nursery.start(_keep_open, connection)) is not None:
                    raise error
                self._connection = connection
            return self._connection


def _is_replica(error: ResponseError) -> bool:
    """Whether that is said of a server that may not be written to; until Redis 7 a script says it in its own words."""
    return isinstance(error, ReadOnlyError) or "-READONLY " in str(error)


async def _keep_open(connection: TCPConnection, task_status: trio.TaskStatus[RedisError | None]) -> None:
    try:
        await connection.run(task_status=task_status)
    except RedisError as error:
        with contextlib.suppress(RuntimeError):  # once it has begun, who waits for an answer is told by the connection
            task_status.started(error)
    finally:
        for name, part in vars(connection).items():
            if "_buffer_" in name:  # left open by a connection that could not be made
                part.close()


@contextlib.asynccontextmanager
async def open_redis(url: str) -> AsyncIterator[Store]:
    """The store in the Redis at `url`: redis://[user:password@]host[:port][/db], or rediss:// with TLS. Raises StoreDown."""
    shown = re.sub(r"(//[^:@/]*):.*@", r"\1@", url, flags=re.DOTALL)  # without the password
    make = _connector(url, shown)
    logging.getLogger("coredis").setLevel(logging.CRITICAL)  # it writes a traceback for each attempt to connect
    failed: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            store = RedisStore(Line(nursery, make))
            try:
                await _greet(store, shown)
                yield store
            finally:
                nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        # The nursery is nobody's business outside: its tasks raise nothing, so there is one error, of who uses the store.
        failed = group.exceptions[0] if len(group.exceptions) == 1 else group
    if failed is not None:
        raise failed


async def _greet(store: RedisStore, shown: str) -> None:
    try:
        await store.ping()
    except StoreDown as error:
        cause = error.__cause__
        # It is there, and wants another password or database.
        refused = isinstance(cause, ResponseError) and not str(cause).startswith(PASSING) and not _is_replica(cause)
        raise (StoreDown if refused else StoreAway)(
            f"store.url = {shown!r} cannot be opened: {error}; it must be a Redis that answers"
        ) from error


def _connector(url: str, shown: str) -> Callable[[], TCPConnection]:
    """What makes connections to `url`."""
    try:
        parts = urlsplit(url)
        host, port, number = parts.hostname, parts.port or 6379, int(parts.path.strip("/") or 0)
    except ValueError:  # its words may hold a part of the password
        host, port, number, parts = None, 0, 0, urlsplit("")
    if not host or number < 0 or parts.query or parts.fragment:
        raise StoreDown(f"store.url = {shown!r} cannot be opened: it must be redis://[user:password@]host[:port][/db]")
    place, tls = TCPLocation(host, port), ssl.create_default_context() if parts.scheme == "rediss" else None
    user, password = unquote(parts.username or "") or None, unquote(parts.password or "") or None
    return lambda: TCPConnection(place, username=user, password=password, db=number, ssl_context=tls)


@contextlib.contextmanager
def _bounded() -> Iterator[None]:
    try:
        with trio.fail_after(SECONDS):
            yield
    except (RedisError, OSError, ValueError, trio.TooSlowError) as error:
        raise StoreDown(f"{type(error).__name__}: {error}") from error


def _now(at: float | None = None) -> datetime.datetime:
    now = datetime.datetime.now(datetime.UTC)
    return _utc(now if at is None else datetime.datetime.fromtimestamp(at, datetime.UTC))


def _utc(when: datetime.datetime) -> datetime.datetime:
    """Without a zone, as SQLite gives it back."""
    return when.astimezone(datetime.UTC).replace(tzinfo=None) if when.tzinfo else when


def _seconds(when: datetime.datetime) -> float:
    return when.replace(tzinfo=datetime.UTC).timestamp()


def _text(value: object) -> str:
    """As JSON. Raises StoreDown if it is not plain data."""
    try:
        return json.dumps(value, default=datetime.datetime.isoformat)
    except (TypeError, ValueError) as error:
        raise StoreDown(f"{type(error).__name__}: {error}") from error


def _both(caller: str, called: str) -> str:
    return json.dumps([caller, called])


def _opened(call_sid: str, kept: str | None) -> tuple[Row, Began]:
    """A call's row, and when its streams began; of a call that is new if nothing is kept. One that an earlier version kept gets
    what came since."""
    document = json.loads(kept) if kept else {"row": {"call_sid": call_sid}, "began": {}}
    row, moment = {**NEW_CALL, **document["row"]}, datetime.datetime.fromisoformat
    row |= {name: moment(row[name]) for name in TIMES if row[name]}
    return row, {sid: moment(began) for sid, began in document["began"].items()}


def _pieces(sids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (sids[start : start + AT_ONCE] for start in range(0, len(sids), AT_ONCE))


def _pairs(flat: Sequence[str]) -> dict[str, Any]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _errand_row(flat: Sequence[str]) -> Row:
    row = _pairs(flat)
    return {**row, "detail": json.loads(row["detail"]), "begun": float(row["begun"])}


def _errand(flat: Sequence[str]) -> ErrandRow:
    return _errand_of(_pairs(flat))


def _errand_of(row: Mapping[str, Any]) -> ErrandRow:
    detail, begun = json.loads(row["detail"]), float(row["begun"])
    return ErrandRow(row["key"], row["call_sid"], row["name"], row["status"], row["reference"], detail, begun)


def _recording(flat: Sequence[str]) -> Row:
    row = _pairs(flat)
    return {**row, "seconds": int(row["seconds"]), "at": datetime.datetime.fromisoformat(row["at"])}


def _delivery(fields: Sequence[Any]) -> Delivery:
    call_sid, state, due, tries, error = fields
    return Delivery(call_sid, state, float(due), int(tries), error)
