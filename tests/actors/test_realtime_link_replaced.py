"""RealtimeLink replaces a lost session inside the call: the next one knows what was heard, greets nobody, loses no word."""

import contextlib
from collections.abc import AsyncIterator

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.briefing import GO_ON, ONCE_PREFIX
from actors.messages import (
    AnswerTools,
    AskReply,
    CallerAudio,
    CallerSpoke,
    CallerWaits,
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
    LinkLost,
    LinkUp,
    ModelTrouble,
    ReplyAudio,
    ReplyBegan,
    ReplyEnded,
    ReplyStatus,
    ReplyWords,
    Retune,
    Role,
    SessionCreated,
    SetModel,
    SetPatience,
    SpeechStarted,
    SpeechStopped,
    StopTalking,
    Tell,
    ToolCall,
    ToolResult,
    Truncate,
)
from actors.model_line import joined
from actors.model_lines import ROLL_OVER_AT_LAST, ROLL_OVER_EARLY
from actors.ports import ModelGone
from actors.realtime_link import LOSSES_WITHIN, MUTE_AT_MOST
from actors.talk import LOSSES_AT_MOST
from actors.turn_answer import WORDS_WITHIN
from actors.waiting import FILLER_SHARE
from tests.kit.calls import LIMITS, LOUD, MANUAL, QUIET, REPLACING, SAID, ReplacingDesk, ms
from tests.kit.model import FakeModel, FakeSession, Place


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


# ---------------------------------------------------------------- a session's time is over


EARLY, AT_LAST = 3600 * ROLL_OVER_EARLY, 3600 * ROLL_OVER_AT_LAST


def expiring(seconds: float) -> Place:
    return Place(greets_with=SessionCreated("sess_1", seconds))


async def test_a_session_near_its_end_is_replaced_in_a_quiet_moment(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = ReplacingDesk(nursery, expiring(3600))
    await desk.up()
    desk.flow.take_all()
    desk.speech_until = trio.current_time() + 3600 - EARLY + 20  # the agent speaks just then
    await trio.sleep(3600 - EARLY - 1)
    assert len(desk.model.sessions) == 1
    await trio.sleep(20)
    assert len(desk.model.sessions) == 2, "it is prepared beside the one that is up"
    assert desk.flow.take_all() == []
    await trio.sleep(2)
    assert desk.flow.take_all() == [LinkUp()]
    assert desk.model.sessions[1].texts == ["Hello.", "Hi, I am Anna."]
    assert [session.closed for session in desk.model.sessions] == [True, False]
    assert desk.notebook.record.errors == [], "what is planned is no trouble"
    assert [each.text for each in desk.notebook.record.replaced] == ["its time is nearly over"]


async def test_a_session_that_never_has_a_quiet_moment_is_replaced_before_it_ends(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = ReplacingDesk(nursery, expiring(3600))
    first = await desk.up()
    await trio.sleep(3600 - EARLY - 10)
    first.push(SpeechStarted("u1"))  # a caller who does not stop
    desk.flow.take_all()
    await trio.sleep(EARLY - AT_LAST + 9)
    assert LinkUp() not in desk.flow.take_all()
    await trio.sleep(2)
    assert LinkUp() in desk.flow.take_all()
    assert [session.closed for session in desk.model.sessions] == [True, False]


async def test_while_no_other_session_can_be_had_the_one_that_is_up_lasts_to_its_end(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = ReplacingDesk(nursery, expiring(3600))
    first = await desk.up()
    desk.model.places = (Place(refuses=ModelGone("HTTP 503")),)
    await trio.sleep(3600 - 1)
    assert not first.closed
    assert len(desk.model.tried) > 10, "it is tried again and again"
    desk.model.places = (Place(),)
    await trio.sleep(0.9)
    first.lose()
    second = await desk.next()
    assert second.texts == ["Hello.", "Hi, I am Anna."]


async def test_sessions_that_are_over_as_soon_as_they_are_up_are_given_up(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = ReplacingDesk(nursery, expiring(1))
    await desk.up()
    with trio.fail_after(60):
        await desk.over.wait()
    assert len(desk.model.sessions) <= LOSSES_AT_MOST + 2


async def test_a_place_that_is_refused_for_good_while_the_next_session_is_prepared_does_not_break_the_call(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = ReplacingDesk(nursery, expiring(3600), expiring(3600))
    first = await desk.up()
    desk.model.places = (Place(refuses=ModelGone("HTTP 401", fatal=True)), Place())
    await trio.sleep(3600 - EARLY + 1)
    assert [place for _, place in desk.model.tried][:2] == [0, 0]
    first.lose()
    second = await desk.next()
    assert second.texts == ["Hello.", "Hi, I am Anna."]
    assert [place for _, place in desk.model.tried].count(0) == 2, "what is refused for good is not asked again"


# ---------------------------------------------------------------- a session that is kept ready


def standing_by(nursery: trio.Nursery, *places: Place) -> ReplacingDesk:
    return ReplacingDesk(nursery, *places, limits=attrs.evolve(REPLACING, standby=True))


async def test_a_session_that_is_kept_ready_takes_over_at_once(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = standing_by(nursery, Place(opens_after=1.0, closes_after=2.0), Place(opens_after=3.0))
    first = await desk.up()
    await trio.sleep(10)
    assert [place for _, place in desk.model.tried] == [0, 1], "elsewhere, if there is another place"
    first.push(SpeechStarted("u1"), SpeechStopped("u1"), CallerWords("u1", "Hello?", True))
    desk.link.inbox.post(SetPatience(1100))
    await trio.sleep(0.1)
    first.lose()
    await trio.sleep(0.01)
    second = desk.model.sessions[1]
    assert second.texts == ["Hello.", "Hi, I am Anna."]
    assert len(second.said(AskReply)) == 1
    assert [each.turn_detection.silence_ms for each in second.said(Retune)] == [1100]
    await trio.sleep(10)
    assert [place for _, place in desk.model.tried] == [0, 1, 0], "and another one is kept ready"


async def test_a_spare_that_is_lost_or_old_is_replaced_and_the_call_does_not_notice(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = standing_by(nursery, expiring(3600))
    first = await desk.up()
    await trio.sleep(1)
    desk.model.sessions[1].lose()
    await trio.sleep(10)
    assert len(desk.model.sessions) == 3
    await trio.sleep(1800)
    assert len(desk.model.sessions) == 4
    assert [session.closed for session in desk.model.sessions] == [False, True, True, False]
    first.lose()
    await trio.sleep(0.1)
    assert desk.model.sessions[3].texts == ["Hello.", "Hi, I am Anna."]


async def test_an_old_spare_that_is_being_closed_is_taken_by_nobody(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = standing_by(nursery, attrs.evolve(expiring(3600), closes_after=1.0))
    first = await desk.up()
    await trio.sleep(1800.5)
    assert [session.closed for session in desk.model.sessions] == [False, True, False]
    first.lose()
    await trio.sleep(0.1)
    assert [session.texts for session in desk.model.sessions[1:3]] == [[], ["Hello.", "Hi, I am Anna."]]
    assert [each.text for each in desk.notebook.record.errors] == ["gone"]


async def test_a_spare_that_can_never_be_had_is_not_asked_for_again(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = standing_by(nursery, Place(), Place(refuses=ModelGone("HTTP 401", fatal=True)))
    await desk.up()
    await trio.sleep(600)
    assert [place for _, place in desk.model.tried] == [0, 1, 0]


@pytest.mark.parametrize("standby", [True, False])
async def test_a_spare_that_cannot_be_had_at_one_place_is_prepared_at_the_other_so_that_a_long_call_is_not_cut(
    standby: bool, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    good, bad = expiring(3600), Place(refuses=ModelGone("HTTP 503"))
    desk = ReplacingDesk(nursery, good, good, limits=attrs.evolve(REPLACING, standby=standby))
    desk.model.places = (good, bad) if standby else (good, good)
    first = await desk.up()
    desk.model.places = (good, bad) if standby else (bad, good)
    await trio.sleep(3600 - EARLY + 10)
    assert first.closed
    assert [each.text for each in desk.notebook.record.replaced] == ["its time is nearly over"]
    assert not desk.over.is_set()


async def test_a_session_that_is_kept_ready_is_elsewhere_after_a_planned_change_too(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = standing_by(nursery, Place(), Place())
    await desk.up()
    await trio.sleep(1)
    desk.link.inbox.post(SetModel("gpt-realtime-hard"))
    await trio.sleep(10)
    assert [place for _, place in desk.model.tried] == [0, 1, 1, 0], "the first two, the hard one, and one beside that"


async def test_a_spare_closes_with_the_call(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    desk = standing_by(nursery)
    await desk.up()
    await trio.sleep(1)
    desk.scope.cancel()
    await desk.over.wait()
    assert [session.closed for session in desk.model.sessions] == [True, True]


# ---------------------------------------------------------------- another model is wanted


async def test_another_model_takes_over_in_a_quiet_moment(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    desk = ReplacingDesk(nursery, Place(opens_after=0.3))
    first = await desk.up()
    first.push(SpeechStarted("u1"))
    desk.link.inbox.post(SetModel("gpt-realtime-hard"))
    await trio.sleep(5)
    assert desk.model.names == ["", "gpt-realtime-hard"]
    assert not first.closed, "the caller is speaking"
    first.push(SpeechStopped("u1"), CallerWords("u1", "Yes.", True))
    first.speak("r1", "i1", ms(200))
    desk.speech_until = trio.current_time() + 2.0
    await trio.sleep(1.9)
    assert not first.closed, "the agent is speaking"
    await trio.sleep(0.2)
    assert first.closed
    second = desk.model.sessions[1]
    assert second.texts == ["Hello.", "Hi, I am Anna."]
    assert second.said(AskReply) == []
    assert desk.notebook.record.errors == []
    second.lose()
    await desk.next(3)
    assert desk.model.names == ["", "gpt-realtime-hard", "gpt-realtime-hard"]


async def test_a_flow_that_wants_another_model_in_each_state_has_not_lost_too_many_sessions(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = ReplacingDesk(nursery)
    await desk.up()
    for state in range(LOSSES_AT_MOST + 2):
        desk.link.inbox.post(SetModel("" if state % 2 else "gpt-realtime-hard"))
        await trio.sleep(LOSSES_WITHIN / 10)
    assert len(desk.model.sessions) == LOSSES_AT_MOST + 3
    assert not desk.over.is_set()


async def test_the_moment_in_which_the_caller_silences_the_agent_is_no_quiet_one(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = ReplacingDesk(nursery)
    first = await desk.speaking(10.0, heard=3.0)
    desk.link.inbox.post(SetModel("gpt-realtime-hard"))
    await trio.sleep(1.0)
    await desk.caller(100)
    desk.speech_until = float("-inf")  # the agent yields
    desk.link.inbox.post(Interrupted(trio.current_time(), Floor.SPEECH, (Cut("i1", 32_000, 80_000),), 20))
    await desk.caller(200)
    first.push(SpeechStarted("u1"))  # the model takes its time
    await desk.caller(2000)
    assert not first.closed
    first.push(SpeechStopped("u1"), CallerWords("u1", "Stop.", True))
    first.speak("r2", "i2", ms(200))
    await trio.sleep(2)
    assert first.closed


async def test_the_moment_in_which_it_is_not_known_yet_what_a_caller_said_who_asked_to_wait_is_no_quiet_one(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = ReplacingDesk(nursery, config=MANUAL)
    first = await desk.up()
    desk.link.inbox.post(StopTalking(until_words=True))
    first.push(SpeechStarted("u1"))
    desk.link.inbox.post(SetModel("gpt-realtime-hard"))
    await trio.sleep(1.0)
    first.push(SpeechStopped("u1"))
    await trio.sleep(WORDS_WITHIN - 0.1)
    assert not first.closed
    first.push(CallerWords("u1", "Here it is.", True))
    await wait_all_tasks_blocked()
    assert len(first.said(AskReply)) == 1
    first.speak("r1", "i1", ms(200))
    await trio.sleep(2)
    assert first.closed


async def test_a_model_that_is_refused_for_good_does_not_keep_the_call_from_all_others(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = ReplacingDesk(nursery)
    await desk.up()
    desk.model.places = (Place(refuses=ModelGone("model_not_found", fatal=True)),)
    desk.link.inbox.post(SetModel("gpt-realtime-unknown"))
    await trio.sleep(60)
    assert desk.model.names == ["", "gpt-realtime-unknown"]
    desk.model.places = (Place(),)
    desk.link.inbox.post(SetModel("gpt-realtime-hard"))
    await trio.sleep(5)
    assert desk.model.names == ["", "gpt-realtime-unknown", "gpt-realtime-hard"]
    assert [session.closed for session in desk.model.sessions][-2:] == [True, False]


async def test_a_model_that_one_place_refuses_for_good_does_not_keep_the_call_from_the_others_there(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = ReplacingDesk(nursery, Place(), Place())
    first = await desk.up()
    refuses = Place(refuses=ModelGone("model_not_found", fatal=True))
    desk.model.places = (refuses, refuses)
    desk.link.inbox.post(SetModel("gpt-realtime-unknown"))
    await trio.sleep(60)
    assert [place for _, place in desk.model.tried] == [0, 0, 1]
    desk.model.places = (Place(), refuses)
    desk.link.inbox.post(SetModel(""))
    first.lose()
    await trio.sleep(5)
    assert not desk.over.is_set()
    assert (desk.model.names[-1], desk.model.tried[-1][1]) == ("", 0)


class _Choosy(FakeModel):
    """Refuses for good what it does not know by name."""

    @contextlib.asynccontextmanager
    async def connect(self, endpoint: int, name: str = "") -> AsyncIterator[FakeSession]:
        if name == "gpt-realtime-unknown":
            self.names.append(name)
            self.tried.append((trio.current_time(), endpoint))
            raise ModelGone("model_not_found", fatal=True)
        async with super().connect(endpoint, name) as session:
            yield session


@pytest.mark.parametrize("known", [True, False], ids=["refused before", "not tried before"])
@pytest.mark.parametrize("places", [1, 2])
async def test_a_call_whose_session_is_lost_while_its_flow_wants_a_model_that_is_refused_goes_on_with_the_usual_one(
    autojump_clock: MockClock, nursery: trio.Nursery, known: bool, places: int
) -> None:
    desk = ReplacingDesk(nursery, model=_Choosy(*[Place() for _ in range(places)]))
    first = await desk.up()
    desk.link.inbox.post(SetModel("gpt-realtime-unknown"))
    await trio.sleep(30 if known else 0)
    first.lose()
    await trio.sleep(5)
    assert not desk.over.is_set()
    assert desk.model.names.count("gpt-realtime-unknown") <= places + 1
    assert desk.model.names[-1] == ""
    assert [session.closed for session in desk.model.sessions][-1] is False


async def test_a_change_of_mind_about_the_model_changes_nothing(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = ReplacingDesk(nursery, Place(opens_after=0.3))
    first = await desk.up()
    desk.link.inbox.post(SetModel("gpt-realtime-hard"))
    await trio.sleep(0.1)
    desk.link.inbox.post(SetModel(""))
    await trio.sleep(10)
    assert not first.closed
    assert all(session.closed for session in desk.model.sessions[1:])


async def test_a_session_that_takes_long_to_close_does_not_keep_the_next_one_waiting(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = ReplacingDesk(nursery, Place(closes_after=2.0))
    first = await desk.up()
    at = trio.current_time()
    first.lose()
    await desk.next()
    assert desk.model.tried[1][0] == at


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
