"""Judgement of a suspicion: has a person taken the floor, or was it a cough, a noise, an "uh-huh"? Pure, told the time.

The agent is quiet meanwhile, so there is a bound. What there is to go by, the surest first: words; how long the voice lasts;
whether the model heard speech too.

    words that say something            taken      words of a listener, and no question open   not taken
    voice for LONG that rises and falls taken      voice over, and the model heard no speech   not taken
                                                   known to belong to the line                 not taken
    neither by the end of DECIDE_WITHIN            a voice for SHORT or longer that rises and falls: taken, else not
"""

import enum
import math
import re

import attrs

from actors.line_ear import Line

LONG = 0.8
"""Seconds of an utterance from which on it is no listener's word: those last half a second."""
SHORT = 0.3
"""Seconds of voice from which on it counts as speech when there are no words for it."""
LOOK_AGAIN = 0.05
"""Seconds after which a voice that goes on is looked at again."""
MODEL_HEARS = 0.45
"""Seconds in which a model that hears speech says so."""
WORDS_WITHIN = 0.7
"""Seconds after the end of a turn in which its words are written down."""
JUST_BEFORE = 1.5
"""Seconds that a voice may have begun before the model says so."""
ECHOED = 0.8
"""Share of the words that must be the agent's."""
DECIDE_WITHIN = 1.5
"""Seconds of a suspicion; then it is decided by what there is, or, if words are due, `WORDS_WITHIN` later at most."""
USUAL_PAUSE = 0.5
"""Seconds of silence that end a caller's turn, if nothing else is known."""
PATIENT_AT_MOST = 0.7
"""Seconds longer that it may take where callers are given time, as to spell: there their turn ends, and is written, later."""

_SOUNDS = """
uh huh mhm mm hmm hm mmm mhmm mmhmm uhhuh ah aha oh okay ok
"""
_ENGLISH = """
kay right yeah yep yup yes sure alright all i see got it good great
fine nice wow cool perfect exactly true understood um er erm well so and
"""
SOUNDS = frozenset(_SOUNDS.split())
"""By which listeners say so in any language."""
LISTENERS_WORDS = {"en": SOUNDS | frozenset(_ENGLISH.split())}
"""Words by which listeners say that they listen, by language; of others only the sounds are known."""
_WORD = re.compile(r"[\w']+")


class Verdict(enum.Enum):
    """What a suspicion turned out to be."""

    TAKEN = "a person took the floor"
    NOISE = "a noise"
    LISTENER = "a listener's word"


def only_listens(text: str, language: str) -> bool:
    """Whether nothing is said in `text` but that somebody listens; also of a text without words."""
    words = LISTENERS_WORDS.get(language, SOUNDS)
    return all(word in words for word in _WORD.findall(text.lower().replace("-", " ")))


def echoes(text: str, said: str) -> bool:
    """Whether nearly all words of `text` are among those that were `said`: a line that echoes is written down too."""
    heard, known = _WORD.findall(text.lower()), set(_WORD.findall(said.lower()))
    return bool(heard) and sum(word in known for word in heard) >= ECHOED * len(heard)


@attrs.define
class Suspicion:
    """What is known of one. Times in seconds; `open_question`: the agent has asked something, so "yes" is an answer."""

    began: float
    """When the voice began, or the model said so."""
    language: str
    open_question: bool = False
    transcribed: bool = True
    """Whether words are to be expected at all."""
    turn_ends: float = USUAL_PAUSE
    """Seconds of silence after which the model holds the caller's turn for over; then its words are written down."""
    voice_ms: int = 0
    voice_began: float = -math.inf
    """When the voice began that was last heard by us: there may have been another before."""
    voice_until: float = -math.inf
    """When voice was last heard by us; minus infinity if it was not."""
    voice_goes_on: bool = False
    steady: bool = False
    """Whether that voice does not rise and fall as speech does."""
    model_heard: bool = False
    stopped: float | None = None
    """When the model heard it end."""
    words: str = ""
    final: bool = False
    echoed: bool = False
    """Whether the words are the agent's own, coming back."""

    def hears(self, line: Line) -> None:
        """What is heard on the line now; of a voice that was long before, nothing is to be learned."""
        if line.began >= self.began - JUST_BEFORE:
            self.voice_ms, self.voice_goes_on, self.steady = line.voice_ms, line.goes_on, line.steady
            self.voice_began, self.voice_until = line.began, line.until

    def verdict(self, now: float) -> Verdict | None:
        """What it is; None while that is open."""
        said = self.words if self.final else self.words.rpartition(" ")[0]  # the last word may still grow
        if self.final and self.echoed:
            return Verdict.NOISE
        if said.strip() and not self.echoed and not only_listens(said, self.language):
            return Verdict.TAKEN
        if self.final and self.words.strip():
            return Verdict.TAKEN if self.open_question else Verdict.LISTENER
        if self.final and not self.voice_goes_on:
            return Verdict.NOISE  # there were no words in it
        began = self.voice_began if self.final else self.began  # what was written down had no words
        lasts = self.voice_goes_on and self.voice_until - began >= LONG
        if lasts and self.voice_ms >= SHORT * 1000 and not self.steady:
            return Verdict.TAKEN
        if not self.voice_goes_on and not self.model_heard and now - self.began >= MODEL_HEARS:
            return Verdict.NOISE
        if self.steady and not self.voice_goes_on and not self.voice_ms:
            return Verdict.NOISE  # it belongs to the line
        if now >= self._at_last or (self.model_heard and self._nothing_more()):
            if self.steady or self.final:
                return Verdict.NOISE
            speech = self.voice_ms >= SHORT * 1000 or self.voice_until == -math.inf
            return Verdict.TAKEN if speech or (self.open_question and self.model_heard) else Verdict.NOISE
        return None

    def due(self, now: float) -> float:
        """When the verdict may be another although nothing happens."""
        again = now + LOOK_AGAIN if self.voice_goes_on else math.inf
        times = (self.began + LONG, self.began + MODEL_HEARS, self._at_last, max(self.began + LONG, again))
        return min((at for at in times if at > now), default=now)

    @property
    def _at_last(self) -> float:
        """When it is decided by what there is: the turn that the model hears ends before that, and words that are due are
        waited for a little longer, once."""
        due = self.began + DECIDE_WITHIN
        if self.transcribed and self.model_heard and not self.voice_goes_on:
            due += min(max(self.turn_ends - USUAL_PAUSE, 0.0), PATIENT_AT_MOST)
        return due if self.stopped is None or not self.transcribed else max(due, min(self.stopped, due) + WORDS_WITHIN)

    def _nothing_more(self) -> bool:
        """Whether no words will come: there is only the voice to go by."""
        return not self.transcribed and not self.voice_goes_on and self.voice_until > -math.inf
