"""FlowActor: what the machine wants done reaches those who do it, its timers ring once, and leaving ends everything."""

import attrs
import pytest
import trio
import trio.lowlevel
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from actors import fsm
from actors.flow import FlowActor
from actors.fsm import DIGITS_PAUSE, FAREWELL_AT_MOST
from actors.mailbox import Mailbox, WhenFull
from actors.messages import (
    AgentQuiet,
    AnswerTools,
    AskReply,
    CallBegan,
    CallerSpoke,
    Disposition,
    Floor,
    HungUp,
    KeyPressed,
    LinkLost,
    LinkUp,
    MoveAway,
    Play,
    ReplyOver,
    Role,
    StopTalking,
    Tell,
    TellWhenQuiet,
    TimerRang,
    ToolResult,
    ToolsCalled,
)
from actors.realtime_link import PROMPT_PREFIX
from tests.kit.calls import PROMPTS, RULES, a_tool_call

LINK_AT_MOST = RULES.greeting_seconds + RULES.max_silence


class Dialogue:
    """A flow, running, and those it sends its wishes to."""

    def __init__(self, nursery: trio.Nursery, *, resumed: bool = False, rules: fsm.Rules = RULES) -> None:
        self.steps: list[fsm.State] = []
        self.flow = FlowActor(rules, PROMPTS, self.steps.append)
        self.framer: Mailbox[Play | TellWhenQuiet] = Mailbox("framer", 1000, WhenFull.FATAL)
        self.link: Mailbox[Tell | AskReply | AnswerTools | StopTalking] = Mailbox("link", 1000, WhenFull.FATAL)
        self.yielded: list[tuple[Floor, int]] = []
        """Why the floor was taken, and how much the Framer had been given by then."""
        self.began = trio.current_time()
        self.over = trio.Event()
        self.left: fsm.Leave | None = None
        self.left_at = 0.0
        self._resumed = resumed
        nursery.start_soon(self._run)

    async def post(self, *events: fsm.FlowEvent) -> None:
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
            self.left = await self.flow.run(
                CallBegan(self._resumed), self.framer, self.link, lambda why: self.yielded.append((why, self.given()))
            )
        self.left_at = trio.current_time() - self.began
        self.over.set()

    def given(self) -> int:
        return self.framer.stats().taken_in


# ---------------------------------------------------------------- the beginning


@pytest.mark.parametrize(("resumed", "name"), [(False, "greeting"), (True, "resume")])
async def test_the_first_words_are_played_and_told_to_the_model_as_the_first_item(
    resumed: bool, name: str, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    dialogue = Dialogue(nursery, resumed=resumed)
    await wait_all_tasks_blocked()
    (play,) = dialogue.framer.take_all()
    (tell,) = dialogue.link.take_all()
    assert isinstance(play, Play)
    assert play.item.startswith(PROMPT_PREFIX)
    assert (play.words, play.audio) == (PROMPTS[name].text, PROMPTS[name].audio)
    assert tell == Tell(Role.AGENT, PROMPTS[name].text, play.item, first=True)


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
    assert dialogue.steps == [fsm.State(), fsm.State(link=fsm.Link.UP), dialogue.flow.state]
    assert dialogue.flow.state == fsm.State(link=fsm.Link.UP, digits="7")


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


# ---------------------------------------------------------------- leaving

WAYS: dict[str, tuple[tuple[fsm.FlowEvent, ...], fsm.Leave]] = {
    "hung up": ((HungUp("bye"),), fsm.Leave(Disposition.HANG_UP, "bye")),
    "torn": ((HungUp("torn", lost=True),), fsm.Leave(Disposition.RESUME, "torn")),
    "moved": ((MoveAway(),), fsm.Leave(Disposition.RESUME, "the server is going down", drain=True)),
    "lost": ((LinkLost("x"),), fsm.Leave(Disposition.IVR, "the model was lost: x", drain=True)),
    "to a human": ((KeyPressed("0"), AgentQuiet()), fsm.Leave(Disposition.DIAL, "the caller pressed 0")),
    "done": (
        (ToolsCalled((a_tool_call("end_call"),), spoke=False), ReplyOver(spoke=True), AgentQuiet()),
        fsm.Leave(Disposition.HANG_UP, "the agent ended the call"),
    ),
}


@pytest.mark.parametrize(("events", "leave"), WAYS.values(), ids=WAYS)
async def test_leaving_says_how_and_ends_all_timers(
    events: tuple[fsm.FlowEvent, ...], leave: fsm.Leave, autojump_clock: MockClock, nursery: trio.Nursery
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
    assert dialogue.left == fsm.Leave(Disposition.HANG_UP, "at once")


async def test_a_timer_with_no_time_rings_at_once(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    dialogue = Dialogue(nursery, rules=attrs.evolve(RULES, max_seconds=0.0))
    with trio.fail_after(FAREWELL_AT_MOST + 1):
        await dialogue.over.wait()
    assert dialogue.left is not None
    assert dialogue.left.disposition is Disposition.HANG_UP
