"""Whether a caller asks to wait: "one moment please", "hang on, let me get my card". Pure.

Words are read clause by clause. Each must be a wish to wait, the reason for it, or politeness: whoever says more than that has
said something, and wants an answer.
"""

import re

from actors.hold_words import WISHES, Wish
from actors.slots.languages import primary

WORDS_AT_MOST = 30
"""Who says more than that has more to say."""
_CLAUSES = re.compile(r"[.,;:!?¡¿…–—]+|\s-+\s")


def _longing(wish: Wish) -> re.Pattern[str]:
    """A clause in which somebody asks to wait."""
    return re.compile(rf"{wish.polite}(?:{wish.wait})(?: {wish.polite}(?:{wish.reason}))?(?: {wish.polite})?")


def _besides(wish: Wish) -> re.Pattern[str]:
    """What may be said besides."""
    return re.compile(rf"{wish.polite}(?:{wish.reason})?(?: {wish.polite})?")


_LONGING = {language: _longing(wish) for language, wish in WISHES.items()}
_BESIDES = {language: _besides(wish) for language, wish in WISHES.items()}


def asks_to_wait(text: str, language: str) -> bool:
    """Whether the caller asks to wait in `text`, and nothing else; never in a language that is not known here."""
    language = primary(language)
    if language not in _LONGING or len(text.split()) > WORDS_AT_MOST:
        return False
    clauses = [" ".join(clause.split()) for clause in _CLAUSES.split(text.lower().replace("’", "'"))]
    said = [clause.replace("-", " ") for clause in clauses if clause]
    waits = [bool(_LONGING[language].fullmatch(clause)) for clause in said]
    return any(waits) and all(
        wait or _BESIDES[language].fullmatch(clause) for wait, clause in zip(waits, said, strict=True)
    )
