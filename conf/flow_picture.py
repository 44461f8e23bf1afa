"""Draws a flow: as Mermaid text for documents, as SVG for eyes. States are boxes, transitions arrows with their conditions."""

import re
import textwrap
from collections import defaultdict
from collections.abc import Iterator
from xml.sax.saxutils import escape

import attrs

from conf.flow import Condition, Effect, Flow, Transition
from conf.flow_check import successors

BOX_WIDTH, BOX_GAP, ROW_GAP, MARGIN = 256, 70, 110, 40
LINE_HEIGHT, FONT = 15, 12
GOAL_LINES = 4


# ---------------------------------------------------------------- words


def said(condition: Condition) -> str:
    """A condition in a few words."""
    parts: list[str] = []
    if condition.key:
        parts.append(f"key {' or '.join(condition.key)}")
    if condition.silence is not None:
        parts.append(f"{condition.silence:g} s of silence")
    if condition.after is not None:
        parts.append(f"after {condition.after:g} s")
    if condition.corrected:
        parts.append(f"{', '.join(condition.corrected)} corrected")
    parts += [f"{name}: {' or '.join(outcomes)}" for name, outcomes in condition.outcome.items()]
    if condition.intent:
        parts.append(f"wants {' or '.join(condition.intent)}")
    parts += [f"{slot} {' or '.join(statuses)}" for slot, statuses in condition.slots.items()]
    parts += [f"{slot} is {' or '.join(values)}" for slot, values in condition.equals.items()]
    parts += [f"{slot} less sure than {below:g}" for slot, below in condition.confidence_below.items()]
    parts += [f"{slot} tried {times} times" for slot, times in condition.tries.items()]
    if condition.visits:
        parts.append(f"visit {condition.visits} or later")
    if condition.hours:
        parts.append(condition.hours)
    if condition.days:
        parts.append(" ".join(condition.days))
    parts += [said(part) for part in condition.all]
    if condition.any:
        parts.append("(" + " or ".join(said(part) for part in condition.any) + ")")
    if condition.but_not is not None:
        parts.append(f"not {said(condition.but_not)}")
    return ", ".join(part for part in parts if part) or "always"


def done(effect: Effect) -> str:
    """An effect in a few words."""
    return {"sms": "SMS", "tool": effect.tool, "hang_up": "hang up"}.get(effect.do, effect.do)


@attrs.frozen
class _Arrow:
    start: str
    end: str
    label: str


def _arrows(flow: Flow) -> Iterator[_Arrow]:
    """Every arrow once, with all the conditions under which it is taken."""
    labels: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, state in flow.states.items():
        for transition in state.transitions:
            if transition.goto:
                labels[name, transition.goto].append(said(transition.when))
        for follows in state.leads_to:
            labels[name, follows].append("Python")
    for (start, end), conditions in labels.items():
        yield _Arrow(start, end, " / ".join(conditions))


def _does(flow: Flow, name: str) -> list[str]:
    """What is done in a state besides talking."""
    state = flow.states[name]
    entry = [f"enter: {done(effect)}" for effect in state.on_entry]
    leave = [f"leave: {done(effect)}" for effect in state.on_exit]
    return [*entry, *(_stay(t) for t in state.transitions if not t.goto), *leave]


def _stay(transition: Transition) -> str:
    return f"{said(transition.when)}: {', '.join(done(effect) for effect in transition.effects)}"


def _shared(flow: Flow) -> list[str]:
    return [
        f"{said(t.when)}: {', '.join([*([f'to {t.goto}'] if t.goto else []), *(done(e) for e in t.effects)])}"
        for t in flow.shared
    ]


# ---------------------------------------------------------------- Mermaid


def mermaid(flow: Flow) -> str:
    """A state diagram in Mermaid's language."""
    known = _names(flow)
    lines = ["stateDiagram-v2", f"    [*] --> {known[flow.start]}"]
    for name, state in flow.states.items():
        text = "; ".join([*([f"asks for {', '.join(state.collects)}"] if state.collects else []), *_does(flow, name)])
        lines.append(f"    {known[name]}: {_plain(name + (chr(92) + 'n' + text if text else ''))}")
    lines += [f"    {known[arrow.start]} --> {known[arrow.end]}: {_plain(arrow.label)}" for arrow in _arrows(flow)]
    lines += [f"    {known[name]} --> [*]" for name, state in flow.states.items() if state.final]
    if flow.shared:
        lines += [f"    note right of {known[flow.start]}", "        In every state:"]
        lines += [f"        {_plain(text)}" for text in _shared(flow)]
        lines.append("    end note")
    return "\n".join(lines) + "\n"


def _names(flow: Flow) -> dict[str, str]:
    """What each state goes by in the diagram: Mermaid takes letters, digits and underscores alone."""
    names: dict[str, str] = {}
    for state in flow.states:
        name = re.sub(r"\W", "_", state)
        while name in names.values() or (name != state and name in flow.states):
            name += "_"
        names[state] = name
    return names


def _plain(text: str) -> str:
    """Without what means something to Mermaid."""
    return text.replace(":", " –").replace(";", ",").replace("#", "hash").replace('"', "'")


# ---------------------------------------------------------------- SVG


@attrs.define
class _Box:
    name: str
    lines: list[str]
    x: float = 0
    y: float = 0

    @property
    def height(self) -> float:
        """In pixels."""
        return LINE_HEIGHT * (len(self.lines) + 1) + 16

    @property
    def middle(self) -> float:
        """Of its width."""
        return self.x + BOX_WIDTH / 2


def svg(flow: Flow) -> str:
    """A picture that any browser shows: rows by the number of steps from the start."""
    rows = _rows(flow)
    boxes = {name: _Box(name, _lines(flow, name)) for row in rows for name in row}
    widest = max(len(row) for row in rows)
    width = MARGIN * 2 + widest * BOX_WIDTH + (widest - 1) * BOX_GAP
    y = float(MARGIN + 30)
    for row in rows:
        left = (width - len(row) * BOX_WIDTH - (len(row) - 1) * BOX_GAP) / 2
        for number, name in enumerate(row):
            boxes[name].x, boxes[name].y = left + number * (BOX_WIDTH + BOX_GAP), y
        y += max(boxes[name].height for name in row) + ROW_GAP
    notes = ["In every state", *_shared(flow)] if flow.shared else []
    height = y + LINE_HEIGHT * (len(notes) + 1)
    back = sum(_goes_back(boxes[a.start], boxes[a.end]) for a in _arrows(flow))
    total = width + 60 + 26 * back
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{total:g}" height="{height:g}" '
        f'viewBox="0 0 {total:g} {height:g}" font-family="sans-serif" font-size="{FONT}">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#555"/></marker></defs>',
        f'<rect width="{total:g}" height="{height:g}" fill="white"/>',
        _text(MARGIN, MARGIN, flow.name, weight="bold", size=16),
    ]
    paths, labels = _drawn_arrows(flow, boxes, width)
    parts += paths
    parts += [_drawn(box, final=flow.states[box.name].final, start=box.name == flow.start) for box in boxes.values()]
    parts += labels
    for number, note in enumerate(notes):
        parts.append(_text(MARGIN, y + LINE_HEIGHT * number, note, weight="bold" if number == 0 else "normal"))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _rows(flow: Flow) -> list[list[str]]:
    """States by their distance from the start; those that nothing leads to come last."""
    rows, seen = [[flow.start]], {flow.start}
    while True:
        row: list[str] = []
        for name in rows[-1]:
            for follows in successors(flow, name):
                if follows in flow.states and follows not in seen:
                    seen.add(follows)
                    row.append(follows)
        if not row:
            break
        rows.append(row)
    lost = [name for name in flow.states if name not in seen]
    return [*rows, lost] if lost else rows


def _lines(flow: Flow, name: str) -> list[str]:
    state = flow.states[name]
    lines = textwrap.wrap(state.goal, 36)
    lines = [*lines[: GOAL_LINES - 1], lines[GOAL_LINES - 1] + " …"] if len(lines) > GOAL_LINES else lines
    if state.collects:
        lines += textwrap.wrap(f"asks for {', '.join(state.collects)}", 36)
    for text in _does(flow, name):
        lines += textwrap.wrap(text, 36)
    return lines


def _goes_back(start: _Box, end: _Box) -> bool:
    return end.y <= start.y


def _drawn_arrows(flow: Flow, boxes: dict[str, _Box], width: float) -> tuple[list[str], list[str]]:
    """The lines, and their labels: those are drawn over everything."""
    paths: list[str] = []
    labels: list[str] = []
    leaving: dict[str, int] = defaultdict(int)
    lane = 0
    for arrow in _arrows(flow):
        start, end = boxes[arrow.start], boxes[arrow.end]
        number = leaving[arrow.start]
        leaving[arrow.start] += 1
        if _goes_back(start, end):
            lane += 1
            x = width + 20 + 26 * lane
            y1, y2 = start.y + start.height / 2 + 8 * number, end.y + 18
            right = start.x + BOX_WIDTH
            path = f"M{right:g} {y1:g}H{x:g}V{y2:g}H{end.x + BOX_WIDTH + 2:g}"
            label = (right + 6, y1 - 4)
        else:
            x1 = start.middle + (number - 1) * 36
            y1, y2 = start.y + start.height, end.y - 2
            bend = (y2 - y1) / 2
            path = f"M{x1:g} {y1:g}C{x1:g} {y1 + bend:g} {end.middle:g} {y2 - bend:g} {end.middle:g} {y2:g}"
            label = ((x1 + end.middle) / 2 + 6, y1 + 18 + 28 * (number % 3))
        paths.append(f'<path d="{path}" fill="none" stroke="#555" marker-end="url(#tip)"/>')
        for line, text in enumerate(textwrap.wrap(arrow.label, 34)[:2]):
            labels.append(_text(label[0], label[1] + line * 12, text, size=10, fill="#333", halo=True))
    return paths, labels


def _drawn(box: _Box, *, final: bool, start: bool) -> str:
    fill = "#e6f4ea" if final else "#e8f0fe" if start else "#fafafa"
    shape = (
        f'<rect x="{box.x:g}" y="{box.y:g}" width="{BOX_WIDTH}" height="{box.height:g}" rx="8" fill="{fill}" '
        f'stroke="#555" stroke-width="{2 if final else 1}"/>'
    )
    lines = [_text(box.x + 10, box.y + 20, box.name, weight="bold")]
    lines += [_text(box.x + 10, box.y + 20 + LINE_HEIGHT * n, text) for n, text in enumerate(box.lines, 1)]
    return "\n".join([shape, *lines])


def _text(
    x: float, y: float, text: str, *, weight: str = "normal", size: int = FONT, fill: str = "#111", halo: bool = False
) -> str:
    around = ' paint-order="stroke" stroke="white" stroke-width="3"' if halo else ""
    shown = escape(text)
    return f'<text x="{x:g}" y="{y:g}" font-size="{size}" font-weight="{weight}" fill="{fill}"{around}>{shown}</text>'
