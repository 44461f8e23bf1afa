"""Whether a caller who fell silent has more to dictate: a telephone number is too short, an address stops at a dot. Pure.

Only what is plain counts. Who is held for unfinished is waited for, and everybody who is not waits in vain.
"""

from collections.abc import Sequence

import phonenumbers

from actors.slots.digits import digits_at
from actors.slots.email import address_pieces
from actors.slots.language import Language
from actors.slots.languages import is_known, language_of
from actors.slots.letters import Piece, pieces_of
from actors.slots.person_name import cannot_be_said
from actors.slots.phone import is_valid
from actors.slots.reading import Puzzled
from actors.slots.tokens import Token, tokens_of

LEAST = 2
"""Digits (or a plus) or letters from which on something is being dictated."""
MISSING_AT_MOST = 8
"""Digits that may be missing of a number that is as long as some are and begins like a longer one."""
FILLED_WITH = "015"
YEAR = 4
"""Digits of a year; what counts something else has no more."""
_NO_NUMBER_YET = frozenset(
    {
        phonenumbers.NumberParseException.NOT_A_NUMBER,
        phonenumbers.NumberParseException.TOO_SHORT_AFTER_IDD,
        phonenumbers.NumberParseException.TOO_SHORT_NSN,
    }
)


def breaks_off(kind: str, said: str, language: str, region: str) -> bool:
    """Whether `said`, all that was dictated so far of a value of `kind`, is plainly not all of it. Never in a language that is
    not known here. `region`: where telephone numbers without a country's code are."""
    if not is_known(language):
        return False
    known = language_of(language)
    try:
        if kind == "phone":
            return _too_short(_last_digits(said, known), region)
        if kind == "email":
            return _address_breaks_off(address_pieces(said, known), known)
        return kind == "person_name" and _spells_part(pieces_of(tokens_of(said), known), known)
    except Puzzled:
        return False


def joined(before: str, said: str, language: str, region: str) -> str:
    """The digits of a telephone number of which `before` was the first part and `said` is what comes next; empty if they are no
    such two: there are other words, it begins anew, or it is too much."""
    if not is_known(language):
        return ""
    known = language_of(language)
    first, more = _digits_alone(before, known), _digits_alone(said, known)
    whole = first + more
    if not (first and more) or more.startswith(("+", first)):
        return ""
    return whole if is_valid(whole, region) or _too_short(whole, region) else ""


def _digits_alone(said: str, language: Language) -> str:
    """The digits of who says nothing else, and corrects nothing."""
    tokens, place = tokens_of(said), 0
    while place < len(tokens):
        if language.edits.at(tokens, place) is not None or language.extension.at(tokens, place) is not None:
            return ""
        found = digits_at(tokens, place, language) or language.plus.at(tokens, place)
        lead = language.phone_leads.at(tokens, place) or language.fillers.at(tokens, place)
        if found is None and lead is None and tokens[place].is_word:
            return ""
        place = found[1] if found is not None else lead[1] if lead is not None else place + 1
    return _last_digits(said, language)


def _last_digits(said: str, language: Language) -> str:
    """The digits with which it ends, with a leading plus; what was said before them, but for words that lead to digits, is
    something else. No digits if they are an extension's: who says that has said the number."""
    tokens, digits, place = tokens_of(said), "", 0
    while place < len(tokens):
        plus, lead = language.plus.at(tokens, place), language.phone_leads.at(tokens, place)
        lead = lead or language.fillers.at(tokens, place)
        if digits and language.extension.at(tokens, place) is not None:
            return ""
        if plus is not None and not digits:
            digits, place = "+", plus[1]
        elif (found := digits_at(tokens, place, language)) is not None:
            digits, place = digits + found[0], found[1]
        elif lead is not None:
            place = lead[1]
        else:
            digits = "" if tokens[place].is_word else digits
            place += 1 + _counts_otherwise(tokens, place, language)
    return digits


def _counts_otherwise(tokens: Sequence[Token], place: int, language: Language) -> int:
    """How many tokens the number has that follows, if the word there makes it a year, an age or a day: "in 2026", "March 15"."""
    if not (tokens[place].word in language.other_numbers or tokens[place].word in language.months):
        return 0
    digits, end = "", place + 1
    while end < len(tokens) and (found := digits_at(tokens, end, language)) is not None:
        digits, end = digits + found[0], found[1]
    return end - place - 1 if len(digits) <= YEAR else 0


def _too_short(digits: str, region: str) -> bool:
    if len(digits) < LEAST:
        return False
    try:
        number = phonenumbers.parse(digits, region)
    except phonenumbers.NumberParseException as error:
        return error.error_type in _NO_NUMBER_YET
    length = phonenumbers.is_possible_number_with_reason(number)
    if length == phonenumbers.ValidationResult.IS_POSSIBLE_LOCAL_ONLY:
        return _begins_with_a_code(digits, region)  # nobody says that of a number within their town
    if length == phonenumbers.ValidationResult.IS_POSSIBLE:
        return not phonenumbers.is_valid_number(number) and _may_become_one(digits, region)
    return length == phonenumbers.ValidationResult.TOO_SHORT


def _begins_with_a_code(digits: str, region: str) -> bool:
    trunk = phonenumbers.ndd_prefix_for_region(region, True)
    return digits.startswith("+") or bool(trunk and digits.startswith(trunk))


def _may_become_one(digits: str, region: str) -> bool:
    """Where numbers differ in length, the first half of one is as long as another."""
    longer = (digits + fill * more for more in range(1, MISSING_AT_MOST + 1) for fill in FILLED_WITH)
    return any(is_valid(each, region) for each in longer)


def _address_breaks_off(pieces: list[Piece], language: Language) -> bool:
    """It ends with "at" or "dot", or it is spelled, or has a dot in it, and there is no "at" yet. Not if it ends as addresses
    do ("dot com"): then it is what they were asked for that comes behind the "at"."""
    before, spelled = _spelled_last(pieces, {"letter", "digits"})
    if before and before[-1].kind == "symbol" and not spelled:
        return len(before) > 1
    said = [piece.text for piece in before]
    ending = said[-2:] if not spelled else [*said[-1:], spelled]
    if "@" in said or (ending[:1] == ["."] and ending[-1].casefold() in language.endings):
        return False
    if spelled.isdigit() and not _begins_an_address(before, language):  # how many, how old, when
        return False
    if not before and language.agreement.at(tokens_of(spelled), 0) is not None:  # "O K"
        return False
    return len(spelled) >= LEAST or bool({".", "_"} & set(said))


def _begins_an_address(before: list[Piece], language: Language) -> bool:
    """Whether figures may go on with it: "smith 42", but not "in 2026"."""
    others = language.no_names | language.no_email
    return bool(before) and all(piece.kind != "word" or piece.text.casefold() not in others for piece in before)


def _spells_part(pieces: list[Piece], language: Language) -> bool:
    """It ends with letters with which a name that was just said begins, and the name goes on; or that nobody can say."""
    before, spelled = _spelled_last(pieces, {"letter"})
    if len(spelled) > LEAST and cannot_be_said(spelled, language):
        return True
    words = [piece.text.casefold() for piece in before if piece.kind == "word"]
    return len(spelled) >= LEAST and any(word.startswith(spelled) and word != spelled for word in words)


def _spelled_last(pieces: list[Piece], kinds: set[str]) -> tuple[list[Piece], str]:
    """What was said before the letters with which it ends, and these."""
    said = [piece for piece in pieces if piece.kind != "filler"]
    first = len(said)
    while first and said[first - 1].kind in kinds:
        first -= 1
    return said[:first], "".join(piece.text for piece in said[first:]).casefold()
