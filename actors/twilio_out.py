"""TwilioOut: the only writer to the media stream."""

import trio

from actors.ledger import HeardLedger
from actors.mailbox import Mailbox, Outbox, WhenFull
from actors.messages import Clear, Cleared, Frame, HungUp, Mark
from actors.notebook import Notebook
from actors.ports import CarrierGone, CarrierPort

QUEUE = 4
"""Frames that may wait for a slow socket, 80 ms of 20 ms frames; then the Framer waits. A clear throws them out."""


class TwilioOut:
    """Writes frames, marks and clears in the order they come, and tells the ledger what went onto the wire and when.

    Mailbox in: `inbox`. Out: `cleared` (to the Framer), `hung_up` (to the flow).
    Ended by cancelling it while it waits, or by the connection's end. A write is never cancelled alone.
    """

    def __init__(self, carrier: CarrierPort, ledger: HeardLedger, notebook: Notebook) -> None:
        self.inbox: Mailbox[Frame | Mark | Clear] = Mailbox("twilio_out", QUEUE, WhenFull.WAIT)
        self._carrier = carrier
        self._ledger = ledger
        self._notebook = notebook
        self._item = ""

    async def run(self, cleared: Outbox[Cleared], hung_up: Outbox[HungUp]) -> None:
        """Until cancelled, or until the carrier is gone (told to the flow)."""
        try:
            while True:
                await self._write(await self.inbox.receive(), cleared)
        except CarrierGone as gone:
            hung_up.post(HungUp(f"writing to the media stream failed: {gone}", lost=True))

    async def _write(self, message: Frame | Mark | Clear, cleared: Outbox[Cleared]) -> None:
        # Stamped before the write: the bytes leave at its beginning, and a mark's echo may be read before it returns.
        now = trio.current_time()
        if isinstance(message, Frame):
            self._ledger.sent(message.item, len(message.audio), now)
            if message.item != self._item:
                self._item = message.item
                self._notebook.item_began(message.item)
            self._notebook.record.frames_out += 1
            await self._carrier.send_frame(message.audio)
        elif isinstance(message, Mark):
            await self._carrier.send_mark(self._ledger.marked(message.number, now))
        else:
            self._item = ""
            report = self._ledger.cleared(now)
            await self._carrier.send_clear()
            cleared.post(report)
