"""The record port while the store works, is slow, or is down: what is remembered, for how long, and who waits for it."""

import datetime
import os
import time
from pathlib import Path
from typing import Any

import attrs
import pytest
import structlog
import trio
from trio.testing import MockClock

from actors.mailbox import MailboxStats
from actors.messages import Disposition
from actors.notebook import CallRecord, Turn
from transport.loopback.memory_store import MemoryStore
from transport.metrics import Metrics
from transport.records import (
    CLAIM_PATIENCE,
    LATER_AT_MOST,
    OTHERS_CATCH_UP,
    REMEMBERED,
    STORY_PATIENCE,
    STRANGERS_PATIENCE,
    TRY_AGAIN,
    Records,
)
from transport.store import FINAL, Unkeepable
from transport.unwritten import HALF_SECONDS

CALLER, CALLED = "+14155550123", "+14155550100"
STORY = {"flow": "appointment", "dialogue": {"at": "name"}, "said": [{"who": "caller", "words": "Hello."}]}


class Desk:
    """Records over a store, and what they counted and told."""

    def __init__(self, store: MemoryStore | None = None, **how: Any) -> None:
        self.store = store or MemoryStore()
        self.metrics = Metrics(lambda: 0)
        self.over: list[str] = []
        self.records = Records(self.store, self.metrics, call_over=self.over.append, clock=trio.current_time, **how)

    def failures(self, what: str) -> float:
        return self.metrics.registry.get_sample_value("triode_store_failures_total", {"what": what}) or 0

    async def keep(self, sid: str = "CA1", story: dict[str, Any] | None = None, *, over: bool = False) -> None:
        await self.records.keep_story(sid, CALLER, CALLED, story or STORY, over=over)


async def is_over(_: str) -> bool:
    """Whether a call goes on: none does."""
    return False


def record(disposition: Disposition | None = Disposition.HANG_UP) -> CallRecord:
    turns = [Turn("caller", "i1", 2.5, "Hello.", "Hello.", over=True), Turn("agent", "i2", 3.0, "Yes?", "Yes?")]
    began = datetime.datetime(2026, 11, 24, tzinfo=datetime.UTC)
    return CallRecord("CA1", "MZ1", began, disposition=disposition, turns=turns)


# ---------------------------------------------------------------- stories


async def test_the_newest_story_is_told(autojump_clock: MockClock) -> None:
    desk = Desk()
    assert await desk.records.story("CA1") is None
    await desk.keep()
    await desk.keep(story={**STORY, "why": "later"})
    assert await desk.records.story("CA1") == {**STORY, "why": "later"}


async def test_a_story_is_remembered_here_while_the_store_is_down(autojump_clock: MockClock) -> None:
    desk = Desk(MemoryStore(down=True))
    await desk.keep()
    assert await desk.records.story("CA1") == STORY
    assert await desk.records.story("CA2") is None
    assert desk.failures("story") == 3
    assert desk.store.stories == {}


async def test_a_story_is_waited_for_only_briefly(autojump_clock: MockClock) -> None:
    desk = Desk()
    await desk.keep()
    await desk.keep("CA2")
    desk.store.stories.pop("CA2")
    desk.store.slow = 30
    began = trio.current_time()
    assert await desk.records.story("CA1") == STORY
    assert await desk.records.story("CA3") is None
    assert trio.current_time() - began == pytest.approx(STORY_PATIENCE + STRANGERS_PATIENCE)
    assert desk.failures("story") == 2


async def test_a_story_that_only_a_slow_store_knows_is_waited_for(autojump_clock: MockClock) -> None:
    died = Desk()
    await died.keep()
    here = Desk(died.store)
    here.store.slow = 1.0
    assert await here.records.story("CA1") == STORY


async def test_what_another_worker_has_kept_comes_before_what_is_remembered_here(autojump_clock: MockClock) -> None:
    here = Desk()
    there = Desk(here.store)
    await here.keep()
    await there.keep(story={**STORY, "why": "newer"})
    found = await here.records.story("CA1")
    assert found is not None
    assert found["why"] == "newer"


async def test_stories_that_are_remembered_here_are_bounded(autojump_clock: MockClock) -> None:
    desk = Desk(MemoryStore(down=True))
    for number in range(REMEMBERED + 5):
        await desk.keep(f"CA{number}")
    assert await desk.records.story("CA4") is None
    assert await desk.records.story("CA5") == STORY
    assert await desk.records.story(f"CA{REMEMBERED + 4}") == STORY


async def test_a_story_that_is_closed_is_not_gone_on_with(autojump_clock: MockClock) -> None:
    desk = Desk()
    await desk.keep()
    await desk.records.close_story("CA1", CALLER, CALLED)
    assert desk.store.stories["CA1"].over
    assert await desk.records.story("CA1") == STORY
    assert not await desk.records.continue_call("CA2", CALLER, CALLED, 0.0, is_over)


async def test_a_call_without_a_story_has_none_to_close(autojump_clock: MockClock) -> None:
    desk = Desk()
    await desk.records.close_story("CA1", CALLER, CALLED)
    assert desk.store.stories == {}


async def test_a_story_that_waits_for_the_store_becomes_the_newest_one_and_is_there_soon_after_the_store(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = Desk(MemoryStore(down=True))
    nursery.start_soon(desk.records.catch_up)
    for turn in range(30):
        await desk.keep(story={**STORY, "turn": turn})
        await trio.sleep(1)
    assert desk.failures("story") == 1
    desk.store.down = False
    await trio.sleep(TRY_AGAIN)
    assert desk.store.stories["CA1"].story == {**STORY, "turn": 29}
    await desk.keep(story={**STORY, "turn": 30})
    assert desk.store.stories["CA1"].story == {**STORY, "turn": 30}


async def test_closing_while_the_store_is_down_raises_nothing(autojump_clock: MockClock) -> None:
    desk = Desk()
    await desk.keep()
    desk.store.down = True
    await desk.records.close_story("CA1", CALLER, CALLED)
    assert not desk.store.stories["CA1"].over


async def test_a_caller_who_calls_back_goes_on_once(autojump_clock: MockClock) -> None:
    desk = Desk()
    await trio.sleep(100)
    await desk.keep()
    assert not await desk.records.continue_call("CA2", "+14155559999", CALLED, 0.0, is_over)
    assert not await desk.records.continue_call("CA2", CALLER, CALLED, 100.5, is_over)
    assert await desk.records.continue_call("CA2", CALLER, CALLED, 99.5, is_over)
    assert await desk.records.story("CA2") == STORY
    assert desk.store.stories["CA1"].over


async def test_with_the_store_down_nobody_is_said_to_be_back(autojump_clock: MockClock) -> None:
    desk = Desk()
    await desk.keep()
    desk.store.down = True
    assert not await desk.records.continue_call("CA2", CALLER, CALLED, 0.0, is_over)
    assert desk.failures("story") == 1


@pytest.mark.parametrize(("keep", "over", "said"), [(True, True, 1), (False, True, 0), (False, False, 1)])
async def test_what_was_said_is_dropped_from_a_story_only_when_it_is_over_and_the_settings_say_so(
    keep: bool, over: bool, said: int, autojump_clock: MockClock
) -> None:
    desk = Desk(keep_transcripts=keep)
    await desk.keep(over=over)
    kept = desk.store.stories["CA1"].story
    assert len(kept["said"]) == said  # type: ignore[arg-type] # it is a list
    assert kept["dialogue"] == STORY["dialogue"]


@pytest.mark.parametrize("begin", ["the agent asked for a human", "the agent ended the call"])
async def test_nor_is_what_the_agent_said_of_the_caller_when_it_left(begin: str, autojump_clock: MockClock) -> None:
    desk = Desk(keep_transcripts=False)
    await desk.keep(story={**STORY, "why": f"{begin}: Anna has a rash"})
    await desk.records.keep_record(attrs.evolve(record(Disposition.DIAL), reason=f"{begin}: Anna has a rash"))
    assert desk.store.stories["CA1"].story["why"] == f"{begin}: Anna has a rash"  # a human may be about to hear it
    await desk.records.status("CA1", "completed", 3)
    assert desk.store.stories["CA1"].story["why"] == begin
    assert [kept.reason for kept in desk.store.of("CA1")] == [begin]


# ---------------------------------------------------------------- decisions


@pytest.mark.parametrize("down", [False, True], ids=["kept", "waiting"])
async def test_nor_is_it_kept_of_a_call_that_ended_unfinished_and_who_calls_back_still_goes_on(
    down: bool, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = Desk(MemoryStore(down=down), keep_transcripts=False)
    nursery.start_soon(desk.records.catch_up)
    await desk.keep()
    await desk.records.status("CA1", "completed", 3)
    desk.store.down = False
    await trio.sleep(2 * TRY_AGAIN)
    assert await desk.store.story("CA1") == {**STORY, "said": []}
    assert await desk.records.continue_call("CA2", CALLER, CALLED, 0.0, is_over)
    nursery.cancel_scope.cancel("the test is over")


async def test_a_decision_is_told_here_and_elsewhere(autojump_clock: MockClock) -> None:
    here = Desk()
    there = Desk(here.store)
    assert await here.records.disposition("CA1") is None
    await here.records.keep_disposition("CA1", Disposition.DIAL)
    assert await here.records.disposition("CA1") is Disposition.DIAL
    assert await there.records.disposition("CA1") is Disposition.DIAL


async def test_a_decision_is_remembered_here_while_the_store_is_down_and_after(autojump_clock: MockClock) -> None:
    desk = Desk(MemoryStore(down=True))
    await desk.records.keep_disposition("CA1", Disposition.VOICEMAIL)
    assert await desk.records.disposition("CA1") is Disposition.VOICEMAIL
    assert desk.failures("disposition") == 2
    desk.store.down = False
    assert await desk.records.disposition("CA1") is Disposition.VOICEMAIL


async def test_decisions_that_are_remembered_here_are_bounded(autojump_clock: MockClock) -> None:
    desk = Desk(MemoryStore(down=True))
    for number in range(REMEMBERED + 1):
        await desk.records.keep_disposition(f"CA{number}", Disposition.DIAL)
    assert await desk.records.disposition("CA0") is None
    assert await desk.records.disposition("CA1") is Disposition.DIAL


async def test_a_stream_that_is_opened_again_is_undecided_and_counted(autojump_clock: MockClock) -> None:
    desk = Desk()
    await desk.records.keep_disposition("CA1", Disposition.DIAL)
    assert await desk.records.reopened("CA1", "a") == 1
    assert await desk.records.disposition("CA1") is None
    assert await desk.records.reopened("CA1", "a") == 1  # the same question, asked again
    assert await desk.records.reopened("CA1", "b") == 2
    assert await desk.records.reopened("CA1", "") == 3
    assert await desk.records.reopened("CA1", "") == 4


async def test_a_decision_that_was_undone_elsewhere_is_not_remembered_here(autojump_clock: MockClock) -> None:
    here = Desk()
    there = Desk(here.store)
    await here.records.keep_disposition("CA1", Disposition.DIAL)
    assert await there.records.reopened("CA1", "a") == 1  # the human did not answer: the caller is with the agent again
    assert await here.records.disposition("CA1") is None


async def test_how_often_a_stream_was_opened_is_not_known_while_the_store_is_down(autojump_clock: MockClock) -> None:
    desk = Desk(MemoryStore(down=True))
    await desk.records.keep_disposition("CA1", Disposition.DIAL)
    assert await desk.records.reopened("CA1", "a") is None
    assert await desk.records.disposition("CA1") is None
    desk.store.down = False
    assert await desk.records.reopened("CA1", "a") is None  # as it was answered
    assert await desk.records.reopened("CA1", "b") == 1


# ---------------------------------------------------------------- tokens


async def test_a_token_is_good_once_here_and_elsewhere(autojump_clock: MockClock) -> None:
    here = Desk()
    there = Desk(here.store)
    assert await here.records.claim("n1", 100, 0.0)
    assert not await here.records.claim("n1", 100, 0.0)
    assert not await there.records.claim("n1", 100, 0.0)
    assert await there.records.claim("n2", 100, 0.0)


@pytest.mark.parametrize("how", [{"down": True}, {"slow": 30.0}], ids=str)
async def test_a_token_is_good_once_as_far_as_this_process_knows_and_is_not_waited_for(
    how: dict[str, Any], autojump_clock: MockClock
) -> None:
    desk = Desk(MemoryStore(**how))
    assert await desk.records.claim("n1", 100, 0.0)
    assert not await desk.records.claim("n1", 100, 0.0)
    assert trio.current_time() <= CLAIM_PATIENCE
    assert desk.failures("token") == 1


# ---------------------------------------------------------------- the end of a call


@pytest.mark.parametrize("disposition", [None, *Disposition])
async def test_a_stream_that_was_hung_up_is_the_end_of_the_call_and_no_other_is(
    disposition: Disposition | None, autojump_clock: MockClock
) -> None:
    desk = Desk()
    await desk.records.keep_record(record(disposition))
    assert desk.over == (["CA1"] if disposition is Disposition.HANG_UP else [])
    assert [kept.stream_sid for kept in desk.store.records] == ["MZ1"]


@pytest.mark.parametrize("status", [*sorted(FINAL), "ringing", "in-progress", "", "nonsense"])
async def test_only_a_final_status_is_the_end_of_the_call(status: str, autojump_clock: MockClock) -> None:
    desk = Desk()
    await desk.records.status("CA1", status, 1)
    assert desk.over == (["CA1"] if status in FINAL else [])


async def test_a_call_is_over_though_the_store_is_down(autojump_clock: MockClock) -> None:
    desk = Desk(MemoryStore(down=True))
    await desk.records.keep_record(record())
    await desk.records.status("CA1", "completed", 1)
    assert desk.over == ["CA1", "CA1"]
    assert (desk.failures("record"), desk.failures("status")) == (1, 1)


@pytest.mark.parametrize("keep", [True, False])
async def test_transcripts_are_kept_or_not_as_the_settings_say(keep: bool, autojump_clock: MockClock) -> None:
    desk = Desk(keep_transcripts=keep)
    await desk.records.keep_record(record())
    (kept,) = desk.store.records
    assert [turn.text for turn in kept.turns] == (["Hello.", "Yes?"] if keep else ["", ""])
    assert [turn.heard_text for turn in kept.turns] == (["Hello.", "Yes?"] if keep else ["", ""])
    assert len(kept.turns) == 2


async def test_a_finished_call_is_counted_though_it_could_not_be_kept(autojump_clock: MockClock) -> None:
    desk = Desk(MemoryStore(down=True))
    await desk.records.keep_record(record())
    assert desk.metrics.registry.get_sample_value("triode_calls_total", {"disposition": "hang_up"}) == 1


async def test_whatever_else_is_written_while_the_store_is_down_raises_nothing_and_is_counted(
    autojump_clock: MockClock,
) -> None:
    desk = Desk(MemoryStore(down=True))
    await desk.records.answered("CA1", CALLER, CALLED)
    await desk.records.recording("RE1", "CA1", "https://api.example.com/RE1", 3, "completed")
    await desk.records.promise_delivery("CA1", 10.0)
    await desk.records.hasten_delivery("CA1", 1.0)
    assert await desk.records.whole("CA1") == {}
    assert {what: desk.failures(what) for what in ("answered", "recording", "delivery", "haste", "call")} == {
        "answered": 1,
        "recording": 1,
        "delivery": 0,
        "haste": 0,
        "call": 1,
    }


async def test_what_the_store_could_not_take_it_gets_when_it_is_back_in_the_same_order(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = Desk(MemoryStore(down=True))
    nursery.start_soon(desk.records.catch_up)
    await desk.records.answered("CA1", CALLER, CALLED)
    await desk.records.promise_delivery("CA1", 50.0)
    await desk.records.keep_record(record())
    await desk.records.hasten_delivery("CA1", 10.0)
    await desk.records.status("CA1", "completed", 3)
    await trio.sleep(30)
    desk.store.down = False
    await desk.records.hasten_delivery("CA1", 5.0)  # not before it is promised
    await desk.records.recording("RE1", "CA1", "https://api.example.com/RE1", 3, "completed")
    await trio.sleep(2 * TRY_AGAIN)
    whole = await desk.records.whole("CA1")
    assert (whole["caller"], whole["status"], whole["streams"]) == (CALLER, "completed", 1)
    assert [each["recording_sid"] for each in whole["recordings"]] == ["RE1"]
    due = await desk.store.next_delivery()
    assert due is not None
    assert 30 <= due <= trio.current_time() + OTHERS_CATCH_UP
    nursery.cancel_scope.cancel("the test is over")


async def test_a_call_is_not_delivered_before_another_process_too_has_written_what_it_knows_of_it(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    store = MemoryStore()
    here, there = Desk(store), Desk(store)
    await here.records.answered("CA1", CALLER, CALLED)
    await here.records.promise_delivery("CA1", 4000.0)
    store.down = True
    await here.records.hasten_delivery("CA1", 5.0)
    await there.records.callback("CA1", CALLER)
    nursery.start_soon(here.records.catch_up)
    await trio.sleep(30)
    store.down = False
    nursery.start_soon(there.records.catch_up)
    await trio.sleep(2 * TRY_AGAIN)
    assert store.delivery_rows["CA1"].due >= 30 + OTHERS_CATCH_UP
    assert [errand.name for errand in await store.errands("CA1")] == ["callback"]
    nursery.cancel_scope.cancel("the test is over")


async def test_what_is_written_late_says_when_it_happened(
    autojump_clock: MockClock, nursery: trio.Nursery, tmp_path: Path
) -> None:
    desk = Desk(MemoryStore(down=True))
    await desk.records.answered("CA1", CALLER, CALLED)
    await trio.sleep(60)
    await desk.records.recording("RE1", "CA1", "https://api.example.com/RE1", 3, "completed")
    await trio.sleep(60)
    await desk.records.status("CA1", "completed", 3)
    await trio.sleep(600)
    await desk.records.finish(tmp_path)
    after = Desk()
    await after.records.take_over(tmp_path)
    nursery.start_soon(after.records.catch_up)
    await trio.sleep(2 * TRY_AGAIN)
    call = await after.records.whole("CA1")
    times = [call["answered"], call["recordings"][0]["at"], call["ended"]]
    assert [when.timestamp() for when in times] == [0, 60, 120]


async def test_of_a_call_that_the_carrier_is_asked_for_and_says_is_over_no_words_are_kept_if_none_are_to_be(
    autojump_clock: MockClock,
) -> None:
    desk = Desk(keep_transcripts=False)
    for sid, status in (("CA1", "completed"), ("CA2", "")):
        await desk.keep(sid)
        await desk.records.found_over(sid, status)
        assert await desk.store.story(sid) == {**STORY, "said": []}
    assert (await desk.records.whole("CA1"))["status"] == "completed"
    assert desk.over == ["CA1", "CA2"]


async def test_a_call_is_not_delivered_before_all_that_is_known_of_it_is_written(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    desk = Desk(MemoryStore(down=True))
    nursery.start_soon(desk.records.catch_up)
    await desk.records.answered("CA1", CALLER, CALLED)
    await desk.records.promise_delivery("CA1", 500.0)
    await desk.records.keep_record(record())
    desk.store.down, desk.store.slow = False, 0.1  # it is back, and the call is over, before what failed is tried again
    await desk.records.promise_delivery("CA1", 2.0)
    await desk.records.hasten_delivery("CA1", 2.0)
    while not desk.store.delivery_rows:  # noqa: ASYNC110 - it has no event, and time is virtual
        await trio.sleep(0.01)
    assert desk.store.of("CA1")
    await trio.sleep(TRY_AGAIN)
    assert not desk.records._later
    nursery.cancel_scope.cancel("the test is over")


async def test_what_can_never_be_kept_is_counted_and_holds_up_nothing_behind_it(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    async def never(*_: object) -> None:
        raise Unkeepable("a number beyond all bounds")

    desk = Desk(MemoryStore(down=True))
    nursery.start_soon(desk.records.catch_up)
    await desk.records.status("CA1", "ringing", 10**20)
    await desk.records.answered("CA1", CALLER, CALLED)
    desk.store.down, desk.store.status = False, never
    await trio.sleep(2 * TRY_AGAIN)
    await desk.records.status("CA1", "ringing", 10**20)
    assert (await desk.records.whole("CA1"))["caller"] == CALLER
    assert not desk.records._later
    assert desk.failures("status") == 3
    nursery.cancel_scope.cancel("the test is over")


async def test_writes_that_wait_for_the_store_are_bounded_and_what_is_given_up_is_told(
    autojump_clock: MockClock,
) -> None:
    desk = Desk(MemoryStore(down=True))
    with structlog.testing.capture_logs() as logged:
        for number in range(LATER_AT_MOST + 5):
            await desk.records.answered(f"CA{number}", CALLER, CALLED)
    assert len(desk.records._later) == LATER_AT_MOST
    lost = [line for line in logged if line["event"] == "write_lost"]
    assert [line["key"] for line in lost] == [f"CA{number}" for number in range(5)]


async def test_what_is_known_of_a_call_is_told_whole(autojump_clock: MockClock) -> None:
    desk = Desk()
    assert await desk.records.whole("CA1") == {}
    await desk.records.answered("CA1", CALLER, CALLED)
    await desk.records.recording("RE1", "CA1", "https://api.example.com/RE1", 3, "completed")
    await desk.records.promise_delivery("CA1", 50.0)
    await desk.records.hasten_delivery("CA1", 10.0)
    whole = await desk.records.whole("CA1")
    assert (whole["caller"], whole["called"]) == (CALLER, CALLED)
    assert [each["recording_sid"] for each in whole["recordings"]] == ["RE1"]
    assert await desk.store.next_delivery() == 10.0


# ---------------------------------------------------------------- the end of the process


async def a_call_without_a_store(desk: Desk) -> None:
    kept = attrs.evolve(
        record(), keys="4711", mailboxes=[MailboxStats("flow", 10, "wait", 3, 0, 1)], replies=[("a", 1.5)]
    )
    await desk.records.answered("CA1", CALLER, CALLED)
    await desk.records.promise_delivery("CA1", 100.0)
    await desk.records.keep_story("CA1", CALLER, CALLED, STORY, over=False)
    await desk.records.callback("CA1", CALLER)
    await desk.records.recording("RE1", "CA1", "https://api.example.com/RE1", 7, "completed")
    await desk.records.status("CA1", "completed", 3)
    await desk.records.keep_record(kept)
    await desk.records.hasten_delivery("CA1", 50.0)


def timeless(value: Any) -> Any:
    """A row, without what the store's own clock or the time of writing has put there."""
    if isinstance(value, dict):
        return {name: timeless(one) for name, one in value.items() if name not in {"answered", "ended", "at", "begun"}}
    return [timeless(one) for one in value] if isinstance(value, list) else value


async def test_what_the_store_did_not_take_before_the_process_ended_is_written_by_the_next(
    autojump_clock: MockClock, nursery: trio.Nursery, tmp_path: Path
) -> None:
    before = Desk(MemoryStore(down=True))
    nursery.start_soon(before.records.catch_up)
    await a_call_without_a_store(before)
    assert await before.records.finish(tmp_path / "unwritten") == 8
    (file,) = (tmp_path / "unwritten").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert "4711" not in file.read_text()

    after, always_up = Desk(), Desk()
    await a_call_without_a_store(always_up)
    await after.records.take_over(tmp_path / "unwritten")
    nursery.start_soon(after.records.catch_up)
    await trio.sleep(TRY_AGAIN + 1)
    assert timeless(await after.store.call("CA1")) == timeless(await always_up.store.call("CA1"))
    (late,), (in_time,) = [await desk.store.deliveries() for desk in (after, always_up)]
    assert attrs.evolve(late, due=50.0) == in_time
    assert 50.0 <= late.due <= max(50.0, trio.current_time() + OTHERS_CATCH_UP)  # threads take real time
    with trio.fail_after(5):
        while file.exists():  # noqa: ASYNC110 - it is deleted in a thread
            await trio.sleep(0.01)


async def test_a_process_that_ends_waits_a_little_for_the_store(
    autojump_clock: MockClock, nursery: trio.Nursery, tmp_path: Path
) -> None:
    desk = Desk(MemoryStore(down=True))
    nursery.start_soon(desk.records.catch_up)
    await a_call_without_a_store(desk)

    async def comes_back() -> None:
        await trio.sleep(TRY_AGAIN + 1)
        desk.store.down = False

    nursery.start_soon(comes_back)
    assert await desk.records.finish(tmp_path) == 0
    assert await desk.store.call("CA1") is not None
    assert await trio.to_thread.run_sync(lambda: list(tmp_path.iterdir())) == []


async def test_a_story_that_is_known_is_not_undone_by_one_that_a_process_left(
    autojump_clock: MockClock, nursery: trio.Nursery, tmp_path: Path
) -> None:
    before, after = Desk(MemoryStore(down=True)), Desk()
    await before.records.keep_story("CA1", CALLER, CALLED, STORY, over=False)
    await before.records.finish(tmp_path)
    await after.keep(story={**STORY, "why": "newer"})
    await after.records.take_over(tmp_path)
    nursery.start_soon(after.records.catch_up)
    await trio.sleep(TRY_AGAIN + 1)
    assert await after.store.story("CA1") == {**STORY, "why": "newer"}


async def test_how_a_call_ended_is_kept_though_the_store_was_away_just_then(
    autojump_clock: MockClock, nursery: trio.Nursery, tmp_path: Path
) -> None:
    """Here, and by the next process: what the store had of the call from before is older."""
    desk = Desk(here := MemoryStore())
    nursery.start_soon(desk.records.catch_up)
    await desk.keep()
    here.down = True
    await trio.sleep(1)
    await desk.keep(story={**STORY, "why": "the end"}, over=True)
    await desk.records.hasten_delivery("CA1", 50.0)
    assert await desk.records.finish(tmp_path) == 2
    elsewhere = Desk(MemoryStore())
    await elsewhere.store.keep_story("CA1", CALLER, CALLED, STORY, over=False, now=0.0)
    await elsewhere.records.take_over(tmp_path)
    nursery.start_soon(elsewhere.records.catch_up)
    here.down = False
    await trio.sleep(2 * TRY_AGAIN)
    for store in (here, elsewhere.store):
        assert await store.story("CA1") == {**STORY, "why": "the end"}
        assert await store.take_unfinished(CALLER, CALLED, 0.0) is None


async def test_processes_that_end_at_the_same_moment_overwrite_nothing_of_each_other(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Two containers that share the folder: each of them is process 1."""
    async with trio.open_nursery() as both:
        for sid in ("CA1", "CA2"):
            desk = Desk(MemoryStore(down=True))
            await desk.records.answered(sid, CALLER, CALLED)
            both.start_soon(desk.records.finish, tmp_path)
    after = Desk()
    await after.records.take_over(tmp_path)
    assert set(after.records._later) == {"answered CA1", "answered CA2"}


async def test_files_that_are_too_old_or_not_whole_are_deleted(autojump_clock: MockClock, tmp_path: Path) -> None:
    for name, age in (("1-a.jsonl", 100), ("2-b.jsonl", 9), (".3-c", HALF_SECONDS + 9), (".4-d", HALF_SECONDS - 9)):
        (tmp_path / name).write_text('["answered","CA1",["CA1","",""]]')
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    await Desk().records.take_over(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [".4-d", "1-a.jsonl", "2-b.jsonl"]
    await Desk().records.tidy(tmp_path, time.time() - 50)
    assert sorted(os.listdir(tmp_path)) == [".4-d", "2-b.jsonl"]


async def test_a_place_that_will_be_of_no_use_is_told_at_the_start(autojump_clock: MockClock, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder, good in ((tmp_path / "new" / "sub", True), (tmp_path, True), (tmp_path / "file", False)):
        with structlog.testing.capture_logs() as lines:
            await Desk().records.take_over(folder)
        assert [line["event"] for line in lines] == ([] if good else ["unwritten_folder_cannot_be_used"])


async def test_a_file_that_is_damaged_holds_nothing_up(
    autojump_clock: MockClock, nursery: trio.Nursery, tmp_path: Path
) -> None:
    rows = [
        '["answered","CA1",["CA1","+14155550123","+14155550100"]]',
        "no JSON",
        '["answered","CA2",[]]',
        '["x","y",[1]]',
    ]
    bad_record = '["record","MZ1",[{"call_sid":1}]]'
    (tmp_path / "1-1.jsonl").write_text("\n".join([*rows, bad_record, '["answered","CA3",["CA3","",""]]', '["answ']))
    desk = Desk()
    await desk.records.take_over(tmp_path)
    nursery.start_soon(desk.records.catch_up)
    await trio.sleep(TRY_AGAIN + 1)
    assert await desk.store.call("CA1") is not None
    assert await desk.store.call("CA3") is not None


async def test_without_a_place_for_them_it_is_said_which_writes_are_lost(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    for folder in (None, tmp_path / "file"):
        desk = Desk(MemoryStore(down=True))
        await desk.records.answered("CA1", CALLER, CALLED)
        with structlog.testing.capture_logs() as lines:
            assert await desk.records.finish(folder) == 1
        assert [(line["what"], line["key"]) for line in lines if line["event"] == "write_lost"] == [("answered", "CA1")]
