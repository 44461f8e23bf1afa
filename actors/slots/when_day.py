"""Named days as dates: which Tuesday, which 30th, which fifth of December."""

import datetime
from collections.abc import Sequence

import attrs
from dateutil.relativedelta import relativedelta

from actors.slots.language import Language
from actors.slots.reading import Puzzled
from actors.slots.when_parts import Part

_DAYS = {"day": 1, "week": 7, "fortnight": 14}
_STALE = 31
"""A date without its year that is up to so many days ago is taken as past, not as next year's."""
_MONTH_FIRST = frozenset({"US", "CA", "PH", "PR"})


@attrs.frozen
class Almanac:
    """What days are read by: today, the region's order of day and month, the words of the language."""

    today: datetime.date
    region: str
    language: Language
    held: datetime.date | None = None


def day_of(parts: Sequence[Part], almanac: Almanac) -> datetime.date | None:
    """The day that the parts name together, not before today; None if they name none. Raises Puzzled."""
    weekday = _only([part for part in parts if part.kind == "weekday"], "weekday")
    exact = _only([part for part in parts if part.kind in {"day", "of_month"}], "day")
    week = _only([part for part in parts if part.kind == "week"], "week")
    month = _only([part for part in parts if part.kind == "month"], "month")
    if month is not None and (exact is None or exact.kind != "of_month"):
        if exact is None and weekday is None and almanac.held is not None:
            number = almanac.language.months[month.found["month"].rstrip(".")]
            return _checked(_next_date(almanac, number, almanac.held.day), almanac)
        raise Puzzled(f"only the month {month.found['month'].title()} is clear: ask for the day")
    if exact is not None:
        day = _exact(exact, month, almanac)
        if weekday is not None and day.weekday() != _weekday(weekday, almanac):
            raise Puzzled(
                f"{spoken_day(day)} is not a {weekday.found['weekday'].title()}: ask whether the weekday or the date is right"
            )
        return _checked(day, almanac)
    if weekday is not None:
        return _checked(_of_week(weekday, week, almanac), almanac)
    if week is not None:
        raise Puzzled("only the week is clear: ask for the day")
    return None


def _only(parts: Sequence[Part], what: str) -> Part | None:
    if len(parts) > 1 and len({part.found[0].strip() for part in parts}) > 1:
        raise Puzzled(f"more than one {what} was named: ask for one day")
    return parts[0] if parts else None


def _checked(day: datetime.date, almanac: Almanac) -> datetime.date:
    if day < almanac.today:
        raise Puzzled(past(spoken_day(day), day, almanac.today))
    return day


def _weekday(part: Part, almanac: Almanac, group: str = "weekday") -> int:
    return almanac.language.weekdays[part.found[group]]


def _following(day: datetime.date, weekday: int) -> datetime.date:
    """The first such weekday after `day`."""
    return day + datetime.timedelta(days=(weekday - day.weekday() - 1) % 7 + 1)


def _of_week(part: Part, week: Part | None, almanac: Almanac) -> datetime.date:
    """ "next" means the week after this one, which begins on Monday; "this" may be today; without either it is after today."""
    today, weekday, which = almanac.today, _weekday(part, almanac), part.found["which"] or ""
    monday = today - datetime.timedelta(days=today.weekday())
    if which == "last":
        raise Puzzled(f"last {part.found['weekday'].title()} is in the past: ask for a day from today on")
    if week is not None and which in {"", "this"}:
        weeks = {"this_week": 0, "next_week": 1, "week_after_next": 2}[week.name]
        return monday + datetime.timedelta(days=7 * weeks + weekday)
    if which == "next":
        return monday + datetime.timedelta(days=7 + weekday)
    if which == "this" and weekday == today.weekday():
        return today
    return _following(today, weekday)


def _exact(part: Part, month: Part | None, almanac: Almanac) -> datetime.date:
    found, today = part.found, almanac.today
    months = almanac.language.months
    match part.name:
        case "today" | "tonight":
            return today
        case "tomorrow":
            return _after(today, 1)
        case "after_tomorrow":
            return _after(today, 2)
        case "before":
            raise Puzzled(f"{found[0]} is in the past: ask for a day from today on")
        case "week_from":
            base = {"tomorrow": _after(today, 1)}.get(found["base"] or "", today)
            if found["weekday"]:
                base = _following(today, almanac.language.weekdays[found["weekday"]])
            return _after(base, _DAYS[found["unit"]] * count_of(found["count"]))
        case "day_week":
            return _after(today, 8 if found["base"] == "tomorrow" else 7)
        case "week_on":
            group = next(name for name in ("weekday", "weekday2", "weekday3") if found[name])
            return _after(_following(today, _weekday(part, almanac, group)), 7)
        case "in_days":
            return moved(today, count_of(found["count"] or found["count2"]), found["unit"] or found["unit2"])
        case "iso_date":
            return date_of(int(found["year"]), int(found["month"]), int(found["day"]))
        case "numbers":
            return _numbers(part, almanac)
        case "next_month_day":
            first = today.replace(day=1) + relativedelta(months=1)
            return date_of(first.year, first.month, int(found["day"] or found["day2"]))
        case "of_month":
            if month is not None:
                return _next_date(almanac, months[month.found["month"].rstrip(".")], int(found["day"]))
            return _next_of_month(almanac, int(found["day"]))
        case _:
            number = months[found["month"].rstrip(".")]
            return _in_year(almanac, number, int(found["day"]), found["year"])


def count_of(word: str) -> int:
    if word.isdigit():
        return int(word)
    if word not in {"a", "an"}:
        raise Puzzled(f'"{word}" is not exact: ask for one exact date or time')
    return 1


def _after(day: datetime.date, days: int) -> datetime.date:
    return day + datetime.timedelta(days=days)


def moved(day: datetime.date, count: int, unit: str) -> datetime.date:
    if unit == "month":
        return day + relativedelta(months=count)
    if unit not in _DAYS:
        raise Puzzled(f"a day is not given in {unit}s: ask for the day")
    return _after(day, count * _DAYS[unit])


def date_of(year: int, month: int, day: int) -> datetime.date:
    """Raises Puzzled if there is none."""
    try:
        return datetime.date(year, month, day)
    except ValueError:
        raise Puzzled("there is no such date: ask for the day and the month again") from None


def month_first(region: str, separator: str) -> bool:
    """Whether the month stands before the day in figures; with dots never."""
    return region in _MONTH_FIRST and separator != "."


def _numbers(part: Part, almanac: Almanac) -> datetime.date:
    """ "5/12" is May 12 where the month is said first, else December 5; with dots the day is always first."""
    first, second = int(part.found["first"]), int(part.found["second"])
    begins_with_month = month_first(almanac.region, part.found["sep"])
    month, day = (first, second) if begins_with_month else (second, first)
    if month > 12 >= day:
        raise Puzzled(
            f"{part.found[0]} is no date with the {'month' if begins_with_month else 'day'} first: ask for the month by name"
        )
    return _in_year(almanac, month, day, part.found["year"])


def _in_year(almanac: Almanac, month: int, day: int, year: str | None) -> datetime.date:
    if year is None:
        return _next_date(almanac, month, day)
    digits = year.replace(" ", "")
    return date_of(int(digits) if len(digits) == 4 else 2000 + int(digits), month, day)


def _next_date(almanac: Almanac, month: int, day: int) -> datetime.date:
    """The next such date, today included."""
    today = almanac.today
    leap = (month, day) == (2, 29)
    this = None if leap and not _is_leap(today.year) else date_of(today.year, month, day)
    if this is not None and (this >= today or (today - this).days <= _STALE):
        return this
    return date_of(today.year + 1, month, day)


def _is_leap(year: int) -> bool:
    return (datetime.date(year, 3, 1) - datetime.timedelta(days=1)).day == 29


def _next_of_month(almanac: Almanac, day: int) -> datetime.date:
    """The next such day of a month; of the month of the held day, if that is to come."""
    if not 1 <= day <= 31:
        raise Puzzled("there is no such day in any month: ask for the day and the month")
    for start in [almanac.held, almanac.today] if almanac.held is not None else [almanac.today]:
        first = start.replace(day=1)
        for months in range(1 if start is almanac.held else 3):
            month = first + relativedelta(months=months)
            candidate = month + datetime.timedelta(days=day - 1)
            if candidate.month == month.month and candidate >= almanac.today:
                return candidate
    raise Puzzled("there is no such day in the next months: ask for the day and the month")


def past(spoken: str, day: datetime.date, today: datetime.date) -> str:
    """Why `day` is refused. A model that wrote a date may be wrong about the year, or about today."""
    year = f" of {day.year}" if day.year != today.year else ""
    return f"{spoken}{year} is in the past, today is {spoken_day(today)}, {today.year}: ask for a day from today on"


def spoken_day(day: datetime.date) -> str:
    return f"{day:%A}, {day:%B} {day.day}"
