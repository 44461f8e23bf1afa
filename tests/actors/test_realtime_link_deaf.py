"""RealtimeLink and a model that lives, and takes no notice of the caller, or not of the end of what they say."""

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.ear import REST_MS, STEADY_MS
from actors.messages import (
    AskReply,
    CallerDone,
    CallerSaid,
    CallerSpoke,
    CallerWords,
    CancelReply,
    CommitTurn,
    Gravity,
    ItemEnded,
    Judged,
    ModelTrouble,
    Probe,
    ReplyAudio,
    ReplyBegan,
    ReplyEnded,
    ReplyStatus,
    SessionAgreed,
    SessionConfig,
    SpeechStarted,
    SpeechStopped,
    TurnCommitted,
)
from tests.kit.calls import (
    FILLER_AFTER,
    LIMITS,
    LOUD,
    MANUAL,
    PROBE_AFTER,
    QUIET,
    SESSION,
    SILENCE,
    TURN_END,
    LinkDesk,
    ms,
)
from tests.kit.model import FakeSession, Place, agreed_to

FRAME = 0.02

LIVES = SessionAgreed(agreed_to(SESSION))


async def answer_turn(session: FakeSession, number: int) -> None:
    """The model takes what was committed for a turn, is asked, and answers."""
    session.push(TurnCommitted(f"u{number}"))
    with trio.fail_after(1):
        await session.told(AskReply, number)
    session.speak(f"r{number}", f"i{number}", ms(20))


async def not_heard(desk: LinkDesk, session: FakeSession, milliseconds: int = 1000) -> None:
    """The caller speaks, the model takes no notice, and answers the probe."""
    probes = len(session.said(Probe))
    await desk.caller(milliseconds)
    with trio.fail_after(10):
        await session.told(Probe, probes + 1)
    session.push(LIVES)
    await desk.caller(100, QUIET)


@pytest.mark.parametrize("config", [SESSION, MANUAL], ids=["the model answers by itself", "it is asked"])
async def test_what_a_deaf_model_took_no_notice_of_is_committed_and_answered_as_any_turn(
    config: SessionConfig, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery, config=config)
    session = await desk.up()
    await not_heard(desk, session)
    assert [at - desk.began for at in session.times(CommitTurn)] == pytest.approx([1 - FRAME + PROBE_AFTER])
    assert session.said(AskReply) == []
    session.push(TurnCommitted("u1"))
    with trio.fail_after(1):
        await session.told(AskReply)
    told = desk.flow.take_all()
    assert [event for event in told if isinstance(event, CallerSpoke | CallerDone)] == [CallerSpoke(), CallerDone("u1")]
    session.push(ReplyBegan("r1"), CallerWords("u1", "When are you open?", True))
    session.speak("r1", "i1", ms(200))
    await trio.sleep(100)
    assert CallerSaid("u1", "When are you open?", None) in desk.flow.take_all()
    assert not desk.over.is_set()
    assert len(session.said(AskReply)) == len(session.said(CommitTurn)) == 1


@pytest.mark.parametrize("committed", [True, False], ids=["the turn is taken", "there is nothing to take"])
async def test_a_turn_that_a_model_which_lives_hears_begin_and_never_end_is_ended_for_it(
    committed: bool, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery, config=MANUAL)
    session = await desk.up()
    await desk.caller(300)
    session.push(SpeechStarted("u1"))
    await desk.caller(1000)
    nothing = ModelTrouble("input_audio_buffer_commit_empty", "buffer too small", Gravity.BENIGN)
    with trio.fail_after(SILENCE):
        await session.told(Probe)
        session.push(SessionAgreed(agreed_to(MANUAL)))
        await session.told(CommitTurn)
        session.push(TurnCommitted("u1") if committed else nothing)
        await session.told(AskReply)
    session.push(CallerWords("u1", "When are you open?", True))
    session.speak("r1", "i1", ms(200))
    await trio.sleep(100)
    assert len(session.said(AskReply)) == len(session.said(CommitTurn)) == len(session.said(Probe)) == 1
    assert [event for event in desk.flow.take_all() if isinstance(event, CallerDone)] == [CallerDone("u1")] * committed
    assert not desk.over.is_set()


async def test_a_noise_that_never_dips_does_not_hold_the_callers_turn_open_for_ever(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery, Place(lives_after=0), config=MANUAL)
    session = await desk.up()
    nursery.start_soon(desk.caller, 60_000)
    steady = STEADY_MS / 1000 + PROBE_AFTER
    for number in (1, 2, 3):
        began = trio.current_time()
        session.push(SpeechStarted(f"u{number}"))
        with trio.fail_after(steady + 0.1):
            await session.told(CommitTurn, number)
        assert trio.current_time() - began == pytest.approx(steady, abs=0.1)
        session.push(TurnCommitted(f"u{number}"))
        await session.told(AskReply, number)
        session.speak(f"r{number}", f"i{number}", ms(200))
        desk.speech_until = trio.current_time() + 1
        await trio.sleep(1)
    assert not desk.over.is_set()


async def test_a_noise_over_the_agent_that_a_model_hears_begin_and_never_end_makes_nobody_wait(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery, Place(lives_after=0), config=MANUAL)
    session = await desk.up()
    desk.contested = True
    desk.speech_until = trio.current_time() + 2
    await desk.caller(300)
    session.push(SpeechStarted("u1"))
    await desk.caller(200)
    desk.link.inbox.post(Judged(taken=False))
    await trio.sleep(30)
    assert session.said(CommitTurn) == session.said(AskReply) == desk.fillers() == []
    assert not desk.over.is_set()


async def test_the_wait_of_a_caller_whom_the_model_did_not_hear_counts_from_the_end_of_their_turn(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    await not_heard(desk, session)
    session.push(TurnCommitted("u1"), ReplyBegan("r1"))
    filler_due = 1 - FRAME + TURN_END + FILLER_AFTER
    await trio.sleep(filler_due - desk.now() - 0.01)
    assert desk.fillers() == []
    await trio.sleep(0.02)
    assert desk.fillers() == [1]
    assert desk.now() < 1 - FRAME + SILENCE


async def test_a_model_that_has_nothing_to_commit_is_asked_to_speak_all_the_same(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    await not_heard(desk, session)
    session.push(ModelTrouble("input_audio_buffer_commit_empty", "buffer too small", Gravity.BENIGN))
    with trio.fail_after(1):
        await session.told(AskReply)
    session.speak("r1", "i1", ms(200))
    await trio.sleep(100)
    assert not desk.over.is_set()
    assert len(session.said(AskReply)) == len(session.said(CommitTurn)) == 1


async def test_a_model_that_does_not_say_that_it_committed_is_given_up_in_time(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    await not_heard(desk, await desk.up())
    assert "silent" in (await desk.lost(20)).reason


async def test_a_turn_that_the_model_hears_begin_when_it_is_told_of_it_is_over_when_it_is_committed(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    await not_heard(desk, session)
    session.push(SpeechStarted("u1"), TurnCommitted("u1"))
    with trio.fail_after(1):
        await session.told(AskReply)
    told = desk.flow.take_all()
    assert [event for event in told if isinstance(event, CallerSpoke | CallerDone)] == [CallerSpoke(), CallerDone("u1")]


async def test_a_turn_that_the_model_detected_itself_meanwhile_is_answered_once(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery, config=MANUAL)
    session = await desk.up()
    await not_heard(desk, session)
    session.push(SpeechStarted("u1"), SpeechStopped("u1"), TurnCommitted("u1"))
    session.push(ModelTrouble("input_audio_buffer_commit_empty", "buffer too small", Gravity.BENIGN))
    with trio.fail_after(1):
        await session.told(AskReply)
    session.speak("r1", "i1", ms(200))
    await trio.sleep(100)
    assert len(session.said(AskReply)) == 1
    assert [event for event in desk.flow.take_all() if isinstance(event, CallerDone)] == [CallerDone("u1")]


async def test_a_turn_of_which_only_that_it_is_committed_is_told_is_answered_as_any_other(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery, config=MANUAL)
    session = await desk.up()
    await desk.caller(1000)
    session.push(TurnCommitted("u1"), CallerWords("u1", "Hello?", final=True))
    with trio.fail_after(1):
        await session.told(AskReply)
    told = [event for event in desk.flow.take_all() if isinstance(event, CallerSpoke | CallerDone | CallerSaid)]
    assert told == [CallerSpoke(), CallerDone("u1"), CallerSaid("u1", "Hello?", None)]


async def test_a_noisy_line_does_not_make_the_agent_talk_to_itself(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery, config=MANUAL)
    session = await desk.up()
    await not_heard(desk, session)
    await answer_turn(session, 1)
    await desk.caller(1000, QUIET)
    await not_heard(desk, session)
    second = await desk.model.session(2)  # the first might be deaf; this one says nothing to it either
    for _ in range(20):  # a machine that runs now and then
        await desk.caller(1000, QUIET)
        await not_heard(desk, second)
    assert len(session.said(AskReply)) == len(session.said(CommitTurn)) == 1
    assert second.said(AskReply) == second.said(CommitTurn) == desk.fillers() == []
    await desk.caller(REST_MS, QUIET)
    await not_heard(desk, second)
    assert len(second.said(CommitTurn)) == 1
    assert len(desk.model.sessions) == 2


async def test_what_a_deaf_model_takes_no_notice_of_again_is_heard_by_another_session_in_time(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery, config=MANUAL)
    session = await desk.up()
    await not_heard(desk, session)
    await answer_turn(session, 1)
    await desk.caller(1000, QUIET)
    fillers = len(desk.fillers())
    await not_heard(desk, session)
    second = await desk.model.session(2)
    await trio.sleep(0.1)
    assert second.heard.count(LOUD) == 50
    assert len(session.said(CommitTurn)) == 1
    second.push(SpeechStarted("v1"), SpeechStopped("v1"), TurnCommitted("v1"))
    with trio.fail_after(1):
        await second.told(AskReply)
    await trio.sleep(SILENCE - PROBE_AFTER)
    assert len(desk.fillers()) == fillers + 1  # who was not heard at first has waited since they fell silent
    assert not desk.over.is_set()


async def test_a_noisy_line_on_which_the_caller_speaks_now_and_then_does_not_end_in_the_menu(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery, config=MANUAL, limits=attrs.evolve(LIMITS, silence=2.0))
    session = await desk.up()
    for number in range(2, 12):
        await not_heard(desk, session)
        await answer_turn(session, 1)
        await desk.caller(1000, QUIET)
        await not_heard(desk, session)
        session = await desk.next(number)
        session.push(SpeechStarted("v"), SpeechStopped("v"), TurnCommitted("v"))
        with trio.fail_after(1):
            await session.told(AskReply)
        session.speak("s", "j", ms(20))
        session.commands.clear()
        await trio.sleep(0.1)
    assert not desk.over.is_set()


async def test_a_model_that_hears_the_caller_after_all_is_kept(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery, Place(opens_after=0.4, lives_after=0), config=MANUAL)
    session = await desk.up()
    await not_heard(desk, session)
    await answer_turn(session, 1)
    await desk.caller(1000, QUIET)
    await desk.caller(1000)
    with trio.fail_after(10):
        await session.told(Probe, 2)
    session.push(SpeechStarted("u2"), SpeechStopped("u2"), TurnCommitted("u2"))
    session.speak("r2", "i2", ms(20))
    await trio.sleep(20)
    assert session.said(Probe) != []
    assert not session.closed


@pytest.mark.parametrize("by", ["words", "another turn"])
async def test_a_caller_of_whom_the_model_heard_something_is_spoken_for_again(
    by: str, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    for number in (1, 2, 3):
        await not_heard(desk, session)
        assert len(session.said(CommitTurn)) == number
        await answer_turn(session, number)
        if by == "words":
            session.push(CallerWords(f"u{number}", "Hello?", True))
        else:
            session.push(SpeechStarted(f"v{number}"), SpeechStopped(f"v{number}"))
            session.speak(f"s{number}", f"j{number}", ms(20))
        await trio.sleep(1)


async def test_a_model_that_says_something_else_in_between_is_asked_all_the_same_whether_it_hears_the_caller(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    await desk.caller(1000)
    session.push(CallerWords("u0", "what was said before", True))
    await desk.caller(100, QUIET)
    await not_heard(desk, session, 0)
    assert len(session.said(CommitTurn)) == 1


async def test_what_was_committed_and_not_answered_is_heard_by_the_next_session(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery, limits=attrs.evolve(LIMITS, replace=8.0))
    session = await desk.up()
    await not_heard(desk, session)
    session.push(TurnCommitted("u1"))
    await wait_all_tasks_blocked()
    session.lose()
    with trio.fail_after(5):
        second = await desk.model.session(2)
    await trio.sleep(1)
    assert second.heard.count(LOUD) == 50
    assert second.said(CommitTurn) == []


async def test_a_model_is_given_more_than_a_second_to_show_that_it_lives_however_short_the_silence_may_be(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery, Place(lives_after=1.2), config=MANUAL, limits=attrs.evolve(LIMITS, silence=2.0))
    session = await desk.up()
    await desk.caller(1000)
    with trio.fail_after(10):
        await session.told(CommitTurn)
    assert not desk.over.is_set()


async def test_what_still_comes_of_a_reply_that_was_broken_off_is_no_answer_to_who_broke_it_off(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery, Place(lives_after=0), config=MANUAL)
    session = await desk.up()
    desk.contested = True
    session.speak("r1", "i1", ms(2000), end=False)
    desk.speech_until = trio.current_time() + 2
    await desk.caller(800)
    desk.link.inbox.post(Judged(taken=True, heard_from=trio.current_time() - 0.8))
    desk.speech_until = trio.current_time()
    with trio.fail_after(1):
        await session.told(CancelReply)
    session.push(ReplyAudio("r1", "i1", ms(200)), ItemEnded("r1", "i1"), ReplyEnded("r1", ReplyStatus.CANCELLED))
    await desk.caller(300)
    with trio.fail_after(SILENCE):
        await session.told(CommitTurn)
