"""Why a worker ended, out of what it printed; the log was written by torch 2.11.0 over CUDA and NCCL of paper."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.supervise.hangs.culprits import Position, of_failure
from bench.supervise.worker_process import last_words

PRINTED = (Path(__file__).parent / "data" / "aborted-by-torch-2.11.txt").read_text()
ILLEGAL = "CUDA error: an illegal memory access was encountered"


def test_what_torch_threw_before_it_aborted_is_said_and_no_line_of_its_stack():
    words = last_words(PRINTED)
    assert words == f"Process group watchdog thread terminated with exception: {ILLEGAL}"


@pytest.mark.parametrize(
    ("printed", "words"),
    [
        ("", ""),
        ("\n \n", ""),
        ("one\nfree(): invalid pointer\n\n", "free(): invalid pointer"),
        ("x" * 400, "x" * 300),
    ],
)
def test_else_the_last_line_is_said(printed, words):
    assert last_words(printed) == words


@pytest.mark.parametrize(("status", "said"), [(-6, True), (-11, False), (-9, False), (1, True)])
def test_the_words_are_told_of_a_worker_that_ended_itself(status, said):
    found = of_failure(
        [Position(1, "n0", joined=True, stage="timing", ended=True, status=status, words=ILLEGAL)]
    )
    assert found is not None
    assert found.reason.endswith(f": {ILLEGAL}") is said
