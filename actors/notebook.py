"""The notebook of a call: what is worth keeping of it, written down as it happens, read once when it is over.

The actors of a call write into it directly: a note is a few fields in memory and waits for nobody.
Times inside are seconds since the stream began; the record adds the wall clock.
"""

import datetime
import itertools
from collections.abc import Callable

import attrs

from actors.mailbox import MailboxStats
from actors.messages import BYTES_PER_MS, Cut, Disposition
from actors.writing_time import WritingTime

ERRORS_KEPT = 100
TURNS_KEPT = 5000
"""Turns of one stream, an hour of short ones; those that come after are only counted."""
WORDS_KEPT = 20_000
"""Characters of one turn, twenty minutes of speech: a model that has lost its mind may send words without end."""
CHARACTERS_PER_SECOND = 16
"""English speech: used while an item's audio is not complete and its words run ahead."""


@attrs.define
class Turn:
    """One turn: the caller's words, or one item of the agent's speech and how much of it was heard."""

    who: str
    item: str
    began: float
    text: str = ""
    heard_text: str = ""
    heard_ms: int = 0
    generated_ms: int = 0
    interrupted: bool = False
    over: bool = False
    latency_ms: dict[str, int] = attrs.field(factory=dict[str, int])
    state: str = ""
    """The flow's state in which it was begun."""


@attrs.frozen
class Interruption:
    """The caller took the floor: what of the audible item had been heard, and what the model was told."""

    at: float
    item: str
    heard_ms: int
    truncate_ms: int | None
    generated_ms: int
    bound_ms: int
    reason: str


@attrs.frozen
class Trouble:
    """Something that should not have happened, where, and when."""

    at: float
    kind: str
    text: str


@attrs.frozen
class ErrandNote:
    """Something done for the caller, and what came of it."""

    at: float
    name: str
    outcome: str
    reason: str


@attrs.define
class CallRecord:
    """All that is kept of one call."""

    call_sid: str
    stream_sid: str
    began: datetime.datetime
    ended: datetime.datetime | None = None
    seconds: float = 0.0
    disposition: Disposition | None = None
    reason: str = ""
    moved: bool = False
    """It was to go on on another server."""
    turns: list[Turn] = attrs.field(factory=list[Turn])
    turns_left_out: int = 0
    interruptions: list[Interruption] = attrs.field(factory=list[Interruption])
    keys: str = ""
    frames_in: int = 0
    frames_out: int = 0
    silence_in_ms: int = 0
    tokens: int = 0
    errands: list[ErrandNote] = attrs.field(factory=list[ErrandNote])
    states: list[str] = attrs.field(factory=list[str])
    """The flow's states in the order they were entered."""
    replies: list[tuple[str, float]] = attrs.field(factory=list[tuple[str, float]])
    """Replies of the model: the flow's state, and seconds of speech."""
    overlong: dict[str, int] = attrs.field(factory=dict[str, int])
    """Replies that were longer than the flow asks for, by its state."""
    first_frame_ms: int | None = None
    mailboxes: list[MailboxStats] = attrs.field(factory=list[MailboxStats])
    errors: list[Trouble] = attrs.field(factory=list[Trouble])
    errors_left_out: int = 0
    replaced: list[Trouble] = attrs.field(factory=list[Trouble])
    """Sessions of the model that were replaced as planned."""


@attrs.define
class _Latency:
    """The times of one exchange, from the caller's last word to the agent's first."""

    stopped: float | None = None
    vad_ms: int = 0
    """The silence that had to pass until the turn was held for over."""
    began: float | None = None
    first_audio: float | None = None


Listener = Callable[[str, dict[str, object]], None]
"""Told of each note as it is made: a name and its values. For live views; must not block and must not raise."""


class Notebook:
    """Writes one call's record. `clock` is Trio's, `vad_ms` the silence by which the model knows a turn is over."""

    def __init__(self, record: CallRecord, clock: Callable[[], float], vad_ms: int, listener: Listener | None) -> None:
        self.record = record
        self._clock = clock
        self._vad_ms = vad_ms
        self._listener = listener
        self._start = clock()
        self._turns: dict[str, Turn] = {}
        self._latency = _Latency()
        self.writing_time = WritingTime()
        """How long the words of the caller's turns take to come."""
        self.state = ""
        """The flow's present state."""
        self.reply_asked = float("inf")
        """Seconds of speech that the flow asks a reply here not to exceed."""

    def now(self) -> float:
        """Seconds since the stream began."""
        return self._clock() - self._start

    def say(self, what: str, **values: object) -> None:
        """Tells the listener, if there is one."""
        if self._listener is not None:
            self._listener(what, values)

    # ------------------------------------------------------------ the caller

    def caller_stopped(self, item: str) -> None:
        """The model holds the caller's turn for over."""
        self._latency = _Latency(stopped=self.now(), vad_ms=self._vad_ms)
        self.writing_time.over(item, self._clock())
        self.say("caller_stopped", item=item)

    def caller_turn(self, item: str) -> Turn:
        """The caller's turn `item`, opened if it is new."""
        return self._turns.get(item) or self._open(Turn("caller", item, self.now(), state=self.state))

    def heard_again(self, before: str, item: str) -> None:
        """The caller's turn `before`, whose words never came, is `item` to another session."""
        turn = self._turns.get(before)
        if turn is not None and not turn.over and item not in self._turns:
            turn.item, turn.text, turn.heard_text = item, "", ""
            self._turns[item] = self._turns.pop(before)

    def caller_words(self, item: str, text: str, final: bool) -> None:
        """Words of the caller's turn: a further piece, or the whole."""
        turn = self.caller_turn(item)
        turn.text = (text if final else turn.text + text)[:WORDS_KEPT]
        turn.heard_text = turn.text
        turn.over = turn.over or final
        if final:
            self.writing_time.written(item, text, self._clock())
        self.say("caller_words", item=item, text=turn.text, final=final)

    def key(self, digit: str) -> None:
        """A key was pressed."""
        self.record.keys += digit
        self.say("key", digit=digit)

    # ------------------------------------------------------------ the agent

    def reply_began(self) -> None:
        """The model began a reply."""
        if self._latency.began is None:
            self._latency.began = self.now()

    def answer_put_off(self) -> None:
        """The reply that began is taken back: another one will be the answer."""
        self._latency.began = self._latency.first_audio = None
        self.say("answer_put_off")

    def first_audio(self) -> None:
        """Audio of a reply is here; only the first after a caller's turn counts."""
        if self._latency.first_audio is None:
            self._latency.first_audio = self.now()

    def item_began(self, item: str, words: str = "") -> Turn:
        """The first frame of `item` is on the wire: its turn begins, and the latency of the exchange is known."""
        if item in self._turns:
            return self._turns[item]
        turn = self._open(Turn("agent", item, self.now(), text=words, state=self.state))
        if self.record.first_frame_ms is None:
            self.record.first_frame_ms = round(turn.began * 1000)
        times = self._latency
        if times.stopped is not None and times.first_audio is None:
            return self._begun(turn)  # a filler: the answer is still to come
        self._latency = _Latency()
        if times.stopped is not None and times.began is not None and times.first_audio is not None:
            # Each part is rounded from the same points, so that they add up to the total exactly.
            points = [round(t * 1000) for t in (times.stopped, times.began, times.first_audio, turn.began)]
            parts = [later - earlier for earlier, later in itertools.pairwise(points)]
            turn.latency_ms = dict(zip(("model", "first_audio", "framing"), parts, strict=True))
            turn.latency_ms["turn_detection"] = times.vad_ms
            turn.latency_ms["total"] = times.vad_ms + sum(parts)
        return self._begun(turn)

    def _begun(self, turn: Turn) -> Turn:
        self.say("item_began", item=turn.item, latency_ms=turn.latency_ms)
        return turn

    def item_heard(
        self, item: str, words: str, heard: int, received: int, *, complete: bool, interrupted: bool
    ) -> None:
        """`heard` of the `received` µ-law bytes of `item` were heard; `complete` if no more audio was to come."""
        turn = self._turns.get(item)
        if turn is None:  # never began: nothing to tell of it
            return
        turn.text = words
        turn.heard_ms, turn.generated_ms = heard // BYTES_PER_MS, received // BYTES_PER_MS
        turn.heard_text = heard_words(words, heard, received, complete=complete)
        turn.interrupted, turn.over = interrupted, True
        self.say("item_heard", item=item, text=turn.heard_text, heard_ms=turn.heard_ms, interrupted=interrupted)

    def words_late(self, item: str, text: str) -> bool:
        """Words of the agent's `item` that come when it was heard to its end; False, and nothing is noted, if it was not."""
        turn = self._turns.get(item)
        if turn is None or turn.who != "agent" or not turn.over or turn.interrupted:
            return False
        turn.text = turn.heard_text = (turn.text + text)[:WORDS_KEPT]
        self.say("agent_words", item=item, text=turn.text)
        return True

    def interrupted(self, cut: Cut, truncate_ms: int | None, bound_ms: int, reason: str) -> None:
        """The audible item was cut."""
        note = Interruption(
            self.now(), cut.item, cut.heard_ms, truncate_ms, cut.received // BYTES_PER_MS, bound_ms, reason
        )
        self.record.interruptions.append(note)
        self.say("interrupted", item=cut.item, heard_ms=cut.heard_ms, reason=reason)

    def reply_seconds(self, seconds: float) -> None:
        """A reply had so many seconds of speech."""
        self.record.replies.append((self.state, round(seconds, 2)))
        if seconds > self.reply_asked:
            self.record.overlong[self.state] = self.record.overlong.get(self.state, 0) + 1
            self.say("overlong", state=self.state, seconds=round(seconds, 1))

    def patience(self, vad_ms: int) -> None:
        """From now on so much silence ends a caller's turn."""
        self._vad_ms = vad_ms

    # ------------------------------------------------------------ the flow

    def entered(self, state: str) -> None:
        """The flow is in `state` now."""
        if state != self.state:
            self.state = state
            self.record.states.append(state)
            self.say("state", state=state)

    def errand(self, name: str, outcome: str, reason: str) -> None:
        """Something was done for the caller."""
        self.record.errands.append(ErrandNote(self.now(), name, outcome, reason))
        self.say("errand", name=name, outcome=outcome, reason=reason)

    # ------------------------------------------------------------ the call

    def trouble(self, kind: str, text: str) -> None:
        """Something went wrong; the record keeps the first hundred."""
        if len(self.record.errors) < ERRORS_KEPT:
            self.record.errors.append(Trouble(self.now(), kind, text))
        else:
            self.record.errors_left_out += 1
        self.say("trouble", kind=kind, text=text)

    def replaced(self, why: str) -> None:
        """A session of the model is replaced by another, as planned."""
        self.record.replaced.append(Trouble(self.now(), "session", why))
        self.say("session_replaced", why=why)

    def close(
        self, disposition: Disposition, reason: str, mailboxes: list[MailboxStats], *, moving: bool = False
    ) -> CallRecord:
        """The call is over; `moving`: it was to leave this server. Turns that are still open keep what is known of them."""
        self.record.seconds = self.now()
        self.record.ended = self.record.began + datetime.timedelta(seconds=self.record.seconds)
        self.record.disposition, self.record.reason = disposition, reason
        self.record.moved = moving and disposition is Disposition.RESUME
        self.record.mailboxes = mailboxes
        return self.record

    def _open(self, turn: Turn) -> Turn:
        if len(self.record.turns) >= TURNS_KEPT:
            self.record.turns_left_out += 1
            return turn
        self._turns[turn.item] = turn
        self.record.turns.append(turn)
        return turn


def heard_words(words: str, heard: int, received: int, *, complete: bool) -> str:
    """The part of `words` that fits `heard` of `received` µ-law bytes, cut back to a whole word.

    The model gives no alignment, so this is an estimate: in proportion if the audio is complete, else bounded by the speed
    of speech too, since words run ahead of their audio.
    """
    if heard <= 0 or received <= 0:
        return ""
    if complete and heard >= received:
        return words
    end = len(words) * heard // received
    if not complete:
        end = min(end, heard * CHARACTERS_PER_SECOND // (BYTES_PER_MS * 1000))
    if end >= len(words):
        return words
    if not words[end].isspace() and end > 0:  # in the middle of a word: it was not heard whole
        end = max(words.rfind(" ", 0, end), 0)
    return words[:end].rstrip()
