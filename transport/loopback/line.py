"""One end of a call: who is on the line, what was noted of it, its webhooks, and how time passes there."""

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

import attrs
import trio

from transport.loopback import twiml_reader as twiml
from transport.loopback.conference import Conferences
from transport.loopback.network import Network
from transport.loopback.person import Person
from transport.loopback.playback import Heard
from transport.loopback.stream import StreamLog

TICK = 0.1
PLAY_SECONDS = 2.0
"""How long any file of `<Play>` takes."""
ANSWER_SECONDS = 15
"""How long a webhook may take."""
Sound = twiml.Say | twiml.Play | twiml.Pause


@attrs.define
class CallLog:
    """One leg as the carrier saw it. Times are Trio's."""

    call_sid: str
    began: float = 0.0
    ended: float = 0.0
    streams: list[StreamLog] = attrs.field(factory=list)
    verbs: list[twiml.Verb] = attrs.field(factory=list)
    """What was carried out, in order."""
    errors: list[str] = attrs.field(factory=list)
    """Error codes with their reasons."""
    end: str = ""
    """caller, hangup, document, error, rejected, rest (the API ended it)."""
    posts: list[tuple[str, int]] = attrs.field(factory=list)
    """Paths of the webhooks and the status that answered them."""
    voice_ms: float = 0.0
    """How long the voice webhook took to answer."""
    music_seconds: float = 0.0
    """How long music was heard while a conference had not started."""
    pressed: str = ""
    """Keys that a `<Gather>` took."""
    joined: list[float] = attrs.field(factory=list)
    """When the person was connected with another one: by a conference, or by `<Dial>`."""

    def words(self) -> list[str]:
        """What `<Say>` said."""
        return [verb.text for verb in self.verbs if isinstance(verb, twiml.Say)]

    def heard(self) -> list[Heard]:
        """What the person heard of the media streams."""
        return [piece for stream in self.streams for piece in stream.playback.heard]


@attrs.frozen
class Dialled:
    """What became of a number that was dialled."""

    status: str
    """completed, busy, no-answer or failed."""
    call_sid: str
    seconds: float = 0.0
    """How long the two were connected."""


class Exchange(Protocol):
    """What a leg needs of the carrier."""

    conferences: Conferences

    @property
    def network(self) -> Network:
        """The way to the server."""
        ...

    @property
    def account(self) -> str:
        """The account's SID."""
        ...

    @property
    def status_root(self) -> str:
        """The address that relative paths are meant for."""
        ...

    @property
    def fallback(self) -> str:
        """The address that is asked when another one gave a caller no document; empty if there is none."""
        ...

    def now(self) -> datetime:
        """The time of day, which passes as Trio's does."""
        ...

    def sign(self, url: str, form: Mapping[str, str]) -> str:
        """The signature of a request."""
        ...

    def say_seconds(self, text: str) -> float:
        """How long saying `text` takes."""
        ...

    def new_sid(self, kind: str) -> str:
        """A fresh SID."""
        ...

    async def post(self, url: str, form: Mapping[str, str], log: CallLog | None = None) -> tuple[int, str, str]:
        """Posts a webhook: status (0: no answer in time), type and text of its answer."""
        ...

    async def dial(self, parent: "Line", verb: twiml.Dial, parent_gone: trio.Event) -> Dialled:
        """Rings a number for `parent` until the two have talked, or one of them has had enough."""
        ...


class Over(Exception):
    """The leg is over."""


class Line:
    """A person on one end of a call, as the carrier has it."""

    def __init__(
        self,
        exchange: Exchange,
        log: CallLog,
        person: Person,
        *,
        caller: str,
        called: str,
        direction: str,
        parent_sid: str = "",
        state: str = "ringing",
    ) -> None:
        self.sid, self.caller, self.called = log.call_sid, caller, called
        self.direction, self.parent_sid = direction, parent_sid
        self.state = state
        """As `CallStatus` has it."""
        self.created_at = exchange.now()
        self.answered_at: datetime | None = None
        self.ended_at: datetime | None = None
        self.log = log
        self._exchange = exchange
        self._person = person

    @property
    def duration(self) -> int:
        """Seconds from the answer to the end, or until now."""
        if self.answered_at is None:
            return 0
        return round(((self.ended_at or self._exchange.now()) - self.answered_at).total_seconds())

    def form(self, **extra: str) -> dict[str, str]:
        """The parameters of a webhook of this leg."""
        empty = {f"{who}{what}": "" for who in ("From", "To", "Caller", "Called") for what in ("City", "State", "Zip")}
        countries = {f"{who}Country": "US" for who in ("From", "To", "Caller", "Called")}
        parent = {"ParentCallSid": self.parent_sid} if self.parent_sid else {}
        return {
            **empty,
            **countries,
            **parent,
            "AccountSid": self._exchange.account,
            "ApiVersion": "2010-04-01",
            "CallSid": self.sid,
            "CallStatus": self.state,
            "Called": self.called,
            "Caller": self.caller,
            "Direction": self.direction,
            "From": self.caller,
            "To": self.called,
            **extra,
        }

    async def _post(self, url: str, form: Mapping[str, str]) -> tuple[int, str, str]:
        return await self._exchange.post(url, form, self.log)

    def _fail(self, code: str, why: str) -> Over:
        """The person hears an application error, and the leg ends."""
        self.log.errors.append(f"{code}: {why}")
        return self._over("error")

    def _over(self, end: str) -> Over:
        self.log.end = end
        return Over()

    # ------------------------------------------------------------ what a person does of their own accord

    def _begins(self, verb: Sound) -> None:
        """Something is about to be heard."""

    def _prompted(self) -> None:
        """The prompt of a `<Gather>` is over."""

    def joins(self) -> None:
        """This leg is connected with another one from now on."""
        self.log.joined.append(trio.current_time())

    # ------------------------------------------------------------ time

    def _seconds(self, verb: Sound) -> float:
        if isinstance(verb, twiml.Say):
            return self._exchange.say_seconds(verb.text)
        return PLAY_SECONDS if isinstance(verb, twiml.Play) else verb.seconds

    async def _pass(self, seconds: float, *, audible: bool) -> None:
        """Lets time pass. Raises Over if the person hangs up."""
        await self._sound(seconds, audible=audible)
        self._unless_gone()

    async def _sound(self, seconds: float, audible: bool = False) -> None:
        """Keeps the person's ear informed for a while, or until they hang up."""
        with trio.move_on_after(seconds):
            while not self._person.gone.is_set():
                self._person.hear(audible)
                await trio.sleep(TICK)
        self._person.hear(False)

    def _unless_gone(self) -> None:
        if self._person.gone.is_set():
            raise self._over("caller")

    async def _lose_keys(self) -> None:
        """Where nobody listens for keys, they are pressed in vain."""
        async for _ in self._person.keys:
            pass

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
