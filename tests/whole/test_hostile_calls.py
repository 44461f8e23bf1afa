"""Two calls at once in one server: whatever the carrier or the model of the first one says, the second goes on as if alone."""

import json
from collections.abc import Sequence
from typing import Any

import attrs
import trio
from hypothesis import given

from actors.messages import Disposition
from conf.prompts import load_prompt
from tests.transport import wire_kit
from tests.transport.hostile import MEGABYTE, examples, model_events, timed, twilio_messages
from transport.loopback.caller import AwaitAgent, AwaitQuiet, HangUp, Speak, Step, Wait
from transport.loopback.carrier import CarriedCall
from transport.loopback.model import LoopbackModel
from transport.loopback.script import Call, Faults, Reply, Script, say
from transport.loopback.speech import line
from transport.loopback.stream import StreamFaults
from transport.loopback.world import SETTLED, World, a_world

HELLO, BYE = Speak(line("caller_hours").audio), Speak(line("caller_bye").audio)
TALK = Script(turns=(Reply((say("agent_saturday"),)), Reply((say("agent_bye"), Call("end_call")))))
WHOLE = load_prompt("greeting").audio + line("agent_saturday").audio + line("agent_bye").audio
PATIENCE = 25.0
"""Seconds after which a caller whose call is in ruins has had enough."""
ANN = "+14155550199"
WHOLE_TALK = (AwaitQuiet(), HELLO, AwaitAgent(1), HELLO, Wait(2), HangUp())
SHORT_TALK = (Wait(4), HangUp())
Messages = list[tuple[int, str | bytes]]


async def beside(hostile: Sequence[tuple[Messages, Messages]], steps: tuple[Step, ...]) -> None:
    """Calls with what comes in between from their carrier and their model, and one beside them that is heard whole."""
    plain = wire_kit.settings_for()
    keyed = attrs.evolve(plain, secrets=attrs.evolve(plain.secrets, openai_api_key="sk-loopback"))
    faults = [Faults(inject=tuple(of_model)) for _, of_model in hostile]
    model = LoopbackModel(TALK, faults=[Faults(), *faults, Faults()])
    bugs: list[object] = []
    ruined: list[CarriedCall] = []
    undisturbed: list[CarriedCall] = []

    def listen(call_sid: str, what: str, values: dict[str, Any]) -> None:
        if what == "bug":
            raised = values["error"]
            bugs.append((call_sid, raised, raised.exceptions))

    async def ruin(world: World, of_carrier: Messages) -> None:
        injected = tuple((at_ms / 1000, message) for at_ms, message in of_carrier)
        with trio.move_on_after(PATIENCE):
            ruined.append(await world.carrier.place_call(steps, faults=StreamFaults(inject=injected)))

    async def be_beside(world: World) -> None:
        undisturbed.append(await world.carrier.place_call((AwaitQuiet(), HELLO, AwaitQuiet(), BYE), caller=ANN))

    async with a_world(keyed, model, listener=listen) as world:
        await trio.sleep(1)
        before = tasks()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(be_beside, world)
            for of_carrier, _ in hostile:
                await trio.sleep(0.2)  # one after the other, so that each has its own model
                nursery.start_soon(ruin, world, of_carrier)
        await trio.sleep(SETTLED)
        assert world.app.extensions["triode"].switchboard.active == 0
        assert tasks() == before
    assert bugs == []
    (bystander,) = undisturbed
    (record,) = world.store.of(bystander.call_sid)
    assert b"".join(piece.audio for piece in bystander.heard()) == WHOLE
    assert (record.disposition, record.errors) == (Disposition.HANG_UP, [])
    streams = [kept.stream_sid for kept in world.store.records]
    assert len(set(streams)) == len(streams)
    assert all(stream.stream_sid in streams for call in ruined for stream in call.streams)


def tasks() -> int:
    """How many tasks there are in this run."""
    root = trio.lowlevel.current_root_task()
    found, waiting = 0, [root] if root else []
    while waiting:
        task = waiting.pop()
        found += 1
        waiting += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return found


@examples(3)
@given(timed(twilio_messages(), 8), timed(model_events(), 8), timed(model_events(), 8))
async def test_a_carrier_and_models_that_say_rubbish_in_the_middle_of_their_calls_harm_no_other(
    autojump_clock, of_carrier: Messages, of_model: Messages, of_another: Messages
):
    await beside([(of_carrier, []), ([], of_model), ([], of_another)], WHOLE_TALK)


# ---------------------------------------------------------------- what a model may come to say

DEEP = '{"a":' * 900 + "1" + "}" * 900


def began(name: object) -> str:
    return json.dumps({"type": "response.created", "response": {"id": f"r{name}"}})


def heard(what: str, name: object) -> str:
    return json.dumps({"type": f"input_audio_buffer.speech_{what}", "item_id": f"u{name}"})


def delta(reply: str, item: str) -> str:
    fields = {"response_id": reply, "item_id": item, "delta": "//7+/w==" * 40}
    return json.dumps({"type": "response.output_audio.delta", **fields})


def done(name: object, *calls: tuple[str, str], **fields: object) -> str:
    output = [
        {"type": "function_call", "call_id": f"c{n}", "name": c, "arguments": a} for n, (c, a) in enumerate(calls)
    ]
    return json.dumps(
        {"type": "response.done", "response": {"id": f"r{name}", "status": "completed", "output": output, **fields}}
    )


EXPIRED = json.dumps({"type": "error", "error": {"code": "session_expired", "message": "x" * 10_000}})
BIG = json.dumps({"reason": MEGABYTE, "text": MEGABYTE})
ABSURD: dict[str, list[str]] = {
    "hundreds of replies begin, and the session ends": [*(began(n) for n in range(300)), EXPIRED],
    "the caller begins to speak, hundreds of times": [heard("started", n) for n in range(500)],
    "speech, stopped and begun": [heard(what, n) for n in range(200) for what in ("stopped", "started")],
    "a reply of hundreds of items": [delta("rx", f"i{n}") for n in range(300)] + [heard("started", 1)],
    "audio of our own prompts": [delta("rx", f"prompt_{n}") for n in range(9)] + [heard("started", 1)],
    "audio of nothing": [delta("", "")] * 20,
    "a tool call of a megabyte": [began(1), done(1, ("end_call", BIG), ("send_sms", BIG), (MEGABYTE, "{}"))],
    "arguments deep down": [began(1), done(1, *((name, DEEP) for name in ("send_sms", "end_call", "nobody", "")))],
    "hundreds of tool calls": [began(1), done(1, *([("send_sms", '{"text": "x"}')] * 500))],
    "a reply that ends again and again": [done(1, ("look_up", '{"topic": "x"}'))] * 50,
    "tokens below none": [done(1, usage={"total_tokens": -7})],
    "tokens beyond all bounds": [done(1, usage={"total_tokens": 10**30})],
    "answers that nobody asked for": [done(n, metadata={"triode": "details"}) for n in range(20)],
}


async def test_models_out_of_their_minds_harm_no_other_call(autojump_clock):
    await beside([([], [(1500, event) for event in events]) for events in ABSURD.values()], SHORT_TALK)
