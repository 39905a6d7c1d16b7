"""railgauge export: printed, as a file that is replaced whole, or appended to GitHub's summary."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from bench.cli import cli, exchange
from bench.exchange.exporting.formats import FORMATS, export
from bench.run.finish import judge_and_save
from bench.store import RunError, load
from tests import runs


def railgauge(*words, **environment):
    return CliRunner().invoke(cli, [str(word) for word in words], env=environment)


@pytest.fixture
def run(tmp_path):
    return judge_and_save(runs.folder(tmp_path / "run"), runs.LOCAL).run


def test_the_command_offers_every_format():
    assert set(exchange.FORMATS) == set(FORMATS)


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_is_printed_and_written_alike(run, tmp_path, form):
    printed = railgauge("export", run.path, "--format", form)
    written = railgauge("export", run.path, "--format", form, "--out", tmp_path / "file")
    assert (printed.exit_code, written.exit_code, written.stdout) == (0, 0, "")
    assert printed.stdout == (tmp_path / "file").read_text() == export(load(run.path), form)
    assert printed.stdout.endswith("\n")


def test_a_file_is_replaced_as_a_whole_and_nothing_else_is_left(run, tmp_path):
    folder = tmp_path / "collector"
    folder.mkdir()
    out = folder / "railgauge.prom"
    out.write_text("old\n" * 100_000)
    before = out.stat().st_ino
    assert railgauge("export", run.path, "--format", "prometheus", "--out", out).exit_code == 0
    assert list(folder.iterdir()) == [out]
    # a new file under the old name: who reads at this moment sees the old one or the new one
    assert out.stat().st_ino != before
    assert "old" not in out.read_text()


def test_a_file_that_cannot_be_written_is_said(run, tmp_path):
    done = railgauge("export", run.path, "--out", tmp_path / "nosuch" / "file")
    assert isinstance(done.exception, RunError)
    assert "cannot write" in str(done.exception)


def test_the_summary_is_appended_to_what_other_tools_wrote(run, tmp_path):
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    done = railgauge("export", run.path, "--step-summary", GITHUB_STEP_SUMMARY=str(summary))
    assert done.exit_code == 0
    text = summary.read_text()
    assert text.startswith("before\n## ✅ RailGauge: PASS")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--step-summary"], "GITHUB_STEP_SUMMARY is not set"),
        (["--step-summary", "--format", "junit"], "writes the github format, not junit"),
        (["--format", "xml"], "'xml' is not one of"),
    ],
)
def test_a_slip_is_wrong_usage(run, words, said):
    done = railgauge("export", run.path, *words, GITHUB_STEP_SUMMARY="")
    assert done.exit_code == 2
    assert said in done.output


def test_an_unknown_format_lists_the_known_ones(run):
    with pytest.raises(
        ValueError, match="known: nccl-tests, csv, junit, prometheus, alerts, grafana, github, json"
    ):
        export(run, "nosuch")
