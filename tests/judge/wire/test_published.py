"""The nine published runs, typed in as nccl-tests tables: import, judge, and read them as derived.

Sources of the figures: dstack (Lambda B200, GCP B200, Nebius), oci-hpc (OCI), nccl-tests#309, stas00/ml-engineering
(AWS B200), aigatech/vpbenchmarking (Voltage Park), coreweave/nccl-tests, awsome-distributed-ai (AWS p5en).
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from bench.exchange.exporting.formats import export
from bench.exchange.exporting.nccl_tests import HEADER
from bench.exchange.importing.run_folder import Wanted, import_files
from bench.judge.checks.wire_share import share, target
from bench.judge.evidence import Evidence
from bench.judge.verdicts import judge
from bench.judge.wire import of_row
from bench.model.profile import load
from bench.model.units import BITS, GIGA
from bench.model.verdict import Status
from bench.store import load as load_run
from bench.store.rows import rows

GI = 1 << 30
# run, profile, nodes, bytes, algbw, busbw (GB/s); Gb/s a node as ring and as hierarchical; conclusion
PUBLISHED = [
    ("Lambda B200", "lambda-1cc-b200", 2, 2 * GI, 371.25, 696.10, 5569, 2970, "healthy"),
    ("GCP B200", "lambda-1cc-b200", 2, 8 * GI, 364.55, 683.52, 5468, 2916, "healthy"),
    ("Nebius H100", "hgx-h100-ndr", 2, 8 * GI, 249.33, 467.50, 3740, 1995, "inside"),
    ("OCI H100", "oci-h100", 2, 16 * GI, 251.32, 471.22, 3770, 2011, "inside"),
    ("nccl-tests#309 H100", "hgx-h100-ndr", 4, 8 * GI, 188.80, 365.80, 2926, 2266, "depends"),
    ("AWS B200", "lambda-1cc-b200", 4, 16 * GI, 197.06, 381.80, 3054, 2365, "depends"),
    ("Voltage Park H100", "hgx-h100-ndr", 4, 8 * GI, 170.79, 330.90, 2647, 2049, "below"),
    ("CoreWeave H100", "hgx-h100-ndr", 12, 8 * GI, 195.34, 386.61, 3093, 2865, "healthy"),
    ("AWS p5en", "hgx-h100-ndr", 16, 16 * GI, 186.40, 369.89, 2959, 2796, "healthy"),
]
AS_VERDICT = {
    "healthy": Status.PASS,
    "below": Status.FAIL,
    "inside": Status.NOT_APPLICABLE,
    "depends": Status.NOT_APPLICABLE,
}


def text_of(size, algbw, busbw):
    """One row as nccl-tests 2.13 and later print it, with its footer; the time follows from the algbw."""
    micros = size / algbw / 1e3
    row = f"{size:12d}  {size // 4:12d}     float     sum      -1"
    figures = f"  {micros:7.0f}  {algbw:6.2f}  {busbw:6.2f}       0"
    footer = f"# Out of bounds values : 0 OK\n# Avg bus bandwidth    : {busbw:g}\n"
    return "\n".join([*HEADER, row + figures + figures]) + "\n" + footer


def imported(tmp_path: Path, profile, nodes, size, algbw, busbw):
    file = tmp_path / "table.txt"
    file.write_text(text_of(size, algbw, busbw))
    folder = import_files([file], tmp_path / "run", profile, Wanted(nodes=nodes))
    assert folder.problems == ()
    assert (folder.ranks, folder.nodes) == (nodes * 8, nodes)
    return load_run(folder.path)


@pytest.mark.parametrize(
    ("name", "profile", "nodes", "size", "algbw", "busbw", "ring", "hierarchical", "kind"),
    PUBLISHED,
    ids=[row[0] for row in PUBLISHED],
)
def test_a_published_run_reads_as_derived(
    tmp_path, name, profile, nodes, size, algbw, busbw, ring, hierarchical, kind
):
    want = load(profile)
    run = imported(tmp_path, want, nodes, size, algbw, busbw)
    measured = rows(run)
    # the printed time has four digits or more, so algbw and busbw come back to a thousandth
    assert [row.busbw / GIGA for row in measured] == pytest.approx([busbw, busbw], rel=1e-3)
    reading = of_row(measured[0], Evidence(run, want))
    rates = {each.algorithm: each.wire * BITS / GIGA for each in reading.readings}
    assert rates["ring"] == pytest.approx(ring, rel=1e-3)
    assert rates["hierarchical"] == pytest.approx(hierarchical, rel=1e-3)
    assert reading.readings[0].possible == (ring <= 3200)
    assert reading.conclusion.kind == kind
    verdicts = [v for v in share(Evidence(run, want)) if v.subject == measured[0].case.id]
    assert [verdict.status for verdict in verdicts] == [AS_VERDICT[kind]]


def test_the_lambda_run_reads_2970_gigabits_and_92_8_percent(tmp_path):
    want = load("lambda-1cc-b200")
    run = imported(tmp_path, want, 2, 2 * GI, 371.25, 696.10)
    text = of_row(rows(run)[0], Evidence(run, want)).network_text
    assert text.startswith("2970.")
    assert "Gb/s, 92.8 % as hierarchical; impossible as ring" in text


@pytest.mark.parametrize("row", [row for row in PUBLISHED if row[8] == "inside"], ids=lambda row: row[0])
def test_two_h100_nodes_are_no_test_of_the_rails(tmp_path, row):
    want = load(row[1])
    run = imported(tmp_path, want, *row[2:6])
    assert "not a test of the rails" in of_row(rows(run)[0], Evidence(run, want)).conclusion.text


def test_an_import_alone_never_accepts_a_cluster(tmp_path):
    """Its readings are judged, but port counters and rails were not measured: inconclusive."""
    want = load("lambda-1cc-b200")
    run = imported(tmp_path, want, 2, 2 * GI, 371.25, 696.10)
    (verdict,) = target(Evidence(run, want))
    assert verdict.status is Status.INCONCLUSIVE
    assert judge(run, want).verdicts


def test_the_csv_says_what_the_rails_carried(tmp_path):
    run = imported(tmp_path, load("lambda-1cc-b200"), 2, 2 * GI, 371.25, 696.10)
    line = next(csv.DictReader(io.StringIO(export(run, "csv"))))
    row = rows(run)[0]
    found = of_row(row, Evidence(run, load("lambda-1cc-b200")))
    assert float(line["network_least"]) == found.wire[0] > 0
    assert float(line["share_most"]) == found.share[1] > 0
    assert float(line["ceiling"]) == found.ceiling
    assert line["in_force"] == found.used.algorithm
