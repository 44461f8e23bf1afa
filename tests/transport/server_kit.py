"""A server process as operators run it, for the tests of real processes: its command, its environment, its log, its end.

Nothing here asserts how long something took, and what could hang is ended after `PATIENCE`.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import trio

from tests.kit.patience import PATIENCE

ROOT = Path(__file__).parents[2]
ACCOUNT, AUTH_TOKEN = "AC" + "0" * 32, "a-token-for-tests"
PUBLIC_URL = "https://phone.example.com"
COMMAND = [sys.executable, "-m", "hypercorn", "-c", "conf/hypercorn.toml"]
APP = "transport.app:app"


def environment(folder: Path, **more: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TRIODE_")}
    return inherited | {
        "TRIODE_SERVER_PUBLIC_URL": PUBLIC_URL,
        "TRIODE_MODEL_URL": "ws://127.0.0.1:9/v1/realtime",
        "TRIODE_STORE_URL": f"sqlite:///{folder / 'calls.db'}",
        "TRIODE_STORE_UNWRITTEN": str(folder / "unwritten"),
        "TWILIO_ACCOUNT_SID": ACCOUNT,
        "TWILIO_AUTH_TOKEN": AUTH_TOKEN,
        "OPENAI_API_KEY": "sk-loopback",
        **more,
    }


@attrs.define
class Server:
    """A server process that listens."""

    process: trio.Process
    port: int = 0
    lines: list[str] = attrs.field(factory=list)
    heard: trio.Event = attrs.field(factory=trio.Event)
    """Set, and replaced, with every piece of the log."""
    over: trio.Event = attrs.field(factory=trio.Event)
    """The log is read to its end."""

    async def says(self, *words: str) -> str:
        """Returns the line of its log that holds all of `words`, when there is one."""
        with trio.fail_after(PATIENCE):
            while not (found := self.with_words(*words)):
                await self.heard.wait()
        return found[0]

    def wrote(self, *words: str) -> int:
        """How many lines of its log hold all of `words`."""
        return len(self.with_words(*words))

    def with_words(self, *words: str) -> list[str]:
        return [line for line in self.lines if all(word in line for word in words)]

    async def ask(self, request: bytes) -> bytes:
        """All that comes back for `request` on a connection of its own."""
        answer = b""
        with trio.fail_after(PATIENCE):
            async with await trio.open_tcp_stream("127.0.0.1", self.port) as stream:
                await stream.send_all(request)
                with contextlib.suppress(trio.BrokenResourceError):
                    while data := await stream.receive_some(4096):
                        answer += data
        return answer

    async def is_alive(self) -> bool:
        answer = await self.ask(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return answer.startswith(b"HTTP/1.1 200")

    async def killed(self) -> None:
        """As when the power fails."""
        self.process.send_signal(signal.SIGKILL)
        assert await self.process.wait() == -signal.SIGKILL

    async def stopped(self) -> None:
        """As an operator ends it."""
        self.process.send_signal(signal.SIGTERM)
        assert await self.ended() == 0

    async def ended(self) -> int:
        """The exit status, when it is over."""
        with trio.fail_after(PATIENCE):
            status = await self.process.wait()
            await self.over.wait()
        return status

    async def read_log(self) -> None:
        assert self.process.stderr is not None
        rest = b""
        async for data in self.process.stderr:
            *whole, rest = (rest + data).split(b"\n")
            self.lines.extend(line.decode() for line in whole)
            self.heard.set()
            self.heard = trio.Event()
        self.over.set()


@contextlib.asynccontextmanager
async def a_server(folder: Path, *arguments: str, port: int = 0, **settings: str) -> AsyncIterator[Server]:
    """The command of the README in a process of its own, at `port` or a free one."""
    process = await trio.lowlevel.open_process(
        [*COMMAND, "-b", f"127.0.0.1:{port}", *arguments, APP],
        cwd=ROOT,
        env=environment(folder, **settings),
        stderr=subprocess.PIPE,
    )
    server = Server(process)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.read_log)
        try:
            running = json.loads(await server.says("Running on"))["event"]
            server.port = int(running.split(" ")[2].rpartition(":")[2])
            yield server
        finally:
            if process.returncode is None:
                process.kill()
            with trio.move_on_after(10, shield=True):
                await process.wait()
        nursery.cancel_scope.cancel("the server is gone")
