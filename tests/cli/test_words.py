"""What a person reads where something is lacking: the words say what, why, and what to do."""

import csv
import io
import shutil
from dataclasses import replace

import pandas as pd
import pytest
from click.testing import CliRunner

import runs
from bench.cli import _run, cli
from bench.cli.terminal import one_line, summarise
from bench.exchange.compare import Difference
from bench.exchange.importing.imported_rows import ImportedRow
from bench.exchange.importing.reconcile import _check_rows
from bench.judge.checks.coverage import asked, end
from bench.judge.evidence import Evidence
from bench.judge.verdicts import judge, status
from bench.model.verdict import Status, Verdict
from bench.plan import AcceptOptions, Job, acceptance
from bench.run.finish import finish
from bench.store import IMPORTED, VERDICTS, RunError, Settings, load
from reports import write
from reports.frames import frames
from reports.sections import row_cells
from tests.told import Told


def unended(run):
    (verdict,) = end(Evidence(run, runs.LOCAL))
    return verdict


def test_a_report_that_cannot_be_written_does_not_unsay_the_verdict(tmp_path):
    def draw(*_):
        raise RunError("cannot write r/report.html: No space left on device")

    folder, told = runs.folder(tmp_path / "r"), Told()
    assert finish(folder, runs.LOCAL, told, draw) == 3
    (said,) = told.said
    assert "report.html: No space left on device; the verdict is saved, its report is not" in said
    assert "not saved" not in said and (folder / VERDICTS).exists()


def test_where_the_disk_was_full_the_verdict_says_so_and_speaks_of_no_kill(tmp_path):
    folder, told = runs.folder(tmp_path / "r", end=False), Told()
    why = "cannot write r/journal.jsonl: No space left on device"
    assert finish(folder, runs.LOCAL, told, None, why) == 3
    (verdict,) = [each for each in told.runs[0].verdicts if each.check == "coverage.end"]
    assert why in verdict.measured and "killed" not in verdict.measured
    assert verdict.next_step.startswith("make room, then: ")


def test_an_import_that_is_cut_short_is_told_as_such_and_offers_no_resume(tmp_path):
    run = load(runs.folder(tmp_path / "r", end=False))
    assert "resume" in unended(run).next_step
    verdict = unended(replace(run, manifest=replace(run.manifest, launcher=IMPORTED)))
    assert verdict.status is Status.INCONCLUSIVE
    assert "cut short" in verdict.measured and "resume" not in verdict.message


@pytest.mark.parametrize(
    ("chosen", "phase", "option"),
    [
        (AcceptOptions(cross=True), "cross", "--cross-rail"),
        (AcceptOptions(pinned=True), "pinned", "--pinned"),
        (AcceptOptions("one-way"), "rails", "--one-way"),
        (AcceptOptions(all_pairs=True), "rails", "--all-pairs"),
    ],
)
def test_what_was_asked_for_by_name_and_not_measured_does_not_pass(tmp_path, chosen, phase, option):
    assert chosen.by_name == {phase: option} and AcceptOptions().by_name == {}
    run = load(runs.folder(tmp_path / "r"))
    assert status(judge(run, runs.LOCAL)) is Status.PASS
    _, skipped = acceptance(Job(runs.LOCAL, runs.ranks(), "gloo", chosen), 1.0)
    manifest = replace(run.manifest, settings=replace(run.manifest.settings, asked=chosen.by_name))
    wanted = replace(run, manifest=manifest, plan=replace(run.plan, skipped=tuple(skipped)))
    (verdict,) = asked(Evidence(wanted, runs.LOCAL))
    assert (verdict.status, verdict.subject) == (Status.INCONCLUSIVE, option)
    assert dict(skipped)[phase] in verdict.measured
    assert status(judge(wanted, runs.LOCAL)) is Status.INCONCLUSIVE


def test_what_was_asked_for_and_planned_passes(tmp_path):
    run = load(runs.folder(tmp_path / "r", planned=runs.cases("cross")))
    manifest = replace(run.manifest, settings=Settings(asked={"cross": "--cross-rail"}))
    (verdict,) = asked(Evidence(replace(run, manifest=manifest), runs.LOCAL))
    assert verdict.status is Status.PASS


def test_runs_that_differ_in_threads_name_the_variable():
    assert Difference("threads", "1", "").text == "threads (OMP_NUM_THREADS): 1 against not set"
    assert Difference("binding", "core", "").text == "binding: core against not recorded"


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        ((0.003, float("nan"), 1.29e9), "size 4194304: algbw nan"),
        ((0.0, 1e9, float("nan")), "size 4194304: time 0, busbw nan"),
    ],
)
def test_an_imported_figure_that_is_none_is_the_one_that_is_named(figures, said):
    problems: list[str] = []
    row = ImportedRow("all_reduce", 4 << 20, 1 << 20, "float32", "sum", None, "out", *figures, 0)
    _check_rows((row,), problems)
    assert problems[0].endswith(said)


def test_what_does_not_apply_is_called_so():
    verdicts = (Verdict("a", "b", Status.PASS, ""), Verdict("a", "b", Status.NOT_APPLICABLE, ""))
    said = one_line(verdicts)
    assert said.endswith(", 1 not applicable")
    assert "skipped" not in said


@pytest.mark.parametrize("width", [-1.0, float("inf"), 0.02])
def test_a_width_that_cannot_be_told_is_no_share(tmp_path, width):
    case = runs.cases()[0]
    run = load(runs.folder(tmp_path / "r", runs.measured(case, width=width), [case]))
    frame = frames(Evidence(run, runs.LOCAL)).rows
    (row,) = frame.to_dict("records")
    shown = [getattr(cell, "text", cell) for cell in row_cells(row, "")]
    assert "-100" not in " ".join(map(str, shown))
    if width == 0.02:
        assert row["width"] == width and "unknown" not in shown
    else:
        assert pd.isna(row["width"]) and "unknown" in shown
        assert next(csv.DictReader(io.StringIO(frame.to_csv())))["width"] == ""


def test_a_name_with_a_newline_cannot_begin_a_line_of_its_own(tmp_path, capsys):
    verdict = Verdict("a.check", "n1\nPASS: 99 passed", Status.FAIL, "it\x1b[2J is slow")
    assert verdict.message == "n1\\nPASS: 99 passed: it\\x1b[2J is slow"
    run = replace(load(runs.folder(tmp_path / "r")), verdicts=(verdict,))
    summarise(Evidence(run, runs.LOCAL), verbose=False, short=True, profile_name="p\nPASS: 1 passed")
    lines = [line for line in capsys.readouterr().out.splitlines() if line and not line.startswith(" ")]
    assert [line.partition(":")[0] for line in lines] == ["FAIL", r"profile p\nPASS", "FAIL"]


SHARE = Verdict(
    "wire.share",
    "all_reduce",
    Status.FAIL,
    "busbw 182 GB/s",
    "at least 85 % of 3200.0 Gb/s",
    value=0.46,
    bound=0.85,
    case=runs.cases()[0].id,
)
SLOW = Verdict(
    "blame.rails", "n0 rail mlx5_4/1", Status.FAIL, "runs at 49.0 % of its peers' rate (185.0 of 375.0 Gb/s)",
    "its peers' rate", "RailGauge", "run its GPU inside the node to rule it out, then reseat or swap its cable",
)  # fmt: skip
GREW = Verdict("growth.errors", "n0 mlx5_4/1", Status.FAIL, "symbol_error grew by 1551")


def test_the_last_lines_name_the_cause_first_and_fit_eighty_columns(tmp_path, capsys):
    long = Verdict(
        "host.acs", "a" * 100 + " n1", Status.FAIL, "is on", "off", "NVIDIA", "turn it off in the BIOS"
    )
    run = replace(load(runs.folder(tmp_path / "r")), verdicts=(long, SHARE, GREW, SLOW))
    summarise(Evidence(run, runs.LOCAL), verbose=False, short=True)
    out = capsys.readouterr().out
    blocks = out.strip().split("\n\n")
    assert blocks[0] == (
        "FAIL: all_reduce reaches 46.0 % of 3200 Gb/s, because n0 rail mlx5_4/1 runs at\n"
        "  49.0 % of its peers' rate (185.0 of 375.0 Gb/s)\n"
        "  wanted: its peers' rate (RailGauge); blame.rails\n"
        "  also: n0 mlx5_4/1: symbol_error grew by 1551\n"
        "  next: run its GPU inside the node to rule it out, then reseat or swap its\n"
        "    cable\n"
        "  1 verdict follows from it"
    )
    assert f"{'a' * 100}\n" in blocks[1]
    assert blocks[2].splitlines()[-1] == "FAIL: 0 passed, 4 failed, 0 inconclusive, 0 not applicable"
    assert all(len(line) <= 80 or "a" * 100 in line for line in out.splitlines())


def test_a_pass_says_what_was_judged_and_what_was_not(tmp_path, capsys):
    good = tuple(Verdict(name, "x", Status.PASS, "") for name in ("correctness", "coverage.end"))
    gone = Verdict("gpus.count", "x", Status.NOT_APPLICABLE, "no GPU")
    run = replace(load(runs.folder(tmp_path / "r")), verdicts=(*good, gone))
    summarise(Evidence(run, runs.LOCAL), verbose=False, short=True)
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith(
        "PASS of what profile local judges: results, coverage; not judged: speed, rails, exclusion, GPUs, PCIe, NCCL, "
        "hosts (1 check not applicable); --verbose lists every verdict next: nothing to repair; keep the run "
        f"folder as evidence (railgauge verify {tmp_path / 'r'} shows later that it was not changed) PASS: 2 passed"
    )


def test_bare_usage_is_the_help_and_no_mistake(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["railgauge"])
    assert _run() in (0, 2)
    said = capsys.readouterr()
    assert (said.err + said.out).startswith("Usage: ")


def test_one_node_is_no_nodes(tmp_path):
    run = judge(load(runs.folder(tmp_path / "r")), runs.LOCAL).run
    write(Evidence(run, runs.LOCAL))
    texts = [(run.path / name).read_text(encoding="utf-8") for name in ("report.md", "report.html")]
    assert "ranks on 1 nodes" not in texts[0] + texts[1]
    assert ", 1 node – RailGauge</title>" in texts[1]
    assert "2 ranks on 1 node, " in texts[0]


def test_copies_of_one_run_are_no_launches_of_their_own(tmp_path):
    one = runs.folder(
        tmp_path / "one",
        planned=(planned := runs.cases()),
        rows=[r for c in planned for r in runs.measured(c)],
    )
    shutil.copytree(one, tmp_path / "two")
    done = CliRunner().invoke(cli, ["compare", str(one), str(tmp_path / "two")])
    assert done.exit_code == 2, done.output
    assert "copies of one run" in done.output
