"""The story: told as plain data, read back whole, refused when it is another's, and summed up for people."""

import json

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.dialogue import Dialogue, Held, Outcome, Status
from actors.story import Said, Story, from_plain, known, summary, to_plain
from conf.flow import Flow, Slot, State

FLOW = Flow(
    "booking",
    "Book.",
    start="hello",
    intents={"book": "They want an appointment."},
    slots={
        "name": Slot("person_name", "the caller's name"),
        "phone": Slot("phone", "a telephone number"),
        "size": Slot("number", "how many people"),
        "day": Slot("date", "the day"),
    },
    states={
        "hello": State("Greet.", collects=("name", "phone", "size", "day")),
        "done": State("All is done.", final=True),
    },
)
WORDS = st.text(max_size=20)
SHARE = st.one_of(st.none(), st.floats(0, 1))
CANONICAL = {
    "name": ["", "John Smith"],
    "phone": ["", "+12125550123"],
    "size": ["", "4"],
    "day": ["", "2026-11-27"],
}
"""Texts as slots of these kinds hold them: others are not taken over."""
HELD = st.builds(
    Held,
    st.just(""),
    st.sampled_from(Status),
    st.integers(0, 5),
    st.integers(0, 50),
    st.lists(WORDS, max_size=3).map(tuple),
    SHARE,
    SHARE,
)
SLOTS = st.fixed_dictionaries(
    {},
    optional={
        name: st.builds(lambda held, text: attrs.evolve(held, text=text), HELD, st.sampled_from(texts))
        for name, texts in CANONICAL.items()
    },
)
DIALOGUES = st.builds(
    Dialogue,
    st.sampled_from(sorted(FLOW.states)),
    SLOTS,
    st.sampled_from(["", "book"]),
    st.sampled_from(["", "book"]),
    st.integers(0, 100),
    st.dictionaries(st.sampled_from(sorted(FLOW.states)), st.integers(1, 9)),
    st.frozensets(st.integers(0, 9)),
    st.dictionaries(WORDS, WORDS, max_size=3),
    st.lists(st.builds(Outcome, WORDS, WORDS), max_size=3).map(tuple),
    st.integers(0, 4),
)
STORIES = st.builds(
    Story,
    st.just("booking"),
    DIALOGUES,
    st.lists(st.builds(Said, st.sampled_from(["caller", "agent"]), WORDS), max_size=4).map(tuple),
    st.booleans(),
    WORDS,
)


def through_json(story: Story) -> dict[str, object]:
    return json.loads(json.dumps(to_plain(story)))


@given(STORIES)
@settings(max_examples=100)
def test_a_story_survives_the_store(story: Story) -> None:
    again = from_plain(through_json(story), FLOW)
    assert again is not None
    assert attrs.evolve(again, dialogue=story.dialogue) == story
    before, after = story.dialogue, again.dialogue
    assert attrs.evolve(after, idle=before.idle, fired=before.fired) == before
    assert after.idle == 0  # the caller is there


def test_what_is_kept_of_a_call_that_has_hardly_begun_is_small() -> None:
    assert through_json(Story("booking", Dialogue("hello"))) == {"flow": "booking", "dialogue": {"at": "hello"}}


def test_words_that_could_not_be_read_are_not_kept_with_a_slot() -> None:
    story = Story("booking", Dialogue("hello", {"phone": Held(status=Status.UNCLEAR, tries=1, failed="a rash")}))
    assert "a rash" not in json.dumps(through_json(story))


REFUSED = {
    "of another flow": {"flow": "other", "dialogue": {"at": "hello"}},
    "in a state that there is no more": {"flow": "booking", "dialogue": {"at": "gone"}},
    "without a dialogue": {"flow": "booking"},
    "nothing": {},
    "of another version": {"flow": "booking", "dialogue": "hello"},
    "with a status that there is not": {
        "flow": "booking",
        "dialogue": {"at": "hello", "slots": {"name": {"status": "guessed"}}},
    },
    "with a number that is none": {"flow": "booking", "dialogue": {"at": "hello", "turn": "many"}},
    "with slots that are none": {"flow": "booking", "dialogue": {"at": "hello", "slots": ["name"]}},
}


@pytest.mark.parametrize("plain", REFUSED.values(), ids=REFUSED)
def test_a_story_that_does_not_fit_is_no_story(plain: dict[str, object]) -> None:
    assert from_plain(plain, FLOW) is None


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=3)),
    max_leaves=8,
)


@given(
    st.fixed_dictionaries(
        {"flow": st.just("booking")},
        optional={
            "dialogue": st.one_of(
                JSON,
                st.fixed_dictionaries(
                    {"at": st.sampled_from(["hello", "x"])},
                    optional=dict.fromkeys(("slots", "turn", "visits", "fired", "outcomes", "postponed"), JSON),
                ),
            ),
            "said": JSON,
            "over": JSON,
            "why": JSON,
        },
    )
)
@settings(max_examples=100)
def test_whatever_the_store_holds_is_a_story_or_none(plain: dict[str, object]) -> None:
    story = from_plain(plain, FLOW)
    assert story is None or story.dialogue.at in FLOW.states


def test_a_slot_that_the_flow_has_no_more_is_left_out() -> None:
    slots = {"name": Held("Anna", Status.CONFIRMED), "gone": Held("x", Status.HEARD)}
    story = from_plain(through_json(Story("booking", Dialogue("hello", slots))), FLOW)
    assert story is not None
    assert set(story.dialogue.slots) == {"name"}


def test_a_value_that_is_none_of_the_slots_kind_any_more_is_not_taken_over() -> None:
    slots = {
        "day": Held("some Tuesday", Status.CONFIRMED),
        "name": Held("Anna", Status.CONFIRMED),
    }  # it was a text then
    story = from_plain(through_json(Story("booking", Dialogue("hello", slots))), FLOW)
    assert story is None or not story.dialogue.held("day").known


# ---------------------------------------------------------------- for people

TOLD = Dialogue(
    "hello",
    {
        "name": Held("Anna Smith", Status.CONFIRMED),
        "phone": Held("+12127365000", Status.HEARD),
        "size": Held("7", Status.UNCLEAR, tries=2),
        "day": Held("", Status.DECLINED),
    },
    wish="book",
)


def test_a_human_is_told_what_is_wanted_and_known_and_what_is_not_confirmed() -> None:
    text = summary(FLOW, Story("booking", TOLD, why="the agent asked for a human: a complaint"))
    assert text.startswith("They want an appointment. ")
    assert "the caller's name: Anna Smith." in text
    assert "a telephone number: +12127365000, not confirmed." in text
    assert "how many" not in text  # what was not understood is no news
    assert "day" not in text
    assert text.endswith("a complaint.")


def test_what_is_known_are_the_values_that_may_be_used() -> None:
    assert known(FLOW, TOLD) == {"name": "Anna Smith", "phone": "+12127365000"}
    assert known(FLOW, Dialogue("hello")) == {}


@given(STORIES)
def test_any_story_can_be_summed_up(story: Story) -> None:
    text = summary(FLOW, story)
    for value in known(FLOW, story.dialogue).values():
        assert value in text
