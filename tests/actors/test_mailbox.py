"""Mailboxes: order, bounds, the three policies, the counters, and that a cancelled reader takes nothing."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors.mailbox import Mailbox, MailboxFull, WhenFull


async def test_messages_come_out_in_the_order_they_went_in() -> None:
    box: Mailbox[int] = Mailbox("box", 3, WhenFull.FATAL)
    for number in range(3):
        box.post(number)
    assert [await box.receive() for _ in range(3)] == [0, 1, 2]


async def test_a_full_fatal_mailbox_raises_and_keeps_what_it_holds() -> None:
    box: Mailbox[int] = Mailbox("flow", 2, WhenFull.FATAL)
    box.post(1)
    box.post(2)
    with pytest.raises(MailboxFull, match="flow holds 2"):
        box.post(3)
    assert box.take_all() == [1, 2]


async def test_a_full_waiting_mailbox_refuses_post_and_lets_send_wait(autojump_clock: trio.testing.MockClock) -> None:
    box: Mailbox[int] = Mailbox("out", 1, WhenFull.WAIT)
    box.post(1)
    with pytest.raises(MailboxFull):
        box.post(2)
    with trio.move_on_after(5) as scope:
        await box.send(2)
    assert scope.cancelled_caught
    assert box.take_all() == [1]  # cancelled while waiting it has sent nothing


async def test_a_full_mailbox_that_drops_keeps_the_newest_and_counts() -> None:
    box: Mailbox[int] = Mailbox("audio", 3, WhenFull.DROP_OLDEST)
    for number in range(10):
        box.post(number)
    stats = box.stats()
    assert box.take_all() == [7, 8, 9]
    assert (stats.taken_in, stats.dropped, stats.peak) == (10, 7, 3)
    assert (stats.name, stats.capacity, stats.policy) == ("audio", 3, "drop oldest")


async def test_a_sender_waits_until_there_is_room() -> None:
    box: Mailbox[int] = Mailbox("out", 1, WhenFull.WAIT)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            await box.send(1)
            nursery.start_soon(box.send, 2)
            await wait_all_tasks_blocked()
            assert await box.receive() == 1
            assert await box.receive() == 2


async def test_replacing_throws_out_what_waits_and_whoever_waits_to_send() -> None:
    box: Mailbox[int] = Mailbox("out", 2, WhenFull.WAIT)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            await box.send(1)
            await box.send(2)
            nursery.start_soon(box.send, 3)
            await wait_all_tasks_blocked()
            assert box.replace_all(9) == 3
            assert box.take_all() == [9]


async def test_taking_all_of_nothing_is_nothing() -> None:
    box: Mailbox[int] = Mailbox("box", 2, WhenFull.FATAL)
    assert box.take_all() == []


async def test_a_cancelled_reader_has_taken_nothing() -> None:
    box: Mailbox[int] = Mailbox("box", 2, WhenFull.FATAL)
    with trio.CancelScope() as scope:
        box.post(1)
        scope.cancel()
        await box.receive()
    assert scope.cancelled_caught
    assert await box.receive() == 1


async def test_the_peak_is_the_most_that_ever_waited() -> None:
    box: Mailbox[int] = Mailbox("box", 5, WhenFull.FATAL)
    for number in range(4):
        box.post(number)
    box.take_all()
    box.post(4)
    assert await box.receive() == 4
    box.post(5)
    assert (box.stats().peak, box.stats().taken_in, box.stats().dropped) == (4, 6, 0)


async def test_a_mailbox_never_says_that_it_held_more_than_it_can(autojump_clock: trio.testing.MockClock) -> None:
    box: Mailbox[int] = Mailbox("out", 2, WhenFull.WAIT)

    async def write() -> None:
        for number in range(100):
            await box.send(number)

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            await wait_all_tasks_blocked()
            assert [await box.receive() for _ in range(100)] == list(range(100))
    assert box.stats().peak == 2


async def test_what_is_offered_is_in_at_once_if_there_is_room() -> None:
    box: Mailbox[int] = Mailbox("out", 2, WhenFull.WAIT)
    assert [box.offer(number) for number in range(4)] == [True, True, False, False]
    stats = box.stats()
    assert (stats.taken_in, stats.dropped, stats.peak) == (2, 0, 2)
    assert await box.receive() == 0
    assert box.offer(4)
    assert box.take_all() == [1, 4]


async def test_what_is_offered_wakes_the_reader() -> None:
    box: Mailbox[int] = Mailbox("out", 2, WhenFull.WAIT)
    got: list[int] = []

    async def read() -> None:
        got.append(await box.receive())

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await wait_all_tasks_blocked()
            assert box.offer(1)
    assert got == [1]


async def test_it_holds_what_was_put_in_until_it_is_given_out() -> None:
    box: Mailbox[int] = Mailbox("box", 3, WhenFull.FATAL)
    assert box.holds == 0
    box.post(1)
    box.post(2)
    assert box.holds == 2
    box.take_all()
    seen: set[tuple[int, int]] = set()
    given_out = 0

    async def look() -> None:
        while True:
            seen.add((given_out, box.holds))
            await trio.lowlevel.checkpoint()

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(look)
            for given_out in range(20):  # others get their turn before each or after it, as it happens
                box.post(given_out)
                box.post(-1)
                seen.add((given_out, 2))
                assert await box.receive() == given_out
                box.take_all()
            nursery.cancel_scope.cancel()
    assert seen == {(number, 2) for number in range(20)}


async def test_a_reader_whose_message_was_taken_by_another_waits_on() -> None:
    box: Mailbox[int] = Mailbox("box", 3, WhenFull.FATAL)
    taken: list[int] = []

    async def take() -> None:
        taken.extend(box.take_all())
        await wait_all_tasks_blocked()
        box.post(2)

    with trio.fail_after(5):
        for _ in range(20):  # either may be first
            box.post(1)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(take)
                taken.append(await box.receive())
            assert sorted([*taken, *box.take_all()]) == [1, 2]
            taken.clear()
