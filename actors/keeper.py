"""StateKeeper: keeps the story of a call in the store, after every turn, without anybody waiting for it."""

from collections.abc import Callable

import trio

from actors.mailbox import Mailbox, WhenFull
from actors.ports import RecordPort
from actors.story import Story, to_plain

SETTLE = 0.3
"""Seconds that changes are gathered before they are written: a turn brings several, one after the other."""


class StateKeeper:
    """Writes the newest story; while a write is under way further changes become one.

    Mailbox in: `inbox`, a note for each change. It holds a single one, since only the newest story counts: an older one is
    dropped, and counted. A change that cannot wait for others is told by `at_once`.
    Ended by `last`, which writes the story as it ended: nothing older is written after that.
    """

    def __init__(
        self, call_sid: str, numbers: tuple[str, str], records: RecordPort, story: Callable[[], Story]
    ) -> None:
        self.inbox: Mailbox[None] = Mailbox("story", 1, WhenFull.DROP_OLDEST)
        self._call_sid = call_sid
        self._numbers = numbers
        self._records = records
        self._story = story
        self._scope = trio.CancelScope()
        self._urgent = trio.Event()

    async def run(self) -> None:
        """Until the story has ended. What has come out the same is not written again."""
        kept: Story | None = None
        with self._scope:
            while True:
                await self.inbox.receive()
                with trio.move_on_after(SETTLE):
                    await self._urgent.wait()
                self._urgent = trio.Event()
                self.inbox.take_all()
                story = self._story()
                if story != kept:
                    await self._write(story)
                kept = story

    def at_once(self) -> None:
        """What has just changed is written without waiting for more."""
        self.inbox.post(None)
        self._urgent.set()

    async def last(self, story: Story) -> None:
        """The story as it ended."""
        self._scope.cancel("the story has ended")
        await self._write(story)

    async def _write(self, story: Story) -> None:
        caller, called = self._numbers
        await self._records.keep_story(self._call_sid, caller, called, to_plain(story), over=story.over)
