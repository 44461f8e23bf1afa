"""Warm transfers, lived through by caller and human: whole calls in virtual time.

However the human, the carrier or its API behave, the caller is joined, back with the agent, or gone; they never wait for ever.
"""

import functools
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import attrs
import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock

from conf.settings import Settings
from transport.loopback.caller import AwaitQuiet, HangUp, Speak, Step, Wait
from transport.loopback.carrier import CarriedCall
from transport.loopback.http_server import Mishaps
from transport.loopback.human import Human, LegLog
from transport.loopback.memory_store import MemoryStore
from transport.loopback.model import LoopbackModel
from transport.loopback.rest import RestFaults
from transport.loopback.scenario import HUMAN, default_settings, murmur_of
from transport.loopback.script import Call, Prompted, Reply, Script, Text
from transport.loopback.speech import murmur
from transport.loopback.twiml_reader import Connect, Dial, Hangup, Record
from transport.loopback.world import World, a_world
from transport.warm_transfer import (
    TAKE_BACK_PAUSES,
    WAIT_AT_MOST,
)

BACK = "The caller goes back to the assistant. Goodbye."
TALK = 3.0
"""Seconds that a human who was joined talks."""


def warm_settings(transfer: str = "warm") -> Settings:
    settings = default_settings("after_hours")
    return attrs.evolve(settings, call=attrs.evolve(settings.call, transfer=transfer))


def a_model(times: int = 1) -> LoopbackModel:
    """Transfers whoever speaks, so many times; to those who come back after that it says one sentence, whatever they do."""
    put_through = Reply(
        (murmur_of("I am putting you through."), Call("transfer_to_human", '{"reason": "it is urgent"}'))
    )
    transfers = iter([put_through] * times)

    def brain(prompted: Prompted) -> Reply:
        if prompted.apart:
            return Reply((Text("{}"),))
        return (next(transfers, SORRY) if prompted.turn else SORRY) if not prompted.tool_results else SORRY

    return LoopbackModel(Script(said=("My mother fell, please.",) * 9), brain=brain, api_key="sk-scenario")


SORRY = Reply((murmur_of("Nobody could take the call. Shall I take a message?"),))
Faulty = Callable[[World], None]


@attrs.frozen
class Story:
    """What happened."""

    world: World
    call: CarriedCall

    @property
    def leg(self) -> LegLog:
        """The human's only call."""
        (leg,) = self.world.carrier.legs
        return leg

    @property
    def rung(self) -> int:
        """How often the human's phone rang: by the API, or by `<Dial>`."""
        return len(self.world.carrier.legs)

    @property
    def joined(self) -> bool:
        return bool(self.call.joined)

    @property
    def back(self) -> bool:
        """With the agent again."""
        return len(self.call.streams) > 1

    @property
    def transfers(self) -> list[str]:
        """The outcomes of the transfers of this call, as they are kept."""
        rows = self.world.store.errand_rows.values()
        return [row.status for row in rows if row.name == "transfer" and row.call_sid == self.call.call_sid]


async def live(
    human: Human,
    *steps: Step,
    rest_faults: RestFaults | None = None,
    sabotage: Faulty | None = None,
    store: MemoryStore | None = None,
    after: float = 35.0,
    transfer: str = "warm",
) -> Story:
    """A caller asks for the human, waits for `after` seconds unless they do something else, and hangs up."""
    async with a_world(
        warm_settings(transfer), a_model(), humans={HUMAN: human}, rest_faults=rest_faults, store=store
    ) as world:
        if sabotage is not None:
            sabotage(world)
        asks = (AwaitQuiet(), Speak(murmur("My mother fell, please."), "My mother fell, please."))
        call = await world.call(*asks, *(steps or (Wait(after), HangUp())))
        await trio.sleep(60)  # whoever is still on the line loses patience
        assert world.rest.problems == []
        return Story(world, call)


def asked_twice(path: str) -> Faulty:
    """The webhook of that path comes twice, and the second answer counts."""

    def sabotage(world: World) -> None:
        post = world.carrier.post

        async def doubled(url: str, form: Mapping[str, str], log: Any = None) -> tuple[int, str, str]:
            if url.endswith(path):
                await post(url, form)
            return await post(url, form, log)

        world.carrier.post = doubled  # type: ignore[method-assign] # a stand-in

    return sabotage


def must_be_well(story: Story, *, music_at_most: float = WAIT_AT_MOST) -> None:
    """What holds for every transfer."""
    assert story.joined or story.back or story.call.end in {"caller", "hangup"}
    assert story.call.music_seconds <= music_at_most
    assert story.rung <= 1, "the human was rung more than once"
    assert story.call.errors == []
    assert story.world.app.extensions["triode"].switchboard.active == 0
    assert not story.world.carrier.conferences.open


# ---------------------------------------------------------------- what the human does


async def test_a_human_who_accepts_is_told_why_and_joined_with_the_caller(autojump_clock: MockClock) -> None:
    story = await live(Human(rings=2, keys="1", talks=TALK))
    must_be_well(story)
    assert story.leg.told[0].startswith("A call from the assistant.")
    assert "it is urgent" in story.leg.told[0]
    assert "press 1" in story.leg.told[0]
    assert story.leg.joined == story.call.joined
    assert story.leg.end == "human"
    assert story.call.music_seconds > 2
    assert isinstance(story.call.verbs[-1], Hangup)
    assert (story.back, story.transfers) == (False, ["done"])


async def test_the_story_of_a_caller_whom_a_human_has_taken_is_over(autojump_clock: MockClock) -> None:
    story = await live(Human(rings=2, keys="1", talks=TALK))
    assert story.world.store.stories[story.call.call_sid].over


NOT_TAKEN: dict[str, tuple[Human, str]] = {
    "refuses": (Human(rings=1, keys="2"), "refused"),
    "presses another key": (Human(rings=1, keys="7"), "refused"),
    "presses nothing": (Human(rings=1), "refused"),
    "hangs up in the brief": (Human(rings=1, keys="1", hangs_up_in_brief=True), "refused"),
    "is busy": (Human("busy", rings=1), "busy"),
    "does not answer": (Human("no-answer"), "no-answer"),
    "answers too late": (Human(rings=40, keys="1"), "no-answer"),
    "cannot be reached": (Human("failed"), "failed"),
}


@pytest.mark.parametrize("what", NOT_TAKEN)
async def test_who_is_not_joined_is_back_with_the_agent_who_knows_why(what: str, autojump_clock: MockClock) -> None:
    human, outcome = NOT_TAKEN[what]
    story = await live(human)
    must_be_well(story, music_at_most=35)
    assert (story.joined, story.back, story.rung) == (False, True, 1)
    assert story.leg.joined == []
    assert story.transfers == [outcome]
    assert story.world.store.stories[story.call.call_sid].story["dialogue"]["outcomes"]["transfer"] == outcome
    assert story.call.music_seconds > 0
    assert sum(isinstance(verb, Connect) for verb in story.call.verbs) == 2
    assert not any(isinstance(verb, Record) for verb in story.call.verbs)


async def test_a_human_who_declines_is_told_where_the_caller_goes(autojump_clock: MockClock) -> None:
    for keys in ("2", ""):
        story = await live(Human(rings=1, keys=keys))
        assert story.leg.told[-1] == BACK


@pytest.mark.parametrize("lost", ["/twilio/warm/brief", "/twilio/warm/answer"])
async def test_a_human_whose_question_died_with_its_server_is_asked_again_and_joined(
    lost: str, autojump_clock: MockClock
) -> None:
    def sabotage(world: World) -> None:
        post, dead = world.carrier.post, [lost]

        async def dying(url: str, form: Mapping[str, str], log: Any = None) -> tuple[int, str, str]:
            if dead and dead[0] in url:
                dead.clear()
                return 502, "text/html", "nobody is there"
            return await post(url, form, log)

        world.carrier.post = dying  # type: ignore[method-assign] # a stand-in

    story = await live(Human(rings=1, keys="11", talks=TALK), sabotage=sabotage)
    must_be_well(story)
    assert story.joined, "who accepted has been hung up on"
    assert story.transfers == ["done"]


async def test_a_transfer_can_be_tried_again_after_one_that_was_not_taken(autojump_clock: MockClock) -> None:
    speak = Speak(murmur("A human."), "A human.")
    async with a_world(warm_settings(), a_model(2), humans={HUMAN: Human("busy", rings=1)}) as world:
        await world.call(AwaitQuiet(), speak, Wait(25), speak, Wait(25), HangUp())
        assert [leg.to for leg in world.carrier.legs] == [HUMAN, HUMAN]
        statuses = [row.status for row in world.store.errand_rows.values() if row.name == "transfer"]
        assert statuses == ["busy", "busy"]


# ---------------------------------------------------------------- what the caller does


async def test_a_caller_who_has_hung_up_is_not_taken_back_and_nothing_is_left(autojump_clock: MockClock) -> None:
    story = await live(Human("no-answer"), Wait(10), HangUp())
    await trio.sleep(WAIT_AT_MOST)
    must_be_well(story)
    assert (story.back, story.joined) == (False, False)


async def test_a_human_who_takes_a_call_whose_caller_left_untold_is_not_left_in_an_empty_room(
    autojump_clock: MockClock,
) -> None:
    def sabotage(world: World) -> None:
        post = world.carrier.post

        async def lost(url: str, form: Mapping[str, str], log: Any = None) -> tuple[int, str, str]:
            over = url.endswith("/twilio/status") and form["CallStatus"] == "completed"
            return (0, "", "") if over else await post(url, form, log)

        world.carrier.post = lost  # type: ignore[method-assign] # a stand-in

    story = await live(Human(rings=6, keys="1", talks=TALK), Wait(6), HangUp(), sabotage=sabotage)
    must_be_well(story)
    assert story.leg.told[-1] == "The caller is no longer waiting. Goodbye."
    assert story.transfers == ["abandoned"]


async def test_a_human_who_is_rung_for_a_caller_that_landed_in_the_menu_is_not_left_in_an_empty_room(
    autojump_clock: MockClock,
) -> None:
    def sabotage(world: World) -> None:
        post, world.carrier._fallback = world.carrier.post, "https://phone.example.com/twilio/fallback"

        async def dying(url: str, form: Mapping[str, str], log: Any = None) -> tuple[int, str, str]:
            answer = await post(url, form, log)
            return (502, "text/html", "it died") if "/twilio/after" in url else answer

        world.carrier.post = dying  # type: ignore[method-assign] # a stand-in

    story = await live(Human(rings=2, keys="1", talks=TALK), sabotage=sabotage, after=25)
    assert story.call.words()[0].startswith("I am sorry, our assistant is not available just now.")
    assert story.leg.status == "canceled", "their phone rings for nobody"
    assert (story.rung, story.joined, story.transfers) == (1, False, ["failed"])


# ---------------------------------------------------------------- what the API does


async def test_a_human_whom_the_api_refuses_to_call_is_dialled_as_in_a_cold_transfer(autojump_clock: MockClock) -> None:
    story = await live(Human(rings=1, talks=TALK), rest_faults=RestFaults(refuse={HUMAN: 21211}))
    must_be_well(story)
    assert story.joined
    assert story.leg.direction == "outbound-dial"
    assert story.call.music_seconds == 0
    assert story.transfers == ["done"]
    assert any(isinstance(verb, Dial) and verb.number == HUMAN for verb in story.call.verbs)


COLD = {
    "joined": (Human(rings=1, talks=TALK), "done"),
    "is busy": (Human("busy", rings=1), "busy"),
    "does not answer": (Human("no-answer"), "no-answer"),
    "hangs up in the brief": (Human(rings=1, hangs_up_in_brief=True), "no-answer"),
}


@pytest.mark.parametrize("refused", [False, True], ids=["cold", "cold since the API refused"])
@pytest.mark.parametrize("what", COLD)
async def test_the_backend_is_told_once_what_came_of_a_human_who_was_dialled(
    what: str, refused: bool, autojump_clock: MockClock
) -> None:
    human, outcome = COLD[what]
    story = await live(
        human,
        rest_faults=RestFaults(refuse={HUMAN: 21211}) if refused else None,
        sabotage=asked_twice("/twilio/dialed"),
        transfer="warm" if refused else "cold",
    )
    (delivery,) = story.world.backend.deliveries
    assert delivery.body["errands"] == [{"name": "transfer", "status": outcome}]


@pytest.mark.parametrize("rings", [1.0, 12.0])
@pytest.mark.parametrize("keys", ["1", "2"])
async def test_if_the_answer_of_the_api_is_lost_the_human_is_still_rung_once(
    keys: str, rings: float, autojump_clock: MockClock
) -> None:
    story = await live(Human(rings=rings, keys=keys, talks=20, patience=30), rest_faults=RestFaults(lose_answers=1))
    must_be_well(story)


@pytest.mark.parametrize("what", ["is busy", "cannot be reached", "refuses", "does not answer"])
async def test_an_api_that_answers_late_changes_nothing(what: str, autojump_clock: MockClock) -> None:
    human, outcome = NOT_TAKEN[what]
    story = await live(human, rest_faults=RestFaults(slow=3), after=WAIT_AT_MOST + 20)
    must_be_well(story, music_at_most=45)
    assert len(story.call.streams) == 2, "back with the agent, and left in peace there"
    assert story.transfers == [outcome]


async def test_a_human_who_accepts_before_the_api_has_answered_is_joined_all_the_same(
    autojump_clock: MockClock,
) -> None:
    def short(world: World) -> None:
        world.carrier._say_speed = 10.0  # the brief is over before the API has answered

    human = Human(rings=0.5, keys="1", talks=TALK)
    story = await live(human, rest_faults=RestFaults(slow=7), sabotage=short)
    must_be_well(story)
    assert story.joined
    assert not story.back, "they have talked with the human"
    assert not any(isinstance(verb, Record) for verb in story.call.verbs)
    assert isinstance(story.call.verbs[-1], Hangup)
    assert story.transfers == ["done"]


# ---------------------------------------------------------------- taking the caller back


@pytest.mark.parametrize(
    "statuses",
    [(500,), (503, 500, 502), (500,) * len(TAKE_BACK_PAUSES)],
    ids=["once", "three times", "to the last try"],
)
async def test_taking_the_caller_back_is_tried_again_while_the_api_fails(
    statuses: tuple[int, ...], autojump_clock: MockClock
) -> None:
    human = Human("busy", rings=1)
    story = await live(human, rest_faults=RestFaults(statuses=(0, *statuses)))  # the first request rings the human
    must_be_well(story)
    assert story.back
    redirects = [status for method, path, status in story.world.rest.requests if method == "POST" and "/Calls/" in path]
    assert redirects == [*statuses, 200]


@attrs.define
class _SecondAnswerLost(Mishaps):
    """The request is carried out; who asked never hears of it."""

    _answers: int = 0

    async def before_the_answer(self, *, may_be_lost: bool) -> None:
        self._answers += may_be_lost
        if may_be_lost and self._answers == 2:
            await trio.sleep_forever()


async def test_an_answer_to_the_taking_back_that_is_lost_leaves_the_caller_with_the_agent(
    autojump_clock: MockClock,
) -> None:
    def sabotage(world: World) -> None:
        world.rest._mishaps = _SecondAnswerLost()

    story = await live(Human("busy", rings=1), sabotage=sabotage)
    must_be_well(story)
    assert story.back
    assert not any(isinstance(verb, Record) for verb in story.call.verbs)


# ---------------------------------------------------------------- what the carrier tells, and when

Post = Callable[..., Awaitable[tuple[int, str, str]]]
Meddle = Callable[[Post, World, str, Mapping[str, str]], Awaitable[None]]


def status_callbacks(meddle: Meddle) -> Callable[[World], None]:
    """What the carrier tells of the human's call goes through `meddle`."""

    def sabotage(world: World) -> None:
        post = world.carrier.post

        async def meddled(url: str, form: Mapping[str, str], log: Any = None) -> tuple[int, str, str]:
            if "/twilio/warm/status" in url:
                await meddle(post, world, url, form)
                return 204, "", ""
            return await post(url, form, log)

        world.carrier.post = meddled  # type: ignore[method-assign] # a stand-in

    return sabotage


async def twice(post: Post, world: World, url: str, form: Mapping[str, str]) -> None:
    await post(url, form)
    await post(url, form)


async def at_once_twice(post: Post, world: World, url: str, form: Mapping[str, str]) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(post, url, form)
        nursery.start_soon(post, url, form)


async def again_later(post: Post, world: World, url: str, form: Mapping[str, str]) -> None:
    await post(url, form)
    world.carrier.spawn(functools.partial(_after, 20, post, url, form))


async def late(post: Post, world: World, url: str, form: Mapping[str, str]) -> None:
    world.carrier.spawn(functools.partial(_after, 20, post, url, form))


async def never(post: Post, world: World, url: str, form: Mapping[str, str]) -> None:
    await trio.lowlevel.checkpoint()


async def _after(seconds: float, post: Post, url: str, form: Mapping[str, str]) -> None:
    await trio.sleep(seconds)
    await post(url, form)


@pytest.mark.parametrize("meddle", [twice, at_once_twice, again_later, late, never])
async def test_a_callback_that_comes_twice_late_or_never_brings_the_caller_back_once(
    meddle: Meddle, autojump_clock: MockClock
) -> None:
    story = await live(Human("busy", rings=1), sabotage=status_callbacks(meddle), after=WAIT_AT_MOST + 20)
    must_be_well(story, music_at_most=WAIT_AT_MOST + 2)
    assert len(story.call.streams) == 2
    assert (story.back, story.rung) == (True, 1)


@pytest.mark.parametrize("meddle", [twice, at_once_twice, again_later, late, never])
async def test_whatever_is_told_of_the_humans_call_a_caller_who_was_joined_stays_so(
    meddle: Meddle, autojump_clock: MockClock
) -> None:
    story = await live(Human(rings=1, keys="1", talks=WAIT_AT_MOST), sabotage=status_callbacks(meddle), after=200)
    must_be_well(story)
    assert (story.joined, story.back, story.transfers) == (True, False, ["done"])
    assert story.leg.ended - story.leg.joined[0] == pytest.approx(WAIT_AT_MOST, abs=1)


async def test_the_webhook_that_asks_what_follows_may_come_twice(autojump_clock: MockClock) -> None:
    story = await live(Human(rings=1, keys="1", talks=TALK), sabotage=asked_twice("/twilio/after"))
    must_be_well(story)
    assert (story.joined, story.rung) == (True, 1)
