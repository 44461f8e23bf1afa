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
STEADY_MS, DIPS = 10_000, 0.5
"""Nobody speaks for so long without falling once to such a share of the loudest: what does not dip in that time is a noise."""


@attrs.define
class Ear:
    """Listens to the caller since the model's last sign of life. Times in seconds of the one clock.

    `pause`: silence after which an utterance is over; whoever asks "Hello?" again does not begin to wait anew. `sharp`: whether
    a syllable makes an utterance, and not only `SPEECH_MS` of loud audio.
    """

    pause: float
    sharp: bool = False
    last_loud: float = -math.inf
    """When the line was last loud; minus infinity if it never was."""
    last_voice: float = -math.inf
    """The same, of what may have been a voice, and was no steady noise."""
    _loud_ms: int = 0
    _height: int = 0
    """The loudest since the line last dipped."""
    _even_ms: int = 0
    """What was heard since then."""
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
        lasts, level = len(audio) // BYTES_PER_MS, loudness(audio)
        if level < max(LOUD, DIPS * self._height):
            self._height = self._even_ms = 0
        self._height, self._even_ms = max(self._height, level), self._even_ms + lasts
        if level < LOUD:
            self._run_ms, self._quiet_ms = 0, self._quiet_ms + lasts
            self._vouched_for = self._vouched_for and self._quiet_ms < REST_MS
            return False
        self.last_loud, self._quiet_ms = now, 0
        if self._even_ms > STEADY_MS:
            self._run_ms = 0
            return False
        before = self._spoke
        if now - self.last_voice > self.pause:
            self._run_ms = 0  # nobody listens all the time
            if self._first_end is None:
                self._first_end = self.unanswered_since
        if not self._loud_ms:
            self._began = now
        self.last_voice = now
        self._loud_ms, self._run_ms = self._loud_ms + lasts, self._run_ms + lasts
        if self._run_ms >= SYLLABLE_MS:
            self._syllables_ms += lasts if self._run_ms - lasts >= SYLLABLE_MS else self._run_ms
        return self._spoke and not before

    def heard(self, began: float, now: float) -> None:
        """Somebody else heard the caller speak since `began`, over the agent's voice."""
        self._loud_ms, self._began = max(self._loud_ms, SPEECH_MS), began
        self.last_loud = self.last_voice = now
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
    def plain(self) -> bool:
        """Whether somebody spoke, beyond doubt, since the model's last sign of life."""
        return self.long and not self._vouched_for

    @property
    def long(self) -> bool:
        """Whether there was so much of a voice, or of a noise that comes and goes."""
        return self._syllables_ms >= PLAIN_MS

    @property
    def unanswered_from(self) -> float | None:
        """When that began which the model has said nothing to; None if there is no such utterance."""
        return None if self.unanswered_since is None else self._began

    @property
    def unanswered_since(self) -> float | None:
        """When the first utterance ended that the model has said nothing to, or was last heard; None if there is none."""
        if self._first_end is not None:
            return self._first_end
        return self.last_voice if self._spoke else None

    @property
    def _spoke(self) -> bool:
        return self._loud_ms >= SPEECH_MS or (self.sharp and self._syllables_ms > 0)
