"""The notebook: heard words, latencies that add up, and what the record keeps."""

import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.mailbox import MailboxStats
from actors.messages import Cut, Disposition
from actors.notebook import ERRORS_KEPT, TURNS_KEPT, WORDS_KEPT, CallRecord, Notebook, heard_words
from tests.kit.calls import WALL, a_notebook

SECOND = 8000


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


def a_clocked_notebook(clock: Clock, vad_ms: int = 500) -> Notebook:
    return Notebook(CallRecord("CA1", "MZ1", datetime.datetime.now(datetime.UTC)), clock, vad_ms, None)


# ---------------------------------------------------------------- heard words


@pytest.mark.parametrize(
    ("heard", "received", "complete", "words"),
    [
        (0, 8000, True, ""),
        (-5, 8000, True, ""),
        (8000, 0, True, ""),
        (8000, 8000, True, "one two three"),
        (9000, 8000, True, "one two three"),
        (4000, 8000, True, "one"),  # six of thirteen characters: "two" is not whole
        (4950, 8000, True, "one two"),
        (100, 8000, True, ""),
        (8000, 8000, False, "one two three"),  # 16 characters a second
        (4000, 4000, False, "one two"),  # half a second: eight characters at most
    ],
)
def test_the_words_heard_are_whole_words_in_proportion(heard: int, received: int, complete: bool, words: str) -> None:
    assert heard_words("one two three", heard, received, complete=complete) == words


@given(st.text(), st.integers(-10, 50_000), st.integers(-10, 50_000), st.booleans())
@settings(max_examples=100)
def test_heard_words_are_the_beginning_of_what_was_said(words: str, heard: int, received: int, complete: bool) -> None:
    part = heard_words(words, heard, received, complete=complete)
    assert words.startswith(part)
    if complete and heard >= received > 0:
        assert part == words


@given(st.lists(st.text("abc", min_size=1, max_size=8), max_size=12), st.integers(0, 9000), st.integers(0, 9000))
@settings(max_examples=100)
def test_no_word_is_heard_by_half_and_more_audio_means_no_fewer_words(said: list[str], one: int, other: int) -> None:
    words = " ".join(said)
    less, more = sorted((one, other))
    before, after = (heard_words(words, heard, 8000, complete=True) for heard in (less, more))
    assert before.split() == said[: len(before.split())]
    assert after.split() == said[: len(after.split())]
    assert len(before) <= len(after)


# ---------------------------------------------------------------- latency


def test_the_parts_of_a_latency_add_up_exactly() -> None:
    clock = Clock()
    book = a_clocked_notebook(clock)
    clock.at += 3.0004
    book.caller_stopped("u1")
    clock.at += 0.1234
    book.reply_began()
    clock.at += 0.2345
    book.first_audio()
    clock.at += 0.0456
    latency = book.item_began("a1").latency_ms
    parts = {name: latency[name] for name in ("turn_detection", "model", "first_audio", "framing")}
    assert sum(parts.values()) == latency["total"]
    assert latency["turn_detection"] == 500
    assert abs(latency["total"] - (500 + 403.5)) <= 1


@given(*[st.floats(0, 5)] * 4, st.integers(100, 900))
def test_the_parts_of_any_latency_add_up_exactly(a: float, b: float, c: float, d: float, vad: int) -> None:
    clock = Clock()
    book = a_clocked_notebook(clock, vad)
    clock.at += a
    book.caller_stopped("u1")
    clock.at += b
    book.reply_began()
    clock.at += c
    book.first_audio()
    clock.at += d
    latency = dict(book.item_began("a1").latency_ms)
    total = latency.pop("total")
    assert sum(latency.values()) == total
    assert abs(total - (vad + (b + c + d) * 1000)) <= 1


def test_only_the_first_reply_and_the_first_audio_after_a_turn_count() -> None:
    clock = Clock()
    book = a_clocked_notebook(clock)
    book.caller_stopped("u1")
    clock.at += 0.1
    book.reply_began()
    clock.at += 0.1
    book.reply_began()  # the reply after a tool
    book.first_audio()
    clock.at += 0.1
    book.first_audio()
    assert book.item_began("a1").latency_ms == {
        "model": 100,
        "first_audio": 100,
        "framing": 100,
        "turn_detection": 500,
        "total": 800,
    }


def test_the_time_for_which_an_answer_was_put_off_is_not_that_of_its_first_audio() -> None:
    clock = Clock()
    book = a_clocked_notebook(clock)
    book.caller_stopped("u1")
    book.reply_began()
    clock.at += 0.4
    book.answer_put_off()
    clock.at += 1.1
    book.reply_began()
    clock.at += 0.2
    book.first_audio()
    latency = book.item_began("a1").latency_ms
    assert (latency["model"], latency["first_audio"], latency["total"]) == (1500, 200, 2200)


def test_speech_that_answers_nobody_has_no_latency() -> None:
    book = a_clocked_notebook(Clock())
    assert book.item_began("prompt_greeting_1").latency_ms == {}
    book.caller_stopped("u1")
    assert book.item_began("prompt_x_2").latency_ms == {}


def test_the_second_item_of_an_answer_has_no_latency_of_its_own() -> None:
    book = a_clocked_notebook(Clock())
    book.caller_stopped("u1")
    book.reply_began()
    book.first_audio()
    assert book.item_began("a1").latency_ms
    assert book.item_began("a2").latency_ms == {}


def test_the_first_frame_of_the_call_is_timed_once() -> None:
    clock = Clock()
    book = a_clocked_notebook(clock)
    clock.at += 0.25
    book.item_began("prompt_greeting_1")
    clock.at += 5
    book.item_began("a1")
    assert book.record.first_frame_ms == 250


# ---------------------------------------------------------------- turns


def test_the_callers_words_grow_and_the_whole_replaces_the_pieces() -> None:
    book = a_clocked_notebook(Clock())
    book.caller_words("u1", "I want ", final=False)
    book.caller_words("u1", "two", final=False)
    turn = book.record.turns[0]
    assert (turn.text, turn.over) == ("I want two", False)
    book.caller_words("u1", "I want, too.", final=True)
    assert (turn.who, turn.text, turn.heard_text, turn.over) == ("caller", "I want, too.", "I want, too.", True)
    assert len(book.record.turns) == 1


def test_an_item_that_never_began_leaves_no_turn() -> None:
    book = a_clocked_notebook(Clock())
    book.item_heard("a1", "words", 0, 800, complete=True, interrupted=True)
    assert book.record.turns == []


def test_an_interrupted_item_keeps_what_was_heard_of_it() -> None:
    book = a_clocked_notebook(Clock())
    book.item_began("a1")
    book.item_heard("a1", "one two three", 4000, 8000, complete=True, interrupted=True)
    turn = book.record.turns[0]
    assert (turn.who, turn.text, turn.heard_text) == ("agent", "one two three", "one")
    assert (turn.heard_ms, turn.generated_ms, turn.interrupted, turn.over) == (500, 1000, True, True)


def test_an_interruption_is_kept_with_what_the_model_was_told() -> None:
    clock = Clock()
    book = a_clocked_notebook(clock)
    clock.at += 2.5
    book.interrupted(Cut("a1", 1234 * 8 + 3, 16000), 1234, 20, "why")
    note = book.record.interruptions[0]
    assert (note.at, note.item, note.heard_ms, note.truncate_ms) == (2.5, "a1", 1234, 1234)
    assert (note.generated_ms, note.bound_ms, note.reason) == (2000, 20, "why")


def test_troubles_are_kept_up_to_a_bound_and_counted_beyond() -> None:
    book = a_clocked_notebook(Clock())
    for number in range(ERRORS_KEPT + 7):
        book.trouble("kind", str(number))
    assert len(book.record.errors) == ERRORS_KEPT
    assert book.record.errors[-1].text == str(ERRORS_KEPT - 1)
    assert book.record.errors_left_out == 7


def test_turns_are_kept_up_to_a_bound_and_counted_beyond_and_so_are_the_words_of_one() -> None:
    book = a_clocked_notebook(Clock())
    for number in range(TURNS_KEPT - 1):
        book.caller_words(f"c{number}", "yes", final=True)
    book.item_began("a", "no")
    for item in ("c+", "c+"):
        book.caller_words(item, "more", final=True)
    book.item_began("a+")
    book.item_heard("a+", "more", 8, 8, complete=True, interrupted=False)
    assert (len(book.record.turns), book.record.turns_left_out) == (TURNS_KEPT, 3)
    for _ in range(3):
        book.caller_words("c0", "w" * WORDS_KEPT, final=False)
    assert len(book.record.turns[0].heard_text) == WORDS_KEPT


def test_the_listener_hears_of_each_note_as_it_is_made() -> None:
    heard: list[tuple[str, dict[str, object]]] = []
    book = Notebook(CallRecord("CA1", "MZ1", _now()), Clock(), 500, lambda what, values: heard.append((what, values)))
    book.key("5")
    book.trouble("model", "odd")
    assert heard == [("key", {"digit": "5"}), ("trouble", {"kind": "model", "text": "odd"})]
    assert book.record.keys == "5"


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def test_a_call_ends_as_long_after_it_began_as_it_lasted_whatever_the_clock_on_the_wall_does() -> None:
    clock = Clock()
    book = Notebook(CallRecord("CA1", "MZ1", WALL), clock, 500, None)
    clock.at += 42.5
    record = book.close(Disposition.HANG_UP, "asked", [])
    assert record.ended == WALL + datetime.timedelta(seconds=42.5)


async def test_a_closed_record_says_how_the_call_ended(autojump_clock: object) -> None:
    book = a_notebook()
    stats = [MailboxStats("flow", 64, "fatal", 3, 0, 1)]
    record = book.close(Disposition.DIAL, "asked", stats)
    assert (record.disposition, record.reason, record.mailboxes) == (Disposition.DIAL, "asked", stats)
    assert record.ended is not None
    assert record.ended >= record.began


# ---------------------------------------------------------------- the flow


def test_states_are_kept_in_order_and_each_entry_once() -> None:
    book = a_clocked_notebook(Clock())
    for state in ("hello", "hello", "ask", "hello"):
        book.entered(state)
    book.item_began("i1")
    assert book.record.states == ["hello", "ask", "hello"]
    assert book.record.turns[0].state == "hello"


def test_replies_longer_than_asked_are_counted_by_state() -> None:
    book = a_clocked_notebook(Clock())
    book.reply_seconds(100.0)  # nobody has asked for anything yet
    book.entered("ask")
    book.reply_asked = 5.0
    for seconds in (5.0, 5.004, 7.0, 8.0):
        book.reply_seconds(seconds)
    assert book.record.replies == [("", 100.0), ("ask", 5.0), ("ask", 5.0), ("ask", 7.0), ("ask", 8.0)]
    assert book.record.overlong == {"ask": 3}


def test_errands_are_kept_with_what_came_of_them() -> None:
    clock = Clock()
    book = a_clocked_notebook(clock)
    clock.at += 2
    book.errand("sms", "failed", "no such number")
    (note,) = book.record.errands
    assert (note.at, note.name, note.outcome, note.reason) == (2.0, "sms", "failed", "no such number")


def test_the_patience_of_the_moment_counts_in_the_latency() -> None:
    book = a_clocked_notebook(Clock(), vad_ms=500)
    book.patience(1100)
    book.caller_stopped("u1")
    book.reply_began()
    book.first_audio()
    assert book.item_began("i1").latency_ms["turn_detection"] == 1100


def test_what_ended_a_turn_is_what_counts_also_when_the_patience_has_changed_since() -> None:
    clock = [0.0]
    notebook = Notebook(CallRecord("CA1", "MZ1", datetime.datetime.now(datetime.UTC)), lambda: clock[0], 500, None)
    notebook.caller_stopped("item_1")
    notebook.patience(1100)
    for at, note in ((0.1, notebook.reply_began), (0.2, notebook.first_audio)):
        clock[0] = at
        note()
    turn = notebook.item_began("item_2")
    assert turn.latency_ms["turn_detection"] == 500
    assert turn.latency_ms["total"] == 700
