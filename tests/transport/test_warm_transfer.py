"""Warm transfers, lived through by caller and human: whole calls in virtual time.

However the human, the carrier or its API behave, the caller is joined, back with the agent, or gone; they never wait for ever.
"""

import contextlib
import functools
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlencode

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
from transport.store import ErrandRow, StoreDown
from transport.twilio_rest import Refused, Unreached, Unsure
from transport.twiml import Documents
from transport.warm_transfer import (
    ANSWERED_WITHIN,
    DOUBT_AFTER,
    LEASE,
    LOOK_EVERY,
    RUNG_WITHIN,
    TAKE_BACK_PAUSES,
    WAIT_AT_MOST,
    WarmTransfers,
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
    after: float = 50.0,
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


# ---------------------------------------------------------------- the transfer itself, with an API that does as told

OURS = "+14155550100"
KEY = "CA1/transfer.0"


@attrs.define
class FakeRest:
    """The API port: what successive requests come to."""

    rings: list[str | Exception] = attrs.field(factory=list)
    redirects: list[Exception | None] = attrs.field(factory=list)
    calls: list[tuple[str, str]] | Exception = attrs.field(factory=list)
    """What is found when it is looked for calls to the human."""
    status: str | Exception = "ringing"
    rung: list[tuple[str, str, str, str]] = attrs.field(factory=list)
    redirected: list[tuple[float, str, str]] = attrs.field(factory=list)
    hung_up: list[str] = attrs.field(factory=list)
    slow: float = 0.1

    async def ring(self, to: str, sender: str, url: str, callback: str, seconds: int, fallback: str) -> str:
        assert fallback == "https://phone.example.com/twilio/fallback"
        self.rung.append((to, sender, url, callback))
        await trio.sleep(self.slow)
        came = self.rings.pop(0) if self.rings else "CAleg"
        if isinstance(came, Exception):
            raise came
        return came

    async def redirect(self, call_sid: str, url: str) -> None:
        self.redirected.append((trio.current_time(), call_sid, url))
        await trio.lowlevel.checkpoint()
        came = self.redirects.pop(0) if self.redirects else None
        if came is not None:
            raise came

    async def hang_up(self, call_sid: str) -> None:
        self.hung_up.append(call_sid)
        await trio.lowlevel.checkpoint()

    async def find_calls(self, to: str, sender: str, seconds: float) -> list[tuple[str, str]]:
        assert (to, sender) == (HUMAN, OURS)
        await trio.lowlevel.checkpoint()
        if isinstance(self.calls, Exception):
            raise self.calls
        return self.calls

    async def call_status(self, call_sid: str) -> str:
        await trio.lowlevel.checkpoint()
        if isinstance(self.status, Exception):
            raise self.status
        return self.status

    def back(self, outcome: str, number: int = 0) -> list[float]:
        """When the caller was taken back with this outcome."""
        url = f"https://phone.example.com/twilio/warm/back?outcome={outcome}&n={number}"
        return [at for at, sid, where in self.redirected if (sid, where) == ("CA1", url)]


def transfers(rest: FakeRest, store: MemoryStore | None = None) -> WarmTransfers:
    documents = Documents("https://phone.example.com", HUMAN)
    return WarmTransfers(store or MemoryStore(), rest, documents, trio.current_time)  # type: ignore[arg-type] # a fake


@attrs.define
class Desk:
    """One worker's transfers, with a transfer begun."""

    rest: FakeRest
    desk: WarmTransfers
    number: int | None
    began: float

    @property
    def row(self) -> ErrandRow:
        store = self.desk.store
        assert isinstance(store, MemoryStore)
        return store.errand_rows[KEY]


@contextlib.asynccontextmanager
async def a_transfer(rest: FakeRest, *, watched: bool = True, store: MemoryStore | None = None) -> AsyncIterator[Desk]:
    """A transfer that was begun, and (`watched`) a worker that looks after it."""
    async with trio.open_nursery() as nursery:
        desk = transfers(rest, store)
        await desk.store.answered("CA1", "+14155550123", OURS)
        if watched:
            nursery.start_soon(desk.watch)
        began = trio.current_time()
        yield Desk(rest, desk, await desk.begin("CA1", OURS, nursery), began)
        nursery.cancel_scope.cancel("the test is over")


async def test_of_several_that_begin_the_same_transfer_one_rings(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    rest, store = FakeRest(), MemoryStore(slow=0.05)
    workers = [transfers(rest, store) for _ in range(4)]
    numbers: list[int | None] = []

    async def begin(worker: WarmTransfers) -> None:
        numbers.append(await worker.begin("CA1", OURS, nursery))

    async with trio.open_nursery() as all_of_them:
        for worker in workers:
            all_of_them.start_soon(begin, worker)
    assert numbers == [0] * 4
    query = urlencode({"call": "CA1", "n": 0})
    at = "https://phone.example.com/twilio/warm"
    assert rest.rung == [(HUMAN, OURS, f"{at}/brief?{query}", f"{at}/status?{query}")]


@pytest.mark.parametrize("error", [Refused(21211, 400, "no number"), Unreached("no way"), Unsure("HTTP 500")])
async def test_a_human_who_certainly_was_not_rung_is_not_waited_for(
    error: Exception, autojump_clock: MockClock
) -> None:
    async with a_transfer(FakeRest(rings=[error])) as t:
        await trio.sleep(3)
        assert t.row.status == ("returning" if isinstance(error, Unsure) else "failed")
        await t.desk.arrived(KEY)
        assert (t.row.status, t.row.detail) == ("failed", {"reason": str(error)})
        assert not await t.desk.waits(KEY)
        if isinstance(error, Unsure):  # it took a moment to find out, and the caller has begun to wait
            assert t.number == 0
            assert len(t.rest.back("failed")) == 1
        else:
            assert t.number is None
            assert t.rest.redirected == []


async def test_an_api_that_hangs_does_not_leave_the_line_dead(autojump_clock: MockClock) -> None:
    async with a_transfer(FakeRest(slow=8, rings=[Unreached("no way")])) as t:
        assert trio.current_time() - t.began == pytest.approx(ANSWERED_WITHIN)
        assert t.number == 0
        await trio.sleep(10)
        assert len(t.rest.back("failed")) == 1, "nobody was rung after all"


async def test_a_call_whose_answer_was_lost_is_found_and_waited_for(autojump_clock: MockClock) -> None:
    rest = FakeRest(rings=[Unsure("lost")], calls=[("CAover", "busy"), ("CAleg", "ringing"), ("CAolder", "ringing")])
    async with a_transfer(rest) as t:
        await trio.sleep(3)
        assert (t.row.status, t.row.reference) == ("ringing", "CAleg")
        assert t.rest.redirected == []


async def test_the_call_of_another_transfer_is_not_taken_for_ours(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    await store.claim_errand("CA2/transfer.0", "CA2", "transfer", 0.0)
    await store.settle_errand("CA2/transfer.0", "ringing", "CAleg", {})
    rest = FakeRest(rings=[Unsure("lost")], calls=[("CAleg", "ringing")])
    async with a_transfer(rest, store=store) as t:
        await trio.sleep(3)
        assert len(t.rest.back("failed")) == 1


async def test_a_human_who_perhaps_was_rung_is_waited_for_but_not_for_ever(autojump_clock: MockClock) -> None:
    async with a_transfer(FakeRest(rings=[Unsure("lost")], calls=Unsure("lost too"))) as t:
        await trio.sleep(WAIT_AT_MOST - 10)
        assert await t.desk.waits(KEY)
        assert t.rest.redirected == []
        await trio.sleep(10 + LOOK_EVERY)
        assert not await t.desk.waits(KEY)
        assert len(t.rest.back("no-answer")) == 1


@pytest.mark.parametrize("rung", [False, True])
async def test_what_could_not_be_known_of_the_humans_call_is_asked_again(rung: bool, autojump_clock: MockClock) -> None:
    async with a_transfer(FakeRest(rings=[Unsure("HTTP 503")], calls=Unsure("HTTP 503"))) as t:
        await trio.sleep(5)
        t.rest.calls = [("CAleg", "ringing")] if rung else []  # the API is well again
        await trio.sleep(RUNG_WITHIN)
        assert (t.row.status, t.row.reference) == (("ringing", "CAleg") if rung else ("returning", ""))
        assert len(t.rest.back("failed")) == (0 if rung else 1)


async def test_a_store_that_is_down_before_the_human_is_rung_is_told(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    rest = FakeRest()
    with pytest.raises(StoreDown):
        await transfers(rest, MemoryStore(down=True)).begin("CA1", OURS, nursery)
    assert rest.rung == []


async def test_what_is_not_known_is_neither_waited_for_nor_accepted_nor_ended(autojump_clock: MockClock) -> None:
    desk = transfers(FakeRest())
    assert not await desk.waits(KEY)
    assert not await desk.accepted(KEY)
    assert not await desk.accept(KEY)
    assert await desk.ended(KEY, "busy") == ""
    await desk.caller_left("CA1")
    await desk.arrived(KEY)


ENDS = [
    ("busy", "busy"), ("no-answer", "no-answer"), ("failed", "failed"), ("canceled", "failed"),
    ("completed", "refused"), ("anything", "failed"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "outcome"), ENDS)
async def test_how_the_humans_call_ended_is_told_once_in_the_flows_words(
    status: str, outcome: str, autojump_clock: MockClock
) -> None:
    async with a_transfer(FakeRest()) as t:
        assert await t.desk.waits(KEY)
        told: list[str] = []

        async def tell() -> None:
            told.append(await t.desk.ended(KEY, status))

        async with trio.open_nursery() as at_once:
            for _ in range(3):
                at_once.start_soon(tell)
        assert sorted(told) == ["", "", outcome]
        assert not await t.desk.waits(KEY)
        assert not await t.desk.accept(KEY)
        await t.desk.arrived(KEY)
        assert (t.row.status, t.row.detail) == (outcome, {})


async def test_who_has_accepted_has_not_refused_when_they_hang_up(autojump_clock: MockClock) -> None:
    async with a_transfer(FakeRest()) as t:
        assert await t.desk.accept(KEY)
        assert await t.desk.accept(KEY)  # a webhook that comes twice
        assert await t.desk.accepted(KEY)
        assert await t.desk.ended(KEY, "completed") == ""
        assert await t.desk.accepted(KEY)
        t.rest.status = "completed"
        await t.desk.caller_left("CA1")
        assert (t.rest.redirected, t.rest.hung_up) == ([], [])


@pytest.mark.parametrize("answer", ["CAleg", Unsure("lost")], ids=["late", "lost"])
async def test_what_the_human_did_before_the_api_had_answered_still_counts(
    answer: str | Exception, autojump_clock: MockClock
) -> None:
    async with a_transfer(FakeRest(rings=[answer], slow=3)) as t:
        assert await t.desk.accept(KEY)
        await trio.sleep(5)
        assert await t.desk.accepted(KEY), "the human is joined with the caller"
        assert await t.desk.ended(KEY, "completed") == ""
        await trio.sleep(WAIT_AT_MOST + 5)
        assert t.rest.redirected == []


async def test_an_end_that_is_told_before_the_api_has_answered_is_not_told_again(autojump_clock: MockClock) -> None:
    async with a_transfer(FakeRest(slow=3)) as t:
        assert await t.desk.ended(KEY, "busy") == "busy"
        await t.desk.arrived(KEY)
        await trio.sleep(5)
        assert not await t.desk.waits(KEY)
        await trio.sleep(WAIT_AT_MOST + 5)
        assert t.rest.redirected == [], "whoever was taken back long ago is torn out of their conversation"


# ---------------------------------------------------------------- the caller hangs up while they wait


async def test_a_caller_who_hangs_up_leaves_nobody_in_an_empty_room(autojump_clock: MockClock) -> None:
    async with a_transfer(FakeRest()) as t:
        await trio.sleep(5)
        await t.desk.caller_left("CA1")
        assert [(sid, url) for _, sid, url in t.rest.redirected] == [
            ("CAleg", "https://phone.example.com/twilio/warm/gone")
        ]
        assert not await t.desk.accept(KEY)
        assert await t.desk.ended(KEY, "completed") == ""
        assert t.row.status == "abandoned"


async def test_a_phone_that_rings_for_nobody_stops_ringing(autojump_clock: MockClock) -> None:
    async with a_transfer(FakeRest(redirects=[Refused(21220, 400, "not in progress")])) as t:
        await t.desk.caller_left("CA1")
        assert t.rest.hung_up == ["CAleg"]


@pytest.mark.parametrize("status", ["in-progress", Unsure("lost"), ""], ids=["there", "not known", "gone"])
async def test_a_human_accepts_only_a_caller_of_whom_the_carrier_does_not_say_that_they_have_gone(
    status: str | Exception, autojump_clock: MockClock
) -> None:
    async with a_transfer(FakeRest(status=status)) as t:
        assert await t.desk.accept(KEY) is (status != "")
        assert t.row.status == ("done" if status else "abandoned")
        assert t.rest.redirected == []


@pytest.mark.parametrize("status", ["in-progress", "completed", Unsure("lost")])
async def test_a_human_who_was_joined_when_the_caller_had_just_left_is_told_and_who_has_gone_is_left_alone(
    status: str | Exception, autojump_clock: MockClock
) -> None:
    async with a_transfer(FakeRest(status="in-progress")) as t:
        assert await t.desk.accept(KEY)
        t.rest.status = status
        await t.desk.caller_left("CA1")
        told = [(sid, url) for _, sid, url in t.rest.redirected]
        alone = [("CAleg", "https://phone.example.com/twilio/warm/gone")]
        assert told == (alone if status == "in-progress" else [])
        assert t.row.status == "done"


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


async def test_a_caller_who_hangs_up_before_the_api_has_answered_leaves_nobody_either(
    autojump_clock: MockClock,
) -> None:
    async with a_transfer(FakeRest(slow=6)) as t:
        await t.desk.caller_left("CA1")
        await trio.sleep(8)
        assert [sid for _, sid, _ in t.rest.redirected] == ["CAleg"]
        assert t.row.status == "abandoned"


# ---------------------------------------------------------------- taking back


async def test_taking_back_pauses_longer_each_time_and_gives_up_at_last(autojump_clock: MockClock) -> None:
    rest = FakeRest(redirects=[Unreached("no"), Unsure("lost"), Refused(20429, 429, "too many")] * 9)
    async with a_transfer(rest, watched=False) as t:
        outcome = await t.desk.ended(KEY, "busy")
        await t.desk.take_back(KEY, outcome)
        times = rest.back("busy")
        pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
        assert pauses == pytest.approx(list(TAKE_BACK_PAUSES))
        assert len(times) == len(rest.redirected)


async def test_what_one_worker_could_not_finish_another_does(autojump_clock: MockClock) -> None:
    store, other = MemoryStore(), FakeRest()
    broken = FakeRest(redirects=[Unreached("no")] * 99)
    async with a_transfer(broken, watched=False, store=store) as t, trio.open_nursery() as nursery:
        await t.desk.take_back(KEY, await t.desk.ended(KEY, "busy"))
        nursery.start_soon(transfers(other, store).watch)
        await trio.sleep(LEASE + LOOK_EVERY)
        assert len(other.back("busy")) == 1
        nursery.cancel_scope.cancel("the test is over")


async def test_a_worker_that_dies_while_it_takes_the_caller_back_is_replaced_once(autojump_clock: MockClock) -> None:
    store, rest = MemoryStore(), FakeRest()
    async with a_transfer(rest, watched=False, store=store) as t, trio.open_nursery() as nursery:
        assert await t.desk.ended(KEY, "busy") == "busy"  # and that was its last act
        for _ in range(3):
            nursery.start_soon(transfers(rest, store).watch)
        await trio.sleep(LEASE + 2 * LOOK_EVERY)
        assert len(rest.back("busy")) == 1
        await t.desk.arrived(KEY)
        await trio.sleep(3 * LEASE)
        assert len(rest.back("busy")) == 1
        nursery.cancel_scope.cancel("the test is over")


@pytest.mark.parametrize("calls", [[("CAleg", "in-progress")], []], ids=["it rang", "it did not"])
async def test_a_worker_that_dies_while_it_rings_leaves_no_caller_with_the_music(
    calls: list[tuple[str, str]], autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    store, rest = MemoryStore(), FakeRest(calls=calls)
    await store.answered("CA1", "+14155550123", OURS)
    await store.claim_errand(KEY, "CA1", "transfer", trio.current_time())  # and then it died
    nursery.start_soon(transfers(rest, store).watch)
    await trio.sleep(RUNG_WITHIN + LOOK_EVERY)
    row = store.errand_rows[KEY]
    assert (row.status, row.reference) == (("ringing", "CAleg") if calls else ("returning", ""))
    assert len(rest.back("failed")) == (0 if calls else 1)
    nursery.cancel_scope.cancel("the test is over")


async def test_a_caller_who_is_gone_is_not_asked_for_twice(autojump_clock: MockClock) -> None:
    rest = FakeRest(redirects=[Unsure("lost"), Refused(21220, 400, "not in progress")])
    async with a_transfer(rest) as t:
        await t.desk.take_back(KEY, await t.desk.ended(KEY, "busy"))
        await trio.sleep(2 * LEASE)
        assert len(rest.redirected) == 2
        assert t.row.status == "busy"


async def test_who_is_back_although_the_answer_was_lost_is_not_taken_back_again(autojump_clock: MockClock) -> None:
    rest = FakeRest(redirects=[Unsure("lost"), Unsure("lost")])
    async with a_transfer(rest) as t:
        outcome = await t.desk.ended(KEY, "busy")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(t.desk.take_back, KEY, outcome)
            await trio.sleep(0.2)
            await t.desk.arrived(KEY)
        assert len(rest.redirected) == 1


@pytest.mark.parametrize(("status", "outcome"), ENDS[:4])
async def test_what_became_of_the_humans_call_is_asked_for_when_nobody_tells_it(
    status: str, outcome: str, autojump_clock: MockClock
) -> None:
    async with a_transfer(FakeRest(status=status)) as t:
        await trio.sleep(DOUBT_AFTER + LOOK_EVERY)
        (at,) = t.rest.back(outcome)
        assert at - t.began <= DOUBT_AFTER + LOOK_EVERY


@pytest.mark.parametrize("status", ["in-progress", Unsure("lost")], ids=str)
async def test_a_caller_of_whose_human_nothing_is_heard_any_more_is_taken_back_in_time(
    status: str | Exception, autojump_clock: MockClock
) -> None:
    async with a_transfer(FakeRest(status=status)) as t:
        await trio.sleep(WAIT_AT_MOST + LOOK_EVERY)
        (at,) = t.rest.back("no-answer")
        assert WAIT_AT_MOST <= at - t.began <= WAIT_AT_MOST + LOOK_EVERY
        assert not await t.desk.waits(KEY)


@pytest.mark.parametrize("accepts", [True, False])
async def test_a_transfer_that_came_out_in_time_is_left_alone(accepts: bool, autojump_clock: MockClock) -> None:
    async with a_transfer(FakeRest()) as t:
        if accepts:
            await t.desk.accept(KEY)
        else:
            await t.desk.ended(KEY, "busy")
            await t.desk.arrived(KEY)
        await trio.sleep(WAIT_AT_MOST + 30)
        assert t.rest.redirected == []


async def test_a_store_that_falls_and_comes_back_loses_no_caller(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    async with a_transfer(FakeRest(status="busy"), store=store) as t:
        store.down = True
        with pytest.raises(StoreDown):
            await t.desk.ended(KEY, "busy")
        await trio.sleep(DOUBT_AFTER)
        store.down = False
        await trio.sleep(2 * LOOK_EVERY)
        assert len(t.rest.back("busy")) == 1


async def test_a_second_transfer_does_not_touch_what_came_of_the_first(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    rest, store = FakeRest(rings=["CAone", "CAtwo"]), MemoryStore()
    desk = transfers(rest, store)
    nursery.start_soon(desk.watch)
    assert await desk.begin("CA1", OURS, nursery) == 0
    await desk.ended(KEY, "busy")
    await desk.arrived(KEY)
    await trio.sleep(10)
    assert await desk.begin("CA1", OURS, nursery) == 1
    await trio.sleep(1)
    rows = await store.errands("CA1")
    assert [(row.key, row.status, row.reference) for row in rows] == [
        ("CA1/transfer.0", "busy", "CAone"),
        ("CA1/transfer.1", "ringing", "CAtwo"),
    ]
    for late in ("completed", "busy", "no-answer"):  # of the first human's call
        assert await desk.ended(KEY, late) == ""
    assert await desk.waits("CA1/transfer.1")
    await desk.accept("CA1/transfer.1")
    await trio.sleep(2 * WAIT_AT_MOST)
    assert [row.status for row in await store.errands("CA1")] == ["busy", "done"]
    assert rest.redirected == []
    nursery.cancel_scope.cancel("the test is over")
