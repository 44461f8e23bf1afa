"""RealtimeLink replaces a lost session inside the call: the next one knows what was heard, greets nobody, loses no word."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.briefing import GO_ON, ONCE_PREFIX
from actors.messages import (
    AnswerTools,
    AskReply,
    CallerAudio,
    CallerSpoke,
    CallerWords,
    CancelReply,
    Configure,
    Cut,
    DropItem,
    Floor,
    Gravity,
    Guide,
    Interrupted,
    ItemEnded,
    LinkUp,
    ReplyAudio,
    ReplyBegan,
    ReplyEnded,
    ReplyStatus,
    ReplyWords,
    Role,
    SetPatience,
    SpeechStarted,
    SpeechStopped,
    Tell,
    ToolCall,
    ToolResult,
    Truncate,
)
from actors.model_line import joined
from actors.ports import ModelGone
from tests.kit.calls import LOUD, QUIET, SAID, ReplacingDesk, ms
from tests.kit.model import FakeModel, Place


async def test_the_next_session_knows_what_was_heard_and_where_the_conversation_stands(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = ReplacingDesk(nursery)
    first = await desk.up()
    desk.link.inbox.post(Guide("[Now: ask for the day.]"))
    desk.link.inbox.post(SetPatience(1100))
    await wait_all_tasks_blocked()
    first.lose()
    second = await desk.next()
    assert second.texts == ["Hello.", "Hi, I am Anna.", "[Now: ask for the day.]"]
    assert [tell.role for tell in second.said(Tell)] == [Role.AGENT, Role.CALLER, Role.OPERATOR]
    (configured,) = second.said(Configure)
    assert configured.config.turn_detection.silence_ms == 1100
    assert second.said(AskReply) == [], "nobody waits for anything"
    assert [type(event) for event in desk.flow.take_all()] == [LinkUp]
    desk.link.inbox.post(Guide("[Now: say goodbye.]"))
    await wait_all_tasks_blocked()
    assert second.said(DropItem) == [DropItem("guide_1")]
    assert not desk.over.is_set()


async def test_a_reply_that_is_still_being_heard_is_told_to_the_next_session_and_what_is_cut_of_it_taken_back(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = ReplacingDesk(nursery)
    first = await desk.up()
    words = "We are open from nine until five."
    first.push(ReplyBegan("r1"), ReplyWords("r1", "i1", words), ReplyAudio("r1", "i1", ms(2000)))
    first.push(ItemEnded("r1", "i1"), ReplyEnded("r1", ReplyStatus.COMPLETED))
    await wait_all_tasks_blocked()
    first.lose()
    second = await desk.next()
    told_of = second.said(Tell)[-1]
    assert (told_of.role, told_of.text) == (Role.AGENT, words)
    desk.link.inbox.post(Interrupted(trio.current_time(), Floor.SPEECH, (Cut("i1", 8000, 16000),), 20))
    await wait_all_tasks_blocked()
    assert second.said(DropItem) == [DropItem(told_of.item)]
    assert second.texts[-1] == "We are open from"
    assert second.said(Truncate) == []
    second.lose()
    third = await desk.next(3)
    assert third.texts.count(words) == 0


async def test_a_reply_that_was_heard_or_cut_before_the_loss_is_told_once_or_not_at_all(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = ReplacingDesk(nursery)
    first = await desk.up()
    for number in (1, 2):
        first.push(ReplyBegan(f"r{number}"), ReplyWords(f"r{number}", f"i{number}", f"Words {number}."))
        first.push(ReplyAudio(f"r{number}", f"i{number}", ms(500)), ReplyEnded(f"r{number}", ReplyStatus.COMPLETED))
    await wait_all_tasks_blocked()
    desk.said = [*SAID, (Role.AGENT, "Words 1.", "i1")]
    desk.link.inbox.post(Interrupted(trio.current_time(), Floor.SPEECH, (Cut("i2", 0, 4000),), 20))
    await wait_all_tasks_blocked()
    first.lose()
    second = await desk.next()
    assert second.texts == ["Hello.", "Hi, I am Anna.", "Words 1."]


async def test_an_answer_that_was_due_is_asked_for_again(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    desk = ReplacingDesk(nursery)
    first = await desk.up()
    first.push(SpeechStarted("u1"), SpeechStopped("u1"), CallerWords("u1", "Which day?", True), ReplyBegan("r1"))
    await wait_all_tasks_blocked()
    first.lose()
    second = await desk.next()
    assert len(second.said(AskReply)) == 1
    assert second.heard == [], "its words are told as text"
    second.speak("r2", "i2", ms(200))
    await trio.sleep(100)
    assert not desk.over.is_set()


@pytest.mark.parametrize("stopped", [True, False], ids=["a turn nobody wrote down", "in the middle of a word"])
async def test_what_the_caller_was_saying_is_said_to_the_next_session(
    stopped: bool, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = ReplacingDesk(nursery)
    first = await desk.up()
    for number in range(200):
        desk.link.audio.post(CallerAudio(f"{number:04}", number * 20))
        if number == 99:
            first.push(SpeechStarted("u1"))
        await trio.sleep(0.02)
    if stopped:
        first.push(SpeechStopped("u1"), ReplyBegan("r1"))
    await wait_all_tasks_blocked()
    first.lose()
    await wait_all_tasks_blocked()
    desk.link.audio.post(CallerAudio("late", 0))
    second = await desk.next()
    heard = second.heard
    assert heard[-3:] == ["0198", "0199", "late"]
    assert "0099" in heard, "the onset of the turn"
    assert "0010" not in heard, "what was long over"
    assert heard == [f"{number:04}" for number in range(200 - len(heard) + 1, 200)] + ["late"]
    assert second.said(AskReply) == [], "the model answers what it hears by itself"


async def test_what_the_caller_said_to_a_session_that_had_stopped_is_said_to_the_next_one(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = ReplacingDesk(nursery)
    await desk.up()
    await desk.caller(2000, QUIET)
    await desk.caller(1000, LOUD)  # and the model takes no notice
    second = await desk.next()
    assert second.heard.count(LOUD) == 50
    assert second.heard.count(QUIET) <= 55
    assert second.said(AskReply) == []


async def test_a_turn_that_another_session_hears_once_more_is_the_same_turn(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = ReplacingDesk(nursery)
    first = await desk.up()
    await desk.caller(600)
    first.push(SpeechStarted("u1"), SpeechStopped("u1"), CallerWords("u1", "Text me", final=False))
    await wait_all_tasks_blocked()
    first.lose()
    second = await desk.next()
    second.push(SpeechStarted("u2"), SpeechStopped("u2"), CallerWords("u2", "Text me the address.", final=True))
    await trio.sleep(3)
    second.push(SpeechStarted("u3"))
    await wait_all_tasks_blocked()
    spoke = [event.again for event in desk.flow.take_all() if isinstance(event, CallerSpoke)]
    assert spoke == [False, True, False]
    assert [turn.text for turn in desk.notebook.record.turns] == ["Text me the address.", ""]


@pytest.mark.parametrize("status", [ReplyStatus.FAILED, ReplyStatus.COMPLETED, ReplyStatus.INCOMPLETE])
async def test_a_reply_that_failed_or_had_no_voice_twice_is_asked_for_in_the_next_session(
    status: ReplyStatus, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = ReplacingDesk(nursery)
    first = await desk.up()
    first.push(SpeechStarted("u1"), SpeechStopped("u1"), CallerWords("u1", "Hello?", True))
    for number in (1, 2):
        first.push(ReplyBegan(f"r{number}"), ReplyEnded(f"r{number}", status, gravity=Gravity.RETRY))
        await trio.sleep(1)
    second = await desk.next()
    assert len(second.said(AskReply)) == 1


async def test_words_that_were_answered_are_not_said_again(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    desk = ReplacingDesk(nursery)
    first = await desk.up()
    for _ in range(50):
        desk.link.audio.post(CallerAudio("word", 0))
    first.push(SpeechStarted("u1"), SpeechStopped("u1"))
    first.speak("r1", "i1", ms(200))
    await wait_all_tasks_blocked()
    first.lose()
    second = await desk.next()
    assert second.heard == []
    assert second.said(AskReply) == []


async def test_a_reply_that_broke_off_is_gone_on_with_and_can_be_cut_where_it_was_heard(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = ReplacingDesk(nursery)
    first = await desk.up()
    first.push(SpeechStarted("u1"), SpeechStopped("u1"), CallerWords("u1", "Hours?", True), ReplyBegan("r1"))
    first.push(ReplyWords("r1", "i1", "We are open from nine to five, and on"), ReplyAudio("r1", "i1", ms(2000)))
    await wait_all_tasks_blocked()
    first.lose()
    second = await desk.next()
    assert second.texts[2:] == ["We are open from nine to five,", GO_ON]
    assert len(second.said(AskReply)) == 1
    assert ReplyEnded("r1", ReplyStatus.FAILED) in desk.framer.take_all(), "what there is may be heard"
    # The caller interrupts what is still being heard of it.
    desk.link.inbox.post(Interrupted(0.0, Floor.SPEECH, (Cut("i1", len(ms(1000)), len(ms(2000))),), 20))
    await wait_all_tasks_blocked()
    commands = [command for _, command in second.commands][-2:]
    assert commands[1] == DropItem(second.said(Tell)[2].item)
    assert isinstance(commands[0], Tell)
    assert commands[0].text == "We are open"
    assert second.said(Truncate) == []


async def test_what_only_the_lost_session_knew_is_not_spoken_of(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = ReplacingDesk(nursery)
    first = await desk.up()
    first.speak("r1", "i1", ms(400))
    await wait_all_tasks_blocked()
    first.lose()
    second = await desk.next()
    for command in (CancelReply("r1"), Truncate("i1", 100), DropItem("i1"), DropItem("once_9")):
        desk.link.inbox.post(command)
    desk.link.inbox.post(Interrupted(0.0, Floor.SPEECH, (Cut("i1", 800, 1600),), 20))
    await wait_all_tasks_blocked()
    assert {type(command) for _, command in second.commands} == {Configure, Tell}


async def test_the_result_of_a_tool_that_was_called_before_is_told_as_text(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = ReplacingDesk(nursery)
    first = await desk.up()
    first.push(SpeechStarted("u1"), SpeechStopped("u1"), CallerWords("u1", "When?", True), ReplyBegan("r1"))
    first.push(ReplyEnded("r1", ReplyStatus.COMPLETED, (ToolCall("c1", "free_times", {}),)))
    await wait_all_tasks_blocked()
    first.lose()
    second = await desk.next()
    assert second.said(AskReply) == []
    desk.link.inbox.post(AnswerTools((ToolResult("c1", {"ok": True, "times": ["nine"]}),), then_reply=True))
    await wait_all_tasks_blocked()
    assert second.said(ToolResult) == []
    assert "free_times" in second.texts[-1]
    assert "nine" in second.texts[-1]
    assert len(second.said(AskReply)) == 1


async def test_a_session_that_is_lost_while_it_is_told_leaves_everything_to_the_one_after_it(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    class Fragile(FakeModel):
        def connect(self, endpoint: int, name: str = ""):  # type: ignore[no-untyped-def] # as its base
            self.places = (Place(opens_after=0.1),)
            return super().connect(endpoint)

    desk = ReplacingDesk(nursery, model=Fragile())
    first = await desk.up()
    first.push(SpeechStarted("u1"), SpeechStopped("u1"), CallerWords("u1", "Which day?", True))
    await wait_all_tasks_blocked()
    first.lose()
    second = await desk.model.session(2)
    second.takes = trio.Event()  # it takes the configuration, and stops in the middle of what it is told
    await trio.sleep(0.5)
    second.lose()
    second.takes.set()
    third = await desk.next(3)
    assert third.texts == ["Hello.", "Hi, I am Anna."]
    assert len(third.said(AskReply)) == 1
    third.speak("r3", "i3", ms(200))
    await trio.sleep(60)
    assert not desk.over.is_set()


KEYS = Tell(Role.CALLER, "[The caller pressed these keys on the telephone: 1]")
RESULT = "[The result of a tool, which you asked for earlier: ok: True, time: nine]"


async def test_keys_results_and_what_to_say_that_a_lost_session_did_not_answer_are_told_to_the_next(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = ReplacingDesk(nursery)
    first = await desk.up()
    once = Tell(Role.OPERATOR, "[Say now: nobody took the call.]", f"{ONCE_PREFIX}1")
    first.push(ReplyBegan("r0"), ReplyEnded("r0", ReplyStatus.COMPLETED, (ToolCall("c1", "a tool", {}),)))
    await wait_all_tasks_blocked()
    results = AnswerTools((ToolResult("c1", {"ok": True, "time": "nine"}),), then_reply=False)
    for message in (KEYS, results, once, AskReply()):
        desk.link.inbox.post(message)
    await wait_all_tasks_blocked()
    assert [type(command) for _, command in first.commands][-4:] == [Tell, ToolResult, Tell, AskReply]
    first.push(ReplyBegan("r1"))
    await wait_all_tasks_blocked()
    first.lose()
    second = await desk.next()
    assert second.texts[-3:] == [KEYS.text, RESULT, once.text]
    assert len(second.said(AskReply)) == 1
    second.speak("r2", "i2", ms(200))
    await trio.sleep(1)
    assert second.said(DropItem) == [DropItem(once.item)], "what is meant for one reply is taken away after it"


async def test_who_goes_on_with_a_reply_that_broke_off_is_told_the_keys_and_results_that_it_answers(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = ReplacingDesk(nursery)
    first = await desk.up()
    first.push(ReplyBegan("r0"), ReplyEnded("r0", ReplyStatus.COMPLETED, (ToolCall("c1", "a tool", {}),)))
    await wait_all_tasks_blocked()
    desk.link.inbox.post(KEYS)
    desk.link.inbox.post(AnswerTools((ToolResult("c1", {"ok": True, "time": "nine"}),), then_reply=True))
    await wait_all_tasks_blocked()
    first.speak("r1", "i1", ms(200), "There is a place at", end=False)
    await wait_all_tasks_blocked()
    first.lose()
    second = await desk.next()
    assert second.texts[-3:] == [KEYS.text, RESULT, GO_ON]


async def test_keys_that_were_answered_are_not_told_again(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    desk = ReplacingDesk(nursery)
    first = await desk.up()
    desk.link.inbox.post(KEYS)
    desk.link.inbox.post(AskReply())
    await wait_all_tasks_blocked()
    first.speak("r1", "i1", ms(200))
    await wait_all_tasks_blocked()
    first.lose()
    second = await desk.next()
    assert KEYS.text not in second.texts


async def test_a_loud_line_is_heard_by_every_session(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    desk = ReplacingDesk(nursery)
    first = await desk.up()
    await desk.caller(1000)
    first.push(SpeechStarted("u1"), SpeechStopped("u1"))
    first.speak("r1", "i1", ms(200))
    await trio.sleep(1)
    first.lose()
    second = await desk.next()
    await desk.caller(500)
    await wait_all_tasks_blocked()
    assert second.heard == [LOUD] * 25


def test_an_end_that_reader_and_writer_meet_is_told_once() -> None:
    met = [ModelGone("lost"), ExceptionGroup("", [ModelGone("no pong"), ModelGone("lost", fatal=True)])]
    gone = joined(ExceptionGroup("", met))
    assert (str(gone), gone.fatal) == ("lost; no pong", True)
