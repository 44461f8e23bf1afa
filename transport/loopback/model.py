"""The loopback model: a server that speaks the Realtime API (GA) and refuses what the real one refuses.

One `_Session` a connection: it reads events and answers; every reply is a task. What it sends goes through one bounded
queue and one writer, so reading never waits for a slow client.
"""

import base64
import json
import math
import random
import ssl
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import parse_qs

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream

from actors.mulaw import BYTES_PER_MS
from transport.loopback import session as sessions
from transport.loopback.conversation import Conversation
from transport.loopback.problems import Problem, invalid, missing, wrong_type
from transport.loopback.replies import Replies
from transport.loopback.script import Brain, Faults, Prompted, Script, Transcript
from transport.loopback.session_log import SessionLog
from transport.loopback.voice_activity import Started, VoiceActivity

QUEUE = 4096
"""Events that may wait for a client that does not read; then the connection is given up."""
ASKED_WITHIN = 20.0
"""Seconds in which a client must ask for its session."""
COMMIT_AT_LEAST_MS = 100
PCM_BYTES_PER_MS = 48
"""Of 24 kHz PCM."""
LOG_AT_MOST = 2000
UNINTELLIGIBLE = {
    "type": "transcription_error",
    "code": "audio_unintelligible",
    "message": "The audio could not be transcribed.",
    "param": None,
}
SURE = 0.9
"""How sure the transcriber is of a word, unless the script says otherwise."""
T = TypeVar("T")


class LoopbackModel:
    """The server. `sessions` holds the log of each connection; a brain may be given instead of a script.

    `script` and `faults` may be several, one for each connection in turn; the last one holds for all that come after.
    """

    def __init__(
        self,
        script: Script | Sequence[Script] | None = None,
        *,
        brain: Brain | None = None,
        faults: Faults | Sequence[Faults] | None = None,
        api_key: str = "sk-loopback",
        seed: int = 0,
    ) -> None:
        self.sessions: list[SessionLog] = []
        self.wall_clock: Callable[[], float] = time.time
        """Unix time, in which a session says when it will end. A world has its own."""
        self.refused: list[float] = []
        """When a connection was refused by a fault."""
        self._scripts = deque([script] if isinstance(script, Script) else script or [Script()])
        self._brain = brain
        self._faults = deque([faults] if isinstance(faults, Faults) else faults or [Faults()])
        self._api_key = api_key
        self._random = random.Random(seed)

    async def serve(
        self,
        port: int = 0,
        *,
        ssl_context: ssl.SSLContext | None = None,
        task_status: "trio.TaskStatus[int]" = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Listens on 127.0.0.1 until cancelled; reports the port."""
        listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, self._secured(ssl_context), listeners)
            task_status.started(listeners[0].socket.getsockname()[1])

    def _secured(self, ssl_context: ssl.SSLContext | None) -> Callable[[trio.SocketStream], Any]:
        async def handle(stream: trio.SocketStream) -> None:
            secured = trio.SSLStream(stream, ssl_context, server_side=True) if ssl_context else stream
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self.handle_stream(secured)

        return handle

    async def handle_stream(self, stream: trio.abc.Stream) -> None:
        """One connection over any stream, until it is closed or given up."""
        faults, script = _next(self._faults), _next(self._scripts)
        if faults.silent_accept:
            await trio.sleep_forever()
        async with trio.open_nursery() as nursery:
            try:
                with trio.fail_after(ASKED_WITHIN):  # trio-websocket waits for ever for who goes without a word
                    request = await wrap_server_stream(nursery, stream)
                if faults.refuse_status:
                    self.refused.append(trio.current_time())
                    await request.reject(faults.refuse_status)
                else:
                    headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in request.headers}
                    log = SessionLog(request.path, headers, trio.current_time())
                    self.sessions.append(log)
                    await self._converse(await request.accept(), stream, log, faults, script)
            except* (ConnectionClosed, OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
                pass  # the client is gone, or was given up by a fault of ours
            nursery.cancel_scope.cancel("the connection is over")
        await trio.aclose_forcefully(stream)  # a client that was given up is not told by a close frame

    async def _converse(
        self, socket: WebSocketConnection, stream: trio.abc.Stream, log: SessionLog, faults: Faults, script: Script
    ) -> None:
        brain = self._brain or script.brain()
        ends_at = self.wall_clock() + faults.session_seconds
        session = _Session(log, faults, brain, script, random.Random(self._random.random()), ends_at)
        if refusal := _refusal(log, self._api_key):
            code, close_code = refusal
            session.error(Problem(code, None, f"The connection is refused: {code}."))
            await socket.send_message(session.outgoing.receive_nowait())
            await socket.aclose(close_code, f"invalid_request_error.{code}")
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.write, socket)
            nursery.start_soon(session.misbehave, socket, stream)
            nursery.start_soon(session.inject, socket)
            try:
                await session.read(socket, nursery)
            finally:
                nursery.cancel_scope.cancel("the client is gone")


def _next(turns: deque[T]) -> T:
    """Whose turn it is; the last one has all that come after."""
    return turns.popleft() if len(turns) > 1 else turns[0]


def _refusal(log: SessionLog, api_key: str) -> tuple[str, int] | None:
    """Error code and close code for a connection that is refused in-band, after the upgrade."""
    model = _model_asked(log.path)
    if log.headers.get("authorization") != f"Bearer {api_key}" and log.headers.get("api-key") != api_key:
        return "invalid_api_key", 3000
    if "openai-beta" in log.headers:
        return "beta_api_shape_disabled", 4000
    if not model:
        return "missing_model", 4000
    return None if model.startswith("gpt-realtime") else ("invalid_model", 4000)


def _model_asked(path: str) -> str:
    """The model that the path of a connection names; empty if it names none."""
    return parse_qs(path.partition("?")[2]).get("model", [""])[0]


class _Session:
    """One conversation: the events of a client and what follows from them."""

    def __init__(
        self, log: SessionLog, faults: Faults, brain: Brain, script: Script, rng: random.Random, ends_at: float
    ) -> None:
        self.log = log
        self._faults = faults
        self._said, self._sure, self._writer = script.said, script.sure, script.writer
        self._random = rng
        self._send, self.outgoing = trio.open_memory_channel[str](QUEUE)
        self._stalled = False
        """Whether nothing is sent any more."""
        model = _model_asked(log.path)
        self._opened = trio.current_time()
        self._session = sessions.new_session(self.new_id("sess"), model, int(ends_at))
        turns = self._session["audio"]["input"]["turn_detection"]
        self._voice = VoiceActivity(turns, faults.voice_after_ms // 20, script.hears)
        self._buffered = 0
        """What was appended since the last commit, in bytes of 24 kHz PCM."""
        self._turn = 0
        self._turn_item = ""
        self._turn_from = 0
        """Where in the log's audio the turn begins."""
        self._nursery: trio.Nursery
        self.conversation = Conversation(log, self.emit, self.new_id)
        self.replies = Replies(self, faults, brain)

    # ------------------------------------------------------------ what others of this package may use

    @property
    def pcmu(self) -> bool:
        """Whether the speech is sent as µ-law (else as silence in 24 kHz PCM, of the same length)."""
        return bool(self._session["audio"]["output"]["format"]["type"] == "audio/pcmu")

    def new_id(self, kind: str) -> str:
        """A fresh id such as item_….; at most 32 characters."""
        return f"{kind}_{self._random.getrandbits(80):020x}"

    def emit(self, kind: str, **fields: Any) -> None:
        """Sends an event; a client that leaves too many of them unread is given up."""
        if self._stalled:
            if item := fields.get("item_id"):
                self.log.unsent.add(item)
            return
        if self._faults.odd_events:
            fields["obfuscation"] = "x" * self._random.randrange(8)
        event = {"type": kind, "event_id": self.new_id("event"), **fields}
        try:
            self._send.send_nowait(json.dumps(event))
        except trio.WouldBlock:
            self._stalled = True
            self._nursery.cancel_scope.cancel("the client does not read")

    def error(self, problem: Problem, event_id: Any = None) -> None:
        """Tells the client that an event was refused."""
        self.log.errors.append(problem.code)
        named = event_id if isinstance(event_id, str) else None
        detail = {"type": "invalid_request_error", "code": problem.code, "message": problem.message}
        self.emit("error", error={**detail, "param": problem.param, "event_id": named})

    # ------------------------------------------------------------ tasks

    async def write(self, socket: WebSocketConnection) -> None:
        """The only writer."""
        async for text in self.outgoing:
            await socket.send_message(text)

    async def misbehave(self, socket: WebSocketConnection, stream: trio.abc.Stream) -> None:
        """Carries out the faults that have a time, and the end of the session, in the order of their times."""

        async def expire() -> None:
            self.error(Problem("session_expired", None, "Your session hit the maximum duration of 60 minutes."))
            await trio.sleep(0.02)  # the error goes out before the close
            await socket.aclose(1001, "session_expired")

        async def stall() -> None:
            self._stalled = True
            await trio.lowlevel.checkpoint()

        async def drop() -> None:
            await trio.aclose_forcefully(stream)

        async def close() -> None:
            await socket.aclose(self._faults.close_code, "")

        began, faults = trio.current_time(), self._faults
        ends = ((faults.stall_after_ms, stall), (faults.drop_after_ms, drop), (faults.close_after_ms, close))
        timed: list[tuple[float, Callable[[], Awaitable[None]]]] = [(faults.session_seconds, expire)]
        timed += [(ms / 1000, end) for ms, end in ends if ms]
        for at, act in sorted(timed, key=lambda one: one[0]):
            await trio.sleep_until(began + at)
            await act()

    async def inject(self, socket: WebSocketConnection) -> None:
        """What no model says, in between."""
        began = trio.current_time()
        for at_ms, message in self._faults.inject:
            await trio.sleep_until(began + at_ms / 1000)
            if isinstance(message, str):
                message = message.replace("<reply>", self.replies.active or "resp_0")
                message = message.replace("<item>", self.replies.speaking or "item_0")
                message = message.replace("<turn>", self._turn_item or "item_1")
            await socket.send_message(message)

    async def read(self, socket: WebSocketConnection, nursery: trio.Nursery) -> None:
        """Until the client is gone. Raises ConnectionClosed."""
        self._nursery = nursery
        if not self._faults.mute:
            self.emit("session.created", session=self._session)
        if self._faults.odd_events:
            self.emit("session.weather", weather={"sky": "clear"})
        while True:
            message = await socket.get_message()
            if not isinstance(message, str):
                text = "Expected a text WebSocket message; binary frames are not supported."
                self.error(Problem("invalid_event", None, text))
                continue
            try:
                event = json.loads(message)
            except (ValueError, RecursionError):
                event = None
            if not isinstance(event, dict) or not isinstance(event.get("type"), str):
                self.error(Problem("invalid_json", None, "The message could not be parsed as a JSON object."))
                continue
            self._handle(event)

    # ------------------------------------------------------------ client events

    def _handle(self, event: dict[str, Any]) -> None:
        kind = event["type"]
        if kind != "input_audio_buffer.append" and len(self.log.events) < LOG_AT_MOST:
            self.log.events.append((trio.current_time(), event))
        handler = {
            "session.update": self._update,
            "input_audio_buffer.append": self._append,
            "input_audio_buffer.commit": self._commit,
            "input_audio_buffer.clear": self._clear,
            "conversation.item.create": self.conversation.create,
            "conversation.item.delete": self.conversation.delete,
            "conversation.item.retrieve": self.conversation.retrieve,
            "conversation.item.truncate": self.conversation.truncate,
            "response.create": self._create_reply,
            "response.cancel": self.replies.cancel_asked,
        }.get(kind)
        if handler is None:
            text = f"Invalid value: '{kind}' is not a supported event type."
            problem: Problem | None = Problem("invalid_value", "type", text)
        else:
            problem = handler(event)
        if problem is not None:
            self.error(problem, event.get("event_id"))

    def _update(self, event: dict[str, Any]) -> Problem | None:
        if self._faults.ignore_update:
            return None
        problem = sessions.check_update(event.get("session"), self._session, self.replies.spoke)
        if problem is not None:
            return problem
        updated = sessions.apply_update(self._session, event["session"])
        if self._faults.wrong_echo:
            updated["audio"]["output"]["format"] = {"type": "audio/pcm", "rate": 24000}
        self._session = updated
        self._voice.settings = updated["audio"]["input"]["turn_detection"]
        self.emit("session.updated", session=updated)
        return None

    def _append(self, event: dict[str, Any]) -> Problem | None:
        if "audio" not in event:
            return missing("audio")
        try:
            audio = base64.b64decode(event["audio"], validate=True)
        except (ValueError, TypeError):
            return invalid("audio", "base64")
        self._buffered += len(audio) * PCM_BYTES_PER_MS // self._bytes_per_ms
        if self._session["audio"]["input"]["format"]["type"] != "audio/pcmu":
            return None  # only µ-law is listened to: a client that forgot the format gets no turn at all
        if len(self.log.audio) < 600_000 * BYTES_PER_MS:
            self.log.audio += audio
            self.log.audio_until = trio.current_time()
        if self._deaf and not self._voice.speaking:
            return None
        for heard in self._voice.listen(audio):
            if isinstance(heard, Started):
                self._speech_started(heard.at_ms)
            else:
                self.emit("input_audio_buffer.speech_stopped", audio_end_ms=heard.at_ms, item_id=self._turn_item)
                self._committed()
                if self._flag("create_response") and not self.replies.active:
                    self._reply()  # a reply that the turn did not interrupt goes on, and no other begins
        return None

    def _speech_started(self, at_ms: int) -> None:
        self._turn_item, self._turn_from = self.new_id("item"), at_ms * BYTES_PER_MS
        self.emit("input_audio_buffer.speech_started", audio_start_ms=at_ms, item_id=self._turn_item)
        if self._flag("interrupt_response"):
            self.replies.interrupt()

    def _commit(self, _: dict[str, Any]) -> Problem | None:
        had = self._buffered / PCM_BYTES_PER_MS
        if had < COMMIT_AT_LEAST_MS:
            text = f"buffer too small. Expected at least 100ms of audio, but buffer only has {had:.2f}ms of audio."
            return Problem("input_audio_buffer_commit_empty", None, f"Error committing input audio buffer: {text}")
        if not self._voice.speaking:  # else it is the turn that had begun, and its end is not told
            self._turn_item = self.new_id("item")
            self._turn_from = max(0, len(self.log.audio) - self._buffered * BYTES_PER_MS // PCM_BYTES_PER_MS)
        self._voice.forget()
        self._committed()
        return None

    def _committed(self) -> None:
        self._turn += 1
        self._buffered = 0
        item = self._turn_item
        self.emit("input_audio_buffer.committed", previous_item_id=self.conversation.last, item_id=item)
        content = [{"type": "input_audio", "transcript": None}]
        message = {"id": item, "object": "realtime.item", "type": "message", "status": "completed", "role": "user"}
        self.conversation.add({**message, "content": content})
        if self._session["audio"]["input"]["transcription"]:
            self._nursery.start_soon(self._transcribe, item, self._turn, bytes(self.log.audio[self._turn_from :]))

    async def _transcribe(self, item: str, turn: int, audio: bytes) -> None:
        words = self._said[turn - 1] if turn <= len(self._said) else "(speech)"
        words = self._writer(audio) if self._writer else words
        several = self._faults.transcripts or (Transcript(delay_ms=self._faults.transcript_delay_ms),)
        fate = several[(turn - 1) % len(several)]
        where = {"item_id": item, "content_index": 0}
        await trio.sleep(fate.delay_ms / 2000)
        if fate.how in {"written", "torn"}:
            self.emit("conversation.item.input_audio_transcription.delta", **where, delta=words[: len(words) // 2])
        await trio.sleep(fate.delay_ms / 2000)
        if fate.how == "failed":
            self.emit("conversation.item.input_audio_transcription.failed", **where, error=UNINTELLIGIBLE)
        if fate.how in {"failed", "torn", "missing"}:
            return
        words = "" if fate.how == "empty" else words
        done: dict[str, Any] = {**where, "transcript": words, "usage": {"type": "duration", "seconds": 1}}
        if "item.input_audio_transcription.logprobs" in (self._session["include"] or ()):
            sure = math.log(self._sure[turn - 1] if turn <= len(self._sure) else SURE)
            done["logprobs"] = [
                {"token": word, "logprob": sure, "bytes": list(word.encode())} for word in words.split()
            ]
        self.emit("conversation.item.input_audio_transcription.completed", **done)

    def _clear(self, _: dict[str, Any]) -> None:
        self._buffered = 0
        self._voice.forget()
        self.emit("input_audio_buffer.cleared")

    # ------------------------------------------------------------ replies

    def _create_reply(self, event: dict[str, Any]) -> Problem | None:
        asked = event.get("response", {})
        if not isinstance(asked, dict):
            return wrong_type("response", "an object")
        if asked.get("conversation", "auto") not in ("auto", "none"):
            return invalid("response.conversation", "'auto' or 'none'")
        if not isinstance(asked.get("metadata"), dict | None):
            return wrong_type("response.metadata", "an object")
        apart = asked.get("conversation") == "none"
        if not apart and (busy := self.replies.active):
            text = (
                f"Conversation already has an active response in progress: {busy}. Wait until the response is finished."
            )
            return Problem("conversation_already_has_active_response", None, text)
        for number, item in enumerate(asked.get("input") or []):
            if item.get("type") == "item_reference" and item.get("id") not in self.log.items:
                text = f"Item with item_id not found: {item.get('id')}."
                return Problem("invalid_value", f"response.input[{number}]", text)
        self._reply(apart=apart, metadata=asked.get("metadata"))
        return None

    def _reply(self, *, apart: bool = False, metadata: Any = None) -> None:
        """Begins a reply; one apart leaves the news to the conversation's next one."""
        results, text = ((), "") if apart else self.conversation.take_news()
        prompted = Prompted(self._turn, results, text, apart, self.log.client)
        self.replies.begin(prompted, self._nursery, apart=apart, metadata=metadata)

    @property
    def _deaf(self) -> bool:
        after = self._faults.deaf_after_ms
        return after is not None and trio.current_time() >= self._opened + after / 1000

    @property
    def _bytes_per_ms(self) -> int:
        kind = self._session["audio"]["input"]["format"]["type"]
        return PCM_BYTES_PER_MS if kind == "audio/pcm" else BYTES_PER_MS

    def _flag(self, name: str) -> bool:
        turns = self._session["audio"]["input"]["turn_detection"]
        return turns is not None and bool(turns[name])
