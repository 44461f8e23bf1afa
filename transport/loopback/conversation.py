"""The items of a loopback conversation: created, put in order, retrieved, deleted, truncated as the real API does it."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import attrs

from actors.mulaw import BYTES_PER_MS
from transport.loopback.problems import Problem, invalid, missing, too_long, wrong_type
from transport.loopback.session_log import SessionLog

ID_AT_MOST = 32
_PARTS = {
    "system": ("input_text",),
    "user": ("input_text", "input_audio", "input_image"),
    "assistant": ("output_text",),
}
"""What a client may put into messages, by their role."""
_HOLDS = {"input_text": "text", "output_text": "text", "input_audio": "audio", "input_image": "image_url"}


@attrs.define
class Spoken:
    """The audio of one item of the model, in µ-law bytes."""

    sent: int = 0
    kept: int | None = None
    """What a truncation left of it in the conversation; None if there was none."""

    @property
    def lasts_ms(self) -> int:
        """How long the item is for the model."""
        return (self.sent if self.kept is None else min(self.sent, self.kept)) // BYTES_PER_MS


class Conversation:
    """The items of one session, kept in its log, and what the next reply is about."""

    def __init__(self, log: SessionLog, emit: Callable[..., None], new_id: Callable[[str], str]) -> None:
        self._log = log
        self._emit = emit
        self._new_id = new_id
        self._spoken: dict[str, Spoken] = {}
        self._results: list[str] = []
        self._text = ""

    @property
    def last(self) -> str | None:
        """The id of the last item; None if there is none."""
        return next(reversed(self._log.items), None)

    def add(
        self, item: dict[str, Any], previous: str | None = None, *, spoken: Spoken | None = None, done: bool = True
    ) -> str | None:
        """Puts `item` in, at the end unless `previous` says where, announces it, and returns what it stands after."""
        before = self.last if previous is None else None if previous == "root" else previous
        self._log.items = _put(self._log.items, item, before)
        if spoken is not None:
            self._spoken[item["id"]] = spoken
        self._emit("conversation.item.added", previous_item_id=before, item=item)
        if done:
            self._emit("conversation.item.done", previous_item_id=before, item=item)
        return before

    def take_news(self) -> tuple[tuple[str, ...], str]:
        """The tool results and the text that no reply was about yet."""
        news = tuple(self._results), self._text
        self._results, self._text = [], ""
        return news

    # ------------------------------------------------------------ client events

    def create(self, event: Mapping[str, Any]) -> Problem | None:
        """`conversation.item.create`."""
        item, previous = event.get("item"), event.get("previous_item_id")
        if not isinstance(item, dict):
            return missing("item")
        name = item.get("id", "")
        if not isinstance(name, str):
            return wrong_type("item.id", "a string")
        if len(name) > ID_AT_MOST:
            return too_long("item.id", ID_AT_MOST)
        if name in self._log.items:
            return Problem("invalid_value", "item.id", f"Item with item_id already exists: {name}.")
        if previous is not None and not isinstance(previous, str):
            return wrong_type("previous_item_id", "a string")
        if previous not in (None, "root") and previous not in self._log.items:
            text = f"Previous item with item_id not found: {previous}."
            return Problem("invalid_value", "previous_item_id", text)
        if problem := check_item(item, _calls(self._log.items)):
            return problem
        self._note(item)
        ours = {"id": name or self._new_id("item"), "object": "realtime.item", "status": "completed"}
        self.add({**item, **ours}, previous)
        return None

    def delete(self, event: Mapping[str, Any]) -> Problem | None:
        """`conversation.item.delete`."""
        name = str(event.get("item_id"))
        if self._log.items.pop(name, None) is None:
            return _not_found("item_delete_invalid_item_id", name)
        self._spoken.pop(name, None)
        self._emit("conversation.item.deleted", item_id=name)
        return None

    def retrieve(self, event: Mapping[str, Any]) -> Problem | None:
        """`conversation.item.retrieve`."""
        name = str(event.get("item_id"))
        if name not in self._log.items:
            return _not_found("item_retrieve_invalid_item_id", name)
        self._emit("conversation.item.retrieved", item=self._log.items[name])
        return None

    def truncate(self, event: Mapping[str, Any]) -> Problem | None:
        """`conversation.item.truncate`: an item that is still being spoken goes on, but the model forgets the rest."""
        name, end = str(event.get("item_id")), event.get("audio_end_ms")
        if type(end) is not int or end < 0:
            return wrong_type("audio_end_ms", "an integer")
        if type(event.get("content_index")) is not int:
            return wrong_type("content_index", "an integer")
        if name not in self._log.items:
            return _not_found("item_truncate_invalid_item_id", name)
        spoken = self._spoken.get(name)
        if spoken is None:
            return Problem("invalid_value", None, "Only model output audio messages can be truncated.")
        if end > spoken.lasts_ms:
            text = f"Audio content of {spoken.lasts_ms}ms is already shorter than {end}ms"
            return Problem("invalid_value", None, text)
        spoken.kept = end * BYTES_PER_MS
        for part in self._log.items[name]["content"]:
            part.pop("transcript", None)
        self._log.truncations.append((name, end))
        self._emit("conversation.item.truncated", item_id=name, content_index=0, audio_end_ms=end)
        return None

    def _note(self, item: Mapping[str, Any]) -> None:
        """Keeps what a reply will be about."""
        if item["type"] == "function_call_output":
            self._log.tool_results.append((item["call_id"], item["output"]))
            self._results.append(item["output"])
        elif item.get("role") == "user":
            self._text = item["content"][0].get("text", "")


def check_item(item: Mapping[str, Any], calls: Collection[str]) -> Problem | None:
    """What is wrong with an item that a client wants to create, or None. `calls`: the ids of the calls there were."""
    kind = item.get("type")
    if kind == "message":
        return _check_message(item)
    if kind not in ("function_call", "function_call_output"):
        return invalid("item.type", "'message', 'function_call' or 'function_call_output'")
    call_id = item.get("call_id", "")
    if not isinstance(call_id, str):
        return wrong_type("item.call_id", "a string")
    if len(call_id) > ID_AT_MOST:
        return too_long("item.call_id", ID_AT_MOST)
    if kind == "function_call_output" and call_id not in calls:
        return Problem("invalid_value", "item.call_id", f"Tool call ID '{call_id}' not found in conversation.")
    for name in ("name", "arguments") if kind == "function_call" else ("output",):
        if not isinstance(item.get(name), str):
            return wrong_type(f"item.{name}", "a string")
    return None


def _check_message(item: Mapping[str, Any]) -> Problem | None:
    role, content = item.get("role"), item.get("content")
    if not isinstance(role, str) or role not in _PARTS:
        return invalid("item.role", "'system', 'user' or 'assistant'")
    if not isinstance(content, list) or not content:
        return invalid("item.content", "an array with something in it")
    for number, part in enumerate(content):
        path = f"item.content[{number}]"
        if not isinstance(part, dict):
            return wrong_type(path, "an object")
        if part.get("type") not in _PARTS[role]:
            return invalid(f"{path}.type", " or ".join(f"'{kind}'" for kind in _PARTS[role]))
        holds = _HOLDS[part["type"]]
        if not isinstance(part.get(holds), str):
            return wrong_type(f"{path}.{holds}", "a string") if holds in part else missing(f"{path}.{holds}")
    return None


def _calls(items: Mapping[str, dict[str, Any]]) -> set[str]:
    return {item["call_id"] for item in items.values() if item["type"] == "function_call" and "call_id" in item}


def _put(items: dict[str, dict[str, Any]], item: dict[str, Any], before: str | None) -> dict[str, dict[str, Any]]:
    """`items` with `item` after the one called `before`, or first of all."""
    order = list(items.items())
    at = 0 if before is None else list(items).index(before) + 1
    return dict([*order[:at], (item["id"], item), *order[at:]])


def _not_found(code: str, name: str) -> Problem:
    return Problem(code, "item_id", f"Item with item_id not found: {name}.")
