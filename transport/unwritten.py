"""What the store did not take before a process ended: a file of JSON lines, which the next process to start makes good.

    ["record", "MZ…", [{"call_sid": …}]]        what, whose, and what is to be written

There are words and numbers of callers in it, so it is readable for its owner only, and deleted once all of it is written, when it
is too old, or when who it is about is to be forgotten.
"""

import contextlib
import os
import time
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import msgspec
import structlog

ENDING = ".jsonl"
FILE_AT_MOST = 256 * 1024 * 1024
"""Bytes of a file that is read; five thousand records of an hour have less."""
HALF_SECONDS = 600.0
"""Seconds after which nobody writes a file any more that is not whole."""

CALLER_AT = {"answered": 1, "story": 1, "status": 3}
"""Where it says who calls."""

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


def can_be_used(folder: Path) -> bool:
    """Whether `keep` may put a file there, and `found` find it again, as far as can be seen beforehand."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return there.is_dir() and os.access(there, os.R_OK | os.W_OK | os.X_OK)


def tidy(folder: Path, oldest: float = 0.0) -> None:
    """Deletes what was written before `oldest` (unix seconds), and what is not whole. Raises OSError."""
    half = time.time() - HALF_SECONDS
    for pattern, before in ((f"*{ENDING}", oldest), (".[0-9]*", half)):
        for path in folder.glob(pattern):
            with contextlib.suppress(FileNotFoundError):  # another process may have been faster
                if path.stat().st_mtime < before:
                    path.unlink()


def call_of(row: Row) -> str:
    """The call that `row` is about."""
    what, key, arguments = row
    match what, arguments:
        case "record", [{"call_sid": str(sid)}, *_]:
            return sid
        case "recording", [_, str(sid), *_]:
            return sid
        case _:
            return key.partition(" ")[0]


def calls(folder: Path) -> set[str]:
    """The calls of which something is left. Raises OSError."""
    return {call_of(row) for path in _files(folder) for row in _rows(path)}


def forget(folder: Path, number: str, sids: Collection[str]) -> int:
    """Deletes what is left of the calls `sids`, and of those that are said here to be from `number`; how many writes.

    Raises OSError.
    """
    files, gone = [(path, _rows(path)) for path in _files(folder)], 0
    sids = {*sids, *(call_of(row) for _, rows in files for row in rows if _caller(row) == number)}
    for path, rows in files:
        left = [row for row in rows if call_of(row) not in sids]
        gone += len(rows) - len(left)
        if not left:
            path.unlink(missing_ok=True)
        elif len(left) < len(rows):  # it stays its owner's
            path.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in left))
    return gone


def found(folder: Path) -> list[tuple[Path, list[Row]]]:
    """The files that are there, the oldest first, and what is in them; a line that is none is logged and left out."""
    files: list[tuple[Path, list[Row]]] = []
    for path in _files(folder):
        try:
            files.append((path, _rows(path)))
        except OSError as error:
            log.error("unwritten_not_read", file=path.name, error=str(error))
    return files


def _caller(row: Row) -> object:
    at = CALLER_AT.get(row[0], len(row[2]))
    return row[2][at] if at < len(row[2]) else None


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{ENDING}"))


def _rows(path: Path) -> list[Row]:
    rows: list[Row] = []
    with path.open("rb") as file:
        for number, line in enumerate(file.read(FILE_AT_MOST).splitlines(), 1):
            try:
                rows.append(msgspec.json.decode(line, type=Row))
            except (msgspec.DecodeError, UnicodeError) as error:
                log.error("unwritten_not_understood", file=path.name, line=number, error=str(error))
    return rows
