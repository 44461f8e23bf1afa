"""The web application: Twilio's webhooks, the media stream, and what operators ask. It decides nothing about a call."""

import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import attrs
import httpx2
import structlog
import trio
from quart import Response, abort, websocket
from quart_trio import QuartTrio

from conf.flow_file import load_flow
from conf.prompts import load_prompts
from conf.settings import Settings
from transport import open_store as opening
from transport.garbage import Garbage
from transport.house import House, HousePlan, Listener
from transport.loop_watch import LoopWatch
from transport.media_socket import Socket
from transport.metrics import Metrics
from transport.reception import Reception
from transport.records import KEEP_WITHIN, LAST_TRIES
from transport.routes_calls import add_call_routes
from transport.routes_humans import add_human_routes
from transport.routes_menu import add_menu_routes
from transport.signature import SignatureCheck
from transport.store import Store
from transport.stream_token import StreamTokens
from transport.switchboard import ConnectModel, connect_openai, plan
from transport.twiml import Documents

FORM_AT_MOST = 64 * 1024
"""Bytes of a webhook's body: Twilio's are about one thousand."""

log = structlog.get_logger("triode.web")


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
    open_store: Callable[[str], AbstractAsyncContextManager[Store]] | None = None,
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
    app.config["BACKGROUND_TASK_SHUTDOWN_TIMEOUT"] = LAST_TRIES + KEEP_WITHIN  # then the house is closed, if not before
    prompts = load_prompts(settings.audio.prompts)
    flow = load_flow(settings.flow.path, prompts)
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
    house_plan = HousePlan(
        settings=settings,
        flow=flow,
        calls=plan(settings, flow, prompts),
        documents=documents,
        tokens=tokens,
        metrics=metrics,
        connect_model=connect_model or connect_openai(settings, clock),
        open_store=open_store or opening.open_store,
        outside=outside,
        listener=listener,
        clock=clock,
        lag=watch.lag,
        loop_watch=loop_watch,
        garbage=garbage,
        unwritten=unwritten,
    )

    @app.before_serving
    async def open_house() -> None:
        await app.nursery.start(keep_house)

    async def keep_house(task_status: "trio.TaskStatus[None]") -> None:
        async with house_plan.opened() as house:
            houses.append(house)
            app.extensions["triode"] = house
            task_status.started()
            try:
                await drain_begins()
                drained(await house.switchboard.drain())
                await trio.sleep_forever()
            finally:
                houses.clear()

    @app.after_serving
    async def last_writes() -> None:
        if houses:
            left(await houses[0].records.finish(unwritten))

    # ---------------------------------------------------------------- Twilio

    reception = Reception(settings, flow, documents, tokens, signatures, metrics, clock, houses)
    add_call_routes(app, reception)
    add_human_routes(app, reception)
    add_menu_routes(app, reception)
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
