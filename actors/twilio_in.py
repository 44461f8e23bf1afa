"""TwilioIn: reads the media stream, and waits for nobody else."""

import math
from collections.abc import Callable
from typing import Protocol

import trio

from actors.mailbox import Outbox
from actors.messages import CallerAudio, CallerSilence, HungUp, KeyPressed, MarkEchoed
from actors.notebook import Notebook
from actors.ports import CarrierGone, CarrierPort

GAP_SECONDS = 1.0
"""After this long without audio silence is put in its place, so that the model's turn clock keeps running."""
KEYS_A_SECOND = 25
"""Keys of one second that are handed on: no finger is faster."""
FILL_SECONDS = 0.1
FILL_AT_MOST = 10.0
"""A turn that was being spoken is long over by then; what comes later is the connection's affair."""


class AudioLane(Protocol):
    """Where the caller's voice goes."""

    def post(self, item: CallerAudio | CallerSilence, *, more: bool = False) -> None:
        """Takes `item`. `more`: the next one follows at once, and they may go on in one piece."""
        ...


class TwilioIn:
    """Hands on what the carrier sends: audio to the model's link, keys to the flow, mark echoes to the Framer.

    Mailboxes out: `audio`, `keys`, `marks`; it only ever posts, so a slow reader elsewhere never slows the socket.
    Ended by the stream's end or by `carrier_gone`; either way the flow is told `HungUp`, once.
    """

    def __init__(self, carrier: CarrierPort, notebook: Notebook) -> None:
        self._carrier = carrier
        self._notebook = notebook
        self._scope = trio.CancelScope()
        self._gone = HungUp("the media stream was lost", lost=True)
        self.ended = trio.Event()
        self._second = float("-inf")
        self._keys = 0

    def carrier_gone(self, reason: str, *, lost: bool = True) -> None:
        """The stream is over and `receive` would wait for ever: hang up. May be called at any time, and twice."""
        self._gone = HungUp(reason, lost)
        self._scope.cancel(reason)

    async def run(
        self,
        audio: AudioLane,
        keys: Outbox[KeyPressed | HungUp],
        marks: Outbox[MarkEchoed],
        *overhear: Callable[[CallerAudio], None],
    ) -> None:
        """Until the stream ends. `overhear`: called with each frame, and quick."""
        over = HungUp("the caller hung up")
        with self._scope:
            try:
                await self._read(audio, keys, marks, overhear)
            except CarrierGone as gone:
                over = HungUp(f"the media stream was lost: {gone}", lost=True)
        if self._scope.cancelled_caught:
            over = self._gone
        self.ended.set()
        keys.post(over)

    def _is_a_finger(self) -> bool:
        """Whether keys still come at a speed that a person can press them."""
        now = trio.current_time()
        if now - self._second >= 1.0:
            self._second, self._keys = now, 0
        self._keys += 1
        if self._keys == KEYS_A_SECOND + 1:
            self._notebook.trouble("keys", f"more than {KEYS_A_SECOND} a second: the rest is dropped")
        return self._keys <= KEYS_A_SECOND

    async def _read(
        self,
        audio: AudioLane,
        keys: Outbox[KeyPressed | HungUp],
        marks: Outbox[MarkEchoed],
        overhear: tuple[Callable[[CallerAudio], None], ...],
    ) -> None:
        record = self._notebook.record
        last, filled = trio.current_time(), 0  # when audio last came, and ms of silence put in its place since
        due = last + GAP_SECONDS
        while True:
            # The deadline is not moved with every frame: that would cost more than looking again once a second.
            with trio.move_on_at(due):
                while True:
                    event = await self._carrier.receive()
                    if isinstance(event, CallerAudio):
                        last, filled = trio.current_time(), 0
                        record.frames_in += 1
                        for listener in overhear:
                            listener(event)
                        audio.post(event, more=self._carrier.more)
                        if due == math.inf:
                            break
                    elif isinstance(event, MarkEchoed):
                        marks.post(event)
                    elif isinstance(event, KeyPressed):
                        if self._is_a_finger():
                            self._notebook.key(event.digit)
                            keys.post(event)
                    else:
                        return
            now = trio.current_time()
            if now < last + GAP_SECONDS:
                due = last + GAP_SECONDS
            elif filled < FILL_AT_MOST * 1000:
                missing = round((FILL_SECONDS if filled else GAP_SECONDS) * 1000)
                audio.post(CallerSilence(missing))
                record.silence_in_ms += missing
                filled += missing
                due = now + FILL_SECONDS
            else:
                due = math.inf
