"""What `tests.bench.barge_in` measures, on a few sounds: each setting has its row, and who goes on leaves nothing out."""

import pytest

from tests.bench import barge_in
from tests.bench.voices import a_few


def test_the_figures_of_a_few_sounds_are_all_there_and_a_reply_goes_on_where_it_was_left() -> None:
    founds = barge_in.measured("undo", a_few())
    rows = barge_in.table(founds)
    assert set(rows) == {"undo"}
    assert list(rows["undo"]["kinds"]) == ["floor", "listener", "short noise"]
    every = rows["undo"]["all"]
    assert every["calls"] == len(founds) == 3
    sentence, listener, cough = founds
    assert sentence.cut
    assert sentence.detected is not None
    assert sentence.silent is not None
    assert sentence.truncation is not None
    assert abs(sentence.truncation) <= 20
    assert not listener.cut
    for found in (listener, cough):
        assert found.false == 0
        assert found.pauses
        assert all(abs(off) <= barge_in.SAMPLE_MS for off in found.skipped)
    assert every["missed"] == 0
    assert every["resumed"] == len(listener.skipped) + len(cough.skipped)
    lines = barge_in.text_of(rows).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert len(lines) == 2 + 1 + 3


def test_a_listeners_word_takes_nothing_though_the_transcriber_of_this_call_is_slow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(barge_in, "TRANSCRIPT_MS", 950)  # what the caller asked first took as long
    (listener,) = barge_in.measured("undo", a_few()[1:2])
    assert not listener.cut
    assert listener.false == 0
    assert listener.skipped == (0.0,)


def test_a_call_does_not_depend_on_which_others_are_played() -> None:
    listener, cough = a_few()[1:]
    assert barge_in.measured("undo", [listener, cough])[1] == barge_in.measured("undo", [cough])[0]
