"""The web application: Twilio's webhooks, the media stream, and what operators ask. It decides nothing about a call."""

import contextlib
import datetime
import functools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import attrs
import httpx2
import structlog
import trio
from quart import Response, abort, request, websocket
from quart_trio import QuartTrio

from actors import story as stories
from actors.messages import Before, Disposition
from conf.flow_file import load_flow
from conf.prompts import load_prompts
from conf.settings import Settings
from transport import open_store as opening
from transport import store as stores
from transport.courier import SETTLE, Courier
from transport.errand_desk import ErrandDesk
from transport.garbage import Garbage
from transport.http_client import open_http
from transport.keypad import LEAVES, Caller, Keypad
from transport.loop_watch import LoopWatch
from transport.media_socket import Socket
from transport.metrics import Metrics
from transport.records import KEEP_WITHIN, LAST_TRIES, Records
from transport.signature import SignatureCheck
from transport.stream_token import StreamTokens
from transport.switchboard import ConnectModel, Switchboard, connect_openai, plan
from transport.twilio_rest import open_rest
from transport.twiml import ACCEPT_KEY, REOPEN_AT_MOST, TRIES, WHY, Documents, asks_within
from transport.warm_transfer import WarmTransfers, key_of

FORM_AT_MOST = 64 * 1024
"""Bytes of a webhook's body: Twilio's are about one thousand."""
NOT_TAKEN = {"busy": "busy", "no-answer": "no-answer", "failed": "failed", "canceled": "failed", "completed": "refused"}
"""How `<Dial>` says that nobody took the call (completed: they hung up before they were joined), and what the flow is told."""
DELIVERED_WITHIN = 300.0
"""Seconds past the longest call after which a call is delivered although nobody said that it is over."""
DIGITS_AT_MOST = 64
"""Keys of one answer in the menu."""
STORE_PATIENCE = 1.0
"""Seconds that a ringing caller waits for the store."""

log = structlog.get_logger("triode.web")
View = Callable[[], Awaitable[Response]]
Listener = Callable[[str, str, dict[str, Any]], None]
T = TypeVar("T")
S = TypeVar("S")


@attrs.frozen
class House:
    """What the routes need, alive as long as the server."""

    switchboard: Switchboard
    records: Records
    store: stores.Store
    errands: ErrandDesk
    transfers: WarmTransfers
    keypad: Keypad
    nursery: trio.Nursery
    """For what a webhook begins and does not wait for. It ends with the house."""


async def together(first: Awaitable[T], second: Awaitable[S]) -> tuple[T, S]:
    """The answers to two questions that are asked at once."""
    answers: dict[int, Any] = {}

    async def ask(number: int, question: Awaitable[Any]) -> None:
        answers[number] = await question

    async with trio.open_nursery() as both:
        both.start_soon(ask, 1, first)
        both.start_soon(ask, 2, second)
    return answers[1], answers[2]


@attrs.frozen
class MediaGate:
    """Who may open a media stream, and what becomes of it; the same for the media lane and for the route."""

    signatures: SignatureCheck
    houses: list[House]
    metrics: Metrics
    media_path: str = "/twilio/media"

    def admits(self, raw_path: str, signature: str | None) -> bool:
        """Whether the handshake is signed by Twilio, and the house open."""
        if self.houses and self.signatures.handshake(raw_path, signature):
            return True
        self.metrics.refused.labels("handshake").inc()
        log.warning("unsigned_handshake", path=raw_path[:200])
        return False

    async def serve(self, socket: Socket) -> None:
        """One stream, from the open socket to the record."""
        await self.houses[0].switchboard.serve(socket)


def create_app(
    settings: Settings,
    *,
    connect_model: ConnectModel | None = None,
    listener: Listener | None = None,
    drain_begins: Callable[[], Awaitable[None]] = trio.sleep_forever,
    drained: Callable[[int], None] = lambda cut: None,
    outside: httpx2.AsyncBaseTransport | None = None,
    open_store: Callable[[str], contextlib.AbstractAsyncContextManager[stores.Store]] | None = None,
    loop_watch: LoopWatch | None = None,
    garbage: Garbage | None = None,
    clock: Callable[[], float] = time.time,
    unwritten: Path | None = None,
    left: Callable[[int], None] = lambda writes: None,
) -> QuartTrio:
    """The application for `settings`. Raises SettingsError for a bad flow or prompt. `drain_begins` returns when a shutdown
    begins; `drained` is told how many calls are cut when that is over. `outside` takes the place of the network for Twilio's API
    and the backend, `open_store` that of the function which opens the store; `loop_watch` watches the loop and `garbage` keeps
    Python's collector out of its way, in a process that is all ours; `clock` tells unix time. What the store has not taken at
    the end is kept in folder `unwritten`, and `left` is told how much that is."""
    app = QuartTrio("triode")
    app.config["MAX_CONTENT_LENGTH"] = FORM_AT_MOST
    prompts = load_prompts(settings.audio.prompts)
    flow = load_flow(settings.flow.path, prompts)
    call_plan = plan(settings, flow, prompts)
    documents = Documents(settings.server.public_url, settings.call.human_number, settings.call.overflow_number)
    signatures = SignatureCheck(settings.server.public_url, settings.secrets.auth_token)
    tokens = StreamTokens(settings.secrets.auth_token, settings.twilio.token_seconds, clock)
    houses: list[House] = []
    watch = loop_watch or LoopWatch()
    metrics = Metrics(
        lambda: houses[0].switchboard.active if houses else 0,
        watch.lag,
        lambda: houses[0].switchboard.waiting if houses else 0,
    )
    connect = connect_model or connect_openai(settings, clock)
    opener = open_store or opening.open_store

    # ---------------------------------------------------------------- the house

    @app.before_serving
    async def open_house() -> None:
        await app.nursery.start(keep_house)

    app.config["BACKGROUND_TASK_SHUTDOWN_TIMEOUT"] = LAST_TRIES + KEEP_WITHIN  # then the house is closed, if not before

    @app.after_serving
    async def last_writes() -> None:
        if houses:
            left(await houses[0].records.finish(unwritten))

    async def keep_house(task_status: "trio.TaskStatus[None]") -> None:
        account, token = settings.secrets.account_sid, settings.secrets.auth_token
        async with (
            contextlib.AsyncExitStack() as watched,
            opener(settings.store.url) as store,
            open_rest(account, token, settings.twilio.api_url, outside, clock) as rest,
            courier_for(store) as courier,
            trio.open_nursery() as nursery,
        ):
            if loop_watch is not None:
                watched.enter_context(loop_watch.watching(metrics.held.inc))

            def call_over(sid: str) -> None:
                if courier is not None:
                    nursery.start_soon(deliver_soon, courier, records, sid)

            keep = settings.store.transcripts == "keep"
            hurry = courier.hurry if courier is not None else lambda: None
            records = Records(store, metrics, keep_transcripts=keep, call_over=call_over, caught_up=hurry, clock=clock)
            callback = documents.url("/twilio/message-status")
            desk = ErrandDesk(store, rest, metrics, settings.twilio.sms_from, callback, clock)
            told = (tokens, metrics, listener, clock, watch.lag)
            switchboard = Switchboard(settings, call_plan, connect, records, desk, *told)
            if garbage is not None:
                switchboard.stream_over = garbage.call_over
                nursery.start_soon(garbage.run)
            transfers = WarmTransfers(store, rest, documents, clock)
            nursery.start_soon(transfers.watch)
            if unwritten is not None:
                await records.take_over(unwritten)
            nursery.start_soon(records.catch_up)
            keypad = Keypad(flow, documents, records, settings.call.queue_seconds, clock)
            houses.append(House(switchboard, records, store, desk, transfers, keypad, nursery))
            app.extensions["triode"] = houses[0]
            if courier is not None:
                nursery.start_soon(courier.run)
                nursery.start_soon(courier.reconcile, rest.call_status, records.found_over)
            if settings.store.keep_days:
                nursery.start_soon(forget_the_old, store, records)
            if garbage is not None:  # last, when all that is to stay is there
                watched.enter_context(garbage.held_back())
            task_status.started()
            try:
                await drain_begins()
                drained(await switchboard.drain())
                await trio.sleep_forever()
            finally:
                houses.clear()

    @contextlib.asynccontextmanager
    async def courier_for(store: stores.Store) -> AsyncIterator[Courier | None]:
        """Who delivers to the backend, if there is one."""
        if not settings.crm.url:
            yield None
            return
        async with open_http(10, outside) as client:
            yield Courier(store, client, settings.crm.url, settings.secrets.crm_secret, metrics, clock)

    async def deliver_soon(courier: Courier, records: Records, sid: str) -> None:
        due = clock() + SETTLE
        await records.promise_delivery(sid, due)  # a worker that died may have had no time to
        await records.hasten_delivery(sid, due)
        courier.hurry()

    async def forget_the_old(store: stores.Store, records: Records) -> None:
        """Retention: what is older than the settings allow is deleted, every hour."""
        while True:
            oldest = clock() - settings.store.keep_days * 86_400
            if unwritten is not None:
                await records.tidy(unwritten, oldest)
            try:
                before = datetime.datetime.fromtimestamp(oldest, datetime.UTC)
                if gone := await store.forget_before(before):
                    log.info("forgotten", calls=gone)
            except stores.StoreDown as error:
                log.error("store_failed", what="retention", error=str(error)[:300])
            if houses and (flights := houses[0].switchboard.flights) is not None:
                await flights.tidy()
            await trio.sleep(3600)

    # ---------------------------------------------------------------- Twilio's webhooks

    def signed(view: View) -> View:
        """Only Twilio may ask: 403 otherwise, before anything is done."""

        @functools.wraps(view)
        async def check() -> Response:
            path = request.scope.get("raw_path", b"").decode("latin-1") or request.path
            query = request.query_string.decode("latin-1")
            form = await request.form
            if not signatures.webhook(path, query, form, request.headers.get("X-Twilio-Signature")):
                metrics.refused.labels("signature").inc()
                log.warning("unsigned_request", path=path[:200])
                return Response("The request is not signed by Twilio.", 403, content_type="text/plain")
            with structlog.contextvars.bound_contextvars(call_sid=form.get("CallSid", "")):
                answer = await view()
                if answer.mimetype == "text/xml" and form.get("Direction") != "outbound-api":
                    seconds = asks_within(await answer.get_data(as_text=True))
                    houses[0].switchboard.asks_again(form.get("CallSid", ""), seconds)
                return answer

        return check

    def twiml(document: str) -> Response:
        return Response(document, 200, content_type="text/xml; charset=utf-8")

    async def call_sid() -> str:
        sid = (await request.form).get("CallSid", "")
        if not sid.isalnum() or not sid.isascii() or len(sid) > 64:
            abort(400, "CallSid is missing")
        return sid

    @app.post("/twilio/voice")
    @signed
    async def voice() -> Response:
        sid, form, house = await call_sid(), await request.form, houses[0]
        no_room = house.switchboard.no_room(sid)
        if no_room:
            if settings.call.queue_seconds:
                house.switchboard.wait(sid, int(clock()))
            metrics.refused.labels(no_room).inc()
            log.warning("no_room", why=no_room, calls=house.switchboard.active)
        else:
            house.switchboard.expect(sid)
        caller, called = form.get("From", ""), form.get("To", "")
        before, noted = Before.NOTHING, trio.Event()

        async def note() -> None:
            """Whatever the caller's patience, the call is written down, and its delivery promised."""
            nonlocal before
            await house.records.answered(sid, caller, called)
            if settings.crm.url:
                await house.records.promise_delivery(sid, clock() + settings.call.max_seconds + DELIVERED_WITHIN)
            since = clock() - settings.call.resume_minutes * 60
            if caller.startswith("+") and settings.call.resume_minutes:
                back = await house.records.continue_call(sid, caller, called, since, is_up)
                before = Before.CALLED_BACK if back else before
            noted.set()

        house.nursery.start_soon(note)
        with trio.move_on_after(STORE_PATIENCE):
            await noted.wait()
        if no_room:
            return twiml(await house.keypad.busy(await who()))
        log.info("call_answered", caller=caller, called=called, before=before.value)
        return twiml(documents.stream(tokens.make(sid, before=before, caller=caller, called=called)))

    async def is_up(sid: str) -> bool:
        """Whether a call of ours goes on, here, elsewhere or in the menu: whose words are in it is still talking. What cannot be
        known is taken for yes, since nobody is to hear a stranger's story."""
        house = houses[0]
        row = await house.records.whole(sid)
        if row.get("status") in stores.FINAL or row.get("disposition") == Disposition.HANG_UP.value:
            return False
        return house.switchboard.has(sid) or await house.transfers.status_of(sid) not in stores.FINAL

    @app.post("/twilio/after")
    @signed
    async def after() -> Response:
        sid, house = await call_sid(), houses[0]
        if (await request.form).get("CallStatus", "") in stores.FINAL:
            return twiml(documents.goodbye())
        # At once and not one after the other: if the store hangs, the caller hears nothing for as long as this takes.
        decided, in_trouble = await together(house.records.disposition(sid), house.keypad.menu(await who(), "trouble"))
        log.info("stream_left", disposition=decided.value if decided else None)
        if decided is Disposition.HANG_UP:
            return twiml(documents.goodbye())
        if decided is Disposition.DIAL:
            return twiml(documents.human(sid if await summary(sid) else ""))
        if decided is Disposition.DIAL_WARM:
            return await begin_warm(sid)
        if decided is Disposition.VOICEMAIL:
            return twiml(documents.voicemail())
        if decided is Disposition.IVR:
            return twiml(in_trouble)
        # Nobody decided: the stream was cut, or moved on purpose. It is opened again, but not for ever.
        return await open_again(sid, Before.CUT_OFF, "", (Disposition.IVR, in_trouble))

    @app.post("/twilio/fallback")
    @signed
    async def fallback() -> Response:
        """A webhook was not answered, perhaps because who was to do so has died. It is asked again: all that decides is in its
        address and in the store. Only what became of a `<Dial>` was in the question, and is not known any more; nor are keys, so
        a human is asked again for theirs."""
        form, caller = await request.form, await who()
        failed = form.get("ErrorUrl", "")
        log.warning("webhook_failed", url=failed[:300], error_code=form.get("ErrorCode", "")[:8])
        metrics.trouble.labels("webhook").inc()
        if form.get("Direction") == "outbound-api":  # the human's own call
            offer = documents.ask_again(failed.replace("/twilio/warm/answer", "/twilio/warm/brief"))
            return twiml(offer or documents.goodbye("I am sorry, the call cannot be put through. Goodbye."))
        again = "" if urlsplit(failed).path.endswith("/twilio/dialed") else documents.ask_again(failed)
        if again:
            return twiml(again)
        # Who is in the menu waits for nobody: a human who is being rung for them would be joined with no one.
        houses[0].nursery.start_soon(houses[0].transfers.caller_left, caller.sid, "failed")
        return twiml(await houses[0].keypad.menu(caller, "trouble"))

    async def open_again(sid: str, before: Before, outcome: str, otherwise: tuple[Disposition, str]) -> Response:
        """The stream once more, with what was before; `otherwise` if it was opened too often, or there is no room. Who was in
        the middle of a conversation may wait for a line then, to go on with it."""
        house, form = houses[0], await request.form
        token = request.headers.get("I-Twilio-Idempotency-Token", "")[:64]
        times = await house.records.reopened(sid, token)
        too_often = times is None or times > REOPEN_AT_MOST
        no_room = "" if too_often else house.switchboard.no_room(sid, again=True)
        if no_room:
            metrics.refused.labels(no_room).inc()
            log.warning("no_room", why=no_room, calls=house.switchboard.active)
            if before is Before.CUT_OFF and settings.call.queue_seconds:
                house.switchboard.wait(sid, int(clock()))
                return twiml(await house.keypad.busy(await who()))
        if too_often or no_room:
            decided, document = otherwise
            if times is not None:  # else the store is down, and the caller has waited for it long enough
                await house.records.keep_disposition(sid, decided)
            return twiml(document)
        house.switchboard.expect(sid)
        numbers = {"caller": form.get("From", ""), "called": form.get("To", "")}
        return twiml(documents.stream(tokens.make(sid, before=before, outcome=outcome, **numbers)))

    # ---------------------------------------------------------------- a human

    async def summary(sid: str) -> str:
        """What is known of the caller's wish, in words; empty if nothing is."""
        plain = await houses[0].records.story(sid)
        story = stories.from_plain(plain, flow) if plain else None
        return stories.summary(flow, story) if story else ""

    async def begin_warm(sid: str) -> Response:
        """The human is asked first; if they cannot be, they are dialled as in a cold transfer."""
        house, called = houses[0], (await request.form).get("To", "")
        number = await known(house.transfers.begin(sid, called, house.nursery), None)
        if number is not None:
            return twiml(documents.hold(sid, number))
        return twiml(documents.human(sid if await summary(sid) else ""))

    @app.post("/twilio/dialed")
    @signed
    async def dialed() -> Response:
        form, sid = await request.form, await call_sid()
        outcome = form.get("DialCallStatus", "")
        log.info("human_dialed", outcome=outcome, bridged=form.get("DialBridged", ""))
        if request.args.get("warm"):
            key = key_of(sid, transfer_number("warm"))
            # Without the store: a conference that was held is more likely than one that was not.
            taken = await known(houses[0].transfers.accepted(key), True)
            if not taken:  # they left the music by themselves
                houses[0].nursery.start_soon(houses[0].transfers.caller_left, sid, "failed")
        else:
            taken = outcome in {"completed", "answered"} and form.get("DialBridged", "true") != "false"
            left = "abandoned" if form.get("CallStatus", "") in stores.FINAL else NOT_TAKEN.get(outcome, "failed")
            came, by_agent = "done" if taken else left, not request.args.get("menu")
            leg = form.get("DialCallSid", "")[:64]
            houses[0].nursery.start_soon(
                functools.partial(houses[0].transfers.dialled, sid, leg, came, by_agent=by_agent)
            )
        if taken or form.get("CallStatus", "") in stores.FINAL:
            if taken:
                await houses[0].records.close_story(sid, form.get("From", ""), form.get("To", ""))
            return twiml(documents.goodbye())
        nobody = documents.voicemail("noanswer")
        if request.args.get("menu") or outcome not in NOT_TAKEN:
            return twiml(nobody)
        return await open_again(sid, Before.NOT_TAKEN, NOT_TAKEN[outcome], (Disposition.VOICEMAIL, nobody))

    async def known(question: Awaitable[T], otherwise: T) -> T:
        """The answer to a question about a transfer; `otherwise` while the store is down."""
        try:
            return await question
        except stores.StoreDown as error:
            log.error("store_failed", what="transfer", error=str(error)[:300])
            return otherwise

    @app.post("/twilio/brief")
    @signed
    async def brief() -> Response:
        return twiml(documents.brief(await summary(other_call()) or "A call for you."))

    def other_call() -> str:
        """The caller's call, of which the human's own call speaks."""
        sid = request.args.get("call", "")
        return sid if sid.isalnum() and sid.isascii() and len(sid) <= 64 else abort(400, "call is missing")

    def transfer_number(name: str = "n") -> int:
        return min(max(request.args.get(name, 0, type=int), 0), 99)

    def no_longer_waiting() -> Response:
        return twiml(documents.goodbye("The caller is no longer waiting. Goodbye."))

    @app.post("/twilio/warm/brief")
    @signed
    async def warm_brief() -> Response:
        sid, number = other_call(), transfer_number()
        if not await known(houses[0].transfers.waits(key_of(sid, number)), True):
            return no_longer_waiting()
        text = await summary(sid) or "A caller wants to speak with you."
        return twiml(documents.offer(sid, number, f"A call from the assistant. {text}"))

    @app.post("/twilio/warm/answer")
    @signed
    async def warm_answer() -> Response:
        sid = other_call()
        if (await request.form).get("Digits", "") != ACCEPT_KEY:
            return twiml(documents.goodbye("The caller goes back to the assistant. Goodbye."))
        joined = await known(houses[0].transfers.accept(key_of(sid, transfer_number())), True)
        return twiml(documents.join(sid)) if joined else no_longer_waiting()

    @app.post("/twilio/warm/gone")
    @signed
    async def warm_gone() -> Response:
        return no_longer_waiting()

    @app.post("/twilio/warm/status")
    @signed
    async def warm_status() -> Response:
        form, house = await request.form, houses[0]
        key, status = key_of(other_call(), transfer_number()), form.get("CallStatus", "")
        if status in stores.FINAL:
            # Without the store: who completed a call may have talked with the caller.
            outcome = await known(house.transfers.ended(key, status), "" if status == "completed" else "failed")
            if outcome:
                log.info("transfer_not_taken", outcome=outcome)
                house.nursery.start_soon(house.transfers.take_back, key, outcome)
        return Response("", 204)

    @app.post("/twilio/warm/back")
    @signed
    async def warm_back() -> Response:
        sid, outcome = await call_sid(), request.args.get("outcome", "")
        houses[0].nursery.start_soon(houses[0].transfers.arrived, key_of(sid, transfer_number()))
        nobody = documents.voicemail("noanswer")
        return await open_again(sid, Before.NOT_TAKEN, outcome, (Disposition.VOICEMAIL, nobody))

    @app.post("/twilio/message-status")
    @signed
    async def message_status() -> Response:
        form = await request.form
        sid, state = form.get("MessageSid", "")[:64], form.get("MessageStatus", "")[:32]
        errand = request.args.get("errand", "")[:200]
        await houses[0].errands.message_status(sid, state, form.get("ErrorCode", "")[:8], errand)
        log.info("message_status", message_sid=sid, status=state, error_code=form.get("ErrorCode", "")[:8])
        return Response("", 204)

    # ---------------------------------------------------------------- the keypad menu

    async def who() -> Caller:
        form = await request.form
        return Caller(await call_sid(), form.get("From", "")[:64], form.get("To", "")[:64])

    @app.post("/twilio/ivr/menu")
    @signed
    async def menu() -> Response:
        why = request.args.get("why", "")
        return twiml(await houses[0].keypad.menu(await who(), why if why in WHY else "", tries(), full=full()))

    @app.post("/twilio/ivr/choice")
    @signed
    async def choice() -> Response:
        digit = (await request.form).get("Digits", "")
        log.info("menu_choice", digit=digit[:1])
        caller = await who()
        if digit in LEAVES:
            houses[0].switchboard.wait_no_longer(caller.sid)
        elif since():  # any other key is no reason to lose one's turn
            houses[0].switchboard.wait(caller.sid, since())
        return twiml(await houses[0].keypad.choice(caller, digit, tries(), since(), full=full()))

    @app.post("/twilio/ivr/answer")
    @signed
    async def answer() -> Response:
        question, check = request.args.get("question", ""), request.args.get("check", "")[:DIGITS_AT_MOST]
        digits = (await request.form).get("Digits", "")[:DIGITS_AT_MOST]
        log.info("menu_answer", question=question[:64], tries=tries())
        return twiml(await houses[0].keypad.answer(await who(), question, digits, tries(), check))

    @app.post("/twilio/ivr/wait")
    @signed
    async def wait() -> Response:
        """For a line: there is one now, or the caller goes on waiting."""
        house, caller = houses[0], await who()
        house.switchboard.wait(caller.sid, since())
        if house.switchboard.no_room(caller.sid):
            if house.keypad.has_waited(since()):
                house.switchboard.wait_no_longer(caller.sid)
            return twiml(await house.keypad.still_busy(caller, since()))
        house.switchboard.expect(caller.sid)
        before = Before.CALLED_BACK if await house.records.story(caller.sid) else Before.NOTHING
        log.info("call_answered", caller=caller.number, called=caller.called, before=before.value)
        numbers = {"caller": caller.number, "called": caller.called}
        return twiml(documents.stream(tokens.make(caller.sid, before=before, **numbers)))

    def tries() -> int:
        return min(max(request.args.get("tries", 0, type=int), 0), TRIES)

    def since() -> int:
        return min(max(request.args.get("since", 0, type=int), 0), int(clock()))

    def full() -> bool:
        return "full" in request.args

    @app.post("/twilio/ivr/recorded")
    @signed
    async def recorded() -> Response:
        caller = await who()
        # Both at once: a caller whom a slow store lets wait for its answers one after the other hears nothing meanwhile.
        async with trio.open_nursery() as both:
            both.start_soon(keep_recording, "in-progress")
            if (await request.form).get("RecordingSid"):
                both.start_soon(houses[0].records.close_story, caller.sid, caller.number, caller.called)
        return twiml(documents.goodbye("Thank you. Your message has been recorded. Goodbye."))

    @app.post("/twilio/ivr/recording")
    @signed
    async def recording() -> Response:
        await keep_recording((await request.form).get("RecordingStatus", "completed"))
        return Response("", 204)

    async def keep_recording(status: str) -> None:
        form = await request.form
        if sid := form.get("RecordingSid", "")[:64]:
            seconds = form.get("RecordingDuration", 0, type=int)
            await houses[0].records.recording(sid, await call_sid(), form.get("RecordingUrl", ""), seconds, status[:32])

    @app.post("/twilio/status")
    @signed
    async def status() -> Response:
        form, sid = await request.form, await call_sid()
        state = form.get("CallStatus", "")[:32]
        numbers = form.get("From", "")[:64], form.get("To", "")[:64]
        await houses[0].records.status(sid, state, form.get("SequenceNumber", -1, type=int), *numbers)
        if state in stores.FINAL:
            houses[0].switchboard.call_over(sid)
            houses[0].nursery.start_soon(houses[0].transfers.caller_left, sid)
        return Response("", 204)

    @app.post("/twilio/stream-status")
    @signed
    async def stream_status() -> Response:
        form = await request.form
        event, error = form.get("StreamEvent", ""), form.get("StreamError", "")
        if event == "stream-error":
            metrics.trouble.labels("stream error").inc()
        log.info("stream_status", stream_sid=form.get("StreamSid", ""), event_name=event[:32], error=error[:300])
        return Response("", 204)

    # ---------------------------------------------------------------- the media stream

    gate = MediaGate(signatures, houses, metrics)
    app.media_gate = gate  # type: ignore[attr-defined] # found there by `server_guard`

    @app.websocket("/twilio/media")
    async def media() -> None:
        path = websocket.scope.get("raw_path", b"").decode("latin-1") or websocket.path
        if not gate.admits(path, websocket.headers.get("X-Twilio-Signature")):
            abort(403)
        await websocket.accept()
        # The proxy is bound to this handler's context; the call's tasks get the socket itself.
        await gate.serve(websocket._get_current_object())  # type: ignore[attr-defined] # of the proxy, not of its type

    # ---------------------------------------------------------------- operators

    @app.get("/healthz")
    async def healthz() -> Response:
        return Response("alive\n", 200 if houses else 503, content_type="text/plain")

    @app.get("/readyz")
    async def readyz() -> Response:
        ready = bool(houses) and houses[0].switchboard.takes_calls
        return Response("ready\n" if ready else "takes no calls\n", 200 if ready else 503, content_type="text/plain")

    @app.get("/metrics")
    async def show_metrics() -> Response:
        return Response(metrics.text(), 200, content_type="text/plain; version=0.0.4; charset=utf-8")

    return app
