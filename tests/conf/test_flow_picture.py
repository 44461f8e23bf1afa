"""The picture of a flow: nothing of it is missing, and whatever its texts hold, Mermaid and XML can read it."""

import re
from typing import Any
from xml.etree import ElementTree

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conf.flow import Condition, Effect, Flow, State, Transition
from conf.flow_check import problems
from conf.flow_file import FOLDER, load_flow, structure
from conf.flow_picture import done, mermaid, said, svg

SVG = "{http://www.w3.org/2000/svg}"
SHIPPED = sorted(path.stem for path in FOLDER.glob("*.toml"))
ODD = """<b> & "quotes" 'single' ]]> --> : ; # {braces} é 日本 \N{TELEPHONE RECEIVER}"""


def a_flow(**states: dict[str, Any]) -> Flow:
    return structure({"name": "test", "instructions": "Be kind.", "start": next(iter(states)), "states": states})


def to(goto: str, **when: object) -> dict[str, object]:
    return {"when": when, "goto": goto} if when else {"goto": goto}


def arrows(flow: Flow) -> set[tuple[str, str]]:
    """From where to where a conversation can go in one step, by its states' own transitions."""
    own = {(name, t.goto) for name, state in flow.states.items() for t in state.transitions if t.goto}
    return own | {(name, follows) for name, state in flow.states.items() for follows in state.leads_to}


LOST = a_flow(
    begin={"goal": "Begin.", "transitions": [to("end", key="1")]},
    end={"goal": "End.", "final": True},
    island={"goal": "Nobody comes here.", "transitions": [to("reef", key="2"), to("begin", key="3")]},
    reef={"goal": "Nor here."},
)
ROUND = a_flow(
    begin={"goal": "Begin.", "transitions": [to("begin", silence=5), to("middle", key="1")]},
    middle={"goal": "Go on.", "transitions": [to("begin", key="1"), to("middle", key="2"), to("end", key="3")]},
    end={"goal": "End.", "final": True, "transitions": [to("begin", key="*")]},
)
ROUTED = attrs.evolve(
    ROUND, states={**ROUND.states, "begin": attrs.evolve(ROUND.states["begin"], leads_to=("end", "middle"))}
)
FLOWS = {
    **{name: load_flow(name) for name in SHIPPED},
    "lost": LOST,
    "round": ROUND,
    "routed": ROUTED,
    "bare": Flow("x", "x"),
}


def drawn(flow: Flow) -> ElementTree.Element:
    """The picture, read by somebody else's parser."""
    return ElementTree.fromstring(svg(flow))


def words_of(picture: ElementTree.Element, **attributes: str) -> list[str]:
    texts = picture.iter(f"{SVG}text")
    return [text.text or "" for text in texts if all(text.get(name) == value for name, value in attributes.items())]


# ---------------------------------------------------------------- nothing is missing


@pytest.mark.parametrize("name", FLOWS)
def test_every_state_and_every_arrow_is_in_the_mermaid_text(name: str) -> None:
    flow = FLOWS[name]
    lines = mermaid(flow).splitlines()
    assert lines[0] == "stateDiagram-v2"
    assert f"    [*] --> {flow.start}" in lines
    for state in flow.states:
        assert sum(line.startswith(f"    {state}: ") for line in lines) == 1
    shown = [
        tuple(re.findall(r"^    (\w+) --> (\w+): ", line)[0]) for line in lines if re.match(r"    \w+ --> \w", line)
    ]
    assert sorted(shown) == sorted(arrows(flow))
    assert {line for line in lines if line.endswith("--> [*]")} == {
        f"    {state} --> [*]" for state in flow.states if flow.states[state].final
    }


@pytest.mark.parametrize("name", FLOWS)
def test_every_state_and_every_arrow_is_in_the_picture(name: str) -> None:
    flow = FLOWS[name]
    picture = drawn(flow)
    bold = words_of(picture, **{"font-weight": "bold"})
    assert bold[0] == flow.name
    shared = ["In every state"] if flow.shared else []
    assert sorted(bold[1:]) == sorted([*flow.states, *shared])
    lines = [path for path in picture.iter(f"{SVG}path") if path.get("marker-end") == "url(#tip)"]
    assert len(lines) == len(arrows(flow))
    said_in_all = " ".join(words_of(picture))
    for state in flow.states.values():
        assert state.goal.split()[0] in said_in_all


@pytest.mark.parametrize("name", FLOWS)
def test_everything_is_within_the_picture_and_no_box_lies_on_another(name: str) -> None:
    picture = drawn(FLOWS[name])
    width, height = float(picture.get("width", 0)), float(picture.get("height", 0))
    boxes = [
        tuple(float(box.get(side, 0)) for side in ("x", "y", "width", "height"))
        for box in picture.iter(f"{SVG}rect")
        if box.get("rx")
    ]
    assert len(boxes) == len(FLOWS[name].states)
    for number, (x, y, w, h) in enumerate(boxes):
        assert x >= 0
        assert y >= 0
        assert x + w <= width
        assert y + h <= height
        for x2, y2, w2, h2 in boxes[:number]:
            assert x + w <= x2 or x2 + w2 <= x or y + h <= y2 or y2 + h2 <= y
    for text in picture.iter(f"{SVG}text"):
        assert 0 <= float(text.get("x", -1)) <= width
        assert 0 <= float(text.get("y", -1)) <= height


def test_states_that_nothing_leads_to_are_drawn_last() -> None:
    assert problems(LOST)  # they are a mistake, and can be seen
    tops = {text.text: float(text.get("y", 0)) for text in drawn(LOST).iter(f"{SVG}text")}
    assert tops["begin"] < tops["end"] < tops["island"] == tops["reef"]


def test_an_arrow_with_several_conditions_is_one_with_all_of_them() -> None:
    flow = a_flow(
        begin={"goal": "Begin.", "transitions": [to("end", key="1"), to("end", silence=5)]}, end={"goal": "End."}
    )
    (line,) = [line for line in mermaid(flow).splitlines() if "begin --> end" in line]
    assert line == "    begin --> end: key 1 / 5 s of silence"


def test_what_holds_in_every_state_is_noted_once() -> None:
    flow = attrs.evolve(
        ROUND,
        shared=(
            Transition(Condition(key=("0",)), "end"),
            Transition(Condition(silence=9), "", (Effect("reply", text="Still there?"),)),
        ),
    )
    text = mermaid(flow)
    assert "    note right of begin\n" in text
    assert text.endswith("    end note\n")
    assert "        key 0 – to end\n" in text
    assert "        9 s of silence – reply\n" in text
    words = words_of(drawn(flow))
    assert words[-3:] == ["In every state", "key 0: to end", "9 s of silence: reply"]


def test_what_is_done_in_a_state_is_told() -> None:
    effects = {"on_entry": [{"do": "sms", "text": "Hi"}], "on_exit": [{"do": "tool", "tool": "book"}]}
    stays = {"when": {"key": "5"}, "effects": [{"do": "say"}, {"do": "hang_up"}]}
    flow = a_flow(begin={"goal": "Begin.", "collects": ["name", "email"], "transitions": [stays], **effects})
    expected = ["enter: SMS", "leave: book", "key 5: say, hang up"]
    words = words_of(drawn(flow))
    for text in [*expected, "asks for name, email"]:
        assert text in words
        assert text.replace(":", " –") in mermaid(flow)


# ---------------------------------------------------------------- conditions in words

CONDITIONS: list[tuple[Condition, str]] = [
    (Condition(), "always"),
    (Condition(key=("1", "*")), "key 1 or *"),
    (Condition(silence=5), "5 s of silence"),
    (Condition(silence=0.5), "0.5 s of silence"),
    (Condition(after=90), "after 90 s"),
    (Condition(corrected=("day", "name")), "day, name corrected"),
    (Condition(outcome={"transfer": ("busy", "failed")}), "transfer: busy or failed"),
    (Condition(intent=("book",)), "wants book"),
    (Condition(slots={"name": ("heard", "confirmed")}), "name heard or confirmed"),
    (Condition(equals={"size": ("big",)}), "size is big"),
    (Condition(confidence_below={"name": 0.5}), "name less sure than 0.5"),
    (Condition(tries={"name": 3}), "name tried 3 times"),
    (Condition(visits=2), "visit 2 or later"),
    (Condition(hours="18:00-08:00", days=("sat", "sun")), "18:00-08:00, sat sun"),
    (Condition(all=(Condition(key=("1",)), Condition(visits=2))), "key 1, visit 2 or later"),
    (Condition(any=(Condition(key=("1",)), Condition(silence=3))), "(key 1 or 3 s of silence)"),
    (Condition(but_not=Condition(intent=("book",))), "not wants book"),
]


@pytest.mark.parametrize(("condition", "words"), CONDITIONS, ids=lambda x: x if isinstance(x, str) else "")
def test_a_condition_is_said_in_a_few_words(condition: Condition, words: str) -> None:
    assert said(condition) == words


def test_every_part_of_a_condition_has_words() -> None:
    used = {
        field.name
        for condition, _ in CONDITIONS
        for field in attrs.fields(Condition)
        if getattr(condition, field.name) != field.default and getattr(condition, field.name)
    }
    assert used == {field.name for field in attrs.fields(Condition)}


@pytest.mark.parametrize(
    ("effect", "words"),
    [
        (Effect("sms"), "SMS"),
        (Effect("hang_up"), "hang up"),
        (Effect("tool", tool="book"), "book"),
        (Effect("forget"), "forget"),
    ],
)
def test_an_effect_is_said_in_a_few_words(effect: Effect, words: str) -> None:
    assert done(effect) == words


# ---------------------------------------------------------------- whatever the texts hold


def odd_flow(text: str) -> Flow:
    """A flow with `text` wherever a text may stand."""
    when = Condition(equals={"slot": (text,)}, intent=(text,))
    effects = (Effect("tool", tool=text),)
    begin = State(text, collects=(text,), on_entry=effects, transitions=(Transition(when, "end"), Transition(when)))
    return Flow(
        text, "Be kind.", start="begin", states={"begin": begin, "end": State(text)}, shared=(Transition(when, "end"),)
    )


def test_special_characters_are_escaped_in_the_picture() -> None:
    picture = svg(odd_flow(ODD))
    words = " ".join(words_of(ElementTree.fromstring(picture)))
    assert words.startswith(ODD)
    for mark in ("<b>", "&", '"quotes"', "日本", "\N{TELEPHONE RECEIVER}"):
        assert words.count(mark) > 1
    assert "<b>" not in picture


def test_what_means_something_to_mermaid_is_taken_out() -> None:
    for line in mermaid(odd_flow(ODD)).splitlines():
        text = line.partition(": ")[2] if ": " in line else line.replace("In every state:", "")
        assert not re.search(r'[:;#"]', text.replace("[*]", "")), line


readable = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn"]), min_size=1, max_size=80).filter(str.strip)


@given(readable)
def test_any_text_leaves_the_picture_well_formed(text: str) -> None:
    picture = drawn(odd_flow(text))
    assert words_of(picture)[0] == text
    assert len(list(picture.iter(f"{SVG}rect"))) == 3


@given(readable)
def test_any_text_leaves_mermaid_its_lines(text: str) -> None:
    lines = mermaid(odd_flow(text)).split("\n")
    assert len(lines) == len(mermaid(odd_flow("plain")).split("\n"))


def test_a_state_with_a_name_that_mermaid_cannot_take_gets_another() -> None:
    flow = structure(
        {
            "name": "odd",
            "instructions": "x",
            "start": "my state",
            "states": {
                "my state": {"goal": "Begin.", "transitions": [{"when": {"key": "1"}, "goto": "b-c"}]},
                "b-c": {"goal": "End.", "final": True},
            },
        }
    )
    assert problems(flow) == []  # nothing is wrong with such names
    for line in mermaid(flow).splitlines()[1:]:
        assert re.fullmatch(r"    ((\w+|\[\*\]) --> (\w+|\[\*\])(: .*)?|\w+: .*|state \".*\" as \w+)", line), line
