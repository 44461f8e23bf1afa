"""What the flow wants done: the effects of the dialogue as effects of the call. Pure; a layer of the machine in `fsm.py`."""

import datetime

import attrs

from actors import dialogue
from actors.call_state import (
    DUE_AT_MOST,
    LATE,
    AskModel,
    Effect,
    Note,
    Phase,
    Result,
    Rules,
    Say,
    SetTimer,
    State,
    TellModel,
)
from actors.details import Report
from actors.dialogue import Dialogue, Done, Due, Learned, Outcome
from actors.farewell import LAST_WORDS, farewell_timer, go
from actors.messages import (
    Disposition,
    Floor,
    FloorRule,
    RunPython,
    SendText,
)
from actors.slots import read_back, typed
from actors.tool_desk import Desk
from actors.tools import BadArguments, arguments_from
from conf.flow import Flow


def timer_name(kind: str, seconds: float) -> str:
    return f"{kind} {seconds:g}"


def timers(state: State, flow: Flow, kinds: tuple[str, ...] = ("silence", "after")) -> list[Effect]:
    """The timeouts of the dialogue's state, set. Who asked to wait may be silent for longer."""
    least = {"silence": flow.hold_seconds if state.held_turn else 0.0}
    return [
        SetTimer(timer_name(kind, seconds), max(seconds, least.get(kind, 0.0)), quiet=kind == "silence")
        for kind, seconds in dialogue.timeouts(flow, state.dialogue.at)
        if kind in kinds
    ]


def floor_here(flow: Flow, now: Dialogue) -> str:
    """How what is said in the state gives way to a caller who speaks."""
    return flow.states[now.at].floor or flow.floor


@attrs.frozen
class FlowStep:
    """One step of the call, as far as the flow is concerned: the rules, the time, and what follows from a change."""

    rules: Rules
    now: datetime.datetime

    @property
    def flow(self) -> Flow:
        """The flow."""
        return self.rules.flow

    def desk(self, state: State) -> Desk:
        """Who answers tool calls."""
        turn, texts = state.texts
        recent = texts if turn == state.dialogue.turn else ()
        return Desk(self.flow, state.caller, self.rules.transfer(), self.now, recent, state.texts_sent)

    def silences(self, state: State) -> list[Effect]:
        """The timers of silence, set anew. While something takes longer it is not for the caller to speak, but they must hear
        that it goes on."""
        if state.late and not state.kept_waiting:
            return [SetTimer(LATE, self.rules.max_silence, quiet=True)]
        return timers(state, self.flow, ("silence",))

    # ------------------------------------------------------------ what the flow wants done

    def do(self, state: State, due: tuple[Due, ...], *, asked: bool = False) -> Result:
        """The effects of the dialogue as effects of the call. `asked`: the model is going to speak anyway."""
        effects: list[Effect] = []
        waiting = list(due)
        for _ in range(DUE_AT_MOST):
            if not waiting:
                break
            one = waiting.pop(0)
            if not isinstance(one, Done):
                effects.append(Note(one.why))
                continue
            effect = one.effect
            if effect.do == "sms":
                effects += self.text(state, one)
            elif effect.do == "tool":
                tool = self.flow.tools[effect.tool]
                try:
                    arguments = arguments_from(tool, self.typed(one))
                except BadArguments as error:
                    effects.append(Note(f"{effect.tool} at {state.dialogue.at!r}: {error}"))
                    failed = Outcome(effect.outcome_name, "failed")
                    after, more = dialogue.happen(state.dialogue, failed, self.flow, self.now)
                    state, waiting = attrs.evolve(state, dialogue=after), [*waiting, *more]
                    continue
                effects.append(RunPython(one.key, effect.outcome_name, tool, arguments))
            elif effect.do == "say":
                effects.append(
                    Say(effect.prompt, floor=FloorRule(effect.floor or floor_here(self.flow, state.dialogue)))
                )
            elif effect.do == "reply":
                state = attrs.evolve(state, reply_floor=effect.floor or state.reply_floor)
                effects += [TellModel(f"[Say now: {self.filled(effect.text, one)}]", once=True)]
                effects += [] if asked else [AskModel()]
            elif state.phase is Phase.TALKING:
                state, leaving = self.leave_by(state, effect.do, effect.how, asked)
                effects += leaving
        if waiting:
            effects.append(Note(f"too much is to be done at {state.dialogue.at!r}: {len(waiting)} effects are dropped"))
        return state, tuple(effects)

    def leave_by(self, state: State, do: str, how: str, asked: bool) -> Result:
        """The flow itself ends the conversation."""
        going = {"hang_up": Disposition.HANG_UP, "voicemail": Disposition.VOICEMAIL}.get(do) or self.rules.transfer(how)
        why = f"the flow, at {state.dialogue.at!r}: {do.replace('_', ' ')}"
        if asked:  # the model is about to speak: let it say the last words
            leaving = attrs.evolve(state, phase=Phase.FAREWELL, going=going, why=why, last_words_asked=True)
            words = "Say goodbye" if going is Disposition.HANG_UP else "Say that you are handing them over"
            told = TellModel(f"[{words}, in one short sentence. Call no tool.]", once=True)
            return leaving, (told, farewell_timer())
        return go(state, going, why, Floor.FLOW, LAST_WORDS[going])

    def text(self, state: State, one: Done) -> list[Effect]:
        """A text message of the flow: to the number that was confirmed, else to the one that calls."""
        effect = one.effect
        held = one.slots.get(effect.to, dialogue.MISSING)
        to = held.text if held.status is dialogue.Status.CONFIRMED else state.caller
        return [SendText(one.key, effect.outcome_name, to, self.filled(effect.text, one))]

    def typed(self, one: Done) -> dict[str, object]:
        """The slots that were settled when an effect came due, as typed values."""
        held = {name: each for name, each in one.slots.items() if name in self.flow.slots}
        settled = {name: each.text for name, each in held.items() if each.status is dialogue.Status.CONFIRMED}
        return {name: typed(self.flow.slots[name].kind, text) for name, text in settled.items()}

    def filled(self, text: str, one: Done) -> str:
        """`text` with the slots put in, as people read them, as they were when the effect came due."""
        for name, slot in self.flow.slots.items():
            held = one.slots.get(name, dialogue.MISSING)
            shown = held.text if held.known else ""
            if shown and slot.kind in {"date_time", "date", "past_date", "time"}:
                shown = read_back(slot.kind, shown, self.now.date())
            text = text.replace(f"{{{name}}}", shown)
        return text

    def learned(self, state: State, after: Dialogue, report: Report, *, asked: bool) -> Result:
        """Slots have changed: the flow may move."""
        after, due = dialogue.happen(after, Learned(report.corrected), self.flow, self.now)
        return self.moved(attrs.evolve(state, dialogue=after), due, asked=asked, since=state.dialogue)

    def moved(self, state: State, due: tuple[Due, ...], *, asked: bool, since: Dialogue) -> Result:
        """The dialogue is where it is now: what was kept back is handed over, and a slot that nobody understands ends it."""
        if (since.at, since.visits) != (state.dialogue.at, state.dialogue.visits) and state.dialogue.postponed:
            after, more = dialogue.redeliver(state.dialogue, self.flow, self.now)
            state, due = attrs.evolve(state, dialogue=after), (*due, *more)
        state, effects = self.do(state, due, asked=asked)
        if state.phase is Phase.TALKING and state.dialogue.at == since.at and self.exhausted(since, state.dialogue):
            state, leaving = self.leave_by(state, "transfer", "", asked)
            effects += leaving
        return state, effects

    def exhausted(self, before: Dialogue, after: Dialogue) -> bool:
        """Whether a slot that is asked for has just been tried as often as the flow allows, and no transition ever minds."""
        every = (part for state in self.flow.states for t in self.flow.transitions_of(state) for part in t.when.parts())
        minded = {name for part in every for name in part.tries}
        return any(
            name not in minded and before.held(name).tries < self.flow.slots[name].tries <= after.held(name).tries
            for name in self.flow.states[after.at].collects
        )
