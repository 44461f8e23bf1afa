"""The onset of the caller's voice: whether they speak, and since when, from their µ-law alone. Pure, told the time.

A frame is voice if it is louder than the line usually is and a voice-activity detector takes it for speech: loudness alone
holds a door for a voice, and the detector alone every hiss. An onset are a few such frames close together; fewer, if they come
out of the quiet at once. What then stays at one height is no speech: syllables rise and fall.
"""

from bisect import bisect_left
from collections import deque
from itertools import accumulate
from operator import add, lt
from typing import Any, cast

import attrs
import webrtcvad  # type: ignore[import-untyped] # a small C library without types

from actors.mulaw import BYTES_PER_MS, envelope, pcm16

RATE = BYTES_PER_MS * 1000
VAD_MODE = 2
"""Of 0 (takes much for speech) to 3 (little)."""
VAD_FRAMES = tuple(ms * BYTES_PER_MS for ms in (10, 20, 30))
"""What the detector takes, µ-law bytes; a frame of another length is judged by its loudness."""
LOUD_LEAST = 13.0
"""Loudness (see `envelope`) below which nothing is a voice, as long as nothing is known of the line."""
LOUD_TIMES = 1.6
"""Times as loud as the line without a voice."""
ONSET_FRAMES, ONSET_WITHIN = 4, 6
"""So many frames of voice among so many make an onset: 80 of 120 ms."""
ROW, RISES, DIES = 3, 2.0, 0.5
"""So many do without one between them, if it is so many times as loud as it was just before, and does not die away, as a click
does, to less than this share of the loudest."""
IN_A_ROW = (1 << ROW) - 1
SOFT_RISES, RISES_WITHIN = 3.0, 7
"""How many times as loud as it was in so many frames a voice below `LOUD_LEAST` begins: a noise that comes nearer is slower."""
FRESH = 0.2
"""Seconds in which the frames of an onset must have come: nobody listens all the time."""
PAUSE = 0.25
"""Seconds without voice after which an utterance is over."""
TOGETHER = 0.6
"""Seconds of a gap over which two utterances are listened to as one, when it is to be told whether they are speech."""
STEADY, STEADY_TIMES = 33, 1.6
"""Frames, and how much they may vary: what does not dip in so long is no speech, but belongs to the line; syllables do."""
TELLS, TELLS_ALL, KEPT = 37, 50, 75
"""Frames of an utterance from which on it can be told whether it falls as speech does, and from which on that is certain; and
how many of the last are listened to for it."""
FALLS, VALLEYS, LOW = 0.12, 0.02, 0.5
"""Shares of its time, at least, that speech is lower than this share of its height; and lower than that of what was before and
what comes after, whichever is less. Noise, music and many voices at once are not."""
LOOK_AGAIN, LOOK_SELDOM = 3, 25
"""Frames after which that is looked at again: of what stays, and of speech once all can be told."""
FLOOR_UP, FLOOR_DOWN = 0.02, 0.05
"""How fast the line's own loudness is followed, a share a frame."""


@attrs.define
class Onset:
    """Listens to one caller. Times are seconds of the one clock; a frame's is when it came, which is its end."""

    began: float | None = None
    """When the utterance began that is being spoken, or was last; None before the first."""
    last_voice: float = float("-inf")
    voiced_ms: int = 0
    """Voice in it so far."""
    steady: bool = False
    """Whether it is known to stay at one height, as no speech does."""
    level: float = 0.0
    """How loud the last frame was."""
    least: float = LOUD_LEAST
    """Loudness below which nothing is a voice; it may be less where the line is known to be quiet."""
    _floor: float = 8.0
    _floor_before: float = 0.0
    """What it was when the utterance began, or those before it with which it goes together."""
    _lasts: int = 0
    """Frames since then."""
    _look_at: int = 0
    """How many of them there must be before it is looked again whether it stays at one height."""
    _levels: bytearray = attrs.field(factory=bytearray)
    """How loud the last frames were."""
    _starts: deque[float] = attrs.field(factory=lambda: deque[float](maxlen=ONSET_FRAMES))
    """When the last frames of voice began."""
    _voices: int = 0
    """A bit for each of the last frames: whether it was voice."""
    _vad: Any = attrs.field(factory=lambda: cast("Any", webrtcvad).Vad(VAD_MODE))

    def hear(self, audio: bytes, now: float) -> bool:
        """Takes in a frame of µ-law; whether it makes an utterance begin."""
        level = self.level = envelope(audio)
        floor = self._floor
        speaking = now - self.last_voice < PAUSE
        voice = (
            level >= self.least
            and level >= LOUD_TIMES * floor
            and (level >= LOUD_LEAST or speaking or self._rises(SOFT_RISES, 1))
            and self._is_voice(audio)
        )
        self._voices = (self._voices << 1 | voice) & ((1 << ONSET_WITHIN) - 1)
        self._levels.append(int(level))
        if len(self._levels) > KEPT:
            del self._levels[0]
        if not voice:
            self._floor += (level - floor) * (FLOOR_UP if level > floor else FLOOR_DOWN)
        self._lasts += 1
        ms = len(audio) // BYTES_PER_MS
        if speaking:
            self._goes_on(now, ms if voice else 0)
        elif voice:
            return self._begins(now, ms)
        return False

    def speaking(self, now: float) -> bool:
        """Whether the utterance goes on."""
        return now - self.last_voice < PAUSE

    def _stands_out(self) -> bool:
        """Whether the last frames, all voice, came out of the quiet and do not die away."""
        return self._voices & IN_A_ROW == IN_A_ROW and self._rises(RISES, ROW)

    def _rises(self, times: float, row: int) -> bool:
        """Whether it is so many times as loud as it was a moment ago, and has not begun to die away in the last frames."""
        levels = self._levels
        least = max(times * min(levels[-RISES_WITHIN:], default=0), DIES * max(levels[-row:], default=0))
        return self.level >= least

    def _is_voice(self, audio: bytes) -> bool:
        return len(audio) not in VAD_FRAMES or bool(self._vad.is_speech(pcm16(audio), RATE))

    def _begins(self, now: float, ms: int) -> bool:
        self._starts.append(now - ms / 1000)
        enough = self._voices.bit_count()
        if enough < ONSET_FRAMES and not self._stands_out():
            return False
        starts = [start for start in list(self._starts)[-enough:] if now - start < FRESH]
        if len(starts) < min(enough, ONSET_FRAMES):
            return False
        if starts[0] - self.last_voice >= TOGETHER:
            self._floor_before, self._lasts = self._floor, len(starts)
        self._look()
        if self.steady and self._lasts >= TELLS_ALL:
            self._belongs_to_the_line()
            return False
        self.began, self.last_voice, self.voiced_ms = starts[0], now, ms * len(starts)
        return True

    def _goes_on(self, now: float, voiced_ms: int) -> None:
        if not voiced_ms:
            return
        self.last_voice = now
        self.voiced_ms += voiced_ms
        self._starts.append(now - voiced_ms / 1000)
        if (least := self._least_of_flat()) is not None:
            self._floor, self.voiced_ms, self.steady = max(self._floor, least), 0, True
        elif self._lasts >= self._look_at:
            self._look()
            if self.steady and self._lasts >= TELLS_ALL:
                self._belongs_to_the_line()
                self.last_voice -= PAUSE + voiced_ms / 1000  # it is over

    def _least_of_flat(self) -> int | None:
        """The softest of the last frames if they hardly vary."""
        levels = self._levels
        if len(levels) < STEADY or not levels[-1] < STEADY_TIMES * levels[-STEADY] < STEADY_TIMES**2 * levels[-1]:
            return None  # most are told by the first and the last alone
        last = levels[-STEADY:]
        least = min(last)
        return least if least * STEADY_TIMES > max(last) else None

    def _belongs_to_the_line(self) -> None:
        self._floor = max(self._floor, sorted(self._levels)[len(self._levels) * 3 // 4])
        self.voiced_ms = 0

    def _look(self) -> None:
        if self._lasts < TELLS:
            self.steady, self._look_at = False, TELLS
            return
        self.steady = self._stays()
        self._look_at = self._lasts + LOOK_AGAIN if self.steady else max(self._lasts + LOOK_SELDOM, TELLS_ALL)

    def _stays(self) -> bool:
        """Whether it does not fall as speech does; each three frames are taken together."""
        levels = self._levels[-self._lasts :]
        heights = list(map(add, map(add, levels, levels[1:]), levels[2:]))
        ordered = sorted(heights)
        floor = 3 * self._floor_before * (1 - LOW)
        if bisect_left(ordered, floor + LOW * sum(ordered[-3:]) / 3) <= FALLS * len(heights):
            return True
        before, after = accumulate(heights, max), list(accumulate(reversed(heights), max))
        peaks = map(min, before, reversed(after))
        return sum(map(lt, heights, [floor + LOW * peak for peak in peaks])) <= VALLEYS * len(heights)
