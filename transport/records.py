"""The record port: the store behind it, and what happens while the store is down."""

from collections import OrderedDict
from typing import TypeVar

import structlog
import trio

from actors.messages import Disposition
from actors.notebook import CallRecord
from transport.metrics import Metrics
from transport.store import Store, StoreDown

REMEMBERED = 2000
"""Decisions and tokens that this process remembers by itself, for when the store fails."""

CLAIM_PATIENCE = 0.2
"""Seconds that a caller's first word waits for the store; a token is then used once as far as this process knows."""

V = TypeVar("V")
log = structlog.get_logger("triode.records")


class Records:
    """Writes through to the store; a write that fails is counted and logged, and remembered here as far as it matters."""

    def __init__(self, store: Store, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics
        self._dispositions: OrderedDict[str, Disposition] = OrderedDict()
        self._tokens: OrderedDict[str, None] = OrderedDict()
        self._reopened: OrderedDict[str, int | None] = OrderedDict()

    async def keep_disposition(self, call_sid: str, disposition: Disposition) -> None:
        """See `RecordPort`."""
        _remember(self._dispositions, call_sid, disposition)
        try:
            await self._store.keep_disposition(call_sid, disposition)
        except StoreDown as error:
            self._failed("disposition", error)

    async def keep_record(self, record: CallRecord) -> None:
        """See `RecordPort`."""
        self._metrics.call_over(record)
        try:
            await self._store.keep_record(record)
        except StoreDown as error:
            self._failed("record", error)

    async def disposition(self, call_sid: str) -> Disposition | None:
        """What was decided for the caller, here or by another worker."""
        try:
            return await self._store.take_disposition(call_sid) or self._dispositions.get(call_sid)
        except StoreDown as error:
            self._failed("disposition", error)
            return self._dispositions.get(call_sid)

    async def reopened(self, call_sid: str, request: str) -> int | None:
        """Counts one more opening of an undecided stream; None if that cannot be known.

        `request`: the carrier's token of the question; asked again with the same one, the answer is the same.
        """
        if request and request in self._reopened:
            return self._reopened[request]
        self._dispositions.pop(call_sid, None)
        times: int | None = None
        try:
            times = await self._store.reopen(call_sid)
        except StoreDown as error:
            self._failed("reopen", error)
        if request:
            _remember(self._reopened, request, times)
        return times

    async def claim(self, nonce: str, expires: int, now: float) -> bool:
        """Whether the token is used for the first time; with the store down, as far as this process knows."""
        if nonce in self._tokens:
            return False
        _remember(self._tokens, nonce, None)
        try:
            with trio.fail_after(CLAIM_PATIENCE):
                return await self._store.claim_token(nonce, expires, now)
        except (StoreDown, trio.TooSlowError) as error:
            self._failed("token", error)
            return True

    async def answered(self, call_sid: str, caller: str, called: str) -> None:
        """A call rings."""
        try:
            await self._store.answered(call_sid, caller, called)
        except StoreDown as error:
            self._failed("answered", error)

    async def status(self, call_sid: str, status: str, sequence: int) -> None:
        """A status callback came."""
        try:
            await self._store.status(call_sid, status, sequence)
        except StoreDown as error:
            self._failed("status", error)

    async def recording(self, recording_sid: str, call_sid: str, url: str, seconds: int, status: str) -> None:
        """A voicemail message, or news of one."""
        try:
            await self._store.keep_recording(recording_sid, call_sid, url, seconds, status)
        except StoreDown as error:
            self._failed("recording", error)

    def _failed(self, what: str, error: StoreDown | trio.TooSlowError) -> None:
        self._metrics.store_failures.labels(what).inc()
        log.error("store_failed", what=what, error=(str(error) or "too slow")[:300])


def _remember(memory: OrderedDict[str, V], key: str, value: V) -> None:
    memory[key] = value
    while len(memory) > REMEMBERED:
        memory.popitem(last=False)
