"""The recorded lines that the loopback ends speak: 8 kHz µ-law files without a header, and what they say."""

import functools
import math
import random
from importlib.resources import files

import attrs

from actors.mulaw import BYTES_PER_MS, encode

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
    "caller_appointment": "Hello, I would like an appointment please.",
    "agent_name": "Gladly. Your full name please, and spell the last name.",
    "caller_name": "John Smyth. S, M, Y as in yellow, T, H.",
    "agent_name_back": "John, then S, M, Y, T, H. Is that right?",
    "caller_yes": "Yes, that's right.",
    "agent_email": "And your e-mail address?",
    "caller_email": "J dot Smyth at gmail dot com.",
    "agent_email_wrong": "J dot S, M, I, T, H, at gmail dot com. Right?",
    "caller_email_fix": "No, Y as in yellow, not I.",
    "agent_email_back": "J dot S, M, Y, T, H, at gmail dot com. Right?",
    "agent_phone": "Which number shall I send the confirmation to?",
    "caller_phone": "Four one five, double five five, two six seven one.",
    "agent_phone_back": "Four one five, five five five, two six seven one?",
    "caller_day": "Sorry, Tuesday at three in the afternoon.",
    "agent_day_back": "Tuesday at three in the afternoon. Is that right?",
    "agent_booked": "Booked: Tuesday at three. A text message is on its way. Anything else?",
    "agent_through": "I am putting you through to the doctor on call.",
    "agent_day": "Which day suits you? We are open Monday to Friday from eight in the morning until six in the evening, "
    "and on Saturday from nine until one.",
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


RATE = 1000 * BYTES_PER_MS
MURMUR_MS_PER_CHARACTER = 60
MURMUR_AT_LEAST_MS = 400
PERIOD = 400
"""Points of one period of a voice, from which its samples are taken."""
_SINES = [math.sin(2 * math.pi * at / PERIOD) for at in range(PERIOD)]


def murmur(words: str, seed: int = 0) -> bytes:
    """Audio as loud as speech and about as long as `words` would take, in µ-law bytes; different for each `seed`.

    Nobody could understand it, and nobody in the loopback ends has to.
    """
    ms = max(MURMUR_AT_LEAST_MS, len(words) * MURMUR_MS_PER_CHARACTER)
    loud = random.Random(f"{seed} {words}").randbytes(min(ms, 1000) * BYTES_PER_MS).translate(_LOUD)
    return (loud * (ms // 1000 + 1))[: ms * BYTES_PER_MS]


@functools.lru_cache(256)
def voiced(words: str, seed: int = 0) -> bytes:
    """As `murmur`, but it rises and falls as speech does: to an ear a murmur is a hiss."""
    ms = max(MURMUR_AT_LEAST_MS, len(words) * MURMUR_MS_PER_CHARACTER)
    return syllables(ms / 1000, f"{seed} {words}")


def syllables(seconds: float, seed: object = 0, loud: int = 9000) -> bytes:
    """A hum of a hundred-odd hertz with its overtones, that swells and falls four or so times a second; µ-law bytes."""
    chance = random.Random(f"voice {seed}")
    samples: list[int] = []
    phase = 0.0
    while len(samples) < seconds * RATE:
        pitch, length, peak = chance.uniform(110, 190), chance.uniform(0.14, 0.28), chance.uniform(0.45, 1.0)
        formant = chance.uniform(450, 900)
        overtones = [(k, math.exp(-(((k * pitch - formant) / 350) ** 2))) for k in range(1, 16)]
        tones = [sum([_SINES[k * at % PERIOD] * strength for k, strength in overtones]) for at in range(PERIOD)]
        tones = [tone + 0.3 * sine for tone, sine in zip(tones, _SINES, strict=True)]
        size = round(length * RATE)
        for number in range(size):
            phase += PERIOD * pitch / RATE
            swell = max(0.15, math.sin(math.pi * (number + 1) / (size + 1))) * peak
            samples.append(round(loud * swell * tones[round(phase) % PERIOD] / 1.6))
    return encode(max(-32000, min(32000, sample)) for sample in samples[: round(seconds * RATE)])


_LOUD = (bytes([0x90, 0x10, 0x98, 0x18, 0xA0, 0x20]) * 43)[:256]
"""For each byte one in µ-law, well above any threshold of voice."""
