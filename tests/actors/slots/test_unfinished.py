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
    ),
    "person_name": ("Anna Schneider, S C H N", "Tom. T as in Tango, O", "My name is Jo Jones, J O"),
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
        "",
    ),
    "email": (
        "anna dot lee at gmail dot com",
        "a.lee@example.com",
        "A N N A at gmail",
        "I don't have one.",
        "Can I use my work e-mail?",
        "No e-mail, sorry.",
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


def test_nobody_is_waited_for_in_a_language_that_is_not_known():
    assert not breaks_off("phone", "0 3 0", "de-DE", "DE")
