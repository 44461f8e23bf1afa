"""cattrs' errors as sentences: what is wrong, and the path to it, for a model or an operator to act on."""

import difflib
from collections.abc import Sequence
from typing import Any, cast

import attrs
import cattrs
from cattrs.v import format_exception

ONLY_IN_PYTHON = "only_in_python"
"""In the metadata of a field that no file can give."""
RENAMED = {"but_not": "not"}
"""What attributes are called where a file, or a model, gives them, if that is no name in Python."""
_NO_TABLE = ("has no attribute 'keys'", "has no attribute 'items'", "is not a mapping", "indices must be integers")


def sentences(error: Exception) -> list[str]:
    """One sentence for each fault in what could not be structured."""
    found = [str(each) for each in cattrs.transform_error(error, format_exception=_said)]  # type: ignore[arg-type] # any exception
    return [_with_one_path(each) for each in found] or [str(error)]


def _said(error: BaseException, kind: type[Any] | None) -> str:
    text = str(error)
    if any(sign in text for sign in _NO_TABLE) or (isinstance(error, TypeError) and attrs.has(kind or object)):
        return "expected a table (an object with keys)"
    if isinstance(error, cattrs.ForbiddenExtraKeysError) and attrs.has(error.cl):
        return unknown(sorted(error.extra_fields), _keys(error.cl))
    if isinstance(error, ValueError) and text:
        return text
    return format_exception(error, kind)


def _keys(kind: type[Any]) -> list[str]:
    """The keys that a file may give."""
    fields = cast("tuple[attrs.Attribute[Any], ...]", attrs.fields(kind))
    return [RENAMED.get(f.name, f.name) for f in fields if f.init and not f.metadata.get(ONLY_IN_PYTHON)]


def unknown(keys: Sequence[str], known: Sequence[str]) -> str:
    """Which keys there are instead."""
    close = [difflib.get_close_matches(key, known, 1) for key in keys]
    hint = (
        "did you mean " + ", ".join(repr(each[0]) for each in close) + "?"
        if all(close)
        else "allowed are " + ", ".join(known)
    )
    return f"unknown: {', '.join(map(repr, keys))}; {hint}"


def _with_one_path(sentence: str) -> str:
    """A validator knows the name of its field, cattrs the way to its class: both together are the path."""
    text, _, root = sentence.rpartition(" @ ")
    inner, found, field = text.rpartition(" @ $")
    whole = f"{inner} @ {root.rstrip('.')}{field}" if found else f"{text} @ {root}"
    return whole.replace(".but_not", ".not")
