"""railgauge plan: on a laptop, as text and as JSON."""

import json
import subprocess
import sys

from bench.model.profile import load
from bench.plan import AcceptOptions
from bench.plan.estimate import estimate

WORDS = ("plan", "--profile", "lambda-1cc-h100", "--nodes", "8")


def railgauge(*words):
    return subprocess.run([sys.executable, "-m", "bench", *words], capture_output=True, text=True, timeout=60)


def test_the_json_object_is_the_estimate():
    done = json.loads(railgauge(*WORDS, "--json").stdout)
    found = estimate(load("lambda-1cc-h100"), 8, 8, AcceptOptions())
    assert done["schema"] == "railgauge plan" and done["nodes"] == 8 and done["gpus_per_node"] == 8
    assert done["seconds"] == found.seconds
    assert [phase["name"] for phase in done["phases"]] == [phase.name for phase in found.phases]
    assert {"what": "cross", "reason": "not asked for: --cross-rail"} in done["left_out"]


def test_the_table_names_each_phase_the_time_and_what_is_left_out():
    lines = railgauge(*WORDS).stdout.splitlines()
    assert lines[0].split()[:2] == ["phase", "cases"]
    assert any(line.startswith("collectives ") for line in lines)
    assert any(line.startswith("8 nodes with 8 ranks each, nccl: ") for line in lines)
    assert "left out: cross: not asked for: --cross-rail" in lines


HEAVY = """
import sys
from bench.cli import cli
try:
    cli(sys.argv[1:], standalone_mode=False)
except SystemExit:
    pass
assert not {"torch", "mpi4py", "pandas"} & set(sys.modules)
"""


def test_nothing_heavy_is_imported():
    done = subprocess.run([sys.executable, "-c", HEAVY, *WORDS], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout.startswith("phase"), done.stderr


def test_too_many_nodes_and_too_little_time_are_one_line():
    for words in (("--nodes", "1"), ("--budget", "5s")):
        done = railgauge(*WORDS, *words)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr, done.stderr
