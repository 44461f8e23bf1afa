"""The loopback model's session: every documented shape of `session.update` is taken, everything else refused by name."""

import copy
from typing import Any

import pytest
from openai.types.realtime import RealtimeSessionCreateRequest

from tests.transport.loopback.model_kit import unknown_fields
from transport.loopback.session import VOICES, apply_update, check_update, new_session

MODEL = "gpt-realtime-2.1"
FUNCTION = {"type": "function", "name": "end_call", "description": "Ends it.", "parameters": {"type": "object"}}
VAD = {
    "type": "server_vad",
    "threshold": 0.6,
    "prefix_padding_ms": 300,
    "silence_duration_ms": 500,
    "idle_timeout_ms": None,
    "create_response": True,
    "interrupt_response": False,
}
WHOLE = {
    "type": "realtime",
    "output_modalities": ["audio"],
    "instructions": "…",
    "tools": [FUNCTION],
    "tool_choice": "auto",
    "reasoning": {"effort": "low"},
    "max_output_tokens": 1024,
    "truncation": {"type": "retention_ratio", "retention_ratio": 0.8, "token_limits": {"post_instructions": 8000}},
    "audio": {
        "input": {
            "format": {"type": "audio/pcmu"},
            "noise_reduction": None,
            "transcription": {"model": "gpt-live-transcribe", "languages": ["de"], "keywords": ["Triode"]},
            "turn_detection": VAD,
        },
        "output": {"format": {"type": "audio/pcmu"}, "voice": "marin", "speed": 1.0},
    },
}


def session(model: str = MODEL) -> dict[str, Any]:
    return new_session("sess_1", model, 1_790_000_000)


def audio_in(**fields: object) -> dict[str, Any]:
    return {"audio": {"input": fields}}


def audio_out(**fields: object) -> dict[str, Any]:
    return {"audio": {"output": fields}}


def vad(**fields: object) -> dict[str, Any]:
    return audio_in(turn_detection={"type": "server_vad", **fields})


TAKEN: list[dict[str, Any]] = [
    {},
    WHOLE,
    {"model": MODEL},
    {"instructions": ""},
    {"output_modalities": ["text"]},
    {"tools": []},
    {"tools": [{"type": "function", "name": "bare"}]},
    {"tools": [FUNCTION, {"type": "mcp", "server_label": "crm", "server_url": "https://crm.example.com"}]},
    *({"tool_choice": choice} for choice in ("auto", "none", "required", {"type": "function", "name": "end_call"})),
    {"tool_choice": {"type": "mcp", "server_label": "crm", "name": "find"}},
    {"parallel_tool_calls": True},
    *({"reasoning": {"effort": effort}} for effort in ("minimal", "low", "medium", "high", "xhigh")),
    *({"max_output_tokens": limit} for limit in (1, 4096, "inf")),
    {"truncation": "auto"},
    {"truncation": "disabled"},
    {"truncation": {"type": "retention_ratio", "retention_ratio": 0.5}},
    {"tracing": None},
    {"tracing": "auto"},
    {"tracing": {"workflow_name": "calls", "group_id": "g", "metadata": {"a": "b"}}},
    {"prompt": None},
    {"prompt": {"id": "pmpt_1", "version": "2", "variables": {"name": "Ann"}}},
    {"include": ["item.input_audio_transcription.logprobs"]},
    {"audio": {}},
    {"audio": {"input": {}, "output": {}}},
    *(audio_in(format={"type": f"audio/{kind}"}) for kind in ("pcm", "pcmu", "pcma")),
    audio_in(format={"type": "audio/pcm", "rate": 24000}),
    audio_out(format={"type": "audio/pcm", "rate": 24000}),
    audio_in(noise_reduction=None),
    audio_in(noise_reduction={"type": "near_field"}),
    audio_in(noise_reduction={"type": "far_field", "strength": 0.5}),
    audio_in(transcription=None),
    audio_in(transcription={"model": "gpt-4o-transcribe", "language": "de", "prompt": "Names: Ann."}),
    audio_in(transcription={"model": "gpt-realtime-whisper", "delay": "low"}),
    audio_in(turn_detection=None),
    vad(),
    vad(threshold=0),
    vad(threshold=1.0, idle_timeout_ms=5000),
    vad(idle_timeout_ms=30000, create_response=False),
    *(
        audio_in(turn_detection={"type": "semantic_vad", "eagerness": eagerness, "interrupt_response": True})
        for eagerness in ("low", "medium", "high", "auto")
    ),
    *(audio_out(voice=voice) for voice in VOICES),
    audio_out(voice={"id": "voice_1234"}),
    audio_out(speed=0.25),
    audio_out(speed=1.5),
]


@pytest.mark.parametrize("fields", TAKEN, ids=str)
def test_every_documented_shape_is_taken(fields: dict[str, Any]) -> None:
    update = {"type": "realtime", **fields}
    documented = RealtimeSessionCreateRequest.model_validate(update)
    assert list(unknown_fields(documented, "session")) == []
    assert check_update(update, session(), spoke=False) is None
    after = apply_update(session(), update)
    for name in fields:
        assert name in after
    RealtimeSessionCreateRequest.model_validate(after)


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    # the interface of the beta
    *(
        ({field: value}, "unknown_parameter", f"session.{field}")
        for field, value in {
            "modalities": ["audio", "text"],
            "voice": "alloy",
            "speed": 1.0,
            "input_audio_format": "g711_ulaw",
            "output_audio_format": "g711_ulaw",
            "input_audio_transcription": {"model": "whisper-1"},
            "input_audio_noise_reduction": {"type": "near_field"},
            "turn_detection": {"type": "server_vad"},
            "max_response_output_tokens": 100,
            "temperature": 0.8,
        }.items()
    ),
    # fields that do not exist
    ({"mood": "good"}, "unknown_parameter", "session.mood"),
    ({"audio": {"both": {}}}, "unknown_parameter", "session.audio.both"),
    (audio_in(echo=True), "unknown_parameter", "session.audio.input.echo"),
    (audio_in(format={"type": "audio/pcmu", "bits": 8}), "unknown_parameter", "session.audio.input.format.bits"),
    (audio_in(transcription={"engine": "x"}), "unknown_parameter", "session.audio.input.transcription.engine"),
    (audio_in(noise_reduction={"level": 1}), "unknown_parameter", "session.audio.input.noise_reduction.level"),
    (audio_out(turn_detection=None), "unknown_parameter", "session.audio.output.turn_detection"),
    (vad(eagerness="low"), "unknown_parameter", "session.audio.input.turn_detection.eagerness"),
    (
        audio_in(turn_detection={"type": "semantic_vad", "threshold": 0.5}),
        "unknown_parameter",
        "session.audio.input.turn_detection.threshold",
    ),
    ({"tools": [{**FUNCTION, "strict": True}]}, "unknown_parameter", "session.tools[0].strict"),
    (
        {"tools": [FUNCTION, {"type": "function", "function": FUNCTION}]},
        "unknown_parameter",
        "session.tools[1].function",
    ),
    ({"reasoning": {"budget": 1}}, "unknown_parameter", "session.reasoning.budget"),
    # wrong values and wrong types
    ({"output_modalities": ["audio", "text"]}, "invalid_value", "session.output_modalities"),
    ({"output_modalities": "audio"}, "invalid_value", "session.output_modalities"),
    ({"instructions": 5}, "invalid_value", "session.instructions"),
    *(
        ({"max_output_tokens": bad}, "invalid_value", "session.max_output_tokens")
        for bad in (0, 4097, "all", 1.5, True)
    ),
    *(
        (audio_in(format={"type": bad}), "invalid_value", "session.audio.input.format.type")
        for bad in ("g711_ulaw", "pcm16", "audio/opus", 8000)
    ),
    (audio_out(format={"rate": 24000}), "invalid_value", "session.audio.output.format.type"),
    *(
        (audio_in(format={"type": "audio/pcm", "rate": bad}), "invalid_value", "session.audio.input.format.rate")
        for bad in (8000, 16000)
    ),
    (audio_in(format="audio/pcmu"), "invalid_value", "session.audio.input.format"),
    (audio_in(transcription="whisper-1"), "invalid_value", "session.audio.input.transcription"),
    ({"audio": []}, "invalid_value", "session.audio"),
    ({"audio": {"output": None}}, "invalid_value", "session.audio.output"),
    ({"tools": {}}, "invalid_value", "session.tools"),
    ({"tools": ["end_call"]}, "invalid_value", "session.tools[0].type"),
    ({"tools": [{"type": "code"}]}, "invalid_value", "session.tools[0].type"),
    ({"tools": [{"type": "function"}]}, "missing_required_parameter", "session.tools[0].name"),
    ({"reasoning": {"effort": "extreme"}}, "invalid_value", "session.reasoning.effort"),
    (audio_in(turn_detection="server_vad"), "invalid_value", "session.audio.input.turn_detection.type"),
    *(
        (audio_in(turn_detection={"type": bad}), "invalid_value", "session.audio.input.turn_detection.type")
        for bad in ("none", None, ["server_vad"])
    ),
    *(
        (vad(**{name: bad}), "invalid_value", f"session.audio.input.turn_detection.{name}")
        for name, bads in {
            "threshold": (-0.1, 1.1, "0.5", True, None),
            "prefix_padding_ms": (-1, 300.0, "300"),
            "silence_duration_ms": (-1, True),
            "idle_timeout_ms": (4999, 30001, 6000.0),
            "create_response": (1, "true", None),
            "interrupt_response": (0,),
        }.items()
        for bad in bads
    ),
    (
        audio_in(turn_detection={"type": "semantic_vad", "eagerness": "eager"}),
        "invalid_value",
        "session.audio.input.turn_detection.eagerness",
    ),
    (audio_in(noise_reduction={"type": "loud"}), "invalid_value", "session.audio.input.noise_reduction.type"),
    *((audio_out(voice=bad), "invalid_value", "session.audio.output.voice") for bad in ("nova", "", 5, {})),
    *((audio_out(speed=bad), "invalid_value", "session.audio.output.speed") for bad in (0.2, 1.6, "1", None, True)),
    ({"tool_choice": "sometimes"}, "invalid_value", "session.tool_choice"),
    ({"tool_choice": {"type": "tool"}}, "invalid_value", "session.tool_choice.type"),
    ({"tool_choice": {"type": "function"}}, "missing_required_parameter", "session.tool_choice.name"),
    ({"tool_choice": {"type": "function", "name": 5}}, "invalid_value", "session.tool_choice.name"),
    (
        {"tool_choice": {"type": "mcp", "name": "find"}},
        "missing_required_parameter",
        "session.tool_choice.server_label",
    ),
    ({"truncation": "sometimes"}, "invalid_value", "session.truncation"),
    ({"truncation": {"event": "retention_ratio"}}, "unknown_parameter", "session.truncation.event"),
    ({"truncation": {"type": "auto"}}, "invalid_value", "session.truncation.type"),
    *(
        (
            {"truncation": {"type": "retention_ratio", "retention_ratio": bad}},
            "invalid_value",
            "session.truncation.retention_ratio",
        )
        for bad in (None, True, 1.1)
    ),
    ({"parallel_tool_calls": "yes"}, "invalid_value", "session.parallel_tool_calls"),
]


@pytest.mark.parametrize(("fields", "code", "param"), REFUSED, ids=str)
def test_anything_else_is_refused_with_the_code_and_the_path_of_what_is_wrong(
    fields: dict[str, Any], code: str, param: str
) -> None:
    problem = check_update({"type": "realtime", **fields}, session(), spoke=False)
    assert problem is not None
    assert (problem.code, problem.param) == (code, param)
    assert problem.message


@pytest.mark.parametrize(
    ("update", "code", "param"),
    [
        (None, "missing_required_parameter", "session"),
        ("realtime", "missing_required_parameter", "session"),
        ({"instructions": "Hi."}, "missing_required_parameter", "session.type"),
        ({"type": "transcription"}, "invalid_value", "session.type"),
    ],
)
def test_an_update_must_say_that_it_is_for_a_realtime_session(update: object, code: str, param: str) -> None:
    problem = check_update(update, session(), spoke=False)
    assert problem is not None
    assert (problem.code, problem.param) == (code, param)


def test_a_beta_shaped_tool_choice_is_refused() -> None:
    update = {"type": "realtime", "tool_choice": {"type": "function", "function": {"name": "end_call"}}}
    problem = check_update(update, session(), spoke=False)
    assert problem is not None
    assert (problem.code, problem.param) == ("unknown_parameter", "session.tool_choice.function")


@pytest.mark.parametrize("model", ["gpt-realtime", "gpt-realtime-1.5", "gpt-realtime-mini"])
def test_a_model_that_does_not_reason_refuses_reasoning(model: str) -> None:
    update = {"type": "realtime", "instructions": "Hi.", "reasoning": {"effort": "low"}}
    problem = check_update(update, session(model), spoke=False)
    assert problem is not None
    assert problem.param == "session.reasoning"


def test_the_voice_may_change_until_there_is_audio_and_not_after() -> None:
    other, same = ({"type": "realtime", **audio_out(voice=voice)} for voice in ("marin", "alloy"))
    assert check_update(other, session(), spoke=False) is None
    assert check_update(same, session(), spoke=True) is None
    assert check_update({"type": "realtime", **audio_out(speed=1.2)}, session(), spoke=True) is None
    problem = check_update(other, session(), spoke=True)
    assert problem is not None
    assert (problem.code, problem.param) == ("cannot_update_voice", "session.audio.output.voice")


# ---------------------------------------------------------------- what is echoed


def test_a_new_session_has_the_defaults_of_the_real_one() -> None:
    fresh = session()
    RealtimeSessionCreateRequest.model_validate(fresh)
    assert (fresh["id"], fresh["model"], fresh["expires_at"]) == ("sess_1", MODEL, 1_790_000_000)
    pcm = {"type": "audio/pcm", "rate": 24000}
    assert fresh["audio"]["input"]["format"] == fresh["audio"]["output"]["format"] == pcm
    assert fresh["audio"]["input"]["turn_detection"] == {
        "type": "server_vad",
        "threshold": 0.5,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 200,
        "idle_timeout_ms": None,
        "create_response": True,
        "interrupt_response": True,
    }


def test_what_an_update_leaves_out_stays_and_what_it_names_is_echoed() -> None:
    before = session()
    untouched = copy.deepcopy(before)
    after = apply_update(before, WHOLE)
    assert before == untouched
    assert {name: after[name] for name in WHOLE} == WHOLE
    assert {name: after[name] for name in ("id", "object", "expires_at", "model", "tracing")} == {
        name: before[name] for name in ("id", "object", "expires_at", "model", "tracing")
    }
    again = apply_update(after, {"type": "realtime", "instructions": "Be brief."})
    assert again == {**after, "instructions": "Be brief."}


def test_formats_and_turn_detection_are_replaced_as_a_whole() -> None:
    whole = apply_update(session(), WHOLE)
    after = apply_update(
        whole, {"type": "realtime", **audio_in(format={"type": "audio/pcma"}, turn_detection={"type": "semantic_vad"})}
    )
    assert after["audio"]["input"]["format"] == {"type": "audio/pcma"}
    assert after["audio"]["input"]["turn_detection"] == {
        "type": "semantic_vad",
        "eagerness": "auto",
        "create_response": True,
        "interrupt_response": True,
    }
    assert after["audio"]["input"]["transcription"] == whole["audio"]["input"]["transcription"]
    assert after["audio"]["output"] == whole["audio"]["output"]
    off = apply_update(after, {"type": "realtime", **audio_in(turn_detection=None)})
    assert off["audio"]["input"]["turn_detection"] is None


def test_a_later_change_of_the_update_does_not_reach_the_session() -> None:
    update = copy.deepcopy(WHOLE)
    after = apply_update(session(), update)
    update["audio"]["output"]["format"]["type"] = "audio/pcm"
    update["tools"].clear()
    assert after["audio"]["output"]["format"] == {"type": "audio/pcmu"}
    assert after["tools"] == [FUNCTION]
