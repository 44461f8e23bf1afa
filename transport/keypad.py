"""The keypad menu: what a caller can still do when no model speaks with them, knowing what they have told already.

    menu ─┬─ 1  a person
          ├─ 2  a message
          ├─ 4  to be called back ──▶ why? ──▶ which number? ──▶ right? ──▶ what else the flow asks for ──▶ noted
          ├─ 5  to wait for a line, only when all are busy; so does who presses nothing
          ├─ 3  the same again
          └─ 9  the end

Any worker answers any step: what is known is in the store, and where the caller is stands in the address, which Twilio signs.
What they type becomes part of the call's story as if it had been said, so the CRM, a human and the next call know it.
"""

import datetime
import zoneinfo
from collections.abc import Callable, Mapping

import attrs
import trio

from actors import details
from actors.dialogue import Dialogue, Status
from actors.slots import Context, Understood, read_back, understand
from actors.story import Story, from_plain, known, summary, to_plain
from conf.flow import Flow
from transport.records import Records
from transport.twiml import TRIES, Documents

REASON, NUMBER = "call-reason", "call-number"
"""Questions that are no slot of the flow (no slot can have such a name): why the caller calls, where they can be called."""


LEAVES = frozenset("01249")
"""Keys of the menu that end the waiting for a line."""


@attrs.frozen
class Caller:
    """Whose keys they are: the call, from where, to where (E.164; something else if withheld)."""

    sid: str
    number: str
    called: str

    @property
    def own_number(self) -> str:
        """Where they can be called without their saying it; empty if that is not known."""
        return self.number if self.number.startswith("+") and self.number[1:].isdecimal() else ""


@attrs.frozen
class Keypad:
    """Answers each step with a document. `clock` tells unix time.

    `queue_seconds`: how long a caller may wait for a line; 0: not at all.
    """

    flow: Flow
    documents: Documents
    records: Records
    queue_seconds: float
    clock: Callable[[], float]

    # ------------------------------------------------------------ the menu

    async def menu(self, caller: Caller, why: str = "", tries: int = 0, since: int = 0, *, full: bool = False) -> str:
        """The choices, and at the first time what is known. `since`: when the caller began to wait for a line (unix s);
        `full`: there is none for them, and they cannot wait for one."""
        if tries >= TRIES:
            return await self._human(caller, overflow=full)
        noted = "" if why in {"wrong", "silent", "still"} else self._noted(await self._story(caller))
        return self.documents.menu(why, tries, since, noted, full=full)

    async def choice(self, caller: Caller, digit: str, tries: int, since: int = 0, *, full: bool = False) -> str:
        """What follows from key `digit`."""
        if digit in {"1", "0"}:  # 0 was the key for a human on the stream
            return await self._human(caller, overflow=bool(since) or full)
        if digit == "2":
            return self.documents.voicemail()
        if digit in {"3", "*"}:
            return await self.menu(caller, "", tries, since, full=full)
        if digit == "4":
            return await self.first_question(caller)
        if digit == "9":
            return self.documents.goodbye("Thank you for calling. Goodbye.")
        if digit == "5" and since:
            return await self.menu(caller, "still", tries, since)
        # Who waits for a line is not handed on by wrong keys, however many: that would be the end of their turn.
        return await self.menu(caller, "wrong", tries if since else tries + 1, since, full=full)

    # ------------------------------------------------------------ all lines are busy

    async def busy(self, caller: Caller) -> str:
        """There is no line for a caller who has just called."""
        since = int(self.clock()) if self.queue_seconds else 0
        return await self.menu(caller, "busy", since=since, full=not since)

    async def still_busy(self, caller: Caller, since: int) -> str:
        """There is none yet for one who waits since `since`."""
        if self.has_waited(since):
            return await self._human(caller, overflow=True)
        return await self.menu(caller, "still", since=since)

    def has_waited(self, since: int) -> bool:
        """Whether who waits since `since` has done so for long enough."""
        return self.clock() - since > self.queue_seconds

    # ------------------------------------------------------------ to be called back

    async def first_question(self, caller: Caller) -> str:
        """Asks for the first thing that is not known."""
        question = self._next(await self._story(caller))
        return await self._ask(question, caller)

    def _next(self, story: Story, after: str = "") -> str:
        """The first question behind `after` whose answer is not known; empty if there is none."""
        questions = [REASON, NUMBER, *self.flow.keypad.collects]
        rest = questions[questions.index(after) + 1 if after in questions else 0 :]
        return next((question for question in rest if self._missing(question, story.dialogue)), "")

    async def answer(self, caller: Caller, question: str, digits: str, tries: int, check: str) -> str:
        """Keys to `question`; `check`: what was typed before and read back: 1 says that it is right."""
        if question not in {REASON, NUMBER, *self.flow.keypad.collects}:
            return await self.menu(caller)
        if check:
            if digits == "1":
                return await self._take(caller, question, check)
            return await self._ask(question, caller, "" if digits == "2" else "silent", tries + 1)
        if choices := self._choices(question):
            if digits.isdecimal() and 1 <= int(digits) <= len(choices):
                return await self._take(caller, question, list(choices)[int(digits) - 1])
            return await self._ask(question, caller, "wrong" if digits else "silent", tries + 1)
        typed = digits or (caller.own_number if question == NUMBER else "")
        value = self._value(question, typed)
        if not value:
            return await self._ask(question, caller, "unclear" if typed else "silent", tries + 1)
        spoken = read_back(self._kind(question), value, self._now().date())
        words = f"I have: {spoken}. If that is right, press 1. To type it again, press 2."
        return self.documents.ask(words, question, 1, tries, check=typed)

    async def _ask(self, question: str, caller: Caller, why: str = "", tries: int = 0) -> str:
        """The question, or once more; who is not understood at all is handed on."""
        if tries >= TRIES:
            return await self._human(caller)
        if choices := self._choices(question):
            about = "What is your call about?" if question == REASON else f"Please choose {self._label(question)}."
            keys = " ".join(f"For {said}, press {number}." for number, said in enumerate(choices.values(), 1))
            return self.documents.ask(f"{about} {keys}", question, 1, tries, why=why)
        words = f"Please type {self._label(question)}, and then the hash key."
        if question == NUMBER and self._value(NUMBER, caller.own_number):
            words += " To be called at the number you are calling from, press just the hash key."
        return self.documents.ask(words, question, 0, tries, why=why)

    async def _take(self, caller: Caller, question: str, value: str) -> str:
        """The answer is right: it becomes part of the story, and the next question is asked, or all is said to be noted."""
        story = await self._story(caller)
        now = story.dialogue
        if question == REASON:
            now = attrs.evolve(now, wish=value)
        elif slot := self._number_slot if question == NUMBER else question:
            now, _ = details.save(now, self.flow, {slot: value}, self._now())
            typed = attrs.evolve(now, turn=now.turn + 1)
            now, _ = details.confirm(typed, self.flow, (slot,), correct=True, today=self._now().date())
        story = attrs.evolve(story, dialogue=now)
        following = self._next(story, question)
        # At once and not one after the other: if the store is slow, the caller hears nothing for as long as this takes.
        async with trio.open_nursery() as both:
            both.start_soon(self._keep, caller, story if following else attrs.evolve(story, over=True))
            if question == NUMBER:
                both.start_soon(self.records.callback, caller.sid, self._value(question, value))
        if following:
            return await self._ask(following, caller)
        return self.documents.goodbye("Thank you. It is noted, and we will call you back. Goodbye.")

    # ------------------------------------------------------------ questions

    def _missing(self, question: str, now: Dialogue) -> bool:
        """Whether it is to be asked; the number always: nobody said that they want to be called at the one we may have."""
        if question == REASON:
            return bool(self.flow.keypad.reasons) and now.wish not in self.flow.keypad.reasons
        return question == NUMBER or now.held(question).status is not Status.CONFIRMED

    def _choices(self, question: str) -> Mapping[str, str]:
        """What there is to choose from, and how it is said; empty if it is to be typed."""
        if question in {REASON, NUMBER}:
            return self.flow.keypad.reasons if question == REASON else {}
        slot = self.flow.slots[question]
        names = ("yes", "no") if slot.kind == "yes_no" else tuple(slot.choices)
        return {name: name for name in names}

    def _kind(self, question: str) -> str:
        return "phone" if question == NUMBER else self.flow.slots[question].kind

    def _label(self, question: str) -> str:
        return "the number at which we can call you" if question == NUMBER else self.flow.slots[question].label

    @property
    def _number_slot(self) -> str:
        """The slot of the flow that a number to call back is; empty if it has none."""
        return next((name for name, slot in self.flow.slots.items() if slot.kind == "phone"), "")

    def _value(self, question: str, digits: str) -> str:
        """The canonical value of what was typed; empty if it is none."""
        slot = self.flow.slots.get(question)
        least, most = (slot.least, slot.most) if slot else (None, None)
        how = Context(self._now(), self.flow.language, self.flow.region, {}, least, most)
        reading = understand(self._kind(question), digits, how)
        return reading.text if isinstance(reading, Understood) else ""

    def _now(self) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(self.clock(), zoneinfo.ZoneInfo(self.flow.timezone))

    # ------------------------------------------------------------ the story

    async def _story(self, caller: Caller) -> Story:
        """What is known of the call; of one in which no model has spoken, a beginning."""
        plain = await self.records.story(caller.sid)
        story = from_plain(plain, self.flow) if plain else None
        return story or Story(self.flow.name, Dialogue(self.flow.start))

    async def _keep(self, caller: Caller, story: Story) -> None:
        await self.records.keep_story(caller.sid, caller.number, caller.called, to_plain(story), over=story.over)

    async def _human(self, caller: Caller, *, overflow: bool = False) -> str:
        """A person is rung, who hears what is known before they are joined."""
        known_so_far = summary(self.flow, await self._story(caller))
        return self.documents.human(caller.sid if known_so_far else "", from_menu=True, overflow=overflow)

    def _noted(self, story: Story) -> str:
        """What is known, as it is said to the caller; empty if nothing is."""
        told, today = known(self.flow, story.dialogue), self._now().date()
        facts = [read_back(self.flow.slots[name].kind, text, today) for name, text in told.items()]
        return f"I have noted: {'; '.join(facts)}." if facts else ""
