"""`triode demo`: a whole call on this machine. The real server, and both loopback ends over real sockets."""

import contextlib
import io
import json
import os
import secrets
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import hypercorn.trio
import structlog
import trio
from hypercorn.config import Config

from conf import settings as conf
from transport import log, server_guard
from transport.demo_view import DemoView
from transport.loopback.caller import AwaitAgent, AwaitQuiet, Press, Speak
from transport.loopback.carrier import CarriedCall, LoopbackCarrier
from transport.loopback.model import LoopbackModel
from transport.loopback.network import RealNetwork
from transport.loopback.recording import write_stereo
from transport.loopback.script import Call, Reply, Script, say
from transport.loopback.speech import line
from transport.loopback.twiml_reader import Hangup
from transport.store import open_store
from transport.web import create_app

AT_MOST = 120.0
TRUNCATION_WITHIN_MS = 60
"""The demo shares its machine with both ends; the ledger's own bound is reported beside it."""

STEPS = (
    AwaitQuiet(),
    Speak(line("caller_hours").audio, line("caller_hours").text),
    AwaitAgent(4.0),
    Speak(line("caller_interrupt").audio, line("caller_interrupt").text),
    AwaitQuiet(),
    Press("5"),
    AwaitQuiet(),
    Speak(line("caller_bye").audio, line("caller_bye").text),
)
SCRIPT = Script(
    turns=(
        Reply((say("agent_checking"), Call("look_up", '{"topic": "opening_hours"}'))),
        Reply((say("agent_saturday"),)),
        Reply((say("agent_bye"), Call("end_call", '{"reason": "the caller said goodbye"}'))),
    ),
    after_tools=(Reply((say("agent_hours"),)),),
    on_text=(Reply((say("agent_key"),)),),
    said=(line("caller_hours").text, line("caller_interrupt").text, line("caller_bye").text),
)


def run(as_json: bool) -> int:
    """Plays the call; the exit status is 0 only if it went as it should."""
    log.set_up("json", "error", io.StringIO() if as_json else sys.stderr)
    server_guard.install()
    return trio.run(_demo, as_json)


async def _demo(as_json: bool) -> int:
    folder = Path(tempfile.mkdtemp(prefix="triode-demo-"))
    view = None if as_json else DemoView(sys.stdout)
    result: dict[str, Any] = {"problems": ["the call took too long"]}
    with trio.move_on_after(AT_MOST):
        model = LoopbackModel(SCRIPT, api_key="sk-loopback")
        async with trio.open_nursery() as nursery:
            model_port = await nursery.start(model.serve)
            settings = _settings(folder, model_port)
            async with _server(settings, view):
                carrier = LoopbackCarrier(
                    RealNetwork(),
                    public_url=settings.server.public_url,
                    account_sid=settings.secrets.account_sid,
                    auth_token=settings.secrets.auth_token,
                )
                call = await carrier.place_call(STEPS)
            nursery.cancel_scope.cancel("the demo is over")
        async with open_store(settings.store.url) as store:
            record = await store.call(call.call_sid)
        recording = folder / "call.wav"
        heard = [attrs.evolve(piece, at=piece.at - call.began) for piece in call.heard()]
        said = [attrs.evolve(piece, at=piece.at - call.began) for piece in call.said]
        write_stereo(recording, 0.0, call.ended - call.began, said, heard)
        result = _result(call, record or {}, model)
        result |= {"recording": str(recording), "store": settings.store.url}
    if as_json:
        print(json.dumps(result, indent=2))
    else:
        _summary(result)
    return 1 if result["problems"] else 0


def _settings(folder: Path, model_port: int) -> conf.Settings:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    given = {name: value for name, value in os.environ.items() if name.startswith("TRIODE_")}
    environ = given | {
        "TRIODE_SERVER_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "TRIODE_MODEL_URL": f"ws://127.0.0.1:{model_port}/v1/realtime",
        "TRIODE_STORE_URL": f"sqlite:///{folder / 'calls.db'}",
        "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
        "TWILIO_AUTH_TOKEN": secrets.token_hex(16),
        "OPENAI_API_KEY": "sk-loopback",
    }
    return conf.load(environ)


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


def _result(call: CarriedCall, record: dict[str, Any], model: LoopbackModel) -> dict[str, Any]:
    details = record.get("details") or {}
    stream = call.streams[0] if call.streams else None
    interruptions = list(details.get("interruptions", []))
    clears = [played // 8 for _, played in stream.clears] if stream else []
    result: dict[str, Any] = {
        "call_sid": call.call_sid,
        "stream_sid": record.get("stream_sid", ""),
        "disposition": record.get("disposition"),
        "reason": record.get("reason"),
        "seconds": round(call.ended - call.began, 1),
        "first_frame_ms": round(stream.first_audio_ms or -1, 1) if stream else None,
        "turns": [
            {key: turn[key] for key in ("who", "text", "heard_text", "heard_ms", "interrupted", "latency_ms")}
            for turn in record.get("turns", [])
        ],
        "interruptions": interruptions,
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
    result["problems"] = _problems(result, call, model)
    return result


def _problems(result: dict[str, Any], call: CarriedCall, model: LoopbackModel) -> list[str]:
    """Everything that did not go as it should."""
    problems: list[str] = []

    def must(good: bool, what: str) -> None:
        if not good:
            problems.append(what)

    stream = call.streams[0] if call.streams else None
    session = model.sessions[0] if model.sessions else None
    must(not call.errors and stream is not None and not stream.warnings, f"the carrier complained: {call.errors}")
    must(session is not None and not session.errors, f"the model complained: {session.errors if session else ''}")
    must(not result["errors"], f"the call had trouble: {result['errors']}")
    must(result["disposition"] == "hang_up", f"the disposition is {result['disposition']}")
    must(bool(call.verbs) and isinstance(call.verbs[-1], Hangup), "the call did not end in <Hangup>")
    must((result["first_frame_ms"] or 1e9) < 250, f"the first word came after {result['first_frame_ms']} ms")
    must(len(result["interruptions"]) == 1, f"there were {len(result['interruptions'])} interruptions, not one")
    if stream is not None and session is not None and session.truncations and stream.clears:
        # What the model was told is compared with what the carrier really played of that item by then.
        item, told = session.truncations[0]
        played = stream.clears[0][1] // 8
        earlier = [t for t in result["turns"] if t["who"] == "agent"]
        before = sum(t["heard_ms"] for t in earlier[: [t["interrupted"] for t in earlier].index(True)])
        off = told - (played - before)
        result["truncation_off_ms"] = off
        must(abs(off) <= TRUNCATION_WITHIN_MS, f"item {item} was truncated {off} ms off what was played")
    else:
        problems.append("the model was not told of the interruption")
    must(bool(session and len(session.tool_results) == 2), "the tools were not answered, both of them")
    last = result["turns"][-1] if result["turns"] else {}
    must(last.get("heard_text") == line("agent_bye").text, "the goodbye was not heard to its end")
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
        frames, dropped = result["frames"], sum(result["drops"].values())
        print(f"frames      {frames['in']} in, {frames['out']} out, {dropped} dropped")
        print(f"recording   {result['recording']} (caller left, agent as heard right)")
        print(f"record      {result['store']}")
    for problem in result["problems"]:
        print(f"PROBLEM: {problem}")
    print("The call went as it should." if not result["problems"] else "The call did not go as it should.")
    structlog.reset_defaults()
