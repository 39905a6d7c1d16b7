"""Results of other tools into run folders, run folders into tables, two runs side by side."""

from __future__ import annotations

import csv
import io
import math
import os
import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.exchange.compare import UnlikeRuns
from bench.exchange.compare_runs import compare_runs, facts, samples
from bench.exchange.exporting.formats import export
from bench.exchange.importing import nccl_tests
from bench.exchange.importing.imported_rows import ImportRefused
from bench.exchange.importing.run_folder import Wanted, import_files
from bench.judge.checks.imported_results import whole
from bench.judge.evidence import Evidence
from bench.judge.verdicts import judge, status
from bench.judge.wire import of_row
from bench.model.profile import load
from bench.model.verdict import Status
from bench.plan import Request, sweep_cases
from bench.store import RunError
from bench.store import load as load_run
from bench.store.rows import rows
from tests import runs

DATA = Path(__file__).with_name("importing") / "data"
LAMBDA = load("lambda-1cc-h100")


def imported(tmp_path, *names, profile=runs.LOCAL, **wanted):
    folder = import_files([DATA / name for name in names], tmp_path / "run", profile, Wanted(**wanted))
    return folder, load_run(folder.path)


# two nodes of OCI (oci-hpc, Troubleshooting.md), which names no hosts
OCI = """\
#       size         count      type   redop    root     time   algbw   busbw #wrong     time   algbw   busbw #wrong
#        (B)    (elements)                               (us)  (GB/s)  (GB/s)            (us)  (GB/s)  (GB/s)
  8589934592    2147483648     float     sum      -1    34280  250.58  469.84      0    34272  250.64  469.96      0
 17179869184    4294967296     float     sum      -1    68359  251.32  471.22      0    68427  251.07  470.75      0
# Out of bounds values : 0 OK
# Avg bus bandwidth    : 470.443
"""


def hostless(tmp_path, text=OCI, profile=runs.LOCAL, **wanted):
    tmp_path.mkdir(exist_ok=True)
    file = write(tmp_path, "oci.txt", text)
    return load_run(import_files([file], tmp_path / "run", profile, Wanted(**wanted)).path)


def verdicts(run, profile=runs.LOCAL):
    return list(whole(Evidence(run, profile)))


def write(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    return tmp_path / name


# file, figures, ranks, nodes; what keeps it from being whole ("" nothing)
FILES = [
    ("nccl-2.18.txt", 16, 2, 2, ""),
    ("nccl-16-ranks.txt", 12, 16, 2, ""),
    ("nccl-alltoall-one-rank.txt", 4, 1, 1, ""),
    ("nccl-1440-ranks.txt", 12, 1440, None, "shows 1 of 1440 ranks"),
    ("nccl-tagged-elided.txt", 12, 16, None, "the average of the rows"),
    ("nccl-2.10-error-column.txt", 24, 8, 1, "no result was checked"),
    ("ib-gpu.txt", 19, 2, 2, ""),
    ("ib-two-tables.txt", 2, 2, 2, ""),
    ("ib-latency.txt", 5, 2, 2, ""),
    ("nccl-sendrecv.txt", 10, 2, 2, "it has no footer"),
    ("nccl-2.9-alltoall.txt", 14, 8, None, "it has no footer"),
]


@pytest.mark.parametrize(
    ("name", "figures", "ranks", "nodes", "problem"), FILES, ids=[row[0] for row in FILES]
)
def test_a_file_becomes_a_run_that_is_judged(tmp_path, name, figures, ranks, nodes, problem):
    folder, run = imported(tmp_path, name)
    assert (folder.figures, folder.ranks, folder.nodes) == (figures, ranks, nodes)
    assert len(rows(run)) == figures
    said = verdicts(run)
    assert (
        [verdict.status for verdict in said] == [Status.INCONCLUSIVE] * len(said)
        if problem
        else [Status.PASS]
    )
    assert any(problem in verdict.measured for verdict in said)
    assert run.manifest.launcher == "import"
    assert not run.counters
    assert not run.facts
    judged = judge(run, runs.LOCAL).run
    assert judged.verdicts
    assert status(judged) is (Status.INCONCLUSIVE if problem else Status.PASS)
    # perftest compares no data: what nobody can verify is not applicable
    if name.startswith("ib-"):
        (said_of_data,) = [verdict for verdict in judged.verdicts if verdict.check == "correctness"]
        assert said_of_data.status is Status.NOT_APPLICABLE
        assert "perftest compares no data" in said_of_data.measured


@pytest.mark.parametrize(
    "name", ["nccl-template.txt", "rccl-failure-before-table.txt", "nccl-crash-after-rows.txt"]
)
def test_a_file_without_a_usable_figure_is_refused_with_the_reason(tmp_path, name):
    with pytest.raises(ImportRefused, match="nothing can be imported"):
        imported(tmp_path, name)
    assert not (tmp_path / "run").exists()


def test_a_crashed_run_keeps_its_rows_and_is_not_complete(tmp_path):
    text = (DATA / "nccl-2.18.txt").read_text()
    cut = text[: text.index("# Out of bounds")]
    folder = import_files([write(tmp_path, "cut.txt", cut)], tmp_path / "run", runs.LOCAL)
    run = load_run(folder.path)
    assert run.ended is None
    assert any("incomplete" in verdict.measured for verdict in verdicts(run))
    assert any("import: cut.txt" in note for note in run.notes)


def honest(figures, ranks, collective="all_gather"):
    """A table of so many sizes whose figures fit together."""
    rows_ = []
    for number in range(figures):
        size = 4 * ranks * ((1 << 12) + number)
        share = 100 * (ranks - 1) / ranks
        figure = f"  {size / 1e5:7.2f}  100.00  {share:6.2f}      0"
        rows_.append(f"{size:12d} {size // 4 // ranks:12d}     float    none      -1{figure}{figure}\n")
    return OCI.splitlines(keepends=True)[0] + "".join(rows_)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (honest(5001, 8), "table.txt: more than 10000 figures"),
        (honest(20, 40000), "40 figures of 40000 ranks are too many to judge"),
    ],
)
def test_a_file_that_would_take_hours_to_judge_is_refused(tmp_path, text, words):
    with pytest.raises(ImportRefused, match=words):
        import_files([write(tmp_path, "table.txt", text)], tmp_path / "run", LAMBDA)


def test_many_problems_are_counted(tmp_path):
    text = OCI + "# Collective test starting: all_reduce_perf\n# Out of bounds values : 0 OK\n" * 500
    folder = import_files([write(tmp_path, "table.txt", text)], tmp_path / "run", LAMBDA)
    assert len(folder.problems) == 101
    assert folder.problems[-1] == "and 900 more problems"


@pytest.mark.parametrize("kind", ["pipe", "folder", "large"])
def test_only_regular_files_of_a_size_are_read(tmp_path, kind):
    path = tmp_path / "table.txt"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        with path.open("wb") as file:
            file.truncate(20 << 30)
    words = {"pipe": "not a regular file", "folder": "Is a directory", "large": "more than 64 MiB"}[kind]
    with pytest.raises(ImportRefused, match=words):
        import_files([path], tmp_path / "run", LAMBDA)


def test_digits_that_fit_no_number_of_ranks_are_not_taken_for_the_most_there_may_be(tmp_path):
    """Two KB of such a row became 131 072 ranks, whose run folder was never finished."""
    row = "           8             2     float     sum      -1" + "    22181  193.63  383.23      0" * 2
    text = OCI.splitlines(keepends=True)[0] + row
    with pytest.raises(ImportRefused, match="does not tell its collective"):
        hostless(tmp_path, text, ranks=2)
    run = hostless(tmp_path / "given", text, ranks=2, collective="all_reduce")
    assert len(run.manifest.ranks) == 2


def test_unknown_nodes_are_not_one_node(tmp_path):
    folder, _ = imported(tmp_path, "nccl-tagged-elided.txt")
    assert folder.text.startswith("12 figures of 16 ranks, nodes unknown: ")


@pytest.mark.parametrize(("name", "figures"), [("ib-died.txt", 16), ("ib-latency-2014-died.txt", 12)])
def test_a_transfer_that_ended_with_an_error_fails_its_link_and_keeps_what_it_measured(
    tmp_path, name, figures
):
    folder, run = imported(tmp_path, name)
    assert folder.figures == len(rows(run)) == figures
    failed = [verdict for verdict in judge(run, runs.LOCAL).verdicts if verdict.status is Status.FAIL]
    assert {verdict.check for verdict in failed} == {"import.whole"}
    assert any("mlx" in verdict.measured and "syndrom 0x88" in verdict.measured for verdict in failed)


def test_a_run_in_which_nccl_failed_is_a_failure(tmp_path):
    folder = import_files(
        [DATA / "nccl-crash-after-rows.txt"], tmp_path / "run", runs.LOCAL, Wanted(ranks=1024)
    )
    failed = [v for v in judge(load_run(folder.path), runs.LOCAL).verdicts if v.status is Status.FAIL]
    assert any("HCA-128: unhandled cuda error" in verdict.measured for verdict in failed)


def test_results_in_place_that_nccl_tests_does_not_verify_are_not_inconclusive(tmp_path):
    """A healthy alltoall of 16 ranks: nccl-tests prints N/A in place, whatever is asked of it."""
    row = "     1048576         16384     float    none      -1    100.0   10.49    9.83      0    101.0   10.38"
    row += "    9.73    N/A\n"
    footer = "# Out of bounds values : 0 OK\n# Avg bus bandwidth    : 9.78\n"
    head = "\n".join(OCI.splitlines()[:2]) + "\n"
    judged = judge(hostless(tmp_path, head + row + footer, nodes=2), runs.LOCAL).run
    said = {verdict.status: verdict for verdict in judged.verdicts if verdict.check == "correctness"}
    assert set(said) == {Status.PASS, Status.NOT_APPLICABLE}
    assert (
        "1 row: nccl-tests verifies alltoall and sendrecv out of place only"
        in said[Status.NOT_APPLICABLE].measured
    )
    # -c 0 is another matter: nothing was verified that could have been
    unverified = head + row.replace("  0  ", "N/A  ") + footer
    judged = judge(hostless(tmp_path / "c0", unverified, nodes=2, collective="alltoall"), runs.LOCAL).run
    assert Status.INCONCLUSIVE in {
        verdict.status for verdict in judged.verdicts if verdict.check == "correctness"
    }


def test_a_mismatch_of_ranks_is_named_and_cannot_pass(tmp_path):
    folder, run = imported(tmp_path, "nccl-16-ranks.txt", ranks=8)
    assert folder.ranks == 16
    assert any("8 ranks were given, but busbw/algbw" in verdict.measured for verdict in verdicts(run))


def test_unchecked_results_stay_unchecked(tmp_path):
    _, run = imported(tmp_path, "nccl-2.10-error-column.txt")
    assert {row.wrong for row in rows(run)} == {None}


def test_who_ran_where_is_listed_given_assumed_or_unknown(tmp_path):
    _, listed = imported(tmp_path / "a", "nccl-2.18.txt")
    assert [rank.node for rank in listed.manifest.ranks] == ["nid007106", "nid007109"]
    given_ = hostless(tmp_path / "b", nodes=4)
    assert (given_.manifest.settings.layout, len(given_.manifest.nodes)) == ("given", 4)
    assumed = hostless(tmp_path / "c", profile=LAMBDA)
    assert (assumed.manifest.settings.layout, len(assumed.manifest.nodes)) == ("assumed", 2)
    assert any("8 ranks a node are assumed" in note for note in assumed.notes)
    unknown = hostless(tmp_path / "d")
    assert "which ranks share a node" in verdicts(unknown)[0].measured
    assert unknown.manifest.settings.layout == "unknown"
    assert of_row(rows(unknown)[0], Evidence(unknown, LAMBDA)) is None


@pytest.mark.parametrize(
    ("names", "wanted", "words"),
    [
        (("nccl-tagged-elided.txt",), {"nodes": 3}, "16 ranks do not spread evenly over --nodes 3"),
        (("nccl-2.18.txt",), {"nodes": 1}, "--nodes 1 was given, but the device list names 2"),
        (("nccl-2.18.txt", "nccl-16-ranks.txt"), {}, "of 2 and 16 ranks"),
        (("nccl-alltoall-one-rank.txt", "ib-gpu.txt"), {}, "import them apart"),
        (("absent.txt",), {}, "cannot read"),
        ((), {}, "no file was given"),
    ],
)
def test_files_that_do_not_go_together_are_refused(tmp_path, names, wanted, words):
    with pytest.raises(ImportRefused, match=words):
        imported(tmp_path, *names, **wanted)
    assert not (tmp_path / "run").exists()


def test_several_files_make_one_run(tmp_path):
    folder, run = imported(tmp_path, "nccl-2.18.txt", "ib-gpu.txt")
    assert [phase.name for phase in run.plan.phases] == ["import", "verbs"]
    assert folder.figures == 35
    assert run.manifest.ranks[0].node != run.manifest.ranks[1].node


def test_the_same_table_twice_is_two_launches(tmp_path):
    first = write(tmp_path, "a.txt", (DATA / "nccl-2.18.txt").read_text())
    second = write(tmp_path, "b.txt", (DATA / "nccl-2.18.txt").read_text())
    run = load_run(import_files([first, second], tmp_path / "run", runs.LOCAL).path)
    names = [case.id for case in run.plan.cases]
    assert len(set(names)) == len(names) == 32
    assert sum(name.endswith("/table-2") for name in names) == 16


def test_a_folder_in_use_is_refused(tmp_path):
    imported(tmp_path, "nccl-2.18.txt")
    with pytest.raises(RunError, match="already holds"):
        imported(tmp_path, "nccl-2.18.txt")


def test_ncclogs_inside_a_table_name_the_algorithm(tmp_path):
    line = "host:1:1 [0] NCCL INFO AllReduce: 17179869184 Bytes -> Algo RING proto SIMPLE channel{Lo..Hi}={0..15}\n"
    run = hostless(tmp_path / "log", line + "SECRET=token\n" + OCI, LAMBDA)
    by_size = {row.case.size: of_row(row, Evidence(run, LAMBDA)) for row in rows(run)}
    assert by_size[16 << 30].used.algorithm == "ring"
    assert not by_size[8 << 30].used.known
    assert "SECRET" not in "".join(
        p.read_text() for p in (tmp_path / "log" / "run").rglob("*") if p.is_file()
    )


def test_a_forced_ring_can_be_said(tmp_path):
    run = hostless(tmp_path, profile=LAMBDA, algorithm="ring")
    reading = of_row(rows(run)[-1], Evidence(run, LAMBDA))
    # 470 GB/s of two H100 nodes cannot be a ring's
    assert reading.conclusion.kind == "error"


@given(st.lists(st.sampled_from(sorted(DATA.glob("*.txt"))), min_size=1, max_size=2), st.integers(0, 4000))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_cut_file_crashes_or_passes_as_whole(tmp_path_factory, files, cut):
    folder = tmp_path_factory.mktemp("cut")
    made = [write(folder, f"{i}.txt", file.read_text()[:cut]) for i, file in enumerate(files)]
    try:
        run = load_run(import_files(made, folder / "run", LAMBDA).path)
    except ImportRefused:
        return
    judged = judge(run, LAMBDA).run
    assert all("the check broke" not in verdict.measured for verdict in judged.verdicts)


# --- export


def test_an_exported_table_is_read_back_to_the_printed_digits(tmp_path):
    run = load_run(runs.folder(tmp_path / "run", where=runs.ranks(1, 4), planned=runs.cases(n=4)))
    found = nccl_tests.parse(export(run, "nccl-tests"))
    assert [table.collective for table in found] == ["all_reduce", "all_gather"]
    assert {table.ranks for table in found} == {4}
    mine = {(row.case.collective, row.case.size): row.busbw for row in rows(run)}
    for table in found:
        assert table.complete
        for row in table.rows:
            assert row.busbw == pytest.approx(mine[table.collective, row.size], abs=0.006e9)
            assert row.wrong == 0


def test_a_table_says_its_phase_algorithm_and_rail(tmp_path):
    pairs = ((0, 2), (1, 3))
    case = replace(sweep_cases("rails", Request("p2p_bidirectional", 1024, 1024), pairs)[0], rail="own")
    ring = sweep_cases("ring", Request("all_reduce", 1024, 1024, algorithm="ring"), (tuple(range(4)),))
    evidence = sweep_cases("evidence", Request("all_reduce", 1024, 1024), (tuple(range(4)),))
    run = load_run(runs.folder(tmp_path / "run", where=runs.ranks(2, 2), planned=[case, *ring, *evidence]))
    text = export(run, "nccl-tests")
    assert text.count("phase rails, algorithm auto, rail own") == 2
    assert text.count("phase ring, algorithm ring") == 1
    assert "evidence" not in text
    lines = list(csv.DictReader(io.StringIO(export(run, "csv"))))
    assert [line["phase"] for line in lines] == ["rails", "rails", "ring", "evidence"]


def test_an_unknown_format_lists_the_known_ones(tmp_path):
    run = load_run(runs.folder(tmp_path / "run"))
    with pytest.raises(ValueError, match="nccl-tests, csv"):
        export(run, "xml")


def test_an_import_exported_and_imported_again_is_the_same(tmp_path):
    _, run = imported(tmp_path, "nccl-2.18.txt")
    file = write(tmp_path, "again.txt", export(run, "nccl-tests"))
    again = load_run(import_files([file], tmp_path / "again", runs.LOCAL).path)
    before, after = ({row.case.id: row.busbw for row in rows(each)} for each in (run, again))
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert after[name] == pytest.approx(value, rel=0.01, abs=0.006e9)


# --- compare


def noisy(path, scale, seed=1, spread=0.01, where=None, **given_):
    """A healthy run whose times are those of another times ``scale``, with noise."""
    rng = random.Random(seed)
    where = where or runs.ranks()
    planned = runs.cases(n=len(where))
    made = [
        replace(
            row, pipelined=tuple((scale * 1e-3 * abs(rng.gauss(1, spread)),) * len(where) for _ in range(20))
        )
        for case in planned
        for row in runs.measured(case)
    ]
    return load_run(runs.folder(path, rows=made, planned=planned, where=where, **given_))


def launches(path, name, scale, seed=0, apart=0.01, count=3):
    """Runs of one machine: what they differ by from launch to launch is the same for all calls of a case."""
    rng = random.Random(seed if seed else name)
    made = []
    for number in range(count):
        run = noisy(path / f"{name}{number}", scale, seed=rng.random(), spread=0.005)
        rows_ = []
        for row in run.measurements:
            off = math.exp(rng.gauss(0, apart)) * (1.5 if rng.random() < 5 * apart * apart else 1.0)
            blocks = tuple(tuple(value * off for value in block) for block in row.pipelined)
            rows_.append(replace(row, pipelined=blocks))
        made.append(replace(run, measurements=tuple(rows_)))
    return made


def test_a_run_twice_as_slow_is_slower_and_fails(tmp_path):
    found = compare_runs(launches(tmp_path, "a", 1.0), launches(tmp_path, "b", 2.0))
    assert found.status is Status.FAIL
    assert {ratio.outcome for ratio in found.ratios} == {"slower"}
    assert "run each three times" not in found.text
    assert compare_runs(launches(tmp_path, "b2", 2.0), launches(tmp_path, "a2", 1.0)).status is Status.PASS


def test_one_launch_of_each_does_not_tell_who_is_slower(tmp_path):
    found = compare_runs([noisy(tmp_path / "a", 1.0)], [noisy(tmp_path / "b", 2.0, seed=2)])
    assert found.status is Status.INCONCLUSIVE
    assert "run each three times, then: railgauge compare A1 A2 A3 vs B1 B2 B3" in found.text


@pytest.mark.parametrize("seed", range(8))
def test_launches_of_one_machine_are_never_slower_than_each_other(tmp_path, seed):
    """Each launch of a case is off by some percent, a few by half, and all of its calls with it."""
    found = compare_runs(
        launches(tmp_path, "a", 1.0, seed=2 * seed, apart=0.08),
        launches(tmp_path, "b", 1.0, seed=2 * seed + 1, apart=0.08),
    )
    assert found.status is not Status.FAIL, found.text


def test_launches_that_are_unlike_each_other_are_refused(tmp_path):
    other = noisy(tmp_path / "x", 1.0, where=runs.ranks(1, 4))
    with pytest.raises(UnlikeRuns, match="ranks: 2 against 4"):
        compare_runs(launches(tmp_path, "a", 1.0), [*launches(tmp_path, "b", 1.0), other])


def test_equal_runs_pass_and_noise_cannot_tell(tmp_path):
    a = noisy(tmp_path / "a", 1.0, spread=0.001)
    assert compare_runs([a], [noisy(tmp_path / "b", 1.0, seed=2, spread=0.001)]).status is Status.PASS
    loud = compare_runs([a], [noisy(tmp_path / "c", 1.02, seed=3, spread=0.4)])
    assert loud.status is not Status.PASS
    assert "inconclusive" in loud.text


def test_unlike_runs_are_refused_by_the_keys_that_differ(tmp_path):
    a, b = noisy(tmp_path / "a", 1.0), noisy(tmp_path / "b", 1.0, where=runs.ranks(1, 4))
    with pytest.raises(UnlikeRuns, match="ranks: 2 against 4; ranks_per_node: 2 against 4"):
        compare_runs([a], [b])
    anyway = compare_runs([a], [b], anyway=True)
    assert "compared although the runs differ in ranks: 2 against 4" in anyway.text


def test_an_import_is_compared_with_ours_by_content_and_only_when_told(tmp_path):
    ours = noisy(tmp_path / "ours", 1.0)
    file = write(tmp_path, "table.txt", export(ours, "nccl-tests"))
    theirs = load_run(import_files([file], tmp_path / "theirs", runs.LOCAL).path)
    with pytest.raises(UnlikeRuns, match="launcher: openmpi against import"):
        compare_runs([ours], [theirs])
    found = compare_runs([ours], [theirs], anyway=True)
    assert len(found.ratios) == len(rows(ours))
    # a table holds one figure a case: no interval, so nothing can be told
    assert found.status is Status.INCONCLUSIVE


def test_runs_without_a_common_case_cannot_be_compared(tmp_path):
    a = load_run(runs.folder(tmp_path / "a", planned=runs.cases(names=["all_reduce"])))
    b = load_run(runs.folder(tmp_path / "b", planned=runs.cases(names=["broadcast"])))
    with pytest.raises(ValueError, match="no case in common"):
        compare_runs([a], [b])


def test_groups_of_a_case_are_compared_each_with_itself(tmp_path):
    case = sweep_cases("rails", Request("p2p_bidirectional", 1024, 1024), ((0, 2), (1, 3)))[0]
    run = load_run(runs.folder(tmp_path / "a", planned=[case], where=runs.ranks(2, 2)))
    assert sorted(samples(run)) == [f"{case.id} [0,2]", f"{case.id} [1,3]"]


def test_a_key_that_was_not_recorded_is_missing(tmp_path):
    found = facts(load_run(runs.folder(tmp_path / "a")))
    assert found["rails"] == "none"
    assert facts(load_run(runs.folder(tmp_path / "b", profile=LAMBDA)))["rails"] == "8 infiniband of 400 Gb/s"


def test_an_import_is_not_asked_for_what_only_a_run_can_know(tmp_path):
    _, run = imported(tmp_path, "nccl-2.18.txt")
    (throttled,) = [v for v in judge(run, runs.LOCAL).verdicts if v.check == "gpus.throttled"]
    assert throttled.status is Status.NOT_APPLICABLE


def test_wrong_elements_in_a_table_fail(tmp_path):
    lines = (DATA / "nccl-2.18.txt").read_text().splitlines(keepends=True)
    at = max(number for number, line in enumerate(lines) if line.split()[:1] and line.split()[0].isdecimal())
    lines[at] = lines[at].rstrip()[:-1] + "7\n"
    text = "".join(lines).replace("Out of bounds values : 0 OK", "Out of bounds values : 1 FAILED")
    folder = import_files([write(tmp_path, "wrong.txt", text)], tmp_path / "run", runs.LOCAL)
    judged = judge(load_run(folder.path), runs.LOCAL).run
    failed = [verdict for verdict in judged.verdicts if verdict.status is Status.FAIL]
    assert [verdict.check for verdict in failed] == ["correctness"]
    assert "7 wrong elements on ranks that the table does not name" in failed[0].measured
