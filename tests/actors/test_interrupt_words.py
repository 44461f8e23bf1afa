"""InterruptWatcher: a short word is judged by what it says, as soon as that is known; what does not come is not waited for."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.judgement import DECIDE_WITHIN
from actors.messages import CallerWords, Floor, FloorRule, FloorTaken, Judged, SpeechStarted, SpeechStopped
from actors.mulaw import BYTES_PER_MS
from actors.writing_time import WAIT_LEAST, WAIT_MOST
from tests.kit.stage import COUGH, SHORT_WORD, a_stage
from tests.kit.voices import hum
from transport.loopback.speech import syllables


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
