"""Both ends of many calls in one process on one clock: callers that stream, a model that talks and is interrupted.

Lean on purpose, so that what is measured is the server: no library is on their path but Trio. Each 160 bytes of audio say
where they belong, so what is lost, late, misplaced or sent after a clear is counted and not guessed. The loopback ends of the
product are the faithful ones; these only know the traffic of a load.
"""

import base64
import json
import os
import struct
from collections.abc import AsyncIterator, Callable
from typing import Any

import attrs
import trio
from twilio.request_validator import RequestValidator

from transport.loopback.network import RealNetwork
from transport.loopback.playback import Playback
from transport.loopback.twiml_reader import Connect, read
from transport.media_lane import accept, read_upgrade
from transport.ws_codec import CLOSE, PING, PONG, TEXT, Closing, FrameReader, Ping, client_frame, server_frame

BLOCK = 160
TAG = struct.Struct("!HHHH")
MAGIC = 0xBE7C
FRAME_SECONDS = 0.02
BYTES_PER_SECOND = 8000
TURN_SECONDS = 6.0
"""One caller's turn with its reply: 3 s of speech heard whole, then, the next time, 8 s that are interrupted."""
DELTA_BLOCKS = 10
SPEED = 4
"""How much faster than real time the model speaks."""
INTERRUPT_AFTER = 2.5
"""Seconds from the first delta until the caller speaks over it."""
AUTH_TOKEN = "bench"
ACCOUNT = "AC" + "0" * 32


QUIET = bytes(0xF0 | nibble for nibble in range(16))
"""The µ-law bytes of the sixteen softest samples: a tag is silence to an ear, and a barge-in is one when the model says so."""


def block(call: int, number: int, sequence: int) -> bytes:
    """160 bytes that name their call, their reply (0: the caller's own voice) and their place."""
    tag = TAG.pack(MAGIC, call, number, sequence).hex()
    return bytes(QUIET[int(digit, 16)] for digit in tag) * (BLOCK // len(tag))


def tags(audio: bytes) -> list[tuple[int, int, int]]:
    """Call, number and sequence of each block of `audio` that has a tag."""
    found: list[tuple[int, int, int]] = []
    for at in range(0, len(audio) - 2 * TAG.size + 1, BLOCK):
        digits = audio[at : at + 2 * TAG.size]
        if any(byte < 0xF0 for byte in digits):
            continue
        magic, call, number, sequence = TAG.unpack(bytes.fromhex("".join(f"{byte & 0x0F:x}" for byte in digits)))
        if magic == MAGIC:
            found.append((call, number, sequence))
    return found


@attrs.define
class Figures:
    """What was seen; times in seconds, while `on`."""

    on: bool = False
    up: list[float] = attrs.field(factory=list)
    """Frame sent by the carrier until the model has it."""
    first: list[float] = attrs.field(factory=list)
    """First delta of a reply until the carrier has it."""
    barge: list[float] = attrs.field(factory=list)
    """speech_started until the carrier has the clear."""
    truncation: list[float] = attrs.field(factory=list)
    """What the model was told minus what was played, ms."""
    late: list[float] = attrs.field(factory=list)
    """How late these ends themselves were with a frame."""
    frames: int = 0
    lost_up: int = 0
    lost_down: int = 0
    after_clear: int = 0
    """Bytes of an interrupted reply that came after its clear."""
    underruns: int = 0
    """Times the caller heard a hole in a reply."""
    failed: list[str] = attrs.field(factory=list)

    def note(self, values: list[float], value: float) -> None:
        """Keeps `value`, if it is time to measure."""
        if self.on:
            values.append(value)


class Wire:
    """One WebSocket: text in, text out."""

    def __init__(self, stream: trio.abc.Stream, *, server: bool, rest: bytes = b"") -> None:
        self._stream = stream
        self._frame = server_frame if server else client_frame
        self._feed: Callable[[bytes], list[Any]] = FrameReader(1 << 24).feed if server else _Unmasked().feed
        self._rest = rest
        self._lock = trio.Lock()

    async def send(self, text: str) -> None:
        """One text message."""
        frame = self._frame(TEXT, text.encode())
        async with self._lock:
            await self._stream.send_all(frame)

    async def aclose(self) -> None:
        """Ends the connection without a word."""
        await trio.aclose_forcefully(self._stream)

    async def messages(self) -> AsyncIterator[str]:
        """Until the peer closes."""
        data = self._rest or await self._stream.receive_some(65536)
        while data:
            for event in self._feed(data):
                if isinstance(event, str):
                    yield event
                elif isinstance(event, Ping):
                    async with self._lock:
                        await self._stream.send_all(self._frame(PONG, event.payload))
                elif isinstance(event, Closing):
                    async with self._lock:
                        await self._stream.send_all(self._frame(CLOSE, b"\x03\xe8"))
                    return
            data = await self._stream.receive_some(65536)


class _Unmasked:
    """Reads what a server sends: whole text frames, pings, a close."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Any]:
        data, events, at = self._rest + data, [], 0
        while len(data) - at >= 2:
            length, body = data[at + 1] & 0x7F, at + 2
            if length == 126 and len(data) >= body + 2:
                length, body = int.from_bytes(data[body : body + 2], "big"), body + 2
            elif length >= 126:
                break
            if len(data) < body + length:
                break
            payload, opcode = data[body : body + length], data[at] & 0x0F
            at = body + length
            if opcode == TEXT:
                events.append(payload.decode())
            elif opcode == PING:
                events.append(Ping(payload))
            elif opcode == CLOSE:
                events.append(Closing(1000, ""))
        self._rest = data[at:]
        return events


# ---------------------------------------------------------------- the caller


@attrs.define
class Reply:
    """One reply of the model, as both ends see it."""

    item: str
    blocks: int
    interrupted: bool
    first_sent: float = 0.0
    spoke_at: float = 0.0
    starts_at: int | None = None
    """Bytes the carrier had to play before its first block, from the stream's beginning."""
    seen: int = 0
    cleared: bool = False
    played: float | None = None
    """Milliseconds of it that were played when the clear came."""
    told: float | None = None
    """Milliseconds of it that the model was told were heard."""

    def truncation(self, figures: Figures) -> None:
        """Keeps the difference, when both are known."""
        if self.played is not None and self.told is not None:
            figures.note(figures.truncation, self.told - self.played)


class Caller:
    """One call's carrier: streams frames by the clock, plays what it gets, echoes marks, obeys clear."""

    def __init__(self, number: int, figures: Figures, replies: dict[int, Reply]) -> None:
        self._number = number
        self._figures = figures
        self._replies = replies
        self._playback = Playback()
        self._changed = trio.Event()
        self._dropped = 0
        self.sent_at: dict[int, float] = {}

    async def run(self, server: str, voice_path: str) -> None:
        """Until cancelled, or the server closes, which is a failure."""
        call_sid, stream_sid = f"CA{self._number:032x}", f"MZ{self._number:032x}"
        url, parameters = await self._ask(server, voice_path, call_sid)
        wire = await open_wire(url)
        format_ = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
        start = {"accountSid": ACCOUNT, "callSid": call_sid, "streamSid": stream_sid, "tracks": ["inbound"]}
        start |= {"mediaFormat": format_, "customParameters": parameters}
        await wire.send(json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"}))
        await wire.send(json.dumps({"event": "start", "sequenceNumber": "1", "start": start, "streamSid": stream_sid}))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._speak, wire, stream_sid)
            nursery.start_soon(self._echo, wire, stream_sid)
            async for message in wire.messages():
                await self._hear(json.loads(message), wire, stream_sid)
            self._figures.failed.append(f"call {self._number}: the stream was closed")
            nursery.cancel_scope.cancel("closed")

    async def _ask(self, server: str, voice_path: str, call_sid: str) -> tuple[str, dict[str, str]]:
        if not voice_path:
            return f"{server.replace('http', 'ws')}/twilio/media", {}
        form = {"CallSid": call_sid, "From": "+14155550100", "To": "+14155550101", "CallStatus": "ringing"}
        signature = RequestValidator(AUTH_TOKEN).compute_signature(server + voice_path, form)
        answer = await RealNetwork().post(server + voice_path, form, {"X-Twilio-Signature": signature})
        (connect,) = [verb for verb in read(answer.body, server) if isinstance(verb, Connect)]
        return connect.url, dict(connect.parameters)

    async def _speak(self, wire: Wire, stream_sid: str) -> None:
        start, number = trio.current_time(), 0
        while True:
            due = start + number * FRAME_SECONDS
            await trio.sleep_until(due)
            now = trio.current_time()
            self._figures.note(self._figures.late, now - due)
            payload = base64.b64encode(block(self._number, 0, number % 65536)).decode()
            self.sent_at[number % 65536] = now
            number += 1
            await wire.send(
                f'{{"event":"media","sequenceNumber":"{number + 1}","media":{{"track":"inbound","chunk":"{number}",'
                f'"timestamp":"{number * 20 + 100}","payload":"{payload}"}},"streamSid":"{stream_sid}"}}'
            )

    async def _echo(self, wire: Wire, stream_sid: str) -> None:
        while True:
            self._changed = trio.Event()
            due = self._playback.next_mark_at()
            with trio.move_on_at(float("inf") if due is None else due):
                await self._changed.wait()
            await self._marks(self._playback.until(trio.current_time()), wire, stream_sid)

    async def _marks(self, names: list[str], wire: Wire, stream_sid: str) -> None:
        for name in names:
            await wire.send(json.dumps({"event": "mark", "streamSid": stream_sid, "mark": {"name": name}}))

    async def _hear(self, event: dict[str, Any], wire: Wire, stream_sid: str) -> None:
        now = trio.current_time()
        await self._marks(self._playback.until(now), wire, stream_sid)
        if event["event"] == "media":
            self._media(base64.b64decode(event["media"]["payload"]), now)
        elif event["event"] == "mark":
            if self._playback.mark(event["mark"]["name"]):
                await self._marks([event["mark"]["name"]], wire, stream_sid)
        elif event["event"] == "clear":
            self._clear(now)
            await self._marks(self._playback.clear(), wire, stream_sid)
        self._changed.set()

    def _media(self, audio: bytes, now: float) -> None:
        found = tags(audio)
        hole = not self._playback.busy
        for call, number, sequence in found:
            reply = self._replies.get(number)
            if reply is None or call != self._number:
                self._figures.failed.append(f"call {self._number}: audio of call {call}, reply {number}")
                continue
            if reply.cleared:
                self._figures.after_clear += BLOCK
                continue
            if reply.starts_at is None:
                reply.starts_at = self._playback.received - self._dropped
                self._figures.note(self._figures.first, now - reply.first_sent)
            elif hole and self._figures.on:
                self._figures.underruns += 1
            hole = False
            self._figures.lost_down += abs(sequence - reply.seen)
            reply.seen = sequence + 1
        self._playback.put(audio, now)

    def _clear(self, now: float) -> None:
        for reply in self._replies.values():
            if reply.interrupted and reply.spoke_at and not reply.cleared:
                reply.cleared = True
                self._figures.note(self._figures.barge, now - reply.spoke_at)
                began = reply.starts_at or 0
                reply.played = min(max(self._playback.played - began, 0), reply.blocks * BLOCK) / 8
                reply.truncation(self._figures)
        self._dropped = self._playback.received - self._playback.played


async def open_wire(url: str) -> Wire:
    """A signed WebSocket to `url`."""
    scheme, _, rest = url.partition("://")
    address, _, path = rest.partition("/")
    host, _, port = address.partition(":")
    stream = await trio.open_tcp_stream(host, int(port or 80))
    signature = RequestValidator(AUTH_TOKEN).compute_signature(url, {})
    await stream.send_all(
        f"GET /{path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n"
        f"X-Twilio-Signature: {signature}\r\n\r\n".encode()
    )
    head = b""
    while b"\r\n\r\n" not in head:
        more = await stream.receive_some(4096)
        if not more:
            raise OSError(f"{scheme} upgrade refused: {head[:80]!r}")
        head += more
    if not head.startswith(b"HTTP/1.1 101"):
        raise OSError(f"{scheme} upgrade refused: {head[:80]!r}")
    return Wire(stream, server=False, rest=head.partition(b"\r\n\r\n")[2])


# ---------------------------------------------------------------- the model


class Model:
    """One session of the model: takes the caller's audio, and speaks by the clock, every `TURN_SECONDS`."""

    def __init__(self, figures: Figures, callers: dict[int, Caller], replies: dict[int, dict[int, Reply]]) -> None:
        self._figures = figures
        self._callers = callers
        self._all = replies
        self._call: int | None = None
        self._expected: int | None = None
        self._known = trio.Event()

    async def run(self, stream: trio.abc.Stream) -> None:
        """One connection, from its upgrade to its end."""
        head = b""
        while (upgrade := read_upgrade(head)) is None:
            head += await stream.receive_some(65536)
        await stream.send_all(accept(upgrade.key))
        wire = Wire(stream, server=True)
        await self._emit(wire, "session.created", session={"id": "sess", "type": "realtime"})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._talk, wire)
            async for message in wire.messages():
                await self._take(json.loads(message), wire)
            nursery.cancel_scope.cancel("the client is gone")

    async def _emit(self, wire: Wire, kind: str, **fields: Any) -> None:
        await wire.send(json.dumps({"type": kind, "event_id": "event", **fields}))

    async def _take(self, event: dict[str, Any], wire: Wire) -> None:
        kind = event["type"]
        if kind == "input_audio_buffer.append":
            self._listen(base64.b64decode(event["audio"]), trio.current_time())
        elif kind == "session.update":
            await self._emit(wire, "session.updated", session=event["session"])
        elif kind == "conversation.item.truncate":
            assert self._call is not None
            for reply in self._all[self._call].values():
                if reply.item == event["item_id"]:
                    reply.told = event["audio_end_ms"]
                    reply.truncation(self._figures)

    def _listen(self, audio: bytes, now: float) -> None:
        for call, _, sequence in tags(audio):
            if self._call is None:
                self._call = call
                self._known.set()
            sent = self._callers[call].sent_at.pop(sequence, None)
            if sent is not None:
                self._figures.note(self._figures.up, now - sent)
            if self._expected is not None:
                self._figures.lost_up += abs(sequence - self._expected)
            self._expected = (sequence + 1) % 65536
            self._figures.frames += 1 if self._figures.on else 0

    async def _talk(self, wire: Wire) -> None:
        await self._known.wait()
        assert self._call is not None
        number, start = 0, trio.current_time() + (self._call * 0.37) % TURN_SECONDS
        while True:
            number += 1
            await trio.sleep_until(start + (number - 1) * TURN_SECONDS)
            interrupted = number % 2 == 0
            seconds = 8 if interrupted else 3
            item = f"item_{self._call}_{number}"
            reply = Reply(item, seconds * 50, interrupted)
            self._all[self._call][number] = reply
            await self._turn(wire, number, reply)

    async def _turn(self, wire: Wire, number: int, reply: Reply) -> None:
        turn = f"turn_{number}"
        await self._emit(wire, "input_audio_buffer.speech_started", audio_start_ms=0, item_id=turn)
        await self._emit(wire, "input_audio_buffer.speech_stopped", audio_end_ms=0, item_id=turn)
        await self._emit(wire, "input_audio_buffer.committed", item_id=turn)
        name = f"resp_{number}"
        await self._emit(wire, "response.created", response={"id": name, "status": "in_progress"})
        where = {"response_id": name, "item_id": reply.item, "output_index": 0, "content_index": 0}
        start = trio.current_time()
        reply.first_sent = start
        status = "completed"
        for at in range(0, reply.blocks, DELTA_BLOCKS):
            await trio.sleep_until(start + at * FRAME_SECONDS / SPEED)
            if reply.interrupted and trio.current_time() >= start + INTERRUPT_AFTER:
                status = "cancelled"
                break
            assert self._call is not None
            audio = b"".join(block(self._call, number, n) for n in range(at, min(at + DELTA_BLOCKS, reply.blocks)))
            delta = base64.b64encode(audio).decode()
            await self._emit(wire, "response.output_audio.delta", **where, delta=delta)
        if reply.interrupted:
            await trio.sleep_until(start + INTERRUPT_AFTER)
            reply.spoke_at = trio.current_time()
            await self._emit(wire, "input_audio_buffer.speech_started", audio_start_ms=0, item_id=f"{turn}_b")
            await self._emit(wire, "input_audio_buffer.speech_stopped", audio_end_ms=0, item_id=f"{turn}_b")
        await self._emit(wire, "response.done", response={"id": name, "status": status, "output": []})
