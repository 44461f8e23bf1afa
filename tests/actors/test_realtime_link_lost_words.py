"""RealtimeLink and what the caller says about the time at which a session is lost: none of it is, and nobody is left waiting."""

import math

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.briefing import GO_ON
from actors.messages import (
    AskReply,
    CallerWaits,
    CallerWords,
    DropItem,
    Gravity,
    Judged,
    LinkLost,
    ReplyAudio,
    ReplyBegan,
    ReplyEnded,
    ReplyStatus,
    ReplyWords,
    SpeechStarted,
    SpeechStopped,
)
from actors.waiting import FILLER_SHARE, FILLERS_AT_MOST, HEARD_LATE, NOTICED_WITHIN
from tests.kit.calls import LOUD, MANUAL, QUIET, SESSION, SILENCE, ReplacingDesk, ms
from tests.kit.model import Place


async def test_an_answer_that_was_never_announced_is_one_all_the_same(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = ReplacingDesk(nursery, config=MANUAL)
    first = await desk.up()
    await desk.caller(600)
    first.push(SpeechStarted("u1"), SpeechStopped("u1"))
    first.push(ReplyAudio("r1", "i1", ms(200)), ReplyEnded("r1", ReplyStatus.COMPLETED))
    await wait_all_tasks_blocked()
    first.lose()
    second = await desk.next()
    assert LOUD not in second.heard


async def test_a_word_over_the_agents_speech_that_a_dead_session_took_is_heard_by_the_next(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = ReplacingDesk(nursery)
    first = await desk.speaking(5, heard=2)
    await desk.caller(400)
    await wait_all_tasks_blocked()
    first.lose()
    second = await desk.next()
    await wait_all_tasks_blocked()
    assert second.heard == [LOUD] * 20


async def test_a_word_over_the_agents_speech_that_is_being_judged_when_the_session_dies_is_heard_by_the_next(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = ReplacingDesk(nursery)
    first = await desk.speaking(5, heard=2)
    desk.suspected = trio.current_time()
    await desk.caller(600)
    first.push(ReplyWords("r1", "i1", "and"))  # it lives, and takes no notice of the caller
    await wait_all_tasks_blocked()
    first.lose()
    second = await desk.next()
    assert second.heard == [LOUD] * 30


async def test_a_word_over_the_agents_speech_that_a_dead_session_did_not_hear_is_heard_by_the_next(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = ReplacingDesk(nursery)
    await desk.speaking(5, heard=2)
    await desk.caller(600)
    began = trio.current_time() - 0.6
    await desk.caller(2000, QUIET)
    second = await desk.next()
    assert trio.current_time() - began == pytest.approx(NOTICED_WITHIN + SILENCE / 2, abs=0.05)
    assert [payload for payload in second.heard if payload == LOUD] == [LOUD] * 30
    assert second.said(AskReply) == [], "nobody knows yet whether it was a word"


async def test_a_single_short_word_over_the_agents_speech_that_a_dead_session_did_not_hear_is_heard_by_the_next(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = ReplacingDesk(nursery)
    await desk.speaking(5, heard=2)
    await desk.caller(220)  # as long as the vowel of "Stop"
    await desk.caller(3000, QUIET)
    second = await desk.next()
    assert [payload for payload in second.heard if payload == LOUD] == [LOUD] * 11


async def test_who_spoke_over_the_agent_to_a_dead_session_waits_from_the_end_of_its_speech_if_there_is_no_other_session(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = ReplacingDesk(nursery)
    await desk.speaking(2, heard=1.3)
    desk.model.places = (Place(opens_after=math.inf),)
    await desk.caller(600)
    turn_ends = SESSION.turn_detection.silence_ms / 1000
    await trio.sleep(0.1 + turn_ends + FILLER_SHARE * SILENCE)
    assert [event.times for event in desk.flow.take_all() if isinstance(event, CallerWaits)] == [1]


@pytest.mark.parametrize("seconds", [0.2, 2.0])
async def test_who_was_hardly_answered_when_the_session_died_is_heard_again_and_answered_anew(
    seconds: float, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = ReplacingDesk(nursery, config=MANUAL)
    first = await desk.up()
    await desk.caller(600)
    first.push(SpeechStarted("u1"), SpeechStopped("u1"))  # and it is never written down
    await first.told(AskReply)
    first.speak("r1", "i1", ms(1000 * seconds), "We are open from nine", end=False)
    desk.speech_until = trio.current_time() + seconds
    await trio.sleep(0.1)
    first.lose()
    second = await desk.next()
    again = LOUD in second.heard
    assert again is (seconds < 1)
    assert (GO_ON in second.texts) is not again
    if again:
        second.push(SpeechStarted("u1"), SpeechStopped("u1"))
    with trio.fail_after(1):
        await second.told(AskReply)
    second.speak("r2", "i2", ms(2000))
    await trio.sleep(60)
    assert len(second.said(AskReply)) == 1


@pytest.mark.parametrize("again", [False, True], ids=["silent", "speaking again"])
@pytest.mark.parametrize("over", [False, True], ids=["in silence", "over the agent"])
@pytest.mark.parametrize("contested", [False, True])
async def test_what_was_said_in_silence_before_the_session_was_there_does_not_interrupt_the_filler(
    contested: bool, over: bool, again: bool, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = ReplacingDesk(nursery, config=MANUAL)
    first = await desk.up()
    if over:
        desk.speech_until = trio.current_time() + 30
    await desk.caller(600)
    if not over:
        first.push(SpeechStarted("u1"), SpeechStopped("u1"))
        await wait_all_tasks_blocked()
        desk.watcher.take_all()
    first.lose()
    second = await desk.next()
    assert LOUD in second.heard
    desk.contested, desk.speech_until = (
        contested,
        trio.current_time() + 30,
    )  # the filler is being heard, or the agent still is
    if again:
        await desk.caller(60)
    second.push(SpeechStarted("u2"))
    await wait_all_tasks_blocked()
    assert desk.watcher.take_all() == ([SpeechStarted("u2")] if over or again else [])
    if not (over or again):
        second.push(SpeechStopped("u2"))
        await second.told(AskReply)


@pytest.mark.parametrize("over", [0.0, 1.0])
async def test_who_spoke_to_a_dead_session_and_waits_is_not_kept_waiting_anew_by_the_next_one(
    over: float, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = ReplacingDesk(nursery, config=MANUAL)
    first = await desk.up()
    first.speak("r1", "i1", ms(2000))
    desk.speech_until = trio.current_time() + over
    await trio.sleep(0.4)
    await desk.caller(600)
    silent_from = trio.current_time()
    second = await desk.next()
    second.push(SpeechStarted("u1"))
    await desk.caller(500, QUIET)
    second.push(SpeechStopped("u1"))
    await second.told(AskReply)
    while not any(isinstance(event, CallerWaits) for event in desk.flow.take_all()):
        await trio.sleep(0.05)
        assert trio.current_time() < silent_from + SILENCE


async def test_a_session_that_is_given_up_leaves_no_caller_in_silence_until_there_is_another(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = ReplacingDesk(nursery)
    await desk.up()
    desk.model.places = (Place(opens_after=math.inf),)
    await desk.caller(600)
    heard = [trio.current_time()]
    while not desk.over.is_set():
        with trio.move_on_after(SILENCE):
            while not isinstance(event := await desk.flow.receive(), CallerWaits | LinkLost):
                pass
        heard.append(trio.current_time())
        assert isinstance(event, CallerWaits | LinkLost), f"silence for {SILENCE} s"
        await wait_all_tasks_blocked()
    assert len(heard) == 1 + FILLERS_AT_MOST + 1, "fillers, and then the link is lost"


@pytest.mark.parametrize("heard", ["nothing", "a noise", "a turn"])
async def test_a_reply_that_broke_off_is_gone_on_with_unless_what_came_meanwhile_was_a_turn(
    heard: str, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = ReplacingDesk(nursery, config=MANUAL)
    first = await desk.speaking(1, heard=0.1, end=False)
    desk.contested = True
    desk.suspected = trio.current_time()
    await desk.caller(400)
    first.lose()
    second = await desk.next()
    desk.suspected = None
    assert second.said(AskReply) == [], "it may have been the caller"
    if heard != "nothing":
        second.push(SpeechStarted("u1"), SpeechStopped("u1"))
        await wait_all_tasks_blocked()
        desk.link.inbox.post(Judged(taken=heard == "a turn"))
    await trio.sleep(desk.link.turn_ends() + HEARD_LATE)
    went_on = GO_ON in second.texts
    assert went_on is (heard != "a turn")
    assert len(second.said(AskReply)) == 1
    second.speak("r2", "i2", ms(200))
    await trio.sleep(1)
    assert second.said(DropItem).count(DropItem("once_back_1")) == went_on


@pytest.mark.parametrize("third_after", [0.0, 2.0])
async def test_a_reply_that_broke_off_is_gone_on_with_although_the_next_session_is_lost_before_it_could(
    third_after: float, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = ReplacingDesk(nursery, config=MANUAL)
    first = await desk.up()
    first.speak("r1", "i1", ms(1000), "Well, you", end=False)
    desk.speech_until = trio.current_time() + 1.0
    await trio.sleep(0.1)
    desk.suspected = trio.current_time()
    await desk.caller(400)
    first.lose()
    second = await desk.next()
    desk.suspected = None
    desk.model.places = (Place(opens_after=third_after),)
    second.lose()
    third = await desk.next(3)
    assert third.said(AskReply) == []
    await trio.sleep(desk.link.turn_ends() + HEARD_LATE)
    assert third.texts.count(GO_ON) == len(third.said(AskReply)) == 1


async def test_who_took_the_floor_and_was_heard_by_no_session_is_answered_all_the_same(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = ReplacingDesk(nursery, config=MANUAL)
    first = await desk.up()
    first.speak("r1", "i1", ms(5000))
    await trio.sleep(1)
    desk.speech_until = trio.current_time() + 4
    await desk.caller(160)
    desk.speech_until = trio.current_time()
    desk.link.inbox.post(Judged(taken=True, heard_from=trio.current_time() - 0.16))
    await wait_all_tasks_blocked()
    first.lose()
    second = await desk.next()
    assert second.said(AskReply) == [], "the model may hear it yet"
    with trio.fail_after(SILENCE):
        await second.told(AskReply)
    second.speak("r2", "i2", ms(200))
    await trio.sleep(30)
    assert len(second.said(AskReply)) == 1


@pytest.mark.parametrize(("echoing", "milliseconds"), [(False, 800), (False, 220), (True, 800)])
async def test_who_speaks_over_the_agents_last_words_while_there_is_no_session_waits_from_the_end_of_them(
    echoing: bool, milliseconds: int, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = ReplacingDesk(nursery, config=MANUAL)
    first = await desk.speaking(2.5, heard=1)
    desk.model.places = (Place(opens_after=math.inf),)
    desk.echoing = echoing  # then it may be the agent
    first.lose()
    await trio.sleep(0.5)
    await desk.caller(milliseconds)
    await trio.sleep_until(desk.speech_until + FILLER_SHARE * SILENCE + 0.1)
    waits = [event for event in desk.flow.take_all() if isinstance(event, CallerWaits)]
    assert [event.times for event in waits] == [1] * (not echoing)


async def test_what_is_said_while_a_model_that_lives_is_waited_for_is_heard_by_the_next_if_it_never_answers(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = ReplacingDesk(nursery, Place(lives_after=0.1), config=MANUAL)
    first = await desk.up()
    await desk.caller(600)
    first.push(SpeechStarted("u1"), SpeechStopped("u1"), CallerWords("u1", "When are you open?", True))
    await first.told(AskReply)
    await desk.caller(1000, QUIET)
    await desk.caller(800)  # "Hello? Are you there?"
    second = await desk.next()
    assert second.heard.count(LOUD) == 40


async def test_what_is_said_to_a_model_that_is_too_busy_and_hears_nothing_is_heard_by_the_next_session(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = ReplacingDesk(nursery)
    first = await desk.up()
    desk.link.inbox.post(AskReply())
    await desk.caller(1000)
    await desk.caller(200, QUIET)
    first.push(ReplyBegan("r1"), ReplyEnded("r1", ReplyStatus.FAILED, gravity=Gravity.BUSY))
    await trio.sleep(1)
    first.push(ReplyBegan("r2"), ReplyEnded("r2", ReplyStatus.FAILED, gravity=Gravity.BUSY))
    await wait_all_tasks_blocked()
    first.lose()
    second = await desk.next()
    assert second.heard.count(LOUD) == 50
