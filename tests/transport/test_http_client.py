"""Our HTTP clients are made in no time: one may be made while calls are up."""

import ssl

import pytest

from transport import http_client
from transport.http_client import open_http


async def test_the_certificates_of_the_system_are_read_once_for_all_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_http(1):
        pass
    monkeypatch.setattr(ssl, "SSLContext", None)  # whoever reads them again would fail
    async with open_http(1, trust_env=False):
        pass
    assert http_client._trust().verify_mode is ssl.CERT_REQUIRED
