"""Which launcher started us, by its variables; the innermost wins, and contradictions say how to mend them."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.launch import LaunchContext, LaunchError, Rendezvous, agree, launch_context
from bench.launch.table import LAUNCHERS

OPENMPI = {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_LOCAL_RANK": "0"}
HYDRA = {"PMI_SIZE": "3", "PMI_RANK": "1", "MPI_LOCALNRANKS": "3", "MPI_LOCALRANKID": "1"}
ALLOCATION = {"SLURM_JOB_ID": "77", "SLURM_NTASKS": "16", "SLURM_NNODES": "2", "SLURM_JOB_NODELIST": "n[1-2]"}
STEP = {
    **ALLOCATION,
    "SLURM_STEP_ID": "0",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "5",
    "SLURM_STEP_NUM_TASKS": "16",
    "SLURM_STEP_NODELIST": "n[1-2]",
}
PMIX = {**STEP, "PMIX_RANK": "5", "PMIX_NAMESPACE": "slurm.pmix.77.0"}
PMI2 = {**STEP, "PMI_SIZE": "16", "PMI_RANK": "5", "PMI_FD": "6"}
TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "job7",
    "RANK": "3",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "GROUP_RANK": "1",
    "GROUP_WORLD_SIZE": "2",
    "MASTER_ADDR": "n1",
    "MASTER_PORT": "29500",
}
FABRIC = {**TORCHRUN, "LT_CLI_USED": "1", "LT_NUM_NODES": "2", "TORCHELASTIC_RUN_ID": "none"}
DEEPSPEED = {
    "RANK": "3",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "LOCAL_SIZE": "2",
    "CROSS_RANK": "1",
    "CROSS_SIZE": "2",
    "MASTER_ADDR": "n1",
    "MASTER_PORT": "29500",
}
RUNPOD = {
    "PRIMARY_ADDR": "10.65.0.2",
    "PRIMARY_PORT": "29500",
    "MASTER_ADDR": "10.65.0.2",
    "MASTER_PORT": "29500",
    "NODE_ADDR": "10.65.0.3",
    "NODE_RANK": "1",
    "NUM_NODES": "2",
    "NUM_TRAINERS": "8",
    "HOST_NODE_ADDR": "10.65.0.2:29500",
    "WORLD_SIZE": "16",
}
SHELL_NODE = {
    "RAILGAUGE_FIRST_RANK": "8",
    "RAILGAUGE_RANKS_HERE": "8",
    "RAILGAUGE_SIZE": "16",
    "RAILGAUGE_MEET": "n1:29400",
    "RAILGAUGE_RUN": "ab12",
}
SHELL_RANK = {**SHELL_NODE, "RAILGAUGE_RANK": "9"}


def ports(first):
    return tuple(range(first, first + 8))


def without(variables, *names):
    return {name: text for name, text in variables.items() if name not in names}


def meet(host, first, run, local=False):
    return Rendezvous(host, ports(first), run, local)


BY_RUNPOD = LaunchContext("runpod", 8, 16, False, meet("10.65.0.2", 29501, "runpod  29500"), ranks=8)
TOKEN = {"RAILGAUGE_TOKEN": "0123456789abcdef"}


def numbered(each):
    """Two nodes that the launcher counts and does not name."""
    return ("node-rank-0",) * each + ("node-rank-1",) * each


BY_TORCHRUN = LaunchContext(
    "torchrun", 3, 4, False, meet("n1", 29501, "torchrun job7 29500"), local=1, hosts=numbered(2)
)


@pytest.mark.parametrize(
    ("variables", "where"),
    [
        ({}, LaunchContext()),
        (OPENMPI, LaunchContext("openmpi", 2, 4, True)),
        (HYDRA, LaunchContext("mpich", 1, 3, True)),
        ({"PMI_SIZE": "3", "PMI_RANK": "0"}, LaunchContext("mpich", 0, 3, True)),
        (PMIX, LaunchContext("srun pmix", 5, 16, True)),
        (PMI2, LaunchContext("srun pmi2", 5, 16, True)),
        (TORCHRUN, BY_TORCHRUN),
        (FABRIC, replace(BY_TORCHRUN, launcher="fabric", meet=meet("n1", 29501, "fabric none 29500"))),
        (DEEPSPEED, replace(BY_TORCHRUN, launcher="deepspeed", meet=meet("n1", 29501, "deepspeed  29500"))),
        (
            {name: DEEPSPEED[name] for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")},
            LaunchContext("torch variables", 3, 4, False, meet("n1", 29501, "torch variables  29500"), local=1),
        ),
        (SHELL_RANK, LaunchContext("shell", 9, 16, False, meet("n1", 29400, "shell ab12 "), hosts=numbered(8))),
        # one process a node: it stands for eight ranks
        (SHELL_NODE, LaunchContext("shell", 8, 16, False, meet("n1", 29400, "shell ab12 "), ranks=8)),
        (RUNPOD, LaunchContext("runpod", 8, 16, False, meet("10.65.0.2", 29501, "runpod  29500"), ranks=8)),
        # pods of other ages say where rank 0 is in other variables
        (without(RUNPOD, "PRIMARY_ADDR", "HOST_NODE_ADDR") | {"PRIMARY_IP": "10.65.0.2"}, BY_RUNPOD),
        (without(RUNPOD, "PRIMARY_ADDR"), BY_RUNPOD),
        (without(RUNPOD, "PRIMARY_ADDR", "MASTER_PORT") | {"HOST_NODE_ADDR": "[fd00::1]:29500"}, replace(
            BY_RUNPOD, meet=meet("fd00::1", 29501, "runpod  29500"))),
        (without(RUNPOD, "PRIMARY_ADDR", "PRIMARY_PORT"), replace(
            BY_RUNPOD, meet=meet("10.65.0.2", 29501, "runpod  "))),
        # without any of them it is no pod of a cluster
        (without(RUNPOD, "PRIMARY_ADDR", "HOST_NODE_ADDR"), LaunchContext()),
        # srun without MPI, but with a token
        ({**STEP, **TOKEN}, LaunchContext("srun", 5, 16, False, meet("n1", 20616, "srun 77  0"), local=5)),
        # everybody is on this machine
        (
            {**TORCHRUN, "LOCAL_WORLD_SIZE": "4", "GROUP_WORLD_SIZE": "1"},
            LaunchContext("torchrun", 3, 4, False, meet("n1", 29501, "torchrun job7 29500", local=True), local=1),
        ),
        ({**TORCHRUN, "WORLD_SIZE": "1", "RANK": "0"}, LaunchContext("torchrun", 0, 1)),
    ],
)  # fmt: skip
def test_the_launcher_is_told_by_its_variables(variables, where):
    assert launch_context(variables) == where


@pytest.mark.parametrize(
    "around",
    [
        ALLOCATION,
        # the daemons that mpirun starts by srun on other nodes
        {**STEP, "SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"},
        {**STEP, "SLURM_STEP_NUM_TASKS": "2"},
        # a shell that srun --mpi=pmi2 --pty opened
        {**PMI2, "SLURM_STEP_NUM_TASKS": "1", "PMI_SIZE": "1", "PMI_RANK": "0", "SLURM_PROCID": "0"},
        RUNPOD,
        # left over from a script of one's own
        {name: TORCHRUN[name] for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")},
        SHELL_NODE,
    ],
)
def test_mpirun_stands_inside_of_what_is_around_it(around):
    assert launch_context({**around, **OPENMPI}) == LaunchContext("openmpi", 2, 4, True)
    if "PMI_SIZE" not in around:
        assert launch_context({**around, **HYDRA}) == LaunchContext("mpich", 1, 3, True)


@pytest.mark.parametrize(
    "around",
    [
        ALLOCATION,
        # one agent a node, started by srun or by mpirun
        {**STEP, "SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1"},
        {**PMIX, "SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1"},
        {**PMI2, "SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1", "PMI_SIZE": "2", "PMI_RANK": "1"},
        {**OPENMPI, "OMPI_COMM_WORLD_SIZE": "2"},
        {**HYDRA, "PMI_SIZE": "2"},
        # typed by a person in a step of one
        {**STEP, "SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"},
        RUNPOD,
    ],
)
def test_torchrun_stands_inside_of_what_started_its_agents(around):
    assert launch_context({**around, **TORCHRUN}) == BY_TORCHRUN
    assert launch_context({**around, **FABRIC}).launcher == "fabric"
    assert launch_context({**around, **DEEPSPEED}).launcher == "deepspeed"


def test_a_job_on_runpod_started_by_torchrun_is_torchruns():
    assert launch_context({**RUNPOD, **TORCHRUN}) == BY_TORCHRUN


@pytest.mark.parametrize(
    "variables",
    [
        ALLOCATION,  # inside of salloc or sbatch: nothing started us
        {**STEP, "SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"},  # srun --pty bash
        {**PMIX, "SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"},
        {**RUNPOD, "NUM_NODES": "1", "NODE_RANK": "0", "WORLD_SIZE": "8"},  # a lone container
        {"MASTER_ADDR": "n1", "MASTER_PORT": "29500"},  # half of what torch wants, from a profile script
        {"WORLD_SIZE": "4"},
    ],
)
def test_where_a_person_types_commands_nothing_started_us(variables):
    assert launch_context(variables) == LaunchContext()


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        # N jobs of one
        (STEP, "srun started 16 tasks without MPI: they would be 16 jobs of 1.*--mpi=pmix.*RAILGAUGE_TOKEN"),
        ({**STEP, **OPENMPI, "OMPI_COMM_WORLD_SIZE": "1", "OMPI_COMM_WORLD_RANK": "0"}, "16 tasks.*MPI job of 1.*once"),
        ({**STEP, **HYDRA, "PMI_SIZE": "1", "PMI_RANK": "0"}, "16 tasks.*MPI job of 1"),
        # variables of two jobs
        ({**TORCHRUN, **OPENMPI}, "4 ranks from 2 agents, openmpi says 4 tasks.*unset TORCHELASTIC_RUN_ID"),
        ({**TORCHRUN, **PMIX}, "torchrun.*srun pmix says 16 tasks"),
        ({**DEEPSPEED, **HYDRA}, "deepspeed.*mpich says 3 tasks.*unset CROSS_SIZE or PMI_SIZE"),
        ({**OPENMPI, **HYDRA}, "openmpi says 4 ranks, mpich says 3.*unset OMPI_COMM_WORLD_SIZE or PMI_SIZE"),
        # half a launcher
        ({"OMPI_COMM_WORLD_SIZE": "4"}, "OMPI_COMM_WORLD_RANK is missing; unset"),
        ({"PMI_SIZE": "four", "PMI_RANK": "0"}, "PMI_SIZE is not a number"),
        ({**OPENMPI, "OMPI_COMM_WORLD_RANK": "-1"}, "not a number"),
        ({**OPENMPI, "OMPI_COMM_WORLD_RANK": "4"}, "no such rank"),
        ({**OPENMPI, "OMPI_COMM_WORLD_SIZE": "0", "OMPI_COMM_WORLD_RANK": "0"}, "no such rank"),
        ({**TORCHRUN, "MASTER_PORT": ""}, "MASTER_PORT is not a number"),
        ({**TORCHRUN, "MASTER_ADDR": ""}, "MASTER_ADDR does not say where rank 0 is"),
        ({**TORCHRUN, "RAILGAUGE_PORT": "x"}, "RAILGAUGE_PORT"),
        ({**SHELL_RANK, "RAILGAUGE_MEET": "n1"}, "RAILGAUGE_MEET is 'n1', must be HOST:PORT"),
        ({**SHELL_NODE, "RAILGAUGE_FIRST_RANK": "9"}, "ranks 9 to 16 of 16"),
        ({**RUNPOD, "NODE_RANK": "2"}, "ranks 16 to 23 of 16"),
        ({**RUNPOD, "WORLD_SIZE": "8"}, "NUM_NODES × NUM_TRAINERS is 16, but WORLD_SIZE=8"),
        ({**RUNPOD, "NUM_TRAINERS": "0", "WORLD_SIZE": "0"}, "no such ranks"),
    ],
)  # fmt: skip
def test_a_contradiction_is_an_error_that_says_how_to_mend_it(variables, text):
    with pytest.raises(LaunchError, match=text):
        launch_context(variables)


def test_n_jobs_of_one_are_refused_when_mpi_counts_otherwise_than_the_launcher():
    with pytest.raises(LaunchError, match=r"16 tasks, but MPI sees 1.*--mpi=pmix"):
        agree(LaunchContext("srun pmix", 3, 16, True), 1)
    agree(LaunchContext("srun pmix", 3, 16, True), 16)
    agree(LaunchContext(), 1)


def test_ports_stay_in_range_and_can_be_chosen():
    high = launch_context({**TORCHRUN, "MASTER_PORT": "65535"}).meet
    assert high is not None and high.ports[-1] == 65_535 and len(high.ports) == 8
    chosen = launch_context({**TORCHRUN, "RAILGAUGE_PORT": "4000"}).meet
    assert chosen is not None and chosen.ports == ports(4000)


def test_an_ipv6_address_meets_too():
    where = launch_context({**SHELL_RANK, "RAILGAUGE_MEET": "[fd00::1]:29400"})
    assert where.meet is not None and where.meet.host == "fd00::1"


NAMES = sorted(
    {name for row in LAUNCHERS for name in (*row.sign, row.rank, row.size, row.here, row.host, row.port)}
    - {""}
)


@settings(max_examples=300)
@given(
    st.dictionaries(
        st.sampled_from(NAMES), st.sampled_from(["", "0", "1", "2", "4", "n1", "n[1-2]", "-1", "n1:5", "x;y"])
    )
)
def test_whatever_the_environment_holds_a_place_is_one_of_its_job_or_an_error_in_one_line(variables):
    try:
        where = launch_context(variables)
    except LaunchError as error:
        assert "\n" not in str(error)
        return
    assert 0 <= where.rank < where.size
    assert where.rank + max(where.ranks, 1) <= where.size
    assert where.mpi or where.size == 1 or where.meet is not None
