"""The story of a call: what must be known to go on with it later, elsewhere, or by somebody else. Plain data, made anew after
every turn, kept in the store, read by the stream that follows, by the keypad menu, by the human who takes over.
"""

from collections.abc import Mapping
from typing import cast, get_origin

import attrs
import cattrs
from cattrs.gen import make_dict_unstructure_fn, override

from actors.dialogue import Dialogue, Held, Status
from actors.slots import typed
from conf.flow import Flow

ASKED_FOR_A_HUMAN = "the agent asked for a human: "
ENDED_THE_CALL = "the agent ended the call: "
"""What the agent said of it follows."""
TURNS_KEPT = 24
"""The last turns, in words, that are told to the model that goes on: enough for the thread, cheap enough to be told."""


@attrs.frozen
class Said:
    """A turn as it was heard: by whom ("caller", "agent"), and the words."""

    who: str
    words: str


@attrs.frozen
class Story:
    """Everything. `over`: there is nothing to go on with."""

    flow: str
    dialogue: Dialogue
    said: tuple[Said, ...] = ()
    over: bool = False
    why: str = ""
    """What the caller was to be transferred for, or why the stream was left."""


_converter = cattrs.Converter(omit_if_default=True)
_converter.register_unstructure_hook_func(lambda kind: get_origin(kind) is frozenset, sorted)  # JSON knows no sets
_converter.register_unstructure_hook(
    Held,
    make_dict_unstructure_fn(
        Held, _converter, _cattrs_omit_if_default=True, failed=override(omit=True), failed_turn=override(omit=True)
    ),
)


def to_plain(story: Story) -> dict[str, object]:
    """The story as JSON knows it."""
    return cast("dict[str, object]", _converter.unstructure(story))


def from_plain(plain: Mapping[str, object], flow: Flow) -> Story | None:
    """The story as far as it fits `flow`, which may have changed since; None if it cannot be used."""
    try:
        story = _converter.structure(plain, Story)
    except Exception:  # cattrs raises groups of whatever: a story of another version is no story
        return None
    if story.flow != flow.name or story.dialogue.at not in flow.states:
        return None
    slots = {name: held for name, held in story.dialogue.slots.items() if _fits(name, held, flow)}
    return attrs.evolve(story, dialogue=attrs.evolve(story.dialogue, slots=slots, idle=0))


def _fits(name: str, held: Held, flow: Flow) -> bool:
    """Whether `held` is still a value of the slot of that name."""
    if name not in flow.slots:
        return False
    try:
        _ = held.text and typed(flow.slots[name].kind, held.text)
    except ValueError:
        return False
    return True


def known(flow: Flow, dialogue: Dialogue) -> dict[str, str]:
    """The slots that have a usable value, by name."""
    return {name: dialogue.held(name).text for name in flow.slots if dialogue.held(name).known}


def summary(flow: Flow, story: Story) -> str:
    """The story in a few spoken sentences, for a human who is to take the call; empty if there is nothing to tell."""
    wish = flow.intents.get(story.dialogue.wish, "").strip()
    facts = [
        f"{flow.slots[name].label}: {text}" + ("" if _settled(story.dialogue.held(name)) else ", not confirmed")
        for name, text in known(flow, story.dialogue).items()
    ]
    asked = story.why.partition(ASKED_FOR_A_HUMAN)[2].rstrip(".")
    parts = [wish, *(f"{fact}." for fact in facts), f"The assistant says: {asked}." if asked else ""]
    return " ".join(part for part in parts if part)


def without_words(why: str) -> str:
    """`why` a stream was left, without what the agent said of it: those are words about the caller."""
    begins = next((begin for begin in (ASKED_FOR_A_HUMAN, ENDED_THE_CALL) if why.startswith(begin)), why)
    return begins.rstrip(": ")


def _settled(held: Held) -> bool:
    return held.status is Status.CONFIRMED
