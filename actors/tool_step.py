"""What the model asks for: tool calls and their answers, errands that take their time, and details that it forgot to save.

Pure; a layer of the machine in `fsm.py`.
"""

from collections.abc import Mapping

import attrs

from actors import details, dialogue
from actors.call_state import (
    BAD_CALLS_AT_MOST,
    ERRAND_PATIENCE,
    EXTRACT,
    EXTRACT_TRIES,
    ROUNDS_AT_MOST,
    AskModel,
    Batch,
    Link,
    Note,
    Phase,
    ReportQuiet,
    Result,
    Results,
    SetTimer,
    State,
    StopTimer,
    TellModel,
)
from actors.dialogue import Due, Outcome
from actors.farewell import farewell_timer, go, tools_at_farewell
from actors.flow_step import FlowStep
from actors.messages import (
    AnswerTools,
    CallerSaid,
    Disposition,
    ErrandDone,
    Extract,
    Extracted,
    Floor,
    RunPython,
    SendText,
    ToolResult,
    ToolsCalled,
)
from actors.tool_desk import Answer
from actors.tools import BadArguments
from actors.tools import details as told_details


@attrs.frozen
class ToolStep(FlowStep):
    """One step of the call, as far as the model's wishes are concerned."""

    # ------------------------------------------------------------ tools

    def tools(self, state: State, event: ToolsCalled) -> Result:
        """Every call of the reply gets its answer; the first that ends the conversation decides, a human before a goodbye."""
        before, was_talking = state.dialogue, state.phase is Phase.TALKING
        answers: list[Answer] = []
        due: list[Due] = []
        now = before
        state = self.counted(state)
        _, rounds = state.rounds
        for call in event.calls:
            answer = self.desk(state).answer(call, now, event.spoke)
            now = answer.dialogue
            due += answer.due
            answers.append(answer)
            if isinstance(answer.errand, SendText):
                turn, texts = state.texts
                sent = (*(texts if turn == before.turn else ()), answer.errand)
                state = attrs.evolve(state, texts=(before.turn, sent), texts_sent=state.texts_sent + 1)
        # Values that cannot be read are the caller's; who sends them again without having asked has not understood.
        useful = any(answer.good and (rounds == 1 or answer.worked) for answer in answers)
        bad = 0 if useful else state.bad_calls + 1
        saved = before.turn if now.slots != before.slots or now.wish != before.wish else state.saved_turn
        state = attrs.evolve(state, dialogue=now, bad_calls=bad, saved_turn=saved, replied_turn=before.turn)
        state, effects = self.moved(state, tuple(due), asked=was_talking, since=before)
        endings = [answer for answer in answers if answer.leads_to is not None]
        chosen = min(endings, key=lambda answer: answer.leads_to is Disposition.HANG_UP, default=None)
        results = tuple((c.call_id, answer.result) for c, answer in zip(event.calls, answers, strict=True))
        errands = [answer.errand for answer in answers if answer.errand is not None]
        if was_talking and state.phase is Phase.FAREWELL:  # the flow itself decided to leave, on what was saved
            return state, (*errands, *effects, _answers(results, then_reply=True))
        if state.phase is Phase.FAREWELL:
            going, why = (chosen.leads_to, chosen.why) if chosen else (None, "")
            after, leaving = tools_at_farewell(state, event.spoke, _answers(results, then_reply=False), going, why)
            return after, (*errands, *effects, *leaving)
        if chosen is not None:
            # Who said that they are connecting and cannot must say so.
            said = event.spoke and chosen.leads_to is not Disposition.VOICEMAIL
            leaving = attrs.evolve(
                state,
                phase=Phase.FAREWELL,
                going=chosen.leads_to,
                why=chosen.why,
                last_words_asked=not said,
                late=state.late | {errand.key for errand in errands},
            )
            answered = _answers(results, then_reply=not said)
            quiet = (ReportQuiet(),) if said else ()
            return leaving, (*errands, *effects, answered, farewell_timer(), *quiet)
        if bad >= BAD_CALLS_AT_MOST or rounds > ROUNDS_AT_MOST:
            answered = _answers(results, then_reply=False)
            why = f"{bad} replies in a row with tool calls that could not be used"
            if bad < BAD_CALLS_AT_MOST:
                why = f"{rounds} replies with tool calls to one turn of the caller"
            after, leaving = go(state, Disposition.IVR, why, Floor.FLOW, "apology")
            promised = [effect for effect in effects if isinstance(effect, SendText | RunPython)]
            return after, (*promised, answered, Note(why), *leaving)
        if errands:
            number = state.batch + 1
            waiting_for = {a.errand.key: index for index, a in enumerate(answers) if a.errand is not None}
            batch = Batch(results, waiting_for)
            waiting = attrs.evolve(state, batch=number, batches={**state.batches, number: batch})
            return waiting, (*errands, *effects, SetTimer(f"errands {number}", ERRAND_PATIENCE))
        return state, (*effects, _answers(results, then_reply=True))

    def counted(self, state: State) -> State:
        """One more reply with tool calls to the caller's present turn."""
        turn, rounds = state.rounds
        now = state.dialogue.turn
        return attrs.evolve(state, rounds=(now, rounds + 1 if turn == now else 1))

    def errand_done(self, state: State, event: ErrandDone) -> Result:
        """An errand came back: the model waits for it, or did not wait any more, or it was the flow's own."""
        for number, batch in state.batches.items():
            if event.key in batch.waiting:
                results = _with_result(batch.results, batch.waiting[event.key], _of_errand(event))
                rest = {key: index for key, index in batch.waiting.items() if key != event.key}
                return self.batch(self.noted(state, event), number, Batch(results, rest))
        if event.key in state.late:
            state = attrs.evolve(self.noted(state, event), late=state.late - {event.key})
            outcome = f"{event.name}, which took longer: {_late_outcome(event)}"
            promised = state.going is Disposition.HANG_UP and event.name == "sms" and event.outcome != "done"
            if promised and state.link is not Link.LOST:
                # They are being let go with a promise that does not hold: let them hear that before.
                told = TellModel(f"[{outcome}. Say that, in one short sentence. Call no tool.]", once=True)
                return attrs.evolve(state, last_words_asked=True), (told, AskModel())
            told = TellModel(f"[{outcome}]")
            return state, (told, AskModel()) if state.phase is Phase.TALKING else (told,)
        if event.key.startswith("tool."):
            return self.noted(state, event), ()
        before = state.dialogue
        after, due = dialogue.happen(before, Outcome(event.name, event.outcome), self.flow, self.now)
        return self.moved(attrs.evolve(state, dialogue=after), due, asked=False, since=before)

    def noted(self, state: State, event: ErrandDone) -> State:
        """The outcome is part of what is known; who asked for it is told directly."""
        outcomes = {**state.dialogue.outcomes, event.name: event.outcome}
        return attrs.evolve(state, dialogue=attrs.evolve(state.dialogue, outcomes=outcomes))

    def batch(self, state: State, number: int, batch: Batch) -> Result:
        """A batch is answered when nothing is waited for any more: then the model may speak, once."""
        if batch.waiting:
            return attrs.evolve(state, batches={**state.batches, number: batch}), ()
        rest = {n: b for n, b in state.batches.items() if n != number}
        state = attrs.evolve(state, batches=rest)
        answered = _answers(batch.results, then_reply=state.phase is Phase.TALKING)
        return state, (StopTimer(f"errands {number}"), answered)

    def out_of_patience(self, state: State, number: int) -> Result:
        """It takes longer: the model is told so, and may say so. What comes later is told then."""
        batch = state.batches.get(number)
        if batch is None:
            return state, ()
        results = batch.results
        for index in batch.waiting.values():
            running = {"ok": True, "status": "still running", "next": "Say that it takes a moment."}
            results = _with_result(results, index, running)
        late = attrs.evolve(state, late=state.late | set(batch.waiting))
        return self.batch(late, number, Batch(results, {}))

    # ------------------------------------------------------------ what the model did not save

    def overheard(self, state: State, event: CallerSaid) -> Result:
        """The caller's words, written down."""
        after, unsaved = details.overheard(state.dialogue, self.flow, event.text, event.confidence, self.now)
        return self.extract_if_missed(attrs.evolve(state, dialogue=after, unsaved=unsaved))

    def extract_if_missed(self, state: State) -> Result:
        """The model answered a turn and saved nothing of it, though its words seem to hold what is asked for."""
        turn = state.dialogue.turn
        missed = state.unsaved and state.replied_turn == turn and state.saved_turn < turn and not state.extract_tries
        if not missed or not self.flow.extract or not state.items or state.batches:
            return state, ()
        return self.extract(state, "")

    def extract(self, state: State, problem: str) -> Result:
        """Asks apart, in text."""
        fields = {name: self.flow.slots[name].label for name in self.flow.states[state.dialogue.at].collects}
        wanted = ", ".join(f'"{name}": {label}' for name, label in fields.items())
        text = (
            "Listen to the caller's words again. Answer with one JSON object and nothing else; no key for what they did "
            f"not say, nothing guessed. Keys: {wanted}."
        )
        text += f" Your last answer could not be used: {problem}." if problem else ""
        tries, turn = state.extract_tries + 1, state.dialogue.turn
        asked = attrs.evolve(state, extract_tries=tries, extract_turn=turn, extract_slots=tuple(fields))
        return asked, (Extract(EXTRACT, text, state.items),)

    def extracted(self, state: State, event: Extracted) -> Result:
        """The answer: it is read like a tool call, and what cannot be read is asked for once more."""
        problem = event.problem
        if event.values is not None:
            # Nobody asked for an intent, or for what another state asks for: such an answer moves nothing.
            values = {name: value for name, value in event.values.items() if name in state.extract_slots}
            if not any(value is not None for value in values.values()):
                return state, ()  # there was nothing in it after all
            try:
                told = told_details(values, self.flow)
            except BadArguments as error:
                problem = str(error)
            else:
                after, report = details.save(
                    state.dialogue, self.flow, told.values, self.now, told.confidence, state.caller
                )
                if report.saved or not report.problems:
                    saved = attrs.evolve(state, saved_turn=state.dialogue.turn, unsaved=())
                    return self.learned(saved, after, report, asked=False)
                problem = "; ".join(report.problems)
        if state.extract_tries >= EXTRACT_TRIES or state.extract_turn != state.dialogue.turn:
            # Not why: that quotes the caller, and a note goes to the log.
            return state, (Note(f"details could not be extracted: {', '.join(state.extract_slots)}"),)
        return self.extract(state, problem)


# ---------------------------------------------------------------- what the model is answered


def _answers(results: Results, *, then_reply: bool) -> AnswerTools:
    """The results in the order of the calls; what is still being carried out is said to be."""
    running: Mapping[str, object] = {"ok": True, "status": "being carried out"}
    told = tuple(ToolResult(call_id, running if result is None else result) for call_id, result in results)
    return AnswerTools(told, then_reply)


def _with_result(results: Results, index: int, result: Mapping[str, object]) -> Results:
    return (*results[:index], (results[index][0], result), *results[index + 1 :])


def _of_errand(event: ErrandDone) -> Mapping[str, object]:
    if event.outcome == "done":
        return {"ok": True, **event.detail}
    return {"ok": False, "error": _spoken_outcome(event), **event.detail}


def _late_outcome(event: ErrandDone) -> str:
    """In words, with what was found out: it is no answer to a call any more."""
    values = "; ".join(f"{name}: {value}" for name, value in event.detail.items() if name != "reason")
    return f"{_spoken_outcome(event)}: {values}" if values else _spoken_outcome(event)


def _spoken_outcome(event: ErrandDone) -> str:
    reason = event.detail.get("reason", "")
    meaning = {
        "done": "done",
        "opted_out": "not sent: this number does not want text messages; do not offer it again",
        "unknown": "it is not known whether it was carried out; do not repeat it, and say so if asked",
    }.get(event.outcome, "it failed")
    return f"{meaning}: {reason}" if reason else meaning
