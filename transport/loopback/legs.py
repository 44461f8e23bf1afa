"""One leg of a call: carries out documents, verb by verb, until it is over, or is told by the API to do something else."""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress

import attrs
import trio

from transport.loopback import twiml_reader as twiml
from transport.loopback.conference import Room
from transport.loopback.line import CallLog, Dialled, Exchange, Line, Over, Sound
from transport.loopback.network import StreamRefused
from transport.loopback.person import Person
from transport.loopback.stream import MediaStream, StreamFaults, StreamLog

DOCUMENTS_AT_MOST = 30
"""Documents of one call: a loop of redirects ends here."""
RECORDING_SECONDS = 3
"""How long a message the caller leaves, if there is room for it."""


@attrs.frozen
class _Document:
    url: str
    form: Mapping[str, str] = attrs.field(factory=dict)
    text: str = ""
    """The document itself, if it need not be asked for."""


class _LegStream(MediaStream):
    """A media stream that the carrier can end."""

    async def stop(self) -> None:
        """Says `stop` and closes."""
        self.log.ended_by = "rest"
        with trio.move_on_after(3):
            await self._send("stop", stop=self._whose)
            await self._socket.close()


class Leg(Line):
    """The carrying out of one leg's documents. The API changes it by `replace` and `end_now`."""

    def __init__(
        self,
        exchange: Exchange,
        log: CallLog,
        person: Person,
        *,
        faults: StreamFaults | None = None,
        **who: str,
    ) -> None:
        super().__init__(exchange, log, person, **who)
        self._faults = faults or StreamFaults()
        self._asked: _Document | str = ""
        """What the API asked for: another document, or the end in this state."""
        self._scope = trio.CancelScope()
        self._streaming: trio.Event | None = None

    # ------------------------------------------------------------ for the API

    def replace(self, url: str, text: str = "") -> None:
        """Lets another document take the place of whatever is going on, at once."""
        self._interrupt(_Document(url or self._exchange.status_root, {}, text))

    def end_now(self, state: str) -> None:
        """Ends the leg at once; `state` is completed or canceled."""
        self._interrupt(state)

    def _interrupt(self, asked: _Document | str) -> None:
        self._asked = asked
        if self._streaming is not None:
            self._streaming.set()
        else:
            self._scope.cancel("the API asked for it")

    # ------------------------------------------------------------ documents

    async def talk(self, url: str, text: str = "") -> None:
        """Documents, one after the other, until there is no more to do; `log.end` says why. Raises nothing."""
        document = _Document(url, {}, text)
        with suppress(Over):
            for _ in range(DOCUMENTS_AT_MOST):
                with trio.CancelScope() as self._scope:
                    document = await self._follow(document)
                if self._asked:
                    self._person.heeded(False)
                    if isinstance(self._asked, str):
                        raise self._over("rest")
                    document, self._asked = self._asked, ""
            self._fail("12000", "too many documents")

    async def _follow(self, document: _Document) -> _Document:
        verbs = await self._fetch(document)
        if self.state == "ringing" and not isinstance(verbs[0] if verbs else None, twiml.Reject):
            await self._answered()
        return await self._carry_out(verbs)

    async def _answered(self) -> None:
        self.state, self.answered_at = "in-progress", self._exchange.now()

    async def _fetch(self, document: _Document) -> tuple[twiml.Verb, ...]:
        code, why = "11200", f"{document.url} gave no TwiML"
        status, kind, body = 200, "xml", document.text
        if not body:
            asked = trio.current_time()
            status, kind, body = await self._post(document.url, self.form(**document.form))
            self.log.voice_ms = self.log.voice_ms or (trio.current_time() - asked) * 1000
        if status == 200 and "xml" in kind:
            try:
                return twiml.read(body, document.url)
            except twiml.TwimlError as error:
                code, why = str(error.code), str(error)
        fallback = self._fallback()
        if not fallback or "ErrorUrl" in document.form:
            raise self._fail(code, why)
        self.log.errors.append(f"warning: {code}: {why}")
        return await self._fetch(_Document(fallback, {"ErrorCode": code, "ErrorUrl": document.url}))

    def _fallback(self) -> str:
        """The address that is asked when another one gave no document; empty if there is none."""
        return self._exchange.fallback if self.direction == "inbound" else ""

    # ------------------------------------------------------------ verbs

    async def _carry_out(self, verbs: Sequence[twiml.Verb]) -> _Document:
        """The document that follows. Raises Over at the end of the call."""
        for verb in verbs:
            self.log.verbs.append(verb)
            follows = await self._do(verb)
            if follows is not None:
                return follows
        raise self._over("document")

    async def _do(self, verb: twiml.Verb) -> _Document | None:
        if isinstance(verb, Sound):
            self._begins(verb)
            await self._pass(self._seconds(verb), audible=not isinstance(verb, twiml.Pause))
        elif isinstance(verb, twiml.Gather):
            return await self._gather(verb)
        elif isinstance(verb, twiml.Dial):
            return await (self._dial(verb) if verb.conference is None else self._meet(verb, verb.conference))
        elif isinstance(verb, twiml.Record):
            return await self._record(verb)
        elif isinstance(verb, twiml.Redirect):
            return _Document(verb.url)
        elif isinstance(verb, twiml.Hangup):
            raise self._over("hangup")
        elif isinstance(verb, twiml.Reject):
            raise self._over("rejected")
        else:
            return await self._connect(verb)
        return None

    async def _gather(self, verb: twiml.Gather) -> _Document | None:
        self.log.verbs += verb.nested
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
        self.log.pressed += digits
        self._person.hear(False)
        self._unless_gone()
        return _Document(verb.action, {"Digits": digits}) if digits or verb.on_empty else None

    async def _prompt(self, nested: Sequence[Sound], cut: trio.CancelScope) -> None:
        """What is heard while keys are gathered: the nested verbs until they are cut off, then nothing."""
        with cut:
            for verb in nested:
                self._begins(verb)
                await self._sound(self._seconds(verb), audible=not isinstance(verb, twiml.Pause))
        self._prompted()
        await self._sound(math.inf, audible=False)

    async def _dial(self, verb: twiml.Dial) -> _Document | None:
        dialled = await self._ring(verb)
        self._person.hear(False)
        self._unless_gone()
        bridged = dialled.status == "completed"
        told = {"DialCallStatus": dialled.status, "DialCallSid": dialled.call_sid, "DialBridged": str(bridged).lower()}
        if bridged:
            told["DialCallDuration"] = str(round(dialled.seconds))
        return _Document(verb.action, told) if verb.action else None

    async def _ring(self, verb: twiml.Dial) -> Dialled:
        """Dials; this side hears nothing of it, and its leaving ends it."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._sound, math.inf)
            nursery.start_soon(self._lose_keys)
            dialled = await self._exchange.dial(self, verb, self._person.gone)
            nursery.cancel_scope.cancel("the dialling is over")
        return dialled

    async def _meet(self, verb: twiml.Dial, options: twiml.Conference) -> _Document | None:
        room = self._exchange.conferences.enter(self.sid, options)
        if room is None:
            self.log.errors.append(f"warning: conference {options.name!r} is full")
        else:
            try:
                await self._in_room(room, options)
            finally:
                self._exchange.conferences.leave(self.sid, room)
        self._unless_gone()
        return _Document(verb.action, {"DialCallStatus": "answered"}) if verb.action else None

    async def _in_room(self, room: Room, options: twiml.Conference) -> None:
        """Until the conference ends or the person leaves it."""
        async with trio.open_nursery() as nursery:
            waiting = trio.CancelScope()

            async def leave() -> None:
                await self._person.gone.wait()
                nursery.cancel_scope.cancel("gone")

            async def listen() -> None:
                with waiting:
                    await self._wait_for(options)
                await self._sound(math.inf)

            async def end() -> None:
                await room.ended.wait()
                nursery.cancel_scope.cancel("the conference ended")

            for task in (leave, listen, end, self._lose_keys):
                nursery.start_soon(task)
            await room.started.wait()
            waiting.cancel("the conference has started")
            self.joins()

    async def _wait_for(self, options: twiml.Conference) -> None:
        """What is heard before a conference starts: the carrier's music without end, or the document of `waitUrl`."""
        if options.wait_url is None:
            await self._music(math.inf)
        url = options.wait_url or ""
        for _ in range(DOCUMENTS_AT_MOST):
            if not url:
                break
            asked, url = url, ""
            status, kind, body = await self._post(asked, self.form(FriendlyName=options.name))
            try:
                verbs = twiml.read(body, asked) if status == 200 and "xml" in kind else None
            except twiml.TwimlError as error:
                self.log.errors.append(f"{error.code}: {error}")
                break
            if verbs is None:
                self.log.errors.append(f"11200: {asked} gave no TwiML")
            for verb in verbs or ():
                self.log.verbs.append(verb)
                if isinstance(verb, twiml.Redirect):
                    url = verb.url
                    break
                if isinstance(verb, twiml.Say | twiml.Play):
                    await self._music(self._seconds(verb))
                elif isinstance(verb, twiml.Pause):
                    await self._sound(verb.seconds)
        await self._sound(math.inf)

    async def _music(self, seconds: float) -> None:
        began = trio.current_time()
        try:
            await self._sound(seconds, audible=True)
        finally:
            self.log.music_seconds += trio.current_time() - began

    async def _record(self, verb: twiml.Record) -> _Document:
        seconds = min(RECORDING_SECONDS, verb.max_length)
        await self._pass(seconds, audible=False)
        recording = self._exchange.new_sid("RE")
        url = f"{self._exchange.status_root}/recordings/{recording}"
        told = {"RecordingSid": recording, "RecordingUrl": url, "RecordingDuration": str(seconds)}
        if verb.callback:
            await self._post(verb.callback, self.form(**told, RecordingStatus="completed"))
        return _Document(verb.action, {**told, "Digits": "hangup"})

    async def _connect(self, verb: twiml.Connect) -> _Document | None:
        self.log.errors += [f"{code}: warning" for code in verb.warnings]
        log = StreamLog(self._exchange.new_sid("MZ"), trio.current_time())
        self.log.streams.append(log)
        headers = {
            "User-Agent": "Twilio.TmeWs/1.0",
            "Accept-Encoding": "gzip",
            "x-twilio-signature": self._faults.signature or self._exchange.sign(verb.url, {}),
        }
        try:
            async with self._exchange.network.open_stream(verb.url, headers) as socket:
                await self._stream_status(verb, log, "stream-started")
                await self._stream(_LegStream(socket, log, self._person, self._faults), verb)
        except StreamRefused as refused:
            why = f"31920: the handshake was answered with {refused.status}"
            self.log.errors.append(why)
            log.ended_by = "refused"
            await self._stream_status(verb, log, "stream-error", StreamError=why)
        self._faults = StreamFaults()  # the next stream of the call is a good one
        self._person.heeded(False)
        if log.ended_by != "refused":
            await self._stream_status(verb, log, "stream-stopped")
        if self._asked:
            self._scope.cancel("the API asked for it")
            await trio.lowlevel.checkpoint()
        self._unless_gone()
        return _Document(verb.action) if verb.action else None

    async def _stream(self, stream: _LegStream, verb: twiml.Connect) -> None:
        """The stream until its end; if the API ends it, it is first told to stop."""
        parameters = verb.parameters if self._faults.parameters is None else self._faults.parameters
        ending = self._streaming = trio.Event()
        self._person.heeded(True)
        try:
            async with trio.open_nursery() as nursery:

                async def end() -> None:
                    await ending.wait()
                    await stream.stop()
                    nursery.cancel_scope.cancel("the API asked for it")

                nursery.start_soon(end)
                await stream.run(self._exchange.account, self.sid, parameters)
                nursery.cancel_scope.cancel("the stream is over")
        finally:
            self._streaming = None
            stream.log.playback.until(trio.current_time())
            stream.log.closed = trio.current_time()

    async def _stream_status(self, verb: twiml.Connect, log: StreamLog, event: str, **extra: str) -> None:
        if verb.status_callback:
            stamp = self._exchange.now().isoformat().replace("+00:00", "Z")
            form = {
                "AccountSid": self._exchange.account,
                "CallSid": self.sid,
                "StreamSid": log.stream_sid,
                "StreamName": verb.name or log.stream_sid,
                "StreamEvent": event,
                "Timestamp": stamp,
                **extra,
            }
            await self._post(verb.status_callback, form)
