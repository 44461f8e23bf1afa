"""Stories, errands, deliveries and forgetting, in SQLite and in Redis: each at most once, however many ask."""

import datetime
from typing import Any

import attrs
import pytest
import trio

from tests.transport.store_kit import (
    ANN,
    BEGAN,
    BOB,
    ENDED,
    THEM,
    US,
    RedisServer,
    a_record,
    in_another_process,
    one_store,
    two_stores,
)
from transport.store import DAY, Delivery, ErrandRow, Store

pytest_plugins = ["tests.transport.store_kit"]

NEVER = datetime.datetime(1999, 1, 1, tzinfo=datetime.UTC)
LATER = datetime.datetime(2026, 3, 2, tzinfo=datetime.UTC)


# ---------------------------------------------------------------- stories


async def test_the_newest_story_of_a_call_takes_the_place_of_the_one_before(url: str):
    async with one_store(url) as store:
        assert await store.story("CA1") is None
        await store.keep_story("CA1", ANN, US, {"at": "begin"}, over=False, now=1.0)
        await store.keep_story("CA1", ANN, US, {"at": "wish", "said": ["Grüß", None, 1.5]}, over=False, now=2.0)
        assert await store.story("CA1") == {"at": "wish", "said": ["Grüß", None, 1.5]}
        assert await store.story("CA2") is None


async def test_a_story_that_comes_late_takes_the_place_of_older_ones_only(url: str):
    async with one_store(url) as store:
        await store.keep_story("CA1", ANN, US, {"at": "late"}, over=False, now=2.5, late=True)
        await store.keep_story("CA1", ANN, US, {"at": "later"}, over=False, now=3.25, late=True)
        assert await store.story("CA1") == {"at": "later"}
        await store.keep_story("CA1", ANN, US, {"at": "old"}, over=True, now=3.125, late=True)
        assert await store.take_unfinished(ANN, US, 0.0) == {"at": "later"}


async def test_an_unfinished_story_is_given_once_and_stays_readable(url: str):
    async with two_stores(url) as (here, there):
        await here.keep_story("CA1", ANN, US, {"at": "wish"}, over=False, now=1.5)
        assert [await there.unfinished(ANN, US, since) for since in (1.5, 2.0)] == ["CA1", ""]
        assert await there.take_unfinished(ANN, US, 1.5) == {"at": "wish"}
        assert await there.unfinished(ANN, US, 1.5) == ""
        assert await here.take_unfinished(ANN, US, 1.5) is None
        assert await here.story("CA1") == {"at": "wish"}


async def test_of_several_calls_the_newest_is_gone_on_with(url: str):
    async with one_store(url) as store:
        for number, now in ((1, 5.0), (2, 7.0), (3, 6.0)):
            await store.keep_story(f"CA{number}", ANN, US, {"call": number}, over=False, now=now)
        assert await store.take_unfinished(ANN, US, 0.0) == {"call": 2}
        assert await store.take_unfinished(ANN, US, 0.0) is None  # nobody wants what was before the last call


async def test_of_a_caller_whose_last_call_came_to_its_end_nothing_is_unfinished(url: str):
    async with one_store(url) as store:
        await store.keep_story("CA1", ANN, US, {"call": 1}, over=False, now=5.0)
        await store.keep_story("CA2", ANN, US, {"call": 2}, over=False, now=6.0)
        await store.keep_story("CA2", ANN, US, {"call": 2}, over=True, now=7.0)
        assert await store.take_unfinished(ANN, US, 0.0) is None


@pytest.mark.parametrize(
    ("caller", "called", "since"),
    [(ANN, US, 5.5), (BOB, US, 0.0), (ANN, THEM, 0.0), (US, ANN, 0.0), ("", "", 0.0)],
    ids=["too old", "other caller", "other number", "the other way round", "nobody"],
)
async def test_what_is_too_old_or_of_somebody_else_is_not_given(url: str, caller: str, called: str, since: float):
    async with one_store(url) as store:
        await store.keep_story("CA1", ANN, US, {"call": 1}, over=False, now=5.0)
        assert await store.take_unfinished(caller, called, since) is None
        assert await store.take_unfinished(ANN, US, 5.0) == {"call": 1}


async def test_a_story_that_goes_on_in_a_second_call_may_be_gone_on_with_again(url: str):
    async with one_store(url) as store:
        await store.keep_story("CA1", ANN, US, {"call": 1}, over=False, now=5.0)
        assert await store.take_unfinished(ANN, US, 0.0) == {"call": 1}
        await store.keep_story("CA2", ANN, US, {"call": 1}, over=False, now=6.0)
        assert await store.take_unfinished(ANN, US, 0.0) == {"call": 1}


async def test_of_several_that_ask_for_a_story_at_once_one_gets_it(url: str):
    got: list[object] = []
    async with two_stores(url) as both:
        await both[0].keep_story("CA1", ANN, US, {"at": "wish"}, over=False, now=1.0)

        async def take(store: Store) -> None:
            got.append(await store.take_unfinished(ANN, US, 0.0))

        async with trio.open_nursery() as nursery:
            for store in both * 4:
                nursery.start_soon(take, store)
    assert sorted(got, key=bool) == [None] * 7 + [{"at": "wish"}]


# ---------------------------------------------------------------- errands


async def test_an_errand_is_new_once_and_then_known(url: str):
    async with two_stores(url) as (here, there):
        assert await here.claim_errand("CA1/sms", "CA1", "sms", 5.0) is None
        begun = ErrandRow("CA1/sms", "CA1", "sms", "begun", "", {})
        assert await there.claim_errand("CA1/sms", "CA2", "other", 6.0) == begun
        assert await there.errands("CA1") == [begun]
        assert await there.errands("CA2") == []


async def test_what_came_of_an_errand_is_known_to_all(url: str):
    async with two_stores(url) as (here, there):
        await here.claim_errand("CA1/sms", "CA1", "sms", 5.0)
        await here.settle_errand("CA1/sms", "done", "SM1", {"delivery": "queued", "tries": 2})
        done = ErrandRow("CA1/sms", "CA1", "sms", "done", "SM1", {"delivery": "queued", "tries": 2})
        assert await there.claim_errand("CA1/sms", "CA1", "sms", 6.0) == done
        assert await there.errand_by_reference("SM1") == done
        assert await there.errands("CA1") == [done]


async def test_details_of_an_errand_are_added_to_and_a_fate_that_is_known_is_not_unmade(url: str):
    async with two_stores(url) as (here, there):
        await here.claim_errand("CA1/sms", "CA1", "sms", 5.0)
        await here.settle_errand("CA1/sms", "done", "SM1", {"delivery": "delivered"})
        await there.settle_errand("CA1/sms", "unknown", "", {"reason": "the answer was lost"})
        assert await here.errands("CA1") == [
            ErrandRow("CA1/sms", "CA1", "sms", "done", "SM1", {"delivery": "delivered"})
        ]
        await there.settle_errand("CA1/sms", "failed", "", {"reason": "it was refused"})
        (row,) = await here.errands("CA1")
        assert (row.status, row.reference) == ("failed", "")
        assert row.detail == {"delivery": "delivered", "reason": "it was refused"}


async def test_of_many_that_change_an_errand_at_once_each_sees_what_the_one_before_made_of_it(url: str):
    async with two_stores(url) as (here, there):
        await here.claim_errand("CA1/t", "CA1", "transfer", 5.0)

        def counted(row: ErrandRow) -> ErrandRow:
            return attrs.evolve(row, detail={"times": row.detail.get("times", 0) + 1})

        async with trio.open_nursery() as nursery:
            for store in (here, there) * 4:
                nursery.start_soon(store.change_errand, "CA1/t", counted)
        assert (await here.errands("CA1"))[0].detail == {"times": 8}


async def test_only_one_of_two_takes_an_errand_from_one_status_to_the_next(url: str):
    async with two_stores(url) as (here, there):
        await here.claim_errand("CA1/t", "CA1", "transfer", 5.0)
        won: list[ErrandRow] = []

        async def take(store: Store, status: str) -> None:
            after = await store.change_errand(
                "CA1/t", lambda row: attrs.evolve(row, status=status) if row.status == "begun" else None
            )
            won.extend([after] if after else [])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take, here, "done")
            nursery.start_soon(take, there, "busy")
        (winner,) = won
        assert await here.errands("CA1") == [winner]
        assert await here.change_errand("CA1/none", lambda row: row) is None


async def test_errands_that_are_under_way_are_found_until_they_are_settled_or_forgotten(url: str):
    async with two_stores(url) as (here, there):
        for number, status in enumerate(["begun", "ringing", "returning", "done", "busy"]):
            sid = f"CA{number}"
            await here.answered(sid, "+14155550123", "+14155550100")
            await here.claim_errand(f"{sid}/transfer.0", sid, "transfer", float(number))
            if status != "begun":
                await here.settle_errand(f"{sid}/transfer.0", status, "", {})
        await here.claim_errand("CA0/sms", "CA0", "sms", 9.0)
        found = await there.open_errands("transfer", 0.0)
        assert [(row.call_sid, row.status, row.begun) for row in found] == [
            ("CA0", "begun", 0.0),
            ("CA1", "ringing", 1.0),
            ("CA2", "returning", 2.0),
        ]
        assert [row.call_sid for row in await there.open_errands("transfer", 1.5)] == ["CA2"]
        assert await there.open_errands("none", 0.0) == []
        await here.settle_errand("CA0/transfer.0", "failed", "", {})
        await here.forget_number("+14155550123")
        assert await there.open_errands("transfer", 0.0) == []


async def test_an_errand_is_found_by_its_newest_reference_only(url: str):
    async with one_store(url) as store:
        await store.claim_errand("CA1/a", "CA1", "transfer", 5.0)
        await store.claim_errand("CA1/b", "CA1", "transfer", 6.0)
        await store.settle_errand("CA1/a", "ringing", "CAx", {})
        await store.settle_errand("CA1/b", "ringing", "CAy", {})
        await store.settle_errand("CA1/a", "done", "CAz", {})
        found = [await store.errand_by_reference(each) for each in ("CAx", "CAy", "CAz", "CA")]
    assert [row and row.key for row in found] == [None, "CA1/b", "CA1/a", None]


async def test_an_errand_without_a_reference_is_found_by_none(url: str):
    async with one_store(url) as store:
        await store.claim_errand("CA1/sms", "CA1", "sms", 5.0)
        await store.settle_errand("CA1/sms", "failed", "", {})
        await store.claim_errand("CA1/transfer", "CA1", "transfer", 6.0)
        assert await store.errand_by_reference("") is None


async def test_what_came_of_an_errand_that_nobody_began_is_not_kept(url: str):
    async with one_store(url) as store:
        await store.settle_errand("CA1/sms", "done", "SM1", {})
        assert await store.errand_by_reference("SM1") is None
        assert await store.errands("CA1") == []
        assert await store.claim_errand("CA1/sms", "CA1", "sms", 5.0) is None


async def test_the_errands_of_a_call_are_in_the_order_they_were_begun(url: str):
    async with one_store(url) as store:
        for name, now in (("second", 6.0), ("third", 10.0), ("first", 5.0)):
            await store.claim_errand(f"CA1/{name}", "CA1", name, now)
        await store.claim_errand("CA2/other", "CA2", "other", 1.0)
        assert [row.name for row in await store.errands("CA1")] == ["first", "second", "third"]


async def test_of_several_that_claim_an_errand_at_once_one_gets_it(url: str):
    got: list[ErrandRow | None] = []
    async with two_stores(url) as both:

        async def claim(store: Store) -> None:
            got.append(await store.claim_errand("CA1/sms", "CA1", "sms", 5.0))

        async with trio.open_nursery() as nursery:
            for store in both * 4:
                nursery.start_soon(claim, store)
    assert got.count(None) == 1
    assert got.count(ErrandRow("CA1/sms", "CA1", "sms", "begun", "", {})) == 7


async def test_who_said_so_gets_no_text_messages(url: str):
    async with two_stores(url) as (here, there):
        assert not await here.has_opted_out(ANN)
        await here.opt_out(ANN, 5.0)
        await there.opt_out(ANN, 6.0)
        assert await there.has_opted_out(ANN)
        assert not await there.has_opted_out(BOB)


# ---------------------------------------------------------------- deliveries


async def test_a_delivery_that_is_promised_twice_is_one_and_due_as_first_said(url: str):
    async with one_store(url) as store:
        assert await store.next_delivery() is None
        await store.promise_delivery("CA1", 50.25)
        await store.promise_delivery("CA1", 10.0)
        assert await store.next_delivery() == 50.25
        assert await store.deliveries() == [Delivery("CA1", "open", 50.25, 0, "")]


async def test_a_delivery_is_hastened_and_never_put_off(url: str):
    async with one_store(url) as store:
        await store.promise_delivery("CA1", 50.0)
        await store.hasten_delivery("CA1", 60.0)
        assert await store.next_delivery() == 50.0
        await store.hasten_delivery("CA1", 10.5)
        assert await store.next_delivery() == 10.5
        await store.hasten_delivery("CA2", 1.0)  # promised by nobody
        assert await store.next_delivery() == 10.5


async def test_what_somebody_is_just_delivering_is_not_hastened(url: str):
    async with two_stores(url) as (here, there):
        await here.promise_delivery("CA1", 10.0)
        await here.take_deliveries(10.0, 60.0, 9)
        await there.hasten_delivery("CA1", 12.0)
        assert await there.take_deliveries(13.0, 60.0, 9) == []
        assert await there.next_delivery() == 70.0


async def test_what_is_delivered_or_dead_is_not_hastened_nor_promised_again(url: str):
    async with one_store(url) as store:
        for sid, state in (("CA1", "delivered"), ("CA2", "dead")):
            await store.promise_delivery(sid, 50.0)
            await store.settle_delivery(sid, state, 30.0, "", 20.0)
            await store.hasten_delivery(sid, 10.0)
            await store.promise_delivery(sid, 10.0)
        assert await store.next_delivery() is None
        assert await store.take_deliveries(99.0, 60.0, 9) == []
        assert {each.due for each in await store.deliveries()} == {30.0}


async def test_only_what_is_due_is_taken_soonest_first_and_no_more_than_asked_for(url: str):
    async with one_store(url) as store:
        for number, due in ((1, 30.0), (2, 10.0), (3, 20.0), (4, 40.0)):
            await store.promise_delivery(f"CA{number}", due)
        assert await store.take_deliveries(9.0, 60.0, 9) == []
        taken = await store.take_deliveries(30.0, 60.0, 2)
        assert taken == [Delivery("CA2", "open", 10.0, 1, ""), Delivery("CA3", "open", 20.0, 1, "")]
        assert [each.call_sid for each in await store.take_deliveries(30.0, 60.0, 2)] == ["CA1"]
        assert await store.next_delivery() == 40.0


async def test_what_was_taken_comes_back_when_its_lease_runs_out(url: str):
    async with one_store(url) as store:
        await store.promise_delivery("CA1", 10.0)
        assert [each.tries for each in await store.take_deliveries(10.0, 60.0, 9)] == [1]
        assert await store.take_deliveries(69.9, 60.0, 9) == []
        assert await store.next_delivery() == 70.0
        assert await store.take_deliveries(70.0, 60.0, 9) == [Delivery("CA1", "open", 70.0, 2, "")]


async def test_what_came_of_a_try_is_kept(url: str):
    async with one_store(url) as store:
        for sid, state, due in (("CA1", "delivered", 0.0), ("CA2", "open", 99.5), ("CA3", "dead", 0.5)):
            await store.promise_delivery(sid, 10.0)
            await store.settle_delivery(sid, state, due, f"why {sid}", 11.0)
        await store.settle_delivery("CA4", "delivered", 0.0, "", 11.0)  # promised by nobody
        delivered, again = Delivery("CA1", "delivered", 0.0, 0, "why CA1"), Delivery("CA2", "open", 99.5, 0, "why CA2")
        dead = Delivery("CA3", "dead", 0.5, 0, "why CA3")
        assert await store.deliveries() == [delivered, dead, again]
        assert [await store.deliveries(state) for state in ("delivered", "open", "dead", "no such")] == [
            [delivered],
            [again],
            [dead],
            [],
        ]
        assert await store.next_delivery() == 99.5


async def test_only_a_dead_delivery_is_revived_and_its_tries_begin_anew(url: str):
    async with one_store(url) as store:
        await store.promise_delivery("CA1", 10.0)
        await store.take_deliveries(10.0, 60.0, 9)
        assert not await store.revive_delivery("CA1", 20.0)
        await store.settle_delivery("CA1", "dead", 0.0, "HTTP 500", 11.0)
        assert await store.revive_delivery("CA1", 20.0)
        assert not await store.revive_delivery("CA1", 30.0)
        assert not await store.revive_delivery("CA2", 30.0)
        assert await store.take_deliveries(20.0, 60.0, 9) == [Delivery("CA1", "open", 20.0, 1, "HTTP 500")]


async def test_a_try_that_was_none_is_not_counted(url: str):
    async with one_store(url) as store:
        await store.promise_delivery("CA1", 10.0)
        for at in (10.0, 20.0):
            (taken,) = await store.take_deliveries(at, 60.0, 9)
            assert taken.tries == 1
            await store.settle_delivery("CA1", "open", at + 5.0, "", at, tries=0)
        assert await store.deliveries() == [Delivery("CA1", "open", 25.0, 0, "")]


async def test_two_takers_never_get_the_same_delivery(url: str):
    got: list[str] = []
    async with two_stores(url) as both:
        for number in range(40):
            await both[0].promise_delivery(f"CA{number}", float(number))

        async def take(store: Store) -> None:
            while taken := await store.take_deliveries(100.0, 60.0, 3):
                got.extend(each.call_sid for each in taken)

        async with trio.open_nursery() as nursery:
            for store in both * 3:
                nursery.start_soon(take, store)
    assert sorted(got) == sorted(f"CA{number}" for number in range(40))


async def test_what_one_process_took_or_claimed_another_does_not_get(lasting_url: str):
    async with one_store(lasting_url) as store:
        await store.promise_delivery("CA1", 10.0)
        await store.promise_delivery("CA2", 20.0)
        await store.keep_story("CA1", ANN, US, {"at": "wish"}, over=False, now=5.0)
        await store.claim_errand("CA1/sms", "CA1", "sms", 5.0)
        await in_another_process(
            lasting_url,
            f"""
assert (await store.claim_errand("CA1/sms", "CA1", "sms", 6.0)).status == "begun"
assert await store.claim_errand("CA1/transfer", "CA1", "transfer", 6.0) is None
assert await store.take_unfinished({ANN!r}, {US!r}, 0.0) == {{"at": "wish"}}
assert [each.call_sid for each in await store.take_deliveries(15.0, 60.0, 9)] == ["CA1"]
await store.opt_out({ANN!r}, 7.0)
""",
        )
        assert await store.claim_errand("CA1/transfer", "CA1", "transfer", 7.0) is not None
        assert await store.take_unfinished(ANN, US, 0.0) is None
        assert [each.call_sid for each in await store.take_deliveries(20.0, 60.0, 9)] == ["CA2"]
        assert await store.has_opted_out(ANN)


# ---------------------------------------------------------------- texts


async def test_a_number_is_sent_so_many_texts_in_any_day_and_no_more(url: str):
    async with two_stores(url) as (here, there):
        assert [
            await store.claim_text(ANN, f"CA{n}/sms", 10.0 * n, 2) for n, store in enumerate((here, there, here))
        ] == [
            True,
            True,
            False,
        ]
        assert await there.claim_text(ANN, "CA0/sms", 30.0, 2)  # the same one, asked for again
        assert await there.claim_text(BOB, "CA3/sms", 30.0, 2)
        assert await there.claim_text(ANN, "CA4/sms", DAY + 5.0, 2)  # the first was a day ago
        assert not await here.claim_text(ANN, "CA5/sms", DAY + 6.0, 2)
        await here.forget_number(ANN)
        assert await there.claim_text(ANN, "CA6/sms", DAY + 7.0, 1)


# ---------------------------------------------------------------- forgetting


async def fill(store: Store, call_sid: str, caller: str, **fields: Any) -> None:
    """Something of everything there is of a call."""
    await store.answered(call_sid, caller, US)
    await store.keep_record(a_record(call_sid, f"MZ of {call_sid}", **fields))
    await store.keep_story(call_sid, caller, US, {"call": call_sid}, over=False, now=5.0)
    await store.claim_errand(f"{call_sid}/sms", call_sid, "sms", 5.0)
    await store.settle_errand(f"{call_sid}/sms", "done", f"SM of {call_sid}", {})
    await store.keep_recording(f"RE of {call_sid}", call_sid, "https://api.example.com/RE", 9, "completed")
    await store.promise_delivery(call_sid, 9.0)
    await store.settle_delivery(call_sid, "delivered", 9.0, "", 9.0)


async def assert_gone(store: Store, call_sid: str, caller: str) -> None:
    assert await store.call(call_sid) is None
    assert await store.story(call_sid) is None
    assert await store.take_unfinished(caller, US, 0.0) is None
    assert await store.errands(call_sid) == []
    assert await store.errand_by_reference(f"SM of {call_sid}") is None
    assert call_sid not in [each.call_sid for each in await store.deliveries()]
    await store.answered(call_sid, caller, US)
    row = await store.call(call_sid)
    assert row is not None
    assert [row[name] for name in ("turns", "story", "errands", "recordings", "streams")] == [[], None, [], [], 0]


async def test_everything_of_a_number_is_forgotten_and_nothing_of_others(url: str):
    async with one_store(url) as store:
        for sid, caller in (("CA1", ANN), ("CA2", BOB), ("CA3", ANN)):
            await fill(store, sid, caller)
        await store.opt_out(ANN, 5.0)
        kept = await store.call("CA2")
        assert await store.forget_number(ANN) == 2
        assert await store.forget_number(ANN) == 0
        assert await store.call("CA2") == kept
        assert await store.take_unfinished(BOB, US, 0.0) == {"call": "CA2"}
        assert [each.call_sid for each in await store.deliveries()] == ["CA2"]
        assert await store.has_opted_out(ANN)  # it asked for that
        for sid in ("CA1", "CA3"):
            await assert_gone(store, sid, ANN)


async def test_a_callback_that_comes_after_its_caller_was_forgotten_brings_nothing_back(url: str):
    async with two_stores(url) as (here, there):
        await fill(here, "CA1", ANN)
        assert await here.forget_number(ANN) == 1
        await there.keep_recording("RE9", "CA1", "https://api.example.com/RE9", 9, "completed")
        await there.status("CA1", "completed", 9, ANN, US)
        assert await there.call("CA1") is None
        assert await here.forget_number(ANN) == 0
        await assert_gone(there, "CA1", ANN)


async def test_a_number_is_forgotten_though_its_call_is_still_to_be_delivered(url: str):
    async with one_store(url) as store:
        await fill(store, "CA1", ANN)
        await store.settle_delivery("CA1", "open", 9.0, "", 9.0)
        assert await store.forget_number(ANN) == 1
        assert await store.next_delivery() is None


async def test_what_ended_before_is_forgotten_and_what_ended_later_is_not(url: str):
    async with one_store(url) as store:
        await fill(store, "CA1", ANN)
        await fill(store, "CA2", BOB, ended=LATER)
        assert await store.forget_before(ENDED.replace(tzinfo=datetime.UTC)) == 0
        assert await store.forget_before(LATER) == 1
        assert await store.call("CA2") is not None
        await assert_gone(store, "CA1", ANN)


async def test_a_call_that_is_still_to_be_delivered_is_not_forgotten_for_its_age(url: str):
    async with one_store(url) as store:
        for sid, state in (("CA1", "open"), ("CA2", "dead"), ("CA3", "delivered")):
            await fill(store, sid, ANN)
            await store.settle_delivery(sid, state, 9.0, "", 9.0)
        assert await store.forget_before(LATER) == 2
        assert [each.call_sid for each in await store.deliveries()] == ["CA1"]
        assert await store.call("CA1") is not None
        await store.settle_delivery("CA1", "delivered", 0.0, "", 9.0)
        assert await store.forget_before(LATER) == 1


async def test_a_call_without_an_end_is_as_old_as_its_beginning(url: str):
    async with one_store(url) as store:
        await store.keep_record(a_record("CA1", "MZ1", ended=None))
        await store.answered("CA2", BOB, US)  # now
        assert await store.forget_before(BEGAN.replace(tzinfo=datetime.UTC)) == 0
        assert await store.forget_before(LATER) == 1
        assert await store.call("CA2") is not None
        tomorrow = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)
        assert await store.forget_before(tomorrow) == 1


async def test_what_was_used_is_used_though_its_call_is_forgotten(url: str):
    async with one_store(url) as store:
        assert await store.claim_token("a", 2_000_000_000, 0)
        await fill(store, "CA1", ANN)
        assert await store.forget_number(ANN) == 1
        assert not await store.claim_token("a", 2_000_000_000, 0)


async def test_many_calls_are_forgotten_at_once(url: str):
    async with one_store(url) as store:
        for number in range(250):
            await store.keep_record(a_record(f"CA{number}", f"MZ{number}", turns=[]))
        assert await store.forget_before(NEVER) == 0
        assert await store.forget_before(LATER) == 250
        assert await store.forget_before(LATER) == 0


async def test_no_key_of_a_forgotten_call_is_left_in_redis(redis: RedisServer):
    async with one_store(redis.url) as store:
        for sid, caller in (("CA1", ANN), ("CA2", BOB)):
            await fill(store, sid, caller)
        await store.opt_out(ANN, 5.0)
        assert await store.forget_number(ANN) == 1
        assert await store.forget_before(LATER) == 1
    assert redis.ask("DEL", "triode:forgotten:CA1") == b":1\r\n"  # no more than that it was
    assert redis.ask("KEYS", "*") == b"*1\r\n$16\r\ntriode:opted_out\r\n"
