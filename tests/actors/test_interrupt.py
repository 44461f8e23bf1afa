"""InterruptWatcher: on suspicion the agent is held; whether somebody takes the floor, or it goes on, is told by what is heard."""

import random

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.interrupt import QUEUE, BargeIn, InterruptWatcher
from actors.judgement import DECIDE_WITHIN, LONG, MODEL_HEARS
from actors.mailbox import Mailbox, MailboxFull, WhenFull
from actors.messages import CallerAudio, CallerWords, Floor, FloorRule, FloorTaken, Judged, SpeechStarted, SpeechStopped
from actors.mulaw import decode, encode
from tests.kit.stage import COUGH, FRAME, SHORT_WORD, VOICE, FakeSpeaker, a_stage
from tests.kit.voices import frames
from transport.loopback.speech import syllables

# ---------------------------------------------------------------- the model's word alone


@pytest.mark.parametrize(
    ("event", "reason"),
    [(SpeechStarted("u1"), Floor.SPEECH), *((FloorTaken(floor), floor) for floor in Floor)],
)
async def test_whoever_takes_the_floor_makes_the_agent_yield_it_and_the_reason_is_told(
    event: SpeechStarted | FloorTaken, reason: Floor, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery, BargeIn.MODEL)
    stage.watcher.inbox.post(event)
    await wait_all_tasks_blocked()
    assert stage.speaker.doings == [f"yields: {reason.name}"]
    assert stage.judged == []
    assert not stage.watcher.contested()


async def test_the_models_word_alone_is_not_doubted_by_what_is_heard_here(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery, BargeIn.MODEL)
    await stage.hears(VOICE)
    assert stage.speaker.did == []


# ---------------------------------------------------------------- a voice on the line


async def test_syllables_silences_the_agent_within_120_ms_of_its_onset(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery)
    began = trio.current_time()
    await stage.hears(VOICE)
    at, what = stage.speaker.did[0]
    assert what == "holds"
    assert at - began <= 0.12 + 1e-6


async def test_a_person_who_goes_on_talking_takes_the_floor(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    stage = await a_stage(nursery)
    began = trio.current_time()
    await stage.hears(VOICE)
    assert stage.speaker.doings == ["holds", "yields: SPEECH"]
    assert stage.speaker.did[1][0] - began == pytest.approx(LONG, abs=0.05)
    assert stage.judged == [True]


@pytest.mark.parametrize("late_ms", [0, 5, 10, 15])
async def test_a_person_has_the_floor_with_the_frame_with_which_they_have_talked_for_long_enough(
    late_ms: int, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery)
    began: float | None = None
    for payload in frames(VOICE):
        await trio.sleep(FRAME)
        stage.watcher.overhear(CallerAudio(payload, 0))
        await wait_all_tasks_blocked()
        if stage.speaker.doings[-1:] == ["yields: SPEECH"]:
            break
        if began is None and (began := stage.watcher.suspected_from()) is not None:
            await trio.sleep(late_ms / 1000)
    assert began is not None
    assert LONG - 0.001 <= trio.current_time() - began < LONG + FRAME


async def test_a_noise_that_stays_at_one_height_is_over_for_the_agent_within_about_a_second(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery)
    chance = random.Random(4)
    fan = encode(round(chance.gauss(0, 1200)) for _ in range(16_000))
    began = trio.current_time()
    await stage.hears(fan[:3200])
    stage.watcher.inbox.post(SpeechStarted("u1"))  # the model takes it for speech
    await stage.hears(fan[3200:])
    assert stage.speaker.doings == ["holds", "goes on"]
    assert stage.speaker.did[1][0] - began <= 1.1
    assert stage.judged == [False]


async def test_many_people_in_the_room_silence_the_agent_once_and_take_nothing(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery)
    voices = [decode(syllables(1.7, seed=seed, loud=2000)) for seed in range(6)]
    began = trio.current_time()
    room = encode(map(sum, zip(*voices, strict=True)))
    await stage.hears(room[:3200])
    stage.watcher.inbox.post(SpeechStarted("u1"))  # the model takes it for speech
    await stage.hears(room[3200:])
    assert stage.speaker.doings == ["holds", "goes on"]
    assert stage.speaker.did[1][0] - began <= DECIDE_WITHIN + 0.1
    assert stage.judged == [False]


async def test_a_sound_without_words_and_another_after_it_are_not_added_up(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery)
    await stage.hears(SHORT_WORD)
    stage.watcher.inbox.post(SpeechStarted("u1"))
    await stage.hears(b"", 0.5)
    await stage.hears(syllables(0.1))
    stage.watcher.inbox.post(SpeechStopped("u1"))
    stage.watcher.inbox.post(CallerWords("u1", "", True))
    await stage.hears(syllables(0.2), 0.1)
    assert "yields: SPEECH" not in stage.speaker.doings
    await stage.hears(b"", 2.0)
    assert stage.judged[-1] is False


async def test_after_a_cough_the_agent_goes_on_and_nobody_is_told(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery)
    began = trio.current_time()
    await stage.hears(COUGH, 3.0)
    if stage.speaker.did:  # it may not even be taken for a voice
        assert stage.speaker.doings == ["holds", "goes on"]
        assert stage.speaker.did[1][0] - began <= MODEL_HEARS + 0.3
        assert stage.judged == [False]


async def test_a_model_that_hears_what_was_judged_a_noise_does_not_silence_the_agent_again(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery)
    await stage.hears(syllables(0.25), 0.6)
    assert stage.speaker.doings == ["holds", "goes on"]
    stage.watcher.inbox.post(SpeechStarted("u1"))
    await stage.hears(b"", 0.3)
    assert stage.speaker.doings == ["holds", "goes on"]
    stage.watcher.inbox.post(CallerWords("u1", "Uh huh.", True))
    await wait_all_tasks_blocked()
    assert stage.speaker.doings.count("holds") == 1
    assert stage.judged == [False, False]


async def test_what_only_the_model_hears_takes_the_floor_at_once(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery)
    at = trio.current_time()
    stage.watcher.inbox.post(SpeechStarted("u1"))
    await wait_all_tasks_blocked()
    assert stage.speaker.did == [(round(at, 3), "holds"), (round(at, 3), "yields: SPEECH")]
    assert stage.judged == [True]


async def test_without_undo_syllables_takes_the_floor_at_once(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    stage = await a_stage(nursery, BargeIn.LOCAL)
    await stage.hears(SHORT_WORD, 2.0)
    assert stage.speaker.doings == ["yields: SPEECH"]
    assert stage.judged == [True]


async def test_a_line_that_was_loud_before_the_agent_spoke_does_not_silence_it(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery)
    chance = random.Random(3)
    noise = encode(round(chance.uniform(-2000, 2000)) for _ in range(8000 * 6))
    stage.speaker.speaks = False
    await stage.hears(noise[: 8000 * 2])
    stage.speaker.speaks = True
    await stage.hears(noise[8000 * 2 :])
    assert stage.speaker.did == []


async def test_while_the_agent_is_silent_nothing_is_taken_from_it(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery)
    stage.speaker.speaks = False
    await stage.hears(VOICE)
    assert stage.speaker.did == []
    assert not stage.watcher.contested()


# ---------------------------------------------------------------- rules of the floor


async def test_a_protected_sentence_is_heard_and_then_it_is_the_callers_turn(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery)
    stage.speaker.rule = FloorRule.PROTECTED
    await stage.hears(VOICE)
    stage.watcher.inbox.post(SpeechStarted("u1"))
    stage.watcher.inbox.post(CallerWords("u1", "I want to stop this.", True))
    await stage.hears(b"", 1.0)
    assert stage.speaker.did == []
    assert stage.judged == []
    stage.speaker.speaks = False
    await trio.sleep(11)
    assert stage.judged == [True]
    assert stage.speaker.did == []


async def test_words_that_were_kept_are_not_told_again_when_the_floor_was_taken_meanwhile(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery)
    stage.speaker.rule = FloorRule.PROTECTED
    stage.watcher.inbox.post(CallerWords("u1", "Stop!", True))
    stage.watcher.inbox.post(FloorTaken(Floor.MODEL))
    await wait_all_tasks_blocked()
    stage.speaker.speaks = True
    await stage.hears(VOICE)
    stage.speaker.speaks = False
    await trio.sleep(11)
    assert stage.link.take_all() == [Judged(taken=True, cancels=False), Judged(taken=True)]


async def test_a_sentence_that_is_to_be_finished_is_not_broken_off(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery)
    stage.speaker.rule = FloorRule.FINISH
    await stage.hears(VOICE)
    assert stage.speaker.doings == ["finishes"]
    assert stage.judged == []
    stage.speaker.speaks = False
    await trio.sleep(11)
    assert stage.judged == [True]


# ---------------------------------------------------------------- the actor


async def test_a_watcher_that_nobody_runs_is_noticed() -> None:
    watcher = InterruptWatcher()
    for number in range(QUEUE):
        watcher.inbox.post(SpeechStarted(f"u{number}"))
    with pytest.raises(MailboxFull):
        watcher.inbox.post(SpeechStarted("one more"))


async def test_a_watcher_ends_when_it_is_cancelled_and_takes_no_floor_any_more(nursery: trio.Nursery) -> None:
    watcher, speaker = InterruptWatcher(), FakeSpeaker()
    with trio.fail_after(5):
        async with trio.open_nursery() as inner:
            inner.start_soon(watcher.run, speaker, Mailbox[Judged]("link", 10, WhenFull.FATAL))
            await wait_all_tasks_blocked()
            inner.cancel_scope.cancel()
    watcher.inbox.post(SpeechStarted("u1"))
    await wait_all_tasks_blocked()
    assert speaker.did == []
