"""The manners of the agent, in whole calls: what must be heard is, who is silent is asked, who asks to wait is waited for."""

from pathlib import Path
from typing import Any

import pytest

from actors.call_state import ASKED_TO_WAIT
from conf.prompts import load_prompt
from tests.whole.world import a_world
from transport.loopback.caller import AwaitAgent, HangUp, Press, Wait
from transport.loopback.model import LoopbackModel
from transport.loopback.scenario import Scenario, default_settings
from transport.loopback.script import Reply, Script, say
from transport.loopback.speech import line

NOTICE = """
name = "notice"
instructions = "Be kind."
greeting_floor = "protected"
"""
PLAIN = """
name = "plain"
instructions = "Be kind."
hold_seconds = 12
"""


def written(folder: Path, text: str) -> str:
    file = folder / "flow.toml"
    file.write_text(text, "utf-8")
    return str(file)


def sent(session: Any, kind: str) -> list[dict[str, Any]]:
    """What the model was sent of that kind."""
    return [event for _, event in session.events if event["type"] == kind]


def test_a_greeting_that_must_be_heard_is_heard_and_then_the_words_that_were_said_over_it_are_answered(tmp_path):
    call = Scenario(written(tmp_path, NOTICE))
    call.caller_interrupts("I would like to know your prices.", after=1.0)
    call.model_says("A first visit is sixty dollars.")
    call.expect_heard("A first visit is sixty dollars.")
    call.caller_hangs_up()
    outcome = call.run()
    (stream,) = outcome.call.streams
    assert stream.clears == []
    (record,) = outcome.world.store.of(outcome.call.call_sid)
    assert not record.interruptions
    greeting, question, answer = record.turns
    assert greeting.heard_ms == greeting.generated_ms > 0
    assert question.began >= greeting.heard_ms / 1000
    assert question.heard_text == "I would like to know your prices."
    assert answer.heard_text == "A first visit is sixty dollars."


@pytest.mark.parametrize("keys", ["5", "0"])
async def test_a_greeting_that_must_be_heard_is_not_cut_by_a_key_which_is_minded_afterwards(
    monkeypatch, autojump_clock, tmp_path, keys
):
    model = LoopbackModel(script=Script(on_text=(Reply((say("agent_key"),)),)))
    settings = default_settings(written(tmp_path, NOTICE))
    async with a_world(monkeypatch, model, settings=settings, dial={"+15550001111": "no-answer"}) as world:
        call = await world.call(AwaitAgent(1), Press(keys), Wait(12), HangUp())
    stream = call.streams[0]
    heard = b"".join(piece.audio for piece in stream.playback.heard)
    assert stream.clears == []
    assert heard.startswith(load_prompt("greeting").audio)
    assert heard.endswith(line("agent_key").audio if keys == "5" else load_prompt("transfer").audio)


def test_a_caller_who_asks_to_wait_is_left_in_peace_and_answered_when_they_are_back(tmp_path):
    call = Scenario(written(tmp_path, PLAIN.replace("12", "60")))
    call.caller_says("Hold on, let me find my glasses.")
    call.model_says("Of course, take your time, I am here, and there is no hurry at all.")
    call.caller_is_silent(15)
    call.caller_says("It is John Smyth.")
    call.model_says("Thank you, John.")
    call.expect_heard("Thank you, John.")
    call.caller_hangs_up()
    outcome = call.run()
    (record,) = outcome.world.store.of(outcome.call.call_sid)
    assert [turn.heard_text for turn in record.turns if turn.who == "agent"][1:] == [
        "Of",  # it had begun when the caller's words were known
        "Thank you, John.",
    ]
    (session,) = outcome.world.models[0].sessions
    assert not session.errors
    told = [event["item"]["content"][0]["text"] for event in sent(session, "conversation.item.create")]
    assert told.count(ASKED_TO_WAIT) == 1
    assert len(sent(session, "response.create")) == 2


def test_a_caller_who_asked_to_wait_and_coughs_is_left_in_peace(tmp_path):
    call = Scenario(written(tmp_path, PLAIN.replace("12", "60")))
    call.caller_says("Hold on, let me find my glasses.")
    call.model_says("Sure.")
    call.caller_is_silent(3)
    call.caller_says("")
    call.caller_is_silent(6)
    call.caller_says("It is John Smyth.")
    call.model_says("Thank you, John.")
    call.expect_heard("Thank you, John.")
    call.caller_hangs_up()
    outcome = call.run()
    (session,) = outcome.world.models[0].sessions
    assert len(sent(session, "response.create")) == 2, outcome.timeline


def test_a_caller_who_asked_to_wait_and_says_nothing_more_is_asked_twice_and_let_go(tmp_path):
    call = Scenario(written(tmp_path, PLAIN))
    call.caller_interrupts("One moment please.", after=1.0)
    call.model_says("Sure.")
    for _ in range(3):
        call.caller_is_silent(12)
        call.model_says("Are you still there?")
    outcome = call.run()
    (record,) = outcome.world.store.of(outcome.call.call_sid)
    assert record.reason == "nobody is there any more"
    said = [turn.heard_text for turn in record.turns if turn.who == "agent" and turn.heard_text]
    assert said.count("Are you still there?") == 2
    assert not any("moment" in words for words in said), "a filler was heard while the caller was away"


def test_a_sentence_that_is_to_be_finished_is_heard_to_its_end_though_the_callers_words_are_known(
    tmp_path: Path,
) -> None:
    file = tmp_path / "flow.toml"
    file.write_text('name = "n"\ninstructions = "Be kind."\nfloor = "finish"\n')
    call = Scenario(str(file))
    call.caller_says("When are you open?")
    call.model_says("We are open on weekdays from eight to six, on saturdays from nine to one, and closed on sundays.")
    call.caller_interrupts("And on Monday?", after=1.5)
    call.model_says("From eight.")
    call.caller_is_silent(3)
    call.caller_hangs_up()
    outcome = call.run()
    (stream,) = outcome.call.streams
    assert stream.clears == [], outcome.timeline


@pytest.mark.parametrize(("words", "after"), [("Okay, thanks, bye.", 0.5), ("Uh-huh.", 2.3)])
def test_a_goodbye_over_the_agents_goodbye_does_not_take_it_back(words: str, after: float, tmp_path: Path) -> None:
    call = Scenario(written(tmp_path, PLAIN))
    call.caller_says("That was all.")
    call.model_says("You are welcome. Have a nice day, and goodbye.")
    call.model_calls("end_call", reason="done")
    call.caller_interrupts(words, after=after)
    call.model_says("Is there anything else?")
    outcome = call.run()
    (record,) = outcome.world.store.of(outcome.call.call_sid)
    assert record.reason == "the agent ended the call: done"
    assert [turn.heard_text for turn in record.turns][1:] == [
        "That was all.",
        "You are welcome. Have a nice day, and goodbye.",
    ], outcome.timeline


@pytest.mark.parametrize(("words", "stays"), [("Yes.", True), ("Uh-huh.", True), ("Okay, bye.", False), ("", False)])
def test_who_answers_the_goodbye_that_follows_are_you_still_there_is_there(
    words: str, stays: bool, tmp_path: Path
) -> None:
    call = Scenario(written(tmp_path, PLAIN))
    for _ in range(2):
        call.caller_is_silent(10)
        call.model_says("Are you still there?")
    call.caller_is_silent(10)
    call.caller_interrupts(words, after=0.5)
    call.model_says("There you are.")
    call.caller_hangs_up()
    outcome = call.run()
    (record,) = outcome.world.store.of(outcome.call.call_sid)
    assert record.reason == ("the caller hung up" if stays else "nobody is there any more"), outcome.timeline
    assert record.turns[-1].heard_text == ("There you are." if stays else "Thank you for calling. Goodbye.")


def test_a_recorded_goodbye_that_the_caller_broke_off_stands_before_what_they_said_over_it(tmp_path: Path) -> None:
    call = Scenario(written(tmp_path, PLAIN))
    for _ in range(2):
        call.caller_is_silent(10)
        call.model_says("Are you still there?")
    call.caller_is_silent(10)
    call.caller_interrupts("No, wait.", after=1.0)
    call.model_says("There you are.")
    call.caller_hangs_up()
    outcome = call.run()
    (session,) = outcome.world.models[0].sessions
    assert not session.errors
    asked, cut, said, answer = list(session.items)[-4:]
    assert [session.words_of(item) for item in (asked, cut, answer)] == [
        "Are you still there?",
        "Thank you for",
        "There you are.",
    ], outcome.timeline
    assert session.items[said]["role"] == "user"


DICTATED = """
name = "dictated"
instructions = "Be kind."
[slots.phone]
kind = "phone"
label = "their number"
[states.talk]
goal = "Get a number."
collects = ["phone"]
patience_ms = 1100
final = true
"""


@pytest.mark.parametrize("pause", [1.6, 2.2])
def test_a_caller_who_stops_in_the_middle_of_a_number_has_time_to_go_on(tmp_path: Path, pause: float) -> None:
    call = Scenario(written(tmp_path, DICTATED))
    for words in ("It is 4 1 5.", "5 5 5"):
        call.caller_says(words)
        call.model_says("What is the rest of the number?")
        call.caller_pauses(pause)
    call.caller_says("0 1 2 3.")
    call.model_says("Thank you, I have it.")
    call.expect_heard("Thank you, I have it.")
    call.caller_hangs_up()
    outcome = call.run()
    (record,) = outcome.world.store.of(outcome.call.call_sid)
    agent = [turn for turn in record.turns if turn.who == "agent"][1:]
    assert [turn.heard_text for turn in agent] == ["", "", "Thank you, I have it."], outcome.timeline
    assert max(turn.heard_ms for turn in agent[:2]) <= 200, "its words were known so much later than it began to speak"
