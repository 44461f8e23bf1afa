"""What holds for every value and every utterance."""

import datetime
import time

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from actors.slots import Context, Declined, Unclear, Understood, read_back, typed, understand
from conf.flow import SLOT_KINDS

NOW = datetime.datetime(2026, 11, 24, 10, 0, tzinfo=datetime.timezone(datetime.timedelta(hours=-5)))
CONTEXT = Context(NOW, choices={"cleaning": ("hygiene",), "filling": ("cavity",)})
HELD = {
    "person_name": "John Smith",
    "email": "john.smith@gmail.com",
    "phone": "+14155550123",
    "date_time": "2026-11-30T15:00",
    "date": "2026-11-30",
    "past_date": "1984-03-05",
    "time": "15:00",
    "number": "42",
    "yes_no": "yes",
    "choice": "filling",
    "text": "hello",
}


def words(text: str) -> list[str]:
    return text.split()


NATO = words("""
alpha bravo charlie delta echo foxtrot golf hotel india juliet kilo lima mike november oscar papa quebec romeo
sierra tango uniform victor whiskey xray yankee zulu
""")
AD_HOC = words("""
apple boy cat dog egg fox girl house ink jack king lion mary nobody orange peter queen robert sugar tom under
violet water xylophone yellow zebra
""")
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
NOISE = ["", "", "", "um, ", "uh, ", "then ", "er, "]
SEPARATORS = {".": ["dot", "period", "point"], "-": ["dash", "hyphen"], "_": ["underscore"], "+": ["plus"]}
WORDS = words("""
no not sorry at dot com gmail john smith J B double triple capital a an the my last first letter is as in like for second
wait scratch that tomorrow monday three half past quarter to pm morning next week 30th december 5 yes nope skip instead of
with two one oh zero plus 44 415 555 0123 @ - . , ' 2026-11-30 15:00 filling hygiene never mind İ ß ² ٣ §
""")


def understood(kind: str, utterance: str, before: str = "") -> str:
    reading = understand(kind, utterance, CONTEXT, before)
    assume(
        not (kind == "person_name" and isinstance(reading, Unclear) and "is not clear: ask" in reading.why)
    )  # "T, H, E"
    assert isinstance(reading, Understood), f"{utterance!r}: {reading}"
    return reading.text


@st.composite
def spelled(draw: st.DrawFn, letters: str) -> str:
    """Letters, each said in some way, with noise between them."""
    said: list[str] = []
    place = 0
    while place < len(letters):
        letter = letters[place]
        index = ord(letter) - ord("a")
        if letter != "u" and letters[place : place + 2] == letter * 2 and draw(st.booleans()):  # "double u" is W
            said.append(draw(st.sampled_from([f"double {letter}", f"double {letter.upper()}"])))
            place += 2
            continue
        plain = [
            letter.upper(),
            letter.upper(),
            f"{letter} as in {AD_HOC[index]}",
            f"{letter.upper()} for {AD_HOC[index].title()}",
        ]
        said.append(draw(st.sampled_from(NOISE)) + draw(st.sampled_from(plain)))
        place += 1
    return draw(st.sampled_from([" ", ", ", ", ", "... "])).join(said)


letters_of_a_name = st.text("abcdefghijklmnopqrstuvwxyz", min_size=3, max_size=10).filter(
    lambda name: not name.startswith("mc")
)


@given(letters_of_a_name.flatmap(lambda name: st.tuples(st.just(name), spelled(name))))
def test_a_name_spelled_in_any_style_is_that_name(case: tuple[str, str]) -> None:
    assert understood("person_name", case[1]) == case[0].capitalize()


@given(letters_of_a_name.filter(lambda name: len(name) > 3))
def test_a_name_in_the_spelling_alphabet_is_that_name(name: str) -> None:
    words = [NATO[ord(letter) - ord("a")] for letter in name]
    if words[0] in {"charlie", "juliet", "mike", "oscar", "romeo", "victor", "india", "sierra"}:
        words[0] = f"{name[0]} as in {words[0]}"
    assert understood("person_name", " ".join(words)) == name.capitalize()


@given(letters_of_a_name, st.sampled_from(["-", ". ", " ", ", "]))
def test_letters_may_be_written_with_any_punctuation_between(name: str, between: str) -> None:
    assert understood("person_name", between.join(name.upper())) == name.capitalize()


@given(st.data())
def test_an_address_spelled_in_any_style_is_that_address(data: st.DataObject) -> None:
    first = data.draw(letters_of_a_name)
    second = data.draw(letters_of_a_name)
    mark = data.draw(st.sampled_from(sorted(SEPARATORS)))
    number = data.draw(st.text("123456789", max_size=3))
    host = data.draw(st.sampled_from(["gmail", "yahoo", "outlook", "hotmail"]))
    said = (
        f"{data.draw(spelled(first))} {data.draw(st.sampled_from(SEPARATORS[mark]))} {data.draw(spelled(second))} "
        f"{' '.join(DIGITS[int(digit)] for digit in number)} {data.draw(st.sampled_from(['at', 'at sign']))} {host} dot com"
    )
    assert understood("email", said) == f"{first}{mark}{second}{number}@{host}.com"


@given(st.data())
def test_a_phone_number_said_in_any_groups_is_that_number(data: st.DataObject) -> None:
    digits = data.draw(st.sampled_from(["415555", "212555", "650253"])) + data.draw(
        st.text("0123456789", min_size=4, max_size=4)
    )
    said: list[str] = []
    place = 0
    while place < len(digits):
        if digits[place : place + 2] == digits[place] * 2 and data.draw(st.booleans()):
            said.append(f"double {DIGITS[int(digits[place])]}")
            place += 2
        else:
            style = [
                digits[place],
                DIGITS[int(digits[place])],
                "oh" if digits[place] == "0" else DIGITS[int(digits[place])],
            ]
            said.append(data.draw(st.sampled_from(NOISE)) + data.draw(st.sampled_from(style)))
            place += 1
    assert understood("phone", data.draw(st.sampled_from([" ", ", ", " - "])).join(said)) == f"+1{digits}"


@given(st.dates(datetime.date(2026, 11, 25), datetime.date(2027, 10, 1)), st.integers(0, 4))
def test_a_date_said_in_any_order_is_that_date(day: datetime.date, style: int) -> None:
    said = [
        f"{day:%B} {day.day}",
        f"the {day.day}th of {day:%B}",
        f"{day:%A}, {day:%B} {day.day}",
        f"{day.month}/{day.day}/{day.year}",
        f"{day:%A} the {day.day}th of {day:%B}, {day.year}",
    ][style]
    assert understood("date", said) == day.isoformat()


@given(st.times(), st.booleans())
def test_a_time_with_its_half_of_the_day_is_that_time(at: datetime.time, spaced: bool) -> None:
    said = f"{at.hour % 12 or 12}:{at.minute:02}{' ' if spaced else ''}{'am' if at.hour < 12 else 'pm'}"
    assert understood("time", said) == f"{at:%H:%M}"


@given(st.datetimes(datetime.datetime(2026, 11, 24, 10, 1), datetime.datetime(2100, 1, 1)))
def test_a_moment_that_is_already_written_is_that_moment(moment: datetime.datetime) -> None:
    text = moment.isoformat(timespec="minutes")
    assert understood("date_time", text) == text


@given(st.integers(-(10**14), 10**14))
def test_a_whole_number_in_figures_is_that_number(number: int) -> None:
    assert understood("number", str(number)) == str(number)


anything = st.one_of(
    st.text(max_size=80),
    st.lists(st.sampled_from(WORDS), max_size=14).map(" ".join),
    st.lists(st.sampled_from(WORDS), max_size=10).map(", ".join),
    st.text("0123456789:/.-@ apm", max_size=40),
)


@given(st.sampled_from(SLOT_KINDS), anything, st.booleans(), st.sampled_from(["US", "GB", "DE", "??"]))
def test_whatever_is_said_is_read_without_an_error_and_what_is_understood_stays_the_same(
    kind: str, utterance: str, held: bool, region: str
) -> None:
    context = Context(NOW, region=region, choices=CONTEXT.choices)
    reading = understand(kind, utterance, context, HELD[kind] if held else "")
    if isinstance(reading, Understood):
        assert typed(kind, reading.text) == reading.value
        assert reading.spoken
        assert read_back(kind, reading.text)
        again = understand(kind, reading.text, context)
        assert isinstance(again, Understood)
        assert (again.value, again.text) == (reading.value, reading.text)
    else:
        assert isinstance(reading, Declined) or reading.why


@given(st.sampled_from(SLOT_KINDS), anything)
def test_a_held_text_that_is_no_value_does_no_harm(kind: str, held: str) -> None:
    assert understand(kind, "no, the last one is a B", CONTEXT, held)


@pytest.mark.parametrize("kind", SLOT_KINDS)
@pytest.mark.parametrize(
    "word",
    [
        "a ",
        "1 ",
        "x",
        "@",
        "at ",
        "no ",
        "double ",
        "capital ",
        "not tuesday ",
        "-",
        "2",
        "the day after ",
        "…",
        ", ",
        ", please",
    ],
)
def test_very_long_speech_is_answered_at_once(kind: str, word: str) -> None:
    began = time.process_time()
    for long in (word * (10_000 // len(word)), (word * 1000)[:1000]):
        for before in ("", HELD[kind]):
            understand(kind, long, CONTEXT, before)
    assert time.process_time() - began < 2.0


@given(letters_of_a_name, st.data())
def test_a_correction_of_one_letter_changes_that_letter_alone(name: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(name) - 1))
    letter = data.draw(st.sampled_from("abcdefghijklmnopqrstuvwxyz"))
    ordinal = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"][place]
    expected = (name[:place] + letter + name[place + 1 :]).capitalize()
    if not expected.startswith("Mc"):
        said = f"no, the {ordinal} letter is {letter.upper()} as in {AD_HOC[ord(letter) - ord('a')]}"
        assert understood("person_name", said, name.capitalize()) == expected


def test_an_unknown_kind_or_language_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown kind"):
        understand("colour", "red", CONTEXT)
    with pytest.raises(ValueError, match="unknown language"):
        understand("text", "rot", Context(NOW, language="xx"))


def test_what_is_unclear_says_what_to_ask_for() -> None:
    for kind, utterance in [
        ("email", "john at gmail"),
        ("phone", "415"),
        ("date_time", "tomorrow"),
        ("person_name", "yes"),
    ]:
        reading = understand(kind, utterance, CONTEXT)
        assert isinstance(reading, Unclear)
        assert "ask" in reading.why
