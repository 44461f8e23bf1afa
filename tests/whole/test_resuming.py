"""A conversation that was cut off goes on where it was: on the next stream, in the next call, on another worker."""

import json
from typing import Any
from urllib.parse import urlsplit

import attrs
import pytest
import trio

from actors.messages import Disposition
from conf.prompts import load_prompt
from transport.courier import LEASE, PAUSE, RECONCILE
from transport.loopback.caller import AwaitQuiet, Do, HangUp, Speak, Step, Wait
from transport.loopback.memory_store import MemoryStore
from transport.loopback.model import LoopbackModel
from transport.loopback.rest import RestFaults
from transport.loopback.scenario import default_settings, murmur_of
from transport.loopback.script import Call, Prompted, Reply, Script
from transport.loopback.speech import murmur
from transport.loopback.stream import StreamFaults
from transport.loopback.world import a_world
from transport.records import TRY_AGAIN
from transport.routes_calls import DELIVERED_WITHIN

SETTINGS = default_settings("appointment")
BOOK = Call("save_details", json.dumps({"intent": "book"}))
NAME = Call("save_details", json.dumps({"name": "John Smyth, S M Y T H"}))
YES = Call("confirm_details", json.dumps({"slots": ["name"], "correct": True}))
SAID = ("An appointment please.", "John Smyth, S M Y T H.", "Yes.")


def model() -> LoopbackModel:
    """Three turns that end with the name confirmed; then it says the same whatever it hears."""
    script = Script(
        turns=(Reply((BOOK,)), Reply((NAME,)), Reply((YES,))),
        after_tools=tuple(Reply((murmur_of(words),)) for words in ("Your name?", "Is that right?", "Your e-mail?")),
        said=SAID,
    )
    return LoopbackModel(script, api_key=SETTINGS.secrets.openai_api_key)


def going_on() -> LoopbackModel:
    """A model that says one thing, whatever it is asked."""
    return LoopbackModel(brain=lambda _: Reply((murmur_of("And your e-mail?"),)), api_key="sk-scenario")


def talk() -> list[Step]:
    """The caller gives their name."""
    return [step for words in SAID for step in (AwaitQuiet(), Speak(murmur(words), words))]


def first_audio(stream) -> bytes:
    return b"".join(piece.audio for piece in stream.playback.heard)


def told(session) -> list[str]:
    """What the model was told in words."""
    return [item["content"][0].get("text", "") for item in session.items.values() if item["type"] == "message"]


def guided(session) -> str:
    """The newest guidance."""
    return next(text for text in reversed(told(session)) if text.startswith("[Now:"))


async def test_a_stream_that_is_lost_goes_on_with_what_was_known(autojump_clock):
    async with a_world(SETTINGS, model()) as world:
        call = await world.call(*talk(), AwaitQuiet(), Wait(20), HangUp(), faults=StreamFaults(drop_after=24))
    _first, second = call.streams
    assert first_audio(second).startswith(load_prompt("reconnected").audio)
    assert load_prompt("greeting").audio[:8000] not in first_audio(second)
    session = world.models[0].sessions[1]
    assert [words for words in told(session) if words in SAID] == list(SAID)
    assert "John Smyth (settled)" in guided(session)
    assert "e-mail" in guided(session)
    kinds = session.types()
    assert kinds.count("response.create") >= 1
    assert world.store.stories[call.call_sid].story["dialogue"]["at"] == "email"
    assert not session.errors


async def test_who_hangs_up_in_the_middle_and_calls_back_soon_goes_on(autojump_clock):
    store = MemoryStore()
    async with a_world(SETTINGS, model(), store=store) as world:
        await world.call(*talk(), AwaitQuiet(), HangUp())
    async with a_world(SETTINGS, going_on(), store=store, seed=1) as elsewhere:  # another worker
        call = await elsewhere.call(AwaitQuiet(), HangUp())
    assert first_audio(call.streams[0]).startswith(load_prompt("welcome_back").audio)
    (session,) = elsewhere.models[0].sessions
    assert "John Smyth (settled)" in guided(session)
    assert SAID[0] in told(session)
    assert store.stories[call.call_sid].story["dialogue"]["at"] == "email"


@pytest.mark.parametrize("where", ["here", "elsewhere"])
async def test_who_calls_from_the_number_of_one_who_is_still_talking_hears_nothing_of_that_call(autojump_clock, where):
    async with a_world(SETTINGS, model(), workers=2) as world:
        calls = []

        async def another() -> None:
            if where == "elsewhere":
                world.network.next()
            calls.append(await world.carrier.place_call([AwaitQuiet(), HangUp()]))

        first = await world.call(*talk(), AwaitQuiet(), Do(another), Wait(1), HangUp())
    (second,) = calls
    assert second.ended < first.ended
    assert first_audio(second.streams[0]).startswith(load_prompt("greeting").audio)
    assert "John" not in json.dumps(world.store.stories[second.call_sid].story)
    assert world.store.stories[first.call_sid].story["dialogue"]["slots"]["name"]["text"] == "John Smyth"


async def test_an_earlier_call_waits_for_another_one_if_twilio_says_too_late_that_it_is_over(autojump_clock):
    store = MemoryStore()
    async with a_world(SETTINGS, model(), store=store) as world:
        first = await world.call(*talk(), AwaitQuiet(), HangUp())
    store.dispositions[first.call_sid], store.calls[first.call_sid].status = None, ""  # as of a worker that died
    async with a_world(SETTINGS, going_on(), store=store, seed=1, rest_faults=RestFaults(slow=3)) as elsewhere:
        call = await elsewhere.call(AwaitQuiet(), Wait(5), HangUp())
    assert first_audio(call.streams[0]).startswith(load_prompt("greeting").audio)
    assert not store.stories[first.call_sid].over
    assert call.call_sid not in store.stories or "John" not in json.dumps(store.stories[call.call_sid].story)


async def test_who_calls_back_late_or_from_another_number_begins_anew(autojump_clock):
    store = MemoryStore()
    async with a_world(SETTINGS, model(), store=store) as world:
        first = await world.call(*talk(), AwaitQuiet(), HangUp())
        other = await world.call(AwaitQuiet(), HangUp(), caller="+14155559999")
        await trio.sleep(SETTINGS.call.resume_minutes * 60)
        late = await world.call(AwaitQuiet(), HangUp())
    for call in (first, other, late):
        assert first_audio(call.streams[0]).startswith(load_prompt("greeting").audio)


async def test_an_earlier_call_is_gone_on_with_only_once(autojump_clock):
    store = MemoryStore()
    async with a_world(SETTINGS, model(), store=store) as world:
        first = await world.call(*talk(), AwaitQuiet(), HangUp())
        again = await world.call(HangUp())
    assert store.stories[first.call_sid].over
    assert not store.stories[again.call_sid].over  # its own story can be gone on with


async def test_who_said_nothing_that_matters_is_greeted_like_anybody(autojump_clock):
    async with a_world(SETTINGS, going_on()) as world:
        await world.call(AwaitQuiet(), Speak(murmur("Hello?")), AwaitQuiet(), HangUp())
        again = await world.call(AwaitQuiet(), HangUp())
    assert first_audio(again.streams[0]).startswith(load_prompt("greeting").audio)


async def test_resuming_can_be_switched_off(autojump_clock):
    never = attrs.evolve(SETTINGS, call=attrs.evolve(SETTINGS.call, resume_minutes=0.0))
    store = MemoryStore()
    async with a_world(never, model(), store=store) as world:
        await world.call(*talk(), AwaitQuiet(), HangUp())
        again = await world.call(AwaitQuiet(), HangUp())
    assert first_audio(again.streams[0]).startswith(load_prompt("greeting").audio)


async def test_a_store_that_is_down_or_slow_is_not_heard_and_is_caught_up_with(autojump_clock):
    store = MemoryStore()

    async def falls() -> None:
        store.down = True

    async def returns() -> None:
        store.down, store.slow = False, 2.0

    steps = talk()
    async with a_world(SETTINGS, model(), store=store) as world:
        call = await world.call(*steps[:3], Do(falls), *steps[3:], AwaitQuiet(), Do(returns), Wait(12), HangUp())
    (record,) = store.of(call.call_sid)
    assert not record.errors
    latencies = [turn.latency_ms["total"] for turn in record.turns if turn.latency_ms]
    assert len(latencies) == 3
    assert max(latencies) < 1700
    assert store.stories[call.call_sid].story["dialogue"]["slots"]["name"]["status"] == "confirmed"


async def test_a_call_that_ended_while_the_store_was_away_is_delivered_as_soon_as_it_is_back(autojump_clock):
    store = MemoryStore()

    async def falls() -> None:
        store.down = True

    async with a_world(SETTINGS, model(), store=store) as world:
        await world.call(*talk(), AwaitQuiet(), Do(falls), Wait(2), HangUp())
        await trio.sleep(2 * PAUSE)
        store.down = False
        await trio.sleep(TRY_AGAIN + PAUSE)
        (delivery,) = world.backend.deliveries
        assert delivery.body["slots"]["name"]["status"] == "confirmed"


async def test_what_was_said_is_not_kept_when_the_settings_say_so(autojump_clock):
    quiet = attrs.evolve(SETTINGS, store=attrs.evolve(SETTINGS.store, transcripts="drop"))
    async with a_world(quiet, model()) as world:
        call = await world.call(*talk(), AwaitQuiet(), HangUp())
    (record,) = world.store.of(call.call_sid)
    assert not any(turn.text or turn.heard_text for turn in record.turns)
    (delivery,) = world.backend.deliveries
    assert delivery.body["slots"]["name"]["value"] == "John Smyth"
    assert not any(turn["text"] for turn in delivery.body["transcript"])


async def test_nor_is_what_was_said_in_a_call_that_was_cut_short(autojump_clock):
    quiet = attrs.evolve(SETTINGS, store=attrs.evolve(SETTINGS.store, transcripts="drop"))
    async with a_world(quiet, model()) as world:
        call = await world.call(*talk()[:3], Wait(3), HangUp())
    kept = world.store.stories[call.call_sid]
    assert (kept.story["dialogue"]["wish"], kept.story.get("said"), kept.over) == ("book", [], False)


async def test_a_call_whose_first_server_died_before_it_could_promise_the_delivery_is_delivered_once(autojump_clock):
    async with a_world(SETTINGS, model(), store=MemoryStore(slow=2.0), workers=2) as world:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def dies() -> None:
                await trio.sleep(3)
                assert not world.store.delivery_rows, "the store is busy with the call itself"
                await world.kill()

            call = await world.call(*talk(), AwaitQuiet(), HangUp())
        await trio.sleep(60)
        (delivery,) = world.backend.deliveries
        assert delivery.id == call.call_sid


@pytest.mark.parametrize("dies", [False, True])
@pytest.mark.parametrize("api_knows", [True, False])
async def test_a_stream_that_is_lost_and_never_heard_of_again_is_one_record_and_one_delivery(
    dies: bool, api_knows: bool, monkeypatch: pytest.MonkeyPatch, autojump_clock
):
    api = RestFaults(statuses=() if api_knows else (500,) * 1000)
    async with a_world(SETTINGS, model(), workers=2, rest_faults=api) as world:
        post = world.carrier.post

        async def no_more(url: str, *rest: Any) -> tuple[int, str, str]:
            """The carrier asks when it rings, and says nothing any more after that."""
            return await post(url, *rest) if urlsplit(url).path == "/twilio/voice" else (0, "", "")

        monkeypatch.setattr(world.carrier, "post", no_more)
        call = await world.call(*talk(), AwaitQuiet(), Wait(20), HangUp(), faults=StreamFaults(drop_after=24))
        if dies:
            await world.kill()
        at_most = RECONCILE if api_knows else SETTINGS.call.max_seconds + DELIVERED_WITHIN
        await trio.sleep(at_most + LEASE)
        (record,) = world.store.of(call.call_sid)
        (delivery,) = world.backend.deliveries
        facts = delivery.body["call"]
        assert (record.disposition, delivery.id) == (Disposition.RESUME, call.call_sid)
        assert (facts["disposition"], facts["status"]) == (("hang_up", "completed") if api_knows else ("resume", ""))
        assert delivery.body["slots"]["name"] == {"value": "John Smyth", "status": "confirmed"}
        await trio.sleep(SETTINGS.call.max_seconds + DELIVERED_WITHIN)
        assert len(world.backend.deliveries) == len(world.store.of(call.call_sid)) == 1


async def test_a_text_whose_server_dies_over_it_is_not_sent_again_by_the_one_that_goes_on(autojump_clock):
    asked = trio.Event()
    text = Call("send_sms", json.dumps({"text": "12 Harbour Street"}))

    def asks_until_it_knows(prompted: Prompted) -> Reply:
        asked.set()
        return Reply((murmur_of("It is on its way."),)) if prompted.tool_results else Reply((text,), delay_ms=250)

    asker = LoopbackModel(brain=asks_until_it_knows, api_key=SETTINGS.secrets.openai_api_key)
    async with a_world(SETTINGS, asker, rest_faults=RestFaults(slow=3), workers=2) as world:

        async def die() -> None:
            await asked.wait()
            await trio.sleep(0.3)
            assert len(world.rest.messages) == 1
            await world.kill()

        where = Speak(murmur("Text me where you are."), "Text me where you are.")
        call = await world.call(AwaitQuiet(), where, Do(die), AwaitQuiet(), AwaitQuiet(), HangUp())
    assert len(call.streams) == 2
    assert len(world.rest.messages) == 1
    (delivery,) = world.backend.deliveries
    assert [errand["status"] for errand in delivery.body["errands"]] == ["done"]
