"""What the loopback model says and how it fails: scripts and faults. Data only."""

from collections.abc import Callable

import attrs

from transport.loopback.speech import line


@attrs.frozen
class Call:
    """A tool call as the model would write it; `arguments` is raw JSON text, good or bad."""

    name: str
    arguments: str = "{}"


@attrs.frozen
class Text:
    """One message item in text, for a reply that is asked for in text."""

    text: str


@attrs.frozen
class Speech:
    """One message item: words and their audio, µ-law bytes."""

    words: str
    audio: bytes = attrs.field(repr=False)


def say(name: str) -> Speech:
    """The recorded line `name`."""
    recorded = line(name)
    return Speech(recorded.text, recorded.audio)


@attrs.frozen
class Reply:
    """One response: its items in order, how long until the first delta, how fast and in what pieces the audio comes."""

    items: tuple[Speech | Call | Text, ...] = ()
    delay_ms: int = 250
    speed: float = 5.0
    delta_ms: int = 200


@attrs.frozen
class Prompted:
    """Why a reply is due: what the caller said last (number of the turn, from 1), tool results or text since then."""

    turn: int
    tool_results: tuple[str, ...] = ()
    text: str = ""
    apart: bool = False
    """Whether it is to be no part of the conversation."""
    client: str = ""
    """Whom the session is for, as the client names them (`OpenAI-Safety-Identifier`)."""


Brain = Callable[[Prompted], Reply]


@attrs.frozen
class Transcript:
    """What becomes of the words of a turn, and when.

    `how`: "written", "empty", "failed", "torn" (they begin, and no more is heard of them) or "missing".
    """

    how: str = "written"
    delay_ms: int = 400


@attrs.frozen
class Script:
    """Replies in order: to the caller's turns, after tool results, to text (keys), apart from the conversation.

    `said`: the words of the turns; `sure`: how sure the transcriber is of each, 0 to 1 (the default is 0.9).
    """

    turns: tuple[Reply, ...] = ()
    after_tools: tuple[Reply, ...] = ()
    on_text: tuple[Reply, ...] = ()
    apart: tuple[Reply, ...] = ()
    said: tuple[str, ...] = ()
    sure: tuple[float, ...] = ()
    writer: Callable[[bytes], str] | None = None
    """Makes words of a turn's audio (µ-law bytes), instead of `said`."""
    hears: Callable[[bytes], bool] | None = None
    """Whether 20 ms of the caller's audio are voice, instead of how loud they are."""

    def brain(self) -> Brain:
        """The script as a function, fresh: each list is read once, then the model asks the caller to repeat."""
        turns, after_tools, on_text = iter(self.turns), iter(self.after_tools), iter(self.on_text)
        apart = iter(self.apart)
        answered = 0

        def reply(prompted: Prompted) -> Reply:
            nonlocal answered
            if prompted.apart:
                return next(apart, Reply((Text("{}"),)))
            spoken, answered = prompted.turn > answered, prompted.turn
            source = turns if spoken else after_tools if prompted.tool_results else on_text if prompted.text else turns
            return next(source, Reply((say("agent_sorry"),)))

        return reply


@attrs.frozen
class Faults:
    """How the model misbehaves; everything is off unless set. Times in ms since the connection was accepted."""

    refuse_status: int = 0
    """HTTP status instead of the upgrade."""
    silent_accept: bool = False
    """The connection opens; the handshake is never answered."""
    mute: bool = False
    """No `session.created`."""
    ignore_update: bool = False
    """No answer to `session.update`."""
    wrong_echo: bool = False
    """The session stays at 24 kHz PCM, whatever was asked."""
    close_after_ms: int = 0
    close_code: int = 1011
    drop_after_ms: int = 0
    """The TCP connection is cut without a close frame."""
    no_replies: bool = False
    """Turns are detected, and no response ever begins."""
    deaf_after_ms: int | None = None
    """No turn is detected any more, once the caller is silent; all else is as it should be."""
    stall_after_ms: int = 0
    """No event any more; pings are answered."""
    fail_codes: tuple[str, ...] = ()
    """Successive replies fail with these codes; an empty one succeeds."""
    incomplete: str = ""
    """Replies end incomplete, for this reason, after half of their audio."""
    wordless: int = 0
    """So many replies end incomplete before anything was said."""
    session_seconds: float = 3600.0
    stray_deltas: int = 1
    """Deltas that still come after an interruption."""
    odd_events: bool = False
    """Unknown events, unknown fields, padding, replies without usage."""
    transcript_delay_ms: int = 400
    transcripts: tuple[Transcript, ...] = ()
    """What becomes of the words of one turn after the other, again and again; none: they are written, after that time."""
    voice_after_ms: int = 60
    """So much voice in a row begins a turn."""
    inject: tuple[tuple[int, str | bytes], ...] = ()
    """Messages sent as they are, at these times. In a text, <reply>, <item> and <turn> stand for what is under way."""
