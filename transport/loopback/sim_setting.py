"""How the server of a simulated call is set, and how the model writes down what is said, drawn from a seed. Pure.

Neither is a fault: operators differ, and transcripts come late, or not at all, in ordinary calls.
"""

import random
from typing import Any

import attrs

from transport.loopback.script import Transcript


@attrs.frozen
class Setting:
    """How the operator has set the server, where operators differ; see `conf/settings.py`."""

    max_silence: float = 4.0
    barge_in: str = "undo"
    failover: bool = False
    """Whether there is a second endpoint. It has none of the faults of the first that do not last."""
    human: bool = True
    """Whether there is one to transfer to."""
    transcribed: bool = True
    turn_silence_ms: int = 500
    append_ms: int = 20
    lead_ms: int = 300
    replace_seconds: float = 8.0

    def __str__(self) -> str:
        fields = attrs.asdict(self)
        return ", ".join(f"{name} {value}" for name, value in fields.items() if value != getattr(SHIPPED, name))


SHIPPED = Setting()


def setting_of(seed: int, *, speaks: bool) -> Setting:
    """Mostly as it is shipped: each thing is another one now and then. `speaks`: whether the caller sounds like speech; a hiss of
    which no words come is a noise."""
    chance = random.Random(f"setting {seed}")

    def one(usual: Any, *others: Any) -> Any:
        return chance.choice(others) if chance.random() < 0.2 else usual

    return Setting(
        max_silence=one(4.0, 2.5, 6.0),
        barge_in=one("undo", "local", "model"),
        failover=one(False, True),
        human=one(True, False),
        turn_silence_ms=one(500, 300, 900),
        append_ms=one(20, 40, 100),
        lead_ms=one(300, 100, 800),
        replace_seconds=one(8.0, 0.0, 20.0),
        transcribed=chance.random() < 0.95 or not speaks,
    )


def transcripts_of(seed: int) -> tuple[Transcript, ...]:
    """In many calls some come late, empty or not at all."""
    chance = random.Random(f"transcripts {seed}")
    if chance.random() < 0.3:
        return ()
    fates = ("written", "written", "written", "empty", "failed", "torn", "missing")
    return tuple(Transcript(chance.choice(fates), chance.choice((100, 400, 700, 1400, 2500))) for _ in range(3))
