"""Reads TwiML as strictly as the carrier does: verbs, attributes, nesting. Pure."""

import math
from urllib.parse import SplitResult, urljoin, urlsplit
from xml.etree import ElementTree

import attrs

SAY_AT_MOST = 4096
PARAMETER_AT_MOST = 500
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


class TwimlError(Exception):
    """A document that the carrier refuses; `code` is its error code."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(f"{code}: {why}")
        self.code = code


@attrs.frozen
class Say:
    """Speaks `text`."""

    text: str


@attrs.frozen
class Play:
    """Plays the file at `url`."""

    url: str


@attrs.frozen
class Pause:
    """Waits."""

    seconds: float


@attrs.frozen
class Gather:
    """Collects keys while the nested verbs are heard; falls through if none comes."""

    nested: tuple[Say | Play | Pause, ...]
    action: str
    timeout: float = 5.0
    num_digits: int = 0
    finish_on_key: str = "#"
    on_empty: bool = False


@attrs.frozen
class Conference:
    """A room that legs of the account meet in, by its name."""

    name: str
    start_on_enter: bool = True
    end_on_exit: bool = False
    wait_url: str | None = None
    """What is heard before it starts: None is the carrier's music, empty is silence."""
    muted: bool = False
    beep: str = "true"
    max_participants: int = 250
    status_callback: str = ""
    events: frozenset[str] = frozenset()
    """Of start, end, join, leave, ...: what the callback is asked with."""
    label: str = ""


@attrs.frozen
class Dial:
    """Rings `number`, or enters a conference."""

    number: str
    action: str = ""
    timeout: float = 30.0
    whisper: str = ""
    """The document that is carried out on the called leg before the two are connected."""
    status_callback: str = ""
    events: frozenset[str] = frozenset({"completed"})
    """Of initiated, ringing, answered, completed: what the callback is asked with."""
    conference: Conference | None = None


@attrs.frozen
class Record:
    """Takes a message."""

    action: str
    max_length: int = 3600
    callback: str = ""


@attrs.frozen
class Redirect:
    """Goes on with another document."""

    url: str


@attrs.frozen
class Hangup:
    """Ends the call."""


@attrs.frozen
class Reject:
    """Does not answer; only as the first verb."""

    reason: str = "rejected"


@attrs.frozen
class Connect:
    """Opens a media stream and waits for its end."""

    url: str
    parameters: dict[str, str]
    action: str = ""
    status_callback: str = ""
    warnings: tuple[int, ...] = ()
    name: str = ""
    """What its callbacks call the stream; if empty, its SID."""


Verb = Say | Play | Pause | Gather | Dial | Record | Redirect | Hangup | Reject | Connect

CONFERENCE_AT_MOST = 250
_CALL_EVENTS = frozenset({"initiated", "ringing", "answered", "completed"})
_CONFERENCE_EVENTS = frozenset({"start", "end", "join", "leave", "mute", "hold", "modify", "speaker", "announcement"})
_CONFERENCE_VALUES = {
    **dict.fromkeys(("startConferenceOnEnter", "endConferenceOnExit", "muted"), ("true", "false")),
    **dict.fromkeys(("waitMethod", "statusCallbackMethod", "recordingStatusCallbackMethod"), ("GET", "POST")),
    "beep": ("true", "false", "onEnter", "onExit"),
    "jitterBufferSize": ("off", "small", "medium", "large"),
}

_ATTRIBUTES = {
    "Say": {"voice", "language", "loop"},
    "Play": {"loop", "digits"},
    "Pause": {"length"},
    "Gather": {
        "input", "action", "method", "timeout", "numDigits", "finishOnKey", "actionOnEmptyResult", "language", "hints",
        "speechTimeout", "speechModel", "bargeIn", "maxSpeechTime", "partialResultCallback",
        "partialResultCallbackMethod", "profanityFilter", "enhanced", "debug",
    },
    "Dial": {
        "action", "method", "timeout", "timeLimit", "callerId", "answerOnBridge", "hangupOnStar", "record", "ringTone",
        "sequential", "trim", "recordingStatusCallback", "recordingStatusCallbackMethod",
        "recordingStatusCallbackEvent", "recordingTrack", "recordingConfigurationId", "referUrl", "referMethod",
        "events", "passports",
    },
    "Number": {
        "url", "method", "sendDigits", "statusCallback", "statusCallbackEvent", "statusCallbackMethod", "byoc",
        "machineDetection", "amdStatusCallback", "amdStatusCallbackMethod", "machineDetectionTimeout",
        "machineDetectionSpeechThreshold", "machineDetectionSpeechEndThreshold", "machineDetectionSilenceTimeout",
    },
    "Conference": {
        "startConferenceOnEnter", "endConferenceOnExit", "waitUrl", "waitMethod", "beep", "muted", "maxParticipants",
        "statusCallback", "statusCallbackEvent", "statusCallbackMethod", "participantLabel", "jitterBufferSize", "coach",
        "region", "trim", "record", "recordingStatusCallback", "recordingStatusCallbackMethod",
        "recordingStatusCallbackEvent", "recordingConfigurationId", "eventCallbackUrl",
    },
    "Record": {
        "action", "method", "timeout", "maxLength", "finishOnKey", "playBeep", "trim", "transcribe",
        "transcribeCallback", "recordingStatusCallback", "recordingStatusCallbackMethod", "recordingStatusCallbackEvent",
        "recordingConfigurationId",
    },
    "Redirect": {"method"},
    "Hangup": set(),
    "Reject": {"reason"},
    "Connect": {"action", "method"},
    "Stream": {"url", "name", "track", "statusCallback", "statusCallbackMethod", "audioFormat", "sampleRate"},
    "Parameter": {"name", "value"},
}  # fmt: skip


def read(document: str, base_url: str) -> tuple[Verb, ...]:
    """The verbs of `document`, its URLs resolved against `base_url`. Raises TwimlError."""
    try:
        root = ElementTree.fromstring(document)
    except ElementTree.ParseError as error:
        raise TwimlError(12100, f"document parse failure: {error}") from None
    if root.tag != "Response" or root.attrib:
        raise TwimlError(12100, f"the root is <{root.tag}>, not a plain <Response>")
    verbs = tuple(_verb(element, base_url) for element in root)
    if any(isinstance(verb, Reject) for verb in verbs[1:]):
        raise TwimlError(12200, "<Reject> is only allowed as the first verb")
    return verbs


def _verb(element: ElementTree.Element, base: str) -> Verb:
    _check_attributes(element)
    tag, text = element.tag, (element.text or "").strip()
    if tag not in ("Gather", "Dial", "Connect") and len(element):
        raise TwimlError(12200, f"<{tag}> may not hold other elements")
    action = _url(element.get("action", ""), base)
    if tag == "Say":
        if not text or len(text) > SAY_AT_MOST:
            raise TwimlError(13520, f"<Say> of {len(text)} characters")
        return Say(text)
    if tag == "Play":
        return Play(_url(text, base))
    if tag == "Pause":
        return Pause(_number(element, "length", 1))
    if tag == "Gather":
        return _gather(element, action or base, base)
    if tag == "Dial":
        return _dial(element, text, action, base)
    if tag == "Record":
        callback = _url(element.get("recordingStatusCallback", ""), base)
        return Record(action or base, int(_number(element, "maxLength", 3600)), callback)
    if tag == "Redirect":
        return Redirect(_url(text, base) or base)
    if tag == "Hangup":
        return Hangup()
    if tag == "Reject":
        return Reject(element.get("reason", "rejected"))
    if tag == "Connect":
        return _connect(element, action, base)
    raise TwimlError(12100, f"<{tag}> is no verb")


def _gather(element: ElementTree.Element, action: str, base: str) -> Gather:
    nested: list[Say | Play | Pause] = []
    for child in element:
        _check_attributes(child)
        verb = _verb(child, base) if child.tag in ("Say", "Play", "Pause") else None
        if not isinstance(verb, Say | Play | Pause):
            raise TwimlError(12200, f"<{child.tag}> may not stand in <Gather>")
        nested.append(verb)
    return Gather(
        tuple(nested),
        action,
        _number(element, "timeout", 5),
        int(_number(element, "numDigits", 0)),
        element.get("finishOnKey", "#"),
        element.get("actionOnEmptyResult") == "true",
    )


def _dial(element: ElementTree.Element, text: str, action: str, base: str) -> Dial:
    for child in element:
        _check_attributes(child)
    timeout = _number(element, "timeout", 30)
    if [child.tag for child in element] == ["Conference"]:
        return Dial("", action, timeout, conference=_conference(element[0], base))
    numbers = [child for child in element if child.tag == "Number"]
    number = (numbers[0].text or "").strip() if numbers else text
    if not number or len(numbers) != len(element):
        raise TwimlError(13224, "<Dial> without a number")
    if not numbers:
        return Dial(number, action, timeout)
    whisper, callback = (_url(numbers[0].get(name, ""), base) for name in ("url", "statusCallback"))
    events = frozenset((numbers[0].get("statusCallbackEvent") or "completed").split())
    return Dial(number, action, timeout, whisper, callback, events & _CALL_EVENTS)


def _conference(element: ElementTree.Element, base: str) -> Conference:
    name, events = (element.text or "").strip(), frozenset(element.get("statusCallbackEvent", "").split())
    wait, label = element.get("waitUrl"), element.get("participantLabel", "")
    at_most = _number(element, "maxParticipants", CONFERENCE_AT_MOST)
    wrong = [
        f"{key}={element.get(key)!r}"
        for key, allowed in _CONFERENCE_VALUES.items()
        if element.get(key, allowed[0]) not in allowed
    ]
    if wrong or not 0 < len(name) <= 128 or not events <= _CONFERENCE_EVENTS or len(label) > 128:
        raise TwimlError(16002, f"<Conference> {name!r} with {wrong or sorted(events - _CONFERENCE_EVENTS)}")
    if not 2 <= at_most <= CONFERENCE_AT_MOST:
        raise TwimlError(16002, f"<Conference> of {at_most} participants")
    return Conference(
        name,
        element.get("startConferenceOnEnter") != "false",
        element.get("endConferenceOnExit") == "true",
        _url(wait, base) if wait else wait,
        element.get("muted") == "true",
        element.get("beep", "true"),
        int(at_most),
        _url(element.get("statusCallback", ""), base),
        events,
        label,
    )


def _connect(element: ElementTree.Element, action: str, base: str) -> Connect:
    if len(element) != 1 or element[0].tag != "Stream":
        raise TwimlError(12200, "<Connect> takes one <Stream>")
    stream = element[0]
    _check_attributes(stream)
    if stream.get("track", "inbound_track") != "inbound_track":
        raise TwimlError(31941, f"track {stream.get('track')!r} inside <Connect>")
    url, warnings = _stream_url(stream.get("url", ""), base), []
    parts = urlsplit(url)
    if parts.query:
        warnings.append(31920)  # dropped before dialling
        url = parts._replace(query="").geturl()
    if stream.get("audioFormat") or stream.get("sampleRate"):
        warnings.append(12200)
    parameters: dict[str, str] = {}
    for child in stream:
        _check_attributes(child)
        name, value = child.get("name", ""), child.get("value", "")
        if child.tag != "Parameter" or len(name) + len(value) >= PARAMETER_AT_MOST:
            raise TwimlError(12200, f"<{child.tag}> in <Stream>, or a parameter that is too long")
        parameters[name] = value
    callback = _url(stream.get("statusCallback", ""), base)
    return Connect(url, parameters, action, callback, tuple(warnings), stream.get("name", ""))


def _stream_url(url: str, base: str) -> str:
    """The address to dial; a relative one is meant for the webhook's host, with WebSocket's scheme."""
    if url and not _split(url, 31923).scheme:
        url = urljoin(base, url).replace("http", "ws", 1)
    parts = _split(url, 31923)
    if parts.scheme not in ("", "wss") and not (parts.scheme == "ws" and parts.hostname in _LOOPBACK):
        raise TwimlError(31922, f"stream URL of scheme {parts.scheme!r}")
    if not parts.hostname:
        raise TwimlError(31923, f"stream URL {url!r}")
    return url


def _check_attributes(element: ElementTree.Element) -> None:
    known = _ATTRIBUTES.get(element.tag)
    if known is None:
        raise TwimlError(12100, f"<{element.tag}> is no verb or noun")
    for name in element.attrib:
        if name not in known:
            raise TwimlError(12200, f"<{element.tag}> has no attribute {name!r}")


def _number(element: ElementTree.Element, name: str, default: float) -> float:
    value = element.get(name)
    try:
        number = default if value is None else float(value)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise TwimlError(12200, f"{name} = {value!r} is no number that can be used")
    return number


def _url(url: str, base: str) -> str:
    if not url:
        return ""
    _split(url, 11100)
    return urljoin(base, url)


def _split(url: str, code: int) -> SplitResult:
    """The parts of `url`; a malformed one is an error of this code."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # read for its check
    except ValueError as error:
        raise TwimlError(code, f"malformed URL {url!r}: {error}") from None
    return parts
