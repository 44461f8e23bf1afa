"""The garbage collector's moments: what is there at the start is left alone, and all is looked through when nobody is up."""

import gc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from transport import garbage
from transport.garbage import CALLS, MIDDLE, NEVER, SETTLES_IN, YOUNG, Garbage

OURS = (321, 7, 5)


@pytest.fixture
def _as_it_was() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(*OURS)
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


@pytest.mark.usefixtures("_as_it_was")
def test_what_is_there_is_left_alone_as_long_as_it_is_held_back():
    with Garbage().held_back():
        assert gc.get_freeze_count() > 1000
        assert gc.get_threshold() == (YOUNG, MIDDLE, NEVER)
    assert gc.get_freeze_count() == 0
    assert gc.get_threshold() == OURS


@pytest.mark.usefixtures("_as_it_was")
def test_it_is_as_it_was_also_when_the_server_ends_with_an_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gc, "collect", lambda: 0)
    with pytest.raises(KeyError), Garbage().held_back():
        raise KeyError
    assert gc.get_freeze_count() == 0
    assert gc.get_threshold() == OURS


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When all objects were looked through."""
    times: list[float] = []
    monkeypatch.setattr(garbage.gc, "collect", lambda: times.append(trio.current_time()) or 0)
    return times


@asynccontextmanager
async def a_collector() -> AsyncIterator[Garbage]:
    collector = Garbage()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(collector.run)
        await wait_all_tasks_blocked()
        yield collector
        nursery.cancel_scope.cancel("the test is over")


async def test_when_the_last_call_is_over_and_has_settled_all_is_looked_through(
    autojump_clock: MockClock, searches: list[float]
):
    async with a_collector() as collector:
        await trio.sleep(1000)
        collector.call_over(2)
        collector.call_over(1)
        await trio.sleep(1000)
        assert searches == []
        collector.call_over(0)
        ended = trio.current_time()
        await trio.sleep(1000)
        assert searches == [ended + SETTLES_IN]
        collector.call_over(0)
        await trio.sleep(1000)
        assert len(searches) == 2


async def test_calls_that_end_together_are_looked_through_together(autojump_clock: MockClock, searches: list[float]):
    async with a_collector() as collector:
        for _ in range(3):
            collector.call_over(0)
            await trio.sleep(SETTLES_IN / 4)
        await trio.sleep(1000)
        assert len(searches) == 1


async def test_while_others_are_up_so_many_calls_must_have_ended(autojump_clock: MockClock, searches: list[float]):
    async with a_collector() as collector:
        for times in range(1, 4):
            for _ in range(CALLS - 1):
                collector.call_over(7)
                await trio.sleep(10)
            assert len(searches) == times - 1
            collector.call_over(7)
            await trio.sleep(10)
            assert len(searches) == times


async def test_a_search_while_nobody_is_up_counts_for_those_that_ended_before(
    autojump_clock: MockClock, searches: list[float]
):
    async with a_collector() as collector:
        for _ in range(CALLS - 1):
            collector.call_over(1)
        collector.call_over(0)
        await trio.sleep(10)
        for _ in range(CALLS - 1):
            collector.call_over(1)
        await trio.sleep(10)
        assert len(searches) == 1


async def test_a_call_that_ended_before_anybody_looked_is_not_forgotten(
    autojump_clock: MockClock, searches: list[float]
):
    collector = Garbage()
    collector.call_over(0)
    with trio.move_on_after(5):
        await collector.run()
    assert len(searches) == 1
