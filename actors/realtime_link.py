"""RealtimeLink: the connection to the model over its whole life: connect, configure, speak, lose, replace."""

import math
import random
from collections import deque
from collections.abc import Callable, Sequence

import attrs
import trio

from actors.ear import Ear
from actors.handover import Handover
from actors.mailbox import Mailbox, Outbox, WhenFull
from actors.messages import (
    AgreedSession,
    AnswerTools,
    AskReply,
    CallerAudio,
    CallerDone,
    CallerSaid,
    CallerSilence,
    CallerSpoke,
    CallerWaits,
    CallerWords,
    CallState,
    CancelReply,
    Configure,
    DropItem,
    Extract,
    Extracted,
    Floor,
    FloorTaken,
    Gravity,
    Guide,
    Interrupted,
    ItemEnded,
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
    SessionCreated,
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
from actors.mulaw import BYTES_PER_MS
from actors.notebook import Notebook, heard_words
from actors.ports import ModelGone, ModelPort, ModelSession
from actors.reply_desk import ReplyDesk

COMMANDS = 64
"""Commands that may wait for a session: a few a turn. A full one means that the flow has gone mad."""
FRAME_MS = 20
BATCH = 50
"""Frames joined into one append after a delay: a second, 11 kB on the wire."""
FILLER_SHARE = 0.625
"""Share of the longest silence after which a caller who waits hears that somebody is there."""
FILLERS_AT_MOST = 2
"""Times in one wait; the silence after the last one is the last."""
VOICELESS_AT_MOST = 2
"""Replies to turns that may follow each other without a word: one is how a model keeps silent on a noise."""
RETRY_SECONDS = 0.4
"""Pause before a reply that failed for a passing reason is asked for again, once."""
CALLER_TURN_AT_MOST = 10.0
"""A wish for a reply waits this long for the caller to finish; then the agent speaks up."""
ECHO_TAIL = 0.3
"""Seconds that the agent's echo may still come back after its last frame."""
BACK_OFF = (0.0, 0.25, 0.5, 1.0, 2.0)
"""Seconds between rounds of the places where a model may be, with jitter."""
MUTE_AT_MOST = 1
"""Sessions that are replaced one after the other without a word of the model's: a third would do no better."""
LOSSES_AT_MOST = 6
LOSSES_WITHIN = 60.0
"""Seconds in which so many lost sessions are too many, whatever they said."""
ROLL_OVER_EARLY, ROLL_OVER_AT_LAST = 0.05, 0.005
"""Shares of a session's time before its end: from the one on a quiet moment is used to replace it, at the other any moment.
Of an hour they are three minutes, and 18 seconds."""
SAME_BREATH = 0.05
"""Seconds in which a reply is asked for that goes with the results of tools."""
CROSSING = 0.5
"""Seconds that an item may be on its way to the model."""
PROBE_PATIENCE = 0.5
"""Seconds in which a model that lives answers a probe."""
PAUSE_MARGIN = 0.3
"""Seconds past the model's own limit of a turn after which the caller's words count as over."""

PROMPT_PREFIX = "prompt_"
"""Items of recorded prompts begin so; the model's own never do."""

GUIDE_PREFIX = "guide_"
"""The item that says where the conversation stands begins so."""

ONCE_PREFIX = "once_"
"""Items that are meant for the next reply begin so; they are taken out of the conversation when it is over."""

GO_ON = "[You were cut off in the middle of what you said last. Go on from there; repeat nothing and do not greet.]"

LinkMessage = ModelCommand | AnswerTools | Interrupted | StopTalking | Guide | SetPatience
FramerInput = ReplyAudio | ReplyWords | ItemEnded | ReplyEnded
FlowInput = (
    LinkUp | LinkLost | CallerWaits | CallerSpoke | CallerDone | CallerSaid | Extracted | ToolsCalled | ReplyOver
)
WatcherInput = SpeechStarted | FloorTaken


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


class RealtimeLink:
    """Carries the caller's voice to the model and the model's speech, words and wishes to the call.

    Mailboxes in: `audio` (held back until there is a session; the oldest is dropped when it overflows), `inbox`
    (commands; wait for a session too). Out: `framer`, `flow`, `watcher`; the reader only posts, so it never waits for
    anyone and the socket is always drained. Ended by cancelling it; when the model cannot be had or is lost it tells the
    flow `LinkLost`, once, and is over.

    A session that is lost is replaced inside the call, if that is possible in time: the next one is told what was heard,
    what is being heard, and what the caller said that nobody has answered. `recall` gives the turns that were heard, as
    (role, words, item). Until there is one the caller hears fillers, as in any other wait.
    """

    def __init__(self, model: ModelPort, config: SessionConfig, limits: LinkLimits, notebook: Notebook) -> None:
        self.audio: Mailbox[CallerAudio | CallerSilence] = Mailbox(
            "caller_audio", int(limits.hold_back * 1000) // FRAME_MS, WhenFull.DROP_OLDEST
        )
        self.inbox: Mailbox[LinkMessage] = Mailbox("link", COMMANDS, WhenFull.FATAL)
        self._model = model
        self._config = config
        self._limits = limits
        self._notebook = notebook
        self._turns = config.turn_detection
        self._turn_ends = self._turns.silence_ms / 1000
        self._told: dict[str, Tell] = {}
        """Speech that the model was told of as text, by the item that is played."""
        self._retold = 0
        self._guided = ""
        """What the model is to know of where the conversation stands."""
        self._losses: deque[float] = deque(maxlen=LOSSES_AT_MOST)
        self._mute = 0
        """Sessions lost since the model last spoke."""
        self._owed = False
        """Whether a voice is due that a session which is gone has not given."""
        self._end: tuple[trio.CancelScope, str] | None = None
        """The session that is up, and why it is ended by us."""
        self._unfinished: dict[str, str] = {}
        """What the lost session was saying."""
        self._tool_names: dict[str, str] = {}
        self._renewed = False
        """Whether the session is not the first one."""
        self._fresh()
        self._left = self._handover
        """What the lost session leaves."""
        self._waits_since = -math.inf
        """When the caller's present wait for a voice began, or they last heard in it that somebody is there."""
        self._fillers = 0
        """How often that was in this wait."""
        self._silent_since = -math.inf
        """When the silence began in which they heard it first."""
        self._tools_out = False
        """Whether the model waits for the results of its tools, and the caller for both."""
        self._tools_back = -math.inf
        """When they came back."""
        self._changed = trio.Event()

    def _fresh(self) -> None:
        """What is known of a session when it begins."""
        turns = self._config.turn_detection
        self._desk = ReplyDesk(turns.create_response, turns.interrupt_response)
        self._ear = Ear(self._turn_ends + PAUSE_MARGIN)
        self._handover = Handover(int(self._limits.hold_back * 1000) // FRAME_MS)
        self._probed_at: float | None = None
        self._expires = self._lasts = math.inf
        """When the session will be over, and how long it was to be."""
        self._items: set[str] = set()
        """Items of the conversation that this session knows; others can be neither cut nor taken out."""
        self._calls: set[str] = set()
        """Tool calls of this session; results of others are told as text."""
        self._once: list[tuple[str, float]] = []
        """Items for the next reply that no reply has seen yet, and when each was sent."""
        self._seen_by: dict[str, list[tuple[str, float]]] = {}
        """Those that a reply being made has seen."""
        self._guides = 0
        self._spoken: dict[str, int] = {}
        """Speech of the replies that are being made, in µ-law bytes."""
        self._broken_off: set[str] = set()
        """Replies that were too long: their end is ours, and no wish of the model's or the caller's."""
        self._heard_of: dict[str, int] = {}
        """Speech of the item that came last, in µ-law bytes."""
        self._retries = 0
        self._voiceless = 0
        """Replies in a row that had neither voice nor wish."""
        self._words_unanswered = False
        """Whether the caller's last turn had words that no reply has answered."""
        self._life = -math.inf
        """When the model last said anything, or was asked for something."""
        self._up = False

    async def run(
        self,
        framer: Outbox[FramerInput],
        flow: Outbox[FlowInput],
        watcher: Outbox[WatcherInput],
        speech_until: Callable[[], float],
        recall: Callable[[], Sequence[tuple[Role, str, str]]] = tuple,
    ) -> None:
        """Until cancelled, or until `LinkLost` has been told. `speech_until`: when the speech received will be over."""
        self._framer, self._flow, self._watcher, self._speech_until = framer, flow, watcher, speech_until
        self._recall = recall
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_for_silence)
            reason = await self._from_session_to_session()
            nursery.cancel_scope.cancel("there is no model any more")
        flow.post(LinkLost(reason))

    # ------------------------------------------------------------ from session to session

    async def _from_session_to_session(self) -> str:
        """Until no session can be had any more; why."""
        reason = "no model is configured"
        places = deque(range(self._model.endpoints))
        until, rounds = math.inf, iter(BACK_OFF)
        tried = 0
        while places and trio.current_time() < until:
            place, first = places[0], until == math.inf
            reason, fatal = await self._one_session(place, until, first=first)
            self._notebook.trouble("model", reason)
            if fatal:
                places.popleft()  # it never works until an operator acts
            else:
                places.rotate(-1)
            if self._up:
                if not self._let_go():
                    break
                until, rounds, tried = trio.current_time() + self._limits.replace, iter(BACK_OFF), 0
            else:
                tried += 1
                if first and tried >= self._model.endpoints:
                    break
            if not first and tried % max(1, len(places)) == 0:
                await trio.sleep(next(rounds, BACK_OFF[-1]) * (0.5 + random.random()))
        for reply in self._desk.abandon():
            self._framer.post(ReplyEnded(reply, ReplyStatus.FAILED))
        return reason

    async def _one_session(self, place: int, until: float, *, first: bool) -> tuple[str, bool]:
        """A session from the opening of its connection to its end: why it ended, and whether no other would do better."""
        self._up = False
        gone: list[ModelGone] = []
        try:
            await self._live(place, until, first=first)
        except* ModelGone as errors:
            gone = _leaves(errors)
        return "; ".join(str(error) for error in gone), any(error.fatal for error in gone)

    def _let_go(self) -> bool:
        """A session that was up is gone; whether another may take its place. What it leaves is kept for that."""
        now = trio.current_time()
        waited = self._caller_waits
        unfinished = self._handover.unfinished()
        for reply in self._desk.abandon():  # nothing more will come; what there is may be heard
            self._framer.post(ReplyEnded(reply, ReplyStatus.FAILED))
        self._owed = waited and not self._tools_out
        self._left, self._unfinished, self._renewed = self._handover, unfinished, True
        self._fresh()
        self._mute += waited
        self._losses.append(now)
        too_many = len(self._losses) == LOSSES_AT_MOST and now - self._losses[0] < LOSSES_WITHIN
        return self._mute <= MUTE_AT_MOST and not too_many

    async def _live(self, endpoint: int, until: float, *, first: bool) -> None:
        """One connection from its opening to its end. Raises ModelGone, alone or in a group."""
        scope = trio.CancelScope()
        if not first:
            self._fresh()  # of one that could not be set up to its end something may be left
        with trio.move_on_at(min(trio.current_time() + self._limits.connect, until)) as opening:
            async with self._model.connect(endpoint) as session:
                opening.deadline = until
                await self._configure(session)
                opening.deadline = math.inf
                if not first:
                    await self._brief(session)
                self._up, self._end = True, (scope, "")
                self._flow.post(LinkUp())
                self._changed.set()
                with scope:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self._send_audio, session)
                        nursery.start_soon(self._send_commands, session)
                        await self._read(session, nursery)
        if opening.cancelled_caught:
            raise ModelGone(f"no connection within {self._limits.connect:g} s")
        raise ModelGone(self._end[1] if self._end else "")

    def _end_session(self, why: str) -> None:
        """The session that is up is given up."""
        if self._end is not None:
            self._end = (self._end[0], why)
            self._end[0].cancel(why)

    async def _brief(self, session: ModelSession) -> None:
        """A session that takes the place of another is told what that one knew. It never greets again."""
        known = self._recall()
        over = {item for _, _, item in known}
        tells = [Tell(role, words) for role, words, _ in known]
        playing = {item: tell for item, tell in self._told.items() if item not in over}
        self._told = {}
        for item, tell in playing.items():
            tells.append(attrs.evolve(tell, first=False))
            self._told[item] = tells[-1]
        for item, words in self._unfinished.items():
            if words and item not in over:
                self._retold += 1
                tells.append(Tell(Role.AGENT, words, f"{PROMPT_PREFIX}told_{self._retold}"))
                self._told[item] = tells[-1]
        if self._guided:
            self._guides += 1
            tells.append(Tell(Role.OPERATOR, self._guided, f"{GUIDE_PREFIX}{self._guides}"))
        unheard = self._left.unheard()
        asks = self._owed and not unheard
        if asks and self._unfinished:
            self._retold += 1
            told = Tell(Role.OPERATOR, GO_ON, f"{ONCE_PREFIX}back_{self._retold}")
            self._once.append((told.item, trio.current_time()))
            tells.append(told)
        for tell in tells:
            await session.send(tell)
            self._items.add(tell.item)
        commands = self._ask() if asks else []
        self._owed = asks  # until it is asked for; if that fails, the next session has to
        for command in commands:
            await session.send(command)
        self._owed, self._life = False, trio.current_time()
        waiting = self.audio.take_all()
        for event in (*unheard, *waiting):  # in the order in which it was spoken
            self.audio.post(event)

    # ------------------------------------------------------------ connect, configure

    async def _configure(self, session: ModelSession) -> None:
        created = await self._answer(session, SessionCreated)
        if isinstance(created, SessionCreated) and created.expires_in is not None:
            self._expires, self._lasts = trio.current_time() + created.expires_in, created.expires_in
        config = attrs.evolve(self._config, turn_detection=self._turns)
        await session.send(Configure(config))
        answer = await self._answer(session, SessionAgreed)
        assert isinstance(answer, SessionAgreed)
        if wrong := disagreement(config, answer.agreed):
            raise ModelGone(f"the session is not what was asked for: {wrong}", fatal=True)
        if answer.agreed.turn_detection != config.turn_detection:
            self._notebook.trouble("model", f"turns are detected otherwise than asked: {answer.agreed.turn_detection}")

    async def _answer(self, session: ModelSession, kind: type[SessionCreated] | type[SessionAgreed]) -> ModelEvent:
        with trio.move_on_after(self._limits.session):
            while True:
                event = await session.receive()
                if isinstance(event, kind):
                    return event
                if isinstance(event, ModelTrouble):
                    raise ModelGone(f"{event.code}: {event.text}", fatal=event.gravity is Gravity.FATAL)
        raise ModelGone(f"the model did not answer within {self._limits.session:g} s while the session was set up")

    # ------------------------------------------------------------ to the model

    async def _send_audio(self, session: ModelSession) -> None:
        """Frames go as they come, one append each; what has piled up goes in larger pieces."""
        while True:
            waiting = [await self.audio.receive(), *self.audio.take_all()]
            self._listen(waiting)
            self._handover.sent(waiting, trio.current_time())
            while waiting:
                payloads: list[str] = []
                silence = 0
                for event in waiting[:BATCH]:
                    if isinstance(event, CallerSilence):
                        silence = event.ms
                        break
                    payloads.append(event.payload)
                with trio.move_on_after(self._limits.silence) as stuck:
                    await session.append(payloads, silence)
                if stuck.cancelled_caught:
                    raise ModelGone(f"the model took no audio for {self._limits.silence:g} s")
                del waiting[: len(payloads) + (1 if silence else 0)]

    def _listen(self, events: list[CallerAudio | CallerSilence]) -> None:
        """With our own ear. While the agent is heard, what is loud may be its echo: telephones do not take it out."""
        now = trio.current_time()
        if now <= self._speech_until() + ECHO_TAIL:
            return
        for event in events:
            if isinstance(event, CallerAudio) and self._ear.listen(event.payload, now):
                self._handover.unnoticed_since(self._ear.unanswered_from or now)
                self._changed.set()

    async def _send_commands(self, session: ModelSession) -> None:
        while True:
            for command in self._known(self._commands(await self.inbox.receive())):
                if isinstance(command, Tell):
                    self._items.add(command.item)
                if isinstance(command, Tell) and command.item.startswith(PROMPT_PREFIX):
                    self._told[command.item] = command
                elif isinstance(command, Tell) and command.item.startswith(ONCE_PREFIX):
                    self._once.append((command.item, trio.current_time()))
                await session.send(command)

    def _known(self, commands: list[ModelCommand]) -> list[ModelCommand]:
        """Those that mean something to this session: of what another one knew it would only complain."""
        if not self._renewed:
            return commands
        kept: list[ModelCommand] = []
        for command in commands:
            if isinstance(command, Truncate | DropItem) and command.item not in self._items:
                continue
            if isinstance(command, CancelReply) and not self._desk.knows(command.reply):
                continue
            if isinstance(command, ToolResult) and command.call_id not in self._calls:
                told = ", ".join(f"{name}: {value}" for name, value in command.output.items())
                tool = self._tool_names.get(command.call_id, "a tool")
                kept.append(Tell(Role.OPERATOR, f"[The result of {tool}, which you asked for earlier: {told}]"))
                continue
            if isinstance(command, Extract):
                command = attrs.evolve(command, items=tuple(item for item in command.items if item in self._items))
                if not command.items:
                    continue
            kept.append(command)
        return kept

    def _commands(self, message: LinkMessage) -> list[ModelCommand]:
        """What `message` means on the wire."""
        if isinstance(message, Interrupted):
            return self._truncations(message)
        if isinstance(message, StopTalking):
            return [CancelReply(reply) for reply in self._desk.hush()]
        if isinstance(message, AnswerTools):
            if self._tools_out:
                self._tools_out, self._tools_back = False, trio.current_time()
            return [*message.results, *(self._ask() if message.then_reply else [])]
        if isinstance(message, AskReply):
            return self._ask()
        if isinstance(message, Guide):
            return self._guide(message.text)
        if isinstance(message, SetPatience):
            return self._retune(message.silence_ms)
        return [message]

    def _guide(self, text: str) -> list[ModelCommand]:
        """One item at the tail says where the conversation stands; the one before is taken away."""
        self._guided = text
        before = [DropItem(f"{GUIDE_PREFIX}{self._guides}")] if self._guides else []
        self._guides += 1
        return [*before, Tell(Role.OPERATOR, text, f"{GUIDE_PREFIX}{self._guides}")]

    def _retune(self, silence_ms: int) -> list[ModelCommand]:
        """Patience is no part of the prompt: changing it costs nothing."""
        turns = attrs.evolve(self._turns, silence_ms=silence_ms or self._config.turn_detection.silence_ms)
        if turns == self._turns:
            return []
        self._turns = turns
        self._turn_ends = turns.silence_ms / 1000
        self._ear.pause = self._turn_ends + PAUSE_MARGIN
        self._notebook.patience(turns.silence_ms)
        return [Retune(turns)]

    def _ask(self) -> list[ModelCommand]:
        now = trio.current_time()
        if not self._caller_waits and now > self._tools_back + SAME_BREATH:  # else the caller's wait goes on
            self._wait_begins()
        self._life, self._owed = now, False
        self._changed.set()
        return [AskReply()] if self._desk.wish() else []

    def _truncations(self, interrupted: Interrupted) -> list[ModelCommand]:
        """The model is told what was heard: the audible item is cut there, what never began is forgotten."""
        commands: list[ModelCommand] = []
        for cut in interrupted.cuts:
            told = self._told.pop(cut.item, None)
            if told is not None:  # a recorded prompt, told as text: tell it again, as far as it was heard
                commands.append(DropItem(told.item))
                if words := heard_words(told.text, cut.heard, cut.received, complete=True):
                    self._retold += 1
                    commands.append(Tell(told.role, words, f"{told.item}_h{self._retold}", told.first))
            elif cut.item.startswith(PROMPT_PREFIX):
                pass  # a prompt that the model was not told of
            elif cut.began:
                commands.append(Truncate(cut.item, cut.heard_ms))
            else:
                commands.append(DropItem(cut.item))
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
            self._ear.sign_of_life()
            self._handover.alive()
            self._probed_at = None
            self._life = trio.current_time()
            if isinstance(event, ReplyAudio):
                self._on_audio(event)
            elif isinstance(event, ReplyWords):
                if self._desk.wanted(event.reply) and event.reply not in self._broken_off:
                    self._handover.spoken(event.reply, event.item, words=event.text)
                    self._framer.post(event)
            elif isinstance(event, ItemEnded):
                self._framer.post(event)
            elif isinstance(event, ReplyEnded):
                self._on_ended(event, nursery)
            elif isinstance(event, ModelTrouble):
                self._on_trouble(event)
            else:
                self._on_turn(event)
            if self._desk.take_wish():
                self.inbox.post(AskReply())

    def _on_audio(self, event: ReplyAudio) -> None:
        self._desk.spoke(event.reply)
        if not self._desk.wanted(event.reply):
            return
        self._notebook.first_audio()
        self._words_unanswered = False
        self._mute = 0
        self._items.add(event.item)
        self._handover.spoken(event.reply, event.item, audio=len(event.audio))
        self._handover.turn_answered()
        self._wait_begins()
        if event.reply in self._broken_off:
            return
        before = self._spoken.get(event.reply, 0)
        room = round(self._limits.reply * BYTES_PER_MS * 1000) - before
        self._spoken[event.reply] = before + min(room, len(event.audio))
        self._heard_of = {
            event.item: self._heard_of.get(event.item, 0) + (len(event.audio) if len(event.audio) <= room else 0)
        }
        if len(event.audio) <= room:
            self._framer.post(event)
        else:
            self._cut_short(event, room)

    def _cut_short(self, event: ReplyAudio, room: int) -> None:
        """A reply that does not end: it is broken off, and the model is told how much of it was said."""
        self._notebook.trouble("reply", f"broken off after {self._limits.reply:g} s")
        said = self._heard_of.get(event.item, 0) + room
        if room:
            self._framer.post(attrs.evolve(event, audio=event.audio[:room]))
        self._framer.post(ItemEnded(event.reply, event.item, broken_off=True))
        self._broken_off.add(event.reply)
        self.inbox.post(CancelReply(event.reply))
        self.inbox.post(Truncate(event.item, said // BYTES_PER_MS) if said >= BYTES_PER_MS else DropItem(event.item))

    def _on_turn(self, event: ModelEvent) -> None:
        if isinstance(event, SpeechStarted):
            for reply in self._desk.speech_started():
                self.inbox.post(CancelReply(reply))
            self._items.add(event.item)
            self._handover.turn_began(event.item, trio.current_time())
            self._watcher.post(event)
            self._flow.post(CallerSpoke())
            self._notebook.caller_turn(event.item)
            self._notebook.say("caller_speaks", item=event.item)
        elif isinstance(event, SpeechStopped):
            self._desk.speech_stopped()
            self._words_unanswered = self._tools_out = False
            self._notebook.caller_stopped(event.item)
            self._flow.post(CallerDone(event.item))
            self._wait_begins()
        elif isinstance(event, TurnCommitted):
            self._notebook.caller_turn(event.item)
        elif isinstance(event, CallerWords):
            self._notebook.caller_words(event.item, event.text, event.final)
            if event.final and event.text.strip():
                self._flow.post(CallerSaid(event.item, event.text, event.confidence))
                self._words_unanswered = True
                self._handover.turn_written(event.item)
                if self._voiceless and not self._caller_waits:
                    self._answer_words()
        elif isinstance(event, Extracted):
            self._flow.post(event)
        elif isinstance(event, SessionAgreed) and event.agreed.turn_detection != self._turns:
            self._notebook.trouble("model", f"turns are detected otherwise than asked: {event.agreed.turn_detection}")
        elif isinstance(event, ReplyBegan):
            if not self._caller_waits:
                self._wait_begins()
            if not self._desk.began(event.reply):
                self.inbox.post(CancelReply(event.reply))
            # A reply that we did not ask for may have begun before it could know of what crossed it on the way.
            known = math.inf if self._desk.was_asked(event.reply) else trio.current_time() - CROSSING
            self._seen_by[event.reply] = [one for one in self._once if one[1] <= known]
            self._once = [one for one in self._once if one[1] > known]
            self._notebook.reply_began()
            self._changed.set()

    def _on_ended(self, event: ReplyEnded, nursery: trio.Nursery) -> None:
        self._handover.reply_over(event.reply)
        self._calls |= {call.call_id for call in event.calls}
        self._tool_names |= {call.call_id: call.name for call in event.calls}
        asked = self._desk.was_asked(event.reply)
        muted, spoke = self._desk.ended(event.reply, event.status)
        self._notebook.record.tokens += event.tokens
        if spoken := self._spoken.pop(event.reply, 0):
            self._notebook.reply_seconds(spoken / (BYTES_PER_MS * 1000))
        self._framer.post(event)
        seen = self._seen_by.pop(event.reply, [])
        if event.status is ReplyStatus.FAILED or not (spoke or event.status is ReplyStatus.CANCELLED):
            self._once = [*seen, *self._once]  # it is still to be said
        else:
            for item, _ in seen:
                self.inbox.post(DropItem(item))
        done = [call for call in event.calls if call.state is CallState.COMPLETED]
        ours = event.reply in self._broken_off
        self._broken_off.discard(event.reply)
        if muted or (event.status is ReplyStatus.CANCELLED and not ours):
            if not muted and spoke:  # the model gave the floor to the caller without saying so first
                self._watcher.post(FloorTaken(Floor.MODEL))
            for call in done:  # what was asked for in a sentence that was broken off is not done
                self.inbox.post(ToolResult(call.call_id, {"ok": False, "error": "not done: the caller interrupted"}))
        elif event.status is ReplyStatus.FAILED:
            self._notebook.trouble("reply", f"failed: {event.reason}")
            if event.gravity is not Gravity.RETRY or self._retries:
                self._owed = True
                raise ModelGone(f"a reply failed: {event.reason}", fatal=event.gravity is Gravity.FATAL)
            self._try_again(nursery, RETRY_SECONDS)
            return
        elif event.status is ReplyStatus.INCOMPLETE:
            self._notebook.trouble("reply", f"incomplete: {event.reason}")
            if not self._retries and not done:
                self._try_again(nursery, 0)
                return
        elif spoke or done or ours:
            self._retries = self._voiceless = 0
        else:
            self._voiceless += 1
            if asked or self._voiceless >= VOICELESS_AT_MOST or self._words_unanswered:
                self._notebook.trouble("reply", "there was no voice in it")
                if self._retries:
                    self._owed = True
                    raise ModelGone("replies without a voice")
                self._try_again(nursery, 0)
                return
        if done and not muted and event.status in {ReplyStatus.COMPLETED, ReplyStatus.INCOMPLETE}:
            self._tools_out = True
            self._flow.post(ToolsCalled(tuple(done), spoke))
        else:
            self._flow.post(ReplyOver(spoke and not muted))
        self._changed.set()

    def _answer_words(self) -> None:
        """The model kept silent, as on a noise, and then it turned out that there were words."""
        self._notebook.trouble("reply", "there was no voice in it, and the caller had said something")
        self._words_unanswered = False
        self.inbox.post(AskReply())

    def _try_again(self, nursery: trio.Nursery, pause: float) -> None:
        """Asks once more; until that reply is over, none is. The caller's wait goes on."""
        self._retries += 1
        self._owed = True
        self._changed.set()

        async def ask_later() -> None:
            await trio.sleep(pause)
            self.inbox.post(AskReply())

        nursery.start_soon(ask_later)

    def _on_trouble(self, trouble: ModelTrouble) -> None:
        self._notebook.trouble("model", f"{trouble.code}: {trouble.text}")
        if trouble.gravity in {Gravity.LOST, Gravity.FATAL}:
            raise ModelGone(f"{trouble.code}: {trouble.text}", fatal=trouble.gravity is Gravity.FATAL)
        if trouble.code == "conversation_already_has_active_response":
            self._desk.refused()

    # ------------------------------------------------------------ silence

    @property
    def _caller_waits(self) -> bool:
        """Whether the caller has reason to expect a voice."""
        return self._desk.waiting or self._tools_out or self._owed

    def _wait_begins(self) -> None:
        """Somebody speaks, or something was begun: from here the caller may wait."""
        self._waits_since = trio.current_time()
        self._fillers = 0
        self._changed.set()

    async def _watch_for_silence(self) -> None:
        """A caller who waits hears now and then that somebody is there, and not for ever.

        The ladder: a filler, another one, the loss of the session; and its loss at once if it gives no sign of life.
        """
        while True:
            self._changed = trio.Event()
            due = (self._filler_due(), self._insist_due(), self._loss_due(), self._sign_of_life_due(), self._roll_due())
            with trio.move_on_at(min(due)) as waiting:
                await self._changed.wait()
            if not waiting.cancelled_caught:
                continue  # something changed, and so may what is due
            now = trio.current_time()
            if now >= self._sign_of_life_due():
                if self._probed_at is not None:
                    self._owed = True
                    self._end_session(
                        f"the model gave no sign of life for {self._limits.silence:g} s after the caller spoke"
                    )
                    await self._changed.wait()
                    continue
                self._probed_at = now
                self.inbox.post(Probe())  # not a reply: that it keeps silent on a noise is its right
            elif now >= self._loss_due():
                self._end_session(f"the model was silent for {self._limits.silence:g} s when it should have spoken")
                await self._changed.wait()
            elif now >= self._roll_due():
                self._end_session("it is replaced before its time is over")
                await self._changed.wait()
            elif now >= self._insist_due():
                self._desk.insist()
                self._wait_begins()
                self.inbox.post(AskReply())
            elif now >= self._filler_due():
                if not self._fillers:
                    self._silent_since = self._quiet_since()
                self._fillers += 1
                self._waits_since = now
                self._flow.post(CallerWaits(self._fillers))

    def _sign_of_life_due(self) -> float:
        """The caller spoke, is silent, and nothing came from the model: half the time is waited for a word, half for the
        answer to a probe."""
        if not self._up:
            return math.inf
        if self._probed_at is not None:
            return self._probed_at + self._limits.silence / 2
        since = self._ear.unanswered_since
        return math.inf if since is None else since + self._turn_ends + self._limits.silence / 2

    def _quiet_since(self) -> float:
        """Since when, or from when on, the caller hears nothing."""
        return max(self._waits_since, self._speech_until())

    def _filler_due(self) -> float:
        """The caller hears nothing, and the silence must not last."""
        if self._probed_at is not None and not self._fillers:  # it took no notice of their words
            return self._probed_at + PROBE_PATIENCE
        if not self._caller_waits or self._desk.wish_blocked_by_caller or self._fillers >= FILLERS_AT_MOST:
            return math.inf
        return self._quiet_since() + self._limits.silence * FILLER_SHARE

    def _insist_due(self) -> float:
        """The caller does not stop speaking."""
        return self._waits_since + CALLER_TURN_AT_MOST if self._desk.wish_blocked_by_caller else math.inf

    def _loss_due(self) -> float:
        """The model's voice will not come any more."""
        if not self._up or not self._caller_waits or self._desk.wish_blocked_by_caller:
            return math.inf
        at_last = self._quiet_since() if self._fillers >= FILLERS_AT_MOST else math.inf
        # A filler is no sign of the model's life; while tools are carried out the model has nothing to say.
        silent = self._silent_since if self._fillers else self._quiet_since()
        lifeless = max(self._life, silent) if self._desk.waiting else math.inf
        return min(at_last, lifeless) + self._limits.silence

    def _roll_due(self) -> float:
        """A session does not last for ever: a quiet moment near its end is used to replace it."""
        if not self._up or self._expires == math.inf:
            return math.inf
        at_last = self._expires - ROLL_OVER_AT_LAST * self._lasts
        if self._caller_waits or self._desk.caller_speaks:
            return at_last
        return max(self._expires - ROLL_OVER_EARLY * self._lasts, min(self._speech_until(), at_last))


def disagreement(asked: SessionConfig, agreed: AgreedSession) -> str:
    """What of the agreed session differs from what was asked so that the call cannot go on; empty if nothing does."""
    if not agreed.mulaw_in or not agreed.mulaw_out:
        return "the audio is not µ-law both ways"
    if agreed.voice and agreed.voice != asked.voice:
        return f"the voice is {agreed.voice!r}, not {asked.voice!r}"
    got = agreed.turn_detection
    if got is None:
        return "there is no turn detection"
    if (got.create_response, got.interrupt_response) != (
        asked.turn_detection.create_response,
        asked.turn_detection.interrupt_response,
    ):
        return "turns are not detected as asked"
    return ""


def _leaves(group: BaseExceptionGroup[ModelGone]) -> list[ModelGone]:
    found: list[ModelGone] = []
    for error in group.exceptions:
        found.extend(_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    return found
