"""What callers tell: details as the model saves them, as the transcript has them, as keys give them: understood, checked,
and put into the slots of the dialogue. Pure. Nothing gets into a slot unread.
"""

import datetime
import re
from collections.abc import Mapping

import attrs

from actors.dialogue import CAPTURES_KEPT, MISSING, Dialogue, Held, Status
from actors.slots import Context, Declined, Unclear, Understood, read_back, understand
from actors.slots.languages import language_of
from actors.slots.reading import UNLIKE
from actors.slots.unfinished import joined
from actors.slots.when import still_begun
from conf import flow as flows

KEYED_KINDS = frozenset({"phone", "number"})
"""What can be typed on a telephone."""
_WHEN_KINDS = frozenset({"date_time", "date", "time"})
"""What is told in two halves: "Tuesday", and "at three"."""
UNLIKE_CONFIRMED = 0.45
_NAME_PART = re.compile(r"\b(?:first|last|given|family|second|middle|sur)[ -]?name\b(?! and\b)", re.IGNORECASE)
"""In the label of a slot: not the whole name is asked for. "First name and last name" is it."""


@attrs.frozen
class Report:
    """What became of it: slots with a value now, what was wrong (a sentence, and the path it is about), what changed."""

    saved: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    corrected: tuple[str, ...] = ()


def context(
    slot: flows.Slot, flow: flows.Flow, now: datetime.datetime, caller: str = "", held: Held = MISSING
) -> Context:
    """How values of `slot` are to be read. `caller`: the number that is being called from, if it is known."""
    unlike, begun = _unlike(slot, held), "" if held.text else held.failed
    return Context(
        now, flow.language, flow.region, slot.choices, slot.least, slot.most, caller, slot.hours, unlike, begun
    )


def _unlike(slot: flows.Slot, held: Held) -> float:
    """How little a name must be like the held one to be the rest of it. None is, if that is wrong, or if only a part is asked
    for; and who has confirmed one will hardly mean another."""
    if held.status is Status.UNCLEAR or _NAME_PART.search(slot.label):
        return -1.0
    return UNLIKE_CONFIRMED if held.status is Status.CONFIRMED else UNLIKE


# ---------------------------------------------------------------- from the model


def save(
    dialogue: Dialogue,
    flow: flows.Flow,
    values: Mapping[str, object],
    now: datetime.datetime,
    confidence: float | None = None,
    caller: str = "",
) -> tuple[Dialogue, Report]:
    """Takes in `values` by slot name. What cannot be read is a problem with its path, and counts as a failed try if the caller
    said it. `caller`: the number they are calling from."""
    saved: list[str] = []
    problems: list[str] = []
    corrected: list[str] = []
    for name, value in values.items():
        slot = flow.slots.get(name)
        if slot is None:
            known = ", ".join(flow.slots) or "none"
            problems.append(f"there is no such detail; there are: {known} @ $.{name}")
            continue
        before = dialogue.held(name)
        text = _as_text(value)
        if text is None:
            problems.append(f"expected a text @ $.{name}")
            continue
        held, problem = _capture(before, slot, text, context(slot, flow, now, caller, before), dialogue.turn)
        if problem:
            problems.append(f"{problem} @ $.{name}")
        else:
            saved.append(name)
            if confidence is not None:
                held = attrs.evolve(held, model=confidence)
            if before.text and held.text not in {"", before.text}:
                corrected.append(name)
        if held != before:
            dialogue = _put(dialogue, name, held)
    return dialogue, Report(tuple(saved), tuple(problems), tuple(corrected))


def confirm(
    dialogue: Dialogue, flow: flows.Flow, names: tuple[str, ...], correct: bool, today: datetime.date
) -> tuple[Dialogue, Report]:
    """The caller said whether what was read back is right. That cannot be before they were asked."""
    saved: list[str] = []
    problems: list[str] = []
    for number, name in enumerate(names):
        path = f"$.slots[{number}]"
        held = dialogue.held(name)
        if name not in flow.slots:
            problems.append(f"there is no such detail; there are: {', '.join(flow.slots) or 'none'} @ {path}")
        elif not held.text or held.status is Status.DECLINED:
            problems.append(f"nothing is known of {name} yet: save it first @ {path}")
        elif held.status is Status.CONFIRMED and correct:
            saved.append(name)
        elif held.turn >= dialogue.turn:
            spoken = read_back(flow.slots[name].kind, held.text, today)
            problems.append(f"not confirmed yet: read it back as {spoken!r} and wait for the caller's answer @ {path}")
        elif correct and held.status is Status.UNCLEAR:
            problems.append(f"the caller said that {held.text!r} is wrong: save the right one first @ {path}")
        else:
            saved.append(name)
            status = Status.CONFIRMED if correct else Status.UNCLEAR
            tries = 0 if correct else held.tries + 1
            dialogue = _put(dialogue, name, attrs.evolve(held, status=status, tries=tries))
    return dialogue, Report(tuple(saved), tuple(problems))


def _as_text(value: object) -> str | None:
    """A value of JSON as it would be said; None if it cannot be."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    return value if isinstance(value, str) else None


def _capture(held: Held, slot: flows.Slot, text: str, how: Context, turn: int) -> tuple[Held, str]:
    """`held` after one more capture, and what was wrong with it."""
    reading = understand(slot.kind, text, how, held.text)
    whole = (
        ""
        if isinstance(reading, Understood) or slot.kind != "phone"
        else joined(held.failed, text, how.language, how.region)
    )
    if whole:  # the half before, and this one; spoken or typed
        reading = understand(slot.kind, whole, how)
    if not held.known and isinstance(understand(slot.kind, text, how), Declined):  # nothing right is left to be kept
        reading = Declined()
    if isinstance(reading, Declined):
        # What was told before is taken back with it: it is stored and delivered no more.
        return Held(status=Status.DECLINED, tries=held.tries, turn=held.turn), ""
    if isinstance(reading, Unclear) and not reading.said:
        return held, reading.why
    if not isinstance(reading, Understood):
        status = held.status if held.known else Status.UNCLEAR
        # The model has no more than that, and says it again.
        same = held.failed.endswith(text) and turn == held.failed_turn
        again = not (whole or same or _goes_on(held.failed, text))
        failed = held.failed if same else whole or text
        if slot.kind in _WHEN_KINDS and not same:
            failed = still_begun(slot.kind, text, how, language_of(how.language))
        tries = held.tries + again
        return attrs.evolve(held, status=status, tries=tries, failed=failed, failed_turn=turn), reading.why
    if reading.text == held.text and held.known:
        return _captured(held, reading.text), ""
    status = Status.HEARD if slot.confirmed_by_caller else Status.CONFIRMED
    fresh = attrs.evolve(
        held, text=reading.text, status=status, turn=turn, model=None, transcript=None, failed="", failed_turn=0
    )
    return _captured(fresh, reading.text), ""


def _goes_on(failed: str, text: str) -> bool:
    """Whether `text` is more of what could not be read before: the caller only stopped in between, and it is the same try."""
    before, after = ("".join(filter(str.isalnum, each)).casefold() for each in (failed, text))
    return bool(before) and after != before and after.startswith(before)


def _captured(held: Held, text: str) -> Held:
    return attrs.evolve(held, captures=(*held.captures, text)[-CAPTURES_KEPT:])


def _put(dialogue: Dialogue, name: str, held: Held) -> Dialogue:
    return attrs.evolve(dialogue, slots={**dialogue.slots, name: held})


# ---------------------------------------------------------------- from the transcript, and from keys


def overheard(
    dialogue: Dialogue, flow: flows.Flow, words: str, confidence: float | None, now: datetime.datetime
) -> tuple[Dialogue, tuple[str, ...]]:
    """Compares the caller's words, as they were written down, with the slots that are asked for.

    They fill none: transcribers mishear. But that they agree with what the model saved makes it surer, that they do not
    makes it less sure; and the slots returned are those that the words seem to hold and nobody has saved.
    """
    unsaved: list[str] = []
    for name in flow.states[dialogue.at].collects:
        slot, held = flow.slots[name], dialogue.held(name)
        if not slot.confirmed_by_caller or held.status is Status.CONFIRMED:
            continue
        reading = understand(slot.kind, words, context(slot, flow, now), held.text)
        if not isinstance(reading, Understood):
            continue
        if not held.known:
            unsaved.append(name)
        elif held.turn == dialogue.turn:
            dialogue = _put(dialogue, name, attrs.evolve(_captured(held, reading.text), transcript=confidence))
    return dialogue, tuple(unsaved)


def keyed(
    dialogue: Dialogue, flow: flows.Flow, digits: str, now: datetime.datetime
) -> tuple[Dialogue, Report, str] | None:
    """Keys as the value of the slot that is asked for and can be typed: what became of it, and its name. None if none is."""
    for name in flow.states[dialogue.at].collects:
        if flow.slots[name].kind in KEYED_KINDS and dialogue.held(name).status is not Status.CONFIRMED:
            after, report = save(dialogue, flow, {name: digits}, now)
            return after, report, name
    return None
