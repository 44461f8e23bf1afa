"""What a language has to bring so that values can be understood in it: tables of words, and patterns of phrases."""

import re
from collections.abc import Mapping

import attrs

from actors.slots.tokens import Phrases


@attrs.frozen
class Language:
    """All words of one language that this package knows. Words are case folded; letters are lower-case."""

    # spelling
    vowels: frozenset[str]
    """Letters without which nothing can be said."""
    letter_names: Mapping[str, str]
    """Names of letters that are hardly ever other words: "aitch"."""
    letter_words: Mapping[str, str]
    """Other words that sound like a letter: "see"; letters only among letters."""
    alphabet: Mapping[str, str]
    """Words of the spelling alphabets: "kilo"."""
    alphabet_names: frozenset[str]
    """Those of them that are names of people, too."""
    as_in: Phrases[bool]
    repeats: Mapping[str, int]
    capital: Phrases[bool]
    """Words before a letter that make it a capital (True) or a small one (False)."""
    double_u: Phrases[str]
    symbols: Phrases[str]
    """Symbols by name; a blank is "space"."""
    fillers: Phrases[bool]
    hesitations: frozenset[str]
    """Fillers that do not even end a run of letters."""
    word_leads: frozenset[str]
    """Fillers after which a number is a word and no figures: "the word"."""
    word_trails: frozenset[str]
    """Fillers before which it is: "as a word"."""
    edits: Phrases[bool]
    """Words by which callers take back what they just said; True: all of it."""
    sounds_alike: tuple[str, ...]
    """Groups of letters that are mistaken for each other on the phone."""
    written_alike: tuple[str, ...]
    """Pairs of letters that names are spelled with either way."""

    # numbers
    units: Mapping[str, int]
    zeros: frozenset[str]
    teens: Mapping[str, int]
    tens: Mapping[str, int]
    hundred: str
    thousands: Mapping[str, int]
    ordinals: Mapping[str, int]
    """Ordinals by word; the last is -1, the one before it -2."""
    ordinal_phrases: Phrases[int]

    # people
    name_leads: Phrases[bool]
    titles: frozenset[str]
    surname_titles: frozenset[str]
    """Those that a surname follows: "Mr.", but not "Sir"."""
    particles: frozenset[str]
    name_prefixes: frozenset[str]
    """Beginnings of a name after which it goes on with a capital: "Mc"."""
    name_suffixes: frozenset[str]
    """What may follow a surname: "Junior"."""
    name_parts: Phrases[str]
    """Names of the parts of a name: "first", "middle", "last"."""
    retracting: frozenset[str]
    """Words before a name by which it takes the place of the one that was told before: "no", "I said"."""
    alone: frozenset[str]
    """Words that say that there is no more to a name: "just Anna"."""
    given_only: frozenset[str]
    """Common first names that are hardly anybody's last: "Bob"."""
    given_too: frozenset[str]
    """Common first names that are last names as well: "James"."""
    copulas: frozenset[str]
    """Between a part of a name and what it is: "Garcia is my last name"."""
    no_names: frozenset[str]
    """Words that show that a sentence is not somebody's name."""
    respelled: frozenset[str]
    """Words that announce that what was just said is now spelled."""

    # addresses
    email_leads: Phrases[bool]
    no_email: frozenset[str]
    providers: Mapping[str, str]
    """What the first part of a provider's domain may sound like, and what it is."""
    number_names: frozenset[str]
    """Names of a figure and a number that is written as a word: "7 eleven"."""
    endings: frozenset[str]
    ending_slips: Mapping[str, str]
    symbol_names: Mapping[str, str]

    # telephones
    phone_leads: Phrases[bool]
    plus: Phrases[bool]
    extension: Phrases[bool]
    other_numbers: frozenset[str]
    """Words after which a number is a year or an age, and no telephone's: "in 2026"."""

    # dates
    months: Mapping[str, int]
    weekdays: Mapping[str, int]
    """Monday is 0."""

    # answers
    opening: re.Pattern[str]
    """Words before a value that are no part of it: "no, sorry, I meant". Fits at the start, with the pause after them."""
    closing: re.Pattern[str]
    """Words after a value that are no part of it: ", please". Fits at the end, with the pause before them."""
    own_number: re.Pattern[str]
    """Fits the words of a caller who means the telephone that is being used."""
    refusals: re.Pattern[str]
    """Fits the words of an utterance in which the caller will not give the value, or of who reports that."""
    dismissals: re.Pattern[str]
    """Fits the words of a caller who drops the matter: "never mind"."""
    lacks: re.Pattern[str]
    """Fits the words of a caller who has nothing to give, which may be an answer to an open question. The groups `count`
    and `none` fit where it may be a number as well: "I have none"."""
    placeholders: re.Pattern[str]
    """Fits what is written where there is no value: nobody said it, and it is no refusal."""
    unsaid: re.Pattern[str]
    """Fits those placeholders that are no caller's words, and so not even an open answer: "null", not "none"."""
    instead: re.Pattern[str]
    """Between the new and the old: "not", "instead of"."""
    agreement: Phrases[bool]
    """Yes (True) and no."""
    judgements: frozenset[str]
    """Words that say whether something is right; with them an answer is clearer than with a bare yes or no."""
    doubts: Phrases[bool]
    """Phrases that turn what follows into its opposite: "I don't think"."""
    open_answers: Phrases[bool]
    """Phrases that sound like a yes or a no and may be either."""
    negation: frozenset[str]
    hedges: frozenset[str]
    """Words that make a yes or no, a number or a day conditional."""
