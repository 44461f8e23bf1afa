"""The supervisor of one call: the nursery, the mailboxes, the scopes, and what becomes of the caller.

call            deadline: the longest call and a little
├─ carrier      TwilioIn, TwilioOut, Framer: as long as the media stream
└─ conversation RealtimeLink, InterruptWatcher, FlowFSM: until the dialogue is over
   └─ utterance one stretch of the agent's speech (in the Framer); cancelled = barge-in
"""

import datetime
from collections.abc import Mapping
from typing import cast

import attrs
import trio

from actors import fsm
from actors.flow import FlowActor, Words
from actors.framer import Framer, Pace
from actors.interrupt import InterruptWatcher
from actors.ledger import HeardLedger
from actors.messages import CallBegan, Disposition, MoveAway, SessionConfig
from actors.notebook import CallRecord, Listener, Notebook
from actors.ports import CarrierPort, ModelPort, RecordPort
from actors.realtime_link import LinkLimits, RealtimeLink
from actors.twilio_in import TwilioIn
from actors.twilio_out import TwilioOut

DRAIN_AT_MOST = 10.0
"""Seconds of speech that are still heard when the model is lost or the call moved; the rest of a longer reply is dropped."""
WRAP_UP = 5.0
"""Seconds for each thing that is stored when a call is over."""
LAST_RESORT = 60.0
"""Seconds past the longest call after which it is ended without a word: something hangs."""


@attrs.frozen
class CallPlan:
    """What every call of a server has in common."""

    session: SessionConfig
    rules: fsm.Rules
    prompts: Mapping[str, Words]
    pace: Pace
    limits: LinkLimits


class Call:
    """One call, from the open stream to the record."""

    def __init__(
        self,
        call_sid: str,
        stream_sid: str,
        plan: CallPlan,
        carrier: CarrierPort,
        model: ModelPort,
        records: RecordPort,
        listener: Listener | None = None,
    ) -> None:
        self.call_sid = call_sid
        record = CallRecord(call_sid, stream_sid, datetime.datetime.now(datetime.UTC))
        vad_ms = plan.session.turn_detection.silence_ms
        self._plan = plan
        self._carrier = carrier
        self._records = records
        self.notebook = Notebook(record, trio.current_time, vad_ms, listener)
        ledger = HeardLedger()
        self._twilio_in = TwilioIn(carrier, self.notebook)
        self._twilio_out = TwilioOut(carrier, ledger, self.notebook)
        self._framer = Framer(plan.pace, ledger, self.notebook)
        self._link = RealtimeLink(model, plan.session, plan.limits, self.notebook)
        self._watcher = InterruptWatcher()
        self._flow = FlowActor(plan.rules, plan.prompts)

    # ------------------------------------------------------------ from outside

    def carrier_gone(self, reason: str, *, lost: bool = True) -> None:
        """The media stream is over; `lost`: the caller may still be there. May be called at any time, and twice."""
        self._twilio_in.carrier_gone(reason, lost=lost)

    def move_away(self) -> None:
        """The call is to go on in another process: it leaves the stream, to be opened again. May be called twice."""
        self._flow.inbox.post(MoveAway())

    # ------------------------------------------------------------ the call

    async def run(self, *, resumed: bool = False) -> CallRecord:
        """Until the stream is closed and the record kept. Bugs in an actor end the call in the keypad menu, not here."""
        leave = fsm.Leave(Disposition.RESUME, "the server cut the call off")
        try:
            with trio.move_on_after(self._plan.rules.max_seconds + LAST_RESORT) as last_resort:
                try:
                    leave = await self._live(resumed)
                except* Exception as bugs:
                    leave = fsm.Leave(Disposition.IVR, f"a bug ended the call: {_summary(bugs)}")
                    self.notebook.trouble("bug", _summary(bugs))
                    self.notebook.say("bug", error=bugs)
            if last_resort.cancelled_caught:
                leave = fsm.Leave(Disposition.IVR, "the call outlived its last deadline")
        finally:
            record = await self._wrap_up(leave)  # noqa: ASYNC102 - each of its steps has its own shield and limit
        return record

    async def _live(self, resumed: bool) -> fsm.Leave:
        """The carrier scope: the stream is read and written as long as this lasts."""
        async with trio.open_nursery() as carrier:
            flow, framer = self._flow.inbox, self._framer.inbox
            carrier.start_soon(self._twilio_in.run, self._link.audio, flow, framer)
            carrier.start_soon(self._twilio_out.run, framer, flow)
            carrier.start_soon(self._framer.run, self._twilio_out.inbox, (self._link.inbox, flow), flow)
            leave = await self._converse(resumed)
            if leave.drain:
                await self._drain()
            carrier.cancel_scope.cancel("the stream is left")
        return leave

    async def _converse(self, resumed: bool) -> fsm.Leave:
        """The conversation scope: when the dialogue is over, however, the model's link ends with it."""
        async with trio.open_nursery() as conversation:
            flow, framer = self._flow.inbox, self._framer.inbox
            conversation.start_soon(self._link.run, framer, flow, self._watcher.inbox, self._framer.speech_until)
            conversation.start_soon(self._watcher.run, self._framer.yield_floor)
            leave = await self._flow.run(CallBegan(resumed), framer, self._link.inbox, self._framer.yield_floor)
            conversation.cancel_scope.cancel("the dialogue is over")
        return leave

    async def _drain(self) -> None:
        """What was said to the end and is on its way is heard, within bounds; a caller who hangs up waits for nothing."""
        with trio.move_on_after(DRAIN_AT_MOST):
            async with trio.open_nursery() as either:

                async def hung_up() -> None:
                    await self._twilio_in.ended.wait()
                    either.cancel_scope.cancel("the caller hung up")

                either.start_soon(hung_up)
                await self._framer.heard()
                either.cancel_scope.cancel("all is heard")

    async def _wrap_up(self, leave: fsm.Leave) -> CallRecord:
        """Disposition first, so that `/twilio/after` finds it; then the stream is closed; then the record is kept."""
        self._framer.settle()
        mailboxes = [self._link.audio, self._link.inbox, self._framer.inbox, self._twilio_out.inbox, self._flow.inbox]
        with trio.move_on_after(WRAP_UP, shield=True):
            await self._records.keep_disposition(self.call_sid, leave.disposition)
        with trio.move_on_after(WRAP_UP, shield=True):
            await self._carrier.close()
        stats = [*(mailbox.stats() for mailbox in mailboxes), self._watcher.inbox.stats()]
        record = self.notebook.close(leave.disposition, leave.reason, stats)
        with trio.move_on_after(WRAP_UP, shield=True):
            await self._records.keep_record(record)
        self.notebook.say("ended", disposition=leave.disposition.value, reason=leave.reason)
        return record


def _summary(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        inner = cast("BaseExceptionGroup[BaseException]", error).exceptions
        return "; ".join(_summary(each) for each in inner)
    return f"{type(error).__name__}: {error}"
