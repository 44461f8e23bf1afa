"""The loopback model's session: what the Realtime API (GA) refuses in a `session.update`, and what it echoes. Pure."""

import copy
from collections.abc import Mapping
from typing import Any

from transport.loopback.problems import Problem, invalid, missing, unknown

VOICES = ("alloy", "ash", "ballad", "coral", "echo", "sage", "shimmer", "verse", "marin", "cedar")
EAGERNESS = ("low", "medium", "high", "auto")
NOISE_REDUCTIONS = ("near_field", "far_field")
EFFORTS = ("minimal", "low", "medium", "high", "xhigh")
TURN_DEFAULTS: dict[str, dict[str, Any]] = {
    "server_vad": {"threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 200, "idle_timeout_ms": None},
    "semantic_vad": {"eagerness": "auto"},
}
FLAGS = {"create_response": True, "interrupt_response": True}


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
        return missing("session")
    if "type" not in update:
        return missing("session.type")
    return (
        _unknown_keys(update, "session")
        or _check_plain(update)
        or _check_tools(update)
        or _check_tool_choice(update)
        or _check_truncation(update.get("truncation", "auto"))
        or _check_reasoning(update, str(session["model"]))
        or _check_turns(update)
        or _check_noise_reduction(update)
        or _check_output(update, session, spoke)
    )


def _unknown_keys(value: Any, path: str) -> Problem | None:
    if path not in _KEYS or (value is None and path in _MAY_BE_NULL):
        return None
    if not isinstance(value, dict):
        return invalid(path, "an object")
    for key, inner in value.items():
        if key not in _KEYS[path]:
            return unknown(f"{path}.{key}")
        if problem := _unknown_keys(inner, f"{path}.{key}"):
            return problem
    return None


def _check_plain(update: Mapping[str, Any]) -> Problem | None:
    if update["type"] != "realtime":
        return invalid("session.type", "'realtime'")
    if update.get("output_modalities", ["audio"]) not in (["audio"], ["text"]):
        return invalid("session.output_modalities", "['audio'] or ['text']")
    if not isinstance(update.get("instructions", ""), str):
        return invalid("session.instructions", "a string")
    limit = update.get("max_output_tokens", "inf")
    if limit != "inf" and not (type(limit) is int and 1 <= limit <= 4096):
        return invalid("session.max_output_tokens", "an integer from 1 to 4096 or 'inf'")
    if type(update.get("parallel_tool_calls", True)) is not bool:
        return invalid("session.parallel_tool_calls", "a boolean")
    audio = update.get("audio", {})
    for way in ("input", "output"):
        form = audio.get(way, {}).get("format")
        path = f"session.audio.{way}.format"
        if form is not None and form.get("type") not in ("audio/pcm", "audio/pcmu", "audio/pcma"):
            return invalid(f"{path}.type", "'audio/pcm', 'audio/pcmu' or 'audio/pcma'")
        if form is not None and form.get("type") == "audio/pcm" and form.get("rate", 24000) != 24000:
            return invalid(f"{path}.rate", "24000")
    return None


def _check_tools(update: Mapping[str, Any]) -> Problem | None:
    tools = update.get("tools", [])
    if not isinstance(tools, list):
        return invalid("session.tools", "an array")
    for number, tool in enumerate(tools):
        path = f"session.tools[{number}]"
        if not isinstance(tool, dict) or tool.get("type") not in ("function", "mcp"):
            return invalid(f"{path}.type", "'function' or 'mcp'")
        for key in tool:
            if tool["type"] == "function" and key not in ("type", "name", "description", "parameters"):
                return unknown(f"{path}.{key}")
        if tool["type"] == "function" and not tool.get("name"):
            return missing(f"{path}.name")
    return None


def _check_tool_choice(update: Mapping[str, Any]) -> Problem | None:
    """A word, or one tool: flat, since the beta's nested `function` is no more."""
    path, choice = "session.tool_choice", update.get("tool_choice", "auto")
    if not isinstance(choice, dict):
        return None if choice in ("auto", "none", "required") else invalid(path, "'auto', 'none', 'required' or a tool")
    if choice.get("type") not in ("function", "mcp"):
        return invalid(f"{path}.type", "'function' or 'mcp'")
    required, others = ("name", ()) if choice["type"] == "function" else ("server_label", ("name",))
    for key in choice:
        if key not in ("type", required, *others):
            return unknown(f"{path}.{key}")
    if required not in choice:
        return missing(f"{path}.{required}")
    return None if isinstance(choice[required], str) else invalid(f"{path}.{required}", "a string")


def _check_truncation(truncation: Any) -> Problem | None:
    path = "session.truncation"
    if not isinstance(truncation, dict):
        good = truncation in ("auto", "disabled")
        return None if good else invalid(path, "'auto', 'disabled' or a retention ratio")
    for key in truncation:
        if key not in ("type", "retention_ratio", "token_limits"):
            return unknown(f"{path}.{key}")
    if truncation.get("type") != "retention_ratio":
        return invalid(f"{path}.type", "'retention_ratio'")
    if not _is_number(truncation.get("retention_ratio"), 0, 1):
        return invalid(f"{path}.retention_ratio", "a number from 0 to 1")
    limits = truncation.get("token_limits", {})
    if not isinstance(limits, dict) or type(limits.get("post_instructions", 1)) is not int:
        return invalid(f"{path}.token_limits", "an object with a number of tokens")
    return None


def _check_noise_reduction(update: Mapping[str, Any]) -> Problem | None:
    path = "session.audio.input.noise_reduction"
    reduction = update.get("audio", {}).get("input", {}).get("noise_reduction")
    if reduction is not None and reduction.get("type", "near_field") not in NOISE_REDUCTIONS:
        return invalid(f"{path}.type", " or ".join(NOISE_REDUCTIONS))
    return None


def _check_reasoning(update: Mapping[str, Any], model: str) -> Problem | None:
    reasoning = update.get("reasoning")
    if reasoning is None:
        return None
    if not model.startswith("gpt-realtime-2"):
        return unknown("session.reasoning")
    return None if reasoning.get("effort") in EFFORTS else invalid("session.reasoning.effort", " or ".join(EFFORTS))


def _check_turns(update: Mapping[str, Any]) -> Problem | None:
    path = "session.audio.input.turn_detection"
    turns = update.get("audio", {}).get("input", {}).get("turn_detection")
    if turns is None:
        return None
    if not isinstance(turns, dict) or turns.get("type") not in tuple(TURN_DEFAULTS):
        return invalid(f"{path}.type", "'server_vad' or 'semantic_vad'")
    for key, value in turns.items():
        if key != "type" and key not in TURN_DEFAULTS[turns["type"]] and key not in FLAGS:
            return unknown(f"{path}.{key}")
        if key in FLAGS and type(value) is not bool:
            return invalid(f"{path}.{key}", "a boolean")
        if key in ("prefix_padding_ms", "silence_duration_ms") and (type(value) is not int or value < 0):
            return invalid(f"{path}.{key}", "an integer of milliseconds")
    if turns.get("eagerness", "auto") not in EAGERNESS:
        return invalid(f"{path}.eagerness", " or ".join(EAGERNESS))
    if not _is_number(turns.get("threshold", 0.5), 0, 1):
        return invalid(f"{path}.threshold", "a number from 0 to 1")
    idle = turns.get("idle_timeout_ms")
    if idle is not None and not (type(idle) is int and 5000 <= idle <= 30000):
        return invalid(f"{path}.idle_timeout_ms", "null or 5000 to 30000")
    return None


def _check_output(update: Mapping[str, Any], session: Mapping[str, Any], spoke: bool) -> Problem | None:
    output = update.get("audio", {}).get("output", {})
    voice = output.get("voice")
    if voice is not None and voice not in VOICES and not (isinstance(voice, dict) and "id" in voice):
        return invalid("session.audio.output.voice", "a known voice")
    if voice is not None and spoke and voice != session["audio"]["output"]["voice"]:
        text = "Cannot update a conversation's voice if assistant audio is present."
        return Problem("cannot_update_voice", "session.audio.output.voice", text)
    if not _is_number(output.get("speed", 1.0), 0.25, 1.5):
        return invalid("session.audio.output.speed", "a number from 0.25 to 1.5")
    return None


def _is_number(value: Any, least: float, most: float) -> bool:
    return type(value) in (int, float) and least <= value <= most


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
