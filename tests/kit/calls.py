"""A whole call on the stage: the actors of the product, everything outside played by the fakes, on virtual time."""

import datetime
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import attrs
import trio
from trio.testing import wait_all_tasks_blocked

from actors import call_state
from actors.call import Call, CallPlan
from actors.flow import Words
from actors.framer import Pace
from actors.mailbox import Mailbox, WhenFull
from actors.messages import (
    CallBegan,
    CallerAudio,
    CallerWaits,
    Disposition,
    LinkLost,
    Role,
    SessionConfig,
    ToolCall,
    TurnDetection,
)
from actors.mulaw import silence, to_base64
from actors.notebook import CallRecord, Listener, Notebook
from actors.realtime_link import RealtimeLink
from actors.talk import FlowInput, FramerInput, LinkLimits, Surroundings, WatcherInput
from actors.waiting import FILLER_SHARE
from conf.flow import Flow
from tests.kit.carrier import FakeCarrier
from tests.kit.model import FakeModel, FakeSession, Place

FRAME = 160
"""Bytes in a frame of 20 ms."""
QUIET = to_base64(silence(20))
"""The payload of a frame without a sound."""
LOUD = to_base64(bytes([0x00, 0x80] * 80))
"""The payload of a frame as loud as can be."""
WALL = datetime.datetime(2026, 11, 24, 14, 30, tzinfo=datetime.UTC)
"""When a call begins, by the wall clock."""
PACE = Pace(frame_ms=20, lead_ms=200, mark_ms=240)
LIMITS = LinkLimits(connect=4.0, session=3.0, silence=4.0, hold_back=15.0)
REPLACING = attrs.evolve(LIMITS, replace=8.0)
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
MANUAL = attrs.evolve(
    SESSION, turn_detection=attrs.evolve(SESSION.turn_detection, create_response=False, interrupt_response=False)
)
"""Of a model that neither answers nor breaks off by itself."""
SILENCE = LIMITS.silence
TURN_END = SESSION.turn_detection.silence_ms / 1000
PROBE_AFTER = TURN_END + SILENCE / 2
LOST_AFTER = TURN_END + SILENCE
"""Seconds from the last of what a caller says to the end of their turn, to the probe, to the loss of a session that is silent."""
FILLER_AFTER = FILLER_SHARE * SILENCE
"""Seconds from the end of their turn to the filler."""
SAID = [(Role.AGENT, "Hello.", "prompt_greeting_1"), (Role.CALLER, "Hi, I am Anna.", "u0")]
"""What was heard in a call before its session is replaced."""


def ms(milliseconds: float, fill: bytes = b"\x11") -> bytes:
    """Audio of that length."""
    return fill * round(milliseconds * 8)


PROMPTS: Mapping[str, Words] = {
    "greeting": Words("Hello this is the desk.", ms(1000, b"G")),
    "goodbye": Words("Goodbye then.", ms(600, b"B")),
    "transfer": Words("I am connecting you.", ms(800, b"T")),
    "resume": Words("We were cut off.", ms(500, b"R")),
    "reconnected": Words("We were cut off for a moment.", ms(400, b"C")),
    "welcome_back": Words("Hello again.", ms(700, b"W")),
    "not_taken": Words("Nobody could take your call.", ms(900, b"N")),
    "message": Words("Please leave a message.", ms(750, b"M")),
    "one_moment": Words("One moment.", ms(300, b"O")),
    "still_here": Words("I am still here.", ms(350, b"I")),
    "apology": Words("I am having trouble.", ms(650, b"A")),
}
FLOW = Flow("desk", "Be brief.", facts={"hours": "nine to five"}, idle_seconds=0)
"""A flow without states of its own: the agent talks, and that is all. It minds no silence."""
RULES = call_state.Rules(flow=FLOW, greeting_seconds=1.0, max_silence=4.0, max_seconds=600.0)
PLAN = CallPlan(session=SESSION, rules=RULES, prompts=PROMPTS, pace=PACE, limits=LIMITS)


def a_notebook(listener: Listener | None = None) -> Notebook:
    """A notebook on Trio's clock."""
    record = CallRecord("CA1", "MZ1", datetime.datetime.now(datetime.UTC))
    return Notebook(record, trio.current_time, SESSION.turn_detection.silence_ms, listener)


def a_line(**options: Callable[[], float]) -> FakeCarrier:
    """A carrier whose telephone line is up, and quiet."""
    return FakeCarrier(line=True, voice=QUIET, **options)


def a_tool_call(name: str, call_id: str = "call_1", /, **arguments: object) -> ToolCall:
    """The model asks for a tool."""
    return ToolCall(call_id, name, arguments)


class LinkDesk:
    """A link alone, running, with the mailboxes of those it tells."""

    def __init__(
        self,
        nursery: trio.Nursery,
        *places: Place,
        config: SessionConfig = SESSION,
        limits: LinkLimits = LIMITS,
        model: FakeModel | None = None,
    ) -> None:
        self.model = model or FakeModel(*places)
        self.notebook = a_notebook()
        self.framer: Mailbox[FramerInput] = Mailbox("framer", 1000, WhenFull.FATAL)
        self.flow: Mailbox[FlowInput] = Mailbox("flow", 1000, WhenFull.FATAL)
        self.watcher: Mailbox[WatcherInput] = Mailbox("watcher", 1000, WhenFull.FATAL)
        self.speech_until = float("-inf")
        """When the agent's speech will be over: set by tests, as the Framer would know it."""
        self.contested = False
        """Whether the watcher judges who begins to speak now: set by tests, as the rest of what it knows."""
        self.suspected: float | None = None
        self.echoing = False
        around = Surroundings(
            self.framer,
            self.flow,
            self.watcher,
            speech_until=lambda: self.speech_until,
            recall=self.recall,
            contested=lambda: self.contested,
            suspected=lambda: self.suspected,
            echoing=lambda: self.echoing,
        )
        self.link = RealtimeLink(self.model, config, limits, self.notebook, around)
        self.began = trio.current_time()
        self.scope = trio.CancelScope()
        self.over = trio.Event()
        self.ended_at: float | None = None
        """Seconds from the beginning to the end of the link."""
        nursery.start_soon(self._run)

    async def up(self) -> FakeSession:
        """Waits for the session to be agreed on; what is told of that is taken out of the flow's mailbox."""
        with trio.fail_after(100):
            session = await self.model.session()
            await wait_all_tasks_blocked()
        self.flow.take_all()
        return session

    async def next(self, number: int = 2) -> FakeSession:
        """The session that took the place of another, briefed."""
        with trio.fail_after(100):
            session = await self.model.session(number)
            await trio.sleep(0.01)
            await wait_all_tasks_blocked()
        return session

    async def lost(self, within: float = 1000.0) -> LinkLost:
        """Waits for the link to be over; the flow must have been told so, once."""
        with trio.fail_after(within):
            await self.over.wait()
        (lost,) = (event for event in self.flow.take_all() if isinstance(event, LinkLost))
        return lost

    async def caller(self, milliseconds: int, payload: str = LOUD) -> None:
        """The caller's line delivers so much audio, at the speed of sound."""
        for _ in range(milliseconds // 20):
            self.link.overhear(CallerAudio(payload, 0))
            self.link.audio.post(CallerAudio(payload, 0))
            await trio.sleep(0.02)

    def now(self) -> float:
        """Seconds since the link began."""
        return trio.current_time() - self.began

    def fillers(self) -> list[int]:
        """Which fillers the caller's waiting called for since the flow was last looked at."""
        return [event.times for event in self.flow.take_all() if isinstance(event, CallerWaits)]

    @property
    def troubles(self) -> list[str]:
        """What the record has of errors."""
        return [f"{trouble.kind}: {trouble.text}" for trouble in self.notebook.record.errors]

    async def _run(self) -> None:
        with self.scope:
            await self.link.run()
        self.ended_at = self.now()
        self.over.set()

    def recall(self) -> Sequence[tuple[Role, str, str]]:
        """What was heard in the call so far."""
        return ()


class ReplacingDesk(LinkDesk):
    """A link that replaces sessions, in a call in which SAID was heard."""

    def __init__(
        self,
        nursery: trio.Nursery,
        *places: Place,
        config: SessionConfig = SESSION,
        limits: LinkLimits = REPLACING,
        model: FakeModel | None = None,
    ) -> None:
        self.said: Sequence[tuple[Role, str, str]] = SAID
        super().__init__(nursery, *places, config=config, limits=limits, model=model)

    async def speaking(self, seconds: float, *, heard: float, end: bool = True) -> FakeSession:
        """The first session, up; so many seconds of its reply "r1" came, `end`: all of it, and `heard` of them were heard."""
        session = await self.up()
        session.speak("r1", "i1", ms(1000 * seconds), end=end)
        self.speech_until = trio.current_time() + seconds
        await trio.sleep(heard)
        return session

    def recall(self) -> Sequence[tuple[Role, str, str]]:
        return self.said


@attrs.frozen
class KeptStory:
    """A story as it was kept: when, whose, and what."""

    at: float
    call_sid: str
    caller: str
    called: str
    story: dict[str, object]
    over: bool


class RecordShelf:
    """`RecordPort`: keeps everything, with the order and the time of it."""

    def __init__(self) -> None:
        self.dispositions: list[tuple[float, str, Disposition]] = []
        self.records: list[tuple[float, CallRecord]] = []
        self.stories: list[KeptStory] = []
        self.disposition_takes = 0.0
        self.record_takes = 0.0
        self.story_takes = 0.0

    async def keep_disposition(self, call_sid: str, disposition: Disposition) -> None:
        """See `RecordPort`."""
        await trio.sleep(self.disposition_takes)
        self.dispositions.append((trio.current_time(), call_sid, disposition))

    async def keep_record(self, record: CallRecord) -> None:
        """See `RecordPort`."""
        await trio.sleep(self.record_takes)
        self.records.append((trio.current_time(), record))

    async def keep_story(
        self, call_sid: str, caller: str, called: str, story: Mapping[str, object], *, over: bool
    ) -> None:
        """See `RecordPort`. What is kept is what would come back out of a store: through JSON and back."""
        written = json.loads(json.dumps(story))
        await trio.sleep(self.story_takes)
        self.stories.append(KeptStory(trio.current_time(), call_sid, caller, called, written, over))


@attrs.define(slots=False)  # tests break its methods
class ErrandShelf:
    """`ErrandPort`: sends nothing, remembers everything; each key is claimed once."""

    text_takes: float = 0.0
    claim_takes: float = 0.0
    settle_takes: float = 0.0
    outcome: tuple[str, Mapping[str, object]] = ("done", {})
    """What becomes of text messages."""
    texts: list[tuple[float, str, str, str]] = attrs.field(factory=list)
    """Text messages sent: when, the key, the number, the text."""
    claims: list[str] = attrs.field(factory=list)
    settled: list[tuple[str, str]] = attrs.field(factory=list)
    results: dict[str, tuple[str, Mapping[str, object]]] = attrs.field(factory=dict)
    under_way: int = 0
    peak: int = 0
    """The most text messages that were under way at once."""

    async def send_text(self, call_sid: str, key: str, to: str, text: str) -> tuple[str, Mapping[str, object]]:
        """See `ErrandPort`."""
        if not await self.claim(call_sid, key, "sms"):
            return "unknown", {"reason": "it was begun before"}
        self.under_way += 1
        self.peak = max(self.peak, self.under_way)
        try:
            await trio.sleep(self.text_takes)
        finally:
            self.under_way -= 1
        self.texts.append((trio.current_time(), key, to, text))
        await self.settle(call_sid, key, self.outcome[0])
        return self.outcome

    async def claim(self, call_sid: str, key: str, kind: str) -> bool:
        """See `ErrandPort`."""
        fresh = f"{call_sid} {key}" not in self.claims
        self.claims.append(f"{call_sid} {key}")
        await trio.sleep(self.claim_takes)
        return fresh

    async def settle(self, call_sid: str, key: str, outcome: str, result: Mapping[str, object] | None = None) -> None:
        """See `ErrandPort`."""
        await trio.sleep(self.settle_takes)
        self.settled.append((key, outcome))
        self.results[f"{call_sid} {key}"] = outcome, result or {}

    async def came(self, call_sid: str, key: str) -> tuple[str, Mapping[str, object]]:
        """See `ErrandPort`."""
        await trio.lowlevel.checkpoint()
        return self.results.get(f"{call_sid} {key}", ("unknown", {}))


@attrs.define
class Stage:
    """One running call and everyone around it."""

    call: Call
    carrier: FakeCarrier
    model: FakeModel
    shelf: RecordShelf
    errands: ErrandShelf
    began: float
    notes: list[tuple[float, str, dict[str, object]]]
    over: trio.Event = attrs.field(factory=trio.Event)
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    """Cancels the call from outside."""
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
        with self.scope:
            self.record = await self.call.run()
        self.over.set()


@asynccontextmanager
async def a_call(
    *,
    carrier: FakeCarrier | None = None,
    model: FakeModel | None = None,
    shelf: RecordShelf | None = None,
    errands: ErrandShelf | None = None,
    plan: CallPlan = PLAN,
    before: CallBegan | None = None,
    called: str = "",
    within: float = 3600.0,
) -> AsyncIterator[Stage]:
    """A call that runs beside the block. When the block is done the call must end by itself, and leave nothing behind."""
    with trio.fail_after(within):
        async with trio.open_nursery() as nursery:
            carrier = carrier or a_line()
            model = model or FakeModel()
            shelf = shelf or RecordShelf()
            errands = errands or ErrandShelf()
            notes: list[tuple[float, str, dict[str, object]]] = []
            began = trio.current_time()

            def listen(what: str, values: dict[str, object]) -> None:
                notes.append((trio.current_time() - began, what, values))

            call = Call(
                *("CA1", "MZ1", plan, carrier, model, shelf, errands, listen), called=called, began=before, wall=WALL
            )
            stage = Stage(call, carrier, model, shelf, errands, began, notes)
            tasks = trio.lowlevel.current_statistics().tasks_living
            nursery.start_soon(stage._run)
            yield stage
            await stage.over.wait()
            await wait_all_tasks_blocked()
            assert trio.lowlevel.current_statistics().tasks_living == tasks, "the call left a task behind"
