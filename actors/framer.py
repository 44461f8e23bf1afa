"""Framer: cuts the agent's speech into frames, paces them a small lead ahead of playback, accounts for what was heard."""

from collections import deque
from collections.abc import Callable

import attrs
import trio

from actors.ledger import HeardLedger
from actors.mailbox import Mailbox, Outbox, WhenFull
from actors.messages import (
    BYTES_PER_MS,
    AgentQuiet,
    Clear,
    Cleared,
    Cut,
    Floor,
    FloorRule,
    Frame,
    Interrupted,
    ItemEnded,
    Mark,
    MarkEchoed,
    Play,
    ReplyAudio,
    ReplyEnded,
    ReplyWords,
    SetFloor,
    TellWhenQuiet,
)
from actors.mulaw import loudness
from actors.notebook import WORDS_KEPT, Notebook, heard_words

QUEUE = 128
"""Deltas of 20 to 400 ms and mark echoes; taken out at once, so a full one means that the Framer is dead."""
BUFFER_SECONDS = 180
"""Speech that may wait to be played; a model that talks longer is cut off there, and it is noted."""
KEPT_MS = 300
"""Audio behind the lead that may still be unheard, ms: playback runs late by as much."""
SENTENCE_AT_MOST = 4.0
"""Seconds within which a sentence must come to a pause; else it is broken off there."""
GRAIN = 20 * BYTES_PER_MS
"""The carrier plays in frames of this length, µ-law bytes: less is sent only of the end of an item."""
LEAST_QUEUED_MS = 40
"""What the carrier has left to play, ms, when the next frame is sent, at least."""
PAUSE_MS, PAUSE_LOUDNESS = 120, 2
"""A pause between sentences: so long, and no louder than that."""
ECHO_GRACE = 2.0
"""Seconds after which speech is held for heard although its last mark has not come back."""

BYTES_PER_SECOND = BYTES_PER_MS * 1000
TAIL = 0.15
"""Seconds that the agent is still heard after its last byte was played as far as we know."""

FramerMessage = (
    ReplyAudio | ReplyWords | ItemEnded | ReplyEnded | Play | TellWhenQuiet | MarkEchoed | Cleared | SetFloor
)


@attrs.define
class _Item:
    """One item of speech: what has been received of it and not yet handed on; µ-law bytes."""

    name: str
    reply: str
    words: str = ""
    buffer: bytearray = attrs.field(factory=bytearray)
    received: int = 0
    floor: FloorRule = FloorRule.OPEN
    handed: bytearray = attrs.field(factory=bytearray)
    """The end of what was handed on: of that the caller may not have heard all."""
    heard_before: int = 0
    """What of it was heard when the agent last fell silent in the middle of it."""
    complete: bool = False
    broken_off: bool = False
    """Whether there was more to be said: its words do not end with its audio."""
    end_mark: int | None = None
    """Number of the mark behind its last byte, once that is handed on."""


@attrs.frozen
class _Cutting:
    """An interruption: why, which items, and whether someone waited for them to be heard."""

    reason: Floor
    items: tuple[_Item, ...]
    tell_quiet: bool
    kept: bool = False
    """Whether what was not heard may still be said."""
    same_clear: bool = False
    """Whether the clear of the one before was still waiting, and serves for this one too."""


@attrs.frozen
class Pace:
    """How speech is handed on; milliseconds of audio in a frame at most, of lead over playback, between two marks."""

    frame_ms: int
    lead_ms: int
    mark_ms: int


class Framer:
    """Plays what it is given, in order, until the floor is taken from it.

    An *utterance* is a stretch of speech without silence in between: one reply, or several that follow closely. It is a
    cancel scope, and cancelling it is barge-in.

    Mailboxes in: `inbox`. Out: `out` (TwilioOut; it waits there, so the socket is the brake), `tell` (the link and the flow
    hear of interruptions), `quiet` (the flow, of `AgentQuiet`), `heard` (the keeper: something was heard to its end, or cut).
    Ended by cancelling it.
    """

    def __init__(
        self,
        pace: Pace,
        ledger: HeardLedger,
        notebook: Notebook,
        plays: Callable[[bytes, float], None] = lambda audio, at: None,
    ) -> None:
        """`plays` is told of every frame, and when the caller begins to hear it."""
        self._plays = plays
        self.inbox: Mailbox[FramerMessage] = Mailbox("framer", QUEUE, WhenFull.FATAL)
        self._frame = min(pace.frame_ms, pace.lead_ms - LEAST_QUEUED_MS) * BYTES_PER_MS
        self._lead = pace.lead_ms / 1000
        self._mark_every = pace.mark_ms * BYTES_PER_MS
        self._ledger = ledger
        self._notebook = notebook
        self._out: Mailbox[Frame | Mark | Clear]
        self._tell: tuple[Outbox[Interrupted], ...] = ()
        self._quiet: Outbox[AgentQuiet]
        self._heard: Outbox[None]
        self._items: deque[_Item] = deque()
        """The utterance's items, in order of playing; the first ones may be handed on already."""
        self._playing = 0
        """Index of the item that the next frame is cut from."""
        self._waiting = 0
        """Bytes received and not yet handed on."""
        self._ended_replies: deque[str] = deque(maxlen=32)
        self._muted: deque[str] = deque(maxlen=32)
        """Replies whose further audio nobody wants."""
        self._cutting: deque[_Cutting] = deque()
        """Interruptions whose clear is not yet on the wire."""
        self._held: Cleared | None = None
        """While the agent is silent and may go on: since when, once that is known."""
        self._going_on = False
        """Whether it is to go on as soon as that is known."""
        self._last_words = ""
        self._rule = FloorRule.OPEN
        """Of what the model says now."""
        self._dropped: list[Cut] = []
        """What was dropped behind the sentence that is being finished, and below why."""
        self._dropping = Floor.SPEECH
        self._keep = (pace.lead_ms + KEPT_MS) * BYTES_PER_MS
        self._utterance: trio.CancelScope | None = None
        self._handed_until = float("-inf")
        self._unmarked = 0
        self._marks = 0
        """Number of the last mark handed on."""
        self._heard_to = 0
        """Number of the last mark that playback is known to have reached."""
        self._tell_quiet = False
        self._news = trio.Event()
        self._silent = trio.Event()
        """Set, and made anew, whenever the agent falls silent."""

    async def run(
        self,
        out: Mailbox[Frame | Mark | Clear],
        interrupted: tuple[Outbox[Interrupted], ...],
        quiet: Outbox[AgentQuiet],
        heard: Outbox[None],
    ) -> None:
        """Until cancelled."""
        self._out, self._tell, self._quiet, self._heard = out, interrupted, quiet, heard
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._take_in)
            await out.send(Mark(0))  # with nothing queued it comes back at once: the ledger learns the round trip
            while True:
                if not self._items or self.is_held:
                    await self._wait_for_news()
                    continue
                self._unmarked = 0
                with trio.CancelScope() as self._utterance:
                    await self._speak()
                    self._finish()
                self._utterance = None

    # ------------------------------------------------------------ what others may call, at any time

    def yield_floor(self, reason: Floor) -> None:
        """Stops talking: the clear goes out, and once it is on the wire the link and the flow are told what was cut.

        Does nothing if the agent is not talking. Everything that was put into the inbox before counts as said before.
        """
        for message in self.inbox.take_all():
            self._accept(message)
        if not self._items:
            return
        cutting = self._cut(reason)
        if self._held is not None:  # what was heard until it was held is all that was
            held, self._held = self._held, None
            self._account(cutting, Cleared(held.at, (), held.bound_ms))
            return
        if self.is_held:  # its clear is on the way, and tells what was heard
            kept = self._cutting.pop()
            self._cutting.append(attrs.evolve(cutting, same_clear=kept.same_clear))
            return
        if self._utterance is None:  # not a byte was handed on: nothing to clear
            self._account(cutting, Cleared(trio.current_time(), (), self._ledger.bound_ms()))
            return
        self._utterance.cancel(reason.value)
        self._silence(cutting)

    def hold(self) -> None:
        """Falls silent at once, as by `yield_floor`, but what was not heard is kept: `go_on` says it, `yield_floor` drops it.

        Does nothing if the agent is not talking.
        """
        for message in self.inbox.take_all():
            self._accept(message)
        if not self._items:
            return
        self._going_on = False
        if self.is_held:
            return
        self._handed_until = float("-inf")
        if self._utterance is None:  # not a byte was handed on
            self._held = Cleared(trio.current_time(), (), self._ledger.bound_ms())
            return
        self._utterance.cancel("somebody may have taken the floor")
        self._silence(_Cutting(Floor.SPEECH, tuple(self._items), tell_quiet=False, kept=True))

    def go_on(self) -> None:
        """Goes on where the caller stopped hearing, if the agent was held."""
        if not self.is_held:
            return
        if self._held is None:
            self._going_on = True
            return
        self._held = None
        self._news.set()

    @property
    def is_held(self) -> bool:
        """Whether the agent is silent and may go on."""
        return self._held is not None or any(cutting.kept for cutting in self._cutting)

    def finish_sentence(self, reason: Floor) -> None:
        """Gives up the floor at the next pause. What comes after that is dropped, and told when the sentence was heard."""
        if self._playing >= len(self._items) or self.is_held or self._dropped:
            return
        item, later = self._items[self._playing], list(self._items)[self._playing + 1 :]
        rest = _sentence_in(item.buffer)
        full, cut_off = item.received, len(item.buffer) - rest
        del item.buffer[rest:]
        self._waiting -= cut_off + sum(len(each.buffer) for each in later)
        item.received -= cut_off
        item.complete = item.broken_off = True
        self._dropped = [Cut(item.name, item.received, full), *(Cut(each.name, 0, each.received) for each in later)]
        self._dropping = reason
        for each in (item, *later):
            if each.reply and each.reply not in self._ended_replies:
                self._muted.append(each.reply)
        for each in later:
            self._items.remove(each)
        self._news.set()

    def audible(self) -> bool:
        """Whether the caller hears the agent, or did until it was held."""
        if not self._items:
            return False
        now = trio.current_time()
        return self.speech_until(now) + TAIL > now or self.is_held

    def floor(self) -> FloorRule:
        """How what is being heard gives way."""
        return self._items[min(self._playing, len(self._items) - 1)].floor if self._items else FloorRule.OPEN

    def is_protected(self) -> bool:
        """Whether what is being heard must be heard to its end, and can be: whatever is said next has its place behind it only
        when all of it is here."""
        complete = all(item.complete for item in self._items)
        return complete and self.audible() and self.floor() is FloorRule.PROTECTED

    def unheard_seconds(self) -> float:
        """How much of what there is to say has not been heard."""
        return max(0.0, self.speech_until() - trio.current_time())

    def ends_within(self, seconds: float) -> bool:
        """Whether no more is to come than is heard in that time."""
        return all(item.complete for item in self._items) and self.unheard_seconds() < seconds

    def saying(self) -> str:
        """The words of what is being heard, as far as they are heard."""
        if not self._items:
            return ""
        spans = self._ledger.heard(trio.current_time())
        item = next((each for each in self._items if spans and each.name == spans[-1][0]), self._items[0])
        played = item.heard_before + sum(size for name, _, size in spans if name == item.name)
        return heard_words(item.words, played, max(item.received, 1), complete=item.complete)

    def said_lately(self) -> str:
        """The words of what is being said, all of them, and of what was said before."""
        return " ".join([self._last_words, *(item.words for item in self._items)])

    async def heard(self) -> None:
        """Until all the speech received so far has been heard, or cut."""
        while self._items:
            await self._silent.wait()

    def settle(self) -> None:
        """The stream is over: what was heard of the speech that was under way goes into the record."""
        heard = self._ledger.heard(trio.current_time())
        for cutting in (*self._cutting, _Cutting(Floor.END, tuple(self._items), tell_quiet=False)):
            if not cutting.kept:  # its items are still there
                self._enter(cutting.items, heard)
        self._cutting.clear()
        self._items.clear()

    def speech_until(self, now: float | None = None) -> float:
        """When all the speech received so far will have been played; in the past if the agent is silent."""
        if not self._waiting or (self._waiting < GRAIN and not self._may_be_handed_on()):
            return self._handed_until
        now = trio.current_time() if now is None else now
        return max(self._handed_until, now) + self._waiting / BYTES_PER_SECOND

    # ------------------------------------------------------------ taking in

    async def _take_in(self) -> None:
        while True:
            for message in (await self.inbox.receive(), *self.inbox.take_all()):
                self._accept(message)

    def _accept(self, message: FramerMessage) -> None:
        if isinstance(message, ReplyAudio):
            self._add_audio(message)
        elif isinstance(message, MarkEchoed):
            number = self._ledger.echoed(message.name, message.at)
            if number is None:
                return
            self._heard_to = max(self._heard_to, number)
            self._retire_heard()
        elif isinstance(message, ReplyWords):
            if message.reply not in self._muted and not self._was_heard(message):
                item = self._item(message.item, message.reply)
                item.words = (item.words + message.text)[:WORDS_KEPT]
                self._notebook.say("agent_words", item=item.name, text=item.words)
            return
        elif isinstance(message, ItemEnded):
            for item in self._items:
                if item.name == message.item:
                    item.complete = True
                    item.broken_off = item.broken_off or message.broken_off
        elif isinstance(message, ReplyEnded):
            self._ended_replies.append(message.reply)
            for item in self._items:
                item.complete = item.complete or item.reply == message.reply
        elif isinstance(message, Play):
            self._items.append(
                _Item(
                    message.item,
                    "",
                    message.words,
                    bytearray(message.audio),
                    len(message.audio),
                    message.floor,
                    complete=True,
                )
            )
            self._waiting += len(message.audio)
        elif isinstance(message, Cleared):
            self._settle_with(self._cutting.popleft(), message)
            while self._cutting and self._cutting[0].same_clear:
                self._settle_with(self._cutting.popleft(), message)
        elif isinstance(message, SetFloor):
            self._rule = message.rule
            return
        else:
            self._tell_quiet = True
            if not self._items:
                self._say_quiet()
        self._news.set()

    def _add_audio(self, message: ReplyAudio) -> None:
        if message.reply in self._muted:
            return
        item = self._item(message.item, message.reply)
        if self._waiting > BUFFER_SECONDS * BYTES_PER_MS * 1000:
            self._muted.append(message.reply)
            item.complete = item.broken_off = True
            self._notebook.trouble("framer", f"a reply longer than {BUFFER_SECONDS} s was cut off")
            return
        item.buffer += message.audio
        item.received += len(message.audio)
        self._waiting += len(message.audio)

    def _item(self, name: str, reply: str) -> _Item:
        for item in self._items:
            if item.name == name:
                return item
        item = _Item(name, reply, floor=self._rule)
        self._items.append(item)
        return item

    def _was_heard(self, words: ReplyWords) -> bool:
        """Whether they belong to an item that is over: they go into the record, and there is no more to say."""
        if any(item.name == words.item for item in self._items) or not self._notebook.words_late(
            words.item, words.text
        ):
            return False
        self._heard.post(None)
        return True

    async def _wait_for_news(self, until: float = float("inf")) -> None:
        self._news = trio.Event()
        with trio.move_on_at(until):
            await self._news.wait()

    # ------------------------------------------------------------ speaking

    async def _speak(self) -> None:
        """Until everything there is has been heard."""
        while True:
            # Not a frame may be taken for an utterance that is cancelled already: it would be lost to the next one.
            await trio.lowlevel.checkpoint_if_cancelled()
            item = self._next_item()
            if item is not None:
                await self._speak_of(item)
            elif not all(item.complete for item in self._items):
                await self._wait_for_news()
            else:
                await self._mark()
                limit = max(self._handed_until, trio.current_time()) + ECHO_GRACE
                while not self._waiting and self._heard_to < self._marks and trio.current_time() < limit:
                    await self._wait_for_news(limit)
                if not self._waiting and all(item.complete for item in self._items):
                    return

    def _next_item(self) -> _Item | None:
        """The item that the next frame is cut from; None while there is nothing to cut."""
        while self._playing < len(self._items):
            item = self._items[self._playing]
            if len(item.buffer) >= GRAIN or (item.buffer and self._no_more_of(item)):
                return item
            if not self._no_more_of(item):
                return None
            item.end_mark = self._marks + (1 if self._unmarked else 0)
            self._playing += 1
        # An item that got more audio after a later one had begun is played after that one.
        for index, item in enumerate(self._items):
            if item.buffer:
                self._playing, item.end_mark = index, None
                return self._next_item()
        return None

    def _no_more_of(self, item: _Item) -> bool:
        """Whether what there is of the item is to be played without waiting for more."""
        return item.complete or any(later.buffer for later in list(self._items)[self._playing + 1 :])

    def _may_be_handed_on(self) -> bool:
        """Whether what there is of less than a frame is the end of an item; else it waits for more, which may never come."""
        return any(item.buffer and self._no_more_of(item) for item in self._items)

    async def _speak_of(self, item: _Item) -> None:
        """Hands on a frame of `item`, or waits for when it is due: a whole one, or what there is when that would be due."""
        size = min(len(item.buffer), self._frame)
        ends = size == self._frame or self._no_more_of(item)
        due = self._handed_until + (size if ends else self._frame) / BYTES_PER_SECOND - self._lead
        if trio.current_time() >= due:
            await self._hand_on(self._cut_frame(item, size if ends else size - size % GRAIN))
        elif ends:
            await trio.sleep_until(due)
        else:
            await self._wait_for_news(due)

    def _cut_frame(self, item: _Item, size: int) -> Frame:
        audio = bytes(item.buffer[:size])
        del item.buffer[:size]
        self._waiting -= size
        item.handed += audio
        if len(item.handed) > self._keep + 2 * self._frame:
            del item.handed[: -self._keep]
        return Frame(item.name, audio)

    async def _hand_on(self, frame: Frame) -> None:
        if not self._out.offer(frame):
            await self._out.send(frame)
            await trio.lowlevel.checkpoint_if_cancelled()
        begins = max(self._handed_until, trio.current_time())
        self._plays(frame.audio, begins)
        self._handed_until = begins + len(frame.audio) / BYTES_PER_SECOND
        self._unmarked += len(frame.audio)
        if self._unmarked >= self._mark_every:
            await self._mark()

    async def _mark(self) -> None:
        if self._unmarked:
            self._unmarked = 0
            self._marks += 1
            await self._out.send(Mark(self._marks))

    # ------------------------------------------------------------ falling silent

    def _silence(self, cutting: _Cutting) -> None:
        """The clear goes out; with one that still waits for the socket it is one, as nothing was on the wire in between."""
        waits = any(isinstance(message, Clear) for message in self._out.take_all())
        self._cutting.append(attrs.evolve(cutting, same_clear=waits))
        self._out.post(Clear())

    def _settle_with(self, cutting: _Cutting, cleared: Cleared) -> None:
        if cutting.kept:
            self._rewind(cleared)
        else:
            self._account(cutting, cleared)

    def _cut(self, reason: Floor) -> _Cutting:
        """Drops everything there is to say, for whoever tells what of it was heard."""
        cutting = _Cutting(reason, tuple(self._items), self._tell_quiet)
        for item in cutting.items:
            if item.reply and item.reply not in self._ended_replies:
                self._muted.append(item.reply)
        self._items.clear()
        self._fall_silent()
        self._playing = self._waiting = 0
        self._handed_until = float("-inf")
        self._tell_quiet = False
        return cutting

    def _rewind(self, cleared: Cleared) -> None:
        """The clear is on the wire: what was handed on and not heard is to be said again, from exactly there."""
        heard: dict[str, int] = {}
        for name, _, played in cleared.heard:
            heard[name] = heard.get(name, 0) + played
        for item in list(self._items):
            item.heard_before = min(item.heard_before + heard.get(item.name, 0), item.received)
            rest = item.received - item.heard_before
            audio = item.handed + item.buffer
            item.buffer = bytearray(audio[-rest:]) if rest else bytearray()
            item.handed, item.end_mark = bytearray(), None
            if item.complete and not rest:
                self._items.remove(item)
                self._heard_whole(item)
        self._playing = 0
        self._waiting = sum(len(item.buffer) for item in self._items)
        self._heard_to = self._marks
        if not self._items:  # all of it had been heard just then
            self._fall_silent()
            self._tell_dropped()
            if self._tell_quiet:
                self._say_quiet()
        elif not self._going_on:
            self._held = cleared

    # ------------------------------------------------------------ accounting

    def _retire_heard(self) -> None:
        """Items that marks prove to be heard to their end are accounted for, while the utterance goes on."""
        while self._items and self._items[0].complete and not self._items[0].buffer:
            end_mark = self._items[0].end_mark
            if end_mark is None or end_mark > self._heard_to:
                return
            self._heard_whole(self._items.popleft())
            self._playing -= 1

    def _heard_whole(self, item: _Item) -> None:
        self._last_words = item.words
        all_of_it, cut = item.received, item.broken_off
        self._notebook.item_heard(item.name, item.words, all_of_it, all_of_it, complete=not cut, interrupted=cut)
        self._heard.post(None)

    def _finish(self) -> None:
        """The utterance has been heard to its end."""
        for item in self._items:
            self._heard_whole(item)
        self._items.clear()
        self._fall_silent()
        self._playing = 0
        self._ledger.forget()
        self._tell_dropped()
        if self._tell_quiet:
            self._say_quiet()

    def _tell_dropped(self) -> None:
        """The sentence that was to be finished was heard: what came behind it is cut."""
        if self._dropped:
            cuts, self._dropped = tuple(self._dropped), []
            message = Interrupted(trio.current_time(), self._dropping, cuts, self._ledger.bound_ms())
            for mailbox in self._tell:
                mailbox.post(message)

    def _fall_silent(self) -> None:
        self._silent.set()
        self._silent = trio.Event()

    def _say_quiet(self) -> None:
        self._tell_quiet = False
        self._quiet.post(AgentQuiet())

    def _enter(self, items: tuple[_Item, ...], spans: tuple[tuple[str, int, int], ...]) -> list[Cut]:
        """Into the notebook what was heard of `items`; the result is those that were not heard whole."""
        heard: dict[str, int] = {}
        for name, _, played in spans:
            heard[name] = heard.get(name, 0) + played
        cuts: list[Cut] = []
        for item in items:
            self._last_words = item.words
            played = min(item.heard_before + heard.get(item.name, 0), item.received)
            whole = item.complete and played >= item.received
            if not whole and item.received:
                cuts.append(Cut(item.name, played, item.received))
            complete, cut = item.complete and not item.broken_off, item.broken_off or not whole
            self._notebook.item_heard(item.name, item.words, played, item.received, complete=complete, interrupted=cut)
        return cuts

    def _account(self, cutting: _Cutting, cleared: Cleared) -> None:
        """What of the items was heard when the clear took effect; tells those who must know, if anything was cut."""
        cuts = self._enter(cutting.items, cleared.heard)
        if self._dropped:  # a sentence was to be finished: what came behind it is cut whether it was or not
            told = {cut.item for cut in cuts}
            cuts += [cut for cut in self._dropped if cut.item not in told]
            self._dropped = []
        if not cuts:  # it had been heard to its end just then
            self._heard.post(None)
            if cutting.tell_quiet:
                self._say_quiet()
            return
        self._heard.post(None)
        message = Interrupted(cleared.at, cutting.reason, tuple(cuts), cleared.bound_ms)
        for mailbox in self._tell:
            mailbox.post(message)


def _sentence_in(audio: bytearray) -> int:
    """Bytes of `audio` up to its first pause, at most as many as a sentence may still take."""
    most = min(len(audio), round(SENTENCE_AT_MOST * 1000) * BYTES_PER_MS)
    step, quiet = 20 * BYTES_PER_MS, 0
    for at in range(0, most, step):
        quiet = quiet + 20 if loudness(bytes(audio[at : at + step])) <= PAUSE_LOUDNESS else 0
        if quiet >= PAUSE_MS:
            return at
    return most
