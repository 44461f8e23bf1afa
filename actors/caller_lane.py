"""CallerLane: the caller's voice on its way to the model: at once where the connection takes it, else held back in order."""

from collections.abc import Callable, Sequence

import trio

from actors.mailbox import Mailbox, MailboxStats, WhenFull
from actors.messages import CallerAudio, CallerSilence
from actors.mulaw import to_base64
from actors.ports import ModelGone, ModelSession

FRAME_MS = 20
BATCH = 50
"""Frames joined into one append after a delay: a second, 11 kB on the wire."""

Heard = CallerAudio | CallerSilence


class CallerLane:
    """What is posted goes straight onto the connection, in the task of whoever posts, fifty times a second: a change of tasks for
    each would cost as much as all the rest of its way. What the connection does not take at once, or what comes while there is
    none, waits in a mailbox; the oldest is dropped when it overflows.

    `hold_back`: seconds that may wait. `sent`: told of what was sent, in order. `append_ms`: audio that goes in one piece; more
    than a frame costs the first of them the time until the last, and spares a message each.
    """

    def __init__(self, hold_back: float, sent: Callable[[Sequence[Heard]], None], append_ms: int = FRAME_MS) -> None:
        self._waiting: Mailbox[Heard] = Mailbox("caller_audio", frames(hold_back), WhenFull.DROP_OLDEST)
        self._sent = sent
        self._open: ModelSession | None = None
        """The session, while nothing waits and nobody else writes audio to it."""
        self._piece = max(1, append_ms // FRAME_MS)
        self._gathered: list[CallerAudio] = []
        """Frames of a piece that is not whole yet."""

    def post(self, item: Heard, *, more: bool = False) -> None:
        """Sends `item`, or keeps it until it can be sent. `more`: the next one follows at once, and goes in one piece with it: a
        server that is behind with its work has less of it then."""
        session = self._open
        if session is None or self._waiting.holds or not isinstance(item, CallerAudio):
            self._keep(item)
        elif len(self._gathered) + 1 < (BATCH if more else self._piece):
            self._gathered.append(item)
        elif not self._gathered and session.append_now(item.payload):
            self._sent((item,))
        elif self._gathered and session.append_now(to_base64(b"".join(one.audio for one in (*self._gathered, item)))):
            gathered, self._gathered = (*self._gathered, item), []
            self._sent(gathered)
        else:
            self._keep(item)

    def _keep(self, item: Heard) -> None:
        for one in (*self._gathered, item):
            self._waiting.post(one)
        self._gathered.clear()

    def take_all(self) -> list[Heard]:
        """All that waits."""
        waiting = [*self._gathered, *self._waiting.take_all()]
        self._gathered.clear()
        return waiting

    def stats(self) -> MailboxStats:
        """Of the mailbox; what went straight through was never in it."""
        return self._waiting.stats()

    async def send_to(self, session: ModelSession, stuck_after: float) -> None:
        """Until cancelled: what waits is sent, in larger pieces if there is much. Raises ModelGone, also if the session takes
        nothing for `stuck_after` seconds."""
        while True:
            self._open = session
            try:
                waiting = [await self._waiting.receive(), *self._waiting.take_all()]
            finally:
                self._open = None
            self._sent(waiting)
            while waiting:
                payloads: list[str] = []
                silence = 0
                for event in waiting[:BATCH]:
                    if isinstance(event, CallerSilence):
                        silence = event.ms
                        break
                    payloads.append(event.payload)
                with trio.move_on_after(stuck_after) as stuck:
                    await session.append(payloads, silence)
                if stuck.cancelled_caught:
                    raise ModelGone(f"the model took no audio for {stuck_after:g} s")
                del waiting[: len(payloads) + (1 if silence else 0)]


def frames(seconds: float) -> int:
    """How many frames are so long."""
    return int(seconds * 1000) // FRAME_MS
