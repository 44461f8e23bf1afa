"""The steps of a warm transfer, one by one, with an API that does as told: whoever is late, dies or comes twice."""

import contextlib
import itertools
from collections.abc import AsyncIterator
from urllib.parse import urlencode

import attrs
import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock

from transport.loopback.memory_store import MemoryStore
from transport.loopback.scenario import HUMAN
from transport.store import ErrandRow, StoreDown
from transport.twilio_rest import Refused, Unreached, Unsure
from transport.twiml import Documents
from transport.warm_transfer import (
    ANSWERED_WITHIN,
    DOUBT_AFTER,
    LEASE,
    LOOK_EVERY,
    RUNG_WITHIN,
    TAKE_BACK_PAUSES,
    WAIT_AT_MOST,
    WarmTransfers,
)

OURS = "+14155550100"
KEY = "CA1/transfer.0"


@attrs.define
class FakeRest:
    """The API port: what successive requests come to."""

    rings: list[str | Exception] = attrs.field(factory=list)
    redirects: list[Exception | None] = attrs.field(factory=list)
    calls: list[tuple[str, str]] | Exception = attrs.field(factory=list)
    """What is found when it is looked for calls to the human."""
    status: str | Exception = "ringing"
    rung: list[tuple[str, str, str, str]] = attrs.field(factory=list)
    redirected: list[tuple[float, str, str]] = attrs.field(factory=list)
    hung_up: list[str] = attrs.field(factory=list)
    slow: float = 0.1

    async def ring(self, to: str, sender: str, url: str, callback: str, seconds: int, fallback: str) -> str:
        assert fallback == "https://phone.example.com/twilio/fallback"
        self.rung.append((to, sender, url, callback))
        await trio.sleep(self.slow)
        came = self.rings.pop(0) if self.rings else "CAleg"
        if isinstance(came, Exception):
            raise came
        return came

    async def redirect(self, call_sid: str, url: str) -> None:
        self.redirected.append((trio.current_time(), call_sid, url))
        await trio.lowlevel.checkpoint()
        came = self.redirects.pop(0) if self.redirects else None
        if came is not None:
            raise came

    async def hang_up(self, call_sid: str) -> None:
        self.hung_up.append(call_sid)
        await trio.lowlevel.checkpoint()

    async def find_calls(self, to: str, sender: str, seconds: float) -> list[tuple[str, str]]:
        assert (to, sender) == (HUMAN, OURS)
        await trio.lowlevel.checkpoint()
        if isinstance(self.calls, Exception):
            raise self.calls
        return self.calls

    async def call_status(self, call_sid: str) -> str:
        await trio.lowlevel.checkpoint()
        if isinstance(self.status, Exception):
            raise self.status
        return self.status

    def back(self, outcome: str, number: int = 0) -> list[float]:
        """When the caller was taken back with this outcome."""
        url = f"https://phone.example.com/twilio/warm/back?outcome={outcome}&n={number}"
        return [at for at, sid, where in self.redirected if (sid, where) == ("CA1", url)]


def transfers(rest: FakeRest, store: MemoryStore | None = None) -> WarmTransfers:
    documents = Documents("https://phone.example.com", HUMAN)
    return WarmTransfers(store or MemoryStore(), rest, documents, trio.current_time)  # type: ignore[arg-type] # a fake


@attrs.define
class Desk:
    """One worker's transfers, with a transfer begun."""

    rest: FakeRest
    desk: WarmTransfers
    number: int | None
    began: float

    @property
    def row(self) -> ErrandRow:
        store = self.desk.store
        assert isinstance(store, MemoryStore)
        return store.errand_rows[KEY]


@contextlib.asynccontextmanager
async def a_transfer(rest: FakeRest, *, watched: bool = True, store: MemoryStore | None = None) -> AsyncIterator[Desk]:
    """A transfer that was begun, and (`watched`) a worker that looks after it."""
    async with trio.open_nursery() as nursery:
        desk = transfers(rest, store)
        await desk.store.answered("CA1", "+14155550123", OURS)
        if watched:
            nursery.start_soon(desk.watch)
        began = trio.current_time()
        yield Desk(rest, desk, await desk.begin("CA1", OURS, nursery), began)
        nursery.cancel_scope.cancel("the test is over")


async def test_of_several_that_begin_the_same_transfer_one_rings(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    rest, store = FakeRest(), MemoryStore(slow=0.05)
    workers = [transfers(rest, store) for _ in range(4)]
    numbers: list[int | None] = []

    async def begin(worker: WarmTransfers) -> None:
        numbers.append(await worker.begin("CA1", OURS, nursery))

    async with trio.open_nursery() as all_of_them:
        for worker in workers:
            all_of_them.start_soon(begin, worker)
    assert numbers == [0] * 4
    query = urlencode({"call": "CA1", "n": 0})
    at = "https://phone.example.com/twilio/warm"
    assert rest.rung == [(HUMAN, OURS, f"{at}/brief?{query}", f"{at}/status?{query}")]


@pytest.mark.parametrize("error", [Refused(21211, 400, "no number"), Unreached("no way"), Unsure("HTTP 500")])
async def test_a_human_who_certainly_was_not_rung_is_not_waited_for(
    error: Exception, autojump_clock: MockClock
) -> None:
    async with a_transfer(FakeRest(rings=[error])) as t:
        await trio.sleep(3)
        assert t.row.status == ("returning" if isinstance(error, Unsure) else "failed")
        await t.desk.arrived(KEY)
        assert (t.row.status, t.row.detail) == ("failed", {"reason": str(error)})
        assert not await t.desk.waits(KEY)
        if isinstance(error, Unsure):  # it took a moment to find out, and the caller has begun to wait
            assert t.number == 0
            assert len(t.rest.back("failed")) == 1
        else:
            assert t.number is None
            assert t.rest.redirected == []


async def test_an_api_that_hangs_does_not_leave_the_line_dead(autojump_clock: MockClock) -> None:
    async with a_transfer(FakeRest(slow=8, rings=[Unreached("no way")])) as t:
        assert trio.current_time() - t.began == pytest.approx(ANSWERED_WITHIN)
        assert t.number == 0
        await trio.sleep(10)
        assert len(t.rest.back("failed")) == 1, "nobody was rung after all"


async def test_a_call_whose_answer_was_lost_is_found_and_waited_for(autojump_clock: MockClock) -> None:
    rest = FakeRest(rings=[Unsure("lost")], calls=[("CAover", "busy"), ("CAleg", "ringing"), ("CAolder", "ringing")])
    async with a_transfer(rest) as t:
        await trio.sleep(3)
        assert (t.row.status, t.row.reference) == ("ringing", "CAleg")
        assert t.rest.redirected == []


async def test_the_call_of_another_transfer_is_not_taken_for_ours(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    await store.claim_errand("CA2/transfer.0", "CA2", "transfer", 0.0)
    await store.settle_errand("CA2/transfer.0", "ringing", "CAleg", {})
    rest = FakeRest(rings=[Unsure("lost")], calls=[("CAleg", "ringing")])
    async with a_transfer(rest, store=store) as t:
        await trio.sleep(3)
        assert len(t.rest.back("failed")) == 1


async def test_a_human_who_perhaps_was_rung_is_waited_for_but_not_for_ever(autojump_clock: MockClock) -> None:
    async with a_transfer(FakeRest(rings=[Unsure("lost")], calls=Unsure("lost too"))) as t:
        await trio.sleep(WAIT_AT_MOST - 10)
        assert await t.desk.waits(KEY)
        assert t.rest.redirected == []
        await trio.sleep(10 + LOOK_EVERY)
        assert not await t.desk.waits(KEY)
        assert len(t.rest.back("no-answer")) == 1


@pytest.mark.parametrize("rung", [False, True])
async def test_what_could_not_be_known_of_the_humans_call_is_asked_again(rung: bool, autojump_clock: MockClock) -> None:
    async with a_transfer(FakeRest(rings=[Unsure("HTTP 503")], calls=Unsure("HTTP 503"))) as t:
        await trio.sleep(5)
        t.rest.calls = [("CAleg", "ringing")] if rung else []  # the API is well again
        await trio.sleep(RUNG_WITHIN)
        assert (t.row.status, t.row.reference) == (("ringing", "CAleg") if rung else ("returning", ""))
        assert len(t.rest.back("failed")) == (0 if rung else 1)


async def test_a_store_that_is_down_before_the_human_is_rung_is_told(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    rest = FakeRest()
    with pytest.raises(StoreDown):
        await transfers(rest, MemoryStore(down=True)).begin("CA1", OURS, nursery)
    assert rest.rung == []


async def test_what_is_not_known_is_neither_waited_for_nor_accepted_nor_ended(autojump_clock: MockClock) -> None:
    desk = transfers(FakeRest())
    assert not await desk.waits(KEY)
    assert not await desk.accepted(KEY)
    assert not await desk.accept(KEY)
    assert await desk.ended(KEY, "busy") == ""
    await desk.caller_left("CA1")
    await desk.arrived(KEY)


ENDS = [
    ("busy", "busy"), ("no-answer", "no-answer"), ("failed", "failed"), ("canceled", "failed"),
    ("completed", "refused"), ("anything", "failed"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "outcome"), ENDS)
async def test_how_the_humans_call_ended_is_told_once_in_the_flows_words(
    status: str, outcome: str, autojump_clock: MockClock
) -> None:
    async with a_transfer(FakeRest()) as t:
        assert await t.desk.waits(KEY)
        told: list[str] = []

        async def tell() -> None:
            told.append(await t.desk.ended(KEY, status))

        async with trio.open_nursery() as at_once:
            for _ in range(3):
                at_once.start_soon(tell)
        assert sorted(told) == ["", "", outcome]
        assert not await t.desk.waits(KEY)
        assert not await t.desk.accept(KEY)
        await t.desk.arrived(KEY)
        assert (t.row.status, t.row.detail) == (outcome, {})


async def test_who_has_accepted_has_not_refused_when_they_hang_up(autojump_clock: MockClock) -> None:
    async with a_transfer(FakeRest()) as t:
        assert await t.desk.accept(KEY)
        assert await t.desk.accept(KEY)  # a webhook that comes twice
        assert await t.desk.accepted(KEY)
        assert await t.desk.ended(KEY, "completed") == ""
        assert await t.desk.accepted(KEY)
        t.rest.status = "completed"
        await t.desk.caller_left("CA1")
        assert (t.rest.redirected, t.rest.hung_up) == ([], [])


@pytest.mark.parametrize("answer", ["CAleg", Unsure("lost")], ids=["late", "lost"])
async def test_what_the_human_did_before_the_api_had_answered_still_counts(
    answer: str | Exception, autojump_clock: MockClock
) -> None:
    async with a_transfer(FakeRest(rings=[answer], slow=3)) as t:
        assert await t.desk.accept(KEY)
        await trio.sleep(5)
        assert await t.desk.accepted(KEY), "the human is joined with the caller"
        assert await t.desk.ended(KEY, "completed") == ""
        await trio.sleep(WAIT_AT_MOST + 5)
        assert t.rest.redirected == []


async def test_an_end_that_is_told_before_the_api_has_answered_is_not_told_again(autojump_clock: MockClock) -> None:
    async with a_transfer(FakeRest(slow=3)) as t:
        assert await t.desk.ended(KEY, "busy") == "busy"
        await t.desk.arrived(KEY)
        await trio.sleep(5)
        assert not await t.desk.waits(KEY)
        await trio.sleep(WAIT_AT_MOST + 5)
        assert t.rest.redirected == [], "whoever was taken back long ago is torn out of their conversation"


# ---------------------------------------------------------------- the caller hangs up while they wait


async def test_a_caller_who_hangs_up_leaves_nobody_in_an_empty_room(autojump_clock: MockClock) -> None:
    async with a_transfer(FakeRest()) as t:
        await trio.sleep(5)
        await t.desk.caller_left("CA1")
        assert [(sid, url) for _, sid, url in t.rest.redirected] == [
            ("CAleg", "https://phone.example.com/twilio/warm/gone")
        ]
        assert not await t.desk.accept(KEY)
        assert await t.desk.ended(KEY, "completed") == ""
        assert t.row.status == "abandoned"


async def test_a_phone_that_rings_for_nobody_stops_ringing(autojump_clock: MockClock) -> None:
    async with a_transfer(FakeRest(redirects=[Refused(21220, 400, "not in progress")])) as t:
        await t.desk.caller_left("CA1")
        assert t.rest.hung_up == ["CAleg"]


@pytest.mark.parametrize("status", ["in-progress", Unsure("lost"), ""], ids=["there", "not known", "gone"])
async def test_a_human_accepts_only_a_caller_of_whom_the_carrier_does_not_say_that_they_have_gone(
    status: str | Exception, autojump_clock: MockClock
) -> None:
    async with a_transfer(FakeRest(status=status)) as t:
        assert await t.desk.accept(KEY) is (status != "")
        assert t.row.status == ("done" if status else "abandoned")
        assert t.rest.redirected == []


@pytest.mark.parametrize("status", ["in-progress", "completed", Unsure("lost")])
async def test_a_human_who_was_joined_when_the_caller_had_just_left_is_told_and_who_has_gone_is_left_alone(
    status: str | Exception, autojump_clock: MockClock
) -> None:
    async with a_transfer(FakeRest(status="in-progress")) as t:
        assert await t.desk.accept(KEY)
        t.rest.status = status
        await t.desk.caller_left("CA1")
        told = [(sid, url) for _, sid, url in t.rest.redirected]
        alone = [("CAleg", "https://phone.example.com/twilio/warm/gone")]
        assert told == (alone if status == "in-progress" else [])
        assert t.row.status == "done"


async def test_a_caller_who_hangs_up_before_the_api_has_answered_leaves_nobody_either(
    autojump_clock: MockClock,
) -> None:
    async with a_transfer(FakeRest(slow=6)) as t:
        await t.desk.caller_left("CA1")
        await trio.sleep(8)
        assert [sid for _, sid, _ in t.rest.redirected] == ["CAleg"]
        assert t.row.status == "abandoned"


# ---------------------------------------------------------------- taking back


async def test_taking_back_pauses_longer_each_time_and_gives_up_at_last(autojump_clock: MockClock) -> None:
    rest = FakeRest(redirects=[Unreached("no"), Unsure("lost"), Refused(20429, 429, "too many")] * 9)
    async with a_transfer(rest, watched=False) as t:
        outcome = await t.desk.ended(KEY, "busy")
        await t.desk.take_back(KEY, outcome)
        times = rest.back("busy")
        pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
        assert pauses == pytest.approx(list(TAKE_BACK_PAUSES))
        assert len(times) == len(rest.redirected)


async def test_what_one_worker_could_not_finish_another_does(autojump_clock: MockClock) -> None:
    store, other = MemoryStore(), FakeRest()
    broken = FakeRest(redirects=[Unreached("no")] * 99)
    async with a_transfer(broken, watched=False, store=store) as t, trio.open_nursery() as nursery:
        await t.desk.take_back(KEY, await t.desk.ended(KEY, "busy"))
        nursery.start_soon(transfers(other, store).watch)
        await trio.sleep(LEASE + LOOK_EVERY)
        assert len(other.back("busy")) == 1
        nursery.cancel_scope.cancel("the test is over")


async def test_a_worker_that_dies_while_it_takes_the_caller_back_is_replaced_once(autojump_clock: MockClock) -> None:
    store, rest = MemoryStore(), FakeRest()
    async with a_transfer(rest, watched=False, store=store) as t, trio.open_nursery() as nursery:
        assert await t.desk.ended(KEY, "busy") == "busy"  # and that was its last act
        for _ in range(3):
            nursery.start_soon(transfers(rest, store).watch)
        await trio.sleep(LEASE + 2 * LOOK_EVERY)
        assert len(rest.back("busy")) == 1
        await t.desk.arrived(KEY)
        await trio.sleep(3 * LEASE)
        assert len(rest.back("busy")) == 1
        nursery.cancel_scope.cancel("the test is over")


@pytest.mark.parametrize("calls", [[("CAleg", "in-progress")], []], ids=["it rang", "it did not"])
async def test_a_worker_that_dies_while_it_rings_leaves_no_caller_with_the_music(
    calls: list[tuple[str, str]], autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    store, rest = MemoryStore(), FakeRest(calls=calls)
    await store.answered("CA1", "+14155550123", OURS)
    await store.claim_errand(KEY, "CA1", "transfer", trio.current_time())  # and then it died
    nursery.start_soon(transfers(rest, store).watch)
    await trio.sleep(RUNG_WITHIN + LOOK_EVERY)
    row = store.errand_rows[KEY]
    assert (row.status, row.reference) == (("ringing", "CAleg") if calls else ("returning", ""))
    assert len(rest.back("failed")) == (0 if calls else 1)
    nursery.cancel_scope.cancel("the test is over")


async def test_a_caller_who_is_gone_is_not_asked_for_twice(autojump_clock: MockClock) -> None:
    rest = FakeRest(redirects=[Unsure("lost"), Refused(21220, 400, "not in progress")])
    async with a_transfer(rest) as t:
        await t.desk.take_back(KEY, await t.desk.ended(KEY, "busy"))
        await trio.sleep(2 * LEASE)
        assert len(rest.redirected) == 2
        assert t.row.status == "busy"


async def test_who_is_back_although_the_answer_was_lost_is_not_taken_back_again(autojump_clock: MockClock) -> None:
    rest = FakeRest(redirects=[Unsure("lost"), Unsure("lost")])
    async with a_transfer(rest) as t:
        outcome = await t.desk.ended(KEY, "busy")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(t.desk.take_back, KEY, outcome)
            await trio.sleep(0.2)
            await t.desk.arrived(KEY)
        assert len(rest.redirected) == 1


@pytest.mark.parametrize(("status", "outcome"), ENDS[:4])
async def test_what_became_of_the_humans_call_is_asked_for_when_nobody_tells_it(
    status: str, outcome: str, autojump_clock: MockClock
) -> None:
    async with a_transfer(FakeRest(status=status)) as t:
        await trio.sleep(DOUBT_AFTER + LOOK_EVERY)
        (at,) = t.rest.back(outcome)
        assert at - t.began <= DOUBT_AFTER + LOOK_EVERY


@pytest.mark.parametrize("status", ["in-progress", Unsure("lost")], ids=str)
async def test_a_caller_of_whose_human_nothing_is_heard_any_more_is_taken_back_in_time(
    status: str | Exception, autojump_clock: MockClock
) -> None:
    async with a_transfer(FakeRest(status=status)) as t:
        await trio.sleep(WAIT_AT_MOST + LOOK_EVERY)
        (at,) = t.rest.back("no-answer")
        assert WAIT_AT_MOST <= at - t.began <= WAIT_AT_MOST + LOOK_EVERY
        assert not await t.desk.waits(KEY)


@pytest.mark.parametrize("accepts", [True, False])
async def test_a_transfer_that_came_out_in_time_is_left_alone(accepts: bool, autojump_clock: MockClock) -> None:
    async with a_transfer(FakeRest()) as t:
        if accepts:
            await t.desk.accept(KEY)
        else:
            await t.desk.ended(KEY, "busy")
            await t.desk.arrived(KEY)
        await trio.sleep(WAIT_AT_MOST + 30)
        assert t.rest.redirected == []


async def test_a_store_that_falls_and_comes_back_loses_no_caller(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    async with a_transfer(FakeRest(status="busy"), store=store) as t:
        store.down = True
        with pytest.raises(StoreDown):
            await t.desk.ended(KEY, "busy")
        await trio.sleep(DOUBT_AFTER)
        store.down = False
        await trio.sleep(2 * LOOK_EVERY)
        assert len(t.rest.back("busy")) == 1


async def test_a_second_transfer_does_not_touch_what_came_of_the_first(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    rest, store = FakeRest(rings=["CAone", "CAtwo"]), MemoryStore()
    desk = transfers(rest, store)
    nursery.start_soon(desk.watch)
    assert await desk.begin("CA1", OURS, nursery) == 0
    await desk.ended(KEY, "busy")
    await desk.arrived(KEY)
    await trio.sleep(10)
    assert await desk.begin("CA1", OURS, nursery) == 1
    await trio.sleep(1)
    rows = await store.errands("CA1")
    assert [(row.key, row.status, row.reference) for row in rows] == [
        ("CA1/transfer.0", "busy", "CAone"),
        ("CA1/transfer.1", "ringing", "CAtwo"),
    ]
    for late in ("completed", "busy", "no-answer"):  # of the first human's call
        assert await desk.ended(KEY, late) == ""
    assert await desk.waits("CA1/transfer.1")
    await desk.accept("CA1/transfer.1")
    await trio.sleep(2 * WAIT_AT_MOST)
    assert [row.status for row in await store.errands("CA1")] == ["busy", "done"]
    assert rest.redirected == []
    nursery.cancel_scope.cancel("the test is over")
