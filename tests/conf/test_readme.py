"""The README says what is true: its settings table and its commands."""

import datetime
import re
import tomllib
from pathlib import Path

from conf import settings
from conf.flow_check import problems
from conf.flow_file import load_flow, structure
from conf.json_schema import schema_of

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


def code(containing: str) -> str:
    """The block of Python in the README that contains a text."""
    (block,) = [block for block in re.findall(r"^```python\n(.*?)^```", README, re.M | re.S) if containing in block]
    return block


def test_the_scenario_of_the_readme_runs():
    names: dict[str, object] = {}
    exec(code("Scenario("), names)
    names["test_a_name_is_spelled_and_confirmed"]()  # type: ignore[operator] # whatever the README defines


def test_the_python_flow_of_the_readme_is_a_flow_without_mistakes():
    names: dict[str, object] = {"datetime": datetime}
    exec(code("PythonFlow("), names)
    flow = names["flow"].build()  # type: ignore[attr-defined] # whatever the README defines
    assert problems(flow) == []
    assert schema_of(flow.tools["free_times"].arguments)["required"] == ["day"]


def test_the_state_that_the_readme_shows_is_that_of_the_shipped_flow():
    (block,) = re.findall(r"^```toml\n(.*?)^```", README, re.M | re.S)
    assert tomllib.loads(block)["states"]["email"].keys() <= {"goal", "collects", "patience_ms", "transitions"}
    assert (
        structure({"name": "x", "instructions": "x", **tomllib.loads(block)}).states["email"]
        == (load_flow("appointment").states["email"])
    )


def test_systemd_can_read_the_unit():
    (unit,) = re.findall(r"^```ini\n(.*?)^```", README, re.M | re.S)
    for line in filter(
        None, unit.splitlines()
    ):  # systemd knows no comment behind anything, and no section in a line with one
        assert re.fullmatch(r"#.*|\[\w+\]|[A-Z]\w+=[^#]+", line), line
    (command,) = re.findall("^ExecStart=.*/(hypercorn .*)$", unit, re.MULTILINE)
    assert command.replace(" -b 127.0.0.1:%i", "") in README.replace(unit, "")
    (waits,) = re.findall("^TimeoutStopSec=([0-9]+)$", unit, re.MULTILINE)
    hypercorn = tomllib.loads((Path(__file__).parents[2] / "conf" / "hypercorn.toml").read_text("utf-8"))
    assert int(waits) > hypercorn["graceful_timeout"]
