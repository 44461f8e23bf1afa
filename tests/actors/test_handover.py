"""The handover: the caller's unanswered words as sound, the agent's half sentence, and no more memory than that takes."""

import pytest

from actors.handover import KEPT, ONSET, Handover
from actors.messages import CallerAudio, Role, Tell
from actors.mulaw import encode, to_base64
from tests.kit.calls import ms

FRAMES = 750
QUIET = b"\xff"
VOICE = b"\x00"


def speaking(handover: Handover, seconds: float, start: float) -> float:
    """The caller's line delivers so much audio from `start` on; when that was over."""
    for number in range(round(seconds * 50)):
        at = start + number * 0.02
        handover.sent([CallerAudio(f"{at:.2f}", 0)], at)
    return start + seconds


def loud(handover: Handover, seconds: float, start: float) -> float:
    """As `speaking`, with a voice; its frames bear their time as the stream's."""
    for number in range(round(seconds * 50)):
        at = start + number * 0.02
        handover.sent([CallerAudio(to_base64(ms(20, VOICE)), round(at * 1000))], at)
    return start + seconds


def silent(handover: Handover, seconds: float, start: float) -> None:
    """The caller says nothing for so long."""
    for number in range(round(seconds * 50)):
        handover.sent([CallerAudio(to_base64(ms(20, QUIET)), 0)], start + number * 0.02)


def heard(handover: Handover) -> list[float]:
    return [float(event.payload) for event in handover.unheard() if isinstance(event, CallerAudio)]


def test_a_turn_that_is_not_written_down_is_kept_from_before_its_onset() -> None:
    handover = Handover(FRAMES)
    now = speaking(handover, 5.0, 0.0)
    handover.turn_began("u1", now)
    speaking(handover, 3.0, now)
    assert heard(handover)[0] == pytest.approx(now - ONSET, abs=0.03)
    assert heard(handover)[-1] == pytest.approx(now + 2.98)


@pytest.mark.parametrize("way", ["written", "answered", "answered in a word"])
def test_a_turn_that_is_known_is_not_kept(way: str) -> None:
    handover = Handover(FRAMES)
    handover.turn_began("u1", speaking(handover, 2.0, 0.0))
    handover.turn_written("u0")  # another one
    assert heard(handover)
    if way == "written":
        handover.turn_written("u1")
    else:
        handover.turn_over(2.5)
        handover.reply_began("r1", 2.6)
        handover.spoken("r1", "i1", audio=4000 if way == "answered in a word" else 8000, words="We are")
        if way == "answered in a word":
            handover.reply_over("r1", whole=True)
    assert heard(handover) == []


@pytest.mark.parametrize("what", ["was not heard", "was heard", "was not heard, and the turn is written"])
def test_a_turn_whose_answer_never_began_to_be_heard_is_kept_again(what: str) -> None:
    handover = Handover(FRAMES)
    handover.turn_began("u1", speaking(handover, 2.0, 0.0))
    handover.turn_over(2.5)
    handover.reply_began("r1", 2.6)
    handover.spoken("r1", "i1", audio=8000, words="We are open.")
    handover.reply_over("r1", whole=True)
    assert heard(handover) == []
    if "written" in what:
        handover.turn_written("u1")
    handover.cut("i1", began=what == "was heard")
    assert bool(heard(handover)) is (what == "was not heard")


def test_an_answer_that_had_hardly_begun_to_what_is_not_written_down_is_given_anew() -> None:
    handover = Handover(FRAMES)
    handover.turn_began("u1", speaking(handover, 2.0, 0.0))
    handover.turn_over(2.5)
    handover.told(Tell(Role.CALLER, "[keys]"), 2.5)
    handover.reply_began("r1", 2.6)
    handover.spoken("r1", "i1", audio=4000, words="We are")
    assert heard(handover)
    assert handover.unfinished() == {}, "nobody is to go on with it"
    assert list(handover.finished()) == ["i1"], "but it is heard"
    assert [tell.text for tell in handover.unanswered()] == ["[keys]"]
    handover.turn_written("u1")
    assert heard(handover) == []
    assert list(handover.unfinished()) == ["i1"]


@pytest.mark.parametrize("over", [False, True])
def test_a_reply_that_the_caller_speaks_over_does_not_answer_that_turn(over: bool) -> None:
    handover = Handover(FRAMES)
    handover.reply_began("r1", 1.0)
    handover.turn_began("u1", speaking(handover, 2.0, 0.0))
    if over:
        handover.turn_over(2.5)
    handover.spoken("r1", "i1", audio=8000)
    assert heard(handover)
    handover.reply_began("r2", 2.6)
    handover.spoken("r2", "i2", audio=8000)
    assert bool(heard(handover)) is not over


def test_two_turns_of_which_none_is_written_down_are_both_kept() -> None:
    handover = Handover(FRAMES)
    first = speaking(handover, 2.0, 0.0)
    handover.turn_began("u1", first)
    handover.turn_began("u2", speaking(handover, 4.0, first))
    assert heard(handover)[0] == pytest.approx(first - ONSET, abs=0.03)


@pytest.mark.parametrize("written", ["u1", "u2"])
def test_of_two_turns_of_which_one_is_written_down_the_other_is_kept(written: str) -> None:
    handover = Handover(FRAMES)
    handover.turn_began("u1", speaking(handover, 2.0, 0.0))
    handover.turn_over(speaking(handover, 1.0, 2.0))
    handover.turn_began("u2", speaking(handover, 3.0, 3.0))
    handover.turn_over(speaking(handover, 1.0, 6.0))
    silent(handover, 2.0, 7.0)
    handover.turn_written(written)
    began = 5.0 if written == "u1" else 1.0
    assert heard(handover) == pytest.approx([began + number * 0.02 for number in range(100)])
    handover.turn_written({"u1": "u2", "u2": "u1"}[written])
    assert heard(handover) == []


def test_a_turn_that_nobody_answers_is_kept_however_long_the_caller_waits() -> None:
    handover = Handover(FRAMES)
    handover.turn_began("u1", speaking(handover, 2.0, 0.0))
    handover.turn_over(speaking(handover, 1.0, 2.0))
    silent(handover, 2 * FRAMES / 50, 3.0)
    assert heard(handover) == pytest.approx([1.0 + number * 0.02 for number in range(100)])


def test_who_begins_again_before_the_turn_before_is_known_to_be_over_is_heard_once() -> None:
    handover = Handover(FRAMES)
    handover.turn_began("u1", speaking(handover, 2.0, 0.0))
    handover.turn_over(speaking(handover, 1.0, 2.0))
    handover.turn_began("u2", speaking(handover, 0.2, 3.0))
    speaking(handover, 0.8, 3.2)
    assert heard(handover) == pytest.approx([1.0 + number * 0.02 for number in range(150)])


def test_what_the_model_took_no_notice_of_is_kept_until_it_shows_that_it_lives() -> None:
    handover = Handover(FRAMES)
    now = speaking(handover, 3.0, 0.0)
    handover.unnoticed_since(now)
    speaking(handover, 6.0, now)
    assert heard(handover)[0] == pytest.approx(now - ONSET, abs=0.03)
    handover.alive(now + 6.0)
    assert heard(handover) == []


def test_a_sign_of_life_does_not_forget_a_turn_that_the_model_noticed() -> None:
    handover = Handover(FRAMES)
    handover.turn_began("u1", speaking(handover, 2.0, 0.0))
    handover.alive(2.0)
    assert heard(handover)


@pytest.mark.parametrize(("alive", "kept"), [(4.0, 1.0), (4.7, 1.0), (4.98, 0.8)])
def test_the_beginning_of_what_a_lost_session_had_no_time_to_notice_is_kept(alive: float, kept: float) -> None:
    handover = Handover(FRAMES)
    quiet, loud = to_base64(ms(20, QUIET)), to_base64(ms(20))
    for number in range(250):
        handover.sent([CallerAudio(loud if number >= 205 else quiet, 0)], number * 0.02)
    handover.alive(alive)
    assert len(handover.onset()) == pytest.approx(kept * 50, abs=1)
    assert handover.unheard() == []  # it is no turn that anybody owes an answer


def test_the_soft_beginning_of_a_word_that_is_not_loud_yet_is_kept() -> None:
    handover = Handover(FRAMES)
    quiet, soft = to_base64(ms(20, QUIET)), to_base64(encode([60, -60] * 80))
    for number in range(100):
        handover.sent([CallerAudio(soft if number >= 98 else quiet, 0)], number * 0.02)
    assert [event.payload for event in handover.onset() if isinstance(event, CallerAudio)][-2:] == [soft, soft]


def test_of_a_silent_caller_there_is_no_onset() -> None:
    handover = Handover(FRAMES)
    for number in range(100):
        handover.sent([CallerAudio(to_base64(ms(20, QUIET)), 0)], number * 0.02)
    handover.alive(1.0)
    assert handover.onset() == []


def test_memory_is_bounded_while_nothing_is_said_and_by_the_frames_in_a_long_turn() -> None:
    handover = Handover(FRAMES)
    now = loud(handover, 60.0, 0.0)
    assert len(handover._sent) <= KEPT * 50 + 1
    handover.turn_began("u1", now)
    loud(handover, 60.0, now)
    assert len(handover._sent) == FRAMES


def test_what_was_said_is_not_pushed_out_by_the_silence_of_a_long_wait() -> None:
    handover = Handover(FRAMES)
    handover.unnoticed_since(0.0)
    for start in (0.0, 30.0):
        loud(handover, 2.0, start)
        silent(handover, 28.0, start + 2.0)
    kept = [event for event in handover.unheard() if isinstance(event, CallerAudio)]
    words = [event.timestamp_ms for event in kept if event.payload == to_base64(ms(20, VOICE))]
    assert words == [*range(0, 2000, 20), *range(30000, 32000, 20)]
    between = [event.payload for event in kept].index(to_base64(ms(20, VOICE)), 100) - 100
    assert between >= 75, "so much silence that the first turn is over"
    assert len(kept) <= FRAMES
    assert not any(event._audio for event in kept[:100]), "what many frames hold is kept once"


def test_an_unfinished_reply_has_the_words_that_were_heard_at_most_and_a_finished_one_all() -> None:
    handover = Handover(FRAMES)
    handover.spoken("r1", "i1", words="We are open from nine to five, and on Saturdays until two.")
    assert handover.unfinished() == {}, "no audio of it came"
    handover.spoken("r1", "i1", audio=len(ms(2000)))
    assert handover.unfinished() == {"i1": "We are open from nine to five,"}
    handover.spoken("r2", "i2", audio=len(ms(1000)), words="Gladly.")
    assert handover.unfinished() == {"i2": "Gladly."}
    handover.reply_over("r1", whole=True)
    assert handover.unfinished() == {"i2": "Gladly."}
    assert handover.finished() == {"i1": "We are open from nine to five, and on Saturdays until two."}
    handover.reply_over("r2", whole=True)
    assert handover.unfinished() == {}
    assert list(handover.finished()) == ["i1", "i2"]
    handover.cut("i2", began=True)
    assert list(handover.finished()) == ["i1"], "of what was interrupted the rest is not said any more"


def test_what_the_loss_of_a_session_finds_wholly_received_has_all_its_words() -> None:
    handover = Handover(FRAMES)
    handover.spoken("r1", "i1", audio=len(ms(2000)), words="We are open from nine to five, and on Saturdays until two.")
    handover.item_over("i1")
    assert handover.unfinished() == {"i1": "We are open from nine to five, and on Saturdays until two."}
    handover.item_over("nobody's")
    assert list(handover.unfinished()) == ["i1"]


def test_what_an_answer_was_for_that_never_began_to_be_heard_is_unanswered_again() -> None:
    handover, keys, later = Handover(FRAMES), Tell(Role.CALLER, "[1]"), Tell(Role.CALLER, "[2]")
    handover.told(keys, 1.0)
    handover.reply_began("r1", 2.0)
    handover.spoken("r1", "i1", audio=8)
    handover.told(later, 3.0)
    handover.reply_over("r1", whole=True)
    assert handover.unanswered() == [later]
    handover.cut("i1", began=False)
    assert handover.unanswered() == [keys, later]
    handover.reply_began("r2", 4.0)
    handover.spoken("r2", "i2", audio=8)
    handover.cut("i2", began=True)
    assert handover.unanswered() == [], "of what was heard the caller knows enough to ask again"


def test_a_reply_that_failed_has_only_the_words_that_were_heard_at_most() -> None:
    handover = Handover(FRAMES)
    handover.spoken("r1", "i1", audio=len(ms(2000)), words="We are open from nine to five, and on Saturdays until two.")
    handover.reply_over("r1", whole=False)
    assert handover.unfinished() == {}
    assert handover.finished() == {"i1": "We are open from nine to five,"}
