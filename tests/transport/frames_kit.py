"""WebSocket frames by wsproto's hand: messages of every kind, and what they mean."""

import itertools
from collections.abc import Iterable, Iterator

from hypothesis import strategies as st
from wsproto import ConnectionType
from wsproto import events as wire
from wsproto.connection import Connection, ConnectionState

from transport.ws_codec import Closing, Event, FrameError, Ping, Pong

texts = st.text(st.characters(exclude_categories=["Cs"]))
codes = st.sampled_from([*range(1000, 1004), *range(1007, 1014)]) | st.integers(3000, 4999)
controls = st.builds(wire.Ping, st.binary(max_size=125)) | st.builds(wire.Pong, st.binary(max_size=125))


def cut(data: bytes, sizes: Iterable[int]) -> Iterator[bytes]:
    """`data` in pieces of `sizes`, over and over."""
    at, each = 0, itertools.cycle(sizes)
    while at < len(data):
        size = next(each)
        yield data[at : at + size]
        at += size


def theirs(pieces: Iterable[bytes], side: ConnectionType) -> list[Event]:
    """What wsproto reads, or refuses, in our words, with the parts of a message joined."""
    connection, found = Connection(side), list[Event]()
    parts: list[str | bytes] = []
    for piece in pieces:
        connection.receive_data(piece)
        for event in connection.events():
            match event:
                case wire.TextMessage() | wire.BytesMessage():
                    parts.append(event.data if isinstance(event.data, str) else bytes(event.data))
                    if event.message_finished:
                        found.append(type(parts[0])().join(parts))
                        parts.clear()
                case wire.Ping():
                    found.append(Ping(bytes(event.payload)))
                case wire.Pong():
                    found.append(Pong(bytes(event.payload)))
                case wire.CloseConnection():
                    if (
                        connection.state is ConnectionState.OPEN
                    ):  # nobody closed it: wsproto says what it would close with
                        raise FrameError(event.code, event.reason or "")
                    found.append(Closing(event.code, event.reason or ""))
    return found


@st.composite
def messages(draw: st.DrawFn) -> list[wire.Event]:
    """One message in one or more fragments, with control frames before and between them."""
    kind, parts = draw(
        st.tuples(st.just(wire.TextMessage), st.lists(texts, min_size=1, max_size=4))
        | st.tuples(st.just(wire.BytesMessage), st.lists(st.binary(max_size=300), min_size=1, max_size=4))
    )
    events: list[wire.Event] = []
    for number, part in enumerate(parts, 1):
        events += [*draw(st.lists(controls, max_size=2)), kind(data=part, message_finished=number == len(parts))]
    return events


def meaning(events: Iterable[wire.Event]) -> list[Event]:
    """What the events mean, by the books."""
    connection = Connection(ConnectionType.SERVER)
    return theirs([connection.send(event) for event in events], ConnectionType.CLIENT)
