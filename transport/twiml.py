"""The TwiML documents of the service. Every URL in them is absolute; every document ends the call or leads on."""

import re
from urllib.parse import parse_qs, urlencode, urlsplit

import attrs
from twilio.twiml.voice_response import Conference, Connect, Dial, Gather, Stream, VoiceResponse

TRIES = 3
"""Times a silent or mistaken caller is asked before being handed on."""
REOPEN_AT_MOST = 2
"""Times in a row that a stream which ended without a decision is opened again. Not counted: those that were moved, or lived long
(`store_rules.tries_left_behind`)."""

AGAIN = "again"
"""Marks an address that is asked once more."""
RING_SECONDS = 25
ACCEPT_KEY = "1"
HUMAN = "To speak with a person, press 1."
OTHERS = (
    "To leave a message, press 2. To be called back, press 4. To hear this again, press 3. To end the call, press 9."
)
MENU = f"{HUMAN} {OTHERS}"
WAIT = "Stay on the line to wait for the next free one."
ASK_AGAIN = 20
"""Seconds between two looks for a free line."""
WHY = {
    "": "",
    "trouble": "I am sorry, our assistant is not available just now.",
    "busy": "Thank you for calling. All our lines are busy just now.",
    "still": "All our lines are still busy. Thank you for waiting.",
    "unclear": "Sorry, that could not be used.",
    "noanswer": "I am sorry, nobody could take your call.",
    "wrong": "Sorry, that is not one of the choices.",
    "silent": "Sorry, I did not hear a key.",
}


SAY_AT_MOST = 1500
"""Characters of a summary: a minute and a half of speech, and well below what `<Say>` takes."""
_ASKS_WITHIN = {"<Record": 160.0, "<Gather": 60.0, "<Dial": RING_SECONDS + 15.0, "<Redirect": 10.0}
"""Seconds within which a document with such a verb leads to another question of the carrier's: the longest words, the longest
message, a human who does not answer. Who talks with a human may be asked for later; they need nothing more from us."""
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _sayable(words: str) -> str:
    """`words` without what no XML may have in it, however it is written. A model that writes one JSON escape wrong says it, and
    Twilio would refuse the whole document."""
    return _NOT_XML.sub("", words)


def _room(call_sid: str, *, start: bool) -> Conference:
    """The conference of one call; its name is unique in the account. With either of the two it ends."""
    return Conference(f"triode-{call_sid}", start_conference_on_enter=start, end_conference_on_exit=True, beep="false")


def asks_within(document: str) -> float:
    """Seconds within which the carrier asks what is next for the caller; 0: nothing is, or a stream is opened for them."""
    return next((seconds for verb, seconds in _ASKS_WITHIN.items() if verb in document), 0.0)


@attrs.frozen
class Documents:
    """Writes documents for one public address, and the numbers of the human and of whoever takes what is too much (empty: the
    same; there is none)."""

    public_url: str
    human_number: str
    overflow_number: str = ""

    def stream(self, token: str) -> str:
        """Opens the media stream. `<Connect>` takes no track but the caller's, and no format: neither is said."""
        response = VoiceResponse()
        connect = Connect(action=self._url("/twilio/after"), method="POST")
        stream = Stream(
            url=self._url("/twilio/media").replace("http", "ws", 1),
            status_callback=self._url("/twilio/stream-status"),
            status_callback_method="POST",
        )
        stream.parameter(name="token", value=token)
        connect.append(stream)
        response.append(connect)
        return str(response)

    def menu(self, why: str = "", tries: int = 0, since: int = 0, noted: str = "", *, full: bool = False) -> str:
        """The keypad menu; `why` says what led here, `tries` how often it was heard in vain, `noted` what is known.

        `since`: when the caller began to wait for a line (unix seconds), who need not press anything; 0: they do not.
        `full`: there is no line for them, and none to wait for.
        """
        response = VoiceResponse()
        waiting = {"since": since} if since else {"full": 1} if full else {}
        gather = Gather(
            input="dtmf",
            num_digits=1,
            timeout=ASK_AGAIN if since else 6,
            action=self._url("/twilio/ivr/choice", tries=tries, **waiting),
            method="POST",
        )
        human = self.human_number or (waiting and self.overflow_number)
        parts = (WHY.get(why, ""), noted, WAIT if since else "", MENU if human else OTHERS)
        gather.say(_sayable(" ".join(part for part in parts if part)))
        response.append(gather)
        # Reached only by silence: a Gather that hears nothing falls through without asking its action.
        if since:
            response.redirect(self._url("/twilio/ivr/wait", since=since), method="POST")
        else:
            response.redirect(self._url("/twilio/ivr/menu", why="silent", tries=tries + 1, **waiting), method="POST")
        return str(response)

    def ask(self, words: str, question: str, digits: int, tries: int, *, why: str = "", check: str = "") -> str:
        """A question that is answered with `digits` keys, or (0) with some and the hash key; silence is an answer too.

        `check`: what was typed before, if the question is whether that is right.
        """
        response = VoiceResponse()
        told = {"check": check} if check else {}
        length = {"num_digits": digits} if digits else {"finish_on_key": "#"}
        gather = Gather(
            input="dtmf",
            timeout=8,
            action=self._url("/twilio/ivr/answer", question=question, tries=tries, **told),
            method="POST",
            action_on_empty_result=True,
            **length,
        )
        gather.say(_sayable(f"{WHY.get(why, '')} {words}".strip()))
        response.append(gather)
        return str(response)

    def human(self, call_sid: str = "", *, from_menu: bool = False, overflow: bool = False) -> str:
        """Rings the human; what came of it is told to `/twilio/dialed`. Voicemail if there is none.

        `call_sid`: of a call whose story the human hears before they are joined. `overflow`: of one for which there is no line.
        """
        number = (overflow and self.overflow_number) or self.human_number
        if not number:
            return self.voicemail("noanswer")
        response = VoiceResponse()
        response.say("One moment please.")
        told = {"menu": 1} if from_menu else {}
        dial = Dial(action=self._url("/twilio/dialed", **told), method="POST", timeout=RING_SECONDS)
        brief = {"url": self._url("/twilio/brief", call=call_sid), "method": "POST"} if call_sid else {}
        dial.number(number, **brief)
        response.append(dial)
        return str(response)

    def brief(self, summary: str) -> str:
        """What the human hears before a caller who is transferred cold."""
        response = VoiceResponse()
        response.say(_sayable(summary[:SAY_AT_MOST]))
        return str(response)

    def hold(self, call_sid: str, number: int) -> str:
        """A caller who waits, with music, until the human has accepted: nothing is heard but by those two.

        `number`: which of the transfers of this call it is.
        """
        response = VoiceResponse()
        dial = Dial(action=self._url("/twilio/dialed", warm=number), method="POST")
        dial.append(_room(call_sid, start=False))
        response.append(dial)
        return str(response)

    def offer(self, call_sid: str, number: int, summary: str) -> str:
        """What the human hears in a warm transfer: the summary, and a question that only a key answers."""
        response = VoiceResponse()
        gather = Gather(
            input="dtmf",
            num_digits=1,
            timeout=8,
            action=self._url("/twilio/warm/answer", call=call_sid, n=number),
            method="POST",
        )
        gather.say(f"{_sayable(summary[:SAY_AT_MOST])} To take the call, press {ACCEPT_KEY}. To decline, press 2.")
        response.append(gather)
        response.say("The caller goes back to the assistant. Goodbye.")
        response.hangup()
        return str(response)

    def join(self, call_sid: str) -> str:
        """The human has accepted: they are joined with the caller."""
        response = VoiceResponse()
        dial = Dial()
        dial.append(_room(call_sid, start=True))
        response.append(dial)
        return str(response)

    def voicemail(self, why: str = "") -> str:
        """Takes a message, with a beep, of at most two minutes."""
        response = VoiceResponse()
        response.say(f"{WHY.get(why, '')} Please leave a message after the tone, and press the hash key.".strip())
        response.record(
            action=self._url("/twilio/ivr/recorded"),
            method="POST",
            max_length=120,
            timeout=5,
            finish_on_key="#",
            play_beep=True,
            recording_status_callback=self._url("/twilio/ivr/recording"),
            recording_status_callback_method="POST",
        )
        # Reached only if nothing was recorded.
        response.say("No message was recorded. Goodbye.")
        response.hangup()
        return str(response)

    def goodbye(self, words: str = "") -> str:
        """Ends the call, with `words` first if there are any."""
        response = VoiceResponse()
        if words:
            response.say(words)
        response.hangup()
        return str(response)

    def ask_again(self, url: str) -> str:
        """Leads to `url` once more, marked so that this is done only once; empty if it is not ours or was marked already."""
        ours, query = url.startswith(self._url("/twilio/")), urlsplit(url).query
        if not ours or AGAIN in parse_qs(query):
            return ""
        response = VoiceResponse()
        response.redirect(f"{url}{'&' if query else '?'}{AGAIN}=1", method="POST")
        return str(response)

    def url(self, path: str, **query: object) -> str:
        """The absolute address of a route of ours."""
        return self._url(path, **query)

    def _url(self, path: str, **query: object) -> str:
        return self.public_url.rstrip("/") + path + (f"?{urlencode(query)}" if query else "")
