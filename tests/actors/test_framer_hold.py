"""The Framer held: silent at once, then on from the byte where the caller stopped hearing, or cut; and sentences finished."""

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.framer import PAUSE_MS, SENTENCE_AT_MOST, TAIL
from actors.messages import (
    AgentQuiet,
    Cut,
    Floor,
    FloorRule,
    Interrupted,
    ItemEnded,
    Play,
    ReplyAudio,
    ReplyEnded,
    ReplyStatus,
    ReplyWords,
    SetFloor,
    TellWhenQuiet,
)
from actors.mulaw import silence
from tests.kit.calls import PACE, ms
from tests.kit.carrier import FakeCarrier
from tests.kit.speaker import Speaker, a_speaker, check_pace

LOUD = b"\x00"
LATE = 0.1


def counted(size: int, first: int = 0) -> bytes:
    """Audio of which every piece tells where it belongs."""
    return bytes((first + n) % 251 for n in range(size))


async def held_at(speaker: Speaker, seconds: float) -> None:
    await trio.sleep(seconds)
    speaker.framer.hold()
    await wait_all_tasks_blocked()


# ---------------------------------------------------------------- silent, and on


async def test_held_it_clears_at_once_and_no_frame_follows_until_it_goes_on(autojump_clock: MockClock) -> None:
    async with a_speaker() as speaker:
        speaker.say("a", counted(24000))
        await held_at(speaker, 1.5)
        assert [at - speaker.began for at, _ in speaker.carrier.sent("clear")] == [pytest.approx(1.5)]
        assert speaker.carrier.wire[-1][1] == "clear"
        await trio.sleep(60)
        assert speaker.carrier.wire[-1][1] == "clear"
        assert speaker.framer.is_held
        speaker.framer.go_on()
        assert not speaker.framer.is_held
        assert await speaker.heard() == pytest.approx(63.0)
        assert speaker.carrier.sound() == counted(24000)
        check_pace(speaker.carrier, PACE.lead_ms / 1000)


async def test_what_was_held_and_went_on_is_heard_whole_and_nobody_is_told_of_a_cut(autojump_clock: MockClock) -> None:
    async with a_speaker() as speaker:
        speaker.say("a", ms(2000), words="one two three four")
        await held_at(speaker, 1)
        speaker.framer.go_on()
        await speaker.heard()
        assert speaker.turn("a") == (2000, 2000, False, "one two three four")
        assert speaker.cuts() == []
        assert speaker.story.take_all() == [None]


async def test_told_to_go_on_before_the_clear_is_on_the_wire_it_waits_for_that(autojump_clock: MockClock) -> None:
    async with a_speaker(FakeCarrier(there=lambda: LATE, back=lambda: LATE)) as speaker:
        speaker.say("a", counted(8000))
        await trio.sleep(0.5)
        speaker.framer.hold()
        speaker.framer.go_on()
        assert speaker.framer.is_held
        await speaker.heard()
        assert len(speaker.carrier.sent("clear")) == 1
        assert speaker.carrier.sound() == counted(8000)
        assert speaker.turn("a")[:3] == (1000, 1000, False)


async def test_held_again_before_the_clear_is_on_the_wire_it_does_not_go_on(autojump_clock: MockClock) -> None:
    async with a_speaker() as speaker:
        speaker.say("a", counted(8000))
        await trio.sleep(0.5)
        speaker.framer.hold()
        speaker.framer.go_on()
        speaker.framer.hold()
        await trio.sleep(5)
        assert len(speaker.carrier.sound()) == 4000
        speaker.framer.go_on()
        await speaker.heard()
        assert speaker.carrier.sound() == counted(8000)


async def test_what_comes_while_it_is_held_is_said_when_it_goes_on(autojump_clock: MockClock) -> None:
    async with a_speaker() as speaker:
        speaker.say("a", counted(8000), end=False)
        await held_at(speaker, 0.5)
        speaker.post(ReplyAudio("r1", "a", counted(8000, 8000)), ItemEnded("r1", "a"))
        speaker.post(ReplyEnded("r1", ReplyStatus.COMPLETED), Play("p", "", ms(300, b"\xfe")))
        await trio.sleep(3)
        assert len(speaker.carrier.sound()) == 4000
        speaker.framer.go_on()
        assert await speaker.heard() == pytest.approx(5.3)
        assert speaker.carrier.sound() == counted(16000) + ms(300, b"\xfe")


async def test_speech_of_which_no_frame_is_out_yet_may_be_held_too(autojump_clock: MockClock) -> None:
    async with a_speaker() as speaker:
        speaker.say("a", ms(10), end=False)  # less than a frame
        await held_at(speaker, 0.1)
        speaker.post(ReplyAudio("r1", "a", ms(990)), ItemEnded("r1", "a"))
        await trio.sleep(0.9)
        assert speaker.framer.is_held
        assert speaker.framer.audible()
        assert speaker.carrier.frames == []
        speaker.framer.go_on()
        speaker.framer.hold()  # nothing is on the wire that a clear could throw out
        await trio.sleep(1)
        assert speaker.framer.is_held
        assert speaker.carrier.frames == []
        assert len(speaker.carrier.sent("clear")) == 1
        speaker.framer.go_on()
        assert await speaker.heard() == pytest.approx(3.0)
        assert speaker.carrier.sound() == ms(1000)


async def test_silence_is_not_held(autojump_clock: MockClock) -> None:
    async with a_speaker() as speaker:
        speaker.framer.hold()
        speaker.framer.go_on()
        assert not speaker.framer.is_held
        speaker.say("a", ms(100))
        assert await speaker.heard() == pytest.approx(0.1)
        assert speaker.carrier.sent("clear") == []


async def test_held_in_the_tail_when_all_was_heard_nothing_is_held_and_it_is_quiet(autojump_clock: MockClock) -> None:
    async with a_speaker(FakeCarrier(back=lambda: 0.5)) as speaker:
        speaker.say("a", ms(1000), words="all of it")
        speaker.post(TellWhenQuiet())
        await held_at(speaker, 1.2)
        assert not speaker.framer.is_held
        assert await speaker.heard() == pytest.approx(1.2)
        assert speaker.quiet.take_all() == [AgentQuiet()]
        assert speaker.turn("a") == (1000, 1000, False, "all of it")
        await trio.sleep(5)
        assert speaker.carrier.wire[-1][1] == "clear"
        assert speaker.cuts() == []


async def test_quiet_is_told_only_when_what_was_held_has_been_heard(autojump_clock: MockClock) -> None:
    async with a_speaker() as speaker:
        speaker.say("a", ms(1000))
        speaker.post(TellWhenQuiet())
        await held_at(speaker, 0.5)
        await trio.sleep(10)
        assert speaker.quiet.take_all() == []
        speaker.framer.go_on()
        await trio.sleep(0.49)
        assert speaker.quiet.take_all() == []
        await trio.sleep(0.02)
        assert speaker.quiet.take_all() == [AgentQuiet()]


SAY = st.tuples(st.just("say"), st.integers(1, 9000))
MORE = st.tuples(st.just("more"), st.integers(1, 4000))
WAIT = st.tuples(st.just("wait"), st.integers(0, 900))
HOLD, GO_ON, STEP = (st.tuples(st.just(move), st.just(0)) for move in ("hold", "go on", "step"))


@given(
    st.lists(st.one_of(SAY, MORE, WAIT, WAIT, HOLD, HOLD, GO_ON, STEP), min_size=3, max_size=16),
    st.sampled_from([0.0, 0.08, 0.3]),
)
@settings(max_examples=60, deadline=None)
def test_whenever_it_is_held_and_goes_on_every_byte_is_heard_once_and_in_order(
    moves: list[tuple[str, int]], delay: float
) -> None:
    async def main() -> None:
        async with a_speaker(FakeCarrier(there=lambda: delay, back=lambda: delay)) as speaker:
            audio, item = b"", ""
            for number, (move, amount) in enumerate([("say", 100), *moves]):
                if move in ("say", "more"):
                    if move == "say":
                        if item:
                            speaker.post(ItemEnded("r1", item))
                        item = f"i{number}"
                    delta = counted(amount, len(audio))
                    audio += delta
                    speaker.post(ReplyAudio("r1", item, delta))
                    await wait_all_tasks_blocked()
                elif move == "hold":
                    speaker.framer.hold()
                elif move == "go on":
                    speaker.framer.go_on()
                elif move == "step":
                    await trio.lowlevel.checkpoint()
                else:
                    await trio.sleep(amount / 1000)
                    await wait_all_tasks_blocked()
            speaker.post(ReplyEnded("r1", ReplyStatus.COMPLETED))
            await wait_all_tasks_blocked()
            speaker.framer.go_on()
            await speaker.heard()
            await trio.sleep(1)
            assert speaker.carrier.sound() == audio
            assert speaker.cuts() == []
            turns = speaker.notebook.record.turns
            assert all(turn.heard_ms == turn.generated_ms and not turn.interrupted for turn in turns)
            assert not speaker.framer.is_held

    trio.run(main, clock=MockClock(autojump_threshold=0))


# ---------------------------------------------------------------- held, and the floor is taken


async def test_the_floor_taken_while_held_is_told_with_what_was_heard_when_it_was_held(
    autojump_clock: MockClock,
) -> None:
    async with a_speaker() as speaker:
        speaker.say("a", ms(2000), words="one two three four", end=False)
        await held_at(speaker, 1)
        held = trio.current_time()
        await trio.sleep(2)
        speaker.framer.yield_floor(Floor.SPEECH)
        assert not speaker.framer.is_held
        speaker.post(ReplyAudio("r1", "a", ms(500)), ReplyAudio("r1", "b", ms(500)))
        await trio.sleep(5)
        told = speaker.interrupted.take_all()
        assert told == [Interrupted(held, Floor.SPEECH, (Cut("a", 8000, 16000),), 20)]
        assert told == speaker.interrupted_too.take_all()
        assert len(speaker.carrier.sound()) == 8000
        assert speaker.turn("a")[:3] == (1000, 2000, True)
        assert len(speaker.carrier.sent("clear")) == 1


async def test_what_was_heard_before_and_after_it_went_on_is_told_together(autojump_clock: MockClock) -> None:
    async with a_speaker() as speaker:
        speaker.say("a", ms(3000))
        await held_at(speaker, 1)
        speaker.framer.go_on()
        await trio.sleep(0.5)
        speaker.framer.yield_floor(Floor.KEY)
        await trio.sleep(3)
        assert speaker.cuts() == [("a", 12000, 24000)]
        assert len(speaker.carrier.sound()) == 12000


async def test_the_floor_taken_in_the_moment_of_going_on_is_told_with_what_was_heard(
    autojump_clock: MockClock,
) -> None:
    async with a_speaker() as speaker:
        speaker.say("a", ms(3000))
        await held_at(speaker, 1)
        speaker.framer.go_on()
        speaker.framer.yield_floor(Floor.SPEECH)
        await trio.sleep(3)
        assert speaker.cuts() == [("a", 8000, 24000)]
        assert len(speaker.carrier.sound()) == 8000


async def test_the_floor_taken_before_the_clear_is_on_the_wire_leaves_later_speech_alone(
    autojump_clock: MockClock,
) -> None:
    async with a_speaker() as speaker:
        speaker.say("a", counted(8000), end=False)
        await trio.sleep(0.5)
        speaker.framer.hold()
        speaker.framer.yield_floor(Floor.SPEECH)
        speaker.framer.go_on()  # too late
        speaker.post(ReplyAudio("r1", "a", ms(1000)), Play("p", "one moment", ms(400, b"P")), TellWhenQuiet())
        assert await speaker.heard() == pytest.approx(0.9)
        assert speaker.cuts() == [("a", 4000, 8000)]
        assert speaker.carrier.sound() == counted(4000) + ms(400, b"P")
        await wait_all_tasks_blocked()
        assert speaker.quiet.take_all() == [AgentQuiet()]


async def test_those_who_wait_for_silence_are_released_when_what_is_held_is_cut(autojump_clock: MockClock) -> None:
    async with a_speaker() as speaker:
        speaker.say("a", ms(3000))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(speaker.heard)
            await held_at(speaker, 1)
            await trio.sleep(1)
            speaker.framer.yield_floor(Floor.SPEECH)
        assert trio.current_time() - speaker.began == pytest.approx(2.0)


@pytest.mark.parametrize("hold", [False, True])
async def test_two_interruptions_of_which_the_first_still_waits_for_the_socket_are_both_told(
    hold: bool, autojump_clock: MockClock
) -> None:
    async with a_speaker() as speaker:
        speaker.say("a", ms(1000, b"a"))
        await trio.sleep(0.51)
        speaker.carrier.block()
        await trio.sleep(0.05)
        speaker.framer.yield_floor(Floor.SPEECH)
        speaker.say("b", ms(1000, b"b"), "r2")
        await wait_all_tasks_blocked()
        if hold:
            speaker.framer.hold()
        else:
            speaker.framer.yield_floor(Floor.SPEECH)
        speaker.carrier.unblock()
        await wait_all_tasks_blocked()
        assert [item for item, _, _ in speaker.cuts()] == (["a"] if hold else ["a", "b"])
        assert speaker.framer.is_held == hold
        speaker.framer.go_on()
        speaker.say("c", ms(1000, b"c"), "r3")
        await trio.sleep(1.5 if hold else 0.5)
        speaker.framer.yield_floor(Floor.SPEECH)
        await trio.sleep(3)
        assert speaker.cuts() == [("c", 4000, 8000)]
        assert speaker.carrier.sound().count(b"b") == (8000 if hold else 0)


async def test_the_end_of_the_stream_while_held_records_what_was_heard(autojump_clock: MockClock) -> None:
    async with a_speaker() as speaker:
        speaker.say("a", ms(2000))
        await held_at(speaker, 1)
        speaker.framer.settle()
        assert speaker.turn("a")[:3] == (1000, 2000, True)


# ---------------------------------------------------------------- what is known of it


async def test_what_is_audible_and_unheard_is_known_while_it_speaks_is_held_and_goes_on(
    autojump_clock: MockClock,
) -> None:
    async with a_speaker() as speaker:
        framer = speaker.framer
        assert not framer.audible()
        assert framer.unheard_seconds() == 0
        speaker.say("a", ms(2000), words="one two three four")
        await held_at(speaker, 1)
        for _ in range(2):
            assert framer.audible()
            assert framer.unheard_seconds() == pytest.approx(1.0)
            assert framer.saying() == "one two"
            await trio.sleep(5)
        framer.go_on()
        await trio.sleep(0.51)
        assert framer.unheard_seconds() == pytest.approx(0.48, abs=0.021)
        assert framer.saying() == "one two three"
        assert framer.said_lately().split() == ["one", "two", "three", "four"]
        await speaker.heard()
        assert not framer.audible()
        assert framer.saying() == ""
        speaker.say("b", ms(500), "r2", words="five")
        await trio.sleep(0.1)
        assert framer.said_lately() == "one two three four five"


async def test_the_tail_is_audible_a_little_longer_than_it_was_played(autojump_clock: MockClock) -> None:
    async with a_speaker(FakeCarrier(back=lambda: 0.5)) as speaker:
        speaker.say("a", ms(1000))
        await trio.sleep(1 + TAIL - 0.01)
        assert speaker.framer.audible()
        await trio.sleep(0.02)
        assert not speaker.framer.audible()


async def test_how_it_gives_way_is_each_items_own(autojump_clock: MockClock) -> None:
    async with a_speaker() as speaker:
        floors: list[FloorRule] = []
        speaker.post(Play("p", "", ms(500), FloorRule.PROTECTED), SetFloor(FloorRule.FINISH))
        speaker.say("a", ms(500))
        speaker.post(SetFloor(FloorRule.OPEN))  # of what has begun the rule stays
        speaker.say("b", ms(500), "r2")
        for _ in range(3):
            await trio.sleep(0.25)
            floors.append(speaker.framer.floor())
            await trio.sleep(0.25)
        assert floors == [FloorRule.PROTECTED, FloorRule.FINISH, FloorRule.OPEN]
        await speaker.heard()
        assert speaker.framer.floor() is FloorRule.OPEN


async def test_a_protected_item_is_heard_to_its_end_whatever_is_said_next_once_all_of_it_is_here(
    autojump_clock: MockClock,
) -> None:
    async with a_speaker() as speaker:
        speaker.post(SetFloor(FloorRule.PROTECTED), ReplyAudio("r1", "a", ms(500)))
        await trio.sleep(0.1)
        assert not speaker.framer.is_protected()
        speaker.post(ItemEnded("r1", "a"))
        await trio.sleep(0.1)
        assert speaker.framer.is_protected()
        await speaker.heard()
        assert not speaker.framer.is_protected()


async def test_every_frame_is_told_with_the_moment_it_begins_to_be_heard(autojump_clock: MockClock) -> None:
    async with a_speaker() as speaker:
        told: list[tuple[bytes, float]] = []
        speaker.framer._plays = lambda audio, at: told.append((audio, at))
        speaker.say("a", counted(8000))
        await held_at(speaker, 0.5)
        await trio.sleep(1)
        speaker.framer.go_on()
        await speaker.heard()
        frames = speaker.carrier.queue.frames
        assert [audio for audio, _ in told] == [frame.audio for frame in frames]
        starts = [frame.start for frame in frames if frame.start < frame.end]
        cleared = [at for audio, at in told if at < speaker.began + 0.5 or at >= speaker.began + 1.5]
        assert cleared == pytest.approx(starts)


# ---------------------------------------------------------------- the sentence is finished


def sentences(loud_ms: int, later_ms: int = 2000) -> bytes:
    return ms(loud_ms, LOUD) + silence(PAUSE_MS + 80) + ms(later_ms, b"\x80")


async def test_a_sentence_is_finished_up_to_its_pause_and_the_rest_told_when_it_was_heard(
    autojump_clock: MockClock,
) -> None:
    async with a_speaker() as speaker:
        speaker.say("a", sentences(1500), end=False)
        speaker.post(Play("p", "later", ms(500)), TellWhenQuiet())
        await trio.sleep(0.5)
        speaker.framer.finish_sentence(Floor.SPEECH)
        speaker.framer.finish_sentence(Floor.KEY)
        speaker.post(ReplyAudio("r1", "a", ms(500)))
        assert speaker.cuts() == []
        await speaker.heard()
        await wait_all_tasks_blocked()
        sound = speaker.carrier.sound()
        assert sound.startswith(ms(1500, LOUD))
        assert 1500 <= len(sound) / 8 <= 1500 + PAUSE_MS
        assert b"\x80" not in sound
        assert [message.reason for message in speaker.interrupted_too.take_all()] == [Floor.SPEECH]
        (message,) = speaker.interrupted.take_all()
        assert message.cuts == (Cut("a", len(sound), len(sentences(1500))), Cut("p", 0, 4000))
        assert speaker.turn("a")[2] is True
        assert speaker.quiet.take_all() == [AgentQuiet()]
        assert speaker.carrier.sent("clear") == []


async def test_a_sentence_without_a_pause_is_broken_off_in_time(autojump_clock: MockClock) -> None:
    async with a_speaker() as speaker:
        speaker.say("a", ms(10_000, LOUD))
        await trio.sleep(1)
        speaker.framer.finish_sentence(Floor.SPEECH)
        ended = await speaker.heard()
        assert 1 + SENTENCE_AT_MOST <= ended <= 1 + SENTENCE_AT_MOST + PACE.lead_ms / 1000
        await wait_all_tasks_blocked()
        assert speaker.cuts() == [("a", round(ended * 8000), 80_000)]


async def test_a_pause_that_is_too_short_ends_no_sentence(autojump_clock: MockClock) -> None:
    async with a_speaker() as speaker:
        short = ms(1000, LOUD) + silence(PAUSE_MS - 40) + ms(500, LOUD)
        speaker.say("a", short + silence(1000))
        await trio.sleep(0.5)
        speaker.framer.finish_sentence(Floor.SPEECH)
        await speaker.heard()
        assert speaker.carrier.sound().startswith(short)


async def test_a_sentence_that_is_held_while_it_is_finished_is_still_finished(autojump_clock: MockClock) -> None:
    async with a_speaker() as speaker:
        speaker.say("a", sentences(1500))
        await trio.sleep(0.5)
        speaker.framer.finish_sentence(Floor.SPEECH)
        await held_at(speaker, 0.5)
        speaker.framer.go_on()
        await speaker.heard()
        await wait_all_tasks_blocked()
        sound = speaker.carrier.sound()
        assert sound == sentences(1500)[: len(sound)]
        assert len(sound) >= 12_000
        assert speaker.cuts() == [("a", len(sound), len(sentences(1500)))]


@pytest.mark.parametrize("hold", [False, True])
async def test_a_finished_sentence_of_which_all_was_heard_just_then_is_told_too(
    hold: bool, autojump_clock: MockClock
) -> None:
    async with a_speaker(FakeCarrier(back=lambda: 1.0)) as speaker:
        speaker.say("a", sentences(500))
        await trio.sleep(0.1)
        speaker.framer.finish_sentence(Floor.SPEECH)
        await trio.sleep(0.9)  # it was heard, but its mark is not back
        size = len(speaker.carrier.sound())
        if hold:
            speaker.framer.hold()
        else:
            speaker.framer.yield_floor(Floor.SPEECH)
        await wait_all_tasks_blocked()
        assert speaker.cuts() == [("a", size, len(sentences(500)))]
        speaker.say("b", ms(300), "r2")
        await speaker.heard()
        await wait_all_tasks_blocked()
        assert speaker.cuts() == []


async def test_what_is_said_after_a_sentence_was_finished_is_said_whole(autojump_clock: MockClock) -> None:
    async with a_speaker() as speaker:
        speaker.say("a", sentences(500))
        speaker.post(ReplyWords("r1", "a", "one"))
        await trio.sleep(0.1)
        speaker.framer.finish_sentence(Floor.SPEECH)
        speaker.say("b", ms(300, b"b"), "r2")
        await speaker.heard()
        await wait_all_tasks_blocked()
        assert speaker.carrier.sound().endswith(ms(300, b"b"))
        assert [item for item, _, _ in speaker.cuts()] == ["a"]
        assert speaker.turn("b")[:3] == (300, 300, False)


# ---------------------------------------------------------------- what is on its way to the Framer


async def test_audio_that_was_put_into_the_inbox_at_the_same_moment_is_held_in_its_order(
    autojump_clock: MockClock,
) -> None:
    async with a_speaker() as speaker:
        speaker.post(ReplyAudio("r1", "a", ms(100, b"1")), ReplyAudio("r1", "a", ms(100, b"2")))
        speaker.framer.hold()
        await trio.sleep(1)
        speaker.framer.go_on()
        speaker.post(ItemEnded("r1", "a"))
        await speaker.heard()
        assert speaker.carrier.sound() == ms(100, b"1") + ms(100, b"2")


async def test_a_prompt_that_was_put_into_the_inbox_at_the_same_moment_is_cut_too(autojump_clock: MockClock) -> None:
    async with a_speaker() as speaker:
        speaker.say("a", ms(500))
        await trio.sleep(0.25)
        speaker.post(Play("p", "", ms(100, b"P")))
        speaker.framer.yield_floor(Floor.SPEECH)
        await trio.sleep(1)
        assert speaker.cuts() == [("a", 2000, 4000), ("p", 0, 800)]
