"""The house: what lives as long as the server and is shared by all its calls and routes; opened, and closed in the end."""

import contextlib
import datetime
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import attrs
import httpx2
import structlog
import trio

from actors.call import CallPlan
from conf.flow import Flow
from conf.settings import Settings
from transport.courier import SETTLE, Courier
from transport.errand_desk import ErrandDesk
from transport.garbage import Garbage
from transport.http_client import open_http
from transport.keypad import Keypad
from transport.loop_watch import LoopWatch
from transport.metrics import Metrics
from transport.records import Records
from transport.store import Store, StoreDown
from transport.stream_token import StreamTokens
from transport.switchboard import ConnectModel, Switchboard
from transport.twilio_rest import open_rest
from transport.twiml import Documents
from transport.warm_transfer import WarmTransfers

log = structlog.get_logger("triode.server")

Listener = Callable[[str, str, dict[str, Any]], None]
"""Told of every note of every call: CallSid, name, values."""


@attrs.frozen
class House:
    """What the routes need."""

    switchboard: Switchboard
    records: Records
    store: Store
    errands: ErrandDesk
    transfers: WarmTransfers
    keypad: Keypad
    nursery: trio.Nursery
    """For what a webhook begins and does not wait for. It ends with the house."""


@attrs.frozen(kw_only=True)
class HousePlan:
    """What a house is made of. `outside` takes the place of the network for Twilio's API and the backend; what the store has not
    taken when a server ends is in folder `unwritten`."""

    settings: Settings
    flow: Flow
    calls: CallPlan
    documents: Documents
    tokens: StreamTokens
    metrics: Metrics
    connect_model: ConnectModel
    open_store: Callable[[str], AbstractAsyncContextManager[Store]]
    outside: httpx2.AsyncBaseTransport | None
    listener: Listener | None
    clock: Callable[[], float]
    """Tells unix time."""
    lag: Callable[[], float]
    loop_watch: LoopWatch | None
    """Watches the loop, in a process that is all ours."""
    garbage: Garbage | None
    """Keeps Python's collector out of its way, there."""
    unwritten: Path | None

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[House]:
        """The house, as long as it is needed. Raises StoreDown if there is no store."""
        account, token = self.settings.secrets.account_sid, self.settings.secrets.auth_token
        async with (
            contextlib.AsyncExitStack() as watched,
            self.open_store(self.settings.store.url) as store,
            open_rest(account, token, self.settings.twilio.api_url, self.outside, self.clock) as rest,
            self._courier(store) as courier,
            trio.open_nursery() as nursery,
        ):
            if self.loop_watch is not None:
                watched.enter_context(self.loop_watch.watching(self.metrics.held.inc))

            def call_over(sid: str) -> None:
                if courier is not None:
                    nursery.start_soon(self._deliver_soon, courier, records, sid)

            keep = self.settings.store.transcripts == "keep"
            hurry = courier.hurry if courier is not None else lambda: None
            told = {"call_over": call_over, "caught_up": hurry}
            records = Records(store, self.metrics, keep_transcripts=keep, clock=self.clock, **told)
            callback = self.documents.url("/twilio/message-status")
            twilio = self.settings.twilio
            desk = ErrandDesk(store, rest, self.metrics, twilio.sms_from, callback, self.clock, twilio.sms_a_day)
            switchboard = self._switchboard(records, desk)
            if self.garbage is not None:
                switchboard.stream_over = self.garbage.call_over
                nursery.start_soon(self.garbage.run)
            transfers = WarmTransfers(store, rest, self.documents, self.clock)
            nursery.start_soon(transfers.watch)
            if self.unwritten is not None:
                await records.take_over(self.unwritten)
            nursery.start_soon(records.catch_up)
            if courier is not None:
                nursery.start_soon(courier.run)
                nursery.start_soon(courier.reconcile, rest.call_status, records.found_over)
            if self.settings.store.keep_days:
                nursery.start_soon(self._forget_the_old, store, records, switchboard)
            keypad = Keypad(self.flow, self.documents, records, self.settings.call.queue_seconds, self.clock)
            if self.garbage is not None:  # last, when all that is to stay is there
                watched.enter_context(self.garbage.held_back())
            yield House(switchboard, records, store, desk, transfers, keypad, nursery)
            nursery.cancel_scope.cancel("the house is closed")

    def _switchboard(self, records: Records, desk: ErrandDesk) -> Switchboard:
        made_of = (self.settings, self.calls, self.connect_model, records, desk, self.tokens, self.metrics)
        return Switchboard(*made_of, self.listener, self.clock, self.lag)

    @contextlib.asynccontextmanager
    async def _courier(self, store: Store) -> AsyncIterator[Courier | None]:
        """Who delivers to the backend, if there is one."""
        crm = self.settings.crm
        if not crm.url:
            yield None
            return
        async with open_http(10, self.outside) as client:
            yield Courier(store, client, crm.url, self.settings.secrets.crm_secret, self.metrics, self.clock)

    async def _deliver_soon(self, courier: Courier, records: Records, sid: str) -> None:
        due = self.clock() + SETTLE
        await records.promise_delivery(sid, due)  # a worker that died may have had no time to
        await records.hasten_delivery(sid, due)
        courier.hurry()

    async def _forget_the_old(self, store: Store, records: Records, switchboard: Switchboard) -> None:
        """Retention: what is older than the settings allow is deleted, every hour."""
        while True:
            oldest = self.clock() - self.settings.store.keep_days * 86_400
            if self.unwritten is not None:
                await records.tidy(self.unwritten, oldest)
            try:
                before = datetime.datetime.fromtimestamp(oldest, datetime.UTC)
                if gone := await store.forget_before(before):
                    log.info("forgotten", calls=gone)
            except StoreDown as error:
                log.error("store_failed", what="retention", error=str(error)[:300])
            if switchboard.flights is not None:
                await switchboard.flights.tidy()
            await trio.sleep(3600)
