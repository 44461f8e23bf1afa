"""Voice activity of the loopback model: judged on the bytes alone, in windows of 20 ms, whatever their packaging."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.mulaw import LINEAR, loudness, silence
from transport.loopback.speech import line
from transport.loopback.voice_activity import Started, Stopped, VoiceActivity


def sound(ms: int, level: int = 40) -> bytes:
    """`ms` of sound, as near to this loudness as one µ-law byte can be."""
    byte = min(range(256), key=lambda byte: abs((abs(LINEAR[byte]) >> 7) - level))
    return bytes([byte]) * (8 * ms)


LOUD, QUIET = sound(20), silence(20)


def server_vad(**settings: object) -> dict[str, object]:
    return {"type": "server_vad", "prefix_padding_ms": 0, "silence_duration_ms": 200, **settings}


def expected(voiced: Sequence[bool], prefix: int, quiet_ms: int) -> list[Started | Stopped]:
    """What is heard in windows of 20 ms, found by looking at the whole of it."""
    found: list[Started | Stopped] = []
    at, needed = 0, max(1, -(-quiet_ms // 20))
    while True:
        begins = next((i for i in range(at, len(voiced) - 2) if all(voiced[i : i + 3])), None)
        if begins is None:
            return found
        found.append(Started(max(0, begins * 20 - prefix)))
        first = begins + 3
        ends = next((i for i in range(first, len(voiced) - needed + 1) if not any(voiced[i : i + needed])), None)
        if ends is None:
            return found
        at = ends + needed
        found.append(Stopped(at * 20))


@given(
    voiced=st.lists(st.tuples(st.booleans(), st.integers(1, 12)), max_size=25),
    cuts=st.lists(st.integers(1, 900), max_size=60),
    prefix=st.sampled_from([0, 100, 300]),
    quiet_ms=st.sampled_from([20, 90, 200]),
)
def test_the_packaging_of_the_audio_makes_no_difference(
    voiced: list[tuple[bool, int]], cuts: list[int], prefix: int, quiet_ms: int
) -> None:
    windows = [loud for loud, times in voiced for _ in range(times)]
    audio = b"".join(LOUD if loud else QUIET for loud in windows)
    ear = VoiceActivity(server_vad(prefix_padding_ms=prefix, silence_duration_ms=quiet_ms))
    found: list[Started | Stopped] = []
    for cut in [*cuts, len(audio)]:
        found += ear.listen(audio[:cut])
        audio = audio[cut:]
    assert found == expected(windows, prefix, quiet_ms)
    assert ear.speaking == (bool(found) and isinstance(found[-1], Started))


@pytest.mark.parametrize(("ms", "heard"), [(20, False), (40, False), (60, True)])
def test_sixty_milliseconds_of_voice_are_speech_and_a_click_is_not(ms: int, heard: bool) -> None:
    ear = VoiceActivity(server_vad(silence_duration_ms=2000))
    ear.listen(silence(500))
    assert ear.listen(sound(ms) + silence(200)) == ([Started(500)] if heard else [])


def test_clicks_with_silence_between_them_never_add_up() -> None:
    ear = VoiceActivity(server_vad())
    assert ear.listen((sound(40) + silence(20)) * 50) == []


@pytest.mark.parametrize(("prefix", "at_ms"), [(0, 1000), (300, 700), (1000, 0), (5000, 0)])
def test_the_prefix_is_taken_off_but_not_beyond_the_beginning(prefix: int, at_ms: int) -> None:
    ear = VoiceActivity(server_vad(prefix_padding_ms=prefix))
    assert ear.listen(silence(1000) + sound(60)) == [Started(at_ms)]


def test_without_a_prefix_setting_it_is_300_ms() -> None:
    assert VoiceActivity({"type": "server_vad"}).listen(silence(1000) + sound(60)) == [Started(700)]


def test_a_turn_ends_with_the_silence_that_was_asked_for_and_counts_it() -> None:
    ear = VoiceActivity(server_vad(silence_duration_ms=500))
    ear.listen(sound(1000))
    assert ear.listen(silence(480)) == []
    assert ear.listen(silence(20)) == [Stopped(1500)]


def test_a_turn_ends_by_further_bytes_only() -> None:
    ear = VoiceActivity(server_vad())
    ear.listen(sound(300))
    for _ in range(1000):
        assert ear.listen(b"") == []
    assert ear.speaking
    assert ear.listen(silence(200)) == [Stopped(500)]


def test_a_word_within_the_silence_keeps_the_turn_open() -> None:
    ear = VoiceActivity(server_vad())
    ear.listen(sound(300) + silence(180) + sound(20))
    assert ear.listen(silence(180)) == []
    assert ear.listen(silence(20)) == [Stopped(700)]


def test_a_second_turn_needs_its_own_sixty_milliseconds() -> None:
    ear = VoiceActivity(server_vad())
    assert ear.listen(sound(100) + silence(200)) == [Started(0), Stopped(300)]
    assert ear.listen(sound(40) + silence(60)) == []
    assert ear.listen(sound(60)) == [Started(400)]


@pytest.mark.parametrize(("threshold", "lowest"), [(0, 1), (0.3, 2), (0.5, 3), (0.7, 4), (1.0, 4)])
def test_the_threshold_says_how_loud_a_voice_must_be(threshold: float, lowest: int) -> None:
    assert loudness(sound(20, lowest)) == lowest
    assert VoiceActivity(server_vad(threshold=threshold)).listen(sound(100, lowest)) == [Started(0)]
    assert VoiceActivity(server_vad(threshold=threshold)).listen(sound(100, lowest - 1)) == []


@pytest.mark.parametrize(("eagerness", "ms"), [("high", 400), ("medium", 800), ("auto", 800), ("low", 1500)])
def test_semantic_detection_waits_as_eagerly_as_it_was_told(eagerness: str, ms: int) -> None:
    ear = VoiceActivity({"type": "semantic_vad", "eagerness": eagerness})
    ear.listen(sound(100))
    assert ear.listen(silence(ms - 20)) == []
    assert ear.listen(silence(20)) == [Stopped(100 + ms)]


def test_nobody_listens_without_turn_detection_yet_the_clock_of_the_audio_goes_on() -> None:
    ear = VoiceActivity(None)
    assert ear.listen(sound(500) + silence(500)) == []
    ear.settings = server_vad()
    assert ear.listen(sound(60)) == [Started(1000)]


@pytest.mark.parametrize("name", ["caller_hours", "caller_interrupt", "caller_bye", "caller_human"])
@pytest.mark.parametrize("settings", [server_vad(silence_duration_ms=700), {"type": "semantic_vad"}])
def test_a_recorded_line_is_one_turn(name: str, settings: dict[str, Any]) -> None:
    found = VoiceActivity(settings).listen(line(name).audio + silence(2000))
    assert [type(event) for event in found] == [Started, Stopped]


def test_who_hears_for_themselves_decides_what_is_voice_and_how_much_of_it_is_speech() -> None:
    ear = VoiceActivity(server_vad(), onset_windows=5, hears=lambda window: window == QUIET)
    assert ear.listen(LOUD * 20 + QUIET * 4 + LOUD * 20) == []
    assert ear.listen(QUIET * 5) == [Started(44 * 20)]
    assert ear.listen(LOUD * 10) == [Stopped(59 * 20)]
