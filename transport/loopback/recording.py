"""A call as a stereo recording: the caller on the left, the agent as heard on the right."""

import array
import sys
import wave
from collections.abc import Sequence
from pathlib import Path

from actors.mulaw import decode
from transport.loopback.playback import BYTES_PER_SECOND, Heard


def write_stereo(path: Path, began: float, seconds: float, left: Sequence[Heard], right: Sequence[Heard]) -> None:
    """Writes 8 kHz 16-bit WAV; silence where nobody is heard. `began`: the time of the first sample."""
    samples = array.array("h", bytes(4 * round(seconds * BYTES_PER_SECOND)))
    for channel, pieces in enumerate((left, right)):
        for piece in pieces:
            at = round((piece.at - began) * BYTES_PER_SECOND)
            for offset, sample in enumerate(decode(piece.audio), at):
                if 0 <= offset < len(samples) // 2:
                    samples[2 * offset + channel] = sample
    if sys.byteorder == "big":
        samples.byteswap()
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(BYTES_PER_SECOND)
        file.writeframes(samples.tobytes())
