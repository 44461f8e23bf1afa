"""Who asks to wait, and who says something else with the same words."""

import pytest

from actors.hold import asks_to_wait
from actors.hold_words import WISHES


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
        "Okay, I'll wait.",
        "Sure, I'll hold.",
        "Waiting.",
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


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("de", "Einen Moment bitte."),
        ("de", "Moment mal, ich muss meine Karte holen."),
        ("de", "Können Sie kurz warten?"),
        ("de", "Bleiben Sie bitte dran, es klingelt."),
        ("de", "Lassen Sie mich kurz nachsehen."),
        ("es", "¿Puede esperar un momento, por favor?"),
        ("es", "Un segundito, voy a buscar mi tarjeta."),
        ("es", "Déjeme ver."),
        ("fr", "Ne quittez pas, s’il vous plaît."),
        ("fr", "Une petite minute, je cherche ma carte."),
        ("fr", "Laissez-moi vérifier."),
        ("it", "Un attimo solo, per favore."),
        ("it", "Aspetti, devo prendere la tessera."),
        ("it", "Mi faccia controllare."),
        ("nl", "Wacht even, er staat iemand aan de deur."),
        ("nl", "Momentje, ik moet mijn agenda pakken."),
        ("nl", "Even kijken."),
        ("pt-BR", "Espera aí, vou pegar meu cartão."),
        ("pt", "Só um minuto, por favor."),
        ("pt", "Deixe-me ver."),
    ],
)
def test_a_wish_to_wait_is_one_in_other_languages_too(language: str, text: str) -> None:
    assert asks_to_wait(text, language)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("de", "Warten Sie, das ist falsch."),
        ("de", "Einen Moment, vier eins fünf."),
        ("de", "Wie lange muss ich warten?"),
        ("de", "Ich suche einen Zahnarzt."),
        ("es", "Espere, ¿abren el domingo?"),
        ("es", "Estoy buscando un dentista."),
        ("fr", "Non, attendez."),
        ("fr", "Je cherche un dentiste."),
        ("it", "Aspetti, è sbagliato."),
        ("it", "Devo prendere un appuntamento."),
        ("nl", "Wacht, dat klopt niet."),
        ("nl", "Ik wil een afspraak maken."),
        ("pt", "Espere, está errado."),
        ("pt", "Preciso de uma consulta."),
    ],
)
def test_whoever_says_anything_else_wants_an_answer_in_other_languages_too(language: str, text: str) -> None:
    assert not asks_to_wait(text, language)


@pytest.mark.timeout(10)
@pytest.mark.parametrize("language", WISHES)
@pytest.mark.parametrize("word", ["ok", "un", "ich muss", "je", "even", "voy a ver", "let me see"])
def test_a_long_turn_is_read_at_once(language: str, word: str) -> None:
    assert not asks_to_wait(f"{word} " * (29 // len(word.split())) + "5", language)


def test_in_a_language_that_is_not_known_nobody_asks_to_wait() -> None:
    assert not asks_to_wait("Ett ögonblick, tack.", "sv")
    assert not asks_to_wait("One moment please.", "de")
