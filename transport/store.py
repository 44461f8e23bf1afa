"""The store: what must outlive a call, behind one set of promises, kept in SQL (`store_sql.py`) or Redis (`store_redis.py`);
`open_store.py` opens the one that is set.

Every method raises StoreDown when the store cannot be used; callers decide what that means, and none of them is in the audio
path. Times are unix seconds unless they are datetimes.
"""

import datetime
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import attrs

from actors.messages import Disposition
from actors.notebook import CallRecord

FINAL = frozenset({"completed", "busy", "no-answer", "failed", "canceled"})
"""Call statuses after which none may follow."""


class StoreDown(Exception):
    """The store could not be used."""


class StoreAway(StoreDown):
    """The store could not be opened, though nothing says that its address is wrong: it may be there in a moment."""


class Unkeepable(StoreDown):
    """What was to be kept cannot be, however often it is tried: a number or a text beyond all bounds."""


FORGOTTEN = 7 * 86_400
"""Seconds after `forget_number` in which callbacks may still come for a call of that number: they are not kept."""
DAY = 86_400.0
"""Seconds in which texts to a number are counted."""
OPEN = ("begun", "ringing", "returning")
"""Statuses of an errand that is still under way; a text message knows only the first."""


@attrs.frozen
class ErrandRow:
    """An errand: under way (see OPEN), or done, failed, opted_out, unknown; `reference` is what others call it (a message's
    SID). `begun`: when it was claimed."""

    key: str
    call_sid: str
    name: str
    status: str
    reference: str
    detail: Mapping[str, Any]
    begun: float = attrs.field(default=0.0, eq=False)


ErrandChange = Callable[[ErrandRow], ErrandRow | None]
"""From what is known of an errand to what is known then; None: nothing is to be changed."""


@attrs.frozen
class Delivery:
    """A call's delivery to the backend: open, delivered or dead; `due` is when it is tried next."""

    call_sid: str
    state: str
    due: float
    tries: int
    error: str


def disposition_kept(disposition: Disposition, status: str) -> Disposition:
    """What is stored as `disposition` of a call whose status is `status`: of one that is over nothing can be resumed."""
    over = status in FINAL and disposition is Disposition.RESUME
    return Disposition.HANG_UP if over else disposition


class Store(Protocol):
    """Calls, turns, tokens, voicemail, stories, errands, deliveries."""

    async def answered(self, call_sid: str, caller: str, called: str, at: float | None = None) -> None:
        """A call rings, or did `at` (unix seconds; None: now); a webhook that comes twice changes nothing."""
        ...

    async def claim_token(self, nonce: str, expires: int, now: float) -> bool:
        """Whether token `nonce` is used for the first time. Forgets those that expired before `now`."""
        ...

    async def keep_disposition(self, call_sid: str, disposition: Disposition) -> None:
        """What `/twilio/after` is to answer."""
        ...

    async def take_disposition(self, call_sid: str) -> Disposition | None:
        """The stored decision; asking twice answers twice, since webhooks may be repeated."""
        ...

    async def reopen(self, call_sid: str, at: float | None = None) -> int:
        """The stream is opened again `at` (unix seconds; None: now), undecided: how often that has been done in a row (see
        `store_rules.tries_left_behind` and `store_rules.opened_again`)."""
        ...

    async def status(
        self, call_sid: str, status: str, sequence: int, caller: str = "", called: str = "", at: float | None = None
    ) -> None:
        """A status callback, which came `at` (unix seconds; None: now): late, double or out of order, a final status stays and a
        later one is not undone.

        Whose call it is, is taken from it only if nobody has said so before: a store that was lost meanwhile knows nothing.
        """
        ...

    async def keep_record(self, record: CallRecord) -> None:
        """The finished stream of a call. A stream that was kept before is not kept twice; a late one decides nothing."""
        ...

    async def keep_recording(
        self, recording_sid: str, call_sid: str, url: str, seconds: int, status: str, at: float | None = None
    ) -> None:
        """A voicemail message, or news of one that came `at` (unix seconds; None: now); in any order."""
        ...

    async def call(self, call_sid: str) -> dict[str, Any] | None:
        """All there is of a call: its row, and "turns", "story", "errands", "recordings"; None if it is unknown."""
        ...

    async def keep_story(
        self,
        call_sid: str,
        caller: str,
        called: str,
        story: Mapping[str, object],
        *,
        over: bool,
        now: float,
        late: bool = False,
    ) -> None:
        """The newest story of a call takes the place of the one before. `late`: it is of `now`, and what was kept since stays."""
        ...

    async def story(self, call_sid: str) -> dict[str, Any] | None:
        """The story of a call, if there is one."""
        ...

    async def unfinished(self, caller: str, called: str, since: float) -> str:
        """The call whose story `take_unfinished` would give; empty if there is none."""
        ...

    async def take_unfinished(self, caller: str, called: str, since: float) -> dict[str, Any] | None:
        """The newest story of `caller` with `called`, if it is not over and not older than `since`; it is given once."""
        ...

    async def claim_errand(self, key: str, call_sid: str, name: str, now: float) -> ErrandRow | None:
        """None if the errand is new, and from now on begun; else what is known of it."""
        ...

    async def settle_errand(self, key: str, status: str, reference: str, detail: Mapping[str, object]) -> None:
        """What came of it; see `store_rules.settled`."""
        ...

    async def change_errand(self, key: str, change: ErrandChange) -> ErrandRow | None:
        """The errand becomes what `change` makes of its newest row, nobody coming in between (it may be asked again).

        The row then; None if nothing was changed, or the errand is not known.
        """
        ...

    async def open_errands(self, name: str, since: float) -> list[ErrandRow]:
        """The errands `name` of all calls that were begun since then and are still under way, in order."""
        ...

    async def errand_by_reference(self, reference: str) -> ErrandRow | None:
        """The errand that others call `reference`."""
        ...

    async def errands(self, call_sid: str) -> list[ErrandRow]:
        """The errands of a call, in order."""
        ...

    async def opt_out(self, number: str, now: float) -> None:
        """`number` wants no text messages."""
        ...

    async def has_opted_out(self, number: str) -> bool:
        """Whether it said so."""
        ...

    async def claim_text(self, number: str, errand: str, now: float, at_most: int) -> bool:
        """Whether `number` may be sent the text of `errand`: whether fewer than `at_most` were claimed for it in the day before.
        Asking twice for the same errand counts once."""
        ...

    async def promise_delivery(self, call_sid: str, due: float) -> None:
        """The call is to be delivered at `due` at the latest, whatever happens to whoever promises it."""
        ...

    async def hasten_delivery(self, call_sid: str, due: float) -> None:
        """It may be delivered earlier: the call is over. Not if that is tried already: somebody may be at it."""
        ...

    async def take_deliveries(self, now: float, lease: float, limit: int) -> list[Delivery]:
        """Those that are due, for the one who asks: for `lease` seconds nobody else gets them. Counts a try for each."""
        ...

    async def next_delivery(self) -> float | None:
        """When the next one is due."""
        ...

    async def settle_delivery(
        self, call_sid: str, state: str, due: float, error: str, now: float, tries: int | None = None
    ) -> None:
        """What came of a try: delivered, dead, or open again until `due`; `tries`: how many there were, if this was none."""
        ...

    async def deliveries(self, state: str = "") -> list[Delivery]:
        """All of them, or those in `state`."""
        ...

    async def revive_delivery(self, call_sid: str, due: float) -> bool:
        """A dead one is tried again from `due` on; whether there was one."""
        ...

    async def forget_before(self, before: datetime.datetime) -> int:
        """Everything of calls that ended before `before`, but for those still to be delivered; how many."""
        ...

    async def forget_number(self, number: str) -> int:
        """Everything of the calls of `number`; how many. That it opted out is kept: it asked for that. For FORGOTTEN seconds
        it is known which calls these were: a status or a recording that comes then brings nobody back."""
        ...
