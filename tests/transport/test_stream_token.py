"""Stream tokens: good for one call, for a while, and never fooled."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.messages import Before
from transport.stream_token import BadToken, StreamTokens

NOW = 1_800_000_000.0
CALL = "CA" + "1" * 32
OTHER = "CA" + "2" * 32


def tokens(at: float = NOW, auth_token: str = "secret", seconds: float = 60.0) -> StreamTokens:
    return StreamTokens(auth_token, seconds, lambda: at)


@pytest.mark.parametrize("before", Before)
@pytest.mark.parametrize("outcome", ["", "busy", "no-answer", "failed", "refused"])
def test_a_fresh_token_is_good_for_its_call_and_says_what_was_before(before: Before, outcome: str):
    token = tokens().check(tokens().make(CALL, before=before, outcome=outcome), CALL)
    assert token.before is before
    assert token.outcome == outcome
    assert token.expires == NOW + 60


@pytest.mark.parametrize(
    ("number", "kept"),
    [
        ("+14155550123", "+14155550123"),
        ("anonymous", ""),
        ("client:bob", ""),
        ("", ""),
        ("+1.2", ""),
        ("+" + "1" * 40, ""),
    ],
)
def test_a_token_carries_the_numbers_that_are_numbers(number: str, kept: str):
    token = tokens().check(tokens().make(CALL, caller=number, called="+15550001111"), CALL)
    assert (token.caller, token.called) == (kept, "+15550001111")


def test_a_token_is_no_good_for_another_call():
    for call in (OTHER, "", CALL.lower(), CALL[:-1], CALL + "1"):
        with pytest.raises(BadToken):
            tokens().check(tokens().make(CALL), call)


@pytest.mark.parametrize(("later", "good"), [(0, True), (59, True), (60, True), (61, False), (1e9, False)])
def test_a_token_is_good_until_it_expires(later: float, good: bool):
    token = tokens().make(CALL)
    if good:
        tokens(NOW + later).check(token, CALL)
    else:
        with pytest.raises(BadToken, match="too old"):
            tokens(NOW + later).check(token, CALL)


def test_a_token_of_another_account_is_forged():
    with pytest.raises(BadToken, match="forged"):
        tokens().check(tokens(auth_token="other").make(CALL), CALL)


def test_any_worker_can_check_a_token():
    assert tokens().check(tokens().make(CALL), CALL)


def test_every_token_is_another():
    made = [tokens().make(CALL) for _ in range(200)]
    assert len({tokens().check(token, CALL).nonce for token in made}) == 200


def test_a_token_fits_into_a_parameter():
    token = tokens().make(CALL, before=Before.CUT_OFF)
    assert len(token) < 100
    assert token.isascii()
    assert all(c.isalnum() or c in "._-=" for c in token)


@given(st.integers(0, 99), st.characters())
def test_a_token_with_one_character_changed_is_forged(at: int, character: str):
    token = tokens().make(CALL)
    at %= len(token)
    if character == token[at]:
        return
    with pytest.raises(BadToken):
        tokens().check(token[:at] + character + token[at + 1 :], CALL)


@pytest.mark.parametrize("field", [0, 2])
def test_neither_expiry_nor_resumption_can_be_changed(field: int):
    parts = tokens().make(CALL).split(".")
    parts[field] = {0: str(int(NOW) + 10**6), 2: "r"}[field]
    with pytest.raises(BadToken):
        tokens().check(".".join(parts), CALL)


@given(st.text() | st.lists(st.text(max_size=8), max_size=6).map(".".join), st.text(max_size=40))
def test_garbage_is_a_bad_token_and_nothing_worse(token: str, call_sid: str):
    with pytest.raises(BadToken):
        tokens().check(token, call_sid)


@pytest.mark.parametrize("token", ["", ".", "...", "....", "1.2.n.", f"{'9' * 5000}.a.n.x", "²..n.x", "\x00"])
def test_odd_garbage_is_a_bad_token_too(token: str):
    with pytest.raises(BadToken):
        tokens().check(token, CALL)
