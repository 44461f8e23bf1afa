"""RealtimeLink while somebody else judges whether the caller took the floor: nothing follows from a turn until it is known."""

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.contested import OPEN_AT_MOST
from actors.ear import Ear
from actors.messages import (
    AskReply,
    CallerAudio,
    CallerDone,
    CallerSaid,
    CallerSpoke,
    CallerWords,
    CancelReply,
    CommitTurn,
    Configure,
    DropItem,
    Floor,
    FloorTaken,
    Gravity,
    Judged,
    LinkUp,
    ModelCommand,
    ModelEvent,
    ModelTrouble,
    Probe,
    ReplyAudio,
    ReplyBegan,
    ReplyEnded,
    ReplyOver,
    ReplyStatus,
    Role,
    SessionConfig,
    SpeechStarted,
    SpeechStopped,
    Tell,
    TurnCommitted,
)
from actors.mulaw import from_base64
from actors.reply_desk import ReplyDesk
from tests.kit.calls import LIMITS, LOUD, MANUAL, QUIET, LinkDesk, ms
from tests.kit.model import FakeSession

REPLACING = attrs.evolve(LIMITS, replace=8.0)
COLLISION = ModelTrouble("conversation_already_has_active_response", "wait until it is finished", Gravity.BENIGN)
NO, YES = Judged(taken=False), Judged(taken=True)


class Desk(LinkDesk):
    """A link whose model neither answers nor breaks off by itself; `contested` as the watcher would have it."""

    def __init__(self, nursery: trio.Nursery, *, config: SessionConfig = MANUAL, contested: bool = True) -> None:
        super().__init__(nursery, config=config, limits=REPLACING)
        self.contested = contested

    def recall(self) -> list[tuple[Role, str, str]]:
        """As a call has it."""
        turns = [turn for turn in self.notebook.record.turns if turn.heard_text and turn.over]
        return [(Role(turn.who), turn.heard_text, turn.item) for turn in turns]

    async def judge(self, judged: Judged) -> None:
        """The judgement arrives, and everything that follows from it at once."""
        self.link.inbox.post(judged)
        await wait_all_tasks_blocked()


def after_setup(session: FakeSession) -> list[ModelCommand]:
    """The commands that followed the setting up."""
    return [command for _, command in session.commands if not isinstance(command, Configure)]


async def says(session: FakeSession, *events: ModelEvent) -> None:
    """The model says these, and everything that follows from them at once is done."""
    session.push(*events)
    await wait_all_tasks_blocked()


async def speaking(nursery: trio.Nursery) -> tuple[Desk, FakeSession]:
    """A call in which the model is in the middle of a reply."""
    desk = Desk(nursery)
    session = await desk.up()
    session.speak("r1", "i1", ms(400), end=False)
    await wait_all_tasks_blocked()
    desk.framer.take_all()
    return desk, session


# ---------------------------------------------------------------- until it is judged


async def test_of_hundreds_of_turns_that_wait_for_a_judgement_only_the_newest_are_told_of(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk, session = await speaking(nursery)
    names = [f"u{n}" for n in range(200)]
    await says(session, *(event for name in names for event in (SpeechStarted(name), SpeechStopped(name))))
    await desk.judge(YES)
    told = [message.item for message in desk.flow.take_all() if isinstance(message, CallerDone)]
    assert told == names[-OPEN_AT_MOST:]


async def test_nothing_follows_from_a_turn_until_it_is_judged(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    desk, session = await speaking(nursery)
    turn = (SpeechStarted("u1"), SpeechStopped("u1"), CallerWords("u1", "Wait.", True))
    await says(session, *turn, TurnCommitted("u1"), ReplyAudio("r1", "i1", ms(100)))
    assert desk.watcher.take_all() == [*turn], "who judges has to know"
    assert desk.flow.take_all() == []
    assert after_setup(session) == []
    assert desk.framer.take_all() == [ReplyAudio("r1", "i1", ms(100))], "the agent is not silenced"
    assert desk.notebook.record.turns == []


async def test_a_turn_that_begins_while_nobody_else_judges_is_asked_for_once(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk, session = await speaking(nursery)
    desk.contested = False
    await says(session, SpeechStarted("u1"))
    assert after_setup(session) == [CancelReply("r1")]
    await says(session, ReplyEnded("r1", ReplyStatus.CANCELLED), SpeechStopped("u1"), CallerWords("u1", "Wait.", True))
    assert after_setup(session) == [CancelReply("r1"), AskReply()]
    assert desk.flow.take_all() == [CallerSpoke(), ReplyOver(False), CallerDone("u1"), CallerSaid("u1", "Wait.", None)]
    session.speak("r2", "i2", ms(200))
    await trio.sleep(60)
    assert len(session.said(AskReply)) == 1


# ---------------------------------------------------------------- the floor was not taken


async def test_a_turn_that_was_none_is_forgotten_before_the_next_reply_and_not_before_its_words_could_come(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk, session = await speaking(nursery)
    await says(session, SpeechStarted("u1"), SpeechStopped("u1"))
    await desk.judge(NO)
    await says(session, ReplyAudio("r1", "i1", ms(100)), ReplyEnded("r1", ReplyStatus.COMPLETED))
    assert ReplyAudio("r1", "i1", ms(100)) in desk.framer.take_all()
    await trio.sleep(5)
    assert after_setup(session) == []
    assert desk.flow.take_all() == [ReplyOver(True)]
    desk.link.inbox.post(AskReply())
    await wait_all_tasks_blocked()
    assert after_setup(session) == [DropItem("u1"), AskReply()]
    assert desk.notebook.record.turns == []


async def test_a_turn_that_was_none_and_whose_words_are_known_is_forgotten_at_once(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk, session = await speaking(nursery)
    await says(session, SpeechStarted("u1"), SpeechStopped("u1"), CallerWords("u1", "Mhm.", True))
    await desk.judge(NO)
    assert after_setup(session) == [DropItem("u1")]
    assert desk.flow.take_all() == []


async def test_a_turn_that_was_none_is_forgotten_though_it_was_judged_before_it_stopped(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk, session = await speaking(nursery)
    await says(session, SpeechStarted("u1"))
    await desk.judge(NO)
    await says(session, ReplyEnded("r1", ReplyStatus.COMPLETED))
    desk.link.inbox.post(AskReply())
    await wait_all_tasks_blocked()
    assert after_setup(session) == [], "somebody is still heard"
    await says(session, SpeechStopped("u1"), TurnCommitted("u1"))
    assert after_setup(session) == [DropItem("u1"), AskReply()]
    assert desk.flow.take_all() == [ReplyOver(True)]


@pytest.mark.parametrize(
    ("judged", "words"),
    [(True, "before"), (True, "after"), (True, ""), (False, "")],
    ids=["none, by its words", "none, and so are its words", "none, and its words never came", "not judged yet"],
)
async def test_what_was_heard_over_the_agent_is_said_to_the_next_session_unless_it_is_known_to_be_nothing(
    judged: bool, words: str, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk, session = await speaking(nursery)
    for number in range(50):
        desk.link.audio.post(CallerAudio(f"{number:04}", number * 20))
    await wait_all_tasks_blocked()
    await says(session, SpeechStarted("u1"), SpeechStopped("u1"))
    # The reply that it spoke over goes on, and is no answer to it.
    await says(session, ReplyAudio("r1", "i1", ms(100)))
    if words == "before":
        await says(session, CallerWords("u1", "uh-huh", final=True))
    if judged:
        await desk.judge(NO)
    if words == "after":
        await says(session, CallerWords("u1", "uh-huh", final=True))
    session.lose()
    second = await desk.next()
    assert second.heard == ([] if words else [f"{number:04}" for number in range(50)])
    assert not desk.over.is_set()


# ---------------------------------------------------------------- the floor was taken


async def test_a_turn_that_took_the_floor_is_told_in_order_and_asked_for_when_the_reply_is_over(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk, session = await speaking(nursery)
    await says(session, SpeechStarted("u1"), SpeechStopped("u1"), CallerWords("u1", "Wait.", True))
    await desk.judge(YES)
    assert desk.flow.take_all() == [CallerSpoke(), CallerDone("u1"), CallerSaid("u1", "Wait.", None)]
    assert after_setup(session) == [CancelReply("r1")]
    await says(session, ReplyAudio("r1", "i1", ms(100)))
    assert desk.framer.take_all() == [], "of what was cancelled nothing is played any more"
    await says(session, ReplyEnded("r1", ReplyStatus.CANCELLED))
    assert after_setup(session) == [CancelReply("r1"), AskReply()]
    session.speak("r2", "i2", ms(200))
    await trio.sleep(60)
    assert after_setup(session) == [CancelReply("r1"), AskReply()]
    assert [turn.text for turn in desk.notebook.record.turns] == ["Wait."]


async def test_a_turn_that_took_the_floor_and_goes_on_is_asked_for_when_it_stops(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk, session = await speaking(nursery)
    await says(session, SpeechStarted("u1"))
    await desk.judge(YES)
    assert desk.flow.take_all() == [CallerSpoke()]
    await says(session, ReplyEnded("r1", ReplyStatus.CANCELLED))
    assert after_setup(session) == [CancelReply("r1")], "the caller is speaking"
    await says(session, SpeechStopped("u1"), CallerWords("u1", "Wait.", True))
    assert after_setup(session) == [CancelReply("r1"), AskReply()]
    assert desk.flow.take_all() == [ReplyOver(False), CallerDone("u1"), CallerSaid("u1", "Wait.", None)]


@pytest.mark.parametrize("taken", [True, False])
async def test_two_turns_are_judged_at_once(taken: bool, autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    desk, session = await speaking(nursery)
    await says(session, SpeechStarted("u1"), SpeechStopped("u1"), CallerWords("u1", "No.", True))
    await says(session, SpeechStarted("u2"), SpeechStopped("u2"), CallerWords("u2", "Wait.", True))
    await desk.judge(Judged(taken))
    await says(session, ReplyEnded("r1", ReplyStatus.CANCELLED if taken else ReplyStatus.COMPLETED))
    told = [event for event in desk.flow.take_all() if not isinstance(event, ReplyOver)]
    if taken:
        assert told[:3] == [CallerSpoke(), CallerDone("u1"), CallerSaid("u1", "No.", None)]
        assert told[3:] == [CallerSpoke(), CallerDone("u2"), CallerSaid("u2", "Wait.", None)]
        session.speak("r2", "i2", ms(200))
        await trio.sleep(60)
        assert after_setup(session) == [CancelReply("r1"), AskReply()], "one answer to both"
    else:
        assert told == []
        assert after_setup(session) == [DropItem("u1"), DropItem("u2")]


# ---------------------------------------------------------------- words that come late


async def dismissed(nursery: trio.Nursery, *items: str) -> tuple[Desk, FakeSession]:
    """A call in which these turns were judged to be none, their words not being known; the reply is over."""
    desk, session = await speaking(nursery)
    for item in items:
        await says(session, SpeechStarted(item), SpeechStopped(item))
        await desk.judge(NO)
    await says(session, ReplyEnded("r1", ReplyStatus.COMPLETED))
    desk.flow.take_all()
    desk.watcher.take_all()
    return desk, session


async def test_a_turn_with_late_words_becomes_the_turn_it_was(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    desk, session = await dismissed(nursery, "u1")
    await says(session, CallerWords("u1", "Stop!", True))
    assert desk.watcher.take_all() == [CallerWords("u1", "Stop!", True)]
    assert desk.flow.take_all() == []
    await desk.judge(Judged(taken=True, words="Stop!"))
    assert desk.flow.take_all() == [CallerSpoke(), CallerDone("u1"), CallerSaid("u1", "Stop!", None)]
    session.speak("r2", "i2", ms(200))
    await trio.sleep(5)
    assert after_setup(session) == [AskReply()]
    desk.link.inbox.post(AskReply())
    await wait_all_tasks_blocked()
    assert after_setup(session) == [AskReply()] * 2, "and it is not forgotten later"


@pytest.mark.parametrize("ended", [True, False], ids=["the model heard its end", "it goes on"])
async def test_a_turn_with_a_piece_of_late_words_becomes_the_turn_it_was_and_the_rest_may_come(
    ended: bool, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk, session = await speaking(nursery)
    await says(session, SpeechStarted("u1"), *([SpeechStopped("u1")] if ended else []))
    await desk.judge(NO)
    await says(session, ReplyEnded("r1", ReplyStatus.COMPLETED))
    await says(session, CallerWords("u1", "What are", False), CallerWords("u1", " your", False))
    desk.flow.take_all()
    await desk.judge(Judged(taken=True, words="What"))
    assert desk.flow.take_all() == [CallerSpoke(), *([CallerDone("u1")] if ended else [])]
    assert after_setup(session) == ([AskReply()] if ended else [])
    await says(session, *([] if ended else [SpeechStopped("u1")]), CallerWords("u1", "What are your hours?", True))
    said = CallerSaid("u1", "What are your hours?", None)
    assert desk.flow.take_all() == [*([] if ended else [CallerDone("u1")]), said]
    assert after_setup(session) == [AskReply()]


async def test_of_a_turn_that_was_none_the_end_is_told_and_it_may_become_the_turn_it_was_without_words(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk, session = await speaking(nursery)
    await says(session, SpeechStarted("u1"))
    await desk.judge(NO)
    await says(session, ReplyEnded("r1", ReplyStatus.COMPLETED))
    desk.watcher.take_all()
    await says(session, SpeechStopped("u1"))
    assert desk.watcher.take_all() == [SpeechStopped("u1")], "who judges has to know"
    desk.flow.take_all()
    await desk.judge(Judged(taken=True, unwritten=True))
    assert desk.flow.take_all() == [CallerSpoke(), CallerDone("u1")]
    assert after_setup(session) == [AskReply()]


async def test_another_judgement_does_not_forget_a_turn_whose_words_may_still_come(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk, session = await dismissed(nursery, "u1")
    await desk.judge(NO)  # of something that the model did not hear
    await says(session, SpeechStarted("u2"), SpeechStopped("u2"), CallerWords("u2", "Mhm.", True))
    await desk.judge(NO)
    assert after_setup(session) == [DropItem("u2")]
    await says(session, CallerWords("u1", "Stop!", True))
    await desk.judge(Judged(taken=True, words="Stop!"))
    assert desk.flow.take_all() == [CallerSpoke(), CallerDone("u1"), CallerSaid("u1", "Stop!", None)]
    assert after_setup(session) == [DropItem("u2"), AskReply()]


async def test_late_words_of_a_turn_that_is_forgotten_are_told_as_text_and_to_the_next_session_once(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk, session = await dismissed(nursery, "u1")
    desk.link.inbox.post(AskReply())
    await session.told(AskReply)
    session.speak("r2", "i2", ms(200), end=False)
    await says(session, CallerWords("u1", "Stop!", True))
    desk.flow.take_all()
    await desk.judge(Judged(taken=True, words="Stop!"))
    told = session.said(Tell)
    assert [(tell.role, tell.text) for tell in told] == [(Role.CALLER, "Stop!")]
    assert after_setup(session) == [DropItem("u1"), AskReply(), CancelReply("r2"), *told]
    item = told[0].item
    assert desk.flow.take_all() == [CallerSpoke(), CallerDone(item), CallerSaid(item, "Stop!", None)]
    await says(session, ReplyEnded("r2", ReplyStatus.CANCELLED))
    assert len(session.said(AskReply)) == 2
    session.lose()
    second = await desk.next()
    assert [tell.text for tell in second.said(Tell)].count("Stop!") == 1
    assert len(second.said(AskReply)) == 1


async def test_of_a_turn_that_is_forgotten_the_rest_of_its_late_words_is_told_too(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk, session = await dismissed(nursery, "u1")
    desk.link.inbox.post(AskReply())
    await says(session, CallerWords("u1", "Can I", False), CallerWords("u1", " sp", False))
    await desk.judge(Judged(taken=True, words="Can I"))
    session.speak("r2", "i2", ms(200), end=False)
    (half,) = session.said(Tell)
    desk.watcher.take_all()
    desk.flow.take_all()
    await says(session, CallerWords("u1", "Can I speak to a person?", True))
    words, floor = desk.watcher.take_all()
    assert (words, floor) == (
        CallerWords("u1", "Can I speak to a person?", True),
        FloorTaken(Floor.SPEECH, "Can I speak to a person?"),
    )
    before = len(after_setup(session))
    await desk.judge(Judged(taken=True, words="Can I speak to a person?"))
    told = session.said(Tell)[-1]
    assert (told.role, told.text) == (Role.CALLER, "Can I speak to a person?")
    assert after_setup(session)[before:] == [CancelReply("r2"), DropItem(half.item), told]
    said = CallerSaid(half.item, "Can I speak to a person?", None)
    assert desk.flow.take_all() == [CallerSpoke(again=True), CallerDone(half.item), said]
    assert [turn.text for turn in desk.notebook.record.turns if turn.who == "caller"] == ["Can I speak to a person?"]


async def test_each_of_two_turns_with_late_words_becomes_the_turn_it_was(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk, session = await dismissed(nursery, "u1", "u2")
    await says(session, CallerWords("u1", "Stop!", True), CallerWords("u2", "Mhm.", True))
    await desk.judge(Judged(taken=True, words="Stop!"))
    assert desk.flow.take_all() == [CallerSpoke(), CallerDone("u1"), CallerSaid("u1", "Stop!", None)]
    assert after_setup(session) == [DropItem("u2"), AskReply()]


async def test_late_words_of_a_session_that_is_gone_are_told_as_text(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk, session = await dismissed(nursery, "u1")
    await says(session, CallerWords("u1", "Stop!", True))
    session.lose()
    second = await desk.next()
    await desk.judge(Judged(taken=True, words="Stop!"))
    assert [tell.text for tell in second.said(Tell)] == ["Stop!"]
    assert len(second.said(AskReply)) == 1


# ---------------------------------------------------------------- the model noticed nothing


async def test_a_model_that_took_no_notice_of_who_took_the_floor_is_probed_given_up_and_the_next_one_hears_it(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = Desk(nursery)
    session = await desk.up()
    session.speak("r1", "i1", ms(20_000))
    await wait_all_tasks_blocked()
    desk.speech_until = trio.current_time() + 20.0
    await desk.caller(1000, QUIET)
    began = trio.current_time()
    await desk.caller(600, LOUD)
    desk.contested = False
    desk.speech_until = trio.current_time()
    await desk.judge(Judged(taken=True, heard_from=began))
    assert session.said(Probe) == []
    await desk.caller(3000, QUIET)
    second = await desk.next()
    assert len(session.said(Probe)) == 1
    assert session.closed
    assert second.heard.count(LOUD) == 30
    assert any("no sign of life" in trouble for trouble in desk.troubles)


async def test_a_model_that_took_no_notice_but_answers_the_probe_is_kept_and_told_of_the_turn(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = Desk(nursery)
    session = await desk.up()
    await desk.judge(Judged(taken=True, heard_from=trio.current_time()))
    with trio.fail_after(60):
        await session.told(Probe)
    session.push(ModelTrouble("probe", "alive", Gravity.BENIGN))
    with trio.fail_after(1):
        await session.told(CommitTurn)
        session.push(TurnCommitted("u1"))
        await session.told(AskReply)
    session.speak("r1", "i1", ms(20))
    await trio.sleep(60)
    assert not session.closed
    assert len(session.said(Probe)) == len(session.said(CommitTurn)) == 1


def test_an_ear_that_is_told_of_speech_takes_it_for_an_utterance_until_the_model_says_something() -> None:
    ear = Ear(0.8)
    assert ear.unanswered_since is None
    ear.heard(1.0, 1.5)
    assert (ear.unanswered_from, ear.unanswered_since) == (1.0, 1.5)
    assert not ear.listen(from_base64(LOUD), 1.6), "it was an utterance before"
    assert ear.unanswered_since == 1.6
    ear.sign_of_life()
    assert ear.unanswered_since is None
    assert not ear.listen(from_base64(LOUD), 9.0)
    assert ear.unanswered_since is None


# ---------------------------------------------------------------- a model that answers by itself all the same


@pytest.mark.parametrize("slow", [False, True], ids=["asked before it began", "asked after it began"])
async def test_a_model_that_answers_by_itself_though_it_should_not_is_not_asked_for_a_second_reply(
    slow: bool, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = Desk(nursery, contested=False)
    session = await desk.up()
    if slow:  # what is to be sent waits for something that was to be sent before
        session.takes = trio.Event()
        desk.link.inbox.post(Probe())
        await wait_all_tasks_blocked()
    await says(session, SpeechStarted("u1"), SpeechStopped("u1"))
    await says(session, ReplyBegan("r1"))
    session.takes.set()
    await wait_all_tasks_blocked()
    if session.said(AskReply):
        await says(session, COLLISION)
    await says(session, ReplyAudio("r1", "i1", ms(200)), ReplyEnded("r1", ReplyStatus.COMPLETED))
    await trio.sleep(60)
    assert len(session.said(AskReply)) == (0 if slow else 1)
    assert ReplyAudio("r1", "i1", ms(200)) in desk.framer.take_all()


async def test_an_answer_that_was_not_yet_asked_for_when_the_session_was_lost_is_asked_for_in_the_next(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = Desk(nursery, contested=False)
    session = await desk.up()
    session.takes = trio.Event()
    desk.link.inbox.post(Probe())
    await wait_all_tasks_blocked()
    await says(session, SpeechStarted("u1"), SpeechStopped("u1"), CallerWords("u1", "Which day?", True))
    session.lose()
    second = await desk.next()
    assert [type(command) for command in after_setup(second)] == [Tell, AskReply]


def test_an_answer_to_a_turn_that_collides_with_the_models_own_is_not_wished_again() -> None:
    desk = ReplyDesk(automatic=False, interrupting=False)
    desk.speech_started()
    desk.speech_stopped()
    assert desk.wish(turn=True)
    assert desk.began("r1")
    assert not desk.was_asked("r1"), "it is an answer like one that begins by itself"
    desk.refused()
    desk.ended("r1", ReplyStatus.COMPLETED)
    assert not desk.take_wish()


def test_what_we_want_said_is_wished_again_if_it_collides_with_the_models_own() -> None:
    desk = ReplyDesk(automatic=False, interrupting=False)
    assert desk.wish()
    assert desk.began("r1")
    assert desk.was_asked("r1")
    desk.refused()
    assert not desk.take_wish(), "not while that is being made"
    desk.ended("r1", ReplyStatus.COMPLETED)
    assert desk.take_wish()


def test_who_begins_to_speak_over_the_agent_silences_nothing_and_is_not_talked_over() -> None:
    desk = ReplyDesk(automatic=False, interrupting=False)
    desk.began("r1")
    desk.caller_begins()
    assert desk.wanted("r1")
    desk.ended("r1", ReplyStatus.COMPLETED)
    assert not desk.wish()
    assert desk.wish_blocked_by_caller
    desk.speech_stopped()
    assert desk.take_wish()


# ---------------------------------------------------------------- the session is gone


@pytest.mark.parametrize("judged", [NO, YES], ids=["not taken", "taken"])
async def test_a_judgement_of_a_turn_of_a_session_that_is_gone_changes_nothing(
    judged: Judged, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk, session = await speaking(nursery)
    await says(session, SpeechStarted("u1"), SpeechStopped("u1"), CallerWords("u1", "Wait.", True))
    session.lose()
    second = await desk.next()
    assert len(second.said(AskReply)) == 1, "the reply that was lost"
    second.speak("r2", "i2", ms(200))
    await wait_all_tasks_blocked()
    before = after_setup(second)
    assert desk.flow.take_all() == [LinkUp(), ReplyOver(True)]
    await desk.judge(judged)
    assert after_setup(second) == before
    assert desk.flow.take_all() == []
    desk.contested = False
    await says(second, SpeechStarted("v1"), SpeechStopped("v1"))
    assert desk.flow.take_all() == [CallerSpoke(), CallerDone("v1")]
    assert after_setup(second) == [*before, AskReply()]


async def test_who_takes_the_floor_while_the_model_hears_a_turn_that_was_none_is_answered(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    # On a line that echoes the turn began with the agent's own voice, and does not end before the caller's.
    desk, session = await speaking(nursery)
    await says(session, SpeechStarted("u1"))
    await desk.judge(NO)
    began = trio.current_time()
    await trio.sleep(1)
    await desk.judge(Judged(taken=True, heard_from=began))
    await says(session, ReplyEnded("r1", ReplyStatus.CANCELLED), SpeechStopped("u1"), CallerWords("u1", "Stop.", True))
    assert after_setup(session) == [CancelReply("r1"), AskReply()]
    told = [message for message in desk.flow.take_all() if isinstance(message, CallerSpoke | CallerDone | CallerSaid)]
    assert told == [CallerSpoke(), CallerDone("u1"), CallerSaid("u1", "Stop.", None)]
