"""What the person on the telephone does: steps, carried out in order while the call lasts. Data only."""

from collections.abc import Awaitable, Callable

import attrs


@attrs.frozen
class Speak:
    """Says `audio` (µ-law bytes), whatever the agent does."""

    audio: bytes = attrs.field(repr=False)
    words: str = ""


@attrs.frozen
class AwaitAgent:
    """Waits until the agent has been audible for `seconds` in one stretch; `at_most` is the caller's patience."""

    seconds: float = 0.2
    at_most: float = 20.0


@attrs.frozen
class AwaitQuiet:
    """Waits until the agent speaks (if it does not already), and then until it has been quiet for `seconds`.

    `at_most` is the caller's patience with both.
    """

    seconds: float = 0.7
    at_most: float = 30.0


@attrs.frozen
class Press:
    """Presses keys."""

    digits: str


@attrs.frozen
class Wait:
    """Does nothing for a while."""

    seconds: float


@attrs.frozen
class Do:
    """Calls `action`: for those who want to look, or to act, at this moment of the call."""

    action: Callable[[], Awaitable[None]]


@attrs.frozen
class HangUp:
    """Puts the phone down."""


Step = Speak | AwaitAgent | AwaitQuiet | Press | Wait | Do | HangUp
