"""Twilio's questions from the keypad menu: keys, silence, the wait for a line, messages."""

import structlog
import trio
from quart import Response, request
from quart_trio import QuartTrio

from actors.messages import Before
from transport.keypad import LEAVES
from transport.reception import Reception, call_sid, counted, twiml, who
from transport.twiml import TRIES, WHY

DIGITS_AT_MOST = 64
"""Keys of one answer in the menu."""

log = structlog.get_logger("triode.web")


def add_menu_routes(app: QuartTrio, reception: Reception) -> None:
    """Adds them to `app`."""

    def tries() -> int:
        return counted("tries", TRIES)

    def since() -> int:
        return counted("since", int(reception.clock()))

    def full() -> bool:
        return "full" in request.args

    @app.post("/twilio/ivr/menu")
    @reception.signed
    async def menu() -> Response:
        why = request.args.get("why", "")
        return twiml(await reception.house.keypad.menu(await who(), why if why in WHY else "", tries(), full=full()))

    @app.post("/twilio/ivr/choice")
    @reception.signed
    async def choice() -> Response:
        digit = (await request.form).get("Digits", "")
        log.info("menu_choice", digit=digit[:1])
        caller, house = await who(), reception.house
        if digit in LEAVES:
            house.switchboard.wait_no_longer(caller.sid)
        elif since():  # any other key is no reason to lose one's turn
            house.switchboard.wait(caller.sid, since())
        return twiml(await house.keypad.choice(caller, digit, tries(), since(), full=full()))

    @app.post("/twilio/ivr/answer")
    @reception.signed
    async def answer() -> Response:
        question, check = request.args.get("question", ""), request.args.get("check", "")[:DIGITS_AT_MOST]
        digits = (await request.form).get("Digits", "")[:DIGITS_AT_MOST]
        log.info("menu_answer", question=question[:64], tries=tries())
        return twiml(await reception.house.keypad.answer(await who(), question, digits, tries(), check))

    @app.post("/twilio/ivr/wait")
    @reception.signed
    async def wait() -> Response:
        """For a line: there is one now, or the caller goes on waiting."""
        house, caller = reception.house, await who()
        house.switchboard.wait(caller.sid, since())
        if house.switchboard.no_room(caller.sid):
            if house.keypad.has_waited(since()):
                house.switchboard.wait_no_longer(caller.sid)
            return twiml(await house.keypad.still_busy(caller, since()))
        house.switchboard.expect(caller.sid)
        before = Before.CALLED_BACK if await house.records.story(caller.sid) else Before.NOTHING
        log.info("call_answered", caller=caller.number, called=caller.called, before=before.value)
        return reception.stream(caller, before)

    # ------------------------------------------------------------ messages

    @app.post("/twilio/ivr/recorded")
    @reception.signed
    async def recorded() -> Response:
        caller = await who()
        # Both at once: a caller whom a slow store lets wait for its answers one after the other hears nothing meanwhile.
        async with trio.open_nursery() as both:
            both.start_soon(keep_recording, "in-progress")
            if (await request.form).get("RecordingSid"):
                both.start_soon(reception.house.records.close_story, caller.sid, caller.number, caller.called)
        return twiml(reception.documents.goodbye("Thank you. Your message has been recorded. Goodbye."))

    @app.post("/twilio/ivr/recording")
    @reception.signed
    async def recording() -> Response:
        await keep_recording((await request.form).get("RecordingStatus", "completed"))
        return Response("", 204)

    async def keep_recording(status: str) -> None:
        form, records = await request.form, reception.house.records
        if sid := form.get("RecordingSid", "")[:64]:
            seconds = form.get("RecordingDuration", 0, type=int)
            await records.recording(sid, await call_sid(), form.get("RecordingUrl", ""), seconds, status[:32])
