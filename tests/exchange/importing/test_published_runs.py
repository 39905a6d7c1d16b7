"""How a table of nccl-tests stands among published runs: one sentence, and no PASS that nothing carries."""

from __future__ import annotations

import json
import re

import jsonschema
import pytest
from click.testing import CliRunner

from bench.cli import cli
from bench.cli.answers import ANSWERS
from bench.exchange.importing.published import published
from bench.model.collectives import COLLECTIVES
from bench.model.units import parse_size
from bench.store.schema import schema_of

DEVICES = "".join(
    f"#  Rank {rank:2d} Group  0 Pid   {rank + 1:4d} on  n{rank // 8} device {rank % 8:2d} [0000:{rank % 8:02x}:00] "
    "NVIDIA H100 80GB HBM3\n"
    for rank in range(16)
)
HEAD = """# nccl-tests version 2.17.6
# Collective test starting: all_reduce_perf
# nThread 1 nGpus 1 minBytes 1 maxBytes 1 step: 2(factor) warmup iters: 1 iters: 20 agg iters: 1 validation: 1 graph: 0
#
# Using devices
"""
TITLES = """#
#       size         count      type   redop    root     time   algbw   busbw  #wrong     time   algbw   busbw  #wrong
#        (B)    (elements)                               (us)  (GB/s)  (GB/s)             (us)  (GB/s)  (GB/s)
"""


def table(busbw, size=8 << 30, wrong="0", devices="", end=True, n=16):
    """A table of all_reduce_perf over ``n`` ranks with one row."""
    algbw = busbw / (2 * (n - 1) / n)
    half = f"{size / algbw / 1e3:9.0f} {algbw:8.2f} {busbw:8.2f} {wrong:>6}"
    row = f"{size:12d}  {size // 4:12d}     float     sum      -1 {half} {half}\n"
    bounds = f"{2 * int(wrong)} FAILED" if wrong not in ("0", "N/A") else "0 OK"
    foot = f"# Out of bounds values : {bounds}\n# Avg bus bandwidth    : {busbw:g}\n"
    return f"{HEAD}{devices}{TITLES}{row}{foot if end else ''}"


def asked(folder, text, *words):
    (folder / "all_reduce.log").write_text(text)
    done = CliRunner().invoke(
        cli, ["import", str(folder / "all_reduce.log"), "--profile", "auto", *words], standalone_mode=False
    )
    return done.return_value if done.exception is None else done.exception, done.output


def test_a_pasted_table_is_answered_in_one_sentence(tmp_path):
    code, said = asked(tmp_path, table(467.5, devices=DEVICES))
    assert said == (
        "PASS: all_reduce, 8 GiB, 2 × 8 H100: 467.5 GB/s busbw is normal: percentile 50 of 4 published runs "
        "(445 to 471.2 GB/s); its rails carried 62 % of 3200 Gb/s\n"
    )
    assert code == 0 or getattr(code, "code", 0) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["all_reduce.log"]


@pytest.mark.parametrize(
    ("text", "words", "starts", "part"),
    [
        (table(467.5), ("--gpu", "H100", "--nodes", "2"), "PASS", "normal"),
        (table(330.0), ("--gpu", "H100", "--nodes", "2"), "FAIL", "26 % below the lowest"),
        (table(467.5, wrong="3"), ("--gpu", "H100", "--nodes", "2"), "FAIL", "elements are wrong"),
        (table(467.5, wrong="N/A"), ("--gpu", "H100", "--nodes", "2"), "INCONCLUSIVE", "no result was checked"),
        (table(467.5, end=False), ("--gpu", "H100", "--nodes", "2"), "INCONCLUSIVE", "no footer"),
        (table(60.0, size=1 << 26), ("--gpu", "H100", "--nodes", "2"), "INCONCLUSIVE", "measure up to 8G"),
        (table(690.0), ("--gpu", "H100", "--nodes", "2"), "INCONCLUSIVE", "above the highest"),
        (table(370.0, n=64), ("--gpu", "H100", "--nodes", "8"), "INCONCLUSIVE", "of 4 and 12 nodes, the nearest"),
        (table(300.0), ("--gpu", "MI300X", "--nodes", "1"), "INCONCLUSIVE", "no such run is published"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_never_normal(tmp_path, text, words, starts, part):
    _, said = asked(tmp_path, text, *words)
    assert said.startswith(f"{starts}: all_reduce") and part in said and said.count("\n") == 1


def test_what_the_table_does_not_tell_is_asked_for_in_one_line(tmp_path):
    error, _ = asked(tmp_path, table(467.5))
    assert re.fullmatch(
        r"the all_reduce table does not tell what it ran on; give --gpu A100\|\S+ --nodes N", str(error)
    )
    error, _ = asked(tmp_path, table(467.5), "--gpu", "Foo1", "--nodes", "2")
    assert "no run of 'Foo1' is published; known: A100" in str(error)
    error, _ = asked(tmp_path, table(467.5), "--gpu", "H100", "--nodes", "3")
    assert "16 ranks do not spread evenly over 3 nodes" in str(error)


def test_the_answer_is_one_object_by_its_schema(tmp_path):
    code, said = asked(tmp_path, table(467.5, devices=DEVICES), "--json")
    answer = json.loads(said)
    kind = schema_of("railgauge import auto", ANSWERS["import auto"], whole=True)
    jsonschema.validate(answer, kind)
    assert (answer["schema"], answer["version"], answer["status"]) == ("railgauge import auto", 1, "pass")
    (one,) = answer["tables"]
    assert one["sentence"].startswith("all_reduce, 8 GiB, 2 × 8 H100: 467.5 GB/s")
    assert (one["collective"], one["size"], one["percentile"], one["runs"]) == (
        "all_reduce",
        8 << 30,
        50.0,
        4,
    )
    assert one["busbw"] == pytest.approx(467.5e9) and one["rails"] == [pytest.approx(0.623, abs=1e-3)] * 2
    assert code == 0 or getattr(code, "code", 0) == 0


def test_what_cannot_be_compared_has_no_percentile(tmp_path):
    _, said = asked(tmp_path, table(467.5, size=1 << 20, devices=DEVICES), "--json")
    answer = json.loads(said)
    (one,) = answer["tables"]
    assert answer["status"] == one["status"] == "inconclusive"
    assert one["percentile"] is one["rails"] is one["size"] is None and one["runs"] == 0


def test_every_published_run_has_a_source_and_names_that_are_known():
    assert len(published()) > 25
    for each in published():
        assert each.source and each.busbw > 0 and each.nodes >= 1 and each.collective in COLLECTIVES
        assert not each.size or parse_size(each.size) >= 1 << 30
