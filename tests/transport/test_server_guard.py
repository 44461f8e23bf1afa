"""The server as operators run it: what refuses a start, what harms a connection only, and how SIGTERM and SIGINT end it.

Real processes and real sockets, so nothing here is on the mock clock but the write that never ends.
"""

import contextlib
import functools
import json
import logging
import signal
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from urllib.parse import urlencode

import pytest
import structlog
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, RawData
from trio.testing import MockClock

from tests.kit.patience import PATIENCE
from tests.transport.server_kit import (
    ACCOUNT,
    APP,
    AUTH_TOKEN,
    COMMAND,
    PUBLIC_URL,
    ROOT,
    Server,
    a_server,
    environment,
)
from tests.transport.wire_kit import signature
from transport import server_guard
from transport.loopback.caller import AwaitAgent, AwaitQuiet, HangUp
from transport.loopback.carrier import CarriedCall, LoopbackCarrier
from transport.loopback.model import LoopbackModel
from transport.loopback.network import RealNetwork
from transport.loopback.twiml_reader import Gather


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"TRIODE_CALL_MAX_SILENCE": "soon"}, ("TRIODE_CALL_MAX_SILENCE", "'soon'", "from 0.5 to 60")),
        ({"TRIODE_MODEL_URL": "http://model"}, ("TRIODE_MODEL_URL", "'http://model'", "wss://")),
        ({"TRIODE_SERVER_COLOUR": "blue"}, ("TRIODE_SERVER_COLOUR",)),
        ({"OPENAI_API_KEY": ""}, ("OPENAI_API_KEY",)),
        ({"TRIODE_FLOW_PATH": "nowhere.toml"}, ("nowhere.toml",)),
        ({"TRIODE_STORE_URL": "sqlite:////proc/nowhere/calls.db"}, ("store.url", "/proc/nowhere/calls.db", "written")),
    ],
)
async def test_a_wrong_setting_refuses_the_start_with_one_sentence(
    tmp_path: Path, settings: Mapping[str, str], says: tuple[str, ...]
):
    with trio.fail_after(PATIENCE):
        done = await trio.run_process(
            [*COMMAND, "-b", "127.0.0.1:0", APP],
            cwd=ROOT,
            env=environment(tmp_path, **settings),
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
    assert done.returncode == 78
    (sentence,) = done.stderr.decode().splitlines()
    for part in says:
        assert part in sentence


@pytest.mark.parametrize("kind", ["redis", "sqlite"])
async def test_a_store_that_is_away_is_no_wrong_setting_and_the_start_is_worth_another_try(tmp_path: Path, kind: str):
    file = tmp_path / "held.db"
    url = f"sqlite:///{file}" if kind == "sqlite" else "redis://127.0.0.1:1"
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with trio.fail_after(PATIENCE):
            done = await trio.run_process(
                [*COMMAND, "-b", "127.0.0.1:0", APP],
                cwd=ROOT,
                env=environment(tmp_path, TRIODE_STORE_URL=url),
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
    assert done.returncode == 69
    (sentence,) = done.stderr.decode().splitlines()
    assert url in sentence


async def test_a_connection_that_a_proxy_keeps_does_not_keep_an_idle_server(tmp_path: Path):
    async with a_server(tmp_path) as server, await trio.open_tcp_stream("127.0.0.1", server.port) as proxy:
        await proxy.send_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await proxy.receive_some()).startswith(b"HTTP/1.1 200")
        await server.stopped()
    assert server.wrote('"drain_began"')


UPGRADE = (
    b"GET %s HTTP/1.1\r\nHost: phone.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


async def test_poisoned_and_malformed_requests_leave_the_server_up_and_no_traceback(tmp_path: Path):
    async with a_server(tmp_path) as server:
        for request in (
            UPGRADE % b"/twilio/media" + b"x",
            UPGRADE % b"/healthz" + b"x",
            UPGRADE % b"/elsewhere" + b"\x81\x05hello",
            b"\x00\xff\xfe garbage\r\n\r\n",
            b"GET /twilio/media HTTP/1.1\r\n\r\n",
        ):
            answer = await server.ask(request)
            assert answer.startswith(b"HTTP/1.1 400"), request
        assert await server.is_alive()
        server.process.send_signal(signal.SIGTERM)
        assert await server.ended() == 0
    log = [json.loads(line) for line in server.lines]
    assert all("exception" not in line for line in log)
    assert sum(line["event"] == "connection_failed" for line in log) >= 1


async def test_a_worker_whose_master_was_killed_drains_and_ends_instead_of_living_on_unknown(tmp_path: Path) -> None:
    async with a_server(tmp_path, "-w", "2") as server:
        server.process.kill()
        assert await server.ended() == -signal.SIGKILL  # and whoever else wrote to its log has ended too
    assert sum("master_gone" in line for line in server.lines) == 2


@pytest.mark.parametrize(("workers", "number"), [("0", signal.SIGINT), ("1", signal.SIGINT), ("2", signal.SIGTERM)])
async def test_an_idle_server_ends_at_once_when_it_is_told_to(tmp_path: Path, number: signal.Signals, workers: str):
    async with a_server(tmp_path, "-w", workers) as server:
        server.process.send_signal(number)
        assert await server.ended() == 0
    assert any('"drain_began"' in line for line in server.lines)


@pytest.mark.skipif(signal.getsignal(signal.SIGHUP) is not signal.SIG_DFL, reason="these tests run under `nohup`")
async def test_a_server_whose_terminal_is_closed_drains(tmp_path: Path):
    async with a_server(tmp_path) as server:
        server.process.send_signal(signal.SIGHUP)
        assert await server.ended() == 0
    assert any('"drain_over"' in line for line in server.lines)


@contextlib.asynccontextmanager
async def a_call(folder: Path, *arguments: str, **settings: str) -> AsyncIterator[tuple[Server, list[CarriedCall]]]:
    """A server with a call on it: the agent has begun to speak. The list holds the call when it is over."""
    calls: list[CarriedCall] = []
    async with trio.open_nursery() as nursery:
        port = await nursery.start(LoopbackModel().serve)
        url = f"ws://127.0.0.1:{port}/v1/realtime"
        async with a_server(folder, *arguments, TRIODE_MODEL_URL=url, **settings) as server:
            carrier = LoopbackCarrier(
                RealNetwork(f"http://127.0.0.1:{server.port}"),
                public_url=PUBLIC_URL,
                account_sid=ACCOUNT,
                auth_token=AUTH_TOKEN,
                say_speed=100,
            )

            async def call() -> None:
                calls.append(await carrier.place_call((AwaitAgent(0.2), AwaitQuiet(0.6), HangUp())))

            nursery.start_soon(call)
            await server.says('"call_began"')
            yield server, calls
        nursery.cancel_scope.cancel("the test is over")


async def test_a_call_goes_on_after_sigterm_and_is_moved_when_the_drain_is_over(tmp_path: Path):
    async with a_call(tmp_path, TRIODE_SERVER_DRAIN_SECONDS="1") as (server, calls):
        server.process.send_signal(signal.SIGTERM)
        server.process.send_signal(signal.SIGTERM)  # a second one changes nothing
        assert await server.ended() == 0
        with trio.fail_after(PATIENCE):
            while not calls:  # noqa: ASYNC110 - the caller hears the menu out, and hangs up
                await trio.sleep(0.02)
    (stream,) = calls[0].streams
    assert stream.close_code == 1000
    assert any(isinstance(verb, Gather) for verb in calls[0].verbs)  # the draining server told how to go on
    assert any('"stream_left"' in line for line in server.lines)
    ended = next(json.loads(line) for line in server.lines if '"call_ended"' in line)
    assert ended["disposition"] == "resume"
    assert ended["seconds"] >= 1
    (over,) = [json.loads(line) for line in server.lines if '"drain_over"' in line]
    assert (over["calls"], over["moved"], over["cut"]) == (1, 1, 0)


async def test_calls_that_are_cut_off_by_a_shutdown_are_told_by_the_exit_status(tmp_path: Path):
    patience = {"TRIODE_SERVER_DRAIN_SECONDS": "200"}
    async with a_call(tmp_path, "--graceful-timeout", "1", **patience) as (server, _):
        server.process.send_signal(signal.SIGTERM)
        assert await server.ended() == server_guard.CUT_OFF
    (over,) = [json.loads(line) for line in server.lines if '"drain_over"' in line]
    assert (over["calls"], over["moved"], over["cut"]) == (1, 0, 1)


async def test_what_the_store_has_not_taken_at_the_end_is_told_by_the_exit_status_and_written_by_the_next(
    tmp_path: Path,
):
    folder = tmp_path / "unwritten"
    form = {"CallSid": "CA1", "CallStatus": "completed", "SequenceNumber": "3"}
    body = urlencode(form)
    signed = signature(f"{PUBLIC_URL}/twilio/status", form, AUTH_TOKEN)
    head = f"POST /twilio/status HTTP/1.1\r\nHost: x\r\nX-Twilio-Signature: {signed}\r\nContent-Length: {len(body)}\r\n"
    kind = "Content-Type: application/x-www-form-urlencoded\r\nConnection: close\r\n\r\n"
    with contextlib.closing(sqlite3.connect(tmp_path / "calls.db", isolation_level=None)) as other:
        async with a_server(tmp_path) as server:
            other.execute("BEGIN EXCLUSIVE")
            assert b" 204 " in await server.ask(f"{head}{kind}{body}".encode())
            server.process.send_signal(signal.SIGTERM)
            assert await server.ended() == server_guard.UNWRITTEN
        other.execute("ROLLBACK")
        async with a_server(tmp_path) as server:
            with trio.fail_after(PATIENCE):
                while list(await trio.Path(folder).iterdir()):  # noqa: ASYNC110 - a folder has no event
                    await trio.sleep(0.02)
            server.process.send_signal(signal.SIGTERM)
            assert await server.ended() == 0
        assert other.execute("SELECT call_sid, status FROM calls").fetchall() == [("CA1", "completed")]


@pytest.mark.parametrize(("graceful", "told"), [(299.0, True), (300.0, False)])
async def test_a_drain_for_which_hypercorn_leaves_no_time_is_told_at_the_start(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock, graceful: float, told: bool
):
    async def worker_serve(app: object, config: Config, shutdown_trigger: object) -> None:
        await trio.lowlevel.checkpoint()

    config = Config()
    config.graceful_timeout = graceful
    monkeypatch.setattr(server_guard, "_worker_serve", worker_serve)
    with structlog.testing.capture_logs() as lines:
        await server_guard._serve_until_told(server_guard.Shutdown(needs=300.0), None, config)
    assert [line["event"] for line in lines] == ["graceful_timeout_too_short"] * told


async def test_a_second_interrupt_from_the_keyboard_does_not_wait_for_the_drain(tmp_path: Path):
    async with a_call(tmp_path, TRIODE_SERVER_DRAIN_SECONDS="200") as (server, _):
        server.process.send_signal(signal.SIGINT)
        await server.says('"drain_began"')
        server.process.send_signal(signal.SIGINT)
        assert await server.ended() == server_guard.CUT_OFF  # and not 1: that would say that it never had its address
    lines = [json.loads(line) for line in server.lines]  # a traceback would be none
    assert any(line["event"] == "stopped_at_once" for line in lines)
    ended = next(line for line in lines if line["event"] == "call_ended")
    assert ended["call_sid"].startswith("CA")


class _NeverReading(trio.abc.Stream):
    """A peer whose buffers are full for ever."""

    def __init__(self) -> None:
        self.closed = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.sleep_forever()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.sleep_forever()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.sleep_forever()
        raise AssertionError

    async def aclose(self) -> None:
        self.closed = True
        await trio.lowlevel.checkpoint()


class _Protocol:
    """What hypercorn would do with the end of a connection."""

    def __init__(self) -> None:
        self.events: list[object] = []

    async def handle(self, event: object) -> None:
        self.events.append(event)


@pytest.mark.parametrize("patience", [1, 60])
async def test_a_peer_that_never_reads_is_dropped_and_pins_nobody(autojump_clock: MockClock, patience: float):
    stream = _NeverReading()
    server = server_guard.GuardedServer(None, Config(), None, None, stream)
    server.protocol = protocol = _Protocol()
    began = trio.current_time()
    with trio.move_on_after(patience) as shutdown:  # does not cut a frame off halfway: that would garble the stream
        await server.protocol_send(RawData(b"x"))
    assert trio.current_time() - began == pytest.approx(server_guard.SEND_WITHIN)
    assert stream.closed
    if not shutdown.cancelled_caught:
        assert [type(event) for event in protocol.events] == [Closed]


async def test_a_line_of_hypercorn_is_written_once_and_in_our_format(caplog: pytest.LogCaptureFixture):
    logger = server_guard.GuardedLogger(Config())
    with caplog.at_level(logging.INFO):
        await logger.info("Running on %s", "a port")
    assert [record.message for record in caplog.records] == ["Running on a port"]
    assert logger.error_logger is not None
    assert logger.error_logger.handlers == []


async def test_a_bug_keeps_its_traceback(caplog: pytest.LogCaptureFixture):
    logger = server_guard.GuardedLogger(Config())
    try:
        raise ExceptionGroup("of a handler", [ValueError("a bug")])
    except ExceptionGroup:
        await logger.exception("Error in ASGI Framework")
    (record,) = caplog.records
    assert record.exc_info is not None


@pytest.mark.parametrize(("drained_after", "left"), [(0.0, 300.0), (263.0, 37.0), (300.0, 0.0)])
async def test_drain_and_what_is_open_after_it_have_one_time_together(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock, drained_after: float, left: float
):
    shutdown, config = server_guard.Shutdown(), Config()
    config.graceful_timeout = 300.0

    async def told() -> None:
        await trio.sleep(5)

    async def worker_serve(app: object, config: Config, shutdown_trigger: Callable[[], Awaitable[None]]) -> None:
        await shutdown_trigger()

    monkeypatch.setattr(server_guard, "_worker_serve", worker_serve)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            functools.partial(server_guard._serve_until_told, shutdown, None, config, shutdown_trigger=told)
        )
        await trio.sleep(5 + drained_after)
        shutdown.over(0)
    assert config.graceful_timeout == pytest.approx(left)
