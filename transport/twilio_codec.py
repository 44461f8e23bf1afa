"""The Media Streams wire, sans-IO: text in, messages out, and back. Owns no clock and no socket.

Source: Twilio, "Media Streams: WebSocket messages". Every counter on this wire is a string of digits; unknown events and
fields are tolerated; what cannot be understood raises BadMessage, which never ends a call by itself.
"""

import binascii
from collections.abc import Callable
from typing import TypeAlias

import attrs
import msgspec

from actors.messages import CallerAudio, KeyPressed, MarkEchoed, StreamStopped

MULAW = ("audio/x-mulaw", 8000, 1)
_KEYS = frozenset("0123456789*#ABCD")


class BadMessage(Exception):
    """A message that cannot be understood; `kind` groups those that are wrong in the same way."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


@attrs.frozen
class Connected:
    """The first message: there is no more in it than that."""


@attrs.frozen
class Started:
    """The stream: whose it is, in which format, and what the TwiML handed along."""

    stream_sid: str
    call_sid: str
    account_sid: str
    media_format: tuple[str, int, int]
    parameters: dict[str, str] = attrs.field(repr=False)


@attrs.frozen
class Unknown:
    """An event that this server does not know."""

    event: str


Inbound: TypeAlias = Connected | Started | CallerAudio | KeyPressed | MarkEchoed | StreamStopped | Unknown


class _Media(msgspec.Struct):
    payload: str
    timestamp: str = "0"
    track: str = "inbound"


class _Format(msgspec.Struct):
    encoding: str
    sampleRate: int  # noqa: N815 - the wire's name
    channels: int


class _Start(msgspec.Struct):
    callSid: str  # noqa: N815 - the wire's name
    mediaFormat: _Format  # noqa: N815 - the wire's name
    accountSid: str = ""  # noqa: N815 - the wire's name
    streamSid: str = ""  # noqa: N815 - the wire's name
    customParameters: dict[str, str] = {}  # noqa: N815 - the wire's name


class _Dtmf(msgspec.Struct):
    digit: str


class _Mark(msgspec.Struct):
    name: str


class _Message(msgspec.Struct):
    event: str
    streamSid: str = ""  # noqa: N815 - the wire's name
    media: _Media | None = None
    start: _Start | None = None
    dtmf: _Dtmf | None = None
    mark: _Mark | None = None


_decode = msgspec.json.Decoder(_Message, strict=False).decode


def decode(message: str | bytes | None, stream_sid: str, clock: Callable[[], float]) -> Inbound:
    """The message in one WebSocket frame of stream `stream_sid` ("" before `start`), just read. Raises BadMessage."""
    if not isinstance(message, str):
        raise BadMessage("binary", "a binary frame: the wire is JSON in text frames")
    try:
        wire = _decode(message)
    except msgspec.ValidationError as error:
        raise BadMessage("wrong types", str(error)) from None
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise BadMessage("malformed JSON", str(error)) from None
    if stream_sid and wire.streamSid and wire.streamSid != stream_sid:
        raise BadMessage("wrong streamSid", f"{wire.event} of another stream")
    if wire.event == "media" and wire.media is not None:
        return _audio(wire.media)
    if wire.event == "mark" and wire.mark is not None:
        return MarkEchoed(wire.mark.name, clock())
    if wire.event == "dtmf" and wire.dtmf is not None:
        if wire.dtmf.digit not in _KEYS:
            raise BadMessage("wrong key", f"dtmf digit {wire.dtmf.digit[:8]!r}")
        return KeyPressed(wire.dtmf.digit)
    if wire.event == "start" and wire.start is not None:
        form = wire.start.mediaFormat
        sid = wire.start.streamSid or wire.streamSid
        if not sid:
            raise BadMessage("wrong types", "start without a streamSid")
        media_format = (form.encoding, form.sampleRate, form.channels)
        start = wire.start
        return Started(sid, start.callSid, start.accountSid, media_format, start.customParameters)
    if wire.event == "stop":
        return StreamStopped()
    if wire.event == "connected":
        return Connected()
    if wire.event in {"media", "mark", "dtmf", "start"}:
        raise BadMessage("wrong types", f"{wire.event} without its object")
    return Unknown(wire.event[:64])


def _audio(media: _Media) -> CallerAudio | Unknown:
    if media.track not in {"inbound", "inbound_track"}:
        return Unknown(f"media of track {media.track[:16]}")
    try:
        audio = binascii.a2b_base64(media.payload, strict_mode=True)
    except ValueError:  # binascii.Error, or what is not even ASCII
        audio = b""
    if not audio:
        raise BadMessage("wrong payload", "media payload is not base64")
    if not media.timestamp.isascii() or not media.timestamp.isdigit() or len(media.timestamp) > 15:
        raise BadMessage("wrong types", "media timestamp is not a number of ms")
    return CallerAudio(media.payload, int(media.timestamp), audio)


class Encoder:
    """Our messages on one stream. Exactly the documented fields: any other gets warning 31951, once."""

    def __init__(self, stream_sid: str) -> None:
        sid = msgspec.json.encode(stream_sid).decode()
        self._media = f'{{"event":"media","streamSid":{sid},"media":{{"payload":"'
        self._mark = f'{{"event":"mark","streamSid":{sid},"mark":{{"name":"'
        self.clear = f'{{"event":"clear","streamSid":{sid}}}'
        """Drops all that is queued."""

    def media(self, audio: bytes) -> str:
        """Queues `audio`, µ-law bytes."""
        return f'{self._media}{binascii.b2a_base64(audio, newline=False).decode("ascii")}"}}}}'

    def mark(self, name: str) -> str:
        """Queues a mark; `name` is ours, of letters, digits and dots."""
        return f'{self._mark}{name}"}}}}'
