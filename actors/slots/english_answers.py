"""English answers, refusals and courtesies."""

import re

from actors.slots.english_lists import lines, words
from actors.slots.tokens import Phrases

_REFUSALS = r"""
  (?:no\ |nope\ |none\ |n\ a\ |sorry\ |well\ |um\ |uh\ |actually\ |honestly\ |oh\ )*
  (?:
    (?:i'd|i\ would|i'll|i)\ (?:really\ )?(?:rather|prefer)\ not(?:\ to)?(?:\ (?:say|tell|give|share|answer)\b.*)?
  | (?:rather|prefer)\ not(?:\ to)?(?:\ say)?
  | (?:i'm\ |i\ am\ )?not\ (?:going\ to|gonna|willing\ to|comfortable)\ (?:say|tell|give|giv|shar|answer|with|tell).*
  | (?:i\ )?(?:do\ not|don't)\ (?:want|wanna|like|wish)\ (?:to\ )?(?:say|give|tell|share|answer|leave|provide|that).*
  | (?:i\ )?(?:will\ not|won't)\ (?:say|give|tell|share|answer|provide).*
  | no\ (?:thanks|thank\ you|e\ ?mail|email\ address|phone|phone\ number|comment)
  | (?:i'm\ |i\ am\ )?not\ telling(?:\ you)?(?:\ (?:that|it))?
  | (?:just\ |please\ |can\ (?:you|we)\ )*leave\ (?:it|that|this)(?:\ one)?\ (?:out|blank|empty|open)
  | (?:(?:can|could|may)\ (?:we|i)\ |let's\ |let\ us\ |please\ |just\ |i'll\ |i'd\ like\ to\ |i\ want\ to\ )*
      skip(?:\ (?:it|that|this|that\ one|this\ one|the\ question))?
  | (?:i'll\ )?pass | next\ question | (?:that's\ |that\ is\ |it's\ )?none\ of\ your\ business
  | (?:that's\ |that\ is\ |it's\ )(?:private|confidential)
  | (?:why\ do\ you\ need\ (?:that|it)\ )?i'm\ not\ telling\ you(?:\ that)?
  | (?:the\ )?(?:caller\ |customer\ |user\ |they\ |he\ |she\ )?(?:has\ |have\ )?(?:declined|declines|refused|refuses)
      (?:\ to\ (?:say|give|tell|share|answer|provide)\b.*)?
  | (?:the\ )?(?:caller|customer|user|they|he|she)\ (?:does\ not|doesn't|don't|do\ not|did\ not|didn't)\ want\ to\b.*
  | (?:(?:the\ )?(?:caller|customer|user|they|he|she)\ )?prefers?\ not\ to\b.*
  )
  (?:\ (?:please|thanks|thank\ you|sorry|now|right\ now|if\ that's\ okay|if\ you\ don't\ mind))*
"""
_DISMISSALS = r"""
  (?:no\ |nope\ |sorry\ |well\ |um\ |uh\ |actually\ |oh\ |ah\ |okay\ |ok\ |then\ |you\ know\ what\ |just\ |please\ |let's\ )*
  (?: never\ ?mind | forget | don't\ (?:worry|bother) | do\ not\ (?:worry|bother) )
  (?:\ about | \ with)? (?:\ (?:it|that|this|that\ one|this\ one))? (?:\ then|\ please|\ thanks|\ thank\ you|\ sorry)*
"""
_LACKS = r"""
  (?:no\ |nope\ |none\ |n\ a\ |sorry\ |well\ |um\ |uh\ |actually\ |honestly\ |oh\ |i'm\ afraid\ |afraid\ )*
  (?: (?: (?:i|we)\ (?:do\ not|don't)\ (?:have|use|own|got) | don't\ (?:have|use|own) | (?:i\ |we\ )?haven't\ got
      | (?:i\ |we\ )?ain't\ got | there\ (?:isn't|is\ not|ain't) )
      \ (?: (?P<count>any(?:\ of\ (?:those|them|that))?)
        | one | an?\ (?:e\ ?mail|phone|number|mobile|cell)(?:\ \w+)? | e\ ?mail )
  | i\ haven't\ got\ an?\ \w+ | private | confidential
  | (?:i'|i\ ha|we'|we\ ha)ve\ (?:got\ )?no\ (?:e\ ?mail|phone|number)(?:\ \w+)?
  | (?P<none>(?: i(?:'ve|\ have)?(?:\ got)? | we(?:'ve|\ have)(?:\ got)? | got | there\ is | there's )
      \ none(?:\ of\ (?:those|them|that))?)
  )
  (?:\ (?:please|thanks|thank\ you|sorry|now|right\ now|at\ the\ moment|to\ give|i'm\ afraid))*
"""
_REPORTED = (
    r"provided|given|known|specified|mentioned|stated|said|supplied|stored|disclosed|asked|shared|heard|available"
)
_DETAILS = (
    r"(?:(?:first|last|full|caller|customer)\ )?(?:name|e-?\ ?mail|address|phone|number|date|time|day|value|data|answer"
    r"|info|information|response|input)(?:\ (?:address|number))?"
)
_UNSAID = rf"""
  (?:\W|_)+
  | [\s"'`(\[{{<*_]*
    (?: null | undefined | (?-i:NaN|nan|NAN) | unspecified | placeholder | (?:to\ be\ determined|tbd)
    | (?:{_DETAILS}\ (?:was\ |is\ )?)?not\ (?:yet\ )?(?:provided|given|specified|mentioned|stated|said|supplied)
      (?:\ yet)?(?:\ by\ (?:the\ )?(?:caller|customer|user))?
    | (?:none|no|no\ {_DETAILS})\ (?:was\ |yet\ )?(?:{_REPORTED})
    | (?:the\ )?(?:caller|customer|user)\ (?:(?:has|did)\ not|(?:has|did)n't)\ (?:yet\ )?
      (?:say|said|give|given|provide|provided|mention|mentioned|specify|specified|state|stated)\b.*
    )
    [\s"'`)\]}}>*_.,;!?]*
"""
_PLACEHOLDERS = rf"""
  {_UNSAID}
  | [\s"'`(\[{{<*_]*
    (?: none(?:\ (?:yet|so\ far))? | n\s?/\s?[ak] | n\.\ ?a\.? | (?-i:NA|na) | nil | tbc | blank | empty | missing
    | skipped | omitted | anonymous | withheld | undisclosed | unavailable | left\ (?:blank|empty) | leave\ (?:blank|empty)
    | (?:unknown\ )?(?:{_DETAILS}|caller) (?:\ is|\ was)?\ unknown | unknown(?:\ (?:{_DETAILS}|caller))?
    | no\ (?:value|data|answer|info|information|response|input)
    | (?:(?:does|did)\ not|(?:does|did)n't)\ apply
    | (?:{_DETAILS}\ (?:was\ |is\ )?)?not\ (?:yet\ )?(?:applicable|{_REPORTED})(?:\ yet)?
    )
    [\s"'`)\]}}>*_.,;!?]*
"""
_FIRM = r"it's|its|it\ is|that's|that\ is|thats|that\ would\ be|i\ said|i\ meant|i\ mean|should\ be|it\ should\ be"
_LOOSE = r"no|nope|nah|sorry|actually|wait|hang\ on|hold\ on|okay|ok|alright|well" + (
    r"|yes|yeah|yep|sure|um+|uh+|erm?|hmm|hello|hi|oops"
)
_OPENING = rf"""
  [\s,.;!?]*
  (?: (?:{_FIRM}) (?=[\s,]) [\s,]*
  | (?:{_LOOSE}) (?: [,.;!?…]+\s+ [\s,.;!?…-]* | \s+-+\s+ | \s+ (?=(?:oh\ )?(?:{_LOOSE}|{_FIRM}|the|my)[\s,]) )
  | oh [\s,]+ (?=(?:{_LOOSE}|{_FIRM})[\s,])
  )+
"""
_CLOSING = r"""
  (?<![\s,.;!?…-])
  (?: [\s,.;!?…-]+ (?: please | thanks(?:\ a\ lot|\ so\ much)? | thank\ you(?:\ very\ much|\ so\ much)?
    | that's\ (?:it|all) | that\ is\ (?:it|all) | if\ (?:you\ don't\ mind|that's\ okay) | cheers )
  | [,.;!?…]+\s* (?: okay|ok|right|alright|yeah )
  | \s+ (?: okay|ok|right|alright ) (?=[\s]*\?)
  )+ [\s,.;!?…]*$
"""
_YES = """yes|yep|yup|yeah|yea|ya|yah|aye|sure|sure thing|certainly|absolutely|definitely|of course|exactly|precisely
 |correct|right|that's right|that is right|that's correct|that is correct|all right|alright|okay|ok|indeed
 |affirmative|uh huh|mhm|mm hmm|i do|i am|i would|i will|it is|we do|we are|you got it|you bet|i think so
 |i guess so|i believe so|i suppose so|please do|go ahead|sounds good|that works|that's fine|that is fine|fine
 |perfect|true|that's true|why not|no problem|not a problem|no worries|by all means|that's it|spot on|totally
 |good|great|that's the one|you're right|you are right|no doubt|without a doubt|no question|you're correct|you are correct
 |no question about it|do it|that'll do|that will do|i'm afraid so|works for me|that does work|i can|i'd love to
 |that's what i said|i want that
 |i'd like that|that would be lovely|that would be wonderful
 |that's all right|that is true|it's right|it is right|it's correct|it is correct"""
_NO = """no|nope|nah|naw|nay|no way|no thanks|no thank you|not really|not quite|not at all|not exactly|not yet|never
 |i don't think so|i don't believe so|i do not think so|don't think so|i'm afraid not|afraid not|i don't|i do not
 |i'm not|i am not
 |it's not|it isn't|it is not|we don't|wrong|that's wrong|that is wrong|incorrect|that's incorrect|false
 |that's false|negative|i'd rather not|i would rather not|rather not|of course not|certainly not|absolutely not
 |definitely not|i wouldn't|i won't|please don't|uh uh|nuh uh|that's not it|not that i know of|i doubt it|not me
 |not now|don't|no good|that's no good|i can't|i cannot|i guess not|i suppose not|not a chance|not today
 |doesn't work for me|that doesn't work|it doesn't work|that's not what i said|i don't want that|not quite right
 |unfortunately not|that won't be necessary|not necessary|that's not necessary|not for me|not this time
 |you got it wrong|you've got it wrong|you got that wrong"""


def _answers() -> dict[str, bool]:
    yes = {phrase.strip(): True for phrase in _YES.replace("\n", "").split("|")}
    return yes | {phrase.strip(): False for phrase in _NO.replace("\n", "").split("|")}


OPENING: re.Pattern[str] = re.compile(_OPENING, re.VERBOSE | re.IGNORECASE)
CLOSING: re.Pattern[str] = re.compile(_CLOSING, re.VERBOSE | re.IGNORECASE)
PLACEHOLDERS: re.Pattern[str] = re.compile(_PLACEHOLDERS, re.VERBOSE | re.IGNORECASE)
REFUSALS: re.Pattern[str] = re.compile(_REFUSALS, re.VERBOSE)
DISMISSALS: re.Pattern[str] = re.compile(_DISMISSALS, re.VERBOSE)
LACKS: re.Pattern[str] = re.compile(_LACKS, re.VERBOSE)
UNSAID: re.Pattern[str] = re.compile(_UNSAID, re.VERBOSE | re.IGNORECASE)
INSTEAD: re.Pattern[str] = re.compile(r"\b(?:not|instead of|rather than)\b")
AGREEMENT: Phrases[bool] = Phrases(_answers())
JUDGEMENTS: frozenset[str] = words("right correct wrong incorrect true false")
DOUBTS: Phrases[bool] = Phrases.of(
    ["i don't think", "i do not think", "don't think", "i don't believe", "i do not believe"]
)
OPEN_ANSWERS: Phrases[bool] = Phrases.of(
    lines("""i'm good
        i am good
        i'm fine
        i am fine
        i'm okay
        we're good
        we're fine
        i'm not sure
        i am not sure
        not sure
        i'm not certain
        not certain
        i can't say
        can't say
        cannot say""")
)
NEGATION: frozenset[str] = words("not isn't don't doesn't ain't never can't won't wasn't aren't didn't")
HEDGES: frozenset[str] = words(
    """but if maybe perhaps unless depends sometimes except either neither possibly probably sort kind unsure know
    idea mind understand almost nearly partly"""
)
