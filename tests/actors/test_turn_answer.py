"""When the answer to a turn is due: at once, when there are words in it, or when the caller has had time to go on."""

import math

import pytest

from actors.turn_answer import HARDLY_BEGUN, REST_WITHIN, WORDS_WITHIN, TurnAnswer


def over(at: float = 10.0, *, until_words: bool = False) -> TurnAnswer:
    """The caller's turn is over."""
    answer = TurnAnswer()
    answer.not_wanted(until_words=until_words)
    answer.turn_over(at)
    return answer


def test_a_turn_is_answered_at_once_and_once():
    answer = over()
    assert answer.is_due("u1", whatever_it_was=False)
    assert answer.take()
    assert not answer.take()
    assert answer.at == math.inf


@pytest.mark.parametrize(("said", "back"), [(True, True), (False, False)])
def test_who_asked_to_wait_is_answered_if_there_are_words_in_their_turn(said: bool, back: bool):
    answer = over(until_words=True)
    assert not answer.is_due("u1", whatever_it_was=False)
    assert answer.at == 10.0 + WORDS_WITHIN
    assert answer.written("u1", said=said) == back
    assert (answer.at, answer.due, answer.until_words) == (math.inf, back, not back)


def test_an_answer_that_was_asked_for_is_put_off_until_a_little_after_the_turn():
    answer = over()
    answer.is_due("u1", whatever_it_was=False)
    assert not answer.may_be_put_off(10.4), "it is not even asked for"
    answer.take()
    answer.put_off()
    assert (answer.due, answer.at) == (True, 10.0 + REST_WITHIN)
    answer.waited()
    assert answer.take()


@pytest.mark.parametrize(("heard", "may"), [(HARDLY_BEGUN, True), (HARDLY_BEGUN + 0.01, False)])
def test_an_answer_is_taken_back_as_long_as_it_has_hardly_begun(heard: float, may: bool):
    answer = over()
    answer.heard(10.5)
    answer.heard(11.0)
    assert answer.may_be_put_off(10.5 + heard) == may


def test_the_rest_of_what_was_broken_off_and_another_wish_end_the_wait_for_it():
    for end in (TurnAnswer.turn_begins, TurnAnswer.asked):
        answer = over()
        answer.put_off()
        end(answer)
        assert (answer.due, answer.at) == (False, math.inf)
        assert not answer.turn_begins()
