"""A warm transfer: the human's phone is called, they hear a summary, and only a key of theirs joins them with the caller, who
waits with music. If they refuse, do not answer or are busy, the caller goes back to the agent.

    /twilio/after ──▶ begin: the caller waits in a conference, the human is rung
    /twilio/warm/brief ──▶ the summary    /twilio/warm/answer ──▶ joined, or not
    /twilio/warm/status ──▶ the human's call is over: if they were not joined, the caller is taken back
    /twilio/warm/back ──▶ the caller is here again

    begun ──▶ ringing ──▶ done
      ├─────────┴──▶ returning ──▶ busy, no-answer, refused, failed
      └────────────▶ abandoned: the caller hung up

A transfer is an errand of its call, and moves from status to status in single steps of the store: of several who would move it
one does. What is still to be done is done by the webhook that hears of it or, if that dies or hears nothing, by `watch`, which
every worker runs and which asks the carrier. So no caller waits for something that only one process knows.
"""

from collections.abc import Callable
from typing import Any

import attrs
import structlog
import trio

from transport.store import FINAL, OPEN, ErrandRow, Store, StoreDown
from transport.twilio_rest import NOT_FOUND, Refused, TwilioRest, Unreached, Unsure
from transport.twiml import RING_SECONDS, Documents

ANSWERED_WITHIN = 1.5
"""Seconds that a caller hears nothing, at most, until it is known whether the human can be rung; then they wait with music."""
CALLER_ASKED_WITHIN = 1.5
"""Seconds that a human who has accepted waits until it is known whether the caller is still there; else they are joined."""
ALONE_AFTER = 2.0
"""Seconds after the end of a call in which the human who was joined has left the conference too."""
LOOK_AFTER = 1.5
"""Seconds until a call whose answer was lost is looked for."""
CLOCKS_DIFFER = 2.0
WAIT_AT_MOST = RING_SECONDS + 60.0
"""Seconds that a caller waits if nothing is heard of the human's call any more."""
RUNG_WITHIN = 20.0
"""Seconds after which who began to ring the human has died, if it is not known yet whether they were rung."""
DOUBT_AFTER = RING_SECONDS + 10.0
"""Seconds after which the carrier is asked what became of the human's call."""
LOOK_EVERY = 5.0
"""Seconds between looks at what is under way."""
TAKE_BACK_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds between tries to take a caller back: doing it twice does no harm, leaving them with the music does."""
LEASE = 30.0
"""Seconds that the taking back belongs to who took it on; who dies of it gives it back so."""
OLD = 3600.0
"""Seconds after which a transfer is no concern any more: nobody waits that long."""
NOT_IN_PROGRESS = 21220
ENDED = {"busy": "busy", "no-answer": "no-answer", "failed": "failed", "canceled": "failed", "completed": "refused"}
WAITING = ("begun", "ringing")

log = structlog.get_logger("triode.transfer")


def key_of(call_sid: str, number: int) -> str:
    """The errand that transfer `number` of a call is."""
    return f"{call_sid}/transfer.{number}"


@attrs.frozen
class WarmTransfers:
    """Warm transfers to one human."""

    store: Store
    rest: TwilioRest
    documents: Documents
    clock: Callable[[], float]

    # ------------------------------------------------------------ ringing

    async def begin(self, call_sid: str, called: str, nursery: trio.Nursery) -> int | None:
        """Rings the human; the number of the transfer that the caller is to wait for, None if they cannot be rung.

        Asked twice for the same transfer, they are rung once. Raises StoreDown.
        """
        before = await self._warm(call_sid)
        if before and before[-1].status in OPEN:
            return len(before) - 1
        number = len(before)
        key = key_of(call_sid, number)
        if await self.store.claim_errand(key, call_sid, "transfer", self.clock()) is not None:
            return number
        tell, told = trio.open_memory_channel[bool](0)
        nursery.start_soon(self._ring, key, called, tell)
        with told, trio.move_on_after(ANSWERED_WITHIN):
            return number if await told.receive() else None
        return number

    async def _ring(self, key: str, called: str, tell: "trio.MemorySendChannel[bool]") -> None:
        """Rings the human, whoever still waits to hear whether it could be done."""
        try:
            leg, why = await self._leg(key, called)
            if why:
                log.error("human_not_rung", error=why)
                gone = await self._return(key, "failed", why)
                if _told(tell, False):  # they are dialled as in a cold transfer
                    await self._arrived(key)
                elif gone:
                    await self.take_back(key, "failed")
                return
            if not leg:  # perhaps they were: `watch` looks for their call again
                _told(tell, True)
                return
            log.info("human_rung", leg=leg)
            row = await self.store.change_errand(key, lambda row: attrs.evolve(row, reference=row.reference or leg))
            await self._move(key, ("begun",), "ringing")  # unless the human was faster than the answer
            _told(tell, True)
            if row is not None and row.status == "abandoned":
                await self._dismiss(leg)
        except StoreDown as error:
            _failed(error)
            _told(tell, True)

    async def _leg(self, key: str, called: str) -> tuple[str, str]:
        """The human's call (empty: not known), or why there is certainly none. Raises StoreDown."""
        call_sid, number = _parts(key)
        url = self.documents.url("/twilio/warm/brief", call=call_sid, n=number)
        status = self.documents.url("/twilio/warm/status", call=call_sid, n=number)
        asked, fallback = trio.current_time(), self.documents.url("/twilio/fallback")
        try:
            return await self.rest.ring(self.documents.human_number, called, url, status, RING_SECONDS, fallback), ""
        except (Refused, Unreached) as error:
            return "", str(error)[:200]
        except Unsure as error:
            log.warning("human_perhaps_rung", error=str(error))
            await trio.sleep(LOOK_AFTER)
            found = await self._look_for(called, trio.current_time() - asked)
            return ("", str(error)[:200]) if found == "" else (found or "", "")

    async def _look_for(self, called: str, seconds: float) -> str | None:
        """The newest call to the human of the last `seconds` that is no other transfer's: "" if there is none, None if that
        cannot be known. They are never rung a second time for a call that may exist. Raises StoreDown."""
        try:
            calls = await self.rest.find_calls(self.documents.human_number, called, seconds + CLOCKS_DIFFER)
        except (Refused, Unreached, Unsure) as error:
            log.warning("human_not_looked_for", error=str(error))
            return None
        for sid, status in calls:
            if status not in FINAL and await self.store.errand_by_reference(sid) is None:
                return sid
        return ""

    # ------------------------------------------------------------ what the human does

    async def waits(self, key: str) -> bool:
        """Whether the caller still waits for the human. Raises StoreDown."""
        row = await self._row(key)
        return row is not None and row.status in WAITING

    async def accepted(self, key: str) -> bool:
        """Whether the human took the call. Raises StoreDown."""
        row = await self._row(key)
        return row is not None and row.status == "done"

    async def accept(self, key: str) -> bool:
        """The human pressed the key; whether the caller is still there to be joined. Raises StoreDown."""
        if await self._caller_is_gone(key):  # nobody has told so yet, or nobody could
            await self._move(key, OPEN, "abandoned")
            return False
        return await self._move(key, WAITING, "done") or await self.accepted(key)

    async def _caller_is_gone(self, key: str) -> bool:
        """Whether the carrier says that the caller has hung up: a human who is joined with them would be alone."""
        with trio.move_on_after(CALLER_ASKED_WITHIN):
            return await self.status_of(_parts(key)[0]) in FINAL
        return False

    async def ended(self, key: str, status: str) -> str:
        """The human's call is over: how the transfer came out if whoever asks is to take the caller back, else empty.

        Raises StoreDown.
        """
        outcome = ENDED.get(status, "failed")
        return outcome if await self._return(key, outcome) else ""

    async def dialled(self, call_sid: str, leg: str, outcome: str, *, by_agent: bool) -> None:
        """The human was dialled without being asked first, as call `leg`, and that is over: it is kept as a transfer too. Told
        twice, it is kept once. `by_agent`: it was not the caller's own choice in the menu. Raises nothing."""
        try:
            if not leg or await self.store.errand_by_reference(leg) is not None:
                return
            last = next(reversed(await self._warm(call_sid)), None)
            if by_agent and last is not None and last.status == "failed" and not last.reference:
                key = last.key  # whom the API would not ring was dialled instead: it is the same transfer
            else:
                key = f"{call_sid}/dial.{leg}"
                await self.store.claim_errand(key, call_sid, "transfer", self.clock())

            def settle(row: ErrandRow) -> ErrandRow:
                detail = {name: value for name, value in row.detail.items() if name != "reason"}
                return attrs.evolve(row, status=outcome, reference=leg, detail=detail)

            await self.store.change_errand(key, settle)
        except StoreDown as error:
            _failed(error)

    # ------------------------------------------------------------ what the caller does

    async def caller_left(self, call_sid: str, outcome: str = "abandoned") -> None:
        """The caller waits no longer: who is being rung for them is told, or not rung any more. Raises nothing."""
        try:
            for row in await self._warm(call_sid):
                if row.status in OPEN and await self._move(row.key, OPEN, outcome) and row.reference:
                    await self._dismiss(row.reference)
                elif row.status == "done" and row.reference:
                    await self._release(row.reference)
        except StoreDown as error:
            _failed(error)

    async def _release(self, leg: str) -> None:
        """Who was joined goes with the caller; but who came in just after the caller had left would sit there alone."""
        await trio.sleep(ALONE_AFTER)
        if await self.status_of(leg) not in {"", *FINAL}:
            await self._dismiss(leg)

    async def _dismiss(self, leg: str) -> None:
        """Who listens is told; a phone that rings stops. What cannot be done is logged: nobody will be joined anyway."""
        try:
            await self.rest.redirect(leg, self.documents.url("/twilio/warm/gone"))
        except Refused:
            try:
                await self.rest.hang_up(leg)
            except (Refused, Unreached, Unsure) as error:
                log.info("human_not_dismissed", error=str(error))
        except (Unreached, Unsure) as error:
            log.warning("human_not_dismissed", error=str(error))

    # ------------------------------------------------------------ taking the caller back

    async def take_back(self, key: str, outcome: str) -> None:
        """The caller leaves the music for the agent. Bounded; what is not done then, `watch` does."""
        call_sid, number = _parts(key)
        url = self.documents.url("/twilio/warm/back", outcome=outcome, n=number)
        for pause in (*TAKE_BACK_PAUSES, None):
            try:
                await self.rest.redirect(call_sid, url)
                return
            except Refused as refused:
                if refused.status == NOT_FOUND or refused.code == NOT_IN_PROGRESS:  # they have hung up meanwhile
                    log.info("caller_not_taken_back", error=str(refused))
                    await self.arrived(key)
                    return
                log.warning("caller_not_taken_back", error=str(refused))
            except (Unreached, Unsure) as error:
                log.warning("caller_not_taken_back", error=str(error))
            if pause is not None:
                await trio.sleep(pause)
                if await self._is_back(key):
                    return

    async def arrived(self, key: str) -> None:
        """The caller is here again, or gone for good: they are not to be taken back any more. Raises nothing."""
        for pause in (*TAKE_BACK_PAUSES, None):
            try:
                await self._arrived(key)
                return
            except StoreDown as error:  # until it is known, `watch` may tear them out of their conversation
                _failed(error)
            if pause is not None:
                await trio.sleep(pause)

    async def _arrived(self, key: str) -> None:
        def settle(row: ErrandRow) -> ErrandRow | None:
            if row.status != "returning":
                return None
            rest = {name: value for name, value in row.detail.items() if name not in {"outcome", "held"}}
            return attrs.evolve(row, status=row.detail.get("outcome", "failed"), detail=rest)

        await self.store.change_errand(key, settle)

    async def _is_back(self, key: str) -> bool:
        """Whether the caller is known to be with the agent again: an answer that was lost was carried out."""
        try:
            row = await self._row(key)
        except StoreDown:
            return False
        return row is not None and row.status not in OPEN

    # ------------------------------------------------------------ what nobody tells

    async def watch(self) -> None:
        """Looks after all transfers that are under way, whoever began them, until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                try:
                    for row in await self.store.open_errands("transfer", self.clock() - OLD):
                        if _is_warm(row):
                            await self._look_at(row, nursery)
                except StoreDown as error:
                    _failed(error)
                await trio.sleep(LOOK_EVERY)

    async def _look_at(self, row: ErrandRow, nursery: trio.Nursery) -> None:
        """Does what is overdue. Raises StoreDown."""
        age = self.clock() - row.begun
        if row.status == "returning":
            if await self._take_over(row.key):
                nursery.start_soon(self.take_back, row.key, str(row.detail.get("outcome", "failed")))
            return
        status = ""
        if age >= WAIT_AT_MOST:
            status = "no-answer"
        elif row.reference and age >= DOUBT_AFTER:
            status = await self.status_of(row.reference)
        elif row.status == "begun" and not row.reference and age >= RUNG_WITHIN:
            call = await self.store.call(row.call_sid)
            leg = await self._look_for(str((call or {}).get("called", "")), age)
            if leg:
                await self.store.change_errand(row.key, lambda row: attrs.evolve(row, reference=leg))
                await self._move(row.key, ("begun",), "ringing")
            elif leg == "":
                status = "failed"
        if status in FINAL and (outcome := await self.ended(row.key, status)):
            log.info("transfer_not_taken", outcome=outcome, noticed_after=round(age))
            nursery.start_soon(self.take_back, row.key, outcome)

    async def status_of(self, leg: str) -> str:
        """What the carrier says of a call: "failed" if it does not know it any more, empty if it cannot be asked."""
        try:
            return await self.rest.call_status(leg) or "failed"
        except (Refused, Unreached, Unsure) as error:
            log.warning("call_not_asked_for", error=str(error))
            return ""

    # ------------------------------------------------------------ steps of the store

    async def _warm(self, call_sid: str) -> list[ErrandRow]:
        return [row for row in await self.store.errands(call_sid) if _is_warm(row)]

    async def _row(self, key: str) -> ErrandRow | None:
        rows = await self.store.errands(_parts(key)[0])
        return next((row for row in rows if row.key == key), None)

    async def _move(self, key: str, before: tuple[str, ...], after: str) -> bool:
        """Whether the transfer went from one of these statuses to the next by this call. Raises StoreDown."""

        def step(row: ErrandRow) -> ErrandRow | None:
            return attrs.evolve(row, status=after) if row.status in before else None

        return await self.store.change_errand(key, step) is not None

    async def _return(self, key: str, outcome: str, why: str = "") -> bool:
        """As `_move`: the caller is to be taken back, by the one who is told True."""
        more: dict[str, Any] = {"outcome": outcome, "held": self.clock() + LEASE, **({"reason": why} if why else {})}

        def step(row: ErrandRow) -> ErrandRow | None:
            waiting = row.status in WAITING
            return attrs.evolve(row, status="returning", detail={**row.detail, **more}) if waiting else None

        return await self.store.change_errand(key, step) is not None

    async def _take_over(self, key: str) -> bool:
        """Whether the taking back, which somebody else began and did not finish, is now ours."""
        now = self.clock()

        def step(row: ErrandRow) -> ErrandRow | None:
            if row.status != "returning" or row.detail.get("held", 0) > now:
                return None
            return attrs.evolve(row, detail={**row.detail, "held": now + LEASE})

        return await self.store.change_errand(key, step) is not None


def _is_warm(row: ErrandRow) -> bool:
    """Whether it is a transfer in which the human is asked first: somebody waits while it is open."""
    return row.name == "transfer" and row.key.startswith(f"{row.call_sid}/transfer.")


def _parts(key: str) -> tuple[str, int]:
    call_sid, _, number = key.partition("/transfer.")
    return call_sid, int(number)


def _told(tell: "trio.MemorySendChannel[bool]", rung: bool) -> bool:
    """Whether somebody waited to be told."""
    try:
        tell.send_nowait(rung)
    except (trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
        return False
    return True


def _failed(error: StoreDown) -> None:
    log.error("store_failed", what="transfer", error=str(error)[:300])
