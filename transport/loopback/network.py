"""How the loopback carrier reaches a server: HTTP posts and WebSockets. Another implementation may stay in memory."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol
from urllib.parse import urlsplit

import attrs
import httpx2
import trio
from trio_websocket import ConnectionClosed, ConnectionRejected, HandshakeError

from transport.http_client import open_http
from transport.ws_client import Client, open_client


class StreamRefused(Exception):
    """The upgrade was answered by an HTTP status (0: not at all)."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status


class StreamClosed(Exception):
    """The WebSocket is closed; 1006 if nobody said so."""

    def __init__(self, code: int) -> None:
        super().__init__(f"closed {code}")
        self.code = code


@attrs.frozen
class Answer:
    """The answer to a webhook."""

    status: int
    content_type: str
    body: str


class StreamSocket(Protocol):
    """The carrier's end of a media stream."""

    async def send(self, message: str | bytes) -> None:
        """Concurrent ones keep their order. Raises StreamClosed."""
        ...

    async def receive(self) -> str | bytes:
        """Raises StreamClosed."""
        ...

    async def close(self) -> None:
        """Closes with code 1000."""
        ...

    async def drop(self) -> None:
        """Cuts the connection without a word."""
        ...


class Network(Protocol):
    """The way to a server."""

    async def post(self, url: str, form: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        """Posts a form; status 0 if there is no answer."""
        ...

    def open_stream(self, url: str, headers: Mapping[str, str]) -> AbstractAsyncContextManager[StreamSocket]:
        """Opens a WebSocket. Raises StreamRefused."""
        ...


class ClientSocket:
    """A WebSocket client as a StreamSocket."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def send(self, message: str | bytes) -> None:
        """See StreamSocket."""
        try:
            await self._client.send(message)
        except ConnectionClosed as closed:
            raise StreamClosed(_code(closed)) from None

    async def receive(self) -> str | bytes:
        """See StreamSocket."""
        try:
            return await self._client.receive()
        except ConnectionClosed as closed:
            raise StreamClosed(_code(closed)) from None

    async def close(self) -> None:
        """See StreamSocket."""
        with trio.move_on_after(2):
            await self._client.aclose()

    async def drop(self) -> None:
        """See StreamSocket."""
        await self._client.drop()


def _code(closed: ConnectionClosed) -> int:
    return closed.reason.code if closed.reason is not None else 1006


@attrs.frozen
class RealNetwork:
    """Sockets. With `server` (http://host:port) every URL is dialled there, whatever public host it names."""

    server: str = ""

    async def post(self, url: str, form: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        """See Network."""
        target, host = self._target(url)
        try:
            async with open_http(15, trust_env=False) as client:
                answer = await client.post(target, data=dict(form), headers={**headers, "Host": host})
        except (httpx2.HTTPError, httpx2.InvalidURL):
            return Answer(0, "", "")
        return Answer(answer.status_code, answer.headers.get("content-type", ""), answer.text)

    @contextlib.asynccontextmanager
    async def open_stream(self, url: str, headers: Mapping[str, str]) -> AsyncIterator[StreamSocket]:
        """See Network."""
        target, _ = self._target(url)
        extra = [(name.encode(), value.encode()) for name, value in headers.items()]
        try:
            with trio.move_on_after(10) as opening:
                async with open_client(target, extra, queue=256, message_at_most=1024 * 1024) as client:
                    opening.deadline = float("inf")
                    yield ClientSocket(client)
            if opening.cancelled_caught:
                raise StreamRefused(0)
        except ConnectionRejected as rejected:
            raise StreamRefused(rejected.status_code) from None
        except (HandshakeError, OSError):
            raise StreamRefused(0) from None

    def _target(self, url: str) -> tuple[str, str]:
        """Where to dial, and the Host header."""
        asked = urlsplit(url)
        if not self.server:
            return url, asked.netloc
        scheme = "ws" if asked.scheme in ("ws", "wss") else "http"
        return asked._replace(scheme=scheme, netloc=urlsplit(self.server).netloc).geturl(), asked.netloc
