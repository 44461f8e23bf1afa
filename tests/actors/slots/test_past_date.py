"""Days that have been, as callers say them: with their year, in any order that is clear, and corrected in part."""

import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.slots import Context, Unclear, Understood, read_back, understand

NOW = datetime.datetime(2026, 11, 24, 10, 0, tzinfo=ZoneInfo("America/New_York"))


def heard(said: str, before: str = "", region: str = "US") -> str:
    """The canonical text, or why there is none."""
    reading = understand("past_date", said, Context(NOW, "en", region), before)
    return (
        reading.text if isinstance(reading, Understood) else reading.why if isinstance(reading, Unclear) else "declined"
    )


@pytest.mark.parametrize(
    "said",
    [
        "March 5th, 1984",
        "the fifth of March nineteen eighty-four",
        "March fifth, eighty four",
        "I was born on March 5, 1984.",
        "My date of birth is the 5th of March 1984.",
        "3/5/1984",
        "3/5/84",
        "03-05-1984",
        "three, five, nineteen eighty-four",
        "oh three, oh five, eighty-four",
        "5.3.1984",
        "1984-03-05",
        "March 5th, no, sorry, the 4th, no, the 5th, 1984",
    ],
)
def test_a_day_is_understood_however_it_is_said(said: str):
    assert heard(said) == "1984-03-05"


@pytest.mark.parametrize("said", ["the fifth of the third, eighty-four", "5/3/84", "five, three, nineteen eighty-four"])
def test_the_day_is_first_where_it_is_said_so(said: str):
    assert heard(said, region="GB") == "1984-03-05"


@pytest.mark.parametrize(("said", "day"), [("today", "2026-11-24"), ("It was yesterday.", "2026-11-23")])
def test_a_day_may_be_named_by_how_long_ago_it_is(said: str, day: str):
    assert heard(said) == day


@pytest.mark.parametrize(("said", "year"), [("March 5th, 26", 2026), ("March 5th, 27", 1927), ("March 5th, 05", 2005)])
def test_a_year_of_two_figures_is_the_last_that_has_been(said: str, year: int):
    assert heard(said) == f"{year}-03-05"


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("March 5th", "the year is missing"),
        ("1984", "the day or the month is missing"),
        ("March 1984", "the day or the month is missing"),
        ("tomorrow", "no day that has been"),
        ("March 5th, 2031", "is yet to come"),
        ("November 25th, 2026", "is yet to come"),
        ("February 30th, 1984", "there is no such date"),
        ("March 5th or 6th, 1984", "ask for one"),
        ("hello", "no date was heard"),
    ],
)
def test_what_is_no_day_that_has_been_is_asked_for_again(said: str, why: str):
    assert why in heard(said)


@pytest.mark.parametrize(
    ("said", "day"),
    [("No, 1985.", "1985-03-05"), ("The sixth, not the fifth.", "1984-03-06"), ("April 5th.", "1984-04-05")],
)
def test_a_correction_of_a_part_keeps_the_rest(said: str, day: str):
    assert heard(said, before="1984-03-05") == day


def test_who_would_rather_not_say_it_declines():
    assert heard("I'd rather not say.") == "declined"


@given(st.dates(datetime.date(1900, 1, 1), NOW.date()))
def test_what_is_read_back_is_understood_as_the_same_day(day: datetime.date):
    spoken = read_back("past_date", day.isoformat())
    assert str(day.year) in spoken
    assert heard(spoken) == day.isoformat() == heard(day.isoformat())
