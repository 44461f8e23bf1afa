"""The line's echo: whether what comes from the caller is the agent's own voice coming back. Pure, told the time.

A telephone on a table sends back what it plays, later and softer. We know what was played and when, so its loudness over time is
compared with that of what comes in: at the line's real delay the two rise and fall together. The delay is learned from the
first stretch that does, usually in the greeting; from then on a frame that is no louder than its echo would be is no caller.
"""

import math

import attrs

SLOT = 0.02
"""Seconds: the grain of both histories, a frame. Loudness is the `envelope` here."""
SLOTS = 160
"""Length of the histories: the longest delay and a window."""
DELAY_LEAST, DELAY_MOST = 5, 75
"""Slots between playing and coming back: 100 to 1500 ms."""
WINDOW_LEAST, WINDOW_MOST = 40, 60
"""Slots that are compared. In less than 0.8 s any two people who speak are alike at one delay or another."""
SOUNDS_LEAST = 20
"""Slots of a window in which something must be heard."""
ALIKE_LEAST, ALIKE_MOST = 0.88, 0.80
"""Correlation of the two loudnesses from which on what comes in is an echo, in the shortest window and in the longest."""
ALIKE_AGAIN = 0.93
"""The same at the delay that is known: a line that has become louder, and no caller who speaks besides."""
JITTER = 25
"""Slots by which frames may be late or early and still follow each other: half a second."""
QUIET_LINE = 80
"""Slots in which the agent was heard and nothing came back, after which the line has no echo: longer than any delay."""
QUIET, NOISE_TIMES, NOISE_UP = 8.0, 1.5, 0.1
"""What is softer is no echo that anybody hears; nor is what is hardly louder than the line itself, which is followed slowly."""
MARGIN_TIMES, MARGIN = 1.35, 3.0
"""How much louder than expected an echo may be, times and on top."""


@attrs.define
class Echo:
    """One line. `delay` in slots and `gain` (what comes back for what was played) are known once an echo was seen."""

    delay: int | None = None
    gain: float = 0.0
    _played: list[float] = attrs.field(factory=lambda: [0.0] * SLOTS)
    _played_at: list[int] = attrs.field(factory=lambda: [-1] * SLOTS)
    _came: list[float] = attrs.field(factory=lambda: [0.0] * SLOTS)
    _came_at: list[int] = attrs.field(factory=lambda: [-1] * SLOTS)
    _last_played: int = -1
    _last_came: int = -1
    _quiet: int = 0
    _noise: float = 0.0
    """How loud the line itself is: what it falls to now and then."""
    foreign_at: float = -math.inf
    """When something last came that was no echo of what was played."""

    def plays(self, level: float, at: float) -> None:
        """A frame of that loudness is heard by the caller at `at`."""
        slot = self._last_played = _slot_after(self._last_played, at)
        self._played[slot % SLOTS], self._played_at[slot % SLOTS] = level, slot

    def rests(self) -> None:
        """A frame that came is left out."""
        self._last_came = -1

    def comes(self, level: float, at: float, *, agent_heard: bool, voice: bool) -> None:
        """A frame of that loudness came from the caller; whether the agent is heard, and whether it may be a voice."""
        slot = self._last_came = _slot_after(self._last_came, at)
        self._came[slot % SLOTS], self._came_at[slot % SLOTS] = level, slot
        self._noise = min(level, self._noise + NOISE_UP)
        if self._quiet < QUIET_LINE and agent_heard:
            quiet = not voice and level <= max(QUIET, NOISE_TIMES * self._noise)
            self._quiet = self._quiet + 1 if quiet else 0
        if not self.explains(level):
            self.foreign_at = at

    @property
    def settled(self) -> bool:
        """Whether it is known what the line does: its echo, or that it has none."""
        return self.delay is not None or self._quiet >= QUIET_LINE

    def explains(self, level: float) -> bool:
        """Whether the frame that came last, of that loudness, is no louder than the echo of what was played."""
        if self.delay is None:
            return level <= MARGIN
        slot = self._last_came - self.delay
        loudest = max(self._of(self._played, self._played_at, slot + near) for near in (-2, -1, 0, 1, 2))
        return level <= self.gain * loudest * MARGIN_TIMES + MARGIN

    def compare(self, seconds: float) -> bool:
        """Whether what came in the last `seconds` is an echo; if it is, the delay and the gain are known."""
        size = min(max(round(seconds / SLOT), WINDOW_LEAST), WINDOW_MOST)
        came = self._window(self._came, self._came_at, self._last_came + 1, size)
        if not _sounds(came):
            return False
        share = (size - WINDOW_LEAST) / (WINDOW_MOST - WINDOW_LEAST)
        found = False
        best = ALIKE_LEAST + (ALIKE_MOST - ALIKE_LEAST) * share
        for delay in range(DELAY_LEAST, DELAY_MOST + 1):
            played = self._window(self._played, self._played_at, self._last_came + 1 - delay, size)
            if _sounds(played) and (alike := _correlation(came, played)) >= best:
                best, self.delay, self.gain = alike, delay, _ratio(came, played)
                found = True
        return found

    def sounds(self) -> int:
        """In how many of the slots of the shortest window something came."""
        came = self._window(self._came, self._came_at, self._last_came + 1, WINDOW_LEAST)
        return sum(level > QUIET for level in came)

    def is_louder(self) -> bool:
        """Whether what came of late is the echo that is known, only louder; if it is, it is known as that."""
        assert self.delay is not None
        came = self._window(self._came, self._came_at, self._last_came + 1, WINDOW_LEAST)
        for delay in (self.delay - 1, self.delay, self.delay + 1):
            played = self._window(self._played, self._played_at, self._last_came + 1 - delay, WINDOW_LEAST)
            if _correlation(came, played) >= ALIKE_AGAIN:
                self.delay, self.gain = delay, max(self.gain, _ratio(came, played))
                return True
        return False

    def _window(self, levels: list[float], slots: list[int], end: int, size: int) -> list[float]:
        return [self._of(levels, slots, slot) for slot in range(end - size, end)]

    @staticmethod
    def _of(levels: list[float], slots: list[int], slot: int) -> float:
        return levels[slot % SLOTS] if slots[slot % SLOTS] == slot else 0.0


def _sounds(levels: list[float]) -> bool:
    """Whether there is enough to compare: all beginnings are alike."""
    return sum(level > QUIET for level in levels) >= SOUNDS_LEAST


def _slot_after(last: int, at: float) -> int:
    """The slot of a frame at `at`: the one after the last. On a network frames are late, and then come all at once; only what is
    off by more than that is a new beginning."""
    exact = at / SLOT
    return last + 1 if last >= 0 and abs(exact - last - 1) < JITTER else round(exact)


def _correlation(one: list[float], other: list[float]) -> float:
    """Of -1 to 1; 0 if one of them does not vary."""
    mean_one, mean_other = sum(one) / len(one), sum(other) / len(other)
    a, b = [x - mean_one for x in one], [x - mean_other for x in other]
    norm = math.sqrt(sum(x * x for x in a) * sum(x * x for x in b))
    return sum(x * y for x, y in zip(a, b, strict=True)) / norm if norm > 1e-9 else 0.0


def _ratio(came: list[float], played: list[float]) -> float:
    energy = sum(x * x for x in played)
    return sum(x * y for x, y in zip(came, played, strict=True)) / energy if energy else 0.0
