"""Rehearing: what the caller said to a session that is gone, or to none, as the next one comes to hear it. Pure, told the time.

To that session it is said now. But it may be a turn that everybody was told of already; and whoever said it in silence does not
interrupt the filler that they hear meanwhile. Both are known here.
"""

import math

import attrs

from actors.caller_lane import Heard
from actors.ear import Ear
from actors.handover import Handover
from actors.waiting import HEARD_LATE


@attrs.define
class Rehearing:
    """Over the sessions of a call. Times in seconds of the one clock.

    `ear` listens while there is no session, `over` while the agent is heard besides.
    """

    ear: Ear
    over: Ear
    told: str = ""
    """The caller's turn that the call was told of last."""
    again: list[Heard] = attrs.field(factory=list[Heard])
    """What the next session is to hear once more."""
    heard_at: float = -math.inf
    """When the present one heard that, and what was said in the meantime."""
    _in_silence: bool = False
    """Whether that was not said over the agent's voice."""
    _due: str = ""
    """The turn that was told of last, if the next session has to hear it."""
    _renamed: tuple[str, str] = ("", "")
    """That turn, as the present session names it and as the one before did."""

    def session_lost(self, left: Handover, ear: Ear, over: Ear, *, in_silence: bool) -> None:
        """Nobody hears the caller but these ears. `left`: what the session leaves; `in_silence`: how they spoke last."""
        if left.turn or not left.unheard():  # else the session before that left it, and it never heard it
            self._due = left.turn if left.turn == self.told else ""
        self.ear, self.over, self._in_silence = ear, over, in_silence

    def hears(self, audio: bytes, now: float, *, over: bool) -> bool:
        """A frame of the caller's came while there is no session, `over` the agent's voice; whether they are speaking."""
        ear = self.over if over else self.ear
        ear.listen(audio, now)
        speaks = ear.unanswered_since == now
        self._in_silence = self._in_silence or (speaks and not over)
        return speaks

    def begins(self, now: float) -> list[Heard]:
        """A session is up: what it hears first."""
        again, self.again = self.again, []
        self.heard_at = now
        return again

    def turn_began(self, item: str, now: float, turn_ends: float) -> None:
        """The session heard the caller begin to speak. `turn_ends`: the silence after which it holds a turn for over."""
        if self._due and self._may_hear_it(now, turn_ends):
            self._renamed = item, self._due
        self._due = ""

    def named_before(self, item: str) -> str:
        """The name under which the turn was told of already; empty if it is new."""
        return self._renamed[1] if item == self._renamed[0] else ""

    def is_late(self, now: float, turn_ends: float, last_voice: float) -> bool:
        """Whether the caller whom the session hears begin to speak now did so before it was there, and in the agent's silence."""
        return self._in_silence and last_voice == self.heard_at and self._may_hear_it(now, turn_ends)

    def _may_hear_it(self, now: float, turn_ends: float) -> bool:
        """Whether what the session hears begin now may be what was said before it was there."""
        return now <= self.heard_at + turn_ends + HEARD_LATE
