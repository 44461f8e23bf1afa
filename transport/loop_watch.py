"""The loop watch: how long the event loop keeps everybody waiting, and who held it when that was too long.

Everything in a process shares one loop, so whoever computes for 100 ms is heard in every call. Two questions are answered:
how long something that happens now would wait (`lag`, for admission), and which line of code was running when one step of one
task lasted too long (a log line with its stack).

Trio tells an instrument when a pass of the loop begins and ends; a pass runs each task that is ready for one step. That costs
two calls a pass. A timer signal looks every few milliseconds where the pass is: in the same task as before, in the same pass,
is in the same step. (Not with a hook of each step: that would cost more than all the rest of the watch.)
"""

import collections
import contextlib
import faulthandler
import math
import signal
import statistics
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from types import FrameType

import structlog
import trio

BUCKET = 0.5
BUCKETS = 8
"""The lag is the median of the longest passes of so many stretches of so many seconds: a single hiccup is no overload."""
LOOKS = 4
"""Looks of the timer in the time after which a step is too long: it is noticed a quarter later at the latest."""
HANGS = 10.0
"""Seconds after which a step is held for one that never ends: the stacks are written at once."""
STACK_AT_MOST = 40
"""Lines of a stack that are logged, the innermost."""

log = structlog.get_logger("triode.loop")


class LoopWatch(trio.abc.Instrument):
    """Watches the loop it is run in. `held_ms`: a step of a task that lasts longer is logged with its stack; 0: none is."""

    def __init__(self, held_ms: float = 0) -> None:
        self._held_for = held_ms / 1000
        self._held: Callable[[], object] = lambda: None
        self._clock = time.perf_counter
        self._pass = 0
        self._began = math.inf
        """When the pass began that is being made; infinity: the loop waits for something to happen."""
        self._longest = 0.0
        """The longest pass of the present stretch, in seconds; below when that ends, and those of the stretches before."""
        self._ends = 0.0
        self._before = collections.deque[float](maxlen=BUCKETS)
        self._step: tuple[int, object] = (0, None)
        self._step_seen = 0.0
        self._caught = ""
        """The stack of the step that is too long, until its pass is over."""

    def lag(self) -> float:
        """Seconds that something that happens now may have to wait for its turn."""
        self._turn_over(self._clock(), 0.0)
        return statistics.median([*self._before, *[0.0] * (BUCKETS - len(self._before))])

    @contextlib.contextmanager
    def watching(self, held: Callable[[], object]) -> Iterator[None]:
        """Watches as long as the block lasts; in the main thread, where signals are, the stacks too. `held` is told of each."""
        self._held = held
        trio.lowlevel.add_instrument(self)
        timed = self._held_for > 0 and threading.current_thread() is threading.main_thread()
        before = signal.signal(signal.SIGALRM, self._look) if timed else None
        if timed:
            signal.setitimer(signal.ITIMER_REAL, self._held_for / LOOKS, self._held_for / LOOKS)
        try:
            yield
        finally:
            if timed:
                signal.setitimer(signal.ITIMER_REAL, 0)
                signal.signal(signal.SIGALRM, before)
            trio.lowlevel.remove_instrument(self)

    # ------------------------------------------------------------ told by trio

    def after_io_wait(self, timeout: float) -> None:
        """See `trio.abc.Instrument`: a pass begins."""
        self._pass += 1
        self._began = self._clock()

    def before_io_wait(self, timeout: float) -> None:
        """See `trio.abc.Instrument`: a pass is over."""
        now = self._clock()
        lasted = now - self._began
        self._began = math.inf
        if self._caught:
            stack, self._caught = self._caught, ""
            self._held()
            log.warning("loop_held", ms=round(lasted * 1000), stack=stack)
        if now >= self._ends:
            self._turn_over(now, lasted)
        if lasted > self._longest:
            self._longest = lasted

    def _turn_over(self, now: float, lasted: float) -> None:
        """Closes the stretches that are over; a pass that fills several counts in each, and a loop that waits does not lag."""
        while now >= self._ends:
            if now - self._ends > BUCKET * BUCKETS:
                self._ends = now - BUCKET * BUCKETS
            self._before.append(max(self._longest, lasted if lasted >= now - self._ends else 0.0))
            self._longest, self._ends = 0.0, self._ends + BUCKET

    # ------------------------------------------------------------ told by the timer

    def _look(self, _: int, frame: FrameType | None) -> None:
        """Where is the loop? Nothing is logged in here: it may be in the middle of writing a line."""
        now = self._clock()
        try:
            step = (self._pass, trio.lowlevel.current_task())
        except RuntimeError:  # between two tasks
            return
        if self._began == math.inf or step != self._step:
            self._step, self._step_seen = step, now
            return
        lasted = now - self._step_seen
        if lasted >= self._held_for and not self._caught:
            lines = "".join(traceback.format_stack(frame)).splitlines()[-STACK_AT_MOST:]
            self._caught = "\n".join(lines)
        if lasted >= HANGS:
            self._step_seen = math.inf  # once
            faulthandler.dump_traceback(sys.stderr)
