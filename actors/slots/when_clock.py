"""Named times of the day."""

import datetime
from collections.abc import Sequence

from actors.slots.english_when import EVENING
from actors.slots.reading import Puzzled
from actors.slots.when_parts import Part

_FIRST_HOUR, _LAST_HOUR = 8, 18
_EARLIEST = 6
"""An hour without morning or afternoon is read within these: appointments are by day."""


def time_of(parts: Sequence[Part], held: datetime.time | None, hours: str = "") -> datetime.time | None:
    """The time that the parts name together; None if they name none. `hours`: see `Context`. Raises Puzzled."""
    clocks = [part for part in parts if part.kind == "clock"]
    if len({part.found[0].strip() for part in clocks}) > 1:
        raise Puzzled("more than one time was named: ask for one time")
    halves = {half for part in parts if (half := _half(part))}
    if len(halves & {"am", "pm"}) > 1 or ("am" in halves and "night" in halves):
        raise Puzzled("morning and afternoon contradict each other: ask which of them it is")
    half = min(halves, default="")
    if not clocks:
        if half and held is not None:
            moved = _hour(held.hour % 12 or 12, held.minute, half)
            if moved.hour < _EARLIEST:
                raise Puzzled("the part of the day changed and the hour does not fit it: ask for the time")
            return moved
        return None
    return _clock(clocks[0], half, hours)


def _half(part: Part) -> str:
    """Whether a part says "am", "pm" or "night"; "" if nothing."""
    if part.name == "tonight":
        return "night"
    groups = part.found.groupdict()
    said = groups.get("half") or groups.get("ampm") or ("night" if groups.get("night") else "")
    if part.kind not in {"clock", "half"} or not said:
        return ""
    if said[0] in "ap" and said[1:2] in {"m", "."}:
        return f"{said[0]}m"
    return EVENING[said.split()[-1]]


def _clock(part: Part, half: str, hours: str) -> datetime.time:
    found = part.found
    match part.name:
        case "noon":
            return datetime.time(12)
        case "noon_off":
            return datetime.time(11, 45) if found["to"] else datetime.time(12, 15 if "quarter" in found["past"] else 30)
        case "midnight":
            return datetime.time(0)
        case "half_past":
            return _hour(int(found["hour"]), 30, half, hours)
        case "past" | "to":
            minute = 15 if found["quarter"] else int(found["minute"])
            if not 0 < minute < 60:
                raise Puzzled("there is no such time: ask for the time again")
            if part.name == "to" and (minute % 5 or minute + 1 == int(found["hour"])) and "minute" not in found[0]:
                raise Puzzled(f'"{found[0].strip()}" may be one time or two: ask for one exact time')
            return (
                _hour(int(found["hour"]), minute, half, hours)
                if part.name == "past"
                else _before(int(found["hour"]), minute, half, hours)
            )
        case _:
            minute = int(found.groupdict().get("minute") or 0)
            padded = found["hour"].startswith("0") and part.name == "clock"
            return _hour(int(found["hour"]), minute, half, hours, padded)


def _before(hour: int, minutes: int, half: str, hours: str) -> datetime.time:
    """So many minutes before the hour. "Quarter to twelve in the morning" is before noon."""
    if hour == 12 and half == "am":
        return datetime.time(11, 60 - minutes)
    whole = _hour(hour, 0, half, hours)
    total = (whole.hour * 60 - minutes) % (24 * 60)
    return datetime.time(total // 60, total % 60)


def _hour(hour: int, minute: int, half: str, hours: str = "", padded: bool = False) -> datetime.time:
    """An hour as said, on the clock of 24 hours. `padded`: written like "08:00", which needs no half of the day."""
    if not (0 <= hour <= 23 and 0 <= minute <= 59):
        raise Puzzled("there is no such time: ask for the time again")
    if half and (hour > 12 or padded or hour == 0):
        if (half == "am") != (hour < 12):
            raise Puzzled("the hour and the part of the day contradict each other: ask for the time again")
        return datetime.time(hour, minute)
    if half == "night":
        if not 5 <= hour <= 11:
            raise Puzzled(f"{hour} at night belongs to two days: ask for the exact time and day")
        return datetime.time(hour + 12, minute)
    if half:
        return datetime.time(hour % 12 + (12 if half == "pm" else 0), minute)
    if hour > 12 or padded or hour == 0:
        return datetime.time(hour, minute)
    open_at = [time for time in _twice_a_day(hour, minute) if _within(hours, time)] if hours else []
    if len(open_at) == 1:
        return open_at[0]
    if hour + 12 <= _LAST_HOUR and not open_at:
        return datetime.time(hour + 12, minute)
    if hour >= _FIRST_HOUR and not open_at:
        return datetime.time(hour, minute)
    raise Puzzled(f"{hour} o'clock may be in the morning or in the evening: ask which of them it is")


def _twice_a_day(hour: int, minute: int) -> list[datetime.time]:
    return [datetime.time(hour % 12, minute), datetime.time(hour % 12 + 12, minute)]


def _within(hours: str, time: datetime.time) -> bool:
    """Whether `time` lies within `hours`, such as "08:00-18:00"; the end counts."""
    opens, closes = (datetime.time.fromisoformat(end) for end in hours.split("-"))
    return opens <= time <= closes


def spoken_time(time: datetime.time) -> str:
    if (time.hour, time.minute) in {(0, 0), (12, 0)}:
        return "noon" if time.hour else "midnight"
    minute = f":{time.minute:02}" if time.minute else ""
    return f"{time.hour % 12 or 12}{minute} {'AM' if time.hour < 12 else 'PM'}"
