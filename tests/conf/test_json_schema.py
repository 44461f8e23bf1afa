"""JSON Schemas from types: each says what fits the type, and what cannot be said is refused."""

import datetime
import enum
import typing
from typing import Any, Literal, Optional

import attrs
import pytest

from conf.json_schema import schema_of


class Size(enum.Enum):
    SMALL = "small"
    LARGE = "large"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@attrs.frozen
class Address:
    street: str = attrs.field(metadata={"about": "with the number"})
    floor: int = 0


@attrs.frozen
class Order:
    address: Address
    sizes: list[Size]
    day: datetime.date | None = None
    notes: "list[str]" = attrs.field(factory=list)


ADDRESS = {
    "type": "object",
    "properties": {"street": {"type": "string", "description": "with the number"}, "floor": {"type": "integer"}},
    "required": ["street"],
}


@pytest.mark.parametrize(
    ("kind", "schema"),
    [
        (str, {"type": "string"}),
        (int, {"type": "integer"}),
        (float, {"type": "number"}),
        (bool, {"type": "boolean"}),
        (datetime.date, {"type": "string", "format": "date"}),
        (datetime.time, {"type": "string", "format": "time"}),
        (datetime.datetime, {"type": "string", "format": "date-time"}),
        (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
        (Size, {"type": "string", "enum": ["small", "large"]}),
        (list[str], {"type": "array", "items": {"type": "string"}}),
        (list[list[int]], {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}}),
        (tuple[int, ...], {"type": "array", "items": {"type": "integer"}}),
        (list[Size], {"type": "array", "items": {"type": "string", "enum": ["small", "large"]}}),
        (int | None, {"type": "integer"}),
        (Optional[Size], {"type": "string", "enum": ["small", "large"]}),  # noqa: UP045 - the old way of writing it is understood too
        (None | list[str], {"type": "array", "items": {"type": "string"}}),
        (Address, ADDRESS),
        (
            Order,
            {
                "type": "object",
                "properties": {
                    "address": ADDRESS,
                    "sizes": {"type": "array", "items": {"type": "string", "enum": ["small", "large"]}},
                    "day": {"type": "string", "format": "date"},
                    "notes": {"type": "array", "items": {"type": "string"}},
                },
                "required": ["address", "sizes"],
            },
        ),
        (attrs.make_class("Nothing", {}), {"type": "object", "properties": {}}),
    ],
)
def test_a_type_is_told_as_its_schema(kind: Any, schema: dict[str, object]) -> None:
    assert schema_of(kind) == schema


@pytest.mark.parametrize(
    "kind",
    [
        object,
        bytes,
        complex,
        None,
        type(None),
        Any,
        list,
        dict,
        set[int],
        dict[str, int],
        int | str,
        int | str | None,
        datetime.timedelta,
        "str",
        [int],
        5,
        list[bytes],
        attrs.make_class("Holder", {"what": attrs.field(type=bytes)}),
        typing.Callable[[], int],
    ],
)
def test_what_has_no_schema_is_refused(kind: Any) -> None:
    with pytest.raises(TypeError):
        schema_of(kind)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (Literal[1, 2], [1, 2]),
        (Level, [1, 2]),
        (Literal["a", None], ["a", None]),
        (tuple[int, str], [[1, "a"]]),
    ],
)
def test_a_schema_fits_the_values_of_its_type_or_there_is_none(kind: Any, values: list[object]) -> None:
    fits = {"string": str, "integer": int, "number": float, "boolean": bool}
    try:
        schema = schema_of(kind)
    except TypeError:
        return
    for value in values:
        if isinstance(value, list):
            assert "prefixItems" in schema or all(
                isinstance(each, fits[schema["items"]["type"]]) for each in value
            )  # fmt: skip
        else:
            assert "type" not in schema or isinstance(value, fits[str(schema["type"])])


def test_schemas_share_nothing_that_could_be_changed() -> None:
    schema_of(str)["description"] = "mine"
    assert schema_of(str) == {"type": "string"}
