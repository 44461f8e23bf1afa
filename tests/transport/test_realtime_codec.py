"""The Realtime codec: what is written is as the `openai` package's types have it."""

import base64
import json
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import realtime
from pydantic import ValidationError

from actors import messages as say
from actors.messages import Role
from tests.transport.realtime_kit import CONFIG, TURNS, documented, texts
from transport.realtime_codec import append, write

# ---------------------------------------------------------------- what is written

COMMANDS: list[tuple[say.ModelCommand, str]] = [
    (say.Probe(), '"session.update","session":{"type":"realtime"}'),
    (say.AskReply(), '"response.create"'),
    (say.CommitTurn(), '"input_audio_buffer.commit"'),
    (say.CancelReply("resp_1"), '"response.cancel","response_id":"resp_1"'),
    (say.Truncate("i_1", 14), '"conversation.item.truncate","item_id":"i_1","content_index":0,"audio_end_ms":14'),
    (say.DropItem("item_1"), '"conversation.item.delete","item_id":"item_1"'),
    (
        say.ToolResult("call_1", {"ok": True, "name": "Zoë"}),
        '"conversation.item.create","item":{"type":"function_call_output","call_id":"call_1",'
        r'"output":"{\"ok\":true,\"name\":\"Zoë\"}"}',
    ),
]
ROLES = [
    (Role.CALLER, "user", "input_text"),
    (Role.AGENT, "assistant", "output_text"),
    (Role.OPERATOR, "system", "input_text"),
]


@pytest.mark.parametrize(("command", "event"), COMMANDS, ids=lambda x: type(x).__name__)
def test_every_command_is_written_exactly_as_documented(command: say.ModelCommand, event: str) -> None:
    text = write(command, "triode_7")
    assert json.loads(text) == {"event_id": "triode_7", **json.loads(f'{{"type":{event}}}')}
    documented(text)


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("item", ["", "told_1"])
@pytest.mark.parametrize(("role", "speaker", "part"), ROLES)
def test_words_are_told_in_the_name_of_who_said_them(
    role: Role, speaker: str, part: str, item: str, first: bool
) -> None:
    text = write(say.Tell(role, "Hello.", item, first), "t")
    told = {"type": "message", "role": speaker, "content": [{"type": part, "text": "Hello."}]}
    event = {"event_id": "t", "type": "conversation.item.create", "item": {"id": item, **told} if item else told}
    assert json.loads(text) == (event | {"previous_item_id": "root"} if first else event)
    documented(text)


SESSION_WRITTEN = """{"type":"realtime","output_modalities":["audio"],"instructions":"Be kind.",
 "tools":[{"type":"function","name":"save_contact","description":"Keeps it.",
   "parameters":{"type":"object","properties":{"email":{"type":"string"}}}}],
 "tool_choice":"auto","reasoning":{"effort":"low"},"max_output_tokens":1024,
 "include":["item.input_audio_transcription.logprobs"],
 "audio":{"input":{"format":{"type":"audio/pcmu"},"noise_reduction":null,
   "transcription":{"model":"gpt-live-transcribe","languages":["de"]},
   "turn_detection":{"type":"server_vad","threshold":0.6,"prefix_padding_ms":300,"silence_duration_ms":500,
     "idle_timeout_ms":null,"create_response":true,"interrupt_response":false}},
  "output":{"format":{"type":"audio/pcmu"},"voice":"marin","speed":1.0}}}"""


def test_a_whole_session_is_written_exactly_as_documented() -> None:
    text = write(say.Configure(CONFIG), "t")
    documented(text)
    assert json.loads(text) == {"event_id": "t", "type": "session.update", "session": json.loads(SESSION_WRITTEN)}


@pytest.mark.parametrize(
    ("model", "language", "transcription"),
    [
        ("", "de", None),
        ("gpt-4o-transcribe", "", {"model": "gpt-4o-transcribe"}),
        ("gpt-4o-transcribe", "de", {"model": "gpt-4o-transcribe", "language": "de"}),
        ("gpt-transcribe", "de", {"model": "gpt-transcribe", "languages": ["de"]}),
        ("gpt-live-transcribe", "", {"model": "gpt-live-transcribe"}),
    ],
)
def test_the_language_is_said_as_the_transcriber_takes_it(
    model: str, language: str, transcription: dict[str, Any] | None
) -> None:
    config = say.SessionConfig("ash", "", (), TURNS, model, language, "", 100)
    text = write(say.Configure(config), "t")
    documented(text)
    assert json.loads(text)["session"]["audio"]["input"]["transcription"] == transcription


def test_a_model_that_does_not_reason_is_not_told_to_and_no_tools_are_said() -> None:
    text = write(say.Configure(say.SessionConfig("ash", "", (), TURNS, "", "", "", 100)), "t")
    session = json.loads(text)["session"]
    assert "reasoning" not in session
    assert session["tools"] == []  # left out, the tools of before would stay
    documented(text)


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "response.creates"},
        {"type": "response.create", "extra": 1},
        {"type": "conversation.item.truncate", "item_id": "i", "content_index": 0, "audio_end_ms": 1.5},
        {"type": "conversation.item.truncate", "item_id": "i", "content_index": 0},
        {"type": "session.update", "session": {"type": "realtime", "voice": "marin"}},
        {"type": "session.update", "session": {"type": "realtime", "audio": {"input": {"format": {"type": "g711"}}}}},
        {"type": "session.update", "session": {"type": "realtime", "tools": [{"type": "function", "strict": True}]}},
        {"type": "conversation.item.create", "item": {"type": "message", "role": "assistant", "content": [{"x": 1}]}},
    ],
    ids=repr,
)
def test_the_check_against_the_documentation_has_teeth(wrong: dict[str, Any]) -> None:
    with pytest.raises((ValidationError, AssertionError)):
        documented(json.dumps(wrong))


@given(st.sampled_from(Role), texts, texts, st.booleans())
def test_any_words_reach_the_model_as_they_are(role: Role, words: str, item: str, first: bool) -> None:
    event = documented(write(say.Tell(role, words, item, first), "t"))
    assert isinstance(event, realtime.ConversationItemCreateEvent)
    assert event.model_dump()["item"]["content"][0]["text"] == words


@given(st.dictionaries(texts, st.recursive(st.none() | st.booleans() | texts, lambda x: st.lists(x, max_size=3))))
def test_the_result_of_a_tool_is_encoded_once(output: dict[str, object]) -> None:
    event = documented(write(say.ToolResult("call_1", output), "t"))
    assert json.loads(event.model_dump()["item"]["output"]) == output


@given(st.lists(st.binary(max_size=400), max_size=6), st.integers(0, 60))
def test_payloads_are_joined_byte_for_byte(chunks: list[bytes], silence_ms: int) -> None:
    event = documented(append([base64.b64encode(chunk).decode() for chunk in chunks], silence_ms))
    assert isinstance(event, realtime.InputAudioBufferAppendEvent)
    assert base64.b64decode(event.audio, validate=True) == b"".join(chunks) + b"\xff" * 8 * silence_ms


@given(st.binary(min_size=1, max_size=400))
def test_a_single_payload_is_passed_on_as_it_came(audio: bytes) -> None:
    payload = base64.b64encode(audio).decode()
    assert json.loads(append([payload])) == {"type": "input_audio_buffer.append", "audio": payload}


@given(st.floats(0, 1), st.integers(0, 2000), st.integers(100, 5000), st.booleans(), st.booleans())
def test_another_patience_is_written_whole_and_changes_nothing_else(
    threshold: float, prefix_ms: int, silence_ms: int, create: bool, interrupt: bool
) -> None:
    turns = say.TurnDetection(threshold, prefix_ms, silence_ms, create, interrupt)
    text = write(say.Retune(turns), "t")
    documented(text)
    session = json.loads(text)["session"]
    assert session.keys() == {"type", "audio"}
    assert session["audio"].keys() == {"input"}
    assert session["audio"]["input"].keys() == {"turn_detection"}
    whole = json.loads(write(say.Configure(attrs.evolve(CONFIG, turn_detection=turns)), "t"))["session"]
    assert session["audio"]["input"]["turn_detection"] == whole["audio"]["input"]["turn_detection"]
