"""InterruptWatcher: decides that the caller took the floor."""

from collections.abc import Callable

from actors.mailbox import Mailbox, WhenFull
from actors.messages import Floor, FloorTaken, SpeechStarted

QUEUE = 32
"""Onsets of speech: a person makes a few a second at most."""


class InterruptWatcher:
    """Makes the agent stop talking. It cancels the utterance (through `yield_floor`) and nothing else.

    Mailbox in: `inbox`. Ended by cancelling it.
    """

    def __init__(self) -> None:
        self.inbox: Mailbox[SpeechStarted | FloorTaken] = Mailbox("interrupt_watcher", QUEUE, WhenFull.FATAL)

    async def run(self, yield_floor: Callable[[Floor], None]) -> None:
        """Until cancelled. `yield_floor` is told why, and does nothing when the agent is not talking."""
        while True:
            event = await self.inbox.receive()
            yield_floor(event.reason if isinstance(event, FloorTaken) else Floor.SPEECH)
