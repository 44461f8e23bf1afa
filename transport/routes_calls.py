"""Twilio's questions about a call: it rings, its stream is over, a webhook failed, what its state is."""

from collections.abc import Awaitable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import structlog
import trio
from quart import Response, request
from quart_trio import QuartTrio

from actors.messages import Before, Disposition
from transport.reception import Reception, call_sid, twiml, who
from transport.store import FINAL

DELIVERED_WITHIN = 300.0
"""Seconds past the longest call after which a call is delivered although nobody said that it is over."""
STORE_PATIENCE = 1.0
"""Seconds that a ringing caller waits for the store."""
ASKED_WITHIN = 0.8
"""Seconds of these for Twilio's word on another call: a story that is taken later is heard by nobody, and lost."""

log = structlog.get_logger("triode.web")

T = TypeVar("T")
S = TypeVar("S")


def add_call_routes(app: QuartTrio, reception: Reception) -> None:
    """Adds them to `app`."""
    settings, documents, clock = reception.settings, reception.documents, reception.clock

    @app.post("/twilio/voice")
    @reception.signed
    async def voice() -> Response:
        caller, house = await who(), reception.house
        no_room = house.switchboard.no_room(caller.sid)
        if no_room:
            if settings.call.queue_seconds:
                house.switchboard.wait(caller.sid, int(clock()))
            reception.turned_away(no_room)
        else:
            house.switchboard.expect(caller.sid)
        before, noted = Before.NOTHING, trio.Event()

        async def note() -> None:
            """Whatever the caller's patience, the call is written down, and its delivery promised."""
            nonlocal before
            await house.records.answered(caller.sid, caller.number, caller.called)
            if settings.crm.url:
                await house.records.promise_delivery(caller.sid, clock() + settings.call.max_seconds + DELIVERED_WITHIN)
            since = clock() - settings.call.resume_minutes * 60
            if caller.number.startswith("+") and settings.call.resume_minutes:
                back = await house.records.continue_call(caller.sid, caller.number, caller.called, since, is_up)
                before = Before.CALLED_BACK if back else before
            noted.set()

        house.nursery.start_soon(note)
        with trio.move_on_after(STORE_PATIENCE):
            await noted.wait()
        if no_room:
            return twiml(await house.keypad.busy(caller))
        log.info("call_answered", caller=caller.number, called=caller.called, before=before.value)
        return reception.stream(caller, before)

    async def is_up(sid: str) -> bool:
        """Whether a call of ours goes on, here, elsewhere or in the menu: whose words are in it is still talking. What cannot be
        known is taken for yes, since nobody is to hear a stranger's story."""
        house = reception.house
        row = await house.records.whole(sid)
        if row.get("status") in FINAL or row.get("disposition") == Disposition.HANG_UP.value:
            return False
        if house.switchboard.has(sid):
            return True
        with trio.move_on_after(ASKED_WITHIN):
            return await house.transfers.status_of(sid) not in FINAL
        return True

    @app.post("/twilio/after")
    @reception.signed
    async def after() -> Response:
        caller, house = await who(), reception.house
        if (await request.form).get("CallStatus", "") in FINAL:
            return twiml(documents.goodbye())
        # At once and not one after the other: if the store hangs, the caller hears nothing for as long as this takes.
        decided, in_trouble = await together(
            house.records.disposition(caller.sid), house.keypad.menu(caller, "trouble")
        )
        log.info("stream_left", disposition=decided.value if decided else None)
        if decided is Disposition.HANG_UP:
            return twiml(documents.goodbye())
        if decided is Disposition.DIAL:
            return await reception.human(caller.sid)
        if decided is Disposition.DIAL_WARM:
            return await reception.human_first(caller)
        if decided is Disposition.VOICEMAIL:
            return twiml(documents.voicemail())
        if decided is Disposition.IVR:
            return twiml(in_trouble)
        # Nobody decided: the stream was cut, or moved on purpose. It is opened again, but not for ever.
        return await reception.open_again(Before.CUT_OFF, "", (Disposition.IVR, in_trouble))

    @app.post("/twilio/fallback")
    @reception.signed
    async def fallback() -> Response:
        """A webhook was not answered, perhaps because who was to do so has died. It is asked again: all that decides is in its
        address and in the store. Only what became of a `<Dial>` was in the question, and is not known any more; nor are keys, so
        a human is asked again for theirs."""
        form, caller, house = await request.form, await who(), reception.house
        failed = form.get("ErrorUrl", "")
        log.warning("webhook_failed", url=failed[:300], error_code=form.get("ErrorCode", "")[:8])
        reception.metrics.trouble.labels("webhook").inc()
        if form.get("Direction") == "outbound-api":  # the human's own call
            offer = documents.ask_again(failed.replace("/twilio/warm/answer", "/twilio/warm/brief"))
            return twiml(offer or documents.goodbye("I am sorry, the call cannot be put through. Goodbye."))
        again = "" if urlsplit(failed).path.endswith("/twilio/dialed") else documents.ask_again(failed)
        if again:
            return twiml(again)
        # Who is in the menu waits for nobody: a human who is being rung for them would be joined with no one.
        house.nursery.start_soon(house.transfers.caller_left, caller.sid, "failed")
        return twiml(await house.keypad.menu(caller, "trouble"))

    @app.post("/twilio/status")
    @reception.signed
    async def status() -> Response:
        form, sid, house = await request.form, await call_sid(), reception.house
        state = form.get("CallStatus", "")[:32]
        numbers = form.get("From", "")[:64], form.get("To", "")[:64]
        await house.records.status(sid, state, form.get("SequenceNumber", -1, type=int), *numbers)
        if state in FINAL:
            house.switchboard.call_over(sid)
            house.nursery.start_soon(house.transfers.caller_left, sid)
        return Response("", 204)

    @app.post("/twilio/stream-status")
    @reception.signed
    async def stream_status() -> Response:
        form = await request.form
        event, error = form.get("StreamEvent", ""), form.get("StreamError", "")
        if event == "stream-error":
            reception.metrics.trouble.labels("stream error").inc()
        log.info("stream_status", stream_sid=form.get("StreamSid", ""), event_name=event[:32], error=error[:300])
        return Response("", 204)

    @app.post("/twilio/message-status")
    @reception.signed
    async def message_status() -> Response:
        form = await request.form
        sid, state = form.get("MessageSid", "")[:64], form.get("MessageStatus", "")[:32]
        errand = request.args.get("errand", "")[:200]
        await reception.house.errands.message_status(sid, state, form.get("ErrorCode", "")[:8], errand)
        log.info("message_status", message_sid=sid, status=state, error_code=form.get("ErrorCode", "")[:8])
        return Response("", 204)


async def together(first: Awaitable[T], second: Awaitable[S]) -> tuple[T, S]:
    """The answers to two questions that are asked at once."""
    answers: dict[int, Any] = {}

    async def ask(number: int, question: Awaitable[Any]) -> None:
        answers[number] = await question

    async with trio.open_nursery() as both:
        both.start_soon(ask, 1, first)
        both.start_soon(ask, 2, second)
    return answers[1], answers[2]
