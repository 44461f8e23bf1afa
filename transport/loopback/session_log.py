"""What the loopback model keeps of one connection, for those who look at it afterwards. Data only."""

from typing import Any

import attrs


@attrs.define
class SessionLog:
    """What came in on one connection and what became of it."""

    path: str
    headers: dict[str, str]
    opened: float = 0.0
    """When, on Trio's clock."""
    events: list[tuple[float, dict[str, Any]]] = attrs.field(factory=list)
    """Client events but appends, with Trio's time; the first two thousand."""
    audio: bytearray = attrs.field(factory=bytearray)
    """The caller's audio as appended, µ-law bytes; the first ten minutes."""
    items: dict[str, dict[str, Any]] = attrs.field(factory=dict)
    """The conversation, in order, as the model now has it."""
    truncations: list[tuple[str, int]] = attrs.field(factory=list)
    """Item ids and what was kept of their audio, in ms."""
    replies: list[tuple[str, str]] = attrs.field(factory=list)
    """Response ids and how they ended."""
    replies_ended: list[float] = attrs.field(factory=list)
    """When each of them ended."""
    errors: list[str] = attrs.field(factory=list)
    """Codes of the errors that the client was told."""
    tool_results: list[tuple[str, str]] = attrs.field(factory=list)
    """Call ids and outputs."""
    speech: dict[str, bytearray] = attrs.field(factory=dict)
    """The audio that was made of each item, µ-law bytes."""
    speech_at: dict[str, float] = attrs.field(factory=dict)
    """When the audio of each item began."""
    unsent: set[str] = attrs.field(factory=set)
    """Items of which a stalled session made more than it sent."""
    audio_until: float = float("-inf")
    """When the last audio of the caller's came in."""

    @property
    def client(self) -> str:
        """Whom the session is for, as the client names them."""
        return self.headers.get("openai-safety-identifier", "")

    def told(self) -> str:
        """What the session knows as text."""
        return "\n".join(map(self.words_of, self.items))

    def words_of(self, item: str) -> str:
        """The words of an item, as far as the session knows them."""
        parts = self.items.get(item, {}).get("content", ())
        return "".join(str(part.get("text") or part.get("transcript") or "") for part in parts)

    def types(self) -> list[str]:
        """The types of the client events but appends, in order."""
        return [event["type"] for _, event in self.events]
