"""nccl-tests tables of every layout, whole, broken, interleaved and cut."""

# ruff: noqa: E501  the rows are as wide as nccl-tests prints them

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.exchange.importing import nccl_tests
from bench.exchange.importing.convert import measured
from bench.exchange.importing.imported_rows import ImportedRun, ImportRefused
from bench.exchange.importing.reconcile import Hints
from bench.model.units import GIGA, MICRO

DATA = Path(__file__).with_name("data")


def read(name: str) -> str:
    return (DATA / name).read_text()


def only(text: str, **hints: Any) -> ImportedRun:
    (run,) = nccl_tests.parse(text, Hints(**hints))
    return run


def busbw(run: ImportedRun, place: str) -> list[float]:
    return [round(row.busbw / GIGA, 2) for row in run.rows if row.placement == place]


FOOTER = "# Out of bounds values : 0 OK\n# Avg bus bandwidth    : 376.62\n"
ROW = "  4294967296    1073741824     float     sum      -1    22181  193.63  383.23      0    22570  190.29  376.62      0\n"
HEADER = "#       size         count      type   redop    root     time   algbw   busbw #wrong     time   algbw   busbw #wrong\n"


# --- layouts: header, row, and what must come out: (collective, ranks, [(placement, seconds, busbw, wrong)])

LAYOUTS = {
    "2.0 all_gather, no redop, no root; algbw was not size/time": (
        "#       size         count    type     time   algbw   busbw  error     time   algbw   busbw  error\n"
        "    67108864       8388608   float   1000.0   33.55   33.55  0e+00    990.0   33.89   33.89  0e+00\n",
        ("all_gather", 2, [("out", 1000.0, 33.55, 0), ("in", 990.0, 33.89, 0)]),
    ),
    "2.0 broadcast with root, no redop": (
        "#       size         count    type    root     time   algbw   busbw  error     time   algbw   busbw  error\n"
        "    67108864      16777216   float       0   1000.0   67.11   67.11  0e+00    990.0   67.79   67.79    N/A\n",
        ("broadcast", None, [("out", 1000.0, 67.11, 0), ("in", 990.0, 67.79, None)]),
    ),
    "2.10 error above zero is no count": (
        "#       size         count      type   redop     time   algbw   busbw  error     time   algbw   busbw  error\n"
        "     1048576        262144     float     sum    74.78   14.02   24.54  2e-07    76.17   13.77   24.09  0e+00\n",
        ("all_reduce", 8, [("out", 74.78, 24.54, None), ("in", 76.17, 24.09, 0)]),
    ),
    "2.13 #wrong": (HEADER + ROW, ("all_reduce", 96, [("out", 22181, 383.23, 0), ("in", 22570, 376.62, 0)])),
    "wrong elements by %g": (
        HEADER + ROW.replace("376.62      0", "376.62 1.5e+06"),
        ("all_reduce", 96, [("out", 22181, 383.23, 0), ("in", 22570, 376.62, 1_500_000)]),
    ),
    "-I 1": (
        "#       size         count      type   redop    root     time   algbw   busbw  #wrong    i_min    i_max    i_p99    i_cv%"
        "     time   algbw   busbw  #wrong    i_min    i_max    i_p99    i_cv%\n"
        "  4294967296    1073741824     float     sum      -1    22181  193.63  383.23       0  22000.0  22400.0  22390.0     0.40"
        "    22570  190.29  376.62       0  22500.0  22600.0  22600.0     0.10\n",
        ("all_reduce", 96, [("out", 22181, 383.23, 0), ("in", 22570, 376.62, 0)]),
    ),
    "-S 1": (
        HEADER.rstrip() + "            timestamp\n" + ROW.rstrip() + "  2025-06-12 16:57:52\n",
        ("all_reduce", 96, [("out", 22181, 383.23, 0), ("in", 22570, 376.62, 0)]),
    ),
    "-S 1 and #iters": (
        HEADER.rstrip() + "  #iters            timestamp\n" + ROW.rstrip() + "  20  2025-06-12 16:57:52\n",
        ("all_reduce", 96, [("out", 22181, 383.23, 0), ("in", 22570, 376.62, 0)]),
    ),
    "reduce with a root": (
        HEADER + ROW.replace("-1", " 3").replace("383.23", "193.63").replace("376.62", "190.29"),
        ("reduce", None, [("out", 22181, 193.63, 0), ("in", 22570, 190.29, 0)]),
    ),
    "sendrecv, in place unchecked": (
        HEADER
        + "    33554432       8388608     float    none      -1    700.0   47.93   47.93      0    699.0   48.00   48.00    N/A\n",
        ("p2p_ring", None, [("out", 700.0, 47.93, 0), ("in", 699.0, 48.00, None)]),
    ),
    "scientific times": (
        HEADER
        + "  4294967296    1073741824     float     sum      -1  1.2e+07    0.36    0.71      0  1.2e+07    0.36    0.71    N/A\n",
        ("all_reduce", None, [("out", 1.2e7, 0.71, 0), ("in", 1.2e7, 0.71, None)]),
    ),
    "rccl-tests, in place alone": (
        "#                                                      in-place\n"
        "#       size         count      type   redop    root     time   algbw   busbw #wrong\n"
        "  4294967296    1073741824     float     sum      -1    22181  193.63  383.23      0\n",
        ("all_reduce", 96, [("in", 22181, 383.23, 0)]),
    ),
    "out of place left blank": (
        HEADER
        + "  4294967296    1073741824     float     sum      -1"
        + " " * 32
        + "    22570  190.29  376.62      0\n",
        ("all_reduce", 96, [("in", 22570, 376.62, 0)]),
    ),
    "without a header": (ROW, ("all_reduce", 96, [("out", 22181, 383.23, 0), ("in", 22570, 376.62, 0)])),
    "without # marks": (
        "    " + HEADER[1:].replace("#wrong", "wrong") + "  " + ROW,
        ("all_reduce", 96, [("out", 22181, 383.23, 0), ("in", 22570, 376.62, 0)]),
    ),
    "Windows line ends and colours": (
        ("\x1b[32m" + HEADER + ROW + "\x1b[0m").replace("\n", "\r\n"),
        ("all_reduce", 96, [("out", 22181, 383.23, 0), ("in", 22570, 376.62, 0)]),
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_read(layout):
    text, (collective, ranks, figures) = LAYOUTS[layout]
    run = only(text)
    assert run.collective == collective
    assert run.ranks == ranks
    seen = [(r.placement, round(r.seconds / MICRO, 2), round(r.busbw / GIGA, 2), r.wrong) for r in run.rows]
    assert seen == figures
    assert not run.complete


@pytest.mark.parametrize(
    "prefix",
    [
        "[1,0]<stdout>:",
        "[1,0]<stdout>: ",
        "0: ",
        " 0: ",
        "[0] ",
        "node-1: ",
        "> ",
        ">   [1,0]<stdout>:",
        "(head, rank=0, pid=1234) ",
        "2025-05-01T12:00:00.123Z ",
    ],
)
def test_launcher_prefixes_are_no_columns(prefix):
    text = "".join(prefix + line for line in (HEADER + ROW + FOOTER).splitlines(keepends=True))
    run = only(text)
    assert run.ranks == 96
    assert busbw(run, "out") == [383.23]
    assert run.average == pytest.approx(376.62 * GIGA)


def test_log_lines_between_and_inside_rows_change_nothing():
    log = "gpu-1:1234:1250 [3] NCCL INFO Channel 00/0 : 0[0] -> 8[0] [send] via NET/IB/0/GDRDMA\n"
    start, middle, end = ROW[:53], ROW[53:88], ROW[88:]
    for text in (
        HEADER + log + ROW,
        HEADER + start + "\n" + log + middle + end,
        HEADER + start + log + middle + end,
        HEADER + start + middle + log + log + end,
    ):
        run = only(text)
        assert (busbw(run, "out"), busbw(run, "in")) == ([383.23], [376.62]), text
        assert [row.root for row in run.rows] == [-1, -1]


def test_two_ranks_that_print_their_own_tables_stay_apart():
    one = [f"[1,0]<stdout>:{line}\n" for line in (HEADER + ROW).splitlines()]
    two = [f"[1,1]<stdout>:{line}\n" for line in (HEADER + ROW.replace("383.23", "381.11")).splitlines()]
    first, second = nccl_tests.parse("".join(line for pair in zip(one, two, strict=True) for line in pair))
    assert (busbw(first, "out"), busbw(second, "out")) == ([383.23], [381.11])


def test_ranks_listed_twice_are_named():
    device = "#  Rank  0 Group  0 Pid   2114 on node device  0 [0000:8f:00] NVIDIA B200\n"
    assert any("built without MPI" in problem for problem in only(device * 2 + HEADER + ROW).problems)


def test_several_tables_in_a_file_are_several_runs():
    text = "# Collective test starting: all_reduce_perf\n" + HEADER + ROW + FOOTER + "\n" + HEADER + ROW + ROW
    first, second = nccl_tests.parse(text)
    assert (len(first.rows), len(second.rows)) == (2, 4)
    assert first.out_of_bounds == 0
    assert second.out_of_bounds is None


# --- which collective


SUM = "    33554432       8388608     float     sum      -1    700.0   47.93   47.93      0    699.0   48.00   48.00      0\n"


@pytest.mark.parametrize(
    ("text", "collective"),
    [
        (read("nccl-sendrecv.txt"), "p2p_ring"),  # prints the operation that it was given, and N/A in place
        (read("nccl-2.11-sendrecv.txt"), "p2p_ring"),  # prints no operation
        (read("nccl-2.9-alltoall.txt"), "all_to_all"),  # prints a blank operation
        (HEADER + SUM, "all_reduce"),  # two ranks: verified in place, which sendrecv is not
        ("# Collective test starting: sendrecv_perf\n" + HEADER + SUM, "p2p_ring"),
        ("$ mpirun -np 4 ./build/sendrecv_perf -b 8\n" + HEADER + SUM, "p2p_ring"),
    ],
)
def test_sendrecv_and_alltoall_are_told_from_their_look_alikes(text, collective):
    assert only(text).collective == collective


def test_a_ratio_of_one_is_of_all_reduce_on_two_ranks_or_of_sendrecv_on_any_number():
    unverified = HEADER + SUM.replace("      0", "    N/A")
    run = only(unverified)
    assert run.collective == ""
    assert any("all_reduce or p2p_ring; say which with --collective" in problem for problem in run.problems)
    assert only(unverified, ranks=4).collective == "p2p_ring"
    assert only(unverified, file="node1-sendrecv.log").collective == "p2p_ring"
    assert only(unverified, file="all_reduce_2x1.txt").collective == "all_reduce"


def test_what_alltoall_and_sendrecv_print_in_place_is_no_count_of_wrong_elements():
    """2.13 prints what differs although it verifies nothing in place, and does not count it in its footer."""
    text = HEADER + SUM.replace("48.00      0", "48.00  8e+06") + FOOTER.replace("376.62", "47.965")
    run = only(text)
    assert (run.collective, [row.wrong for row in run.rows]) == ("p2p_ring", [0, None])
    assert not any("wrong elements" in problem for problem in run.problems)
    failed = only(text.replace("0 OK", "1 FAILED"), collective="sendrecv")
    assert [row.wrong for row in failed.rows] == [0, 8_000_000]


@pytest.mark.parametrize(
    ("columns", "row", "collective", "ranks"),
    [
        ("", "float     ", "all_gather", 8),
        ("   redop", "float     sum", "reduce_scatter", 8),
        ("   redop", "float        ", "all_to_all", 8),
    ],
)
def test_before_2_13_the_columns_tell_the_collective(columns, row, collective, ranks):
    header = f"#       size         count    type{columns}     time   algbw   busbw  error     time   algbw   busbw  error\n"
    figures = "   1000.0    8.39    7.34    N/A    990.0    8.47    7.41    N/A\n"
    run = only(header + f"     8388608        262144   {row}" + figures)
    assert (run.collective, run.ranks) == (collective, ranks)


def test_rows_without_header_and_footer_are_read_and_named():
    run = only(ROW)
    assert (run.collective, run.ranks, len(run.rows)) == ("all_reduce", 96, 2)
    assert any("the header line is missing" in problem for problem in run.problems)
    # the last column of 2.11 and before is a difference: 2e-07 is not 0 wrong elements, and 3e+02 not 300
    old = only(
        "     1048576        262144     float     sum    74.78   14.02   24.54  2e-07    76.17   13.77   24.09  3e+02\n"
    )
    assert [(row.wrong, row.error) for row in old.rows] == [(None, 2e-07), (None, 300.0)]


def test_failures_of_nccl_tests_1_name_no_host():
    run = only(read("nccl-1-failure.txt"))
    assert run.faults == ("unhandled cuda error",)
    assert only("# a\nCuda failure common.cu:862 'peer access is not supported'\n" + HEADER + ROW).faults


def test_a_wrong_command_is_no_fault_of_the_cluster():
    run = only(HEADER + "n0: Test NCCL failure common.cu:958 'invalid usage (run with NCCL_DEBUG=WARN)'\n")
    assert run.failures and not run.faults


def test_an_average_below_the_limit_that_was_set_is_a_failure():
    run = only(HEADER + ROW + "# Out of bounds values : 0 OK\n# Avg bus bandwidth    : 379.925 FAILED\n")
    assert run.faults == ("the average busbw is below 90 % of NCCL_TESTS_MIN_BW",)
    assert not run.complete


# --- published outputs


def test_an_unchecked_run_is_not_a_run_without_errors():
    run = only(read("nccl-2.10-error-column.txt"))
    assert (run.collective, run.ranks, run.listed) == ("all_reduce", 8, 8)
    assert {row.wrong for row in run.rows} == {None}
    assert any("was checked" in problem for problem in run.problems)
    assert run.settings["warmup iters"] == "5"
    assert run.settings["iters"] == "20"


def test_1440_ranks_are_more_than_busbw_can_tell_so_the_list_decides():
    run = only(read("nccl-1440-ranks.txt"))
    assert run.ranks == run.listed == 1440
    assert run.inferred is not None
    assert run.inferred[0] <= 1440 <= run.inferred[1]
    assert run.complete
    assert "the device list shows 1 of 1440 ranks" in run.problems


def test_a_table_of_64_gpus_with_a_ratio_of_96_ranks_is_named():
    run = only(HEADER + ROW, ranks=64)
    assert run.ranks == 96
    assert any("64 ranks were given, but busbw/algbw of 1.979" in p and "96 ranks" in p for p in run.problems)
    listed = "".join(f"#  Rank {k:2d} Group  0 Pid 1 on n device  0 [0x00] H100\n" for k in range(64))
    assert any("64 ranks are listed" in problem for problem in only(listed + HEADER + ROW).problems)


def test_a_crash_after_good_rows_is_a_failure():
    run = only(read("nccl-crash-after-rows.txt"))
    assert busbw(run, "out")[-1] == 367.29
    assert [failure.split(":")[0] for failure in run.failures] == ["HCA-128", "HCA-108", "HCA-107"]
    assert "unhandled cuda error" in run.failures[0]
    assert not run.complete


def test_a_failure_before_the_table_is_a_failed_run():
    run = only(read("rccl-failure-before-table.txt"))
    assert (run.tool, run.rows, run.ranks) == ("rccl-tests", (), 4)
    assert "internal error" in run.failures[0]
    with pytest.raises(ImportRefused, match="collective"):
        measured(run)


def test_the_average_of_another_run_is_not_taken_for_this_ones():
    quoted, run = nccl_tests.parse(read("nccl-quoted-average.txt"))
    assert quoted.average == pytest.approx(92.3405 * GIGA)
    assert quoted.problems == ("a summary without rows",)
    assert (len(run.rows), run.average, run.collective) == (6, None, "all_reduce")


def test_elided_rows_are_noticed_by_the_average():
    run = only(read("nccl-tagged-elided.txt"))
    assert (run.ranks, len(run.rows), run.complete) == (16, 14, False)
    assert any("rows are missing" in problem for problem in run.problems)


def test_a_template_holds_no_results():
    run = only(read("nccl-template.txt"))
    assert (run.rows, run.average, run.complete) == ((), None, False)
    assert any(problem.startswith("6 rows hold no numbers") for problem in run.problems)


def test_alltoall_on_one_rank_is_known_by_its_unchecked_half():
    run = only(read("nccl-alltoall-one-rank.txt"))
    assert (run.collective, run.ranks, run.complete) == ("all_to_all", 1, True)
    assert [row.wrong for row in run.rows] == [0, None, 0, None]
    assert run.rows[-1].algbw == pytest.approx(10947 * GIGA)


def test_versions_and_devices_are_kept():
    run = only(read("nccl-2.18.txt"))
    assert (run.version, run.nccl, run.complete) == ("2.18.2", "23007", True)
    assert [(d.rank, d.host, d.bus) for d in run.devices] == [
        (0, "nid007106", "0009:01:00"),
        (1, "nid007109", "0009:01:00"),
    ]
    assert run.problems == ()


def test_a_name_that_the_rows_contradict_is_named():
    run = only("# Collective test starting: all_gather_perf\n" + HEADER + ROW)
    assert run.collective == "all_reduce"
    assert any("all_gather_perf" in problem for problem in run.problems)


def test_look_alike_tables_are_not_guessed():
    text = (
        HEADER
        + "    67108864       8388608     float    none      -1   1000.0   67.11   33.55    N/A    990.0   67.79   33.89    N/A\n"
    )
    run = only(text)
    assert run.collective == ""
    assert any("all_gather or all_to_all" in problem for problem in run.problems)
    assert only(text, collective="alltoall").collective == "all_to_all"
    assert only("$ mpirun ./build/alltoall_perf -c 0\n" + text).collective == "all_to_all"


def test_a_failed_check_is_a_problem():
    run = only(HEADER + ROW.replace("      0\n", "     12\n") + FOOTER.replace("0 OK", "1 FAILED"))
    assert run.rows[1].wrong == 12
    assert any("1 figure with wrong elements" in problem for problem in run.problems)
    assert any("out of bounds" in problem for problem in run.problems)


def test_launch_times_are_not_taken_for_calls():
    text = (HEADER + ROW).replace(" time", "cputime").replace("22181", "12.00").replace("22570", "12.10")
    run = only(text)
    assert run.ranks == 96
    _, measurement = measured(run)[0]
    assert measurement.pipelined[0][0] == pytest.approx(22181 * MICRO, rel=1e-3)


def test_not_a_number_is_no_measurement():
    run = only(
        HEADER + ROW.replace("383.23", "   nan").replace("190.29", "   inf"),
        collective="all_reduce",
        ranks=96,
    )
    assert any("2 figures without a time or a rate" in problem for problem in run.problems)
    with pytest.raises(ImportRefused, match="no figure"):
        measured(run)


def test_a_table_of_version_1_is_refused_by_name():
    run = only(
        "#      bytes             N    type      op     time  algbw  busbw      res     time  algbw  busbw      res\n"
    )
    assert any("1.x" in problem for problem in run.problems)


# --- conversion


def test_measurements_keep_what_was_printed():
    run = only(HEADER + ROW + ROW)
    (out, measurement), (into, _) = measured(run)
    assert (out.collective, out.size, out.count, out.dtype, out.op) == (
        "all_reduce",
        1 << 32,
        1 << 30,
        "float32",
        "sum",
    )
    assert (out.placement, into.placement, out.groups) == ("out", "in", (tuple(range(96)),))
    assert measurement.pipelined == ((pytest.approx(22181 * MICRO),),) * 2
    assert measurement.wrong == (0,)
    assert measurement.checked == 2 * 96 * (1 << 30)


def test_unchecked_stays_unchecked():
    run = only(HEADER + ROW.replace("      0", "    N/A"))
    for _, measurement in measured(run):
        assert measurement.wrong == (None,)
        assert measurement.checked == 0


def test_unknown_ranks_are_asked_for():
    run = only(HEADER + ROW.replace("-1", " 0").replace("383.23", "193.63").replace("376.62", "190.29"))
    with pytest.raises(ImportRefused, match="--ranks"):
        measured(run)
    assert len(measured(run, ranks=16)) == 2


# --- any input

WHOLE = read("nccl-16-ranks.txt")


@settings(max_examples=60)
@given(st.integers(0, len(WHOLE) - 1))
def test_cut_at_any_byte_says_that_it_is_incomplete(place):
    runs = nccl_tests.parse(WHOLE[:place])
    whole = only(WHOLE)
    average = WHOLE.index("Avg bus bandwidth    : 150.") + len("Avg bus bandwidth    : 150.")
    for run in runs:
        assert place > average or (not run.complete and run.problems)
        assert [(r.size, r.busbw, r.wrong) for r in run.rows] == [
            (r.size, r.busbw, r.wrong) for r in whole.rows[: len(run.rows)]
        ]


PIECES = st.sampled_from(
    [
        HEADER,
        ROW,
        ROW[:53],
        ROW[53:],
        FOOTER,
        "\n",
        "nan ",
        "N/A ",
        "1e999999 ",
        "99999999999999999999 ",
        "[1,0]<stdout>:",
        "# nThread 1 nGpus 8\n",
        "a:1:2 [0] NCCL INFO x\n",
        "x: Test NCCL failure a:1 'b'\n",
        "0 0 float none 0 ",
        "#  Rank 999999 Group  0 Pid 1 on x device 0 [0] y\n",
        "all_gather_perf ",
    ]
)


@settings(max_examples=60)
@given(st.lists(PIECES | st.text(max_size=20), max_size=12).map("".join))
def test_no_text_crashes(text):
    for run in nccl_tests.parse(text):
        assert run.complete or run.problems
        assert not (run.complete and not run.rows)


def test_one_endless_line_does_not_hang():
    nccl_tests.parse("x" * 2_000_000 + ":1:2 [0] " + "1 " * 500_000)
