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
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs, urlsplit

import attrs
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream

from actors.mulaw import BYTES_PER_MS
from transport.loopback import session as sessions
from transport.loopback.replies import Replies
from transport.loopback.script import Brain, Faults, Prompted, Script
from transport.loopback.voice_activity import Started, VoiceActivity

QUEUE = 4096
"""Events that may wait for a client that does not read; then the connection is given up."""
COMMIT_AT_LEAST_MS = 100
LOG_AT_MOST = 2000


@attrs.define
class SessionLog:
    """What came in on one connection and what became of it."""

    path: str
    headers: dict[str, str]
    events: list[tuple[float, dict[str, Any]]] = attrs.field(factory=list)
    """Client events but appends, with Trio's time; the first two thousand."""
    audio: bytearray = attrs.field(factory=bytearray)
    """The caller's audio as appended, µ-law bytes; the first ten minutes."""
    items: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    """The conversation, in order, as the model now has it."""
    truncations: list[tuple[str, int]] = attrs.field(factory=list)
    replies: list[tuple[str, str]] = attrs.field(factory=list)
    """Response ids and how they ended."""
    errors: list[str] = attrs.field(factory=list)
    """Codes of the errors that the client was told."""
    tool_results: list[tuple[str, str]] = attrs.field(factory=list)

    def types(self) -> list[str]:
        """The types of the client events but appends, in order."""
        return [event["type"] for _, event in self.events]


class LoopbackModel:
    """The server. `sessions` holds the log of each connection; a brain may be given instead of a script."""

    def __init__(
        self,
        script: Script | None = None,
        *,
        brain: Brain | None = None,
        faults: Faults | None = None,
        api_key: str = "sk-loopback",
        seed: int = 0,
    ) -> None:
        self.sessions: list[SessionLog] = []
        self._script = script or Script()
        self._brain = brain
        self.faults = faults or Faults()
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
        """One connection over any stream, until it is closed."""
        if self.faults.silent_accept:
            await trio.sleep_forever()
        async with trio.open_nursery() as nursery:
            try:
                request = await wrap_server_stream(nursery, stream)
                if self.faults.refuse_status:
                    await request.reject(self.faults.refuse_status)
                else:
                    headers = {k.decode().lower(): v.decode() for k, v in request.headers}
                    log = SessionLog(request.path, headers)
                    self.sessions.append(log)
                    await self._converse(await request.accept(), stream, log)
            except* (ConnectionClosed, OSError, trio.BrokenResourceError):
                pass  # the client is gone
            nursery.cancel_scope.cancel("the connection is over")

    async def _converse(self, socket: WebSocketConnection, stream: trio.abc.Stream, log: SessionLog) -> None:
        brain = self._brain or self._script.brain()
        session = _Session(log, self.faults, brain, self._script.said, random.Random(self._random.random()))
        if refusal := _refusal(log, self._api_key):
            code, close_code = refusal
            session.error(sessions.Problem(code, None, f"The connection is refused: {code}."))
            await socket.send_message(session.outgoing.receive_nowait())
            await socket.aclose(close_code, f"invalid_request_error.{code}")
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.write, socket)
            nursery.start_soon(session.misbehave, socket, stream)
            try:
                await session.read(socket, nursery)
            finally:
                nursery.cancel_scope.cancel("the client is gone")


def _refusal(log: SessionLog, api_key: str) -> tuple[str, int] | None:
    """Error code and close code for a connection that is refused in-band, after the upgrade."""
    model = parse_qs(urlsplit(log.path).query).get("model", [""])[0]
    if log.headers.get("authorization") != f"Bearer {api_key}" and log.headers.get("api-key") != api_key:
        return "invalid_api_key", 3000
    if "openai-beta" in log.headers:
        return "beta_api_shape_disabled", 4000
    if not model:
        return "missing_model", 4000
    return None if model.startswith("gpt-realtime") else ("invalid_model", 4000)


class _Session:
    """One conversation: the events of a client and what follows from them."""

    def __init__(
        self, log: SessionLog, faults: Faults, brain: Brain, said: tuple[str, ...], rng: random.Random
    ) -> None:
        self.log = log
        self._faults = faults
        self._said = said
        self._random = rng
        self._send, self.outgoing = trio.open_memory_channel[str](QUEUE)
        self._stalled = False
        self._last_item: str | None = None
        model = parse_qs(urlsplit(log.path).query).get("model", [""])[0]
        self._session = sessions.new_session(self._id("sess"), model, int(time.time() + faults.session_seconds))
        self._voice = VoiceActivity(self._session["audio"]["input"]["turn_detection"])
        self._buffered = 0
        self._turn = 0
        self._turn_item = ""
        self._results: list[str] = []
        self._text = ""
        self._nursery: trio.Nursery
        self.replies = Replies(self, faults, brain)

    # ------------------------------------------------------------ what others of this package may use

    @property
    def pcmu(self) -> bool:
        """Whether the speech is sent as µ-law (else as silence in 24 kHz PCM, of the same length)."""
        return bool(self._session["audio"]["output"]["format"]["type"] == "audio/pcmu")

    def new_id(self, kind: str) -> str:
        """A fresh id such as item_….; at most 32 characters."""
        return self._id(kind)

    def emit(self, kind: str, **fields: Any) -> None:
        """Sends an event."""
        if self._stalled:
            return
        if self._faults.odd_events:
            fields["obfuscation"] = "x" * self._random.randrange(8)
        event = {"type": kind, "event_id": self._id("event"), **fields}
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            self._send.send_nowait(json.dumps(event))

    def error(self, problem: sessions.Problem, event_id: str | None = None) -> None:
        """Tells the client that an event was refused."""
        self.log.errors.append(problem.code)
        detail = {"type": "invalid_request_error", "code": problem.code, "message": problem.message}
        self.emit("error", error={**detail, "param": problem.param, "event_id": event_id})

    def add_item(self, item: dict[str, Any], previous: str | None = None, *, done: bool = True) -> None:
        """Puts `item` into the conversation, at the end unless `previous` says where, and announces it."""
        before = self._last_item if previous is None else None if previous == "root" else previous
        if previous == "root":
            self.log.items = {item["id"]: item, **self.log.items}
        else:
            self.log.items[item["id"]] = item
            self._last_item = item["id"]
        shown = {k: v for k, v in item.items() if not k.startswith("_")}
        self.emit("conversation.item.added", previous_item_id=before, item=shown)
        if done:
            self.emit("conversation.item.done", previous_item_id=before, item=shown)

    # ------------------------------------------------------------ tasks

    async def write(self, socket: WebSocketConnection) -> None:
        """The only writer."""
        async for text in self.outgoing:
            await socket.send_message(text)

    async def misbehave(self, socket: WebSocketConnection, stream: trio.abc.Stream) -> None:
        """Carries out the faults that have a time, and the end of the session."""
        faults = self._faults
        ends = (faults.close_after_ms, faults.drop_after_ms, faults.stall_after_ms)
        first = min((ms / 1000 for ms in ends if ms), default=math.inf)
        await trio.sleep(min(first, faults.session_seconds))
        if faults.session_seconds <= first:
            problem = sessions.Problem("session_expired", None, "Your session hit the maximum duration of 60 minutes.")
            self.error(problem)
            await trio.sleep(0.02)  # the error goes out before the close
            await socket.aclose(1001, "session_expired")
        elif faults.stall_after_ms:
            self._stalled = True
        elif faults.drop_after_ms:
            await trio.aclose_forcefully(stream)
        else:
            await socket.aclose(faults.close_code, "")

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
                self.error(sessions.Problem("invalid_event", None, text))
                continue
            try:
                event = json.loads(message)
            except ValueError:
                event = None
            if not isinstance(event, dict) or not isinstance(event.get("type"), str):
                self.error(sessions.Problem("invalid_json", None, "The message could not be parsed as a JSON object."))
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
            "conversation.item.create": self._create_item,
            "conversation.item.delete": self._delete_item,
            "conversation.item.retrieve": self._retrieve_item,
            "conversation.item.truncate": self._truncate,
            "response.create": self._create_reply,
            "response.cancel": self.replies.cancel_asked,
        }.get(kind)
        if handler is None:
            text = f"Invalid value: '{kind}' is not a supported event type."
            problem: sessions.Problem | None = sessions.Problem("invalid_value", "type", text)
        else:
            problem = handler(event)
        if problem is not None:
            self.error(problem, event.get("event_id"))

    def _update(self, event: dict[str, Any]) -> sessions.Problem | None:
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

    def _append(self, event: dict[str, Any]) -> sessions.Problem | None:
        try:
            audio = base64.b64decode(event.get("audio", ""), validate=True)
        except (ValueError, TypeError):
            return sessions.Problem("invalid_value", "audio", "Invalid value for 'audio': expected base64.")
        if self._session["audio"]["input"]["format"]["type"] != "audio/pcmu":
            self._buffered += len(audio)
            return None  # read as 24 kHz PCM: a client that forgot the format gets no turn at all
        if len(self.log.audio) < 600_000 * BYTES_PER_MS:
            self.log.audio += audio
        self._buffered += len(audio)
        for heard in self._voice.listen(audio):
            if isinstance(heard, Started):
                self._speech_started(heard.at_ms)
            else:
                self.emit("input_audio_buffer.speech_stopped", audio_end_ms=heard.at_ms, item_id=self._turn_item)
                self._committed()
                if self._flag("create_response"):
                    self._reply()
        return None

    def _speech_started(self, at_ms: int) -> None:
        self._turn_item = self._id("item")
        self.emit("input_audio_buffer.speech_started", audio_start_ms=at_ms, item_id=self._turn_item)
        if self._flag("interrupt_response"):
            self.replies.interrupt()

    def _commit(self, _: dict[str, Any]) -> sessions.Problem | None:
        had = self._buffered / BYTES_PER_MS
        if had < COMMIT_AT_LEAST_MS:
            text = f"buffer too small. Expected at least 100ms of audio, but buffer only has {had:.2f}ms of audio."
            return sessions.Problem(
                "input_audio_buffer_commit_empty", None, f"Error committing input audio buffer: {text}"
            )
        self._turn_item = self._id("item")
        self._committed()
        return None

    def _committed(self) -> None:
        self._turn += 1
        self._buffered = 0
        item = self._turn_item
        self.emit("input_audio_buffer.committed", previous_item_id=self._last_item, item_id=item)
        content = [{"type": "input_audio", "transcript": None}]
        message = {"id": item, "object": "realtime.item", "type": "message", "status": "completed", "role": "user"}
        self.add_item({**message, "content": content})
        if self._session["audio"]["input"]["transcription"]:
            self._nursery.start_soon(self._transcribe, item, self._turn)

    async def _transcribe(self, item: str, turn: int) -> None:
        words = self._said[turn - 1] if turn <= len(self._said) else "(speech)"
        where = {"item_id": item, "content_index": 0}
        await trio.sleep(self._faults.transcript_delay_ms / 2000)
        self.emit("conversation.item.input_audio_transcription.delta", **where, delta=words[: len(words) // 2])
        await trio.sleep(self._faults.transcript_delay_ms / 2000)
        usage = {"type": "duration", "seconds": 1}
        self.emit("conversation.item.input_audio_transcription.completed", **where, transcript=words, usage=usage)

    def _clear(self, _: dict[str, Any]) -> None:
        self._buffered = 0
        self.emit("input_audio_buffer.cleared")

    # ------------------------------------------------------------ items

    def _create_item(self, event: dict[str, Any]) -> sessions.Problem | None:
        item, previous = event.get("item"), event.get("previous_item_id")
        if not isinstance(item, dict):
            return sessions.Problem("missing_required_parameter", "item", "Missing required parameter: 'item'.")
        item = dict(item)
        name = item.setdefault("id", self._id("item"))
        if len(name) > 32:
            text = "Invalid 'item.id': string too long. Expected a string with maximum length 32."
            return sessions.Problem("string_above_max_length", "item.id", text)
        if name in self.log.items:
            return sessions.Problem("invalid_value", "item.id", f"Item with item_id already exists: {name}.")
        if previous not in (None, "root") and previous not in self.log.items:
            text = f"Previous item with item_id not found: {previous}."
            return sessions.Problem("invalid_value", "previous_item_id", text)
        if problem := self._check_item(item):
            return problem
        item = {"object": "realtime.item", "status": "completed", **item}
        self.add_item(item, previous)
        return None

    def _check_item(self, item: dict[str, Any]) -> sessions.Problem | None:
        if item.get("type") == "function_call_output":
            known = any(i.get("call_id") == item.get("call_id") for i in self.log.items.values())
            if not known or not isinstance(item.get("output"), str):
                return sessions.Problem(
                    "invalid_value", "item.call_id", "Tool call ID not found, or output is no string."
                )
            self.log.tool_results.append((item["call_id"], item["output"]))
            self._results.append(item["output"])
            return None
        if item.get("type") == "function_call":
            return None
        parts = {"system": ("input_text",), "user": ("input_text", "input_audio", "input_image")}
        allowed = parts.get(item.get("role", ""), ("output_text",) if item.get("role") == "assistant" else ())
        content = item.get("content")
        if item.get("type") != "message" or not allowed or not isinstance(content, list) or not content:
            return sessions.Problem("invalid_value", "item", "Invalid value: 'item' is not a message with content.")
        for part in content:
            if part.get("type") not in allowed:
                text = f"Invalid value: '{part.get('type')}'. Supported values are: {allowed}."
                return sessions.Problem("invalid_value", "item.content[0].type", text)
        if item["role"] == "user":
            self._text = str(content[0].get("text", ""))
        return None

    def _delete_item(self, event: dict[str, Any]) -> sessions.Problem | None:
        name = str(event.get("item_id"))
        if self.log.items.pop(name, None) is None:
            return sessions.Problem("item_delete_invalid_item_id", "item_id", f"Item with item_id not found: {name}.")
        if self._last_item == name:
            self._last_item = next(reversed(self.log.items), None)
        self.emit("conversation.item.deleted", item_id=name)
        return None

    def _retrieve_item(self, event: dict[str, Any]) -> sessions.Problem | None:
        item = self.log.items.get(str(event.get("item_id")))
        if item is None:
            return sessions.Problem("item_retrieve_invalid_item_id", "item_id", "Item with item_id not found.")
        self.emit("conversation.item.retrieved", item={k: v for k, v in item.items() if not k.startswith("_")})
        return None

    def _truncate(self, event: dict[str, Any]) -> sessions.Problem | None:
        name, end = str(event.get("item_id")), event.get("audio_end_ms")
        if type(end) is not int or end < 0 or type(event.get("content_index")) is not int:
            return sessions.Problem(
                "invalid_type", "audio_end_ms", "Invalid type for 'audio_end_ms': expected an integer."
            )
        item = self.log.items.get(name)
        if item is None:
            return sessions.Problem("item_truncate_invalid_item_id", "item_id", f"Item with item_id not found: {name}.")
        if "_sent" not in item:
            return sessions.Problem("invalid_value", None, "Only model output audio messages can be truncated.")
        has = item["_sent"] // BYTES_PER_MS
        if end > has:
            text = f"Audio content of {has}ms is already shorter than {end}ms"
            return sessions.Problem("invalid_value", None, text)
        item["_sent"] = end * BYTES_PER_MS
        for part in item["content"]:
            part.pop("transcript", None)
        self.log.truncations.append((name, end))
        self.emit("conversation.item.truncated", item_id=name, content_index=0, audio_end_ms=end)
        return None

    # ------------------------------------------------------------ replies

    def _create_reply(self, event: dict[str, Any]) -> sessions.Problem | None:
        asked = event.get("response") or {}
        apart = asked.get("conversation") == "none"
        if not apart and (busy := self.replies.active):
            text = (
                f"Conversation already has an active response in progress: {busy}. Wait until the response is finished."
            )
            return sessions.Problem("conversation_already_has_active_response", None, text)
        self._reply(apart=apart, metadata=asked.get("metadata"))
        return None

    def _reply(self, *, apart: bool = False, metadata: Any = None) -> None:
        prompted = Prompted(self._turn, tuple(self._results), self._text)
        self._results, self._text = [], ""
        self.replies.begin(prompted, self._nursery, apart=apart, metadata=metadata)

    def _flag(self, name: str) -> bool:
        turns = self._session["audio"]["input"]["turn_detection"]
        return turns is not None and bool(turns[name])

    def _id(self, kind: str) -> str:
        return f"{kind}_{self._random.getrandbits(80):020x}"
