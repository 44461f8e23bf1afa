"""The dialogue's machine in a flow with states: wishes, slots, keys, time, and what the flow wants done."""

import signal

import attrs
import pytest

from actors import call_state
from actors.call_state import (
    AskModel,
    Leave,
    Listen,
    Note,
    Phase,
    ReportQuiet,
    Say,
    SetTimer,
    StopTimer,
    TellKeys,
    TellModel,
)
from actors.dialogue import Status
from actors.guidance import guidance
from actors.messages import (
    AgentQuiet,
    AnswerTools,
    Before,
    CallBegan,
    CallerDone,
    CallerSaid,
    CallerSpoke,
    Disposition,
    ErrandDone,
    Floor,
    Guide,
    KeyPressed,
    LinkUp,
    ReplyOver,
    RunPython,
    SendText,
    SetPatience,
    TimerRang,
    ToolsCalled,
)
from actors.story import Said, Story, to_plain
from conf.flow import Condition, Effect, Transition
from tests.kit.calls import a_tool_call
from tests.kit.machine import (
    ASKING,
    BEFORE,
    BOOK,
    BOOKS,
    CALLER,
    FAREWELL_TIMER,
    GIVEN,
    NOW,
    PHONE,
    RESERVE,
    SILENCE_10,
    TOOLED,
    TOOLS,
    USELESS,
    begun,
    interrupted,
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

# ---------------------------------------------------------------- a flow with states


def confirms(*slots: str, correct: bool = True, call_id: str = "k1") -> ToolsCalled:
    return ToolsCalled((a_tool_call("confirm_details", call_id, slots=list(slots), correct=correct),), spoke=False)


CONFIRMED = (*GIVEN, confirms("phone"), ReplyOver(True))


# ---------------------------------------------------------------- keys


def test_a_key_that_the_state_minds_leads_where_the_flow_says_and_the_model_speaks_on_it() -> None:
    state, effects = run(begun(), KeyPressed("7"), rules=BOOKS)
    assert (state.dialogue.at, state.digits) == ("ask", "")
    assert effects[0] == Listen(Floor.KEY)
    assert of(AskModel, effects) == [AskModel()]
    assert of(TellKeys, effects) == []


def test_the_states_own_zero_comes_before_the_human() -> None:
    rules = with_states("""
start = "menu"
[states.menu]
goal = "Offer the choice."
transitions = [{ when.key = "0", goto = "office" }]
[states.office]
goal = "Tell them the hours."
final = true
""")
    state, effects = run(begun(rules), KeyPressed("0"), rules=rules)
    assert (state.phase, state.dialogue.at) == (Phase.TALKING, "office")
    assert of(Say, effects) == []
    state, effects = run(state, KeyPressed("0"), rules=rules)
    assert (state.phase, state.going) == (Phase.FAREWELL, Disposition.DIAL)


def test_zero_comes_before_what_all_states_share() -> None:
    rules = with_states("""
[[shared]]
when.key = "0"
effects = [{ do = "reply", text = "Zero." }]
""")
    state, _ = run(begun(rules), KeyPressed("0"), rules=rules)
    assert state.going is Disposition.DIAL


@pytest.mark.parametrize(
    ("changes", "going", "words"),
    [
        ({}, Disposition.DIAL, "transfer"),
        ({"warm": True}, Disposition.DIAL_WARM, "transfer"),
        ({"human": False}, Disposition.VOICEMAIL, "message"),
        ({"human": False, "warm": True}, Disposition.VOICEMAIL, "message"),
    ],
)
def test_zero_brings_whom_there_is(changes: dict[str, bool], going: Disposition, words: str) -> None:
    rules = attrs.evolve(BOOKS, **changes)
    state, effects = run(begun(rules), KeyPressed("0"), rules=rules)
    assert effects == [Listen(Floor.KEY), Say(words), FAREWELL_TIMER, ReportQuiet()]
    state, effects = run(state, KeyPressed("0"), rules=rules) if going is not Disposition.VOICEMAIL else (state, [])
    assert effects == []
    _, effects = run(state, AgentQuiet(), rules=rules)
    assert effects == [Leave(going, "the caller pressed 0")]


def test_a_key_that_all_states_share_is_no_typing() -> None:
    state, effects = run(begun(), KeyPressed("*"), rules=BOOKS)
    assert state.digits == ""
    assert effects[:3] == [Listen(Floor.KEY), TellModel("[Say now: Repeat.]", once=True), AskModel()]
    assert of(AskModel, effects) == [AskModel()]


def test_within_a_number_every_key_is_typing() -> None:
    state, effects = run(begun(), *(KeyPressed(digit) for digit in "4*70"), rules=BOOKS)
    assert (state.digits, state.dialogue.at, state.phase) == ("4*70", "hello", Phase.TALKING)
    assert of(TellModel, effects) == []


@pytest.mark.parametrize("last", [KeyPressed("#"), TimerRang("digits", 1)])
def test_a_telephone_number_that_is_asked_for_can_be_typed(last: call_state.FlowEvent) -> None:
    state, effects = run(begun(BOOKS, *ASKING), *(KeyPressed(d) for d in "2127365000"), last, rules=BOOKS)
    held = state.dialogue.held("phone")
    assert (held.text, held.status) == (PHONE, Status.HEARD)
    assert of(TellKeys, effects) == [TellKeys("2127365000", "saved as phone")]
    assert of(AskModel, effects) == []  # not before the agent is quiet
    assert PHONE in of(Guide, effects)[-1].text
    assert ReportQuiet() in effects
    _, effects = run(state, AgentQuiet(), AgentQuiet(), rules=BOOKS)
    assert effects == [AskModel()]


def test_a_typed_number_that_is_none_is_told_with_what_is_wrong() -> None:
    state, effects = run(begun(BOOKS, *ASKING), *(KeyPressed(digit) for digit in "12#"), rules=BOOKS)
    (told,) = of(TellKeys, effects)
    assert told.digits == "12"
    assert told.meaning.startswith("not usable as phone: ")
    assert "$" not in told.meaning
    assert state.dialogue.held("phone").tries == 1
    assert state.reply_owed


def test_what_is_typed_where_no_number_is_asked_for_is_only_told() -> None:
    state, effects = run(begun(), *(KeyPressed(digit) for digit in "42#"), rules=BOOKS)
    assert of(TellKeys, effects) == [TellKeys("42")]
    assert state.dialogue.slots == {}


TABLE_FOR = """
start = "table"
[slots.size]
kind = "number"
label = "how many people"
confirm = false
most = 9
[states.table]
goal = "Ask for how many."
collects = ["size"]
transitions = [{ when.slots.size = "confirmed", effects = [{ do = "hang_up" }] }]
"""


@pytest.mark.parametrize(
    ("keys", "going"),
    [("4#", Disposition.HANG_UP), ("77#88#99#", Disposition.DIAL)],
    ids=["the flow ends the call", "nobody understands"],
)
def test_a_number_that_ends_the_conversation_is_followed_by_last_words_at_once(keys: str, going: Disposition) -> None:
    rules = with_states(TABLE_FOR)
    state, effects = run(begun(rules), *(KeyPressed(key) for key in keys), rules=rules)
    assert (state.phase, state.going) == (Phase.FAREWELL, going)
    last_words = [*of(AskModel, effects), *of(Say, effects)]
    assert last_words, "the caller hears nothing until the farewell has taken too long"


def test_a_key_that_means_nothing_just_now_does_not_leave_the_caller_in_silence() -> None:
    rules = with_states("""
start = "menu"
[slots.size]
kind = "number"
label = "how many people"
[states.menu]
goal = "Offer the choice."
collects = ["size"]
transitions = [{ when.key = "5", when.slots.size = "confirmed", goto = "office" }]
[states.office]
goal = "Tell them the hours."
final = true
""")
    state, effects = run(begun(rules), KeyPressed("5"), rules=rules)
    assert state.dialogue.at == "menu"
    if "digits" in [timer.name for timer in of(SetTimer, effects)]:
        state, more = run(state, TimerRang("digits", 1), rules=rules)
        effects += more
    effects += run(state, AgentQuiet(), rules=rules)[1]
    assert Listen(Floor.KEY) in effects
    assert of(AskModel, effects) == [AskModel()], "the agent was stopped, and nobody speaks"


# ---------------------------------------------------------------- silence and time


def test_silence_is_timed_from_the_beginning_while_the_agent_is_not_heard() -> None:
    _, effects = run(call_state.initial(BOOK), CallBegan(), rules=BOOKS)
    assert SILENCE_10 in effects


def test_a_caller_who_speaks_stops_the_silence_and_when_they_are_done_it_is_timed_anew() -> None:
    state, effects = run(begun(), CallerSpoke(), rules=BOOKS)
    assert effects == [StopTimer("silence 10")]
    state, effects = run(state, CallerDone("u1"), rules=BOOKS)
    assert effects == [SILENCE_10]
    state, effects = run(state, ReplyOver(True), rules=BOOKS)
    assert effects == [SILENCE_10]
    state, effects = run(state, KeyPressed("4"), rules=BOOKS)
    assert SILENCE_10 in effects


def test_the_time_of_a_state_is_not_stopped_by_speech_and_dies_with_the_state() -> None:
    state = begun()
    state, effects = run(state, wishes("book"), rules=BOOKS)
    assert SetTimer("after 60", 60.0) in effects
    state, effects = run(state, *turn(), ReplyOver(True), rules=BOOKS)
    assert StopTimer("after 60") not in effects
    assert "after 60" not in [timer.name for timer in of(SetTimer, effects)]
    state, effects = run(state, TimerRang("after 60", 1), rules=BOOKS)
    assert state.dialogue.at == "mail"
    assert StopTimer("after 60") in effects
    assert effects.index(StopTimer("silence 10")) < effects.index(SILENCE_10)


def test_after_two_silences_the_third_is_a_goodbye() -> None:
    state = begun()
    for _ in range(2):
        state, effects = silent(state, BOOKS)
        assert of(TellModel, effects) == [TellModel("[Say now: Ask whether they are there.]", once=True)]
        assert of(AskModel, effects) == [AskModel()]
        assert SILENCE_10 in effects
    state, effects = silent(state, BOOKS)
    assert effects == [Listen(Floor.TIME), Say("goodbye"), FAREWELL_TIMER, ReportQuiet()]
    _, effects = run(state, AgentQuiet(), rules=BOOKS)
    assert effects == [Leave(Disposition.HANG_UP, "nobody is there any more")]


@pytest.mark.parametrize("sign", [CallerSpoke(), KeyPressed("4"), KeyPressed("*")], ids=["a word", "a key", "*"])
def test_a_sign_of_the_caller_begins_the_silences_anew(sign: call_state.FlowEvent) -> None:
    state = begun()
    for _ in range(2):
        state, _ = silent(state, BOOKS)
    state, _ = run(state, sign, rules=BOOKS)
    for _ in range(2):
        state, _ = silent(state, BOOKS)
        assert state.phase is Phase.TALKING
    assert silent(state, BOOKS)[0].phase is Phase.FAREWELL


def test_a_silence_that_is_answered_with_a_recorded_prompt_is_timed_again() -> None:
    rules = with_states("""
[[shared]]
when.silence = 10
effects = [{ do = "say", prompt = "resume" }]
""")
    state = begun(rules)
    for _ in range(2):
        state, effects = run(state, TimerRang("silence 10", 1), rules=rules)
        assert of(Say, effects) == [Say("resume")]
        assert SILENCE_10 in effects, "the silence is minded once and never again"
    _, effects = run(state, TimerRang("silence 10", 1), rules=rules)
    assert of(Say, effects) == [Say("goodbye")]


def test_a_silence_in_the_farewell_is_nothing() -> None:
    state = begun(BOOKS, KeyPressed("0"))
    assert run(state, TimerRang("silence 10", 1), rules=BOOKS) == (state, [])


# ---------------------------------------------------------------- what the flow wants done


def test_a_text_message_of_the_flow_goes_to_the_confirmed_number_with_the_slots_filled_in() -> None:
    state, effects = run(
        begun(BOOKS, *CONFIRMED),
        *turn("u3"),
        saves(email="a.b@example.com"),
        *turn("u4"),
        confirms("email"),
        rules=BOOKS,
    )
    assert state.dialogue.at == "done"
    (text,) = of(SendText, effects)
    assert (text.name, text.to, text.text) == ("confirmation", PHONE, f"Booked for {PHONE}.")
    assert text.key.startswith("done.1.")


def test_a_text_message_goes_to_the_caller_where_no_number_is_confirmed() -> None:
    state = begun(BOOKS, *ASKING, TimerRang("after 60", 1))
    for _ in range(3):
        calls = (a_tool_call("save_details", "s1", email="mumble"), a_tool_call("save_details", "s2", size="4"))
        state, effects = run(state, *turn(), ToolsCalled(calls, spoke=False), rules=BOOKS)
    assert of(SendText, effects)[0].to == CALLER


def test_how_a_message_came_out_is_known_and_what_the_flow_says_to_it_is_done_once() -> None:
    state = begun(BOOKS, *CONFIRMED, *turn(), saves(email="a.b@example.com"), *turn(), confirms("email"))
    done = ErrandDone("done.1.4.entry.0", "confirmation", "failed")
    state, effects = run(state, done, rules=BOOKS)
    assert state.dialogue.outcomes == {"confirmation": "failed"}
    assert of(TellModel, effects) == [TellModel("[Say now: Say that it was not sent.]", once=True)]
    assert effects.index(AskModel()) > effects.index(of(Guide, effects)[0])
    assert of(AskModel, effects) == [AskModel()]


LEAVING: dict[str, tuple[str, dict[str, bool], Disposition, str]] = {
    "hang up": ('do = "hang_up"', {}, Disposition.HANG_UP, "goodbye"),
    "a voicemail": ('do = "voicemail"', {}, Disposition.VOICEMAIL, "message"),
    "a transfer": ('do = "transfer"', {}, Disposition.DIAL, "transfer"),
    "a transfer as the settings say": ('do = "transfer"', {"warm": True}, Disposition.DIAL_WARM, "transfer"),
    "a cold transfer": ('do = "transfer", how = "cold"', {"warm": True}, Disposition.DIAL, "transfer"),
    "a warm transfer": ('do = "transfer", how = "warm"', {}, Disposition.DIAL_WARM, "transfer"),
    "a transfer without a human": ('do = "transfer"', {"human": False}, Disposition.VOICEMAIL, "message"),
    "a warm one without a human": (
        'do = "transfer", how = "warm"',
        {"human": False},
        Disposition.VOICEMAIL,
        "message",
    ),
}


@pytest.mark.parametrize(("effect", "changes", "going", "words"), LEAVING.values(), ids=LEAVING)
def test_a_flow_that_leaves_by_itself_has_recorded_last_words(
    effect: str, changes: dict[str, bool], going: Disposition, words: str
) -> None:
    rules = with_states(f"[[shared]]\nwhen.silence = 10\neffects = [{{ {effect} }}]\n", **changes)
    state, effects = run(begun(rules), TimerRang("silence 10", 1), rules=rules)
    assert effects == [Listen(Floor.FLOW), Say(words), FAREWELL_TIMER, ReportQuiet()]
    _, effects = run(state, AgentQuiet(), rules=rules)
    (leave,) = of(Leave, effects)
    assert leave.disposition is going
    assert leave.reason.startswith("the flow, at 'talk'")


@pytest.mark.parametrize(("effect", "changes", "going", "words"), LEAVING.values(), ids=LEAVING)
def test_a_flow_that_leaves_while_the_model_is_to_speak_has_it_say_the_last_words(
    effect: str, changes: dict[str, bool], going: Disposition, words: str
) -> None:
    rules = with_states(
        f'[intents]\nbye = "Nothing more."\n[[shared]]\nwhen.intent = "bye"\neffects = [{{ {effect} }}]\n', **changes
    )
    state, effects = run(begun(rules), wishes("bye"), rules=rules)
    assert (state.phase, state.going, state.last_words_asked) == (Phase.FAREWELL, going, True)
    assert of(Say, effects) == []
    (told,) = of(TellModel, effects)
    assert "one short sentence" in told.text
    assert FAREWELL_TIMER in effects
    assert spoken_on(effects) == 1
    state, effects = run(state, ReplyOver(True), rules=rules)
    assert effects == [ReportQuiet()]
    _, effects = run(state, AgentQuiet(), rules=rules)
    assert [leave.disposition for leave in of(Leave, effects)] == [going]


def test_a_model_without_last_words_for_the_flow_has_the_fitting_ones_played() -> None:
    rules = attrs.evolve(BOOKS, human=False)
    state = begun(rules, wishes("human"))
    assert (state.going, state.last_words_asked) == (Disposition.VOICEMAIL, True)
    _, effects = run(state, ReplyOver(False), rules=rules)
    assert effects == [Say("message"), ReportQuiet()]


def test_a_prompt_of_the_flow_is_played_and_told() -> None:
    rules = with_states('[[shared]]\nwhen.key = "5"\neffects = [{ do = "say", prompt = "apology" }]\n')
    _, effects = run(begun(rules), KeyPressed("5"), rules=rules)
    assert of(Say, effects) == [Say("apology")]


def test_a_tool_of_the_flow_is_run_with_what_is_settled() -> None:
    state, effects = run(begun(TOOLS), saves(size="four"), rules=TOOLS)
    assert state.dialogue.at == "done"
    (errand,) = of(RunPython, effects)
    assert (errand.name, errand.tool, errand.arguments) == ("reserve", RESERVE, {"size": 4})
    assert spoken_on(effects) == 1  # nobody waits for what the flow does


def test_a_tool_of_the_flow_that_lacks_something_has_failed_and_the_flow_is_told() -> None:
    state, effects = run(begun(TOOLS), KeyPressed("8"), rules=TOOLS)
    assert of(RunPython, effects) == []
    assert "nothing is known of size" in of(Note, effects)[0].text
    assert state.dialogue.outcomes == {"reserve": "failed"}
    assert TellModel("[Say now: Say sorry.]", once=True) in effects


@pytest.mark.timeout(10)
def test_a_tool_that_can_never_run_and_is_tried_again_for_ever_does_not_hold_the_call_up() -> None:
    again = (Transition(Condition(outcome={"reserve": ("failed",)}), "done"),)
    done = attrs.evolve(TOOLED.states["done"], on_entry=(Effect("tool", tool="reserve"),), transitions=again)
    rules = attrs.evolve(TOOLS, flow=attrs.evolve(TOOLED, states={**TOOLED.states, "done": done}))
    signal.setitimer(signal.ITIMER_REAL, 2)
    previous = signal.signal(signal.SIGALRM, _too_long)
    try:
        state, effects = run(begun(rules), KeyPressed("8"), rules=rules)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert state.dialogue.at == "done"
    assert of(Note, effects)


def _too_long(*_: object) -> None:
    raise AssertionError("one step never ends")


# ---------------------------------------------------------------- slots that nobody understands


def test_a_detail_that_is_not_understood_as_often_as_allowed_leads_where_the_flow_says() -> None:
    state = begun(BOOKS, *CONFIRMED)
    for number in range(3):
        state, _ = run(state, *turn(), saves(email="mumble"), ReplyOver(True), rules=BOOKS)
        assert state.phase is Phase.TALKING, f"attempt {number + 1}: {state.why}"
    assert state.dialogue.at == "done"


def test_a_detail_that_is_not_understood_leads_to_a_human_if_the_flow_does_not_mind() -> None:
    state = begun(BOOKS, *ASKING)
    for _ in range(2):
        state, _ = run(state, *turn(), saves(phone="mumble"), ReplyOver(True), rules=BOOKS)
        assert state.phase is Phase.TALKING
    state, effects = run(state, *turn(), saves(phone="mumble"), rules=BOOKS)
    assert (state.phase, state.going) == (Phase.FAREWELL, Disposition.DIAL)
    assert spoken_on(effects) == 1


def test_a_detail_that_the_flow_went_on_without_does_not_end_the_call_later() -> None:
    state = begun(BOOKS, *CONFIRMED)
    useful = a_tool_call("confirm_details", "k9", slots=["phone"], correct=True)
    for _ in range(3):
        calls = (a_tool_call("save_details", "s9", email="mumble"), useful)
        state, _ = run(state, *turn(), ToolsCalled(calls, spoke=False), ReplyOver(True), rules=BOOKS)
    assert state.dialogue.at == "done"
    state, effects = run(state, ErrandDone("done.1.5.entry.0", "confirmation", "done"), rules=BOOKS)
    assert (state.phase, state.going) == (Phase.TALKING, None), state.why
    assert of(Say, effects) == []


# ---------------------------------------------------------------- guidance and patience


def test_the_model_is_told_where_it_stands_when_the_call_begins_and_not_again_while_nothing_changes() -> None:
    state, effects = run(call_state.initial(BOOK), CallBegan(), rules=BOOKS)
    assert [guide.text for guide in of(Guide, effects)] == [guidance(BOOK, state.dialogue, state.caller, NOW.date())]
    quiet = (LinkUp(), *turn(), CallerSaid("u", "hello"), ReplyOver(True), AgentQuiet(), interrupted(Floor.SPEECH))
    _, effects = run(state, *quiet, rules=BOOKS)
    assert of(Guide, effects) == []


def test_a_flow_without_states_tells_the_date_and_guides_nobody() -> None:
    _, effects = run(BEFORE, CallBegan(), LinkUp(), *turn(), USELESS, ReplyOver(True))
    assert of(Guide, effects) == [Guide("[Today is Tuesday, November 24, 2026.]")]


def test_where_the_conversation_stands_is_told_after_the_results_and_before_the_model_speaks_on_them() -> None:
    _, effects = run(begun(), wishes("book"), rules=BOOKS)
    told = [effect for effect in effects if isinstance(effect, AnswerTools | Guide | AskModel)]
    assert [type(effect) for effect in told] == [AnswerTools, Guide, AskModel]
    assert isinstance(told[0], AnswerTools)
    assert not told[0].then_reply
    assert "Get the number." in told[1].text  # type: ignore[union-attr] # fails if it is another kind


def test_there_is_patience_while_something_is_dictated_and_none_while_it_is_read_back() -> None:
    state, effects = run(call_state.initial(BOOK), CallBegan(), LinkUp(), rules=BOOKS)
    assert patience(effects) == []  # as the session was set up
    state, effects = run(state, wishes("book"), rules=BOOKS)
    assert patience(effects) == [900]
    state, effects = run(state, *turn(), CallerSaid("u", "well"), ReplyOver(True), rules=BOOKS)
    assert patience(effects) == []
    state, effects = run(state, *turn(), saves(phone="2127365000"), rules=BOOKS)
    assert patience(effects) == [0]
    state, effects = run(state, *turn(), confirms("phone", correct=False), rules=BOOKS)
    assert patience(effects) == [900]


def test_patience_is_not_set_anew_where_the_next_state_has_as_much() -> None:
    state, effects = run(begun(BOOKS, *ASKING), TimerRang("after 60", 1), rules=BOOKS)
    assert (state.dialogue.at, patience(effects)) == ("mail", [])


def test_patience_is_set_before_the_model_speaks() -> None:
    _, effects = run(begun(), KeyPressed("7"), rules=BOOKS)
    assert effects.index(SetPatience(900)) < effects.index(AskModel())


# ---------------------------------------------------------------- nothing to go on with, nobody to go to


@pytest.mark.parametrize(
    ("said", "words", "asked"),
    [((), "resume", 0), ((Said("agent", "Hello."),), "resume", 0), ((Said("caller", "Wait."),), "reconnected", 1)],
    ids=["nothing was said", "only the greeting", "the caller spoke"],
)
def test_a_caller_who_had_said_nothing_yet_is_asked_to_go_on_and_the_model_waits(
    said: tuple[Said, ...], words: str, asked: int
) -> None:
    plain = to_plain(Story("booking", begun().dialogue, said))
    _, effects = run(call_state.initial(BOOK), CallBegan(Before.CUT_OFF, CALLER, plain), rules=BOOKS)
    assert of(Say, effects) == [Say(words)]
    assert spoken_on(effects) == asked


def test_who_was_promised_a_human_where_there_is_none_is_told_so_before_they_are_handed_to_the_voicemail() -> None:
    rules = attrs.evolve(BOOKS, human=False)
    calls = (a_tool_call("transfer_to_human", "c1"),)
    state, effects = run(begun(rules), ToolsCalled(calls, spoke=True), rules=rules)
    assert state.going is Disposition.VOICEMAIL
    assert "nobody" in str(of(AnswerTools, effects)[0].results[0].output["next"])
    assert spoken_on(effects) or of(Say, effects), "the caller heard that they are connected, then a voicemail"
