"""Who breaks off in the middle of a value is told from who has said all of it, or something else."""

import pytest

from actors.slots.unfinished import breaks_off

UNFINISHED = {
    "phone": (
        "four one five",
        "It's 415.",
        "It's area code 415",
        "415, 555",
        "five five five, oh one",
        "415 and then, um",
        "plus one four one five",
        "+1 415 555 01",
        "plus one",
    ),
    "email": (
        "Anna dot",
        "anna dot lee",
        "Anna at",
        "anna lee at gmail dot",
        "A N N A",
        "It's A-N-N-A.",
        "A as in alpha, N as in November",
        "anna underscore",
        "smith 42",
        "J 42",
    ),
    "person_name": (
        "S C H M",
        "Anna, S C H",
        "Anna Schneider, S C H N",
        "Tom. T as in Tango, O",
        "My name is Jo Jones, J O",
    ),
}
SAID = {
    "phone": (
        "415 555 0123",
        "555-0123",
        "+1 (415) 555-0123",
        "plus 44 20 7946 0018",
        "You can use the one I am calling from.",
        "I have two kids.",
        "I live at 42 Elm Street.",
        "No.",
        "zero",
        "415 555 0123, extension 42",
        "in 2026",
        "I moved there in nineteen ninety.",
        "On March 15.",
        "I'm 42.",
        "",
    ),
    "email": (
        "anna dot lee at gmail dot com",
        "a.lee@example.com",
        "A N N A at gmail",
        "It's gmail dot com.",
        "dot com",
        "harbour practice dot C O M",
        "I don't have one.",
        "Can I use my work e-mail?",
        "No e-mail, sorry.",
        "42",
        "in 2026",
        "O K.",
        "",
    ),
    "person_name": ("John Smith", "Schneider, S C H N E I D E R", "Lee, L double E", "S M Y T H", "It's Jo.", ""),
    "date_time": ("The third of", "415"),
    "number": ("four one five",),
    "text": ("A N N A",),
}


@pytest.mark.parametrize(("kind", "said"), [(kind, said) for kind, all_ in UNFINISHED.items() for said in all_])
def test_who_breaks_off_has_more_to_say(kind: str, said: str):
    assert breaks_off(kind, said, "en-US", "US")


@pytest.mark.parametrize(("kind", "said"), [(kind, said) for kind, all_ in SAID.items() for said in all_])
def test_who_has_said_all_or_something_else_is_not_waited_for(kind: str, said: str):
    assert not breaks_off(kind, said, "en-US", "US")


@pytest.mark.parametrize(
    ("region", "said", "unfinished"),
    [
        ("GB", "oh seven nine one one", True),
        ("GB", "07911 123", True),
        ("GB", "07911 123 456", False),
        ("GB", "020 7946", True),
        ("GB", "plus four four", True),
        ("GB", "+44 7911", True),
        ("GB", "0845 46 47", False),
        ("DE", "0 3 0", True),
        ("DE", "030 456", False),
        ("DE", "0151", True),
        ("DE", "0151 234", True),
        ("DE", "123456789012345", False),
        ("AU", "0412 345", True),
        ("AU", "13 11 14", False),
        ("FR", "06 12 34 56", True),
        ("IN", "+91 98765", True),
    ],
)
def test_half_a_number_is_told_from_a_short_one_where_numbers_differ_in_length(
    region: str, said: str, unfinished: bool
):
    assert breaks_off("phone", said, "en", region) is unfinished


def test_nobody_is_waited_for_in_a_language_that_is_not_known():
    assert not breaks_off("phone", "0 3 0", "de-DE", "DE")
