"""The flight recorder of one call: what came in through its doors and what it did, with times, in little memory, never aloud.

It stands in the doors: the ports of the call pass through it, and the notes of its notebook. The caller's voice is not kept,
only how loud each frame was; of the agent's speech only how much there was; telephone numbers are hidden as they are written
(`flight_mask.py`). What is written can be replayed (`replay.py`); the format is in `flight_file.py`.

There is a bound (`PACKED_AT_MOST`, `TEXT_AT_MOST`). Who has lost the beginning can replay nothing, so it is the end that is not
recorded: when the bound is reached recording stops, and the file says when.
"""

import contextlib
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import cast

import attrs
import msgspec
import trio

from actors.call import CallPlan
from actors.call_state import DIGITS_AT_MOST, DIGITS_PAUSE
from actors.line_ear import Line, LinePort
from actors.messages import (
    CallerAudio,
    CallerWords,
    CarrierEvent,
    ItemEnded,
    KeyPressed,
    MarkEchoed,
    ModelCommand,
    ModelEvent,
    ReplyAudio,
    ReplyEnded,
    ReplyWords,
)
from actors.mulaw import BYTES_PER_MS, loudness
from actors.notebook import Listener
from actors.ports import CarrierGone, CarrierPort, ErrandPort, ModelGone, ModelPort, ModelSession
from conf.flow import PythonTool
from transport.flight_file import IN, OUT, Head, pack
from transport.flight_mask import hide, hide_in, hide_in_pieces

PACKED_AT_MOST = 256 * 1024
"""Bytes of a recording, packed: twenty minutes in which somebody speaks all the time."""
TEXT_AT_MOST = 8 * 1024 * 1024
"""Bytes before they were packed."""
PIECE = 16 * 1024
"""Bytes that are packed together: a fifth of a millisecond of work."""
FRAMES_A_LINE = 500
"""Frames of the caller's in one line: ten seconds."""
OFF_BEAT = 0.03
"""Seconds that a frame may be early or late and still go with those before it."""
BLOCKED = 0.02
"""Seconds that a message to the model may wait for the connection without its being told."""
LEVELS = (0, 1, 2, 3, 4, 5, 6, 8, 11, 16, 23, 32, 45, 64, 90, 128, 181)
"""How loud a frame is, in steps; fine where it is decided whether it is speech."""
LINE_AT_MOST = 64 * 1024
"""Bytes of one line; what is longer is nothing that belongs into a call, and the recording ends before it."""
HELD_AT_MOST, PIECES_AT_MOST = 4, 400
"""Texts that are held until they are whole, and pieces of each."""

_LEVEL = bytes(max(level for level in LEVELS if level <= loud) for loud in range(256))


@attrs.define
class _Voice:
    """Frames of the caller's that came one after the other, at the speed of sound."""

    at: float
    ms: int
    frames: int = 0
    runs: list[int] = attrs.field(factory=list[int])
    """Level and number, in turn."""

    def add(self, level: int) -> None:
        """One more."""
        self.frames += 1
        if self.runs and self.runs[-2] == level:
            self.runs[-1] += 1
        else:
            self.runs += (level, 1)


@attrs.define
class _Speech:
    """Frames of the agent's since the last item began, or since the last clear."""

    at: float
    until: float
    size: int = 0


class FlightRecorder:
    """Records one call, from now on. `carrier`, `model`, `errands`, `plan`, `listener` give what the call is to be made with."""

    def __init__(self, head: Head, *, packed_at_most: int = PACKED_AT_MOST, text_at_most: int = TEXT_AT_MOST) -> None:
        self.began = trio.current_time()
        self._lines = bytearray(msgspec.json.encode(_hidden_head(head)) + b"\n")
        self._packed: list[bytes] = []
        self._size = 0
        self._text = 0
        self._packed_at_most, self._text_at_most = packed_at_most, text_at_most
        self._cut: float | None = None
        self._stopping = False
        self._left_out = 0
        self._voice: _Voice | None = None
        self._speech: _Speech | None = None
        self._words: dict[str, list[tuple[float, list[object], str]]] = {}
        """Words that come in pieces, held until they are whole: a number may go across them."""
        self._keys: list[tuple[float, int, str]] = []
        """Keys that follow each other closely, held for the same reason."""
        self._numbers = 0

    # ------------------------------------------------------------ what the call is made with

    def carrier(self, inner: CarrierPort) -> CarrierPort:
        """The media stream, overheard."""
        return _Carrier(self, inner)

    def model(self, inner: ModelPort) -> ModelPort:
        """The way to the model, overheard."""
        return _Model(self, inner)

    def errands(self, inner: ErrandPort) -> ErrandPort:
        """Who carries errands out, overheard."""
        return _Errands(self, inner)

    def ear(self, inner: LinePort) -> LinePort:
        """The ear on the caller's line, overheard: what it hears is in the sound, which is not kept."""
        return _Ear(self, inner)

    def plan(self, plan: CallPlan) -> CallPlan:
        """The plan, with the flow's own tools overheard: they go through no port."""
        flow = plan.rules.flow
        if not flow.tools:
            return plan
        tools = {name: attrs.evolve(tool, run=self._tool(tool)) for name, tool in flow.tools.items()}
        return attrs.evolve(plan, rules=attrs.evolve(plan.rules, flow=attrs.evolve(flow, tools=tools)))

    def listener(self, inner: Listener | None) -> Listener:
        """Who is told of the notes."""

        def listen(what: str, values: dict[str, object]) -> None:
            self._note(what, values)
            if inner is not None:
                inner(what, values)

        return listen

    # ------------------------------------------------------------ writing

    def now(self) -> float:
        """Seconds since the call began."""
        return trio.current_time() - self.began

    def write(
        self, way: str, lane: str, what: str, value: object, at: float | None = None, *, harmless: bool = False
    ) -> None:
        """One line; `value` is plain data, or made of our messages; `harmless`: there is nothing in it to be hidden."""
        if self._cut is not None:
            self._left_out += 1
            return
        at = trio.current_time() - self.began if at is None else at
        try:
            plain = value if harmless else hide_in(msgspec.to_builtins(value, enc_hook=str, str_keys=True))
            line = msgspec.json.encode((round(at, 4), way, lane, what, plain))
        except (TypeError, ValueError, RecursionError):  # what a tool gave back, or its error: no text, or no end
            self._left_out += 1
            return
        if len(line) > LINE_AT_MOST:
            self._stop()
            return
        self._lines += line
        self._lines += b"\n"
        if len(self._lines) >= PIECE:
            self._pack()
            if self._size + PIECE > self._packed_at_most or self._text + PIECE > self._text_at_most:
                self._stop()

    def _stop(self) -> None:
        """The bound is reached: what is under way is written down, and no more."""
        if not self._stopping:
            self._stopping = True
            self._all_over()
            self._cut = self.now()

    def _all_over(self) -> None:
        self._keys_over()
        self._voice_over()
        self._speech_over()
        for key in list(self._words):
            self._words_over(key)

    def _pack(self) -> None:
        self._packed.append(pack(bytes(self._lines)))
        self._size += len(self._packed[-1])
        self._text += len(self._lines)
        self._lines.clear()

    def finish(self) -> bytes:
        """The recording, as it is written to a file. Nothing is recorded from here on."""
        self._all_over()
        end = {"end": round(self.now(), 6), "cut": self._cut, "left_out": self._left_out}
        self._cut = self.now()
        self._lines += msgspec.json.encode(end) + b"\n"
        self._pack()
        return b"".join(self._packed)

    @property
    def size(self) -> int:
        """Bytes of memory that the recording takes now, its objects left out."""
        return self._size + len(self._lines)

    def number(self) -> int:
        """Another number, for what is begun and comes back."""
        self._numbers += 1
        return self._numbers

    # ------------------------------------------------------------ the carrier

    def heard(self, event: CarrierEvent, sent: int) -> None:
        """Something came from the carrier, when it had been sent so many marks and clears."""
        if isinstance(event, CallerAudio):
            self._frame(event.audio)
        elif isinstance(event, MarkEchoed):
            self.write(IN, "carrier", "mark", (sent, event.name), harmless=True)
        elif isinstance(event, KeyPressed):
            self._key(sent, event.digit)
        else:
            self.write(IN, "carrier", "stop", (sent, ""))

    def _key(self, sent: int, digit: str) -> None:
        now = self.now()
        if self._keys and (now - self._keys[-1][0] > DIGITS_PAUSE or len(self._keys) >= DIGITS_AT_MOST):
            self._keys_over()
        self._keys.append((now, sent, digit))
        if not digit.isdigit():
            self._keys_over()

    def _keys_over(self) -> None:
        keys, self._keys = self._keys, []
        hidden = hide("".join(digit for _, _, digit in keys))
        for (at, sent, _), digit in zip(keys, hidden, strict=True):
            self.write(IN, "carrier", "key", (sent, digit), at)

    def _frame(self, audio: bytes) -> None:
        if self._cut is not None:
            self._left_out += 1
            return
        now = trio.current_time() - self.began
        ms = len(audio) // BYTES_PER_MS
        voice = self._voice
        if (
            voice is None
            or voice.ms != ms
            or voice.frames >= FRAMES_A_LINE
            or not -OFF_BEAT <= now - voice.at - voice.frames * ms / 1000 <= OFF_BEAT
        ):
            self._voice_over()
            self._voice = voice = _Voice(now, ms)
        voice.add(_LEVEL[loudness(audio)])

    def _voice_over(self) -> None:
        if voice := self._voice:
            self._voice = None
            self.write(IN, "carrier", "voice", (voice.ms, voice.runs), voice.at, harmless=True)

    def spoken(self, size: int) -> None:
        """A frame of the agent's goes out."""
        now = trio.current_time() - self.began
        if self._speech is None:
            self._speech = _Speech(now, now)
        self._speech.until = now
        self._speech.size += size

    def speech_over(self, what: str = "", value: object = None) -> None:
        """Frames that follow are others; `what` is the reason, if it is to be told."""
        self._speech_over()
        if what:
            self.write(OUT, "carrier", what, value)

    def _speech_over(self) -> None:
        if speech := self._speech:
            self._speech = None
            self.write(OUT, "carrier", "frames", (speech.size, round(speech.until - speech.at, 4)), speech.at)

    # ------------------------------------------------------------ the model

    def came(self, connection: int, sent: int, event: ModelEvent) -> None:
        """Something came from the model, when it had been sent so many commands."""
        if isinstance(event, ReplyAudio):
            about = (connection, sent, event.reply, event.item, len(event.audio))
            self.write(IN, "model", "ReplyAudio", about, harmless=True)
            return
        if isinstance(event, ReplyWords):
            self._piece(f"{event.reply} {event.item}", [connection, sent, "ReplyWords", event.reply, event.item], event)
            return
        if isinstance(event, CallerWords):
            if not event.final:
                self._piece(f" {event.item}", [connection, sent, "CallerWords", event.item], event)
                return
            self._words_over(f" {event.item}")
        elif isinstance(event, ItemEnded):
            self._words_over(f"{event.reply} {event.item}")
        elif isinstance(event, ReplyEnded):
            for key in [key for key in self._words if key.startswith(f"{event.reply} ")]:
                self._words_over(key)
        self.write(IN, "model", type(event).__name__, (connection, sent, event))

    def _piece(self, key: str, about: list[object], event: ReplyWords | CallerWords) -> None:
        pieces = self._words.setdefault(key, [])
        pieces.append((self.now(), about, event.text[:LINE_AT_MOST]))
        if len(pieces) >= PIECES_AT_MOST:
            self._words_over(key)
        elif len(self._words) > HELD_AT_MOST:
            self._words_over(next(iter(self._words)))

    def _words_over(self, key: str) -> None:
        pieces = self._words.pop(key, [])
        hidden = hide_in_pieces([text for _, _, text in pieces])
        for (at, (connection, sent, kind, *names), _), text in zip(pieces, hidden, strict=True):
            self.write(IN, "model", f"{kind}", (connection, sent, *names, text), at, harmless=True)

    # ------------------------------------------------------------ tools and notes

    def _tool(self, tool: PythonTool) -> Callable[..., Awaitable[object]]:
        async def run(**arguments: object) -> object:
            number = self.number()
            self.write(OUT, "errands", "tool", (number, tool.name, arguments))
            try:
                result = await tool.run(**arguments)
            except Exception as error:
                self.write(IN, "errands", "raised", (number, type(error).__name__, str(error)))
                raise
            self.write(IN, "errands", "came", (number, result))
            return result

        return run

    def _note(self, what: str, values: Mapping[str, object]) -> None:
        if what == "carrier_gone":
            self.write(IN, "call", "carrier_gone", (values["reason"], values["lost"]))
        elif what == "move_away":
            self.write(IN, "call", "move_away", None)
        elif what == "item_began":
            self.speech_over("began", values["item"])
        elif what == "item_heard":
            self.write(OUT, "carrier", "heard", (values["item"], values["heard_ms"], values["interrupted"]))
        elif what == "state":
            self.write(OUT, "flow", "state", values["state"])
        elif what == "trouble":
            self.write(OUT, "flow", "trouble", (values["kind"], values["text"]))
        elif what == "ended":
            self.write(OUT, "flow", "ended", (values["disposition"], values["reason"]))


def _hidden_head(head: Head) -> Head:
    return msgspec.structs.replace(
        head,
        caller=cast("str", hide_in(head.caller)),
        called=cast("str", hide_in(head.called)),
        story=cast("dict[str, object] | None", hide_in(head.story)),
        settings=cast("dict[str, dict[str, object]]", hide_in(head.settings)),
    )


# ---------------------------------------------------------------- the doors


class _Carrier:
    def __init__(self, recorder: FlightRecorder, inner: CarrierPort) -> None:
        self._recorder = recorder
        self._inner = inner
        self._sent = 0

    async def receive(self) -> CarrierEvent:
        try:
            event = await self._inner.receive()
        except CarrierGone as gone:
            self._recorder.write(IN, "carrier", "lost", (self._sent, str(gone)))
            raise
        self._recorder.heard(event, self._sent)
        return event

    @property
    def more(self) -> bool:
        return self._inner.more

    async def send_frame(self, audio: bytes) -> None:
        self._recorder.spoken(len(audio))
        await self._to(self._inner.send_frame(audio))

    async def send_mark(self, name: str) -> None:
        self._sent += 1
        self._recorder.write(OUT, "carrier", "mark", name, harmless=True)
        await self._to(self._inner.send_mark(name))

    async def send_clear(self) -> None:
        self._sent += 1
        self._recorder.speech_over("clear")
        await self._to(self._inner.send_clear())

    async def close(self) -> None:
        self._recorder.speech_over("close")
        await self._inner.close()

    async def _to(self, sending: Awaitable[None]) -> None:
        try:
            await sending
        except CarrierGone as gone:
            self._recorder.write(IN, "carrier", "deaf", (self._sent, str(gone)))
            raise


class _Ear:
    def __init__(self, recorder: FlightRecorder, inner: LinePort) -> None:
        self._recorder = recorder
        self._inner = inner

    @property
    def line(self) -> Line:
        return self._inner.line

    def plays(self, audio: bytes, at: float) -> None:
        self._inner.plays(audio, at)

    def hears(self, audio: bytes, now: float) -> Line:
        before, line = self._inner.line, self._inner.hears(audio, now)
        if line != before:
            flags = (line.voice_ms, line.goes_on, line.foreign, line.settled, line.echoes, line.steady)
            self._recorder.write(
                IN, "line", "heard", (*map(self._since, (line.began, line.until)), *flags), harmless=True
            )
        return line

    def rests(self, audio: bytes, now: float) -> None:
        self._inner.rests(audio, now)

    def misses(self, seconds: float) -> None:
        self._inner.misses(seconds)

    def only_echo(self, now: float) -> bool | None:
        only = self._inner.only_echo(now)
        self._recorder.write(IN, "line", "only_echo", only, harmless=True)
        return only

    def _since(self, at: float) -> float | None:
        return round(at - self._recorder.began, 4) if at > -math.inf else None


class _Model:
    def __init__(self, recorder: FlightRecorder, inner: ModelPort) -> None:
        self._recorder = recorder
        self._inner = inner
        self._connections = 0

    @property
    def endpoints(self) -> int:
        return self._inner.endpoints

    def connect(self, endpoint: int, name: str = "") -> AbstractAsyncContextManager[ModelSession]:
        self._connections += 1
        return self._connect(self._connections, endpoint, name)

    @contextlib.asynccontextmanager
    async def _connect(self, connection: int, endpoint: int, name: str) -> AsyncIterator[ModelSession]:
        write = self._recorder.write
        write(OUT, "model", "connect", (connection, endpoint))
        session: _Session | None = None
        raised: BaseException | None = None
        try:
            async with self._inner.connect(endpoint, name) as opened:
                session = _Session(self._recorder, opened, connection)
                write(IN, "model", "opened", (connection, 0))
                try:
                    yield session
                except BaseException as error:
                    raised = error
                    raise
                finally:
                    write(OUT, "model", "close", connection)
        except BaseException as error:
            own = _gone_in(raised)
            for gone in _gone_in(error):  # what the call itself raised is no news from the model
                if session is None:
                    write(IN, "model", "failed", (connection, 0, gone.reason, gone.fatal))
                elif not any(gone is other for other in own):
                    session.lost(gone)
            raise
        finally:
            if session is not None:
                write(IN, "model", "closed", (connection, session.sent))


class _Session:
    def __init__(self, recorder: FlightRecorder, inner: ModelSession, connection: int) -> None:
        self._recorder = recorder
        self._inner = inner
        self._connection = connection
        self.sent = 0

    async def receive(self) -> ModelEvent:
        try:
            event = await self._inner.receive()
        except ModelGone as gone:
            self.lost(gone)
            raise
        self._recorder.came(self._connection, self.sent, event)
        return event

    async def send(self, command: ModelCommand) -> None:
        self.sent += 1
        self._recorder.write(OUT, "model", type(command).__name__, (self._connection, command))
        await self._to("send", self._inner.send(command))

    def append_now(self, payload: str) -> bool:
        return self._inner.append_now(payload)

    async def append(self, payloads: list[str], silence_ms: int) -> None:
        await self._to("append", self._inner.append(payloads, silence_ms))

    async def _to(self, what: str, sending: Awaitable[None]) -> None:
        """Sends; if that had to wait it is told for how long, None if it was given up."""
        began, given_up = self._recorder.now(), False
        try:
            await sending
        except ModelGone as gone:
            self.lost(gone)
            raise
        except trio.Cancelled:
            given_up = True
            raise
        finally:
            if (took := self._recorder.now() - began) >= BLOCKED:
                about = (self._connection, self.sent, what, None if given_up else round(took, 4))
                self._recorder.write(IN, "model", "blocked", about, began, harmless=True)

    def lost(self, gone: ModelGone) -> None:
        self._recorder.write(IN, "model", "lost", (self._connection, self.sent, gone.reason, gone.fatal))


class _Errands:
    def __init__(self, recorder: FlightRecorder, inner: ErrandPort) -> None:
        self._recorder = recorder
        self._inner = inner

    async def send_text(self, call_sid: str, key: str, to: str, text: str) -> tuple[str, Mapping[str, object]]:
        number = self._begun("send_text", key, to, text)
        came = await self._inner.send_text(call_sid, key, to, text)
        self._recorder.write(IN, "errands", "came", (number, came))
        return came

    async def claim(self, call_sid: str, key: str, kind: str) -> bool:
        number = self._begun("claim", key, kind)
        came = await self._inner.claim(call_sid, key, kind)
        self._recorder.write(IN, "errands", "came", (number, came))
        return came

    async def settle(self, call_sid: str, key: str, outcome: str, result: Mapping[str, object] | None = None) -> None:
        number = self._begun("settle", key, outcome)
        await self._inner.settle(call_sid, key, outcome, result)
        self._recorder.write(IN, "errands", "came", (number, None))

    async def came(self, call_sid: str, key: str) -> tuple[str, Mapping[str, object]]:
        number = self._begun("ask", key)
        came = await self._inner.came(call_sid, key)
        self._recorder.write(IN, "errands", "came", (number, came))
        return came

    def _begun(self, what: str, *words: str) -> int:
        number = self._recorder.number()
        # What stands behind a # is made of arguments, which are not recorded as they were.
        self._recorder.write(OUT, "errands", what, (number, words[0].partition("#")[0], *words[1:]))
        return number


def _gone_in(error: BaseException | None) -> list[ModelGone]:
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return [gone for inner in group.exceptions for gone in _gone_in(inner)]
    return [error] if isinstance(error, ModelGone) else []
