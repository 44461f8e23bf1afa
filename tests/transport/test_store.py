"""The store keeps what it promises, in SQLite and in Redis: what is kept comes back, and several workers share it."""

import datetime

import attrs
import pytest
import trio

from actors.messages import Disposition
from actors.notebook import CallRecord
from tests.transport.store_kit import (
    ANN,
    BEGAN,
    BOB,
    ENDED,
    THEM,
    US,
    a_record,
    in_another_process,
    one_store,
    two_stores,
)
from transport.store import FINAL, Store

pytest_plugins = ["tests.transport.store_kit"]

AN_HOUR = datetime.timedelta(hours=1)
TURN = ("who", "item", "began", "text", "heard_text", "heard_ms", "generated_ms", "interrupted", "latency_ms", "state")
THERE = """
assert await store.take_disposition("CA1") is Disposition.VOICEMAIL
assert not await store.claim_token("first", 2_000_000_000, 0)
assert await store.claim_token("second", 2_000_000_000, 0)
await store.keep_disposition("CA1", Disposition.DIAL)
"""


# ---------------------------------------------------------------- what is kept comes back


async def test_a_whole_record_comes_back_as_it_was_kept(url: str):
    record = a_record()
    async with one_store(url) as store:
        await store.answered("CA1", "+15550002222", "+15550003333")
        await store.keep_record(record)
        row = await store.call("CA1")
    assert row is not None
    assert (row["caller"], row["called"], row["stream_sid"]) == ("+15550002222", "+15550003333", "MZ1")
    assert (row["began"], row["ended"]) == (BEGAN, ENDED)
    assert (row["seconds"], row["tokens"], row["streams"]) == (42.5, 1234, 1)
    assert (row["disposition"], row["reason"]) == ("hang_up", "the agent ended the call")
    assert [turn["number"] for turn in row["turns"]] == [1, 2, 3]
    assert {(turn["call_sid"], turn["stream_sid"]) for turn in row["turns"]} == {("CA1", "MZ1")}
    assert [[turn[field] for field in TURN] for turn in row["turns"]] == [
        [getattr(turn, field) for field in TURN] for turn in record.turns
    ]


async def test_interruptions_drops_and_troubles_come_back_as_they_were_kept(url: str):
    record = a_record()
    async with one_store(url) as store:
        await store.keep_record(record)
        row = await store.call("CA1")
    assert row is not None
    details = row["details"]
    assert details["interruptions"] == [attrs.asdict(each) for each in record.interruptions]
    assert [{"name": n, **kept} for n, kept in details["channels"].items()] == [
        attrs.asdict(each) for each in record.mailboxes
    ]
    assert details["errors"] == [attrs.asdict(each) for each in record.errors]
    assert (details["frames_in"], details["frames_out"], details["silence_in_ms"]) == (2100, 900, 80)
    assert (details["first_frame_ms"], details["keys"], details["errors_left_out"]) == (50, 3, 2)


async def test_the_keys_a_caller_pressed_are_never_stored(url: str):
    async with one_store(url) as store:
        await store.keep_record(a_record(keys="4929123412341234"))
        assert "4929123412341234" not in str(await store.call("CA1"))


async def test_a_call_without_a_word_is_a_row_without_turns(url: str):
    async with one_store(url) as store:
        await store.keep_record(CallRecord("CA1", "MZ1", BEGAN))
        row = await store.call("CA1")
        assert await store.call("CA2") is None
    assert row is not None
    assert (row["turns"], row["disposition"], row["streams"]) == ([], None, 1)


async def test_a_record_that_is_kept_twice_is_one_row(url: str):
    async with one_store(url) as store:
        await store.keep_record(a_record())
        once = await store.call("CA1")
        await store.keep_record(a_record())
        assert await store.call("CA1") == once


async def test_a_call_of_two_streams_is_one_row_with_both_in_order(url: str):
    async with one_store(url) as store:
        await store.keep_record(a_record("CA1", "MZ1", disposition=Disposition.RESUME))
        later = ENDED + datetime.timedelta(seconds=7)
        await store.keep_record(attrs.evolve(a_record("CA1", "MZ2", seconds=7.0, tokens=6), began=ENDED, ended=later))
        row = await store.call("CA1")
    assert row is not None
    assert (row["streams"], row["seconds"], row["tokens"]) == (2, 49.5, 1240)
    assert (row["began"], row["ended"]) == (BEGAN, later)
    assert [turn["stream_sid"] for turn in row["turns"]] == ["MZ1"] * 3 + ["MZ2"] * 3


async def test_a_stream_that_was_kept_before_is_not_counted_again_after_another(url: str):
    async with one_store(url) as store:
        for stream_sid in ("MZ1", "MZ2", "MZ1"):
            await store.keep_record(a_record("CA1", stream_sid))
        row = await store.call("CA1")
    assert row is not None
    assert (row["streams"], row["seconds"], len(row["turns"])) == (2, 85.0, 6)


async def test_the_late_record_of_an_older_stream_does_not_undo_a_newer_decision(url: str):
    async with one_store(url) as store:
        await store.keep_disposition("CA1", Disposition.RESUME)
        await store.reopen("CA1")
        await store.keep_disposition("CA1", Disposition.DIAL)  # by the second stream
        await store.keep_record(a_record("CA1", "MZ1", disposition=Disposition.RESUME))
        assert await store.take_disposition("CA1") is Disposition.DIAL


async def test_a_call_that_rings_after_its_first_status_came_keeps_its_caller(url: str):
    """Callbacks come in any order."""
    async with one_store(url) as store:
        await store.status("CA1", "ringing", 0)
        await store.answered("CA1", "+15550002222", "+15550003333")
        row = await store.call("CA1")
    assert row is not None
    assert (row["caller"], row["called"]) == ("+15550002222", "+15550003333")
    assert row["answered"] is not None


async def test_a_decision_is_answered_as_often_as_it_is_asked_for_until_the_stream_is_opened_again(url: str):
    async with one_store(url) as store:
        await store.keep_disposition("CA1", Disposition.IVR)
        assert [await store.take_disposition("CA1") for _ in range(3)] == [Disposition.IVR] * 3
        assert [await store.reopen("CA1"), await store.reopen("CA1")] == [1, 2]
        assert await store.take_disposition("CA1") is None


@pytest.mark.parametrize(
    ("seconds", "moved", "times"),
    [(42.5, False, 3), (60.0, False, 1), (5.0, True, 1)],
    ids=["a short stream", "a long stream", "a stream that was moved"],
)
async def test_a_stream_that_was_moved_or_lived_long_leaves_no_tries_behind(
    url: str, seconds: float, moved: bool, times: int
):
    async with one_store(url) as store:
        assert [await store.reopen("CA1"), await store.reopen("CA1")] == [1, 2]
        await store.keep_record(a_record(disposition=Disposition.RESUME, seconds=seconds, moved=moved))
        assert await store.reopen("CA1") == times


@pytest.mark.parametrize(
    ("record", "times"),
    [
        (None, 1),  # its process died
        (attrs.evolve(a_record(), began=ENDED), 3),  # it lived for 42 s, then a human's phone rang in vain
        (a_record(), 1),  # which is of the stream before, and came late
    ],
    ids=["no record", "its record", "the record before"],
)
async def test_a_stream_of_which_nothing_is_known_lived_until_it_was_opened_again(
    url: str, record: CallRecord | None, times: int
):
    began = BEGAN.replace(tzinfo=datetime.UTC).timestamp()
    async with one_store(url) as store:
        assert [await store.reopen("CA1", began + 1), await store.reopen("CA1", began + 30)] == [1, 2]
        if record is not None:
            await store.keep_record(record)
        assert await store.reopen("CA1", began + 100) == times
        assert await store.reopen("CA1", began + 110) == times + 1


async def test_a_token_is_claimed_once(url: str):
    async with one_store(url) as store:
        assert await store.claim_token("a", 1000, now=950)
        assert not await store.claim_token("a", 1000, now=960)
        assert not await store.claim_token("a", 1000, now=1050)  # clocks differ a little
        assert await store.claim_token("b", 3000, now=2000)


async def test_a_webhook_that_comes_twice_changes_nothing(url: str):
    async with one_store(url) as store:
        await store.answered("CA1", ANN, US)
        once = await store.call("CA1")
        await store.answered("CA1", BOB, THEM)
        assert await store.call("CA1") == once


async def test_a_call_of_which_nearly_nothing_is_known_has_all_fields(url: str):
    async with one_store(url) as store:
        await store.status("CA1", "ringing", 0)
        row = await store.call("CA1")
    assert row == {
        **dict.fromkeys(("answered", "began", "ended", "seconds", "disposition", "reopened_at", "story")),
        **dict.fromkeys(("stream_sid", "caller", "called", "reason"), ""),
        **dict.fromkeys(("reopened", "streams", "tokens", "status_sequence"), 0),
        **{name: [] for name in ("turns", "errands", "recordings")},
        "call_sid": "CA1",
        "status": "ringing",
        "details": {},
    }


async def test_all_there_is_of_a_call_comes_back_in_the_same_shape(url: str):
    async with one_store(url) as store:
        await store.answered("CA1", ANN, US)
        await store.keep_record(a_record())
        await store.keep_story("CA1", ANN, US, {"dialogue": {"at": "wish"}, "said": ["Grüß"]}, over=True, now=1.5)
        await store.claim_errand("CA1/transfer", "CA1", "transfer", 9.5)
        await store.claim_errand("CA1/sms", "CA1", "sms", 7.25)
        await store.settle_errand("CA1/sms", "done", "SM1", {"delivery": "sent"})
        await store.keep_recording("RE1", "CA1", "https://api.example.com/RE1", 9, "completed")
        row = await store.call("CA1")
    assert row is not None
    assert row["story"] == {"dialogue": {"at": "wish"}, "said": ["Grüß"]}
    common = {"call_sid": "CA1"}
    sms = {"key": "CA1/sms", "name": "sms", "status": "done", "reference": "SM1", "detail": {"delivery": "sent"}}
    moved = {"key": "CA1/transfer", "name": "transfer", "status": "begun", "reference": "", "detail": {}}
    assert row["errands"] == [{**common, **sms, "begun": 7.25}, {**common, **moved, "begun": 9.5}]
    (recording,) = row["recordings"]
    at = recording.pop("at")
    url = "https://api.example.com/RE1"
    assert recording == {**common, "recording_sid": "RE1", "url": url, "seconds": 9, "status": "completed"}
    assert at.tzinfo is row["answered"].tzinfo is row["ended"].tzinfo is None
    assert datetime.timedelta() <= datetime.datetime.now(datetime.UTC).replace(tzinfo=None) - at < AN_HOUR
    first = row["turns"][1]
    assert isinstance(first.pop("id"), int)
    assert first == {
        **common,
        "stream_sid": "MZ1",
        "number": 2,
        "who": "caller",
        "item": "item_1",
        "began": 2.5,
        "text": "Grüß Gott 👋 'x' -- ;",
        "heard_text": "Grüß Gott 👋 'x' -- ;",
        "heard_ms": 0,
        "generated_ms": 0,
        "interrupted": False,
        "latency_ms": {},
        "state": "wish",
    }


# ---------------------------------------------------------------- status callbacks and voicemail


async def statuses(store: Store, *news: tuple[str, int]) -> str:
    for status, sequence in news:
        await store.status("CA1", status, sequence)
    row = await store.call("CA1")
    assert row is not None
    assert (row["ended"] is None) == (row["status"] not in FINAL)
    return str(row["status"])


async def test_a_status_that_comes_late_undoes_nothing(url: str):
    async with one_store(url) as store:
        assert await statuses(store, ("ringing", 0), ("in-progress", 1), ("ringing", 0)) == "in-progress"


async def test_a_final_status_stays_whatever_comes_then(url: str):
    async with one_store(url) as store:
        assert await statuses(store, ("busy", 0), ("in-progress", 5), ("completed", 6)) == "busy"


async def test_a_final_status_counts_though_its_number_is_old(url: str):
    async with one_store(url) as store:
        assert await statuses(store, ("in-progress", 5), ("completed", 2)) == "completed"


async def test_a_status_says_whose_call_it_is_if_nobody_has_said_so_and_it_is_forgotten_with_them(url: str):
    """The store may have been lost in mid-call, with what it knew."""
    async with one_store(url) as store:
        await store.answered("CA1", ANN, US)
        await store.status("CA1", "completed", 3, BOB, THEM)
        await store.status("CA2", "completed", 3, BOB, THEM)
        known = [await store.call(sid) or {} for sid in ("CA1", "CA2")]
        assert [(row["caller"], row["called"]) for row in known] == [(ANN, US), (BOB, THEM)]
        assert await store.forget_number(BOB) == 1


async def test_the_end_that_the_record_gave_is_kept_when_the_status_comes(url: str):
    async with one_store(url) as store:
        await store.keep_record(a_record())
        await store.status("CA1", "completed", 3)
        row = await store.call("CA1")
    assert row is not None
    assert row["ended"] == ENDED


async def test_a_record_without_an_end_does_not_unmake_the_end_that_the_status_gave(url: str):
    async with one_store(url) as store:
        await store.status("CA1", "completed", 3)
        ended = (await store.call("CA1") or {})["ended"]
        assert ended is not None
        record = a_record()
        record.ended = None
        await store.keep_record(record)
        assert (await store.call("CA1") or {})["ended"] == ended


async def test_news_of_a_message_come_in_any_order_and_the_last_word_stays(url: str):
    link = "https://api.example.com/RE1"
    async with one_store(url) as store:
        await store.answered("CA1", ANN, US)
        await store.keep_recording("RE1", "CA1", "", 0, "in-progress")
        await store.keep_recording("RE2", "CA1", "", 0, "in-progress")
        await store.keep_recording("RE1", "CA1", link, 9, "completed")
        await store.keep_recording("RE1", "CA1", "", 0, "absent")
        row = await store.call("CA1")
    assert row is not None
    kept = [(each["recording_sid"], each["url"], each["seconds"], each["status"]) for each in row["recordings"]]
    assert kept == [("RE1", link, 9, "completed"), ("RE2", "", 0, "in-progress")]


async def test_a_message_of_a_call_that_is_not_known_yet_is_found_once_it_is(url: str):
    async with one_store(url) as store:
        await store.keep_recording("RE1", "CA1", "", 3, "completed")
        assert await store.call("CA1") is None
        await store.answered("CA1", ANN, US)
        row = await store.call("CA1")
    assert row is not None
    assert [each["recording_sid"] for each in row["recordings"]] == ["RE1"]


# ---------------------------------------------------------------- several stores, one file


async def test_what_one_store_keeps_another_knows(url: str):
    async with two_stores(url) as (here, there):
        for disposition in Disposition:
            await here.keep_disposition("CA1", disposition)
            assert await there.take_disposition("CA1") is disposition
        assert await there.reopen("CA1") == 1
        assert await here.reopen("CA1") == 2
        assert await here.claim_token("a", 2_000_000_000, 0)
        assert not await there.claim_token("a", 2_000_000_000, 0)


async def test_what_one_process_keeps_another_knows(lasting_url: str):
    async with one_store(lasting_url) as store:
        await store.keep_disposition("CA1", Disposition.VOICEMAIL)
        assert await store.claim_token("first", 2_000_000_000, 0)
        await in_another_process(lasting_url, THERE)
        assert await store.take_disposition("CA1") is Disposition.DIAL
        assert not await store.claim_token("second", 2_000_000_000, 0)


async def test_of_several_that_use_a_token_at_once_one_gets_it(url: str):
    got: list[bool] = []
    async with two_stores(url) as both, trio.open_nursery() as nursery:

        async def claim(store: Store) -> None:
            got.append(await store.claim_token("a", 2_000_000_000, 0))

        for store in both * 3:
            nursery.start_soon(claim, store)
    assert sorted(got) == [False] * 5 + [True]


async def test_old_rows_stay_when_the_store_is_opened_again(lasting_url: str):
    async with one_store(lasting_url) as store:
        await store.keep_record(a_record())
        await store.keep_recording("RE1", "CA1", "https://api.example.com/RE1", 9, "completed")
        before = await store.call("CA1")
    async with one_store(lasting_url) as store:
        assert await store.call("CA1") == before
        await store.keep_record(a_record("CA2", "MZ2"))
        assert await store.call("CA1") == before


async def test_workers_that_change_a_call_at_the_same_moment_undo_nothing_of_each_other(url: str):
    times: list[int] = []
    async with two_stores(url) as both:

        async def reopen(store: Store) -> None:
            times.append(await store.reopen("CA1"))

        async with trio.open_nursery() as nursery:
            for number, store in enumerate(both * 5):
                nursery.start_soon(reopen, store)
                nursery.start_soon(store.keep_record, a_record("CA1", f"MZ{number % 5}"))
                nursery.start_soon(store.status, "CA1", "in-progress", number)
                nursery.start_soon(store.keep_recording, f"RE{number}", "CA1", "", number, "completed")
            nursery.start_soon(both[0].status, "CA1", "completed", 3)
            nursery.start_soon(both[1].answered, "CA1", ANN, US)
        row = await both[0].call("CA1")
    assert row is not None
    assert sorted(times) == list(range(1, 11))
    assert (row["reopened"], row["streams"], row["seconds"], row["tokens"]) == (10, 5, 5 * 42.5, 5 * 1234)
    assert (row["status"], row["caller"], len(row["turns"]), len(row["recordings"])) == ("completed", ANN, 15, 10)
