"""All English words and phrases that this package knows."""

import re

from actors.slots.language import Language
from actors.slots.tokens import Phrases


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _list(text: str) -> list[str]:
    return text.split()


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.strip().split("\n")]


_ALPHABET = """alpha alfa bravo charlie delta echo foxtrot golf hotel india juliet juliett juliette kilo lima mike november
 oscar papa quebec romeo sierra tango uniform victor whiskey whisky xray yankee zulu"""

_UNITS = {w: n for n, w in enumerate(_list("one two three four five six seven eight nine"), 1)}
_TEENS = _list("ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen")
_TENS = {w: n for n, w in enumerate(_list("twenty thirty forty fifty sixty seventy eighty ninety"), 2)}
_ORDINALS = _list("""first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth
 fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth twentieth""")

_REFUSALS = r"""
  (?:no\ |sorry\ |well\ |um\ |uh\ |actually\ |honestly\ |oh\ )*
  (?:
    (?:i'd|i\ would|i'll|i)\ (?:really\ )?(?:rather|prefer)\ not(?:\ to)?(?:\ (?:say|tell|give|share|answer)\b.*)?
  | (?:rather|prefer)\ not(?:\ to)?(?:\ say)?
  | (?:i'm\ |i\ am\ )?not\ (?:going\ to|gonna|willing\ to|comfortable)\ (?:say|tell|give|giv|shar|answer|with|tell).*
  | (?:i\ )?(?:do\ not|don't)\ (?:want|wanna|like|wish)\ (?:to\ )?(?:say|give|tell|share|answer|leave|provide|that).*
  | (?:i\ )?(?:will\ not|won't)\ (?:say|give|tell|share|answer|provide).*
  | i(?:\ do\ not|\ don't)\ (?:have|use|own|got)\ (?:one|any|an?\ (?:e\ ?mail|phone|number|mobile|cell)(?:\ \w+)?|e\ ?mail)
  | i(?:'ve|\ have)\ (?:got\ )?no\ (?:e\ ?mail|phone|number)(?:\ \w+)?
  | i\ haven't\ got\ (?:one|any|an?\ \w+)
  | no\ (?:thanks|thank\ you|e\ ?mail|email\ address|phone|phone\ number|comment)
  | (?:can\ we\ |let's\ |let\ us\ |please\ |just\ |i'll\ )*skip(?:\ (?:it|that|this|that\ one|this\ one|the\ question))?
  | (?:i'll\ )?pass | next\ question | (?:that's\ |that\ is\ |it's\ )?none\ of\ your\ business
  | (?:that's\ |that\ is\ |it's\ )?(?:private|confidential)
  | (?:why\ do\ you\ need\ (?:that|it)\ )?i'm\ not\ telling\ you(?:\ that)?
  )
  (?:\ (?:please|thanks|thank\ you|sorry|now|right\ now|if\ that's\ okay|if\ you\ don't\ mind))*
"""

_FIRM = r"it's|its|it\ is|that's|that\ is|thats|that\ would\ be|i\ said|i\ meant|i\ mean|should\ be|it\ should\ be"
_LOOSE = r"no|nope|nah|sorry|actually|wait|hang\ on|hold\ on|okay|ok|alright|well|yes|yeah|yep|sure|um+|uh+|erm?|hmm|hello|hi|oops"
_OPENING = rf"""
  [\s,.;!?]*
  (?: (?:{_FIRM}) (?=[\s,]) [\s,]*
  | (?:{_LOOSE}) (?: [,.;!?…]+\s+ [\s,.;!?…-]* | \s+-+\s+ | \s+ (?=(?:oh\ )?(?:{_LOOSE}|{_FIRM}|the|my)[\s,]) )
  | oh [\s,]+ (?=(?:{_LOOSE}|{_FIRM})[\s,])
  )+
"""
_CLOSING = r"""
  (?: [\s,.;!?…-]+ (?: please | thanks(?:\ a\ lot|\ so\ much)? | thank\ you(?:\ very\ much|\ so\ much)?
    | that's\ (?:it|all) | that\ is\ (?:it|all) | if\ (?:you\ don't\ mind|that's\ okay) | cheers )
  | [,.;!?…]+\s* (?: okay|ok|right|alright|yeah )
  | \s+ (?: okay|ok|right|alright ) (?=[\s]*\?)
  )+ [\s,.;!?…]*$
"""
_OWN_NUMBER = r"""
  (?:the\ |this\ |same\ )?(?:number|one|phone|line|cell|mobile)\ (?:that\ )?(?:i'm|i\ am|we're|i)\ (?:calling|call|using|on|phoning|ringing)
  | (?:calling|phoning|ringing)\ (?:you\ )?(?:from|on|with)\b | \bthis\ (?:very\ |same\ )?(?:number|phone|line|one)\b
  | \bsame\ (?:number|phone)\b | \bcaller\ id\b
"""

_YES = """yes|yep|yup|yeah|yea|ya|yah|aye|sure|sure thing|certainly|absolutely|definitely|of course|exactly|precisely
 |correct|right|that's right|that is right|that's correct|that is correct|all right|alright|okay|ok|indeed
 |affirmative|uh huh|mhm|mm hmm|i do|i am|i would|i will|it is|we do|we are|you got it|you bet|i think so
 |i guess so|i believe so|i suppose so|please do|go ahead|sounds good|that works|that's fine|that is fine|fine
 |perfect|true|that's true|why not|no problem|not a problem|no worries|by all means|that's it|spot on|totally
 |good|great|that's the one|you're right|you are right|no doubt|without a doubt|no question|no question about it|you're correct|you are correct
 |that's all right|that is true|it's right|it is right|it's correct|it is correct"""
_NO = """no|nope|nah|naw|nay|no way|no thanks|no thank you|not really|not quite|not at all|not exactly|not yet|never
 |i don't think so|i do not think so|don't think so|i'm afraid not|afraid not|i don't|i do not|i'm not|i am not
 |it's not|it isn't|it is not|we don't|wrong|that's wrong|that is wrong|incorrect|that's incorrect|false
 |that's false|negative|i'd rather not|i would rather not|rather not|of course not|certainly not|absolutely not
 |definitely not|i wouldn't|i won't|please don't|uh uh|nuh uh|that's not it|not that i know of|i doubt it|not me
 |not now"""


def _answers() -> dict[str, bool]:
    yes = {phrase.strip(): True for phrase in _YES.replace("\n", "").split("|")}
    return yes | {phrase.strip(): False for phrase in _NO.replace("\n", "").split("|")}


ENGLISH = Language(
    letter_names={
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
    },
    letter_words={
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
    },
    alphabet={word: word[0] for word in _ALPHABET.split()},
    alphabet_names=_words("charlie juliet juliette juliett mike oscar romeo victor india sierra"),
    as_in=Phrases.of(
        _lines("""as in
            as in the word
            like
            like in
            as
            for
            is for
            is as in
            is in
            like the word"""),
    ),
    repeats={"double": 2, "triple": 3, "treble": 3, "quadruple": 4},
    capital=Phrases(
        {
            **dict.fromkeys(["capital", "upper case", "uppercase", "big", "capital letter", "cap"], True),
            **dict.fromkeys(["small", "lower case", "lowercase", "little", "small letter", "common"], False),
        }
    ),
    double_u=Phrases(dict.fromkeys(["double u", "double you", "double ewe", "dub u", "doubleu", "double yu"], "w")),
    symbols=Phrases(
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
    ),
    fillers=Phrases.of(
        _lines("""um
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
    ),
    hesitations=_words("um uh er erm uhm umm hmm mm ah then"),
    edits=Phrases(
        {
            **dict.fromkeys(
                ["no", "nope", "sorry", "i mean", "wait", "no wait", "oops", "whoops", "my mistake", "my bad"], False
            ),
            **dict.fromkeys(
                ["rather", "or rather", "excuse me", "pardon", "pardon me", "correction", "make that"], False
            ),
            **dict.fromkeys(["hang on", "hold on", "not that"], False),
            **dict.fromkeys(
                ["scratch that", "start over", "let me start over", "let me start again", "strike that"], True
            ),
            **dict.fromkeys(
                ["forget that", "i'll start again", "start again", "from the beginning", "cancel that"], True
            ),
            "scrap that": True,
        }
    ),
    sounds_alike=("bpdtvecgz", "gj", "mn", "fs", "akhj", "iy", "sx", "qu", "ie", "ck", "uo"),
    written_alike=("iy", "ck", "sz", "fv", "jg"),
    units=_UNITS,
    zeros=_words("zero oh o nought naught null nil"),
    teens={word: number for number, word in enumerate(_TEENS, 10)},
    tens={word: 10 * number for word, number in _TENS.items()} | {"fourty": 40},
    hundred="hundred",
    thousands={"thousand": 1_000, "million": 1_000_000, "billion": 1_000_000_000},
    ordinals={word: number for number, word in enumerate(_ORDINALS, 1)} | {"thirtieth": 30, "last": -1, "final": -1},
    ordinal_phrases=Phrases(
        {
            **{word: number for number, word in enumerate(_ORDINALS, 1)},
            "last": -1,
            "final": -1,
            "second to last": -2,
            "second last": -2,
            "next to last": -2,
            "last but one": -2,
        }
    ),
    name_leads=Phrases.of(
        _lines("""my name is
            my name's
            my full name is
            the name is
            the name's
            name is
            my name
            full name
            name
            i'm
            i am
            this is
            you can call me
            just call me
            call me
            it's
            speaking
            here
            under
            the name
            they call me
            people call me
            i'm called
            i am called
            for
            first and last
            on the booking"""),
    ),
    titles=_words("mr mrs ms miss mister missus doctor dr prof professor sir madam mx"),
    particles=_words("van von der den de la los las del della di da dos das du des ter ten zu zum zur bin ibn al el af av y e"),
    name_parts=Phrases(
        {
            **dict.fromkeys(["first name", "my first name", "given name", "my given name", "forename"], "first"),
            **dict.fromkeys(
                ["last name", "my last name", "surname", "my surname", "family name", "my family name"], "last"
            ),
            **dict.fromkeys(["second name", "my second name", "the last name", "the surname"], "last"),
            **dict.fromkeys(["the first name"], "first"),
            **dict.fromkeys(["middle name", "my middle name", "middle initial", "my middle initial"], "middle"),
        }
    ),
    no_names=_words(
        """replace change swap remove delete add insert put a am an are as be been book booking appointment at because
        been but by calling call can can't can could did do does doesn't don't email e mail for from get give given
        go going got had has have he help her him his how i i'd i'll i've i'm if in into is isn't it it's its know
        later like make me mail my name need no nope not nothing number of off on one only or our out phone please
        question really say she some somebody someone something tell than thank thanks that that's the their them
        there they thing think this time to today tomorrow two three us want was we we're were what what's when
        where which who whose why with would yeah yep yes you your okay ok hello hi hey sorry wait sure right
        correct wrong exactly nobody anyone anything question morning afternoon evening monday tuesday wednesday
        thursday friday saturday sunday dot com gmail spell spelled again already just maybe never about also any
        been before after letter letters first second third fourth fifth last middle all very much actually com underscore"""
    )
    - _words("mail e"),
    respelled=_words("that's spelled spelt spelling spell it's that"),
    email_leads=Phrases.of(
        _lines("""my email is
            my email address is
            my e mail is
            my e mail address is
            my mail is
            email is
            the email is
            the email address is
            the e mail is
            email address is
            email
            e mail
            e mail is
            email address
            the address is
            my address is
            the domain is
            domain is
            it's
            you can reach me at
            reach me at
            you can email me at
            email me at
            you can write to
            write to
            write me at
            you can use
            send it to
            contact me at
            it would be
            try"""),
    ),
    no_email=_words(
        """name i is was am are you your yours want wants would could should have has had can't don't do does did my email
        mail address what why when how because please thanks think know not never write send use yes yeah with
        without spelled letter letters no nope sorry that this it it's which who they he she if wrong ends ending starts to too for ate won"""
    )
    - _words("my mail"),
    providers={
        **dict.fromkeys(["gmail", "geemail", "jeemail", "jmail", "googlemail's"], "gmail"),
        **dict.fromkeys(["hotmail", "hotmale", "hartmail"], "hotmail"),
        **dict.fromkeys(["yahoo", "yahooo", "jahoo"], "yahoo"),
        **dict.fromkeys(["icloud", "eyecloud"], "icloud"),
        **{
            name: name
            for name in [
                "outlook",
                "googlemail",
                "protonmail",
                "proton",
                "aol",
                "gmx",
                "live",
                "msn",
                "web",
                "fastmail",
                "hey",
                "comcast",
                "me",
                "mail",
            ]
        },
        **{name: name for name in _list("verizon zoho yandex ymail btinternet sbcglobal")},
    },
    endings=_words(
        """photography design studio agency media news blog live life world group company solutions
        services cloud email club shopping vip one top link work zone space fun today digital
        com org net edu gov mil int io co ai app dev info biz me uk de fr es it nl be ch at eu us ca au nz ie in jp
        cn br mx se no dk fi pl pt cz gr ru tv xyz online shop tech name mobi pro store site za sg hk kr tr ua hu ro
        il ac"""
    ),
    ending_slips={"calm": "com", "come": "com", "comm": "com", "dotcom": ".com", "edgy": "edu"},
    symbol_names={".": "dot", "-": "dash", "_": "underscore", "+": "plus", "/": "slash", "'": "apostrophe", "@": "at"},
    phone_leads=Phrases.of(
        _lines("""my number is
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
            you can call me at
            reach me at
            call me at
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
    ),
    plus=Phrases.of(["plus", "plus sign", "country code", "the country code is", "country code is", "+"]),
    extension=Phrases.of(["extension", "ext", "x", "extension number", "extension is"]),
    months={
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
    },
    weekdays={
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
    },
    opening=re.compile(_OPENING, re.VERBOSE | re.IGNORECASE),
    closing=re.compile(_CLOSING, re.VERBOSE | re.IGNORECASE),
    own_number=re.compile(_OWN_NUMBER, re.VERBOSE),
    refusals=re.compile(_REFUSALS, re.VERBOSE),
    instead=re.compile(r"\b(?:not|instead of|rather than)\b"),
    agreement=Phrases(_answers()),
    judgements=_words("right correct wrong incorrect true false"),
    doubts=Phrases.of(["i don't think", "i do not think", "don't think", "i don't believe", "i do not believe"]),
    open_answers=Phrases.of(["i'm good", "i am good", "i'm fine", "i am fine", "we're good", "we're fine", "i'm okay"]),
    negation=_words("not isn't don't doesn't ain't never can't won't wasn't aren't didn't"),
    hedges=_words(
        """but if maybe perhaps unless depends sometimes except either neither possibly probably sort kind unsure know
        idea mind understand almost nearly partly"""
    ),
)
