"""What an operator can be woken by."""

import datetime

import pytest

from actors.notebook import CallRecord, Trouble, Turn
from transport.metrics import Metrics


def test_fillers_and_planned_sessions_of_a_call_are_counted_and_who_waits_is_shown() -> None:
    metrics = Metrics(lambda: 0, waiting=lambda: 3)
    items = ("prompt_greeting_1", "prompt_filler_2", "item_7", "prompt_filler_3", "prompt_still_here_4")
    turns = [Turn("agent", item, 1.0, "…", "…", over=True) for item in items]
    record = CallRecord("CA1", "MZ1", datetime.datetime(2026, 11, 24, tzinfo=datetime.UTC), turns=turns)
    record.replaced = [Trouble(3420.0, "session", "its time is nearly over")]
    metrics.call_over(record)

    def value(sample: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(sample, labels)

    counted = {name: value("triode_prompts_total", name=name) for name in ("greeting", "filler", "still_here")}
    assert counted == {"greeting": 1, "filler": 2, "still_here": 1}
    assert (value("triode_sessions_replaced_total"), value("triode_callers_waiting")) == (1, 3)


@pytest.mark.parametrize("name", ["triode_callers_waiting", "triode_calls_active", "triode_loop_lag_seconds"])
def test_a_process_without_a_call_shows_none(name: str) -> None:
    assert Metrics(lambda: 0).registry.get_sample_value(name) == 0
