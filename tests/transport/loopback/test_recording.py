"""Recordings of calls: stereo WAV, each side on its channel and in its time."""

import array
import wave
from pathlib import Path

import pytest

from actors.mulaw import LINEAR
from transport.loopback.playback import Heard
from transport.loopback.recording import write_stereo

CALLER, AGENT = 0x20, 0x95


def channels(path: Path) -> tuple[list[int], list[int]]:
    with wave.open(str(path), "rb") as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, 8000)
        samples = array.array("h", file.readframes(file.getnframes()))
    return list(samples[0::2]), list(samples[1::2])


def test_each_side_is_on_its_channel_at_its_time(tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    left = [Heard(100.01, bytes([CALLER]) * 80), Heard(100.5, bytes([CALLER]) * 8)]
    right = [Heard(100.01, bytes([AGENT]) * 160)]
    write_stereo(path, 100.0, 1.0, left, right)
    caller, agent = channels(path)
    assert len(caller) == len(agent) == 8000
    assert caller[80:160] == [LINEAR[CALLER]] * 80
    assert caller[4000:4008] == [LINEAR[CALLER]] * 8
    assert agent[80:240] == [LINEAR[AGENT]] * 160
    assert not any(caller[:80] + caller[160:4000] + caller[4008:])
    assert not any(agent[:80] + agent[240:])


def test_every_byte_becomes_its_own_sample(tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    write_stereo(path, 0.0, 256 / 8000, [], [Heard(0.0, bytes(range(256)))])
    assert channels(path) == ([0] * 256, list(LINEAR))


@pytest.mark.parametrize(
    ("at", "kept"),
    [(9.99, slice(80, 160)), (10.99, slice(0, 80)), (5.0, slice(0, 0)), (20.0, slice(0, 0))],
)
def test_what_lies_outside_of_the_recording_is_left_out(at: float, kept: slice, tmp_path: Path) -> None:
    audio = bytes(range(1, 121)) + bytes(40)
    path = tmp_path / "call.wav"
    write_stereo(path, 10.0, 1.0, [Heard(at, audio)], [])
    caller, _ = channels(path)
    assert len(caller) == 8000
    assert sum(1 for sample in caller if sample) == len(audio[kept])
    if kept.stop:
        first = round((at - 10.0) * 8000) + kept.start
        assert caller[first : first + kept.stop - kept.start] == [LINEAR[byte] for byte in audio[kept]]


def test_a_call_in_which_nobody_spoke_is_silence(tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    write_stereo(path, 0.0, 0.5, [], [])
    assert channels(path) == ([0] * 4000, [0] * 4000)
