"""The loopback model over a connection in memory: its events are OpenAI's, in their order, and it can be interrupted."""

import base64
import json
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from actors.mulaw import silence
from tests.transport.loopback.model_kit import (
    EVENTS,
    KEY,
    PATH,
    PCMU,
    VOICE,
    WORDS,
    Client,
    a_client,
    a_talk,
    session,
    unknown_fields,
)
from transport.loopback.model import LoopbackModel
from transport.loopback.script import Call, Faults, Reply, Script, Speech, say
from transport.loopback.speech import line

# The session's own fields that the types of its updates do not have; they are on the wire.
READ_ONLY = {
    f"session.{kind}.session.{name}" for kind in ("created", "updated") for name in ("id", "object", "expires_at")
}


# ---------------------------------------------------------------- who is let in


@pytest.mark.parametrize(
    ("key", "path", "headers", "code", "close"),
    [
        ("Bearer wrong", PATH, (), "invalid_api_key", 3000),
        ("", PATH, (), "invalid_api_key", 3000),
        ("sk-loopback", PATH, (), "invalid_api_key", 3000),
        ("", PATH, (("api-key", "wrong"),), "invalid_api_key", 3000),
        (KEY, PATH, (("OpenAI-Beta", "realtime=v1"),), "beta_api_shape_disabled", 4000),
        (KEY, "/v1/realtime", (), "missing_model", 4000),
        (KEY, "/v1/realtime?model=", (), "missing_model", 4000),
        (KEY, "/v1/realtime?model=gpt-4o", (), "invalid_model", 4000),
        (KEY, "/v1/realtime?model=gpt-live-1", (), "invalid_model", 4000),
    ],
)
async def test_a_connection_is_refused_after_the_upgrade_by_an_error_and_a_close(
    key: str,
    path: str,
    headers: tuple[tuple[str, str], ...],
    code: str,
    close: int,
    autojump_clock: MockClock,
) -> None:
    model = LoopbackModel()
    async with a_client(model, path, *headers, key=key) as client:
        assert await client.closed() == (close, f"invalid_request_error.{code}")
    (error,) = client.of("error")
    assert client.kinds() == ["error"]
    EVENTS.validate_python(error)
    assert error["error"]["code"] == code
    assert model.sessions[0].errors == [code]


@pytest.mark.parametrize(("key", "headers"), [(KEY, ()), ("", (("api-key", "sk-loopback"),))])
async def test_either_header_with_the_key_opens_a_session_with_the_defaults(
    key: str, headers: tuple[tuple[str, str], ...], autojump_clock: MockClock
) -> None:
    async with a_client(LoopbackModel(), PATH, *headers, key=key) as client:
        created = await client.next("session.created")
    assert client.kinds() == ["session.created"]
    assert created["session"]["model"] == "gpt-realtime-2.1"
    assert created["session"]["audio"]["output"]["format"] == {"type": "audio/pcm", "rate": 24000}


# ---------------------------------------------------------------- one whole conversation


async def test_a_whole_conversation_is_in_events_of_openais_types(autojump_clock: MockClock) -> None:
    script = Script(
        turns=(
            Reply((say("agent_checking"), Call("opening_hours", '{"day": "all"}'))),
            Reply((say("agent_saturday"),)),
        ),
        after_tools=(Reply((say("agent_hours"),)),),
        said=("When are you open?", "Only Saturday."),
    )
    patient = {"type": "server_vad", "silence_duration_ms": 700}
    audio = {"input": {**session()["audio"]["input"], "turn_detection": patient}, "output": PCMU}
    async with a_talk(script, audio=audio) as client:
        await client.append(line("caller_hours").audio + silence(1000))
        called = await client.next("response.function_call_arguments.done")
        await client.next("rate_limits.updated")
        output = {"type": "function_call_output", "call_id": called["call_id"], "output": '{"hours": "8-18"}'}
        await client.send("conversation.item.create", item=output)
        await client.send("response.create")
        item = (await client.next("response.output_item.added"))["item"]["id"]
        await client.next("response.output_audio.delta")
        await client.append(line("caller_interrupt").audio + silence(1000))
        await client.send("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=150)
        await client.next("conversation.item.truncated")
        await client.next("response.done")
        await client.send("conversation.item.retrieve", item_id=item)
        await client.next("conversation.item.retrieved")
        await client.send("conversation.item.delete", item_id=item)
        await client.next("conversation.item.deleted")
        await client.send("input_audio_buffer.clear")
        await client.next("input_audio_buffer.cleared")
        await client.send("input_audio_buffer.commit", event_id="c9")
        await client.refused()
    (log,) = client.model.sessions
    assert log.tool_results == [(called["call_id"], '{"hours": "8-18"}')]
    assert [status for _, status in log.replies] == ["completed", "cancelled", "completed"]
    assert log.truncations == [(item, 150)]
    transcripts = client.of("conversation.item.input_audio_transcription.completed")
    assert [event["transcript"] for event in transcripts] == list(script.said)
    ids = [event["event_id"] for _, event in client.came]
    assert len(set(ids)) == len(ids)
    for _, event in client.came:
        typed = EVENTS.validate_python(event)
        assert typed.type == event["type"]
        assert set(unknown_fields(typed, event["type"])) <= READ_ONLY


async def test_a_turn_and_its_reply_come_in_the_order_of_the_wire(autojump_clock: MockClock) -> None:
    async with a_talk(Script((Reply((Speech("Hi.", WORDS.audio[:800]),)),))) as client:
        await client.turn()
        await client.next("response.done")
    turn = client.of("input_audio_buffer.speech_started")[0]["item_id"]
    assert {event["item_id"] for _, event in client.came[2:4]} == {turn}
    assert client.of("conversation.item.added")[0]["item"]["id"] == turn
    assert client.of("conversation.item.added")[1]["previous_item_id"] == turn
    late = "conversation.item.input_audio_transcription"
    assert [kind for kind in client.kinds() if not kind.startswith(late)] == [
        "session.created",
        "session.updated",
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_audio_transcript.delta",
        "response.output_audio.delta",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
    ]


async def test_audio_comes_whole_and_faster_than_it_sounds_its_words_ahead_of_it(autojump_clock: MockClock) -> None:
    async with a_talk(Script((Reply((WORDS,), speed=5.0, delta_ms=200),))) as client:
        await client.turn()
        await client.next("response.done")
    deltas = [(at, event) for at, event in client.came if event["type"] == "response.output_audio.delta"]
    item = deltas[0][1]["item_id"]
    assert client.spoken(item) == WORDS.audio
    assert [len(base64.b64decode(event["delta"])) for _, event in deltas] == [1600] * 20
    assert deltas[-1][0] - deltas[0][0] == pytest.approx(3.8 / 5, abs=0.01)
    heard, words = 0, ""
    for _, event in client.came:
        if event["type"] == "response.output_audio.delta":
            heard += 1600
            assert len(words) >= len(WORDS.words) * heard // len(WORDS.audio)
        elif event["type"] == "response.output_audio_transcript.delta":
            words += event["delta"]
    assert words == WORDS.words == client.of("response.output_audio_transcript.done")[0]["transcript"]


async def test_a_client_that_forgets_the_format_gets_no_turn_and_24_khz(autojump_clock: MockClock) -> None:
    async with a_client(LoopbackModel(Script(on_text=(Reply((WORDS,)),)))) as client:
        await client.turn(1000)
        await client.message("Hello?")
        await client.send("response.create")
        done = await client.next("response.done")
    assert "input_audio_buffer.speech_started" not in client.kinds()
    assert client.spoken(done["response"]["output"][0]["id"]) == bytes(6 * len(WORDS.audio))


# ---------------------------------------------------------------- interruption and truncation


async def speaking(client: Client) -> str:
    """The id of the item that is being spoken, from its second delta on."""
    await client.turn()
    await client.next("response.output_audio.delta")
    return (await client.next("response.output_audio.delta"))["item_id"]


SLOW = Script((Reply((WORDS,), speed=1.0),))


@pytest.mark.parametrize("stray", [0, 1, 3])
async def test_an_interruption_breaks_the_reply_off(stray: int, autojump_clock: MockClock) -> None:
    async with a_talk(SLOW, Faults(stray_deltas=stray)) as client:
        item = await speaking(client)
        await client.append(VOICE * 60)
        done = await client.next("response.done")
    assert done["response"]["status"] == "cancelled"
    assert done["response"]["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    assert [(o["id"], o["status"]) for o in done["response"]["output"]] == [(item, "incomplete")]
    kinds = client.kinds()
    late = kinds[len(kinds) - kinds[::-1].index("input_audio_buffer.speech_started") :]
    assert late.count("response.output_audio.delta") == stray
    assert len(client.spoken(item)) < len(WORDS.audio)
    assert client.model.sessions[0].replies == [(done["response"]["id"], "cancelled")]


async def test_a_reply_that_is_broken_off_before_it_spoke_cost_nothing(autojump_clock: MockClock) -> None:
    async with a_talk(Script((Reply((WORDS,), delay_ms=5000),))) as client:
        await client.turn()
        await client.append(VOICE * 100)
        response = (await client.next("response.done"))["response"]
    assert (response["status"], response["output"]) == ("cancelled", [])
    assert {response["usage"][name] for name in ("total_tokens", "input_tokens", "output_tokens")} == {0}


async def test_a_reply_that_was_sent_whole_is_not_cancelled(autojump_clock: MockClock) -> None:
    async with a_talk(Script((Reply((WORDS,)),))) as client:
        await client.turn()
        await client.next("rate_limits.updated")
        await client.append(VOICE * 100)
        await client.next("input_audio_buffer.speech_started")
        await trio.sleep(1)
        await client.send("input_audio_buffer.clear")
        await client.next("input_audio_buffer.cleared")
    assert client.kinds()[-2:] == ["input_audio_buffer.speech_started", "input_audio_buffer.cleared"]


async def test_without_interruption_the_reply_goes_on_over_the_caller(autojump_clock: MockClock) -> None:
    vad = {"type": "server_vad", "interrupt_response": False, "create_response": False}
    audio = {"input": {**PCMU, "turn_detection": vad}, "output": PCMU}
    async with a_talk(SLOW, audio=audio) as client:
        await client.send("response.create")
        await client.next("response.output_audio.delta")
        await client.turn()
        done = await client.next("response.done")
    assert done["response"]["status"] == "completed"
    assert client.spoken(done["response"]["output"][0]["id"]) == WORDS.audio
    assert len(client.of("response.created")) == 1


async def test_a_truncated_item_loses_its_words_and_cannot_be_truncated_beyond_what_is_left(
    autojump_clock: MockClock,
) -> None:
    async with a_talk(Script((Reply((WORDS,)),))) as client:
        await client.turn()
        item = (await client.next("response.done"))["response"]["output"][0]["id"]
        where = {"item_id": item, "content_index": 0}
        await client.send("conversation.item.truncate", event_id="t1", **where, audio_end_ms=4001)
        error = await client.refused()
        assert (error["code"], error["event_id"]) == ("invalid_value", "t1")
        assert error["message"] == "Audio content of 4000ms is already shorter than 4001ms"
        await client.send("conversation.item.truncate", **where, audio_end_ms=1480)
        truncated = await client.next("conversation.item.truncated")
        assert (truncated["item_id"], truncated["content_index"], truncated["audio_end_ms"]) == (item, 0, 1480)
        await client.send("conversation.item.truncate", **where, audio_end_ms=1481)
        assert (await client.refused())["code"] == "invalid_value"
        await client.send("conversation.item.retrieve", item_id=item)
        retrieved = await client.next("conversation.item.retrieved")
    assert WORDS.words not in json.dumps(retrieved)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"item_id": "item_nobody", "audio_end_ms": 10}, "item_truncate_invalid_item_id"),
        ({"item_id": "typed", "audio_end_ms": 10}, "invalid_value"),
        ({"item_id": "typed", "audio_end_ms": 10.5}, "invalid_type"),
        ({"item_id": "typed", "audio_end_ms": "10"}, "invalid_type"),
        ({"item_id": "typed", "audio_end_ms": -1}, "invalid_type"),
        ({"item_id": "typed", "audio_end_ms": 10, "content_index": None}, "invalid_type"),
    ],
)
async def test_only_audio_of_the_model_is_truncated(
    fields: dict[str, Any], code: str, autojump_clock: MockClock
) -> None:
    async with a_talk() as client:
        await client.message("Hello", id="typed")
        await client.send("conversation.item.truncate", **{"content_index": 0, **fields})
        assert (await client.refused())["code"] == code
    assert client.model.sessions[0].truncations == []


async def test_an_item_may_be_truncated_while_it_is_spoken(autojump_clock: MockClock) -> None:
    async with a_talk(SLOW) as client:
        item = await speaking(client)
        await client.send("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=100)
        await client.send("response.cancel")
        done = await client.next("response.done")
    assert done["response"]["status"] == "cancelled"
    assert WORDS.audio.startswith(client.spoken(item))


async def test_what_is_truncated_while_it_is_spoken_is_sent_to_its_end_but_not_kept(autojump_clock: MockClock) -> None:
    async with a_talk(SLOW) as client:
        item = await speaking(client)
        where = {"item_id": item, "content_index": 0}
        await client.send("conversation.item.truncate", **where, audio_end_ms=100)
        await client.next("response.done")
        await client.send("conversation.item.truncate", **where, audio_end_ms=101)
        assert "100ms" in (await client.refused())["message"]
        await client.send("conversation.item.retrieve", item_id=item)
        retrieved = await client.next("conversation.item.retrieved")
    assert client.spoken(item) == WORDS.audio
    assert client.of("response.output_audio_transcript.done")[0]["transcript"] == WORDS.words
    assert retrieved["item"]["content"] == [{"type": "output_audio"}]
