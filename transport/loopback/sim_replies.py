"""What the model of a simulated call answers, drawn from the seed of its plan. Pure."""

import json
import random

from transport.loopback.script import Call, Reply, Speech, Text
from transport.loopback.sim_plan import Plan
from transport.loopback.speech import murmur

AGENT = (
    "What is your full name?", "And your e-mail address?", "Is that right?", "We are open from nine until five.",
    "Let me see what I can do for you. There is a free place on Tuesday at three in the afternoon. Shall I take it?", "Gladly.",
)  # fmt: skip
VALUES: dict[str, object] = {
    "intent": "book", "name": "john smyth", "email": "j dot smyth at gmail dot com", "phone": "four one five five five five "
    "two six seven one", "day": "tuesday at three", "colour": "red", "confidence": 0.8,
}  # fmt: skip
WISHES = {"appointment": "book", "after_hours": "message"}
"""What callers want who dictate: then they are asked for it."""
SLOW_REPLIES = 3
"""Replies of a model that is slow for a while; below, seconds of a call in which it makes one, about."""
SLOW_EVERY = 10.0
TOOLS = ("save_details", "confirm_details", "look_up", "send_sms", "start_over", "no_such_tool")


def plain_reply_of(seed: int, number: int) -> Reply:
    """The model's answer `number` to a bystander: always speech, and nothing else."""
    chance = random.Random(f"plain reply {seed} {number}")
    words = chance.choice(AGENT)
    return Reply(
        (Speech(words, murmur(words, seed=number)),), chance.choice((100, 250, 600)), chance.choice((1.5, 5.0))
    )


def reply_of(plan: Plan, number: int, *, apart: bool, after_tools: bool) -> Reply:
    """The model's answer `number`: speech, tools, both, seldom an end; a model that behaves as models do."""
    seed = plan.seed
    chance = random.Random(f"reply {seed} {number}")
    if apart:
        return Reply((Text(json.dumps({"email": "a@example.com"} if chance.random() < 0.3 else {})),))
    words = chance.choice(AGENT)
    speech = Speech(words, murmur(words, seed=number))
    size = plan.delta_ms
    delay, speed = chance.choice((100, 250, 600, 1500)), chance.choice((1.5, 5.0, 20.0))
    if (takes := plan.fault("model_slow")) and 0 <= number - takes.at // SLOW_EVERY < SLOW_REPLIES:
        delay = 3000 + round(400 * takes.size)
    if number == 0 and not after_tools and any(act.what == "go on" for act in plan.acts):
        return Reply((Call("save_details", json.dumps({"intent": WISHES[plan.flow]})),), delay, speed, size)
    if after_tools or chance.random() < 0.55:
        return Reply((speech,), delay, speed, size)
    last = chance.random()
    if last < 0.08:
        return Reply((speech, Call("end_call", '{"reason": "done"}')), delay, speed, size)
    if last < 0.14:
        return Reply((speech, Call("transfer_to_human", '{"reason": "asked"}')), delay, speed, size)
    calls = [_call(chance) for _ in range(chance.choice((1, 1, 2)))]
    if slow := plan.fault("tool_slow"):
        calls[0] = Call("free_times", json.dumps({"takes": slow.size}))
    elif plan.fault("tool_fails"):
        calls[0] = Call("free_times", '{"fails": true}')
    return Reply((speech, *calls) if chance.random() < 0.3 else tuple(calls), delay, speed, size)


def _call(chance: random.Random) -> Call:
    name = chance.choice(TOOLS)
    if chance.random() < 0.1:
        return Call(name, chance.choice(('{"torn": ', "[]", "null", '{"slots": 7}')))
    if name == "save_details":
        some = chance.sample(sorted(VALUES), chance.randint(1, 3))
        return Call(name, json.dumps({key: VALUES[key] for key in some}))
    arguments: dict[str, object] = {
        "confirm_details": {"slots": [chance.choice(("name", "email", "phone"))], "correct": chance.random() < 0.8},
        "look_up": {"topic": chance.choice(("hours", "address", "weather"))},
        "send_sms": {"text": "As you asked."},
    }.get(name, {})
    return Call(name, json.dumps(arguments))
