"""Contested turns: what the caller began to say while the agent spoke, until it is judged whether they took the floor. Pure.

The model has such a turn already, and would answer it. If it was one, it is made up for: it began, it ended, it had words. If
not, nobody ever learns of it, and the model forgets it before it speaks again. Words that come later may show that it was one.
"""

from collections import deque

import attrs

from actors.messages import CallerWords

DISMISSED_KEPT = 64
"""Turns that were none, whose words may still come."""
OPEN_AT_MOST = 8
"""Turns that wait for one judgement; a model that hears more in that time hears what is not there."""


@attrs.define
class ContestedTurn:
    """What is known of one."""

    stopped: bool = False
    words: CallerWords | None = None


@attrs.define
class ContestedTurns:
    """Those of one session, by item."""

    _open: dict[str, ContestedTurn] = attrs.field(factory=dict[str, ContestedTurn])
    _dismissed: deque[str] = attrs.field(factory=lambda: deque[str](maxlen=DISMISSED_KEPT))
    """Turns that were none."""
    _late: deque[CallerWords] = attrs.field(factory=lambda: deque[CallerWords](maxlen=DISMISSED_KEPT))
    """The words of those of them that had any after all."""
    _pieces: dict[str, str] = attrs.field(factory=dict[str, str])
    """What is known of their words while they are being written down."""
    _in_part: tuple[str, str] = ("", "")
    """A turn that the model has forgotten, and as which item it was told the first words of it."""
    _unended: str = ""
    """The turn that was none and that the model hears go on; empty if there is no such turn."""
    _to_drop: list[str] = attrs.field(factory=list[str])
    """Those of them that the model still knows of, and must forget before it speaks."""

    @property
    def any(self) -> bool:
        """Whether a judgement is waited for."""
        return bool(self._open)

    def is_open(self, item: str) -> bool:
        """Whether the turn waits for its judgement."""
        return item in self._open

    def concerns(self, item: str) -> bool:
        """Whether the turn is not to be told of: it is contested, or was none."""
        return item in self._open or item in self._dismissed

    # ------------------------------------------------------------ what happened

    def began(self, item: str) -> None:
        """The model heard a turn begin, and somebody else judges. Of too many the oldest was none."""
        self._open[item] = ContestedTurn()
        self._unended = ""
        if len(self._open) > OPEN_AT_MOST:
            oldest = next(iter(self._open))
            self._dismissed.append(oldest)
            if self._open.pop(oldest).stopped:
                self._to_drop.append(oldest)

    def stopped(self, item: str) -> None:
        """The model heard it end; it knows of it from now on."""
        self._unended = "" if item == self._unended else self._unended
        if item in self._open:
            self._open[item].stopped = True
        elif item in self._dismissed:
            self._to_drop.append(item)

    def written(self, words: CallerWords) -> None:
        """Words of it have come."""
        if words.final and words.item in self._open:
            self._open[words.item].words = words
        elif words.final:
            self._late.append(words)
        elif words.item in self._open or words.item in self._dismissed:
            self._pieces[words.item] = self._pieces.get(words.item, "") + words.text
            if len(self._pieces) > DISMISSED_KEPT:
                del self._pieces[next(iter(self._pieces))]

    # ------------------------------------------------------------ the judgement

    def dismiss(self) -> dict[str, ContestedTurn]:
        """They were none. Those that are known whole the model may forget at once."""
        turns, self._open = self._open, {}
        self._dismissed.extend(turns)
        self._unended = next((item for item, turn in turns.items() if not turn.stopped), self._unended)
        self._to_drop += [item for item, turn in turns.items() if turn.stopped and not turn.words]
        return turns

    def take(self, words: str, *, unwritten: bool = False) -> dict[str, ContestedTurn]:
        """They were turns. If it was `words` that showed it, that turn too, if it had been held for none and the model has it; it
        may go on, and the rest of its words may come. `unwritten`: it is the last one of which no words came.

        If there are neither, the model hears the caller in a turn that began as none: with the agent's voice, coming back.
        """
        turns, self._open = self._open, {}
        if self._unended in self._dismissed and not (turns or words):
            self._dismissed.remove(self._unended)
            turns[self._unended] = ContestedTurn()
        those = (late for late in self._late if late.item in self._to_drop and late.text == words)
        if words and (late := next(those, None)) is not None:
            self._to_drop.remove(late.item)
            turns[late.item] = ContestedTurn(stopped=True, words=late)
        elif item := self._known_after_all(words, unwritten=unwritten):
            stopped = item in self._to_drop
            if stopped:
                self._to_drop.remove(item)
            self._dismissed.remove(item)
            turns[item] = ContestedTurn(stopped, next((late for late in self._late if late.item == item), None))
        return turns

    def _known_after_all(self, words: str, *, unwritten: bool) -> str:
        """The turn that was none, and that is one by the first `words` of it that are known, or though there are none."""
        if words:
            return self._begins_with(words)
        return self._last_unwritten() if unwritten else ""

    def _last_unwritten(self) -> str:
        """The last turn that was none, which the model has, and which is not written down; empty if there is none."""
        written = {late.item for late in self._late}
        return next((item for item in reversed(self._to_drop) if item not in written), "")

    def _begins_with(self, words: str) -> str:
        """The turn that was none, which the model has or still hears, and whose words begin so; empty if there is none."""
        those = (item for item, text in self._pieces.items() if item in self._dismissed and text.startswith(words))
        return next((item for item in those if item in self._to_drop or item == self._unended), "")

    def whole(self, words: str) -> str:
        """All words of the turn that was none and began so, if they have come meanwhile; else `words`."""
        item = self._dismissed_with(words)
        return next((late.text for late in self._late if late.item == item), words)

    def told_as(self, item: str, words: str) -> str:
        """The model is told `words`, of a turn that it has forgotten, as `item`. As which item it was told the first of them;
        empty if it was not."""
        turn = self._dismissed_with(words)
        first = self._in_part[1] if turn and turn == self._in_part[0] else ""
        written = any(late.item == turn for late in self._late)
        self._in_part = ("", "") if written or not turn else (turn, item)
        return first

    def told_in_part(self, item: str) -> bool:
        """Whether the model has forgotten turn `item` and was told only the first words of it."""
        return bool(item) and item == self._in_part[0]

    def _dismissed_with(self, words: str) -> str:
        """The turn that was none, the last one of which these words are known, or that they are the first of; empty if there is
        none."""
        whole = (late.item for late in reversed(self._late) if late.text == words)
        begun = (item for item, text in reversed(self._pieces.items()) if text.startswith(words))
        return next((item for item in (*whole, *begun) if item in self._dismissed), "")

    def forget(self) -> list[str]:
        """What the model is to forget before it speaks, once."""
        dropped, self._to_drop = self._to_drop, []
        return dropped
