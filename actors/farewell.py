"""The last words: how a conversation is ended, by whomever, and how a caller who has more to say takes that back. Pure.

Last words are the model's if it can be asked for them, and recorded ones if it cannot, or finds none.
"""

import attrs

from actors.call_state import (
    FAREWELL_AT_MOST,
    MOVE_AT_MOST,
    Effect,
    FlowEvent,
    Leave,
    Link,
    Listen,
    Phase,
    ReportQuiet,
    Result,
    Say,
    SetTimer,
    State,
    StopTimer,
    TellModel,
)
from actors.messages import (
    AgentQuiet,
    AnswerTools,
    CallerDone,
    CallerSpoke,
    Disposition,
    Floor,
    Interrupted,
    ReplyOver,
)

MOVING = "moving"
"""The timer of a call that goes to another server."""

LAST_WORDS = {
    Disposition.HANG_UP: "goodbye",
    Disposition.DIAL: "transfer",
    Disposition.DIAL_WARM: "transfer",
    Disposition.VOICEMAIL: "message",
}
"""The recorded last words, for when the model does not find its own."""

_NOT_CONNECTED = "[The caller interrupted: they were not connected. Call transfer_to_human if they still want it.]"
CALLED_OFF = {
    Disposition.HANG_UP: "[The caller interrupted: the call was not ended. Call end_call when they have all they need.]",
    Disposition.DIAL: _NOT_CONNECTED,
    Disposition.DIAL_WARM: _NOT_CONNECTED,
    Disposition.VOICEMAIL: (
        "[The caller interrupted: they were not handed over to leave a message. Do that again if they still want to.]"
    ),
}
"""What the model is told of last words that the caller took back. It stays in the conversation, as the tool's "ok" does."""


def farewell_timer() -> SetTimer:
    return SetTimer("farewell", FAREWELL_AT_MOST, prompts=True)


def at_farewell(state: State, event: FlowEvent) -> Result:
    """The last words are being said, or asked for."""
    if isinstance(event, AgentQuiet) and not state.last_words_asked and state.going is not None:
        return left(state, Leave(state.going, state.why))
    if isinstance(event, ReplyOver) and state.last_words_asked:
        said = attrs.evolve(state, last_words_asked=False)
        return said, ((ReportQuiet(),) if event.spoke else (*own_words(state), ReportQuiet()))
    if isinstance(event, Interrupted) and event.reason in {Floor.SPEECH, Floor.MODEL}:
        return stay(state)
    if isinstance(event, CallerSpoke):
        turn = state.dialogue.turn + (not event.again)
        spoke = attrs.evolve(state, speaking=True, dialogue=attrs.evolve(state.dialogue, turn=turn, idle=0))
        return stay(spoke) if state.last_words_asked else (spoke, ())
    if isinstance(event, CallerDone):
        return attrs.evolve(state, speaking=False), ()
    return state, ()


def lost(state: State, reason: str) -> Result:
    """There is no model. Last words can be said without it."""
    lost = attrs.evolve(state, link=Link.LOST)
    if state.phase is not Phase.FAREWELL:
        return attrs.evolve(lost, why=reason), ()
    words = own_words(state) if state.last_words_asked else ()
    return attrs.evolve(lost, last_words_asked=False), (*words, ReportQuiet())


def tools_at_farewell(state: State, spoke: bool, answered: AnswerTools, going: Disposition | None, why: str) -> Result:
    """It is decided already; a human who was promised stays promised."""
    if going is not None and state.going not in {Disposition.DIAL, Disposition.DIAL_WARM}:
        state = attrs.evolve(state, going=going, why=why)
    if not spoke and going is None and state.last_words_asked:
        return state, (attrs.evolve(answered, then_reply=True),)
    # It spoke, or it was asked for words and answered with the same wish again: then it finds none.
    words = () if spoke or not state.last_words_asked else own_words(state)
    said = attrs.evolve(state, last_words_asked=False)
    return said, (answered, *words, ReportQuiet())


def moving(state: State) -> Result:
    """The call goes to another server, when what the agent is saying was heard, and what the caller is saying was answered; if it
    ends anyway, it ends here."""
    quiet = (ReportQuiet(),) if state.phase is Phase.TALKING else ()
    return attrs.evolve(state, moving=True), (SetTimer(MOVING, MOVE_AT_MOST), *quiet)


def moved(state: State, *, in_time: bool) -> Result:
    """The agent is quiet, or it is not waited for any more."""
    if state.phase is Phase.FAREWELL and state.going is not None:
        return left(state, Leave(state.going, state.why))
    return left(state, Leave(Disposition.RESUME, "the server is going down", drain=in_time))


def go(state: State, going: Disposition, why: str, floor: Floor, words: str) -> Result:
    """It is decided without the model: stop it, say the recorded words, and leave."""
    leaving = attrs.evolve(state, phase=Phase.FAREWELL, going=going, why=why, last_words_asked=False)
    return leaving, (Listen(floor), Say(words), farewell_timer(), ReportQuiet())


def stay(state: State) -> Result:
    """The caller has more to say: nothing is decided any more."""
    staying = attrs.evolve(state, phase=Phase.TALKING, going=None, why="", last_words_asked=False)
    if state.phase is not Phase.FAREWELL:
        return staying, ()
    told = CALLED_OFF.get(state.going or Disposition.HANG_UP)
    return staying, (StopTimer("farewell"), *([TellModel(told)] if told else []))


def own_words(state: State) -> tuple[Effect, ...]:
    return (Say(LAST_WORDS.get(state.going or Disposition.HANG_UP, "goodbye")),)


def left(state: State, leave: Leave) -> Result:
    return attrs.evolve(state, phase=Phase.LEFT), (leave,)
