"""What becomes of an utterance: a typed value, a reason why it is none, or a refusal."""

import datetime
from collections.abc import Mapping
from typing import TypeAlias

import attrs

UNLIKE = 0.25
"""So little the first name and the last resemble each other, and a name and what was misheard for it do not."""

SlotValue: TypeAlias = str | bool | int | float | datetime.datetime | datetime.date | datetime.time
"""str for names, addresses, numbers of telephones, choices and texts; naive local time for `date_time` and `time`."""


@attrs.frozen
class Context:
    """What has to be known to read an utterance.

    `now` is aware, in the caller's local time; dates are read relative to it, in the future. `region` is the ISO country
    code for national phone numbers and for the order of day and month. `choices` maps a canonical name to other words
    for it. `least` and `most` bound a number, both inclusive. `caller` is the number of the telephone in use, if known.
    `hours` ("17:00-23:00") are those within which a time is meant that is said without morning or evening. `unlike`: a name
    that is no more like the one word that is held, from 0 to 1, is the rest of it, and does not take its place.
    """

    now: datetime.datetime
    language: str = "en"
    region: str = "US"
    choices: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict[str, tuple[str, ...]])
    least: float | None = None
    most: float | None = None
    caller: str = ""
    hours: str = ""
    unlike: float = UNLIKE


@attrs.frozen
class Understood:
    """A value. `text` is its canonical form and reads back as the same value; `spoken` is how to say it to the caller."""

    value: SlotValue
    text: str
    spoken: str


@attrs.frozen
class Unclear:
    """No value; `why` is one sentence that says what is wrong and what to ask for. `said`: whether the caller said something,
    which could not be read; a model that fills in what nobody said is not their fault."""

    why: str
    said: bool = True


@attrs.frozen
class Declined:
    """The caller will not give it."""


Reading: TypeAlias = Understood | Unclear | Declined


class Puzzled(Exception):
    """Raised inside the package where reading cannot go on; its text becomes the `why` of an `Unclear`."""
