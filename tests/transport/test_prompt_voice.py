"""Clips from words: any engine's sound comes out at 8 kHz, at its pitch, as loud as a telephone takes; trouble is a sentence."""

import array
import cmath
import itertools
import math
import shutil
import sys
import tomllib
import wave
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors import mulaw
from conf.prompts import load_prompts
from conf.settings import SettingsError
from transport.prompt_voice import ENGINES, PEAK, CannotRender, find_engine, render, resample, telephone

RATES = (8000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000)


def tone(pitch: float, rate: int, seconds: float, loud: float = 10_000) -> list[float]:
    return [loud * math.sin(2 * math.pi * pitch * number / rate) for number in range(round(rate * seconds))]


def level(samples: Sequence[float], pitch: float) -> float:
    """How loud the tone of `pitch` is in `samples`, 8000 a second."""
    turn = -2j * math.pi * pitch / 8000
    return 2 * abs(sum(sample * cmath.exp(turn * number) for number, sample in enumerate(samples))) / len(samples)


def power(samples: Sequence[float]) -> float:
    return sum(sample * sample for sample in samples) / len(samples)


def pitch_of(samples: Sequence[float]) -> float:
    """From the times between the first and the last of the rising passages through zero."""
    up = [n - b / (b - a) for n, (a, b) in enumerate(itertools.pairwise(samples), 1) if a < 0 <= b]
    return 8000 * (len(up) - 1) / (up[-1] - up[0])


# ---------------------------------------------------------------- 8 kHz


@given(st.sampled_from(RATES), st.integers(5, 85).map(lambda steps: 40.0 * steps))
@settings(deadline=None, database=None, max_examples=40)
def test_a_tone_of_the_telephone_band_is_the_same_tone_at_8_khz(rate: int, pitch: float):
    samples = resample(tone(pitch, rate, 0.075), rate)
    same = tone(pitch, 8000, 0.075)
    assert len(samples) == pytest.approx(len(same), abs=1)
    assert max(abs(a - b) for a, b in zip(samples[50:550], same[50:550], strict=True)) < 200  # of 10,000


@given(st.sampled_from(RATES[2:]), st.floats(4050, 7900))
@settings(deadline=None, database=None, max_examples=20)
def test_a_tone_above_the_telephone_band_is_not_folded_into_it(rate: int, pitch: float):
    inside = resample(tone(pitch, rate, 0.075), rate)[100:500]
    assert power(inside) < 1e-4 * 10_000**2 / 2


def test_a_lower_rate_is_brought_up_without_new_tones():
    inside, same = resample(tone(1000, 6000, 0.1), 6000)[100:700], tone(1000, 8000, 0.1)[100:700]
    assert max(abs(a - b) for a, b in zip(inside, same, strict=True)) < 200


def test_no_sound_at_all_has_no_samples():
    assert resample([], 22_050) == []


# ---------------------------------------------------------------- the form of a clip


def test_a_tone_of_440_hz_at_22050_stays_one_and_is_as_loud_as_the_others():
    clip = mulaw.decode(telephone(tone(440, 22_050, 0.5), 22_050, "hello"))
    assert pitch_of(clip) == pytest.approx(440, abs=0.5)
    assert level(clip[100:3700], 440) == pytest.approx(PEAK, rel=0.03)
    assert 20 * math.log10(max(clip) / 32_124) == pytest.approx(-3, abs=0.3)


@given(st.floats(300, 32_000), st.integers(0, 4000), st.integers(0, 4000))
@settings(deadline=None, database=None, max_examples=30)
def test_however_quiet_it_was_it_is_as_loud_and_50_ms_of_silence_stay_at_either_end(
    loud: float, before: int, after: int
):
    sound = [loud] * 800
    clip = mulaw.decode(telephone([*[0.0] * before, *sound, *[0.0] * after], 8000, "hello"))
    assert max(clip) == pytest.approx(PEAK, rel=0.03)
    assert len(clip) == min(before, 400) + 800 + min(after, 400)
    assert not any(clip[: min(before, 400)])


@pytest.mark.parametrize("samples", [[], [0.0] * 800, [3.0, -3.0] * 400])
def test_a_voice_that_says_nothing_is_told(samples: list[float]):
    with pytest.raises(CannotRender, match="nothing for hello"):
        telephone(samples, 8000, "hello")


# ---------------------------------------------------------------- engines


def wav(
    path: Path, rate: int = 22_050, channels: int = 1, width: int = 2, pitch: float = 440, seconds: float = 0.2
) -> Path:
    """A tone, in the first of the channels only."""
    samples = array.array("h", [0]) * (round(rate * seconds) * channels)
    samples[::channels] = array.array("h", map(round, tone(pitch, rate, seconds)))
    if sys.byteorder == "big":
        samples.byteswap()
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return path


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of programs, and no others are found."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def program(folder: Path, name: str, script: str) -> None:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n", "utf-8")
    file.chmod(0o755)


def speaks(folder: Path, name: str, said: Path) -> Path:
    """An engine that says `said`, and writes down its arguments and what it reads."""
    log = folder / f"{name}.log"
    script = f'for each in "$@"; do echo "$each" >> {log}; case "$each" in *.wav) /bin/cp {said} "$each";; esac; done'
    program(folder, name, f"{script}\n/bin/cat >> {log}")
    return log


def rendered(out: Path, *, voice: str = "", engine: str = "", force: bool = False, **words: str) -> list[str]:
    return [prompt.name for prompt in render(words, out, voice=voice, engine=engine, force=force)]


@pytest.mark.parametrize(
    ("engine", "voice"),
    [*((name, "") for name in ENGINES if name != "piper"), *((name, "some.onnx") for name in ENGINES)],
)
def test_every_engine_is_given_the_words_a_file_and_the_voice(path: Path, tmp_path: Path, engine: str, voice: str):
    log = speaks(path, engine, wav(tmp_path / "said.wav"))
    assert rendered(tmp_path / "out", hello="Grüß Gott!", engine=engine, voice=voice) == ["hello"]
    lines = log.read_text("utf-8").splitlines()
    assert "Grüß Gott!" in lines
    assert (voice in lines) == bool(voice)
    assert len([line for line in lines if line.endswith("said.wav")]) == 1


@pytest.mark.parametrize(("rate", "channels"), [(22_050, 1), (48_000, 2), (8000, 1), (16_000, 3)])
def test_what_an_engine_says_is_a_clip_that_a_server_takes(path: Path, tmp_path: Path, rate: int, channels: int):
    speaks(path, "flite", wav(tmp_path / "said.wav", rate, channels))
    out = tmp_path / "new" / "out"
    rendered(out, hello='He said "hi"\\.', closed="Geschlossen.\x7f")
    prompts = load_prompts(str(out))
    assert prompts["hello"].words == 'He said "hi"\\.'
    assert prompts["closed"].words == "Geschlossen.\x7f"
    clip = mulaw.decode(prompts["hello"].audio)
    assert pitch_of(clip) == pytest.approx(440, abs=1)
    assert max(clip) == pytest.approx(PEAK, rel=0.03)
    assert prompts["hello"].seconds == pytest.approx(0.2, abs=0.002)


def test_the_first_engine_that_is_found_speaks(path: Path, tmp_path: Path):
    for name in ("pico2wave", "espeak", "piper"):
        speaks(path, name, wav(tmp_path / "said.wav"))
    assert find_engine("", "").name == "espeak"
    assert find_engine("pico2wave", "").name == "pico2wave"


def test_a_model_is_for_piper_and_piper_needs_one(path: Path, tmp_path: Path):
    speaks(path, "espeak-ng", wav(tmp_path / "said.wav"))
    with pytest.raises(CannotRender, match="piper is not installed"):
        find_engine("", "voice.onnx")
    speaks(path, "piper", tmp_path / "said.wav")
    assert find_engine("", "voice.onnx").name == "piper"
    with pytest.raises(CannotRender, match=r"--voice MODEL\.onnx"):
        find_engine("piper", "")


def test_without_any_engine_it_is_said_what_to_install(path: Path, tmp_path: Path):
    with pytest.raises(CannotRender, match=r"install espeak-ng.* piper"):
        rendered(tmp_path / "out", hello="Hi.")
    with pytest.raises(CannotRender, match="flite is not installed"):
        rendered(tmp_path / "out", hello="Hi.", engine="flite")
    with pytest.raises(CannotRender, match=r"--engine siri.*allowed are espeak-ng, espeak, piper"):
        rendered(tmp_path / "out", hello="Hi.", engine="siri")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("echo 'no such voice:' >&2; echo 'martian' >&2; exit 3", "status 3: no such voice: martian"),
        ("exit 1", "status 1: it does not say why"),
        ("exit 0", "wrote no WAV file, and"),
        ("echo no sound > $2", "cannot be read: file does not start with RIFF"),
        ("> $2", "cannot be read: it ends too early"),
    ],
)
def test_an_engine_that_fails_is_told_in_its_own_words_and_nothing_is_written(
    path: Path, tmp_path: Path, script: str, says: str
):
    program(path, "espeak-ng", script)
    with pytest.raises(CannotRender) as failed:
        rendered(tmp_path / "out", hello="Hi.")
    assert "espeak-ng" in str(failed.value)
    assert says in str(failed.value)
    assert not (tmp_path / "out").exists()


def test_a_program_that_cannot_be_run_is_told(path: Path, tmp_path: Path):
    (path / "espeak").write_bytes(b"\x7fELF")
    (path / "espeak").chmod(0o755)
    with pytest.raises(CannotRender, match="espeak cannot be run"):
        rendered(tmp_path / "out", hello="Hi.")


def test_samples_that_are_not_of_16_bits_are_refused(path: Path, tmp_path: Path):
    speaks(path, "flite", wav(tmp_path / "said.wav", width=1))
    with pytest.raises(CannotRender, match="8 bits"):
        rendered(tmp_path / "out", hello="Hi.")


def test_a_speech_is_no_clip(path: Path, tmp_path: Path):
    speaks(path, "flite", wav(tmp_path / "said.wav", rate=8000, seconds=61))
    with pytest.raises(CannotRender, match="hello takes 61 s"):
        rendered(tmp_path / "out", hello="Hi.")


# ---------------------------------------------------------------- what is there already


def test_a_clip_that_is_there_is_never_overwritten_unless_that_is_asked_for(path: Path, tmp_path: Path):
    speaks(path, "flite", wav(tmp_path / "said.wav"))
    out = tmp_path / "out"
    out.mkdir()
    (out / "hello.ulaw").write_bytes(b"mine")
    with pytest.raises(CannotRender, match=r"hello\.ulaw: there already.*--force"):
        rendered(out, bye="Bye.", hello="Hi.")
    assert [(file.name, file.read_bytes()) for file in out.iterdir()] == [("hello.ulaw", b"mine")]
    assert rendered(out, hello="Hi.", force=True) == ["hello"]
    assert len((out / "hello.ulaw").read_bytes()) > 1000


def test_the_words_that_are_there_are_kept(path: Path, tmp_path: Path):
    speaks(path, "flite", wav(tmp_path / "said.wav"))
    out = tmp_path / "out"
    rendered(out, hello="Hi.")
    rendered(out, bye="Bye.")
    assert tomllib.loads((out / "words.toml").read_text("utf-8")) == {"hello": "Hi.", "bye": "Bye."}


def test_a_file_of_words_that_has_them_already_stays_as_it_is_with_its_comments(path: Path, tmp_path: Path):
    speaks(path, "flite", wav(tmp_path / "said.wav"))
    words = tmp_path / "words.toml"
    words.write_text('# How we greet.\nhello = "Hi."\n', "utf-8")
    rendered(tmp_path, hello="Hi.")
    assert words.read_text("utf-8") == '# How we greet.\nhello = "Hi."\n'


def test_words_that_are_there_and_cannot_be_read_are_refused_before_anything_is_made(path: Path, tmp_path: Path):
    speaks(path, "flite", wav(tmp_path / "said.wav"))
    (tmp_path / "words.toml").write_text("hello = ", "utf-8")
    with pytest.raises(SettingsError, match="not TOML"):
        rendered(tmp_path, hello="Hi.")
    assert not (tmp_path / "hello.ulaw").exists()


def test_a_folder_that_cannot_be_made_is_told(path: Path, tmp_path: Path):
    speaks(path, "flite", wav(tmp_path / "said.wav"))
    with pytest.raises(CannotRender, match=r"said\.wav/out cannot be written"):
        rendered(tmp_path / "said.wav" / "out", hello="Hi.")


# ---------------------------------------------------------------- a real one


@pytest.mark.skipif(not shutil.which("espeak-ng"), reason="espeak-ng is not installed")
def test_espeak_ng_says_words_that_take_as_long_as_words_do(tmp_path: Path):
    words = "One moment, please. I am connecting you with a colleague."
    rendered(tmp_path, hello=words, engine="espeak-ng")
    prompt = load_prompts(str(tmp_path))["hello"]
    assert 6 < len(words) / prompt.seconds < 30
    assert mulaw.loudness(prompt.audio) >= 3
    with pytest.raises(CannotRender, match=r"espeak-ng failed.*voice"):
        rendered(tmp_path, bye=words, engine="espeak-ng", voice="martian")
