"""InterruptWatcher on a line that echoes: the agent does not stop itself, and a caller is heard through it."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.line_ear import UNSETTLED
from actors.messages import CallerAudio, CallerWords, SpeechStarted, SpeechStopped
from actors.mulaw import decode, encode, silence, to_base64
from tests.kit.stage import FRAME, SHORT_WORD, a_stage
from tests.kit.voices import frames
from transport.loopback.speech import line, syllables

# ---------------------------------------------------------------- the line's echo


def echo_of(audio: bytes, gain: float, delay: float) -> bytes:
    """What a telephone on a table sends back."""
    softer = encode(round(sample * gain) for sample in decode(audio))
    return silence(round(delay * 1000)) + softer


@pytest.mark.parametrize("gain", [0.1, 0.3, 0.6])
@pytest.mark.parametrize("delay", [0.1, 0.3, 0.7, 1.2])
async def test_the_agent_does_not_interrupt_itself_on_a_line_with_an_echo(
    gain: float, delay: float, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery, settled=False)
    said = syllables(6.0, seed=3)
    back = echo_of(said, gain, delay)
    for number in range(len(said) // 160):
        await trio.sleep(FRAME)
        now = trio.current_time()
        stage.watcher.plays(said[number * 160 : number * 160 + 160], now)
        stage.watcher.overhear(CallerAudio(to_base64(back[number * 160 : number * 160 + 160]), 0))
        if number == round((delay + 0.4) / FRAME):
            stage.watcher.inbox.post(SpeechStarted("u1"))  # the model hears it too
        await trio.lowlevel.checkpoint()
    await wait_all_tasks_blocked()
    assert "yields: SPEECH" not in stage.speaker.doings
    assert True not in stage.judged


@pytest.mark.parametrize("words", ["We are open from", "What about Sunday?"])
async def test_an_echo_that_only_the_model_hears_is_known_by_its_words(
    words: str, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery, settled=False)
    said = line("agent_hours").audio[: 2 * 8000]
    for number, payload in enumerate(frames(echo_of(said, 0.05, 0.2))):
        await trio.sleep(FRAME)
        stage.watcher.plays(said[number * 160 : number * 160 + 160], trio.current_time())
        stage.watcher.overhear(CallerAudio(payload, 0))
        if number == 30:
            stage.watcher.inbox.post(SpeechStarted("u1"))
        if number == 42:
            stage.watcher.inbox.post(CallerWords("u1", words, final=True))
        await trio.lowlevel.checkpoint()
    await wait_all_tasks_blocked()
    assert stage.speaker.doings == ([] if words.startswith("We") else ["yields: SPEECH"])
    assert (True in stage.judged) is not words.startswith("We")


@pytest.mark.parametrize("words", ["We are open from", "What about Sunday?"])
async def test_on_a_line_that_echoes_what_only_the_model_hears_is_judged_by_its_words(
    words: str, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery, settled=False)
    said = syllables(6.0, seed=3)
    for number, payload in enumerate(frames(echo_of(said[: 3 * 8000], 0.3, 0.3))):
        await trio.sleep(FRAME)
        stage.watcher.plays(said[number * 160 : number * 160 + 160], trio.current_time())
        stage.watcher.overhear(CallerAudio(payload, 0))
    faint = encode(sample // 30 for sample in decode(syllables(0.5, seed=5)))
    await stage.hears(b"", 1.2)
    await stage.hears(faint)
    stage.watcher.inbox.post(SpeechStarted("u1"))
    await stage.hears(b"", 0.6)
    assert stage.speaker.doings == ["holds"]
    stage.watcher.inbox.post(SpeechStopped("u1"))
    stage.watcher.inbox.post(CallerWords("u1", words, final=True))
    await wait_all_tasks_blocked()
    assert stage.judged == [not words.startswith("We")]


@pytest.mark.parametrize("lost", [6, 20, 30])
async def test_frames_of_the_callers_that_are_lost_make_no_voice_of_an_echo(
    lost: int, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery, settled=False)
    said = line("agent_hours").audio[: 8 * 8000]
    back = echo_of(said, 0.3, 0.3)
    for number, payload in enumerate(frames(back)):
        await trio.sleep(FRAME)
        stage.watcher.plays(said[number * 160 : number * 160 + 160], trio.current_time())
        if not 150 <= number < 150 + lost:
            stage.watcher.overhear(CallerAudio(payload, 120 + number * 20))
        await trio.lowlevel.checkpoint()
    await wait_all_tasks_blocked()
    assert stage.speaker.doings == []


async def test_the_end_of_what_was_said_comes_back_after_it_and_is_no_turn_of_the_callers(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery, settled=False)
    said, delay = syllables(4.0, seed=3), 1.0
    back = echo_of(said, 0.3, delay)
    for number, payload in enumerate(frames(back)):
        await trio.sleep(FRAME)
        if number < 200:
            stage.watcher.plays(said[number * 160 : number * 160 + 160], trio.current_time())
        stage.speaker.speaks = number < 200
        stage.watcher.overhear(CallerAudio(payload, 0))
        if number == 225:
            assert stage.watcher.contested()
            stage.watcher.inbox.post(SpeechStarted("u1"))
        await trio.lowlevel.checkpoint()
    await wait_all_tasks_blocked()
    assert stage.judged == [False]
    await stage.hears(b"", 2.0)
    assert not stage.watcher.contested()


async def test_a_short_answer_on_a_line_that_echoes_is_one(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    stage = await a_stage(nursery, settled=False)
    said = syllables(4.0, seed=3)
    for number, payload in enumerate(frames(echo_of(said, 0.3, 0.2))):
        await trio.sleep(FRAME)
        stage.watcher.plays(said[number * 160 : number * 160 + 160], trio.current_time())
        stage.watcher.overhear(CallerAudio(payload, 0))
    stage.speaker.speaks, stage.speaker.words = False, ""
    await stage.hears(b"", 0.6)
    await stage.hears(SHORT_WORD)
    stage.watcher.inbox.post(SpeechStarted("u1"))
    await stage.hears(b"", 0.5)
    stage.watcher.inbox.post(SpeechStopped("u1"))
    stage.watcher.inbox.post(CallerWords("u1", "Yes.", True))
    await wait_all_tasks_blocked()
    assert stage.judged == [True]


async def test_a_caller_on_a_line_with_an_echo_is_heard_through_it(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery, settled=False)
    said = syllables(6.0, seed=3)
    back = decode(echo_of(said, 0.2, 0.3))
    caller = decode(syllables(2.0, seed=9))
    at = 4 * 8000
    for index, sample in enumerate(caller[: len(back) - at]):
        back[at + index] = max(-32000, min(32000, back[at + index] + sample))
    both = encode(back)
    began = trio.current_time()
    for number in range(len(said) // 160):
        await trio.sleep(FRAME)
        stage.watcher.plays(said[number * 160 : number * 160 + 160], trio.current_time())
        stage.watcher.overhear(CallerAudio(to_base64(both[number * 160 : number * 160 + 160]), 0))
        await trio.lowlevel.checkpoint()
    await wait_all_tasks_blocked()
    held = [when - began for when, what in stage.speaker.did if what == "holds"]
    assert held
    assert 4.0 <= held[-1] <= 4.4
    assert stage.speaker.doings[-1] == "yields: SPEECH"


async def test_on_a_line_of_which_nothing_is_known_a_caller_is_heard_a_little_later(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery, settled=False)
    said = syllables(3.0, seed=4)
    began = trio.current_time()
    for number, payload in enumerate(frames(syllables(1.5, seed=8))):
        await trio.sleep(FRAME)
        stage.watcher.plays(said[number * 160 : number * 160 + 160], trio.current_time())
        stage.watcher.overhear(CallerAudio(payload, 0))
    await wait_all_tasks_blocked()
    at, what = stage.speaker.did[0]
    assert what == "holds"
    assert at - began == pytest.approx(UNSETTLED, abs=0.1)
