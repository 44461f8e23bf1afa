"""The store on a real SQLite file: what is kept comes back, several stores share it, and none of its failures reaches a call."""

import datetime
import os
import shutil
import sqlite3
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import pytest
import sqlalchemy as sa
import structlog
import trio

from actors import call as calls_of_actors
from actors.mailbox import MailboxStats
from actors.messages import Disposition
from actors.notebook import CallRecord, Interruption, Trouble, Turn
from transport import store as stores
from transport.metrics import Metrics
from transport.records import REMEMBERED, Records
from transport.store import StoreDown, open_store

BEGAN = datetime.datetime(2026, 3, 1, 12, 0, 0)  # UTC: SQLite keeps no time zone
ENDED = datetime.datetime(2026, 3, 1, 12, 0, 42, 500_000)
LATENCY = {"model": 310, "first_audio": 120, "framing": 15, "turn_detection": 500, "total": 945}
TURN = ("who", "item", "began", "text", "heard_text", "heard_ms", "generated_ms", "interrupted", "latency_ms")
IN_ANOTHER_PROCESS = """
import sys, trio
from actors.messages import Disposition
from transport.store import open_store

async def main(url):
    async with open_store(url) as store:
        assert await store.take_disposition("CA1") is Disposition.VOICEMAIL
        assert not await store.claim_token("first", 2_000_000_000, 0)
        assert await store.claim_token("second", 2_000_000_000, 0)
        await store.keep_disposition("CA1", Disposition.DIAL)

trio.run(main, sys.argv[1])
"""


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/calls.db"


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(lambda: 0)


def a_record(call_sid: str = "CA1", stream_sid: str = "MZ1", **fields: Any) -> CallRecord:
    """A record with something in every field."""
    values: dict[str, Any] = {
        "ended": ENDED.replace(tzinfo=datetime.UTC),
        "seconds": 42.5,
        "disposition": Disposition.HANG_UP,
        "reason": "the agent ended the call",
        "turns": [
            Turn("agent", "item_0", 0.05, "Hello, this is the desk.", "Hello, this", 600, 1000, True, True),
            Turn("caller", "item_1", 2.5, "Grüß Gott 👋 'x' -- ;", "Grüß Gott 👋 'x' -- ;", over=True),
            Turn("agent", "item_2", 3.75, "We open at nine.", "We open at nine.", 1200, 1200, False, True, LATENCY),
        ],
        "interruptions": [
            Interruption(0.65, "item_0", 600, 600, 1000, 20, "speech"),
            Interruption(9.0, "item_2", 1200, None, 1200, 0, "key"),
        ],
        "keys": "10#",
        "frames_in": 2100,
        "frames_out": 900,
        "silence_in_ms": 80,
        "tokens": 1234,
        "first_frame_ms": 50,
        "mailboxes": [
            MailboxStats("caller audio", 750, "drop oldest", 2100, 17, 750),
            MailboxStats("flow", 64, "fatal", 40, 0, 3),
        ],
        "errors": [Trouble(1.25, "model", "no answer")],
        "errors_left_out": 2,
    }
    return CallRecord(call_sid, stream_sid, BEGAN.replace(tzinfo=datetime.UTC), **{**values, **fields})


def failures(metrics: Metrics, what: str) -> float:
    return metrics.registry.get_sample_value("triode_store_failures_total", {"what": what}) or 0.0


@contextmanager
def before_statements(hook: Callable[[str], None]) -> Iterator[None]:
    """Calls `hook` in the store's thread before each statement."""

    def listen(connection: Any, cursor: Any, statement: str, *_: object) -> None:
        hook(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", listen)
    try:
        yield
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", listen)


# ---------------------------------------------------------------- what is kept comes back


async def test_a_whole_record_comes_back_as_it_was_kept(url: str):
    record = a_record()
    async with open_store(url) as store:
        await store.answered("CA1", "+15550002222", "+15550003333")
        await store.keep_record(record)
        row = await store.call("CA1")
    assert row is not None
    assert (row["caller"], row["called"], row["stream_sid"]) == ("+15550002222", "+15550003333", "MZ1")
    assert (row["began"], row["ended"]) == (BEGAN, ENDED)
    assert (row["seconds"], row["tokens"], row["streams"]) == (42.5, 1234, 1)
    assert (row["disposition"], row["reason"]) == ("hang_up", "the agent ended the call")
    assert [turn["number"] for turn in row["turns"]] == [1, 2, 3]
    assert {(turn["call_sid"], turn["stream_sid"]) for turn in row["turns"]} == {("CA1", "MZ1")}
    assert [[turn[field] for field in TURN] for turn in row["turns"]] == [
        [getattr(turn, field) for field in TURN] for turn in record.turns
    ]


async def test_interruptions_drops_and_troubles_come_back_as_they_were_kept(url: str):
    record = a_record()
    async with open_store(url) as store:
        await store.keep_record(record)
        row = await store.call("CA1")
    assert row is not None
    details = row["details"]
    assert details["interruptions"] == [attrs.asdict(each) for each in record.interruptions]
    assert [{"name": n, **kept} for n, kept in details["channels"].items()] == [
        attrs.asdict(each) for each in record.mailboxes
    ]
    assert details["errors"] == [attrs.asdict(each) for each in record.errors]
    assert (details["frames_in"], details["frames_out"], details["silence_in_ms"]) == (2100, 900, 80)
    assert (details["first_frame_ms"], details["keys"], details["errors_left_out"]) == (50, 3, 2)


async def test_the_keys_a_caller_pressed_are_never_stored(url: str):
    async with open_store(url) as store:
        await store.keep_record(a_record(keys="4929123412341234"))
        assert "4929123412341234" not in str(await store.call("CA1"))


async def test_a_call_without_a_word_is_a_row_without_turns(url: str):
    async with open_store(url) as store:
        await store.keep_record(CallRecord("CA1", "MZ1", BEGAN))
        row = await store.call("CA1")
        assert await store.call("CA2") is None
    assert row is not None
    assert (row["turns"], row["disposition"], row["streams"]) == ([], None, 1)


async def test_a_record_that_is_kept_twice_is_one_row(url: str):
    async with open_store(url) as store:
        await store.keep_record(a_record())
        once = await store.call("CA1")
        await store.keep_record(a_record())
        assert await store.call("CA1") == once


async def test_a_call_of_two_streams_is_one_row_with_both_in_order(url: str):
    async with open_store(url) as store:
        await store.keep_record(a_record("CA1", "MZ1", disposition=Disposition.RESUME))
        later = ENDED + datetime.timedelta(seconds=7)
        await store.keep_record(attrs.evolve(a_record("CA1", "MZ2", seconds=7.0, tokens=6), began=ENDED, ended=later))
        row = await store.call("CA1")
    assert row is not None
    assert (row["streams"], row["seconds"], row["tokens"]) == (2, 49.5, 1240)
    assert (row["began"], row["ended"]) == (BEGAN, later)
    assert [turn["stream_sid"] for turn in row["turns"]] == ["MZ1"] * 3 + ["MZ2"] * 3


async def test_a_stream_that_was_kept_before_is_not_counted_again_after_another(url: str):
    async with open_store(url) as store:
        for stream_sid in ("MZ1", "MZ2", "MZ1"):
            await store.keep_record(a_record("CA1", stream_sid))
        row = await store.call("CA1")
    assert row is not None
    assert (row["streams"], row["seconds"], len(row["turns"])) == (2, 85.0, 6)


async def test_the_late_record_of_an_older_stream_does_not_undo_a_newer_decision(url: str):
    async with open_store(url) as store:
        await store.keep_disposition("CA1", Disposition.RESUME)
        await store.reopen("CA1")
        await store.keep_disposition("CA1", Disposition.DIAL)  # by the second stream
        await store.keep_record(a_record("CA1", "MZ1", disposition=Disposition.RESUME))
        assert await store.take_disposition("CA1") is Disposition.DIAL


async def test_a_call_that_rings_after_its_first_status_came_keeps_its_caller(url: str):
    """Callbacks come in any order."""
    async with open_store(url) as store:
        await store.status("CA1", "ringing", 0)
        await store.answered("CA1", "+15550002222", "+15550003333")
        row = await store.call("CA1")
    assert row is not None
    assert (row["caller"], row["called"]) == ("+15550002222", "+15550003333")
    assert row["answered"] is not None


async def test_a_decision_is_answered_as_often_as_it_is_asked_for_until_the_stream_is_opened_again(url: str):
    async with open_store(url) as store:
        await store.keep_disposition("CA1", Disposition.IVR)
        assert [await store.take_disposition("CA1") for _ in range(3)] == [Disposition.IVR] * 3
        assert [await store.reopen("CA1"), await store.reopen("CA1")] == [1, 2]
        assert await store.take_disposition("CA1") is None


async def test_a_token_is_claimed_once_and_forgotten_when_it_has_expired_for_long(url: str, tmp_path: Path):
    async with open_store(url) as store:
        assert await store.claim_token("a", 1000, now=950)
        assert not await store.claim_token("a", 1000, now=960)
        assert not await store.claim_token("a", 1000, now=1050)  # clocks differ a little
        assert await store.claim_token("b", 3000, now=2000)
    with closing(sqlite3.connect(tmp_path / "calls.db")) as db:
        assert db.execute("SELECT nonce FROM used_tokens").fetchall() == [("b",)]


# ---------------------------------------------------------------- several stores, one file


async def test_what_one_store_keeps_another_knows(url: str):
    async with open_store(url) as here, open_store(url) as there:
        for disposition in Disposition:
            await here.keep_disposition("CA1", disposition)
            assert await there.take_disposition("CA1") is disposition
        assert await there.reopen("CA1") == 1
        assert await here.reopen("CA1") == 2
        assert await here.claim_token("a", 2_000_000_000, 0)
        assert not await there.claim_token("a", 2_000_000_000, 0)


async def test_what_one_process_keeps_another_knows(url: str):
    async with open_store(url) as store:
        await store.keep_disposition("CA1", Disposition.VOICEMAIL)
        assert await store.claim_token("first", 2_000_000_000, 0)
        with trio.fail_after(30):
            await trio.run_process([sys.executable, "-c", IN_ANOTHER_PROCESS, url])
        assert await store.take_disposition("CA1") is Disposition.DIAL
        assert not await store.claim_token("second", 2_000_000_000, 0)


async def test_of_several_that_use_a_token_at_once_one_gets_it(url: str):
    got: list[bool] = []
    async with open_store(url) as here, open_store(url) as there, trio.open_nursery() as nursery:

        async def claim(store: stores.Store) -> None:
            got.append(await store.claim_token("a", 2_000_000_000, 0))

        for store in (here, there) * 3:
            nursery.start_soon(claim, store)
    assert sorted(got) == [False] * 5 + [True]


async def test_several_processes_may_make_the_tables_at_once(url: str):
    opened: list[str] = []

    async def use() -> None:
        async with open_store(url) as store:
            opened.append(str(await store.take_disposition("CA1")))

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(use)
    assert opened == ["None"] * 4


async def test_two_workers_that_hear_of_a_call_at_the_same_moment_both_keep_what_they_know(url: str):
    together = threading.Barrier(2)

    def wait(statement: str) -> None:
        if statement.startswith("INSERT INTO calls"):
            # Broken: the other one is kept out until this one is through, which is as good.
            with suppress(threading.BrokenBarrierError):
                together.wait(0.2)

    async with open_store(url) as here, open_store(url) as there:
        with before_statements(wait), trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(here.status, "CA1", "in-progress", 2)
                nursery.start_soon(there.keep_disposition, "CA1", Disposition.DIAL)
        row = await here.call("CA1")
    assert row is not None
    assert (row["status"], row["disposition"]) == ("in-progress", "dial")


async def test_a_final_status_is_not_overwritten_by_an_earlier_one_that_another_worker_was_about_to_write(url: str):
    about_to, final_is_kept = threading.Event(), threading.Event()

    def wait(statement: str) -> None:
        if statement.startswith("UPDATE calls") and not about_to.is_set():
            about_to.set()
            final_is_kept.wait(0.2)  # in vain, if the other one is kept out meanwhile

    async with open_store(url) as here, open_store(url) as there:
        await here.answered("CA1", "", "")

        async def end() -> None:
            await trio.to_thread.run_sync(about_to.wait, 5)
            await there.status("CA1", "completed", 3)
            final_is_kept.set()

        with before_statements(wait), trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(here.status, "CA1", "in-progress", 2)
                nursery.start_soon(end)
        row = await here.call("CA1")
    assert row is not None
    assert row["status"] == "completed"


async def test_old_rows_stay_when_the_store_is_opened_again(url: str):
    async with open_store(url) as store:
        await store.keep_record(a_record())
        await store.keep_recording("RE1", "CA1", "https://api.example.com/RE1", 9, "completed")
        before = await store.call("CA1")
    async with open_store(url) as store:
        assert await store.call("CA1") == before
        await store.keep_record(a_record("CA2", "MZ2"))
        assert await store.call("CA1") == before


# ---------------------------------------------------------------- a store that cannot be used

Write = Callable[[Records], Awaitable[object]]
WRITES: dict[str, Write] = {
    "answered": lambda records: records.answered("CA1", "+15550002222", "+15550003333"),
    "disposition": lambda records: records.keep_disposition("CA1", Disposition.DIAL),
    "record": lambda records: records.keep_record(a_record()),
    "reopen": lambda records: records.reopened("CA1", ""),
    "token": lambda records: records.claim("nonce", 2_000_000_000, 0),
    "status": lambda records: records.status("CA1", "ringing", 1),
    "recording": lambda records: records.recording("RE1", "CA1", "https://api.example.com/RE1", 9, "completed"),
}


def lock(folder: Path) -> Callable[[], None]:
    other = sqlite3.connect(folder / "calls.db")
    other.execute("BEGIN EXCLUSIVE")
    return other.close


def overwrite(folder: Path) -> Callable[[], None]:
    for file in folder.iterdir():
        file.write_bytes(b"garbage " * 8192)
    return lambda: None


def empty(folder: Path) -> Callable[[], None]:
    with closing(sqlite3.connect(folder / "calls.db")) as other:
        for table in ("calls", "turns", "used_tokens", "recordings"):
            other.execute(f"DROP TABLE {table}")
    return lambda: None


@pytest.mark.parametrize("harm", [lock, overwrite, empty])
@pytest.mark.parametrize("what", WRITES)
async def test_a_store_that_fails_is_counted_and_logged_and_raises_nothing_into_a_call(
    url: str,
    tmp_path: Path,
    metrics: Metrics,
    monkeypatch: pytest.MonkeyPatch,
    harm: Callable[[Path], Callable[[], None]],
    what: str,
):
    monkeypatch.setattr(stores, "SECONDS", 0.01)  # of waiting for the lock
    async with open_store(url) as store:
        monkeypatch.undo()
        records = Records(store, metrics)
        repair = harm(tmp_path)
        with structlog.testing.capture_logs() as lines, trio.fail_after(20):
            await WRITES[what](records)
        repair()
    assert failures(metrics, what) == 1
    ((event, level, said),) = [(line["event"], line["log_level"], line["what"]) for line in lines]
    assert (event, level, said) == ("store_failed", "error", what)
    assert lines[0]["error"]


async def test_a_store_whose_folder_is_gone_raises_nothing(url: str, tmp_path: Path, metrics: Metrics):
    async with open_store(url) as store:
        shutil.rmtree(tmp_path)
        for write in WRITES.values():
            await write(Records(store, metrics))


async def test_a_store_that_was_locked_is_used_again_when_it_is_free(
    url: str, tmp_path: Path, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(stores, "SECONDS", 0.01)
    async with open_store(url) as store:
        monkeypatch.undo()
        records = Records(store, metrics)
        unlock = lock(tmp_path)
        await records.keep_disposition("CA1", Disposition.DIAL)
        unlock()
        await records.keep_disposition("CA2", Disposition.IVR)
        assert await store.take_disposition("CA2") is Disposition.IVR
        assert await records.disposition("CA1") is Disposition.DIAL  # remembered, though the store never took it
    assert failures(metrics, "disposition") == 1


async def test_a_statement_that_hangs_is_given_up(url: str, metrics: Metrics, monkeypatch: pytest.MonkeyPatch):
    go_on = threading.Event()
    async with open_store(url) as store:
        records = Records(store, metrics)
        with trio.fail_after(20):
            with before_statements(lambda statement: go_on.wait(10) and None):
                monkeypatch.setattr(stores, "SECONDS", 0.05)
                await records.status("CA1", "completed", 3)
                monkeypatch.undo()
                go_on.set()
            assert failures(metrics, "status") == 1
            await records.status("CA2", "completed", 3)  # waits until the thread is free again
        assert await store.call("CA2") is not None
    assert failures(metrics, "status") == 1


def test_a_statement_has_failed_before_the_end_of_a_call_stops_waiting_for_it():
    """Else the wait is cut off from outside, and a locked store is neither counted nor logged."""
    assert stores.SECONDS < calls_of_actors.WRAP_UP


@pytest.mark.parametrize(
    ("what", "write"),
    [
        ("status", lambda records: records.status("CA1", "ringing", 10**30)),
        ("record", lambda records: records.keep_record(a_record(reason="\ud800"))),
    ],
)
async def test_what_sqlite_cannot_hold_raises_nothing_into_a_call(url: str, metrics: Metrics, what: str, write: Write):
    async with open_store(url) as store:
        await write(Records(store, metrics))
        assert await store.claim_token("a", 2_000_000_000, 0)
    assert failures(metrics, what) == 1


async def test_while_the_store_is_away_a_process_goes_by_what_it_remembers(url: str, tmp_path: Path, metrics: Metrics):
    async with open_store(url) as store:
        records = Records(store, metrics)
        overwrite(tmp_path)
        await records.keep_disposition("CA1", Disposition.DIAL)
        assert await records.disposition("CA1") is Disposition.DIAL
        assert await records.disposition("CA2") is None
        assert await records.claim("nonce", 2_000_000_000, 0)
        assert not await records.claim("nonce", 2_000_000_000, 0)
        assert await records.reopened("CA1", "") is None
        assert await records.disposition("CA1") is None


async def test_what_a_process_remembers_is_bounded(url: str, metrics: Metrics):
    async with open_store(url) as store:
        records = Records(store, metrics)

        async def away(*_: object) -> None:
            raise StoreDown("away")

        for name in ("keep_disposition", "take_disposition", "claim_token"):
            setattr(store, name, away)
        for number in range(REMEMBERED + 1):
            await records.keep_disposition(f"CA{number}", Disposition.DIAL)
            await records.claim(f"nonce{number}", 2_000_000_000, 0)
        assert await records.disposition("CA0") is None
        assert await records.disposition("CA1") is Disposition.DIAL
        assert not await records.claim("nonce1", 2_000_000_000, 0)
        assert await records.claim("nonce0", 2_000_000_000, 0)


# ---------------------------------------------------------------- opening


@pytest.mark.parametrize("bad", ["", "nonsense", "calls.db", "nosuch:///calls.db", "mysql://host/calls", "sqlite:///."])
async def test_a_wrong_url_is_refused_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: str):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreDown) as down:
        async with open_store(bad):
            pass
    assert str(down.value).startswith(f"store.url = {bad!r} cannot be opened: ")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("path", ["a file/calls.db", "a folder", "a file"])
async def test_a_place_that_cannot_be_a_database_is_refused_with_a_sentence(tmp_path: Path, path: str):
    (tmp_path / "a file").write_text("not a database, and long enough to be read as one " * 50)
    (tmp_path / "a folder").mkdir()
    bad = f"sqlite:///{tmp_path}/{path}"
    with pytest.raises(StoreDown, match=r"^store.url = .* cannot be opened: "):
        async with open_store(bad):
            pass
    assert (tmp_path / "a file").read_text().startswith("not a database")
