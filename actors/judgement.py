"""Judgement of a suspicion: has a person taken the floor, or was it a cough, a noise, an "uh-huh"? Pure, told the time.

The agent is quiet meanwhile, so there is a bound. What there is to go by, the surest first: words; how long the voice lasts;
whether the model heard speech too.

    words that say something            taken      words of a listener, and no question open   not taken
    voice for LONG that rises and falls taken      voice over, and the model heard no speech   not taken
                                                   known to belong to the line                 not taken
    neither by the end of DECIDE_WITHIN            a voice for SHORT or longer that rises and falls: taken, else not

Over the agent's last words nearly everybody says goodbye: there words of parting are those of a listener, and are waited for.
"""

import enum
import math

import attrs

from actors.line_ear import Line
from actors.small_words import only_listens, only_parts, parts_in, without_asides, without_please
from actors.writing_time import WAIT_LEAST, WAIT_MOST

LONG = 0.8
"""Seconds of an utterance from which on it is no listener's word: those last half a second."""
INSTANT = 0.001
"""Seconds that are none: so much sums of times are off."""
LONG_GOODBYE = 2.5
"""The same while the agent says its last words: "okay, thank you very much, bye" is no more than that."""
SHORT = 0.3
"""Seconds of voice from which on it counts as speech when there are no words for it."""
APART = 0.55
"""Seconds of silence, as far as is heard here, after which a voice is another utterance: "okay", and then "right"."""
CROSSING = 0.4
"""Seconds that may pass between the end of a turn, as far as is heard here, and the model's word of it."""
LOOK_AGAIN = 0.05
"""Seconds after which a voice that goes on is looked at again."""
MODEL_HEARS = 0.45
"""Seconds in which a model that hears speech says so."""
JUST_BEFORE = 1.5
"""Seconds that a voice may have begun before the model says so."""
DECIDE_WITHIN = 1.5
"""Seconds of a suspicion; then it is decided by what there is, or, if words are due, `WAIT_MOST` later at most."""
USUAL_PAUSE = 0.5
"""Seconds of silence that end a caller's turn, if nothing else is known."""
PATIENT_AT_MOST = 0.7
"""Seconds longer that it may take where callers are given time, as to spell: there their turn ends, and is written, later."""


class Verdict(enum.Enum):
    """What a suspicion turned out to be."""

    TAKEN = "a person took the floor"
    NOISE = "a noise"
    LISTENER = "a listener's word"


@attrs.define
class Suspicion:
    """What is known of one. Times in seconds; `open_question`: the agent has asked something, so "yes" is an answer."""

    began: float
    """When the voice began, or the model said so."""
    language: str
    open_question: bool = False
    at_end: bool = False
    """Whether the agent was about to end: then "yes" is an answer too, if it does not say its last words."""
    transcribed: bool = True
    """Whether words are to be expected at all."""
    turn_ends: float = USUAL_PAUSE
    """Seconds of silence after which the model holds the caller's turn for over; then its words are written down."""
    words_within: float = WAIT_LEAST
    """Seconds after that in which they are here, as a rule; no more than `WAIT_MOST`."""
    voice_ms: int = 0
    voice_began: float = -math.inf
    """When the voice began that was last heard by us: there may have been another before."""
    voice_until: float = -math.inf
    """When voice was last heard by us; minus infinity if it was not."""
    apart_from: float = -math.inf
    """When the voice began, if it is another utterance than the one before it."""
    voice_goes_on: bool = False
    steady: bool = False
    """Whether that voice does not rise and fall as speech does."""
    model_heard: bool = False
    unwritten: frozenset[str] = frozenset()
    """The turns that the model heard begin, and whose words are not known."""
    stopped: float | None = None
    """When the model heard it end."""
    words: str = ""
    final: bool = False
    echoed: bool = False
    """Whether the words are the agent's own, coming back."""
    last_words: bool = False
    """Whether it is the agent's last words over which the voice was heard."""

    def hears(self, line: Line) -> None:
        """What is heard on the line now; of a voice that was long before, nothing is to be learned."""
        if line.began >= self.began - JUST_BEFORE:
            if line.began - self.voice_until >= APART and self.voice_until > -math.inf:
                self.apart_from = line.began
            self.voice_ms, self.voice_goes_on, self.steady = line.voice_ms, line.goes_on, line.steady
            self.voice_began, self.voice_until = line.began, line.until

    def verdict(self, now: float) -> Verdict | None:
        """What it is; None while that is open."""
        said = self._known_words
        if self.final and self.echoed:
            return Verdict.NOISE
        parts = self._may_part and only_parts(said, self.language)
        if said.strip() and not self.echoed and not (parts or only_listens(said, self.language)):
            return Verdict.TAKEN
        if self.final and said.strip():
            answers = self._may_be_answer and only_listens(without_please(said), self.language)
            return Verdict.TAKEN if answers else Verdict.LISTENER
        if self.final and not self.voice_goes_on:  # there were no words in it
            lasted = self.voice_ms >= SHORT * 1000 and self.voice_until - self.voice_began >= LONG
            return Verdict.TAKEN if self._may_part and lasted and not self.steady else Verdict.NOISE
        if self.lasts:
            return Verdict.TAKEN
        if not self.voice_goes_on and not self.model_heard and now - self.began >= MODEL_HEARS:
            return Verdict.NOISE
        if self.steady and not self.voice_goes_on and not self.voice_ms:
            return Verdict.NOISE  # it belongs to the line
        if now >= self._at_last or (self.model_heard and self._nothing_more()):
            if self.steady or self.final:
                return Verdict.NOISE
            speech = self.voice_ms >= SHORT * 1000 or self.voice_until == -math.inf
            return Verdict.TAKEN if speech or (self._may_be_answer and self.model_heard) else Verdict.NOISE
        return None

    @property
    def lasts(self) -> bool:
        """Whether the voice goes on for longer than a listener's word."""
        if not self.voice_goes_on or self.steady or self.voice_ms < SHORT * 1000:
            return False
        # What was written down had no words; and two words of a listener are no sentence.
        began = self.voice_began if self.final else max(self.began, self.apart_from)
        return self.voice_until - began >= (LONG_GOODBYE if self._may_part else LONG) - INSTANT

    def rest(self) -> "Suspicion | None":
        """What is left to be judged when the words are known: another utterance, that is not written down yet."""
        another = self.final and self.apart_from > self.began
        over = self.stopped is not None and self.stopped > self.voice_until
        if not another or (over and not self.unwritten):
            return None
        return attrs.evolve(
            self,
            began=self.apart_from,
            apart_from=-math.inf,
            model_heard=bool(self.unwritten),
            stopped=self.stopped if over else None,
            words="",
            final=False,
            echoed=False,
        )

    def due(self, now: float) -> float:
        """When the verdict may be another although nothing happens."""
        again = now + LOOK_AGAIN if self.voice_goes_on else math.inf
        times = (self.began + LONG, self.began + MODEL_HEARS, self._at_last, max(self.began + LONG, again))
        return min((at for at in times if at > now), default=now)

    @property
    def _known_words(self) -> str:
        """The words by which it may be judged: the last may still grow, and of a goodbye the rest must be known."""
        if self.final:
            return without_asides(self.words)
        return "" if self._may_part else without_asides(self.words.rpartition(" ")[0])

    @property
    def _may_be_answer(self) -> bool:
        return self.open_question or (self.at_end and not self.last_words)

    @property
    def _may_part(self) -> bool:
        """Whether words will come that may be a goodbye said over the agent's."""
        return self.last_words and self.transcribed and self.model_heard and parts_in(self.language)

    @property
    def _at_last(self) -> float:
        """When it is decided by what there is: the turn that the model hears ends before that, and words that are due are
        waited for a little longer, once."""
        due = self.began + DECIDE_WITHIN
        if self._may_part:
            due = max(due, self.voice_until + self.turn_ends + self.words_within)
        if self.transcribed and self.model_heard and not self.voice_goes_on:
            due += min(max(self.turn_ends - USUAL_PAUSE, 0.0), PATIENT_AT_MOST)
            if self.stopped is None and not self.steady:  # the turn is about to end
                due = max(due, min(self.voice_until + self.turn_ends + CROSSING, due + CROSSING))
        if self.stopped is None or not self.transcribed:
            return due
        return max(due, min(self.stopped, due) + min(self.words_within, WAIT_MOST))

    def _nothing_more(self) -> bool:
        """Whether no words will come: there is only the voice to go by."""
        return not self.transcribed and not self.voice_goes_on and self.voice_until > -math.inf
