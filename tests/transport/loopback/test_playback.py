"""The carrier's playback queue: the same as a naive one that plays byte by byte; marks, clears, ten minutes at most."""

from collections import deque

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.mulaw import silence
from transport.loopback.playback import QUEUE_AT_MOST, Heard, Playback

UNITS = 4
"""The naive queue counts time in quarters of a byte."""
SECOND = 8000 * UNITS


@attrs.define
class NaiveQueue:
    """Plays one quarter of a byte after the other."""

    now: int = 0
    pieces: deque[int | str] = attrs.field(factory=deque)
    progress: int = 0
    heard: list[tuple[int, int]] = attrs.field(factory=list)
    """When each byte began to sound, and which."""

    def put(self, audio: bytes) -> None:
        self.pieces.extend(audio)

    def mark(self, name: str) -> bool:
        if not self.pieces:
            return True
        self.pieces.append(name)
        return False

    def clear(self) -> list[str]:
        pending = [piece for piece in self.pieces if isinstance(piece, str)]
        self.pieces.clear()
        self.progress = 0
        return pending

    def wait(self, units: int) -> list[str]:
        reached: list[str] = []
        for _ in range(units):
            self.now += 1
            if not self.pieces:
                continue
            self.progress += 1
            if self.progress == UNITS:
                byte = self.pieces.popleft()
                assert isinstance(byte, int)
                self.heard.append((self.now - UNITS, byte))
                self.progress = 0
                while self.pieces and isinstance(self.pieces[0], str):
                    reached.append(str(self.pieces.popleft()))
        return reached

    def next_mark(self) -> int | None:
        at = self.now - self.progress
        for piece in self.pieces:
            if isinstance(piece, str):
                return at
            at += UNITS
        return None


_audio = st.binary(min_size=1, max_size=60)
_steps = st.lists(st.one_of(_audio, st.just("mark"), st.just("clear"), st.integers(0, 300)), max_size=40)


@given(steps=_steps)
def test_it_plays_what_a_queue_that_counts_every_byte_plays(steps: list[bytes | str | int]) -> None:
    naive, queue = NaiveQueue(), Playback()
    received = 0
    for number, step in enumerate(steps):
        now = naive.now / SECOND
        if isinstance(step, int):
            reached = naive.wait(step)
            assert queue.until(naive.now / SECOND) == reached
        elif isinstance(step, bytes):
            naive.put(step)
            received += len(step)
            assert queue.put(step, now)
        elif step == "mark":
            assert queue.mark(f"m{number}") == naive.mark(f"m{number}")
        else:
            assert queue.clear() == naive.clear()
        due, expected = queue.next_mark_at(), naive.next_mark()
        assert (due is None) == (expected is None)
        if due is not None and expected is not None:
            assert due * SECOND == pytest.approx(expected, abs=1e-3)
        assert queue.busy == any(isinstance(piece, int) for piece in naive.pieces)
    sounded = [(round(h.at * SECOND) + n * UNITS, byte) for h in queue.heard for n, byte in enumerate(h.audio)]
    assert sounded == naive.heard
    assert (queue.received, queue.played) == (received, len(naive.heard))


def test_a_mark_with_nothing_before_it_is_echoed_at_once() -> None:
    queue = Playback()
    assert queue.mark("now")
    assert queue.next_mark_at() is None
    assert queue.until(1.0) == []


def test_a_mark_after_an_empty_piece_of_audio_is_reached_at_once() -> None:
    queue = Playback()
    queue.put(b"", 1.0)
    assert queue.mark("now") or queue.until(1.0) == ["now"]


def test_a_mark_is_reached_when_the_last_byte_before_it_was_played() -> None:
    queue = Playback()
    queue.put(b"a" * 800, 5.0)
    assert not queue.mark("one")
    queue.put(b"b" * 800, 5.05)
    assert not queue.mark("two")
    assert queue.next_mark_at() == pytest.approx(5.1)
    assert queue.until(5.0999) == []
    assert queue.until(5.1) == ["one"]
    assert queue.until(5.2) == ["two"]
    assert queue.until(9.0) == []


def test_a_clear_gives_the_pending_marks_in_order_and_only_once() -> None:
    queue = Playback()
    queue.put(b"a" * 800, 0.0)
    for name in ("x", "y", "x"):  # names need not differ
        queue.mark(name)
    queue.until(0.05)
    assert queue.clear() == ["x", "y", "x"]
    assert queue.clear() == []
    assert not queue.busy
    assert queue.until(1.0) == []
    assert queue.heard == [Heard(0.0, b"a" * 400)]


def test_audio_after_a_silence_sounds_from_when_it_came() -> None:
    queue = Playback()
    queue.put(b"a" * 80, 0.0)
    queue.until(3.0)
    queue.put(b"b" * 80, 3.0)
    queue.until(4.0)
    assert [(piece.at, piece.audio) for piece in queue.heard] == [(0.0, b"a" * 80), (3.0, b"b" * 80)]


def test_ten_minutes_may_wait_and_not_a_byte_more() -> None:
    queue = Playback()
    assert QUEUE_AT_MOST == 600 * 8000
    assert queue.put(bytes(QUEUE_AT_MOST), 0.0)
    assert not queue.put(b"x", 0.0)
    assert queue.received == QUEUE_AT_MOST
    queue.until(0.01)
    assert not queue.put(b"x" * 81, 0.01)
    assert queue.put(b"x" * 80, 0.01)


def test_after_a_clear_there_is_room_again() -> None:
    queue = Playback()
    queue.put(bytes(QUEUE_AT_MOST), 0.0)
    queue.clear()
    assert queue.put(bytes(QUEUE_AT_MOST), 0.0)


def test_what_was_heard_can_be_asked_for_by_its_time_and_is_silent_where_nothing_was() -> None:
    playback = Playback()
    playback.put(bytes(range(80)), 1.0)
    playback.until(1.005)
    playback.clear()
    playback.put(bytes(range(100, 180)), 1.02)
    playback.until(2.0)
    quiet = silence(5)
    assert playback.played_from(0.995, 160) == quiet + bytes(range(40)) + quiet * 2
    assert playback.played_from(1.0, 320) == bytes(range(40)) + quiet * 3 + bytes(range(100, 180)) + quiet * 2
    assert playback.played_from(1.0225, 40) == bytes(range(120, 160))
    assert playback.played_from(5.0, 40) == quiet
