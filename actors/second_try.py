"""What becomes of a reply that ended: it is over, it is asked for once more, or another session has to give it. Pure.

A model fails for a moment, is too busy, breaks off in the middle of a word, or says nothing. The caller waits for the same thing
all the while, so a reply is never just gone; and no session is asked for ever.
"""

from collections.abc import Callable, Sequence

import attrs

from actors.messages import CallState, Gravity, ReplyEnded, ReplyStatus

VOICELESS_AT_MOST = 2
"""Replies to turns that may follow each other without a word: one is how a model keeps silent on a noise."""
RETRY_SECONDS = 0.4
"""Pause before a reply that failed for a passing reason is asked for again, once."""
BUSY_SECONDS = (0.4, 1.2, 3.0)
"""The same before each further try, with jitter, for which the only model there is is too busy."""
HEEDED_AT_MOST = 6.0
"""Seconds after which it wants to be asked again that a caller can wait; what it names is better than what we guess."""
HEEDED_LATE = 0.2
"""Seconds later, with jitter: many calls are told the same."""


@attrs.frozen
class Made:
    """A reply that ended, as the desk knows it."""

    asked: bool = False
    """Whether we asked for it, and below whether that includes the answer to a turn."""
    due: bool = False
    muted: bool = False
    """Whether nobody wanted it any more."""
    spoke: bool = False
    """Whether it had a voice."""
    cut_short: bool = False
    """Whether we broke it off, since it was too long."""

    def taken_back(self, event: ReplyEnded) -> bool:
        """Whether it was broken off by the caller, or by the model for them."""
        return self.muted or (event.status is ReplyStatus.CANCELLED and not self.cut_short)


@attrs.frozen
class Again:
    """It is asked for once more, after a pause (s). `begun`: of what was to be said the caller hears the beginning."""

    pause: float = 0.0
    begun: bool = False


@attrs.frozen
class Elsewhere:
    """This session will not give it; `fatal`: nor would another one at this place."""

    why: str
    fatal: bool = False


@attrs.frozen
class Outcome:
    """What to do, None if it is over; and what is wrong with the reply, empty if nothing is."""

    then: Again | Elsewhere | None = None
    trouble: str = ""


OVER = Outcome()


def busy_pauses(again_in: float, jitter: Callable[[int], float]) -> list[float]:
    """Seconds before each further try, if the only model there is is too busy; `again_in`: what it names, 0 if nothing."""
    if 0 < again_in <= HEEDED_AT_MOST:
        return [again_in + HEEDED_LATE * jitter(tried) for tried in range(len(BUSY_SECONDS))]
    return [seconds * jitter(tried) for tried, seconds in enumerate(BUSY_SECONDS)]


@attrs.define
class SecondTry:
    """The tries of one session."""

    _tries: int = 0
    """How often what is wanted now was asked for again."""
    _voiceless: int = 0
    """Replies in a row that had neither voice nor wish."""
    _words_unanswered: bool = False
    """Whether the caller's last turn had words that no reply has answered."""

    def turn_over(self) -> None:
        """The caller said something new: of its words nothing is known yet."""
        self._words_unanswered = False

    def voice(self) -> None:
        """The model speaks: that is its answer to what was said."""
        self._words_unanswered = False

    def words(self) -> None:
        """The caller's last turn had words."""
        self._words_unanswered = True

    def was_no_noise(self) -> bool:
        """Whether the model kept silent, as on a noise, and then it turned out that there were words: that is answered now."""
        if not self._voiceless:
            return False
        self._words_unanswered = False
        return True

    def ended(self, event: ReplyEnded, made: Made, pauses: Sequence[float], *, caller_speaks: bool) -> Outcome:
        """What becomes of it. `pauses`: seconds before each try after one that failed so, as long as there are any."""
        done = any(call.state is CallState.COMPLETED for call in event.calls)
        if made.taken_back(event):
            if not made.due or made.muted or made.spoke or caller_speaks:
                return OVER
            # Nobody did, and somebody waits for it.
            return self._once_more(f"broken off by the model: {event.reason}", Again(RETRY_SECONDS))
        if event.status is ReplyStatus.FAILED:
            trouble = f"failed: {event.reason}"
            if self._tries >= len(pauses):
                return Outcome(Elsewhere(f"a reply failed: {event.reason}", event.gravity is Gravity.FATAL), trouble)
            return self._again(trouble, Again(pauses[self._tries], made.spoke))
        if event.status is ReplyStatus.INCOMPLETE:
            trouble = f"incomplete: {event.reason}"
            if not done and not (self._tries and made.spoke):
                return self._once_more(trouble, Again(begun=made.spoke))
            self._tries = 0
            return Outcome(trouble=trouble)
        if made.spoke or done or made.cut_short:
            self._tries = self._voiceless = 0
            return OVER
        self._voiceless += 1
        if made.asked or self._voiceless >= VOICELESS_AT_MOST or self._words_unanswered:
            return self._once_more("there was no voice in it", Again())
        return OVER

    def _once_more(self, trouble: str, again: Again) -> Outcome:
        """A second time, and no third one."""
        return Outcome(Elsewhere("replies without a voice"), trouble) if self._tries else self._again(trouble, again)

    def _again(self, trouble: str, again: Again) -> Outcome:
        self._tries += 1
        return Outcome(again, trouble)
