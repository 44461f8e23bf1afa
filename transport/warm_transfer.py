"""A warm transfer: the human's phone is called, they hear a summary, and only a key of theirs joins them with the caller, who
waits with music. If they refuse, do not answer or are busy, the caller goes back to the agent.

    /twilio/after ──▶ begin: the caller waits in a conference, the human is rung
    /twilio/warm/brief ──▶ the summary    /twilio/warm/answer ──▶ joined, or not
    /twilio/warm/status ──▶ the human's call is over: if they were not joined, the caller is taken back

Every step may be answered by another worker: what is known is in the errands of the call.
"""

from collections.abc import Callable

import attrs
import structlog
import trio

from transport.store import ErrandRow, Store, StoreDown
from transport.twilio_rest import Refused, TwilioRest, Unreached, Unsure
from transport.twiml import RING_SECONDS, Documents

WAIT_AT_MOST = RING_SECONDS + 60.0
"""Seconds that a caller waits if nothing is heard of the human's call any more."""
TAKE_BACK_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds between tries to take a caller back: doing it twice does no harm, leaving them with the music does."""
ENDED = {"busy": "busy", "no-answer": "no-answer", "failed": "failed", "canceled": "failed", "completed": "refused"}

log = structlog.get_logger("triode.transfer")


@attrs.frozen
class WarmTransfers:
    """Warm transfers to one human."""

    store: Store
    rest: TwilioRest
    documents: Documents
    clock: Callable[[], float]

    async def begin(self, call_sid: str, called: str, nursery: trio.Nursery) -> bool:
        """Rings the human; whether the caller may wait. Asked twice for the same transfer, they are rung once.

        Raises StoreDown.
        """
        number = sum(row.name == "transfer" for row in await self.store.errands(call_sid))
        newest = await self._newest(call_sid)
        if newest is not None and newest.status in {"begun", "ringing"}:
            return True
        key = f"{call_sid}/transfer.{number}"
        if await self.store.claim_errand(key, call_sid, "transfer", self.clock()) is not None:
            return True
        url = self.documents.url("/twilio/warm/brief", call=call_sid)
        status = self.documents.url("/twilio/warm/status", call=call_sid)
        try:
            leg = await self.rest.ring(self.documents.human_number, called, url, status, RING_SECONDS)
        except (Refused, Unreached) as error:
            log.error("human_not_rung", error=str(error))
            await self.store.settle_errand(key, "failed", "", {"reason": str(error)[:200]})
            return False
        except Unsure as error:  # their phone may ring: it is not rung a second time, and what they do is heard of
            log.warning("human_perhaps_rung", error=str(error))
            leg = ""
        newest = await self._newest(call_sid)
        if newest is not None and newest.status == "begun":  # else the human was faster than the answer
            await self.store.settle_errand(key, "ringing", leg, {})
        log.info("human_rung", leg=leg)
        nursery.start_soon(self._not_for_ever, call_sid, key)
        return True

    async def waits(self, call_sid: str) -> bool:
        """Whether the caller still waits for the human. Raises StoreDown."""
        newest = await self._newest(call_sid)
        return newest is not None and newest.status in {"begun", "ringing"}

    async def accepted(self, call_sid: str) -> bool:
        """Whether the human took the call. Raises StoreDown."""
        newest = await self._newest(call_sid)
        return newest is not None and newest.status == "done"

    async def accept(self, call_sid: str) -> bool:
        """The human pressed the key; whether the caller is still there to be joined. Raises StoreDown."""
        newest = await self._newest(call_sid)
        if newest is None or newest.status not in {"begun", "ringing", "done"}:
            return False
        await self.store.settle_errand(newest.key, "done", newest.reference, {})
        return True

    async def ended(self, call_sid: str, status: str) -> str:
        """The human's call is over: how the transfer came out if the caller is to be taken back, else empty.

        Raises StoreDown.
        """
        newest = await self._newest(call_sid)
        if newest is None or newest.status not in {"begun", "ringing"}:
            return ""
        outcome = ENDED.get(status, "failed")
        await self.store.settle_errand(newest.key, outcome, newest.reference, {})
        log.info("transfer_not_taken", outcome=outcome)
        return outcome

    async def take_back(self, call_sid: str, outcome: str) -> None:
        """The caller leaves the music for the agent. Bounded; what cannot be done is logged."""
        url = self.documents.url("/twilio/warm/back", outcome=outcome)
        for pause in (*TAKE_BACK_PAUSES, None):
            try:
                await self.rest.redirect(call_sid, url)
                return
            except Refused as refused:
                log.info("caller_not_taken_back", error=str(refused))  # they have hung up meanwhile
                return
            except (Unreached, Unsure) as error:
                log.warning("caller_not_taken_back", error=str(error))
            if pause is not None:
                await trio.sleep(pause)

    async def _not_for_ever(self, call_sid: str, key: str) -> None:
        """If nothing is heard of the human's call, the caller is taken back all the same."""
        await trio.sleep(WAIT_AT_MOST)
        try:
            rows = [row for row in await self.store.errands(call_sid) if row.key == key]
            if rows and rows[0].status in {"begun", "ringing"} and await self.ended(call_sid, "no-answer"):
                await self.take_back(call_sid, "no-answer")
        except StoreDown as error:
            log.error("store_failed", what="transfer", error=str(error)[:300])

    async def _newest(self, call_sid: str) -> ErrandRow | None:
        rows = [row for row in await self.store.errands(call_sid) if row.name == "transfer"]
        return rows[-1] if rows else None
