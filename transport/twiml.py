"""The TwiML documents of the service. Every URL in them is absolute; every document ends the call or leads on."""

from urllib.parse import urlencode

import attrs
from twilio.twiml.voice_response import Connect, Dial, Gather, Stream, VoiceResponse

TRIES = 3
"""Times a silent or mistaken caller is asked before being handed on."""
REOPEN_AT_MOST = 2
"""Times a stream that ended without a decision is opened again."""

HUMAN = "To speak with a person, press 1."
OTHERS = "To leave a message, press 2. To hear this again, press 3. To end the call, press 9."
MENU = f"{HUMAN} {OTHERS}"
WHY = {
    "": "",
    "trouble": "I am sorry, our assistant is not available just now.",
    "busy": "Thank you for calling. All our lines are busy just now.",
    "noanswer": "I am sorry, nobody could take your call.",
    "wrong": "Sorry, that is not one of the choices.",
    "silent": "Sorry, I did not hear a key.",
}


@attrs.frozen
class Documents:
    """Writes documents for one public address and one human's number (empty: there is none)."""

    public_url: str
    human_number: str

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

    def menu(self, why: str = "", tries: int = 0) -> str:
        """The keypad menu; `why` says what led here, `tries` how often it was heard in vain."""
        response = VoiceResponse()
        gather = Gather(
            input="dtmf",
            num_digits=1,
            timeout=6,
            action=self._url("/twilio/ivr/choice", tries=tries),
            method="POST",
        )
        gather.say(f"{WHY.get(why, '')} {MENU if self.human_number else OTHERS}".strip())
        response.append(gather)
        # Reached only by silence: a Gather that hears nothing falls through without asking its action.
        response.redirect(self._url("/twilio/ivr/menu", why="silent", tries=tries + 1), method="POST")
        return str(response)

    def human(self) -> str:
        """Rings the human; what came of it is told to `/twilio/dialed`. Voicemail if there is none."""
        if not self.human_number:
            return self.voicemail("noanswer")
        response = VoiceResponse()
        response.say("One moment please.")
        dial = Dial(action=self._url("/twilio/dialed"), method="POST", timeout=25)
        dial.number(self.human_number)
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

    def choice(self, digit: str, tries: int) -> str:
        """What follows from key `digit` in the menu."""
        if digit in {"1", "0"}:  # 0 was the key for a human on the stream
            return self.human()
        if digit == "2":
            return self.voicemail()
        if digit in {"3", "*"}:
            return self.menu("", tries)
        if digit == "9":
            return self.goodbye("Thank you for calling. Goodbye.")
        return self.again("wrong", tries + 1)

    def again(self, why: str, tries: int) -> str:
        """The menu once more; after three vain tries the caller is handed to a human, or to voicemail."""
        return self.menu(why, tries) if tries < TRIES else self.human()

    def _url(self, path: str, **query: object) -> str:
        return self.public_url.rstrip("/") + path + (f"?{urlencode(query)}" if query else "")
