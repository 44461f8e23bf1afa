"""What the model is told: the instructions, which stay as they are from the first word to the last, and the guidance for the
present state, which goes into one system item at the tail of the conversation and is replaced when something changes.

Pure. That nothing before the tail ever changes is what keeps the model's prompt cache whole (see OpenAI's guide to the costs
of the Realtime API): a call of ten minutes costs about an eighth.
"""

import datetime
from collections.abc import Iterator

from actors.details import KEYED_KINDS
from actors.dialogue import Dialogue, Held, Status
from actors.slots import read_back
from conf.flow import Flow, Slot

RULES = """
How to speak: short replies, one or two sentences, {seconds:g} seconds of speech at most; one question at a time.
Plain words, no lists.
If the audio is unclear, or you heard only noise, ask the caller to repeat; call no tool and invent nothing.
When the caller asks for a person, or you cannot help after two tries: say that you are connecting them, and call
transfer_to_human.
When the caller says goodbye or has all they need: say goodbye in one short sentence, and call end_call in the same reply.
Keys pressed on the keypad reach you as text.
"""
DETAILS = """
What the caller tells you: save it at once with save_details. What needs confirmation is read back, letter by letter or
digit by digit where it was spelled; wait for the answer; then call confirm_details with what the caller said. After a
correction read the whole value again. A tool's answer says what is wrong with a value and what to ask: do that. Never
read out what you did not save.
A system message in brackets says where the conversation stands. Follow the newest one; never mention it.
"""


def instructions(flow: Flow) -> str:
    """The instructions of a whole call."""
    rules = RULES.format(seconds=flow.reply_seconds).strip()
    parts = [flow.instructions.strip(), rules, DETAILS.strip() if _has_states(flow) else ""]
    return "\n".join(part for part in parts if part)


def guidance(flow: Flow, dialogue: Dialogue, caller: str = "", today: datetime.date | None = None) -> str:
    """Where the conversation stands; of a flow that has nothing to guide, the date alone. `caller`: their number, if it is
    known; `today`: the date where the flow is, which no model knows by itself. (Not the time: it would be another text with
    every turn.)"""
    lines = list(_lines(flow, dialogue, caller, today) if _has_states(flow) else _date(today))
    return "[" + "\n".join(lines) + "]" if lines else ""


def _has_states(flow: Flow) -> bool:
    return bool(flow.slots or flow.intents) or len(flow.states) > 1


def _lines(flow: Flow, dialogue: Dialogue, caller: str, today: datetime.date | None) -> Iterator[str]:
    state = flow.states[dialogue.at]
    yield f"Now: {state.goal}"
    yield from _date(today)
    for name, slot in flow.slots.items():
        line = _slot_line(name, slot, dialogue.held(name), today)
        if line:
            yield line
    wanted = [name for name in state.collects if not _settled(dialogue.held(name))]
    missing = [f"{name} ({flow.slots[name].label})" for name in wanted if not dialogue.held(name).text]
    if missing:
        yield f"Still to ask for: {', '.join(missing)}. One at a time."
    if caller and any(flow.slots[name].kind == "phone" for name in wanted):
        yield f"The caller is calling from {caller}."
    spelled = [name for name in wanted if flow.slots[name].spell and not dialogue.held(name).known]
    if spelled:
        yield f"Ask the caller to spell: {', '.join(spelled)}."
    for name, outcome in dialogue.outcomes.items():
        yield f"{name}: {outcome}."
    if state.seconds:
        yield f"Reply within {state.seconds:g} seconds of speech."
    if state.tools:
        yield f"Tools for this: {', '.join(state.tools)}."
    if state.without:
        yield f"Not to be used now: {', '.join(state.without)}."


def _date(today: datetime.date | None) -> Iterator[str]:
    if today is not None:
        yield f"Today is {today:%A}, {today:%B} {today.day}, {today.year}."


def _settled(held: Held) -> bool:
    return held.status in {Status.CONFIRMED, Status.DECLINED}


def _slot_line(name: str, slot: Slot, held: Held, today: datetime.date | None) -> str:
    if held.status is Status.DECLINED:
        return f"{name}: the caller does not want to say it. Do not ask again."
    if held.status is Status.CONFIRMED:
        return f"{name}: {held.text} (settled)."
    if held.status is Status.HEARD:
        unsure = held.confidence is not None and held.confidence < 0.7
        doubt = " It was understood in two ways: ask the caller to spell it." if unsure else ""
        spoken = read_back(slot.kind, held.text, today)
        return f"{name}: {held.text}, not confirmed. Read it back as: {spoken}. Ask whether that is right.{doubt}"
    if held.status is Status.UNCLEAR:
        keypad = " Offer to type it on the keypad, ended by the hash key." if slot.kind in KEYED_KINDS else ""
        wrong = f"; {held.text} was wrong" if held.text else ""
        return f"{name}: not understood yet{wrong}. Ask again, more slowly, spelled.{keypad if held.tries > 1 else ''}"
    return ""
