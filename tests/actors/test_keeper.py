"""StateKeeper: the newest story is in the store soon, and nobody waits for it."""

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.dialogue import Dialogue
from actors.keeper import SETTLE, StateKeeper
from actors.story import Story
from tests.kit.calls import RecordShelf


class Desk:
    """A keeper, running, and the story it is to keep."""

    def __init__(self, nursery: trio.Nursery, shelf: RecordShelf | None = None) -> None:
        self.shelf = shelf or RecordShelf()
        self.turn = 0
        self.keeper = StateKeeper("CA1", ("+12125550100", "+12125550199"), self.shelf, self.story)
        self.scope = trio.CancelScope()
        self.began = trio.current_time()
        nursery.start_soon(self._run)

    def story(self) -> Story:
        """As it is now."""
        return Story("desk", Dialogue("talk", turn=self.turn))

    def step(self) -> None:
        """Something changed."""
        self.turn += 1
        self.keeper.inbox.post(None)

    @property
    def kept(self) -> list[object]:
        """The turns of the stories kept, in order."""
        dialogues = [kept.story["dialogue"] for kept in self.shelf.stories]
        return [dialogue.get("turn", 0) for dialogue in dialogues if isinstance(dialogue, dict)]

    async def _run(self) -> None:
        with self.scope:
            await self.keeper.run()


async def test_a_story_is_kept_with_whose_it_is(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    desk = Desk(nursery)
    desk.step()
    await trio.sleep(SETTLE + 0.01)
    (kept,) = desk.shelf.stories
    assert (kept.call_sid, kept.caller, kept.called, kept.over) == ("CA1", "+12125550100", "+12125550199", False)


async def test_what_changes_in_quick_succession_is_kept_once(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    desk = Desk(nursery)
    for _ in range(4):
        desk.step()
        await trio.sleep(SETTLE / 5)
    assert desk.kept == []
    await trio.sleep(SETTLE)
    assert desk.kept == [4]


async def test_what_cannot_wait_is_kept_at_once_also_if_others_wait(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = Desk(nursery)
    desk.step()
    await trio.sleep(SETTLE / 3)
    desk.turn += 1
    desk.keeper.at_once()
    await trio.sleep(SETTLE / 100)
    assert desk.kept == [2]
    await trio.sleep(2 * SETTLE)
    assert desk.kept == [2]


async def test_what_cannot_wait_does_not_wait_because_something_else_changed_at_the_same_moment(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = Desk(nursery)
    desk.turn += 1
    desk.keeper.at_once()
    desk.step()
    await trio.sleep(SETTLE / 100)
    assert desk.kept == [2]


async def test_a_story_that_has_come_out_the_same_is_not_kept_again(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = Desk(nursery)
    desk.step()
    await trio.sleep(2 * SETTLE)
    desk.keeper.inbox.post(None)
    await trio.sleep(2 * SETTLE)
    assert desk.kept == [1]
    desk.step()
    await trio.sleep(2 * SETTLE)
    assert desk.kept == [1, 2]


async def test_what_changes_while_a_story_is_being_kept_becomes_one(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = Desk(nursery)
    desk.shelf.story_takes = 1.0
    desk.step()
    await trio.sleep(SETTLE + 0.5)
    for _ in range(20):
        desk.step()  # waits for nothing: a full mailbox would raise
    await trio.sleep(5)
    assert desk.kept == [1, 21]
    assert desk.keeper.inbox.stats().dropped == 19


async def test_a_store_that_hangs_holds_nobody_up(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    desk = Desk(nursery)
    desk.shelf.story_takes = float("inf")
    for _ in range(200):
        desk.step()
        await trio.sleep(0.1)
    assert desk.kept == []
    desk.scope.cancel()
    await wait_all_tasks_blocked()
    assert desk.scope.cancelled_caught


async def test_the_last_story_is_kept_as_it_is_given(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    desk = Desk(nursery)
    await desk.keeper.last(Story("desk", Dialogue("talk", turn=9), over=True))
    assert (desk.kept, desk.shelf.stories[0].over) == ([9], True)
