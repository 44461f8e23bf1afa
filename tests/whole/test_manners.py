"""The manners of the agent, in whole calls: what must be heard is, who is silent is asked, who asks to wait is waited for."""

from pathlib import Path

from transport.loopback.scenario import Scenario

NOTICE = """
name = "notice"
instructions = "Be kind."
greeting_floor = "protected"
"""


def written(folder: Path, text: str) -> str:
    file = folder / "flow.toml"
    file.write_text(text, "utf-8")
    return str(file)


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
