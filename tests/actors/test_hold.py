"""Who asks to wait, and who says something else with the same words."""

import pytest

from actors.hold import asks_to_wait


@pytest.mark.parametrize(
    "text",
    [
        "One moment please.",
        "Hold on.",
        "hold on",
        "Just a second.",
        "Give me a minute.",
        "Bear with me.",
        "Let me check.",
        "Let me get my card.",
        "Can you hold on a moment?",
        "Could you please hold for a second?",
        "Would you mind waiting one more minute?",
        "Uh, hang on, let me find my glasses.",
        "Okay, one sec, I need to get a pen.",
        "Sure, hold on one second while I look for it.",
        "Yes, I'm still here, just one more moment please.",
        "Wait.",
        "Please hold.",
        "Hold on let me grab my insurance card",
        "Hang on — somebody's at the door.",
        "Give me a couple of minutes to find it, please.",
        "I'll be right back.",
        "Let me ask my wife.",
        "Hold on, I’ve got to find my glasses.",
        "Hang on … let me see…",
        "I need a minute, sorry.",
        "Can I have a moment?",
        "Let me think.",
    ],
)
def test_a_wish_to_wait_is_one(text: str) -> None:
    assert asks_to_wait(text, "en")


@pytest.mark.parametrize(
    "text",
    [
        "Hold on, that's wrong, I said Tuesday.",
        "Hold on that's wrong",
        "No, wait.",
        "Wait, what?",
        "Wait, are you open on Sundays?",
        "One moment, four one five, five five five.",
        "I can wait for the doctor.",
        "Let me speak to someone.",
        "Let me get an appointment.",
        "Let me see a doctor.",
        "Let me get this straight, you are closed?",
        "It only takes a minute.",
        "I'll be there in a second.",
        "How long do I have to wait?",
        "I need an appointment.",
        "Could you check that for me?",
        "I'm looking for a dentist.",
        "The dog bit me.",
        "Okay, thank you.",
        "Yes.",
        "hold on " * 40,
        "",
        "...",
    ],
)
def test_whoever_says_anything_else_wants_an_answer(text: str) -> None:
    assert not asks_to_wait(text, "en")


def test_a_region_makes_no_other_language() -> None:
    assert asks_to_wait("One moment please.", "en-GB")


def test_in_a_language_that_is_not_known_nobody_asks_to_wait() -> None:
    assert not asks_to_wait("One moment please.", "de")
