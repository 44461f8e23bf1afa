"""Opening streams: again when nobody decided, so often and no oftener; and at once, whatever the store does."""

import pytest
import trio
from trio.testing import MockClock

from actors.messages import Disposition
from tests.transport.store_kit import a_record
from tests.transport.web_kit import ask, form
from tests.transport.wire_kit import PUBLIC, house_in_memory, settings_for
from transport.loopback.twiml_reader import Connect, Gather, Redirect
from transport.records import CLAIM_PATIENCE
from transport.store import StoreDown
from transport.twiml import REOPEN_AT_MOST


async def test_the_same_question_sent_again_is_no_further_opening(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
):
    async with house_in_memory(monkeypatch) as house:
        for number in range(REOPEN_AT_MOST):
            for _ in range(3):  # the carrier got no answer in time, and asks again
                retry = {"I-Twilio-Idempotency-Token": f"question-{number}"}
                answer = await ask(house.app, "/twilio/after", form("CA1"), headers=retry)
                assert answer.kinds[0] is Connect
        answer = await ask(
            house.app, "/twilio/after", form("CA1"), headers={"I-Twilio-Idempotency-Token": "one too many"}
        )
        assert answer.kinds[0] is Gather


async def test_a_call_is_moved_from_server_to_server_as_often_as_they_are_replaced(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
):
    async with house_in_memory(monkeypatch) as house:
        for number in range(3 * REOPEN_AT_MOST):
            await house.store.keep_disposition("CA1", Disposition.RESUME)
            assert (await ask(house.app, "/twilio/after", form("CA1"))).kinds == [Connect]
            moved = a_record("CA1", f"MZ{number}", disposition=Disposition.RESUME, seconds=20.0, moved=True)
            await house.store.keep_record(moved)


async def test_a_call_whose_servers_die_long_after_one_another_goes_on_each_time(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
):
    async with house_in_memory(monkeypatch) as house:
        house.store.wall_clock = lambda: 1.7e9 + trio.current_time()
        for _ in range(3 * REOPEN_AT_MOST):
            assert (await ask(house.app, "/twilio/after", form("CA1"))).kinds == [Connect]
            await trio.sleep(70)  # and its process dies, without a record
        for _ in range(REOPEN_AT_MOST + 1):
            answer = await ask(house.app, "/twilio/after", form("CA1"))
        assert answer.kinds[0] is Gather


@pytest.mark.parametrize(
    ("path", "more", "kept"),
    [
        ("/twilio/after", {}, "ivr"),
        ("/twilio/dialed", {"DialCallStatus": "busy", "DialBridged": "false"}, "voicemail"),
        ("/twilio/warm/back?outcome=busy&n=0", {}, "voicemail"),
    ],
)
async def test_where_a_caller_went_for_whom_no_stream_was_opened_again_is_kept(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock, path: str, more: dict[str, str], kept: str
):
    async with house_in_memory(monkeypatch) as house:
        for _ in range(REOPEN_AT_MOST + 1):
            answer = await ask(house.app, path, form("CA1", **more))
        assert Connect not in answer.kinds
        call = await house.store.call("CA1")
        assert (call or {})["disposition"] == kept


async def test_a_caller_who_was_moved_to_a_server_that_is_full_may_wait_for_a_line_and_goes_on_there(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
):
    settings = settings_for(max_calls=1)
    async with house_in_memory(monkeypatch, settings, clock=lambda: 1.7e9 + trio.current_time()) as house:
        await house.store.keep_disposition("CA1", Disposition.RESUME)
        await ask(house.app, "/twilio/voice", form("CA2"))
        busy = await ask(house.app, "/twilio/after", form("CA1"))
        assert busy.kinds == [Gather, Redirect]
        assert isinstance(wait := busy.verbs[1], Redirect)
        await ask(house.app, "/twilio/status", form("CA2", CallStatus="completed"))
        assert (await ask(house.app, "/twilio/voice", form("CA3"))).kinds[0] is Gather  # the line is theirs
        assert (await ask(house.app, wait.url.removeprefix(PUBLIC), form("CA1"))).kinds == [Connect]


async def test_a_store_that_hangs_is_asked_at_once_for_all_that_is_to_be_known_of_who_left_a_stream(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
):
    async def hang(*_: object) -> None:
        await trio.sleep(2.5)
        raise StoreDown("it did not answer")

    async with house_in_memory(monkeypatch) as house:
        house.store.take_disposition = house.store.story = house.store.reopen = hang
        began = trio.current_time()
        assert (await ask(house.app, "/twilio/after", form("CA1"))).kinds[0] is Gather
        assert trio.current_time() - began == pytest.approx(5.0, abs=0.1)


async def test_a_store_that_hangs_delays_no_first_word(monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock):
    async def hang(*_: object) -> bool:
        await trio.sleep_forever()
        return True

    async with house_in_memory(monkeypatch) as house:
        house.store.claim_token = hang
        began = trio.current_time()
        phone = await house.call()
        while (await phone.hear())["event"] != "media":
            pass
        assert trio.current_time() - began <= CLAIM_PATIENCE + 0.05
