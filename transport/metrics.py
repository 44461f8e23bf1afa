"""What a scraper sees: one registry a process, counted per call when it is over, never per frame."""

from collections.abc import Callable

import prometheus_client as prom
import trio

from actors.briefing import PROMPT_PREFIX
from actors.notebook import CallRecord

SECONDS = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0)


class Metrics:
    """The counters of one process. `active` tells the calls that are up now, `lag` how far the loop is behind, `waiting` how
    many callers wait for a line."""

    def __init__(
        self,
        active: Callable[[], int],
        lag: Callable[[], float] = lambda: 0.0,
        waiting: Callable[[], int] = lambda: 0,
    ) -> None:
        self.registry = prom.CollectorRegistry()
        self._gauge("triode_calls_active", "Calls up now", active)
        self._gauge("triode_callers_waiting", "Callers who wait for a line now", waiting)
        self._gauge("triode_tasks", "Tasks alive in this process", _tasks)
        self._gauge("triode_loop_lag_seconds", "What the event loop makes everybody wait", lag)
        self.held = self._counter("triode_loop_held", "Steps of a task that held the event loop for too long")
        self.calls = self._counter("triode_calls", "Calls ended", "disposition")
        self.refused = self._counter("triode_refused", "Requests and streams refused", "why")
        self.frames = self._counter("triode_frames", "Audio frames", "way")
        self.dropped = self._counter("triode_dropped", "Messages dropped by a full channel", "channel")
        self.trouble = self._counter("triode_trouble", "Things that should not have happened", "kind")
        self.interruptions = self._counter("triode_interruptions", "Replies the caller interrupted")
        self.prompts = self._counter("triode_prompts", "Recorded prompts that were begun, fillers among them", "name")
        self.replaced = self._counter("triode_sessions_replaced", "Sessions of the model replaced as planned")
        self.tokens = self._counter("triode_model_tokens", "Tokens the model counted")
        self.store_failures = self._counter("triode_store_failures", "Writes that the store did not take", "what")
        self.errands = self._counter("triode_errands", "Things done for callers", "name", "outcome")
        self.deliveries = self._counter("triode_deliveries", "Tries to deliver a call to the backend", "outcome")
        self.overlong = self._counter("triode_overlong_replies", "Replies longer than the flow asks for", "state")
        self.speech = prom.Histogram(
            "triode_reply_speech_seconds",
            "Speech of one reply of the model",
            ["state"],
            buckets=(1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 60),
            registry=self.registry,
        )
        self.reply = prom.Histogram(
            "triode_reply_seconds",
            "From the caller's last word to the first frame of the reply",
            buckets=SECONDS,
            registry=self.registry,
        )

    def call_over(self, record: CallRecord) -> None:
        """Counts a finished call."""
        self.calls.labels(record.disposition.value if record.disposition else "none").inc()
        self.frames.labels("in").inc(record.frames_in)
        self.frames.labels("out").inc(record.frames_out)
        self.tokens.inc(record.tokens)
        self.interruptions.inc(len(record.interruptions))
        self.replaced.inc(len(record.replaced))
        for turn in record.turns:
            if turn.item.startswith(PROMPT_PREFIX):  # prompt_NAME_number
                self.prompts.labels(turn.item.removeprefix(PROMPT_PREFIX).rpartition("_")[0]).inc()
        for mailbox in record.mailboxes:
            self.dropped.labels(mailbox.name).inc(mailbox.dropped)
        for trouble in record.errors:
            self.trouble.labels(trouble.kind).inc()
        for state, times in record.overlong.items():
            self.overlong.labels(state).inc(times)
        for state, seconds in record.replies:
            self.speech.labels(state).observe(seconds)
        for turn in record.turns:
            if "total" in turn.latency_ms:
                self.reply.observe(turn.latency_ms["total"] / 1000)

    def text(self) -> bytes:
        """The exposition format."""
        return prom.generate_latest(self.registry)

    def _gauge(self, name: str, doc: str, value: Callable[[], float]) -> None:
        prom.Gauge(name, doc, registry=self.registry).set_function(value)

    def _counter(self, name: str, doc: str, *labels: str) -> prom.Counter:
        return prom.Counter(name, doc, labels, registry=self.registry)


def _tasks() -> int:
    """Tasks of the present run; none without one."""
    try:
        return trio.lowlevel.current_statistics().tasks_living
    except RuntimeError:
        return 0
