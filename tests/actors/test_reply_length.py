"""A reply that does not end is broken off at exactly its limit, and how much was said of an item is known then."""

from hypothesis import given
from hypothesis import strategies as st

from actors.messages import ReplyAudio
from actors.reply_length import ReplyLength


def audio(size: int, item: str = "i1", reply: str = "r1") -> ReplyAudio:
    return ReplyAudio(reply, item, b"x" * size)


@given(st.lists(st.tuples(st.integers(1, 400), st.sampled_from(["i1", "i2"])), max_size=40), st.integers(1, 3000))
def test_never_more_is_said_than_the_limit_and_nothing_is_held_back_before(
    deltas: list[tuple[int, str]], limit: int
) -> None:
    length, said, came = ReplyLength(limit), 0, 0
    for size, item in deltas:
        if length.broken_off("r1"):
            break
        said, came = said + length.take(audio(size, item)), came + size
        assert said == min(came, limit)
        assert length.broken_off("r1") == (came > limit)
    assert length.ended("r1") == (said, came > limit)


def test_what_was_said_of_the_last_item_is_known_across_deltas_and_up_to_the_limit() -> None:
    length = ReplyLength(1000)
    assert [length.take(audio(300)), length.take(audio(300, "i2")), length.take(audio(300, "i2"))] == [300, 300, 300]
    assert length.said_of("i2") == 600
    assert length.take(audio(300, "i2")) == 100
    assert (length.said_of("i2"), length.said_of("i1")) == (700, 0)


def test_each_reply_has_its_own_limit_and_is_forgotten_when_it_ended() -> None:
    length = ReplyLength(500)
    assert not length.began("r1")
    assert [length.take(audio(500)), length.take(audio(500, reply="r2"))] == [500, 500]
    assert length.began("r1")
    assert length.ended("r1") == (500, False)
    assert not length.began("r1")
    assert length.ended("r1") == (0, False)
