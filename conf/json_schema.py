"""JSON Schemas from Python types: how tools with typed arguments are told to the model. Pure."""

import datetime
import enum
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, Union, cast, get_args, get_origin

import attrs

_PLAIN: Mapping[object, Mapping[str, object]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    datetime.date: {"type": "string", "format": "date"},
    datetime.time: {"type": "string", "format": "time"},
    datetime.datetime: {"type": "string", "format": "date-time"},
}


def schema_of(kind: Any) -> dict[str, object]:
    """The schema of `kind`: plain types, dates, Literal, Enum, Optional, list, and attrs classes of these.

    Raises TypeError for anything else: a tool whose arguments cannot be described cannot be offered.
    """
    if kind in _PLAIN:
        return dict(_PLAIN[kind])
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        values = [value for value in inner if value is not None]
        schema = _of_values(values, kind)
        return schema if len(values) == len(inner) else {"enum": [*values, None]}
    if origin is list or (origin is tuple and len(inner) == 2 and inner[1] is Ellipsis):
        return {"type": "array", "items": schema_of(inner[0])}
    if origin in (Union, types.UnionType):
        rest = [each for each in inner if each is not type(None)]
        if len(rest) == 1:
            return schema_of(rest[0])
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return _of_values([member.value for member in kind], kind)
    if isinstance(kind, type) and attrs.has(kind):
        return _of_class(kind)
    raise TypeError(
        f"{kind!r} has no JSON Schema: use str, int, float, bool, dates, Literal, Enum, list or attrs classes"
    )


def _of_values(values: list[object], kind: object) -> dict[str, object]:
    """One of `values`, which must be of one plain type."""
    types_ = {type(value) for value in values}
    if len(types_) != 1 or not types_ <= set(_PLAIN):
        raise TypeError(f"{kind!r} has no JSON Schema: its values must all be texts, or all numbers")
    return {**_PLAIN[types_.pop()], "enum": values}


def _of_class(kind: type[Any]) -> dict[str, object]:
    hints = typing.get_type_hints(kind)
    fields = cast("tuple[attrs.Attribute[Any], ...]", attrs.fields(kind))
    properties: dict[str, object] = {}
    for field in fields:
        about = field.metadata.get("about")
        properties[field.name] = schema_of(hints[field.name]) | ({"description": about} if about else {})
    required = [field.name for field in fields if field.default is attrs.NOTHING]
    schema: dict[str, object] = {"type": "object", "properties": properties}
    return schema | ({"required": required} if required else {})
