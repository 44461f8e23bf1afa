"""A world for whole calls: the real server with both loopback ends, in one process, in memory, on the mock clock."""

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode, urlsplit

import attrs
import trio
import trio.testing
import trio_websocket

from actors.messages import BYTES_PER_MS
from actors.notebook import CallRecord
from conf.settings import Settings
from tests.transport import wire_kit
from transport.loopback.caller import Step
from transport.loopback.carrier import CarriedCall, LoopbackCarrier
from transport.loopback.model import LoopbackModel, SessionLog
from transport.loopback.network import Answer, ClientSocket, StreamRefused, StreamSocket
from transport.loopback.stream import StreamFaults
from transport.model_socket import Headers, ModelSocket


@attrs.define
class World:
    """One server, its models (in the order they are tried), and a carrier to place calls with."""

    house: wire_kit.House
    models: Sequence[LoopbackModel]
    carrier: LoopbackCarrier

    async def call(self, *steps: Step, at_most: float = 300, faults: StreamFaults | None = None) -> CarriedCall:
        """One call, and the check that nothing of it is left."""
        with trio.fail_after(at_most):
            call = await self.carrier.place_call(steps, faults=faults)
        await trio.sleep(12)  # the record is kept; what must end has its limits
        assert self.house.app.extensions["triode"].switchboard.active == 0
        return call

    def record(self, call: CarriedCall) -> CallRecord:
        """The call's record; there must be one for its stream."""
        (record,) = self.house.store.of(call.call_sid)
        return record

    @property
    def session(self) -> SessionLog:
        """The only session of the first model."""
        (session,) = self.models[0].sessions
        return session


@contextlib.asynccontextmanager
async def a_world(
    monkeypatch: Any,
    *models: LoopbackModel,
    settings: Settings | None = None,
    dial: Mapping[str, str] | None = None,
    seed: int = 0,
    through_hypercorn: bool = False,
) -> AsyncIterator[World]:
    """The world as long as the block lasts."""
    settings = settings or wire_kit.settings_for()
    async with trio.open_nursery() as nursery:
        monkeypatch.setattr(
            "transport.web.connect_openai", lambda settings: _model_in_memory(settings, models, nursery)
        )
        async with _house(monkeypatch, settings, through_hypercorn) as house:
            carrier = LoopbackCarrier(
                _Network(house),
                public_url=wire_kit.PUBLIC,
                account_sid=wire_kit.ACCOUNT,
                auth_token=wire_kit.AUTH_TOKEN,
                seed=seed,
                dial=dial,
            )
            yield World(house, models, carrier)
        nursery.cancel_scope.cancel("the world ends")


@contextlib.asynccontextmanager
async def _house(monkeypatch: Any, settings: Settings, through_hypercorn: bool) -> AsyncIterator[wire_kit.House]:
    """`house_in_memory`, but with the model that the settings ask for."""
    made = wire_kit.create_app
    monkeypatch.setattr(
        wire_kit, "create_app", lambda settings, connect_model, drain_begins: made(settings, drain_begins=drain_begins)
    )
    async with wire_kit.house_in_memory(monkeypatch, settings, through_hypercorn=through_hypercorn) as house:
        yield house


def _model_in_memory(settings: Settings, models: Sequence[LoopbackModel], nursery: trio.Nursery) -> Any:
    @contextlib.asynccontextmanager
    async def dial(url: str, headers: Headers) -> AsyncIterator[trio_websocket.WebSocketConnection]:
        parts = urlsplit(url)
        ours, theirs = trio.testing.memory_stream_pair()
        nursery.start_soon(models[int(parts.hostname or "0")].handle_stream, theirs)
        try:
            async with trio.open_nursery() as inside:
                connection = await trio_websocket.wrap_client_stream(
                    inside,
                    ours,
                    "model.example.com",
                    f"{parts.path}?{parts.query}",
                    extra_headers=headers,
                    message_queue_size=64,
                    max_message_size=16 * 1024 * 1024,
                )
                yield connection
                inside.cancel_scope.cancel("the session is over")
        finally:
            await trio.aclose_forcefully(ours)

    @contextlib.asynccontextmanager
    async def unwrapped(url: str, headers: Headers) -> AsyncIterator[trio_websocket.WebSocketConnection]:
        # `open_websocket_url` raises its errors plain; a nursery of ours would wrap them.
        try:
            async with dial(url, headers) as connection:
                yield connection
        except* trio_websocket.HandshakeError as errors:
            raise errors.exceptions[0] from None

    def connect(trouble: Callable[[str], None], caller_hash: str) -> ModelSocket:
        urls = tuple(f"wss://{number}/v1/realtime" for number in range(len(models)))
        return ModelSocket(urls, "sk-loopback", settings.model.name, trouble, caller_hash, unwrapped)

    return connect


@attrs.frozen
class _Network:
    """The loopback carrier's network: the server in memory."""

    house: wire_kit.House

    async def post(self, url: str, form: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        parts = urlsplit(url)
        client = self.house.app.test_client()
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        sent = {**headers, "Host": parts.netloc, "Content-Type": "application/x-www-form-urlencoded"}
        answer = await client.post(path, data=urlencode(form), headers=sent)
        return Answer(answer.status_code, answer.headers.get("content-type", ""), (await answer.get_data()).decode())

    @contextlib.asynccontextmanager
    async def open_stream(self, url: str, headers: Mapping[str, str]) -> AsyncIterator[StreamSocket]:
        stream = self.house.dial()
        try:
            connection = await wire_kit._client(stream, urlsplit(url).path, list(headers.items()), self.house.nursery)
        except trio_websocket.ConnectionRejected as rejected:
            raise StreamRefused(rejected.status_code) from None
        try:
            yield ClientSocket(connection, stream)
        finally:
            await trio.aclose_forcefully(stream)


def heard_ms(call: CarriedCall) -> int:
    """Milliseconds of the agent's speech that the carrier played, all streams together."""
    return sum(stream.playback.played for stream in call.streams) // BYTES_PER_MS


def heard_audio(call: CarriedCall) -> bytes:
    """What the carrier played, all streams together."""
    return b"".join(piece.audio for piece in call.heard())
