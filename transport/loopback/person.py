"""The person on the telephone: a mouth, a finger on the keypad, an ear. Carries out its steps against the call's time."""

from collections.abc import Callable, Sequence

import trio

from actors.mulaw import BYTES_PER_MS, silence
from transport.loopback.caller import AwaitAgent, AwaitQuiet, Do, HangUp, Press, Speak, Step, Wait
from transport.loopback.playback import Heard

FRAME_MS = 20
FRAME_SILENCE = silence(FRAME_MS)
KEY_EVERY = 0.3
"""Seconds from one key to the next."""


class Person:
    """Steps on one side; on the other whoever carries the voice: `frame` is asked for 50 times a second in a stream."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = steps
        self._mouth = bytearray()
        self._heeded = True
        self._awaited: Callable[[], bool] | None = None
        """What the next step waits for."""
        self._came = trio.Event()
        self._audible_since: float | None = None
        self._quiet_since: float | None = None
        self._keys, self.keys = trio.open_memory_channel[str](64)
        self.gone = trio.Event()
        """Set when the phone is put down."""
        self.said: list[Heard] = []

    async def live(self) -> None:
        """Carries the steps out, then stays on the line."""
        for step in self._steps:
            await self._do(step)

    async def _do(self, step: Step) -> None:
        if isinstance(step, Speak):
            seconds = len(step.audio) / BYTES_PER_MS / 1000
            if self._heeded:
                self._mouth += step.audio
                with trio.move_on_after(seconds + 30):
                    await self._until(lambda: not self._mouth)
            else:
                await trio.sleep(seconds)
        elif isinstance(step, AwaitAgent):
            with trio.move_on_after(step.at_most):
                await self._until(lambda: self._for(self._audible_since, step.seconds))
        elif isinstance(step, AwaitQuiet):
            with trio.move_on_after(step.at_most):
                await self._until(lambda: self._audible_since is not None)
                await self._until(lambda: self._for(self._quiet_since, step.seconds))
        elif isinstance(step, Press):
            for digit in step.digits:
                await self._keys.send(digit)
                await trio.sleep(KEY_EVERY)
        elif isinstance(step, Wait):
            await trio.sleep(step.seconds)
        elif isinstance(step, Do):
            await step.action()
        elif isinstance(step, HangUp):
            self.gone.set()

    async def _until(self, done: Callable[[], bool]) -> None:
        if done():
            return
        self._awaited, self._came = done, trio.Event()
        await self._came.wait()

    def _for(self, since: float | None, seconds: float) -> bool:
        return since is not None and trio.current_time() - since >= seconds - 1e-6

    # ------------------------------------------------------------ for whoever carries the call

    def hear(self, audible: bool) -> None:
        """What the ear notices now; called at every frame, or often enough."""
        now = trio.current_time()
        if audible:
            self._audible_since = now if self._audible_since is None else self._audible_since
            self._quiet_since = None
        else:
            if self._audible_since is not None:
                self._quiet_since = now
            self._audible_since = None
        if self._awaited is not None and self._awaited():
            self._awaited = None
            self._came.set()

    def heeded(self, yes: bool) -> None:
        """Whether a stream carries the voice; where none does, words are lost."""
        self._heeded = yes
        if not yes:
            self._mouth.clear()
            self.hear(False)

    def frame(self) -> bytes:
        """The next 20 ms of the voice: speech if there is some to say, else silence."""
        size = FRAME_MS * BYTES_PER_MS
        if not self._mouth:
            return FRAME_SILENCE
        audio = bytes(self._mouth[:size])
        del self._mouth[:size]
        self.said.append(Heard(trio.current_time(), audio))
        return audio + FRAME_SILENCE[len(audio) :]
