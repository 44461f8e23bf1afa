"""What callers say on the phone, as transcribers write it; and every correction within every courtesy."""

from zoneinfo import ZoneInfo

import pytest

from actors.slots import Context, Declined, Unclear, Understood, understand
from tests.actors.slots.reading import NOW, UNCLEAR, Case, outcome, read
from tests.actors.slots.spoken_answers import ANSWERS
from tests.actors.slots.spoken_emails import EMAILS
from tests.actors.slots.spoken_names import NAMES
from tests.actors.slots.spoken_not_yet import NOT_YET
from tests.actors.slots.spoken_phones import PHONES
from tests.actors.slots.spoken_whens import WHENS

SPOKEN = [*NAMES, *EMAILS, *PHONES, *WHENS, *ANSWERS]
LEADS = [
    *["", "no, ", "nope, ", "no no, ", "sorry, ", "actually ", "actually, ", "wait, ", "it's ", "that's ", "I said "],
    *["I meant ", "no, it's ", "no, sorry, ", "no, I said ", "no, I meant ", "oh sorry, ", "No. ", "okay, ", "um, "],
]
TRAILS = [
    "",
    ", please",
    " please",
    ", okay?",
    ", right?",
    ", thanks",
    ". Thank you.",
    ", that's it",
    ", if you don't mind",
]
FRAMED: list[Case] = [
    ("person_name", "Jane Smith", "Y not I", "Jane Smyth"),
    ("person_name", "Jane Smith", "Y as in yellow, not I", "Jane Smyth"),
    ("person_name", "Smith", "Y as in yellow", "Smyth"),
    ("person_name", "Jane Smith", "the last name is Smyth", "Jane Smyth"),
    ("person_name", "Smith", "the third letter is a Y", "Smyth"),
    ("person_name", "Ana", "with two n's", "Anna"),
    ("person_name", "Jane Smith", "Joan, not Jane", "Joan Smith"),
    ("person_name", "Jane Smith", "not Jane, Joan", "Joan Smith"),
    ("person_name", "Jane Smith", "S M Y T H", "Jane Smyth"),
    ("person_name", "", "Peter Parker", "Peter Parker"),
    ("person_name", "", "P E T E R", "Peter"),
    ("email", "j.smith@gmail.com", "Y as in yellow, not I", "j.smyth@gmail.com"),
    ("email", "j.smith@gmail.com", "Y not I", "j.smyth@gmail.com"),
    ("email", "j.smith@gmail.com", "hotmail", "j.smith@hotmail.com"),
    ("email", "j.smith@gmail.com", "hotmail not gmail", "j.smith@hotmail.com"),
    ("email", "j.smith@gmail.com", "not gmail, hotmail", "j.smith@hotmail.com"),
    ("email", "j.smith@gmail.com", "at hotmail dot com", "j.smith@hotmail.com"),
    ("email", "j.smith@gmail.com", "underscore not dot", "j_smith@gmail.com"),
    ("email", "j.smith@gmail.com", "smyth with a y", "j.smyth@gmail.com"),
    ("email", "j.smith@gmail.com", "the first letter is G as in George", "g.smith@gmail.com"),
    ("email", "j.smith@gmail.com", "change the i to a y", "j.smyth@gmail.com"),
    ("email", "j.smith@gmail.com", "jane at gmail dot com", "jane@gmail.com"),
    ("email", "j.smith@gmail.com", "j dot smyth", "j.smyth@gmail.com"),
    ("email", "", "jane at gmail dot com", "jane@gmail.com"),
    ("email", "", "jane@gmail.com", "jane@gmail.com"),
    ("email", "", "j a n e at gmail dot com", "jane@gmail.com"),
    ("phone", "+12125550198", "0199, not 0198", "+12125550199"),
    ("phone", "+12125550198", "not 0198, 0199", "+12125550199"),
    ("phone", "+12125550198", "the last digit is a nine", "+12125550199"),
    ("phone", "+12125550198", "it ends with 99", "+12125550199"),
    ("phone", "+12125550198", "the area code is 646", "+16465550198"),
    ("phone", "", "212 555 0198", "+12125550198"),
    ("date_time", "2026-12-01T15:00", "at four", "2026-12-01T16:00"),
    ("date_time", "2026-12-01T15:00", "four, not three", "2026-12-01T16:00"),
    ("date_time", "2026-12-01T15:00", "not three, four", "2026-12-01T16:00"),
    ("date_time", "2026-12-01T15:00", "Friday", "2026-11-27T15:00"),
    ("date_time", "2026-12-01T15:00", "an hour later", "2026-12-01T16:00"),
    ("date_time", "", "Friday at ten", "2026-11-27T10:00"),
    ("date", "", "the fifth of December", "2026-12-05"),
    ("time", "", "half past three", "15:30"),
    ("number", "", "five", "5"),
    ("number", "", "five, not four", "5"),
    ("choice", "", "the filling", "filling"),
    ("choice", "", "filling, not cleaning", "filling"),
    ("choice", "", "not the cleaning, the filling", "filling"),
]


def name_of(case: Case) -> str:
    return ": ".join(part for part in case[:3] if part)


@pytest.mark.parametrize("case", SPOKEN, ids=map(name_of, SPOKEN))
def test_what_is_said_is_understood(case: Case) -> None:
    kind, before, utterance, expected = case
    assert read(kind, utterance, before) == expected


@pytest.mark.parametrize("case", NOT_YET, ids=map(name_of, NOT_YET))
def test_what_is_not_understood_yet_is_never_taken_for_another_value(case: Case) -> None:
    kind, before, utterance, meant = case
    assert read(kind, utterance, before) in {meant, UNCLEAR}


@pytest.mark.parametrize("case", FRAMED, ids=map(name_of, FRAMED))
def test_courtesy_around_a_value_or_a_correction_changes_nothing(case: Case) -> None:
    kind, before, utterance, expected = case
    for lead in LEADS:
        for trail in TRAILS:
            said = f"{lead}{utterance}{trail}"
            assert (said, read(kind, said, before)) == (said, expected)


@pytest.mark.parametrize("said", ["use the number I am calling from", "this number", "the one I'm calling on, please"])
def test_who_means_the_telephone_in_use_is_asked_to_say_its_digits_if_its_number_is_not_known(said: str) -> None:
    reading = understand("phone", said, Context(NOW))
    assert isinstance(reading, Unclear)
    assert "digit by digit" in reading.why
    assert understand("phone", said, Context(NOW, caller="+12125550100")) == understand(
        "phone", "212 555 0100", Context(NOW)
    )
    assert isinstance(understand("phone", f"not {said}", Context(NOW, caller="+12125550100")), Unclear)


@pytest.mark.parametrize("kind", ["date", "date_time"])
def test_a_model_that_is_wrong_about_the_year_is_told_so(kind: str) -> None:
    reading = understand(kind, "2025-12-02" if kind == "date" else "2025-12-02T10:00", Context(NOW))
    assert isinstance(reading, Unclear)
    assert "of 2025 is in the past, today is Tuesday, November 24, 2026: ask" in reading.why


@pytest.mark.parametrize(
    ("hours", "said", "means"),
    [
        ("17:00-23:00", "eight", "20:00"),
        ("17:00-23:00", "half past seven", "19:30"),
        ("17:00-23:00", "quarter to eight", "19:45"),
        ("17:00-23:00", "10:30", "22:30"),
        ("17:00-23:00", "eight in the morning", "08:00"),
        ("17:00-23:00", "noon", "12:00"),
        ("17:00-23:00", "four", "16:00"),
        ("07:00-12:00", "seven", "07:00"),
        ("07:00-22:00", "eight", UNCLEAR),
        ("", "eight", "08:00"),
    ],
)
def test_an_hour_is_meant_within_the_hours_of_the_desk(hours: str, said: str, means: str) -> None:
    assert outcome(understand("time", said, Context(NOW, hours=hours))) == means
    if means != UNCLEAR:
        assert outcome(understand("time", means, Context(NOW, hours=hours), means)) == means


# ---------------------------------------------------------------- what models write where there is no value

NO_VALUE = [
    "none",
    "None",
    "N/A",
    "n.a.",
    "unknown",
    "Unknown",
    "null",
    "not provided",
    "not yet given",
    "-",
    "?",
    "--",
    "—",
    "...",
    "None.",
    '"none"',
    "(none)",
    "<UNKNOWN>",
    "NULL.",
    "{null}",
    "NaN",
    "undefined",
    "N / A",
    "NA",
    "N.A.",
    "Not provided.",
    "not given",
    "not provided by the caller",
    "no value provided",
    "No name given",
    "email not provided",
    "none provided",
    "none so far",
    "name unknown",
    "unknown caller",
    "skipped",
    "left blank",
    "anonymous",
    "to be determined",
    "the caller did not say",
    "caller has not provided a name",
    "does not apply",
    "it's unknown",
    "my name is Unknown",
]


@pytest.mark.parametrize("kind", ["person_name", "email", "phone", "date", "time", "date_time", "number"])
@pytest.mark.parametrize("said", NO_VALUE)
def test_what_stands_for_no_value_is_neither_a_value_nor_a_refusal(kind: str, said: str) -> None:
    reading = understand(kind, said, Context(NOW))
    assert isinstance(reading, Unclear)


@pytest.mark.parametrize("kind", ["person_name", "email", "date", "number", "yes_no", "choice", "text"])
@pytest.mark.parametrize("said", ["null", "-", "not provided", "not given", "<undefined>", "Caller did not say."])
def test_what_no_caller_says_is_to_be_left_out_in_any_kind(kind: str, said: str) -> None:
    reading = understand(kind, said, Context(NOW, choices={"cleaning": ()}))
    assert isinstance(reading, Unclear)
    assert "leave the key out if the caller did not say it" in reading.why


@pytest.mark.parametrize("said", ["none", "unknown", "n/a", "N.A."])
def test_who_passes_a_placeholder_for_a_choice_is_told_to_leave_it_out(said: str) -> None:
    reading = understand("choice", said, Context(NOW, choices={"cleaning": ()}))
    assert isinstance(reading, Unclear)
    assert "leave the key out" in reading.why


def test_a_name_that_is_held_may_look_like_no_value() -> None:
    assert isinstance(understand("person_name", "Unknown", Context(NOW), "Unknown"), Understood)


HAS_NONE = [
    "I have none", "I've got none.", "I have none of those", "no, I have none", "None, I don't have one",
    "N/A, I don't have one", "we don't have one", "I haven't got one", "I don't have any, sorry", "there is none",
]  # fmt: skip


@pytest.mark.parametrize("kind", ["person_name", "email", "phone", "date", "time", "date_time", "choice"])
@pytest.mark.parametrize("said", HAS_NONE)
def test_who_has_none_declines(kind: str, said: str) -> None:
    assert isinstance(understand(kind, said, Context(NOW, choices={"cleaning": ()})), Declined)


@pytest.mark.parametrize("said", HAS_NONE)
def test_to_an_open_question_to_have_none_is_an_answer(said: str) -> None:
    assert isinstance(understand("text", said, Context(NOW)), Understood)


@pytest.mark.parametrize(
    ("said", "declined"), [("I don't have one", True), ("I have none", False), ("I don't have any", False)]
)
def test_of_something_counted_to_have_none_may_be_zero(said: str, declined: bool) -> None:
    reading = understand("number", said, Context(NOW))
    assert isinstance(reading, Declined if declined else Unclear)


SKIPPED = [
    "skip", "Skip.", "skip that", "skip it, please", "can I skip that?", "I'd like to skip this one", "not telling you",
    "just leave it blank", "leave that out please",
]  # fmt: skip


@pytest.mark.parametrize("kind", ["person_name", "email", "phone", "date", "number", "choice", "text"])
@pytest.mark.parametrize("said", SKIPPED)
def test_who_wants_to_skip_it_declines(kind: str, said: str) -> None:
    """A bare "skip", too: unlike "none" it is said to somebody, and asks for one thing only."""
    assert isinstance(understand(kind, said, Context(NOW, choices={"cleaning": ()})), Declined)


@pytest.mark.parametrize("said", ["none", "skip", "private", "I have none", "It's private.", "Skip, please"])
def test_a_choice_is_no_refusal(said: str) -> None:
    choices = {"none": ("I have none",), "skip": (), "private": (), "public": ()}
    assert isinstance(understand("choice", said, Context(NOW, choices=choices)), Understood)


def test_what_sounds_private_may_answer_an_open_question() -> None:
    assert isinstance(understand("text", "private", Context(NOW)), Understood)
    assert isinstance(understand("text", "that's private", Context(NOW)), Declined)


@pytest.mark.parametrize("said", ["none", "unknown", "n/a"])
def test_where_every_word_may_count_it_is_an_answer(said: str) -> None:
    assert isinstance(understand("text", said, Context(NOW)), Understood)
    assert isinstance(understand("choice", said, Context(NOW, choices={said: (), "something": ()})), Understood)


REPORTED = [
    "declined", "refused", "The caller declined.", "they refused to say", "the caller does not want to give it",
    "customer doesn't want to share that", "prefers not to say", "caller prefers not to answer", "She declined to say.",
]  # fmt: skip


@pytest.mark.parametrize("kind", ["person_name", "email", "phone", "date", "number"])
@pytest.mark.parametrize("said", REPORTED)
def test_a_refusal_that_is_reported_is_one(kind: str, said: str) -> None:
    assert isinstance(understand(kind, said, Context(NOW)), Declined)


@pytest.mark.parametrize(
    ("said", "day"),
    [
        ("Friday at 3 PM Pacific time", ""),
        ("Friday at three pm Pacific", ""),
        ("Friday, 3 p.m. PST", ""),
        ("Friday at three, my time", ""),
        ("Friday at 3 PM Central Standard Time", ""),
        ("Friday at 3 PM Eastern time", "2026-11-27T15:00"),
        ("Friday, 3 PM EST, please", "2026-11-27T15:00"),
        ("Friday at 3 PM your time", "2026-11-27T15:00"),
    ],
)
def test_an_hour_of_another_zone_is_not_taken_for_one_here(said: str, day: str) -> None:
    read_here = understand("date_time", said, Context(NOW.astimezone(ZoneInfo("America/New_York"))))
    assert outcome(read_here) == (day or UNCLEAR)
    if isinstance(read_here, Unclear):
        assert "America/New_York" in read_here.why
