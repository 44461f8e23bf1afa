"""The caller's half of a session: their turns as the model hears them, and what is made of each.

A turn is told to the rest of the call when it begins, ends and is written down; one over which somebody else judges whether it
took the floor is told when that is known. And whether the model hears the caller at all is seen here.
"""

import math

import trio

from actors.agent_replies import AgentReplies
from actors.messages import (
    AskReply,
    CallerDone,
    CallerSaid,
    CallerSpoke,
    CallerWords,
    CancelReply,
    CommitTurn,
    DropItem,
    Extracted,
    Floor,
    FloorTaken,
    Judged,
    ModelCommand,
    ModelEvent,
    ModelTrouble,
    ReplyBegan,
    ReplyEnded,
    ReplyStatus,
    SessionAgreed,
    SpeechStarted,
    SpeechStopped,
    TurnCommitted,
)
from actors.talk import AnswerTurn, FramerInput, Talk

UNNOTICED = "unnoticed"
"""The caller's turn that the model did not detect, until it has a name."""
LIFE_ONLY = SessionAgreed | ModelTrouble | Extracted | CallerWords
"""What a model says that may take no notice of who speaks now."""


class CallerTurns:
    """Those of one session, as long as it is up."""

    def __init__(self, talk: Talk, replies: AgentReplies) -> None:
        self._talk = talk
        self._replies = replies
        self._inbox, self._notebook, self._around = talk.inbox, talk.notebook, talk.around
        self._desk, self._handover, self._contested, self._wait = talk.desk, talk.handover, talk.contested, talk.wait
        self._answer, self._briefing, self._rehearing = talk.answer, talk.briefing, talk.rehearing
        self._ear, self._over = talk.ear, talk.over
        self.committing = False
        """Whether the model was told of a turn that it did not detect."""

    # ------------------------------------------------------------ what the model hears

    def on_started(self, event: SpeechStarted) -> None:
        """The model hears the caller begin to speak."""
        self._briefing.learns(event.item)
        self._heard()
        self._wait.turn_began(trio.current_time())
        self._talk.look_again()
        self._handover.turn_began(event.item, trio.current_time())
        self._rehearing.turn_began(event.item, trio.current_time(), self._wait.turn_ends)
        late = self._is_late()
        if self._around.contested() and not late:
            self._contested.began(event.item)
            self._desk.caller_begins()
        else:
            for reply in self._desk.speech_started():
                self._inbox.post(CancelReply(reply))
            self._begins(event.item)
        if not late:
            self._around.watcher.post(event)

    def _is_late(self) -> bool:
        """Whether the caller whom the model hears begin to speak now did so before it was there, and in the agent's silence: they
        do not interrupt the filler that they hear meanwhile."""
        late = self._rehearing.is_late(trio.current_time(), self._wait.turn_ends, self._wait.last_voice)
        return late and self._around.suspected() is None

    def on_stopped(self, event: SpeechStopped) -> None:
        """It hears them fall silent."""
        self.committing = False
        self._handover.turn_over(trio.current_time())
        self._contested.stopped(event.item)
        self._desk.speech_stopped()
        self._talk.look_again()
        if self._contested.is_open(event.item):
            self._around.watcher.post(event)
        elif self._contested.concerns(event.item):
            self._around.watcher.post(event)  # it was held for a noise: whether it was one, its length may tell
        else:
            self._ends(event.item)

    def on_committed(self, event: TurnCommitted) -> None:
        """It holds what it heard for a turn."""
        if self._contested.concerns(event.item):
            return
        if self.committing and (not self._briefing.knows(event.item) or self._desk.caller_speaks):
            self._committed(event.item)
        elif not self._briefing.knows(event.item):  # of a server that tells of turns, and of no voices
            self.on_started(SpeechStarted(event.item))
            self.on_stopped(SpeechStopped(event.item))
        else:
            self._notebook.caller_turn(event.item)

    def on_words(self, event: CallerWords) -> None:
        """What they said is written down, or a piece of it."""
        if self._contested.concerns(event.item):
            self._contested.written(event)
            if event.final and not self._contested.is_open(event.item):
                self._handover.turn_written(event.item)
            self._around.watcher.post(event)
            if event.final and event.text.strip() and self._contested.told_in_part(event.item):
                # What it says to that, it says to half of it.
                self._around.watcher.post(FloorTaken(Floor.SPEECH, event.text))
        else:
            self._notebook.caller_words(event.item, event.text, event.final)
            if event.final:
                self._written(event)

    # ------------------------------------------------------------ a turn

    def _begins(self, item: str) -> None:
        self._talk.go_on_at = math.inf
        if self._answer.turn_begins():
            self._wait.owed = False
        if before := self._rehearing.named_before(item):
            self._notebook.heard_again(before, item)
        self._rehearing.told = item
        self._around.flow.post(CallerSpoke(again=bool(before)))
        self._notebook.caller_turn(item)
        self._notebook.say("caller_speaks", item=item)

    def _ends(self, item: str, *, by_us: bool = False) -> None:
        self._wait.tools_out = False
        self._notebook.caller_stopped(item)
        self._around.flow.post(CallerDone(item))
        self._answer.turn_over(trio.current_time())
        self._wait.turn_over(trio.current_time())
        self._replies.turn_over()
        self._talk.look_again()
        asks = by_us or not self._talk.config.turn_detection.create_response
        if asks and self._answer.is_due(item, whatever_it_was=by_us):
            self._inbox.post(AnswerTurn())

    def _written(self, event: CallerWords) -> None:
        """The words of a turn are known."""
        said = bool(event.text.strip())
        if self._answer.written(event.item, said=said):
            self._inbox.post(AnswerTurn())
        if not said:
            self._around.flow.post(CallerSaid(event.item, ""))  # they may be away still, or look for what they dictate
            return
        self._around.flow.post(CallerSaid(event.item, event.text, event.confidence))
        self._heard()
        self._handover.turn_written(event.item)
        self._replies.turn_written()

    # ------------------------------------------------------------ who took the floor

    def judged(self, judged: Judged) -> list[ModelCommand]:
        """It is known whether the caller took the floor; what the model is told of that."""
        self._talk.look_again()
        return self._taken(judged) if judged.taken else self._was_nothing(judged.heard_from)

    def _was_nothing(self, heard_from: float | None) -> list[ModelCommand]:
        nothing = self._contested.dismiss()
        if nothing:
            self._wait.turn_was_none()
        elif heard_from is not None:  # by us alone: if the model says nothing more, it may have been more than that
            self._over.heard(heard_from, trio.current_time())
            self._handover.unnoticed_since(heard_from)
        for item, turn in nothing.items():
            if turn.words:  # else another session may have to listen to it, should this one be lost before
                self._handover.turn_written(item)
        return [DropItem(item) for item, turn in nothing.items() if turn.stopped and turn.words]

    def _taken(self, judged: Judged) -> list[ModelCommand]:
        turns = self._contested.take(judged.words, unwritten=judged.unwritten)
        commands: list[ModelCommand] = []
        if judged.cancels:
            commands += [CancelReply(reply) for reply in self._desk.mute()]
        if judged.words and not turns:
            return [*commands, *self._known_by_words(judged.words)]
        if not turns and judged.heard_from is not None:  # and the model takes no notice
            self._ear.heard(judged.heard_from, trio.current_time())
            self._handover.unnoticed_since(judged.heard_from)
        for item, turn in turns.items():
            self._begins(item)
            if turn.stopped:
                self._ends(item)
            if turn.words is not None:
                self._notebook.caller_words(item, turn.words.text, final=True)
                self._written(turn.words)
        return commands

    def _known_by_words(self, words: str) -> list[ModelCommand]:
        """A turn that was held for none, and that the model has forgotten. If these are the first of its words, the rest may
        come: then they are told once more, whole."""
        words = self._contested.whole(words)
        told = self._briefing.late_words(words)
        first = self._contested.told_as(told.item, words)
        item = first or told.item
        self._around.flow.post(CallerSpoke(again=bool(first)))
        self._notebook.caller_words(item, words, final=True)
        self._around.flow.post(CallerDone(item))
        self._around.flow.post(CallerSaid(item, words, None))
        return [*([DropItem(first)] if first else []), told, *self._replies.ask(turn=True)]

    # ------------------------------------------------------------ what the model does not hear

    def sign_of_life(self, event: ModelEvent) -> None:
        """The model says something, and with it whether it has taken notice of the caller."""
        now = trio.current_time()
        if isinstance(event, FramerInput) and not self._desk.wanted(event.reply):
            self._wait.life = now  # what was broken off already takes no notice of anybody
            return
        if self._wait.sign_of_life(now, notices=not (isinstance(event, LIFE_ONLY) or self._obeys(event))):
            self._notebook.trouble("model", "it took no notice of what the caller said, and is told of it")
            if not self._desk.caller_speaks:
                self._handover.turn_began(UNNOTICED, now)
            self.committing = True
            self._inbox.post(CommitTurn())
            self._talk.look_again()
        elif (since := self._wait.passed_over) is not None and not self._talk.renewed:
            # The agent does not speak once more to what may be a noise. Another session says nothing if it is one.
            self._notebook.trouble(
                "model", "it took no notice of what the caller said again: another session is to hear it"
            )
            self._talk.renewed, self._talk.unheard_since = True, since
            self._talk.lines.renew = True
            self._talk.look_again()
        elif self._ear.unanswered_since is None and not self._talk.lines.renew:
            self._handover.alive(now)

    def _obeys(self, event: ModelEvent) -> bool:
        """Whether it only does what it was asked for, or could not: that it would also if it heard nobody."""
        if isinstance(event, ReplyEnded):
            return event.status is ReplyStatus.FAILED
        return isinstance(event, ReplyBegan) and self._desk.asked

    def _committed(self, item: str) -> None:
        """The model was told that this is a turn. It may have heard it begin at the last moment; it will not hear it end."""
        self.committing = False
        self._desk.insist()
        if not self._briefing.knows(item):
            self._briefing.learns(item)
            self._handover.turn_began(item, trio.current_time())
            self._begins(item)
        self._handover.turn_over(trio.current_time())
        self._ends(item, by_us=True)

    def nothing_committed(self) -> None:
        """The model has no audio for the turn that it was told of: the words are lost, but the caller waits."""
        self.committing = False
        self._desk.insist()
        self._handover.turn_over(trio.current_time())
        self._inbox.post(AskReply())

    def _heard(self) -> None:
        """Somebody else than our ear heard the caller."""
        self._ear.confirmed()
        self._talk.renewed = self._talk.lines.renew = False
