"""A client of the loopback model over a connection in memory, and what the tests of the model say and check."""

import base64
import contextlib
import json
import math
from collections.abc import AsyncIterator, Iterator
from typing import Any

import attrs
import trio
import trio.testing
import trio_websocket
from openai.types.realtime import RealtimeServerEvent
from pydantic import BaseModel, TypeAdapter

from actors.mulaw import silence
from transport.loopback.model import LoopbackModel
from transport.loopback.script import Faults, Script, Speech

KEY = "Bearer sk-loopback"
PATH = "/v1/realtime?model=gpt-realtime-2.1"
VOICE = bytes([0x10]) * 8
"""A millisecond of a loud caller."""
WORDS = Speech("one two three four five six", bytes(range(1, 101)) * 320)
"""Four seconds."""
PCMU = {"format": {"type": "audio/pcmu"}}
EVENTS: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)


def session(**fields: object) -> dict[str, Any]:
    audio = {"input": {**PCMU, "transcription": {"model": "gpt-live-transcribe"}}, "output": {**PCMU, "voice": "marin"}}
    return {"type": "realtime", "audio": audio, **fields}


@attrs.define
class Client:
    """The other end: sends, and keeps what came with its time."""

    socket: trio_websocket.WebSocketConnection
    model: LoopbackModel
    came: list[tuple[float, dict[str, Any]]] = attrs.field(factory=list)
    read: int = 0

    async def send(self, kind: str, **fields: Any) -> None:
        await self.socket.send_message(json.dumps({"type": kind, **fields}))

    async def next(self, kind: str, within: float = 60) -> dict[str, Any]:
        """The next event of one kind; what comes before it is passed over, but kept. Raises ConnectionClosed."""
        with trio.fail_after(within):
            while True:
                event = json.loads(await self.socket.get_message())
                self.came.append((trio.current_time(), event))
                if event["type"] == kind:
                    return event

    async def refused(self, within: float = 5) -> dict[str, Any]:
        return (await self.next("error", within))["error"]

    async def closed(self) -> tuple[int, str | None]:
        """Reads to the end: close code and reason."""
        reason = None
        try:
            while True:
                await self.next("nothing", within=math.inf)
        except trio_websocket.ConnectionClosed as closed:
            reason = closed.reason
        assert reason is not None
        return reason.code, reason.reason

    async def append(self, audio: bytes) -> None:
        """Speaks, at the speed of speech."""
        for start in range(0, len(audio), 800):
            piece = audio[start : start + 800]
            await self.send("input_audio_buffer.append", audio=base64.b64encode(piece).decode())
            await trio.sleep(len(piece) / 8000)

    async def turn(self, ms: int = 400) -> None:
        """A turn of the caller, up to its end."""
        await self.append(VOICE * ms + silence(300))

    async def message(self, text: str, **fields: Any) -> dict[str, Any]:
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}], **fields}
        await self.send("conversation.item.create", item=item)
        return (await self.next("conversation.item.done"))["item"]

    def kinds(self) -> list[str]:
        return [event["type"] for _, event in self.came]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for _, event in self.came if event["type"] == kind]

    def spoken(self, item: str) -> bytes:
        deltas = [event["delta"] for event in self.of("response.output_audio.delta") if event["item_id"] == item]
        return b"".join(base64.b64decode(delta) for delta in deltas)


@contextlib.asynccontextmanager
async def a_client(
    model: LoopbackModel, path: str = PATH, *headers: tuple[str, str], key: str = KEY
) -> AsyncIterator[Client]:
    """A connection to `model` as long as the block lasts."""
    ours, theirs = trio.testing.memory_stream_pair()
    raw = [(name.encode(), value.encode()) for name, value in (("Authorization", key), *headers) if value]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(model.handle_stream, theirs)
        socket = await trio_websocket.wrap_client_stream(
            nursery, ours, "api.example.com", path, extra_headers=raw, message_queue_size=10_000
        )
        yield Client(socket, model)
        nursery.cancel_scope.cancel("the test is over")
    await trio.aclose_forcefully(ours)


@contextlib.asynccontextmanager
async def a_talk(script: Script | None = None, faults: Faults | None = None, **fields: Any) -> AsyncIterator[Client]:
    """A connection whose session is set up for the telephone."""
    async with a_client(LoopbackModel(script, faults=faults)) as client:
        await client.next("session.created")
        await client.send("session.update", session=session(**fields))
        await client.next("session.updated")
        yield client


def unknown_fields(value: Any, path: str) -> Iterator[str]:
    """What OpenAI's types took in without knowing it."""
    if isinstance(value, BaseModel):
        yield from (f"{path}.{name}" for name in value.model_extra or {})
        for name in value.model_fields_set & set(type(value).model_fields):
            yield from unknown_fields(getattr(value, name), f"{path}.{name}")
    elif isinstance(value, list):
        for inner in value:
            yield from unknown_fields(inner, path)
