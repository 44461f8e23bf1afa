"""The simulator: whole calls on the virtual clock, everything decided by a seed, judged by what can be seen from outside.

The real server between both loopback ends (see `world.py`), one call, the faults of its plan, and then the questions that any
call must answer: was the caller ever left in silence, greeted twice, promised something that was done twice or not at all; is
there one end, one record a stream, one delivery; is anything left. The same seed gives the same log, twice.
"""

import collections
import functools
import time
from collections.abc import Mapping
from typing import Any

import attrs
import structlog
import trio

from conf.prompts import load_prompt
from conf.settings import Settings
from transport.loopback.backend import BackendFaults
from transport.loopback.caller import AwaitAgent, AwaitQuiet, HangUp, Press, Speak, Step, Wait
from transport.loopback.carrier import CarriedCall
from transport.loopback.human import Human
from transport.loopback.memory_store import MemoryStore
from transport.loopback.model import LoopbackModel
from transport.loopback.rest import RestFaults
from transport.loopback.scenario import HUMAN, default_settings
from transport.loopback.script import Faults, Prompted, Reply, Script
from transport.loopback.sim_plan import Plan, plan_of, reply_of
from transport.loopback.speech import murmur
from transport.loopback.stream import StreamFaults
from transport.loopback.timeline import Timeline
from transport.loopback.virtual_time import run_virtually
from transport.loopback.world import World, a_world

SILENCE_SLACK = 1.3
"""Seconds on top of `max_silence`: the turn has to be over first, and the carrier plays what it has got."""
SETTLED = 200.0
"""Virtual seconds after a call in which everything that was promised must have come out."""
GARBAGE = ("no JSON", "[]", '{"event": "mark"}', '{"event": "media", "media": {"payload": 7}}', '{"event": "new"}')


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
    cpu_seconds: float


# ---------------------------------------------------------------- running a plan


def simulate(plan: Plan) -> Verdict:
    """Plays the call of `plan`. The order in which tasks run is a matter of the seed too."""
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
    timeline = Timeline(trio.current_time())
    answers = iter(range(10_000))

    def brain(prompted: Prompted) -> Reply:
        after_tools = bool(prompted.tool_results)
        return reply_of(plan.seed, next(answers), apart=prompted.apart, after_tools=after_tools)

    script = Script(said=tuple(act.words for act in plan.acts if act.what in {"say", "interrupt"}))
    model = LoopbackModel(script, brain=brain, faults=_model_faults(plan), api_key="sk-scenario", seed=plan.seed)
    store = MemoryStore()
    human = Human(("busy", "no-answer", "answers")[plan.seed % 3], rings=2.0, talks=3.0)  # type: ignore[arg-type]
    world_of = functools.partial(a_world, _settings(plan), model, humans={HUMAN: human}, store=store, seed=plan.seed)
    rest_faults, backend_faults = _rest_faults(plan), _backend_faults(plan)
    async with world_of(rest_faults=rest_faults, backend_faults=backend_faults, listener=timeline.note) as world:
        if plan.fault("callbacks_twice"):
            _double(world)
        tasks = trio.lowlevel.current_statistics().tasks_living
        async with trio.open_nursery() as troubles:
            troubles.start_soon(_trouble_the_store, plan, store)
            call = await world.call(*_steps(plan), at_most=1500, faults=_stream_faults(plan))
            troubles.cancel_scope.cancel("the call is over")
        store.down, store.slow = False, 0.0
        await trio.sleep(SETTLED)
        left = trio.lowlevel.current_statistics().tasks_living - tasks
        wrong = [*_judged(plan, world, call), *([f"{left} tasks are left"] if left > 0 else [])]
        timeline.add_carrier(call)
        for session in model.sessions:
            timeline.add_model(session)
        states = tuple(state for record in store.of(call.call_sid) for state in record.states)
        seconds = call.ended - call.began
        return Verdict(plan, tuple(wrong), tuple(_log(world, call)), str(timeline), states, seconds, 0.0)


def _settings(plan: Plan) -> Settings:
    settings = default_settings(plan.flow)
    transfer = "warm" if plan.seed % 2 else "cold"
    return attrs.evolve(settings, call=attrs.evolve(settings.call, transfer=transfer))


def _steps(plan: Plan) -> list[Step]:
    steps: list[Step] = []
    for number, act in enumerate(plan.acts):
        if act.what == "say":
            steps += [AwaitQuiet(0.6, at_most=14), Speak(murmur(act.words, seed=number), act.words)]
        elif act.what == "interrupt":
            steps += [AwaitAgent(act.seconds, at_most=14), Speak(murmur(act.words, seed=number), act.words)]
        elif act.what == "press":
            steps += [AwaitQuiet(0.6, at_most=14), Press(act.words)]
        else:
            steps += [Wait(act.seconds)]
    return [*steps, AwaitQuiet(0.6, at_most=14), Wait(6.0), HangUp()]


# ---------------------------------------------------------------- what goes wrong


def _model_faults(plan: Plan) -> tuple[Faults, ...]:
    """The first session has the faults of the plan; the one after it only those that last."""
    first: dict[str, Any] = {}
    lasting: dict[str, Any] = {}
    for fault in plan.faults:
        at = round(fault.at * 1000)
        match fault.kind:
            case "model_drop":
                first["drop_after_ms"] = at
            case "model_close":
                first["close_after_ms"] = at
            case "model_stall":
                first["stall_after_ms"] = at
            case "model_refuse":
                first["refuse_status"] = 503
            case "model_fail":
                first["fail_codes"] = ("", "server_error", "rate_limit_exceeded", "server_error")[: 1 + at % 4]
            case "model_incomplete":
                first["incomplete"] = "max_output_tokens"
            case "model_no_replies":
                first["no_replies"] = True
            case "model_expire":
                first["session_seconds"] = 10.0 + fault.at
            case "model_odd":
                lasting["odd_events"] = True
            case _:
                pass
    return Faults(**first, **lasting), Faults(**lasting)


def _stream_faults(plan: Plan) -> StreamFaults:
    values: dict[str, Any] = {}
    for fault in plan.faults:
        match fault.kind:
            case "stream_drop":
                values["drop_after"] = fault.at
            case "stream_gap":
                values |= {"gap_at": fault.at, "gap_seconds": min(fault.size, 3.0)}
            case "marks_late":
                values["echo_delay"] = fault.size / 12
            case "stream_garbage":
                values["inject"] = tuple((fault.at + number, text) for number, text in enumerate(GARBAGE))
            case _:
                pass
    return StreamFaults(**values)


def _rest_faults(plan: Plan) -> RestFaults:
    fails, slow = plan.fault("rest_fails"), plan.fault("rest_slow")
    statuses = ((500,), (429, 503), (0, 500), (503, 503, 503))[round(fails.size) % 4] if fails else ()
    return RestFaults(statuses=statuses, slow=min(slow.size, 7.0) if slow else 0.0)


def _backend_faults(plan: Plan) -> BackendFaults:
    return BackendFaults(statuses=(500, 0)) if plan.fault("backend_fails") else BackendFaults()


async def _trouble_the_store(plan: Plan, store: MemoryStore) -> None:
    if slow := plan.fault("store_slow"):
        store.slow = slow.size / 5
    if down := plan.fault("store_down"):
        await trio.sleep(down.at)
        store.down = True
        await trio.sleep(down.size)
        store.down = False


def _double(world: World) -> None:
    """Every webhook comes twice, and the second answer counts."""
    post = world.carrier.post

    async def twice(url: str, form: Mapping[str, str], log: Any = None) -> tuple[int, str, str]:
        if not url.endswith("/twilio/voice"):
            await post(url, form)
        return await post(url, form, log)

    world.carrier.post = twice  # type: ignore[method-assign]


# ---------------------------------------------------------------- what must hold


def _judged(plan: Plan, world: World, call: CarriedCall) -> list[str]:
    """Everything that does not hold, from what the ends saw."""
    wrong: list[str] = []

    def must(holds: bool, what: str) -> None:
        wrong.extend([] if holds else [what])

    store, records = world.store, world.store.of(call.call_sid)
    must(world.app.extensions["triode"].switchboard.active == 0, "a call is still up")
    must(len(records) == len(call.streams), f"{len(records)} records of {len(call.streams)} streams")
    bugs = [error.text for record in records for error in record.errors if error.kind == "bug"]
    must(not bugs, f"a bug: {bugs}")
    must(not call.errors, f"the carrier complains: {call.errors}")
    warnings = [warning for stream in call.streams for warning in stream.warnings]
    must(not warnings, f"the carrier warns: {warnings}")
    must(not world.rest.problems, f"the API complains: {world.rest.problems}")
    complaints = [error for model in world.models for session in model.sessions for error in session.errors]
    must(not complaints, f"the model complains: {complaints}")
    greeting = load_prompt("greeting").audio
    heard = b"".join(piece.audio for piece in call.heard())
    must(heard.count(greeting) <= 1, "the caller is greeted twice")
    must(not world.carrier.conferences.open, "a conference is still open")
    delivered = collections.Counter(delivery.id for delivery in world.backend.deliveries)
    must(delivered == {call.call_sid: 1}, f"deliveries: {dict(delivered)}")
    done = [row for row in store.errand_rows.values() if row.name != "transfer"]
    texts = [row for row in done if row.status in {"done", "unknown"} and (row.reference or row.status == "unknown")]
    if not plan.fault("store_down"):  # an errand that could not be written down is done all the same
        must(len(world.rest.messages) <= len(texts), f"{len(world.rest.messages)} messages for {len(texts)} errands")
    keys = collections.Counter(message.callback for message in world.rest.messages)
    must(all(count == 1 for count in keys.values()), "a message was sent twice")
    under_way = [row.key for row in store.errand_rows.values() if row.status in {"begun", "ringing", "returning"}]
    must(not under_way or bool(plan.fault("store_down")), f"errands without an end: {under_way}")
    for gap in _silences(plan, call):
        wrong.append(f"{gap:.1f} s of silence after the caller spoke")
    return wrong


def _silences(plan: Plan, call: CarriedCall) -> list[float]:
    """Waits on a stream that were longer than the settings allow, from the caller's last word to the agent's next."""
    if plan.fault("stream_gap"):  # what the model never heard it cannot answer
        return []
    limit = _settings(plan).call.max_silence + SILENCE_SLACK
    found: list[float] = []
    for stream in call.streams:
        ended = stream.opened + stream.frames_sent * 0.02
        voiced = sorted(piece.at for piece in stream.playback.heard)
        ends = [piece.at + len(piece.audio) / 8000 for piece in stream.playback.heard]
        spoken = [piece.at + len(piece.audio) / 8000 for piece in call.said if stream.opened <= piece.at < ended]
        for number, end in enumerate(spoken):
            if any(at < end < until for at, until in zip(voiced, ends, strict=False)):
                continue  # the agent was speaking just then
            after = [at for at in voiced if at > end - 0.3]
            until = min([*after, *(s - 0.4 for s in spoken[number + 1 : number + 2]), ended])
            if until - end > limit:
                found.append(until - end)
    return found


# ---------------------------------------------------------------- the log


def _log(world: World, call: CarriedCall) -> list[str]:
    """All that the ends saw, in order, without what is drawn anew in each run."""
    lines: list[tuple[float, str]] = []
    for number, stream in enumerate(call.streams):
        lines += [(at, f"stream {number} {kind}") for at, kind in stream.messages]
        lines += [(at, f"stream {number} cleared after {played}") for at, played in stream.clears]
    for number, session in enumerate(world.models[0].sessions):
        lines += [(at, f"model {number} {event['type']}") for at, event in session.events]
    lines += [(piece.at, f"caller {len(piece.audio)}") for piece in call.said]
    verbs = [f"verb {type(verb).__name__}" for verb in call.verbs]
    ends = [f"text to {message.to}: {message.text}" for message in world.rest.messages]
    return [*(f"{at:.4f} {what}" for at, what in sorted(lines)), *verbs, *ends, f"end {call.end}"]


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
