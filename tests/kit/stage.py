"""An InterruptWatcher at work: the line that it hears, the agent that it holds, and those it tells."""

from collections.abc import Iterable

import attrs
import trio
from trio.testing import wait_all_tasks_blocked

from actors.interrupt import BargeIn, InterruptWatcher
from actors.mailbox import Mailbox, WhenFull
from actors.messages import CallerAudio, Floor, FloorRule, Judged
from actors.mulaw import silence, to_base64
from tests.kit.voices import frames, hum
from transport.loopback.speech import syllables

QUIET = to_base64(silence(20))
FRAME = 0.02


@attrs.define
class FakeSpeaker:
    """An agent that speaks until it is stopped."""

    did: list[tuple[float, str]] = attrs.field(factory=list)
    speaks: bool = True
    rule: FloorRule = FloorRule.OPEN
    left: float = 10.0
    whole: bool = True
    words: str = "We are open from nine"

    def _note(self, what: str) -> None:
        self.did.append((round(trio.current_time(), 3), what))

    def yield_floor(self, reason: Floor) -> None:
        self._note(f"yields: {reason.name}")
        self.speaks = False

    def hold(self) -> None:
        self._note("holds")

    def go_on(self) -> None:
        self._note("goes on")

    def finish_sentence(self, reason: Floor) -> None:
        self._note("finishes")

    def audible(self) -> bool:
        return self.speaks

    def floor(self) -> FloorRule:
        return self.rule

    def unheard_seconds(self) -> float:
        return self.left if self.speaks else 0.0

    def ends_within(self, seconds: float) -> bool:
        return self.whole and self.unheard_seconds() < seconds

    def saying(self) -> str:
        return self.words

    def said_lately(self) -> str:
        return self.words

    @property
    def doings(self) -> list[str]:
        return [what for _, what in self.did]


@attrs.define
class Stage:
    """A watcher that runs, on a line of which is known that it has no echo."""

    watcher: InterruptWatcher
    speaker: FakeSpeaker
    link: Mailbox[Judged]

    async def hears(self, audio: bytes | Iterable[str], seconds: float = 0.0) -> None:
        """The caller's line delivers this, and then quiet up to `seconds`."""
        payloads = list(frames(audio) if isinstance(audio, bytes) else audio)
        payloads += [QUIET] * max(0, round(seconds / FRAME) - len(payloads))
        for payload in payloads:
            await trio.sleep(FRAME)
            self.watcher.overhear(CallerAudio(payload, 0))
        await wait_all_tasks_blocked()

    @property
    def judged(self) -> list[bool]:
        return [message.taken for message in self.link.take_all()]


async def a_stage(
    nursery: trio.Nursery,
    manner: BargeIn = BargeIn.UNDO,
    *,
    settled: bool = True,
    transcribed: bool = True,
    turn_ends: float = 0.5,
    last_words: bool = False,
) -> Stage:
    watcher = InterruptWatcher(manner, transcribed=transcribed)
    stage = Stage(watcher, FakeSpeaker(), Mailbox("link", 100, WhenFull.FATAL))
    nursery.start_soon(watcher.run, stage.speaker, stage.link, lambda: turn_ends, lambda: last_words)
    await wait_all_tasks_blocked()
    if settled:
        await stage.hears(b"", 2.0)
    return stage


VOICE = syllables(2.0)
SHORT_WORD = syllables(0.35)
COUGH = hum(0.22)
