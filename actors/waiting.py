"""The caller's wait for a voice: how long it has lasted, and which rung of the ladder comes next. Pure, told the time.

    filler ──▶ filler, or apology ──▶ the session is lost: another one, with an apology, or the keypad menu

Every rung is a deadline, counted from the moment at which the caller last heard anything. A model that gives no sign of life
is lost without the second rung; to one whose turn detection takes no notice of the caller a probe is sent first, and one that
lives is told what was said.
"""

import enum
import math
from collections.abc import Callable

import attrs

from actors.ear import STEADY_MS, Ear
from actors.reply_desk import ReplyDesk

FILLER_SHARE = 0.625
"""Share of the longest silence after which a caller who waits hears that somebody is there."""
FILLERS_AT_MOST = 2
"""Times in one wait; the silence after the last one is the last."""
PROBE_PATIENCE = 0.5
"""Seconds in which a model that lives answers a probe, as a rule."""
PROBE_PATIENCE_LEAST = 1.5
"""Seconds after which one that has not answered it counts as dead, at the earliest."""
NOTICED_WITHIN = 0.8
"""Seconds in which a model that lives says something of a voice that begins while the agent speaks."""
BEFORE_NOTICED = 1.0
"""Seconds before the model says that the caller speaks in which they began."""
DOUBTS_APART = 3.0
"""Seconds between two probes for what was loud over the agent: on a noisy line, or one that echoes, there is always something."""
CALLER_TURN_AT_MOST = 10.0
"""A wish for a reply, or a filler, waits this long for the caller to finish; then the agent speaks up."""
HEARD_LATE = 0.5
"""Seconds in which a new session hears what the caller said before, besides the silence that ends a turn."""
SAME_BREATH = 0.05
"""Seconds in which a reply is asked for that goes with the results of tools."""


class Rung(enum.Enum):
    """What is due when a caller has waited, in order of precedence."""

    PROBE = enum.auto()
    """The model is asked whether it lives."""
    LIFELESS = enum.auto()
    """It does not: the session is given up."""
    SILENT = enum.auto()
    """The voice that is due will not come any more: the session is given up, or the search for one."""
    INSIST = enum.auto()
    """The caller does not stop speaking: the agent speaks up all the same."""
    FILLER = enum.auto()
    """The caller hears that somebody is there."""


@attrs.define
class CallerWait:
    """The caller's present wait. `silence`: the longest there may be; `turn_ends`: the silence that ends a caller's turn (s).

    `desk` and `ear` are those of the session that is up, or was last; `over` hears what is loud while the agent speaks, which may
    be its echo: it makes nobody wait, but a model that says nothing to it may be dead. `speech_until` says when the speech
    received will be over.
    """

    silence: float
    turn_ends: float
    desk: ReplyDesk
    ear: Ear
    over: Ear
    speech_until: Callable[[], float] = lambda: -math.inf
    up: bool = False
    """Whether there is a session."""
    owed: bool = False
    """Whether a voice is due that a session which is gone has not given."""
    tools_out: bool = False
    """Whether the model waits for the results of its tools, and the caller for both."""
    called: bool = False
    """Whether the caller spoke while there was no session."""
    fillers: int = 0
    """How often the caller has heard in this wait that somebody is there."""
    life: float = -math.inf
    """When the model last said anything, or was asked for something."""
    passed_over: float | None = None
    """When what was last heard ended that may have been the caller, of which a model that lives took no notice, and for which
    our ear does not vouch once more; None if it was no such sign of life."""
    _turn_began: float = math.inf
    """When the model last heard the caller begin to speak."""
    _turn_is_none: bool = False
    """Whether that was judged a noise: it may go on for ever, but a model that says nothing more may be dead."""
    _tools_back: float = -math.inf
    _since: float = -math.inf
    """When this wait began, or a filler was last heard in it."""
    _heard_late_until: float = -math.inf
    """Until then a turn that is over is the one that was spoken to nobody."""
    _silent_since: float = -math.inf
    """When the silence began in which the first filler was heard."""
    _probed_at: float | None = None
    _doubting: bool = False
    """Whether that is for what was loud over the agent."""
    _doubted_at: float = -math.inf
    """When one was last sent for that."""

    # ------------------------------------------------------------ what happened

    def session_begins(self, desk: ReplyDesk, ear: Ear, over: Ear) -> None:
        """Another session takes over; the caller's wait goes on."""
        self.desk, self.ear, self.over = desk, ear, over
        self.up, self.life, self._probed_at = False, -math.inf, None

    def session_up(self, now: float) -> None:
        """It is told what was before, and is sent what the caller said in the meantime."""
        if self.called:
            self._heard_late_until = now + self.turn_ends + HEARD_LATE
        self.up, self.owed, self.called, self.life = True, False, False, now

    def spoke_to_nobody(self, now: float) -> None:
        """The caller speaks, and there is no session."""
        self.called = True
        self.begins(now)

    def turn_began(self, now: float) -> None:
        """The model heard the caller begin to speak."""
        self._turn_began, self._turn_is_none = now, False

    def turn_was_none(self) -> None:
        """What the model heard begin was a noise."""
        self._turn_is_none = True

    def turn_over(self, now: float) -> None:
        """The model heard the caller fall silent. If it heard so late that they wait already, the wait goes on."""
        if now > self._heard_late_until:
            self.begins(now)

    def begins(self, now: float) -> None:
        """Somebody speaks, or something was begun: from here the caller may wait."""
        self._since, self.fillers = now, 0

    def asked(self, now: float) -> None:
        """A reply is asked for. If it goes with what the caller waits for already, the wait goes on."""
        if not self.waits and now > max(self._tools_back + SAME_BREATH, self._heard_late_until):
            self.begins(now)
        self.life, self.owed = now, False

    def tools_answered(self, now: float) -> None:
        """The results of the tools are back."""
        if self.tools_out:
            self.tools_out, self._tools_back = False, now

    def sign_of_life(self, now: float, *, notices: bool = True) -> bool:
        """The model said something; `notices`: it would have said that also of what the caller says now.

        True: it lives, and is deaf to somebody who spoke and waits, or to the end of what they said. That wait began when the
        turn should have been over.
        """
        asked = self._probed_at is not None and not self._doubting
        deaf = asked and not notices and self._is_heard and self._unended_since is not None
        self.life, self.passed_over = now, None
        since = self.ear.unanswered_since
        # What was said since the probe is another question; what is said by who waits already, nobody heard yet.
        if not (notices or deaf or since is None) and (self.waits or not asked):
            self.over.sign_of_life()
            self._probed_at = None
            return False
        if not (notices or since is None or self.waits or self.desk.caller_speaks):
            if self.ear.plain:
                self.ear.vouch()
                deaf = True
            elif self.ear.long:
                self.passed_over = since
        if deaf:
            self.owed, self._heard_late_until = True, now + self.turn_ends + HEARD_LATE
            if not self.fillers:
                self._since = min(now, (self.last_voice if since is None else since) + self.turn_ends)
        self.ear.sign_of_life()
        self.over.sign_of_life()
        self._probed_at = None
        return deaf

    def search_begins(self, now: float) -> bool:
        """Another session is looked for, for a caller who has waited as long as they may. True: they are told so, and wait on."""
        if not self.waits or self.fillers < FILLERS_AT_MOST:
            return False
        self._since = now
        return True

    def climbed(self, rung: Rung, now: float) -> None:
        """`rung` was due, and its due is done."""
        if rung is Rung.PROBE:
            self._probed_at, self._doubting = now, now < self._probe_due
            if self._doubting:
                self._doubted_at = now
        elif rung is Rung.LIFELESS:
            if not (self.fillers or self.waits or self.ear.unanswered_since is None):
                self._since = min(now, self.ear.unanswered_since + self.turn_ends)
            self.owed = self.owed or self._spoke_unnoticed
        elif rung is Rung.INSIST:
            self.desk.insist()
            self.begins(now)
        elif rung is Rung.FILLER:
            if not self.fillers:
                self._silent_since = self._quiet_since
            self.fillers += 1
            self._since = now

    # ------------------------------------------------------------ what is due

    @property
    def waits(self) -> bool:
        """Whether the caller has reason to expect a voice."""
        return self.desk.waiting or self.tools_out or self.owed or self.called

    @property
    def _spoke_unnoticed(self) -> bool:
        """Whether the caller said something of which the model has said nothing since: while the agent did not speak, or that it
        heard begin and not end."""
        return self.ear.unanswered_since is not None or self._unended_since is not None

    @property
    def _unended_since(self) -> float | None:
        """Since when nobody speaks though the model heard the caller begin, and has said nothing since; None if it is not so. A
        noise that does not dip may have a caller in it whom we do not hear."""
        loud, voice = max(self.ear.last_loud, self.over.last_loud), self.last_voice
        if not self.desk.caller_speaks or loud < self._turn_began - BEFORE_NOTICED:
            return None
        return max(voice, self.life, self._turn_began + STEADY_MS / 1000 if loud > voice else -math.inf)

    @property
    def _is_heard(self) -> bool:
        """Whether the model hears the caller speak."""
        return self.desk.caller_speaks and not self._turn_is_none

    @property
    def last_voice(self) -> float:
        """When the line was last loud with what may have been the caller's voice."""
        return max(self.ear.last_voice, self.over.last_voice)

    @property
    def doubtful(self) -> bool:
        """Whether it is the model that the caller waits for, and not a tool of ours, and it may never answer."""
        return not self.up or self._probed_at is not None

    def next(self) -> tuple[float, Rung]:
        """The rung that comes next, and when it is due."""
        sign = Rung.PROBE if self._probed_at is None else Rung.LIFELESS
        rungs = (
            (self._sign_of_life_due(), sign),
            (self._loss_due(), Rung.SILENT),
            (self._insist_due(), Rung.INSIST),
            (self._filler_due(), Rung.FILLER),
        )
        return min(rungs, key=lambda rung: rung[0])  # of several, the first

    @property
    def _quiet_since(self) -> float:
        """Since when, or from when on, the caller hears nothing and says nothing: who speaks is not talked over."""
        spoke = min(self.last_voice, self._turn_began + CALLER_TURN_AT_MOST) if self._is_heard else -math.inf
        return max(self._since, self.speech_until(), spoke)

    def _sign_of_life_due(self) -> float:
        """The caller spoke, is silent, and nothing came from the model, neither a word nor the voice that is due: half the time
        is waited for that, half for the answer to a probe. One that answers may be slow."""
        if not self.up:
            return math.inf
        if self._probed_at is not None:
            return self._probed_at + max(self.silence / 2, PROBE_PATIENCE_LEAST)
        over = None if self._is_heard else self.over.unanswered_from
        doubt = math.inf if over is None else max(over + NOTICED_WITHIN, self._doubted_at + DOUBTS_APART)
        # One that lives was asked for the words of who waits before.
        again = self.life + self.silence / 2 if self.waits else -math.inf
        return min(max(self._probe_due, again), doubt, self._lifeless_since + self.silence / 2)

    @property
    def _lifeless_since(self) -> float:
        """Since when, or from when on, the caller waits in silence for a voice of the model's, and it gives no sign of life."""
        if not self.desk.waiting or self.desk.wish_blocked_by_caller:
            return math.inf
        # A filler is no sign of the model's life.
        return max(self.life, self._silent_since if self.fillers else self._quiet_since)

    @property
    def _probe_due(self) -> float:
        """When the model is asked for the caller's words that it has said nothing to."""
        since = self._unended_since if self.ear.unanswered_since is None else self.ear.unanswered_since
        return math.inf if since is None else since + self.turn_ends + self.silence / 2

    def _filler_due(self) -> float:
        """The caller hears nothing, and the silence must not last."""
        since = (
            self._probed_at if self._probed_at is None or not self._doubting else max(self._probed_at, self._probe_due)
        )
        if since is not None and since < math.inf and not self.fillers:  # it took no notice of their words
            return since + PROBE_PATIENCE
        if not self.waits or self.desk.wish_blocked_by_caller or self.fillers >= FILLERS_AT_MOST:
            return math.inf
        return self._quiet_since + self.silence * FILLER_SHARE

    def _insist_due(self) -> float:
        """The caller does not stop speaking."""
        return self._since + CALLER_TURN_AT_MOST if self.desk.wish_blocked_by_caller else math.inf

    def _loss_due(self) -> float:
        """The model's voice will not come any more."""
        if not self.waits or self.desk.wish_blocked_by_caller:
            return math.inf
        return self._quiet_since + self.silence if self.fillers >= FILLERS_AT_MOST else math.inf
