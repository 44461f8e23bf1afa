"""A day that has been, with its year: a date of birth, the day of an accident."""

import datetime
import re

import attrs

from actors.slots.english_when import EDITS
from actors.slots.language import Language
from actors.slots.reading import Puzzled, Understood
from actors.slots.when_day import date_of, month_first
from actors.slots.when_parts import Part, find_parts
from actors.slots.when_words import in_figures

OLDEST = 1890
"""The year in which nobody who calls was born yet."""
_SPOKEN = re.compile(r"(?<!\d)(?P<first>\d{1,2})[ ,]+(?P<second>\d{1,2})[ ,]+(?P<year>(?:19|20)[ ,]*\d\d|\d\d)(?!\d)")
"""Three numbers in a row, as they are dictated: "3 5 19 84"."""
_NTH = re.compile(
    r"(?P<day>\d{1,2})th (?:day )?of (?:the )?(?P<month>\d{1,2})th(?: month)?[ ,]*(?P<year>(?:19|20) ?\d\d|\d\d)?(?!\d)"
)
""" "The third of the fifth, ninety": the day is first wherever one is."""
_OH = re.compile(r"\boh? (?=\d)")
_YEAR = re.compile(r"(?<!\d)(?:(?:19|20) ?\d\d|'?\d\d)(?!\d)")
_LEAD = re.compile(
    r"\b(?:(?:it|that) (?:was|happened)(?: on)?|(?:i was |was )?born(?: on| in)?"
    r"|(?:my )?(?:date of birth|birthday|birth date|dob)(?: is| was)?:?)(?![^\W\d_])"
)


@attrs.frozen
class Day:
    """What is known of it."""

    year: int | None = None
    month: int | None = None
    day: int | None = None


def understand_past_date(
    utterance: str, before: str, today: datetime.date, region: str, language: Language
) -> Understood:
    """`before`: the canonical text that is held, a part of which may be corrected. Raises Puzzled."""
    held = datetime.date.fromisoformat(before) if before else None
    known = Day(held.year, held.month, held.day) if held else Day()
    heard = False
    said = _OH.sub("0", _LEAD.sub(" ", in_figures(utterance, language)))
    for segment in EDITS.split(said):
        more = _said(segment, today, region, language)
        heard = heard or more != Day()
        known = Day(more.year or known.year, more.month or known.month, more.day or known.day)
    if not heard:
        raise Puzzled("no date was heard: ask for the day, the month and the year")
    if known.day is None or known.month is None:
        raise Puzzled("the day or the month is missing: ask for the day, the month and the year")
    if known.year is None:
        raise Puzzled("the year is missing: ask for the year")
    day = date_of(known.year, known.month, known.day)
    if day > today:
        raise Puzzled(f"{spoken_past_date(day)} is yet to come: ask for the date again, with its year")
    if day.year < OLDEST:
        raise Puzzled(f"{day.year} is too long ago: ask for the year again")
    return Understood(day, day.isoformat(), spoken_past_date(day))


def spoken_past_date(day: datetime.date) -> str:
    """With its year, and without the weekday, which nobody knows."""
    return f"{day:%B} {day.day}, {day.year}"


def _said(segment: str, today: datetime.date, region: str, language: Language) -> Day:
    """What one part of an utterance names."""
    spoken = _SPOKEN.search(segment)
    if spoken is not None:
        return _in_numbers(int(spoken["first"]), int(spoken["second"]), spoken["year"], region, "/", today)
    nth = _NTH.search(segment)
    if nth is not None:
        return Day(_year(nth["year"], today) if nth["year"] else None, int(nth["month"]), int(nth["day"]))
    found = find_parts(segment, bare_hour=False)
    parts = [part for part in found.parts if part.kind in {"day", "of_month", "month"}]
    if len(parts) > 1:
        raise Puzzled("more than one date was named: ask for one")
    left = _YEAR.findall(found.rest)
    if len(left) > 1 or len(found.parts) > len(parts):
        raise Puzzled("more than a date was heard: ask for the day, the month and the year")
    year = _year(left[0], today) if left else None
    named = _named(parts[0], today, region, language) if parts else Day()
    return attrs.evolve(named, year=named.year or year)


def _named(part: Part, today: datetime.date, region: str, language: Language) -> Day:
    found = part.found.groupdict()
    if part.name == "today":
        return Day(today.year, today.month, today.day)
    if part.name == "before" and "yesterday" in part.found[0]:
        day = today - datetime.timedelta(days=2 if "before" in part.found[0] else 1)
        return Day(day.year, day.month, day.day)
    if part.name == "numbers":
        first, second = int(found["first"]), int(found["second"])
        return _in_numbers(first, second, found["year"], region, found["sep"], today)
    year = _year(found["year"], today) if found.get("year") else None
    if part.name == "iso_date":
        return Day(year, int(found["month"]), int(found["day"]))
    if part.kind == "month":
        return Day(year, language.months[found["month"].rstrip(".")])
    if part.name in {"of_month_year", "month_day"}:
        return Day(year, language.months[found["month"].rstrip(".")], int(found["day"]))
    if part.kind == "of_month":
        return Day(day=int(found["day"]))
    raise Puzzled(f'"{part.found[0].strip()}" is no day that has been: ask for the day, the month and the year')


def _in_numbers(first: int, second: int, year: str | None, region: str, separator: str, today: datetime.date) -> Day:
    month, day = (first, second) if month_first(region, separator) else (second, first)
    if month > 12 >= day:
        month, day = day, month  # nobody counts so many months
    return Day(_year(year, today) if year else None, month, day)


def _year(said: str, today: datetime.date) -> int:
    """Of two digits, those that have been last."""
    digits = re.sub(r"\D", "", said)
    if len(digits) == 4:
        return int(digits)
    return 2000 + int(digits) if 2000 + int(digits) <= today.year else 1900 + int(digits)
