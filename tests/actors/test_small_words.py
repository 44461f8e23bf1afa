"""What a listener says, and who says goodbye, in each language that is known."""

import pytest

from actors.small_words import only_listens, only_parts


@pytest.mark.parametrize(
    ("language", "text", "listens"),
    [
        ("en", "Uh-huh, right.", True),
        ("en", "Right, stop.", False),
        ("de", "Mhm.", True),
        ("fr", "Ah, okay.", True),
        ("de", "Okay, halt.", False),
        ("en-GB", "Right.", True),
        ("de", "Ja, genau.", True),
        ("es-MX", "Sí, claro.", True),
        ("fr", "D’accord.", True),
        ("de", "Nein.", False),
        ("sv", "Hmmm, haha.", True),
        ("en", "Hi.", False),
        ("en", "M.", False),
    ],
)
def test_the_sounds_of_listeners_are_the_same_in_all_languages(language: str, text: str, listens: bool) -> None:
    assert only_listens(text, language) is listens


@pytest.mark.timeout(10)
def test_a_goodbye_that_is_said_again_and_again_is_known_for_one_or_for_more_at_once() -> None:
    assert only_parts("Good bye. " * 1000, "en")
    assert not only_parts("Good bye. " * 1000 + "Wait!", "en")


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "Okay, thank you very much, bye-bye."),
        ("en", "Yes, please."),
        ("en", "Okay, I'll hold, that would be great."),
        ("de", "Ja, bitte."),
        ("fr", "Oui, s’il vous plaît."),
        ("de", "Vielen Dank, auf Wiederhören!"),
        ("de", "Nein, danke. Ihnen auch einen schönen Tag noch."),
        ("de-AT", "Das war's, danke für Ihre Hilfe, tschüss."),
        ("es", "No, gracias. Que tenga un buen día."),
        ("es", "Vale, muchas gracias, hasta luego."),
        ("fr", "Merci beaucoup, au revoir."),
        ("fr", "Merci, à vous aussi, bonne soirée."),
        ("it", "Va bene, grazie mille, arrivederci."),
        ("it", "Altrettanto, buona giornata, ciao ciao."),
        ("nl", "Hartelijk bedankt voor uw hulp, dag!"),
        ("nl", "Oké, fijne dag nog, doei doei."),
        ("pt", "Está bem, muito obrigado, até logo."),
        ("pt", "Não, obrigada. Tenha um bom dia."),
    ],
)
def test_who_says_goodbye_does_nothing_else(language: str, text: str) -> None:
    assert only_parts(text, language)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "Thanks, but when do you open?"),
        ("en", "Please."),
        ("en", "No, please wait."),
        ("de", "Danke, aber wann öffnen Sie?"),
        ("de", "Bis wann haben Sie auf?"),
        ("es", "Gracias, pero ¿cuándo abren?"),
        ("fr", "Merci, mais vous ouvrez quand ?"),
        ("it", "Grazie, un'altra cosa."),
        ("nl", "Bedankt, maar nog een vraag."),
        ("pt", "Não, espere."),
        ("sv", "Hej då."),
    ],
)
def test_who_says_more_than_goodbye_has_not_gone(language: str, text: str) -> None:
    assert not only_parts(text, language)
