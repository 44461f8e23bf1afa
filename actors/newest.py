"""What is remembered by the names that a model gives: it may give them without end. Pure."""

from typing import Generic, TypeVar

import attrs

REPLIES_KEPT = 64
"""Replies that have begun and not ended: one, unless the model is out of its mind."""

V = TypeVar("V")


@attrs.define
class Newest(Generic[V]):
    """Values by name; of more than `at_most` the oldest is forgotten. A name that comes again counts as new."""

    at_most: int
    _kept: dict[str, V] = attrs.field(init=False, factory=dict[str, V])

    def __contains__(self, name: str) -> bool:
        return name in self._kept

    def put(self, name: str, value: V) -> None:
        """Remembers it."""
        self._kept.pop(name, None)
        self._kept[name] = value
        if len(self._kept) > self.at_most:
            del self._kept[next(iter(self._kept))]

    def get(self, name: str) -> V | None:
        """What is remembered of it."""
        return self._kept.get(name)

    def pop(self, name: str) -> V | None:
        """What was remembered of it, and is not any more."""
        return self._kept.pop(name, None)

    def clear(self) -> None:
        """Nothing is remembered any more."""
        self._kept.clear()
