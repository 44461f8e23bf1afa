"""InterruptWatcher: on suspicion the agent falls silent; then it gives way to a person, and goes on after anything else."""

import random
from collections.abc import Iterable

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.interrupt import QUEUE, BargeIn, InterruptWatcher
from actors.judgement import DECIDE_WITHIN, LONG, MODEL_HEARS
from actors.line_ear import UNSETTLED
from actors.mailbox import Mailbox, MailboxFull, WhenFull
from actors.messages import CallerAudio, CallerWords, Floor, FloorRule, FloorTaken, Judged, SpeechStarted, SpeechStopped
from actors.mulaw import BYTES_PER_MS, decode, encode, silence, to_base64
from actors.writing_time import WAIT_LEAST, WAIT_MOST
from tests.kit.voices import frames, hum
from transport.loopback.speech import line, syllables

QUIET = to_base64(silence(20))
FRAME = 0.02


@attrs.define
class FakeSpeaker:
    """An agent that speaks until it is stopped."""

    did: list[tuple[float, str]] = attrs.field(factory=list)
    speaks: bool = True
    rule: FloorRule = FloorRule.OPEN
    left: float = 10.0
    whole: bool = True
    words: str = "We are open from nine"

    def _note(self, what: str) -> None:
        self.did.append((round(trio.current_time(), 3), what))

    def yield_floor(self, reason: Floor) -> None:
        self._note(f"yields: {reason.name}")
        self.speaks = False

    def hold(self) -> None:
        self._note("holds")

    def go_on(self) -> None:
        self._note("goes on")

    def finish_sentence(self, reason: Floor) -> None:
        self._note("finishes")

    def audible(self) -> bool:
        return self.speaks

    def floor(self) -> FloorRule:
        return self.rule

    def unheard_seconds(self) -> float:
        return self.left if self.speaks else 0.0

    def ends_within(self, seconds: float) -> bool:
        return self.whole and self.unheard_seconds() < seconds

    def saying(self) -> str:
        return self.words

    def said_lately(self) -> str:
        return self.words

    @property
    def doings(self) -> list[str]:
        return [what for _, what in self.did]


@attrs.define
class Stage:
    """A watcher that runs, on a line of which is known that it has no echo."""

    watcher: InterruptWatcher
    speaker: FakeSpeaker
    link: Mailbox[Judged]

    async def hears(self, audio: bytes | Iterable[str], seconds: float = 0.0) -> None:
        """The caller's line delivers this, and then quiet up to `seconds`."""
        payloads = list(frames(audio) if isinstance(audio, bytes) else audio)
        payloads += [QUIET] * max(0, round(seconds / FRAME) - len(payloads))
        for payload in payloads:
            await trio.sleep(FRAME)
            self.watcher.overhear(CallerAudio(payload, 0))
        await wait_all_tasks_blocked()

    @property
    def judged(self) -> list[bool]:
        return [message.taken for message in self.link.take_all()]


async def a_stage(
    nursery: trio.Nursery,
    manner: BargeIn = BargeIn.UNDO,
    *,
    settled: bool = True,
    transcribed: bool = True,
    turn_ends: float = 0.5,
    last_words: bool = False,
) -> Stage:
    watcher = InterruptWatcher(manner, transcribed=transcribed)
    stage = Stage(watcher, FakeSpeaker(), Mailbox("link", 100, WhenFull.FATAL))
    nursery.start_soon(watcher.run, stage.speaker, stage.link, lambda: turn_ends, lambda: last_words)
    await wait_all_tasks_blocked()
    if settled:
        await stage.hears(b"", 2.0)
    return stage


VOICE = syllables(2.0)
SHORT_WORD = syllables(0.35)
COUGH = hum(0.22)


# ---------------------------------------------------------------- the model's word alone


@pytest.mark.parametrize(
    ("event", "reason"),
    [(SpeechStarted("u1"), Floor.SPEECH), *((FloorTaken(floor), floor) for floor in Floor)],
)
async def test_whoever_takes_the_floor_makes_the_agent_yield_it_and_the_reason_is_told(
    event: SpeechStarted | FloorTaken, reason: Floor, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery, BargeIn.MODEL)
    stage.watcher.inbox.post(event)
    await wait_all_tasks_blocked()
    assert stage.speaker.doings == [f"yields: {reason.name}"]
    assert stage.judged == []
    assert not stage.watcher.contested()


async def test_the_models_word_alone_is_not_doubted_by_what_is_heard_here(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery, BargeIn.MODEL)
    await stage.hears(VOICE)
    assert stage.speaker.did == []


# ---------------------------------------------------------------- a voice on the line


async def test_syllables_silences_the_agent_within_120_ms_of_its_onset(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery)
    began = trio.current_time()
    await stage.hears(VOICE)
    at, what = stage.speaker.did[0]
    assert what == "holds"
    assert at - began <= 0.12 + 1e-6


async def test_a_person_who_goes_on_talking_takes_the_floor(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    stage = await a_stage(nursery)
    began = trio.current_time()
    await stage.hears(VOICE)
    assert stage.speaker.doings == ["holds", "yields: SPEECH"]
    assert stage.speaker.did[1][0] - began == pytest.approx(LONG, abs=0.05)
    assert stage.judged == [True]


@pytest.mark.parametrize("late_ms", [0, 5, 10, 15])
async def test_a_person_has_the_floor_with_the_frame_with_which_they_have_talked_for_long_enough(
    late_ms: int, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery)
    began: float | None = None
    for payload in frames(VOICE):
        await trio.sleep(FRAME)
        stage.watcher.overhear(CallerAudio(payload, 0))
        await wait_all_tasks_blocked()
        if stage.speaker.doings[-1:] == ["yields: SPEECH"]:
            break
        if began is None and (began := stage.watcher.suspected_from()) is not None:
            await trio.sleep(late_ms / 1000)
    assert began is not None
    assert LONG - 0.001 <= trio.current_time() - began < LONG + FRAME


async def test_a_noise_that_stays_at_one_height_is_over_for_the_agent_within_about_a_second(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery)
    chance = random.Random(4)
    fan = encode(round(chance.gauss(0, 1200)) for _ in range(16_000))
    began = trio.current_time()
    await stage.hears(fan[:3200])
    stage.watcher.inbox.post(SpeechStarted("u1"))  # the model takes it for speech
    await stage.hears(fan[3200:])
    assert stage.speaker.doings == ["holds", "goes on"]
    assert stage.speaker.did[1][0] - began <= 1.1
    assert stage.judged == [False]


async def test_many_people_in_the_room_silence_the_agent_once_and_take_nothing(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery)
    voices = [decode(syllables(1.7, seed=seed, loud=2000)) for seed in range(6)]
    began = trio.current_time()
    room = encode(map(sum, zip(*voices, strict=True)))
    await stage.hears(room[:3200])
    stage.watcher.inbox.post(SpeechStarted("u1"))  # the model takes it for speech
    await stage.hears(room[3200:])
    assert stage.speaker.doings == ["holds", "goes on"]
    assert stage.speaker.did[1][0] - began <= DECIDE_WITHIN + 0.1
    assert stage.judged == [False]


async def test_a_sound_without_words_and_another_after_it_are_not_added_up(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery)
    await stage.hears(SHORT_WORD)
    stage.watcher.inbox.post(SpeechStarted("u1"))
    await stage.hears(b"", 0.5)
    await stage.hears(syllables(0.1))
    stage.watcher.inbox.post(SpeechStopped("u1"))
    stage.watcher.inbox.post(CallerWords("u1", "", True))
    await stage.hears(syllables(0.2), 0.1)
    assert "yields: SPEECH" not in stage.speaker.doings
    await stage.hears(b"", 2.0)
    assert stage.judged[-1] is False


@pytest.mark.parametrize("second", ["Right.", "Wait."])
async def test_two_words_with_a_pause_between_them_are_judged_one_by_one_and_are_no_sentence(
    second: str, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery)
    await stage.hears(SHORT_WORD, 0.5)
    stage.watcher.inbox.post(SpeechStarted("u1"))
    await stage.hears(b"", 0.45)
    stage.watcher.inbox.post(SpeechStopped("u1"))
    await stage.hears(SHORT_WORD, 0.5)
    stage.watcher.inbox.post(SpeechStarted("u2"))
    stage.watcher.inbox.post(CallerWords("u1", "Okay.", True))
    await stage.hears(b"", 0.4)
    assert stage.speaker.doings == ["holds"]
    stage.watcher.inbox.post(SpeechStopped("u2"))
    stage.watcher.inbox.post(CallerWords("u2", second, True))
    await wait_all_tasks_blocked()
    taken = second == "Wait."
    assert stage.speaker.doings == ["holds", "yields: SPEECH" if taken else "goes on"]
    assert stage.judged == [taken]


async def test_after_a_cough_the_agent_goes_on_and_nobody_is_told(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery)
    began = trio.current_time()
    await stage.hears(COUGH, 3.0)
    if stage.speaker.did:  # it may not even be taken for a voice
        assert stage.speaker.doings == ["holds", "goes on"]
        assert stage.speaker.did[1][0] - began <= MODEL_HEARS + 0.3
        assert stage.judged == [False]


@pytest.mark.parametrize("seconds", [0.55, 0.7, 0.76])
async def test_a_listeners_word_that_is_drawn_out_is_judged_by_its_words(
    seconds: float, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery)
    await stage.hears(syllables(seconds))
    stage.watcher.inbox.post(SpeechStarted("u1"))
    await stage.hears(b"", 0.5)
    assert stage.speaker.doings == ["holds"]
    stage.watcher.inbox.post(SpeechStopped("u1"))
    stage.watcher.inbox.post(CallerWords("u1", "Uh-huh.", True))
    await wait_all_tasks_blocked()
    assert stage.speaker.doings == ["holds", "goes on"]


@pytest.mark.parametrize(("words", "taken"), [("Uh-huh, okay.", False), ("", False), ("Excuse me.", True)])
async def test_the_words_of_a_turn_that_ends_just_when_it_was_to_be_judged_are_waited_for(
    words: str, taken: bool, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery)
    await stage.hears(syllables(0.76))
    stage.watcher.inbox.post(SpeechStarted("u1"))
    await stage.hears(b"", DECIDE_WITHIN + 0.05 - 0.76)
    assert stage.speaker.doings == ["holds"]
    stage.watcher.inbox.post(SpeechStopped("u1"))
    await stage.hears(b"", 0.5)
    assert stage.speaker.doings == ["holds"]
    stage.watcher.inbox.post(CallerWords("u1", words, final=True))
    await wait_all_tasks_blocked()
    assert stage.judged == [taken]


@pytest.mark.parametrize(("words", "taken"), [("Uh-huh.", False), ("Stop.", True)])
async def test_a_word_at_the_beginning_of_the_call_is_judged_by_its_words_too(
    words: str, taken: bool, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery, settled=False)
    await stage.hears(SHORT_WORD)
    stage.watcher.inbox.post(SpeechStarted("u1"))
    await stage.hears(b"", 0.5)
    stage.watcher.inbox.post(SpeechStopped("u1"))
    await stage.hears(b"", 0.4)
    stage.watcher.inbox.post(CallerWords("u1", words, True))
    await stage.hears(b"", 2.0)
    assert stage.judged[-1] is taken
    assert ("yields: SPEECH" in stage.speaker.doings) is taken


async def test_a_model_that_interrupts_by_itself_has_judged(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    stage = await a_stage(nursery)
    await stage.hears(SHORT_WORD)
    stage.watcher.inbox.post(FloorTaken(Floor.MODEL))
    await wait_all_tasks_blocked()
    assert stage.speaker.doings == ["holds", "yields: MODEL"]
    assert stage.link.take_all() == [Judged(taken=True, cancels=False)]


@pytest.mark.parametrize(
    "words", ["Uh-huh.", "Okay", "right, right", "Mhm", "Mmhm.", "M-hm", "Ha ha ha!", "(laughs) Yeah."]
)
async def test_after_a_listeners_word_the_agent_goes_on(
    words: str, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery)
    began = trio.current_time()
    await stage.hears(SHORT_WORD)
    stage.watcher.inbox.post(SpeechStarted("u1"))
    await stage.hears(b"", 0.5)
    stage.watcher.inbox.post(SpeechStopped("u1"))
    stage.watcher.inbox.post(CallerWords("u1", words, True))
    await wait_all_tasks_blocked()
    assert stage.speaker.doings == ["holds", "goes on"]
    assert stage.judged == [False]
    assert stage.speaker.did[-1][0] - began < 1.0


@pytest.mark.parametrize(
    ("words", "taken"), [("(coughs)", False), ("[cough] [noise", False), ("(coughs) Sorry.", True)]
)
async def test_what_the_transcriber_notes_besides_the_words_is_no_answer_to_a_question(
    words: str, taken: bool, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery)
    stage.speaker.words = "Is Tuesday right for you?"
    await stage.hears(SHORT_WORD)
    stage.watcher.inbox.post(SpeechStarted("u1"))
    await stage.hears(b"", 0.5)
    stage.watcher.inbox.post(SpeechStopped("u1"))
    stage.watcher.inbox.post(CallerWords("u1", words, final=True))
    await wait_all_tasks_blocked()
    assert stage.judged == [taken]


@pytest.mark.parametrize("turn_ends", [0.5, 0.9, 1.2])
@pytest.mark.parametrize(("words", "taken"), [("Uh-huh.", False), ("Stop.", True)])
async def test_where_callers_are_given_time_a_short_word_is_judged_by_what_it_says_all_the_same(
    turn_ends: float, words: str, taken: bool, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery, turn_ends=turn_ends)
    word = syllables(0.45)
    await stage.hears(word[:2400])
    stage.watcher.inbox.post(SpeechStarted("u1"))
    await stage.hears(word[2400:], 0.15 + turn_ends + 0.1)
    stage.watcher.inbox.post(SpeechStopped("u1"))
    await stage.hears(b"", 0.4)
    assert stage.speaker.doings == ["holds"]
    stage.watcher.inbox.post(CallerWords("u1", words, final=True))
    await wait_all_tasks_blocked()
    assert stage.judged == [taken]


@pytest.mark.parametrize(
    ("words", "taken"),
    [
        ("Okay, thank you very much, bye-bye.", False),
        ("No, thanks. You have a nice day too.", False),
        ("Right, uh-huh.", False),
        ("Thanks, but when do you open?", True),
        ("No, wait.", True),
        ("", True),  # so long a voice had words, whatever was written down
    ],
)
async def test_goodbyes_over_the_agents_last_words_are_waited_for_and_take_nothing_back(
    words: str, taken: bool, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery, last_words=True)
    stage.speaker.left = 0.9
    goodbye = syllables(1.7)
    await stage.hears(goodbye[:2400])
    stage.watcher.inbox.post(SpeechStarted("u1"))
    stage.watcher.inbox.post(CallerWords("u1", "Thanks, ", final=False))
    await stage.hears(goodbye[2400:], 1.4 + 0.5 + 0.1)
    stage.watcher.inbox.post(SpeechStopped("u1"))
    await stage.hears(b"", 0.5)
    assert stage.speaker.doings == ["holds"]
    stage.watcher.inbox.post(CallerWords("u1", words, final=True))
    await wait_all_tasks_blocked()
    assert stage.judged == [taken]


@pytest.mark.parametrize("words", ["Stop.", "No", "Wait, okay", "What about Saturday?"])
async def test_a_short_word_that_says_something_takes_the_floor_as_soon_as_it_is_known(
    words: str, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery)
    await stage.hears(SHORT_WORD)
    stage.watcher.inbox.post(SpeechStarted("u1"))
    stage.watcher.inbox.post(CallerWords("u1", words, True))
    await wait_all_tasks_blocked()
    assert stage.speaker.doings == ["holds", "yields: SPEECH"]
    assert stage.judged == [True]


async def test_words_that_come_in_pieces_count_when_a_whole_one_says_something(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery)
    await stage.hears(SHORT_WORD)
    stage.watcher.inbox.post(SpeechStarted("u1"))
    for piece in ("Ok", "ay st"):
        stage.watcher.inbox.post(CallerWords("u1", piece, False))
        await wait_all_tasks_blocked()
        assert stage.speaker.doings == ["holds"]
    stage.watcher.inbox.post(CallerWords("u1", "op it", False))
    await wait_all_tasks_blocked()
    assert stage.speaker.doings == ["holds", "yields: SPEECH"]


@pytest.mark.parametrize(("said", "left"), [("Is Tuesday right for you?", 5.0), ("We are open.", 0.6)])
async def test_yes_to_a_question_or_at_the_end_is_an_answer(
    said: str, left: float, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery)
    stage.speaker.words, stage.speaker.left = said, left
    await stage.hears(SHORT_WORD)
    stage.watcher.inbox.post(SpeechStarted("u1"))
    stage.watcher.inbox.post(CallerWords("u1", "Yes.", True))
    await wait_all_tasks_blocked()
    assert stage.speaker.doings == ["holds", "yields: SPEECH"]


async def test_a_listeners_word_is_none_less_while_the_reply_is_still_being_made(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery)
    stage.speaker.left, stage.speaker.whole = 0.4, False
    await stage.hears(SHORT_WORD)
    stage.watcher.inbox.post(SpeechStarted("u1"))
    stage.watcher.inbox.post(CallerWords("u1", "Yes.", True))
    await wait_all_tasks_blocked()
    assert stage.speaker.doings == ["holds", "goes on"]


@pytest.mark.parametrize("took", [0.95, 9.0])
async def test_who_said_something_is_waited_for_no_longer_than_the_words_of_this_call_take_and_not_for_long(
    took: float, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery)
    for item, words in (("u1", "Okay."), ("u2", None)):
        await stage.hears(SHORT_WORD)
        stage.watcher.inbox.post(SpeechStarted(item))
        await stage.hears(b"", 0.5)
        stage.watcher.inbox.post(SpeechStopped(item))
        stopped = trio.current_time()
        if words is not None:
            await stage.hears(b"", took)
            stage.watcher.inbox.post(CallerWords(item, words, final=True))
        stage.speaker.speaks = True
        if words is not None:
            await stage.hears(b"", 1.0)
    await stage.hears(b"", 3.0)
    at, what = stage.speaker.did[-1]
    assert what == "yields: SPEECH"
    assert at - stopped == pytest.approx(min(1.2 * took, WAIT_MOST), abs=0.05)


async def test_a_suspicion_is_decided_in_time_whatever_does_not_come(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery)
    began = trio.current_time()
    await stage.hears(syllables(0.24))
    stage.watcher.inbox.post(SpeechStarted("u1"))
    await stage.hears(b"", 3.0)
    assert stage.speaker.doings == ["holds", "goes on"]
    assert stage.speaker.did[1][0] - began <= DECIDE_WITHIN + 0.05


async def test_one_short_turn_after_another_without_words_puts_the_decision_off_once(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery)
    began = trio.current_time()
    for number in range(6):
        await stage.hears(COUGH[: 100 * BYTES_PER_MS])
        stage.watcher.inbox.post(SpeechStarted(f"u{number}"))
        await stage.hears(b"", 0.4)
        stage.watcher.inbox.post(SpeechStopped(f"u{number}"))
        await stage.hears(b"", 0.1)
    await stage.hears(b"", 3.0)
    went_on = next(at for at, what in stage.speaker.did if what == "goes on")
    assert went_on - began <= DECIDE_WITHIN + WAIT_LEAST + 0.1


async def test_words_that_come_too_late_take_the_floor_all_the_same(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery)
    began = trio.current_time()
    await stage.hears(syllables(0.24))
    stage.watcher.inbox.post(SpeechStarted("u1"))
    await stage.hears(b"", 3.0)
    stage.watcher.inbox.post(CallerWords("u1", "Stop!", True))
    await wait_all_tasks_blocked()
    assert stage.speaker.doings == ["holds", "goes on", "yields: SPEECH"]
    nothing, words = stage.link.take_all()
    assert nothing == Judged(taken=False, heard_from=pytest.approx(began, abs=0.1))
    assert words == Judged(taken=True, words="Stop!")


async def test_late_words_whose_end_never_comes_take_the_floor_once_by_what_is_known_of_them(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery)
    await stage.hears(syllables(0.24))
    stage.watcher.inbox.post(SpeechStarted("u1"))
    await stage.hears(b"", 3.0)
    for piece in ("Okay,", " so"):
        stage.watcher.inbox.post(CallerWords("u1", piece, False))
    await wait_all_tasks_blocked()
    assert stage.judged == [False], "that may be a listener, and the last word may still grow"
    for piece in (" what are", " your op", "ening"):
        stage.watcher.inbox.post(CallerWords("u1", piece, False))
    await wait_all_tasks_blocked()
    assert stage.speaker.doings == ["holds", "goes on", "yields: SPEECH"]
    assert stage.link.take_all() == [Judged(taken=True, words="Okay, so what")]
    stage.watcher.inbox.post(CallerWords("u1", "Okay, so what are your opening hours?", True))
    await wait_all_tasks_blocked()
    assert stage.judged == [], "it is known already"


async def test_who_said_more_than_the_model_was_told_takes_the_floor_with_all_of_it(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery)
    stage.watcher.inbox.post(FloorTaken(Floor.SPEECH, "Can I speak to a person?"))
    await wait_all_tasks_blocked()
    assert stage.speaker.doings == ["yields: SPEECH"]
    assert stage.link.take_all() == [Judged(taken=True, words="Can I speak to a person?")]


async def test_a_protected_sentence_is_heard_also_by_who_said_more_than_the_model_was_told(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery)
    stage.speaker.rule = FloorRule.PROTECTED
    stage.watcher.inbox.post(FloorTaken(Floor.SPEECH, "Can I speak to a person?"))
    await trio.sleep(1)
    assert (stage.speaker.doings, stage.link.take_all()) == ([], [])
    stage.speaker.speaks = False
    await trio.sleep(11)
    assert stage.link.take_all() == [Judged(taken=True, words="Can I speak to a person?")]


@pytest.mark.parametrize("written", [False, True], ids=["nothing is written down", "there are no words in it"])
async def test_what_the_model_hears_for_long_and_nobody_writes_down_takes_the_floor_though_it_was_held_for_a_noise(
    written: bool, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery)
    await stage.hears(hum(2.0)[: 200 * BYTES_PER_MS])
    stage.watcher.inbox.post(SpeechStarted("u1"))
    await stage.hears(hum(2.0)[200 * BYTES_PER_MS :], 2.3)
    assert stage.speaker.doings == ["holds", "goes on"]
    stage.watcher.inbox.post(SpeechStopped("u1"))
    await stage.hears(b"", 1.0)
    assert stage.judged == [False]
    if written:
        stage.watcher.inbox.post(CallerWords("u1", "", final=True))
    await stage.hears(b"", 3.0)
    assert stage.link.take_all() == ([] if written else [Judged(taken=True, unwritten=True)])


async def test_a_model_that_hears_what_was_judged_a_noise_does_not_silence_the_agent_again(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery)
    await stage.hears(syllables(0.25), 0.6)
    assert stage.speaker.doings == ["holds", "goes on"]
    stage.watcher.inbox.post(SpeechStarted("u1"))
    await stage.hears(b"", 0.3)
    assert stage.speaker.doings == ["holds", "goes on"]
    stage.watcher.inbox.post(CallerWords("u1", "Uh huh.", True))
    await wait_all_tasks_blocked()
    assert stage.speaker.doings.count("holds") == 1
    assert stage.judged == [False, False]


async def test_what_only_the_model_hears_takes_the_floor_at_once(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery)
    at = trio.current_time()
    stage.watcher.inbox.post(SpeechStarted("u1"))
    await wait_all_tasks_blocked()
    assert stage.speaker.did == [(round(at, 3), "holds"), (round(at, 3), "yields: SPEECH")]
    assert stage.judged == [True]


async def test_without_undo_syllables_takes_the_floor_at_once(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    stage = await a_stage(nursery, BargeIn.LOCAL)
    await stage.hears(SHORT_WORD, 2.0)
    assert stage.speaker.doings == ["yields: SPEECH"]
    assert stage.judged == [True]


async def test_a_line_that_was_loud_before_the_agent_spoke_does_not_silence_it(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery)
    chance = random.Random(3)
    noise = encode(round(chance.uniform(-2000, 2000)) for _ in range(8000 * 6))
    stage.speaker.speaks = False
    await stage.hears(noise[: 8000 * 2])
    stage.speaker.speaks = True
    await stage.hears(noise[8000 * 2 :])
    assert stage.speaker.did == []


async def test_while_the_agent_is_silent_nothing_is_taken_from_it(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery)
    stage.speaker.speaks = False
    await stage.hears(VOICE)
    assert stage.speaker.did == []
    assert not stage.watcher.contested()


# ---------------------------------------------------------------- rules of the floor


async def test_a_protected_sentence_is_heard_and_then_it_is_the_callers_turn(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery)
    stage.speaker.rule = FloorRule.PROTECTED
    await stage.hears(VOICE)
    stage.watcher.inbox.post(SpeechStarted("u1"))
    stage.watcher.inbox.post(CallerWords("u1", "I want to stop this.", True))
    await stage.hears(b"", 1.0)
    assert stage.speaker.did == []
    assert stage.judged == []
    stage.speaker.speaks = False
    await trio.sleep(11)
    assert stage.judged == [True]
    assert stage.speaker.did == []


async def test_words_that_were_kept_are_not_told_again_when_the_floor_was_taken_meanwhile(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery)
    stage.speaker.rule = FloorRule.PROTECTED
    stage.watcher.inbox.post(CallerWords("u1", "Stop!", True))
    stage.watcher.inbox.post(FloorTaken(Floor.MODEL))
    await wait_all_tasks_blocked()
    stage.speaker.speaks = True
    await stage.hears(VOICE)
    stage.speaker.speaks = False
    await trio.sleep(11)
    assert stage.link.take_all() == [Judged(taken=True, cancels=False), Judged(taken=True)]


async def test_a_sentence_that_is_to_be_finished_is_not_broken_off(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery)
    stage.speaker.rule = FloorRule.FINISH
    await stage.hears(VOICE)
    assert stage.speaker.doings == ["finishes"]
    assert stage.judged == []
    stage.speaker.speaks = False
    await trio.sleep(11)
    assert stage.judged == [True]


# ---------------------------------------------------------------- the line's echo


def echo_of(audio: bytes, gain: float, delay: float) -> bytes:
    """What a telephone on a table sends back."""
    softer = encode(round(sample * gain) for sample in decode(audio))
    return silence(round(delay * 1000)) + softer


@pytest.mark.parametrize("gain", [0.1, 0.3, 0.6])
@pytest.mark.parametrize("delay", [0.1, 0.3, 0.7, 1.2])
async def test_the_agent_does_not_interrupt_itself_on_a_line_with_an_echo(
    gain: float, delay: float, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery, settled=False)
    said = syllables(6.0, seed=3)
    back = echo_of(said, gain, delay)
    for number in range(len(said) // 160):
        await trio.sleep(FRAME)
        now = trio.current_time()
        stage.watcher.plays(said[number * 160 : number * 160 + 160], now)
        stage.watcher.overhear(CallerAudio(to_base64(back[number * 160 : number * 160 + 160]), 0))
        if number == round((delay + 0.4) / FRAME):
            stage.watcher.inbox.post(SpeechStarted("u1"))  # the model hears it too
        await trio.lowlevel.checkpoint()
    await wait_all_tasks_blocked()
    assert "yields: SPEECH" not in stage.speaker.doings
    assert True not in stage.judged


@pytest.mark.parametrize("words", ["We are open from", "What about Sunday?"])
async def test_an_echo_that_only_the_model_hears_is_known_by_its_words(
    words: str, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery, settled=False)
    said = line("agent_hours").audio[: 2 * 8000]
    for number, payload in enumerate(frames(echo_of(said, 0.05, 0.2))):
        await trio.sleep(FRAME)
        stage.watcher.plays(said[number * 160 : number * 160 + 160], trio.current_time())
        stage.watcher.overhear(CallerAudio(payload, 0))
        if number == 30:
            stage.watcher.inbox.post(SpeechStarted("u1"))
        if number == 42:
            stage.watcher.inbox.post(CallerWords("u1", words, final=True))
        await trio.lowlevel.checkpoint()
    await wait_all_tasks_blocked()
    assert stage.speaker.doings == ([] if words.startswith("We") else ["yields: SPEECH"])
    assert (True in stage.judged) is not words.startswith("We")


@pytest.mark.parametrize("words", ["We are open from", "What about Sunday?"])
async def test_on_a_line_that_echoes_what_only_the_model_hears_is_judged_by_its_words(
    words: str, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery, settled=False)
    said = syllables(6.0, seed=3)
    for number, payload in enumerate(frames(echo_of(said[: 3 * 8000], 0.3, 0.3))):
        await trio.sleep(FRAME)
        stage.watcher.plays(said[number * 160 : number * 160 + 160], trio.current_time())
        stage.watcher.overhear(CallerAudio(payload, 0))
    faint = encode(sample // 30 for sample in decode(syllables(0.5, seed=5)))
    await stage.hears(b"", 1.2)
    await stage.hears(faint)
    stage.watcher.inbox.post(SpeechStarted("u1"))
    await stage.hears(b"", 0.6)
    assert stage.speaker.doings == ["holds"]
    stage.watcher.inbox.post(SpeechStopped("u1"))
    stage.watcher.inbox.post(CallerWords("u1", words, final=True))
    await wait_all_tasks_blocked()
    assert stage.judged == [not words.startswith("We")]


@pytest.mark.parametrize("lost", [6, 20, 30])
async def test_frames_of_the_callers_that_are_lost_make_no_voice_of_an_echo(
    lost: int, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery, settled=False)
    said = line("agent_hours").audio[: 8 * 8000]
    back = echo_of(said, 0.3, 0.3)
    for number, payload in enumerate(frames(back)):
        await trio.sleep(FRAME)
        stage.watcher.plays(said[number * 160 : number * 160 + 160], trio.current_time())
        if not 150 <= number < 150 + lost:
            stage.watcher.overhear(CallerAudio(payload, 120 + number * 20))
        await trio.lowlevel.checkpoint()
    await wait_all_tasks_blocked()
    assert stage.speaker.doings == []


async def test_the_end_of_what_was_said_comes_back_after_it_and_is_no_turn_of_the_callers(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery, settled=False)
    said, delay = syllables(4.0, seed=3), 1.0
    back = echo_of(said, 0.3, delay)
    for number, payload in enumerate(frames(back)):
        await trio.sleep(FRAME)
        if number < 200:
            stage.watcher.plays(said[number * 160 : number * 160 + 160], trio.current_time())
        stage.speaker.speaks = number < 200
        stage.watcher.overhear(CallerAudio(payload, 0))
        if number == 225:
            assert stage.watcher.contested()
            stage.watcher.inbox.post(SpeechStarted("u1"))
        await trio.lowlevel.checkpoint()
    await wait_all_tasks_blocked()
    assert stage.judged == [False]
    await stage.hears(b"", 2.0)
    assert not stage.watcher.contested()


async def test_a_short_answer_on_a_line_that_echoes_is_one(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    stage = await a_stage(nursery, settled=False)
    said = syllables(4.0, seed=3)
    for number, payload in enumerate(frames(echo_of(said, 0.3, 0.2))):
        await trio.sleep(FRAME)
        stage.watcher.plays(said[number * 160 : number * 160 + 160], trio.current_time())
        stage.watcher.overhear(CallerAudio(payload, 0))
    stage.speaker.speaks, stage.speaker.words = False, ""
    await stage.hears(b"", 0.6)
    await stage.hears(SHORT_WORD)
    stage.watcher.inbox.post(SpeechStarted("u1"))
    await stage.hears(b"", 0.5)
    stage.watcher.inbox.post(SpeechStopped("u1"))
    stage.watcher.inbox.post(CallerWords("u1", "Yes.", True))
    await wait_all_tasks_blocked()
    assert stage.judged == [True]


async def test_a_caller_on_a_line_with_an_echo_is_heard_through_it(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery, settled=False)
    said = syllables(6.0, seed=3)
    back = decode(echo_of(said, 0.2, 0.3))
    caller = decode(syllables(2.0, seed=9))
    at = 4 * 8000
    for index, sample in enumerate(caller[: len(back) - at]):
        back[at + index] = max(-32000, min(32000, back[at + index] + sample))
    both = encode(back)
    began = trio.current_time()
    for number in range(len(said) // 160):
        await trio.sleep(FRAME)
        stage.watcher.plays(said[number * 160 : number * 160 + 160], trio.current_time())
        stage.watcher.overhear(CallerAudio(to_base64(both[number * 160 : number * 160 + 160]), 0))
        await trio.lowlevel.checkpoint()
    await wait_all_tasks_blocked()
    held = [when - began for when, what in stage.speaker.did if what == "holds"]
    assert held
    assert 4.0 <= held[-1] <= 4.4
    assert stage.speaker.doings[-1] == "yields: SPEECH"


async def test_on_a_line_of_which_nothing_is_known_a_caller_is_heard_a_little_later(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stage = await a_stage(nursery, settled=False)
    said = syllables(3.0, seed=4)
    began = trio.current_time()
    for number, payload in enumerate(frames(syllables(1.5, seed=8))):
        await trio.sleep(FRAME)
        stage.watcher.plays(said[number * 160 : number * 160 + 160], trio.current_time())
        stage.watcher.overhear(CallerAudio(payload, 0))
    await wait_all_tasks_blocked()
    at, what = stage.speaker.did[0]
    assert what == "holds"
    assert at - began == pytest.approx(UNSETTLED, abs=0.1)


# ---------------------------------------------------------------- the actor


async def test_a_watcher_that_nobody_runs_is_noticed() -> None:
    watcher = InterruptWatcher()
    for number in range(QUEUE):
        watcher.inbox.post(SpeechStarted(f"u{number}"))
    with pytest.raises(MailboxFull):
        watcher.inbox.post(SpeechStarted("one more"))


async def test_a_watcher_ends_when_it_is_cancelled_and_takes_no_floor_any_more(nursery: trio.Nursery) -> None:
    watcher, speaker = InterruptWatcher(), FakeSpeaker()
    with trio.fail_after(5):
        async with trio.open_nursery() as inner:
            inner.start_soon(watcher.run, speaker, Mailbox[Judged]("link", 10, WhenFull.FATAL))
            await wait_all_tasks_blocked()
            inner.cancel_scope.cancel()
    watcher.inbox.post(SpeechStarted("u1"))
    await wait_all_tasks_blocked()
    assert speaker.did == []
