"""Standard output that ends early, is full, is closed or is a terminal; and memory that is not there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mpi_jobs
from bench.model.measurement import Rank
from bench.model.printable import plain
from bench.store import load

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("n1 mlx5_0/1: 400 Gb/s\n", "n1 mlx5_0/1: 400 Gb/s\n"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\x9b31m", "\\x9b31m"),
        ("a\rb", "a\\x0db"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\ud8ff", "\\ud8ff"),
        ("köln 東京 µs ×", "köln 東京 µs ×"),
    ],
)
def test_what_a_terminal_obeys_is_written_out(text, shown):
    assert plain(text) == shown


@given(st.text())
def test_plain_text_holds_nothing_that_a_terminal_obeys(text):
    kept = plain(text)
    assert all(c in "\n\t" or (c >= " " and c != "\x7f" and not "\x80" <= c < "\xa0") for c in kept)
    assert plain(kept) == kept
    kept.encode()


def piped(words: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", words],
        capture_output=True,
        text=True,
        env={**mpi_jobs.environment(), "RG": f"{sys.executable} -m bench", **more},
        cwd=ROOT,
        timeout=mpi_jobs.LIMIT,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def test_a_full_disk_under_the_output_is_one_line_and_never_status_0():
    done = piped("$RG profiles lambda-1cc-h100 >/dev/full")
    assert done.returncode == 3
    assert done.stderr == "railgauge: cannot write to standard output: No space left on device\n"


def test_a_wrong_use_stays_a_wrong_use_where_nothing_can_be_printed():
    assert piped("$RG profiles nosuch >/dev/full").returncode == 2


def test_closed_streams_are_no_fault():
    assert piped("$RG profiles >&-").returncode == 0
    assert piped("$RG profiles nosuch 2>&-").returncode == 2


def test_a_reader_that_leaves_does_not_change_the_status():
    done = piped("$RG profiles lambda-1cc-h100 | head -1; exit ${PIPESTATUS[0]}")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.mpi
def test_a_reader_that_leaves_does_not_end_the_run(tmp_path):
    """``railgauge run … | head -1``: mpirun must not meet the closed pipe."""
    out = tmp_path / "run"
    words = f"run all_reduce -b 8 -e 64 -f 2 -n 3 -w 1 --ranks 2 --out {out}"
    done = piped(f"$RG {words} 2>&1 | head -1; exit ${{PIPESTATUS[0]}}")
    run = load(out)
    assert run.ended is not None
    assert len(run.measurements) == len(run.plan.cases) >= 4
    assert (done.returncode, run.verdicts != ()) == (0, True)


@pytest.mark.parametrize("ranks", [1, 64, 4096])
def test_memory_that_is_left_is_never_negative(ranks):
    from bench.model.facts import Gpu, Host, Node
    from bench.run.bootstrap import memory

    where = [Rank(i, "n0", i) for i in range(ranks)]
    node = Node("n0", host=Host(memory_available=4 << 30), gpus=(Gpu(0, memory_free=0),))
    for backend in ("gloo", "nccl"):
        assert memory(where, [node], backend).available >= 0


def test_os_fsdecode_names_do_not_break_the_command_line(tmp_path):
    odd = tmp_path / os.fsdecode(b"odd\xff")
    odd.mkdir()
    done = mpi_jobs.railgauge("judge", odd)
    assert done.returncode == 2
    assert "not a run folder" in done.stderr
