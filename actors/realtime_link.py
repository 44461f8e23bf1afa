"""RealtimeLink: the connection to the model over its whole life: connect, configure, speak, lose."""

import math
from collections.abc import Callable

import attrs
import trio

from actors.ear import Ear
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
CROSSING = 0.5
"""Seconds that an item may be on its way to the model."""
PAUSE_MARGIN = 0.3
"""Seconds past the model's own limit of a turn after which the caller's words count as over."""

PROMPT_PREFIX = "prompt_"
"""Items of recorded prompts begin so; the model's own never do."""

GUIDE_PREFIX = "guide_"
"""The item that says where the conversation stands begins so."""

ONCE_PREFIX = "once_"
"""Items that are meant for the next reply begin so; they are taken out of the conversation when it is over."""

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


class RealtimeLink:
    """Carries the caller's voice to the model and the model's speech, words and wishes to the call.

    Mailboxes in: `audio` (held back until there is a session; the oldest is dropped when it overflows), `inbox`
    (commands; wait for a session too). Out: `framer`, `flow`, `watcher`; the reader only posts, so it never waits for
    anyone and the socket is always drained. Ended by cancelling it; when the model cannot be had or is lost it tells the
    flow `LinkLost`, once, and is over.
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
        self._desk = ReplyDesk(config.turn_detection.create_response, config.turn_detection.interrupt_response)
        self._turns = config.turn_detection
        self._turn_ends = self._turns.silence_ms / 1000
        self._ear = Ear(self._turn_ends + PAUSE_MARGIN)
        self._probed_at: float | None = None
        self._told: dict[str, Tell] = {}
        self._retold = 0
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
        self._waits_since = -math.inf
        """When the caller's present wait for a voice began, or they last heard in it that somebody is there."""
        self._fillers = 0
        """How often that was in this wait."""
        self._silent_since = -math.inf
        """When the silence began in which they heard it first."""
        self._life = -math.inf
        """When the model last said anything, or was asked for something."""
        self._tools_out = False
        """Whether the model waits for the results of its tools, and the caller for both."""
        self._changed = trio.Event()
        self._up = False

    async def run(
        self,
        framer: Outbox[FramerInput],
        flow: Outbox[FlowInput],
        watcher: Outbox[WatcherInput],
        speech_until: Callable[[], float],
    ) -> None:
        """Until cancelled, or until `LinkLost` has been told. `speech_until`: when the speech received will be over."""
        self._framer, self._flow, self._watcher, self._speech_until = framer, flow, watcher, speech_until
        reason = "no model is configured"
        for endpoint in range(self._model.endpoints):
            try:
                await self._live(endpoint)
            except* ModelGone as gone:
                reason = "; ".join(str(e) for e in _leaves(gone))
            self._notebook.trouble("model", reason)
            if self._up:
                break
        for reply in self._desk.abandon():
            framer.post(ReplyEnded(reply, ReplyStatus.FAILED))  # nothing more will come; what there is may be heard
        flow.post(LinkLost(reason))

    # ------------------------------------------------------------ connect, configure

    async def _live(self, endpoint: int) -> None:
        """One connection from its opening to its end. Raises ModelGone, alone or in a group."""
        with trio.move_on_after(self._limits.connect) as opening:
            async with self._model.connect(endpoint) as session:
                opening.deadline = math.inf
                await self._configure(session)
                self._up = True
                self._flow.post(LinkUp())
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._send_audio, session)
                    nursery.start_soon(self._send_commands, session)
                    nursery.start_soon(self._watch_for_silence)
                    await self._read(session, nursery)
        raise ModelGone(f"no connection within {self._limits.connect:g} s")

    async def _configure(self, session: ModelSession) -> None:
        await self._answer(session, SessionCreated)
        await session.send(Configure(self._config))
        answer = await self._answer(session, SessionAgreed)
        assert isinstance(answer, SessionAgreed)
        if wrong := disagreement(self._config, answer.agreed):
            raise ModelGone(f"the session is not what was asked for: {wrong}", fatal=True)
        if answer.agreed.turn_detection != self._config.turn_detection:
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
                self._changed.set()

    async def _send_commands(self, session: ModelSession) -> None:
        while True:
            for command in self._commands(await self.inbox.receive()):
                if isinstance(command, Tell) and command.item.startswith(PROMPT_PREFIX):
                    self._told[command.item] = command
                elif isinstance(command, Tell) and command.item.startswith(ONCE_PREFIX):
                    self._once.append((command.item, trio.current_time()))
                await session.send(command)

    def _commands(self, message: LinkMessage) -> list[ModelCommand]:
        """What `message` means on the wire."""
        if isinstance(message, Interrupted):
            return self._truncations(message)
        if isinstance(message, StopTalking):
            return [CancelReply(reply) for reply in self._desk.hush()]
        if isinstance(message, AnswerTools):
            asked = self._ask() if message.then_reply else []  # the caller's wait goes on
            self._tools_out = False
            return [*message.results, *asked]
        if isinstance(message, AskReply):
            return self._ask()
        if isinstance(message, Guide):
            return self._guide(message.text)
        if isinstance(message, SetPatience):
            return self._retune(message.silence_ms)
        return [message]

    def _guide(self, text: str) -> list[ModelCommand]:
        """One item at the tail says where the conversation stands; the one before is taken away."""
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
        if not self._caller_waits:
            self._wait_begins()
        self._life = trio.current_time()
        self._changed.set()
        return [AskReply()] if self._desk.wish() else []

    def _truncations(self, interrupted: Interrupted) -> list[ModelCommand]:
        """The model is told what was heard: the audible item is cut there, what never began is forgotten."""
        commands: list[ModelCommand] = []
        for cut in interrupted.cuts:
            told = self._told.pop(cut.item, None)
            if told is not None:  # a recorded prompt, told as text: tell it again, as far as it was heard
                commands.append(DropItem(cut.item))
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
            self._probed_at = None
            self._life = trio.current_time()
            if isinstance(event, ReplyAudio):
                self._on_audio(event)
            elif isinstance(event, ReplyWords):
                if self._desk.wanted(event.reply) and event.reply not in self._broken_off:
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
        """Asks once more; until that reply is over, none is."""
        self._retries += 1
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
        return self._desk.waiting or self._tools_out

    def _wait_begins(self) -> None:
        """Somebody speaks, or something was begun: from here the caller may wait."""
        self._waits_since = trio.current_time()
        self._fillers = 0
        self._changed.set()

    async def _watch_for_silence(self) -> None:
        """A caller who waits hears now and then that somebody is there, and not for ever. Raises ModelGone.

        The ladder: a filler, another one, the loss of the link; and the loss at once if the model gives no sign of life.
        """
        while True:
            self._changed = trio.Event()
            due = (self._filler_due(), self._insist_due(), self._loss_due(), self._sign_of_life_due())
            with trio.move_on_at(min(due)):
                await self._changed.wait()
            now = trio.current_time()
            if now >= self._sign_of_life_due():
                if self._probed_at is not None:
                    raise ModelGone(
                        f"the model gave no sign of life for {self._limits.silence:g} s after the caller spoke"
                    )
                self._probed_at = now
                self.inbox.post(Probe())  # not a reply: that it keeps silent on a noise is its right
            elif now >= self._loss_due():
                raise ModelGone(f"the model was silent for {self._limits.silence:g} s when it should have spoken")
            elif now >= self._insist_due():
                self._desk.insist()
                self._wait_begins()
                self.inbox.post(AskReply())
            elif now >= self._filler_due():
                self._silent_since = self._silent_since if self._fillers else self._quiet_since()
                self._fillers += 1
                self._waits_since = now
                self._flow.post(CallerWaits(self._fillers))

    def _sign_of_life_due(self) -> float:
        """The caller spoke, is silent, and nothing came from the model: half the time is waited for a word, half for the
        answer to a probe."""
        if self._probed_at is not None:
            return self._probed_at + self._limits.silence / 2
        since = self._ear.unanswered_since
        return math.inf if since is None else since + self._turn_ends + self._limits.silence / 2

    def _quiet_since(self) -> float:
        """Since when, or from when on, the caller hears nothing."""
        return max(self._waits_since, self._speech_until())

    def _filler_due(self) -> float:
        """The caller hears nothing, and the silence must not last."""
        if not self._caller_waits or self._desk.wish_blocked_by_caller or self._fillers >= FILLERS_AT_MOST:
            return math.inf
        return self._quiet_since() + self._limits.silence * FILLER_SHARE

    def _insist_due(self) -> float:
        """The caller does not stop speaking."""
        return self._waits_since + CALLER_TURN_AT_MOST if self._desk.wish_blocked_by_caller else math.inf

    def _loss_due(self) -> float:
        """The model's voice will not come any more."""
        if not self._caller_waits or self._desk.wish_blocked_by_caller:
            return math.inf
        at_last = self._quiet_since() if self._fillers >= FILLERS_AT_MOST else math.inf
        # A filler is no sign of the model's life; while tools are carried out the model has nothing to say.
        silent = self._silent_since if self._fillers else self._quiet_since()
        lifeless = max(self._life, silent) if self._desk.waiting else math.inf
        return min(at_last, lifeless) + self._limits.silence


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
