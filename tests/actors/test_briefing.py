"""The briefing: what another session is told of the conversation, and what of it means nothing to that one."""

from actors.briefing import GUIDE_PREFIX, ONCE_PREFIX, PROMPT_PREFIX, Briefing
from actors.messages import (
    CancelReply,
    CommitTurn,
    Cut,
    DropItem,
    Extract,
    ModelCommand,
    Role,
    Tell,
    ToolCall,
    ToolResult,
    Truncate,
)

GREETING = Tell(Role.AGENT, "Hello, this is the desk.", f"{PROMPT_PREFIX}greeting_1", first=True)
ONCE = Tell(Role.OPERATOR, "[Say now: nobody took the call.]", f"{ONCE_PREFIX}1")
KEYS = Tell(Role.CALLER, "[The caller pressed 5]")


def known(briefing: Briefing, *commands: ModelCommand) -> list[ModelCommand]:
    """Of these, what a session is sent that knows no reply and no turn."""
    return briefing.known(list(commands), lambda reply: False, committing=False)


def test_the_first_session_is_sent_all_and_the_next_one_only_what_it_can_know() -> None:
    briefing = Briefing()
    foreign = [Truncate("i1", 200), DropItem("i1"), CancelReply("r1"), CommitTurn()]
    assert known(briefing, *foreign) == foreign
    briefing.session_lost()
    briefing.session_begins()
    briefing.learns("i2")
    assert known(briefing, *foreign, Truncate("i2", 200), KEYS) == [Truncate("i2", 200), KEYS]
    extract = Extract("e1", "", items=("i1", "i2"))
    assert known(briefing, extract) == [Extract("e1", "", items=("i2",))]
    assert known(briefing, Extract("e2", "", items=("i1",))) == []


def test_the_result_of_a_tool_that_another_session_called_is_told_as_text() -> None:
    briefing = Briefing()
    briefing.called([ToolCall("c1", "look_up", {})])
    briefing.session_lost()
    briefing.session_begins()
    briefing.called([ToolCall("c2", "look_up", {})])
    theirs, ours = ToolResult("c1", {"time": "nine"}), ToolResult("c2", {"time": "ten"})
    told = Tell(Role.OPERATOR, "[The result of look_up, which you asked for earlier: time: nine]")
    assert known(briefing, theirs, ours) == [told, ours]


def test_speech_that_is_on_its_way_to_the_caller_is_told_once_and_cut_where_it_was_heard() -> None:
    briefing = Briefing()
    briefing.sent(GREETING, 0.0)
    briefing.session_begins()
    heard = [(Role.CALLER, "Hi.", "u1")]
    tells = briefing.of_before(
        heard, {"i1": "We are open from nine to five.", GREETING.item: GREETING.text, "u1": "Hi."}
    )
    assert [tell.text for tell in tells] == ["Hi.", GREETING.text, "We are open from nine to five."]
    assert not any(tell.first for tell in tells), "it comes after what was heard"
    again, drop = briefing.cut(Cut("i1", heard=800, received=1600))
    assert drop == DropItem(tells[-1].item)
    assert isinstance(again, Tell)
    assert tells[-1].text.startswith(again.text)
    assert briefing.cut(Cut("i1", heard=800, received=1600)) == [Truncate("i1", 100)], (
        "of what it was told no more is left"
    )


def test_what_was_heard_to_its_end_is_told_as_a_turn_and_not_again() -> None:
    briefing = Briefing()
    briefing.sent(GREETING, 0.0)
    heard = [(Role.AGENT, GREETING.text, GREETING.item)]
    assert [tell.text for tell in briefing.of_before(heard, {})] == [GREETING.text]
    assert briefing.of_before([], {}) == []


def test_where_the_conversation_stands_is_one_item_at_the_tail_in_each_session() -> None:
    briefing = Briefing()
    (first,) = briefing.guide("[Now: ask for the name.]")
    drop, second = briefing.guide("[Now: ask for the day.]")
    assert isinstance(first, Tell)
    assert drop == DropItem(first.item)
    briefing.session_begins()
    (told,) = briefing.of_before([], {})
    assert isinstance(second, Tell)
    assert told.text == second.text
    assert told.item.startswith(GUIDE_PREFIX)


def test_what_is_meant_for_the_next_reply_is_taken_away_after_the_one_that_said_it() -> None:
    briefing = Briefing()
    briefing.sent(ONCE, 1.0)
    briefing.reply_began("r1", knows=0.5)  # before it could see it
    assert briefing.reply_over("r1", said=True) == []
    briefing.reply_began("r2", knows=1.5)
    assert briefing.reply_over("r2", said=False) == []
    briefing.reply_began("r3", knows=2.5)
    assert briefing.reply_over("r3", said=True) == [DropItem(ONCE.item)]


def test_keys_results_and_what_to_say_are_told_again_and_what_is_in_the_record_is_not() -> None:
    briefing = Briefing()
    briefing.called([ToolCall("c1", "look_up", {})])
    guide = briefing.guide("[Now: ask for the name.]")
    again = briefing.again([KEYS, GREETING, *guide, ONCE, ToolResult("c1", {"ok": True}), CommitTurn()])
    assert [tell.text for tell in again] == [
        KEYS.text,
        ONCE.text,
        "[The result of look_up, which you asked for earlier: ok: True]",
    ]
