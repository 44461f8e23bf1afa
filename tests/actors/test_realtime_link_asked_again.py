"""RealtimeLink asks once more for a reply that failed, was refused, broke off or collided, and when it does not."""

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.briefing import GO_ON
from actors.messages import (
    AnswerTools,
    AskReply,
    CallerWords,
    CallState,
    Gravity,
    ModelTrouble,
    ReplyBegan,
    ReplyEnded,
    ReplyStatus,
    SpeechStarted,
    SpeechStopped,
    ToolResult,
    ToolsCalled,
)
from actors.second_try import BUSY_SECONDS, HEEDED_LATE, RETRY_SECONDS
from tests.kit.calls import MANUAL, REPLACING, SESSION, LinkDesk, a_tool_call, ms
from tests.kit.model import Place

COLLISION = ModelTrouble("conversation_already_has_active_response", "wait until it is finished", Gravity.BENIGN)


def failed(reply: str, gravity: Gravity = Gravity.RETRY) -> ReplyEnded:
    return ReplyEnded(reply, ReplyStatus.FAILED, reason="server_error", gravity=gravity)


# ---------------------------------------------------------------- what is asked again


async def test_a_reply_that_failed_is_asked_for_once_more_and_then_the_model_is_given_up(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    session.push(ReplyBegan("r1"), failed("r1"))
    await trio.sleep(1)
    assert [at - desk.began for at in session.times(AskReply)] == pytest.approx([RETRY_SECONDS])
    session.push(ReplyBegan("r2"), failed("r2"))
    assert "server_error" in (await desk.lost(within=0.1)).reason
    assert len(session.said(AskReply)) == 1


@pytest.mark.parametrize("places", [1, 2])
async def test_a_model_that_is_too_busy_is_asked_again_for_some_seconds_unless_there_is_another(
    places: int, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery, *[Place() for _ in range(places)], limits=REPLACING)
    session = await desk.up()
    session.push(SpeechStarted("u1"), SpeechStopped("u1"), CallerWords("u1", "Hello?", True))
    for number in range(1 + len(BUSY_SECONDS)):
        session.push(ReplyBegan(f"r{number}"), failed(f"r{number}", Gravity.BUSY))
        if places > 1 and number:
            break
        assert len(desk.model.sessions) == 1
        await trio.sleep(1.6 * BUSY_SECONDS[min(number, len(BUSY_SECONDS) - 1)])
    await trio.sleep(1)
    assert len(desk.model.sessions) == 2
    assert len(session.said(AskReply)) == (len(BUSY_SECONDS) if places == 1 else 1)
    assert 1 in desk.fillers() or places > 1, "the caller does not wait in silence"


@pytest.mark.parametrize(("again_in", "heeded"), [(2.1, True), (20.0, False)])
async def test_a_busy_model_that_names_a_time_is_asked_again_then_if_a_caller_can_wait_so_long(
    again_in: float, heeded: bool, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    session.push(SpeechStarted("u1"), SpeechStopped("u1"), CallerWords("u1", "Hello?", True))
    ended = failed("r1", Gravity.BUSY)
    session.push(ReplyBegan("r1"), ReplyEnded("r1", ended.status, (), ended.reason, ended.gravity, again_in=again_in))
    await trio.sleep(again_in if heeded else 0.1)
    assert session.said(AskReply) == []
    await trio.sleep(1.5 * (HEEDED_LATE if heeded else BUSY_SECONDS[0]))
    assert len(session.said(AskReply)) == 1


async def test_a_busy_model_that_refuses_with_an_error_and_names_a_time_is_asked_again_then(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery, config=MANUAL)
    session = await desk.up()
    session.push(SpeechStarted("u1"), SpeechStopped("u1"), CallerWords("u1", "Hello?", True))
    await session.told(AskReply)
    session.push(ModelTrouble("rate_limit_exceeded", "Please try again in 2.1s.", Gravity.BUSY, again_in=2.1))
    await trio.sleep(2.1)
    assert len(session.said(AskReply)) == 1
    await trio.sleep(1.5 * HEEDED_LATE)
    assert len(session.said(AskReply)) == 2


@pytest.mark.parametrize("gravity", [Gravity.RETRY, Gravity.BUSY])
async def test_a_model_that_only_complains_when_it_is_asked_is_asked_again(
    gravity: Gravity, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery, config=MANUAL)
    session = await desk.up()
    session.push(SpeechStarted("u1"), SpeechStopped("u1"), CallerWords("u1", "Hello?", True))
    await session.told(AskReply)
    session.push(ModelTrouble("server_error", "The server had an error.", gravity))
    await trio.sleep(1)
    assert len(session.said(AskReply)) == 2
    session.speak("r1", "i1", ms(200))
    session.push(SpeechStarted("u2"), SpeechStopped("u2"))
    await trio.sleep(1)
    assert len(session.said(AskReply)) == 3, "and for the next turn"


async def test_a_model_that_refuses_to_reply_is_asked_once_more_and_then_another_is(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery, Place(), config=MANUAL, limits=REPLACING)
    session = await desk.up()
    session.push(SpeechStarted("u1"), SpeechStopped("u1"), CallerWords("u1", "Hello?", True))
    await session.told(AskReply)
    session.push(ModelTrouble("invalid_value", "elsewhere", Gravity.BENIGN, "t7"))
    await trio.sleep(1)
    assert len(session.said(AskReply)) == 1
    refused = ModelTrouble("invalid_value", "no", Gravity.BENIGN, "t8", no_reply=True)
    session.push(refused)
    await trio.sleep(1)
    assert len(session.said(AskReply)) == 2
    session.push(refused)
    await trio.sleep(1)
    assert len(desk.model.sessions) == 2


async def test_a_reply_that_begins_all_the_same_is_not_asked_for_twice(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery, config=MANUAL)
    session = await desk.up()
    session.push(SpeechStarted("u1"), SpeechStopped("u1"), CallerWords("u1", "Hello?", True))
    await session.told(AskReply)
    session.push(ModelTrouble("server_error", "The server had an error.", Gravity.RETRY))
    await trio.sleep(0.1)
    session.speak("r1", "i1", ms(200))
    await trio.sleep(5)
    assert len(session.said(AskReply)) == 1


async def test_who_speaks_before_a_busy_model_is_asked_again_is_answered_once(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    for number in range(len(BUSY_SECONDS)):  # the last pause is the longest
        session.push(ReplyBegan(f"r{number}"), failed(f"r{number}", Gravity.BUSY))
        await trio.sleep(0 if number == len(BUSY_SECONDS) - 1 else 2)
    desk.fillers()
    session.push(SpeechStarted("u1"), SpeechStopped("u1"))
    session.speak("r9", "i9", ms(200))
    await trio.sleep(10)
    assert len(session.said(AskReply)) == len(BUSY_SECONDS) - 1
    assert desk.fillers() == []


async def test_after_a_reply_that_worked_another_one_may_fail(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    for number in range(3):
        session.push(ReplyBegan(f"bad{number}"), failed(f"bad{number}"))
        await trio.sleep(1)
        session.speak(f"good{number}", f"i{number}", ms(100))
        await trio.sleep(1)
    assert len(session.said(AskReply)) == 3
    assert not desk.over.is_set()


async def test_a_failed_reply_that_nobody_wanted_any_more_is_not_asked_for_again(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    session.push(ReplyBegan("r1"), SpeechStarted("u1"), failed("r1"), failed("r1", Gravity.FATAL))
    await trio.sleep(100)
    assert session.said(AskReply) == []
    assert not desk.over.is_set()


async def test_a_reply_that_stayed_incomplete_is_asked_for_once_more_and_no_reason_to_give_up(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    session.speak("r1", "i1", ms(200), status=ReplyStatus.INCOMPLETE)
    await trio.sleep(1)
    assert len(session.said(AskReply)) == 1
    session.speak("r2", "i2", ms(200), status=ReplyStatus.INCOMPLETE)
    await trio.sleep(100)
    assert len(session.said(AskReply)) == 1
    assert not desk.over.is_set()
    assert len(desk.troubles) == 2


async def test_an_incomplete_reply_with_a_whole_tool_call_goes_on_from_the_tool(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    whole, half = a_tool_call("look_up", "c1"), attrs.evolve(a_tool_call("x", "c2"), state=CallState.INCOMPLETE)
    session.push(ReplyBegan("r1"), ReplyEnded("r1", ReplyStatus.INCOMPLETE, (whole, half)))
    await trio.sleep(1)
    assert session.said(AskReply) == []
    assert desk.flow.take_all() == [ToolsCalled((whole,), spoke=False)]


async def test_an_answer_that_collided_is_asked_for_again_when_the_other_is_over(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    desk.link.inbox.post(AnswerTools((ToolResult("c1", {"ok": True}),), then_reply=True))
    await session.told(AskReply)
    # The other reply began before our question arrived: it does not know the tool's result.
    session.push(ReplyBegan("r1"), COLLISION)
    await wait_all_tasks_blocked()
    assert len(session.said(AskReply)) == 1
    session.push(ReplyEnded("r1", ReplyStatus.COMPLETED))
    await wait_all_tasks_blocked()
    assert len(session.said(AskReply)) == 2


@pytest.mark.parametrize("begins", [True, False], ids=["it begins after all", "nothing is told of it"])
async def test_a_question_that_collided_with_a_reply_of_which_nothing_is_known_is_not_asked_again_at_once(
    begins: bool, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    desk.link.inbox.post(AskReply())
    await session.told(AskReply)
    session.push(COLLISION)
    await trio.sleep(RETRY_SECONDS - 0.1)
    assert len(session.said(AskReply)) == 1
    if begins:
        session.speak("r1", "i1", ms(200))
    await trio.sleep(1)
    assert len(session.said(AskReply)) == (1 if begins else 2)


async def test_two_questions_at_once_are_one(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    desk.link.inbox.post(AskReply())
    desk.link.inbox.post(AskReply())
    await wait_all_tasks_blocked()
    assert len(session.said(AskReply)) == 1
    session.speak("r1", "i1", ms(200))
    await wait_all_tasks_blocked()
    assert len(session.said(AskReply)) == 1


@pytest.mark.parametrize("automatic", [True, False])
async def test_a_wish_made_while_the_caller_speaks_waits_and_an_automatic_answer_fulfils_it(
    automatic: bool, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery, config=SESSION if automatic else MANUAL)
    session = await desk.up()
    session.push(SpeechStarted("u1"))
    await wait_all_tasks_blocked()
    desk.link.inbox.post(AskReply())
    await wait_all_tasks_blocked()
    assert session.said(AskReply) == []
    session.push(SpeechStopped("u1"))
    await wait_all_tasks_blocked()
    assert len(session.said(AskReply)) == (0 if automatic else 1)
    session.speak("r1", "i1", ms(200))
    await wait_all_tasks_blocked()
    assert len(session.said(AskReply)) == (0 if automatic else 1)


@pytest.mark.parametrize("status", [ReplyStatus.FAILED, ReplyStatus.INCOMPLETE])
async def test_a_reply_that_broke_off_in_its_words_is_gone_on_with_and_not_said_again(
    status: ReplyStatus, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery, limits=REPLACING)
    session = await desk.up()
    for reply in ("r1", "r2"):
        session.speak(reply, f"i{reply}", ms(2000), "We are open from nine to five, and on Saturday", end=False)
        session.push(ReplyEnded(reply, status, gravity=Gravity.RETRY))
        await trio.sleep(1)
    assert session.texts == [GO_ON]
    assert len(session.said(AskReply)) == 1
    if status is ReplyStatus.FAILED:  # twice: then it is another session that goes on
        assert desk.model.sessions[1].texts.count(GO_ON) == 1
        assert len(desk.model.sessions[1].said(AskReply)) == 1


async def test_an_answer_that_the_model_takes_back_before_a_word_is_asked_for_once_more(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery, config=MANUAL)
    session = await desk.up()
    session.push(SpeechStarted("u1"), SpeechStopped("u1"))
    await session.told(AskReply)
    session.push(ReplyBegan("r1"), ReplyEnded("r1", ReplyStatus.CANCELLED))
    await session.told(AskReply, 2)
    session.speak("r2", "i2", ms(200))
    await trio.sleep(10)
    assert len(session.said(AskReply)) == 2
