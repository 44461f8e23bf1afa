"""InterruptWatcher: who takes the floor is told on, in order, with the reason."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors.interrupt import QUEUE, InterruptWatcher
from actors.mailbox import MailboxFull
from actors.messages import Floor, FloorTaken, SpeechStarted


@pytest.mark.parametrize(
    ("event", "reason"),
    [(SpeechStarted("u1"), Floor.SPEECH), *((FloorTaken(floor), floor) for floor in Floor)],
)
async def test_whoever_takes_the_floor_makes_the_agent_yield_it_and_the_reason_is_told(
    event: SpeechStarted | FloorTaken, reason: Floor, nursery: trio.Nursery
) -> None:
    watcher, yielded = InterruptWatcher(), list[Floor]()
    nursery.start_soon(watcher.run, yielded.append)
    watcher.inbox.post(event)
    await wait_all_tasks_blocked()
    assert yielded == [reason]


async def test_every_onset_counts_and_the_order_is_kept(nursery: trio.Nursery) -> None:
    watcher, yielded = InterruptWatcher(), list[Floor]()
    watcher.inbox.post(SpeechStarted("u1"))
    watcher.inbox.post(FloorTaken(Floor.MODEL))
    watcher.inbox.post(SpeechStarted("u2"))
    assert yielded == []
    nursery.start_soon(watcher.run, yielded.append)
    await wait_all_tasks_blocked()
    assert yielded == [Floor.SPEECH, Floor.MODEL, Floor.SPEECH]


async def test_a_watcher_that_nobody_runs_is_noticed() -> None:
    watcher = InterruptWatcher()
    for number in range(QUEUE):
        watcher.inbox.post(SpeechStarted(f"u{number}"))
    with pytest.raises(MailboxFull):
        watcher.inbox.post(SpeechStarted("one more"))


async def test_a_watcher_ends_when_it_is_cancelled_and_takes_no_floor_any_more(nursery: trio.Nursery) -> None:
    watcher, yielded = InterruptWatcher(), list[Floor]()
    with trio.fail_after(5):
        async with trio.open_nursery() as inner:
            inner.start_soon(watcher.run, yielded.append)
            await wait_all_tasks_blocked()
            inner.cancel_scope.cancel()
    watcher.inbox.post(SpeechStarted("u1"))
    await wait_all_tasks_blocked()
    assert yielded == []
