"""RealtimeLink: set up before it speaks, the caller's audio, and how it ends."""

import math
from collections.abc import Callable

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.caller_lane import BATCH
from actors.messages import (
    AgreedSession,
    AskReply,
    CallerAudio,
    CallerSilence,
    CallerSpoke,
    Configure,
    Gravity,
    LinkUp,
    ModelCommand,
    ModelTrouble,
    ReplyAudio,
    ReplyEnded,
    ReplyStatus,
    Role,
    SessionAgreed,
    Tell,
)
from actors.mulaw import silence, to_base64
from actors.ports import ModelGone
from tests.kit.calls import LIMITS, LOUD, QUIET, SESSION, LinkDesk, ms
from tests.kit.model import FakeModel, FakeSession, Place, agreed_to

AGREED = agreed_to(SESSION)


def frames(count: int) -> list[str]:
    """Payloads that differ from each other, and are quiet."""
    return [to_base64(silence(19) + bytes([0xFE, 0xFD] * 2) + n.to_bytes(4, "big")) for n in range(count)]


def failed(reply: str, gravity: Gravity = Gravity.RETRY) -> ReplyEnded:
    return ReplyEnded(reply, ReplyStatus.FAILED, reason="server_error", gravity=gravity)


def after_setup(session: FakeSession) -> list[ModelCommand]:
    """The commands that followed the setting up."""
    (first, *others) = [command for _, command in session.commands]
    assert isinstance(first, Configure)
    return others


# ---------------------------------------------------------------- setting up


async def test_nothing_is_sent_before_the_model_has_agreed_to_what_was_asked(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery, Place(opens_after=1, created_after=1, agreed_after=1))
    payloads = frames(3)
    for payload in payloads:
        desk.link.audio.post(CallerAudio(payload, 0))
    told = Tell(Role.AGENT, "Hello.", "prompt_greeting_1", first=True)
    desk.link.inbox.post(told)
    session = await desk.model.session()
    await trio.sleep(0.99)
    assert [command for _, command in session.commands] == [Configure(SESSION)]
    assert session.appended == []
    assert desk.flow.take_all() == []
    await trio.sleep(0.02)
    assert desk.flow.take_all() == [LinkUp()]
    assert session.heard == payloads
    assert after_setup(session) == [told]


async def test_audio_held_back_comes_in_order_and_the_oldest_is_dropped_when_it_is_too_much(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery, Place(created_after=2), limits=attrs.evolve(LIMITS, hold_back=4.0))
    payloads = frames(230)  # 4 seconds are 200 frames
    for payload in payloads:
        desk.link.audio.post(CallerAudio(payload, 0))
    session = await desk.up()
    assert session.heard == payloads[30:]
    assert [len(pieces) for _, pieces, _ in session.appended] == [BATCH] * 4
    assert desk.link.audio.stats().dropped == 30


async def test_who_speaks_before_the_link_has_had_its_first_turn_is_heard(nursery: trio.Nursery) -> None:
    desk = LinkDesk(nursery)
    for _ in range(50):  # all that was read together with the start of the stream
        desk.link.overhear(CallerAudio(LOUD, 0))
    assert [type(event) for event in desk.flow.take_all()] == [CallerSpoke]


async def test_silence_keeps_its_place_between_the_frames(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    desk = LinkDesk(nursery, Place(created_after=1))
    one, two, three = frames(3)
    for event in (CallerAudio(one, 0), CallerSilence(1000), CallerSilence(100), CallerAudio(two, 0)):
        desk.link.audio.post(event)
    session = await desk.up()
    desk.link.audio.post(CallerAudio(three, 0))
    await wait_all_tasks_blocked()
    assert [(pieces, quiet) for _, pieces, quiet in session.appended] == [
        ([one], 1000),
        ([], 100),
        ([two], 0),
        ([three], 0),
    ]


async def test_once_it_is_up_every_frame_goes_at_once_and_alone(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    await desk.caller(200, QUIET)
    assert [at - desk.began for at, _, _ in session.appended] == pytest.approx([n * 0.02 for n in range(10)])
    assert all(pieces == [QUIET] for _, pieces, _ in session.appended)


TURNS = SESSION.turn_detection
WRONG = {
    "input": attrs.evolve(AGREED, mulaw_in=False),
    "output": attrs.evolve(AGREED, mulaw_out=False),
    "voice": attrs.evolve(AGREED, voice="alloy"),
    "no turns": attrs.evolve(AGREED, turn_detection=None),
    "no answers": attrs.evolve(AGREED, turn_detection=attrs.evolve(TURNS, create_response=False)),
    "no interruptions": attrs.evolve(AGREED, turn_detection=attrs.evolve(TURNS, interrupt_response=False)),
}


@pytest.mark.parametrize("agreed", WRONG.values(), ids=WRONG)
async def test_a_session_that_is_not_what_was_asked_for_is_left_unheard(
    agreed: AgreedSession, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery, Place(agrees_with=SessionAgreed(agreed)))
    desk.link.audio.post(CallerAudio(QUIET, 0))
    assert (await desk.lost()).reason
    (session,) = desk.model.sessions
    assert after_setup(session) == []
    assert session.appended == []
    assert session.closed


@pytest.mark.parametrize(
    "agreed",
    [
        attrs.evolve(AGREED, voice=""),  # some servers do not say
        attrs.evolve(AGREED, turn_detection=attrs.evolve(TURNS, threshold=0.5, prefix_ms=0, silence_ms=200)),
    ],
)
async def test_small_differences_are_lived_with(
    agreed: AgreedSession, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery, Place(agrees_with=SessionAgreed(agreed)))
    await desk.model.session()
    await wait_all_tasks_blocked()
    assert desk.flow.take_all() == [LinkUp()]


REFUSAL = ModelTrouble("invalid_model", "no such model", Gravity.FATAL)
UNFIT = {
    "refused": (Place(opens_after=0.5, refuses=ModelGone("HTTP 503")), 0.5),
    "no connection": (Place(opens_after=math.inf), LIMITS.connect),
    "no session": (Place(opens_after=1, created_after=math.inf), 1 + LIMITS.session),
    "no agreement": (Place(created_after=2, agreed_after=math.inf), 2 + LIMITS.session),
    "an error for a greeting": (Place(created_after=1, greets_with=REFUSAL), 1.0),
    "an error for an answer": (Place(agreed_after=1, agrees_with=REFUSAL), 1.0),
    # The update was rejected as a whole, however harmless the error would be later.
    "a small error for an answer": (Place(agrees_with=ModelTrouble("unknown_parameter", "?", Gravity.BENIGN)), 0.0),
    "another session": (Place(agrees_with=SessionAgreed(WRONG["output"])), 0.0),
}


@pytest.mark.parametrize(("place", "seconds"), UNFIT.values(), ids=UNFIT)
async def test_a_place_that_cannot_be_had_is_given_up_in_time_and_the_loss_told_once(
    place: Place, seconds: float, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery, place)
    lost = await desk.lost()
    assert desk.ended_at == pytest.approx(seconds)
    assert desk.troubles == [f"model: {lost.reason}"]
    assert all(session.closed for session in desk.model.sessions)


@pytest.mark.parametrize("name", ["refused", "no connection", "no session", "no agreement"])
async def test_the_next_place_is_tried_and_hears_what_was_held_back(
    name: str, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery, UNFIT[name][0], Place())
    payloads = frames(4)
    for payload in payloads:
        desk.link.audio.post(CallerAudio(payload, 0))
    told = Tell(Role.AGENT, "Hello.", "prompt_greeting_1", first=True)
    desk.link.inbox.post(told)
    await trio.sleep(10)
    assert desk.flow.take_all() == [LinkUp()]
    assert [endpoint for _, endpoint in desk.model.tried] == [0, 1]
    session = desk.model.sessions[-1]
    assert not session.closed
    assert session.heard == payloads
    assert after_setup(session) == [told]
    assert len(desk.troubles) == 1  # the first place's


async def test_when_no_place_can_be_had_the_last_reason_is_told(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery, Place(refuses=ModelGone("one")), Place(refuses=ModelGone("two")))
    assert (await desk.lost()).reason == "two"
    assert desk.troubles == ["model: one", "model: two"]


async def test_without_any_place_the_loss_is_told_at_once(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    model = FakeModel()
    model.places = ()
    desk = LinkDesk(nursery, model=model)
    assert "no model" in (await desk.lost()).reason
    assert desk.ended_at == 0


async def test_a_slow_setup_is_no_failure_while_each_answer_is_in_time(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery, Place(opens_after=3.9, created_after=2.9, agreed_after=2.9))
    await trio.sleep(10)
    assert desk.flow.take_all() == [LinkUp()]


# ---------------------------------------------------------------- ending

ENDS: dict[str, Callable[[LinkDesk, FakeSession], None]] = {
    "dropped": lambda desk, session: session.lose("reset"),
    "session over": lambda desk, session: session.push(ModelTrouble("session_expired", "60 minutes", Gravity.LOST)),
    "fatal error": lambda desk, session: session.push(ModelTrouble("insufficient_quota", "pay", Gravity.FATAL)),
    "two errors": lambda desk, session: session.push(*[ModelTrouble("session_expired", "over", Gravity.LOST)] * 2),
    "error, then dropped": lambda desk, session: (
        session.push(ModelTrouble("session_expired", "over", Gravity.LOST)),
        session.lose("closed"),
    )[0],
    "fatal failure of a reply": lambda desk, session: session.push(failed("r9", Gravity.FATAL)),
    "silence": lambda desk, session: desk.link.inbox.post(AskReply()),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
async def test_however_a_session_ends_the_loss_is_told_once_and_no_other_place_is_tried(
    end: Callable[[LinkDesk, FakeSession], None], autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery, Place(), Place())
    session = await desk.up()
    end(desk, session)
    for _ in range(5):  # both ways are busy when it happens
        desk.link.audio.post(CallerAudio(QUIET, 0))
        desk.link.inbox.post(Tell(Role.CALLER, "keys"))
    lost = await desk.lost()
    assert lost.reason
    assert session.closed
    await trio.sleep(100)
    assert desk.flow.take_all() == []
    assert len(desk.model.tried) == 1


async def test_a_writer_that_finds_the_connection_broken_ends_the_link(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    session.takes = trio.Event()
    desk.link.inbox.post(Tell(Role.CALLER, "keys"))
    desk.link.audio.post(CallerAudio(QUIET, 0))
    await wait_all_tasks_blocked()
    session.lose("reset")
    session.takes.set()
    await desk.lost(within=1)
    assert len(desk.troubles) == 1


async def test_replies_that_will_never_be_finished_are_ended_before_the_loss_is_told(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    session.speak("r1", "i1", ms(400), end=False)
    session.lose()
    await desk.lost()
    assert desk.framer.take_all() == [ReplyAudio("r1", "i1", ms(400)), ReplyEnded("r1", ReplyStatus.FAILED)]


async def test_small_complaints_are_noted_and_the_link_goes_on(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery)
    session = await desk.up()
    for gravity in (Gravity.BENIGN, Gravity.RETRY):
        session.push(ModelTrouble("response_cancel_not_active", "nothing to cancel", gravity))
    await trio.sleep(100)
    assert not desk.over.is_set()
    assert desk.troubles == ["model: response_cancel_not_active: nothing to cancel"] * 2
    assert after_setup(session) == []


@pytest.mark.parametrize(
    ("place", "when"),
    [
        (Place(opens_after=1), 0.5),
        (Place(created_after=1), 0.5),
        (Place(agreed_after=1), 0.5),
        (Place(closes_after=1), 5.0),
    ],
)
async def test_a_link_that_is_cancelled_closes_its_session_and_tells_nobody(
    place: Place, when: float, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = LinkDesk(nursery, place, Place())
    await trio.sleep(when)
    desk.flow.take_all()
    desk.scope.cancel()
    with trio.fail_after(2):
        await desk.over.wait()
    assert desk.scope.cancelled_caught
    assert all(session.closed for session in desk.model.sessions)
    assert desk.flow.take_all() == []
    assert len(desk.model.tried) == 1
