"""The words by which callers ask to wait, by language; see `hold.py`."""

import attrs


@attrs.frozen
class Wish:
    """Patterns of what somebody says who asks to wait; in lower case, without commas and hyphens."""

    polite: str
    """Words that say nothing, as many as one likes, each with the space after it."""
    wait: str
    """The wish itself."""
    reason: str
    """What for."""


def _wish(polite: str, wait: str, reason: str) -> Wish:
    return Wish(rf"(?:(?:{polite})(?: |$))*", wait, reason)


def _thing(never: str) -> str:
    """What is fetched or looked at: a few words, but none of these, which are of what the agent is to do."""
    return rf"(?: (?!(?:{never})\b)[a-zß-ÿœ']+){{0,8}}"


def _english() -> Wish:
    polite = (
        r"please|okay|ok|oh|ah|um|uh|er|erm|hmm|hm|yes|yeah|yep|sure|well|so|sorry|right|alright|all right|and|actually|"
        r"just|again|thanks|thank you|for me|there|real quick|quickly|excuse me|i'm sorry|i'm (?:still )?here|still here|hello|"
        r"if you (?:can|could|would|don't mind|wouldn't mind)"
    )
    span = (
        r"(?:a|one|another|one more|just a|just one|half a|two|a few|a couple|a couple of)"
        r"(?: (?:quick|little|short|brief|more))* (?:moment|second|sec|minute|min|tick)s?"
    )
    ask = r"(?:(?:can|could|would|will|do|may) (?:you|i)|i|i'll|i just|you)(?: please| just| mind| kindly)*"
    you = r"(?:can|could|would|will|do) you(?: please| just| mind| kindly)*"  # "I'll wait" says that the caller does
    wait = (
        rf"(?:(?:(?:{you} )?(?:hold|hold on|hold up|hang on|hold the line|wait|stand by|bear with me|"
        rf"stay on the line|stay on|don't hang up)|{you} (?:waiting|holding))(?: (?:for )?{span})?"
        rf"|(?:{ask} )?(?:(?:give|gimme|have|get|need)(?: me)? )?{span}"
        r"|(?:i'll |i will |i'm gonna |i'm going to )?be right back)"
    )
    verb = (
        r"(?:check|look|see|think|find|get|grab|fetch|ask|search|pull|dig|open|write|turn|go|put|pick|answer|take|try|remember)"
        r"(?:ing|ting)?"
    )
    thing = (
        r"(?: (?!(?:you|your|you're|an|appointment|someone|somebody|anyone|person|human|agent|doctor|straight|back|help)\b)"
        r"(?!a (?!pen|pencil|paper|piece|note|calendar|look)\b)[a-z']+){0,8}"
    )
    let_me = rf"let me(?: just| quickly)? {verb}{thing}"
    reason = (
        rf"{let_me}|(?:to|while i|until i|till i|so i can|so that i can|i need to|i have to|i've got to|i gotta|i want to|i'll|"
        rf"i'm|i'm going to|i'm gonna|i'm trying to|i must)(?: just| quickly| still)? {verb}{thing}"
        r"|(?:someone|somebody|there's someone|there's somebody|the dog|the baby|the kids|the bell|"
        r"my other phone)(?:'s)?(?: [a-z']+){0,5}"
    )
    return _wish(polite, f"{wait}|{let_me}", reason)


def _german() -> Wish:
    polite = (
        r"bitte|danke|ja|okay|ok|oh|ah|äh|ähm|h+m+|so|also|gut|sorry|und|mal|kurz|noch|eben|gerade|nur|hallo|entschuldigung|"
        r"entschuldigen sie|verzeihung|tut mir leid|ich bin (?:noch )?(?:da|dran)|wenn es geht|wenn sie (?:können|so nett wären)"
    )
    span = (
        r"(?:(?:noch|nur|bitte) )*(?:(?:(?:einen?|'?nen?|zwei|drei|paar|ein paar|halbe) )?(?:kleinen |kurzen |kleine )?)"
        r"(?:moment|momentchen|augenblick|sekunden?|sekündchen|minuten?|minütchen)"
    )
    soon = r"(?: (?:mal|bitte|kurz|eben|noch|doch|auf mich))*"
    wait = (
        rf"(?:(?:können|könnten|würden) sie|kannst du|könntest du)(?: {span}|{soon})*"
        r" (?:warten|dranbleiben|in der leitung bleiben|dran bleiben)"
        rf"|warten? ?(?:sie)?{soon}(?: {span})?|bleib(?:en sie)?{soon} (?:dran|am apparat|in der leitung)"
        r"|nicht auflegen|legen sie (?:bitte )?nicht auf"
        rf"|(?:geben sie mir|gib mir|ich (?:brauche?|bräuchte)|haben sie){soon} {span}(?: zeit| geduld)?|{span}(?: mal)?"
        r"|(?:ich )?bin (?:gleich|sofort) (?:wieder )?(?:da|zurück|bei ihnen)"
    )
    verb = (
        r"(?:nach)?(?:sehen|schauen|gucken)|suchen|holen|überlegen|(?:nach)?fragen|nachdenken|finden|aufschreiben|aufmachen|"
        r"notieren|rausholen|heraussuchen|raussuchen|öffnen"
    )
    thing = _thing(
        "sie|ihnen|ihre[nmrs]?|termin|arzt|ärztin|zahnarzt|jemand|jemanden|mitarbeiter|mensch|hilfe|zurück|mit"
    )
    let_me = rf"(?:lassen sie|lass) mich{thing} (?:{verb})"
    reason = (
        rf"{let_me}|(?:bis |während |damit )?ich (?:muss|will|möchte|werde|gehe)?{thing} (?:{verb})(?: (?:muss|will|kann))?"
        rf"|ich (?:schaue?|gucke?|sehe|hole?|suche?|frage?|überlege?)(?: (?:mal|kurz|eben|schnell|nur|gerade))+{thing}"
        r"|(?:es (?:hat )?(?:gerade )?(?:klingelt|geklingelt)|da ist (?:jemand|wer)|jemand ist)(?: [a-zß-ÿ]+){0,4}"
    )
    return _wish(polite, f"{wait}|{let_me}", reason)


def _spanish() -> Wish:
    polite = (
        r"por favor|gracias|s[íi]|okay|ok|vale|bueno|bien|ah|oh|eh|em|este|pues|a ver|perd[óo]n|perdone|perdona|disculp[ea]|"
        r"lo siento|claro|y|solo|sólo|nada más|hola|sigo aquí|estoy aquí|aquí estoy|si (?:puede|es posible|no le importa)"
    )
    span = (
        r"(?:(?:un|una|otr[oa]|dos|medio|un par de|unos|(?:solo|sólo|nada más) una?) )"
        r"(?:momentit?[oi]c?o?|moment[oi]c?o?|segund(?:it)?os?|minut(?:it)?os?|instante|rat(?:it)?o)(?: más)?"
    )
    wait = (
        r"(?:(?:me )?(?:puede|podría|puedes|podrías) )?(?:esper(?:ar|arme|e|a|en|ad)|esp[ée]r[ae]me|aguard(?:ar|e|a)|aguárdeme|"
        rf"no (?:cuelgue|cuelgues|se retire)|manténgase en (?:la )?línea)(?: {span})?"
        rf"|(?:(?:puede |podría )?(?:d[ée]me|dame|darme|me da|me das)|necesito|regáleme|permítame) {span}|{span}"
        r"|(?:ya|ahora|enseguida|ahorita)(?: mismo)? (?:vuelvo|regreso)|(?:vuelvo|regreso) (?:ahora|enseguida|en seguida)"
    )
    verb = (
        r"(?:ver|mirar|buscar|revisar|comprobar|consultar|pensar|preguntar|coger|tomar|agarrar|sacar|encontrar|anotar|abrir|"
        r"checar|chequear|traer|vea|mire|busque|revise|piense|pregunte|encuentre|encuentro|busco|miro|pregunto|buscando|mirando)"
    )
    thing = _thing("usted|ustedes|cita|citas|alguien|persona|médico|doctora?|dentista|agente|ayuda|su|sus|con")
    let_me = rf"(?:d[ée]j[ea]me|permítame|permíteme|deje|deja)(?: que)?(?: lo| la| le)? {verb}{thing}"
    reason = (
        rf"{let_me}|(?:que |porque |mientras |hasta que |para )?"
        rf"(?:(?:lo|la|voy a|tengo que|necesito|debo|estoy|quiero) )?{verb}{thing}"
        r"|(?:es )?(?:que )?(?:est[áa]n? )?(?:llaman|llamando|tocan|tocando) (?:a la|al|la|el) (?:puerta|timbre)"
    )
    return _wish(polite, f"{wait}|{let_me}", reason)


def _french() -> Wish:
    polite = (
        r"s'il (?:vous|te) pla[îi]t|merci|oui|ouais|d'accord|okay|ok|ah|oh|euh|h+u?m+|bon|bien|alors|pardon|excuse[zs]? moi|"
        r"(?:je suis )?désolée?|et|juste|encore|allô|(?:je suis )?toujours là|je suis là|"
        r"si (?:possible|vous pouvez|ça ne vous dérange pas)"
    )
    span = r"(?:(?:encore|juste) )*(?:une?|deux|quelques)(?: petite?)* (?:moments?|instants?|secondes?|minutes?)"
    wait = (
        r"(?:(?:(?:est ce que )?(?:vous pouvez|tu peux)|pouvez vous|pourriez vous|peux tu|veuillez)(?: juste| bien)* )?"
        r"(?:patienter|attendre|attendez(?: moi)?|attends(?: moi)?|patientez|(?:ne )?quittez pas|(?:ne )?raccrochez pas|"
        rf"rest(?:ez|er) en ligne)(?: {span})?"
        rf"|(?:(?:donnez|donne|laissez|laisse|accordez) moi |il me faut |j'ai besoin d'|je prends ){span}|{span}"
        r"|je reviens(?: tout de suite| de suite)?"
    )
    verb = (
        r"(?:regarder|vérifier|voir|chercher|prendre|trouver|retrouver|demander|réfléchir|noter|consulter|ouvrir|"
        r"regarde|vérifie|cherche|trouve|retrouve|prends|prenne|demande|réfléchis|note)"
    )
    thing = _thing("vous|votre|vos|rendez|quelqu'un|personne|médecin|docteur|dentiste|conseiller|aide|avec")
    let_me = rf"(?:laissez|laisse) moi(?: juste| vite)* {verb}{thing}"
    reason = (
        rf"{let_me}|(?:le temps (?:que je|de)|pendant que je|que je|je|pour|je (?:dois|vais)|il faut que je)"
        rf"(?: juste| vite| la| le| les)* {verb}{thing}|(?:on|ça) (?:sonne|frappe)(?: à (?:la|ma) porte)?"
    )
    return _wish(polite, f"{wait}|{let_me}", reason)


def _italian() -> Wish:
    polite = (
        r"per (?:favore|cortesia|piacere)|grazie|prego|s[ìi]|okay|ok|va bene|ah|oh|eh|ehm|beh|allora|ecco|dunque|bene|"
        r"(?:mi )?scus[ia]|mi dispiace|e|solo|ancora|pronto|(?:ci )?sono (?:ancora )?qui|ci sono|"
        r"se (?:può|è possibile|non le dispiace)"
    )
    span = (
        r"(?:(?:ancora|solo) )*(?:(?:una?|due|qualche|un altro) )?"
        r"(?:moment[oi]|momentino|attim[oi]|attimino|second[oi]|secondino|minut[oi]|minutino|istante)(?: solo| ancora)?"
    )
    wait = (
        r"(?:(?:mi )?(?:può|potrebbe|puoi|potresti) )?(?:mi )?(?:aspettare|aspettarmi|attendere|aspett[iao]|aspettami|aspettate|"
        r"attend[ai]|(?:rest[ia]|rimanga|rimani|restare|rimanere) in linea|"
        rf"non (?:riattacchi|riagganci|attacchi|metta giù|riattaccare))(?: {span})?"
        rf"|(?:mi (?:dia|dà|serve|conceda)|dammi|ho bisogno di|(?:può|puoi) darmi) {span}|{span}|(?:torno|arrivo) subito"
    )
    verb = (
        r"(?:vedere|guardare|controllare|cercare|prendere|trovare|pensare|chiedere|verificare|scrivere|recuperare|aprire|"
        r"vedo|guardo|controllo|cerco|prendo|trovo|chiedo|verifico|guardando|cercando|controllando)"
    )
    thing = _thing("lei|appuntamento|qualcuno|persona|medico|dottore|dottoressa|dentista|operatore|aiuto|suo|sua|con")
    let_me = rf"(?:mi lasci|mi faccia|fammi|lasciami|mi permetta di)(?: solo)? {verb}{thing}"
    reason = (
        rf"{let_me}|(?:(?:che|mentre|finché|così) )?(?:(?:devo|vado a|sto|per|voglio|lo|la) )?{verb}{thing}"
        r"|(?:stanno )?(?:suonano|suonando|bussano|bussando)(?: alla porta| il campanello)?"
    )
    return _wish(polite, f"{wait}|{let_me}", reason)


def _dutch() -> Wish:
    polite = (
        r"alsjeblieft|alstublieft|graag|bedankt|dank (?:u|je)(?: wel)?|ja|ok[ée]|okay|ok|oh|ah|eh|uhm?|goed|nou|dus|sorry|pardon|"
        r"en|even|eventjes|nog|hoor|hallo|excuseer(?: me)?|ik ben (?:er nog|hier nog)|als (?:dat kan|u wilt)"
    )
    span = (
        r"(?:(?:nog|heel|maar) )*(?:(?:een|[eé]én|een paar|twee) )?(?:klein )?"
        r"(?:ogenblik(?:je)?|moment(?:je)?|second(?:e|es|en)|secondje|minuut|minuutje|minuten|tel|tellen)"
    )
    soon = r"(?: (?:even|eventjes|eens|misschien|heel|nog|alstublieft|alsjeblieft|op mij))*"
    wait = (
        rf"(?:(?:kunt|kan|wilt|zou) u|(?:kun|kan|wil|zou) je){soon}(?: {span})? (?:wachten|blijven hangen|aan de lijn blijven)"
        rf"|wacht(?: u)?{soon}(?: {span})?|blijf{soon} (?:hangen|aan de lijn)|niet ophangen|hang niet op"
        rf"|(?:geef me{soon}|geeft u mij{soon}|mag ik{soon}) {span}|(?:ik heb )?{span}(?: nodig| geduld)?"
        r"|(?:ik ben )?(?:zo|meteen|direct|dadelijk) (?:weer )?terug"
    )
    verb = r"(?:na)?kijken|(?:op)?zoeken|pakken|vragen|(?:na)?denken|vinden|opschrijven|noteren|halen|checken|opendoen"
    thing = _thing("u|uw|jullie|afspraak|iemand|persoon|dokter|arts|tandarts|medewerker|hulp|met")
    let_me = rf"laat (?:me|mij){thing} (?:{verb})|even (?:{verb})"
    reason = (
        rf"{let_me}|(?:terwijl |tot |dan )?(?:ik )?(?:(?:moet|ga|wil|zal|kan)(?: ik)?)?{thing} (?:{verb})"
        rf"|(?:dan )?(?:ik )?(?:kijk|zoek|pak|vraag)(?: ik)?(?: even){thing}"
        r"|er (?:staat|is) iemand (?:aan|bij) de deur|de bel gaat|er wordt (?:gebeld|aangebeld)"
    )
    return _wish(polite, f"{wait}|{let_me}", reason)


def _portuguese() -> Wish:
    polite = (
        r"por favor|(?:se )?faz favor|obrigad[oa]|sim|tá|está bem|okay|ok|ah|oh|é|eh|hum|bom|bem|então|desculp[ea]|perdão|"
        r"com licença|e|só|ainda|alô|olá|(?:ainda )?estou aqui|se (?:puder|for possível|não se importa)"
    )
    span = (
        r"(?:(?:só|mais) )*(?:uma?|dois|duas|uns|meio)(?: pequeno)? "
        r"(?:moment(?:o|inho)|instant(?:e|inho)|segund(?:os?|inho)|minut(?:os?|inho)|pouco|pouquinho|bocadinho)"
    )
    wait = (
        r"(?:(?:você )?(?:pode|poderia|podia|consegue) )?(?:me )?(?:esper(?:ar|e|a)(?: aí)?|aguard(?:ar|e|a)(?: aí)?|"
        rf"per[aá]í|pera(?: aí)?|aguent[ae] aí|não deslig(?:ue|a)|fi(?:que|ca) na linha)(?: {span})?"
        rf"|(?:me d[áêe]|d[áêe] me|preciso de|pode me dar) {span}|{span}|(?:já volto|volto já|já venho)"
    )
    verb = (
        r"(?:ver|olhar|procurar|verificar|pegar|buscar|pensar|perguntar|achar|encontrar|anotar|checar|confirmar|abrir|"
        r"vejo|procuro|verifico|pego|acho|encontro|pergunto|procurando|verificando|vendo|olhando)"
    )
    thing = _thing("senhora?|você|vocês|consulta|alguém|pessoa|médic[oa]|doutora?|dentista|atendente|ajuda|seu|sua|com")
    let_me = rf"(?:deix[ae](?: me| eu)?|me deix[ae])(?: só)? {verb}{thing}"
    reason = (
        rf"{let_me}|(?:que |enquanto |até |para )?(?:eu )?"
        rf"(?:(?:vou|tenho que|tenho de|preciso|estou|quero)(?: a| só)? )?{verb}{thing}"
        r"|(?:estão |tão )?(?:tocando|batendo|tocaram|bateram)(?: a| à| na)? (?:campainha|porta)"
    )
    return _wish(polite, f"{wait}|{let_me}", reason)


WISHES = {
    "en": _english(),
    "de": _german(),
    "es": _spanish(),
    "fr": _french(),
    "it": _italian(),
    "nl": _dutch(),
    "pt": _portuguese(),
}
"""By language."""
