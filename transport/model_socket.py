"""The model's connection: a WebSocket under the codec. Opens with a deadline, keeps it alive, never blocks its reader."""

import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from urllib.parse import parse_qsl, urlencode, urlsplit

import attrs
import trio
from trio_websocket import ConnectionClosed, ConnectionRejected, HandshakeError

from actors.messages import AskReply, Extract, ModelCommand, ModelEvent, ModelTrouble
from actors.ports import ModelGone, ModelSession
from transport import realtime_codec
from transport.ws_client import Client, Headers, open_client

MESSAGES = 64
"""Messages that may wait for the reader; a full queue would hold up pongs and the peer's close too."""
MESSAGE_AT_MOST = 16 * 1024 * 1024
"""Bytes: one retrieved item may carry all its audio."""
PING_EVERY = 5.0
PONG_WITHIN = 5.0
"""Seconds: a connection that died without a word is noticed within their sum, however silent the caller is."""

FATAL_CLOSES = frozenset({3000, 4000, 4004})
"""Close codes after which no other session would do better: key, model, shape of the interface."""


class SocketSession:
    """One open connection. `trouble` is told of events that cannot be understood; `wall_clock` is unix time."""

    def __init__(self, socket: Client, trouble: Callable[[str], None], wall_clock: Callable[[], float]) -> None:
        self._socket = socket
        self._reader = realtime_codec.EventReader(wall_clock)
        self._numbers = itertools.count(1)
        self._trouble = trouble
        self._asked = ""
        """The number of what last asked for a reply."""

    async def receive(self) -> ModelEvent:
        """See `ModelSession`."""
        while True:
            try:
                message = await self._socket.receive()
            except ConnectionClosed as closed:
                raise _gone(closed) from None
            try:
                event = self._reader.read(message)
            except realtime_codec.BadEvent as bad:
                self._trouble(str(bad)[:200])
                continue
            if isinstance(event, ModelTrouble) and event.ref and event.ref == self._asked:
                return attrs.evolve(event, no_reply=True)
            if event is not None:
                return event

    async def send(self, command: ModelCommand) -> None:
        """See `ModelSession`."""
        if isinstance(command, Extract):
            self._reader.asked_apart(command.purpose)
        number = f"triode_{next(self._numbers)}"
        if isinstance(command, AskReply):
            self._asked = number
        await self._send(realtime_codec.write(command, number))

    async def append(self, payloads: list[str], silence_ms: int) -> None:
        """See `ModelSession`."""
        await self._send(realtime_codec.append(payloads, silence_ms))

    def append_now(self, payload: str) -> bool:
        """See `ModelSession`."""
        try:
            return self._socket.send_now(realtime_codec.append([payload]))
        except ConnectionClosed:
            return False

    async def _send(self, text: str) -> None:
        try:
            await self._socket.send(text)
        except ConnectionClosed as closed:
            raise _gone(closed) from None

    async def keep_alive(self) -> None:
        """Pings until cancelled. Raises ModelGone when a pong stays away: the peer is gone without a word."""
        while True:
            await trio.sleep(PING_EVERY)
            try:
                with trio.fail_after(PONG_WITHIN):
                    await self._socket.ping()
            except trio.TooSlowError:
                raise ModelGone("the model's connection is dead: no pong") from None
            except ConnectionClosed as closed:
                raise _gone(closed) from None


def _gone(closed: ConnectionClosed) -> ModelGone:
    reason = closed.reason
    if reason is None:
        return ModelGone("the model's connection was lost")
    text = f"the model closed the connection: {reason.code} {reason.reason or reason.name}"
    return ModelGone(text, fatal=reason.code in FATAL_CLOSES)


Dial = Callable[[str, Headers], AbstractAsyncContextManager[Client]]
"""Opens a WebSocket to a URL; leaving the block closes it. Raises HandshakeError, ConnectionRejected or OSError."""


def dial(url: str, headers: Headers) -> AbstractAsyncContextManager[Client]:
    """Over the network, with the system's certificates."""
    return open_client(url, headers, queue=MESSAGES, message_at_most=MESSAGE_AT_MOST)


@attrs.frozen
class ModelSocket:
    """The way to the model: its places in order, the key, the model's name."""

    urls: tuple[str, ...]
    api_key: str = attrs.field(repr=False)
    model: str
    trouble: Callable[[str], None] = lambda text: None
    """Told of events that cannot be understood."""
    safety_identifier: str = ""
    """A hash that names the call without telling who calls, for the provider's abuse checks; empty is not sent."""
    dial: Dial = dial
    wall_clock: Callable[[], float] = time.time
    """Unix time: a session says so when it will end."""

    @property
    def endpoints(self) -> int:
        """See `ModelPort`."""
        return len(self.urls)

    def connect(self, endpoint: int, name: str = "") -> AbstractAsyncContextManager[ModelSession]:
        """See `ModelPort`."""
        return self._connect(self.urls[endpoint], name)

    @contextlib.asynccontextmanager
    async def _connect(self, url: str, name: str) -> AsyncIterator[ModelSession]:
        parts = urlsplit(url)
        given = parse_qsl(parts.query, keep_blank_values=True)
        kept = [(key, value) for key, value in given if key != "model" or not name]
        named = any(key == "model" for key, _ in kept)
        query = urlencode(kept if named else [*kept, ("model", name or self.model)])
        headers = [(b"Authorization", f"Bearer {self.api_key}".encode())]
        if self.safety_identifier:
            headers.append((b"OpenAI-Safety-Identifier", self.safety_identifier.encode()))
        try:
            async with self.dial(parts._replace(query=query).geturl(), headers) as socket:
                session = SocketSession(socket, self.trouble, self.wall_clock)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(session.keep_alive)
                    nursery.start_soon(socket.send_on)
                    yield session
                    nursery.cancel_scope.cancel("the session is over")
        except ConnectionRejected as rejected:
            fatal = rejected.status_code in {401, 403}
            raise ModelGone(f"the model refused the connection: HTTP {rejected.status_code}", fatal=fatal) from None
        except (HandshakeError, OSError) as error:
            raise ModelGone(
                f"the model cannot be reached: {error.__cause__ or error or type(error).__name__}"
            ) from None
