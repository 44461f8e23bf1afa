"""RealtimeLink's watchdogs: a voice that is due and does not come, and a model that has stopped with its line open."""

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.ear import SYLLABLE_MS
from actors.messages import (
    AnswerTools,
    AskReply,
    CallerAudio,
    CallerWords,
    CancelReply,
    CommitTurn,
    Gravity,
    Judged,
    ModelEvent,
    ModelTrouble,
    Probe,
    ReplyAudio,
    ReplyBegan,
    ReplyEnded,
    ReplyOver,
    ReplyStatus,
    SessionAgreed,
    SetPatience,
    SpeechStarted,
    SpeechStopped,
    StopTalking,
    ToolCall,
    ToolResult,
    TurnCommitted,
)
from actors.waiting import CALLER_TURN_AT_MOST, DOUBTS_APART, NOTICED_WITHIN, PROBE_PATIENCE
from tests.kit.calls import (
    FILLER_AFTER,
    LIMITS,
    LOST_AFTER,
    LOUD,
    MANUAL,
    PROBE_AFTER,
    QUIET,
    SESSION,
    SILENCE,
    LinkDesk,
    ms,
)
from tests.kit.model import Place, agreed_to

FRAME = 0.02

# ---------------------------------------------------------------- a voice that is due


async def test_a_reply_that_was_asked_for_and_does_not_begin_is_not_waited_for_longer(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    await desk.up()
    await trio.sleep(5)
    desk.link.inbox.post(AskReply())
    assert "no sign of life" in (await desk.lost()).reason
    assert desk.ended_at == pytest.approx(5 + SILENCE)


@pytest.mark.parametrize("seconds", [5, 8])
async def test_a_model_that_lives_and_is_slow_is_waited_for_as_long_as_there_are_fillers(
    seconds: float, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery, Place(lives_after=0.1))
    session = await desk.up()
    session.push(SpeechStarted("u1"), SpeechStopped("u1"), ReplyBegan("r1"))
    await trio.sleep(seconds)
    session.push(ReplyAudio("r1", "i1", ms(200)), ReplyEnded("r1", ReplyStatus.COMPLETED))
    await trio.sleep(60)
    assert desk.fillers() == [1, 2][: int(seconds / FILLER_AFTER)]
    assert len(desk.model.sessions) == 1
    assert not desk.over.is_set()


async def test_a_model_that_lives_and_never_speaks_is_given_up_after_the_last_filler(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery, Place(lives_after=0.1))
    session = await desk.up()
    session.push(SpeechStarted("u1"), SpeechStopped("u1"), ReplyBegan("r1"))
    assert "silent" in (await desk.lost()).reason
    assert desk.ended_at == pytest.approx(2 * FILLER_AFTER + SILENCE)


@pytest.mark.parametrize("automatic", [True, False], ids=["the model answers by itself", "it is asked"])
async def test_an_answer_is_due_when_the_caller_has_finished(
    automatic: bool, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery, config=SESSION if automatic else MANUAL)
    session = await desk.up()
    session.push(SpeechStarted("u1"))
    await trio.sleep(30)  # as long as the caller speaks nothing is due
    session.push(SpeechStopped("u1"))
    await trio.sleep(100)
    assert len(session.said(AskReply)) == (not automatic)
    assert desk.over.is_set()
    assert desk.ended_at == pytest.approx(30 + SILENCE)


async def test_only_a_voice_ends_the_callers_wait(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    session.push(SpeechStarted("u1"), SpeechStopped("u1"))
    await trio.sleep(SILENCE - 1)
    session.push(ReplyBegan("r1"))
    await desk.lost()
    assert desk.ended_at == pytest.approx(2 * SILENCE - 1)  # it had given a sign of life; the caller heard fillers


async def test_a_voice_that_breaks_off_is_waited_for_anew(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    session.push(SpeechStarted("u1"), SpeechStopped("u1"), ReplyBegan("r1"))
    await trio.sleep(SILENCE - 1)
    session.speak("r1", "i1", ms(20), end=False)
    await desk.lost()
    assert desk.ended_at == pytest.approx(2 * SILENCE - 1)


async def test_a_model_that_calls_tools_for_ever_is_not_waited_for_for_ever(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    session.push(SpeechStarted("u1"), SpeechStopped("u1"))
    with trio.move_on_after(60):
        for number in range(1000):
            session.push(ReplyBegan(f"r{number}"))
            call = ToolCall(f"c{number}", "look_up", {"topic": "hours"})
            session.push(ReplyEnded(f"r{number}", ReplyStatus.COMPLETED, (call,)))
            await trio.sleep(0.05)
            desk.link.inbox.post(AnswerTools((ToolResult(f"c{number}", {"ok": True}),), then_reply=True))
            await trio.sleep(0.05)
            if desk.over.is_set():
                break
    assert desk.fillers() == [1, 2]
    assert desk.ended_at == pytest.approx(2 * FILLER_AFTER + SILENCE, abs=0.5)


async def test_a_model_that_falls_silent_after_many_tools_is_noticed(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    session.push(SpeechStarted("u1"), SpeechStopped("u1"))
    for number in range(5):
        session.push(ReplyBegan(f"r{number}"))
        session.push(ReplyEnded(f"r{number}", ReplyStatus.COMPLETED, (ToolCall(f"c{number}", "look_up", {}),)))
        await trio.sleep(0.05)
        desk.link.inbox.post(AnswerTools((ToolResult(f"c{number}", {"ok": True}),), then_reply=True))
        await trio.sleep(0.05)
    await desk.lost()  # the last of them was asked for, and never began
    assert desk.ended_at == pytest.approx(SILENCE, abs=0.5)


async def test_a_model_may_keep_silent_on_a_noise_once(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    for turn in range(3):
        session.push(SpeechStarted(f"u{turn}"), SpeechStopped(f"u{turn}"))
        session.push(ReplyBegan(f"n{turn}"), ReplyEnded(f"n{turn}", ReplyStatus.COMPLETED))
        await trio.sleep(30)
        assert not desk.over.is_set()
        session.push(SpeechStarted(f"v{turn}"), SpeechStopped(f"v{turn}"), ReplyBegan(f"r{turn}"))
        session.speak(f"r{turn}", f"i{turn}", ms(200))
        await trio.sleep(30)
    assert session.said(AskReply) == []
    assert not desk.over.is_set()


async def test_a_model_that_has_no_voice_is_asked_for_it_and_then_lost(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    for turn in (1, 2):
        session.push(SpeechStarted(f"u{turn}"), SpeechStopped(f"u{turn}"))
        session.push(ReplyBegan(f"r{turn}"), ReplyEnded(f"r{turn}", ReplyStatus.COMPLETED))
    with trio.fail_after(1):
        await session.told(AskReply, 1)
    session.push(ReplyBegan("r3"), ReplyEnded("r3", ReplyStatus.COMPLETED))
    assert "without a voice" in (await desk.lost()).reason
    assert len(session.said(AskReply)) == 1


async def test_a_reply_that_was_never_announced_is_a_reply_all_the_same(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    session.push(SpeechStarted("u1"), SpeechStopped("u1"))
    session.push(ReplyAudio("r1", "i1", ms(200)), ReplyEnded("r1", ReplyStatus.COMPLETED))
    await trio.sleep(100)
    assert not desk.over.is_set()
    assert desk.flow.take_all()[-1] == ReplyOver(spoke=True)


async def test_speech_that_is_still_playing_puts_the_end_off(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    desk.speech_until = trio.current_time() + 20
    session.speak("r1", "i1", ms(20_000), end=False)
    await desk.lost()
    assert desk.ended_at == pytest.approx(20 + SILENCE)


async def test_speech_that_is_cut_while_a_reply_is_due_does_not_put_the_end_off(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    desk.speech_until = trio.current_time() + 20
    session.push(ReplyBegan("r1"))
    await trio.sleep(5)
    session.push(SpeechStarted("u1"))
    await wait_all_tasks_blocked()
    desk.speech_until = trio.current_time()
    session.push(SpeechStopped("u1"), ReplyEnded("r1", ReplyStatus.CANCELLED))
    session.push(ReplyBegan("r2"))
    await desk.lost()
    assert desk.ended_at == pytest.approx(5 + SILENCE)


DONE: dict[str, list[ModelEvent]] = {
    "nothing asked": [],
    "said": [ReplyBegan("r1"), ReplyAudio("r1", "i1", ms(20)), ReplyEnded("r1", ReplyStatus.COMPLETED)],
    "broken off": [ReplyBegan("r1"), ReplyEnded("r1", ReplyStatus.CANCELLED)],
    "muted": [ReplyBegan("r1"), SpeechStarted("u1")],
    "the caller began again": [SpeechStarted("u1"), SpeechStopped("u1"), SpeechStarted("u2")],
}


@pytest.mark.parametrize("events", DONE.values(), ids=DONE)
async def test_when_nothing_is_due_a_silent_model_is_kept(
    events: list[ModelEvent], autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    session.push(*events)
    await trio.sleep(1000)
    assert not desk.over.is_set()
    assert session.said(Probe) == []


async def test_a_reply_that_nobody_wants_any_more_is_not_waited_for(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    session.push(ReplyBegan("r1"))
    await wait_all_tasks_blocked()
    desk.link.inbox.post(StopTalking())
    await trio.sleep(1000)
    assert not desk.over.is_set()


async def test_a_wish_is_insisted_on_when_the_caller_does_not_stop_speaking(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desks = [LinkDesk(nursery) for _ in range(8)]  # several, since the order of what happens at one moment is by chance
    for desk in desks:
        session = await desk.up()
        session.push(SpeechStarted("u1"))
    await trio.sleep(3)
    for desk in desks:
        desk.link.inbox.post(AskReply())
    await trio.sleep(CALLER_TURN_AT_MOST - 0.1)
    assert not any(desk.model.sessions[0].said(AskReply) for desk in desks)
    await trio.sleep(0.2)
    for desk in desks:
        asked = [at - desk.began for at in desk.model.sessions[0].times(AskReply)]
        assert asked == pytest.approx([3 + CALLER_TURN_AT_MOST])
        await desk.lost()  # and then it is due like any other
        assert desk.ended_at == pytest.approx(3 + CALLER_TURN_AT_MOST + SILENCE)


# ---------------------------------------------------------------- a caller who waits hears that somebody is there


async def test_a_caller_who_waits_for_a_slow_reply_hears_a_filler_in_time(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    session.push(SpeechStarted("u1"), SpeechStopped("u1"))
    await trio.sleep(FILLER_AFTER - 0.1)
    assert desk.fillers() == []
    await trio.sleep(0.2)
    assert desk.fillers() == [1]
    session.push(ReplyBegan("r1"))
    session.speak("r1", "i1", ms(200))
    await trio.sleep(100)
    assert desk.fillers() == []
    assert not desk.over.is_set()


async def test_while_tools_are_carried_out_the_caller_hears_fillers_and_the_model_is_not_blamed(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    session.push(SpeechStarted("u1"), SpeechStopped("u1"), ReplyBegan("r1"))
    session.push(ReplyEnded("r1", ReplyStatus.COMPLETED, (ToolCall("c1", "look_up", {}),)))
    await trio.sleep(2 * FILLER_AFTER + 0.5)
    assert desk.fillers() == [1, 2]
    desk.link.inbox.post(AnswerTools((ToolResult("c1", {"ok": True}),), then_reply=True))
    await trio.sleep(1)
    session.speak("r2", "i2", ms(200))
    await trio.sleep(100)
    assert not desk.over.is_set()


async def test_who_speaks_while_tools_are_carried_out_hears_no_filler_before_they_fall_silent(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery, Place(lives_after=0.1), config=MANUAL)
    session = await desk.up()
    session.push(SpeechStarted("u1"), SpeechStopped("u1"), ReplyBegan("r1"))
    session.push(ReplyEnded("r1", ReplyStatus.COMPLETED, calls=(ToolCall("c1", "look_up", {}),)))
    await trio.sleep(FILLER_AFTER - 1)
    session.push(SpeechStarted("u2"))
    await desk.caller(5000)
    assert desk.fillers() == []
    await trio.sleep(SILENCE - 0.5)  # the model does not tell of the end of it
    assert desk.fillers() == [1]


async def test_results_of_tools_and_a_second_try_do_not_restart_the_wait(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    session.push(SpeechStarted("u1"), SpeechStopped("u1"), ReplyBegan("r1"))
    session.push(ReplyEnded("r1", ReplyStatus.COMPLETED, (ToolCall("c1", "look_up", {}),)))
    await trio.sleep(1)
    desk.link.inbox.post(AnswerTools((ToolResult("c1", {"ok": True}),), then_reply=False))
    desk.link.inbox.post(AskReply())  # as the flow does when the guidance changes in between
    await trio.sleep(0.5)
    session.push(ReplyBegan("r2"), ReplyEnded("r2", ReplyStatus.FAILED, gravity=Gravity.RETRY))
    await trio.sleep(FILLER_AFTER - 1.5 + 0.1)
    assert desk.fillers() == [1]


async def test_each_wait_has_its_own_fillers_and_silence_counts_from_the_end_of_the_last_one(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    for turn in (1, 2, 3):
        session.push(SpeechStarted(f"u{turn}"), SpeechStopped(f"u{turn}"), ReplyBegan(f"r{turn}"))
        await trio.sleep(FILLER_AFTER + 0.1)
        desk.speech_until = trio.current_time() + 1.4  # the filler is heard
        session.push(CallerWords(f"u{turn}", "well", False))  # a sign of life, but no voice
        await trio.sleep(1.4 + FILLER_AFTER - 0.1)
        assert desk.fillers() == [1]
        session.speak(f"r{turn}", f"i{turn}", ms(200))
        await trio.sleep(1)


async def test_words_that_were_answered_with_nothing_are_answered_after_all(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    for words_first in (True, False):
        desk = LinkDesk(nursery)
        session = await desk.up()
        words, nothing = CallerWords("u1", "What are your hours?", True), ReplyEnded("r1", ReplyStatus.COMPLETED)
        session.push(SpeechStarted("u1"), SpeechStopped("u1"), ReplyBegan("r1"))
        session.push(*((words, nothing) if words_first else (nothing, words)))
        with trio.fail_after(1):
            await session.told(AskReply, 1)
        session.push(ReplyBegan("r2"))
        session.speak("r2", "i2", ms(200))
        await trio.sleep(100)
        assert len(session.said(AskReply)) == 1
        assert not desk.over.is_set()


async def test_nothing_is_said_to_a_turn_without_words(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    session.push(SpeechStarted("u1"), SpeechStopped("u1"), ReplyBegan("r1"))
    session.push(ReplyEnded("r1", ReplyStatus.COMPLETED), CallerWords("u1", " ", True))
    await trio.sleep(100)
    assert session.said(AskReply) == []
    assert desk.fillers() == []


# ---------------------------------------------------------------- a model that has stopped


async def test_a_caller_whom_the_model_does_not_hear_leads_to_one_probe_and_then_to_the_loss(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    await trio.sleep(7)
    await desk.caller(1000)
    last_word = desk.now() - FRAME
    assert "no sign of life" in (await desk.lost()).reason
    assert [at - desk.began for at in session.times(Probe)] == pytest.approx([last_word + PROBE_AFTER])
    assert desk.ended_at == pytest.approx(last_word + LOST_AFTER)


async def test_a_caller_whom_the_model_does_not_hear_hears_a_filler_before_the_session_is_given_up(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    await desk.caller(1000)
    last_word = trio.current_time() - FRAME
    await session.told(Probe)
    await trio.sleep(PROBE_PATIENCE + 0.01)
    assert desk.fillers() == [1]
    assert trio.current_time() - last_word < SILENCE
    await desk.lost()
    assert desk.ended_at == pytest.approx(1 - FRAME + LOST_AFTER)


async def test_what_is_loud_over_the_agent_makes_nobody_wait_but_a_model_that_says_nothing_to_it_is_asked_whether_it_lives(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    began = trio.current_time()
    desk.speech_until = began + 20
    for _ in range(9):
        await desk.caller(1000)
        session.push(SessionAgreed(agreed_to(SESSION)))
    await trio.sleep(100)
    asked = [at - began for at in session.times(Probe)]
    assert asked == pytest.approx([NOTICED_WITHIN + n * DOUBTS_APART for n in range(3)], abs=0.03)
    assert session.said(CommitTurn) == session.said(AskReply) == desk.fillers() == []
    assert not desk.over.is_set()
    desk.speech_until = trio.current_time() + 20
    await desk.caller(400)
    await desk.lost(within=NOTICED_WITHIN + SILENCE / 2)
    assert desk.fillers() == []


@pytest.mark.parametrize("speech", [0.1, 1.0])
async def test_a_noise_that_outlasts_the_agents_speech_brings_no_filler_while_a_slow_model_has_not_answered_yet(
    speech: float, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    began = trio.current_time()
    desk.speech_until = began + speech
    await desk.caller(2300)
    session.push(SessionAgreed(agreed_to(SESSION)))
    await wait_all_tasks_blocked()
    assert [at - began for at in session.times(Probe)] == pytest.approx([NOTICED_WITHIN], abs=0.03)
    assert desk.fillers() == []


async def test_a_model_that_hears_the_caller_speak_over_the_agent_is_not_asked_whether_it_lives_as_long_as_they_do(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery, config=MANUAL)
    session = await desk.up()
    desk.contested = True
    desk.speech_until = trio.current_time() + 20
    await desk.caller(300)
    session.push(SpeechStarted("u1"))
    await desk.caller(6000)
    assert session.said(Probe) == desk.fillers() == []
    await desk.lost(within=LOST_AFTER)  # it does not hear them fall silent


async def test_what_is_loud_over_the_agent_on_a_line_that_echoes_is_no_question(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    desk.echoing = True
    session = await desk.up()
    desk.speech_until = trio.current_time() + 3
    await desk.caller(3000)  # its echo: telephones do not take it out
    await trio.sleep(100)
    assert session.said(Probe) == []
    assert not desk.over.is_set()


@pytest.mark.parametrize(
    "answer",
    [SessionAgreed(agreed_to(SESSION)), ModelTrouble("x", "y", Gravity.BENIGN), SpeechStarted("u1")],
)
async def test_any_answer_to_the_probe_keeps_the_link_and_the_next_utterance_is_a_new_question(
    answer: ModelEvent, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    for number in (1, 2):
        await desk.caller(400)
        with trio.fail_after(10):
            await session.told(Probe, number)
        await trio.sleep(SILENCE / 2 - 0.1)  # just in time
        session.push(answer)
        await trio.sleep(100)
        assert not desk.over.is_set()
    assert len(session.said(Probe)) == 2
    assert session.said(AskReply) == session.said(CommitTurn) == []  # that it keeps silent on a noise is its right


@pytest.mark.parametrize(("payload", "milliseconds"), [(QUIET, 60_000), (LOUD, SYLLABLE_MS - 20)])
async def test_a_quiet_line_and_a_click_are_no_question(
    payload: str, milliseconds: int, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    await desk.caller(milliseconds, payload)
    await trio.sleep(100)
    assert session.said(Probe) == []
    assert not desk.over.is_set()


async def test_a_model_that_takes_notice_of_the_caller_is_not_probed(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    for turn in range(5):
        await desk.caller(1000)
        session.push(SpeechStarted(f"u{turn}"), SpeechStopped(f"u{turn}"))
        session.speak(f"r{turn}", f"i{turn}", ms(200))
        await trio.sleep(20)
    assert session.said(Probe) == []
    assert not desk.over.is_set()


async def test_what_was_said_before_there_was_a_session_is_a_question_too(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    for _ in range(50):
        desk.link.audio.post(CallerAudio(LOUD, 0))
    session = await desk.up()
    await desk.lost()
    assert len(session.said(Probe)) == 1
    assert desk.ended_at == pytest.approx(LOST_AFTER)


async def test_a_model_that_takes_nothing_in_any_more_is_noticed_all_the_same(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    await desk.caller(1000)
    session.takes = trio.Event()
    await desk.lost()
    assert desk.ended_at == pytest.approx(1 - FRAME + LOST_AFTER)
    assert session.closed


async def test_a_model_that_heard_the_caller_begin_and_never_says_that_they_ended_is_asked_whether_it_lives(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    session.push(SpeechStarted("u1"))
    await desk.caller(200)
    last_word = desk.now() - FRAME
    await desk.caller(10_000, QUIET)
    assert [at - desk.began for at in session.times(Probe)] == pytest.approx([last_word + PROBE_AFTER])
    assert desk.fillers() == [1]
    assert desk.ended_at == pytest.approx(last_word + LOST_AFTER)


async def test_a_caller_whose_words_the_model_does_not_take_waits_from_their_end(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery, limits=attrs.evolve(LIMITS, replace=8.0, connect=8.0))
    session = await desk.up()
    session.takes = trio.Event()
    desk.model.places = (Place(opens_after=7.0),)
    await desk.caller(1000)
    await trio.sleep(SILENCE - 2 * FRAME)
    assert desk.fillers()


async def test_a_short_word_into_a_dead_line_is_heard_by_the_next_session(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery, limits=attrs.evolve(LIMITS, replace=8.0))
    await desk.up()
    await desk.caller(160)
    last_word = desk.now() - FRAME
    second = await desk.next()
    assert desk.now() - last_word == pytest.approx(LOST_AFTER, abs=0.1)
    assert second.heard.count(LOUD) == 8


@pytest.mark.parametrize("lives", [True, False], ids=["it lives", "it is dead"])
async def test_what_was_judged_a_noise_on_a_line_that_echoes_is_heard_by_the_next_session_if_this_one_is_dead(
    lives: bool, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery, config=MANUAL, limits=attrs.evolve(LIMITS, replace=8.0))
    session = await desk.up()
    desk.echoing = desk.contested = True
    began = trio.current_time()
    desk.speech_until = began + 20
    await desk.caller(240)
    await desk.caller(260, QUIET)
    desk.link.inbox.post(Judged(taken=False, heard_from=began))
    with trio.fail_after(NOTICED_WITHIN):
        await session.told(Probe)
    if lives:
        session.push(SessionAgreed(agreed_to(MANUAL)))
        await trio.sleep(100)
        assert len(desk.model.sessions) == len(session.said(Probe)) == 1
        assert session.said(CommitTurn) == session.said(AskReply) == desk.fillers() == []
    else:
        assert (await desk.next()).heard.count(LOUD) == 12


@pytest.mark.parametrize("lost", [False, True], ids=["it lives", "it is lost"])
async def test_after_a_noise_that_broke_off_a_reply_somebody_speaks_again(
    lost: bool, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery, Place(lives_after=0), config=MANUAL, limits=attrs.evolve(LIMITS, replace=8.0))
    session = await desk.up()
    desk.contested = True
    session.speak("r1", "i1", ms(2000), end=False)
    desk.speech_until = trio.current_time() + 2
    await desk.caller(100)
    desk.link.inbox.post(Judged(taken=True, heard_from=trio.current_time() - 0.1))
    with trio.fail_after(1):
        await session.told(CancelReply)
    desk.speech_until = trio.current_time()
    session.push(ReplyAudio("r1", "i1", ms(200)), ReplyEnded("r1", ReplyStatus.CANCELLED))
    await wait_all_tasks_blocked()
    if lost:
        session.lose()
        session = await desk.next()
    with trio.fail_after(SILENCE):
        if not lost:
            await session.told(CommitTurn)
            session.push(TurnCommitted("u1"))
        await session.told(AskReply)


@pytest.mark.parametrize("pause", [2.0, 4.0])
async def test_a_caller_who_asks_again_and_again_does_not_put_the_loss_off(
    pause: float, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    # "Hello? … Hello?" is what people say into a dead line.
    desk = LinkDesk(nursery)
    session = await desk.up()
    with trio.move_on_after(60):
        while not desk.over.is_set():
            await desk.caller(400)
            await trio.sleep(pause)
    assert desk.over.is_set(), f"after 60 s of calls into the silence, and {len(session.said(Probe))} probes"


# ---------------------------------------------------------------- patience


@pytest.mark.parametrize("patience_ms", [200, 1100])
async def test_the_ear_and_the_wait_for_a_sign_of_life_follow_the_patience(
    patience_ms: int, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    desk.link.inbox.post(SetPatience(patience_ms))
    await desk.caller(600)
    silent_from = desk.now()
    await session.told(Probe)
    assert desk.now() == pytest.approx(silent_from + patience_ms / 1000 + SILENCE / 2, abs=2 * FRAME)


async def test_a_pause_within_the_patience_is_part_of_the_callers_words(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    desk.link.inbox.post(SetPatience(2000))
    await desk.caller(600)
    await trio.sleep(1.9)  # with the usual patience these would be two utterances, and the first counted
    await desk.caller(600)
    silent_from = desk.now()
    await session.told(Probe)
    assert desk.now() == pytest.approx(silent_from + 2.0 + SILENCE / 2, abs=2 * FRAME)
