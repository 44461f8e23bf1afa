"""English phrases for dates and times, as patterns over `when_words.in_figures`. The first pattern that fits takes the words."""

import re
from typing import Literal, TypeAlias

PartKind: TypeAlias = Literal[
    "moment", "day", "weekday", "of_month", "month", "clock", "half", "shift", "week", "vague"
]

_MONTH = (
    r"(?P<month>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?"
    r"(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\b\.?"
)
_WEEKDAY = (
    r"(?P<weekday>mon(?:day)?|tue(?:s(?:day)?)?|wed(?:s|nesday)?|thu(?:rs?(?:day)?)?|fri(?:day)?"
    r"|sat(?:urday)?|sun(?:day)?)\b"
)
_YEAR = r"(?:,? (?P<year>(?:19|20) ?\d\d)\b(?!:))?"
_UNIT = r"(?P<unit>minute|hour|day|week|fortnight|month)s?"
_HALF = (
    r"(?P<half>a\.?m\b\.?|p\.?m\b\.?|o'?clock in the (?:morning|afternoon|evening)|in the (?:morning"
    r"|afternoon|evening)|at night)"
)
_AT = r"(?:\b(?:at|around|about|for|by|@|maybe|say|to) )?"
_COUNT = r"(?P<count>\d{1,3}|an?|half an|a couple of|a couple)"

_SOURCES: list[tuple[PartKind, str, str]] = [
    (
        "moment", "iso",
        r"\b(?P<iso>\d{4}-\d\d-\d\d[t ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:z|[+-]\d\d:?\d\d)?)(?![\w:])",
    ),
    ("day", "iso_date", r"(?<![\d-])(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)(?![\d-])"),
    ("shift", "shift", rf"\b{_COUNT} {_UNIT} (?P<way>later|earlier|sooner)\b"),
    (
        "shift", "shift_day",
        r"\bthe (?:(?P<unit>day|week) (?P<way>after|before)(?! (?:tomorrow|yesterday|next|\d))|following (?P<unit2>day|week)"
        r"|next (?P<unit3>day))\b",
    ),
    ("day", "after_tomorrow", r"\b(?:the )?day after tomorrow\b|\bovermorrow\b"),
    ("day", "before", r"\b(?:yesterday|day before yesterday|last (?:week|month|night|year))\b"),
    (
        "day", "week_from",
        rf"\b{_COUNT} (?P<unit>week|fortnight)s? (?:(?:from |after )?(?P<base>today|now|tomorrow)\b|(?:from|after) (?:this "
        rf"|next )?{_WEEKDAY})",
    ),
    ("day", "day_week", r"\b(?P<base>today|tomorrow) week\b"),
    ("day", "week_on", rf"\b(?:(?<!next )(?<!this )week on {_WEEKDAY}|{_WEEKDAY.replace('weekday', 'weekday2')} week\b"
     rf"|an? week {_WEEKDAY.replace('weekday', 'weekday3')})"),
    (
        "moment", "in",
        rf"\b(?:in|within) {_COUNT} (?P<unit>minute|hour)s?(?: from now| time)?\b|\b(?:an hour"
        rf"|half an hour) from now\b",
    ),
    (
        "day", "in_days",
        rf"\b(?:in {_COUNT} {_UNIT}(?:'s)?(?:'? time| from (?:now|today))?"
        rf"|{_COUNT.replace('count', 'count2')} {_UNIT.replace('unit', 'unit2')} from (?:now|today))\b",
    ),
    (
        "day", "numbers",
        r"(?<![\d/.:])(?P<first>\d{1,2})(?P<sep>[/.]|-)(?P<second>\d{1,2})(?:(?P=sep)(?P<year>\d{4}"
        r"|\d\d)|(?<=\.\d\d)\.|(?P<open>(?<!\.\d)(?<!\.\d\d)))(?![\d/:])(?! ?[ap]m)",
    ),
    ("day", "of_month_year", rf"\b(?:the )?(?P<day>\d{{1,2}})(?:th)?(?: day)?(?: of)? {_MONTH}{_YEAR}"),
    ("day", "month_day", rf"\b{_MONTH} (?:the )?(?P<day>\d{{1,2}})(?:th)?(?![\d:])(?! ?[ap]m\b){_YEAR}"),
    (
        "day", "next_month_day",
        r"\b(?:the )?(?P<day>\d{1,2})th (?:of )?next month\b|\bnext month (?:on )?(?:the )?"
        r"(?P<day2>\d{1,2})th\b",
    ),
    ("day", "today", r"\b(?:today|this (?=morning|afternoon|evening))\b"),
    ("day", "tonight", r"\btonight\b"),
    ("day", "tomorrow", r"\b(?:tomorrow|tomorrow's|tmrw)\b"),
    ("week", "week_after_next", r"\b(?:the )?week after next\b"),
    ("week", "next_week", r"\b(?:of )?next week\b"),
    ("week", "this_week", r"\b(?:of |later )?this week\b"),
    ("vague", "open", rf"\b(?:an?|some|any|every|each) {_WEEKDAY}"),
    (
        "vague", "open",
        r"\b(?:the|this|that|next|other|first|last|earlier|later|same) 1\b(?![:/.]| ?o'?clock| ?[ap]\.?m\b| \d)",
    ),
    ("weekday", "weekday", rf"(?:\b(?P<which>next|this coming|this|coming|last) )?\b{_WEEKDAY}"),
    ("clock", "clock", rf"{_AT}(?<![\d:.])(?P<hour>\d{{1,2}}):(?P<minute>\d\d)(?::00)?(?![\d:])(?: ?{_HALF})?"),
    ("clock", "dotted", rf"(?:\bat )?(?<![\d:.])(?P<hour>\d{{1,2}})\.(?P<minute>\d\d)(?![\d.])(?: ?{_HALF})?"),
    (
        "clock", "half_past",
        rf"{_AT}\bhalf (?:past|after) (?P<hour>\d{{1,2}})\b(?!:)(?: o'?clock)?(?: {_HALF})?",
    ),
    (
        "clock", "past",
        rf"{_AT}(?:\b(?:an? )?(?P<quarter>quarter)|\b(?P<minute>\d{{1,2}})(?: minutes?)?) (?:past"
        rf"|after) (?P<hour>\d{{1,2}})\b(?!:)(?: {_HALF})?",
    ),
    (
        "clock", "to",
        rf"{_AT}(?:\b(?:an? )?(?P<quarter>quarter)|\b(?P<minute>\d{{1,2}})(?: minutes?)?) (?:to|of|till"
        rf"|til|before) (?P<hour>\d{{1,2}})\b(?!:)(?: o'?clock)?(?: {_HALF})?",
    ),
    ("clock", "noon_off", r"\b(?:(?P<past>half past|quarter past)|(?P<to>quarter to)) (?:noon|midday)\b"),
    ("clock", "noon", r"(?:\b(?:12 )?(?:at )?)\b(?:noon|midday)\b"),
    ("clock", "midnight", r"(?:\b(?:12 )?(?:at )?)\bmidnight\b"),
    (
        "clock", "pair",
        rf"{_AT}\b(?P<hour>\d|1\d|2[0-3]) (?P<minute>[1-5]\d|0\d)\b(?![:/\d])(?!th)(?: ?{_HALF})?",
    ),
    ("clock", "run", rf"{_AT}\b(?P<hour>\d|1[0-2])(?P<minute>[0-5]\d) ?(?P<half>a\.?m\b\.?|p\.?m\b\.?)"),
    (
        "clock", "oclock",
        rf"{_AT}\b(?P<hour>\d{{1,2}})(?: o'?clock| ?o clock|h\b)(?: (?:sharp|on the dot))?(?:,? {_HALF})?",
    ),
    ("clock", "half_hour", rf"{_AT}\b(?P<hour>\d{{1,2}}) ?{_HALF}"),
    ("of_month", "of_month", r"\b(?:on )?(?:the )?(?P<day>\d{1,2})th\b"),
    ("clock", "at", r"\b(?:at|around|about|@) (?P<hour>\d{1,2})\b(?![:/\d.]\d)(?!th)"),
    (
        "half", "half",
        r"\b(?:(?:in the |this )?(?P<half>morning|afternoon|evening)|(?:at )?(?P<night>night)|"
        r"(?P<ampm>am|pm))\b",
    ),
    ("month", "month", rf"\b(?:in )?{_MONTH.replace('|may', '').replace('mar(?:ch)?', 'march')}"),
    (
        "vague", "vague",
        r"\b(?:weekend|next month|this month|next year|soon|asap|as soon as possible|later|sometime"
        r"|whenever|any ?time|any day|any|lunch ?time|end of the (?:week|month)|weekdays?|every|few"
        r"|several)\b",
    ),
    ("clock", "bare", r"(?<![\d:./-])\b(?P<hour>\d{1,2})\b(?![:/\d.-]\d)(?!th)"),
]  # fmt: skip

PATTERNS: tuple[tuple[PartKind, str, re.Pattern[str]], ...] = tuple(
    (kind, name, re.compile(source)) for kind, name, source in _SOURCES
)

BLOCKERS = re.compile(
    r"\b(?:or|between|until|till|before|after|from|past|except|unless|depends|either|neither|half|quarter|last|ago|never|"
    r"starting|onwards?|anything but|i had|we had|was(?! (?:thinking|hoping|wondering|going))|thing|bad|impossible|full|"
    r"following|an? (?:week|fortnight)|weeks|fortnight|"
    r"taken|busy|unavailable|booked|to(?=[\s.,?!]*$)|earliest|latest|least|most|can't|cannot|don't|won't|doesn't)\b"
    r"|\bif\b(?! possible| that's| it's okay| you)"
)
NEGATIONS = re.compile(r"\b(?:not|instead of|rather than)\b")
EDITS = re.compile(
    r"(?:^|[\s,.;])(?:no wait|no|nope|sorry|i mean|i meant|wait|scratch that|strike that|actually|make that|make it|"
    r"correction|rather(?! than)|hang on|hold on)(?=[\s,.;]|$)"
)
EVENING = {"morning": "am", "afternoon": "pm", "evening": "pm", "night": "night"}
ZONES: dict[str, str] = {
    **dict.fromkeys(["pacific", "pst", "pdt", "pt"], "America/Los_Angeles"),
    **dict.fromkeys(["mountain", "mst", "mdt", "mt"], "America/Denver"),
    **dict.fromkeys(["central", "cst", "cdt", "ct"], "America/Chicago"),
    **dict.fromkeys(["eastern", "est", "edt", "et"], "America/New_York"),
    **dict.fromkeys(["london", "uk", "british", "bst"], "Europe/London"),
    **dict.fromkeys(["central european", "cet", "cest"], "Europe/Berlin"),
    **dict.fromkeys(["gmt", "utc", "greenwich"], "Etc/UTC"),
}
"""What callers call zones, and a place that has their time."""
_LONG = "central european|pacific|mountain|central|eastern|london|uk|british|greenwich"
ZONED: re.Pattern[str] = re.compile(
    rf"\b(?P<zone>{_LONG}|[ecmp][sd]?t|bst|ces?t|gmt|utc)(?: (?:standard|daylight|summer|mean))? time\b"
    rf"|(?<=§)[ ,]*\b(?:(?P<short>pacific|eastern|[ecmp][sd]?t|bst|ces?t|gmt|utc)\b|(?:in )?my time\b)"
)
"""Another zone, named behind an hour (which `find_parts` has taken), or as one."""
