"""The handover: what a session of the model leaves to the one that takes its place in the same call.

Pure, told the time. A session knows the conversation by what went over its own connection; when that is gone, somebody must
still have the caller's last words as sound, and the agent's half sentence.
"""

import math
from collections import deque
from collections.abc import Sequence

import attrs

from actors.caller_lane import frames
from actors.ear import LOUD
from actors.messages import CallerAudio, CallerSilence, Tell
from actors.mulaw import BYTES_PER_MS, envelope, loudness
from actors.newest import REPLIES_KEPT, Newest
from actors.notebook import WORDS_KEPT, heard_words

ONSET = 1.0
"""Seconds before a turn was noticed that may belong to it."""
KEPT = 1.8
"""Seconds of audio that are kept while the caller says nothing: an onset, and the time in which it is noticed."""
NOTICED_WITHIN = 0.8
"""Seconds in which a session that lives tells that the caller began to speak: it waits for some voice, and the network takes
its time."""
BEGUN_MS = 1000
"""Speech of an answer that breaks off from which on it is gone on with; of less the caller has hardly heard anything yet."""
BEFORE_ONSET = 0.1
"""Seconds before the first loud frame that are part of a word."""
SOFT = 0.2
"""Seconds in which a word that begins softly becomes loud."""
QUIET = 1.5
"""Seconds of silence that are kept after what is loud, so that a turn is over for who hears it again; of more, what is too much
is forgotten first."""
SIFTED_EVERY = 1.0
"""Seconds between two looks for silence in all that is kept: each costs a millisecond or two."""
ITEMS_KEPT = 8
"""Items of speech of which at most some may not have been heard."""
TURNS_KEPT = 8
"""Turns that are not written down and are told apart."""
TOLD_KEPT = 16
"""Texts without an answer that are kept; the newest count."""


Sent = tuple[float, CallerAudio | CallerSilence]
"""Audio of the caller's, and when it went to the model. Fifty a second: no class of its own."""


@attrs.define
class _Turn:
    """A turn of the caller's that is not written down yet: since when its audio was sent, and, when it is over, that audio."""

    began: float
    audio: list[Sent] = attrs.field(factory=list[Sent])


@attrs.define
class _Speech:
    """An item: its reply, its words, its audio in µ-law bytes, and whether all of it was received."""

    reply: str = ""
    words: str = ""
    audio: int = 0
    whole: bool = False

    def audible(self) -> str:
        """The words that are heard at most."""
        return heard_words(self.words, self.audio, self.audio, complete=self.whole)


@attrs.define
class Handover:
    """What is known of one session. `frames`: how much of the caller's audio is kept at most."""

    frames: int
    _sent: deque[Sent] = attrs.field(factory=deque[Sent])
    """The newest, as far as it belongs to no turn that is over, or may not."""
    _turns: dict[str, _Turn] = attrs.field(factory=dict[str, _Turn])
    """The caller's turns that are not written down yet, and were not answered, in order."""
    _sifted: float = -math.inf
    """When the silence was last taken out of it."""
    _unnoticed: float = math.inf
    """From when on there is something of which the model has taken no notice yet."""
    _kept_from: float = math.inf
    """From when on there is that, or a turn that is not over: it is asked with each frame."""
    _turn_open: bool = False
    """Whether the model hears the caller speak."""
    _may_answer: Newest[None] = attrs.field(factory=lambda: Newest[None](REPLIES_KEPT))
    """Replies that began since it was over, and are still being made."""
    _alive_at: float = float("-inf")
    _over_at: float = float("-inf")
    _items: dict[str, _Speech] = attrs.field(factory=dict[str, _Speech])
    """The newest ones, whether they were heard by now or not."""
    _reply: str = ""
    """The reply that is being made."""
    _told: deque[tuple[float, Tell]] = attrs.field(factory=lambda: deque[tuple[float, Tell]](maxlen=TOLD_KEPT))
    _knows: Newest[float] = attrs.field(factory=lambda: Newest[float](REPLIES_KEPT))
    """Replies that have no voice yet, and until when each knows what was told."""
    _answers: dict[str, list[tuple[float, Tell]]] = attrs.field(factory=dict[str, list[tuple[float, Tell]]])
    """What was told that the first item of a reply answers, as long as it is not known whether that is heard."""

    _answered_by: tuple[str, dict[str, _Turn]] = attrs.field(factory=lambda: ("", dict[str, _Turn]()))
    """The item with which the turns were answered that were last, and those: it may never be heard."""

    # ------------------------------------------------------------ what happened

    def sent(self, events: Sequence[CallerAudio | CallerSilence], now: float) -> None:
        """Audio of the caller's went to the model."""
        sent = self._sent
        for event in events:
            if isinstance(event, CallerAudio):
                event.shrink()
            sent.append((now, event))
        oldest = min(self._kept_from, now - KEPT)
        while sent and sent[0][0] < oldest:
            sent.popleft()
        if len(sent) > self.frames and now >= self._sifted + SIFTED_EVERY:
            self._sent = sent = _without_silence(sent)
            self._sifted = now
        while len(sent) > self.frames:
            sent.popleft()

    def turn_began(self, item: str, now: float) -> None:
        """The model heard the caller begin to speak."""
        began = min(self._unnoticed, now - ONSET)
        if self._turn_open and self._turns:  # it is the same one
            began = min(began, self._turns.popitem()[1].began)
        self._turns[item], self._turn_open, self._unnoticed = _Turn(began), True, math.inf
        self._kept_from = began
        self._may_answer.clear()
        if len(self._turns) > TURNS_KEPT:
            del self._turns[next(iter(self._turns))]

    def unnoticed_since(self, began: float) -> None:
        """The caller has been speaking since then, and the model has taken no notice yet."""
        since = began - ONSET
        if self._turn_open and self._turns:
            turn = next(reversed(self._turns.values()))
            turn.began = min(turn.began, since)
        else:
            self._unnoticed = min(self._unnoticed, since)
        self._kept_from = min(self._kept_from, since)

    def alive(self, now: float) -> None:
        """The model said something: what it took no notice of was a noise to it."""
        self._alive_at = now
        if not self._turns:
            self._unnoticed = self._kept_from = math.inf

    def turn_over(self, now: float) -> None:
        """The model heard the caller fall silent: everything before belongs to that turn."""
        if self._turn_open and self._turns:
            turn = next(reversed(self._turns.values()))
            turn.audio = [one for one in self._sent if one[0] >= turn.began]
            room = self.frames
            for turn in reversed(self._turns.values()):  # the newest counts
                turn.audio = turn.audio[max(0, len(turn.audio) - room) :]
                room -= len(turn.audio)
        self._over_at, self._turn_open = now, False
        self._unnoticed = self._kept_from = math.inf

    def turn_written(self, item: str) -> None:
        """The words of the turn are known, as text; those of others may not be."""
        turn = self._turns.pop(item, None)
        self._answered_by[1].pop(item, None)
        if turn is not None and not turn.audio:
            self._kept_from = self._unnoticed

    def _answered(self, reply: str, least: int) -> None:
        """So much was said by voice: the model had heard the turn, and who goes on with that need not hear it again. A reply that
        began before the turn was over is what the caller speaks over, and no answer to that."""
        items = self._items_of(reply)
        if reply in self._may_answer and sum(speech.audio for speech in items.values()) >= least:
            if self._turns:
                self._answered_by = next(iter(items)), self._turns
            self._turns, self._unnoticed, self._kept_from = {}, math.inf, math.inf

    def _items_of(self, reply: str) -> dict[str, _Speech]:
        return {item: speech for item, speech in self._items.items() if speech.reply == reply}

    def told(self, tell: Tell, now: float) -> None:
        """The model is told something that is part of the conversation, and that only it knows."""
        self._told.append((now, tell))

    def reply_began(self, reply: str, knows: float) -> None:
        """The model began a reply; it knows what was told until then."""
        self._knows.put(reply, knows)
        if not self._turn_open:
            self._may_answer.put(reply, None)

    def spoken(self, reply: str, item: str, audio: int = 0, words: str = "") -> None:
        """A piece of the reply that is being made."""
        if audio and (knows := self._knows.pop(reply)) is not None:
            while self._told and self._told[0][0] <= knows:
                self._answers.setdefault(item, []).append(self._told.popleft())
        self._reply = reply
        speech = self._items.setdefault(item, _Speech(reply))
        if len(self._items) > ITEMS_KEPT:
            oldest = next(iter(self._items))
            del self._items[oldest]
            self._answers.pop(oldest, None)
        speech.audio += audio
        speech.words = (speech.words + words)[:WORDS_KEPT]
        if audio:
            self._answered(reply, BEGUN_MS * BYTES_PER_MS)

    def reply_over(self, reply: str, *, whole: bool) -> None:
        """Nothing more will come of the reply; `whole`: it was made to its end."""
        self._knows.pop(reply)
        self._answered(reply, 1)
        self._may_answer.pop(reply)
        self._reply = "" if self._reply == reply else self._reply
        for speech in self._items.values():
            speech.whole = speech.whole or (whole and speech.reply == reply)

    def item_over(self, item: str) -> None:
        """Nothing more will come of the item, and all of it was received."""
        if item in self._items:
            self._items[item].whole = True

    def cut(self, item: str, *, began: bool) -> None:
        """The item was interrupted: what was heard of it is known elsewhere, and the rest is not said any more. If it never began
        to be heard, what it was to answer has no answer yet."""
        self._items.pop(item, None)
        answered = self._answers.pop(item, [])
        if not began:
            self._told.extendleft(reversed(answered))
        if item == self._answered_by[0]:
            self._turns = self._turns if began else self._answered_by[1] | self._turns
            self._answered_by = "", {}

    # ------------------------------------------------------------ what is left

    @property
    def turn(self) -> str:
        """The newest turn of the caller's that is not written down yet; empty if there is none."""
        return next(reversed(self._turns), "")

    def unheard(self) -> list[CallerAudio | CallerSilence]:
        """What the caller said that nobody has answered or written down, as it was sent."""
        kept: list[Sent] = []
        newest = [one for one in self._sent if one[0] >= self._kept_from]
        for audio in (*(turn.audio for turn in self._turns.values()), newest):
            # Who begins again soon does so before the turn before is known to be over.
            since = kept[-1][0] if kept else -math.inf
            kept += [one for one in audio if one[0] > since]
        more = self.onset() if kept and not newest else []
        return [*(event for _, event in kept), *more]

    def unanswered(self) -> list[Tell]:
        """What was told that no voice has answered, or one that broke off with the loss: who is to go on must know it too."""
        begun = [told for item in self._items_of(self._reply) for told in self._answers.get(item, ())]
        return [tell for _, tell in (*begun, *self._told)]

    def onset(self) -> list[CallerAudio | CallerSilence]:
        """The beginning of what the caller is saying, if the session had no time to notice; of it there is no turn yet."""
        last = [one for one in self._sent if one[0] >= self._alive_at - NOTICED_WITHIN and one[0] > self._over_at]
        frames = [(at, event) for at, event in last if isinstance(event, CallerAudio)]
        began = next((at for at, event in frames if _is_loud(event)), float("inf"))
        if began == float("inf"):  # it may have begun just now
            soft_from = frames[-1][0] - SOFT if frames else began
            began = next((at for at, event in frames if at > soft_from and envelope(event.audio)), began)
        return [event for at, event in last if at >= began - BEFORE_ONSET]

    def unfinished(self) -> dict[str, str]:
        """The items of a reply that was broken off by the loss, and the words of each that are heard at most. An answer that had
        hardly begun, to what is not written down, is given anew."""
        if self._turns and not self._turn_open and self._reply in self._may_answer:
            return {}
        made = self._items_of(self._reply).items()
        return {item: speech.audible() for item, speech in made if speech.audio >= BYTES_PER_MS}

    def finished(self) -> dict[str, str]:
        """The newest other items, which may still be on their way to the caller, and the words of each."""
        broken_off = self.unfinished()
        return {item: speech.audible() for item, speech in self._items.items() if item not in broken_off}


def _is_loud(event: CallerAudio) -> bool:
    return loudness(event.audio) >= LOUD


def _without_silence(sent: Sequence[Sent]) -> deque[Sent]:
    """Without the silence that is neither just before nor just after what is loud, and not the newest. Frames are counted, since
    what a session hears again went to it all at once."""
    kept: deque[Sent] = deque()
    soft: deque[Sent] = deque(maxlen=frames(SOFT))
    """What may be the beginning of a word."""
    quiet, newest = frames(QUIET), len(sent) - frames(ONSET)
    for number, one in enumerate(sent):
        _, event = one
        quiet += 1
        if isinstance(event, CallerAudio):
            quiet = 0 if _is_loud(event) else quiet
            event.shrink()
        if quiet < frames(QUIET) or number >= newest:
            kept.extend(soft)
            soft.clear()
            kept.append(one)
        else:
            soft.append(one)
    return kept
