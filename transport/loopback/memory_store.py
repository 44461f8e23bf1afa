"""A store in memory, without threads, so that everything around it can run on the virtual clock. Ends with the process."""

import copy
import datetime
import time
from collections.abc import Callable, Mapping
from typing import Any, overload

import attrs
import trio

from actors.messages import Disposition
from actors.notebook import CallRecord
from transport.log import mask_text
from transport.store import DAY, FINAL, OPEN, Delivery, ErrandChange, ErrandRow, StoreDown, disposition_kept
from transport.store_rules import (
    left_a_record,
    opened_again,
    record_details,
    settled,
    tries_left_behind,
    turn_rows,
)


@attrs.define
class StoredCall:
    """What is kept of a call besides its streams."""

    caller: str = ""
    called: str = ""
    answered: datetime.datetime | None = None
    status: str = ""
    sequence: int = -1
    ended: datetime.datetime | None = None


@attrs.define
class StoredStory:
    """A story and whose it is."""

    caller: str
    called: str
    story: Mapping[str, object]
    over: bool
    updated: float


@attrs.define(slots=False)
class MemoryStore:
    """See `transport.store.Store`. `down`: every operation fails; `slow`: seconds that each takes.

    Its methods may be replaced, one at a time, by those of a store that is worse.
    """

    down: bool = False
    slow: float = 0.0
    wall_clock: Callable[[], float] = time.time
    """Unix time, when something is written down. A world has its own."""
    calls: dict[str, StoredCall] = attrs.field(factory=dict)
    tokens: set[str] = attrs.field(factory=set)
    dispositions: dict[str, Disposition | None] = attrs.field(factory=dict)
    records: list[CallRecord] = attrs.field(factory=list)
    reopened: dict[str, int] = attrs.field(factory=dict)
    reopened_at: dict[str, float] = attrs.field(factory=dict)
    recordings: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    stories: dict[str, StoredStory] = attrs.field(factory=dict)
    errand_rows: dict[str, ErrandRow] = attrs.field(factory=dict)
    opted_out: set[str] = attrs.field(factory=set)
    forgotten: set[str] = attrs.field(factory=set)
    texts: dict[str, tuple[str, float]] = attrs.field(factory=dict)
    """By errand, to whom and when."""
    delivery_rows: dict[str, Delivery] = attrs.field(factory=dict)

    def of(self, call_sid: str) -> list[CallRecord]:
        """The records of a call's streams."""
        return [record for record in self.records if record.call_sid == call_sid]

    async def _there(self, call_sid: str = "") -> StoredCall:
        """Takes its time, or fails; the row of the call, made if it is new."""
        await trio.sleep(self.slow)
        if self.down:
            raise StoreDown("the store is down")
        return self.calls.setdefault(call_sid, StoredCall()) if call_sid else StoredCall()

    def _now(self, at: float | None = None) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(self.wall_clock() if at is None else at, datetime.UTC)

    # ------------------------------------------------------------ calls

    async def answered(self, call_sid: str, caller: str, called: str, at: float | None = None) -> None:
        """See `transport.store.Store`."""
        call = await self._there(call_sid)
        if call.answered is None:
            call.caller, call.called, call.answered = caller, called, self._now(at)

    async def claim_token(self, nonce: str, expires: int, now: float) -> bool:
        """See `transport.store.Store`."""
        await self._there()
        fresh = nonce not in self.tokens
        self.tokens.add(nonce)
        return fresh

    async def keep_disposition(self, call_sid: str, disposition: Disposition) -> None:
        """See `transport.store.Store`."""
        call = await self._there(call_sid)
        self.dispositions[call_sid] = disposition_kept(disposition, call.status)

    async def take_disposition(self, call_sid: str) -> Disposition | None:
        """See `transport.store.Store`."""
        await self._there()
        return self.dispositions.get(call_sid)

    async def reopen(self, call_sid: str, at: float | None = None) -> int:
        """See `transport.store.Store`."""
        await self._there(call_sid)
        row = {"reopened": self.reopened.get(call_sid, 0), "reopened_at": self.reopened_at.get(call_sid)}
        values = opened_again(row, self._now(at).timestamp())
        self.dispositions[call_sid] = None
        self.reopened[call_sid], self.reopened_at[call_sid] = values["reopened"], values["reopened_at"]
        return self.reopened[call_sid]

    async def status(
        self, call_sid: str, status: str, sequence: int, caller: str = "", called: str = "", at: float | None = None
    ) -> None:
        """See `transport.store.Store`."""
        await self._there()
        if call_sid in self.forgotten:
            return
        call = self.calls.setdefault(call_sid, StoredCall())
        if call.status in FINAL or (sequence <= call.sequence and status not in FINAL):
            return
        call.status, call.sequence = status, sequence
        if not call.caller:
            call.caller, call.called = caller, called
        if status in FINAL:
            call.ended = call.ended or self._now(at)
            if self.dispositions.get(call_sid) is Disposition.RESUME:
                self.dispositions[call_sid] = Disposition.HANG_UP

    async def keep_record(self, record: CallRecord) -> None:
        """See `transport.store.Store`."""
        await self._there(record.call_sid)
        if record.stream_sid in {known.stream_sid for known in self.records}:
            return
        self.records.append(record)
        if tries := self.reopened.get(record.call_sid):
            self.reopened[record.call_sid] = tries_left_behind(tries, record)
        if left_a_record(record, self.reopened_at.get(record.call_sid)):
            del self.reopened_at[record.call_sid]
        if self._newest(record.call_sid) is record and not self.dispositions.get(record.call_sid):
            self.dispositions[record.call_sid] = record.disposition

    async def keep_recording(
        self, recording_sid: str, call_sid: str, url: str, seconds: int, status: str, at: float | None = None
    ) -> None:
        """See `transport.store.Store`."""
        await self._there()  # a message alone makes no call
        if call_sid not in self.forgotten and self.recordings.get(recording_sid, {}).get("status") != "completed":
            values = {"recording_sid": recording_sid, "call_sid": call_sid, "url": url, "seconds": seconds}
            came = self.recordings.get(recording_sid, {}).get("at") or self._now(at)
            self.recordings[recording_sid] = {**values, "status": status, "at": came}

    async def call(self, call_sid: str) -> dict[str, Any] | None:
        """See `transport.store.Store`. The row is that of the other stores: they keep no time zone."""
        await self._there()
        call = self.calls.get(call_sid)
        if call is None:
            return None
        records, newest, decided = self.of(call_sid), self._newest(call_sid), self.dispositions.get(call_sid)
        turns = [row for record in records for row in turn_rows(record)]
        return {
            "call_sid": call_sid,
            "stream_sid": newest.stream_sid if newest else "",
            "caller": call.caller,
            "called": call.called,
            "answered": _bare(call.answered),
            "began": _bare(records[0].began) if records else None,
            "ended": _bare(self._ended(call_sid, call)),
            "seconds": sum(round(record.seconds, 3) for record in records) if records else None,
            "disposition": decided.value if decided else None,
            "reason": mask_text(newest.reason) if newest else "",
            "status": call.status,
            "status_sequence": call.sequence,
            "reopened": self.reopened.get(call_sid, 0),
            "reopened_at": self.reopened_at.get(call_sid),
            "streams": len(records),
            "tokens": sum(record.tokens for record in records),
            "details": copy.deepcopy(record_details(newest)) if newest else {},
            "turns": [{"id": number, **copy.deepcopy(row)} for number, row in enumerate(turns, 1)],
            "story": copy.deepcopy(self.stories[call_sid].story) if call_sid in self.stories else None,
            "errands": [attrs.asdict(row) for row in self._errands(call_sid)],
            "recordings": [
                {**row, "at": _bare(row["at"])} for row in self.recordings.values() if row["call_sid"] == call_sid
            ],
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
        """See `transport.store.Store`."""
        await self.answered(call_sid, caller, called)
        if late and call_sid in self.stories and self.stories[call_sid].updated > now:
            return
        self.stories[call_sid] = StoredStory(caller, called, copy.deepcopy(dict(story)), over, now)

    async def story(self, call_sid: str) -> dict[str, Any] | None:
        """See `transport.store.Store`."""
        await self._there()
        kept = self.stories.get(call_sid)
        return copy.deepcopy(dict(kept.story)) if kept else None

    async def unfinished(self, caller: str, called: str, since: float) -> str:
        """See `transport.store.Store`."""
        await self._there()
        mine = [sid for sid, kept in self.stories.items() if (kept.caller, kept.called) == (caller, called)]
        newest = max(mine, key=lambda sid: self.stories[sid].updated, default="")
        kept = self.stories.get(newest)
        return newest if kept is not None and not kept.over and kept.updated >= since else ""

    async def take_unfinished(self, caller: str, called: str, since: float) -> dict[str, Any] | None:
        """See `transport.store.Store`."""
        newest = await self.unfinished(caller, called, since)
        if not newest:
            return None
        self.stories[newest].over = True
        return copy.deepcopy(dict(self.stories[newest].story))

    # ------------------------------------------------------------ errands

    async def claim_errand(self, key: str, call_sid: str, name: str, now: float) -> ErrandRow | None:
        """See `transport.store.Store`."""
        await self._there()
        if key in self.errand_rows:
            return self.errand_rows[key]
        self.errand_rows[key] = ErrandRow(key, call_sid, name, "begun", "", {}, now)
        return None

    async def settle_errand(self, key: str, status: str, reference: str, detail: Mapping[str, object]) -> None:
        """See `transport.store.Store`."""
        await self.change_errand(key, lambda row: settled(row, status, reference, detail))

    async def change_errand(self, key: str, change: ErrandChange) -> ErrandRow | None:
        """See `transport.store.Store`."""
        await self._there()
        after = change(self.errand_rows[key]) if key in self.errand_rows else None
        if after is not None:
            self.errand_rows[key] = attrs.evolve(after, detail=copy.deepcopy(dict(after.detail)))
        return after

    async def open_errands(self, name: str, since: float) -> list[ErrandRow]:
        """See `transport.store.Store`."""
        await self._there()
        mine = (row for row in self.errand_rows.values() if row.name == name and row.begun >= since)
        return sorted((row for row in mine if row.status in OPEN), key=lambda row: row.begun)

    async def errand_by_reference(self, reference: str) -> ErrandRow | None:
        """See `transport.store.Store`."""
        await self._there()
        return next((row for row in self.errand_rows.values() if row.reference == reference != ""), None)

    async def errands(self, call_sid: str) -> list[ErrandRow]:
        """See `transport.store.Store`."""
        await self._there()
        return self._errands(call_sid)

    def _errands(self, call_sid: str) -> list[ErrandRow]:
        return sorted((row for row in self.errand_rows.values() if row.call_sid == call_sid), key=lambda row: row.begun)

    async def opt_out(self, number: str, now: float) -> None:
        """See `transport.store.Store`."""
        await self._there()
        self.opted_out.add(number)

    async def has_opted_out(self, number: str) -> bool:
        """See `transport.store.Store`."""
        await self._there()
        return number in self.opted_out

    async def claim_text(self, number: str, errand: str, now: float, at_most: int) -> bool:
        """See `transport.store.Store`."""
        await self._there()
        self.texts = {key: text for key, text in self.texts.items() if text[1] > now - DAY}
        if errand not in self.texts and sum(to == number for to, _ in self.texts.values()) >= at_most:
            return False
        self.texts.setdefault(errand, (number, now))
        return True

    # ------------------------------------------------------------ deliveries

    async def promise_delivery(self, call_sid: str, due: float) -> None:
        """See `transport.store.Store`."""
        await self._there()
        self.delivery_rows.setdefault(call_sid, Delivery(call_sid, "open", due, 0, ""))

    async def hasten_delivery(self, call_sid: str, due: float) -> None:
        """See `transport.store.Store`."""
        await self._there()
        row = self.delivery_rows.get(call_sid)
        if row is not None and row.state == "open" and not row.tries and row.due > due:
            self.delivery_rows[call_sid] = attrs.evolve(row, due=due)

    async def take_deliveries(self, now: float, lease: float, limit: int) -> list[Delivery]:
        """See `transport.store.Store`."""
        await self._there()
        ready = sorted((r for r in self.delivery_rows.values() if r.state == "open" and r.due <= now), key=_due)[:limit]
        taken = [attrs.evolve(row, tries=row.tries + 1) for row in ready]
        self.delivery_rows |= {row.call_sid: attrs.evolve(row, due=now + lease) for row in taken}
        return taken

    async def next_delivery(self) -> float | None:
        """See `transport.store.Store`."""
        await self._there()
        return min((row.due for row in self.delivery_rows.values() if row.state == "open"), default=None)

    async def settle_delivery(
        self, call_sid: str, state: str, due: float, error: str, now: float, tries: int | None = None
    ) -> None:
        """See `transport.store.Store`."""
        await self._there()
        if row := self.delivery_rows.get(call_sid):
            counted = row.tries if tries is None else tries
            self.delivery_rows[call_sid] = attrs.evolve(row, state=state, due=due, error=error, tries=counted)

    async def deliveries(self, state: str = "") -> list[Delivery]:
        """See `transport.store.Store`."""
        await self._there()
        return sorted((row for row in self.delivery_rows.values() if state in ("", row.state)), key=_due)

    async def revive_delivery(self, call_sid: str, due: float) -> bool:
        """See `transport.store.Store`."""
        await self._there()
        row = self.delivery_rows.get(call_sid)
        if row is None or row.state != "dead":
            return False
        self.delivery_rows[call_sid] = attrs.evolve(row, state="open", due=due, tries=0)
        return True

    # ------------------------------------------------------------ forgetting

    async def forget_before(self, before: datetime.datetime) -> int:
        """See `transport.store.Store`."""
        await self._there()
        waiting = {row.call_sid for row in self.delivery_rows.values() if row.state == "open"}
        ages = {sid: self._age(sid, call) for sid, call in self.calls.items() if sid not in waiting}
        return self._forget([sid for sid, at in ages.items() if at is not None and at < _bare(before)])

    async def forget_number(self, number: str) -> int:
        """See `transport.store.Store`."""
        await self._there()
        sids = [sid for sid, call in self.calls.items() if call.caller == number]
        self.forgotten.update(sids)
        self.texts = {key: text for key, text in self.texts.items() if text[0] != number}
        return self._forget(sids)

    def _age(self, call_sid: str, call: StoredCall) -> datetime.datetime | None:
        """When it ended; if that is not known, when it began, or was answered."""
        records = self.of(call_sid)
        return _bare(self._ended(call_sid, call) or (records[0].began if records else call.answered))

    def _ended(self, call_sid: str, call: StoredCall) -> datetime.datetime | None:
        """A record knows it better than the status callback, which comes later."""
        newest = self._newest(call_sid)
        return (newest.ended if newest else None) or call.ended

    def _newest(self, call_sid: str) -> CallRecord | None:
        """The record of the stream that began last; of two that began together, the one that was kept last."""
        return max(reversed(self.of(call_sid)), key=lambda record: _bare(record.began), default=None)

    def _forget(self, sids: list[str]) -> int:
        for sid in sids:
            for kept in (
                self.calls,
                self.dispositions,
                self.reopened,
                self.reopened_at,
                self.stories,
                self.delivery_rows,
            ):
                kept.pop(sid, None)
            self.records = [record for record in self.records if record.call_sid != sid]
            self.errand_rows = {key: row for key, row in self.errand_rows.items() if row.call_sid != sid}
            self.recordings = {key: row for key, row in self.recordings.items() if row["call_sid"] != sid}
        return len(sids)


def _due(row: Delivery) -> float:
    return row.due


@overload
def _bare(at: datetime.datetime) -> datetime.datetime: ...
@overload
def _bare(at: None) -> None: ...
@overload
def _bare(at: datetime.datetime | None) -> datetime.datetime | None: ...
def _bare(at: datetime.datetime | None) -> datetime.datetime | None:
    """In UTC, without saying so; what has no zone is that already."""
    return at.astimezone(datetime.UTC).replace(tzinfo=None) if at and at.tzinfo else at
