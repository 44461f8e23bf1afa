"""The replies of a loopback session: their events in order, their cancelling, their failures."""

import base64
import copy
from typing import Any, Protocol

import attrs
import trio

from actors.mulaw import BYTES_PER_MS
from transport.loopback.conversation import Conversation, Spoken
from transport.loopback.problems import Problem, wrong_type
from transport.loopback.script import Brain, Call, Faults, Prompted, Reply, Speech, Text
from transport.loopback.session_log import SessionLog

USAGE = {
    "total_tokens": 300,
    "input_tokens": 200,
    "output_tokens": 100,
    "input_token_details": {"text_tokens": 100, "audio_tokens": 100, "image_tokens": 0, "cached_tokens": 0},
    "output_token_details": {"text_tokens": 20, "audio_tokens": 80},
}


class Session(Protocol):
    """What replies need of their session."""

    @property
    def pcmu(self) -> bool: ...
    @property
    def log(self) -> SessionLog: ...
    @property
    def conversation(self) -> Conversation: ...
    def new_id(self, kind: str) -> str: ...
    def emit(self, kind: str, **fields: Any) -> None: ...


@attrs.define
class _Speaking:
    """An item whose audio is being sent."""

    item: dict[str, Any]
    speech: Speech
    ids: dict[str, Any]
    """The ids of its events."""
    previous: str | None
    spoken: Spoken
    words: str = ""
    """What was sent of its transcript."""


@attrs.define
class _Response:
    """One response on its way."""

    id: str
    apart: bool
    metadata: Any
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    output: list[dict[str, Any]] = attrs.field(factory=list)
    speaking: _Speaking | None = None
    ended: bool = False


class Replies:
    """Makes replies as the brain says. One at a time in the conversation, any number apart from it."""

    def __init__(self, session: Session, faults: Faults, brain: Brain) -> None:
        self._session = session
        self._faults = faults
        self._brain = brain
        self._fails = list(faults.fail_codes)
        self._wordless = faults.wordless
        self._responses: dict[str, _Response] = {}
        self.spoke = False
        """Whether there has been assistant audio."""

    @property
    def active(self) -> str:
        """The response that writes to the conversation now; empty if none does."""
        return next((r.id for r in self._responses.values() if not r.apart), "")

    @property
    def speaking(self) -> str:
        """The item whose audio is being sent now; empty if none is."""
        return next((str(r.speaking.ids["item_id"]) for r in self._responses.values() if r.speaking), "")

    def begin(self, prompted: Prompted, nursery: trio.Nursery, *, apart: bool, metadata: Any) -> None:
        """Starts a reply. In the conversation only one may be active."""
        if self._faults.no_replies:
            return
        response = _Response(self._session.new_id("resp"), apart, metadata)
        self._responses[response.id] = response
        self._session.emit("response.created", response=self._shown(response, "in_progress"))
        nursery.start_soon(self._run, response, self._brain(prompted))

    def interrupt(self) -> None:
        """The caller began to speak: the reply in the conversation is broken off. Those apart are not."""
        for response in [r for r in self._responses.values() if not r.apart]:
            self._break_off(response, "turn_detected")

    def cancel_asked(self, event: dict[str, Any]) -> Problem | None:
        """`response.cancel`: without an id it is the conversation's reply."""
        name = event.get("response_id") or self.active
        if not isinstance(name, str):
            return wrong_type("response_id", "a string")
        response = self._responses.get(name)
        if response is None:
            return Problem("response_cancel_not_active", None, "Cancellation failed: no active response found")
        self._break_off(response, "client_cancelled")
        return None

    # ------------------------------------------------------------ one reply

    async def _run(self, response: _Response, reply: Reply) -> None:
        emit = self._session.emit
        with response.scope:
            await trio.sleep(reply.delay_ms / 1000)
            code = self._fails.pop(0) if self._fails else ""
            if code:
                error = {"type": "server_error", "code": code, "message": f"The reply failed: {code}."}
                self._end(response, "failed", {"type": "failed", "error": error})
                return
            if self._wordless and not response.apart:
                self._wordless -= 1
                self._end(response, "incomplete", {"type": "incomplete", "reason": "content_filter"})
                return
            for index, item in enumerate(reply.items):
                if isinstance(item, Speech):
                    await self._speak(response, index, item, reply)
                elif isinstance(item, Text):
                    self._write(response, index, item)
                else:
                    self._call(response, index, item)
                if self._faults.incomplete and isinstance(item, Speech):
                    details = {"type": "incomplete", "reason": self._faults.incomplete}
                    self._end(response, "incomplete", details)
                    return
            self._end(response, "completed", None)
            limits = {"name": "tokens", "limit": 40000, "remaining": 39000, "reset_seconds": 1.5}
            emit("rate_limits.updated", rate_limits=[limits])

    async def _speak(self, response: _Response, index: int, speech: Speech, reply: Reply) -> None:
        emit = self._session.emit
        item: dict[str, Any] = {
            "id": self._session.new_id("item"),
            "object": "realtime.item",
            "type": "message",
            "status": "in_progress",
            "role": "assistant",
            "content": [],
        }
        ids = {"response_id": response.id, "item_id": item["id"], "output_index": index, "content_index": 0}
        spoken = Spoken()
        speaking = _Speaking(item, speech, ids, self._announce(response, index, item, spoken), spoken)
        emit("response.content_part.added", **ids, part={"type": "audio", "transcript": ""})
        item["content"] = [{"type": "output_audio", "transcript": ""}]
        response.speaking = speaking
        end = len(speech.audio) // 2 if self._faults.incomplete else len(speech.audio)
        while spoken.sent < end:
            piece = min(reply.delta_ms * BYTES_PER_MS, end - spoken.sent)
            self._delta(speaking, piece)
            await trio.sleep(piece / BYTES_PER_MS / 1000 / reply.speed)
        response.speaking = None
        self._item_over(response, speaking, "incomplete" if self._faults.incomplete else "completed")

    def _delta(self, speaking: _Speaking, piece: int) -> None:
        speech, spoken, ids = speaking.speech, speaking.spoken, speaking.ids
        start = spoken.sent
        spoken.sent += piece
        # The words run ahead of their audio by a piece.
        upto = len(speech.words) * min(len(speech.audio), start + 2 * piece) // max(1, len(speech.audio))
        more = speech.words[len(speaking.words) : upto]
        if more:
            speaking.words += more
            self._session.emit("response.output_audio_transcript.delta", **ids, delta=more)
            if spoken.kept is None:
                speaking.item["content"][0]["transcript"] = speaking.words
        audio = speech.audio[start : start + piece]
        log, item = self._session.log, str(ids["item_id"])
        if item not in log.speech:
            log.speech[item] = bytearray()
            log.speech_at[item] = trio.current_time()
        log.speech[item] += audio
        if not self._session.pcmu:
            audio = bytes(6 * len(audio))
        self.spoke = True
        self._session.emit("response.output_audio.delta", **ids, delta=base64.b64encode(audio).decode())

    def _item_over(self, response: _Response, speaking: _Speaking, status: str) -> None:
        emit, ids, words = self._session.emit, speaking.ids, speaking.words
        speaking.item["status"] = status
        emit("response.output_audio.done", **ids)
        emit("response.output_audio_transcript.done", **ids, transcript=words)
        emit("response.content_part.done", **ids, part={"type": "audio", "transcript": words})
        self._done(response, ids["output_index"], speaking.item, speaking.previous)

    def _write(self, response: _Response, index: int, text: Text) -> None:
        emit = self._session.emit
        item: dict[str, Any] = {
            "id": self._session.new_id("item"),
            "object": "realtime.item",
            "type": "message",
            "status": "in_progress",
            "role": "assistant",
            "content": [],
        }
        ids = {"response_id": response.id, "item_id": item["id"], "output_index": index, "content_index": 0}
        previous = self._announce(response, index, item)
        emit("response.content_part.added", **ids, part={"type": "text", "text": ""})
        emit("response.output_text.delta", **ids, delta=text.text)
        emit("response.output_text.done", **ids, text=text.text)
        emit("response.content_part.done", **ids, part={"type": "text", "text": text.text})
        item["status"], item["content"] = "completed", [{"type": "output_text", "text": text.text}]
        self._done(response, index, item, previous)

    def _call(self, response: _Response, index: int, call: Call) -> None:
        emit, name = self._session.emit, self._session.new_id("item")
        call_id = self._session.new_id("call")[:21]
        item: dict[str, Any] = {
            "id": name,
            "object": "realtime.item",
            "type": "function_call",
            "status": "in_progress",
            "name": call.name,
            "call_id": call_id,
            "arguments": "",
        }
        previous = self._announce(response, index, item)
        ids = {"response_id": response.id, "item_id": name, "output_index": index, "call_id": call_id}
        emit("response.function_call_arguments.delta", **ids, delta=call.arguments)
        emit("response.function_call_arguments.done", **ids, name=call.name, arguments=call.arguments)
        item["status"], item["arguments"] = "completed", call.arguments
        self._done(response, index, item, previous)

    def _announce(
        self, response: _Response, index: int, item: dict[str, Any], spoken: Spoken | None = None
    ) -> str | None:
        """Puts the item into the conversation, unless the reply is apart from it; returns what it stands after."""
        self._session.emit("response.output_item.added", response_id=response.id, output_index=index, item=item)
        return None if response.apart else self._session.conversation.add(item, spoken=spoken, done=False)

    def _done(self, response: _Response, index: int, item: dict[str, Any], previous: str | None) -> None:
        response.output.append(copy.deepcopy(item))  # a later truncation is not of the response
        if not response.apart:
            self._session.emit("conversation.item.done", previous_item_id=previous, item=item)
        self._session.emit("response.output_item.done", response_id=response.id, output_index=index, item=item)

    # ------------------------------------------------------------ endings

    def _break_off(self, response: _Response, reason: str) -> None:
        if response.ended:
            return
        response.scope.cancel(reason)
        if response.speaking is not None:
            speaking = response.speaking
            for _ in range(self._faults.stray_deltas):
                piece = min(100 * BYTES_PER_MS, len(speaking.speech.audio) - speaking.spoken.sent)
                if piece > 0:
                    self._delta(speaking, piece)
            self._item_over(response, speaking, "incomplete")
        self._end(response, "cancelled", {"type": "cancelled", "reason": reason})

    def _end(self, response: _Response, status: str, details: dict[str, Any] | None) -> None:
        response.ended = True
        self._responses.pop(response.id, None)
        self._session.log.replies.append((response.id, status))
        self._session.log.replies_ended.append(trio.current_time())
        self._session.emit("response.done", response=self._shown(response, status, details))

    def _shown(self, response: _Response, status: str, details: dict[str, Any] | None = None) -> dict[str, Any]:
        usage: dict[str, Any] | None = USAGE
        if status == "in_progress" or self._faults.odd_events:
            usage = None
        elif not response.output:
            usage = {"total_tokens": 0, "input_tokens": 0, "output_tokens": 0}
        return {
            "object": "realtime.response",
            "id": response.id,
            "status": status,
            "status_details": details,
            "output": response.output,
            "conversation_id": None if response.apart else "conv_loopback",
            "output_modalities": ["audio"],
            "max_output_tokens": "inf",
            "audio": {"output": {"format": {"type": "audio/pcmu"}, "voice": "marin"}},
            "usage": usage,
            "metadata": response.metadata,
        }
