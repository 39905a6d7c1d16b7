"""The printed report: one or two pages, the same bytes each time, and no text of a cluster is obeyed."""

import re
from dataclasses import replace

import pytest

import made_runs
from bench.judge.evidence import Evidence
from bench.judge.verdicts import judge
from bench.model.verdict import Status
from bench.store.sums import evidence_digest
from bench.store.titles import save_titles
from reports.frames import frames
from reports.pdf import document, write_pdf
from reports.summary import PageInput

HOSTILE = '#read("/etc/passwd") $x$ *b* `raw` \\u{41} @ref <label> // comment \x1b[2J\n= heading'


def judged(made, path):
    path.mkdir()
    run = judge(replace(made.run, path=path), made.profile).run
    return run, PageInput(Evidence(run, made.profile), frames(Evidence(run, made.profile)), {})


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    return judged(made_runs.cluster(4), tmp_path_factory.mktemp("pdf") / "run")


@pytest.mark.parametrize("paper", ["a4", "us-letter"])
def test_a_faulty_cluster_is_at_most_three_pages_and_the_same_bytes_each_time(faulty, paper):
    run, shown = faulty
    first = write_pdf(Evidence(run, shown.profile), paper).read_bytes()
    assert first.startswith(b"%PDF-")
    assert 1 <= len(re.findall(rb"/Type\s*/Page\b", first)) <= 3
    assert write_pdf(Evidence(run, shown.profile), paper).read_bytes() == first


def test_it_says_what_the_page_says_and_names_the_evidence(faulty):
    run, shown = faulty
    save_titles(run.path, "frankfurt-2", "order 4711")
    made = document(shown, evidence_digest(run.path), "a4")
    assert (made["title"], made["status"]) == ("frankfurt-2", "FAIL")
    assert made["about"].startswith("order 4711 · ")
    first = made["problems"][0]
    assert "node002 mlx5_10/1" in first["sentence"] and first["next"] and "GUID " in first["hardware"]
    assert made["map"]["labels"][0]["text"].startswith("node002 mlx5_10/1")
    assert ("Evidence", f"SHA-256 {evidence_digest(run.path)}") in made["identity"]


def test_a_hostile_name_is_text(tmp_path):
    made = made_runs.cluster(names=["node001", HOSTILE])
    run, shown = judged(made, tmp_path / "run")
    save_titles(run.path, HOSTILE, HOSTILE)
    assert write_pdf(Evidence(run, shown.profile), "a4").read_bytes().startswith(b"%PDF-")


@pytest.mark.parametrize("made", [made_runs.nothing_measured(), made_runs.gloo()], ids=["nothing", "gloo"])
def test_a_run_without_rails_or_without_figures_is_printed_too(made, tmp_path):
    run, shown = judged(made, tmp_path / "run")
    assert document(shown, "0" * 64, "a4")["map"] is None
    assert write_pdf(Evidence(run, shown.profile), "a4").exists()
    assert shown.run.verdicts and all(isinstance(each.status, Status) for each in run.verdicts)
