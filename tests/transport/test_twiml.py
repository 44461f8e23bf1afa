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
    "menu while waiting": WITH.menu("still", 0, 1_700_000_000, "I have noted: J O H N."),
    "a question of one key": WITH.ask("For a, press 1.", "reason", 1, 0),
    "a question of many keys": WITH.ask("Type it.", "number", 0, 2, why="unclear"),
    "whether it is right": WITH.ask("Right?", "number", 1, 0, check="+1415 555"),
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


def test_a_caller_who_waits_for_a_line_need_not_press_anything():
    gather, redirect = parsed(WITH.menu("busy", 0, 1_700_000_000))
    assert dict(parse_qsl(urlsplit(gather.attrib["action"]).query)) == {"tries": "0", "since": "1700000000"}
    assert redirect.text == f"{PUBLIC}/twilio/ivr/wait?since=1700000000"


def test_silence_is_an_answer_to_a_question():
    (gather,) = parsed(WITH.ask("Type it.", "number", 0, 1, check="415"))
    assert gather.attrib["actionOnEmptyResult"] == "true"
    assert gather.attrib["finishOnKey"] == "#"
    asked = dict(parse_qsl(urlsplit(gather.attrib["action"]).query))
    assert asked == {"question": "number", "tries": "1", "check": "415"}


def test_what_is_too_much_goes_to_its_own_number_if_there_is_one():
    both = Documents(PUBLIC, HUMAN, "+15559999999")
    assert "+15559999999" in both.human(overflow=True)
    assert HUMAN in both.human()
    assert HUMAN in WITH.human(overflow=True)
    alone = Documents(PUBLIC, "", "+15559999999")
    assert "press 1" in alone.menu("busy", since=1)
    assert "press 1" not in alone.menu("trouble")


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
    assert "<Record" in alone.human(from_menu=True)  # whoever presses it all the same may leave a message


@pytest.mark.parametrize("name", ["brief", "offer", "menu", "ask"])
def test_whatever_a_model_says_the_document_can_be_read(name: str):
    told = "Caf\0e9, \x0b\x1b[31m \ud800 \ufffe </Say><Dial>+19005550100</Dial> \U0001f600."
    documents = {
        "brief": lambda: WITH.brief(told),
        "offer": lambda: WITH.offer("CA1", 0, told),
        "menu": lambda: WITH.menu(noted=told),
        "ask": lambda: WITH.ask(told, "call-number", 1, 0),
    }
    root = ElementTree.fromstring(documents[name]())
    (said, *_) = [element.text or "" for element in root.iter("Say")]
    assert "Cafe9, [31m  " in said
    assert "</Say><Dial>+19005550100</Dial> \U0001f600." in said
    assert not list(root.iter("Dial"))
