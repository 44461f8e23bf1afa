"""Reads a flow from its file: TOML, or Python (see `flow_python.py`). A mistake is a sentence with file, path and hint."""

import runpy
import tomllib
import traceback
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, cast, get_args

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn, override

from conf.errors import ONLY_IN_PYTHON, RENAMED, sentences
from conf.flow import TALK, Condition, Effect, Flow, Names, State, Transition
from conf.flow_check import problems
from conf.prompts import WORDS
from conf.settings import SettingsError

FOLDER = Path(__file__).with_name("flows")
DEFAULT = "appointment"


def path_of(given: str) -> Path:
    """The file that is meant: a path, the bare name of a shipped flow, or (empty) the default one."""
    shipped = FOLDER / f"{given or DEFAULT}.toml"
    return shipped if not given or (given.isidentifier() and shipped.is_file()) else Path(given)


def load_flow(given: str = "", prompts: Collection[str] = WORDS) -> Flow:
    """The flow at `given` (see `path_of`), checked; it may use `prompts`. Raises SettingsError naming file, place and hint."""
    flow = read_flow(given)
    if found := problems(flow, prompts):
        raise SettingsError(f"The flow {path_of(given)} cannot be used: {'; '.join(found)}.")
    return flow


def read_flow(given: str = "") -> Flow:
    """As `load_flow`, without the check."""
    file = path_of(given)
    try:
        if file.suffix == ".py":
            return _from_python(file)
        return structure(tomllib.loads(file.read_text("utf-8")))
    except OSError as error:
        shipped = (
            "" if file.suffix else f"; shipped are {', '.join(sorted(path.stem for path in FOLDER.glob('*.toml')))}"
        )
        raise SettingsError(f"flow.path = {str(file)!r} cannot be read: {error.strerror}{shipped}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"The flow {file} is not TOML: {error}.") from error
    except SettingsError:
        raise
    except Exception as error:  # cattrs raises groups of whatever the hooks and validators raised
        raise SettingsError(f"The flow {file} cannot be used: {'; '.join(sentences(error))}.") from error


def structure(document: Mapping[str, Any]) -> Flow:
    """The flow of a parsed file; it starts at its first state if none is named. Raises what cattrs raises."""
    flow = _converter.structure(document, Flow)
    return (
        flow if "start" in document or TALK in flow.states else attrs.evolve(flow, start=next(iter(flow.states), TALK))
    )


def _from_python(file: Path) -> Flow:
    """The only flow that the module at `file` leaves behind."""
    from conf.flow_python import PythonFlow, misfits

    file.read_bytes()  # that it cannot be read is another mistake than one of its own
    try:
        names = runpy.run_path(str(file), run_name="triode_flow")
    except SettingsError as error:
        raise SettingsError(f"The flow {file}{_line(error, file)} cannot be used: {error}") from error
    except (Exception, SystemExit) as error:
        where = _line(error, file)
        raise SettingsError(f"The flow {file}{where} cannot be run: {type(error).__name__}: {error}.") from error
    found = list({id(value): value for value in names.values() if isinstance(value, PythonFlow)}.values())
    if len(found) != 1:
        raise SettingsError(f"The flow {file} must make exactly one PythonFlow; it makes {len(found)}.")
    flow = found[0].build()
    if wrong := list(misfits(flow, Flow)):
        raise SettingsError(f"The flow {file} cannot be used: {'; '.join(wrong)}.")
    return flow


def _line(error: BaseException, file: Path) -> str:
    """Where in the file it was raised, as far as it was run."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    return f", line {lines[-1]}," if lines else ""


# ---------------------------------------------------------------- how plain data becomes a flow

_converter = cattrs.Converter(forbid_extra_keys=True)


@_converter.register_structure_hook
def _strict_text(value: object, _: type[str]) -> str:
    """cattrs would turn 5 into '5'; a flow says what it means."""
    if not isinstance(value, str):
        raise ValueError(f"expected a text, not {value!r}")
    return value


@_converter.register_structure_hook
def _strict_float(value: object, _: type[float]) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"expected a number, not {value!r}")
    return float(value)


@_converter.register_structure_hook
def _strict_int(value: object, _: type[int]) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"expected a whole number, not {value!r}")
    return value


@_converter.register_structure_hook
def _strict_bool(value: object, _: type[bool]) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"expected true or false, not {value!r}")
    return value


def _names(value: object, _: Any) -> Names:
    """One text or a list of them."""
    values = cast("list[object]", value) if isinstance(value, list) else [value]
    if not all(isinstance(each, str) for each in values):
        write = f': write "{value}"' if isinstance(value, int | float) and not isinstance(value, bool) else ""
        raise ValueError(f"expected a text or a list of texts, not {value!r}{write}")
    return tuple(cast("list[str]", values))


def _list(kind: Any) -> Any:
    """A list of tables, as a tuple of `kind`: of a single table cattrs would take the keys."""
    (inner, _) = get_args(kind)

    def structure_list(value: object, _: Any) -> Any:
        if not isinstance(value, list):
            raise ValueError(f"expected a list of tables, as [{{ … }}], not {value!r}")
        return tuple(_converter.structure(value, list[inner]))

    return structure_list


def _from_toml(kind: type[Any]) -> None:
    """`kind` by its keys: some attributes exist only in Python, some have another name here."""
    fields = cast("tuple[attrs.Attribute[Any], ...]", attrs.fields(kind))
    overrides: dict[str, Any] = {f.name: override(omit=True) for f in fields if f.metadata.get(ONLY_IN_PYTHON)}
    overrides |= {f.name: override(rename=RENAMED[f.name]) for f in fields if f.name in RENAMED}
    hook = cast("Any", make_dict_structure_fn)(kind, _converter, _cattrs_forbid_extra_keys=True, **overrides)
    _converter.register_structure_hook(kind, hook)


_converter.register_structure_hook_func(lambda kind: kind == Names, _names)
_converter.register_structure_hook_factory(
    lambda kind: kind in (tuple[Condition, ...], tuple[Effect, ...], tuple[Transition, ...]), _list
)
for _kind in (Condition, State, Flow):
    _from_toml(_kind)
