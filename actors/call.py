"""The supervisor of one call: the nursery, the mailboxes, the scopes, and what becomes of the caller.

call            deadline: the longest call and a little
├─ aside        Errands, StateKeeper: nobody waits for them, and they may finish after the stream
├─ carrier      TwilioIn, TwilioOut, Framer: as long as the media stream
└─ conversation RealtimeLink, InterruptWatcher, FlowFSM: until the dialogue is over
   └─ utterance one stretch of the agent's speech (in the Framer); cancelled = barge-in
"""

import datetime
from collections.abc import Mapping
from typing import cast

import attrs
import trio

from actors import call_state
from actors.errands import Errands
from actors.flow import FlowActor, Neighbours, Words
from actors.framer import Framer, Pace
from actors.interrupt import BargeIn, InterruptWatcher
from actors.keeper import StateKeeper
from actors.ledger import HeardLedger
from actors.line_ear import LinePort
from actors.messages import (
    CallBegan,
    CallerSaid,
    Disposition,
    ErrandDone,
    Extracted,
    KeyPressed,
    MoveAway,
    ReplyOver,
    Role,
    SessionConfig,
    TimerRang,
    ToolsCalled,
)
from actors.notebook import CallRecord, Listener, Notebook
from actors.ports import CarrierPort, ErrandPort, ModelPort, RecordPort
from actors.realtime_link import RealtimeLink
from actors.story import TURNS_KEPT, Said, Story, from_plain, known
from actors.talk import LinkLimits, Surroundings
from actors.twilio_in import TwilioIn
from actors.twilio_out import TwilioOut

DRAIN_AT_MOST = 10.0
"""Seconds of speech that are still heard when the model is lost or the call moved; the rest of a longer reply is dropped."""
WRAP_UP = 5.0
"""Seconds for each thing that is stored when a call is over."""
ERRANDS_WITHIN = 15.0
"""Seconds that errands may still take when the caller has left."""
LAST_RESORT = 90.0
"""Seconds past the longest call after which it is ended without a word: something hangs."""


TURNS = (CallerSaid, ReplyOver, ToolsCalled, Extracted, ErrandDone, KeyPressed, TimerRang)
"""What may have changed the story of the call."""


@attrs.frozen
class CallPlan:
    """What every call of a server has in common."""

    session: SessionConfig
    rules: call_state.Rules
    prompts: Mapping[str, Words]
    pace: Pace
    limits: LinkLimits
    barge_in: BargeIn = BargeIn.MODEL


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
        errands: ErrandPort,
        listener: Listener | None = None,
        *,
        ear: LinePort | None = None,
        called: str = "",
        began: CallBegan | None = None,
        wall: datetime.datetime,
    ) -> None:
        """`wall`: the time of day at which it begins."""
        self.call_sid = call_sid
        self.parted = False
        """The stream was left as it should be; what is still going on has nothing to do with the caller."""
        self._began = began or CallBegan()
        before = from_plain(self._began.story, plan.rules.flow) if self._began.story else None
        self._said_before = before.said if before else ()
        record = CallRecord(call_sid, stream_sid, wall)
        vad_ms = plan.session.turn_detection.silence_ms
        self._plan = plan
        self._carrier = carrier
        self._records = records
        self.notebook = Notebook(record, trio.current_time, vad_ms, listener)
        ledger = HeardLedger()
        self._twilio_in = TwilioIn(carrier, self.notebook)
        self._twilio_out = TwilioOut(carrier, ledger, self.notebook)
        self._watcher = judge = InterruptWatcher(
            plan.barge_in,
            plan.rules.flow.language,
            transcribed=bool(plan.session.transcription),
            note=self.notebook.say,
            ear=ear,
            writing_time=self.notebook.writing_time,
        )
        self._framer = Framer(plan.pace, ledger, self.notebook, self._watcher.plays)
        self._flow = FlowActor(plan.rules, plan.prompts, wall)
        around = Surroundings(
            self._framer.inbox,
            self._flow.inbox,
            judge.inbox,
            self._framer.speech_until,
            self._recall,
            judge.contested,
            judge.suspected_from,
            judge.line_echoes,
        )
        self._link = RealtimeLink(model, plan.session, plan.limits, self.notebook, around)
        self._errands = Errands(call_sid, errands, self.notebook)
        self._keeper = StateKeeper(call_sid, (self._began.caller, called), records, self._story)

    # ------------------------------------------------------------ from outside

    def carrier_gone(self, reason: str, *, lost: bool = True) -> None:
        """The media stream is over; `lost`: the caller may still be there. May be called at any time, and twice."""
        self.notebook.say("carrier_gone", reason=reason, lost=lost)
        self._twilio_in.carrier_gone(reason, lost=lost)

    def move_away(self) -> None:
        """The call is to go on in another process: it leaves the stream, to be opened again. May be called twice."""
        self.notebook.say("move_away")
        self._flow.inbox.post(MoveAway())

    # ------------------------------------------------------------ the call

    async def run(self) -> CallRecord:
        """Until the stream is closed and the record kept. Bugs in an actor end the call in the keypad menu, not here."""
        leave = call_state.Leave(Disposition.RESUME, "the server cut the call off")
        try:
            with trio.move_on_after(self._plan.rules.max_seconds + LAST_RESORT) as last_resort:
                try:
                    async with trio.open_nursery() as aside:
                        aside.start_soon(self._errands.run, self._flow.inbox)
                        aside.start_soon(self._keeper.run)
                        leave = await self._live()
                        await self._part(leave)
                        self.parted = True
                        with trio.move_on_after(ERRANDS_WITHIN):
                            await self._errands.idle()
                        aside.cancel_scope.cancel("the call is over")
                except* Exception as bugs:
                    if not self.parted:
                        leave = call_state.Leave(Disposition.IVR, f"a bug ended the call: {_summary(bugs)}")
                    self.notebook.trouble("bug", _summary(bugs))
                    self.notebook.say("bug", error=bugs)
            if last_resort.cancelled_caught and not self.parted:
                leave = call_state.Leave(Disposition.IVR, "the call outlived its last deadline")
        finally:
            record = await self._wrap_up(leave)  # noqa: ASYNC102 - each of its steps has its own shield and limit
        return record

    async def _live(self) -> call_state.Leave:
        """The carrier scope: the stream is read and written as long as this lasts."""
        async with trio.open_nursery() as carrier:
            flow, framer = self._flow.inbox, self._framer.inbox
            ears = (self._watcher.overhear, self._link.overhear)
            carrier.start_soon(self._twilio_in.run, self._link.audio, flow, framer, *ears)
            carrier.start_soon(self._twilio_out.run, framer, flow)
            carrier.start_soon(
                self._framer.run, self._twilio_out.inbox, (self._link.inbox, flow), flow, self._keeper.inbox
            )
            leave = await self._converse()
            if leave.drain:
                await self._drain()
            carrier.cancel_scope.cancel("the stream is left")
        return leave

    async def _converse(self) -> call_state.Leave:
        """The conversation scope: when the dialogue is over, however, the model's link ends with it."""
        async with trio.open_nursery() as conversation:
            conversation.start_soon(self._link.run)
            asks = (self._link.turn_ends, self._takes_leave, self._hears_nobody)
            conversation.start_soon(self._watcher.run, self._framer, self._link.inbox, *asks)
            neighbours = Neighbours(
                self._framer.inbox,
                self._link.inbox,
                self._errands.inbox,
                self._framer.yield_floor,
                self._framer.speech_until,
                self._stepped,
                lambda text: self.notebook.trouble("flow", text),
                self._framer.is_protected,
            )
            leave = await self._flow.run(self._began, neighbours)
            conversation.cancel_scope.cancel("the dialogue is over")
        return leave

    def _takes_leave(self) -> bool:
        """Whether the last words are being said."""
        return self._flow.state.phase is call_state.Phase.FAREWELL

    def _hears_nobody(self) -> bool:
        """Whether they are being said to somebody who was asked in vain whether they are there."""
        return self._takes_leave() and self._flow.state.dialogue.idle > self._plan.rules.flow.idle_times

    # ------------------------------------------------------------ the story

    def _stepped(self, event: call_state.FlowEvent, state: call_state.State) -> None:
        """The dialogue took a step: the notebook knows where it is, and after a turn the store soon will."""
        flow = self._plan.rules.flow
        at = state.dialogue.at
        self.notebook.entered(at)
        self.notebook.reply_asked = flow.states[at].seconds or flow.reply_seconds
        if isinstance(event, ToolsCalled) and any(call.name == "send_sms" for call in event.calls):
            # Who goes on elsewhere knows a text message by its turn: it would send one of a turn that was not kept once more.
            self._keeper.at_once()
        elif isinstance(event, TURNS):
            self._keeper.inbox.post(None)

    def _recall(self) -> list[tuple[Role, str, str]]:
        """What was heard so far, for a session of the model that was not there: by whom, the words, the item."""
        before = [(Role(said.who), said.words, "") for said in self._said_before]
        turns = [turn for turn in self.notebook.record.turns if turn.heard_text and turn.over]
        return [*before, *((Role(turn.who), turn.heard_text, turn.item) for turn in turns)][-TURNS_KEPT:]

    def _story(self, leave: call_state.Leave | None = None) -> Story:
        """What must be known to go on with this call."""
        flow, dialogue = self._plan.rules.flow, self._flow.state.dialogue
        turns = [turn for turn in self.notebook.record.turns if turn.heard_text and turn.over]
        said = (*self._said_before, *(Said(turn.who, turn.heard_text) for turn in turns))[-TURNS_KEPT:]
        decided = leave is not None and leave.disposition is Disposition.HANG_UP and self._flow.state.going is not None
        nothing = not (known(flow, dialogue) or dialogue.wish)
        over = decided or nothing or flow.states[dialogue.at].final
        return Story(flow.name, dialogue, said, over, leave.reason if leave else "")

    # ------------------------------------------------------------ the end

    async def _drain(self) -> None:
        """What was said to the end and is on its way is heard, within bounds; a caller who hangs up waits for nothing."""
        self._framer.go_on()  # nobody judges any more whether it was interrupted
        with trio.move_on_after(DRAIN_AT_MOST):
            async with trio.open_nursery() as either:

                async def hung_up() -> None:
                    await self._twilio_in.ended.wait()
                    either.cancel_scope.cancel("the caller hung up")

                either.start_soon(hung_up)
                await self._framer.heard()
                either.cancel_scope.cancel("all is heard")

    async def _part(self, leave: call_state.Leave) -> None:
        """Disposition and story first, so that `/twilio/after` finds them; then the stream is closed."""
        self._framer.settle()
        with trio.move_on_after(WRAP_UP, shield=True):
            async with trio.open_nursery() as both:
                both.start_soon(self._records.keep_disposition, self.call_sid, leave.disposition)
                both.start_soon(self._keeper.last, self._story(leave))
        with trio.move_on_after(WRAP_UP, shield=True):
            await self._carrier.close()

    async def _wrap_up(self, leave: call_state.Leave) -> CallRecord:
        """What is left to do however the call ended: the record is kept last, complete."""
        if not self.parted:
            await self._part(leave)
        mailboxes = [self._link.audio, self._link.inbox, self._framer.inbox, self._twilio_out.inbox, self._flow.inbox]
        asides = [self._errands.inbox.stats(), self._keeper.inbox.stats()]
        stats = [*(mailbox.stats() for mailbox in mailboxes), self._watcher.inbox.stats(), *asides]
        record = self.notebook.close(leave.disposition, leave.reason, stats, moving=self._flow.state.moving)
        with trio.move_on_after(WRAP_UP, shield=True):
            await self._records.keep_record(record)
        self.notebook.say("ended", disposition=leave.disposition.value, reason=leave.reason)
        return record


def _summary(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        inner = cast("BaseExceptionGroup[BaseException]", error).exceptions
        return "; ".join(_summary(each) for each in inner)
    return f"{type(error).__name__}: {error}"
