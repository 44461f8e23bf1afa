"""The vocabulary of a call: every message that crosses from one actor to another, or through a port.

Audio is 8 kHz µ-law: one byte a sample, 8 bytes a millisecond. A `payload` is audio in the text form that both wires
share; it is passed on as it came. Times (`at`) are Trio's clock, in seconds.
"""

import enum
import hashlib
from collections.abc import Mapping
from typing import TypeAlias

import attrs

from actors.mulaw import BYTES_PER_MS as BYTES_PER_MS
from actors.mulaw import from_base64
from conf.flow import PythonTool

# ---------------------------------------------------------------- the carrier, inbound


@attrs.define
class CallerAudio:
    """One frame of the caller's voice, as it came: `payload`, beginning `timestamp_ms` into the stream. Not frozen, which would
    triple the cost of making one; to be treated so."""

    payload: str
    timestamp_ms: int
    _audio: bytes | None = attrs.field(default=None, eq=False, repr=False)

    @property
    def audio(self) -> bytes:
        """Its µ-law bytes; looked at by many, decoded once. Raises binascii.Error for what is no payload."""
        if self._audio is None:
            self._audio = from_base64(self.payload)
        return self._audio

    def shrink(self) -> None:
        """For those who keep many: what was decoded is forgotten until somebody looks again."""
        self._audio = None


@attrs.frozen
class CallerSilence:
    """`ms` of silence in the place of audio that never came."""

    ms: int


@attrs.frozen
class KeyPressed:
    """A key of the caller's telephone: 0-9, *, #, A-D."""

    digit: str


@attrs.frozen
class MarkEchoed:
    """The carrier has come to mark `name`; read from the socket at `at`."""

    name: str
    at: float


@attrs.frozen
class StreamStopped:
    """The carrier says that the stream is over: the caller hung up, or the call was moved."""


CarrierEvent: TypeAlias = CallerAudio | KeyPressed | MarkEchoed | StreamStopped

# ---------------------------------------------------------------- the carrier, outbound


@attrs.frozen
class Frame:
    """Audio of `item` to be played next, in µ-law bytes."""

    item: str
    audio: bytes


@attrs.frozen
class Mark:
    """A position in the carrier's queue, numbered in order; its echo tells that playback has reached it."""

    number: int


@attrs.frozen
class Clear:
    """Drop all that is queued for playback, now."""


# ---------------------------------------------------------------- the model, what it is asked to be


@attrs.frozen
class TurnDetection:
    """How the model decides that the caller's turn began and ended; times in ms."""

    threshold: float
    prefix_ms: int
    silence_ms: int
    create_response: bool = True
    interrupt_response: bool = True


@attrs.frozen
class ToolSpec:
    """A tool as the model is told of it; `parameters` is a JSON Schema."""

    name: str
    description: str
    parameters: Mapping[str, object]


@attrs.frozen
class SessionConfig:
    """The session that the model is asked for. Audio is µ-law both ways, always."""

    voice: str
    instructions: str
    tools: tuple[ToolSpec, ...]
    turn_detection: TurnDetection
    transcription: str
    language: str
    reasoning: str
    max_output_tokens: int


@attrs.frozen
class AgreedSession:
    """What the model says the session is: compared with what was asked before any audio flows."""

    mulaw_in: bool
    mulaw_out: bool
    voice: str
    turn_detection: TurnDetection | None


# ---------------------------------------------------------------- the model, inbound


@attrs.frozen
class SessionCreated:
    """The model is there; it is gone after `expires_in` seconds (None: not said)."""

    session_id: str
    expires_in: float | None = None


@attrs.frozen
class SessionAgreed:
    """The session was set up as `agreed`."""

    agreed: AgreedSession


@attrs.frozen
class SpeechStarted:
    """The model hears the caller begin to speak; `item` is the caller's turn to come."""

    item: str


@attrs.frozen
class SpeechStopped:
    """The model holds the caller's turn `item` for finished."""

    item: str


@attrs.frozen
class TurnCommitted:
    """The caller's turn `item` is part of the conversation."""

    item: str


@attrs.frozen
class CallerWords:
    """The caller's turn `item` written down: a piece as it is understood, or (`final`) the whole text.

    `confidence`: the mean probability of its words in the transcriber's own account, 0 to 1; None if it gives none.
    """

    item: str
    text: str
    final: bool
    confidence: float | None = None


@attrs.frozen
class ReplyBegan:
    """The model began reply `reply`."""

    reply: str


@attrs.frozen
class ReplyAudio:
    """The next audio of `item` in `reply`, µ-law bytes."""

    reply: str
    item: str
    audio: bytes


@attrs.frozen
class ReplyWords:
    """The next words of `item` in `reply`; they run ahead of its audio."""

    reply: str
    item: str
    text: str


@attrs.frozen
class ItemEnded:
    """No more audio of `item` will come; `broken_off`: it had more to say, and its words may have run ahead."""

    reply: str
    item: str
    broken_off: bool = False


class CallState(enum.Enum):
    """What became of a tool call in the model's own account."""

    COMPLETED = "completed"
    INCOMPLETE = "incomplete"


@attrs.frozen
class ToolCall:
    """The model asks for tool `name`. `arguments` is None when they were no JSON object; `problem` says why."""

    call_id: str
    name: str
    arguments: Mapping[str, object] | None
    problem: str = ""
    state: CallState = CallState.COMPLETED


class ReplyStatus(enum.Enum):
    """How a reply ended in the model's own account."""

    COMPLETED = "completed"
    CANCELLED = "cancelled"
    INCOMPLETE = "incomplete"
    FAILED = "failed"


class Gravity(enum.Enum):
    """What trouble with the model means for the session."""

    BENIGN = "benign"
    """Log it and go on."""
    RETRY = "retry"
    """The same may work a moment later."""
    BUSY = "busy"
    """The same may work in some seconds; in another session at the same place no sooner."""
    LOST = "lost"
    """This session is over; another may work."""
    FATAL = "fatal"
    """No session will work until an operator acts: key, quota, model name."""


@attrs.frozen
class ReplyEnded:
    """Reply `reply` is generated to its end (not: heard)."""

    reply: str
    status: ReplyStatus
    calls: tuple[ToolCall, ...] = ()
    reason: str = ""
    gravity: Gravity = Gravity.BENIGN
    tokens: int = 0
    again_in: float = 0.0
    """Seconds after which one that is too busy says that it may be asked again; 0: it does not say."""


@attrs.frozen
class ModelTrouble:
    """The model complains. `ref` is the reference of the command it complains about, if it says so; `no_reply`: that was what
    last asked for a reply."""

    code: str
    text: str
    gravity: Gravity
    ref: str = ""
    no_reply: bool = False
    again_in: float = 0.0
    """See `ReplyEnded`."""


@attrs.frozen
class Extracted:
    """The answer to `Extract`: a JSON object, or None, and `problem` says why."""

    purpose: str
    values: Mapping[str, object] | None
    problem: str = ""


ModelEvent: TypeAlias = (
    SessionCreated
    | SessionAgreed
    | SpeechStarted
    | SpeechStopped
    | TurnCommitted
    | CallerWords
    | ReplyBegan
    | ReplyAudio
    | ReplyWords
    | ItemEnded
    | ToolCall
    | ReplyEnded
    | Extracted
    | ModelTrouble
)

# ---------------------------------------------------------------- the model, outbound


@attrs.frozen
class Configure:
    """Set the session up; answered by `SessionAgreed` or `ModelTrouble`."""

    config: SessionConfig


class Role(enum.Enum):
    """Who said something that the model is told as text."""

    CALLER = "caller"
    AGENT = "agent"
    OPERATOR = "operator"


@attrs.frozen
class Tell:
    """Put `text` into the conversation. `item` names it; `first` puts it before everything else, `after` behind that item."""

    role: Role
    text: str
    item: str = ""
    first: bool = False
    after: str = ""


@attrs.frozen
class AskReply:
    """Ask for a reply now."""


@attrs.frozen
class CancelReply:
    """Stop generating `reply`."""

    reply: str


@attrs.frozen
class Truncate:
    """The caller heard only the first `heard_ms` of `item`."""

    item: str
    heard_ms: int


@attrs.frozen
class DropItem:
    """The caller heard nothing of `item`: forget it."""

    item: str


@attrs.frozen
class ToolResult:
    """The answer to tool call `call_id`; `output` becomes the text that the model reads."""

    call_id: str
    output: Mapping[str, object]


@attrs.frozen
class Probe:
    """Changes nothing, and is always answered: whether the model is still there."""


@attrs.frozen
class CommitTurn:
    """What the caller has said is a turn, though the model did not detect one; answered by `TurnCommitted`, or a trouble."""


@attrs.frozen
class Retune:
    """From now on the caller's turns are to be detected so."""

    turn_detection: TurnDetection


@attrs.frozen
class Extract:
    """Ask the model, apart from the conversation and in text, for a JSON object; answered by `Extracted`.

    `items`: the caller's turns that it is to look at; `instructions`: what it is to find, and in which form.
    """

    purpose: str
    instructions: str
    items: tuple[str, ...]


ModelCommand: TypeAlias = (
    Configure | Probe | Tell | AskReply | CommitTurn | CancelReply | Truncate | DropItem | ToolResult | Retune | Extract
)

# ---------------------------------------------------------------- between the actors


class FloorRule(enum.Enum):
    """How an utterance gives way to a caller who speaks."""

    OPEN = "open"
    """At once."""
    FINISH = "finish"
    """At the end of its sentence."""
    PROTECTED = "protected"
    """Not at all: what the caller says or types is kept for the next turn."""


@attrs.frozen
class Play:
    """Play a recorded prompt: `item` names this playing of it, `words` is what it says."""

    item: str
    words: str
    audio: bytes
    floor: FloorRule = FloorRule.OPEN


@attrs.frozen
class TellWhenQuiet:
    """Report `AgentQuiet` once everything queued before this has been heard."""


@attrs.frozen
class Cut:
    """What an interruption did to one item of the agent's speech, in µ-law bytes; `began` is False if none was heard."""

    item: str
    heard: int
    received: int

    @property
    def heard_ms(self) -> int:
        """Whole milliseconds heard."""
        return self.heard // BYTES_PER_MS

    @property
    def began(self) -> bool:
        """Whether the caller heard as much as a millisecond of it."""
        return self.heard_ms > 0


@attrs.frozen
class Cleared:
    """The clear is on the wire: per item, the bytes sent and the bytes heard by then; `bound_ms` is the error bound."""

    at: float
    heard: tuple[tuple[str, int, int], ...]
    bound_ms: int


class Floor(enum.Enum):
    """Why the agent is to stop talking."""

    SPEECH = "the caller began to speak"
    KEY = "a key was pressed"
    MODEL = "the model broke its reply off"
    TIME = "the call has lasted too long"
    FLOW = "the flow goes on without waiting"
    WAIT = "the caller asked to wait"
    REST = "the caller has more to dictate"
    END = "the stream is over"


@attrs.frozen
class Interrupted:
    """The caller took the floor: what was cut, in order of playing."""

    at: float
    reason: Floor
    cuts: tuple[Cut, ...]
    bound_ms: int


@attrs.frozen
class SetFloor:
    """The rule for what the model says from here on."""

    rule: FloorRule


@attrs.frozen
class Judged:
    """Whether the caller, who was heard while the agent spoke, took the floor.

    `words`: what is known of what they said; `heard_from`: since when we heard them, or what was no caller, ourselves; None if
    we did not.
    """

    taken: bool
    words: str = ""
    heard_from: float | None = None
    cancels: bool = True
    """Whether the replies that are being made are not wanted any more."""
    unwritten: bool = False
    """Whether it was a turn that had been held for a noise, and of which no words came."""


@attrs.frozen
class FloorTaken:
    """The agent is to stop talking. `words`: what the caller said, of whom it is to be told that they took the floor."""

    reason: Floor
    words: str = ""


@attrs.frozen
class StopTalking:
    """The reply being generated is not wanted any more.

    `until_words`: the caller asked to wait, so what they are heard to do besides, a cough or music, is not answered either.
    """

    until_words: bool = False


@attrs.frozen
class AwaitRest:
    """The caller fell silent in the middle of what they dictate: the answer is put off, if it has hardly begun."""


@attrs.frozen
class AgentQuiet:
    """The agent's speech has been heard to its end."""


@attrs.frozen
class LinkUp:
    """The model is ready to talk."""


@attrs.frozen
class LinkLost:
    """There is no model session any more."""

    reason: str


@attrs.frozen
class ToolsCalled:
    """One reply's tool calls, all of them; `spoke` tells whether the reply had speech too."""

    calls: tuple[ToolCall, ...]
    spoke: bool


@attrs.frozen
class ReplyOver:
    """A reply was generated to its end; `spoke` tells whether it had speech."""

    spoke: bool


@attrs.frozen
class CallerWaits:
    """The caller waits for a voice that is due and does not come; `times`: how often that is told in this wait.

    `doubtful`: it is not known whether there is a model that could answer.
    """

    times: int
    doubtful: bool = False


@attrs.frozen
class CallerSpoke:
    """The caller began to speak. `again`: it is the turn that was told of last, and another session hears it once more."""

    again: bool = False


@attrs.frozen
class CallerDone:
    """The caller's turn is over; `item` names it."""

    item: str


@attrs.frozen
class CallerSaid:
    """What the caller said in turn `item`, written down; see `CallerWords`."""

    item: str
    text: str
    confidence: float | None = None


@attrs.frozen
class Guide:
    """The system message at the tail of the conversation is to say `text` from now on, in the place of the one before."""

    text: str


@attrs.frozen
class SetPatience:
    """The silence that ends the caller's turn, ms; 0: as the session was set up."""

    silence_ms: int


@attrs.frozen
class SetModel:
    """The name of the model that is wanted from here on; empty: the one of the settings."""

    name: str


@attrs.frozen
class SendText:
    """A text message to `to` (E.164). `key` tells it from all other errands of the call; it is sent at most once."""

    key: str
    name: str
    to: str
    text: str
    claim: str = attrs.field(default="", eq=False)
    """Under which it is claimed, if not under its key: the same when the call goes on elsewhere, and a model that knows nothing
    of it asks for it once more, as the answer to what the caller said last."""


@attrs.frozen
class RunPython:
    """A tool of the flow that is written in Python, with its arguments by name."""

    key: str
    name: str
    tool: PythonTool
    arguments: Mapping[str, object]

    def claim(self, number: int) -> str:
        """Under which try `number` of a tool with an effect is claimed: the same whenever it is asked for with the same
        arguments, of which nothing is told before the #."""
        told = repr(sorted(self.arguments.items())).encode()
        return f"once.{self.tool.name}.{number}#{hashlib.sha256(told).hexdigest()[:16]}"


Errand: TypeAlias = SendText | RunPython


@attrs.frozen
class ErrandDone:
    """What came of an errand: done, failed, opted_out, or unknown (it may or may not have been carried out)."""

    key: str
    name: str
    outcome: str
    detail: Mapping[str, object] = attrs.field(factory=dict[str, object])


@attrs.frozen
class HungUp:
    """The carrier's side of the stream is over. `lost`: without a word, so the caller may still be on the line."""

    reason: str
    lost: bool = False


@attrs.frozen
class TimerRang:
    """The flow's own timer `name` ran out."""

    name: str
    setting: int
    """Which setting of the timer it was: one that was set anew or cancelled meanwhile rings no more."""


class Before(enum.Enum):
    """What was before this stream."""

    NOTHING = "nothing"
    CUT_OFF = "cut off"
    """The same call, on a stream that was lost or moved."""
    CALLED_BACK = "called back"
    """An earlier call of the same caller, which ended in the middle."""
    NOT_TAKEN = "not taken"
    """The same call, which no human took."""


@attrs.frozen
class CallBegan:
    """The stream is open. `caller`: the caller's number (E.164), empty if it is not known; `story`: what was before, as
    plain data (see `actors/story.py`), None if nothing is known of it; `outcome`: of the transfer that brought them back.
    """

    before: Before = Before.NOTHING
    caller: str = ""
    story: Mapping[str, object] | None = None
    outcome: str = ""


@attrs.frozen
class MoveAway:
    """The server is going down: the call is to go on elsewhere."""


@attrs.frozen
class AnswerTools:
    """All the results of one reply's tool calls, and whether the model is to speak then."""

    results: tuple[ToolResult, ...]
    then_reply: bool


class Disposition(enum.Enum):
    """What is to become of the caller when the stream is closed; answered by `/twilio/after`."""

    HANG_UP = "hang_up"
    DIAL = "dial"
    DIAL_WARM = "dial_warm"
    """As DIAL, but the human is told first, and may refuse."""
    IVR = "ivr"
    VOICEMAIL = "voicemail"
    RESUME = "resume"
