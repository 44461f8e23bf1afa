"""Sounds for those who listen: something like speech, and something like a cough, in µ-law; the same again for the same seed."""

import random
from collections.abc import Iterator

from actors.mulaw import encode, to_base64

RATE = 8000


def hum(seconds: float, seed: int = 0, loud: int = 9000) -> bytes:
    """A burst of noise that begins hard and dies away: a cough, a door."""
    chance = random.Random(f"noise {seed}")
    size = round(seconds * RATE)
    return encode(round(chance.uniform(-loud, loud) * (1 - number / size)) for number in range(size))


def frames(audio: bytes) -> Iterator[str]:
    """The payloads of `audio`, 20 ms each."""
    for at in range(0, len(audio) - 159, 160):
        yield to_base64(audio[at : at + 160])
