"""cattrs' errors as sentences: each fault once, in words, with the path that leads to it."""

from typing import Any

import attrs
import cattrs
import pytest

from conf.errors import sentences
from conf.flow_file import structure

GOOD: dict[str, Any] = {"name": "x", "instructions": "Be kind."}


def faults(**more: Any) -> list[str]:
    """What is said of a flow with `more` in it."""
    with pytest.raises(Exception) as error:  # noqa: PT011 - cattrs raises groups of whatever
        structure({**GOOD, **more})
    return sentences(error.value)


def in_a_state(**more: Any) -> list[str]:
    return faults(states={"a": {"goal": "Begin.", **more}})


def test_what_is_missing_is_named_with_its_path() -> None:
    assert faults(states={"a": {}}) == ["required field missing @ $.states['a'].goal"]
    with pytest.raises(Exception) as error:  # noqa: PT011 - of each its own kind; what it says is checked
        structure({"name": "x"})
    assert sentences(error.value) == ["required field missing @ $.instructions"]


def test_what_does_not_exist_is_named() -> None:
    assert in_a_state(gaol=1) == ["unknown: 'gaol'; did you mean 'goal'? @ $.states['a']"]
    assert in_a_state(transitions=[{"nope": 1}]) == [
        "unknown: 'nope'; allowed are when, goto, effects @ $.states['a'].transitions[0]"
    ]
    assert in_a_state(transitions=[{"when": {"nott": {}}}]) == [
        "unknown: 'nott'; did you mean 'not'? @ $.states['a'].transitions[0].when"
    ]
    (said,) = in_a_state(leads_to="b")
    assert "router" not in said  # nor can a file give that
    assert "transitions" in said
    assert "leads_to" not in said.partition("allowed")[2]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"name": 3}, "expected a text, not 3 @ $.name"),
        ({"reply_seconds": "long"}, "expected a number, not 'long' @ $.reply_seconds"),
        ({"reply_seconds": True}, "expected a number, not True @ $.reply_seconds"),
        ({"extract": "yes"}, "expected true or false, not 'yes' @ $.extract"),
        ({"slots": {"s": {"kind": "email", "label": "x", "tries": 1.5}}}, "expected a whole number, not 1.5"),
        ({"shared": {"goto": "a"}}, "expected a list of tables, as [{ … }], not {'goto': 'a'} @ $.shared"),
    ],
    ids=str,
)
def test_a_value_of_another_type_is_told_with_what_was_expected(given: dict[str, Any], said: str) -> None:
    (sentence,) = faults(**given)
    assert sentence.startswith(said)


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"states": 3}, "$.states"),
        ({"states": ["a"]}, "$.states"),
        ({"slots": "name"}, "$.slots"),
        ({"shared": ["x"]}, "$.shared[0]"),
        ({"shared": [1]}, "$.shared[0]"),
        ({"states": {"a": 3}}, "$.states['a']"),
        ({"states": {"a": {"goal": "x", "transitions": [{"when": "always"}]}}}, "$.states['a'].transitions[0].when"),
    ],
    ids=str,
)
def test_where_a_table_is_expected_that_is_said(given: dict[str, Any], path: str) -> None:
    assert faults(**given) == [f"expected a table (an object with keys) @ {path}"]


def test_what_is_in_a_list_is_counted_and_a_condition_keeps_the_names_of_the_file() -> None:
    inside = {"transitions": [{}, {"when": {"not": {"any": [{}, {"key": 5}]}}}]}
    (sentence,) = in_a_state(**inside)
    assert sentence.startswith('expected a text or a list of texts, not 5: write "5" @ ')
    assert sentence.endswith("$.states['a'].transitions[1].when.not.any[1].key")
    assert "but_not" not in sentence


def test_the_validator_of_a_field_and_the_way_to_its_class_are_one_path() -> None:
    assert in_a_state(goal=" ") == ["goal is empty: write a text @ $.states['a'].goal"]
    (sentence,) = in_a_state(on_entry=[{"do": "say"}, {"do": "fly"}])
    assert sentence.startswith("do = 'fly': allowed are sms, ")
    assert sentence.endswith(" @ $.states['a'].on_entry[1].do")
    assert sentence.count("@") == 1


def test_each_of_several_faults_is_a_sentence() -> None:
    found = faults(start=1, region=2, states={"a": {"goal": 3}, "b": {}})
    assert len(found) == 4
    assert {sentence.rpartition(" @ ")[2] for sentence in found} == {
        "$.start",
        "$.region",
        "$.states['a'].goal",
        "$.states['b'].goal",
    }


def test_an_error_that_is_none_of_cattrs_is_a_sentence_too() -> None:
    (sentence,) = sentences(ValueError("it rains"))
    assert sentence.startswith("it rains")


@attrs.frozen
class _Point:
    x: int
    y: int


@pytest.mark.parametrize("value", [None, 3, [], "x", {}, {"x": "a", "y": []}, {"x": 1}])
def test_whatever_cannot_be_structured_gives_at_least_one_sentence(value: object) -> None:
    with pytest.raises(Exception) as error:  # noqa: PT011 - of each its own kind; what it says is checked
        cattrs.Converter(forbid_extra_keys=True).structure(value, _Point)
    found = sentences(error.value)
    assert found
    assert all(isinstance(sentence, str) and sentence.strip() and "Traceback" not in sentence for sentence in found)
