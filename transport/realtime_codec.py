"""The Realtime wire (GA), sans-IO: the model's events as messages of the call, and the call's commands as events.

Tolerant in reading: unknown events and fields, missing optional ones, names of the beta interface, `status_details` as a
text. Strict in writing: exactly the documented shapes. Source: OpenAI, Realtime API reference and guides.
"""

import base64
import binascii
import math
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, cast

import msgspec

from actors.messages import (
    AgreedSession,
    AskReply,
    CallerWords,
    CallState,
    CancelReply,
    CommitTurn,
    Configure,
    DropItem,
    Extract,
    Extracted,
    Gravity,
    ItemEnded,
    ModelCommand,
    ModelEvent,
    ModelTrouble,
    Probe,
    ReplyAudio,
    ReplyBegan,
    ReplyEnded,
    ReplyStatus,
    ReplyWords,
    Retune,
    Role,
    SessionAgreed,
    SessionConfig,
    SessionCreated,
    SpeechStarted,
    SpeechStopped,
    Tell,
    ToolCall,
    ToolResult,
    Truncate,
    TurnCommitted,
    TurnDetection,
)
from actors.mulaw import silence

PURPOSE = "triode"
"""The key of our metadata in a response that is asked for apart from the conversation."""
CALLS_AT_MOST = 32
"""Tool calls of one reply that are looked at; a model that makes more has lost its mind."""
WORDS_AT_MOST, ARGUMENTS_AT_MOST = 20_000, 200_000
"""Characters of one piece of a transcript, which is cut there, and of the arguments of a tool call or an answer in JSON, which
are refused: nobody says more in one breath, and every word is looked at while all other calls wait."""
MESSAGE_AT_MOST = 300
"""Characters of what an error says."""
TOO_LONG = f"it has more than {ARGUMENTS_AT_MOST} characters"
TOKENS_AT_MOST = 10_000_000
"""Of one reply; what claims more, or less than none, is no count."""
LASTS_AT_MOST = 3600.0
"""Seconds that a session lasts at most; it says when it ends by its own clock, and ours may be minutes behind."""

BETA_NAMES = {
    "response.audio.delta": "response.output_audio.delta",
    "response.audio.done": "response.output_audio.done",
    "response.audio_transcript.delta": "response.output_audio_transcript.delta",
    "response.audio_transcript.done": "response.output_audio_transcript.done",
    "response.text.delta": "response.output_text.delta",
    "response.text.done": "response.output_text.done",
}

FATAL_CODES = frozenset(
    {
        "invalid_api_key",
        "beta_api_shape_disabled",
        "missing_model",
        "invalid_model",
        "model_not_found",
        "insufficient_quota",
        "billing_hard_limit_reached",
        "account_deactivated",
    }
)
LOST_CODES = frozenset({"session_expired"})
BUSY_CODES = frozenset({"rate_limit_exceeded", "inference_rate_limit_exceeded"})


def gravity(code: str, kind: str = "") -> Gravity:
    """What an error with this `code` and type `kind` means for the session."""
    code = code.removeprefix("invalid_request_error.")
    if code in FATAL_CODES:
        return Gravity.FATAL
    if code in LOST_CODES:
        return Gravity.LOST
    if code in BUSY_CODES:
        return Gravity.BUSY
    if "server_error" in {code, kind}:
        return Gravity.RETRY
    return Gravity.BENIGN


class BadEvent(Exception):
    """An event that cannot be understood."""


class _Head(msgspec.Struct):
    """The plain fields of all events; what is nested is looked at by those who need it."""

    type: str
    response_id: str | None = None
    item_id: str | None = None
    delta: str | None = None
    transcript: str | None = None
    name: str | None = None
    call_id: str | None = None
    arguments: str | None = None


_head = msgspec.json.Decoder(_Head).decode


class EventReader:
    """Understands the events of one session. `wall_clock` is unix time, for `expires_at`."""

    def __init__(self, wall_clock: Callable[[], float] = time.time) -> None:
        self._wall_clock = wall_clock
        self._calls: dict[str, dict[str, ToolCall]] = {}
        self._asked: list[str] = []
        """Purposes of what was asked apart and has not begun to be answered."""
        self._apart: dict[str, str] = {}
        """Responses apart from the conversation: what for."""
        self._readers: dict[str, Callable[[_Head, str], ModelEvent | None]] = {
            "response.output_audio.delta": self._audio,
            "response.output_audio_transcript.delta": lambda h, _: _words(h),
            "response.output_audio.done": lambda h, _: ItemEnded(h.response_id or "", h.item_id or ""),
            "response.output_item.done": self._item_done,
            "response.function_call_arguments.done": self._arguments_done,
            "response.created": self._response_created,
            "response.done": self._response_done,
            "input_audio_buffer.speech_started": lambda h, _: SpeechStarted(h.item_id or ""),
            "input_audio_buffer.speech_stopped": lambda h, _: SpeechStopped(h.item_id or ""),
            "input_audio_buffer.committed": lambda h, _: TurnCommitted(h.item_id or ""),
            "conversation.item.input_audio_transcription.delta": lambda h, _: (
                CallerWords(h.item_id or "", h.delta[:WORDS_AT_MOST], final=False) if h.delta else None
            ),
            "conversation.item.input_audio_transcription.completed": lambda h, text: CallerWords(
                h.item_id or "", (h.transcript or "")[:WORDS_AT_MOST], final=True, confidence=_confidence(text)
            ),
            "conversation.item.input_audio_transcription.failed": lambda _, text: _error(_nested(text), Gravity.BENIGN),
            "session.created": self._created,
            "session.updated": lambda _, text: SessionAgreed(_agreed(_object(_nested(text), "session"))),
            "error": lambda _, text: _error(_nested(text)),
        }

    def read(self, text: str | bytes) -> ModelEvent | None:
        """The message that `text` means; None if it means nothing to a call. Raises BadEvent."""
        if not isinstance(text, str):
            raise BadEvent("a binary frame")
        try:
            head = _head(text)
            reader = self._readers.get(BETA_NAMES.get(head.type, head.type))
            if reader is None or (self._apart and head.response_id in self._apart):
                return None
            return reader(head, text)
        except (msgspec.MsgspecError, RecursionError, UnicodeError, OverflowError) as error:
            raise BadEvent(str(error)) from None

    def asked_apart(self, purpose: str) -> None:
        """A response apart from the conversation has been asked for."""
        self._asked.append(purpose)

    # ------------------------------------------------------------ apart from the conversation

    def _response_created(self, _: _Head, text: str) -> ModelEvent | None:
        response = _object(_nested(text), "response")
        return None if self._is_apart(response) else ReplyBegan(_text(response, "id"))

    def _is_apart(self, response: Mapping[str, Any]) -> bool:
        """Whether `response` answers what we asked apart: by our metadata, or (compatible servers) by its lack of a
        conversation while something is asked."""
        name, purpose = _text(response, "id"), _text(_object(response, "metadata"), PURPOSE)
        if name not in self._apart and not purpose and self._asked and response.get("conversation_id", "") is None:
            purpose = self._asked[0]
        if purpose:
            self._apart[name] = purpose
            if purpose in self._asked:
                self._asked.remove(purpose)
        return name in self._apart

    def _extracted(self, response: Mapping[str, Any]) -> ModelEvent:
        """What such a response says: a JSON object, as text or as the arguments of a tool."""
        purpose = self._apart.pop(_text(response, "id"))
        said = [_said(item) for item in _list(response, "output") if isinstance(item, dict)]
        text = "".join(said).strip().removeprefix("```json").removeprefix("```").removesuffix("```")
        if not text:
            return Extracted(purpose, None, f"there was no answer: {_text(response, 'status')}")
        if len(text) > ARGUMENTS_AT_MOST:
            return Extracted(purpose, None, TOO_LONG)
        try:
            values = msgspec.json.decode(text)
        except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
            return Extracted(purpose, None, f"it is not JSON: {error}")
        if not isinstance(values, dict):
            return Extracted(purpose, None, "expected a JSON object")
        return Extracted(purpose, cast("dict[str, object]", values))

    # ------------------------------------------------------------ speech

    def _audio(self, head: _Head, _: str) -> ModelEvent | None:
        try:
            audio = binascii.a2b_base64(head.delta or "", strict_mode=True)
        except (binascii.Error, ValueError) as error:
            raise BadEvent(f"audio delta: {error}") from None
        return ReplyAudio(head.response_id or "", head.item_id or "", audio) if audio else None

    # ------------------------------------------------------------ tool calls

    def _arguments_done(self, head: _Head, _: str) -> ModelEvent | None:
        if head.call_id and head.name:
            self._note(head.response_id or "", _tool_call(head.call_id, head.name, head.arguments or "", ""))
        return None

    def _item_done(self, head: _Head, text: str) -> ModelEvent | None:
        item = _object(_nested(text), "item")
        if item.get("type") == "function_call":
            self._note_item(head.response_id or "", item)
        return None

    def _note_item(self, reply: str, item: Mapping[str, Any]) -> None:
        call_id = _text(item, "call_id")
        if call_id:  # without a name too: a call that is never answered holds the conversation up
            known = self._calls.get(reply, {}).get(call_id)
            name = _text(item, "name") or (known.name if known else "")
            self._note(reply, _tool_call(call_id, name, _text(item, "arguments"), _text(item, "status")))

    def _note(self, reply: str, call: ToolCall) -> None:
        calls = self._calls.setdefault(reply, {})
        if len(calls) < CALLS_AT_MOST or call.call_id in calls:
            calls[call.call_id] = call
        while len(self._calls) > CALLS_AT_MOST:
            self._calls.pop(next(iter(self._calls)))

    # ------------------------------------------------------------ the end of a reply

    def _response_done(self, _: _Head, text: str) -> ModelEvent | None:
        response = _object(_nested(text), "response")
        if self._is_apart(response):
            return self._extracted(response)
        reply = _text(response, "id")
        output: list[Any] = _list(response, "output")
        for item in output:
            if isinstance(item, dict) and cast("dict[str, Any]", item).get("type") == "function_call":
                self._note_item(reply, cast("dict[str, Any]", item))
        calls = tuple(self._calls.pop(reply, {}).values())
        try:
            status = ReplyStatus(_text(response, "status") or "completed")
        except ValueError:
            status = ReplyStatus.COMPLETED
        details = response.get("status_details")
        code, reason, again_in = "", "", 0.0
        if isinstance(details, str):
            code = reason = details
        elif isinstance(details, dict):
            error = _object(cast("dict[str, Any]", details), "error")
            code = _text(error, "code") or _text(error, "type")
            reason = _text(cast("dict[str, Any]", details), "reason") or f"{code} {_text(error, 'message')}".strip()
            again_in = _again_in(_text(error, "message"))
        told = _object(response, "usage").get("total_tokens")
        tokens = told if isinstance(told, int) and 0 <= told <= TOKENS_AT_MOST else 0
        grave = gravity(code) if status is ReplyStatus.FAILED else Gravity.BENIGN
        if status is ReplyStatus.FAILED and grave is Gravity.BENIGN:
            grave = Gravity.RETRY  # the caller hears nothing, whatever the code: once more, then give up
        return ReplyEnded(reply, status, calls, reason[:MESSAGE_AT_MOST], grave, tokens, again_in)

    # ------------------------------------------------------------ the session

    def _created(self, _: _Head, text: str) -> ModelEvent | None:
        session = _object(_nested(text), "session")
        expires = session.get("expires_at")
        left = expires - self._wall_clock() if isinstance(expires, int | float) else 0.0
        # What has expired before it began says more of the clocks than of the session.
        return SessionCreated(_text(session, "id"), min(left, LASTS_AT_MOST) if left > 0 else None)


_AGAIN_IN = re.compile(r"try again in (\d{1,6}(?:\.\d{1,6})?)(ms|s)\b", re.ASCII)


def _again_in(message: str) -> float:
    """The seconds that "Please try again in 1.5s." names, or 644ms; 0 if it names none, or minutes."""
    found = _AGAIN_IN.search(message)
    return 0.0 if found is None else float(found[1]) / (1000 if found[2] == "ms" else 1)


# ---------------------------------------------------------------- reading, in pieces


def _nested(text: str) -> Mapping[str, Any]:
    return cast("dict[str, Any]", msgspec.json.decode(text))


def _object(parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = parent.get(key)
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _list(parent: Mapping[str, Any], key: str) -> list[Any]:
    value = parent.get(key)
    return cast("list[Any]", value) if isinstance(value, list) else []


def _text(parent: Mapping[str, Any], key: str) -> str:
    value = parent.get(key)
    return value if isinstance(value, str) else ""


def _said(item: Mapping[str, Any]) -> str:
    """The text of an item, or the arguments of a call."""
    if item.get("type") == "function_call":
        return _text(item, "arguments")
    parts = [part for part in _list(item, "content") if isinstance(part, dict)]
    return "".join(_text(part, "text") or _text(part, "transcript") for part in parts)


def _confidence(text: str) -> float | None:
    """The mean probability of the words, from the log-probabilities of their tokens, if they are told."""
    told = [each for each in _list(_nested(text), "logprobs") if isinstance(each, dict)]
    numbers = [n for n in (each.get("logprob") for each in told) if isinstance(n, int | float) and n <= 0]
    return math.exp(sum(numbers) / len(numbers)) if numbers else None


def _words(head: _Head) -> ModelEvent | None:
    return ReplyWords(head.response_id or "", head.item_id or "", head.delta[:WORDS_AT_MOST]) if head.delta else None


def _error(event: Mapping[str, Any], grave: Gravity | None = None) -> ModelTrouble:
    error = _object(event, "error")
    code = _text(error, "code") or _text(error, "type") or "unknown"
    text = _text(error, "message")[:MESSAGE_AT_MOST]
    if code == "invalid_request_error" and "no active response" in text:
        code = "response_cancel_not_active"  # older servers say it in words only
    grave = grave or gravity(code, _text(error, "type"))
    return ModelTrouble(code, text, grave, _text(error, "event_id"), again_in=_again_in(text))


def _tool_call(call_id: str, name: str, arguments: str, status: str) -> ToolCall:
    state = CallState.INCOMPLETE if status in {"incomplete", "in_progress"} else CallState.COMPLETED
    if len(arguments) > ARGUMENTS_AT_MOST:
        return ToolCall(call_id, name, None, TOO_LONG, state)
    try:
        parsed = msgspec.json.decode(arguments or "{}")
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        return ToolCall(call_id, name, None, str(error), state)
    if not isinstance(parsed, dict):
        return ToolCall(call_id, name, None, "expected an object", state)
    return ToolCall(call_id, name, cast("dict[str, object]", parsed), "", state)


def _agreed(session: Mapping[str, Any]) -> AgreedSession:
    audio = _object(session, "audio")
    into, out = _object(audio, "input"), _object(audio, "output")
    turns = _object(into, "turn_detection")
    detection = None
    if turns:
        detection = TurnDetection(
            _number(turns, "threshold"),
            int(_number(turns, "prefix_padding_ms")),
            int(_number(turns, "silence_duration_ms")),
            turns.get("create_response") is not False,
            turns.get("interrupt_response") is not False,
        )
    return AgreedSession(
        _text(_object(into, "format"), "type") == "audio/pcmu",
        _text(_object(out, "format"), "type") == "audio/pcmu",
        _text(out, "voice"),
        detection,
    )


def _number(parent: Mapping[str, Any], key: str) -> float:
    value = parent.get(key)
    return float(value) if isinstance(value, int | float) else 0.0


# ---------------------------------------------------------------- writing


def append(payloads: list[str], silence_ms: int = 0) -> str:
    """The caller's audio. A single payload is passed on as it came; several are joined, byte for byte."""
    if len(payloads) == 1 and not silence_ms:
        return f'{{"type":"input_audio_buffer.append","audio":"{payloads[0]}"}}'
    audio = b"".join(base64.b64decode(p) for p in payloads) + silence(silence_ms)
    return f'{{"type":"input_audio_buffer.append","audio":"{base64.b64encode(audio).decode("ascii")}"}}'


def write(command: ModelCommand, event_id: str) -> str:
    """`command` as an event; `event_id` comes back in an error about it."""
    return msgspec.json.encode({"event_id": event_id, **_event(command)}).decode()


def _event(command: ModelCommand) -> dict[str, Any]:
    if isinstance(command, Configure):
        return {"type": "session.update", "session": _session(command.config)}
    if isinstance(command, Retune):
        detection = _detection(command.turn_detection)
        return {
            "type": "session.update",
            "session": {"type": "realtime", "audio": {"input": {"turn_detection": detection}}},
        }
    if isinstance(command, Extract):
        return {"type": "response.create", "response": _apart(command)}
    if isinstance(command, Probe):
        return {"type": "session.update", "session": {"type": "realtime"}}
    if isinstance(command, Tell):
        event: dict[str, Any] = {"type": "conversation.item.create", "item": _told(command)}
        if before := "root" if command.first else command.after:
            event["previous_item_id"] = before
        return event
    if isinstance(command, AskReply):
        return {"type": "response.create"}
    if isinstance(command, CommitTurn):
        return {"type": "input_audio_buffer.commit"}
    if isinstance(command, CancelReply):
        return {"type": "response.cancel", "response_id": command.reply}
    if isinstance(command, Truncate):
        return {
            "type": "conversation.item.truncate",
            "item_id": command.item,
            "content_index": 0,
            "audio_end_ms": command.heard_ms,
        }
    if isinstance(command, DropItem):
        return {"type": "conversation.item.delete", "item_id": command.item}
    return {"type": "conversation.item.create", "item": _result(command)}


def _result(result: ToolResult) -> dict[str, Any]:
    # `output` is a plain text: encoded once, not twice.
    output = msgspec.json.encode(result.output).decode()
    return {"type": "function_call_output", "call_id": result.call_id, "output": output}


_ROLES = {Role.CALLER: ("user", "input_text"), Role.AGENT: ("assistant", "output_text")}


def _told(tell: Tell) -> dict[str, Any]:
    role, part = _ROLES.get(tell.role, ("system", "input_text"))
    item = {"type": "message", "role": role, "content": [{"type": part, "text": tell.text}]}
    return {"id": tell.item, **item} if tell.item else item


def _session(config: SessionConfig) -> dict[str, Any]:
    transcription: dict[str, Any] | None = None
    if config.transcription:
        transcription = {"model": config.transcription}
        if config.language:
            # The newer transcribers take a list of languages, the older ones a single one.
            several = config.transcription in {"gpt-live-transcribe", "gpt-transcribe"}
            transcription |= {"languages": [config.language]} if several else {"language": config.language}
    session: dict[str, Any] = {
        "type": "realtime",
        "output_modalities": ["audio"],
        "instructions": config.instructions,
        "tools": [
            {"type": "function", "name": t.name, "description": t.description, "parameters": dict(t.parameters)}
            for t in config.tools
        ],
        "tool_choice": "auto",
        "max_output_tokens": config.max_output_tokens,
        "audio": {
            "input": {
                "format": {"type": "audio/pcmu"},
                "noise_reduction": None,
                "transcription": transcription,
                # Replaced as a whole, and the server's defaults differ from the documented ones: all is said.
                "turn_detection": _detection(config.turn_detection),
            },
            "output": {"format": {"type": "audio/pcmu"}, "voice": config.voice, "speed": 1.0},
        },
    }
    if config.transcription:
        session["include"] = ["item.input_audio_transcription.logprobs"]  # how sure the transcriber was
    if config.reasoning:
        session["reasoning"] = {"effort": config.reasoning}
    return session


def _detection(turns: TurnDetection) -> dict[str, Any]:
    return {
        "type": "server_vad",
        "threshold": turns.threshold,
        "prefix_padding_ms": turns.prefix_ms,
        "silence_duration_ms": turns.silence_ms,
        "idle_timeout_ms": None,
        "create_response": turns.create_response,
        "interrupt_response": turns.interrupt_response,
    }


EXTRACT_TOKENS = 400
"""Of an answer apart: a few short values."""


def _apart(extract: Extract) -> dict[str, Any]:
    """A response that the caller never hears: in text, with the caller's turns and nothing else before its eyes."""
    return {
        "conversation": "none",
        "output_modalities": ["text"],
        "metadata": {PURPOSE: extract.purpose},
        "max_output_tokens": EXTRACT_TOKENS,
        "instructions": extract.instructions,
        "input": [{"type": "item_reference", "id": item} for item in extract.items],
        "tools": [],
        "tool_choice": "none",
    }
