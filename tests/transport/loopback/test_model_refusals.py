"""The loopback model refuses what the real one refuses, and misbehaves as it is told to."""

import base64
import contextlib
from typing import Any

import pytest
import trio
import trio.testing
import trio_websocket
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
)
from transport.loopback.model import LoopbackModel
from transport.loopback.script import Call, Faults, Prompted, Reply, Script, Speech, Transcript, say

# ---------------------------------------------------------------- what is refused in a session


async def test_a_refused_update_changes_nothing_and_names_the_event(autojump_clock: MockClock) -> None:
    async with a_talk() as client:
        await client.send("session.update", event_id="u1", session=session(instructions="No.", temperature=0.8))
        error = await client.refused()
        assert (error["code"], error["param"], error["event_id"]) == ("unknown_parameter", "session.temperature", "u1")
        await client.send("session.update", session={"type": "realtime", "tool_choice": "none"})
        assert (await client.next("session.updated"))["session"]["instructions"] == "Be helpful."


async def test_the_voice_is_fixed_once_it_was_heard(autojump_clock: MockClock) -> None:
    async with a_talk(Script((Reply((WORDS,)),))) as client:
        await client.turn()
        await client.next("response.done")
        change = {"type": "realtime", "audio": {"output": {"voice": "cedar"}}}
        await client.send("session.update", session=change)
        assert (await client.refused())["code"] == "cannot_update_voice"


async def test_a_second_reply_is_refused_while_one_is_active_unless_it_is_apart(autojump_clock: MockClock) -> None:
    async with a_talk(Script((Reply((WORDS,)), Reply((WORDS,)), Reply((WORDS,))))) as client:
        await client.send("response.create")
        active = (await client.next("response.created"))["response"]["id"]
        await client.send("response.create", event_id="r2")
        error = await client.refused()
        assert (error["code"], error["event_id"]) == ("conversation_already_has_active_response", "r2")
        assert active in error["message"]
        await client.send("response.create", response={"conversation": "none", "metadata": {"for": "notes"}})
        apart = (await client.next("response.created"))["response"]
        assert (apart["conversation_id"], apart["metadata"]) == (None, {"for": "notes"})
        done = [(await client.next("response.done"))["response"] for _ in range(2)]
        await client.next("rate_limits.updated")
        await client.send("response.create")
        await client.next("response.created")
    assert {response["id"]: response["metadata"] for response in done} == {active: None, apart["id"]: {"for": "notes"}}
    items = [event["item"]["id"] for event in client.of("conversation.item.added")]
    assert items == [response["output"][0]["id"] for response in done if response["id"] == active]


async def test_a_cancel_reaches_the_reply_of_the_conversation_or_the_one_it_names(autojump_clock: MockClock) -> None:
    async with a_talk(Script((Reply((WORDS,)), Reply((WORDS,))))) as client:
        await client.send("response.create", response={"conversation": "none"})
        apart = (await client.next("response.created"))["response"]["id"]
        await client.send("response.cancel")
        assert (await client.refused())["code"] == "response_cancel_not_active"
        await client.send("response.create")
        own = (await client.next("response.created"))["response"]["id"]
        await client.send("response.cancel")
        first = (await client.next("response.done"))["response"]
        await client.send("response.cancel", response_id=apart)
        second = (await client.next("response.done"))["response"]
    assert [first["id"], second["id"]] == [own, apart]
    assert first["status_details"] == second["status_details"] == {"type": "cancelled", "reason": "client_cancelled"}


@pytest.mark.parametrize(
    ("event", "code", "param"),
    [
        ({"type": "response.audio.play"}, "invalid_value", "type"),
        ({"type": "transcription_session.update"}, "invalid_value", "type"),
        ({"type": "input_audio_buffer.append", "audio": "not base64!"}, "invalid_value", "audio"),
        ({"type": "input_audio_buffer.append", "audio": 5}, "invalid_value", "audio"),
        ({"type": "input_audio_buffer.commit"}, "input_audio_buffer_commit_empty", None),
        ({"type": "conversation.item.create"}, "missing_required_parameter", "item"),
        ({"type": "conversation.item.delete", "item_id": "x"}, "item_delete_invalid_item_id", "item_id"),
        ({"type": "conversation.item.retrieve", "item_id": "x"}, "item_retrieve_invalid_item_id", "item_id"),
        ({"type": "response.cancel"}, "response_cancel_not_active", None),
        ({"type": "response.cancel", "response_id": ["x"]}, None, None),
        ({"type": "response.create", "response": "now"}, None, None),
        ({"type": "response.create", "response": {"conversation": "other"}}, None, "response.conversation"),
        ({"type": "response.create", "response": {"metadata": "notes"}}, None, "response.metadata"),
        ({"type": "input_audio_buffer.append"}, "missing_required_parameter", "audio"),
        (
            {"type": "session.update", "session": {"type": "realtime", "audio": {"input": {"turn_detection": []}}}},
            None,
            None,
        ),
    ],
    ids=str,
)
async def test_a_bad_event_is_refused_and_the_session_goes_on(
    event: dict[str, Any], code: str | None, param: str | None, autojump_clock: MockClock
) -> None:
    async with a_talk() as client:
        await client.send(event_id="c1", **{"kind": event["type"], **{k: v for k, v in event.items() if k != "type"}})
        error = await client.refused()
        assert error["event_id"] == "c1"
        if code is not None:
            assert (error["code"], error["param"]) == (code, param)
        assert param is None or error["param"] == param
        await client.message("Still there?")


CALL_OUTPUT = {"type": "function_call_output", "call_id": "call_nobody", "output": "{}"}


@pytest.mark.parametrize(
    ("item", "code", "param"),
    [
        (CALL_OUTPUT, "invalid_value", "item.call_id"),
        ({"type": "message", "role": "user", "content": [], "id": "i" * 33}, "string_above_max_length", "item.id"),
        ({"type": "message", "role": "user", "content": []}, "invalid_value", None),
        ({"type": "message", "role": "king", "content": [{"type": "input_text", "text": "a"}]}, "invalid_value", None),
        ({"type": "message", "role": "user", "content": [{"type": "text", "text": "a"}]}, "invalid_value", None),
        ({"type": "message", "role": "assistant", "content": [{"type": "output_audio"}]}, "invalid_value", None),
        ({"type": "function_call_output", "output": "{}"}, "invalid_value", "item.call_id"),
        ({"type": "function_call_output", "call_id": ["a"], "output": "{}"}, None, "item.call_id"),
        ({"type": "function_call", "name": "look", "call_id": "call_1"}, None, "item.arguments"),
        ({"type": ["message"], "role": "user", "content": [{"type": "input_text", "text": "a"}]}, None, "item.type"),
        ({"type": "message", "role": "user", "content": [{"type": "input_text"}]}, None, "item.content[0].text"),
        ({"type": "message", "role": "user", "content": ["a"]}, None, None),
        ({"type": "message", "role": ["user"], "content": [{"type": "input_text", "text": "a"}]}, None, None),
        ({"type": "message", "role": "user", "id": 5, "content": [{"type": "input_text", "text": "a"}]}, None, None),
    ],
    ids=str,
)
async def test_a_bad_item_is_refused_and_not_kept(
    item: dict[str, Any], code: str | None, param: str | None, autojump_clock: MockClock
) -> None:
    async with a_talk() as client:
        await client.send("conversation.item.create", event_id="c1", item=item)
        error = await client.refused()
        assert error["event_id"] == "c1"
        assert code is None or error["code"] == code
        assert param is None or error["param"] == param
        assert client.model.sessions[0].items == {}
        await client.message("Still there?")


@pytest.mark.parametrize(
    "frame", [b"{}", "not json", "[]", '{"type": 5}', "{}", "[" * 100_000], ids=lambda frame: repr(frame)[:20]
)
async def test_a_frame_that_is_no_event_is_an_error_and_no_end(frame: str | bytes, autojump_clock: MockClock) -> None:
    async with a_talk() as client:
        await client.socket.send_message(frame)
        assert (await client.refused())["code"] == ("invalid_event" if isinstance(frame, bytes) else "invalid_json")
        await client.message("Still there?")


@pytest.mark.parametrize(("kind", "bytes_per_ms"), [("audio/pcmu", 8), ("audio/pcm", 48)])
async def test_a_commit_needs_100_ms_of_the_sessions_format(
    kind: str, bytes_per_ms: int, autojump_clock: MockClock
) -> None:
    audio = {"input": {"format": {"type": kind}, "turn_detection": None}, "output": PCMU}
    async with a_talk(audio=audio) as client:
        half = base64.b64encode(bytes(50 * bytes_per_ms)).decode()
        await client.send("input_audio_buffer.append", audio=half)
        await client.send("input_audio_buffer.commit")
        error = await client.refused()
        assert error["code"] == "input_audio_buffer_commit_empty"
        assert "50.00ms" in error["message"]
        await client.send("input_audio_buffer.append", audio=half)
        await client.send("input_audio_buffer.commit")
        await client.next("input_audio_buffer.committed")
        await client.send("input_audio_buffer.commit")
        await client.refused()


async def test_a_deaf_model_detects_no_turn_and_writes_down_all_that_is_committed(autojump_clock: MockClock) -> None:
    heard: list[bytes] = []

    def writer(audio: bytes) -> str:
        heard.append(audio)
        return "hello"

    async with a_talk(Script(writer=writer), Faults(deaf_after_ms=0)) as client:
        for ms in (400, 600):
            await client.turn(ms)
            await client.send("input_audio_buffer.commit")
            committed = await client.next("input_audio_buffer.committed")
            written = await client.next("conversation.item.input_audio_transcription.completed")
            assert written["item_id"] == committed["item_id"]
        assert "response.created" not in client.kinds()  # a commit asks for nothing
        await client.send("response.create")
        await client.next("response.created")
    assert "input_audio_buffer.speech_started" not in client.kinds()
    assert heard == [VOICE * ms + silence(300) for ms in (400, 600)]


async def test_a_turn_that_has_begun_is_the_one_that_is_committed_and_its_end_is_not_told(
    autojump_clock: MockClock,
) -> None:
    async with a_talk() as client:
        await client.append(VOICE * 400)
        began = await client.next("input_audio_buffer.speech_started")
        await client.send("input_audio_buffer.commit")
        assert (await client.next("input_audio_buffer.committed"))["item_id"] == began["item_id"]
        await client.append(silence(1000))
        await client.turn()
        await client.next("input_audio_buffer.speech_stopped")
    begun, ended = client.of("input_audio_buffer.speech_started"), client.of("input_audio_buffer.speech_stopped")
    assert [each["item_id"] for each in ended] == [each["item_id"] for each in begun[1:]]


async def test_items_stand_where_they_were_put(autojump_clock: MockClock) -> None:
    async with a_talk() as client:
        for name, previous in (("a", None), ("b", None), ("top", "root"), ("c", "a"), ("end", None)):
            item = {"id": name, "type": "message", "role": "user", "content": [{"type": "input_text", "text": name}]}
            after = {} if previous is None else {"previous_item_id": previous}
            await client.send("conversation.item.create", item=item, **after)
            await client.next("conversation.item.done")
        await client.send("conversation.item.create", item={**item, "id": "x"}, previous_item_id="nobody")
        assert (await client.refused())["param"] == "previous_item_id"
    assert list(client.model.sessions[0].items) == ["top", "a", "c", "b", "end"]
    assert client.of("conversation.item.added")[-1]["previous_item_id"] == "b"


async def test_the_first_item_of_all_is_the_last_one_too(autojump_clock: MockClock) -> None:
    async with a_talk() as client:
        item = {"id": "top", "type": "message", "role": "user", "content": [{"type": "input_text", "text": "a"}]}
        await client.send("conversation.item.create", item=item, previous_item_id="root")
        await client.next("conversation.item.done")
        await client.message("b")
    assert [event["previous_item_id"] for event in client.of("conversation.item.done")] == [None, "top"]


# ---------------------------------------------------------------- faults


def ends(client: Client) -> list[tuple[str, Any]]:
    return [(event["response"]["status"], event["response"]["status_details"]) for event in client.of("response.done")]


async def test_an_upgrade_can_be_refused_with_a_status(autojump_clock: MockClock) -> None:
    with pytest.RaisesGroup(trio_websocket.ConnectionRejected) as refused:
        async with a_client(LoopbackModel(faults=Faults(refuse_status=503))):
            pytest.fail("it opened")
    rejected = refused.value.exceptions[0]
    assert isinstance(rejected, trio_websocket.ConnectionRejected)
    assert rejected.status_code == 503


async def test_a_handshake_can_be_left_without_an_answer(autojump_clock: MockClock) -> None:
    with trio.move_on_after(1000) as patience:
        async with a_client(LoopbackModel(faults=Faults(silent_accept=True))):
            pytest.fail("it opened")
    assert patience.cancelled_caught


async def test_a_mute_model_takes_updates_but_creates_no_session(autojump_clock: MockClock) -> None:
    async with a_client(LoopbackModel(faults=Faults(mute=True))) as client:
        await client.send("session.update", session=session())
        await client.next("session.updated")
    assert client.kinds() == ["session.updated"]


async def test_an_update_can_be_left_without_an_answer_and_without_an_effect(autojump_clock: MockClock) -> None:
    async with a_client(LoopbackModel(faults=Faults(ignore_update=True))) as client:
        await client.send("session.update", session=session())
        await client.turn()
        await client.send("input_audio_buffer.clear")
        await client.next("input_audio_buffer.cleared")
    assert client.kinds() == ["session.created", "input_audio_buffer.cleared"]


async def test_the_echo_can_be_of_another_format_than_was_asked_for(autojump_clock: MockClock) -> None:
    async with a_client(LoopbackModel(Script((Reply((WORDS,)),)), faults=Faults(wrong_echo=True))) as client:
        await client.send("session.update", session=session())
        updated = await client.next("session.updated")
        await client.send("response.create")
        done = await client.next("response.done")
    assert updated["session"]["audio"]["output"]["format"] == {"type": "audio/pcm", "rate": 24000}
    assert client.spoken(done["response"]["output"][0]["id"]) == bytes(6 * len(WORDS.audio))


@pytest.mark.parametrize(
    ("faults", "code"),
    [
        (Faults(close_after_ms=1500), 1011),
        (Faults(close_after_ms=1500, close_code=1012), 1012),
        (Faults(drop_after_ms=1500), 1006),
    ],
)
async def test_the_connection_can_be_closed_or_cut_in_the_middle(
    faults: Faults, code: int, autojump_clock: MockClock
) -> None:
    async with a_client(LoopbackModel(faults=faults)) as client:
        assert (await client.closed())[0] == code
        assert trio.current_time() == pytest.approx(1.5)
    assert client.kinds() == ["session.created"]


@pytest.mark.parametrize(
    ("faults", "code", "at"),
    [
        (Faults(close_after_ms=1000, drop_after_ms=2000), 1011, 1),
        (Faults(close_after_ms=2000, drop_after_ms=1000), 1006, 1),
        (Faults(stall_after_ms=2000, close_after_ms=1000), 1011, 1),
        (Faults(stall_after_ms=1000, drop_after_ms=2000), 1006, 2),
    ],
    ids=str,
)
async def test_of_two_faults_the_earlier_comes_first(
    faults: Faults, code: int, at: float, autojump_clock: MockClock
) -> None:
    async with a_client(LoopbackModel(faults=faults)) as client:
        assert (await client.closed())[0] == code
        assert trio.current_time() == pytest.approx(at)


async def test_a_stalled_model_says_nothing_more_but_answers_pings(autojump_clock: MockClock) -> None:
    async with a_talk(Script((Reply((WORDS,), speed=1.0),)), Faults(stall_after_ms=2500)) as client:
        await client.send("response.create")
        with pytest.raises(trio.TooSlowError):
            await client.next("response.done", within=300)
        last = client.came[-1][0]
        with trio.fail_after(5):
            await client.socket.ping(b"are you there")
    assert 2.0 < last <= 2.5


async def test_replies_fail_with_the_codes_that_were_given_in_turn(autojump_clock: MockClock) -> None:
    faults = Faults(fail_codes=("rate_limit_exceeded", "", "server_error"))
    async with a_talk(Script((Reply((WORDS,)),) * 4), faults) as client:
        for _ in range(4):
            await client.send("response.create")
            EVENTS.validate_python(await client.next("response.done"))
    assert [status for status, _ in ends(client)] == ["failed", "completed", "failed", "completed"]
    codes = [details["error"]["code"] for status, details in ends(client) if status == "failed"]
    assert codes == ["rate_limit_exceeded", "server_error"]
    failed = client.of("response.done")[0]["response"]
    assert (failed["output"], failed["usage"]["total_tokens"]) == ([], 0)


async def test_replies_can_end_before_a_word_was_said_several_times(autojump_clock: MockClock) -> None:
    async with a_talk(Script((Reply((WORDS,)),) * 3), Faults(wordless=2)) as client:
        for _ in range(3):
            await client.send("response.create")
            await client.next("response.done")
    assert [status for status, _ in ends(client)] == ["incomplete", "incomplete", "completed"]
    assert len({event["item_id"] for event in client.of("response.output_audio.delta")}) == 1


@pytest.mark.parametrize("reason", ["max_output_tokens", "content_filter"])
async def test_a_reply_can_end_after_half_of_its_audio(reason: str, autojump_clock: MockClock) -> None:
    async with a_talk(Script((Reply((WORDS, Call("end_call"))),)), Faults(incomplete=reason)) as client:
        await client.send("response.create")
        done = await client.next("response.done")
    EVENTS.validate_python(done)
    assert ends(client) == [("incomplete", {"type": "incomplete", "reason": reason})]
    (item,) = done["response"]["output"]
    assert item["status"] == "incomplete"
    assert client.spoken(item["id"]) == WORDS.audio[: len(WORDS.audio) // 2]


async def test_a_session_ends_with_its_hour(autojump_clock: MockClock) -> None:
    async with a_client(LoopbackModel(faults=Faults(session_seconds=60))) as client:
        assert await client.closed() == (1001, "session_expired")
        assert trio.current_time() == pytest.approx(60, abs=1)
    assert [error["error"]["code"] for error in client.of("error")] == ["session_expired"]


async def test_odd_events_are_unknown_padded_and_without_usage(autojump_clock: MockClock) -> None:
    async with a_talk(Script((Reply((WORDS,)),)), Faults(odd_events=True)) as client:
        await client.send("response.create")
        done = await client.next("response.done")
    assert "session.weather" in client.kinds()
    assert all("obfuscation" in event for _, event in client.came)
    assert done["response"]["usage"] is None


async def test_transcripts_come_as_late_as_they_are_told(autojump_clock: MockClock) -> None:
    late = Faults(transcript_delay_ms=5000)
    async with a_talk(Script((Reply((WORDS,)),), said=("Hello there.",)), late) as client:
        await client.turn()
        completed = await client.next("conversation.item.input_audio_transcription.completed")
    times = {event["type"]: at for at, event in client.came}
    committed = times["input_audio_buffer.committed"]
    assert times["response.done"] < times["conversation.item.input_audio_transcription.delta"]
    assert times["conversation.item.input_audio_transcription.completed"] - committed == pytest.approx(5, abs=0.3)
    assert completed["transcript"] == "Hello there."
    assert completed["item_id"] == client.of("input_audio_buffer.committed")[0]["item_id"]


async def test_transcripts_fail_stay_away_or_break_off_one_turn_after_the_other(autojump_clock: MockClock) -> None:
    several = tuple(Transcript(how, 100) for how in ("failed", "missing", "torn", "empty", "written"))
    async with a_talk(Script(said=("Hello there.",) * 5), Faults(transcripts=several, no_replies=True)) as client:
        for _ in several:
            await client.turn()
            await trio.sleep(1)
        for _ in range(2):
            await client.next("conversation.item.input_audio_transcription.completed")
    turns = [event["item_id"] for event in client.of("input_audio_buffer.committed")]
    kind = "conversation.item.input_audio_transcription."
    came = [(e["type"].removeprefix(kind), turns.index(e["item_id"])) for _, e in client.came if kind in e["type"]]
    assert came == [("failed", 0), ("delta", 2), ("completed", 3), ("delta", 4), ("completed", 4)]
    assert [event["transcript"] for event in client.of(f"{kind}completed")] == ["", "Hello there."]
    EVENTS.validate_python(client.of(f"{kind}failed")[0])


async def test_nothing_is_transcribed_unless_the_session_asks_for_it(autojump_clock: MockClock) -> None:
    async with a_talk(audio={"input": PCMU, "output": PCMU}) as client:
        await client.turn()
        await client.next("response.done")
        await trio.sleep(5)
        await client.send("input_audio_buffer.clear")
        await client.next("input_audio_buffer.cleared")
    assert not [kind for kind in client.kinds() if "transcription" in kind]


# ---------------------------------------------------------------- scripts


async def test_a_brain_is_told_what_the_reply_is_about(autojump_clock: MockClock) -> None:
    told: list[Prompted] = []

    def brain(prompted: Prompted) -> Reply:
        told.append(prompted)
        return Reply((Call("look"), Call("think")))

    async with a_client(LoopbackModel(brain=brain)) as client:
        await client.send("session.update", session=session())
        await client.turn()
        calls = [await client.next("response.function_call_arguments.done") for _ in range(2)]
        await client.next("response.done")
        for call in calls:
            output = {"type": "function_call_output", "call_id": call["call_id"], "output": call["name"]}
            await client.send("conversation.item.create", item=output)
        await client.send("response.create")
        await client.next("response.done")
        await client.message("They pressed 5.")
        await client.send("response.create")
        await client.next("response.done")
    assert told == [Prompted(1), Prompted(1, ("look", "think")), Prompted(1, (), "They pressed 5.")]


async def test_a_reply_apart_leaves_tool_results_to_the_conversation(autojump_clock: MockClock) -> None:
    told: list[Prompted] = []

    def brain(prompted: Prompted) -> Reply:
        told.append(prompted)
        return Reply((Call("look"),))

    async with a_client(LoopbackModel(brain=brain)) as client:
        await client.send("response.create")
        call = await client.next("response.function_call_arguments.done")
        await client.next("response.done")
        output = {"type": "function_call_output", "call_id": call["call_id"], "output": "seen"}
        await client.send("conversation.item.create", item=output)
        for response in ({"conversation": "none"}, {}):
            await client.send("response.create", response=response)
            await client.next("response.done")
    assert told == [Prompted(0), Prompted(0, apart=True), Prompted(0, ("seen",))]


async def test_a_script_answers_turns_tools_and_text_each_from_its_own_list(autojump_clock: MockClock) -> None:
    turn, tool, text = (Reply((Speech(name, VOICE),)) for name in ("turn", "tool", "text"))
    brain = Script((turn,), (tool,), (text,)).brain()
    assert brain(Prompted(1)) is turn
    assert brain(Prompted(1, ("result",))) is tool
    assert brain(Prompted(1, (), "key 5")) is text
    assert brain(Prompted(2)).items == (say("agent_sorry"),)


async def test_a_client_that_never_reads_is_given_up_without_a_word_to_the_others(autojump_clock: MockClock) -> None:
    model = LoopbackModel()
    async with a_client(model) as other, trio.open_nursery() as nursery:
        await other.next("session.created")
        ours, theirs = trio.testing.lockstep_stream_pair()
        over = trio.Event()

        async def served() -> None:
            await model.handle_stream(theirs)
            await trio.aclose_forcefully(theirs)  # as trio.serve_listeners does
            over.set()

        nursery.start_soon(served)
        deaf = await trio_websocket.wrap_client_stream(
            nursery, ours, "api.example.com", PATH, extra_headers=[(b"Authorization", KEY.encode())]
        )
        with trio.fail_after(600), contextlib.suppress(trio_websocket.ConnectionClosed):
            while not over.is_set():
                await deaf.send_message('{"type": "input_audio_buffer.clear"}')
        await other.message("Still there?")
        nursery.cancel_scope.cancel("the test is over")
