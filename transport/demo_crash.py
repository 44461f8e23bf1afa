"""`triode demo --crash`: two servers behind one address. The one that has the caller is killed, and the call goes on."""

import bisect
import contextlib
import functools
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import trio

from conf import settings as conf
from conf.prompts import WORDS, load_prompt
from transport import demo, log
from transport.demo_calls import APPOINTMENT, CRASH
from transport.demo_view import DemoView
from transport.loopback.backend import LoopbackBackend
from transport.loopback.caller import Do, Speak, Step
from transport.loopback.carrier import CarriedCall, LoopbackCarrier
from transport.loopback.front import Front
from transport.loopback.model import LoopbackModel
from transport.loopback.rest import LoopbackRest
from transport.loopback.speech import LINES, line
from transport.loopback.stream import StreamLog
from transport.loopback.twiml_reader import Hangup

STARTED_WITHIN = 30.0
RECOGNISED = 4000
"""Bytes from the beginning of a recorded line by which it is known."""


def run(as_json: bool) -> int:
    """Plays the call; the exit status is 0 only if it went as it should. Raises SettingsError."""
    demo.check_settings(APPOINTMENT)
    log.set_up("json", "error", io.StringIO() if as_json else sys.stderr)
    return trio.run(_demo, as_json)


async def _demo(as_json: bool) -> int:
    folder = Path(tempfile.mkdtemp(prefix="triode-demo-"))
    view = None if as_json else DemoView(sys.stdout)
    result: dict[str, Any] = {"problems": ["the call took too long"]}
    with trio.move_on_after(demo.AT_MOST):
        model = LoopbackModel(CRASH.scripts, api_key="sk-loopback")
        async with trio.open_nursery() as nursery:
            one, two = (_Server(number, demo.free_port()) for number in (1, 2))
            port = await nursery.start(Front(one.port, two.port).serve)
            world = await demo.around(nursery, folder, APPOINTMENT, model, port)
            settings = conf.load(world.environ)
            story = _Story(view, world.carrier, model, one, two)
            with trio.fail_after(STARTED_WITHIN):
                async with trio.open_nursery() as starting:
                    for server in (one, two):
                        starting.start_soon(nursery.start, functools.partial(server.run, world.environ))
            story.line(f"servers 1 and 2 run, processes {one.pid} and {two.pid}, at {world.public_url}")
            call = await world.carrier.place_call(story.steps(), call_sid=story.call_sid)
            story.show()
            await demo.delivered(world.backend)
            await two.ended()
            nursery.cancel_scope.cancel("the demo is over")
        record, kept = await demo.left_behind(folder, settings, call)
        result = _result(call, record, story, world.rest, world.backend, settings.call.max_silence) | kept
    return demo.shown(result, _summary, as_json)


# ---------------------------------------------------------------- the servers


@attrs.define
class _Server:
    """A server process, as the README starts it."""

    number: int
    port: int
    pid: int = 0
    lines: list[dict[str, Any]] = attrs.field(factory=list)
    """Its log."""
    _process: trio.Process | None = None
    _heard: trio.Event = attrs.field(factory=trio.Event)
    """Set, and replaced, with every piece of the log."""

    async def run(
        self, environ: dict[str, str], task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED
    ) -> None:
        """From its start, reported when it listens, until it has ended, or is ended with this."""
        hypercorn_file = Path(conf.__file__).with_name("hypercorn.toml")
        bind = ["-c", str(hypercorn_file), "-b", f"127.0.0.1:{self.port}"]
        told = {**os.environ, **environ, "TRIODE_SERVER_LOG_FORMAT": "json", "TRIODE_SERVER_LOG_LEVEL": "info"}
        self._process = process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "hypercorn", *bind, "transport.app:app"], env=told, stderr=subprocess.PIPE
        )
        self.pid = process.pid
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read_log)
            try:
                await self.says("Running on")
                task_status.started()
                await process.wait()
            finally:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                with trio.move_on_after(10, shield=True):
                    await process.wait()

    async def says(self, event: str) -> dict[str, Any]:
        """The first line of its log that begins with `event`, as soon as it is there."""
        while True:
            for each in self.lines:
                if str(each.get("event", "")).startswith(event):
                    return each
            await self._heard.wait()

    async def killed(self) -> None:
        """As when the power fails."""
        await self._end(signal.SIGKILL)

    async def ended(self) -> None:
        """As an operator ends it."""
        await self._end(signal.SIGTERM)

    @property
    def status(self) -> int | None:
        """How it ended."""
        return self._process.returncode if self._process else None

    async def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            await self._process.wait()

    async def _read_log(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        rest = b""
        async for data in self._process.stderr:
            *whole, rest = (rest + data).split(b"\n")
            for text in whole:
                self.lines.append(_parsed(text))
            self._heard.set()
            self._heard = trio.Event()


def _parsed(text: bytes) -> dict[str, Any]:
    """A line of the log; one that is not ours (a traceback) counts as an error."""
    try:
        return dict(json.loads(text))
    except ValueError:
        return {"event": text.decode("utf-8", "replace"), "level": "error"}


# ---------------------------------------------------------------- the call


@attrs.frozen
class _Line:
    """A recorded line that the caller heard, or how much of it."""

    stream: int
    name: str
    words: str
    whole: bool


@attrs.define
class _Story:
    """The call as both ends see it: what is said, what is heard, and what happens to the servers."""

    view: DemoView | None
    carrier: LoopbackCarrier
    model: LoopbackModel
    one: _Server
    two: _Server
    call_sid: str = attrs.field(init=False)
    killed_at: float = 0.0
    _shown: int = 0
    """How many of the lines that were heard."""
    _known_shown: bool = False

    def __attrs_post_init__(self) -> None:
        self.call_sid = self.carrier.new_sid("CA")

    @property
    def streams(self) -> Sequence[StreamLog]:
        """The call's streams so far."""
        leg = self.carrier.calls.get(self.call_sid)
        return leg.log.streams if leg is not None else ()

    def line(self, text: str) -> None:
        """Something that happens to the servers."""
        if self.view is not None:
            self.view.line(text)

    def steps(self) -> list[Step]:
        """What the caller does, with what is shown of it."""
        before, after = (
            [shown for step in steps for shown in self._seen(step)] for steps in (CRASH.before, CRASH.after)
        )
        return [*before, Do(self._kill), *after]

    def _seen(self, step: Step) -> Iterator[Step]:
        if not isinstance(step, Speak):
            yield step
            return

        async def heard() -> None:
            self.show()

        async def said() -> None:
            if self.view is not None:
                self.view.note("caller_words", {"text": step.words, "final": True})

        yield from (Do(heard), step, Do(said))

    def heard(self) -> list[_Line]:
        """The lines that the caller has heard so far, in order."""
        return [found for number, stream in enumerate(self.streams) for found in _recognised(number, stream)]

    def known(self) -> list[str]:
        """What the second session was told first of the slots that were settled by then."""
        if len(self.model.sessions) < 2:
            return []
        created = [e["item"] for _, e in self.model.sessions[1].events if e["type"] == "conversation.item.create"]
        told = [item["content"][0].get("text", "") for item in created if item["type"] == "message"]
        guided = next((text for text in told if text.startswith("[Now:")), "")
        return [each for each in guided.splitlines() if each.endswith("(settled).")]

    def show(self) -> None:
        """Shows what was heard since the last time."""
        if not self._known_shown and (known := self.known()):
            self._known_shown = True
            for each in known:
                self.line(f"-- the model is told: {each}")
        heard = self.heard()
        for each in heard[self._shown :]:
            if self.view is not None:
                self.view.note("item_heard", {"item": "", "text": each.words, "interrupted": not each.whole})
        self._shown = len(heard)

    async def _kill(self) -> None:
        self.show()
        self.killed_at = trio.current_time()
        await self.one.killed()
        self.line("!! kill -9: server 1 is gone, in the middle of a sentence")
        await self.two.says("stream_left")
        self.line("-- server 2 answers POST /twilio/after: the stream is opened again")
        began = await self.two.says("call_began")
        self.line(f"-- server 2 has the caller; what was said is {'known' if began['known'] else 'not known'}")


@functools.cache
def _clips() -> list[tuple[str, str, bytes]]:
    """All that the agent can say here: names, words, audio."""
    lines = [line(name) for name in LINES if name.startswith("agent_")]
    prompts = [(name, WORDS[name], load_prompt(name).audio) for name in WORDS]
    return [*((each.name, each.text, each.audio) for each in lines), *prompts]


def _recognised(number: int, stream: StreamLog) -> list[_Line]:
    """The recorded lines in the audio that was heard of a stream."""
    heard = b"".join(piece.audio for piece in stream.playback.heard)
    found: list[tuple[int, _Line]] = []
    for name, words, audio in _clips():
        at = heard.find(audio[:RECOGNISED])
        while at >= 0:
            longest = min(len(audio), len(heard) - at)
            much = bisect.bisect(range(1, longest + 1), False, key=lambda n: audio[:n] != heard[at : at + n])
            whole = much == len(audio)
            shown = words if whole else words[: len(words) * much // len(audio)].rpartition(" ")[0]
            found.append((at, _Line(number, name, shown, whole)))
            at = heard.find(audio[:RECOGNISED], at + much)
    return [each for _, each in sorted(found, key=lambda one: one[0])]


# ---------------------------------------------------------------- what came of it


def _result(
    call: CarriedCall,
    record: dict[str, Any],
    story: _Story,
    rest: LoopbackRest,
    backend: LoopbackBackend,
    silence_at_most: float,
) -> dict[str, Any]:
    dialogue = (record.get("story") or {}).get("dialogue") or {}
    again = call.streams[1].playback.heard if len(call.streams) > 1 else []
    result: dict[str, Any] = {
        "flow": APPOINTMENT.flow,
        "call_sid": call.call_sid,
        "disposition": record.get("disposition"),
        "reason": record.get("reason"),
        "seconds": round(call.ended - call.began, 1),
        "killed_at": round(story.killed_at - call.began, 1),
        "heard_nothing_ms": round((again[0].at - story.killed_at) * 1000) if again else None,
        "servers": [{"pid": server.pid, "status": server.status} for server in (story.one, story.two)],
        "known": story.known(),
        "heard": [attrs.asdict(each) for each in story.heard()],
        "state": dialogue.get("at", ""),
        "slots": {
            name: {"value": held.get("text", ""), "status": held.get("status", "missing")}
            for name, held in (dialogue.get("slots") or {}).items()
        },
        "texts": [{"to": m.to, "text": m.text, "status": m.status} for m in rest.messages],
        "deliveries": [
            {"id": d.id, "slots": d.body.get("slots"), "transcript": d.body.get("transcript")}
            for d in backend.deliveries
        ],
        "carrier": {
            "webhooks": [f"{path} {status}" for path, status in call.posts],
            "verbs": [type(verb).__name__ for verb in call.verbs],
            "errors": call.errors,
        },
    }
    problems = [*_problems(result, call, story, silence_at_most), *demo.unfinished(APPOINTMENT, result, rest, backend)]
    return result | {"problems": problems}


def _problems(result: dict[str, Any], call: CarriedCall, story: _Story, silence_at_most: float) -> list[str]:
    """Everything that did not go as it should, but for what was to be done for the caller."""
    problems: list[str] = []

    def must(good: bool, what: str) -> None:
        if not good:
            problems.append(what)

    heard, sessions = story.heard(), story.model.sessions
    must(not call.errors and not any(each.warnings for each in call.streams), f"the carrier complained: {call.errors}")
    must(not any(each.errors for each in sessions), f"the model complained: {[each.errors for each in sessions]}")
    must(
        (len(call.streams), len(sessions)) == (2, 2), f"{len(call.streams)} streams, {len(sessions)} sessions, not two"
    )
    must(story.one.status == -signal.SIGKILL, f"server 1 ended with {story.one.status}, not by the kill")
    must(story.two.status == 0, f"server 2 ended with {story.two.status}")
    wrong = [each["event"] for each in story.two.lines if each.get("level") == "error"]
    must(not wrong, f"server 2 had trouble: {wrong}")
    silence = result["heard_nothing_ms"]
    must(silence is not None and silence < silence_at_most * 1000, f"the caller heard nothing for {silence} ms")
    last = [(each.name, each.whole) for each in heard if each.stream == 0][-1:]
    must(last == [(CRASH.cut_in, False)], f"the last that was heard of server 1 is {last}")
    must([each.name for each in heard if each.stream == 1][:1] == ["reconnected"], "nobody said that they were cut off")
    names = [each.name for each in heard if each.stream or each.name != CRASH.cut_in]
    for once in ("greeting", "reconnected", *CRASH.questions):
        must(names.count(once) == 1, f"{once} was heard {names.count(once)} times")
    must(
        [each.partition(":")[0] for each in result["known"]] == list(CRASH.known),
        f"the model was told {result['known']}",
    )
    said = [turn["heard"] for each in result["deliveries"] for turn in each["transcript"] if turn["who"] == "caller"]
    must(said == list(CRASH.said), f"the backend was told that the caller said {said}")
    must(result["disposition"] == APPOINTMENT.disposition, f"the disposition is {result['disposition']}")
    must(bool(call.verbs) and isinstance(call.verbs[-1], Hangup), "the call did not end in <Hangup>")
    return problems


def _summary(result: dict[str, Any]) -> None:
    print()
    if "call_sid" in result:
        print(f"call        {result['call_sid']}, {result['seconds']} s")
        pid, after = result["servers"][0]["pid"], result["killed_at"]
        print(f"killed      server 1 (process {pid}) after {after} s; server 2 had the caller from then on")
        print(f"silence     the caller heard nothing for {result['heard_nothing_ms']} ms")
        print(f"left by     {result['disposition']}: {result['reason']}")
        print(f"flow        {result['flow']}: ended at {result['state']!r}")
        for name, held in result["slots"].items():
            print(f"slot        {name}: {held['value']} ({held['status']})")
        for text in result["texts"]:
            print(f"SMS         to {text['to']}: {text['text']}")
        print(f"CRM         {len(result['deliveries'])} delivery, with what was said on both servers")
        print(f"recording   {result['recording']} (caller left, agent as heard right)")
        print(f"record      {result['store']}")
    for problem in result["problems"]:
        print(f"PROBLEM: {problem}")
    print("The call went as it should." if not result["problems"] else "The call did not go as it should.")
