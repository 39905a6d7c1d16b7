"""Which tool wrote a file."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.exchange.importing.detect import detect, read
from bench.exchange.importing.imported_rows import ImportRefused
from bench.exchange.importing.reconcile import Hints

DATA = Path(__file__).with_name("data")


@pytest.mark.parametrize("file", sorted(DATA.glob("*.txt")), ids=lambda file: file.name)
def test_every_published_file_is_known(file):
    text = file.read_text()
    wanted = (
        "perftest json"
        if "json" in file.name
        else "perftest text"
        if "ib-" in file.name
        else "nccl-tests text"
    )
    assert detect(text) == (wanted,)
    imported = read(text, Hints(file.name))
    assert imported.nccl or imported.links


def test_a_file_may_hold_both():
    text = (DATA / "ib-gpu.txt").read_text() + (DATA / "nccl-16-ranks.txt").read_text()
    imported = read(text, Hints("both.md"))
    assert imported.kinds == ("nccl-tests text", "perftest text")
    assert (imported.nccl[0].ranks, imported.links[0].tool) == (16, "ib_write_bw")


def test_json_is_told_by_its_keys():
    assert detect('{"version":3,"start_time":"x","args":[') == ("nccl-tests json",)
    assert detect('\ufeff {"results":[],"nccl_version":23007}') == ("nccl-tests json",)
    assert detect('{"test_info": {"test": "RDMA_Write_BW_Test"}}') == ("perftest json",)


@pytest.mark.parametrize("text", ["", "{}", "hello", "CA 'mlx5_0'\n\tState: Active\n", "size of count"])
def test_what_is_no_result_is_refused_by_name(text):
    with pytest.raises(ImportRefused, match=r"notes\.txt: no results .* nccl-tests json, perftest json"):
        read(text, Hints("notes.txt"))


@settings(max_examples=100)
@given(st.text() | st.binary(max_size=200).map(lambda raw: raw.decode("latin-1")))
def test_no_text_crashes(text):
    detect(text)
