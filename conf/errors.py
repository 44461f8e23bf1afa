"""cattrs' errors as sentences: what is wrong, and the path to it, for a model or an operator to act on."""

from typing import Any

import cattrs
from cattrs.v import format_exception

_NO_TABLE = ("has no attribute 'keys'", "has no attribute 'items'", "is not a mapping", "indices must be integers")


def sentences(error: Exception) -> list[str]:
    """One sentence for each fault in what could not be structured."""
    found = [str(each) for each in cattrs.transform_error(error, format_exception=_said)]  # type: ignore[arg-type] # any exception
    return [_with_one_path(each) for each in found] or [str(error)]


def _said(error: BaseException, kind: type[Any] | None) -> str:
    text = str(error)
    if any(sign in text for sign in _NO_TABLE):
        return "expected a table (an object with keys)"
    if isinstance(error, ValueError) and text:
        return text
    return format_exception(error, kind)


def _with_one_path(sentence: str) -> str:
    """A validator knows the name of its field, cattrs the way to its class: both together are the path."""
    text, _, root = sentence.rpartition(" @ ")
    inner, found, field = text.rpartition(" @ $")
    whole = f"{inner} @ {root.rstrip('.')}{field}" if found else f"{text} @ {root}"
    return whole.replace(".but_not", ".not")
