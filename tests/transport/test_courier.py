"""The courier: every finished call reaches the backend, whatever fails in between, and is told apart when it comes twice."""

import contextlib
import datetime
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import attrs
import httpx2
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from actors.messages import Disposition
from actors.notebook import CallRecord, Turn
from transport.courier import (
    AT_ONCE,
    ERRAND_SECONDS,
    FIRST_RETRY,
    LAST_RETRY,
    LEASE,
    LOOK_AGAIN,
    PAUSE,
    RECONCILE,
    REFUSED_TRIES_AT_MOST,
    SECONDS,
    SWEEP,
    TRIES_AT_MOST,
    Courier,
    back_off,
    seconds_named,
    signature,
)
from transport.loopback.backend import BackendFaults, LoopbackBackend
from transport.loopback.memory_store import MemoryStore
from transport.metrics import Metrics
from transport.store import FINAL, Delivery
from transport.twilio_rest import Refused, Unreached, Unsure

SECRET = "crm-secret"
URL = "https://crm.example.com/hooks/triode"
EPOCH = 1_795_530_600.0
HOUR = 3600.0


def now() -> float:
    """The wall clock, which passes as Trio's does."""
    return EPOCH + trio.current_time()


@attrs.define
class Desk:
    """A courier that runs, its store, and the backend it delivers to."""

    store: MemoryStore
    backend: LoopbackBackend
    courier: Courier
    metrics: Metrics
    nursery: trio.Nursery

    async def due(self, *sids: str, after: float = 0.0) -> None:
        """Calls that are known, and due: all at the same moment."""
        for sid in sids:
            await self.store.answered(sid, "+14155550123", "+14155550100")
        for sid in sids:
            self.store.delivery_rows[sid] = Delivery(sid, "open", now() + after, 0, "")
        self.courier.hurry()

    async def found_over(self, sid: str, status: str) -> None:
        if status:
            await self.store.status(sid, status, 0)

    @property
    def ids(self) -> list[str]:
        return [delivery.id for delivery in self.backend.deliveries]

    @property
    def states(self) -> dict[str, str]:
        return {row.call_sid: row.state for row in self.store.delivery_rows.values()}

    def counted(self, outcome: str) -> float:
        return self.metrics.registry.get_sample_value("triode_deliveries_total", {"outcome": outcome}) or 0


@contextlib.asynccontextmanager
async def a_desk(
    faults: BackendFaults | None = None, store: MemoryStore | None = None, *, secret: str = SECRET
) -> AsyncIterator[Desk]:
    store = store or MemoryStore()
    backend = LoopbackBackend(SECRET, faults=faults, tolerance=5, now=now)
    metrics = Metrics(lambda: 0)
    async with (
        httpx2.AsyncClient(transport=backend.transport(), timeout=SECONDS) as client,
        trio.open_nursery() as nursery,
    ):
        courier = Courier(store, client, URL, secret, metrics, now)
        nursery.start_soon(courier.run)
        yield Desk(store, backend, courier, metrics, nursery)
        nursery.cancel_scope.cancel("the test is over")


def record(sid: str, **fields: Any) -> CallRecord:
    began = datetime.datetime.fromtimestamp(EPOCH, datetime.UTC)
    values: dict[str, Any] = {
        "ended": began + datetime.timedelta(seconds=42),
        "seconds": 42.5,
        "disposition": Disposition.HANG_UP,
        "reason": "the agent ended the call",
        "turns": [
            Turn("agent", "i0", 0.05, "Hello, this is the desk.", "Hello, this", 600, 1000, True, True),
            Turn("caller", "i1", 2.5, "Grüß Gott", "Grüß Gott", over=True),
        ],
        "tokens": 1234,
    }
    return CallRecord(sid, f"MZ{sid}", began, **{**values, **fields})


# ---------------------------------------------------------------- delivered


async def test_a_call_that_is_due_is_delivered_once_and_signed(autojump_clock: MockClock) -> None:
    async with a_desk() as desk:
        await desk.store.keep_record(record("CA1"))
        await desk.due("CA1")
        await trio.sleep(10 * HOUR)
        (delivery,) = desk.backend.deliveries  # the backend has checked the signature, and its time
        assert (delivery.id, delivery.path, delivery.at) == ("CA1", "/hooks/triode", 0)
        assert delivery.body["id"] == delivery.body["call"]["call_sid"] == "CA1"
        assert desk.backend.refused == []
        assert desk.states == {"CA1": "delivered"}
        assert (desk.counted("delivered"), desk.counted("failed")) == (1, 0)


async def test_nothing_is_delivered_before_it_is_due(autojump_clock: MockClock) -> None:
    async with a_desk() as desk:
        await desk.due("CA1", after=100)
        await desk.due("CA2", after=7)
        await trio.sleep(6.9)
        assert desk.ids == []
        await trio.sleep(0.2)
        assert desk.ids == ["CA2"]
        await trio.sleep(93)
        assert desk.ids == ["CA2", "CA1"]


async def test_what_is_hastened_is_delivered_at_once(autojump_clock: MockClock) -> None:
    async with a_desk() as desk:
        await desk.due("CA1", after=HOUR)
        await trio.sleep(100.5)
        await desk.store.hasten_delivery("CA1", now())
        desk.courier.hurry()
        await trio.sleep(0.1)
        assert desk.ids == ["CA1"]


async def test_what_another_process_has_promised_is_found_without_being_told(autojump_clock: MockClock) -> None:
    async with a_desk() as desk:
        await trio.sleep(1)
        await desk.store.answered("CA1", "", "")
        await desk.store.promise_delivery("CA1", now())  # nobody says hurry
        await trio.sleep(SWEEP)
        assert desk.ids == ["CA1"]


async def test_many_at_once_are_all_delivered_and_only_a_few_at_a_time(autojump_clock: MockClock) -> None:
    async with a_desk(BackendFaults(slow=1)) as desk:
        sids = [f"CA{number}" for number in range(20)]
        await desk.due(*sids)
        await trio.sleep(0.5)
        assert len(desk.ids) == AT_ONCE
        await trio.sleep(30)
        assert sorted(desk.ids) == sorted(sids)
        assert desk.backend.ids_seen_twice == []


async def test_the_signature_is_of_the_time_and_the_very_bytes(autojump_clock: MockClock) -> None:
    async with a_desk(secret="another") as desk:
        await desk.due("CA1")
        await trio.sleep(1)
        assert desk.backend.refused[0] == (401, "wrong signature")
        assert desk.store.delivery_rows["CA1"].error == "HTTP 401"


def test_a_signature_is_what_the_readme_says() -> None:
    at, body = 1_700_000_000, b'{"type": "call"}'
    # echo -n '1700000000.{"type": "call"}' | openssl dgst -sha256 -hmac crm-secret
    assert signature("crm-secret", at, body) == f"t={at},v1={KNOWN}"


KNOWN = "368a33c8cd38f65444a7952fe2c05a2358d23d43ada16d1026ffeb21ec319ff5"


# ---------------------------------------------------------------- failures


@given(st.integers(1, 200), st.floats(0, 1))
def test_back_off_doubles_up_to_an_hour_within_a_quarter_of_jitter(tries: int, chance: float) -> None:
    whole = min(LAST_RETRY, FIRST_RETRY * 2.0 ** (tries - 1))
    assert 0.75 * whole <= back_off(tries, chance) <= 1.25 * whole
    assert back_off(tries, 0.5) == pytest.approx(whole)
    assert back_off(tries, 0.0) < back_off(tries, 1.0)


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503, 302])
async def test_a_backend_that_does_not_take_it_is_asked_again_later_and_later(
    status: int, autojump_clock: MockClock
) -> None:
    async with a_desk(BackendFaults(statuses=(status,) * 5)) as desk:
        await desk.due("CA1")
        await trio.sleep(0.01)
        for tries in range(1, 6):
            row = desk.store.delivery_rows["CA1"]
            assert (row.state, row.tries, row.error) == ("open", tries, f"HTTP {status}")
            whole = FIRST_RETRY * 2 ** (tries - 1)
            assert 0.75 * whole - 0.1 <= row.due - now() <= 1.25 * whole
            await trio.sleep(row.due - now() + 0.06)
        await trio.sleep(2 * FIRST_RETRY * 2**5)
        assert desk.ids == ["CA1"]
        assert (desk.counted("failed"), desk.counted("delivered")) == (5, 1)


async def test_a_backend_that_never_takes_it_makes_it_a_dead_letter_which_is_kept(autojump_clock: MockClock) -> None:
    async with a_desk(BackendFaults(statuses=(500,) * 100)) as desk:
        await desk.due("CA1")
        await trio.sleep(24 * HOUR)
        (dead,) = await desk.store.deliveries("dead")
        assert (dead.call_sid, dead.tries, dead.error) == ("CA1", TRIES_AT_MOST, "HTTP 500")
        assert len(desk.backend.refused) == TRIES_AT_MOST
        assert desk.counted("dead") == 1


async def test_it_is_tried_for_about_eleven_hours_before_it_is_given_up(autojump_clock: MockClock) -> None:
    async with a_desk(BackendFaults(statuses=(500,) * (TRIES_AT_MOST - 1))) as desk:
        await desk.due("CA1")
        await trio.sleep(24 * HOUR)
        (delivery,) = desk.backend.deliveries
        assert 8 * HOUR < delivery.at < 14 * HOUR


@pytest.mark.parametrize(
    ("status", "tries", "hours"), [(422, REFUSED_TRIES_AT_MOST, 1), (410, 1, 0.001)], ids=["this call", "every call"]
)
async def test_what_a_backend_refuses_for_good_is_given_up_soon(
    status: int, tries: int, hours: float, autojump_clock: MockClock
) -> None:
    async with a_desk(BackendFaults(statuses=(status,) * 100)) as desk:
        await desk.due("CA1")
        await trio.sleep(0.5 * hours * HOUR)
        assert desk.states == {"CA1": "open" if tries > 1 else "dead"}
        await trio.sleep(24 * HOUR)
        (dead,) = await desk.store.deliveries("dead")
        assert (dead.tries, dead.error) == (tries, f"HTTP {status}")
        assert len(desk.backend.refused) == tries


@pytest.mark.parametrize("status", [429, 503])
async def test_a_backend_that_says_when_it_may_be_asked_again_hears_of_no_call_before(
    status: int, autojump_clock: MockClock
) -> None:
    asked: list[tuple[float, str]] = []

    async def handle(request: httpx2.Request) -> httpx2.Response:
        asked.append((trio.current_time(), request.headers["X-Triode-Delivery"]))
        return httpx2.Response(status, headers={"Retry-After": "120"}) if len(asked) == 1 else httpx2.Response(200)

    store, metrics = MemoryStore(), Metrics(lambda: 0)
    async with (
        httpx2.AsyncClient(transport=httpx2.MockTransport(handle)) as client,
        trio.open_nursery() as nursery,
    ):
        courier = Courier(store, client, URL, SECRET, metrics, now)
        for number in range(3):
            await store.answered(f"CA{number}", "", "")
        await store.promise_delivery("CA0", now())
        nursery.start_soon(courier.run)
        await trio.sleep(10)
        for number in (1, 2):
            await store.promise_delivery(f"CA{number}", now())
            courier.hurry()
        await trio.sleep(109.9)
        assert [sid for _, sid in asked] == ["CA0"]
        await trio.sleep(1)
        assert sorted(sid for _, sid in asked) == ["CA0", "CA0", "CA1", "CA2"]
        assert asked[0][0] + 120 <= asked[1][0]
        nursery.cancel_scope.cancel("the test is over")


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("17", 17),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 59),
        ("Fri, 31 Dec 1999 23:58:59 GMT", 0),
        ("86400", LAST_RETRY),
        ("9" * 5000, LAST_RETRY),
        ("-1", 0),
        ("soon", 0),
        ("Fri, 31 Dec 99999 23:59:59 GMT", 0),
        ("", 0),
    ],
)
def test_a_time_that_a_backend_names_is_bounded_and_nonsense_is_none(said: str, seconds: float) -> None:
    assert seconds_named(said, 946_684_740.0) == seconds


async def test_a_dead_letter_that_is_revived_is_tried_anew(autojump_clock: MockClock) -> None:
    async with a_desk(BackendFaults(statuses=(500,) * TRIES_AT_MOST)) as desk:
        await desk.due("CA1")
        await trio.sleep(24 * HOUR)
        assert desk.states == {"CA1": "dead"}
        assert await desk.store.revive_delivery("CA1", now())
        await trio.sleep(SWEEP)
        assert desk.ids == ["CA1"]
        assert desk.states == {"CA1": "delivered"}


async def test_a_call_of_which_nothing_is_known_yet_is_delivered_when_it_is_and_a_dead_letter_if_it_never_is(
    autojump_clock: MockClock,
) -> None:
    async with a_desk() as desk:
        for sid in ("CA1", "CA2"):
            desk.store.delivery_rows[sid] = Delivery(sid, "open", now(), 0, "")
        desk.courier.hurry()
        await trio.sleep(1)
        assert desk.states == {"CA1": "open", "CA2": "open"}
        await desk.store.answered("CA1", "+14155550123", "+14155550100")  # by a process that was waiting for the store
        await trio.sleep(24 * HOUR)
        assert desk.ids == ["CA1"]
        (dead,) = await desk.store.deliveries("dead")
        assert (dead.call_sid, dead.error) == ("CA2", "nothing is known of this call")


async def test_an_answer_that_is_lost_leads_to_a_second_delivery_with_the_same_id_and_to_no_more(
    autojump_clock: MockClock,
) -> None:
    async with a_desk(BackendFaults(lose_answers=1)) as desk:
        await desk.due("CA1")
        await trio.sleep(10 * HOUR)
        assert desk.ids == ["CA1", "CA1"]
        first, second = desk.backend.deliveries
        assert first.body == second.body
        assert SECONDS <= second.at <= SECONDS + 2 * FIRST_RETRY


async def test_a_backend_that_is_slow_but_in_time_gets_it_once(autojump_clock: MockClock) -> None:
    async with a_desk(BackendFaults(slow=SECONDS - 0.5)) as desk:
        await desk.due("CA1")
        await trio.sleep(HOUR)
        assert desk.ids == ["CA1"]


async def test_a_backend_that_hangs_on_one_call_does_not_keep_the_others_back_for_ever(
    autojump_clock: MockClock,
) -> None:
    async with a_desk(BackendFaults(lose_answers=2)) as desk:
        await desk.due(*[f"CA{number}" for number in range(10)])
        await trio.sleep(SECONDS + 1)
        assert set(desk.ids) == {f"CA{number}" for number in range(10)}


@pytest.mark.parametrize("error", [httpx2.ConnectError, httpx2.RemoteProtocolError, httpx2.InvalidURL])
async def test_a_backend_that_cannot_be_reached_is_told_by_its_error(
    error: type[Exception], autojump_clock: MockClock
) -> None:
    async def handle(request: httpx2.Request) -> httpx2.Response:
        raise error("broken")

    store, metrics = MemoryStore(), Metrics(lambda: 0)
    async with (
        httpx2.AsyncClient(transport=httpx2.MockTransport(handle)) as client,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(Courier(store, client, URL, SECRET, metrics, now).run)
        await store.answered("CA1", "", "")
        await store.promise_delivery("CA1", now())
        await trio.sleep(SWEEP + 1)
        row = store.delivery_rows["CA1"]
        assert row.state == "open"
        assert row.error == f"{error.__name__}: broken"
        nursery.cancel_scope.cancel("the test is over")


class _Endless(httpx2.AsyncByteStream):
    """An answer that never comes to its end."""

    sent = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            self.sent += 64 * 1024
            yield bytes(64 * 1024)
            await trio.sleep(0.001)


async def test_of_an_answer_without_end_little_is_read(autojump_clock: MockClock) -> None:
    answer = _Endless()

    async def handle(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, stream=answer)

    store, metrics = MemoryStore(), Metrics(lambda: 0)
    async with (
        httpx2.AsyncClient(transport=httpx2.MockTransport(handle)) as client,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(Courier(store, client, URL, SECRET, metrics, now).run)
        await store.answered("CA1", "", "")
        await store.promise_delivery("CA1", now())
        await trio.sleep(SWEEP + 1)
        assert store.delivery_rows["CA1"].state == "delivered"
        assert answer.sent < 1024 * 1024
        nursery.cancel_scope.cancel("the test is over")


async def test_a_call_that_cannot_be_put_into_words_is_one_that_was_not_taken_and_no_more(
    autojump_clock: MockClock,
) -> None:
    store = MemoryStore()
    async with a_desk(store=store) as desk:
        await store.claim_errand("CA1/1", "CA1", "order", now())
        await store.settle_errand("CA1/1", "done", "", {"result": 10**5000})
        await desk.due("CA1", "CA2")
        await trio.sleep(HOUR)
        assert desk.ids == ["CA2"]
        assert store.delivery_rows["CA1"].error == "ValueError"
        assert desk.states["CA1"] == "open"


# ---------------------------------------------------------------- two couriers, and one that dies


async def test_two_couriers_on_one_store_deliver_each_call_once(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    sids = [f"CA{number}" for number in range(12)]
    async with a_desk(BackendFaults(slow=1), store) as here, a_desk(BackendFaults(slow=1), store) as there:
        await here.due(*sids)
        there.courier.hurry()
        await trio.sleep(HOUR)
        assert sorted(here.ids + there.ids) == sorted(sids)
        assert here.ids
        assert there.ids


async def test_what_a_courier_had_in_hand_when_it_died_is_delivered_when_its_lease_is_over(
    autojump_clock: MockClock,
) -> None:
    store = MemoryStore()
    async with a_desk(BackendFaults(lose_answers=1), store) as dies:
        await dies.due("CA1")
        await trio.sleep(1)
        assert dies.ids == ["CA1"]
    died = trio.current_time()
    async with a_desk(store=store) as lives:
        await trio.sleep(LEASE - died - 1)
        assert lives.ids == []
        await trio.sleep(SWEEP + 2)
        assert lives.ids == ["CA1"]
        assert store.delivery_rows["CA1"].state == "delivered"


# ---------------------------------------------------------------- the store


async def test_a_store_that_falls_and_rises_loses_no_call(autojump_clock: MockClock) -> None:
    async with a_desk() as desk:
        await desk.due("CA1", after=3)
        desk.store.down = True
        await trio.sleep(10 * PAUSE)
        assert desk.ids == []
        failures = desk.metrics.registry.get_sample_value("triode_store_failures_total", {"what": "delivery"})
        assert failures is not None
        assert 8 <= failures <= 11  # asked every few seconds, and no faster
        desk.store.down = False
        await trio.sleep(PAUSE + SWEEP)
        assert desk.ids == ["CA1"]


async def test_a_store_that_falls_after_the_delivery_is_told_of_it_when_it_is_back(autojump_clock: MockClock) -> None:
    async with a_desk(BackendFaults(slow=1)) as desk:
        await desk.due("CA1")
        await trio.sleep(0.5)
        desk.store.down = True
        await trio.sleep(5)
        assert desk.ids == ["CA1"]
        desk.store.down = False
        await trio.sleep(PAUSE)
        assert desk.states == {"CA1": "delivered"}
        await trio.sleep(10 * HOUR)
        assert desk.ids == ["CA1"]


async def test_what_died_before_it_could_write_its_delivery_down_leads_to_one_more_and_no_third(
    autojump_clock: MockClock,
) -> None:
    async with a_desk(BackendFaults(slow=1)) as dies:
        await dies.due("CA1")
        await trio.sleep(0.5)
        dies.store.down = True
        await trio.sleep(1)
        assert dies.ids == ["CA1"]
    dies.store.down = False
    async with a_desk(store=dies.store) as lives:
        await trio.sleep(10 * HOUR)
        assert lives.ids == ["CA1"]
        assert lives.states == {"CA1": "delivered"}


# ---------------------------------------------------------------- reconciling


def carrier_says(states: dict[str, str | Exception], asked: list[str]) -> Callable[[str], Awaitable[str]]:
    async def status_of(sid: str) -> str:
        asked.append(sid)
        await trio.sleep(0.1)
        came = states[sid]
        if isinstance(came, Exception):
            raise came
        return came

    return status_of


async def test_calls_that_ended_unheard_are_delivered_and_running_ones_are_left(autojump_clock: MockClock) -> None:
    over = {f"CA{status}": status for status in sorted(FINAL)}
    running = {"CAq": "queued", "CAr": "ringing", "CAi": "in-progress"}
    asked: list[str] = []
    async with a_desk() as desk:
        await desk.due(*over, *running, "CAunknown", after=2 * HOUR)
        states: dict[str, str | Exception] = {**over, **running, "CAunknown": ""}
        desk.nursery.start_soon(desk.courier.reconcile, carrier_says(states, asked), desk.found_over)
        await trio.sleep(10)
        assert sorted(desk.ids) == sorted([*over, "CAunknown"])
        assert sorted(asked) == sorted(states)
        await trio.sleep(HOUR)
        assert {desk.states[sid] for sid in running} == {"open"}
        await trio.sleep(2 * HOUR)
        assert sorted(desk.ids) == sorted(states)  # at the latest when it was promised


async def test_a_carrier_that_does_not_answer_costs_nothing_but_time(autojump_clock: MockClock) -> None:
    states: dict[str, str | Exception] = {
        "CA1": Refused(20003, 401, "Authenticate"),
        "CA2": Unreached("no way"),
        "CA3": Unsure("HTTP 500"),
        "CA4": "completed",
    }
    asked: list[str] = []
    async with a_desk() as desk:
        await desk.due(*states, after=2 * HOUR)
        desk.nursery.start_soon(desk.courier.reconcile, carrier_says(states, asked), desk.found_over)
        await trio.sleep(10)
        assert desk.ids == ["CA4"]
        states |= dict.fromkeys(["CA1", "CA2", "CA3"], "completed")
        await trio.sleep(RECONCILE)
        assert sorted(desk.ids) == ["CA1", "CA2", "CA3", "CA4"]


async def test_what_is_due_anyway_is_not_asked_for(autojump_clock: MockClock) -> None:
    asked: list[str] = []
    async with a_desk(BackendFaults(statuses=(500,) * 3)) as desk:
        await desk.due("CA1", after=LEASE / 2)
        desk.nursery.start_soon(desk.courier.reconcile, carrier_says({"CA1": "completed"}, asked), desk.found_over)
        await trio.sleep(5)
        assert asked == []


async def test_a_failed_delivery_that_waits_is_not_hurried_by_every_reconciliation(autojump_clock: MockClock) -> None:
    async with a_desk(BackendFaults(statuses=(500,) * 100)) as desk:
        desk.nursery.start_soon(desk.courier.reconcile, carrier_says({"CA1": "completed"}, []), desk.found_over)
        await desk.due("CA1")
        await trio.sleep(2.5 * HOUR)
        assert desk.states == {"CA1": "open"}, "its last tries are an hour apart"


async def test_a_store_that_is_down_does_not_end_the_reconciling(autojump_clock: MockClock) -> None:
    asked: list[str] = []
    async with a_desk() as desk:
        await desk.due("CA1", after=2 * HOUR)
        desk.store.down = True
        desk.nursery.start_soon(desk.courier.reconcile, carrier_says({"CA1": "completed"}, asked), desk.found_over)
        await trio.sleep(10)
        desk.store.down = False
        await trio.sleep(RECONCILE)
        assert (asked, desk.ids) == (["CA1"], ["CA1"])


# ---------------------------------------------------------------- what is delivered


def offsets(value: Any) -> list[str]:
    """All times in a payload."""
    if isinstance(value, dict):
        return [text for inner in value.values() for text in offsets(inner)]
    if isinstance(value, list):
        return [text for inner in value for text in offsets(inner)]
    try:
        datetime.datetime.fromisoformat(str(value))
    except ValueError:
        return []
    return [value] if isinstance(value, str) and "T" in value else []


TOP = {"type", "id", "call", "flow", "state", "intent", "slots", "transcript", "errands", "recordings"}
FACTS = {
    "call_sid", "stream_sid", "caller", "called", "answered", "began", "ended", "seconds", "disposition", "reason",
    "status", "streams", "tokens",
}  # fmt: skip


async def delivered(store: MemoryStore, sid: str = "CA1") -> dict[str, Any]:
    async with a_desk(store=store) as desk:
        await store.promise_delivery(sid, now())
        desk.courier.hurry()
        await trio.sleep(1)
        (delivery,) = desk.backend.deliveries
        return dict(delivery.body)


async def test_of_a_call_that_only_rang_everything_else_is_empty(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    await store.answered("CA1", "+14155550123", "+14155550100")
    body = await delivered(store)
    assert body.keys() == TOP
    assert body["call"].keys() == FACTS
    assert (body["type"], body["id"]) == ("call", "CA1")
    assert (body["call"]["caller"], body["call"]["called"]) == ("+14155550123", "+14155550100")
    assert (body["call"]["began"], body["call"]["ended"], body["call"]["disposition"]) == (None, None, None)
    assert (body["flow"], body["state"], body["intent"]) == ("", "", "")
    assert body["slots"] == {}
    assert body["transcript"] == body["errands"] == body["recordings"] == []
    assert offsets(body) == [body["call"]["answered"]]


async def test_of_a_whole_call_all_is_told(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    story = {
        "flow": "appointment",
        "dialogue": {
            "at": "booked",
            "wish": "book",
            "slots": {"name": {"text": "Zoë", "status": "confirmed", "confidence": 0.9}, "email": {}},
        },
        "said": [],
    }
    await store.answered("CA1", "+14155550123", "+14155550100")
    await store.keep_record(record("CA1"))
    await store.keep_record(attrs.evolve(record("CA1", seconds=10.0, tokens=1, turns=[]), stream_sid="MZ2"))
    await store.keep_story("CA1", "+14155550123", "+14155550100", story, over=True, now=1.0)
    await store.claim_errand("CA1/sms", "CA1", "sms", 1.0)
    await store.settle_errand("CA1/sms", "done", "SM1", {"delivery": "delivered"})
    await store.keep_recording("RE1", "CA1", "https://api.example.com/RE1", 9, "completed")
    await store.status("CA1", "completed", 3)
    body = await delivered(store)
    assert body.keys() == TOP
    call = body["call"]
    assert call.keys() == FACTS
    assert (call["streams"], call["seconds"], call["tokens"], call["status"]) == (2, 52.5, 1235, "completed")
    assert (call["disposition"], call["reason"]) == ("hang_up", "the agent ended the call")
    assert (body["flow"], body["state"], body["intent"]) == ("appointment", "booked", "book")
    assert body["slots"] == {
        "name": {"value": "Zoë", "status": "confirmed"},
        "email": {"value": "", "status": "missing"},
    }
    said = {"text": "Hello, this is the desk.", "heard": "Hello, this", "interrupted": True}
    assert body["transcript"] == [
        {"who": "agent", "at": 0.05, **said},
        {"who": "caller", "at": 2.5, "text": "Grüß Gott", "heard": "Grüß Gott", "interrupted": False},
    ]
    assert body["errands"] == [{"name": "sms", "status": "done", "delivery": "delivered"}]
    assert body["recordings"] == [{"sid": "RE1", "url": "https://api.example.com/RE1", "seconds": 9}]
    assert len(offsets(body)) == 3


async def test_what_was_said_is_empty_if_transcripts_are_dropped(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    await store.answered("CA1", "", "")
    await store.keep_record(record("CA1", turns=[Turn("agent", "i0", 0.05, "", "", 600, 1000, True, True)]))
    (turn,) = (await delivered(store))["transcript"]
    assert turn == {"who": "agent", "at": 0.05, "text": "", "heard": "", "interrupted": True}


def said(*words: str) -> list[dict[str, str]]:
    return [{"who": "caller" if number % 2 else "agent", "words": each} for number, each in enumerate(words)]


def turn(number: int, words: str) -> Turn:
    return Turn("caller" if number % 2 else "agent", f"i{number}", float(number), words, words, 600, 600, False, True)


RECORDED = [turn(2, "which day?"), turn(3, "friday"), turn(4, "good")]
STORIES = {
    "of a stream that died all is told": (said("hello", "anna", "which day?"), [], ["hello", "anna", "which day?"]),
    "a stream that died came before": (said("hello", "anna", "which day?", "friday"), RECORDED,
                                       ["hello", "anna", "which day?", "friday", "good"]),
    "a stream that died came after": (said("which day?", "friday", "good", "yes", "bye"), RECORDED,
                                      ["which day?", "friday", "good", "yes", "bye"]),
    "nothing died": (said("which day?", "friday", "good"), RECORDED, ["which day?", "friday", "good"]),
    "the record knows it better": (said("which", "fri", "good"), RECORDED, ["which day?", "friday", "good"]),
    "no words were kept": ([], RECORDED, ["which day?", "friday", "good"]),
}  # fmt: skip


@pytest.mark.parametrize("what", STORIES)
async def test_what_was_said_on_a_stream_whose_process_died_is_in_the_transcript(
    what: str, autojump_clock: MockClock
) -> None:
    told, turns, expected = STORIES[what]
    store = MemoryStore()
    await store.answered("CA1", "", "")
    if turns:
        await store.keep_record(record("CA1", turns=list(turns)))
    await store.keep_story("CA1", "", "", {"flow": "x", "said": told}, over=False, now=1.0)
    body = await delivered(store)
    assert [entry["heard"] for entry in body["transcript"]] == expected
    assert all(entry.keys() == body["transcript"][0].keys() for entry in body["transcript"])


async def test_a_delivery_waits_for_errands_that_are_still_under_way(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    await store.answered("CA1", "", "")
    await store.claim_errand("CA1/sms", "CA1", "sms", now())
    await store.promise_delivery("CA1", now())
    async with a_desk(store=store) as desk:
        desk.courier.hurry()
        await trio.sleep(8)
        assert desk.backend.deliveries == []
        assert [row.tries for row in await store.deliveries()] == [0], "looking again is no try"
        await store.settle_errand("CA1/sms", "done", "SM1", {})
        await trio.sleep(LOOK_AGAIN + 1)
        (delivery,) = desk.backend.deliveries
    assert delivery.body["errands"] == [{"name": "sms", "status": "done"}]


async def test_what_came_of_an_errand_whose_process_died_is_said_not_to_be_known(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    await store.answered("CA1", "", "")
    await store.claim_errand("CA1/sms", "CA1", "sms", now() - ERRAND_SECONDS)
    assert (await delivered(store))["errands"] == [{"name": "sms", "status": "unknown"}]


@pytest.mark.parametrize("zone", [None, datetime.UTC, datetime.timezone(datetime.timedelta(hours=-5))])
async def test_every_time_carries_its_offset_however_the_store_keeps_it(
    zone: datetime.tzinfo | None, autojump_clock: MockClock
) -> None:
    at = datetime.datetime(2026, 3, 1, 12, 0, 0, 250_000, zone)
    store = MemoryStore()
    await store.answered("CA1", "", "")
    store.calls["CA1"].answered = store.calls["CA1"].ended = at
    body = await delivered(store)
    meant = at if zone is not None else at.replace(tzinfo=datetime.UTC)
    for text in offsets(body):
        assert datetime.datetime.fromisoformat(text) == meant
    assert len(offsets(body)) == 2


async def test_what_json_does_not_know_is_told_as_a_text(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    await store.answered("CA1", "", "")
    await store.claim_errand("CA1/t", "CA1", "t", 1.0)
    await store.settle_errand("CA1/t", "done", "", {"day": datetime.date(2026, 3, 1), "odd": object})
    body = await delivered(store)
    assert body["errands"][0]["day"] == "2026-03-01"
    assert json.dumps(body)
