"""What callers say, and what it means. The table is read on Tuesday, November 24, 2026, at ten in the morning."""

import datetime

import pytest

from actors.slots import Context, Declined, Reading, Unclear, Understood, understand

NOW = datetime.datetime(2026, 11, 24, 10, 0, tzinfo=datetime.timezone(datetime.timedelta(hours=-5)))
CHOICES = {"cleaning": ("clean", "hygiene"), "check-up": ("checkup", "check up", "exam"), "filling": ("cavity",)}
UNCLEAR = "<unclear>"
DECLINED = "<declined>"


def outcome(reading: Reading) -> str:
    match reading:
        case Understood():
            return reading.text
        case Unclear():
            return UNCLEAR
        case Declined():
            return DECLINED


def read(kind: str, utterance: str, before: str = "", region: str = "US") -> str:
    return outcome(understand(kind, utterance, Context(NOW, region=region, choices=CHOICES), before))


PERSON_NAME = [
    ("J as in John, O, H, N", "John"),
    ("kilo alpha romeo lima", "Karl"),
    ("S-M-I-T-H", "Smith"),
    ("s. m. i. t. h.", "Smith"),
    ("S M I T H", "Smith"),
    ("SMITH", "Smith"),
    ("John Smith, that's S M Y T H", "John Smyth"),
    ("Smith with a y: S M Y T H", "Smyth"),
    ("Jon without an h, J-O-N", "Jon"),
    ("Jan van der Berg", "Jan van der Berg"),
    ("O apostrophe B R I E N", "O'Brien"),
    ("Anna-Maria Müller", "Anna-Maria Müller"),
    ("my name is mcdonald", "McDonald"),
    ("yes", UNCLEAR),
    ("I want to book an appointment", UNCLEAR),
    ("j o h m, no, n", "John"),
    ("It's Catherine with a K, K A T H E R I N E", "Katherine"),
    ("Mike, M I K E", "Mike"),
    ("Charlie Victor", "Charlie Victor"),
    ("John Smith, J O H N S M I T H", "John Smith"),
    ("Sarah Connor, that's C O double N O R", "Sarah Connor"),
    ("I'm Maria Garcia Lopez", "Maria Garcia Lopez"),
    ("uh, yeah, it's Robert Miller.", "Robert Miller"),
    ("Dr. James Wilson", "James Wilson"),
    ("this is Emily speaking", "Emily"),
    ("John F Kennedy", "John F Kennedy"),
    ("first name Ana, A N A, last name Ruiz, R U I Z", "Ana Ruiz"),
    ("bee oh bee", UNCLEAR),
    ("ay en en ay", "Anna"),
    ("My first name is Jon and my last name is Smythe", "Jon Smythe"),
    ("D as in David, A, V as in Victor, I, S", "Davis"),
    ("M as in Mary A R K", "Mark"),
    ("capital M, small c, capital D, O, N, A, L, D", "McDonald"),
    ("what do you mean?", UNCLEAR),
    ("12345", UNCLEAR),
    ("john@gmail.com", UNCLEAR),
    ("Will Young", "Will Young"),
    ("it's P as in Peter, E, T, E, R", "Peter"),
    ("Smith, S as in Sam, M as in Mary, I as in Ida, T as in Tom, H as in Harry", "Smith"),
    ("Siobhan, S I O B H A N O'Connor", "Siobhan O'Connor"),
    ("Xi Jinping", "Xi Jinping"),
    ("Jean-Luc Picard", "Jean-Luc Picard"),
    ("P, sorry, B as in boy, O, B", "Bob"),
    ("I'd prefer not to say", DECLINED),
    ("Jones. J O N E S.", "Jones"),
    ("jay oh aitch en", "John"),
    ("Lee, L double E", "Lee"),
    ("Ng, N G", "Ng"),
    ("Shaun, spelled S E A N", "Sean"),
    ("hi, um, it's Thomas, T-H-O-M-A-S", "Thomas"),
    ("Jeff with a G, G E O F F", "Geoff"),
    ("my name is Zoë, z o e", "Zoe"),
    ("It's Patricia, but call me Pat", UNCLEAR),
    ("De la Cruz", "De la Cruz"),
    ("last name Nguyen N G U Y E N", "Nguyen"),
    ("the name's Bond, James Bond", "James Bond"),
    ("Steven with a v", "Steven"),
    ("Stephen with a p h", UNCLEAR),
    ("It's Aaron, double A R O N", "Aaron"),
    ("Kim, K I M, as in Kim Possible", UNCLEAR),
    ("F as in Frank, R as in Robert, E as in Edward, D as in David", "Fred"),
    ("Rodriguez. R-O-D-R-I-G-U-E-Z.", "Rodriguez"),
    ("Smith-Jones", "Smith-Jones"),
    ("Smith hyphen Jones", "Smith-Jones"),
    ("S M I T H hyphen J O N E S", "Smith-Jones"),
    ("I'm not sure", UNCLEAR),
    ("Hello, can you hear me?", UNCLEAR),
    ("it's Sam I am", "Sam"),
    ("I would rather not say", DECLINED),
    ("Hi there, my name's Priya Raghunathan", "Priya Raghunathan"),
    ("it is spelled P R I Y A", "Priya"),
    ("Chris with a K", UNCLEAR),
    ("Katie, K A T I E, Brown, B R O W N E", "Katie Browne"),
    ("Ann without an e", "Ann"),
    ("Mr. O'Neill, O apostrophe N E I double L", "O'Neill"),
    ("Vincent van Gogh", "Vincent van Gogh"),
    ("The name on the account is Laura Bell", UNCLEAR),
    ("William, but everyone calls me Bill", UNCLEAR),
    ("J.R. Smith", "J R Smith"),
    ("P as in pneumonia, H I L", "Phil"),
    ("W A L double T", "Waltt"),
    ("nope", UNCLEAR),
    ("It's Mark with a C at the end", UNCLEAR),
    ("yes, this is he", UNCLEAR),
    ("Susan. S U S A N. Not Suzanne.", UNCLEAR),
    ("I am calling about my bill", UNCLEAR),
]


EMAIL = [
    ("john dot smith at gmail dot com", "john.smith@gmail.com"),
    ("j as in john, o h n at gmail dot com", "john@gmail.com"),
    ("j underscore smith 99 at my company dash online dot co dot uk", "j_smith99@mycompany-online.co.uk"),
    ("john at g mail dot com", "john@gmail.com"),
    ("john at gmail", UNCLEAR),
    ("I don't have one", DECLINED),
    ("I'd rather not", DECLINED),
    ("John@gmail.com.", "john@gmail.com"),
    ("my email is john.smith@gmail.com", "john.smith@gmail.com"),
    ("J O H N at gmail dot com", "john@gmail.com"),
    ("it's m as in mary, k, 2, 5 at yahoo dot com", "mk25@yahoo.com"),
    ("sara with an h, at gmail dot com", UNCLEAR),
    ("the big boss at gmail dot com", UNCLEAR),
    ("info at example dot org", "info@example.org"),
    ("john at, sorry, jane at gmail dot com", "jane@gmail.com"),
    ("john at hotmail dot com, no, gmail dot com", "john@gmail.com"),
    ("kate nineteen eighty five at outlook dot com", "kate1985@outlook.com"),
    ("b o b 0 0 7 at gmail.com", "bob007@gmail.com"),
    ("bob double oh seven at gmail dot com", "bob007@gmail.com"),
    ("no reply at gmail dot com", UNCLEAR),
    ("john dash smith at proton mail dot com", "john-smith@protonmail.com"),
    ("jsmith at the domain acme dot com", UNCLEAR),
    ("capital J O H N at gmail dot com", "John@gmail.com"),
    ("that's my work email, susan at acme dot com", UNCLEAR),
    ("it's A at B dot com", "a@b.com"),
    ("you can reach me at j.doe@example.com please", "j.doe@example.com"),
    ("I don't have an e-mail", DECLINED),
    ("no e-mail", DECLINED),
    ("george.w@me.com", "george.w@me.com"),
    ("alpha bravo charlie at gmail dot com", "abc@gmail.com"),
    ("peter at p e t e r s dot co dot uk", "peter@peters.co.uk"),
    ("my email is maria, M A R I A, dot lopez, L O P E Z, at gmail.com", "maria.lopez@gmail.com"),
    ("s as in sam u e at aol dot com", "sue@aol.com"),
    ("tom underscore jones seventy seven at icloud dot com", "tom_jones77@icloud.com"),
    ("tom dot jones at company dot co dot uk all lowercase", "tom.jones@company.co.uk"),
    ("A N N A dot B at gmail dot com", "anna.b@gmail.com"),
    ("double u double u at gmail dot com", "ww@gmail.com"),
    ("triple w at gmail dot com", "www@gmail.com"),
    ("m dot o apostrophe brien at gmail dot com", "m.o'brien@gmail.com"),
    ("it's all one word, johnsmith at gmail dot com", "johnsmith@gmail.com"),
    ("johnsmith42@gmail dot com", "johnsmith42@gmail.com"),
    ("john smith at gmail", UNCLEAR),
    ("gmail dot com", UNCLEAR),
    ("john.smith at yahoo.co.uk", "john.smith@yahoo.co.uk"),
    ("jay smith at hot mail dot com", "jaysmith@hotmail.com"),
    ("x y z 1 2 3 at a b c dot org", "xyz123@abc.org"),
    ("john plus news at gmail dot com", "john+news@gmail.com"),
    ("b as in boy, o, b, at, g, m, a, i, l, dot, c, o, m", "bob@gmail.com"),
    ("at sign missing", UNCLEAR),
    ("p as in peter a t at aol dot com, sorry, b as in boy a t", UNCLEAR),
    ("yes", UNCLEAR),
    ("the same as before", UNCLEAR),
    ("skip that please", DECLINED),
    ("can we skip that", DECLINED),
    ("uh sure, it's d dot parker at gmail dot com, thanks", "d.parker@gmail.com"),
    ("parker dash three at gmail dot com", "parker-3@gmail.com"),
    ("john at gmail period com", "john@gmail.com"),
    ("john dot smith at gmail dot com, that's j o h n dot s m i t h", UNCLEAR),
    ("l as in lima, e, e at live dot com no dots", "lee@live.com"),
    ("marie at orange dot f r", "marie@orange.fr"),
    ("marie at o two dot co dot uk", UNCLEAR),
    ("contact at 3m dot com", "contact@3m.com"),
    ("tim at tim jones photography dot com", "tim@timjonesphotography.com"),
    ("k dot w at the good company dot com", UNCLEAR),
    ("the letter j then smith at aol dot com", "jsmith@aol.com"),
    ("j o e at e x a m p l e dot c o m", "joe@example.com"),
    ("robert the third at gmail dot com", UNCLEAR),
    ("it's my first name, john, at gmail dot com", UNCLEAR),
    ("joe at gmail dot com or joe at yahoo dot com", UNCLEAR),
    ("john at, uh, hotmail, no sorry, outlook dot com", UNCLEAR),
    ("jsmith forty two at gmail dot com, no, forty three", UNCLEAR),
]


PHONE = [
    ("four one five five five five oh one two three", "+14155550123"),
    ("+1 (415) 555-0123", "+14155550123"),
    ("four fifteen, double five five, oh one twenty three", "+14155550123"),
    ("415 555", UNCLEAR),
    ("415 555 0123 extension 12", "+14155550123"),
    ("none of your business", DECLINED),
    ("it's 415-555-0123", "+14155550123"),
    ("area code four one five, then 555, oh one two three", "+14155550123"),
    ("plus forty-four twenty seven nine four six oh nine five eight", UNCLEAR),
    ("plus 44 20 7946 0958", "+442079460958"),
    ("1 800 356 9377", "+18003569377"),
    ("one eight hundred three five six nine three seven seven", "+18003569377"),
    ("415 555 0123, no, 0124", "+14155550124"),
    ("415, sorry, 416 555 0123", "+14165550123"),
    ("eight hundred flowers", UNCLEAR),
    ("999 999 9999", UNCLEAR),
    ("country code 44, 20 7946 0958", "+442079460958"),
    ("call me at four one five triple five oh one two three thanks", "+14155550123"),
    ("it's five five five, one two three four", UNCLEAR),
    ("my number is, uh, 415, 555, 01 23.", "+14155550123"),
    ("(415)5550123 x99", "+14155550123"),
    ("four one five. Five five five. Zero one two three.", "+14155550123"),
    ("four one five five five five oh one two", UNCLEAR),
    ("you can call me on plus four nine thirty 1234567", "+49301234567"),
    ("I don't have a phone", DECLINED),
    ("four fifty five, five fifty five, twelve thirty four", UNCLEAR),
    ("same number I'm calling from", UNCLEAR),
    ("three oh five nine nine nine, no, nine nine eight, one two three four", "+13059981234"),
    ("no thank you", DECLINED),
    ("five five five oh one two three, area code four one five", UNCLEAR),
    ("+44 (0)20 7946 0958", "+442079460958"),
    ("zero zero four four two zero seven nine four six zero nine five eight", UNCLEAR),
    ("it's the one you have on file", UNCLEAR),
    ("415 555 0123 or 415 555 0199", UNCLEAR),
    ("415-555-O123", "+14155550123"),
    ("one four one five five five five zero one two three", "+14155550123"),
    ("four one five, no wait, five one oh, five five five, oh one two three", "+15105550123"),
]


DATE_TIME = [
    ("tomorrow at half past three", "2026-11-25T15:30"),
    ("next Tuesday at 10", "2026-12-01T10:00"),
    ("this Friday afternoon at 4", "2026-11-27T16:00"),
    ("December 5th at quarter to nine in the morning", "2026-12-05T08:45"),
    ("day after tomorrow at noon", "2026-11-26T12:00"),
    ("3 pm Monday", "2026-11-30T15:00"),
    ("2026-11-30T15:00", "2026-11-30T15:00"),
    ("any day", UNCLEAR),
    ("at four", UNCLEAR),
    ("Tuesday at 3", "2026-12-01T15:00"),
    ("today at 9", UNCLEAR),
    ("today at 2", "2026-11-24T14:00"),
    ("tonight at 8", "2026-11-24T20:00"),
    ("in an hour", "2026-11-24T11:00"),
    ("a week from Friday at ten thirty", "2026-12-04T10:30"),
    ("December 3rd, 2026 at 2:30 PM", "2026-12-03T14:30"),
    ("the third of January at eleven", "2027-01-03T11:00"),
    ("Wednesday or Thursday at 3", UNCLEAR),
    ("Thursday between 2 and 4", UNCLEAR),
    ("sometime next week", UNCLEAR),
    ("Tuesday, no, Wednesday at three", "2026-11-25T15:00"),
    ("tomorrow morning", UNCLEAR),
    ("tomorrow morning at 7", "2026-11-25T07:00"),
    ("tomorrow at 7", UNCLEAR),
    ("tomorrow at 3 p.m.", "2026-11-25T15:00"),
    ("how about Monday at 1 o'clock?", "2026-11-30T13:00"),
    ("I'd like to come in on Friday at ten to four please", "2026-11-27T15:50"),
    ("after 3 tomorrow", UNCLEAR),
    ("noon on Thursday", "2026-11-26T12:00"),
    ("Friday at midnight", UNCLEAR),
    ("three fifteen on the first of December", "2026-12-01T15:15"),
    ("Monday at 10 a.m.", "2026-11-30T10:00"),
    ("two o'clock on the 3rd", "2026-12-03T14:00"),
    ("the 3rd at two thirty", "2026-12-03T14:30"),
    ("the first Monday in December at 9", UNCLEAR),
    ("Friday the 4th of December at half past nine", "2026-12-04T09:30"),
    ("around 3 on Friday", "2026-11-27T15:00"),
    ("Friday at 3 or 4", UNCLEAR),
    ("not Friday", UNCLEAR),
    ("any time on Friday", UNCLEAR),
    ("as soon as possible", UNCLEAR),
    ("Friday afternoon", UNCLEAR),
    ("a quarter past two tomorrow afternoon", "2026-11-25T14:15"),
    ("tomorrow at 15 hundred hours", "2026-11-25T15:00"),
    ("tomorrow 1530", UNCLEAR),
    ("Dec 5 2pm", "2026-12-05T14:00"),
    ("5 Dec 14:00", "2026-12-05T14:00"),
    ("Wednesday week at noon", "2026-12-02T12:00"),
    ("Tuesday twenty four November at eleven", "2026-11-24T11:00"),
    ("I can't do Monday, how about Tuesday at 2", UNCLEAR),
    ("Thursday at 5 past 3", "2026-11-26T15:05"),
    ("Tomorrow, let's say eleven-ish", UNCLEAR),
    ("day after tomorrow, 9 sharp", UNCLEAR),
    ("Monday morning first thing", UNCLEAR),
    ("next Monday at 8", "2026-11-30T08:00"),
    ("Monday next week at 2pm", "2026-11-30T14:00"),
    ("the 25th at 9 or so", UNCLEAR),
    ("any Tuesday at 3", UNCLEAR),
    ("Friday at 3 but not this Friday", UNCLEAR),
    ("two weeks from tomorrow at one", "2026-12-09T13:00"),
    ("Thursday the 26th, 10:15", "2026-11-26T10:15"),
    ("quarter of four on Monday", "2026-11-30T15:45"),
    ("on Monday, I need two appointments at 3", UNCLEAR),
    ("Saturday at 6 in the morning", "2026-11-28T06:00"),
    ("December 5th at 14:75", UNCLEAR),
    ("every Monday at 3", UNCLEAR),
    ("Wednesday at 10, sorry, 11", "2026-11-25T11:00"),
    ("10 or 11 on Friday", UNCLEAR),
    ("one thirty on the twenty-fifth", "2026-11-25T13:30"),
    ("yesterday at 3", UNCLEAR),
    ("earlier today at 9", UNCLEAR),
]


DATE = [
    ("the fifth of December", "2026-12-05"),
    ("in two weeks", "2026-12-08"),
    ("Monday the 30th", "2026-11-30"),
    ("the 30th", "2026-11-30"),
    ("5/12", "2027-05-12"),
    ("yesterday", UNCLEAR),
    ("February 30th", UNCLEAR),
    ("Tuesday the 30th", UNCLEAR),
    ("Christmas", UNCLEAR),
    ("next week Tuesday", "2026-12-01"),
    ("Tuesday the first", "2026-12-01"),
    ("November 20th", UNCLEAR),
    ("December the twenty-first", "2026-12-21"),
    ("twenty first of December twenty twenty six", "2026-12-21"),
    ("12/25/2026", "2026-12-25"),
    ("30th of November", "2026-11-30"),
    ("last Friday", UNCLEAR),
    ("tomorrow", "2026-11-25"),
    ("third of May", "2027-05-03"),
    ("May third", "2027-05-03"),
    ("I may come on Friday", "2026-11-27"),
    ("in three months", "2027-02-24"),
    ("three weeks from Thursday", "2026-12-17"),
    ("on my birthday", UNCLEAR),
    ("2026-02-30", UNCLEAR),
    ("February 29th", UNCLEAR),
    ("29/2/2028", UNCLEAR),
    ("next Friday", "2026-12-04"),
    ("Sunday", "2026-11-29"),
    ("the thirty first", "2026-12-31"),
    ("the day before Christmas", UNCLEAR),
    ("in a couple of days", UNCLEAR),
    ("pass", DECLINED),
    ("my son was born on May 5th 2010", UNCLEAR),
    ("in 10 days", "2026-12-04"),
    ("ten days ago", UNCLEAR),
    ("the second", "2026-12-02"),
    ("January 1st", "2027-01-01"),
    ("new year's day", UNCLEAR),
    ("Thanksgiving", UNCLEAR),
    ("end of the month", UNCLEAR),
]


BRITISH = [
    ("date", "5/12", "2026-12-05"),
    ("phone", "020 7946 0958", "+442079460958"),
    ("phone", "it's (020) 7946-0958", "+442079460958"),
    ("date", "3rd of May", "2027-05-03"),
    ("date", "25/12", "2026-12-25"),
    ("date", "24.12.2026", "2026-12-24"),
]


TIME = [
    ("at three", "15:00"),
    ("8", "08:00"),
    ("half past four", "16:30"),
    ("quarter to nine", "08:45"),
    ("3 in the morning", "03:00"),
    ("nine thirty am", "09:30"),
    ("25:00", UNCLEAR),
    ("noon", "12:00"),
    ("half nine", UNCLEAR),
    ("seven", UNCLEAR),
    ("six pm", "18:00"),
    ("around noonish", UNCLEAR),
    ("ten to", UNCLEAR),
    ("quarter past", UNCLEAR),
    ("eight forty five in the evening", "20:45"),
    ("at 0800", UNCLEAR),
    ("three-ish", "15:00"),
    ("twelve", "12:00"),
    ("12:30", "12:30"),
    ("skip", DECLINED),
    ("half past", UNCLEAR),
    ("13 o'clock", "13:00"),
    ("5 to 5", "16:55"),
    ("noon thirty", UNCLEAR),
    ("between three and four", UNCLEAR),
    ("3:60", UNCLEAR),
    ("4 in the afternoon", "16:00"),
]


NUMBER = [
    ("twenty-one", "21"),
    ("a hundred and five", "105"),
    ("three point five", "3.5"),
    ("a dozen", "12"),
    ("half a dozen", UNCLEAR),
    ("one two three", "123"),
    ("five or six", UNCLEAR),
    ("there are four of us", "4"),
    ("minus five", "-5"),
    ("1,250", "1250"),
    ("two thousand and twenty six", "2026"),
    ("five, no, six", "6"),
    ("two and a half", "2.5"),
    ("none", UNCLEAR),
    ("about fifty", "50"),
    ("a couple", UNCLEAR),
    ("twenty twenty six", UNCLEAR),
    ("three hundred sixty five", "365"),
    ("one million", "1000000"),
    ("zero", "0"),
    ("3.14", "3.14"),
    ("not five", UNCLEAR),
    ("no idea", UNCLEAR),
    ("a hundred thousand", "100000"),
    ("four, I mean five", "5"),
    ("I don't want to say", DECLINED),
    ("seven hundred and", "700"),
    ("ninety-nine point nine", "99.9"),
    ("two hundred thousand and one", "200001"),
    ("twenty one hundred", "2100"),
    ("1.5 million", UNCLEAR),
    ("2/3", UNCLEAR),
    ("about three or so", UNCLEAR),
    ("forty twelve", UNCLEAR),
    ("double seven", UNCLEAR),
]


YES_NO = [
    ("yep", "yes"),
    ("no, that's wrong", "no"),
    ("I don't think so", "no"),
    ("not really", "no"),
    ("yes and no", UNCLEAR),
    ("yeah no", UNCLEAR),
    ("that's not correct", "no"),
    ("sure, go ahead", "yes"),
    ("no problem", "yes"),
    ("no thanks", "no"),
    ("yes, that's right", "yes"),
    ("is that correct?", UNCLEAR),
    ("maybe", UNCLEAR),
    ("no, not at all", "no"),
    ("not exactly", "no"),
    ("you're absolutely right", "yes"),
    ("I said yes", "yes"),
    ("no, no, yes", UNCLEAR),
    ("yes, no problem", "yes"),
    ("I'm not sure", UNCLEAR),
    ("that isn't right", "no"),
    ("hmm", UNCLEAR),
    ("no, I'd like to change it", "no"),
    ("I don't know", UNCLEAR),
    ("yes please", "yes"),
    ("uh huh", "yes"),
    ("never mind", UNCLEAR),
    ("no thank you", "no"),
    ("yes it is", "yes"),
    ("no it isn't", "no"),
    ("that's not wrong", "yes"),
    ("yeah, that sounds right", "yes"),
    ("I wouldn't say that", "no"),
    ("correct, yes", "yes"),
    ("right, but the email is wrong", UNCLEAR),
    ("almost", UNCLEAR),
    ("no no that's fine", UNCLEAR),
    ("do I have to?", UNCLEAR),
]


CHOICE = [
    ("the second one", "check-up"),
    ("I need a cleaning please", "cleaning"),
    ("cleaning or filling", UNCLEAR),
    ("the last one", "filling"),
    ("a check up, please", "check-up"),
    ("not a cleaning, a filling", "filling"),
    ("cleaning, no, filling", "filling"),
    ("number two", "check-up"),
    ("none of them", UNCLEAR),
    ("the first", "cleaning"),
    ("I'd like to have my teeth cleaned, so hygiene", "cleaning"),
    ("either cleaning or filling", UNCLEAR),
    ("anything but a filling", UNCLEAR),
    ("not the filling", UNCLEAR),
    ("third one please", "filling"),
    ("no preference", UNCLEAR),
    ("skip", DECLINED),
    ("what was the second one?", UNCLEAR),
    ("I had a cleaning last time, now a check-up", UNCLEAR),
    ("whatever is cheapest", UNCLEAR),
    ("number three", "filling"),
    ("the one for cavities", UNCLEAR),
]


TEXT = [
    ("hello", "hello"),
    ("I'd rather not", DECLINED),
    ("please ring the bell twice", "please ring the bell twice"),
]


CORRECTIONS = [
    ("person_name", "Pob", "no, B as in boy", "Bob"),
    ("person_name", "Pat", "no, B as in boy", UNCLEAR),
    ("person_name", "Anna", "the second letter is an M", "Amna"),
    ("person_name", "Kin", "it's M as in Mike, not N", "Kim"),
    ("person_name", "Phil", "with two L's", "Phill"),
    ("person_name", "John Smith", "my last name is Smyth", "John Smyth"),
    ("person_name", "John Smith", "no, it's Jane", UNCLEAR),
    ("person_name", "John Smith", "no, my name is Jane Doe", "Jane Doe"),
    ("person_name", "John Smith", "S M Y T H", "John Smyth"),
    ("person_name", "Kin", "M as in Mike not N", "Kim"),
    ("person_name", "John Smith", "without the h", UNCLEAR),
    ("person_name", "John Smith", "Jon without an h", "Jon Smith"),
    ("person_name", "John Smith", "Smith with a y", "John Smyth"),
    ("person_name", "John", "that's right", UNCLEAR),
    ("person_name", "Mat", "no, it's two T's", "Matt"),
    ("person_name", "Clark", "no, it ends with an e", UNCLEAR),
    ("person_name", "John Smith", "not Smith, Smyth", "John Smyth"),
    ("person_name", "John Smith", "Smyth not Smith", "John Smyth"),
    ("person_name", "Clark", "no it's Clark with an e", UNCLEAR),
    ("person_name", "Clerk", "no, the third letter is a", "Clark"),
    ("person_name", "Pob Smith", "the first letter is a B", "Bob Smith"),
    ("person_name", "Bob Smith", "first name Rob", "Rob Smith"),
    ("person_name", "Tim", "it's N not M", "Tin"),
    ("person_name", "Mat Lee", "double T", "Matt Lee"),
    ("person_name", "John Smith", "last name is spelled S M Y T H E", "John Smythe"),
    ("person_name", "John Smith", "that's wrong", UNCLEAR),
    ("person_name", "Brab", "D as in David not B", UNCLEAR),
    ("person_name", "Catherine Jones", "it should be Katherine with a K", "Katherine Jones"),
    ("person_name", "John Smith", "no, Jon, J O N", "Jon Smith"),
    ("person_name", "Jon Smith", "not Jon, John", "John Smith"),
    ("person_name", "Hannah Lee", "you got the first name wrong, it's Anna", UNCLEAR),
    ("person_name", "Smith", "replace the i with a y", "Smyth"),
    ("person_name", "John Smith", "yes that's correct", UNCLEAR),
    ("person_name", "Kin", "M for Mike not N for November", "Kim"),
    ("email", "john@hotmail.com", "it's gmail not hotmail", "john@gmail.com"),
    ("email", "john@foo.com", "dot org, not dot com", "john@foo.org"),
    ("email", "johm@foo.com", "the last letter is e", "johe@foo.com"),
    ("email", "john@gmail.com", "at yahoo dot com", "john@yahoo.com"),
    ("email", "john@gmail.com", "yahoo", "john@yahoo.com"),
    ("email", "john@gmail.com", "no, it's jon without an h", "jon@gmail.com"),
    ("email", "john@gmail.com", "no, J O N at gmail dot com", "jon@gmail.com"),
    ("email", "john@gmail.com", "with double n", "johnn@gmail.com"),
    ("email", "j-s@gmail.com", "underscore not dash", "j_s@gmail.com"),
    ("email", "john@gmail.com", "M as in Mike, not N", "johm@gmail.com"),
    ("email", "john@gmail.com", "the second letter is an a", "jahn@gmail.com"),
    ("email", "john@foo.com", "dot net", "john@foo.net"),
    ("email", "kate99@gmail.com", "it's 98 not 99", "kate98@gmail.com"),
    ("email", "john@gmail.com", "jon not john", "jon@gmail.com"),
    ("email", "john@foo.com", "dot co dot uk", "john@foo.co.uk"),
    ("email", "john.smith@gmail.com", "remove the dot", UNCLEAR),
    ("email", "john.smith@gmail.com", "it's smyth with a y", "john.smyth@gmail.com"),
    ("email", "john@gmail.com", "the domain is acme dot org", "john@acme.org"),
    ("email", "johnsmith@gmail.com", "no, john dot smith", "john.smith@gmail.com"),
    ("email", "jomm@gmail.com", "N as in Nancy", UNCLEAR),
    ("email", "kate50@gmail.com", "no, it's five five, not fifty five", UNCLEAR),
    ("email", "john@gmail.com", "no, it's dot smith at the end", UNCLEAR),
    ("email", "johnsmith@gmail.com", "there's a dot between john and smith", UNCLEAR),
    ("email", "john@gmail.com", "the first letter is a g", "gohn@gmail.com"),
    ("email", "jonny@gmail.com", "it's two n's", "jonny@gmail.com"),
    ("email", "john@gmail.com", "hotmail dot com", "john@hotmail.com"),
    ("email", "john12@gmail.com", "no numbers", UNCLEAR),
    ("email", "john@gmail.com", "correct", UNCLEAR),
    ("phone", "+14155550123", "the area code is 212", "+12125550123"),
    ("phone", "+14155550123", "the last four digits are 1 2 3 4", "+14155551234"),
    ("phone", "+14155550123", "ends in 99", "+14155550199"),
    ("phone", "+14155550123", "the last digit is a 4", "+14155550124"),
    ("phone", "+14155550123", "0124 not 0123", "+14155550124"),
    ("phone", "+14155550123", "no, it ends with 24", "+14155550124"),
    ("phone", "+14155550123", "it's 416 not 415", "+14165550123"),
    ("phone", "+14155550123", "the third digit is 6", UNCLEAR),
    ("phone", "+14155550123", "no, the area code's 510", "+15105550123"),
    ("phone", "+14155550123", "last two digits are two four", "+14155550124"),
    ("phone", "+14155550145", "it's four four, not four five", "+14155550144"),
    ("phone", "+14155550124", "two three, not two four", "+14155550123"),
    ("date_time", "2026-12-01T15:00", "not Tuesday, Wednesday", "2026-11-25T15:00"),
    ("date_time", "2026-12-01T15:00", "at four instead", "2026-12-01T16:00"),
    ("date_time", "2026-12-01T15:00", "an hour later", "2026-12-01T16:00"),
    ("date_time", "2026-12-01T15:00", "the day after", "2026-12-02T15:00"),
    ("date_time", "2027-01-05T15:00", "no, the 6th", "2027-01-06T15:00"),
    ("date_time", "2026-12-01T15:00", "make it 4:30", "2026-12-01T16:30"),
    ("date_time", "2026-12-01T15:00", "Thursday", "2026-11-26T15:00"),
    ("date_time", "2026-12-01T15:00", "at four thirty instead of three", "2026-12-01T16:30"),
    ("date_time", "2026-12-01T15:00", "not at three, at four", "2026-12-01T16:00"),
    ("date_time", "2026-12-01T15:00", "four", "2026-12-01T16:00"),
    ("date_time", "2026-12-01T15:00", "same time", UNCLEAR),
    ("date_time", "2026-12-01T15:00", "same time on Thursday", "2026-11-26T15:00"),
    ("date_time", "2026-12-01T15:00", "a bit later", UNCLEAR),
    ("date_time", "2026-12-01T15:00", "two hours earlier", "2026-12-01T13:00"),
    ("date_time", "2026-12-01T15:00", "in the morning", UNCLEAR),
    ("date_time", "2026-12-01T20:00", "no, AM", "2026-12-01T08:00"),
    ("date_time", "2026-12-01T15:00", "the week after", "2026-12-08T15:00"),
    ("date_time", "2026-12-01T15:00", "Wednesday instead", "2026-11-25T15:00"),
    ("date_time", "2026-12-01T15:00", "not the first, the second", "2026-12-02T15:00"),
    ("date_time", "2026-12-01T15:00", "half an hour later", "2026-12-01T15:30"),
    ("date_time", "2026-12-01T15:00", "tomorrow at noon instead", "2026-11-25T12:00"),
    ("date_time", "2026-11-30T15:00", "not the 30th, the 1st", "2026-12-01T15:00"),
    ("date_time", "2026-11-30T15:00", "same day but at five", "2026-11-30T17:00"),
    ("date_time", "2026-11-30T15:00", "one hour earlier please", "2026-11-30T14:00"),
    ("date_time", "2026-11-30T15:00", "Can we do Tuesday at the same time", "2026-12-01T15:00"),
    ("date_time", "2026-11-30T15:00", "yes", UNCLEAR),
]


@pytest.mark.parametrize(("utterance", "expected"), PERSON_NAME, ids=[case[0][:60] for case in PERSON_NAME])
def test_what_is_said_for_a_person_name_is_understood(utterance: str, expected: str) -> None:
    assert read("person_name", utterance) == expected


@pytest.mark.parametrize(("utterance", "expected"), EMAIL, ids=[case[0][:60] for case in EMAIL])
def test_what_is_said_for_a_email_is_understood(utterance: str, expected: str) -> None:
    assert read("email", utterance) == expected


@pytest.mark.parametrize(("utterance", "expected"), PHONE, ids=[case[0][:60] for case in PHONE])
def test_what_is_said_for_a_phone_is_understood(utterance: str, expected: str) -> None:
    assert read("phone", utterance) == expected


@pytest.mark.parametrize(("utterance", "expected"), DATE_TIME, ids=[case[0][:60] for case in DATE_TIME])
def test_what_is_said_for_a_date_time_is_understood(utterance: str, expected: str) -> None:
    assert read("date_time", utterance) == expected


@pytest.mark.parametrize(("utterance", "expected"), DATE, ids=[case[0][:60] for case in DATE])
def test_what_is_said_for_a_date_is_understood(utterance: str, expected: str) -> None:
    assert read("date", utterance) == expected


@pytest.mark.parametrize(("utterance", "expected"), TIME, ids=[case[0][:60] for case in TIME])
def test_what_is_said_for_a_time_is_understood(utterance: str, expected: str) -> None:
    assert read("time", utterance) == expected


@pytest.mark.parametrize(("utterance", "expected"), NUMBER, ids=[case[0][:60] for case in NUMBER])
def test_what_is_said_for_a_number_is_understood(utterance: str, expected: str) -> None:
    assert read("number", utterance) == expected


@pytest.mark.parametrize(("utterance", "expected"), YES_NO, ids=[case[0][:60] for case in YES_NO])
def test_what_is_said_for_a_yes_no_is_understood(utterance: str, expected: str) -> None:
    assert read("yes_no", utterance) == expected


@pytest.mark.parametrize(("utterance", "expected"), CHOICE, ids=[case[0][:60] for case in CHOICE])
def test_what_is_said_for_a_choice_is_understood(utterance: str, expected: str) -> None:
    assert read("choice", utterance) == expected


@pytest.mark.parametrize(("utterance", "expected"), TEXT, ids=[case[0][:60] for case in TEXT])
def test_what_is_said_for_a_text_is_understood(utterance: str, expected: str) -> None:
    assert read("text", utterance) == expected


@pytest.mark.parametrize(("kind", "utterance", "expected"), BRITISH, ids=[case[1] for case in BRITISH])
def test_the_region_decides_how_numbers_and_dates_are_read(kind: str, utterance: str, expected: str) -> None:
    assert read(kind, utterance, region="GB") == expected


@pytest.mark.parametrize(
    ("kind", "before", "utterance", "expected"), CORRECTIONS, ids=[f"{c[1]}: {c[2]}" for c in CORRECTIONS]
)
def test_a_correction_changes_what_it_is_about_and_keeps_the_rest(
    kind: str, before: str, utterance: str, expected: str
) -> None:
    assert read(kind, utterance, before) == expected
