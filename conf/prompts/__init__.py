"""Recorded prompts: 8 kHz µ-law without a header, one file a prompt, and the words each one says.

To replace one: `sox new.wav -t raw -r 8000 -c 1 -e mu-law -b 8 conf/prompts/greeting.ulaw`, and mend its words here.
"""

from pathlib import Path

import attrs

WORDS = {
    "greeting": "Hello, you have reached the front desk. I am an AI assistant. How can I help you?",
    "goodbye": "Thank you for calling. Goodbye.",
    "transfer": "One moment please, I am connecting you with a colleague.",
    "one_moment": "One moment, please.",
    "still_here": "I am still working on it. Thank you for your patience.",
    "apology": "I am sorry, I am having trouble on my side. One moment please.",
    "resume": "Sorry, we were cut off for a moment. Please go on.",
    "reconnected": "Sorry, we were cut off for a moment.",
    "welcome_back": "Hello again. We were cut off last time, so let us go on from there.",
    "not_taken": "I am sorry, nobody could take your call. I am back with you.",
    "message": "I am sorry, there is nobody I can connect you with. Please leave a message after the tone.",
}


@attrs.frozen
class Prompt:
    """A recorded prompt: its name, its words, its audio in µ-law bytes."""

    name: str
    words: str
    audio: bytes = attrs.field(repr=False)


def load_prompt(name: str) -> Prompt:
    """The prompt `name`; KeyError if there is none."""
    return Prompt(name, WORDS[name], Path(__file__).with_name(f"{name}.ulaw").read_bytes())
