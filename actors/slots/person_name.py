"""Names of people, said, spelled, or both."""

import re
from collections.abc import Sequence

import attrs

from actors.slots.corrections import exchange, language_words, letter_edit, placed_letter, split_instead
from actors.slots.language import Language
from actors.slots.letters import Piece, letter_at, pieces_of
from actors.slots.mending import mended, similarity
from actors.slots.reading import UNLIKE, Puzzled, Understood
from actors.slots.tokens import Token, plain, tokens_of

_MOST_PARTS = 6
_CAPITALS = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
"""Between the words of "JohnSmith" and "JSmith"."""


@attrs.frozen
class Part:
    """One word of a name. `said_as`: how much of the held name it is about ("first", "last"), if the caller said so."""

    text: str
    spelled: bool
    respells: bool = False
    """Whether the caller announced that this spells what was said before."""
    said_as: str = ""
    titled: bool = False
    """Whether it is the surname after a title: "Mr. Smith"."""


def understand_name(utterance: str, before: str, language: Language, unlike: float = UNLIKE) -> Understood:
    """`unlike`: up to which likeness a name belongs to the one word that is held; below 0, it never does. Raises Puzzled."""
    said = plain(utterance)
    if "@" in said:
        raise Puzzled("that is an e-mail address and not a name: ask for the name")
    tokens = tokens_of(said)
    titled = _titled(tokens, language)
    tokens = _without_lead(tokens, language)
    if before:
        corrected = _corrected(tokens, before, language)
        if corrected is not None:
            return _understood(corrected)
    elif all(len(token.text) == 1 or token.word in language.repeats for token in language_words(tokens, language)):
        tokens = _spelled_apart(tokens)
    tokens, clause = _without_clause(tokens, language)
    if clause:
        name = _written(_spelled_in(_parts(tokens, language), language), language)
        edited = letter_edit(clause, name, language)
        if edited is None:
            raise Puzzled(f'it is not clear how "{name}" is spelled: ask for it letter by letter')
        tokens = tokens_of(edited)
    parts = _spelled_in(_marked(_parts(tokens, language), titled), language)
    parts = _ordered(parts, before, language)
    if before and not _is_all(parts, before, unlike, alone=any(token.word in language.alone for token in tokens)):
        parts = _into(before, parts, unlike, language)
    return _understood(_written(parts, language))


def _is_all(parts: Sequence[Part], before: str, unlike: float, *, alone: bool) -> bool:
    """Whether the caller says one word of what is held and means that this is the whole name: "no, just Anna"."""
    if len(parts) > 1 or parts[0].spelled or parts[0].said_as:
        return False
    return (alone or unlike < 0) and parts[0].text.casefold() in before.casefold().split()


def _spelled_apart(tokens: list[Token]) -> list[Token]:
    """With a "space" between two words that are spelled with hyphens, "J-O-H-N S-M-Y-T-H", or with one pause between them,
    "J O H N, S M Y T H": where none of them is said, there is nothing else to go by."""
    pause = _only_pause(tokens)
    if pause:
        return [*tokens[:pause], Token("space", "space", glued=False), *tokens[pause:]]
    kept: list[Token] = []
    for place, token in enumerate(tokens):
        if (
            place > 2
            and not token.glued
            and _hyphened(tokens[place - 3 : place])
            and _hyphened(tokens[place : place + 3])
        ):
            kept.append(Token("space", "space", glued=False))
        kept.append(token)
    return kept


def _only_pause(tokens: Sequence[Token]) -> int:
    """Where the one pause is among letters, with a word's worth of them on either side; 0 if there is none."""
    pauses = [at for at, token in enumerate(tokens) if token.text in {",", "."} and 0 < at < len(tokens) - 1]
    sides = [tokens[: pauses[0]], tokens[pauses[0] + 1 :]] if len(pauses) == 1 else []
    return pauses[0] if sides and all(sum(token.is_word for token in side) > 2 for side in sides) else 0


def _hyphened(three: Sequence[Token]) -> bool:
    """Whether that is a letter, a hyphen and a letter, with nothing between them."""
    if len(three) < 3 or three[1].text != "-":
        return False
    return all(token.glued for token in three[1:]) and all(
        len(token.text) == 1 and token.is_word for token in three[::2]
    )


def _without_clause(tokens: list[Token], language: Language) -> tuple[list[Token], list[Token]]:
    """The name and what is said of its spelling: "Smith", "with a y". Letters that follow make it needless."""
    start = next((at for at, token in enumerate(tokens) if at and token.word in {"with", "without"}), None)
    if start is None:
        return tokens, []
    end = next((at for at in range(start, len(tokens)) if (tokens[at].is_pause and not tokens[at].glued) or
                tokens[at].text in {",", ":", ";", "."}), len(tokens))  # fmt: skip
    rest = tokens[end:]
    if any(token.is_word for token in rest):
        return [*tokens[:start], *rest], []
    return tokens[:start], tokens[start:end]


def _understood(name: str) -> Understood:
    return Understood(name, name, "")


def _without_lead(tokens: list[Token], language: Language) -> list[Token]:
    """Without "my name is" and titles."""
    kept: list[Token] = []
    place = 0
    while place < len(tokens):
        label = language.name_parts.at(tokens, place)
        if label is not None:
            kept += tokens[place : label[1]]
            place = label[1]
            continue
        lead = language.name_leads.at(tokens, place)
        single = lead is not None and lead[1] == place + 1 and kept
        if lead is not None and not single:
            place = lead[1]
            continue
        if tokens[place].word in language.titles and place + 1 < len(tokens):
            place += 1
            if tokens[place].text == "." and place + 1 < len(tokens):
                place += 1
            continue
        kept.append(tokens[place])
        place += 1
    return kept


def _titled(tokens: Sequence[Token], language: Language) -> str | None:
    """The surname that follows a title, "van Dyke"; "" if it is spelled at once; None if there is none."""
    title = next((at for at, token in enumerate(tokens) if token.word in language.surname_titles), None)
    if title is None:
        return None
    place = title + 2 if title + 1 < len(tokens) and tokens[title + 1].text == "." else title + 1
    words: list[str] = []
    while place < len(tokens) and not language.fillers.at(tokens, place) and not language.edits.at(tokens, place):
        token = tokens[place]
        letter = letter_at(tokens, place, language)
        hyphen = token.text == "-" and token.glued and place + 1 < len(tokens) and tokens[place + 1].glued
        if letter is not None and letter[0].sure:
            return "" if not words else " ".join(words)
        if hyphen and words:
            words[-1] += f"-{tokens[place + 1].text}"
            place += 1
        elif token.is_word:
            words.append(token.text)
        else:
            break
        place += 1
    if not words or any(word.casefold() not in language.particles for word in words[:-1]):
        return None
    return " ".join(words)


def _marked(parts: list[Part], titled: str | None) -> list[Part]:
    """With the surname after a title marked as such, where the name begins with it."""
    if titled is None:
        return parts
    words = titled.split()
    if not words:
        spelled = parts[0].spelled and len(parts[0].text) > 2
        return [attrs.evolve(parts[0], titled=True), *parts[1:]] if spelled else parts
    if [part.text for part in parts[: len(words)]] != words:
        return parts
    return [attrs.evolve(part, titled=at < len(words)) for at, part in enumerate(parts)]


def _ordered(parts: list[Part], before: str, language: Language) -> list[Part]:
    """The parts as they are written, the surname last: "Mr. Smith, John", "Smith, first name John"."""
    surname = [part for part in parts if part.titled]
    loose = [part for part in parts if not part.said_as]
    if len(loose) == len(parts):
        given = [part for part in parts if not part.titled]
        if surname and _ends_with(given, surname[-1]):
            given = given[:-1]
        if not surname or not given or parts[0] != surname[0] or given[0].text.casefold() in language.name_suffixes:
            return parts
        return [*given, *surname]
    first, middle, last = ([part for part in parts if part.said_as == label] for label in ("first", "middle", "last"))
    after = [part for at, part in enumerate(last) if at and last[at - 1].spelled and not part.spelled]
    if after and not (first or loose or before):
        raise Puzzled(
            f'it is not clear whether "{after[0].text}" is the first name or belongs to the last: '
            "ask for the first name alone"
        )
    again = {part.text.casefold() for part in (*first, *middle, *last)}
    loose = [part for part in loose if part.text.casefold() not in again]
    if first:
        return [*first, *middle, *loose, *last]
    if last or len(loose) < 2:
        return [*loose, *middle, *last]
    return [loose[0], *middle, *loose[1:]]


def _parts(tokens: Sequence[Token], language: Language) -> list[Part]:
    parts: list[Part] = []
    start, said_as = 0, ""
    for place in range(len(tokens) + 1):
        label = language.name_parts.at(tokens, place) if place >= start else None
        if label is None and place < len(tokens):
            continue
        said = tokens[start:place]
        if label is not None and not said_as and _is_about(said, language):
            parts += _labelled(said, label[0], language)
            start = label[1]
            continue
        parts += _labelled(said, said_as, language)
        if label is not None:
            said_as, start = label[0], label[1]
    if not parts:
        raise Puzzled("no name was heard: ask for the name")
    return parts


def _is_about(said: Sequence[Token], language: Language) -> bool:
    """Whether the label that follows is of what was said before it: "Garcia is", "my last name"."""
    return bool(said) and said[-1].word in language.copulas and bool(language_words(said, language))


def _labelled(tokens: Sequence[Token], said_as: str, language: Language) -> list[Part]:
    pieces = mended(pieces_of(tokens, language), language)
    parts: list[Part] = []
    pieces = [piece for at, piece in enumerate(pieces) if not _repeated(pieces, at)]
    announced = False
    glue = ""
    spelling = chunk = False
    earlier: Piece | None = None
    for place, piece in enumerate(pieces):
        if piece.kind == "filler":
            if piece.text in {"but", "actually"} and parts:
                raise Puzzled("more than one name was heard: ask which one to use")
            announced = announced or any(word in language.respelled for word in piece.text.split())
            spelling = spelling and piece.text in language.hesitations
        elif piece.kind == "digits":
            raise Puzzled(f'"{piece.text}" is not part of a name: ask for the name again')
        elif piece.kind == "symbol":
            if piece.text in {"'", "-"} and parts:
                glue = "'" if "'" in {glue, piece.text} else piece.text  # "O-'-N"
            elif piece.text not in {" ", "."}:
                raise Puzzled(f'"{piece.text}" is not part of a name: ask for the name again')
            spelling = spelling and piece.text not in {" ", "."}
            chunk = False
        else:
            letter = piece.kind == "letter"
            if letter and earlier is not None and spelling and _may_be_chunk(earlier, piece, pieces[place + 1 :]):
                raise Puzzled(_unparted(piece.spoken))
            more = bool(parts) and not glue and not letter and _goes_on(parts[-1], earlier, piece, spelling, language)
            if chunk and not letter and not piece.pause and piece.text.islower():
                raise Puzzled(_unparted(piece.text))
            again = chunk and letter and (piece.text.isupper() or piece.spoken.islower())
            prefix = letter and earlier is not None and _is_prefix(earlier, piece, language)
            if glue or more or again or prefix or (letter and spelling and parts):
                parts[-1] = _longer(parts[-1], glue + piece.text, language)
            else:
                parts.append(Part(piece.text, letter, announced and letter, said_as))
            glue, spelling, chunk, earlier = "", letter, more, piece
    return [_checked(part, language) for part in parts]


def _longer(part: Part, text: str, language: Language) -> Part:
    """The part with more letters. A capital further on shows that the first letter is one, too, but in "deLuca"."""
    start = part.text
    if text.lstrip("'-")[:1].isupper() and part.spelled and start.casefold() not in language.particles:
        start = start[:1].upper() + start[1:]
    return attrs.evolve(part, text=start + text)


def _is_prefix(word: Piece, letter: Piece, language: Language) -> bool:
    """Whether a capital goes on with the word before it: "Mc", "capital D"; but not "Mac", "capital M"."""
    prefix = word.text.casefold()
    capital = letter.text[:1].isupper() and letter.text.casefold() != prefix[:1]
    return word.kind == "word" and prefix in language.name_prefixes and capital


def _goes_on(part: Part, letter: Piece | None, word: Piece, spelling: bool, language: Language) -> bool:
    """Whether a word is the rest of what is being spelled: "capital D", "onald". Raises Puzzled."""
    if letter is None or letter.kind != "letter" or not spelling:
        return False
    whole = re.split(r"['-]", part.text)[-1]
    prefixed = whole[:1].isupper() and whole.casefold() in language.name_prefixes
    if prefixed or not word.text.islower():
        return prefixed
    if part.text[-2:-1] == "'":
        return True
    if not letter.text.isupper():
        if _CAPITALS.search(whole) and letter.spoken.islower():
            raise Puzzled(_unparted(word.text))
        return False
    if letter.spoken.isupper() or whole[:-1].casefold() in language.name_prefixes:
        return True
    raise Puzzled(_unparted(word.text))


def _may_be_chunk(capital: Piece, letter: Piece, later: Sequence[Piece]) -> bool:
    """Whether what sounds like a letter may be the rest of a name: "capital K", "ay"."""
    last = not later or later[0].kind != "letter"
    alone = capital.text.isupper() and len(capital.spoken) == 1
    return last and alone and not letter.sure and len(letter.spoken) > 1


def _unparted(word: str) -> str:
    return f'it is not clear whether "{word[:40]}" is a name or the end of one: ask for it letter by letter'


def _repeated(pieces: Sequence[Piece], place: int) -> bool:
    """Whether a word is said, and after a pause said again within the name: "Bond, James Bond"."""
    if pieces[place].kind != "word" or place + 1 == len(pieces) or not pieces[place + 1].pause:
        return False
    return any(other.kind == "word" and other.text == pieces[place].text for other in pieces[place + 1 :])


def _checked(part: Part, language: Language) -> Part:
    if not part.spelled and part.text.casefold().removesuffix("'s") in language.no_names:
        raise Puzzled(f'"{part.text}" does not sound like part of a name: ask for the name alone')
    if not all(char.isalpha() or char in "'-" for char in part.text):
        raise Puzzled(f'"{part.text}" is not written in letters: ask for the name, letter by letter')
    return part


def _apart(part: Part, words: Sequence[Part], language: Language) -> list[Part]:
    """The words of "JohnSmith", unless it is one that was said, or goes on after a prefix ("McDonald")."""
    if not part.spelled:
        return [part]
    texts: list[str] = []
    for text in _CAPITALS.split(part.text):
        if texts and texts[-1].casefold() in language.name_prefixes:
            texts[-1] += text
        else:
            texts.append(text)
    parts = [attrs.evolve(part, text=text) for text in texts]
    if len(parts) == 1:
        return [attrs.evolve(part, text=texts[0])]
    whole = max((_likeness([word], part) for word in words), default=0.0)
    if whole >= 0.5 and all(_likeness([word], one) <= whole for word in words for one in parts):
        return [part]
    if any(len(text) == 2 and not text.isupper() for text in texts[:-1]):
        raise Puzzled(f'it is not clear whether "{part.text[:40]}" is one name or two: ask which')
    return parts


def _of_others(word: Part, spelled: Part) -> bool:
    """Whether the caller named different parts of the name for the two."""
    return bool(word.said_as and spelled.said_as) and word.said_as != spelled.said_as


def _ends_with(later: Sequence[Part], part: Part) -> bool:
    """Whether the name that is said later ends with what is spelled before: "S M Y T H", "John Smith"."""
    if len(later) < 2 or len(part.text) < 3 or later[-1].spelled:
        return False
    return _likeness(later[-1:], part) >= 0.75


def _spelled_in(given: Sequence[Part], language: Language) -> list[Part]:
    """Spelled parts take the place of the words they spell."""
    spoken = [part for part in given if not part.spelled]
    parts = [one for part in given for one in _apart(part, spoken, language)]
    kept: list[Part] = []
    for place, part in enumerate(parts):
        if not part.spelled:
            if not (kept and kept[-1].spelled and kept[-1].text.casefold() == part.text.casefold()):  # "L E E, Lee"
                kept.append(part)
            continue
        words = [at for at, other in enumerate(kept) if not other.spelled and not _of_others(other, part)]
        spans = [(at, at + 1) for at in words] + [(at, at + 2) for at in words if at + 1 in words]
        likest = max(spans, key=lambda span: _likeness(kept[span[0] : span[1]], part), default=None)
        likeness = _likeness(kept[likest[0] : likest[1]], part) if likest else 0.0
        short = len(part.text) <= 2
        if likest and likeness >= (0.7 if short else 0.5):
            kept[likest[0] : likest[1]] = _divided(kept[likest[0] : likest[1]], part)
        elif part.respells and words and not short:
            if len(words) > 1 or likeness < 0.2:
                raise Puzzled(
                    f"the letters {part.text.upper()} spell none of the names that were said: ask what they spell"
                )
            kept[words[0]] = attrs.evolve(part, titled=kept[words[0]].titled)
        elif not kept and _ends_with(parts[place + 1 :], part):
            parts[-1] = attrs.evolve(part, respells=False, said_as=parts[-1].said_as)
        elif short and len(parts) > 1:
            kept += [Part(letter, False) for letter in (part.text if len(part.text) == 1 else part.text.upper())]
        else:
            kept.append(part)
    return kept


def _likeness(words: Sequence[Part], spelled: Part) -> float:
    return similarity("".join(word.text for word in words), spelled.text)


def _divided(words: Sequence[Part], spelled: Part) -> list[Part]:
    """A run of letters that spells two words, cut where it fits them best."""
    spelled = attrs.evolve(spelled, titled=all(word.titled for word in words))
    if len(words) == 1:
        return [spelled]
    text = spelled.text

    def fit(cut: int) -> float:
        return similarity(words[0].text, text[:cut]) + similarity(words[1].text, text[cut:])

    cut = max(range(1, len(text)), key=fit)
    return [attrs.evolve(spelled, text=text[:cut]), attrs.evolve(spelled, text=text[cut:])]


def _written(parts: Sequence[Part], language: Language) -> str:
    if not parts:
        raise Puzzled("no name was heard: ask for the name")
    if len(parts) > _MOST_PARTS:
        raise Puzzled("that is too long for a name: ask for the first and the last name alone")
    if len(parts) == 1 and len(parts[0].text) == 1:
        raise Puzzled(f"only the letter {parts[0].text.upper()} was heard: ask for the whole name, spelled")
    shouted = all(part.text.isupper() for part in parts)
    return " ".join(
        capitalised(part.text, place, len(parts), part.spelled or shouted, language) for place, part in enumerate(parts)
    )


def capitalised(word: str, place: int, many: int, flat: bool, language: Language) -> str:
    """A word of a name as it is written. `flat`: its own capitals say nothing."""
    inner = word[1:]
    if inner != inner.lower() and not (flat and word.isupper()) and word != word.upper():
        return word
    if (
        word.casefold() in language.particles
        and place < many - 1
        and (flat or word.islower())
        and (place > 0 or many == 2)
    ):
        return word.lower() if place > 0 or word.islower() else word
    return "".join(_capital(piece) if piece.isalpha() else piece for piece in re.split(r"(['-])", word.lower()))


def _capital(word: str) -> str:
    if word.startswith("mc") and len(word) > 4:
        return "Mc" + word[2].upper() + word[3:]
    return word[:1].upper() + word[1:]


def _into(before: str, parts: Sequence[Part], unlike: float, language: Language) -> list[Part]:
    """New parts in the held name: the part that the caller named, or the one that the letters spell. Who was asked for the last
    name after the first says nothing of the first."""
    held = [Part(word, False) for word in before.split()]
    labels = {part.said_as for part in parts}
    if "" not in labels:
        for label in sorted(labels):
            new = [part for part in parts if part.said_as == label]
            held = _labelled_into(held, new, label, unlike, language)
        return held
    particles = all(part.text.casefold() in language.particles for part in parts[:-1])
    if _goes_on_spelling(held, parts, language):
        return [*held[:-1], Part(held[-1].text + parts[0].text.lower(), spelled=True)]
    if len(held) == 1 and particles and not parts[-1].titled and _likeness(held, parts[-1]) <= unlike:
        return _joined(held, parts, language)  # "Berg", "van der Berg"
    if len(parts) == 1 and parts[0].spelled and len(held) > 1:
        likest = max(range(len(held)), key=lambda at: _likeness(held[at : at + 1], parts[0]))
        likeness, whole = _likeness(held[likest : likest + 1], parts[0]), _likeness(held, parts[0])
        if likeness >= max(0.5, whole):
            return [*held[:likest], parts[0], *held[likest + 1 :]]
        if len(held) > 2 and whole == 1:
            return held
        if whole < 0.5 or len(held) > 2:
            raise Puzzled(
                f"it is not clear which part of {before} the letters {parts[0].text.upper()} spell: ask which one"
            )
        return _divided(held, parts[0])
    if len(parts) == 1 and len(held) > 1:
        likeness = sorted((_likeness(held[at : at + 1], parts[0]), at) for at in range(len(held)))
        if likeness[-1][0] >= 0.6 and likeness[-2][0] < 0.6:
            at = likeness[-1][1]
            return [*held[:at], parts[0], *held[at + 1 :]]
        if len(held) == 2 and parts[0].text.casefold() in language.given_only:
            return [parts[0], held[1]]
        raise Puzzled(
            f'it is not clear which part of {before} is "{parts[0].text}": ask whether it is the first or the last name'
        )
    return list(parts)


def _joined(held: list[Part], parts: Sequence[Part], language: Language) -> list[Part]:
    """A name beside the one that is held. What is nobody's last name is the first one; or another, if a first one is held."""
    if len(parts) > 1 or parts[0].text.casefold() not in language.given_only:
        return [*held, *parts]
    first = held[0].text.casefold() in language.given_only | language.given_too
    return [*parts] if first else [*parts, *held]


def _goes_on_spelling(held: Sequence[Part], parts: Sequence[Part], language: Language) -> bool:
    """Whether letters are the rest of what was spelled before: "S C H M", "I D T". One of the two cannot be said alone."""
    last, more = held[-1].text.casefold(), parts[0].text.casefold()
    if len(parts) > 1 or not parts[0].spelled or more.startswith(last):
        return False
    prefix = last in language.name_prefixes
    if cannot_be_said(last, language) and (prefix or len(last) > 2):  # two may be initials, or "Ng"
        return True
    # Beside a first name alone, letters may as well be the beginning of the last one.
    return len(held) > 1 and cannot_be_said(more, language) and _likeness(held[-1:], parts[0]) < 0.5


def cannot_be_said(letters: str, language: Language) -> bool:
    """Whether they are no name by themselves."""
    return letters.isascii() and language.vowels.isdisjoint(letters.casefold())


def _labelled_into(held: list[Part], new: list[Part], label: str, unlike: float, language: Language) -> list[Part]:
    if label == "first":
        other = held[0].text.casefold() in language.given_only
        more = len(held) == 1 and not other and _likeness(held, new[0]) <= unlike
        return [*new, *held] if more else [*new, *held[1:]]
    if label == "last":
        if len(held) == 1 and _likeness(held, new[-1]) >= 0.5:  # it was the last name that was held
            return new
        return [held[0], *new] if len(held) < 3 else [*held[:-1], *new]
    return [held[0], *new, held[-1]] if len(held) > 1 else [*held, *new]


def _corrected(tokens: list[Token], before: str, language: Language) -> str | None:
    placed = placed_letter(tokens, before, language)
    if placed is not None:
        return placed
    parts = split_instead(tokens, language)
    if parts is not None:
        new, old = (_plain_text(_unlabelled(part, language), language) for part in parts)
        return _swapped(before, new, old)
    exchanged = exchange(tokens, before, language)
    if exchanged is not None:
        return exchanged
    if language_words(_without_clause(tokens, language)[0], language) and _without_clause(tokens, language)[1]:
        return None
    return letter_edit(tokens, before, language)


def _unlabelled(tokens: Sequence[Token], language: Language) -> list[Token]:
    """Without the name of a part of the name: "my last name is Jones"."""
    kept: list[Token] = []
    place = 0
    while place < len(tokens):
        label = language.name_parts.at(tokens, place)
        if label is None:
            kept.append(tokens[place])
        place = label[1] if label is not None else place + 1
    return kept


def _plain_text(tokens: Sequence[Token], language: Language) -> str:
    return "".join(piece.text for piece in pieces_of(tokens, language) if piece.kind in {"letter", "word"})


def _swapped(before: str, new: str, old: str) -> str:
    places = [match.start() for match in re.finditer(re.escape(old), before, re.IGNORECASE)] if old and new else []
    if len(places) == 1:
        at = places[0]
        start = at == 0 or before[at - 1] in " -'"
        return before[:at] + (new[:1].upper() + new[1:] if start else new.lower()) + before[at + len(old) :]
    if not places and new and new.casefold() in before.casefold():
        return before
    raise Puzzled(f'"{old[:40]}" is {"more than once" if places else "not"} in {before}: ask which part is wrong')


def spoken_name(text: str, language: Language) -> str:
    """Every word of the name, and its letters: "Smyth, S, M, Y, T, H"."""
    words: list[str] = []
    for word in text.split():
        letters = ", ".join(_letter(char, language) for char in word)
        words.append(f"{word}, {letters}" if len(word) > 1 else word)
    return "; ".join(words)


def _letter(char: str, language: Language) -> str:
    return language.symbol_names.get(char, char.upper())
