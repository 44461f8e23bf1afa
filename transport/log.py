"""Structured logs: one line an event, with CallSid and StreamSid on every line of a call, no secrets, numbers masked."""

import atexit
import contextlib
import logging
import os
import re
import select
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
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
LINES_AT_MOST = 10_000
"""Lines that wait for a reader that does not read; those that come then are lost."""
SIZE_AT_MOST = 16 * 1024 * 1024
"""Characters that wait: a line may be a long one, with a traceback."""
FINISH = 2.0
"""Seconds in which somebody must read, while a process that ends still has lines to write."""

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


class _Pipe:
    """Where lines go that go to a descriptor: it may be a pipe that is full because its reader lives and does not read. So a
    thread writes them, who may wait as long as it likes. It is no task of Trio's: lines are written before and after a run too.
    (A descriptor that does not block would need no thread; but it is shared with all who write to the same pipe or terminal.)

    What does not fit is lost and counted, and how much it was is said in the place where it is missing.
    """

    def __init__(self, descriptor: int, lost: Callable[[int], str]) -> None:
        """`lost`: the line that says how many lines were lost."""
        self._descriptor = descriptor
        self._lost_line = lost
        self._lines: list[str] = []
        self._size = 0
        self._lost = 0
        self._busy = False
        self._written = 0
        self._changed = threading.Condition()
        threading.Thread(target=self._write_all, name="log", daemon=True).start()
        atexit.register(self.finish)

    def write(self, text: str) -> None:
        """See TextIO; a whole line. Never waits."""
        with self._changed:
            size = self._size + len(text)
            if not self._lines or (len(self._lines) < LINES_AT_MOST and size <= SIZE_AT_MOST):
                self._lines.append(text)
                self._size = size
                self._changed.notify_all()
            else:
                self._lost += 1

    def flush(self) -> None:
        """See TextIO."""

    def finish(self) -> None:
        """Waits until all is written, or nobody has read for `FINISH` seconds."""
        with self._changed:
            written = -1
            while (self._lines or self._busy) and written != self._written:
                written = self._written
                self._changed.wait_for(lambda: not (self._lines or self._busy), FINISH)

    def _write_all(self) -> None:
        missing = 0
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._lines)
                lines, self._lines, self._busy = self._lines, [], True
                self._size = 0
                lost, self._lost = self._lost, 0
            for line in lines:
                missing = self._try(line, missing)
                self._written += 1
            if lost:  # no place was left behind these
                missing = self._try("", missing + lost)

    def _try(self, line: str, missing: int) -> int:
        """Writes a line, and before it how many are missing there. How many are missing then."""
        before = self._lost_line(missing) if missing else ""
        try:
            self._write(f"{before}{line}".encode(errors="backslashreplace"))
        except OSError:
            return missing + bool(line)
        return 0

    def _write(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:  # somebody else made it so
                select.select((), (self._descriptor,), ())


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
        renderer = structlog.dev.ConsoleRenderer(colors=target.isatty())
    lines = _lines_to(target, [*shared, renderer])
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", lines)),
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


def _lines_to(target: TextIO, processors: Sequence[Any]) -> _Lines | _Pipe:
    """Where lines to `target` go; what has no descriptor cannot be full. `processors` make a line of what is logged."""
    try:
        target.flush()
        descriptor = target.fileno()
    except (OSError, AttributeError):
        return _Lines(target)

    def lost(lines: int) -> str:
        event: Any = {"event": "log_lines_lost", "lines": lines}
        for processor in processors:
            event = processor(None, "warning", event)
        return f"{event}\n"

    return _Pipe(descriptor, lost)
