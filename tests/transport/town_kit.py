"""Everything around a server process, on real sockets: the carrier with its REST API, the model, the backend."""

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import attrs
import trio

from tests.transport.server_kit import ACCOUNT, AUTH_TOKEN, PUBLIC_URL, Server, a_server
from transport.loopback.backend import LoopbackBackend
from transport.loopback.carrier import LoopbackCarrier
from transport.loopback.model import LoopbackModel
from transport.loopback.network import RealNetwork
from transport.loopback.rest import LoopbackRest
from transport.open_store import open_store

SECRET = "crm-secret"
CALLED = "+14155550100"


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
        async with a_server(self.folder, port=port or self.port, **self.settings) as server:
            yield server

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
