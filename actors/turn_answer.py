"""The answer to the caller's turn, if the model waits to be asked for it: when it is due. Pure, told the time.

As a rule as soon as the turn is over. Not to a caller who asked to wait: what they are heard to do meanwhile may be a cough, so
there must be words in it. And not to one who broke off while dictating: they have time to go on, and an answer that has hardly
begun by then is taken back.
"""

import math

import attrs

WORDS_WITHIN = 1.5
"""Seconds after the turn of a caller who asked to wait in which it is written down, or that nothing was said in it."""
REST_WITHIN = 1.5
"""Seconds after the turn of a caller who broke off while dictating in which they go on, or are answered."""
HARDLY_BEGUN = 0.7
"""Seconds of an answer that comes before it is known that they broke off: a word, and it is taken back."""


@attrs.define
class TurnAnswer:
    """Of one call. Times in seconds of the one clock."""

    due: bool = False
    """Whether the caller's turn is over, and no reply was asked for or has begun since."""
    at: float = math.inf
    """When it is asked for in any case."""
    until_words: bool = False
    """Whether the caller asked to wait, and has said nothing since."""
    _unwritten: str = ""
    """The turn that is answered only if there are words in it."""
    _put_off: bool = False
    """Whether the caller broke off, and has the time to go on."""
    _over: float = -math.inf
    """When the caller's last turn ended."""
    _heard_from: float = math.inf
    """When the answer to it began to be heard."""

    def not_wanted(self, *, until_words: bool) -> bool:
        """Nobody wants to hear it any more; `until_words`: because the caller asked to wait. Whether it had been put off. What is
        asked for from now on is no answer to that turn, which is over for good."""
        put_off, self._over, self._heard_from = self._put_off, -math.inf, math.inf
        self.until_words, self._put_off, self.at = until_words, False, math.inf
        return put_off

    def turn_begins(self) -> bool:
        """The caller speaks. True: it is the rest of what they broke off."""
        goes_on = self._put_off
        if goes_on:
            self._put_off, self.due, self.at = False, False, math.inf
        return goes_on

    def turn_over(self, now: float) -> None:
        """They have spoken."""
        self._over, self._heard_from = now, math.inf

    def is_due(self, item: str, *, whatever_it_was: bool) -> bool:
        """Turn `item` is to be answered; whether that is to be asked for at once."""
        self.due = True
        if self.until_words and not whatever_it_was:
            self._unwritten, self.at = item, self._over + WORDS_WITHIN
            return False
        return True

    def written(self, item: str, *, said: bool) -> bool:
        """Turn `item` is written down, and whether there were words in it; whether a caller who was waited for is back."""
        if item == self._unwritten and not self._put_off:
            self.at, self.due = math.inf, self.due and said
        back, self.until_words = said and self.until_words, self.until_words and not said
        return back

    def heard(self, now: float) -> None:
        """There is audio of it."""
        self._heard_from = min(self._heard_from, now)

    @property
    def is_heard(self) -> bool:
        """Whether it has begun to be heard."""
        return self._heard_from < math.inf

    def may_be_put_off(self, now: float) -> bool:
        """Whether it has been asked for and has at most hardly begun, and there is time left in which the caller may go on: words
        that are written down later change nothing."""
        return not self.due and now < self._over + REST_WITHIN and now <= self._heard_from + HARDLY_BEGUN

    def put_off(self) -> None:
        """The caller broke off: what was asked for is given up, and due again a little later."""
        self.due = self._put_off = True
        self.at, self._heard_from = self._over + REST_WITHIN, math.inf

    def asked(self) -> None:
        """A reply is asked for: it answers what was put off, too."""
        if self._put_off:
            self._put_off, self.due, self.at = False, False, math.inf

    def begun(self) -> None:
        """A reply has begun that knows the turn."""
        self.due = False

    def take(self) -> bool:
        """Whether it is still due; it is not any more."""
        due, self.due = self.due, False
        return due

    def waited(self) -> None:
        """The time that there was has passed."""
        self.at, self._put_off = math.inf, False
