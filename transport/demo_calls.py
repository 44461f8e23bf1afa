"""The calls that `triode demo` plays: what the caller does, what the model answers, and what must have come of it. Data only."""

import json
from collections.abc import Mapping

import attrs

from transport.loopback.caller import AwaitAgent, AwaitQuiet, Press, Speak, Step
from transport.loopback.human import Human
from transport.loopback.script import Call, Reply, Script, say
from transport.loopback.speech import line


@attrs.frozen
class DemoCall:
    """One call of the demo. `slots`: what must be settled when it is over."""

    flow: str
    steps: tuple[Step, ...]
    script: Script
    disposition: str
    last_words: str
    tools: int
    """Tool calls that must have been answered."""
    slots: Mapping[str, str] = attrs.field(factory=dict[str, str])
    texts: int = 0
    """Text messages that must have been sent."""
    human: Human | None = None
    """Who picks up when the agent transfers the call."""


def _speak(name: str) -> Speak:
    return Speak(line(name).audio, line(name).text)


def _calls(tool: str, **arguments: object) -> Reply:
    return Reply((Call(tool, json.dumps(arguments)),), delay_ms=200)


def _said(*names: str) -> tuple[str, ...]:
    return tuple(line(name).text for name in names)


_BOOKING = (
    "caller_appointment",
    "caller_name",
    "caller_yes",
    "caller_email",
    "caller_email_fix",
    "caller_yes",
    "caller_phone",
    "caller_yes",
    "caller_day",
    "caller_yes",
    "caller_bye",
)

APPOINTMENT = DemoCall(
    flow="appointment",
    steps=(
        *(step for name in _BOOKING[:8] for step in (AwaitQuiet(), _speak(name))),
        AwaitAgent(2.5),  # the opening hours are long: the caller interrupts
        _speak("caller_day"),
        *(step for name in _BOOKING[9:] for step in (AwaitQuiet(), _speak(name))),
    ),
    script=Script(
        turns=(
            _calls("save_details", intent="book"),
            _calls("save_details", name="John Smyth, S, M, Y as in yellow, T, H", confidence=0.9),
            _calls("confirm_details", slots=["name"], correct=True),
            _calls("save_details", email="j dot smith at gmail dot com", confidence=0.6),  # it misheard a letter
            _calls("save_details", email="no, Y as in yellow, not I"),
            _calls("confirm_details", slots=["email"], correct=True),
            _calls("save_details", phone="four one five, double five five, two six seven one"),
            _calls("confirm_details", slots=["phone"], correct=True),
            _calls("save_details", day="Tuesday at three in the afternoon"),
            _calls("confirm_details", slots=["day"], correct=True),
            Reply((say("agent_bye"), Call("end_call", '{"reason": "the appointment is booked"}'))),
        ),
        after_tools=tuple(
            Reply((say(name),))
            for name in (
                "agent_name",
                "agent_name_back",
                "agent_email",
                "agent_email_wrong",
                "agent_email_back",
                "agent_phone",
                "agent_phone_back",
                "agent_day",
                "agent_day_back",
                "agent_booked",
            )
        ),
        said=_said(*_BOOKING),
    ),
    disposition="hang_up",
    last_words=line("agent_bye").text,
    tools=11,
    slots={"name": "John Smyth", "email": "j.smyth@gmail.com", "phone": "+14155552671", "day": ""},
    texts=1,
)

AFTER_HOURS = DemoCall(
    flow="after_hours",
    steps=(
        AwaitQuiet(),
        _speak("caller_hours"),
        AwaitAgent(4.0),
        _speak("caller_interrupt"),
        AwaitQuiet(),
        Press("5"),
        AwaitQuiet(),
        _speak("caller_human"),
    ),
    script=Script(
        turns=(
            Reply((say("agent_checking"), Call("look_up", '{"topic": "opening_hours"}'))),
            Reply((say("agent_saturday"),)),
            Reply((say("agent_through"), Call("transfer_to_human", '{"reason": "the caller asked for a person"}'))),
        ),
        after_tools=(Reply((say("agent_hours"),)),),
        on_text=(Reply((say("agent_key"),)),),
        said=_said("caller_hours", "caller_interrupt", "caller_human"),
    ),
    disposition="dial_warm",
    last_words=line("agent_through").text,
    tools=2,
    human=Human(rings=2.0, keys="1", talks=4.0),
)

CALLS = {call.flow: call for call in (APPOINTMENT, AFTER_HOURS)}


# ---------------------------------------------------------------- a server that is killed


@attrs.frozen
class CrashCall:
    """The call of `triode demo --crash`. The server is killed between `before` and `after`, while the agent asks `cut_in`."""

    before: tuple[Step, ...]
    after: tuple[Step, ...]
    scripts: tuple[Script, Script]
    """Of the model's session before, and of the one after."""
    cut_in: str
    known: tuple[str, ...]
    """Slots that are settled by then."""
    questions: tuple[str, ...]
    """The lines in which the agent asks for something: each is heard once."""
    said: tuple[str, ...]


def _at_once(*names: str) -> Speak:
    """Several lines in one breath."""
    return Speak(b"".join(line(name).audio for name in names), " ".join(_said(*names)))


_QUIET = AwaitQuiet(0.2)
_IN_ONE_BREATH = _at_once("caller_appointment", "caller_name")
_YES_AND_MORE = _at_once("caller_yes", "caller_email")
_AFTER = ("caller_phone", "caller_yes", "caller_day", "caller_yes", "caller_bye")
_SAID_BEFORE = (_IN_ONE_BREATH.words, _YES_AND_MORE.words, *_said("caller_yes"))

CRASH = CrashCall(
    before=(
        AwaitAgent(1.3),  # it is somebody who has called before, and is in a hurry
        _IN_ONE_BREATH,
        AwaitAgent(2.7),
        _YES_AND_MORE,
        AwaitAgent(3.4),
        _speak("caller_yes"),
        AwaitAgent(1.1),
    ),
    after=(
        AwaitQuiet(0.4),
        _speak("caller_phone"),
        _QUIET,
        _speak("caller_yes"),
        AwaitAgent(1.2),
        _speak("caller_day"),
        AwaitAgent(1.9),
        _speak("caller_yes"),
        AwaitAgent(2.8),
        _speak("caller_bye"),
    ),
    scripts=(
        Script(
            turns=(
                _calls("save_details", intent="book", name="John Smyth, S, M, Y as in yellow, T, H", confidence=0.9),
                Reply(
                    (
                        Call("confirm_details", '{"slots": ["name"], "correct": true}'),
                        Call("save_details", '{"email": "j dot smyth at gmail dot com", "confidence": 0.9}'),
                    )
                ),
                _calls("confirm_details", slots=["email"], correct=True),
            ),
            after_tools=tuple(Reply((say(name),)) for name in ("agent_name_back", "agent_email_back", "agent_phone")),
            said=_SAID_BEFORE,
        ),
        Script(
            on_text=(Reply((say("agent_phone"),)),),
            turns=(
                _calls("save_details", phone="four one five, double five five, two six seven one"),
                _calls("confirm_details", slots=["phone"], correct=True),
                _calls("save_details", day="Tuesday at three in the afternoon"),
                _calls("confirm_details", slots=["day"], correct=True),
                Reply((say("agent_bye"), Call("end_call", '{"reason": "the appointment is booked"}'))),
            ),
            after_tools=tuple(
                Reply((say(name),)) for name in ("agent_phone_back", "agent_day", "agent_day_back", "agent_booked")
            ),
            said=_said(*_AFTER),
        ),
    ),
    cut_in="agent_phone",
    known=("name", "email"),
    questions=(
        "agent_name_back",
        "agent_email_back",
        "agent_phone",
        "agent_phone_back",
        "agent_day",
        "agent_day_back",
        "agent_booked",
    ),
    said=(*_SAID_BEFORE, *_said(*_AFTER)),
)
