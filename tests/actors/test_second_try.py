"""What becomes of a reply that ended: it is over, asked for once more, or another session has to give it."""

import pytest

from actors.messages import Gravity, ReplyEnded, ReplyStatus, ToolCall
from actors.second_try import RETRY_SECONDS, Again, Elsewhere, Made, SecondTry

A_CALL = ToolCall("c1", "look_up", {"topic": "hours"})
VOICE, SILENT, DUE = Made(spoke=True), Made(), Made(due=True)


def ended(status: ReplyStatus, *calls: ToolCall, gravity: Gravity = Gravity.RETRY) -> ReplyEnded:
    return ReplyEnded("r1", status, calls, "why", gravity)


def becomes(
    tries: SecondTry,
    event: ReplyEnded,
    made: Made,
    pauses: tuple[float, ...] = (RETRY_SECONDS,),
    *,
    speaks: bool = False,
) -> Again | Elsewhere | None:
    return tries.ended(event, made, pauses, caller_speaks=speaks).then


DONE, FAILED = ended(ReplyStatus.COMPLETED), ended(ReplyStatus.FAILED)
INCOMPLETE, CANCELLED = ended(ReplyStatus.INCOMPLETE), ended(ReplyStatus.CANCELLED)
WITH_A_CALL = ended(ReplyStatus.COMPLETED, A_CALL)


@pytest.mark.parametrize(
    ("event", "made", "then"),
    [
        (DONE, VOICE, None),
        (WITH_A_CALL, SILENT, None),
        (DONE, SILENT, None),  # on a noise
        (DONE, Made(asked=True, due=True), Again()),
        (FAILED, SILENT, Again(RETRY_SECONDS)),
        (FAILED, VOICE, Again(RETRY_SECONDS, begun=True)),
        (FAILED, Made(muted=True, spoke=True, due=True), None),
        (INCOMPLETE, SILENT, Again()),
        (INCOMPLETE, VOICE, Again(begun=True)),
        (ended(ReplyStatus.INCOMPLETE, A_CALL), SILENT, None),
        (CANCELLED, VOICE, None),
        (CANCELLED, SILENT, None),  # the answer to a turn that the model began by itself
        (CANCELLED, DUE, Again(RETRY_SECONDS)),
        (CANCELLED, Made(due=True, muted=True), None),
        (CANCELLED, Made(spoke=True, cut_short=True), None),
    ],
)
def test_a_reply_that_ended(event: ReplyEnded, made: Made, then: Again | Elsewhere | None) -> None:
    assert becomes(SecondTry(), event, made) == then


def test_what_the_caller_took_back_by_speaking_is_not_asked_for_again() -> None:
    assert becomes(SecondTry(), CANCELLED, DUE, speaks=True) is None


@pytest.mark.parametrize("event", [DONE, INCOMPLETE, CANCELLED])
def test_a_second_reply_without_a_voice_is_for_another_session(event: ReplyEnded) -> None:
    tries = SecondTry()
    made = Made(asked=True, due=True)
    assert isinstance(becomes(tries, event, made), Again)
    assert becomes(tries, event, made) == Elsewhere("replies without a voice")


def test_a_reply_that_fails_is_tried_as_often_as_there_are_pauses() -> None:
    tries, pauses = SecondTry(), (0.4, 1.2, 3.0)
    assert [becomes(tries, FAILED, SILENT, pauses) for _ in pauses] == [Again(pause) for pause in pauses]
    assert becomes(tries, FAILED, SILENT, pauses) == Elsewhere("a reply failed: why")


def test_what_is_fatal_is_so_everywhere() -> None:
    event = ended(ReplyStatus.FAILED, gravity=Gravity.FATAL)
    assert becomes(SecondTry(), event, SILENT, ()) == Elsewhere("a reply failed: why", fatal=True)


def test_a_voice_begins_the_count_anew() -> None:
    tries = SecondTry()
    for _ in range(5):
        assert becomes(tries, FAILED, SILENT) == Again(RETRY_SECONDS)
        assert becomes(tries, DONE, VOICE) is None


def test_a_model_may_keep_silent_on_one_noise_and_not_on_words() -> None:
    tries = SecondTry()
    assert becomes(tries, DONE, SILENT) is None
    assert becomes(tries, DONE, SILENT) == Again(), "two in a row are no manners"
    tries = SecondTry()
    tries.words()
    assert becomes(tries, DONE, SILENT) == Again()
    tries = SecondTry()
    tries.words()
    tries.turn_over()
    assert becomes(tries, DONE, SILENT) is None, "of this turn there are no words yet"
    tries.words()
    assert tries.was_no_noise()
    assert not SecondTry().was_no_noise()


def test_what_is_wrong_with_a_reply_is_told_whatever_becomes_of_it() -> None:
    tries = SecondTry()
    told = [tries.ended(event, SILENT, (), caller_speaks=False).trouble for event in (FAILED, INCOMPLETE, INCOMPLETE)]
    assert told == ["failed: why", "incomplete: why", "incomplete: why"]
    assert tries.ended(DONE, VOICE, (), caller_speaks=False).trouble == ""
