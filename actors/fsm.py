"""The dialogue as a machine: `step(state, event) -> (state, effects)`. Pure; the actor around it is in `flow.py`.

    TALKING ──end_call, transfer_to_human, key 0──▶ FAREWELL ──all heard──▶ LEFT
       ▲  │                                            │                      ▲
       │  └── link lost, moved away, hung up ──────────┼──────────────────────┘
       └────── the caller speaks or presses a key ─────┘

In FAREWELL what becomes of the caller is decided, and the last words are being said. A caller who interrupts them takes
the decision back.
"""

import enum
from collections.abc import Mapping
from typing import TypeAlias

import attrs

from actors.messages import (
    AgentQuiet,
    AnswerTools,
    CallBegan,
    CallerSpoke,
    Disposition,
    Floor,
    HungUp,
    Interrupted,
    KeyPressed,
    LinkLost,
    LinkUp,
    MoveAway,
    ReplyOver,
    TimerRang,
    ToolCall,
    ToolResult,
    ToolsCalled,
)
from actors.tools import BadArguments, EndCall, TransferToHuman, understand

FlowEvent: TypeAlias = (
    CallBegan
    | LinkUp
    | LinkLost
    | CallerSpoke
    | ToolsCalled
    | ReplyOver
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
DIGITS_AT_MOST = 64
FAREWELL_AT_MOST = 30.0
"""Seconds that last words may take; a goodbye is not a speech."""


@attrs.frozen
class Rules:
    """What the machine knows of the flow; times in seconds."""

    greeting: str
    greeting_seconds: float
    facts: Mapping[str, str]
    max_silence: float
    max_seconds: float


class Phase(enum.Enum):
    """Where the dialogue stands."""

    TALKING = "talking"
    FAREWELL = "farewell"
    LEFT = "left"


class Link(enum.Enum):
    """How things are with the model."""

    COMING = "coming"
    UP = "up"
    LOST = "lost"


@attrs.frozen
class State:
    """The state of one dialogue."""

    phase: Phase = Phase.TALKING
    link: Link = Link.COMING
    going: Disposition | None = None
    """What is to become of the caller, in FAREWELL."""
    why: str = ""
    last_words_asked: bool = False
    """Whether the model has been asked for last words and has not said them yet."""
    digits: str = ""
    """Keys pressed so far, not yet handed to the model."""
    reply_owed: bool = False
    """Whether the model is to be asked for a reply to keys as soon as the agent is quiet."""


# ---------------------------------------------------------------- effects


@attrs.frozen
class Say:
    """Play the recorded prompt `name`; `told`: the model is told that it was said."""

    name: str
    told: bool = True


@attrs.frozen
class Listen:
    """The agent stops talking, before anything else is said."""

    reason: Floor


@attrs.frozen
class ReportQuiet:
    """Let the machine know (`AgentQuiet`) when all that is being said has been heard."""


@attrs.frozen
class TellKeys:
    """The model is told which keys the caller pressed."""

    digits: str


@attrs.frozen
class AskModel:
    """The model is asked to speak."""


@attrs.frozen
class SetTimer:
    """Ring `name` after `seconds`, once; replaces an earlier setting."""

    name: str
    seconds: float


@attrs.frozen
class StopTimer:
    """Timer `name` is not to ring."""

    name: str


@attrs.frozen
class Leave:
    """Close the stream; `drain`: let the speech that is on its way be heard first."""

    disposition: Disposition
    reason: str
    drain: bool = False


Effect: TypeAlias = Say | Listen | ReportQuiet | TellKeys | AskModel | SetTimer | StopTimer | AnswerTools | Leave
Result: TypeAlias = tuple[State, tuple[Effect, ...]]


# ---------------------------------------------------------------- the machine


def step(state: State, event: FlowEvent, rules: Rules) -> Result:
    """What follows from `event` in `state`. After Leave nothing has any effect."""
    if state.phase is Phase.LEFT:
        return state, ()
    after, effects = _everywhere(state, event, rules)
    if after.phase is Phase.TALKING and after.link is Link.LOST:
        return _left(after, Leave(Disposition.IVR, f"the model was lost: {after.why}", drain=True))
    return after, effects


def _everywhere(state: State, event: FlowEvent, rules: Rules) -> Result:
    if isinstance(event, HungUp):
        # A lost stream is opened again if the caller is still there: only then does the carrier ask.
        return _left(state, Leave(Disposition.RESUME if event.lost else Disposition.HANG_UP, event.reason))
    if isinstance(event, MoveAway):
        return _left(state, Leave(Disposition.RESUME, "the server is going down", drain=True))
    if isinstance(event, CallBegan):
        return state, (
            Say("resume" if event.resumed else rules.greeting),
            SetTimer("link", rules.greeting_seconds + rules.max_silence),
            SetTimer("longest call", rules.max_seconds),
        )
    if isinstance(event, LinkUp):
        return attrs.evolve(state, link=Link.UP), (StopTimer("link"),)
    if isinstance(event, LinkLost):
        return _lost(state, event.reason)
    if isinstance(event, KeyPressed):
        return _key(state, event.digit)
    if isinstance(event, TimerRang):
        return _rang(state, event.name)
    if isinstance(event, ToolsCalled):
        return _tools(state, event, rules)
    if state.phase is Phase.FAREWELL:
        return _farewell(state, event)
    if isinstance(event, CallerSpoke):  # the model will answer that, and the keys with it
        return attrs.evolve(state, reply_owed=False), ()
    if isinstance(event, AgentQuiet) and state.reply_owed:
        return attrs.evolve(state, reply_owed=False), (AskModel(),)
    return state, ()


def _farewell(state: State, event: FlowEvent) -> Result:
    """The last words are being said, or asked for."""
    if isinstance(event, AgentQuiet) and not state.last_words_asked and state.going is not None:
        return _left(state, Leave(state.going, state.why))
    if isinstance(event, ReplyOver) and state.last_words_asked:
        said = attrs.evolve(state, last_words_asked=False)
        return said, ((ReportQuiet(),) if event.spoke else (*_own_words(state), ReportQuiet()))
    if isinstance(event, Interrupted) and event.reason in {Floor.SPEECH, Floor.MODEL}:
        return _stay(state)
    if isinstance(event, CallerSpoke) and state.last_words_asked:
        return _stay(state)
    return state, ()


def _lost(state: State, reason: str) -> Result:
    """There is no model. Last words can be said without it."""
    lost = attrs.evolve(state, link=Link.LOST)
    if state.phase is not Phase.FAREWELL:
        return attrs.evolve(lost, why=reason), ()
    words = _own_words(state) if state.last_words_asked else ()
    return attrs.evolve(lost, last_words_asked=False), (*words, ReportQuiet())


def _tools(state: State, event: ToolsCalled, rules: Rules) -> Result:
    """Every call of the reply gets its answer; the first that ends the conversation decides."""
    results: list[ToolResult] = []
    going: Disposition | None = None
    why = ""
    for call in event.calls:
        answer, leads_to, reason = _answer(call, event.spoke, rules)
        results.append(ToolResult(call.call_id, answer))
        if leads_to is not None and going is None:
            going, why = leads_to, reason
    if state.phase is Phase.FAREWELL:
        return _tools_at_farewell(state, event.spoke, tuple(results), going, why)
    if going is None:
        return state, (AnswerTools(tuple(results), then_reply=True),)
    leaving = attrs.evolve(state, phase=Phase.FAREWELL, going=going, why=why, last_words_asked=not event.spoke)
    answers, timer = AnswerTools(tuple(results), then_reply=not event.spoke), SetTimer("farewell", FAREWELL_AT_MOST)
    return leaving, (answers, timer, ReportQuiet()) if event.spoke else (answers, timer)


def _tools_at_farewell(
    state: State, spoke: bool, results: tuple[ToolResult, ...], going: Disposition | None, why: str
) -> Result:
    """It is decided already; a human who was promised stays promised."""
    if going is not None and state.going is not Disposition.DIAL:
        state = attrs.evolve(state, going=going, why=why)
    if not spoke and going is None and state.last_words_asked:
        return state, (AnswerTools(results, then_reply=True),)
    # It spoke, or it was asked for words and answered with the same wish again: then it finds none.
    words = () if spoke or not state.last_words_asked else _own_words(state)
    said = attrs.evolve(state, last_words_asked=False)
    return said, (AnswerTools(results, then_reply=False), *words, ReportQuiet())


def _answer(call: ToolCall, spoke: bool, rules: Rules) -> tuple[dict[str, object], Disposition | None, str]:
    """What the model is told, what becomes of the caller, and why."""
    try:
        request = understand(call, rules.facts)
    except BadArguments as error:
        return {"ok": False, "error": str(error)}, None, ""
    if isinstance(request, EndCall):
        answer: dict[str, object] = {"ok": True}
        if not spoke:
            answer["next"] = "Say goodbye in one short sentence. Call no tool."
        return answer, Disposition.HANG_UP, f"the agent ended the call: {request.reason}".rstrip(": ")
    if isinstance(request, TransferToHuman):
        answer = {"ok": True}
        if not spoke:
            answer["next"] = "Tell the caller in one short sentence that you are connecting them. Call no tool."
        return answer, Disposition.DIAL, f"the agent asked for a human: {request.reason}".rstrip(": ")
    return {"ok": True, "fact": rules.facts[request.topic]}, None, ""


def _key(state: State, digit: str) -> Result:
    if digit == HUMAN_KEY and not state.digits:
        if state.going is Disposition.DIAL:
            return state, ()
        return _go(state, Disposition.DIAL, "the caller pressed 0", Floor.KEY, "transfer")
    if digit == END_KEY and state.digits:
        return _digits_done(state)
    if len(state.digits) >= DIGITS_AT_MOST:
        return state, ()
    first = (Listen(Floor.KEY),) if not state.digits else ()
    staying, stopped = _stay(state)  # a key is a word too: who presses one goes on
    return attrs.evolve(staying, digits=state.digits + digit), (*stopped, *first, SetTimer("digits", DIGITS_PAUSE))


def _digits_done(state: State) -> Result:
    told = attrs.evolve(state, digits="", reply_owed=True)
    return told, (StopTimer("digits"), TellKeys(state.digits), ReportQuiet())


def _rang(state: State, name: str) -> Result:
    if name == "digits":
        return _digits_done(state)
    if name == "link":
        return _lost(state, "it could not be had in time")
    if name == "longest call":
        return _go(state, Disposition.HANG_UP, "the longest call", Floor.TIME, "goodbye")
    if name == "farewell" and state.going is not None:
        return _left(state, Leave(state.going, state.why))
    return state, ()


def _go(state: State, going: Disposition, why: str, floor: Floor, words: str) -> Result:
    """It is decided without the model: stop it, say the recorded words, and leave."""
    leaving = attrs.evolve(state, phase=Phase.FAREWELL, going=going, why=why, last_words_asked=False)
    return leaving, (Listen(floor), Say(words), SetTimer("farewell", FAREWELL_AT_MOST), ReportQuiet())


def _stay(state: State) -> Result:
    """The caller has more to say: nothing is decided any more."""
    staying = attrs.evolve(state, phase=Phase.TALKING, going=None, why="", last_words_asked=False)
    return staying, ((StopTimer("farewell"),) if state.phase is Phase.FAREWELL else ())


def _own_words(state: State) -> tuple[Effect, ...]:
    """The recorded last words, for when the model does not find its own."""
    return (Say("transfer" if state.going is Disposition.DIAL else "goodbye"),)


def _left(state: State, leave: Leave) -> Result:
    return attrs.evolve(state, phase=Phase.LEFT), (leave,)
