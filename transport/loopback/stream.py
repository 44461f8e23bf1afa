"""The carrier's side of a media stream: what Twilio sends, plays, echoes and refuses."""

import base64
import json
import math
from typing import Any

import attrs
import trio

from actors.mulaw import decode, encode, to_base64
from transport.loopback.network import StreamClosed, StreamSocket
from transport.loopback.person import FRAME_MS, Person
from transport.loopback.playback import BYTES_PER_SECOND, Playback

FIRST_TIMESTAMP_MS = 120
"""The first frame is this far into the stream, as seen on the real wire."""
SWAPPED_WITHIN = 0.5
"""Seconds that a mark waits for one that overtakes it."""
_FIELDS = {
    "media": {"event", "streamSid", "media"},
    "mark": {"event", "streamSid", "mark"},
    "clear": {"event", "streamSid"},
}


@attrs.frozen
class StreamFaults:
    """How the stream misbehaves; everything is off unless set. Times in seconds since `start`."""

    drop_after: float = 0
    """The connection is cut: no stop, no close."""
    gap_at: float = 0
    gap_seconds: float = 0
    """No frames for a while; they are lost."""
    echo_delay: float = 0
    """Marks come back this much later."""
    echo_every: float = 0
    """Marks come back in bunches, so far apart."""
    echo_swapped: bool = False
    """Of two marks that are due soon after each other the later one comes back first."""
    line_echo_gain: float = 0
    line_echo_delay: float = 0.3
    """The telephone sends back what it plays: so loud, and so much later."""
    inject: tuple[tuple[float, str | bytes], ...] = ()
    """Messages sent as they are, at these times."""
    parameters: dict[str, str] | None = None
    """Instead of those of the TwiML."""
    signature: str | None = None
    """Instead of the right one."""


@attrs.define
class StreamLog:
    """One media stream as the carrier saw it."""

    stream_sid: str
    opened: float = 0.0
    playback: Playback = attrs.field(factory=Playback)
    first_audio_ms: float | None = None
    """From `start` to the first audio from the server."""
    frames_sent: int = 0
    messages: list[tuple[float, str]] = attrs.field(factory=list)
    """When which kind of message came from the server."""
    clears: list[tuple[float, int]] = attrs.field(factory=list)
    """When, and how many bytes had been played by then."""
    marks: list[str] = attrs.field(factory=list)
    """Names in the order they were echoed."""
    warnings: list[int] = attrs.field(factory=list)
    """Codes such as 31951: once a stream each."""
    close_code: int | None = None
    ended_by: str = ""
    closed: float = math.inf


class MediaStream:
    """One stream over an open socket, from `connected` to its end."""

    def __init__(self, socket: StreamSocket, log: StreamLog, person: Person, faults: StreamFaults) -> None:
        self.log = log
        self._socket = socket
        self._person = person
        self._faults = faults
        self._sequence = 0
        self._chunk = 0
        self._changed = trio.Event()
        self._reach, self._reached = trio.open_memory_channel[tuple[float, str]](math.inf)
        """Marks and when they go back."""
        self._whose = {"accountSid": "", "callSid": ""}

    async def run(self, account_sid: str, call_sid: str, parameters: dict[str, str]) -> None:
        """Until the server closes, the person hangs up or the connection is cut; `log.ended_by` says which."""
        self.log.opened = trio.current_time()
        self._whose = {"accountSid": account_sid, "callSid": call_sid}
        try:
            await self._socket.send(json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"}))
            start = {
                **self._whose,
                "streamSid": self.log.stream_sid,
                "tracks": ["inbound"],
                "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
                "customParameters": parameters,
            }
            await self._send("start", start=start)
            self.log.opened = trio.current_time()
            async with trio.open_nursery() as nursery:
                for task in (self._speak, self._press, self._watch, self._echo, self._inject, self._hang_up, self._cut):
                    nursery.start_soon(self._until_closed, task, nursery)
                await self._until_closed(self._listen, nursery)
        except StreamClosed as closed:
            self._closed(closed)
        self.log.playback.until(trio.current_time())

    async def _until_closed(self, task: Any, nursery: trio.Nursery) -> None:
        try:
            await task(nursery)
        except StreamClosed as closed:
            self._closed(closed)
            nursery.cancel_scope.cancel("the stream is closed")

    def _closed(self, closed: StreamClosed) -> None:
        if not self.log.ended_by:
            self.log.ended_by, self.log.close_code = "server", closed.code

    # ------------------------------------------------------------ to the server

    async def _speak(self, _: trio.Nursery) -> None:
        """A frame every 20 ms, by the clock and not by the last one."""
        start = trio.current_time()
        number = 0
        while True:
            await trio.sleep_until(start + number * FRAME_MS / 1000)
            now = trio.current_time()
            self._play(now)
            self._person.hear(self.log.playback.busy)
            audio = self._with_echo(self._person.frame(), now)
            timestamp = FIRST_TIMESTAMP_MS + number * FRAME_MS
            number += 1
            self._chunk += 1
            if self._faults.gap_at <= now - start < self._faults.gap_at + self._faults.gap_seconds:
                continue
            self.log.frames_sent += 1
            media = {"track": "inbound", "chunk": str(self._chunk), "timestamp": str(timestamp)}
            await self._send("media", media={**media, "payload": to_base64(audio)})

    def _with_echo(self, audio: bytes, now: float) -> bytes:
        if not self._faults.line_echo_gain:
            return audio
        begin = now - len(audio) / BYTES_PER_SECOND - self._faults.line_echo_delay
        back = decode(self.log.playback.played_from(begin, len(audio)))
        gain = self._faults.line_echo_gain
        return encode(round(own + gain * echo) for own, echo in zip(decode(audio), back, strict=True))

    async def _press(self, _: trio.Nursery) -> None:
        async for digit in self._person.keys:
            await self._send("dtmf", dtmf={"track": "inbound_track", "digit": digit})

    async def _inject(self, _: trio.Nursery) -> None:
        for at, message in self._faults.inject:
            await trio.sleep_until(self.log.opened + at)
            await self._socket.send(message)

    async def _hang_up(self, nursery: trio.Nursery) -> None:
        await self._person.gone.wait()
        self.log.ended_by = "caller"
        await self._send("stop", stop=self._whose)
        await self._socket.close()
        nursery.cancel_scope.cancel("the caller hung up")

    async def _cut(self, nursery: trio.Nursery) -> None:
        await trio.sleep(self._faults.drop_after or math.inf)
        self.log.ended_by = "cut"
        await self._socket.drop()
        nursery.cancel_scope.cancel("the connection was cut")

    async def _send(self, event: str, **fields: Any) -> None:
        self._sequence += 1
        message = {
            "event": event,
            "sequenceNumber": str(self._sequence),
            "streamSid": self.log.stream_sid,
            **fields,
        }
        await self._socket.send(json.dumps(message))

    # ------------------------------------------------------------ from the server

    async def _listen(self, _: trio.Nursery) -> None:
        while True:
            message = await self._socket.receive()
            now = trio.current_time()
            self._play(now)
            event = understood(message, self.log.stream_sid)
            if isinstance(event, int):
                self._warn(event)
                continue
            kind = event["event"]
            self.log.messages.append((now, kind))
            if kind == "media":
                self._media(event["media"]["payload"], now)
            elif kind == "mark":
                if self.log.playback.mark(event["mark"]["name"]):
                    self._mark([event["mark"]["name"]], now)
            else:
                self.log.clears.append((now, self.log.playback.played))
                self._mark(self.log.playback.clear(), now)
            self._changed.set()

    def _media(self, payload: str, now: float) -> None:
        audio = base64.b64decode(payload)
        if self.log.first_audio_ms is None:
            self.log.first_audio_ms = (now - self.log.opened) * 1000
        if not self.log.playback.put(audio, now):
            self._warn(31931)

    def _warn(self, code: int) -> None:
        if code not in self.log.warnings:
            self.log.warnings.append(code)

    # ------------------------------------------------------------ playback

    async def _watch(self, _: trio.Nursery) -> None:
        """Notices marks the moment they are reached."""
        while True:
            self._changed = trio.Event()
            due = self.log.playback.next_mark_at()
            with trio.move_on_at(math.inf if due is None else due):
                await self._changed.wait()
            self._play(trio.current_time())

    async def _echo(self, _: trio.Nursery) -> None:
        """Sends marks back, in the order they were reached, unless they are to be swapped."""
        async for due, name in self._reached:
            await trio.sleep_until(due)
            names = [name]
            if self._faults.echo_swapped:
                with trio.move_on_after(SWAPPED_WITHIN):
                    names.insert(0, (await self._reached.receive())[1])
            for each in names:
                await self._echoed(each)

    async def _echoed(self, name: str) -> None:
        self.log.marks.append(name)
        await self._send("mark", mark={"name": name})

    def _play(self, now: float) -> None:
        self._mark(self.log.playback.until(now), now)

    def _mark(self, names: list[str], now: float) -> None:
        for name in names:
            due = now + self._faults.echo_delay
            if every := self._faults.echo_every:
                due = math.ceil(due / every) * every
            self._reach.send_nowait((due, name))


def understood(message: str | bytes, stream_sid: str) -> dict[str, Any] | int:
    """The message, if it has exactly the fields it must have; else the code of the warning."""
    if isinstance(message, bytes):
        return 31950
    try:
        event = json.loads(message)
        kind = event["event"]
        good = set(event) == _FIELDS[kind] and event["streamSid"] == stream_sid
        inner = {"media": "payload", "mark": "name"}.get(kind)
        if inner is not None:
            good = good and set(event[kind]) == {inner} and isinstance(event[kind][inner], str)
        if kind == "media":
            base64.b64decode(event[kind][inner], validate=True)
    except (ValueError, KeyError, TypeError, RecursionError):
        return 31951
    return event if good else 31951
