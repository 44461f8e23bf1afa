"""The ear on the line: how it is told what the agent says, and what it learns of a line that echoes late or is quiet."""

import functools
import random

import pytest

from actors.line_ear import FRAME, UNSETTLED, LineEar
from actors.mulaw import decode, encode, from_base64, silence
from conf.prompts import load_prompt
from tests.kit.voices import frames
from transport.loopback.speech import line as clip
from transport.loopback.speech import syllables


@functools.cache
def heard_with(frames_at_once: int, delay: int = 20) -> LineEar:
    """An ear on a line that echoes, when so much is told it at once of what the agent says."""
    said = syllables(2.4, seed=3)
    back = silence(20 * delay) + encode(round(sample * 0.3) for sample in decode(said))
    ear, size = LineEar(), FRAME * frames_at_once
    for number in range(len(said) // FRAME):
        now, at = 5 + number * 0.02, number * FRAME
        if at % size == 0:
            ear.plays(said[at : at + size], now)
        ear.hears(back[at : at + FRAME], now)
    return ear


@pytest.mark.parametrize("frames_at_once", [3, 10])
def test_a_frame_of_several_slots_fills_as_many(frames_at_once: int) -> None:
    alone, together = heard_with(1), heard_with(frames_at_once)
    assert alone.only_echo(7.4)
    assert alone.line.echoes
    assert together.line == alone.line
    assert together.only_echo(7.4)


def test_an_echo_that_comes_late_is_waited_for_in_each_reply_anew() -> None:
    said, delay, reply, pause = syllables(1.0, seed=1), 60, 50, 70
    back = silence(20 * delay) + encode(round(sample * 0.05) for sample in decode(said)) + silence(20 * pause)
    ear = LineEar()
    for number in range(2 * (reply + pause)):
        now, at = 5 + number * 0.02, number % (reply + pause) * FRAME
        audio = back[at : at + FRAME]
        if number % (reply + pause) < reply:
            ear.plays(said[at : at + FRAME], now)
            ear.hears(audio, now)
        else:
            ear.rests(audio, now)
    assert not ear.line.settled


@pytest.mark.parametrize(("back", "heard"), [(0.0, True), (0.008, False)])
def test_a_soft_voice_is_heard_at_once_where_nothing_came_back(back: float, heard: bool) -> None:
    said, soft = syllables(3.0, seed=2), encode(sample // 30 for sample in decode(syllables(0.5)))
    echo = silence(200) + encode(round(sample * back) for sample in decode(said))
    ear, now = LineEar(), 5.0
    for at in range(0, len(said) - FRAME, FRAME):
        now += 0.02
        ear.plays(said[at : at + FRAME], now)
        ear.hears(echo[at : at + FRAME], now)
    assert ear.line.settled
    assert not ear.line.echoes
    for at in range(0, 6 * FRAME, FRAME):
        now += 0.02
        ear.hears(soft[at : at + FRAME], now)
    assert (ear.line.foreign and ear.line.goes_on) is heard


@pytest.mark.parametrize("another", [False, True], ids=["but for a moment", "somebody else speaks"])
def test_an_echo_too_faint_for_a_voice_is_one_though_it_is_louder_than_it_was(another: bool) -> None:
    said, others = clip("agent_hours").audio, syllables(8.0, seed=4)
    ear, now, delay = LineEar(), 5.0, 15
    for number in range(350):
        now += 0.02
        at = (number - delay) * FRAME
        back = said[at : at + FRAME] if at >= 0 else silence(20)
        gain = 0.2 if 340 <= number < 342 else 0.05
        if another and number >= 200:
            back, gain = others[at : at + FRAME], 0.09
        ear.plays(said[number * FRAME : (number + 1) * FRAME], now)
        ear.hears(encode(round(sample * gain) for sample in decode(back)), now)
        if number < 200 and number % 5 == 0:
            ear.only_echo(now)  # it is got to know
    assert ear.line.echoes
    assert not ear.line.goes_on
    assert ear.only_echo(now) is not another


def test_quiet_frames_leave_what_is_known_as_it_was() -> None:
    ear, quiet = LineEar(), silence(20)
    before = ear.hears(quiet, 1.0)
    assert ear.hears(quiet, 1.02) is before
    for number, payload in enumerate(frames(syllables(0.4))):
        ear.rests(from_base64(payload), 1.04 + number * 0.02)
    assert ear.hears(quiet, 3.0).until > 1.04, "a voice was heard while the agent was silent"


@pytest.mark.parametrize("rests", [False, True], ids=["from the first word on", "in a later reply"])
def test_a_line_as_loud_as_it_always_is_is_no_echo_however_short_the_agent_has_been_heard(rests: bool) -> None:
    # Otherwise it would be waited for what comes back, and a short reply be over before the caller could stop it.
    ear, now, chance = LineEar(), 5.0, random.Random(1)
    said = syllables(0.3, seed=1)
    if rests:
        for _ in range(100):
            now += 0.02
            ear.rests(chance.randbytes(FRAME), now)
    for at in range(0, len(said) - FRAME, FRAME):
        now += 0.02
        ear.plays(said[at : at + FRAME], now)
        ear.hears(chance.randbytes(FRAME), now)
    assert ear.only_echo(now) is False


def test_of_what_is_louder_than_the_line_it_is_not_told_at_once_whether_it_is_an_echo() -> None:
    ear, now = LineEar(), 5.0
    said, back = syllables(0.3, seed=1), syllables(0.3, seed=2)
    for _ in range(100):
        now += 0.02
        ear.rests(silence(20), now)
    for at in range(0, len(said) - FRAME, FRAME):
        now += 0.02
        ear.plays(said[at : at + FRAME], now)
        ear.hears(back[at : at + FRAME], now)
    assert ear.only_echo(now) is None


def is_stopped(ear: LineEar, begins: float, delay: int, gain: float) -> bool:
    """Whether the agent stops itself in a reply, if the line sends back what it says; what it had handed on is not heard then."""
    said, lead = syllables(2.4, seed=3), 15
    out = [said[at : at + FRAME] for at in range(0, len(said), FRAME)]
    ear.plays(b"".join(out[:lead]), begins)
    heard = [silence(20)] * delay
    until = len(out)
    for number in range(len(out) + delay + 20):
        now = begins + number * 0.02
        if number + lead < until:
            ear.plays(out[number + lead], now + lead * 0.02)
        heard.append(out[number] if number < until else silence(20))
        back = encode(round(sample * gain) for sample in decode(heard[number]))
        if number > until + 60:  # it is judged by then
            ear.rests(back, now)
        elif (line := ear.hears(back, now)).foreign and line.goes_on:
            until = min(until, number)
    return until < len(out)


@pytest.mark.parametrize("delay", [8, 15, 35, 60])
def test_an_agent_that_comes_back_on_a_line_that_was_quiet_does_not_stop_itself_in_every_reply(delay: int) -> None:
    # Somebody switched their telephone to its loudspeaker, or laid it on the table.
    ear = LineEar()
    stopped = [is_stopped(ear, 5.0 + 6 * reply, delay, gain) for reply, gain in enumerate((0.0, 0.3, 0.3, 0.3, 0.3))]
    assert stopped == [False, True, True, False, False]
    assert ear.line.echoes


def test_an_echo_is_known_again_when_the_network_is_late_as_the_agent_begins_to_speak() -> None:
    delay, pause = 20, 100
    ear, begins = heard_with(1, delay), 7.4
    said = syllables(2.4, seed=8)
    back = silence(20 * (pause + delay)) + encode(round(sample * 0.3) for sample in decode(said))
    for number in range(len(back) // FRAME):
        late = max(number, pause + 5) if number > pause - 3 else number  # so many come at once, then all in time
        now = begins + late * 0.02
        if number == pause:
            ear.plays(said, begins + number * 0.02)
        (ear.hears if late > pause else ear.rests)(back[number * FRAME : (number + 1) * FRAME], now)
        assert not (ear.line.foreign and ear.line.began > begins)
    assert ear.line.until > begins, "nothing came back"


GREETING = load_prompt("greeting").audio


def at_the_beginning(back: bytes) -> float | None:
    """The agent begins to speak on a line of which nothing is known, which sends `back`; how long after its beginning a voice is
    known for nobody's echo, if it is."""
    ear = LineEar()
    for number in range(120):
        now, at = 5 + number * 0.02, number * FRAME
        ear.plays(GREETING[at : at + FRAME], now)
        line = ear.hears((back[at : at + FRAME] + silence(20))[:FRAME], now)
        if line.foreign:
            return now - line.began
    return None


@pytest.mark.parametrize("after", [0.4, 0.8, 1.2])
@pytest.mark.parametrize("words", ["caller_name", "caller_bye", "caller_human"])
def test_a_short_word_that_has_not_the_shape_of_what_was_played_is_known_before_it_is_over(
    after: float, words: str
) -> None:
    known = at_the_beginning(silence(round(after * 1000)) + clip(words).audio[: 30 * FRAME])
    assert known is not None
    assert known < 0.6


@pytest.mark.parametrize("after", [0.4, 0.8, 1.2])
@pytest.mark.parametrize(("words", "slots"), [("caller_name", 12), ("caller_human", 14)])
def test_a_word_too_short_for_a_shape_is_known_by_its_end(after: float, words: str, slots: int) -> None:
    known = at_the_beginning(silence(round(after * 1000)) + clip(words).audio[: slots * FRAME] + silence(400))
    assert known is not None
    assert known < 0.5


@pytest.mark.parametrize("gain", [0.05, 0.1, 0.3, 0.6])
@pytest.mark.parametrize("delay", [120, 250, 410, 700, 1000])
def test_the_beginning_of_an_echo_has_the_shape_of_what_was_played(gain: float, delay: int) -> None:
    echo = encode(round(sample * gain) for sample in decode(GREETING))
    assert at_the_beginning(silence(delay) + echo) is None


def suspicions_after_a_jump(by: int, gain: float, delay: int) -> tuple[int, float]:
    """How often an agent that falls silent for a second each time suspects itself, once its echo comes `by` slots later than it
    did, and for how many seconds the longest of those voices was no echo."""
    agent = clip("agent_hours").audio
    ear, said, silent_until = LineEar(), bytearray(), 0
    spoken = times = 0
    longest, last = 0.0, -1.0
    for number in range(20 * 50):
        now, late = 5 + number * 0.02, delay + (by if number >= 8 * 50 else 0)
        if number >= silent_until:
            audio = agent[spoken : spoken + FRAME]
            spoken = (spoken + FRAME) % (len(agent) - FRAME)
            ear.plays(audio, now)
        else:
            audio = silence(20)
        said += audio
        begin = (number - late) * FRAME
        back = bytes(said[begin : begin + FRAME]) if begin >= 0 else silence(20)
        heard = ear.hears(encode(round(sample * gain) for sample in decode(back)), now + 0.02)
        if heard.foreign and heard.goes_on and heard.began != last and number >= 8 * 50:
            last, times, silent_until = heard.began, times + 1, number + 50
        if heard.began == last and not heard.steady:
            longest = max(longest, heard.until - heard.began)
    return times, longest


@pytest.mark.parametrize(("by", "gain", "delay"), [(-5, 0.3, 40), (10, 0.2, 20), (10, 0.4, 45)])
def test_an_echo_that_comes_at_another_delay_than_it_did_stops_the_agent_once_at_most_and_is_no_caller(
    by: int, gain: float, delay: int
) -> None:
    times, longest = suspicions_after_a_jump(by, gain, delay)
    assert times <= 1
    assert longest < UNSETTLED
