"""A flow as data: what the agent is for, what it must find out, and how the conversation gets from one state to the next.

    Flow ─┬─ intents    what callers may want
          ├─ slots      what is to be found out, and of which kind it is
          ├─ states ─── State ─┬─ goal, slots collected, tools, patience     what the model is told
          │                    ├─ on_entry, on_exit: Effects                 what is done
          │                    └─ transitions: Condition → next state        where it leads
          └─ shared     transitions that hold in every state, after its own

Read from `conf/flows/*.toml` by `flow_file.py`, checked by `flow_check.py`, drawn by `flow_picture.py`, written or extended
in Python with `flow_python.py`. The machine that runs it is in `actors/dialogue.py`.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping

import attrs

from conf.errors import ONLY_IN_PYTHON

SLOT_KINDS = (
    "person_name",
    "email",
    "phone",
    "date_time",
    "date",
    "past_date",
    "time",
    "number",
    "yes_no",
    "choice",
    "text",
)
"""A `date` is from today on, as of an appointment; a `past_date` has been, and is said with its year, as a date of birth."""
LANGUAGES = ("en",)
"""Languages in which values of slots are understood."""
CONFIRMED_KINDS = frozenset(SLOT_KINDS) - {"yes_no", "choice", "text"}
"""Kinds that telephones get wrong: they are read back before they are used, unless the flow says otherwise."""
STATUSES = ("missing", "unclear", "heard", "confirmed", "declined")
"""What may be true of a slot: nothing said; said and not understood; understood; read back and right; refused."""
FLOORS = ("open", "finish", "protected")
"""How the agent gives way to a caller who speaks: at once; at the end of its sentence; not at all, and what the caller says
is kept for the next turn."""
EFFECTS = ("sms", "transfer", "voicemail", "hang_up", "say", "reply", "forget", "tool")
SHARED_TOOLS = ("end_call", "transfer_to_human", "send_sms", "save_details", "confirm_details", "start_over", "look_up")
"""Tools of the house, there in every flow that has a use for them; a state may name those of Python besides."""
ALWAYS_THERE = ("end_call", "transfer_to_human")
KEYS = "0123456789*#ABCD"
Names = tuple[str, ...]
"""One name or several; in TOML a text or a list of texts."""


def _not_empty(_: object, attribute: "attrs.Attribute[str]", value: str) -> None:
    if not value.strip():
        raise ValueError(f"{attribute.name} is empty: write a text @ $.{attribute.name}")


def _one_of(choices: tuple[str, ...]) -> Callable[[object, "attrs.Attribute[str]", str], None]:
    def check(_: object, attribute: "attrs.Attribute[str]", value: str) -> None:
        if value not in choices:
            allowed = ", ".join(choice for choice in choices if choice)
            raise ValueError(f"{attribute.name} = {value!r}: allowed are {allowed} @ $.{attribute.name}")

    return check


@attrs.frozen
class Slot:
    """Something to be found out. `label`: how it is named to the model and in the summary for people."""

    kind: str = attrs.field(validator=_one_of(SLOT_KINDS))
    label: str = attrs.field(validator=_not_empty)
    confirm: bool | None = None
    """Whether it must be read back and confirmed; None: by its kind."""
    spell: bool = False
    """Whether the caller is asked to spell it."""
    choices: Mapping[str, Names] = attrs.field(factory=dict[str, Names])
    """Of kind choice: the names, and other words for each."""
    least: float | None = None
    most: float | None = None
    hours: str = ""
    """Of kind time or date_time: between which hours of a day ("17:00-23:00") a time is meant that callers say without morning
    or evening: "eight" is in the evening then. Without this appointments are by day. One outside is understood all the same."""
    tries: int = 3
    """Captures that may fail before the flow must go another way."""

    @property
    def confirmed_by_caller(self) -> bool:
        """Whether a value of it counts only when the caller has said that it is right."""
        return self.kind in CONFIRMED_KINDS if self.confirm is None else self.confirm


@attrs.frozen
class Condition:
    """What must be true for a transition; everything that is set must hold at once.

    The first block asks for something that *happens*; the others look at what is known.
    """

    key: Names = ()
    """The caller pressed one of these keys."""
    silence: float | None = None
    """Nobody has said anything for so many seconds."""
    after: float | None = None
    """The state has lasted so many seconds."""
    corrected: Names = ()
    """The caller gave another value for one of these slots."""
    outcome: Mapping[str, Names] = attrs.field(factory=dict[str, Names])
    """An effect (by its name) came out so: see `actors/errands.py`."""

    intent: Names = ()
    """The caller's present wish is one of these. A transition uses the wish up."""
    slots: Mapping[str, Names] = attrs.field(factory=dict[str, Names])
    """Slots and the statuses they may have."""
    equals: Mapping[str, Names] = attrs.field(factory=dict[str, Names])
    """Slots and the values they may have, in canonical form."""
    confidence_below: Mapping[str, float] = attrs.field(factory=dict[str, float])
    """Slots and how sure one may at most be of them; not true of a slot about which nothing is known."""
    tries: Mapping[str, int] = attrs.field(factory=dict[str, int])
    """Slots and how many captures of them have failed, at least."""
    visits: int = 0
    """How often the state has been entered, at least."""
    hours: str = ""
    """Time of day in the flow's time zone, as "08:00-18:00"; over midnight as "18:00-08:00"."""
    days: Names = ()
    """Days of the week: mon tue wed thu fri sat sun."""

    all: "tuple[Condition, ...]" = ()
    any: "tuple[Condition, ...]" = ()
    but_not: "Condition | None" = None

    def parts(self) -> "Iterator[Condition]":
        """This condition and all those inside it."""
        yield self
        for inner in (*self.all, *self.any, *([self.but_not] if self.but_not else [])):
            yield from inner.parts()


@attrs.frozen
class Effect:
    """Something to be done. `name`: what its outcome goes by; texts may hold {slots}."""

    do: str = attrs.field(validator=_one_of(EFFECTS))
    name: str = ""
    text: str = ""
    """sms: the message. reply: what the model is to say now."""
    to: str = "caller"
    """sms: "caller", or a slot of kind phone."""
    how: str = attrs.field(default="", validator=_one_of(("", "cold", "warm")))
    """transfer: whether the human is asked first; empty: as the settings say."""
    prompt: str = "goodbye"
    """say: a recorded prompt."""
    floor: str = attrs.field(default="", validator=_one_of(("", *FLOORS)))
    """say, reply: how it gives way to a caller who speaks; empty: as the state says."""
    slots: Names = ()
    """forget: which; none: all."""
    tool: str = ""
    """tool: which one of Python; its arguments are the slots of the same names."""

    @property
    def outcome_name(self) -> str:
        """What its outcome goes by in conditions."""
        return self.name or (self.tool if self.do == "tool" else self.do)


@attrs.frozen
class Transition:
    """When `when` holds, `effects` are done and the conversation goes to state `goto` (empty: it stays)."""

    when: Condition = attrs.field(factory=Condition)
    goto: str = ""
    effects: tuple[Effect, ...] = ()


Router = Callable[[Mapping[str, object]], str | None]
"""A guard in Python: told what is known (slots by name, "intent"), it names the next state or None."""


@attrs.frozen
class State:
    """One place in the conversation."""

    goal: str = attrs.field(validator=_not_empty)
    """What the agent should achieve here, as told to the model."""
    collects: Names = ()
    """The slots that are asked for here."""
    tools: Names = ()
    """Tools of Python that may be used here; those of the house are there unless `without` names them."""
    without: Names = ()
    """Tools of the house that may not be used here; a human and an end can always be had."""
    patience_ms: int = 0
    """Silence that ends the caller's turn, ms; 0: as the settings say. Long while callers spell or dictate."""
    model: str = ""
    """Name of the model that is to speak here; empty: as the settings say. It takes over in a quiet moment, told all that was
    said: for what is hard, or for what a cheaper one can do."""
    floor: str = attrs.field(default="", validator=_one_of(("", *FLOORS)))
    """How what is said here gives way to a caller who speaks; empty: as the flow says. Last words always do at once."""
    seconds: float = 0
    """Seconds of speech that a reply here should not exceed; 0: as the flow says."""
    on_entry: tuple[Effect, ...] = ()
    on_exit: tuple[Effect, ...] = ()
    transitions: tuple[Transition, ...] = ()
    final: bool = False
    """Whether the purpose of the call is achieved here: such a conversation is not resumed."""
    router: Router | None = attrs.field(default=None, eq=False, repr=False, metadata={ONLY_IN_PYTHON: True})
    """Asked when no transition holds; only from Python."""
    leads_to: Names = attrs.field(default=(), metadata={ONLY_IN_PYTHON: True})
    """Where the router may lead."""


@attrs.frozen
class PythonTool:
    """A tool written in Python: what the model is told of it, and how it is run (outside the audio path)."""

    name: str
    description: str
    arguments: type
    """An attrs class; the JSON Schema is derived from it."""
    run: Callable[..., Awaitable[object]]
    """The function itself; an async one, called with the arguments by name."""
    seconds: float = 8.0
    once: bool = False
    """Whether it has an effect: asked for again with the same arguments in the same call, the first result is told again. What
    raised an error may be tried again."""


@attrs.frozen
class Keypad:
    """What a caller can settle with the keypad when no model is there; where they can be called is asked in any case."""

    reasons: Mapping[str, str] = attrs.field(factory=dict[str, str])
    """Intents to choose from, and how they are said to a caller, after "For": at most nine. None: no reason is asked."""
    collects: Names = ()
    """Slots to be typed or chosen besides; of kind number, yes_no or choice."""


STILL_THERE = "Ask in a few words whether the caller is still there, and repeat your question."
"""What the agent does about a silence that the flow does not mind itself."""
TALK = "talk"
"""The state of a flow that has none of its own."""


@attrs.frozen
class Flow:
    """One agent."""

    name: str = attrs.field(validator=_not_empty)
    instructions: str = attrs.field(validator=_not_empty)
    greeting: str = "greeting"
    """The recorded prompt that callers hear first."""
    greeting_floor: str = attrs.field(default="open", validator=_one_of(FLOORS))
    """How it gives way to a caller who speaks: "protected" if a notice in it must be heard."""
    floor: str = attrs.field(default="open", validator=_one_of(FLOORS))
    """How all else that is said gives way, where neither state nor effect says otherwise."""
    facts: Mapping[str, str] = attrs.field(factory=dict[str, str])
    """What may be looked up, by topic."""
    language: str = "en"
    """What callers speak: who only listens, asks to wait or says goodbye is known by it in en, de, es, fr, it, nl and pt; slots
    are understood in en."""
    region: str = "US"
    """Whose telephone numbers and dates callers mean when they do not say."""
    timezone: str = "UTC"
    """IANA name; what "tomorrow" and the hours in conditions mean."""
    reply_seconds: float = 5.0
    """Speech of one reply that is asked for at most; longer ones are counted."""
    reply_seconds_at_most: float = 30.0
    """Speech of one reply at which it is broken off."""
    idle_seconds: float = 10.0
    """Silence after which the agent asks whether the caller is still there; 0: never. It holds in every state that minds no
    silence itself."""
    idle_times: int = 2
    """Silences in a row that are minded, by this or by transitions; at the next one the agent says goodbye."""
    hold_seconds: float = 60.0
    """Silence that is minded of callers who asked to wait, instead of a shorter one; the agent keeps quiet meanwhile. 0: that
    they ask is for the model alone."""
    extract: bool = True
    """Whether the model is asked apart, in text, for what it did not save although the caller's words seem to hold it."""
    start: str = TALK
    """The state in which a call begins; the first one if none is named."""
    intents: Mapping[str, str] = attrs.field(factory=dict[str, str])
    """What callers may want: names and what they mean."""
    slots: Mapping[str, Slot] = attrs.field(factory=dict[str, Slot])
    states: Mapping[str, State] = attrs.field(factory=lambda: {TALK: State("Help the caller.", final=True)})
    shared: tuple[Transition, ...] = ()
    keypad: Keypad = attrs.field(factory=Keypad)
    tools: Mapping[str, PythonTool] = attrs.field(factory=dict[str, PythonTool], metadata={ONLY_IN_PYTHON: True})
    """Only from Python."""
    _counted: dict[str, tuple[Transition, ...]] = attrs.field(
        init=False, factory=dict[str, tuple[Transition, ...]], eq=False, repr=False
    )

    def transitions_of(self, state: str) -> tuple[Transition, ...]:
        """The transitions that count in `state`, in the order in which they are tried."""
        if state not in self._counted:  # asked at every step of every call
            self._counted[state] = self._transitions(state)
        return self._counted[state]

    def _transitions(self, state: str) -> tuple[Transition, ...]:
        own = (*self.states[state].transitions, *self.shared)
        minded = any(part.silence is not None for transition in own for part in transition.when.parts())
        if minded or not self.idle_seconds:
            return own
        return (*own, Transition(Condition(silence=self.idle_seconds), effects=(Effect("reply", text=STILL_THERE),)))

    def effects(self) -> Iterator[Effect]:
        """Every effect there is."""
        for state in self.states.values():
            yield from (*state.on_entry, *state.on_exit)
            for transition in state.transitions:
                yield from transition.effects
        for transition in self.shared:
            yield from transition.effects


attrs.resolve_types(Condition)
