"""RealtimeLink and the caller who falls silent in the middle of a number: the answer to half of it is put off."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.messages import (
    AskReply,
    AwaitRest,
    CancelReply,
    Floor,
    FloorTaken,
    Gravity,
    ReplyAudio,
    ReplyBegan,
    ReplyEnded,
    ReplyStatus,
    SpeechStarted,
    SpeechStopped,
    StopTalking,
)
from actors.turn_answer import HARDLY_BEGUN, REST_WITHIN
from actors.waiting import FILLER_SHARE
from tests.kit.calls import LIMITS, MANUAL, REPLACING, LinkDesk, a_tool_call, ms
from tests.kit.model import FakeSession, Place


async def broken_off(nursery: trio.Nursery) -> tuple[LinkDesk, FakeSession, float]:
    """The caller's turn is over, and its answer is being made; when the turn was over."""
    desk = LinkDesk(nursery, config=MANUAL)
    session = await desk.up()
    session.push(SpeechStarted("u1"), SpeechStopped("u1"))
    await wait_all_tasks_blocked()
    assert len(session.said(AskReply)) == 1
    session.push(ReplyBegan("r1"))
    await wait_all_tasks_blocked()
    return desk, session, trio.current_time()


async def test_an_answer_that_is_not_heard_yet_is_put_off_and_asked_for_again_in_time(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk, session, over = await broken_off(nursery)
    await trio.sleep(0.4)
    desk.link.inbox.post(AwaitRest())
    await wait_all_tasks_blocked()
    assert session.said(CancelReply) == [CancelReply("r1")]
    session.push(ReplyAudio("r1", "i1", ms(200)), ReplyEnded("r1", ReplyStatus.CANCELLED))
    await trio.sleep(3)
    assert [event for event in desk.framer.take_all() if isinstance(event, ReplyAudio)] == []
    assert session.times(AskReply)[1:] == pytest.approx([over + REST_WITHIN])


async def test_a_caller_who_goes_on_in_that_time_is_answered_when_they_have_said_it(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk, session, _ = await broken_off(nursery)
    desk.link.inbox.post(AwaitRest())
    await trio.sleep(1)
    session.push(ReplyEnded("r1", ReplyStatus.CANCELLED), SpeechStarted("u2"))
    await trio.sleep(2)
    assert len(session.said(AskReply)) == 1
    session.push(SpeechStopped("u2"))
    await wait_all_tasks_blocked()
    assert len(session.said(AskReply)) == 2
    assert desk.fillers() == []


@pytest.mark.parametrize(("heard", "stopped"), [(HARDLY_BEGUN - 0.1, True), (HARDLY_BEGUN + 0.1, False)])
async def test_an_answer_that_has_hardly_begun_is_broken_off_and_a_later_one_is_not(
    heard: float, stopped: bool, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk, session, _ = await broken_off(nursery)
    session.push(ReplyAudio("r1", "i1", ms(3000)), ReplyEnded("r1", ReplyStatus.COMPLETED))
    await trio.sleep(heard)
    desk.link.inbox.post(AwaitRest())
    await wait_all_tasks_blocked()
    taken = [event for event in desk.watcher.take_all() if isinstance(event, FloorTaken)]
    assert taken == ([FloorTaken(Floor.REST)] if stopped else [])
    await trio.sleep(REST_WITHIN)
    assert len(session.said(AskReply)) == 1 + stopped


async def test_what_tools_find_out_is_said_though_the_caller_broke_off(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk, session, _ = await broken_off(nursery)
    session.push(ReplyEnded("r1", ReplyStatus.COMPLETED, calls=(a_tool_call("c1"),)))
    await wait_all_tasks_blocked()
    desk.link.inbox.post(AwaitRest())
    await trio.sleep(REST_WITHIN + 0.1)
    assert len(session.said(AskReply)) == 1
    assert session.said(CancelReply) == []


async def test_a_key_ends_the_wait_for_the_rest(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    desk, session, _ = await broken_off(nursery)
    desk.link.inbox.post(AwaitRest())
    desk.link.inbox.post(StopTalking())
    session.push(ReplyEnded("r1", ReplyStatus.CANCELLED))
    await trio.sleep(LIMITS.silence)
    assert len(session.said(AskReply)) == 1
    assert desk.fillers() == [], "who types would be told to wait"


async def test_a_session_that_takes_over_meanwhile_is_asked_once(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery, Place(), Place(opens_after=2.0), config=MANUAL, limits=REPLACING)
    session = await desk.up()
    session.push(SpeechStarted("u1"), SpeechStopped("u1"), ReplyBegan("r1"))
    await wait_all_tasks_blocked()
    desk.link.inbox.post(AwaitRest())
    await wait_all_tasks_blocked()
    session.lose()
    second = await desk.next()
    second.push(ReplyBegan("r2"), ReplyEnded("r2", ReplyStatus.COMPLETED))
    await trio.sleep(1)
    assert len(second.said(AskReply)) == 1


async def test_who_does_not_go_on_hears_a_filler_no_later_than_in_any_other_wait(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk, session, over = await broken_off(nursery)
    desk.link.inbox.post(AwaitRest())
    session.push(ReplyEnded("r1", ReplyStatus.CANCELLED))
    await trio.sleep(LIMITS.silence * FILLER_SHARE + 0.01 - (trio.current_time() - over))
    assert desk.fillers() == [1]


async def test_words_that_come_after_a_key_do_not_bring_back_the_answer_that_it_stopped(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk, session, _ = await broken_off(nursery)
    session.push(ReplyAudio("r1", "i1", ms(3000)), ReplyEnded("r1", ReplyStatus.COMPLETED))
    await trio.sleep(0.2)
    desk.link.inbox.post(StopTalking())
    await trio.sleep(0.2)
    desk.link.inbox.post(AwaitRest())
    await trio.sleep(LIMITS.silence)
    assert len(session.said(AskReply)) == 1
    assert desk.fillers() == []


async def test_an_answer_goes_on_if_the_words_of_the_turn_come_when_the_time_for_the_rest_is_over(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk, session, _ = await broken_off(nursery)
    await trio.sleep(REST_WITHIN + 0.1)
    session.push(ReplyAudio("r1", "i1", ms(3000)))
    await trio.sleep(HARDLY_BEGUN / 2)
    desk.link.inbox.post(AwaitRest())
    await trio.sleep(0.1)
    assert [event for event in desk.watcher.take_all() if isinstance(event, FloorTaken)] == []
    assert session.said(CancelReply) == []


async def test_an_answer_that_failed_is_not_asked_for_again_before_the_caller_had_time_for_the_rest(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk, session, over = await broken_off(nursery)
    session.push(ReplyEnded("r1", ReplyStatus.FAILED, gravity=Gravity.RETRY))
    await trio.sleep(0.2)
    desk.link.inbox.post(AwaitRest())
    await trio.sleep(LIMITS.silence / 2)
    assert session.times(AskReply)[1:] == pytest.approx([over + REST_WITHIN])
