"""Whole calls on the mock clock: ring, greeting, talk, barge-in, tools, keys, trouble, and how each of them ends."""

import itertools

import attrs
import pytest
import trio

from actors.farewell import CALLED_OFF
from actors.messages import BYTES_PER_MS, Disposition
from actors.waiting import FILLER_SHARE
from conf.prompts import load_prompt
from conf.settings import Model
from tests.transport import wire_kit
from tests.whole.world import a_world, heard_audio, heard_ms
from transport.demo_calls import AFTER_HOURS
from transport.loopback.caller import AwaitAgent, AwaitQuiet, HangUp, Press, Speak, Wait
from transport.loopback.model import LoopbackModel
from transport.loopback.script import Call, Faults, Reply, Script, Speech, say
from transport.loopback.speech import line
from transport.loopback.stream import StreamFaults
from transport.loopback.twiml_reader import Dial, Gather, Hangup, Record, Say

GREETING = load_prompt("greeting").audio
HELLO = Speak(line("caller_hours").audio)
BYE = Speak(line("caller_bye").audio)
LONG = line("agent_hours")
SHORT = line("agent_saturday")
GOODBYE = Reply((say("agent_bye"), Call("end_call", "{}")))


async def test_the_first_word_is_on_the_wire_at_once_whatever_the_model_does(monkeypatch, autojump_clock):
    async with a_world(monkeypatch, LoopbackModel(faults=Faults(silent_accept=True))) as world:
        call = await world.call(Wait(1), HangUp())
    assert call.streams[0].first_audio_ms < 100
    assert heard_audio(call) == GREETING[: len(heard_audio(call))]


async def test_when_a_session_is_relieved_before_its_end_is_no_matter_of_the_real_clock(monkeypatch, autojump_clock):
    relieved: set[float] = set()
    for _ in range(3):
        began = trio.current_time()
        async with a_world(monkeypatch, LoopbackModel(faults=Faults(session_seconds=30))) as world:
            await world.call(Wait(40), HangUp())
        second = world.inner.models[0].sessions[1]
        relieved.add(round(second.events[0][0] - began, 6))
    assert len(relieved) == 1


async def test_the_caller_hears_the_model_byte_for_byte(monkeypatch, autojump_clock):
    script = Script(turns=(Reply((say("agent_hours"),)), GOODBYE))
    async with a_world(monkeypatch, LoopbackModel(script)) as world:
        call = await world.call(AwaitQuiet(), HELLO, AwaitQuiet(), BYE)
    assert heard_audio(call) == GREETING + LONG.audio + line("agent_bye").audio


async def test_the_model_hears_the_caller_byte_for_byte_also_what_was_said_before_it_was_there(
    monkeypatch, autojump_clock
):
    async with a_world(monkeypatch, LoopbackModel(Script(turns=(GOODBYE,)))) as world:
        call = await world.call(HELLO)
        record = world.record(call)
    assert not any(mailbox.dropped for mailbox in record.mailboxes)
    said = b"".join(piece.audio for piece in call.said)
    assert said in bytes(world.session.audio)
    # A last frame may be on its way when the stream ends.
    assert 0 <= record.frames_in * 160 - len(world.session.audio) <= 320


@pytest.mark.parametrize("after_ms", [60, 137, 480, 1023, 2750, 5999, 9876])
async def test_what_is_truncated_is_what_was_heard(monkeypatch, autojump_clock, after_ms):
    script = Script(turns=(Reply((say("agent_hours"),), speed=20), GOODBYE))
    async with a_world(monkeypatch, LoopbackModel(script), seed=after_ms) as world:
        call = await world.call(AwaitQuiet(), HELLO, AwaitAgent(0.02), Wait(after_ms / 1000), HELLO)
        record = world.record(call)
    stream = call.streams[0]
    ((_, played),) = stream.clears
    ((_, told),) = world.session.truncations
    heard = played // BYTES_PER_MS - len(GREETING) // BYTES_PER_MS
    assert abs(told - heard) <= 20
    (interruption,) = record.interruptions
    assert interruption.truncate_ms == told
    assert abs(told - heard) <= interruption.bound_ms
    assert not world.session.errors
    assert not stream.warnings
    turn = next(turn for turn in record.turns if turn.interrupted)
    assert LONG.text.startswith(turn.heard_text)
    assert len(turn.heard_text) < len(LONG.text)


async def test_nothing_of_a_cut_reply_is_played_after_the_clear(monkeypatch, autojump_clock):
    script = Script(turns=(Reply((say("agent_hours"),), speed=1.3), Reply((say("agent_saturday"),)), GOODBYE))
    faults = Faults(stray_deltas=3)
    async with a_world(monkeypatch, LoopbackModel(script, faults=faults)) as world:
        call = await world.call(AwaitQuiet(), HELLO, AwaitAgent(2), HELLO, AwaitQuiet(), BYE)
    ((_, played),) = call.streams[0].clears
    before, after = heard_audio(call)[:played], heard_audio(call)[played:]
    assert before == (GREETING + LONG.audio)[:played]
    assert after == SHORT.audio + line("agent_bye").audio


async def test_a_reply_that_was_heard_to_its_end_is_never_truncated(monkeypatch, autojump_clock):
    script = Script(turns=(Reply((say("agent_saturday"),)), GOODBYE))
    async with a_world(monkeypatch, LoopbackModel(script)) as world:
        call = await world.call(AwaitQuiet(), HELLO, AwaitQuiet(0.1), BYE)
        record = world.record(call)
    assert world.session.truncations == []
    assert call.streams[0].clears == []
    assert record.interruptions == []


async def test_of_two_items_the_audible_one_is_cut_and_the_other_forgotten(monkeypatch, autojump_clock):
    script = Script(turns=(Reply((say("agent_hours"), say("agent_saturday")), speed=20), GOODBYE))
    async with a_world(monkeypatch, LoopbackModel(script)) as world:
        await world.call(AwaitQuiet(), HELLO, AwaitAgent(2), BYE)
    kinds = world.session.types()
    ((item, _),) = world.session.truncations
    deleted = [event["item_id"] for _, event in world.session.events if event["type"] == "conversation.item.delete"]
    assert len(deleted) == 1
    assert deleted[0] != item
    assert kinds.index("conversation.item.truncate") < kinds.index("conversation.item.delete")


async def test_the_second_of_two_items_is_cut_where_it_was_heard(monkeypatch, autojump_clock):
    first, second = line("agent_checking"), line("agent_hours")
    script = Script(turns=(Reply((say("agent_checking"), say("agent_hours")), speed=20), GOODBYE))
    async with a_world(monkeypatch, LoopbackModel(script)) as world:
        call = await world.call(AwaitQuiet(), HELLO, AwaitAgent(4), BYE)
    ((_, played),) = call.streams[0].clears
    ((_, told),) = world.session.truncations
    assert abs(told - (played - len(GREETING) - len(first.audio)) // BYTES_PER_MS) <= 20
    assert told < len(second.audio) // BYTES_PER_MS


async def test_a_cut_greeting_is_told_as_far_as_it_was_heard(monkeypatch, autojump_clock):
    async with a_world(monkeypatch, LoopbackModel(Script(turns=(GOODBYE,)))) as world:
        await world.call(AwaitAgent(2), BYE)
    told = [
        item["content"][0]["text"]
        for item in world.session.items.values()
        if item.get("role") == "assistant" and item["content"][0]["type"] == "output_text"
    ]
    (words,) = told
    assert load_prompt("greeting").words.startswith(words)
    assert 10 < len(words) < len(load_prompt("greeting").words)
    assert not world.session.errors


async def test_the_goodbye_is_heard_to_its_last_byte_before_the_line_is_closed(monkeypatch, autojump_clock):
    async with a_world(monkeypatch, LoopbackModel(Script(turns=(GOODBYE,)))) as world:
        call = await world.call(AwaitQuiet(), BYE)
    assert heard_audio(call).endswith(line("agent_bye").audio)
    assert call.streams[0].close_code == 1000
    assert call.end == "hangup"


async def test_an_end_without_a_word_gets_a_goodbye_first(monkeypatch, autojump_clock):
    script = Script(turns=(Reply((Call("end_call", "{}"),)),), after_tools=(Reply((say("agent_bye"),)),))
    async with a_world(monkeypatch, LoopbackModel(script)) as world:
        call = await world.call(AwaitQuiet(), BYE)
    assert heard_audio(call).endswith(line("agent_bye").audio)


async def test_a_caller_who_interrupts_the_goodbye_goes_on_talking(monkeypatch, autojump_clock):
    script = Script(turns=(GOODBYE, Reply((say("agent_saturday"),)), GOODBYE))
    async with a_world(monkeypatch, LoopbackModel(script)) as world:
        call = await world.call(AwaitQuiet(), HELLO, AwaitAgent(0.5), HELLO, AwaitQuiet(), BYE)
    assert len(call.streams) == 1
    assert heard_audio(call).endswith(SHORT.audio + line("agent_bye").audio)


@pytest.mark.parametrize(
    ("last_words", "told"),
    [
        (GOODBYE, CALLED_OFF[Disposition.HANG_UP]),
        (Reply((say("agent_connect"), Call("transfer_to_human", "{}"))), CALLED_OFF[Disposition.DIAL]),
    ],
)
async def test_the_model_knows_that_what_the_caller_broke_off_was_not_done(
    monkeypatch, autojump_clock, last_words, told
):
    script = Script(turns=(last_words, Reply((say("agent_saturday"),)), Reply((say("agent_saturday"),)), GOODBYE))
    async with a_world(monkeypatch, LoopbackModel(script)) as world:
        await world.call(AwaitQuiet(), HELLO, AwaitAgent(0.5), HELLO, AwaitQuiet(), HELLO, AwaitQuiet(), BYE)
    words = [world.session.words_of(item) for item in world.session.items]
    assert words.count(told) == 1, "its tool was answered with ok, which is there for good"
    assert words.index(told) < words.index(SHORT.text), "it knows before it answers"


async def test_parallel_tool_calls_are_all_answered_before_one_reply_is_asked_for(monkeypatch, autojump_clock):
    calls = (Call("look_up", '{"topic": "address"}'), Call("look_up", '{"topic": "nonsense"}'), Call("fly", "{"))
    script = Script(
        turns=(Reply((say("agent_checking"), *calls)), GOODBYE), after_tools=(Reply((say("agent_saturday"),)),)
    )
    async with a_world(monkeypatch, LoopbackModel(script)) as world:
        await world.call(AwaitQuiet(), HELLO, AwaitQuiet(), BYE)
    session = world.session
    assert [('"ok":true' in output) for _, output in session.tool_results[:3]] == [True, False, False]
    assert "topic" in session.tool_results[1][1]
    kinds = session.types()
    first, second, _ = [number for number, kind in enumerate(kinds) if kind == "response.create"]  # turn, results, turn
    assert kinds[first:second].count("conversation.item.create") == 3, "all results, and one reply"


async def test_a_transfer_dials_the_human(monkeypatch, autojump_clock):
    script = Script(turns=(Reply((say("agent_connect"), Call("transfer_to_human", "{}"))),))
    async with a_world(monkeypatch, LoopbackModel(script)) as world:
        call = await world.call(AwaitQuiet(), Speak(line("caller_human").audio))
        record = world.record(call)
    assert heard_audio(call).endswith(line("agent_connect").audio)
    assert record.disposition is Disposition.DIAL
    dialled = next(verb for verb in call.verbs if isinstance(verb, Dial))
    assert dialled.number == "+15550001111"
    assert call.end == "hangup"


@pytest.mark.parametrize("outcome", ["busy", "no-answer", "failed"])
async def test_a_human_who_does_not_answer_leads_back_to_the_agent(monkeypatch, autojump_clock, outcome):
    async with a_world(monkeypatch, LoopbackModel(), dial={"+15550001111": outcome}) as world:
        call = await world.call(AwaitAgent(1), Press("0"), Wait(45), HangUp())
    first, second = call.streams
    before = b"".join(piece.audio for piece in first.playback.heard)
    after = b"".join(piece.audio for piece in second.playback.heard)
    assert before.endswith(load_prompt("transfer").audio)
    assert after.startswith(load_prompt("not_taken").audio)
    assert after.endswith(line("agent_sorry").audio)
    assert world.models[0].sessions[1].types().count("response.create") == 1


async def test_keys_reach_the_model_as_text_and_are_answered_once(monkeypatch, autojump_clock):
    script = Script(turns=(GOODBYE,), on_text=(Reply((say("agent_key"),)),))
    async with a_world(monkeypatch, LoopbackModel(script)) as world:
        call = await world.call(AwaitQuiet(), Press("42#"), AwaitQuiet(), BYE)
    texts = [item["content"][0].get("text", "") for item in world.session.items.values() if item.get("role") == "user"]
    assert sum("42" in text for text in texts) == 1
    assert heard_audio(call).endswith(line("agent_key").audio + line("agent_bye").audio)


NO_SECOND_SESSION = attrs.evolve(wire_kit.settings_for(), model=Model(replace_seconds=0))
TROUBLE = {
    "refused": Faults(refuse_status=503),
    "no handshake": Faults(silent_accept=True),
    "no session": Faults(mute=True),
    "no answer to the update": Faults(ignore_update=True),
    "another format": Faults(wrong_echo=True),
    "closed": Faults(close_after_ms=7000),
    "dropped": Faults(drop_after_ms=7000),
    "stalled before a word": Faults(stall_after_ms=6000),
    "stalled while the caller spoke": Faults(stall_after_ms=7000),
    "stalled before its answer": Faults(stall_after_ms=8600),
    "out of quota": Faults(fail_codes=("insufficient_quota",)),
    "failing twice": Faults(fail_codes=("server_error", "server_error")),
}


@pytest.mark.parametrize("trouble", TROUBLE)
async def test_a_caller_whose_model_fails_reaches_the_keypad_menu_in_time(monkeypatch, autojump_clock, trouble):
    script = Script(turns=(Reply((say("agent_saturday"),)),) * 9)
    model = LoopbackModel(script, faults=TROUBLE[trouble])
    async with a_world(monkeypatch, model, settings=NO_SECOND_SESSION) as world:
        # Speaks after the greeting, presses 2 in the menu, leaves a message.
        call = await world.call(AwaitQuiet(), HELLO, Wait(15), Press("2"))
        record = world.record(call)
    assert record.disposition is Disposition.IVR, record.reason
    kinds = [type(verb) for verb in call.verbs]
    assert Gather in kinds
    assert kinds[-1] is Hangup
    assert Record in kinds
    stream = call.streams[0]
    assert stream.close_code == 1000
    last_heard = max(piece.at + len(piece.audio) / 8000 for piece in stream.playback.heard)
    last_said = max((piece.at for piece in call.said if piece.at < stream.opened + record.seconds), default=0)
    silence = stream.opened + record.seconds - max(last_heard, last_said)
    # The caller's own last word, the turn's end, and the silence that the settings allow.
    assert silence <= 4 + 0.6


async def test_a_caller_whose_model_fails_leaves_a_number_to_be_called_back_at(monkeypatch, autojump_clock):
    model = LoopbackModel(Script(), faults=TROUBLE["refused"])
    async with a_world(monkeypatch, model, settings=NO_SECOND_SESSION) as world:
        number = (Wait(9), Press("4155550199"), Press("#"), Wait(12), Press("1"))
        call = await world.call(AwaitQuiet(), HELLO, Wait(15), Press("4"), *number, Wait(60))
        errands = await world.house.store.errands(call.call_sid)
        story = await world.house.store.story(call.call_sid)
    assert call.end == "hangup"
    assert [type(verb) for verb in call.verbs[-2:]] == [Say, Hangup]
    assert [(each.name, each.status, each.detail) for each in errands] == [
        ("callback", "done", {"number": "+14155550199"})
    ]
    assert story is not None
    assert story["over"], "there is nothing to go on with"


ONCE = {
    "closed while the caller spoke": Faults(close_after_ms=7000),
    "dropped while the caller spoke": Faults(drop_after_ms=7000),
    "dropped before its answer": Faults(drop_after_ms=8600),
    "dropped in the middle of its answer": Faults(drop_after_ms=10_500),
    "stalled while the caller spoke": Faults(stall_after_ms=7000),
    "stalled before its answer": Faults(stall_after_ms=8600),
    "failing": Faults(fail_codes=("server_error", "server_error")),
    "expired": Faults(session_seconds=8),
}


@pytest.mark.parametrize("trouble", ONCE)
async def test_a_session_that_is_lost_is_replaced_and_the_caller_gets_their_answer(
    monkeypatch, autojump_clock, trouble
):
    answered = Reply((say("agent_saturday"),))
    script = Script(said=("What about Saturday?",) * 9)
    model = LoopbackModel(script, brain=lambda prompted: answered, faults=(ONCE[trouble], Faults()))
    async with a_world(monkeypatch, model) as world:
        call = await world.call(AwaitQuiet(), HELLO, Wait(12), AwaitQuiet(), HangUp())
        record = world.record(call)
    assert record.disposition is Disposition.HANG_UP, record.reason
    assert len(world.models[0].sessions) == 2
    heard = heard_audio(call)
    assert heard.count(load_prompt("greeting").audio) == 1, "nobody is greeted twice"
    assert line("agent_saturday").audio in heard or "middle" in trouble
    assert not any(isinstance(verb, Gather) for verb in call.verbs)
    assert world.models[0].sessions[1].errors == [], "what another session knew is not spoken of"
    stream = call.streams[0]
    spans = sorted((piece.at, piece.at + len(piece.audio) / 8000) for piece in stream.playback.heard)
    spoke = call.said[-1].at
    gaps = [later[0] - max(earlier[1], spoke) for earlier, later in itertools.pairwise(spans) if later[0] > spoke]
    assert max(gaps) <= 4 + 0.6, "the caller is never left in silence"


async def test_a_model_that_keeps_silent_on_a_noise_is_asked_whether_it_lives_and_kept(monkeypatch, autojump_clock):
    noise = Speak((bytes([0x30, 0xB0] * 80) + bytes([0xFF] * 480)) * 20)  # loud for 20 ms of every 80: no speech to it
    async with a_world(monkeypatch, LoopbackModel(Script(turns=(GOODBYE,)))) as world:
        call = await world.call(AwaitQuiet(), noise, Wait(10), BYE)
    assert world.session.types().count("session.update") == 2
    assert world.session.types().count("response.create") == 1, "nothing but the answer to the goodbye"
    assert heard_audio(call) == GREETING + line("agent_bye").audio
    assert call.end == "hangup"


@pytest.mark.parametrize("begun", [True, False])
async def test_a_model_that_lives_and_does_not_answer_is_left_in_time(monkeypatch, autojump_clock, begun):
    # Either no reply begins though the turn is over, or one begins and says nothing.
    never = Reply((say("agent_saturday"),), delay_ms=3_600_000)
    faults = Faults() if begun else Faults(no_replies=True)
    model = LoopbackModel(brain=lambda prompted: never, faults=faults)
    async with a_world(monkeypatch, model, settings=NO_SECOND_SESSION) as world:
        call = await world.call(AwaitQuiet(), HELLO, Wait(18), Press("2"))
        record = world.record(call)
    assert record.disposition is Disposition.IVR
    assert "silent" in record.reason
    fillers = [load_prompt(name).audio for name in ("one_moment", "still_here")]
    for filler in fillers:
        assert filler in heard_audio(call), "the caller hears that somebody is there, before the silence is too long"
    left_after = sum(4.0 * FILLER_SHARE + len(filler) / 8000 for filler in fillers) + 4.0
    assert record.seconds <= call.said[-1].at - call.streams[0].opened + 0.5 + left_after + 0.2


async def test_a_model_that_fails_once_for_a_passing_reason_is_asked_again(monkeypatch, autojump_clock):
    script = Script(turns=(Reply((say("agent_saturday"),)), GOODBYE))
    faults = Faults(fail_codes=("rate_limit_exceeded",))

    async with a_world(monkeypatch, LoopbackModel(script, faults=faults)) as world:
        call = await world.call(AwaitQuiet(), HELLO, AwaitQuiet(), BYE)
        record = world.record(call)
    assert record.disposition is Disposition.HANG_UP
    assert world.session.replies[0][1] == "failed"
    assert heard_ms(call) > len(GREETING) // BYTES_PER_MS


async def test_a_second_endpoint_takes_over_when_the_first_cannot_be_had(monkeypatch, autojump_clock):
    first, second = LoopbackModel(faults=Faults(refuse_status=503)), LoopbackModel(Script(turns=(GOODBYE,)))
    async with a_world(monkeypatch, first, second) as world:
        call = await world.call(AwaitQuiet(), BYE)
    assert call.end == "hangup"
    assert heard_audio(call).endswith(line("agent_bye").audio)


async def test_a_model_with_odd_events_is_understood_all_the_same(monkeypatch, autojump_clock):
    async with a_world(monkeypatch, LoopbackModel(AFTER_HOURS.script, faults=Faults(odd_events=True))) as world:
        call = await world.call(*AFTER_HOURS.steps)
        record = world.record(call)
    assert record.disposition is Disposition.DIAL
    assert not record.errors
    assert heard_audio(call).endswith(line("agent_through").audio)


async def test_a_caller_who_hangs_up_leaves_one_record_and_no_question(monkeypatch, autojump_clock):
    async with a_world(monkeypatch, LoopbackModel(AFTER_HOURS.script)) as world:
        call = await world.call(AwaitAgent(2), HangUp())
        record = world.record(call)
    assert record.reason == "the caller hung up"
    assert call.end == "caller"
    assert not any(path == "/twilio/after" for path, _ in call.posts)


async def test_what_was_heard_before_the_caller_hung_up_is_in_the_record(monkeypatch, autojump_clock):
    async with a_world(monkeypatch, LoopbackModel(Script(turns=(Reply((say("agent_hours"),)),)))) as world:
        call = await world.call(AwaitQuiet(), HELLO, AwaitAgent(3), HangUp())
        record = world.record(call)
    last = record.turns[-1]
    assert (last.who, last.interrupted) == ("agent", True)
    assert abs(last.heard_ms - (heard_ms(call) - len(GREETING) // BYTES_PER_MS)) <= 20
    assert LONG.text.startswith(last.heard_text)
    assert last.heard_text
    assert record.interruptions == []


async def test_a_call_that_the_carrier_reports_as_over_is_hung_up_and_not_to_be_resumed(monkeypatch, autojump_clock):
    async with a_world(monkeypatch, LoopbackModel()) as world:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.carrier.place_call, (Wait(60),))
            await trio.sleep(3)
            switchboard = world.house.app.extensions["triode"].switchboard
            (live,) = switchboard._calls.values()
            switchboard.call_over(live.call_sid)  # its status callback was faster than the stop of its stream
            await trio.sleep(5)
            nursery.cancel_scope.cancel("seen")
        (record,) = world.house.store.records
    assert record.disposition is Disposition.HANG_UP


async def test_a_stream_that_was_cut_is_opened_again_and_nobody_is_greeted_twice(monkeypatch, autojump_clock):
    model = LoopbackModel(brain=lambda prompted: GOODBYE)
    async with a_world(monkeypatch, model) as world:
        call = await world.call(Wait(12), BYE, faults=StreamFaults(drop_after=3))
    assert len(call.streams) == 2
    resumed = b"".join(piece.audio for piece in call.streams[1].playback.heard)
    assert resumed.startswith(load_prompt("resume").audio)
    assert GREETING[:8000] not in resumed
    assert call.end == "hangup"


async def test_lost_frames_become_silence_so_that_the_turn_ends(monkeypatch, autojump_clock):
    script = Script(turns=(Reply((say("agent_saturday"),)), GOODBYE))
    faults = StreamFaults(gap_at=9.0, gap_seconds=3.0)
    async with a_world(monkeypatch, LoopbackModel(script)) as world:
        call = await world.call(AwaitQuiet(), HELLO, AwaitQuiet(), BYE, faults=faults)
        record = world.record(call)
    assert record.silence_in_ms > 1000
    assert call.end == "hangup"


async def test_late_marks_do_not_spoil_what_is_truncated(monkeypatch, autojump_clock):
    script = Script(turns=(Reply((say("agent_hours"),), speed=20), GOODBYE))
    async with a_world(monkeypatch, LoopbackModel(script)) as world:
        call = await world.call(
            AwaitQuiet(), HELLO, AwaitAgent(2), HELLO, AwaitQuiet(), BYE, faults=StreamFaults(echo_delay=0.15)
        )
    ((_, played),) = call.streams[0].clears[:1]
    ((_, told),) = world.session.truncations
    assert abs(told - (played - len(GREETING)) // BYTES_PER_MS) <= 20


async def test_many_calls_at_once_do_not_touch_each_other(monkeypatch, autojump_clock):
    model = LoopbackModel(brain=lambda prompted: GOODBYE if prompted.turn > 1 else Reply((say("agent_saturday"),)))
    async with a_world(monkeypatch, model) as world:
        calls = []

        async def one(number: int) -> None:
            await trio.sleep(number * 0.013)
            faults = StreamFaults(drop_after=4 + number % 3) if number % 5 == 4 else None
            # One whose words were lost with its stream has no more to say, and hangs up.
            steps = (AwaitQuiet(), HELLO, AwaitQuiet(), BYE, Wait(20), HangUp())
            call = await world.carrier.place_call(steps, faults=faults, caller=f"+1415555{number:04d}")
            calls.append((number, call))

        with trio.fail_after(300):
            async with trio.open_nursery() as nursery:
                for number in range(10):
                    nursery.start_soon(one, number)
    for number, call in calls:
        if number % 5 != 4:
            assert call.end == "hangup"
            assert heard_audio(call) == GREETING + SHORT.audio + line("agent_bye").audio


async def test_above_the_ceiling_the_caller_gets_the_menu_at_once(monkeypatch, autojump_clock):
    settings = wire_kit.settings_for(max_calls=0)
    async with a_world(monkeypatch, LoopbackModel(), settings=settings) as world:
        call = await world.call(Wait(3), Press("1"))
    assert call.streams == []
    assert "busy" in " ".join(call.words())
    assert any(isinstance(verb, Dial) for verb in call.verbs)


async def test_a_caller_who_says_and_presses_nothing_in_the_menu_ends_at_a_human(monkeypatch, autojump_clock):
    async with a_world(monkeypatch, LoopbackModel(faults=Faults(refuse_status=503))) as world:
        call = await world.call()
    assert sum(isinstance(verb, Gather) for verb in call.verbs) == 3
    assert any(isinstance(verb, Dial) for verb in call.verbs)
    assert call.end == "hangup"


async def test_a_reply_in_small_and_odd_pieces_is_played_whole(monkeypatch, autojump_clock):
    speech = Speech("odd", bytes(range(256)) * 31 + b"\x01\x02\x03")
    script = Script(turns=(Reply((speech,), delta_ms=7, speed=3), GOODBYE))
    async with a_world(monkeypatch, LoopbackModel(script)) as world:
        call = await world.call(AwaitQuiet(), HELLO, AwaitQuiet(), BYE)
    assert heard_audio(call) == GREETING + speech.audio + line("agent_bye").audio


async def test_a_model_that_only_ever_ends_the_call_and_finds_no_words_is_spoken_for_once(monkeypatch, autojump_clock):
    silent = Reply((Call("end_call", "{}"),))
    model = LoopbackModel(brain=lambda prompted: silent)
    async with a_world(monkeypatch, model) as world:
        call = await world.call(AwaitQuiet(), BYE)
    assert heard_audio(call) == GREETING + load_prompt("goodbye").audio
    assert call.end == "hangup"
    assert call.ended - call.said[-1].at < 10


async def test_a_human_who_was_promised_stays_promised(monkeypatch, autojump_clock):
    script = Script(
        turns=(Reply((Call("transfer_to_human", "{}"),)),),
        after_tools=(Reply((say("agent_connect"), Call("end_call", "{}"))),),
    )
    async with a_world(monkeypatch, LoopbackModel(script)) as world:
        call = await world.call(AwaitQuiet(), HELLO)
        record = world.record(call)
    assert record.disposition is Disposition.DIAL
    assert any(isinstance(verb, Dial) for verb in call.verbs)
