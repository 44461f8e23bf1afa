"""The shipped flows, as callers live through them: whole calls in virtual time, written with the scenario kit."""

import pytest

from transport.loopback.human import Human
from transport.loopback.rest import RestFaults
from transport.loopback.scenario import CALLER, HUMAN, Scenario
from transport.loopback.twiml_reader import Connect, Dial, Hangup

NAME = "John Smyth"


def asked_to_book(**kinds: object) -> Scenario:
    """A call that has come to the question for the name."""
    call = Scenario("appointment", **kinds)
    call.caller_says("I would like an appointment.")
    call.model_calls("save_details", intent="book")
    call.model_says("What is your name?")
    return call


def give(call: Scenario, slot: str, words: str, heard: str = "") -> None:
    """The caller gives a detail, it is read back, and they confirm it."""
    call.caller_says(words)
    call.model_calls("save_details", **{slot: heard or words})
    call.model_says("Is that right?")
    call.caller_says("Yes.")
    call.model_calls("confirm_details", slots=[slot], correct=True)
    call.model_says("Thank you. And then?")


def booked(**kinds: object) -> Scenario:
    """A call with an appointment."""
    call = asked_to_book(**kinds)
    give(call, "name", "John Smyth, S M Y T H")
    give(call, "email", "john dot smyth at gmail dot com")
    give(call, "phone", "415 555 2671")
    give(call, "day", "Friday at ten in the morning")
    return call


def test_an_appointment_is_booked_confirmed_by_sms_and_delivered_to_the_backend():
    call = booked()
    call.expect(
        state="booked",
        slots={"name": NAME, "email": "john.smyth@gmail.com", "phone": "+14155552671", "day": "2026-11-27T10:00"},
        texts=1,
    )
    call.caller_says("No, goodbye.")
    call.model_says("Goodbye.")
    call.model_calls("end_call")
    outcome = call.run()
    assert outcome.disposition == "hang_up"
    ((to, text),) = outcome.texts
    assert to == "+14155552671"
    assert "John Smyth" in text
    assert "Friday" in text
    (delivered,) = outcome.delivered
    assert delivered["slots"]["email"] == {"value": "john.smyth@gmail.com", "status": "confirmed"}
    assert delivered["intent"] == "book"
    assert next(turn["heard"] for turn in delivered["transcript"] if turn["who"] == "caller").startswith("I would")


def test_a_part_that_is_corrected_keeps_the_rest_and_is_confirmed_again():
    call = asked_to_book()
    give(call, "name", "John Smyth, S M Y T H")
    call.caller_says("john dot smith at gmail dot com")
    call.model_calls("save_details", email="john dot smith at gmail dot com")
    call.model_says("J O H N dot S M I T H at gmail dot com?")
    call.caller_says("No, it's hotmail, not gmail.")
    call.model_calls("save_details", email="it's hotmail not gmail")
    call.model_says("J O H N dot S M I T H at hotmail dot com?")
    call.expect(state="email", slots={"email": "john.smith@hotmail.com"}, statuses={"email": "heard"})
    call.caller_says("Yes.")
    call.model_calls("confirm_details", slots=["email"], correct=True)
    call.model_says("Your number?")
    call.expect(state="phone", statuses={"email": "confirmed"})
    call.caller_hangs_up()
    call.run()


def test_nothing_counts_as_confirmed_before_the_caller_was_asked():
    call = asked_to_book()
    call.caller_says("John Smyth")
    call.model_calls("save_details", name="John Smyth")
    call.model_calls("confirm_details", slots=["name"], correct=True)
    call.model_says("Thanks.")
    call.expect(state="name", statuses={"name": "heard"})
    call.caller_hangs_up()
    call.run()


def test_a_correction_after_the_booking_is_confirmed_and_told_by_sms():
    call = booked()
    call.caller_says("Sorry, Saturday at ten, not Friday.")
    call.model_calls("save_details", day="Saturday, not Friday")
    call.model_says("Saturday at ten?")
    call.expect(state="change", slots={"day": "2026-11-28T10:00"})
    call.caller_says("Yes.")
    call.model_calls("confirm_details", slots=["day"], correct=True)
    call.model_says("Done.")
    call.expect(state="changed", texts=2)
    call.caller_hangs_up()
    call.run()


def test_an_email_that_is_refused_is_not_asked_for_again():
    call = asked_to_book()
    give(call, "name", "John Smyth, S M Y T H")
    call.caller_says("I'd rather not say.")
    call.model_calls("save_details", email="I'd rather not say")
    call.model_says("No problem. Your number?")
    call.expect(state="phone", statuses={"email": "declined"})
    call.caller_hangs_up()
    call.run()


def test_a_number_can_be_typed():
    call = asked_to_book()
    give(call, "name", "John Smyth, S M Y T H")
    give(call, "email", "john dot smyth at gmail dot com")
    call.caller_presses("4155552671#")
    call.model_says("Four one five, five five five, two six seven one?")
    call.expect(state="phone", slots={"phone": "+14155552671"}, statuses={"phone": "heard"})
    call.caller_hangs_up()
    call.run()


def test_what_nobody_understands_in_three_tries_goes_to_a_human():
    call = asked_to_book(human=Human(rings=1, talks=2))
    for _ in range(3):
        call.caller_says("Mumble.")
        call.model_calls("save_details", name="12 34")
        call.model_says("Sorry?")
    call.expect(state="stuck")
    call.caller_is_silent(15)
    outcome = call.run()
    assert outcome.disposition == "dial"
    assert any(isinstance(verb, Dial) for verb in outcome.call.verbs)


def test_a_silent_caller_is_asked_twice_and_then_told_goodbye():
    call = asked_to_book()
    for _ in range(5):
        call.caller_is_silent(14)
        call.model_says("Are you still there?")
    outcome = call.run()
    assert outcome.disposition == "hang_up"
    records = outcome.world.store.of(outcome.call.call_sid)
    assert records[-1].reason == "nobody is there any more"
    assert [turn.heard_text for turn in records[-1].turns].count("Are you still there?") == 2


def test_what_the_model_forgot_to_save_is_asked_for_apart_and_not_spoken():
    call = asked_to_book()
    give(call, "name", "John Smyth, S M Y T H")
    call.caller_says("john dot smyth at gmail dot com")
    call.model_says("And your number?")
    call.model_extracts(email="john dot smyth at gmail dot com")
    call.expect(slots={"email": "john.smyth@gmail.com"}, statuses={"email": "heard"})
    call.caller_hangs_up()
    outcome = call.run()
    (session,) = outcome.world.models[0].sessions
    apart = [event for _, event in session.events if event.get("response", {}).get("conversation") == "none"]
    assert len(apart) == 1
    assert apart[0]["response"]["output_modalities"] == ["text"]
    assert not session.errors


@pytest.mark.parametrize(
    ("faults", "known"),
    [
        (RestFaults(opted_out=frozenset({"+14155552671"})), "opted_out"),
        (RestFaults(refuse={"+14155552671": 21614}), "failed"),
        (RestFaults(lose_answers=1), "done"),
        (RestFaults(statuses=(429, 429, 0)), "done"),
    ],
)
def test_a_text_message_is_sent_once_or_the_agent_says_that_it_was_not(faults, known):
    call = booked(rest_faults=faults)
    call.model_says("The message could not be sent.")
    call.caller_is_silent(16)
    call.caller_hangs_up()
    outcome = call.run()
    assert len(outcome.texts) == (1 if known == "done" else 0)
    assert outcome.story["dialogue"]["outcomes"]["confirmation"] == known
    told = [e["item"]["content"][0]["text"] for e in _told(outcome) if e["item"].get("role") == "system"]
    assert any("could not be sent" in text for text in told) == (known != "done")


def test_a_human_who_is_busy_brings_the_caller_back_with_all_that_was_known():
    call = asked_to_book(human=Human(outcome="busy", rings=1))
    give(call, "name", "John Smyth, S M Y T H")
    call.caller_says("I want to speak with a person.")
    call.model_says("I am connecting you.")
    call.model_calls("transfer_to_human", reason="asked for one")
    call.caller_is_silent(6)
    call.model_says("Nobody is free. What is your e-mail?")
    call.expect(state="email", slots={"name": NAME})
    call.caller_hangs_up()
    outcome = call.run()
    kinds = [type(verb) for verb in outcome.call.verbs]
    assert kinds.count(Connect) == 2
    assert Dial in kinds
    _first, second = outcome.world.models[0].sessions
    said = [item["content"][0].get("text", "") for item in second.items.values()]
    assert "I would like an appointment." in said
    assert not second.errors


@pytest.mark.parametrize(("keys", "joined"), [("1", True), ("2", False), ("", False)])
def test_urgent_calls_are_put_through_only_if_the_doctor_accepts(keys, joined):
    call = Scenario("after_hours", human=Human(rings=1, keys=keys, talks=3))
    call.caller_says("It is urgent, my mother fell.")
    call.model_calls("save_details", intent="urgent")
    call.model_says("I am putting you through.")
    call.caller_is_silent(60)
    call.model_says("The doctor could not be reached. Shall I take a message?")
    call.caller_hangs_up()
    outcome = call.run()
    (leg,) = outcome.world.carrier.legs
    assert leg.to == HUMAN
    assert any("urgent" in text.lower() for text in leg.told)
    assert bool(leg.joined) == joined, outcome.timeline
    assert outcome.call.music_seconds > 1
    if joined:
        assert isinstance(outcome.call.verbs[-1], Hangup)
    else:
        assert len(outcome.call.streams) == 2
        assert outcome.story["dialogue"]["at"] == "message"


def test_a_message_is_taken_after_hours():
    call = Scenario("after_hours")
    call.caller_says("I want to leave a message.")
    call.model_calls("save_details", intent="message", message="Please call me back about my results.")
    call.model_says("Your name and number?")
    call.expect(state="message")
    call.caller_says("John Smyth")
    call.model_calls("save_details", name="John Smyth", phone=CALLER)
    call.model_says("And we call you back on this number, right?")
    call.caller_says("Yes.")
    call.model_calls("confirm_details", slots=["phone"], correct=True)
    call.model_says("Noted.")
    call.expect(state="noted", slots={"message": "Please call me back about my results."})
    call.caller_hangs_up()
    (delivered,) = call.run().delivered
    assert delivered["slots"]["message"]["value"].startswith("Please call")


def _told(outcome):
    return [e for s in outcome.world.models[0].sessions for _, e in s.events if e["type"] == "conversation.item.create"]


def test_who_would_rather_leave_a_message_than_be_put_through_can_do_so():
    call = Scenario("after_hours", human=Human("completed", rings=1.0))
    call.caller_says("It is urgent, my mother fell.")
    call.model_calls("save_details", intent="urgent")
    call.model_says("I am putting you through to the doctor on call.")
    call.caller_says("No, just take a message.")
    call.model_calls("save_details", intent="message")
    call.model_says("What is it about?")
    call.expect(state="message")
    call.caller_hangs_up()
    call.run()
