"""An ear of our own: whether the caller spoke and fell silent, by loudness alone. Pure, told the time.

It decides no turn: the model does that. It is there for the model that does not: one that has stopped, with its
connection open, says nothing to the caller's speech either, and nobody else would notice.
"""

import math

import attrs

from actors.mulaw import BYTES_PER_MS, from_base64, loudness

LOUD = 3
"""Mean magnitude of a frame that may be speech (see `loudness`)."""
SPEECH_MS = 300
"""Loud audio that makes an utterance; less is a click or a cough."""


@attrs.define
class Ear:
    """Listens to the caller since the model's last sign of life. Times in seconds of the one clock."""

    _loud_ms: int = 0
    _last_loud: float = -math.inf

    def listen(self, payload: str, now: float) -> bool:
        """Takes in a frame that arrived at `now`; whether it was the one that made an utterance of it."""
        audio = from_base64(payload)
        if loudness(audio) < LOUD:
            return False
        before, self._last_loud = self._loud_ms, now
        self._loud_ms += len(audio) // BYTES_PER_MS
        return before < SPEECH_MS <= self._loud_ms

    def sign_of_life(self) -> None:
        """The model said something: what the caller said before is no question that it left open."""
        self._loud_ms = 0

    @property
    def unanswered_since(self) -> float | None:
        """When the caller was last heard in an utterance that the model has said nothing to; None if there is none."""
        return self._last_loud if self._loud_ms >= SPEECH_MS else None
