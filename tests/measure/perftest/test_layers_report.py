"""The four layers of each rail in the report: one row a rail, both units, what is missing and why."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape

import pytest

from bench.judge.evidence import Evidence
from bench.judge.verdicts import judge
from bench.judge.wire.rail_latency import of_latencies
from bench.model.run_folder_lines import PerftestSkipped
from layered import LAMBDA, even, run_of, transfers
from reports.frames import frames
from reports.layers import HEAD, layer_table, read_layers, unknowns, worst_first
from reports.page import SECTIONS
from reports.summary import PageInput
from reports.tables import as_text
from said import DOWN, ended, transfer

pytest.importorskip("pandas")


def drawn(run):
    f = frames(Evidence(run, LAMBDA))
    html = section(PageInput(Evidence(run, LAMBDA), f, {}))
    found = read_layers(Evidence(run, LAMBDA))
    if found is None:
        return html, found
    text = " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())
    rows = [
        [as_text(cell) for cell in row]
        for row in layer_table(worst_first(found.rows), of_latencies(Evidence(run, LAMBDA))).rows
    ]
    return text, (found.text, rows, unknowns(found))


def section(shown):
    return next(row for row in SECTIONS if row.name == "layers").drawn(shown)


def test_a_row_shows_four_layers_in_both_units(tmp_path):
    text, (said, rows, why) = drawn(run_of(tmp_path))
    assert "✔ PASS 16 of 16 rails lose nothing" in text
    assert text.count("mlx5_3/1") == 2
    assert said.startswith("16 of 16 rails")
    assert len(rows) == 16
    first = dict(zip(HEAD, rows[0], strict=True))
    assert first["link Gb/s (GB/s)"] == "400 (50)"
    assert first["verbs Gb/s (GB/s)"] == "396 (49.5)"
    assert first["p2p Gb/s (GB/s)"] == "388 (48.5)"
    assert first["loss in"] == "none"
    assert why == []


def test_a_loss_is_named_with_its_layer_and_share_and_stands_first(tmp_path):
    run = run_of(tmp_path, p2p=lambda a, b, rail: 28e9 if rail == 4 else 48.5e9)
    text, (_, rows, _why) = drawn(run)
    assert "NCCL point-to-point, 43.4 %" in text
    assert rows[0][1] == "mlx5_4/1"


def test_what_is_missing_is_a_dash_with_its_reason(tmp_path):
    good = [each for each in transfers(["n0", "n1"], even(49.5e9)) if each.sender.hca != "mlx5_2"]
    bad = [transfer(sender="n0", receiver="n1", rail=2, server=ended(DOWN, 1), started=False)]
    text, (_, rows, why) = drawn(run_of(tmp_path, verbs=good + bad))
    assert "the port is Down" in text
    assert rows[0][3] == "–"
    assert rows[0][-2] == "unknown: verbs"
    assert len(why) == 2  # each end's own reason, once
    assert rows[0][-1] == "? INCONCLUSIVE"


def test_a_run_that_did_not_ask_has_no_such_section(tmp_path):
    run = replace(run_of(tmp_path), perftest=())
    assert drawn(run) == (None, None)


def test_why_nothing_was_measured_is_said_without_a_table(tmp_path):
    text, (said, rows, why) = drawn(
        replace(run_of(tmp_path), perftest=(PerftestSkipped("the profile turns it off"),))
    )
    assert "the profile turns it off" in text
    assert (said.endswith("the profile turns it off"), rows, why) == (True, [], [])


def test_names_of_nodes_stay_data(tmp_path):
    run = run_of(tmp_path)
    odd = "<script>alert(1)</script>"
    facts = tuple(replace(node, name=odd) if node.name == "n0" else node for node in run.facts)
    html = section(PageInput(Evidence(replace(run, facts=facts), LAMBDA), frames(Evidence(run, LAMBDA)), {}))
    assert "<script" not in html


def test_the_whole_run_is_judged_without_a_check_that_breaks(tmp_path):
    verdicts = judge(run_of(tmp_path), LAMBDA).verdicts
    assert any(verdict.check == "rails.layers" for verdict in verdicts)
    assert not [verdict for verdict in verdicts if "the check broke" in verdict.measured]
