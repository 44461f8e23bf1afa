"""What every keeper of the store decides alike: pure functions from what is kept and what happened to what is kept then."""

import datetime
from collections.abc import Mapping
from typing import Any

import attrs

from actors.messages import Disposition
from actors.notebook import CallRecord
from transport.log import mask_text
from transport.store import FINAL, ErrandRow


def status_change(
    row: Mapping[str, Any], status: str, sequence: int, numbers: tuple[str, str], now: datetime.datetime
) -> dict[str, Any]:
    """What a status callback changes about its call, whose `numbers` (caller, called) it names; nothing if it comes too late."""
    if row["status"] in FINAL or (sequence <= row["status_sequence"] and status not in FINAL):
        return {}
    values: dict[str, Any] = {"status": status, "status_sequence": sequence}
    if not row["caller"]:
        values |= dict(zip(("caller", "called"), numbers, strict=True))
    if status in FINAL and row["ended"] is None:
        values["ended"] = now
    if status in FINAL and row["disposition"] == Disposition.RESUME.value:
        values["disposition"] = Disposition.HANG_UP.value  # the stream was lost because the caller hung up
    return values


DELIVERED = frozenset({"delivered", "undelivered", "failed", "read", "canceled"})
"""What a carrier says of a message last."""


def settled(row: ErrandRow, status: str, reference: str, detail: Mapping[str, object]) -> ErrandRow:
    """What came of an errand. What is known already is not unmade by who does not know it, and details are added to."""
    known = status == "unknown" and row.status == "done"
    return attrs.evolve(
        row,
        status=row.status if known else status,
        reference=reference or (row.reference if known else ""),
        detail={**row.detail, **({} if known else detail)},
    )


def message_news(row: ErrandRow, reference: str, delivery: str, code: str) -> ErrandRow | None:
    """What the carrier says of message `reference`, in any order: who hears of it knows that it was taken."""
    if row.detail.get("delivery") in DELIVERED:
        return None
    detail = {**row.detail, "delivery": delivery, **({"error_code": code} if code else {})}
    if row.status in {"begun", "unknown"}:
        detail.pop("reason", None)
        return attrs.evolve(row, status="done", reference=reference, detail=detail)
    return attrs.evolve(row, detail=detail)


LIVED = 60.0
"""Seconds after which a stream that breaks has not failed: the next one is no further try."""


def tries_left_behind(reopened: int, record: CallRecord) -> int:
    """How often a call was opened again in vain, now that a stream of it is over: a long call may be moved and lose its stream
    more often than one may try."""
    return 0 if record.moved or record.seconds >= LIVED else reopened


def left_a_record(record: CallRecord, reopened_at: float | None) -> bool:
    """Whether `record` is of the stream that was opened again then: by it, it is known how long that lived."""
    return reopened_at is not None and record.began.replace(tzinfo=datetime.UTC).timestamp() >= reopened_at


def opened_again(row: Mapping[str, Any], now: float) -> dict[str, Any]:
    """What changes about a call whose stream is opened again, undecided. A stream whose process died has left no record: it lived
    from when it was opened until now, as far as anybody knows."""
    lived = row["reopened_at"] is not None and now - row["reopened_at"] >= LIVED
    return {"reopened": (0 if lived else row["reopened"]) + 1, "reopened_at": now, "disposition": None}


def finished_stream(row: Mapping[str, Any], record: CallRecord, newest: datetime.datetime | None) -> dict[str, Any]:
    """What a stream adds to its call. `newest`: when the newest stream before it began (UTC, without a zone)."""
    values: dict[str, Any] = {
        "began": row["began"] or record.began,
        "seconds": (row["seconds"] or 0.0) + round(record.seconds, 3),
        "streams": row["streams"] + 1,
        "tokens": row["tokens"] + record.tokens,
        "reopened": tries_left_behind(row["reopened"], record),
        "reopened_at": None if left_a_record(record, row["reopened_at"]) else row["reopened_at"],
    }
    if newest is None or newest <= record.began.replace(tzinfo=None):
        # A disposition that is stored was stored by somebody who knew better.
        values |= {
            "stream_sid": record.stream_sid,
            "ended": record.ended or row["ended"],
            "disposition": row["disposition"] or (record.disposition.value if record.disposition else None),
            "reason": mask_text(record.reason),
            "details": record_details(record),
        }
    return values


def record_details(record: CallRecord) -> dict[str, Any]:
    """What of a record has no column of its own, as plain data."""
    return {
        "frames_in": record.frames_in,
        "frames_out": record.frames_out,
        "silence_in_ms": record.silence_in_ms,
        "first_frame_ms": record.first_frame_ms,
        "keys": len(record.keys),
        "states": record.states,
        "replies": [{"state": state, "seconds": seconds} for state, seconds in record.replies],
        "overlong": record.overlong,
        "errands": [
            {"at": round(e.at, 3), "name": e.name, "outcome": e.outcome, "reason": mask_text(e.reason)}
            for e in record.errands
        ],
        "interruptions": [
            {
                "at": round(i.at, 3),
                "item": i.item,
                "heard_ms": i.heard_ms,
                "truncate_ms": i.truncate_ms,
                "generated_ms": i.generated_ms,
                "bound_ms": i.bound_ms,
                "reason": i.reason,
            }
            for i in record.interruptions
        ],
        "channels": {
            m.name: {
                "capacity": m.capacity,
                "policy": m.policy,
                "taken_in": m.taken_in,
                "dropped": m.dropped,
                "peak": m.peak,
            }
            for m in record.mailboxes
        },
        "errors": [{"at": round(t.at, 3), "kind": t.kind, "text": mask_text(t.text)} for t in record.errors],
        "errors_left_out": record.errors_left_out,
        "turns_left_out": record.turns_left_out,
    }


def turn_rows(record: CallRecord) -> list[dict[str, Any]]:
    """The turns of a stream, in order."""
    return [
        {
            "call_sid": record.call_sid,
            "stream_sid": record.stream_sid,
            "number": number,
            "who": turn.who,
            "item": turn.item,
            "began": round(turn.began, 3),
            "text": turn.text,
            "heard_text": turn.heard_text,
            "heard_ms": turn.heard_ms,
            "generated_ms": turn.generated_ms,
            "interrupted": turn.interrupted,
            "latency_ms": turn.latency_ms,
            "state": turn.state,
        }
        for number, turn in enumerate(record.turns, 1)
    ]
