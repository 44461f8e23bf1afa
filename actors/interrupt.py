"""InterruptWatcher: decides whether the caller took the floor from the agent.

On suspicion the agent falls silent at once; what it had not said is kept. Then it is judged (see `judgement.py`) whether that was
a person who wants the floor, or a cough, a noise, a listener's "uh-huh", the line's echo. The agent gives way, or goes on where
the caller stopped hearing it.
"""

import enum
import math
from collections.abc import Callable
from typing import Protocol

import attrs
import trio

from actors.judgement import LONG, USUAL_PAUSE, Suspicion, Verdict
from actors.line_ear import LineEar, LinePort
from actors.mailbox import Mailbox, Outbox, WhenFull
from actors.messages import (
    BYTES_PER_MS,
    CallerAudio,
    CallerWords,
    Floor,
    FloorRule,
    FloorTaken,
    Judged,
    SpeechStarted,
    SpeechStopped,
)
from actors.small_words import echoes, only_listens, only_parts
from actors.writing_time import WritingTime

QUEUE = 128
"""Onsets, ends and words of turns: a person makes a few a second at most, a transcriber some ten."""
ANSWERS_AT = 1.0
"""Seconds before the end of the agent's speech from which on "yes" is an answer and no listener's word."""
COMES_BACK_WITHIN = 1.8
"""Seconds in which the last of what was said comes back on a line that echoes."""
LOOK_AGAIN = 0.1
"""Seconds after which it is looked again whether the model heard an echo."""
LAST_SENTENCE = 60
"""Characters of what is being heard in which a question is still open."""
LOST_LEAST, LOST_MOST = 10, 500
"""Milliseconds that are missing between two frames: from as many on one was lost; of more, their times are believed."""
SPOKE = 1.2
"""Seconds for which the model must hear what was held for a noise here, to be believed if nothing is written down."""
UNWRITTEN_AFTER = 1.5
"""Seconds after the end of a turn in which it is written down, or not at all."""
JUST_NOW = 1.5
"""Seconds in which the model may come to hear what was heard here."""


class BargeIn(enum.Enum):
    """Who says that the caller speaks while the agent does, and what follows."""

    MODEL = "model"
    """The model alone; the agent gives way at once, and the model has stopped by itself."""
    LOCAL = "local"
    """We, or the model; the agent gives way at once."""
    UNDO = "undo"
    """We, or the model; the agent falls silent, and goes on if it was nothing."""


class Speaker(Protocol):
    """What the watcher needs of the Framer; see there."""

    def yield_floor(self, reason: Floor) -> None:
        """Stops talking."""
        ...

    def hold(self) -> None:
        """Falls silent for the moment."""
        ...

    def go_on(self) -> None:
        """Goes on."""
        ...

    def finish_sentence(self, reason: Floor) -> None:
        """Stops at the next pause."""
        ...

    def audible(self) -> bool:
        """Whether the agent has the floor."""
        ...

    def floor(self) -> FloorRule:
        """How it gives way."""
        ...

    def unheard_seconds(self) -> float:
        """What is left to be heard."""
        ...

    def ends_within(self, seconds: float) -> bool:
        """Whether it is about to end."""
        ...

    def saying(self) -> str:
        """The words that are being heard."""
        ...

    def said_lately(self) -> str:
        """All that may come back on a line that echoes."""
        ...


@attrs.frozen
class LineChanged:
    """A voice began or ended, as far as is heard here, or more is known of the line."""


Heard = SpeechStarted | SpeechStopped | CallerWords | FloorTaken | LineChanged


class InterruptWatcher:
    """Makes the agent stop talking, or go on. It tells the link what it judged, and nothing else to anybody.

    Mailbox in: `inbox`. Out: `link` (`Judged`). `overhear` is called with each frame of the caller's. Ended by cancelling it.
    """

    def __init__(
        self,
        manner: BargeIn = BargeIn.MODEL,
        language: str = "en",
        *,
        transcribed: bool = True,
        note: Callable[..., None] | None = None,
        ear: LinePort | None = None,
        writing_time: WritingTime | None = None,
    ) -> None:
        """`writing_time`: what is known of the transcriber by turns that are not contested, of which the watcher is not told."""
        self.inbox: Mailbox[Heard] = Mailbox("interrupt_watcher", QUEUE, WhenFull.FATAL)
        self._manner = manner
        self._language = language
        self._transcribed = transcribed
        self._told = note
        self._ear = ear or LineEar()
        self._writing_time = writing_time or WritingTime()
        self._speaker: Speaker | None = None
        self._suspicion: Suspicion | None = None
        self._suspected = -math.inf
        """The beginning of the voice that was suspected last."""
        self._last_audible = -math.inf
        self._kept = False
        """Whether the caller said something that waits for the end of what is being said."""
        self._kept_words = ""
        """What of it is known, if it had been held for nothing."""
        self._next_ms = math.inf
        """Where in the stream the next frame of the caller's begins, if none is lost."""
        self._model_waits = False
        """Whether the model heard something of which it is not yet known whether it is an echo."""
        self._doubted = self._unwritten_at = math.inf
        """When a noise began, as it was judged, that the model holds for speech; and when no words of it will come any more."""
        self._pieces = ("", "")
        """The turn whose words came last in pieces, and what is known of them."""
        self._taken_late = ""
        """The turn that was known for one by such a piece."""

    async def run(
        self,
        speaker: Speaker,
        link: Outbox[Judged],
        turn_ends: Callable[[], float] = lambda: USUAL_PAUSE,
        last_words: Callable[[], bool] = lambda: False,
        hears_nobody: Callable[[], bool] = lambda: False,
    ) -> None:
        """Until cancelled. `turn_ends`: seconds of silence after which the model holds a caller's turn for over; `last_words`:
        whether the agent takes its leave; `hears_nobody`: whether it does so because nobody answered.
        """
        self._speaker, self._link, self._turn_ends, self._last_words = speaker, link, turn_ends, last_words
        self._hears_nobody = hears_nobody
        try:
            while True:
                event: Heard | None = None
                with trio.move_on_at(self._due()):
                    event = await self.inbox.receive()
                if event is not None:
                    self._take_in(event, speaker)
                self._consider(speaker)
        finally:
            self._speaker = self._suspicion = None  # nobody judges any more: the line may still be heard

    def contested(self) -> bool:
        """Whether it is to be judged here whether a caller who begins to speak takes the floor."""
        return self._manner is not BargeIn.MODEL and self._speaker is not None and self._hears_agent(self._speaker)

    def suspected_from(self) -> float | None:
        """Since when the caller has been speaking of whom it is being judged whether they take the floor; None if nobody is."""
        return None if self._suspicion is None else self._suspicion.began

    def line_echoes(self) -> bool:
        """Whether the agent is known to come back on the line."""
        return self._ear.line.echoes

    # ------------------------------------------------------------ what is heard on the line

    def plays(self, audio: bytes, at: float) -> None:
        """The caller hears a frame of the agent's at `at`."""
        if self._manner is not BargeIn.MODEL:
            self._ear.plays(audio, at)

    def overhear(self, event: CallerAudio) -> None:
        """Listens while the agent is heard; at other times nothing can be taken from it, and only the line is got to know."""
        speaker = self._speaker
        if self._manner is BargeIn.MODEL or speaker is None:
            return
        missing = event.timestamp_ms - self._next_ms
        self._next_ms = event.timestamp_ms + len(event.audio) / BYTES_PER_MS
        if LOST_LEAST <= missing <= LOST_MOST:
            self._ear.misses(missing / 1000)
        if not self._hears_agent(speaker):
            self._ear.rests(event.audio, trio.current_time())
            return
        before = self._ear.line
        line = self._ear.hears(event.audio, trio.current_time())
        if self._suspicion is not None:
            lasted = self._suspicion.lasts
            self._suspicion.hears(line)
            if self._suspicion.lasts and not lasted:  # known with this frame, and not when it is looked at next
                self.inbox.post(LineChanged())
        elif line.foreign and line.goes_on and line.began != self._suspected:
            self._suspected = line.began
            self._suspect(speaker, line.began, model=False)
        if (line.goes_on, line.settled, line.echoes) != (before.goes_on, before.settled, before.echoes):
            self.inbox.post(LineChanged())

    def _hears_agent(self, speaker: Speaker) -> bool:
        """Whether the agent may be on the line: as long as it is heard, and as long as it may come back."""
        now = trio.current_time()
        if speaker.audible():
            self._last_audible = now
        return now - self._last_audible < (COMES_BACK_WITHIN if self._ear.line.echoes else 1e-9)

    # ------------------------------------------------------------ suspicion and judgement

    def _suspect(self, speaker: Speaker, began: float, *, model: bool, hold: bool = True) -> None:
        rule = speaker.floor()
        if self._kept:
            return
        # "Yes?" over the goodbye to somebody who was asked whether they are there is the answer to that.
        question = not speaker.audible() or "?" in speaker.saying()[-LAST_SENTENCE:] or self._hears_nobody()
        at_end, pause = speaker.ends_within(ANSWERS_AT), self._turn_ends()
        self._suspicion = Suspicion(
            began,
            self._language,
            question,
            at_end,
            self._transcribed,
            pause,
            self._writing_time.wait,
            model_heard=model,
        )
        self._suspicion.hears(self._ear.line)
        self._note("suspected", by="model" if model else "voice", ms=round((trio.current_time() - began) * 1000))
        if rule is FloorRule.OPEN and hold:
            if self._manner is BargeIn.LOCAL:
                self._conclude(speaker, Verdict.TAKEN)
                return
            speaker.hold()
        self.inbox.post(LineChanged())

    def _take_in(self, event: Heard, speaker: Speaker) -> None:
        if isinstance(event, SpeechStopped):
            self._writing_time.over(event.item, trio.current_time())
        elif isinstance(event, CallerWords) and event.final:
            self._writing_time.written(event.item, event.text, trio.current_time())
        if isinstance(event, FloorTaken):
            self._suspicion, self._model_waits = None, False
            self._doubted = self._unwritten_at = math.inf
            self._kept, self._kept_words = False, ""
            speaker.yield_floor(event.reason)
            if self._manner is not BargeIn.MODEL:
                self._link.post(Judged(taken=True, words=event.words, cancels=bool(event.words)))
        elif isinstance(event, SpeechStarted):
            self._model_hears(speaker)
            if self._suspicion is not None:
                self._suspicion.unwritten |= {event.item}
        elif isinstance(event, SpeechStopped) and self._suspicion is not None:
            self._suspicion.stopped = trio.current_time()
        elif isinstance(event, SpeechStopped):
            now = trio.current_time()
            if now - self._doubted >= SPOKE + self._turn_ends():
                self._unwritten_at = now + UNWRITTEN_AFTER
            self._doubted = math.inf
        elif isinstance(event, CallerWords):
            self._words_come(event, speaker)

    def _words_come(self, event: CallerWords, speaker: Speaker) -> None:
        """Words of a turn that is to be judged, or was."""
        self._doubted = self._unwritten_at = math.inf
        before = self._pieces[1] if event.item == self._pieces[0] else ""
        self._pieces = (event.item, event.text if event.final else before + event.text)
        if self._suspicion is not None:
            self._suspicion.words = event.text if event.final else self._suspicion.words + event.text
            self._suspicion.final = event.final
            self._suspicion.unwritten -= {event.item} if event.final else set()
            may_echo = self._ear.line.echoes or self._suspicion.voice_until == -math.inf
            self._suspicion.echoed = may_echo and echoes(event.text, speaker.said_lately())
        elif event.final and self._model_waits and self._means_nothing(event.text, speaker):
            self._model_waits = False  # whatever the line is like
            self._link.post(Judged(taken=False))
        elif event.item != self._taken_late or not event.item:
            text = event.text if event.final else self._known_piece()
            if text.strip() and not self._means_nothing(text, speaker):
                self._taken_late = "" if event.final else event.item
                self._late_words(text, speaker)

    def _known_piece(self) -> str:
        """The words that came in pieces, as far as it may be judged by them: the rest may never come. The last may still grow,
        and of a goodbye all must be known."""
        return "" if self._last_words() else self._pieces[1].rpartition(" ")[0]

    def _model_hears(self, speaker: Speaker) -> None:
        """The model says that the caller speaks: a second opinion, or the only one."""
        now = trio.current_time()
        if not self.contested():
            speaker.yield_floor(Floor.SPEECH)
        elif self._suspicion is not None:
            self._suspicion.model_heard = True
        elif self._ear.line.goes_on and not (self._ear.line.settled or self._ear.line.foreign):
            self._model_waits = True  # it is soon known whether that is an echo
        elif (only_echo := self._ear.only_echo(now)) is None:
            self._model_waits = True
        elif only_echo:
            self._link.post(Judged(taken=False))
        else:
            self._believe(speaker)

    def _believe(self, speaker: Speaker) -> None:
        """The model heard somebody, and it was not the agent."""
        now, line = trio.current_time(), self._ear.line
        if now - line.until < JUST_NOW:
            # That was heard here, and judged; if it goes on, it may be more than was thought.
            self._suspect(speaker, max(line.began, now - LONG / 2), model=True, hold=line.goes_on)
            return
        self._suspect(speaker, now, model=True)
        if self._suspicion is not None and not line.echoes:  # nothing is heard here that would speak against it
            self._conclude(speaker, Verdict.TAKEN)

    def _means_nothing(self, text: str, speaker: Speaker) -> bool:
        """Whether a listener said it, or the agent."""
        listens = only_listens(text, self._language) or (self._last_words() and only_parts(text, self._language))
        may_echo = self._ear.line.echoes or self._model_waits  # it may be too faint to be heard here
        return listens or (may_echo and echoes(text, speaker.said_lately()))

    def _late_words(self, text: str, speaker: Speaker) -> None:
        """What was judged to be nothing had words."""
        if speaker.audible() and self._keeps(speaker):
            self._kept_words = text
            return
        self._model_waits = False
        speaker.yield_floor(Floor.SPEECH)
        self._link.post(Judged(taken=True, words=text, unwritten=not text))

    def _consider(self, speaker: Speaker) -> None:
        if self._kept and not speaker.audible():
            words, self._kept, self._kept_words = self._kept_words, False, ""
            self._link.post(Judged(taken=True, words=words))
        if trio.current_time() >= self._unwritten_at:
            self._unwritten_at = math.inf
            self._late_words("", speaker)
        line = self._ear.line
        if self._model_waits and (self._suspicion is not None or line.settled or not speaker.audible()):
            self._model_waits = False
            if self._suspicion is not None:
                self._suspicion.model_heard = True
            elif line.echoes:
                self._link.post(Judged(taken=False))
            elif speaker.audible():  # it was no echo; that it is over now is a matter of its words
                self._suspect(speaker, trio.current_time(), model=True, hold=line.goes_on)
            else:
                self._link.post(Judged(taken=True))
        elif (
            self._model_waits
            and not line.goes_on
            and (only_echo := self._ear.only_echo(trio.current_time())) is not None
        ):
            self._model_waits = False
            if only_echo:
                self._link.post(Judged(taken=False))
            else:
                self._believe(speaker)
        if self._suspicion is not None:
            self._suspicion.last_words = self._last_words()
            verdict = self._suspicion.verdict(trio.current_time())
            if verdict is Verdict.LISTENER and (rest := self._suspicion.rest()) is not None:
                self._suspicion, self._suspected = rest, rest.began
                self.inbox.post(LineChanged())
            elif verdict is not None:
                self._conclude(speaker, verdict)

    def _conclude(self, speaker: Speaker, verdict: Verdict) -> None:
        suspicion, self._suspicion = self._suspicion, None
        began = suspicion.began if suspicion is not None else trio.current_time()
        heard_from = began if suspicion is not None and suspicion.voice_ms > 0 else None
        self._note("judged", verdict=verdict.value, ms=round((trio.current_time() - began) * 1000))
        self._doubted = self._unwritten_at = math.inf
        if verdict is not Verdict.TAKEN:
            if suspicion is not None and suspicion.steady and suspicion.model_heard and not suspicion.final:
                self._doubted = began if self._transcribed else math.inf
            speaker.go_on()
            self._link.post(Judged(taken=False, heard_from=heard_from))
        elif not (speaker.audible() and self._keeps(speaker)):
            speaker.yield_floor(Floor.SPEECH)
            self._link.post(Judged(taken=True, heard_from=heard_from))

    def _keeps(self, speaker: Speaker) -> bool:
        """Whether what the caller said waits for the end of what is being said."""
        if self._kept:
            return True
        rule = speaker.floor()
        if rule is FloorRule.FINISH:
            speaker.finish_sentence(Floor.SPEECH)
        self._kept = rule is not FloorRule.OPEN
        return self._kept

    def _note(self, what: str, **values: object) -> None:
        if self._told is not None:
            self._told(what, **values)

    def _due(self) -> float:
        """When something is to be considered although nothing happens."""
        now = trio.current_time()
        due = math.inf if self._suspicion is None else self._suspicion.due(now)
        due = min(due, self._unwritten_at)
        if (self._kept or self._model_waits) and self._speaker is not None:
            due = min(
                due, now + (LOOK_AGAIN if self._model_waits else max(self._speaker.unheard_seconds(), 0.02) + 0.2)
            )
        return due
