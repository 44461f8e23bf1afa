"""Errands: what the agent does for the caller while it goes on talking: text messages, tools written in Python.

Each is done at most once: its key, which names the call, the state and the visit, is claimed in the store before anything is
sent. Who finds it claimed already, after a resumption elsewhere, reports what came of it and does nothing.
"""

import datetime
import math
from collections.abc import Iterable, Mapping
from typing import cast

import attrs
import trio

from actors.mailbox import Mailbox, Outbox, WhenFull
from actors.messages import Errand, ErrandDone, RunPython, SendText
from actors.notebook import Notebook
from actors.ports import ErrandPort

QUEUE = 32
"""Errands of one call that may wait: a flow has a few, a model that has lost its mind would have many."""
AT_ONCE = 4
ERRAND_AT_MOST = 20.0
"""Seconds for one errand, the questions to the store included."""
STORE_SECONDS = 6.0
"""Of them for the store, beside a tool of Python."""
ERRANDS_AT_MOST = 64
"""Errands of one call; what comes after is not done."""
TRIES = 3
"""Times that a tool with an effect may be tried with the same arguments, as long as it failed."""
RESULT_AT_MOST = 16_000
"""Characters of a tool's result. The model reads it anew with each turn, and a message that is too long ends its session,
and the next one, which is told the same."""
ERROR_AT_MOST = 500
"""Characters of what a tool raised."""
TOO_LONG = "the result is too long, this is its beginning"
NOT_SEEN = "it was begun before, and what came of it was not seen"
BEFORE = "it was carried out before, and not again"

Came = tuple[str, Mapping[str, object]]


class Errands:
    """Carries errands out, a few at a time, outside the audio path.

    Mailbox in: `inbox` (a full one means a model or flow gone mad: the call is ended). Out: `flow`, an `ErrandDone` for each.
    Ended by cancelling it; `idle` waits for those that are under way.
    """

    def __init__(self, call_sid: str, port: ErrandPort, notebook: Notebook) -> None:
        self.inbox: Mailbox[Errand] = Mailbox("errands", QUEUE, WhenFull.FATAL)
        self._call_sid = call_sid
        self._port = port
        self._notebook = notebook
        self._places = trio.CapacityLimiter(AT_ONCE)
        self._taken = 0
        self._under_way = 0
        self._settled = trio.Event()
        self._running: dict[str, trio.Event] = {}
        """Tools with an effect that are being run, by what they are claimed under: set when what came of them is kept."""

    async def run(self, flow: Outbox[ErrandDone]) -> None:
        """Until cancelled."""
        async with trio.open_nursery() as self._nursery:
            while True:
                errand = await self.inbox.receive()
                self._taken += 1
                if self._taken > ERRANDS_AT_MOST:
                    self._done(ErrandDone(errand.key, errand.name, "failed", {"reason": "too many in one call"}), flow)
                    continue
                self._under_way += 1
                self._nursery.start_soon(self._carry_out, errand, flow)

    async def idle(self) -> None:
        """Until nothing is under way or waiting."""
        while self._under_way or self.inbox.stats().taken_in > self._taken:
            await self._settled.wait()

    async def _carry_out(self, errand: Errand, flow: Outbox[ErrandDone]) -> None:
        outcome, detail = "unknown", cast("Mapping[str, object]", {"reason": "it took too long"})
        at_most = max(ERRAND_AT_MOST, errand.tool.seconds + STORE_SECONDS if isinstance(errand, RunPython) else 0)
        async with self._places:
            with trio.move_on_after(at_most):
                if isinstance(errand, SendText):
                    outcome, detail = await self._port.send_text(
                        self._call_sid, errand.claim or errand.key, errand.to, errand.text
                    )
                else:
                    outcome, detail = await self._run_tool(errand)
        self._under_way -= 1
        self._done(ErrandDone(errand.key, errand.name, outcome, detail), flow)

    async def _run_tool(self, errand: RunPython) -> Came:
        if errand.tool.once:
            return await self._run_once(errand)
        if not await self._port.claim(self._call_sid, errand.key, errand.name):
            return "unknown", {"reason": NOT_SEEN}
        outcome, detail = await self._run(errand)
        await self._port.settle(self._call_sid, errand.key, outcome)
        return outcome, detail

    async def _run_once(self, errand: RunPython) -> Came:
        """A tool with an effect: who asks for it again with the same arguments is told what came of it the first time."""
        outcome: Came = ("unknown", {"reason": NOT_SEEN})
        for number in range(TRIES):
            key = errand.claim(number)
            if await self._port.claim(self._call_sid, key, errand.name):
                kept = self._running[key] = trio.Event()
                try:
                    outcome = await self._run(errand)
                    await self._port.settle(self._call_sid, key, outcome[0], outcome[1])
                finally:
                    kept.set()
                    del self._running[key]
                return outcome
            if key in self._running:
                await self._running[key].wait()
            outcome = _again(await self._port.came(self._call_sid, key))
            if outcome[0] != "failed":
                break
        return outcome

    async def _run(self, errand: RunPython) -> Came:
        """What came of it within its time. One that cannot be cancelled then (it waits for a thread) is not waited for."""
        came: list[Came] = []
        over, working = trio.Event(), trio.CancelScope()

        async def work() -> None:
            with working:
                came.append(await self._result(errand))
            over.set()

        self._nursery.start_soon(work)
        try:
            with trio.move_on_after(errand.tool.seconds):
                await over.wait()
        finally:
            working.cancel("its time is over")
        return came[0] if came else ("unknown", {"reason": f"it took over {errand.tool.seconds:g} s"})

    async def _result(self, errand: RunPython) -> Came:
        """The flow's own code: what it raises is its failure, not the call's."""
        try:
            detail = _as_mapping(await errand.tool.run(**errand.arguments))
            text = str(detail)
        except Exception as error:  # a flow's tool may raise anything; it is told, recorded, and the call goes on
            why = _readable(f"{type(error).__name__}: {error}")[:ERROR_AT_MOST]
            self._notebook.trouble("tool", f"{errand.name}: {why}")
            return "failed", {"reason": why}
        if len(text) > RESULT_AT_MOST:
            told = f"a result of {len(text)} characters, of which {RESULT_AT_MOST} are told"
            self._notebook.trouble("tool", f"{errand.name}: {told}")
            return "done", {"reason": TOO_LONG, "beginning": text[:RESULT_AT_MOST]}
        return "done", detail

    def _done(self, done: ErrandDone, flow: Outbox[ErrandDone]) -> None:
        self._notebook.errand(done.name, done.outcome, str(done.detail.get("reason", "")))
        flow.post(done)
        self._settled.set()
        self._settled = trio.Event()


def _again(came: Came) -> Came:
    """What is told to who asks a second time."""
    outcome, detail = came
    if outcome == "unknown":
        return outcome, {"reason": NOT_SEEN, **detail}
    return outcome, ({"reason": BEFORE, **detail} if outcome == "done" else detail)


def _as_mapping(result: object) -> dict[str, object]:
    """What a tool returned, as JSON knows it."""
    plain = _plain(result)
    return cast("dict[str, object]", plain) if isinstance(plain, dict) else {"result": plain}


def _plain(value: object) -> object:
    if isinstance(value, str):
        return _readable(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, Mapping):
        return {_readable(str(key)): _plain(inner) for key, inner in cast("Mapping[object, object]", value).items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(inner) for inner in cast("Iterable[object]", value)]
    if attrs.has(type(value)):
        return _plain(attrs.asdict(cast("attrs.AttrsInstance", value), recurse=False))
    return value.isoformat() if isinstance(value, datetime.date | datetime.time) else _readable(str(value))


def _readable(text: str) -> str:
    """Without the halves of characters that a text may have in Python, and nowhere else: a text that was cut in an emoji."""
    return text.encode("utf-8", "replace").decode()
