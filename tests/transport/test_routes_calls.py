"""The routes of a call: it rings, its stream was left, a webhook failed, its state is told; nothing is done twice."""

from pathlib import Path
from xml.etree import ElementTree

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from actors.messages import Before, Disposition
from tests.transport import wire_kit
from tests.transport.web_kit import TOKENS, ask, form, metric, rows, send, stored_house
from tests.transport.wire_kit import PUBLIC, House, house_in_memory, settings_for, sid
from transport.loopback.twiml_reader import Connect, Dial, Gather, Hangup, Record, Redirect, Say
from transport.routes_calls import STORE_PATIENCE
from transport.store import FINAL, StoreDown
from transport.stream_token import BadToken
from transport.twiml import REOPEN_AT_MOST, WHY


@pytest.fixture
async def house(monkeypatch: pytest.MonkeyPatch):
    async with house_in_memory(monkeypatch) as house:
        yield house


# ---------------------------------------------------------------- a call rings


async def test_a_ringing_call_is_connected_to_the_media_stream(house: House):
    answer = await ask(house.app, "/twilio/voice")
    (connect,) = answer.verbs
    assert isinstance(connect, Connect)
    assert (connect.url, connect.action) == (wire_kit.MEDIA_URL, f"{PUBLIC}/twilio/after")
    assert connect.status_callback == f"{PUBLIC}/twilio/stream-status"
    assert (list(connect.parameters), connect.warnings) == (["token"], ())
    stream = next(ElementTree.fromstring(answer.body).iter("Stream"))
    assert set(stream.attrib) == {"url", "statusCallback", "statusCallbackMethod"}  # of <Connect> all else is refused


async def test_the_token_opens_a_stream_of_this_call_alone(house: House, autojump_clock: MockClock):
    call_sid = sid()
    token = (await ask(house.app, "/twilio/voice", form(call_sid))).token
    assert TOKENS.check(token, call_sid).before is not Before.CUT_OFF
    with pytest.raises(BadToken):
        TOKENS.check(token, sid())
    await (await house.call(call_sid, token=token)).hear()


async def test_a_webhook_that_is_sent_again_is_answered_again_with_a_token_of_its_own(tmp_path: Path):
    async with stored_house(tmp_path) as app:
        tokens = [(await ask(app, "/twilio/voice")).token for _ in range(3)]
        assert len({TOKENS.check(token, "CA1").nonce for token in tokens}) == 3
        assert rows(tmp_path, "calls", "call_sid, caller, called") == [("CA1", "+15550002222", "+15550003333")]


async def test_a_full_server_answers_with_the_menu(monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock):
    async with house_in_memory(monkeypatch, settings_for(max_calls=1)) as house:
        phone = await house.call()
        await phone.hear()
        answer = await ask(house.app, "/twilio/voice")
        assert answer.kinds == [Gather, Redirect]
        assert answer.said.startswith(WHY["busy"])
        assert await metric(house.app, "triode_refused_total", why="full") == 1
        assert (await send(house.app, "GET", "/readyz")).status == 503
        await phone.stop()
        await phone.closing()
        await trio.sleep(5)
        assert (await send(house.app, "GET", "/readyz")).status == 200
        assert (await ask(house.app, "/twilio/voice")).kinds == [Connect]


async def test_a_caller_does_not_wait_for_a_store_that_hangs(house: House, autojump_clock: MockClock):
    async def hang(*_: object) -> None:
        await trio.sleep_forever()

    house.store.answered = hang
    began = trio.current_time()
    assert (await ask(house.app, "/twilio/voice")).kinds == [Connect]
    assert trio.current_time() - began <= STORE_PATIENCE


# ---------------------------------------------------------------- the stream was left

AFTER = {
    Disposition.HANG_UP: [Hangup],
    Disposition.DIAL: [Say, Dial],
    Disposition.VOICEMAIL: [Say, Record, Say, Hangup],
    Disposition.IVR: [Gather, Redirect],
}


@pytest.mark.parametrize("disposition", AFTER)
async def test_what_was_decided_is_done_however_often_it_is_asked(house: House, disposition: Disposition):
    await house.store.keep_disposition("CA1", disposition)
    answers = [await ask(house.app, "/twilio/after") for _ in range(3)]
    assert answers[0].kinds == AFTER[disposition]
    assert len({answer.body for answer in answers}) == 1
    assert house.store.reopened == {}


@pytest.mark.parametrize("disposition", [None, Disposition.RESUME])
async def test_an_undecided_stream_is_opened_again_a_few_times_and_then_the_menu_follows(
    house: House, disposition: Disposition | None
):
    for _ in range(REOPEN_AT_MOST):
        if disposition:
            await house.store.keep_disposition("CA1", disposition)
        answer = await ask(house.app, "/twilio/after")
        assert answer.kinds == [Connect]
        assert TOKENS.check(answer.token, "CA1").before is Before.CUT_OFF
    for _ in range(2):
        answer = await ask(house.app, "/twilio/after")
        assert answer.kinds == [Gather, Redirect]
        assert answer.said.startswith(WHY["trouble"])
    assert (await ask(house.app, "/twilio/after", form("CA2"))).kinds == [Connect]  # another call has its own count


@pytest.mark.parametrize("disposition", [None, *Disposition])
@pytest.mark.parametrize("status", sorted(FINAL))
async def test_after_the_end_of_a_call_nothing_is_begun(house: House, status: str, disposition: Disposition | None):
    if disposition:
        await house.store.keep_disposition("CA1", disposition)
    assert (await ask(house.app, "/twilio/after", form(CallStatus=status))).verbs == [Hangup()]
    assert house.store.reopened == {}


async def test_without_the_store_an_undecided_caller_gets_the_menu(house: House):
    async def away(*_: object) -> None:
        raise StoreDown("away")

    house.store.take_disposition = house.store.reopen = house.store.answered = away
    assert (await ask(house.app, "/twilio/voice")).kinds == [Connect]
    assert (await ask(house.app, "/twilio/after")).kinds == [Gather, Redirect]
    for what in ("answered", "disposition", "reopen"):
        assert await metric(house.app, "triode_store_failures_total", what=what) == 1


# ---------------------------------------------------------------- the fallback


@pytest.mark.parametrize(
    ("failed", "again"),
    [
        ("/twilio/voice", "/twilio/voice?again=1"),
        ("/twilio/after", "/twilio/after?again=1"),
        ("/twilio/ivr/wait?since=1700000000", "/twilio/ivr/wait?since=1700000000&again=1"),
        ("/twilio/ivr/answer?question=call-number&tries=0", "/twilio/ivr/answer?question=call-number&tries=0&again=1"),
        ("/twilio/warm/back?outcome=busy&n=0", "/twilio/warm/back?outcome=busy&n=0&again=1"),
    ],
)
async def test_a_webhook_that_nobody_answered_is_asked_once_more(house: House, failed: str, again: str) -> None:
    fields = form(ErrorCode="11200", ErrorUrl=PUBLIC + failed)
    (verb,) = (await ask(house.app, "/twilio/fallback", fields)).verbs
    assert isinstance(verb, Redirect)
    assert verb.url == PUBLIC + again
    assert (await ask(house.app, again)).verbs
    second = form(ErrorCode="11200", ErrorUrl=PUBLIC + again)
    assert (await ask(house.app, "/twilio/fallback", second)).kinds == [Gather, Redirect]


async def test_a_human_is_offered_the_call_once_more_and_never_hears_the_menu_of_callers(house: House) -> None:
    failed = f"{PUBLIC}/twilio/warm/answer?call=CA1&n=0"
    fields = form(Direction="outbound-api", ErrorUrl=failed)
    (verb,) = (await ask(house.app, "/twilio/fallback", fields)).verbs
    assert isinstance(verb, Redirect)
    assert verb.url == f"{PUBLIC}/twilio/warm/brief?call=CA1&n=0&again=1"
    second = form(Direction="outbound-api", ErrorUrl=verb.url)
    assert (await ask(house.app, "/twilio/fallback", second)).kinds == [Say, Hangup]


@pytest.mark.parametrize("failed", ["", f"{PUBLIC}/twilio/dialed", "https://elsewhere.example.com/twilio/voice"])
async def test_what_cannot_be_asked_once_more_leads_to_the_menu(house: House, failed: str) -> None:
    answer = await ask(house.app, "/twilio/fallback", form(ErrorUrl=failed))
    assert answer.kinds == [Gather, Redirect]


# ---------------------------------------------------------------- status callbacks

COURSE = ["initiated", "ringing", "in-progress"]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    final=st.sampled_from(sorted(FINAL)),
    order=st.permutations(range(4)).flatmap(lambda o: st.lists(st.sampled_from(o), max_size=3).map(lambda x: [*o, *x])),
)
async def test_statuses_in_any_order_and_number_leave_the_final_one(tmp_path: Path, final: str, order: list[int]):
    call_sid, best = sid(), -1
    async with stored_house(tmp_path) as app:
        for number in order:
            fields = form(call_sid, CallStatus=[*COURSE, final][number], SequenceNumber=str(number))
            assert (await ask(app, "/twilio/status", fields)).status == 204
            best = max(best, number)
            row = await app.extensions["triode"].store.call(call_sid)
            assert row["status"] == [*COURSE, final][best]
        assert row["ended"] is not None
        assert (row["caller"], row["called"]) == (fields["From"], fields["To"])


@given(order=st.permutations(["stream-started", "stream-error", "stream-stopped", "stream-stopped", "new"]))
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_news_of_a_stream_is_taken_in_any_order_and_changes_nothing(tmp_path: Path, order: list[str]):
    async with stored_house(tmp_path) as app:
        for event in order:
            error = {"StreamError": "31921 - closed"} if event == "stream-error" else {}
            fields = form(StreamSid="MZ1", StreamEvent=event, Timestamp="2026-03-01T12:00:00.1Z", **error)
            assert (await ask(app, "/twilio/stream-status", fields)).status == 204
        assert rows(tmp_path, "calls") == []
        assert await metric(app, "triode_trouble_total", kind="stream error") == 1
