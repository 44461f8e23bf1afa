"""The recorded lines that the loopback ends speak: 8 kHz µ-law files without a header, and what they say."""

from importlib.resources import files

import attrs

LINES = {
    "caller_hours": "Hello. Could you tell me your opening hours please?",
    "caller_interrupt": "Sorry, wait. I only need to know about Saturday.",
    "caller_bye": "That was all I need, thank you and goodbye.",
    "caller_human": "I would like to speak with a real person please.",
    "agent_checking": "Let me look that up.",
    "agent_hours": "We are open Monday to Friday from eight in the morning until six in the evening, with a break "
    "between noon and one, and on Saturday from nine until one. On Sundays and holidays we are closed.",
    "agent_saturday": "On Saturday we are open from nine until one.",
    "agent_key": "Thank you, I noted the five. Anything else?",
    "agent_bye": "You are welcome. Have a nice day, goodbye.",
    "agent_sorry": "Sorry, could you say that again please?",
    "agent_connect": "Of course, I am connecting you with a colleague now.",
}


@attrs.frozen
class Line:
    """One recorded line: its name, its words, its audio in µ-law bytes."""

    name: str
    text: str
    audio: bytes


def line(name: str) -> Line:
    """The recorded line `name`; KeyError if there is none."""
    text = LINES[name]
    return Line(name, text, (files("transport.loopback") / "clips" / f"{name}.ulaw").read_bytes())
