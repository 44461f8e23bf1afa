"""The courier: every finished call goes to the operator's backend as signed JSON, and is not forgotten until it is there.

A delivery is promised to the store when a call is answered, due at the latest when the longest call must be over, and hastened
when the call ends. So whatever dies in between, it is delivered once somebody runs again. The backend may see a delivery twice
(its answer can be lost); `X-Triode-Delivery` tells it so.
"""

import contextlib
import datetime
import difflib
import email.utils
import hashlib
import hmac
import json
import math
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import attrs
import httpx2
import structlog
import trio

from transport.metrics import Metrics
from transport.store import FINAL, OPEN, Delivery, Store, StoreDown
from transport.twilio_rest import Refused, Unreached, Unsure

SECONDS = 10.0
"""For one try."""
ANSWER_AT_MOST = 64 * 1024
"""Bytes of an answer that are read."""
LEASE = 60.0
"""Seconds that a delivery belongs to who took it; a courier that dies gives it back so."""
AT_ONCE = 4
SWEEP = 30.0
"""Seconds after which it is looked for what others left."""
RECONCILE = 600.0
"""Seconds after which the carrier is asked again for calls whose end nobody heard of."""
PAUSE = 5.0
"""Seconds while the store is down."""
FIRST_RETRY, LAST_RETRY = 2.0, 3600.0
TRIES_AT_MOST = 22
"""About eleven hours; then it is a dead letter, kept, listed and revived by hand. A backend that does not let us in, or is not
where it was (401, 403, 404 and so on), has that long to be put right: no call is lost by a bad night there."""
REFUSED_TRIES_AT_MOST = 12
"""About an hour, for a call that is not what the backend expects: it is the same in every try."""
REFUSED = frozenset({400, 413, 414, 415, 422})
"""What a backend answers that does not want this call."""
GONE = 410
"""What a backend answers that wants no more of them: each is a dead letter at once."""
WAITS = frozenset({429, 503})
"""Answers with which a backend may say when it wants to be asked again (`Retry-After`)."""
SETTLE = 2.0
"""Seconds that a call which is over waits for its last callbacks."""
ERRAND_SECONDS = 60.0
"""Seconds after which nobody works on an errand any more: what came of it is not known then."""
LOOK_AGAIN = 3.0
"""Seconds until it is looked again whether a call's last errands have come out."""

log = structlog.get_logger("triode.courier")


@attrs.frozen
class Answer:
    """What came of a try. `error`: what went wrong, empty if nothing did; `tries`: after how many of them it is given up;
    `wait`: for how many seconds the backend wants to be left alone."""

    error: str = ""
    tries: int = TRIES_AT_MOST
    wait: float = 0.0


class Courier:
    """Delivers what is due, until cancelled."""

    def __init__(
        self,
        store: Store,
        client: httpx2.AsyncClient,
        url: str,
        secret: str,
        metrics: Metrics,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._client = client
        self._url = url
        self._secret = secret
        self._metrics = metrics
        self._clock = clock
        self._news = trio.Event()
        self._unwritten: dict[str, Delivery] = {}
        """Delivered, while the store was down: written down first of all when it is back, before a lease runs out."""
        self._left_alone = -math.inf
        """Until when the backend wants to hear of no call (Trio's clock)."""

    def hurry(self) -> None:
        """Something has become due earlier."""
        self._news.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._news = trio.Event()
            try:
                await self._round()
                soonest = await self._store.next_delivery()
                wait = SWEEP if soonest is None else min(SWEEP, max(0.05, soonest - self._clock()))
                wait = max(wait, self._left_alone - trio.current_time())
            except StoreDown as error:
                self._metrics.store_failures.labels("delivery").inc()
                log.error("store_failed", what="delivery", error=str(error)[:300])
                wait = PAUSE
            with trio.move_on_after(wait):
                await self._news.wait()

    async def reconcile(
        self, status_of: Callable[[str], Awaitable[str]], found_over: Callable[[str, str], Awaitable[None]]
    ) -> None:
        """Looks for calls that ended while nobody listened, now and ever again, until cancelled.

        `status_of` asks the carrier for the state of a call (empty: not known there any more); it may raise Refused,
        Unreached or Unsure, and then the delivery waits for its time. `found_over` is told of a call and its state.
        """
        while True:
            try:
                later = self._clock() + LEASE
                promised = [
                    each for each in await self._store.deliveries("open") if each.due > later and not each.tries
                ]
                for delivery in promised:
                    state = await self._asked(delivery.call_sid, status_of)
                    if state in {"", *FINAL}:  # nobody called back to say so
                        await found_over(delivery.call_sid, state or "")
                        await self._store.hasten_delivery(delivery.call_sid, self._clock())
                        self.hurry()
            except StoreDown as error:
                self._metrics.store_failures.labels("delivery").inc()
                log.error("store_failed", what="delivery", error=str(error)[:300])
            await trio.sleep(RECONCILE)

    async def _asked(self, call_sid: str, status_of: Callable[[str], Awaitable[str]]) -> str | None:
        """What the carrier says of a call; None if it does not."""
        try:
            return await status_of(call_sid)
        except (Refused, Unreached, Unsure) as error:
            log.warning("call_not_asked_for", call_sid=call_sid, error=str(error))
            return None

    async def _round(self) -> None:
        """Delivers all that is due now. Raises StoreDown."""
        for delivery in list(self._unwritten.values()):
            await self._settle(delivery, "delivered", 0.0, "")
        while trio.current_time() >= self._left_alone and (
            due := await self._store.take_deliveries(self._clock(), LEASE, AT_ONCE)
        ):
            async with trio.open_nursery() as nursery:
                for delivery in due:
                    nursery.start_soon(self._try, delivery)

    async def _try(self, delivery: Delivery) -> None:
        try:
            call = await self._store.call(delivery.call_sid)
            if call is not None and _under_way(call, self._clock()):
                later, tries = self._clock() + LOOK_AGAIN, delivery.tries - 1  # that was none
                await self._store.settle_delivery(delivery.call_sid, "open", later, "", self._clock(), tries)
                return
            answer = Answer("nothing is known of this call") if call is None else await self._told(delivery, call)
            self._left_alone = max(self._left_alone, trio.current_time() + answer.wait)
            if not answer.error:
                self._unwritten[delivery.call_sid] = delivery
                await self._settle(delivery, "delivered", 0.0, "")
            elif delivery.tries >= answer.tries:
                await self._settle(delivery, "dead", 0.0, answer.error)
            else:
                pause = max(answer.wait, back_off(delivery.tries, random.random()))
                await self._settle(delivery, "open", self._clock() + pause, answer.error)
        except StoreDown as down:
            # If it was not delivered it is tried again when the lease runs out; if this process dies before it can say that it
            # was, somebody else tries again, and the backend knows it by its id.
            self._metrics.store_failures.labels("delivery").inc()
            log.error("store_failed", what="delivery", error=str(down)[:300])

    async def _told(self, delivery: Delivery, call: Mapping[str, Any]) -> Answer:
        """What came of it. A call that cannot be put into words is as one that was not taken: it must not
        end the process, and the next one that starts, with all the calls that are up."""
        try:
            return await self._post(delivery, payload(call))
        except Exception as bug:
            log.exception("delivery_bug", call_sid=delivery.call_sid)
            return Answer(type(bug).__name__)

    async def _settle(self, delivery: Delivery, state: str, due: float, error: str) -> None:
        await self._store.settle_delivery(delivery.call_sid, state, due, error, self._clock())
        self._unwritten.pop(delivery.call_sid, None)
        self._metrics.deliveries.labels("failed" if state == "open" else state).inc()
        level = log.info if state == "delivered" else log.warning
        level("delivery", call_sid=delivery.call_sid, state=state, tries=delivery.tries, error=error)

    async def _post(self, delivery: Delivery, content: Mapping[str, Any]) -> Answer:
        body = json.dumps(content, default=_plain).encode()
        at = int(self._clock())
        headers = {
            "Content-Type": "application/json",
            "X-Triode-Delivery": delivery.call_sid,
            "X-Triode-Signature": signature(self._secret, at, body),
        }
        try:
            with trio.fail_after(SECONDS):
                async with self._client.stream("POST", self._url, content=body, headers=headers) as answer:
                    await _leave_read(answer)
        except (httpx2.HTTPError, httpx2.InvalidURL, trio.TooSlowError) as error:
            return Answer(f"{type(error).__name__}: {error}")
        return Answer() if answer.is_success else _refusal(answer.status_code, answer.headers, self._clock())


def _refusal(status: int, headers: Mapping[str, str], now: float) -> Answer:
    """What is to be done about a backend that did not take a call."""
    tries = 0 if status == GONE else REFUSED_TRIES_AT_MOST if status in REFUSED else TRIES_AT_MOST
    wait = seconds_named(headers.get("retry-after", ""), now) if status in WAITS else 0.0
    return Answer(f"HTTP {status}", tries, wait)


def seconds_named(retry_after: str, now: float) -> float:
    """The seconds that `Retry-After` names, as such or as a date; an hour at most, and none if it makes no sense."""
    try:
        number = retry_after.strip().isdecimal()
        seconds = float(retry_after) if number else email.utils.parsedate_to_datetime(retry_after).timestamp() - now
    except (ValueError, OverflowError):
        return 0.0
    return min(LAST_RETRY, max(0.0, seconds))


async def _leave_read(answer: httpx2.Response) -> None:
    """Its words are of no interest, but a connection from which all was read serves again; one that sends on and on does not."""
    read = 0
    async with contextlib.aclosing(answer.aiter_bytes()) as pieces:
        async for piece in pieces:
            read += len(piece)
            if read > ANSWER_AT_MOST:
                return


def signature(secret: str, at: int, body: bytes) -> str:
    """`t=<unix seconds>,v1=<hex HMAC-SHA256 of "<t>.<body>">`: who checks it refuses old ones too."""
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


def back_off(tries: int, chance: float) -> float:
    """Seconds until the next try: doubling, with a quarter of jitter by `chance` (0 to 1)."""
    return min(LAST_RETRY, FIRST_RETRY * 2 ** (tries - 1)) * (0.75 + 0.5 * chance)


def payload(call: Mapping[str, Any]) -> dict[str, Any]:
    """What the backend gets of a call."""
    story = call.get("story") or {}
    dialogue = story.get("dialogue") or {}
    slots = dialogue.get("slots") or {}
    facts = ("call_sid", "stream_sid", "caller", "called", "answered", "began", "ended", "seconds", "disposition")
    return {
        "type": "call",
        "id": call["call_sid"],
        "call": {name: call.get(name) for name in (*facts, "reason", "status", "streams", "tokens")},
        "flow": story.get("flow", ""),
        "state": dialogue.get("at", ""),
        "intent": dialogue.get("wish", ""),
        "slots": {
            name: {"value": held.get("text", ""), "status": held.get("status", "missing")}
            for name, held in slots.items()
        },
        "transcript": _transcript(call.get("turns") or [], story.get("said") or []),
        "errands": [
            {"name": each["name"], "status": "unknown" if each["status"] in OPEN else each["status"], **each["detail"]}
            for each in call.get("errands") or []
        ],
        "recordings": [
            {"sid": each["recording_sid"], "url": each["url"], "seconds": each["seconds"]}
            for each in call.get("recordings") or []
        ],
    }


def _under_way(call: Mapping[str, Any], now: float) -> bool:
    """Whether something that was promised in the call is still being done."""
    return any(each["status"] in OPEN and now - each["begun"] < ERRAND_SECONDS for each in call.get("errands") or [])


def _transcript(turns: Sequence[Mapping[str, Any]], said: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The turns of all streams, in order. Of a stream whose process died there is no record, only what the story kept:
    where the two differ, what is in either was said. A turn that only its words differ of is one; the record knows better.
    """
    kept = [
        {
            "who": turn["who"],
            "at": turn["began"],
            "text": turn["text"],
            "heard": turn["heard_text"],
            "interrupted": turn["interrupted"],
        }
        for turn in turns
    ]
    told = [
        {"who": each["who"], "at": None, "text": each["words"], "heard": each["words"], "interrupted": False}
        for each in said
    ]

    def spoken(entries: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
        return [(entry["who"], entry["heard"]) for entry in entries]

    merged: list[dict[str, Any]] = []
    matcher = difflib.SequenceMatcher(None, spoken(told), spoken(kept), autojunk=False)
    for what, t0, t1, k0, k1 in matcher.get_opcodes():
        the_same = what == "equal" or [each["who"] for each in told[t0:t1]] == [each["who"] for each in kept[k0:k1]]
        merged += kept[k0:k1] if the_same else [*told[t0:t1], *kept[k0:k1]]
    return merged


def _plain(value: object) -> str:
    if not isinstance(value, datetime.datetime):
        return str(value)
    utc = value.replace(tzinfo=datetime.UTC) if value.tzinfo is None else value  # the store's times are UTC
    return utc.isoformat()
