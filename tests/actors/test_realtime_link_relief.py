"""RealtimeLink replaces a session before it is lost: its time is nearly over, or another model is wanted; one is kept ready."""

import contextlib
from collections.abc import AsyncIterator

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.messages import (
    AskReply,
    CallerWords,
    Cut,
    Floor,
    Interrupted,
    LinkUp,
    Retune,
    SessionCreated,
    SetModel,
    SetPatience,
    SpeechStarted,
    SpeechStopped,
    StopTalking,
)
from actors.model_lines import ROLL_OVER_AT_LAST, ROLL_OVER_EARLY
from actors.ports import ModelGone
from actors.realtime_link import LOSSES_WITHIN
from actors.talk import LOSSES_AT_MOST
from actors.turn_answer import WORDS_WITHIN
from tests.kit.calls import MANUAL, REPLACING, ReplacingDesk, ms
from tests.kit.model import FakeModel, FakeSession, Place

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
