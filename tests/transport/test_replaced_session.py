"""Sessions that are lost over real sockets, in the middle of a call, and what the next one hears.

A server process, five calls at once, each with a model's session that ends in its own way: nothing here asserts how long
something took.
"""

from pathlib import Path

import trio

from conf.prompts import load_prompt
from tests.kit.patience import PATIENCE
from tests.transport.store_kit import free_port
from tests.transport.town_kit import CALLED, Town, a_town
from transport.loopback.caller import AwaitAgent, AwaitQuiet, Do, HangUp, Speak
from transport.loopback.carrier import CarriedCall
from transport.loopback.model import LoopbackModel
from transport.loopback.playback import Heard
from transport.loopback.script import Faults, Reply, Script, say
from transport.loopback.session_log import SessionLog
from transport.loopback.sim_judge import client_of
from transport.loopback.speech import line

LOST = {
    "+14155550121": Faults(drop_after_ms=6500),
    "+14155550122": Faults(close_after_ms=6500),
    "+14155550123": Faults(stall_after_ms=6500),
    "+14155550124": Faults(session_seconds=6.5),
    "+14155550125": Faults(fail_codes=("server_error",) * 4),
}
HELLO, ANSWER = line("caller_hours"), line("agent_saturday")
GREETING = load_prompt("greeting").audio


def _joined(pieces: list[Heard]) -> bytes:
    return b"".join(piece.audio for piece in pieces)


def _sessions(model: LoopbackModel, number: str) -> list[SessionLog]:
    return [session for session in model.sessions if session.client == client_of(number)]


def _pieces_of(session: SessionLog) -> str:
    """How much of the question the session heard without a gap, from its beginning and to its end."""
    whole, heard = HELLO.audio, bytes(session.audio)
    head = next(n for n in range(len(whole), -1, -160) if whole[:n] in heard)
    tail = next(n for n in range(len(whole), -1, -160) if whole[len(whole) - n :] in heard)
    gap = heard.find(whole[len(whole) - tail :]) - heard.find(whole[:head]) - head
    return f"{head // 8} ms, then {gap // 8} ms of something else, then the last {tail // 8} of {len(whole) // 8} ms"


async def test_whoever_asked_a_session_that_was_lost_is_answered_by_the_next_and_not_greeted_again(tmp_path: Path):
    script = Script(said=(HELLO.text,) * 9)
    model = LoopbackModel(
        script, brain=lambda _: Reply((say("agent_saturday"),), delay_ms=2000), faults=(*LOST.values(), Faults())
    )
    calls: dict[str, CarriedCall] = {}

    async def call(town: Town, number: str, connected: trio.Event) -> None:
        sid = town.carrier.new_sid("CA")

        async def until_answered() -> None:
            (stream,) = town.carrier.calls[sid].log.streams
            await town.until(lambda: ANSWER.audio in _joined(stream.playback.heard))

        async def tell() -> None:
            await town.until(lambda: _sessions(model, number))
            connected.set()

        steps = (Do(tell), AwaitAgent(0.5), AwaitQuiet(), Speak(HELLO.audio), Do(until_answered), HangUp())
        calls[number] = await town.carrier.place_call(steps, call_sid=sid, caller=number, called=CALLED)

    with trio.fail_after(PATIENCE):
        async with a_town(tmp_path, model, free_port()) as town, town.server() as server:
            async with trio.open_nursery() as nursery:
                for number in LOST:  # the sessions are in the order of the callers
                    connected = trio.Event()
                    nursery.start_soon(call, town, number, connected)
                    await connected.wait()
            await town.until(lambda: len(town.ids) == len(LOST))
            await server.stopped()
    for number, ended in calls.items():
        first, second = _sessions(model, number)
        heard = _joined(ended.streams[0].playback.heard)
        assert heard.count(GREETING) == 1, number
        assert heard.count(ANSWER.audio) == 1, number
        known = HELLO.audio in second.audio or HELLO.text in second.told()
        assert known, f"{number}: what was asked is not known, but {_pieces_of(second)} and {_pieces_of(first)} before"
        assert HELLO.audio in (second.audio if HELLO.audio in second.audio else first.audio), f"{number}: all of it"
        assert second.errors == []
        assert (ended.end, ended.errors, len(ended.streams)) == ("caller", [], 1)
