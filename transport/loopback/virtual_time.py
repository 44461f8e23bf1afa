"""Virtual time in which everything happens in the same order each time."""

import random
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import trio
import trio.testing

T = TypeVar("T")


def run_virtually(work: Callable[..., Awaitable[T]], *arguments: Any, seed: int) -> T:
    """Runs `work` on a clock that jumps over every wait. The order in which tasks run is a matter of the seed too."""
    runner: Any = trio._core._run  # type: ignore[attr-defined] # Trio's own means for exactly this, and its only ones
    runner._ALLOW_DETERMINISTIC_SCHEDULING = True
    runner._r.seed(seed)
    random.seed(seed)
    try:
        return trio.run(work, *arguments, clock=trio.testing.MockClock(autojump_threshold=0))
    finally:
        runner._ALLOW_DETERMINISTIC_SCHEDULING = False
