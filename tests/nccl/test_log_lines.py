"""Where one message of NCCL's ends and another begins, whatever a launcher or another rank wrote into the line."""

from __future__ import annotations

import pytest

from bench.nccl.log_lines import Fragment, LogLine, lines

HEAD = "n0:11:22 [3] NCCL INFO "


def cut(text: str) -> list[tuple[object, ...]]:
    """Of a message what it says and whether it is cut, of any other line its number and text."""
    return [
        (each.text, each.cut) if isinstance(each, LogLine) else (each.number, each.text)
        for each in lines(text)
    ]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("", []),
        ("  \t", []),
        ("loss 2.17", [(1, "loss 2.17")]),
        (f"{HEAD}a", [("a", False)]),
        # what a launcher puts in front is no message
        (f"[1,0]<stdout>:{HEAD}a", [("a", False)]),
        (f"12:00:01 worker {HEAD}a", [("a", False)]),
        (f"\x1b[32m{HEAD}\x1b[0ma", [("a", False)]),
        (f"{HEAD}{'x' * 400}", [("x" * 400, False)]),
        # the rest of another rank's message, by each of its three signs
        (f"-> 1[0] via NET/IB/0 {HEAD}a", [(1, "-> 1[0] via NET/IB/0 "), ("a", False)]),
        (f":7 [0] NCCL INFO {HEAD}a", [(1, ":7 [0] NCCL INFO "), ("a", False)]),
        (f"NET/IB : Using [0]mlx5_0:1/IB {HEAD}a", [(1, "NET/IB : Using [0]mlx5_0:1/IB "), ("a", False)]),
        # two messages in one line: of the first it is not known where it would have ended
        (f"{HEAD}a {HEAD}b", [("a ", True), ("b", False)]),
        (f"{HEAD}a n1:1:2 [0] net.cc:7 NCCL WARN b", [("a ", True), ("b", False)]),
    ],
)
def test_a_line_is_cut_into_its_messages(row, said):
    assert cut(f"{row}\n") == said


def test_only_a_text_without_a_line_end_is_cut_at_its_end():
    assert cut(f"{HEAD}a\n{HEAD}b") == [("a", False), ("b", True)]


def test_a_header_says_who_speaks():
    (info,) = lines(f"{HEAD}a\n")
    assert info == LogLine(1, "n0", 11, "INFO", "", "a", False)
    (warn,) = lines("n0:11:22 [3] misc/socket.cc:99 NCCL WARN b\n")
    assert warn == LogLine(1, "n0", 11, "WARN", "misc/socket.cc:99", "b", False)
    *_, last = lines(f"x\n\n{HEAD}a\n")
    assert isinstance(last, LogLine) and last.number == 3


@pytest.mark.parametrize(
    "row",
    [
        "n0:011:22 [3] NCCL INFO a",  # NCCL prints no leading zero
        "n0:11:22 [3] net.cc:1 NCCL INFO a",  # INFO has no place
        ":11:22 [3] NCCL INFO a",
        "n0:11:22 [3]  NCCL INFO a",
        "n0:11:22 [3] NCCL DEBUG a",
        f"n0:11:22 [3] {'x' * 400} NCCL WARN a",
    ],
)
def test_what_is_no_header_of_nccls_is_no_message(row):
    (found,) = lines(f"{row}\n")
    assert isinstance(found, Fragment) and found.text == row
