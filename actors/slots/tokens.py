"""An utterance as tokens, and tables of phrases that are looked up in them."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Generic, TypeVar

import attrs

_TOKEN = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*|[0-9]+|\.{2,}|\S")
_PLAIN = str.maketrans({"’": "'", "‘": "'", "`": "'", "´": "'", "–": "-", "—": "-", "‐": "-", "‑": "-", "−": "-"})

T = TypeVar("T")


@attrs.frozen
class Token:
    """A word, a group of ASCII digits or one other character. `glued`: nothing stands between it and the token before."""

    text: str
    word: str
    """Case folded."""
    glued: bool

    @property
    def is_word(self) -> bool:
        return self.text[0].isalpha()

    @property
    def is_number(self) -> bool:
        return self.text.isascii() and self.text.isdigit()

    @property
    def is_pause(self) -> bool:
        """Punctuation that speech does not have."""
        return self.text.startswith("..") or self.text in {",", ".", ";", ":", "!", "?", "-", "…", '"', "(", ")", "/"}


def plain(utterance: str) -> str:
    """The utterance with composed letters and plain quotes and dashes; no character is removed."""
    return unicodedata.normalize("NFKC", utterance.translate(_PLAIN)).translate(_PLAIN)


def tokens_of(utterance: str) -> list[Token]:
    said = plain(utterance)
    found: list[Token] = []
    end = -1
    for match in _TOKEN.finditer(said):
        found.append(Token(match[0], match[0].casefold(), match.start() == end))
        end = match.end()
    return found


def words_of(utterance: str) -> str:
    """Only the words and numbers, case folded, with one space between them."""
    return " ".join(token.word for token in tokens_of(utterance) if token.is_word or token.is_number)


class Phrases(Generic[T]):
    """A table from phrases of one or more words to what they mean; the longest phrase that fits wins."""

    def __init__(self, table: Mapping[str, T]) -> None:
        self._by_first: dict[str, list[tuple[tuple[str, ...], T]]] = {}
        for phrase, meaning in table.items():
            words = tuple(phrase.split())
            self._by_first.setdefault(words[0], []).append((words, meaning))
        for entries in self._by_first.values():
            entries.sort(key=lambda entry: -len(entry[0]))

    @staticmethod
    def of(phrases: Iterable[str]) -> "Phrases[bool]":
        """Phrases that only have to be recognised."""
        return Phrases(dict.fromkeys(phrases, True))

    def at(self, tokens: Sequence[Token], start: int) -> tuple[T, int] | None:
        """The meaning of the phrase that begins at `start`, and where it ends. A hyphen within a phrase is ignored."""
        if start >= len(tokens):
            return None
        for words, meaning in self._by_first.get(tokens[start].word, ()):
            place = start + 1
            for word in words[1:]:
                if place < len(tokens) and tokens[place].text == "-" and tokens[place].glued:
                    place += 1
                if place >= len(tokens) or tokens[place].word != word:
                    break
                place += 1
            else:
                return meaning, place
        return None
