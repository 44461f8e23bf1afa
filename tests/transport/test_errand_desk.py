"""The errand desk: a text message is sent at most once, whatever fails, and what came of it is known or said not to be."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import attrs
import httpx2
import pytest
import trio
from trio.testing import MockClock

from tests.transport.loopback.carrier_kit import ACCOUNT, PUBLIC, TOKEN
from tests.transport.loopback.rest_kit import ANN, OURS, World, world
from transport.errand_desk import OPTED_OUT, PAUSES, TOO_MANY_TEXTS, WHY, ErrandDesk
from transport.loopback.memory_store import MemoryStore
from transport.loopback.rest import RestFaults
from transport.metrics import Metrics
from transport.store import DAY, ErrandRow, StoreDown
from transport.twilio_rest import open_rest

BOB = "+15551110002"
CALLBACK = f"{PUBLIC}/sms"
KEY = "confirm.1"
TEXT = "Your appointment is on Friday at three."


class Way(httpx2.AsyncBaseTransport):
    """The way to the API: the first requests fail with `errors`, before they are there."""

    def __init__(self, inner: httpx2.AsyncBaseTransport) -> None:
        self.inner = inner
        self.errors: list[Exception] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if self.errors:
            raise self.errors.pop(0)
        return await self.inner.handle_async_request(request)


@attrs.define
class Desk:
    """A desk, what it stands on, and what it did."""

    world: World
    store: MemoryStore
    desk: ErrandDesk
    metrics: Metrics
    way: Way

    async def send(self, key: str = KEY, to: str = ANN, text: str = TEXT, call: str = "CA1") -> tuple[str, Any]:
        return await self.desk.of_call(OURS).send_text(call, key, to, text)

    @property
    def texts(self) -> list[str]:
        return [message.text for message in self.world.rest.messages]

    @property
    def row(self) -> ErrandRow:
        return self.store.errand_rows[f"CA1/{KEY}"]

    def counted(self, outcome: str) -> float:
        labels = {"name": "sms", "outcome": outcome}
        return self.metrics.registry.get_sample_value("triode_errands_total", labels) or 0


@contextlib.asynccontextmanager
async def a_desk(
    faults: RestFaults | None = None, store: MemoryStore | None = None, *, sender: str = "", a_day: int = 0
) -> AsyncIterator[Desk]:
    async with world(faults=faults) as w:
        way = Way(w.rest.transport())
        async with open_rest(ACCOUNT, TOKEN, "https://api.twilio.com", way) as rest:
            store, metrics = store or MemoryStore(), Metrics(lambda: 0)
            desk = ErrandDesk(store, rest, metrics, sender, CALLBACK, trio.current_time, a_day)
            yield Desk(w, store, desk, metrics, way)


# ---------------------------------------------------------------- sent, once


async def test_a_text_is_sent_from_the_number_that_was_called(autojump_clock: MockClock) -> None:
    async with a_desk() as d:
        assert await d.send() == ("done", {})
        (message,) = d.world.rest.messages
        assert (message.to, message.sender, message.text, message.callback) == (
            ANN,
            OURS,
            TEXT,
            f"{CALLBACK}?errand=CA1%2F{KEY}",
        )
        assert (d.row.status, d.row.reference, d.row.call_sid, d.row.name) == ("done", message.sid, "CA1", "sms")
        assert d.counted("done") == 1


async def test_a_sender_in_the_settings_comes_first(autojump_clock: MockClock) -> None:
    async with a_desk(sender="MG" + "5" * 32) as d:
        assert await d.send() == ("done", {})
        assert d.world.rest.messages[0].service_sid == "MG" + "5" * 32


async def test_asked_again_it_tells_what_came_of_it_and_sends_nothing(autojump_clock: MockClock) -> None:
    async with a_desk() as d:
        assert await d.send() == ("done", {})
        assert await d.send() == ("done", {})
        assert await d.send(text="another text under the same key") == ("done", {})
        assert d.texts == [TEXT]
        assert d.counted("done") == 1


async def test_another_key_or_another_call_is_another_errand(autojump_clock: MockClock) -> None:
    async with a_desk() as d:
        for key, call in ((KEY, "CA1"), ("confirm.2", "CA1"), (KEY, "CA2")):
            assert (await d.send(key, call=call))[0] == "done"
        assert len(d.texts) == 3


async def test_of_many_that_ask_at_once_one_sends(autojump_clock: MockClock) -> None:
    came: list[str] = []
    async with a_desk(RestFaults(slow=1), MemoryStore(slow=0.05)) as d, a_desk(store=d.store) as other:
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:

                async def ask(desk: Desk) -> None:
                    came.append((await desk.send())[0])

                for desk in (d, other, d, other):
                    nursery.start_soon(ask, desk)
        assert len(d.texts + other.texts) == 1
        assert "done" in came
        assert set(came) <= {"done", "unknown"}  # nobody says that it failed


async def test_two_desks_that_share_a_store_send_it_once_and_agree_about_it(autojump_clock: MockClock) -> None:
    async with a_desk() as here, a_desk(store=here.store) as there:
        assert await here.send() == ("done", {})
        assert await there.send() == ("done", {})
        assert (len(here.texts), len(there.texts)) == (1, 0)


async def test_what_was_begun_before_and_never_settled_is_not_sent_again(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    await store.claim_errand(f"CA1/{KEY}", "CA1", "sms", 1.0)  # by a process that died
    async with a_desk(store=store) as d:
        outcome, detail = await d.send()
        assert outcome == "unknown"
        assert detail["reason"]
        assert d.texts == []


async def test_a_desk_that_is_cancelled_while_it_sends_does_not_send_again(autojump_clock: MockClock) -> None:
    async with a_desk(RestFaults(slow=5)) as d, a_desk(store=d.store) as elsewhere:
        with trio.move_on_after(1):
            await d.send()
        assert (await d.send())[0] == "unknown"
        assert (await elsewhere.send())[0] == "unknown"
        assert (d.texts, elsewhere.texts) == ([TEXT], [])


@pytest.mark.parametrize(("to", "called"), [("", OURS), (ANN, ""), ("", "")])
async def test_without_a_number_nothing_is_tried_and_it_says_which_is_missing(
    to: str, called: str, autojump_clock: MockClock
) -> None:
    async with a_desk() as d:
        outcome, detail = await d.desk.of_call(called).send_text("CA1", KEY, to, TEXT)
        assert outcome == "failed"
        assert ("to send it to" if not to else "to send from") in str(detail["reason"])
        assert d.store.errand_rows == {}
        assert d.world.rest.requests == []
        assert await d.send() == ("done", {})  # the key is as good as new


# ---------------------------------------------------------------- the API fails


FAULTS: dict[str, tuple[RestFaults, int, str, int]] = {
    "its answer is lost": (RestFaults(lose_answers=1), 0, "done", 1),
    "two answers are lost": (RestFaults(lose_answers=2), 0, "done", 1),
    "500": (RestFaults(statuses=(500,)), 0, "unknown", 0),
    "503": (RestFaults(statuses=(503,)), 0, "unknown", 0),
    "500, and again when it is looked for": (RestFaults(statuses=(500, 500)), 0, "unknown", 0),
    "429 once": (RestFaults(statuses=(429,)), 0, "done", 1),
    "429 as often as it is tried but once": (RestFaults(statuses=(429,) * len(PAUSES)), 0, "done", 1),
    "429 always": (RestFaults(statuses=(429,) * 99), 0, "failed", 0),
    "429, then 500": (RestFaults(statuses=(429, 500)), 0, "unknown", 0),
    "429, then a lost answer": (RestFaults(statuses=(429,), lose_answers=1), 0, "done", 1),
    "no connection once": (RestFaults(), 1, "done", 1),
    "no connection as often as it is tried but once": (RestFaults(), len(PAUSES), "done", 1),
    "no connection ever": (RestFaults(), 99, "failed", 0),
    "no connection, then a lost answer": (RestFaults(lose_answers=1), 2, "done", 1),
    "slow": (RestFaults(slow=7), 0, "done", 1),
    "no credentials": (RestFaults(statuses=(401,)), 0, "failed", 0),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_whatever_fails_it_is_sent_at_most_once_and_that_is_told(fault: str, autojump_clock: MockClock) -> None:
    faults, unreached, expected, sent = FAULTS[fault]
    async with a_desk(faults) as d:
        d.way.errors = [httpx2.ConnectError("refused")] * unreached
        with trio.fail_after(20):  # as an errand has
            outcome, detail = await d.send()
        assert (outcome, len(d.texts)) == (expected, sent)
        assert d.row.status == expected
        assert d.row.reference == (d.world.rest.messages[0].sid if sent else "")
        if expected != "done":
            assert detail["reason"]
        d.way.errors = []
        assert (await d.send())[0] == expected  # asked again it is not tried again
        assert len(d.texts) == sent
        assert d.counted(expected) == 1


@pytest.mark.parametrize("error", [httpx2.ReadError, httpx2.RemoteProtocolError, httpx2.WriteError])
async def test_a_connection_that_breaks_is_not_tried_again(error: type[Exception], autojump_clock: MockClock) -> None:
    async with a_desk() as d:
        d.way.errors = [error("broken")]
        outcome, detail = await d.send()
        assert outcome == "unknown"
        assert "lost" in str(detail["reason"])
        assert d.texts == []


async def test_a_message_that_was_sent_earlier_is_not_taken_for_one_whose_fate_is_unknown(
    autojump_clock: MockClock,
) -> None:
    async with a_desk(RestFaults(statuses=(0, 500))) as d:
        assert await d.send() == ("done", {})
        await trio.sleep(30)
        assert (await d.send("again.1"))[0] == "unknown", "the same text, and the API has not carried it out"
        assert d.texts == [TEXT]


@pytest.mark.parametrize(("code", "reason"), WHY.items())
async def test_a_refusal_is_told_in_words(code: int, reason: str, autojump_clock: MockClock) -> None:
    async with a_desk(RestFaults(refuse={ANN: code})) as d:
        assert await d.send() == ("failed", {"code": code, "reason": reason})
        assert len(d.world.rest.requests) == 1
        assert (d.row.status, d.row.detail) == ("failed", {"code": code, "reason": reason})


async def test_a_refusal_that_nobody_explained_is_one(autojump_clock: MockClock) -> None:
    async with a_desk(RestFaults(refuse={ANN: 21999})) as d:
        assert await d.send() == ("failed", {"code": 21999, "reason": "it was refused"})


# ---------------------------------------------------------------- who wants no messages


async def test_who_opted_out_is_remembered_and_never_texted_again(autojump_clock: MockClock) -> None:
    async with a_desk(RestFaults(opted_out=frozenset({ANN}))) as d, a_desk(store=d.store) as elsewhere:
        assert await d.send() == ("opted_out", {"code": OPTED_OUT})
        assert await d.store.has_opted_out(ANN)
        assert d.row.status == "opted_out"
        asked = len(d.world.rest.requests)
        assert (await d.send("again.1"))[0] == "opted_out"
        assert (await elsewhere.send("again.2", call="CA2"))[0] == "opted_out"
        assert d.store.errand_rows["CA2/again.2"].status == "opted_out", "the backend is told why there was no message"
        assert elsewhere.counted("opted_out") == 1
        assert len(d.world.rest.requests) == asked
        assert elsewhere.world.rest.requests == []
        assert (await d.send(to=BOB, key="again.3"))[0] == "done"


async def test_a_number_is_not_texted_without_end_however_many_calls_ask_for_it(autojump_clock: MockClock) -> None:
    async with a_desk(a_day=3) as d:
        outcomes = [await d.send(call=f"CA{number}") for number in range(5)]
        assert outcomes == [("done", {})] * 3 + [("failed", {"reason": TOO_MANY_TEXTS})] * 2
        assert len(d.texts) == 3
        assert (await d.send(to=BOB, call="CA6"))[0] == "done"
        await trio.sleep(DAY)
        assert (await d.send(call="CA7"))[0] == "done"


async def test_an_opt_out_that_the_store_did_not_take_is_learnt_again(autojump_clock: MockClock) -> None:
    async with a_desk(RestFaults(opted_out=frozenset({ANN}))) as d:
        d.store.down = True
        assert (await d.send())[0] == "opted_out"
        d.store.down = False
        assert (await d.send("again.1"))[0] == "opted_out"
        assert await d.store.has_opted_out(ANN)
        assert d.texts == []


# ---------------------------------------------------------------- the store fails


def failures(d: Desk, what: str) -> float:
    return d.metrics.registry.get_sample_value("triode_store_failures_total", {"what": what}) or 0


async def test_with_the_store_down_it_is_sent_once_as_far_as_this_process_knows(autojump_clock: MockClock) -> None:
    async with a_desk() as d:
        d.store.down = True
        assert await d.send() == ("done", {})
        assert (await d.send())[0] == "unknown"
        d.store.down = False
        assert (await d.send())[0] in {"done", "unknown"}
        assert d.texts == [TEXT]
        assert failures(d, "claim") >= 1
        assert failures(d, "settle") == 1


async def test_a_store_that_falls_between_claim_and_settle_leaves_it_begun(autojump_clock: MockClock) -> None:
    async with a_desk(RestFaults(slow=1)) as d, a_desk(store=d.store) as elsewhere:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(d.send)
            await trio.sleep(0.5)
            d.store.down = True
        d.store.down = False
        assert d.row.status == "begun"
        assert (await elsewhere.send())[0] == "unknown"
        assert (await d.send())[0] == "unknown"
        assert (d.texts, elsewhere.texts) == ([TEXT], [])


class _ClaimsGetLost(MemoryStore):
    """The first claim is kept, and its answer is lost."""

    lost = False

    async def claim_errand(self, key: str, call_sid: str, name: str, now: float) -> ErrandRow | None:
        came = await super().claim_errand(key, call_sid, name, now)
        if not self.lost:
            self.lost = True
            raise StoreDown("the connection is gone")
        return came


async def test_a_claim_whose_answer_was_lost_is_one(autojump_clock: MockClock) -> None:
    store = _ClaimsGetLost()
    async with a_desk(store=store) as d, a_desk(store=store) as elsewhere:
        assert (await d.send())[0] == "done"
        assert (await elsewhere.send())[0] == "done"
        assert (d.texts, elsewhere.texts) == ([TEXT], [])


async def test_a_tool_of_python_is_begun_once_too(autojump_clock: MockClock) -> None:
    async with a_desk() as d, a_desk(store=d.store) as elsewhere:
        mine, theirs = d.desk.of_call(OURS), elsewhere.desk.of_call(OURS)
        assert await mine.claim("CA1", "tool.1", "book")
        assert not await mine.claim("CA1", "tool.1", "book")
        assert not await theirs.claim("CA1", "tool.1", "book")
        await mine.settle("CA1", "tool.1", "done")
        (row,) = await d.store.errands("CA1")
        assert (row.name, row.status) == ("book", "done")


async def test_what_came_of_a_tool_with_an_effect_is_known_to_who_asks_elsewhere(autojump_clock: MockClock) -> None:
    async with a_desk() as d, a_desk(store=d.store) as elsewhere:
        mine, theirs = d.desk.of_call(OURS), elsewhere.desk.of_call(OURS)
        assert await mine.came("CA1", "once.book.0#7") == ("unknown", {})
        assert await mine.claim("CA1", "once.book.0#7", "book")
        assert await theirs.came("CA1", "once.book.0#7") == ("unknown", {})
        await mine.settle("CA1", "once.book.0#7", "done", {"status": "booked"})
        assert await theirs.came("CA1", "once.book.0#7") == ("done", {"status": "booked"})


async def test_a_tool_of_python_is_begun_once_while_the_store_is_down(autojump_clock: MockClock) -> None:
    async with a_desk(store=MemoryStore(down=True)) as d:
        port = d.desk.of_call(OURS)
        assert [await port.claim("CA1", "tool.1", "book") for _ in range(3)] == [True, False, False]


# ---------------------------------------------------------------- what became of it


async def tell(d: Desk, sid: str, *statuses: str, code: str = "") -> Mapping[str, object]:
    for status in statuses:
        await d.desk.message_status(sid, status, code if status in {"undelivered", "failed"} else "")
    return d.row.detail


ORDERS = [
    ("queued", "sent", "delivered"),
    ("sent", "delivered", "queued"),
    ("delivered", "sent", "queued"),
    ("delivered", "undelivered"),
    ("queued", "queued", "delivered", "delivered"),
]


@pytest.mark.parametrize("order", ORDERS, ids=str)
async def test_in_whatever_order_news_comes_the_last_word_stays(
    order: tuple[str, ...], autojump_clock: MockClock
) -> None:
    async with a_desk() as d:
        await d.send()
        assert (await tell(d, d.row.reference, *order))["delivery"] == "delivered"
        assert d.row.status == "done"


@pytest.mark.parametrize("status", ["undelivered", "failed"])
async def test_why_a_message_did_not_arrive_is_kept(status: str, autojump_clock: MockClock) -> None:
    async with a_desk() as d:
        await d.send()
        detail = await tell(d, d.row.reference, "queued", "sent", status, "sent", "delivered", code="30003")
        assert detail == {"delivery": status, "error_code": "30003"}


async def test_news_that_come_at_once_do_not_undo_each_other(autojump_clock: MockClock) -> None:
    async with a_desk(store=MemoryStore(slow=0.05)) as d:
        await d.send()
        async with trio.open_nursery() as nursery:
            for status in ("delivered", "sent"):
                nursery.start_soon(d.desk.message_status, d.row.reference, status, "")
        assert d.row.detail["delivery"] == "delivered"


async def test_news_of_a_message_that_is_not_known_change_nothing(autojump_clock: MockClock) -> None:
    async with a_desk() as d:
        await d.send()
        before = d.row
        await d.desk.message_status("SMunknown", "delivered", "")
        await d.desk.message_status("", "delivered", "")
        assert d.row == before


async def test_news_while_the_store_is_down_are_lost_and_harm_nothing(autojump_clock: MockClock) -> None:
    async with a_desk() as d:
        await d.send()
        d.store.down = True
        await d.desk.message_status(d.row.reference, "delivered", "")
        assert failures(d, "message status") == 1


async def test_what_became_of_a_message_is_known_though_its_answer_came_after_the_news(
    autojump_clock: MockClock,
) -> None:
    async with a_desk(RestFaults(slow=5)) as d:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(d.send)
            await trio.sleep(3)
            (message,) = d.world.rest.messages
            await d.desk.message_status(message.sid, "delivered", "", f"CA1/{KEY}")
        assert d.row.status == "done"
        assert d.row.detail.get("delivery") == "delivered"


async def test_a_message_whose_answers_are_all_lost_was_sent_if_there_is_news_of_it(autojump_clock: MockClock) -> None:
    async with a_desk(RestFaults(slow=12)) as d:  # longer than is waited, also for the list of messages
        came: list[tuple[str, Any]] = []
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                came.append(await d.send())

            nursery.start_soon(send)
            await trio.sleep(3)
            (message,) = d.world.rest.messages
            await d.desk.message_status(message.sid, "sent", "", f"CA1/{KEY}")
        assert came == [("done", {})]
        assert (d.row.status, d.row.reference) == ("done", message.sid)


async def test_news_of_a_message_whose_answer_was_lost_tell_that_it_was_sent(autojump_clock: MockClock) -> None:
    async with a_desk() as d:
        await d.store.claim_errand(f"CA1/{KEY}", "CA1", "sms", 1.0)  # by a process that died before it had the answer
        await d.desk.message_status("SM1", "sent", "", f"CA1/{KEY}")
        assert (d.row.status, d.row.reference, d.row.detail) == ("done", "SM1", {"delivery": "sent"})
