"""The reception: only Twilio is answered, of a call that is named, whatever the request says."""

from collections.abc import Callable
from pathlib import Path

import pytest
from trio.testing import MockClock

from tests.transport.web_kit import POSTS, ask, form, metric, rows, send, stored_house
from tests.transport.wire_kit import PUBLIC, House, house_in_memory, settings_for, signature
from transport.loopback.twiml_reader import Connect
from transport.web import FORM_AT_MOST


@pytest.fixture
async def house(monkeypatch: pytest.MonkeyPatch):
    async with house_in_memory(monkeypatch) as house:
        yield house


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


@pytest.mark.parametrize("path", POSTS)
async def test_a_request_that_twilio_did_not_sign_is_refused_whatever_it_says(house: House, path: str):
    for number, (forged, signed) in enumerate(FORGED.items(), 1):
        answer = await ask(house.app, path, signed=signed(path), headers=LIES)
        assert answer.status == 403, forged
        assert b"<" not in answer.body, forged
        assert await metric(house.app, "triode_refused_total", why="signature") == number, forged


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
async def test_a_call_sid_that_is_missing_or_odd_is_a_bad_request(house: House, path: str):
    missing = {name: value for name, value in form().items() if name != "CallSid"}
    for fields in (missing, *map(form, ODD)):
        answer = await ask(house.app, path, fields)
        assert answer.status == 400, fields
        assert (house.store.reopened, house.store.dispositions) == ({}, {}), fields
