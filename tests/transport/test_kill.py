"""A server that is killed in the middle of a call: the call reaches the backend all the same, once, when a server runs again.

Real processes, real sockets and a real database: nothing here asserts how long something took.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from tests.kit.patience import PATIENCE
from tests.transport.server_kit import Server
from tests.transport.store_kit import free_port
from tests.transport.town_kit import CALLED, Town, a_town
from transport.loopback.caller import AwaitAgent, HangUp, Wait
from transport.loopback.carrier import CarriedCall
from transport.loopback.model import LoopbackModel

CALLER = "+14155550123"


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    with trio.fail_after(PATIENCE):
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
        await server.stopped()
    assert town.ids == [sid]
    (delivery,) = town.backend.deliveries  # and the backend found it signed well
    assert (delivery.path, delivery.body["id"]) == ("/crm", sid)
    assert (delivery.body["call"]["caller"], delivery.body["call"]["called"]) == (CALLER, CALLED)
    assert town.backend.refused == []
    assert await town.deliveries() == {sid: "delivered"}
    async with town.server() as server:  # a third time there is nothing left to do
        await server.says("Running on")
        await server.stopped()
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
        await server.stopped()
    assert town.ids == [ended]
    assert await town.deliveries() == {ended: "delivered", running: "open"}
