"""A stream that nobody decided about is opened again: so often and no oftener, however often the question is sent."""

import pytest
from trio.testing import MockClock

from tests.transport.test_web import ask, form
from tests.transport.wire_kit import house_in_memory
from transport.loopback.twiml_reader import Connect, Gather
from transport.twiml import REOPEN_AT_MOST


async def test_the_same_question_sent_again_is_no_further_opening(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
):
    async with house_in_memory(monkeypatch) as house:
        for number in range(REOPEN_AT_MOST):
            for _ in range(3):  # the carrier got no answer in time, and asks again
                retry = {"I-Twilio-Idempotency-Token": f"question-{number}"}
                answer = await ask(house.app, "/twilio/after", form("CA1"), headers=retry)
                assert answer.kinds[0] is Connect
        answer = await ask(
            house.app, "/twilio/after", form("CA1"), headers={"I-Twilio-Idempotency-Token": "one too many"}
        )
        assert answer.kinds[0] is Gather
