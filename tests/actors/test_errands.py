"""Errands: done at most once, a few at a time, and what came of each reaches the flow and the record."""

import json
import math
from collections.abc import Awaitable, Callable, Mapping

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.errands import (
    AT_ONCE,
    BEFORE,
    ERRAND_AT_MOST,
    ERRANDS_AT_MOST,
    ERROR_AT_MOST,
    QUEUE,
    RESULT_AT_MOST,
    TRIES,
    Errands,
)
from actors.mailbox import Mailbox, MailboxFull, WhenFull
from actors.messages import Disposition, ErrandDone, RunPython, SendText
from actors.tool_desk import Desk
from conf.flow import PythonTool
from tests.kit.calls import FLOW, ErrandShelf, a_notebook, a_tool_call
from tests.kit.machine import BEGUN, NOW


class Office:
    """The errands of one call, running, and the flow's mailbox."""

    def __init__(self, nursery: trio.Nursery, shelf: ErrandShelf | None = None, call_sid: str = "CA1") -> None:
        self.shelf = shelf or ErrandShelf()
        self.notebook = a_notebook()
        self.errands = Errands(call_sid, self.shelf, self.notebook)
        self.flow: Mailbox[ErrandDone] = Mailbox("flow", 1000, WhenFull.FATAL)
        self.began = trio.current_time()
        self.idle_at: float | None = None
        nursery.start_soon(self.errands.run, self.flow)

    async def post(self, *errands: SendText | RunPython) -> None:
        """These are to be done."""
        for errand in errands:
            self.errands.inbox.post(errand)
        await wait_all_tasks_blocked()

    async def watch_idle(self) -> None:
        """Notes when nothing is under way any more."""
        await self.errands.idle()
        self.idle_at = trio.current_time() - self.began

    def done(self) -> list[tuple[str, str]]:
        """Keys and outcomes that the flow was told since the last time."""
        return [(done.key, done.outcome) for done in self.flow.take_all()]


def text(key: str = "t1", to: str = "+12125550100") -> SendText:
    return SendText(key, "sms", to, "Hello.")


@attrs.frozen
class Nothing:
    """No arguments."""


def tool(
    run: Callable[..., Awaitable[object]], key: str = "p1", seconds: float = 8.0, **arguments: object
) -> RunPython:
    return RunPython(key, "tool", PythonTool("tool", "A tool.", Nothing, run, seconds), arguments)


class Worker:
    """A tool that counts how often it was run."""

    def __init__(self, result: object = None, takes: float = 0.0, raises: BaseException | None = None) -> None:
        self.result, self.takes, self.raises = result, takes, raises
        self.runs: list[Mapping[str, object]] = []

    async def __call__(self, **arguments: object) -> object:
        self.runs.append(arguments)
        await trio.sleep(self.takes)
        if self.raises is not None:
            raise self.raises
        return self.result


# ---------------------------------------------------------------- what comes of it


@pytest.mark.parametrize("outcome", ["done", "failed", "opted_out", "unknown"])
async def test_what_came_of_a_text_message_is_told_to_the_flow_and_kept(
    outcome: str, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    office = Office(nursery, ErrandShelf(outcome=(outcome, {"reason": "why"})))
    await office.post(text())
    assert office.flow.take_all() == [ErrandDone("t1", "sms", outcome, {"reason": "why"})]
    assert [(key, to, said) for _, key, to, said in office.shelf.texts] == [("t1", "+12125550100", "Hello.")]
    assert [(note.name, note.outcome, note.reason) for note in office.notebook.record.errands] == [
        ("sms", outcome, "why")
    ]


async def test_a_text_that_a_model_on_another_server_wants_sent_once_more_is_sent_once(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk, turn = Desk(FLOW, "+12125550100", Disposition.DIAL, NOW), attrs.evolve(BEGUN, turn=3)
    shelf = ErrandShelf()
    for call_id, asked in (("c1", turn), ("c2", turn), ("c3", attrs.evolve(turn, turn=4))):
        sent = desk.answer(a_tool_call("send_sms", call_id, text="Hello."), asked, spoke=False).errand
        assert isinstance(sent, SendText)
        office = Office(nursery, shelf)  # each on a server that knows of no other
        await office.post(sent)
        assert office.done() == [(f"tool.{call_id}", "unknown" if call_id == "c2" else "done")]
    assert len(shelf.texts) == 2, "the caller asked for the third"


@pytest.mark.parametrize(
    ("result", "detail"), [({"table": 7}, {"table": 7}), ("yes", {"result": "yes"}), (None, {"result": None})]
)
async def test_what_a_tool_returns_is_its_outcome(
    result: object, detail: dict[str, object], autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    office, worker = Office(nursery), Worker(result)
    await office.post(tool(worker, size=4))
    assert office.flow.take_all() == [ErrandDone("p1", "tool", "done", detail)]
    assert worker.runs == [{"size": 4}]
    assert office.shelf.settled == [("p1", "done")]


@pytest.mark.parametrize("error", [RuntimeError("broken"), KeyError("day"), ExceptionGroup("two", [ValueError("x")])])
async def test_a_tool_that_raises_has_failed_and_the_call_goes_on(
    error: Exception, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    office = Office(nursery)
    await office.post(tool(Worker(raises=error)), tool(Worker("fine"), "p2"))
    assert sorted(office.done()) == [("p1", "failed"), ("p2", "done")]
    assert [trouble.kind for trouble in office.notebook.record.errors] == ["tool"]
    assert type(error).__name__ in office.notebook.record.errors[0].text
    assert sorted(office.shelf.settled) == [("p1", "failed"), ("p2", "done")]


def _rows(number: int) -> dict[str, object]:
    return {"rows": ["a table for two"] * number}


@pytest.mark.parametrize(
    ("result", "told"),
    [
        ({"price": math.nan, "left": math.inf}, {"price": None, "left": None}),
        ({"note": "cut in an emoji: \ud83d", "\ud83d": 1}, {"note": "cut in an emoji: ?", "?": 1}),
        (_rows(500), _rows(500)),
    ],
)
async def test_a_result_is_told_such_that_everybody_can_read_it(
    result: object, told: dict[str, object], autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    office = Office(nursery)
    await office.post(tool(Worker(result)))
    (done,) = office.flow.take_all()
    assert (done.outcome, done.detail) == ("done", told)
    json.dumps(done.detail, ensure_ascii=False, allow_nan=False).encode()


async def test_of_a_result_that_is_longer_than_a_model_can_read_the_beginning_is_told(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    office = Office(nursery)
    await office.post(tool(Worker(_rows(100_000))), tool(Worker(raises=ValueError("x" * 100_000)), "p2"))
    done, failed = sorted(office.flow.take_all(), key=lambda each: each.key)
    assert (done.outcome, failed.outcome) == ("done", "failed")
    assert str(done.detail["beginning"]).startswith("{'rows': ['a table for two', ")
    assert len(str(done.detail)) < RESULT_AT_MOST + 100
    assert len(str(failed.detail)) < ERROR_AT_MOST + 100
    assert "1900010 characters" in office.notebook.record.errors[0].text


# ---------------------------------------------------------------- at most once


async def test_a_tool_is_run_at_most_once_also_by_another_process(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    shelf, worker = ErrandShelf(claim_takes=0.5), Worker()
    here, there = Office(nursery, shelf), Office(nursery, shelf)
    await here.post(tool(worker), tool(worker))
    await there.post(tool(worker))
    await trio.sleep(2)
    assert len(worker.runs) == 1
    assert sorted(outcome for _, outcome in [*here.done(), *there.done()]) == ["done", "unknown", "unknown"]
    assert shelf.settled == [("p1", "done")]


def act(worker: Worker, key: str = "p1", **arguments: object) -> RunPython:
    """A tool with an effect."""
    errand = tool(worker, key, **arguments)
    return attrs.evolve(errand, tool=attrs.evolve(errand.tool, once=True))


async def test_a_tool_with_an_effect_that_is_asked_for_again_tells_what_came_of_it_the_first_time(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    shelf, worker = ErrandShelf(), Worker({"booked": 7}, takes=2.0)
    here, there = Office(nursery, shelf), Office(nursery, shelf)  # on another server, of which this one knows nothing
    await here.post(act(worker, "p1", day="Tuesday"), act(worker, "p2", day="Tuesday"), act(worker, "p3", day="Friday"))
    await trio.sleep(3)
    await there.post(act(worker, "p4", day="Tuesday"))
    assert worker.runs == [{"day": "Tuesday"}, {"day": "Friday"}]
    before = {"reason": BEFORE, "booked": 7}
    came = {done.key: (done.outcome, done.detail) for done in (*here.flow.take_all(), *there.flow.take_all())}
    assert came == dict.fromkeys(("p1", "p3"), ("done", {"booked": 7})) | dict.fromkeys(("p2", "p4"), ("done", before))


async def test_a_tool_with_an_effect_of_which_it_is_not_known_whether_it_had_it_is_not_run_again(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    shelf, worker = ErrandShelf(), Worker(takes=100.0)
    await Office(nursery, shelf).post(act(worker))
    there = Office(nursery, shelf)
    await there.post(act(worker, "p2"))
    assert there.done() == [("p2", "unknown")]
    assert len(worker.runs) == 1


async def test_a_tool_with_an_effect_that_failed_may_be_tried_again(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    office, worker = Office(nursery), Worker("yes", raises=ConnectionError("the calendar is away"))
    await office.post(act(worker))
    worker.raises = None
    await office.post(act(worker, "p2"))
    await office.post(act(worker, "p3"))
    assert office.done() == [("p1", "failed"), ("p2", "done"), ("p3", "done")]
    assert len(worker.runs) == 2


async def test_there_is_an_end_to_what_a_tool_with_an_effect_may_fail(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    office, worker = Office(nursery), Worker(raises=ConnectionError("the calendar is away"))
    for number in range(TRIES + 2):
        await office.post(act(worker, f"p{number}"))
    assert [outcome for _, outcome in office.done()] == ["failed"] * (TRIES + 2)
    assert len(worker.runs) == TRIES


async def test_the_same_errand_of_another_call_is_another_one(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    shelf, worker = ErrandShelf(), Worker()
    one, other = Office(nursery, shelf), Office(nursery, shelf, "CA2")
    await one.post(tool(worker))
    await other.post(tool(worker))
    assert len(worker.runs) == 2


async def test_there_is_an_end_to_the_errands_of_a_call(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    office = Office(nursery)
    for number in range(ERRANDS_AT_MOST + 3):
        await office.post(text(f"t{number}"))
    outcomes = [outcome for _, outcome in office.done()]
    assert outcomes == ["done"] * ERRANDS_AT_MOST + ["failed"] * 3
    assert len(office.shelf.texts) == ERRANDS_AT_MOST
    with trio.fail_after(1):
        await office.errands.idle()


async def test_a_flow_gone_mad_ends_the_call(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    office = Office(nursery)
    for number in range(QUEUE):
        office.errands.inbox.post(text(f"t{number}"))
    with pytest.raises(MailboxFull):
        office.errands.inbox.post(text("one more"))


# ---------------------------------------------------------------- time


async def test_a_tool_that_takes_too_long_is_stopped_and_nobody_knows_what_came_of_it(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    office, worker = Office(nursery), Worker(takes=100)
    await office.post(tool(worker, seconds=3.0))
    await trio.sleep(2.9)
    assert office.done() == []
    await trio.sleep(0.2)
    assert office.done() == [("p1", "unknown")]
    assert office.shelf.settled == [("p1", "unknown")]


async def test_a_tool_that_cannot_be_stopped_in_time_is_not_waited_for(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    async def in_a_thread() -> None:
        with trio.CancelScope(shield=True):  # as `trio.to_thread.run_sync` waits for what blocks
            await trio.sleep(60)

    office = Office(nursery)
    await office.post(tool(in_a_thread, seconds=8))
    nursery.start_soon(office.watch_idle)
    await trio.sleep(8.5)
    assert office.flow.take_all() == [ErrandDone("p1", "tool", "unknown", {"reason": "it took over 8 s"})]
    assert office.shelf.settled == [("p1", "unknown")]
    assert office.idle_at == 8
    await trio.sleep(60)
    assert office.done() == []


@pytest.mark.parametrize("takes", [10.0, 1000.0])
async def test_a_port_that_is_slow_is_waited_for_but_not_for_ever(
    takes: float, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    office = Office(nursery, ErrandShelf(text_takes=takes))
    await office.post(text())
    with trio.fail_after(ERRAND_AT_MOST + 0.1):
        done = await office.flow.receive()
    assert done.outcome == ("done" if takes < ERRAND_AT_MOST else "unknown")
    assert trio.current_time() - office.began == pytest.approx(min(takes, ERRAND_AT_MOST))


@pytest.mark.parametrize("slow", ["claim_takes", "settle_takes"])
async def test_a_store_that_hangs_does_not_hold_an_errand_up_for_ever(
    slow: str, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    shelf, worker = ErrandShelf(), Worker("fine")
    setattr(shelf, slow, math.inf)
    office = Office(nursery, shelf)
    await office.post(tool(worker))
    await trio.sleep(ERRAND_AT_MOST + 0.1)
    assert [key for key, _ in office.done()] == ["p1"]
    assert len(worker.runs) == (0 if slow == "claim_takes" else 1)


async def test_only_a_few_are_under_way_at_once_and_all_are_done(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    office = Office(nursery, ErrandShelf(text_takes=2.0))
    await office.post(*(text(f"t{number}") for number in range(10)))
    await trio.sleep(6.1)
    assert office.shelf.peak == AT_ONCE
    assert [outcome for _, outcome in office.done()] == ["done"] * 10


async def test_one_that_is_slow_does_not_keep_another_waiting(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    office = Office(nursery)
    await office.post(tool(Worker(takes=7.0), "slow"), tool(Worker(), "quick"))
    assert office.done() == [("quick", "done")]
    await trio.sleep(7.1)
    assert office.done() == [("slow", "done")]


# ---------------------------------------------------------------- the end


async def test_who_waits_for_the_last_errand_waits_until_it_has_been_told(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    office = Office(nursery, ErrandShelf(text_takes=2.0))
    for number in range(AT_ONCE + 1):
        office.errands.inbox.post(text(f"t{number}"))  # not even read yet
    nursery.start_soon(office.watch_idle)
    await trio.sleep(3)
    assert office.idle_at is None
    await trio.sleep(2)
    assert office.idle_at == pytest.approx(4.0)
    assert len(office.done()) == AT_ONCE + 1


async def test_where_there_is_nothing_to_do_nobody_waits(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    office = Office(nursery)
    with trio.fail_after(0):
        await office.errands.idle()


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from([0.0, 1.0, 9.0, 50.0]), st.booleans()), max_size=12))
@settings(max_examples=60)
def test_every_errand_comes_out_once_and_is_done_at_most_once(plan: list[tuple[str, float, bool]]) -> None:
    async def do() -> None:
        async with trio.open_nursery() as nursery:
            office = Office(nursery)
            workers = [Worker(takes=takes, raises=RuntimeError("x") if fails else None) for _, takes, fails in plan]
            for (key, _, _), worker in zip(plan, workers, strict=True):
                office.errands.inbox.post(tool(worker, key))
            with trio.fail_after(1000):
                await office.errands.idle()
            assert sorted(key for key, _ in office.done()) == sorted(key for key, _, _ in plan)
            for key in "abcd":
                runs = [len(worker.runs) for (its, _, _), worker in zip(plan, workers, strict=True) if its == key]
                assert sum(runs) <= 1
            assert len(office.notebook.record.errands) == len(plan)
            nursery.cancel_scope.cancel()

    trio.run(do, clock=MockClock(autojump_threshold=0))
