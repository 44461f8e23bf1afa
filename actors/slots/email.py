"""E-mail addresses, dictated or composed."""

import re
from collections.abc import Sequence

from email_validator import EmailNotValidError, validate_email

from actors.slots.corrections import exchange, letter_edit, placed_letter, split_instead
from actors.slots.language import Language
from actors.slots.letters import Piece, pieces_of
from actors.slots.mending import mended, similarity
from actors.slots.reading import Puzzled, Understood
from actors.slots.tokens import Token, plain, tokens_of

_LITERAL = re.compile(r"[^\s@,;:<>()\"]{1,64}@[^\s@,;:<>()\"]{1,190}")
_MAYBE_ADDRESS = frozenset(["the", "and", "hello", "hi", "here", "yes", "right"])


def understand_email(utterance: str, before: str, language: Language) -> Understood:
    """Raises Puzzled."""
    said = plain(utterance).strip()
    literals = [found for found in _LITERAL.findall(said) if "." in found.strip(".!?").rpartition("@")[2]]
    if literals:
        return _understood(_literal(said, literals, language))
    tokens = _without_lead(tokens_of(said), language)
    if before:
        corrected = _corrected(tokens, before, language)
        if corrected is not None:
            return _understood(corrected)
    pieces = pieces_of(tokens, language)
    if not before and len(pieces) > 1 and pieces[0].kind == "edit" and not pieces[1].pause and pieces[1].kind == "word":
        raise Puzzled(f'it is not clear whether "{pieces[0].text}" belongs to the address: ask for it letter by letter')
    return _understood(composed(mended(pieces, language), language))


def address_pieces(utterance: str, language: Language) -> list[Piece]:
    """What was said of an address, however much of it; Raises Puzzled."""
    return pieces_of(_without_lead(tokens_of(plain(utterance).strip()), language), language)


def _literal(said: str, literals: list[str], language: Language) -> str:
    """An address that is already written. Alone it keeps its capitals; in a sentence they are the transcriber's."""
    addresses = list(dict.fromkeys(address.strip(".!?'").lower() for address in literals))
    if len(addresses) > 1:
        raise Puzzled(f"two addresses were heard, {' and '.join(addresses[:2])}: ask which one is right")
    if said == literals[0] and not said.endswith((".", "!", "?")):
        return said
    rest = tokens_of(said.replace(literals[0], " , "))
    left = [
        piece
        for piece in pieces_of(_without_lead(rest, language), language)
        if piece.kind in {"letter", "digits", "symbol"}
    ]
    if len(left) > 1:
        raise Puzzled(f"more than an address was heard next to {addresses[0]}: ask whether this address is right")
    return addresses[0]


def _without_lead(tokens: list[Token], language: Language) -> list[Token]:
    place = 0
    while place < len(tokens):
        found = language.email_leads.at(tokens, place)
        skip = found[1] if found else place
        filler = language.fillers.at(tokens, place)
        if not found and filler and tokens[place].word not in _MAYBE_ADDRESS:
            skip = filler[1]
        if skip == place and not tokens[place].is_pause:
            break
        place = max(skip, place + 1)
    return tokens[place:]


def composed(pieces: Sequence[Piece], language: Language) -> str:
    """The pieces as one address; Raises Puzzled where it lacks a part."""
    pieces = _content(pieces, language)
    ats = [place for place, piece in enumerate(pieces) if piece.text == "@"]
    if not pieces:
        raise Puzzled("no e-mail address was heard: ask for it, spelled letter by letter")
    if len(ats) > 1:
        raise Puzzled("the at sign was heard more than once: ask for the address again, letter by letter")
    if not ats:
        heard = joined(pieces)[:60]
        raise Puzzled(f'the at sign is missing in "{heard}": ask for what comes after the at sign')
    local = joined(_named(_respelled(pieces[: ats[0]]), True, language))
    domain = domain_of(joined(_named(_respelled(pieces[ats[0] + 1 :]), False, language)), language)
    if not local:
        raise Puzzled(f"the part before the at sign is missing: ask what comes before at {domain or 'the domain'}")
    if not domain:
        raise Puzzled("the part after the at sign is missing: ask for the domain")
    ending = domain.rpartition(".")[2]
    if "." in domain and ending not in language.endings and not (len(ending) == 2 and ending.isalpha()):
        raise Puzzled(
            f'"{ending[:40]}" is not a usual ending of a domain: ask for what comes after the at sign, word by word'
        )
    if any(piece.kind == "digits" and not piece.sure for piece in pieces):
        raise Puzzled("it is not clear whether a letter O or a zero was meant: ask which of them it is")
    _no_sentence(pieces, language)
    return f"{local}@{domain}"


def _no_sentence(pieces: Sequence[Piece], language: Language) -> None:
    """Raises Puzzled if the pieces have words that are hardly part of an address."""
    sentence = [piece.text for piece in pieces if piece.kind == "word" and piece.text.casefold() in language.no_email]
    if sentence:
        raise Puzzled(
            f'"{sentence[0]}" does not sound like part of an address: ask for the address alone, letter by letter'
        )


def _content(pieces: Sequence[Piece], language: Language) -> list[Piece]:
    """Without fillers. A filler that may belong to the address is not dropped silently."""
    pieces = _worded(pieces, language)
    kept: list[Piece] = []
    for place, piece in enumerate(pieces):
        if piece.kind != "filler":
            kept.append(piece)
            continue
        after = pieces[place + 1] if place + 1 < len(pieces) else None
        loose = piece.text not in _MAYBE_ADDRESS or piece.pause or after is None or after.pause
        if not loose and after is not None and after.kind == "word" and after.text.casefold() not in language.providers:
            raise Puzzled(f'it is not clear whether "{piece.text}" belongs to the address: ask for it letter by letter')
    return kept


def _worded(pieces: Sequence[Piece], language: Language) -> list[Piece]:
    """With the numbers as words that are said to be written so: "the word eleven", "forty two, written out"."""
    kept = list(pieces)
    for place, piece in enumerate(pieces):
        if piece.kind != "digits" or not _in_words(piece):
            continue
        lead = pieces[place - 1] if place else None
        trail = pieces[place + 1] if place + 1 < len(pieces) else None
        led = lead is not None and lead.kind == "filler" and lead.text in language.word_leads
        trailed = trail is not None and trail.kind == "filler" and trail.text in language.word_trails
        if trailed and not led and lead is not None and lead.kind == "digits" and _in_words(lead):
            raise Puzzled(_written_how(f"{lead.spoken} {piece.spoken}"))
        if led or trailed:
            kept[place] = Piece("word", piece.spoken.replace(" ", ""), pause=piece.pause)
    return kept


def _in_words(digits: Piece) -> bool:
    return digits.spoken.replace(" ", "").isalpha()


def _written_how(number: str) -> str:
    return f'it is not clear whether "{number}" is written in figures or in letters: ask for it character by character'


def _named(pieces: Sequence[Piece], local: bool, language: Language) -> list[Piece]:
    """With the number of a name as a word: "7 eleven". Raises Puzzled where a figure and a word may be either.

    Who writes numbers down writes the large ones in figures and the small ones perhaps not: "19 ninety", "42 seven" are
    numbers. A lone figure before a larger number in words is not written so, unless that word is meant.
    """
    kept = list(pieces)
    for place, piece in enumerate(pieces):
        large = piece.spoken in language.teens or piece.spoken.split(" ")[0] in language.tens
        if piece.kind != "digits" or not large or (place + 1 < len(pieces) and pieces[place + 1].kind == "digits"):
            continue
        hyphen = place > 0 and pieces[place - 1].spoken == "-"
        at = place - 2 if hyphen else place - 1
        figure = pieces[at] if at >= 0 else None
        if figure is None or not (figure.spoken.isdigit() and len(figure.text) == 1):
            continue
        if at and pieces[at - 1].kind == "digits":
            continue
        if hyphen or at or not local or f"{figure.text} {piece.spoken}" not in language.number_names:
            raise Puzzled(_written_how(f"{figure.text} {piece.spoken}"))
        kept[place] = Piece("word", piece.spoken)
    return kept


def joined(pieces: Sequence[Piece]) -> str:
    """Words and letters as they stand in an address: lower-case but for letters said to be capitals."""
    parts = (piece.text.casefold().replace("'", "") if piece.kind == "word" else piece.text for piece in pieces)
    return "".join(part for part in parts if part != " ")


def _respelled(pieces: Sequence[Piece]) -> list[Piece]:
    """Letters that spell the word said just before them take its place, and so do those that spell several: "j smith"."""
    kept: list[Piece] = []
    place = 0
    while place < len(pieces):
        end = place
        while end < len(pieces) and pieces[end].kind == "letter":
            end += 1
        spelled = "".join(piece.text for piece in pieces[place:end])
        said = kept[-1].spoken if kept and kept[-1].kind == "digits" else kept[-1].text if kept else ""
        known = bool(kept) and kept[-1].kind in {"word", "digits"}
        whole = _spelled_from(kept, spelled)
        if len(spelled) >= 3 and known and whole < len(kept):
            kept = kept[:whole]
        elif len(spelled) >= 3 and known and similarity(said, spelled) >= 0.6:
            kept.pop()
        kept += pieces[place : max(end, place + 1)]
        place = max(end, place + 1)
    return kept


def _spelled_from(said: Sequence[Piece], spelled: str) -> int:
    """From which piece on `said` is exactly what is spelled then; its length if from none."""
    for start in range(len(said)):
        rest = said[start:]
        if all(piece.kind in {"letter", "word"} for piece in rest) and joined(rest).casefold() == spelled.casefold():
            return start
    return len(said)


def domain_of(heard: str, language: Language) -> str:
    """A domain with what transcribers make of providers and endings put right; lower-case."""
    domain = heard.lower().replace("dotcom", ".com").strip()
    labels = domain.split(".")
    labels[0] = language.providers.get(labels[0].replace("-", ""), labels[0])
    labels[-1] = language.ending_slips.get(labels[-1], labels[-1]) if len(labels) > 1 else labels[-1]
    return ".".join(labels)


def _corrected(tokens: list[Token], before: str, language: Language) -> str | None:
    """`before` with a part of it corrected, or None if a new address was given. Raises Puzzled."""
    local, _, domain = before.rpartition("@")
    placed = placed_letter(tokens, local, language)
    if placed is not None:
        return f"{placed}@{domain}"
    parts = split_instead(tokens, language)
    if parts is not None:
        new, old = (domain_or_local(part, language) for part in parts)
        return _swapped(local, domain, new, old)
    edited = exchange(tokens, local, language) or letter_edit(tokens, local, language)
    if edited is not None:
        return f"{edited}@{domain}"
    pieces = _content(mended(pieces_of(tokens, language), language), language)
    if not pieces:
        raise Puzzled(f"the caller says that {before} is wrong: ask which part, and for its letters")
    ats = [place for place, piece in enumerate(pieces) if piece.text == "@"]
    if ats and ats[0] > 0:
        return None
    _no_sentence(pieces, language)
    heard = domain_of(joined(pieces[1:] if ats else pieces), language)
    labels = heard.split(".")
    if heard.startswith(".") and heard[1:].split(".")[-1] in language.endings:
        return f"{local}@{domain.partition('.')[0]}{heard}"
    if len(labels) > 1 and labels[0] and labels[-1] in language.endings:
        return f"{local}@{heard}"
    if len(labels) == 1 and heard in language.providers.values():
        return f"{local}@{heard}.{domain.partition('.')[2]}"
    if ats:
        return None
    named = joined(_respelled(pieces))
    corrected = _into_local(named, local)
    if corrected is not None:
        return f"{corrected}@{domain}"
    raise Puzzled(f'it is not clear which part of {before} "{named[:60]}" corrects: ask for the whole address again')


def _into_local(named: str, local: str) -> str | None:
    """`local` with the part that `named` resembles replaced, or all of it; None if `named` is nothing like it."""
    digits = re.findall(r"\d+", local)
    if named.isdigit():
        return local.replace(digits[0], named) if len(digits) == 1 and len(digits[0]) == len(named) else None
    parts = re.split(r"([._+-])", local)
    if len(parts) > 1 and not re.search(r"[._+-]", named):
        whole = similarity(named, "".join(parts[::2]))
        likeness, at = max((similarity(named, part), -at) for at, part in enumerate(parts) if at % 2 == 0)
        if likeness > whole and likeness >= 0.6:
            parts[-at] = named
            return "".join(parts)
    return named if similarity(named, local) >= 0.6 else None


def domain_or_local(tokens: Sequence[Token], language: Language) -> str:
    pieces = _content(mended(pieces_of(tokens, language), language), language)
    _no_sentence(pieces, language)
    heard = joined(pieces)
    return language.providers.get(heard, heard)


def _swapped(local: str, domain: str, new: str, old: str) -> str:
    if not new or not old:
        raise Puzzled("only half of the correction was heard: ask what is to be replaced by what")
    in_local, in_domain = local.count(old), domain.count(old)
    if old.startswith("."):
        in_local = 0 if domain.endswith(old) else in_local
    if in_local == 1 and (in_domain == 0 or len(old) == 1):
        return f"{local.replace(old, new)}@{domain}"
    if in_local == 0 and in_domain == 1:
        return f"{local}@{domain.replace(old, new)}"
    if in_local + in_domain == 0 and (new in local or new in domain):
        return f"{local}@{domain}"
    where = "more than once" if in_local + in_domain else "not at all"
    raise Puzzled(f'"{old[:40]}" is {where} in {local}@{domain}: ask which part is wrong')


def _understood(address: str) -> Understood:
    local, _, domain = address.rpartition("@")
    if not local.isascii():
        raise Puzzled(
            "the address has letters that are not in the plain alphabet: ask how it is written, letter by letter"
        )
    if domain and "." not in domain:
        raise Puzzled(f'the ending of the domain "{domain}" is missing: ask what comes after {domain}, such as dot com')
    try:
        valid = validate_email(address, check_deliverability=False, allow_smtputf8=False)
    except EmailNotValidError as error:
        raise Puzzled(
            f'"{address[:80]}" is not a valid address ({str(error).rstrip(".")}): ask for it letter by letter'
        ) from None
    text = f"{valid.local_part}@{valid.domain}"
    return Understood(text, text, "")


def spoken_email(text: str, language: Language) -> str:
    """The part before the at sign letter by letter; of the domain, what is not well known letter by letter."""
    local, _, domain = text.rpartition("@")
    labels = domain.split(".")
    known = labels[0] in language.providers.values()
    name = labels[0] if known else ", ".join(_character(char, language) for char in labels[0])
    ending = "".join(f" dot {label}" for label in labels[1:])
    return f"{', '.join(_character(char, language) for char in local)}, at, {name}{ending}"


def _character(char: str, language: Language) -> str:
    if char.isascii() and char.isupper():
        return f"capital {char}"
    return language.symbol_names.get(char, char.upper())
