"""railgauge gate as HealthCheckProgram and Prolog of a real Slurm, and railgauge act: drained, reserved, taken back.

The scripts are those of ci/jobs/slurm; around each lies a wrapper that says which environment, profile and state.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from netlab import cgroup
from netlab import lab as labs
from netlab.plan import Lab, LabError, address
from slurmlab.cases import JOBS, ROOT
from slurmlab.cluster import environment, on_node

SAID = {True: "seen working", False: "NOT OK", None: "not shown here"}
WITHIN = 60.0  # s in which a sick node must be drained, and a mended one back
PROLOG = 20.0  # s in which a job must have ended behind a driver that hangs: the gate's 5 s on a busy machine
INTERVAL = 5  # s between two health checks
# large messages alone: a short one goes through the burst of the shaper faster than its rate
PROFILE = """\
format = 1
name = "slurm-gate"
title = "two nodes of ci/lab/slurm with one rail"
source = "ci/lab/slurm"

[cluster]
backend = "gloo"
nodes = [1, 100]

[rails]
kind = "socket"
count = 1
devices = ["eth1"]
management = "eth0"
rate = { value = "100 Mb/s", source = "ci/lab/net shapes every rail to it" }

[sweep]
collectives = ["all_reduce"]
begin = "1M"
end = "1M"
pair_sizes = ["1M"]
budget = "600 ms"
precision = "5 %"
"""
PAPER = 98  # nodes of the hundred that no slurmd stands behind
# what ssh does on a cluster; behind it each node has a folder of its own for what its gates keep
SSH = """\
#!/bin/sh
while :; do case $1 in -o) shift 2 ;; -*) shift ;; *) break ;; esac; done
node=$1; shift
mkdir -p /var/lib/railgauge {folder}/state.$node
exec {rsh} $node "mount --bind {folder}/state.$node /var/lib/railgauge; export PATH={path} PYTHONPATH={root}; $*"
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
    ssh = folder / "ssh" / "ssh"
    ssh.parent.mkdir(exist_ok=True)
    path = shlex.quote(f"{ssh.parent}:{os.environ['PATH']}")
    ssh.write_text(SSH.format(folder=folder, rsh=labs.home(name) / "rsh", path=path, root=ROOT))
    ssh.chmod(0o755)
    for script in ("healthcheck", "prolog"):
        wrapper = folder / script
        more = f"--state {folder}/gate.$SLURMD_NODENAME.json --limit 5s --inconclusive pass"
        wrapper.write_text(
            "#!/bin/bash\n"
            f"[ ! -e {folder}/no-{script} ] || exit 0\n"
            f"export PATH={shlex.quote(os.environ['PATH'])}:/usr/sbin:/sbin RAILGAUGE_VENV={folder}/venv\n"
            f"export SLURM_CONF={environment(name)['SLURM_CONF']}\n"
            f'export RAILGAUGE_PROFILE={folder}/gate.toml RAILGAUGE_GATE="{more}"\n'
            f"exec {JOBS}/{script}\n"
        )
        wrapper.chmod(0o755)
    return (
        f"HealthCheckProgram={folder}/healthcheck\nHealthCheckInterval={INTERVAL}\nHealthCheckNodeState=IDLE,ALLOC,MIXED\n"
        f"Prolog={folder}/prolog\nPrologFlags=Alloc\n"
        "TreeWidth=65533\n"  # no daemon forwards what is for nodes without one
        f"NodeName=x[01-{PAPER}] NodeAddr=203.0.113.[1-{PAPER}] State=DOWN\n"
        f"PartitionName=paper Nodes=x[01-{PAPER}] State=UP\n"
    )


def check(lab: Lab, folder: Path, only: str = "") -> list[bool | None]:
    """Plant, look, mend, look again; a line for each row that has ``only`` in its name. None: nothing was shown."""
    _prefer(lab)
    rows: tuple[tuple[str, Callable[[], tuple[bool | None, str]]], ...] = (
        ("a job runs behind the prolog", lambda: (_job(lab), "")),
        ("n1 eth1 down: drained with the sentence; up again: resumed", lambda: _drained(lab, folder)),
        (
            "n1 eth1 down: the prolog keeps a job off, and it runs after the mend",
            lambda: _prolog(lab, folder),
        ),
        ("a node that somebody else drained is left alone", lambda: _left_alone(lab)),
        (
            "act drains within its budget, the health check does not resume it, and act does only after a PASS of "
            "gate --level 3",
            lambda: _acted(lab, folder),
        ),
        ("act reserves two suspects, and gives them back", lambda: _reserved(lab, folder)),
        ("of a hundred nodes act drains five, not the sixth", lambda: _budget(lab, folder)),
        ("a driver that hangs: the prolog ends and the job runs", lambda: _hung(lab, folder)),
    )
    return [_row(lab, folder, name, row) for name, row in rows if only in name]


def _prefer(lab: Lab) -> None:
    """On a busy machine a node's cgroup weighs as much as one other process: the gate's 5 s would be too few."""
    here = labs.live(lab.name)
    trees = {tree.folder for tree in here.powers.values() if isinstance(tree, cgroup.Tree)}
    for group in (tree / here.group(node) for tree in trees for node in lab.node_names):
        for name, weight in (("cpu.shares", "30000"), ("cpu.weight", "3000")):
            if (group / name).exists():
                (group / name).write_text(weight)


def _row(lab: Lab, folder: Path, name: str, row: Callable[[], tuple[bool | None, str]]) -> bool | None:
    """One row from its beginning: what an earlier one left out of work, or down, is put right before it."""
    out = _out(lab)
    if out:
        for node in lab.node_names:
            _ask(lab, node, "ip", "link", "set", "eth1", "up")
        _ask(lab, "n0", "scontrol", "update", f"NodeName={','.join(out)}", "State=RESUME")
        _mended(lab, folder, *lab.node_names)
        _all_in_work(lab)
    try:
        good, said = row()
    except LabError as error:
        good, said = False, str(error)
    print(f"{SAID[good]}: gate: {name}{': ' if said else ''}{said}", flush=True)
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


def _out(lab: Lab) -> list[str]:
    """The nodes with a daemon that are drained."""
    return [node for node in lab.node_names if "DRAIN" in _node(lab, node)]


def _job(lab: Lab) -> bool:
    done = _ask(lab, "n0", "srun", "--mpi=none", "--nodes=2", "--partition=gpu", "hostname")
    return sorted(done.stdout.split()) == ["n0", "n1"]


def _drained(lab: Lab, folder: Path) -> tuple[bool, str]:
    _ask(lab, "n1", "ip", "link", "set", "eth1", "down")
    seconds = _until(lambda: "DRAIN" in _node(lab, "n1"))
    told = _node(lab, "n1").partition("Reason=")[2].strip()
    others = "DRAIN" in _node(lab, "n0")
    good = seconds is not None and "railgauge gate: FAIL: n1 eth1" in told and not others
    begun = time.monotonic()
    _mended(lab, folder, "n1")
    back = _all_in_work(lab) and _job(lab)
    said = f"after {seconds or WITHIN:.0f} s: {told}{' (and n0 too)' if others else ''}"
    return good and back, f"{said}; {'' if back else 'not '}resumed within {time.monotonic() - begun:.0f} s"


def _mended(lab: Lab, folder: Path, *nodes: str) -> None:
    """The link is up again, and the gate is told that its going down is dealt with, as its next step says."""
    railgauge = str(folder / "venv" / "bin" / "railgauge")
    words = ("gate", "--profile", str(folder / "gate.toml"), "--forget", "--limit", "30s")
    for node in nodes:
        gate = (railgauge, *words, "--state", f"{folder}/gate.{node}.json")
        _ask(lab, node, "ip", "link", "set", "eth1", "up")
        _until(partial(_passes, lab, node, gate))


def _passes(lab: Lab, node: str, gate: tuple[str, ...]) -> bool:
    return _ask(lab, node, *gate).returncode == 0


def _all_in_work(lab: Lab) -> bool:
    return _until(lambda: not _out(lab)) is not None


def _left_alone(lab: Lab) -> tuple[bool, str]:
    _ask(lab, "n0", "scontrol", "update", "NodeName=n1", "State=DRAIN", "Reason=new fan")
    time.sleep(3 * INTERVAL)
    told = _node(lab, "n1")
    good = "DRAIN" in told and "Reason=new fan" in told
    _ask(lab, "n0", "scontrol", "update", "NodeName=n1", "State=RESUME")
    _until(lambda: "IDLE" in _node(lab, "n1") and "DRAIN" not in _node(lab, "n1"))
    return good, ""


def _prolog(lab: Lab, folder: Path) -> tuple[bool, str]:
    """The health check is off until Slurm itself has drained the node, for a prolog that failed."""
    off = folder / "no-healthcheck"
    off.touch()
    _ask(lab, "n1", "ip", "link", "set", "eth1", "down")
    batch = ("sbatch", "--parsable", "--nodelist=n1", "--output=/dev/null", "--wrap=hostname")
    job = _ask(lab, "n0", *batch).stdout.strip()
    seconds = _until(lambda: "DRAIN" in _node(lab, "n1"))
    kept_off = "JobState=COMPLETED" not in _ask(lab, "n0", "scontrol", "show", "job", job).stdout
    off.unlink()
    told = _until(lambda: "Reason=railgauge gate: FAIL: n1 eth1" in _node(lab, "n1")) is not None
    _mended(lab, folder, "n1")
    _all_in_work(lab)
    # a job that Slurm has queued again is held or waits two minutes
    _ask(lab, "n0", "scontrol", "release", job)
    _ask(lab, "n0", "scontrol", "update", f"JobId={job}", "StartTime=now")
    ran = _until(lambda: "JobState=COMPLETED" in _ask(lab, "n0", "scontrol", "show", "job", job).stdout)
    said = f"drained after {seconds or WITHIN:.0f} s; the job was kept off: {kept_off}, told why: {told}, "
    return (
        seconds is not None and kept_off and told and ran is not None,
        said + f"ran then: {ran is not None}",
    )


def _act(lab: Lab, folder: Path, run: str, *words: str) -> subprocess.CompletedProcess[str]:
    """From n1; the facts alone that ``_probed`` leaves bear no seal, which ``--trust`` is for."""
    path = f"PATH={folder}/ssh:{os.environ['PATH']}:/usr/sbin:/sbin"
    act = (str(folder / "venv" / "bin" / "railgauge"), "act", str(folder / run))
    return _ask(lab, "n1", "env", path, *act, *words, limit=240)


def _probed(lab: Lab, folder: Path, run: str, each: int, before: str) -> None:
    """A run folder of facts alone, of ``each`` ranks on both nodes, each of which runs ``before`` first; LabError.

    Faults are planted in the step itself: the health check would drain the nodes before it began.
    """
    probe = f"{sys.executable} -m bench probe --profile {folder}/gate.toml --out {folder}/{run}"
    step = f"{before}; PYTHONPATH={ROOT} exec {probe}"
    words = (
        "srun",
        "--mpi=pmix",
        "--nodes=2",
        "--partition=gpu",
        f"--ntasks-per-node={each}",
        "sh",
        "-c",
        step,
    )
    done = _ask(lab, "n0", *words)
    if not (folder / run / "manifest.json").exists():
        said = (done.stdout + done.stderr).strip().splitlines()
        raise LabError(f"railgauge probe under srun left no run folder: {' | '.join(said[-3:])}")


def _acted(lab: Lab, folder: Path) -> tuple[bool | None, str]:
    """A run whose facts say that eth1 of both nodes is down; the budget lets one node be drained."""
    _probed(lab, folder, "run", 1, "ip link set eth1 down")
    _mended(lab, folder, *lab.node_names)
    _all_in_work(lab)
    shown = _act(lab, folder, "run", "--trust", "--slurm", "--at-most", "1%")
    nobody = not _out(lab)
    done = _act(lab, folder, "run", "--trust", "--slurm", "--at-most", "1%", "--yes")
    drained = "Reason=railgauge: n0 eth1" in _node(lab, "n0")
    time.sleep(3 * INTERVAL)  # in which the health check finds that n0 passes
    good = "scontrol update NodeName=n0" in shown.stdout and nobody and drained and _out(lab) == ["n0"]
    good = good and done.returncode == 1 and "n1 is left in work" in done.stderr
    if not good:
        return False, _first(done, shown)
    back, said = _back(lab, folder)
    return back, f"{_first(done, shown)}; {said}"


def _back(lab: Lab, folder: Path) -> tuple[bool | None, str]:
    """What ``_acted`` has drained stays so while its gate fails beside n1, and comes back once it passes.

    Where the mended node's gate is INCONCLUSIVE, as other work on this machine can make it, it must stay out of work
    as well, and that it comes back is not shown.
    """
    again = ("--undo", "--neighbour", "n1", "--profile", f"{folder}/gate.toml", "--yes")
    _ask(lab, "n0", "ip", "link", "set", "eth1", "down")
    refused = _act(lab, folder, "run", *again)
    stays = _out(lab) == ["n0"] and refused.returncode == 1 and "n0 stays out of work" in refused.stderr
    _mended(lab, folder, "n0")
    back = _act(lab, folder, "run", *again)
    said = f"{refused.stderr.strip()}; then {_first(back)}"
    if stays and "INCONCLUSIVE" in back.stdout + back.stderr:
        return (None if back.returncode and _out(lab) == ["n0"] else False), said
    return stays and back.returncode == 0 and not _out(lab) and _job(lab), said


def _reserved(lab: Lab, folder: Path) -> tuple[bool, str]:
    """n1 answers for the address of n0: one of them is at fault, and it is not known which."""
    twin, own = (f"{address(node, 1)}/24" for node in lab.node_names)
    plant = f'[ "$(hostname)" = n0 ] || {{ ip address del {own} dev eth1; ip address add {twin} dev eth1; }}'
    _probed(lab, folder, "twins", 1, plant)
    _ask(lab, "n1", "sh", "-c", f"ip address del {twin} dev eth1; ip address add {own} dev eth1")
    done = _act(lab, folder, "twins", "--trust", "--slurm", "--yes")
    held = _ask(lab, "n0", "scontrol", "--oneliner", "show", "reservation").stdout
    kept = [node for node in lab.node_names if f"-{node} " in held and f"Nodes={node} " in held]
    more = _act(lab, folder, "twins", "--trust", "--slurm", "--yes")
    back = _act(lab, folder, "twins", "--undo", "--yes")
    left = _ask(lab, "n0", "scontrol", "--oneliner", "show", "reservation").stdout
    good = kept == list(lab.node_names) and not _out(lab) and "is reserved already" in more.stdout
    return good and back.returncode == 0 and "railgauge" not in left and _job(lab), _first(done)


def _budget(lab: Lab, folder: Path) -> tuple[bool, str]:
    """Six ranks that say they are x01 to x06, with eth1 down."""
    plant = "ip link set eth1 down; export RAILGAUGE_NODE=x0$((SLURM_PROCID + 1))"
    _probed(lab, folder, "six", 3, plant)
    _mended(lab, folder, *lab.node_names)
    _all_in_work(lab)
    done = _act(lab, folder, "six", "--trust", "--slurm", "--yes")
    drained = [name for name in (f"x{i:02}" for i in range(1, PAPER + 1)) if "DRAIN" in _node(lab, name)]
    more = _act(lab, folder, "six", "--trust", "--slurm", "--yes")
    good = (
        len(drained) == 5
        and done.returncode == 1
        and "--at-most 5 % allows 5 more of 100 nodes" in done.stderr
    )
    good = good and more.returncode == 1 and "allows 0 more of 100 nodes" in more.stderr
    return good, f"{', '.join(drained)}; {done.stderr.strip()}"


def _first(*done: subprocess.CompletedProcess[str]) -> str:
    said = [line for each in done for line in (each.stdout + each.stderr).strip().splitlines()]
    return said[0] if said else "it said nothing"


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
