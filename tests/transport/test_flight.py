"""Recordings of calls: what is hidden in them, what they take, where they are kept, and what is no recording."""

import errno
import json
import os
import random
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock

from actors.messages import (
    AskReply,
    CallerAudio,
    CallerWords,
    Disposition,
    KeyPressed,
    MarkEchoed,
    ReplyBegan,
    ReplyWords,
    SessionCreated,
)
from actors.mulaw import silence, to_base64
from actors.ports import CarrierGone, ModelGone
from conf.settings import Server, Settings, Store
from tests.kit.calls import LOUD, PLAN, a_notebook
from tests.kit.carrier import FakeCarrier
from tests.kit.model import FakeModel, Place
from tests.kit.patience import PATIENCE
from transport import flight_file, flight_mask
from transport.flight_file import ENDING, IN, OUT, BadFlight, Flight, Head, pack, parse, read, unpacked
from transport.flight_folder import FlightFolder, folder_of, forget_unknown
from transport.flight_recorder import FlightRecorder
from transport.replay_ports import Outside

HEAD = Head(flight=1, call_sid="CA1", stream_sid="MZ1", flow="desk", wall="2026-11-24T14:30:00+00:00")


def read_back(recorder: FlightRecorder) -> Flight:
    return parse(unpacked(recorder.finish()))


# ---------------------------------------------------------------- hiding


@pytest.mark.parametrize(
    ("said", "hidden"),
    [
        ("+14159392671", "+14155550171"),
        ("call (415) 939-2671 now", "call (415) 555-0171 now"),
        ("plus 1, 4 1 5, 9 3 9, 2 6 7 1", "plus 1, 4 1 5, 5 5 5, 0 1 7 1"),
        (
            "Four one five, nine three nine, two six, double one.",
            "Four one five, five five five, zero one, double one.",
        ),
        ("four one five, double nine three, two, triple four", "four one five, five five five, zero, one four four"),
        ("4111 1111 1111 1234", "4111 5550 1555 0134"),
        ("Bearer abc.def", "Bearer ***"),
    ],
)
def test_numbers_become_those_of_fiction_however_they_are_written(said: str, hidden: str) -> None:
    assert flight_mask.hide(said) == hidden
    assert flight_mask.hide(hidden) == hidden


@pytest.mark.parametrize(
    "said", ["2026-11-24 at three", "24.11.2026", "item_1234567890", "CA12345678901", "room 123456"]
)
def test_what_is_no_number_stays_as_it_is(said: str) -> None:
    assert flight_mask.hide(said) == said


def test_plain_data_is_hidden_at_every_depth() -> None:
    assert flight_mask.hide_in({"a": [{"phone": 4159392671, "token": "abc"}], "n": 12}) == {
        "a": [{"phone": 4155550171, "token": "***"}],
        "n": 12,
    }


async def test_a_number_that_comes_in_pieces_is_hidden_and_the_pieces_keep_their_times(
    autojump_clock: MockClock,
) -> None:
    recorder = FlightRecorder(HEAD)
    for piece in ("It is 415", "-93", "9-26", "71."):
        recorder.came(1, 0, ReplyWords("r1", "i1", piece))
        await trio.sleep(0.5)
    for piece in ("415 9", "39 2671"):
        recorder.came(1, 0, CallerWords("c1", piece, False))
    recorder.came(1, 0, CallerWords("c1", "415 939 2671", True))
    entries = read_back(recorder).of(IN, "model")
    spoken = [(entry.at, entry.value[-1]) for entry in entries if entry.what == "ReplyWords"]
    assert spoken == [(0.0, "It is 415"), (0.5, "-55"), (1.0, "5-01"), (1.5, "71.")]
    assert "939" not in str(entries)


async def test_a_number_that_is_keyed_is_hidden_and_a_choice_is_not(autojump_clock: MockClock) -> None:
    recorder = FlightRecorder(HEAD)
    for key in "2":
        recorder.heard(KeyPressed(key), 3)
    await trio.sleep(5)
    for key in "4159392671#":
        recorder.heard(KeyPressed(key), 4)
        await trio.sleep(0.3)
    entries = read_back(recorder).of(IN, "carrier")
    assert "".join(entry.value[1] for entry in entries) == "24155550171#"
    assert [entry.value[0] for entry in entries] == [3] + [4] * 11
    assert [entry.at for entry in entries[:3]] == pytest.approx([0.0, 5.0, 5.3])


# ---------------------------------------------------------------- what it takes


def long_call(recorder: FlightRecorder, clock: MockClock, minutes: int) -> None:
    """A caller who speaks half of the time, and an agent whose marks come back."""
    dice = random.Random(3)
    loud = [to_base64(bytes([byte]) * 160) for byte in (0x80, 0x90, 0xA0, 0xB0, 0xC0)]
    quiet = to_base64(silence(20))
    for number in range(minutes * 3000):
        clock.jump(0.02)
        speaks = number // 150 % 2
        recorder.heard(CallerAudio(dice.choice(loud) if speaks else quiet, number * 20), number)
        recorder.spoken(160)
        if not number % 12:
            recorder.heard(MarkEchoed(f"g0.{number}", 0.0), number)
            recorder.came(1, 3, ReplyWords(f"resp_{number // 300}", "item_1", f" word{dice.random()}"))


async def test_a_call_that_is_too_long_is_cut_where_the_bound_is_and_its_beginning_stays(mock_clock: MockClock) -> None:
    recorder = FlightRecorder(HEAD, packed_at_most=40_000)
    long_call(recorder, mock_clock, 12)
    flight, size = read_back(recorder), recorder.size
    assert size <= 40_000
    assert flight.cut is not None
    assert 100 < flight.cut < flight.seconds == pytest.approx(720, abs=1)
    assert flight.entries[0].at < 1
    assert flight.entries[-1].at <= flight.cut
    assert [entry for entry in flight.entries if entry.what == "voice"][-1].at > flight.cut - 15


async def test_a_line_that_is_too_long_ends_the_recording_before_it(autojump_clock: MockClock) -> None:
    recorder = FlightRecorder(HEAD)
    recorder.came(1, 0, CallerWords("c1", "Hello.", True))
    await trio.sleep(1)
    recorder.came(1, 0, CallerWords("c2", "x" * 1_000_000, True))
    recorder.came(1, 0, CallerWords("c3", "Hello?", True))
    flight = read_back(recorder)
    assert flight.cut == 1.0
    assert [entry.value[2]["item"] for entry in flight.entries] == ["c1"]


async def test_five_minutes_are_recorded_whole_in_a_fraction_of_the_bound(mock_clock: MockClock) -> None:
    recorder = FlightRecorder(HEAD)
    long_call(recorder, mock_clock, 5)
    flight = read_back(recorder)
    assert flight.cut is None
    assert recorder.size < 64 * 1024


async def test_the_voice_is_kept_as_loudness_and_comes_back_as_loud(autojump_clock: MockClock) -> None:
    from actors.mulaw import from_base64, loudness

    recorder = FlightRecorder(HEAD)
    frames = [to_base64(silence(20))] * 3 + [LOUD] * 2 + [to_base64(bytes([0xB0, 0x30] * 80))] * 3
    for number, frame in enumerate(frames):
        recorder.heard(CallerAudio(frame, number * 20), 0)
        await trio.sleep(0.02)
    flight = read_back(recorder)
    (line,) = flight.of(IN, "carrier")
    assert len(json.dumps(line.value)) < 40
    outside = Outside(flight)
    came = [await outside.carrier.receive() for _ in frames]
    sounds = [loudness(from_base64(event.payload)) for event in came if isinstance(event, CallerAudio)]
    assert len(sounds) == len(frames)
    for frame, sound in zip(frames, sounds, strict=True):
        assert sound == pytest.approx(loudness(from_base64(frame)), rel=0.3)


async def test_words_in_pieces_come_before_what_their_answer_brought_at_the_same_moment(
    autojump_clock: MockClock,
) -> None:
    recorder = FlightRecorder(HEAD)
    recorder.write(OUT, "model", "connect", (1, 0))
    recorder.write(IN, "model", "opened", (1, 0))
    recorder.came(1, 0, CallerWords("u1", "I am no", False))
    recorder.write(OUT, "model", "AskReply", (1, AskReply()))
    recorder.came(1, 1, ReplyBegan("r1"))
    recorder.came(1, 1, CallerWords("u1", "I am not sure.", True))
    async with Outside(read_back(recorder)).model.connect(0) as session:
        with trio.fail_after(0.01):
            assert await session.receive() == CallerWords("u1", "I am no", False)
            await session.send(AskReply())
            assert await session.receive() == ReplyBegan("r1")


# ---------------------------------------------------------------- the doors


async def test_the_doors_pass_on_what_comes_and_raise_what_is_raised(autojump_clock: MockClock) -> None:
    recorder = FlightRecorder(HEAD)
    carrier = FakeCarrier()
    door = recorder.carrier(carrier)
    carrier.press("5")
    assert (await door.receive()).digit == "5"  # type: ignore[union-attr] # it is a key
    await door.send_frame(b"x" * 160)
    assert carrier.frames == [b"x" * 160]
    carrier.lose("torn")
    with pytest.raises(CarrierGone, match="torn"):
        await door.receive()
    model = recorder.model(FakeModel(Place(), Place(refuses=ModelGone("no", fatal=True))))
    async with model.connect(0) as session:
        assert isinstance(await session.receive(), SessionCreated)
    with pytest.raises(ModelGone, match="no"):
        async with model.connect(1):
            pass
    entries = [(entry.way, entry.what) for entry in read_back(recorder).entries if entry.lane == "model"]
    assert entries == [(">", "connect"), ("<", "opened"), ("<", "SessionCreated"), (">", "close"), ("<", "closed"),
                       (">", "connect"), ("<", "failed")]  # fmt: skip


# ---------------------------------------------------------------- the folder


def settings_for(folder: Path, calls: str = "all", transcripts: str = "keep") -> Settings:
    return Settings(server=Server(flight_folder=str(folder), flight_calls=calls), store=Store(transcripts=transcripts))


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_there_is_no_recorder_without_a_folder_or_without_words(tmp_path: Path) -> None:
    assert folder_of(Settings()) is None
    assert folder_of(settings_for(tmp_path, transcripts="drop")) is None
    assert folder_of(settings_for(tmp_path)) is not None


async def test_troubled_calls_are_those_with_errors_or_in_the_keypad_menu(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    every, troubled = folder_of(settings_for(tmp_path)), folder_of(settings_for(tmp_path, "troubled"))
    assert every is not None
    assert troubled is not None
    good, bad, menu = a_notebook(), a_notebook(), a_notebook()
    bad.trouble("model", "lost")
    records = [good.close(Disposition.HANG_UP, "", []), bad.close(Disposition.HANG_UP, "", [])]
    records.append(menu.close(Disposition.IVR, "", []))
    assert [every.wants(record) for record in records] == [True, True, True]
    assert [troubled.wants(record) for record in records] == [False, True, True]


async def test_the_folder_keeps_the_newest_files_and_only_its_owner_may_read_them(tmp_path: Path) -> None:
    times = iter(range(1_800_000_000, 1_900_000_000))
    folder = FlightFolder(tmp_path / "flights", "all", 90, lambda: float(next(times)), files_at_most=3)
    record = a_notebook().close(Disposition.HANG_UP, "", [])
    with trio.fail_after(PATIENCE):
        for number in range(5):
            await folder.keep(attrs.evolve(record, call_sid=f"CA{number}/../x"), FlightRecorder(HEAD))
    files = sorted((tmp_path / "flights").iterdir())
    assert [file.name for file in files] == [f"CA{number}x-MZ1{ENDING}" for number in (2, 3, 4)]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert read(files[0]).head.call_sid == "CA1"


async def test_what_is_older_than_calls_are_kept_is_deleted(tmp_path: Path) -> None:
    now = [1_800_000_000.0]
    folder = FlightFolder(tmp_path, "all", 90, lambda: now[0])
    record = a_notebook().close(Disposition.HANG_UP, "", [])
    with trio.fail_after(PATIENCE):
        await folder.keep(record, FlightRecorder(HEAD))
        now[0] += 89 * 86_400
        await folder.tidy()
        assert len(names(tmp_path)) == 1
        now[0] += 2 * 86_400
        await folder.tidy()
    assert names(tmp_path) == []


async def test_a_folder_that_cannot_be_written_costs_the_recording_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    folder = FlightFolder(tmp_path / "file", "all", 90)
    with trio.fail_after(PATIENCE):
        await folder.keep(a_notebook().close(Disposition.HANG_UP, "", []), FlightRecorder(HEAD))
    assert (tmp_path / "file").read_text() == "in the way"


async def test_nothing_is_left_of_a_recording_that_could_not_be_written_or_whose_writer_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = FlightFolder(tmp_path, "all", 90)
    record = a_notebook().close(Disposition.HANG_UP, "", [])
    killed = tmp_path / f".CA9-MZ9{ENDING}.4711"
    killed.write_bytes(b"half")
    os.utime(killed, (1.0, 1.0))
    write = Path.write_bytes

    def full(self: Path, data: bytes) -> int:
        write(self, data[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    with trio.fail_after(PATIENCE):
        with monkeypatch.context() as patch:
            patch.setattr(Path, "write_bytes", full)
            await folder.keep(record, FlightRecorder(HEAD))
        assert names(tmp_path) == [killed.name]
        await folder.tidy()
    assert names(tmp_path) == []


async def test_recordings_of_calls_that_are_forgotten_are_forgotten(tmp_path: Path) -> None:
    for name in ("CA1", "CA2"):
        (tmp_path / f"{name}-MZ1{ENDING}").write_bytes(b"")

    async def known(call_sid: str) -> object:
        return {"call_sid": call_sid} if call_sid == "CA2" else None

    assert await forget_unknown(tmp_path, known) == 1
    assert names(tmp_path) == [f"CA2-MZ1{ENDING}"]


# ---------------------------------------------------------------- what is no recording

GOOD_HEAD = b'{"flight":1,"call_sid":"CA1","stream_sid":"MZ1","flow":"x","wall":"2026-11-24T14:30:00+00:00"}\n'
END = b'{"end":1.0,"cut":null}\n'


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"no gzip", "not gzip"),
        (pack(GOOD_HEAD + END)[:-9], "breaks off"),
        (pack(b""), "no JSON"),
        (pack(b"[]\n" + END), "does not say so"),
        (pack(b'{"flight":2}\n' + END), "of version 2"),
        (pack(b'{"flight":1}\n' + END), "line 1 is not what it should be"),
        (pack(GOOD_HEAD.replace(b"2026", b"year") + END), "line 1 is not what it should be"),
        (pack(GOOD_HEAD.replace(b"2026", b"9999") + END), "no time of a call"),
        (pack(GOOD_HEAD.replace(b'"flow"', b'"endpoints":99999999,"flow"') + END), "places where a model"),
        (pack(GOOD_HEAD), "no end"),
        (pack(GOOD_HEAD + b"{}\n" + END), "line 2 is no list"),
        (pack(GOOD_HEAD + b"{\n" + END), "line 2 is no JSON"),
        (pack(GOOD_HEAD + b'[1,"?","model","x",0]\n' + END), "no way"),
        (pack(GOOD_HEAD + b'["1","<","model","x",0]\n' + END), "no time"),
        (pack(GOOD_HEAD + b'[1e99,"<","model","x",0]\n' + END), "in no call"),
        (b"x" * (flight_file.FILE_AT_MOST + 1), "larger than"),
        (pack(b" " * (flight_file.TEXT_AT_MOST + 1)), "more than 16 MB"),
        (pack(b"") * (flight_file.PARTS_AT_MOST + 1), "parts in it"),
    ],
)
def test_a_file_that_is_no_recording_is_refused_with_a_sentence(tmp_path: Path, content: bytes, why: str) -> None:
    file = tmp_path / "x"
    file.write_bytes(content)
    with pytest.raises(BadFlight, match=why) as refused:
        read(file)
    assert str(file) in str(refused.value)


@pytest.mark.parametrize(
    "line",
    [
        b'[0,"<","carrier","voice",[20,[1]]]',
        b'[0,"<","carrier","voice",[20,[1,99999999999]]]',
        b'[0,"<","carrier","voice",[0,[1,1]]]',
        b'[0,"<","carrier","mark","g0.1"]',
        b'[0,"<","carrier","new",[0,""]]',
        b'[0,"<","model","opened",[1,0]]',
        b'[0,"<","model","opened",7]',
        b'[0,"<","errands","came",[]]',
        b'[0,"<","errands","came",[[],1]]',
        b'[0,">","model","connect",[1,0]]\n[0,"<","model","opened",[1,"x"]]',
        b'[0,"<","call","new",null]',
        b'[0,">","model","connect",[1,0]]\n[0,"<","model","ReplyAudio",[1,0,"r","i",99999999999]]',
        b'[0,">","model","connect",[1,0]]\n[0,"<","model","SpeechStarted",[1,0,{"item":7}]]',
        b'[0,">","model","connect",[1,0]]\n[0,"<","model","Unheard",[1,0,{}]]',
    ],
)
async def test_what_a_recording_claims_is_checked_before_it_is_played(autojump_clock: MockClock, line: bytes) -> None:
    with pytest.raises(BadFlight):
        Outside(parse(GOOD_HEAD + line + b"\n" + END))


async def test_a_flow_without_tools_is_planned_as_it_is(autojump_clock: MockClock) -> None:
    assert FlightRecorder(HEAD).plan(PLAN) is PLAN
