"""The heard ledger: which audio of which item the caller has heard, to the millisecond, with a stated error bound.

Pure: it is told what went onto the wire and when, which marks came back and when, and it answers. It owns no clock.

The carrier plays what it gets in order, at 8000 bytes a second, and starts when the first bytes arrive. Let every message
take between d and d + J seconds to get there. The clock model here (as if d were 0) ends playback of everything sent at
`busy_until`; the carrier ends it between d and d + J later. A clear sent at t takes effect between t + d and
t + d + J. So what the model holds for played at t differs from what was played when the clear took effect by at
most J, underruns included: constant delay cancels out.

Marks measure what J cannot be known to be. A mark's lag is the time between the moment the model holds its position for
played and the moment its echo is read. The smallest lag seen is the round trip. If *every* one of the last few echoes lags
more than that, playback itself is late (a jitter buffer, an underrun far away), and the estimate is moved by as much; a
single late echo says nothing about playback and moves nothing. The spread of the lags is the stated error bound, from the
round trip to the slowest of late: if the last echoes were held up on their way back, playback was not late at all.

A mark that comes back because of a clear proves nothing: its name carries the generation, and a clear begins a new one.
"""

import math
from collections import deque

import attrs

from actors.messages import BYTES_PER_MS, Cleared

BYTES_PER_SECOND = BYTES_PER_MS * 1000
FRAME_MS = 20
"""The carrier plays in frames of this length: no bound is smaller."""
TINY = 1e-6
"""Bytes that are none: what is left of one was not played."""
LAGS_KEPT = 3
"""Echoes that must agree before playback is held for late."""
TOGETHER = 0.01
"""Seconds: echoes that come so close together were held up together, and are one witness, of whom the fastest is believed."""
SPREAD_KEPT = 16
"""Echoes of which the slowest counts for the stated bound."""


@attrs.define
class _Span:
    """A run of bytes of one item in the carrier's queue; `start` and `end` count the bytes of this generation."""

    item: str
    start: int
    end: int


@attrs.frozen
class _Pending:
    """A mark on its way: its number, the queue position it stands at, when the model holds that for played."""

    number: int
    position: int
    due: float


@attrs.define
class HeardLedger:
    """The book of one call. All positions are bytes since the last clear; all times are seconds of one clock."""

    generation: int = 0
    _sent: int = 0
    _busy_until: float = float("-inf")
    _spans: deque[_Span] = attrs.field(factory=deque[_Span])
    _marks: dict[str, _Pending] = attrs.field(factory=dict[str, _Pending])
    _confirmed: int = 0
    _round_trip: float = float("inf")
    _last_echo: float = float("-inf")
    _lags: deque[float] = attrs.field(factory=lambda: deque[float](maxlen=LAGS_KEPT))
    _spread: deque[float] = attrs.field(factory=lambda: deque[float](maxlen=SPREAD_KEPT))

    # ------------------------------------------------------------ what happened

    def sent(self, item: str, size: int, now: float) -> None:
        """`size` bytes of `item` went onto the wire at `now`."""
        if now >= self._busy_until:
            self._busy_until = now
        self._busy_until += size / BYTES_PER_SECOND
        if self._spans and self._spans[-1].item == item:
            self._spans[-1].end += size
        else:
            self._spans.append(_Span(item, self._sent, self._sent + size))
        self._sent += size

    def marked(self, number: int, now: float) -> str:
        """Mark `number` goes onto the wire at `now`, behind everything sent so far; the name it goes by there."""
        name = f"g{self.generation}.{number}"
        self._marks[name] = _Pending(number, self._sent, max(self._busy_until, now))
        return name

    def echoed(self, name: str, now: float) -> int | None:
        """Mark `name` came back at `now`: its number, or None if it proves nothing (unknown, double, older generation)."""
        pending = self._marks.pop(name, None)
        if pending is None:
            return None
        lag = now - pending.due
        self._round_trip = min(self._round_trip, lag)
        if self._lags and now - self._last_echo < TOGETHER:
            self._lags[-1] = min(self._lags[-1], lag)
        else:
            self._lags.append(lag)
        self._last_echo = now
        self._spread.append(lag)
        self._confirmed = max(self._confirmed, pending.position)
        return pending.number

    def forget(self) -> None:
        """Everything so far is heard and accounted for: keep no more of it."""
        self._spans.clear()

    def cleared(self, now: float) -> Cleared:
        """A clear went onto the wire at `now`: what had been heard by then. A new generation begins."""
        result = Cleared(now, self.heard(now), self.bound_ms())
        self.generation += 1
        self._sent = self._confirmed = 0
        self._busy_until = float("-inf")
        self._spans.clear()
        self._marks.clear()
        self._lags.clear()
        return result

    # ------------------------------------------------------------ what is known

    def played(self, now: float) -> int:
        """Bytes of this generation held for played at `now`; never less than marks confirm, never more than was sent."""
        remaining = (self._busy_until + self._late() - now) * BYTES_PER_SECOND
        by_clock = self._sent - max(0, math.ceil(remaining - TINY)) if remaining > 0 else self._sent
        return min(self._sent, max(self._confirmed, by_clock))

    def heard(self, now: float) -> tuple[tuple[str, int, int], ...]:
        """(item, bytes sent, bytes heard) of each run of audio since the last clear or `forget`, in order."""
        played = self.played(now)
        return tuple(
            (span.item, span.end - span.start, min(span.end, max(span.start, played)) - span.start)
            for span in self._spans
        )

    def bound_ms(self) -> int:
        """How far off `heard` may be, ms: one frame plus how much later than the fastest of all the slowest recent echo was."""
        spread = max(self._spread) - self._round_trip if self._spread else 0.0
        return FRAME_MS + round(spread * 1000)

    def _late(self) -> float:
        """How much later than the model playback runs, in seconds: what the last few echoes agree on."""
        if len(self._lags) < LAGS_KEPT:
            return 0.0
        return max(0.0, min(self._lags) - self._round_trip)
