"""A launcher's row counts by what is in the run folder, and one that is not installed is told."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from bench.launch.table import LAUNCHERS

sys.path.insert(0, str(Path(__file__).parents[2] / "ci" / "lab"))
from netlab import launchers
from netlab.launchers import Job, Row, Seen
from netlab.plan import Lab, LabError


def job(folder: Path, **change: object) -> Job:
    given = {"lab": Lab("starts", nodes=2), "hosts": folder / "hosts", "words": ("accept",), "folder": folder}
    return Job(**{**given, **change})  # type: ignore[arg-type]


def run_folder(folder: Path, ranks: tuple[int, ...] = (0, 1, 2, 3), status: str = "pass") -> Path:
    out = folder / "run"
    out.mkdir()
    rows = [{"kind": "note", "text": "x"}, {"kind": "measurement", "case": "a", "ranks": list(ranks)}]
    (out / "journal.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    nodes = [{"rank": rank, "node": f"n{rank // 2}"} for rank in range(4)]
    (out / "manifest.json").write_text(json.dumps({"ranks": nodes}))
    (out / "verdicts.json").write_text(json.dumps({"verdicts": [{"status": "pass"}, {"status": status}]}))
    (folder / "run.log").write_text("PASS: 3 passed, 0 failed, 0 inconclusive, 1 not applicable\nreport: x\n")
    return out


def seen(folder: Path, out: Path, ends: tuple[int, ...] = (0, 0), late: bool = False) -> Seen:
    return launchers.judged("torchrun", job(folder), out, 9.0, ends[0], ends, late)


def test_every_rank_of_every_node_and_a_pass_is_right(tmp_path: Path) -> None:
    found = seen(tmp_path, run_folder(tmp_path))
    assert (found.wrong, found.ranks, found.nodes) == ("", 4, ("n0", "n1"))
    assert found.verdict.startswith("PASS: 3 passed")


@pytest.mark.parametrize(
    ("ranks", "status", "ends", "late", "said"),
    [
        ((0, 1), "pass", (0, 0), False, "2 of 4 ranks measured, of n0"),
        ((0, 1, 2, 3), "error", (0, 0), False, "does not say that it passed"),
        ((0, 1, 2, 3), "fail", (0, 0), False, "does not say that it passed"),
        ((0, 1, 2, 3), "pass", (0, 1), False, "exit status 0, 1"),
        ((0, 1, 2, 3), "pass", (0, -9), True, "did not end within"),
    ],
)
def test_a_launcher_s_zero_is_not_believed(
    tmp_path: Path, ranks: tuple[int, ...], status: str, ends: tuple[int, ...], late: bool, said: str
) -> None:
    assert said in seen(tmp_path, run_folder(tmp_path, ranks, status), ends, late).wrong


@pytest.mark.parametrize("file", ["journal.jsonl", "manifest.json", "verdicts.json"])
@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"ranks": 3, "verdicts": []}'])
def test_a_missing_or_broken_file_does_not_pass(tmp_path: Path, file: str, text: str | None) -> None:
    out = run_folder(tmp_path)
    (out / file).unlink()
    if text is not None:
        (out / file).write_text(text)
    assert seen(tmp_path, out).wrong


def test_the_printed_lines_are_read_one_a_node() -> None:
    text = "# first on every node, the same: export X=…\n# on n0\ncd / && a\n# on n1\ncd / && b\n"
    assert launchers.lines_of(text) == [("n0", "cd / && a"), ("n1", "cd / && b")]


def test_a_launcher_that_is_not_here_is_told_and_is_no_pass(tmp_path: Path) -> None:
    def starts(_: Job) -> list[launchers.Start]:
        raise launchers.NotHere("no module fabric")

    found = launchers.one(Row("fabric", starts), job(tmp_path), tmp_path / "run")
    assert found.absent == "no module fabric"
    assert "not here: no module fabric" in list(launchers.table([found]))[1]
    assert launchers.exit_status([found]) == 3
    assert launchers.exit_status([found, Seen("mpirun", status=0)]) == 0
    assert launchers.exit_status([found, Seen("mpirun", status=0, wrong="x")]) == 1


def test_a_row_whose_module_is_missing_is_not_here(tmp_path: Path) -> None:
    with pytest.raises(launchers.NotHere, match="no_such_module"):
        launchers._found("no_such_module", job(tmp_path))


def test_mpis_that_nobody_gave_are_in_the_table() -> None:
    done = [Seen("mpirun (Open MPI 5)", status=0)]
    assert launchers.missing(done, ()) == ["mpirun (Open MPI 4)", "mpirun (MPICH)"]
    assert launchers.missing(done, ("fabric",)) == []


def test_a_pod_has_every_variable_by_which_the_bench_knows_it(tmp_path: Path) -> None:
    (row,) = [row for row in LAUNCHERS if row.name == "runpod"]
    variables = launchers.runpod(job(tmp_path), 1)
    assert set(row.sign) <= set(variables)
    assert {"NODE_ADDR", "HOST_NODE_ADDR", "WORLD_SIZE"} <= set(variables)
    assert variables["WORLD_SIZE"] == "4"


def test_a_name_that_is_unknown_lists_those_there_are() -> None:
    with pytest.raises(LabError, match=r"charm is unknown; known: mpirun, torchrun static"):
        launchers.launchers("starts", ["charm"], "", ())
