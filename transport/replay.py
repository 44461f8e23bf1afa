"""`triode replay`: a recorded call, played again on today's code in virtual time, and where it goes another way.

The call is made with the settings, the story and the time of the recording, and with today's flow of that name; what came in
comes in when it did (`replay_ports.py`). A recorder writes down what the call does now, and both recordings are compared, lane
by lane: the same things in the same order, at the same times within `TOLERANCE`. What came in answers what the call did
then; so after the first difference the rest may be its consequence.
"""

import datetime
import difflib
import itertools
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import attrs
import structlog
import trio

from actors.call import Call, CallPlan
from actors.messages import BYTES_PER_MS, Before, CallBegan
from conf import settings as conf
from conf.flow import Flow
from conf.flow_file import FOLDER, load_flow
from conf.prompts import Prompts, load_prompts
from transport.flight_file import IN, OUT, BadFlight, Entry, Flight, parse, read, unpacked
from transport.flight_recorder import FlightRecorder
from transport.loopback.timeline import Timeline
from transport.loopback.virtual_time import run_virtually
from transport.replay_ports import NoRecords, Outside
from transport.switchboard import plan as plan_of

TOLERANCE = 0.04
"""Seconds that something may be earlier or later than it was: two frames. A machine that was busy takes more."""
PIECE_MS = 100.0
"""Audio in one message to the carrier, if the recording does not say."""
MARKS_LATE = 0.2
"""Seconds besides, of a mark: it says where something was, and its own time tells nobody anything."""
LATE = 20.0
"""Seconds besides, of what waits for the store: the close of a stream, the end of a call."""
OVERTIME = 30.0
"""Seconds past the recording's end after which a call that goes on is ended."""
CUT_SHORT = 1.0
"""Seconds before the place where a recording was cut that are not compared any more."""
SHOWN_AT_MOST = 20
AROUND = (6.0, 3.0)
"""Seconds before and after the first difference that are shown."""
HUMAN = "+15550100000"
"""Takes the place of a human's number, which is in no recording."""
UNREADABLE = 2


@attrs.frozen
class Act:
    """Something that the call did. Two are the same if `lane` and `what` are; the rest is compared within limits."""

    at: float
    lane: str
    what: str
    ms: float = 0.0
    """Of speech: how much."""
    words: str = ""
    """What was heard of a text: it is cut by time, and may be a little longer or shorter."""
    slack: float = 0.0
    """Seconds that its time may be off besides."""
    until: float = 0.0
    """When it was over, if it lasted."""
    spare: float = 0.0
    """Of speech that was cut: ms that may be missing, as they were sent or not in the moment of the cut."""

    def __str__(self) -> str:
        much = f", {self.ms:.0f} ms" if self.ms else ""
        return f"{self.what}{much}{f': {self.words}' if self.words else ''}"


@attrs.frozen
class Difference:
    """Where today's call goes another way: what was then, what is now; "" for nothing."""

    at: float
    lane: str
    then: str
    now: str


@attrs.frozen
class Replay:
    """What came of it."""

    flight: Flight
    today: Flight
    differences: tuple[Difference, ...]
    """By time; the first one is what counts."""

    def __str__(self) -> str:
        until = self.flight.seconds if self.flight.cut is None else self.flight.cut
        cut = (
            "" if self.flight.cut is None else f" (cut there: the call went on for {self.flight.seconds - until:.0f} s)"
        )
        if not self.differences:
            return f"same behaviour, for {until:.1f} s{cut}"
        first = self.differences[0]
        many = "1 difference" if len(self.differences) == 1 else f"{len(self.differences)} differences"
        lines = [f"{many} in {until:.1f} s{cut}, the first at {first.at:.2f} s:"]
        lines += [_sentence(one) for one in self.differences[:SHOWN_AT_MOST]]
        if (more := len(self.differences) - SHOWN_AT_MOST) > 0:
            lines.append(f"… and {more} more")
        return "\n".join([*lines, "", str(_timeline(self, first.at))])

    def as_json(self) -> str:
        """For programs."""
        found = [attrs.asdict(one) for one in self.differences]
        head = self.flight.head
        return json.dumps(
            {
                "call_sid": head.call_sid,
                "stream_sid": head.stream_sid,
                "same": not found,
                "seconds": self.flight.seconds,
                "cut": self.flight.cut,
                "differences": found,
            }
        )


def run(path: Path, flow: str, tolerance: float, as_json: bool) -> int:
    """Replays the recording at `path` and prints the result: 0 if the call goes as it went, 1 if not, 2 if it cannot be read."""
    try:
        replayed = replay(read(path), flow, tolerance)
    except BadFlight as bad:
        print(bad, file=sys.stderr)
        return UNREADABLE
    print(replayed.as_json() if as_json else replayed)
    return 1 if replayed.differences else 0


def replay(flight: Flight, flow: str = "", tolerance: float = TOLERANCE) -> Replay:
    """Plays `flight`. `flow`: where today's flow is; empty: the one of the settings, or the shipped one of that name. Raises
    BadFlight."""
    here = _configured()
    try:
        prompts = load_prompts(here.audio.prompts)
    except conf.SettingsError as error:
        raise BadFlight(str(error)) from error
    call_plan = _plan(flight, _flow(flight.head.flow, flow or here.flow.path, prompts, chosen=bool(flow)), prompts)
    logged = structlog.get_config()
    structlog.configure(processors=[_silence])
    try:
        recorded = run_virtually(_play, flight, call_plan, seed=0)
    finally:
        structlog.configure(**logged)
    today = parse(unpacked(recorded))
    return Replay(flight, today, tuple(compare(flight, today, tolerance)))


def _flow(name: str, given: str, prompts: Prompts, *, chosen: bool) -> Flow:
    """Today's flow. A recording only names it: what is run is never chosen by a file that may come from anywhere."""
    try:
        flow = load_flow(given, prompts)
        for shipped in () if chosen or flow.name == name else sorted(FOLDER.glob("*.toml")):
            flow = flow if flow.name == name else load_flow(shipped.stem, prompts)
    except conf.SettingsError as error:
        raise BadFlight(str(error)) from error
    if flow.name != name:
        raise BadFlight(f"the call was one of the flow {name!r}, which is not here: give its file with --flow.")
    return flow


def _configured() -> conf.Settings:
    path = conf.config_path(os.environ)
    return conf.from_document(conf.read_document(path), os.environ, str(path))


def _plan(flight: Flight, flow: Flow, prompts: Prompts) -> CallPlan:
    """As the server makes it, from the settings of the recording; of those that are not known any more nothing is said."""
    document: dict[str, dict[str, Any]] = {}
    for section in ("model", "call", "audio"):
        known = {field.name for field in attrs.fields(conf.SECTIONS[section])}
        given = flight.head.settings.get(section, {})
        document[section] = {key: value for key, value in given.items() if key in known}
    document["call"]["human_number"] = HUMAN if flight.head.human else ""
    try:
        return plan_of(conf.from_document(document, {}, "the recording"), flow, prompts)
    except conf.SettingsError as error:
        raise BadFlight(str(error)) from error


async def _play(flight: Flight, call_plan: CallPlan) -> bytes:
    outside = Outside(flight)
    head = flight.head
    recorder = FlightRecorder(head, packed_at_most=2**30, text_at_most=2**30)
    flow = outside.errands.flow(call_plan.rules.flow)
    call_plan = attrs.evolve(call_plan, rules=attrs.evolve(call_plan.rules, flow=flow))
    try:
        began = CallBegan(Before(head.before), head.caller, head.story, head.outcome)
    except ValueError as error:
        raise BadFlight(f"line 1 is not what it should be: {error}.") from error
    call = Call(
        head.call_sid,
        head.stream_sid,
        recorder.plan(call_plan),
        recorder.carrier(outside.carrier),
        recorder.model(outside.model),
        NoRecords(),
        recorder.errands(outside.errands),
        recorder.listener(None),
        ear=recorder.ear(outside.ear),
        called=head.called,
        began=began,
        wall=datetime.datetime.fromisoformat(head.wall),
    )
    at_most = flight.seconds + OVERTIME if flight.cut is None else flight.cut
    with trio.move_on_after(at_most):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outside.tell, call)
            await call.run()
            nursery.cancel_scope.cancel("the call is over")
    return recorder.finish()


def _silence(logger: Any, method: str, event: Any) -> Any:
    raise structlog.DropEvent


# ---------------------------------------------------------------- comparing


def compare(then: Flight, now: Flight, tolerance: float = TOLERANCE) -> list[Difference]:
    """Where what the call does now is not what it did then, by time."""
    until = float("inf") if then.cut is None else then.cut - CUT_SHORT
    piece = float(then.head.settings.get("audio", {}).get("frame_ms", PIECE_MS))
    both = (_cut(_acts(flight), piece, tolerance) for flight in (then, now))
    before, after = ([act for act in acts if act.at <= until] for acts in both)
    found: list[Difference] = []
    for lane in sorted({act.lane for act in (*before, *after)}):
        found += _compared(
            [a for a in before if a.lane == lane], [a for a in after if a.lane == lane], until, tolerance
        )
    return sorted(found, key=lambda one: one.at)


def _cut(acts: list[Act], piece: float, tolerance: float) -> list[Act]:
    """The same, with what is to spare of speech whose last piece was sent when it was just being cut."""
    speech = [act for act in acts if act.lane == "speech"]
    at_once = {
        id(a) for a, b in itertools.pairwise(speech) if a.ms and b.what == "clear" and b.at - a.until <= tolerance
    }
    return [attrs.evolve(act, spare=piece) if id(act) in at_once else act for act in acts]


def _compared(then: Sequence[Act], now: Sequence[Act], until: float, tolerance: float) -> list[Difference]:
    """The differences of one lane."""
    found: list[Difference] = []
    matcher = difflib.SequenceMatcher(None, [act.what for act in then], [act.what for act in now], autojunk=False)
    for what, t0, t1, n0, n1 in matcher.get_opcodes():
        if what == "equal":
            pairs = zip(then[t0:t1], now[n0:n1], strict=True)
            found += [Difference(a.at, a.lane, f"{a} at {a.at:.2f} s", f"{b} at {b.at:.2f} s") for a, b in pairs
                      if not _alike(a, b, until, tolerance)]  # fmt: skip
            continue
        found += [Difference(act.at, act.lane, str(act), "") for act in then[t0:t1]]
        found += [Difference(act.at, act.lane, "", str(act)) for act in now[n0:n1]]
    return found


def _alike(then: Act, now: Act, until: float, tolerance: float) -> bool:
    if abs(then.at - now.at) > tolerance + then.slack:
        return False
    whole = max(then.until, now.until) <= until
    if whole and abs(then.ms - now.ms) > tolerance * 1000 + max(then.spare, now.spare):
        return False
    shorter, longer = sorted((then.words, now.words), key=len)
    return longer.startswith(shorter) and len(longer) - len(shorter) <= WORD_AT_MOST


WORD_AT_MOST = 16
"""Characters that a text which was cut may be longer or shorter."""


def _acts(flight: Flight) -> list[Act]:
    return [act for entry in flight.entries if entry.way == OUT and (act := _act(entry)) is not None]


def _act(entry: Entry) -> Act | None:
    """What an entry says in words, and how it is to be compared. Raises BadFlight."""
    try:
        return {"carrier": _to_carrier, "model": _to_model, "errands": _to_errands, "flow": _of_flow}[entry.lane](entry)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise BadFlight(f"{entry.what!r} at {entry.at:g} s is not what it should be.") from error


def _to_carrier(entry: Entry) -> Act:
    at, value = entry.at, entry.value
    if entry.what == "frames":
        return Act(at, "speech", "speech is sent", ms=value[0] / BYTES_PER_MS, until=at + float(value[1]))
    if entry.what == "heard":
        cut = ", cut off" if value[2] else ""
        return Act(at, "heard", f"{value[0]} is heard{cut}", ms=float(value[1]))
    if entry.what == "mark":
        return Act(at, "marks", f"mark {value}", slack=MARKS_LATE)
    if entry.what == "began":
        return Act(at, "speech", f"{value} begins to be heard")
    return Act(
        at, "speech", str(entry.what), slack=0.0 if entry.what == "clear" else LATE
    )  # it waits for the store before it closes


def _to_model(entry: Entry) -> Act | None:
    at, value = entry.at, entry.value
    if entry.what == "close":
        return Act(
            at, "endings", f"connection {value} is left"
        )  # in a task of its own: before or after the next one opens
    if entry.what == "connect":
        return Act(at, "model", f"connection {value[0]} to place {value[1]}")
    number, command = value
    command = dict(cast("dict[str, Any]", command))
    ms, words = 0.0, ""
    if entry.what == "Truncate":
        ms = float(command.pop("heard_ms"))
    elif entry.what == "Tell" and "_h" in command["item"]:
        words = str(command.pop("text"))
    told = " ".join(f"{name}={value}" for name, value in sorted(command.items()) if value not in ("", False))
    return Act(at, "model", f"{entry.what} ({number}) {told}".rstrip(), ms=ms, words=words)


def _to_errands(entry: Entry) -> Act:
    return Act(entry.at, "errands", f"{entry.what} {' '.join(str(word) for word in entry.value[1:])}")


def _of_flow(entry: Entry) -> Act:
    if entry.what == "state":
        return Act(entry.at, "flow", f"→ {entry.value}")
    if entry.what == "trouble":
        return Act(entry.at, "flow", f"trouble, {entry.value[0]}: {entry.value[1]}")
    return Act(entry.at, "flow", f"{entry.what}: {entry.value[0]}, {entry.value[1]}", slack=LATE)


# ---------------------------------------------------------------- for people

_SHOWN_IN = {
    "speech": "agent",
    "heard": "agent",
    "marks": "agent",
    "model": "model",
    "endings": "model",
    "flow": "flow",
    "errands": "flow",
}


def _sentence(one: Difference) -> str:
    if one.then and one.now:
        return f"{one.at:8.2f} s  {one.lane:<7}  then: {one.then}\n{'':22}now:  {one.now}"
    return f"{one.at:8.2f} s  {one.lane:<7}  {f'then: {one.then}' if one.then else f'now:  {one.now}'}"


def _timeline(replayed: Replay, around: float) -> Timeline:
    """What came in and what was done then, near `around`, and what is done otherwise now."""
    timeline = Timeline()
    first, last = around - AROUND[0], around + AROUND[1]
    for entry in replayed.flight.entries:
        if first <= entry.at <= last and entry.way == IN and (row := _came(entry)):
            timeline.add(entry.at, *row)
    then = {(one.at, one.then.rpartition(" at ")[0] or one.then) for one in replayed.differences if one.then}
    for act in _acts(replayed.flight):
        if first <= act.at <= last and act.lane != "marks":
            only = "then: " if (act.at, str(act)) in then else ""
            timeline.add(act.at, _SHOWN_IN[act.lane], f"{only}{act}")
    for one in replayed.differences:
        if first <= one.at <= last and one.now:
            timeline.add(one.at, _SHOWN_IN[one.lane], f"NOW: {one.now}")
    return timeline


def _came(entry: Entry) -> tuple[str, str] | None:
    """The lane and the words of something that came in, if people want to see it."""
    value: Any = entry.value
    if entry.what == "CallerWords" and len(value) == 3:
        return "caller", f"“{value[2]['text']}”"
    if entry.what == "key":
        return "caller", f"presses {value}"
    if entry.what in {"stop", "lost", "carrier_gone"} and entry.lane in {"carrier", "call"}:
        return "caller", "is gone"
    if entry.what == "SpeechStarted":
        return "caller", "begins to speak"
    if entry.lane == "model" and entry.what not in {"ReplyAudio", "ReplyWords", "CallerWords"}:
        told = value[2] if len(value) > 2 else ""
        told = ", ".join(str(v) for v in told.values() if v not in ("", [], None)) if isinstance(told, dict) else told
        return "model", f"← {entry.what} {told}"
    return None
