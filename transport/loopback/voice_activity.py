"""Voice activity on the appended audio itself, not on time: without further bytes a turn never ends. Pure."""

from collections.abc import Callable

import attrs

from actors.mulaw import BYTES_PER_MS, loudness

WINDOW = 20 * BYTES_PER_MS
ONSET_WINDOWS = 3
"""Voice for 60 ms is speech; a click is not."""
EAGERNESS_MS = {"low": 1500, "medium": 800, "high": 400, "auto": 800}


@attrs.frozen
class Started:
    """Speech began; `at_ms` of audio in the session, the prefix padding taken off."""

    at_ms: int


@attrs.frozen
class Stopped:
    """The turn is over; `at_ms` includes the silence that ended it."""

    at_ms: int


@attrs.define
class VoiceActivity:
    """Listens to one session's audio with its turn detection settings (None: nobody listens)."""

    settings: dict[str, object] | None
    onset_windows: int = ONSET_WINDOWS
    hears: Callable[[bytes], bool] | None = None
    """Whether a window is voice, instead of how loud it is."""
    _rest: bytes = b""
    _heard_ms: int = 0
    _voiced: int = 0
    _quiet_ms: int = 0
    speaking: bool = False

    def listen(self, audio: bytes) -> list[Started | Stopped]:
        """What `audio`, µ-law bytes, brings about."""
        found: list[Started | Stopped] = []
        self._rest += audio
        while len(self._rest) >= WINDOW:
            window, self._rest = self._rest[:WINDOW], self._rest[WINDOW:]
            self._heard_ms += 20
            if self.settings is not None and (event := self._window(window)):
                found.append(event)
        return found

    def forget(self) -> None:
        """The audio is gone from the buffer: a turn that had begun does not end."""
        self.speaking, self._voiced, self._quiet_ms = False, 0, 0

    def _window(self, window: bytes) -> Started | Stopped | None:
        assert self.settings is not None
        threshold = self.settings.get("threshold", 0.5)
        assert isinstance(threshold, int | float)
        voiced = self.hears(window) if self.hears is not None else loudness(window) >= 1 + 3 * threshold
        if not self.speaking:
            self._voiced = self._voiced + 1 if voiced else 0
            if self._voiced < self.onset_windows:
                return None
            self.speaking, self._quiet_ms = True, 0
            return Started(max(0, self._heard_ms - 20 * self.onset_windows - self._number("prefix_padding_ms", 300)))
        self._quiet_ms = 0 if voiced else self._quiet_ms + 20
        if self._quiet_ms < self._silence_ms():
            return None
        self.speaking, self._voiced = False, 0
        return Stopped(self._heard_ms)

    def _silence_ms(self) -> int:
        assert self.settings is not None
        if self.settings.get("type") == "semantic_vad":
            return EAGERNESS_MS[str(self.settings.get("eagerness", "auto"))]
        return self._number("silence_duration_ms", 200)

    def _number(self, key: str, default: int) -> int:
        value = (self.settings or {}).get(key, default)
        return value if isinstance(value, int) else default
