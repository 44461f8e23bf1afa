"""The loop watch: what the loop makes everybody wait, and the stack of whoever holds it. On a clock of the test's own, but for
one test with a real signal."""

import threading
import time

import pytest
import structlog
import trio
import trio.lowlevel

from transport.loop_watch import BUCKET, BUCKETS, LoopWatch


class Clock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def watch_on(clock: Clock) -> LoopWatch:
    watch = LoopWatch()
    watch._clock = clock  # type: ignore[assignment] # a test's own
    watch.before_io_wait(0)
    return watch


def passes(watch: LoopWatch, clock: Clock, lasting: float, waiting: float, seconds: float) -> None:
    """The loop works for `lasting` and waits for `waiting` seconds, again and again."""
    until = clock.now + seconds
    while clock.now < until:
        watch.after_io_wait(0)
        clock.now += lasting
        watch.before_io_wait(0)
        clock.now += waiting


def test_a_loop_that_is_idle_does_not_lag(clock: Clock):
    watch = watch_on(clock)
    passes(watch, clock, 0.001, 0.1, 10)
    assert watch.lag() == pytest.approx(0.001)
    clock.now += 100
    assert watch.lag() == 0


def test_a_single_hiccup_is_no_lag(clock: Clock):
    watch = watch_on(clock)
    passes(watch, clock, 0.001, 0.01, 5)
    passes(watch, clock, 0.9, 0, 0.5)
    passes(watch, clock, 0.001, 0.01, 1)
    assert watch.lag() < 0.01


@pytest.mark.parametrize("lasting", [0.05, 0.3, 1.7, 6.0])
def test_passes_that_are_long_all_the_time_are_a_lag(clock: Clock, lasting: float):
    watch = watch_on(clock)
    passes(watch, clock, lasting, 0.001, 10)
    assert watch.lag() == pytest.approx(lasting)


def test_a_lag_is_over_when_the_loop_has_time_again(clock: Clock):
    watch = watch_on(clock)
    passes(watch, clock, 0.2, 0, 10)
    passes(watch, clock, 0.001, 0.02, BUCKET * (BUCKETS / 2 + 2))
    assert watch.lag() < 0.01


def test_the_watch_ends_with_its_block_and_leaves_no_timer():
    watch = LoopWatch(held_ms=20)

    async def main() -> None:
        with watch.watching(lambda: None):
            await trio.lowlevel.checkpoint()
        before = watch._pass
        await trio.lowlevel.checkpoint()
        assert watch._pass == before

    trio.run(main)
    time.sleep(0.05)  # a timer that is left would end the process


def test_who_holds_the_loop_is_logged_with_the_line_that_does_it_and_nobody_else():
    held: list[int] = []

    def a_blocking_function() -> None:
        until = time.perf_counter() + 0.2
        while time.perf_counter() < until:
            sum(range(100))

    async def many_short_steps() -> None:
        until = time.perf_counter() + 0.2
        while time.perf_counter() < until:
            await trio.lowlevel.checkpoint()

    async def main() -> None:
        with LoopWatch(held_ms=40).watching(lambda: held.append(1)):
            await many_short_steps()
            assert held == []
            a_blocking_function()
            await trio.sleep(0.01)

    with structlog.testing.capture_logs() as lines:
        trio.run(main)
    assert held == [1]
    (line,) = [line for line in lines if line["event"] == "loop_held"]
    assert line["ms"] >= 190
    assert "a_blocking_function" in line["stack"]


def test_outside_the_main_thread_only_the_lag_is_watched():
    watch = LoopWatch(held_ms=20)
    found: list[float] = []

    async def main() -> None:
        with watch.watching(lambda: None):
            await trio.lowlevel.checkpoint()
            found.append(watch.lag())

    thread = threading.Thread(target=trio.run, args=(main,))
    thread.start()
    thread.join(30)
    assert len(found) == 1
