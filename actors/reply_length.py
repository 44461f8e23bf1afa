"""How much has been said in the replies that are being made; one that does not end is broken off. Pure. µ-law bytes."""

import attrs

from actors.messages import ReplyAudio
from actors.newest import REPLIES_KEPT, Newest


@attrs.define
class ReplyLength:
    """Of one session. `at_most`: bytes of speech in one reply."""

    at_most: int
    _said: Newest[int] = attrs.field(factory=lambda: Newest[int](REPLIES_KEPT))
    """By reply."""
    _broken_off: Newest[None] = attrs.field(factory=lambda: Newest[None](REPLIES_KEPT))
    """Replies that were too long: their end is ours, and no wish of the model's or the caller's."""
    _of_item: tuple[str, int] = ("", 0)
    """The item that came last, and how much of it was said."""

    def began(self, reply: str) -> bool:
        """Whether it has said anything."""
        return reply in self._said

    def broken_off(self, reply: str) -> bool:
        """Whether nothing more of it is wanted."""
        return reply in self._broken_off

    def take(self, event: ReplyAudio) -> int:
        """How much of this is still said: if it is not all, the reply is broken off there."""
        before, size = self._said.get(event.reply) or 0, len(event.audio)
        said = min(size, self.at_most - before)
        self._said.put(event.reply, before + said)
        item, of_item = self._of_item
        self._of_item = event.item, said + (of_item if item == event.item else 0)
        if said < size:
            self._broken_off.put(event.reply, None)
        return said

    def said_of(self, item: str) -> int:
        """How much was said of the item, if it came last."""
        return self._of_item[1] if self._of_item[0] == item else 0

    def ended(self, reply: str) -> tuple[int, bool]:
        """How much was said in it, and whether it was broken off for that. Nothing of it is kept."""
        broken_off = reply in self._broken_off
        self._broken_off.pop(reply)
        return self._said.pop(reply) or 0, broken_off
