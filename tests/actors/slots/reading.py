"""How the tables of utterances are read: on Tuesday, November 24, 2026, at ten in the morning."""

import datetime
from typing import TypeAlias

from actors.slots import Context, Declined, Reading, Unclear, Understood, understand

NOW = datetime.datetime(2026, 11, 24, 10, 0, tzinfo=datetime.timezone(datetime.timedelta(hours=-5)))
CHOICES = {"cleaning": ("clean", "hygiene"), "check-up": ("checkup", "check up", "exam"), "filling": ("cavity",)}
UNCLEAR = "<unclear>"
DECLINED = "<declined>"
Case: TypeAlias = tuple[str, str, str, str]
"""Kind, the value that is held, what is said, what it means."""


def outcome(reading: Reading) -> str:
    match reading:
        case Understood():
            return reading.text
        case Unclear():
            return UNCLEAR
        case Declined():
            return DECLINED


def read(kind: str, utterance: str, before: str = "", region: str = "US") -> str:
    return outcome(understand(kind, utterance, Context(NOW, region=region, choices=CHOICES), before))
