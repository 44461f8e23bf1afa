"""The briefing: what the sessions of a call are told of the conversation as text, and what of it the present one knows.

A session of the model knows only what went over its own connection. So what was told is kept here by the item it became, with
what another session would have to be told instead. Pure, told the time.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import attrs

from actors.messages import (
    CancelReply,
    CommitTurn,
    Cut,
    DropItem,
    Extract,
    ModelCommand,
    Role,
    Tell,
    ToolCall,
    ToolResult,
    Truncate,
)
from actors.newest import REPLIES_KEPT, Newest
from actors.notebook import heard_words

PROMPT_PREFIX = "prompt_"
"""Items of recorded prompts begin so; the model's own never do."""

HEARD_PREFIX = "heard_"
"""What was heard of a prompt that was cut begins so: it is in the record, and no other session has to be told twice."""

GUIDE_PREFIX = "guide_"
"""The item that says where the conversation stands begins so."""

LATE_PREFIX = "late_"
"""Words of the caller's that came after their turn was forgotten begin so; they too are in the record."""

ONCE_PREFIX = "once_"
"""Items that are meant for the next reply begin so; they are taken out of the conversation when it is over."""

SPEECH_PREFIX = "speech_"
"""What a lost session said that is still on its way to the caller begins so."""

RECORDED = (PROMPT_PREFIX, GUIDE_PREFIX, HEARD_PREFIX, LATE_PREFIX, SPEECH_PREFIX)
"""What begins so is told to the next session anyway."""

NAMES_KEPT = 5000
"""Items and calls of the model's that are known: more than the turns of any call."""

UNHEARD_KEPT = 8
"""Items of a reply that are taken out because nobody heard them: a reply has one or two."""

GO_ON = "[You were cut off in the middle of what you said last. Go on from there; repeat nothing and do not greet.]"


@attrs.define
class Briefing:
    """Of one call, over all its sessions; `session_begins` says that the present one is another."""

    _told: dict[str, Tell] = attrs.field(factory=dict[str, Tell])
    """Speech that the model was told of as text, by the item that is played."""
    _retold: int = 0
    _guided: str = ""
    """What the model is to know of where the conversation stands."""
    _tool_names: Newest[str] = attrs.field(factory=lambda: Newest[str](NAMES_KEPT))
    _renewed: bool = False
    """Whether the session is not the first one."""
    _items: Newest[None] = attrs.field(factory=lambda: Newest[None](NAMES_KEPT))
    """Items of the conversation that this session knows; others can be neither cut nor taken out."""
    _calls: Newest[None] = attrs.field(factory=lambda: Newest[None](NAMES_KEPT))
    """Tool calls of this session; results of others are told as text."""
    _once: list[tuple[str, float]] = attrs.field(factory=list[tuple[str, float]])
    """Items for the next reply that no reply has seen yet, and when each was sent."""
    _seen_by: Newest[list[tuple[str, float]]] = attrs.field(
        factory=lambda: Newest[list[tuple[str, float]]](REPLIES_KEPT)
    )
    """Those that a reply being made has seen."""
    _unheard: Newest[list[str]] = attrs.field(factory=lambda: Newest[list[str]](REPLIES_KEPT))
    """Items of a reply that nobody wants to hear any more: not a word of them was passed on."""
    _guides: int = 0

    def session_begins(self) -> None:
        """A session that knows nothing."""
        for known in (self._items, self._calls, self._seen_by, self._unheard):
            known.clear()
        self._once, self._guides = [], 0

    def session_lost(self) -> None:
        """One that was up is gone: what is told from now on may mean something only to that one."""
        self._renewed = True

    # ------------------------------------------------------------ what it is told

    def of_before(self, heard: Sequence[tuple[Role, str, str]], speech: Mapping[str, str]) -> list[Tell]:
        """The conversation so far: the turns that were `heard` as (role, words, item), the words of the `speech` that is still
        on its way to the caller by its item, and where the conversation stands."""
        over = {item for _, _, item in heard}
        tells = [Tell(role, words) for role, words, _ in heard]
        playing = {item: tell for item, tell in self._told.items() if item not in over}
        self._told = {}
        for item, tell in playing.items():
            tells.append(attrs.evolve(tell, first=False))
            self._told[item] = tells[-1]
        for item, words in speech.items():
            if words and item not in over and item not in self._told:
                tells.append(Tell(Role.AGENT, words, self._another(SPEECH_PREFIX)))
                self._told[item] = tells[-1]
        return tells + ([self._guide()] if self._guided else [])

    def go_on(self) -> Tell:
        """Before it goes on with what the session before was saying."""
        return Tell(Role.OPERATOR, GO_ON, self._another(f"{ONCE_PREFIX}back_"))

    def late_words(self, words: str) -> Tell:
        """What the caller said in a turn that it has forgotten."""
        told = Tell(Role.CALLER, words, self._another(LATE_PREFIX))
        self._items.put(told.item, None)
        return told

    def guide(self, text: str) -> list[ModelCommand]:
        """One item at the tail says where the conversation stands; the one before is taken away."""
        self._guided = text
        before = [DropItem(f"{GUIDE_PREFIX}{self._guides}")] if self._guides else []
        return [*before, self._guide()]

    def _guide(self) -> Tell:
        self._guides += 1
        return Tell(Role.OPERATOR, self._guided, f"{GUIDE_PREFIX}{self._guides}")

    def _another(self, prefix: str) -> str:
        self._retold += 1
        return f"{prefix}{self._retold}"

    # ------------------------------------------------------------ what it knows

    def sent(self, tell: Tell, now: float) -> None:
        """It is told."""
        self._items.put(tell.item, None)
        if tell.item.startswith(ONCE_PREFIX):
            self._once.append((tell.item, now))
        elif tell.item.startswith(PROMPT_PREFIX):
            self._told[tell.item] = tell

    def learns(self, item: str) -> None:
        """An item of its own."""
        self._items.put(item, None)

    def knows(self, item: str) -> bool:
        """Whether that is an item of its conversation."""
        return item in self._items

    def called(self, calls: Iterable[ToolCall]) -> None:
        """It asks for these."""
        for call in calls:
            self._calls.put(call.call_id, None)
            self._tool_names.put(call.call_id, call.name)

    def known(
        self, commands: list[ModelCommand], knows_reply: Callable[[str], bool], *, committing: bool
    ) -> list[ModelCommand]:
        """Those that mean something to this session: of what another one knew it would only complain. `committing`: whether it
        is the one that was told of a turn."""
        if not self._renewed:
            return commands
        kept: list[ModelCommand] = []
        for command in commands:
            if isinstance(command, Truncate | DropItem) and command.item not in self._items:
                continue
            if isinstance(command, Tell) and command.after and command.after not in self._items:
                command = attrs.evolve(command, after="")
            if isinstance(command, CancelReply) and not knows_reply(command.reply):
                continue
            if isinstance(command, CommitTurn) and not committing:
                continue
            if isinstance(command, ToolResult) and command.call_id not in self._calls:
                kept.append(self._as_text(command))
                continue
            if isinstance(command, Extract):
                command = attrs.evolve(command, items=tuple(item for item in command.items if item in self._items))
                if not command.items:
                    continue
            kept.append(command)
        return kept

    def again(self, commands: Sequence[ModelCommand]) -> list[Tell]:
        """What the next session is to be told should this one be lost before it answers: the caller's keys, results, what to
        say."""
        results = (self._as_text(command) if isinstance(command, ToolResult) else command for command in commands)
        return [tell for tell in results if isinstance(tell, Tell) and not tell.item.startswith(RECORDED)]

    def _as_text(self, result: ToolResult) -> Tell:
        """The result of a tool for a session that did not call it."""
        told = ", ".join(f"{name}: {value}" for name, value in result.output.items())
        tool = self._tool_names.get(result.call_id) or "a tool"
        return Tell(Role.OPERATOR, f"[The result of {tool}, which you asked for earlier: {told}]")

    # ------------------------------------------------------------ what becomes of it

    def cut(self, cut: Cut) -> list[ModelCommand]:
        """Speech was interrupted: what is audible is cut where it was heard, what never began is forgotten."""
        told = self._told.pop(cut.item, None)
        if told is not None:  # a recorded prompt, told as text: tell it again, as far as it was heard
            words = heard_words(told.text, cut.heard, cut.received, complete=True)
            drop = DropItem(told.item)
            if not words:
                return [drop]
            again = Tell(told.role, words, self._another(HEARD_PREFIX), told.first)
            if told.first:
                return [drop, again]
            # In its place: what the caller said over it is in the conversation already, and was no answer to it.
            return [attrs.evolve(again, after=told.item), drop]
        if cut.item.startswith(PROMPT_PREFIX):
            return []  # a prompt that the model was not told of
        return [Truncate(cut.item, cut.heard_ms) if cut.began else DropItem(cut.item)]

    def reply_began(self, reply: str, knows: float) -> None:
        """A reply has seen what was sent until then."""
        self._seen_by.put(reply, [one for one in self._once if one[1] <= knows])
        self._once = [one for one in self._once if one[1] > knows]

    def unheard(self, reply: str, item: str) -> None:
        """Speech of `item` came when nobody wanted the reply any more: if none came before, the caller hears nothing of it."""
        if item and item not in self._items:
            self._items.put(item, None)
            self._unheard.put(reply, [*(self._unheard.pop(reply) or []), item][-UNHEARD_KEPT:])

    def reply_over(self, reply: str, *, said: bool) -> list[DropItem]:
        """If it was `said`, what was meant for it is taken out of the conversation; else the next one still has to say it.
        What nobody heard of it is taken out in any case."""
        seen, unheard = self._seen_by.pop(reply) or [], [DropItem(item) for item in self._unheard.pop(reply) or []]
        if said:
            return [*unheard, *(DropItem(item) for item, _ in seen)]
        self._once = [*seen, *self._once]
        return unheard
