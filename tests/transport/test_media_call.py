"""A call on its media stream, over the whole server in memory: what it puts up with, and how it ends."""

import base64
import json

import pytest
import trio
import trio_websocket
from trio.testing import MockClock

from actors.messages import Before, Disposition, ReplyAudio, ReplyBegan, ReplyEnded, ReplyStatus, Tell
from tests.transport.wire_kit import (
    ACCOUNT,
    WAYS,
    House,
    Phone,
    house_in_memory,
    house_metric,
    is_alive,
    settings_for,
    sid,
    signature,
    until,
)
from transport.ws_codec import TEXT, client_frame

# ---------------------------------------------------------------- what a call puts up with


async def test_media_before_the_start_does_no_harm(house: House, autojump_clock: MockClock):
    phone = Phone(await house.upgrade(), house.last_stream, sid(), sid("MZ"))
    for _ in range(10):
        await phone.media()
    await phone.connected()
    await phone.start(house.token(phone.call_sid))
    await is_alive(phone)


NOT_UNDERSTOOD = {
    "second start": lambda p: {"event": "start", "streamSid": p.stream_sid, "start": second_start(p)},
    "wrong streamSid": lambda p: {"event": "dtmf", "streamSid": sid("MZ"), "dtmf": {"digit": "0"}},
    "binary": lambda p: b"\x00\xff",
    "malformed JSON": lambda p: '{"event":',
    "wrong types": lambda p: {"event": "media", "streamSid": p.stream_sid, "media": {"payload": 3}},
    "wrong payload": lambda p: {"event": "media", "streamSid": p.stream_sid, "media": {"payload": "?"}},
    "wrong key": lambda p: {"event": "dtmf", "streamSid": p.stream_sid, "dtmf": {"digit": "E"}},
    "unknown event": lambda p: {"event": "weather", "streamSid": p.stream_sid},
}


def second_start(phone: Phone) -> dict:
    return {
        "callSid": phone.call_sid,
        "accountSid": ACCOUNT,
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
    }


@pytest.mark.parametrize("kind", NOT_UNDERSTOOD)
async def test_what_is_not_understood_is_reported_once_a_kind_and_the_call_goes_on(
    house: House, autojump_clock: MockClock, kind: str
):
    phone = await house.call()
    await phone.hear()
    for _ in range(5):
        await phone.say(NOT_UNDERSTOOD[kind](phone))
    await is_alive(phone)
    assert house_metric(house, f'triode_trouble_total{{kind="{kind}"}}') == 1
    assert house.store.records == []
    assert house.model.made == 1
    await phone.stop()
    await until(lambda: house.store.records)
    (record,) = house.store.records
    assert record.keys == ""
    assert record.frames_in == 1


async def test_two_calls_with_the_same_fault_are_both_reported(house: House, autojump_clock: MockClock):
    for number in (1, 2):
        phone = await house.call()
        await phone.say(b"binary")
        await is_alive(phone)
        assert house_metric(house, 'triode_trouble_total{kind="binary"}') == number


async def test_a_burst_of_keys_and_marks_in_one_piece_ends_no_call(house: House, autojump_clock: MockClock):
    phone = await house.call()
    await phone.hear()
    key = {"event": "dtmf", "streamSid": phone.stream_sid, "dtmf": {"track": "inbound_track", "digit": "7"}}
    mark = {"event": "mark", "streamSid": phone.stream_sid, "mark": {"name": "nobody's"}}
    frames = b"".join(client_frame(TEXT, json.dumps(event).encode()) for event in [key, mark] * 300)
    await phone.stream.send_all(frames)
    await is_alive(phone)
    await phone.stop()
    await until(lambda: house.store.of(phone.call_sid))
    (record,) = house.store.of(phone.call_sid)
    assert record.keys == "7" * 25  # of one second; no finger is faster
    assert [error.kind for error in record.errors] == ["keys"]
    assert record.reason == "the caller hung up"


async def test_what_a_server_that_is_behind_reads_at_once_goes_on_in_fewer_pieces(
    house: House, autojump_clock: MockClock
):
    phone = await house.call()
    await phone.hear()
    session = house.model.sessions[0]
    said = [bytes([number]) * 160 for number in range(1, 21)]

    def media(number: int, audio: bytes) -> bytes:
        payload = {"payload": base64.b64encode(audio).decode(), "timestamp": str(20 * number)}
        return client_frame(
            TEXT, json.dumps({"event": "media", "streamSid": phone.stream_sid, "media": payload}).encode()
        )

    mark = client_frame(
        TEXT, json.dumps({"event": "mark", "streamSid": phone.stream_sid, "mark": {"name": "x"}}).encode()
    )
    before = len(session.payloads)
    wire = [media(number, audio) for number, audio in enumerate(said)]
    await phone.stream.send_all(b"".join([*wire[:5], mark, *wire[5:]]))

    def pieces() -> list[bytes]:
        return [base64.b64decode(payload) for payload in session.payloads[before:]]

    await until(lambda: b"".join(pieces()) == b"".join(said))
    if not house.through_hypercorn:
        assert [len(piece) // 160 for piece in pieces()] == [5, 10, 5], (
            "none waits for what is no audio, nor for the others"
        )


async def test_a_stream_of_nothing_but_rubbish_is_ended_and_the_caller_kept(house: House, autojump_clock: MockClock):
    phone = await house.call()
    with trio.fail_after(60):
        for _ in range(600):
            try:
                await phone.say("rubbish")
            except trio_websocket.ConnectionClosed:
                break
    await until(lambda: house.store.records)
    assert len(house.store.of(phone.call_sid)) == 1


async def test_a_message_that_is_too_big_closes_its_stream_with_1009_and_no_other(
    house: House, autojump_clock: MockClock
):
    bystander = await house.call()
    phone = await house.call()
    await phone.hear()
    await phone.media("A" * 100_000)
    assert await phone.closing(10) == 1009
    await until(lambda: house.store.of(phone.call_sid))
    await is_alive(bystander)
    assert house.store.of(bystander.call_sid) == []


async def test_a_big_message_within_the_limit_is_taken(house: House, autojump_clock: MockClock):
    phone = await house.call()
    await phone.media("A" * 60_000)
    await is_alive(phone)


async def test_the_callers_audio_reaches_the_model_as_it_came(house: House, autojump_clock: MockClock):
    phone = await house.call()
    payloads = [f"AAA{letter}" for letter in "ABCDEFGH"]
    for payload in payloads:
        await phone.media(payload)
    await until(lambda: house.model.sessions and len(house.model.sessions[0].payloads) >= 8)
    assert house.model.sessions[0].payloads[:8] == payloads


async def test_a_key_reaches_the_model_as_text(house: House, autojump_clock: MockClock):
    phone = await house.call()
    await until(lambda: house.model.sessions)
    await phone.key("7")
    commands = house.model.sessions[0].commands
    await until(lambda: any(isinstance(command, Tell) and "7" in command.text for command in commands))
    await phone.stop()
    await until(lambda: house.store.records)
    assert house.store.records[0].keys == "7"


async def test_what_the_model_says_is_played_in_frames_and_marks_of_this_stream(
    house: House, autojump_clock: MockClock
):
    phone = await house.call()
    await until(lambda: house.model.sessions)
    session = house.model.sessions[0]
    audio = bytes(range(256)) * 25
    session.say(ReplyBegan("r1"), ReplyAudio("r1", "i1", audio), ReplyEnded("r1", ReplyStatus.COMPLETED))
    played = b""
    with trio.fail_after(60):
        while audio not in played:
            message = await phone.hear(30)
            assert message["streamSid"] == phone.stream_sid
            if message["event"] == "media":
                assert set(message) == {"event", "streamSid", "media"}
                played += base64.b64decode(message["media"]["payload"])
            elif message["event"] == "mark":
                assert set(message) == {"event", "streamSid", "mark"}
                await phone.say({"event": "mark", "streamSid": phone.stream_sid, "mark": message["mark"]})
            else:
                assert message == {"event": "clear", "streamSid": phone.stream_sid}


async def test_calls_do_not_hear_each_other(house: House, autojump_clock: MockClock):
    phones = [await house.call() for _ in range(5)]
    await until(lambda: len(house.model.sessions) == 5)
    await phones[2].media("////")
    await until(lambda: any("////" in s.payloads for s in house.model.sessions))
    assert sum("////" in s.payloads for s in house.model.sessions) == 1
    for phone in phones:
        for _ in range(10):
            assert (await phone.hear())["streamSid"] == phone.stream_sid


# ---------------------------------------------------------------- the end


async def one_record_after(house: House, phone: Phone) -> None:
    await until(lambda: house.store.of(phone.call_sid))
    await trio.sleep(90)
    (record,) = house.store.of(phone.call_sid)
    assert record.stream_sid == phone.stream_sid
    assert record.disposition is not None
    assert house.app.extensions["triode"].switchboard.active == 0
    assert house.crashes == []
    assert house.unfinished == 0


async def test_a_hang_up_by_stop_makes_one_record(house: House, autojump_clock: MockClock):
    phone = await house.call()
    await phone.hear()
    await phone.stop()
    assert await phone.closing() == 1000
    await one_record_after(house, phone)
    assert house.store.dispositions[phone.call_sid] is Disposition.HANG_UP


async def test_a_hang_up_by_stop_and_then_close_makes_one_record(house: House, autojump_clock: MockClock):
    phone = await house.call()
    await phone.hear()
    await phone.stop()
    with trio.move_on_after(5):
        await phone.socket.aclose()
    await one_record_after(house, phone)


async def test_a_stop_that_comes_twice_makes_one_record(house: House, autojump_clock: MockClock):
    phone = await house.call()
    await phone.hear()
    await phone.stop()
    with trio.move_on_after(5):
        try:
            await phone.stop()
            await phone.socket.aclose()
        except trio_websocket.ConnectionClosed:
            pass
    await one_record_after(house, phone)


async def test_a_close_without_stop_makes_one_record(house: House, autojump_clock: MockClock):
    phone = await house.call()
    await phone.hear()
    with trio.move_on_after(5):
        await phone.socket.aclose()
    await one_record_after(house, phone)


async def test_a_lost_connection_makes_one_record(house: House, autojump_clock: MockClock):
    phone = await house.call()
    await phone.hear()
    await phone.lose()
    await one_record_after(house, phone)


async def test_a_stop_on_a_connection_that_is_lost_at_once_makes_one_record(house: House, autojump_clock: MockClock):
    phone = await house.call()
    await phone.stop()
    await phone.lose()
    await one_record_after(house, phone)


async def test_a_stop_with_rubbish_behind_it_in_one_piece_is_a_hang_up(house: House, autojump_clock: MockClock):
    phone = await house.call()
    await phone.hear()
    stop = {"event": "stop", "streamSid": phone.stream_sid, "sequenceNumber": "99"}
    stop["stop"] = {"accountSid": ACCOUNT, "callSid": phone.call_sid}
    await phone.stream.send_all(client_frame(TEXT, json.dumps(stop).encode()) + b"\xff\xff\xff\xff\xff\xff")
    await one_record_after(house, phone)
    assert house.store.dispositions[phone.call_sid] is Disposition.HANG_UP


async def test_a_peer_that_falls_silent_for_good_is_held_for_gone(house: House, autojump_clock: MockClock):
    """Neither audio nor pongs: what hypercorn's read_timeout finds, the lane finds too."""
    phone = Phone(await house.upgrade(), house.last_stream, sid(), sid("MZ"))
    await phone.start(house.token(phone.call_sid))
    await phone.hear()
    # From here on nobody reads or answers at the other end.
    deaf = phone.stream.receive_stream

    async def nothing(max_bytes: object = None) -> bytes:
        await trio.sleep_forever()
        return b""

    deaf.receive_some = nothing
    await until(lambda: house.store.of(phone.call_sid), within=300)
    assert len(house.store.of(phone.call_sid)) == 1


async def test_the_status_callback_ends_a_call_whose_stream_says_nothing(house: House, autojump_clock: MockClock):
    phone = await house.call()
    await phone.hear()
    form = {"CallSid": phone.call_sid, "CallStatus": "completed", "SequenceNumber": "3"}
    headers = {"X-Twilio-Signature": signature("https://phone.example.com/twilio/status", form)}
    response = await house.app.test_client().post("/twilio/status", form=form, headers=headers)
    assert response.status_code == 204
    await phone.closing()
    await one_record_after(house, phone)


async def test_a_new_stream_of_a_call_ends_the_old_one(house: House, autojump_clock: MockClock):
    first = await house.call()
    await first.hear()
    second = await house.call(first.call_sid, token=house.token(first.call_sid, before=Before.CUT_OFF))
    await second.hear()
    await first.closing()
    await until(lambda: house.store.of(first.call_sid))
    assert [r.stream_sid for r in house.store.of(first.call_sid)] == [first.stream_sid]
    await is_alive(second)


async def test_other_calls_go_on_when_one_is_lost(house: House, autojump_clock: MockClock):
    phones = [await house.call() for _ in range(4)]
    for phone in phones:
        await phone.hear()
    await phones[0].lose()
    await phones[1].stop()
    await phones[2].say(b"rubbish")
    await until(lambda: len(house.store.records) == 2)
    await is_alive(phones[2])
    await is_alive(phones[3])
    assert house.app.extensions["triode"].switchboard.active == 2


async def test_a_bug_in_the_model_port_sends_the_caller_to_the_menu(house: House, autojump_clock: MockClock):
    phone = await house.call()
    await until(lambda: house.model.sessions)
    house.model.sessions[0].say(ReplyEnded("r", ReplyStatus.COMPLETED, calls=None))  # type: ignore[arg-type] # the bug
    await until(lambda: house.store.of(phone.call_sid))
    assert house.store.dispositions[phone.call_sid] is Disposition.IVR


@pytest.mark.parametrize("through_hypercorn", WAYS)
async def test_when_a_drain_is_over_the_streams_are_moved(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock, through_hypercorn: bool
):
    begins = trio.Event()
    settings = settings_for(drain_seconds=20.0)
    async with house_in_memory(
        monkeypatch, settings, through_hypercorn=through_hypercorn, drain_begins=begins.wait
    ) as house:
        phone = await house.call()
        await phone.hear()
        begins.set()
        with trio.move_on_after(10):
            await phone.closing()
        assert house.store.records == []
        assert await phone.closing() == 1000
        await until(lambda: house.store.of(phone.call_sid))
        assert house.store.dispositions[phone.call_sid] is Disposition.RESUME
