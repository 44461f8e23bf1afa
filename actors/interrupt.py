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

from actors.echo import Echo
from actors.judgement import Suspicion, Verdict, echoes, only_listens
from actors.mailbox import Mailbox, Outbox, WhenFull
from actors.messages import (
    CallerAudio,
    CallerWords,
    Floor,
    FloorRule,
    FloorTaken,
    Judged,
    SpeechStarted,
    SpeechStopped,
)
from actors.mulaw import envelope, from_base64
from actors.onset import ONSET_FRAMES, Onset

QUEUE = 128
"""Onsets, ends and words of turns: a person makes a few a second at most, a transcriber some ten."""
UNSETTLED = 0.4
"""Seconds of a voice that are needed to tell it from an echo on a line of which nothing is known yet."""
ANSWERS_AT = 1.0
"""Seconds before the end of the agent's speech from which on "yes" is an answer and no listener's word."""
HEARS_WITHIN = 0.6
"""Seconds in which the model says that it hears a voice."""
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

    def saying(self) -> str:
        """The words that are being heard."""
        ...


@attrs.frozen
class VoiceChanged:
    """The caller's voice began or ended, as far as is heard here."""


Heard = SpeechStarted | SpeechStopped | CallerWords | FloorTaken | VoiceChanged


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
    ) -> None:
        self.inbox: Mailbox[Heard] = Mailbox("interrupt_watcher", QUEUE, WhenFull.FATAL)
        self._manner = manner
        self._language = language
        self._transcribed = transcribed
        self._told = note
        self._onset = Onset()
        self.echo = Echo()
        self._speaker: Speaker | None = None
        self._suspicion: Suspicion | None = None
        self._voice_goes_on = False
        """Whether there was a voice at the last frame."""
        self._unexplained = 0
        """Frames of the present voice that are no echo."""
        self._compared = -math.inf
        """The beginning of the voice that was compared with what was played, and found to be no echo."""
        self._kept = False
        """Whether the caller said something that waits for the end of what is being said."""
        self._model_waits = False
        """Whether the model heard something of which it is not yet known whether it is an echo."""

    async def run(self, speaker: Speaker, link: Outbox[Judged]) -> None:
        """Until cancelled."""
        self._speaker, self._link = speaker, link
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
        return self._manner is not BargeIn.MODEL and self._speaker is not None and self._speaker.audible()

    # ------------------------------------------------------------ what is heard on the line

    def plays(self, audio: bytes, at: float) -> None:
        """The caller hears a frame of the agent's at `at`."""
        if self._manner is not BargeIn.MODEL:
            self.echo.plays(envelope(audio), at)

    def overhear(self, event: CallerAudio) -> None:
        """Listens while the agent is heard: at other times nothing can be taken from it."""
        speaker = self._speaker
        if self._manner is BargeIn.MODEL or speaker is None:
            return
        if not speaker.audible():
            return
        now, before = trio.current_time(), self._onset.began
        was = self._voice_goes_on
        audio = from_base64(event.payload)
        self._onset.hear(audio, now)
        goes_on = self._voice_goes_on = self._onset.speaking(now)
        level = envelope(audio)
        self.echo.comes(level, now, agent_heard=True, voice=goes_on)
        if self._suspicion is not None:
            self._hears_more(self._suspicion, goes_on)
            if goes_on != was:
                self.inbox.post(VoiceChanged())
        elif not goes_on:
            self._unexplained = 0
        elif self._onset.began != before or self._onset.last_voice == now:
            self._unexplained += not self.echo.explains(level)
            if self._unexplained >= ONSET_FRAMES or self._onset.began != before:
                self._perhaps(speaker, now)

    def _perhaps(self, speaker: Speaker, now: float) -> None:
        """There is a voice: is it the caller's?"""
        began = self._onset.began
        assert began is not None
        if self._compared != began:
            if self.echo.delay is not None:
                if self._unexplained < ONSET_FRAMES:
                    return
                echoes = self.echo.compare(now - began)  # the line may have changed
            elif not self.echo.settled:
                if now - began < UNSETTLED:
                    return
                echoes = self.echo.compare(now - began)
            else:
                echoes = False
            if echoes:
                self._unexplained = 0
                self.inbox.post(VoiceChanged())
                return
            self._compared = began
        self._suspect(speaker, began, model=False)

    def _hears_more(self, suspicion: Suspicion, goes_on: bool) -> None:
        began = self._onset.began
        if began is not None and began >= suspicion.began - JUST_NOW:
            suspicion.voice_ms, suspicion.voice_until = self._onset.voiced_ms, self._onset.last_voice
            suspicion.voice_goes_on = goes_on

    # ------------------------------------------------------------ suspicion and judgement

    def _suspect(self, speaker: Speaker, began: float, *, model: bool, hold: bool = True) -> None:
        rule = speaker.floor()
        if self._kept or rule is FloorRule.PROTECTED:
            self._kept = self._kept or model
            return
        question = speaker.unheard_seconds() < ANSWERS_AT or "?" in speaker.saying()
        self._suspicion = Suspicion(began, self._language, question, self._transcribed, model_heard=model)
        self._hears_more(self._suspicion, self._onset.speaking(trio.current_time()))
        self._note("suspected", by="model" if model else "voice", ms=round((trio.current_time() - began) * 1000))
        if rule is FloorRule.OPEN and hold:
            if self._manner is BargeIn.LOCAL:
                self._conclude(speaker, Verdict.TAKEN)
                return
            speaker.hold()
        self.inbox.post(VoiceChanged())

    def _take_in(self, event: Heard, speaker: Speaker) -> None:
        if isinstance(event, FloorTaken):
            self._suspicion = None
            speaker.yield_floor(event.reason)
        elif isinstance(event, SpeechStarted):
            self._model_hears(speaker)
        elif isinstance(event, CallerWords):
            if self._suspicion is not None:
                self._suspicion.words = event.text if event.final else self._suspicion.words + event.text
                self._suspicion.final = event.final
                self._suspicion.echoed = self.echo.delay is not None and echoes(event.text, speaker.saying())
            elif event.final and event.text.strip() and not self._means_nothing(event.text, speaker):
                self._late_words(event.text, speaker)

    def _model_hears(self, speaker: Speaker) -> None:
        """The model says that the caller speaks: a second opinion, or the only one."""
        now = trio.current_time()
        if not self.contested():
            speaker.yield_floor(Floor.SPEECH)
        elif self._suspicion is not None:
            self._suspicion.model_heard = True
        elif speaker.floor() is FloorRule.PROTECTED:
            self._kept = True
        elif self._onset.speaking(now) and not self.echo.settled:
            self._model_waits = True  # it is soon known whether that is an echo
        elif self._is_echo(now):
            self._link.post(Judged(taken=False))  # it heard the agent
        elif self._onset.began is not None and now - self._onset.last_voice < JUST_NOW:
            self._suspect(speaker, self._onset.began, model=True, hold=False)  # that was heard here, and judged
        else:
            self._suspect(speaker, now, model=True)
            if self._suspicion is not None:  # nothing is heard here that would speak against it
                self._conclude(speaker, Verdict.TAKEN)

    def _means_nothing(self, text: str, speaker: Speaker) -> bool:
        """Whether a listener said it, or the agent."""
        listens = only_listens(text, self._language)
        return listens or (self.echo.delay is not None and echoes(text, speaker.saying()))

    def _is_echo(self, now: float) -> bool:
        """Whether nothing was heard of late but the agent, coming back."""
        if self.echo.delay is None:
            return self.echo.compare(HEARS_WITHIN)  # it may be too faint to be taken for a voice here
        if self._onset.speaking(now):
            return self._unexplained < ONSET_FRAMES
        return now - self.echo.foreign_at > HEARS_WITHIN

    def _late_words(self, text: str, speaker: Speaker) -> None:
        """What was judged to be nothing had words."""
        if speaker.floor() is FloorRule.PROTECTED and speaker.audible():
            self._kept = True
            return
        speaker.yield_floor(Floor.SPEECH)
        self._link.post(Judged(taken=True, words=text))

    def _consider(self, speaker: Speaker) -> None:
        if self._kept and not speaker.audible():
            self._kept = False
            self._link.post(Judged(taken=True))
        if self._model_waits and (self._suspicion is not None or self.echo.settled or not speaker.audible()):
            self._model_waits = False
            if self._suspicion is not None:
                self._suspicion.model_heard = True
            else:
                self._link.post(Judged(taken=self.echo.delay is None))
        if self._suspicion is not None:
            verdict = self._suspicion.verdict(trio.current_time())
            if verdict is not None:
                self._conclude(speaker, verdict)

    def _conclude(self, speaker: Speaker, verdict: Verdict) -> None:
        suspicion, self._suspicion = self._suspicion, None
        began = suspicion.began if suspicion is not None else trio.current_time()
        self._note("judged", verdict=verdict.value, ms=round((trio.current_time() - began) * 1000))
        if verdict is not Verdict.TAKEN:
            speaker.go_on()
            self._link.post(Judged(taken=False))
        elif speaker.floor() is FloorRule.FINISH and speaker.audible():
            speaker.finish_sentence(Floor.SPEECH)
            self._kept = True
        else:
            speaker.yield_floor(Floor.SPEECH)
            heard = suspicion is not None and suspicion.voice_ms > 0
            self._link.post(Judged(taken=True, heard_from=began if heard else None))

    def _note(self, what: str, **values: object) -> None:
        if self._told is not None:
            self._told(what, **values)

    def _due(self) -> float:
        """When something is to be considered although nothing happens."""
        now = trio.current_time()
        due = math.inf if self._suspicion is None else self._suspicion.due(now)
        if (self._kept or self._model_waits) and self._speaker is not None:
            due = min(due, now + max(self._speaker.unheard_seconds(), 0.02) + 0.2)
        return due
