"""The simulator: whole calls on the virtual clock, everything decided by a seed, judged by what can be seen from outside.

The real server between both loopback ends (see `world.py`): one call with the faults of its plan (`sim_faults.py`), on a server
that is set in one way or another (`sim_setting.py`), with a model that answers this or that (`sim_replies.py`), others beside
it, and then the questions that any call must answer (`sim_judge.py`): was the caller ever left in silence, greeted twice, not
heard, promised something that was done twice or not at all; is there one end, one record a stream, one delivery; is anything
left. The same seed gives the same log, twice.
"""

import collections
import time
from typing import Any

import attrs
import structlog
import trio

from transport.loopback import sim_faults, sim_judge
from transport.loopback.caller import AwaitAgent, AwaitQuiet, HangUp, Press, Speak, Step, Wait
from transport.loopback.carrier import CarriedCall
from transport.loopback.human import Human
from transport.loopback.memory_store import MemoryStore
from transport.loopback.model import LoopbackModel
from transport.loopback.scenario import CALLER, HUMAN
from transport.loopback.script import Prompted, Reply, Script
from transport.loopback.sim_judge import NO_WORDS, Case, Party, client_of, words_in
from transport.loopback.sim_plan import Act, Plan, bystander_of, plan_of
from transport.loopback.sim_replies import plain_reply_of, reply_of
from transport.loopback.stream import StreamFaults
from transport.loopback.timeline import Timeline
from transport.loopback.virtual_time import run_virtually
from transport.loopback.world import World, a_world

SETTLED = 200.0
"""Virtual seconds after a call in which everything that was promised must have come out."""
FIRST_WITHIN = 20.0
"""Seconds after which others call although the first call has not asked for a model."""

Caller = tuple[str, tuple[Act, ...]]
"""A number, and what is done there."""


@attrs.frozen
class Verdict:
    """What became of one simulated call. `wrong`: the invariants that did not hold."""

    plan: Plan
    wrong: tuple[str, ...]
    log: tuple[str, ...]
    timeline: str
    states: tuple[str, ...]
    """The flow's states that were passed through."""
    virtual_seconds: float
    """Of all its calls."""
    cpu_seconds: float


# ---------------------------------------------------------------- running a plan


def simulate(plan: Plan) -> Verdict:
    """Plays the calls of `plan`. The order in which tasks run is a matter of the seed too."""
    logged = structlog.get_config()
    structlog.configure(processors=[_silence])
    began = time.process_time()
    try:
        verdict = run_virtually(_play, plan, seed=plan.seed)
    except BaseExceptionGroup as bugs:
        wrong = ("the world broke: " + "; ".join(f"{type(bug).__name__}: {bug}" for bug in _leaves(bugs)),)
        verdict = Verdict(plan, wrong, (), "", (), 0.0, 0.0)
    finally:
        structlog.configure(**logged)
    return attrs.evolve(verdict, cpu_seconds=time.process_time() - began)


def shrunk(plan: Plan, *, tries: int = 40) -> Verdict:
    """The smallest plan found that still fails, and how."""
    verdict = simulate(plan)
    for _ in range(tries):
        for smaller in verdict.plan.smaller():
            found = simulate(smaller)
            if found.wrong:
                verdict = found
                break
        else:
            return verdict
    return verdict


async def _play(plan: Plan) -> Verdict:
    timeline, store, wires = Timeline(trio.current_time()), MemoryStore(), sim_faults.Wires(plan)
    beside = [bystander_of(plan, number) for number in range(plan.bystanders)]
    callers: list[Caller] = [(CALLER, plan.acts)]
    callers += [(f"+1415555020{number}", acts) for number, (_, acts) in enumerate(beside)]
    human = Human(("busy", "no-answer", "answers")[plan.seed % 3], rings=2.0, talks=3.0)  # type: ignore[arg-type] # one of three literals
    calls = dict[str, CarriedCall]()
    async with a_world(
        sim_faults.settings_of(plan),
        *_models(plan, callers),
        humans={HUMAN: human},
        store=store,
        seed=plan.seed,
        rest_faults=sim_faults.rest_faults(plan),
        backend_faults=sim_faults.backend_faults(plan),
        listener=lambda sid, what, values: timeline.note(sid, what, values) if sid == first else None,
        workers=sim_faults.workers_of(plan),
        lay=wires.lay,
    ) as world:
        first = world.carrier.new_sid("CA")
        if plan.fault("callbacks_twice"):
            sim_faults.double_webhooks(world)
        tasks = Tasks.of(world)

        async def call(number: int, after: float) -> None:
            caller, acts = callers[number]
            if number:  # the first session of the model is the first call's
                with trio.move_on_after(FIRST_WITHIN):
                    await wires.model_asked.wait()
                await trio.sleep(after)
            faults, sid = (StreamFaults(), "") if number else (sim_faults.stream_faults(plan), first)
            calls[caller] = await world.call(*_steps(acts), at_most=1500, faults=faults, caller=caller, call_sid=sid)

        async with trio.open_nursery() as troubles:
            troubles.start_soon(sim_faults.trouble_the_store, plan, store)
            troubles.start_soon(sim_faults.trouble_the_servers, plan, world)
            async with trio.open_nursery() as up:
                for number, after in enumerate([0.0, *(after for after, _ in beside)]):
                    up.start_soon(call, number, after)
            troubles.cancel_scope.cancel("the calls are over")
        store.down, store.slow = False, 0.0
        await trio.sleep(SETTLED)
        left = tasks.left(world)
        parties = [Party(caller, acts, calls[caller], caller == CALLER) for caller, acts in callers]
        case = Case(plan, world, tuple(parties))
        wrong = [*sim_judge.judged(case), *([f"{left} tasks are left"] if left > 0 else [])]
        timeline.add_carrier(calls[CALLER])
        for session in case.sessions(parties[0]):
            timeline.add_model(session)
        states = tuple(state for record in store.of(first) for state in record.states)
        seconds = sum(each.ended - each.began for each in calls.values())
        return Verdict(plan, tuple(wrong), tuple(_log(case)), str(timeline), states, seconds, 0.0)


def _models(plan: Plan, callers: list[Caller]) -> list[LoopbackModel]:
    """The model, at one endpoint or two. It knows whom it speaks with by what its client says, and understands what is said."""
    answers: collections.Counter[str] = collections.Counter()
    first = client_of(callers[0][0])

    def brain(prompted: Prompted) -> Reply:
        number = answers[prompted.client]
        answers[prompted.client] += 1
        if prompted.client != first and not prompted.apart:
            return plain_reply_of(plan.seed, number)
        return reply_of(plan, number, apart=prompted.apart, after_tools=bool(prompted.tool_results))

    def writer(audio: bytes) -> str:
        return next((words for _, acts in callers if (words := words_in(audio, acts)) != NO_WORDS), NO_WORDS)

    faults, script = sim_faults.model_faults(plan), Script(writer=writer)
    places = [faults, faults[-1:]] if plan.setting.failover else [faults]
    return [
        LoopbackModel(script, brain=brain, faults=those, api_key="sk-scenario", seed=plan.seed + number)
        for number, those in enumerate(places)
    ]


def _steps(acts: tuple[Act, ...]) -> list[Step]:
    steps: list[Step] = []
    for number, act in enumerate(acts):
        if act.what == "say":
            steps += [AwaitQuiet(0.6, at_most=14), Speak(act.sound(number), act.words)]
            steps += [Wait(0.3), Press(act.keys)] if act.keys else []
        elif act.what == "interrupt":
            steps += [AwaitAgent(act.seconds, at_most=14), Speak(act.sound(number), act.words)]
        elif act.what == "go on":
            steps += [Wait(act.seconds), Speak(act.sound(number), act.words)]
        elif act.what == "press":
            steps += [AwaitQuiet(0.6, at_most=14), Press(act.words)]
        else:
            steps += [Wait(act.seconds)]
    return [*steps, AwaitQuiet(0.6, at_most=14), Wait(6.0), HangUp()]


# ---------------------------------------------------------------- what is left


@attrs.frozen
class Tasks:
    """How many tasks there are: in all, and of each server."""

    living: int
    of_servers: tuple[int, ...]

    @classmethod
    def of(cls, world: World) -> "Tasks":
        """Counts them."""
        servers = tuple(1 + _tasks_in(worker.nursery) for worker in world.workers)
        return cls(trio.lowlevel.current_statistics().tasks_living, servers)

    def left(self, world: World) -> int:
        """How many more there are now; of a server that died there is none."""
        died = [n for worker, n in zip(world.workers, self.of_servers, strict=True) if worker.died.is_set()]
        return trio.lowlevel.current_statistics().tasks_living - self.living + sum(died)


def _tasks_in(nursery: trio.Nursery) -> int:
    return sum(1 + sum(map(_tasks_in, task.child_nurseries)) for task in nursery.child_tasks)


# ---------------------------------------------------------------- the log


def _log(case: Case) -> list[str]:
    """All that the ends saw, in order, without what is drawn anew in each run."""
    lines: list[tuple[float, str]] = []
    ends: list[str] = []
    for who, party in enumerate(case.parties):
        call = party.call
        for number, stream in enumerate(call.streams):
            lines += [(at, f"{who} stream {number} {kind}") for at, kind in stream.messages]
            lines += [(at, f"{who} stream {number} cleared after {played}") for at, played in stream.clears]
        for number, session in enumerate(case.sessions(party)):
            lines += [(at, f"{who} model {number} {event['type']}") for at, event in session.events]
        lines += [(piece.at, f"{who} caller {len(piece.audio)}") for piece in call.said]
        ends += [f"{who} verb {type(verb).__name__}" for verb in call.verbs]
        ends += [f"{who} end {call.end}"]
    ends += [f"text to {message.to}: {message.text}" for message in case.world.rest.messages]
    return [*(f"{at:.4f} {what}" for at, what in sorted(lines)), *ends]


def _silence(logger: Any, method: str, event: Any) -> Any:
    raise structlog.DropEvent


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


def simulate_seed(seed: int, kinds: tuple[str, ...]) -> Verdict:
    """The call of one seed; see `plan_of`."""
    return simulate(plan_of(seed, kinds))
