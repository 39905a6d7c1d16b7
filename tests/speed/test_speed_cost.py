"""What ci/speed says that a command costs."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "ci" / "speed"))

from cost import cost, medians, railgauge

SPIN = "import time\nwhile time.process_time() < 0.3: pass"


def test_processor_time_and_memory_are_those_of_the_command():
    seen = cost([sys.executable, "-c", f"held = b'x' * (64 << 20)\n{SPIN}"])
    assert 0.3 <= seen.cpu <= 60 and seen.mib >= 64
    assert cost([sys.executable, "-c", "pass"]).cpu < seen.cpu


def test_processes_of_the_command_count():
    child = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {SPIN!r}])"
    assert cost([sys.executable, "-c", child]).cpu >= 0.3


def test_the_first_run_is_not_counted(tmp_path):
    seen = tmp_path / "seen"
    code = f"import pathlib\nwith pathlib.Path({str(seen)!r}).open('a') as file: file.write('x')"
    medians([sys.executable, "-c", code], 3)
    assert seen.read_text() == "xxxx"


def test_railgauge_is_the_one_of_this_tree():
    assert cost(railgauge("--help")).cpu > 0
    assert railgauge("judge", "run")[-2:] == ["judge", "run"]
