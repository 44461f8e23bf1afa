"""Stream tokens: what proves that a media stream belongs to a call which this service answered.

A token is short-lived, bound to one CallSid, and good for one stream. Any worker can check it (it is signed with a key
made from the auth token); that it is used once only, the store remembers.
"""

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable

import attrs

from actors.messages import Before


class BadToken(Exception):
    """The token is missing, forged, of another call, or too old."""


@attrs.frozen
class Token:
    """What a good token says. `nonce` makes it unique until `expires` (unix seconds).

    `before`: what was before the stream, and `outcome` of a transfer that came to nothing. `caller` and `called` are E.164,
    or empty.
    """

    nonce: str
    expires: int
    before: Before = Before.NOTHING
    outcome: str = ""
    caller: str = ""
    called: str = ""


_BEFORE = {"n": Before.NOTHING, "r": Before.CUT_OFF, "b": Before.CALLED_BACK, "t": Before.NOT_TAKEN}
_LETTERS = {before: letter for letter, before in _BEFORE.items()}
OUTCOMES = ("", "busy", "no-answer", "failed", "refused")


class StreamTokens:
    """Makes and checks tokens that live for `seconds`. `wall_clock` is unix time: workers must agree on it."""

    def __init__(self, auth_token: str, seconds: float, wall_clock: Callable[[], float] = time.time) -> None:
        self._key = hmac.digest(auth_token.encode(), b"triode stream token", hashlib.sha256)
        self._seconds = seconds
        self._wall_clock = wall_clock

    def make(
        self,
        call_sid: str,
        *,
        before: Before = Before.NOTHING,
        outcome: str = "",
        caller: str = "",
        called: str = "",
    ) -> str:
        """A token for one stream of call `call_sid`; under 150 characters. Numbers that are no E.164 are left out."""
        known = OUTCOMES.index(outcome) if outcome in OUTCOMES else OUTCOMES.index("failed")
        parts = (
            str(int(self._wall_clock() + self._seconds)),
            secrets.token_hex(8),
            f"{_LETTERS[before]}{known}",
            _digits(caller),
            _digits(called),
        )
        body = ".".join(parts)
        return f"{body}.{self._sign(call_sid, body)}"

    def check(self, token: str, call_sid: str) -> Token:
        """What `token` says, if it is good for `call_sid` now. Raises BadToken. Does not know whether it was used."""
        body, _, signature = token.rpartition(".")
        parts = body.split(".")
        if len(parts) != 5 or not hmac.compare_digest(_bytes(self._sign(call_sid, body)), _bytes(signature)):
            raise BadToken("missing, forged, or of another call")
        expires, nonce, kind, caller, called = parts
        if int(expires) < self._wall_clock():
            raise BadToken("too old")
        numbers = [f"+{digits}" if digits else "" for digits in (caller, called)]
        return Token(nonce, int(expires), _BEFORE[kind[0]], OUTCOMES[int(kind[1:])], *numbers)

    def _sign(self, call_sid: str, body: str) -> str:
        digest = hmac.digest(self._key, _bytes(f"{call_sid}\n{body}"), hashlib.sha256)
        return base64.urlsafe_b64encode(digest[:24]).decode()


def _bytes(text: str) -> bytes:
    """Of any text, half a character from JSON's escapes included."""
    return text.encode("utf-8", "surrogatepass")


def _digits(number: str) -> str:
    """The digits of an E.164 number; empty for anything else, such as `anonymous` or `client:bob`."""
    digits = number.removeprefix("+")
    return digits if number.startswith("+") and digits.isascii() and digits.isdigit() and len(digits) <= 15 else ""
