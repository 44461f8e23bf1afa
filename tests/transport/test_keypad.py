"""The keypad menu: it knows what was told, settles what keys can settle, and any worker goes on with it from the store."""

from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from actors.dialogue import Dialogue, Held, Status
from actors.messages import Disposition
from actors.story import Story, from_plain, to_plain
from conf.flow_file import load_flow
from conf.settings import Crm, Flow, Settings
from tests.transport.web_kit import Answer, ask, form
from tests.transport.wire_kit import PUBLIC, House, house_in_memory, settings_for
from transport.loopback.twiml_reader import Connect, Dial, Gather, Hangup, Record, Redirect, Say
from transport.switchboard import WAITS_WITHIN

FLOW = load_flow("appointment")
PARTY = """
name = "party"
instructions = "Take an order."
start = "ask"
[slots.number]
kind = "number"
label = "how many guests there are"
[slots.reason]
kind = "choice"
label = "the occasion"
choices.birthday = []
choices.wedding = []
[states.ask]
goal = "Ask."
collects = ["number", "reason"]
final = true
[keypad]
collects = ["number", "reason"]
"""
NAMED = Story(FLOW.name, Dialogue("email", {"name": Held("John Smyth", Status.CONFIRMED)}, wish="book"))


def settings(max_calls: int = 10, crm: str = "", **call: Any) -> Settings:
    """A server that runs the appointment flow."""
    given = settings_for(max_calls=max_calls)
    return attrs.evolve(given, flow=Flow(), call=attrs.evolve(given.call, **call), crm=Crm(crm))


@pytest.fixture
async def house(monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock):
    async with house_in_memory(monkeypatch, settings()) as house:
        yield house


async def keep(house: House, story: Story, sid: str = "CA1") -> None:
    await house.store.keep_story(sid, "+15550002222", "+15550003333", to_plain(story), over=False, now=1.0)


async def kept(house: House, sid: str = "CA1") -> Story:
    story = from_plain(await house.store.story(sid) or {}, FLOW)
    assert story is not None
    return story


async def press(house: House, answer: Answer, keys: str, **fields: str) -> Answer:
    """The caller presses `keys` (or, if empty, nothing) at the Gather of `answer`."""
    gather = next(verb for verb in answer.verbs if isinstance(verb, Gather))
    return await ask(house.app, gather.action.removeprefix(PUBLIC), form(Digits=keys, **fields))


# ---------------------------------------------------------------- what is known


async def test_a_caller_who_comes_from_the_conversation_hears_what_is_noted(house: House, autojump_clock: MockClock):
    await keep(house, NAMED)
    await house.store.keep_disposition("CA1", Disposition.IVR)
    answer = await ask(house.app, "/twilio/after")
    assert "I have noted: John, J, O, H, N; Smyth, S, M, Y, T, H." in answer.said
    again = await press(house, answer, "7")
    assert "I have noted" not in again.said


@pytest.mark.parametrize("told", [True, False])
async def test_a_human_who_is_rung_from_the_menu_hears_what_was_told(
    told: bool, house: House, autojump_clock: MockClock
):
    if told:
        await keep(house, NAMED)
    answer = await press(house, await ask(house.app, "/twilio/ivr/menu"), "1")
    dial = next(verb for verb in answer.verbs if isinstance(verb, Dial))
    if told:
        assert "John Smyth" in (await ask(house.app, dial.whisper.removeprefix(PUBLIC))).said
    else:
        assert not dial.whisper


async def test_a_caller_of_whom_nothing_is_known_hears_just_the_menu(house: House, autojump_clock: MockClock):
    await house.store.keep_disposition("CA1", Disposition.IVR)
    assert "noted" not in (await ask(house.app, "/twilio/after")).said


# ---------------------------------------------------------------- to be called back


async def test_who_wants_to_be_called_back_says_why_and_where(house: House, autojump_clock: MockClock):
    menu = await ask(house.app, "/twilio/ivr/menu")
    why = await press(house, menu, "4")
    assert "For an appointment, press 1. For a question, press 2." in why.said
    where = await press(house, why, "1")
    assert "the number at which we can call you" in where.said
    right = await press(house, where, "4155550123")
    assert right.said.startswith("I have: plus 1, 4 1 5, 5 5 5, 0 1 2 3.")
    done = await press(house, right, "1")
    assert done.kinds == [Say, Hangup]
    story = await kept(house)
    assert story.over
    assert story.dialogue.wish == "book"
    assert story.dialogue.held("phone") == Held("+14155550123", Status.CONFIRMED, captures=("+14155550123",))
    (errand,) = await house.store.errands("CA1")
    assert (errand.name, errand.status, errand.detail) == ("callback", "done", {"number": "+14155550123"})


async def test_what_was_told_before_is_kept_and_not_asked_again(house: House, autojump_clock: MockClock):
    await keep(house, NAMED)
    where = await press(house, await ask(house.app, "/twilio/ivr/menu"), "4")
    assert "the number" in where.said
    right = await press(house, where, "4155550123")
    await press(house, right, "1")
    story = await kept(house)
    assert story.dialogue.held("name") == NAMED.dialogue.held("name")
    assert story.dialogue.held("phone").text == "+14155550123"


async def test_the_hash_key_alone_stands_for_the_telephone_in_use(house: House, autojump_clock: MockClock):
    await keep(house, NAMED)
    where = await press(house, await ask(house.app, "/twilio/ivr/menu"), "4", From="+14155550199")
    assert "just the hash key" in where.said
    right = await press(house, where, "", From="+14155550199")
    assert "0 1 9 9" in right.said
    await press(house, right, "1", From="+14155550199")
    (errand,) = await house.store.errands("CA1")
    assert errand.detail == {"number": "+14155550199"}


@pytest.mark.parametrize("number", ["anonymous", "+15550001111"], ids=["withheld", "not valid"])
async def test_a_number_that_is_withheld_or_none_is_not_offered(number: str, house: House, autojump_clock: MockClock):
    await keep(house, NAMED)
    where = await press(house, await ask(house.app, "/twilio/ivr/menu"), "4", From=number)
    assert "hash key alone" not in where.said
    assert "just the hash key" not in where.said
    again = await press(house, where, "", From="anonymous")
    assert again.said.startswith("Sorry, I did not hear a key.")


async def test_a_number_that_is_wrong_is_typed_again(house: House, autojump_clock: MockClock):
    await keep(house, NAMED)
    where = await press(house, await ask(house.app, "/twilio/ivr/menu"), "4")
    again = await press(house, await press(house, where, "4155550123"), "2")
    assert "Please type" in again.said
    right = await press(house, again, "4155550124")
    await press(house, right, "1")
    (errand,) = await house.store.errands("CA1")
    assert errand.detail == {"number": "+14155550124"}


@pytest.mark.parametrize("keys", ["12", "0000000000", ""])
async def test_who_is_never_understood_is_handed_to_the_human(house: House, autojump_clock: MockClock, keys: str):
    await keep(house, NAMED)
    answer, asked = await press(house, await ask(house.app, "/twilio/ivr/menu"), "4", From="anonymous"), 0
    while answer.kinds == [Gather]:
        asked += 1
        assert asked < 10
        answer = await press(house, answer, keys, From="anonymous")
    assert answer.kinds == [Say, Dial]
    assert asked == 3
    assert await house.store.errands("CA1") == []


async def test_a_wish_to_be_called_back_that_is_told_twice_is_one(house: House, autojump_clock: MockClock):
    await keep(house, NAMED)
    where = await press(house, await ask(house.app, "/twilio/ivr/menu"), "4")
    right = await press(house, where, "4155550123")
    first, second = [await press(house, right, "1") for _ in range(2)]
    assert first.body == second.body
    assert len(await house.store.errands("CA1")) == 1


async def test_while_the_store_is_down_the_caller_notices_nothing_and_it_is_written_later(
    house: House, autojump_clock: MockClock
):
    await keep(house, NAMED)
    where = await press(house, await ask(house.app, "/twilio/ivr/menu"), "4")
    house.store.down = True
    right = await press(house, where, "4155550123")
    assert (await press(house, right, "1")).kinds == [Say, Hangup]
    house.store.down = False
    await trio.sleep(5)
    (errand,) = await house.store.errands("CA1")
    assert errand.detail == {"number": "+14155550123"}


async def test_a_store_that_does_not_answer_is_asked_for_the_story_and_for_all_that_is_to_be_kept_at_once(
    house: House, autojump_clock: MockClock
):
    await keep(house, NAMED)
    where = await press(house, await ask(house.app, "/twilio/ivr/menu"), "4")
    right = await press(house, where, "4155550123")
    house.store.slow, house.store.down, asked = 2.5, True, trio.current_time()
    assert (await press(house, right, "1")).kinds == [Say, Hangup]
    assert trio.current_time() - asked == 5.0
    told = form(RecordingSid="RE1", RecordingUrl="https://api.twilio.com/RE1", RecordingDuration="5", Digits="#")
    asked = trio.current_time()
    assert (await ask(house.app, "/twilio/ivr/recorded", told)).kinds == [Say, Hangup]
    assert trio.current_time() - asked <= 3.0
    house.store.slow, house.store.down = 0.0, False
    await trio.sleep(5)
    assert [errand.detail for errand in await house.store.errands("CA1")] == [{"number": "+14155550123"}]
    assert (await kept(house)).over


@pytest.mark.parametrize("query", ["", "?question=name", "?question=call-number&tries=x", "?question=%00&check=1"])
async def test_a_question_that_nobody_asked_is_the_menu_or_asked_again(
    house: House, autojump_clock: MockClock, query: str
):
    answer = await ask(house.app, f"/twilio/ivr/answer{query}", form(Digits="1"))
    assert answer.kinds in ([Gather], [Gather, Redirect])


async def test_a_slot_may_be_called_number_or_reason_and_is_asked_for_all_the_same(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock, tmp_path: Path
):
    flow = tmp_path / "party.toml"
    flow.write_text(PARTY)
    own = attrs.evolve(settings(), flow=Flow(path=str(flow)))
    async with house_in_memory(monkeypatch, own) as house:
        where = await press(house, await ask(house.app, "/twilio/ivr/menu"), "4")
        assert "the number at which we can call you" in where.said
        many = await press(house, await press(house, where, "4155550123"), "1")
        assert "how many guests there are" in many.said
        why = await press(house, await press(house, many, "12"), "1")
        assert "For birthday, press 1. For wedding, press 2." in why.said
        assert (await press(house, why, "2")).kinds == [Say, Hangup]
        story = await house.store.story("CA1")
        assert story is not None
        held = story["dialogue"]["slots"]
        assert {name: held[name]["text"] for name in held} == {"number": "12", "reason": "wedding"}


# ---------------------------------------------------------------- all lines are busy


async def test_a_caller_for_whom_there_is_no_line_waits_for_one_and_gets_it(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
):
    async with house_in_memory(monkeypatch, settings(max_calls=1)) as house:
        assert (await ask(house.app, "/twilio/voice", form("CA1"))).kinds == [Connect]
        answer = await ask(house.app, "/twilio/voice", form("CA2"))
        assert "All our lines are busy" in answer.said
        assert "Stay on the line" in answer.said
        _, redirect = answer.verbs
        assert isinstance(redirect, Redirect)
        wait = redirect.url.removeprefix(PUBLIC)
        assert "still busy" in (await ask(house.app, wait, form("CA2"))).said
        await ask(house.app, "/twilio/status", form("CA1", CallStatus="completed"))
        assert (await ask(house.app, wait, form("CA2"))).kinds == [Connect]
        assert (await ask(house.app, wait, form("CA2"))).kinds == [Connect], "the question is only repeated"
        assert (await ask(house.app, "/twilio/voice", form("CA3"))).kinds == [Gather, Redirect], "the place is theirs"


@pytest.mark.parametrize(("overflow", "dialled"), [("+15559990000", "+15559990000"), ("", "+15550001111")])
async def test_who_has_waited_in_vain_is_put_through(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock, overflow: str, dialled: str
):
    busy = settings(max_calls=0, overflow_number=overflow, queue_seconds=60.0)
    async with house_in_memory(monkeypatch, busy, clock=lambda: 1.7e9 + trio.current_time()) as house:
        answer = await ask(house.app, "/twilio/voice", form("CA2"))
        asked = 0
        while answer.kinds == [Gather, Redirect]:
            gather, redirect = answer.verbs
            assert isinstance(gather, Gather)
            assert isinstance(redirect, Redirect)
            await trio.sleep(gather.timeout)
            answer = await ask(house.app, redirect.url.removeprefix(PUBLIC), form("CA2"))
            asked += 1
        _, dial = answer.verbs
        assert isinstance(dial, Dial)
        assert dial.number == dialled
        assert 3 <= asked <= 5


@pytest.mark.parametrize("since", ["9" * 400, "9" * 5000, "-1", "x", "99999999999"])
async def test_a_time_that_makes_no_sense_is_no_wait_without_end(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock, since: str
):
    busy = settings(max_calls=0, queue_seconds=60.0)
    async with house_in_memory(monkeypatch, busy, clock=lambda: 1.7e9 + trio.current_time()) as house:
        url, asked = f"/twilio/ivr/wait?since={since}", 0
        answer = await ask(house.app, url, form("CA2"))
        while answer.kinds == [Gather, Redirect]:
            redirect = answer.verbs[1]
            assert isinstance(redirect, Redirect)
            await trio.sleep(20)
            answer = await ask(house.app, redirect.url.removeprefix(PUBLIC), form("CA2"))
            asked += 1
            assert asked < 10
        assert answer.kinds == [Say, Dial]


async def test_who_waits_for_a_line_gets_it_in_turn_and_before_those_who_have_just_called(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
):
    async with house_in_memory(monkeypatch, settings(max_calls=2), clock=lambda: 1.7e9 + trio.current_time()) as house:
        for sid in ("CA1", "CA2", "CA3", "CA4", "CA5"):
            await ask(house.app, "/twilio/voice", form(sid))
            await trio.sleep(1)
        waiting = {"CA3": 1_700_000_002, "CA4": 1_700_000_003, "CA5": 1_700_000_004}

        async def gets_one(sid: str) -> bool:
            path = f"/twilio/ivr/wait?since={waiting[sid]}" if sid in waiting else "/twilio/voice"
            return (await ask(house.app, path, form(sid))).kinds == [Connect]

        assert not await gets_one("CA3")
        await ask(house.app, "/twilio/status", form("CA1", CallStatus="completed"))
        assert [await gets_one(sid) for sid in ("CA5", "CA6", "CA4")] == [False, False, False]
        assert (await ask(house.app, "/twilio/ivr/choice?since=1700000002", form("CA3", Digits="2"))).kinds[1] is Record
        assert [await gets_one(sid) for sid in ("CA5", "CA4")] == [False, True]
        await ask(house.app, "/twilio/status", form("CA2", CallStatus="completed"))
        assert [await gets_one(sid) for sid in ("CA6", "CA5")] == [False, True]


async def test_who_waits_for_a_line_keeps_their_turn_when_they_hear_the_menu_again_and_when_their_webhook_comes_twice(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
):
    async with house_in_memory(monkeypatch, settings(max_calls=1), clock=lambda: 1.7e9 + trio.current_time()) as house:
        for sid in ("CA1", "CA2", "CA3", "CA2"):
            await ask(house.app, "/twilio/voice", form(sid))
            await trio.sleep(1)
        for digit in "353":
            await trio.sleep(WAITS_WITHIN / 2)
            await ask(house.app, "/twilio/ivr/choice?since=1700000003", form("CA2", Digits=digit))
        await ask(house.app, "/twilio/ivr/wait?since=1700000002", form("CA3"))
        await ask(house.app, "/twilio/status", form("CA1", CallStatus="completed"))
        for sid, since, kind in (("CA4", 0, Gather), ("CA3", 1_700_000_002, Gather), ("CA2", 1_700_000_003, Connect)):
            path = f"/twilio/ivr/wait?since={since}" if since else "/twilio/voice"
            assert (await ask(house.app, path, form(sid))).kinds[0] is kind


async def test_a_line_is_not_kept_for_who_no_longer_asks_for_it(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
):
    async with house_in_memory(monkeypatch, settings(max_calls=1), clock=lambda: 1.7e9 + trio.current_time()) as house:
        for sid in ("CA1", "CA2"):
            await ask(house.app, "/twilio/voice", form(sid))
        await ask(house.app, "/twilio/status", form("CA1", CallStatus="completed"))
        await trio.sleep(WAITS_WITHIN + 1)
        assert (await ask(house.app, "/twilio/voice", form("CA3"))).kinds == [Connect]


async def test_without_a_queue_all_lines_are_busy_is_the_menu_alone(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
):
    async with house_in_memory(monkeypatch, settings(max_calls=0, queue_seconds=0.0)) as house:
        answer = await ask(house.app, "/twilio/voice", form("CA2"))
        assert "Stay on the line" not in answer.said
        assert "press 4" in answer.said


@pytest.mark.parametrize("keys", ["1", "31", "71", "777"], ids=["at once", "again", "wrong first", "only wrong"])
async def test_without_a_queue_too_who_wants_a_person_is_put_through_to_who_takes_what_is_too_much(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock, keys: str
):
    own = settings(max_calls=0, queue_seconds=0.0, overflow_number="+15559990000", human_number="")
    async with house_in_memory(monkeypatch, own) as house:
        answer = await ask(house.app, "/twilio/voice", form("CA2"))
        for key in keys:
            assert "To speak with a person, press 1." in answer.said
            answer = await press(house, answer, key, CallSid="CA2")
        _, dial = answer.verbs
        assert isinstance(dial, Dial)
        assert dial.number == "+15559990000"


async def test_who_waits_for_a_line_is_not_handed_on_by_wrong_keys(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
):
    async with house_in_memory(monkeypatch, settings(max_calls=0)) as house:
        answer = await ask(house.app, "/twilio/voice", form("CA2"))
        for key in "7#876":
            answer = await press(house, answer, key, CallSid="CA2")
            assert "Stay on the line" in answer.said


async def test_a_caller_for_whom_there_is_no_line_can_be_called_back_and_the_backend_is_promised_it(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
):
    async with house_in_memory(monkeypatch, settings(max_calls=0, crm="https://crm.example.com/x")) as house:
        answer = await ask(house.app, "/twilio/voice", form("CA2"))
        why = await press(house, answer, "4", CallSid="CA2")
        where = await press(house, why, "2", CallSid="CA2")
        right = await press(house, where, "4155550123", CallSid="CA2")
        assert (await press(house, right, "1", CallSid="CA2")).kinds == [Say, Hangup]
        assert [each.call_sid for each in await house.store.deliveries()] == ["CA2"]
        assert (await kept(house, "CA2")).dialogue.wish == "question"


async def test_a_message_can_be_left_while_waiting(monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock):
    async with house_in_memory(monkeypatch, settings(max_calls=0)) as house:
        answer = await ask(house.app, "/twilio/voice", form("CA2"))
        assert Record in (await press(house, answer, "2", CallSid="CA2")).kinds


# ---------------------------------------------------------------- a loop that lags


async def test_a_process_that_lags_takes_no_further_call_and_says_so(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
):
    async with house_in_memory(monkeypatch) as house:
        switchboard = house.app.extensions["triode"].switchboard
        lag = [0.0]
        switchboard.lag = lambda: lag[0]
        assert (await ask(house.app, "/twilio/voice", form("CA1"))).kinds == [Connect]
        lag[0] = 0.101
        assert "busy" in (await ask(house.app, "/twilio/voice", form("CA2"))).said
        assert (await ask(house.app, "/twilio/voice", form("CA1"))).kinds == [Connect], "a place that was given is kept"
        assert (await ask(house.app, "/twilio/after", form("CA3"))).kinds == [Connect], "who was up goes on"
        lag[0] = 0.1
        assert (await ask(house.app, "/twilio/voice", form("CA2"))).kinds == [Connect]
