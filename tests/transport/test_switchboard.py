"""The ceiling of calls holds also for those that ring at once, and a drain is over when nobody is left."""

import pytest
import trio
from trio.testing import MockClock

from actors.errands import Errands
from actors.messages import Disposition
from tests.transport.web_kit import ask, form
from tests.transport.wire_kit import Phone, house_in_memory, settings_for, sid, until
from transport.loopback.twiml_reader import Connect
from transport.switchboard import OPENS_WITHIN


async def answers(house, *call_sids: str) -> list[bool]:
    """Which of the calls are sent a stream."""
    return [(await ask(house.app, "/twilio/voice", form(sid))).kinds == [Connect] for sid in call_sids]


async def test_calls_that_ring_at_once_keep_to_the_ceiling(monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock):
    async with house_in_memory(monkeypatch, settings_for(max_calls=2)) as house:
        assert await answers(house, "CA1", "CA2", "CA3") == [True, True, False]
        assert await answers(house, "CA1") == [True]  # the webhook is only sent again


async def test_a_place_is_kept_no_longer_than_the_token_is_good(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
):
    async with house_in_memory(monkeypatch, settings_for(max_calls=1)) as house:
        assert await answers(house, "CA1", "CA2") == [True, False]
        await trio.sleep(house.settings.twilio.token_seconds + 1)
        assert await answers(house, "CA2") == [True]


async def test_callers_whose_streams_other_units_have_do_not_keep_this_one_busy(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
):
    async with house_in_memory(monkeypatch, settings_for(max_calls=2)) as house:
        token = (await ask(house.app, "/twilio/voice", form("CA1"))).token
        assert await answers(house, "CA2", "CA3") == [True, False]
        await trio.sleep(OPENS_WITHIN + 1)
        assert await answers(house, "CA3") == [True]
        await (await house.call("CA1", token=token)).hear()  # who comes late after all is not turned away


async def test_a_server_that_goes_does_not_open_the_stream_again_of_a_call_that_another_unit_lost(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
):
    async with house_in_memory(monkeypatch, settings_for()) as house:
        assert await answers(house, "CA1") == [True]  # and the stream opens there
        house.app.extensions["triode"].switchboard.draining = True
        assert house.app.extensions["triode"].switchboard.no_room("CA1", again=True) == "draining"
        assert await answers(house, "CA1") == [True]  # the webhook is only sent again: a place was promised


@pytest.mark.parametrize("status", ["completed", "canceled", "no-answer"])
async def test_a_caller_who_hangs_up_before_the_stream_gives_the_place_back(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock, status: str
):
    async with house_in_memory(monkeypatch, settings_for(max_calls=1)) as house:
        assert await answers(house, "CA1", "CA2") == [True, False]
        await ask(house.app, "/twilio/status", form("CA1", CallStatus=status))
        assert await answers(house, "CA2") == [True]


async def test_an_open_stream_takes_the_place_that_was_kept_for_it(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
):
    async with house_in_memory(monkeypatch, settings_for(max_calls=2)) as house:
        token = (await ask(house.app, "/twilio/voice", form("CA1"))).token
        await (await house.call("CA1", token=token)).hear()
        assert await answers(house, "CA2", "CA3") == [True, False]


async def test_a_call_that_has_left_its_stream_keeps_no_place_while_something_is_still_being_done_for_the_caller(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
):
    async def slow(_: Errands) -> None:
        await trio.sleep(20)

    monkeypatch.setattr(Errands, "idle", slow)
    async with house_in_memory(monkeypatch, settings_for(max_calls=1)) as house:
        first = await house.call("CA1")
        await first.hear()
        await first.lose()
        assert (await ask(house.app, "/twilio/after", form("CA1"))).kinds == [Connect]  # their own place is theirs
        await trio.sleep(OPENS_WITHIN + 1)
        assert house.app.extensions["triode"].switchboard.active == 1
        assert await answers(house, "CA2") == [True]


async def test_a_drain_waits_for_a_stream_that_another_unit_gave_its_token_and_that_is_being_opened(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
):
    async with house_in_memory(monkeypatch, settings_for(drain_seconds=20.0)) as house:
        phone = Phone(await house.upgrade(), house.last_stream, "CA1", sid("MZ"))
        cut: list[int] = []

        async def drain() -> None:
            cut.append(await house.app.extensions["triode"].switchboard.drain())

        house.nursery.start_soon(drain)
        await trio.sleep(1)
        await phone.connected()
        await phone.start(token=house.token("CA1"))
        await phone.hear()
        assert cut == []
        assert await phone.closing() == 1000
        assert house.store.dispositions["CA1"] is Disposition.RESUME
        await until(lambda: cut)
        assert cut == [0]


async def test_who_opens_a_stream_while_calls_are_moved_is_greeted_and_moved_too(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
):
    async with house_in_memory(monkeypatch, settings_for(drain_seconds=0.0)) as house:
        first = await house.call("CA1")
        await first.hear()
        cut: list[int] = []

        async def drain() -> None:
            cut.append(await house.app.extensions["triode"].switchboard.drain())

        house.nursery.start_soon(drain)
        await trio.sleep(1)
        second = await house.call("CA2")  # another unit gave it its token
        assert [await phone.closing() for phone in (first, second)] == [1000, 1000]
        assert any(message["event"] == "media" for message in second.heard)
        assert [house.store.dispositions[sid] for sid in ("CA1", "CA2")] == [Disposition.RESUME] * 2
        await until(lambda: cut)
        assert cut == [0]


async def test_who_hangs_up_while_the_server_drains_is_not_counted_as_cut_off(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
):
    async with house_in_memory(monkeypatch, settings_for(drain_seconds=20.0), through_hypercorn=True) as house:
        phone = await house.call("CA1")
        await phone.hear()
        cut: list[int] = []

        async def drain() -> None:
            cut.append(await house.app.extensions["triode"].switchboard.drain())

        house.nursery.start_soon(drain)
        await trio.sleep(1)
        await phone.stop()
        await phone.lose()
        await until(lambda: cut)
        assert house.store.dispositions["CA1"] is Disposition.HANG_UP
        assert cut == [0]


async def test_a_call_that_was_moved_is_not_counted_as_cut_off_while_something_is_still_being_done_for_the_caller(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
):
    async def slow(_: Errands) -> None:
        await trio.sleep(60)

    monkeypatch.setattr(Errands, "idle", slow)
    monkeypatch.setattr("transport.switchboard.MOVE_WITHIN", 10.0)
    async with house_in_memory(monkeypatch, settings_for(drain_seconds=0.0)) as house:
        phone = await house.call("CA1")
        await phone.hear()
        switchboard = house.app.extensions["triode"].switchboard
        cut: list[int] = []

        async def drain() -> None:
            cut.append(await switchboard.drain())

        house.nursery.start_soon(drain)
        assert await phone.closing() == 1000
        await until(lambda: cut)
        assert (cut, switchboard.active) == ([0], 1)
        await until(lambda: not switchboard.active)
        assert len(house.store.of("CA1")) == 1


async def test_a_drain_waits_quietly_while_a_call_is_up_and_another_ones_stream_is_with_another_unit(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
):
    class Patience(trio.abc.Instrument):
        """Gives up when there are far more steps than there is anything to do."""

        left = 50_000

        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            self.left -= 1
            if not self.left:
                waits.cancel("somebody asks again and again")

    async with house_in_memory(monkeypatch, settings_for(drain_seconds=60.0)) as house:
        await (await house.call("CA1")).hear()
        assert await answers(house, "CA2") == [True]  # and the stream opens there
        house.nursery.start_soon(house.app.extensions["triode"].switchboard.drain)
        with trio.CancelScope() as waits:
            trio.lowlevel.add_instrument(patience := Patience())
            await trio.sleep(OPENS_WITHIN + 1)
            trio.lowlevel.remove_instrument(patience)
        assert not waits.cancelled_caught


async def drained(house, began: float) -> float:
    """Seconds from `began` until the server has drained."""
    await house.app.extensions["triode"].switchboard.drain()
    return trio.current_time() - began


MENUS = {
    "menu": ("/twilio/ivr/menu", {}),
    "voicemail": ("/twilio/ivr/choice", {"Digits": "2"}),
    "to a human": ("/twilio/ivr/choice", {"Digits": "1"}),
    "to be called back": ("/twilio/ivr/choice", {"Digits": "4"}),
}
THEN = {
    "says goodbye": ("/twilio/ivr/choice", {"Digits": "9"}),
    "hangs up": ("/twilio/status", {"CallStatus": "completed"}),
}


@pytest.mark.parametrize("then", THEN)
@pytest.mark.parametrize("where", MENUS)
async def test_a_drain_waits_for_a_caller_who_is_in_the_menu_and_no_longer(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock, where: str, then: str
):
    async with house_in_memory(monkeypatch, settings_for(drain_seconds=240.0)) as house:
        took: list[float] = []
        path, more = MENUS[where]
        await ask(house.app, path, form("CA1", **more))

        async def drain() -> None:
            took.append(await drained(house, trio.current_time()))

        house.nursery.start_soon(drain)
        await trio.sleep(20)
        assert took == []
        path, more = THEN[then]
        await ask(house.app, path, form("CA1", **more))
        await until(lambda: took)
        assert took == [pytest.approx(20.0, abs=0.5)]


async def test_a_drain_waits_for_who_leaves_the_last_stream_for_the_menu(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
):
    async with house_in_memory(monkeypatch, settings_for(drain_seconds=240.0)) as house:
        phone = await house.call("CA1")
        await phone.hear()
        took: list[float] = []

        async def drain() -> None:
            took.append(await drained(house, trio.current_time()))

        house.nursery.start_soon(drain)
        await trio.sleep(1)
        await phone.lose()
        await trio.sleep(1)  # until the carrier asks
        await ask(house.app, "/twilio/ivr/menu", form("CA1"))
        await trio.sleep(20)
        assert took == []
        await ask(house.app, "/twilio/ivr/choice", form("CA1", Digits="9"))
        await until(lambda: took)
        assert took == [pytest.approx(22.0, abs=0.5)]


@pytest.mark.parametrize("where", MENUS)
async def test_a_drain_does_not_wait_for_ever_for_a_caller_of_whom_another_unit_hears(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock, where: str
):
    async with house_in_memory(monkeypatch, settings_for(drain_seconds=240.0)) as house:
        path, more = MENUS[where]
        await ask(house.app, path, form("CA1", **more))
        assert 30 <= await drained(house, trio.current_time()) <= 180


async def test_who_is_in_the_menu_is_waited_for_no_longer_than_calls_may_go_on(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
):
    async with house_in_memory(monkeypatch, settings_for(drain_seconds=5.0)) as house:
        await ask(house.app, "/twilio/ivr/menu", form("CA1"))
        assert await drained(house, trio.current_time()) == pytest.approx(5.0, abs=0.1)


async def test_a_drain_does_not_wait_for_the_humans_own_call(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
):
    async with house_in_memory(monkeypatch, settings_for(drain_seconds=240.0)) as house:
        await ask(house.app, "/twilio/warm/brief?call=CA1&n=0", form("CA2", Direction="outbound-api"))
        assert await drained(house, trio.current_time()) < 1
