"""The onset of a voice: soon, whatever the frames are like; and not for what is steady or soft."""

import functools
import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.mulaw import decode, encode, silence
from actors.onset import LOUD_LEAST, PAUSE, ROW, TELLS, TELLS_ALL, Onset
from tests.kit.voices import hum
from transport.loopback.speech import syllables

FRAME = 160


def listen(onset: Onset, audio: bytes, now: float = 0.0) -> tuple[float, list[float]]:
    """The time after `audio`, and when onsets were noticed in it."""
    noticed: list[float] = []
    for at in range(0, len(audio) - FRAME + 1, FRAME):
        now += 0.02
        if onset.hear(audio[at : at + FRAME], now):
            noticed.append(now)
    return now, noticed


def noise(seconds: float, loud: int, seed: int = 1) -> bytes:
    chance = random.Random(seed)
    return encode(round(chance.uniform(-loud, loud)) for _ in range(round(seconds * 8000)))


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("loud", [2000, 9000, 20_000])
def test_syllables_is_noticed_within_120_ms_and_its_beginning_is_known(seed: int, loud: int) -> None:
    onset = Onset()
    now, _ = listen(onset, silence(1000))
    _, noticed = listen(onset, syllables(1.0, seed=seed, loud=loud), now)
    assert noticed[0] - now <= 0.12 + 1e-6 if loud > 2000 else noticed
    assert onset.began is not None
    assert onset.began - now <= 0.1


def test_syllables_is_over_a_little_after_its_last_frame() -> None:
    onset = Onset()
    now, _ = listen(onset, syllables(0.5))
    assert onset.speaking(now)
    assert onset.speaking(now + PAUSE - 0.05)
    assert not onset.speaking(now + PAUSE)


def test_who_speaks_over_a_line_that_hums_is_noticed() -> None:
    onset = Onset()
    now, noticed = listen(onset, noise(2.0, 60))
    assert noticed == []
    assert listen(onset, syllables(1.0), now)[1]


@pytest.mark.parametrize("loud", [900, 3000])
def test_a_steady_noise_is_no_voice_for_long(loud: int) -> None:
    onset = Onset()
    now, _ = listen(onset, silence(1000))
    now, _ = listen(onset, noise(1.0, loud), now)
    assert not onset.speaking(now + 0.02)
    assert listen(onset, noise(2.0, loud), now)[1] == [], "it belongs to the line by now"


def chords(seconds: float, loud: int = 3000) -> bytes:
    """Three tones that die away a little before the next are struck."""
    samples: list[int] = []
    for root in (196.0, 220.0, 261.6, 293.7, 196.0, 261.6, 220.0, 293.7, 196.0, 261.6):
        for number in range(2800):
            tone = sum(math.sin(2 * math.pi * each * number / 8000) for each in (root, root * 1.26, root * 1.5))
            samples.append(round(loud * tone * math.exp(-number / 2000)))
    return encode(samples[: round(seconds * 8000)])


@functools.cache
def room() -> bytes:
    voices = [decode(syllables(2.0, seed=seed, loud=2000)) for seed in range(5)]
    return encode(map(sum, zip(*voices, strict=True)))


def many_voices(seconds: float) -> bytes:
    return room()[: round(seconds * 8000)]


@pytest.mark.parametrize("sound", [chords, many_voices])
def test_what_does_not_fall_as_speech_does_is_known_and_belongs_to_the_line(sound: Callable[[float], bytes]) -> None:
    onset = Onset()
    now, _ = listen(onset, silence(1000))
    now, noticed = listen(onset, sound(TELLS_ALL * 0.02 - 0.1), now)
    assert noticed
    assert onset.steady or not onset.speaking(now)
    now, _ = listen(onset, sound(1.0), now)
    assert not onset.speaking(now)
    assert listen(onset, sound(2.0), now)[1] == [], "it belongs to the line by now"


@pytest.mark.parametrize("seed", range(2))
def test_speech_falls_and_rises_and_does_not_belong_to_the_line(seed: int) -> None:
    onset = Onset()
    now, _ = listen(onset, silence(1000))
    now, _ = listen(onset, syllables(TELLS_ALL * 0.02 + 1.0, seed=seed), now)
    assert onset.speaking(now)
    assert not onset.steady


def test_music_is_known_as_such() -> None:
    onset = Onset()
    now, _ = listen(onset, silence(1000))
    now, _ = listen(onset, chords(TELLS_ALL * 0.02 - 0.1), now)
    assert onset.steady


def test_nothing_is_said_of_syllables_that_was_heard_too_shortly_to_tell() -> None:
    onset = Onset()
    now, _ = listen(onset, silence(1000))
    listen(onset, chords((TELLS - 2) * 0.02), now)
    assert not onset.steady


def test_who_speaks_over_a_noise_that_began_meanwhile_is_heard() -> None:
    onset = Onset()
    now, _ = listen(onset, silence(1000))
    now, _ = listen(onset, many_voices(2.0), now)
    behind, voice = decode(many_voices(1.5)), decode(syllables(1.5, seed=7, loud=20_000))
    both = encode(max(-32000, min(32000, one + other)) for one, other in zip(behind, voice, strict=True))
    now, noticed = listen(onset, both, now)
    assert noticed
    assert not onset.steady


def test_syllables_that_comes_out_of_the_quiet_is_noticed_after_three_frames() -> None:
    onset = Onset()
    now, _ = listen(onset, silence(1000))
    assert listen(onset, syllables(0.3, seed=2), now)[1][0] - now == pytest.approx(ROW * 0.02)


def test_what_dies_away_as_a_key_does_is_no_voice_after_three_frames() -> None:
    key = encode(round(9000 * math.sin(number) * math.exp(-number / 60)) for number in range(240))
    onset = Onset()
    now, _ = listen(onset, silence(1000))
    assert listen(onset, (silence(5) + key + silence(105)) * 8, now)[1] == []


def a_soft_voice(seconds: float) -> bytes:
    return encode(sample // 30 for sample in decode(syllables(seconds)))


def test_a_soft_voice_is_noticed_where_less_is_known_to_be_one() -> None:
    usual, keen = Onset(), Onset(least=LOUD_LEAST / 2)
    now, _ = listen(usual, silence(1000))
    listen(keen, silence(1000))
    assert listen(usual, a_soft_voice(0.4), now)[1] == []
    assert listen(keen, a_soft_voice(0.4), now)[1][0] - now <= 0.12 + 1e-6


def test_a_soft_noise_that_comes_nearer_slowly_is_no_voice() -> None:
    keen, far = Onset(least=LOUD_LEAST / 2), decode(noise(3.0, 320))
    now, _ = listen(keen, silence(1000))
    nearer = encode(round(sample * min(1.0, number / 16_000)) for number, sample in enumerate(far))
    assert listen(keen, nearer, now)[1] == []


def test_a_click_is_no_voice() -> None:
    onset = Onset()
    assert listen(onset, silence(500) + hum(0.04) + silence(500))[1] == []


@given(st.lists(st.binary(max_size=900), max_size=20))
@settings(max_examples=60)
def test_frames_of_any_length_are_listened_to(frames: list[bytes]) -> None:
    onset = Onset()
    for number, frame in enumerate(frames):
        onset.hear(frame, number * 0.02)
    assert onset.voiced_ms >= 0
