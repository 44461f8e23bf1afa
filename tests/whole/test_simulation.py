"""The simulator: calls from seeds, with faults, judged from outside. Many more seeds are run by `triode sim`."""

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import pytest
import trio

from actors.ear import Ear
from actors.framer import Framer
from actors.handover import Handover
from actors.ledger import HeardLedger
from actors.mailbox import Mailbox
from actors.messages import Before, Disposition, Floor
from actors.model_lines import ModelLines
from actors.notebook import CallRecord
from actors.reply_desk import ReplyDesk
from actors.waiting import CallerWait, Rung
from transport import cli
from transport.errand_desk import ErrandDesk
from transport.loopback import sim_judge, sim_report, simulation
from transport.loopback.script import Transcript
from transport.loopback.sim_faults import DEPLOYS
from transport.loopback.sim_plan import FIRST_KINDS, KINDS, NEWEST_FROM, NEWEST_KINDS, Act, Fault, Plan, plan_of
from transport.loopback.sim_setting import SHIPPED, Setting
from transport.loopback.simulation import Verdict, shrunk, simulate
from transport.media_socket import MediaSocket
from transport.records import Records
from transport.stream_token import StreamTokens
from transport.switchboard import Switchboard

SEEDS = range(7000, 7200)
LONG_SEEDS = (*range(8000, 8006), 1200000, 1200006, 1200014, 1200017, 1200033, 1200043)


def a_plan(seed: int, *faults: Fault, flow: str = "appointment", bystanders: int = 0) -> Plan:
    """The caller of `seed`, who hisses and types when nobody speaks, and its model, with these faults."""
    acts = tuple(attrs.evolve(act, voiced=False, keys="") for act in plan_of(seed).acts)
    return Plan(seed, flow, acts, faults, bystanders)


ONCE_WRONG = {
    "a session that had stopped: no filler while the model did not hear the caller": plan_of(12, FIRST_KINDS),
    "a slow store: the delivery was promised only as long as the ringing caller was patient": plan_of(64, FIRST_KINDS),
    "a store that was down when the call ended: the record and the delivery were lost": plan_of(127, FIRST_KINDS),
    "tool results and a second try restarted the caller's wait": plan_of(1051, FIRST_KINDS),
    "a call that was moved waited in silence for the rest of a reply that nobody made any more": Plan(
        126,
        "appointment",
        (
            Act("interrupt", "John Smyth, S M Y T H.", 1.6),
            Act("interrupt", "What are your opening hours?", 1.6),
            Act("say", "J dot Smyth at gmail dot com.", 0.8),
        ),
        (Fault("server_drains", 9.95, 9.6),),
    ),
    "what the caller said over the agent to a session that was dying was lost": a_plan(
        554, Fault("model_half_open", 18.53, 11.2), flow="after_hours"
    ),
    "the caller was speaking when the session was lost, and there was no other for long: no filler": a_plan(
        65, Fault("model_away", 9.42, 8.87)
    ),
    "a slow store and a server that died: the next one did not wait for the story, and wrote over it": Plan(
        10308,
        "after_hours",
        (
            Act("interrupt", "Thank you.", 0.8),
            Act("say", "Yes, that is right.", 1.6),
            Act("say", "Hello? Are you there?", 1.6),
        ),
        (Fault("store_slow", 15.21, 3.33), Fault("worker_dies", 21.36, 3.97), Fault("model_half_open", 7.18, 6.86)),
    ),
    "what was found to be heard when the caller spoke was kept with their next words only": a_plan(
        80146, Fault("worker_dies", 25.1, 1.17), Fault("marks_bunched", 16.28, 11.14)
    ),
    "the result of a tool was answered, the answer cut before it was heard, and the session lost": a_plan(
        80604, Fault("model_expire", 18.17, 7.6), flow="after_hours"
    ),
    "a reply that was received whole, of which nobody had said so, was told without its last words": a_plan(
        80755, Fault("model_cut_down", 14.89, 8.09), flow="after_hours"
    ),
    "a word over the greeting, which a session that was dead did not hear, was lost": a_plan(
        120901, Fault("model_half_open", 0.57, 11.68), flow="after_hours"
    ),
    "who spoke over the agent's last words to a session that had stalled sat in silence": a_plan(
        70091, Fault("model_stall", 9.29, 6.86), flow="after_hours"
    ),
    "a word over the agent was a noise, as a session that had stalled confirmed nothing": a_plan(
        130165, Fault("model_stall", 0.62, 6.32), flow="after_hours"
    ),
    "a session that took no audio heard nothing, and neither did the link: no filler": a_plan(
        120971, Fault("model_away", 33.63, 6.43), Fault("model_half_open", 10.21, 2.82)
    ),
    "a session died that had heard the caller begin and not end, over the agent: silence": a_plan(
        151194, Fault("model_half_open", 10.07, 9.99)
    ),
    "a server died before a slow store had the promise of a delivery: it was never made": a_plan(
        150083, Fault("worker_dies", 3.21, 6.71), Fault("store_slow", 30.22, 10.69), flow="after_hours"
    ),
    "what still came of a reply that the caller had broken off passed for an answer to them: silence": Plan(
        300157,
        "after_hours",
        (
            Act("wait", seconds=20.0),
            Act("say", "J dot Smyth at gmail dot com.", 0.3, voiced=True),
            Act("interrupt", "John Smyth, S M Y T H.", 0.3, voiced=True),
        ),
        (Fault("model_deaf", 9.7, 11.21),),
        delta_ms=37,
    ),
    "what was said while a model that lived was waited for was lost when it never answered": Plan(
        360182,
        "after_hours",
        (Act("say", "J dot Smyth at gmail dot com.", 0.8), Act("say", "Hello? Are you there?", 0.3)),
        (Fault("model_no_replies", 26.53, 3.22), Fault("model_deaf", 2.91, 6.37)),
    ),
    "words without a transcript were lost with a session that answered nobody, when the next ones were written": Plan(
        400113,
        "after_hours",
        (
            Act("press", "1"),
            Act("say", "Can I speak to a person?", 0.3, voiced=True),
            Act("interrupt", "Four one five, double five five, two six seven one.", 0.3, voiced=True),
            Act("interrupt", "Thank you.", 0.3, voiced=True),
        ),
        (Fault("model_close", 21.73, 6.5), Fault("model_no_replies", 6.61, 4.33)),
        transcripts=(Transcript("empty", 700), Transcript("written", 100)),
    ),
    "words without a transcript were forgotten over the fillers of a model that lived and never answered": Plan(
        410030,
        "appointment",
        (Act("say", "J dot Smyth at gmail dot com.", 0.3, voiced=True), Act("wait", seconds=20.0)),
        (Fault("model_no_replies", 11.94, 4.5),),
        transcripts=(Transcript("torn", 100),),
    ),
    "a model that was too busy and heard nobody seemed to have noticed who spoke when it was asked again": Plan(
        410140,
        "appointment",
        (Act("say", "No, B as in boy.", voiced=True), Act("say", "Tuesday at three.", voiced=True)),
        (Fault("model_deaf", 16.37, 11.09), Fault("model_busy", 28.47, 3.87)),
        setting=Setting(max_silence=6.0, append_ms=40),
    ),
    "a deaf model, and no transcripts: who spoke again was not believed once more, and sat in silence": plan_of(881027),
    "a turn without words was answered, the answer never heard, and the session lost: nobody heard it again": plan_of(
        990023
    ),
    "a server that was told to go did not wait for who left its last stream for the menu": plan_of(1200008),
    "a judge that took a number which the caller left in the menu for one that was not kept": plan_of(1400338),
    "a judge that took a word for known of which nobody can tell whether it was the last": plan_of(1000239),
    "of late words of a turn that the model had forgotten it was told the first ones only": Plan(
        1200432,
        "appointment",
        (Act("press", "42#"), Act("interrupt", "Can I speak to a person?", 0.3)),
        (Fault("model_busy", 26.01, 4.06),),
        delta_ms=37,
        setting=Setting(max_silence=2.5, turn_silence_ms=300, append_ms=100),
    ),
    "what the caller said was pushed out of what is kept by the silence of a long wait for a model that was deaf": Plan(
        1200517,
        "appointment",
        (Act("say", "Yes, that is right.", 0.3, keys="42#"), Act("say", "I am not sure.", 1.6)),
        (Fault("model_no_replies", 8.58, 7.58), Fault("model_deaf", 0.95, 2.74)),
        delta_ms=187,
    ),
    "a judge that wanted the carrier to be told to stop what it had never got: the model had begun too late": Plan(
        480103,
        "appointment",
        (Act("press", "#"), Act("interrupt", "Four one five, double five five, two six seven one.", 1.6)),
        (Fault("net_slow", 24.88, 10.48), Fault("model_wordless", 16.86, 5.61)),
        delta_ms=37,
    ),
}


def short(seed: int) -> Plan:
    """The plan of a seed as a short call, with all its faults."""
    plan = plan_of(seed)
    sooner = tuple(attrs.evolve(fault, at=fault.at / 2) for fault in plan.faults)
    return attrs.evolve(plan, acts=plan.acts[: 1 + seed % 2], faults=sooner, bystanders=int(seed % 4 == 0))


@pytest.mark.parametrize("plan", [*map(short, SEEDS), *map(plan_of, LONG_SEEDS)], ids=lambda plan: f"seed {plan.seed}")
def test_a_simulated_call_goes_as_it_should(plan: Plan) -> None:
    verdict = simulate(plan)
    assert verdict.wrong == (), f"{verdict.plan}\n{verdict.timeline}"


def test_every_kind_of_fault_is_in_the_simulated_calls() -> None:
    plans = [*map(short, SEEDS), *map(plan_of, LONG_SEEDS)]
    assert {fault.kind for plan in plans for fault in plan.faults} == set(KINDS)
    assert any(act.what == "go on" for plan in plans for act in plan.acts)


@pytest.mark.parametrize("what", ONCE_WRONG)
def test_what_the_simulator_once_found_stays_mended(what: str) -> None:
    verdict = simulate(ONCE_WRONG[what])
    assert verdict.wrong == (), f"{what}\n{verdict.plan}\n{verdict.timeline}"


@pytest.mark.parametrize(
    "plan",
    [
        plan_of(41, FIRST_KINDS),
        attrs.evolve(a_plan(3), faults=(Fault("worker_dies", 12.0), Fault("net_lossy", 1.0, 8.0)), bystanders=1),
        attrs.evolve(
            a_plan(3, Fault("model_drop", 8.0), Fault("model_unread", 3.0, 4.0)),
            setting=Setting(max_silence=2.5, barge_in="local", failover=True, turn_silence_ms=900, append_ms=100),
            transcripts=(Transcript("failed", 2500), Transcript("torn", 100)),
        ),
        plan_of(1200006),
    ],
    ids=[
        "a model that fails",
        "a server that dies, on a bad network, with a bystander",
        "another setting, and words that come late or never",
        "a number that is dictated, and a server that goes while nobody has a model",
    ],
)
def test_the_same_seed_gives_the_same_log_twice(plan: Plan) -> None:
    first, second = simulate(plan), simulate(plan)
    assert first.log
    assert first.log == second.log


def test_the_same_seed_keeps_and_delivers_the_same_whatever_the_real_clock_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept: list[tuple[Any, ...]] = []
    judged = sim_judge.judged

    def look(case: sim_judge.Case) -> list[str]:
        store = case.world.store
        kept.append((store.records, store.calls, store.delivery_rows, case.world.backend.deliveries))
        return judged(case)

    monkeypatch.setattr(sim_judge, "judged", look)
    plan = a_plan(3, Fault("model_expire", 1.0, 3.0))
    simulate(plan)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 1e8 + 0.37)
    simulate(plan)
    assert all(kept[0])
    assert kept[0] == kept[1]


def test_a_plan_is_drawn_from_its_seed_and_every_kind_of_fault_is_drawn() -> None:
    assert plan_of(5) == plan_of(5)
    drawn = [plan_of(seed) for seed in range(400)]
    assert {fault.kind for plan in drawn for fault in plan.faults} == set(KINDS) - set(NEWEST_KINDS)
    assert {plan.bystanders for plan in drawn} == {0, 1, 2}
    only = {fault.kind for seed in range(50) for fault in plan_of(seed, ("model_drop",)).faults}
    assert only == {"model_drop"}


def test_every_setting_and_all_that_can_become_of_a_transcript_is_drawn() -> None:
    drawn = [plan_of(seed) for seed in range(400)]
    for name, usual in attrs.asdict(SHIPPED).items():
        values = [getattr(plan.setting, name) for plan in drawn]
        assert len(set(values)) == (2 if isinstance(usual, bool) else 3), name
        assert max(values, key=values.count) == usual
    written = {each.how for plan in drawn for each in plan.transcripts}
    assert written == {"written", "empty", "failed", "torn", "missing"}
    assert any(act.keys for plan in drawn for act in plan.acts)


def test_what_is_drawn_since_leaves_the_rest_of_a_seed_as_it_was() -> None:
    plan = plan_of(370104)
    said = ("interrupt John Smyth, S M Y T H.", "interrupt Thank you.", "wait 9 s")
    assert tuple(map(str, plan.acts)) == said
    assert plan.faults == (Fault("model_deaf", 38.46, 4.93), Fault("model_half_open", 25.99, 2.37))
    assert (plan.flow, plan.bystanders, plan.delta_ms) == ("appointment", 1, 200)


def test_the_newest_things_are_in_seeds_from_a_bound_on_and_in_none_before() -> None:
    before, after = ([plan_of(NEWEST_FROM + seed) for seed in seeds] for seeds in (range(-200, 0), range(60)))
    for plans, there in ((before, set[str]()), (after, set(NEWEST_KINDS))):
        assert {fault.kind for plan in plans for fault in plan.faults} & set(NEWEST_KINDS) == there
        assert any(act.what == "go on" for plan in plans for act in plan.acts) == bool(there)
    assert {fault.kind for seed in range(50) for fault in plan_of(seed, NEWEST_KINDS).faults} == set(NEWEST_KINDS)


def test_a_plan_is_brought_down_to_the_setting_as_it_is_shipped() -> None:
    plan = attrs.evolve(QUIET, setting=Setting(max_silence=6.0), transcripts=(Transcript("missing"),))
    smaller = list(plan.smaller())
    assert attrs.evolve(plan, setting=SHIPPED) in smaller
    assert attrs.evolve(plan, transcripts=()) in smaller
    assert "setting: max_silence 6.0\n  transcripts: missing after 400 ms" in str(plan)


def test_seeds_with_the_first_kinds_of_faults_still_mean_what_they_meant() -> None:
    acts = (
        Act("say", "J dot Smyth at gmail dot com.", 0.3),
        Act("interrupt", "Yes, that is right.", 1.6),
        Act("say", "I would like an appointment please.", 1.6),
        Act("interrupt", "J dot Smyth at gmail dot com.", 0.8),
        Act("say", "Yes, that is right.", 1.6),
    )
    assert plan_of(12, FIRST_KINDS) == Plan(12, "after_hours", acts, (Fault("model_stall", 4.17, 11.02),))


# ---------------------------------------------------------------- it notices


QUIET = a_plan(0)
EXPIRES = Plan(60046, "after_hours", (Act("say", "Thank you."),), (Fault("model_expire"),))


def test_a_session_may_last_to_its_end_only_if_no_other_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    away = (*EXPIRES.faults, Fault("model_away", 16.81, 6.0))
    assert simulate(attrs.evolve(EXPIRES, faults=away)).wrong == ()
    monkeypatch.setattr(ModelLines, "prepare_due", lambda self: float("inf"))
    assert noticed(EXPIRES, "the model complains: ['session_expired']")


def noticed(plan: Plan, what: str) -> bool:
    """Whether the simulator says so of `plan`."""
    return any(what in wrong for wrong in simulate(plan).wrong)


def test_a_caller_who_is_left_in_silence_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CallerWait, "next", lambda self: (float("inf"), Rung.FILLER))
    assert noticed(a_plan(0, Fault("model_no_replies")), "silence")


def test_the_bound_of_silence_is_that_of_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = attrs.evolve(a_plan(0, Fault("model_slow", 0.0, 12.0)), acts=(Act("say", "Tuesday at three."),))
    assert simulate(slow).wrong == ()
    monkeypatch.setattr(CallerWait, "_filler_due", lambda self: self._quiet_since + 4.5)
    assert simulate(attrs.evolve(slow, setting=Setting(max_silence=6.0))).wrong == ()
    assert noticed(attrs.evolve(slow, setting=Setting(max_silence=2.5)), "s of silence after the caller spoke")


def test_who_speaks_to_a_deaf_model_is_heard_all_the_same_and_it_is_noticed_if_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    acts = (Act("say", "Tuesday at three."), Act("wait", seconds=9.0))
    deaf = Plan(0, "appointment", acts, (Fault("model_deaf"),))
    assert simulate(deaf).wrong == ()
    monkeypatch.setattr(Ear, "long", False)
    assert noticed(deaf, "9.5 s of silence after the caller spoke")


def test_a_delivery_that_is_not_made_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(self: Records, call_sid: str, due: float) -> None:
        """Promises nothing."""

    monkeypatch.setattr(Records, "promise_delivery", never)
    assert noticed(QUIET, "deliveries: {}")


def test_a_bug_in_an_actor_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Framer, message: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(Framer, "_add_audio", broken)
    assert noticed(QUIET, "a bug: ")


def test_a_truncation_that_is_not_what_was_played_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HeardLedger, "played", lambda self, now: self._sent)
    assert noticed(a_plan(5), "was truncated")


def test_an_agent_that_is_cut_and_goes_on_talking_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def not_told(self: MediaSocket) -> None:
        """Tells the carrier nothing."""

    monkeypatch.setattr(MediaSocket, "send_clear", not_told)
    assert noticed(a_plan(5), "the carrier was not told to stop")


def test_what_is_played_after_it_was_cut_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    yields = Framer.yield_floor

    def yields_and_forgets(self: Framer, reason: Floor) -> None:
        yields(self, reason)
        self._muted.clear()

    monkeypatch.setattr(Framer, "yield_floor", yields_and_forgets)
    monkeypatch.setattr(ReplyDesk, "wanted", lambda self, reply: True)
    assert noticed(a_plan(38), "was played after it was cut")


def test_a_detail_that_is_not_kept_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    keep = Records.keep_story

    async def keep_little(
        self: Records, call_sid: str, caller: str, called: str, story: Mapping[str, Any], *, over: bool
    ) -> None:
        less = {**story, "dialogue": {**story["dialogue"], "slots": {}}}
        await keep(self, call_sid, caller, called, less, over=over)

    monkeypatch.setattr(Records, "keep_story", keep_little)
    assert noticed(a_plan(4), "and kept is ''")


def test_a_turn_that_is_lost_with_its_session_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Handover, "unheard", lambda self: [])
    assert noticed(a_plan(5, Fault("model_drop", 7.94)), "was lost with its session")


def test_a_reply_that_was_heard_and_is_not_told_to_the_next_session_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Handover, "finished", lambda self: {})
    assert noticed(a_plan(9, Fault("model_drop", 9.0)), "does not know that the caller heard 'We are open")


def test_who_speaks_while_there_is_no_session_and_is_left_in_silence_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(CallerWait, "spoke_to_nobody", lambda self, now: None)
    monkeypatch.setattr(CallerWait, "_filler_due", lambda self: float("inf"))
    assert noticed(a_plan(65, Fault("model_away", 9.42, 8.87)), "s of silence after the caller spoke")


def test_half_a_turn_that_is_lost_with_its_session_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Handover, "unheard", lambda self: [])
    monkeypatch.setattr(Handover, "onset", lambda self: [])
    assert noticed(a_plan(269, Fault("model_drop", 33.9)), "nobody heard the caller say")


def test_keys_that_are_lost_with_their_session_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Handover, "unanswered", lambda self: [])
    plan = Plan(882, "after_hours", (Act("press", "1"), Act("wait", seconds=9.0)), (Fault("model_stall", 4.84),))
    assert noticed(plan, "lost with its session: [The caller pressed these keys")


def test_a_mailbox_that_holds_more_than_it_may_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    put = Mailbox._put

    def put_one_more(self: Mailbox[Any], item: object) -> None:
        put(self, item)
        self._peak = self.capacity + 1

    monkeypatch.setattr(Mailbox, "_put", put_one_more)
    assert noticed(QUIET, "held 5 of 4")


def test_a_second_greeting_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    make = StreamTokens.make

    def as_if_new(self: StreamTokens, call_sid: str, **what: Any) -> str:
        return make(self, call_sid, **{**what, "before": Before.NOTHING})

    monkeypatch.setattr(StreamTokens, "make", as_if_new)
    assert noticed(a_plan(153, Fault("stream_drop", 15.8)), "greeted twice")


def test_an_effect_that_is_carried_out_twice_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    text = ErrandDesk._text

    async def text_twice(self: ErrandDesk, *what: str) -> tuple[str, str, dict[str, object]]:
        await text(self, *what)
        return await text(self, *what)

    monkeypatch.setattr(ErrandDesk, "_text", text_twice)
    assert noticed(a_plan(5, flow="after_hours"), "a message was sent twice")


def test_a_call_that_suffers_from_another_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def end_all(self: Switchboard, call_sid: str, reason: str, *, lost: bool) -> None:
        for call in list(self._calls.values()):
            call.carrier_gone(reason, lost=lost)

    monkeypatch.setattr(Switchboard, "_end_streams", end_all)
    assert noticed(a_plan(108, Fault("stream_drop", 4.86), bystanders=1), "bystander")


def test_a_call_without_a_record_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def keep_nothing(self: Records, record: CallRecord) -> None:
        """Keeps nothing."""

    monkeypatch.setattr(Records, "keep_record", keep_nothing)
    assert noticed(QUIET, "0 records of 1 streams")


def test_a_write_that_is_never_made_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(self: Records) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(Records, "catch_up", never)
    assert noticed(a_plan(143, Fault("store_down", 27.37, 10.74)), "writes that were never made")


def test_a_task_that_outlives_its_call_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    keep = Records.keep_record

    async def keep_and_linger(self: Records, record: CallRecord) -> None:
        await keep(self, record)
        trio.lowlevel.spawn_system_task(trio.sleep_forever)

    monkeypatch.setattr(Records, "keep_record", keep_and_linger)
    assert noticed(QUIET, "1 tasks are left")


def test_a_place_that_is_kept_for_nobody_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    expect = Switchboard.expect

    def expect_for_ever(self: Switchboard, call_sid: str) -> None:
        expect(self, f"{call_sid}x")
        self._expected[f"{call_sid}x"] = float("inf")
        expect(self, call_sid)

    monkeypatch.setattr(Switchboard, "expect", expect_for_ever)
    assert noticed(QUIET, "still expected")


def test_a_caller_who_waits_long_after_their_server_died_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    disposition = Records.disposition

    async def slowly(self: Records, call_sid: str) -> Disposition | None:
        await trio.sleep(3)
        return await disposition(self, call_sid)

    monkeypatch.setattr(Records, "disposition", slowly)
    assert noticed(a_plan(30, Fault("worker_dies", 35.87)), "until somebody was heard after the server died")


def test_a_server_that_goes_while_a_caller_is_in_the_menu_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    until_empty = Switchboard._until_empty
    monkeypatch.setattr(Switchboard, "_until_empty", lambda self, menus=False: until_empty(self))
    assert noticed(plan_of(1200008), "the server went after")


def test_a_call_that_is_moved_again_and_again_goes_on_until_the_caller_hangs_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    acts = tuple(Act("say", "I am not sure.") for _ in range(10))
    moved = Plan(0, "appointment", acts, (Fault("server_deploys", 6.0, 4.0),))
    streams: list[int] = []
    judged = sim_judge.judged

    def look(case: sim_judge.Case) -> list[str]:
        streams.extend(len(party.call.streams) for party in case.parties)
        return judged(case)

    monkeypatch.setattr(sim_judge, "judged", look)
    assert simulate(moved).wrong == ()
    assert streams == [1 + DEPLOYS]


def test_a_call_that_does_not_end_well_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(self: Records, call_sid: str) -> Disposition | None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(Records, "disposition", nothing)
    assert noticed(a_plan(108, Fault("stream_drop", 4.86)), "the call ended so: error")


# ---------------------------------------------------------------- what is told


def test_a_failing_plan_is_brought_down_to_what_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails_if_dropped(plan: Plan) -> Verdict:
        wrong = ("it was dropped",) if plan.fault("model_drop") and len(plan.acts) > 1 else ()
        return Verdict(plan, wrong, (), "", (), 1.0, 1.0)

    monkeypatch.setattr(simulation, "simulate", fails_if_dropped)
    plan = next(p for p in map(plan_of, range(500)) if p.fault("model_drop") and len(p.faults) > 1 and len(p.acts) > 3)
    smallest = shrunk(plan)
    assert [fault.kind for fault in smallest.plan.faults] == ["model_drop"]
    assert len(smallest.plan.acts) == 2
    assert smallest.wrong


def test_the_report_tells_speed_coverage_and_what_went_wrong() -> None:
    good, bad = plan_of(1), plan_of(2)
    verdicts = [
        Verdict(good, (), (), "", ("wish", "name"), 60.0, 2.0),
        Verdict(bad, ("greeted twice",), (), "", ("wish",), 30.0, 1.0),
    ]
    text = sim_report.report(verdicts, 10.0)
    beside = good.bystanders + bad.bystanders
    assert f"2 calls and {beside} beside them in 10 s: {(2 + beside) / 10:.1f} a second" in text
    assert "0.50 h a minute of CPU" in text
    assert "wrong: seed 2: greeted twice" in text
    assert "1 went as they should, 1 did not" in text
    drawn = {fault.kind for fault in (*good.faults, *bad.faults)}
    assert f"{len(drawn)} of {len(KINDS)} kinds of fault" in text
    for fault in (*good.faults, *bad.faults):
        assert fault.kind in text


def test_a_seed_that_went_wrong_is_told_while_the_others_still_run(capsys: pytest.CaptureFixture[str]) -> None:
    def played() -> Iterator[Verdict]:
        for seed, wrong in enumerate(((), ("greeted twice", "a bug"), ())):
            told.append(capsys.readouterr().out)
            yield Verdict(a_plan(seed), wrong, (), "", (), 60.0, 2.0)

    told: list[str] = []
    assert len(list(sim_report.told_at_once(played()))) == 3
    assert told == ["", "", "wrong: seed 1: greeted twice; a bug\n"]


def test_a_run_that_is_killed_leaves_no_process_that_waits_for_more() -> None:
    code = "import os; from transport.loopback import sim_report as r; r.processes(1).submit(os.getpid).result(); os._exit(9)"
    ran = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, timeout=60, check=False)
    assert ran.returncode == 9  # and nobody has its output open any more


def test_the_command_names_the_kinds_of_faults_and_refuses_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, status in ((["--faults", "list"], 0), (["--faults", "model_drop,rain"], 2)):
        monkeypatch.setattr("sys.argv", ["triode", "sim", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == status
        told = capsys.readouterr()
        assert "model_stall" in told.out + told.err
