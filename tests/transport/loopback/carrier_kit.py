"""A scripted server for the loopback carrier: documents by path, media streams by what they do, and all that was asked."""

import base64
import contextlib
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import attrs
import trio

from transport.loopback.carrier import CarriedCall, LoopbackCarrier
from transport.loopback.network import Answer, StreamClosed, StreamRefused, StreamSocket

PUBLIC = "https://phone.example.com"
TOKEN = "0123456789abcdef0123456789abcdef"
ACCOUNT = "AC" + "7" * 32
MEDIA = "wss://phone.example.com/media"
STREAM = f'<Connect action="/after"><Stream url="{MEDIA}"/></Connect>'


def xml(body: str) -> Answer:
    return Answer(200, "text/xml", f"<Response>{body}</Response>")


@attrs.frozen
class Post:
    """One webhook as the server got it."""

    at: float
    url: str
    form: dict[str, str]
    headers: dict[str, str]

    @property
    def path(self) -> str:
        return urlsplit(self.url).path


class Stream:
    """The server's end of one media stream, and the carrier's."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self.url, self.headers = url, dict(headers)
        self.got: list[tuple[float, dict[str, Any]]] = []
        self.closed_by_carrier = ""
        self._code: int | None = None
        self._to_server, self._from_carrier = trio.open_memory_channel[str | bytes](math.inf)
        self._to_carrier, self._from_server = trio.open_memory_channel[str | bytes](math.inf)

    # ------------------------------------------------------------ the server's

    async def next(self, event: str) -> dict[str, Any]:
        """The next message of one kind. Raises trio.EndOfChannel when the carrier is gone."""
        while True:
            message = json.loads(await self._from_carrier.receive())
            self.got.append((trio.current_time(), message))
            if message["event"] == event:
                return message

    async def to_the_end(self) -> None:
        with contextlib.suppress(trio.EndOfChannel):
            await self.next("nothing")

    async def listen(self, seconds: float) -> None:
        with trio.move_on_after(seconds):
            await self.to_the_end()

    def say(self, message: object) -> None:
        raw = message if isinstance(message, str | bytes) else json.dumps(message)
        self._to_carrier.send_nowait(raw)

    def event(self, event: str, **fields: Any) -> None:
        self.say({"event": event, "streamSid": self.sid, **fields})

    def media(self, audio: bytes) -> None:
        self.event("media", media={"payload": base64.b64encode(audio).decode()})

    def mark(self, name: str) -> None:
        self.event("mark", mark={"name": name})

    def close(self, code: int = 1000) -> None:
        self._code = code
        self._to_carrier.close()

    @property
    def sid(self) -> str:
        return next(message["streamSid"] for _, message in self.got if message["event"] == "start")

    def of(self, event: str) -> list[tuple[float, dict[str, Any]]]:
        return [(at, message) for at, message in self.got if message["event"] == event]

    # ------------------------------------------------------------ the carrier's (StreamSocket)

    async def send(self, message: str | bytes) -> None:
        await trio.lowlevel.checkpoint()
        if self._code is not None or self.closed_by_carrier:
            raise StreamClosed(self._code or 1000)
        await self._to_server.send(message)

    async def receive(self) -> str | bytes:
        try:
            return await self._from_server.receive()
        except trio.EndOfChannel:
            raise StreamClosed(self._code or 1006) from None

    async def hang_up(self, how: str) -> None:
        await trio.lowlevel.checkpoint()
        self.closed_by_carrier = how
        self._to_server.close()


class CarriersEnd:
    """`StreamSocket`: the carrier's end."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.send, self.receive = stream.send, stream.receive

    async def close(self) -> None:
        await self._stream.hang_up("closed")

    async def drop(self) -> None:
        await self._stream.hang_up("dropped")


@attrs.define
class Server:
    """`Network`: answers webhooks from `documents` (the last one of a path again and again) and streams by `talk`."""

    documents: dict[str, list[Answer]] = attrs.field(factory=dict)
    talk: Callable[[Stream], Awaitable[None]] | None = None
    refuses: int | None = None
    slow: float = 0.0
    posts: list[Post] = attrs.field(factory=list)
    streams: list[Stream] = attrs.field(factory=list)

    async def post(self, url: str, form: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        self.posts.append(Post(trio.current_time(), url, dict(form), dict(headers)))
        await trio.sleep(self.slow)
        answers = self.documents.get(urlsplit(url).path, [Answer(204, "", "")])
        return answers.pop(0) if len(answers) > 1 else answers[0]

    @contextlib.asynccontextmanager
    async def open_stream(self, url: str, headers: Mapping[str, str]) -> AsyncIterator[StreamSocket]:
        stream = Stream(url, headers)
        self.streams.append(stream)
        if self.refuses is not None:
            raise StreamRefused(self.refuses)
        async with trio.open_nursery() as nursery:
            if self.talk is not None:
                nursery.start_soon(self.talk, stream)
            else:
                nursery.start_soon(stream.to_the_end)
            yield CarriersEnd(stream)
            with trio.move_on_after(1):  # the server reads what the carrier said last
                await stream._to_server.aclose()
                await trio.sleep(0.5)
            nursery.cancel_scope.cancel("the stream is over")

    def asked(self, path: str) -> list[Post]:
        return [post for post in self.posts if post.path == path]

    async def call(
        self, *steps: Any, dial: Mapping[str, str] | None = None, fallback: str = "", **how: Any
    ) -> CarriedCall:
        account = {"account_sid": ACCOUNT, "auth_token": TOKEN}
        carrier = LoopbackCarrier(self, public_url=PUBLIC, dial=dial, fallback_path=fallback, **account)
        with trio.fail_after(7200):
            return await carrier.place_call(steps, voice_path="/voice", status_path="/status", **how)


def serving(voice: str | Answer, **others: str | Answer) -> Server:
    """A server whose voice webhook answers `voice`, other paths likewise."""
    answers = {"voice": voice, **others}
    return Server({f"/{path}": [xml(body) if isinstance(body, str) else body] for path, body in answers.items()})
