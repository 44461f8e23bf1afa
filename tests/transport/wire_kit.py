"""What the tests of this room share: settings, a store in memory, a model that counts who asks, the server in memory.

The server in memory is hypercorn's connection class over a pair of memory streams, with the real application behind it
and trio-websocket at the other end: handshakes, pings, close codes and lost connections all happen on the virtual clock.
"""

import base64
import contextlib
import itertools
import json
import math
import socket
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing
import trio_websocket
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from prometheus_client import generate_latest
from twilio.request_validator import RequestValidator

import conf
from actors.messages import (
    AgreedSession,
    Before,
    Configure,
    ModelCommand,
    ModelEvent,
    SessionAgreed,
    SessionCreated,
)
from actors.ports import ModelGone
from conf.settings import Call, Flow, Secrets, Server, Settings, Store
from tests.kit.patience import PATIENCE
from transport import server_guard
from transport.loopback.memory_store import MemoryStore
from transport.stream_token import StreamTokens
from transport.web import create_app

PUBLIC = "https://phone.example.com"
MEDIA_PATH = "/twilio/media"
MEDIA_URL = f"wss://phone.example.com{MEDIA_PATH}"
AUTH_TOKEN = "0123456789abcdef0123456789abcdef"
ACCOUNT = "AC" + "0" * 32
FRONT_DESK = Path(__file__).parents[1] / "kit" / "flows" / "front_desk.toml"
"""A flow without states: what is tested with it is the telephone, not the dialogue."""
HYPERCORN_FILE = Path(conf.__file__).with_name("hypercorn.toml")
MEDIA_FORMAT = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
FRAME = base64.b64encode(b"\xff" * 160).decode()
_numbers = itertools.count(1)


def sid(kind: str = "CA") -> str:
    """A fresh SID."""
    return f"{kind}{next(_numbers):032x}"


def settings_for(folder: Path | None = None, *, human: str = "+15550001111", **server: Any) -> Settings:
    """Settings with secrets and a store in `folder`."""
    return Settings(
        server=Server(**{"public_url": PUBLIC, **server}),
        call=Call(human_number=human),
        flow=Flow(path=str(FRONT_DESK)),
        store=Store(url=f"sqlite:///{folder}/calls.db" if folder else "sqlite:///nowhere/at/all.db"),
        secrets=Secrets(ACCOUNT, AUTH_TOKEN, "sk-nobody-may-see-this"),
    )


def signature(url: str, form: dict[str, str] | None = None, token: str = AUTH_TOKEN) -> str:
    """Twilio's signature."""
    return RequestValidator(token).compute_signature(url, form or {})


WAYS = [pytest.param(False, id="lane"), pytest.param(True, id="hypercorn")]
"""Both ways in: through the media lane, and without it."""

# ---------------------------------------------------------------- a model


class FakeModel:
    """A model that agrees to everything, says nothing unless told to, and remembers who asked."""

    def __init__(self) -> None:
        self.made = 0
        self.contacts = 0
        self.sessions: list[FakeSession] = []

    def __call__(self, trouble: Callable[[str], None], caller_hash: str) -> "FakeModel":
        self.made += 1
        return self

    endpoints = 1

    @contextlib.asynccontextmanager
    async def connect(self, endpoint: int, name: str = "") -> AsyncIterator["FakeSession"]:
        self.contacts += 1
        session = FakeSession()
        self.sessions.append(session)
        await trio.lowlevel.checkpoint()
        yield session


class FakeSession:
    """One session of it."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[ModelEvent](math.inf)
        self._send.send_nowait(SessionCreated("sess_1"))
        self.commands: list[ModelCommand] = []
        self.payloads: list[str] = []

    def say(self, *events: ModelEvent) -> None:
        for event in events:
            self._send.send_nowait(event)

    def lose(self) -> None:
        self._send.close()

    async def receive(self) -> ModelEvent:
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            raise ModelGone("the fake model hung up") from None

    async def send(self, command: ModelCommand) -> None:
        await trio.lowlevel.checkpoint()
        self.commands.append(command)
        if isinstance(command, Configure):
            config = command.config
            self.say(SessionAgreed(AgreedSession(True, True, config.voice, config.turn_detection)))

    def append_now(self, payload: str) -> bool:
        self.payloads.append(payload)
        return True

    async def append(self, payloads: list[str], silence_ms: int) -> None:
        await trio.lowlevel.checkpoint()
        self.payloads += payloads


# ---------------------------------------------------------------- the server in memory


class _Address:
    family = socket.AF_INET

    def getsockname(self) -> tuple[str, int]:
        return ("127.0.0.1", 8000)

    def getpeername(self) -> tuple[str, int]:
        return ("127.0.0.1", 50000)


@attrs.define
class House:
    """The running server, and how to reach it."""

    app: Any
    settings: Settings
    store: Any
    model: FakeModel
    nursery: trio.Nursery
    server_class: type[TCPServer]
    through_hypercorn: bool
    config: Config = attrs.field(factory=lambda: Config.from_toml(str(HYPERCORN_FILE)))
    last_stream: Any = None
    unfinished: int = 0
    crashes: list[BaseException] = attrs.field(factory=list)

    def dial(self) -> trio.StapledStream:
        """A fresh TCP connection, as the peer sees it."""
        ours, theirs = trio.testing.memory_stream_pair()
        theirs.socket = _Address()
        app = self.app
        if self.through_hypercorn:  # without the application's own fast way in
            inner = self.app

            async def app(scope: Any, receive: Any, send: Any) -> None:
                await inner(scope, receive, send)

        server = self.server_class(ASGIWrapper(app), self.config, WorkerContext(None), {}, theirs)
        self.nursery.start_soon(self._serve, server)
        return ours

    async def _serve(self, server: TCPServer) -> None:
        self.unfinished += 1
        try:
            await server.run()
        except Exception as error:
            self.crashes.append(error)
        finally:
            self.unfinished -= 1
            await trio.aclose_forcefully(server.stream)  # as trio.serve_listeners does

    def token(self, call_sid: str, *, before: Before = Before.NOTHING, auth_token: str = AUTH_TOKEN) -> str:
        """A stream token as the voice webhook hands it out."""
        return StreamTokens(auth_token, 60).make(call_sid, before=before)

    async def http(self, request: bytes) -> bytes:
        """One raw request on its own connection, and all that comes back before the server closes or falls silent."""
        stream = self.dial()
        await stream.send_all(request)
        answer = b""
        with trio.move_on_after(3):
            while data := await stream.receive_some(65536):
                answer += data
        await trio.aclose_forcefully(stream)
        return answer

    async def upgrade(
        self, *, signed: str | None = "right", path: str = MEDIA_PATH
    ) -> trio_websocket.WebSocketConnection:
        """A WebSocket of the media path. Raises ConnectionRejected."""
        headers = []
        if signed is not None:
            headers = [("X-Twilio-Signature", signature(MEDIA_URL) if signed == "right" else signed)]
        self.last_stream = self.dial()
        with trio.fail_after(60):
            return await _client(self.last_stream, path, headers, self.nursery)

    async def call(self, call_sid: str = "", **start: Any) -> "Phone":
        """A call with its stream open and started."""
        phone = Phone(await self.upgrade(), self.last_stream, call_sid or sid(), sid("MZ"))
        await phone.connected()
        await phone.start(**{"token": self.token(phone.call_sid), **start})
        return phone


async def _client(
    stream: trio.abc.Stream, path: str, headers: list[tuple[str, str]], nursery: trio.Nursery
) -> trio_websocket.WebSocketConnection:
    raw = [(name.encode(), value.encode()) for name, value in headers]
    connection: list[trio_websocket.WebSocketConnection] = []
    rejected: list[Exception] = []

    async def keep(task_status: "trio.TaskStatus[None]") -> None:
        try:
            async with trio.open_nursery() as inside:
                connection.append(
                    await trio_websocket.wrap_client_stream(
                        inside, stream, "phone.example.com", path, extra_headers=raw, message_queue_size=100_000
                    )
                )
                task_status.started()
        except* trio_websocket.HandshakeError as group:
            if connection:
                raise
            rejected.append(group.exceptions[0])
            task_status.started()

    await nursery.start(keep)
    if rejected:
        raise rejected[0]
    return connection[0]


@attrs.define
class Phone:
    """Twilio's side of one media stream."""

    socket: trio_websocket.WebSocketConnection
    stream: trio.abc.Stream
    call_sid: str
    stream_sid: str
    sequence: int = 0
    chunks: int = 0
    heard: list[dict[str, Any]] = attrs.field(factory=list)

    async def say(self, message: object) -> None:
        with trio.fail_after(60):
            await self.socket.send_message(message if isinstance(message, str | bytes) else json.dumps(message))

    async def connected(self) -> None:
        await self.say({"event": "connected", "protocol": "Call", "version": "1.0.0"})

    async def start(self, token: str | None = None, media_format: dict[str, Any] | None = None, **fields: Any) -> None:
        start = {
            "accountSid": ACCOUNT,
            "streamSid": self.stream_sid,
            "callSid": self.call_sid,
            "tracks": ["inbound"],
            "mediaFormat": media_format or MEDIA_FORMAT,
            "customParameters": {} if token is None else {"token": token},
        }
        await self.say(self._event("start", {**start, **fields}))

    async def media(self, payload: str = FRAME) -> None:
        self.chunks += 1
        media = {"track": "inbound", "chunk": str(self.chunks), "timestamp": str(100 + self.chunks * 20)}
        await self.say(self._event("media", {**media, "payload": payload}))

    async def stop(self) -> None:
        await self.say(self._event("stop", {"accountSid": ACCOUNT, "callSid": self.call_sid}))

    async def key(self, digit: str) -> None:
        await self.say(self._event("dtmf", {"track": "inbound_track", "digit": digit}))

    async def hear(self, within: float = 5) -> dict[str, Any]:
        """The next message of the server. Raises ConnectionClosed."""
        with trio.fail_after(within):
            message = json.loads(await self.socket.get_message())
        self.heard.append(message)
        return message

    async def closing(self, within: float = 60) -> int:
        """Reads to the end: the close code."""
        try:
            while True:
                await self.hear(within)
        except trio_websocket.ConnectionClosed as closed:
            return closed.reason.code

    async def lose(self) -> None:
        """The TCP connection is gone, without a word."""
        await trio.aclose_forcefully(self.stream)

    def _event(self, event: str, body: dict[str, Any]) -> dict[str, Any]:
        self.sequence += 1
        return {"event": event, "sequenceNumber": str(self.sequence), "streamSid": self.stream_sid, event: body}


@contextlib.asynccontextmanager
async def house_in_memory(
    monkeypatch: Any,
    settings: Settings | None = None,
    *,
    through_hypercorn: bool = False,
    server_class: type[TCPServer] = server_guard.GuardedServer,
    drain_begins: Any = trio.sleep_forever,
    clock: Callable[[], float] = time.time,
) -> AsyncIterator[House]:
    """The whole server on the virtual clock."""
    store, model = MemoryStore(), FakeModel()

    @contextlib.asynccontextmanager
    async def open_store(url: str) -> AsyncIterator[MemoryStore]:
        yield store

    monkeypatch.setattr("transport.open_store.open_store", open_store)
    settings = settings or settings_for()
    app = create_app(settings, connect_model=model, drain_begins=drain_begins, clock=clock)
    async with lifespan(app), trio.open_nursery() as nursery:
        house = House(app, settings, store, model, nursery, server_class, through_hypercorn)
        yield house
        nursery.cancel_scope.cancel("the test is over")


@contextlib.asynccontextmanager
async def lifespan(app: Any) -> AsyncIterator[None]:
    """The application between startup and shutdown. (Quart's own `test_app` cannot be left by cancelling.)"""
    to_app, from_test = trio.open_memory_channel[dict[str, str]](2)
    from_app, to_test = trio.open_memory_channel[dict[str, str]](2)
    scope = {"type": "lifespan", "asgi": {"spec_version": "2.0"}, "state": {}}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(app, scope, from_test.receive, from_app.send)
        await to_app.send({"type": "lifespan.startup"})
        with trio.fail_after(PATIENCE):
            answer = await to_test.receive()
        assert answer["type"] == "lifespan.startup.complete", answer
        yield
        await to_app.send({"type": "lifespan.shutdown"})
        with trio.fail_after(PATIENCE):
            answer = await to_test.receive()
        assert answer["type"] == "lifespan.shutdown.complete", answer
        nursery.cancel_scope.cancel("the lifespan is over")


# ---------------------------------------------------------------- what tests ask


async def until(condition: Callable[[], object], within: float = 60) -> None:
    with trio.fail_after(within):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event, and time is virtual
            await trio.sleep(0.01)


async def is_alive(phone: Phone) -> None:
    """The call still goes on: a key that is pressed is heard, and audio comes out."""
    await phone.media()
    await phone.hear(10)


def refused(house: House, why: str) -> float:
    return house_metric(house, f'triode_refused_total{{why="{why}"}}')


def house_metric(house: House, name: str) -> float:
    registry = house.app.extensions["triode"].switchboard.metrics.registry
    for line in generate_latest(registry).decode().splitlines():
        if line.startswith(name + " "):
            return float(line.rsplit(" ", 1)[1])
    return 0.0
