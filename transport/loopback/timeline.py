"""A call as a timeline, for people: what the caller, the agent, the model and the flow did, in four lanes, by the second."""

from typing import Any

import attrs
import trio

from transport.loopback.carrier import CarriedCall
from transport.loopback.session_log import SessionLog

LANES = ("caller", "agent", "model", "flow")
WIDTH = 44
MARKS_APART = 1.0
"""Seconds: marks that follow each other more closely are one run."""
_TOLD = {
    "response.create": "asked to speak",
    "response.cancel": "told to stop",
    "conversation.item.truncate": "told what was heard",
    "conversation.item.delete": "an item is taken away",
    "session.update": "set up",
}


@attrs.define
class Timeline:
    """Collects what happens; `str` draws it. `note` is a listener for a call's notebook."""

    began: float = 0.0
    last_heard: str = ""
    """What was heard of the agent's last turn."""
    _rows: list[tuple[float, str, str]] = attrs.field(factory=list)
    _seen: set[int] = attrs.field(factory=set)

    def note(self, _: str, what: str, values: dict[str, Any]) -> None:
        """One note of the call's notebook, as it is made."""
        now = trio.current_time()
        if what == "caller_words" and values["final"]:
            self.add(now, "caller", f"“{values['text']}”")
        elif what == "caller_speaks":
            self.add(now, "caller", "begins to speak")
        elif what == "key":
            self.add(now, "caller", f"presses {values['digit']}")
        elif what == "item_began":
            self.add(now, "agent", "begins to be heard")
        elif what == "item_heard":
            self.last_heard = values["text"]
            cut = " – cut off" if values["interrupted"] else ""
            self.add(now, "agent", f"“{values['text']}” ({values['heard_ms']} ms){cut}")
        elif what == "interrupted":
            self.add(now, "agent", f"interrupted after {values['heard_ms']} ms: {values['reason']}")
        elif what == "state":
            self.add(now, "flow", f"→ {values['state']}")
        elif what == "errand":
            self.add(now, "flow", f"{values['name']}: {values['outcome']} {values['reason']}".rstrip())
        elif what in {"trouble", "overlong", "ended"}:
            self.add(now, "flow", f"{what}: {', '.join(str(value) for value in values.values())}")

    def add_carrier(self, call: CarriedCall) -> None:
        """What the carrier saw: clears and marks."""
        for stream in call.streams:
            for at, played in stream.clears:
                self.add(at, "agent", f"clear, {played // 8} ms played")
            marks = [at for at, kind in stream.messages if kind == "mark"]
            for first, after in zip([None, *marks], marks, strict=False):
                if first is None or after - first > MARKS_APART:  # the first of a run; those behind it say nothing new
                    self.add(after, "agent", "marks")

    def add_model(self, session: SessionLog) -> None:
        """What the model was told."""
        for at, event in session.events:
            if id(event) in self._seen:
                continue
            self._seen.add(id(event))
            kind = str(event["type"])
            if kind == "conversation.item.create":
                self.add(at, "model", _item(event["item"]))
            elif kind == "conversation.item.truncate":
                self.add(at, "model", f"truncated at {event['audio_end_ms']} ms")
            else:
                self.add(at, "model", _TOLD.get(kind, kind))

    def add(self, at: float, lane: str, text: str) -> None:
        """One row."""
        self._rows.append((at - self.began, lane, " ".join(text.split())))

    def __str__(self) -> str:
        head = f"{'s':>7}  " + "  ".join(f"{lane:<{WIDTH}}" for lane in LANES)
        lines = [head.rstrip(), "-" * min(len(head), 9 + 4 * (WIDTH + 2))]
        for at, lane, text in sorted(self._rows, key=lambda row: row[0]):
            margin = f"{at:7.2f}  " + " " * ((WIDTH + 2) * LANES.index(lane))
            shown = text if len(text) <= 2 * WIDTH else text[: 2 * WIDTH - 1] + "…"
            lines.append(margin + shown)
        return "\n".join(lines)


def _item(item: dict[str, Any]) -> str:
    if item["type"] == "function_call_output":
        return f"tool answer: {item['output']}"
    part = item["content"][0]
    return f"told ({item['role']}): {part.get('text', '')}"
