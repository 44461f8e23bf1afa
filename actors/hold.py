"""Whether a caller asks to wait: "one moment please", "hang on, let me get my card". Pure.

Words are read clause by clause. Each must be a wish to wait, the reason for it, or politeness: whoever says more than that has
said something, and wants an answer.
"""

import re

from actors.slots.languages import primary

WORDS_AT_MOST = 30
"""Who says more than that has more to say."""
_POLITE = (
    r"(?:(?:please|okay|ok|oh|ah|um|uh|er|erm|hmm|hm|yes|yeah|yep|sure|well|so|sorry|right|alright|all right|and|actually|"
    r"just|again|thanks|thank you|for me|there|real quick|quickly|excuse me|i'm sorry|i'm (?:still )?here|still here|hello|"
    r"if you (?:can|could|would|don't mind|wouldn't mind))(?: |$))*"
)
_SPAN = (
    r"(?:a|one|another|one more|just a|just one|half a|two|a few|a couple|a couple of)"
    r"(?: (?:quick|little|short|brief|more))* (?:moment|second|sec|minute|min|tick)s?"
)
_ASK = r"(?:(?:can|could|would|will|do|may) (?:you|i)|i|i'll|i just|you)(?: please| just| mind| kindly)*"
_WAIT = (
    rf"(?:(?:{_ASK} )?(?:hold|hold on|hold up|hang on|hold the line|wait|waiting|holding|stand by|bear with me|stay on the line|"
    rf"stay on|don't hang up)(?: (?:for )?{_SPAN})?"
    rf"|(?:{_ASK} )?(?:(?:give|gimme|have|get|need)(?: me)? )?{_SPAN}"
    r"|(?:i'll |i will |i'm gonna |i'm going to )?be right back)"
)
_VERB = (
    r"(?:check|look|see|think|find|get|grab|fetch|ask|search|pull|dig|open|write|turn|go|put|pick|answer|take|try|remember)"
    r"(?:ing|ting)?"
)
_THING = (
    r"(?: (?!(?:you|your|you're|an|appointment|someone|somebody|anyone|person|human|agent|doctor|straight|back|help)\b)"
    r"(?!a (?!pen|pencil|paper|piece|note|calendar|look)\b)[a-z']+){0,8}"
)
_LET_ME = rf"let me(?: just| quickly)? {_VERB}{_THING}"
_REASON = (
    rf"(?:{_LET_ME}|(?:to|while i|until i|till i|so i can|so that i can|i need to|i have to|i've got to|i gotta|i want to|i'll|"
    rf"i'm|i'm going to|i'm gonna|i'm trying to|i must)(?: just| quickly| still)? {_VERB}{_THING}"
    r"|(?:someone|somebody|there's someone|there's somebody|the dog|the baby|the kids|the bell|"
    r"my other phone)(?:'s)?(?: [a-z']+){0,5})"
)
_LONGING = {"en": re.compile(rf"{_POLITE}(?:{_WAIT}|{_LET_ME})(?: {_POLITE}{_REASON})?(?: {_POLITE})?")}
"""By language: a clause in which somebody asks to wait."""
_BESIDES = {"en": re.compile(rf"{_POLITE}(?:{_REASON})?(?: {_POLITE})?")}
"""What may be said besides."""
_CLAUSES = re.compile(r"[.,;:!?…–—]+|\s-+\s")


def asks_to_wait(text: str, language: str) -> bool:
    """Whether the caller asks to wait in `text`, and nothing else; never in a language that is not known here."""
    language = primary(language)
    if language not in _LONGING or len(text.split()) > WORDS_AT_MOST:
        return False
    clauses = [" ".join(clause.split()) for clause in _CLAUSES.split(text.lower().replace("’", "'"))]
    said = [clause.replace("-", " ") for clause in clauses if clause]
    waits = [bool(_LONGING[language].fullmatch(clause)) for clause in said]
    return any(waits) and all(
        wait or _BESIDES[language].fullmatch(clause) for wait, clause in zip(waits, said, strict=True)
    )
