"""The line's echo: whether what comes from the caller is the agent's own voice coming back. Pure, told the time.

A telephone on a table sends back what it plays, later and softer. We know what was played and when, so its loudness over time is
compared with that of what comes in: at the line's real delay the two rise and fall together. The delay is learned from the
first stretch that does, usually in the greeting; from then on a frame that is no louder than its echo would be is no caller.
"""

import math
from array import array
from itertools import accumulate
from operator import mul

import attrs

SLOT = 0.02
"""Seconds: the grain of both histories, a frame. Loudness is the `envelope` here."""
SLOTS = 250
"""Length of the histories: the longest delay, a window, and two seconds that are known before they are played."""
DELAY_LEAST, DELAY_MOST = 5, 77
"""Slots between playing and coming back: 100 to 1500 ms, and two more, as a frame comes when it is over, and of rounding."""
WINDOW_LEAST, WINDOW_MOST = 40, 60
"""Slots that are compared. In less than 0.8 s any two people who speak are alike at one delay or another."""
SOUNDS_LEAST = 20
"""Slots of a window in which something must be heard."""
DOUBTS_LEAST = 6
"""The same where a likeness only makes doubt: an agent that interrupts itself says hardly a syllable."""
ALIKE_LEAST, ALIKE_MOST = 0.88, 0.80
"""Correlation of the two loudnesses from which on what comes in is an echo, in the shortest window and in the longest."""
ALIKE_AGAIN = 0.93
"""The same at the delay that is known: a line that has become louder, and no caller who speaks besides."""
JITTER = 25
"""Slots by which frames that come may be late or early and still follow each other: half a second. Those that are played are
where they are: after a pause of the agent's what follows is later."""
QUIET_LINE = 92
"""Slots in which the agent was heard and nothing came back, after which the line has no echo: the longest delay and a soft
beginning."""
QUIET, NOISE_TIMES, NOISE_UP = 8.0, 1.5, 0.1
"""What is softer is no echo that anybody hears; nor is what is hardly louder than the line itself, which is followed slowly."""
MARGIN_TIMES, MARGIN = 1.35, 3.0
"""How much louder than expected an echo may be, times and on top."""
UNLIKE_LEAST, UNLIKE_EVERY = 10, 3
"""Slots after which a voice on an unknown line may be known to be no echo, and after which it is looked again."""
UNLIKE, UNLIKE_BEFORE = 0.6, 3
"""Correlation below which two loudnesses are not alike even in so short a time, with so many slots of what was before."""
UNLIKE_AT_END = 0.55
"""The same if the voice has ended: a room rings on where what was played has ended."""
WOULD_COME, CONTRADICTS = 0.7, 3
"""An echo at that delay would have brought this share of what it brings now, earlier; in so many slots nothing like it came."""
LEAST = 1e-6
"""What the rounding of sums leaves over of a loudness that does not vary."""


def _nothing() -> "array[float]":
    return array("d", bytes(8 * SLOTS))


@attrs.define
class _History:
    """Loudness by slot, the last `SLOTS` of them; 0 where nothing is known. `jitter`: slots by which a frame may be off."""

    jitter: int = 1
    last: int = -1
    """The slot of the frame that was put in last; -1: whatever comes next is a new beginning."""
    _newest: int = -1
    _levels: "array[float]" = attrs.field(factory=_nothing)

    def put(self, level: float, at: float) -> None:
        """A frame of that loudness, at `at`. On a network frames are late, and then come all at once: they follow each other;
        only what is off by more than that is a new beginning."""
        exact, slot = at / SLOT, self.last + 1
        if slot <= 0 or not -self.jitter < exact - slot < self.jitter:
            slot = round(exact)
        if slot == self._newest + 1:
            self._newest = slot
        else:
            self._jump_to(slot)
        self.last = slot
        self._levels[slot % SLOTS] = level

    def skip(self, slots: int) -> None:
        """So many frames never came: what follows is later by as much."""
        if self.last >= 0:
            self.last += slots

    def _jump_to(self, slot: int) -> None:
        if slot > self._newest:
            for missing in range(max(self._newest + 1, slot - SLOTS + 1), slot):
                self._levels[missing % SLOTS] = 0.0
            self._newest = slot
        elif slot <= self._newest - SLOTS:
            self._levels, self._newest = _nothing(), slot

    def window(self, end: int, size: int) -> list[float]:
        """The loudness in the `size` slots before `end`."""
        first, oldest, newest = end - size, max(self._newest - SLOTS + 1, 0), self._newest
        if first >= oldest and end <= newest + 1:
            begin = first % SLOTS
            levels = self._levels[begin : begin + size].tolist()
            return levels + self._levels[: size - len(levels)].tolist() if len(levels) < size else levels
        return [self._levels[slot % SLOTS] if oldest <= slot <= newest else 0.0 for slot in range(first, end)]


@attrs.define
class Echo:
    """One line. `delay` in slots and `gain` (what comes back for what was played) are known once an echo was seen."""

    delay: int | None = None
    gain: float = 0.0
    _played: _History = attrs.field(factory=_History)
    _came: _History = attrs.field(factory=lambda: _History(JITTER))
    _quiet: int = 0
    loudest: float = 0.0
    """What came of late at most while nothing came back."""
    _noise: float = math.inf
    """How loud the line itself is: what it falls to now and then."""
    _alike_at: int | None = None
    """At which delay the last voice that began on a quiet line was like what was played; None if it was not."""
    foreign_at: float = -math.inf
    """When something last came that was no echo of what was played."""
    _in_a_row: int = 0
    """Slots that came without a gap while the agent was heard, until now."""

    def plays(self, level: float, at: float) -> None:
        """A frame of that loudness is heard by the caller at `at`."""
        self._played.put(level, at)

    def rests(self, level: float) -> None:
        """A frame that came is left out: the agent was silent, and what it says next comes back no sooner than its delay. It has
        its place all the same: if the next one is late, as the first of a reply may be, it is known by how much."""
        self._came.skip(1)
        self._in_a_row = 0
        self._noise = min(level, self._noise + NOISE_UP)
        if not self.settled:
            self._quiet, self.loudest = 0, 0.0

    def misses(self, seconds: float) -> None:
        """So much never came."""
        self._came.skip(round(seconds / SLOT))
        self._in_a_row = 0

    def comes(self, level: float, at: float, *, agent_heard: bool, voice: bool) -> None:
        """A frame of that loudness came from the caller; whether the agent is heard, and whether it may be a voice."""
        before = self._came.last
        self._came.put(level, at)
        self._in_a_row = min(self._in_a_row + 1, SLOTS) if self._came.last == before + 1 else 1
        self._noise = min(level, self._noise + NOISE_UP)
        if self._quiet < QUIET_LINE and agent_heard:
            quiet = not voice and level <= self._hush
            self._quiet = self._quiet + 1 if quiet else 0
            self.loudest = max(self.loudest, level) if quiet else 0.0
        if level > MARGIN and not self.explains(level):
            self.foreign_at = at

    @property
    def settled(self) -> bool:
        """Whether it is known what the line does: its echo, or that it has none."""
        return self.delay is not None or self._quiet >= QUIET_LINE

    def explains(self, level: float) -> bool:
        """Whether the frame that came last, of that loudness, is no louder than the echo of what was played."""
        if self.delay is None or level <= MARGIN:
            return level <= MARGIN
        loudest = max(self._played.window(self._came.last - self.delay + 3, 5))
        return level <= self.gain * loudest * MARGIN_TIMES + MARGIN

    def compare(self, seconds: float) -> bool:
        """Whether what came in the last `seconds` is an echo; if it is, the delay and the gain are known."""
        size = min(max(round(seconds / SLOT), WINDOW_LEAST), WINDOW_MOST)
        end = self._came.last + 1
        came = self._came.window(end, size)
        if sum(level > QUIET for level in came) < SOUNDS_LEAST:
            return False
        share = (size - WINDOW_LEAST) / (WINDOW_MOST - WINDOW_LEAST)
        least = ALIKE_LEAST + (ALIKE_MOST - ALIKE_LEAST) * share
        best, lag = _most_alike(came, self._played.window(end - DELAY_LEAST, size + DELAY_MOST - DELAY_LEAST))
        if best < least:
            return False
        self.delay = DELAY_LEAST + lag
        self.gain = _ratio(came, self._played.window(end - self.delay, size))
        return True

    def denies(self, seconds: float, unlike: float = UNLIKE) -> bool:
        """Whether the voice that began so long ago, on a line of which nothing is known, can be no echo: whatever the delay, it
        is not like what was played, or that delay would have brought something of what was played before."""
        voice = round(seconds / SLOT)
        size, known = voice + UNLIKE_BEFORE, min(self._in_a_row, SLOTS - DELAY_MOST)
        if voice < UNLIKE_LEAST or (voice - UNLIKE_LEAST) % UNLIKE_EVERY or known <= size:
            return False
        end = self._came.last + 1
        came, played = self._came.window(end, known), self._played.window(end - DELAY_LEAST, known + DELAY_MOST)
        for last in range(known + DELAY_LEAST, len(played) + 1):
            earlier = played[last - known : last]
            if _alike(came[-size:], earlier[-size:]) < unlike:
                continue
            gain = WOULD_COME * _ratio(came[-size:], earlier[-size:])
            missing = sum(gain * loud > there + QUIET for there, loud in zip(came[:-size], earlier, strict=False))
            if missing < CONTRADICTS:
                return False
        return True

    def sounds(self) -> int:
        """In how many of the slots of the shortest window something came that is louder than the line itself."""
        return sum(level > self._hush for level in self._came.window(self._came.last + 1, WINDOW_LEAST))

    @property
    def _hush(self) -> float:
        """What is softer is the line itself, and nothing that comes back."""
        return max(QUIET, NOISE_TIMES * self._noise)

    def doubt(self, silent_from: float) -> bool:
        """Whether what came of late, on a line that was held for quiet, is so like what was played until `silent_from` that it
        must be found out anew if the line echoes: somebody may have put the telephone on the table. In so short a time two people
        may be alike too, but hardly twice in a row at one delay."""
        alike, lag = _most_alike(*self._lately(silent_from), DOUBTS_LEAST)
        before, self._alike_at = self._alike_at, lag if alike >= ALIKE_LEAST else None
        if before is None or self._alike_at is None or abs(lag - before) > 1:
            return False
        self._quiet, self.loudest = 0, 0.0
        return True

    def is_louder(self) -> bool:
        """Whether what came of late is the echo that is known, only louder, or at another delay: the network holds more back than
        it did, or less. If it is, it is known as that."""
        assert self.delay is not None
        end = self._came.last + 1
        came = self._came.window(end, WINDOW_LEAST)
        for delay in (self.delay - 1, self.delay, self.delay + 1):
            played = self._played.window(end - delay, WINDOW_LEAST)
            if _most_alike(came, played, sounds_least=0)[0] >= ALIKE_AGAIN:
                self.delay, self.gain = delay, max(self.gain, _ratio(came, played))
                return True
        return self.has_moved(math.inf)

    def has_moved(self, silent_from: float) -> bool:
        """Whether what came of late is like what was played until `silent_from`, at whatever delay; if it is, that is known."""
        came, played = self._lately(silent_from)
        alike, lag = _most_alike(came, played)
        if alike < ALIKE_AGAIN:
            return False
        self.delay = DELAY_LEAST + lag
        last = len(played) - lag
        self.gain = max(self.gain, _ratio(came, played[last - WINDOW_LEAST : last]))
        return True

    def _lately(self, silent_from: float) -> tuple[list[float], list[float]]:
        """What came in the shortest window, and all that was played which it may be like: until `silent_from`."""
        end, size = self._came.last + 1, WINDOW_LEAST + DELAY_MOST - DELAY_LEAST
        played = self._played.window(end - DELAY_LEAST, size)
        if silent_from < math.inf:
            heard = min(max(size - (end - DELAY_LEAST) + round(silent_from / SLOT), 0), size)
            played = played[:heard] + [0.0] * (size - heard)
        return self._came.window(end, WINDOW_LEAST), played


def _most_alike(came: list[float], played: list[float], sounds_least: int = SOUNDS_LEAST) -> tuple[float, int]:
    """The best correlation of `came` with a window of `played` of the same size, and by how many slots that ends before the end;
    the first of several. 0 if one of them does not vary. Where less than `sounds_least` was played there is nothing to compare:
    all beginnings are alike.

    The means and the norms of the windows are taken from sums that run along `played`; only the products are left for each.
    """
    size = len(came)
    mean = sum(came) / size
    around = [level - mean for level in came]
    varies = sum(map(mul, around, around))
    if varies <= LEAST:
        return 0.0, 0
    sums = [0.0, *accumulate(played)]
    squares = [0.0, *accumulate(map(mul, played, played))]
    sounds = [0, *accumulate(level > QUIET for level in played)]
    best, lag = 0.0, 0
    for end in range(len(played), size - 1, -1):
        begin = end - size
        if sounds[end] - sounds[begin] < sounds_least:
            continue
        total = sums[end] - sums[begin]
        norm = squares[end] - squares[begin] - total * total / size
        if norm <= LEAST:
            continue
        alike = sum(map(mul, around, played[begin:end])) / math.sqrt(varies * norm)
        if alike > best:
            best, lag = alike, len(played) - end
    return best, lag


def _alike(came: list[float], played: list[float]) -> float:
    """The correlation of two windows of the same size; 0 if one of them does not vary."""
    size = len(came)
    mean, played_mean = sum(came) / size, sum(played) / size
    varies = sum(map(mul, came, came)) - size * mean * mean
    norm = sum(map(mul, played, played)) - size * played_mean * played_mean
    if varies <= LEAST or norm <= LEAST:
        return 0.0
    return (sum(map(mul, came, played)) - size * mean * played_mean) / math.sqrt(varies * norm)


def _ratio(came: list[float], played: list[float]) -> float:
    energy = sum(map(mul, played, played))
    return sum(map(mul, came, played)) / energy if energy else 0.0
