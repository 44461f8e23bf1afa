"""WritingTime: the words of a turn are waited for as long as this call's transcriber needs, within bounds."""

import pytest

from actors.writing_time import LAST, SPARE, WAIT_LEAST, WAIT_MOST, WritingTime


def after(*took: float) -> WritingTime:
    """What is known after turns that took so long."""
    time = WritingTime()
    for number, seconds in enumerate(took):
        time.over(f"u{number}", 10.0 * number)
        time.written(f"u{number}", "Hello.", 10.0 * number + seconds)
    return time


@pytest.mark.parametrize(
    ("took", "wait"),
    [
        ((), WAIT_LEAST),
        ((0.3,), WAIT_LEAST),
        ((0.9,), SPARE * 0.9),
        ((0.9, 0.6), SPARE * 0.9),
        ((5.0,), WAIT_MOST),
        ((5.0, *[0.4] * LAST), WAIT_LEAST),
    ],
    ids=["nothing known", "fast", "slow", "the slowest counts", "at most", "long ago"],
)
def test_words_are_waited_for_as_long_as_they_took_of_late(took: tuple[float, ...], wait: float) -> None:
    assert after(*took).wait == pytest.approx(wait)


def test_a_turn_of_which_is_told_twice_counts_once_and_from_its_end() -> None:
    time = WritingTime()
    time.over("u1", 1.0)
    time.over("u1", 1.7)
    time.written("u1", "Hello.", 1.9)
    assert time.wait == pytest.approx(SPARE * 0.9)
    time.over("u1", 2.0)
    time.written("u1", "Hello.", 8.0)
    assert time.wait == pytest.approx(SPARE * 0.9)


def test_from_a_turn_without_words_or_without_a_name_or_an_end_nothing_is_learned() -> None:
    time = WritingTime()
    time.over("u1", 1.0)
    time.written("u1", " ", 2.0)
    time.over("", 1.0)
    time.written("", "Hello.", 2.0)
    time.written("u2", "Hello.", 2.0)
    time.over("u2", 3.0)
    assert time.wait == WAIT_LEAST
