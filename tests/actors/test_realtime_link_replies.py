"""RealtimeLink in a conversation: replies, interruptions, tools, and what is asked for again."""

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.briefing import GO_ON
from actors.messages import (
    AnswerTools,
    AskReply,
    CallerDone,
    CallerSaid,
    CallerSpoke,
    CallerWords,
    CallState,
    CancelReply,
    Configure,
    Cut,
    DropItem,
    Extract,
    Extracted,
    Floor,
    FloorTaken,
    Gravity,
    Guide,
    Interrupted,
    ItemEnded,
    ModelCommand,
    ModelEvent,
    ModelTrouble,
    ReplyAudio,
    ReplyBegan,
    ReplyEnded,
    ReplyOver,
    ReplyStatus,
    ReplyWords,
    Retune,
    Role,
    SessionAgreed,
    SetPatience,
    SpeechStarted,
    SpeechStopped,
    StopTalking,
    Tell,
    ToolResult,
    ToolsCalled,
    Truncate,
)
from actors.second_try import BUSY_SECONDS, HEEDED_LATE, RETRY_SECONDS
from actors.turn_answer import WORDS_WITHIN
from tests.kit.calls import LIMITS, MANUAL, REPLACING, SESSION, LinkDesk, a_tool_call, ms
from tests.kit.model import FakeSession, Place, agreed_to

COLLISION = ModelTrouble("conversation_already_has_active_response", "wait until it is finished", Gravity.BENIGN)


def failed(reply: str, gravity: Gravity = Gravity.RETRY) -> ReplyEnded:
    return ReplyEnded(reply, ReplyStatus.FAILED, reason="server_error", gravity=gravity)


def after_setup(session: FakeSession) -> list[ModelCommand]:
    """The commands that followed the setting up."""
    (first, *others) = [command for _, command in session.commands]
    assert isinstance(first, Configure)
    return others


# ---------------------------------------------------------------- replies


async def test_a_reply_reaches_the_framer_whole_and_in_order(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    session.speak("r1", "i1", [ms(100), ms(300)], "Good morning.")
    await wait_all_tasks_blocked()
    assert desk.framer.take_all() == [
        ReplyWords("r1", "i1", "Good morning."),
        ReplyAudio("r1", "i1", ms(100)),
        ReplyAudio("r1", "i1", ms(300)),
        ItemEnded("r1", "i1"),
        ReplyEnded("r1", ReplyStatus.COMPLETED),
    ]
    assert desk.flow.take_all() == [ReplyOver(spoke=True)]


async def test_tokens_and_the_callers_words_are_kept(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    session.push(SpeechStarted("u1"), SpeechStopped("u1"))
    session.push(CallerWords("u1", "Good ", final=False), CallerWords("u1", "Good day.", final=True))
    session.push(ReplyBegan("r1"), ReplyEnded("r1", ReplyStatus.COMPLETED, tokens=70))
    session.push(ReplyBegan("r2"), ReplyEnded("r2", ReplyStatus.COMPLETED, tokens=30))
    await wait_all_tasks_blocked()
    assert desk.notebook.record.tokens == 100
    assert [turn.text for turn in desk.notebook.record.turns] == ["Good day."]


@pytest.mark.parametrize("interrupting", [True, False])
async def test_the_callers_speech_mutes_the_reply_and_has_it_cancelled_if_the_model_would_go_on(
    interrupting: bool, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery, config=SESSION if interrupting else MANUAL)
    session = await desk.up()
    session.speak("r1", "i1", ms(400), end=False)
    session.push(SpeechStarted("u1"))
    session.push(ReplyAudio("r1", "i1", ms(100)), ReplyAudio("r1", "i2", ms(100)), SpeechStarted("u1"))
    await wait_all_tasks_blocked()
    assert desk.watcher.take_all() == [SpeechStarted("u1")] * 2
    assert desk.flow.take_all() == [CallerSpoke()] * 2
    assert after_setup(session) == ([] if interrupting else [CancelReply("r1")])
    session.push(ReplyEnded("r1", ReplyStatus.CANCELLED), ReplyAudio("r1", "i1", ms(20)))
    await wait_all_tasks_blocked()
    assert [m for m in desk.framer.take_all() if isinstance(m, ReplyAudio)] == [ReplyAudio("r1", "i1", ms(400))]
    assert desk.watcher.take_all() == []
    assert desk.flow.take_all() == [ReplyOver(spoke=False)]


async def test_a_reply_after_a_muted_one_is_heard(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    session.push(ReplyBegan("r1"), SpeechStarted("u1"), SpeechStopped("u1"))
    session.push(ReplyEnded("r1", ReplyStatus.CANCELLED))
    session.speak("r2", "i2", ms(200))
    await wait_all_tasks_blocked()
    assert ReplyAudio("r2", "i2", ms(200)) in desk.framer.take_all()


@pytest.mark.parametrize("spoke", [True, False])
async def test_a_model_that_breaks_its_reply_off_by_itself_takes_the_floor_if_it_had_spoken(
    spoke: bool, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    session.speak("r1", "i1", [ms(200)] if spoke else [], end=False)
    session.push(ReplyEnded("r1", ReplyStatus.CANCELLED))
    await wait_all_tasks_blocked()
    assert desk.watcher.take_all() == ([FloorTaken(Floor.MODEL)] if spoke else [])


async def test_a_reply_is_cancelled_once_and_only_while_it_is_being_made(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    desk.link.inbox.post(StopTalking())
    await wait_all_tasks_blocked()
    assert after_setup(session) == []
    session.speak("r1", "i1", ms(200), end=False)
    await wait_all_tasks_blocked()
    desk.link.inbox.post(StopTalking())
    desk.link.inbox.post(StopTalking())
    session.push(ReplyAudio("r1", "i1", ms(20)))
    await wait_all_tasks_blocked()
    assert after_setup(session) == [CancelReply("r1")]


async def test_a_cancel_that_comes_too_late_changes_nothing_but_what_was_asked_for_is_not_done(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    session.speak("r1", "i1", ms(200), end=False)
    await wait_all_tasks_blocked()
    desk.link.inbox.post(StopTalking())
    await session.told(CancelReply)
    session.push(ReplyEnded("r1", ReplyStatus.COMPLETED, (a_tool_call("end_call"),)))
    session.push(ModelTrouble("response_cancel_not_active", "no active response", Gravity.BENIGN))
    await trio.sleep(100)
    assert [type(command) for command in after_setup(session)] == [CancelReply, ToolResult]
    assert session.said(ToolResult)[0].output["ok"] is False
    assert desk.flow.take_all() == [ReplyOver(spoke=False)]
    assert not desk.over.is_set()


async def test_tool_calls_of_a_sentence_that_was_broken_off_are_answered_and_not_done(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    half = attrs.evolve(a_tool_call("look_up", "c2"), state=CallState.INCOMPLETE)
    session.speak("r1", "i1", ms(200), calls=(a_tool_call("end_call", "c1"), half), status=ReplyStatus.CANCELLED)
    await wait_all_tasks_blocked()
    assert [result.call_id for result in session.said(ToolResult)] == ["c1"]
    assert session.said(AskReply) == []
    assert not any(isinstance(event, ToolsCalled) for event in desk.flow.take_all())


@pytest.mark.parametrize(("words", "answered"), [("", None), ("I am back.", 0.4), (None, WORDS_WITHIN)])
async def test_a_caller_who_asked_to_wait_is_answered_when_they_say_something_and_not_when_they_cough(
    words: str | None, answered: float | None, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery, config=MANUAL)
    session = await desk.up()
    desk.link.inbox.post(StopTalking(until_words=True))
    session.push(SpeechStarted("u1"), SpeechStopped("u1"))
    await wait_all_tasks_blocked()
    over = trio.current_time()
    await trio.sleep(0.4)
    if words is not None:
        session.push(CallerWords("u1", words, final=True))
    await trio.sleep(3)
    assert [at - over for at in session.times(AskReply)] == pytest.approx([answered] if answered else [])
    asked = len(session.said(AskReply))
    said = [event for event in desk.flow.take_all() if isinstance(event, CallerSaid)]
    assert said == ([] if words is None else [CallerSaid("u1", words)]), "that it was nothing is told too"
    session.push(SpeechStarted("u2"), SpeechStopped("u2"), CallerWords("u2", "Hello?", final=True))
    await wait_all_tasks_blocked()
    assert bool(asked) or len(session.said(AskReply)) == 1


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


# ---------------------------------------------------------------- tools


@pytest.mark.parametrize("then_reply", [True, False])
async def test_all_the_tools_of_a_reply_are_answered_before_one_reply_is_asked_for(
    then_reply: bool, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    calls = tuple(a_tool_call("look_up", f"c{n}") for n in range(3))
    session.speak("r1", "i1", ms(200), calls=calls)
    await wait_all_tasks_blocked()
    assert desk.flow.take_all() == [ToolsCalled(calls, spoke=True)]
    results = tuple(ToolResult(call.call_id, {"ok": True}) for call in calls)
    desk.link.inbox.post(AnswerTools(results, then_reply))
    await wait_all_tasks_blocked()
    assert after_setup(session) == [*results, *([AskReply()] if then_reply else [])]


async def test_tools_answered_while_another_reply_is_made_are_spoken_of_after_it(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    session.push(ReplyBegan("r2"))
    await wait_all_tasks_blocked()
    desk.link.inbox.post(AnswerTools((ToolResult("c1", {"ok": True}),), then_reply=True))
    await wait_all_tasks_blocked()
    assert after_setup(session) == [ToolResult("c1", {"ok": True})]
    session.push(ReplyEnded("r2", ReplyStatus.COMPLETED))
    await wait_all_tasks_blocked()
    assert session.said(AskReply) == [AskReply()]


async def test_what_was_to_be_said_waits_for_the_tools_of_the_reply_before_it(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    session.push(ReplyBegan("r2"))
    await wait_all_tasks_blocked()
    late = ToolResult("c1", {"ok": True, "status": "still running"})
    desk.link.inbox.post(AnswerTools((late,), then_reply=True))
    await wait_all_tasks_blocked()
    session.push(ReplyEnded("r2", ReplyStatus.COMPLETED, (a_tool_call("confirm_details", "c2"),)))
    await wait_all_tasks_blocked()
    found = ToolResult("c2", {"ok": True})
    desk.link.inbox.post(AnswerTools((found,), then_reply=True))
    await wait_all_tasks_blocked()
    session.speak("r3", "i3", ms(200))
    await trio.sleep(1)
    assert after_setup(session) == [late, found, AskReply()]


# ---------------------------------------------------------------- what the model is told of an interruption


def cut_by_speech(*cuts: Cut) -> Interrupted:
    return Interrupted(0.0, Floor.SPEECH, cuts, 30)


async def test_the_audible_item_is_truncated_and_what_never_began_is_forgotten(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    desk.link.inbox.post(cut_by_speech(Cut("i1", 9999, 16000), Cut("i2", 0, 8000), Cut("i3", 7, 8000)))
    await wait_all_tasks_blocked()
    assert after_setup(session) == [Truncate("i1", 1249), DropItem("i2"), DropItem("i3")]
    (note,) = desk.notebook.record.interruptions
    assert (note.item, note.heard_ms, note.truncate_ms, note.generated_ms) == ("i1", 1249, 1249, 2000)
    assert (note.bound_ms, note.reason) == (30, Floor.SPEECH.value)


async def test_an_interruption_before_anything_was_heard_is_no_interruption_in_the_record(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    desk.link.inbox.post(cut_by_speech(Cut("i1", 0, 16000)))
    await wait_all_tasks_blocked()
    assert after_setup(session) == [DropItem("i1")]
    assert desk.notebook.record.interruptions == []


GREETING = Tell(Role.AGENT, "one two three four", "prompt_greeting_1", first=True)


@pytest.mark.parametrize(("heard", "words"), [(0, ""), (100, ""), (4000, "one two"), (8000, "one two three four")])
async def test_a_recorded_prompt_is_told_again_as_far_as_it_was_heard(
    heard: int, words: str, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    desk.link.inbox.post(GREETING)
    desk.link.inbox.post(cut_by_speech(Cut(GREETING.item, heard, 8000)))
    await wait_all_tasks_blocked()
    sent = after_setup(session)
    assert sent[:2] == [GREETING, DropItem(GREETING.item)]
    if not words:
        assert sent[2:] == []
    else:
        (again,) = sent[2:]
        assert isinstance(again, Tell)
        assert (again.role, again.text, again.first) == (Role.AGENT, words, True)
        assert again.item != GREETING.item
        assert len(again.item) <= 32  # the most that an item's name may have


async def test_prompts_told_again_never_share_a_name(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    for number in range(3):
        told = attrs.evolve(GREETING, item=f"prompt_greeting_{number}")
        desk.link.inbox.post(told)
        desk.link.inbox.post(cut_by_speech(Cut(told.item, 4000, 8000)))
    await wait_all_tasks_blocked()
    names = [tell.item for tell in session.said(Tell)]
    assert len(set(names)) == len(names) == 6


async def test_a_prompt_that_the_model_never_heard_of_is_not_truncated(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    desk.link.inbox.post(cut_by_speech(Cut("prompt_goodbye_2", 4000, 8000), Cut("i1", 0, 8000)))
    await wait_all_tasks_blocked()
    assert after_setup(session) == [DropItem("i1")]
    (note,) = desk.notebook.record.interruptions
    assert (note.item, note.heard_ms, note.truncate_ms) == ("prompt_goodbye_2", 500, None)


@pytest.mark.parametrize("noise", [ModelTrouble("x", "y", Gravity.BENIGN), CallerWords("u1", "hm", final=False)])
async def test_events_without_a_reply_ask_for_nothing(
    noise: ModelEvent, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    session.push(noise, noise)
    await trio.sleep(100)
    assert after_setup(session) == []
    assert not desk.over.is_set()


# ---------------------------------------------------------------- the caller's turns, told to the flow


async def test_the_flow_hears_when_the_caller_is_done_and_what_was_said(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    session.push(SpeechStarted("u1"), SpeechStopped("u1"))
    session.push(CallerWords("u1", "Good ", final=False), CallerWords("u1", "Good day.", final=True, confidence=0.8))
    session.push(CallerWords("u2", "  ", final=True))
    await wait_all_tasks_blocked()
    said = [CallerSaid("u1", "Good day.", 0.8), CallerSaid("u2", "")]
    assert desk.flow.take_all() == [CallerSpoke(), CallerDone("u1"), *said]


async def test_what_was_asked_apart_reaches_the_flow_and_is_no_reply(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    extract = Extract("details", "Which number?", ("u1",))
    desk.link.inbox.post(extract)
    await wait_all_tasks_blocked()
    assert after_setup(session) == [extract]
    session.push(Extracted("details", {"phone": "1"}))
    await trio.sleep(100)  # no voice is due
    assert desk.flow.take_all() == [Extracted("details", {"phone": "1"})]
    assert not desk.over.is_set()


# ---------------------------------------------------------------- where the conversation stands


async def test_guidance_takes_the_place_of_the_one_before(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    for text in ("[one]", "[two]", "[three]"):
        desk.link.inbox.post(Guide(text))
    await wait_all_tasks_blocked()
    told = after_setup(session)
    assert [type(command) for command in told] == [Tell, DropItem, Tell, DropItem, Tell]
    tells = [command for command in told if isinstance(command, Tell)]
    drops = [command for command in told if isinstance(command, DropItem)]
    assert [(tell.role, tell.text, tell.first) for tell in tells] == [
        (Role.OPERATOR, text, False) for text in ("[one]", "[two]", "[three]")
    ]
    assert [drop.item for drop in drops] == [tell.item for tell in tells[:2]]
    assert len({tell.item for tell in tells}) == 3
    assert all(0 < len(tell.item) <= 32 for tell in tells)


async def test_an_interruption_does_not_touch_the_guidance(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    desk.link.inbox.post(Guide("[one]"))
    desk.link.inbox.post(Interrupted(1.0, Floor.SPEECH, (Cut("i1", 800, 1600),), 20))
    desk.link.inbox.post(Guide("[two]"))
    await wait_all_tasks_blocked()
    assert [type(command) for command in after_setup(session)] == [Tell, Truncate, DropItem, Tell]


async def test_patience_is_changed_on_the_wire_only_when_it_changes(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    usual = SESSION.turn_detection
    for silence_ms in (0, usual.silence_ms, 1100, 1100, 0, 0):
        desk.link.inbox.post(SetPatience(silence_ms))
    await wait_all_tasks_blocked()
    assert after_setup(session) == [Retune(attrs.evolve(usual, silence_ms=1100)), Retune(usual)]


async def test_the_answer_to_a_change_of_patience_is_no_trouble_unless_it_was_not_made(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    desk.link.inbox.post(SetPatience(1100))
    await wait_all_tasks_blocked()
    patient = attrs.evolve(agreed_to(SESSION), turn_detection=attrs.evolve(SESSION.turn_detection, silence_ms=1100))
    session.push(SessionAgreed(patient))
    await wait_all_tasks_blocked()
    assert desk.troubles == []
    session.push(SessionAgreed(agreed_to(SESSION)))
    await wait_all_tasks_blocked()
    assert len(desk.troubles) == 1


async def test_latencies_count_the_patience_of_the_moment(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    desk.link.inbox.post(SetPatience(1100))
    await wait_all_tasks_blocked()
    session.push(SpeechStarted("u1"), SpeechStopped("u1"))
    session.speak("r1", "i1", ms(200))
    await wait_all_tasks_blocked()
    assert desk.notebook.item_began("i1").latency_ms["turn_detection"] == 1100


# ---------------------------------------------------------------- what is meant for one reply

ONCE = Tell(Role.OPERATOR, "[Say now: sorry.]", "once_1")


async def test_what_is_meant_for_the_next_reply_is_taken_out_when_it_was_said(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    desk.link.inbox.post(ONCE)
    desk.link.inbox.post(AskReply())
    await wait_all_tasks_blocked()
    session.speak("r1", "i1", ms(400))
    await wait_all_tasks_blocked()
    assert after_setup(session) == [ONCE, AskReply(), DropItem("once_1")]
    session.speak("r2", "i2", ms(400))
    await wait_all_tasks_blocked()
    assert after_setup(session)[3:] == []


async def test_a_reply_that_could_not_know_of_it_does_not_use_it_up(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    session.push(ReplyBegan("r1"))
    await wait_all_tasks_blocked()
    desk.link.inbox.post(ONCE)
    desk.link.inbox.post(AskReply())
    await wait_all_tasks_blocked()
    session.push(ReplyAudio("r1", "i1", ms(100)), ReplyEnded("r1", ReplyStatus.COMPLETED))
    await wait_all_tasks_blocked()
    assert after_setup(session) == [ONCE, AskReply()]  # now that the other is over
    session.speak("r2", "i2", ms(400))
    await wait_all_tasks_blocked()
    assert after_setup(session)[2:] == [DropItem("once_1")]


async def test_what_was_not_said_after_all_stays_for_the_reply_that_says_it(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    desk.link.inbox.post(ONCE)
    desk.link.inbox.post(AskReply())
    await wait_all_tasks_blocked()
    session.push(ReplyBegan("r1"), ReplyEnded("r1", ReplyStatus.COMPLETED, calls=(a_tool_call("look_up"),)))
    await wait_all_tasks_blocked()
    desk.link.inbox.post(AnswerTools((ToolResult("c1", {"ok": True}),), then_reply=True))
    await wait_all_tasks_blocked()
    assert DropItem("once_1") not in after_setup(session)
    session.speak("r2", "i2", ms(400))
    await wait_all_tasks_blocked()
    assert after_setup(session)[-1] == DropItem("once_1")


# ---------------------------------------------------------------- replies that do not end

SHORT = attrs.evolve(LIMITS, reply=2.0)


async def test_the_seconds_of_a_reply_are_noted(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    desk = LinkDesk(nursery)
    desk.notebook.entered("ask")
    desk.notebook.reply_asked = 1.5
    session = await desk.up()
    session.speak("r1", "i1", [ms(800), ms(450)])
    session.speak("r2", "i2", ms(3000))
    session.push(ReplyBegan("r3"), ReplyEnded("r3", ReplyStatus.COMPLETED, calls=(a_tool_call("look_up"),)))
    await wait_all_tasks_blocked()
    assert desk.notebook.record.replies == [("ask", 1.25), ("ask", 3.0)]
    assert desk.notebook.record.overlong == {"ask": 1}


@pytest.mark.parametrize("last", [1, 200, 400], ids="{}ms over".format)
async def test_a_reply_that_does_not_end_is_broken_off_where_it_was_passed_on(
    last: int, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery, limits=SHORT)
    session = await desk.up()
    session.speak("r1", "i1", [ms(400, b"a"), ms(1000, b"b")], "one two three", end=False)
    session.push(ReplyAudio("r1", "i1", ms(600 + last, b"c")))
    await wait_all_tasks_blocked()
    assert after_setup(session) == [CancelReply("r1"), Truncate("i1", 2000)]
    posted = desk.framer.take_all()
    heard = b"".join(m.audio for m in posted if isinstance(m, ReplyAudio))
    assert heard == ms(400, b"a") + ms(1000, b"b") + ms(600, b"c")
    assert posted[-1] == ItemEnded("r1", "i1", broken_off=True)
    assert len(desk.troubles) == 1


@pytest.mark.parametrize("next_item", ["i1", "i2"])
async def test_a_reply_that_goes_on_after_a_piece_that_just_fits_is_broken_off_there(
    next_item: str, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery, limits=SHORT)
    session = await desk.up()
    session.speak("r1", "i1", [ms(1000)] * 2, "one two three", end=False)
    session.push(ReplyAudio("r1", next_item, ms(400)), ReplyAudio("r1", next_item, ms(400)))
    await wait_all_tasks_blocked()
    cut = Truncate("i1", 2000) if next_item == "i1" else DropItem("i2")
    assert after_setup(session) == [CancelReply("r1"), cut]
    posted = desk.framer.take_all()
    assert sum(len(m.audio) for m in posted if isinstance(m, ReplyAudio)) == len(ms(2000))
    assert posted[-1] == ItemEnded("r1", next_item, broken_off=True)


async def test_what_comes_of_a_reply_that_was_broken_off_is_not_passed_on(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery, limits=SHORT)
    session = await desk.up()
    session.speak("r1", "i1", ms(2500), end=False)
    await wait_all_tasks_blocked()
    desk.framer.take_all()
    session.push(ReplyAudio("r1", "i1", ms(500)), ReplyAudio("r1", "i2", ms(500)))
    await wait_all_tasks_blocked()
    assert desk.framer.take_all() == []
    assert after_setup(session) == [CancelReply("r1"), Truncate("i1", 2000)]  # once
    session.push(ReplyEnded("r1", ReplyStatus.CANCELLED))
    session.speak("r2", "i2", ms(500))
    await wait_all_tasks_blocked()
    assert [m for m in desk.framer.take_all() if isinstance(m, ReplyAudio)] == [ReplyAudio("r2", "i2", ms(500))]
    assert desk.notebook.record.replies == [("", 2.0), ("", 0.5)]


async def test_words_of_a_reply_that_was_broken_off_are_not_passed_on(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery, limits=SHORT)
    session = await desk.up()
    session.speak("r1", "i1", ms(2500), "one two three", end=False)
    await wait_all_tasks_blocked()
    desk.framer.take_all()
    session.push(ReplyWords("r1", "i1", " that nobody will hear"))
    await wait_all_tasks_blocked()
    assert desk.framer.take_all() == []


async def test_the_second_item_of_a_long_reply_is_cut_at_what_was_passed_on_of_it(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery, limits=SHORT)
    session = await desk.up()
    session.push(ReplyBegan("r1"), ReplyAudio("r1", "i1", ms(1500)), ItemEnded("r1", "i1"))
    session.push(ReplyAudio("r1", "i2", ms(300)), ReplyAudio("r1", "i2", ms(900)))
    await wait_all_tasks_blocked()
    assert after_setup(session) == [CancelReply("r1"), Truncate("i2", 500)]


async def test_a_reply_as_long_as_is_allowed_is_heard_whole(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    desk = LinkDesk(nursery, limits=SHORT)
    session = await desk.up()
    session.speak("r1", "i1", [ms(1000), ms(1000)])
    await wait_all_tasks_blocked()
    assert after_setup(session) == []
    assert desk.troubles == []


async def test_what_was_passed_on_of_a_reply_that_was_broken_off_is_heard_to_its_end(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery, limits=SHORT)
    session = await desk.up()
    session.speak("r1", "i1", ms(2500), end=False)
    await wait_all_tasks_blocked()
    session.push(ReplyEnded("r1", ReplyStatus.CANCELLED))  # the model's answer to our cancelling it
    await wait_all_tasks_blocked()
    assert desk.watcher.take_all() == [], "nobody took the floor: we broke the reply off"
    assert desk.flow.take_all() == [ReplyOver(spoke=True)]


async def test_a_caller_who_goes_on_while_the_answer_is_being_asked_for_is_answered_once(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery, config=MANUAL)
    session = await desk.up()
    session.push(SpeechStarted("u1"), SpeechStopped("u1"))
    await session.told(AskReply)
    session.push(SpeechStarted("u2"))  # it crosses the request on its way
    session.push(ReplyBegan("r1"), ReplyAudio("r1", "half an answer", ms(100)))
    await wait_all_tasks_blocked()
    assert session.said(CancelReply) == [CancelReply("r1")]
    session.push(SpeechStopped("u2"))
    await wait_all_tasks_blocked()
    assert len(session.said(AskReply)) == 1
    session.push(ReplyEnded("r1", ReplyStatus.CANCELLED))
    await session.told(AskReply, 2)
    assert not [event for event in desk.framer.take_all() if isinstance(event, ReplyAudio)]
