"""The HTTP routes: only Twilio is answered, every answer leads on or ends the call, and nothing is done twice."""

import contextlib
import itertools
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree

import attrs
import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from quart_trio import QuartTrio
from trio.testing import MockClock

from actors.messages import Before, Disposition
from tests.transport import wire_kit
from tests.transport.wire_kit import PUBLIC, House, house_in_memory, settings_for, sid, signature
from transport.loopback.twiml_reader import Connect, Dial, Gather, Hangup, Record, Redirect, Say, Verb, read
from transport.routes_calls import STORE_PATIENCE
from transport.store import FINAL, StoreDown
from transport.stream_token import BadToken, StreamTokens
from transport.twiml import MENU, REOPEN_AT_MOST, TRIES, WHY
from transport.web import FORM_AT_MOST, create_app

Form = Mapping[str, str]
NONE: Form = {}
TOKENS = StreamTokens(wire_kit.AUTH_TOKEN, 60)
POSTS = sorted(rule.rule for rule in create_app(settings_for()).url_map.iter_rules() if "POST" in (rule.methods or ()))
CALLER = {"AccountSid": "AC" + "0" * 32, "From": "+15550002222", "To": "+15550003333", "FromCity": "SÃO PAULO"}
EMPTY = {"FromZip": "", "CallerName": "", "ToState": ""}


def form(call_sid: str = "CA1", **fields: str) -> dict[str, str]:
    """A form as Twilio sends it: many fields, some of them empty, some not ASCII."""
    return {**CALLER, **EMPTY, "CallSid": call_sid, "CallStatus": "in-progress", **fields}


@attrs.frozen
class Answer:
    """What came back."""

    url: str
    status: int
    headers: Form
    body: bytes

    @property
    def verbs(self) -> list[Verb]:
        """The verbs, read as strictly as Twilio reads them."""
        assert self.status == 200
        assert self.headers["content-type"].startswith("text/xml")
        return list(read(self.body.decode(), self.url))

    @property
    def kinds(self) -> list[type]:
        return [type(verb) for verb in self.verbs]

    @property
    def said(self) -> str:
        said = itertools.chain.from_iterable(v.nested if isinstance(v, Gather) else (v,) for v in self.verbs)
        return " ".join(verb.text for verb in said if isinstance(verb, Say))

    @property
    def token(self) -> str:
        (connect,) = self.verbs
        assert isinstance(connect, Connect)
        return connect.parameters["token"]


async def ask(
    app: QuartTrio, path: str, fields: Form | None = None, *, signed: str | None = "", headers: Form = NONE
) -> Answer:
    """A webhook of Twilio's; `signed` puts another signature in place of the right one, None leaves it out."""
    fields = form() if fields is None else fields
    given = {"Content-Type": "application/x-www-form-urlencoded; charset=UTF-8", **headers}
    if signed is not None:
        given["X-Twilio-Signature"] = signed or signature(PUBLIC + path, dict(fields))
    return await send(app, "POST", path, given, urlencode(fields).encode())


async def send(app: QuartTrio, method: str, path: str, headers: Form = NONE, body: bytes = b"") -> Answer:
    with trio.fail_after(30):
        answer = await app.test_client().open(path, method=method, headers=dict(headers), data=body)
        return Answer(PUBLIC + path, answer.status_code, answer.headers, await answer.get_data(as_text=False))


@pytest.fixture
async def house(monkeypatch: pytest.MonkeyPatch):
    async with house_in_memory(monkeypatch) as house:
        yield house


@contextlib.asynccontextmanager
async def stored_house(folder: Path) -> AsyncIterator[QuartTrio]:
    """The application with a real store in `folder`. Threads: not for the virtual clock."""
    app = create_app(settings_for(folder), connect_model=wire_kit.FakeModel())
    async with wire_kit.lifespan(app):
        yield app


def rows(folder: Path, table: str, columns: str = "*") -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(folder / "calls.db")) as db:
        return db.execute(f"SELECT {columns} FROM {table}").fetchall()


async def metric(app: QuartTrio, name: str, **labels: str) -> float:
    families = text_string_to_metric_families((await send(app, "GET", "/metrics")).body.decode())
    samples = itertools.chain.from_iterable(family.samples for family in families)
    return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())


# ---------------------------------------------------------------- only Twilio is answered

FORGED: dict[str, Callable[[str], str | None]] = {
    "no signature": lambda path: None,
    "nonsense": lambda path: "nonsense",
    "not ASCII": lambda path: "ä",
    "another account": lambda path: signature(PUBLIC + path, form(), "another token"),
    "another form": lambda path: signature(PUBLIC + path, form("CA2")),
    "no form": lambda path: signature(PUBLIC + path),
    "another path": lambda path: signature(PUBLIC + "/twilio", form()),
    "another query": lambda path: signature(PUBLIC + path + "?tries=0", form()),
    "another host": lambda path: signature("https://evil.example.com" + path, form()),
    "another host and scheme": lambda path: signature("http://evil.example.com" + path, form()),
    "another scheme": lambda path: signature("http://phone.example.com" + path, form()),
}
LIES = {"Host": "evil.example.com", "X-Forwarded-Host": "evil.example.com", "X-Forwarded-Proto": "http"}
MORE = {"CallStatus": "completed", "RecordingSid": "RE1", "StreamEvent": "stream-error", "SequenceNumber": "1"}


@pytest.mark.parametrize("forged", FORGED)
@pytest.mark.parametrize("path", POSTS)
async def test_a_request_that_twilio_did_not_sign_is_refused_whatever_it_says(house: House, path: str, forged: str):
    answer = await ask(house.app, path, signed=FORGED[forged](path), headers=LIES)
    assert answer.status == 403
    assert b"<" not in answer.body
    assert await metric(house.app, "triode_refused_total", why="signature") == 1


async def test_nothing_is_stored_of_what_twilio_did_not_sign(tmp_path: Path):
    async with stored_house(tmp_path) as app:
        for path in POSTS:
            for signed in (None, "nonsense"):
                assert (await ask(app, path, form(**MORE), signed=signed)).status == 403
        tables = ("calls", "turns", "used_tokens", "recordings")
        assert [rows(tmp_path, table) for table in tables] == [[], [], [], []]


@pytest.mark.parametrize("path", POSTS)
async def test_the_same_request_is_answered_when_twilio_signed_it(house: House, path: str):
    of_another = "?call=CA9" if path == "/twilio/brief" or path.startswith("/twilio/warm/") else ""
    assert (await ask(house.app, path + of_another)).status in {200, 204}
    assert await metric(house.app, "triode_refused_total", why="signature") == 0


@pytest.mark.parametrize("url", ["https://phone.example.com", "https://phone.example.com:443"])
@pytest.mark.parametrize("headers", [{}, {"Host": "127.0.0.1:8000"}, LIES])
async def test_behind_a_proxy_the_public_address_is_what_counts(house: House, url: str, headers: dict[str, str]):
    """The proxy asks by plain HTTP, under another name and port."""
    path = "/twilio/ivr/menu?why=silent&tries=1"
    answer = await ask(house.app, path, signed=signature(url + path, form()), headers=headers)
    assert answer.status == 200


async def test_a_prefix_that_the_proxy_takes_away_was_signed_and_is_in_every_url(monkeypatch: pytest.MonkeyPatch):
    public = "https://phone.example.com:8443/calls"
    async with house_in_memory(monkeypatch, settings_for(public_url=public)) as house:
        answer = await ask(house.app, "/twilio/voice", signed=signature(f"{public}/twilio/voice", form()))
        (connect,) = answer.verbs
        assert (await ask(house.app, "/twilio/voice")).status == 403
    assert isinstance(connect, Connect)
    assert connect.url == "wss://phone.example.com:8443/calls/twilio/media"
    assert connect.action == f"{public}/twilio/after"


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("signed", ["", "nonsense"])
async def test_a_body_over_the_limit_is_refused(house: House, path: str, signed: str):
    answer = await ask(house.app, path, form(SpeechResult="x" * FORM_AT_MOST), signed=signed)
    assert answer.status == 413


async def test_a_body_of_unknown_length_that_passes_the_limit_is_refused(house: House, autojump_clock: MockClock):
    chunk = b"%x\r\n%s\r\n" % (16384, b"x" * 16384)
    head = (
        b"POST /twilio/voice HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
        b"Content-Type: application/x-www-form-urlencoded\r\nX-Twilio-Signature: x\r\n\r\n"
    )
    answer = await house.http(head + chunk * 8 + b"0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert (await send(house.app, "GET", "/healthz")).status == 200


async def test_a_body_within_the_limit_is_taken(house: House):
    answer = await ask(house.app, "/twilio/voice", form(SpeechResult="x" * (FORM_AT_MOST - 1000)))
    assert answer.kinds == [Connect]


ODD = ["", " ", "CA 1", "CA/1", "../CA1", "CA1\n", "CÄ1", "CA١", "C" * 65, "<CA1>"]


@pytest.mark.parametrize("path", ["/twilio/voice", "/twilio/after", "/twilio/status"])
@pytest.mark.parametrize("call_sid", [None, *ODD])
async def test_a_call_sid_that_is_missing_or_odd_is_a_bad_request(house: House, path: str, call_sid: str | None):
    fields = form(call_sid or "")
    if call_sid is None:
        del fields["CallSid"]
    answer = await ask(house.app, path, fields)
    assert answer.status == 400
    assert (house.store.reopened, house.store.dispositions) == ({}, {})


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


# ---------------------------------------------------------------- the menu

MENU_AGAIN, MESSAGE = [Gather, Redirect], [Say, Record, Say, Hangup]
CHOICES = {"1": [Say, Dial], "2": MESSAGE, "3": MENU_AGAIN, "*": MENU_AGAIN, "4": [Gather], "9": [Say, Hangup]}


@pytest.mark.parametrize("key", CHOICES)
async def test_a_key_leads_where_the_menu_says_also_when_it_is_told_twice(house: House, key: str):
    answers = [await ask(house.app, "/twilio/ivr/choice?tries=1", form(Digits=key)) for _ in range(2)]
    assert answers[0].kinds == CHOICES[key]
    assert answers[0].body == answers[1].body


async def follow(house: House, answer: Answer, key: str) -> Answer:
    """What Twilio asks next: the action with the key, or on silence what stands behind the Gather."""
    gather, redirect = answer.verbs
    assert isinstance(gather, Gather)
    assert isinstance(redirect, Redirect)
    url, fields = (gather.action, form(Digits=key)) if key else (redirect.url, form())
    return await ask(house.app, url.removeprefix(PUBLIC), fields)


@pytest.mark.parametrize("keys", [[""], ["7"], ["#"], ["5", ""], ["", "7", "3"]])
async def test_a_caller_who_never_chooses_is_handed_to_the_human(house: House, keys: list[str]):
    await house.store.keep_disposition("CA1", Disposition.IVR)
    answer, heard = await ask(house.app, "/twilio/after"), 0
    for key in itertools.cycle(keys):
        if answer.kinds != [Gather, Redirect]:
            break
        assert MENU in answer.said
        heard += key != "3"  # asking to hear it again is no mistake
        answer = await follow(house, answer, key)
    assert answer.kinds == [Say, Dial]
    assert heard == TRIES


@pytest.mark.parametrize("key", ["", "7", "#", "11", "A"])
async def test_a_caller_is_told_what_went_wrong(house: House, key: str):
    first = await ask(house.app, "/twilio/ivr/menu")
    assert (await follow(house, first, key)).said == f"{WHY['wrong' if key else 'silent']} {MENU}"


@pytest.mark.parametrize("query", ["?tries=-5", "?tries=x", "?tries=", "?why=%3CDial%3E", "?tries=1e9&why=a%20b"])
async def test_a_query_that_makes_no_sense_is_the_plain_menu(house: House, query: str):
    answer = await ask(house.app, f"/twilio/ivr/menu{query}")
    assert answer.said == MENU
    assert answer.body == (await ask(house.app, "/twilio/ivr/menu?tries=0")).body


# ---------------------------------------------------------------- voicemail and the human

URL = "https://api.twilio.com/2010-04-01/Accounts/AC0/Recordings/RE1"
RECORDED = ("/twilio/ivr/recorded", {"RecordingSid": "RE1", "RecordingUrl": URL, "RecordingDuration": "7"})
KEPT = ("/twilio/ivr/recording", {**RECORDED[1], "RecordingStatus": "completed"})


@pytest.mark.parametrize("order", ["rk", "kr", "rrk", "krk", "kkr", "rr", "kk"])
async def test_a_message_is_stored_once_in_whatever_order_it_is_told(tmp_path: Path, order: str):
    async with stored_house(tmp_path) as app:
        for which in order:
            path, fields = RECORDED if which == "r" else KEPT
            answer = await ask(app, path, form(**fields))
            assert answer.kinds == [Say, Hangup] if which == "r" else answer.status == 204
        status = "completed" if "k" in order else "in-progress"
        columns = "recording_sid, call_sid, url, seconds, status"
        assert rows(tmp_path, "recordings", columns) == [("RE1", "CA1", URL, 7, status)]


async def test_an_end_without_a_message_stores_none(tmp_path: Path):
    async with stored_house(tmp_path) as app:
        assert (await ask(app, "/twilio/ivr/recorded")).kinds == [Say, Hangup]
        assert (await ask(app, "/twilio/ivr/recording")).status == 204
        assert rows(tmp_path, "recordings") == []


@pytest.mark.parametrize("outcome", ["completed", "answered", "busy", "no-answer", "failed", "canceled", "new", ""])
async def test_after_a_human_was_dialled_from_the_menu_the_call_ends_or_a_message_is_taken(house: House, outcome: str):
    answers = [await ask(house.app, "/twilio/dialed?menu=1", form(DialCallStatus=outcome)) for _ in range(2)]
    spoken = outcome in {"completed", "answered"}
    assert answers[0].kinds == ([Hangup] if spoken else MESSAGE)
    assert spoken or answers[0].said.startswith(WHY["noanswer"])
    assert answers[0].body == answers[1].body


@pytest.mark.parametrize("outcome", ["completed", "answered", "busy", "no-answer", "failed", "canceled", "new", ""])
async def test_a_caller_whom_no_human_took_goes_back_to_the_agent(house: House, outcome: str):
    kinds = (await ask(house.app, "/twilio/dialed", form(DialCallStatus=outcome))).kinds
    back = outcome in {"busy", "no-answer", "failed", "canceled"}
    assert kinds == ([Hangup] if outcome in {"completed", "answered"} else [Connect] if back else MESSAGE)


@pytest.mark.parametrize("number", ["9" * 5000, "-1", "x", "%D9%A3"])
async def test_the_number_of_a_transfer_that_makes_no_sense_is_answered(house: House, number: str):
    answer = await ask(house.app, f"/twilio/dialed?warm={number}", form(DialCallStatus="completed"))
    assert answer.kinds == [Connect]


async def test_a_caller_goes_back_to_the_agent_a_few_times_and_then_leaves_a_message(house: House):
    for _ in range(REOPEN_AT_MOST):
        assert (await ask(house.app, "/twilio/dialed", form(DialCallStatus="busy"))).kinds == [Connect]
    assert (await ask(house.app, "/twilio/dialed", form(DialCallStatus="busy"))).kinds == MESSAGE


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


# ---------------------------------------------------------------- operators


async def test_a_draining_server_is_alive_and_not_ready(monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock):
    begins = trio.Event()
    async with house_in_memory(monkeypatch, drain_begins=begins.wait) as house:
        begins.set()
        await trio.sleep(1)
        assert [(await send(house.app, "GET", path)).status for path in ("/healthz", "/readyz")] == [200, 503]
        assert (await ask(house.app, "/twilio/voice")).said.startswith(WHY["busy"])
        assert (await ask(house.app, "/twilio/after")).said.startswith(WHY["busy"])


async def test_a_server_that_has_not_begun_is_neither_alive_nor_ready():
    app = create_app(settings_for(), connect_model=wire_kit.FakeModel())
    assert [(await send(app, "GET", path)).status for path in ("/healthz", "/readyz")] == [503, 503]


async def test_the_metrics_are_prometheus_text_and_count_a_call(house: House, autojump_clock: MockClock):
    phone = await house.call()
    await phone.media()
    await phone.hear()
    assert await metric(house.app, "triode_calls_active") == 1
    assert (await send(house.app, "GET", "/readyz")).status == 200
    await phone.stop()
    await phone.closing()
    await trio.sleep(5)
    assert await metric(house.app, "triode_calls_active") == 0
    assert await metric(house.app, "triode_calls_total") == 1
    assert await metric(house.app, "triode_frames_total", way="in") == 1
    assert await metric(house.app, "triode_frames_total", way="out") > 0
    answer = await send(house.app, "GET", "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    names = {family.name for family in text_string_to_metric_families(answer.body.decode())}
    for name in ("refused", "dropped", "trouble", "interruptions", "model_tokens", "store_failures", "reply_seconds"):
        assert f"triode_{name}" in names


@pytest.mark.parametrize("path", ["/", "/twilio", "/twilio/", "/twilio/voice/", "/metrics/", "/admin", "/.env"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_an_unknown_route_is_not_found(house: House, path: str, method: str):
    assert (await send(house.app, method, path)).status == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *itertools.product(["GET", "PUT", "DELETE", "PATCH"], POSTS),
        *itertools.product(["POST", "PUT", "DELETE"], ["/healthz", "/readyz", "/metrics"]),
    ],
)
async def test_a_method_that_a_route_does_not_have_is_not_allowed(house: House, method: str, path: str):
    assert (await send(house.app, method, path)).status == 405


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
