"""The model's half of a session: its replies, from the wish for one to its end, and what is tried when one fails.

Speech goes on to the Framer, what the model asks for to the flow. What was heard of an interrupted reply goes back to the model.
"""

import math
from collections.abc import Sequence

import attrs
import trio

from actors.messages import (
    AskReply,
    CallState,
    CancelReply,
    DropItem,
    Floor,
    FloorTaken,
    Gravity,
    Interrupted,
    ItemEnded,
    ModelCommand,
    ModelTrouble,
    ReplyAudio,
    ReplyBegan,
    ReplyEnded,
    ReplyOver,
    ReplyStatus,
    ReplyWords,
    StopTalking,
    ToolResult,
    ToolsCalled,
    Truncate,
)
from actors.mulaw import BYTES_PER_MS
from actors.ports import ModelGone
from actors.reply_length import ReplyLength
from actors.second_try import RETRY_SECONDS, Again, Elsewhere, Made, SecondTry, busy_pauses
from actors.talk import Talk

CROSSING = 0.5
"""Seconds that an item may be on its way to the model."""


class AgentReplies:
    """Those of one session. `nursery`: as long as it is up.

    What is called `on_…` takes in an event of the model's; it raises ModelGone if another session would do better.
    """

    def __init__(self, talk: Talk, nursery: trio.Nursery) -> None:
        self._talk = talk
        self._nursery = nursery
        self._inbox, self._notebook, self._around = talk.inbox, talk.notebook, talk.around
        self._desk, self._handover, self._wait = talk.desk, talk.handover, talk.wait
        self._answer, self._briefing = talk.answer, talk.briefing
        self._length = ReplyLength(round(talk.limits.reply * BYTES_PER_MS * 1000))
        self._second_try = SecondTry()
        self._retry: trio.CancelScope | None = None
        """A reply that failed is to be asked for again in here, after a pause."""

    # ------------------------------------------------------------ what is wanted

    def ask(self, *, turn: bool = False) -> list[ModelCommand]:
        """See `Talk.ask`; nothing else is to be asked for again then."""
        commands = self._talk.ask(turn=turn)
        self._no_retry()
        return commands

    def take_wish(self) -> None:
        """A reply that could not be asked for at once is asked for now, if it can."""
        # What tools find out is said too: a reply that is asked for before would not know it, and another one would follow.
        if not self._wait.tools_out and self._desk.take_wish():
            self._inbox.post(AskReply())

    def stop_talking(self, message: StopTalking) -> list[ModelCommand]:
        """The agent is to be silent."""
        self._no_retry()
        if self._answer.not_wanted(until_words=message.until_words):
            self._wait.owed = False
        return [CancelReply(reply) for reply in self._desk.hush()]

    def await_rest(self) -> list[ModelCommand]:
        """An answer that is on its way, to be tried again or hardly begun is given up; the caller's wait for it goes on."""
        answering = self._desk.waiting or self._answer.is_heard or self._retry is not None
        if not (answering and self._answer.may_be_put_off(trio.current_time())):
            return []
        if self._desk.caller_speaks or self._wait.tools_out:
            return []
        self._no_retry()
        self._notebook.answer_put_off()
        if self._answer.is_heard:
            self._around.watcher.post(FloorTaken(Floor.REST))
        self._answer.put_off()
        self._wait.owed = True
        self._talk.look_again()
        return [CancelReply(reply) for reply in self._desk.hush()]

    def cut(self, interrupted: Interrupted) -> list[ModelCommand]:
        """The model is told what was heard: the audible item is cut there, what never began is forgotten."""
        commands: list[ModelCommand] = []
        for cut in interrupted.cuts:
            self._handover.cut(cut.item, began=cut.began)
            commands += self._briefing.cut(cut)
        if audible := next((cut for cut in interrupted.cuts if cut.began), None):
            truncate = next((c for c in commands if isinstance(c, Truncate) and c.item == audible.item), None)
            self._notebook.interrupted(
                audible, truncate.heard_ms if truncate else None, interrupted.bound_ms, interrupted.reason.value
            )
        return commands

    # ------------------------------------------------------------ what the caller does

    def turn_over(self) -> None:
        """The caller has finished: what was to be asked for again is not the answer any more."""
        self._second_try.turn_over()
        self._no_retry()

    def turn_written(self) -> None:
        """The caller said something: a reply without a voice was no answer to a noise."""
        self._second_try.words()
        if not self._wait.waits and self._second_try.was_no_noise():
            self._notebook.trouble("reply", "there was no voice in it, and the caller had said something")
            self._inbox.post(AskReply())

    # ------------------------------------------------------------ a reply

    def on_began(self, event: ReplyBegan) -> None:
        """It is being made."""
        if not self._wait.waits:
            self._wait.begins(trio.current_time())
        self._talk.go_on_at = math.inf
        self._no_retry()
        if self._desk.began(event.reply):
            self._answer.begun()
        else:
            self._inbox.post(CancelReply(event.reply))
        # A reply that we did not ask for may have begun before it could know of what crossed it on the way.
        known = math.inf if self._desk.was_asked(event.reply) else trio.current_time() - CROSSING
        self._handover.reply_began(event.reply, known)
        self._briefing.reply_began(event.reply, known)
        self._notebook.reply_began()
        self._talk.look_again()

    def on_audio(self, event: ReplyAudio) -> None:
        """A piece of it to be heard."""
        announced = self._desk.knows(event.reply)
        self._desk.spoke(event.reply)
        if not self._desk.wanted(event.reply):
            self._briefing.unheard(event.reply, event.item)
            return
        if not announced and self._desk.knows(event.reply):
            self._handover.reply_began(event.reply, trio.current_time() - CROSSING)
        self._notebook.first_audio()
        self._answer.heard(trio.current_time())
        self._second_try.voice()
        self._talk.mute = 0
        self._briefing.learns(event.item)
        self._handover.spoken(event.reply, event.item, audio=len(event.audio))
        self._wait.begins(trio.current_time())
        if not self._length.began(event.reply):  # what follows only puts off what is due: the watch finds that in time
            self._talk.look_again()
        if self._length.broken_off(event.reply):
            return
        said = self._length.take(event)
        if said == len(event.audio):
            self._around.framer.post(event)
        else:
            self._cut_short(event, said)

    def _cut_short(self, event: ReplyAudio, at: int) -> None:
        """A reply that does not end: it is broken off, and the model is told how much of it was said."""
        self._notebook.trouble("reply", f"broken off after {self._talk.limits.reply:g} s")
        if at:
            self._around.framer.post(attrs.evolve(event, audio=event.audio[:at]))
        self._around.framer.post(ItemEnded(event.reply, event.item, broken_off=True))
        self._inbox.post(CancelReply(event.reply))
        heard_ms = self._length.said_of(event.item) // BYTES_PER_MS
        self._inbox.post(Truncate(event.item, heard_ms) if heard_ms else DropItem(event.item))

    def on_words(self, event: ReplyWords) -> None:
        """Words of it."""
        if self._desk.wanted(event.reply) and not self._length.broken_off(event.reply):
            self._handover.spoken(event.reply, event.item, words=event.text)
            self._around.framer.post(event)

    def on_item_ended(self, event: ItemEnded) -> None:
        """An item of it has come whole."""
        self._handover.item_over(event.item)
        self._around.framer.post(event)

    def on_ended(self, event: ReplyEnded) -> None:
        """It is over, and what became of it decides what is next: tools, another try, another session, or nothing."""
        self._briefing.called(event.calls)
        asked, due = self._desk.was_asked(event.reply), self._desk.is_due(event.reply)
        muted, spoke = self._desk.ended(event.reply, event.status)
        said, cut_short = self._length.ended(event.reply)
        made = Made(asked, due, muted, spoke, cut_short)
        outcome = self._second_try.ended(event, made, self._pauses(event), caller_speaks=self._desk.caller_speaks)
        failed = event.status is ReplyStatus.FAILED
        if not (failed and isinstance(outcome.then, Elsewhere)):  # else the next session goes on with it
            self._handover.reply_over(event.reply, whole=event.status is ReplyStatus.COMPLETED)
        self._notebook.record.tokens += event.tokens
        if said:
            self._notebook.reply_seconds(said / (BYTES_PER_MS * 1000))
        self._around.framer.post(event)
        stands = event.status is ReplyStatus.CANCELLED or (spoke and not failed)
        for drop in self._briefing.reply_over(event.reply, said=stands):
            self._inbox.post(drop)
        done = [call for call in event.calls if call.state is CallState.COMPLETED]
        if made.taken_back(event):
            if not muted and spoke:  # the model gave the floor to the caller without saying so first
                self._around.watcher.post(FloorTaken(Floor.MODEL))
            for call in done:  # what was asked for in a sentence that was broken off is not done
                self._inbox.post(ToolResult(call.call_id, {"ok": False, "error": "not done: the caller interrupted"}))
        if outcome.trouble:
            self._notebook.trouble("reply", outcome.trouble)
        if isinstance(outcome.then, Elsewhere):
            self._wait.owed = True
            raise ModelGone(outcome.then.why, fatal=outcome.then.fatal)
        if outcome.then is not None:
            self._try_again(outcome.then)
            return
        if done and not muted and event.status in {ReplyStatus.COMPLETED, ReplyStatus.INCOMPLETE}:
            self._wait.tools_out = True
            self._around.flow.post(ToolsCalled(tuple(done), spoke))
        else:
            self._around.flow.post(ReplyOver(spoke and not muted))
        self._talk.look_again()

    # ------------------------------------------------------------ what fails

    def on_trouble(self, trouble: ModelTrouble) -> None:
        """The session goes on, but a reply that was asked for may not come."""
        if trouble.code == "conversation_already_has_active_response":
            self._desk.refused()
            if self._desk.untold:
                self._nursery.start_soon(self._ask_all_the_same)
        elif (trouble.no_reply or trouble.gravity in {Gravity.RETRY, Gravity.BUSY}) and self._desk.failed():
            self._on_no_reply(trouble)

    def _on_no_reply(self, trouble: ModelTrouble) -> None:
        """What was asked for will not even begin: that is as good as a reply that failed."""
        gravity = Gravity.RETRY if trouble.gravity is Gravity.BENIGN else trouble.gravity
        reason = f"{trouble.code}: {trouble.text}"
        ended = ReplyEnded("", ReplyStatus.FAILED, reason=reason, gravity=gravity, again_in=trouble.again_in)
        made = Made(asked=True, due=True)
        then = self._second_try.ended(ended, made, self._pauses(ended), caller_speaks=self._desk.caller_speaks).then
        if isinstance(then, Elsewhere):
            self._wait.owed = True
            raise ModelGone(then.why)
        if then is not None:
            self._try_again(then)

    def _pauses(self, event: ReplyEnded) -> Sequence[float]:
        """Seconds before each try after one that failed so."""
        if event.gravity is Gravity.BUSY and len(self._talk.lines.places) == 1:
            return busy_pauses(event.again_in, self._talk.jitter)
        return [RETRY_SECONDS] if event.gravity in {Gravity.RETRY, Gravity.BUSY} else []

    def _try_again(self, again: Again) -> None:
        """Asks once more; until that reply is over, none is. The caller's wait goes on."""
        self._wait.owed = True
        self._talk.look_again()

        self._retry = retry = trio.CancelScope()

        async def ask_later() -> None:
            with retry:
                await trio.sleep(again.pause)
                if again.begun:
                    self._inbox.post(self._briefing.go_on())
                self._inbox.post(AskReply())

        self._nursery.start_soon(ask_later)

    def _no_retry(self) -> None:
        """What is asked for by now says it all, or nobody wants to hear it any more."""
        if self._retry is not None:
            self._retry.cancel("it is not to be asked for again")
            self._retry, self._wait.owed = None, False

    async def _ask_all_the_same(self) -> None:
        """What collided with a reply of which nothing was told. At once it would be refused again, as fast as one can ask."""
        await trio.sleep(RETRY_SECONDS)
        if self._desk.untold:
            self._desk.told_nothing()
            self.take_wish()
