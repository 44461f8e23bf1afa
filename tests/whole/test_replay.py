"""Whole calls, recorded and replayed: the same on the same code, and where it differs on other code."""

import datetime
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock

from actors.call import Call
from actors.line_ear import Line
from actors.mailbox import Mailbox
from actors.messages import AskReply, SpeechStarted, SpeechStopped, ToolResult
from conf.flow_file import load_flow
from conf.settings import Settings
from tests.kit.calls import PLAN, ErrandShelf, RecordShelf, a_line, a_tool_call, ms
from tests.kit.model import FakeModel
from transport import cli, replay
from transport.flight_file import ENDING, IN, OUT, Entry, Flight, Head, parse, read, unpacked
from transport.flight_folder import FlightFolder
from transport.flight_recorder import FlightRecorder
from transport.loopback import scenario, sim_faults, simulation
from transport.loopback.scenario import Scenario, default_settings
from transport.loopback.sim_plan import Act, Fault, Plan, plan_of
from transport.replay_ports import ReplayedEar

CALLER = "+14159392671"
WALL = "2026-11-24T14:30:00+00:00"
TOOLS = """
import pathlib

from conf.flow_python import PythonFlow

flow = PythonFlow(name="desk", instructions="Be kind.")
flow.state("ask", goal="Ask.", tools=["free_times"], leads_to=["ask"])(lambda known: None)


@flow.tool("Finds free times.")
async def free_times(day: str) -> dict[str, object]:
    runs = pathlib.Path(__file__).with_name("runs")
    runs.write_text(runs.read_text() + "x" if runs.exists() else "x")
    return {"times": ["09:30", "11:00"]}
"""


Record = Callable[[Callable[[Path], object]], list[Path]]


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Record]:
    """Makes the recordings of what it is given to do, in a folder that it is told. On virtual time no thread may be used."""

    async def at_once(self: FlightFolder, work: Callable[[], None]) -> bool:
        work()
        return True

    def record(work: Callable[[Path], object]) -> list[Path]:
        path = tmp_path_factory.mktemp("flights")
        work(path)
        return sorted(path.iterdir())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FlightFolder, "_in_thread", at_once)
        patch.setattr(scenario, "CALLER", CALLER)
        yield record


def recording(settings: Settings, folder: Path) -> Settings:
    return attrs.evolve(settings, server=attrs.evolve(settings.server, flight_folder=str(folder), flight_calls="all"))


def simulated(plan: Plan) -> Callable[[Path], None]:
    """The call of a plan, as something to be recorded."""

    def simulate(folder: Path) -> None:
        settings = sim_faults.settings_of
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sim_faults, "settings_of", lambda plan: recording(settings(plan), folder))
            assert simulation.simulate(plan).wrong == ()

    return simulate


@pytest.fixture(scope="module")
def booked(record: Record) -> Path:
    """A call with slots, a barge-in, a number read back, and a text message."""

    def book(folder: Path) -> None:
        call = Scenario("appointment", settings=recording(default_settings("appointment"), folder))
        call.caller_says("I need an appointment, my number is 415 939 2671.")
        call.model_calls("save_details", intent="book", phone="415 939 2671")
        call.model_says("Plus 1, 4 1 5, 9 3 9, 2 6 7 1. Is that right? And what is your name? Please spell it for me.")
        call.caller_interrupts("Yes, that is right.", after=1.2)
        call.model_calls("confirm_details", slots=["phone"], correct=True)
        call.model_calls("send_sms", text="We will call you back.")
        call.model_says("Done. What is your name?")
        call.caller_says("Four one five, nine three nine, two six seven one.")
        call.model_says("And your name?")
        call.caller_hangs_up()
        assert len(call.run().texts) == 1

    (path,) = record(book)
    return path


@pytest.fixture(scope="module")
def stalled(record: Record) -> Path:
    """A call whose first session says nothing more while the caller waits, so that a filler is heard."""
    plan = attrs.evolve(plan_of(0), acts=(Act("say", "Hello?"),), faults=(Fault("model_stall", 6.0),))
    return record(simulated(plan))[0]


def whats(flight: Flight, way: str, lane: str) -> list[str]:
    return [entry.what for entry in flight.of(way, lane)]


# ---------------------------------------------------------------- the same


def test_a_call_with_a_barge_in_a_tool_and_a_text_message_goes_as_it_went(booked: Path) -> None:
    flight = read(booked)
    replayed = replay.replay(flight)
    assert replayed.differences == (), str(replayed)
    assert "clear" in whats(replayed.today, OUT, "carrier")
    assert "Truncate" in whats(replayed.today, OUT, "model")
    assert "ToolResult" in whats(replayed.today, OUT, "model")
    assert whats(replayed.today, OUT, "errands") == ["send_text"]
    assert [entry.value for entry in flight.of(OUT, "flow")] == [e.value for e in replayed.today.of(OUT, "flow")]


def test_a_call_whose_session_was_lost_and_replaced_goes_as_it_went(record: Record) -> None:
    acts = (Act("say", "Hello?"), Act("say", "Thank you."))
    (path,) = record(simulated(attrs.evolve(plan_of(0), acts=acts, faults=(Fault("model_drop", 9.0),))))
    flight = read(path)
    assert whats(flight, OUT, "model").count("connect") == 2
    assert "lost" in whats(flight, IN, "model")
    replayed = replay.replay(flight)
    assert replayed.differences == (), str(replayed)


def test_a_call_whose_connection_to_the_model_was_found_dead_goes_as_it_went(record: Record) -> None:
    acts = (Act("say", "Hello?"), Act("wait", seconds=16.0), Act("say", "Thank you."))
    (path,) = record(simulated(attrs.evolve(plan_of(0), acts=acts, faults=(Fault("model_half_open", 9.0),))))
    flight = read(path)
    assert any("no pong" in str(entry.value) for entry in flight.of(IN, "model") if entry.what == "lost")
    replayed = replay.replay(flight)
    assert replayed.differences == (), str(replayed)


def test_both_streams_of_a_call_that_was_cut_go_as_they_went(record: Record) -> None:
    plan = attrs.evolve(plan_of(0), acts=(Act("say", "Hello?"),), faults=(Fault("stream_drop", 6.0),))
    flights = [read(path) for path in record(simulated(plan))]
    assert sorted(flight.head.before for flight in flights) == ["cut off", "nothing"]
    for flight in flights:
        replayed = replay.replay(flight)
        assert replayed.differences == (), str(replayed)


@pytest.mark.parametrize("how", ["", ", once=True"])
def test_a_tool_of_python_is_not_run_again_and_its_result_is_the_recorded_one(
    how: str, record: Record, tmp_path: Path
) -> None:
    file = tmp_path / "desk.py"
    file.write_text(TOOLS.replace('"Finds free times."', f'"Finds free times."{how}'))

    def ask(folder: Path) -> None:
        call = Scenario(str(file), settings=recording(default_settings(str(file)), folder))
        call.caller_says("When are you free?")
        call.model_calls("free_times", day=f"tuesday, {CALLER}")
        call.model_says("At half past nine.")
        call.caller_says("When was that?")
        if how:
            call.model_calls("free_times", day=f"tuesday, {CALLER}")
        call.model_says("At half past nine.")
        call.caller_is_silent(2)
        call.caller_hangs_up()
        call.run()

    (path,) = record(ask)
    assert (tmp_path / "runs").read_text() == "x"
    replayed = replay.replay(read(path), str(file))
    assert replayed.differences == (), str(replayed)
    assert "09:30" in str(replayed.today.of(OUT, "model"))
    assert (tmp_path / "runs").read_text() == "x"


@pytest.mark.parametrize("away", [True, False])
async def test_what_the_switchboard_told_the_call_it_is_told_again(away: bool, autojump_clock: MockClock) -> None:
    head = Head(flight=1, call_sid="CA1", stream_sid="MZ1", flow="desk", wall=WALL)
    recorder = FlightRecorder(head)
    call = Call(
        "CA1", "MZ1", PLAN, recorder.carrier(a_line()), recorder.model(FakeModel()), RecordShelf(),
        recorder.errands(ErrandShelf()), recorder.listener(None), wall=datetime.datetime.fromisoformat(WALL),
    )  # fmt: skip
    async with trio.open_nursery() as nursery:
        nursery.start_soon(call.run)
        await trio.sleep(3.01)
        if away:
            call.move_away()
        else:
            call.carrier_gone("the call opened another stream", lost=True)
    then = parse(unpacked(recorder.finish()))
    assert [entry.what for entry in then.of(IN, "call")] == ["move_away" if away else "carrier_gone"]
    now = parse(unpacked(await replay._play(then, PLAN)))
    assert replay.compare(then, now) == []
    assert now.seconds < 4


@pytest.mark.parametrize("after_ms", [1, 4, 9])
async def test_a_caller_who_spoke_up_while_a_tool_was_being_answered_does_so_again(
    after_ms: int, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    receive = Mailbox.receive

    async def takes_a_while(self: Mailbox[object]) -> object:
        message = await receive(self)
        if self.name == "link":
            await trio.sleep(0.01)
        return message

    model = FakeModel()
    recorder = FlightRecorder(Head(flight=1, call_sid="CA1", stream_sid="MZ1", flow="desk", wall=WALL))
    call = Call(
        "CA1", "MZ1", PLAN, recorder.carrier(a_line()), recorder.model(model), RecordShelf(),
        recorder.errands(ErrandShelf()), recorder.listener(None), wall=datetime.datetime.fromisoformat(WALL),
    )  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setattr(Mailbox, "receive", takes_a_while)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call.run)
            session = await model.session()
            await trio.sleep(3)
            session.speak("r1", "i1", ms(1000), calls=(a_tool_call("look_up", topic="hours"),))
            await trio.sleep(after_ms / 1000)
            session.push(SpeechStarted("u1"))
            await trio.sleep(0.5)
            session.push(SpeechStopped("u1"))
            await trio.sleep(0.3)
            session.speak("r2", "i2", ms(300))
            await trio.sleep(2)
            call.carrier_gone("the call is over", lost=False)
    assert len(session.said(ToolResult)) == 1
    assert session.said(AskReply) == []
    then = parse(unpacked(recorder.finish()))
    now = parse(unpacked(await replay._play(then, PLAN)))
    assert replay.compare(then, now) == []


@pytest.mark.parametrize("seconds", [1.0, 3.0, 60.0])
async def test_a_call_whose_model_took_nothing_for_a_while_goes_as_it_went(
    seconds: float, autojump_clock: MockClock
) -> None:
    model = FakeModel()
    recorder = FlightRecorder(Head(flight=1, call_sid="CA1", stream_sid="MZ1", flow="desk", wall=WALL))
    call = Call(
        "CA1", "MZ1", PLAN, recorder.carrier(a_line()), recorder.model(model), RecordShelf(),
        recorder.errands(ErrandShelf()), recorder.listener(None), wall=datetime.datetime.fromisoformat(WALL),
    )  # fmt: skip
    async with trio.open_nursery() as nursery:
        nursery.start_soon(call.run)
        session = await model.session()
        await trio.sleep(3)
        session.takes = trio.Event()
        session.speak("r1", "i1", ms(500), calls=(a_tool_call("look_up", topic="hours"),))
        await trio.sleep(seconds)
        session.takes.set()
        session.speak("r2", "i2", ms(300))
        await trio.sleep(5)
        call.carrier_gone("the call is over", lost=False)
    then = parse(unpacked(recorder.finish()))
    assert "blocked" in whats(then, IN, "model")
    now = parse(unpacked(await replay._play(then, PLAN)))
    assert replay.compare(then, now) == []


def a_cut(*frames: tuple[int, float], clear: float) -> Flight:
    """A recording in which speech of so many ms was sent in a row, that lasted so long, and cut then."""
    head = Head(flight=1, call_sid="CA1", stream_sid="MZ1", flow="desk", wall=WALL)
    sent = [Entry(1.0, OUT, "carrier", "frames", [8 * much, lasted]) for much, lasted in frames]
    return Flight(head, (*sent, Entry(clear, OUT, "carrier", "clear", None)), clear, None)


def test_the_last_piece_of_speech_may_be_sent_or_not_in_the_moment_in_which_it_is_cut() -> None:
    then, now = a_cut((580, 0.28), clear=1.38), a_cut((680, 0.38), clear=1.38)
    assert replay.compare(then, now) == replay.compare(now, then) == []
    assert replay.compare(a_cut((580, 0.28), clear=1.6), a_cut((680, 0.38), clear=1.6)) != []
    assert replay.compare(then, a_cut((780, 0.38), clear=1.38)) != []


# ---------------------------------------------------------------- not the same


def test_a_filler_that_comes_earlier_is_reported_with_its_time_and_lane(
    stalled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flight = read(stalled)
    assert replay.replay(flight).differences == ()
    monkeypatch.setattr("actors.waiting.FILLER_SHARE", 0.3)
    monkeypatch.setattr("actors.waiting.PROBE_PATIENCE", 0.1)
    replayed = replay.replay(flight)
    first = next(difference for difference in replayed.differences if difference.lane != "marks")
    filler = next(entry for entry in flight.of(OUT, "carrier") if "one_moment" in str(entry.value))
    assert "one_moment" in first.then
    assert first.lane == "speech"
    assert first.at == pytest.approx(filler.at, abs=0.01)
    assert "NOW: " in str(replayed)
    assert "begins to speak" in str(replayed)


def test_another_goal_of_a_state_is_reported_where_the_model_is_told_of_it(
    booked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = load_flow("appointment")
    states = {name: attrs.evolve(state, goal=f"Hurry. {state.goal}") for name, state in flow.states.items()}
    monkeypatch.setattr(replay, "load_flow", lambda given, prompts: attrs.evolve(flow, states=states))
    differences = replay.replay(read(booked)).differences
    assert differences[0].lane == "model"
    assert differences[0].at < 1
    assert {one.now.partition("Now: ")[2].partition(" ")[0] for one in differences if "guide_1" in one.now} == {
        "Hurry."
    }


def test_a_disposition_that_is_another_is_reported(stalled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.realtime_link.MUTE_AT_MOST", -1)
    differences = replay.replay(read(stalled)).differences
    assert any(one.lane == "flow" and one.now.startswith("ended: ivr") for one in differences)


def test_a_recording_that_was_cut_is_compared_up_to_there(booked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = read(booked)
    cut = attrs.evolve(whole, entries=tuple(entry for entry in whole.entries if entry.at < 8.0), cut=8.0)
    replayed = replay.replay(cut)
    assert replayed.differences == (), str(replayed)
    assert "cut there" in str(replayed)
    assert replayed.today.seconds == pytest.approx(8.0, abs=0.1)


# ---------------------------------------------------------------- what is in the file


def test_neither_number_nor_token_nor_voice_is_in_a_recording(booked: Path) -> None:
    text = unpacked(booked.read_bytes()).decode()
    digits = re.sub(r"\D", "", re.sub(r"[\s,.()-]", "", text))
    assert "9392671" not in digits
    assert "nine three nine" not in text
    assert "4155550171" in digits
    assert not re.search(r"token(?!s)", text)
    assert "sk-scenario" not in text
    assert scenario.HUMAN not in text
    assert not re.search(r"[A-Za-z0-9+/]{100}", text)


# ---------------------------------------------------------------- the command


def ran(monkeypatch: pytest.MonkeyPatch, *words: str) -> object:
    monkeypatch.setattr(sys, "argv", ["triode", "replay", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code


def test_the_command_says_same_or_not_or_why_it_cannot_be_read(
    stalled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ran(monkeypatch, str(stalled)) == 0
    assert capsys.readouterr().out.startswith("same behaviour")
    (tmp_path / f"x{ENDING}").write_bytes(b"nonsense")
    assert ran(monkeypatch, str(tmp_path / f"x{ENDING}")) == 2
    came = capsys.readouterr()
    assert came.out == ""
    assert "cannot be replayed" in came.err
    monkeypatch.setattr("actors.waiting.FILLER_SHARE", 0.3)
    monkeypatch.setattr("actors.waiting.PROBE_PATIENCE", 0.1)
    assert ran(monkeypatch, str(stalled), "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert found["same"] is False
    assert found["differences"][0]["at"] > 0


@pytest.mark.parametrize("steady", [[], [False], [True]])
def test_what_older_recordings_do_not_know_of_the_line_is_not_so(steady: list[bool]) -> None:
    ear = ReplayedEar([Entry(1.0, IN, "line", "heard", [0.5, 1.0, 400, True, True, True, False, *steady])], began=10.0)
    assert ear.hears(b"", 11.0) == Line(10.5, 11.0, 400, True, True, True, False, steady == [True])
