"""railgauge gate as HealthCheckProgram and Prolog of a real Slurm: drained with the sentence, resumed, never hung.

The scripts are those of ci/jobs/slurm; around each lies a wrapper that says which environment, profile and state.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from netlab.plan import Lab
from slurmlab.cases import JOBS, ROOT
from slurmlab.cluster import environment, on_node

WITHIN = 60.0  # s in which a sick node must be drained, and a mended one back
PROLOG = 20.0  # s in which a job must have ended behind a driver that hangs: the gate's 5 s on a busy machine
INTERVAL = 5  # s between two health checks
PROFILE = """\
format = 1
name = "slurm-gate"
title = "two nodes of ci/lab/slurm with one rail"
source = "ci/lab/slurm"

[cluster]
backend = "gloo"
nodes = [1, 2]

[rails]
kind = "socket"
count = 1
devices = ["eth1"]
management = "eth0"
open = "rate and target: the lab's own"

[sweep]
begin = "1K"
end = "64K"
"""
# NVML with a driver that hangs: whoever asks it anything waits for ever
HANGS = """\
#include <unistd.h>
int nvmlInit_v2(void) { for (;;) pause(); }
int nvmlInitWithFlags(unsigned flags) { for (;;) pause(); }
"""


def prepare(folder: Path, name: str) -> str:
    """Write the wrappers for the lab called ``name``; the lines of slurm.conf that name them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "gate.toml").write_text(PROFILE)
    venv = folder / "venv" / "bin"
    venv.mkdir(parents=True, exist_ok=True)
    railgauge = venv / "railgauge"
    # the folder with a hanging NVML is empty until one is planted
    railgauge.write_text(
        f'#!/bin/sh\nPYTHONPATH={ROOT} LD_LIBRARY_PATH={folder}/lib exec {sys.executable} -m bench "$@"\n'
    )
    railgauge.chmod(0o755)
    for script in ("healthcheck", "prolog"):
        wrapper = folder / script
        more = f"--state {folder}/gate.$SLURMD_NODENAME.json --limit 5s --inconclusive pass"
        wrapper.write_text(
            "#!/bin/bash\n"
            f"export PATH={shlex.quote(os.environ['PATH'])}:/usr/sbin:/sbin RAILGAUGE_VENV={folder}/venv\n"
            f"export SLURM_CONF={environment(name)['SLURM_CONF']}\n"
            f'export RAILGAUGE_PROFILE={folder}/gate.toml RAILGAUGE_GATE="{more}"\n'
            f"exec {JOBS}/{script}\n"
        )
        wrapper.chmod(0o755)
    return (
        f"HealthCheckProgram={folder}/healthcheck\nHealthCheckInterval={INTERVAL}\nHealthCheckNodeState=ANY\n"
        f"Prolog={folder}/prolog\nPrologFlags=Alloc\n"
    )


def check(lab: Lab, folder: Path) -> list[bool]:
    """Plant, look, mend, look again; a line for each."""
    return [
        _row("a job runs behind the prolog", _job(lab), ""),
        _row("n1 eth1 down: drained with the sentence", *_drained(lab)),
        _row("n1 eth1 up again: resumed", *_resumed(lab, folder)),
        _row("a node that somebody else drained is left alone", *_left_alone(lab)),
        _row("act drains by a run's verdict within its budget, and takes it back", *_acted(lab, folder)),
        _row("a driver that hangs: the prolog ends and the job runs", *_hung(lab, folder)),
    ]


def _row(name: str, good: bool, said: str = "") -> bool:
    print(f"{'seen working' if good else 'NOT OK'}: gate: {name}{': ' if said else ''}{said}", flush=True)
    return good


def _ask(lab: Lab, node: str, *words: str, limit: float = 120.0) -> subprocess.CompletedProcess[str]:
    """A command on a node; one that does not end in time has failed."""
    line = on_node(lab, node, list(words))
    try:
        return subprocess.run(
            line,
            env={**os.environ, **environment(lab.name)},
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(line, 124, "", f"{words[0]} did not end in {limit:g} s")


def _node(lab: Lab, node: str) -> str:
    return _ask(lab, "n0", "scontrol", "--oneliner", "show", "node", node).stdout


def _until(ready: Callable[[], bool]) -> float | None:
    """Seconds until it was so; None where it was not in time."""
    begun = time.monotonic()
    while time.monotonic() < begun + WITHIN:
        if ready():
            return time.monotonic() - begun
        time.sleep(0.5)
    return None


def _job(lab: Lab) -> bool:
    done = _ask(lab, "n0", "srun", "--mpi=none", "--nodes=2", "hostname")
    return sorted(done.stdout.split()) == ["n0", "n1"]


def _drained(lab: Lab) -> tuple[bool, str]:
    _ask(lab, "n1", "ip", "link", "set", "eth1", "down")
    seconds = _until(lambda: "DRAIN" in _node(lab, "n1"))
    told = _node(lab, "n1").partition("Reason=")[2].strip()
    others = "DRAIN" in _node(lab, "n0")
    good = seconds is not None and "railgauge: FAIL: n1 eth1" in told and not others
    return good, f"after {seconds or WITHIN:.0f} s: {told}{' (and n0 too)' if others else ''}"


def _mended(lab: Lab, folder: Path, node: str) -> None:
    """The link is up again, and the gate is told that its going down is dealt with, as its next step says."""
    _ask(lab, node, "ip", "link", "set", "eth1", "up")
    gate = (str(folder / "venv" / "bin" / "railgauge"), "gate", "--profile", str(folder / "gate.toml"))
    _until(
        lambda: _ask(lab, node, *gate, "--state", f"{folder}/gate.{node}.json", "--forget").returncode != 1
    )


def _resumed(lab: Lab, folder: Path) -> tuple[bool, str]:
    _mended(lab, folder, "n1")
    seconds = _until(lambda: "DRAIN" not in _node(lab, "n1"))
    return seconds is not None and _job(lab), f"after {seconds or WITHIN:.0f} s"


def _left_alone(lab: Lab) -> tuple[bool, str]:
    _ask(lab, "n0", "scontrol", "update", "NodeName=n1", "State=DRAIN", "Reason=new fan")
    time.sleep(3 * INTERVAL)
    told = _node(lab, "n1")
    good = "DRAIN" in told and "Reason=new fan" in told
    _ask(lab, "n0", "scontrol", "update", "NodeName=n1", "State=RESUME")
    _until(lambda: "IDLE" in _node(lab, "n1") and "DRAIN" not in _node(lab, "n1"))
    return good, ""


def _acted(lab: Lab, folder: Path) -> tuple[bool, str]:
    """A run whose facts say that eth1 of both nodes is down: of two nodes the budget lets one be drained."""
    act = (str(folder / "venv" / "bin" / "railgauge"), "act", str(folder / "run"))
    words = ("srun", "--mpi=pmix", "--nodes=2", "--ntasks-per-node=1")
    probe = f"{sys.executable} -m bench probe --profile {folder}/gate.toml --out {folder}/run"
    # the links go down in the step itself: the health check would drain the nodes before it began
    step = f"ip link set eth1 down; PYTHONPATH={ROOT} exec {probe}"
    _ask(lab, "n0", *words, "sh", "-c", step, limit=120)
    for node in lab.node_names:
        _mended(lab, folder, node)
    _until(lambda: "DRAIN" not in _node(lab, "n0") + _node(lab, "n1"))
    act = (*act, "--trust")  # the facts alone bear no seal
    shown = _ask(lab, "n0", *act, "--slurm")
    nobody = "DRAIN" not in _node(lab, "n0") + _node(lab, "n1")
    done = _ask(lab, "n0", *act, "--slurm", "--yes")
    told = [_node(lab, node) for node in lab.node_names]
    drained = [text for text in told if "DRAIN" in text and "railgauge: n" in text and "eth1" in text]
    back = _ask(lab, "n0", *act, "--undo", "--yes")
    free = _until(lambda: "DRAIN" not in _node(lab, "n0") + _node(lab, "n1"))
    good = "scontrol update NodeName=n" in shown.stdout and nobody and len(drained) == 1
    good = good and done.returncode == 1 and "is left in work" in done.stderr
    said = (done.stdout or done.stderr or shown.stderr).strip().splitlines()
    return good and back.returncode == 0 and free is not None, said[0] if said else "it said nothing"


def _hung(lab: Lab, folder: Path) -> tuple[bool, str]:
    library = folder / "lib"
    library.mkdir()
    source = folder / "nvml.c"
    source.write_text(HANGS)
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-o", str(library / "libnvidia-ml.so.1"), str(source)], check=True
    )
    begun = time.monotonic()
    good = _job(lab)
    seconds = time.monotonic() - begun
    return good and seconds < PROLOG, f"{seconds:.1f} s"
