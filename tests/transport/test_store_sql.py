"""The store in a real SQLite file: who writes waits for who writes, old files go on, and no failure of it reaches a call."""

import datetime
import errno
import os
import shutil
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import structlog
import trio

from actors import call as calls_of_actors
from actors.messages import Disposition
from tests.kit.patience import PATIENCE
from tests.transport.store_kit import ANN, US, a_record, one_store
from transport import store_sql
from transport.metrics import Metrics
from transport.open_store import open_store
from transport.records import REMEMBERED, Records
from transport.store import Store, StoreAway, StoreDown, Unkeepable


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/calls.db"


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(lambda: 0)


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


async def test_a_token_is_forgotten_when_it_has_expired_for_long(url: str, tmp_path: Path):
    async with one_store(url) as store:
        assert await store.claim_token("a", 1000, now=950)
        assert await store.claim_token("b", 3000, now=2000)
    with closing(sqlite3.connect(tmp_path / "calls.db")) as db:
        assert db.execute("SELECT nonce FROM used_tokens").fetchall() == [("b",)]


# ---------------------------------------------------------------- a file of an earlier version

EARLIER = """
CREATE TABLE calls (
    call_sid VARCHAR(64) NOT NULL, stream_sid VARCHAR(64), caller VARCHAR(64), called VARCHAR(64), answered DATETIME,
    began DATETIME, ended DATETIME, seconds FLOAT, disposition VARCHAR(32), reason TEXT, status VARCHAR(32),
    status_sequence INTEGER, reopened INTEGER, streams INTEGER, tokens INTEGER, details JSON, PRIMARY KEY (call_sid)
);
CREATE TABLE used_tokens (nonce VARCHAR(64) NOT NULL, expires INTEGER, PRIMARY KEY (nonce));
CREATE INDEX ix_used_tokens_expires ON used_tokens (expires);
CREATE TABLE recordings (
    recording_sid VARCHAR(64) NOT NULL, call_sid VARCHAR(64), url TEXT, seconds INTEGER, status VARCHAR(32), at DATETIME,
    PRIMARY KEY (recording_sid)
);
CREATE INDEX ix_recordings_call_sid ON recordings (call_sid);
CREATE TABLE streams (
    stream_sid VARCHAR(64) NOT NULL, call_sid VARCHAR(64), began DATETIME, ended DATETIME, seconds FLOAT,
    disposition VARCHAR(32), reason TEXT, PRIMARY KEY (stream_sid), FOREIGN KEY(call_sid) REFERENCES calls (call_sid)
);
CREATE INDEX ix_streams_call_sid ON streams (call_sid);
CREATE TABLE turns (
    id INTEGER NOT NULL, call_sid VARCHAR(64), stream_sid VARCHAR(64), number INTEGER, who VARCHAR(16), item VARCHAR(64),
    began FLOAT, text TEXT, heard_text TEXT, heard_ms INTEGER, generated_ms INTEGER, interrupted BOOLEAN, latency_ms JSON,
    PRIMARY KEY (id), FOREIGN KEY(call_sid) REFERENCES calls (call_sid)
);
CREATE INDEX ix_turns_call_sid ON turns (call_sid);
INSERT INTO calls VALUES ('CA1', 'MZ1', '+15550002222', '+15550003333', '2026-03-01 11:59:58.000000',
    '2026-03-01 12:00:00.000000', '2026-03-01 12:00:42.500000', 42.5, 'resume', 'the line was lost', 'in-progress', 1, 0,
    1, 1234, '{"keys": 3}');
INSERT INTO streams VALUES ('MZ1', 'CA1', '2026-03-01 12:00:00.000000', '2026-03-01 12:00:42.500000', 42.5, 'resume', '');
INSERT INTO turns VALUES (1, 'CA1', 'MZ1', 1, 'agent', 'item_0', 0.05, 'Hello.', 'Hello.', 600, 600, 0, '{}');
INSERT INTO used_tokens VALUES ('first', 2000000000);
INSERT INTO recordings VALUES ('RE1', 'CA1', 'https://api.example.com/RE1', 9, 'completed', '2026-03-01 12:00:42.000000');
"""
"""As the version before stories, errands and deliveries made it, with one call that is not over."""


@pytest.fixture
def earlier(tmp_path: Path, url: str) -> str:
    with closing(sqlite3.connect(tmp_path / "calls.db")) as db:
        db.executescript(EARLIER)
    return url


async def test_a_file_of_an_earlier_version_keeps_what_it_knows(earlier: str):
    async with one_store(earlier) as store:
        row = await store.call("CA1")
        assert not await store.claim_token("first", 2_000_000_000, 0)
    assert row is not None
    assert (row["caller"], row["seconds"], row["details"], row["story"]) == (ANN, 42.5, {"keys": 3}, None)
    assert [(turn["text"], turn["state"]) for turn in row["turns"]] == [("Hello.", None)]
    assert [each["recording_sid"] for each in row["recordings"]] == ["RE1"]


async def test_a_file_of_an_earlier_version_takes_what_came_since(earlier: str):
    async with one_store(earlier) as store:
        await store.keep_record(a_record("CA1", "MZ1"))  # kept before
        await store.keep_record(a_record("CA1", "MZ2"))
        await store.keep_story("CA1", ANN, US, {"said": []}, over=False, now=5.0)
        assert await store.claim_errand("CA1/sms", "CA1", "sms", 6.0) is None
        await store.promise_delivery("CA1", 7.0)
        await store.status("CA1", "completed", 3)
        await store.opt_out(ANN, 8.0)
        row = await store.call("CA1")
        assert (row or {})["streams"] == 2
        assert [turn["state"] for turn in (row or {})["turns"]] == [None, "", "wish", ""]
        assert await store.take_unfinished(ANN, US, 0.0) == {"said": []}
        assert [each.call_sid for each in await store.take_deliveries(9.0, 60.0, 9)] == ["CA1"]
        assert await store.forget_number(ANN) == 1
        assert await store.has_opted_out(ANN)
    async with one_store(earlier) as store:  # a second time there is nothing to add
        assert await store.call("CA1") is None


async def test_several_processes_may_bring_an_earlier_file_up_to_date_at_once(earlier: str):
    rows: list[object] = []

    async def use() -> None:
        async with open_store(earlier) as store:
            rows.append(await store.call("CA1"))

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(use)
    assert len(rows) == 4
    assert rows == [rows[0]] * 4
    assert rows[0] is not None


# ---------------------------------------------------------------- several stores, one file


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
        with before_statements(wait), trio.fail_after(PATIENCE):
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

        with before_statements(wait), trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(here.status, "CA1", "in-progress", 2)
                nursery.start_soon(end)
        row = await here.call("CA1")
    assert row is not None
    assert row["status"] == "completed"


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
    monkeypatch.setattr(store_sql, "LOCKED_SECONDS", 0.01)
    async with open_store(url) as store:
        monkeypatch.undo()
        records = Records(store, metrics)
        repair = harm(tmp_path)
        with structlog.testing.capture_logs() as lines, trio.fail_after(PATIENCE):
            await WRITES[what](records)
        repair()
    assert failures(metrics, what) == 1
    ((event, level, said),) = [(line["event"], line["log_level"], line["what"]) for line in lines]
    assert (event, level, said) == ("store_failed", "error", what)
    assert lines[0]["error"]


async def test_what_a_failing_store_was_to_keep_is_not_in_the_log(url: str, tmp_path: Path, metrics: Metrics):
    async with open_store(url) as store:
        with closing(sqlite3.connect(tmp_path / "calls.db")) as other:
            other.execute("CREATE TRIGGER full BEFORE INSERT ON stories BEGIN SELECT RAISE(FAIL, 'disk is full'); END")
        with structlog.testing.capture_logs() as lines:
            await Records(store, metrics).keep_story("CA1", ANN, US, {"a": "My name is Ann."}, over=False)
    (line,) = lines
    assert "disk is full" in line["error"]
    assert "Ann" not in line["error"]
    assert ANN not in line["error"]


async def test_a_store_whose_folder_is_gone_raises_nothing(url: str, tmp_path: Path, metrics: Metrics):
    async with open_store(url) as store:
        shutil.rmtree(tmp_path)
        for write in WRITES.values():
            await write(Records(store, metrics))


async def test_a_store_that_was_locked_is_used_again_when_it_is_free(
    url: str, tmp_path: Path, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(store_sql, "LOCKED_SECONDS", 0.01)
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
        with trio.fail_after(PATIENCE):
            with before_statements(lambda statement: go_on.wait(10) and None):
                monkeypatch.setattr(store_sql, "SECONDS", 0.05)
                await records.status("CA1", "completed", 3)
                monkeypatch.undo()
                go_on.set()
            assert failures(metrics, "status") == 1
            await records.status("CA2", "completed", 3)  # waits until the thread is free again
        assert await store.call("CA2") is not None
    assert failures(metrics, "status") == 1


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (sqlite3.OperationalError("database or disk is full"), StoreAway),
        (sqlite3.OperationalError("disk I/O error"), StoreAway),
        (OSError(errno.ENOSPC, "No space left on device"), StoreAway),
        (sqlite3.OperationalError("unable to open database file"), StoreDown),
    ],
)
def test_a_start_on_a_full_disk_is_worth_another_try(
    url: str, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type[StoreDown]
):
    def fails(_: object) -> None:
        raise error

    monkeypatch.setattr(store_sql, "_use_wal", fails)
    with pytest.raises(StoreDown, match="cannot be opened") as raised:
        store_sql.open_engine(url)
    assert raised.type is kind


def test_a_file_that_can_only_be_read_refuses_the_start(url: str):
    def read_only(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA query_only=ON")  # as a file of another user's is

    store_sql.open_engine(url).dispose()
    sa.event.listen(sa.Engine, "connect", read_only)
    try:
        with pytest.raises(StoreDown, match=r"cannot be opened: .*readonly"):
            store_sql.open_engine(url)
    finally:
        sa.event.remove(sa.Engine, "connect", read_only)


def test_a_statement_has_failed_before_the_end_of_a_call_stops_waiting_for_it():
    """Else the wait is cut off from outside, and a locked store is neither counted nor logged."""
    assert store_sql.SECONDS < calls_of_actors.WRAP_UP


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


async def test_what_is_beyond_the_bounds_of_a_column_is_told_to_be_so_and_not_to_be_tried_again(url: str):
    async with open_store(url) as store:
        with pytest.raises(Unkeepable):
            await store.status("CA1", "ringing", 10**20)
        with pytest.raises(Unkeepable):
            await store.keep_recording("RE1", "CA1", "https://api.example.com/RE1", 10**20, "completed")
        await store.status("CA1", "ringing", 1)


# ---------------------------------------------------------------- forgetting

HUSH = "Anna has a rash. " * 50


async def drop(store: Store) -> None:
    await Records(store, Metrics(lambda: 0), keep_transcripts=False).status("CA1", "completed", 3)


async def forget(store: Store) -> None:
    assert await store.forget_number(ANN) == 1


async def grow_old(store: Store) -> None:
    assert await store.forget_before(datetime.datetime(2999, 1, 1, tzinfo=datetime.UTC)) == 1


@pytest.mark.parametrize("away", [drop, forget, grow_old])
async def test_words_that_are_not_to_be_kept_are_in_no_file_while_the_server_runs(
    url: str, tmp_path: Path, away: Callable[[Store], Awaitable[None]]
):
    def words() -> int:
        return sum((tmp_path / name).read_bytes().count(b"Anna") for name in os.listdir(tmp_path))

    async with one_store(url) as store, one_store(url) as other:
        await store.answered("CA1", ANN, US)
        await store.keep_story("CA1", ANN, US, {"said": [{"who": "caller", "words": HUSH}]}, over=False, now=1.0)
        assert words()
        await away(other)
        assert not words()


# ---------------------------------------------------------------- opening


@pytest.mark.parametrize("bad", ["", "nonsense", "calls.db", "nosuch:///calls.db", "mysql://host/calls", "sqlite:///."])
async def test_a_wrong_url_is_refused_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: str):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreDown) as down:
        async with open_store(bad):
            pass
    assert str(down.value).startswith(f"store.url = {bad!r} cannot be opened: ")
    assert os.listdir(tmp_path) == []


async def test_what_callers_said_can_be_read_by_the_owner_of_the_file_only(tmp_path: Path):
    before = os.umask(0o022)
    try:
        async with one_store(f"sqlite:///{tmp_path}/var/calls.db") as store:
            await store.answered("CA1", ANN, US)
            modes = {name: os.stat(tmp_path / "var" / name).st_mode & 0o777 for name in os.listdir(tmp_path / "var")}
    finally:
        os.umask(before)
    assert os.stat(tmp_path / "var").st_mode & 0o777 == 0o700
    assert modes == {"calls.db": 0o600, "calls.db-wal": 0o600, "calls.db-shm": 0o600}


@pytest.mark.parametrize("path", ["a file/calls.db", "a folder", "a file"])
async def test_a_place_that_cannot_be_a_database_is_refused_with_a_sentence(tmp_path: Path, path: str):
    (tmp_path / "a file").write_text("not a database, and long enough to be read as one " * 50)
    (tmp_path / "a folder").mkdir()
    bad = f"sqlite:///{tmp_path}/{path}"
    with pytest.raises(StoreDown, match=r"^store.url = .* cannot be opened: "):
        async with open_store(bad):
            pass
    assert (tmp_path / "a file").read_text().startswith("not a database")
