"""Does anything stay behind? Thousands of short calls with every kind of ending, in a real server process.

    python -m tests.bench.soak --calls 2000 --at-once 50

What the process holds is looked at whenever no call is up: before, when it is warm (its memories of the last calls are
bounded, and full by then), and in steps to the end. The exit status is 1 if memory grows by more than `--grow-kb` for
each 1,000 calls after that, or if a descriptor, a thread or a task more is held than when it was warm.
"""

import argparse
import base64
import contextlib
import json
import os
import random
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import attrs
import trio
from twilio.request_validator import RequestValidator

from tests.bench.calls import SERVERS, a_server, memory
from tests.bench.ends import ACCOUNT, AUTH_TOKEN, Wire, open_wire
from transport.loopback.twiml_reader import Connect, read
from transport.media_lane import accept, read_upgrade

SETTLE = 4.0
"""Seconds that what is left of the last calls has to go."""
PATIENCE = 30.0
"""Seconds that a call may take; then it hangs."""
WARM = 2200
"""Calls until the memories of a process are full (`transport.records.REMEMBERED` and others)."""
STEPS = 4
SILENCE = base64.b64encode(b"\xff" * 160).decode()
FORMAT = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}


@attrs.frozen
class Sample:
    """What the process holds after so many calls."""

    calls: int
    rss_kb: int
    descriptors: int
    threads: int
    tasks: int


def main() -> None:
    """Runs the calls, prints the table, and says by the exit status whether anything stayed behind."""
    parser = argparse.ArgumentParser(description="Looks for what stays behind of thousands of short calls.")
    parser.add_argument("--calls", type=int, default=2000, help="calls after the warm-up")
    parser.add_argument("--at-once", type=int, default=50, help="calls at a time")
    parser.add_argument("--warm-up", type=int, default=WARM, help="calls before anything is compared")
    parser.add_argument("--grow-kb", type=int, default=1500, help="what memory may grow for each 1,000 calls")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[-1]})
    samples, endings = trio.run(_soak, options.calls, options.warm_up, options.at_once, options.seed, cores[0])
    print("endings: " + ", ".join(f"{name} {times}" for name, times in sorted(endings.items())))
    sys.exit(_judge(samples, options.grow_kb, endings["failed"]))


def _judge(samples: list[Sample], grow_kb: int, failed: int) -> int:
    warm, last = samples[1], samples[-1]
    growth = (last.rss_kb - warm.rss_kb) * 1000 / max(1, last.calls - warm.calls)
    print(f"memory after the warm-up: {growth:+.0f} kB for each 1,000 calls ({grow_kb} are allowed)")
    wrong = [f"{failed} calls went wrong"] if failed else []
    wrong += [f"memory grows by {growth:.0f} kB"] if growth > grow_kb else []
    for name in ("descriptors", "threads", "tasks"):
        more = getattr(last, name) - getattr(warm, name)
        wrong += [f"{more} {name} stayed behind"] if more > 0 else []
    print("; ".join(wrong) or "nothing stayed behind")
    return 1 if wrong else 0


async def _soak(calls: int, warm_up: int, at_once: int, seed: int, core: int) -> tuple[list[Sample], "Counter[str]"]:
    samples: list[Sample] = []
    endings: Counter[str] = Counter()
    rng = random.Random(seed)
    model = Model(rng)
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, model.serve, listeners)
        port = listeners[0].socket.getsockname()[1]
        async with a_server(SERVERS["triode"], port, {core}, []) as (process, url):
            print(f"{'calls':>7}{'RSS kB':>9}{'descriptors':>13}{'threads':>9}{'tasks':>7}")
            done = 0
            for target in (at_once, warm_up, *(warm_up + calls * step // STEPS for step in range(1, STEPS + 1))):
                await _batch(url, done, target, at_once, rng, endings)
                done = target
                samples.append(await _look(process.pid, url, done))
                seen = samples[-1]
                row = f"{seen.calls:>7}{seen.rss_kb:>9}{seen.descriptors:>13}{seen.threads:>9}{seen.tasks:>7}"
                print(row, flush=True)
        nursery.cancel_scope.cancel("soaked")
    return samples, endings


async def _batch(url: str, first: int, last: int, at_once: int, rng: random.Random, endings: "Counter[str]") -> None:
    numbers = iter(range(first, last))

    async def caller() -> None:
        for number in numbers:
            name = rng.choice(list(ENDINGS))
            try:
                with trio.fail_after(PATIENCE):
                    await ENDINGS[name](Phone(url, number))
                    await Phone(url, number).post("/twilio/status", CallStatus="completed", SequenceNumber="9")
            except* (OSError, ValueError, AssertionError, trio.BrokenResourceError, trio.TooSlowError) as errors:
                print(f"call {number} ({name}): {errors.exceptions[0]!r}", file=sys.stderr)
                name = "failed"
            endings[name] += 1

    async with trio.open_nursery() as nursery:
        for _ in range(at_once):
            nursery.start_soon(caller)


async def _look(pid: int, url: str, calls: int) -> Sample:
    """What is held when no call is up."""
    with trio.fail_after(60):
        while _metric(await _ask(url, "GET", "/metrics"), "triode_calls_active"):  # noqa: ASYNC110 - another process
            await trio.sleep(0.2)
    await trio.sleep(SETTLE)
    tasks = _metric(await _ask(url, "GET", "/metrics"), "triode_tasks")
    process = Path(f"/proc/{pid}")
    threads = int((process / "status").read_text().partition("Threads:")[2].split()[0])
    return Sample(calls, memory(pid) // 1024, len(os.listdir(process / "fd")), threads, round(tasks))


def _metric(text: str, name: str) -> float:
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(name + " "))


async def _ask(url: str, method: str, path: str, body: bytes = b"", headers: str = "") -> str:
    """The body of the answer. Raises ValueError if it is a refusal."""
    parts = urlsplit(url)
    head = f"{method} {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n{headers}"
    async with await trio.open_tcp_stream(parts.hostname or "", parts.port or 80) as stream:
        await stream.send_all(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = b""
        while more := await stream.receive_some(65536):
            answer += more
    if not answer.startswith(b"HTTP/1.1 2"):
        raise ValueError(f"{path}: {answer[:60]!r}")
    return answer.partition(b"\r\n\r\n")[2].decode()


# ---------------------------------------------------------------- the caller


@attrs.frozen
class Phone:
    """One call of the carrier, as far as it is needed here."""

    url: str
    number: int

    @property
    def call_sid(self) -> str:
        """Its name."""
        return f"CA{self.number:032x}"

    @property
    def stream_sid(self) -> str:
        """The name of its only stream."""
        return f"MZ{self.number:032x}"

    async def post(self, path: str, **fields: str) -> str:
        """A webhook."""
        form = {"CallSid": self.call_sid, "From": f"+1415555{self.number % 10000:04}", "To": "+14155550101", **fields}
        signature = RequestValidator(AUTH_TOKEN).compute_signature(self.url + path, form)
        headers = f"Content-Type: application/x-www-form-urlencoded\r\nX-Twilio-Signature: {signature}\r\n"
        return await _ask(self.url, "POST", path, urlencode(form).encode(), headers)

    async def ring(self) -> Connect:
        """What the voice webhook answers."""
        (connect,) = [v for v in read(await self.post("/twilio/voice"), self.url) if isinstance(v, Connect)]
        return connect

    async def open(self, token: str = "") -> Wire:
        """The stream, started."""
        connect = await self.ring()
        wire = await open_wire(connect.url)
        start = {"accountSid": ACCOUNT, "callSid": self.call_sid, "streamSid": self.stream_sid, "mediaFormat": FORMAT}
        start |= {"customParameters": {"token": token or connect.parameters["token"]}}
        await wire.send(json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"}))
        await self.say(wire, "start", **start)
        return wire

    async def say(self, wire: Wire, event: str, **body: Any) -> None:
        """A message of the stream."""
        await wire.send(json.dumps({"event": event, "streamSid": self.stream_sid, event: body}))

    async def talk(self, wire: Wire, seconds: float) -> None:
        """Silence on the line, for so long; what comes back is read."""
        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_hear, wire)
                while True:
                    await self.say(wire, "media", track="inbound", timestamp="100", payload=SILENCE)
                    await trio.sleep(0.1)

    async def stop(self, wire: Wire) -> None:
        """The caller hangs up."""
        await self.say(wire, "stop", callSid=self.call_sid)
        await _hear(wire)
        await wire.aclose()


async def _hear(wire: Wire) -> None:
    """Until the server closes."""
    async for _ in wire.messages():
        pass


async def _at_once(phone: Phone) -> None:
    await phone.stop(await phone.open())


async def _after_a_word(phone: Phone) -> None:
    wire = await phone.open()
    await phone.talk(wire, 1.0)
    await phone.stop(wire)


async def _cut(phone: Phone) -> None:
    wire = await phone.open()
    await phone.talk(wire, 0.5)
    await wire.aclose()


async def _refused(phone: Phone) -> None:
    wire = await phone.open("1.2.n0...3")
    await _hear(wire)
    await wire.aclose()


async def _keypad(phone: Phone) -> None:
    wire = await phone.open()
    await phone.talk(wire, 0.3)
    await phone.say(wire, "dtmf", track="inbound_track", digit="0")
    with trio.move_on_after(2):
        await _hear(wire)
    await wire.aclose()
    await phone.post("/twilio/after", CallStatus="in-progress")
    await phone.post("/twilio/ivr/choice?tries=0", Digits="2")


async def _never_opened(phone: Phone) -> None:
    await phone.ring()


async def _rubbish(phone: Phone) -> None:
    wire = await phone.open()
    for message in ("{", '{"event":"media"}', "\x00", "[" * 5000):
        await wire.send(message)
    await phone.stop(wire)


async def _menu(phone: Phone) -> None:
    await phone.post("/twilio/ivr/menu?why=silent&tries=1")
    await phone.post("/twilio/ivr/recorded", RecordingSid=f"RE{phone.number}", RecordingDuration="3")


ENDINGS: dict[str, Callable[[Phone], Awaitable[None]]] = {
    "hung up at once": _at_once,
    "hung up after a word": _after_a_word,
    "stream cut": _cut,
    "token refused": _refused,
    "keypad": _keypad,
    "stream never opened": _never_opened,
    "rubbish": _rubbish,
    "menu only": _menu,
}


# ---------------------------------------------------------------- the model


@attrs.frozen
class Model:
    """Models that say a word to whatever they hear, refuse, fall silent, are lost, or end the call."""

    rng: random.Random

    async def serve(self, stream: trio.SocketStream) -> None:
        """One connection."""
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self._converse(stream)
        await trio.aclose_forcefully(stream)

    async def _converse(self, stream: trio.SocketStream) -> None:
        mood = self.rng.choice(["talks", "talks", "talks", "is silent", "is lost", "ends the call", "refuses"])
        head = b""
        while (upgrade := read_upgrade(head)) is None:
            more = await stream.receive_some(65536)
            if not more:
                return
            head += more
        if mood == "refuses":
            return
        await stream.send_all(accept(upgrade.key))
        wire = Wire(stream, server=True)
        await wire.send('{"type":"session.created","session":{"id":"sess","type":"realtime"}}')
        heard = 0
        async for message in wire.messages():
            event = json.loads(message)
            if event["type"] == "session.update":
                await wire.send(json.dumps({"type": "session.updated", "session": event["session"]}))
            elif event["type"] == "input_audio_buffer.append":
                heard += 1
                if heard == 2 and mood == "is lost":
                    return
                if heard == 2 and mood != "is silent":
                    await self._answer(wire, ends=mood == "ends the call")

    async def _answer(self, wire: Wire, *, ends: bool) -> None:
        call = {"type": "function_call", "call_id": "call", "name": "end_call", "arguments": "{}"}
        where = {"response_id": "resp", "item_id": "item", "output_index": 0, "content_index": 0}
        for event in (
            {"type": "input_audio_buffer.speech_started", "item_id": "turn"},
            {"type": "input_audio_buffer.speech_stopped", "item_id": "turn"},
            {"type": "response.created", "response": {"id": "resp"}},
            {"type": "response.output_audio_transcript.delta", **where, "delta": "Yes?"},
            {"type": "response.output_audio.delta", **where, "delta": base64.b64encode(b"\x7f" * 1600).decode()},
            {"type": "response.output_audio.done", **where},
            {
                "type": "response.done",
                "response": {"id": "resp", "status": "completed", "output": [call] if ends else []},
            },
        ):
            await wire.send(json.dumps(event))


if __name__ == "__main__":
    main()
