"""The loopback API: messages, their lists and callbacks, refusals and faults; read by the twilio package's own client."""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock
from twilio.base.exceptions import TwilioRestException
from twilio.request_validator import RequestValidator

from tests.kit.patience import PATIENCE
from tests.transport.loopback.carrier_kit import ACCOUNT, PUBLIC, TOKEN
from tests.transport.loopback.rest_kit import ANN, OURS, ROOT, twilios, world
from transport.loopback.rest import RestFaults, segments

SERVICE = "MG" + "5" * 32

# ---------------------------------------------------------------- messages


async def test_a_message_is_taken_and_delivered_and_each_step_is_told_signed(autojump_clock: MockClock) -> None:
    async with world() as w:
        answer = await w.text(Body="Your table is booked.", StatusCallback=f"{PUBLIC}/sms?id=7")
        assert answer.status_code == 201
        created = answer.json()
        (message,) = w.rest.messages
        assert (message.to, message.sender, message.text, message.at) == (ANN, OURS, "Your table is booked.", 0)
        assert (created["status"], created["sid"], created["direction"]) == ("queued", message.sid, "outbound-api")
        assert created["uri"] == f"/2010-04-01/Accounts/{ACCOUNT}/Messages/{message.sid}.json"
        await trio.sleep(5)
        assert message.status == "delivered"
        posts = w.server.asked("/sms")
        assert [post.form["MessageStatus"] for post in posts] == ["queued", "sent", "delivered"]
        assert [post.at for post in posts] == sorted({post.at for post in posts})
        for post in posts:
            assert (post.form["MessageSid"], post.form["To"], post.form["From"]) == (message.sid, ANN, OURS)
            assert "ErrorCode" not in post.form
            assert RequestValidator(TOKEN).validate(post.url, post.form, post.headers["X-Twilio-Signature"])
        fetched = (await w.get(f"Messages/{message.sid}")).json()
        assert (fetched["status"], fetched["body"]) == ("delivered", "Your table is booked.")
        sent = parsedate_to_datetime(fetched["date_sent"]) - parsedate_to_datetime(fetched["date_created"])
        assert timedelta(0) <= sent <= timedelta(seconds=1)
        assert w.rest.problems == []


@pytest.mark.parametrize(
    ("faults", "statuses", "code"),
    [
        (RestFaults(undelivered={ANN: 30003}), ["queued", "sent", "undelivered"], "30003"),
        (RestFaults(failed={ANN: 30034}), ["queued", "failed"], "30034"),
    ],
    ids=["undelivered", "failed"],
)
async def test_a_message_that_does_not_arrive_says_why(
    faults: RestFaults, statuses: list[str], code: str, autojump_clock: MockClock
) -> None:
    async with world(faults=faults) as w:
        sid = (await w.text(StatusCallback=f"{PUBLIC}/sms")).json()["sid"]
        await trio.sleep(5)
        posts = w.server.asked("/sms")
        assert [post.form["MessageStatus"] for post in posts] == statuses
        assert [post.form.get("ErrorCode") for post in posts] == [None] * (len(statuses) - 1) + [code]
        fetched = (await w.get(f"Messages/{sid}")).json()
        assert (fetched["status"], fetched["error_code"]) == (statuses[-1], int(code))


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({"To": ""}, 21604),
        ({"To": "5551234"}, 21211),
        ({"To": "+1555111000a"}, 21211),
        ({"To": "tel:+15551110001"}, 21211),
        ({"From": ""}, 21603),
        ({"From": "+1 415 555"}, 21212),
        ({"From": "A company of many words"}, 21212),
        ({"From": "", "MessagingServiceSid": "MG1"}, 21701),
        ({"To": OURS}, 21266),
        ({"Body": ""}, 21602),
        ({"Body": " \n"}, 21602),
        ({"Body": "a" * 1601}, 21617),
        ({"Body": "", "ContentSid": "HX1"}, 21655),
        ({"StatusCallback": "/sms"}, 21609),
        ({"StatusCallback": "https://my_host/sms"}, 21609),
    ],
    ids=str,
)
async def test_a_message_that_cannot_be_sent_is_refused(
    form: dict[str, str], code: int, autojump_clock: MockClock
) -> None:
    async with world() as w:
        answer = await w.text(**form)
        assert answer.status_code == 400
        assert answer.json().keys() == {"code", "message", "more_info", "status"}
        assert (answer.json()["code"], answer.json()["status"]) == (code, 400)
        assert answer.json()["more_info"] == f"https://www.twilio.com/docs/errors/{code}"
        assert w.rest.messages == []


@pytest.mark.parametrize(
    "form",
    [
        {"Body": "a" * 1600},
        {"From": "12345"},
        {"From": "Triode 2"},
        {"From": "", "MessagingServiceSid": SERVICE},
        {"Body": "", "ContentSid": "HX" + "a" * 32, "ContentVariables": '{"1": "Ann"}'},
        {"To": "whatsapp:+15551110001", "From": "whatsapp:+14155550100"},
    ],
    ids=str,
)
async def test_other_ways_to_send_a_message_are_taken(form: dict[str, str], autojump_clock: MockClock) -> None:
    async with world() as w:
        answer = await w.text(**form)
        assert answer.status_code == 201, answer.text
        (message,) = w.rest.messages
        assert message.service_sid == form.get("MessagingServiceSid", "")
        assert message.content_sid == form.get("ContentSid", "")
        assert w.rest.problems == []


async def test_numbers_that_refuse_are_refused(autojump_clock: MockClock) -> None:
    faults = RestFaults(opted_out=frozenset({ANN}), refuse={"+15551110002": 21614, "+14155550199": 21606})
    async with world(faults=faults) as w:
        third = {"To": "+15551110003", "From": "+14155550199"}
        answers = [await w.text(), await w.text(To="+15551110002"), await w.text(**third)]
        assert [answer.json()["code"] for answer in answers] == [21610, 21614, 21606]
        assert {answer.status_code for answer in answers} == {400}
        assert w.rest.messages == []
        assert (await w.text(To="+15551110003")).status_code == 201


async def test_parameters_that_do_not_exist_are_noticed_and_change_nothing(autojump_clock: MockClock) -> None:
    async with world() as w:
        assert (await w.text(Text="Hi", status_callback=f"{PUBLIC}/sms")).status_code == 201
        assert (await w.get("Messages", Recipient=ANN)).status_code == 200
        assert len(w.rest.problems) == 3
        assert [
            name for name in ("Text", "status_callback", "Recipient") if name not in " ".join(w.rest.problems)
        ] == []


async def test_parameters_without_an_effect_here_are_noticed_apart(autojump_clock: MockClock) -> None:
    async with world() as w:
        assert (await w.text(ValidityPeriod=60)).status_code == 201
        await w.call(MachineDetection="Enable", Method="GET")
        assert w.rest.unheeded == [
            "POST Messages: ValidityPeriod",
            "POST Calls: MachineDetection",
            "POST Calls: Method GET",
        ]
        assert w.rest.problems == []


async def test_what_the_real_api_would_not_do_is_noticed(autojump_clock: MockClock) -> None:
    async with world() as w:
        sid = await w.call(Twiml="<Response/>", StatusCallbackEvent=["answered", "hungup"])
        assert [("Twiml" in one, "hungup" in one) for one in w.rest.problems] == [(True, False), (False, True)]
        await trio.sleep(5)
        await w.post(f"Calls/{sid}", Url=f"{PUBLIC}/x", Hangup="true")
        assert "Hangup" in w.rest.problems[-1]


@given(st.text())
def test_the_segments_of_a_text_hold_all_of_it(text: str) -> None:
    count = segments(text)
    units = len(text.encode("utf-16-le", "surrogatepass")) // 2
    assert count >= 1
    assert units <= (160 if count == 1 else 153 * count)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 1),
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 307, 3),
        ("€" * 80, 1),
        ("€" * 81, 2),
        ("日" * 70, 1),
        ("日" * 71, 2),
    ],
)
def test_texts_are_cut_into_segments(text: str, count: int) -> None:
    assert segments(text) == count


# ---------------------------------------------------------------- lists


async def test_messages_are_listed_newest_first_by_whom_and_when(autojump_clock: MockClock) -> None:
    async with world() as w:
        for number in range(5):
            await w.text(Body=str(number), To=ANN if number % 2 else "+15551110002")
            await trio.sleep(10)

        async def bodies(**query: Any) -> list[str]:
            return [one["body"] for one in (await w.get("Messages", **query)).json()["messages"]]

        assert await bodies() == ["4", "3", "2", "1", "0"]
        assert await bodies(To=ANN) == ["3", "1"]
        assert await bodies(From=OURS, To="+15551110002") == ["4", "2", "0"]
        assert await bodies(From=ANN) == []
        sent = w.rest.messages[2].sent
        assert sent is not None
        at = sent.strftime("%Y-%m-%dT%H:%M:%SZ")
        assert await bodies(**{"DateSent>": at}) == ["4", "3", "2"]
        assert await bodies(**{"DateSent<": at}) == ["2", "1", "0"]
        assert await bodies(**{"DateSent>": at, "To": ANN}) == ["3"]
        assert await bodies(DateSent=at[:10]) == [
            one.text for one in reversed(w.rest.messages) if _day(one.sent) == at[:10]
        ]
        assert await bodies(**{"DateSent>": "2999-01-01"}) == []
        assert (await w.get("Messages", DateSent="yesterday")).json()["code"] == 20001
        assert w.rest.problems == []


def _day(at: datetime | None) -> str:
    return at.strftime("%Y-%m-%d") if at is not None else ""


async def test_a_message_is_listed_from_the_moment_it_is_taken(autojump_clock: MockClock) -> None:
    async with world(faults=RestFaults(lose_answers=1)) as w:
        with pytest.raises(httpx2.ReadTimeout):
            await w.text()
        since = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%d")
        listed = (await w.get("Messages", **{"To": ANN, "DateSent>": since})).json()["messages"]
        assert [one["sid"] for one in listed] == [w.rest.messages[0].sid]


async def test_a_list_comes_in_pages(autojump_clock: MockClock) -> None:
    async with world() as w:
        for number in range(5):
            await w.text(Body=str(number))
        page = (await w.get("Messages", PageSize=2, To=ANN)).json()
        assert [one["body"] for one in page["messages"]] == ["4", "3"]
        assert (page["page"], page["page_size"], page["start"], page["end"]) == (0, 2, 0, 1)
        assert page["previous_page_uri"] is None
        seen = []
        while True:
            seen += [one["body"] for one in page["messages"]]
            if page["next_page_uri"] is None:
                break
            page = (await w.http.get("https://api.twilio.com" + page["next_page_uri"])).json()
        assert seen == ["4", "3", "2", "1", "0"]


# ---------------------------------------------------------------- who may ask, and for what


@pytest.mark.parametrize(
    "auth", [(ACCOUNT, "wrong"), ("AC" + "0" * 32, TOKEN), (ACCOUNT, ""), ("", ""), ("SK" + "1" * 32, "other")], ids=str
)
async def test_wrong_credentials_are_refused(auth: tuple[str, str], autojump_clock: MockClock) -> None:
    async with world(api_keys={"SK" + "1" * 32: "key's secret"}) as w:
        answer = await w.http.get(f"{ROOT}/Messages.json", auth=auth)
        assert (answer.status_code, answer.json()["code"], answer.json()["status"]) == (401, 20003, 401)


async def test_no_credentials_or_none_of_the_kind_are_refused_and_a_key_is_taken(autojump_clock: MockClock) -> None:
    async with world(api_keys={"SK" + "1" * 32: "key's secret"}) as w:
        for given_ in ({}, {"Authorization": "Bearer abc"}, {"Authorization": "Basic ?"}):
            assert (await w.rest.handle("GET", f"{ROOT}/Messages.json", given_, b"")).status == 401
        key = ("SK" + "1" * 32, "key's secret")
        assert (await w.http.get(f"{ROOT}/Messages.json", auth=key)).status_code == 200


async def test_what_is_not_there_is_not_found(autojump_clock: MockClock) -> None:
    async with world() as w:
        other = ROOT.replace(ACCOUNT, "AC" + "0" * 32)
        for url in (
            f"{ROOT}/Messages/SM1.json",
            f"{ROOT}/Calls/CA1.json",
            f"{ROOT}/Queues.json",
            f"{other}/Calls.json",
        ):
            answer = await w.http.get(url)
            assert (answer.status_code, answer.json()["code"]) == (404, 20404)
        assert (await w.http.delete(f"{ROOT}/Messages.json")).status_code == 405
        assert (await w.post("Calls/CA1", Status="completed")).json()["code"] == 20404


# ---------------------------------------------------------------- faults


async def test_statuses_come_in_turn_and_nothing_is_done(autojump_clock: MockClock) -> None:
    async with world(faults=RestFaults(statuses=(429, 0, 500, 503))) as w:
        answers = [await w.text(Body=str(number)) for number in range(5)]
        assert [answer.status_code for answer in answers] == [429, 201, 500, 503, 201]
        assert [answer.json().get("code") for answer in answers] == [20429, None, 20500, 20503, None]
        assert [message.text for message in w.rest.messages] == ["1", "4"]
        assert [status for _, _, status in w.rest.requests] == [429, 201, 500, 503, 201]
        assert {(method, path) for method, path, _ in w.rest.requests} == {("POST", "/Messages.json")}


async def test_a_slow_answer_comes_after_the_deed(autojump_clock: MockClock) -> None:
    async with world(faults=RestFaults(slow=3)) as w:
        assert (await w.text()).json()["status"] == "queued"
        assert trio.current_time() == 3
        assert (w.rest.messages[0].at, w.rest.messages[0].status) == (0, "delivered")


async def test_a_lost_answer_hangs_until_the_client_gives_up_and_the_message_is_sent(autojump_clock: MockClock) -> None:
    async with world(faults=RestFaults(lose_answers=2), seconds=8) as w:
        assert (await w.text(Body="")).status_code == 400  # not carried out, so there is nothing to lose
        assert (await w.get("Messages")).status_code == 200
        for _ in range(2):
            with pytest.raises(httpx2.ReadTimeout):
                await w.text(Body="once")
        assert trio.current_time() == 16
        assert (await w.text(Body="twice")).status_code == 201
        assert [message.text for message in w.rest.messages] == ["once", "once", "twice"]
        await trio.sleep(5)
        assert {message.status for message in w.rest.messages} == {"delivered"}


async def test_a_server_that_does_not_take_callbacks_changes_nothing(autojump_clock: MockClock) -> None:
    async with world() as w:
        w.server.slow = 100
        await w.text(StatusCallback=f"{PUBLIC}/sms")
        await trio.sleep(60)
        assert w.rest.messages[0].status == "delivered"
        assert [post.at for post in w.server.asked("/sms")] == pytest.approx([0, 15.4, 31.6])


# ---------------------------------------------------------------- the twilio package, and a real socket


async def test_twilios_package_sends_lists_and_fetches() -> None:
    async with world() as w:
        client = twilios(w.rest)

        def use() -> None:
            made = client.messages.create(to=ANN, from_=OURS, body="Hello", status_callback=f"{PUBLIC}/sms")
            assert (made.status, made.body, made.to, made.from_) == ("queued", "Hello", ANN, OURS)
            assert (made.error_code, made.num_segments, made.account_sid) == (None, "1", ACCOUNT)
            assert made.date_created is not None
            for number in range(3):
                client.messages.create(to=ANN, messaging_service_sid=SERVICE, body=str(number))
            assert client.messages(str(made.sid)).fetch().body == "Hello"
            since = datetime.now(UTC) - timedelta(minutes=5)
            listed = client.messages.list(to=ANN, date_sent_after=since, page_size=2)
            assert [one.body for one in listed] == ["2", "1", "0", "Hello"]
            assert [one.messaging_service_sid for one in listed] == [SERVICE] * 3 + [None]

        with trio.fail_after(PATIENCE):
            await trio.to_thread.run_sync(use)
        assert w.rest.problems == []


async def test_twilios_package_raises_what_we_refuse() -> None:
    async with world(faults=RestFaults(opted_out=frozenset({ANN}))) as w:

        def use() -> None:
            with pytest.raises(TwilioRestException) as refused:
                twilios(w.rest).messages.create(to=ANN, from_=OURS, body="Hello")
            assert (refused.value.status, refused.value.code) == (400, 21610)
            with pytest.raises(TwilioRestException) as unknown:
                twilios(w.rest, password="wrong").messages.create(to=ANN, from_=OURS, body="Hello")
            assert (unknown.value.status, unknown.value.code) == (401, 20003)
            with pytest.raises(TwilioRestException) as missing:
                twilios(w.rest).calls("CA" + "0" * 32).fetch()
            assert (missing.value.status, missing.value.code) == (404, 20404)

        with trio.fail_after(PATIENCE):
            await trio.to_thread.run_sync(use)


async def test_over_a_socket_it_is_the_same(nursery: trio.Nursery) -> None:
    with trio.fail_after(PATIENCE):
        async with world(faults=RestFaults(lose_answers=1)) as w:
            port = await nursery.start(w.rest.serve)
            url = f"http://127.0.0.1:{port}/2010-04-01/Accounts/{ACCOUNT}/Messages.json"
            form = {"To": ANN, "From": OURS, "Body": "Hé & so"}
            async with httpx2.AsyncClient(auth=(ACCOUNT, TOKEN), trust_env=False, timeout=0.5) as http:
                with pytest.raises(httpx2.ReadTimeout):
                    await http.post(url, data=form)
            async with httpx2.AsyncClient(auth=(ACCOUNT, TOKEN), trust_env=False, timeout=PATIENCE) as http:
                listed = (await http.get(url, params={"To": ANN})).json()["messages"]
                assert [one["body"] for one in listed] == ["Hé & so"]
                assert (await http.post(url, data=form)).status_code == 201
            nursery.cancel_scope.cancel("the test is over")
