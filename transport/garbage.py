"""Python's garbage collector, kept from stopping every call at once.

Now and then it looks through every object of the process, and a server's are hundreds of thousands: nobody's frame is read or
sent for a tenth of a second. So what is there when the server starts is left out for good, young objects are looked through as
ever, which takes a fraction of a millisecond, and all of them only when it costs little: when no call is up, or after so many
calls that what they left in circles is worth it.
"""

import contextlib
import gc
import time
from collections.abc import Iterator

import structlog
import trio

YOUNG, MIDDLE, NEVER = 5_000, 20, 1_000_000_000
"""New objects after which the young ones are looked through, how many times until those that outlived it are too, and how many
times that until all are (see `gc.set_threshold`)."""
CALLS = 50
"""Calls that have ended, after which all objects are looked through although others are up."""
SETTLES_IN = 1.0
"""Seconds until an ended call has let go of all that it lets go of by itself."""

log = structlog.get_logger("triode.garbage")


class Garbage:
    """When all objects are looked through: `call_over` says that a call has ended, `run` does it."""

    def __init__(self) -> None:
        self._calls = 0
        self._due = trio.Event()

    @contextlib.contextmanager
    def held_back(self) -> Iterator[None]:
        """As long as the block lasts: what is there at its beginning is left alone, and nobody else starts a great search."""
        before = gc.get_threshold()
        gc.collect()
        gc.freeze()
        gc.set_threshold(YOUNG, MIDDLE, NEVER)
        try:
            yield
        finally:
            gc.set_threshold(*before)
            gc.unfreeze()

    def call_over(self, left: int) -> None:
        """A call has ended; `left` are still up."""
        self._calls += 1
        if not left or self._calls >= CALLS:
            self._due.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._due.wait()
            await trio.sleep(SETTLES_IN)
            self._due, self._calls = trio.Event(), 0
            began = time.perf_counter()
            found = gc.collect()
            log.debug("looked_for_garbage", found=found, ms=round((time.perf_counter() - began) * 1000, 1))
