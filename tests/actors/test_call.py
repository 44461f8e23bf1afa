"""A whole call of actors between fakes: how it is wrapped up, whatever happens and in whatever order."""

import itertools
from collections.abc import Callable
from typing import cast

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.call import DRAIN_AT_MOST, ERRANDS_WITHIN, WRAP_UP
from actors.call_state import MOVE_AT_MOST
from actors.dialogue import Dialogue
from actors.messages import (
    Before,
    CallBegan,
    CancelReply,
    Disposition,
    Gravity,
    ReplyAudio,
    ReplyBegan,
    ReplyEnded,
    ReplyStatus,
    ReplyWords,
    SpeechStarted,
    SpeechStopped,
    Tell,
    Truncate,
)
from actors.story import Said, Story, from_plain, to_plain
from conf.flow import Condition, Effect, Flow, Slot, State, Transition
from tests.kit.calls import PLAN, PROMPTS, RULES, ErrandShelf, KeptStory, RecordShelf, Stage, a_call, a_tool_call, ms
from tests.kit.model import FakeModel, FakeSession, Place

LEAD = PLAN.pace.lead_ms / 1000
SPEECH = b"S"
GREETING, GOODBYE, TRANSFER, RESUME = (PROMPTS[name].audio for name in ("greeting", "goodbye", "transfer", "resume"))


def check_one_end(stage: Stage, *, stored: int = 1, kept: int = 1) -> None:
    """However it ended: one disposition, one close, one record, and no session left open."""
    assert len(stage.shelf.dispositions) == stored
    assert len(stage.carrier.closed_at) == 1
    assert len(stage.shelf.records) == kept
    assert all(session.closed for session in stage.model.sessions)


def break_port(port: object, method: str) -> None:
    """From now on `method` of `port` fails in a way that nobody foresaw."""

    async def broken(*_: object) -> None:
        await trio.lowlevel.checkpoint()
        raise RuntimeError("nobody foresaw this")

    def broken_at_once(*_: object) -> None:
        raise RuntimeError("nobody foresaw this")

    setattr(port, method, broken_at_once if method.endswith("_now") else broken)


# ---------------------------------------------------------------- an ordinary call


async def test_a_call_from_the_greeting_to_the_record(autojump_clock: MockClock) -> None:
    async with a_call() as stage:
        session = await stage.greeted()
        session.push(SpeechStarted("u1"), SpeechStopped("u1"))
        session.speak("r1", "i1", ms(1000, SPEECH), "We are open.")
        await trio.sleep(2)
        stage.carrier.hang_up()
    assert stage.record is stage.shelf.records[0][1]
    record = await stage.finished()
    assert stage.carrier.sound() == GREETING + ms(1000, SPEECH)
    assert (record.disposition, record.reason) == (Disposition.HANG_UP, "the caller hung up")
    assert [(turn.who, turn.heard_text) for turn in record.turns] == [
        ("agent", PROMPTS["greeting"].text),
        ("caller", ""),
        ("agent", "We are open."),
    ]
    assert {stats.name for stats in record.mailboxes} == {
        "caller_audio",
        "link",
        "framer",
        "twilio_out",
        "flow",
        "interrupt_watcher",
        "errands",
        "story",
    }
    assert record.errors == []
    check_one_end(stage)


async def test_a_caller_who_comes_back_is_not_greeted_again(autojump_clock: MockClock) -> None:
    async with a_call(before=CallBegan(Before.CUT_OFF)) as stage:
        await stage.session()
        await trio.sleep(2)
        stage.carrier.hang_up()
    assert stage.carrier.sound() == RESUME


async def test_the_disposition_is_stored_before_the_stream_is_closed_and_the_record_after(
    autojump_clock: MockClock,
) -> None:
    shelf = RecordShelf()
    shelf.disposition_takes = shelf.record_takes = 1.0
    async with a_call(shelf=shelf) as stage:
        await stage.greeted()
        stage.carrier.press("0")
        await stage.over.wait()
    (stored,) = shelf.dispositions
    (kept,) = shelf.records
    (closed,) = stage.carrier.closed_at
    assert stored[1:] == ("CA1", Disposition.DIAL)
    assert stored[0] <= closed
    assert kept[0] == closed + 1.0
    assert stage.carrier.sound() == GREETING + TRANSFER
    assert closed - stage.began >= 1.1 + len(TRANSFER) / 8000  # not before the last word was heard


# ---------------------------------------------------------------- bugs


def breaking_the_stream(method: str, keys: str = "") -> Callable[[Stage, FakeSession], None]:
    def do(stage: Stage, _: FakeSession) -> None:
        break_port(stage.carrier, method)
        for key in keys:
            stage.carrier.press(key)

    return do


def breaking_the_session(method: str) -> Callable[[Stage, FakeSession], None]:
    def do(stage: Stage, session: FakeSession) -> None:
        break_port(session, method)
        if method == "append":
            session.append_now = lambda payload: False  # type: ignore[method-assign] # a stand-in
        session.push(SpeechStarted("u1"))
        stage.carrier.press("5")

    return do


BUGS: dict[str, Callable[[Stage, FakeSession], None]] = {
    "in the reader of the stream": breaking_the_stream("receive"),
    "in the writer of frames": breaking_the_stream("send_frame"),
    "in the writer of marks": breaking_the_stream("send_mark"),
    "in the writer of clears": breaking_the_stream("send_clear", "5"),
    "in the reader of the model": breaking_the_session("receive"),
    "in the writer of audio": breaking_the_session("append"),
    "in the way of audio that waits for nobody": breaking_the_session("append_now"),
    "in the writer of commands": breaking_the_session("send"),
    "in the framer": lambda stage, session: session.push(ReplyAudio("r1", "i1", cast("bytes", None))),
    "in the flow": lambda stage, session: stage.carrier.press("0"),  # words that it does not have
}


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
async def test_a_bug_anywhere_ends_the_call_in_the_keypad_menu_and_the_record_is_kept(
    bug: Callable[[Stage, FakeSession], None], autojump_clock: MockClock
) -> None:
    prompts = {name: words for name, words in PROMPTS.items() if name != "transfer"}
    async with a_call(plan=attrs.evolve(PLAN, prompts=prompts)) as stage:
        session = await stage.greeted()
        session.speak("r1", "i1", ms(5000), end=False)
        await trio.sleep(1)
        bug(stage, session)
        with trio.fail_after(10):
            record = await stage.finished()
    assert record.disposition is Disposition.IVR
    assert record.reason.startswith("a bug ended the call: ")
    assert [trouble.kind for trouble in record.errors].count("bug") == 1
    assert [disposition for _, _, disposition in stage.shelf.dispositions] == [Disposition.IVR]
    assert [what for _, what, _ in stage.notes].count("bug") == 1
    check_one_end(stage)


async def test_a_bug_while_the_model_is_being_connected_ends_in_the_keypad_menu(autojump_clock: MockClock) -> None:
    class BrokenModel(FakeModel):
        @property
        def endpoints(self) -> int:
            raise RuntimeError("nobody foresaw this")

    async with a_call(model=BrokenModel()) as stage:
        record = await stage.finished()
    assert record.disposition is Disposition.IVR
    check_one_end(stage)


# ---------------------------------------------------------------- the model is lost


async def test_what_the_model_had_said_is_heard_to_its_end_when_the_model_is_lost(autojump_clock: MockClock) -> None:
    async with a_call() as stage:
        session = await stage.greeted()
        session.speak("r1", "i1", ms(3000, SPEECH), "Let me see.", end=False)
        session.lose()
        record = await stage.finished()
        assert stage.now() == pytest.approx(1.1 + 3.0)
    assert stage.carrier.sound() == GREETING + ms(3000, SPEECH)
    assert record.disposition is Disposition.IVR
    assert (record.turns[-1].heard_ms, record.turns[-1].interrupted) == (3000, False)
    check_one_end(stage)


async def test_a_long_speech_is_not_heard_to_its_end_when_the_model_is_lost(autojump_clock: MockClock) -> None:
    async with a_call() as stage:
        session = await stage.greeted()
        session.speak("r1", "i1", ms(60_000, SPEECH))
        await trio.sleep(1)
        lost = stage.now()
        session.lose()
        await stage.finished()
        assert stage.now() == pytest.approx(lost + DRAIN_AT_MOST)


async def test_a_call_is_moved_when_the_reply_that_is_being_made_was_made_and_heard(autojump_clock: MockClock) -> None:
    async with a_call() as stage:
        session = await stage.greeted()
        session.push(ReplyBegan("r1"), ReplyAudio("r1", "i1", ms(2000, SPEECH)))
        await trio.sleep(0.5)
        began = stage.now() - 0.5
        stage.call.move_away()
        await trio.sleep(1)
        session.push(ReplyAudio("r1", "i1", ms(2000, SPEECH)), ReplyEnded("r1", ReplyStatus.COMPLETED))
        record = await stage.finished()
        assert stage.now() == pytest.approx(began + 4.0, abs=0.1)
    assert record.disposition is Disposition.RESUME
    assert (record.turns[-1].heard_ms, record.turns[-1].interrupted) == (4000, False)


async def test_a_call_is_moved_in_time_though_the_model_does_not_end_its_reply(autojump_clock: MockClock) -> None:
    async with a_call() as stage:
        session = await stage.greeted()
        session.push(ReplyBegan("r1"), ReplyAudio("r1", "i1", ms(20_000, SPEECH)))
        await trio.sleep(0.5)
        began = stage.now()
        stage.call.move_away()
        record = await stage.finished()
        assert stage.now() == pytest.approx(began + MOVE_AT_MOST, abs=0.1)
    assert record.disposition is Disposition.RESUME
    assert record.turns[-1].heard_ms == pytest.approx(10_500, abs=100)


async def test_a_caller_who_cannot_be_written_to_is_not_drained_for_ever(autojump_clock: MockClock) -> None:
    async with a_call() as stage:
        session = await stage.greeted()
        session.speak("r1", "i1", ms(3000, SPEECH))
        await trio.sleep(0.5)
        stage.carrier.block()
        session.lose()
        lost = stage.now()
        await stage.finished()
        assert stage.now() == pytest.approx(lost + DRAIN_AT_MOST)
    check_one_end(stage)


@pytest.mark.parametrize("way", ["stop", "gone", "torn"])
async def test_who_hangs_up_while_the_last_of_the_speech_is_heard_waits_for_nothing(
    way: str, autojump_clock: MockClock
) -> None:
    async with a_call() as stage:
        session = await stage.greeted()
        session.speak("r1", "i1", ms(60_000, SPEECH))
        session.lose()
        await trio.sleep(2)
        assert not stage.over.is_set()
        hung_up = stage.now()
        ENDS[way](stage)
        await stage.finished()
        assert stage.now() == pytest.approx(hung_up)
    check_one_end(stage)


async def test_when_nothing_is_being_said_a_lost_model_ends_the_call_at_once(autojump_clock: MockClock) -> None:
    async with a_call() as stage:
        session = await stage.greeted()
        await trio.sleep(3)
        lost = stage.now()
        session.lose()
        await stage.finished()
        assert stage.now() == pytest.approx(lost)


async def test_the_greeting_is_heard_although_there_is_no_model(autojump_clock: MockClock) -> None:
    model = FakeModel(Place(opens_after=0.1, created_after=float("inf")))
    async with a_call(model=model) as stage:
        record = await stage.finished()
    assert stage.carrier.sound() == GREETING
    assert record.disposition is Disposition.IVR
    assert record.seconds <= RULES.greeting_seconds + RULES.max_silence
    check_one_end(stage)


# ---------------------------------------------------------------- ends, twice and in any order

ENDS: dict[str, Callable[[Stage], None]] = {
    "stop": lambda stage: stage.carrier.hang_up(),
    "gone": lambda stage: stage.call.carrier_gone("the connection is gone"),
    "torn": lambda stage: stage.carrier.lose(),
    "moved": lambda stage: stage.call.move_away(),
}


@pytest.mark.parametrize("pause", [0.0, 1.0, 10.0], ids=["at once", "during the wrap-up", "afterwards"])
@pytest.mark.parametrize(("first", "second"), list(itertools.product(ENDS, repeat=2)))
async def test_ending_twice_in_any_order_is_one_end_and_one_record(
    first: str, second: str, pause: float, autojump_clock: MockClock
) -> None:
    shelf = RecordShelf()
    shelf.disposition_takes = shelf.record_takes = 1.5
    async with a_call(shelf=shelf) as stage:
        session = await stage.greeted()
        session.speak("r1", "i1", ms(5000, SPEECH))
        await trio.sleep(1)
        ENDS[first](stage)
        if pause:
            await trio.sleep(pause)
        ENDS[second](stage)
        with trio.fail_after(10):
            record = await stage.finished()
    expected = {Disposition.HANG_UP if name == "stop" else Disposition.RESUME for name in (first, second)}
    assert record.disposition in expected
    if pause and first != "moved":  # what came first counts; who is to be moved may hang up before
        assert record.disposition is (Disposition.HANG_UP if first == "stop" else Disposition.RESUME)
    assert shelf.dispositions[0][2] is record.disposition
    check_one_end(stage)


@pytest.mark.parametrize("end", ENDS)
async def test_a_call_that_ends_before_it_has_begun_is_kept_too(end: str, autojump_clock: MockClock) -> None:
    async with a_call(model=FakeModel(Place(opens_after=1.0))) as stage:
        ENDS[end](stage)
        with trio.fail_after(5):
            await stage.finished()
    check_one_end(stage)


async def test_a_call_that_is_moved_is_to_be_resumed(autojump_clock: MockClock) -> None:
    async with a_call() as stage:
        session = await stage.greeted()
        session.speak("r1", "i1", ms(5000, SPEECH))
        await trio.sleep(1)
        stage.call.move_away()
        record = await stage.finished()
        assert stage.now() == pytest.approx(6.1, abs=0.05)  # what the model has said is heard first
    assert (record.disposition, record.reason, record.moved) == (Disposition.RESUME, "the server is going down", True)
    check_one_end(stage)


@pytest.mark.parametrize("moment", ["at once", "when greeted", "while draining", "during the wrap-up"])
async def test_a_call_that_is_cancelled_from_outside_is_closed_and_kept_all_the_same(
    moment: str, autojump_clock: MockClock
) -> None:
    shelf = RecordShelf()
    shelf.disposition_takes = shelf.record_takes = 1.0
    async with a_call(shelf=shelf) as stage:
        if moment != "at once":
            session = await stage.greeted()
            if moment == "while draining":
                session.speak("r1", "i1", ms(60_000, SPEECH))
                session.lose()
            elif moment == "during the wrap-up":
                stage.carrier.hang_up()
            await trio.sleep(0.5)
        stage.scope.cancel()
        with trio.fail_after(3 * WRAP_UP):
            await stage.over.wait()
    check_one_end(stage)


# ---------------------------------------------------------------- time


async def test_the_longest_call_ends_with_a_goodbye_that_is_heard(autojump_clock: MockClock) -> None:
    plan = attrs.evolve(PLAN, rules=attrs.evolve(RULES, max_seconds=30.0))
    async with a_call(plan=plan) as stage:
        session = await stage.greeted()
        await trio.sleep(26.9)
        session.speak("r1", "i1", ms(60_000, SPEECH))
        record = await stage.finished()
        assert stage.now() == pytest.approx(30 + len(GOODBYE) / 8000, abs=LEAD)
    assert (record.disposition, record.reason) == (Disposition.HANG_UP, "the longest call")
    assert stage.carrier.sound() == GREETING + ms(2000, SPEECH) + GOODBYE
    check_one_end(stage)


HANGS: dict[str, tuple[Callable[[RecordShelf, Stage], None], int, int]] = {
    "the disposition": (lambda shelf, stage: setattr(shelf, "disposition_takes", float("inf")), 0, 1),
    "the close": (lambda shelf, stage: setattr(stage.carrier, "close_hangs", True), 1, 1),
    "the record": (lambda shelf, stage: setattr(shelf, "record_takes", float("inf")), 1, 0),
}


@pytest.mark.parametrize("hanging", [(one,) for one in HANGS] + [tuple(HANGS)], ids=str)
async def test_what_hangs_in_the_wrap_up_holds_it_up_for_a_while_and_hinders_nothing_else(
    hanging: tuple[str, ...], autojump_clock: MockClock
) -> None:
    shelf = RecordShelf()
    async with a_call(shelf=shelf) as stage:
        await stage.greeted()
        stored = kept = 1
        for name in hanging:
            hang, stores, keeps = HANGS[name]
            hang(shelf, stage)
            stored, kept = min(stored, stores), min(kept, keeps)
        hung_up = stage.now()
        stage.carrier.hang_up()
        record = await stage.finished()
        assert stage.now() == pytest.approx(hung_up + WRAP_UP * len(hanging))
    assert record.disposition is Disposition.HANG_UP
    check_one_end(stage, stored=stored, kept=kept)


@pytest.mark.parametrize("takes", [1.0, 1.9])
async def test_a_model_that_is_slow_to_close_delays_the_end_and_not_more(
    takes: float, autojump_clock: MockClock
) -> None:
    async with a_call(model=FakeModel(Place(closes_after=takes))) as stage:
        await stage.greeted()
        hung_up = stage.now()
        stage.carrier.hang_up()
        await stage.finished()
        assert stage.now() == pytest.approx(hung_up + takes)
    check_one_end(stage)


# ---------------------------------------------------------------- last words


async def farewell(stage: Stage) -> FakeSession:
    """The agent ends the call without a word, and is asked for last words."""
    session = await stage.greeted()
    session.speak("r1", "i1", [], calls=(a_tool_call("end_call"),))
    await wait_all_tasks_blocked()
    return session


async def test_after_the_caller_has_chosen_a_human_the_model_is_not_heard_any_more(autojump_clock: MockClock) -> None:
    async with a_call() as stage:
        session = await stage.greeted()
        session.push(SpeechStarted("u1"), SpeechStopped("u1"))
        await wait_all_tasks_blocked()
        stage.carrier.press("0")  # while the model is thinking of its answer
        await trio.sleep(0.3)
        session.speak("r1", "i1", ms(10_000, SPEECH))
        record = await stage.finished()
    assert record.disposition is Disposition.DIAL
    assert stage.carrier.sound() == GREETING + TRANSFER


async def test_goodbye_is_said_once_when_the_model_fails_at_it(autojump_clock: MockClock) -> None:
    async with a_call() as stage:
        session = await farewell(stage)
        session.push(ReplyBegan("r2"))
        session.push(ReplyEnded("r2", ReplyStatus.FAILED, reason="server_error", gravity=Gravity.RETRY))
        await trio.sleep(0.5)
        if not stage.over.is_set():
            session.speak("r3", "i3", ms(500, SPEECH), "Goodbye.")  # the answer to the second question, if there is one
        record = await stage.finished()
    assert record.disposition is Disposition.HANG_UP
    assert stage.carrier.sound() in (GREETING + GOODBYE, GREETING + ms(500, SPEECH))


async def test_the_recorded_goodbye_is_heard_when_the_model_is_lost_before_its_own(autojump_clock: MockClock) -> None:
    async with a_call() as stage:
        session = await farewell(stage)
        session.lose()
        record = await stage.finished()
    assert record.disposition is Disposition.HANG_UP
    assert stage.carrier.sound() == GREETING + GOODBYE
    assert [turn.heard_text for turn in record.turns] == [PROMPTS["greeting"].text, PROMPTS["goodbye"].text]
    check_one_end(stage)


# ---------------------------------------------------------------- errands and the story

BOOKING = Flow(
    "booking",
    "Book.",
    start="ask",
    intents={"book": "They want an appointment."},
    slots={"size": Slot("number", "how many people", confirm=False)},
    states={
        "ask": State(
            "Ask for how many.",
            collects=("size",),
            transitions=(Transition(Condition(slots={"size": ("confirmed",)}), "done"),),
        ),
        "done": State("All is done.", on_entry=(Effect("sms", text="For {size}."),), final=True, seconds=2.0),
    },
)
BOOKS = attrs.evolve(PLAN, rules=attrs.evolve(RULES, flow=BOOKING))
CALLER = "+12125550100"
FROM = CallBegan(caller=CALLER)


def saves(session: FakeSession, reply: str, **values: object) -> None:
    """The model saves something, without a word."""
    session.speak(reply, f"i_{reply}", [], calls=(a_tool_call("save_details", f"c_{reply}", **values),))


async def test_a_message_of_the_flow_is_sent_to_its_end_after_the_caller_has_left_and_the_record_tells_it(
    autojump_clock: MockClock,
) -> None:
    async with a_call(plan=BOOKS, before=FROM, errands=ErrandShelf(text_takes=8.0)) as stage:
        session = await stage.greeted()
        saves(session, "r1", size="4")
        await trio.sleep(1)
        stage.carrier.hang_up()
        hung_up = trio.current_time()
        record = await stage.finished()
    assert [(to, said) for _, _, to, said in stage.errands.texts] == [(CALLER, "For 4.")]
    assert stage.carrier.closed_at == [pytest.approx(hung_up)]  # the caller waits for nothing
    assert stage.shelf.dispositions[0][0] == pytest.approx(hung_up)
    assert [(note.name, note.outcome) for note in record.errands] == [("sms", "done")]
    assert stage.shelf.records[0][0] == pytest.approx(hung_up + 7.0)
    check_one_end(stage)


async def test_errands_that_hang_are_not_waited_for_for_ever(autojump_clock: MockClock) -> None:
    async with a_call(plan=BOOKS, before=FROM, errands=ErrandShelf(claim_takes=float("inf"))) as stage:
        session = await stage.greeted()
        saves(session, "r1", size="4")
        await trio.sleep(1)
        hung_up = stage.now()
        stage.carrier.hang_up()
        record = await stage.finished()
        assert stage.now() <= hung_up + ERRANDS_WITHIN + 0.1
    assert record.disposition is Disposition.HANG_UP
    check_one_end(stage)


async def test_a_call_without_errands_is_over_when_the_stream_is(autojump_clock: MockClock) -> None:
    async with a_call(plan=BOOKS) as stage:
        await stage.greeted()
        hung_up = stage.now()
        stage.carrier.hang_up()
        await stage.finished()
        assert stage.now() == pytest.approx(hung_up)


async def test_a_bug_in_an_errand_after_the_caller_has_left_does_not_change_what_became_of_them(
    autojump_clock: MockClock,
) -> None:
    errands = ErrandShelf(text_takes=5.0)
    async with a_call(plan=BOOKS, before=FROM, errands=errands) as stage:
        break_port(errands, "settle")
        session = await stage.greeted()
        saves(session, "r1", size="4")
        await trio.sleep(1)
        stage.carrier.press("0")
        record = await stage.finished()
    assert [disposition for _, _, disposition in stage.shelf.dispositions] == [Disposition.DIAL]
    assert [trouble.kind for trouble in record.errors].count("bug") == 1
    check_one_end(stage)


def said_in(kept: KeptStory) -> tuple[Said, ...]:
    story = from_plain(kept.story, BOOKING)
    return story.said if story else ()


async def test_the_story_is_in_the_store_while_the_call_is_going_on(autojump_clock: MockClock) -> None:
    async with a_call(plan=BOOKS, before=FROM, called="+12125550199") as stage:
        session = await stage.greeted()
        saves(session, "r1", intent="book")
        await trio.sleep(1)
        kept = stage.shelf.stories[-1]
        assert (kept.call_sid, kept.caller, kept.called, kept.over) == ("CA1", CALLER, "+12125550199", False)
        story = from_plain(kept.story, BOOKING)
        assert story is not None
        assert (story.dialogue.at, story.dialogue.wish) == ("ask", "book")
        assert story.said == (Said("agent", PROMPTS["greeting"].text),)
        stage.carrier.hang_up()


async def test_what_was_heard_to_its_end_is_in_the_story_soon_though_the_caller_says_nothing(
    autojump_clock: MockClock,
) -> None:
    async with a_call(plan=BOOKS, before=FROM) as stage:
        session = await stage.greeted()
        saves(session, "r1", intent="book")
        await trio.sleep(1)
        session.push(
            ReplyBegan("r2"), ReplyWords("r2", "i2", "For which day?"), ReplyAudio("r2", "i2", ms(2000, SPEECH))
        )
        session.push(ReplyEnded("r2", ReplyStatus.COMPLETED))
        await trio.sleep(1)
        assert Said("agent", "For which day?") not in said_in(stage.shelf.stories[-1])
        await trio.sleep(2)
        assert said_in(stage.shelf.stories[-1])[-1] == Said("agent", "For which day?")
        stage.carrier.hang_up()


async def test_story_and_disposition_are_kept_at_once_before_the_stream_is_closed_and_the_record_last(
    autojump_clock: MockClock,
) -> None:
    shelf = RecordShelf()
    async with a_call(plan=BOOKS, shelf=shelf, before=FROM) as stage:
        session = await stage.greeted()
        saves(session, "r1", intent="book")
        await trio.sleep(1)
        shelf.disposition_takes = shelf.story_takes = shelf.record_takes = 1.0
        stage.carrier.press("0")
        await stage.finished()
    (closed,) = stage.carrier.closed_at
    last = shelf.stories[-1]
    story = from_plain(last.story, BOOKING)
    assert story is not None
    assert story.why == "the caller pressed 0"
    assert last.at == pytest.approx(closed)
    assert shelf.dispositions[0][0] == pytest.approx(closed)
    assert shelf.records[0][0] == pytest.approx(closed + 1.0)


ENDINGS: dict[str, tuple[Callable[[Stage], None], bool]] = {
    "the agent ends it": (lambda stage: stage.model.sessions[0].speak("r9", "i9", ms(200), calls=(END,)), True),
    "the caller hangs up in the middle": (lambda stage: stage.carrier.hang_up(), False),
    "the stream is torn": (lambda stage: stage.carrier.lose(), False),
    "the call is moved": (lambda stage: stage.call.move_away(), False),
    "a human is asked for": (lambda stage: stage.carrier.press("0"), False),
}
END = a_tool_call("end_call", "c9")


@pytest.mark.parametrize(("end", "over"), ENDINGS.values(), ids=ENDINGS)
async def test_a_story_is_over_when_the_agent_has_ended_it_and_else_can_be_gone_on_with(
    end: Callable[[Stage], None], over: bool, autojump_clock: MockClock
) -> None:
    async with a_call(plan=BOOKS, before=FROM) as stage:
        session = await stage.greeted()
        saves(session, "r1", intent="book")
        await trio.sleep(1)
        end(stage)
    assert stage.shelf.stories[-1].over is over


async def test_a_story_whose_purpose_is_achieved_is_over(autojump_clock: MockClock) -> None:
    async with a_call(plan=BOOKS, before=FROM) as stage:
        session = await stage.greeted()
        saves(session, "r1", size="4")
        await trio.sleep(1)
        stage.carrier.hang_up()
        record = await stage.finished()
    assert stage.shelf.stories[-1].over
    assert record.states == ["ask", "done"]


@pytest.mark.parametrize("down", [False, True], ids=["the store is well", "the store was down for a moment"])
async def test_the_last_story_is_not_overwritten_by_an_older_one(down: bool, autojump_clock: MockClock) -> None:
    shelf = RecordShelf()
    async with a_call(plan=BOOKS, shelf=shelf, before=FROM, errands=ErrandShelf(text_takes=10.0)) as stage:
        session = await stage.greeted()
        session.speak(
            "r1",
            "i1",
            [],
            calls=(a_tool_call("save_details", "c1", intent="book"), a_tool_call("send_sms", "c2", text="Hi.")),
        )
        await trio.sleep(3)
        shelf.down = down
        session.speak("r2", "i2", ms(350 if down else 100), calls=(END,))
        await trio.sleep(0.32)
        shelf.down = False  # it is tried again soon
        await stage.finished()
    assert stage.shelf.stories[-1].over, "what was decided is not what is in the store"


async def test_a_store_without_stories_hinders_no_call(autojump_clock: MockClock) -> None:
    shelf = RecordShelf()
    shelf.story_takes = float("inf")
    async with a_call(plan=BOOKS, shelf=shelf) as stage:
        session = await stage.greeted()
        session.speak("r1", "i1", ms(1000, SPEECH))
        await trio.sleep(2)
        hung_up = stage.now()
        stage.carrier.hang_up()
        await stage.finished()
        assert stage.now() <= hung_up + WRAP_UP + 0.1
    assert stage.carrier.sound() == GREETING + ms(1000, SPEECH)
    check_one_end(stage)


async def test_a_call_that_is_resumed_twice_is_told_all_that_was_said(autojump_clock: MockClock) -> None:
    said = (Said("agent", "How many will you be?"), Said("caller", "Wait a moment."))
    plain = to_plain(Story("booking", Dialogue("ask", wish="book", visits={"ask": 1}), said))
    async with a_call(plan=BOOKS, before=CallBegan(Before.CUT_OFF, CALLER, plain)) as stage:
        session = await stage.session()
        await trio.sleep(1)
        assert [tell.text for tell in session.said(Tell)][:2] == ["How many will you be?", "Wait a moment."]
        stage.carrier.lose()
    story = from_plain(stage.shelf.stories[-1].story, BOOKING)
    assert story is not None
    assert story.said[:2] == said, "the second resumption forgets what was said before the first"


async def test_a_reply_that_does_not_end_is_heard_as_long_as_is_allowed(autojump_clock: MockClock) -> None:
    plan = attrs.evolve(PLAN, limits=attrs.evolve(PLAN.limits, reply=5.0))
    async with a_call(plan=plan) as stage:
        session = await stage.greeted()
        session.speak("r1", "i1", ms(8000, SPEECH), "a b c d e f g h", end=False)
        await session.told(CancelReply)
        session.push(ReplyEnded("r1", ReplyStatus.CANCELLED))
        await trio.sleep(7)
        stage.carrier.hang_up()
        record = await stage.finished()
    assert stage.carrier.sound() == GREETING + ms(5000, SPEECH)
    assert session.said(Truncate) == [Truncate("i1", 5000)]
    assert record.replies[-1][1] == 5.0
