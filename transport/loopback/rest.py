"""Twilio's REST API as far as a phone agent needs it: messages and calls, their lists, and its ways of refusing."""

import base64
import json
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Set
from datetime import datetime
from email.utils import format_datetime, parsedate_to_datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import attrs
import httpx2
import trio

from transport.loopback.carrier import LoopbackCarrier
from transport.loopback.http_server import HttpAnswer, InMemory, Mishaps, serve_http
from transport.loopback.legs import Leg

SENT_AFTER = 0.4
DELIVERED_AFTER = 1.2
"""Seconds from `queued` to `sent`, and from there to `delivered` or `undelivered`."""
PAGE_SIZE = 50
BODY_AT_MOST = 1600
"""Characters of a message."""
TWIML_AT_MOST = 4000
"""Characters of a document in a request."""
RestAnswer = HttpAnswer

_HTTP_STATUS = {10004: 429, 20003: 401, 20004: 405}
_NUMBER = re.compile(r"(?:whatsapp:|rcs:)?\+[1-9]\d{6,14}")
_SENDER = re.compile(r"(?:whatsapp:|rcs:)?\+[1-9]\d{6,14}|\d{3,6}|(?=[^a-zA-Z]*[a-zA-Z])[a-zA-Z0-9 ]{1,11}")
_PARTY = re.compile(r"\+[1-9]\d{6,14}|(?:sip|sips|client):\S+")
_SERVICE = re.compile(r"MG[0-9a-f]{32}")
_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:T\d\d:\d\d:\d\dZ)?")
_CONTENT = re.compile(r"HX[0-9a-f]{32}")
_GSM = set(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM_TWICE = set("\f^{}\\[~]|€")
_MESSAGE = frozenset({
    "To", "StatusCallback", "ApplicationSid", "MaxPrice", "ProvideFeedback", "Attempt", "ValidityPeriod",
    "ForceDelivery", "ContentRetention", "AddressRetention", "SmartEncoded", "PersistentAction", "TrafficType",
    "ShortenUrls", "ScheduleType", "SendAt", "SendAsMms", "ContentVariables", "MessageIntent", "RiskCheck", "From",
    "FallbackFrom", "MessagingServiceSid", "Body", "MediaUrl", "ContentSid",
})  # fmt: skip
_UPDATE = frozenset({
    "Url", "Method", "Status", "FallbackUrl", "FallbackMethod", "StatusCallback", "StatusCallbackMethod", "Twiml",
    "TimeLimit",
})  # fmt: skip
_CALL = (_UPDATE - {"Status"}) | frozenset({
    "To", "From", "StatusCallbackEvent", "SendDigits", "Timeout", "Record", "RecordingChannels",
    "RecordingStatusCallback", "RecordingStatusCallbackMethod", "RecordingConfigurationId", "SipAuthUsername",
    "SipAuthPassword", "MachineDetection", "MachineDetectionTimeout", "RecordingStatusCallbackEvent", "Trim",
    "CallerId", "MachineDetectionSpeechThreshold", "MachineDetectionSpeechEndThreshold",
    "MachineDetectionSilenceTimeout", "AsyncAmd", "AsyncAmdStatusCallback", "AsyncAmdStatusCallbackMethod",
    "Passports", "Byoc", "CallReason", "CallToken", "RecordingTrack", "ClientNotificationUrl", "ApplicationSid",
})  # fmt: skip
_HEEDED = frozenset({
    "To", "From", "Body", "MessagingServiceSid", "ContentSid", "ContentVariables", "MediaUrl", "StatusCallback",
    "StatusCallbackEvent", "StatusCallbackMethod", "Url", "Method", "Twiml", "Timeout", "Status", "FallbackUrl",
})  # fmt: skip
_EVENTS = frozenset({"initiated", "ringing", "answered", "completed"})


@attrs.frozen
class RestFaults:
    """How the API misbehaves; everything is off unless set."""

    opted_out: frozenset[str] = frozenset()
    """Numbers that said STOP: a message to them is refused with 21610."""
    refuse: Mapping[str, int] = attrs.field(factory=dict)
    """Numbers (of To or From), and the code that refuses what is created with them."""
    statuses: tuple[int, ...] = ()
    """HTTP statuses of successive requests: 429, 500, 503; 0 is carried out."""
    slow: float = 0.0
    """Seconds before each answer; what was asked for is done already."""
    lose_answers: int = 0
    """So many POSTs are carried out and never answered."""
    undelivered: Mapping[str, int] = attrs.field(factory=dict)
    """Numbers whose messages are sent and do not arrive, with the ErrorCode."""
    failed: Mapping[str, int] = attrs.field(factory=dict)
    """Numbers whose messages cannot even be sent, with the ErrorCode."""


@attrs.define
class SentMessage:
    """A message that the API took."""

    to: str
    sender: str
    """The number it comes from; empty if a Messaging Service has still to choose one."""
    text: str
    sid: str
    at: float
    """Trio's time."""
    status: str = "queued"
    error_code: int | None = None
    service_sid: str = ""
    content_sid: str = ""
    content_variables: str = ""
    callback: str = ""
    created: datetime = attrs.field(kw_only=True)
    sent: datetime | None = None
    updated: datetime = attrs.field(kw_only=True)


class Refused(Exception):
    """A request that is refused with one of Twilio's codes."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message = code, message


class _Form:
    """The parameters of a request; the last one of a name counts."""

    def __init__(self, raw: str) -> None:
        self._values = parse_qs(raw, keep_blank_values=True)

    def get(self, name: str) -> str:
        return self._values.get(name, [""])[-1]

    def all(self, name: str) -> list[str]:
        return self._values.get(name, [])

    def beyond(self, known: Iterable[str]) -> list[str]:
        return sorted(set(self._values) - set(known))

    def check(self, name: str, pattern: re.Pattern[str], missing: int, invalid: int) -> str:
        """The value, if it looks as it must. Raises Refused."""
        value = self.get(name)
        if not value:
            raise Refused(missing, f"A '{name}' phone number is required.")
        if not pattern.fullmatch(value):
            raise Refused(invalid, f"Invalid '{name}' Phone Number: {value}")
        return value

    def address(self, name: str, code: int) -> str:
        """An absolute URL, or nothing. Raises Refused."""
        value = self.get(name)
        try:
            parts = urlsplit(value)
        except ValueError:
            parts = urlsplit("")
        if value and not (parts.scheme in ("http", "https") and parts.hostname and "_" not in parts.hostname):
            raise Refused(code, f"The '{name}' URL {value} is not a valid URL.")
        return value


class LoopbackRest:
    """The API of the carrier's account. What it starts (calls, callbacks) runs in `LoopbackCarrier.run`."""

    def __init__(
        self,
        carrier: LoopbackCarrier,
        *,
        faults: RestFaults | None = None,
        api_keys: Mapping[str, str] | None = None,
    ) -> None:
        self._carrier = carrier
        self._faults = faults or RestFaults()
        self._keys = {carrier.account: carrier.token, **(api_keys or {})}
        self._mishaps = Mishaps(self._faults.statuses, self._faults.slow, self._faults.lose_answers)
        self._root = f"/2010-04-01/Accounts/{carrier.account}"
        self.messages: list[SentMessage] = []
        self.requests: list[tuple[str, str, int]] = []
        """Method, path below the account, and status of each request; status 0 as long as there is no answer."""
        self.problems: list[str] = []
        """What the real API would not do: parameters and events that do not exist, a document beside an address."""
        self.unheeded: list[str] = []
        """What the real API does and this one does not: parameters that were given and had no effect."""

    async def handle(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> RestAnswer:
        """The answer to a request; `url` may lack scheme and host. Does not return if the answer is lost."""
        parts = urlsplit(url)
        number = len(self.requests)
        self.requests.append((method, parts.path.removeprefix(self._root), 0))
        answer = self._answer(method, parts.path, parts.query, headers, body)
        await self._mishaps.before_the_answer(may_be_lost=method == "POST" and answer.status < 300)
        self.requests[number] = (*self.requests[number][:2], answer.status)
        return answer

    def transport(self) -> httpx2.AsyncBaseTransport:
        """For an httpx2.AsyncClient that is to talk to this API without sockets, whatever host it names."""
        return InMemory(self.handle)

    async def serve(  # noqa: ASYNC128 - serve_http calls it
        self, port: int = 0, *, task_status: "trio.TaskStatus[int]" = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serves the API on 127.0.0.1 until cancelled; reports the port."""
        await serve_http(self.handle, port, task_status=task_status)

    # ------------------------------------------------------------ what every request goes through

    def _answer(self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes) -> RestAnswer:
        try:
            status = self._mishaps.status()
            if status:
                raise Refused(status + 20000, HTTPStatus(status).phrase)
            self._authenticate({name.lower(): value for name, value in headers.items()}.get("authorization", ""))
            form = _Form(body.decode("utf-8", "replace") if method == "POST" else query)
            return self._route(method, path, form)
        except Refused as refused:
            status = _HTTP_STATUS.get(refused.code, refused.code - 20000 if 20400 <= refused.code < 20600 else 400)
            more = f"https://www.twilio.com/docs/errors/{refused.code}"
            told = {"code": refused.code, "message": refused.message, "more_info": more, "status": status}
            return _json(status, told)

    def _authenticate(self, credentials: str) -> None:
        kind, _, encoded = credentials.partition(" ")
        try:
            user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except ValueError:
            user, password = "", ""
        if kind.lower() != "basic" or not password or self._keys.get(user) != password:
            raise Refused(20003, "Authenticate")

    def _route(self, method: str, path: str, form: _Form) -> RestAnswer:
        if path.startswith(self._root + "/") and path.endswith(".json"):
            kind, _, sid = path[len(self._root) + 1 : -len(".json")].partition("/")
            calls = self._carrier.calls.values()
            routes: dict[tuple[str, str, bool], Callable[[], RestAnswer]] = {
                ("POST", "Messages", False): lambda: self._create_message(form),
                ("GET", "Messages", False): lambda: self._page("messages", map(self._message, self.messages), form),
                ("GET", "Messages", True): lambda: _json(200, self._message(self._message_of(sid, path))),
                ("POST", "Calls", False): lambda: self._create_call(form),
                ("GET", "Calls", False): lambda: self._page("calls", map(self._call, calls), form),
                ("GET", "Calls", True): lambda: _json(200, self._call(self._call_of(sid, path))),
                ("POST", "Calls", True): lambda: self._update_call(self._call_of(sid, path), form),
            }
            if route := routes.get((method, kind, bool(sid))):
                return route()
            if any(known[1:] == (kind, bool(sid)) for known in routes):
                raise Refused(20004, "Method not allowed")
        raise self._unknown(path)

    def _unknown(self, path: str) -> Refused:
        return Refused(20404, f"The requested resource {path} was not found")

    def _refuse(self, *numbers: str) -> None:
        for number in numbers:
            if number in self._faults.refuse:
                raise Refused(self._faults.refuse[number], f"Refused: {number}")

    def _note(self, form: _Form, known: Set[str], what: str) -> None:
        self.problems += [f"{what}: there is no parameter {name}" for name in form.beyond(known)]
        if what.startswith("POST"):
            self.unheeded += [f"{what}: {name}" for name in form.beyond(_HEEDED) if name in known]

    def _page(self, kind: str, all_of_them: Iterable[dict[str, Any]], form: _Form) -> RestAnswer:
        """One page of a list, the newest first. Dates are of UTC days or, with a time, to the second."""
        when = "DateSent" if kind == "messages" else "StartTime"
        filters = ("To", "From", *(() if kind == "messages" else ("Status",)))
        self._note(form, {*filters, when, f"{when}<", f"{when}>", "PageSize", "Page", "PageToken"}, f"GET {kind}")
        found = [one for one in all_of_them if all(form.get(name) in ("", one[name.lower()]) for name in filters)]
        found = [one for one in reversed(found) if _dated(one, when, form)]
        size, page = _digits(form.get("PageSize"), PAGE_SIZE), _digits(form.get("Page"), 0)
        size = max(1, min(size, 1000))
        part = found[page * size : (page + 1) * size]

        def uri(number: int) -> str:
            asked = {name: form.get(name) for name in (*filters, when, f"{when}<", f"{when}>") if form.get(name)}
            return f"{self._root}/{kind.capitalize()}.json?" + urlencode(asked | {"PageSize": size, "Page": number})

        more = (page + 1) * size < len(found)
        return _json(
            200,
            {
                kind: part,
                "end": page * size + max(0, len(part) - 1),
                "first_page_uri": uri(0),
                "next_page_uri": uri(page + 1) if more else None,
                "page": page,
                "page_size": size,
                "previous_page_uri": uri(page - 1) if page else None,
                "start": page * size,
                "uri": uri(page),
            },
        )

    # ------------------------------------------------------------ messages

    def _create_message(self, form: _Form) -> RestAnswer:
        self._note(form, _MESSAGE, "POST Messages")
        to = form.check("To", _NUMBER, 21604, 21211)
        service, content = form.get("MessagingServiceSid"), form.get("ContentSid")
        sender = form.get("From")
        if sender or not service:
            sender = form.check("From", _SENDER, 21603, 21212)
        if service and not _SERVICE.fullmatch(service):
            raise Refused(21701, "The Messaging Service does not exist")
        if sender == to:
            raise Refused(21266, "'To' and 'From' number cannot be the same")
        text = form.get("Body")
        if not text.strip() and not content and not form.all("MediaUrl"):
            raise Refused(21602, "Message body is required.")
        if content and not _CONTENT.fullmatch(content):
            raise Refused(21655, "The ContentSid is Invalid")
        if len(text) > BODY_AT_MOST:
            raise Refused(21617, f"The concatenated message body exceeds the {BODY_AT_MOST} character limit")
        callback = form.address("StatusCallback", 21609)
        if to in self._faults.opted_out:
            raise Refused(21610, "Attempt to send to unsubscribed recipient")
        self._refuse(to, sender)
        now = self._carrier.now()
        message = SentMessage(
            *(to, sender, text, self._carrier.new_sid("SM"), trio.current_time()),
            service_sid=service,
            content_sid=content,
            content_variables=form.get("ContentVariables"),
            callback=callback,
            created=now,
            updated=now,
        )
        self.messages.append(message)
        created = self._message(message)
        self._carrier.spawn(self._deliver, message)
        return _json(201, created)

    async def _deliver(self, message: SentMessage) -> None:
        """The message's way, told to its callback: queued, sent, and how it ends."""
        await self._tell(message, "queued")
        await trio.sleep(SENT_AFTER)
        if message.to in self._faults.failed:
            message.error_code = self._faults.failed[message.to]
            return await self._tell(message, "failed")
        message.sent = self._carrier.now()
        await self._tell(message, "sent")
        await trio.sleep(DELIVERED_AFTER)
        message.error_code = self._faults.undelivered.get(message.to)
        return await self._tell(message, "undelivered" if message.error_code else "delivered")

    async def _tell(self, message: SentMessage, status: str) -> None:
        message.status, message.updated = status, self._carrier.now()
        if message.callback:
            form = {
                "AccountSid": self._carrier.account,
                "ApiVersion": "2010-04-01",
                "From": message.sender,
                "MessageSid": message.sid,
                "MessageStatus": status,
                "SmsSid": message.sid,
                "SmsStatus": status,
                "To": message.to,
            }
            if message.service_sid:
                form["MessagingServiceSid"] = message.service_sid
            if message.error_code:
                form["ErrorCode"] = str(message.error_code)
            await self._carrier.post(message.callback, form)

    def _message_of(self, sid: str, path: str) -> SentMessage:
        for message in self.messages:
            if message.sid == sid:
                return message
        raise self._unknown(path)

    def _message(self, message: SentMessage) -> dict[str, Any]:
        uri = f"{self._root}/Messages/{message.sid}"
        return {
            "account_sid": self._carrier.account,
            "api_version": "2010-04-01",
            "body": message.text,
            "date_created": _stamp(message.created),
            "date_sent": _stamp(message.sent),
            "date_updated": _stamp(message.updated),
            "direction": "outbound-api",
            "error_code": message.error_code,
            "error_message": f"error {message.error_code}" if message.error_code else None,
            "from": message.sender or None,
            "messaging_service_sid": message.service_sid or None,
            "num_media": "0",
            "num_segments": str(segments(message.text)) if message.sender else "0",
            "price": None,
            "price_unit": None,
            "sid": message.sid,
            "status": message.status,
            "subresource_uris": {"media": f"{uri}/Media.json"},
            "to": message.to,
            "uri": f"{uri}.json",
        }

    # ------------------------------------------------------------ calls

    def _create_call(self, form: _Form) -> RestAnswer:
        self._note(form, _CALL, "POST Calls")
        to = form.check("To", _PARTY, 21201, 21211)
        sender = form.check("From", _PARTY, 21213, 21212)
        document = self._document(form, "POST Calls")
        if document is None:
            raise Refused(21205, "Url parameter is required.")
        callback = form.address("StatusCallback", 21609)
        fallback = form.address("FallbackUrl", 21205)
        self._refuse(to, sender)
        seconds = float(_digits(form.get("Timeout"), 60))
        leg = self._carrier.call_from_api(to, sender, document, callback, self._asked_events(form), seconds, fallback)
        return _json(201, self._call(leg))

    def _asked_events(self, form: _Form) -> frozenset[str]:
        asked = set(form.all("StatusCallbackEvent")) or {"completed"}
        self.problems += [f"POST Calls: StatusCallbackEvent {event!r} (21626)" for event in sorted(asked - _EVENTS)]
        return frozenset(asked & _EVENTS)

    def _document(self, form: _Form, what: str) -> tuple[str, str] | None:
        """The address of the document that is asked for, or else its text."""
        url, text = form.address("Url", 21205), form.get("Twiml")
        for name in ("Method", "StatusCallbackMethod"):
            if form.get(name) not in ("", "POST"):
                self.unheeded.append(f"{what}: {name} {form.get(name)}")
        if url and text:
            self.problems.append(f"{what}: Twiml is ignored, for there is a Url")
        elif len(text) > TWIML_AT_MOST:
            raise Refused(20001, f"Twiml is longer than {TWIML_AT_MOST} characters")
        return (url, "" if url else text) if url or text else None

    def _update_call(self, leg: Leg, form: _Form) -> RestAnswer:
        self._note(form, _UPDATE, "POST Calls/sid")
        for name in ("StatusCallback", "FallbackUrl"):
            if form.get(name):
                self.unheeded.append(f"POST Calls/sid: {name}")
        status, document = form.get("Status"), self._document(form, "POST Calls/sid")
        if status not in ("", "completed", "canceled"):
            raise Refused(20001, f"Status {status} is not one that can be set")
        early, over = leg.state in ("queued", "ringing"), leg.state not in ("queued", "ringing", "in-progress")
        if over or (status == "canceled" and not early) or (not status and leg.state != "in-progress"):
            raise Refused(21220, f"Call is not in-progress. Cannot {'end' if status else 'redirect'}.")
        if status:
            leg.end_now("canceled" if early else "completed")
        elif document is not None:
            leg.replace(*document)
        return _json(200, self._call(leg))

    def _call_of(self, sid: str, path: str) -> Leg:
        leg = self._carrier.calls.get(sid)
        if leg is None:
            raise self._unknown(path)
        return leg

    def _call(self, leg: Leg) -> dict[str, Any]:
        uri = f"{self._root}/Calls/{leg.sid}"
        over = leg.ended_at is not None
        return {
            "account_sid": self._carrier.account,
            "annotation": None,
            "answered_by": None,
            "api_version": "2010-04-01",
            "caller_name": None,
            "date_created": _stamp(leg.created_at),
            "date_updated": _stamp(leg.ended_at or leg.answered_at or leg.created_at),
            "direction": leg.direction,
            "duration": str(leg.duration) if over else None,
            "end_time": _stamp(leg.ended_at),
            "forwarded_from": None,
            "from": leg.caller,
            "from_formatted": leg.caller,
            "group_sid": None,
            "parent_call_sid": leg.parent_sid or None,
            "phone_number_sid": None,
            "price": None,
            "price_unit": "USD",
            "queue_time": "0",
            "sid": leg.sid,
            "start_time": _stamp(leg.answered_at),
            "status": leg.state,
            "subresource_uris": {name.lower(): f"{uri}/{name}.json" for name in ("Events", "Recordings", "Streams")},
            "to": leg.called,
            "to_formatted": leg.called,
            "trunk_sid": None,
            "uri": f"{uri}.json",
        }


# ---------------------------------------------------------------- small parts


def segments(text: str) -> int:
    """How many SMS a text takes: 160 characters of GSM-7 or 70 of UCS-2, fewer each if there are several. Pure."""
    if all(character in _GSM or character in _GSM_TWICE for character in text):
        length, one, many = sum(2 if character in _GSM_TWICE else 1 for character in text), 160, 153
    else:
        length, one, many = len(text.encode("utf-16-le")) // 2, 70, 67
    return 1 if length <= one else -(-length // many)


def _json(status: int, content: Mapping[str, Any]) -> RestAnswer:
    return RestAnswer(status, "application/json", json.dumps(content).encode())


def _stamp(at: datetime | None) -> str | None:
    return None if at is None else format_datetime(at)


def _dated(one: Mapping[str, Any], when: str, form: _Form) -> bool:
    """Whether something of a list is of the time asked for; what has not happened yet counts from its creation."""
    at = parsedate_to_datetime(one["date_sent" if when == "DateSent" else "start_time"] or one["date_created"])
    for sign, holds in (("", operator.eq), (">", operator.ge), ("<", operator.le)):
        limit = form.get(when + sign)
        if not limit:
            continue
        if not _DATE.fullmatch(limit):
            raise Refused(20001, f"Invalid date {limit}")
        if not holds(at.strftime("%Y-%m-%d" if len(limit) == 10 else "%Y-%m-%dT%H:%M:%SZ"), limit):
            return False
    return True


def _digits(text: str, default: int) -> int:
    return int(text) if text.isdecimal() else default
