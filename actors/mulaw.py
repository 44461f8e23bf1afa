"""µ-law (G.711): one byte is one sample, 8 of them are a millisecond. Pure.

The call path never transcodes: payloads are passed on as they came. This is for those who must look at the samples, or
make some: how loud a frame is, recordings, prompts, tests.
"""

import array
import binascii
import math
from collections.abc import Iterable

BYTES_PER_MS = 8
SILENCE = 0xFF
"""The µ-law byte of a zero sample."""


def _linear(byte: int) -> int:
    inverted = ~byte & 0xFF
    magnitude = (((inverted & 0x0F) << 3) + 0x84) << ((inverted & 0x70) >> 4)
    return 0x84 - magnitude if inverted & 0x80 else magnitude - 0x84


LINEAR = tuple(_linear(byte) for byte in range(256))
"""The 16-bit sample of each µ-law byte."""

_MAGNITUDE = bytes(min(255, abs(sample) >> 7) for sample in LINEAR)


def decode(audio: bytes) -> "array.array[int]":
    """The 16-bit samples of `audio`, one per byte."""
    return array.array("h", [LINEAR[byte] for byte in audio])


def encode(samples: Iterable[int]) -> bytes:
    """The µ-law bytes of 16-bit `samples`, one for each; what is louder than full scale is clipped."""
    return bytes(_byte(sample) for sample in samples)


def _byte(sample: int) -> int:
    magnitude = min(abs(sample), 0x7F7B) + 0x84
    exponent = magnitude.bit_length() - 8
    sign = 0x80 if sample < 0 else 0
    return ~(sign | exponent << 4 | magnitude >> (exponent + 3) & 0x0F) & 0xFF


def loudness(audio: bytes) -> int:
    """Mean magnitude of `audio`, 0 (silence) to 255 (full scale); speech at phone level is 5 to 60."""
    return sum(audio.translate(_MAGNITUDE)) // len(audio) if audio else 0


_ROOT = bytes(math.isqrt(abs(sample)) for sample in LINEAR)


def envelope(audio: bytes) -> float:
    """As `loudness`, finer for what is soft: the mean root of the samples' size, 0 to 181. Half as loud is 0.7 times as much."""
    return sum(audio.translate(_ROOT)) / len(audio) if audio else 0.0


def silence(ms: int) -> bytes:
    """`ms` milliseconds of silence, in µ-law bytes."""
    return bytes([SILENCE]) * (ms * BYTES_PER_MS)


def to_base64(audio: bytes) -> str:
    """The payload text of `audio`, as both wires carry it: standard alphabet, padded."""
    return binascii.b2a_base64(audio, newline=False).decode("ascii")


def from_base64(payload: str) -> bytes:
    """The bytes of a payload text. Raises binascii.Error for what is none."""
    return binascii.a2b_base64(payload)


_LOW = bytes(sample & 0xFF for sample in LINEAR)
_HIGH = bytes(sample >> 8 & 0xFF for sample in LINEAR)


def pcm16(audio: bytes) -> bytes:
    """The 16-bit samples of `audio`, little-endian: two bytes for each of its own. For those who take nothing else."""
    samples = bytearray(2 * len(audio))
    samples[0::2], samples[1::2] = audio.translate(_LOW), audio.translate(_HIGH)
    return bytes(samples)
