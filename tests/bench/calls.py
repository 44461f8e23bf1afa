"""What a call costs: N calls at once through real sockets, the server on one core and both ends on another.

    python -m tests.bench.calls --calls 10,30 --servers triode,naive

Below each load stand the ratios of the first server to the others. `--capacity` goes on from the last load until a server
does not keep up any more; `--tls` puts the model behind TLS; `--workers 2` gives the servers two processes, on whatever cores
there are; `--simulator 20` plays so many simulated calls first, and says how fast.

Figures of one run on one machine are for comparison with each other (triode with the naive relay, yesterday's tree with
today's), and mean little elsewhere. A row is worth reading only while `ends late` stays well under the latencies beside it.
"""

import argparse
import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import trio
import trustme

from tests.bench.ends import ACCOUNT, AUTH_TOKEN, Caller, Figures, Model, Reply
from transport.loopback.sim_plan import KINDS
from transport.loopback.simulation import simulate_seed

ROOT = Path(__file__).parents[2]
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
SETTLE = 8.0
"""Seconds before anything is measured: connections, greetings, the first turns."""
KEEPS_UP_MS = 20.0
"""The 99th percentile of what is added on the way up, and down to the first delta, up to which a server keeps up."""
STEP = 1.25
"""Times as many calls in each step of the search for the capacity."""


@attrs.frozen
class Server:
    """A server to measure: hypercorn's arguments, and the voice webhook (empty: the stream is opened straight away)."""

    arguments: tuple[str, ...]
    voice_path: str


SERVERS = {
    "triode": Server(("-c", "conf/hypercorn.toml", "transport.app:app"), "/twilio/voice"),
    "naive": Server(("-k", "trio", "-w", "0", "tests.bench.naive_relay:app"), ""),
}


def main() -> None:
    """Runs every server at every load, and prints a row for each."""
    parser = argparse.ArgumentParser(description="Measures what a call costs.")
    parser.add_argument("--calls", default="10", help="numbers of calls at once, as in 10,30")
    parser.add_argument("--seconds", type=float, default=24, help="seconds measured, after settling")
    parser.add_argument("--servers", default="triode,naive", help=f"of {', '.join(SERVERS)}")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON, one a line")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help="a setting for the server")
    parser.add_argument("--tls", action="store_true", help="the model is behind TLS")
    parser.add_argument("--workers", type=int, default=0, help="processes of each server; 0: one, without a master")
    parser.add_argument("--capacity", action="store_true", help="go on until a server does not keep up")
    parser.add_argument("--simulator", type=int, default=0, metavar="SEEDS", help="simulated calls to play first")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        sys.exit("The server and the ends need a core each.")
    if options.simulator:
        print(simulated(options.simulator), flush=True)
    os.sched_setaffinity(0, {cores[1]})
    if not options.json:
        print(HEAD)
    names = options.servers.split(",")

    def measure(name: str, calls: int) -> dict[str, Any]:
        on = set(cores) if options.workers > 1 else {cores[0]}
        row = trio.run(_measure, name, calls, options.seconds, on, options.env, options.tls, options.workers)
        print(json.dumps(row) if options.json else line(row), flush=True)
        return row

    calls = 1
    for calls in (int(n) for n in options.calls.split(",")):
        first, *others = [measure(name, calls) for name in names]
        if not options.json:
            for other in others:
                print(ratios(first, other), flush=True)
    for name in names if options.capacity else ():
        at = calls
        while keeps_up(measure(name, at)):
            at = round(at * STEP)
        print(f"{name} does not keep up with {at} calls", flush=True)


def simulated(seeds: int) -> str:
    """How fast the simulator plays calls: seeds 0, 1, 2…, one after the other, with all kinds of faults."""
    verdicts = [simulate_seed(seed, tuple(KINDS)) for seed in range(seeds)]
    virtual, cpu = (sum(getattr(each, name) for each in verdicts) for name in ("virtual_seconds", "cpu_seconds"))
    return f"simulator: {virtual / 60 / cpu:.2f} hours of calls a minute of CPU ({seeds} calls)"


def keeps_up(row: dict[str, Any]) -> bool:
    """Whether nothing was lost, nobody heard a hole, and nothing was late."""
    late = max(row["up_ms"]["p99"], row["first_ms"]["p99"])
    return not (late > KEEPS_UP_MS or row["lost_up"] or row["lost_down"] or row["underruns"] or row["failed"])


def ratios(one: dict[str, Any], other: dict[str, Any]) -> str:
    """What the one costs, in terms of the other."""
    late = one["up_ms"]["p99"] / other["up_ms"]["p99"]
    return (
        f"{one['server']} / {other['server']} at {one['calls']} calls: CPU {one['cpu_ms'] / other['cpu_ms']:.2f},"
        f" memory {one['kb'] / max(other['kb'], 1):.2f}, up p99 {late:.2f}"
    )


HEAD = (
    f"{'server':8}{'calls':>6} | {'up ms p50/p99/p99.9':>20} | {'first delta p50/p99':>19} | {'barge-in p50/p99':>16} |"
    f" {'truncation ms':>14} | {'CPU ms/call-s':>13} | {'KB/call':>7} | {'lost up/down':>12} | {'holes':>5} |"
    f" {'after clear':>11} | {'ends late p99':>13}"
)


def line(row: dict[str, Any]) -> str:
    """A row for people."""

    def three(name: str, *parts: str) -> str:
        return " / ".join(f"{row[name][part]:.1f}" for part in parts)

    return (
        f"{row['server']:8}{row['calls']:>6} | {three('up_ms', 'p50', 'p99', 'p99.9'):>20} |"
        f" {three('first_ms', 'p50', 'p99'):>19} | {three('barge_ms', 'p50', 'p99'):>16} |"
        f" {three('truncation_ms', 'min', 'max'):>14} | {row['cpu_ms']:>13.1f} | {row['kb']:>7.0f} |"
        f" {row['lost_up']:>5} / {row['lost_down']:>4} | {row['underruns']:>5} | {row['after_clear']:>11} |"
        f" {row['late_ms']['p99']:>13.1f}" + "".join(f"\n    {text}" for text in row["failed"][:3])
    )


def spread(values: Sequence[float], scale: float = 1000.0) -> dict[str, float]:
    """Quantiles of `values`, scaled; NaN where there are none."""
    ordered = sorted(value * scale for value in values) or [float("nan")]
    quantiles = {"min": 0.0, "p50": 0.5, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
    return {name: ordered[min(int(part * len(ordered)), len(ordered) - 1)] for name, part in quantiles.items()}


async def _measure(
    name: str, calls: int, seconds: float, cores: set[int], environ: Sequence[str], tls: bool, workers: int
) -> dict[str, Any]:
    figures, replies = Figures(), {number: dict[int, Reply]() for number in range(calls)}
    callers = {number: Caller(number, figures, replies[number]) for number in range(calls)}
    server = SERVERS[name]
    authority = trustme.CA() if tls else None
    async with trio.open_nursery() as nursery:

        async def session(stream: trio.abc.Stream) -> None:
            with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await Model(figures, callers, replies).run(stream)

        async def model(task_status: "trio.TaskStatus[int]") -> None:
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            task_status.started(listeners[0].socket.getsockname()[1])
            if authority is None:
                await trio.serve_listeners(session, listeners)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            authority.issue_cert("localhost").configure_cert(context)
            await trio.serve_listeners(session, [trio.SSLListener(plain, context) for plain in listeners])

        async def call(number: int) -> None:
            await trio.sleep(number * 0.05)
            try:
                await callers[number].run(url, server.voice_path)
            except* (OSError, ValueError, trio.BrokenResourceError) as errors:
                figures.failed.append(f"call {number}: {errors.exceptions[0]!r}")

        port = await nursery.start(model)
        async with a_server(server, port, cores, environ, workers, authority) as (process, url):
            nursery.start_soon(call, 0)
            await trio.sleep(SETTLE / 2)  # what the first call costs once is not what each call costs
            idle = memory(process.pid)
            for number in range(1, calls):
                nursery.start_soon(call, number)
            await trio.sleep(SETTLE + calls * 0.05)
            figures.on, cpu, began = True, _cpu(process.pid), trio.current_time()
            await trio.sleep(seconds)
            figures.on, used, took = False, _cpu(process.pid) - cpu, trio.current_time() - began
            more = memory(process.pid) - idle
            failed = list(figures.failed)
        nursery.cancel_scope.cancel("measured")
    due = calls * took / 0.02
    return {
        "server": name,
        "calls": calls,
        "up_ms": spread(figures.up),
        "first_ms": spread(figures.first),
        "barge_ms": spread(figures.barge),
        "truncation_ms": spread(figures.truncation, 1),
        "cpu_ms": used * 1000 / (calls * took),
        "kb": more / max(1, calls - 1) / 1024,
        "frames": figures.frames,
        "frames_due": round(due),
        "lost_up": figures.lost_up,
        "lost_down": figures.lost_down,
        "underruns": figures.underruns,
        "after_clear": figures.after_clear,
        "late_ms": spread(figures.late),
        "failed": failed,
    }


@contextlib.asynccontextmanager
async def a_server(
    server: Server,
    model_port: int,
    cores: set[int],
    environ: Sequence[str],
    workers: int = 0,
    authority: trustme.CA | None = None,
) -> AsyncIterator[tuple[trio.Process, str]]:
    """The server in a process of its own (with `workers`: a master and so many), pinned to `cores`: the process, and its URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "TRIODE_SERVER_PUBLIC_URL": url,
            "TRIODE_MODEL_URL": f"{'wss://localhost' if authority else 'ws://127.0.0.1'}:{model_port}/v1/realtime",
            "TRIODE_STORE_URL": f"sqlite:///{folder}/calls.db",
            "TRIODE_STORE_UNWRITTEN": f"{folder}/unwritten",
            "TRIODE_SERVER_LOG_LEVEL": "error",
            "TWILIO_ACCOUNT_SID": ACCOUNT,
            "TWILIO_AUTH_TOKEN": AUTH_TOKEN,
            "OPENAI_API_KEY": "sk-bench",
            **dict(pair.split("=", 1) for pair in environ),
        }
        if authority is not None:
            authority.cert_pem.write_to_path(f"{folder}/authority.pem")
            settings["SSL_CERT_FILE"] = f"{folder}/authority.pem"
        command = [sys.executable, "-m", "hypercorn", *server.arguments[:-1], "-b", f"127.0.0.1:{port}"]
        command += ["-w", str(workers)] if workers else []
        process = await trio.lowlevel.open_process(
            [*command, server.arguments[-1]],
            cwd=ROOT,
            env=os.environ | settings,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.sched_setaffinity(process.pid, cores)
        try:
            with trio.fail_after(20):
                while not await _listens(port):  # noqa: ASYNC110 - another process
                    await trio.sleep(0.1)
            yield process, url
        finally:
            for pid in (*_children(process.pid), process.pid):
                os.kill(pid, signal.SIGKILL)
            with trio.move_on_after(5, shield=True):
                await process.wait()


async def _listens(port: int) -> bool:
    try:
        async with await trio.open_tcp_stream("127.0.0.1", port):
            return True
    except OSError:
        return False


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _cpu(pid: int) -> float:
    """Seconds of processor time that `pid` and its children have used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS + sum(map(_cpu, _children(pid)))


def memory(pid: int) -> int:
    """Resident bytes of `pid` and its children."""
    own = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    return own + sum(map(memory, _children(pid)))


if __name__ == "__main__":
    main()
