"""One row a launcher: the variables by which it is known, what they say, and the command that starts a job by it.

Rows stand innermost first: mpirun runs inside srun and sbatch, torchrun inside both, RunPod's variables
are in every container whatever runs there. The first row whose sign is there wins; ``context`` looks
whether the others can stand around it.

Sources: Open MPI 4.1 and 5.0 (docs.open-mpi.org, running-apps/environment variables); MPICH
src/pm/hydra (PMI_*, MPI_LOCAL*); srun(1), Slurm's mpi/pmi2 and mpi/pmix plug-ins; torch 2.13
distributed/run.py and elastic/agent/server/local_elastic_agent.py; lightning-fabric 2.6 cli.py;
DeepSpeed 0.19 launcher/launch.py; docs.runpod.io, Instant Clusters, configuration.
"""

from __future__ import annotations

from bench.model.errors import RailGaugeError
from bench.model.late_dataclass import dataclass, replace

STARTED = ("accept", "run", "soak", "nightly", "probe", "resume")  # commands that a launcher may start
MEET, FIRST, HERE, SIZE, RANK, LOCAL, RUN, HOSTS = (
    "RAILGAUGE_MEET",
    "RAILGAUGE_FIRST_RANK",
    "RAILGAUGE_RANKS_HERE",
    "RAILGAUGE_SIZE",
    "RAILGAUGE_RANK",
    "RAILGAUGE_LOCAL_RANK",
    "RAILGAUGE_RUN",
    "RAILGAUGE_HOSTS",
)


class LaunchError(RailGaugeError):
    """The job cannot be started or contradicts itself; the message says how to mend it."""


@dataclass(frozen=True)
class Launcher:
    """Which variables tell that this launcher started us, and where it says what.

    name         as a person calls it
    sign         all of these are set: it started us; ``unless``: none of these is
    rank, size   of this process in the job
    local        its index on its node
    mpi          whether it brings MPI to what it starts; else the supervisors talk over TCP
    groups       how many of its own processes (agents, node launchers) there are: one a node
    here         ranks on this machine
    host, port   where rank 0 is; ``hosts``: which say it too, as ADDRESS or ADDRESS:PORT, where ``host`` does not
    run          what tells this job from another
    each         "gpu": it starts one process a rank; "node": one a node, which starts the ranks there
    first        of a launcher that starts one process a node: the rank of the node's first process,
                 or, with ``node``, derived from the node's number
    start        its command; see ``command_lines`` for what stands for what; () where we cannot start it
    start_on     "job": one command starts the whole job; "node": one on every node, without MPI, so with a token
    settings     variables for the command, of which ours tell a plain shell where it stands
    parents      its processes that start ranks: names of programs, or of modules and scripts that Python runs
    """

    name: str
    sign: tuple[str, ...]
    rank: str = ""
    size: str = ""
    local: str = ""
    mpi: bool = False
    unless: tuple[str, ...] = ()
    groups: str = ""
    here: str = ""
    host: str = ""
    port: str = ""
    hosts: tuple[str, ...] = ()
    run: str = ""
    each: str = "gpu"
    first: str = ""
    node: str = ""
    nodes: str = ""
    start: tuple[str, ...] = ()
    start_on: str = "job"
    settings: tuple[tuple[str, str], ...] = ()
    parents: tuple[str, ...] = ()


_TORCH = Launcher(
    "torch variables",
    ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR"),
    rank="RANK",
    size="WORLD_SIZE",
    local="LOCAL_RANK",
    host="MASTER_ADDR",
    port="MASTER_PORT",
)
_TORCHRUN = replace(
    _TORCH,
    name="torchrun",
    sign=("TORCHELASTIC_RUN_ID", "RANK"),
    groups="GROUP_WORLD_SIZE",
    here="LOCAL_WORLD_SIZE",
    run="TORCHELASTIC_RUN_ID",
    start=(
        *("{python}", "{torchrun}", "--nnodes={nodes}", "--node-rank={node}"),
        *("--nproc-per-node={slots}", "--master-addr={first_host}", "--master-port={port}"),
        *("{bench}", "{arguments}"),
    ),
    start_on="node",
    parents=("torch.distributed.run", "torch.distributed.launch", "torchrun"),
)
_MPICH = Launcher(
    "mpich",
    ("PMI_SIZE", "MPI_LOCALNRANKS"),
    rank="PMI_RANK",
    size="PMI_SIZE",
    mpi=True,
    start=("{mpirun}", "-n", "{size}", "-hosts", "{hosts_slots}", "{interface}", "{program}"),
    parents=("mpiexec.hydra", "hydra_pmi_proxy"),
)
_SRUN = Launcher(
    "srun",
    ("SLURM_STEP_ID",),
    rank="SLURM_PROCID",
    size="SLURM_STEP_NUM_TASKS",
    local="SLURM_LOCALID",
    host="SLURM_STEP_NODELIST",
    run="SLURM_JOB_ID",
    start=(
        *("srun", "--nodes={nodes}", "--ntasks={size}", "--ntasks-per-node={equal_slots}"),
        # the plug-in must speak the protocol of the MPI library, else N jobs of 1 start
        *("--nodelist={hosts}", "--mpi={plugin}", "--kill-on-bad-exit=1", "--cpu-bind=none", "--export=ALL"),
        "{program}",
    ),
    parents=("slurmstepd",),
)

LAUNCHERS = (
    # ours: a process that one of our own node processes started
    Launcher("shell", (RANK, SIZE), rank=RANK, size=SIZE, local=LOCAL, here=HERE, host=MEET, run=RUN),
    # fabric run is torchrun with a sign of its own
    replace(
        _TORCHRUN,
        name="fabric",
        sign=("LT_CLI_USED", *_TORCHRUN.sign),
        start=(
            # it takes the file of a script and no module: the console script that pip made
            *(
                "{scripts}/fabric",
                "run",
                "--accelerator={accelerator}",
                "--strategy=ddp",
                "--devices={slots}",
            ),
            *("--num-nodes={nodes}", "--node-rank={node}", "--main-address={first_host}"),
            *("--main-port={port}", "{scripts}/railgauge", "{arguments}"),
        ),
        parents=("fabric",),
    ),
    _TORCHRUN,
    replace(
        _TORCH,
        name="deepspeed",
        sign=("CROSS_SIZE", "RANK"),
        groups="CROSS_SIZE",
        here="LOCAL_SIZE",
        start=(
            # what the deepspeed command starts on each node; so no pdsh is needed, and no host file on the nodes
            *("{python}", "{deepspeed}", "--world_info={world}", "--node_rank={node}"),
            *("--master_addr={first_host}", "--master_port={port}", "--no_local_rank"),
            *("{deepspeed_bench}", "{arguments}"),
        ),
        start_on="node",
        parents=("deepspeed.launcher.launch",),
    ),
    Launcher(
        "openmpi",
        ("OMPI_COMM_WORLD_SIZE",),
        rank="OMPI_COMM_WORLD_RANK",
        size="OMPI_COMM_WORLD_SIZE",
        mpi=True,
        start=(
            *("{mpirun}", "-n", "{size}", "--host", "{hosts_slots}", "--map-by", "slot", "--bind-to", "none"),
            *("{exports}", "{program}"),
        ),
        parents=("mpirun", "mpiexec", "prterun", "orterun", "prted", "orted"),
    ),
    # under srun --mpi=pmi2 Slurm sets PMI_*, but not Hydra's own MPI_LOCAL*
    _MPICH,
    replace(_MPICH, sign=("PMI_SIZE",), unless=("SLURM_STEP_ID", "MPI_LOCALNRANKS"), start=()),
    replace(_SRUN, name="srun pmix", sign=("SLURM_STEP_ID", "PMIX_RANK"), mpi=True, start=()),
    replace(
        _SRUN,
        name="srun pmi2",
        sign=("SLURM_STEP_ID", "PMI_SIZE"),
        mpi=True,
        unless=("MPI_LOCALNRANKS",),
        start=(),
    ),
    _SRUN,
    # nothing of a launcher, but what torch's env:// wants: a script of one's own
    _TORCH,
    # one process a node from here on
    Launcher(
        "shell",
        (FIRST,),
        size=SIZE,
        here=HERE,
        host=MEET,
        run=RUN,
        each="node",
        first=FIRST,
        start=("{program}",),
        start_on="node",
        settings=(
            (FIRST, "{first_rank}"),
            (HERE, "{slots}"),
            (SIZE, "{size}"),
            (MEET, "{first_host}:{port}"),
            (RUN, "{run}"),
        ),
    ),
    Launcher(
        "runpod",
        ("NUM_NODES", "NODE_RANK", "NUM_TRAINERS"),
        size="WORLD_SIZE",
        here="NUM_TRAINERS",
        host="PRIMARY_ADDR",
        port="PRIMARY_PORT",
        hosts=("PRIMARY_IP", "HOST_NODE_ADDR"),
        each="node",
        node="NODE_RANK",
        nodes="NUM_NODES",
    ),
)

OWN_ADDRESSES = ("NODE_ADDR", "CLUSTER_IP")
"""Variables in which RunPod tells a node its own address in the cluster."""

STARTERS = {row.name: row for row in LAUNCHERS if row.start}
"""The launchers that we can start, by name."""

PARENTS = frozenset(name for row in LAUNCHERS for name in row.parents)
"""Every program, module or script by which a launcher starts ranks."""

RANKS = tuple(dict.fromkeys(row.rank for row in LAUNCHERS if row.rank))
"""Every variable in which a launcher tells a process its rank, innermost first."""
