"""What callers put around a value: "no, it's ... please, thanks". Taken off before the value is read, in any kind."""

from actors.slots.language import Language
from actors.slots.tokens import plain, words_of


def unframed(utterance: str, language: Language) -> str:
    """`utterance` without its opening and closing words; as it is, if it is nothing but such words."""
    said = plain(utterance)
    closing = language.closing.search(said)
    core = said[: closing.start()] if closing is not None else said
    opening = language.opening.match(core)
    core = core[opening.end() :] if opening is not None else core
    return core if any(char.isalnum() for char in core) else utterance


def opening_words(utterance: str, language: Language) -> list[str]:
    """The words that `unframed` takes off at the beginning."""
    opening = language.opening.match(plain(utterance))
    return words_of(opening.group()).split() if opening is not None else []
