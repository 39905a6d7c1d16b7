"""A real Slurm in a lab: munged and slurmctld on n0, one slurmd a node, all of it inside the lab's own folder.

Every daemon runs on a node of the lab, so that ``netlab.lab.down`` ends it with the node, whatever happened.
Nothing of the machine's own Slurm is read or touched: configuration, key, spool and state are the lab's.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

from netlab import lab as labs
from netlab.plan import Lab, LabError, address

ENTRY = Path(__file__).resolve().parents[1] / "net"
# Debian's Slurm opens libpmix.so by the name that only libpmix-dev has
PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge", "libpmix-dev")
TOOLS = ("slurmctld", "slurmd", "srun", "sbatch", "sinfo", "munged")
GPUS = 8  # of a node, pretended: a request for them must be understood, nothing computes on them
CPUS = 8
_START_LIMIT = 90.0  # s until every node is idle
_COMMAND_LIMIT = 60.0


def conf(lab: Lab, folder: Path, more: str = "") -> str:
    """The text of slurm.conf, with ``more`` lines. Trackers and limits that need the machine's cgroups are left out."""
    nodes = "\n".join(
        f"NodeName={node} NodeAddr={address(node, 0)} CPUs={CPUS} Boards=1 SocketsPerBoard=1"
        f" CoresPerSocket={CPUS} ThreadsPerCore=1 RealMemory=4000 Gres=gpu:{GPUS} State=UNKNOWN"
        for node in lab.node_names
    )
    return f"""\
ClusterName={lab.name}
SlurmctldHost=n0
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
# nodes share this machine's /tmp, in which their pmix servers would meet
TmpFS={folder}/tmp/%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
# nodes are made of one machine's cores: what is written here stands
SlurmdParameters=config_overrides
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
SlurmdTimeout=20
KillWait=3
UnkillableStepTimeout=10
SchedulerParameters=batch_sched_delay=0,sched_interval=1
GresTypes=gpu
{nodes}
PartitionName=gpu Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
{more}"""


def missing() -> list[str]:
    """The programs of Slurm that are not installed."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    return [tool for tool in TOOLS if shutil.which(tool, path=path) is None]


def up(lab: Lab, more: str = "") -> Path:
    """Starts Slurm on a lab that is up and waits until every node is idle; the folder with slurm.conf.

    ``more``: lines of slurm.conf.
    """
    folder = labs.home(lab.name) / "slurm"
    folder.mkdir(mode=0o755)
    for name in ("state", *(f"{kind}/{node}" for kind in ("spool", "tmp") for node in lab.node_names)):
        (folder / name).mkdir(parents=True)
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    (folder / "slurm.conf").write_text(conf(lab, folder, more))
    # nothing is tracked by cgroups, but slurmd reads this and would otherwise look for systemd's
    (folder / "cgroup.conf").write_text(f"CgroupPlugin=cgroup/v1\nCgroupMountpoint={folder}/cgroup\n")
    _pretend_gpus(folder)
    _daemon(
        lab,
        "n0",
        "munged",
        "--force",
        f"--key-file={key}",
        f"--socket={folder}/munge.sock",
        f"--pid-file={folder}/munged.pid",
        f"--log-file={folder}/munged.log",
        f"--seed-file={folder}/munge.seed",
    )
    _daemon(lab, "n0", "slurmctld", "-i")
    for node in lab.node_names:
        _daemon(lab, node, "slurmd", "-N", node)
    _wait_until_idle(lab, folder)
    return folder


def environment(name: str) -> dict[str, str]:
    """What srun, sbatch and the daemons need to know of the lab called ``name``."""
    return {
        "SLURM_CONF": str(labs.home(name) / "slurm" / "slurm.conf"),
        "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin",
    }


def on_node(lab: Lab, node: str, words: list[str]) -> list[str]:
    """The command that runs ``words`` on a node."""
    return [sys.executable, str(ENTRY), "--name", lab.name, "exec", node, "--", *words]


def _pretend_gpus(folder: Path) -> None:
    lines = []
    for number in range(GPUS):
        device = folder / f"gpu{number}"
        os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))  # /dev/null's number
        lines.append(f"Name=gpu File={device}")
    (folder / "gres.conf").write_text("\n".join(lines) + "\n")


def _daemon(lab: Lab, node: str, *words: str) -> None:
    """Starts a daemon on a node; LabError with its words when it does not come up."""
    said = labs.home(lab.name) / "slurm" / f"{words[0]}.{node}.start"
    with said.open("w") as file:  # not a pipe, which a daemon could keep open
        done = subprocess.run(
            on_node(lab, node, list(words)),
            env={**os.environ, **environment(lab.name)},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            timeout=_COMMAND_LIMIT,
            check=False,
        )
    if done.returncode:
        raise LabError(f"{words[0]} on {node} did not start: {' '.join(said.read_text().split())[-400:]}")


def _wait_until_idle(lab: Lab, folder: Path) -> None:
    limit = time.monotonic() + _START_LIMIT
    said = ""
    while time.monotonic() < limit:
        asked = subprocess.run(
            on_node(lab, "n0", ["sinfo", "--noheader", "--format=%n %T", "--Node"]),
            env={**os.environ, **environment(lab.name)},
            capture_output=True,
            text=True,
            timeout=_COMMAND_LIMIT,
            check=False,
        )
        said = asked.stdout + asked.stderr
        if set(asked.stdout.split("\n")) >= {f"{node} idle" for node in lab.node_names}:
            return
        time.sleep(0.2)
    logs = "; ".join(
        f"{log.name}: {log.read_text(errors='replace')[-200:]}" for log in sorted(folder.glob("slurm*.log"))
    )
    raise LabError(
        f"Slurm is not up after {_START_LIMIT:g} s: sinfo says {' '.join(said.split())[:200]}; {logs}"
    )
