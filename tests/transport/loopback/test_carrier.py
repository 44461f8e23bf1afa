"""The loopback carrier towards a scripted server: webhooks, verbs, and the ends of calls."""

import uuid
from email.utils import parsedate_to_datetime

import pytest
from trio.testing import MockClock
from twilio.request_validator import RequestValidator

from tests.transport.loopback.carrier_kit import ACCOUNT, PUBLIC, STREAM, TOKEN, Server, Stream, serving, xml
from transport.loopback import twiml_reader as twiml
from transport.loopback.caller import AwaitAgent, AwaitQuiet, HangUp, Press, Wait
from transport.loopback.network import Answer

HANG_UP = "<Hangup/>"

# ---------------------------------------------------------------- webhooks


async def test_the_voice_webhook_is_sent_what_twilio_sends(autojump_clock: MockClock) -> None:
    server = serving(HANG_UP)
    call = await server.call(caller="+15551110000", called="+15552220000")
    (voice,) = server.asked("/voice")
    assert voice.url == f"{PUBLIC}/voice"
    expected = {
        "AccountSid": ACCOUNT,
        "ApiVersion": "2010-04-01",
        "CallSid": call.call_sid,
        "CallStatus": "ringing",
        "Direction": "inbound",
        **dict.fromkeys(("From", "Caller"), "+15551110000"),
        **dict.fromkeys(("To", "Called"), "+15552220000"),
    }
    assert expected.items() <= voice.form.items()
    places = {
        f"{who}{what}" for who in ("From", "To", "Caller", "Called") for what in ("City", "State", "Zip", "Country")
    }
    assert voice.form.keys() == expected.keys() | places
    assert "" in voice.form.values()  # blank fields are signed, too, and are easily lost in parsing
    assert voice.headers["User-Agent"] == "TwilioProxy/1.1"
    assert call.call_sid.startswith("CA")
    assert len(call.call_sid) == 34
    assert int(call.call_sid[2:], 16)


async def test_every_webhook_is_signed_and_has_an_idempotency_token_of_its_own(autojump_clock: MockClock) -> None:
    gather = '<Gather action="/key?x=1&amp;y=2" numDigits="1" timeout="2"><Say>?</Say></Gather>'
    server = serving(
        gather, key=STREAM.replace("/media", "/media?x"), after='<Record recordingStatusCallback="/file"/>'
    )
    server.refuses = 404
    server.documents["/after"].append(xml(HANG_UP))
    await server.call(Wait(1), Press("1"))
    validator = RequestValidator(TOKEN)
    assert {post.path for post in server.posts} == {"/voice", "/status", "/key", "/after", "/file"}
    for post in server.posts:
        assert validator.validate(post.url, post.form, post.headers["X-Twilio-Signature"])
        assert not validator.validate(post.url, {**post.form, "From": "x"}, post.headers["X-Twilio-Signature"])
    tokens = [post.headers["I-Twilio-Idempotency-Token"] for post in server.posts]
    assert len({uuid.UUID(token) for token in tokens}) == len(tokens)


async def test_status_callbacks_follow_the_call_in_sequence(autojump_clock: MockClock) -> None:
    server = serving('<Pause length="7"/>')
    call = await server.call()
    statuses = server.asked("/status")
    assert [post.form["CallStatus"] for post in statuses] == ["in-progress", "completed"]
    assert [post.form["SequenceNumber"] for post in statuses] == ["0", "1"]
    assert [post.form["CallSid"] for post in statuses] == [call.call_sid] * 2
    assert {post.form["CallbackSource"] for post in statuses} == {"call-progress-events"}
    assert statuses[1].form["CallDuration"] == "7"
    assert statuses[1].at == pytest.approx(7)
    for post in statuses:
        assert parsedate_to_datetime(post.form["Timestamp"]).utcoffset() is not None
    assert call.posts == [("/voice", 200), ("/status", 204), ("/status", 204)]


async def test_a_later_document_is_asked_for_as_in_progress(autojump_clock: MockClock) -> None:
    server = serving("<Redirect>/next</Redirect>", next=HANG_UP)
    await server.call()
    assert server.asked("/next")[0].form["CallStatus"] == "in-progress"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Answer(500, "text/xml", "<Response/>"), "11200"),
        (Answer(403, "text/plain", "no"), "11200"),
        (Answer(204, "", ""), "11200"),
        (Answer(0, "", ""), "11200"),
        (Answer(200, "text/html", "<Response/>"), "11200"),
        (Answer(200, "application/json", "{}"), "11200"),
        (Answer(200, "text/xml", "oops"), "12100"),
        (Answer(200, "text/xml", ""), "12100"),
        (xml("<Say/>"), "13520"),
        (xml('<Say colour="red">a</Say>'), "12200"),
        (xml('<Connect><Stream url="wss://a/b" track="both_tracks"/></Connect>'), "31941"),
        (xml('<Connect><Stream url="wss://[a/b"/></Connect>'), "31923"),
    ],
    ids=str,
)
async def test_an_answer_that_is_no_good_document_is_an_error_and_ends_the_call(
    answer: Answer, code: str, autojump_clock: MockClock
) -> None:
    server = serving(answer)
    call = await server.call(Wait(60))
    assert [error[:5] for error in call.errors] == [code]
    assert (call.end, call.verbs) == ("error", [])
    assert server.asked("/status")[-1].form["CallStatus"] != "in-progress"


async def test_an_error_in_a_later_document_ends_the_call(autojump_clock: MockClock) -> None:
    server = serving("<Say>Hi</Say><Redirect>/next</Redirect>", next=Answer(502, "text/html", "bad gateway"))
    call = await server.call()
    assert (call.end, call.words()) == ("error", ["Hi"])
    assert call.errors[0].startswith("11200")


async def test_a_server_that_does_not_answer_in_15_seconds_gave_no_document(autojump_clock: MockClock) -> None:
    server = serving(HANG_UP)
    server.slow = 16
    call = await server.call()
    assert call.end == "error"
    assert call.errors[0].startswith("11200")
    assert server.asked("/status")[0].at == pytest.approx(15)


async def test_xml_of_an_application_type_is_taken_and_an_answers_time_is_kept(autojump_clock: MockClock) -> None:
    server = serving(Answer(200, "application/xml; charset=utf-8", "<Response/>"))
    server.slow = 0.25
    call = await server.call()
    assert (call.end, call.errors) == ("document", [])
    assert call.voice_ms == pytest.approx(250)


# ---------------------------------------------------------------- verbs


async def test_verbs_take_their_time_in_order_until_the_document_ends(autojump_clock: MockClock) -> None:
    server = serving(f'<Say>{"a" * 50}</Say><Pause length="2"/><Play>/a.mp3</Play>')
    call = await server.call()
    assert call.end == "document"
    assert call.verbs == [twiml.Say("a" * 50), twiml.Pause(2), twiml.Play(f"{PUBLIC}/a.mp3")]
    assert call.ended - call.began == pytest.approx(50 * 0.06 + 2 + 2)


@pytest.mark.parametrize(
    ("body", "end", "verbs"),
    [
        ("", "document", 0),
        ("<Hangup/><Say>never</Say>", "hangup", 1),
        ("<Reject/>", "rejected", 1),
        ('<Reject reason="busy"/><Say>never</Say>', "rejected", 1),
    ],
)
async def test_a_call_ends_with_the_verb_that_ends_it(
    body: str, end: str, verbs: int, autojump_clock: MockClock
) -> None:
    call = await serving(body).call()
    assert (call.end, len(call.verbs), call.words()) == (end, verbs, [])


async def test_a_rejected_call_is_never_in_progress(autojump_clock: MockClock) -> None:
    server = serving("<Reject/>")
    await server.call()
    assert "in-progress" not in [post.form["CallStatus"] for post in server.posts]


async def test_a_caller_who_hangs_up_ends_the_call_in_the_middle_of_a_verb(autojump_clock: MockClock) -> None:
    server = serving('<Pause length="60"/><Say>never</Say>')
    call = await server.call(Wait(5), HangUp())
    assert (call.end, call.words()) == ("caller", [])
    assert call.ended - call.began == pytest.approx(5, abs=0.2)
    assert server.asked("/status")[-1].form["CallStatus"] == "completed"


async def test_a_loop_of_documents_ends(autojump_clock: MockClock) -> None:
    server = serving("<Redirect>/voice</Redirect>")
    call = await server.call()
    assert call.end == "error"
    assert len(server.asked("/voice")) == 30


async def test_a_redirect_leaves_the_rest_of_the_document(autojump_clock: MockClock) -> None:
    server = serving("<Redirect>next?a=1</Redirect><Say>never</Say>", next=HANG_UP)
    call = await server.call()
    assert server.asked("/next")[0].url == f"{PUBLIC}/next?a=1"
    assert call.words() == []


# ---------------------------------------------------------------- Gather


GATHER = '<Gather action="/key" {}><Say>Press.</Say></Gather><Say>Nothing.</Say>'


@pytest.mark.parametrize(
    ("attributes", "keys", "digits", "seconds"),
    [
        ('numDigits="1"', "7", "7", 2.0),
        ('numDigits="3"', "12345", "123", 2.6),
        ('timeout="4"', "12", "12", 2.3 + 4),
        ("", "12#9", "12", 2.6),
        ('finishOnKey="*"', "1#*", "1#", 2.6),
        ('finishOnKey="" timeout="3"', "1#*", "1#*", 2.6 + 3),
        ('numDigits="2" timeout="4"', "1", "1", 2.0 + 4),
    ],
)
async def test_digits_are_gathered_until_there_are_enough_or_the_key_or_the_time_ends_them(
    attributes: str, keys: str, digits: str, seconds: float, autojump_clock: MockClock
) -> None:
    server = serving(GATHER.format(attributes), key=HANG_UP)
    call = await server.call(Wait(2), Press(keys), Wait(60))
    (key,) = server.asked("/key")
    assert key.form["Digits"] == digits
    assert key.at == pytest.approx(seconds, abs=0.01)
    assert call.words() == ["Press."]


async def test_a_gather_that_hears_nothing_falls_through_after_its_prompt_and_its_time(
    autojump_clock: MockClock,
) -> None:
    server = serving(GATHER.format('timeout="5"'), key=HANG_UP)
    call = await server.call()
    assert server.asked("/key") == []
    assert call.words() == ["Press.", "Nothing."]
    assert call.ended - call.began == pytest.approx(5 + (6 + 8) * 0.06, abs=0.2)


async def test_a_pause_in_a_gather_is_as_long_as_it_says(autojump_clock: MockClock) -> None:
    server = serving('<Gather action="/key" timeout="5"><Pause length="20"/></Gather>', key=HANG_UP)
    await server.call(Wait(15), Press("1"))
    assert [post.form["Digits"] for post in server.asked("/key")] == ["1"]


async def test_a_gather_may_ask_its_action_even_with_nothing(autojump_clock: MockClock) -> None:
    server = serving(GATHER.format('actionOnEmptyResult="true"'), key=HANG_UP)
    await server.call()
    assert [post.form["Digits"] for post in server.asked("/key")] == [""]


async def test_a_gather_without_an_action_asks_the_document_it_stands_in(autojump_clock: MockClock) -> None:
    server = serving('<Gather numDigits="1"/>')
    server.documents["/voice"].append(xml(HANG_UP))
    await server.call(Wait(1), Press("4"))
    assert [post.form.get("Digits") for post in server.asked("/voice")] == [None, "4"]


async def test_a_caller_may_hang_up_while_digits_are_gathered(autojump_clock: MockClock) -> None:
    server = serving(GATHER.format('timeout="60"'))
    call = await server.call(Wait(3), HangUp())
    assert call.end == "caller"
    assert call.ended - call.began == pytest.approx(3, abs=0.2)


async def test_a_caller_who_waits_for_the_prompt_of_a_gather_hears_it(autojump_clock: MockClock) -> None:
    prompt = f'<Gather action="/key" numDigits="1" timeout="5"><Say>{"a" * 50}</Say></Gather>'
    server = serving(prompt, key=HANG_UP)
    await server.call(AwaitAgent(0.5), Press("1"))
    assert [post.form["Digits"] for post in server.asked("/key")] == ["1"]


async def test_a_caller_who_waits_for_the_end_of_the_prompt_hears_it_end(autojump_clock: MockClock) -> None:
    prompt = f'<Gather action="/key" numDigits="1" timeout="5"><Say>{"a" * 50}</Say></Gather>'
    server = serving(prompt, key=HANG_UP)
    await server.call(AwaitQuiet(1), Press("1"))
    assert [post.at for post in server.asked("/key")] == [pytest.approx(4, abs=0.2)]


async def test_a_key_cuts_the_prompt_off(autojump_clock: MockClock) -> None:
    prompt = f'<Gather action="/key" timeout="5"><Say>{"a" * 500}</Say></Gather>'
    server = serving(prompt, key=HANG_UP)
    await server.call(Wait(1), Press("1"), AwaitAgent(0.5, at_most=2), Press("2"), Wait(60))
    (key,) = server.asked("/key")
    assert key.form["Digits"] == "12"
    assert key.at == pytest.approx(1 + 0.3 + 2 + 5, abs=0.01)


# ---------------------------------------------------------------- Dial and Record


@pytest.mark.parametrize(
    ("outcome", "bridged", "seconds"), [("completed", "true", 5), ("busy", "false", 1), ("no-answer", "false", 25)]
)
async def test_what_became_of_a_dial_is_told_to_its_action(
    outcome: str, bridged: str, seconds: float, autojump_clock: MockClock
) -> None:
    dial = '<Dial action="/dialed" timeout="25"><Number>+15550001111</Number></Dial><Say>never</Say>'
    server = serving(dial, dialed=HANG_UP)
    call = await server.call(dial={"+15550001111": outcome})
    (dialed,) = server.asked("/dialed")
    assert (dialed.form["DialCallStatus"], dialed.form["DialBridged"]) == (outcome, bridged)
    assert dialed.form["DialCallSid"] != call.call_sid
    assert ("DialCallDuration" in dialed.form) == (outcome == "completed")
    assert dialed.at == pytest.approx(seconds)
    assert call.words() == []


async def test_a_dial_without_an_action_goes_on_in_the_document(autojump_clock: MockClock) -> None:
    call = await serving("<Dial>+15550001111</Dial><Say>Back.</Say>").call()
    assert call.words() == ["Back."]


async def test_a_recording_is_told_to_its_callback_and_its_action(autojump_clock: MockClock) -> None:
    record = '<Record action="/done" recordingStatusCallback="/file"/><Say>never</Say>'
    server = serving(record, done=HANG_UP)
    call = await server.call()
    (done,), (file,) = server.asked("/done"), server.asked("/file")
    assert done.form["RecordingSid"].startswith("RE")
    for name in ("RecordingSid", "RecordingUrl", "RecordingDuration", "CallSid"):
        assert done.form[name] == file.form[name]
    assert file.form["RecordingStatus"] == "completed"
    assert done.at == pytest.approx(int(done.form["RecordingDuration"]))
    assert call.words() == []


async def test_a_recording_is_no_longer_than_it_may_be(autojump_clock: MockClock) -> None:
    server = serving('<Record action="/done" maxLength="2"/>', done=HANG_UP)
    await server.call()
    (done,) = server.asked("/done")
    assert (done.at, done.form["RecordingDuration"]) == (pytest.approx(2), "2")


# ---------------------------------------------------------------- after a stream


async def test_the_action_is_asked_when_the_server_has_closed_the_stream(autojump_clock: MockClock) -> None:
    async def talk(stream: Stream) -> None:
        await stream.next("start")
        await stream.listen(3)
        stream.close()

    server = serving(STREAM + "<Say>never</Say>", after="<Say>Bye.</Say>")
    server.talk = talk
    call = await server.call()
    (after,) = server.asked("/after")
    assert after.at == pytest.approx(3, abs=1)
    assert after.form["CallStatus"] == "in-progress"
    assert (call.words(), call.end) == (["Bye."], "document")
    assert (call.streams[0].ended_by, call.streams[0].close_code) == ("server", 1000)


async def test_without_an_action_the_document_goes_on_after_the_stream(autojump_clock: MockClock) -> None:
    async def talk(stream: Stream) -> None:
        await stream.next("start")
        stream.close()

    server = serving('<Connect><Stream url="/media"/></Connect><Say>Then.</Say>')
    server.talk = talk
    assert (await server.call()).words() == ["Then."]
    assert server.streams[0].url == "wss://phone.example.com/media"


@pytest.mark.parametrize("status", [403, 404, 503, 0])
async def test_a_refused_handshake_is_an_error_and_the_action_is_asked(status: int, autojump_clock: MockClock) -> None:
    server = Server({"/voice": [xml(STREAM)], "/after": [xml("<Say>Sorry.</Say>")]}, refuses=status)
    call = await server.call()
    assert [error[:5] for error in call.errors] == ["31920"]
    assert str(status) in call.errors[0]
    assert (call.streams[0].ended_by, call.words()) == ("refused", ["Sorry."])


async def test_the_streams_callback_is_told_of_a_refused_handshake_by_the_streams_name(
    autojump_clock: MockClock,
) -> None:
    stream = '<Connect><Stream url="/media" name="main" statusCallback="/stream-status"/></Connect>'
    server = Server({"/voice": [xml(stream)]}, refuses=403)
    call = await server.call()
    (told,) = server.asked("/stream-status")
    assert told.form["StreamEvent"] == "stream-error"
    assert "403" in told.form["StreamError"]
    assert (told.form["StreamName"], told.form["StreamSid"]) == ("main", call.streams[0].stream_sid)


async def test_after_a_caller_hung_up_in_the_stream_nothing_more_is_asked(autojump_clock: MockClock) -> None:
    server = serving(STREAM, after="<Say>never</Say>")
    call = await server.call(Wait(2), HangUp())
    assert (call.end, server.asked("/after"), call.words()) == ("caller", [], [])


@pytest.mark.parametrize(
    ("bad", "code"), [(Answer(0, "", ""), "11200"), (Answer(500, "text/plain", "no"), "11200"), (xml("<X/>"), "12100")]
)
async def test_the_fallback_is_asked_for_what_a_webhook_did_not_answer(
    autojump_clock: MockClock, bad: Answer, code: str
) -> None:
    server = serving("<Redirect>/next</Redirect>", next=bad, fallback=HANG_UP)
    call = await server.call(fallback="/fallback")
    (asked,) = server.asked("/fallback")
    assert (asked.form["ErrorCode"], asked.form["ErrorUrl"]) == (code, f"{PUBLIC}/next")
    assert asked.form["CallSid"] == call.call_sid
    assert call.end == "hangup"
    assert [error.split(": ")[:2] for error in call.errors] == [["warning", code]]


async def test_a_fallback_that_does_not_answer_either_ends_the_call(autojump_clock: MockClock) -> None:
    server = serving(Answer(0, "", ""), fallback=Answer(0, "", ""))
    call = await server.call(fallback="/fallback")
    assert len(server.asked("/fallback")) == 1
    assert call.end == "error"
