"""ModelLines: where a model may be had, and the connections to it: the one that is up, and one that is prepared beside it.

They know nothing of what is said. Who uses them says how a session is set up, and whether this is a quiet moment.
"""

import math
from collections import deque
from collections.abc import Callable, Sequence

import trio

from actors.messages import SessionConfig
from actors.model_line import ModelLine
from actors.ports import ModelGone, ModelPort

ROLL_OVER_EARLY, ROLL_OVER_AT_LAST = 0.05, 0.005
"""Shares of a session's time before its end: at the one another is prepared, and takes over in a quiet moment; at the other in
any moment. Of an hour they are three minutes, and 18 seconds."""
SPARE_BACK_OFF = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
"""Seconds before another try to prepare a session beside the one that is up, with jitter. Nobody waits for it."""


class ModelLines:
    """The lines of one call. `connect`, `answer`: see `ModelLine`. `standby`: whether a second session is always kept ready.

    `set_up` gives the configuration of a session that begins now, `jitter` a factor for the pause before a numbered try.
    `trouble` is told of what is odd but bearable; `changed` is called when something may be due sooner.
    """

    def __init__(
        self,
        model: ModelPort,
        connect: float,
        answer: float,
        *,
        standby: bool,
        set_up: Callable[[], SessionConfig],
        jitter: Callable[[int], float],
        trouble: Callable[[str], None],
        changed: Callable[[], None],
    ) -> None:
        self._model = model
        self._connect, self._answer, self._standby = connect, answer, standby
        self._set_up, self._jitter, self._trouble, self._changed = set_up, jitter, trouble, changed
        self._places: deque[int] = deque()
        """Where a model may be, the next one to be tried first."""
        self._wanted = ""
        """The model that is wanted now; empty: the usual one."""
        self.up: ModelLine | None = None
        """The session that is up."""
        self.renew = False
        """Whether another session is to take its place as soon as there is one: it may be deaf."""
        self._spare: ModelLine | None = None
        """One that is prepared beside it."""
        self._preparing = False
        self._refused: set[tuple[int, str]] = set()
        """Places and models that are refused there for good: no such session is prepared any more."""
        self._nursery: trio.Nursery | None = None

    # ------------------------------------------------------------ one after the other

    def begin(self, nursery: trio.Nursery) -> None:
        """The lines live in `nursery`, and take a moment to close at its end."""
        self._nursery = nursery
        self._places.extend(range(self._model.endpoints))

    @property
    def places(self) -> Sequence[int]:
        """Where a model may still be."""
        return self._places

    def following(self) -> ModelLine:
        """The line to be used next: the one that is prepared, or one that begins to open. Where the model that is wanted is
        refused for good the usual one speaks: better than none."""
        place = self._places[0]
        return self._take_spare() or self._open(place, self._best if place in self._open_to(self._best) else "")

    def over(self, line: ModelLine, gone: ModelGone) -> None:
        """A line is gone: another place is tried first, but after a planned end."""
        if line.place not in self._places:  # it has been refused for good meanwhile
            return
        self._places.remove(line.place)
        if line.planned_end:
            self._places.appendleft(line.place)
        elif not gone.fatal:
            self._places.append(line.place)
        elif line.name:  # the usual one may be had there; if that is refused, too, nothing works until an operator acts
            self._refused.add((line.place, line.name))
            self._places.append(line.place)

    def _open(self, place: int, name: str) -> ModelLine:
        """A connection begins to open."""
        assert self._nursery is not None
        config = self._set_up()
        line = ModelLine(self._model, place, name, config, self._connect, self._answer, self._trouble)
        self._nursery.start_soon(line.run)
        return line

    # ------------------------------------------------------------ one beside the other

    def want(self, name: str) -> None:
        """From a quiet moment on the model `name` is to speak; a session of it is prepared first."""
        self._wanted = name
        spare = self._spare
        if spare is not None and spare.name != name:
            self._spare = None
            spare.let_go()
        self._changed()

    @property
    def _best(self) -> str:
        """The model that is wanted, or the usual one, if that is refused everywhere for good."""
        return self._wanted if self._open_to(self._wanted) else ""

    @property
    def is_wanted(self) -> bool:
        """Whether the session that is up is of the model that is wanted."""
        return self.up is None or self.wants(self.up)

    def wants(self, line: ModelLine) -> bool:
        """Whether `line` is of the model that is wanted."""
        return line.name == self._best

    def prepare_due(self) -> float:
        """When another session is to be prepared: as a standby, because this one will be over or is deaf, or of another model."""
        if self.up is None or self._preparing or not self._open_to(self._best):
            return math.inf
        if self._standby or self.renew or not self.is_wanted:
            return -math.inf
        return self.up.before_end(ROLL_OVER_EARLY)

    def switch_due(self, quiet_from: float) -> float:
        """When the prepared session takes over: a session does not last for ever, is deaf, or of the wrong model. `quiet_from`:
        from when on nobody speaks or waits, infinity if that is not known."""
        up, spare = self.up, self._spare
        if up is None or spare is None or not spare.ready or spare.name != self._best:
            return math.inf
        early = up.before_end(ROLL_OVER_EARLY) if self.is_wanted and not self.renew else -math.inf
        return max(early, min(quiet_from, up.before_end(ROLL_OVER_AT_LAST)))

    def prepare(self) -> None:
        """Another session is prepared beside the one that is up."""
        assert self._nursery is not None
        self._preparing = True
        self._nursery.start_soon(self._prepare)

    async def _prepare(self) -> None:
        """Until it is taken. It is tried until there is one, or another model is wanted."""
        pauses, tried, name = iter(SPARE_BACK_OFF), 0, self._best
        while name == self._best and self._open_to(name):
            line = self._spare = self._open(self._beside(tried, name), name)
            await line.settled.wait()
            self._changed()
            await line.parted.wait()
            if self._spare is not line:  # taken, or of no use any more
                break
            self._spare = None
            if line.gone is not None:
                self._trouble(f"no session could be kept ready: {line.gone}")
                if line.gone.fatal and not line.name and len(self._places) > 1:
                    self._places.remove(line.place)
                elif line.gone.fatal:  # the one that is up may still last, and other models be had there
                    self._refused.add((line.place, line.name))
                tried += 1
                await trio.sleep(next(pauses, SPARE_BACK_OFF[-1]) * self._jitter(tried))
        self._preparing = False
        self._changed()

    def _beside(self, tried: int, name: str) -> int:
        """Where a session is prepared after so many tries: one that is kept ready elsewhere than the one that is up, others where
        that is; in the next try at another place, which may have what this one has not."""
        used = self._places[0] if self.up is None else self.up.place
        places = sorted(self._open_to(name), key=lambda place: (place == used) == self._standby)
        return places[tried % len(places)]

    def _open_to(self, name: str) -> list[int]:
        """Where the model `name` may still be."""
        return [place for place in self._places if (place, name) not in self._refused]

    def _take_spare(self) -> ModelLine | None:
        """What was prepared, if it is of use."""
        spare, self._spare = self._spare, None
        if spare is None or spare.over:
            return None
        if spare.name != self._best:
            spare.let_go()
            return None
        return spare
