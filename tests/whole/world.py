"""The world of whole calls (`transport.loopback.world`) as the older tests of this folder speak to it: with the plain flow of
`tests/kit/flows`, and one record a call."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from types import SimpleNamespace
from typing import Any

import attrs
import trio

from actors.messages import BYTES_PER_MS
from actors.notebook import CallRecord
from conf.settings import Settings
from tests.transport import wire_kit
from transport.loopback import world as worlds
from transport.loopback.caller import Step
from transport.loopback.carrier import CarriedCall
from transport.loopback.human import Human
from transport.loopback.model import LoopbackModel
from transport.loopback.session_log import SessionLog
from transport.loopback.stream import StreamFaults


@attrs.define
class World:
    """One server, its models (in the order they are tried), and a carrier to place calls with."""

    inner: worlds.World

    @property
    def house(self) -> SimpleNamespace:
        """The application and its store."""
        return SimpleNamespace(app=self.inner.app, store=self.inner.store)

    @property
    def models(self) -> tuple[LoopbackModel, ...]:
        """Its models."""
        return tuple(self.inner.models)

    @property
    def carrier(self) -> Any:
        """Its carrier."""
        return self.inner.carrier

    async def call(self, *steps: Step, at_most: float = 300, faults: StreamFaults | None = None) -> CarriedCall:
        """One call, and the check that nothing of it is left."""
        with trio.fail_after(at_most):
            call = await self.inner.carrier.place_call(steps, faults=faults)
        await trio.sleep(12)  # the record is kept; what must end has its limits
        assert self.inner.app.extensions["triode"].switchboard.active == 0
        return call

    def record(self, call: CarriedCall) -> CallRecord:
        """The call's record; there must be one for its stream."""
        (record,) = self.inner.store.of(call.call_sid)
        return record

    @property
    def session(self) -> SessionLog:
        """The only session of the first model."""
        (session,) = self.inner.models[0].sessions
        return session


@contextlib.asynccontextmanager
async def a_world(
    _: Any,
    *models: LoopbackModel,
    settings: Settings | None = None,
    dial: Mapping[str, str] | None = None,
    seed: int = 0,
) -> AsyncIterator[World]:
    """The world as long as the block lasts. `dial`: what becomes of a number that is dialled."""
    settings = settings or wire_kit.settings_for()
    keyed = attrs.evolve(settings, secrets=attrs.evolve(settings.secrets, openai_api_key="sk-loopback"))
    humans = {number: Human(outcome, rings=1.0) for number, outcome in (dial or {}).items()}
    async with worlds.a_world(keyed, *models, humans=humans, seed=seed) as world:
        yield World(world)


def heard_ms(call: CarriedCall) -> int:
    """Milliseconds of the agent's speech that the carrier played, all streams together."""
    return sum(stream.playback.played for stream in call.streams) // BYTES_PER_MS


def heard_audio(call: CarriedCall) -> bytes:
    """What the carrier played, all streams together."""
    return b"".join(piece.audio for piece in call.heard())
