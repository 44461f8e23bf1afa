"""The flow file: what is read, and the sentence that refuses what cannot be used."""

import re
import shutil
from pathlib import Path

import attrs
import pytest

from conf.flow import TALK, Condition, Effect, Flow, Slot, State, Transition
from conf.flow_file import DEFAULT, FOLDER, load_flow, path_of, read_flow, structure
from conf.prompts import WORDS
from conf.settings import SettingsError

GOOD = 'name = "desk"\ninstructions = "Be kind."\n'
SHIPPED = sorted(path.stem for path in FOLDER.glob("*.toml"))


def flow_of(tmp_path: Path, text: str, name: str = "my_flow.toml") -> Flow:
    file = tmp_path / name
    file.write_text(text, "utf-8")
    return load_flow(str(file))


def refusal(tmp_path: Path, text: str, name: str = "my_flow.toml") -> str:
    with pytest.raises(SettingsError) as refused:
        flow_of(tmp_path, text, name)
    assert name in str(refused.value)
    return str(refused.value)


def in_state(keys: str) -> str:
    """A flow with one more state, which has `keys`."""
    return f'{GOOD}start = "a"\n[states.a]\ngoal = "Help."\nfinal = true\n{keys}\n'


def in_slot(keys: str) -> str:
    return f'{GOOD}[slots.n]\nkind = "number"\nlabel = "how many"\n{keys}\n'


# ---------------------------------------------------------------- which file


def test_the_shipped_flow_is_taken_when_no_path_is_given():
    flow = load_flow()
    assert flow == load_flow(str(FOLDER / f"{DEFAULT}.toml"))
    assert flow.name == DEFAULT == "appointment"
    assert flow.greeting in WORDS
    assert flow.facts["opening_hours"]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_bare_name_is_a_shipped_flow_wherever_one_is(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text("not this one")
    assert path_of(name) == FOLDER / f"{name}.toml"
    assert load_flow(name) == load_flow(str(FOLDER / f"{name}.toml"))


@pytest.mark.parametrize("given", ["dentist", "appointment.toml", "./appointment", "flows/appointment.toml", "a b"])
def test_everything_else_is_a_path(given: str):
    assert path_of(given) == Path(given)


def test_a_missing_flow_is_named_by_its_key_and_path(tmp_path: Path):
    for name in ("absent.toml", "absent.py"):
        with pytest.raises(SettingsError, match=rf"flow\.path.*{re.escape(name)}"):
            load_flow(str(tmp_path / name))
    with pytest.raises(SettingsError, match=r"flow\.path"):
        load_flow(str(tmp_path))
    with pytest.raises(SettingsError, match=r"flow\.path.*dentist.*shipped are after_hours, appointment"):
        load_flow("dentist")


def test_a_copy_of_the_shipped_flow_reads_the_same(tmp_path: Path):
    copy = Path(shutil.copy(path_of(""), tmp_path))
    assert load_flow(str(copy)) == load_flow()


# ---------------------------------------------------------------- what is read


def test_only_name_and_instructions_are_needed(tmp_path: Path):
    flow = flow_of(tmp_path, GOOD)
    assert flow == Flow("desk", "Be kind.")
    assert flow.greeting == "greeting"
    assert (flow.facts, flow.slots, flow.intents, flow.shared, flow.tools) == ({}, {}, {}, (), {})
    assert list(flow.states) == [TALK] == [flow.start]


def test_a_call_begins_in_the_first_state_if_none_is_named(tmp_path: Path):
    state = (
        'goal = "Help."\nfinal = true\ntransitions = [{ when.key = "1", goto = "b" }, { when.key = "2", goto = "a" }]\n'
    )
    text = f"{GOOD}[states.b]\n{state}[states.a]\n{state}"
    assert flow_of(tmp_path, text).start == "b"
    assert flow_of(tmp_path, f'start = "a"\n{text}').start == "a"


def test_facts_and_greeting_are_read(tmp_path: Path):
    flow = flow_of(tmp_path, GOOD + 'greeting = "resume"\n[facts]\n"opening hours" = "Täglich ab 8 Uhr"\n')
    assert flow.greeting == "resume"
    assert flow.facts == {"opening hours": "Täglich ab 8 Uhr"}


def test_every_key_of_the_flow_itself_is_read(tmp_path: Path):
    text = 'language = "de"\nregion = "DE"\ntimezone = "Europe/Berlin"\nreply_seconds = 4\nextract = false\n'
    (tmp_path / "german.toml").write_text(GOOD + text + "reply_seconds_at_most = 12.5\n", "utf-8")
    flow = read_flow(str(tmp_path / "german.toml"))
    assert (flow.language, flow.region, flow.timezone) == ("de", "DE", "Europe/Berlin")
    assert (flow.reply_seconds, flow.reply_seconds_at_most, flow.extract) == (4.0, 12.5, False)
    assert type(flow.reply_seconds) is float


def test_slots_states_and_shared_are_read(tmp_path: Path):
    flow = flow_of(
        tmp_path,
        GOOD
        + """
start = "ask"
[intents]
book = "Wants an appointment."
[slots.size]
kind = "choice"
label = "the size"
confirm = true
choices.small = "little"
choices.large = ["big", "huge"]
[slots.people]
kind = "number"
label = "how many"
least = 1
most = 9.5
tries = 2
[states.ask]
goal = "Ask."
collects = ["size", "people"]
patience_ms = 900
seconds = 3
on_entry = [{ do = "say", prompt = "resume" }]
on_exit = [{ do = "forget", slots = "size" }]
transitions = [{ when.slots.size = "confirmed", when.not.equals.size = "small", goto = "end" }]
[states.end]
goal = "Say goodbye."
final = true
[[shared]]
when.intent = "book"
goto = "ask"
[[shared]]
when.any = [{ key = "*" }, { silence = 10 }]
effects = [{ do = "transfer", how = "warm", name = "desk" }]
""",
    )
    assert flow.slots["size"] == Slot(
        "choice", "the size", confirm=True, choices={"small": ("little",), "large": ("big", "huge")}
    )
    assert flow.slots["people"] == Slot("number", "how many", least=1.0, most=9.5, tries=2)
    guard = Condition(slots={"size": ("confirmed",)}, but_not=Condition(equals={"size": ("small",)}))
    assert flow.states["ask"] == State(
        "Ask.",
        collects=("size", "people"),
        patience_ms=900,
        seconds=3.0,
        on_entry=(Effect("say", prompt="resume"),),
        on_exit=(Effect("forget", slots=("size",)),),
        transitions=(Transition(guard, "end"),),
    )
    assert flow.shared == (
        Transition(Condition(intent=("book",)), "ask"),
        Transition(
            Condition(any=(Condition(key=("*",)), Condition(silence=10.0))),
            effects=(Effect("transfer", how="warm", name="desk"),),
        ),
    )
    assert flow.transitions_of("end") == flow.shared
    assert flow.transitions_of("ask")[1:] == flow.shared


NAMES = ["key", "corrected", "intent", "days", "slots.n", "equals.n", "outcome.n"]


@pytest.mark.parametrize("key", NAMES)
def test_a_condition_takes_one_name_or_a_list(key: str):
    def guard(value: str) -> Condition:
        tables: dict[str, object] = {}
        field, _, inner = key.partition(".")
        names: object = value.split() if " " in value else value
        tables[field] = {inner: names} if inner else names
        transitions = [{"when": tables, "goto": "a"}]
        states = {"a": {"goal": "Help.", "transitions": transitions}}
        return structure({"name": "x", "instructions": "x", "states": states}).states["a"].transitions[0].when

    field, _, inner = key.partition(".")
    for value, names in {"one": ("one",), "one two": ("one", "two")}.items():
        got = getattr(guard(value), field)
        assert (got[inner] if inner else got) == names


def test_a_condition_may_be_nested_as_deep_as_one_likes(tmp_path: Path):
    flow = flow_of(tmp_path, in_state('transitions = [{ when.not.not.any = [{ all = [{ key = "1" }] }], goto = "a" }]'))
    when = flow.states["a"].transitions[0].when
    assert [part.key for part in when.parts()] == [(), (), (), (), ("1",)]
    assert when == Condition(
        but_not=Condition(but_not=Condition(any=(Condition(all=(Condition(key=("1",)),)),))),
    )


# ---------------------------------------------------------------- what is refused


def place(path: str) -> str:
    """`path` with dots, as a pattern for any way of writing it."""
    return r"\W+".join(re.escape(part) for part in path.split(".")) + r"(?!\w)"


TEXT, NUMBER, WHOLE, TRUTH, NAME_OR_LIST = "str|text", "float|number", "int|whole", "bool|true", "tuple|text|list"
TABLE = "table|mapping|keys are"
FLOOR = "allowed are open, finish, protected"
MISSING = "required|missing"


@pytest.mark.parametrize(
    ("text", "path", "hint"),
    [
        ('instructions = "x"\n', "name", MISSING),
        ('name = "x"\n', "instructions", MISSING),
        ('name = 5\ninstructions = "x"\n', "name", TEXT),
        (GOOD + "greeting = 5\n", "greeting", TEXT),
        (GOOD + "timezone = true\n", "timezone", TEXT),
        (GOOD + "facts = 5\n", "facts", TABLE),
        (GOOD + 'facts = "none"\n', "facts", TABLE),
        (GOOD + "[facts]\nprice = 60\n", "facts.price", TEXT),
        (GOOD + "[facts]\nopen = true\n", "facts.open", TEXT),
        (GOOD + "[intents]\nbook = 1\n", "intents.book", TEXT),
        (GOOD + 'reply_seconds = "5"\n', "reply_seconds", NUMBER),
        (GOOD + "reply_seconds = true\n", "reply_seconds", NUMBER),
        (GOOD + "extract = 1\n", "extract", TRUTH),
        (GOOD + 'states = "none"\n', "states", TABLE),
        (GOOD + '[slots.n]\nlabel = "x"\n', "slots.n.kind", MISSING),
        (GOOD + '[slots.n]\nkind = "text"\n', "slots.n.label", MISSING),
        (GOOD + 'floor = "never"\n', "floor", FLOOR),
        (GOOD + 'floor = ""\n', "floor", FLOOR),
        (GOOD + 'greeting_floor = "shut"\n', "greeting_floor", FLOOR),
        (in_state('floor = "shut"'), "states.a.floor", FLOOR),
        (in_state('on_entry = [{ do = "say", floor = "shut" }]'), "states.a.on_entry.0.floor", FLOOR),
        (in_slot("tries = 1.5"), "slots.n.tries", WHOLE),
        (in_slot("tries = true"), "slots.n.tries", WHOLE),
        (in_slot('least = "1"'), "slots.n.least", NUMBER),
        (in_slot("most = true"), "slots.n.most", NUMBER),
        (in_slot('spell = "yes"'), "slots.n.spell", TRUTH),
        (in_slot("confirm = 0"), "slots.n.confirm", TRUTH),
        (in_slot("choices.a = 1"), "slots.n.choices.a", NAME_OR_LIST),
        (GOOD + "[states.a]\nfinal = true\n", "states.a.goal", MISSING),
        (in_state("collects = 5"), "states.a.collects", NAME_OR_LIST),
        (in_state('collects = ["n", 5]'), "states.a.collects", NAME_OR_LIST),
        (in_state('patience_ms = "900"'), "states.a.patience_ms", WHOLE),
        (in_state("patience_ms = 900.5"), "states.a.patience_ms", WHOLE),
        (in_state('on_entry = [{ name = "x" }]'), "states.a.on_entry.0.do", MISSING),
        (in_state('on_exit = [{ do = "sms", text = 5 }]'), "states.a.on_exit.0.text", TEXT),
        (in_state("transitions = [{ goto = 5 }]"), "states.a.transitions.0.goto", TEXT),
        (
            in_state("transitions = [{ when.key = 5, goto = 'a' }]"),
            "states.a.transitions.0.when.key",
            NAME_OR_LIST,
        ),
        (
            in_state("transitions = [{ goto = 'a' }, { when.silence = '6', goto = 'a' }]"),
            "states.a.transitions.1.when.silence",
            NUMBER,
        ),
        (
            in_state("transitions = [{ when.slots.n = 5, goto = 'a' }]"),
            "states.a.transitions.0.when.slots.n",
            NAME_OR_LIST,
        ),
        (
            in_state("transitions = [{ when.slots = 'n', goto = 'a' }]"),
            "states.a.transitions.0.when.slots",
            TABLE,
        ),
        (
            in_state("transitions = [{ when.tries.n = 'all', goto = 'a' }]"),
            "states.a.transitions.0.when.tries.n",
            WHOLE,
        ),
        (
            in_state("transitions = [{ when.confidence_below.n = 'low', goto = 'a' }]"),
            "states.a.transitions.0.when.confidence_below.n",
            NUMBER,
        ),
        (
            in_state("transitions = [{ when.any = [{ key = '1' }, { silence = 'x' }], goto = 'a' }]"),
            "states.a.transitions.0.when.any.1.silence",
            NUMBER,
        ),
        (
            in_state("transitions = [{ when.not.visits = 'x', goto = 'a' }]"),
            "states.a.transitions.0.when.not.visits",
            WHOLE,
        ),
        (GOOD + '[[shared]]\nwhen.key = 5\ngoto = "talk"\n', "shared.0.when.key", NAME_OR_LIST),
    ],
)
def test_a_wrong_type_is_refused_with_file_path_and_hint(tmp_path: Path, text: str, path: str, hint: str):
    said = refusal(tmp_path, text)
    assert re.search(place(path), said), said
    assert re.search(hint, said), said


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (GOOD + "[states]\na = 'none'\n", "states.a"),
        (GOOD + "[slots]\na = 'email'\n", "slots.a"),
        (GOOD + "shared = 'none'\n", "shared"),
        (GOOD + "[shared]\ngoto = 'talk'\n", "shared"),
        (in_state("on_entry = 'say'"), "states.a.on_entry"),
        (in_state("on_entry = { do = 'say' }"), "states.a.on_entry"),
        (in_state("transitions = [{ when = 'always', goto = 'a' }]"), "states.a.transitions.0.when"),
        (in_state("transitions = [{ when.not = 'b', goto = 'a' }]"), "states.a.transitions.0.when.not"),
        (in_state("transitions = [{ when.all = { key = '1' }, goto = 'a' }]"), "states.a.transitions.0.when.all"),
    ],
)
def test_what_should_be_a_table_or_a_list_of_them_is_refused_in_words_for_people(tmp_path: Path, text: str, path: str):
    said = refusal(tmp_path, text)
    assert re.search(place(path), said), said
    for ours in ("unknown error", "attribute", "object has"):
        assert ours not in said


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('name = " "\ninstructions = "x"\n', ("name", "empty")),
        ('name = "x"\ninstructions = "\\n"\n', ("instructions", "empty")),
        (GOOD + 'greeting = "hello"\n', ("greeting", "hello", "welcome_back")),
        (GOOD + '[slots.n]\nkind = "nmae"\nlabel = "x"\n', ("slots", "n", "nmae", "person_name", "date_time")),
        (GOOD + '[slots.n]\nkind = "text"\nlabel = ""\n', ("slots", "n", "label", "empty")),
        (GOOD + '[states.a]\ngoal = " "\n', ("states", "a", "goal", "empty")),
        (in_state("on_entry = [{ do = 'text' }]"), ("states", "a", "on_entry", "0", "'text'", "hang_up", "sms")),
        (in_state("on_entry = [{ do = 'transfer', how = 'hot' }]"), ("on_entry", "0", "hot", "cold", "warm")),
    ],
)
def test_a_value_that_is_none_of_those_allowed_is_refused_with_those(tmp_path: Path, text: str, names: tuple[str, ...]):
    said = refusal(tmp_path, text)
    for name in names:
        assert name in said, said


@pytest.mark.parametrize(
    ("text", "key", "path"),
    [
        (GOOD + 'tone = "warm"\n', "tone", "$"),
        (GOOD + "[tools]\nx = 1\n", "tools", "$"),
        (in_slot("minimum = 1"), "minimum", "slots.n"),
        (in_state("goals = 'x'"), "goals", "states.a"),
        (in_state("router = 'x'"), "router", "states.a"),
        (in_state("leads_to = ['a']"), "leads_to", "states.a"),
        (in_state("on_entry = [{ do = 'say', words = 'x' }]"), "words", "states.a.on_entry.0"),
        (in_state("transitions = [{ goto = 'a', then = 'b' }]"), "then", "states.a.transitions.0"),
        (in_state("transitions = [{ when.kee = '1', goto = 'a' }]"), "kee", "states.a.transitions.0.when"),
        (in_state("transitions = [{ when.but_not.key = '1', goto = 'a' }]"), "but_not", "states.a.transitions.0.when"),
        (in_state("transitions = [{ when.any = [{ kee = '1' }], goto = 'a' }]"), "kee", "states.a.transitions.0.when"),
        (GOOD + "[[shared]]\nif.key = '1'\ngoto = 'talk'\n", "if", "shared.0"),
    ],
)
def test_an_unknown_key_is_refused_wherever_it_stands(tmp_path: Path, text: str, key: str, path: str):
    said = refusal(tmp_path, text)
    assert re.search(rf"\b{key}\b", said), said
    assert "$" in said if path == "$" else re.search(place(path), said), said


def test_every_mistake_of_a_kind_is_named_at_once(tmp_path: Path):
    said = refusal(tmp_path, GOOD + 'start = 5\nregion = 7\n[slots.n]\nkind = "text"\nlabel = 3\n')
    for path in ("start", "region", "slots.n.label"):
        assert re.search(place(path), said), said


def test_what_can_be_read_and_makes_no_sense_is_refused_with_file_place_and_hint(tmp_path: Path):
    text = in_state("transitions = [{ when.key = '1', goto = 'b' }]")
    said = refusal(tmp_path, text)
    assert "'b' is no state @ states.a.transitions[0].goto: " in said
    assert read_flow(str(tmp_path / "my_flow.toml")).states["a"].transitions[0].goto == "b"


def test_a_time_zone_that_does_not_exist_is_refused(tmp_path: Path):
    assert "timezone = 'Mars/Base'" in refusal(tmp_path, GOOD + 'timezone = "Mars/Base"\n')


def test_what_is_no_toml_is_refused(tmp_path: Path):
    with pytest.raises(SettingsError, match="is not TOML"):
        flow_of(tmp_path, "name = desk")
    (tmp_path / "latin.toml").write_bytes(b'name = "\xe4"\n')
    with pytest.raises(SettingsError, match="is not TOML"):
        load_flow(str(tmp_path / "latin.toml"))


# ---------------------------------------------------------------- flows in Python

PYTHON = """
from conf.flow_python import PythonFlow

flow = PythonFlow(name="desk", instructions="Be kind.")

@flow.state("ask", goal="Ask.", leads_to=["end"])
def ask(known):
    return "end" if known["intent"] else None

@flow.state("end", goal="Say goodbye.", final=True)
def end(known):
    return None
"""


def test_a_flow_may_be_written_in_python(tmp_path: Path):
    flow = flow_of(tmp_path, PYTHON, "mine.py")
    assert (flow.name, flow.instructions, flow.start) == ("desk", "Be kind.", "ask")
    assert list(flow.states) == ["ask", "end"]
    router = flow.states["ask"].router
    assert router is not None
    assert (router({"intent": ""}), router({"intent": "book"})) == (None, "end")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("1 / 0\n", "mine.py, line 1, cannot be run: ZeroDivisionError"),
        ("def f():\n    raise KeyError('x')\n\nf()\n", "mine.py, line 2, cannot be run: KeyError"),
        (
            PYTHON.replace("leads_to=", "leadsto="),
            "cannot be used: The state 'ask': unknown: 'leadsto'; did you mean 'leads_to'?",
        ),
        (
            PYTHON + "flow.slot('n', 'number', 'how many', lest=1)\n",
            "The slot 'n': unknown: 'lest'; did you mean 'least'?",
        ),
        (
            "from conf.flow_python import PythonFlow\nPythonFlow('apointment')\n",
            "line 2, cannot be used: flow.path = 'apointment' cannot be read",
        ),
        ("raise SystemExit(3)\n", "SystemExit"),
        ("def broken(:\n", "SyntaxError"),
        ("import no_such_module_at_all\n", "no_such_module_at_all"),
        ("from conf.flow_python import PythonFlow\nPythonFlow()\n", "name is empty"),
        ("from conf.flow_python import PythonFlow\n", "exactly one PythonFlow; it makes 0"),
        (PYTHON + 'other = PythonFlow(name="b", instructions="b")\n', "exactly one PythonFlow; it makes 2"),
        (PYTHON + "@flow.tool('Finds.')\ndef find(): ...\n", "async"),
        (PYTHON.replace('leads_to=["end"]', 'leads_to=["bed"]'), "'bed' is no state @ states.ask.leads_to: "),
        ("raise FileNotFoundError('my own table')\n", "my own table"),
        (PYTHON + "@flow.tool\nasync def find(): ...\n", "A tool without a description: write @flow.tool("),
        (
            PYTHON + "@flow.tool('Finds.', seconds=0)\nasync def find(): ...\n",
            "seconds = 0: allowed are seconds above 0",
        ),
        (PYTHON + "@flow.tool('Finds.')\nasync def find(): ...\n", "no state offers it @ tools.find: "),
        (
            PYTHON.replace('"end", goal', '"end", on_entry=(Effect("tool", tool="find"),), goal').replace(
                "import PythonFlow", "import PythonFlow\nfrom conf.flow import Effect"
            )
            + "@flow.tool('Finds.')\nasync def find(day: str): ...\n",
            "find needs 'day' @ states.end.on_entry[0].tool: ",
        ),
        (PYTHON.replace("def ask", "async def ask"), "The function of state 'ask': write `def ask(known)`, not async"),
        (PYTHON.replace("ask(known)", "ask()"), "The function of state 'ask': write `def ask(known)`"),
        (PYTHON.replace("final=True", 'final=True, patience_ms="900"'), "not '900' @ $.states['end'].patience_ms"),
        (
            PYTHON.replace("final=True", 'final=True, without="send_sms"'),
            "not 'send_sms': write ('send_sms',) @ $.states['end'].without",
        ),
        (PYTHON.replace("final=True", 'transitions=[{"goto": "ask"}]'), "@ $.states['end'].transitions[0]"),
        (PYTHON.replace("kind.", 'kind.", start="aks'), "start = 'aks' is no state @ start: did you mean 'ask'?"),
    ],
)
def test_a_python_file_that_makes_no_usable_flow_is_refused(tmp_path: Path, code: str, said: str):
    assert said in refusal(tmp_path, code, "mine.py")


def test_a_flow_that_goes_by_two_names_is_one_flow(tmp_path: Path):
    assert flow_of(tmp_path, PYTHON + "agent = flow\n", "mine.py").name == "desk"


async def test_what_a_python_file_defines_beside_the_flow_is_there_when_its_functions_run(tmp_path: Path):
    code = PYTHON + "BASE = 40\nasync def helper(): return BASE\n"
    code += "@flow.tool('Adds.')\nasync def add(number: int = 2) -> int: return await helper() + number\n"
    code = code.replace('goal="Ask."', 'goal="Ask.", tools=["add"]')
    flow = flow_of(tmp_path, code, "mine.py")
    assert await flow.tools["add"].run() == 42
    assert attrs.has(flow.tools["add"].arguments)
