"""Twilio's request signatures, checked over the URL that Twilio was told.

The URL is built from the configured public address and the raw path and query as they arrived; forwarded headers are
trusted for nothing. Source: Twilio, "Security: validating signatures", and the quirks of its Python helper.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit, urlunsplit

from twilio.request_validator import RequestValidator, compare


class SignatureCheck:
    """Checks the signatures of one public address."""

    def __init__(self, public_url: str, auth_token: str) -> None:
        parts = urlsplit(public_url)
        self._scheme, self._netloc, self._prefix = parts.scheme, parts.netloc, parts.path.rstrip("/")
        self._validator = RequestValidator(auth_token)

    def webhook(self, raw_path: str, query: str, form: Mapping[str, object], signature: str | None) -> bool:
        """Whether a form POST (or a GET, with an empty form) to `raw_path?query` is signed by Twilio."""
        url = self._url(self._scheme, raw_path) + (f"?{query}" if query else "")
        return bool(signature) and bool(self._validator.validate(url, form, signature))

    def handshake(self, raw_path: str, signature: str | None) -> bool:
        """Whether a WebSocket upgrade is signed. The URL signed is the wss one of the TwiML, perhaps with a slash added.

        A query string is no part of it: Twilio drops it before dialling.
        """
        if not signature:
            return False
        url = self._url("wss" if self._scheme == "https" else "ws", raw_path)
        # The helper tries the default port of https for https only, and :80 for all else; so the forms are tried here.
        candidates = [url, url + "/", *self._with_default_port(url)]
        return any(compare(self._validator.compute_signature(u, {}), signature) for u in candidates)

    def _url(self, scheme: str, raw_path: str) -> str:
        path = raw_path if raw_path.startswith(self._prefix + "/") else self._prefix + raw_path
        return urlunsplit((scheme, self._netloc, path, "", ""))

    def _with_default_port(self, url: str) -> list[str]:
        parts = urlsplit(url)
        default = 443 if parts.scheme == "wss" else 80
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        if parts.port is None:
            return [urlunsplit(parts._replace(netloc=f"{host}:{default}"))]
        return [urlunsplit(parts._replace(netloc=str(host)))]
