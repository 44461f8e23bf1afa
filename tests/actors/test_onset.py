"""The onset of a voice: soon, whatever the frames are like; and not for what is steady or soft."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.mulaw import encode, silence
from actors.onset import PAUSE, Onset
from tests.kit.voices import a_voice, hum

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
def test_a_voice_is_noticed_within_120_ms_and_its_beginning_is_known(seed: int, loud: int) -> None:
    onset = Onset()
    now, _ = listen(onset, silence(1000))
    _, noticed = listen(onset, a_voice(1.0, seed=seed, loud=loud), now)
    assert noticed[0] - now <= 0.12 + 1e-6 if loud > 2000 else noticed
    assert onset.began is not None
    assert onset.began - now <= 0.1


def test_a_voice_is_over_a_little_after_its_last_frame() -> None:
    onset = Onset()
    now, _ = listen(onset, a_voice(0.5))
    assert onset.speaking(now)
    assert onset.speaking(now + PAUSE - 0.05)
    assert not onset.speaking(now + PAUSE)


def test_who_speaks_over_a_line_that_hums_is_noticed() -> None:
    onset = Onset()
    now, noticed = listen(onset, noise(2.0, 60))
    assert noticed == []
    assert listen(onset, a_voice(1.0), now)[1]


@pytest.mark.parametrize("loud", [900, 3000])
def test_a_steady_noise_is_no_voice_for_long(loud: int) -> None:
    onset = Onset()
    now, _ = listen(onset, silence(1000))
    now, _ = listen(onset, noise(1.0, loud), now)
    assert not onset.speaking(now + 0.02)
    assert listen(onset, noise(2.0, loud), now)[1] == [], "it belongs to the line by now"


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
