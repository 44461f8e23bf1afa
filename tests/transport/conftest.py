"""Property tests of this room are judged by what they find, never by how long an example took on a busy machine."""

import hypothesis
import pytest

from tests.transport.wire_kit import WAYS, house_in_memory

hypothesis.settings.register_profile("triode", deadline=None)
hypothesis.settings.load_profile("triode")


@pytest.fixture(params=WAYS)
async def house(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    """The server in memory, once with the media lane and once with hypercorn and Quart in its place."""
    async with house_in_memory(monkeypatch, through_hypercorn=request.param) as house:
        yield house
