"""How long a transcriber takes in this call: from the end of a caller's turn until its words are here. Pure, told the time.

One is twice as slow as another, and slower at noon than at night. Each turn of the caller's tells, also those that nobody
contests; by that it is known how long the words of a contested one are worth waiting for.
"""

from collections import deque

import attrs

from actors.newest import Newest

WAIT_LEAST, WAIT_MOST = 0.7, 1.2
"""Seconds after the end of a turn for which its words are waited for: while nothing is known of the transcriber, and at most."""
SPARE = 1.2
"""Times as long as it took of late."""
LAST = 3
"""Turns of which the slowest counts: a mean would be too short for every other one."""
TURNS_KEPT = 8
"""Turns that are told apart."""


@attrs.define
class WritingTime:
    """Of one call. Times in seconds of the one clock."""

    _over: Newest[float] = attrs.field(factory=lambda: Newest[float](TURNS_KEPT))
    """The turns whose words are not known yet, and when they ended."""
    _written: Newest[None] = attrs.field(factory=lambda: Newest[None](TURNS_KEPT))
    """Those whose words are: a contested one may be told of once more when it is judged."""
    _took: deque[float] = attrs.field(factory=lambda: deque[float](maxlen=LAST))

    def over(self, item: str, now: float) -> None:
        """The turn has ended. The first word of that counts."""
        if item and item not in self._over and item not in self._written:
            self._over.put(item, now)

    def written(self, item: str, text: str, now: float) -> None:
        """All of it is written down. Of a turn without words nothing is learned: writing it down may have failed."""
        ended = self._over.pop(item)
        self._written.put(item, None)
        if ended is not None and text.strip():
            self._took.append(now - ended)

    @property
    def wait(self) -> float:
        """Seconds after the end of a turn for which its words are worth waiting for."""
        return min(max(SPARE * max(self._took, default=0.0), WAIT_LEAST), WAIT_MOST)
