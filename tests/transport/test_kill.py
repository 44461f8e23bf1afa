"""A server that is killed in the middle of a call: the call reaches the backend all the same, once, when a server runs again.

Real processes, real sockets and a real database: nothing here asserts how long something took.
"""

import contextlib
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import attrs
import pytest
import trio

from tests.transport.store_kit import free_port
from tests.transport.test_server_guard import ACCOUNT, AUTH_TOKEN, PUBLIC_URL, ROOT, environment
from transport.loopback.backend import LoopbackBackend
from transport.loopback.caller import AwaitAgent, HangUp, Wait
from transport.loopback.carrier import CarriedCall, LoopbackCarrier
from transport.loopback.model import LoopbackModel
from transport.loopback.network import RealNetwork
from transport.loopback.rest import LoopbackRest
from transport.open_store import open_store

SECRET = "crm-secret"
CALLER, CALLED = "+14155550123", "+14155550100"


@attrs.define
class Server:
    """A server process."""

    process: trio.Process
    lines: list[str] = attrs.field(factory=list)
    heard: trio.Event = attrs.field(factory=trio.Event)
    """Set, and replaced, with every piece of the log."""

    async def says(self, *words: str) -> None:
        """Returns when a line of its log holds all of `words`."""
        while not self.wrote(*words):
            await self.heard.wait()

    def wrote(self, *words: str) -> int:
        """How many lines of its log hold all of `words`."""
        return sum(all(word in line for word in words) for line in self.lines)

    async def killed(self) -> None:
        """As when the power fails."""
        self.process.send_signal(signal.SIGKILL)
        assert await self.process.wait() == -signal.SIGKILL

    async def ended(self) -> None:
        """As an operator ends it."""
        self.process.send_signal(signal.SIGTERM)
        assert await self.process.wait() == 0

    async def read_log(self) -> None:
        assert self.process.stderr is not None
        rest = b""
        async for data in self.process.stderr:
            *whole, rest = (rest + data).split(b"\n")
            self.lines.extend(line.decode() for line in whole)
            self.heard.set()
            self.heard = trio.Event()


@attrs.define
class Town:
    """Everything around the server: all of it in this process, on real sockets."""

    folder: Path
    port: int
    settings: dict[str, str]
    carrier: LoopbackCarrier
    rest: LoopbackRest
    backend: LoopbackBackend
    nursery: trio.Nursery

    @contextlib.asynccontextmanager
    async def server(self, port: int = 0) -> AsyncIterator[Server]:
        """A server that listens, with the same database as any other; on the town's own port unless told otherwise."""
        bind = ["-b", f"127.0.0.1:{port or self.port}"]
        command = [sys.executable, "-m", "hypercorn", "-c", "conf/hypercorn.toml", *bind, "transport.app:app"]
        process = await trio.lowlevel.open_process(
            command, cwd=ROOT, env=environment(self.folder, **self.settings), stderr=subprocess.PIPE
        )
        server = Server(process)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.read_log)
            try:
                await server.says("Running on")
                yield server
            finally:
                if process.returncode is None:
                    process.kill()
                with trio.move_on_after(10, shield=True):
                    await process.wait()
            nursery.cancel_scope.cancel("the server is gone")

    async def until(self, holds: Callable[[], object]) -> None:
        """What the ends in this process have noted has no event."""
        while not holds():  # noqa: ASYNC110 - see above
            await trio.sleep(0.02)

    @property
    def ids(self) -> list[str]:
        return [delivery.id for delivery in self.backend.deliveries]

    async def deliveries(self) -> dict[str, str]:
        """What the database holds of them."""
        async with open_store(self.settings["TRIODE_STORE_URL"]) as store:
            return {each.call_sid: each.state for each in await store.deliveries()}


@contextlib.asynccontextmanager
async def a_town(folder: Path, model: LoopbackModel, port: int) -> AsyncIterator[Town]:
    """A town whose carrier finds the server at `port`."""
    async with trio.open_nursery() as nursery:
        carrier = LoopbackCarrier(
            RealNetwork(f"http://127.0.0.1:{port}"),
            public_url=PUBLIC_URL,
            account_sid=ACCOUNT,
            auth_token=AUTH_TOKEN,
            say_speed=100,
            fallback_path="/twilio/fallback",
        )
        await nursery.start(carrier.run)
        rest, backend = LoopbackRest(carrier), LoopbackBackend(SECRET, tolerance=60)
        settings = {
            "TRIODE_MODEL_URL": f"ws://127.0.0.1:{await nursery.start(model.serve)}/v1/realtime",
            "TRIODE_TWILIO_API_URL": f"http://127.0.0.1:{await nursery.start(rest.serve)}",
            "TRIODE_CRM_URL": f"http://127.0.0.1:{await nursery.start(backend.serve)}/crm",
            "TRIODE_STORE_URL": f"sqlite:///{folder / 'calls.db'}",
            "TRIODE_SERVER_DRAIN_SECONDS": "0",
            "CRM_SECRET": SECRET,
            "NO_PROXY": "127.0.0.1",
        }
        yield Town(folder, port, settings, carrier, rest, backend, nursery)
        nursery.cancel_scope.cancel("the test is over")


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    with trio.fail_after(25):
        async with a_town(tmp_path, LoopbackModel(), free_port()) as town:
            yield town


async def a_call(town: Town, server: Server, calls: list[CarriedCall]) -> str:
    """A call that is up and in which the agent speaks; it goes into `calls` when it is over."""
    sid = town.carrier.new_sid("CA")

    async def call() -> None:
        steps = (AwaitAgent(0.2), Wait(60), HangUp())
        calls.append(await town.carrier.place_call(steps, call_sid=sid, caller=CALLER, called=CALLED))

    town.nursery.start_soon(call)
    await server.says('"call_began"', sid)
    leg = town.carrier.calls[sid]
    await town.until(lambda: leg.log.streams and leg.log.streams[0].playback.played)
    return sid


async def test_a_call_whose_server_is_killed_is_delivered_once_when_one_runs_again(town: Town):
    calls: list[CarriedCall] = []
    async with town.server() as server:
        sid = await a_call(town, server, calls)
        assert await town.deliveries() == {sid: "open"}
        await server.killed()
        await town.until(lambda: calls)  # nobody answers the carrier any more: the call is over, and nobody hears of it
        assert town.ids == []
    async with town.server() as server:
        await server.says('"delivery"', sid, "delivered")
        await server.ended()
    assert town.ids == [sid]
    (delivery,) = town.backend.deliveries  # and the backend found it signed well
    assert (delivery.path, delivery.body["id"]) == ("/crm", sid)
    assert (delivery.body["call"]["caller"], delivery.body["call"]["called"]) == (CALLER, CALLED)
    assert town.backend.refused == []
    assert await town.deliveries() == {sid: "delivered"}
    async with town.server() as server:  # a third time there is nothing left to do
        await server.says("Running on")
        await server.ended()
    assert town.ids == [sid]


async def test_a_call_that_the_carrier_still_has_is_not_delivered_as_if_it_were_over(town: Town):
    calls: list[CarriedCall] = []
    async with town.server() as server:
        ended = await a_call(town, server, calls)
        running = await a_call(town, server, calls)
        await server.killed()
        await town.until(lambda: len(calls) == 2)
    town.carrier.calls[running].state = "in-progress"  # as a caller in a conference would be
    async with town.server() as server:
        await server.says('"delivery"', ended, "delivered")
        await town.until(lambda: ("GET", f"/Calls/{running}.json", 200) in town.rest.requests)
        await server.ended()
    assert town.ids == [ended]
    assert await town.deliveries() == {ended: "delivered", running: "open"}
