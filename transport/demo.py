"""`triode demo`: a whole call on this machine. The real server, and both loopback ends over real sockets."""

import contextlib
import io
import json
import os
import secrets
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import attrs
import hypercorn.trio
import structlog
import trio
from hypercorn.config import Config

from conf import settings as conf
from transport import log, server_guard
from transport.demo_calls import APPOINTMENT, CALLS, DemoCall
from transport.demo_view import DemoView
from transport.loopback.backend import LoopbackBackend
from transport.loopback.carrier import CarriedCall, LoopbackCarrier
from transport.loopback.model import LoopbackModel
from transport.loopback.network import RealNetwork
from transport.loopback.recording import write_stereo
from transport.loopback.rest import LoopbackRest
from transport.loopback.twiml_reader import Hangup
from transport.open_store import open_store
from transport.web import create_app

AT_MOST = 240.0
HUMAN = "+15550001111"
DELIVERED_WITHIN = 10.0
TRUNCATION_WITHIN_MS = 60
"""The demo shares its machine with both ends; the ledger's own bound is reported beside it."""


def run(as_json: bool, flow: str = "") -> int:
    """Plays the call of `flow`; the exit status is 0 only if it went as it should. Raises SettingsError."""
    chosen = CALLS.get(flow or APPOINTMENT.flow)
    if chosen is None:
        raise conf.SettingsError(f"--flow {flow} has no demo: there are {', '.join(CALLS)}.")
    check_settings(chosen)
    log.set_up("json", "error", io.StringIO() if as_json else sys.stderr)
    server_guard.install()
    return trio.run(_demo, chosen, as_json)


async def _demo(demo: DemoCall, as_json: bool) -> int:
    folder = Path(tempfile.mkdtemp(prefix="triode-demo-"))
    view = None if as_json else DemoView(sys.stdout)
    result: dict[str, Any] = {"problems": ["the call took too long"]}
    with trio.move_on_after(AT_MOST):
        model = LoopbackModel(demo.script, api_key="sk-loopback")
        async with trio.open_nursery() as nursery:
            world = await around(nursery, folder, demo, model, free_port())
            settings = conf.load(world.environ)
            async with _server(settings, view):
                call = await world.carrier.place_call(demo.steps)
                await delivered(world.backend)
            nursery.cancel_scope.cancel("the demo is over")
        record, kept = await left_behind(folder, settings, call)
        result = _result(demo, call, record, model, world.carrier, world.rest, world.backend) | kept
    return shown(result, _summary, as_json)


@attrs.frozen
class Ends:
    """What both ends and the server agree on."""

    auth_token: str
    crm_secret: str
    port: int
    account: str = "AC" + "0" * 32

    @property
    def public_url(self) -> str:
        """Where the carrier reaches the server."""
        return f"http://127.0.0.1:{self.port}"


@attrs.frozen
class Around:
    """What is around the server of a demo: the carrier with its API, the backend, the settings by which it finds them."""

    public_url: str
    carrier: LoopbackCarrier
    rest: LoopbackRest
    backend: LoopbackBackend
    environ: dict[str, str]


async def around(nursery: trio.Nursery, folder: Path, demo: DemoCall, model: LoopbackModel, port: int) -> Around:
    """Starts both ends of a server that listens, or will listen, at `port`."""
    ends = Ends(secrets.token_hex(16), secrets.token_hex(16), port)
    carrier = LoopbackCarrier(
        RealNetwork(),
        public_url=ends.public_url,
        account_sid=ends.account,
        auth_token=ends.auth_token,
        humans={HUMAN: demo.human} if demo.human else None,
    )
    rest, backend = LoopbackRest(carrier), LoopbackBackend(ends.crm_secret)
    await nursery.start(carrier.run)
    ports = [await nursery.start(end.serve) for end in (model, rest, backend)]
    return Around(ends.public_url, carrier, rest, backend, environment(folder, demo, ends, *ports))


def check_settings(demo: DemoCall) -> None:
    """Raises SettingsError for what is set to something that no server starts with: in time, and outside of any nursery."""
    conf.load(environment(Path(tempfile.gettempdir()), demo, Ends("token", "secret", 1), 1, 1, 1))


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(
    folder: Path, demo: DemoCall, ends: Ends, model_port: int, rest_port: int, backend_port: int
) -> dict[str, str]:
    """The settings of a server between the loopback ends; what else is set there stays."""
    given = {name: value for name, value in os.environ.items() if name.startswith("TRIODE_")}
    human = {"TRIODE_CALL_HUMAN_NUMBER": HUMAN, "TRIODE_CALL_TRANSFER": "warm"} if demo.human else {}
    return (
        given
        | human
        | {
            "TRIODE_SERVER_PUBLIC_URL": ends.public_url,
            "TRIODE_MODEL_URL": f"ws://127.0.0.1:{model_port}/v1/realtime",
            "TRIODE_TWILIO_API_URL": f"http://127.0.0.1:{rest_port}",
            "TRIODE_CRM_URL": f"http://127.0.0.1:{backend_port}/calls",
            "TRIODE_STORE_URL": f"sqlite:///{folder / 'calls.db'}",
            "TRIODE_STORE_UNWRITTEN": str(folder / "unwritten"),
            "TRIODE_FLOW_PATH": demo.flow,
            "TWILIO_ACCOUNT_SID": ends.account,
            "TWILIO_AUTH_TOKEN": ends.auth_token,
            "OPENAI_API_KEY": "sk-loopback",
            "CRM_SECRET": ends.crm_secret,
        }
    )


async def delivered(backend: LoopbackBackend) -> None:
    """The call is delivered a moment after it is over."""
    with trio.move_on_after(DELIVERED_WITHIN):
        while not backend.deliveries:  # noqa: ASYNC110 - the backend is somebody else's: it gives no sign
            await trio.sleep(0.1)


async def left_behind(
    folder: Path, settings: conf.Settings, call: CarriedCall
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The record of the call, and where it and the recording are."""
    async with open_store(settings.store.url) as store:
        record = await store.call(call.call_sid)
    recording = folder / "call.wav"
    write_stereo(recording, call.began, call.ended - call.began, call.said, call.heard())
    return record or {}, {"recording": str(recording), "store": settings.store.url}


def shown(result: dict[str, Any], summary: Callable[[dict[str, Any]], None], as_json: bool) -> int:
    """Prints what came of it; the exit status."""
    if as_json:
        print(json.dumps(result, indent=2))
    else:
        summary(result)
    return 1 if result["problems"] else 0


@contextlib.asynccontextmanager
async def _server(settings: conf.Settings, view: DemoView | None) -> AsyncIterator[None]:
    """The server as hypercorn runs it, in this process so that its notes can be shown."""
    hypercorn_config = Config.from_toml(Path(conf.__file__).with_name("hypercorn.toml"))
    hypercorn_config.bind = [settings.server.public_url.removeprefix("http://")]
    hypercorn_config.workers = 1  # this process; any other number gets a warning
    hypercorn_config.graceful_timeout = 1
    hypercorn_config.errorlog = None
    hypercorn_config.logconfig_dict = {"version": 1, "incremental": True}

    def listen(_: str, what: str, values: dict[str, Any]) -> None:
        if view is not None:
            view.note(what, values)

    app = create_app(settings, listener=listen)
    stop = trio.Event()
    async with trio.open_nursery() as nursery:

        async def serve(task_status: "trio.TaskStatus[list[str]]") -> None:  # noqa: ASYNC128 - hypercorn calls it
            await hypercorn.trio.serve(
                app,  # type: ignore[arg-type] # Quart and hypercorn name the same ASGI types differently
                hypercorn_config,
                shutdown_trigger=stop.wait,
                task_status=task_status,
            )

        await nursery.start(serve)
        if view is not None:
            view.line(f"dialling {settings.server.public_url}/twilio/voice")
        yield
        stop.set()


# ---------------------------------------------------------------- what came of it


def _result(
    demo: DemoCall,
    call: CarriedCall,
    record: dict[str, Any],
    model: LoopbackModel,
    carrier: LoopbackCarrier,
    rest: LoopbackRest,
    backend: LoopbackBackend,
) -> dict[str, Any]:
    details = record.get("details") or {}
    dialogue = (record.get("story") or {}).get("dialogue") or {}
    stream = call.streams[0] if call.streams else None
    clears = [played // 8 for _, played in stream.clears] if stream else []
    result: dict[str, Any] = {
        "flow": demo.flow,
        "call_sid": call.call_sid,
        "stream_sid": record.get("stream_sid", ""),
        "disposition": record.get("disposition"),
        "reason": record.get("reason"),
        "seconds": round(call.ended - call.began, 1),
        "first_frame_ms": round(stream.first_audio_ms or -1, 1) if stream else None,
        "state": dialogue.get("at", ""),
        "intent": dialogue.get("wish", ""),
        "slots": {
            name: {"value": held.get("text", ""), "status": held.get("status", "missing")}
            for name, held in (dialogue.get("slots") or {}).items()
        },
        "texts": [{"to": m.to, "text": m.text, "status": m.status} for m in rest.messages],
        "errands": [{"name": e["name"], "status": e["status"]} for e in record.get("errands") or []],
        "deliveries": [{"id": d.id, "slots": d.body.get("slots")} for d in backend.deliveries],
        "transfer": [{"to": leg.to, "heard": leg.words(), "joined": bool(leg.joined)} for leg in carrier.legs],
        "turns": [
            {key: turn[key] for key in ("who", "text", "heard_text", "heard_ms", "interrupted", "latency_ms", "state")}
            for turn in record.get("turns", [])
        ],
        "interruptions": list(details.get("interruptions", [])),
        "frames": {"in": details.get("frames_in"), "out": details.get("frames_out")},
        "drops": {name: channel["dropped"] for name, channel in details.get("channels", {}).items()},
        "errors": details.get("errors", []),
        "carrier": {
            "webhooks": [f"{path} {status}" for path, status in call.posts],
            "verbs": [type(verb).__name__ for verb in call.verbs],
            "clears_at_played_ms": clears,
            "warnings": stream.warnings if stream else [],
            "errors": call.errors,
        },
    }
    result["problems"] = [*_problems(demo, result, call, model), *unfinished(demo, result, rest, backend)]
    return result


def _problems(demo: DemoCall, result: dict[str, Any], call: CarriedCall, model: LoopbackModel) -> list[str]:
    """Everything in the conversation that did not go as it should."""
    problems: list[str] = []

    def must(good: bool, what: str) -> None:
        if not good:
            problems.append(what)

    stream = call.streams[0] if call.streams else None
    session = model.sessions[0] if model.sessions else None
    must(not call.errors and stream is not None and not stream.warnings, f"the carrier complained: {call.errors}")
    must(session is not None and not session.errors, f"the model complained: {session.errors if session else ''}")
    must(not result["errors"], f"the call had trouble: {result['errors']}")
    must(result["disposition"] == demo.disposition, f"the disposition is {result['disposition']}")
    must(bool(call.verbs) and isinstance(call.verbs[-1], Hangup), "the call did not end in <Hangup>")
    must((result["first_frame_ms"] or 1e9) < 250, f"the first word came after {result['first_frame_ms']} ms")
    must(len(result["interruptions"]) == 1, f"there were {len(result['interruptions'])} interruptions, not one")
    if stream is not None and session is not None and session.truncations and stream.clears:
        # What the model was told is compared with what the carrier really played of that item by then.
        item, told = session.truncations[0]
        played = stream.clears[0][1] // 8
        earlier = [t for t in result["turns"] if t["who"] == "agent"]
        cut = next((number for number, turn in enumerate(earlier) if turn["interrupted"]), len(earlier))
        off = told - (played - sum(t["heard_ms"] for t in earlier[:cut]))
        result["truncation_off_ms"] = off
        must(abs(off) <= TRUNCATION_WITHIN_MS, f"item {item} was truncated {off} ms off what was played")
    else:
        problems.append("the model was not told of the interruption")
    answered = len(session.tool_results) if session else 0
    must(answered == demo.tools, f"{answered} tool calls were answered, not {demo.tools}")
    last = result["turns"][-1] if result["turns"] else {}
    must(last.get("heard_text") == demo.last_words, "the last words were not heard to their end")
    return problems


def unfinished(demo: DemoCall, result: dict[str, Any], rest: LoopbackRest, backend: LoopbackBackend) -> list[str]:
    """Everything that should have been done for the caller and was not."""
    problems: list[str] = []
    for name, value in demo.slots.items():
        held = result["slots"].get(name, {})
        if held.get("status") != "confirmed" or (value and held.get("value") != value):
            problems.append(f"{name} is {held}, not {value or 'settled'}")
    if len(rest.messages) != demo.texts:
        problems.append(f"{len(rest.messages)} text messages were sent, not {demo.texts}")
    if demo.human is not None and not any(leg["joined"] for leg in result["transfer"]):
        problems.append("no human was joined with the caller")
    if [delivery.id for delivery in backend.deliveries] != [result["call_sid"]]:
        problems.append(f"the backend got {len(backend.deliveries)} deliveries, not one")
    problems += [f"Twilio's API was used wrongly: {problem}" for problem in rest.problems]
    return problems


def _summary(result: dict[str, Any]) -> None:
    print()
    if "call_sid" in result:
        replies = [t["latency_ms"]["total"] for t in result["turns"] if t["latency_ms"]]
        print(f"call        {result['call_sid']}, {result['seconds']} s")
        print(f"left by     {result['disposition']}: {result['reason']}")
        print(f"first word  {result['first_frame_ms']} ms after the stream began; answers after {replies} ms")
        for cut in result["interruptions"]:
            off, bound = result.get("truncation_off_ms", "?"), cut["bound_ms"]
            print(f"interrupted {cut['heard_ms']} ms heard of {cut['generated_ms']} ms")
            print(f"            the model was told {cut['truncate_ms']} ms: {off} ms off, bound {bound} ms")
        print(f"flow        {result['flow']}: ended at {result['state']!r}, the caller's wish was {result['intent']!r}")
        for name, held in result["slots"].items():
            print(f"slot        {name}: {held['value']} ({held['status']})")
        for text in result["texts"]:
            print(f"SMS         to {text['to']}: {text['text']}")
        for leg in result["transfer"]:
            print(f"transfer    {leg['to']} heard: {' '.join(leg['heard'])}")
            print(f"            {'joined with the caller' if leg['joined'] else 'not joined'}")
        print(f"CRM         {len(result['deliveries'])} delivery, signed and accepted")
        frames, drops = result["frames"], result["drops"]
        dropped = sum(number for name, number in drops.items() if name != "story")  # of stories only the newest counts
        print(f"frames      {frames['in']} in, {frames['out']} out, {dropped} dropped")
        print(f"recording   {result['recording']} (caller left, agent as heard right)")
        print(f"record      {result['store']}")
    for problem in result["problems"]:
        print(f"PROBLEM: {problem}")
    print("The call went as it should." if not result["problems"] else "The call did not go as it should.")
    structlog.reset_defaults()
