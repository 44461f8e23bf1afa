"""The reply desk: who may speak, and when another reply may be asked for."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.messages import ReplyStatus
from actors.reply_desk import ACTIVE_AT_MOST, ReplyDesk


def a_desk(automatic: bool = True, interrupting: bool = True) -> ReplyDesk:
    return ReplyDesk(automatic, interrupting)


def done(desk: ReplyDesk, reply: str) -> tuple[bool, bool]:
    return desk.ended(reply, ReplyStatus.COMPLETED)


def test_an_idle_model_may_be_asked_at_once() -> None:
    desk = a_desk()
    assert not desk.waiting
    assert desk.wish()
    assert desk.waiting


def test_a_second_wish_waits_for_the_reply_asked_for_and_is_fulfilled_by_it() -> None:
    desk = a_desk()
    assert desk.wish()
    assert not desk.wish()
    assert not desk.take_wish()
    desk.began("r1")
    done(desk, "r1")
    assert not desk.take_wish()
    assert not desk.waiting


def test_replies_that_begin_and_never_end_are_bounded_and_the_oldest_counts_as_over() -> None:
    desk = a_desk()
    for number in range(300):
        assert desk.began(f"r{number}")
    assert not desk.wanted("r283")
    assert desk.abandon() == [f"r{number}" for number in range(300 - ACTIVE_AT_MOST, 300)]


def test_a_wish_made_during_a_reply_comes_due_when_it_ends() -> None:
    desk = a_desk()
    desk.began("r1")
    assert not desk.wish()
    assert not desk.take_wish()
    done(desk, "r1")
    assert desk.take_wish()
    assert not desk.take_wish()  # taken once
    assert desk.wish()


def test_a_wish_waits_while_the_caller_speaks_and_for_the_automatic_answer_after() -> None:
    desk = a_desk()
    desk.speech_started()
    assert not desk.wish()
    assert desk.wish_blocked_by_caller
    desk.speech_stopped()
    assert not desk.take_wish()  # the automatic reply will do it
    desk.began("r1")
    done(desk, "r1")
    assert not desk.take_wish()


def test_a_wish_comes_due_when_the_caller_stops_and_nothing_is_automatic() -> None:
    desk = a_desk(automatic=False)
    desk.speech_started()
    assert not desk.wish()
    desk.speech_stopped()
    assert desk.take_wish()


def test_a_caller_who_speaks_too_long_is_not_waited_for() -> None:
    desk = a_desk()
    desk.speech_started()
    desk.wish()
    desk.insist()
    assert not desk.wish_blocked_by_caller
    assert desk.take_wish()


def test_speech_mutes_the_reply_and_a_model_that_interrupts_need_not_be_told() -> None:
    desk = a_desk(interrupting=True)
    desk.began("r1")
    assert desk.wanted("r1")
    assert desk.speech_started() == []
    assert not desk.wanted("r1")
    assert done(desk, "r1") == (True, False)
    assert not desk.wanted("r1")  # a straggler of a muted reply


def test_speech_has_the_reply_cancelled_when_the_model_would_go_on_and_only_once() -> None:
    desk = a_desk(interrupting=False)
    desk.began("r1")
    assert desk.speech_started() == ["r1"]
    assert desk.speech_started() == []


def test_muting_names_each_reply_once() -> None:
    desk = a_desk()
    desk.began("r1")
    assert desk.mute() == ["r1"]
    assert desk.mute() == []
    done(desk, "r1")
    assert desk.mute() == []


def test_a_reply_that_was_never_announced_is_wanted_and_its_end_is_survived() -> None:
    desk = a_desk()
    assert desk.wanted("ghost")
    assert done(desk, "ghost") == (False, False)


def test_whether_a_reply_spoke_is_remembered_to_its_end() -> None:
    desk = a_desk()
    desk.began("r1")
    desk.spoke("r1")
    assert done(desk, "r1") == (False, True)
    desk.began("r2")
    assert done(desk, "r2") == (False, False)


def test_an_end_that_comes_twice_is_one_end() -> None:
    desk = a_desk()
    desk.began("r1")
    desk.speech_started()
    assert done(desk, "r1") == (True, False)
    assert done(desk, "r1") == (True, False)


def test_a_finished_turn_lets_the_caller_expect_an_answer_only_if_it_is_automatic() -> None:
    for automatic in (True, False):
        desk = a_desk(automatic=automatic)
        desk.speech_started()
        assert not desk.waiting
        desk.speech_stopped()
        assert desk.waiting is automatic


def test_a_caller_who_speaks_again_expects_no_answer_yet() -> None:
    desk = a_desk()
    desk.speech_started()
    desk.speech_stopped()
    desk.speech_started()
    assert not desk.waiting


def test_a_muted_reply_is_not_waited_for() -> None:
    desk = a_desk()
    desk.began("r1")
    assert desk.waiting
    desk.mute()
    assert not desk.waiting


@pytest.mark.parametrize("automatic", [True, False])
def test_a_reply_that_is_due_and_not_wanted_any_more_is_not_waited_for(automatic: bool) -> None:
    desk = a_desk(automatic)
    desk.speech_started()
    desk.speech_stopped()
    if not automatic:
        assert desk.wish(turn=True)
    assert desk.waiting
    assert desk.hush() == []
    assert not desk.waiting
    assert not desk.began("r1")
    assert not desk.waiting
    assert done(desk, "r1") == (True, False)
    assert desk.wish()
    assert desk.waiting


def test_a_wish_that_waits_is_not_wanted_any_more_either() -> None:
    desk = a_desk(automatic=False)
    desk.began("r1")
    assert not desk.wish(turn=True)
    assert desk.hush() == ["r1"]
    done(desk, "r1")
    assert not desk.take_wish()
    assert not desk.waiting
    assert desk.wish()
    assert desk.began("r2")
    assert desk.was_asked("r2"), "it is taken for the answer to a turn that nobody answers"


def test_a_refused_question_is_asked_again_when_the_other_reply_is_over() -> None:
    desk = a_desk()
    assert desk.wish()
    desk.refused()
    assert not desk.take_wish(), "nothing is known of it, and it is not over"
    done(desk, "r0")
    assert desk.take_wish()


def test_losing_the_model_names_what_will_never_be_finished() -> None:
    desk = a_desk()
    desk.began("r1")
    assert desk.abandon() == ["r1"]
    assert desk.abandon() == []
    assert not desk.waiting


MOVES = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(["wish", "take", "refused", "insist", "started", "stopped", "mute", "abandon"]), st.just("")
        ),
        st.tuples(st.sampled_from(["began", "spoke", "ended"]), st.sampled_from(["r1", "r2", "r3"])),
    ),
    max_size=60,
)


@given(st.booleans(), st.booleans(), MOVES)
@settings(max_examples=150)
def test_in_any_order_of_events_nothing_is_asked_while_a_reply_is_made_or_the_caller_speaks(
    automatic: bool, interrupting: bool, moves: list[tuple[str, str]]
) -> None:
    desk = a_desk(automatic, interrupting)
    active: set[str] = set()
    over: set[str] = set()
    speaking = False
    crossed = False  # what was asked for had not begun when the caller began to speak
    for move, reply in moves:
        if move == "wish":
            if desk.wish():
                assert not active
                assert not speaking
            assert desk.waiting
        elif move == "take":
            if desk.take_wish():
                assert not active
                assert not speaking
        elif move == "began":
            desk.began(reply)
            active.add(reply)
            assert desk.wanted(reply) is not crossed
            speaking, crossed = speaking and crossed, False
        elif move == "spoke":
            desk.spoke(reply)
            if reply not in over | active:  # it was never announced
                active.add(reply)
                speaking, crossed = speaking and crossed, False
        elif move == "ended":
            desk.ended(reply, ReplyStatus.COMPLETED)
            active.discard(reply)
            over.add(reply)
        elif move == "started":
            crossed = desk.asked
            cancelled = desk.speech_started()
            assert not (interrupting and cancelled)
            assert set(cancelled) <= active
            assert not any(desk.wanted(each) for each in active)
            speaking = True
        elif move == "stopped":
            desk.speech_stopped()
            speaking = False
        elif move == "mute":
            assert set(desk.mute()) <= active
            assert desk.mute() == []
        elif move == "abandon":
            assert set(desk.abandon()) == active
            active.clear()
        elif move == "refused":
            desk.refused()
            crossed = False
        else:
            desk.insist()
            speaking = False
