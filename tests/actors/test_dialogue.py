"""The machine of the dialogue: which transition is taken, what is done on the way, what is kept back."""

import datetime
import itertools

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import dialogue
from actors.dialogue import (
    CHAIN_AT_MOST,
    POSTPONED_AT_MOST,
    Dialogue,
    Done,
    Entered,
    Held,
    Lasted,
    Learned,
    Outcome,
    Pressed,
    Silent,
    Status,
    Step,
    Stuck,
    begin,
    happen,
    holds,
    redeliver,
    timeouts,
)
from actors.messages import Disposition, ToolCall
from actors.tool_desk import Desk
from conf.flow import Condition, Effect, Flow, Slot, State, Transition

NOW = datetime.datetime(2026, 11, 24, 10, 30)  # a Tuesday
SLOTS = {
    "name": Slot("person_name", "the name"),
    "phone": Slot("phone", "the number"),
    "size": Slot("choice", "the size", choices={"small": (), "large": ()}),
}


def say(text: str) -> Effect:
    return Effect("reply", text=text)


def when(goto: str = "", *texts: str, **condition: object) -> Transition:
    return Transition(Condition(**condition), goto, tuple(say(text) for text in texts))


def flow(*shared: Transition, **states: State) -> Flow:
    """A flow of `states`; it starts in the first."""
    return Flow("desk", "Be kind.", start=next(iter(states)), slots=SLOTS, states=states, shared=shared)


def state(*transitions: Transition, **fields: object) -> State:
    return State("goal", transitions=transitions, **fields)


def texts(due: tuple[dialogue.Due, ...]) -> list[str]:
    return [each.effect.text if isinstance(each, Done) else f"stuck: {each.why}" for each in due]


def known(now: Dialogue, **slots: Held) -> Dialogue:
    return attrs.evolve(now, slots={**now.slots, **slots})


HEARD = Held("Ann", Status.HEARD)
CONFIRMED = Held("Ann", Status.CONFIRMED)


def learned(now: Dialogue, of: Flow, **slots: Held) -> Step:
    return happen(known(now, **slots), Learned(), of, NOW)


# ---------------------------------------------------------------- entering and leaving


def test_a_conversation_begins_by_entering_its_first_state() -> None:
    of = flow(a=state(on_entry=(say("hello"), say("there"))))
    now, due = begin(of, NOW)
    assert (now.at, now.visits, now.turn) == ("a", {"a": 1}, 0)
    assert texts(due) == ["hello", "there"]


def test_entry_is_an_event_a_state_that_is_satisfied_is_left_at_once() -> None:
    of = flow(
        a=state(when("b", slots={"name": ("confirmed",)})),
        b=state(when("c", slots={"phone": ("confirmed",)}), on_entry=(say("in b"),)),
        c=state(on_entry=(say("in c"),)),
    )
    now, _ = begin(of, NOW)
    assert now.at == "a"
    after, due = learned(now, of, name=CONFIRMED)
    assert (after.at, texts(due)) == ("b", ["in b"])
    after, due = learned(known(now, phone=CONFIRMED), of, name=CONFIRMED)
    assert (after.at, texts(due)) == ("c", ["in b", "in c"])
    assert after.visits == {"a": 1, "b": 1, "c": 1}


def test_what_is_satisfied_at_the_start_is_left_at_the_start() -> None:
    of = flow(a=state(when("b", "from a", visits=1)), b=state())
    now, due = begin(of, NOW)
    assert (now.at, texts(due)) == ("b", ["from a"])


def test_effects_come_in_the_order_transition_exit_entry() -> None:
    of = flow(
        a=state(when("b", "t1", "t2", key=("1",)), on_exit=(say("x1"), say("x2"))),
        b=state(when("c", "t3"), on_entry=(say("e1"), say("e2")), on_exit=(say("x3"),)),
        c=state(on_entry=(say("e3"),)),
    )
    now, _ = begin(of, NOW)
    after, due = happen(now, Pressed("1"), of, NOW)
    assert after.at == "c"
    assert texts(due) == ["t1", "t2", "x1", "x2", "e1", "e2", "t3", "x3", "e3"]


def test_a_state_that_leads_to_itself_is_left_and_entered() -> None:
    of = flow(a=state(when("a", "t", key=("1",)), on_entry=(say("in"),), on_exit=(say("out"),)))
    now, _ = begin(of, NOW)
    after, due = happen(now, Pressed("1"), of, NOW)
    assert (after.visits, texts(due)) == ({"a": 2}, ["t", "out", "in"])


def test_what_led_here_is_over_when_the_state_is_entered() -> None:
    of = flow(a=state(when("b", key=("1",))), b=state(when("c", key=("1",))), c=state())
    now, _ = begin(of, NOW)
    assert happen(now, Pressed("1"), of, NOW)[0].at == "b"


def test_the_first_transition_that_holds_is_taken_a_states_own_before_the_shared() -> None:
    of = flow(
        when("c", "shared", key=("1", "2", "3")),
        a=state(when("a", "first", key=("1",)), when("b", "second", key=("1", "2"))),
        b=state(),
        c=state(),
    )
    now, _ = begin(of, NOW)
    assert texts(happen(now, Pressed("1"), of, NOW)[1]) == ["first"]
    assert texts(happen(now, Pressed("2"), of, NOW)[1]) == ["second"]
    assert texts(happen(now, Pressed("3"), of, NOW)[1]) == ["shared"]


def test_what_no_state_minds_changes_nothing() -> None:
    of = flow(a=state(when("b", key=("1",))), b=state())
    now, _ = begin(of, NOW)
    assert happen(now, Pressed("2"), of, NOW) == (now, ())
    assert happen(now, Learned(("name",)), of, NOW) == (now, ())
    assert happen(now, Entered(), of, NOW) == (now, ())


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_circle_is_noticed_and_named(size: int) -> None:
    names = [f"s{number}" for number in range(size)]
    following = dict(zip(names, [*names[1:], names[0]], strict=True))
    of = flow(a=state(when("s0", key=("1",))), **{name: state(when(to)) for name, to in following.items()})
    now, _ = begin(of, NOW)
    after, due = happen(now, Pressed("1"), of, NOW)
    (stuck,) = [each for each in due if isinstance(each, Stuck)]
    assert "circle" in stuck.why
    assert repr(after.at) in stuck.why
    assert sum(after.visits.values()) <= CHAIN_AT_MOST + 1


def test_a_chain_shorter_than_a_circle_is_walked_to_its_end() -> None:
    names = [f"s{number}" for number in range(CHAIN_AT_MOST)]
    states = {name: state(when(to)) for name, to in itertools.pairwise(names)}
    now, due = begin(flow(**states, **{names[-1]: state()}), NOW)
    assert (now.at, due) == (names[-1], ())


# ---------------------------------------------------------------- wishes


def wishing(now: Dialogue, of: Flow, intent: str) -> Step:
    return happen(attrs.evolve(now, intent=intent, wish=intent), Learned(), of, NOW)


def test_a_wish_is_used_up_by_the_transition_that_uses_it_and_remembered() -> None:
    of = flow(
        when("", "a human", intent=("human",)),
        a=state(when("b", intent=("book",))),
        b=state(when("c", intent=("book",))),
        c=state(),
    )
    now, _ = begin(of, NOW)
    after, _ = wishing(now, of, "book")
    assert (after.at, after.intent, after.wish) == ("b", "", "book")
    after, due = wishing(after, of, "human")
    assert (after.at, after.intent, after.wish, texts(due)) == ("b", "", "human", ["a human"])
    assert happen(after, Learned(), of, NOW)[1] == ()
    assert wishing(after, of, "book")[0].at == "c"


def test_a_wish_that_nobody_minds_yet_waits_for_a_state_that_does() -> None:
    of = flow(a=state(when("b", key=("1",))), b=state(when("c", intent=("book",))), c=state())
    now, _ = wishing(begin(of, NOW)[0], of, "book")
    assert (now.at, now.intent) == ("a", "book")
    after, _ = happen(now, Pressed("1"), of, NOW)
    assert (after.at, after.intent) == ("c", "")


def test_a_transition_that_uses_no_wish_leaves_it() -> None:
    of = flow(
        a=state(when("b", key=("1",)), when("b", key=("2",), but_not=Condition(intent=("human",)))),
        b=state(),
    )
    now, _ = wishing(begin(of, NOW)[0], of, "book")
    assert happen(now, Pressed("1"), of, NOW)[0].intent == "book"
    assert happen(now, Pressed("2"), of, NOW)[0].intent == "book"


def test_a_transition_that_holds_by_something_else_leaves_the_wish() -> None:
    either = (Condition(intent=("book",)), Condition(key=("1",)))
    of = flow(a=state(when("b", any=either)), b=state())
    now, _ = begin(of, NOW)
    assert happen(attrs.evolve(now, intent="human"), Pressed("1"), of, NOW)[0].intent == "human"
    assert wishing(now, of, "book")[0].intent == ""


def test_a_wish_does_its_thing_again_when_it_is_wished_again() -> None:
    of = flow(a=state(when("", "ok", intent=("human",))))
    now, _ = begin(of, NOW)
    for _ in range(3):
        now, due = wishing(now, of, "human")
        assert texts(due) == ["ok"]


# ---------------------------------------------------------------- staying


def test_a_transition_that_stays_on_facts_alone_is_taken_once_a_visit() -> None:
    of = flow(
        a=state(when("", "thank you", slots={"name": ("heard", "confirmed")}), when("b", key=("1",))),
        b=state(when("a", key=("1",))),
    )
    now, due = learned(begin(of, NOW)[0], of, name=HEARD)
    assert (now.at, texts(due)) == ("a", ["thank you"])
    for happening in (Learned(), Silent(5), Pressed("9"), Lasted(3)):
        now, due = happen(now, happening, of, NOW)
        assert due == ()
    now, _ = happen(now, Pressed("1"), of, NOW)
    now, due = happen(now, Pressed("1"), of, NOW)
    assert (now.at, now.visits["a"], texts(due)) == ("a", 2, ["thank you"])


def test_after_staying_the_other_transitions_are_still_looked_at() -> None:
    facts = {"name": ("confirmed",)}
    of = flow(a=state(when("", "one", slots=facts), when("", "two", slots=facts), when("b", slots=facts)), b=state())
    now, due = learned(begin(of, NOW)[0], of, name=CONFIRMED)
    assert (now.at, texts(due)) == ("b", ["one", "two"])


def test_a_transition_that_stays_on_an_event_is_taken_every_time() -> None:
    of = flow(
        a=state(
            when("", "key", key=("1",)),
            when("", "silence", silence=5.0),
            when("", "after", after=60.0),
            when("", "corrected", corrected=("name",)),
            when("", "outcome", outcome={"sms": ("failed",)}),
        )
    )
    now, _ = begin(of, NOW)
    events = [Pressed("1"), Silent(5.0), Lasted(60.0), Learned(("name",)), Outcome("sms", "failed")]
    for _ in range(3):
        for event, said in zip(events, ["key", "silence", "after", "corrected", "outcome"], strict=True):
            now, due = happen(now, event, of, NOW)
            assert texts(due) == [said]


def test_a_fact_that_is_not_asked_for_to_happen_is_still_a_fact() -> None:
    """`not` something that happens asks for nothing to happen: such a stay is taken once a visit."""
    of = flow(a=state(when("", "once", slots={"name": ("heard",)}, but_not=Condition(key=("1",)))))
    now, due = learned(begin(of, NOW)[0], of, name=HEARD)
    assert texts(due) == ["once"]
    for _ in range(2):
        now, due = happen(now, Learned(), of, NOW)
        assert due == ()


# ---------------------------------------------------------------- outcomes that come too early

EARLY = flow(
    a=state(when("b", key=("1",)), when("d", key=("4",))),
    b=state(when("c", outcome={"mail": ("failed",)}), when("", "sent", outcome={"mail": ("done",)})),
    c=state(when("", "tool", outcome={"tool": ("done",)})),
    d=state(),
)


def test_an_outcome_is_known_whoever_minds_it() -> None:
    now, due = happen(begin(EARLY, NOW)[0], Outcome("nobody", "done"), EARLY, NOW)
    assert (now.outcomes, now.postponed, due) == ({"nobody": "done"}, (), ())
    now, _ = happen(now, Outcome("nobody", "failed"), EARLY, NOW)
    assert now.outcomes == {"nobody": "failed"}


def test_an_outcome_that_comes_too_early_is_kept_back_and_handed_over_later() -> None:
    now, due = happen(begin(EARLY, NOW)[0], Outcome("mail", "failed"), EARLY, NOW)
    assert (now.at, now.postponed, due) == ("a", (Outcome("mail", "failed"),), ())
    now, _ = happen(now, Pressed("1"), EARLY, NOW)
    assert now.at == "b"
    now, due = redeliver(now, EARLY, NOW)
    assert (now.at, now.postponed) == ("c", ())


def test_an_outcome_that_is_minded_now_is_not_kept() -> None:
    now, _ = happen(begin(EARLY, NOW)[0], Pressed("1"), EARLY, NOW)
    now, due = happen(now, Outcome("mail", "done"), EARLY, NOW)
    assert (now.at, now.postponed, texts(due)) == ("b", (), ["sent"])


def test_what_is_kept_back_goes_on_waiting_while_nobody_minds_it() -> None:
    now, _ = happen(begin(EARLY, NOW)[0], Outcome("mail", "failed"), EARLY, NOW)
    now, _ = happen(now, Pressed("4"), EARLY, NOW)
    now, due = redeliver(now, EARLY, NOW)
    assert (now.at, now.postponed, due) == ("d", (Outcome("mail", "failed"),), ())


def test_what_is_kept_back_is_handed_over_in_its_order() -> None:
    of = flow(
        a=state(when("b", key=("1",))),
        b=state(when("", "x", outcome={"x": ("done",)}), when("", "y", outcome={"y": ("done",)})),
    )
    now, _ = begin(of, NOW)
    for name in ("y", "x", "y"):
        now, _ = happen(now, Outcome(name, "done"), of, NOW)
    now, _ = happen(now, Pressed("1"), of, NOW)
    now, due = redeliver(now, of, NOW)
    assert (now.postponed, texts(due)) == ((), ["y", "x", "y"])


def test_what_is_kept_back_reaches_a_state_that_another_of_them_led_to() -> None:
    now, _ = happen(begin(EARLY, NOW)[0], Outcome("tool", "done"), EARLY, NOW)
    now, _ = happen(now, Outcome("mail", "failed"), EARLY, NOW)
    now, _ = happen(now, Pressed("1"), EARLY, NOW)
    now, due = redeliver(now, EARLY, NOW)
    assert (now.at, now.postponed, texts(due)) == ("c", (), ["tool"])


def test_an_outcome_that_no_state_asks_for_is_not_kept_back() -> None:
    """Some state minds the name, none this outcome of it."""
    now, due = happen(begin(EARLY, NOW)[0], Outcome("mail", "unknown"), EARLY, NOW)
    assert (now.postponed, due) == ((), ())


def test_an_outcome_does_not_get_lost_because_something_else_held_too() -> None:
    of = flow(
        a=state(when("", "hello", slots={"name": ("heard",)}), when("b", key=("1",))),
        b=state(when("c", outcome={"mail": ("failed",)})),
        c=state(),
    )
    now = known(begin(of, NOW)[0], name=HEARD)
    now, due = happen(now, Outcome("mail", "failed"), of, NOW)
    assert texts(due) == ["hello"]
    now, _ = happen(now, Pressed("1"), of, NOW)
    now, _ = redeliver(now, of, NOW)
    assert now.at == "c"


def test_no_more_is_kept_back_than_there_is_room_for() -> None:
    now, _ = begin(EARLY, NOW)
    for _ in range(POSTPONED_AT_MOST):
        now, due = happen(now, Outcome("mail", "failed"), EARLY, NOW)
        assert due == ()
    after, due = happen(now, Outcome("mail", "failed"), EARLY, NOW)
    assert len(after.postponed) == POSTPONED_AT_MOST
    (stuck,) = due
    assert isinstance(stuck, Stuck)
    assert "'mail'" in stuck.why


# ---------------------------------------------------------------- forgetting


@pytest.mark.parametrize(("slots", "left"), [((), set()), (("name",), {"phone"}), (("name", "size"), {"phone"})])
def test_what_is_forgotten_is_missing_again(slots: tuple[str, ...], left: set[str]) -> None:
    forget = Effect("forget", slots=slots)
    of = flow(a=state(Transition(Condition(key=("1",)), "b", (say("t"), forget, say("u")))), b=state())
    now = known(begin(of, NOW)[0], name=CONFIRMED, phone=HEARD)
    after, due = happen(now, Pressed("1"), of, NOW)
    assert set(after.slots) == left
    assert after.held("name").status is Status.MISSING
    assert texts(due) == ["t", "u"]


def test_what_is_forgotten_on_leaving_and_entering_is_unknown_to_the_guards_after_it() -> None:
    guard = {"name": ("confirmed",)}
    leaving = flow(
        a=state(when("b", key=("1",)), on_exit=(Effect("forget"),)), b=state(when("c", slots=guard)), c=state()
    )
    entering = flow(
        a=state(when("b", key=("1",))), b=state(when("c", slots=guard), on_entry=(Effect("forget"),)), c=state()
    )
    for of in (leaving, entering):
        now = known(begin(of, NOW)[0], name=CONFIRMED)
        assert happen(now, Pressed("1"), of, NOW)[0].at == "b"


# ---------------------------------------------------------------- guards


def true(condition: Condition, now: Dialogue | None = None, happening: object = None, at: object = NOW) -> bool:
    return holds(condition, now or Dialogue("a", visits={"a": 1}), happening or Learned(), at)


@pytest.mark.parametrize("status", Status)
def test_a_slot_has_one_of_the_statuses(status: Status) -> None:
    now = known(Dialogue("a"), name=Held("Ann", status))
    assert true(Condition(slots={"name": (status.value,)}), now)
    assert true(Condition(slots={"name": ("missing", "heard", status.value)}), now)
    others = tuple(other.value for other in Status if other is not status)
    assert not true(Condition(slots={"name": others}), now)


def test_a_slot_of_which_nothing_was_heard_is_missing() -> None:
    assert true(Condition(slots={"name": ("missing",)}))
    assert not true(Condition(slots={"name": ("missing",), "phone": ("heard",)}))


@pytest.mark.parametrize("status", Status)
def test_a_value_counts_only_while_it_is_known(status: Status) -> None:
    now = known(Dialogue("a"), size=Held("small", status))
    assert true(Condition(equals={"size": ("small", "large")}), now) == (status in {Status.HEARD, Status.CONFIRMED})
    assert not true(Condition(equals={"size": ("large",)}), now)


@pytest.mark.parametrize(
    ("held", "below", "is_below"),
    [
        (Held(), 1.0, False),
        (Held("Ann", Status.HEARD), 1.0, False),
        (Held("Ann", Status.UNCLEAR, model=0.1), 0.5, False),
        (Held("Ann", Status.HEARD, model=0.4), 0.5, True),
        (Held("Ann", Status.HEARD, model=0.5), 0.5, False),
        (Held("Ann", Status.HEARD, model=0.9, transcript=0.4), 0.5, True),
        (Held("Ann", Status.CONFIRMED, transcript=0.4), 0.5, True),
        (Held("Ann", Status.HEARD, captures=("Ann", "Anna", "Anna")), 0.5, True),
        (Held("Ann", Status.HEARD, captures=("Ann",)), 1.0, False),
        (Held("Ann", Status.HEARD, captures=("Ann", "Ann")), 1.0, False),
    ],
)
def test_one_is_as_sure_as_the_least_sure_source(held: Held, below: float, is_below: bool) -> None:
    assert true(Condition(confidence_below={"name": below}), known(Dialogue("a"), name=held)) == is_below


def test_tries_and_visits_are_counted_at_least() -> None:
    now = known(Dialogue("a", visits={"a": 2, "b": 9}), name=Held(tries=2))
    for asked, is_true in ((1, True), (2, True), (3, False)):
        assert true(Condition(tries={"name": asked}), now) == is_true
        assert true(Condition(visits=asked), now) == is_true
    assert not true(Condition(tries={"phone": 1}), now)


def test_a_state_may_mind_how_often_it_was_entered() -> None:
    of = flow(a=state(when("c", visits=3), when("b", key=("1",))), b=state(when("a")), c=state())
    now, _ = begin(of, NOW)
    seen = []
    for _ in range(2):
        now, _ = happen(now, Pressed("1"), of, NOW)
        seen.append(now.at)
    assert seen == ["a", "c"]


@pytest.mark.parametrize(
    ("hours", "within", "without"),
    [
        ("08:00-18:00", ["08:00", "12:30", "17:59:59"], ["07:59:59", "18:00", "00:00", "23:59"]),
        ("18:00-08:00", ["18:00", "23:59:59", "00:00", "07:59:59"], ["08:00", "12:00", "17:59:59"]),
        ("00:00-23:59", ["00:00", "23:58"], ["23:59"]),
        ("22:00-00:00", ["22:00", "23:59"], ["00:00", "21:59"]),
    ],
)
def test_a_time_of_day_may_lie_over_midnight(hours: str, within: list[str], without: list[str]) -> None:
    for moment, is_true in [*((each, True) for each in within), *((each, False) for each in without)]:
        at = datetime.datetime.combine(NOW.date(), datetime.time.fromisoformat(moment))
        assert true(Condition(hours=hours), at=at) == is_true, moment


def test_days_are_those_of_the_clock_it_is_given() -> None:
    days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
    monday = datetime.datetime(2026, 11, 23, 12)
    for number, day in enumerate(days):
        at = monday + datetime.timedelta(days=number)
        assert true(Condition(days=(day,)), at=at)
        assert not true(Condition(days=tuple(other for other in days if other != day)), at=at)
    assert not true(Condition(days=("mon",), hours="08:00-12:00"), at=monday)


@pytest.mark.parametrize(
    ("condition", "yes", "no"),
    [
        (Condition(key=("1", "#")), [Pressed("1"), Pressed("#")], [Pressed("2"), Learned(), Entered()]),
        (Condition(silence=5.0), [Silent(5.0)], [Silent(10.0), Lasted(5.0), Learned()]),
        (Condition(after=5.0), [Lasted(5.0)], [Lasted(6.0), Silent(5.0), Entered()]),
        (
            Condition(corrected=("name", "phone")),
            [Learned(("phone",)), Learned(("size", "name"))],
            [Learned(), Learned(("size",)), Pressed("1")],
        ),
        (
            Condition(outcome={"sms": ("failed", "unknown")}),
            [Outcome("sms", "failed"), Outcome("sms", "unknown")],
            [Outcome("sms", "done"), Outcome("mail", "failed"), Learned()],
        ),
    ],
)
def test_something_has_to_happen_now(condition: Condition, yes: list[object], no: list[object]) -> None:
    assert [true(condition, happening=each) for each in yes] == [True] * len(yes)
    assert [true(condition, happening=each) for each in no] == [False] * len(no)


FACTS = st.lists(st.booleans(), max_size=4)


def facts(values: list[bool]) -> tuple[Condition, ...]:
    return tuple(Condition(slots={"name": ("missing" if value else "heard",)}) for value in values)


@given(FACTS, FACTS, st.none() | st.booleans(), st.booleans())
def test_all_any_and_not_mean_what_they_say(every: list[bool], some: list[bool], nor: bool | None, own: bool) -> None:
    but_not = None if nor is None else facts([nor])[0]
    condition = attrs.evolve(facts([own])[0], all=facts(every), any=facts(some), but_not=but_not)
    assert true(condition) == (own and all(every) and (not some or any(some)) and not nor)


def test_an_empty_guard_always_holds() -> None:
    for happening in (Learned(), Entered(), Pressed("1"), Silent(1), Lasted(1), Outcome("x", "done")):
        assert true(Condition(), happening=happening)
    assert not true(Condition(but_not=Condition()))


# ---------------------------------------------------------------- timeouts, silences, routers


def test_the_timeouts_of_a_state_are_its_own_and_the_shared_ones_each_once() -> None:
    of = flow(
        when("", "x", silence=10.0),
        when("", "x", any=(Condition(silence=5.0), Condition(after=30.0))),
        a=state(when("b", silence=5.0), when("b", but_not=Condition(after=60.0))),
        b=state(when("a", after=5.0)),
    )
    assert timeouts(of, "a") == (("silence", 5.0), ("after", 60.0), ("silence", 10.0), ("after", 30.0))
    assert timeouts(of, "b") == (("after", 5.0), ("silence", 10.0), ("silence", 5.0), ("after", 30.0))


def test_silences_are_counted_and_nothing_else_is() -> None:
    of = flow(a=state(when("b", silence=5.0)), b=state())
    now, _ = begin(of, NOW)
    counted = []
    for happening in (Silent(3.0), Silent(5.0), Lasted(5.0), Pressed("1"), Silent(5.0)):
        now, _ = happen(now, happening, of, NOW)
        counted.append(now.idle)
    assert counted == [1, 2, 2, 2, 3]


def test_a_router_is_asked_when_no_transition_holds() -> None:
    asked: list[dict[str, object]] = []

    def router(what: dict[str, object]) -> str | None:
        asked.append(what)
        return "c" if what.get("name") == "Ann" else None

    of = flow(
        a=State("goal", transitions=(when("b", key=("1",)),), router=router, leads_to=("c",)),
        b=state(),
        c=state(on_entry=(say("in c"),)),
    )
    now, _ = begin(of, NOW)
    assert (now.at, asked) == ("a", [{"intent": ""}])
    assert happen(now, Pressed("1"), of, NOW)[0].at == "b"
    assert len(asked) == 1
    after, due = learned(attrs.evolve(now, wish="book"), of, name=HEARD, phone=Held("+1", Status.UNCLEAR))
    assert (after.at, texts(due)) == ("c", ["in c"])
    assert asked[-1] == {"intent": "book", "name": "Ann"}


def test_a_router_that_names_its_own_state_or_nothing_stays() -> None:
    for answer in ("a", "", None):
        of = flow(a=State("goal", router=lambda what, answer=answer: answer, leads_to=("a",)))
        now, due = begin(of, NOW)
        assert (now.at, now.visits, due) == ("a", {"a": 1}, ())


def test_a_router_may_lead_only_where_it_says() -> None:
    of = flow(a=State("goal", router=lambda what: "c", leads_to=("b",)), b=state(), c=state())
    now, due = begin(of, NOW)
    assert now.at == "a"
    assert due == (Stuck("the router of state 'a' leads to 'c', which is not in its leads_to"),)


def test_a_router_that_raises_is_noted_and_the_conversation_stays() -> None:
    now, due = begin(flow(a=State("goal", router=lambda what: 1 / 0, leads_to=("b",)), b=state()), NOW)
    assert now.at == "a"
    assert due == (Stuck("the router of state 'a' failed: ZeroDivisionError: division by zero"),)


def test_routers_that_send_the_caller_round_in_a_circle_are_noticed() -> None:
    of = flow(
        a=State("goal", router=lambda what: "b", leads_to=("b",)),
        b=State("goal", router=lambda what: "a", leads_to=("a",)),
    )
    _, due = begin(of, NOW)
    assert [type(each) for each in due] == [Stuck]


# ---------------------------------------------------------------- keys

BUSY = flow(
    when("", "again", key=("*",)),
    when("", "there?", silence=5.0),
    when("", "failed", outcome={"sms": ("failed",)}),
    a=state(
        when("b", "t", "u", key=("1",)),
        when("", "w", slots={"name": ("heard",)}),
        on_entry=(say("a"), say("a2")),
        on_exit=(say("x"),),
    ),
    b=state(when("a", "v", key=("1", "2")), on_entry=(say("b"),), on_exit=(say("y"), say("z"))),
)
THINGS = st.sampled_from(
    [Pressed("1"), Pressed("2"), Pressed("*"), Silent(5.0), Outcome("sms", "failed"), Learned(), "heard", "forget"]
)


def keys_of(things: list[object], *, turns: bool) -> list[str]:
    now, due = begin(BUSY, NOW)
    all_due = list(due)
    for thing in things:
        if turns:
            now = attrs.evolve(now, turn=now.turn + 1)
        if isinstance(thing, str):
            now = attrs.evolve(now, slots={"name": HEARD} if thing == "heard" else {})
            thing = Learned()
        now, due = happen(now, thing, BUSY, NOW)
        all_due += due
    return [each.key for each in all_due if isinstance(each, Done)]


@given(st.lists(THINGS, max_size=12))
def test_no_two_effects_of_a_call_have_the_same_key_when_each_is_in_a_turn_of_its_own(things: list[object]) -> None:
    keys = keys_of(things, turns=True)
    assert len(set(keys)) == len(keys)


@given(st.lists(THINGS, max_size=12))
def test_no_two_effects_of_a_call_have_the_same_key_also_within_a_turn(things: list[object]) -> None:
    """Silences, and outcomes of several errands, come without a word of the caller between them."""
    keys = keys_of(things, turns=False)
    assert len(set(keys)) == len(keys)


def test_the_key_of_an_effect_is_the_same_when_the_same_is_done_again_after_a_resumption() -> None:
    now, _ = begin(BUSY, NOW)
    once, again = (happen(attrs.evolve(now, turn=3), Pressed("1"), BUSY, NOW) for _ in range(2))
    assert once == again


def test_what_is_done_on_beginning_again_is_not_taken_for_what_was_done_at_the_beginning() -> None:
    """Errands are claimed in the store by their keys: the second message would never be sent."""
    now, first = begin(BUSY, NOW)
    desk = Desk(BUSY, "+12125550123", Disposition.DIAL, NOW)
    again = desk.answer(ToolCall("c1", "start_over", {}, ""), attrs.evolve(now, turn=3), spoke=False)
    assert [each.effect for each in again.due if isinstance(each, Done)] == [say("a"), say("a2")]
    keys = [each.key for each in (*first, *again.due) if isinstance(each, Done)]
    assert len(set(keys)) == len(keys)


def test_the_machine_changes_nothing_that_it_is_given() -> None:
    now, _ = begin(BUSY, NOW)
    before = attrs.asdict(now)
    for thing in (Pressed("1"), Silent(5.0), Outcome("sms", "failed")):
        happen(now, thing, BUSY, NOW)
    assert attrs.asdict(now) == before
