"""The flows that are shipped: whatever callers say, each goes on, and there is always a way out."""

import datetime
from collections.abc import Iterable
from zoneinfo import ZoneInfo

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors import call_state, details, dialogue, fsm
from actors.dialogue import Dialogue, Done, Due, Lasted, Learned, Outcome, Pressed, Silent, Status, Stuck
from actors.guidance import guidance
from actors.messages import ErrandDone
from actors.slots import Understood, understand
from actors.tools import specs
from conf.flow import KEYS, Flow
from conf.flow_check import OUTCOMES, problems, successors
from conf.flow_file import FOLDER, load_flow, read_flow

SHIPPED = sorted(path.name.removesuffix(".toml") for path in FOLDER.glob("*.toml"))
LEAVING = {"transfer", "voicemail", "hang_up"}
REFUSAL = "I'd rather not say"

SAID = {
    "person_name": ["John Smith", "Mary Jones"],
    "email": ["john@example.com", "mary@example.com"],
    "phone": ["2125550123", "+13125550199"],
    "date_time": ["2026-12-01T15:00", "2026-12-02T09:30"],
    "date": ["2026-12-01", "2026-12-02"],
    "time": ["15:00", "09:30"],
    "number": ["3", "12"],
    "yes_no": ["yes", "no"],
    "text": ["please call me back", "it is about my last visit"],
}


def now_of(flow: Flow) -> datetime.datetime:
    return datetime.datetime(2026, 11, 24, 10, 30, tzinfo=ZoneInfo(flow.timezone))


def said_of(flow: Flow, name: str) -> list[str]:
    slot = flow.slots[name]
    return list(slot.choices) if slot.kind == "choice" else SAID[slot.kind]


@attrs.define
class Talk:
    """A conversation under way: what the call does to the dialogue, without the call."""

    flow: Flow
    now: Dialogue = attrs.field(factory=lambda: Dialogue(""))
    due: list[Due] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.take(dialogue.begin(self.flow, self.at))

    @property
    def at(self) -> datetime.datetime:
        return now_of(self.flow)

    def take(self, step: dialogue.Step) -> None:
        before = self.now
        self.now, due = step
        self.due += due
        if (before.at, before.visits) != (self.now.at, self.now.visits) and self.now.postponed:
            self.take(dialogue.redeliver(self.now, self.flow, self.at))

    def happens(self, happening: dialogue.Happening) -> "Talk":
        self.take(dialogue.happen(self.now, happening, self.flow, self.at))
        return self

    def turn(self) -> None:
        """The caller speaks."""
        self.now = attrs.evolve(self.now, turn=self.now.turn + 1, idle=0)

    def wishes(self, intent: str) -> "Talk":
        self.turn()
        self.now = attrs.evolve(self.now, intent=intent, wish=intent)
        return self.happens(Learned())

    def says(self, **values: object) -> "Talk":
        self.turn()
        self.now, report = details.save(self.now, self.flow, values, self.at)
        return self.happens(Learned(report.corrected))

    def answers(self, *names: str, correct: bool = True) -> "Talk":
        self.turn()
        self.now, report = details.confirm(self.now, self.flow, names, correct, self.at.date())
        return self.happens(Learned(report.corrected))

    def gives(self, **values: object) -> "Talk":
        """Says it, and says that it was read back right."""
        return self.says(**values).answers(*values)

    def done(self, do: str) -> list[Done]:
        return [each for each in self.due if isinstance(each, Done) and each.effect.do == do]

    def texts(self) -> list[str]:
        return [each.effect.outcome_name for each in self.done("sms")]


# ---------------------------------------------------------------- each of them


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_flow_has_no_problem(name: str) -> None:
    assert problems(read_flow(name)) == []
    assert load_flow(name) == read_flow(name)


def test_there_are_shipped_flows() -> None:
    assert "appointment" in SHIPPED


def can_leave(flow: Flow, name: str) -> bool:
    state = flow.states[name]
    effects = [*state.on_entry, *(effect for t in flow.transitions_of(name) for effect in t.effects)]
    return state.final or any(effect.do in LEAVING for effect in effects)


def reached(flow: Flow, start: Iterable[str]) -> set[str]:
    found, waiting = set(start), list(start)
    while waiting:
        new = set(successors(flow, waiting.pop())) - found
        found |= new
        waiting += new
    return found


@pytest.mark.parametrize("name", SHIPPED)
def test_from_every_state_there_is_a_way_out(name: str) -> None:
    flow = load_flow(name)
    for state in reached(flow, [flow.start]):
        assert any(can_leave(flow, each) for each in reached(flow, [state])), state


@pytest.mark.parametrize("name", SHIPPED)
def test_what_is_said_in_these_tests_can_be_understood(name: str) -> None:
    flow = load_flow(name)
    for slot in flow.slots:
        for said in said_of(flow, slot):
            how = details.context(flow.slots[slot], flow, now_of(flow))
            assert isinstance(understand(flow.slots[slot].kind, said, how), Understood), said


@pytest.mark.parametrize("name", SHIPPED)
def test_a_person_is_to_be_had_in_every_state(name: str) -> None:
    """Asking for one leads to a transfer, at the latest when nobody says anything more."""
    flow = load_flow(name)
    if "human" not in flow.intents:
        return
    for state in reached(flow, [flow.start]):
        talk = Talk(flow)
        talk.now = attrs.evolve(talk.now, at=state, visits={state: 1})
        talk.wishes("human")
        for _ in range(3):
            for kind, seconds in dialogue.timeouts(flow, talk.now.at):
                talk.happens(Silent(seconds) if kind == "silence" else Lasted(seconds))
        assert talk.done("transfer"), state


def happenings(flow: Flow) -> st.SearchStrategy[list[object]]:
    seconds = sorted({pair for state in flow.states for pair in dialogue.timeouts(flow, state)})
    names = sorted({effect.outcome_name for effect in flow.effects() if effect.do in OUTCOMES} | {"transfer", "sms"})
    kinds = {effect.outcome_name: effect.do for effect in flow.effects()} | {"transfer": "transfer", "sms": "sms"}
    outcomes = [Outcome(name, outcome) for name in names for outcome in OUTCOMES[kinds[name]]]
    each: list[st.SearchStrategy[object]] = [
        st.sampled_from(outcomes),
        st.sampled_from(KEYS).map(Pressed),
        st.just(Learned()),
    ]
    if seconds:
        each.append(st.sampled_from([(Silent if kind == "silence" else Lasted)(time) for kind, time in seconds]))
    if flow.intents:
        each.append(st.tuples(st.just("wish"), st.sampled_from(sorted(flow.intents))))
    if flow.slots:
        slots = sorted(flow.slots)
        good = st.sampled_from(slots).flatmap(
            lambda slot: st.tuples(st.just("save"), st.just(slot), st.sampled_from(said_of(flow, slot)))
        )
        bad = st.tuples(
            st.just("save"),
            st.sampled_from(slots),
            st.sampled_from(["?", REFUSAL, "no", "banana"]) | st.text(max_size=5),
        )
        some = st.lists(st.sampled_from(slots), min_size=1, max_size=4, unique=True)
        each += [
            good,
            good,
            bad,
            st.tuples(st.just("right"), some),
            st.tuples(st.just("right"), st.just(slots)),
            st.tuples(st.just("wrong"), some),
            st.tuples(st.just("keys"), st.sampled_from(["2125550123", "12"])),
            st.tuples(st.just("overheard"), st.sampled_from(["John Smith", "2125550123", "mary@example.com"])),
        ]
    return st.lists(st.one_of(*each), max_size=25)


def go_on(talk: Talk, what: object) -> None:
    match what:
        case ("wish", str(intent)):
            talk.wishes(intent)
        case ("save", str(slot), str(said)):
            talk.says(**{slot: said})
        case ("right", list(slots)):
            talk.answers(*slots)
        case ("wrong", list(slots)):
            talk.answers(*slots, correct=False)
        case ("keys", str(digits)):
            talk.turn()
            if typed := details.keyed(talk.now, talk.flow, digits, talk.at):
                talk.now = typed[0]
                talk.happens(Learned(typed[1].corrected))
        case ("overheard", str(words)):
            talk.now, _ = details.overheard(talk.now, talk.flow, words, 0.5, talk.at)
        case _:
            assert isinstance(what, dialogue.Happening)
            talk.happens(what)


@pytest.mark.parametrize("name", SHIPPED)
@given(data=st.data())
@settings(max_examples=60)
def test_whatever_happens_a_shipped_flow_goes_on_and_can_be_left(name: str, data: st.DataObject) -> None:
    flow = load_flow(name)
    talk = Talk(flow)
    for what in data.draw(happenings(flow)):
        go_on(talk, what)
        assert talk.now.at in flow.states
        assert not [due.why for due in talk.due if isinstance(due, Stuck)]
        assert any(can_leave(flow, state) for state in reached(flow, [talk.now.at]))
        assert all(due.effect.to == "caller" or due.effect.to in flow.slots for due in talk.done("sms"))
        guidance(flow, talk.now)
        specs(flow)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_long_call_in_which_all_goes_well_does_not_get_stuck(name: str) -> None:
    """Again and again from the start, with every message sent: what nobody minds is not kept back."""
    flow = load_flow(name)
    talk = Talk(flow)
    for _ in range(12):
        for intent in flow.intents:
            if intent not in {"start_over", "human"}:
                talk.wishes(intent)
        for slot in flow.slots:
            talk.gives(**{slot: said_of(flow, slot)[0]})
        for sms in {due.effect.outcome_name for due in talk.done("sms")}:
            talk.happens(Outcome(sms, "done"))
        if "start_over" in flow.intents:
            talk.wishes("start_over")
        assert not [due.why for due in talk.due if isinstance(due, Stuck)]


# ---------------------------------------------------------------- the appointment

VALUES = {
    "name": "John Smith",
    "email": "john@example.com",
    "phone": "2125550123",
    "day": "2026-12-01T15:00",
}
OTHERS = {
    "name": "Mary Jones",
    "email": "mary@example.com",
    "phone": "3125550199",
    "day": "2026-12-02T09:30",
}
ORDER = list(VALUES)
PLACES = [*ORDER, "booked"]


def appointment(until: str = "name") -> Talk:
    """A conversation about an appointment that has got to state `until`."""
    talk = Talk(load_flow("appointment")).wishes("book")
    for name in ORDER[: PLACES.index(until)]:
        talk.gives(**{name: VALUES[name]})
    assert talk.now.at == until
    return talk


def test_an_appointment_is_booked_with_one_message() -> None:
    talk = Talk(load_flow("appointment"))
    assert talk.now.at == "welcome"
    talk.wishes("book")
    for number, name in enumerate(ORDER):
        assert talk.now.at == name
        talk.says(**{name: VALUES[name]})
        assert talk.now.at == name
        assert talk.now.held(name).status is Status.HEARD
        assert talk.texts() == []
        talk.answers(name)
        assert talk.now.at == PLACES[number + 1]
    assert talk.flow.states[talk.now.at].final
    assert talk.texts() == ["confirmation"]
    assert [due.effect.to for due in talk.done("sms")] == ["phone"]
    assert {name: held.text for name, held in talk.now.slots.items()} == {**VALUES, "phone": "+12125550123"}
    talk.happens(Outcome("confirmation", "done")).happens(Silent(10.0)).happens(Learned())
    assert (talk.now.at, talk.texts()) == ("booked", ["confirmation"])


def test_all_of_it_said_at_once_is_booked_when_all_of_it_is_confirmed() -> None:
    talk = Talk(load_flow("appointment"))
    talk.says(**VALUES)
    assert (talk.now.at, talk.texts()) == ("name", [])
    talk.answers(*VALUES)
    assert (talk.now.at, talk.texts()) == ("booked", ["confirmation"])


def test_who_says_their_name_first_wants_an_appointment() -> None:
    talk = Talk(load_flow("appointment")).says(name="John Smith")
    assert talk.now.at == "name"


def test_a_question_leads_nowhere_and_an_appointment_may_follow() -> None:
    talk = Talk(load_flow("appointment")).wishes("question")
    assert talk.now.at == "welcome"
    assert talk.wishes("book").now.at == "name"


@pytest.mark.parametrize("name", ORDER)
def test_a_correction_is_confirmed_before_it_goes_on(name: str) -> None:
    talk = appointment(name).says(**{name: VALUES[name]})
    talk.says(**{name: OTHERS[name]})
    assert (talk.now.at, talk.now.held(name).status) == (name, Status.HEARD)
    talk.answers(name, correct=False)
    assert (talk.now.at, talk.now.held(name).status) == (name, Status.UNCLEAR)
    talk.gives(**{name: VALUES[name]})
    assert talk.now.at == PLACES[ORDER.index(name) + 1]


EARLIER = [(place, name) for number, place in enumerate(ORDER) for name in ORDER[:number]]


@pytest.mark.parametrize(("place", "name"), EARLIER)
def test_a_later_correction_of_an_earlier_detail_is_booked_only_when_it_is_confirmed(place: str, name: str) -> None:
    talk = appointment(place).says(**{name: OTHERS[name]})
    for rest in ORDER[ORDER.index(place) :]:
        talk.gives(**{rest: VALUES[rest]})
    assert talk.texts() == []
    talk.answers(name)
    assert talk.texts() == ["confirmation"]


@pytest.mark.parametrize(("place", "name"), [pair for pair in EARLIER if pair[1] != "email"])
def test_what_the_caller_calls_wrong_later_is_not_booked(place: str, name: str) -> None:
    talk = appointment(place).answers(name, correct=False)
    for rest in ORDER[ORDER.index(place) :]:
        talk.gives(**{rest: VALUES[rest]})
    assert talk.texts() == []


@pytest.mark.parametrize("name", ORDER)
def test_what_is_booked_can_be_changed_and_is_told_in_one_more_message(name: str) -> None:
    talk = appointment("booked").says(**{name: OTHERS[name]})
    assert (talk.now.at, talk.texts()) == ("change", ["confirmation"])
    talk.answers(name)
    assert (talk.now.at, talk.texts()) == ("changed", ["confirmation", "correction"])
    talk.says(**{name: VALUES[name]})
    assert talk.now.at == "change"
    talk.answers(name)
    assert (talk.now.at, talk.texts()) == ("changed", ["confirmation", "correction", "correction"])
    assert len({due.key for due in talk.done("sms")}) == 3


def test_a_caller_without_an_e_mail_address_gets_an_appointment() -> None:
    talk = appointment("email").says(email=REFUSAL)
    assert talk.now.at == "phone"
    talk.gives(phone=VALUES["phone"]).gives(day=VALUES["day"])
    assert (talk.now.at, talk.texts()) == ("booked", ["confirmation"])
    assert not talk.now.held("email").known


def test_a_caller_without_a_number_gets_an_appointment() -> None:
    talk = appointment("phone").says(phone=REFUSAL).gives(day=VALUES["day"])
    assert (talk.now.at, talk.texts()) == ("booked", ["confirmation"])


@pytest.mark.parametrize(("name", "to"), [("name", "stuck"), ("email", "phone"), ("phone", "stuck"), ("day", "stuck")])
def test_after_three_failures_it_goes_another_way(name: str, to: str) -> None:
    talk = appointment(name)
    for _ in range(2):
        assert talk.says(**{name: "?"}).now.at == name
    assert talk.says(**{name: "?"}).now.at == to


@pytest.mark.parametrize("name", ["name", "phone", "day"])
def test_what_was_misheard_three_times_goes_another_way_too(name: str) -> None:
    talk = appointment(name)
    for said in (VALUES[name], OTHERS[name], VALUES[name]):
        talk.says(**{name: said}).answers(name, correct=False)
    assert talk.now.at == "stuck"


def test_who_is_stuck_is_put_through() -> None:
    talk = appointment("name")
    for _ in range(3):
        talk.says(name="?")
    assert (talk.now.at, talk.done("transfer")) == ("stuck", [])
    talk.happens(Silent(6.0))
    assert len(talk.done("transfer")) == 1
    talk.happens(Outcome("transfer", "no-answer"))
    assert "Nobody could take the call" in talk.done("reply")[-1].effect.text


@pytest.mark.parametrize("name", ["name", "day"])
def test_who_will_not_say_what_is_needed_does_not_stay_where_it_is_asked_for(name: str) -> None:
    assert appointment(name).says(**{name: REFUSAL}).now.at == "stuck"


def test_an_address_that_was_never_understood_does_not_count_against_the_booked_appointment() -> None:
    """The flow has minded the three failures already; that the message was sent is no reason to transfer the caller."""
    talk = appointment("email")
    for _ in range(3):
        talk.says(email="?")
    talk.gives(phone=VALUES["phone"]).gives(day=VALUES["day"])
    assert talk.now.at == "booked"
    rules = call_state.Rules(talk.flow, 5.0, 4.0, 3600.0)
    sent = ErrandDone(talk.done("sms")[0].key, "confirmation", "done")
    after, _ = fsm.step(call_state.State(talk.now, link=call_state.Link.UP), sent, rules, talk.at)
    assert (after.phase, after.going) == (call_state.Phase.TALKING, None)


@pytest.mark.parametrize("place", PLACES)
def test_the_caller_may_begin_again_from_anywhere(place: str) -> None:
    talk = appointment(place).wishes("start_over")
    assert (talk.now.at, talk.now.slots, talk.now.intent) == ("welcome", {}, "")


@pytest.mark.parametrize("place", PLACES)
def test_a_person_is_to_be_had_from_anywhere(place: str) -> None:
    talk = appointment(place).wishes("human")
    assert (talk.now.at, len(talk.done("transfer"))) == (place, 1)


@pytest.mark.parametrize("outcome", ["failed", "opted_out", "unknown"])
def test_a_message_that_was_not_sent_is_told(outcome: str) -> None:
    talk = appointment("booked").happens(Outcome("confirmation", outcome))
    assert [("could not be sent" in each.effect.text) for each in talk.done("reply")] == [True]


def test_stars_and_silences_are_answered_everywhere() -> None:
    for place in PLACES:
        talk = appointment(place).happens(Pressed("*")).happens(Silent(10.0)).happens(Pressed("*"))
        assert (talk.now.at, len(talk.done("reply"))) == (place, 3)
