"""The switchboard: the calls of this process. It knows how many there may be, and turns an open stream into a call."""

import datetime
import hashlib
import logging
import math
import time
from collections.abc import Callable
from typing import Any

import attrs
import structlog
import trio

from actors import call_state, tools
from actors.call import Call, CallPlan
from actors.flow import Words
from actors.framer import Pace
from actors.guidance import instructions
from actors.interrupt import BargeIn
from actors.line_ear import LineEar, LinePort
from actors.messages import BYTES_PER_MS, Before, CallBegan, Disposition, SessionConfig, TurnDetection
from actors.notebook import Listener
from actors.ports import CarrierPort, ErrandPort, ModelPort
from actors.story import without_words
from actors.talk import LinkLimits
from conf.flow import Flow
from conf.prompts import Prompts
from conf.settings import Settings
from transport.errand_desk import ErrandDesk
from transport.flight_folder import FlightFolder, folder_of, recorder_of
from transport.media_socket import POLICY_VIOLATION, HangUpWatch, MediaSocket, Refused, Socket, close, welcome
from transport.metrics import Metrics
from transport.model_socket import ModelSocket
from transport.records import Records
from transport.stream_token import BadToken, StreamTokens, Token
from transport.twilio_codec import Started

HANDLER_AT_MOST = 600.0
"""Seconds past the longest call: a bound on a bound, for the shield around a call."""

MOVE_WITHIN = 20.0
"""Seconds for a call that is moved to be heard out, closed and kept."""
OPENS_WITHIN = 10.0
"""Seconds that a place is kept for a stream, which the carrier opens at once: perhaps with another unit, or not at all."""
WAITS_WITHIN = 60.0
"""Seconds within which a caller who waits for a line asks for it again (the menu is 20 s long, and 20 s of silence follow it)."""
ASKS_WITHIN = 3.0
"""Seconds within which the carrier asks what is next for the caller of the last call."""

log = structlog.get_logger("triode.call")

ConnectModel = Callable[[Callable[[str], None], str], ModelPort]
"""Makes the model port of one call: told where to report what cannot be understood, and a hash that names the caller."""


def plan(settings: Settings, flow: Flow, prompts: Prompts) -> CallPlan:
    """What every call of this server has in common."""
    model, call, audio = settings.model, settings.call, settings.audio
    barge_in = BargeIn(call.barge_in)
    by_itself = barge_in is BargeIn.MODEL
    return CallPlan(
        session=SessionConfig(
            voice=model.voice,
            instructions=instructions(flow),
            tools=tools.specs(flow),
            # Both flags go together: a model that answers by itself would answer a cough, one that interrupts itself forgets.
            turn_detection=TurnDetection(
                model.vad_threshold, model.vad_prefix_ms, model.vad_silence_ms, by_itself, by_itself
            ),
            transcription=model.transcription,
            language=model.language,
            reasoning=model.reasoning,
            max_output_tokens=model.max_output_tokens,
        ),
        rules=call_state.Rules(
            flow=flow,
            greeting_seconds=len(prompts[flow.greeting].audio) / (BYTES_PER_MS * 1000),
            max_silence=call.max_silence,
            max_seconds=call.max_seconds,
            human=bool(call.human_number),
            warm=call.transfer == "warm",
        ),
        prompts={name: Words(prompt.words, prompt.audio) for name, prompt in prompts.items()},
        pace=Pace(audio.frame_ms, audio.lead_ms, audio.mark_ms),
        limits=LinkLimits(
            model.connect_timeout,
            model.session_timeout,
            call.max_silence,
            call.hold_back_seconds,
            flow.reply_seconds_at_most,
            model.replace_seconds,
            model.standby == "on",
            model.append_ms,
        ),
        barge_in=barge_in,
    )


def connect_openai(settings: Settings, clock: Callable[[], float] = time.time) -> ConnectModel:
    """The model as the settings say. `clock`: unix time."""
    urls = tuple(url for url in (settings.model.url, settings.model.failover_url) if url)

    def connect(trouble: Callable[[str], None], call_hash: str) -> ModelPort:
        key, name = settings.secrets.openai_api_key, settings.model.name
        return ModelSocket(urls, key, name, trouble, call_hash, wall_clock=clock)

    return connect


@attrs.define
class Switchboard:
    """The calls that are up. `listener` is told of every note of every call: CallSid, name, values."""

    settings: Settings
    plan: CallPlan
    connect_model: ConnectModel
    records: Records
    errands: ErrandDesk
    tokens: StreamTokens
    metrics: Metrics
    listener: Callable[[str, str, dict[str, Any]], None] | None = None
    clock: Callable[[], float] = time.time
    lag: Callable[[], float] = lambda: 0.0
    """Seconds that the event loop makes everybody wait."""
    stream_over: Callable[[int], None] = lambda left: None
    """Told whenever a call has left its stream, and how many are still up."""
    draining: bool = False
    _moving: int | None = None
    """How many calls were told to go to another server, once that has begun."""
    flights: FlightFolder | None = attrs.field(init=False)
    """Where calls are recorded, if they are."""
    _calls: dict[str, Call] = attrs.field(factory=dict)
    _expected: dict[str, float] = attrs.field(factory=dict)
    """Calls that were sent a stream and have not opened it yet, by CallSid: until when a place is kept for each."""
    _waiting: dict[str, tuple[int, float]] = attrs.field(factory=dict)
    """Calls that wait for a line: since when (unix seconds), and until when they must have asked again, or do so no more."""
    _asking: dict[str, float] = attrs.field(factory=dict)
    """Calls that are in the menu, leave a message or ring a human: until when the carrier asks what is next for each."""
    _streams: int = 0
    """Streams that are open, also those of which it is not known yet whose they are: any unit may have given them their token."""
    _stream_left: float = -math.inf
    """When a stream was over last."""
    _cut_off: int = 0
    """Calls that the server cut off while it was draining."""
    _changed: trio.Event = attrs.field(factory=trio.Event)

    def __attrs_post_init__(self) -> None:
        self.flights = folder_of(self.settings, self.clock)

    @property
    def active(self) -> int:
        """Calls up now."""
        return len(self._calls)

    @property
    def waiting(self) -> int:
        """Callers who wait for a line."""
        now = trio.current_time()
        return sum(until > now for _, until in self._waiting.values())

    @property
    def takes_calls(self) -> bool:
        """Whether a further call is welcome, or one of those that wait."""
        return not self._no_room("", ahead=0)

    def no_room(self, call_sid: str, *, again: bool = False) -> str:
        """Why call `call_sid` may not open a stream: "draining", "full", "lag"; empty if it may.

        Who waits for a line comes in turn, and before those who have just called. `again`: it has been up before. Then it
        is no more turned away by a lag, or by who waits, than those that are up.
        """
        return self._no_room(call_sid, again=again, ahead=0 if again else self._ahead_of(call_sid))

    def _no_room(self, call_sid: str, *, ahead: int, again: bool = False) -> str:
        if self.draining and (again or call_sid not in self._expected):  # a stream that broke early is for another unit
            return "draining"
        if call_sid in self._expected:
            return ""
        if self._taken(call_sid) + self._promised() + ahead >= self.settings.server.max_calls:
            return "full"
        return "lag" if not again and self.lag() * 1000 > self.settings.server.max_lag_ms else ""

    def _taken(self, call_sid: str) -> int:
        """Places that others than call `call_sid` have. Who has left their stream has none, whatever is still done for them."""
        return sum(not call.parted and call.call_sid != call_sid for call in self._calls.values())

    def expect(self, call_sid: str) -> None:
        """A place is kept for call `call_sid`."""
        self._waiting.pop(call_sid, None)
        self._expected[call_sid] = trio.current_time() + min(self.settings.twilio.token_seconds, OPENS_WITHIN)

    def wait(self, call_sid: str, since: int) -> None:
        """Call `call_sid` waits for a line since then (unix seconds), or since this was first said. To be said at each step."""
        first, _ = self._waiting.get(call_sid, (since, 0.0))
        self._waiting[call_sid] = min(first, since), trio.current_time() + WAITS_WITHIN

    def wait_no_longer(self, call_sid: str) -> None:
        """It does something else."""
        self._waiting.pop(call_sid, None)

    def asks_again(self, call_sid: str, seconds: float) -> None:
        """Within `seconds` the carrier asks what is next for call `call_sid`, as a rule; 0: it does not."""
        now = trio.current_time()
        self._asking = {sid: at for sid, at in self._asking.items() if at > now and sid != call_sid}
        if seconds:
            self._asking[call_sid] = now + seconds
        self._changed.set()

    def _ahead_of(self, call_sid: str) -> int:
        """How many callers wait for longer than call `call_sid`, as far as this process knows."""
        now = trio.current_time()
        self._waiting = {sid: (since, until) for sid, (since, until) in self._waiting.items() if until > now}
        in_turn = sorted(self._waiting, key=lambda sid: self._waiting[sid][0])
        return in_turn.index(call_sid) if call_sid in self._waiting else len(in_turn)

    async def serve(self, socket: Socket) -> None:
        """One media stream, from the open WebSocket to the record of the call."""
        self._streams += 1
        try:
            await self._serve(socket)
        finally:
            self._streams -= 1
            if trio.current_effective_deadline() > -math.inf:  # whom the server cuts off has nobody left to ask
                self._stream_left = trio.current_time()
            self._changed.set()

    async def _serve(self, socket: Socket) -> None:
        try:
            media, token = await self._welcome(socket)
        except Refused as refused:
            self.metrics.refused.labels("stream").inc()
            log.warning("stream_refused", why=refused.why)
            await close(socket, refused.code, refused.why[:100])
            return
        started = media.started
        with structlog.contextvars.bound_contextvars(call_sid=started.call_sid, stream_sid=started.stream_sid):
            await self._connect(media, token)

    def has(self, call_sid: str) -> bool:
        """Whether call `call_sid` has its stream here."""
        return any(each.call_sid == call_sid and not each.parted for each in self._calls.values())

    def call_over(self, call_sid: str) -> None:
        """The carrier says that the call has ended, whatever its stream says."""
        for those in (self._expected, self._waiting, self._asking):
            those.pop(call_sid, None)
        self._changed.set()
        self._end_streams(call_sid, "the carrier reports that the call has ended", lost=False)

    def _end_streams(self, call_sid: str, reason: str, *, lost: bool) -> None:
        for call in list(self._calls.values()):
            if call.call_sid == call_sid:
                call.carrier_gone(reason, lost=lost)

    async def drain(self) -> int:
        """No new calls; those that are up may go on for a while, then their streams are moved. How many could not be."""
        self.draining = True
        calls = self.active + self._promised() + self._in_menus()
        log.info("drain_began", calls=calls, seconds=self.settings.server.drain_seconds)
        with trio.move_on_after(self.settings.server.drain_seconds):
            await self._until_empty(menus=True)
        self._moving, cut_before = 0, self._cut_off
        if self.active:
            log.info("moving_calls", calls=self.active)
        for call in list(self._calls.values()):
            self._move(call)
        with trio.move_on_after(MOVE_WITHIN):
            await self._until_empty()
        # Who has left the stream is not cut off, whatever is still being done for them: it goes on while the server stops.
        cut = sum(not call.parted for call in self._calls.values()) + self._cut_off
        moved = self._moving - (cut - cut_before)
        calls = max(calls, moved + cut)  # some may have come meanwhile
        log.log(logging.WARNING if cut else logging.INFO, "drain_over", calls=calls, moved=moved, cut=cut)
        await trio.sleep_until(self._asked_by)
        return cut

    def _move(self, call: Call) -> None:
        self._moving = (self._moving or 0) + 1
        call.move_away()

    async def _until_empty(self, *, menus: bool = False) -> None:
        """Until no stream is open, and none is expected that was promised a place; `menus`: nor anybody in the menu, or on their
        way there from a stream that is just over."""
        while True:
            now = trio.current_time()
            expected = [*self._expected.values(), *((*self._asking.values(), self._asked_by) if menus else ())]
            expected = [until for until in expected if until > now]
            if not (expected or self._streams):
                return
            self._changed = trio.Event()
            with trio.move_on_at(min(expected, default=math.inf)):
                await self._changed.wait()

    @property
    def _asked_by(self) -> float:
        """When who left their stream last has asked what is next."""
        return self._stream_left + ASKS_WITHIN

    def _in_menus(self) -> int:
        """Callers who are in the menu, leave a message or ring a human, as far as is known here."""
        now = trio.current_time()
        self._asking = {sid: until for sid, until in self._asking.items() if until > now}
        return len(self._asking)

    def _promised(self) -> int:
        """Calls that are still to open their streams."""
        now = trio.current_time()
        self._expected = {sid: until for sid, until in self._expected.items() if until > now}
        return len(self._expected)

    # ------------------------------------------------------------ one stream

    async def _welcome(self, socket: Socket) -> tuple[MediaSocket, Token]:
        tokens: list[Token] = []

        async def check(started: Started) -> None:
            # Bound in this connection's task, for the line that says why a stream was refused.
            structlog.contextvars.bind_contextvars(call_sid=started.call_sid, stream_sid=started.stream_sid)
            try:
                token = self.tokens.check(started.parameters.get("token", ""), started.call_sid)
            except BadToken as bad:
                raise Refused(POLICY_VIOLATION, f"the stream token is not good: {bad}") from None
            if not await self.records.claim(token.nonce, token.expires, self.clock()):
                raise Refused(POLICY_VIOLATION, "the stream token was used before")
            tokens.append(token)

        media = await welcome(socket, check, self._report)
        return media, tokens[0]

    async def _connect(self, media: MediaSocket, token: Token) -> None:
        started = media.started
        story = None if token.before is Before.NOTHING else await self.records.story(started.call_sid)
        began = CallBegan(token.before, token.caller, story, token.outcome)
        wall = datetime.datetime.fromtimestamp(self.clock(), datetime.UTC)
        call_plan, listener = self.plan, self._listener_for(started.call_sid)
        carrier: CarrierPort = media
        model = self.connect_model(
            lambda text: self._report("model event", text), _hash(token.caller or started.call_sid)
        )
        errands: ErrandPort = self.errands.of_call(token.called, token.caller)
        recorder = None
        ear: LinePort = LineEar()
        if self.flights is not None:
            sids = (started.call_sid, started.stream_sid)
            recorder = recorder_of(self.settings, self.plan, sids, began, token.called, wall, model.endpoints)
            carrier, model, errands = recorder.carrier(media), recorder.model(model), recorder.errands(errands)
            call_plan, listener = recorder.plan(self.plan), recorder.listener(listener)
            ear = recorder.ear(ear)
        call = Call(
            started.call_sid,
            started.stream_sid,
            call_plan,
            carrier,
            model,
            self.records,
            errands,
            listener,
            ear=ear,
            called=token.called,
            began=began,
            wall=wall,
        )
        self._expected.pop(started.call_sid, None)
        self._end_streams(started.call_sid, "the call opened another stream", lost=True)
        self._calls[started.stream_sid] = call
        log.info("call_began", before=token.before.value, known=story is not None, calls=self.active)
        if self._moving is not None:  # a stream that another unit sent here, while nobody knew yet that this one goes
            self._move(call)
        parted = hung_up = False

        def gone(reason: str) -> None:
            nonlocal parted
            parted = call.parted
            call.carrier_gone(reason)

        try:
            async with trio.open_nursery() as handler:
                # The server cancels this handler when the peer is gone: for the call that is a hang-up, and not its end.
                await handler.start(HangUpWatch(gone).run)
                with trio.move_on_after(self.settings.call.max_seconds + HANDLER_AT_MOST, shield=True):
                    record = await call.run()
                    hung_up = record.disposition is Disposition.HANG_UP
                    log.info(
                        "call_ended",
                        disposition=record.disposition.value if record.disposition else None,
                        reason=without_words(record.reason),
                        seconds=round(record.seconds, 1),
                        turns=len(record.turns),
                        interruptions=len(record.interruptions),
                        errors=len(record.errors),
                    )
                    if self.flights is not None and recorder is not None:
                        await self.flights.keep(record, recorder)
                handler.cancel_scope.cancel("the call is over")
        finally:
            cancelled = trio.current_effective_deadline() == -math.inf
            if self.draining and cancelled and not parted and not hung_up:  # who hangs up is not cut off
                self._cut_off += 1  # the server did not wait for the drain
            self._calls.pop(started.stream_sid, None)
            self.stream_over(self.active)

    def _listener_for(self, call_sid: str) -> Listener:
        outer = self.listener

        def listen(what: str, values: dict[str, object]) -> None:
            if what == "trouble":
                log.warning("trouble", **values)
            elif what == "bug":
                log.error("bug", exc_info=values["error"])
            elif what == "interrupted":
                log.info("interrupted", **values)
            if outer is not None:
                outer(call_sid, what, values)

        return listen

    def _report(self, kind: str, text: str) -> None:
        self.metrics.trouble.labels(kind).inc()
        log.warning("not_understood", kind=kind, text=text[:200])


def _hash(text: str) -> str:
    return hashlib.sha256(f"triode {text}".encode()).hexdigest()[:32]
