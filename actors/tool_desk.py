"""Answers the model's tool calls: what is told to the model, what changes in the dialogue, and what is still to be done. Pure."""

import datetime
from collections.abc import Mapping

import attrs

from actors import details, dialogue
from actors.call_state import TEXTS_A_CALL, TEXTS_AT_MOST
from actors.dialogue import Dialogue, Due, Learned
from actors.messages import Disposition, Errand, RunPython, SendText, ToolCall
from actors.slots import read_back
from actors.story import ASKED_FOR_A_HUMAN, ENDED_THE_CALL
from actors.tools import (
    BadArguments,
    ConfirmDetails,
    EndCall,
    LookUp,
    RunTool,
    SaveDetails,
    SendSms,
    StartOver,
    TransferToHuman,
    understand,
)
from conf.flow import Flow

ERROR_AT_MOST = 2000
"""Characters of what the model is told to mend."""


@attrs.frozen
class Answer:
    """What follows from one tool call. `result` is None while an `errand` has to be waited for."""

    result: Mapping[str, object] | None
    dialogue: Dialogue
    due: tuple[Due, ...] = ()
    errand: Errand | None = None
    leads_to: Disposition | None = None
    why: str = ""
    good: bool = True
    """Whether the arguments were such that something could be done with them."""

    @property
    def worked(self) -> bool:
        """Whether something was done, or is being done."""
        return self.result is None or bool(self.result.get("ok")) or bool(self.result.get("saved"))


@attrs.frozen
class Desk:
    """What an answer depends on besides the call: the flow, the caller's number, how a transfer goes, the time."""

    flow: Flow
    caller: str
    transfer: Disposition
    """DIAL, DIAL_WARM, or VOICEMAIL if there is no human."""
    now: datetime.datetime
    texts: tuple[SendText, ...] = ()
    """What the model has sent since the caller last spoke."""
    texts_sent: int = 0
    """How many it has sent in this call."""

    def answer(self, call: ToolCall, dialogue_now: Dialogue, spoke: bool) -> Answer:
        """`spoke`: whether the reply that made the call had speech too; then no last words need to be asked for."""
        try:
            request = understand(call, self.flow, dialogue_now.at)
            if isinstance(request, EndCall):
                next_ = "" if spoke else "Say goodbye in one short sentence. Call no tool."
                why = f"{ENDED_THE_CALL}{request.reason}".rstrip(": ")
                return Answer(_ok(next_), dialogue_now, leads_to=Disposition.HANG_UP, why=why)
            if isinstance(request, TransferToHuman):
                why = f"{ASKED_FOR_A_HUMAN}{request.reason}".rstrip(": ")
                return Answer(_ok(self.parting(spoke)), dialogue_now, leads_to=self.transfer, why=why)
            if isinstance(request, LookUp):
                return Answer({"ok": True, "fact": self.flow.facts[request.topic]}, dialogue_now)
            if isinstance(request, SendSms):
                to, claim = self._number(request.to, dialogue_now), f"tool.{dialogue_now.turn}.{len(self.texts)}"
                text = SendText(f"tool.{call.call_id}", "sms", to, request.text, claim)
                self._once(text, dialogue_now)
                return Answer(None, dialogue_now, errand=text)
            if isinstance(request, RunTool):
                arguments = attrs.asdict(request.arguments, recurse=False)
                errand = RunPython(f"tool.{call.call_id}", request.tool.name, request.tool, arguments)
                return Answer(None, dialogue_now, errand=errand)
            if isinstance(request, StartOver):
                fresh, due = dialogue.again(dialogue_now, self.flow, self.now)
                return Answer(_ok("Begin again."), fresh, due)
            return self._learn(request, dialogue_now)
        except BadArguments as error:
            return Answer({"ok": False, "error": _short(str(error))}, dialogue_now, good=False)

    def parting(self, spoke: bool) -> str:
        """What the model is to say before the caller is handed over."""
        if self.transfer is Disposition.VOICEMAIL:
            return "There is nobody to connect them with. Say so, and that they can leave a message after the tone."
        return "" if spoke else "Tell the caller in one short sentence that you are connecting them. Call no tool."

    def _number(self, to: str, dialogue_now: Dialogue) -> str:
        """Where a text message goes. Raises BadArguments: never to a number that nobody has confirmed."""
        if to == "caller":
            if not self.caller:
                raise BadArguments("the caller's number is not known: ask for one and have it confirmed @ $.to")
            return self.caller
        held = dialogue_now.held(to)
        if held.status is not dialogue.Status.CONFIRMED:
            raise BadArguments(f"{to} is not confirmed: read it back and have it confirmed first @ $.to")
        return held.text

    def _once(self, text: SendText, dialogue_now: Dialogue) -> None:
        """A model that repeats itself sends nothing twice: the caller has to have said something meanwhile, and even then there
        is an end to it. Raises BadArguments."""
        if self.texts_sent >= TEXTS_A_CALL:
            raise BadArguments("no more text messages can be sent in this call: say so, and offer to tell it instead")
        failed = dialogue_now.outcomes.get(text.name) == "failed"
        the_same = any((sent.to, sent.text) == (text.to, text.text) for sent in self.texts)
        if len(self.texts) >= TEXTS_AT_MOST or (the_same and not failed):
            raise BadArguments("this message was sent already: say so, and do not send it again unless the caller asks")

    def _learn(self, request: SaveDetails | ConfirmDetails, dialogue_now: Dialogue) -> Answer:
        if isinstance(request, ConfirmDetails):
            after, report = details.confirm(dialogue_now, self.flow, request.slots, request.correct, self.now.date())
        else:
            after, report = details.save(
                dialogue_now, self.flow, request.values, self.now, request.confidence, self.caller
            )
            if request.intent:
                after = attrs.evolve(after, intent=request.intent, wish=request.intent)
        result = self.told(after, report)
        if isinstance(request, SaveDetails) and request.left_out:
            result["left_out"] = _short(request.left_out)
        after, due = dialogue.happen(after, Learned(report.corrected), self.flow, self.now)
        named = request.slots if isinstance(request, ConfirmDetails) else request.values
        intent = isinstance(request, SaveDetails) and bool(request.intent)
        good = not report.problems or intent or any(name in self.flow.slots for name in named)
        return Answer(result, after, due, good=good)

    def told(self, after: Dialogue, report: details.Report) -> dict[str, object]:
        """What the model is told of what it saved."""
        saved: dict[str, object] = {}
        for name in report.saved:
            held = after.held(name)
            entry: dict[str, object] = {"status": held.status.value}
            if held.text and held.status is not dialogue.Status.DECLINED:
                entry |= {
                    "value": held.text,
                    "read_back": read_back(self.flow.slots[name].kind, held.text, self.now.date()),
                }
            saved[name] = entry
        result: dict[str, object] = {"ok": not report.problems}
        if saved:
            result["saved"] = saved
        if report.problems:
            result["error"] = _short("; ".join(report.problems))
        return result


def _short(problems: str) -> str:
    """As much of it as helps: it repeats what the model wrote, and a model that has lost its mind writes a lot. What is longer
    than a message may be would end the session, and the next one, which is told the same."""
    return problems if len(problems) <= ERROR_AT_MOST else f"{problems[:ERROR_AT_MOST]} …"


def _ok(next_: str = "") -> dict[str, object]:
    return {"ok": True, "next": next_} if next_ else {"ok": True}
