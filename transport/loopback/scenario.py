"""A test kit for people who write flows: a whole call in a few lines, played in virtual time by the real server.

    def test_a_name_is_spelled_and_confirmed():
        call = Scenario("appointment")
        call.caller_says("I need an appointment.")
        call.model_calls("save_details", intent="book")
        call.model_says("What is your name?")
        call.caller_says("John Smyth, S M Y T H.")
        call.model_calls("save_details", name="john smyth s m y t h")
        call.model_says("J O H N, S M Y T H. Is that right?")
        call.caller_says("Yes.")
        call.model_calls("confirm_details", slots=["name"], correct=True)
        call.model_says("And your e-mail?")
        call.expect(state="email", slots={"name": "John Smyth"})
        call.run()

What the caller does and what the model answers stand in the order in which they happen. The model's lines are taken one reply
at a time, whenever the server lets it speak; tool calls end a reply, and what it says after them is the next one. A failed
expectation raises AssertionError with the call as a timeline.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import trio
import trio.testing

from conf.settings import Call as CallSettings
from conf.settings import Crm, Secrets, Server, Settings
from conf.settings import Flow as FlowSettings
from transport.loopback.caller import AwaitAgent, AwaitQuiet, Do, HangUp, Press, Speak, Step, Wait
from transport.loopback.carrier import CarriedCall
from transport.loopback.human import Human
from transport.loopback.model import LoopbackModel
from transport.loopback.rest import RestFaults
from transport.loopback.script import Call, Prompted, Reply, Script, Speech, Text
from transport.loopback.speech import murmur
from transport.loopback.timeline import Timeline
from transport.loopback.world import World, a_world

CALLER = "+14155550123"
HUMAN = "+15550001111"
BACKEND = "http://127.0.0.1:9/crm"
PATIENCE = 12.0
"""Virtual seconds that the caller waits for the agent to speak and fall silent, if it does."""


@attrs.define
class Outcome:
    """What came of a call."""

    world: World
    call: CarriedCall
    timeline: str

    @property
    def texts(self) -> list[tuple[str, str]]:
        """The text messages: to whom, and what."""
        return [(message.to, message.text) for message in self.world.rest.messages]

    @property
    def story(self) -> Mapping[str, Any]:
        """Where the dialogue ended, and with what."""
        return self.world.store.stories[self.call.call_sid].story

    @property
    def disposition(self) -> str:
        """How the last stream was left."""
        records = self.world.store.of(self.call.call_sid)
        return records[-1].disposition.value if records and records[-1].disposition else ""

    @property
    def delivered(self) -> list[Mapping[str, Any]]:
        """What the backend got of this call."""
        return [delivery.body for delivery in self.world.backend.deliveries if delivery.id == self.call.call_sid]


@attrs.define
class Scenario:
    """One call, written down before it is played. `flow`: a path, or the name of a shipped flow; `humans`: who may be
    rung, by number (HUMAN is the one the agent transfers to)."""

    flow: str = ""
    human: Human | None = None
    settings: Settings | None = None
    rest_faults: RestFaults | None = None
    _steps: list[Step] = attrs.field(factory=list)
    _replies: list[list[Speech | Call]] = attrs.field(factory=list)
    _apart: list[str] = attrs.field(factory=list)
    _said: list[str] = attrs.field(factory=list)
    _sure: list[float] = attrs.field(factory=list)
    _open: bool = False
    """Whether the last reply may still be added to: the caller has done nothing since."""
    _waits: bool = True
    """Whether the agent is to be heard out before the next step."""
    _world: World | None = None
    _call_sid: str = ""
    _notes: Timeline = attrs.field(factory=Timeline)

    # ------------------------------------------------------------ the caller

    def caller_says(self, words: str, *, sure: float = 0.9) -> None:
        """When the agent has finished. `sure`: how sure the transcriber is of the words, 0 to 1."""
        self._hear_out()
        self._speak(words, sure)

    def caller_interrupts(self, words: str, *, after: float) -> None:
        """When the agent has been talking for `after` seconds."""
        self._steps.append(AwaitAgent(after))
        self._speak(words, 0.9)

    def caller_presses(self, keys: str) -> None:
        """On the keypad."""
        self._hear_out()
        self._steps.append(Press(keys))
        self._waits, self._open = True, False

    def caller_is_silent(self, seconds: float) -> None:
        """Says nothing, and does nothing."""
        self._hear_out()
        self._steps.append(Wait(seconds))
        self._open = False

    def caller_pauses(self, seconds: float) -> None:
        """In the middle of what they say: they will go on, whatever the agent does meanwhile."""
        self._steps.append(Wait(seconds))
        self._waits = False

    def caller_hangs_up(self) -> None:
        """Puts the phone down, whatever the agent is saying."""
        self._hear_out()
        self._steps.append(HangUp())

    # ------------------------------------------------------------ the model

    def model_says(self, words: str) -> None:
        """In the present reply, or in the next one if that has called tools already."""
        if not self._open or any(isinstance(item, Call) for item in self._replies[-1]):
            self._replies.append([])
        self._open = True
        self._replies[-1].append(murmur_of(words))

    def model_calls(self, tool: str, raw: str = "", **arguments: object) -> None:
        """A tool call in the present reply, or in a new one; `raw`: the arguments as the model wrote them, good or bad."""
        if not self._open:
            self._replies.append([])
        self._open = True
        self._replies[-1].append(Call(tool, raw or json.dumps(arguments)))

    def model_extracts(self, **values: object) -> None:
        """What the model answers, in text, when it is asked apart from the conversation."""
        self._apart.append(json.dumps(values))

    # ------------------------------------------------------------ what must be so

    def expect(
        self,
        *,
        state: str = "",
        slots: Mapping[str, str] | None = None,
        statuses: Mapping[str, str] | None = None,
        intent: str = "",
        texts: int | None = None,
    ) -> None:
        """At this moment, when the agent has been heard out: the flow's state, values and statuses of slots, the last
        intent, how many text messages were sent."""
        self._hear_out()

        async def look() -> None:
            await trio.sleep(0.1)
            story = self._story()
            dialogue: Mapping[str, Any] = story.get("dialogue", {})
            held: Mapping[str, Mapping[str, str]] = dialogue.get("slots", {})
            wanted: dict[str, object] = {}
            found: dict[str, object] = {}
            if state:
                wanted["state"], found["state"] = state, dialogue.get("at")
            if intent:
                wanted["intent"], found["intent"] = intent, dialogue.get("wish", "")
            for name, text in (slots or {}).items():
                wanted[name], found[name] = text, held.get(name, {}).get("text", "")
            for name, status in (statuses or {}).items():
                wanted[f"status of {name}"] = status
                found[f"status of {name}"] = held.get(name, {}).get("status", "missing")
            if texts is not None and self._world is not None:
                wanted["texts"], found["texts"] = texts, len(self._world.rest.messages)
            self._must(wanted == found, f"expected {wanted}, found {found}")

        self._steps.append(Do(look))

    def expect_heard(self, words: str) -> None:
        """The agent's last turn, as far as the caller heard it, was this."""
        self._hear_out()

        async def look() -> None:
            await trio.sleep(0.1)
            heard = self._notes.last_heard
            self._must(heard == words, f"expected the caller to have heard {words!r}, not {heard!r}")

        self._steps.append(Do(look))

    def expect_that(self, holds: Callable[[World], bool], what: str) -> None:
        """Whatever else."""
        self._hear_out()

        async def look() -> None:
            await trio.sleep(0.1)
            assert self._world is not None
            self._must(holds(self._world), f"expected {what}")

        self._steps.append(Do(look))

    # ------------------------------------------------------------ playing it

    def run(self) -> Outcome:
        """Plays the call on a clock of its own. Raises AssertionError with the timeline if an expectation fails."""
        try:
            return trio.run(self._play, clock=trio.testing.MockClock(autojump_threshold=0))
        except* AssertionError as failures:
            raise _first(failures) from None

    async def _play(self) -> Outcome:
        self._hear_out()
        model = LoopbackModel(
            Script(said=tuple(self._said), sure=tuple(self._sure)), brain=self._brain(), api_key="sk-scenario"
        )
        settings = self.settings or default_settings(self.flow)
        humans = {HUMAN: self.human} if self.human else None
        self._notes.began = trio.current_time()
        async with a_world(
            settings, model, humans=humans, rest_faults=self.rest_faults, listener=self._notes.note
        ) as world:
            self._world = world
            call = await world.call(*self._steps, caller=CALLER)
            self._notes.add_carrier(call)
            for session in model.sessions:
                self._notes.add_model(session)
            return Outcome(world, call, str(self._notes))

    def _brain(self) -> Callable[[Prompted], Reply]:
        replies, apart = iter(self._replies), iter(self._apart)

        def reply(prompted: Prompted) -> Reply:
            if prompted.apart:
                return Reply((Text(next(apart, "{}")),))
            return Reply(tuple(next(replies, [murmur_of("Mm-hm.")])))

        return reply

    def _hear_out(self) -> None:
        if self._waits:
            self._steps.append(AwaitQuiet(0.6, at_most=PATIENCE))
        self._waits = False

    def _speak(self, words: str, sure: float) -> None:
        self._steps.append(Speak(murmur(words, seed=len(self._said)), words))
        self._said.append(words)
        self._sure.append(sure)
        self._waits, self._open = True, False

    def _story(self) -> Mapping[str, Any]:
        assert self._world is not None
        stories = list(self._world.store.stories.values())
        return stories[-1].story if stories else {}

    def _must(self, holds: bool, what: str) -> None:
        if not holds:
            assert self._world is not None
            for session in self._world.models[0].sessions:
                self._notes.add_model(session)
            raise AssertionError(f"{what}\n\n{self._notes}")


def murmur_of(words: str) -> Speech:
    """Words of the agent, as audio of about the length they would have."""
    return Speech(words, murmur(words, seed=7))


def default_settings(flow: str) -> Settings:
    """Settings of a scenario: everything there is, in memory."""
    return Settings(
        server=Server(public_url="https://phone.example.com"),
        call=CallSettings(human_number=HUMAN),
        flow=FlowSettings(path=flow),
        crm=Crm(url=BACKEND),
        secrets=Secrets("AC" + "0" * 32, "0" * 32, "sk-scenario", "crm-secret"),
    )


def _first(group: BaseExceptionGroup[AssertionError]) -> AssertionError:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
