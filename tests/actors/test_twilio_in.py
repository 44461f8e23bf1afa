"""TwilioIn: what the carrier sends reaches who needs it, in order, and a silent line is filled."""

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.mailbox import Mailbox, WhenFull
from actors.messages import CallerAudio, CallerSilence, HungUp, KeyPressed, MarkEchoed
from actors.twilio_in import FILL_AT_MOST, GAP_SECONDS, TwilioIn
from tests.kit.calls import a_notebook
from tests.kit.carrier import FakeCarrier


class Lane(Mailbox[CallerAudio | CallerSilence]):
    """What the caller said, and which of the frames were to be followed by another one at once."""

    def __init__(self, capacity: int = 10_000) -> None:
        super().__init__("audio", capacity, WhenFull.DROP_OLDEST)
        self.followed: list[int] = []

    def post(self, item: CallerAudio | CallerSilence, *, more: bool = False) -> None:
        super().post(item)
        if more and isinstance(item, CallerAudio):
            self.followed.append(item.timestamp_ms)


class Desk:
    """TwilioIn with its three readers."""

    def __init__(self, carrier: FakeCarrier) -> None:
        self.notebook = a_notebook()
        self.actor = TwilioIn(carrier, self.notebook)
        self.audio = Lane()
        self.keys: Mailbox[KeyPressed | HungUp] = Mailbox("keys", 100, WhenFull.FATAL)
        self.marks: Mailbox[MarkEchoed] = Mailbox("marks", 100, WhenFull.FATAL)

    async def run(self) -> None:
        with trio.fail_after(1000):
            await self.actor.run(self.audio, self.keys, self.marks)

    def silence_ms(self) -> int:
        return sum(event.ms for event in self.audio.take_all() if isinstance(event, CallerSilence))


async def test_everything_reaches_its_reader_in_order(autojump_clock: MockClock) -> None:
    carrier = FakeCarrier()
    desk = Desk(carrier)
    for number in range(5):
        carrier.speak(f"p{number}", number * 20)
        carrier.press(str(number))
    await carrier.send_mark("g0.1")
    carrier.hang_up()
    await desk.run()
    assert desk.audio.take_all() == [CallerAudio(f"p{n}", n * 20) for n in range(5)]
    assert desk.keys.take_all() == [*(KeyPressed(str(n)) for n in range(5)), HungUp("the caller hung up")]
    assert desk.notebook.record.keys == "01234"
    assert desk.notebook.record.frames_in == 5
    assert desk.actor.ended.is_set()


async def test_frames_that_came_together_are_handed_on_as_such_and_none_waits_for_what_is_no_audio(
    autojump_clock: MockClock,
) -> None:
    carrier = FakeCarrier()
    desk = Desk(carrier)
    for number in range(3):
        carrier.speak(f"p{number}", number * 20)
    carrier.press("1")
    carrier.speak("p3", 60)
    carrier.hang_up()
    await desk.run()
    assert desk.audio.followed == [0, 20]


async def test_a_mark_is_stamped_with_the_moment_it_was_read(autojump_clock: MockClock) -> None:
    carrier = FakeCarrier(back=lambda: 0.25)
    desk = Desk(carrier)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.run)
        began = trio.current_time()
        await carrier.send_frame(b"x" * 800)
        await carrier.send_mark("g0.1")
        await trio.sleep(1)
        assert desk.marks.take_all() == [MarkEchoed("g0.1", pytest.approx(began + 0.35))]
        carrier.hang_up()


async def test_nobody_is_waited_for(autojump_clock: MockClock) -> None:
    carrier = FakeCarrier(line=True)
    desk = Desk(carrier)
    desk.audio = Lane(3)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.run)
        await trio.sleep(10.01)
        assert desk.notebook.record.frames_in == 500
        assert [event.payload for event in desk.audio.take_all()] == ["caller498", "caller499", "caller500"]
        carrier.hang_up()


# ---------------------------------------------------------------- gaps


async def test_a_line_that_delivers_is_not_filled(autojump_clock: MockClock) -> None:
    carrier = FakeCarrier(line=True)
    desk = Desk(carrier)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.run)
        await trio.sleep(30)
        carrier.line(False)
        await trio.sleep(0.9)
        carrier.line(True)
        await trio.sleep(5)
        assert desk.silence_ms() == 0
        carrier.hang_up()


async def test_a_gap_is_filled_whole_after_a_second_and_kept_filled(autojump_clock: MockClock) -> None:
    carrier = FakeCarrier()
    desk = Desk(carrier)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.run)
        await trio.sleep(0.5)
        carrier.speak("p")
        await trio.sleep(0.99)
        assert desk.audio.take_all() == [CallerAudio("p", 0)]
        await trio.sleep(0.02)
        assert desk.audio.take_all() == [CallerSilence(1000)]
        await trio.sleep(0.5)
        assert desk.audio.take_all() == [CallerSilence(100)] * 5
        carrier.hang_up()


async def test_marks_and_keys_do_not_count_as_the_callers_voice(autojump_clock: MockClock) -> None:
    carrier = FakeCarrier()
    desk = Desk(carrier)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.run)
        for digit in "123456":
            await trio.sleep(0.25)
            carrier.press(digit)
            await carrier.send_mark(f"g0.{digit}")
        await trio.sleep(0.05)
        assert desk.silence_ms() == 1500
        carrier.hang_up()


async def test_a_gap_is_filled_for_ten_seconds_and_no_longer(autojump_clock: MockClock) -> None:
    carrier = FakeCarrier()
    desk = Desk(carrier)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.run)
        await trio.sleep(600)
        assert desk.silence_ms() == desk.notebook.record.silence_in_ms == FILL_AT_MOST * 1000
        carrier.hang_up()


async def test_after_a_gap_the_next_one_is_filled_again(autojump_clock: MockClock) -> None:
    carrier = FakeCarrier()
    desk = Desk(carrier)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.run)
        await trio.sleep(600)
        desk.audio.take_all()
        carrier.speak("p")
        await trio.sleep(1.05)
        assert desk.audio.take_all() == [CallerAudio("p", 0), CallerSilence(1000)]
        carrier.hang_up()


GAPS = [0.02, 0.45, 0.95, 1.05, 1.35, 2.05, 9.95, 10.95, 30.05]


def silence_for(gap: float) -> list[int]:
    """What is put into a gap of so many seconds between two frames."""
    pieces: list[int] = []
    while sum(pieces) < FILL_AT_MOST * 1000 and (sum(pieces) + (100 if pieces else 1000)) / 1000 < gap:
        pieces.append(100 if pieces else 1000)
    return pieces


@given(st.lists(st.sampled_from(GAPS), max_size=12), st.booleans())
@settings(max_examples=30)
def test_each_gap_is_filled_from_its_own_beginning(gaps: list[float], keys: bool) -> None:
    async def main() -> None:
        carrier = FakeCarrier()
        desk = Desk(carrier)
        expected: list[int | str] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(desk.run)
            for number, gap in enumerate(gaps):
                await trio.sleep(gap / 2)
                if keys:
                    carrier.press("1")
                await trio.sleep(gap / 2)
                carrier.speak(f"p{number}")
                expected += [*silence_for(gap), f"p{number}"]
            await wait_all_tasks_blocked()
            carrier.hang_up()
        heard = desk.audio.take_all()
        assert [event.payload if isinstance(event, CallerAudio) else event.ms for event in heard] == expected

    trio.run(main, clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize("phase", [0.0, 0.137, 0.5, 0.979])
async def test_silence_is_put_in_exactly_a_second_after_the_last_frame(phase: float, autojump_clock: MockClock) -> None:
    carrier = FakeCarrier()
    desk = Desk(carrier)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.run)
        for _ in range(2):
            await trio.sleep(phase)
            for _ in range(77):
                await trio.sleep(0.02)
                carrier.speak("p")
            await trio.sleep(GAP_SECONDS - 0.001)
            assert desk.silence_ms() == 0
            await trio.sleep(0.002)
            assert desk.silence_ms() == 1000
            await trio.sleep(60)  # and once more, when it is no longer filled
            desk.audio.take_all()
        carrier.hang_up()


# ---------------------------------------------------------------- ends


async def test_a_broken_connection_is_a_hang_up(autojump_clock: MockClock) -> None:
    carrier = FakeCarrier()
    desk = Desk(carrier)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.run)
        await trio.sleep(3)
        carrier.lose("reset by peer")
    (hung_up,) = desk.keys.take_all()
    assert hung_up == HungUp("the media stream was lost: reset by peer", lost=True)


async def test_a_connection_known_to_be_gone_is_not_read_for_ever(autojump_clock: MockClock) -> None:
    carrier = FakeCarrier()
    desk = Desk(carrier)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.run)
        await trio.sleep(3)
        desk.actor.carrier_gone("the server saw it close")
        desk.actor.carrier_gone("the server saw it close")
    assert desk.keys.take_all() == [HungUp("the server saw it close", lost=True)]
    assert desk.actor.ended.is_set()


async def test_a_connection_that_is_gone_before_it_is_read_is_a_hang_up(autojump_clock: MockClock) -> None:
    desk = Desk(FakeCarrier(line=True))
    desk.actor.carrier_gone("early")
    await desk.run()
    assert desk.keys.take_all() == [HungUp("early", lost=True)]
    assert desk.audio.take_all() == []


async def test_an_end_after_the_end_changes_nothing(autojump_clock: MockClock) -> None:
    carrier = FakeCarrier()
    desk = Desk(carrier)
    carrier.hang_up()
    await desk.run()
    desk.actor.carrier_gone("late")
    assert desk.keys.take_all() == [HungUp("the caller hung up")]
