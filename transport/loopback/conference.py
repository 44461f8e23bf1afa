"""Conferences of the account: who is in which room, when it starts and ends, and what its callback is told."""

import math
from typing import Protocol

import attrs
import trio

from transport.loopback.twiml_reader import Conference

PREFIX = {"start": "conference-", "end": "conference-", "join": "participant-", "leave": "participant-"}


class Exchange(Protocol):
    """What conferences need of the carrier."""

    @property
    def account(self) -> str:
        """The account's SID."""
        ...

    def new_sid(self, kind: str) -> str:
        """A fresh SID."""
        ...

    def stamp(self) -> str:
        """The time, as RFC 2822 has it."""
        ...

    def tell(self, url: str, forms: "trio.MemoryReceiveChannel[dict[str, str]]") -> None:
        """Posts forms in the background, in order, until their channel is closed."""
        ...


@attrs.define(eq=False)
class Room:
    """A conference from its first participant to its last. Whoever came first says where its callbacks go."""

    sid: str
    name: str
    at_most: int
    asked: frozenset[str]
    tell: "trio.MemorySendChannel[dict[str, str]] | None"
    members: dict[str, Conference] = attrs.field(factory=dict)
    """By the SID of their call, with what each came in with."""
    started: trio.Event = attrs.field(factory=trio.Event)
    ended: trio.Event = attrs.field(factory=trio.Event)
    reason: str = ""
    """Why it ended, in the words of `ReasonConferenceEnded`."""
    ending: str = ""
    """The SID of the call that ended it."""
    sequence: int = 0


class Conferences:
    """The rooms that are open now, by name. A name is free again when its room has ended."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self.open: dict[str, Room] = {}

    def enter(self, call_sid: str, options: Conference) -> Room | None:
        """The room, which this call is in from now on; None if it is full."""
        room = self.open.get(options.name)
        if room is None:
            forms = None
            if options.status_callback and options.events:
                forms, received = trio.open_memory_channel[dict[str, str]](math.inf)
                self._exchange.tell(options.status_callback, received)
            sid = self._exchange.new_sid("CF")
            room = self.open[options.name] = Room(sid, options.name, options.max_participants, options.events, forms)
        if len(room.members) >= room.at_most:
            return None
        room.members[call_sid] = options
        self._event(room, "join", call_sid)
        starting = len(room.members) >= 2 and any(member.start_on_enter for member in room.members.values())
        if starting and not room.started.is_set():
            room.started.set()
            self._event(room, "start", call_sid)
        return room

    def leave(self, call_sid: str, room: Room) -> None:
        """Takes a call out; the room ends with its last participant, or with one that was to end it."""
        options = room.members.pop(call_sid)
        self._event(room, "leave", call_sid, options)
        if not room.ended.is_set() and (options.end_on_exit or not room.members):
            room.reason = (
                "participant-with-end-conference-on-exit-left" if options.end_on_exit else "last-participant-left"
            )
            room.ending = call_sid
            room.ended.set()
            del self.open[room.name]
        if not room.members:
            self._event(room, "end", "")
            if room.tell is not None:
                room.tell.close()

    def _event(self, room: Room, event: str, call_sid: str, options: Conference | None = None) -> None:
        if room.tell is None or event not in room.asked:
            return
        options = options or room.members.get(call_sid)
        form = {
            "AccountSid": self._exchange.account,
            "ConferenceSid": room.sid,
            "FriendlyName": room.name,
            "SequenceNumber": str(room.sequence),
            "StatusCallbackEvent": PREFIX[event] + event,
            "Timestamp": self._exchange.stamp(),
        }
        room.sequence += 1
        if event == "end":
            form |= {"ReasonConferenceEnded": room.reason, "CallSidEndingConference": room.ending}
        elif options is not None:
            form |= {
                "CallSid": call_sid,
                "Coaching": "false",
                "EndConferenceOnExit": str(options.end_on_exit).lower(),
                "Hold": "false",
                "Muted": str(options.muted).lower(),
                "StartConferenceOnEnter": str(options.start_on_enter).lower(),
            }
            if options.label:
                form["ParticipantLabel"] = options.label
        room.tell.send_nowait(form)
