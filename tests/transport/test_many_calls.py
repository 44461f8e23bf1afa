"""Many short calls in one server leave nothing behind: no task, no place on the switchboard, no object of a call."""

import contextlib
import gc
from collections import Counter

import pytest
import trio
from trio.testing import MockClock

from actors.call import Call
from actors.flow import FlowActor
from actors.framer import Framer
from actors.mailbox import Mailbox
from actors.messages import ReplyAudio, ReplyBegan, ReplyEnded, ReplyStatus
from actors.notebook import Notebook
from actors.realtime_link import RealtimeLink
from tests.transport.web_kit import ask, form
from tests.transport.wire_kit import House, Phone, house_in_memory, settings_for, sid, until
from transport import records
from transport.media_lane import LaneSocket
from transport.media_socket import MediaSocket

CALLS = 80
OF_A_CALL = (Call, FlowActor, Framer, RealtimeLink, Notebook, Mailbox, MediaSocket, LaneSocket)


async def hung_up(house: House, phone: Phone) -> None:
    await phone.stop()


async def heard_and_hung_up(house: House, phone: Phone) -> None:
    await phone.media()
    await phone.hear()
    await phone.stop()


async def answered(house: House, phone: Phone) -> None:
    await until(lambda: house.model.sessions)
    with contextlib.suppress(trio.ClosedResourceError):  # the newest session may be another call's, and lost
        house.model.sessions[-1].say(
            ReplyBegan("r"), ReplyAudio("r", "i", b"\x7f" * 800), ReplyEnded("r", ReplyStatus.COMPLETED)
        )
    await phone.hear()
    await phone.stop()


async def without_a_model(house: House, phone: Phone) -> None:
    await until(lambda: house.model.sessions)
    house.model.sessions[-1].lose()
    await phone.hear()
    await phone.lose()


async def cut(house: House, phone: Phone) -> None:
    await phone.hear()
    await phone.lose()


async def typed(house: House, phone: Phone) -> None:
    await phone.key("0")
    await phone.hear()
    await phone.lose()


async def rubbish(house: House, phone: Phone) -> None:
    for message in ("{", b"\xff", '{"event":"media"}'):
        await phone.say(message)
    await phone.stop()


async def too_big(house: House, phone: Phone) -> None:
    await phone.media("A" * 100_000)


ENDINGS = (hung_up, heard_and_hung_up, answered, without_a_model, cut, typed, rubbish, too_big)


async def one_call(house: House, number: int) -> None:
    call_sid = sid()
    token = (await ask(house.app, "/twilio/voice", form(call_sid))).token
    phone = await house.call(call_sid, token="wrong" if number % 10 == 9 else token)
    phone.stream = phone.socket._stream  # the house's last one may be another call's
    if number % 10 != 9:
        await ENDINGS[number % len(ENDINGS)](house, phone)
    await phone.closing()
    await ask(house.app, "/twilio/after", form(call_sid))
    await ask(house.app, "/twilio/status", form(call_sid, CallStatus="completed", SequenceNumber="4"))


def tasks() -> int:
    return trio.lowlevel.current_statistics().tasks_living


def objects() -> Counter[str]:
    gc.collect()
    return Counter(type(each).__name__ for each in gc.get_objects() if isinstance(each, OF_A_CALL))


async def test_many_short_calls_leave_nothing_behind(monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock):
    monkeypatch.setattr(records, "REMEMBERED", 20)
    held = objects()
    async with house_in_memory(monkeypatch, settings_for()) as house:
        await trio.sleep(1)
        before = tasks()
        for first in range(0, CALLS, 10):
            async with trio.open_nursery() as nursery:
                for number in range(first, first + 10):
                    nursery.start_soon(one_call, house, number)
        await until(lambda: house.unfinished == 0, within=300)
        await trio.sleep(30)
        switchboard, kept = house.app.extensions["triode"].switchboard, house.app.extensions["triode"].records
        assert len({record.call_sid for record in house.store.records}) == CALLS * 9 // 10
        assert (switchboard._calls, switchboard._expected) == ({}, {})
        for memory in (kept._stories, kept._dispositions, kept._tokens, kept._reopened):
            assert len(memory) <= records.REMEMBERED
        assert kept._later == {}
        assert house.crashes == []
        assert tasks() == before
        assert objects() == held
