"""The loopback carrier: plays Twilio's part in a call. Signs, reads TwiML strictly, streams, and calls back."""

import random
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import attrs
import trio
from twilio.request_validator import RequestValidator

from transport.loopback import twiml_reader as twiml
from transport.loopback.caller import Step
from transport.loopback.conference import Conferences
from transport.loopback.human import Human, HumanLeg, LegLog
from transport.loopback.legs import Leg
from transport.loopback.line import ANSWER_SECONDS, CallLog, Dialled, Line
from transport.loopback.network import Network
from transport.loopback.person import Person
from transport.loopback.playback import Heard
from transport.loopback.stream import StreamFaults

SAY_SECONDS_PER_CHARACTER = 0.06


@attrs.define
class CarriedCall(CallLog):
    """One caller's call as the carrier saw it. Times are Trio's."""

    said: list[Heard] = attrs.field(factory=list)
    """The caller's speech."""


class LoopbackCarrier:
    """A carrier with one account and one number's webhooks.

    `place_call` needs nothing else; whatever goes on by itself (legs that the API calls, callbacks of conferences, of
    messages and of `<Number>`) lives in `run`, and ends with it.
    """

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
        humans: Mapping[str, Human] | None = None,
        wall_clock: Callable[[], float] = time.time,
        fallback_path: str = "",
    ) -> None:
        """`fallback_path`: where it asks for a caller when a webhook gave no document; empty: the call ends."""
        self._network = network
        self._public = public_url.rstrip("/")
        self._fallback = self._public + fallback_path if fallback_path else ""
        self._account, self._token = account_sid, auth_token
        self._validator = RequestValidator(auth_token)
        self._random = random.Random(seed)
        self._dial = dict(dial or {})
        """What becomes of a number that is dialled and is nobody's of `humans`: completed, busy, no-answer, failed."""
        self._say_speed = say_speed
        self._humans = dict(humans or {})
        self._wall_clock = wall_clock
        self._clock: tuple[datetime, float] | None = None
        self._background: trio.Nursery | None = None
        self.conferences = Conferences(self)
        self.legs: list[LegLog] = []
        """People who were called, in the order they were."""
        self.calls: dict[str, Leg] = {}
        """Every leg that there is or was, by its SID."""

    async def run(self, *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Lets legs and callbacks live until cancelled."""
        try:
            async with trio.open_nursery() as self._background:
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._background = None

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
        call = CarriedCall(call_sid or self.new_sid("CA"), trio.current_time())
        person = Person(steps)
        leg = _CallersLeg(self, call, person, caller=caller, called=called, direction="inbound", faults=faults)
        self.calls[leg.sid] = leg
        async with trio.open_nursery() as nursery:
            nursery.start_soon(person.live)
            await leg.carry(self._public + voice_path, self._public + status_path)
            nursery.cancel_scope.cancel("the call is over")
        call.ended, call.said = trio.current_time(), person.said
        return call

    def call_from_api(
        self,
        to: str,
        sender: str,
        document: tuple[str, str],
        callback: str = "",
        events: frozenset[str] = frozenset({"completed"}),
        timeout: float = 60.0,
        fallback: str = "",
    ) -> Leg:
        """Calls a person, who hears `document` (its address, or else its text), or what `fallback` says when one cannot be had.
        Raises RuntimeError without `run`."""
        log = LegLog(self.new_sid("CA"), trio.current_time(), to=to, sender=sender)
        leg = HumanLeg(self, self._human(to), log, callback=callback, events=events, fallback=fallback)
        self.spawn(leg.called_by_api, *document, timeout)
        self.legs.append(log)
        self.calls[leg.sid] = leg
        return leg

    def spawn(self, task: Callable[..., Awaitable[object]], *arguments: Any) -> None:
        """Runs a task in `run`. Raises RuntimeError if that is not going on."""
        if self._background is None:
            raise RuntimeError("LoopbackCarrier.run must be running for this")
        self._background.start_soon(task, *arguments)

    # ------------------------------------------------------------ for its legs, conferences and API

    @property
    def network(self) -> Network:
        """The way to the server."""
        return self._network

    @property
    def account(self) -> str:
        """The account's SID."""
        return self._account

    @property
    def token(self) -> str:
        """The account's token."""
        return self._token

    @property
    def status_root(self) -> str:
        """The address that relative webhook paths are meant for."""
        return self._public

    @property
    def fallback(self) -> str:
        """The address that is asked when another one gave a caller no document; empty if there is none."""
        return self._fallback

    def now(self) -> datetime:
        """The time of day: that of its clock when first asked for, and from then on it passes as Trio's does."""
        if self._clock is None:
            self._clock = datetime.fromtimestamp(self._wall_clock(), UTC), trio.current_time()
        real, began = self._clock
        return real + timedelta(seconds=trio.current_time() - began)

    def stamp(self) -> str:
        """The time of day, as RFC 2822 has it."""
        return format_datetime(self.now())

    def sign(self, url: str, form: Mapping[str, str]) -> str:
        """The signature of a request."""
        return str(self._validator.compute_signature(url, form))

    def say_seconds(self, text: str) -> float:
        """How long saying `text` takes."""
        return len(text) * SAY_SECONDS_PER_CHARACTER / self._say_speed

    def new_sid(self, kind: str) -> str:
        """A fresh SID: two letters and 32 hexadecimal digits."""
        return f"{kind}{self._random.getrandbits(128):032x}"

    async def post(self, url: str, form: Mapping[str, str], log: CallLog | None = None) -> tuple[int, str, str]:
        """Posts a signed webhook: status (0: no answer in time), type and text of its answer."""
        headers = {
            "User-Agent": "TwilioProxy/1.1",
            "Accept": "*/*",
            "I-Twilio-Idempotency-Token": str(uuid.UUID(int=self._random.getrandbits(128), version=4)),
            "X-Twilio-Signature": self.sign(url, form),
        }
        status, kind, body = 0, "", ""
        with trio.move_on_after(ANSWER_SECONDS):
            answer = await self._network.post(url, form, headers)
            status, kind, body = answer.status, answer.content_type, answer.body
        if log is not None:
            log.posts.append((url.removeprefix(self._public), status))
        return status, kind, body

    def tell(self, url: str, forms: "trio.MemoryReceiveChannel[dict[str, str]]") -> None:
        """Posts forms in the background, in order, until their channel is closed. Raises RuntimeError without `run`."""

        async def post_all() -> None:
            async with forms:
                async for form in forms:
                    await self.post(url, form)

        self.spawn(post_all)

    async def dial(self, parent: Line, verb: twiml.Dial, parent_gone: trio.Event) -> Dialled:
        """Rings a number for `parent` until the two have talked, or one of them has had enough."""
        human = self._humans.get(verb.number)
        if human is not None:
            log = LegLog(self.new_sid("CA"), trio.current_time(), to=verb.number, sender=parent.caller)
            log.direction = "outbound-dial"
            callback = {"callback": verb.status_callback, "events": verb.events} if verb.status_callback else {}
            leg = HumanLeg(self, human, log, parent_sid=parent.sid, **callback)
            self.legs.append(log)
            self.calls[leg.sid] = leg
            return await leg.dialled(parent, verb, parent_gone)
        outcome = self._dial.get(verb.number, "completed")
        seconds = {"completed": 5.0, "no-answer": verb.timeout}.get(outcome, 1.0)
        with trio.move_on_after(seconds):
            await parent_gone.wait()
        return Dialled(outcome, self.new_sid("CA"), seconds)

    def _human(self, number: str) -> Human:
        """Who answers at `number`: somebody of `humans`, else one who does what `dial` says, else one who answers."""
        outcome = self._dial.get(number, "completed")
        answers = {"busy": Human("busy"), "no-answer": Human("no-answer"), "failed": Human("failed")}
        return self._humans.get(number) or answers.get(outcome, Human())


class _CallersLeg(Leg):
    """The leg of somebody who calls the service's number."""

    _status_url = ""
    _sequence = 0

    async def carry(self, voice_url: str, status_url: str) -> None:
        """The whole call; its status goes to `status_url`."""
        self._status_url = status_url
        try:
            await self.talk(voice_url)
        finally:
            self.state, self.ended_at = "completed", self._exchange.now()
        await self._status(CallDuration=str(round(trio.current_time() - self.log.began)))

    async def _answered(self) -> None:
        await super()._answered()
        await self._status()

    async def _status(self, **extra: str) -> None:
        form = self.form(
            **extra,
            CallbackSource="call-progress-events",
            SequenceNumber=str(self._sequence),
            Timestamp=format_datetime(self._exchange.now()),
        )
        self._sequence += 1
        await self._post(self._status_url, form)
