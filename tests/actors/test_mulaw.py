"""µ-law: what is encoded is what was decoded, and as near to any sample as its steps are small."""

from hypothesis import given
from hypothesis import strategies as st

from actors import mulaw


def test_every_byte_is_the_code_of_its_own_sample_but_the_negative_zero():
    codes = bytes(range(256))
    assert mulaw.encode(mulaw.decode(codes)) == codes.replace(b"\x7f", b"\xff")


@given(st.integers(-32_124, 32_124))
def test_a_sample_comes_back_within_half_a_step(sample: int):
    (again,) = mulaw.decode(mulaw.encode([sample]))
    assert abs(again - sample) <= max(4, (abs(sample) + 132) / 32)


def test_what_is_louder_than_full_scale_is_clipped():
    assert list(mulaw.decode(mulaw.encode([32_767, 40_000, -32_768, -40_000]))) == [32_124, 32_124, -32_124, -32_124]


def test_silence_is_the_code_of_zero():
    assert mulaw.encode([0] * 8) == mulaw.silence(1)
