"""Many simulated calls in several processes, and what is to be said about them: `triode sim`."""

import collections
import concurrent.futures
import functools
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator

from transport.loopback.sim_plan import KINDS, plan_of
from transport.loopback.simulation import Verdict, shrunk, simulate_seed

SHOWN_AT_MOST = 3
"""Failing seeds that are shrunk and shown with their timeline."""


def run(first: int, seeds: int, faults: str, jobs: int) -> int:
    """Simulates the calls of `seeds` seeds from `first` on and prints the report; 1 if one of them went wrong, 2 for a kind of
    fault that does not exist."""
    kinds = tuple(faults.split(",")) if faults else tuple(KINDS)
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        asked = unknown == ["list"]
        print("\n".join(f"{kind:<18} {what}" for kind, what in KINDS.items()), file=sys.stdout if asked else sys.stderr)
        return 0 if asked else 2
    began = time.monotonic()
    every = range(first, first + seeds)
    judge = functools.partial(simulate_seed, kinds=kinds)
    with processes(jobs) as pool:
        verdicts = list(told_at_once(pool.map(judge, every)))
    print(report(verdicts, time.monotonic() - began))
    wrong = [verdict for verdict in verdicts if verdict.wrong]
    for verdict in wrong[:SHOWN_AT_MOST]:
        smallest = shrunk(plan_of(verdict.plan.seed, kinds))
        print(f"\n{verdict.plan}\n  wrong: {'; '.join(verdict.wrong)}\nshrunk: {smallest.plan}")
        print(f"  wrong: {'; '.join(smallest.wrong)}\n{smallest.timeline}")
    return 1 if wrong else 0


def processes(jobs: int) -> concurrent.futures.ProcessPoolExecutor:
    """Processes that end with this one, however it ends: left alone they would wait for the next seed for ever."""
    spawn = multiprocessing.get_context("spawn")
    return concurrent.futures.ProcessPoolExecutor(max(1, jobs), spawn, initializer=_end_with_the_first)


def _end_with_the_first() -> None:
    first = multiprocessing.parent_process()
    assert first is not None

    def wait() -> None:
        first.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def told_at_once(verdicts: Iterable[Verdict]) -> Iterator[Verdict]:
    """The same verdicts; of each that went wrong a line is printed as it comes: a run that is stopped has said what it found."""
    for verdict in verdicts:
        if verdict.wrong:
            print(_line_of(verdict), flush=True)
        yield verdict


def report(verdicts: list[Verdict], seconds: float) -> str:
    """Speed, what was covered, and which seeds went wrong."""
    virtual = sum(verdict.virtual_seconds for verdict in verdicts)
    cpu = sum(verdict.cpu_seconds for verdict in verdicts)
    beside = sum(verdict.plan.bystanders for verdict in verdicts)
    drawn = {fault.kind for verdict in verdicts for fault in verdict.plan.faults}
    lines = [
        f"{len(verdicts)} calls and {beside} beside them in {seconds:.0f} s: "
        f"{(len(verdicts) + beside) / max(seconds, 1e-9):.1f} a second, "
        f"{virtual / 3600:.1f} h of calls, {virtual / 60 / max(cpu, 1e-9):.2f} h a minute of CPU",
        f"{len(drawn)} of {len(KINDS)} kinds of fault, with the states of the flow that were passed through with them:",
    ]
    covered: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for verdict in verdicts:
        for kind in {fault.kind for fault in verdict.plan.faults} or {"none"}:
            covered[kind]["calls"] += 1
            covered[kind].update(set(verdict.states))
    for kind, states in sorted(covered.items()):
        calls = states.pop("calls")
        lines.append(
            f"  {kind:<18} {calls:>5} calls: {', '.join(f'{n} {state}' for state, n in states.most_common(8))}"
        )
    wrong = [verdict for verdict in verdicts if verdict.wrong]
    lines += map(_line_of, wrong)
    return "\n".join([*lines, f"{len(verdicts) - len(wrong)} went as they should, {len(wrong)} did not"])


def _line_of(verdict: Verdict) -> str:
    return f"wrong: seed {verdict.plan.seed}: {'; '.join(verdict.wrong)}"
