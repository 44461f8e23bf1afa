"""A small HTTP server for the loopback's services, and the same services without sockets.

A service is a handler: an async function of (method, target, headers, body), the names of headers in lower case. It may
take as long as it likes, or for ever: the client's giving up cancels it.
"""

import functools
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence

import attrs
import h11
import httpx2
import trio

BODY_AT_MOST = 1024 * 1024
"""Bytes of a request's body; a longer one is answered with 413."""
IDLE_SECONDS = 60.0
"""How long a connection may take to send a request."""
SEND_SECONDS = 10.0
"""How long a client may take to read an answer."""
_CHUNK = 64 * 1024


@attrs.frozen
class HttpAnswer:
    """The answer to a request."""

    status: int
    content_type: str
    body: bytes


Handler = Callable[[str, str, Mapping[str, str], bytes], Awaitable[HttpAnswer]]


@attrs.define
class Mishaps:
    """What goes wrong with successive requests: statuses instead of an answer, answers that come late or never."""

    statuses: Sequence[int] = ()
    slow: float = 0.0
    lose_answers: int = 0
    _requests: int = 0
    _lost: int = 0

    def status(self) -> int:
        """The status that refuses the request that came just now; 0 if it is to be carried out."""
        self._requests += 1
        return self.statuses[self._requests - 1] if self._requests <= len(self.statuses) else 0

    async def before_the_answer(self, *, may_be_lost: bool) -> None:
        """Called when the request has been dealt with. Never returns if the answer is lost."""
        if may_be_lost and self._lost < self.lose_answers:
            self._lost += 1
            await trio.sleep_forever()
        await trio.sleep(self.slow)


class InMemory(httpx2.AsyncBaseTransport):
    """Takes an httpx2 client's requests straight to a handler. Raises httpx2.ReadTimeout as a socket would."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """See httpx2."""
        body = await request.aread()
        headers = {name.lower(): value for name, value in request.headers.items()}
        limit = request.extensions.get("timeout", {}).get("read")
        try:
            with trio.fail_after(math.inf if limit is None else limit):
                answer = await self._handler(request.method, str(request.url), headers, body)
        except trio.TooSlowError:
            raise httpx2.ReadTimeout(f"no answer within {limit} s", request=request) from None
        return httpx2.Response(answer.status, headers={"Content-Type": answer.content_type}, content=answer.body)


async def serve_http(
    handler: Handler, port: int = 0, *, task_status: "trio.TaskStatus[int]" = trio.TASK_STATUS_IGNORED
) -> None:
    """Listens on 127.0.0.1 until cancelled; reports the port. What the handler raises ends the server."""
    listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, functools.partial(_serve_connection, handler), listeners)
        task_status.started(listeners[0].socket.getsockname()[1])


class _Over(Exception):
    """The connection is of no further use."""


async def _serve_connection(handler: Handler, stream: trio.abc.Stream) -> None:
    """Requests one after the other (keep-alive), until either side has enough."""
    connection = _Connection(stream)
    try:
        while True:
            request, body = await connection.request()
            answer = await connection.while_listening(handler, request, body)
            await connection.answer(answer)
    except (_Over, trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    finally:
        await trio.aclose_forcefully(stream)


class _TooLong(Exception):
    """A body of more than BODY_AT_MOST bytes."""


class _Connection:
    """One connection, in h11's words."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._wire = h11.Connection(h11.SERVER)
        self._only_head = False

    async def request(self) -> tuple[h11.Request, bytes]:
        """The next request with its body. Raises _Over if there is none in time, or none that can be served."""
        with trio.move_on_after(IDLE_SECONDS):
            try:
                return await self._read()
            except h11.RemoteProtocolError as error:
                refusal = HttpAnswer(error.error_status_hint, "text/plain", b"no HTTP")
            except _TooLong:
                refusal = HttpAnswer(413, "text/plain", b"too long")
            if self._wire.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
                await self.answer(refusal, last=True)
        raise _Over

    async def _read(self) -> tuple[h11.Request, bytes]:
        request = await self._event()
        if not isinstance(request, h11.Request):
            raise _Over
        self._only_head = request.method == b"HEAD"
        body = b""
        while isinstance(event := await self._event(), h11.Data):
            body += event.data
            if len(body) > BODY_AT_MOST:
                raise _TooLong
        return request, body

    async def while_listening(self, handler: Handler, request: h11.Request, body: bytes) -> HttpAnswer:
        """The handler's answer. Raises _Over, with the handler cancelled, if the client leaves before."""
        headers = {name.decode("ascii"): value.decode("latin-1") for name, value in request.headers}
        answer: HttpAnswer | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, nursery.cancel_scope)
            answer = await handler(request.method.decode("ascii"), request.target.decode("ascii"), headers, body)
            nursery.cancel_scope.cancel("the answer is there")
        if answer is None:
            raise _Over
        return answer

    async def answer(self, answer: HttpAnswer, *, last: bool = False) -> None:
        """Sends the answer. Raises _Over if nothing may follow it."""
        headers = [("Content-Type", answer.content_type), ("Content-Length", str(len(answer.body)))]
        head = h11.Response(status_code=answer.status, headers=headers + [("Connection", "close")] * last)
        body = b"" if self._only_head else answer.body
        parts = [self._wire.send(part) for part in (head, h11.Data(body), h11.EndOfMessage())]
        with trio.move_on_after(SEND_SECONDS) as sending:
            await self._stream.send_all(b"".join(part for part in parts if part is not None))
        if sending.cancelled_caught or self._wire.our_state is not h11.DONE or self._wire.their_state is not h11.DONE:
            raise _Over
        self._wire.start_next_cycle()

    async def _event(self) -> object:
        while (event := self._wire.next_event()) is h11.NEED_DATA:
            if self._wire.they_are_waiting_for_100_continue:
                go_on = self._wire.send(h11.InformationalResponse(status_code=100, headers=[]))
                await self._stream.send_all(go_on or b"")
            self._wire.receive_data(bytes(await self._stream.receive_some(_CHUNK)))
        return event

    async def _watch(self, handling: trio.CancelScope) -> None:
        """Notices that the client gave up. What it sends ahead (the next request) is kept, up to one chunk."""
        ahead = await self._receive()
        if ahead:
            self._wire.receive_data(ahead)
        else:
            handling.cancel("the client left")

    async def _receive(self) -> bytes:
        try:
            return bytes(await self._stream.receive_some(_CHUNK))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return b""
