"""The ear on the caller's line: whether there is a voice, and whether it is the caller's or the agent's own, coming back.

It judges nothing; that is for the watcher (`interrupt.py`). It is behind a port (`LinePort`), since what it hears is in
the sound, and the sound is not kept: a call that is replayed is told what was heard (see `transport/flight_recorder.py`).
"""

import math
from collections import deque
from typing import Protocol

import attrs

from actors.echo import SLOT, SOUNDS_LEAST, UNLIKE_AT_END, Echo
from actors.mulaw import BYTES_PER_MS, envelope
from actors.onset import LOUD_LEAST, ONSET_FRAMES, ONSET_WITHIN, Onset

FRAME = round(1000 * SLOT) * BYTES_PER_MS
"""Bytes of µ-law in a slot."""
UNSETTLED = 0.8
"""Seconds of a voice that are needed to tell it from an echo on a line of which nothing is known yet."""
QUIET_LEAST, QUIET_TIMES = 6.0, 2.0
"""Loudness of the softest voice where nothing comes back: so much, and so many times what came when that was found out."""
ROUNDED = 0.001
"""Seconds by which a sum of times may be off."""
HEARS_WITHIN = 0.6
"""Seconds in which the model says that it hears a voice."""


@attrs.frozen
class Line:
    """What is heard. Times in seconds of the one clock; minus infinity: never."""

    began: float = -math.inf
    """When the voice began that is heard now, or was last."""
    until: float = -math.inf
    """When it was last heard."""
    voice_ms: int = 0
    goes_on: bool = False
    foreign: bool = False
    """Whether that voice is known not to be the agent's own."""
    settled: bool = False
    """Whether it is known if the line echoes."""
    echoes: bool = False
    steady: bool = False
    """Whether that voice is known to belong to the line: it stays at one height, as a noise does or music, or is the echo after
    all, that comes at another delay than it did."""


class LinePort(Protocol):
    """See `LineEar`."""

    @property
    def line(self) -> Line:
        """What is heard now."""
        ...

    def plays(self, audio: bytes, at: float) -> None:
        """The caller hears this of the agent's from `at` on; µ-law, one frame or several."""
        ...

    def hears(self, audio: bytes, now: float) -> Line:
        """A frame came from the caller, while they could hear the agent; µ-law."""
        ...

    def rests(self, audio: bytes, now: float) -> None:
        """A frame came from the caller while the agent was silent: only what the line itself is like is learned from it."""
        ...

    def misses(self, seconds: float) -> None:
        """So much of the caller's was lost on its way, and the frame that comes next is the one after that."""
        ...

    def only_echo(self, now: float) -> bool | None:
        """Whether nothing was heard of late but the agent, coming back; None: too little was heard to tell."""
        ...


class LineEar:
    """`LinePort`: energy and a detector of voices for the onset, what was played for the echo. 2 µs a frame, 9 of a voice."""

    def __init__(self) -> None:
        self.line = Line()
        self._onset = Onset()
        self._echo = Echo()
        self._unexplained: deque[tuple[float, bool]] = deque(maxlen=ONSET_WITHIN)
        """Of the last frames of the present voice, when they came, and whether they are no echo."""
        self._foreign = self._foreign_from = -math.inf
        """The beginning of the voice that was found to be no echo, and from when on it was none."""
        self._found_at = -math.inf
        """When that was found: the agent falls silent then, if it may."""
        self._moved: float | None = -math.inf
        """The beginning of the voice that was found to be the echo all the same, at another delay."""

    def plays(self, audio: bytes, at: float) -> None:
        """See `LinePort`."""
        for begin in range(0, len(audio), FRAME):
            self._echo.plays(envelope(audio[begin : begin + FRAME]), at)
            at += SLOT

    def hears(self, audio: bytes, now: float) -> Line:
        """See `LinePort`."""
        onset, echo, before = self._onset, self._echo, self.line
        began = onset.hear(audio, now)
        goes_on = onset.speaking(now)
        echo.comes(onset.level, now, agent_heard=True, voice=goes_on)
        if not goes_on:
            self._unexplained.clear()
        elif onset.last_voice == now:
            self._unexplained.append((now, not echo.explains(onset.level)))
            if onset.began != self._foreign and (began or self._is_unexplained):
                self._whose(now)
        elif self._is_known_by_its_end(now):
            self._found_foreign(now)
        if self._is_doubtful(before, goes_on=goes_on):
            if echo.delay is not None:
                self._moved = onset.began if echo.has_moved(self._found_at) else self._moved
            elif echo.doubt(self._found_at):
                onset.least = LOUD_LEAST
        settled, echoes = echo.settled, echo.delay is not None
        known = before.until == onset.last_voice and before.settled == settled and before.echoes == echoes
        if known and not goes_on and not before.goes_on:
            return before
        if settled and not echoes and not before.settled:
            onset.least = min(LOUD_LEAST, max(QUIET_LEAST, QUIET_TIMES * echo.loudest))
        since = -math.inf if onset.began is None else onset.began
        foreign = since == self._foreign
        since = max(since, self._foreign_from) if foreign else since
        voiced_ms, steady = onset.voiced_ms, onset.steady or onset.began == self._moved
        self.line = Line(since, onset.last_voice, voiced_ms, goes_on, foreign, settled, echoes, steady)
        return self.line

    def rests(self, audio: bytes, now: float) -> None:
        """See `LinePort`."""
        self._onset.hear(audio, now)
        self._echo.rests(self._onset.level)

    def misses(self, seconds: float) -> None:
        """See `LinePort`."""
        self._echo.misses(seconds)

    def only_echo(self, now: float) -> bool | None:
        """See `LinePort`."""
        if self._echo.settled and self._echo.delay is None:
            return False
        if self._echo.delay is None:  # it may be too faint to be taken for a voice here
            return None if 0 < self._echo.sounds() < SOUNDS_LEAST else self._echo.compare(UNSETTLED)
        if self._onset.speaking(now):
            return not self._is_unexplained
        # A few frames that stood out of a faint echo are no caller, if all that came goes up and down with what was played.
        return now - self._echo.foreign_at > HEARS_WITHIN or self._echo.is_louder()

    def _whose(self, now: float) -> None:
        """There is a voice: is it the caller's?"""
        began = self._onset.began
        assert began is not None
        if self._echo.delay is not None:
            if not self._is_unexplained:
                return
            echoes = self._echo.is_louder()
        elif self._echo.settled:
            echoes = False
        elif now - began < UNSETTLED:
            if not self._echo.denies(now - began):
                return
            echoes = False
        else:
            echoes = self._echo.compare(now - began)
        if echoes:
            self._unexplained.clear()
        else:
            self._found_foreign(now)

    def _is_known_by_its_end(self, now: float) -> bool:
        """Whether a short voice on a line of which nothing is known is no echo as it ends: the agent coming back would go on."""
        began = self._onset.began
        if self._echo.settled or began is None or began == self._foreign or now - began >= UNSETTLED:
            return False
        return self._echo.denies(now - began, UNLIKE_AT_END)

    def _found_foreign(self, now: float) -> None:
        """The voice is no echo."""
        began = self._onset.began
        assert began is not None
        self._foreign = self._foreign_from = began
        self._found_at = now
        if self._echo.delay is not None:
            self._foreign_from = next(at for at, is_foreign in self._unexplained if is_foreign)

    def _is_doubtful(self, before: Line, *, goes_on: bool) -> bool:
        """Whether it is time to look if a line that was held for quiet is, or if its echo comes at another delay now: a short
        voice is over, or there is enough of it."""
        if not (before.settled and before.foreign and before.goes_on):
            return False
        long = self._onset.last_voice - before.began >= UNSETTLED - ROUNDED
        return before.until - before.began < UNSETTLED and (long or not goes_on)

    @property
    def _is_unexplained(self) -> bool:
        return sum(is_foreign for _, is_foreign in self._unexplained) >= ONSET_FRAMES
