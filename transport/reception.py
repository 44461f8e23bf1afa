"""The reception: what all of Twilio's webhooks have in common. Who may ask, for which call, and to whom its caller is sent."""

import functools
from collections.abc import Awaitable, Callable
from typing import TypeVar

import attrs
import structlog
from quart import Response, abort, request

from actors import story as stories
from actors.messages import Before, Disposition
from conf.flow import Flow
from conf.settings import Settings
from transport.house import House
from transport.keypad import Caller
from transport.metrics import Metrics
from transport.signature import SignatureCheck
from transport.store import StoreDown
from transport.stream_token import StreamTokens
from transport.twiml import REOPEN_AT_MOST, Documents, asks_within

log = structlog.get_logger("triode.web")

View = Callable[[], Awaitable[Response]]
T = TypeVar("T")

# ---------------------------------------------------------------- what is asked


def a_sid(sid: str, name: str) -> str:
    """A SID as Twilio writes them, in parameter `name`: 400 otherwise."""
    return sid if sid.isalnum() and sid.isascii() and len(sid) <= 64 else abort(400, f"{name} is missing")


async def call_sid() -> str:
    """The call that is asked for."""
    return a_sid((await request.form).get("CallSid", ""), "CallSid")


async def who() -> Caller:
    """Whose call it is."""
    form = await request.form
    return Caller(await call_sid(), form.get("From", "")[:64], form.get("To", "")[:64])


def counted(name: str, most: int) -> int:
    """A number in the address, which is ours: from 0 to `most`."""
    return min(max(request.args.get(name, 0, type=int), 0), most)


def twiml(document: str) -> Response:
    """A document as Twilio wants it."""
    return Response(document, 200, content_type="text/xml; charset=utf-8")


@attrs.frozen
class Reception:
    """Answers with documents. What it knows of a call it asks the house, which must be open."""

    settings: Settings
    flow: Flow
    documents: Documents
    tokens: StreamTokens
    signatures: SignatureCheck
    metrics: Metrics
    clock: Callable[[], float]
    houses: list[House]
    """The house, while it is open."""

    @property
    def house(self) -> House:
        """The house, which is open: routes are served while it is."""
        return self.houses[0]

    def signed(self, view: View) -> View:
        """Only Twilio may ask: 403 otherwise, before anything is done."""

        @functools.wraps(view)
        async def check() -> Response:
            path = request.scope.get("raw_path", b"").decode("latin-1") or request.path
            query = request.query_string.decode("latin-1")
            form = await request.form
            if not self.signatures.webhook(path, query, form, request.headers.get("X-Twilio-Signature")):
                self.metrics.refused.labels("signature").inc()
                log.warning("unsigned_request", path=path[:200])
                return Response("The request is not signed by Twilio.", 403, content_type="text/plain")
            with structlog.contextvars.bound_contextvars(call_sid=form.get("CallSid", "")):
                answer = await view()
                if answer.mimetype == "text/xml" and form.get("Direction") != "outbound-api":
                    seconds = asks_within(await answer.get_data(as_text=True))
                    self.house.switchboard.asks_again(form.get("CallSid", ""), seconds)
                return answer

        return check

    # ------------------------------------------------------------ to the agent

    def stream(self, caller: Caller, before: Before, outcome: str = "") -> Response:
        """The media stream, with what was before."""
        token = self.tokens.make(caller.sid, before=before, outcome=outcome, caller=caller.number, called=caller.called)
        return twiml(self.documents.stream(token))

    def turned_away(self, why: str) -> None:
        """There is no room for a call."""
        self.metrics.refused.labels(why).inc()
        log.warning("no_room", why=why, calls=self.house.switchboard.active)

    async def open_again(self, before: Before, outcome: str, otherwise: tuple[Disposition, str]) -> Response:
        """The stream once more, with what was before; `otherwise` if it was opened too often, or there is no room. Who was in
        the middle of a conversation may wait for a line then, to go on with it."""
        house, caller = self.house, await who()
        token = request.headers.get("I-Twilio-Idempotency-Token", "")[:64]
        times = await house.records.reopened(caller.sid, token)
        too_often = times is None or times > REOPEN_AT_MOST
        no_room = "" if too_often else house.switchboard.no_room(caller.sid, again=True)
        if no_room:
            self.turned_away(no_room)
            if before is Before.CUT_OFF and self.settings.call.queue_seconds:
                house.switchboard.wait(caller.sid, int(self.clock()))
                return twiml(await house.keypad.busy(caller))
        if too_often or no_room:
            decided, document = otherwise
            if times is not None:  # else the store is down, and the caller has waited for it long enough
                await house.records.keep_disposition(caller.sid, decided)
            return twiml(document)
        house.switchboard.expect(caller.sid)
        return self.stream(caller, before, outcome)

    # ------------------------------------------------------------ to a human

    async def summary(self, sid: str) -> str:
        """What is known of the caller's wish, in words; empty if nothing is."""
        plain = await self.house.records.story(sid)
        story = stories.from_plain(plain, self.flow) if plain else None
        return stories.summary(self.flow, story) if story else ""

    async def human(self, sid: str) -> Response:
        """A human is dialled, who hears what is known before they are joined."""
        return twiml(self.documents.human(sid if await self.summary(sid) else ""))

    async def human_first(self, caller: Caller) -> Response:
        """The human is asked first; if they cannot be, they are dialled as in a cold transfer."""
        number = await known(self.house.transfers.begin(caller.sid, caller.called, self.house.nursery), None)
        if number is not None:
            return twiml(self.documents.hold(caller.sid, number))
        return await self.human(caller.sid)


async def known(question: Awaitable[T], otherwise: T) -> T:
    """The answer to a question about a transfer; `otherwise` while the store is down."""
    try:
        return await question
    except StoreDown as error:
        log.error("store_failed", what="transfer", error=str(error)[:300])
        return otherwise
