"""The house rules that a program can check: who imports whom, where nothing may wait, which shields are bounded."""

import ast
import functools
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import actors
import conf
import transport

ROOMS = {room.__name__: Path(str(room.__file__)).parent for room in (actors, conf, transport)}


def modules(*rooms: str) -> list[Path]:
    return sorted(path for room in rooms for path in ROOMS[room].rglob("*.py"))


def named(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def nodes(path: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(path.read_text("utf-8")))


@functools.cache
def imports(path: Path) -> frozenset[str]:
    """Top-level names of all that `path` imports, wherever in the file."""
    found: set[str] = set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            found.add((node.module or "").split(".")[0])
    return frozenset(found)


# Of the standard library, what would be a door to the outside.
DOORS = {
    "socket",
    "ssl",
    "http",
    "urllib",
    "json",
    "sqlite3",
    "asyncio",
    "threading",
    "subprocess",
    "os",
    "time",
    "base64",
}


READERS = {"phonenumbers", "email_validator", "dateutil"}
"""Other people's knowledge of what callers say; only what reads values may ask it."""


def test_the_actors_know_nothing_of_the_outside() -> None:
    inside = (set(sys.stdlib_module_names) - DOORS) | {"trio", "attrs", "cattrs", "webrtcvad", "actors", "conf"}
    for path in modules("actors"):
        allowed = inside | (READERS if path.parent == ROOMS["actors"] / "slots" else set())
        assert imports(path) <= allowed, named(path)


def test_settings_know_no_running_call() -> None:
    for path in modules("conf"):
        assert not imports(path) & {"actors", "transport", "trio"}, named(path)


def test_there_is_no_asyncio_and_no_test_in_the_product() -> None:
    for path in modules("actors", "conf", "transport"):
        assert not imports(path) & {"asyncio", "anyio", "tests", "pytest", "hypothesis"}, named(path)


PURE = [
    "details",
    "dialogue",
    "call_state",
    "farewell",
    "flow_step",
    "fsm",
    "tool_step",
    "guidance",
    "ledger",
    "messages",
    "notebook",
    "reply_desk",
    "story",
    "tool_desk",
    "tools",
]


@pytest.mark.parametrize("name", PURE)
def test_what_is_pure_waits_for_nothing_and_owns_no_clock(name: str) -> None:
    path = ROOMS["actors"] / f"{name}.py"
    for node in nodes(path):
        assert not isinstance(node, ast.AsyncFunctionDef | ast.AsyncWith | ast.AsyncFor | ast.Await)
    assert "trio" not in imports(path)


BOUNDED = ("move_on_after(", "move_on_at(", "fail_after(", "fail_at(", "deadline=")


def test_every_shield_has_a_deadline_on_its_line() -> None:
    for path in modules("actors", "conf", "transport"):
        code = path.read_text("utf-8")
        for node in nodes(path) if "shield" in code else ():
            if isinstance(node, ast.keyword) and node.arg == "shield":
                line = code.splitlines()[node.lineno - 1]
                assert any(bound in line for bound in BOUNDED), f"{path.name}:{node.lineno}: {line.strip()}"
            if isinstance(node, ast.Attribute) and node.attr == "shield":
                raise AssertionError(f"{path.name}:{node.lineno} sets a shield without a deadline beside it")


def test_actors_talk_over_mailboxes_that_say_how_big_they_are() -> None:
    for path in modules("actors"):
        if path.name != "mailbox.py":
            assert "open_memory_channel" not in path.read_text("utf-8"), named(path)


def test_no_test_module_imports_another() -> None:
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        found = re.search(r"^(?:from|import) tests\b[^\n]*\btest_\w+", path.read_text("utf-8"), re.MULTILINE)
        assert found is None, f"{path.name}: what tests share is in a kit"
