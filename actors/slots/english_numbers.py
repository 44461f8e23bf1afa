"""English numbers, telephones, months and weekdays."""

import re
from collections.abc import Mapping

from actors.slots.english_lists import items, lines, words
from actors.slots.tokens import Phrases

_UNITS = {w: n for n, w in enumerate(items("one two three four five six seven eight nine"), 1)}
_TEENS = items("ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen")
_TENS = {w: n for n, w in enumerate(items("twenty thirty forty fifty sixty seventy eighty ninety"), 2)}
_ORDINALS = items("""first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth
 fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth twentieth""")
_OWN_NUMBER = r"""
  (?:number|one|phone|line|cell|mobile)\ (?:that\ )?(?:i'm|i\ am|we're|i)\ (?:calling|call|using|on|phoning|ringing)
  | (?:calling|phoning|ringing)\ (?:you\ )?(?:from|on|with)\b | \bthis\ (?:very\ |same\ )?(?:number|phone|line|one)\b
  | \bsame\ (?:number|phone)\b | \bcaller\ id\b
"""

UNITS: Mapping[str, int] = _UNITS
ZEROS: frozenset[str] = words("zero oh o nought naught null nil")
TEENS: Mapping[str, int] = {word: number for number, word in enumerate(_TEENS, 10)}
TENS: Mapping[str, int] = {word: 10 * number for word, number in _TENS.items()} | {"fourty": 40}
HUNDRED: str = "hundred"
THOUSANDS: Mapping[str, int] = {"thousand": 1_000, "million": 1_000_000, "billion": 1_000_000_000}
ORDINALS: Mapping[str, int] = {word: number for number, word in enumerate(_ORDINALS, 1)} | {
    "thirtieth": 30,
    "last": -1,
    "final": -1,
}
ORDINAL_PHRASES: Phrases[int] = Phrases(
    {
        **{word: number for number, word in enumerate(_ORDINALS, 1)},
        "last": -1,
        "final": -1,
        "second to last": -2,
        "second last": -2,
        "next to last": -2,
        "last but one": -2,
    }
)
OTHER_NUMBERS: frozenset[str] = words("in since until till i'm am aged")
PHONE_LEADS: Phrases[bool] = Phrases.of(
    lines("""my number is
        my phone number is
        my number's
        my cell is
        my cell number is
        my mobile is
        my mobile number is
        the number is
        number is
        phone number
        telephone number
        cell number
        mobile number
        phone
        cell
        mobile
        number
        you can reach me at
        you can reach me on
        you can call me at
        reach me at
        reach me on
        call me at
        my cell's
        my mobile's
        call me on
        you can call me on
        at
        on
        area code
        the area code is
        area code is
        my area code is
        in area code
        country code
        the country code is
        country code is
        dash
        hyphen
        dot
        point
        space
        parenthesis
        open parenthesis
        close parenthesis
        my
        best number is
        the best number is
        digits"""),
)
PLUS: Phrases[bool] = Phrases.of(["plus", "plus sign", "country code", "the country code is", "country code is", "+"])
EXTENSION: Phrases[bool] = Phrases.of(["extension", "ext", "x", "extension number", "extension is"])
OWN_NUMBER: re.Pattern[str] = re.compile(_OWN_NUMBER, re.VERBOSE)
MONTHS: Mapping[str, int] = {
    "january": 1,
    "february": 2,
    "march": 3,
    "april": 4,
    "may": 5,
    "june": 6,
    "july": 7,
    "august": 8,
    "september": 9,
    "october": 10,
    "november": 11,
    "december": 12,
    "jan": 1,
    "feb": 2,
    "mar": 3,
    "apr": 4,
    "jun": 6,
    "jul": 7,
    "aug": 8,
    "sep": 9,
    "sept": 9,
    "oct": 10,
    "nov": 11,
    "dec": 12,
}
WEEKDAYS: Mapping[str, int] = {
    "monday": 0,
    "tuesday": 1,
    "wednesday": 2,
    "thursday": 3,
    "friday": 4,
    "saturday": 5,
    "sunday": 6,
    "mon": 0,
    "tue": 1,
    "tues": 1,
    "wed": 2,
    "weds": 2,
    "thu": 3,
    "thur": 3,
    "thurs": 3,
    "fri": 4,
    "sat": 5,
    "sun": 6,
}
