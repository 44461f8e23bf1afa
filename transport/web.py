"""The web application: Twilio's webhooks, the media stream, and what operators ask. It decides nothing about a call."""

import functools
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import structlog
import trio
from quart import Response, abort, request, websocket
from quart_trio import QuartTrio

from actors.messages import Disposition
from conf.flow import load_flow
from conf.settings import Settings
from transport import store as stores
from transport.media_socket import Socket
from transport.metrics import Metrics
from transport.records import Records
from transport.signature import SignatureCheck
from transport.stream_token import StreamTokens
from transport.switchboard import ConnectModel, Switchboard, connect_openai, plan
from transport.twiml import REOPEN_AT_MOST, TRIES, WHY, Documents

FORM_AT_MOST = 64 * 1024
"""Bytes of a webhook's body: Twilio's are about one thousand."""
STORE_PATIENCE = 1.0
"""Seconds that a ringing caller waits for the store."""

log = structlog.get_logger("triode.web")
View = Callable[[], Awaitable[Response]]
Listener = Callable[[str, str, dict[str, Any]], None]


@attrs.frozen
class House:
    """What the routes need, alive as long as the server."""

    switchboard: Switchboard
    records: Records
    store: stores.Store


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
    drained: Callable[[], None] = lambda: None,
) -> QuartTrio:
    """The application for `settings`. Raises SettingsError for a bad flow. `drain_begins` returns when a shutdown begins;
    `drained` is told when no call is left."""
    app = QuartTrio("triode")
    app.config["MAX_CONTENT_LENGTH"] = FORM_AT_MOST
    call_plan = plan(settings, load_flow(settings.flow.path))
    documents = Documents(settings.server.public_url, settings.call.human_number)
    signatures = SignatureCheck(settings.server.public_url, settings.secrets.auth_token)
    tokens = StreamTokens(settings.secrets.auth_token, settings.twilio.token_seconds)
    houses: list[House] = []
    metrics = Metrics(lambda: houses[0].switchboard.active if houses else 0)
    connect = connect_model or connect_openai(settings)

    # ---------------------------------------------------------------- the house

    @app.before_serving
    async def open_house() -> None:
        await app.nursery.start(keep_house)

    async def keep_house(task_status: "trio.TaskStatus[None]") -> None:
        async with stores.open_store(settings.store.url) as store:
            records = Records(store, metrics)
            switchboard = Switchboard(settings, call_plan, connect, records, tokens, metrics, listener)
            houses.append(House(switchboard, records, store))
            app.extensions["triode"] = houses[0]
            task_status.started()
            try:
                await drain_begins()
                await switchboard.drain()
                drained()
                await trio.sleep_forever()
            finally:
                houses.clear()

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
                log.warning("unsigned_request", path=path)
                return Response("The request is not signed by Twilio.", 403, content_type="text/plain")
            with structlog.contextvars.bound_contextvars(call_sid=form.get("CallSid", "")):
                return await view()

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
        if not house.switchboard.admit(sid):
            metrics.refused.labels("full").inc()
            log.warning("no_room", calls=house.switchboard.active, draining=house.switchboard.draining)
            return twiml(documents.menu("busy"))
        with trio.move_on_after(STORE_PATIENCE):
            await house.records.answered(sid, form.get("From", ""), form.get("To", ""))
        log.info("call_answered", caller=form.get("From", ""), called=form.get("To", ""))
        return twiml(documents.stream(tokens.make(sid)))

    @app.post("/twilio/after")
    @signed
    async def after() -> Response:
        sid, records = await call_sid(), houses[0].records
        if (await request.form).get("CallStatus", "") in stores.FINAL:
            return twiml(documents.goodbye())
        decided = await records.disposition(sid)
        log.info("stream_left", disposition=decided.value if decided else None)
        if decided is Disposition.HANG_UP:
            return twiml(documents.goodbye())
        if decided is Disposition.DIAL:
            return twiml(documents.human())
        if decided is Disposition.VOICEMAIL:
            return twiml(documents.voicemail())
        if decided is Disposition.IVR:
            return twiml(documents.menu("trouble"))
        # Nobody decided: the stream was cut, or moved on purpose. It is opened again, but not for ever.
        times = await records.reopened(sid, request.headers.get("I-Twilio-Idempotency-Token", "")[:64])
        if times is None or times > REOPEN_AT_MOST or not houses[0].switchboard.admit(sid):
            return twiml(documents.menu("trouble"))
        return twiml(documents.stream(tokens.make(sid, resumed=True)))

    @app.post("/twilio/dialed")
    @signed
    async def dialed() -> Response:
        outcome = (await request.form).get("DialCallStatus", "")
        log.info("human_dialed", outcome=outcome)
        return twiml(documents.goodbye() if outcome in {"completed", "answered"} else documents.voicemail("noanswer"))

    @app.post("/twilio/ivr/menu")
    @signed
    async def menu() -> Response:
        why = request.args.get("why", "")
        return twiml(documents.again(why if why in WHY else "", tries()))

    @app.post("/twilio/ivr/choice")
    @signed
    async def choice() -> Response:
        digit = (await request.form).get("Digits", "")
        log.info("menu_choice", digit=digit[:1])
        return twiml(documents.choice(digit, tries()))

    def tries() -> int:
        return min(max(request.args.get("tries", 0, type=int), 0), TRIES)

    @app.post("/twilio/ivr/recorded")
    @signed
    async def recorded() -> Response:
        await keep_recording("in-progress")
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
        await houses[0].records.status(sid, state, form.get("SequenceNumber", -1, type=int))
        if state in stores.FINAL:
            houses[0].switchboard.call_over(sid)
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
