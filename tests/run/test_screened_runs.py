"""A run with too little time for all pairs: planned, measured step by step, judged; and what it says it left out."""

from __future__ import annotations

from dataclasses import replace

import pytest

import runs
from bench.judge.blame import transfers
from bench.judge.evidence import Evidence
from bench.judge.verdicts import judge
from bench.model.measurement import Measurement
from bench.model.verdict import Status
from bench.plan import AcceptOptions, Job, acceptance, fit_to_budget, step_phase
from bench.plan.phase_names import BUDGET, FIRST, GIVEN_UP
from bench.plan.screening import ScreeningTask, most_steps, step
from bench.store import Plan, load
from bench.store.rows import row_of

MADE = runs.two_rails(runs.RAIL_BOUND)
RATE = 1.2e9
WHERE = runs.ranks(12, 2)


def measured(case, slow) -> list[Measurement]:
    """Every ring of a case as fast as its slowest link; ``slow`` (node, rail) or (node, node, rail): at half."""
    made = []
    for number, group in enumerate(case.groups):
        names = [WHERE[rank].node for rank in group]
        rail = MADE.rails.devices[WHERE[group[0]].local_rank]
        links = {frozenset(pair) for pair in zip(names, (*names[1:], names[0]), strict=True)}
        hit = (
            slow
            and rail == slow[-1]
            and (slow[0] in names if len(slow) == 2 else frozenset(slow[:2]) in links)
        )
        rate = RATE * (1 + 0.001 * (number % 3)) * (0.5 if hit else 1.0)
        made.append(runs.measured(case, seconds=case.size / rate)[number])
    return made


def screened_run(tmp_path, slow=None, most=99, lost=()):
    """A run as phases._trace drives it, with the rows made."""
    asked = AcceptOptions(screened="screening", budget=600.0)
    job = Job(MADE, WHERE, "gloo", asked, MADE.rails.devices)
    made, skipped = acceptance(Job(MADE, WHERE, "gloo", asked, MADE.rails.devices), 0.5)
    phases = [phase for phase in made if phase.name == "screen-1"]
    done = [row for case in phases[0].cases for row in measured(case, slow) if case.id not in lost]
    for number in range(2, 2 + 4 * most_steps([rank.node for rank in WHERE])):
        cases = {case.id: case for phase in phases for case in phase.cases}
        names, rails = tuple(dict.fromkeys(rank.node for rank in WHERE)), MADE.rails.devices
        problem = ScreeningTask(names, rails, transfers.rules(MADE).nominal)
        now = step(problem, transfers.ring_rates([row_of(cases[r.case], r) for r in done], WHERE, rails))
        if now.done or len(phases) == most or lost:
            break
        phases.append(step_phase(job, number, now.probes))
        done += [row for case in phases[-1].cases for row in measured(case, slow)]
    rows_ = ((BUDGET, "60 s of 10 min 0 s"), (GIVEN_UP, "pairs of nodes: rings are screened instead"))
    plan = Plan(tuple(phases), skipped=(*rows_, *skipped))
    folder = runs.folder(
        tmp_path / "run",
        done,
        [case for phase in phases for case in phase.cases],
        WHERE,
        profile=MADE,
        plan=plan,
    )
    return judge(load(folder), MADE).run


def of(run, check):
    return [verdict for verdict in run.verdicts if verdict.check == check]


def test_a_healthy_screening_clears_the_ports_and_does_not_pass_for_the_paths_it_left_out(tmp_path):
    run = screened_run(tmp_path)
    (verdict,) = of(run, "blame.screening")
    assert verdict.status is Status.PASS
    assert "24 of 24 ports" in verdict.measured
    budget = of(run, "coverage.budget")
    assert {each.status for each in budget} == {Status.INCONCLUSIVE}
    assert any("a bad link between two good nodes is not found" in each.measured for each in budget)
    (bound,) = of(run, "limits.rail_rate")
    assert bound.status is Status.PASS
    (rails,) = of(run, "blame.rails")
    assert rails.status is Status.NOT_APPLICABLE
    assert "screened" in rails.measured


def test_a_slow_port_is_traced_confirmed_and_named(tmp_path):
    run = screened_run(tmp_path, slow=("n7", "eth2"))
    (verdict,) = of(run, "blame.screening")
    assert verdict.status is Status.FAIL
    assert verdict.subject == "n7 rail eth2"
    assert verdict.value == pytest.approx(0.5, abs=0.03)
    assert "who are good" in verdict.evidence[0]
    assert all(each.status is Status.FAIL for each in of(run, "limits.rail_rate"))


def test_a_bad_link_on_a_ring_is_found_and_one_elsewhere_is_not_and_does_not_pass(tmp_path):
    run = screened_run(tmp_path / "on", slow=("n1", "n2", "eth1"))
    assert [each.subject for each in of(run, "blame.screening")] == ["path n1 - n2 on rail eth1"]
    run = screened_run(tmp_path / "off", slow=("n0", "n11", "eth1"))
    assert [each.status for each in of(run, "blame.screening")] == [Status.PASS]
    assert Status.INCONCLUSIVE in {each.status for each in of(run, "coverage.budget")}


def test_rings_alone_show_that_one_is_slow_and_say_that_it_was_not_traced(tmp_path):
    run = screened_run(tmp_path, slow=("n7", "eth2"), most=1)
    verdicts = of(run, "blame.screening")
    assert {each.status for each in verdicts} == {Status.INCONCLUSIVE}
    assert any("not traced" in each.measured for each in verdicts)
    assert any("still to be measured" in each.measured for each in verdicts)


def test_rings_that_were_never_measured_are_could_not_tell(tmp_path):
    phases, _ = acceptance(Job(MADE, WHERE, "gloo", AcceptOptions(screened="screening")), 0.5)
    gone = {case.id for phase in phases for case in phase.cases}
    run = screened_run(tmp_path, lost=gone)
    assert {each.status for each in of(run, "blame.screening")} == {Status.INCONCLUSIVE}


def test_a_ring_of_which_one_repeat_has_no_figure_is_not_good():
    job = Job(MADE, WHERE, "gloo", AcceptOptions(screened="screening"), MADE.rails.devices)
    phase = step_phase(job, 1, (("n0", "n1", "n2"),))
    done = [row_of(case, row) for case in phase.cases for row in measured(case, None)]
    bad = replace(done[0].measurement, pipelined=())
    broken = [row_of(done[0].case, bad), *done[1:]]
    assert set(transfers.ring_rates(done, WHERE, ("eth1", "eth2"))["n0", "n1", "n2"]) == {"eth1", "eth2"}
    assert set(transfers.ring_rates(broken, WHERE, ("eth1", "eth2"))["n0", "n1", "n2"]) == {"eth2"}


def test_both_at_once_is_blamed_by_its_one_time_when_no_direction_was_measured(tmp_path):
    where = runs.ranks(4, 2)
    phases, _ = acceptance(Job(MADE, where, "gloo", AcceptOptions(ways="both")), 0.5)
    phase = next(phase for phase in phases if phase.name == FIRST)
    done = [row for case in phase.cases for row in runs.measured(case, seconds=case.size / RATE)]
    run = load(runs.folder(tmp_path / "run", done, list(phase.cases), where, profile=MADE))
    evidence = Evidence(run, MADE)
    found = transfers.transfers(evidence, FIRST)
    assert {each.direction for each in found} == {"both"}
    assert transfers.answer(evidence).status is Status.PASS


def test_all_that_a_budget_holds_is_said_to_fit(tmp_path):
    fitted = fit_to_budget(Job(MADE, WHERE, "gloo", devices=MADE.rails.devices), 3600.0, 0.5)
    plan = Plan((), skipped=tuple(fitted.left_out))
    folder = runs.folder(tmp_path / "run", [], [], WHERE, profile=MADE, plan=plan)
    (verdict,) = of(judge(load(folder), MADE).run, "coverage.budget")
    assert verdict.status is Status.PASS
    assert "all fits" in verdict.measured
