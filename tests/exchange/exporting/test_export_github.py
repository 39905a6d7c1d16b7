"""The step summary: failures first, under the cap, and a name from a cluster is never markup."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import runs
from bench.exchange.exporting.digest import MOST, digest
from bench.exchange.exporting.formats import export
from bench.exchange.exporting.github import CAP, LONGEST, github
from bench.judge.evidence import Evidence
from bench.model.printable import as_markdown
from bench.model.verdict import Status, Verdict

GITHUB_TAKES = 1 << 20


def order(text: str) -> list[int]:
    return [text.index(word) for word in ("### Failed", "Not applicable", "Passed") if word in text]


def test_failures_come_first_and_what_passed_is_folded(night):
    text = export(night, "github")
    assert text.startswith("## ❌ RailGauge: FAIL")
    assert order(text) == sorted(order(text))
    assert len(order(text)) == 3
    assert text.index("all\\_reduce 4 MiB busbw") < text.index("<details>")
    assert text.count("<details>") == text.count("</details>") == 2


def test_many_failures_stay_under_the_cap_and_the_rest_is_counted(night):
    row = Verdict(
        "blame.rails", "n1 mlx5_1/1", Status.FAIL, "5 % slow " * 20, "as its equals", "RailGauge", "reseat it"
    )
    failed = tuple(replace(row, subject=f"n{number} mlx5_1/1") for number in range(9000))
    text = github(Evidence(replace(night, verdicts=(*night.verdicts, *failed)), runs.LOCAL))
    assert GITHUB_TAKES * 0.9 < len(text.encode()) <= CAP < GITHUB_TAKES
    shown = len(re.findall(r"^\| blame\.rails", text, re.MULTILINE))
    told = sum(int(number) for number in re.findall(r"^and (\d+) more", text, re.MULTILINE))
    before = sum(verdict.check == "blame.rails" for verdict in night.verdicts)
    assert shown + told >= 9000
    assert before < 100
    assert "Passed: " in text


def test_no_verdict_is_no_success(night):
    assert github(Evidence(replace(night, verdicts=()), runs.LOCAL)).startswith(
        "## ❓ RailGauge: INCONCLUSIVE\n\nnothing was judged"
    )


@settings(max_examples=60)
@given(text=st.text(max_size=60), cap=st.integers(600, 4000))
def test_no_text_breaks_a_table_or_the_cap(bare, text, cap):
    odd = Verdict(text, text, Status.FAIL, text, text, text, text)
    shown = github(Evidence(replace(bare, verdicts=(odd,) * 5), runs.LOCAL), cap)
    assert len(shown.encode()) <= cap
    for line in shown.splitlines():
        if line.startswith("| ") and "|---" not in line and "busbw" not in line:
            assert len(re.findall(r"(?<!\\)\|", line)) in (5, 6)


@pytest.mark.parametrize(
    "text", ["<img src=x>", "a|b", "`code`", "@everyone", "[x](https://evil)", "*b*", "a\nb", "\x1b[31m"]
)
def test_markup_is_shown_and_not_obeyed(text):
    shown = as_markdown(text, LONGEST)
    assert "\n" not in shown and "\x1b" not in shown
    assert not re.search(r"(?<!\\)[|<`*@\[]", shown)


def test_the_digest_is_short_and_pings_nobody(night):
    row = Verdict("c", "<@U123> @here", Status.FAIL, "x" * 5000)
    text = digest(replace(night, verdicts=tuple(replace(row, check=f"c{n}") for n in range(40))))
    assert len(text.splitlines()) == MOST + 3  # the verdict, the report, what is left out
    assert len(text) < 5000
    assert "<" not in text and "@h" not in text
    assert text.splitlines()[-1] == f"and {40 - MOST} more, in the report"
    assert "FAIL: 40 failed" in text


def test_no_line_of_the_digest_is_markup(night):
    """The first line holds the run's id and the profile's name, which a stranger's folder chooses."""
    manifest = replace(night.manifest, id="<!channel> <http://example.org|click>\n@here")
    first, *_ = digest(replace(night, manifest=manifest)).splitlines()
    assert first.startswith("RailGauge &lt;!channel&gt; &lt;http://example.org|click&gt; @\u200bhere, ")


def test_summary_digest_and_junit_say_the_cause_with_its_consequence_and_its_next_step(night):
    node = night.manifest.nodes[0]
    slow = Verdict("blame.rails", f"{node} rail mlx5_4/1", Status.FAIL, "runs at 49 %", next_step="reseat it")
    share = Verdict(
        "wire.share",
        "all_reduce",
        Status.FAIL,
        "182 GB/s",
        "at least 85 % of 3200.0 Gb/s",
        "",
        "see the rails",
        0.46,
        0.85,
        case=next(case.id for case in night.plan.cases if case.collective == "all_reduce"),
    )
    run = replace(night, verdicts=(share, slow))
    sentence = f"all_reduce reaches 46.0 % of 3200 Gb/s, because {node} rail mlx5_4/1 runs at 49 %"
    assert f"• FAIL: {sentence}; next: reseat it (1 verdict follows from it)" in digest(run).splitlines()
    summary = github(Evidence(run, runs.LOCAL))
    assert f"1. ❌ {as_markdown(sentence)} (1 verdict follows from it). **Next:** reseat it\n" in summary
    assert "Follow from these: 1</summary>" in summary and "see the rails" not in summary
    text = export(run, "junit")
    assert f"{sentence[:40]}" in text and "see the rails" not in text
    assert f"follows from {node} rail mlx5_4/1 (blame.rails)" in text


def test_a_long_sentence_does_not_cut_off_the_next_step_in_a_chat(night):
    row = Verdict("c", "n1", Status.FAIL, "x" * 5000, next_step="reseat it")
    line = digest(replace(night, verdicts=(row,))).splitlines()[-1]
    assert line.endswith("; next: reseat it") and len(line) <= 300


def test_no_line_of_the_digest_is_a_link_or_a_picture_in_markdown(night):
    name = "[see](https://x.example) ![](https://x.example/p.png) [a][b] \x1b[31m\u202e"
    first, *_ = digest(replace(night, manifest=replace(night.manifest, id=name))).splitlines()
    assert "](" not in first and "][" not in first
    assert "\x1b" not in first and "\u202e" not in first and "https://x.example" in first
