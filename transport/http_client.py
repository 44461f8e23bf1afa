"""Our HTTP clients: Twilio's API, the operator's backend, and what the loopback carrier posts with."""

import functools
import ssl

import httpx2


@functools.cache
def _trust() -> ssl.SSLContext:
    """The system's certificates, read once: reading them takes longer than a frame of audio."""
    return httpx2.create_ssl_context()


def open_http(
    timeout: httpx2.Timeout | float, transport: httpx2.AsyncBaseTransport | None = None, *, trust_env: bool = True
) -> httpx2.AsyncClient:
    """A client, to be entered. `timeout`: seconds; `transport` takes the place of the network; `trust_env`: whether it asks the
    environment for proxies."""
    return httpx2.AsyncClient(timeout=timeout, transport=transport, verify=_trust(), trust_env=trust_env)
