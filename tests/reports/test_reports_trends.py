"""Trends: what each night was, the accepted level, the steps with their causes; nothing of it invented."""

import json
import math
from dataclasses import replace

import altair as alt
import pytest

import made_docs
from bench.judge.drift import NightValue, Series, replay
from bench.model.verdict import Status
from bench.store.history import HistoryError, RecordedRun, Sample, append, create
from bench.store.history.location import LeftOutFile
from reports import trends
from reports.theme import text_of

REDUCE = Series(made_docs.CLUSTER, "all_reduce", "8 GiB", "busbw")
LATENCY = Series(made_docs.CLUSTER, "all_reduce", "8 B", "latency")


@pytest.fixture(scope="module")
def page():
    return trends.cluster_page(made_docs.CLUSTER, made_docs.nights())


def chart(page, title):
    return next(each for each in page.charts if each.title == title)


def values(spec, column):
    """The values of a column of whichever table has it."""
    return [row[column] for rows in spec["datasets"].values() for row in rows if column in row]


def test_a_series_is_drawn_in_its_own_unit_with_its_nights(page):
    spec = chart(page, "all_reduce 8 GiB busbw").spec
    assert len(values(spec, "value")) == 60
    assert 440 < min(values(spec, "value")) < 500 and "GB/s; 1 GB/s = 8 Gb/s" in text_of(spec)
    latency = chart(page, "all_reduce 8 B latency").spec
    assert 30 < min(values(latency, "value")) < 34 and "(µs)" in text_of(latency)
    alt.Chart.from_dict(spec)


def test_a_step_stands_with_its_size_and_what_changed_with_it(page):
    (text,) = values(chart(page, "all_reduce 8 GiB busbw").spec, "text")
    assert text.startswith("−") and text.endswith("%: nccl 2.28.9 → 2.29.1")
    assert abs(float(text.split(" ")[0].replace("−", "")) - 5) < 0.7
    assert "nccl 2.28.9 → 2.29.1" in chart(page, "all_reduce 8 GiB busbw").about
    # the same change of NCCL moved nothing here, and no step is drawn for it
    assert values(chart(page, "all_gather 8 GiB busbw").spec, "text") == []
    assert "No step was found" in chart(page, "all_gather 8 GiB busbw").about


def test_a_step_that_nothing_explains_says_so():
    nights = {REDUCE: tuple(replace(night, fingerprint=()) for night in made_docs.nights()[REDUCE])}
    drawn = trends.trend_of(REDUCE, replay(REDUCE, nights[REDUCE]))
    assert "no change in the fingerprint" in drawn.about
    marks = replay(REDUCE, nights[REDUCE])
    assert values(drawn.spec, "label") == [mark.label.value for mark in marks]
    assert "regression" in drawn.about or "suspicious" in drawn.about


def test_levels_are_those_that_judged_and_there_is_none_before(page):
    spec = chart(page, "all_gather 8 GiB busbw").spec
    begins, ends = values(spec, "begin"), values(spec, "end")
    # ten nights make a baseline, and another ten after NCCL was changed
    night = 86400 * 1000
    start = 1.785e9 * 1000
    assert min(begins) == start + 10 * night and max(ends) == start + 59 * night
    assert not [b for b in begins if start + 40 * night <= b < start + 50 * night]
    assert all(
        low < level < high
        for low, level, high in zip(*(values(spec, k) for k in ("low", "level", "high")), strict=True)
    )


def test_levels_join_within_a_baseline_and_not_across_two():
    marks = replay(REDUCE, made_docs.nights()[REDUCE])
    table = trends.levels_frame(marks, 1e9)
    gaps = [
        (end, begin) for end, begin in zip(table["end"][:-1], table["begin"][1:], strict=True) if begin > end
    ]
    assert len(gaps) == 1
    assert set(table["begin"][1:]) - {gaps[0][1]} <= set(table["end"])


def test_a_series_without_a_figure_is_not_drawn_and_is_in_the_table():
    nights = tuple(NightValue(f"n{n}", 1e9 + n, math.nan, (), None, Status.INCONCLUSIVE) for n in range(3))
    page = trends.cluster_page("c", {Series("c", "all_reduce", "8 B", "busbw"): nights})
    assert page.charts[0].spec is None and page.charts[0].about == "No night has a figure."
    assert "no figure" in page.intro[1] and page.drawn == 0


def test_what_moved_stands_first_in_the_table_and_among_the_charts():
    moved = made_docs.nights()
    moved[REDUCE] = tuple(replace(night, fingerprint=()) for night in moved[REDUCE])
    page = trends.cluster_page("c", moved)
    rows = [line for line in page.intro[1].splitlines() if "2026" in line]
    assert len(rows) == 3 and "all\\_reduce 8 GiB" in rows[0]
    assert page.charts[0].title == "all_reduce 8 GiB busbw"


def test_the_same_nights_give_the_same_bytes():
    first, second = (trends.cluster_page("c", made_docs.nights()) for _ in range(2))
    assert first.drawn
    assert json.dumps([c.spec for c in first.charts]) == json.dumps([c.spec for c in second.charts])


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("lambda-a all_reduce 8 GiB busbw", "lambda-a-all_reduce-8-GiB-busbw"),
        ("../../etc", None),
        ("a/b", None),
        ("", None),
    ],
)
def test_names_of_files_are_plain_and_differ_where_the_names_do(name, file):
    found = trends.slug(name)
    assert found == (file or found) and not set(found) - set(
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
    )
    assert trends.slug("a/b") != trends.slug("a-b") != trends.slug("a.b")


def test_a_history_is_read_and_broken_files_are_named(tmp_path):
    history = str(tmp_path / "history")
    create(history)
    for at, night in enumerate(made_docs.nights()[REDUCE][:14]):
        append(
            history,
            RecordedRun(
                f"n{at}", night.time, made_docs.CLUSTER, night.fingerprint, (Sample(REDUCE, night.value),)
            ),
        )
    (tmp_path / "history" / "note.txt").write_text("not ours")
    pages, problems = trends.history_pages(history)
    assert [page.title for page in pages] == [f"{made_docs.CLUSTER}: every night"]
    assert len(values(pages[0].charts[0].spec, "value")) == 14
    assert [problem.path for problem in problems] == ["note.txt"] and isinstance(problems[0], LeftOutFile)
    with pytest.raises(HistoryError, match="no runs of cluster 'other'"):
        trends.history_pages(history, "other")
