"""The routes of the menu and of those it leads to: each key where it is said to lead, a message kept once."""

import itertools
from pathlib import Path

import pytest

from actors.messages import Disposition
from tests.transport.web_kit import Answer, ask, form, rows, stored_house
from tests.transport.wire_kit import PUBLIC, House, house_in_memory
from transport.loopback.twiml_reader import Connect, Dial, Gather, Hangup, Record, Redirect, Say
from transport.twiml import MENU, REOPEN_AT_MOST, TRIES, WHY


@pytest.fixture
async def house(monkeypatch: pytest.MonkeyPatch):
    async with house_in_memory(monkeypatch) as house:
        yield house


# ---------------------------------------------------------------- the menu

MENU_AGAIN, MESSAGE = [Gather, Redirect], [Say, Record, Say, Hangup]
CHOICES = {"1": [Say, Dial], "2": MESSAGE, "3": MENU_AGAIN, "*": MENU_AGAIN, "4": [Gather], "9": [Say, Hangup]}


@pytest.mark.parametrize("key", CHOICES)
async def test_a_key_leads_where_the_menu_says_also_when_it_is_told_twice(house: House, key: str):
    answers = [await ask(house.app, "/twilio/ivr/choice?tries=1", form(Digits=key)) for _ in range(2)]
    assert answers[0].kinds == CHOICES[key]
    assert answers[0].body == answers[1].body


async def follow(house: House, answer: Answer, key: str) -> Answer:
    """What Twilio asks next: the action with the key, or on silence what stands behind the Gather."""
    gather, redirect = answer.verbs
    assert isinstance(gather, Gather)
    assert isinstance(redirect, Redirect)
    url, fields = (gather.action, form(Digits=key)) if key else (redirect.url, form())
    return await ask(house.app, url.removeprefix(PUBLIC), fields)


@pytest.mark.parametrize("keys", [[""], ["7"], ["#"], ["5", ""], ["", "7", "3"]])
async def test_a_caller_who_never_chooses_is_handed_to_the_human(house: House, keys: list[str]):
    await house.store.keep_disposition("CA1", Disposition.IVR)
    answer, heard = await ask(house.app, "/twilio/after"), 0
    for key in itertools.cycle(keys):
        if answer.kinds != [Gather, Redirect]:
            break
        assert MENU in answer.said
        heard += key != "3"  # asking to hear it again is no mistake
        answer = await follow(house, answer, key)
    assert answer.kinds == [Say, Dial]
    assert heard == TRIES


@pytest.mark.parametrize("key", ["", "7", "#", "11", "A"])
async def test_a_caller_is_told_what_went_wrong(house: House, key: str):
    first = await ask(house.app, "/twilio/ivr/menu")
    assert (await follow(house, first, key)).said == f"{WHY['wrong' if key else 'silent']} {MENU}"


@pytest.mark.parametrize("query", ["?tries=-5", "?tries=x", "?tries=", "?why=%3CDial%3E", "?tries=1e9&why=a%20b"])
async def test_a_query_that_makes_no_sense_is_the_plain_menu(house: House, query: str):
    answer = await ask(house.app, f"/twilio/ivr/menu{query}")
    assert answer.said == MENU
    assert answer.body == (await ask(house.app, "/twilio/ivr/menu?tries=0")).body


# ---------------------------------------------------------------- voicemail and the human

URL = "https://api.twilio.com/2010-04-01/Accounts/AC0/Recordings/RE1"
RECORDED = ("/twilio/ivr/recorded", {"RecordingSid": "RE1", "RecordingUrl": URL, "RecordingDuration": "7"})
KEPT = ("/twilio/ivr/recording", {**RECORDED[1], "RecordingStatus": "completed"})


@pytest.mark.parametrize("order", ["rk", "kr", "rrk", "krk", "kkr", "rr", "kk"])
async def test_a_message_is_stored_once_in_whatever_order_it_is_told(tmp_path: Path, order: str):
    async with stored_house(tmp_path) as app:
        for which in order:
            path, fields = RECORDED if which == "r" else KEPT
            answer = await ask(app, path, form(**fields))
            assert answer.kinds == [Say, Hangup] if which == "r" else answer.status == 204
        status = "completed" if "k" in order else "in-progress"
        columns = "recording_sid, call_sid, url, seconds, status"
        assert rows(tmp_path, "recordings", columns) == [("RE1", "CA1", URL, 7, status)]


async def test_an_end_without_a_message_stores_none(tmp_path: Path):
    async with stored_house(tmp_path) as app:
        assert (await ask(app, "/twilio/ivr/recorded")).kinds == [Say, Hangup]
        assert (await ask(app, "/twilio/ivr/recording")).status == 204
        assert rows(tmp_path, "recordings") == []


@pytest.mark.parametrize("outcome", ["completed", "answered", "busy", "no-answer", "failed", "canceled", "new", ""])
async def test_after_a_human_was_dialled_from_the_menu_the_call_ends_or_a_message_is_taken(house: House, outcome: str):
    answers = [await ask(house.app, "/twilio/dialed?menu=1", form(DialCallStatus=outcome)) for _ in range(2)]
    spoken = outcome in {"completed", "answered"}
    assert answers[0].kinds == ([Hangup] if spoken else MESSAGE)
    assert spoken or answers[0].said.startswith(WHY["noanswer"])
    assert answers[0].body == answers[1].body


@pytest.mark.parametrize("outcome", ["completed", "answered", "busy", "no-answer", "failed", "canceled", "new", ""])
async def test_a_caller_whom_no_human_took_goes_back_to_the_agent(house: House, outcome: str):
    kinds = (await ask(house.app, "/twilio/dialed", form(DialCallStatus=outcome))).kinds
    back = outcome in {"busy", "no-answer", "failed", "canceled"}
    assert kinds == ([Hangup] if outcome in {"completed", "answered"} else [Connect] if back else MESSAGE)


@pytest.mark.parametrize("number", ["9" * 5000, "-1", "x", "%D9%A3"])
async def test_the_number_of_a_transfer_that_makes_no_sense_is_answered(house: House, number: str):
    answer = await ask(house.app, f"/twilio/dialed?warm={number}", form(DialCallStatus="completed"))
    assert answer.kinds == [Connect]


async def test_a_caller_goes_back_to_the_agent_a_few_times_and_then_leaves_a_message(house: House):
    for _ in range(REOPEN_AT_MOST):
        assert (await ask(house.app, "/twilio/dialed", form(DialCallStatus="busy"))).kinds == [Connect]
    assert (await ask(house.app, "/twilio/dialed", form(DialCallStatus="busy"))).kinds == MESSAGE
