"""The calls of `triode demo`, in virtual time: the same steps, scripts and expectations, without a clock to wait for."""

import attrs
import pytest
import trio
from trio.testing import MockClock

from transport.demo_calls import CALLS, DemoCall
from transport.loopback.model import LoopbackModel
from transport.loopback.scenario import CALLER, HUMAN, default_settings
from transport.loopback.twiml_reader import Hangup
from transport.loopback.world import World, a_world


def played(demo: DemoCall) -> tuple[World, object]:
    async def play() -> tuple[World, object]:
        settings = default_settings(demo.flow)
        if demo.human is not None:
            settings = attrs.evolve(settings, call=attrs.evolve(settings.call, transfer="warm"))
        humans = {HUMAN: demo.human} if demo.human else None
        model = LoopbackModel(demo.script, api_key=settings.secrets.openai_api_key)
        async with a_world(settings, model, humans=humans) as world:
            return world, await world.call(*demo.steps, caller=CALLER)

    return trio.run(play, clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize("demo", CALLS.values(), ids=CALLS)
def test_the_demo_call_goes_as_it_should(demo):
    world, call = played(demo)
    (session,) = world.models[0].sessions
    (record,) = world.store.of(call.call_sid)
    slots = world.store.stories[call.call_sid].story["dialogue"].get("slots", {})
    assert not call.errors
    assert not session.errors
    assert not world.rest.problems
    assert isinstance(call.verbs[-1], Hangup)
    assert record.disposition.value == demo.disposition
    assert [turn.heard_text for turn in record.turns if turn.who == "caller"] == list(demo.script.said)
    assert [turn.interrupted for turn in record.turns if turn.who == "agent"].count(True) == 1
    assert record.turns[-1].heard_text == demo.last_words
    assert len(session.tool_results) == demo.tools
    assert {name: slots[name]["status"] for name in demo.slots} == dict.fromkeys(demo.slots, "confirmed")
    assert all(slots[name]["text"] == value for name, value in demo.slots.items() if value)
    assert len(world.rest.messages) == demo.texts
    assert [delivery.id for delivery in world.backend.deliveries] == [call.call_sid]
    assert any(leg.joined for leg in world.carrier.legs) == (demo.human is not None)
