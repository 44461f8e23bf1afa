"""How well callers interrupt: whole calls in virtual time, each with a labelled sound on the line while the agent speaks.

    python -m tests.bench.barge_in [--json] [--settings model,local,undo] [--only TEXT] [--each]

Plays every sound of `voices.py` with each setting of `call.barge_in`, through the real server between both loopback ends, and
prints a table. The same figures come out each time. The loopback model hears what is louder than its surroundings for 200 ms,
whatever it is, 50 to 75 ms away; its transcriber needs 400 ms after the turn. What each of the calls did is shown by --each; a
call does the same with --only.
"""

import argparse
import functools
import json
import random
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import attrs
import structlog
import trio

from actors.mulaw import BYTES_PER_MS, envelope
from conf.prompts import load_prompt
from conf.settings import Call as CallSettings
from conf.settings import Crm, Settings
from tests.bench.voices import AGENT, Sound, has_espeak, the_set
from transport.loopback.caller import AwaitAgent, AwaitQuiet, Do, HangUp, Speak, Step, Wait
from transport.loopback.carrier import CarriedCall
from transport.loopback.model import LoopbackModel
from transport.loopback.playback import Heard
from transport.loopback.scenario import default_settings
from transport.loopback.script import Faults, Prompted, Reply, Script, Speech, say
from transport.loopback.session_log import SessionLog
from transport.loopback.speech import line
from transport.loopback.stream import StreamFaults
from transport.loopback.virtual_time import run_virtually
from transport.loopback.wire import WireFaults, a_wire
from transport.loopback.world import World, a_world

SETTINGS = ("model", "local", "undo")
FRONT_DESK = Path(__file__).parents[1] / "kit" / "flows" / "front_desk.toml"
HEARS_AFTER_MS = 200
DIP = 4
TRANSCRIPT_MS = 400
WRITTEN_WITHIN = 1.2
"""Seconds after the sound in which a turn with it is over and written down; what is written later is the agent's echo."""
MODEL_AWAY = 0.05
"""Seconds to the model, each way; up to half as much again is drawn for each piece."""
FRAME = 0.02
BEGINS = 3.0
"""Seconds that the agent has been heard when the sound begins."""
ASKS = line("caller_hours")
GREETING = load_prompt("greeting")
LONG = Reply((Speech(AGENT.text, AGENT.audio),))
SHORT = Reply((say("agent_saturday"),))
GOES_ON = 4.5
"""Seconds of the call after the sound: whatever is to be decided is decided by then."""
SAMPLE_MS = 1 / BYTES_PER_MS
NEEDLE = 40 * BYTES_PER_MS
"""So much of a stretch is looked for in what the agent had to say."""


@attrs.define
class Ear:
    """What the loopback model holds for voice: whatever is louder than its surroundings have been for a while."""

    around: float = 0.5
    lasts: int = 0

    def hears(self, window: bytes) -> bool:
        """Whether 20 ms are voice. A dip between two syllables is."""
        level = envelope(window)
        voice = level >= max(13.0, 1.6 * self.around)
        self.around += (level - self.around) * (0.3 if level < self.around else 0.015)
        self.lasts = DIP if voice else self.lasts - 1
        return self.lasts > 0


@attrs.define
class Played:
    """One call: what was on its line, and what came of it. Times are Trio's, in seconds."""

    sound: Sound
    setting: str
    onset: float = 0.0
    notes: list[tuple[float, str, dict[str, Any]]] = attrs.field(factory=list)
    call: CarriedCall | None = None
    session: SessionLog | None = None
    said: bool = False
    """Whether the long reply has begun."""
    phase: int = 0
    """0: before the caller asks, 1: they have asked, 2: the sound has begun."""

    def times(self, *names: str) -> list[float]:
        """When something of these names was noted."""
        return [at for at, what, _ in self.notes if what in names]


@attrs.frozen
class Found:
    """What is measured in one call; None where it does not apply. Milliseconds, but for `speech`."""

    sound: Sound
    setting: str
    detected: float | None
    silent: float | None
    """From the onset until the caller heard nothing any more, of a reply that was cut."""
    spoke: bool
    """Whether the agent was in the middle of its reply when somebody took the floor."""
    cut: bool
    """Whether the reply was interrupted by what was on the line."""
    false: int
    """Interruptions although nobody took the floor."""
    speech: float
    """Seconds of the agent's that were heard."""
    pauses: tuple[float, ...]
    """In the middle of the reply."""
    skipped: tuple[float, ...]
    """For each pause after which the reply went on: what the caller never heard; negative: what they heard twice."""
    truncation: float | None
    """What the model was told that was heard, minus what was."""


def settings_for(barge_in: str) -> Settings:
    """The server's, with this one chosen."""
    settings = default_settings(str(FRONT_DESK))
    return attrs.evolve(settings, call=CallSettings(barge_in=barge_in), crm=Crm())


async def play(setting: str, sound: Sound, carrier_away: float = 0.0) -> Found:
    """One call. `carrier_away`: seconds to the carrier, each way."""
    chance = random.Random(sound.name)
    played = Played(sound, setting)

    def lay(kind: str) -> tuple[Any, Any]:
        return a_wire(WireFaults(delay=carrier_away if kind == "stream" else MODEL_AWAY), chance)

    def listen(_: str, what: str, values: dict[str, Any]) -> None:
        played.notes.append((trio.current_time(), what, values))

    def brain(prompted: Prompted) -> Reply:
        first = played.phase == 1 and not played.said
        played.said = played.said or first
        return LONG if first else SHORT

    def write(audio: bytes) -> str:
        if played.phase == 1:
            return ASKS.text
        over = played.onset + len(played.sound.audio) * SAMPLE_MS / 1000 + WRITTEN_WITHIN
        theirs = played.sound.takes and played.phase == 2 and trio.current_time() < over
        return played.sound.words if theirs else _echoed(played)

    faults = Faults(voice_after_ms=HEARS_AFTER_MS, transcript_delay_ms=TRANSCRIPT_MS)
    model = LoopbackModel([Script(writer=write, hears=Ear().hears)], brain=brain, faults=faults, api_key="sk-scenario")
    async with a_world(settings_for(setting), model, listener=listen, lay=lay) as world:
        await _call(world, played)
        played.session = model.sessions[0]
    return measure(played)


def _echoed(played: Played) -> str:
    """What a transcriber makes of the line when the caller says nothing but the sound: if the agent comes back, its words."""
    if not played.sound.echo_gain:
        return played.sound.words
    said = [str(values["text"]) for _, what, values in played.notes if what == "agent_words"]
    return " ".join((said[-1] if said else GREETING.words).split()[-6:])


async def _call(world: World, played: Played) -> None:
    sound = played.sound

    async def asks() -> None:
        played.phase = 1
        await trio.lowlevel.checkpoint()

    async def begins() -> None:
        played.phase = 2
        played.onset = trio.current_time() + sound.onset - FRAME  # a frame comes when its last sample is over
        await trio.lowlevel.checkpoint()

    later = random.Random(sound.name).uniform(0, 0.5)
    steps: list[Step] = [AwaitQuiet(1.5, at_most=10), Do(asks), Speak(ASKS.audio), AwaitAgent(BEGINS + later, 8)]
    steps += [Do(begins), *([Speak(sound.audio)] if sound.audio else []), Wait(GOES_ON)]
    faults = StreamFaults(line_echo_gain=sound.echo_gain, line_echo_delay=sound.echo_delay)
    with trio.fail_after(120):
        played.call = await world.carrier.place_call([*steps, HangUp()], faults=faults)
    await trio.sleep(12)


# ---------------------------------------------------------------- one call


def measure(played: Played) -> Found:
    """What is to be found in it."""
    assert played.call is not None
    assert played.session is not None
    sound, onset = played.sound, played.onset
    heard = [piece for stream in played.call.streams for piece in stream.playback.heard]
    item = next((name for name, audio in played.session.speech.items() if _is_of(audio, AGENT.audio)), "")
    interrupted = [(at, values) for at, what, values in played.notes if what == "interrupted"]
    mine = [at for at, values in interrupted if values["item"] == item and at >= onset] if sound.takes else []
    pauses, skipped, until = _stretches(heard, AGENT.audio)
    began = [at for at, what, values in played.notes if what == "item_began" and values["item"] == item]
    spoke = bool(began) and not any(values["item"] == item and at < onset for at, values in interrupted)
    detected = [at for at in played.times("suspected", "caller_speaks") if at >= onset]
    told = [ms for name, ms in played.session.truncations if name == item]
    silent = next((end for begin, end in _sounding(heard) if begin <= onset < end), onset)
    return Found(
        sound=sound,
        setting=played.setting,
        detected=1000 * (detected[0] - onset) if detected and sound.takes and spoke else None,
        silent=1000 * (silent - onset) if mine else None,
        spoke=spoke,
        cut=bool(mine),
        false=len(interrupted) - len(mine),
        speech=sum(len(piece.audio) for piece in heard) / BYTES_PER_MS / 1000,
        pauses=tuple(1000 * pause for pause in pauses),
        skipped=tuple(skipped),
        truncation=told[0] - until / BYTES_PER_MS if told and mine else None,
    )


def _is_of(audio: bytes | bytearray, whole: bytes) -> bool:
    return bool(audio) and whole.startswith(bytes(audio))


def _sounding(heard: Iterable[Heard]) -> list[tuple[float, float]]:
    """From when until when there was sound without a gap."""
    spans: list[tuple[float, float]] = []
    for piece in heard:
        end = piece.at + len(piece.audio) / BYTES_PER_MS / 1000
        if spans and piece.at - spans[-1][1] < 1e-4:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((piece.at, end))
    return spans


def _stretches(heard: Sequence[Heard], whole: bytes) -> tuple[list[float], list[float], int]:
    """The pauses in `whole`, in seconds; what was left out (or, below 0, said twice) at each, in ms; how far it was heard."""
    audio = b"".join(piece.audio for piece in heard)
    spans, at = [], 0
    for begin, end in _sounding(heard):
        size = round((end - begin) * BYTES_PER_MS * 1000)
        spans.append((begin, end, audio[at : at + size]))
        at += size
    pauses: list[float] = []
    skipped: list[float] = []
    until, last = 0, 0.0
    for begin, end, said in spans:
        start = 0
        if not until:  # the reply may follow on something else without a gap
            start = said.find(whole[:NEEDLE])
            if start < 0:
                continue
            where = 0
        else:
            where = until if whole[until:].startswith(said[:NEEDLE]) else _nearest(whole, said[:NEEDLE], until)
            if where < 0:
                continue
            pauses.append(begin - last)
            skipped.append((where - until) / BYTES_PER_MS)
        until, last = where + _alike(said[start:], whole[where:]), end
    return pauses, skipped, until


def _nearest(whole: bytes, needle: bytes, near: int) -> int:
    """Where `needle` is in `whole`, as near to `near` as it can be; -1 if it is not."""
    before, after = whole.rfind(needle, 0, near + len(needle)), whole.find(needle, near)
    found = [at for at in (before, after) if at >= 0]
    if len(needle) < NEEDLE:  # too short to be known again elsewhere
        found = [at for at in found if abs(at - near) <= BYTES_PER_MS]
    return min(found, key=lambda at: abs(at - near), default=-1)


def _alike(one: bytes, other: bytes) -> int:
    """How many bytes they have in common from the beginning."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


# ---------------------------------------------------------------- the table


def spread(values: Sequence[float], *parts: float) -> list[float | None]:
    """Quantiles of `values`; None where there are none."""
    ordered = sorted(values)
    return [round(ordered[min(int(part * len(ordered)), len(ordered) - 1)], 1) if ordered else None for part in parts]


def row(founds: Sequence[Found]) -> dict[str, Any]:
    """The figures of some calls with one setting."""
    floor = [found for found in founds if found.sound.takes and found.spoke]
    nobody = [found for found in founds if not found.sound.takes]
    minutes = sum(found.speech for found in founds) / 60
    false = sum(found.false for found in founds)
    resumed = [ms for found in founds for ms in found.skipped]
    return {
        "calls": len(founds),
        "detected_ms": spread([found.detected for found in floor if found.detected is not None], 0.5, 0.95),
        "silent_ms": spread([found.silent for found in floor if found.silent is not None], 0.5, 0.95),
        "missed": round(sum(not found.cut for found in floor) / len(floor), 3) if floor else None,
        "false": false,
        "false_per_minute": round(false / minutes, 2),
        "false_calls": round(sum(bool(found.false) for found in nobody) / len(nobody), 3) if nobody else None,
        "pauses": sum(len(found.pauses) for found in nobody),
        "pause_ms": spread([pause for found in nobody for pause in found.pauses], 0.5, 0.95),
        "resumed": len(resumed),
        "resumed_off_ms": [round(min(resumed), 1), round(max(resumed), 1)] if resumed else [None, None],
        "truncation_ms": spread([found.truncation for found in floor if found.truncation is not None], 0.0, 1.0),
    }


def table(founds: Sequence[Found]) -> dict[str, Any]:
    """For each setting the row of all calls, and the rows of each kind of sound."""
    found_in = dict.fromkeys(found.setting for found in founds)
    rows: dict[str, Any] = {}
    for setting in found_in:
        own = [found for found in founds if found.setting == setting]
        kinds = dict.fromkeys(found.sound.kind for found in own)
        of_kind = {kind: row([found for found in own if found.sound.kind == kind]) for kind in kinds}
        rows[setting] = {"all": row(own), "kinds": of_kind}
    return rows


HEAD = """\
| setting | sound | calls | detected, ms p50 / p95 | silent, ms p50 / p95 | missed | false a minute | false, of calls | paused for, ms p50 / p95 (times) | resumed off by, ms | truncation error, ms |
|---|---|---|---|---|---|---|---|---|---|---|"""  # noqa: E501 - the head of a table


def line_of(setting: str, kind: str, figures: dict[str, Any]) -> str:
    """A row for people."""

    def pair(name: str, between: str = " / ") -> str:
        values = figures[name]
        if values[0] is None:
            return ""
        return between.join(f"{value:.1f}" if between != " / " else f"{value:.0f}" for value in values)

    def share(name: str) -> str:
        return "" if figures[name] is None else f"{100 * figures[name]:.0f} %"

    pause = f"{pair('pause_ms')} ({figures['pauses']})" if figures["pauses"] else ""
    cells = (
        setting,
        kind,
        str(figures["calls"]),
        pair("detected_ms"),
        pair("silent_ms"),
        share("missed"),
        f"{figures['false_per_minute']:.2f}",
        share("false_calls"),
        pause,
        pair("resumed_off_ms", " … "),
        pair("truncation_ms", " … "),
    )
    return "| " + " | ".join(cells) + " |"


def text_of(rows: dict[str, Any]) -> str:
    """The table for people."""
    lines = [HEAD]
    lines += [line_of(setting, "all", found["all"]) for setting, found in rows.items()]
    for setting, found in rows.items():
        lines += [line_of(setting, kind, figures) for kind, figures in found["kinds"].items()]
    return "\n".join(lines)


def each(found: Found) -> str:
    """What one call did, in a line."""

    def of(value: float | None) -> str:
        return "-" if value is None else f"{value:.0f}"

    came = "cut " if found.cut else "MISSED " if found.sound.takes and found.spoke else ""
    went = ", ".join(f"{pause:.0f} ms, then {off:+.1f}" for pause, off in zip(found.pauses, found.skipped, strict=True))
    return (
        f"{found.setting:6}{found.sound.kind:15}{found.sound.name:64} heard after {of(found.detected):>5} "
        f"silent {of(found.silent):>5} "
        f"{came}false {found.false} truncation {of(found.truncation)} "
        f"paused: {went or '-'}"
    )


def measured(setting: str, sounds: Sequence[Sound], carrier_away: float = 0.0) -> list[Found]:
    """A call for each, in a world of its own: what one is like does not depend on the others."""
    return [run_virtually(functools.partial(play, setting, sound, carrier_away), seed=1) for sound in sounds]


def main() -> None:
    """Plays the set with each setting, and prints what came of it."""
    parser = argparse.ArgumentParser(description="Measures how well callers interrupt.")
    parser.add_argument("--settings", default=",".join(SETTINGS), help="of call.barge_in, as in local,undo")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--each", action="store_true", help="print a line for every call")
    parser.add_argument("--only", default="", metavar="TEXT", help="only sounds whose kind or name has this in it")
    parser.add_argument("--carrier-away", type=float, default=0.0, metavar="S", help="seconds to the carrier, each way")
    options = parser.parse_args()
    structlog.configure(processors=[_silence])
    if not has_espeak():
        print("!!! espeak-ng IS MISSING: only half of the set is played, and no real speech.", file=sys.stderr)
    sounds = [sound for sound in the_set() if options.only in f"{sound.kind} {sound.name}"]
    founds: list[Found] = []
    for setting in options.settings.split(","):
        founds += measured(setting, sounds, options.carrier_away)
    rows = table(founds)
    if options.each:
        print("\n".join(map(each, founds)))
    print(json.dumps({"espeak": has_espeak(), "settings": rows}) if options.json else text_of(rows))


def _silence(logger: Any, method: str, event: Any) -> Any:
    raise structlog.DropEvent


if __name__ == "__main__":
    main()
