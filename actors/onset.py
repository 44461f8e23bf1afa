"""The onset of the caller's voice: whether they speak, and since when, from their µ-law alone. Pure, told the time.

A frame is voice if it is louder than the line usually is and a voice-activity detector takes it for speech: loudness alone
holds a door for a voice, and the detector alone every hiss. An onset are a few such frames close together.
"""

from collections import deque
from typing import Any, cast

import attrs
import webrtcvad  # type: ignore[import-untyped] # a small C library without types

from actors.mulaw import BYTES_PER_MS, loudness, pcm16

RATE = BYTES_PER_MS * 1000
VAD_MODE = 2
"""Of 0 (takes much for speech) to 3 (little)."""
VAD_FRAMES = tuple(ms * BYTES_PER_MS for ms in (10, 20, 30))
"""What the detector takes, µ-law bytes; a frame of another length is judged by its loudness."""
LOUD_LEAST = 2
"""Mean magnitude below which nothing is a voice (see `loudness`)."""
LOUD_TIMES = 2.5
"""Times as loud as the line without a voice."""
ONSET_FRAMES, ONSET_WITHIN = 4, 6
"""So many frames of voice among so many make an onset: 80 of 120 ms."""
FRESH = 0.2
"""Seconds in which they must have come: nobody listens all the time."""
PAUSE = 0.25
"""Seconds without voice after which an utterance is over."""
STEADY = 25
"""Frames: what does not dip in so long is no speech, but belongs to the line; syllables do."""
FLOOR_UP, FLOOR_DOWN = 0.02, 0.2
"""How fast the line's own loudness is followed, a share a frame."""


@attrs.define
class Onset:
    """Listens to one caller. Times are seconds of the one clock; a frame's is when it came, which is its end."""

    began: float | None = None
    """When the utterance began that is being spoken, or was last; None before the first."""
    last_voice: float = float("-inf")
    voiced_ms: int = 0
    """Voice in it so far."""
    level: int = 0
    """How loud the last frame was."""
    _floor: float = 1.0
    _levels: deque[int] = attrs.field(factory=lambda: deque[int](maxlen=STEADY))
    _recent: deque[tuple[bool, float]] = attrs.field(factory=lambda: deque[tuple[bool, float]](maxlen=ONSET_WITHIN))
    _vad: Any = attrs.field(factory=lambda: cast("Any", webrtcvad).Vad(VAD_MODE))

    def hear(self, audio: bytes, now: float) -> bool:
        """Takes in a frame of µ-law; whether it makes an utterance begin."""
        ms = len(audio) // BYTES_PER_MS
        self.level = loudness(audio)
        voice = self._is_voice(audio)
        self._levels.append(self.level)
        if voice and len(self._levels) == STEADY and (steady := min(self._levels)) * LOUD_TIMES > max(self._levels):
            self._floor, self.voiced_ms = max(self._floor, steady), 0
        if not voice:
            rate = FLOOR_UP if self.level > self._floor else FLOOR_DOWN
            self._floor += (self.level - self._floor) * rate
        self._recent.append((voice, now - ms / 1000))
        if self.speaking(now):
            if voice:
                self.last_voice = now
                self.voiced_ms += ms
            return False
        starts = [start for was, start in self._recent if was and now - start < FRESH]
        if len(starts) < ONSET_FRAMES:
            return False
        self.began, self.last_voice, self.voiced_ms = starts[0], now, ms * len(starts)
        return True

    def speaking(self, now: float) -> bool:
        """Whether the utterance goes on."""
        return self.began is not None and now - self.last_voice < PAUSE

    def _is_voice(self, audio: bytes) -> bool:
        if self.level < max(LOUD_LEAST, LOUD_TIMES * self._floor):
            return False
        return len(audio) not in VAD_FRAMES or bool(self._vad.is_speech(pcm16(audio), RATE))
