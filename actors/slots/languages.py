"""The languages that values are understood in, by code."""

from actors.slots.english import ENGLISH
from actors.slots.language import Language

_LANGUAGES: dict[str, Language] = {"en": ENGLISH}


def language_of(code: str) -> Language:
    """The tables for a BCP 47 code; its region is ignored. Raises ValueError for an unknown language."""
    if primary(code) not in _LANGUAGES:
        raise ValueError(f"unknown language {code!r}; known are {', '.join(_LANGUAGES)}")
    return _LANGUAGES[primary(code)]


def is_known(code: str) -> bool:
    """Whether values are understood in the language of a BCP 47 code."""
    return primary(code) in _LANGUAGES


def primary(code: str) -> str:
    """The language of a BCP 47 code, without its region."""
    return code.replace("_", "-").partition("-")[0].lower()
