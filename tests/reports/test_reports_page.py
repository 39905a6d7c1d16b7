"""The page and its Markdown: what they say, that names stay data, that the same run gives the same bytes."""

import json
import re
from dataclasses import replace
from html import unescape

import duckdb
import pandas as pd
import pytest

import made_runs
import reports
from bench.judge.evidence import Evidence
from bench.model.printable import as_markdown
from bench.model.verdict import Status, Verdict
from bench.store import RunError
from reports import sections
from reports.charts import CHARTS
from reports.export import specifications
from reports.frames import frames
from reports.markdown import markdown
from reports.page import page
from reports.summary import coverage, headline, moment, network, unmeasured
from reports.tables import MOST_EVIDENCE, verdict_table
from reports.templating import render


def evidence(made):
    return Evidence(made.run, made.profile)


def drawn(made):
    f = frames(evidence(made))
    specs = specifications(f)
    return page(evidence(made), f, specs), markdown(evidence(made), f, tuple(specs))


def words(html):
    """What a reader of the page sees."""
    html = re.sub(r"<(script|style)[^>]*>.*?</\1>", "", html, flags=re.S)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


@pytest.fixture(scope="module")
def faulty():
    return drawn(made_runs.cluster())


def test_the_verdict_stands_first_with_its_counts(faulty):
    html, text = faulty
    assert text.startswith("# ✘ FAIL: 1 failed, 1 inconclusive, 10 passed, 1 not applicable\n")
    shown = words(html)
    assert shown.index("✘ FAIL 1 problem, 1 inconclusive finding") < shown.index(
        "1 failed, 1 inconclusive, 10 passed, 1 not applicable."
    )


def test_all_five_parts_of_a_failure_are_shown(faulty):
    for shown in (words(faulty[0]), faulty[1].replace("\\", "")):
        for part in (
            "node002 mlx5_10/1",
            "24.2 GB/s (193.5 Gb/s)",
            "at least 370 Gb/s",
            "92.5 % of 400 Gb/s",
            "reseat the cable",
        ):
            assert part in shown


def test_the_order_is_verdict_failures_coverage_target_charts_rows_environment_method(faulty):
    found = re.findall(r'<section[^>]* id="([a-z]+)"|<section id="([a-z]+)"', faulty[0])
    names = [a or b for a, b in found]
    assert names == ["verdict", "attention", "coverage", "target", "collectives", "rails", "exclusion", "rows",
                     "traffic", "passed", "environment", "method"]  # fmt: skip


def test_nothing_judged_is_inconclusive():
    made = made_runs.nothing_measured()
    assert headline(made.run) == (Status.INCONCLUSIVE, "nothing was judged")
    html, text = drawn(made)
    assert "INCONCLUSIVE" in words(html) and text.startswith("# ? INCONCLUSIVE: nothing was judged")
    assert "Nothing was measured." in words(html)


def test_unchecked_is_said_and_is_never_0():
    html, _ = drawn(made_runs.gloo(unchecked=True))
    rows = re.findall(r'data-head="#wrong">(.*?)</td>', html)
    assert rows and set(rows) == {"unchecked"}


def test_wrong_elements_stand_out_in_the_rows():
    html, _ = drawn(made_runs.gloo(wrong=True))
    assert '<strong class="bad">✘ 3</strong>' in html


def test_what_was_refused_lost_and_left_out_is_named_with_the_reason():
    made = made_runs.gloo(lossy=True)
    shown = words(drawn(made)[0])
    assert "needs 34 GiB a rank, 12 GiB available on host memory" in shown
    assert "ended by signal 9 (Killed); rank 2 (workstation)" in shown
    assert "not completed: interrupted or killed" in shown
    assert {row.became for row in unmeasured(made.run)} == {"refused", "lost", "not planned"}


def test_cases_after_a_crash_are_not_reached():
    run = made_runs.nothing_measured().run
    assert {row.became for row in unmeasured(run)} == {"not reached", "not planned"}


def test_what_a_budget_gave_up_is_part_of_the_coverage():
    made = made_runs.gloo()
    run = made.run
    cut = replace(
        run, plan=replace(run.plan, skipped=(("budget", "9 s of 10 s"), ("given up", "the forced Ring")))
    )
    rows = {row.what: row for row in coverage(Evidence(cut, made.profile))}
    assert "case" not in rows
    assert rows["case within the budget"].planned == len(run.plan.cases)
    assert (
        rows["phase left out for the budget"].measured,
        rows["phase left out for the budget"].planned,
    ) == (0, 1)
    assert rows["phase left out for the budget"].missing == "the forced Ring"


def test_coverage_counts_out_of_how_many():
    rows = {row.what: (row.measured, row.planned) for row in coverage(evidence(made_runs.gloo(lossy=True)))}
    assert rows == {"rank": (3, 3), "node": (1, 1), "collective": (10, 11), "case": (40, 45)}
    rows = {row.what: (row.measured, row.planned) for row in coverage(evidence(made_runs.cluster(4)))}
    assert rows["pair of nodes"] == (6, 6)


def test_a_case_measured_on_some_of_its_groups_is_not_measured():
    made = made_runs.cluster(4)
    run = made.run
    part = Evidence(replace(run, measurements=run.measurements[1:]), made.profile)
    rows = {row.what: row for row in coverage(part)}
    assert rows["case"].measured == rows["case"].planned - 1
    assert rows["case"].missing == next(
        case.words for case in run.plan.cases if case.id == run.measurements[0].case
    )


def test_the_readings_of_the_target_stand_side_by_side_in_both_units():
    html, text = drawn(made_runs.cluster(faulty=False))
    part = words(html.split('id="target"')[1].split("</section>")[0])
    for name in ("port counters", "Ring all_reduce", "Ring all_gather", "rails point-to-point"):
        assert name in part and name in text.replace("\\", "")
    assert "share of target" in part and "GB/s" in part and "Gb/s" in part and "3200 Gb/s" in part


def test_a_run_on_one_node_has_no_target():
    assert 'id="target"' not in drawn(made_runs.gloo())[0]


def test_a_reading_that_was_not_measured_says_so():
    made = made_runs.cluster()
    kept = tuple(m for m in made.run.measurements if not m.case.startswith(("ring", "rails")))
    html, _ = drawn(replace(made, run=replace(made.run, measurements=kept)))
    part = words(html.split('id="target"')[1].split("</section>")[0])
    assert "INCONCLUSIVE" in part and "not measured" in part


def test_a_row_is_read_by_each_algorithm_that_it_may_have_used():
    made = made_runs.cluster()
    f = frames(Evidence(made.run, made.profile))
    big = [r for r in f.measured if r.case.phase == "collectives" and r.case.collective == "all_reduce"][-1]
    reading = network(big, Evidence(made.run, made.profile))
    assert "as hierarchical" in reading and "impossible as ring" in reading and "algorithm unknown" in reading
    forced = next(r for r in f.measured if r.case.phase == "ring")
    assert "as ring" in network(forced, Evidence(made.run, made.profile))


def test_the_policy_allows_the_pages_own_scripts_and_nothing_else(faulty):
    html = faulty[0]
    policy = unescape(re.search(r'Content-Security-Policy" content="([^"]+)"', html).group(1))
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy and "http" not in policy
    html = re.sub(r"(<script[^>]*>).*?</script>", r"\1", html, flags=re.S)
    assert not re.search(r"<(script|link|img|iframe)[^>]* (src|href)=[\"'](?!data:|#)", html)
    assert not re.search(r"<[^>]* on[a-z]+=", html)


def test_hostile_names_are_text_everywhere():
    made = made_runs.cluster(names=["node001", made_runs.HOSTILE])
    html, text = drawn(made)
    assert "<img src=x" not in html and "</script><img" not in html
    assert html.count("</script>") == 3
    data = re.search(r'<script type="application/json" id="charts">(.*?)</script>', html, re.S).group(1)
    assert not set("<>&") & set(data)
    assert any("onerror" in json.dumps(spec) for spec in json.loads(data)["specs"].values())
    assert not re.search(r"(?<!\\)<img src=x", text)
    outside = re.sub(r"<picture>.*?</picture>", "", text)
    assert not re.search(r"(?<!\\)\]\(http", outside) and not re.search(r"(?<!\\)://x", outside)
    tables = [line for line in outside.splitlines() if "onerror" in line and line.startswith("|")]
    assert tables and all(len(re.findall(r"(?<!\\)\|", line)) in (4, 5, 7) for line in tables)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a|b", r"a\|b"),
        ("<b>", r"\<b\>"),
        ("two\nlines", "two lines"),
        ("http://x", r"http\://x"),
        ("\x07", "\ufffd"),
    ],
)
def test_markdown_shows_exactly_the_text(text, shown):
    assert as_markdown(text) == shown


def test_every_status_is_a_word_and_a_mark():
    made = made_runs.gloo()
    verdicts = tuple(Verdict("c", status.value, status, "m") for status in Status)
    html, _ = drawn(replace(made, run=replace(made.run, verdicts=verdicts)))
    shown = words(html)
    for text in ("✔ PASS", "✘ FAIL", "? INCONCLUSIVE", "– NOT APPLICABLE"):
        assert text in shown


def test_writing_twice_gives_the_same_bytes(tmp_path):
    made = made_runs.gloo(lossy=True)
    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (first, second):
        folder.mkdir()
    written = [
        reports.write(Evidence(replace(made.run, path=folder), made.profile)) for folder in (first, second)
    ]
    assert [p.relative_to(first) for p in written[0]] == [p.relative_to(second) for p in written[1]]
    assert {p.name for p in written[0]} >= {
        "report.html",
        "report.md",
        "rows.csv",
        "busbw-by-size.vl.json",
        "busbw-by-size.svg",
    }
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(*written, strict=True))
    assert not list(first.rglob(".*"))


def test_pandas_and_duckdb_read_every_row_from_parquet(cluster_folder):
    table, text = (pd.read_parquet(cluster_folder / "rows.parquet"), pd.read_csv(cluster_folder / "rows.csv"))
    assert len(table) > 100 and table["case"].tolist() == text["case"].tolist()
    assert table["busbw"].equals(text["busbw"].astype(table["busbw"].dtype))
    with duckdb.connect() as connection:
        found = connection.execute(
            "select count(*), max(busbw) from read_parquet(?)", [str(cluster_folder / "rows.parquet")]
        ).fetchone()
    assert found == (len(table), table["busbw"].max())


def test_of_many_groups_of_one_case_and_many_verdicts_the_page_lists_some_and_says_how_many(monkeypatch):
    made = made_runs.cluster()
    verdicts = tuple(Verdict("c", f"node {at}", Status.PASS, "well") for at in range(5))
    monkeypatch.setattr(sections, "MOST_EQUALS", 1)
    monkeypatch.setattr(sections, "MOST_PASSED", 2)
    html, _ = drawn(replace(made, run=replace(made.run, verdicts=verdicts)))
    assert "and 3 more, in verdicts.json" in words(html) and "node 4" not in words(html)
    rows = frames(Evidence(made.run, made.profile)).rows
    alone = rows[~rows["pair"]]
    kinds = [part for _, part in alone.groupby(["phase", *sections.EQUALS], sort=False)]
    assert "of which the slowest 1 of each kind are here" in words(html) and max(map(len, kinds)) > 1
    kept = pd.concat([sections._slowest_equals(part) for _, part in alone.groupby("phase", sort=False)])
    assert sorted(kept["busbw"]) == sorted(part["busbw"].min() for part in kinds)


def test_every_picture_that_markdown_shows_is_there(cluster_folder):
    text = (cluster_folder / "report.md").read_text(encoding="utf-8")
    pictures = re.findall(r'(?:srcset|src)="(charts/[^"]+)"', text)
    assert len(pictures) == 2 * sum(chart.section in ("collectives", "rails") for chart in CHARTS)
    assert all((cluster_folder / name).is_file() for name in pictures)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "charts").write_text("in the way")
    made = made_runs.nothing_measured()
    with pytest.raises(RunError, match="cannot write .*charts"):
        reports.write(Evidence(replace(made.run, path=tmp_path), made.profile))


@pytest.mark.parametrize("seconds", [None, float("nan"), float("inf"), 1e300])
def test_a_time_that_is_none_is_unknown(seconds):
    assert moment(seconds) == "unknown"


def attention(verdict):
    return render("attention.html", first=verdict_table([verdict]), rest=verdict_table([]))


def test_evidence_of_tens_of_thousands_of_lines_is_cut_on_the_page_and_says_where_it_is_whole():
    lines = tuple(f"line number {number} of it" for number in range(MOST_EVIDENCE + 7))
    verdict = Verdict("a.check", "a subject", Status.FAIL, "it is so", evidence=lines)
    html = attention(verdict)
    assert f"line number {MOST_EVIDENCE - 1} of it" in html
    assert f"line number {MOST_EVIDENCE} of it" not in html
    assert "and 7 more: see verdicts.json" in html and f"evidence ({MOST_EVIDENCE + 7})" in html
    short = attention(replace(verdict, evidence=lines[:MOST_EVIDENCE]))
    assert f"line number {MOST_EVIDENCE - 1} of it" in short and "more: see" not in short
