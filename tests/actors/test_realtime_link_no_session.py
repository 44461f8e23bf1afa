"""RealtimeLink while no session can be had: what the caller hears meanwhile, how it is tried again, and when it is given up."""

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.messages import (
    AskReply,
    CallerAudio,
    CallerSpoke,
    CallerWaits,
    CallerWords,
    Gravity,
    LinkLost,
    ModelTrouble,
    ReplyBegan,
    Role,
    SpeechStarted,
    SpeechStopped,
    Tell,
)
from actors.ports import ModelGone
from actors.realtime_link import MUTE_AT_MOST
from actors.talk import LOSSES_AT_MOST
from actors.waiting import FILLER_SHARE
from tests.kit.calls import LIMITS, LOUD, QUIET, REPLACING, ReplacingDesk, ms
from tests.kit.model import FakeModel, Place


async def test_a_caller_who_speaks_while_there_is_no_session_hears_fillers_and_is_not_left_in_silence(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    limits = attrs.evolve(REPLACING, replace=60.0)
    desk = ReplacingDesk(nursery, limits=limits)
    first = await desk.up()
    desk.model.places = (Place(refuses=ModelGone("too many")),)
    first.lose()
    await trio.sleep(1)
    desk.flow.take_all()
    await desk.caller(1000, LOUD)
    spoke = trio.current_time()
    await desk.over.wait()
    waits = [event for event in desk.flow.take_all() if isinstance(event, CallerSpoke | CallerWaits | LinkLost)]
    assert [type(event) for event in waits] == [CallerSpoke, CallerWaits, CallerWaits, LinkLost]
    assert trio.current_time() - spoke == pytest.approx(limits.silence * (2 * FILLER_SHARE + 1), abs=0.1)


async def test_a_first_session_that_cannot_be_had_is_tried_for_again_and_no_longer_than_another_one(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    away = Place(refuses=ModelGone("HTTP 503"))
    gone = ReplacingDesk(nursery, away)
    assert (await gone.lost(within=REPLACING.replace + 0.1)).reason == "HTTP 503"
    desk = ReplacingDesk(nursery, away)
    desk.link.audio.post(CallerAudio(QUIET, 0))
    hello = Tell(Role.AGENT, "Hello.", "prompt_greeting_1", first=True)
    desk.link.inbox.post(hello)
    await trio.sleep(0.1)
    desk.model.places = (Place(),)
    session = await desk.up()
    assert session.heard == [QUIET]
    assert [told for _, told in session.commands if isinstance(told, Tell)] == [hello], "nothing was before"


async def test_a_caller_who_keeps_silent_while_there_is_no_session_hears_nothing_and_one_is_looked_for_longer(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    limits = attrs.evolve(REPLACING, replace=60.0)
    desk = ReplacingDesk(nursery, limits=limits)
    first = await desk.up()
    desk.model.places = (Place(refuses=ModelGone("too many")),)
    lost = trio.current_time()
    first.lose()
    await desk.over.wait()
    assert [type(event) for event in desk.flow.take_all()] == [LinkLost]
    assert trio.current_time() - lost >= 60.0


async def test_what_the_caller_said_while_there_was_no_session_is_waited_for_from_then_on(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = ReplacingDesk(nursery)
    first = await desk.up()
    desk.model.places = (Place(opens_after=1.5),)
    first.lose()
    await wait_all_tasks_blocked()
    await desk.caller(1000, LOUD)
    spoke = trio.current_time()
    second = await desk.next()
    second.push(SpeechStarted("u1"), SpeechStopped("u1"))
    due = spoke + REPLACING.silence * FILLER_SHARE
    await trio.sleep_until(due - 0.1)
    assert CallerWaits not in {type(event) for event in desk.flow.take_all()}
    await trio.sleep_until(due + 0.1)
    assert CallerWaits in {type(event) for event in desk.flow.take_all()}


# ---------------------------------------------------------------- when none can be had


async def test_until_there_is_another_session_a_caller_who_waits_hears_fillers(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = ReplacingDesk(nursery, Place(opens_after=0.1), Place(opens_after=3.5))
    first = await desk.up()
    first.push(SpeechStarted("u1"), SpeechStopped("u1"), CallerWords("u1", "Hello?", True))
    await trio.sleep(1)
    first.lose()
    await trio.sleep(FILLER_SHARE * LIMITS.silence - 1 + 0.1)
    assert CallerWaits(1, doubtful=True) in desk.flow.take_all()
    second = await desk.next()
    assert [at for at, _ in desk.model.tried][1] == pytest.approx(desk.model.tried[0][0] + 1.1, abs=0.01)
    assert len(second.said(AskReply)) == 1


class Closing(FakeModel):
    """A model that takes one session, and then no more: for a while, or for good."""

    def __init__(self, opens_again: float) -> None:
        super().__init__(Place())
        self.opens_again = opens_again

    def connect(self, endpoint: int, name: str = ""):  # type: ignore[no-untyped-def] # as its base
        at = trio.current_time()
        closed = self.sessions and at < self.opens_again
        self.places = (Place(refuses=ModelGone("HTTP 503")),) if closed else (Place(),)
        return super().connect(endpoint)


async def test_it_is_tried_again_with_growing_pauses_until_the_time_is_over(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = ReplacingDesk(nursery, model=Closing(1e9))
    first = await desk.up()
    await trio.sleep(5)
    lost_at = desk.now()
    first.lose()
    assert "503" in (await desk.lost()).reason
    assert desk.ended_at is not None
    assert lost_at + REPLACING.replace <= desk.ended_at <= lost_at + REPLACING.replace + 3
    tries = [at - desk.began for at, _ in desk.model.tried][1:]
    assert 4 <= len(tries) <= 12


async def test_a_model_that_comes_back_in_time_is_taken(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    desk = ReplacingDesk(nursery, model=Closing(4.0))
    first = await desk.up()
    await trio.sleep(1)
    first.lose()
    await desk.next()
    assert 4.0 <= desk.now() <= 7.0
    assert not desk.over.is_set()


async def test_a_fatal_error_is_not_tried_again(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    desk = ReplacingDesk(nursery)
    first = await desk.up()
    first.push(ModelTrouble("invalid_api_key", "no", Gravity.FATAL))
    await desk.lost()
    assert desk.now() < 0.1
    assert len(desk.model.tried) == 1


async def test_after_a_fatal_error_another_place_is_tried(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    desk = ReplacingDesk(nursery, Place(), Place())
    first = await desk.up()
    first.push(ModelTrouble("insufficient_quota", "no", Gravity.FATAL))
    second = await desk.next()
    second.speak("r2", "i2", ms(200))
    await trio.sleep(1)
    second.lose()
    await desk.next(3)
    assert [place for _, place in desk.model.tried] == [0, 1, 1]


async def test_sessions_that_never_speak_are_not_replaced_for_ever(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = ReplacingDesk(nursery)
    first = await desk.up()
    first.push(SpeechStarted("u1"), SpeechStopped("u1"), CallerWords("u1", "Hello?", True))
    assert "no sign of life" in (await desk.lost()).reason
    assert len(desk.model.sessions) == 1 + MUTE_AT_MOST
    assert desk.ended_at is not None
    assert desk.ended_at <= (1 + MUTE_AT_MOST) * (LIMITS.silence + 1)


async def test_a_session_that_lives_and_never_speaks_is_replaced_though_the_caller_has_waited_as_long_as_they_may(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = ReplacingDesk(nursery, Place(lives_after=0.1), Place(lives_after=0.1))
    first = await desk.up()
    first.push(SpeechStarted("u1"), SpeechStopped("u1"), CallerWords("u1", "Hello?", True), ReplyBegan("r1"))
    second = await desk.next()
    await trio.sleep(1)
    waits = [told for told in desk.flow.take_all() if isinstance(told, CallerWaits)]
    assert [told.times for told in waits] == [1, 2, 2]
    assert waits[-1].doubtful
    second.speak("r2", "i2", ms(200))
    await trio.sleep(30)
    assert len(desk.model.sessions) == 2
    assert not desk.over.is_set()


async def test_sessions_that_are_lost_again_and_again_are_given_up(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = ReplacingDesk(nursery)
    with trio.move_on_after(100):
        for number in range(1, 100):
            session = await desk.next(number)
            session.speak(f"r{number}", f"i{number}", ms(200))
            await trio.sleep(1)
            session.lose()
            await wait_all_tasks_blocked()
            if desk.over.is_set():
                break
    assert len(desk.model.sessions) == LOSSES_AT_MOST
