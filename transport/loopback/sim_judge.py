"""What any simulated call must answer: the invariants, asked by somebody who sees what the ends saw, and what is left behind.

Each check gives sentences, one for whatever does not hold.
"""

import collections
import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from actors.call_state import DIGITS_PAUSE
from actors.ear import PLAIN_MS
from actors.model_lines import ROLL_OVER_EARLY
from actors.mulaw import BYTES_PER_MS
from actors.realtime_link import ECHO_TAIL
from conf.prompts import load_prompt
from transport.loopback.carrier import CarriedCall
from transport.loopback.model import UNINTELLIGIBLE
from transport.loopback.person import KEY_EVERY
from transport.loopback.playback import Heard
from transport.loopback.session_log import SessionLog
from transport.loopback.sim_faults import drain_seconds, model_faults, settings_of, store_slowness, wire_faults
from transport.loopback.sim_plan import OF_ALL, Act, Plan
from transport.loopback.stream import StreamLog
from transport.loopback.wire import AGAIN
from transport.loopback.world import World
from transport.records import TRY_AGAIN

SILENCE_SLACK = 0.8
"""Seconds on top of `max_silence` and of the silence that ends a turn: the carrier plays what it has got."""
FRAME = 20 * BYTES_PER_MS
FRAMES_OFF_MS = 40
"""By so much more than its stated bound a truncation may be off: a frame that is under way, and one that is not whole."""
CROSSING = 1.0
"""Seconds between a clear at the carrier and what the model is told of it, at most."""
JUDGED_WITHIN = 2.3
"""Seconds after a clear in which it is judged whether the caller took the floor."""
BACK_WITHIN = 2.0
"""Seconds from the death of a server until the caller hears somebody again."""
SAVED_WITHIN = 1.0
"""Seconds until what was saved is in the store: what is younger dies with its server."""
HEARD_WITHIN = 1.0
"""Seconds after which a caller's turn must have come to a session that goes on listening."""
FINISHED_WITHIN = 6.0
"""Seconds of the last words of a call, which the carrier says by itself."""
NO_WORDS = "(speech)"
CROSSED = {"conversation_already_has_active_response", "response_cancel_not_active", "item_delete_invalid_item_id"}
"""Complaints of the model's about what crossed something of its own on the way."""


@attrs.frozen
class Party:
    """One caller of a world: their number, what they did, their call; and whether the faults of one call are theirs."""

    caller: str
    acts: tuple[Act, ...]
    call: CarriedCall
    first: bool

    @property
    def client(self) -> str:
        """How the server names this caller to the model."""
        return client_of(self.caller)


def client_of(caller: str) -> str:
    """How the server names a caller to the model."""
    return hashlib.sha256(f"triode {caller}".encode()).hexdigest()[:32]


@attrs.frozen
class Case:
    """A world after its calls."""

    plan: Plan
    world: World
    parties: tuple[Party, ...]

    @property
    def killed(self) -> list[float]:
        """When a server died."""
        return self.world.killed

    def died_unsaved(self, at: float) -> bool:
        """Whether a server died so soon after `at` that it need not have written down what it knew then."""
        slow, down = self.plan.fault("store_slow"), self.plan.fault("store_down")
        takes = store_slowness(slow) if slow else 0.0
        saved = at + SAVED_WITHIN + 2 * takes  # the write before it, and its own
        if (
            down and at < (back := down.at + down.size) and down.at < saved
        ):  # what waits for the store comes in its turn
            saved = back + TRY_AGAIN + (1 + len(self.parties)) * takes
        return any(at <= died < saved for died in self.killed)

    def sessions(self, party: Party) -> list[SessionLog]:
        """The sessions of a party, in their order."""
        mine = (session for model in self.world.models for session in model.sessions)
        return sorted(
            (session for session in mine if session.client == party.client), key=lambda session: session.opened
        )

    def concerns(self, kind: str, party: Party) -> bool:
        """Whether a fault of this kind is the party's matter."""
        return self.plan.fault(kind) is not None and (party.first or kind in OF_ALL)

    @property
    def lag(self) -> float:
        """Seconds that a message may be later than another because of the network."""
        wire = wire_faults(self.plan, "stream", first=False)
        return wire.delay * 1.5 * 2 + (6 * AGAIN if wire.lost else 0.0)

    @property
    def slack(self) -> int:
        """Bytes by which it may not be known what was played: one, and what the network hides."""
        return 1 + round(1000 * self.lag) * BYTES_PER_MS


def judged(case: Case) -> list[str]:
    """Everything that does not hold."""
    wrong = list(_left_behind(case))
    wrong += _promises(case)
    wrong += _waited_for(case)
    for party in case.parties:
        checks = (
            _ends,
            _records,
            _greeted,
            _silences,
            _cuts,
            _resumed,
            _heard_by_the_model,
            _told_again,
            _heard_is_known,
            _kept,
            _back_again,
            _undisturbed,
        )
        found = [sentence for check in checks for sentence in check(case, party)]
        wrong += found if party.first else [f"bystander {party.caller}: {sentence}" for sentence in found]
    return wrong


# ---------------------------------------------------------------- the world


def _left_behind(case: Case) -> Iterator[str]:
    """Nothing is left of a call when it is over."""
    world = case.world
    for worker in world.workers:
        if worker.died.is_set():
            continue
        house = worker.app.extensions["triode"]
        if house.switchboard.active:
            yield "a call is still up"
        if house.switchboard._promised():
            yield "a call is still expected"
        if house.records._later:
            yield f"writes that were never made: {list(house.records._later)}"
    if world.carrier.conferences.open:
        yield "a conference is still open"
    if world.rest.problems:
        yield f"the API complains: {world.rest.problems}"
    for session in [session for model in world.models for session in model.sessions]:
        # A model that has stalled ends its replies all the same, and nobody hears of it; one that does not read hears late.
        apart = case.lag or case.plan.fault("model_stall") or case.plan.fault("model_unread")
        crossed = CROSSED if apart else set[str]()
        if _had_no_successor(case, session) or case.plan.fault("model_half_open"):  # nobody hears of that
            crossed = crossed | {"session_expired"}
        if any(event["type"] == "response.cancel" and at in session.replies_ended for at, event in session.events):
            crossed = crossed | {"response_cancel_not_active"}  # both at one moment
        if errors := [error for error in session.errors if error not in crossed]:
            yield f"the model complains: {errors}"


def _had_no_successor(case: Case, session: SessionLog) -> bool:
    """Whether another was tried before this session's time was over, and none could be had: then it lasts to its end.

    A server is told the end in whole seconds, so that it may begin a second earlier.
    """
    lasts = model_faults(case.plan)[0].session_seconds
    began = session.events[0][0] if session.events else 0.0
    ends = began + lasts
    models = case.world.models
    every = (other for model in models for other in model.sessions)
    others = (other.events[0][0] for other in every if other.client == session.client and other.events)
    refused = (at for model in models for at in model.refused)
    tried = any(ends - ROLL_OVER_EARLY * lasts - 1 <= at <= ends for at in refused)
    return tried and not any(began < at < ends - 0.1 for at in others)


def _promises(case: Case) -> Iterator[str]:
    """What was promised is done, and once."""
    plan, store, world = case.plan, case.world.store, case.world
    delivered = collections.Counter(delivery.id for delivery in world.backend.deliveries)
    waiting = {sid for sid, row in store.delivery_rows.items() if row.state == "open"}
    # Of a call that ended just before a server died the delivery has its time, unless the carrier is asked before.
    late = {p.call.call_sid for p in case.parties if case.died_unsaved(p.call.ended)} & waiting
    if delivered != {party.call.call_sid: 1 for party in case.parties if party.call.call_sid not in late}:
        yield f"deliveries: {dict(delivered)}"
    texts = [row for row in store.errand_rows.values() if row.name not in {"transfer", "callback"}]
    sent = [row for row in texts if row.status in {"done", "unknown"} and (row.reference or row.status == "unknown")]
    sent += [row for row in texts if row.status == "begun" and case.killed]
    if not plan.fault("store_down") and len(world.rest.messages) > len(sent):
        # With the store down an errand that could not be written down is done all the same.
        yield f"{len(world.rest.messages)} messages for {len(sent)} errands"
    keys = collections.Counter(message.callback for message in world.rest.messages)
    if any(count > 1 for count in keys.values()):
        yield "a message was sent twice"
    unended = {"ringing", "returning"} if case.killed else {"begun", "ringing", "returning"}
    under_way = [row.key for row in store.errand_rows.values() if row.status in unended]
    if under_way and not plan.fault("store_down"):
        yield f"errands without an end: {under_way}"


def _waited_for(case: Case) -> Iterator[str]:
    """A server that is alone and is told to go waits for whoever is in a call, on a stream or not, as long as it may."""
    for told, went in case.world.replaced:
        if went > told + drain_seconds(case.plan) - 0.1:
            continue
        for call in (party.call for party in case.parties):
            if call.began < went < call.ended - FINISHED_WITHIN:
                yield f"the server went after {went - told:.1f} s, and a call went on for {call.ended - went:.1f} s"


# ---------------------------------------------------------------- one call


def _ends(case: Case, party: Party) -> Iterator[str]:
    """Every call has one end, and the carrier has nothing to complain of."""
    call = party.call
    if call.end not in {"caller", "hangup", "document", "rest"}:
        yield f"the call ended so: {call.end or 'not at all'}"
    final = [status for path, status in call.posts if path == "/twilio/status"]
    if not final:
        yield "nobody was told that the call is over"
    if call.errors:
        yield f"the carrier complains: {call.errors}"
    if warnings := [warning for stream in call.streams for warning in stream.warnings]:
        yield f"the carrier warns: {warnings}"


def _records(case: Case, party: Party) -> Iterator[str]:
    """A record a stream, but of those that died with their server; no bug in it, and no mailbox above its measure."""
    records = case.world.store.of(party.call.call_sid)
    streams = party.call.streams
    dead = sum(any(s.opened < at <= s.closed for at in case.killed) or case.died_unsaved(s.closed) for s in streams)
    if not len(party.call.streams) - dead <= len(records) <= len(party.call.streams):
        yield f"{len(records)} records of {len(party.call.streams)} streams, {dead} of which died with their server"
    if len({record.stream_sid for record in records}) != len(records):
        yield "two records of one stream"
    if bugs := [error.text for record in records for error in record.errors if error.kind == "bug"]:
        yield f"a bug: {bugs}"
    for box in (box for record in records for box in record.mailboxes):
        if box.peak > box.capacity:
            yield f"the mailbox {box.name} held {box.peak} of {box.capacity}"
        if box.dropped and box.policy != "drop oldest":
            yield f"the mailbox {box.name} dropped {box.dropped}"


def _greeted(_: Case, party: Party) -> Iterator[str]:
    """Nobody is greeted twice."""
    greeting = load_prompt("greeting").audio
    times = sum(_played(stream).count(greeting[: 600 * BYTES_PER_MS]) for stream in party.call.streams)
    if times > 1:
        yield "the caller is greeted twice"


def _silences(case: Case, party: Party) -> Iterator[str]:
    """Waits on a stream that were longer than the settings allow, from the caller's last word to the agent's next."""
    if case.concerns("stream_gap", party):  # what the model never heard it cannot answer
        return
    call = party.call
    settings = settings_of(case.plan)
    limit = settings.call.max_silence + settings.model.vad_silence_ms / 1000 + SILENCE_SLACK + 2 * case.lag
    for number, stream in enumerate(call.streams):
        ended = min(stream.opened + stream.frames_sent * 0.02, stream.closed)
        if number == 0 and case.concerns("stream_slow_reader", party):
            continue
        if number == 0 and party.first and (dead := case.plan.fault("stream_half_open")):
            ended = min(ended, stream.opened + dead.at - 0.5)
        voiced = [(piece.at, piece.at + len(piece.audio) / 8000) for piece in stream.playback.heard]
        spoken = [end for piece in call.said if stream.opened <= piece.at < ended for end in (_until(piece),)]
        for which, end in enumerate(spoken):
            follows = spoken[which + 1] - 0.4 if which + 1 < len(spoken) else ended
            if follows - end <= limit or any(at < end < until for at, until in voiced):
                continue
            if case.concerns("model_deaf", party) and not _is_plain(party, end, voiced):
                continue
            until = min([*(at for at, _ in voiced if at > end - 0.3), follows, ended])
            if until - end - _typing_after(party, end) > limit:
                yield f"{until - end:.1f} s of silence after the caller spoke"


def _typing_after(party: Party, end: float) -> float:
    """Seconds after the words that ended then in which the caller may still be typing: what ends that is a pause of its own."""
    said = next((turn.words for turn in turns_of(party) if abs(turn.ended - end) < 0.02), "")
    keys = next((act.keys for act in party.acts if act.keys and act.words == said), "")
    return KEY_EVERY * len(keys) + DIGITS_PAUSE if keys else 0.0


def _is_plain(party: Party, end: float, voiced: list[tuple[float, float]]) -> bool:
    """Whether enough of what the caller said until `end` was said after the agent: what is loud before may be its echo."""
    began = next((turn.began for turn in turns_of(party) if turn.began < end <= turn.ended + 0.001), end)
    alone = max([began, *(until + ECHO_TAIL for at, until in voiced if at < end)])
    return end - alone > PLAIN_MS / 1000


def _undisturbed(case: Case, party: Party) -> Iterator[str]:
    """A bystander is not concerned by what befalls another call."""
    if party.first or any(fault.kind in OF_ALL for fault in case.plan.faults):
        return
    if len(party.call.streams) != 1 or party.call.end != "caller":
        yield f"{len(party.call.streams)} streams, and the end: {party.call.end}"
    errors = [error.text for record in case.world.store.of(party.call.call_sid) for error in record.errors]
    if errors := [error for error in errors if not error.startswith(UNINTELLIGIBLE["code"])]:
        yield f"troubled: {errors}"


def _back_again(case: Case, party: Party) -> Iterator[str]:
    """A caller whose server died hears another one soon."""
    alone = not any(fault.kind in OF_ALL - {"worker_dies", "backend_fails"} for fault in case.plan.faults)
    for before, after in itertools.pairwise(party.call.streams):
        died = next((at for at in case.killed if before.opened < at <= before.closed), None)
        if died is None or not alone or _is_dead(case, party, before, died):
            continue
        if after.first_audio_ms is None:
            if after.closed - died > BACK_WITHIN:
                yield "nobody was heard after the server died"
        elif (wait := after.opened + after.first_audio_ms / 1000 - died) > BACK_WITHIN:
            yield f"{wait:.1f} s until somebody was heard after the server died"


# ---------------------------------------------------------------- what was cut


def _cuts(case: Case, party: Party) -> Iterator[str]:
    """What the model was told of what was heard is what was played; and of what was cut nothing is played any more."""
    records = case.world.store.of(party.call.call_sid)
    bounds = {note.item: note.bound_ms for record in records for note in record.interruptions}
    unread = case.plan.fault("model_unread") if party.first else None
    within = CROSSING + JUDGED_WITHIN + case.lag + (unread.size if unread else 0.0)
    for session in case.sessions(party):
        for at, event in session.events:
            if event["type"] not in {"conversation.item.truncate", "conversation.item.delete"}:
                continue
            audio = bytes(session.speech.get(event["item_id"], b""))
            if not audio or (party.first and case.plan.fault("stream_slow_reader")):
                continue  # what waits in the network is not played yet, and nobody can tell
            found = _clear_near(party.call, at, within)
            if found is None:  # unless nothing of it was ever sent there
                up = any(s.opened < at - within and at + within < s.closed for s in party.call.streams)
                if up and any(_some_played(audio, _played(s)) for s in party.call.streams):
                    yield f"{event['item_id']} was cut, and the carrier was not told to stop"
                continue
            stream, played = found
            heard = _played(stream)
            if _some_played(audio, heard[played:]):
                yield f"{event['item_id']} was played after it was cut"
            if event["type"] == "conversation.item.truncate":
                unknown = bounds.get(event["item_id"], 20)
                slack = max(case.slack, unknown * BYTES_PER_MS)
                told = _heard_of(audio, heard[:played], slack)[0] // BYTES_PER_MS
                off = abs(event["audio_end_ms"] - told)
                bound = unknown + FRAMES_OFF_MS + round(1000 * case.lag)
                if off > bound:
                    yield f"{event['item_id']} was truncated {off} ms off what was played (bound: {bound} ms)"


def _resumed(case: Case, party: Party) -> Iterator[str]:
    """Who was silenced for nothing says all of it, from where it was heard: nothing twice, nothing left out."""
    if any(case.concerns(kind, party) for kind in ("marks_late", "marks_bunched", "stream_slow_reader")):
        return  # then nobody can tell what was heard but within the stated bound: whether playback is late, or the echoes
    records = case.world.store.of(party.call.call_sid)
    interrupted = {note.item for record in records for note in record.interruptions}
    sessions = case.sessions(party)
    for session in sessions:
        if session is not sessions[-1] and case.concerns("model_half_open", party):
            continue  # of what it sent at last nothing came
        cut = {event.get("item_id") for _, event in session.events} | interrupted | session.unsent
        for item, speech in session.speech.items():
            audio = bytes(speech)
            whole = session.items.get(item, {}).get("status") == "completed" and item not in cut
            stream = next((s for s in party.call.streams if audio[:FRAME] in _played(s)), None)
            if not whole or stream is None or len(audio) < FRAME:
                continue
            heard = _played(stream)
            begins = heard.find(audio[:FRAME])
            if not any(begins < played < begins + len(audio) for _, played in stream.clears):
                continue
            count, off = _heard_of(audio, heard, case.slack)
            if len(audio) - count >= case.slack and begins + len(audio) + case.slack < len(heard):
                yield f"{item} was silenced for nothing, and only {count // BYTES_PER_MS} ms of it were heard"
            elif off > case.slack * len(stream.clears):
                yield f"{item} was silenced for nothing, and {off / BYTES_PER_MS:.1f} ms were skipped or said twice"


def _clear_near(call: CarriedCall, at: float, within: float) -> tuple[StreamLog, int] | None:
    """The clear that goes with what the model was told at that time, and what had been played by then."""
    clears = [(abs(when - at), n, played) for n, s in enumerate(call.streams) for when, played in s.clears]
    distance, number, played = min(clears, default=(within, 0, 0))
    return (call.streams[number], played) if distance < within else None


def _heard_of(audio: bytes, heard: bytes, slack: int) -> tuple[int, int]:
    """How many bytes of an item are in what was played last, and how many were skipped or repeated in it.

    An agent that was silent for a moment goes on where it was no longer heard, as far as that can be known: within `slack` bytes.
    """
    begins = heard.find(audio[:FRAME])
    if begins < 0:
        return next((n for n in range(FRAME - 1, 0, -1) if heard.endswith(audio[:n])), 0), 0
    count, at, off = 0, begins, 0
    while count < len(audio) and at < len(heard):
        size = min(FRAME, len(audio) - count, len(heard) - at)
        if heard[at : at + size] == audio[count : count + size]:
            count, at = count + size, at + size
            continue
        if size > 1 and heard[at] == audio[count]:
            count, at = count + 1, at + 1
            continue
        piece = heard[at : at + FRAME // 2]
        near = range(max(0, count - slack), min(count + slack, len(audio)) + 1)
        found = [other for other in near if audio.startswith(piece, other)]
        if not found or len(piece) < FRAME // 2:
            break
        nearest = min(found, key=lambda other: abs(other - count))
        count, off = nearest, off + abs(nearest - count)
    return count, off


def _some_played(audio: bytes, heard: bytes) -> bool:
    """Whether something of the first second of an item is in what was played."""
    return any(audio[n : n + FRAME] in heard for n in range(0, min(len(audio) - FRAME, 8000) + 1, FRAME))


def _played(stream: StreamLog) -> bytes:
    return b"".join(piece.audio for piece in stream.playback.heard)


# ---------------------------------------------------------------- what the caller said


@attrs.frozen
class Turn:
    """Something the caller said without a pause: from when to when, the sound, the words."""

    began: float
    ended: float
    audio: bytes = attrs.field(repr=False)
    words: str


def turns_of(party: Party) -> list[Turn]:
    """What was said on streams, as far as frames were asked for."""
    found: list[Turn] = []
    run: list[Heard] = []
    for piece in [*party.call.said, None]:
        if run and (piece is None or piece.at > _until(run[-1]) + 0.001):
            audio = b"".join(each.audio for each in run)
            found.append(Turn(run[0].at, _until(run[-1]), audio, words_in(audio, party.acts)))
            run = []
        if piece is not None:
            run.append(piece)
    return found


def words_in(audio: bytes, acts: tuple[Act, ...]) -> str:
    """The words whose sound is in `audio`."""
    said = [(number, act) for number, act in enumerate(acts) if act.speaks]
    heard = [act.words for number, act in said if _some_of(act.sound(number), audio)]
    return " ".join(heard) or NO_WORDS


def _some_of(voice: bytes, audio: bytes) -> bool:
    return any(voice[n : n + FRAME] in audio for n in range(0, min(len(voice), 8000) - FRAME + 1, 5 * FRAME))


def _heard_by_the_model(case: Case, party: Party) -> Iterator[str]:
    """Whatever the caller said comes to a session; and if that one is lost before it answered, to the next."""
    if case.concerns("stream_gap", party):
        return
    sessions = case.sessions(party)
    late = HEARD_WITHIN + case.lag
    for turn in turns_of(party):
        stream = next((s for s in party.call.streams if s.opened <= turn.began and turn.ended <= s.closed), None)
        if stream is None or _is_dead(case, party, stream, turn.ended):
            continue
        if any(stream.closed >= died and turn.began <= died <= turn.ended + late for died in case.killed):
            continue  # a server that is killed takes with it what it has just heard
        if any(case.concerns(kind, party) for kind in ("model_deaf",)) and _talks(stream, turn.began):
            continue  # what is said over the agent and heard by no model may be a noise, or the line's echo
        listening = [s for s in sessions if turn.ended + late < s.audio_until <= stream.closed + late]
        if not listening:
            continue
        knew = [turn.audio in s.audio or turn.words in s.told() for s in sessions]
        if not any(knew):
            yield f"nobody heard the caller say {turn.words!r} at {turn.began:.2f}"
            continue
        last = listening[-1]
        hearers = [s for s, knows in zip(sessions, knew, strict=True) if knows]
        answered = any(_answered(party, s, turn.ended - 0.1) for s in hearers)
        if not answered and last not in hearers:
            yield f"what the caller said at {turn.began:.2f} was lost with its session: {turn.words!r}"


def _talks(stream: StreamLog, at: float) -> bool:
    """Whether the caller heard the agent then, or just before."""
    return any(piece.at - 0.2 <= at <= _until(piece) + 0.5 for piece in stream.playback.heard)


def _told_again(case: Case, party: Party) -> Iterator[str]:
    """Keys and results of tools that a lost session did not answer are told to the next."""
    sessions = case.sessions(party)
    for number, session in enumerate(sessions):
        for at, event in session.events:
            item = event.get("item", {})
            key = item.get("role") == "user" and "pressed these keys" in item["content"][0].get("text", "")
            result = item.get("type") == "function_call_output"
            if not (key or result) or _answered(party, session, at):
                continue
            began = session.events[0][0]  # what it was told last may have been on its way when its stream was over
            stream = next((s for s in party.call.streams if s.opened <= began <= s.closed), None)
            after = (s for s in sessions[number + 1 :] if stream and at + 1 < s.audio_until <= stream.closed + case.lag)
            follows = next(after, None)
            text = item["content"][0]["text"] if key else "[The result of "
            if follows is not None and text not in follows.told():
                yield f"lost with its session: {text if key else item['output']}"


def _heard_is_known(case: Case, party: Party) -> Iterator[str]:
    """What the caller heard the agent say to its end, a later session knows."""
    sessions = case.sessions(party)
    for number, session in enumerate(sessions):
        for item, audio in session.speech.items():
            until = _heard_until(party, bytes(audio))
            last = item == next(reversed(session.speech))
            if last and case.concerns("model_half_open", party):
                continue  # that it was all may not have come any more
            words = session.words_of(item) if _is_whole(session, item) else ""
            if last and case.concerns("model_cut_down", party):
                words = words.rpartition(" ")[
                    0
                ]  # words run ahead of the voice: the last one counts when it is known to be
            if until is None or not words or case.died_unsaved(until):
                continue
            for later in sessions[number + 1 :]:
                if later.audio_until > until + HEARD_WITHIN + case.lag and words not in later.told():
                    yield f"a later session does not know that the caller heard {words!r} until {until:.2f}"


def _heard_until(party: Party, audio: bytes) -> float | None:
    """When the caller had heard all of `audio`; None if they did not."""
    for stream in party.call.streams:
        end = _played(stream).find(audio) + len(audio)
        if not audio or end < len(audio):
            continue
        for piece in stream.playback.heard:
            end -= len(piece.audio)
            if end <= 0:
                return _until(piece) + end / (BYTES_PER_MS * 1000)
    return None


def _answered(party: Party, session: SessionLog, since: float) -> bool:
    """Whether the caller heard anything that the session began to say after that time, or all of that was on its way to them."""
    later = [item for item, at in session.speech_at.items() if at > since]
    heard = (bytes(session.speech[item][:FRAME]) in _played(stream) for item in later for stream in party.call.streams)
    return any(heard) or any(_is_whole(session, item) for item in later)


def _is_whole(session: SessionLog, item: str) -> bool:
    """Whether all of it was said, and sent."""
    return session.items.get(item, {}).get("status") == "completed" and item not in session.unsent


def _is_dead(case: Case, party: Party, stream: StreamLog, at: float) -> bool:
    """Whether nothing comes through on the stream then, either way, and nobody knows."""
    dead = case.plan.fault("stream_half_open")
    first = party.first and stream is party.call.streams[0]
    return bool(first and dead and at > stream.opened + dead.at - 1)


# ---------------------------------------------------------------- what was saved


def _kept(case: Case, party: Party) -> Iterator[str]:
    """What the model was told is saved is in the story, unless something newer was told or everything was forgotten."""
    told: list[tuple[float, Mapping[str, Any]]] = []
    for session in case.sessions(party):
        for at, event in session.events:
            item = event.get("item", {})
            if event["type"] == "conversation.item.create" and item.get("type") == "function_call_output":
                told.append((at, json.loads(item["output"])))
    saved: dict[str, tuple[float, str]] = {}
    for at, result in sorted(told, key=lambda one: one[0]):
        if result.get("next") == "Begin again.":
            saved.clear()
        for name, entry in result.get("saved", {}).items():
            saved[name] = at, entry.get("value", "")
    kept = case.world.store.stories.get(party.call.call_sid)
    dialogue: Any = kept.story.get("dialogue", {}) if kept else {}
    for name, (at, value) in saved.items():
        if case.died_unsaved(at):
            continue
        found = dialogue.get("slots", {}).get(name, {}).get("text", "")
        if value and found not in {value, "a@example.com"} and not _keyed(party, found):
            yield f"the model was told that {name} is {value!r}, and kept is {found!r}"


def _keyed(party: Party, number: str) -> bool:
    """Whether it is a number that the caller left in the keypad menu: their own, or one that they typed there."""
    if not any(path.startswith("/twilio/ivr/answer") for path, _ in party.call.posts):
        return False
    typed = (act.words.rstrip("#") for act in party.acts if act.what == "press")
    return number == party.caller or any(len(keys) > 3 and number.endswith(keys) for keys in typed)


def _until(piece: Heard) -> float:
    return piece.at + len(piece.audio) / (BYTES_PER_MS * 1000)
