"""A Framer at work: its writer, a carrier that really plays, and those it tells."""

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from trio.testing import wait_all_tasks_blocked

from actors.framer import Framer, FramerMessage, Pace
from actors.ledger import HeardLedger
from actors.mailbox import Mailbox, WhenFull
from actors.messages import (
    AgentQuiet,
    HungUp,
    Interrupted,
    ItemEnded,
    MarkEchoed,
    ReplyAudio,
    ReplyEnded,
    ReplyStatus,
    ReplyWords,
)
from actors.twilio_out import TwilioOut
from tests.kit.calls import PACE, a_notebook
from tests.kit.carrier import FakeCarrier

EPSILON = 1e-6


class Speaker:
    """A Framer with its writer and its carrier, and those it tells."""

    def __init__(self, carrier: FakeCarrier, pace: Pace) -> None:
        self.carrier = carrier
        self.notebook = a_notebook()
        self.ledger = HeardLedger()
        self.framer = Framer(pace, self.ledger, self.notebook)
        self.out = TwilioOut(carrier, self.ledger, self.notebook)
        self.interrupted: Mailbox[Interrupted] = Mailbox("interrupted", 100, WhenFull.FATAL)
        self.interrupted_too: Mailbox[Interrupted] = Mailbox("interrupted too", 100, WhenFull.FATAL)
        self.quiet: Mailbox[AgentQuiet] = Mailbox("quiet", 100, WhenFull.FATAL)
        self.story: Mailbox[None] = Mailbox("story", 1, WhenFull.DROP_OLDEST)
        self.hung_up: Mailbox[HungUp] = Mailbox("hung up", 100, WhenFull.FATAL)
        self.began = trio.current_time()

    def post(self, *messages: FramerMessage) -> None:
        for message in messages:
            self.framer.inbox.post(message)

    def say(self, item: str, audio: bytes, reply: str = "r1", words: str = "", *, end: bool = True) -> None:
        """A reply of one item, all at once."""
        if words:
            self.post(ReplyWords(reply, item, words))
        self.post(ReplyAudio(reply, item, audio))
        if end:
            self.post(ItemEnded(reply, item), ReplyEnded(reply, ReplyStatus.COMPLETED))

    def cuts(self) -> list[tuple[str, int, int]]:
        """All that was cut, and that both were told the same."""
        told = self.interrupted.take_all()
        assert told == self.interrupted_too.take_all()
        return [(cut.item, cut.heard, cut.received) for message in told for cut in message.cuts]

    def turn(self, item: str) -> tuple[int, int, bool, str]:
        """What the record has of an item."""
        (turn,) = [turn for turn in self.notebook.record.turns if turn.item == item]
        return turn.heard_ms, turn.generated_ms, turn.interrupted, turn.heard_text

    async def heard(self) -> float:
        """Waits until all is heard; the time since the beginning."""
        await wait_all_tasks_blocked()
        await self.framer.heard()
        return trio.current_time() - self.began

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.out.run, self.framer.inbox, self.hung_up)
            nursery.start_soon(
                self.framer.run, self.out.inbox, (self.interrupted, self.interrupted_too), self.quiet, self.story
            )
            while True:
                event = await self.carrier.receive()
                if isinstance(event, MarkEchoed):
                    self.framer.inbox.post(event)


@asynccontextmanager
async def a_speaker(carrier: FakeCarrier | None = None, pace: Pace = PACE) -> AsyncIterator[Speaker]:
    with trio.fail_after(2000):
        async with trio.open_nursery() as nursery:
            speaker = Speaker(carrier or FakeCarrier(), pace)
            nursery.start_soon(speaker.run)
            await wait_all_tasks_blocked()
            yield speaker
            nursery.cancel_scope.cancel()


def check_pace(carrier: FakeCarrier, lead: float) -> None:
    """Frames never ran further ahead of playback than the lead."""
    until = -math.inf
    for at, audio in carrier.sent("frame"):
        assert isinstance(audio, bytes)
        until = max(until, at) + len(audio) / 8000
        assert until - at <= lead + EPSILON, f"{until - at} s ahead"
