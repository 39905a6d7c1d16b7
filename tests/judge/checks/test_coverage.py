"""What was not measured, or did not end, is never shown as healthy: each judgement of a whole run, one row each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

import runs
from bench.judge.evidence import Evidence
from bench.judge.verdicts import judge, spoken
from bench.model.profile import load as load_profile
from bench.model.profile import parse
from bench.model.run_folder_lines import CounterLine
from bench.model.verdict import Status
from bench.plan.phase_names import BUDGET, GIVEN_UP
from bench.store import IMPORTED, Loss, Phase, Plan, Settings, TooLarge, load
from bench.store.case_progress import ANEW
from made_nodes import judged, nodes, seen, status

PASS, FAIL, INCONCLUSIVE, NOT_APPLICABLE = (
    Status.PASS,
    Status.FAIL,
    Status.INCONCLUSIVE,
    Status.NOT_APPLICABLE,
)
Change = Callable[[Evidence], Evidence]


def run(**changes) -> Change:
    return lambda evidence: replace(evidence, run=replace(evidence.run, **changes))


def manifest(**changes) -> Change:
    return lambda evidence: run(manifest=replace(evidence.manifest, **changes))(evidence)


def plan(**changes) -> Change:
    return lambda evidence: run(plan=replace(evidence.run.plan, **changes))(evidence)


def imported(**changes) -> Change:
    made = manifest(launcher=IMPORTED, command=("railgauge", "import", "x.txt"))
    return lambda evidence: run(**{"facts": (), **changes})(made(evidence))


def asked(phase: str) -> Change:
    return manifest(settings=Settings(asked={phase: f"--{phase}"}))


# the check, what is changed in a healthy run of two nodes with a rank each, whose verdict, and what it says
ROWS: list[tuple[str, Change, str, Status]] = [
    ("coverage.cases", run(), "collectives", PASS),
    ("coverage.cases", run(measurements=()), "collectives", INCONCLUSIVE),
    ("coverage.cases", run(plan=Plan(())), "plan", INCONCLUSIVE),
    ("coverage.cases", run(plan=Plan(()), measurements=()), "plan", INCONCLUSIVE),
    ("coverage.losses", run(losses=(Loss("all_reduce/1024", "rank 1 is gone"),)), "all_reduce/1024", INCONCLUSIVE),
    ("coverage.memory", plan(refused=(TooLarge("all_reduce/1", 8, 4, "GPU 3 of n1"),)), "GPU 3 of n1", INCONCLUSIVE),
    ("coverage.ranks", run(), "job", PASS),
    ("coverage.ranks", run(measurements=()), "job", INCONCLUSIVE),
    ("coverage.ranks", manifest(ranks=()), "job", INCONCLUSIVE),
    ("coverage.asked", asked("collectives"), "--collectives", PASS),
    ("coverage.asked", asked("pinned"), "--pinned", INCONCLUSIVE),
    ("coverage.command", run(), "command", PASS),
    ("coverage.command", manifest(command=("railgauge", "soak")), "command", PASS),
    ("coverage.command", manifest(command=("railgauge", "probe")), "command", INCONCLUSIVE),
    ("coverage.command", manifest(command=()), "command", INCONCLUSIVE),
    ("coverage.command", plan(phases=(Phase("run", "", ()), Phase("rails", "", ()))), "command", INCONCLUSIVE),
    ("coverage.command", imported(), "command", PASS),
    ("coverage.command", imported(facts=nodes(2)), "command", INCONCLUSIVE),
    ("coverage.command", imported(counters=(CounterLine("run", "before", ()),)), "command", INCONCLUSIVE),
    ("coverage.command", manifest(launcher=IMPORTED), "command", INCONCLUSIVE),
    ("coverage.end", run(), "run", PASS),
    ("coverage.end", run(ended=None), "run", INCONCLUSIVE),
    ("coverage.end", run(notes=("line 7 of journal.jsonl is damaged",)), "run folder", INCONCLUSIVE),
    ("coverage.budget", run(), "run", NOT_APPLICABLE),
    ("coverage.budget", plan(skipped=((BUDGET, "10 m"),)), "run", PASS),
    ("coverage.budget", plan(skipped=((BUDGET, "10 m"), (GIVEN_UP, "pairs"))), "run", INCONCLUSIVE),
]  # fmt: skip


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    folder = runs.folder(tmp_path_factory.mktemp("healthy") / "run", where=runs.ranks(2, 1))
    return Evidence(load(folder), runs.LOCAL)


@pytest.mark.parametrize(("name", "change", "subject", "wanted"), ROWS)
def test_what_a_check_says_of_a_run(healthy, name, change, subject, wanted):
    last = judged(name, change(healthy), runs.LOCAL)[-1]
    assert (last.subject, last.status) == (subject, wanted)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (run(), ["railgauge run measures what it was asked for and is no acceptance test"]),
        (imported(), ["imported results are no acceptance test"]),
        (manifest(command=("railgauge", "accept")), []),
    ],
)
def test_what_is_no_acceptance_says_so_beside_its_verdict(healthy, change, said):
    judged = judge(change(healthy).run, runs.LOCAL)
    assert [text for text in spoken(judged.run) if "acceptance" in text] == said


KEPT = "start it again from the beginning: a case that hung or failed is not measured again when a run is resumed"
NO_CASE = "start it again from the beginning: no case was planned, so there is nothing to resume"
RESUME = "railgauge resume RUN measures what is missing"
WHY = "; coverage.losses says why it is"


@pytest.mark.parametrize(
    ("change", "step"),
    [
        (run(measurements=()), RESUME),
        (run(measurements=(), losses=(Loss("x", "died", died=True),)), f"{RESUME}{WHY}"),
        (run(plan=Plan(()), measurements=()), NO_CASE),
        (lambda healthy: run(measurements=(), losses=all_lost(healthy))(healthy), f"{KEPT}{WHY}"),
        (lambda healthy: run(ended=None, measurements=(), losses=all_lost(healthy))(healthy), f"{KEPT}{WHY}"),
        (lambda healthy: run(measurements=())(manifest(command=("railgauge", "soak"))(healthy)), ANEW),
        (lambda healthy: run(plan=Plan(()), measurements=())(manifest(command=("railgauge", "soak"))(healthy)), ANEW),
    ],
)  # fmt: skip
def test_ranks_that_measured_nothing_are_to_be_resumed_only_where_resuming_measures_them(
    healthy, change, step
):
    (verdict,) = judged("coverage.ranks", change(healthy), runs.LOCAL)
    assert (verdict.status, verdict.next_step) == (INCONCLUSIVE, step)


def all_lost(healthy: Evidence) -> tuple[Loss, ...]:
    """Every case hung, so that resuming has nothing to measure."""
    return tuple(Loss(case.id, "it hung") for case in healthy.run.plan.cases)


def test_of_many_ranks_that_measured_nothing_the_first_eight_are_named_and_the_rest_counted():
    (verdict,) = judged("coverage.ranks", seen(nodes(2), each=8))
    assert "rank 7 (n0) and 8 more ranks" in verdict.measured


def test_time_that_ran_out_on_the_way_is_no_pass(healthy):
    late = run(given_up=("verbs was not begun",))(plan(skipped=((BUDGET, "10 m"),))(healthy))
    assert INCONCLUSIVE in {verdict.status for verdict in judged("coverage.budget", late, runs.LOCAL)}


@pytest.mark.parametrize(
    ("machines", "each", "wanted"),
    [
        (2, 8, {"job": PASS, "n0": PASS, "n1": PASS}),
        (1, 8, {"job": INCONCLUSIVE, "n0": PASS}),
        (2, 4, {"job": PASS, "n0": INCONCLUSIVE, "n1": INCONCLUSIVE}),
    ],
)
def test_a_job_that_is_not_as_large_as_the_profile_says_does_not_pass(machines, each, wanted):
    found = judged("coverage.cluster", seen(nodes(machines), each=each))
    assert {verdict.subject: verdict.status for verdict in found} == wanted


def bounded(quantity: str, limit: str) -> str:
    """A bound on every all_reduce."""
    return f'[[bounds]]\ncollective = "all_reduce"\nquantity = "{quantity}"\n{limit}\nsource = "a test"\n'


@pytest.mark.parametrize(
    ("check", "quantity", "limit", "wanted"),
    [
        ("limits.latency", "p50", 'at_most = "2 ms"', PASS),
        ("limits.latency", "p50", 'at_most = "1 ms"', FAIL),
        ("limits.busbw", "busbw", 'at_least = "1 B/s"', PASS),
        ("limits.busbw", "busbw", 'at_least = "1 GB/s"', FAIL),
    ],
)
def test_a_row_on_the_wrong_side_of_its_bound_fails(healthy, check, quantity, limit, wanted):
    profile = parse(runs.LOCAL.text + bounded(quantity, limit), "bounded")
    assert {verdict.status for verdict in judged(check, healthy, profile)} == {wanted}
    assert status(check, run(measurements=())(healthy), profile) is INCONCLUSIVE
    assert (
        status(check, manifest(launcher=IMPORTED)(run(measurements=())(healthy)), profile) is NOT_APPLICABLE
    )


def test_rails_with_a_bound_that_were_not_measured_are_no_pass_where_there_is_another_node():
    assert status("limits.rail_rate", seen(nodes(2))) is INCONCLUSIVE
    assert (
        not judged("limits.rail_rate", seen(nodes(1)))
        or status("limits.rail_rate", seen(nodes(1))) is NOT_APPLICABLE
    )
    assert status("limits.rail_rate", manifest(launcher=IMPORTED)(seen(nodes(2)))) is NOT_APPLICABLE


def test_a_row_without_a_time_is_no_pass(healthy):
    assert status("clock", healthy, runs.LOCAL) is PASS
    first, *others = healthy.run.measurements
    timeless = run(measurements=(replace(first, pipelined=((0.0, 0.0),)), *others))(healthy)
    assert [v.status for v in judged("clock", timeless, runs.LOCAL)] == [INCONCLUSIVE]


ON_DEMAND = load_profile("lambda-on-demand")


def machine(gpus: int, bus: int | None = None):
    (one,) = nodes(1)
    addresses = None if bus is None else tuple(map(str, range(bus)))
    return replace(one, gpus=one.gpus[:gpus], host=replace(one.host, nvidia_on_bus=addresses))


@pytest.mark.parametrize(
    ("gpus", "bus", "ordered", "wanted"),
    [
        (8, 8, None, PASS),
        (4, 4, None, PASS),
        (7, 7, None, FAIL),
        (7, 8, None, FAIL),
        (0, 8, None, FAIL),
        (4, 8, None, INCONCLUSIVE),  # lost, or given to another container: the order tells
        (4, 8, 4, PASS),
        (4, 4, 8, FAIL),
        (7, 8, 8, FAIL),
        (8, None, 8, PASS),
    ],
)
def test_as_many_gpus_as_were_ordered_or_can_be(gpus, bus, ordered, wanted):
    found = manifest(settings=Settings(gpus=ordered))(seen([machine(gpus, bus)], each=1))
    (verdict,) = judged("gpus.count", found, ON_DEMAND)
    assert verdict.status is wanted, verdict.message
    assert verdict.source == ("--gpus" if ordered else "lambda-on-demand")
    if wanted is PASS and not ordered:
        assert "give --gpus N for the number that was ordered" in verdict.message


@pytest.mark.parametrize(("counts", "wanted"), [((4,), PASS), ((4, 8), INCONCLUSIVE)])
def test_fewer_gpus_than_on_the_bus_are_doubtful_from_two_sizes_on(counts, wanted):
    (verdict,) = judged("gpus.count", seen([machine(4, 8)], each=1), replace(ON_DEMAND, gpu_counts=counts))
    assert verdict.status is wanted


@pytest.mark.parametrize(
    ("gpus", "each", "ordered", "wanted"),
    [
        (8, 8, None, PASS),
        (8, 7, None, INCONCLUSIVE),  # CUDA_VISIBLE_DEVICES hides one
        (8, 4, None, INCONCLUSIVE),
        (8, 4, 4, PASS),
        (4, 4, 8, INCONCLUSIVE),
        (0, 4, None, PASS),  # an import, which has no facts
        (0, 7, None, INCONCLUSIVE),
    ],
)
def test_a_rank_for_each_gpu_where_the_profile_leaves_their_number_open(gpus, each, ordered, wanted):
    found = manifest(settings=Settings(gpus=ordered))(seen([machine(gpus)], each=each))
    assert {one.subject: one.status for one in judged("coverage.cluster", found, ON_DEMAND)} == {
        "job": PASS,
        "n0": wanted,
    }
