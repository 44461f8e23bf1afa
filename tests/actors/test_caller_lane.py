"""CallerLane: whatever the session takes, and when, the caller's voice reaches it once and in order, and so it is told."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.caller_lane import BATCH, FRAME_MS, CallerLane, Heard, frames
from actors.messages import CallerAudio, CallerSilence, ModelCommand, ModelEvent
from actors.mulaw import from_base64, to_base64
from actors.ports import ModelGone

STUCK_AFTER = 4.0


class Session:
    """`ModelSession`: takes audio at once, or in time, or not at all, as tests say, and remembers what it got and when."""

    def __init__(self) -> None:
        self.got: list[str | int] = []
        """Payloads, and milliseconds of silence."""
        self.appends: list[int] = []
        """How many frames each append had."""
        self.at_once: list[str] = []
        self.takes_now: Callable[[], bool] = lambda: True
        self.takes_in: Callable[[], float] = lambda: 0.0
        self.gone = False
        self.under_way = False

    def append_now(self, payload: str) -> bool:
        """See `ModelSession`."""
        if self.gone or self.under_way or not self.takes_now():
            return False
        self.got.append(payload)
        self.at_once.append(payload)
        return True

    async def append(self, payloads: list[str], silence_ms: int) -> None:
        """See `ModelSession`."""
        assert not self.under_way, "two batches at once"
        self.under_way = True
        try:
            await trio.sleep(self.takes_in())
            if self.gone:
                raise ModelGone("gone")
            self.got += payloads
            self.appends.append(len(payloads))
            if silence_ms:
                self.got.append(silence_ms)
        finally:
            self.under_way = False

    async def receive(self) -> ModelEvent:
        """Not used here."""
        raise NotImplementedError

    async def send(self, command: ModelCommand) -> None:
        """Not used here."""
        raise NotImplementedError


class Told:
    """What the lane says that it sent."""

    def __init__(self) -> None:
        self.events: list[Heard] = []

    def __call__(self, events: Sequence[Heard]) -> None:
        assert events
        self.events += events


def frame(number: int) -> CallerAudio:
    return CallerAudio(f"p{number}", number * FRAME_MS)


def contents(events: Sequence[Heard]) -> list[str | int]:
    return [event.payload if isinstance(event, CallerAudio) else event.ms for event in events]


def apart(got: Sequence[str | int]) -> Iterator[str | int]:
    """What a session got, with the pieces taken apart again into frames of three bytes."""
    for one in got:
        if isinstance(one, int):
            yield one
        else:
            audio = from_base64(one)
            yield from (to_base64(audio[at : at + 3]) for at in range(0, len(audio), 3))


@asynccontextmanager
async def sending(lane: CallerLane, session: Session) -> AsyncIterator[trio.Nursery]:
    with trio.fail_after(1000):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lane.send_to, session, STUCK_AFTER)
            await wait_all_tasks_blocked()
            yield nursery
            nursery.cancel_scope.cancel()


async def test_a_frame_is_on_the_connection_before_post_returns(autojump_clock: MockClock) -> None:
    told = Told()
    lane, session = CallerLane(15, told), Session()
    async with sending(lane, session):
        for number in range(3):
            lane.post(frame(number))
            assert session.at_once[-1] == f"p{number}"
            assert told.events[-1] == frame(number)
        assert lane.stats().taken_in == 0


async def test_frames_that_came_together_go_in_one_piece(autojump_clock: MockClock) -> None:
    told = Told()
    lane, session = CallerLane(15, told), Session()
    said = [CallerAudio(to_base64(bytes([number]) * 160), number * FRAME_MS) for number in range(4)]
    async with sending(lane, session):
        for event in said[:2]:
            lane.post(event, more=True)
        assert session.at_once == told.events == []
        lane.post(said[2])
        lane.post(said[3])
        assert session.at_once == [to_base64(b"".join(one.audio for one in said[:3])), said[3].payload]
        assert told.events == said
        lane.post(said[0], more=True)
        lane.post(CallerSilence(100))
        await wait_all_tasks_blocked()
        assert session.got[2:] == [said[0].payload, 100], "what waited for more is not lost, and keeps its place"


async def test_a_connection_that_does_not_take_a_piece_gets_it_in_order_later(autojump_clock: MockClock) -> None:
    told = Told()
    lane, session = CallerLane(15, told), Session()
    async with sending(lane, session):
        session.takes_now = lambda: False
        said = [CallerAudio(to_base64(bytes([number]) * 160), number * FRAME_MS) for number in range(3)]
        for number, event in enumerate(said):
            lane.post(event, more=number < 2)
        await wait_all_tasks_blocked()
        assert session.got == contents(said) == contents(told.events)
        assert session.at_once == []


async def test_without_a_session_the_voice_is_kept_and_the_oldest_dropped(autojump_clock: MockClock) -> None:
    told = Told()
    lane = CallerLane(1.0, told)
    for number in range(60):
        lane.post(frame(number))
    assert told.events == []
    session = Session()
    async with sending(lane, session):
        assert session.got == [f"p{number}" for number in range(10, 60)]
        assert told.events == [frame(number) for number in range(10, 60)]
    lane.post(frame(60))
    assert lane.take_all() == [frame(60)], "the session is gone, and nothing is sent to it"
    assert "p60" not in session.got
    assert (lane.stats().dropped, lane.stats().taken_in) == (10, 61)


async def test_what_has_piled_up_goes_in_pieces_and_silence_in_its_place(autojump_clock: MockClock) -> None:
    told = Told()
    lane, session = CallerLane(15, told), Session()
    posted: list[Heard] = [frame(number) for number in range(BATCH + 5)]
    posted[3:3] = [CallerSilence(1000)]
    posted += [CallerSilence(100), CallerSilence(100), frame(999)]
    for event in posted:
        lane.post(event)
    async with sending(lane, session):
        assert session.got == contents(posted) == contents(told.events)
        assert session.appends == [3, BATCH, 2, 0, 1]


async def test_silence_waits_its_turn_and_what_comes_behind_it_too(autojump_clock: MockClock) -> None:
    told = Told()
    lane, session = CallerLane(15, told), Session()
    posted = [frame(1), CallerSilence(100), frame(2), frame(3)]
    async with sending(lane, session):
        for event in posted:
            lane.post(event)
        assert session.got == ["p1"]
        await wait_all_tasks_blocked()
        lane.post(frame(4))
        assert session.got == ["p1", 100, "p2", "p3", "p4"] == contents(told.events)
        assert session.at_once == ["p1", "p4"]


async def test_what_comes_while_a_batch_is_being_written_waits(autojump_clock: MockClock) -> None:
    told = Told()
    lane, session = CallerLane(15, told), Session()
    async with sending(lane, session):
        session.takes_now = lambda: False
        session.takes_in = lambda: 1.0
        lane.post(frame(1))
        await trio.sleep(0.5)
        session.takes_now = lambda: True
        session.under_way = False  # the connection would take it, before the batch
        lane.post(frame(2))
        assert session.at_once == []
        await trio.sleep(2)
        assert session.got == ["p1", "p2"] == contents(told.events)


async def test_nothing_overtakes_a_frame_that_is_just_being_taken_out(autojump_clock: MockClock) -> None:
    told = Told()
    lane, session = CallerLane(15, told), Session()
    lane.post(frame(0))
    number = 0

    async def speak() -> None:
        nonlocal number
        for number in range(1, 50):
            lane.post(frame(number))
            await trio.lowlevel.checkpoint()

    async with sending(lane, session) as nursery:  # one frame waits whenever the sender looks again
        session.takes_now = lambda: number % 3 > 0
        nursery.start_soon(speak)
        await wait_all_tasks_blocked()
        assert session.got == [f"p{number}" for number in range(50)] == contents(told.events)


async def test_one_frame_that_waits_for_the_session_is_its_first(autojump_clock: MockClock) -> None:
    for _ in range(20):  # tasks are woken in any order
        lane, session = CallerLane(15, Told()), Session()
        lane.post(frame(0))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lane.send_to, session, STUCK_AFTER)
            for number in range(1, 4):
                await trio.lowlevel.checkpoint()
                lane.post(frame(number))
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert session.got == ["p0", "p1", "p2", "p3"]


async def test_a_session_that_takes_nothing_is_given_up(autojump_clock: MockClock) -> None:
    lane, session = CallerLane(15, Told()), Session()
    session.takes_now = lambda: False
    session.takes_in = lambda: 1000.0
    began = trio.current_time()
    lane.post(frame(0))
    with pytest.raises(ModelGone, match="took no audio for 4 s"):
        await lane.send_to(session, STUCK_AFTER)
    assert trio.current_time() - began == pytest.approx(STUCK_AFTER)


async def test_a_session_that_is_gone_is_told_by_the_next_frame(autojump_clock: MockClock) -> None:
    lane, session = CallerLane(15, Told()), Session()
    with pytest.RaisesGroup(ModelGone):
        async with sending(lane, session):
            session.gone = True
            lane.post(frame(0))
            await trio.sleep(10)
    lane.post(frame(1))
    assert contents(lane.take_all()) == ["p1"]


def test_a_second_has_fifty_frames() -> None:
    assert (frames(1), frames(0.5), frames(0.02), frames(0)) == (50, 25, 1, 0)


steps = st.lists(
    st.tuples(st.sampled_from(["voice", "voice", "voice", "silence", "pause", "turn"]), st.integers(0, 5)), max_size=60
)
chances = st.lists(st.booleans(), min_size=1, max_size=20)
delays = st.lists(st.sampled_from([0.0, 0.0, 0.01, 0.05, 1.0]), min_size=1, max_size=10)


@given(steps, chances, delays, st.integers(0, 60))
@settings(max_examples=80)
def test_whatever_the_session_takes_at_once_all_is_sent_once_in_order_and_told(
    steps: list[tuple[str, int]], chances: list[bool], delays: list[float], opens_at: int
) -> None:
    async def main() -> None:
        told = Told()
        lane, session = CallerLane(1000, told), Session()
        asked = 0

        def chance() -> bool:
            nonlocal asked
            asked += 1
            return chances[asked % len(chances)]

        session.takes_now = chance
        session.takes_in = lambda: delays[len(session.appends) % len(delays)]
        posted: list[Heard] = []
        with trio.fail_after(1000):
            async with trio.open_nursery() as nursery:
                for at, (what, size) in enumerate(steps):
                    if at == opens_at:
                        nursery.start_soon(lane.send_to, session, STUCK_AFTER)
                    if what == "voice":
                        posted.append(CallerAudio(to_base64(at.to_bytes(3)), at * FRAME_MS))
                        lane.post(posted[-1], more=size % 3 > 0)
                    elif what == "silence":
                        posted.append(CallerSilence(100 + at))
                        lane.post(posted[-1])
                    elif what == "pause":
                        await trio.sleep(size * 0.02)
                    else:
                        for _ in range(size):
                            await trio.lowlevel.checkpoint()
                if opens_at >= len(steps):
                    nursery.start_soon(lane.send_to, session, STUCK_AFTER)
                posted.append(CallerSilence(1))  # nothing follows it: what waited for more goes now
                lane.post(posted[-1])
                await trio.sleep(300)
                nursery.cancel_scope.cancel()
        assert list(apart(session.got)) == contents(posted)
        assert told.events == posted
        assert lane.stats().dropped == 0

    trio.run(main, clock=MockClock(autojump_threshold=0))
