"""Structured logs: one line an event, with CallSid and StreamSid on every line of a call, no secrets, numbers masked."""

import contextlib
import logging
import re
import sys
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any, TextIO, cast

import structlog

_PHONE = re.compile(r"(?<![\w.-])\+?\d[\d ()-]{5,}\d(?![\w-])")
_SECRET_KEY = re.compile(
    r"(?:^|[_-])(?:token|signature|authorization|secret|password|api[_-]?key|cookie)$", re.IGNORECASE
)
_SECRET_TEXT = re.compile(r"\b(Bearer\s+|Basic\s+|sk-)[\w.~+/=-]+", re.IGNORECASE)
_OURS = frozenset({"call_sid", "stream_sid", "timestamp", "level"})
DEPTH_AT_MOST = 8
"""Levels of a nested value that are looked into; what is deeper is shown as its own text, masked."""

Event = MutableMapping[str, Any]


def mask_phone(text: str) -> str:
    """`text` with all but the last two digits of each phone number hidden."""

    def hide(match: re.Match[str]) -> str:
        number = match.group()
        digits = sum(c.isdigit() for c in number)
        return number if digits < 7 else f"{'+' if number.startswith('+') else ''}***{number[-2:]}"

    return _PHONE.sub(hide, text)


def mask(key: str, value: object, depth: int = 0) -> object:
    """`value` as it may be written under `key`: secrets hidden, phone numbers masked, however deep they are."""
    if is_secret(key):
        return "***"
    if value is None or isinstance(value, bool | int | float):
        return mask_phone(str(value)) if type(value) is int and abs(value) > 10**9 else value
    if depth < DEPTH_AT_MOST:
        if isinstance(value, Mapping):
            pairs = cast("Mapping[object, object]", value).items()
            return {mask_phone(str(name)): mask(str(name), inner, depth + 1) for name, inner in pairs}
        if isinstance(value, list | tuple | set | frozenset):
            return [mask("", inner, depth + 1) for inner in cast("Iterable[object]", value)]
    return mask_text(value if isinstance(value, str) else str(value))


def mask_text(text: str) -> str:
    """`text` without secrets, its phone numbers masked."""
    return mask_phone(hide_secrets(text))


def is_secret(key: str) -> bool:
    """Whether what goes by the name `key` is never written."""
    return _SECRET_KEY.search(key) is not None


def hide_secrets(text: str) -> str:
    """`text` without keys and tokens."""
    return _SECRET_TEXT.sub(r"\1***", text)


def _mask(_: object, __: str, event: Event) -> Event:
    for key, value in event.items():
        if key not in _OURS and key != "exc_info":
            event[key] = mask(key, value)
    return event


class _Lines:
    """Where lines go. One that cannot be written (the disk is full, whoever collected them has gone) is lost, and nothing else:
    it is written in the middle of calls."""

    def __init__(self, target: TextIO) -> None:
        self._target = target

    def write(self, text: str) -> None:
        """See TextIO."""
        with contextlib.suppress(OSError):
            self._target.write(text)

    def flush(self) -> None:
        """See TextIO."""
        with contextlib.suppress(OSError):
            self._target.flush()


def set_up(log_format: str, level: str, stream: TextIO | None = None) -> None:
    """Sends our lines and those of the libraries to `stream` (default: standard error), as JSON or for people."""
    target = stream if stream is not None else sys.stderr
    lines = _Lines(target)
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _mask,
    ]
    if log_format == "json":
        renderer: Any = structlog.processors.JSONRenderer()
    else:
        renderer = structlog.dev.ConsoleRenderer(colors=target.isatty())
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", lines)),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(lines)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(number, logging.INFO))
    logging.getLogger("httpx2").setLevel(logging.WARNING)
