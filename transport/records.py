"""The record port: the store behind it, and what happens while the store is down."""

import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import attrs
import msgspec
import structlog
import trio

from actors.messages import Disposition
from actors.notebook import CallRecord
from actors.story import without_words
from transport import unwritten
from transport.metrics import Metrics
from transport.store import FINAL, Store, StoreDown, Unkeepable

REMEMBERED = 2000
"""Decisions and tokens that this process remembers by itself, for when the store fails."""

STORY_PATIENCE = 0.3
"""Seconds that the first word of a stream that goes on waits for what was before, if this process knows it too."""
STRANGERS_PATIENCE = 2.5
"""Seconds that it waits if only the store knows: who has told everything does not want to begin anew, and that would be kept."""
CLAIM_PATIENCE = 0.2
"""Seconds that a caller's first word waits for the store; a token is then used once as far as this process knows."""

LATER_AT_MOST = 5000
"""Writes that wait for the store to come back; older ones are given up."""
TRY_AGAIN = 0.5
"""Seconds between tries while it is down, by the one that has waited longest: a process that dies when the store is back has had
little time for what it could not write."""

OTHERS_CATCH_UP = 2.0
"""Seconds after the store is back until other processes, too, have written what they could not."""

LAST_TRIES = 5.0
"""Seconds in which a process that ends still hopes for the store."""
KEEP_WITHIN = 10.0
"""Seconds in which what it has not taken then is put into a file."""

V = TypeVar("V")
log = structlog.get_logger("triode.records")


async def _keep_story(
    store: Store, call_sid: str, caller: str, called: str, story: Mapping[str, object], over: bool, now: float
) -> None:
    """Whoever went on with the call meanwhile knows better, here or elsewhere."""
    await store.keep_story(call_sid, caller, called, story, over=over, now=now, late=True)


async def _keep_callback(store: Store, call_sid: str, number: str, now: float) -> None:
    key = f"{call_sid}/callback"
    await store.claim_errand(key, call_sid, "callback", now)
    await store.settle_errand(key, "done", "", {"number": number})


async def _keep_record(store: Store, record: CallRecord | dict[str, Any]) -> None:
    await store.keep_record(msgspec.convert(record, CallRecord) if isinstance(record, dict) else record)


_WRITES: dict[str, Callable[..., Awaitable[None]]] = {
    "record": _keep_record,
    "story": _keep_story,
    "callback": _keep_callback,
    "delivery": lambda store, *promise: store.promise_delivery(*promise),
    "haste": lambda store, *promise: store.hasten_delivery(*promise),
    "answered": lambda store, *call: store.answered(*call),
    "status": lambda store, *status: store.status(*status),
    "recording": lambda store, *recording: store.keep_recording(*recording),
}
"""What can be written later, and also by another process: a name, and plain data."""


@attrs.frozen(eq=False)
class _Write:
    """One that waits."""

    what: str
    key: str
    arguments: tuple[Any, ...]

    @property
    def name(self) -> str:
        """By which it waits: another one of that name takes its place."""
        return f"{self.what} {self.key}"

    async def make(self, store: Store) -> None:
        """Raises StoreDown."""
        await _WRITES[self.what](store, *self.arguments)


def _plain(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """As they may lie in a file: of the keys that a caller pressed the store wants only the number."""
    return tuple(
        attrs.evolve(one, keys="*" * len(one.keys)) if isinstance(one, CallRecord) else one for one in arguments
    )


class Records:
    """Writes through to the store; a write that fails is counted and logged, and made later by `catch_up`, which somebody has to
    run. What a call needs at once is remembered here too."""

    def __init__(
        self,
        store: Store,
        metrics: Metrics,
        *,
        keep_transcripts: bool = True,
        call_over: Callable[[str], None] = lambda call_sid: None,
        caught_up: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`call_over` is told of every call that has ended for good, more than once perhaps; `caught_up` whenever nothing
        waits for the store any more."""
        self._store = store
        self._metrics = metrics
        self._keep_transcripts = keep_transcripts
        self._call_over = call_over
        self._tell_caught_up = caught_up
        self._clock = clock
        self._stories: OrderedDict[str, Mapping[str, object]] = OrderedDict()
        self._dispositions: OrderedDict[str, tuple[Disposition, bool]] = OrderedDict()
        """And whether the store has it: then another worker may have undone it there."""
        self._tokens: OrderedDict[str, None] = OrderedDict()
        self._reopened: OrderedDict[str, int | None] = OrderedDict()
        self._later: OrderedDict[str, _Write] = OrderedDict()
        self._taken_over: list[Path] = []
        """Files whose writes are among them."""
        self._files = trio.CapacityLimiter(1)
        self._news = trio.Event()
        self._caught_up = trio.Event()

    async def take_over(self, folder: Path) -> None:
        """What processes that have ended could not write is written here."""
        if not await self._in_thread(unwritten.can_be_used, folder):
            log.warning("unwritten_folder_cannot_be_used", folder=str(folder))
        await self.tidy(folder)
        for path, rows in await self._in_thread(unwritten.found, folder):
            self._taken_over.append(path)
            for what, key, arguments in rows:
                if what in _WRITES:
                    write = _Write(what, key, tuple(arguments))
                    self._later[write.name] = write
                else:  # a newer version may have left it
                    log.error("unwritten_not_understood", file=path.name, what=what, key=key)
            log.info("unwritten_taken_over", file=path.name, writes=len(rows))
        self._news.set()

    async def tidy(self, folder: Path, oldest: float = 0.0) -> None:
        """Files that are older than that (unix seconds), or not whole, are deleted, though nobody has written what is in them."""
        try:
            await self._in_thread(unwritten.tidy, folder, oldest)
        except OSError as error:
            log.error("unwritten_not_deleted", folder=str(folder), error=str(error))

    async def catch_up(self) -> None:
        """Makes the writes that failed, in the order in which they should have been made, until cancelled."""
        while True:
            while not self._later:
                await self._forget_files()
                self._caught_up.set()
                self._news = trio.Event()
                await self._news.wait()
            await trio.sleep(TRY_AGAIN)
            while self._later:
                key, write = next(iter(self._later.items()))
                try:
                    await self._in_time(write).make(self._store)
                except Unkeepable as error:  # it would hold up all the others for ever
                    self._failed(write.what, error)
                except StoreDown:
                    break
                except (TypeError, msgspec.ValidationError) as error:  # nothing that a process of this version has left
                    log.error("unwritten_not_understood", what=write.what, key=write.key, error=str(error))
                if self._later.get(key) is write:  # else there is something newer to be written there
                    del self._later[key]
            if not self._later:
                self._tell_caught_up()

    def _in_time(self, write: _Write) -> _Write:
        """A delivery that is hastened late still leaves others the time for what they know of the call: a message that was left
        with another unit would not be in it."""
        if write.what != "haste":
            return write
        call_sid, due = write.arguments
        return attrs.evolve(write, arguments=(call_sid, max(due, self._clock() + OTHERS_CATCH_UP)))

    async def finish(self, folder: Path | None) -> int:
        """The process ends: what the store does not take now either is left in `folder` for another. How much that is."""
        self._caught_up = trio.Event()
        with trio.move_on_after(LAST_TRIES):
            while self._later:
                await self._caught_up.wait()
        left = list(self._later.values())
        if not left:
            return 0
        rows = [(write.what, write.key, _plain(write.arguments)) for write in left]
        try:
            if folder is None:
                raise OSError("there is no folder for them")
            name = f"{self._clock():.0f}-{secrets.token_hex(4)}"  # two in containers may be of one number
            path = await self._in_thread(unwritten.keep, folder, name, rows)
        except (OSError, TypeError) as error:
            log.error("unwritten_not_kept", writes=len(left), error=str(error))
            for write in left:
                log.error("write_lost", what=write.what, key=write.key)
        else:
            log.error("unwritten_kept", writes=len(left), file=str(path))
            await self._forget_files()
        return len(left)

    async def _in_thread(self, work: Callable[..., V], *arguments: object) -> V:
        """What waits for the disk, one thing at a time."""
        return await trio.to_thread.run_sync(lambda: work(*arguments), limiter=self._files)

    async def _forget_files(self) -> None:
        """What was in them is in the store, or in a file of our own."""
        files, self._taken_over = self._taken_over, []
        for path in files:
            try:
                await self._in_thread(path.unlink, True)  # also if another process was faster
            except OSError as error:  # the next process writes it once more, also what was forgotten meanwhile
                log.error("unwritten_not_deleted", file=str(path), error=str(error))

    async def _write(self, what: str, key: str, *arguments: Any, last: bool = False) -> None:
        """Makes a write, now or later. `last`: later too if others wait, and behind them all: without them it would do harm."""
        write = _Write(what, key, arguments)
        try:
            if not (last and self._later):
                await write.make(self._store)
                return
        except StoreDown as error:
            self._failed(what, error)
            if isinstance(error, Unkeepable):
                return
        self._make_later(write, last=last)

    def _make_later(self, write: _Write, *, last: bool = False) -> None:
        self._later[write.name] = write
        if last:
            self._later.move_to_end(write.name)
        while len(self._later) > LATER_AT_MOST:
            _, lost = self._later.popitem(last=False)
            log.error("write_lost", what=lost.what, key=lost.key)
        self._news.set()

    async def keep_disposition(self, call_sid: str, disposition: Disposition) -> None:
        """See `RecordPort`."""
        _remember(self._dispositions, call_sid, (disposition, False))
        try:
            await self._store.keep_disposition(call_sid, disposition)
        except StoreDown as error:
            self._failed("disposition", error)
        else:
            _remember(self._dispositions, call_sid, (disposition, True))

    async def keep_record(self, record: CallRecord) -> None:
        """See `RecordPort`."""
        self._metrics.call_over(record)
        if not self._keep_transcripts:
            for turn in record.turns:
                turn.text = turn.heard_text = ""
            record.reason = without_words(record.reason)
        await self._write("record", record.stream_sid, record)
        if record.disposition is Disposition.HANG_UP:
            await self._over(record.call_sid)

    async def keep_story(
        self, call_sid: str, caller: str, called: str, story: Mapping[str, object], *, over: bool
    ) -> None:
        """See `RecordPort`. While one waits for the store the next one takes its place, and the store is not asked for that."""
        _remember(self._stories, call_sid, story)
        if over and not self._keep_transcripts:
            story = _without_words(story)
        now = self._clock()
        later = _Write("story", call_sid, (call_sid, caller, called, story, over, now))
        if later.name in self._later:
            self._make_later(later)
            return
        try:
            await self._store.keep_story(call_sid, caller, called, story, over=over, now=now)
        except StoreDown as error:
            self._failed("story", error)
            if not isinstance(error, Unkeepable):
                self._make_later(later)

    async def story(self, call_sid: str) -> Mapping[str, object] | None:
        """What was before, as far as the store or this process knows; it is waited for only briefly."""
        try:
            with trio.fail_after(STORY_PATIENCE if call_sid in self._stories else STRANGERS_PATIENCE):
                return await self._store.story(call_sid) or self._stories.get(call_sid)
        except (StoreDown, trio.TooSlowError) as error:
            self._failed("story", error)
            return self._stories.get(call_sid)

    async def callback(self, call_sid: str, number: str) -> None:
        """The caller wants to be called back at `number`; the one given last counts."""
        await self._write("callback", call_sid, call_sid, number, self._clock())

    async def close_story(self, call_sid: str, caller: str, called: str) -> None:
        """There is nothing to go on with: a human has taken the call, or a message was left."""
        if story := await self.story(call_sid):
            await self.keep_story(call_sid, caller, called, story, over=True)

    async def continue_call(
        self, call_sid: str, caller: str, called: str, since: float, is_up: Callable[[str], Awaitable[bool]]
    ) -> bool:
        """Whether `caller` was cut off since then in another call; then this one begins with its story. Not while `is_up` says
        that the other one goes on: then it is somebody else's, of the same house."""
        try:
            before = await self._store.unfinished(caller, called, since)
            if not before or (before != call_sid and await is_up(before)):  # its own: the webhook is only sent again
                return False
            story = await self._store.take_unfinished(caller, called, since)
            if story is None:
                return False
            await self._store.keep_story(call_sid, caller, called, story, over=False, now=self._clock())
        except StoreDown as error:
            self._failed("story", error)
            return False
        return True

    async def whole(self, call_sid: str) -> Mapping[str, Any]:
        """All that is known of a call; empty if nothing is."""
        try:
            return await self._store.call(call_sid) or {}
        except StoreDown as error:
            self._failed("call", error)
            return {}

    async def promise_delivery(self, call_sid: str, due: float) -> None:
        """The call is to be delivered, at `due` at the latest; with all that is known of it, so that is written first."""
        await self._write("delivery", call_sid, call_sid, due, last=True)

    async def hasten_delivery(self, call_sid: str, due: float) -> None:
        """The call is over."""
        await self._write("haste", call_sid, call_sid, due, last=True)

    async def disposition(self, call_sid: str) -> Disposition | None:
        """What was decided for the caller, here or by another worker."""
        mine, kept = self._dispositions.get(call_sid, (None, False))
        try:
            return await self._store.take_disposition(call_sid) or (None if kept else mine)
        except StoreDown as error:
            self._failed("disposition", error)
            return mine

    async def reopened(self, call_sid: str, request: str) -> int | None:
        """Counts one more opening of an undecided stream; None if that cannot be known.

        `request`: the carrier's token of the question; asked again with the same one, the answer is the same.
        """
        if request and request in self._reopened:
            return self._reopened[request]
        self._dispositions.pop(call_sid, None)
        times: int | None = None
        try:
            times = await self._store.reopen(call_sid)
        except StoreDown as error:
            self._failed("reopen", error)
        if request:
            _remember(self._reopened, request, times)
        return times

    async def claim(self, nonce: str, expires: int, now: float) -> bool:
        """Whether the token is used for the first time; with the store down, as far as this process knows."""
        if nonce in self._tokens:
            return False
        _remember(self._tokens, nonce, None)
        try:
            with trio.fail_after(CLAIM_PATIENCE):
                return await self._store.claim_token(nonce, expires, now)
        except (StoreDown, trio.TooSlowError) as error:
            self._failed("token", error)
            return True

    async def answered(self, call_sid: str, caller: str, called: str) -> None:
        """A call rings."""
        await self._write("answered", call_sid, call_sid, caller, called, self._clock())

    async def status(self, call_sid: str, status: str, sequence: int, caller: str = "", called: str = "") -> None:
        """A status callback came."""
        await self._write("status", f"{call_sid} {sequence}", call_sid, status, sequence, caller, called, self._clock())
        if status in FINAL:
            await self._over(call_sid)

    async def found_over(self, call_sid: str, status: str) -> None:
        """The carrier, asked, says that the call is over with that `status`; empty: it does not know it any more."""
        if status:
            await self.status(call_sid, status, 0)
        else:
            await self._over(call_sid)

    async def recording(self, recording_sid: str, call_sid: str, url: str, seconds: int, status: str) -> None:
        """A voicemail message, or news of one."""
        key = f"{recording_sid} {status}"
        await self._write("recording", key, recording_sid, call_sid, url, seconds, status, self._clock())

    async def _over(self, call_sid: str) -> None:
        """The call has ended for good. Who calls back may go on with it, but not by its words, if they are not to be kept."""
        story = None if self._keep_transcripts else await self.story(call_sid)
        if story and (bare := _without_words(story)) != story:
            if waits := self._later.get(f"story {call_sid}"):
                caller, called = waits.arguments[1:3]
            else:
                row = await self.whole(call_sid)
                caller, called = row.get("caller", ""), row.get("called", "")
            await self.keep_story(call_sid, caller, called, bare, over=bool(story.get("over")))
        self._call_over(call_sid)

    def _failed(self, what: str, error: StoreDown | trio.TooSlowError) -> None:
        self._metrics.store_failures.labels(what).inc()
        log.error("store_failed", what=what, error=(str(error) or "too slow")[:300])


def _without_words(story: Mapping[str, object]) -> Mapping[str, object]:
    """`story` as it may be kept where no words are."""
    why = {"why": without_words(str(story["why"]))} if "why" in story else {}
    return {**story, "said": [], **why}


def _remember(memory: OrderedDict[str, V], key: str, value: V) -> None:
    memory[key] = value
    while len(memory) > REMEMBERED:
        memory.popitem(last=False)
