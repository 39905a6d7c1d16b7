"""Parsers are linear: 10 MB of the text that is worst for each are read within a minute; a square takes days."""

from __future__ import annotations

import subprocess
import sys

import pytest

SIZE = 10_000_000


def wide(word: str) -> str:
    """Lines of as many of a word as a parser looks at."""
    return (word * (4090 // len(word)) + "\n") * (SIZE // 4090)


HEADER = " #bytes     #iterations    BW peak[MB/sec]    BW average[MB/sec]   MsgRate[Mpps]\n"
TEXTS = {
    "one line of numbers": "8 2 float" + " 1" * (SIZE // 2),
    "words of settings": wide("nThread 1 nGpus 1 " + "x" * 4000),
    "two placements": wide("#  out-of-place "),
    "versions": wide("nccl-tests version a "),
    "an escape that does not end": "\x1b[" + "0" * SIZE,
    "titles": HEADER + wide("Send "),
    "one line of titles": "Send " * (SIZE // 5),
    "blank lines": "\n" * SIZE,
    "blank lines in a JSON": "{" + "\n" * SIZE,
    "rows that are cut": HEADER + " 1\n" * (SIZE // 8),
    "keys without end": '{"nccl_version": 1' + ',"config":[' * (SIZE // 11),
    "a key of perftest that does not end": "{test_info: {\na" + " " * SIZE,
    "keys of perftest that do not end": "{test_info: {\n" + wide("a" + " " * 4000),
    "infinities": '{"results":[' + ", inf" * (SIZE // 5),
    "deep lists": '{"nccl_version":' + "[" * SIZE,
}
READ = """
import sys
from bench.exchange.importing.detect import read
from bench.exchange.importing.imported_rows import ImportRefused
from bench.exchange.importing.reconcile import Hints
try:
    read(sys.stdin.read(), Hints("worst.txt"))
except ImportRefused:
    pass
"""


@pytest.mark.parametrize("text", TEXTS)
def test_ten_megabytes_of_the_worst_are_read(text):
    subprocess.run([sys.executable, "-c", READ], input=TEXTS[text], text=True, check=True, timeout=60)
