"""RealtimeLink in a conversation: replies and their tools, the caller's turns, and replies that do not end."""

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.messages import (
    AnswerTools,
    AskReply,
    CallerDone,
    CallerSaid,
    CallerSpoke,
    CallerWords,
    CallState,
    CancelReply,
    DropItem,
    Extract,
    Extracted,
    Floor,
    FloorTaken,
    Gravity,
    ItemEnded,
    ModelTrouble,
    ReplyAudio,
    ReplyBegan,
    ReplyEnded,
    ReplyOver,
    ReplyStatus,
    ReplyWords,
    SpeechStarted,
    SpeechStopped,
    StopTalking,
    ToolResult,
    ToolsCalled,
    Truncate,
)
from actors.turn_answer import WORDS_WITHIN
from tests.kit.calls import LIMITS, MANUAL, SESSION, LinkDesk, a_tool_call, ms
from tests.kit.sent import after_setup

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
