"""English letters, symbols, and what stands between them in speech."""

from collections.abc import Mapping

from actors.slots.english_lists import lines, words
from actors.slots.tokens import Phrases

_ALPHABET = """alpha alfa bravo charlie delta echo foxtrot golf hotel india juliet juliett juliette kilo lima mike november
 oscar papa quebec romeo sierra tango uniform victor whiskey whisky xray yankee zulu"""

VOWELS: frozenset[str] = frozenset("aeiouy")
LETTER_NAMES: Mapping[str, str] = {
    "ay": "a",
    "cee": "c",
    "ef": "f",
    "eff": "f",
    "aitch": "h",
    "haitch": "h",
    "em": "m",
    "en": "n",
    "cue": "q",
    "ar": "r",
    "ess": "s",
    "tee": "t",
    "vee": "v",
    "ex": "x",
    "wye": "y",
    "zee": "z",
    "zed": "z",
    "pee": "p",
    "ee": "e",
}
LETTER_WORDS: Mapping[str, str] = {
    "bee": "b",
    "be": "b",
    "see": "c",
    "sea": "c",
    "dee": "d",
    "gee": "g",
    "eye": "i",
    "jay": "j",
    "kay": "k",
    "el": "l",
    "ell": "l",
    "oh": "o",
    "queue": "q",
    "are": "r",
    "tea": "t",
    "you": "u",
    "why": "y",
    "eh": "a",
    "ay": "a",
    "hey": "a",
    "pea": "p",
    "ewe": "u",
    "okay": "k",
}
ALPHABET: Mapping[str, str] = {word: word[0] for word in _ALPHABET.split()}
ALPHABET_NAMES: frozenset[str] = words("charlie juliet juliette juliett mike oscar romeo victor india sierra")
AS_IN: Phrases[bool] = Phrases.of(
    lines("""as in
        as in the word
        like
        like in
        as
        for
        is for
        is as in
        is in
        like the word"""),
)
REPEATS: Mapping[str, int] = {"double": 2, "triple": 3, "treble": 3, "quadruple": 4}
CAPITAL: Phrases[bool] = Phrases(
    {
        **dict.fromkeys(["capital", "upper case", "uppercase", "big", "capital letter", "cap"], True),
        **dict.fromkeys(["small", "lower case", "lowercase", "little", "small letter", "common"], False),
    }
)
DOUBLE_U: Phrases[str] = Phrases(
    dict.fromkeys(["double u", "double you", "double ewe", "dub u", "doubleu", "double yu"], "w")
)
SYMBOLS: Phrases[str] = Phrases(
    {
        **dict.fromkeys(["at", "at sign", "at symbol", "the at sign", "at the rate", "@"], "@"),
        **dict.fromkeys(["dot", "period", "point", "full stop"], "."),
        **dict.fromkeys(["dash", "hyphen", "minus", "minus sign", "-"], "-"),
        **dict.fromkeys(["underscore", "under score", "underline", "under dash", "_"], "_"),
        **dict.fromkeys(["plus", "plus sign", "+"], "+"),
        **dict.fromkeys(["slash", "forward slash"], "/"),
        **dict.fromkeys(["apostrophe", "'"], "'"),
        **dict.fromkeys(["space", "new word", "blank"], " "),
    }
)
FILLERS: Phrases[bool] = Phrases.of(
    lines("""um
        uh
        er
        erm
        uhm
        umm
        hmm
        mm
        ah
        well
        that's
        that is
        that would be
        it's
        it is
        its
        is
        so
        okay
        ok
        please
        yeah
        yes
        yep
        sure
        right
        alright
        then
        and then
        followed by
        and
        the
        the letter
        letter
        the letters
        letters
        the number
        number
        the digit
        the word
        you know
        let me see
        let's see
        i think
        i said
        i meant
        should be
        it should be
        it must be
        must be
        would be
        thanks
        thank you
        again
        as a word
        written as a word
        spelled as a word
        in letters
        written out
        spelled
        spelt
        spelling
        spell
        spelled like
        spelled out
        that's spelled
        which is spelled
        which is
        spelled with
        it's spelled
        all lower case
        all lowercase
        lower case
        lowercase
        all small
        all small letters
        in lower case
        all one word
        one word
        as one word
        all together
        all in one
        no dot
        no dots
        no dashes
        no hyphens
        no underscores
        no space
        no spaces
        no capitals
        without spaces
        without a space
        just
        got it
        hello
        hi
        hey there
        hi there
        hello there
        here
        and that's
        but
        speaking
        actually"""),
)
WORD_LEADS: frozenset[str] = frozenset({"the word"})
WORD_TRAILS: frozenset[str] = frozenset(
    ["as a word", "written as a word", "spelled as a word", "in letters", "written out", "spelled out"]
)
HESITATIONS: frozenset[str] = words("um uh er erm uhm umm hmm mm ah then")
EDITS: Phrases[bool] = Phrases(
    {
        **dict.fromkeys(
            ["no", "nope", "sorry", "i mean", "wait", "no wait", "oops", "whoops", "my mistake", "my bad"], False
        ),
        **dict.fromkeys(["rather", "or rather", "excuse me", "pardon", "pardon me", "correction", "make that"], False),
        **dict.fromkeys(["hang on", "hold on", "not that"], False),
        **dict.fromkeys(["scratch that", "start over", "let me start over", "let me start again", "strike that"], True),
        **dict.fromkeys(["forget that", "i'll start again", "start again", "from the beginning", "cancel that"], True),
        "scrap that": True,
    }
)
SOUNDS_ALIKE: tuple[str, ...] = ("bpdtvecgz", "gj", "mn", "fs", "akhj", "iy", "sx", "qu", "ie", "ck", "uo")
WRITTEN_ALIKE: tuple[str, ...] = ("iy", "ck", "sz", "fv", "jg")
