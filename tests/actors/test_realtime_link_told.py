"""RealtimeLink tells the model what was heard of an interrupted reply, and where the conversation stands."""

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.messages import (
    AnswerTools,
    AskReply,
    CallerWords,
    Cut,
    DropItem,
    Floor,
    Gravity,
    Guide,
    Interrupted,
    ModelEvent,
    ModelTrouble,
    ReplyAudio,
    ReplyBegan,
    ReplyEnded,
    ReplyStatus,
    Retune,
    Role,
    SessionAgreed,
    SetPatience,
    SpeechStarted,
    SpeechStopped,
    Tell,
    ToolResult,
    Truncate,
)
from tests.kit.calls import SESSION, LinkDesk, a_tool_call, ms
from tests.kit.model import agreed_to
from tests.kit.sent import after_setup

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
