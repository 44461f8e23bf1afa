"""The faults of a plan, as the ends of a world are told of them."""

import collections
import random
from collections.abc import Mapping
from typing import Any

import attrs
import trio

from conf.settings import Settings
from transport.loopback.backend import BackendFaults
from transport.loopback.memory_store import MemoryStore
from transport.loopback.rest import RestFaults
from transport.loopback.scenario import default_settings
from transport.loopback.script import Faults
from transport.loopback.sim_plan import Fault, Plan
from transport.loopback.stream import StreamFaults
from transport.loopback.wire import WireFaults, a_wire
from transport.loopback.world import World

GARBAGE = ("no JSON", "[]", '{"event": "mark"}', '{"event": "media", "media": {"payload": 7}}', '{"event": "new"}')
DRAINS = ("server_drains", "server_deploys", "server_goes")
DEPLOYS = 4
"""Servers that are told to go, one after the other: a call is moved so often."""
DRAIN_SECONDS = 3
"""Calls may go on so long once the server drains: not long enough for any."""
BUSY = ("rate_limit_exceeded",) * 5
"""How the replies of a session fail: more often than is waited for."""
UP, DOWN, MODEL_UP, MODEL_DOWN = 17_000, 4_000, 12_000, 8_000
"""Bytes a second, about, on the wires of a call: a cut after so many seconds is one at a byte."""


def drain_seconds(plan: Plan) -> float:
    """How long calls may go on once the server drains: as a rule not long enough for any, but in the menu one may come to its
    end."""
    goes = plan.fault("server_goes")
    return round(15 + 6 * goes.size) if goes else DRAIN_SECONDS


def settings_of(plan: Plan) -> Settings:
    """The settings of the server: those of the plan, and what its faults need."""
    from importlib.resources import files

    tools = plan.fault("tool_slow") or plan.fault("tool_fails")
    settings = default_settings(str(files("transport.loopback") / "sim_flow.py") if tools else plan.flow)
    server, setting = attrs.evolve(settings.server, drain_seconds=drain_seconds(plan)), plan.setting
    return attrs.evolve(
        settings,
        call=attrs.evolve(
            settings.call,
            transfer="warm" if plan.seed % 2 else "cold",
            max_silence=setting.max_silence,
            barge_in=setting.barge_in,
            human_number=settings.call.human_number if setting.human else "",
        ),
        audio=attrs.evolve(settings.audio, lead_ms=setting.lead_ms),
        server=server if any(map(plan.fault, DRAINS)) else settings.server,
        model=attrs.evolve(
            settings.model,
            standby="on" if plan.fault("standby") else "off",
            replace_seconds=30.0 if plan.fault("model_away") else setting.replace_seconds,
            transcription=settings.model.transcription if setting.transcribed else "",
            vad_silence_ms=setting.turn_silence_ms,
            append_ms=setting.append_ms,
        ),
    )


def model_faults(plan: Plan) -> tuple[Faults, ...]:
    """The first session has the faults of the plan; those after it only those that last, and all those at another endpoint."""
    away, busy, gone = 0, 0, False
    first: dict[str, Any] = {}
    lasting: dict[str, Any] = {"transcripts": plan.transcripts}
    for fault in plan.faults:
        at = round(fault.at * 1000)
        match fault.kind:
            case "model_drop":
                first["drop_after_ms"] = at
            case "model_away":
                first["drop_after_ms"], away = at, 1 + round(fault.size / 2)
            case "model_gone":
                first["drop_after_ms"], gone = at, True
            case "model_close":
                first["close_after_ms"] = at
            case "model_stall":
                first["stall_after_ms"] = at
            case "model_deaf":
                first["deaf_after_ms"] = at // 4
            case "model_refuse":
                first["refuse_status"] = 503 if fault.size < 6 else 429
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
            case "model_wordless":
                first["wordless"] = 2 + at % 4
            case "model_busy":
                first["fail_codes"], busy = BUSY, round(fault.size / 4)
            case "model_late":
                first["stray_deltas"] = 1 + round(fault.size)
            case _:
                pass
    following = [Faults(refuse_status=503)] * away + [Faults(fail_codes=BUSY, **lasting)] * busy
    last = Faults(refuse_status=503) if gone else Faults(**lasting)
    return Faults(**first, **lasting), *following, last


def stream_faults(plan: Plan) -> StreamFaults:
    """Of the first call's first stream."""
    values: dict[str, Any] = {}
    for fault in plan.faults:
        match fault.kind:
            case "stream_drop":
                values["drop_after"] = fault.at
            case "stream_gap":
                values |= {"gap_at": fault.at, "gap_seconds": min(fault.size, 3.0)}
            case "marks_late":
                values["echo_delay"] = fault.size / 12
            case "marks_bunched":
                values["echo_every"] = fault.size / 12
            case "marks_swapped":
                values["echo_swapped"] = True
            case "stream_garbage":
                values["inject"] = tuple((fault.at + number, text) for number, text in enumerate(GARBAGE))
            case _:
                pass
    return StreamFaults(**values)


def rest_faults(plan: Plan) -> RestFaults:
    """Of the carrier's API."""
    fails, slow = plan.fault("rest_fails"), plan.fault("rest_slow")
    statuses = ((500,), (429, 503), (0, 500), (503, 503, 503))[round(fails.size) % 4] if fails else ()
    return RestFaults(statuses=statuses, slow=min(slow.size, 7.0) if slow else 0.0)


def backend_faults(plan: Plan) -> BackendFaults:
    """Of the backend."""
    return BackendFaults(statuses=(500, 0)) if plan.fault("backend_fails") else BackendFaults()


class Wires:
    """Lays the wires of a world; see `world.Lay`. Only the first one of a kind has what happens once."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._laid: collections.Counter[str] = collections.Counter()
        self.model_asked = trio.Event()
        """Set when the first connection to the model is opened."""

    def lay(self, kind: str) -> tuple[Any, Any]:
        """A wire of that kind."""
        number = self._laid[kind]
        self._laid[kind] += 1
        if kind == "model":
            self.model_asked.set()
        faults = wire_faults(self._plan, kind, first=number == 0)
        return a_wire(faults, random.Random(f"wire {self._plan.seed} {kind} {number}"))


def wire_faults(plan: Plan, kind: str, *, first: bool) -> WireFaults:
    """Of one wire, a "stream" or a "model"."""
    values: dict[str, Any] = {}
    up, down = (UP, DOWN) if kind == "stream" else (MODEL_UP, MODEL_DOWN)
    for fault in plan.faults:
        if fault.kind == "net_slow":
            values["delay"] = fault.size / 60
        elif fault.kind == "net_lossy":
            values["lost"] = fault.size / 100
        elif fault.kind == "net_pieces":
            values["pieces"] = True
        elif first and fault.kind == f"{kind}_cut_up":
            values["cut_up"] = round(fault.at * up)
        elif first and fault.kind == f"{kind}_cut_down":
            values["cut_down"] = round(fault.at * down)
        elif first and fault.kind == f"{kind}_half_open":
            values["dead_at"] = fault.at
        elif first and fault.kind == f"{kind}_unread":
            values |= {"stuck_at": fault.at, "stuck_for": fault.size}
        elif first and fault.kind == f"{kind}_slow_reader":
            values["slow"] = 8000 + fault.size * 1000
    return WireFaults(**values)


def store_slowness(fault: Fault) -> float:
    """Seconds that each use of the store takes."""
    return fault.size / 5


async def trouble_the_store(plan: Plan, store: MemoryStore) -> None:
    """What happens to the store, at its times."""
    if slow := plan.fault("store_slow"):
        store.slow = store_slowness(slow)
    if down := plan.fault("store_down"):
        await trio.sleep(down.at)
        store.down = True
        await trio.sleep(down.size)
        store.down = False


async def trouble_the_servers(plan: Plan, world: World) -> None:
    """What happens to the servers, at its times."""
    began = trio.current_time()
    for at, what in _ends_of_servers(plan):
        await trio.sleep_until(began + at)
        if what == "worker_dies":
            await world.kill()
        elif what == "server_goes":
            await world.replace()
        else:
            world.drain()


def _ends_of_servers(plan: Plan) -> list[tuple[float, str]]:
    """When a server dies or is told to go, and how."""
    ends = [(fault.at, fault.kind) for fault in plan.faults if fault.kind in {"worker_dies", *DRAINS}]
    if deploys := plan.fault("server_deploys"):
        ends += [(deploys.at + number * (4 + deploys.size), deploys.kind) for number in range(1, DEPLOYS)]
    return sorted(ends, key=lambda end: end[0])


def workers_of(plan: Plan) -> int:
    """How many servers there have to be."""
    return 1 + len(_ends_of_servers(plan))


def double_webhooks(world: World) -> None:
    """Every webhook comes twice, and the second answer counts."""
    post = world.carrier.post

    async def twice(url: str, form: Mapping[str, str], log: Any = None) -> tuple[int, str, str]:
        if not url.endswith("/twilio/voice"):
            await post(url, form)
        return await post(url, form, log)

    world.carrier.post = twice  # type: ignore[method-assign] # the carrier of one world
