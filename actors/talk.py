"""The talk with the model, over all the sessions of a call: what those know together who carry it on.

`realtime_link.py` goes from session to session, `caller_turns.py` is the caller's half of what is going on in one, and
`agent_replies.py` the model's. They meet here, in what each of them must know of the others.
"""

import math
import random
from collections import deque
from collections.abc import Callable, Sequence

import attrs
import trio

from actors.briefing import Briefing
from actors.caller_lane import frames
from actors.contested import ContestedTurns
from actors.ear import Ear
from actors.handover import Handover
from actors.mailbox import Mailbox, Outbox, WhenFull
from actors.messages import (
    AnswerTools,
    AskReply,
    AwaitRest,
    CallerDone,
    CallerSaid,
    CallerSpoke,
    CallerWaits,
    CallerWords,
    DropItem,
    Extracted,
    FloorTaken,
    Guide,
    Interrupted,
    ItemEnded,
    Judged,
    LinkLost,
    LinkUp,
    ModelCommand,
    ReplyAudio,
    ReplyEnded,
    ReplyOver,
    ReplyWords,
    Retune,
    Role,
    SessionConfig,
    SetModel,
    SetPatience,
    SpeechStarted,
    SpeechStopped,
    StopTalking,
    ToolsCalled,
)
from actors.model_lines import ModelLines
from actors.notebook import Notebook
from actors.ports import ModelPort
from actors.rehearing import Rehearing
from actors.reply_desk import ReplyDesk
from actors.turn_answer import TurnAnswer
from actors.waiting import CallerWait

COMMANDS = 64
"""Commands that may wait for a session: a few a turn. A full one means that the flow has gone mad."""
LOSSES_AT_MOST = 6
"""Losses that are remembered; see `realtime_link.LOSSES_WITHIN`."""
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


@attrs.frozen
class Surroundings:
    """Whom the link tells, and what it asks the rest of the call."""

    framer: Outbox[FramerInput]
    flow: Outbox[FlowInput]
    watcher: Outbox[WatcherInput]
    speech_until: Callable[[], float]
    """When the speech received will be over."""
    recall: Callable[[], Sequence[tuple[Role, str, str]]] = tuple
    """The turns that were heard, as (role, words, item)."""
    contested: Callable[[], bool] = lambda: False
    """Whether somebody else judges if a caller who begins to speak now takes the floor, and tells `Judged`."""
    suspected: Callable[[], float | None] = lambda: None
    """Since when the caller has spoken of whom that is being judged; None if nobody is."""
    echoing: Callable[[], bool] = lambda: False
    """Whether the line is known to echo."""


class Talk:
    """What is known of the session that is up, or was last, and of the call beyond it. Data, and what keeps it in order."""

    def __init__(
        self, model: ModelPort, config: SessionConfig, limits: LinkLimits, notebook: Notebook, around: Surroundings
    ) -> None:
        self.inbox: Mailbox[LinkMessage] = Mailbox("link", COMMANDS, WhenFull.FATAL)
        self.config = config
        self.limits = limits
        self.notebook = notebook
        self.around = around
        self.turns = config.turn_detection
        """How the model is to detect turns now: its patience changes."""
        self.briefing = Briefing()
        self.answer = TurnAnswer()
        self.losses: deque[float] = deque(maxlen=LOSSES_AT_MOST)
        self.mute = 0
        """Sessions lost since the model last spoke."""
        self.renewed = False
        """Whether another session was to hear what the one before did not, and nobody but our ear has heard the caller since."""
        self.unheard_since: float | None = None
        """When that ended."""
        self.go_on_at = math.inf
        """When the model is to go on with what it owes, if it hears no turn in what the session before left unheard."""
        self.desk, self.ear, self.over = self._new_desk(), self.new_ear(), self.new_ear()
        turn_ends = self.turns.silence_ms / 1000
        self.wait = CallerWait(limits.silence, turn_ends, self.desk, self.ear, self.over, around.speech_until)
        self.session_begins()
        self.rehearing = Rehearing(self.new_ear(sharp=False), self.new_ear())
        self.changed = trio.Event()
        """Set when something may be due sooner than was thought."""
        self.lines = ModelLines(
            model,
            limits.connect,
            limits.session,
            standby=limits.standby,
            set_up=lambda: attrs.evolve(config, turn_detection=self.turns),
            jitter=self.jitter,
            trouble=lambda text: notebook.trouble("model", text),
            changed=self.look_again,
        )

    def session_begins(self) -> None:
        """Of another session nothing is known yet."""
        self.desk, self.ear, self.over = self._new_desk(), self.new_ear(), self.new_ear()
        if self.renewed:  # what two sessions have not heard may be a noise
            self.ear.vouch()
        self.wait.session_begins(self.desk, self.ear, self.over)
        self.handover = Handover(frames(self.limits.hold_back))
        self.contested = ContestedTurns()
        self.briefing.session_begins()

    def _new_desk(self) -> ReplyDesk:
        turns = self.config.turn_detection
        return ReplyDesk(turns.create_response, turns.interrupt_response)

    def new_ear(self, *, sharp: bool = True) -> Ear:
        """See `Ear`; it is as patient as the model is now."""
        return Ear(self.turns.silence_ms / 1000 + PAUSE_MARGIN, sharp)

    def look_again(self) -> None:
        """Something changed, and so may what is due."""
        self.changed.set()

    def jitter(self, tried: int) -> float:
        """Another factor for each call, and each try of it; the same one again when the call is replayed."""
        return 0.5 + random.Random(f"{self.notebook.record.stream_sid} {len(self.losses)} {tried}").random()

    def retune(self, silence_ms: int) -> list[ModelCommand]:
        """So long is the silence that ends a turn from now on; 0: as usual. It is no part of the prompt, and costs nothing."""
        turns = attrs.evolve(self.turns, silence_ms=silence_ms or self.config.turn_detection.silence_ms)
        if turns == self.turns:
            return []
        self.turns = turns
        self.wait.turn_ends = turns.silence_ms / 1000
        self.ear.pause = self.over.pause = turns.silence_ms / 1000 + PAUSE_MARGIN
        self.notebook.patience(turns.silence_ms)
        return [Retune(turns)]

    def ask(self, *, turn: bool = False) -> list[ModelCommand]:
        """A reply is wanted, to the caller's `turn` or not; what the model is told for it now, if it may be asked at once."""
        self.answer.asked()
        self.wait.asked(trio.current_time())
        self.look_again()
        if not self.desk.wish(turn=turn):
            return []
        return [*(DropItem(item) for item in self.contested.forget()), AskReply()]

    def note_told(self, commands: Sequence[ModelCommand]) -> None:
        """Should the session be lost before it answers, the next one is told again."""
        for tell in self.briefing.again(commands):
            self.handover.told(tell, trio.current_time())
