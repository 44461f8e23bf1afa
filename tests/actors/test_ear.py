"""The ear: an utterance that the model says nothing to is noticed, noise and answered words are not."""

from hypothesis import given
from hypothesis import strategies as st

from actors.ear import PLAIN_MS, REST_MS, SPEECH_MS, SYLLABLE_MS, Ear
from actors.mulaw import decode, from_base64, loudness, silence, to_base64

LOUD = to_base64(bytes([0x00, 0x80] * 80))
QUIET = to_base64(silence(20))


def listen(ear: Ear, payload: str, ms: int, now: float) -> tuple[float, int]:
    """`ms` of `payload` from `now` on: the time afterwards, and how often an utterance was made of it."""
    made = 0
    for _ in range(ms // 20):
        made += ear.listen(from_base64(payload), now)
        now += 0.02
    return now, made


def test_an_utterance_is_made_once_and_left_open_from_its_last_loud_frame():
    ear = Ear(0.8)
    now, made = listen(ear, LOUD, 1000, 5.0)
    assert made == 1
    listen(ear, QUIET, 1000, now)
    assert ear.unanswered_since is not None
    assert abs(ear.unanswered_since - (now - 0.02)) < 1e-6


def test_silence_and_clicks_are_no_utterance():
    ear = Ear(0.8)
    now, made = listen(ear, QUIET, 60_000, 0.0)
    _, clicks = listen(ear, LOUD, SPEECH_MS - 20, now)
    assert made == clicks == 0
    assert ear.unanswered_since is None


def test_a_sign_of_life_closes_what_was_open_and_the_next_utterance_counts_anew():
    ear = Ear(0.8)
    now, _ = listen(ear, LOUD, 1000, 0.0)
    ear.sign_of_life()
    assert ear.unanswered_since is None
    assert listen(ear, LOUD, 1000, now)[1] == 1


def test_syllables_are_plain_and_keys_that_are_typed_are_not():
    ear, now = Ear(0.8), 0.0
    for _ in range(50):
        now, _ = listen(ear, LOUD, SYLLABLE_MS - 20, now)
        now, _ = listen(ear, QUIET, 60, now)
    assert ear.unanswered_since is not None
    assert not ear.plain
    for _ in range(PLAIN_MS // SYLLABLE_MS):
        assert not ear.plain
        now, _ = listen(ear, LOUD, SYLLABLE_MS, now)
        now, _ = listen(ear, QUIET, 60, now)
    assert ear.plain


def test_what_somebody_else_heard_is_plain():
    ear = Ear(0.8)
    ear.heard(1.0, 2.0)
    assert ear.plain
    ear.sign_of_life()
    assert not ear.plain


def test_nothing_is_plain_a_second_time_before_the_line_was_at_rest_or_somebody_else_heard_the_caller():
    for confirmed, quiet, plain in ((False, REST_MS - 20, False), (False, REST_MS, True), (True, 20, True)):
        ear = Ear(0.8)
        now, _ = listen(ear, LOUD, 1000, 0.0)
        ear.vouch()
        ear.sign_of_life()
        now, _ = listen(ear, QUIET, quiet, now)
        if confirmed:
            ear.confirmed()
        listen(ear, LOUD, 1000, now)
        assert ear.plain is plain


@given(st.binary(max_size=2000))
def test_any_payload_has_a_loudness_and_comes_back_as_it_was(audio: bytes):
    assert 0 <= loudness(audio) <= 255
    assert from_base64(to_base64(audio)) == audio
    assert len(decode(audio)) == len(audio)


@given(st.integers(1, 100))
def test_silence_is_silent(ms: int):
    assert loudness(silence(ms)) == 0
    assert set(decode(silence(ms))) == {0}
    assert len(silence(ms)) == 8 * ms


def test_asking_again_does_not_put_off_what_was_left_open():
    ear = Ear(0.8)
    now, _ = listen(ear, LOUD, 400, 0.0)
    first = ear.unanswered_since
    for _ in range(5):
        now, _ = listen(ear, QUIET, 2000, now)
        now, _ = listen(ear, LOUD, 400, now)
    assert ear.unanswered_since == first


def test_a_breath_is_no_end_of_an_utterance():
    ear = Ear(0.8)
    now, _ = listen(ear, LOUD, 400, 0.0)
    now, _ = listen(ear, QUIET, 700, now)
    now, _ = listen(ear, LOUD, 400, now)
    assert ear.unanswered_since is not None
    assert abs(ear.unanswered_since - (now - 0.02)) < 1e-6
