"""The front: who is connected with whom, and what ends with what."""

import contextlib
from collections.abc import AsyncIterator

import trio

from tests.kit.patience import PATIENCE
from tests.transport.store_kit import free_port
from transport.loopback.front import Front


@contextlib.asynccontextmanager
async def a_front(*names: str) -> AsyncIterator[int]:
    """A front before servers that say their name, and then what they hear; its port."""
    async with trio.open_nursery() as nursery:

        def speaker(name: str):
            async def speak(stream: trio.SocketStream) -> None:
                await stream.send_all(name.encode())
                async for data in stream:
                    await stream.send_all(data.upper())
                    if data == b"leave":
                        return

            return speak

        ports: list[int] = []
        for name in names:
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, speaker(name), listeners)
            ports.append(listeners[0].socket.getsockname()[1])
        yield await nursery.start(Front(free_port(), *ports).serve)
        nursery.cancel_scope.cancel("the test is over")


async def test_a_connection_goes_to_the_first_that_listens_and_ends_when_that_one_leaves():
    with trio.fail_after(PATIENCE):
        async with a_front("one", "two") as port, await trio.open_tcp_stream("127.0.0.1", port) as caller:
            assert await caller.receive_some() == b"one"
            await caller.send_all(b"hello")
            assert await caller.receive_some() == b"HELLO"
            await caller.send_all(b"leave")
            assert await caller.receive_some() == b"LEAVE"
            assert await caller.receive_some() == b""


async def test_where_nobody_listens_a_connection_is_closed():
    with trio.fail_after(PATIENCE):
        async with a_front() as port, await trio.open_tcp_stream("127.0.0.1", port) as caller:
            assert await caller.receive_some() == b""
