"""A server that is killed while others run: the callers it had are taken on by another, which knows what was said.

Real processes behind one address, real sockets and a real database: nothing here asserts how long something took.
"""

import contextlib
import json
import signal
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import attrs
import trio

from conf.prompts import load_prompt
from tests.kit.patience import PATIENCE
from tests.transport.server_kit import Server
from tests.transport.store_kit import free_port
from tests.transport.town_kit import CALLED, Town, a_town
from transport.loopback.caller import AwaitAgent, AwaitQuiet, Do, HangUp, Speak
from transport.loopback.carrier import CarriedCall
from transport.loopback.front import Front
from transport.loopback.model import LoopbackModel
from transport.loopback.scenario import murmur_of
from transport.loopback.script import Call, Reply, Script
from transport.loopback.session_log import SessionLog
from transport.loopback.speech import murmur
from transport.loopback.stream import StreamLog
from transport.loopback.twiml_reader import Hangup
from transport.open_store import open_store

YES, EMAIL = "Yes.", "j at x dot org."
LONG = murmur_of("And now I need your e-mail address, spelled slowly and by the letter.")
ASK_AGAIN, BYE = murmur_of("Your e-mail?"), murmur_of("Goodbye.")
RECONNECTED, GREETING = load_prompt("reconnected").audio, load_prompt("greeting").audio[:2000]


def calls(tool: str, **arguments: object) -> Reply:
    return Reply((Call(tool, json.dumps(arguments)),))


SAVE_EMAIL = calls("save_details", email=EMAIL)
END = Reply((BYE, Call("end_call", '{"reason": "that is all"}')))
FROM_THERE = Script(on_text=(Reply((ASK_AGAIN,)),), turns=(SAVE_EMAIL,), after_tools=(END,), said=(EMAIL,))


def whole(name: str) -> Script:
    """The name is given and confirmed; then the agent asks for more, and takes its time."""
    save = calls("save_details", intent="book", name=name)
    return Script(
        turns=(save, calls("confirm_details", slots=["name"], correct=True), SAVE_EMAIL),
        after_tools=(Reply((murmur_of("Is that right?"),)), Reply((LONG,)), END),
        said=(f"I am {name}.", YES, EMAIL),
    )


@attrs.define
class Caller:
    """Somebody who calls, and gives a name."""

    town: Town
    name: str
    number: str
    all_ready: trio.Event
    """They all say yes at the same time."""
    sid: str = ""
    ready: trio.Event = attrs.field(factory=trio.Event)
    listening: trio.Event = attrs.field(factory=trio.Event)
    """Set when the agent is in the middle of what is long."""
    go_on: trio.Event = attrs.field(factory=trio.Event)
    call: CarriedCall | None = None

    async def calls(self) -> None:
        words = f"I am {self.name}."
        self.sid = self.town.carrier.new_sid("CA")
        steps = (
            *(
                AwaitQuiet(0.3),
                Speak(murmur(words), words),
                AwaitAgent(0.3),
                AwaitQuiet(0.3),
                Do(self.wait_for_the_others),
            ),
            *(Speak(murmur(YES), YES), AwaitAgent(0.5), Do(self.listen)),
            *(AwaitQuiet(0.7), Speak(murmur(EMAIL), EMAIL)),
        )
        self.call = await self.town.carrier.place_call(steps, call_sid=self.sid, caller=self.number, called=CALLED)

    async def wait_for_the_others(self) -> None:
        self.ready.set()
        await self.all_ready.wait()

    async def listen(self) -> None:
        self.listening.set()
        await self.go_on.wait()

    @property
    def streams(self) -> list[StreamLog]:
        """The streams of the call so far."""
        return self.town.carrier.calls[self.sid].log.streams


def audio(stream: StreamLog) -> bytes:
    """What was heard of it."""
    return b"".join(piece.audio for piece in stream.playback.heard)


def told(session: SessionLog) -> list[str]:
    """What the model was told in words."""
    return [item["content"][0].get("text", "") for item in session.items.values() if item["type"] == "message"]


@contextlib.asynccontextmanager
async def two_servers(town: Town, ports: Sequence[int]) -> AsyncIterator[list[Server]]:
    """Both start at the same time, on a database that is not there yet."""
    servers: dict[int, Server] = {}
    started = trio.Event()

    async def run(port: int) -> None:
        async with town.server(port) as servers[port]:
            if len(servers) == len(ports):
                started.set()
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        for port in ports:
            nursery.start_soon(run, port)
        await started.wait()
        yield [servers[port] for port in ports]
        nursery.cancel_scope.cancel("the test is over")


async def test_callers_of_a_killed_server_go_on_at_another_one_and_who_was_there_hears_nothing_of_it(tmp_path: Path):
    ports = [free_port(), free_port()]
    front, everybody = Front(*ports), trio.Event()
    names = ("John Smyth", "Mary Jones", "Peter Brown")
    model = LoopbackModel([*map(whole, names), FROM_THERE])
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            address = await nursery.start(front.serve)
            async with a_town(tmp_path, model, address) as town, two_servers(town, ports) as (one, other):
                callers = [Caller(town, name, f"+1415555012{number}", everybody) for number, name in enumerate(names)]
                for number, caller in enumerate(callers):
                    front.ports = ports if number < 2 else ports[::-1]
                    nursery.start_soon(caller.calls)
                    await town.until(lambda n=number: len(model.sessions) > n)
                for caller in callers:
                    await caller.ready.wait()
                everybody.set()
                for caller in callers:
                    await caller.listening.wait()
                await one.killed()
                for caller in callers[:2]:
                    await other.says('"call_began"', caller.sid, '"cut off"', '"known": true')
                for caller in callers:
                    caller.go_on.set()
                await town.until(lambda: len(town.ids) == 3)
                await other.stopped()
            nursery.cancel_scope.cancel("the test is over")
    async with open_store(town.settings["TRIODE_STORE_URL"]) as store:
        records = {caller.sid: await store.call(caller.sid) or {} for caller in callers}
    deliveries = {delivery.id: delivery.body for delivery in town.backend.deliveries}
    assert sorted(town.ids) == sorted(caller.sid for caller in callers)
    assert town.backend.refused == []
    for caller in callers:
        assert caller.call is not None
        assert (caller.call.end, caller.call.errors) == ("hangup", [])
        assert [type(verb) for verb in caller.call.verbs].count(Hangup) == 1
        assert sum(server.wrote('"call_ended"', caller.sid) for server in (one, other)) == 1
        record, delivered = records[caller.sid], deliveries[caller.sid]
        assert (record["disposition"], record["status"], record["streams"]) == ("hang_up", "completed", 1)
        assert delivered["slots"]["name"] == {"value": caller.name, "status": "confirmed"}
        assert delivered["slots"]["email"]["value"] == "j@x.org"
        said = [turn["heard"] for turn in delivered["transcript"] if turn["who"] == "caller"]
        assert said == [f"I am {caller.name}.", YES, EMAIL]

    *moved, stayed = callers
    for caller in moved:
        assert one.wrote('"call_began"', caller.sid) == other.wrote('"call_began"', caller.sid) == 1
        assert len(caller.streams) == 2
        before, after = map(audio, caller.streams)
        assert (before + after).count(GREETING) == 1
        assert LONG.audio not in before  # that was when the server was killed
        assert after.startswith(RECONNECTED + ASK_AGAIN.audio)
        (session,) = [
            session for session in model.sessions[3:] if f"{caller.name} (settled)" in " ".join(told(session))
        ]
        assert session.errors == []
    assert len(model.sessions) == 5
    assert one.wrote(stayed.sid) == 0
    (stream,) = stayed.streams
    assert audio(stream).count(GREETING) == audio(stream).count(LONG.audio) == 1  # without a hole, then
    assert records[stayed.sid]["reopened"] == 0


async def test_a_caller_whose_webhook_died_with_its_server_is_taken_on_by_another(tmp_path: Path):
    ports, ended = [free_port(), free_port()], list[CarriedCall]()
    front = Front(*ports)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            address = await nursery.start(front.serve)
            async with a_town(tmp_path, LoopbackModel(), address) as town, two_servers(town, ports) as (one, other):

                async def calls_up() -> None:
                    steps = (AwaitAgent(0.2), HangUp())
                    ended.append(await town.carrier.place_call(steps, caller="+14155550123", called=CALLED))

                one.process.send_signal(signal.SIGSTOP)
                nursery.start_soon(calls_up)
                await trio.sleep(0.5)  # nothing tells that the question lies in a socket that nobody reads
                await one.killed()
                await town.until(lambda: ended)
                await other.stopped()
            nursery.cancel_scope.cancel("the test is over")
    (call,) = ended
    assert call.posts[:2] == [("/twilio/voice", 0), ("/twilio/fallback", 200)]
    assert call.end == "caller"
    (stream,) = call.streams
    assert GREETING.startswith(audio(stream)[:160])
    assert other.wrote('"webhook_failed"', "/twilio/voice") == 1
