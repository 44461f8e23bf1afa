"""A whole call on the stage: the actors of the product, everything outside played by the fakes, on virtual time."""

import datetime
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import attrs
import trio
from trio.testing import wait_all_tasks_blocked

from actors import fsm
from actors.call import Call, CallPlan
from actors.flow import Words
from actors.framer import Pace
from actors.messages import Disposition, SessionConfig, ToolCall, TurnDetection
from actors.notebook import CallRecord, Listener, Notebook
from actors.realtime_link import LinkLimits
from tests.kit.carrier import FakeCarrier
from tests.kit.model import FakeModel, FakeSession

FRAME = 160
"""Bytes in a frame of 20 ms."""
PACE = Pace(frame_ms=20, lead_ms=200, mark_ms=240)
LIMITS = LinkLimits(connect=4.0, session=3.0, silence=4.0, hold_back=15.0)
SESSION = SessionConfig(
    voice="marin",
    instructions="Be brief.",
    tools=(),
    turn_detection=TurnDetection(0.6, 300, 500),
    transcription="",
    language="en",
    reasoning="low",
    max_output_tokens=1024,
)


def ms(milliseconds: float, fill: bytes = b"\x11") -> bytes:
    """Audio of that length."""
    return fill * round(milliseconds * 8)


PROMPTS: Mapping[str, Words] = {
    "greeting": Words("Hello this is the desk.", ms(1000, b"G")),
    "goodbye": Words("Goodbye then.", ms(600, b"B")),
    "transfer": Words("I am connecting you.", ms(800, b"T")),
    "resume": Words("We were cut off.", ms(500, b"R")),
}
RULES = fsm.Rules(
    greeting="greeting",
    greeting_seconds=1.0,
    facts={"hours": "nine to five"},
    max_silence=4.0,
    max_seconds=600.0,
)
PLAN = CallPlan(session=SESSION, rules=RULES, prompts=PROMPTS, pace=PACE, limits=LIMITS)


def a_notebook(listener: Listener | None = None) -> Notebook:
    """A notebook on Trio's clock."""
    record = CallRecord("CA1", "MZ1", datetime.datetime.now(datetime.UTC))
    return Notebook(record, trio.current_time, SESSION.turn_detection.silence_ms, listener)


def a_tool_call(name: str, call_id: str = "call_1", **arguments: object) -> ToolCall:
    """The model asks for a tool."""
    return ToolCall(call_id, name, arguments)


class RecordShelf:
    """`RecordPort`: keeps everything, with the order and the time of it."""

    def __init__(self) -> None:
        self.dispositions: list[tuple[float, str, Disposition]] = []
        self.records: list[tuple[float, CallRecord]] = []
        self.disposition_takes = 0.0
        self.record_takes = 0.0

    async def keep_disposition(self, call_sid: str, disposition: Disposition) -> None:
        """See `RecordPort`."""
        await trio.sleep(self.disposition_takes)
        self.dispositions.append((trio.current_time(), call_sid, disposition))

    async def keep_record(self, record: CallRecord) -> None:
        """See `RecordPort`."""
        await trio.sleep(self.record_takes)
        self.records.append((trio.current_time(), record))


@attrs.define
class Stage:
    """One running call and everyone around it."""

    call: Call
    carrier: FakeCarrier
    model: FakeModel
    shelf: RecordShelf
    resumed: bool
    began: float
    notes: list[tuple[float, str, dict[str, object]]]
    over: trio.Event = attrs.field(factory=trio.Event)
    record: CallRecord | None = None

    async def finished(self) -> CallRecord:
        """Waits for the call to be over; its record."""
        await self.over.wait()
        assert self.record is not None
        return self.record

    async def session(self) -> FakeSession:
        """Waits for the model to be ready."""
        session = await self.model.session()
        await wait_all_tasks_blocked()
        return session

    async def greeted(self) -> FakeSession:
        """Waits for the model to be ready and for the greeting to have been heard."""
        session = await self.session()
        await trio.sleep_until(self.began + len(PROMPTS["greeting"].audio) / 8000 + 0.1)
        return session

    def now(self) -> float:
        """Seconds since the call began."""
        return trio.current_time() - self.began

    async def _run(self) -> None:
        self.record = await self.call.run(resumed=self.resumed)
        self.over.set()


@asynccontextmanager
async def a_call(
    *,
    carrier: FakeCarrier | None = None,
    model: FakeModel | None = None,
    shelf: RecordShelf | None = None,
    plan: CallPlan = PLAN,
    resumed: bool = False,
    within: float = 3600.0,
) -> AsyncIterator[Stage]:
    """A call that runs beside the block. When the block is done the call must end by itself, and leave nothing behind."""
    with trio.fail_after(within):
        async with trio.open_nursery() as nursery:
            carrier = carrier or FakeCarrier(line=True)
            model = model or FakeModel()
            shelf = shelf or RecordShelf()
            notes: list[tuple[float, str, dict[str, object]]] = []
            began = trio.current_time()

            def listen(what: str, values: dict[str, object]) -> None:
                notes.append((trio.current_time() - began, what, values))

            call = Call("CA1", "MZ1", plan, carrier, model, shelf, listen)
            stage = Stage(call, carrier, model, shelf, resumed, began, notes)
            tasks = trio.lowlevel.current_statistics().tasks_living
            nursery.start_soon(stage._run)
            yield stage
            await stage.over.wait()
            await wait_all_tasks_blocked()
            assert trio.lowlevel.current_statistics().tasks_living == tasks, "the call left a task behind"
