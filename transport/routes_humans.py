"""Twilio's questions about humans: what became of one who was dialled, what one who is asked first hears and answers."""

import functools

import structlog
from quart import Response, request
from quart_trio import QuartTrio

from actors.messages import Before, Disposition
from transport.reception import Reception, a_sid, call_sid, counted, known, twiml
from transport.store import FINAL
from transport.twiml import ACCEPT_KEY
from transport.warm_transfer import key_of

NOT_TAKEN = {"busy": "busy", "no-answer": "no-answer", "failed": "failed", "canceled": "failed", "completed": "refused"}
"""How `<Dial>` says that nobody took the call (completed: they hung up before they were joined), and what the flow is told."""
TRANSFERS_AT_MOST = 99
"""Number of a transfer of one call, at most."""

log = structlog.get_logger("triode.web")


def add_human_routes(app: QuartTrio, reception: Reception) -> None:
    """Adds them to `app`."""
    documents = reception.documents

    @app.post("/twilio/dialed")
    @reception.signed
    async def dialed() -> Response:
        form, sid, house = await request.form, await call_sid(), reception.house
        outcome = form.get("DialCallStatus", "")
        log.info("human_dialed", outcome=outcome, bridged=form.get("DialBridged", ""))
        if request.args.get("warm"):
            key = key_of(sid, counted("warm", TRANSFERS_AT_MOST))
            # Without the store: a conference that was held is more likely than one that was not.
            taken = await known(house.transfers.accepted(key), True)
            if not taken:  # they left the music by themselves
                house.nursery.start_soon(house.transfers.caller_left, sid, "failed")
        else:
            taken = outcome in {"completed", "answered"} and form.get("DialBridged", "true") != "false"
            left = "abandoned" if form.get("CallStatus", "") in FINAL else NOT_TAKEN.get(outcome, "failed")
            came, by_agent = "done" if taken else left, not request.args.get("menu")
            leg = form.get("DialCallSid", "")[:64]
            house.nursery.start_soon(functools.partial(house.transfers.dialled, sid, leg, came, by_agent=by_agent))
        if taken or form.get("CallStatus", "") in FINAL:
            if taken:
                await house.records.close_story(sid, form.get("From", ""), form.get("To", ""))
            return twiml(documents.goodbye())
        nobody = documents.voicemail("noanswer")
        if request.args.get("menu") or outcome not in NOT_TAKEN:
            return twiml(nobody)
        return await reception.open_again(Before.NOT_TAKEN, NOT_TAKEN[outcome], (Disposition.VOICEMAIL, nobody))

    @app.post("/twilio/brief")
    @reception.signed
    async def brief() -> Response:
        return twiml(documents.brief(await reception.summary(callers_call()) or "A call for you."))

    # ------------------------------------------------------------ one who is asked first

    def callers_call() -> str:
        """The caller's call, of which the human's own call speaks."""
        return a_sid(request.args.get("call", ""), "call")

    def transfer() -> str:
        """Which transfer of that call it is about."""
        return key_of(callers_call(), counted("n", TRANSFERS_AT_MOST))

    def no_longer_waiting() -> Response:
        return twiml(documents.goodbye("The caller is no longer waiting. Goodbye."))

    @app.post("/twilio/warm/brief")
    @reception.signed
    async def warm_brief() -> Response:
        if not await known(reception.house.transfers.waits(transfer()), True):
            return no_longer_waiting()
        text = await reception.summary(callers_call()) or "A caller wants to speak with you."
        number = counted("n", TRANSFERS_AT_MOST)
        return twiml(documents.offer(callers_call(), number, f"A call from the assistant. {text}"))

    @app.post("/twilio/warm/answer")
    @reception.signed
    async def warm_answer() -> Response:
        if (await request.form).get("Digits", "") != ACCEPT_KEY:
            return twiml(documents.goodbye("The caller goes back to the assistant. Goodbye."))
        joined = await known(reception.house.transfers.accept(transfer()), True)
        return twiml(documents.join(callers_call())) if joined else no_longer_waiting()

    @app.post("/twilio/warm/gone")
    @reception.signed
    async def warm_gone() -> Response:
        return no_longer_waiting()

    @app.post("/twilio/warm/status")
    @reception.signed
    async def warm_status() -> Response:
        form, house = await request.form, reception.house
        key, status = transfer(), form.get("CallStatus", "")
        if status in FINAL:
            # Without the store: who completed a call may have talked with the caller.
            outcome = await known(house.transfers.ended(key, status), "" if status == "completed" else "failed")
            if outcome:
                log.info("transfer_not_taken", outcome=outcome)
                house.nursery.start_soon(house.transfers.take_back, key, outcome)
        return Response("", 204)

    @app.post("/twilio/warm/back")
    @reception.signed
    async def warm_back() -> Response:
        sid, outcome, house = await call_sid(), request.args.get("outcome", ""), reception.house
        house.nursery.start_soon(house.transfers.arrived, key_of(sid, counted("n", TRANSFERS_AT_MOST)))
        nobody = documents.voicemail("noanswer")
        return await reception.open_again(Before.NOT_TAKEN, outcome, (Disposition.VOICEMAIL, nobody))
