"""An ear of our own: whether the caller spoke and fell silent, by loudness alone. Pure, told the time.

It decides no turn: the model does that. It is there for the model that does not: one that has stopped, with its
connection open, says nothing to the caller's speech either, and nobody else would notice.
"""

import math

import attrs

from actors.mulaw import BYTES_PER_MS, loudness

LOUD = 3
"""Mean magnitude of a frame that may be speech (see `loudness`)."""
SPEECH_MS = 300
"""Loud audio that makes an utterance; less is a click or a cough."""
SYLLABLE_MS = 100
"""Loud audio without a gap that may be a syllable; keys that are typed are shorter."""
PLAIN_MS = 500
"""Syllables after which there is no doubt that somebody spoke."""
REST_MS = 5000
"""Silence after which a noise counts as over."""


@attrs.define
class Ear:
    """Listens to the caller since the model's last sign of life. Times in seconds of the one clock.

    `pause`: silence after which an utterance is over; whoever asks "Hello?" again does not begin to wait anew. `least_ms`: loud
    audio that makes an utterance.
    """

    pause: float
    least_ms: int = SPEECH_MS
    _loud_ms: int = 0
    _last_loud: float = -math.inf
    _first_end: float | None = None
    _began: float = -math.inf
    _run_ms: int = 0
    """Loud audio without a gap, until now."""
    _syllables_ms: int = 0
    _quiet_ms: int = 0
    """Silence until now."""
    _vouched_for: bool = False
    """Whether something was taken for speech because it was plain, and nobody else has heard any since."""

    def listen(self, audio: bytes, now: float) -> bool:
        """Takes in a frame of µ-law that arrived at `now`; whether it was the one that made an utterance of it."""
        lasts = len(audio) // BYTES_PER_MS
        if loudness(audio) < LOUD:
            self._run_ms, self._quiet_ms = 0, self._quiet_ms + lasts
            self._vouched_for = self._vouched_for and self._quiet_ms < REST_MS
            return False
        self._run_ms, self._quiet_ms = self._run_ms + lasts, 0
        if self._run_ms >= SYLLABLE_MS:
            self._syllables_ms += lasts if self._run_ms - lasts >= SYLLABLE_MS else self._run_ms
        if now - self._last_loud > self.pause and self._first_end is None:
            self._first_end = self.unanswered_since
        if not self._loud_ms:
            self._began = now
        before, self._last_loud = self._loud_ms, now
        self._loud_ms += lasts
        return before < self.least_ms <= self._loud_ms

    def heard(self, began: float, now: float) -> None:
        """Somebody else heard the caller speak since `began`, over the agent's voice."""
        self._loud_ms, self._began, self._last_loud = max(self._loud_ms, SPEECH_MS), began, now
        self._syllables_ms = max(self._syllables_ms, PLAIN_MS)

    def sign_of_life(self) -> None:
        """The model said something: what the caller said before is no question that it left open."""
        self._loud_ms = self._syllables_ms = 0
        self._first_end = None

    def vouch(self) -> None:
        """What was heard is taken for speech on our word: once, for a line that is never at rest is noisy."""
        self._vouched_for = True

    def confirmed(self) -> None:
        """Somebody else heard the caller say something."""
        self._vouched_for = False

    @property
    def last_loud(self) -> float:
        """When the line was last loud; minus infinity if it never was."""
        return self._last_loud

    @property
    def plain(self) -> bool:
        """Whether somebody spoke, beyond doubt, since the model's last sign of life."""
        return self._syllables_ms >= PLAIN_MS and not self._vouched_for

    @property
    def unanswered_from(self) -> float | None:
        """When that began which the model has said nothing to; None if there is no such utterance."""
        return None if self.unanswered_since is None else self._began

    @property
    def unanswered_since(self) -> float | None:
        """When the first utterance ended that the model has said nothing to, or was last heard; None if there is none."""
        if self._first_end is not None:
            return self._first_end
        return self._last_loud if self._loud_ms >= self.least_ms else None
