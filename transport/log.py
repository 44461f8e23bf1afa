"""Structured logs: one line an event, with CallSid and StreamSid on every line of a call, no secrets, numbers masked."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

_PHONE = re.compile(r"(?<![\w.-])\+?\d[\d ()-]{5,}\d(?![\w-])")
_SECRET_KEYS = frozenset({"token", "signature", "authorization", "auth_token", "api_key"})
_OURS = frozenset({"call_sid", "stream_sid", "timestamp", "level", "event"})

Event = MutableMapping[str, Any]


def mask_phone(text: str) -> str:
    """`text` with all but the last two digits of each phone number hidden."""

    def hide(match: re.Match[str]) -> str:
        number = match.group()
        digits = sum(c.isdigit() for c in number)
        return number if digits < 7 else f"{'+' if number.startswith('+') else ''}***{number[-2:]}"

    return _PHONE.sub(hide, text)


def _mask(_: object, __: str, event: Event) -> Event:
    for key, value in event.items():
        if key in _SECRET_KEYS:
            event[key] = "***"
        elif isinstance(value, str) and key not in _OURS:
            event[key] = mask_phone(value)
    return event


def set_up(log_format: str, level: str, stream: TextIO | None = None) -> None:
    """Sends our lines and those of the libraries to `stream` (default: standard error), as JSON or for people."""
    target = stream if stream is not None else sys.stderr
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
        shared.remove(structlog.processors.format_exc_info)
        renderer = structlog.dev.ConsoleRenderer(colors=target.isatty())
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(target),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(target)
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
