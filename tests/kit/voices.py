"""Sounds for those who listen: something like speech, and something like a cough, in µ-law; the same again for the same seed."""

import math
import random
from collections.abc import Iterator

from actors.mulaw import encode, to_base64

RATE = 8000


def a_voice(seconds: float, seed: int = 0, loud: int = 9000) -> bytes:
    """Syllables: a hum of a hundred-odd hertz with its overtones, that swells and falls four or so times a second."""
    chance = random.Random(f"voice {seed}")
    samples: list[int] = []
    phase = 0.0
    while len(samples) < seconds * RATE:
        pitch, length, peak = chance.uniform(110, 190), chance.uniform(0.14, 0.28), chance.uniform(0.45, 1.0)
        formant = chance.uniform(450, 900)
        size = round(length * RATE)
        for number in range(size):
            phase += 2 * math.pi * pitch / RATE
            swell = max(0.15, math.sin(math.pi * (number + 1) / (size + 1))) * peak
            tone = sum(
                math.sin(k * phase) * math.exp(-(((k * pitch - formant) / 350) ** 2)) for k in range(1, 16)
            ) + 0.3 * math.sin(phase)
            samples.append(round(loud * swell * tone / 1.6))
    return encode(max(-32000, min(32000, sample)) for sample in samples[: round(seconds * RATE)])


def hum(seconds: float, seed: int = 0, loud: int = 9000) -> bytes:
    """A burst of noise that begins hard and dies away: a cough, a door."""
    chance = random.Random(f"noise {seed}")
    size = round(seconds * RATE)
    return encode(round(chance.uniform(-loud, loud) * (1 - number / size)) for number in range(size))


def frames(audio: bytes) -> Iterator[str]:
    """The payloads of `audio`, 20 ms each."""
    for at in range(0, len(audio) - 159, 160):
        yield to_base64(audio[at : at + 160])
