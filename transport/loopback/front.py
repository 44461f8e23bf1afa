"""The front: one address for several servers, as a load balancer is. It passes bytes on and understands none of them."""

import trio

READ_AT_ONCE = 64 * 1024


class Front:
    """Each connection goes to the first of `ports` that is listened to on 127.0.0.1; where nobody listens it is closed.

    `ports` may be changed at any time: what is connected already stays where it is.
    """

    def __init__(self, *ports: int) -> None:
        self.ports = list(ports)
        """In the order in which they are tried."""

    async def serve(self, port: int = 0, *, task_status: "trio.TaskStatus[int]" = trio.TASK_STATUS_IGNORED) -> None:
        """Listens on 127.0.0.1 until cancelled; reports the port."""
        listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, self._connect, listeners)
            task_status.started(listeners[0].socket.getsockname()[1])

    async def _connect(self, client: trio.SocketStream) -> None:
        """One connection: the end of either side is the end of both."""
        server = await self._server()
        if server is None:
            return
        async with server, trio.open_nursery() as nursery:

            async def pass_on(source: trio.SocketStream, target: trio.SocketStream) -> None:
                try:
                    while data := await source.receive_some(READ_AT_ONCE):
                        await target.send_all(data)
                except trio.BrokenResourceError:
                    pass  # one side is gone, and the other is told so by the end of its connection
                nursery.cancel_scope.cancel("one side is gone")

            nursery.start_soon(pass_on, client, server)
            nursery.start_soon(pass_on, server, client)

    async def _server(self) -> trio.SocketStream | None:
        """A connection to the first that takes one."""
        for port in tuple(self.ports):
            try:
                return await trio.open_tcp_stream("127.0.0.1", port)
            except OSError:
                continue
        return None
