"""What the store did not take before a process ended: a file of JSON lines, which the next process to start makes good.

    ["record", "MZ…", [{"call_sid": …}]]        what, whose, and what is to be written

There are words and numbers of callers in it, so it is readable for its owner only, and deleted once all of it is written.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import structlog

ENDING = ".jsonl"
FILE_AT_MOST = 256 * 1024 * 1024
"""Bytes of a file that is read; five thousand records of an hour have less."""

Row = tuple[str, str, list[Any]]
log = structlog.get_logger("triode.records")


def keep(folder: Path, name: str, rows: Iterable[tuple[str, str, tuple[object, ...]]]) -> Path:
    """Writes `rows` to a file of their own. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    half = folder / f".{name}"
    try:
        with open(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            for row in rows:
                file.write(msgspec.json.encode(row) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        return half.replace(folder / f"{name}{ENDING}")
    finally:
        half.unlink(missing_ok=True)


def found(folder: Path) -> list[tuple[Path, list[Row]]]:
    """The files that are there, the oldest first, and what is in them; a line that is none is logged and left out."""
    files: list[tuple[Path, list[Row]]] = []
    for path in sorted(folder.glob(f"*{ENDING}")):
        rows: list[Row] = []
        try:
            with path.open("rb") as file:
                for number, line in enumerate(file.read(FILE_AT_MOST).splitlines(), 1):
                    try:
                        rows.append(msgspec.json.decode(line, type=Row))
                    except (msgspec.DecodeError, UnicodeError) as error:
                        log.error("unwritten_not_understood", file=path.name, line=number, error=str(error))
        except OSError as error:
            log.error("unwritten_not_read", file=path.name, error=str(error))
        else:
            files.append((path, rows))
    return files
