"""Twilio's REST API on Trio: the `twilio` package with an HTTP client of ours, since its own async one needs asyncio.

What went wrong is told in three kinds, because what may be done next differs: Refused (Twilio said no), Unreached (nothing was
sent: trying again is safe), Unsure (it may have been carried out: never repeated blindly, since there is no idempotency key).
"""

import contextlib
import datetime
import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx2
from twilio.base.exceptions import TwilioException, TwilioRestException
from twilio.http import HttpClient
from twilio.http.response import Response
from twilio.rest import Client

from transport.http_client import open_http

CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 8.0
"""Twilio answers in tenths of a second; after this long it is not known what it did."""
LOOK_BACK = datetime.timedelta(minutes=5)
"""How far back a message is looked for whose answer was lost."""
TOO_MANY = 429
NOT_FOUND = 404

T = TypeVar("T")


class Refused(Exception):
    """Twilio did not do it, and said why."""

    def __init__(self, code: int, status: int, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        self.status = status
        self.text = text


class Unreached(Exception):
    """The request did not get there."""


class Unsure(Exception):
    """The request got there, or may have; what became of it is not known."""


class _TrioClient(HttpClient):
    """The `twilio` package's way to the network. `root`: where its requests really go."""

    def __init__(self, client: httpx2.AsyncClient, root: str) -> None:
        super().__init__(logging.getLogger("twilio.http_client"), is_async=True)
        self._client = client
        self._root = urlsplit(root)

    async def request(  # type: ignore[override] # its base class declares the synchronous form of the same method
        self,
        method: str,
        uri: str,
        params: Any = None,
        data: Any = None,
        headers: Any = None,
        auth: tuple[str, str] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the package's signature; the client's own limits hold
        allow_redirects: bool = False,
    ) -> Response:
        url = urlsplit(uri)._replace(scheme=self._root.scheme, netloc=self._root.netloc)
        target = url._replace(path=self._root.path.rstrip("/") + url.path).geturl()
        answer = await self._client.request(method, target, params=params, data=data, headers=headers, auth=auth)
        return Response(answer.status_code, answer.text, dict(answer.headers))


class TwilioRest:
    """What the service asks of it. `clock`: unix time, for what was made not long ago."""

    def __init__(self, client: Client, clock: Callable[[], float]) -> None:
        self._client = client
        self._clock = clock

    def _now(self) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(self._clock(), datetime.UTC)

    async def send_message(self, to: str, sender: str, text: str, callback: str) -> str:
        """Queues a text message; its SID. `sender`: a number, or a messaging service (MG…)."""
        by = {"messaging_service_sid": sender} if sender.startswith("MG") else {"from_": sender}
        message = await _asked(self._client.messages.create_async(to=to, body=text, status_callback=callback, **by))
        return _sid(message.sid)

    async def find_messages(self, to: str, text: str, seconds: float) -> list[str]:
        """The SIDs of messages with this text that were made in the last `seconds`, the newest first."""
        now = self._now()
        found = await _asked(self._client.messages.list_async(to=to, date_sent_after=now - LOOK_BACK, limit=20))
        since = now - datetime.timedelta(seconds=seconds)
        return [str(m.sid) for m in found if m.body == text and (m.date_created is None or m.date_created >= since)]

    async def find_calls(self, to: str, sender: str, seconds: float) -> list[tuple[str, str]]:
        """SID and state of calls from `sender` to `to` that were made in the last `seconds`, the newest first."""
        since = self._now() - datetime.timedelta(seconds=seconds)
        found = await _asked(self._client.calls.list_async(to=to, from_=sender, limit=20))
        return [
            (str(call.sid), str(getattr(call.status, "value", call.status)))
            for call in found
            if call.date_created is None or call.date_created >= since
        ]

    async def ring(self, to: str, sender: str, url: str, callback: str, seconds: int, fallback: str = "") -> str:
        """Calls `to` for at most `seconds`; who answers hears the document at `url`, or at `fallback` when one cannot be had. The
        SID of the call."""
        more = {"fallback_url": fallback} if fallback else {}
        call = await _asked(
            self._client.calls.create_async(
                to=to,
                from_=sender,
                url=url,
                timeout=seconds,
                status_callback=callback,
                status_callback_event=["completed"],
                **more,
            )
        )
        return _sid(call.sid)

    async def redirect(self, call_sid: str, url: str) -> None:
        """The call goes on with the document at `url`, at once. Asking twice does no harm."""
        await _asked(self._client.calls(call_sid).update_async(url=url, method="POST"))

    async def call_status(self, call_sid: str) -> str:
        """The state that Twilio has of the call; empty if it does not know it."""
        try:
            call = await _asked(self._client.calls(call_sid).fetch_async())
        except Refused as refused:
            if refused.status == NOT_FOUND:
                return ""
            raise
        return str(getattr(call.status, "value", call.status))

    async def hang_up(self, call_sid: str) -> None:
        """Ends the call. Asking twice does no harm."""
        await _asked(self._client.calls(call_sid).update_async(status="completed"))


def _sid(value: object) -> str:
    """What was made. Raises Unsure if the answer does not say so."""
    if not isinstance(value, str) or not value:
        raise Unsure("the answer names nothing that was made")
    return value


async def _asked(request: Any) -> Any:
    """The answer to `request`. Raises Refused, Unreached or Unsure."""
    try:
        return await request
    except TwilioRestException as error:
        if error.status >= 500:
            raise Unsure(f"HTTP {error.status}") from None
        raise Refused(error.code or 0, error.status, str(error.msg)[:200]) from None
    except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.InvalidURL) as error:
        raise Unreached(f"{type(error).__name__}: {error}") from None
    except (httpx2.HTTPError, TwilioException, ValueError, KeyError, TypeError, AttributeError) as error:
        # The last four are how the package meets an answer that is not Twilio's.
        raise Unsure(f"{type(error).__name__}: {error}") from None


@contextlib.asynccontextmanager
async def open_rest(
    account_sid: str,
    auth_token: str,
    api_url: str,
    transport: httpx2.AsyncBaseTransport | None = None,
    clock: Callable[[], float] = time.time,
) -> AsyncIterator[TwilioRest]:
    """The API at `api_url`; `transport` takes the place of the network."""
    limits = httpx2.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS)
    async with open_http(limits, transport) as client:
        twilio = Client(account_sid, auth_token, http_client=_TrioClient(client, api_url))
        # The package loads a hundred modules when these are first asked for: not while calls are up.
        _ = twilio.calls, twilio.messages
        yield TwilioRest(twilio, clock)
