"""The frame codec against wsproto, both ways and cut anywhere; and what is refused, with which code."""

import secrets
import struct
import subprocess
import sys
from collections.abc import Iterable

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from wsproto import ConnectionType
from wsproto import events as wire
from wsproto.connection import Connection

from tests.kit.patience import PATIENCE
from tests.transport.frames_kit import codes, cut, meaning, messages, texts, theirs
from transport import ws_codec
from transport.ws_codec import (
    BINARY,
    CLOSE,
    INVALID_DATA,
    PING,
    PONG,
    PROTOCOL_ERROR,
    TEXT,
    TOO_BIG,
    Closing,
    Event,
    FrameError,
    FrameReader,
    Ping,
    Pong,
    client_frame,
    close_payload,
    server_frame,
)

LIMIT = 300_000
MASK = b"\x0f\xf0\xa5\x5a"
EDGES = (0, 1, 3, 4, 5, 124, 125, 126, 127, 128, 65534, 65535, 65536, 65537)
"""Sizes around which the form of the length changes."""


def raw(first: int, payload: bytes = b"", *, length: bytes = b"", masked: bool = True) -> bytes:
    """A frame by hand: its first byte as given, its length too where `length` (the second byte's and more) is given."""
    bit = 0x80 if masked else 0
    if not length:
        size = len(payload)
        length = bytes((size,)) if size < 126 else b"\x7e" + struct.pack("!H", size)
    body = bytes(byte ^ MASK[at % 4] for at, byte in enumerate(payload)) if masked else payload
    return bytes((first, length[0] | bit)) + length[1:] + (MASK if masked else b"") + body


def ours(pieces: Iterable[bytes], limit: int = LIMIT, *, of_server: bool = False) -> list[Event]:
    reader = FrameReader(limit, of_server=of_server)
    return [event for piece in pieces for event in reader.feed(piece)]


def refused(data: bytes, limit: int = LIMIT) -> int:
    with pytest.raises(FrameError) as caught:
        ours([data], limit)
    assert str(caught.value)
    return caught.value.code


def outcome(pieces: Iterable[bytes], *, of_server: bool) -> list[Event] | int:
    """What is read, or the code with which it is refused."""
    try:
        return ours(pieces, of_server=of_server)
    except FrameError as error:
        return error.code


# ---------------------------------------------------------------- what wsproto says, we read

sizes = st.lists(st.integers(1, 200) | st.just(100_000), min_size=1, max_size=5)


@given(st.lists(messages(), max_size=4), sizes, st.none() | st.tuples(codes, texts))
def test_whatever_wsproto_sends_is_read_as_it_was_meant(
    batches: list[list[wire.Event]], pieces: list[int], end: tuple[int, str] | None
) -> None:
    client = Connection(ConnectionType.CLIENT)
    events = [event for batch in batches for event in batch]
    if end is not None:
        events.append(wire.CloseConnection(code=end[0], reason=end[1]))
    stream = b"".join(client.send(event) for event in events)
    assert ours(cut(stream, pieces)) == meaning(events)


@given(st.lists(messages(), max_size=4), sizes, st.none() | st.tuples(codes, texts))
def test_whatever_a_server_of_wsproto_sends_is_read_as_it_was_meant(
    batches: list[list[wire.Event]], pieces: list[int], end: tuple[int, str] | None
) -> None:
    server = Connection(ConnectionType.SERVER)
    events = [event for batch in batches for event in batch]
    if end is not None:
        events.append(wire.CloseConnection(code=end[0], reason=end[1]))
    stream = b"".join(server.send(event) for event in events)
    assert ours(cut(stream, pieces), of_server=True) == meaning(events)


@pytest.mark.parametrize("size", EDGES)
def test_every_form_of_length_is_read_from_a_server(size: int) -> None:
    payload = bytes(range(256)) * (size // 256) + bytes(size % 256)
    stream = server_frame(BINARY, payload) + server_frame(TEXT, b"x" * size)
    assert ours([stream], of_server=True) == [payload, "x" * size]
    assert ours(cut(stream, [1, 2, 1, 1, 4096]), of_server=True) == [payload, "x" * size]


@pytest.mark.parametrize("size", EDGES)
def test_every_form_of_length_is_read(size: int) -> None:
    client = Connection(ConnectionType.CLIENT)
    payload = bytes(range(256)) * (size // 256) + bytes(size % 256)
    stream = client.send(wire.BytesMessage(data=payload)) + client.send(wire.TextMessage(data="x" * size))
    assert ours([stream]) == [payload, "x" * size]
    assert ours(cut(stream, [7, 4096])) == [payload, "x" * size]


@pytest.mark.parametrize("at", range(1, 30))
def test_it_does_not_matter_where_the_stream_is_cut(at: int) -> None:
    client = Connection(ConnectionType.CLIENT)
    whole = [wire.TextMessage(data="ü" * 3), wire.Ping(b"p"), wire.BytesMessage(data=b"b" * 130), wire.Pong()]
    stream = b"".join(client.send(event) for event in whole)
    assert ours([stream[:at], stream[at:]]) == ours(cut(stream, [1])) == ["üüü", Ping(b"p"), b"b" * 130, Pong()]


def test_a_close_without_a_code_is_told_as_1005() -> None:
    assert ours([raw(0x88)]) == [Closing(1005, "")]


def test_a_huge_message_is_joined_once_however_many_pieces_it_comes_in() -> None:
    size = 8_000_000
    stream = server_frame(TEXT, b"x" * size) + server_frame(TEXT, b"next")
    pieces = list(cut(stream, [64_000]))
    reader, events, joins = FrameReader(size, of_server=True), list[Event](), 0

    def watch(_: object, what: str, function: object) -> None:
        nonlocal joins
        joins += what == "c_call" and getattr(function, "__name__", "") == "join"

    for piece in pieces:
        assert not events, "it is told with its last piece"
        sys.setprofile(watch)
        events += reader.feed(piece)
        sys.setprofile(None)
        assert reader._rest in (pieces[0], b"")
    assert events == ["x" * size, "next"]
    assert joins == 1


@pytest.mark.parametrize("of_server", [False, True])
def test_what_comes_behind_a_close_is_nobodys_affair(of_server: bool) -> None:
    frame = server_frame if of_server else client_frame
    stream = frame(TEXT, b"a") + frame(CLOSE, close_payload(1001, "gone"))
    for behind in (frame(PING, b"p") + frame(TEXT, b"b"), b"\xff" * 20, frame(CLOSE, b"")):
        told = ["a", Closing(1001, "gone")]
        assert ours([stream + behind], of_server=of_server) == told
        assert ours([stream, behind, b"more"], of_server=of_server) == told
        assert ours(cut(stream + behind, [1]), of_server=of_server) == told


def test_nothing_is_told_before_the_last_byte_is_here() -> None:
    stream = client_frame(TEXT, b"x" * 200)
    reader = FrameReader(LIMIT)
    assert reader.feed(stream[:-1]) == []
    assert reader.feed(b"") == []
    assert reader.feed(stream[-1:]) == ["x" * 200]


# ---------------------------------------------------------------- what we say, wsproto reads


def on_both_sides(opcode: int, payload: bytes, pieces: Iterable[int] = (1 << 20,)) -> list[list[Event]]:
    """A frame of ours to a client of wsproto, to a server of wsproto, and to our own reader."""
    down, up = server_frame(opcode, payload), client_frame(opcode, payload)
    found = [theirs(cut(down, pieces), ConnectionType.CLIENT), theirs(cut(up, pieces), ConnectionType.SERVER)]
    return [*found, ours(cut(up, pieces))]


@given(texts, sizes)
@example("x" * 125, [1])
@example("ü" * 63, [1])
def test_wsproto_reads_our_texts(text: str, pieces: list[int]) -> None:
    assert on_both_sides(TEXT, text.encode(), pieces) == [[text]] * 3


@given(st.binary(max_size=400), st.binary(max_size=125), sizes)
def test_wsproto_reads_our_bytes_and_control_frames(data: bytes, small: bytes, pieces: list[int]) -> None:
    assert on_both_sides(BINARY, data, pieces) == [[data]] * 3
    assert on_both_sides(PING, small, pieces) == [[Ping(small)]] * 3
    assert on_both_sides(PONG, small, pieces) == [[Pong(small)]] * 3


@pytest.mark.parametrize("size", EDGES)
def test_wsproto_reads_our_frames_of_every_form_of_length(size: int) -> None:
    payload = bytes(number * 7 % 251 for number in range(size))
    assert on_both_sides(BINARY, payload) == [[payload]] * 3


@given(codes, texts)
@example(1000, "ü" * 100)
@example(1000, "x" + "ü" * 100)
@example(1000, "😀" * 40)
def test_wsproto_reads_our_close_with_as_much_of_the_reason_as_fits(code: int, reason: str) -> None:
    payload = close_payload(code, reason)
    assert len(payload) <= 125
    kept = payload[2:].decode()
    assert reason.startswith(kept)
    assert kept == reason or len(payload) + len(reason[len(kept)].encode()) > 125
    assert on_both_sides(CLOSE, payload) == [[Closing(code, kept)]] * 3


def test_a_client_masks_every_frame_with_another_mask() -> None:
    frames = {client_frame(TEXT, b"the same text")[2:6] for _ in range(50)}
    assert len(frames) > 45
    assert server_frame(TEXT, b"hi") == b"\x81\x02hi"


def test_masks_are_fetched_many_at_a_time_and_none_is_used_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[bytes] = []

    def urandom(size: int) -> bytes:
        fetched.append(secrets.token_bytes(size))
        return fetched[-1]

    monkeypatch.setattr(ws_codec.os, "urandom", urandom)
    ws_codec._masks._forget()
    frames = [client_frame(TEXT, b"") for _ in range(2 * ws_codec._masks.AT_ONCE + 1)]
    assert len(fetched) == 3
    assert b"".join(frame[2:] for frame in frames) == b"".join(fetched)[: 4 * len(frames)]
    ws_codec._masks._forget()


FORKS = """
import os
from transport.ws_codec import client_frame
client_frame(1, b"")
ours, theirs = os.pipe()
if os.fork():
    print(os.read(ours, 100) != client_frame(1, b""))
else:
    os.write(theirs, client_frame(1, b""))
"""


def test_a_process_that_was_forked_has_masks_of_its_own() -> None:
    done = subprocess.run([sys.executable, "-c", FORKS], capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert done.stdout == "True\n"


# ---------------------------------------------------------------- what is refused

TOO_LONG_FORM = [(b"\x7e" + struct.pack("!H", 5), b"hello"), (b"\x7f" + struct.pack("!Q", 5), b"hello")]


@pytest.mark.parametrize("size", [4, 5, 125, 126, 65535, 65536])
@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, PONG, CLOSE])
def test_a_client_frame_without_a_mask_is_refused(opcode: int, size: int) -> None:
    assert refused(server_frame(opcode, b"\x03" * size)) == PROTOCOL_ERROR


def test_a_short_frame_without_a_mask_is_refused_with_what_follows_at_the_latest() -> None:
    assert refused(server_frame(TEXT, b"") + client_frame(TEXT, b"hello")) == PROTOCOL_ERROR


@pytest.mark.parametrize("size", [0, 5, 125, 126, 65535, 65536])
@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, PONG, CLOSE])
def test_a_server_frame_with_a_mask_is_refused(opcode: int, size: int) -> None:
    stream = client_frame(opcode, b"\x03" * size)
    assert outcome([stream], of_server=True) == PROTOCOL_ERROR
    assert outcome([stream[:2]], of_server=True) == PROTOCOL_ERROR
    assert outcome(cut(stream, [1]), of_server=True) == PROTOCOL_ERROR


@pytest.mark.parametrize("bit", [0x40, 0x20, 0x10])
@pytest.mark.parametrize("first", [0x81, 0x82, 0x01, 0x88, 0x89, 0x8A])
def test_a_reserved_bit_is_refused(first: int, bit: int) -> None:
    assert refused(raw(first | bit, b"hello")) == PROTOCOL_ERROR


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF])
def test_an_unknown_kind_of_frame_is_refused(opcode: int) -> None:
    assert refused(raw(0x80 | opcode, b"hello")) == PROTOCOL_ERROR


@pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
def test_a_control_frame_may_not_be_fragmented_or_long(opcode: int) -> None:
    assert refused(raw(opcode, b"hello")) == PROTOCOL_ERROR
    assert refused(raw(0x80 | opcode, b"x" * 126)) == PROTOCOL_ERROR


@pytest.mark.parametrize(
    "stream",
    [
        raw(0x80, b"the rest of nothing"),
        raw(0x00, b"the rest of nothing"),
        raw(0x01, b"begun") + raw(0x81, b"again"),
        raw(0x02, b"begun") + raw(0x01, b"again"),
        raw(0x01, b"begun") + raw(0x80, b"ended") + raw(0x80, b"ended again"),
    ],
)
def test_fragments_out_of_order_are_refused(stream: bytes) -> None:
    assert refused(stream) == PROTOCOL_ERROR


@pytest.mark.parametrize(("length", "payload"), TOO_LONG_FORM)
def test_a_length_must_be_in_its_shortest_form(length: bytes, payload: bytes) -> None:
    assert refused(raw(0x81, payload, length=length)) == PROTOCOL_ERROR


def test_a_length_of_two_bytes_that_is_said_in_eight_is_refused() -> None:
    assert refused(raw(0x81, b"x" * 126, length=b"\x7f" + struct.pack("!Q", 126))) == PROTOCOL_ERROR


@pytest.mark.parametrize("limit", [0, 1, 125, 126, 1000, 65535, 65536, 70_000])
def test_a_message_may_be_as_long_as_the_limit_and_no_longer(limit: int) -> None:
    assert ours([client_frame(BINARY, bytes(limit))], limit) == [bytes(limit)]
    assert refused(client_frame(BINARY, bytes(limit + 1)), limit) == TOO_BIG
    half = bytes(limit // 2)
    start, end = raw(0x02, half), raw(0x80, bytes(limit - len(half)))
    assert ours([start, raw(0x89, b"p"), end], limit) == [Ping(b"p"), bytes(limit)]
    assert refused(start + raw(0x80, bytes(limit - len(half) + 1)), limit) == TOO_BIG


@pytest.mark.parametrize("size", [66_000, 1 << 31, 1 << 62, (1 << 63) + 5])
def test_a_message_that_is_announced_too_long_is_refused_before_it_comes(size: int) -> None:
    assert refused(raw(0x82, length=b"\x7f" + struct.pack("!Q", size)), 65536) == TOO_BIG


def test_the_limit_is_for_each_message_and_not_for_all() -> None:
    frame = raw(0x01, b"x" * 50) + raw(0x80, b"x" * 50)
    assert ours([frame * 20], 100) == ["x" * 100] * 20


def test_endless_empty_fragments_are_refused() -> None:
    assert refused(raw(0x01) + raw(0x00) * 5000) == TOO_BIG


BAD_UTF8 = [b"\xff", b"\xc3", b"\xc3\x28", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf", b"ok \xe2\x82"]


@pytest.mark.parametrize("text", BAD_UTF8)
def test_text_that_is_not_utf8_is_refused(text: bytes) -> None:
    assert refused(raw(0x81, text)) == INVALID_DATA
    assert refused(raw(0x01, text[:1]) + raw(0x80, text[1:])) == INVALID_DATA
    assert refused(raw(0x88, struct.pack("!H", 1000) + text)) == INVALID_DATA
    assert ours([raw(0x82, text)]) == [text]


def test_a_letter_may_be_cut_between_fragments() -> None:
    letter = "😀".encode()
    parts = [raw(0x01, letter[:1]), raw(0x00, letter[1:3]), raw(0x80, letter[3:])]
    assert ours(parts) == ["😀"]


@pytest.mark.parametrize("code", [1000, 1003, 1007, 1012, 1013, 1014, 3000, 3999, 4000, 4999])
def test_a_close_code_that_may_be_sent_is_taken(code: int) -> None:
    assert ours([raw(0x88, struct.pack("!H", code) + "Grüße".encode())]) == [Closing(code, "Grüße")]


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65535])
def test_a_close_code_that_may_not_be_sent_is_refused(code: int) -> None:
    assert refused(raw(0x88, struct.pack("!H", code))) == PROTOCOL_ERROR


def test_a_close_code_of_one_byte_is_refused() -> None:
    assert refused(raw(0x88, b"\x03")) == PROTOCOL_ERROR


FIRST_BYTES = st.sampled_from([0x81, 0x01, 0x00, 0x80, 0x82, 0x89, 0x8A, 0x88]) | st.integers(0, 255)
payloads = st.binary(max_size=60) | texts.map(str.encode)
frames = st.builds(raw, FIRST_BYTES, payloads, masked=st.integers(0, 9).map(bool))
server_frames = st.builds(raw, FIRST_BYTES, payloads, masked=st.integers(0, 9).map(lambda number: not number))


@given(
    st.tuples(st.just(False), st.lists(frames | st.binary(max_size=9), max_size=6).map(b"".join))
    | st.tuples(st.just(True), st.lists(server_frames | st.binary(max_size=9), max_size=6).map(b"".join)),
    sizes,
)
def test_any_bytes_are_read_or_refused_wherever_they_are_cut(side: tuple[bool, bytes], pieces: list[int]) -> None:
    of_server, data = side
    whole = outcome([data], of_server=of_server)
    assert outcome(cut(data, pieces), of_server=of_server) == whole
    assert whole in (PROTOCOL_ERROR, INVALID_DATA, TOO_BIG) or isinstance(whole, list)


@given(st.lists(server_frames, max_size=5).map(b"".join), st.booleans())
@settings(max_examples=200)
def test_what_wsproto_takes_from_a_server_is_taken_and_what_it_refuses_refused(data: bytes, end: bool) -> None:
    data += server_frame(CLOSE, close_payload(1000, "")) if end else b""
    try:
        theirs_say: list[Event] | int = theirs(cut(data, [1]), ConnectionType.CLIENT)
    except FrameError as error:
        theirs_say = error.code
    assume(theirs_say != INVALID_DATA)  # wsproto looks at each fragment as it comes, we at the whole message
    assert outcome([data], of_server=True) == theirs_say
