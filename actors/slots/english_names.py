"""English words around names of people, and in e-mail addresses."""

from collections.abc import Mapping

from actors.slots.english_lists import items, lines, words
from actors.slots.tokens import Phrases

NAME_LEADS: Phrases[bool] = Phrases.of(
    lines("""my name is
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
)
TITLES: frozenset[str] = words("mr mrs ms miss mister missus doctor dr prof professor sir madam mx")
PARTICLES: frozenset[str] = words(
    "van von der den de la los las del della di da dos das du des ter ten zu zum zur bin ibn al el af av y e"
)
SURNAME_TITLES: frozenset[str] = TITLES - words("sir madam")
NAME_PREFIXES: frozenset[str] = words("mc mac fitz le la de di du")
NAME_SUFFIXES: frozenset[str] = words("junior jr senior sr esquire")
RETRACTING: frozenset[str] = words("no nope nah not actually said meant mean")
ALONE: frozenset[str] = words("just")
GIVEN_ONLY: frozenset[str] = words(
    """abigail alex alice amanda amber amy andy angela anna ashley barbara becky ben benjamin beth betty bill billy bob
    bobby brandon brenda brian brittany carolyn charlotte cheryl chris christina christine christopher cindy cynthia dan
    danielle danny dave debbie deborah debra denise diana diane donna dorothy dylan ed eddie elizabeth emily emma eric
    ethan evelyn gary hannah heather helen isabella jack jacqueline jake janet janice jason jeff jeffrey jen jennifer
    jenny jeremy jerry jessica jim jimmy joan joe joey jonathan josh joshua judith julia julie justin karen kate
    katherine kathleen kathryn katie kayla ken kenneth kevin kimberly kyle larry laura lauren linda lisa liz lori maggie
    margaret marilyn mary matt matthew megan melissa michelle mike nancy natalie nathan nick nicholas nicole noah olivia
    pamela patricia patty pete rachel rebecca rick rob robbie robert ron ronald sam samantha sandra sara sarah sean
    sharon shirley sophia stephanie steve steven sue susan susie ted teddy theresa tim timothy tom tommy tony vicky
    william zachary"""
)
GIVEN_TOO: frozenset[str] = words(
    """aaron adam alexander andrew anne anthony arthur carol charles daniel david dennis donald edward frank george grace
    gregory henry jacob james jane john jordan joseph keith kelly luke maria marie mark martin michael oliver patrick paul
    peter philip raymond richard roger rose ruth ryan samuel scott simon stephen taylor teresa thomas victoria walter"""
)
COPULAS: frozenset[str] = words("is was")
NAME_PARTS: Phrases[str] = Phrases(
    {
        **dict.fromkeys(["first name", "my first name", "given name", "my given name", "forename"], "first"),
        **dict.fromkeys(["first name's", "my first name's", "first initial", "my first initial", "initial"], "first"),
        **dict.fromkeys(["last name's", "my last name's", "surname's", "my surname's"], "last"),
        **dict.fromkeys(
            ["last name", "my last name", "surname", "my surname", "family name", "my family name"], "last"
        ),
        **dict.fromkeys(["second name", "my second name", "the last name", "the surname"], "last"),
        **dict.fromkeys(["the first name"], "first"),
        **dict.fromkeys(["middle name", "my middle name", "middle initial", "my middle initial"], "middle"),
    }
)
NO_NAMES: frozenset[str] = words(
    """replace change swap remove delete add insert put a am an are as be been book booking appointment at because
    been but by calling call can can't can could did do does doesn't don't email e mail for from get give given
    go going got had has have he help her him his how i i'd i'll i've i'm if in into is isn't it it's its know
    later like make me mail my name need no nope not nothing number of off on one only or our out phone please
    question really say she some somebody someone something tell than thank thanks that that's the their them
    there they thing think this time to today tomorrow two three us want was we we're were what what's when
    where which who whose why with would yeah yep yes you your okay ok hello hi hey sorry wait sure right
    correct wrong exactly nobody anyone anything question morning afternoon evening monday tuesday wednesday
    thursday friday saturday sunday dot com gmail spell spelled again already just maybe never about hold also any
    been before after letter letters first second third fourth fifth last middle all very much actually com underscore capital
    doubled twice drop"""
) - words("mail e")
RESPELLED: frozenset[str] = words("that's spelled spelt spelling spell it's that")
EMAIL_LEADS: Phrases[bool] = Phrases.of(
    lines("""my email is
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
)
NO_EMAIL: frozenset[str] = words(
    """name i is was am are you your yours want wants would could should have has had can't don't do does did my email
    mail address what why when how because please thanks think know not never write send use yes yeah with
    without spelled letter letters no nope sorry that this it it's which who they he she if
    wrong ends ending starts to too for ate won"""
) - words("my mail")
PROVIDERS: Mapping[str, str] = {
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
    **{name: name for name in items("verizon zoho yandex ymail btinternet sbcglobal")},
}
NUMBER_NAMES: frozenset[str] = frozenset({"7 eleven"})
ENDINGS: frozenset[str] = words(
    """photography design studio agency media news blog live life world group company solutions
    services cloud email club shopping vip one top link work zone space fun today digital
    com org net edu gov mil int io co ai app dev info biz me uk de fr es it nl be ch at eu us ca au nz ie in jp
    cn br mx se no dk fi pl pt cz gr ru tv xyz online shop tech name mobi pro store site za sg hk kr tr ua hu ro
    il ac"""
)
ENDING_SLIPS: Mapping[str, str] = {"calm": "com", "come": "com", "comm": "com", "dotcom": ".com", "edgy": "edu"}
SYMBOL_NAMES: Mapping[str, str] = {
    ".": "dot",
    "-": "dash",
    "_": "underscore",
    "+": "plus",
    "/": "slash",
    "'": "apostrophe",
    "@": "at",
}
