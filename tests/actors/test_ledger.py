"""The heard ledger against a simulated carrier: what it says was heard, and what was."""

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.ledger import BYTES_PER_SECOND, FRAME_MS, HeardLedger
from tests.kit.carrier import PlaybackQueue, QueuedMark

SECOND = BYTES_PER_SECOND


def total(ledger: HeardLedger, now: float) -> int:
    return sum(heard for _, _, heard in ledger.heard(now))


# ---------------------------------------------------------------- the clock model


def test_nothing_is_heard_of_nothing() -> None:
    ledger = HeardLedger()
    assert ledger.heard(1.0) == ()
    assert ledger.played(1.0) == 0
    assert ledger.cleared(1.0).heard == ()


def test_audio_is_heard_at_the_speed_of_sound_from_the_moment_it_is_sent() -> None:
    ledger = HeardLedger()
    ledger.sent("a", SECOND, 10.0)
    assert ledger.heard(10.0) == (("a", SECOND, 0),)
    assert ledger.heard(10.25) == (("a", SECOND, SECOND // 4),)
    assert ledger.heard(11.0) == (("a", SECOND, SECOND),)


def test_never_more_is_heard_than_was_sent() -> None:
    ledger = HeardLedger()
    ledger.sent("a", 160, 0.0)
    assert ledger.heard(100.0) == (("a", 160, 160),)


def test_audio_sent_ahead_waits_for_its_turn() -> None:
    ledger = HeardLedger()
    for frame in range(10):
        ledger.sent("a", 160, 0.001 * frame)
    assert ledger.heard(0.1) == (("a", 1600, 800),)


def test_an_underrun_moves_what_comes_after_it() -> None:
    ledger = HeardLedger()
    ledger.sent("a", 800, 0.0)  # sounds until 0.1
    assert ledger.heard(0.3) == (("a", 800, 800),)
    ledger.sent("a", 800, 0.5)  # silence until 0.5
    assert ledger.heard(0.5) == (("a", 1600, 800),)
    assert ledger.heard(0.55) == (("a", 1600, 1200),)


def test_items_are_heard_one_after_the_other() -> None:
    ledger = HeardLedger()
    ledger.sent("a", 800, 0.0)
    ledger.sent("b", 800, 0.0)
    assert ledger.heard(0.05) == (("a", 800, 400), ("b", 800, 0))
    assert ledger.heard(0.15) == (("a", 800, 800), ("b", 800, 400))


def test_an_item_that_comes_back_is_a_run_of_its_own() -> None:
    ledger = HeardLedger()
    for item in "aba":
        ledger.sent(item, 800, 0.0)
    assert ledger.heard(0.25) == (("a", 800, 800), ("b", 800, 800), ("a", 800, 400))


def test_what_is_accounted_for_is_forgotten_and_counts_no_more() -> None:
    ledger = HeardLedger()
    ledger.sent("a", 800, 0.0)
    ledger.forget()
    ledger.sent("b", 800, 0.2)
    assert ledger.heard(0.25) == (("b", 800, 400),)


# ---------------------------------------------------------------- marks


def test_a_mark_that_comes_back_proves_that_all_before_it_was_heard() -> None:
    ledger = HeardLedger()
    ledger.sent("a", SECOND, 0.0)
    name = ledger.marked(1, 0.0)
    ledger.sent("a", SECOND, 0.0)
    assert ledger.echoed(name, 0.5) == 1  # a carrier that plays faster than the clock
    assert ledger.heard(0.5) == (("a", 2 * SECOND, SECOND),)


def test_a_mark_proves_what_it_proves_once() -> None:
    ledger = HeardLedger()
    ledger.sent("a", 160, 0.0)
    name = ledger.marked(1, 0.0)
    assert ledger.echoed(name, 0.1) == 1
    assert ledger.echoed(name, 0.1) is None


@pytest.mark.parametrize("name", ["", "g0.7", "g1.1", "1", "g0", "nonsense", "g0.1.1"])
def test_a_mark_that_was_never_sent_proves_nothing(name: str) -> None:
    ledger = HeardLedger()
    ledger.sent("a", SECOND, 0.0)
    ledger.marked(1, 0.0)
    assert ledger.echoed(name, 0.0) is None
    assert ledger.played(0.0) == 0


def test_a_mark_flushed_by_clear_proves_nothing() -> None:
    ledger = HeardLedger()
    ledger.sent("a", SECOND, 0.0)
    name = ledger.marked(1, 0.0)
    ledger.cleared(0.1)
    bound = ledger.bound_ms()
    ledger.sent("b", SECOND, 0.1)
    assert ledger.echoed(name, 0.12) is None
    assert ledger.heard(0.1) == (("b", SECOND, 0),)
    assert ledger.bound_ms() == bound  # nor does it say anything of the way


def test_the_same_mark_number_has_another_name_after_a_clear() -> None:
    ledger = HeardLedger()
    before = ledger.marked(1, 0.0)
    ledger.cleared(0.0)
    assert ledger.marked(1, 0.0) != before


def test_a_clear_reports_each_item_and_begins_anew() -> None:
    ledger = HeardLedger()
    ledger.sent("a", 800, 0.0)
    ledger.sent("b", 800, 0.0)
    report = ledger.cleared(0.15)
    assert report.at == 0.15
    assert report.heard == (("a", 800, 800), ("b", 800, 400))
    assert ledger.generation == 1
    assert ledger.heard(0.2) == ()
    ledger.sent("c", 800, 0.2)
    assert ledger.heard(0.25) == (("c", 800, 400),)


# ---------------------------------------------------------------- lateness and the bound


def echo_with_lag(ledger: HeardLedger, number: int, at: float, lag: float, size: int = 160) -> None:
    ledger.sent("a", size, at)
    ledger.echoed(ledger.marked(number, at), at + size / SECOND + lag)


def test_a_constant_delay_cancels_out() -> None:
    ledger = HeardLedger()
    for number in range(10):
        echo_with_lag(ledger, number, number * 0.02, 0.3)
    ledger.sent("a", SECOND, 1.0)
    assert ledger.played(1.5) == 10 * 160 + SECOND // 2
    assert ledger.bound_ms() == FRAME_MS


def test_one_late_echo_says_nothing_about_playback_but_widens_the_bound() -> None:
    ledger = HeardLedger()
    for number in range(5):
        echo_with_lag(ledger, number, number * 0.02, 0.1)
    echo_with_lag(ledger, 5, 0.1, 0.4)
    ledger.sent("a", SECOND, 0.12)
    assert ledger.played(0.62) == 6 * 160 + SECOND // 2
    assert ledger.bound_ms() == FRAME_MS + 300


def test_playback_is_held_for_late_when_three_echoes_in_a_row_say_so() -> None:
    ledger = HeardLedger()
    ledger.echoed(ledger.marked(0, 0.0), 0.1)  # the round trip
    for number in range(1, 4):
        ledger.sent("a", 800, 0.0)
        ledger.echoed(ledger.marked(number, 0.0), 0.1 * number + 0.1 + 0.25)
        assert ledger.generation == 0
    ledger.sent("a", SECOND, 0.0)
    assert ledger.played(0.8) == 2400 + SECOND // 4  # by the clock alone it were half a second
    assert ledger.bound_ms() == FRAME_MS + 250


def test_echoes_that_come_together_are_one_witness() -> None:
    ledger = HeardLedger()
    ledger.echoed(ledger.marked(0, 0.0), 0.1)  # the round trip
    names: list[str] = []
    for number in range(1, 4):
        ledger.sent("a", 800, 0.0)
        names.append(ledger.marked(number, 0.0))
    for name in names:  # held up on their way back, and delivered at once: the last of them was hardly late
        ledger.echoed(name, 0.42)
    ledger.sent("a", SECOND, 0.0)
    assert ledger.played(0.8) == 2400 + SECOND // 2, "nothing says that playback is late"


def test_the_bound_knows_that_late_echoes_may_have_been_held_up_although_the_fastest_was_long_ago() -> None:
    ledger = HeardLedger()
    echo_with_lag(ledger, 0, 0.0, 0.1)
    for number in range(1, 21):
        echo_with_lag(ledger, number, number * 0.02, 0.3)
    assert ledger.bound_ms() == FRAME_MS + 200


def test_the_bound_forgets_a_bad_spell() -> None:
    ledger = HeardLedger()
    echo_with_lag(ledger, 0, 0.0, 0.5)
    for number in range(1, 17):
        assert ledger.bound_ms() in {FRAME_MS, FRAME_MS + 400}
        echo_with_lag(ledger, number, number * 0.02, 0.1)
    assert ledger.bound_ms() == FRAME_MS


def test_without_a_mark_the_bound_is_one_frame() -> None:
    assert HeardLedger().bound_ms() == FRAME_MS


# ---------------------------------------------------------------- against a carrier


@attrs.frozen
class Step:
    """One thing that happens, `after` seconds after the one before; `way` is its delay above the constant one."""

    kind: str
    after: float
    way: float
    size: int = 0
    item: str = ""
    back: float = 0.0


def steps(jitter: float, back_jitter: float) -> st.SearchStrategy[list[Step]]:
    way = st.one_of(st.sampled_from([0.0, jitter]), st.floats(0, jitter))
    back = st.one_of(st.sampled_from([0.0, back_jitter]), st.floats(0, back_jitter))
    gap = st.one_of(st.sampled_from([0.0, 0.02, 1.5]), st.floats(0, 0.05), st.floats(0, 1.5))
    frame = st.builds(
        Step, st.just("frame"), gap, way, st.one_of(st.just(160), st.integers(1, 4000)), st.sampled_from("abc")
    )
    mark = st.builds(Step, st.just("mark"), gap, way, back=back)
    clear = st.builds(Step, st.just("clear"), gap, way)
    return st.lists(st.one_of(frame, frame, mark, clear), min_size=1, max_size=60)


@attrs.define
class Seen:
    """What a run showed: |heard - truly played| of each clear, in seconds of sound, and the bound stated with it."""

    errors: list[float] = attrs.field(factory=list[float])
    bounds_ms: list[int] = attrs.field(factory=list[int])


def simulate(script: list[Step], delay: float, back: float) -> Seen:
    """Runs the ledger beside a carrier; checks what must hold at any moment."""
    ledger, carrier, seen = HeardLedger(), PlaybackQueue(), Seen()
    now, arrived, number = 0.0, 0.0, 0
    sent: dict[str, int] = {}
    waiting: list[tuple[QueuedMark, float]] = []
    read_until = 0.0

    def read_echoes(until: float) -> None:
        """Everything that the carrier's socket delivers by `until` is read, in order, when it comes."""
        nonlocal read_until
        while waiting:
            mark, way_back = waiting[0]
            at = max(read_until, mark.reached + back + way_back)
            if at > until:
                return
            waiting.pop(0)
            read_until = at
            generation = ledger.generation
            known = ledger.echoed(mark.name, at)
            assert (known is None) == (not mark.name.startswith(f"g{generation}."))
            assert not (mark.flushed and known is not None), "a mark flushed by a clear was taken for a proof"

    for step in script:
        target = now + step.after
        read_echoes(target)
        now = target
        arrived = max(arrived, now + delay + step.way)
        if step.kind == "frame":
            ledger.sent(step.item, step.size, now)
            carrier.frame(b"x" * step.size, now, arrived)
            sent[step.item] = sent.get(step.item, 0) + step.size
        elif step.kind == "mark":
            number += 1
            mark = carrier.mark(ledger.marked(number, now), arrived)
            waiting.append((mark, step.back))
        else:
            report = ledger.cleared(now)
            by_item: dict[str, int] = {}
            for item, size, heard in report.heard:
                assert 0 <= heard <= size
                by_item[item] = by_item.get(item, 0) + size
            assert by_item == sent
            sent = {}
            carrier.clear(now, arrived)
            heard = sum(heard for _, _, heard in report.heard)
            seen.errors.append((heard - carrier.clears[-1].played) / BYTES_PER_SECOND)
            seen.bounds_ms.append(report.bound_ms)
        played = ledger.played(now)
        assert 0 <= played <= sum(size for _, size, _ in ledger.heard(now))
        ahead = [ledger.played(now + later) for later in (0.0, 0.01, 0.1, 1.0)]
        assert ahead == sorted(ahead), "heard less as time goes by"
    return seen


FRAME = FRAME_MS / 1000
ROUNDING = 1 / BYTES_PER_SECOND


@given(st.floats(0, 0.5), st.floats(0, 0.5), steps(0.0, 0.0))
@settings(max_examples=100, deadline=None)
def test_with_constant_delays_the_ledger_is_exact(delay: float, back: float, script: list[Step]) -> None:
    seen = simulate([*script, Step("clear", 0.1, 0.0)], delay, back)
    assert all(abs(error) <= 2 * ROUNDING for error in seen.errors), seen.errors
    assert all(bound <= FRAME_MS + 1 for bound in seen.bounds_ms)


def without_marks(script: list[Step]) -> list[Step]:
    return [step for step in script if step.kind != "mark"]


@given(st.floats(0, 0.3), st.floats(0.001, 0.4).flatmap(lambda j: st.tuples(st.just(j), steps(j, 0.0))))
@settings(max_examples=100, deadline=None)
def test_without_marks_the_ledger_errs_by_no_more_than_the_jitter(delay: float, run: tuple[float, list[Step]]) -> None:
    jitter, script = run
    seen = simulate([*without_marks(script), Step("clear", 0.1, 0.0)], delay, 0.0)
    assert all(abs(error) <= jitter + FRAME for error in seen.errors), (jitter, seen.errors)


@given(
    st.floats(0, 0.3),
    st.floats(0.001, 0.4).flatmap(
        lambda j: st.tuples(st.just(j), st.floats(0, 0.4).flatmap(lambda b: st.tuples(st.just(b), steps(j, b))))
    ),
)
@settings(max_examples=100, deadline=None)
def test_with_late_marks_the_ledger_errs_by_no_more_than_both_ways_vary(
    delay: float, run: tuple[float, tuple[float, list[Step]]]
) -> None:
    jitter, (back_jitter, script) = run
    seen = simulate([*script, Step("clear", 0.1, 0.0)], delay, 0.05)
    # Upwards it is the jitter alone; downwards a spell of late echoes may be taken for late playback.
    for error in seen.errors:
        assert -(jitter + back_jitter + FRAME) <= error <= jitter + FRAME, (jitter, back_jitter, seen.errors)
