"""The flow file: what is read, and the sentence that refuses what cannot be used."""

import shutil
from pathlib import Path

import pytest

from conf.flow import DEFAULT_PATH, Flow, load_flow
from conf.prompts import WORDS
from conf.settings import SettingsError

GOOD = 'name = "desk"\ninstructions = "Be kind."\n'


def flow_of(tmp_path: Path, text: str) -> Flow:
    file = tmp_path / "my_flow.toml"
    file.write_text(text, "utf-8")
    return load_flow(str(file))


def test_the_shipped_flow_is_taken_when_no_path_is_given():
    flow = load_flow()
    assert flow == load_flow(str(DEFAULT_PATH))
    assert flow.name == "front desk"
    assert flow.greeting in WORDS
    assert flow.facts["opening_hours"]


def test_the_shipped_instructions_name_the_tools_there_are():
    instructions = load_flow().instructions
    for tool in ("look_up", "transfer_to_human", "end_call"):
        assert tool in instructions


def test_only_name_and_instructions_are_needed(tmp_path: Path):
    assert flow_of(tmp_path, GOOD) == Flow("desk", "Be kind.", "greeting", {})


def test_facts_and_greeting_are_read(tmp_path: Path):
    flow = flow_of(tmp_path, GOOD + 'greeting = "resume"\n[facts]\n"opening hours" = "Täglich ab 8 Uhr"\n')
    assert flow.greeting == "resume"
    assert flow.facts == {"opening hours": "Täglich ab 8 Uhr"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('instructions = "x"\n', "name"),
        ('name = "x"\n', "instructions"),
        ('name = " "\ninstructions = "x"\n', ""),
        ('name = "x"\ninstructions = "\\n"\n', ""),
        (GOOD + 'greeting = "hello"\n', ""),
        (GOOD + 'tone = "warm"\n', "tone"),
        ('name = 5\ninstructions = "x"\n', "name"),
        (GOOD + "[facts]\nprice = 60\n", "price"),
        (GOOD + "[facts]\nopen = true\n", "open"),
        (GOOD + 'facts = "none"\n', "facts"),
        (GOOD + "facts = 5\n", "facts"),
    ],
)
def test_a_wrong_flow_is_refused_with_file_and_place(tmp_path: Path, text: str, said: str):
    with pytest.raises(SettingsError) as refused:
        flow_of(tmp_path, text)
    assert said in str(refused.value)
    assert "my_flow.toml" in str(refused.value)


def test_what_is_no_toml_is_refused(tmp_path: Path):
    with pytest.raises(SettingsError, match="is not TOML"):
        flow_of(tmp_path, "name = desk")
    (tmp_path / "latin.toml").write_bytes(b'name = "\xe4"\n')
    with pytest.raises(SettingsError, match="is not TOML"):
        load_flow(str(tmp_path / "latin.toml"))


def test_a_missing_flow_is_named_by_its_key_and_path(tmp_path: Path):
    with pytest.raises(SettingsError, match=r"flow\.path.*absent\.toml"):
        load_flow(str(tmp_path / "absent.toml"))
    with pytest.raises(SettingsError, match=r"flow\.path"):
        load_flow(str(tmp_path))


def test_a_copy_of_the_shipped_flow_reads_the_same(tmp_path: Path):
    copy = Path(shutil.copy(DEFAULT_PATH, tmp_path))
    assert load_flow(str(copy)) == load_flow()
