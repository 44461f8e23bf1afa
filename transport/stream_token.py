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


class BadToken(Exception):
    """The token is missing, forged, of another call, or too old."""


@attrs.frozen
class Token:
    """What a good token says. `nonce` makes it unique until `expires` (unix seconds)."""

    nonce: str
    expires: int
    resumed: bool


class StreamTokens:
    """Makes and checks tokens that live for `seconds`. `wall_clock` is unix time: workers must agree on it."""

    def __init__(self, auth_token: str, seconds: float, wall_clock: Callable[[], float] = time.time) -> None:
        self._key = hmac.digest(auth_token.encode(), b"triode stream token", hashlib.sha256)
        self._seconds = seconds
        self._wall_clock = wall_clock

    def make(self, call_sid: str, *, resumed: bool = False) -> str:
        """A token for one stream of call `call_sid`; under 100 characters."""
        body = f"{int(self._wall_clock() + self._seconds)}.{secrets.token_hex(8)}.{'r' if resumed else 'n'}"
        return f"{body}.{self._sign(call_sid, body)}"

    def check(self, token: str, call_sid: str) -> Token:
        """What `token` says, if it is good for `call_sid` now. Raises BadToken. Does not know whether it was used."""
        body, _, signature = token.rpartition(".")
        parts = body.split(".")
        if len(parts) != 3 or not hmac.compare_digest(self._sign(call_sid, body).encode(), signature.encode()):
            raise BadToken("missing, forged, or of another call")
        if int(parts[0]) < self._wall_clock():
            raise BadToken("too old")
        return Token(parts[1], int(parts[0]), parts[2] == "r")

    def _sign(self, call_sid: str, body: str) -> str:
        digest = hmac.digest(self._key, f"{call_sid}\n{body}".encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(digest[:24]).decode()
