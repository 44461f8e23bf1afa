"""What a model names without end is remembered in bounds."""

from actors.briefing import NAMES_KEPT, Briefing
from actors.messages import DropItem, ModelCommand, Truncate
from actors.newest import Newest


def test_of_too_many_names_the_oldest_is_forgotten_and_one_that_comes_again_is_new() -> None:
    newest = Newest[int](2)
    newest.put("a", 1)
    newest.put("b", 2)
    newest.put("a", 3)
    newest.put("c", 4)
    assert [newest.get(name) for name in "abc"] == [3, None, 4]
    assert ("b" in newest, "c" in newest) == (False, True)
    assert (newest.pop("c"), newest.pop("c")) == (4, None)
    newest.clear()
    assert "a" not in newest


def test_a_session_whose_model_names_items_without_end_still_knows_the_newest() -> None:
    briefing = Briefing()
    briefing.session_begins()
    briefing.session_lost()
    for number in range(NAMES_KEPT + 1000):
        briefing.learns(f"item{number}")
    newest, first = f"item{NAMES_KEPT + 999}", "item0"
    commands: list[ModelCommand] = [Truncate(newest, 20), DropItem(first)]
    assert briefing.known(commands, lambda reply: True, committing=False) == commands[:1]
