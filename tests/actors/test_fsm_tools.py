"""The dialogue's machine and tools: errands, tools that take their time, and what the model did not save."""

import attrs
import pytest

from actors import call_state
from actors.call_state import (
    ERRAND_PATIENCE,
    EXTRACT,
    EXTRACT_TRIES,
    LATE,
    ROUNDS_AT_MOST,
    TEXTS_A_CALL,
    AskModel,
    Leave,
    Listen,
    Note,
    Phase,
    ReportQuiet,
    Say,
    SetTimer,
    StopTimer,
    TellModel,
)
from actors.dialogue import Status
from actors.fsm import step
from actors.messages import (
    AgentQuiet,
    AnswerTools,
    CallBegan,
    CallerDone,
    CallerSaid,
    CallerSpoke,
    CallerWaits,
    Disposition,
    ErrandDone,
    Extract,
    Extracted,
    Floor,
    Guide,
    KeyPressed,
    LinkLost,
    ReplyOver,
    RunPython,
    SendText,
    SetModel,
    TimerRang,
    ToolCall,
    ToolResult,
    ToolsCalled,
)
from tests.kit.calls import a_tool_call
from tests.kit.machine import (
    ASKING,
    BOOK,
    BOOKS,
    CALLER,
    NOW,
    NUMBER,
    PHONE,
    TALKING,
    TOOLS,
    USELESS,
    answer_of,
    begun,
    done,
    of,
    run,
    saves,
    spoken_on,
    turn,
    with_states,
)

# ---------------------------------------------------------------- tools that take their time


def texts(call_id: str, text: str = "Hi.") -> ToolCall:
    return a_tool_call("send_sms", call_id, text=text)


@pytest.mark.parametrize(
    ("times", "doubtful", "prompt"),
    [
        (1, False, "one_moment"),
        (2, False, "still_here"),
        (3, False, "still_here"),
        (1, True, "one_moment"),
        (2, True, "apology"),
    ],
)
def test_a_caller_who_waits_hears_a_filler_of_which_the_model_is_not_told(
    times: int, doubtful: bool, prompt: str
) -> None:
    assert run(TALKING, CallerWaits(times, doubtful)) == (TALKING, [Say(prompt, told=False)])


def test_a_state_may_be_spoken_by_another_model() -> None:
    states = """
    start = "a"
    [states.a]
    goal = "A."
    model = "gpt-realtime-hard"
    transitions = [{ when.key = "7", goto = "b" }]
    [states.b]
    goal = "B."
    final = true
    """
    rules = with_states(states)
    state, effects = step(call_state.initial(rules.flow), CallBegan(), rules, NOW)
    assert of(SetModel, effects) == [SetModel("gpt-realtime-hard")]
    state, effects = step(state, KeyPressed("7"), rules, NOW)
    assert of(SetModel, effects) == [SetModel("")]
    _, effects = step(state, KeyPressed("8"), rules, NOW)
    assert of(SetModel, effects) == []


def test_a_model_that_repeats_a_text_sends_it_once_until_the_caller_speaks() -> None:
    state, effects = run(TALKING, CallBegan(caller=CALLER))
    sent: list[SendText] = []
    for number in range(ROUNDS_AT_MOST):
        state, effects = run(state, ToolsCalled((texts(f"c{number}"),), spoke=False), done(f"c{number}"))
        sent += of(SendText, effects)
    assert [text.key for text in sent] == ["tool.c0"]
    state, effects = run(state, CallerSpoke(again=True), ToolsCalled((texts("c9"),), spoke=False))
    assert of(SendText, effects) == [], "another session hears what was answered already"
    state, effects = run(state, CallerSpoke(), ToolsCalled((texts("again"),), spoke=False))
    assert [text.key for text in of(SendText, effects)] == ["tool.again"]


def test_a_text_that_failed_may_be_tried_once_more_and_no_more_than_two_go_out_in_one_turn() -> None:
    state, _ = run(TALKING, CallBegan(caller=CALLER))
    state, effects = run(state, ToolsCalled((texts("a"),), spoke=False), done("a", "failed"))
    state, more = run(state, ToolsCalled((texts("b"),), spoke=False), done("b", "failed"))
    state, last = run(state, ToolsCalled((texts("c"), texts("d", "Another.")), spoke=False))
    assert [text.key for text in of(SendText, [*effects, *more, *last])] == ["tool.a", "tool.b"]
    answer = answer_of(last)
    assert [result.output["ok"] for result in answer.results] == [False, False]
    assert "sent already" in str(answer.results[0].output["error"])


def test_who_asks_for_texts_on_and_on_gets_no_more_than_a_call_has_use_for() -> None:
    state, _ = run(TALKING, CallBegan(caller=CALLER))
    sent: list[SendText] = []
    effects: list[call_state.Effect] = []
    for number in range(TEXTS_A_CALL + 5):
        asked = ToolsCalled((texts(f"c{number}", f"Number {number}."),), spoke=False)
        state, effects = run(state, CallerSpoke(), asked, done(f"c{number}"))
        sent += of(SendText, effects)
        if number == TEXTS_A_CALL:
            assert "no more text messages" in str(answer_of(effects).results[0].output["error"])
    assert [text.text for text in sent] == [f"Number {number}." for number in range(TEXTS_A_CALL)]


def test_a_model_that_goes_round_in_a_circle_is_taken_off_the_line() -> None:
    state, effects = TALKING, list[call_state.Effect]()
    for number in range(ROUNDS_AT_MOST):
        state, effects = run(state, ToolsCalled((a_tool_call("look_up", f"c{number}", topic="hours"),), spoke=False))
        assert state.phase is Phase.TALKING
    state, effects = run(state, ToolsCalled((a_tool_call("look_up", "last", topic="hours"),), spoke=False))
    assert (state.phase, state.going) == (Phase.FAREWELL, Disposition.IVR)
    assert not answer_of(effects).then_reply
    assert Say("apology") in effects


def test_many_rounds_are_no_circle_if_the_caller_speaks_between() -> None:
    state = TALKING
    for number in range(5 * ROUNDS_AT_MOST):
        call = a_tool_call("look_up", f"c{number}", topic="hours")
        state, _ = run(state, CallerSpoke(), ToolsCalled((call,), spoke=False))
    assert state.phase is Phase.TALKING


def test_the_model_waits_for_what_it_asked_for_and_speaks_when_all_is_there() -> None:
    calls = (texts("c1"), a_tool_call("look_up", "c2", topic="hours"), texts("c3", "Hello."))
    state, effects = run(TALKING, CallBegan(caller=CALLER), ToolsCalled(calls, spoke=False))
    assert [(text.key, text.to, text.text) for text in of(SendText, effects)] == [
        ("tool.c1", CALLER, "Hi."),
        ("tool.c3", CALLER, "Hello."),
    ]
    assert of(AnswerTools, effects) == []
    assert SetTimer("errands 1", ERRAND_PATIENCE) in effects
    state, effects = run(state, done("c3", "failed", reason="no such number"))
    assert effects == []
    state, effects = run(state, done("c1"))
    stop, answer = effects
    assert stop == StopTimer("errands 1")
    assert answer == AnswerTools(
        (
            ToolResult("c1", {"ok": True}),
            ToolResult("c2", {"ok": True, "fact": "nine to five"}),
            ToolResult("c3", {"ok": False, "error": "it failed: no such number", "reason": "no such number"}),
        ),
        then_reply=True,
    )
    assert state.dialogue.outcomes == {"sms": "done"}
    assert run(state, TimerRang("errands 1", 1), done("c1")) == (state, [])


def test_what_takes_longer_is_said_to_be_running_and_told_once_when_it_is_there() -> None:
    state, _ = run(TALKING, CallBegan(caller=CALLER), ToolsCalled((texts("c1"), texts("c2")), spoke=False), done("c2"))
    state, effects = run(state, TimerRang("errands 1", 1))
    answer = answer_of(effects)
    assert answer.then_reply
    assert [result.output.get("status") for result in answer.results] == ["still running", None]
    state, effects = run(state, done("c1", "opted_out"))
    (told,) = of(TellModel, effects)
    assert "does not want text messages" in told.text
    assert effects[-1] == AskModel()
    assert run(state, done("c1", "opted_out"))[1] == []


def test_two_replies_may_wait_for_their_tools_at_once() -> None:
    first, second = (ToolsCalled((texts(name),), spoke=False) for name in ("c1", "c2"))
    state, effects = run(TALKING, CallBegan(caller=CALLER), first, *turn(), second)
    assert [timer.name for timer in of(SetTimer, effects) if timer.name.startswith("errands")] == [
        "errands 1",
        "errands 2",
    ]
    state, effects = run(state, done("c2"))
    assert [result.call_id for result in answer_of(effects).results] == ["c2"]
    state, effects = run(state, TimerRang("errands 2", 1), TimerRang("errands 1", 1))
    assert [result.call_id for result in answer_of(effects).results] == ["c1"]
    assert state.batches == {}


@pytest.mark.parametrize("spoke", [True, False])
def test_a_goodbye_in_the_same_reply_as_a_message_does_not_wait_for_it(spoke: bool) -> None:
    calls = (texts("c1"), a_tool_call("end_call", "c2"))
    state, effects = run(TALKING, CallBegan(caller=CALLER), ToolsCalled(calls, spoke=spoke))
    assert (state.phase, state.going) == (Phase.FAREWELL, Disposition.HANG_UP)
    assert len(of(SendText, effects)) == 1
    answer = answer_of(effects)
    assert answer.then_reply is not spoke
    assert [result.call_id for result in answer.results] == ["c1", "c2"]
    assert answer.results[0].output["ok"] is True
    assert not [timer for timer in of(SetTimer, effects) if timer.name.startswith("errands")]
    state, effects = run(state, done("c1"))
    assert spoken_on(effects) == 0  # the last words are being said
    assert state.phase is Phase.FAREWELL
    assert run(state, done("c1", "failed"))[1] == []


@pytest.mark.parametrize("outcome", ["failed", "opted_out", "unknown"])
def test_who_is_let_go_with_the_promise_of_a_message_hears_before_that_it_does_not_come(outcome: str) -> None:
    calls = (texts("c1"), a_tool_call("end_call", "c2"))
    state, _ = run(TALKING, CallBegan(caller=CALLER), ToolsCalled(calls, spoke=True))
    state, effects = run(state, done("c1", outcome))
    assert spoken_on(effects) == 1
    assert "Say that, in one short sentence" in str(effects)
    state, effects = run(state, AgentQuiet())
    assert effects == []  # it is not said yet
    state, effects = run(state, ReplyOver(True), AgentQuiet())
    assert [leave.disposition for leave in of(Leave, effects)] == [Disposition.HANG_UP]


def test_a_goodbye_does_not_wait_for_bad_news_that_no_model_is_there_to_tell() -> None:
    calls = (texts("c1"), a_tool_call("end_call", "c2"))
    state, _ = run(TALKING, CallBegan(caller=CALLER), ToolsCalled(calls, spoke=True), LinkLost("why"))
    state, effects = run(state, done("c1", "failed"), AgentQuiet())
    assert spoken_on(effects) == 0
    assert [leave.disposition for leave in of(Leave, effects)] == [Disposition.HANG_UP]


def test_a_tool_whose_outcome_comes_in_the_farewell_is_answered_without_asking_the_model_to_speak() -> None:
    state, _ = run(TALKING, CallBegan(caller=CALLER), ToolsCalled((texts("c1"),), spoke=False), KeyPressed("0"))
    state, effects = run(state, done("c1"))
    assert [(result.call_id, answer_of(effects).then_reply) for result in answer_of(effects).results] == [("c1", False)]
    assert state.phase is Phase.FAREWELL


def test_a_message_to_nobody_is_refused() -> None:
    _, effects = run(TALKING, ToolsCalled((texts("c1"),), spoke=False))
    assert of(SendText, effects) == []
    assert "not known" in str(answer_of(effects).results[0].output["error"])


def test_a_tool_of_python_is_run_with_the_arguments_of_the_model() -> None:
    calls = (a_tool_call("reserve", "c1", size=4, phone="x"), a_tool_call("reserve", "c2"))
    state, effects = run(begun(TOOLS), ToolsCalled(calls, spoke=False), rules=TOOLS)
    (errand,) = of(RunPython, effects)
    assert (errand.key, errand.arguments) == ("tool.c1", {"size": 4.0, "phone": "x"})
    _, effects = run(state, ErrandDone("tool.c1", "reserve", "done", {"table": 7}), rules=TOOLS)
    assert [result.output["ok"] for result in of(AnswerTools, effects)[0].results] == [True, False]
    assert of(AnswerTools, effects)[0].results[0].output["table"] == 7


def test_a_tool_that_took_longer_is_told_with_what_it_found_out() -> None:
    state, effects = run(begun(TOOLS), ToolsCalled((a_tool_call("reserve", "c1", size=4),), spoke=False), rules=TOOLS)
    (patience,) = [timer for timer in of(SetTimer, effects) if timer.name.startswith("errands")]
    state, effects = run(state, TimerRang(patience.name, 1), rules=TOOLS)
    assert of(AnswerTools, effects)[0].results[0].output["status"] == "still running"
    state, effects = run(state, ErrandDone("tool.c1", "reserve", "done", {"table": 7, "at": "nine"}), rules=TOOLS)
    assert [told.text for told in of(TellModel, effects)] == ["[reserve, which took longer: done: table: 7; at: nine]"]
    assert len(of(AskModel, effects)) == 1
    assert run(state, ErrandDone("tool.c1", "reserve", "done", {"table": 7}), rules=TOOLS)[1] == []


def test_who_waits_for_what_takes_longer_is_not_asked_whether_they_are_there_and_hears_that_it_goes_on() -> None:
    state, effects = run(begun(TOOLS), ToolsCalled((a_tool_call("reserve", "c1", size=4),), spoke=False), rules=TOOLS)
    (patience,) = [timer for timer in of(SetTimer, effects) if timer.name.startswith("errands")]
    state, effects = run(state, TimerRang(patience.name, 1), ReplyOver(True), rules=TOOLS)
    waits = SetTimer(LATE, TOOLS.max_silence, quiet=True)
    assert waits in effects
    state, effects = run(state, TimerRang("silence 10", 1), rules=TOOLS)
    assert (state.dialogue.idle, effects) == (0, [waits])
    state, effects = run(state, TimerRang(LATE, 1), rules=TOOLS)
    assert effects == [Say("still_here", told=False), waits]
    state, _ = run(state, ErrandDone("tool.c1", "reserve", "done", {}), rules=TOOLS)
    assert run(state, TimerRang(LATE, 2), rules=TOOLS) == (state, [])
    assert waits not in run(state, ReplyOver(True), rules=TOOLS)[1]


def test_three_replies_in_a_row_with_nothing_but_unusable_calls_lead_to_the_keypad() -> None:
    state, effects = run(TALKING, USELESS, USELESS)
    assert [answer.then_reply for answer in of(AnswerTools, effects)] == [True, True]
    assert state.phase is Phase.TALKING
    state, effects = run(state, USELESS)
    assert [len(answer.results) for answer in of(AnswerTools, effects)] == [2]
    assert spoken_on(effects) == 0
    assert of(Note, effects)
    assert [effect for effect in effects if isinstance(effect, Listen | Say | ReportQuiet)] == [
        Listen(Floor.FLOW),
        Say("apology"),
        ReportQuiet(),
    ]
    _, effects = run(state, AgentQuiet())
    assert [leave.disposition for leave in of(Leave, effects)] == [Disposition.IVR]


def test_one_call_that_can_be_used_makes_up_for_the_others() -> None:
    useful = ToolsCalled((ToolCall("c1", "nonsense", {}), a_tool_call("look_up", "c2", topic="hours")), spoke=False)
    state, _ = run(TALKING, USELESS, USELESS, useful, USELESS, USELESS)
    assert state.phase is Phase.TALKING
    assert run(state, USELESS)[0].going is Disposition.IVR


# ---------------------------------------------------------------- what the model did not save


MISSED = (CallerSpoke(), CallerDone("u7"), CallerSaid("u7", NUMBER), ReplyOver(True))


def test_what_the_caller_said_and_the_model_did_not_save_is_asked_for_once() -> None:
    state, effects = run(begun(BOOKS, *ASKING), *MISSED, rules=BOOKS)
    (extract,) = of(Extract, effects)
    assert extract.items[-1] == "u7"
    assert '"phone"' in extract.instructions
    _, effects = run(state, CallerSaid("u7", NUMBER), ReplyOver(True), AgentQuiet(), rules=BOOKS)
    assert of(Extract, effects) == []


def test_it_does_not_matter_whether_the_words_or_the_reply_come_first() -> None:
    late = (CallerSpoke(), CallerDone("u7"), ReplyOver(True), CallerSaid("u7", NUMBER))
    assert len(of(Extract, run(begun(BOOKS, *ASKING), *late, rules=BOOKS)[1])) == 1


NOT_ASKED: dict[str, tuple[call_state.FlowEvent, ...]] = {
    "the model saved it": (*turn(), CallerSaid("u", NUMBER), saves(phone="2127365000"), ReplyOver(True)),
    "there is nothing in the words": (*turn(), CallerSaid("u", "I do not know"), ReplyOver(True)),
    "the model has not answered yet": (*turn(), CallerSaid("u", NUMBER)),
    "the caller went on": (*turn(), CallerSaid("u", NUMBER), CallerSpoke(), ReplyOver(True)),
}


@pytest.mark.parametrize("events", NOT_ASKED.values(), ids=NOT_ASKED)
def test_otherwise_nothing_is_asked_apart(events: tuple[call_state.FlowEvent, ...]) -> None:
    assert of(Extract, run(begun(BOOKS, *ASKING), *events, rules=BOOKS)[1]) == []


def test_nothing_is_asked_apart_where_the_flow_does_not_want_it_or_no_slot_is_asked_for() -> None:
    rules = attrs.evolve(BOOKS, flow=attrs.evolve(BOOK, extract=False))
    assert of(Extract, run(begun(rules, *ASKING), *MISSED, rules=rules)[1]) == []
    assert of(Extract, run(begun(), *MISSED, rules=BOOKS)[1]) == []


def test_what_was_extracted_is_saved_like_any_other_and_guides_the_model() -> None:
    state, effects = run(begun(BOOKS, *ASKING), *MISSED, Extracted(EXTRACT, {"phone": "2127365000"}), rules=BOOKS)
    held = state.dialogue.held("phone")
    assert (held.text, held.status) == (PHONE, Status.HEARD)
    assert PHONE in of(Guide, effects)[-1].text
    assert len(of(Extract, effects)) == 1


@pytest.mark.parametrize(
    "answer",
    [
        Extracted(EXTRACT, None, "no JSON"),
        Extracted(EXTRACT, {"phone": "12"}),
        Extracted(EXTRACT, {"phone": "ask Anna for it"}),
    ],
    ids=["no JSON", "no number", "words"],
)
def test_an_answer_that_cannot_be_read_is_mended_once_and_then_given_up(answer: Extracted) -> None:
    state, effects = run(begun(BOOKS, *ASKING), *MISSED, answer, rules=BOOKS)
    first, second = of(Extract, effects)
    assert second.instructions.startswith(first.instructions)
    assert "could not be used" in second.instructions
    state, effects = run(state, answer, ReplyOver(True), rules=BOOKS)
    assert of(Extract, effects) == []
    assert of(Note, effects) == [
        Note("details could not be extracted: phone")
    ]  # what the caller said is not for the log
    assert not state.dialogue.held("phone").known


def test_who_wants_to_be_called_on_the_telephone_in_use_need_not_say_its_number() -> None:
    state = begun(BOOKS, *ASKING, *turn(), saves(phone="this number, please"))
    held = state.dialogue.held("phone")
    assert (held.text, held.status, held.tries) == (CALLER, Status.HEARD, 0)


@pytest.mark.parametrize("values", [{}, {"colour": "red"}, {"phone": None}, {"intent": "human", "name": "Anna"}])
def test_an_answer_without_anything_that_was_asked_for_is_the_end_of_it(values: dict[str, object]) -> None:
    before = begun(BOOKS, *ASKING, *MISSED)
    assert run(before, Extracted(EXTRACT, values), rules=BOOKS) == (before, [])


def test_each_turn_may_be_asked_about() -> None:
    _, effects = run(begun(BOOKS, *ASKING), *MISSED, Extracted(EXTRACT, {}), *MISSED, rules=BOOKS)
    assert len(of(Extract, effects)) == 2


def test_one_turn_is_not_asked_about_more_often_because_the_caller_went_on() -> None:
    unusable = Extracted(EXTRACT, None, "no JSON")
    _, effects = run(begun(BOOKS, *ASKING), *MISSED, CallerSpoke(), unusable, unusable, unusable, rules=BOOKS)
    assert len(of(Extract, effects)) <= EXTRACT_TRIES
