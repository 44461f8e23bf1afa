"""TwilioOut: the only writer. Order, the ledger's stamps, clears, and a socket that breaks or blocks."""

import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.ledger import HeardLedger
from actors.mailbox import Mailbox, WhenFull
from actors.messages import Clear, Cleared, Frame, HungUp, Mark
from actors.twilio_out import QUEUE, TwilioOut
from tests.kit.calls import a_notebook
from tests.kit.carrier import FakeCarrier


class Writer:
    """TwilioOut, running, with its two readers."""

    def __init__(self, nursery: trio.Nursery, carrier: FakeCarrier) -> None:
        self.ledger = HeardLedger()
        self.notebook = a_notebook()
        self.actor = TwilioOut(carrier, self.ledger, self.notebook)
        self.cleared: Mailbox[Cleared] = Mailbox("cleared", 10, WhenFull.FATAL)
        self.hung_up: Mailbox[HungUp] = Mailbox("hung_up", 10, WhenFull.FATAL)
        self.ended = trio.Event()
        nursery.start_soon(self._run)

    async def _run(self) -> None:
        with trio.fail_after(1000):
            await self.actor.run(self.cleared, self.hung_up)
        self.ended.set()


async def test_frames_and_marks_are_written_in_order(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    carrier = FakeCarrier()
    writer = Writer(nursery, carrier)
    for number in range(8):
        await writer.actor.inbox.send(Frame("a", bytes([number]) * 160))
        await writer.actor.inbox.send(Mark(number))
    await wait_all_tasks_blocked()
    kinds = [(kind, content) for _, kind, content in carrier.wire]
    assert kinds == [each for n in range(8) for each in (("frame", bytes([n]) * 160), ("mark", f"g0.{n}"))]
    assert writer.notebook.record.frames_out == 8
    assert writer.ledger.heard(trio.current_time() + 10) == (("a", 1280, 1280),)


async def test_a_turn_begins_with_its_first_frame_on_the_wire(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    writer = Writer(nursery, FakeCarrier())
    await trio.sleep(2)
    for item in ("a", "a", "b"):
        await writer.actor.inbox.send(Frame(item, b"x" * 160))
    await wait_all_tasks_blocked()
    assert [(turn.item, turn.began) for turn in writer.notebook.record.turns] == [("a", 2.0), ("b", 2.0)]


async def test_what_was_heard_is_cut_when_the_clear_goes_out(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    carrier = FakeCarrier()
    writer = Writer(nursery, carrier)
    await writer.actor.inbox.send(Frame("a", b"x" * 8000))
    await trio.sleep(0.25)
    await writer.actor.inbox.send(Clear())
    await wait_all_tasks_blocked()
    (report,) = writer.cleared.take_all()
    assert report.heard == (("a", 8000, 2000),)
    assert report.at == trio.current_time()
    assert carrier.queue.clears[0].played == 2000


async def test_a_frame_is_stamped_before_a_slow_write_and_a_clear_told_after_it(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    carrier = FakeCarrier()
    writer = Writer(nursery, carrier)
    carrier.block()
    await writer.actor.inbox.send(Frame("a", b"x" * 8000))
    await writer.actor.inbox.send(Clear())
    await trio.sleep(0.5)
    assert writer.ledger.heard(trio.current_time()) == (("a", 8000, 4000),)
    assert writer.cleared.take_all() == []
    carrier.unblock()
    await trio.lowlevel.checkpoint()
    await wait_all_tasks_blocked()
    assert len(writer.cleared.take_all()) == 1


async def test_a_blocked_socket_is_the_brake_and_a_clear_overtakes_what_waits(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    carrier = FakeCarrier()
    writer = Writer(nursery, carrier)
    carrier.block()
    for number in range(QUEUE + 1):  # one is being written, the others wait
        await writer.actor.inbox.send(Frame("a", bytes([number]) * 160))
        await wait_all_tasks_blocked()
    with trio.move_on_after(5) as scope:
        await writer.actor.inbox.send(Frame("a", b"z" * 160))
    assert scope.cancelled_caught
    assert writer.actor.inbox.replace_all(Clear()) == QUEUE
    carrier.unblock()
    await wait_all_tasks_blocked()
    assert [(kind, content) for _, kind, content in carrier.wire] == [("frame", bytes([0]) * 160), ("clear", None)]


async def test_marks_after_a_clear_are_of_a_new_generation(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    carrier = FakeCarrier()
    writer = Writer(nursery, carrier)
    for message in (Mark(1), Clear(), Mark(2)):
        await writer.actor.inbox.send(message)
    await wait_all_tasks_blocked()
    assert [content for _, content in carrier.sent("mark")] == ["g0.1", "g1.2"]


@pytest.mark.parametrize("message", [Frame("a", b"x"), Mark(1), Clear()])
async def test_a_broken_connection_hangs_up_and_ends_the_writer(
    message: Frame | Mark | Clear, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    carrier = FakeCarrier()
    writer = Writer(nursery, carrier)
    carrier.lose("reset")
    await writer.actor.inbox.send(message)
    with trio.fail_after(5):
        await writer.ended.wait()
    assert writer.hung_up.take_all() == [HungUp("writing to the media stream failed: reset", lost=True)]
    assert writer.cleared.take_all() == []
