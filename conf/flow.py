"""The flow file: what the agent is for, what it knows, what it says first. Data only; the machine is in `actors/fsm.py`."""

import tomllib
from pathlib import Path

import attrs
import cattrs

from conf.prompts import WORDS
from conf.settings import SettingsError

DEFAULT_PATH = Path(__file__).with_name("flows") / "front_desk.toml"


def _known_prompt(_: object, attribute: "attrs.Attribute[str]", value: str) -> None:
    if value not in WORDS:
        raise ValueError(f"{attribute.name} = {value!r}: allowed are the prompts {', '.join(sorted(WORDS))}")


def _not_empty(_: object, attribute: "attrs.Attribute[str]", value: str) -> None:
    if not value.strip():
        raise ValueError(f"{attribute.name} is empty: write a text")


@attrs.frozen
class Flow:
    """One agent: its instructions for the model, its first words (a recorded prompt), the facts it may look up."""

    name: str = attrs.field(validator=_not_empty)
    instructions: str = attrs.field(validator=_not_empty)
    greeting: str = attrs.field(default="greeting", validator=_known_prompt)
    facts: dict[str, str] = attrs.field(factory=dict[str, str])


_converter = cattrs.Converter(forbid_extra_keys=True)


@_converter.register_structure_hook
def _strict_text(value: object, _: type[str]) -> str:
    """cattrs would turn 5 into '5'; a flow says what it means."""
    if not isinstance(value, str):
        raise ValueError(f"expected a text, not {value!r}")
    return value


def load_flow(path: str = "") -> Flow:
    """The flow in the file at `path` (empty: the shipped one). Raises SettingsError naming file, place and hint."""
    file = Path(path) if path else DEFAULT_PATH
    try:
        return _converter.structure(tomllib.loads(file.read_text("utf-8")), Flow)
    except OSError as error:
        raise SettingsError(f"flow.path = {str(file)!r} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"The flow {file} is not TOML: {error}.") from error
    except Exception as error:  # cattrs raises groups of whatever the hooks and validators raised
        raise SettingsError(f"The flow {file} cannot be used: {'; '.join(cattrs.transform_error(error))}.") from error
