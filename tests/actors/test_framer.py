"""The Framer against a carrier that really plays: pacing, order, marks, quiet, and the floor taken at every moment."""

import itertools
import math

import pytest
import trio
from hypothesis import example, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.framer import BUFFER_SECONDS, ECHO_GRACE, GRAIN, LEAST_QUEUED_MS, Pace
from actors.messages import (
    AgentQuiet,
    Cut,
    Floor,
    Interrupted,
    ItemEnded,
    Play,
    ReplyAudio,
    ReplyEnded,
    ReplyStatus,
    ReplyWords,
    TellWhenQuiet,
)
from tests.kit.calls import PACE, ms
from tests.kit.carrier import FakeCarrier
from tests.kit.speaker import EPSILON, a_speaker, check_pace

LEAD = PACE.lead_ms / 1000


def check_queue(carrier: FakeCarrier, received: list[tuple[float, int]], least: float) -> None:
    """While there was a frame to play, the carrier's queue was never shorter than `least` seconds when it was sent one.

    `received`: when, and how many bytes there were by then altogether.
    """
    sent, until = 0, -math.inf
    for at, audio in carrier.sent("frame"):
        assert isinstance(audio, bytes)
        there = max((total for when, total in received if when < at - EPSILON), default=0)
        if there - sent >= GRAIN:
            assert until - at >= least - EPSILON, f"{there - sent} bytes wait, and {until - at} s are queued"
        sent += len(audio)
        until = max(until, at) + len(audio) / 8000


# ---------------------------------------------------------------- pacing


async def test_the_first_frame_goes_at_once_and_the_lead_is_kept_exactly(autojump_clock: MockClock) -> None:
    async with a_speaker() as speaker:
        speaker.say("a", ms(2000))
        await speaker.heard()
        times = [at - speaker.began for at, _ in speaker.carrier.sent("frame")]
        assert len(times) == 100
        ahead = PACE.lead_ms // PACE.frame_ms
        assert times == pytest.approx([max(0, n + 1 - ahead) * 0.02 for n in range(100)])
        check_pace(speaker.carrier, LEAD)


@pytest.mark.parametrize(("frame_ms", "lead_ms"), [(20, 60), (20, 200), (40, 200), (30, 70), (20, 2000)])
async def test_whatever_the_pace_the_lead_is_never_exceeded(
    frame_ms: int, lead_ms: int, autojump_clock: MockClock
) -> None:
    async with a_speaker(pace=Pace(frame_ms, lead_ms, 240)) as speaker:
        speaker.say("a", ms(1500))
        assert await speaker.heard() == pytest.approx(1.5)
        check_pace(speaker.carrier, lead_ms / 1000)
        assert {len(frame) for frame in speaker.carrier.frames[:-1]} == {frame_ms * 8}
        assert speaker.carrier.sound() == ms(1500)


async def test_playback_is_never_starved_while_there_is_audio(autojump_clock: MockClock) -> None:
    async with a_speaker() as speaker:
        speaker.say("a", ms(3000))
        await speaker.heard()
        frames = speaker.carrier.queue.frames
        assert all(later.start == pytest.approx(earlier.end) for earlier, later in itertools.pairwise(frames))


async def test_only_the_last_frame_of_an_item_is_partial(autojump_clock: MockClock) -> None:
    async with a_speaker() as speaker:
        speaker.say("a", ms(50, b"a"))
        speaker.say("b", ms(30, b"b"), "r2")
        await speaker.heard()
        assert [len(frame) for frame in speaker.carrier.frames] == [160, 160, 80, 160, 80]
        assert speaker.carrier.sound() == ms(50, b"a") + ms(30, b"b")


async def test_a_rest_shorter_than_a_frame_waits_for_more(autojump_clock: MockClock) -> None:
    async with a_speaker() as speaker:
        speaker.say("a", ms(30), end=False)
        await trio.sleep(1)
        assert [len(frame) for frame in speaker.carrier.frames] == [160]
        speaker.post(ReplyAudio("r1", "a", ms(10)))
        await trio.sleep(1)
        assert [len(frame) for frame in speaker.carrier.frames] == [160, 160]
        speaker.post(ReplyAudio("r1", "a", ms(5)), ItemEnded("r1", "a"))
        await speaker.heard()
        assert [len(frame) for frame in speaker.carrier.frames] == [160, 160, 40]


async def test_the_end_of_a_reply_ends_its_items(autojump_clock: MockClock) -> None:
    async with a_speaker() as speaker:
        speaker.post(ReplyAudio("r1", "a", ms(30)), ReplyEnded("r1", ReplyStatus.FAILED))
        assert await speaker.heard() == pytest.approx(0.03)
        assert speaker.carrier.sound() == ms(30)


async def test_items_are_played_one_after_the_other_even_if_their_audio_is_mixed(autojump_clock: MockClock) -> None:
    async with a_speaker() as speaker:
        for _ in range(10):
            speaker.post(ReplyAudio("r1", "a", ms(50, b"a")), ReplyAudio("r1", "b", ms(50, b"b")))
        speaker.post(ItemEnded("r1", "a"), ItemEnded("r1", "b"))
        await speaker.heard()
        assert speaker.carrier.sound() == ms(500, b"a") + ms(500, b"b")


async def test_prompts_and_replies_share_one_queue(autojump_clock: MockClock) -> None:
    async with a_speaker() as speaker:
        speaker.post(Play("prompt_1", "hello", ms(100, b"P")))
        speaker.say("a", ms(100, b"a"))
        speaker.post(Play("prompt_2", "bye", ms(100, b"Q")))
        assert await speaker.heard() == pytest.approx(0.3)
        assert speaker.carrier.sound() == ms(100, b"P") + ms(100, b"a") + ms(100, b"Q")


LARGE = Pace(frame_ms=100, lead_ms=300, mark_ms=240)


async def test_the_first_moment_of_a_slow_reply_is_sent_at_once_and_so_is_every_other(
    autojump_clock: MockClock,
) -> None:
    async with a_speaker(pace=LARGE) as speaker:
        for _ in range(40):
            speaker.say("a", ms(20), end=False)
            await trio.sleep(0.02)
        times = [at - speaker.began for at, _ in speaker.carrier.sent("frame")]
        assert times == pytest.approx([n * 0.02 for n in range(40)])
        assert {len(frame) for frame in speaker.carrier.frames} == {160}


async def test_what_is_there_is_sent_in_large_frames(autojump_clock: MockClock) -> None:
    async with a_speaker(pace=LARGE) as speaker:
        speaker.say("a", ms(2050))
        assert await speaker.heard() == pytest.approx(2.05)
        times = [at - speaker.began for at, _ in speaker.carrier.sent("frame")]
        assert times == pytest.approx([0, 0, 0, *(n * 0.1 for n in range(1, 18)), 1.75])
        assert [len(frame) for frame in speaker.carrier.frames] == [800] * 20 + [400]
        check_pace(speaker.carrier, 0.3)


async def test_what_is_no_whole_frame_is_sent_when_a_whole_one_would_be_due(autojump_clock: MockClock) -> None:
    async with a_speaker(pace=LARGE) as speaker:
        speaker.say("a", ms(250), end=False)
        await trio.sleep(0.005)
        assert [len(frame) for frame in speaker.carrier.frames] == [800, 800, 320], (
            "10 ms are no frame of the carrier's"
        )
        speaker.post(ReplyAudio("r1", "a", ms(15)))
        await trio.sleep(0.01)
        speaker.post(ReplyAudio("r1", "a", ms(45)))
        await wait_all_tasks_blocked()
        assert len(speaker.carrier.frames) == 3
        await trio.sleep(0.5)
        times = [at - speaker.began for at, _ in speaker.carrier.sent("frame")]
        assert times == pytest.approx([0, 0, 0, 0.04])  # 100 ms more would make the lead whole
        assert [len(frame) for frame in speaker.carrier.frames] == [800, 800, 320, 480]


@pytest.mark.parametrize(("frame_ms", "lead_ms", "at_most"), [(400, 300, 260), (100, 60, 20), (100, 120, 80)])
async def test_a_frame_that_the_lead_does_not_allow_is_cut_down(
    frame_ms: int, lead_ms: int, at_most: int, autojump_clock: MockClock
) -> None:
    async with a_speaker(pace=Pace(frame_ms, lead_ms, 240)) as speaker:
        speaker.say("a", ms(2600))
        assert await speaker.heard() == pytest.approx(2.6)
        assert max(len(frame) for frame in speaker.carrier.frames) == at_most * 8
        check_pace(speaker.carrier, lead_ms / 1000)
        check_queue(speaker.carrier, [(speaker.began, 2600 * 8)], LEAST_QUEUED_MS / 1000)
        assert speaker.carrier.sound() == ms(2600)


async def test_an_interruption_between_large_frames_is_exact(autojump_clock: MockClock) -> None:
    async with a_speaker(pace=LARGE) as speaker:
        speaker.say("a", ms(2000))
        await trio.sleep(0.77)
        speaker.framer.yield_floor(Floor.SPEECH)
        await trio.sleep(3)
        assert speaker.cuts() == [("a", 770 * 8, 2000 * 8)]
        assert speaker.carrier.sound() == ms(770)


async def test_an_underrun_is_survived_and_the_lead_built_anew(autojump_clock: MockClock) -> None:
    async with a_speaker() as speaker:
        speaker.say("a", ms(400, b"1"), end=False)
        await trio.sleep(2)
        speaker.post(ReplyAudio("r1", "a", ms(400, b"2")), ItemEnded("r1", "a"))
        assert await speaker.heard() == pytest.approx(2.4)
        assert speaker.carrier.sound() == ms(400, b"1") + ms(400, b"2")
        check_pace(speaker.carrier, LEAD)


async def test_a_blocked_socket_slows_the_framer_and_loses_nothing(autojump_clock: MockClock) -> None:
    async with a_speaker() as speaker:
        speaker.say("a", bytes(range(250)) * 64)
        await trio.sleep(0.5)
        speaker.carrier.block()
        await trio.sleep(3)
        speaker.carrier.unblock()
        await speaker.heard()
        assert speaker.carrier.sound() == bytes(range(250)) * 64


async def test_marks_are_set_as_often_as_asked_and_behind_the_last_frame(autojump_clock: MockClock) -> None:
    async with a_speaker() as speaker:
        speaker.say("a", ms(1000))
        await speaker.heard()
        position, marks = 0, []
        for _, kind, content in speaker.carrier.wire:
            if kind == "frame":
                assert isinstance(content, bytes)
                position += len(content) // 8
            else:
                marks.append(position)
        assert marks == [0, 240, 480, 720, 960, 1000]


SIZES = st.lists(st.integers(0, 3000), min_size=1, max_size=25)


@given(
    SIZES,
    st.sampled_from([20, 30, 40, 100, 400]),
    st.sampled_from([60, 200, 300, 500]),
    st.lists(st.floats(0, 0.3) | st.sampled_from([0.02, 0.1]), max_size=25),
)
@example([800, 80, 160, 0, 3000, 90], 100, 300, [0.1, 0.01, 0.02, 0.0, 0.3])
@settings(max_examples=60)
def test_however_audio_arrives_every_byte_is_heard_once_in_order_and_on_time(
    sizes: list[int], frame_ms: int, lead_ms: int, pauses: list[float]
) -> None:
    async def main() -> None:
        async with a_speaker(pace=Pace(frame_ms, lead_ms, 240)) as speaker:
            audio = b""
            received: list[tuple[float, int]] = []
            for number, size in enumerate(sizes):
                item = f"i{number // 5}"
                delta = bytes((len(audio) + n) % 251 for n in range(size))
                audio += delta
                speaker.post(ReplyAudio("r1", item, delta))
                received.append((trio.current_time(), len(audio)))
                if number % 5 == 4:
                    speaker.post(ItemEnded("r1", item))
                await trio.sleep(pauses[number] if number < len(pauses) else 0)
            speaker.post(ReplyEnded("r1", ReplyStatus.COMPLETED))
            await speaker.heard()
            assert speaker.carrier.sound() == audio
            assert b"".join(speaker.carrier.frames) == audio
            check_pace(speaker.carrier, lead_ms / 1000)
            check_queue(speaker.carrier, received, min(LEAST_QUEUED_MS, lead_ms - frame_ms) / 1000)
            assert all(len(frame) <= frame_ms * 8 for frame in speaker.carrier.frames)
            assert all(not turn.interrupted for turn in speaker.notebook.record.turns)
            assert sum(turn.heard_ms for turn in speaker.notebook.record.turns) <= len(audio) / 8

    trio.run(main, clock=MockClock(autojump_threshold=0))


# ---------------------------------------------------------------- the end of speech


async def test_speech_is_over_when_its_last_mark_is_back(autojump_clock: MockClock) -> None:
    async with a_speaker(FakeCarrier(there=lambda: 0.1, back=lambda: 0.15)) as speaker:
        speaker.say("a", ms(1000), words="one two")
        assert await speaker.heard() == pytest.approx(1.25)
        assert speaker.turn("a") == (1000, 1000, False, "one two")


async def test_speech_whose_marks_are_lost_is_held_for_heard_after_the_grace(autojump_clock: MockClock) -> None:
    carrier = FakeCarrier()
    carrier.lose_marks = True
    async with a_speaker(carrier) as speaker:
        speaker.say("a", ms(1000))
        assert await speaker.heard() == pytest.approx(1.0 + ECHO_GRACE)
        assert speaker.turn("a") == (1000, 1000, False, "")


async def test_new_speech_in_the_tail_goes_on_without_a_pause(autojump_clock: MockClock) -> None:
    async with a_speaker() as speaker:
        speaker.say("a", ms(1000, b"a"))
        await trio.sleep(0.95)  # all is handed on, not all is heard
        speaker.say("b", ms(1000, b"b"), "r2")
        assert await speaker.heard() == pytest.approx(2.0)
        assert speaker.carrier.sound() == ms(1000, b"a") + ms(1000, b"b")


async def test_the_end_of_the_speech_received_is_known_in_advance(autojump_clock: MockClock) -> None:
    async with a_speaker() as speaker:
        speaker.say("a", ms(3000))
        for _ in range(5):
            await trio.sleep(0.3)
            assert speaker.framer.speech_until() - speaker.began == pytest.approx(3.0, abs=0.02 + EPSILON)
        await trio.sleep(60)  # the end of speech that is over lies in the past, and is no reason to wait for anything
        assert speaker.framer.speech_until() - speaker.began == pytest.approx(3.0, abs=0.02 + EPSILON)


# ---------------------------------------------------------------- quiet


async def test_quiet_is_told_at_once_when_nothing_is_said(autojump_clock: MockClock) -> None:
    async with a_speaker() as speaker:
        speaker.post(TellWhenQuiet())
        await wait_all_tasks_blocked()
        assert speaker.quiet.take_all() == [AgentQuiet()]


async def test_quiet_is_told_when_all_that_was_queued_before_has_been_heard(autojump_clock: MockClock) -> None:
    async with a_speaker() as speaker:
        speaker.say("a", ms(1000))
        speaker.post(Play("prompt_1", "bye", ms(500)))
        speaker.post(TellWhenQuiet())
        await trio.sleep(1.49)
        assert speaker.quiet.take_all() == []
        await trio.sleep(0.02)
        assert speaker.quiet.take_all() == [AgentQuiet()]


async def test_quiet_asked_for_twice_is_told_once(autojump_clock: MockClock) -> None:
    async with a_speaker() as speaker:
        speaker.say("a", ms(100))
        speaker.post(TellWhenQuiet(), TellWhenQuiet())
        await trio.sleep(5)
        assert speaker.quiet.take_all() == [AgentQuiet()]


async def test_quiet_waits_for_a_reply_that_is_still_being_made(autojump_clock: MockClock) -> None:
    async with a_speaker() as speaker:
        speaker.say("a", ms(100), end=False)
        speaker.post(TellWhenQuiet())
        await trio.sleep(5)
        assert speaker.quiet.take_all() == []
        speaker.post(ReplyEnded("r1", ReplyStatus.COMPLETED))
        await wait_all_tasks_blocked()
        await trio.sleep(0.1)
        assert speaker.quiet.take_all() == [AgentQuiet()]


async def test_speech_that_was_cut_is_not_told_as_quiet(autojump_clock: MockClock) -> None:
    async with a_speaker() as speaker:
        speaker.say("a", ms(1000))
        speaker.post(TellWhenQuiet())
        await trio.sleep(0.5)
        speaker.framer.yield_floor(Floor.SPEECH)
        await trio.sleep(10)
        assert speaker.quiet.take_all() == []
        assert len(speaker.cuts()) == 1


# ---------------------------------------------------------------- the floor is taken


async def test_an_interruption_silences_at_once_and_tells_what_was_heard(autojump_clock: MockClock) -> None:
    async with a_speaker(FakeCarrier(there=lambda: 0.1, back=lambda: 0.1)) as speaker:
        speaker.say("a", ms(3000), words="one two three four five six")
        await trio.sleep(1.5)
        speaker.framer.yield_floor(Floor.SPEECH)
        await wait_all_tasks_blocked()
        (message,) = speaker.interrupted.take_all()
        assert message == Interrupted(trio.current_time(), Floor.SPEECH, (Cut("a", 12000, 24000),), 20)
        await trio.sleep(10)
        assert len(speaker.carrier.sound()) == 12000 == speaker.carrier.queue.clears[0].played
        assert speaker.turn("a") == (1500, 3000, True, "one two three")
        assert speaker.carrier.wire[-1][1] == "clear"


async def test_an_interruption_of_silence_is_none(autojump_clock: MockClock) -> None:
    async with a_speaker() as speaker:
        speaker.framer.yield_floor(Floor.SPEECH)
        speaker.say("a", ms(100))
        await speaker.heard()
        speaker.framer.yield_floor(Floor.SPEECH)
        await trio.sleep(1)
        assert speaker.carrier.sent("clear") == []
        assert speaker.cuts() == []
        assert speaker.turn("a")[2] is False


async def test_an_interruption_twice_is_one(autojump_clock: MockClock) -> None:
    async with a_speaker() as speaker:
        speaker.say("a", ms(1000))
        await trio.sleep(0.5)
        speaker.framer.yield_floor(Floor.SPEECH)
        speaker.framer.yield_floor(Floor.KEY)
        await trio.sleep(1)
        speaker.framer.yield_floor(Floor.SPEECH)
        await trio.sleep(1)
        assert len(speaker.carrier.sent("clear")) == 1
        assert speaker.cuts() == [("a", 4000, 8000)]


async def test_speech_of_which_no_frame_is_out_yet_is_cut_unheard(autojump_clock: MockClock) -> None:
    async with a_speaker() as speaker:
        speaker.post(ReplyAudio("r1", "a", ms(10)))  # less than a frame, and more is to come
        await wait_all_tasks_blocked()
        speaker.post(ReplyAudio("r1", "a", ms(5)))
        speaker.framer.yield_floor(Floor.SPEECH)
        await trio.sleep(3)
        assert [(item, heard) for item, heard, _ in speaker.cuts()] == [("a", 0)]
        assert speaker.carrier.sound() == b""
        assert speaker.notebook.record.turns == []


async def test_a_reply_that_has_only_words_yet_is_muted_without_a_cut(autojump_clock: MockClock) -> None:
    async with a_speaker() as speaker:
        speaker.post(ReplyWords("r1", "a", "hello"))
        await trio.sleep(0.1)
        speaker.framer.yield_floor(Floor.SPEECH)
        speaker.say("a", ms(1000), "r1")
        await trio.sleep(3)
        assert speaker.cuts() == []
        assert speaker.carrier.sound() == b""


async def test_words_that_come_when_their_audio_was_heard_are_those_of_what_was_heard(
    autojump_clock: MockClock,
) -> None:
    async with a_speaker() as speaker:
        speaker.post(ReplyAudio("r1", "a", ms(1000)), ItemEnded("r1", "a"))
        assert await speaker.heard() == pytest.approx(1.0)
        speaker.post(ReplyWords("r1", "a", "We are "), ReplyWords("r1", "a", "closed."), TellWhenQuiet())
        await wait_all_tasks_blocked()
        assert speaker.quiet.take_all() == [AgentQuiet()]
        speaker.post(ReplyEnded("r1", ReplyStatus.COMPLETED))
        await wait_all_tasks_blocked()
        assert speaker.turn("a") == (1000, 1000, False, "We are closed.")


async def test_in_the_tail_what_has_not_been_heard_is_cut(autojump_clock: MockClock) -> None:
    async with a_speaker() as speaker:
        speaker.say("a", ms(1000))
        await trio.sleep(0.9)  # every frame is on the wire
        assert len(speaker.carrier.frames) == 50
        speaker.framer.yield_floor(Floor.SPEECH)
        await trio.sleep(3)
        assert speaker.cuts() == [("a", 7200, 8000)]
        assert len(speaker.carrier.sound()) == 7200


async def test_a_reply_heard_to_its_end_is_never_cut_even_if_its_mark_is_not_back(autojump_clock: MockClock) -> None:
    async with a_speaker(FakeCarrier(back=lambda: 0.5)) as speaker:
        speaker.say("a", ms(1000), words="all of it")
        speaker.post(TellWhenQuiet())
        await trio.sleep(1.2)
        assert speaker.story.take_all() == []
        speaker.framer.yield_floor(Floor.SPEECH)
        await trio.sleep(3)
        assert speaker.story.take_all() == [None], "that it was heard is kept at once, not with the next turn"
        assert speaker.cuts() == []
        assert speaker.turn("a") == (1000, 1000, False, "all of it")
        assert speaker.quiet.take_all() == [AgentQuiet()]


async def test_of_two_items_the_first_heard_whole_is_not_cut(autojump_clock: MockClock) -> None:
    async with a_speaker() as speaker:
        speaker.post(ReplyAudio("r1", "a", ms(500)), ItemEnded("r1", "a"), ReplyAudio("r1", "b", ms(500)))
        await trio.sleep(0.75)
        speaker.framer.yield_floor(Floor.SPEECH)
        await trio.sleep(1)
        assert speaker.cuts() == [("b", 2000, 4000)]
        assert speaker.turn("a")[:3] == (500, 500, False)


async def test_of_two_items_the_audible_one_is_cut_and_the_other_unheard(autojump_clock: MockClock) -> None:
    async with a_speaker() as speaker:
        speaker.post(ReplyAudio("r1", "a", ms(500)), ItemEnded("r1", "a"), ReplyAudio("r1", "b", ms(500)))
        await trio.sleep(0.25)
        speaker.framer.yield_floor(Floor.SPEECH)
        await trio.sleep(1)
        assert speaker.cuts() == [("a", 2000, 4000), ("b", 0, 4000)]


async def test_late_audio_of_a_reply_that_was_cut_is_not_played(autojump_clock: MockClock) -> None:
    async with a_speaker() as speaker:
        speaker.say("a", ms(1000, b"1"), end=False)
        await trio.sleep(0.5)
        speaker.framer.yield_floor(Floor.SPEECH)
        speaker.post(ReplyAudio("r1", "a", ms(1000, b"2")), ReplyWords("r1", "a", "late"))
        speaker.post(ReplyAudio("r1", "c", ms(1000, b"3")), ReplyEnded("r1", ReplyStatus.CANCELLED))
        await trio.sleep(3)
        assert speaker.carrier.sound() == ms(500, b"1")
        assert speaker.cuts() == [("a", 4000, 8000)]


async def test_new_speech_right_behind_an_interruption_is_whole(autojump_clock: MockClock) -> None:
    async with a_speaker() as speaker:
        speaker.say("a", ms(1000, b"a"))
        await trio.sleep(0.5)
        speaker.framer.yield_floor(Floor.KEY)
        speaker.post(Play("prompt_1", "one moment", ms(500, b"P")))
        speaker.post(TellWhenQuiet())
        assert await speaker.heard() == pytest.approx(1.0)
        assert speaker.carrier.sound() == ms(500, b"a") + ms(500, b"P")
        assert speaker.cuts() == [("a", 4000, 8000)]
        await wait_all_tasks_blocked()
        assert speaker.quiet.take_all() == [AgentQuiet()]


async def test_new_speech_right_behind_an_interruption_may_be_interrupted_too(autojump_clock: MockClock) -> None:
    async with a_speaker() as speaker:
        speaker.say("a", ms(1000, b"a"))
        await trio.sleep(0.5)
        speaker.framer.yield_floor(Floor.KEY)
        speaker.say("b", ms(1000, b"b"), "r2")
        await trio.sleep(0.5)
        speaker.framer.yield_floor(Floor.SPEECH)
        await trio.sleep(3)
        assert speaker.cuts() == [("a", 4000, 8000), ("b", 4000, 8000)]
        assert speaker.carrier.sound() == ms(500, b"a") + ms(500, b"b")


async def test_a_mark_flushed_by_clear_proves_nothing(autojump_clock: MockClock) -> None:
    async with a_speaker(FakeCarrier(back=lambda: 0.3)) as speaker:
        speaker.say("a", ms(3000, b"a"))
        await trio.sleep(1)
        speaker.framer.yield_floor(Floor.SPEECH)
        await wait_all_tasks_blocked()
        speaker.say("b", ms(1000, b"b"), "r2")
        await trio.sleep(0.5)  # the flushed marks are back by now
        assert speaker.turn("a")[:2] == (1000, 3000)
        speaker.framer.yield_floor(Floor.SPEECH)
        await trio.sleep(1)
        assert speaker.cuts() == [("a", 8000, 24000), ("b", 4000, 8000)]


async def test_those_who_wait_for_silence_are_released_by_an_interruption(autojump_clock: MockClock) -> None:
    async with a_speaker() as speaker:
        speaker.say("a", ms(3000))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(speaker.heard)
            await trio.sleep(1)
            speaker.framer.yield_floor(Floor.SPEECH)
        assert trio.current_time() - speaker.began == pytest.approx(1.0)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("say"), st.integers(1, 12_000)),
            st.tuples(st.just("yield"), st.just(0)),
            st.tuples(st.just("wait"), st.integers(0, 1500)),
        ),
        max_size=25,
    ),
    st.sampled_from([0.0, 0.08, 0.3]),
)
@settings(max_examples=60)
def test_whenever_the_floor_is_taken_the_books_agree_with_the_ear(moves: list[tuple[str, int]], delay: float) -> None:
    async def main() -> None:
        async with a_speaker(FakeCarrier(there=lambda: delay, back=lambda: delay)) as speaker:
            received: dict[str, int] = {}
            for number, (move, amount) in enumerate(moves):
                if move == "say":
                    item = f"i{number}"
                    received[item] = amount
                    speaker.say(item, bytes([number]) * amount, f"r{number}")
                    await wait_all_tasks_blocked()
                elif move == "yield":
                    speaker.framer.yield_floor(Floor.SPEECH)
                    await wait_all_tasks_blocked()
                else:
                    await trio.sleep(amount / 1000)
            await speaker.heard()
            await trio.sleep(1)
            sound = speaker.carrier.sound()
            cut = speaker.cuts()
            assert len({item for item, _, _ in cut}) == len(cut), "cut twice"
            left = dict(received)
            for item, heard, of in cut:
                assert of == received[item]
                assert abs(heard - sound.count(bytes([int(item[1:])]))) <= 2, "the book is wrong about what was heard"
                del left[item]
            for item, size in left.items():  # never cut: heard whole
                assert sound.count(bytes([int(item[1:])])) == size
            assert not speaker.framer.inbox.take_all()

    trio.run(main, clock=MockClock(autojump_threshold=0))


# ---------------------------------------------------------------- bounds


async def test_of_a_reply_that_was_broken_off_the_record_has_no_words_that_nobody_heard(
    autojump_clock: MockClock,
) -> None:
    words = "Our opening hours are from nine to five, and on Saturdays we are open from ten until two."
    async with a_speaker() as s:
        s.say("i1", ms(2000), words=words, end=False)
        s.post(ItemEnded("r1", "i1", broken_off=True), ReplyEnded("r1", ReplyStatus.CANCELLED))
        await s.heard()
        assert s.turn("i1") == (2000, 2000, True, "Our opening hours are from nine")


async def test_a_reply_too_long_to_keep_is_cut_off_and_noted_once(autojump_clock: MockClock) -> None:
    async with a_speaker() as speaker:
        for _ in range(BUFFER_SECONDS + 20):
            speaker.post(ReplyAudio("r1", "a", ms(1000)))
            await wait_all_tasks_blocked()
        speaker.post(ReplyEnded("r1", ReplyStatus.COMPLETED))
        await speaker.heard()
        assert BUFFER_SECONDS <= len(speaker.carrier.sound()) / 8000 <= BUFFER_SECONDS + 2
        (trouble,) = speaker.notebook.record.errors
        assert trouble.kind == "framer"
        speaker.say("b", ms(100, b"b"), "r2")
        await speaker.heard()
        assert speaker.carrier.sound().endswith(ms(100, b"b"))


async def test_what_is_less_than_a_frame_is_no_speech_to_come_while_nothing_follows_it(
    autojump_clock: MockClock,
) -> None:
    async with a_speaker() as speaker:
        speaker.say("a", ms(1015), end=False)
        await trio.sleep(5)
        assert speaker.framer.speech_until() - speaker.began == pytest.approx(1.0, abs=0.02)
        assert not speaker.framer.audible()
        assert speaker.framer.unheard_seconds() == 0
        speaker.post(ItemEnded("r1", "a"), ReplyEnded("r1", ReplyStatus.COMPLETED))
        assert await speaker.heard() == pytest.approx(5.015, abs=0.02)
