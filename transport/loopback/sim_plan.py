"""What happens in a simulated call, drawn from a seed: what the caller does, how the server is set, what goes wrong. Pure.

A plan can be made smaller (fewer faults, fewer steps), which is how a failing one is brought down to what matters.
"""

import random
from collections.abc import Iterator

import attrs

from transport.loopback.script import Transcript
from transport.loopback.sim_setting import SHIPPED, Setting, setting_of, transcripts_of
from transport.loopback.speech import murmur, voiced

FLOWS = ("appointment", "after_hours")
PHRASES = (
    "I would like an appointment please.", "John Smyth, S M Y T H.", "Yes, that is right.", "No, B as in boy.",
    "J dot Smyth at gmail dot com.", "Four one five, double five five, two six seven one.", "Tuesday at three.",
    "What are your opening hours?", "Can I speak to a person?", "I am not sure.", "Hello? Are you there?", "Thank you.",
)  # fmt: skip


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
    "model_wordless": "several replies end before a word was said",
    "model_busy": "the model is too busy, in one session after the other",
    "model_unread": "the model reads nothing for a while",
    "model_slow": "the model takes long for some of its replies",
    "server_deploys": "one server after the other is told to go, and the call is moved each time",
    "server_goes": "the only server is told to go: it is asked until it has drained, then another one",
    "model_gone": "from a moment on there is no model for anybody, and callers are in the keypad menu",
}
FIRST_KINDS = tuple(KINDS)[: list(KINDS).index("worker_dies")]
"""Those that there were first: with them old seeds still mean what they meant."""
NEWEST_KINDS = tuple(KINDS)[list(KINDS).index("server_deploys") :]
LATER_KINDS = tuple(KINDS)[list(KINDS).index("model_wordless") : -len(NEWEST_KINDS)]
"""Those that are drawn by themselves, for the same reason."""
NEWEST_FROM = 1_200_000
"""The first seed in which there are the newest kinds of faults (unless no others are asked for), and callers who dictate."""
DICTATED = (
    ("Four one five, double five five,", "two six seven one."), ("It is four one five,", "nine three nine, two six seven one."),
    ("John Smyth, S M Y", "T H."), ("J dot", "Smyth at gmail dot com."),
)  # fmt: skip
"""What callers dictate, up to where they stop to look for the rest, and the rest."""
MENU = (
    ("2",), ("1",), ("9",), ("7", "2"), ("4", "1", "#", "1"), ("4", "2", "4159392671#", "1", "1"), ("4", "1", "415#", "#"),
)  # fmt: skip
"""What callers press in the keypad menu, one step after the other."""
_OF_ALL = (
    "store_", "rest_", "backend_", "callbacks_", "worker_", "server_", "net_", "model_away", "model_busy", "model_gone",
)  # fmt: skip
OF_ALL = frozenset(kind for kind in KINDS if kind.startswith(_OF_ALL))
"""Kinds that concern every call of a world; the others only the one that is there first."""


@attrs.frozen
class Act:
    """What the caller does: say (words), interrupt (after seconds, words), go on (after a pause of seconds in what they were
    saying, words), press (keys), wait (seconds)."""

    what: str
    words: str = ""
    seconds: float = 0.0
    voiced: bool = False
    """Whether it sounds like speech. If not, it is a hiss to every ear but the model's."""
    keys: str = ""
    """What they type in the same breath."""

    def __str__(self) -> str:
        return f"{self.what} {self.words or f'{self.seconds:g} s'}{f' and type {self.keys}' if self.keys else ''}"

    @property
    def speaks(self) -> bool:
        """Whether something is said."""
        return self.what in {"say", "interrupt", "go on"}

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
    setting: Setting = SHIPPED
    transcripts: tuple[Transcript, ...] = ()
    """What becomes of the words of the turns, in every session; none: they are there soon."""

    def smaller(self) -> Iterator["Plan"]:
        """The same with one thing less, the largest things first."""
        if self.bystanders:
            yield attrs.evolve(self, bystanders=self.bystanders - 1)
        if self.setting != SHIPPED:
            yield attrs.evolve(self, setting=SHIPPED)
        if self.transcripts:
            yield attrs.evolve(self, transcripts=())
        for number in range(len(self.faults)):
            yield attrs.evolve(self, faults=self.faults[:number] + self.faults[number + 1 :])
        for number in reversed(range(len(self.acts))):
            yield attrs.evolve(self, acts=self.acts[:number] + self.acts[number + 1 :])

    def fault(self, kind: str) -> Fault | None:
        """The fault of this kind, if there is one."""
        return next((fault for fault in self.faults if fault.kind == kind), None)

    def __str__(self) -> str:
        acts = "; ".join(map(str, self.acts))
        faults = "; ".join(f"{fault.kind} at {fault.at:g} s ({fault.size:g})" for fault in self.faults) or "none"
        beside = f", {self.bystanders} beside it" if self.bystanders else ""
        words = ", ".join(f"{each.how} after {each.delay_ms} ms" for each in self.transcripts)
        lines = [f"seed {self.seed}, flow {self.flow}{beside}", f"caller: {acts}", f"faults: {faults}"]
        lines += [f"setting: {self.setting}"] if self.setting != SHIPPED else []
        lines += [f"transcripts: {words}"] if words else []
        return "\n  ".join(lines)


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
    first = [kind for kind in kinds if kind not in LATER_KINDS and kind not in NEWEST_KINDS]
    wanted = min(len(first), chance.choices((0, 1, 2, 3), (1, 4, 3, 1))[0])
    faults = [_fault(kind, chance) for kind in chance.sample(first, wanted)]
    flow = chance.choice(FLOWS)
    if kinds == FIRST_KINDS:
        return Plan(seed, flow, tuple(acts), tuple(faults))
    speaks = random.Random(f"voice {seed}").random() < 0.5
    later = [kind for kind in kinds if kind in LATER_KINDS]
    newest = _newest_faults(seed, [kind for kind in kinds if kind in NEWEST_KINDS], alone=not first and not later)
    said = _dictated(seed, _said(seed, acts, speaks), speaks)
    return Plan(
        seed,
        flow,
        _in_the_menu(seed, said) if any(fault.kind == "model_gone" for fault in newest) else said,
        (*faults, *_later_faults(seed, later, alone=not first and bool(later)), *newest),
        random.Random(f"bystanders {seed}").choices((0, 1, 2), (5, 2, 1))[0],
        random.Random(f"delta {seed}").choice((200, 200, 187, 37)),
        setting_of(seed, speaks=speaks),
        transcripts_of(seed) if speaks else (),
    )


def _fault(kind: str, chance: random.Random) -> Fault:
    return Fault(kind, round(chance.uniform(0.5, 40.0), 2), round(chance.uniform(0.2, 12.0), 2))


def _later_faults(seed: int, kinds: list[str], *, alone: bool) -> list[Fault]:
    chance = random.Random(f"later faults {seed}")
    wanted = int(bool(kinds) and (chance.random() < 0.2 or alone))
    return [_fault(kind, chance) for kind in chance.sample(kinds, wanted)]


def _newest_faults(seed: int, kinds: list[str], *, alone: bool) -> list[Fault]:
    """Of some seeds, and at most one; but often the server goes while callers are in the menu."""
    chance = random.Random(f"newest faults {seed}")
    if not kinds or not (alone or (seed >= NEWEST_FROM and chance.random() < 0.4)):
        return []
    fault = _fault(chance.choice(kinds), chance)
    faults = [attrs.evolve(fault, at=round(fault.at / 2, 2))]
    if fault.kind == "model_gone" and "server_goes" in kinds and chance.random() < 0.6:
        faults.append(Fault("server_goes", round(faults[0].at + chance.uniform(0.0, 30.0), 2), fault.size))
    return faults


def _dictated(seed: int, acts: tuple[Act, ...], speaks: bool) -> tuple[Act, ...]:
    """Some dictate a number or a name, and stop in the middle of it."""
    chance = random.Random(f"dictates {seed}")
    if seed < NEWEST_FROM or chance.random() >= 0.35:
        return acts
    at, (half, rest) = chance.randint(1, len(acts)), chance.choice(DICTATED)
    pause = chance.choice((0.4, 1.0, 1.6, 2.2, 3.0))
    both = Act("say", half, voiced=speaks), Act("go on", rest, pause, voiced=speaks)
    return (*acts[:at], *both, *acts[at:])


def _in_the_menu(seed: int, acts: tuple[Act, ...]) -> tuple[Act, ...]:
    """What is done, and at last what the menu asks for."""
    chance = random.Random(f"menu {seed}")
    pressed = (Act("press", keys) for keys in chance.choice(MENU))
    return (*acts[: chance.randint(1, 4)], Act("wait", seconds=chance.choice((3.0, 9.0))), *pressed)


def _said(seed: int, acts: list[Act], speaks: bool) -> tuple[Act, ...]:
    """What is done, with the caller's voice. Some type with their last word still in their mouth."""
    chance = random.Random(f"keys {seed}")
    keys = [chance.choice(("1", "42#", "415#")) if chance.random() < 0.06 else "" for _ in acts]
    both = zip(acts, keys, strict=True)
    return tuple(attrs.evolve(act, voiced=speaks, keys=key if act.what == "say" else "") for act, key in both)


def bystander_of(plan: Plan, number: int) -> tuple[float, tuple[Act, ...]]:
    """Bystander `number`: how long after the first call theirs begins, and what they say."""
    chance = random.Random(f"bystander {plan.seed} {number}")
    unwritten = bool(plan.transcripts) or not plan.setting.transcribed
    says = [Act("say", phrase, voiced=unwritten) for phrase in chance.sample(PHRASES, chance.randint(1, 3))]
    return round(chance.uniform(1.0, 15.0), 2), tuple(says)
