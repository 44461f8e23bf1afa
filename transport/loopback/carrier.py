"""The loopback carrier: plays Twilio's part in a call. Signs, reads TwiML strictly, streams, and calls back."""

import datetime
import math
import random
import uuid
from collections.abc import Mapping, Sequence
from email.utils import format_datetime

import attrs
import trio
from twilio.request_validator import RequestValidator

from transport.loopback import twiml_reader as twiml
from transport.loopback.caller import Step
from transport.loopback.network import Network, StreamRefused
from transport.loopback.person import Person
from transport.loopback.playback import Heard
from transport.loopback.stream import MediaStream, StreamFaults, StreamLog

SAY_SECONDS_PER_CHARACTER = 0.06
DOCUMENTS_AT_MOST = 30
"""Documents of one call: a loop of redirects ends here."""
TICK = 0.1
PLAY_SECONDS = 2.0
"""How long any file of `<Play>` takes."""
RECORDING_SECONDS = 3
"""How long a message the caller leaves, if there is room for it."""


@attrs.define
class CarriedCall:
    """One call as the carrier saw it. Times are Trio's."""

    call_sid: str
    began: float = 0.0
    ended: float = 0.0
    streams: list[StreamLog] = attrs.field(factory=list)
    verbs: list[twiml.Verb] = attrs.field(factory=list)
    """What was carried out, in order."""
    errors: list[str] = attrs.field(factory=list)
    """Error codes with their reasons."""
    end: str = ""
    """caller, hangup, document, error, rejected."""
    said: list[Heard] = attrs.field(factory=list)
    """The caller's speech."""
    posts: list[tuple[str, int]] = attrs.field(factory=list)
    """Paths of the webhooks and the status that answered them."""
    voice_ms: float = 0.0
    """How long the voice webhook took to answer."""

    def words(self) -> list[str]:
        """What `<Say>` said."""
        return [verb.text for verb in self.verbs if isinstance(verb, twiml.Say)]

    def heard(self) -> list[Heard]:
        """What the caller heard of the media streams."""
        return [piece for stream in self.streams for piece in stream.playback.heard]


class _Over(Exception):
    """The call is over."""


class LoopbackCarrier:
    """A carrier with one account and one number's webhooks."""

    def __init__(
        self,
        network: Network,
        *,
        public_url: str,
        account_sid: str,
        auth_token: str,
        seed: int = 0,
        dial: Mapping[str, str] | None = None,
        say_speed: float = 1.0,
    ) -> None:
        self._network = network
        self._public = public_url.rstrip("/")
        self._account = account_sid
        self._validator = RequestValidator(auth_token)
        self._random = random.Random(seed)
        self._dial = dict(dial or {})
        """What becomes of a number that is dialled: completed, busy, no-answer, failed."""
        self._say_speed = say_speed

    async def place_call(
        self,
        steps: Sequence[Step],
        *,
        caller: str = "+14155550123",
        called: str = "+14155550100",
        faults: StreamFaults | None = None,
        voice_path: str = "/twilio/voice",
        status_path: str = "/twilio/status",
        call_sid: str = "",
    ) -> CarriedCall:
        """One call from the ring to its end. Never raises for what the server does: see `errors`."""
        call = CarriedCall(call_sid or self._sid("CA"), trio.current_time())
        person = Person(steps)
        one = _OneCall(self, call, person, caller, called, faults or StreamFaults(), status_path)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(person.live)
            await one.run(self._public + voice_path)
            nursery.cancel_scope.cancel("the call is over")
        call.ended, call.said = trio.current_time(), person.said
        return call

    # ------------------------------------------------------------ for one call

    @property
    def network(self) -> Network:
        """The way to the server."""
        return self._network

    @property
    def account(self) -> str:
        """The account's SID."""
        return self._account

    def sign(self, url: str, form: Mapping[str, str]) -> str:
        """The signature of a request."""
        return str(self._validator.compute_signature(url, form))

    def outcome(self, number: str) -> str:
        """What becomes of dialling `number`."""
        return self._dial.get(number, "completed")

    def say_seconds(self, text: str) -> float:
        """How long saying `text` takes."""
        return len(text) * SAY_SECONDS_PER_CHARACTER / self._say_speed

    def new_sid(self, kind: str) -> str:
        """A fresh SID: two letters and 32 hexadecimal digits."""
        return self._sid(kind)

    def new_key(self) -> str:
        """A fresh idempotency token."""
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    @property
    def status_root(self) -> str:
        """The address that relative webhook paths are meant for."""
        return self._public

    def _sid(self, kind: str) -> str:
        return f"{kind}{self._random.getrandbits(128):032x}"


class _OneCall:
    """The carrying out of one call."""

    def __init__(
        self,
        carrier: LoopbackCarrier,
        call: CarriedCall,
        person: Person,
        caller: str,
        called: str,
        faults: StreamFaults,
        status_path: str,
    ) -> None:
        self._carrier = carrier
        self._call = call
        self._person = person
        self._caller, self._called = caller, called
        self._faults = faults
        self._status_url = carrier.status_root + status_path
        self._sequence = 0
        self._state = "ringing"

    async def run(self, voice_url: str) -> None:
        """Documents, one after the other, until the call is over."""
        url, extra = voice_url, dict[str, str]()
        try:
            for _ in range(DOCUMENTS_AT_MOST):
                verbs = await self._fetch(url, extra)
                if self._state == "ringing" and not isinstance(verbs[0] if verbs else None, twiml.Reject):
                    self._state = "in-progress"
                    await self._status("in-progress")
                url, extra = await self._carry_out(verbs)
            self._fail("12000", "too many documents")
        except _Over:
            pass
        self._state = "completed"
        await self._status("completed", CallDuration=str(round(trio.current_time() - self._call.began)))

    # ------------------------------------------------------------ webhooks

    def _form(self, **extra: str) -> dict[str, str]:
        empty = {f"{who}{what}": "" for who in ("From", "To", "Caller", "Called") for what in ("City", "State", "Zip")}
        countries = {f"{who}Country": "US" for who in ("From", "To", "Caller", "Called")}
        return {
            **empty,
            **countries,
            "AccountSid": self._carrier.account,
            "ApiVersion": "2010-04-01",
            "CallSid": self._call.call_sid,
            "CallStatus": self._state,
            "Called": self._called,
            "Caller": self._caller,
            "Direction": "inbound",
            "From": self._caller,
            "To": self._called,
            **extra,
        }

    async def _post(self, url: str, form: Mapping[str, str]) -> tuple[int, str, str]:
        headers = {
            "User-Agent": "TwilioProxy/1.1",
            "Accept": "*/*",
            "I-Twilio-Idempotency-Token": self._carrier.new_key(),
            "X-Twilio-Signature": self._carrier.sign(url, form),
        }
        answer = await self._carrier.network.post(url, form, headers)
        self._call.posts.append((url.removeprefix(self._carrier.status_root), answer.status))
        return answer.status, answer.content_type, answer.body

    async def _fetch(self, url: str, extra: Mapping[str, str]) -> tuple[twiml.Verb, ...]:
        asked = trio.current_time()
        status, kind, body = 0, "", ""
        with trio.move_on_after(15):
            status, kind, body = await self._post(url, self._form(**extra))
        self._call.voice_ms = self._call.voice_ms or (trio.current_time() - asked) * 1000
        if status != 200 or "xml" not in kind:
            raise self._fail("11200", f"{url} gave no TwiML")
        try:
            return twiml.read(body, url)
        except twiml.TwimlError as error:
            raise self._fail(str(error.code), str(error)) from None

    def _fail(self, code: str, why: str) -> _Over:
        """The caller hears an application error, and the call ends."""
        self._call.errors.append(f"{code}: {why}")
        self._call.end = "error"
        return _Over()

    async def _status(self, status: str, **extra: str) -> None:
        form = self._form(
            **extra,
            CallStatus=status,
            CallbackSource="call-progress-events",
            SequenceNumber=str(self._sequence),
            Timestamp=format_datetime(datetime.datetime.now(datetime.UTC)),
        )
        self._sequence += 1
        await self._post(self._status_url, form)

    # ------------------------------------------------------------ verbs

    async def _carry_out(self, verbs: Sequence[twiml.Verb]) -> tuple[str, dict[str, str]]:
        """The document that follows, and what it is asked with. Raises _Over at the end of the call."""
        for verb in verbs:
            self._call.verbs.append(verb)
            follows = await self._do(verb)
            if follows is not None:
                return follows
        raise self._over("document")

    def _over(self, end: str) -> _Over:
        self._call.end = end
        return _Over()

    async def _do(self, verb: twiml.Verb) -> tuple[str, dict[str, str]] | None:
        if isinstance(verb, twiml.Say | twiml.Play | twiml.Pause):
            await self._pass(self._seconds(verb), audible=not isinstance(verb, twiml.Pause))
        elif isinstance(verb, twiml.Gather):
            return await self._gather(verb)
        elif isinstance(verb, twiml.Dial):
            return await self._dial(verb)
        elif isinstance(verb, twiml.Record):
            return await self._record(verb)
        elif isinstance(verb, twiml.Redirect):
            return verb.url, {}
        elif isinstance(verb, twiml.Hangup):
            raise self._over("hangup")
        elif isinstance(verb, twiml.Reject):
            raise self._over("rejected")
        else:
            return await self._connect(verb)
        return None

    async def _gather(self, verb: twiml.Gather) -> tuple[str, dict[str, str]] | None:
        self._call.verbs += verb.nested
        digits = ""
        limit = trio.current_time() + sum(map(self._seconds, verb.nested)) + verb.timeout
        async with trio.open_nursery() as nursery:
            prompt = trio.CancelScope()
            nursery.start_soon(self._prompt, verb.nested, prompt)
            while not (verb.num_digits and len(digits) >= verb.num_digits):
                digit = await self._key(limit)
                if digit in ("", verb.finish_on_key):
                    break
                prompt.cancel("a key")
                digits += digit
                limit = trio.current_time() + verb.timeout
            nursery.cancel_scope.cancel("the keys are gathered")
        self._person.hear(False)
        self._unless_gone()
        return (verb.action, {"Digits": digits}) if digits or verb.on_empty else None

    async def _prompt(self, nested: Sequence[twiml.Say | twiml.Play | twiml.Pause], cut: trio.CancelScope) -> None:
        """What is heard while keys are gathered: the nested verbs until they are cut off, then nothing."""
        with cut:
            for verb in nested:
                await self._sound(self._seconds(verb), audible=not isinstance(verb, twiml.Pause))
        await self._sound(math.inf, audible=False)

    async def _dial(self, verb: twiml.Dial) -> tuple[str, dict[str, str]] | None:
        outcome = self._carrier.outcome(verb.number)
        seconds = {"completed": 5.0, "no-answer": verb.timeout}.get(outcome, 1.0)
        await self._pass(seconds, audible=False)
        told = {"DialCallStatus": outcome, "DialCallSid": self._carrier.new_sid("CA"), "DialBridged": "false"}
        if outcome == "completed":
            told |= {"DialCallDuration": "5", "DialBridged": "true"}
        return (verb.action, told) if verb.action else None

    async def _record(self, verb: twiml.Record) -> tuple[str, dict[str, str]]:
        seconds = min(RECORDING_SECONDS, verb.max_length)
        await self._pass(seconds, audible=False)
        recording = self._carrier.new_sid("RE")
        url = f"{self._carrier.status_root}/recordings/{recording}"
        told = {"RecordingSid": recording, "RecordingUrl": url, "RecordingDuration": str(seconds)}
        if verb.callback:
            await self._post(verb.callback, self._form(**told, RecordingStatus="completed"))
        return verb.action, {**told, "Digits": "hangup"}

    async def _connect(self, verb: twiml.Connect) -> tuple[str, dict[str, str]] | None:
        self._call.errors += [f"{code}: warning" for code in verb.warnings]
        log = StreamLog(self._carrier.new_sid("MZ"), trio.current_time())
        self._call.streams.append(log)
        headers = {
            "User-Agent": "Twilio.TmeWs/1.0",
            "Accept-Encoding": "gzip",
            "x-twilio-signature": self._faults.signature or self._carrier.sign(verb.url, {}),
        }
        parameters = verb.parameters if self._faults.parameters is None else self._faults.parameters
        try:
            async with self._carrier.network.open_stream(verb.url, headers) as socket:
                await self._stream_status(verb, log, "stream-started")
                stream = MediaStream(socket, log, self._person, self._faults)
                self._person.heeded(True)
                await stream.run(self._carrier.account, self._call.call_sid, parameters)
        except StreamRefused as refused:
            why = f"31920: the handshake was answered with {refused.status}"
            self._call.errors.append(why)
            log.ended_by = "refused"
            await self._stream_status(verb, log, "stream-error", StreamError=why)
        self._faults = StreamFaults()  # the next stream of the call is a good one
        self._person.heeded(False)
        if log.ended_by != "refused":
            await self._stream_status(verb, log, "stream-stopped")
        self._unless_gone()
        return (verb.action, {}) if verb.action else None

    async def _stream_status(self, verb: twiml.Connect, log: StreamLog, event: str, **extra: str) -> None:
        if verb.status_callback:
            stamp = datetime.datetime.now(datetime.UTC).isoformat().replace("+00:00", "Z")
            form = {
                "AccountSid": self._carrier.account,
                "CallSid": self._call.call_sid,
                "StreamSid": log.stream_sid,
                "StreamName": verb.name or log.stream_sid,
                "StreamEvent": event,
                "Timestamp": stamp,
                **extra,
            }
            await self._post(verb.status_callback, form)

    # ------------------------------------------------------------ time

    def _seconds(self, verb: twiml.Say | twiml.Play | twiml.Pause) -> float:
        if isinstance(verb, twiml.Say):
            return self._carrier.say_seconds(verb.text)
        return PLAY_SECONDS if isinstance(verb, twiml.Play) else verb.seconds

    async def _pass(self, seconds: float, *, audible: bool) -> None:
        """Lets time pass. Raises _Over if the person hangs up."""
        await self._sound(seconds, audible=audible)
        self._unless_gone()

    async def _sound(self, seconds: float, *, audible: bool) -> None:
        """Keeps the person's ear informed for a while, or until they hang up."""
        with trio.move_on_after(seconds):
            while not self._person.gone.is_set():
                self._person.hear(audible)
                await trio.sleep(TICK)
        self._person.hear(False)

    def _unless_gone(self) -> None:
        if self._person.gone.is_set():
            raise self._over("caller")

    async def _key(self, limit: float) -> str:
        """The next key; empty if there is none until `limit`, or if the person hangs up first."""
        key = ""
        with trio.move_on_at(limit):
            async with trio.open_nursery() as either:

                async def press() -> None:
                    nonlocal key
                    key = await self._person.keys.receive()
                    either.cancel_scope.cancel("a key")

                async def leave() -> None:
                    await self._person.gone.wait()
                    either.cancel_scope.cancel("gone")

                either.start_soon(press)
                either.start_soon(leave)
        return key
