"""The TwiML documents: what Twilio takes, and that every one of them ends or leads on."""

from urllib.parse import parse_qsl, urlsplit
from xml.etree import ElementTree

import pytest

from transport.twiml import TRIES, WHY, Documents

PUBLIC = "https://phone.example.com"
HUMAN = "+15550001111"
WITH, WITHOUT = Documents(PUBLIC, HUMAN), Documents(PUBLIC, "")

# Attributes as Twilio documents them, for each verb and noun that we use.
LEGAL = {
    "Response": set(),
    "Connect": {"action", "method"},
    "Stream": {"url", "name", "statusCallback", "statusCallbackMethod"},
    "Parameter": {"name", "value"},
    "Gather": {"input", "numDigits", "timeout", "action", "method", "finishOnKey", "actionOnEmptyResult"},
    "Say": {"voice", "language", "loop"},
    "Redirect": {"method"},
    "Dial": {"action", "method", "timeout", "callerId", "answerOnBridge", "timeLimit"},
    "Number": set(),
    "Record": {
        "action",
        "method",
        "maxLength",
        "timeout",
        "finishOnKey",
        "playBeep",
        "recordingStatusCallback",
        "recordingStatusCallbackMethod",
    },
    "Hangup": set(),
}
ALL = {
    "stream": WITH.stream("t.0.k.e=n"),
    "human": WITH.human(),
    "no human": WITHOUT.human(),
    "voicemail": WITH.voicemail(),
    "voicemail why": WITH.voicemail("noanswer"),
    "goodbye": WITH.goodbye(),
    "goodbye words": WITH.goodbye("Bye & <thanks>."),
    **{f"menu {why}": WITH.menu(why) for why in WHY},
    **{f"menu try {n}": WITH.menu("wrong", n) for n in range(TRIES)},
    **{f"choice {digit}": WITH.choice(digit, 0) for digit in ("0", "1", "2", "3", "4", "9", "*", "#", "", "11")},
    **{f"choice {digit} alone": WITHOUT.choice(digit, 2) for digit in ("1", "2", "7")},
    **{f"again {n}": WITH.again("silent", n) for n in range(TRIES + 2)},
}


def parsed(document: str) -> ElementTree.Element:
    return ElementTree.fromstring(document.encode())


def verbs(document: str) -> list[str]:
    return [element.tag for element in parsed(document)]


@pytest.mark.parametrize("name", ALL)
def test_every_document_is_a_response(name: str):
    assert parsed(ALL[name]).tag == "Response"
    assert ALL[name].startswith("<?xml")


@pytest.mark.parametrize("name", ALL)
def test_every_verb_and_attribute_is_documented(name: str):
    for element in parsed(ALL[name]).iter():
        assert element.tag in LEGAL
        assert set(element.attrib) <= LEGAL[element.tag]


@pytest.mark.parametrize("name", ALL)
def test_every_url_is_absolute_and_ours(name: str):
    for element in parsed(ALL[name]).iter():
        urls = [v for k, v in element.attrib.items() if k in {"action", "url"} or k.endswith("Callback")]
        for url in [*urls, *([element.text] if element.tag == "Redirect" else [])]:
            assert url.startswith((f"{PUBLIC}/twilio/", "wss://phone.example.com/twilio/"))


@pytest.mark.parametrize("name", ALL)
def test_every_document_ends_the_call_or_leads_on(name: str):
    last = parsed(ALL[name])[-1]
    assert last.tag in {"Hangup", "Redirect"} or last.attrib.get("action")


@pytest.mark.parametrize("name", ALL)
def test_every_action_is_a_post(name: str):
    for element in parsed(ALL[name]).iter():
        if "action" in element.attrib or element.tag == "Redirect":
            assert element.attrib["method"] == "POST"


@pytest.mark.parametrize("name", ALL)
def test_nothing_said_is_too_long_and_no_text_is_empty(name: str):
    for element in parsed(ALL[name]).iter("Say"):
        assert element.text.strip()
        assert len(element.text) <= 4096


# ---------------------------------------------------------------- the stream


def test_the_stream_is_connected_and_what_follows_is_asked():
    (connect,) = parsed(ALL["stream"])
    assert connect.tag == "Connect"
    assert connect.attrib == {"action": f"{PUBLIC}/twilio/after", "method": "POST"}
    (stream,) = connect
    assert stream.attrib["url"] == "wss://phone.example.com/twilio/media"
    assert stream.attrib["statusCallback"] == f"{PUBLIC}/twilio/stream-status"
    (parameter,) = stream
    assert parameter.attrib == {"name": "token", "value": "t.0.k.e=n"}
    assert len("token" + "t.0.k.e=n") < 500


def test_the_stream_has_neither_track_nor_format_nor_query():
    stream = next(parsed(ALL["stream"]).iter("Stream"))
    assert not {"track", "audioFormat", "sampleRate"} & set(stream.attrib)
    assert not urlsplit(stream.attrib["url"]).query


@pytest.mark.parametrize(
    ("public", "url"),
    [
        ("http://127.0.0.1:8000", "ws://127.0.0.1:8000/twilio/media"),
        ("https://http.example.com/http/", "wss://http.example.com/http/twilio/media"),
    ],
)
def test_the_stream_is_where_the_public_address_says(public: str, url: str):
    document = Documents(public, "").stream("x")
    assert next(parsed(document).iter("Stream")).attrib["url"] == url
    assert next(parsed(document).iter("Connect")).attrib["action"] == f"{public.rstrip('/')}/twilio/after"


# ---------------------------------------------------------------- the menu


@pytest.mark.parametrize("why", WHY)
def test_the_menu_says_why_it_is_heard(why: str):
    said = next(parsed(WITH.menu(why)).iter("Say")).text
    assert said.startswith(WHY[why] or "To speak")
    assert "press 1" in said


def test_a_reason_that_nobody_knows_is_not_said():
    assert WITH.menu("<Dial>") == WITH.menu("")


def test_the_menu_takes_one_key_and_silence_leads_on():
    gather, redirect = parsed(WITH.menu("", 1))
    assert gather.attrib["numDigits"] == "1"
    assert gather.attrib["input"] == "dtmf"
    assert dict(parse_qsl(urlsplit(gather.attrib["action"]).query)) == {"tries": "1"}
    assert dict(parse_qsl(urlsplit(redirect.text).query)) == {"why": "silent", "tries": "2"}


def test_keys_lead_where_the_menu_says():
    assert verbs(WITH.choice("1", 0)) == ["Say", "Dial"]
    assert verbs(WITH.choice("2", 0)) == ["Say", "Record", "Say", "Hangup"]
    assert verbs(WITH.choice("3", 0)) == ["Gather", "Redirect"]
    assert verbs(WITH.choice("*", 0)) == ["Gather", "Redirect"]
    assert verbs(WITH.choice("9", 0)) == ["Say", "Hangup"]


@pytest.mark.parametrize(("documents", "end"), [(WITH, ["Say", "Dial"]), (WITHOUT, ["Say", "Record", "Say", "Hangup"])])
@pytest.mark.parametrize("way", ["silence", "wrong keys"])
def test_a_caller_who_never_answers_is_handed_on(documents: Documents, end: list[str], way: str):
    document, heard = documents.menu("busy"), 0
    while verbs(document) == ["Gather", "Redirect"]:
        heard += 1
        assert heard <= TRIES
        gather, redirect = parsed(document)
        url = redirect.text if way == "silence" else gather.attrib["action"]
        query = dict(parse_qsl(urlsplit(url).query))
        tries = int(query["tries"])
        document = documents.again(query["why"], tries) if way == "silence" else documents.choice("5", tries)
    assert heard == TRIES
    assert verbs(document) == end


# ---------------------------------------------------------------- the human, voicemail, goodbye


def test_the_human_is_dialled_and_the_outcome_asked_for():
    _, dial = parsed(WITH.human())
    assert dial.attrib["action"] == f"{PUBLIC}/twilio/dialed"
    assert [number.text for number in dial] == [HUMAN]


def test_without_a_human_there_is_voicemail():
    assert WITHOUT.human() == WITHOUT.voicemail("noanswer")


def test_voicemail_has_an_action_and_an_end_and_is_told_of_its_file():
    _, record, _, hangup = parsed(WITH.voicemail())
    assert record.attrib["action"] == f"{PUBLIC}/twilio/ivr/recorded"
    assert record.attrib["recordingStatusCallback"] == f"{PUBLIC}/twilio/ivr/recording"
    assert 0 < int(record.attrib["maxLength"]) <= 3600
    assert hangup.tag == "Hangup"


def test_words_are_escaped():
    assert next(parsed(WITH.goodbye("Bye & <thanks>.")).iter("Say")).text == "Bye & <thanks>."
    token = next(parsed(WITH.stream('"<&')).iter("Parameter")).attrib["value"]
    assert token == '"<&'


def test_a_menu_without_a_human_offers_none():
    alone = Documents("https://phone.example.com", "")
    assert "press 1" not in alone.menu("trouble")
    assert "press 2" in alone.menu("trouble")
    assert "<Record" in alone.choice("1", 0)  # whoever presses it all the same may leave a message
