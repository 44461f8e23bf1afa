"""RealtimeLink: the connection to the model over its whole life: connect, configure, speak, lose, replace."""

import math
import random
from collections import deque
from collections.abc import Callable, Sequence

import attrs
import trio

from actors.briefing import GO_ON, Briefing
from actors.caller_lane import CallerLane, frames
from actors.contested import ContestedTurns
from actors.ear import Ear
from actors.handover import Handover
from actors.mailbox import Mailbox, Outbox, WhenFull
from actors.messages import (
    AnswerTools,
    AskReply,
    AwaitRest,
    CallerAudio,
    CallerDone,
    CallerSaid,
    CallerSilence,
    CallerSpoke,
    CallerWaits,
    CallerWords,
    CallState,
    CancelReply,
    CommitTurn,
    DropItem,
    Extracted,
    Floor,
    FloorTaken,
    Gravity,
    Guide,
    Interrupted,
    ItemEnded,
    Judged,
    LinkLost,
    LinkUp,
    ModelCommand,
    ModelEvent,
    ModelTrouble,
    Probe,
    ReplyAudio,
    ReplyBegan,
    ReplyEnded,
    ReplyOver,
    ReplyStatus,
    ReplyWords,
    Retune,
    Role,
    SessionAgreed,
    SessionConfig,
    SetModel,
    SetPatience,
    SpeechStarted,
    SpeechStopped,
    StopTalking,
    Tell,
    ToolResult,
    ToolsCalled,
    Truncate,
    TurnCommitted,
)
from actors.model_line import ModelLine, joined
from actors.model_lines import ModelLines
from actors.mulaw import BYTES_PER_MS
from actors.notebook import Notebook
from actors.ports import ModelGone, ModelPort, ModelSession
from actors.rehearing import Rehearing
from actors.reply_desk import ReplyDesk
from actors.reply_length import ReplyLength
from actors.second_try import RETRY_SECONDS, Again, Elsewhere, Made, SecondTry, busy_pauses
from actors.turn_answer import TurnAnswer
from actors.waiting import HEARD_LATE, NOTICED_WITHIN, CallerWait, Rung

COMMANDS = 64
"""Commands that may wait for a session: a few a turn. A full one means that the flow has gone mad."""
UNNOTICED = "unnoticed"
"""The caller's turn that the model did not detect, until it has a name."""
NOTHING_COMMITTED = "input_audio_buffer_commit_empty"
"""What the model says that has nothing to commit."""
ECHO_TAIL = 0.3
"""Seconds that the agent's echo may still come back after its last frame."""
BACK_OFF = (0.0, 0.25, 0.5, 1.0, 2.0)
"""Seconds between rounds of the places where a model may be, with jitter."""
MUTE_AT_MOST = 1
"""Sessions that are replaced one after the other without a word of the model's: a third would do no better."""
LOSSES_AT_MOST = 6
LOSSES_WITHIN = 60.0
"""Seconds in which so many lost sessions are too many, whatever they said."""
CROSSING = 0.5
"""Seconds that an item may be on its way to the model."""
PAUSE_MARGIN = 0.3
"""Seconds past the model's own limit of a turn after which the caller's words count as over."""


@attrs.frozen
class AnswerTurn:
    """The caller's turn is over, and the model waits to be asked."""


LinkMessage = (
    ModelCommand
    | AnswerTools
    | Interrupted
    | StopTalking
    | AwaitRest
    | Guide
    | SetPatience
    | SetModel
    | Judged
    | AnswerTurn
)
FramerInput = ReplyAudio | ReplyWords | ItemEnded | ReplyEnded
FlowInput = (
    LinkUp | LinkLost | CallerWaits | CallerSpoke | CallerDone | CallerSaid | Extracted | ToolsCalled | ReplyOver
)
WatcherInput = SpeechStarted | SpeechStopped | CallerWords | FloorTaken
LIFE_ONLY = SessionAgreed | ModelTrouble | Extracted | CallerWords
"""What a model says that may take no notice of who speaks now."""


@attrs.frozen
class LinkLimits:
    """The deadlines of a link, in seconds."""

    connect: float
    """For the connection to open."""
    session: float
    """For each answer while the session is set up."""
    silence: float
    """For a reply's voice, counted from when it was due or from the end of the speech before it."""
    hold_back: float
    """Caller audio kept while there is no session."""
    reply: float = 60.0
    """Speech of one reply; what is longer is broken off there."""
    replace: float = 0.0
    """For another session to be had when one was lost; 0: none is tried."""
    standby: bool = False
    """Whether a second session is kept ready all the time, to take the place of a lost one at once."""
    append_ms: int = 20
    """Caller audio that goes to the model in one piece, ms."""


class RealtimeLink:
    """Carries the caller's voice to the model and the model's speech, words and wishes to the call.

    Mailboxes in: `audio` (straight onto the connection; held back until there is one), `inbox`
    (commands; wait for a session too). Out: `framer`, `flow`, `watcher`; the reader only posts, so it never waits for
    anyone and the socket is always drained. Ended by cancelling it; when the model cannot be had or is lost it tells the
    flow `LinkLost`, once, and is over.

    A session that is lost is replaced inside the call, if that is possible in time: the next one is told what was heard,
    what is being heard, and what the caller said that nobody has answered. So is one whose time is nearly over, or that is of
    another model than is wanted: then the next one is prepared beside it, and takes over in a quiet moment. `recall` gives
    the turns that were heard, as (role, words, item). Until there is a session the caller hears fillers, as in any other wait.
    """

    def __init__(self, model: ModelPort, config: SessionConfig, limits: LinkLimits, notebook: Notebook) -> None:
        self.audio = CallerLane(limits.hold_back, self._audio_sent, limits.append_ms)
        self.inbox: Mailbox[LinkMessage] = Mailbox("link", COMMANDS, WhenFull.FATAL)
        self._model = model
        self._config = config
        self._limits = limits
        self._notebook = notebook
        self._turns = config.turn_detection
        self._briefing = Briefing()
        self._losses: deque[float] = deque(maxlen=LOSSES_AT_MOST)
        self._mute = 0
        """Sessions lost since the model last spoke."""
        self._unfinished: dict[str, str] = {}
        """What the lost session was saying."""
        self._answer = TurnAnswer()
        self._renewed = False
        """Whether another session was to hear what the one before did not, and nobody but our ear has heard the caller since."""
        self._unheard_since: float | None = None
        """When that ended."""
        self._go_on_at = math.inf
        """When the model is to go on with what it owes, if it hears no turn in what the session before left unheard."""
        self._desk, self._ear, self._over = self._new_desk(), self._new_ear(), self._new_ear()
        self._wait = CallerWait(limits.silence, self._turns.silence_ms / 1000, self._desk, self._ear, self._over)
        self._fresh()
        self._left = self._handover
        """What the lost session leaves."""
        self._rehearing = Rehearing(self._new_ear(sharp=False), self._new_ear())
        self._patience = trio.CancelScope()
        """Cancelled when the caller has waited too long for a session."""
        self._speech_until: Callable[[], float] = lambda: -math.inf
        self._changed = trio.Event()
        self._lines = ModelLines(
            model,
            limits.connect,
            limits.session,
            standby=limits.standby,
            set_up=lambda: attrs.evolve(self._config, turn_detection=self._turns),
            jitter=self._jitter,
            trouble=lambda text: self._notebook.trouble("model", text),
            changed=self._look_again,
        )

    def _look_again(self) -> None:
        """Something changed, and so may what is due."""
        self._changed.set()

    def _new_desk(self) -> ReplyDesk:
        turns = self._config.turn_detection
        return ReplyDesk(turns.create_response, turns.interrupt_response)

    def _new_ear(self, *, sharp: bool = True) -> Ear:
        return Ear(self._turns.silence_ms / 1000 + PAUSE_MARGIN, sharp)

    def _fresh(self) -> None:
        """What is known of a session when it begins."""
        self._desk, self._ear, self._over = self._new_desk(), self._new_ear(), self._new_ear()
        if self._renewed:  # what two sessions have not heard may be a noise
            self._ear.vouch()
        self._wait.session_begins(self._desk, self._ear, self._over)
        self._handover = Handover(frames(self._limits.hold_back))
        self._briefing.session_begins()
        self._length = ReplyLength(round(self._limits.reply * BYTES_PER_MS * 1000))
        self._second_try = SecondTry()
        self._retry: trio.CancelScope | None = None
        """A reply that failed is to be asked for again in here, after a pause."""
        self._contested = ContestedTurns()
        self._committing = False
        """Whether the model was told of a turn that it did not detect."""

    async def run(
        self,
        framer: Outbox[FramerInput],
        flow: Outbox[FlowInput],
        watcher: Outbox[WatcherInput],
        speech_until: Callable[[], float],
        recall: Callable[[], Sequence[tuple[Role, str, str]]] = tuple,
        contested: Callable[[], bool] = lambda: False,
        suspected: Callable[[], float | None] = lambda: None,
        echoing: Callable[[], bool] = lambda: False,
    ) -> None:
        """Until cancelled, or until `LinkLost` has been told. `speech_until`: when the speech received will be over.
        `contested`: whether somebody else judges if a caller who begins to speak now takes the floor, and tells `Judged`;
        `suspected`: since when the caller has spoken of whom that is being judged; `echoing`: whether the line is known to echo.
        """
        self._is_contested, self._suspected, self._echoing = contested, suspected, echoing
        self._framer, self._flow, self._watcher = framer, flow, watcher
        self._speech_until = self._wait.speech_until = speech_until
        self._recall = recall
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch)
            async with trio.open_nursery() as lines:
                self._lines.begin(lines)
                reason = f"no session was to be had, and the caller waited for {self._limits.silence:g} s"
                with self._patience:
                    reason = await self._from_session_to_session()
                self._nobody_speaks()
                flow.post(LinkLost(reason))
                lines.cancel_scope.cancel("there is no model any more")
            nursery.cancel_scope.cancel("there is no model any more")

    # ------------------------------------------------------------ from session to session

    async def _from_session_to_session(self) -> str:
        """Until no session can be had any more; why."""
        reason = "no model is configured"
        until, rounds = math.inf, iter(BACK_OFF)
        tried, first = 0, True
        none_after = trio.current_time() + self._limits.replace  # meanwhile the greeting is heard
        while self._lines.places and trio.current_time() < until:
            line = self._lines.following()
            gone = await self._one_session(line, until, first=first)
            reason = str(gone)
            if not line.planned_end:
                self._notebook.trouble("model", reason)
            self._lines.over(line, gone)
            if self._wait.up:
                first = False
                if not self._let_go(planned=line.planned_end, for_another=not self._lines.wants(line)):
                    break
                within = self._limits.replace or (self._limits.connect if line.planned_end else 0)
                until, rounds, tried = trio.current_time() + within, iter(BACK_OFF), 0
                if within and self._wait.search_begins(trio.current_time()):
                    self._flow.post(CallerWaits(self._wait.fillers, doubtful=True))
            else:
                tried += 1
                if first and tried >= self._model.endpoints:
                    until = none_after
            if until < math.inf and tried % max(1, len(self._lines.places)) == 0:
                pause = next(rounds, BACK_OFF[-1]) * self._jitter(tried)
                await trio.sleep_until(min(until, trio.current_time() + pause))
        return reason

    def _nobody_speaks(self) -> None:
        """There is no model any more: of what it was saying nothing more will come."""
        for reply in self._desk.abandon():
            self._framer.post(ReplyEnded(reply, ReplyStatus.FAILED))

    def _jitter(self, tried: int) -> float:
        """Another factor for each call, and each try of it; the same one again when the call is replayed."""
        return 0.5 + random.Random(f"{self._notebook.record.stream_sid} {len(self._losses)} {tried}").random()

    async def _one_session(self, line: ModelLine, until: float, *, first: bool) -> ModelGone:
        """A session until it is over; why it is."""
        self._wait.up = False
        gone = ModelGone("")
        try:
            await self._live(line, until, first=first)
        except* ModelGone as errors:
            gone = joined(errors)
        finally:
            self._lines.up = None
            line.let_go()
        return gone

    def _let_go(self, *, planned: bool, for_another: bool) -> bool:
        """A session that was up is gone, perhaps `for_another` model that is wanted; whether one may take its place. What it
        leaves is kept for that."""
        now, unanswered = trio.current_time(), self._ear.unanswered_since
        going_on, self._go_on_at = self._go_on_at < math.inf, math.inf
        owes = going_on or (unanswered is not None and self._ear.plain)
        if unanswered is None:
            unanswered = self._unheard_since if self._lines.renew else self._over.unanswered_since
        renewed, self._lines.renew = self._lines.renew, False
        waited = self._wait.waits
        if (began := self._suspected()) is not None:
            self._handover.unnoticed_since(began)
        unfinished = self._handover.unfinished() or (self._unfinished if going_on else {})
        for reply in self._desk.abandon():  # nothing more will come; what there is may be heard
            self._framer.post(ReplyEnded(reply, ReplyStatus.FAILED))
        self._wait.owed = (waited or owes) and not self._wait.tools_out
        self._left, self._unfinished = self._handover, unfinished
        in_silence = self._ear.last_voice > self._over.last_voice
        self._rehearing.session_lost(self._left, self._new_ear(sharp=False), self._new_ear(), in_silence=in_silence)
        self._briefing.session_lost()
        self._fresh()
        if not waited and self._left.unheard():  # in the middle of what the caller was saying
            self._wait.spoke_to_nobody(now if unanswered is None else min(now, unanswered + self._wait.turn_ends))
        self._changed.set()
        self._mute += waited and not planned
        # As often as the flow goes on, or a line is noisy: it says nothing against the model.
        if not (planned and (for_another or renewed)):
            self._losses.append(now)
        too_many = len(self._losses) == LOSSES_AT_MOST and now - self._losses[0] < LOSSES_WITHIN
        return self._mute <= MUTE_AT_MOST and not too_many

    async def _live(self, line: ModelLine, until: float, *, first: bool) -> None:
        """One session from when it is wanted to its end. Raises ModelGone, alone or in a group."""
        if not first:
            self._fresh()  # of one that could not be set up to its end something may be left
        with line.use:
            with trio.move_on_at(until) as patience:
                session = await line.take()
                patience.deadline = math.inf
                if line.config.turn_detection != self._turns:
                    await session.send(Retune(self._turns))
                if not first:
                    await self._brief(session)
                self._catch_up()
                self._wait.session_up(trio.current_time())
                self._lines.up = line
                self._flow.post(LinkUp())
                self._changed.set()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self.audio.send_to, session, self._limits.silence)
                    nursery.start_soon(self._send_commands, session)
                    await self._read(session, nursery)
            if patience.cancelled_caught:
                raise ModelGone(f"no connection within {self._limits.replace:g} s")
        raise line.gone or ModelGone(line.ended_by_us)

    # ------------------------------------------------------------ what was before

    async def _brief(self, session: ModelSession) -> None:
        """A session that takes the place of another is told what that one knew. It never greets again."""
        tells = self._briefing.of_before(self._recall(), self._left.finished() | self._unfinished)
        again = self._left.unanswered()
        self._note_told(again)
        tells += again
        unheard = self._left.unheard()
        owed = self._wait.owed or self._go_on_at < math.inf
        asks = owed and not unheard
        heard = trio.current_time() + self._wait.turn_ends + HEARD_LATE
        self._go_on_at = heard if owed and unheard else math.inf
        if asks and not any(tell.text == GO_ON for tell in again):
            tells += self._owed()
        for tell in tells:
            self._briefing.sent(tell, trio.current_time())
            await session.send(tell)
        commands = self._ask() if asks else []
        self._wait.called = self._wait.called or (self._wait.owed and not asks)
        self._wait.owed = asks  # until it is asked for; if that fails, the next session has to
        for command in commands:
            await session.send(command)
        self._rehearing.again = unheard or self._left.onset()

    def _owed(self) -> list[Tell]:
        """What the model is told before it goes on with what the session before was saying."""
        return [self._briefing.go_on()] if self._unfinished else []

    # ------------------------------------------------------------ to the model

    def _catch_up(self) -> None:
        """A session hears first what was spoken before it was up, in that order."""
        now = trio.current_time()
        for event in (*self._rehearing.begins(now), *self.audio.take_all()):
            self.audio.post(event)
            if isinstance(event, CallerAudio):
                self._listen(event, now)

    def _is_late(self) -> bool:
        """Whether the caller whom the model hears begin to speak now did so before it was there, and in the agent's silence: they
        do not interrupt the filler that they hear meanwhile."""
        late = self._rehearing.is_late(trio.current_time(), self._wait.turn_ends, self._wait.last_voice)
        return late and self._suspected() is None

    def _audio_sent(self, events: Sequence[CallerAudio | CallerSilence]) -> None:
        self._handover.sent(events, trio.current_time())

    def turn_ends(self) -> float:
        """Seconds of silence after which the model holds the caller's turn for over."""
        return self._wait.turn_ends

    def overhear(self, event: CallerAudio) -> None:
        """A frame of the caller's as it arrives, whether the model takes it or not: who speaks while there is no session waits
        from then on."""
        now = trio.current_time()
        if self._wait.up:
            self._listen(event, now)
            return
        over = now <= self._speech_until() + ECHO_TAIL
        if over and self._echoing():
            return
        if self._rehearing.hears(event.audio, now, over=over):
            if not (over or self._wait.called):
                self._flow.post(CallerSpoke())
            self._wait.spoke_to_nobody(now)
            self._changed.set()

    def _listen(self, event: CallerAudio, now: float) -> None:
        """With our own ears. While the agent is heard, what is loud may be its echo: telephones do not take it out."""
        ear = self._ear
        if now <= self._speech_until() + ECHO_TAIL:
            if self._echoing():
                return
            ear = self._over
        if ear.listen(event.audio, now):
            self._handover.unnoticed_since(ear.unanswered_from or now)
            self._changed.set()

    async def _send_commands(self, session: ModelSession) -> None:
        while True:
            commands = self._commands(await self.inbox.receive())
            commands = self._briefing.known(commands, self._desk.knows, committing=self._committing)
            self._note_told(commands)
            for command in commands:
                if isinstance(command, Tell):
                    self._briefing.sent(command, trio.current_time())
                await session.send(command)

    def _note_told(self, commands: Sequence[ModelCommand]) -> None:
        """Should the session be lost before it answers, the next one is told again."""
        for tell in self._briefing.again(commands):
            self._handover.told(tell, trio.current_time())

    def _commands(self, message: LinkMessage) -> list[ModelCommand]:
        """What `message` means on the wire."""
        if isinstance(message, Interrupted):
            return self._truncations(message)
        if isinstance(message, StopTalking):
            self._no_retry()
            if self._answer.not_wanted(until_words=message.until_words):
                self._wait.owed = False
            return [CancelReply(reply) for reply in self._desk.hush()]
        if isinstance(message, AwaitRest):
            return self._await_rest()
        if isinstance(message, AnswerTools):
            self._wait.tools_answered(trio.current_time())
            return [*message.results, *(self._ask() if message.then_reply else [])]
        if isinstance(message, AskReply):
            return self._ask()
        if isinstance(message, Guide):
            return self._briefing.guide(message.text)
        if isinstance(message, SetPatience):
            return self._retune(message.silence_ms)
        if isinstance(message, Judged):
            return self._judged(message)
        if isinstance(message, AnswerTurn):
            return self._ask(turn=True) if self._answer.take() else []
        if isinstance(message, SetModel):
            self._lines.want(message.name)
            return []
        return [message]

    def _retune(self, silence_ms: int) -> list[ModelCommand]:
        """Patience is no part of the prompt: changing it costs nothing."""
        turns = attrs.evolve(self._turns, silence_ms=silence_ms or self._config.turn_detection.silence_ms)
        if turns == self._turns:
            return []
        self._turns = turns
        self._wait.turn_ends = turns.silence_ms / 1000
        self._ear.pause = self._over.pause = turns.silence_ms / 1000 + PAUSE_MARGIN
        self._notebook.patience(turns.silence_ms)
        return [Retune(turns)]

    def _ask(self, *, turn: bool = False) -> list[ModelCommand]:
        self._answer.asked()
        self._wait.asked(trio.current_time())
        self._no_retry()
        self._changed.set()
        return [*self._forget(), AskReply()] if self._desk.wish(turn=turn) else []

    def _await_rest(self) -> list[ModelCommand]:
        """An answer that is on its way, to be tried again or hardly begun is given up; the caller's wait for it goes on."""
        answering = self._desk.waiting or self._answer.is_heard or self._retry is not None
        if not (answering and self._answer.may_be_put_off(trio.current_time())):
            return []
        if self._desk.caller_speaks or self._wait.tools_out:
            return []
        self._no_retry()
        self._notebook.answer_put_off()
        if self._answer.is_heard:
            self._watcher.post(FloorTaken(Floor.REST))
        self._answer.put_off()
        self._wait.owed = True
        self._changed.set()
        return [CancelReply(reply) for reply in self._desk.hush()]

    def _forget(self) -> list[ModelCommand]:
        """Turns that were none are taken out of the conversation."""
        return [DropItem(item) for item in self._contested.forget()]

    def _judged(self, judged: Judged) -> list[ModelCommand]:
        """It is known whether the caller took the floor."""
        self._changed.set()
        if not judged.taken:
            nothing = self._contested.dismiss()
            if nothing:
                self._wait.turn_was_none()
            elif (
                judged.heard_from is not None
            ):  # by us alone: if the model says nothing more, it may have been more than that
                self._over.heard(judged.heard_from, trio.current_time())
                self._handover.unnoticed_since(judged.heard_from)
            for item, turn in nothing.items():
                if turn.words:  # else another session may have to listen to it, should this one be lost before
                    self._handover.turn_written(item)
            return [DropItem(item) for item, turn in nothing.items() if turn.stopped and turn.words]
        turns = self._contested.take(judged.words, unwritten=judged.unwritten)
        commands: list[ModelCommand] = []
        if judged.cancels:
            commands += [CancelReply(reply) for reply in self._desk.mute()]
        if judged.words and not turns:  # and the model has forgotten it
            self._flow.post(CallerSpoke())
            told = self._briefing.late_words(judged.words)
            self._notebook.caller_words(told.item, judged.words, final=True)
            self._flow.post(CallerDone(told.item))
            self._flow.post(CallerSaid(told.item, judged.words, None))
            return [*commands, told, *self._ask(turn=True)]
        if not turns and judged.heard_from is not None:  # and the model takes no notice
            self._ear.heard(judged.heard_from, trio.current_time())
            self._handover.unnoticed_since(judged.heard_from)
        for item, turn in turns.items():
            self._turn_begins(item)
            if turn.stopped:
                self._turn_ends(item)
            if turn.words is not None:
                self._notebook.caller_words(item, turn.words.text, final=True)
                self._turn_written(turn.words)
        return commands

    def _truncations(self, interrupted: Interrupted) -> list[ModelCommand]:
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

    # ------------------------------------------------------------ from the model

    async def _read(self, session: ModelSession, nursery: trio.Nursery) -> None:
        while True:
            event = await session.receive()
            self._sign_of_life(event)
            if isinstance(event, ReplyAudio):
                self._on_audio(event)
            elif isinstance(event, ReplyWords):
                if self._desk.wanted(event.reply) and not self._length.broken_off(event.reply):
                    self._handover.spoken(event.reply, event.item, words=event.text)
                    self._framer.post(event)
            elif isinstance(event, ItemEnded):
                self._handover.item_over(event.item)
                self._framer.post(event)
            elif isinstance(event, ReplyEnded):
                self._on_ended(event, nursery)
            elif isinstance(event, ModelTrouble):
                self._on_trouble(event, nursery)
            else:
                self._on_turn(event)
            self._take_wish()

    def _take_wish(self) -> None:
        # What tools find out is said too: a reply that is asked for before would not know it, and another one would follow.
        if not self._wait.tools_out and self._desk.take_wish():
            self.inbox.post(AskReply())

    def _sign_of_life(self, event: ModelEvent) -> None:
        now = trio.current_time()
        if isinstance(event, FramerInput) and not self._desk.wanted(event.reply):
            self._wait.life = now  # what was broken off already takes no notice of anybody
            return
        if self._wait.sign_of_life(now, notices=not (isinstance(event, LIFE_ONLY) or self._obeys(event))):
            self._notebook.trouble("model", "it took no notice of what the caller said, and is told of it")
            if not self._desk.caller_speaks:
                self._handover.turn_began(UNNOTICED, now)
            self._committing = True
            self.inbox.post(CommitTurn())
            self._changed.set()
        elif (since := self._wait.passed_over) is not None and not self._renewed:
            # The agent does not speak once more to what may be a noise. Another session says nothing if it is one.
            self._notebook.trouble(
                "model", "it took no notice of what the caller said again: another session is to hear it"
            )
            self._renewed, self._unheard_since = True, since
            self._lines.renew = True
            self._changed.set()
        elif self._ear.unanswered_since is None and not self._lines.renew:
            self._handover.alive(now)

    def _caller_heard(self) -> None:
        """Somebody else than our ear heard the caller."""
        self._ear.confirmed()
        self._renewed = self._lines.renew = False

    def _obeys(self, event: ModelEvent) -> bool:
        """Whether it only does what it was asked for, or could not: that it would also if it heard nobody."""
        if isinstance(event, ReplyEnded):
            return event.status is ReplyStatus.FAILED
        return isinstance(event, ReplyBegan) and self._desk.asked

    def _on_audio(self, event: ReplyAudio) -> None:
        announced = self._desk.knows(event.reply)
        self._desk.spoke(event.reply)
        if not self._desk.wanted(event.reply):
            return
        if not announced and self._desk.knows(event.reply):
            self._handover.reply_began(event.reply, trio.current_time() - CROSSING)
        self._notebook.first_audio()
        self._answer.heard(trio.current_time())
        self._second_try.voice()
        self._mute = 0
        self._briefing.learns(event.item)
        self._handover.spoken(event.reply, event.item, audio=len(event.audio))
        self._wait.begins(trio.current_time())
        if not self._length.began(event.reply):  # what follows only puts off what is due: the watch finds that in time
            self._changed.set()
        if self._length.broken_off(event.reply):
            return
        said = self._length.take(event)
        if said == len(event.audio):
            self._framer.post(event)
        else:
            self._cut_short(event, said)

    def _cut_short(self, event: ReplyAudio, at: int) -> None:
        """A reply that does not end: it is broken off, and the model is told how much of it was said."""
        self._notebook.trouble("reply", f"broken off after {self._limits.reply:g} s")
        if at:
            self._framer.post(attrs.evolve(event, audio=event.audio[:at]))
        self._framer.post(ItemEnded(event.reply, event.item, broken_off=True))
        self.inbox.post(CancelReply(event.reply))
        heard_ms = self._length.said_of(event.item) // BYTES_PER_MS
        self.inbox.post(Truncate(event.item, heard_ms) if heard_ms else DropItem(event.item))

    def _on_turn(self, event: ModelEvent) -> None:
        if isinstance(event, SpeechStarted):
            self._briefing.learns(event.item)
            self._caller_heard()
            self._wait.turn_began(trio.current_time())
            self._changed.set()
            self._handover.turn_began(event.item, trio.current_time())
            self._rehearing.turn_began(event.item, trio.current_time(), self._wait.turn_ends)
            late = self._is_late()
            if self._is_contested() and not late:
                self._contested.began(event.item)
                self._desk.caller_begins()
            else:
                for reply in self._desk.speech_started():
                    self.inbox.post(CancelReply(reply))
                self._turn_begins(event.item)
            if not late:
                self._watcher.post(event)
        elif isinstance(event, SpeechStopped):
            self._committing = False
            self._handover.turn_over(trio.current_time())
            self._contested.stopped(event.item)
            self._desk.speech_stopped()
            self._changed.set()
            if self._contested.is_open(event.item):
                self._watcher.post(event)
            elif self._contested.concerns(event.item):
                self._watcher.post(event)  # it was held for a noise: whether it was one, its length may tell
            else:
                self._turn_ends(event.item)
        elif isinstance(event, TurnCommitted):
            if self._contested.concerns(event.item):
                return
            if self._committing and (not self._briefing.knows(event.item) or self._desk.caller_speaks):
                self._turn_committed(event.item)
            elif not self._briefing.knows(event.item):  # of a server that tells of turns, and of no voices
                self._on_turn(SpeechStarted(event.item))
                self._on_turn(SpeechStopped(event.item))
            else:
                self._notebook.caller_turn(event.item)
        elif isinstance(event, CallerWords):
            if self._contested.concerns(event.item):
                self._contested.written(event)
                if event.final and not self._contested.is_open(event.item):
                    self._handover.turn_written(event.item)
                self._watcher.post(event)
            else:
                self._notebook.caller_words(event.item, event.text, event.final)
                if event.final:
                    self._turn_written(event)
        elif isinstance(event, Extracted):
            self._flow.post(event)
        elif isinstance(event, SessionAgreed) and event.agreed.turn_detection != self._turns:
            self._notebook.trouble("model", f"turns are detected otherwise than asked: {event.agreed.turn_detection}")
        elif isinstance(event, ReplyBegan):
            if not self._wait.waits:
                self._wait_begins()
            self._go_on_at = math.inf
            self._no_retry()
            if self._desk.began(event.reply):
                self._answer.begun()
            else:
                self.inbox.post(CancelReply(event.reply))
            # A reply that we did not ask for may have begun before it could know of what crossed it on the way.
            known = math.inf if self._desk.was_asked(event.reply) else trio.current_time() - CROSSING
            self._handover.reply_began(event.reply, known)
            self._briefing.reply_began(event.reply, known)
            self._notebook.reply_began()
            self._changed.set()

    def _turn_begins(self, item: str) -> None:
        self._go_on_at = math.inf
        if self._answer.turn_begins():
            self._wait.owed = False
        if before := self._rehearing.named_before(item):
            self._notebook.heard_again(before, item)
        self._rehearing.told = item
        self._flow.post(CallerSpoke(again=bool(before)))
        self._notebook.caller_turn(item)
        self._notebook.say("caller_speaks", item=item)

    def _turn_committed(self, item: str) -> None:
        """The model was told that this is a turn. It may have heard it begin at the last moment; it will not hear it end."""
        self._committing = False
        self._desk.insist()
        if not self._briefing.knows(item):
            self._briefing.learns(item)
            self._handover.turn_began(item, trio.current_time())
            self._turn_begins(item)
        self._handover.turn_over(trio.current_time())
        self._turn_ends(item, by_us=True)

    def _turn_ends(self, item: str, *, by_us: bool = False) -> None:
        self._second_try.turn_over()
        self._wait.tools_out = False
        self._notebook.caller_stopped(item)
        self._flow.post(CallerDone(item))
        self._answer.turn_over(trio.current_time())
        self._wait.turn_over(trio.current_time())
        self._no_retry()
        self._changed.set()
        asks = by_us or not self._config.turn_detection.create_response
        if asks and self._answer.is_due(item, whatever_it_was=by_us):
            self.inbox.post(AnswerTurn())

    def _turn_written(self, event: CallerWords) -> None:
        """The words of a turn are known."""
        said = bool(event.text.strip())
        if self._answer.written(event.item, said=said):
            self.inbox.post(AnswerTurn())
        if not said:
            self._flow.post(CallerSaid(event.item, ""))  # they may be away still, or look for what they dictate
            return
        self._flow.post(CallerSaid(event.item, event.text, event.confidence))
        self._second_try.words()
        self._caller_heard()
        self._handover.turn_written(event.item)
        if not self._wait.waits and self._second_try.was_no_noise():
            self._notebook.trouble("reply", "there was no voice in it, and the caller had said something")
            self.inbox.post(AskReply())

    def _on_ended(self, event: ReplyEnded, nursery: trio.Nursery) -> None:
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
        self._framer.post(event)
        stands = event.status is ReplyStatus.CANCELLED or (spoke and not failed)
        for drop in self._briefing.reply_over(event.reply, said=stands):
            self.inbox.post(drop)
        done = [call for call in event.calls if call.state is CallState.COMPLETED]
        if made.taken_back(event):
            if not muted and spoke:  # the model gave the floor to the caller without saying so first
                self._watcher.post(FloorTaken(Floor.MODEL))
            for call in done:  # what was asked for in a sentence that was broken off is not done
                self.inbox.post(ToolResult(call.call_id, {"ok": False, "error": "not done: the caller interrupted"}))
        if outcome.trouble:
            self._notebook.trouble("reply", outcome.trouble)
        if isinstance(outcome.then, Elsewhere):
            self._wait.owed = True
            raise ModelGone(outcome.then.why, fatal=outcome.then.fatal)
        if outcome.then is not None:
            self._try_again(nursery, outcome.then)
            return
        if done and not muted and event.status in {ReplyStatus.COMPLETED, ReplyStatus.INCOMPLETE}:
            self._wait.tools_out = True
            self._flow.post(ToolsCalled(tuple(done), spoke))
        else:
            self._flow.post(ReplyOver(spoke and not muted))
        self._changed.set()

    def _pauses(self, event: ReplyEnded) -> Sequence[float]:
        """Seconds before each try after one that failed so."""
        if event.gravity is Gravity.BUSY and len(self._lines.places) == 1:
            return busy_pauses(event.again_in, self._jitter)
        return [RETRY_SECONDS] if event.gravity in {Gravity.RETRY, Gravity.BUSY} else []

    def _try_again(self, nursery: trio.Nursery, again: Again) -> None:
        """Asks once more; until that reply is over, none is. The caller's wait goes on."""
        self._wait.owed = True
        self._changed.set()

        self._retry = retry = trio.CancelScope()

        async def ask_later() -> None:
            with retry:
                await trio.sleep(again.pause)
                if again.begun:
                    self.inbox.post(self._briefing.go_on())
                self.inbox.post(AskReply())

        nursery.start_soon(ask_later)

    def _no_retry(self) -> None:
        """What is asked for by now says it all, or nobody wants to hear it any more."""
        if self._retry is not None:
            self._retry.cancel("it is not to be asked for again")
            self._retry, self._wait.owed = None, False

    def _on_trouble(self, trouble: ModelTrouble, nursery: trio.Nursery) -> None:
        self._notebook.trouble("model", f"{trouble.code}: {trouble.text}")
        if trouble.gravity in {Gravity.LOST, Gravity.FATAL}:
            raise ModelGone(f"{trouble.code}: {trouble.text}", fatal=trouble.gravity is Gravity.FATAL)
        if trouble.code == "conversation_already_has_active_response":
            self._desk.refused()
            if self._desk.untold:
                nursery.start_soon(self._ask_all_the_same)
        elif trouble.code == NOTHING_COMMITTED and self._committing:  # the words are lost, but the caller waits
            self._committing = False
            self._desk.insist()
            self._handover.turn_over(trio.current_time())
            self.inbox.post(AskReply())
        elif (trouble.no_reply or trouble.gravity in {Gravity.RETRY, Gravity.BUSY}) and self._desk.failed():
            self._on_no_reply(trouble, nursery)

    def _on_no_reply(self, trouble: ModelTrouble, nursery: trio.Nursery) -> None:
        """What was asked for will not even begin: that is as good as a reply that failed."""
        gravity = Gravity.RETRY if trouble.gravity is Gravity.BENIGN else trouble.gravity
        ended = ReplyEnded("", ReplyStatus.FAILED, reason=f"{trouble.code}: {trouble.text}", gravity=gravity)
        made = Made(asked=True, due=True)
        then = self._second_try.ended(ended, made, self._pauses(ended), caller_speaks=self._desk.caller_speaks).then
        if isinstance(then, Elsewhere):
            self._wait.owed = True
            raise ModelGone(then.why)
        if then is not None:
            self._try_again(nursery, then)

    async def _ask_all_the_same(self) -> None:
        """What collided with a reply of which nothing was told. At once it would be refused again, as fast as one can ask."""
        await trio.sleep(RETRY_SECONDS)
        if self._desk.untold:
            self._desk.told_nothing()
            self._take_wish()

    # ------------------------------------------------------------ silence

    def _wait_begins(self) -> None:
        self._wait.begins(trio.current_time())
        self._changed.set()

    async def _watch(self) -> None:
        """What is due when nothing happens: the rungs of the caller's wait, and another session before this one is over."""
        while True:
            self._changed = trio.Event()
            with trio.move_on_at(self._due()) as waiting:
                await self._changed.wait()
            if not waiting.cancelled_caught:
                continue  # something changed, and so may what is due
            now = trio.current_time()
            due, rung = self._wait.next()  # speech may have come that puts it off
            if now >= due:
                await self._climb(rung)
            elif now >= self._go_on_due():
                self._go_on_at = math.inf
                for told in self._owed():
                    self.inbox.post(told)
                self.inbox.post(AskReply())
            elif now >= self._answer.at:
                self._answer.waited()
                self.inbox.post(AnswerTurn())
            elif now >= self._lines.prepare_due():
                self._lines.prepare()
            elif now >= self._lines.switch_due(self._quiet_from):
                self._end_session(self._why_switch(), planned=True)
                await self._changed.wait()

    def _why_switch(self) -> str:
        if not self._lines.is_wanted:
            return "another model is wanted"
        return "it may be deaf" if self._lines.renew else "its time is nearly over"

    def _due(self) -> float:
        others = self._lines.prepare_due(), self._lines.switch_due(self._quiet_from)
        return min(self._wait.next()[0], self._go_on_due(), self._answer.at, *others)

    @property
    def _quiet_from(self) -> float:
        """From when on nobody speaks or waits; infinity if that is not known. Who silences the agent is heard before the model
        tells of them; who asked to wait and speaks again waits when it is written down."""
        if self._wait.waits or self._desk.caller_speaks or self._answer.at < math.inf:
            return math.inf
        return max(self._speech_until(), self._wait.last_voice + NOTICED_WITHIN)

    def _go_on_due(self) -> float:
        """What the session before left unheard may have been a turn, a noise, or a word of a listener's."""
        return math.inf if self._desk.caller_speaks or self._contested.any else self._go_on_at

    async def _climb(self, rung: Rung) -> None:
        """A caller who waits hears now and then that somebody is there, and not for ever."""
        seconds = f"{self._limits.silence:g} s"
        self._wait.climbed(rung, trio.current_time())
        if rung is Rung.PROBE:
            self.inbox.post(Probe())  # not a reply: that it keeps silent on a noise is its right
        elif rung is Rung.LIFELESS:
            self._end_session(f"the model gave no sign of life for {seconds} when it should have")
            await self._changed.wait()
        elif rung is Rung.SILENT and not self._wait.up:
            self._patience.cancel("the caller has waited too long for a session")
            await self._changed.wait()
        elif rung is Rung.SILENT:
            self._end_session(f"the model was silent for {seconds} when it should have spoken")
            await self._changed.wait()
        elif rung is Rung.INSIST:
            self._changed.set()
            self.inbox.post(AskReply())
        else:
            self._flow.post(CallerWaits(self._wait.fillers, doubtful=self._wait.doubtful or self._mute > 0))

    def _end_session(self, why: str, planned: bool = False) -> None:
        """The session that is up is given up, for trouble or as planned."""
        if self._lines.up is not None:
            if planned:
                self._notebook.replaced(why)
            self._lines.up.end(why, planned=planned)
