"""The errand port: text messages by Twilio, each at most once, and the book of what was done for whom."""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from urllib.parse import urlencode

import attrs
import structlog
import trio

from transport.metrics import Metrics
from transport.store import OPEN, ErrandRow, Store, StoreDown
from transport.store_rules import message_news
from transport.twilio_rest import TOO_MANY, Refused, TwilioRest, Unreached, Unsure

OPTED_OUT = 21610
WHY = {
    21211: "the number is not valid",
    21408: "messages to that country are not allowed",
    21606: "our number cannot send text messages",
    21608: "the number is not verified",
    21612: "the number cannot be reached by text message",
    21614: "it is not a mobile number",
    21617: "the text is too long",
    30034: "our number is not registered for text messages",
}
"""What Twilio's refusals mean to a caller."""
TOO_MANY_TEXTS = "that number was sent too many text messages today"
PAUSES = (0.5, 1.0, 2.0)
"""Seconds before a request is made again that certainly did nothing."""
LOOK_AFTER = 1.5
"""Seconds until a message whose answer was lost is looked for."""
CLOCKS_DIFFER = 2.0
"""Seconds that the carrier's clock may be off ours when it is looked for what was made since we asked."""
REMEMBERED = 5000
"""Errands that this process remembers by itself, for when the store fails."""

Came = tuple[str, Mapping[str, object]]
Sent = tuple[str, str, dict[str, object]]
"""Outcome, message SID, details."""
log = structlog.get_logger("triode.errands")


class ErrandDesk:
    """Does what calls ask for. `sender`: who texts come from; empty: the number that was called. `a_day`: how many a number is
    sent in a day, 0: without a bound."""

    def __init__(
        self,
        store: Store,
        rest: TwilioRest,
        metrics: Metrics,
        sender: str,
        callback: str,
        clock: Callable[[], float] = time.time,
        a_day: int = 0,
    ) -> None:
        self._store = store
        self._rest = rest
        self._metrics = metrics
        self._sender = sender
        self._callback = callback
        self._clock = clock
        self._a_day = a_day
        self._seen: OrderedDict[str, None] = OrderedDict()

    def of_call(self, called: str) -> "CallErrands":
        """The port of one call, in which `called` was dialled."""
        return CallErrands(self, self._sender or called)

    async def send(self, call_sid: str, key: str, to: str, sender: str, text: str) -> Came:
        """Sends a text message unless that was begun before; what came of it."""
        if not to or not sender:
            return "failed", {
                "reason": "there is no number to send it to" if not to else "there is no number to send from"
            }
        earlier = await self.claim(call_sid, key, "sms")
        if earlier is not None:
            return _of_row(earlier)
        outcome, reference, detail = await self._text(to, sender, text, f"{call_sid}/{key}")
        await self.settle(call_sid, key, outcome, reference, detail)
        self._metrics.errands.labels("sms", outcome).inc()
        level = log.info if outcome in {"done", "opted_out"} else log.warning
        level("sms", outcome=outcome, to=to, message_sid=reference, **detail)
        return outcome, detail

    async def _text(self, to: str, sender: str, text: str, errand: str) -> Sent:
        if await self._opted_out(to):
            return "opted_out", "", {}
        if not await self._may_be_sent(to, errand):
            return "failed", "", {"reason": TOO_MANY_TEXTS}
        reason = ""
        # News of the message name the errand, since they may come before the answer that tells its SID.
        callback = f"{self._callback}?{urlencode({'errand': errand})}"
        for pause in (*PAUSES, None):
            asked = trio.current_time()
            try:
                return "done", await self._rest.send_message(to, sender, text, callback), {}
            except Unreached as error:
                reason = str(error)
            except Refused as refused:
                if refused.code == OPTED_OUT:
                    await self._remember_opt_out(to)
                    return "opted_out", "", {"code": refused.code}
                if refused.status != TOO_MANY:
                    return "failed", "", {"code": refused.code, "reason": WHY.get(refused.code, "it was refused")}
                reason = "too many requests"
            except Unsure as error:
                return await self._look_for(to, text, errand, asked, str(error))
            if pause is not None:
                await trio.sleep(pause)
        return "failed", "", {"reason": reason}

    async def _look_for(self, to: str, text: str, errand: str, asked: float, error: str) -> Sent:
        """The answer was lost. There is no idempotency key for messages: it is looked up, and never sent again.

        What was made before we asked, or is known as another errand's, is another message of the same words. Who has had news of
        it already need not look.
        """
        await trio.sleep(LOOK_AFTER)
        try:
            row = await self._known(errand, errand.partition("/")[0], "sms")
            if row.status == "done":
                return "done", row.reference, {}
            since = trio.current_time() - asked + CLOCKS_DIFFER
            for sid in await self._rest.find_messages(to, text, since):
                known = await self._store.errand_by_reference(sid)
                if known is None or known.key == errand:
                    return "done", sid, {}
        except (Refused, Unreached, Unsure):
            pass  # it is as unknown as before
        except StoreDown as down:
            self._failed("message", down)
        return "unknown", "", {"reason": f"the answer was lost: {error}"}

    async def claim(self, call_sid: str, key: str, name: str) -> ErrandRow | None:
        """None if the errand may be begun; else what is known. Without the store it counts as far as this process knows."""
        full = f"{call_sid}/{key}"
        if full in self._seen:
            return await self._known(full, call_sid, name)
        self._seen[full] = None
        while len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        try:
            return await self._store.claim_errand(full, call_sid, name, self._clock())
        except StoreDown as error:
            self._failed("claim", error)
            return None

    async def settle(
        self, call_sid: str, key: str, outcome: str, reference: str = "", detail: Mapping[str, object] | None = None
    ) -> None:
        """Keeps what came of it."""
        try:
            await self._store.settle_errand(f"{call_sid}/{key}", outcome, reference, detail or {})
        except StoreDown as error:
            self._failed("settle", error)

    async def came(self, call_sid: str, key: str) -> Came:
        """What came of an errand that was begun before, and what was kept as its result."""
        row = await self._known(f"{call_sid}/{key}", call_sid, "")
        if row.status in OPEN:
            return "unknown", {}
        return row.status, row.detail.get("result", {})

    async def message_status(self, message_sid: str, status: str, code: str, errand: str = "") -> None:
        """News of message `message_sid`, sent for `errand`: queued, sent, delivered, undelivered, failed."""
        try:
            if not errand and (row := await self._store.errand_by_reference(message_sid)) is not None:
                errand = row.key
            await self._store.change_errand(errand, lambda row: message_news(row, message_sid, status, code))
        except StoreDown as error:
            self._failed("message status", error)

    async def _known(self, full: str, call_sid: str, name: str) -> ErrandRow:
        """What is known of an errand that this process has begun. Only read: a claim here might come before the first one's."""
        try:
            rows = await self._store.errands(call_sid)
        except StoreDown as error:
            self._failed("claim", error)
            rows = []
        return next((row for row in rows if row.key == full), ErrandRow(full, call_sid, name, "begun", "", {}))

    async def _opted_out(self, number: str) -> bool:
        try:
            return await self._store.has_opted_out(number)
        except StoreDown as error:
            self._failed("opted out", error)
            return False

    async def _may_be_sent(self, number: str, errand: str) -> bool:
        """Whether it has not had too many today. Without the store nobody knows, and a call has a bound of its own."""
        try:
            return not self._a_day or await self._store.claim_text(number, errand, self._clock(), self._a_day)
        except StoreDown as error:
            self._failed("texts", error)
            return True

    async def _remember_opt_out(self, number: str) -> None:
        try:
            await self._store.opt_out(number, self._clock())
        except StoreDown as error:
            self._failed("opt out", error)

    def _failed(self, what: str, error: StoreDown) -> None:
        self._metrics.store_failures.labels(what).inc()
        log.error("store_failed", what=what, error=str(error)[:300])


@attrs.frozen
class CallErrands:
    """See `ErrandPort`."""

    desk: ErrandDesk
    sender: str

    async def send_text(self, call_sid: str, key: str, to: str, text: str) -> Came:
        """See `ErrandPort`."""
        return await self.desk.send(call_sid, key, to, self.sender, text)

    async def claim(self, call_sid: str, key: str, kind: str) -> bool:
        """See `ErrandPort`."""
        return await self.desk.claim(call_sid, key, kind) is None

    async def settle(self, call_sid: str, key: str, outcome: str, result: Mapping[str, object] | None = None) -> None:
        """See `ErrandPort`."""
        await self.desk.settle(call_sid, key, outcome, detail={} if result is None else {"result": dict(result)})

    async def came(self, call_sid: str, key: str) -> Came:
        """See `ErrandPort`."""
        return await self.desk.came(call_sid, key)


def _of_row(row: ErrandRow) -> Came:
    """What is told of an errand that was begun before."""
    if row.status == "begun":
        return "unknown", {"reason": "it was begun before, and what came of it was not seen"}
    return row.status, row.detail
