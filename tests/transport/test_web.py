"""The web application as operators see it."""

import itertools

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families
from trio.testing import MockClock

from tests.transport import wire_kit
from tests.transport.web_kit import POSTS, ask, metric, send
from tests.transport.wire_kit import House, house_in_memory, settings_for
from transport.twiml import WHY
from transport.web import create_app


@pytest.fixture
async def house(monkeypatch: pytest.MonkeyPatch):
    async with house_in_memory(monkeypatch) as house:
        yield house


# ---------------------------------------------------------------- operators


async def test_a_draining_server_is_alive_and_not_ready(monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock):
    begins = trio.Event()
    async with house_in_memory(monkeypatch, drain_begins=begins.wait) as house:
        begins.set()
        await trio.sleep(1)
        assert [(await send(house.app, "GET", path)).status for path in ("/healthz", "/readyz")] == [200, 503]
        assert (await ask(house.app, "/twilio/voice")).said.startswith(WHY["busy"])
        assert (await ask(house.app, "/twilio/after")).said.startswith(WHY["busy"])


async def test_a_server_that_has_not_begun_is_neither_alive_nor_ready():
    app = create_app(settings_for(), connect_model=wire_kit.FakeModel())
    assert [(await send(app, "GET", path)).status for path in ("/healthz", "/readyz")] == [503, 503]


async def test_the_metrics_are_prometheus_text_and_count_a_call(house: House, autojump_clock: MockClock):
    phone = await house.call()
    await phone.media()
    await phone.hear()
    assert await metric(house.app, "triode_calls_active") == 1
    assert (await send(house.app, "GET", "/readyz")).status == 200
    await phone.stop()
    await phone.closing()
    await trio.sleep(5)
    assert await metric(house.app, "triode_calls_active") == 0
    assert await metric(house.app, "triode_calls_total") == 1
    assert await metric(house.app, "triode_frames_total", way="in") == 1
    assert await metric(house.app, "triode_frames_total", way="out") > 0
    answer = await send(house.app, "GET", "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    names = {family.name for family in text_string_to_metric_families(answer.body.decode())}
    for name in ("refused", "dropped", "trouble", "interruptions", "model_tokens", "store_failures", "reply_seconds"):
        assert f"triode_{name}" in names


@pytest.mark.parametrize("path", ["/", "/twilio", "/twilio/", "/twilio/voice/", "/metrics/", "/admin", "/.env"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_an_unknown_route_is_not_found(house: House, path: str, method: str):
    assert (await send(house.app, method, path)).status == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *itertools.product(["GET", "PUT", "DELETE", "PATCH"], POSTS),
        *itertools.product(["POST", "PUT", "DELETE"], ["/healthz", "/readyz", "/metrics"]),
    ],
)
async def test_a_method_that_a_route_does_not_have_is_not_allowed(house: House, method: str, path: str):
    assert (await send(house.app, method, path)).status == 405
