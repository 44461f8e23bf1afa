"""The reply desk: which replies the model is working on, which are muted, and when another may be asked for.

Pure. Only one reply at a time may write to the conversation: asking while one is active is an error on the wire, and
asking while the caller talks would talk over them. So a wish for a reply waits here until its time has come.
"""

from collections import deque

import attrs

from actors.messages import ReplyStatus

ACTIVE_AT_MOST = 16
"""Replies that may be made at once; a model makes one, and who begins more ends none."""


@attrs.define
class _Active:
    muted: bool = False
    spoke: bool = False
    due: bool = False
    asked: bool = False


@attrs.define
class ReplyDesk:
    """`automatic`: the model answers a finished turn by itself. `interrupting`: it cancels its reply when speech begins."""

    automatic: bool
    interrupting: bool
    _active: dict[str, _Active] = attrs.field(factory=dict[str, _Active])
    _muted_over: deque[str] = attrs.field(factory=lambda: deque[str](maxlen=16))
    _over: deque[str] = attrs.field(factory=lambda: deque[str](maxlen=16))
    _asked: bool = False
    _wished: bool = False
    _for_turn: bool = False
    """Whether what is asked for, or wished, is the answer to a turn: then it is like one that begins by itself."""
    _turn_answered: bool = False
    """Whether the reply that began last answers a turn for which it was asked."""
    _expected: bool = False
    _caller_speaks: bool = False
    _hushed: bool = False
    """Whether the next reply to begin is not wanted any more."""
    _untold: bool = False
    """Whether a reply is being made of which we have not been told: asking again before it is would be refused again."""

    # ------------------------------------------------------------ what is known

    @property
    def waiting(self) -> bool:
        """Whether the caller has reason to expect the model's voice."""
        due = (self._asked or self._expected) and not self._hushed
        return due or self._wished or any(not a.muted for a in self._active.values())

    @property
    def wish_blocked_by_caller(self) -> bool:
        """Whether a wish waits only because the caller is speaking."""
        return self._wished and self._caller_speaks and not self._asked and not self._active

    @property
    def asked(self) -> bool:
        """Whether a reply was asked for that has not begun yet."""
        return self._asked

    @property
    def caller_speaks(self) -> bool:
        """Whether the model hears the caller speak."""
        return self._caller_speaks

    def knows(self, reply: str) -> bool:
        """Whether `reply` is being made."""
        return reply in self._active

    def wanted(self, reply: str) -> bool:
        """Whether audio of `reply` is to be played: of one that was muted, or is over, it is not."""
        active = self._active.get(reply)
        return not active.muted if active is not None else reply not in self._over

    def was_asked(self, reply: str) -> bool:
        """Whether `reply` is one that we asked for; the others answer a turn of the caller."""
        return reply in self._active and self._active[reply].asked

    def is_due(self, reply: str) -> bool:
        """Whether we asked for `reply`, be it as the answer to a turn."""
        return reply in self._active and self._active[reply].due

    # ------------------------------------------------------------ asking

    def wish(self, *, turn: bool = False) -> bool:
        """A reply is wanted. True: ask now, and it counts as asked. False: it stays a wish, see `take_wish`.

        `turn`: as an answer to what the caller said, and not because we want something said.
        """
        self._for_turn = self._for_turn or turn
        self._wished = not self._may_ask()
        self._asked = self._asked or not self._wished
        return not self._wished

    def take_wish(self) -> bool:
        """Whether a wish has come due; it is taken off the desk, to be wished again by the one who asks."""
        if not self._wished or not self._may_ask():
            return False
        self._wished = False
        return True

    def _may_ask(self) -> bool:
        return not (self._asked or self._active or self._untold or self._caller_speaks or self._expected)

    def refused(self) -> None:
        """What was asked for collided with a reply that is being made: wish it again, for when that is over.

        An answer to a turn is not wished again: a model that was told not to has answered it by itself.
        """
        by_itself = self._turn_answered and bool(self._active)
        self._wished = self._wished or not (self._hushed or by_itself)
        self._asked = self._hushed = False
        self._untold = not self._active

    def failed(self) -> bool:
        """What was asked for will not begin; whether somebody still wants it."""
        wanted = self._asked and not self._hushed
        self._hushed = self._hushed and not self._asked
        self._asked = False
        return wanted

    @property
    def untold(self) -> bool:
        """Whether what was asked for collided with a reply of which nothing is known."""
        return self._untold

    def told_nothing(self) -> None:
        """Nothing was told of that reply in time: its end had been told before, or never will be."""
        self._untold = False

    def insist(self) -> None:
        """The caller has been speaking for too long to wait for."""
        self._caller_speaks = self._expected = False

    # ------------------------------------------------------------ what the model says

    def began(self, reply: str) -> bool:
        """Reply `reply` is being made; whether it is wanted.

        It knows all that was said before, so it fulfils a wish that was waiting, unless it was hushed before it began.
        """
        self._active[reply] = _Active(muted=self._hushed, due=self._asked, asked=self._asked and not self._for_turn)
        self._turn_answered = self._asked and self._for_turn
        self._for_turn = self._for_turn and not self._asked
        if len(self._active) > ACTIVE_AT_MOST:
            oldest = next(iter(self._active))
            del self._active[oldest]
            self._over.append(oldest)
        self._wished = self._wished and self._hushed
        self._caller_speaks = self._caller_speaks and self._hushed
        self._asked = self._expected = self._hushed = self._untold = False
        return not self._active[reply].muted

    def spoke(self, reply: str) -> None:
        """There is audio of `reply`; seen in the field: without its having begun."""
        if reply not in self._active and reply not in self._over:
            self.began(reply)
        if reply in self._active:
            self._active[reply].spoke = True

    def ended(self, reply: str, status: ReplyStatus) -> tuple[bool, bool]:
        """`reply` is generated to its end, or was cancelled: whether it had been muted, and whether it spoke."""
        active = self._active.pop(reply, None)
        self._untold = False
        self._over.append(reply)
        if active is None:  # seen in the field: an end without a beginning
            return reply in self._muted_over, False
        if active.muted:
            self._muted_over.append(reply)
        return active.muted, active.spoke

    def speech_started(self) -> list[str]:
        """The caller begins to speak. The replies being made are muted; those to be cancelled by us are returned.

        One that was asked for and has not begun is muted when it does: the request and this news cross on their way.
        """
        self._caller_speaks = True
        self._expected = False
        self._hushed = self._asked
        silenced = self.mute()
        return [] if self.interrupting else silenced

    def caller_begins(self) -> None:
        """The caller begins to speak while the agent does; what follows from it is not yet known."""
        self._caller_speaks = True

    def speech_stopped(self) -> None:
        """The caller's turn is over; an automatic reply to it is expected."""
        self._caller_speaks = False
        self._expected = self.automatic and not self._active

    def abandon(self) -> list[str]:
        """The model is lost: the replies that will never be finished."""
        unfinished, self._active = list(self._active), {}
        return unfinished

    def hush(self) -> list[str]:
        """As `mute`, and a reply that is due but has not begun is not wanted either."""
        self._wished, self._for_turn = False, self._for_turn and self._asked
        self._hushed = self._hushed or self._asked or self._expected
        return self.mute()

    def mute(self) -> list[str]:
        """Nobody wants the replies being made any more: their names, those muted before left out."""
        silenced = [reply for reply, active in self._active.items() if not active.muted]
        for reply in silenced:
            self._active[reply].muted = True
        return silenced
