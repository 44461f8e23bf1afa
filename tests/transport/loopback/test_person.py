"""The person on the telephone: every step, patience, and words that nobody carries."""

import pytest
import trio
from trio.testing import MockClock

from actors.mulaw import silence
from transport.loopback.caller import AwaitAgent, AwaitQuiet, HangUp, Press, Speak, Step, Wait
from transport.loopback.person import Person

FRAME = 160


class Line:
    """Carries a person's voice: asks for a frame every 20 ms and lets them hear the agent when it speaks."""

    def __init__(self, *steps: Step, agent: tuple[tuple[float, float], ...] = ()) -> None:
        self.person = Person(steps)
        self.frames: list[bytes] = []
        self.keys: list[tuple[float, str]] = []
        self._agent = agent
        self._began = trio.current_time()

    async def until_done(self) -> float:
        """Runs until the last step is done: how long that took."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._carry)
            nursery.start_soon(self._pick_up_keys)
            with trio.fail_after(200):
                await self.person.live()
            nursery.cancel_scope.cancel("the steps are done")
        return trio.current_time() - self._began

    async def _carry(self) -> None:
        for number in range(1_000_000):
            await trio.sleep_until(self._began + number * 0.02)
            now = number * 0.02 + 1e-9
            self.person.hear(any(begins <= now < ends for begins, ends in self._agent))
            self.frames.append(self.person.frame())

    async def _pick_up_keys(self) -> None:
        async for key in self.person.keys:
            self.keys.append((trio.current_time() - self._began, key))


async def test_words_are_said_in_frames_and_the_last_is_filled_with_silence(autojump_clock: MockClock) -> None:
    words = bytes(range(200)) * 2
    line = Line(Wait(0.05), Speak(words))
    await line.until_done()
    spoken = [frame for frame in line.frames if frame != silence(20)]
    assert b"".join(spoken) == words + silence(20)[: 3 * FRAME - len(words)]
    assert b"".join(piece.audio for piece in line.person.said) == words
    assert [piece.at for piece in line.person.said] == pytest.approx([0.06, 0.08, 0.10])
    assert {len(frame) for frame in line.frames} == {FRAME}


async def test_the_next_step_waits_for_the_words(autojump_clock: MockClock) -> None:
    assert await Line(Speak(bytes(8000)), Speak(bytes(8000))).until_done() == pytest.approx(2.0, abs=0.05)


async def test_where_no_stream_carries_them_words_take_their_time_and_are_lost(autojump_clock: MockClock) -> None:
    line = Line(Speak(bytes(8000)))
    line.person.heeded(False)
    assert await line.until_done() == pytest.approx(1.0)
    assert line.person.said == []
    assert set(line.frames) == {silence(20)}


async def test_words_are_cut_off_when_the_stream_ends(autojump_clock: MockClock) -> None:
    line = Line(Wait(0.01), Speak(bytes(80_000)))
    async with trio.open_nursery() as nursery:

        async def end() -> None:
            await trio.sleep(1)
            line.person.heeded(False)

        nursery.start_soon(end)
        assert await line.until_done() == pytest.approx(1.0, abs=0.03)
    assert sum(len(piece.audio) for piece in line.person.said) == pytest.approx(8000, abs=2 * FRAME)


async def test_the_agent_is_awaited_until_it_was_audible_in_one_stretch(autojump_clock: MockClock) -> None:
    line = Line(AwaitAgent(0.5), agent=((1.0, 1.4), (2.0, 4.0)))
    assert await line.until_done() == pytest.approx(2.5, abs=0.03)


async def test_an_agent_who_speaks_already_is_not_awaited_anew(autojump_clock: MockClock) -> None:
    line = Line(Wait(2.0), AwaitAgent(0.5), agent=((1.0, 4.0),))
    assert await line.until_done() == pytest.approx(2.0, abs=0.03)


async def test_quiet_is_awaited_after_the_agent_spoke_and_pauses_are_not_enough(autojump_clock: MockClock) -> None:
    line = Line(AwaitQuiet(0.7), agent=((2.0, 3.0), (3.5, 5.0)))
    assert await line.until_done() == pytest.approx(5.7, abs=0.03)


async def test_quiet_from_before_does_not_count(autojump_clock: MockClock) -> None:
    line = Line(Wait(3.0), AwaitQuiet(0.7), agent=((0.0, 1.0), (6.0, 7.0)))
    assert await line.until_done() == pytest.approx(7.7, abs=0.03)


@pytest.mark.parametrize("step", [AwaitAgent(0.2, at_most=5.0), AwaitQuiet(0.5, at_most=5.0)])
async def test_patience_with_a_silent_agent_has_an_end(step: Step, autojump_clock: MockClock) -> None:
    assert await Line(step).until_done() == pytest.approx(5.0, abs=0.03)


async def test_patience_with_an_endless_agent_has_an_end(autojump_clock: MockClock) -> None:
    line = Line(AwaitQuiet(0.5, at_most=5.0), agent=((0.0, 1000.0),))
    assert await line.until_done() == pytest.approx(5.0, abs=0.03)


async def test_keys_are_pressed_one_after_the_other(autojump_clock: MockClock) -> None:
    line = Line(Wait(1.0), Press("5*#"), Press("0"))
    await line.until_done()
    assert [key for _, key in line.keys] == list("5*#0")
    assert [at for at, _ in line.keys] == pytest.approx([1.0, 1.3, 1.6, 1.9])


async def test_the_phone_is_put_down_only_by_its_step(autojump_clock: MockClock) -> None:
    line = Line(Wait(1.0))
    await line.until_done()
    assert not line.person.gone.is_set()
    line = Line(Wait(1.0), HangUp())
    assert await line.until_done() == pytest.approx(1.0)
    assert line.person.gone.is_set()
