"""The loopback model's session: what the Realtime API (GA) refuses in a `session.update`, and what it echoes. Pure."""

import copy
from collections.abc import Mapping
from typing import Any

import attrs

VOICES = ("alloy", "ash", "ballad", "coral", "echo", "sage", "shimmer", "verse", "marin", "cedar")
EFFORTS = ("minimal", "low", "medium", "high", "xhigh")
TURN_DEFAULTS: dict[str, dict[str, Any]] = {
    "server_vad": {"threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 200, "idle_timeout_ms": None},
    "semantic_vad": {"eagerness": "auto"},
}
FLAGS = {"create_response": True, "interrupt_response": True}


@attrs.frozen
class Problem:
    """Why an event is refused; `param` is the path of what is wrong."""

    code: str
    param: str | None
    message: str


def new_session(session_id: str, model: str, expires_at: int) -> dict[str, Any]:
    """A session before any update: 24 kHz PCM both ways, so that a client that forgets the format fails visibly."""
    pcm = {"type": "audio/pcm", "rate": 24000}
    return {
        "type": "realtime",
        "object": "realtime.session",
        "id": session_id,
        "model": model,
        "output_modalities": ["audio"],
        "instructions": "Be helpful.",
        "tools": [],
        "tool_choice": "auto",
        "max_output_tokens": "inf",
        "tracing": None,
        "prompt": None,
        "expires_at": expires_at,
        "truncation": "auto",
        "include": None,
        "audio": {
            "input": {
                "format": dict(pcm),
                "transcription": None,
                "noise_reduction": None,
                "turn_detection": {"type": "server_vad", **TURN_DEFAULTS["server_vad"], **FLAGS},
            },
            "output": {"format": dict(pcm), "voice": "alloy", "speed": 1.0},
        },
    }


_KEYS: dict[str, tuple[str, ...]] = {
    "session": (
        "type", "model", "output_modalities", "instructions", "tools", "tool_choice", "parallel_tool_calls",
        "reasoning", "max_output_tokens", "truncation", "tracing", "prompt", "include", "audio",
    ),
    "session.audio": ("input", "output"),
    "session.audio.input": ("format", "noise_reduction", "transcription", "turn_detection"),
    "session.audio.input.format": ("type", "rate"),
    "session.audio.input.transcription": ("model", "language", "languages", "prompt", "keywords", "delay"),
    "session.audio.input.noise_reduction": ("type", "strength"),
    "session.audio.output": ("format", "voice", "speed"),
    "session.audio.output.format": ("type", "rate"),
    "session.reasoning": ("effort",),
}  # fmt: skip
_MAY_BE_NULL = {"session.audio.input.transcription", "session.audio.input.noise_reduction"}


def check_update(update: Any, session: Mapping[str, Any], spoke: bool) -> Problem | None:
    """What is wrong with `update`, or None. `spoke`: whether there is assistant audio in the session."""
    if not isinstance(update, dict):
        return Problem("missing_required_parameter", "session", "Missing required parameter: 'session'.")
    if "type" not in update:
        return Problem("missing_required_parameter", "session.type", "Missing required parameter: 'session.type'.")
    return (
        _unknown_keys(update, "session")
        or _check_plain(update)
        or _check_tools(update)
        or _check_reasoning(update, str(session["model"]))
        or _check_turns(update)
        or _check_output(update, session, spoke)
    )


def _unknown_keys(value: Any, path: str) -> Problem | None:
    if path not in _KEYS or (value is None and path in _MAY_BE_NULL):
        return None
    if not isinstance(value, dict):
        return _invalid(path, "an object")
    for key, inner in value.items():
        if key not in _KEYS[path]:
            return _unknown(f"{path}.{key}")
        if problem := _unknown_keys(inner, f"{path}.{key}"):
            return problem
    return None


def _check_plain(update: Mapping[str, Any]) -> Problem | None:
    if update["type"] != "realtime":
        return _invalid("session.type", "'realtime'")
    if update.get("output_modalities", ["audio"]) not in (["audio"], ["text"]):
        return _invalid("session.output_modalities", "['audio'] or ['text']")
    if not isinstance(update.get("instructions", ""), str):
        return _invalid("session.instructions", "a string")
    limit = update.get("max_output_tokens", "inf")
    if limit != "inf" and not (type(limit) is int and 1 <= limit <= 4096):
        return _invalid("session.max_output_tokens", "an integer from 1 to 4096 or 'inf'")
    audio = update.get("audio", {})
    for way in ("input", "output"):
        form = audio.get(way, {}).get("format")
        path = f"session.audio.{way}.format"
        if form is not None and form.get("type") not in ("audio/pcm", "audio/pcmu", "audio/pcma"):
            return _invalid(f"{path}.type", "'audio/pcm', 'audio/pcmu' or 'audio/pcma'")
        if form is not None and form.get("type") == "audio/pcm" and form.get("rate", 24000) != 24000:
            return _invalid(f"{path}.rate", "24000")
    return None


def _check_tools(update: Mapping[str, Any]) -> Problem | None:
    tools = update.get("tools", [])
    if not isinstance(tools, list):
        return _invalid("session.tools", "an array")
    for number, tool in enumerate(tools):
        path = f"session.tools[{number}]"
        if not isinstance(tool, dict) or tool.get("type") not in ("function", "mcp"):
            return _invalid(f"{path}.type", "'function' or 'mcp'")
        for key in tool:
            if tool["type"] == "function" and key not in ("type", "name", "description", "parameters"):
                return _unknown(f"{path}.{key}")
        if tool["type"] == "function" and not tool.get("name"):
            return Problem("missing_required_parameter", f"{path}.name", f"Missing required parameter: '{path}.name'.")
    return None


def _check_reasoning(update: Mapping[str, Any], model: str) -> Problem | None:
    reasoning = update.get("reasoning")
    if reasoning is None:
        return None
    if not model.startswith("gpt-realtime-2"):
        return _unknown("session.reasoning")
    return None if reasoning.get("effort") in EFFORTS else _invalid("session.reasoning.effort", " or ".join(EFFORTS))


def _check_turns(update: Mapping[str, Any]) -> Problem | None:
    path = "session.audio.input.turn_detection"
    turns = update.get("audio", {}).get("input", {}).get("turn_detection")
    if turns is None:
        return None
    if not isinstance(turns, dict) or turns.get("type") not in TURN_DEFAULTS:
        return _invalid(f"{path}.type", "'server_vad' or 'semantic_vad'")
    for key, value in turns.items():
        if key != "type" and key not in TURN_DEFAULTS[turns["type"]] and key not in FLAGS:
            return _unknown(f"{path}.{key}")
        if key in FLAGS and type(value) is not bool:
            return _invalid(f"{path}.{key}", "a boolean")
        if key in ("prefix_padding_ms", "silence_duration_ms") and (type(value) is not int or value < 0):
            return _invalid(f"{path}.{key}", "an integer of milliseconds")
    threshold = turns.get("threshold", 0.5)
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 <= threshold <= 1:
        return _invalid(f"{path}.threshold", "a number from 0 to 1")
    idle = turns.get("idle_timeout_ms")
    if idle is not None and not (type(idle) is int and 5000 <= idle <= 30000):
        return _invalid(f"{path}.idle_timeout_ms", "null or 5000 to 30000")
    return None


def _check_output(update: Mapping[str, Any], session: Mapping[str, Any], spoke: bool) -> Problem | None:
    output = update.get("audio", {}).get("output", {})
    voice = output.get("voice")
    if voice is not None and voice not in VOICES and not (isinstance(voice, dict) and "id" in voice):
        return _invalid("session.audio.output.voice", "a known voice")
    if voice is not None and spoke and voice != session["audio"]["output"]["voice"]:
        text = "Cannot update a conversation's voice if assistant audio is present."
        return Problem("cannot_update_voice", "session.audio.output.voice", text)
    speed = output.get("speed", 1.0)
    if not isinstance(speed, int | float) or not 0.25 <= speed <= 1.5:
        return _invalid("session.audio.output.speed", "a number from 0.25 to 1.5")
    return None


def apply_update(session: Mapping[str, Any], update: Mapping[str, Any]) -> dict[str, Any]:
    """The session after a good `update`: what is absent stays; formats, transcription and turn detection are replaced."""
    after: dict[str, Any] = copy.deepcopy(dict(session))
    for key, value in update.items():
        if key != "audio":
            after[key] = copy.deepcopy(value)
    for way, part in update.get("audio", {}).items():
        after["audio"][way] |= copy.deepcopy(part)
    turns = after["audio"]["input"]["turn_detection"]
    if turns is not None:
        after["audio"]["input"]["turn_detection"] = {**TURN_DEFAULTS[turns["type"]], **FLAGS, **turns}
    return after


def _unknown(path: str) -> Problem:
    return Problem("unknown_parameter", path, f"Unknown parameter: '{path}'.")


def _invalid(path: str, expected: str) -> Problem:
    return Problem("invalid_value", path, f"Invalid value for '{path}': expected {expected}.")
