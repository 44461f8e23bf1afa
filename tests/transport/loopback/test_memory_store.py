"""What is true of the store in memory alone. That it promises what the others do, their own tests show (`url` in `store_kit`)."""

import inspect
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from actors.messages import Disposition
from tests.transport import store_kit
from tests.transport.store_kit import ANN, BOB, US, a_record
from transport.loopback.memory_store import MemoryStore
from transport.store import Store, StoreDown

ASKED: dict[str, tuple[Any, ...]] = {
    "answered": ("CA1", ANN, US),
    "claim_token": ("n", 10, 0.0),
    "keep_disposition": ("CA1", Disposition.DIAL),
    "take_disposition": ("CA1",),
    "reopen": ("CA1",),
    "status": ("CA1", "completed", 1),
    "keep_record": (a_record(),),
    "keep_recording": ("RE1", "CA1", "https://api.example.com/RE1", 3, "completed"),
    "call": ("CA1",),
    "keep_story": ("CA1", ANN, US, {"at": "wish"}),
    "story": ("CA1",),
    "unfinished": (ANN, US, 0.0),
    "take_unfinished": (ANN, US, 0.0),
    "claim_errand": ("CA1/sms", "CA1", "sms", 1.0),
    "settle_errand": ("CA1/sms", "done", "SM1", {}),
    "change_errand": ("CA1/sms", lambda row: row),
    "open_errands": ("sms", 0.0),
    "errand_by_reference": ("SM1",),
    "errands": ("CA1",),
    "opt_out": (ANN, 1.0),
    "has_opted_out": (ANN,),
    "claim_text": (ANN, "CA1/sms", 1.0, 1),
    "promise_delivery": ("CA1", 10.0),
    "hasten_delivery": ("CA1", 1.0),
    "take_deliveries": (100.0, 60.0, 9),
    "next_delivery": (),
    "settle_delivery": ("CA1", "delivered", 0.0, "", 1.0),
    "deliveries": (),
    "revive_delivery": ("CA1", 1.0),
    "forget_before": (store_kit.ENDED,),
    "forget_number": (ANN,),
}
EXTRA: dict[str, dict[str, Any]] = {"keep_story": {"over": False, "now": 1.0}}


def test_it_has_every_operation_of_a_store() -> None:
    operations = {name for name, value in vars(Store).items() if inspect.iscoroutinefunction(value)}
    assert operations == ASKED.keys()
    for name in operations:
        assert inspect.signature(getattr(MemoryStore, name)) == inspect.signature(getattr(Store, name)), name


@pytest.mark.parametrize("operation", ASKED)
async def test_while_it_is_down_every_operation_fails_and_changes_nothing(
    operation: str, autojump_clock: MockClock
) -> None:
    store, untouched = MemoryStore(down=True), MemoryStore(down=True)
    with pytest.raises(StoreDown):
        await getattr(store, operation)(*ASKED[operation], **EXTRA.get(operation, {}))
    assert store == untouched


@pytest.mark.parametrize("operation", ASKED)
async def test_while_it_is_slow_every_operation_takes_that_long(operation: str, autojump_clock: MockClock) -> None:
    store = MemoryStore()
    await store.answered("CA1", ANN, US)
    await store.promise_delivery("CA1", 10.0)
    store.slow = 2.5
    began = trio.current_time()
    argument = [store_kit.ENDED.replace(tzinfo=store_kit.datetime.UTC)] if operation == "forget_before" else []
    await getattr(store, operation)(*(argument or ASKED[operation]), **EXTRA.get(operation, {}))
    assert trio.current_time() - began == 2.5


async def test_what_is_given_out_is_not_what_is_kept(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    given = {"dialogue": {"at": "wish"}}
    await store.keep_story("CA1", ANN, US, given, over=False, now=1.0)
    given["dialogue"]["at"] = "changed"
    for taken in (await store.story("CA1"), (await store.call("CA1") or {})["story"]):
        assert taken is not None
        assert taken == {"dialogue": {"at": "wish"}}
        taken["dialogue"]["at"] = "changed"
    assert await store.story("CA1") == {"dialogue": {"at": "wish"}}
    assert await store.take_unfinished(ANN, US, 0.0) == {"dialogue": {"at": "wish"}}


async def test_one_operation_may_be_replaced_by_a_worse_one(autojump_clock: MockClock) -> None:
    store = MemoryStore()

    async def story(call_sid: str) -> dict[str, Any] | None:
        raise StoreDown("of stories nothing is known today")

    store.story = story  # type: ignore[method-assign] # a stand-in
    with pytest.raises(StoreDown):
        await store.story("CA1")
    assert await store.next_delivery() is None


async def test_the_records_of_one_call_are_told_apart(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    for call_sid, stream_sid in (("CA1", "MZ1"), ("CA2", "MZ2"), ("CA1", "MZ3"), ("CA1", "MZ1")):
        await store.keep_record(a_record(call_sid, stream_sid))
    assert [record.stream_sid for record in store.of("CA1")] == ["MZ1", "MZ3"]
    assert store.of(BOB) == []
