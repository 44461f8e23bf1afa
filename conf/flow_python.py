"""Flows in Python: states and tools as decorated functions with typed arguments, from scratch or on top of a TOML file.

    flow = PythonFlow("appointment")                    # or PythonFlow(name="desk", instructions="…")

    @flow.tool("Finds free times on a day.")
    async def free_times(day: datetime.date, at_most: int = 3) -> dict[str, object]:
        return {"times": await calendar.free(day, at_most)}

    @flow.state("day", goal="Find a time that suits.", collects=["day"], tools=["free_times"], leads_to=["booked"])
    def day(known):                                     # what is known: slots by name, and "intent"
        return "booked" if "day" in known else None

Tools are async functions on Trio; they run outside the audio path, within `seconds`, and what they return is told to the
model. The JSON Schema of their arguments is derived from the types. One that has an effect (books, notes, orders) is
`@flow.tool("…", once=True)`: a model that was replaced in mid-call, or repeats itself, may ask for it again.
"""

import inspect
import math
import re
import types
import typing
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast, get_args, get_origin

import attrs

from conf.errors import unknown
from conf.flow import SHARED_TOOLS, TALK, Flow, PythonTool, Router, Slot, State, Transition
from conf.json_schema import schema_of
from conf.settings import SettingsError

_TOOL_NAME = re.compile(r"[A-Za-z0-9_]{1,64}")
Function = TypeVar("Function", bound=Callable[..., Awaitable[object]])


class PythonFlow:
    """Collects states, slots and tools; `build` makes the flow."""

    def __init__(self, base: str | Path = "", *, name: str = "", instructions: str = "", **fields: Any) -> None:
        """On top of the flow `base` (a path, or the name of a shipped one), or from scratch with `name` and
        `instructions`; `fields` are those of `Flow`."""
        _known(fields, Flow, "PythonFlow", ("name", "instructions"))
        if base:
            from conf.flow_file import read_flow

            given = {key: value for key, value in {"name": name, "instructions": instructions}.items() if value}
            self._flow = attrs.evolve(read_flow(str(base)), **given, **fields)
        else:
            fields.setdefault("states", dict[str, State]())
            self._flow = Flow(name=name, instructions=instructions, **fields)
        self._states = dict(self._flow.states)
        self._slots = dict(self._flow.slots)
        self._tools = dict(self._flow.tools)

    def slot(self, name: str, kind: str, label: str, **fields: Any) -> None:
        """Adds or replaces slot `name`; `fields` are those of `Slot`."""
        _known(fields, Slot, f"The slot {name!r}", ("kind", "label"))
        self._slots[name] = Slot(kind, label, **fields)

    def state(
        self, name: str, goal: str, *, transitions: tuple[Transition, ...] = (), **fields: Any
    ) -> Callable[[Router], Router]:
        """Adds or replaces state `name`. The decorated function is asked where to go when no transition holds."""
        _known(fields, State, f"The state {name!r}", ("goal", "transitions", "router"))
        for key in ("collects", "tools", "leads_to"):
            given = fields.get(key, ())
            fields[key] = (given,) if isinstance(given, str) else tuple(given)

        def add(router: Router) -> Router:
            if not _can_lead(router):
                raise SettingsError(
                    f"The function of state {name!r}: write `def {name}(known)`, not async, with one argument."
                )
            self._states[name] = State(goal, transitions=tuple(transitions), router=router, **fields)
            return router

        return add

    def tool(
        self, description: str, *, seconds: float = 8.0, name: str = "", once: bool = False
    ) -> Callable[[Function], Function]:
        """Adds the decorated async function as a tool; `once`: it has an effect, which the same arguments have once in a call.

        Raises SettingsError if it cannot be described to the model.
        """

        if not isinstance(description, str) or not description.strip():  # type: ignore[redundant-expr] # @flow.tool, without ()
            raise SettingsError('A tool without a description: write @flow.tool("what it does").')
        if not 0 < seconds < math.inf:
            raise SettingsError(f"A tool cannot have seconds = {seconds:g}: allowed are seconds above 0.")

        def add(function: Function) -> Function:
            called = name or function.__name__
            if not _TOOL_NAME.fullmatch(called):
                raise SettingsError(f"A tool cannot be called {called!r}: letters, digits and underscores, at most 64.")
            if called in SHARED_TOOLS:
                raise SettingsError(f"A tool cannot be called {called!r}: that is one of the house.")
            if not inspect.iscoroutinefunction(function):
                raise SettingsError(f"The tool {called!r} is not async: write `async def`, and Trio inside.")
            arguments = _arguments_of(function, called)
            self._tools[called] = PythonTool(called, description, arguments, function, seconds, once)
            return function

        return add

    def build(self) -> Flow:
        """The flow so far."""
        start = self._flow.start
        if start == TALK and start not in self._states:  # none was named
            start = next(iter(self._states), start)
        parts = {"states": dict(self._states), "slots": dict(self._slots), "tools": dict(self._tools)}
        return attrs.evolve(self._flow, start=start, **parts)


def _known(fields: Mapping[str, object], kind: type, what: str, given: tuple[str, ...]) -> None:
    """Raises SettingsError if one of `fields` is none of `kind`, or `given` by another way."""
    known = [field.name for field in attrs.fields(kind) if field.init and field.name not in given]
    if wrong := [name for name in fields if name not in known]:
        raise SettingsError(f"{what}: {unknown(wrong, known)}.")


def _arguments_of(function: Callable[..., Awaitable[object]], called: str) -> type:
    """An attrs class with a field for each argument, typed as it is and with its default."""
    hints: Mapping[str, Any] = typing.get_type_hints(function)
    fields: dict[str, Any] = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise SettingsError(f"The tool {called!r}: argument {parameter.name!r} cannot be given by name.")
        if parameter.name not in hints or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise SettingsError(f"The tool {called!r}: argument {parameter.name!r} needs a type.")
        kind = hints[parameter.name]
        default = attrs.NOTHING if parameter.default is parameter.empty else parameter.default
        fields[parameter.name] = attrs.field(type=kind, default=default)
        try:
            schema_of(kind)
        except TypeError as error:
            raise SettingsError(f"The tool {called!r}: argument {parameter.name!r}: {error}.") from None
    return attrs.make_class(called, fields, frozen=True, kw_only=True)


def _can_lead(router: Router | None) -> bool:
    """Whether it can be asked, with one argument and at once; a state that is taken over from a file has none."""
    if router is None:
        return True
    try:
        inspect.signature(router).bind({})
    except ValueError:  # of what is not written in Python nothing is known
        return True
    except TypeError:
        return False
    return not inspect.iscoroutinefunction(router)


def misfits(value: object, kind: Any, path: str = "$") -> Iterator[str]:
    """What of `value` is not of the type that its field says, as sentences: a file of Python is checked by nobody else."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if value is not None:
            yield from misfits(value, inner[0], path)
    elif origin is tuple and isinstance(value, tuple | list):
        for number, each in enumerate(cast("tuple[object, ...]", value)):
            yield from misfits(each, inner[0], f"{path}[{number}]")
    elif origin is Mapping and isinstance(value, Mapping):
        for name, each in cast("Mapping[object, object]", value).items():
            yield from misfits(name, inner[0], path)
            yield from misfits(each, inner[1], f"{path}[{name!r}]")
    elif not _is(value, float if kind is float else origin or kind):
        name = getattr(origin or kind, "__name__", str(kind))
        expected = {tuple: "a tuple", Mapping: "a dict"}.get(cast("Any", origin), name)
        one = f": write ({value!r},)" if origin is tuple and isinstance(value, str) else ""
        yield f"expected {expected}, not {value!r}{one} @ {path}"
    elif attrs.has(kind):
        for field in cast("tuple[attrs.Attribute[Any], ...]", attrs.fields(kind)):
            if field.init:
                yield from misfits(getattr(value, field.name), field.type, f"{path}.{field.name}")


def _is(value: object, kind: Any) -> bool:
    if kind in (int, float) and isinstance(value, bool):
        return False
    return isinstance(value, (int, float) if kind is float else kind)
