"""The small words of callers, by language: by which a listener says that they listen, and everybody says goodbye. Pure."""

import re

from actors.slots.languages import primary

_SOUNDS = r"m{2,}|[mu]+h+m*|m*h+m+|m+h+m+h*|u*h+u+h+|a+h+a*|o+h+|h[au]h?|(?:h[aeio]){2,}h?|m?k+ay|okay|okey|ok"
_ENGLISH = """
right yeah yea yep yup yes sure alright all i see got it good great
fine nice wow cool perfect exactly true understood um er erm well so and
"""
_GERMAN = """
ja jaja jo jep jawohl genau gut schön super prima klar richtig stimmt sicher natürlich toll verstehe verstanden ich alles ach
so achso tja äh ähm also nun und gerne
"""
_SPANISH = "sí si claro vale bien muy bueno ya ajá entiendo entendido perfecto exacto cierto de acuerdo eh pues y"
_FRENCH = """
oui ouais d'accord bien bon très entendu parfait exact exactement voilà je vois compris super hum euh hein alors et donc
"""
_ITALIAN = "sì si certo bene va ho capito d'accordo esatto perfetto giusto già ecco allora e eh beh"
_DUTCH = "ja jaja jazeker oké goed prima precies klopt duidelijk natuurlijk snap begrijp ik het mooi fijn dus en nou"
_PORTUGUESE = "sim claro certo tá está bem bom entendi entendo perfeito exato isso pois é né e então"
LISTENERS_WORDS = {
    "en": frozenset(_ENGLISH.split()),
    "de": frozenset(_GERMAN.split()),
    "es": frozenset(_SPANISH.split()),
    "fr": frozenset(_FRENCH.split()),
    "it": frozenset(_ITALIAN.split()),
    "nl": frozenset(_DUTCH.split()),
    "pt": frozenset(_PORTUGUESE.split()),
}
"""Words by which listeners say that they listen, by language; those of others only hum, laugh and say "okay", as all do."""
_SOUND = re.compile(_SOUNDS)
_WORD = re.compile(r"[\w']+")
_PLEASE = re.compile(
    r"\b(?:please(?: do)?|bitte(?: schön| sehr)?|por favor|s'il (?:vous|te) plaît|per favore|graag|alstublieft|alsjeblieft)\b"
)
_ASIDE = re.compile(r"\[[^\]]*(?:\]|$)|\([^)]*(?:\)|$)|\*[^*]*(?:\*|$)")
"""What a transcriber notes that is no word: "(coughs)"; the last may still be open."""
ECHOED = 0.8
"""Share of the words that must be the agent's."""

_GOOD = r"(?:nice|good|great|lovely|wonderful)"
_DAY = r"(?:day|morning|afternoon|evening|night|weekend|week|one|time|rest of (?:your|the) (?:day|evening|week))"
_GOODBYES = {
    "en": (
        r"good ?bye|bye(?:bye)?|cheers|take care|ciao|see (?:you|ya)(?: (?:then|soon|later|there|tomorrow))?|"
        r"(?:no )?(?:thanks|thank you)(?: (?:so|very) much| again| a lot)?(?: for (?:your|the|all your) (?:help|time|call))?|"
        rf"(?:you )?have an? (?:very )?{_GOOD} {_DAY}(?: too)?|good (?:night|day|evening)|(?:for )?now|"
        r"(?:to )?you(?: too| as well)|(?:the )?same to you|talk to you (?:soon|later)|that's (?:all|it)|that was (?:all|it)|"
        r"(?:i'll|i will|i can) (?:hold|wait)|sounds good|no (?:problem|worries)|(?:i )?appreciate (?:it|that)|"
        r"(?:that's|that is|that'd be|that would be) (?:fine|great|good|perfect|okay|ok|lovely)"
    ),
    "de": (
        r"tschü(?:ss|ß)i?|tschau|ciao|servus|ade|(?:auf )?wieder(?:hören|sehen|schauen)|gute nacht|alles gute|"
        r"bis (?:dann|bald|später|morgen|(?:nächste|kommende) woche|(?:(?:mon|diens|donners|frei|sams|sonn)tag|mittwoch))|"
        r"(?:nein )?(?:(?:ich )?(?:bedanke mich|danke)|(?:vielen|herzlichen|schönen|besten|recht|tausend) (?:herzlichen )?dank)"
        r"(?: auch| ihnen| dir| schön| sehr| vielmals)*(?: für (?:ihre|die|deine|alles)(?: (?:hilfe|zeit|auskunft|mühe))?)?|"
        r"(?:ich )?(?:wünsche )?(?:ihnen |dir )?(?:auch |noch )*(?:einen )?(?:auch |noch )*schön(?:en|es|e) "
        r"(?:tag|abend|nachmittag|feierabend|wochenende|woche|zeit)(?: noch| auch| ihnen)*|"
        r"(?:ihnen|dir) (?:auch|ebenfalls|ebenso)|ebenfalls|ebenso|gleichfalls|mach's gut|machen sie's gut|"
        r"das (?:war's|wär's|wars|wärs|(?:war|ist|wäre) alles)"
    ),
    "es": (
        r"adi[óo]s|chao|chau|hasta (?:luego|pronto|mañana|la próxima|otro día)|nos vemos|(?:no )?(?:muchas |mil )?gracias"
        r"(?: a usted| a ti)?(?: por (?:todo|(?:su|la|tu) (?:ayuda|tiempo|información|atención)))?|muy amable|"
        r"(?:que )?(?:tenga|tengas|pase|pases)(?: usted)?(?: un| una)? (?:muy )?(?:buen|buena|bonito|feliz|lindo) "
        r"(?:día|tarde|noche|fin de semana|semana)|que (?:le|te) vaya (?:muy )?bien|buen(?:os|as|a)? (?:días?|tardes?|noches?)|"
        r"feliz (?:día|tarde|noche)|buen fin de semana|igualmente|(?:a )?usted también|cu[íi]d[ea](?:se|te)|"
        r"(?:eso|esto) (?:es|era|sería) todo|nada más"
    ),
    "fr": (
        r"au revoir|adieu|à (?:bientôt|plus tard|plus|demain|la prochaine|tout à l'heure)|salut|ciao|"
        r"(?:non )?(?:un )?(?:grand )?merci(?: beaucoup| bien| infiniment| encore| à vous| à toi| aussi)*"
        r"(?: pour (?:tout|(?:votre|l'|ton) ?(?:aide|temps|appel|accueil)))?|je vous remercie|"
        r"(?:je vous souhaite |passez )?(?:une |un )?(?:très )?(?:bonne (?:journée|soirée|nuit|après midi|semaine|continuation|"
        r"fin de (?:journée|semaine))|bon (?:week ?end|après midi))(?: à vous| aussi)*|"
        r"(?:à )?vous aussi|(?:à )?vous de même|de même|pareillement|également|(?:c'est|ce sera|c'était) tout"
    ),
    "it": (
        r"arrivederci|arrivederla|ciao|salve|a (?:presto|domani|dopo|risentirci)|ci (?:vediamo|sentiamo)|"
        r"(?:no )?(?:(?:tante )?grazie(?: mille| tante| molte| infinite| ancora| a lei| a te)*|(?:la|ti) ringrazio(?: molto)?)"
        r"(?: per (?:tutto|l'aiuto|il suo aiuto|la disponibilità|il suo tempo))?|"
        r"(?:le auguro )?(?:una )?buon[ao]? ?"
        r"(?:giornata|serata|notte|pomeriggio|fine settimana|weekend|lavoro|domenica|giorno|sera)|"
        r"(?:anche )?a (?:lei|te)|altrettanto|stia bene|stammi bene|(?:questo |questo è|è) ?tutto|tutto qui"
    ),
    "nl": (
        r"tot (?:ziens|dan|straks|morgen|later|horens|snel|gauw|de volgende keer)|da+g|doeg|doei|doe|"
        r"(?:nee )?(?:(?:heel )?(?:hartelijk |erg )?(?:bedankt|dank u|dank je|dankjewel|dankuwel)(?: wel| zeer)?)"
        r"(?: voor (?:alles|(?:uw|de|je) (?:hulp|tijd|moeite|informatie)))?|"
        r"(?:ik wens u )?(?:nog )?(?:een )?(?:hele )?(?:fijne?|prettige?|goede|mooie) (?:dag|avond|middag|nacht|weekend|week)"
        r"(?: nog| verder| ook)*|goede?navond|goedemiddag|insgelijks|van hetzelfde|hetzelfde|(?:u|jij) ook|"
        r"dat (?:was|is) (?:het|alles)"
    ),
    "pt": (
        r"tchau(?:zinho)?|adeus|até (?:logo|mais|breve|amanhã|já|à próxima|a próxima)|"
        r"(?:não )?(?:muit(?:o|íssimo) )?(?:obrigad(?:o|a|ão)|agradecid[oa]|valeu)"
        r"(?: (?:por tudo|(?:pela|por) (?:sua )?(?:ajuda|atenção|informação)|pelo seu tempo))?|"
        r"(?:tenha |tenham |desejo )?(?:um |uma )?(?:muito )?(?:bom|boa|ótim[oa]|excelente) "
        r"(?:dia|tarde|noite|fim de semana|final de semana|semana)|"
        r"(?:para )?(?:o senhor|a senhora|você|si) também|igualmente|(?:é|era) (?:só isso|tudo|só)|só isso|mais nada"
    ),
}
"""What callers say over the agent's goodbye, besides a listener's words, by language."""
_PARTING = {
    # Atomic: what is said again and again is not taken apart in every other way before it is known to be more than that.
    language: re.compile(rf"(?>(?:{goodbyes}|{_SOUNDS}|{'|'.join(sorted(LISTENERS_WORDS[language]))}) )+")
    for language, goodbyes in _GOODBYES.items()
}


def _words(text: str) -> list[str]:
    said = without_asides(text).lower().replace("m-h", "mh")
    return _WORD.findall(said.replace("-", " ").replace("’", "'"))


def without_asides(text: str) -> str:
    """`text` without what the transcriber notes besides the words."""
    return _ASIDE.sub(" ", text)


def without_please(text: str) -> str:
    """`text` without the politeness of "yes please"."""
    return _PLEASE.sub(" ", text.lower().replace("’", "'"))


def only_listens(text: str, language: str) -> bool:
    """Whether nothing is said in `text` but that somebody listens; also of a text without words."""
    words = LISTENERS_WORDS.get(primary(language), frozenset[str]())
    return all(word in words or _SOUND.fullmatch(word) for word in _words(text))


def only_parts(text: str, language: str) -> bool:
    """Whether nothing is said in `text` but goodbye, thanks, and "yes please"; never in a language that is not known here."""
    words, goodbyes = " ".join(_words(without_please(text))), _PARTING.get(primary(language))
    return goodbyes is not None and bool(goodbyes.fullmatch(f"{words} "))


def parts_in(language: str) -> bool:
    """Whether goodbyes are known in it."""
    return primary(language) in _PARTING


def echoes(text: str, said: str) -> bool:
    """Whether nearly all words of `text` are among those that were `said`: a line that echoes is written down too."""
    heard, known = _WORD.findall(text.lower()), set(_WORD.findall(said.lower()))
    return bool(heard) and sum(word in known for word in heard) >= ECHOED * len(heard)
