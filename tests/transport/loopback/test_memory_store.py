"""The store in memory keeps the promises of the others: their own tests, with it in the place of SQLite and Redis.

What is true of it alone comes after.
"""

import contextlib
import inspect
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from actors.messages import Disposition
from tests.transport import store_kit, test_store, test_store_promises
from tests.transport.store_kit import ANN, BOB, US, a_record
from transport.loopback.memory_store import MemoryStore
from transport.store import Store, StoreDown

SUITE = (test_store, test_store_promises)
ELSEWHERE = {
    "test_what_one_process_keeps_another_knows": "it ends with its process",
    "test_old_rows_stay_when_the_store_is_opened_again": "it ends with its process",
    "test_what_one_process_took_or_claimed_another_does_not_get": "it ends with its process",
    "test_no_key_of_a_forgotten_call_is_left_in_redis": "of Redis alone",
}
"""Tests of the suite that are not about what a store promises to those who use it."""


def calls_of(test: Callable[..., Awaitable[None]]) -> Iterator[dict[str, Any]]:
    """The arguments with which pytest calls `test`, but for the address of the store."""
    marks = [mark for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize"]
    choices: list[list[dict[str, Any]]] = []
    for mark in marks:
        names = [name.strip() for name in mark.args[0].split(",")] if isinstance(mark.args[0], str) else mark.args[0]
        rows = [row if len(names) > 1 else [row] for row in mark.args[1]]
        choices.append([dict(zip(names, row, strict=True)) for row in rows])
    for chosen in itertools.product(*choices):
        yield {name: value for part in chosen for name, value in part.items()}


def promises() -> Iterator[Any]:
    for module in SUITE:
        for name, test in vars(module).items():
            if not name.startswith("test_") or name in ELSEWHERE or not inspect.iscoroutinefunction(test):
                continue
            for number, arguments in enumerate(calls_of(test)):
                yield pytest.param(module, test, arguments, id=f"{name}-{number}" if arguments else name)


@pytest.mark.parametrize(("module", "test", "arguments"), list(promises()))
async def test_it_promises_what_the_other_stores_promise(
    module: ModuleType,
    test: Callable[..., Awaitable[None]],
    arguments: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: MockClock,
) -> None:
    store = MemoryStore()

    @contextlib.asynccontextmanager
    async def one_store(_: str) -> AsyncIterator[Store]:
        with trio.fail_after(30):
            yield store

    @contextlib.asynccontextmanager
    async def two_stores(_: str) -> AsyncIterator[tuple[Store, Store]]:
        with trio.fail_after(30):
            yield store, store

    for name, ours in (("one_store", one_store), ("two_stores", two_stores)):
        if hasattr(module, name):
            monkeypatch.setattr(module, name, ours)
    missing = set(inspect.signature(test).parameters) - {"url"} - arguments.keys()
    assert not missing, f"{missing}: a fixture that this file does not know"
    await test(url="memory", **arguments)


def test_the_suite_is_there() -> None:
    names = {name for module in SUITE for name in vars(module) if name.startswith("test_")}
    assert names >= ELSEWHERE.keys()
    assert len(list(promises())) > 55


# ---------------------------------------------------------------- what is true of it alone


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
