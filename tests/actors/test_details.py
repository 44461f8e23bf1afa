"""What callers tell: nothing gets into a slot unread, and nothing is confirmed that nobody was asked."""

import datetime
from collections.abc import Mapping

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.details import Report, confirm, context, keyed, overheard, save
from actors.dialogue import CAPTURES_KEPT, Dialogue, Held, Status
from actors.slots import Understood, read_back, understand
from conf.flow import SLOT_KINDS, Flow, Slot, State

NOW = datetime.datetime(2026, 11, 24, 10, 30, tzinfo=datetime.UTC)
SLOTS = {
    "name": Slot("person_name", "the name", spell=True),
    "email": Slot("email", "the address"),
    "phone": Slot("phone", "the number"),
    "day": Slot("date_time", "day and time"),
    "people": Slot("number", "how many", least=1, most=5000),
    "size": Slot("choice", "the size", choices={"small": ("little",), "large": ("big",)}),
    "sure": Slot("yes_no", "whether that is sure"),
    "note": Slot("text", "a note"),
}
FLOW = Flow(
    "desk", "Be kind.", start="ask", slots=SLOTS, states={"ask": State("Ask.", collects=tuple(SLOTS), final=True)}
)
START = Dialogue("ask", turn=1)
GOOD = {
    "name": ("John Smith", "John Smith"),
    "email": ("john@example.com", "john@example.com"),
    "phone": ("212 555 0123", "+12125550123"),
    "day": ("2026-12-01T15:00", "2026-12-01T15:00"),
    "people": ("12", "12"),
    "size": ("big", "large"),
    "sure": ("yes", "yes"),
    "note": ("after lunch", "after lunch"),
}
REFUSAL = "I'd rather not say"


def told(now: Dialogue, confidence: float | None = None, **values: object) -> tuple[Dialogue, Report]:
    return save(now, FLOW, values, NOW, confidence)


def later(now: Dialogue, turns: int = 1) -> Dialogue:
    return attrs.evolve(now, turn=now.turn + turns)


def answered(now: Dialogue, *names: str, correct: bool = True) -> tuple[Dialogue, Report]:
    return confirm(now, FLOW, names, correct, NOW.date())


def settled(**values: object) -> Dialogue:
    now, _ = told(START, **values)
    now, report = answered(later(now), *values)
    assert report.problems == ()
    return now


# ---------------------------------------------------------------- saving


@pytest.mark.parametrize(
    ("status", "said", "text"),
    [
        (Status.HEARD, "Lee", "Anna Lee"),
        (Status.UNCLEAR, "Lee", "Lee"),
        (Status.HEARD, "Carla", "Carla"),
        (Status.CONFIRMED, "Nadler", "Anna Nadler"),
        (Status.HEARD, "Nadler", "Nadler"),
    ],
)
def test_a_last_name_joins_the_first_and_replaces_one_that_is_wrong_or_sounds_like_it(
    status: Status, said: str, text: str
) -> None:
    before = attrs.evolve(START, slots={"name": Held("Anna", status)})
    assert told(before, name=said)[0].held("name").text == text


def test_a_last_name_does_not_join_a_first_name_that_is_a_detail_of_its_own() -> None:
    flow = attrs.evolve(FLOW, slots={**SLOTS, "name": Slot("person_name", "the caller's first name")})
    before = attrs.evolve(START, slots={"name": Held("Anna", Status.HEARD)})
    assert save(before, flow, {"name": "Lee"}, NOW)[0].held("name").text == "Lee"


@pytest.mark.parametrize("name", GOOD)
def test_a_value_is_saved_as_its_canonical_text(name: str) -> None:
    said, text = GOOD[name]
    now, report = told(START, **{name: said})
    assert report == Report(saved=(name,))
    held = now.held(name)
    assert (held.text, held.turn, held.tries, held.captures) == (text, 1, 0, (text,))
    assert held.status is (Status.HEARD if SLOTS[name].confirmed_by_caller else Status.CONFIRMED)


def test_several_values_are_saved_at_once_and_each_is_reported_on() -> None:
    now, report = told(START, name="John Smith", phone="?", size="huge", color="red", sure=True)
    assert report.saved == ("name", "sure")
    assert [problem.rpartition(" @ ")[2] for problem in report.problems] == ["$.phone", "$.size", "$.color"]
    assert "name, email, phone" in report.problems[2]
    assert [now.held(name).status for name in ("name", "phone", "size", "sure")] == [
        Status.HEARD,
        Status.UNCLEAR,
        Status.UNCLEAR,
        Status.CONFIRMED,
    ]
    assert "color" not in now.slots


@pytest.mark.parametrize("value", [None, [], ["John"], {}, {"first": "John"}])
def test_what_is_no_text_is_a_problem_with_its_path_and_no_try(value: object) -> None:
    now, report = told(START, name=value)
    assert (now.held("name"), report) == (Held(), Report(problems=("expected a text @ $.name",)))


def test_who_takes_back_what_they_told_is_not_kept_and_delivered_with_it() -> None:
    now, report = told(settled(email="john@example.com", people="3"), email=REFUSAL)
    assert report == Report(saved=("email",))
    assert now.held("email") == Held(status=Status.DECLINED, turn=1)
    assert now.held("people").text == "3"


@pytest.mark.parametrize("value", ["", " ", "N/A", "unknown", "null", "not provided"])
def test_a_model_that_fills_in_what_nobody_said_uses_up_no_try_of_the_caller(value: str) -> None:
    before, _ = told(START, name=REFUSAL)
    now, report = told(before, name=value, email=value, phone=value, day=value)
    assert now == before
    assert [problem.partition(" @ ")[2] for problem in report.problems] == ["$.name", "$.email", "$.phone", "$.day"]
    assert all("leave the key out" in problem for problem in report.problems)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("people", 12, "12"),
        ("people", 12.0, "12"),
        ("people", 2.5, "2.5"),
        ("people", 1234.5678, "1234.5678"),
        ("phone", 2125550123, "+12125550123"),
        ("phone", 2125550123.0, "+12125550123"),
        ("sure", True, "yes"),
        ("sure", False, "no"),
    ],
)
def test_numbers_and_truths_of_json_are_taken_for_what_they_are(name: str, value: object, text: str) -> None:
    now, report = told(START, **{name: value})
    assert (now.held(name).text, report.saved) == (text, (name,))


@pytest.mark.parametrize("value", [10**400, 1e308, float("inf"), float("nan"), -0.0, 5e-324], ids="ABCDEF")
def test_a_number_that_is_none_is_a_problem(value: float) -> None:
    now, report = told(START, people=value)
    assert report.saved == ()
    assert report.problems[0].endswith(" @ $.people")
    assert not now.held("people").known


def test_what_cannot_be_read_counts_as_a_try_and_says_what_to_ask() -> None:
    now = START
    for tries in (1, 2, 3):
        now, report = told(later(now), phone="banana")
        assert (now.held("phone").status, now.held("phone").tries) == (Status.UNCLEAR, tries)
        assert report.saved == report.corrected == ()
        assert report.problems[0].endswith(" @ $.phone")
    now, _ = told(now, phone="2125550123")
    assert (now.held("phone").status, now.held("phone").tries) == (Status.HEARD, 3)  # until it is confirmed


@pytest.mark.parametrize(
    ("captures", "tries"),
    [
        (("415", "415 555", "415-555-01"), 1),
        (("415", "415", "415"), 3),
        (("415 555", "416 555 01", "415 555"), 3),
        (("", "415 555", "415 555 01"), 2),
    ],
)
def test_who_says_more_of_what_was_only_half_a_value_is_at_the_same_try(captures: tuple[str, ...], tries: int) -> None:
    now = START
    for text in captures:
        now, report = told(later(now), phone=text or "banana")
        assert report.problems
    assert now.held("phone").tries == tries
    assert told(later(now), phone="415 555 2671")[0].held("phone").failed == ""


@pytest.mark.parametrize(
    ("halves", "text", "tries"),
    [
        (("four one five", "5550123"), "+14155550123", 1),
        (("415", "five five five oh one two three"), "+14155550123", 1),
        (("415", "555", "0123"), "+14155550123", 1),
        (("415", "555"), "", 1),
        (("415", "415"), "", 1),
        (("415 555", "no, 415 556"), "", 2),
        (("415 555", "416 555 01"), "", 2),
        (("banana", "5550123"), "", 2),
    ],
)
def test_the_parts_of_a_number_that_are_saved_one_by_one_are_one_try_and_one_number(
    halves: tuple[str, ...], text: str, tries: int
) -> None:
    now = START
    for half in halves:
        now, _ = told(now, phone=half)
    assert (now.held("phone").text, now.held("phone").tries) == (text, tries)


def test_the_rest_of_a_number_that_was_begun_aloud_may_be_typed() -> None:
    done = keyed(later(told(START, phone="it's four one five")[0]), flow_collecting("name", "phone"), "5550123", NOW)
    assert done is not None
    assert (done[1].saved, done[0].held("phone").text) == (("phone",), "+14155550123")


@pytest.mark.parametrize(
    ("said", "means"),
    [
        (("Tuesday", "three"), "2026-12-01T15:00"),
        (("Tuesday", "no, Wednesday", "three"), "2026-11-25T15:00"),
        (("Tuesday", "in the evening", "eight"), "2026-12-01T20:00"),
        (("Tuesday", "banana 7", "at three"), "2026-12-01T15:00"),
        (("at three", "Tuesday"), "2026-12-01T15:00"),
        (("three", "Tuesday"), "2026-12-01T15:00"),
        (("Tuesday at seven", "in the evening"), "2026-12-01T19:00"),
        (("today at nine", "at three"), "2026-11-24T15:00"),
        (("Tuesday at three or four", "Wednesday at four"), "2026-11-25T16:00"),
    ],
)
def test_a_day_and_its_time_may_be_told_one_after_the_other(said: tuple[str, ...], means: str) -> None:
    now = START
    for each in said[:-1]:
        now, report = told(now, day=each)
        assert report.problems
        now = later(now)
    now, report = told(now, day=said[-1])
    assert report == Report(saved=("day",))
    assert now.held("day").text == means


def test_who_has_told_the_day_is_asked_for_the_time_alone_whatever_else_they_say() -> None:
    now, _ = told(START, day="Tuesday")
    now, first = told(later(now), day="in the afternoon")
    again, second = told(now, day="in the afternoon")  # the model has no more than that, and says it again
    assert first.problems == ("the time is missing for Tuesday, December 1: ask for the time of day @ $.day",)
    assert second.problems == first.problems
    assert again == now


@pytest.mark.parametrize("settle", [False, True])
def test_what_cannot_be_read_leaves_what_is_known_as_it_was(settle: bool) -> None:
    now = settled(phone="2125550123") if settle else told(START, phone="2125550123")[0]
    after, _ = told(later(now), phone="banana")
    assert after.held("phone") == attrs.evolve(now.held("phone"), tries=1, failed="banana", failed_turn=now.turn + 1)


def test_who_drops_the_matter_keeps_what_is_right_and_declines_what_is_not() -> None:
    heard = told(START, phone="2125550123")[0]
    kept, report = told(later(heard), phone="never mind")
    assert (kept.held("phone"), report.saved) == (heard.held("phone"), ())
    wrong, _ = answered(later(heard), "phone", correct=False)
    for asked_for in (wrong, START):
        now, report = told(later(asked_for), phone="never mind")
        assert (now.held("phone").status, report.saved) == (Status.DECLINED, ("phone",))


def test_out_of_bounds_is_not_understood() -> None:
    for value in ("0", "5001"):
        assert told(START, people=value)[0].held("people").status is Status.UNCLEAR


# ---------------------------------------------------------------- corrections


def test_another_value_is_a_correction_and_has_to_be_confirmed_again() -> None:
    now = settled(name="John Smith")
    now, report = told(later(now), name="John Smythe")
    assert report == Report(saved=("name",), corrected=("name",))
    held = now.held("name")
    assert (held.text, held.status, held.turn) == ("John Smythe", Status.HEARD, now.turn)
    assert held.captures == ("John Smith", "John Smythe")


def test_the_same_value_again_is_no_correction_and_stays_confirmed() -> None:
    now = settled(name="John Smith")
    now, report = told(later(now), name="John Smith")
    assert (report, now.held("name").status) == (Report(saved=("name",)), Status.CONFIRMED)


def test_the_first_value_is_no_correction() -> None:
    assert told(START, name="John Smith")[1].corrected == ()


def test_a_value_that_was_wrong_is_kept_so_that_a_part_of_it_can_be_mended() -> None:
    now, _ = told(START, email="john@example.com")
    now, report = answered(later(now), "email", correct=False)
    assert report == Report(saved=("email",))
    held = now.held("email")
    assert (held.text, held.status, held.known, held.tries) == ("john@example.com", Status.UNCLEAR, False, 1)
    now, report = told(later(now), email="johnny@example.com")
    assert report.corrected == ("email",)
    assert now.held("email").status is Status.HEARD


def test_a_value_that_turns_out_wrong_again_and_again_is_a_try_each_time() -> None:
    """Otherwise a flow with `when.tries` never goes another way for a caller who is always misheard."""
    now = START
    for number, name in enumerate(("John Smith", "John Smythe", "John Schmidt"), 1):
        now, _ = told(later(now), name=name)
        now, _ = answered(later(now), "name", correct=False)
        assert now.held("name").tries == number


def test_a_corrected_value_does_not_keep_the_confidence_of_the_old_one() -> None:
    now, _ = told(START, 0.4, name="John Smith")
    assert now.held("name").model == 0.4
    now, _ = told(later(now), name="John Smythe")
    assert (now.held("name").model, now.held("name").transcript) == (None, None)
    now, _ = told(later(now), 0.9, name="John Smythe")
    assert now.held("name").model == 0.9


def test_only_the_last_captures_are_kept() -> None:
    now = START
    for number in range(CAPTURES_KEPT + 3):
        now, _ = told(now, note=f"note {number}")
    assert now.held("note").captures == tuple(f"note {number}" for number in range(3, CAPTURES_KEPT + 3))


# ---------------------------------------------------------------- refusing


def test_a_caller_may_refuse_and_change_their_mind() -> None:
    now, report = told(START, email=REFUSAL)
    assert (now.held("email").status, report) == (Status.DECLINED, Report(saved=("email",)))
    assert not now.held("email").known
    now, report = answered(later(now), "email")
    assert report.problems[0] == "nothing is known of email yet: save it first @ $.slots[0]"
    now, report = told(later(now), email="john@example.com")
    assert (now.held("email").status, report.saved) == (Status.HEARD, ("email",))


def test_refusing_what_was_given_takes_it_back() -> None:
    now, _ = told(later(settled(email="john@example.com")), email=REFUSAL)
    assert (now.held("email").status, now.held("email").known) == (Status.DECLINED, False)


# ---------------------------------------------------------------- confirming


def test_a_value_is_confirmed_only_after_the_caller_has_spoken_since() -> None:
    now, _ = told(START, name="John Smith", phone="2125550123")
    same, report = answered(now, "name", "phone")
    assert (same, report.saved) == (now, ())
    assert [problem.rpartition(" @ ")[2] for problem in report.problems] == ["$.slots[0]", "$.slots[1]"]
    assert f"read it back as {read_back('person_name', 'John Smith')!r} and wait" in report.problems[0]
    after, report = answered(later(now), "name", "phone")
    assert report == Report(saved=("name", "phone"))
    assert [after.held(name).status for name in ("name", "phone")] == [Status.CONFIRMED] * 2
    assert answered(now, "name", correct=False)[1].saved == ()


def test_a_corrected_value_is_not_confirmed_in_the_turn_of_its_correction() -> None:
    now, _ = told(START, name="John Smith")
    now, _ = told(later(now), name="John Smythe")
    assert answered(now, "name")[1].saved == ()
    assert answered(later(now), "name")[1].saved == ("name",)


def test_what_the_caller_called_wrong_is_not_confirmed_before_it_is_saved_anew() -> None:
    now, _ = told(START, name="John Smith")
    now, _ = answered(later(now), "name", correct=False)
    after, report = answered(later(now), "name")
    assert (after.held("name").status, report.saved) == (Status.UNCLEAR, ())
    assert "'John Smith' is wrong" in report.problems[0]


def test_what_is_settled_may_be_confirmed_again_and_may_turn_out_wrong() -> None:
    now = settled(name="John Smith")
    assert answered(now, "name") == (now, Report(saved=("name",)))
    after, report = answered(later(now), "name", correct=False)
    assert (after.held("name").status, report.saved) == (Status.UNCLEAR, ("name",))


def test_what_is_not_known_cannot_be_confirmed() -> None:
    now, report = answered(later(START), "name", "color")
    assert (now.slots, report.saved) == ({}, ())
    assert "nothing is known of name yet" in report.problems[0]
    assert report.problems[0].endswith("@ $.slots[0]")
    assert "no such detail; there are: name, email" in report.problems[1]
    assert report.problems[1].endswith("@ $.slots[1]")


def test_one_problem_does_not_keep_the_others_from_being_confirmed() -> None:
    now, _ = told(START, name="John Smith")
    now, report = answered(later(now), "phone", "name")
    assert (report.saved, len(report.problems)) == (("name",), 1)
    assert now.held("name").status is Status.CONFIRMED


# ---------------------------------------------------------------- what the transcript says


def test_words_that_agree_make_surer_and_others_less_sure() -> None:
    now, _ = told(START, 0.9, name="John Smith")
    agreed, unsaved = overheard(now, FLOW, "John Smith", 0.8, NOW)
    assert unsaved == ()
    assert agreed.held("name").confidence == 0.8
    doubted, unsaved = overheard(now, FLOW, "Peter Miller", 0.8, NOW)
    assert unsaved == ()
    held = doubted.held("name")
    assert (held.text, held.status) == ("John Smith", Status.HEARD)
    assert held.confidence == 0.5


def test_words_fill_no_slot_but_name_those_that_nobody_saved() -> None:
    now, unsaved = overheard(START, FLOW, "2125550123", 0.99, NOW)
    assert now == START
    assert "phone" in unsaved
    assert not {"size", "sure", "note"} & set(unsaved)


def test_words_say_nothing_of_what_is_settled() -> None:
    now = settled(phone="2125550123")
    after, unsaved = overheard(now, FLOW, "3125550123", 0.9, NOW)
    assert after.held("phone") == now.held("phone")
    assert "phone" not in unsaved


def test_words_of_a_later_turn_say_nothing_of_an_earlier_one() -> None:
    now, _ = told(START, phone="2125550123")
    after, unsaved = overheard(later(now), FLOW, "3125550123", 0.9, NOW)
    assert after.held("phone") == now.held("phone")
    assert "phone" not in unsaved


def test_only_what_the_state_asks_for_is_looked_for() -> None:
    states = {"ask": State("Ask.", collects=("name",), final=True)}
    flow = attrs.evolve(FLOW, states=states)
    assert "phone" not in overheard(START, flow, "2125550123", 0.9, NOW)[1]


# ---------------------------------------------------------------- keys


def flow_collecting(*names: str) -> Flow:
    return attrs.evolve(FLOW, states={"ask": State("Ask.", collects=names, final=True)})


def test_typed_digits_are_the_value_of_what_is_asked_for() -> None:
    done = keyed(START, flow_collecting("name", "phone"), "2125550123", NOW)
    assert done is not None
    now, report, name = done
    assert (name, report.saved, now.held("phone").text) == ("phone", ("phone",), "+12125550123")
    assert now.held("phone").status is Status.HEARD


def test_typed_digits_that_are_no_value_are_a_try() -> None:
    done = keyed(START, flow_collecting("phone"), "12", NOW)
    assert done is not None
    assert (done[0].held("phone").tries, done[1].saved) == (1, ())
    assert done[1].problems[0].endswith("@ $.phone")


def test_what_is_settled_is_not_typed_over() -> None:
    now = settled(phone="2125550123")
    assert keyed(now, flow_collecting("phone"), "12", NOW) is None
    done = keyed(now, flow_collecting("phone", "people"), "12", NOW)
    assert done is not None
    assert (done[2], done[0].held("people").text) == ("people", "12")


def test_digits_are_nothing_where_nothing_of_digits_is_asked_for() -> None:
    assert keyed(START, flow_collecting("name", "email", "day", "note"), "12", NOW) is None


# ---------------------------------------------------------------- whatever is said

WORDS = st.sampled_from([said for said, _ in GOOD.values()] + [REFUSAL, "no", "yes", "the last one is an N", "12", ""])
JSON = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | st.lists(st.text(max_size=3))
VALUES = st.dictionaries(st.sampled_from([*SLOTS, "color"]), WORDS | JSON, max_size=3)
THINGS = st.lists(
    st.one_of(
        VALUES,
        st.tuples(st.lists(st.sampled_from([*SLOTS, "color"]), max_size=3).map(tuple), st.booleans()),
        st.sampled_from([said for said, _ in GOOD.values()]) | st.text(max_size=20),
        st.just(None),
    ),
    max_size=8,
)


def assert_read(now: Dialogue) -> None:
    for name, held in now.slots.items():
        if held.known:
            slot = FLOW.slots[name]
            reading = understand(slot.kind, held.text, context(slot, FLOW, NOW))
            assert isinstance(reading, Understood), (name, held.text, reading)
            assert reading.text == held.text


@given(THINGS)
@settings(max_examples=120)
def test_nothing_gets_into_a_slot_unread(things: list[object]) -> None:
    now = START
    for thing in things:
        known = {name for name, held in now.slots.items() if held.known}
        if thing is None:
            now = later(now)
        elif isinstance(thing, Mapping):
            now, report = save(now, FLOW, thing, NOW, 0.5)
            assert not set(report.saved) & {problem.rpartition("$.")[2] for problem in report.problems}
            assert set(report.corrected) <= set(report.saved)
            assert set(report.saved) <= set(SLOTS)
        elif isinstance(thing, tuple):
            names, correct = thing
            before = now
            now, report = confirm(now, FLOW, names, correct, NOW.date())
            assert {n: h.text for n, h in now.slots.items()} == {n: h.text for n, h in before.slots.items()}
        else:
            assert isinstance(thing, str)
            now, unsaved = overheard(now, FLOW, thing, 0.5, NOW)
            assert {name for name, held in now.slots.items() if held.known} == known
            assert not set(unsaved) & known
        assert_read(now)
        for held in now.slots.values():
            assert held.tries >= 0
            assert len(held.captures) <= CAPTURES_KEPT
            assert held.confidence is None or 0 <= held.confidence <= 1


@given(st.sampled_from(sorted(SLOTS)), st.text(max_size=40), st.text(max_size=40))
@settings(max_examples=120)
def test_what_was_once_understood_is_understood_as_itself(name: str, first: str, second: str) -> None:
    now, _ = told(START, **{name: first})
    assert_read(now)
    now, _ = told(later(now), **{name: second})
    assert_read(now)


def test_this_file_knows_every_kind_that_is_read_by_itself() -> None:
    assert set(SLOT_KINDS) - {slot.kind for slot in SLOTS.values()} == {"date", "past_date", "time"}


def test_a_day_a_year_away_that_is_read_back_too_soon_is_said_with_its_year() -> None:
    flow = attrs.evolve(FLOW, slots={"day": Slot("date", "the day")}, states={"ask": State("Ask.", collects=("day",))})
    held = Held("2027-12-03", Status.HEARD, turn=START.turn)
    _, report = confirm(attrs.evolve(START, slots={"day": held}), flow, ("day",), True, NOW.date())
    assert "December 3, 2027" in report.problems[0]
