"""The labelled sounds of `barge_in.py`: who takes the floor, who only listens, what is no voice at all. Made anew each time from
seeds, and, where espeak-ng is on the machine, spoken by it as well.
"""

import functools
import math
import random
import shutil
import subprocess
import tempfile
import wave
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import attrs

from actors.mulaw import decode, encode
from transport.loopback.speech import RATE, line, syllables
from transport.prompt_voice import resample

LOUD, USUAL, QUIET = -16.0, -26.0, -36.0
"""Levels of speech on telephone lines, in dB below full scale, while there is sound."""
LEAD = 2.5
"""Seconds that a noise behind a voice is there before it; in most of them it swells."""
FULL = 32768.0
Samples = list[float]


@attrs.frozen
class Sound:
    """What the caller's line carries, and what is in it."""

    name: str
    kind: str
    takes: bool
    """Whether somebody takes the floor."""
    audio: bytes = attrs.field(repr=False, default=b"")
    onset: float = 0.0
    """Seconds into it at which the voice, or the noise, begins."""
    words: str = ""
    """What a transcriber makes of it."""
    echo_gain: float = 0.0
    echo_delay: float = 0.0
    spoken: bool = False
    """Whether espeak-ng has said it."""


def has_espeak() -> bool:
    """Whether the realistic part of the set can be made."""
    return shutil.which("espeak-ng") is not None


@functools.cache
def the_set() -> tuple[Sound, ...]:
    """All of them."""
    made = [*_floor(), *_listeners(), *_noises(), *_echoes()]
    return tuple(made + list(_spoken()) if has_espeak() else made)


def a_few() -> tuple[Sound, ...]:
    """A sentence, a listener's word and a cough, for those who have no time."""
    return next(_floor()), next(_listeners()), next(_noises())


# ---------------------------------------------------------------- the set

SENTENCE, STOP, WAIT = "I only need to know about Saturday.", "Stop.", "No, wait."
_SHORT = {"uh-huh": ("Uh-huh.", 0.42), "okay": ("Okay.", 0.38), "right": ("Right.", 0.3), "mm-hm": ("Mm-hm.", 0.5)}


def _floor() -> Iterator[Sound]:
    for level in (LOUD, USUAL, QUIET):
        for words, seconds, seed in ((SENTENCE, 2.2, 1), (SENTENCE, 1.6, 2), (STOP, 0.45, 3), (WAIT, 0.8, 4)):
            yield _voice(
                f"{words} {level:.0f} dB", "floor", _samples(syllables(seconds, seed)), level, words, takes=True
            )
    for snr in (20, 10):
        for noise, behind in ((_fan, "fan"), (_babble, "babble")):
            voice = at_level(_samples(syllables(2.0, 5)), USUAL)
            yield _before(f"{SENTENCE} {behind} {snr} dB below", "floor in noise", voice, noise, snr, SENTENCE)


def _listeners() -> Iterator[Sound]:
    for level in (LOUD, USUAL):
        for seed, (name, (words, seconds)) in enumerate(_SHORT.items()):
            voice = _samples(syllables(seconds, 20 + seed))
            yield _voice(f"{name} {level:.0f} dB", "listener", voice, level, words)


def _noises() -> Iterator[Sound]:
    kinds: tuple[tuple[str, Callable[[random.Random], Samples]], ...] = (
        ("cough", lambda chance: _cough(chance, 1)),
        ("cough twice", lambda chance: _cough(chance, 2)),
        ("door", _door),
        ("keyboard", _keyboard),
        ("breath", _breath),
        ("fan", lambda chance: _fan(chance, 4.0)),
        ("traffic", lambda chance: _traffic(chance, 4.0)),
        ("babble", lambda chance: _babble(chance, 4.0)),
        ("music", lambda chance: _music(chance, 4.0)),
    )
    for name, make in kinds:
        steady = name in ("fan", "traffic", "babble", "music")
        for level in (USUAL - 4, USUAL - 14) if steady else (LOUD, USUAL):
            sound = make(random.Random(f"{name} {level}"))
            yield _voice(f"{name} {level:.0f} dB", "steady noise" if steady else "short noise", sound, level, "")


def _echoes() -> Iterator[Sound]:
    for gain in (0.05, 0.1, 0.2, 0.4):
        for delay in (0.1, 0.3, 0.7, 1.2):
            name = f"echo {gain} after {delay * 1000:.0f} ms"
            yield Sound(name, "echo", takes=False, echo_gain=gain, echo_delay=delay)
        for delay, words, seconds, level in ((0.3, SENTENCE, 2.0, USUAL), (0.7, WAIT, 0.8, LOUD)):
            name = f"{words} through echo {gain} after {delay * 1000:.0f} ms"
            said = _voice(name, "floor in echo", _samples(syllables(seconds, 9)), level, words, takes=True)
            yield attrs.evolve(said, echo_gain=gain, echo_delay=delay)


_VOICES = (("en-us", 165), ("en-gb+f3", 190), ("en-us+m7", 140))
_AS_WRITTEN = {"uh-huh": "uh huh", "mm-hm": "[[m'mh'mm]]"}
"""What espeak-ng would spell, in its own letters for sounds."""
_SENTENCES = (SENTENCE, "Sorry, can I ask something?", "Hold on a second please.")


def _spoken() -> Iterator[Sound]:
    for number, (who, speed) in enumerate(_VOICES):
        level = (USUAL, LOUD, USUAL - 6)[number]
        for words in (_SENTENCES[number], STOP, WAIT):
            voice = espeak(words, who, speed)
            yield _voice(f"{words} {who}", "floor", voice, level, words, takes=True, spoken=True)
        for name, (words, _) in _SHORT.items():
            voice = espeak(_AS_WRITTEN.get(name, name), who, speed)
            yield _voice(f"{name} {who}", "listener", voice, level, words, spoken=True)
        for noise, behind in ((_fan, "fan"), (_babble, "babble")):
            voice = at_level(espeak(SENTENCE, who, speed), USUAL)
            name = f"{SENTENCE} {who} {behind} 15 dB below"
            yield attrs.evolve(_before(name, "floor in noise", voice, noise, 15, SENTENCE), spoken=True)
    said = _voice("through echo", "floor in echo", espeak(SENTENCE, "en-gb+f3", 180), USUAL, SENTENCE, takes=True)
    for gain in (0.1, 0.4):
        name = f"{SENTENCE} en-gb+f3 through echo {gain} after 300 ms"
        yield attrs.evolve(said, name=name, echo_gain=gain, echo_delay=0.3, spoken=True)


# ---------------------------------------------------------------- their making


def at_level(sound: Samples, level: float) -> Samples:
    """As loud as `level` says, over the parts that are to be heard at all."""
    loudest = max(map(abs, sound))
    heard = [sample for sample in sound if abs(sample) > 0.02 * loudest]
    power = math.sqrt(sum(sample * sample for sample in heard) / len(heard))
    return [sample * FULL * 10 ** (level / 20) / power for sample in sound]


def _voice(
    name: str, kind: str, sound: Samples, level: float, words: str, *, takes: bool = False, spoken: bool = False
) -> Sound:
    begins = random.Random(name).randrange(160)  # anywhere in a frame
    loud = [0.0] * begins + at_level(sound, level)
    return Sound(name, kind, takes, _encoded(loud), _onset(loud), words, spoken=spoken)


def _before(
    name: str, kind: str, voice: Samples, noise: Callable[[random.Random, float], Samples], snr: float, words: str
) -> Sound:
    """A voice in front of a noise that was there before."""
    begins = random.Random(name).randrange(160)
    voice = [0.0] * (round(LEAD * RATE) + begins) + voice
    behind = at_level(noise(random.Random(name), len(voice) / RATE + 0.5), USUAL - snr)
    behind = [sample * min(1.0, index / (0.8 * LEAD * RATE)) for index, sample in enumerate(behind)]
    mixed = [sample + (voice[index] if index < len(voice) else 0.0) for index, sample in enumerate(behind)]
    return Sound(name, kind, takes=True, audio=_encoded(mixed), onset=_onset(voice), words=words)


def _onset(sound: Sequence[float]) -> float:
    loudest = max(map(abs, sound))
    return next(index for index, sample in enumerate(sound) if abs(sample) > 0.05 * loudest) / RATE


def _encoded(sound: Samples) -> bytes:
    return encode(round(sample) for sample in sound)


def _samples(audio: bytes) -> Samples:
    return list(map(float, decode(audio)))


def espeak(words: str, who: str, speed: int) -> Samples:
    """What espeak-ng says, at 8 kHz."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "said.wav")
        subprocess.run(["espeak-ng", "-v", who, "-s", str(speed), "-w", str(file), words], check=True, timeout=30)
        with wave.open(str(file), "rb") as said:
            rate, data = said.getframerate(), said.readframes(said.getnframes())
    sound = resample(list(map(float, array("h", data))), rate)
    loudest = max(map(abs, sound))
    audible = [index for index, sample in enumerate(sound) if abs(sample) > 0.01 * loudest]
    return sound[audible[0] : audible[-1] + 1]


def _noise(chance: random.Random, size: int, softness: float) -> Samples:
    """Hiss; the higher its `softness` (0 to 1) the darker."""
    kept, sound = 0.0, [0.0] * size
    for index in range(size):
        kept = softness * kept + (1 - softness) * chance.uniform(-1, 1)
        sound[index] = kept
    return sound


def _cough(chance: random.Random, times: int) -> Samples:
    """A burst of hiss, hard at first, with some voice at its end."""
    sound: Samples = []
    for _ in range(times):
        size = round(chance.uniform(0.18, 0.28) * RATE)
        hiss, pitch = _noise(chance, size, 0.6), chance.uniform(150, 260)
        for index in range(size):
            past = index / size
            hum = 0.25 * past * sum(math.sin(2 * math.pi * k * pitch * index / RATE) / k for k in range(1, 8))
            sound.append((hiss[index] + hum) * math.exp(-2.5 * past) * min(1.0, index / 40))
        sound += [0.0] * round(chance.uniform(0.15, 0.25) * RATE)
    return sound


def _door(chance: random.Random) -> Samples:
    size, tone = round(0.4 * RATE), chance.uniform(70, 110)
    hiss = _noise(chance, size, 0.9)
    return [
        (3 * hiss[index] + 0.7 * math.sin(2 * math.pi * tone * index / RATE)) * math.exp(-index / (0.08 * RATE))
        for index in range(size)
    ]


def _keyboard(chance: random.Random) -> Samples:
    sound: Samples = []
    for _ in range(12):
        loud = chance.uniform(0.4, 1.0)
        sound += [loud * chance.uniform(-1, 1) * math.exp(-index / 60) for index in range(240)]
        sound += [0.0] * round(chance.uniform(0.06, 0.16) * RATE)
    return sound


def _breath(chance: random.Random) -> Samples:
    size = round(1.2 * RATE)
    hiss = _noise(chance, size, 0.3)
    return [sample * math.sin(math.pi * index / size) ** 2 for index, sample in enumerate(hiss)]


def _fan(chance: random.Random, seconds: float) -> Samples:
    hiss = _noise(chance, round(seconds * RATE), 0.7)
    return [
        min(1.0, index / 4000) * (sample + 0.05 * math.sin(2 * math.pi * 100 * index / RATE))
        for index, sample in enumerate(hiss)
    ]


def _traffic(chance: random.Random, seconds: float) -> Samples:
    hiss = _noise(chance, round(seconds * RATE), 0.93)
    phase, rate = chance.uniform(0, 6), chance.uniform(0.3, 0.6)
    return [
        sample * (0.6 + 0.4 * math.sin(phase + 2 * math.pi * rate * index / RATE)) for index, sample in enumerate(hiss)
    ]


def _babble(chance: random.Random, seconds: float) -> Samples:
    """Six people in the room."""
    voices = [_samples(syllables(seconds + 0.3, chance.randrange(10**6))) for _ in range(6)]
    size = round(seconds * RATE)
    return [sum(voice[index + 300 * number] for number, voice in enumerate(voices)) for index in range(size)]


def _music(chance: random.Random, seconds: float) -> Samples:
    """Chords, and a beat."""
    sound: Samples = []
    while len(sound) < seconds * RATE:
        root = chance.choice((196.0, 220.0, 261.6, 293.7))
        tones = [root, root * 1.26, root * 1.498, root * 2]
        size = round(0.35 * RATE)
        for index in range(size):
            swell = math.exp(-index / (0.25 * RATE))
            tone = sum(math.sin(2 * math.pi * each * index / RATE) for each in tones) * swell
            sound.append(tone + (chance.uniform(-1, 1) * 2 if index < 160 else 0.0))
    return sound[: round(seconds * RATE)]


AGENT = line("agent_hours")
"""What the agent is saying meanwhile."""
