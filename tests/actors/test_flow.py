"""FlowActor: what the machine wants done reaches those who do it, its timers ring once, and leaving ends everything."""

import datetime

import attrs
import pytest
import trio
import trio.lowlevel
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from actors import call_state
from actors.briefing import PROMPT_PREFIX
from actors.call_state import DIGITS_PAUSE, FAREWELL_AT_MOST
from actors.dialogue import Dialogue as Talk
from actors.flow import PROMPT_LATE, FlowActor, FlowOutput, Neighbours, Words
from actors.mailbox import Mailbox, WhenFull
from actors.messages import (
    AgentQuiet,
    AnswerTools,
    AskReply,
    Before,
    CallBegan,
    CallerDone,
    CallerSaid,
    CallerSpoke,
    Disposition,
    Errand,
    ErrandDone,
    Extract,
    Floor,
    FloorRule,
    Guide,
    HungUp,
    KeyPressed,
    LinkLost,
    LinkUp,
    MoveAway,
    Play,
    ReplyOver,
    Role,
    SendText,
    SetFloor,
    SetPatience,
    StopTalking,
    Tell,
    TellWhenQuiet,
    TimerRang,
    ToolResult,
    ToolsCalled,
)
from actors.story import Said, Story, to_plain
from conf.flow import Condition, Effect, Slot, State, Transition
from tests.kit.calls import FLOW, PROMPTS, RULES, a_tool_call

LINK_AT_MOST = RULES.greeting_seconds + RULES.max_silence


WALL = datetime.datetime(2026, 11, 24, 12, 0, tzinfo=datetime.UTC)


class Dialogue:
    """A flow, running, and those it sends its wishes to."""

    def __init__(
        self,
        nursery: trio.Nursery,
        *,
        before: CallBegan | None = None,
        rules: call_state.Rules = RULES,
    ) -> None:
        self.steps: list[call_state.State] = []
        self.events: list[call_state.FlowEvent] = []
        self.notes: list[str] = []
        self.flow = FlowActor(rules, PROMPTS, WALL)
        self.framer: Mailbox[Play | TellWhenQuiet | SetFloor] = Mailbox("framer", 1000, WhenFull.FATAL)
        self.link: Mailbox[FlowOutput] = Mailbox("link", 1000, WhenFull.FATAL)
        self.errands: Mailbox[Errand] = Mailbox("errands", 1000, WhenFull.FATAL)
        self.speech_until = float("-inf")
        """When the agent's speech will be over: set by tests, as the Framer would know it."""
        self.yielded: list[tuple[Floor, int]] = []
        """Why the floor was taken, and how much the Framer had been given by then."""
        self.began = trio.current_time()
        self.over = trio.Event()
        self.left: call_state.Leave | None = None
        self.left_at = 0.0
        self._before = before or CallBegan()
        nursery.start_soon(self._run)

    async def post(self, *events: call_state.FlowEvent) -> None:
        """These happen, one right after the other, to a dialogue that has begun."""
        await wait_all_tasks_blocked()
        for event in events:
            self.flow.inbox.post(event)
        await wait_all_tasks_blocked()

    async def up(self) -> None:
        """The greeting is out and the model is there."""
        await self.post(LinkUp())
        self.framer.take_all()
        self.link.take_all()

    def told_keys(self) -> list[str]:
        """The texts of the keys that the model was told of."""
        tells = [m for m in self.link.take_all() if isinstance(m, Tell)]
        assert all(tell.role is Role.CALLER and not tell.item and not tell.first for tell in tells)
        return [tell.text.removesuffix("]").rpartition(" ")[2] for tell in tells]

    async def _run(self) -> None:
        with trio.fail_after(10_000):
            neighbours = Neighbours(
                self.framer,
                self.link,
                self.errands,
                lambda why: self.yielded.append((why, self.given())),
                lambda: self.speech_until,
                self._stepped,
                self.notes.append,
            )
            self.left = await self.flow.run(self._before, neighbours)
        self.left_at = trio.current_time() - self.began
        self.over.set()

    def _stepped(self, event: call_state.FlowEvent, state: call_state.State) -> None:
        self.events.append(event)
        self.steps.append(state)

    def given(self) -> int:
        return self.framer.stats().taken_in


# ---------------------------------------------------------------- the beginning


@pytest.mark.parametrize(("before", "name"), [(Before.NOTHING, "greeting"), (Before.CUT_OFF, "resume")])
async def test_the_first_words_are_played_and_told_to_the_model_as_the_first_item(
    before: Before, name: str, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    dialogue = Dialogue(nursery, before=CallBegan(before))
    await wait_all_tasks_blocked()
    (play,) = dialogue.framer.take_all()
    tell, guide = dialogue.link.take_all()
    assert isinstance(play, Play)
    assert play.item.startswith(PROMPT_PREFIX)
    assert (play.words, play.audio) == (PROMPTS[name].text, PROMPTS[name].audio)
    assert tell == Tell(Role.AGENT, PROMPTS[name].text, play.item, first=True)
    assert guide == Guide("[Today is Tuesday, November 24, 2026.]")


async def test_words_said_later_have_names_of_their_own_and_come_where_they_belong(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    dialogue = Dialogue(nursery)
    await dialogue.post(LinkUp(), KeyPressed("0"), KeyPressed("1"), KeyPressed("#"), KeyPressed("0"))
    plays = [m for m in dialogue.framer.take_all() if isinstance(m, Play)]
    tells = [m for m in dialogue.link.take_all() if isinstance(m, Tell) and m.item]
    assert [play.words for play in plays] == [PROMPTS[name].text for name in ("greeting", "transfer", "transfer")]
    assert [tell.item for tell in tells] == [play.item for play in plays]
    assert len({play.item for play in plays}) == 3
    assert [tell.first for tell in tells] == [True, False, False]
    assert all(len(play.item) <= 32 for play in plays)  # the most that an item's name may have


# ---------------------------------------------------------------- effects


async def test_the_floor_is_taken_before_anything_else_is_said(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    dialogue = Dialogue(nursery)
    await dialogue.up()
    given = dialogue.given()
    await dialogue.post(KeyPressed("0"))
    assert dialogue.yielded == [(Floor.KEY, given)]
    said = dialogue.framer.take_all()
    assert [type(message) for message in said] == [Play, TellWhenQuiet]
    assert [type(message) for message in dialogue.link.take_all()] == [StopTalking, Tell]


async def test_keys_are_told_to_the_model_and_answered_when_the_agent_is_quiet(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    dialogue = Dialogue(nursery)
    await dialogue.up()
    await dialogue.post(*(KeyPressed(digit) for digit in "407#"))
    assert dialogue.framer.take_all() == [TellWhenQuiet()]
    assert [floor for floor, _ in dialogue.yielded] == [Floor.KEY]
    stop, tell = dialogue.link.take_all()
    assert stop == StopTalking()
    assert isinstance(tell, Tell)
    assert tell.role is Role.CALLER
    assert "407" in tell.text
    await dialogue.post(AgentQuiet(), AgentQuiet())
    assert dialogue.link.take_all() == [AskReply()]


async def test_keys_are_not_answered_twice_when_the_caller_speaks_too(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    dialogue = Dialogue(nursery)
    await dialogue.up()
    await dialogue.post(KeyPressed("4"), KeyPressed("#"), CallerSpoke(), AgentQuiet())
    assert not any(isinstance(message, AskReply) for message in dialogue.link.take_all())


async def test_tools_are_answered_all_together(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    dialogue = Dialogue(nursery)
    await dialogue.up()
    calls = (a_tool_call("look_up", "c1", topic="hours"), a_tool_call("nonsense", "c2"))
    await dialogue.post(ToolsCalled(calls, spoke=False))
    (answer,) = dialogue.link.take_all()
    assert isinstance(answer, AnswerTools)
    assert answer.then_reply
    assert answer.results[0] == ToolResult("c1", {"ok": True, "fact": "nine to five"})
    assert (answer.results[1].call_id, answer.results[1].output["ok"]) == ("c2", False)


async def test_every_step_is_shown_as_it_is_made(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    dialogue = Dialogue(nursery)
    await dialogue.up()
    await dialogue.post(KeyPressed("7"))
    today = "[Today is Tuesday, November 24, 2026.]"
    begun = attrs.evolve(call_state.initial(FLOW), dialogue=Talk("talk", visits={"talk": 1}), guided=today)
    assert dialogue.steps == [begun, attrs.evolve(begun, link=call_state.Link.UP), dialogue.flow.state]
    assert dialogue.events == [CallBegan(), LinkUp(), KeyPressed("7")]
    assert dialogue.flow.state == attrs.evolve(begun, link=call_state.Link.UP, digits="7")


# ---------------------------------------------------------------- timers


async def test_a_timer_rings_once_and_on_time(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    dialogue = Dialogue(nursery)
    await dialogue.up()
    await dialogue.post(KeyPressed("4"))
    await trio.sleep(DIGITS_PAUSE - 0.01)
    assert dialogue.told_keys() == []
    await trio.sleep(0.02)
    assert dialogue.told_keys() == ["4"]
    await trio.sleep(100)
    assert dialogue.told_keys() == []


async def test_a_timer_set_anew_rings_only_at_its_new_time(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    dialogue = Dialogue(nursery)
    await dialogue.up()
    tasks = trio.lowlevel.current_statistics().tasks_living
    for digit in "1234":
        await dialogue.post(KeyPressed(digit))
        assert trio.lowlevel.current_statistics().tasks_living == tasks + 1
        await trio.sleep(DIGITS_PAUSE - 0.1)
    assert dialogue.told_keys() == []
    await trio.sleep(0.2)
    assert dialogue.told_keys() == ["1234"]
    await trio.sleep(100)
    assert dialogue.told_keys() == []


async def test_a_timer_that_is_stopped_does_not_ring_and_can_be_set_again(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    dialogue = Dialogue(nursery)
    await dialogue.up()
    await dialogue.post(KeyPressed("4"), KeyPressed("#"))
    assert dialogue.told_keys() == ["4"]
    await trio.sleep(DIGITS_PAUSE / 2)
    await dialogue.post(KeyPressed("5"))
    await trio.sleep(DIGITS_PAUSE - 0.1)  # the first setting would have rung
    assert dialogue.told_keys() == []
    await trio.sleep(0.2)
    assert dialogue.told_keys() == ["5"]


@given(moments=st.lists(st.sampled_from([0.0, 0.5, 1.0, DIGITS_PAUSE, 2.5]), min_size=1, max_size=8))
@settings(max_examples=60)
def test_keys_at_the_very_moment_the_timer_rings_are_told_once_each_and_in_order(moments: list[float]) -> None:
    keys = "12345678"[: len(moments)]

    async def dial() -> list[str]:
        async with trio.open_nursery() as nursery:
            dialogue = Dialogue(nursery)
            await dialogue.up()
            for key, pause in zip(keys, moments, strict=True):
                dialogue.flow.inbox.post(KeyPressed(key))
                await trio.sleep(pause)
            await trio.sleep(2 * DIGITS_PAUSE)
            told = dialogue.told_keys()
            nursery.cancel_scope.cancel()
        return told

    told = trio.run(dial, clock=MockClock(autojump_threshold=0))
    assert "".join(told) == keys
    assert "" not in told


async def test_a_timer_that_rang_while_it_was_being_replaced_has_no_effect(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    dialogue = Dialogue(nursery)
    await dialogue.up()
    await dialogue.post(KeyPressed("1"))
    setting, _ = dialogue.flow._timers["digits"]
    # The ring is behind the second key in the mailbox: by the time it is read the timer is another one.
    await dialogue.post(KeyPressed("2"), TimerRang("digits", setting))
    assert dialogue.told_keys() == []
    await trio.sleep(DIGITS_PAUSE + 0.1)
    assert dialogue.told_keys() == ["12"]


async def test_a_timer_that_rang_while_it_was_being_stopped_has_no_effect(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    dialogue = Dialogue(nursery)
    await wait_all_tasks_blocked()
    setting, _ = dialogue.flow._timers["link"]
    await dialogue.post(LinkUp(), TimerRang("link", setting))
    await trio.sleep(100)
    assert not dialogue.over.is_set()


async def test_a_model_that_does_not_come_in_time_is_not_waited_for(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    dialogue = Dialogue(nursery)
    await dialogue.over.wait()
    assert dialogue.left is not None
    assert (dialogue.left.disposition, dialogue.left.drain) == (Disposition.IVR, True)
    assert dialogue.left_at == pytest.approx(LINK_AT_MOST)


async def test_the_longest_call_ends_with_a_goodbye(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    dialogue = Dialogue(nursery)
    await dialogue.up()
    await trio.sleep_until(dialogue.began + RULES.max_seconds - 1)
    assert dialogue.yielded == []
    await trio.sleep(2)
    play, _ = dialogue.framer.take_all()
    assert isinstance(play, Play)
    assert play.words == PROMPTS["goodbye"].text
    assert [floor for floor, _ in dialogue.yielded] == [Floor.TIME]
    await dialogue.over.wait()  # nobody tells that it was heard
    assert dialogue.left_at == pytest.approx(RULES.max_seconds + FAREWELL_AT_MOST)


async def test_recorded_last_words_that_are_long_are_waited_for(
    autojump_clock: MockClock, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PROMPTS, "goodbye", Words("Goodbye, and a lot more.", bytes(50 * 8000)))  # type: ignore[arg-type] # a frozen mapping to types, a dict in fact
    longest, asked = Dialogue(nursery, rules=attrs.evolve(RULES, max_seconds=1.0)), Dialogue(nursery)
    await asked.up()
    await asked.post(ToolsCalled((a_tool_call("end_call"),), spoke=False))
    await trio.sleep(20)
    await asked.post(ReplyOver(spoke=False))  # the model finds none
    await asked.over.wait()
    assert longest.left_at == pytest.approx(1 + 50 + PROMPT_LATE)
    assert asked.left_at == pytest.approx(20 + 50 + PROMPT_LATE)


# ---------------------------------------------------------------- leaving

WAYS: dict[str, tuple[tuple[call_state.FlowEvent, ...], call_state.Leave]] = {
    "hung up": ((HungUp("bye"),), call_state.Leave(Disposition.HANG_UP, "bye")),
    "torn": ((HungUp("torn", lost=True),), call_state.Leave(Disposition.RESUME, "torn")),
    "moved": (
        (MoveAway(), AgentQuiet(), ReplyOver(spoke=True), AgentQuiet()),
        call_state.Leave(Disposition.RESUME, "the server is going down", drain=True),
    ),
    "lost": ((LinkLost("x"),), call_state.Leave(Disposition.IVR, "the model was lost: x", drain=True)),
    "to a human": ((KeyPressed("0"), AgentQuiet()), call_state.Leave(Disposition.DIAL, "the caller pressed 0")),
    "done": (
        (ToolsCalled((a_tool_call("end_call"),), spoke=False), ReplyOver(spoke=True), AgentQuiet()),
        call_state.Leave(Disposition.HANG_UP, "the agent ended the call"),
    ),
}


@pytest.mark.parametrize(("events", "leave"), WAYS.values(), ids=WAYS)
async def test_leaving_says_how_and_ends_all_timers(
    events: tuple[call_state.FlowEvent, ...], leave: call_state.Leave, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    tasks = trio.lowlevel.current_statistics().tasks_living
    dialogue = Dialogue(nursery)
    await dialogue.up()
    await dialogue.post(KeyPressed("5"))  # one more timer runs
    assert trio.lowlevel.current_statistics().tasks_living > tasks + 1
    await dialogue.post(KeyPressed("#"), *events, MoveAway(), HungUp("too late"))
    assert dialogue.left == leave
    assert trio.lowlevel.current_statistics().tasks_living == tasks
    dialogue.flow.inbox.take_all()
    await trio.sleep(10 * RULES.max_seconds)
    assert dialogue.flow.inbox.take_all() == []


async def test_what_happened_before_the_flow_began_is_not_lost(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    dialogue = Dialogue(nursery)
    dialogue.flow.inbox.post(HungUp("at once"))
    with trio.fail_after(1):
        await dialogue.over.wait()
    assert dialogue.left == call_state.Leave(Disposition.HANG_UP, "at once")


async def test_a_timer_with_no_time_rings_at_once(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    dialogue = Dialogue(nursery, rules=attrs.evolve(RULES, max_seconds=0.0))
    with trio.fail_after(FAREWELL_AT_MOST + 1):
        await dialogue.over.wait()
    assert dialogue.left is not None
    assert dialogue.left.disposition is Disposition.HANG_UP


# ---------------------------------------------------------------- a flow with states

SPOKEN_TO = attrs.evolve(
    FLOW,
    timezone="America/New_York",
    slots={"phone": Slot("phone", "a number")},
    states={
        "talk": State(
            "Ask for the number.",
            collects=("phone",),
            patience_ms=900,
            on_entry=(Effect("sms", name="hello", text="Hello."),),
            transitions=(
                Transition(Condition(silence=10.0), "", (Effect("reply", text="Ask again."),)),
                Transition(Condition(key=("5",), hours="06:00-08:00"), "", (Effect("say", prompt="apology"),)),
            ),
            final=True,
        )
    },
)
ASKS = attrs.evolve(RULES, flow=SPOKEN_TO)


def silent(time: int = 1) -> Tell:
    """What the model is told when it is silent for so many times; meant for one reply."""
    return Tell(Role.OPERATOR, "[Say now: Ask again.]", f"once_{time}")


async def test_what_the_flow_wants_reaches_those_who_do_it(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    dialogue = Dialogue(nursery, before=CallBegan(caller="+12125550100"), rules=ASKS)
    await wait_all_tasks_blocked()
    (errand,) = dialogue.errands.take_all()
    assert errand == SendText("talk.1.entry.0", "hello", "+12125550100", "Hello.")
    kinds = [type(message) for message in dialogue.link.take_all()]
    assert kinds == [Tell, SetPatience, Guide]
    dialogue.flow.inbox.post(ErrandDone(errand.key, errand.name, "done"))
    await wait_all_tasks_blocked()
    assert dialogue.flow.state.dialogue.outcomes == {"hello": "done"}
    (guide,) = dialogue.link.take_all()
    assert isinstance(guide, Guide)
    assert "hello: done." in guide.text


async def test_how_the_agent_gives_way_is_told_to_the_framer(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    strict = attrs.evolve(FLOW, greeting_floor="protected", floor="finish")
    dialogue = Dialogue(nursery, rules=attrs.evolve(RULES, flow=strict))
    await wait_all_tasks_blocked()
    greeting, rule = dialogue.framer.take_all()
    assert isinstance(greeting, Play)
    assert greeting.floor is FloorRule.PROTECTED
    assert rule == SetFloor(FloorRule.FINISH)


async def test_what_the_model_missed_is_asked_for_over_the_link(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    dialogue = Dialogue(nursery, rules=ASKS)
    await dialogue.up()
    await dialogue.post(CallerSpoke(), CallerDone("u1"), CallerSaid("u1", "it is 212 736 5000"), ReplyOver(True))
    (extract,) = dialogue.link.take_all()
    assert isinstance(extract, Extract)
    assert extract.items == ("u1",)


async def test_what_was_said_before_is_told_to_the_model_in_order_before_anything_else(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    said = (Said("agent", "Which number?"), Said("caller", "Wait."))
    plain = to_plain(Story("desk", Talk("talk", visits={"talk": 1}), said))
    dialogue = Dialogue(nursery, before=CallBegan(Before.CUT_OFF, story=plain), rules=ASKS)
    await wait_all_tasks_blocked()
    told = dialogue.link.take_all()
    assert told[:3] == [
        Tell(Role.AGENT, "Which number?"),
        Tell(Role.CALLER, "Wait."),
        Tell(Role.AGENT, PROMPTS["reconnected"].text, f"{PROMPT_PREFIX}reconnected_1"),
    ]
    assert told[-1] == AskReply()
    (play,) = dialogue.framer.take_all()
    assert isinstance(play, Play)
    assert play.words == PROMPTS["reconnected"].text
    assert dialogue.errands.take_all() == []  # done when the state was entered


async def test_the_model_is_told_what_typed_keys_mean(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    dialogue = Dialogue(nursery, rules=ASKS)
    await dialogue.up()
    await dialogue.post(*(KeyPressed(digit) for digit in "2127365000#"))
    (tell,) = [m for m in dialogue.link.take_all() if isinstance(m, Tell)]
    assert tell.text == "[The caller pressed these keys on the telephone: 2127365000; saved as phone]"


async def test_the_flow_knows_the_callers_time_of_day(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    dialogue = Dialogue(nursery, rules=attrs.evolve(ASKS, max_seconds=10_000.0))
    await dialogue.up()
    await dialogue.post(KeyPressed("5"))  # it is 7 in New York
    assert [type(message) for message in dialogue.framer.take_all()] == [Play]
    assert dialogue.flow.now().isoformat() == "2026-11-24T07:00:00-05:00"
    while dialogue.flow.now().hour < 8:
        await trio.sleep(5)
        await dialogue.post(CallerSpoke())  # nobody falls silent
    await dialogue.post(KeyPressed("5"))
    assert not any(isinstance(message, Play) for message in dialogue.framer.take_all())


async def test_what_should_not_happen_is_noted(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    dialogue = Dialogue(nursery)
    await dialogue.up()
    bad = ToolsCalled((a_tool_call("nonsense"),), spoke=False)
    await dialogue.post(bad, bad, bad)
    (note,) = dialogue.notes
    assert "in a row" in note


async def test_silence_is_minded_on_time(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    dialogue = Dialogue(nursery, rules=ASKS)
    await dialogue.up()
    await trio.sleep_until(dialogue.began + 9.9)
    assert dialogue.link.take_all() == []
    await trio.sleep(0.2)
    assert dialogue.link.take_all() == [silent(), AskReply()]


async def test_silence_is_not_counted_while_the_agent_is_heard(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    dialogue = Dialogue(nursery, rules=ASKS)
    await dialogue.up()
    dialogue.speech_until = dialogue.began + 7
    await dialogue.post(ReplyOver(True))
    await trio.sleep_until(dialogue.began + 12)
    dialogue.speech_until = dialogue.began + 15  # the agent goes on in the meantime
    await trio.sleep_until(dialogue.began + 24.9)
    assert dialogue.link.take_all() == []
    await trio.sleep(0.2)
    assert dialogue.link.take_all() == [silent(), AskReply()]


async def test_silence_is_not_counted_while_the_agent_is_heard_who_began_to_speak_after_it_was_set(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    dialogue = Dialogue(nursery, rules=ASKS)
    await dialogue.up()
    await dialogue.post(CallerSpoke(), CallerDone("u1"))  # the agent is not heard yet
    await trio.sleep(3)
    dialogue.speech_until = dialogue.began + 20
    await trio.sleep_until(dialogue.began + 29.9)
    assert dialogue.link.take_all() == [], "the agent is asked whether anybody is there while it speaks"
    await trio.sleep(0.2)
    assert dialogue.link.take_all() == [silent(), AskReply()]


async def test_a_caller_who_speaks_is_not_silent(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    dialogue = Dialogue(nursery, rules=ASKS)
    await dialogue.up()
    await dialogue.post(CallerSpoke())
    await trio.sleep(60)
    assert dialogue.link.take_all() == []
    await dialogue.post(CallerDone("u1"))
    await trio.sleep(10.1)
    assert dialogue.link.take_all() == [silent(), AskReply()]


async def test_a_caller_who_is_not_there_is_asked_twice_and_then_let_go(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    dialogue = Dialogue(nursery, rules=ASKS)
    await dialogue.up()
    for time in (1, 2):
        await trio.sleep(10.1)
        assert dialogue.link.take_all() == [silent(time), AskReply()]
        await dialogue.post(ReplyOver(True), AgentQuiet())
    await trio.sleep(10.1)
    assert [m.words for m in dialogue.framer.take_all() if isinstance(m, Play)] == [PROMPTS["goodbye"].text]
    await dialogue.post(AgentQuiet())
    assert dialogue.left == call_state.Leave(Disposition.HANG_UP, "nobody is there any more")


async def test_a_tool_is_waited_for_and_then_said_to_take_longer(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    dialogue = Dialogue(nursery, before=CallBegan(caller="+12125550100"))
    await dialogue.up()
    await dialogue.post(ToolsCalled((a_tool_call("send_sms", "c1", text="Hi."),), spoke=False))
    assert dialogue.link.take_all() == []
    assert [errand.key for errand in dialogue.errands.take_all()] == ["tool.c1"]
    await trio.sleep(call_state.ERRAND_PATIENCE + 0.01)
    (answer,) = dialogue.link.take_all()
    assert isinstance(answer, AnswerTools)
    assert answer.then_reply
    assert answer.results[0].output["status"] == "still running"
    await dialogue.post(ErrandDone("tool.c1", "sms", "failed", {"reason": "no such number"}))
    tell, ask = dialogue.link.take_all()
    assert isinstance(tell, Tell)
    assert "no such number" in tell.text
    assert ask == AskReply()
