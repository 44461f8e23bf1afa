"""The state of one call, what may happen to it, and what it may want done: the words of the machine in `fsm.py`. Data only."""

import enum
from collections.abc import Mapping
from typing import TypeAlias

import attrs

from actors.dialogue import Dialogue
from actors.messages import (
    AgentQuiet,
    AnswerTools,
    AwaitRest,
    CallBegan,
    CallerDone,
    CallerSaid,
    CallerSpoke,
    CallerWaits,
    Disposition,
    Errand,
    ErrandDone,
    Extract,
    Extracted,
    Floor,
    FloorRule,
    Guide,
    HungUp,
    Interrupted,
    KeyPressed,
    LinkLost,
    LinkUp,
    MoveAway,
    ReplyOver,
    SendText,
    SetFloor,
    SetModel,
    SetPatience,
    TimerRang,
    ToolsCalled,
)
from actors.story import Said
from conf.flow import Flow

FlowEvent: TypeAlias = (
    CallBegan
    | LinkUp
    | LinkLost
    | CallerWaits
    | CallerSpoke
    | CallerDone
    | CallerSaid
    | ToolsCalled
    | ReplyOver
    | Extracted
    | ErrandDone
    | Interrupted
    | AgentQuiet
    | KeyPressed
    | HungUp
    | TimerRang
    | MoveAway
)

HUMAN_KEY = "0"
END_KEY = "#"
DIGITS_PAUSE = 2.0
"""Seconds after the last key until the keys pressed so far are handed to the model."""
DICTATED_AT_MOST = 200
"""Characters of an unfinished value: an address, spelled."""
DIGITS_AT_MOST = 64
FAREWELL_AT_MOST = 30.0
"""Seconds that last words may take, unless they are recorded ones that last longer; a goodbye is not a speech."""
MOVE_AT_MOST = 10.0
"""Seconds of what the agent is saying that are still heard when the call goes to another server."""
ERRAND_PATIENCE = 6.0
"""Seconds that the model waits for a tool before it is told that it takes longer; the caller hears a filler meanwhile."""
LATE = "late"
"""The timer of a caller who was told that something takes longer, and hears nothing since."""
ONE_MOMENT, STILL_HERE, APOLOGY = "one_moment", "still_here", "apology"
"""Recorded prompts for a caller who waits: the first time, after that, and after that if it may be in vain."""
BAD_CALLS_AT_MOST = 3
"""Replies in a row with tool calls of which none could be used; then the keypad takes over."""
ROUNDS_AT_MOST = 8
"""Replies with tool calls to one turn of the caller; a model that asks for more goes round in a circle."""
TEXTS_AT_MOST = 2
"""Text messages of the model's in one turn of the caller: the one they asked for, and one more try."""
TEXTS_A_CALL = 10
"""Text messages of the model's in one call: a caller needs a few, each is paid for, and who asks on and on may mean harm."""
ASKED_TO_WAIT = (
    "[The caller asked you to wait, so you kept quiet. When they speak again, go on where you were, "
    "without a word about the wait.]"
)
"""What the model is told of a caller who asked to wait."""
DUE_AT_MOST = 64
"""Effects of one step: more of them is a flow that goes round in a circle."""
EXTRACT_TRIES = 2
"""Times the model is asked apart for one turn's details."""
EXTRACT = "details"


@attrs.frozen
class Rules:
    """What the machine knows of the server and the flow; times in seconds."""

    flow: Flow
    greeting_seconds: float
    max_silence: float
    max_seconds: float
    human: bool = True
    """Whether there is a human to transfer to."""
    warm: bool = False
    """Whether that human is told first, when the flow does not say."""

    def transfer(self, how: str = "") -> Disposition:
        """What a transfer means here."""
        if not self.human:
            return Disposition.VOICEMAIL
        return Disposition.DIAL_WARM if (how == "warm" or (not how and self.warm)) else Disposition.DIAL


class Phase(enum.Enum):
    """Where the call stands."""

    TALKING = "talking"
    FAREWELL = "farewell"
    LEFT = "left"


class Link(enum.Enum):
    """How things are with the model."""

    COMING = "coming"
    UP = "up"
    LOST = "lost"


Results: TypeAlias = tuple[tuple[str, Mapping[str, object] | None], ...]
"""Call ids in the order of the calls, with their results; None for one that is still being carried out."""


@attrs.frozen
class Batch:
    """One reply's tool calls while some of them are still being carried out."""

    results: Results
    waiting: Mapping[str, int]
    """Errand keys, and which result each gives."""


@attrs.frozen
class State:
    """The state of one call."""

    dialogue: Dialogue
    phase: Phase = Phase.TALKING
    link: Link = Link.COMING
    caller: str = ""
    going: Disposition | None = None
    """What is to become of the caller, in FAREWELL."""
    why: str = ""
    last_words_asked: bool = False
    """Whether the model has been asked for last words and has not said them yet."""
    digits: str = ""
    """Keys pressed so far, not yet handed to the model."""
    moving: bool = False
    """Whether the call goes to another server as soon as the agent is quiet."""
    reply_owed: bool = False
    """Whether the model is to be asked for a reply as soon as the agent is quiet."""
    batches: Mapping[int, Batch] = attrs.field(factory=dict[int, Batch])
    batch: int = 0
    late: frozenset[str] = frozenset()
    """Errands whose outcome the model did not wait for."""
    bad_calls: int = 0
    rounds: tuple[int, int] = (0, 0)
    """A turn of the caller's, and how many replies with tool calls there were to it."""
    texts: tuple[int, tuple[SendText, ...]] = (0, ())
    """A turn of the caller's, and the text messages that the model sent in it."""
    texts_sent: int = 0
    """The model's text messages in this call."""
    reply_floor: str = ""
    """How the reply that an effect asked for is to give way, until it is said; empty: as all else here."""
    guided: str = ""
    """The guidance that the model was given last."""
    items: tuple[str, ...] = ()
    """The caller's last turns, as the model names them."""
    speaking: bool = False
    """Whether the caller has begun a turn that is not over."""
    done_turn: int = 0
    """The last turn that the caller spoke to its end."""
    held_turn: int = 0
    """The turn in which the caller asked to wait, until they say something else; 0: they did not."""
    dictated: str = ""
    """What the caller has dictated so far of a value, if they broke off in the middle of it."""
    dictated_turn: int = 0
    """The turn in which they did so last."""
    said_before: str = ""
    """What they said last before that: the name that they are asked to spell."""
    unsaved: tuple[str, ...] = ()
    """Slots that the caller's words seem to hold and nobody has saved."""
    replied_turn: int = 0
    answered_turn: int = 0
    """The last turn to which the model said all it had to say, and not only called tools."""
    saved_turn: int = 0
    extract_tries: int = 0
    extract_turn: int = 0
    """The turn that the model was asked about last."""
    extract_slots: tuple[str, ...] = ()
    """What it was asked for then."""

    @property
    def kept_waiting(self) -> bool:
        """Whether the caller asked to wait, and has done nothing since."""
        return bool(self.held_turn) and self.held_turn == self.dialogue.turn

    @property
    def in_exchange(self) -> bool:
        """Whether the caller is saying or typing something, or has and was not answered yet."""
        unanswered = self.answered_turn != self.dialogue.turn and not self.kept_waiting
        return unanswered or self.reply_owed or bool(self.digits)


def initial(flow: Flow) -> State:
    """Before the call begins."""
    return State(Dialogue(flow.start))


# ---------------------------------------------------------------- effects


@attrs.frozen
class Say:
    """Play the recorded prompt `name`; the model is told that it was said, before all else if it is `first`."""

    name: str
    told: bool = True
    first: bool = False
    floor: FloorRule = FloorRule.OPEN


@attrs.frozen
class Listen:
    """The agent stops talking, before anything else is said."""

    reason: Floor


@attrs.frozen
class ReportQuiet:
    """Let the machine know (`AgentQuiet`) when all that is being said has been heard."""


@attrs.frozen
class TellKeys:
    """The model is told which keys the caller pressed, and what they mean if that is known."""

    digits: str
    meaning: str = ""


@attrs.frozen
class TellModel:
    """The model is told something that the caller does not hear; `once`: for its next reply, and forgotten then."""

    text: str
    once: bool = False


@attrs.frozen
class Recall:
    """The model is told what was said before, on another stream."""

    said: tuple[Said, ...]


@attrs.frozen
class AskModel:
    """The model is asked to speak."""


@attrs.frozen
class SetTimer:
    """Ring `name` after `seconds`, once; replaces an earlier setting. `quiet`: not counting while the agent is heard;
    `prompts`: not before a recorded prompt that was said last can have been heard to its end."""

    name: str
    seconds: float
    quiet: bool = False
    prompts: bool = False


@attrs.frozen
class StopTimer:
    """Timer `name` is not to ring."""

    name: str


@attrs.frozen
class Note:
    """Something that should not happen, for the record."""

    text: str


@attrs.frozen
class Leave:
    """Close the stream; `drain`: let the speech that is on its way be heard first."""

    disposition: Disposition
    reason: str
    drain: bool = False


Effect: TypeAlias = (
    Say
    | Listen
    | ReportQuiet
    | TellKeys
    | TellModel
    | Recall
    | AskModel
    | SetTimer
    | StopTimer
    | AnswerTools
    | Guide
    | SetFloor
    | SetModel
    | SetPatience
    | Extract
    | AwaitRest
    | Errand
    | Note
    | Leave
)
Result: TypeAlias = tuple[State, tuple[Effect, ...]]
