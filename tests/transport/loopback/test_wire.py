"""The wire of a simulated call is as bad as it is told to be."""

import random

import trio
from trio.testing import MockClock

from transport.loopback.wire import WINDOW, WireFaults, a_wire


async def test_who_does_not_read_for_a_while_holds_up_who_sends_and_nothing_is_lost(autojump_clock: MockClock) -> None:
    ours, theirs = a_wire(WireFaults(stuck_at=1.0, stuck_for=5.0), random.Random(0))
    await ours.send_all(b"before")
    assert await theirs.receive_some() == b"before"
    await trio.sleep(1)
    await theirs.send_all(b"the other way")
    assert await ours.receive_some() == b"the other way"
    await ours.send_all(bytes(WINDOW))
    assert trio.current_time() == 1.0
    came: list[float] = []

    async def read() -> None:
        left = WINDOW + 5
        while left:
            left -= len(await theirs.receive_some())
            came.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await ours.send_all(b"after")
        assert trio.current_time() == 6.0
    assert set(came) == {6.0}
