"""The carrier at work with its API, for tests: in memory, and for the twilio package's own client."""

import base64
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import urlencode

import attrs
import httpx2
import trio
from twilio.http import HttpClient
from twilio.http.response import Response
from twilio.rest import Client

from tests.transport.loopback.carrier_kit import ACCOUNT, PUBLIC, TOKEN, Server
from transport.loopback.carrier import LoopbackCarrier
from transport.loopback.human import Human
from transport.loopback.rest import LoopbackRest, RestFaults

ROOT = f"https://api.twilio.com/2010-04-01/Accounts/{ACCOUNT}"
OURS = "+14155550100"
CALLER = "+14155550123"
ANN = "+15551110001"


@attrs.frozen
class World:
    """A server, the carrier, its API and a client of that."""

    server: Server
    carrier: LoopbackCarrier
    rest: LoopbackRest
    http: httpx2.AsyncClient

    async def post(self, path: str, **form: Any) -> httpx2.Response:
        return await self.http.post(f"{ROOT}/{path}.json", data=form)

    async def get(self, path: str, **query: Any) -> httpx2.Response:
        return await self.http.get(f"{ROOT}/{path}.json", params=query)

    async def text(self, **form: Any) -> httpx2.Response:
        return await self.post("Messages", **{"To": ANN, "From": OURS, "Body": "Hi", **form})

    async def call(self, **form: Any) -> str:
        """Calls Ann; the SID."""
        answer = await self.post("Calls", **{"To": ANN, "From": OURS, "Url": f"{PUBLIC}/brief", **form})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["sid"])


@contextlib.asynccontextmanager
async def world(
    server: Server | None = None,
    faults: RestFaults | None = None,
    humans: Mapping[str, Human] | None = None,
    *,
    seconds: float = 5,
    **how: Any,
) -> AsyncIterator[World]:
    """All of it; `seconds` is how long the client waits for an answer."""
    server = server or Server()
    carrier = LoopbackCarrier(
        server, public_url=PUBLIC, account_sid=ACCOUNT, auth_token=TOKEN, humans=humans, dial=how.pop("dial", None)
    )
    rest = LoopbackRest(carrier, faults=faults, **how)
    async with trio.open_nursery() as nursery:
        await nursery.start(carrier.run)
        auth = httpx2.BasicAuth(ACCOUNT, TOKEN)
        async with httpx2.AsyncClient(transport=rest.transport(), auth=auth, timeout=seconds) as http:
            yield World(server, carrier, rest, http)
        nursery.cancel_scope.cancel("the test is over")


class _Wire(HttpClient):
    """Takes the package's requests, made in a thread, to the API in Trio's."""

    def __init__(self, rest: LoopbackRest) -> None:
        super().__init__(logging.getLogger("tests.twilio"), False)
        self._rest = rest

    def request(
        self,
        method: str,
        uri: str,
        params: dict[str, object] | None = None,
        data: dict[str, object] | None = None,
        headers: dict[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        timeout: float | None = None,
        allow_redirects: bool = False,
    ) -> Response:
        sent = dict(headers or {})
        if auth is not None:
            sent["Authorization"] = "Basic " + base64.b64encode(":".join(auth).encode()).decode()
        url = uri + (f"?{urlencode(params, doseq=True)}" if params else "")
        body = urlencode(data or {}, doseq=True).encode()
        answer = trio.from_thread.run(self._rest.handle, method, url, sent, body)
        return Response(answer.status, answer.body.decode(), {"Content-Type": answer.content_type})


def twilios(rest: LoopbackRest, user: str = ACCOUNT, password: str = TOKEN) -> Client:
    """The twilio package's client, to be used in a thread."""
    return Client(user, password, account_sid=ACCOUNT, http_client=_Wire(rest))
