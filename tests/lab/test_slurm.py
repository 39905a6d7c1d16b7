"""The Slurm of ci/lab/slurm: its configuration, what counts as working, and that nothing of it is left."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "ci" / "lab"))
from netlab.lab import home
from netlab.plan import Lab
from slurmlab import cases, cluster
from slurmlab.cases import OURS, THEIRS, WAYS, WORKS, Python, Seen

ROOT = Path(__file__).parents[2]
ENTRY = ROOT / "ci" / "lab" / "slurm"
PMIX, PMI2, NONE, BATCH, MPIRUN, NIGHT = WAYS
RANKS = [{"rank": i, "node": f"n{i // 2}", "local_rank": i % 2} for i in range(4)]
GOOD = Seen(0, 9.0, "PASS: 20 passed\n", {"ranks": RANKS, "launcher": "srun pmix"}, True)
OPEN = Python(Path("python"), "Open MPI 5")


def test_every_node_has_its_line_and_its_own_folders():
    text = cluster.conf(Lab("x", nodes=3), Path("/f"))
    assert text.count("NodeName=") == 3
    assert "NodeName=n2 NodeAddr=198.18.0.12 " in text
    assert "SlurmdSpoolDir=/f/spool/%n" in text and "TmpFS=/f/tmp/%n" in text
    assert "/etc/" not in text and "/var/" not in text  # the machine's own Slurm is not touched


def test_every_way_says_what_it_does_under_every_mpi():
    for way in WAYS:
        assert set(way.outcomes) == {flavour.name for flavour in cases.FLAVOURS}
        assert set(way.outcomes.values()) <= {WORKS, OURS, THEIRS}
    assert {way.outcomes["Open MPI 5"] for way in WAYS} == {WORKS, OURS}


def test_a_run_that_passed_on_both_nodes_works():
    assert cases.complaint(PMIX, OPEN, GOOD) == ""


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (Seen(None, 240.0, "", {}, False), "did not end"),
        (Seen(3, 9.0, "INCONCLUSIVE: x", GOOD.manifest, True), "exit status 3"),
        (Seen(0, 9.0, "nothing", GOOD.manifest, True), "nothing passed"),
        (Seen(0, 9.0, GOOD.text, {}, True), "0 ranks"),
        (Seen(0, 9.0, GOOD.text, {"ranks": RANKS[:1], "launcher": "srun pmix"}, True), "1 ranks on ['n0']"),
        (
            Seen(0, 9.0, GOOD.text, {"ranks": RANKS[:2] * 2, "launcher": "srun pmix"}, True),
            "4 ranks on ['n0']",
        ),
        (Seen(0, 9.0, GOOD.text, {"ranks": RANKS, "launcher": "openmpi"}, True), "launcher 'openmpi'"),
        (
            Seen(0, 9.0, GOOD.text, GOOD.manifest, True, "torch.py"),
            "torch.py of the current folder was imported",
        ),
    ],
)
def test_anything_less_does_not(seen, words):
    assert words in cases.complaint(PMIX, OPEN, seen)


MENDING = "railgauge: 4 tasks, but MPI sees 1: use srun --mpi=pmix (Open MPI) or --mpi=pmi2 (MPICH)"


@pytest.mark.parametrize(
    ("python", "way", "seen", "words"),
    [
        (OPEN, NONE, Seen(3, 1.0, MENDING, {}, False), ""),
        (OPEN, NONE, Seen(0, 1.0, MENDING, {}, False), "must be refused"),
        (OPEN, NONE, Seen(3, 1.0, MENDING, {}, True), "must be refused"),
        (OPEN, NONE, Seen(1, 1.0, "Traceback", {}, False), "no line of ours"),
        (Python(Path("p"), "MPICH"), PMIX, Seen(1, 1.0, "MPI_Init_thread: unsupported PMI", {}, False), ""),
        (Python(Path("p"), "MPICH"), PMIX, Seen(1, 1.0, "ImportError", {}, False), "not the MPI library"),
    ],
)
def test_a_way_that_cannot_work_must_say_how_to_mend_it(python, way, seen, words):
    said = cases.complaint(way, python, seen)
    assert (words in said) if words else said == ""


def test_an_interpreter_without_mpi_is_said():
    assert "does not answer" in str(cases.ask(Path("/nonexistent/python")))
    assert "loads no MPI" in str(cases.ask(Path("/bin/true")))


def started(name: str, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(ENTRY), "--name", name, "--", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def daemons(name: str) -> list[str]:
    """Command lines of every process that knows this lab's Slurm."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if str(home(name)).encode() in path.read_bytes():
                found.append((path.parent / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return [line for line in found if "slurm" in line or "munged" in line]


def until(condition, limit: float = 60) -> bool:
    end = time.monotonic() + limit
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.root
@pytest.mark.needs("iproute2", "nftables", "slurm")
class TestLive:
    """On a real Slurm; a class, so that all of it is left out for one reason."""

    def test_two_nodes_take_a_step_and_nothing_is_left(self):
        with started("slurmt1", "srun", "--nodes=2", "--ntasks-per-node=1", "hostname") as job:
            said, _ = job.communicate(timeout=120)
        assert job.returncode == 0, said
        assert sorted(said.split()) == ["n0", "n1"]
        assert daemons("slurmt1") == []
        assert not home("slurmt1").exists()

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_ended_in_the_middle_it_leaves_nothing(self, number):
        job = started("slurmt2", "srun", "--nodes=2", "sleep", "600")
        try:
            assert until(lambda: any("slurmstepd" in line for line in daemons("slurmt2")))
            job.send_signal(number)
            assert job.wait(60) != 0
        finally:
            job.kill()
            job.communicate(timeout=30)
        assert daemons("slurmt2") == []
        assert not home("slurmt2").exists()

    def test_killed_it_is_cleared_away_by_the_next(self):
        job = started("slurmt3", "sleep", "600")
        try:
            assert until(lambda: sum("slurmd" in line for line in daemons("slurmt3")) >= 2)
        finally:
            job.kill()
            job.communicate(timeout=30)
        with started("slurmt3", "sinfo", "--noheader", "--format=%T") as again:
            said, _ = again.communicate(timeout=120)
        assert said.split() == ["idle"]
        assert daemons("slurmt3") == []
