"""On which node each rank is, by the variables of each launcher."""

from __future__ import annotations

import pytest

from bench.launch.context import launch_context
from bench.launch.placement import whole_nodes

TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "none",
    "RANK": "0",
    "WORLD_SIZE": "6",
    "LOCAL_RANK": "0",
    "LOCAL_WORLD_SIZE": "2",
    "GROUP_WORLD_SIZE": "3",
    "MASTER_ADDR": "n0",
    "MASTER_PORT": "29400",
}
SRUN = {
    "SLURM_STEP_ID": "0",
    "SLURM_PROCID": "0",
    "SLURM_STEP_NUM_TASKS": "6",
    "SLURM_STEP_NODELIST": "n[0-2]",
    "SLURM_STEP_TASKS_PER_NODE": "2(x3)",
    "SLURM_JOB_ID": "7",
    "SLURM_LOCALID": "0",
    "RAILGAUGE_TOKEN": "x",
}
NODES = ("n0", "n0", "n1", "n1", "n2", "n2")
NUMBERS = tuple(f"node-rank-{at // 2}" for at in range(6))


@pytest.mark.parametrize(
    ("variables", "hosts"),
    [
        (TORCHRUN, NUMBERS),
        (TORCHRUN | {"RAILGAUGE_HOSTS": "n0:2,n1:2,n2:2"}, NODES),
        (TORCHRUN | {"RAILGAUGE_HOSTS": "n0:3,n1:1,n2:2"}, ("n0", "n0", "n0", "n1", "n2", "n2")),
        (TORCHRUN | {"RAILGAUGE_HOSTS": "n0:2,n1:2"}, ()),
        (TORCHRUN | {"RAILGAUGE_HOSTS": "n0:2,n1:many"}, ()),
        (SRUN, NODES),
        (SRUN | {"SLURM_STEP_TASKS_PER_NODE": "2(x2),1"}, ()),
        (SRUN | {"SLURM_DISTRIBUTION": "cyclic"}, ()),
    ],
)
def test_the_node_of_each_rank_is_told_by_the_launcher_or_not_at_all(variables, hosts):
    assert launch_context(variables).hosts == hosts


@pytest.mark.parametrize(
    ("absent", "left"),
    [([4, 5], (0, 1, 2, 3)), ([5], (0, 1, 2, 3)), ([1], ()), ([2, 5], ()), ([3], (0, 1, 4, 5))],
)
def test_a_job_begins_with_two_whole_nodes_and_with_that_of_rank_0(absent, left):
    assert whole_nodes(NODES, absent) == left
    assert whole_nodes((), absent) == ()
