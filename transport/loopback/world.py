"""A world for whole calls: the real server with both loopback ends, in one process, in memory, on whatever clock there is.

On Trio's mock clock a call of minutes takes a fraction of a second. Nothing is taken out of the server but its sockets and
its database: hypercorn's connection class, the media lane, Quart's webhooks, trio-websocket to the model, all are real.
"""

import contextlib
import functools
import random
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import attrs
import httpx2
import trio
import trio.testing
import trio_websocket
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.worker_context import WorkerContext

import conf
from conf.settings import Settings
from transport import server_guard
from transport.direct_stream import DirectStream
from transport.loopback.backend import BackendFaults, LoopbackBackend
from transport.loopback.caller import Step
from transport.loopback.carrier import CarriedCall, LoopbackCarrier
from transport.loopback.human import Human
from transport.loopback.memory_store import MemoryStore
from transport.loopback.model import LoopbackModel
from transport.loopback.network import Answer, ClientSocket, StreamRefused, StreamSocket
from transport.loopback.rest import LoopbackRest, RestFaults
from transport.loopback.stream import StreamFaults
from transport.loopback.wire import WireFaults, a_wire
from transport.model_socket import MESSAGE_AT_MOST, MESSAGES, ModelSocket
from transport.web import create_app
from transport.ws_client import Client, Headers, client_on

EPOCH = 1_795_530_600.0
"""Tuesday, November 24, 2026, 14:30 UTC: half past nine in the morning in New York."""
SETTLED = 25.0
"""Seconds after which everything of a call that is over must be gone: its errands and its last callbacks have limits."""


Lay = Callable[[str], tuple[Any, Any]]
"""Lays a wire: "stream" for a media stream, "model" for a connection to the model. The end of whoever opens it, and the other."""


def _plain_wire(_: str) -> tuple[Any, Any]:
    return a_wire(WireFaults(), random.Random(0))


@attrs.define
class Worker:
    """One server process, as far as one can be had inside another."""

    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    drain: trio.Event = attrs.field(factory=trio.Event)
    drained: trio.Event = attrs.field(factory=trio.Event)
    died: trio.Event = attrs.field(factory=trio.Event)
    leave: trio.Event = attrs.field(factory=trio.Event)
    gone: trio.Event = attrs.field(factory=trio.Event)
    """Set when nothing of it is left here, which takes a moment even of one that died."""
    app: Any = None
    nursery: Any = None
    ends: list[Any] = attrs.field(factory=list)
    """Its ends of all wires."""

    async def alive(self) -> None:
        """A process that was killed does nothing more, not even tidy up."""
        if self.died.is_set():
            await trio.sleep_forever()


@attrs.define
class World:
    """Servers (the first one is asked while it lives), its models (in the order they are tried), a carrier with its REST API, and
    a backend."""

    workers: Sequence[Worker]
    store: MemoryStore
    models: Sequence[LoopbackModel]
    carrier: LoopbackCarrier
    rest: LoopbackRest
    backend: LoopbackBackend
    network: "_Network"
    killed: list[float] = attrs.field(factory=list)
    """When a server died."""
    replaced: list[tuple[float, float]] = attrs.field(factory=list)
    """When a server that was alone was told to go, and when it went."""

    @property
    def app(self) -> Any:
        """The application that is asked."""
        return self.network.worker.app

    async def call(
        self,
        *steps: Step,
        at_most: float = 600,
        faults: StreamFaults | None = None,
        caller: str = "+14155550123",
        call_sid: str = "",
    ) -> CarriedCall:
        """One call from the ring to its end, and until nothing of it is left."""
        with trio.fail_after(at_most):
            call = await self.carrier.place_call(steps, faults=faults, caller=caller, call_sid=call_sid)
        await trio.sleep(SETTLED)
        return call

    async def kill(self) -> None:
        """The server that is asked dies without a word, as by `kill -9`; the next one is asked from now on."""
        worker = self.network.worker
        self.network.next()
        self.killed.append(trio.current_time())
        worker.died.set()
        for end in list(worker.ends):
            await trio.aclose_forcefully(end)
        worker.scope.cancel("it was killed")
        await worker.gone.wait()

    def drain(self) -> None:
        """The server that is asked is told to go; the next one is asked from now on."""
        worker = self.network.worker
        self.network.next()
        worker.drain.set()

    async def replace(self) -> None:
        """The server that is asked is told to go, and is asked until it has drained: there is no other one before."""
        worker, told = self.network.worker, trio.current_time()
        worker.drain.set()
        await worker.drained.wait()
        self.replaced.append((told, trio.current_time()))
        self.network.next()


@contextlib.asynccontextmanager
async def a_world(
    settings: Settings,
    *models: LoopbackModel,
    humans: Mapping[str, Human] | None = None,
    rest_faults: RestFaults | None = None,
    backend_faults: BackendFaults | None = None,
    seed: int = 0,
    listener: Callable[[str, str, dict[str, Any]], None] | None = None,
    store: MemoryStore | None = None,
    workers: int = 1,
    lay: Lay = _plain_wire,
) -> AsyncIterator[World]:
    """The world as long as the block lasts. It begins at `EPOCH`, and its wall clock goes with Trio's."""
    began = trio.current_time()

    def now() -> float:
        return EPOCH + trio.current_time() - began

    secrets = settings.secrets
    kept = store if store is not None else MemoryStore()
    kept.wall_clock = now
    for model in models:
        model.wall_clock = now
    network = _Network([Worker() for _ in range(workers)], lay)
    carrier = LoopbackCarrier(
        network,
        public_url=settings.server.public_url,
        account_sid=secrets.account_sid,
        auth_token=secrets.auth_token,
        seed=seed,
        humans=humans,
        wall_clock=now,
    )
    rest = LoopbackRest(carrier, faults=rest_faults)
    backend = LoopbackBackend(secrets.crm_secret, faults=backend_faults, now=now)

    async def serve(worker: Worker, task_status: "trio.TaskStatus[None]") -> None:
        """One process, from its start to its end, whichever it finds."""

        @contextlib.asynccontextmanager
        async def open_store(url: str) -> AsyncIterator[Any]:
            yield _Mortal(kept, worker)

        try:
            with worker.scope:
                async with trio.open_nursery() as worker.nursery:
                    worker.app = create_app(
                        settings,
                        connect_model=_models_in_memory(settings, models, nursery, worker, lay, now),
                        listener=listener,
                        drain_begins=worker.drain.wait,
                        drained=lambda _: worker.drained.set(),
                        outside=_Outside(settings, worker, rest.transport(), backend.transport()),
                        open_store=open_store,
                        clock=now,
                    )
                    async with _lifespan(worker.app):
                        task_status.started()
                        await worker.leave.wait()
                    worker.nursery.cancel_scope.cancel("the process ends")
        except* Exception:
            if not worker.died.is_set():  # what a process says that is no more is no matter
                raise
        finally:
            worker.gone.set()

    async with trio.open_nursery() as nursery:
        for worker in network.workers:
            await nursery.start(serve, worker)
        nursery.start_soon(carrier.run)
        yield World(network.workers, kept, models, carrier, rest, backend, network)
        for worker in network.workers:
            worker.leave.set()
            await worker.gone.wait()
        nursery.cancel_scope.cancel("the world ends")


# ---------------------------------------------------------------- what the server reaches


@attrs.frozen
class _Mortal:
    """The store, as a process sees it that may die: what it asks after that never comes back, and is not done."""

    store: MemoryStore
    worker: Worker

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.store, name)

        @functools.wraps(method)
        async def ask(*args: Any, **kwargs: Any) -> Any:
            await self.worker.alive()
            return await method(*args, **kwargs)

        return ask


@attrs.frozen
class _Outside(httpx2.AsyncBaseTransport):
    """The outside as the server's HTTP clients see it: Twilio's API, and the backend."""

    settings: Settings
    worker: Worker
    rest: httpx2.AsyncBaseTransport
    backend: httpx2.AsyncBaseTransport

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        await self.worker.alive()
        to_backend = self.settings.crm.url and str(request.url).startswith(self.settings.crm.url)
        return await (self.backend if to_backend else self.rest).handle_async_request(request)


def _models_in_memory(
    settings: Settings,
    models: Sequence[LoopbackModel],
    nursery: trio.Nursery,
    worker: Worker,
    lay: Lay,
    now: Callable[[], float],
) -> Any:
    @contextlib.asynccontextmanager
    async def dial(url: str, headers: Headers) -> AsyncIterator[Client]:
        parts = urlsplit(url)
        ours, theirs = lay("model")
        worker.ends.append(ours)
        nursery.start_soon(models[int(parts.hostname or "0")].handle_stream, theirs)
        try:
            async with client_on(
                DirectStream(ours), parts, headers, queue=MESSAGES, message_at_most=MESSAGE_AT_MOST
            ) as client:
                yield client
        finally:
            worker.ends.remove(ours)

    def connect(trouble: Callable[[str], None], caller_hash: str) -> ModelSocket:
        urls = tuple(f"wss://{number}/v1/realtime" for number in range(len(models)))
        key = settings.secrets.openai_api_key
        return ModelSocket(urls, key, settings.model.name, trouble, caller_hash, dial, now)

    return connect


# ---------------------------------------------------------------- how the server is reached


class _Address:
    family = socket.AF_INET

    def getsockname(self) -> tuple[str, int]:
        return ("127.0.0.1", 8000)

    def getpeername(self) -> tuple[str, int]:
        return ("127.0.0.1", 50000)


_CONFIG = Config.from_toml(Path(conf.__file__).with_name("hypercorn.toml"))


class _Network:
    """The carrier's way to the servers in memory, past a balancer that asks one that lives."""

    def __init__(self, workers: list[Worker], lay: Lay) -> None:
        self.workers = workers
        self._lay = lay
        self._asked = 0

    @property
    def worker(self) -> Worker:
        """The server that is asked."""
        return self.workers[self._asked]

    def next(self) -> None:
        """From now on the next one is asked."""
        self._asked += 1

    async def post(self, url: str, form: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        """See `Network`. A server that dies over its answer has given none, and the balancer asks the next one."""
        parts = urlsplit(url)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        sent = {**headers, "Host": parts.netloc, "Content-Type": "application/x-www-form-urlencoded"}
        while True:
            worker = self.worker
            answers: list[Answer] = []
            async with trio.open_nursery() as either:

                async def die(worker: Worker = worker, scope: trio.CancelScope = either.cancel_scope) -> None:
                    await worker.died.wait()
                    scope.cancel("the server is gone")

                either.start_soon(die)
                answer = await worker.app.test_client().post(path, data=urlencode(form), headers=sent)
                body = (await answer.get_data()).decode()
                answers.append(Answer(answer.status_code, answer.headers.get("content-type", ""), body))
                either.cancel_scope.cancel("there is an answer")
            if answers:
                return answers[0]

    def _dial(self) -> Any:
        """A fresh connection to the server that is asked, as the peer sees it."""
        worker = self.worker
        ours, theirs = self._lay("stream")
        worker.ends.append(theirs)
        theirs.socket = _Address()  # hypercorn asks a connection for its addresses
        guarded = server_guard.GuardedServer(ASGIWrapper(worker.app), _CONFIG, WorkerContext(None), {}, theirs)

        async def serve() -> None:
            try:
                await guarded.run()
            finally:
                await trio.aclose_forcefully(theirs)  # as trio.serve_listeners does
                worker.ends.remove(theirs)

        worker.nursery.start_soon(serve)
        return ours

    @contextlib.asynccontextmanager
    async def open_stream(self, url: str, headers: Mapping[str, str]) -> AsyncIterator[StreamSocket]:
        stream = DirectStream(self._dial())
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        try:
            async with client_on(stream, urlsplit(url), raw, queue=10_000, message_at_most=1024 * 1024) as client:
                yield ClientSocket(client)
        except trio_websocket.ConnectionRejected as rejected:
            raise StreamRefused(rejected.status_code) from None
        except trio_websocket.HandshakeError:
            raise StreamRefused(0) from None


@contextlib.asynccontextmanager
async def _lifespan(app: Any) -> AsyncIterator[None]:
    """The application between startup and shutdown. (Quart's own `test_app` cannot be left by cancelling.)"""
    to_app, from_us = trio.open_memory_channel[dict[str, str]](2)
    from_app, to_us = trio.open_memory_channel[dict[str, str]](2)
    scope = {"type": "lifespan", "asgi": {"spec_version": "2.0"}, "state": {}}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(app, scope, from_us.receive, from_app.send)
        for step in ("startup", "shutdown"):
            await to_app.send({"type": f"lifespan.{step}"})
            with trio.fail_after(30):
                answer = await to_us.receive()
            if answer["type"] != f"lifespan.{step}.complete":
                raise RuntimeError(f"the application did not come through its {step}: {answer}")
            if step == "startup":
                yield
        nursery.cancel_scope.cancel("the lifespan is over")
