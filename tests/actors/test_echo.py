"""The line's echo: known by its delay; two people who speak are none."""

import copy
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.echo import ALIKE_LEAST, DELAY_LEAST, DELAY_MOST, QUIET, SLOT, SOUNDS_LEAST, WINDOW_LEAST, Echo
from actors.mulaw import decode, encode, envelope
from transport.loopback.speech import syllables

CLIPS = Path(__file__).parents[2] / "transport" / "loopback" / "clips"


def levels(audio: bytes) -> list[float]:
    return [envelope(audio[at : at + 160]) for at in range(0, len(audio) - 159, 160)]


def softer(audio: bytes, gain: float) -> bytes:
    return encode(round(sample * gain) for sample in decode(audio))


def run(echo: Echo, played: list[float], came: list[float]) -> None:
    for number, (out, back) in enumerate(zip(played, came, strict=False)):
        echo.plays(out, number * SLOT)
        echo.comes(back, number * SLOT, agent_heard=True, voice=back > 12)


@pytest.mark.parametrize("gain", [0.1, 0.3, 0.8])
@pytest.mark.parametrize("delay", [6, 20, 55, 76])
def test_the_delay_and_the_loudness_of_an_echo_are_learned(delay: int, gain: float) -> None:
    said = syllables(4.0, seed=delay)
    echo = Echo()
    run(echo, levels(said)[:150], ([0.0] * delay + levels(softer(said, gain)))[:150])
    assert echo.compare(0.8)
    assert echo.delay == pytest.approx(delay, abs=1)
    assert echo.gain == pytest.approx(gain**0.5, rel=0.1)
    assert echo.explains(levels(softer(said, gain))[149 - delay])
    assert not echo.explains(100.0)


def test_an_echo_is_known_on_a_network_that_is_late_and_then_quick() -> None:
    said = syllables(4.0, seed=3)
    echo, delay = Echo(), 20
    came = ([0.0] * delay + levels(softer(said, 0.3)))[:150]
    for number, out in enumerate(levels(said)[:150]):
        echo.plays(out, number * SLOT)
        late = number // 15 * 15 + 14 if 60 <= number < 120 else number  # four times fifteen frames at once
        echo.comes(came[number], late * SLOT, agent_heard=True, voice=came[number] > 12)
    assert echo.compare(0.8)
    assert echo.delay == pytest.approx(delay, abs=1)


def learned(said: bytes, gain: float, delay: int) -> Echo:
    """A line whose echo is known after three seconds."""
    echo = Echo()
    run(echo, levels(said)[:150], ([0.0] * delay + levels(softer(said, gain)))[:150])
    assert echo.compare(0.8)
    return echo


@pytest.mark.parametrize("silent_for", [3, 12, 24, 40])
def test_after_a_pause_of_the_agents_its_echo_is_still_known(silent_for: int) -> None:
    said, gain, delay = (CLIPS / "agent_hours.ulaw").read_bytes(), 0.3, 20
    echo = learned(said, gain, delay)
    back = levels(said)[:150] + [0.0] * silent_for + levels(said)[150:]
    returns = [0.0] * delay + [level * gain**0.5 for level in back]
    for number in range(150, 450):
        if not 150 <= number < 150 + silent_for:
            echo.plays(back[number], number * SLOT)
        echo.comes(returns[number], number * SLOT, agent_heard=True, voice=True)
        assert echo.explains(returns[number]), number


def test_what_is_known_of_long_before_it_is_played_hides_no_echo() -> None:
    said, gain, delay, ahead = syllables(8.0, seed=7), 0.3, 70, 100
    echo, out = Echo(), levels(said)
    back = [0.0] * delay + levels(softer(said, gain))
    for number in range(ahead):
        echo.plays(out[number], number * SLOT)
    for number in range(220):
        echo.plays(out[number + ahead], (number + ahead) * SLOT)
        echo.comes(back[number], number * SLOT, agent_heard=True, voice=back[number] > 12)
    assert echo.compare(1.2)
    assert echo.delay == pytest.approx(delay, abs=1)


def test_what_a_caller_says_is_no_echo_of_what_the_agent_says() -> None:
    agents = [path.read_bytes() for path in sorted(CLIPS.glob("agent_*.ulaw")) if path.stat().st_size > 24_000]
    callers = [path.read_bytes() for path in sorted(CLIPS.glob("caller_*.ulaw"))]
    mistaken = 0
    for agent in agents:
        for caller in callers:
            echo = Echo()
            came = [0.0] * 80 + levels(caller)[:40]
            run(echo, levels(agent)[:120], came)
            mistaken += echo.compare(0.8)
    assert mistaken <= len(agents) * len(callers) * 0.04


def test_that_both_begin_to_speak_makes_no_echo_of_a_caller() -> None:
    agent, caller = levels(syllables(2.0, seed=1)), levels(syllables(2.0, seed=2))
    echo = Echo()
    run(echo, agent[:46], ([0.0] * 40 + caller)[:46])
    assert not echo.compare(0.8)


def test_a_line_on_which_nothing_comes_back_has_no_echo() -> None:
    echo = Echo()
    said = levels(syllables(2.0))
    run(echo, said, [4.0] * len(said))
    assert echo.settled
    assert echo.delay is None


def test_a_line_that_becomes_louder_is_known_again_and_a_caller_besides_is_not() -> None:
    said = syllables(6.0, seed=5)
    echo, delay = Echo(), 20
    back = levels(softer(said, 0.1))[: 150 - delay] + levels(softer(said, 0.4))[150 - delay :]
    came = [0.0] * delay + back
    run(echo, levels(said)[:150], came[:150])
    assert echo.compare(0.8)
    other, played, voice = copy.deepcopy(echo), levels(said), levels(syllables(2.0, seed=9))
    for number in range(150, 200):
        for each, level in ((echo, came[number]), (other, came[number] + voice[number - 150])):
            each.plays(played[number], number * SLOT)
            each.comes(level, number * SLOT, agent_heard=True, voice=True)
    assert not echo.explains(came[199]) or came[199] < 12
    assert echo.is_louder()
    assert echo.explains(came[199])
    assert not other.is_louder()


def plain_correlation(one: list[float], other: list[float]) -> float:
    mean_one, mean_other = sum(one) / len(one), sum(other) / len(other)
    a, b = [x - mean_one for x in one], [x - mean_other for x in other]
    norm = math.sqrt(sum(x * x for x in a) * sum(x * x for x in b))
    return sum(x * y for x, y in zip(a, b, strict=True)) / norm if norm > 1e-9 else 0.0


LEVELS = st.one_of(st.integers(0, 160 * 181).map(lambda total: total / 160), st.sampled_from([0.0, 9.0, 60.0]))


@given(
    st.lists(LEVELS, min_size=20, max_size=60),
    st.integers(DELAY_LEAST, DELAY_MOST),
    st.floats(0.1, 1.0),
    st.lists(st.floats(-8.0, 8.0), min_size=7, max_size=7),
    st.integers(60, 130),
    st.sampled_from([0, 30, 200]),
)
@settings(max_examples=60, deadline=None)
def test_the_delay_that_is_found_is_that_of_the_plain_formula(
    said: list[float], delay: int, gain: float, off: list[float], falls_silent: int, silent_for: int
) -> None:
    slots = 170 + silent_for
    played = {
        slot: said[slot % len(said)] for slot in range(slots) if not falls_silent <= slot < falls_silent + silent_for
    }
    echo, came = Echo(), list[float]()
    for slot in range(slots):
        if slot in played:
            echo.plays(played[slot], slot * SLOT)
        came.append(max(0.0, gain * played.get(slot - delay, 0.0) + off[slot % len(off)]))
        echo.comes(came[-1], slot * SLOT, agent_heard=True, voice=True)
    window = came[-WINDOW_LEAST:]
    alike: dict[int, float] = {}
    for lag in range(DELAY_LEAST, DELAY_MOST + 1):
        out = [played.get(slot, 0.0) for slot in range(slots - lag - WINDOW_LEAST, slots - lag)]
        if sum(level > QUIET for level in out) >= SOUNDS_LEAST:
            alike[lag] = plain_correlation(window, out)
    best = max(alike.values(), default=0.0)
    enough = sum(level > QUIET for level in window) >= SOUNDS_LEAST
    found = echo.compare(WINDOW_LEAST * SLOT)
    assert found is (enough and best >= ALIKE_LEAST) or best == pytest.approx(ALIKE_LEAST, abs=1e-9)
    if found:
        assert echo.delay is not None
        assert alike[echo.delay] == pytest.approx(best, abs=1e-9)
