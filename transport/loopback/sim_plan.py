"""What happens in a simulated call, drawn from a seed: what the caller does, what the model answers, and what goes wrong. Pure.

A plan can be made smaller (fewer faults, fewer steps), which is how a failing one is brought down to what matters.
"""

import json
import random
from collections.abc import Iterator

import attrs

from transport.loopback.script import Call, Reply, Speech, Text
from transport.loopback.speech import murmur, voiced

FLOWS = ("appointment", "after_hours")
PHRASES = (
    "I would like an appointment please.", "John Smyth, S M Y T H.", "Yes, that is right.", "No, B as in boy.",
    "J dot Smyth at gmail dot com.", "Four one five, double five five, two six seven one.", "Tuesday at three.",
    "What are your opening hours?", "Can I speak to a person?", "I am not sure.", "Hello? Are you there?", "Thank you.",
)  # fmt: skip
AGENT = (
    "What is your full name?", "And your e-mail address?", "Is that right?", "We are open from nine until five.",
    "Let me see what I can do for you. There is a free place on Tuesday at three in the afternoon. Shall I take it?", "Gladly.",
)  # fmt: skip
VALUES: dict[str, object] = {
    "intent": "book", "name": "john smyth", "email": "j dot smyth at gmail dot com", "phone": "four one five five five five "
    "two six seven one", "day": "tuesday at three", "colour": "red", "confidence": 0.8,
}  # fmt: skip
TOOLS = ("save_details", "confirm_details", "look_up", "send_sms", "start_over", "no_such_tool")


@attrs.frozen
class Fault:
    """Something that goes wrong: its kind, when (seconds into the call), and how much or how long."""

    kind: str
    at: float = 0.0
    size: float = 0.0


KINDS = {
    "model_drop": "the model's connection is cut",
    "model_close": "the model closes its connection",
    "model_stall": "the model says nothing more, its connection open",
    "model_refuse": "the model refuses the connection",
    "model_fail": "replies fail",
    "model_incomplete": "replies end before they are said",
    "model_no_replies": "the model answers no turn",
    "model_odd": "unknown events and fields",
    "model_expire": "the session's time is over",
    "stream_drop": "the media stream is cut without a word",
    "stream_gap": "the caller's audio is missing for a while",
    "marks_late": "marks come back late",
    "stream_garbage": "messages that nobody understands",
    "store_down": "the store cannot be used for a while",
    "store_slow": "the store is slow",
    "rest_fails": "the carrier's API fails",
    "rest_slow": "the carrier's API is slow",
    "backend_fails": "the backend fails",
    "callbacks_twice": "every webhook comes twice",
    "worker_dies": "the server is killed, and another one takes over",
    "server_drains": "the server is told to go, and another one takes over",
    "net_slow": "every connection is slow and uneven",
    "net_lossy": "every connection loses packets, which come again",
    "net_pieces": "what is sent at once arrives in parts",
    "stream_cut_up": "the media stream is cut at a byte on its way to the server",
    "stream_cut_down": "the media stream is cut at a byte on its way from the server",
    "stream_half_open": "nothing comes through on the media stream, and nobody is told",
    "stream_slow_reader": "the carrier reads slowly",
    "marks_bunched": "marks come back in bunches",
    "model_cut_up": "the model's connection is cut at a byte on its way to the model",
    "model_cut_down": "the model's connection is cut at a byte on its way from the model",
    "model_half_open": "nothing comes through on the model's connection, and nobody is told",
    "model_late": "much that the model was saying still comes after an interruption",
    "tool_slow": "tools are slow",
    "tool_fails": "tools fail",
    "standby": "no fault: a second session is kept ready",
    "marks_swapped": "marks come back in the wrong order",
    "model_away": "the model's connection is cut, and for a while there is no other",
    "model_deaf": "the model lives, and does not hear that the caller speaks",
}
FIRST_KINDS = tuple(KINDS)[: list(KINDS).index("worker_dies")]
"""Those that there were first: with them old seeds still mean what they meant."""
OF_ALL = frozenset(
    kind
    for kind in KINDS
    if kind.startswith(("store_", "rest_", "backend_", "callbacks_", "worker_", "server_", "net_", "model_away"))
)
"""Kinds that concern every call of a world; the others only the one that is there first."""


@attrs.frozen
class Act:
    """What the caller does: say (words), interrupt (after seconds, words), press (keys), wait (seconds)."""

    what: str
    words: str = ""
    seconds: float = 0.0
    voiced: bool = False
    """Whether it sounds like speech. If not, it is a hiss to every ear but the model's."""

    def sound(self, number: int) -> bytes:
        """What the caller says as act `number`; µ-law."""
        return voiced(self.words, number) if self.voiced else murmur(self.words, number)


@attrs.frozen
class Plan:
    """A call, and those that are up beside it."""

    seed: int
    flow: str
    acts: tuple[Act, ...]
    faults: tuple[Fault, ...]
    bystanders: int = 0
    """Other calls in the same world, which have no faults of their own."""
    delta_ms: int = 200
    """Audio in one delta of the model's; it need not be whole frames."""

    def smaller(self) -> Iterator["Plan"]:
        """The same with one thing less, the largest things first."""
        if self.bystanders:
            yield attrs.evolve(self, bystanders=self.bystanders - 1)
        for number in range(len(self.faults)):
            yield attrs.evolve(self, faults=self.faults[:number] + self.faults[number + 1 :])
        for number in reversed(range(len(self.acts))):
            yield attrs.evolve(self, acts=self.acts[:number] + self.acts[number + 1 :])

    def fault(self, kind: str) -> Fault | None:
        """The fault of this kind, if there is one."""
        return next((fault for fault in self.faults if fault.kind == kind), None)

    def __str__(self) -> str:
        acts = "; ".join(f"{act.what} {act.words or f'{act.seconds:g} s'}" for act in self.acts)
        faults = "; ".join(f"{fault.kind} at {fault.at:g} s ({fault.size:g})" for fault in self.faults) or "none"
        beside = f", {self.bystanders} beside it" if self.bystanders else ""
        return f"seed {self.seed}, flow {self.flow}{beside}\n  caller: {acts}\n  faults: {faults}"


def plan_of(seed: int, kinds: tuple[str, ...] = tuple(KINDS)) -> Plan:
    """The plan of `seed`, with faults of these kinds only."""
    chance = random.Random(f"plan {seed}")
    acts: list[Act] = []
    for _ in range(chance.randint(2, 7)):
        what = chance.choices(("say", "interrupt", "press", "wait"), (6, 2, 1, 1))[0]
        if what == "press":
            acts.append(Act("press", chance.choice(("5", "42#", "#", "1", "415#"))))
        elif what == "wait":
            acts.append(Act("wait", seconds=chance.choice((3.0, 9.0, 20.0))))
        else:
            acts.append(Act(what, chance.choice(PHRASES), chance.choice((0.3, 0.8, 1.6))))
    wanted = min(len(kinds), chance.choices((0, 1, 2, 3), (1, 4, 3, 1))[0])
    faults = [
        Fault(kind, round(chance.uniform(0.5, 40.0), 2), round(chance.uniform(0.2, 12.0), 2))
        for kind in chance.sample(kinds, wanted)
    ]
    flow = chance.choice(FLOWS)
    if kinds == FIRST_KINDS:
        return Plan(seed, flow, tuple(acts), tuple(faults))
    bystanders = random.Random(f"bystanders {seed}").choices((0, 1, 2), (5, 2, 1))[0]
    speaks = random.Random(f"voice {seed}").random() < 0.5
    said = tuple(attrs.evolve(act, voiced=speaks) for act in acts)
    delta_ms = random.Random(f"delta {seed}").choice((200, 200, 187, 37))
    return Plan(seed, flow, said, tuple(faults), bystanders, delta_ms)


def bystander_of(seed: int, number: int) -> tuple[float, tuple[Act, ...]]:
    """Bystander `number`: how long after the first call theirs begins, and what they say."""
    chance = random.Random(f"bystander {seed} {number}")
    says = [Act("say", phrase) for phrase in chance.sample(PHRASES, chance.randint(1, 3))]
    return round(chance.uniform(1.0, 15.0), 2), tuple(says)


def plain_reply_of(seed: int, number: int) -> Reply:
    """The model's answer `number` to a bystander: always speech, and nothing else."""
    chance = random.Random(f"plain reply {seed} {number}")
    words = chance.choice(AGENT)
    return Reply(
        (Speech(words, murmur(words, seed=number)),), chance.choice((100, 250, 600)), chance.choice((1.5, 5.0))
    )


def reply_of(plan: Plan, number: int, *, apart: bool, after_tools: bool) -> Reply:
    """The model's answer `number`: speech, tools, both, seldom an end; a model that behaves as models do."""
    seed = plan.seed
    chance = random.Random(f"reply {seed} {number}")
    if apart:
        return Reply((Text(json.dumps({"email": "a@example.com"} if chance.random() < 0.3 else {})),))
    words = chance.choice(AGENT)
    speech = Speech(words, murmur(words, seed=number))
    size = plan.delta_ms
    delay, speed = chance.choice((100, 250, 600, 1500)), chance.choice((1.5, 5.0, 20.0))
    if after_tools or chance.random() < 0.55:
        return Reply((speech,), delay, speed, size)
    last = chance.random()
    if last < 0.08:
        return Reply((speech, Call("end_call", '{"reason": "done"}')), delay, speed, size)
    if last < 0.14:
        return Reply((speech, Call("transfer_to_human", '{"reason": "asked"}')), delay, speed, size)
    calls = [_call(chance) for _ in range(chance.choice((1, 1, 2)))]
    if slow := plan.fault("tool_slow"):
        calls[0] = Call("free_times", json.dumps({"takes": slow.size}))
    elif plan.fault("tool_fails"):
        calls[0] = Call("free_times", '{"fails": true}')
    return Reply((speech, *calls) if chance.random() < 0.3 else tuple(calls), delay, speed, size)


def _call(chance: random.Random) -> Call:
    name = chance.choice(TOOLS)
    if chance.random() < 0.1:
        return Call(name, chance.choice(('{"torn": ', "[]", "null", '{"slots": 7}')))
    if name == "save_details":
        some = chance.sample(sorted(VALUES), chance.randint(1, 3))
        return Call(name, json.dumps({key: VALUES[key] for key in some}))
    arguments: dict[str, object] = {
        "confirm_details": {"slots": [chance.choice(("name", "email", "phone"))], "correct": chance.random() < 0.8},
        "look_up": {"topic": chance.choice(("hours", "address", "weather"))},
        "send_sms": {"text": "As you asked."},
    }.get(name, {})
    return Call(name, json.dumps(arguments))
