"""Somebody's CRM: takes signed JSON, checks the signature, remembers what it got, and fails as it is told."""

import hashlib
import hmac
import json
import math
import re
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import attrs
import httpx2
import trio

from transport.loopback.http_server import HttpAnswer, InMemory, Mishaps, serve_http

_SIGNATURE = re.compile(r"t=(\d+),v1=([0-9a-f]{64})")


@attrs.frozen
class BackendFaults:
    """How the backend misbehaves; everything is off unless set."""

    statuses: tuple[int, ...] = ()
    """HTTP statuses of successive requests; 0 is taken."""
    slow: float = 0.0
    """Seconds before each answer; what was sent is remembered already."""
    lose_answers: int = 0
    """So many deliveries are remembered and never answered."""


@attrs.frozen
class Delivery:
    """A delivery that was taken."""

    id: str
    body: Any
    """The JSON, parsed."""
    at: float
    """Trio's time."""
    signed_at: int
    """Seconds since 1970, as the sender's clock has it."""
    path: str = ""


def signature(secret: str, at: int, body: bytes) -> str:
    """The value of `X-Triode-Signature` for a body signed `at` (seconds since 1970)."""
    digest = hmac.new(secret.encode(), str(at).encode() + b"." + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


class LoopbackBackend:
    """A backend with one secret. `tolerance` is how many seconds a signature's time may be off the clock `now`."""

    def __init__(
        self,
        secret: str,
        *,
        faults: BackendFaults | None = None,
        tolerance: float = math.inf,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._secret = secret
        self._tolerance, self._now = tolerance, now
        faults = faults or BackendFaults()
        self._mishaps = Mishaps(faults.statuses, faults.slow, faults.lose_answers)
        self.deliveries: list[Delivery] = []
        """In the order they came; one that came again is here again."""
        self.refused: list[tuple[int, str]] = []
        """The status of each request that was not taken, and why."""

    @property
    def ids_seen_twice(self) -> list[str]:
        """Ids of deliveries that came more than once, in the order they came first."""
        ids = [delivery.id for delivery in self.deliveries]
        return [one for one in dict.fromkeys(ids) if ids.count(one) > 1]

    async def handle(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> HttpAnswer:
        """The answer to a request: 200, 400, 401, 405 or a status of the faults. Does not return if it is lost."""
        answer = self._answer(method, url, {name.lower(): value for name, value in headers.items()}, body)
        await self._mishaps.before_the_answer(may_be_lost=answer.status == 200)
        return answer

    def transport(self) -> httpx2.AsyncBaseTransport:
        """For an httpx2.AsyncClient that is to talk to this backend without sockets, whatever host it names."""
        return InMemory(self.handle)

    async def serve(  # noqa: ASYNC128 - serve_http calls it
        self, port: int = 0, *, task_status: "trio.TaskStatus[int]" = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serves the backend on 127.0.0.1 until cancelled; reports the port."""
        await serve_http(self.handle, port, task_status=task_status)

    def _answer(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> HttpAnswer:
        status = self._mishaps.status()
        if status:
            return self._refuse(status, "told to")
        if method != "POST":
            return self._refuse(405, method)
        signed = _SIGNATURE.fullmatch(headers.get("x-triode-signature", ""))
        if signed is None:
            return self._refuse(401, "no signature")
        at = int(signed[1])
        if not hmac.compare_digest(signature(self._secret, at, body), signed[0]):
            return self._refuse(401, "wrong signature")
        if abs(self._now() - at) > self._tolerance:
            return self._refuse(401, "signed at another time")
        if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return self._refuse(400, "not said to be JSON")
        try:
            content = json.loads(body)
        except ValueError:
            return self._refuse(400, "no JSON")
        delivery_id = headers.get("x-triode-delivery", "")
        if not delivery_id:
            return self._refuse(400, "no delivery id")
        self.deliveries.append(Delivery(delivery_id, content, trio.current_time(), at, urlsplit(url).path))
        return HttpAnswer(200, "application/json", b'{"ok": true}')

    def _refuse(self, status: int, why: str) -> HttpAnswer:
        self.refused.append((status, why))
        return HttpAnswer(status, "application/json", json.dumps({"error": why}).encode())
