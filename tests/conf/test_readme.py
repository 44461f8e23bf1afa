"""The README says what is true: its settings table and its commands."""

import re
from pathlib import Path

from conf import settings

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")


def test_the_settings_table_lists_every_key_with_its_default_and_no_other():
    listed = dict(re.findall(r"^\| `(\w+\.\w+)` \| `?(.*?)`? \|", README, re.MULTILINE))
    keys = {f"{section}.{field.name}": field.default for section, field in settings.all_settings()}
    assert set(listed) == set(keys)
    for key, default in keys.items():
        assert listed[key] == (f"{default:g}" if isinstance(default, float) else str(default)), key


def test_continuous_integration_runs_the_test_command_of_the_readme():
    (command,) = re.findall(r"^python3 -m venv .*pytest$", README, re.MULTILINE)
    script = (Path(__file__).parents[2] / ".ci" / "run").read_text("utf-8")
    assert command in script
