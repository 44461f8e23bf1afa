"""The demo's screen: a call as it happens, in two lanes of an 80-column terminal, or plain lines where there is none."""

import textwrap
import time
from typing import Any, TextIO

LANE = 34
CALLER, AGENT = 0, 1


class DemoView:
    """Draws the notes of one call. On a terminal the last line shows both lanes at work, with the words as they come."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._live = out.isatty()
        self._start = time.monotonic()
        self._now = ["", ""]
        """What is being said in each lane."""
        self._latency: dict[str, dict[str, int]] = {}
        rule = "─" * LANE
        self._print(f"{'':7}{'caller':^{LANE}}  {'agent':^{LANE}}")
        self._print(f"{'':7}{rule}  {rule}")

    def note(self, what: str, values: dict[str, Any]) -> None:
        """One note of the call's notebook."""
        handler = getattr(self, f"_on_{what}", None)
        if handler is not None:
            handler(values)

    def line(self, text: str) -> None:
        """A line of its own, for what the carrier does."""
        self._print(f"{self._clock()} {text}")

    # ------------------------------------------------------------ notes

    def _on_caller_speaks(self, _: dict[str, Any]) -> None:
        self._status(CALLER, "(speaks)")

    def _on_caller_words(self, values: dict[str, Any]) -> None:
        if values["final"]:
            self._lane(CALLER, values["text"])
        else:
            self._status(CALLER, values["text"])

    def _on_item_began(self, values: dict[str, Any]) -> None:
        self._latency[values["item"]] = values["latency_ms"]
        self._status(AGENT, self._now[AGENT] or "(speaks)")

    def _on_agent_words(self, values: dict[str, Any]) -> None:
        self._status(AGENT, values["text"])

    def _on_item_heard(self, values: dict[str, Any]) -> None:
        latency = self._latency.pop(values["item"], {})
        self._lane(AGENT, values["text"] + (" ..." if values["interrupted"] else ""))
        if latency:
            parts = " + ".join(f"{name.replace('_', ' ')} {ms}" for name, ms in latency.items() if name != "total")
            self._print(f"{'':9}answered in {latency['total']} ms = {parts}")

    def _on_interrupted(self, values: dict[str, Any]) -> None:
        self._print(f"{self._clock()} {'>> barge-in':<{LANE}}  cut after {values['heard_ms']} ms heard")

    def _on_key(self, values: dict[str, Any]) -> None:
        self._lane(CALLER, f"[key {values['digit']}]")

    def _on_state(self, values: dict[str, Any]) -> None:
        self._print(f"{self._clock()} -- flow: {values['state']}")

    def _on_errand(self, values: dict[str, Any]) -> None:
        self._print(f"{self._clock()} -- {values['name']}: {values['outcome']} {values['reason']}".rstrip())

    def _on_trouble(self, values: dict[str, Any]) -> None:
        self._print(f"{self._clock()} !! {values['kind']}: {values['text']}"[:80])

    def _on_ended(self, values: dict[str, Any]) -> None:
        self._print(f"{self._clock()} -- the stream is left: {values['disposition']}")
        self._print(f"{'':7}   {values['reason']}"[:79])

    # ------------------------------------------------------------ drawing

    def _lane(self, lane: int, text: str) -> None:
        self._now[lane] = ""
        lines = textwrap.wrap(text, LANE) or ["(nothing)"]
        for number, part in enumerate(lines):
            margin = self._clock() if number == 0 else f"{'':6}"
            left, right = (part, "") if lane == CALLER else ("", part)
            self._print(f"{margin} {left:<{LANE}}  {right}")

    def _print(self, text: str) -> None:
        start = "\r\x1b[2K" if self._live else ""
        self._out.write(f"{start}{text.rstrip()}\n")
        self._out.flush()

    def _status(self, lane: int, text: str) -> None:
        self._now[lane] = text
        if self._live:
            left, right = (said if len(said) <= LANE else f"...{said[3 - LANE :]}" for said in self._now)
            self._out.write(f"\r\x1b[2K{self._clock()} \x1b[2m{left:<{LANE}}  {right}\x1b[0m")
            self._out.flush()

    def _clock(self) -> str:
        return f"{time.monotonic() - self._start:5.1f}s"
