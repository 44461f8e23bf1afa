"""The wire of a simulated call is as bad as it is told to be."""

import random

import pytest
import trio
from trio.testing import MockClock

from transport.direct_stream import DirectStream
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


async def test_a_full_wire_takes_nothing_until_it_is_read_and_says_so_as_a_socket_does(
    autojump_clock: MockClock,
) -> None:
    ours, theirs = a_wire(WireFaults(delay=0.1), random.Random(0))
    assert ours.write(bytes(WINDOW)) == WINDOW
    with pytest.raises(BlockingIOError):
        ours.write(b"more")
    with pytest.raises(BlockingIOError):
        theirs.read(10)  # it is still on its way
    await theirs.readable()
    assert 0.1 <= trio.current_time() <= 0.15
    assert theirs.read(10) == bytes(10)
    await ours.writable()
    assert ours.write(b"more") == 4
    await ours.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await ours.readable()
    with pytest.raises(BrokenPipeError):
        theirs.write(b"to nobody")


async def test_on_a_wire_a_direct_stream_keeps_what_is_not_taken_at_once_and_sends_it_in_order(
    autojump_clock: MockClock,
) -> None:
    ours, theirs = a_wire(WireFaults(pieces=True), random.Random(1))
    stream = DirectStream(ours)
    assert stream.send_now(bytes(range(200)))
    assert stream.busy
    assert not stream.send_now(b"later")
    await stream.send_all(b"later")
    came = b""
    while len(came) < 205:
        came += await theirs.receive_some()
    assert came == bytes(range(200)) + b"later"
