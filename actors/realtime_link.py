"""RealtimeLink: the connection to the model over its whole life: connect, configure, speak, lose, replace.

What is said on it while it is up is the affair of `live_session.py`; here one session follows another, and it is watched that
the caller does not wait too long for a voice.
"""

import math
from collections.abc import Sequence

import trio

from actors.briefing import GO_ON
from actors.caller_lane import CallerLane
from actors.handover import Handover
from actors.live_session import LiveSession
from actors.messages import (
    AskReply,
    CallerAudio,
    CallerSilence,
    CallerSpoke,
    CallerWaits,
    LinkLost,
    LinkUp,
    Probe,
    ReplyEnded,
    ReplyStatus,
    Retune,
    SessionConfig,
    Tell,
)
from actors.model_line import ModelLine, joined
from actors.notebook import Notebook
from actors.ports import ModelGone, ModelPort, ModelSession
from actors.talk import LOSSES_AT_MOST, AnswerTurn, LinkLimits, Surroundings, Talk
from actors.waiting import HEARD_LATE, NOTICED_WITHIN, Rung

ECHO_TAIL = 0.3
"""Seconds that the agent's echo may still come back after its last frame."""
BACK_OFF = (0.0, 0.25, 0.5, 1.0, 2.0)
"""Seconds between rounds of the places where a model may be, with jitter."""
MUTE_AT_MOST = 1
"""Sessions that are replaced one after the other without a word of the model's: a third would do no better."""
LOSSES_WITHIN = 60.0
"""Seconds in which so many lost sessions as are remembered are too many, whatever they said."""


class RealtimeLink:
    """Carries the caller's voice to the model and the model's speech, words and wishes to the call.

    Mailboxes in: `audio` (straight onto the connection; held back until there is one), `inbox`
    (commands; wait for a session too). Out: the framer's, the flow's, the watcher's; the reader only posts, so it never waits for
    anyone and the socket is always drained. Ended by cancelling it; when the model cannot be had or is lost it tells the
    flow `LinkLost`, once, and is over.

    A session that is lost is replaced inside the call, if that is possible in time: the next one is told what was heard,
    what is being heard, and what the caller said that nobody has answered. So is one whose time is nearly over, or that is of
    another model than is wanted: then the next one is prepared beside it, and takes over in a quiet moment. Until there is a
    session the caller hears fillers, as in any other wait.
    """

    def __init__(
        self, model: ModelPort, config: SessionConfig, limits: LinkLimits, notebook: Notebook, around: Surroundings
    ) -> None:
        self._model, self._limits, self._notebook, self._around = model, limits, notebook, around
        self._talk = talk = Talk(model, config, limits, notebook, around)
        self._wait, self._answer, self._lines = talk.wait, talk.answer, talk.lines
        self._briefing, self._rehearing = talk.briefing, talk.rehearing
        self.audio = CallerLane(limits.hold_back, self._audio_sent, limits.append_ms)
        self.inbox = talk.inbox
        self._left: Handover = talk.handover
        """What the lost session leaves."""
        self._unfinished: dict[str, str] = {}
        """What it was saying."""
        self._patience = trio.CancelScope()
        """Cancelled when the caller has waited too long for a session."""

    async def run(self) -> None:
        """Until cancelled, or until `LinkLost` has been told."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch)
            async with trio.open_nursery() as lines:
                self._lines.begin(lines)
                reason = f"no session was to be had, and the caller waited for {self._limits.silence:g} s"
                with self._patience:
                    reason = await self._from_session_to_session()
                self._nobody_speaks()
                self._around.flow.post(LinkLost(reason))
                lines.cancel_scope.cancel("there is no model any more")
            nursery.cancel_scope.cancel("there is no model any more")

    # ------------------------------------------------------------ from session to session

    async def _from_session_to_session(self) -> str:
        """Until no session can be had any more; why."""
        reason = "no model is configured"
        until, rounds = math.inf, iter(BACK_OFF)
        tried, first = 0, True
        none_after = trio.current_time() + self._limits.replace  # meanwhile the greeting is heard
        while self._lines.places and trio.current_time() < until:
            line = self._lines.following()
            gone = await self._one_session(line, until, first=first)
            reason = str(gone)
            if not line.planned_end:
                self._notebook.trouble("model", reason)
            self._lines.over(line, gone)
            if self._wait.up:
                first = False
                if not self._let_go(planned=line.planned_end, for_another=not self._lines.wants(line)):
                    break
                within = self._limits.replace or (self._limits.connect if line.planned_end else 0)
                until, rounds, tried = trio.current_time() + within, iter(BACK_OFF), 0
                if within and self._wait.search_begins(trio.current_time()):
                    self._around.flow.post(CallerWaits(self._wait.fillers, doubtful=True))
            else:
                tried += 1
                if first and tried >= self._model.endpoints:
                    until = none_after
            if until < math.inf and tried % max(1, len(self._lines.places)) == 0:
                pause = next(rounds, BACK_OFF[-1]) * self._talk.jitter(tried)
                await trio.sleep_until(min(until, trio.current_time() + pause))
        return reason

    def _nobody_speaks(self) -> None:
        """There is no model any more: of what it was saying nothing more will come."""
        for reply in self._talk.desk.abandon():
            self._around.framer.post(ReplyEnded(reply, ReplyStatus.FAILED))

    async def _one_session(self, line: ModelLine, until: float, *, first: bool) -> ModelGone:
        """A session until it is over; why it is."""
        self._wait.up = False
        gone = ModelGone("")
        try:
            await self._live(line, until, first=first)
        except* ModelGone as errors:
            gone = joined(errors)
        finally:
            self._lines.up = None
            line.let_go()
        return gone

    async def _live(self, line: ModelLine, until: float, *, first: bool) -> None:
        """One session from when it is wanted to its end. Raises ModelGone, alone or in a group."""
        if not first:
            self._talk.session_begins()  # of one that could not be set up to its end something may be left
        with line.use:
            with trio.move_on_at(until) as patience:
                session = await line.take()
                patience.deadline = math.inf
                if line.config.turn_detection != self._talk.turns:
                    await session.send(Retune(self._talk.turns))
                if not first:
                    await self._brief(session)
                self._catch_up()
                self._wait.session_up(trio.current_time())
                self._lines.up = line
                self._around.flow.post(LinkUp())
                self._talk.look_again()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self.audio.send_to, session, self._limits.silence)
                    live = LiveSession(self._talk, session, nursery)
                    nursery.start_soon(live.write)
                    await live.read()
            if patience.cancelled_caught:
                raise ModelGone(f"no connection within {self._limits.replace:g} s")
        raise line.gone or ModelGone(line.ended_by_us)

    def _let_go(self, *, planned: bool, for_another: bool) -> bool:
        """A session that was up is gone, perhaps `for_another` model that is wanted; whether one may take its place. What it
        leaves is kept for that."""
        now, unanswered = trio.current_time(), self._talk.ear.unanswered_since
        going_on, self._talk.go_on_at = self._talk.go_on_at < math.inf, math.inf
        owes = going_on or (unanswered is not None and self._talk.ear.plain)
        if unanswered is None:
            unanswered = self._talk.unheard_since if self._lines.renew else self._talk.over.unanswered_since
        renewed, self._lines.renew = self._lines.renew, False
        waited = self._wait.waits
        if (began := self._around.suspected()) is not None:
            self._talk.handover.unnoticed_since(began)
        unfinished = self._talk.handover.unfinished() or (self._unfinished if going_on else {})
        for reply in self._talk.desk.abandon():  # nothing more will come; what there is may be heard
            self._around.framer.post(ReplyEnded(reply, ReplyStatus.FAILED))
        self._wait.owed = (waited or owes) and not self._wait.tools_out
        self._left, self._unfinished = self._talk.handover, unfinished
        in_silence = self._talk.ear.last_voice > self._talk.over.last_voice
        self._rehearing.session_lost(
            self._left, self._talk.new_ear(sharp=False), self._talk.new_ear(), in_silence=in_silence
        )
        self._briefing.session_lost()
        self._talk.session_begins()
        if not waited and self._left.unheard():  # in the middle of what the caller was saying
            self._wait.spoke_to_nobody(now if unanswered is None else min(now, unanswered + self._wait.turn_ends))
        self._talk.look_again()
        self._talk.mute += waited and not planned
        # As often as the flow goes on, or a line is noisy: it says nothing against the model.
        if not (planned and (for_another or renewed)):
            self._talk.losses.append(now)
        too_many = len(self._talk.losses) == LOSSES_AT_MOST and now - self._talk.losses[0] < LOSSES_WITHIN
        return self._talk.mute <= MUTE_AT_MOST and not too_many

    # ------------------------------------------------------------ what was before

    async def _brief(self, session: ModelSession) -> None:
        """A session that takes the place of another is told what that one knew. It never greets again."""
        tells = self._briefing.of_before(self._around.recall(), self._left.finished() | self._unfinished)
        again = self._left.unanswered()
        self._talk.note_told(again)
        tells += again
        unheard = self._left.unheard()
        owed = self._wait.owed or self._talk.go_on_at < math.inf
        asks = owed and not unheard
        heard = trio.current_time() + self._wait.turn_ends + HEARD_LATE
        self._talk.go_on_at = heard if owed and unheard else math.inf
        if asks and not any(tell.text == GO_ON for tell in again):
            tells += self._owed()
        for tell in tells:
            self._briefing.sent(tell, trio.current_time())
            await session.send(tell)
        commands = self._talk.ask() if asks else []
        self._wait.called = self._wait.called or (self._wait.owed and not asks)
        self._wait.owed = asks  # until it is asked for; if that fails, the next session has to
        for command in commands:
            await session.send(command)
        self._rehearing.again = unheard or self._left.onset()

    def _owed(self) -> list[Tell]:
        """What the model is told before it goes on with what the session before was saying."""
        return [self._briefing.go_on()] if self._unfinished else []

    def _catch_up(self) -> None:
        """A session hears first what was spoken before it was up, in that order."""
        now = trio.current_time()
        for event in (*self._rehearing.begins(now), *self.audio.take_all()):
            self.audio.post(event)
            if isinstance(event, CallerAudio):
                self._listen(event, now)

    # ------------------------------------------------------------ the caller's voice

    def turn_ends(self) -> float:
        """Seconds of silence after which the model holds the caller's turn for over."""
        return self._wait.turn_ends

    def overhear(self, event: CallerAudio) -> None:
        """A frame of the caller's as it arrives, whether the model takes it or not: who speaks while there is no session waits
        from then on."""
        now = trio.current_time()
        if self._wait.up:
            self._listen(event, now)
            return
        over = now <= self._around.speech_until() + ECHO_TAIL
        if over and self._around.echoing():
            return
        if self._rehearing.hears(event.audio, now, over=over):
            if not (over or self._wait.called):
                self._around.flow.post(CallerSpoke())
            self._wait.spoke_to_nobody(now)
            self._talk.look_again()

    def _listen(self, event: CallerAudio, now: float) -> None:
        """With our own ears. While the agent is heard, what is loud may be its echo: telephones do not take it out."""
        ear = self._talk.ear
        if now <= self._around.speech_until() + ECHO_TAIL:
            if self._around.echoing():
                return
            ear = self._talk.over
        if ear.listen(event.audio, now):
            self._talk.handover.unnoticed_since(ear.unanswered_from or now)
            self._talk.look_again()

    def _audio_sent(self, events: Sequence[CallerAudio | CallerSilence]) -> None:
        self._talk.handover.sent(events, trio.current_time())

    # ------------------------------------------------------------ silence

    async def _watch(self) -> None:
        """What is due when nothing happens: the rungs of the caller's wait, and another session before this one is over."""
        while True:
            self._talk.changed = trio.Event()
            with trio.move_on_at(self._due()) as waiting:
                await self._talk.changed.wait()
            if not waiting.cancelled_caught:
                continue  # something changed, and so may what is due
            now = trio.current_time()
            due, rung = self._wait.next()  # speech may have come that puts it off
            if now >= due:
                await self._climb(rung)
            elif now >= self._go_on_due():
                self._talk.go_on_at = math.inf
                for told in self._owed():
                    self.inbox.post(told)
                self.inbox.post(AskReply())
            elif now >= self._answer.at:
                self._answer.waited()
                self.inbox.post(AnswerTurn())
            elif now >= self._lines.prepare_due():
                self._lines.prepare()
            elif now >= self._lines.switch_due(self._quiet_from):
                self._end_session(self._why_switch(), planned=True)
                await self._talk.changed.wait()

    def _why_switch(self) -> str:
        if not self._lines.is_wanted:
            return "another model is wanted"
        return "it may be deaf" if self._lines.renew else "its time is nearly over"

    def _due(self) -> float:
        others = self._lines.prepare_due(), self._lines.switch_due(self._quiet_from)
        return min(self._wait.next()[0], self._go_on_due(), self._answer.at, *others)

    @property
    def _quiet_from(self) -> float:
        """From when on nobody speaks or waits; infinity if that is not known. Who silences the agent is heard before the model
        tells of them; who asked to wait and speaks again waits when it is written down."""
        if self._wait.waits or self._talk.desk.caller_speaks or self._answer.at < math.inf:
            return math.inf
        return max(self._around.speech_until(), self._wait.last_voice + NOTICED_WITHIN)

    def _go_on_due(self) -> float:
        """What the session before left unheard may have been a turn, a noise, or a word of a listener's."""
        return math.inf if self._talk.desk.caller_speaks or self._talk.contested.any else self._talk.go_on_at

    async def _climb(self, rung: Rung) -> None:
        """A caller who waits hears now and then that somebody is there, and not for ever."""
        seconds = f"{self._limits.silence:g} s"
        self._wait.climbed(rung, trio.current_time())
        if rung is Rung.PROBE:
            self.inbox.post(Probe())  # not a reply: that it keeps silent on a noise is its right
        elif rung is Rung.LIFELESS:
            self._end_session(f"the model gave no sign of life for {seconds} when it should have")
            await self._talk.changed.wait()
        elif rung is Rung.SILENT and not self._wait.up:
            self._patience.cancel("the caller has waited too long for a session")
            await self._talk.changed.wait()
        elif rung is Rung.SILENT:
            self._end_session(f"the model was silent for {seconds} when it should have spoken")
            await self._talk.changed.wait()
        elif rung is Rung.INSIST:
            self._talk.look_again()
            self.inbox.post(AskReply())
        else:
            self._around.flow.post(CallerWaits(self._wait.fillers, doubtful=self._wait.doubtful or self._talk.mute > 0))

    def _end_session(self, why: str, planned: bool = False) -> None:
        """The session that is up is given up, for trouble or as planned."""
        if self._lines.up is not None:
            if planned:
                self._notebook.replaced(why)
            self._lines.up.end(why, planned=planned)
