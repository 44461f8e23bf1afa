"""What the next session hears of the caller's, and how that is told from what they say to it."""

import pytest

from actors.ear import Ear
from actors.handover import Handover
from actors.messages import CallerAudio
from actors.mulaw import to_base64
from actors.rehearing import Rehearing
from actors.waiting import HEARD_LATE

LOUD, QUIET = b"\x10" * 160, b"\xff" * 160
TURN_ENDS = 0.5


def new() -> Rehearing:
    return Rehearing(Ear(0.8), Ear(0.8, sharp=True))


def left_with(*turns: str) -> Handover:
    """What a session leaves that heard these turns, a second each, and wrote none of them down."""
    handover, now = Handover(1000), 0.0
    for turn in turns:
        handover.turn_began(turn, now)
        for _ in range(50):
            now += 0.02
            handover.sent((CallerAudio(to_base64(LOUD), round(now * 1000)),), now)
        handover.turn_over(now)
    return handover


def lost(rehearing: Rehearing, left: Handover, *, in_silence: bool = True) -> None:
    rehearing.session_lost(left, Ear(0.8), Ear(0.8, sharp=True), in_silence=in_silence)


def test_a_turn_that_was_told_of_is_known_again_under_its_new_name() -> None:
    rehearing = new()
    rehearing.told = "u1"
    lost(rehearing, left_with("u1"))
    rehearing.begins(10.0)
    rehearing.turn_began("v1", 10.2, TURN_ENDS)
    rehearing.turn_began("v2", 10.4, TURN_ENDS)
    assert [rehearing.named_before(item) for item in ("v1", "v2", "")] == ["u1", "", ""]


@pytest.mark.parametrize(("told", "after"), [("u0", 0.2), ("u1", TURN_ENDS + HEARD_LATE + 0.1)])
def test_what_nobody_was_told_of_or_what_begins_later_is_a_new_turn(told: str, after: float) -> None:
    rehearing = new()
    rehearing.told = told
    lost(rehearing, left_with("u1"))
    rehearing.begins(10.0)
    rehearing.turn_began("v1", 10.0 + after, TURN_ENDS)
    assert rehearing.named_before("v1") == ""


def test_a_session_that_is_lost_before_it_heard_the_turn_leaves_it_to_the_next() -> None:
    rehearing = new()
    rehearing.told = "u1"
    lost(rehearing, left_with("u1"))
    rehearing.begins(10.0)
    second = Handover(1000)
    second.unnoticed_since(10.0)
    second.sent((CallerAudio(to_base64(LOUD), 0),), 10.0)
    lost(rehearing, second)
    rehearing.begins(12.0)
    rehearing.turn_began("w1", 12.2, TURN_ENDS)
    assert rehearing.named_before("w1") == "u1"


def test_what_is_to_be_heard_again_is_given_out_once() -> None:
    rehearing = new()
    frames = [CallerAudio(to_base64(LOUD), 0)]
    rehearing.again = list(frames)
    assert [rehearing.begins(1.0), rehearing.begins(2.0)] == [frames, []]


@pytest.mark.parametrize("over", [False, True])
def test_who_speaks_in_a_gap_is_heard_and_it_is_known_if_it_was_over_the_agent(over: bool) -> None:
    rehearing = new()
    lost(rehearing, left_with(), in_silence=False)
    now, spoke = 5.0, False
    for _ in range(25):
        now += 0.02
        spoke = rehearing.hears(LOUD, now, over=over) or spoke
    assert spoke
    assert not rehearing.hears(QUIET, now + 0.02, over=over)
    rehearing.begins(now + 0.1)
    assert rehearing.is_late(now + 0.3, TURN_ENDS, now + 0.1) is not over
    assert not rehearing.is_late(now + 0.3, TURN_ENDS, now + 0.2), "they have spoken since"
    assert not rehearing.is_late(now + 2.0, TURN_ENDS, now + 0.1), "it would have been heard by now"
