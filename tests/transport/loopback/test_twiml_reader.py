"""The loopback carrier reads TwiML as Twilio does: verbs, attributes, nesting, limits, error codes."""

from collections.abc import Callable
from xml.sax.saxutils import quoteattr

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.twiml.voice_response import Connect as ConnectVerb
from twilio.twiml.voice_response import Dial as DialVerb
from twilio.twiml.voice_response import Gather as GatherVerb
from twilio.twiml.voice_response import Stream, VoiceResponse

from transport.loopback.twiml_reader import (
    Conference,
    Connect,
    Dial,
    Gather,
    Hangup,
    Pause,
    Play,
    Record,
    Redirect,
    Reject,
    Say,
    TwimlError,
    Verb,
    read,
)

BASE = "https://phone.example.com/twilio/voice"
MEDIA = "wss://phone.example.com/media"


def document(body: str) -> str:
    return f'<?xml version="1.0" encoding="UTF-8"?><Response>{body}</Response>'


def one(body: str) -> Verb:
    (verb,) = read(document(body), BASE)
    return verb


def connect(stream: str = f'<Stream url="{MEDIA}"/>') -> Connect:
    verb = one(f"<Connect>{stream}</Connect>")
    assert isinstance(verb, Connect)
    return verb


@pytest.mark.parametrize(
    ("body", "verb"),
    [
        ("<Say>Hello</Say>", Say("Hello")),
        ('<Say voice="Polly.Joanna" language="en-US" loop="1"> Hello &amp; you </Say>', Say("Hello & you")),
        ("<Play>https://cdn.example.com/a.mp3</Play>", Play("https://cdn.example.com/a.mp3")),
        ("<Play>/a.mp3</Play>", Play("https://phone.example.com/a.mp3")),
        ('<Play digits="12w3"/>', Play("")),
        ("<Pause/>", Pause(1)),
        ('<Pause length="4"/>', Pause(4)),
        ("<Gather/>", Gather((), BASE)),
        (
            '<Gather input="dtmf" numDigits="4" timeout="6" finishOnKey="*" action="choice" method="POST"'
            ' actionOnEmptyResult="true"><Say>Digits?</Say><Pause length="2"/><Play>/beep.wav</Play></Gather>',
            Gather(
                (Say("Digits?"), Pause(2), Play("https://phone.example.com/beep.wav")),
                "https://phone.example.com/twilio/choice",
                6,
                4,
                "*",
                True,
            ),
        ),
        ('<Gather finishOnKey=""/>', Gather((), BASE, finish_on_key="")),
        ("<Dial>+15550001111</Dial>", Dial("+15550001111")),
        (
            '<Dial timeout="25" action="/twilio/dialed" callerId="+15550002222"><Number>+15550001111</Number></Dial>',
            Dial("+15550001111", "https://phone.example.com/twilio/dialed", 25),
        ),
        ("<Record/>", Record(BASE)),
        (
            '<Record action="/done" maxLength="120" recordingStatusCallback="/file" playBeep="true"/>',
            Record("https://phone.example.com/done", 120, "https://phone.example.com/file"),
        ),
        ("<Redirect>menu?tries=2</Redirect>", Redirect("https://phone.example.com/twilio/menu?tries=2")),
        ("<Redirect/>", Redirect(BASE)),
        ("<Hangup/>", Hangup()),
        ("<Reject/>", Reject("rejected")),
        ('<Reject reason="busy"/>', Reject("busy")),
        (f'<Connect><Stream url="{MEDIA}"/></Connect>', Connect(MEDIA, {})),
    ],
)
def test_a_verb_is_read_with_its_attributes_and_defaults(body: str, verb: Verb) -> None:
    assert one(body) == verb


def test_a_document_keeps_the_order_of_its_verbs_and_may_be_empty() -> None:
    body = "<!-- first --><Say>a</Say>\n  <Pause/>\n<Hangup/>"
    assert read(document(body), BASE) == (Say("a"), Pause(1), Hangup())
    assert read("<Response/>", BASE) == ()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", 12100),
        ("Internal Server Error", 12100),
        ("<Response><Say>open</Response>", 12100),
        ("<Response/><Response/>", 12100),
        ("<response/>", 12100),
        ('<Response version="1"/>', 12100),
        (document("<Shout>a</Shout>"), 12100),
        (document("<say>a</say>"), 12100),
        (document("<Number>1</Number>"), 12100),
        (document(f'<Stream url="{MEDIA}"/>'), 12100),
        (document('<Parameter name="a" value="b"/>'), 12100),
        (document("<Say/>"), 13520),
        (document("<Say>  </Say>"), 13520),
        (document(f"<Say>{'a' * 4097}</Say>"), 13520),
        (document('<Say volume="11">a</Say>'), 12200),
        (document('<Say Voice="man">a</Say>'), 12200),
        (document("<Say>a<Pause/></Say>"), 12200),
        (document('<Pause length="long"/>'), 12200),
        (document('<Pause length="inf"/>'), 12200),
        (document('<Pause length="-1"/>'), 12200),
        (document('<Gather action="https://[::1/x"/>'), 11100),
        (document("<Redirect>https://phone.example.com:port/x</Redirect>"), 11100),
        (document("<Hangup><Say>a</Say></Hangup>"), 12200),
        (document('<Hangup reason="x"/>'), 12200),
        (document('<Gather digits="1"/>'), 12200),
        (document('<Gather numDigits="one"/>'), 12200),
        (document('<Gather numDigits="inf"/>'), 12200),
        (document('<Gather numDigits="nan"/>'), 12200),
        (document("<Gather><Gather/></Gather>"), 12200),
        (document("<Gather><Hangup/></Gather>"), 12200),
        (document("<Gather><Say/></Gather>"), 13520),
        (document("<Dial/>"), 13224),
        (document("<Dial><Number> </Number></Dial>"), 13224),
        (document("<Dial><Say>a</Say></Dial>"), 13224),
        (document('<Dial><Number colour="red">1</Number></Dial>'), 12200),
        (document("<Dial><Conference> </Conference></Dial>"), 16002),
        (document(f"<Dial><Conference>{'a' * 129}</Conference></Dial>"), 16002),
        (document('<Dial><Conference colour="red">a</Conference></Dial>'), 12200),
        (document('<Dial><Conference startConferenceOnEnter="yes">a</Conference></Dial>'), 16002),
        (document('<Dial><Conference waitMethod="PUT">a</Conference></Dial>'), 16002),
        (document('<Dial><Conference beep="loud">a</Conference></Dial>'), 16002),
        (document('<Dial><Conference maxParticipants="251">a</Conference></Dial>'), 16002),
        (document('<Dial><Conference statusCallbackEvent="start stop">a</Conference></Dial>'), 16002),
        (document("<Dial><Conference>a</Conference><Number>1</Number></Dial>"), 13224),
        (document("<Dial><Conference>a</Conference><Conference>b</Conference></Dial>"), 13224),
        (document('<Redirect action="/x">/y</Redirect>'), 12200),
        (document("<Say>a</Say><Reject/>"), 12200),
        (document("<Connect/>"), 12200),
        (document("<Connect><Say>a</Say></Connect>"), 12200),
        (document(f'<Connect><Stream url="{MEDIA}"/><Stream url="{MEDIA}"/></Connect>'), 12200),
    ],
)
def test_a_document_that_twilio_would_not_carry_out_is_refused(text: str, code: int) -> None:
    with pytest.raises(TwimlError) as refused:
        read(text, BASE)
    assert refused.value.code == code
    assert str(code) in str(refused.value)


def test_as_much_is_said_as_twilio_says() -> None:
    assert one(f"<Say>{'a' * 4096}</Say>") == Say("a" * 4096)


# ---------------------------------------------------------------- streams


@pytest.mark.parametrize(
    ("stream", "code"),
    [
        (f'<Stream url="{MEDIA}" track="both_tracks"/>', 31941),
        (f'<Stream url="{MEDIA}" track="outbound_track"/>', 31941),
        ('<Stream url="ws://phone.example.com/media"/>', 31922),
        ('<Stream url="https://phone.example.com/media"/>', 31922),
        ('<Stream url="ftp://phone.example.com/media"/>', 31922),
        ("<Stream/>", 31923),
        ('<Stream url="wss:///media"/>', 31923),
        ('<Stream url="wss://[::1/media"/>', 31923),
        ('<Stream url="wss://phone.example.com:99999/media"/>', 31923),
        (f'<Stream url="{MEDIA}" codec="opus"/>', 12200),
        (f'<Stream url="{MEDIA}"><Say>a</Say></Stream>', 12200),
        (f'<Stream url="{MEDIA}"><Parameter key="a" value="b"/></Stream>', 12200),
    ],
)
def test_a_stream_that_twilio_would_not_open_is_refused(stream: str, code: int) -> None:
    with pytest.raises(TwimlError) as refused:
        connect(stream)
    assert refused.value.code == code


def test_the_track_of_the_caller_may_be_named() -> None:
    assert connect(f'<Stream url="{MEDIA}" track="inbound_track"/>').warnings == ()


@pytest.mark.parametrize(
    ("url", "dialled"),
    [
        ("/twilio/media", "wss://phone.example.com/twilio/media"),
        ("media", "wss://phone.example.com/twilio/media"),
        ("wss://other.example.com:8443/m", "wss://other.example.com:8443/m"),
        ("ws://127.0.0.1:9000/m", "ws://127.0.0.1:9000/m"),
        ("ws://localhost:9000/m", "ws://localhost:9000/m"),
    ],
)
def test_a_stream_url_is_resolved_against_the_webhook(url: str, dialled: str) -> None:
    read_back = connect(f'<Stream url="{url}"/>')
    assert (read_back.url, read_back.warnings) == (dialled, ())


def test_a_query_is_cut_off_the_stream_url_with_a_warning() -> None:
    read_back = connect(f'<Stream url="{MEDIA}?call=1&amp;x=2"/>')
    assert (read_back.url, read_back.warnings) == (MEDIA, (31920,))


@pytest.mark.parametrize("attribute", ['audioFormat="audio/x-mulaw;rate=8000"', 'sampleRate="8000"'])
def test_an_undocumented_audio_format_is_a_warning(attribute: str) -> None:
    assert connect(f'<Stream url="{MEDIA}" {attribute}/>').warnings == (12200,)


def test_parameters_callback_and_action_of_a_stream_are_read() -> None:
    body = (
        f'<Connect action="/after"><Stream url="{MEDIA}" name="main" statusCallback="/stream-status">'
        '<Parameter name="token" value="a &lt;b&gt; &quot;c&quot;"/><Parameter name="lang" value=""/></Stream></Connect>'
    )
    assert one(body) == Connect(
        MEDIA,
        {"token": 'a <b> "c"', "lang": ""},
        "https://phone.example.com/after",
        "https://phone.example.com/stream-status",
        name="main",
    )


@given(name=st.integers(1, 498), total=st.integers(490, 510))
def test_name_and_value_of_a_parameter_are_together_under_500_characters(name: int, total: int) -> None:
    value = max(0, total - name)
    stream = f'<Stream url="{MEDIA}"><Parameter name="{"n" * name}" value="{"v" * value}"/></Stream>'
    if name + value < 500:
        assert connect(stream).parameters == {"n" * name: "v" * value}
    else:
        with pytest.raises(TwimlError) as refused:
            connect(stream)
        assert refused.value.code == 12200


# ---------------------------------------------------------------- Twilio's own package


def _stream(response: VoiceResponse) -> None:
    verb = ConnectVerb(action="https://phone.example.com/after", method="POST")
    stream = Stream(url=MEDIA, name="s", track="inbound_track", status_callback="https://phone.example.com/status")
    stream.parameter(name="token", value='<&">')
    verb.append(stream)
    response.append(verb)


def _menu(response: VoiceResponse) -> None:
    gather = GatherVerb(input="dtmf", num_digits=1, timeout=6, action="/choice", action_on_empty_result=True)
    gather.say("Press a key.", voice="alice")
    gather.pause(length=1)
    gather.play("https://cdn.example.com/a.mp3", loop=1)
    response.append(gather)


def _dial(response: VoiceResponse) -> None:
    dial = DialVerb(action="/dialed", timeout=20, time_limit=60, caller_id="+15550002222", answer_on_bridge=True)
    dial.number("+15550001111", url="/whisper", status_callback="/leg", status_callback_event="completed")
    response.append(dial)


def _conference(response: VoiceResponse) -> None:
    dial = DialVerb(action="/after", method="POST")
    dial.conference(
        "call-17",
        start_conference_on_enter=False,
        end_conference_on_exit=True,
        wait_url="/hold",
        wait_method="POST",
        beep="onEnter",
        muted=True,
        max_participants=3,
        status_callback="/conference",
        status_callback_event="start end",
        status_callback_method="POST",
        participant_label="caller",
        jitter_buffer_size="small",
        record="do-not-record",
    )
    response.append(dial)


def _silent_conference(response: VoiceResponse) -> None:
    dial = DialVerb()
    dial.conference("call-17", wait_url="")
    response.append(dial)


@pytest.mark.parametrize(
    ("write", "verb"),
    [
        (lambda r: r.say("Tom & Jerry <3", language="en-GB"), Say("Tom & Jerry <3")),
        (lambda r: r.play("/a.mp3"), Play("https://phone.example.com/a.mp3")),
        (lambda r: r.pause(length=3), Pause(3)),
        (lambda r: r.redirect("/menu", method="POST"), Redirect("https://phone.example.com/menu")),
        (lambda r: r.hangup(), Hangup()),
        (lambda r: r.reject(reason="busy"), Reject("busy")),
        (
            lambda r: r.record(
                action="/done",
                max_length=60,
                timeout=5,
                finish_on_key="#",
                play_beep=True,
                trim="trim-silence",
                transcribe=False,
                recording_status_callback="/file",
                recording_status_callback_event="completed",
                recording_status_callback_method="POST",
            ),
            Record("https://phone.example.com/done", 60, "https://phone.example.com/file"),
        ),
        (
            _menu,
            Gather(
                (Say("Press a key."), Pause(1), Play("https://cdn.example.com/a.mp3")),
                "https://phone.example.com/choice",
                6,
                1,
                "#",
                True,
            ),
        ),
        (
            _conference,
            Dial(
                "",
                "https://phone.example.com/after",
                conference=Conference(
                    "call-17",
                    start_on_enter=False,
                    end_on_exit=True,
                    wait_url="https://phone.example.com/hold",
                    muted=True,
                    beep="onEnter",
                    max_participants=3,
                    status_callback="https://phone.example.com/conference",
                    events=frozenset({"start", "end"}),
                    label="caller",
                ),
            ),
        ),
        (_silent_conference, Dial("", conference=Conference("call-17", wait_url=""))),
        (
            _dial,
            Dial(
                "+15550001111",
                "https://phone.example.com/dialed",
                20,
                whisper="https://phone.example.com/whisper",
                status_callback="https://phone.example.com/leg",
            ),
        ),
        (
            _stream,
            Connect(
                MEDIA,
                {"token": '<&">'},
                "https://phone.example.com/after",
                "https://phone.example.com/status",
                name="s",
            ),
        ),
    ],
)
def test_what_twilios_package_writes_is_read_back(write: Callable[[VoiceResponse], object], verb: Verb) -> None:
    response = VoiceResponse()
    write(response)
    assert read(str(response), BASE) == (verb,)


DOCUMENTED = {
    "<Say{}>a</Say>": "voice language loop",
    "<Play{}>/a</Play>": "loop digits",
    "<Gather{}/>": "input action method timeout numDigits finishOnKey actionOnEmptyResult language hints speechTimeout "
    "speechModel bargeIn maxSpeechTime partialResultCallback partialResultCallbackMethod profanityFilter enhanced",
    "<Dial{}>1</Dial>": "action method timeout timeLimit callerId answerOnBridge hangupOnStar record ringTone sequential "
    "trim recordingStatusCallback recordingStatusCallbackMethod recordingStatusCallbackEvent recordingTrack",
    "<Dial><Number{}>1</Number></Dial>": "url method sendDigits statusCallback statusCallbackEvent "
    "statusCallbackMethod machineDetection amdStatusCallback",
    "<Dial><Conference{}>a</Conference></Dial>": "waitUrl statusCallback participantLabel record trim region "
    "recordingStatusCallback recordingStatusCallbackEvent eventCallbackUrl coach",
    "<Record{}/>": "action method timeout maxLength finishOnKey playBeep trim transcribe transcribeCallback "
    "recordingStatusCallback recordingStatusCallbackMethod recordingStatusCallbackEvent",
    "<Redirect{}>/a</Redirect>": "method",
    f'<Connect{{}}><Stream url="{MEDIA}"/></Connect>': "action method",
    f'<Connect><Stream url="{MEDIA}"{{}}/></Connect>': "name statusCallback statusCallbackMethod",
}
NUMBERS = {"loop", "timeout", "numDigits", "timeLimit", "maxLength", "maxSpeechTime"}


@pytest.mark.parametrize("template", DOCUMENTED)
def test_every_documented_attribute_is_known(template: str) -> None:
    refused: list[str] = []
    for name in DOCUMENTED[template].split():
        attribute = f" {name}={quoteattr('3' if name in NUMBERS else '/x')}"
        try:
            read(document(template.format(attribute)), BASE)
        except TwimlError:
            refused.append(name)
    assert refused == []
