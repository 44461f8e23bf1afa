"""The dialogue's machine and stories: what is kept of a conversation, and how it goes on."""

import attrs
import pytest

from actors import call_state
from actors.call_state import (
    AskModel,
    Phase,
    Recall,
    Say,
    SetTimer,
    TellModel,
)
from actors.messages import (
    Before,
    CallBegan,
    Disposition,
    Guide,
    LinkUp,
    ReplyOver,
    SendText,
    SetPatience,
)
from actors.story import Story, to_plain
from conf.flow import Condition, Effect, Transition
from tests.kit.machine import (
    ASKING,
    BOOK,
    BOOKS,
    CALLER,
    GIVEN,
    PHONE,
    SAID,
    SILENCE_10,
    STORY,
    begun,
    of,
    patience,
    run,
    saves,
    silent,
    spoken_on,
    turn,
    wishes,
    with_states,
)

# ---------------------------------------------------------------- a call that goes on


@pytest.mark.parametrize(
    ("before", "with_story", "without"),
    [
        (Before.NOTHING, "greeting", "greeting"),
        (Before.CUT_OFF, "reconnected", "resume"),
        (Before.CALLED_BACK, "welcome_back", "welcome_back"),
        (Before.NOT_TAKEN, "not_taken", "not_taken"),
    ],
)
def test_the_first_words_are_those_that_fit_what_was_before(before: Before, with_story: str, without: str) -> None:
    _, effects = run(call_state.initial(BOOK), CallBegan(before, CALLER, STORY), rules=BOOKS)
    assert of(Say, effects) == [Say(with_story)]
    for nothing in (None, {}, {"flow": "another"}):
        _, effects = run(call_state.initial(BOOK), CallBegan(before, CALLER, nothing), rules=BOOKS)
        assert of(Say, effects) == [Say(without, first=True)]
        assert of(Recall, effects) == []


@pytest.mark.parametrize("before", [Before.CUT_OFF, Before.CALLED_BACK])
def test_a_call_goes_on_where_it_was_and_the_model_is_told_what_was_said(before: Before) -> None:
    state, effects = run(call_state.initial(BOOK), CallBegan(before, CALLER, STORY), rules=BOOKS)
    assert state.dialogue.at == "ask"
    assert (state.dialogue.held("phone").text, state.caller) == (PHONE, CALLER)
    assert of(SetPatience, effects) == []  # it is to be confirmed, not dictated
    assert {SetTimer("after 60", 60.0), SILENCE_10} <= set(of(SetTimer, effects))
    order = [e for e in effects if isinstance(e, Recall | Say | TellModel | Guide | AskModel)]
    assert [type(effect) for effect in order] == [Recall, Say, TellModel, Guide, AskModel]
    assert order[0] == Recall(SAID)
    assert PHONE in order[3].text  # type: ignore[union-attr] # fails if it is another kind


def test_what_a_caller_asked_before_the_stream_broke_comes_before_what_is_missing() -> None:
    _, effects = run(call_state.initial(BOOK), CallBegan(Before.CUT_OFF, CALLER, STORY), rules=BOOKS)
    (told,) = of(TellModel, effects)
    assert 0 < told.text.index("was not answered") < told.text.index("missing")


def test_a_call_that_goes_on_in_the_middle_of_dictation_is_patient_again() -> None:
    plain = to_plain(Story("booking", begun(BOOKS, *ASKING).dialogue))
    _, effects = run(call_state.initial(BOOK), CallBegan(Before.CUT_OFF, CALLER, plain), rules=BOOKS)
    assert patience(effects) == [900]


def test_a_caller_whom_nobody_took_comes_back_to_the_flow_with_how_it_came_out() -> None:
    plain = to_plain(Story("booking", begun(BOOKS, *GIVEN, wishes("human")).dialogue, SAID))
    state, effects = run(call_state.initial(BOOK), CallBegan(Before.NOT_TAKEN, CALLER, plain, "busy"), rules=BOOKS)
    assert state.dialogue.outcomes["transfer"] == "busy"
    assert TellModel("[Say now: Nobody could take it.]", once=True) in effects
    assert of(AskModel, effects) == [AskModel()]
    assert of(Say, effects) == [Say("not_taken")]
    assert state.phase is Phase.TALKING


def test_a_flow_that_has_nothing_to_say_to_it_lets_the_model_go_on() -> None:
    rules = attrs.evolve(BOOKS, flow=attrs.evolve(BOOK, shared=()))
    _, effects = run(call_state.initial(BOOK), CallBegan(Before.NOT_TAKEN, CALLER, STORY, "no-answer"), rules=rules)
    assert of(AskModel, effects) == [AskModel()]


def test_a_flow_that_takes_a_message_when_nobody_takes_the_call_does_not_ask_the_model_to_speak_too() -> None:
    to_voicemail = Transition(Condition(outcome={"transfer": ("busy",)}), "", (Effect("voicemail"),))
    rules = attrs.evolve(BOOKS, flow=attrs.evolve(BOOK, shared=(to_voicemail,)))
    state, effects = run(call_state.initial(BOOK), CallBegan(Before.NOT_TAKEN, CALLER, STORY, "busy"), rules=rules)
    assert (state.phase, state.going) == (Phase.FAREWELL, Disposition.VOICEMAIL)
    assert Say("message") in effects
    assert spoken_on(effects) == 0, "the model speaks while the last words are being played"


def test_what_was_done_in_a_state_is_not_done_again_when_the_call_goes_on() -> None:
    rules = with_states("""
start = "table"
[slots.size]
kind = "number"
label = "how many people"
confirm = false
[slots.phone]
kind = "phone"
label = "a number"
[states.table]
goal = "Ask for how many."
collects = ["size", "phone"]
final = true
transitions = [{ when.slots.size = "confirmed", effects = [{ do = "sms", name = "note", text = "For {size}." }] }]
""")
    state, effects = run(begun(rules), saves(size="4"), rules=rules)
    assert len(of(SendText, effects)) == 1
    _, effects = run(state, *turn(), saves(phone="2127365000"), rules=rules)
    assert of(SendText, effects) == []
    plain = to_plain(Story("small", state.dialogue))
    again = (CallBegan(Before.CUT_OFF, CALLER, plain), LinkUp(), *turn(), saves(phone="2127365000"))
    _, effects = run(call_state.initial(rules.flow), *again, rules=rules)
    assert of(SendText, effects) == [], "the same text message is sent again, under another key"


def test_a_caller_who_is_transferred_because_nobody_understands_is_not_transferred_again_at_once() -> None:
    state = begun(BOOKS, *ASKING)
    for _ in range(3):
        state, _ = run(state, *turn(), saves(phone="mumble"), ReplyOver(True), rules=BOOKS)
    assert state.going is Disposition.DIAL
    plain = to_plain(Story("booking", state.dialogue))
    back, _ = run(
        call_state.initial(BOOK),
        CallBegan(Before.NOT_TAKEN, CALLER, plain, "busy"),
        LinkUp(),
        ReplyOver(True),
        rules=BOOKS,
    )
    assert back.phase is Phase.TALKING
    back, _ = silent(back, BOOKS)
    assert back.phase is Phase.TALKING, f"{back.why}: round and round"
