"""The simulator: calls from seeds, with faults, judged from outside. Many more seeds are run by `triode sim`."""

import attrs
import pytest

from transport import cli
from transport.loopback import sim_report, simulation
from transport.loopback.sim_plan import KINDS, Plan, plan_of
from transport.loopback.simulation import Verdict, shrunk, simulate

SEEDS = range(7000, 7010)
ONCE_WRONG = {
    12: "a session that had stopped: no filler while the model did not hear the caller",
    64: "a slow store: the delivery was promised only as long as the ringing caller was patient",
    127: "a store that was down when the call ended: the record and the delivery were lost",
    1051: "tool results and a second try restarted the caller's wait",
}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_simulated_call_goes_as_it_should(seed: int) -> None:
    verdict = simulate(plan_of(seed))
    assert verdict.wrong == (), f"{verdict.plan}\n{verdict.timeline}"


@pytest.mark.parametrize("seed", ONCE_WRONG)
def test_what_the_simulator_once_found_stays_mended(seed: int) -> None:
    verdict = simulate(plan_of(seed))
    assert verdict.wrong == (), f"{ONCE_WRONG[seed]}\n{verdict.plan}\n{verdict.timeline}"


@pytest.mark.parametrize("seed", [41])
def test_the_same_seed_gives_the_same_log_twice(seed: int) -> None:
    first, second = simulate(plan_of(seed)), simulate(plan_of(seed))
    assert first.log
    assert first.log == second.log


def test_a_plan_is_drawn_from_its_seed_and_every_kind_of_fault_is_drawn() -> None:
    assert plan_of(5) == plan_of(5)
    drawn = {fault.kind for seed in range(200) for fault in plan_of(seed).faults}
    assert drawn == set(KINDS)
    only = {fault.kind for seed in range(50) for fault in plan_of(seed, ("model_drop",)).faults}
    assert only == {"model_drop"}


# ---------------------------------------------------------------- it notices


QUIET = attrs.evolve(plan_of(0), flow="appointment", faults=())


def test_a_caller_who_is_left_in_silence_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    from actors.waiting import CallerWait, Rung

    monkeypatch.setattr(CallerWait, "next", lambda self: (float("inf"), Rung.FILLER))
    stalled = next(plan for plan in map(plan_of, range(500)) if [f.kind for f in plan.faults] == ["model_no_replies"])
    assert any("silence" in wrong for wrong in simulate(stalled).wrong)


def test_a_delivery_that_is_not_made_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    from transport.records import Records

    async def never(self: Records, call_sid: str, due: float) -> None:
        """Promises nothing."""

    monkeypatch.setattr(Records, "promise_delivery", never)
    assert "deliveries: {}" in simulate(QUIET).wrong


def test_a_bug_in_an_actor_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    from actors.framer import Framer

    def broken(self: Framer, message: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(Framer, "_add_audio", broken)
    assert any("bug" in wrong for wrong in simulate(QUIET).wrong)


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
    assert "2 calls in 10 s" in text
    assert "0.50 h a minute of CPU" in text
    assert "wrong: seed 2: greeted twice" in text
    assert "1 went as they should, 1 did not" in text
    for fault in (*good.faults, *bad.faults):
        assert fault.kind in text


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
