"""Dates and times that callers name, resolved in the future of a given moment."""

import contextlib
import datetime
from zoneinfo import ZoneInfo

import attrs
from dateutil.relativedelta import relativedelta

from actors.slots.english_when import EDITS, ZONED, ZONES
from actors.slots.language import Language
from actors.slots.reading import Context, Puzzled, Understood
from actors.slots.when_clock import spoken_time, time_of
from actors.slots.when_day import Almanac, count_of, day_of, past, spoken_day
from actors.slots.when_parts import Part, find_parts
from actors.slots.when_words import in_figures

BEGUN_AT_MOST = 200
"""Characters that are kept of a day and a time which are told piece by piece."""
_HALF_HOUR = datetime.timedelta(minutes=30)


@attrs.frozen
class When:
    """What is known: a day, a time of day, or both."""

    day: datetime.date | None = None
    time: datetime.time | None = None


def understand_when(kind: str, utterance: str, before: str, context: Context, language: Language) -> Understood:
    """`kind` is date_time, date or time. Raises Puzzled."""
    now, held = _now(context), held_when(kind, before)
    try:
        return _whole(kind, _known(kind, utterance, held, context, language), held, now)
    except Puzzled:
        if not context.begun:
            raise
    # "Tuesday." "What time?" "Three." It is one utterance with a question in it, or puts right what was said before that.
    with contextlib.suppress(Puzzled):
        both = f"{context.begun} {utterance}"
        return _whole(kind, _known(kind, both, held, context, language, bare=True), held, now)
    half = _begun(kind, context.begun, context, language)
    return _whole(kind, _known(kind, utterance, half, context, language), half, now)


def still_begun(kind: str, utterance: str, context: Context, language: Language) -> str:
    """What is to be kept in mind of an utterance that was no value, and of what was begun before: what names a day or a time."""
    for said in (f"{context.begun} {utterance}".strip(), utterance, context.begun):
        if len(said) <= BEGUN_AT_MOST and _begun(kind, said, context, language) != When():
            return said
    return utterance


def _begun(kind: str, said: str, context: Context, language: Language) -> When:
    try:
        return _known(kind, said, When(), context, language)
    except Puzzled:
        return When()


def _now(context: Context) -> datetime.datetime:
    return context.now.replace(tzinfo=None, second=0, microsecond=0)


def _known(kind: str, utterance: str, held: When, context: Context, language: Language, *, bare: bool = False) -> When:
    """What is named. `bare`: an hour may be a number and nothing else, though nothing is held. Raises Puzzled."""
    known = When()
    for segment in EDITS.split(in_figures(utterance, language)):
        if not segment.strip(" ,.;!?"):
            continue
        alone = bare or kind == "time" or held.time is not None or held.day is not None or known.time is not None
        base = When(known.day or held.day, known.time or held.time)
        more = _segment(segment, base, _now(context), context, language, alone)
        known = When(more.day or known.day, more.time or known.time)
    return known


def held_when(kind: str, before: str) -> When:
    if not before:
        return When()
    if kind == "date":
        return When(day=datetime.date.fromisoformat(before))
    if kind == "time":
        return When(time=datetime.time.fromisoformat(before))
    moment = datetime.datetime.fromisoformat(before)
    return When(moment.date(), moment.time())


def _segment(said: str, base: When, now: datetime.datetime, context: Context, language: Language, bare: bool) -> When:
    found = find_parts(said, bare)
    _in_our_time(found.rest, context.now)
    moment = next((part for part in found.parts if part.kind == "moment"), None)
    if moment is not None:
        if [part for part in found.parts if part is not moment and part.kind != "half"]:
            raise Puzzled("more than one date or time was named: ask for one")
        return _moment(moment, now, context)
    shift = next((part for part in found.parts if part.kind == "shift"), None)
    if shift is not None:
        if len(found.parts) > 1 or any(char.isdigit() for char in found.rest):
            raise Puzzled("more than one date or time was named: ask for the day and the time")
        return _shifted(shift, base)
    almanac = Almanac(now.date(), context.region, language, base.day)
    day = day_of(found.parts, almanac)
    time = time_of(found.parts, base.time, context.hours)
    if any(char.isdigit() for char in found.rest):
        raise Puzzled("a number was heard that is neither clearly a day nor a time: ask for the day and the time again")
    vague = next((part for part in found.parts if part.kind == "vague"), None)
    if vague is not None and (
        (day is None and time is None)
        or vague.name == "open"
        or vague.found[0].strip() in {"any", "every", "few", "several"}
    ):
        raise Puzzled(f'"{vague.found[0].strip()}" is not exact: ask for one exact day and time')
    midnight = time == datetime.time() and any(
        part.name == "midnight" or part.found.groupdict().get("hour") == "12" for part in found.parts
    )
    if midnight and day is not None:
        raise Puzzled("midnight belongs to two days: ask for another time, or for 12:01 AM and its day")
    return When(day, time)


def _in_our_time(rest: str, now: datetime.datetime) -> None:
    """Raises Puzzled if another zone is named than ours, or their own: what is agreed on is an hour here."""
    for named in ZONED.finditer(rest):
        zone = ZONES.get(named["zone"] or named["short"] or "")
        if zone is None or now.astimezone(ZoneInfo(zone)).utcoffset() != now.utcoffset():
            raise Puzzled(
                f'"{named[0].strip(" §,")}" may not be the time here ({now.tzinfo}): '
                "tell the caller what it is in the time here, and save that when they agree"
            )


def _moment(part: Part, now: datetime.datetime, context: Context) -> When:
    if part.name == "iso":
        try:
            moment = datetime.datetime.fromisoformat(part.found["iso"].upper())
        except ValueError:
            raise Puzzled("there is no such date or time: ask for the day and the time again") from None
        if moment.tzinfo is not None:
            try:
                moment = moment.astimezone(context.now.tzinfo).replace(tzinfo=None)
            except (OverflowError, ValueError):
                raise Puzzled("there is no such date or time: ask for the day and the time again") from None
        return When(moment.date(), moment.time().replace(second=0, microsecond=0))
    count, unit = part.found["count"], part.found["unit"]
    if count == "half an" or count is None:
        later = now + (_HALF_HOUR if "half" in part.found[0] else 2 * _HALF_HOUR)
    else:
        later = now + count_of(count) * (2 * _HALF_HOUR if unit == "hour" else datetime.timedelta(minutes=1))
    return When(later.date(), later.time())


def _shifted(part: Part, base: When) -> When:
    """ "an hour later", "the day after": what is held, moved."""
    groups = part.found.groupdict()
    unit = groups.get("unit") or groups.get("unit2") or groups.get("unit3") or ""
    way = -1 if part.found["way"] in {"earlier", "sooner", "before"} else 1
    half = groups.get("count") == "half an"
    count = way * (1 if half or "count" not in groups else count_of(part.found["count"]))
    if unit in {"minute", "hour"}:
        if base.time is None:
            raise Puzzled("there is no time yet that could be moved: ask for the time")
        step = _HALF_HOUR if half else 2 * _HALF_HOUR if unit == "hour" else datetime.timedelta(minutes=1)
        moved = datetime.datetime.combine(base.day or datetime.date(2000, 1, 2), base.time) + count * step
        return When(moved.date() if base.day else None, moved.time())
    if base.day is None or half:
        raise Puzzled("there is no day yet that could be moved: ask for the day")
    days = {"day": 1, "week": 7, "fortnight": 14}.get(unit)
    return When(base.day + (relativedelta(months=count) if days is None else datetime.timedelta(days=count * days)))


def _whole(kind: str, known: When, held: When, now: datetime.datetime) -> Understood:
    day, time = known.day or held.day, known.time or held.time
    if known == When() and (kind != "date_time" or (day is None) == (time is None)):
        raise Puzzled(f"no {'time' if kind == 'time' else 'date'} was heard: ask for it")
    if kind == "time":
        if known.time is None or time is None:
            raise Puzzled("the time is missing: ask for the time of day")
        return Understood(time, f"{time:%H:%M}", spoken_time(time))
    if day is None:
        raise Puzzled("the day is missing: ask for the day")
    if kind == "date":
        if known.day is None:
            raise Puzzled("the day is missing: ask for the day")
        if day < now.date():
            raise Puzzled(past(spoken_day(day), day, now.date()))
        return Understood(day, day.isoformat(), "")
    if time is None:
        raise Puzzled(f"the time is missing for {spoken_day(day)}: ask for the time of day")
    moment = datetime.datetime.combine(day, time)
    if moment < now:
        if day == now.date():
            raise Puzzled(f"{spoken_day(day)} at {spoken_time(time)} is in the past: ask for a time from now on")
        raise Puzzled(past(f"{spoken_day(day)} at {spoken_time(time)}", day, now.date()))
    return Understood(moment, moment.isoformat(timespec="minutes"), "")


def spoken_day_with_year(day: datetime.date, today: datetime.date | None) -> str:
    return spoken_day(day) if today is None or (day - today).days < 330 else f"{spoken_day(day)}, {day.year}"
