"""One session of the model, as long as it is up: what it is told, and what it says.

What it says is the caller's half of the conversation (`caller_turns.py`) or the model's own (`agent_replies.py`).
"""

import trio

from actors.agent_replies import AgentReplies
from actors.caller_turns import CallerTurns
from actors.messages import (
    AnswerTools,
    AskReply,
    AwaitRest,
    CallerWords,
    Extracted,
    Gravity,
    Guide,
    Interrupted,
    ItemEnded,
    Judged,
    ModelCommand,
    ModelEvent,
    ModelTrouble,
    ReplyAudio,
    ReplyBegan,
    ReplyEnded,
    ReplyWords,
    SessionAgreed,
    SetModel,
    SetPatience,
    SpeechStarted,
    SpeechStopped,
    StopTalking,
    Tell,
    TurnCommitted,
)
from actors.ports import ModelGone, ModelSession
from actors.talk import AnswerTurn, LinkMessage, Talk

NOTHING_COMMITTED = "input_audio_buffer_commit_empty"
"""What the model says that has nothing to commit."""


class LiveSession:
    """`session`, which has been told what was before. `read` and `write` run side by side in `nursery`, and raise ModelGone."""

    def __init__(self, talk: Talk, session: ModelSession, nursery: trio.Nursery) -> None:
        self._talk = talk
        self._session = session
        self._replies = AgentReplies(talk, nursery)
        self._turns = CallerTurns(talk, self._replies)

    # ------------------------------------------------------------ what it is told

    async def write(self) -> None:
        """Until cancelled: what comes into the link's mailbox goes to the model, as it is said on its wire."""
        talk = self._talk
        while True:
            commands = self._commands(await talk.inbox.receive())
            commands = talk.briefing.known(commands, talk.desk.knows, committing=self._turns.committing)
            talk.note_told(commands)
            for command in commands:
                if isinstance(command, Tell):
                    talk.briefing.sent(command, trio.current_time())
                await self._session.send(command)

    def _commands(self, message: LinkMessage) -> list[ModelCommand]:
        """What `message` means on the wire."""
        talk = self._talk
        if isinstance(message, Interrupted):
            return self._replies.cut(message)
        if isinstance(message, StopTalking):
            return self._replies.stop_talking(message)
        if isinstance(message, AwaitRest):
            return self._replies.await_rest()
        if isinstance(message, AnswerTools):
            talk.wait.tools_answered(trio.current_time())
            return [*message.results, *(self._replies.ask() if message.then_reply else [])]
        if isinstance(message, AskReply):
            return self._replies.ask()
        if isinstance(message, Guide):
            return talk.briefing.guide(message.text)
        if isinstance(message, SetPatience):
            return talk.retune(message.silence_ms)
        if isinstance(message, Judged):
            return self._turns.judged(message)
        if isinstance(message, AnswerTurn):
            return self._replies.ask(turn=True) if talk.answer.take() else []
        if isinstance(message, SetModel):
            talk.lines.want(message.name)
            return []
        return [message]

    # ------------------------------------------------------------ what it says

    async def read(self) -> None:
        """Until cancelled. It waits for nobody else, so the socket is always drained."""
        while True:
            event = await self._session.receive()
            self._turns.sign_of_life(event)
            self._take_in(event)
            self._replies.take_wish()

    def _take_in(self, event: ModelEvent) -> None:
        if isinstance(event, ReplyAudio):
            self._replies.on_audio(event)
        elif isinstance(event, ReplyWords):
            self._replies.on_words(event)
        elif isinstance(event, ReplyBegan):
            self._replies.on_began(event)
        elif isinstance(event, ItemEnded):
            self._replies.on_item_ended(event)
        elif isinstance(event, ReplyEnded):
            self._replies.on_ended(event)
        elif isinstance(event, SpeechStarted):
            self._turns.on_started(event)
        elif isinstance(event, SpeechStopped):
            self._turns.on_stopped(event)
        elif isinstance(event, TurnCommitted):
            self._turns.on_committed(event)
        elif isinstance(event, CallerWords):
            self._turns.on_words(event)
        elif isinstance(event, Extracted):
            self._talk.around.flow.post(event)
        elif isinstance(event, ModelTrouble):
            self._on_trouble(event)
        elif isinstance(event, SessionAgreed) and event.agreed.turn_detection != self._talk.turns:
            got = event.agreed.turn_detection
            self._talk.notebook.trouble("model", f"turns are detected otherwise than asked: {got}")

    def _on_trouble(self, trouble: ModelTrouble) -> None:
        said = f"{trouble.code}: {trouble.text}"
        self._talk.notebook.trouble("model", said)
        if trouble.gravity in {Gravity.LOST, Gravity.FATAL}:
            raise ModelGone(said, fatal=trouble.gravity is Gravity.FATAL)
        if trouble.code == NOTHING_COMMITTED and self._turns.committing:
            self._turns.nothing_committed()
        else:
            self._replies.on_trouble(trouble)
