"""What the tests of the store share: a record with something in every field, and all keepers of the store.

A test that asks for `url` is run once on SQLite in a file, once on a real Redis and once on the store in memory, which must keep
the same promises (`pytest_plugins` names this module); with `lasting_url` only on the two that outlive their process. Redis is
skipped where the program is missing.

PYTEST_DONT_REWRITE (this module is imported before it is named as a plugin)
"""

import contextlib
import datetime
import functools
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from actors.mailbox import MailboxStats
from actors.messages import Disposition
from actors.notebook import CallRecord, Interruption, Trouble, Turn
from tests.kit.patience import PATIENCE
from transport.loopback.memory_store import MemoryStore
from transport.open_store import open_store
from transport.store import Store

BEGAN = datetime.datetime(2026, 3, 1, 12, 0, 0)  # UTC: no keeper keeps a time zone
ENDED = datetime.datetime(2026, 3, 1, 12, 0, 42, 500_000)
LATENCY = {"model": 310, "first_audio": 120, "framing": 15, "turn_detection": 500, "total": 945}
ANN, BOB, US, THEM = "+15550002222", "+15550004444", "+15550003333", "+15550005555"


class RedisServer:
    """A Redis of our own: on a free port, nothing of it on disk."""

    def __init__(self, folder: Path, *options: str, port: int = 0) -> None:
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.port = port or free_port()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Returns when it answers."""
        place = ("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder))
        nothing_kept = ("--save", "", "--appendonly", "no")
        words = ("redis-server", *place, *nothing_kept, *self._options)
        self._process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(PATIENCE * 50):
            with contextlib.suppress(OSError):
                self.ask("PING")
                return
            assert self._process.poll() is None, "redis-server has ended"
            time.sleep(0.02)
        raise AssertionError("redis-server does not answer")

    def ask(self, *words: str) -> bytes:
        """The first part of its answer."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as sock:
            sock.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w.encode()) for w in words))
            return sock.recv(1_000_000)

    def freeze(self) -> None:
        """It keeps its port and its connections, and does nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """It is gone, with all it knew."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def need_redis() -> None:
    if shutil.which("redis-server") is None:
        pytest.skip("the program `redis-server` is not installed")


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """For all tests that do it no harm."""
    need_redis()
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture
def redis(shared_redis: RedisServer) -> RedisServer:
    """The shared one, empty."""
    assert shared_redis.ask("FLUSHDB") == b"+OK\r\n"
    return shared_redis


@pytest.fixture
def frail_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """One for this test alone, to be harmed."""
    need_redis()
    server = RedisServer(tmp_path)
    try:
        server.start()
        yield server
    finally:
        server.kill()


def _empty(kind: str, request: pytest.FixtureRequest, folder: Path) -> str:
    if kind == "redis":
        server: RedisServer = request.getfixturevalue("redis")
        return server.url
    return f"{kind}:///{folder}/calls.db"


@pytest.fixture(params=["sqlite", "redis", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store, of any kind."""
    return _empty(request.param, request, tmp_path)


@pytest.fixture(params=["sqlite", "redis"])
def lasting_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store that outlives its process."""
    return _empty(request.param, request, tmp_path)


@contextlib.asynccontextmanager
async def one_store(url: str) -> AsyncIterator[Store]:
    """What hangs in it fails."""
    with trio.fail_after(PATIENCE):
        if url.startswith("memory:"):
            yield _in_memory(url)
            return
        async with open_store(url) as store:
            yield store


@functools.cache
def _in_memory(url: str) -> Store:
    return MemoryStore()


@contextlib.asynccontextmanager
async def two_stores(url: str) -> AsyncIterator[tuple[Store, Store]]:
    """As two workers open it. What hangs fails."""
    async with one_store(url) as here, one_store(url) as there:
        yield here, there


async def in_another_process(url: str, lines: str) -> None:
    """Runs `lines` with `store` in a process of its own; they fail like any test."""
    body = "\n".join(f"        {line}" for line in lines.strip().splitlines())
    program = (
        "import trio\nfrom actors.messages import Disposition\nfrom transport.open_store import open_store\n"
        f"async def main():\n    async with open_store({url!r}) as store:\n{body}\ntrio.run(main)\n"
    )
    with trio.fail_after(PATIENCE):
        await trio.run_process([sys.executable, "-c", program])


def a_record(call_sid: str = "CA1", stream_sid: str = "MZ1", **fields: Any) -> CallRecord:
    """A record with something in every field."""
    values: dict[str, Any] = {
        "ended": ENDED.replace(tzinfo=datetime.UTC),
        "seconds": 42.5,
        "disposition": Disposition.HANG_UP,
        "reason": "the agent ended the call",
        "turns": [
            Turn("agent", "item_0", 0.05, "Hello, this is the desk.", "Hello, this", 600, 1000, True, True),
            Turn("caller", "item_1", 2.5, "Grüß Gott 👋 'x' -- ;", "Grüß Gott 👋 'x' -- ;", over=True, state="wish"),
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
