"""Which GPU of its node each rank has: by its worker's word, by CUDA_VISIBLE_DEVICES, in order."""

from __future__ import annotations

from dataclasses import replace

import pytest

import runs
from bench.judge.checks.rail_names import _placed
from bench.judge.gpu_of_rank import foreseen, match, placed, reported_gpus, visible
from bench.model.facts import Host
from bench.model.run_folder_lines import Joined, WorkerGpu
from bench.model.typed_json import MOST
from bench.run.bootstrap import choose_backend, device_name, memory
from bench.store import Phase, load
from bench.supervise.coordinator import Coordinator
from bench.supervise.hangs.rank_state import RankState
from bench.supervise.limits import Limits
from bench.supervise.questions import Hello
from made_nodes import LAMBDA, gpu, node, nodes, with_gpu
from tests.told import Told

GPUS = tuple(gpu(at, uuid=f"GPU-{at}a1b-77") for at in range(4))


@pytest.mark.parametrize(
    ("text", "places"),
    [
        (None, (0, 1, 2, 3)),
        ("", ()),
        ("2,0", (2, 0)),
        ("3, 1 ,0", (3, 1, 0)),
        ("GPU-2a1b-77,GPU-0a", (2, 0)),
        ("gpu-2A1B-77", (2,)),
        ("1,7,0", (1,)),  # what is none ends the list
        ("1,-1,0", (1,)),
        ("GPU-,0", ()),  # all of them begin so
        ("MIG-GPU-2a1b/3/0", None),
    ],
)
def test_the_visible_gpus_in_the_order_of_the_process(text, places):
    assert visible(text, GPUS) == places


def test_a_permuted_environment_is_foreseen_and_a_gpu_of_ones_own_is_that_one():
    where, machines = runs.ranks(2, 8), nodes(2)
    turned = {str(rank): {"CUDA_VISIBLE_DEVICES": "7,6,5,4,3,2,1,0"} for rank in range(8)}
    alone = {str(rank): {"CUDA_VISIBLE_DEVICES": str((rank + 3) % 8)} for rank in range(8, 16)}
    found = foreseen(where, machines, turned | alone)
    assert [found[rank] for rank in range(8)] == [7, 6, 5, 4, 3, 2, 1, 0]
    assert [found[rank] for rank in range(8, 16)] == [3, 4, 5, 6, 7, 0, 1, 2]
    assert foreseen(where, machines, {})[11] == 3
    assert foreseen(where, machines, {"3": {"CUDA_VISIBLE_DEVICES": "0,1"}})[3] is None
    # parts of a GPU, and UUIDs that NVML did not tell: as before, in order
    assert 3 not in foreseen(where, machines, {"3": {"CUDA_VISIBLE_DEVICES": "MIG-5a1f"}})
    mute = [replace(each, gpus=tuple(replace(g, uuid=None) for g in each.gpus)) for each in machines]
    assert 3 not in foreseen(where, mute, {"3": {"CUDA_VISIBLE_DEVICES": "GPU-5a1f"}})


@pytest.mark.parametrize(
    ("told", "place"),
    [
        ({"uuid": "GPU-2a1b-77", "pci": "0000:ff"}, 2),
        ({"uuid": "gpu-2A1B-77"}, 2),
        ({"uuid": "", "pci": "0000:32"}, 2),
        ({"uuid": "GPU-other", "pci": "0000:32"}, None),  # a UUID that is another's beats the bus
        ({"uuid": "", "pci": ""}, None),
        ({}, None),
    ],
)
def test_a_workers_gpu_is_found_by_uuid_and_else_by_its_bus(told, place):
    assert match(WorkerGpu(**told), GPUS) == place


def test_where_the_facts_have_no_uuid_the_bus_decides():
    bare = tuple(replace(each, uuid=None) for each in GPUS)
    assert match(WorkerGpu(uuid="GPU-2a1b-77", pci="0000:32"), bare) == 2


def test_what_the_workers_say_beats_what_was_foreseen(tmp_path):
    folder = runs.folder(tmp_path / "run", where=runs.ranks(2, 8), profile=LAMBDA, nodes=nodes(2))
    run = load(folder)
    assert placed(run)[3] == 3
    lines = (
        Joined(
            "evidence",
            gpus={str(rank): WorkerGpu(uuid=f"GPU-{rank - 2 * (rank % 8) + 7}") for rank in range(16)},
        ),
        Joined("rails", gpus={"5": WorkerGpu(uuid="GPU-nowhere")}),
        Joined("old"),
    )
    run = replace(run, joined=lines)
    assert reported_gpus(run)[0] == WorkerGpu(uuid="GPU-7")
    assert (placed(run)[3], placed(run)[11], placed(run)[5]) == (4, 4, None)


def test_a_torch_that_tells_no_gpu_leaves_what_the_environment_foresaw(tmp_path):
    """torch before 2.5 knows neither UUID nor PCI address."""
    run = load(runs.folder(tmp_path / "run", where=runs.ranks(2, 8), profile=LAMBDA, nodes=nodes(2)))
    turned = {str(rank): {"CUDA_VISIBLE_DEVICES": "7,6,5,4,3,2,1,0"} for rank in range(16)}
    told = {str(rank): WorkerGpu(index=rank % 8, name="NVIDIA H100") for rank in range(16)}
    run = replace(run, manifest=replace(run.manifest, environment=turned), joined=(Joined("p", gpus=told),))
    assert placed(run)[3] == 4


def test_memory_that_is_not_known_refuses_nothing():
    unknown = replace(with_gpu(node(0), 0, memory_free=None), host=Host(memory_available=None))
    machine, rank = replace(unknown, gpus=unknown.gpus[:1]), runs.ranks(1, 1)[0]
    for backend in ("nccl", "gloo"):
        room = memory([rank], [machine], backend)
        assert (room.available, room.where) == (MOST, "memory that is not known")
    assert memory([rank], [replace(machine, gpus=())], "nccl").available == MOST
    assert memory([rank], [with_gpu(machine, 0, memory_free=0)], "nccl").available == 0


def test_which_backend_is_chosen_and_why():
    hellos, machine = {0: Hello("n0", "m", True, "python3", {})}, nodes(1)[0]
    automatic = replace(LAMBDA, backend="auto")
    assert choose_backend(automatic, hellos, runs.ranks(1, 8), [machine])[0] == "nccl"
    bare = replace(machine, name="n0", gpus=(), notes=("nvml: Driver Not Loaded",))
    assert choose_backend(automatic, hellos, runs.ranks(1, 2), [bare]) == (
        "gloo",
        "n0 shows 0 GPUs for 2 ranks (nvml: Driver Not Loaded)",
    )
    assert choose_backend(replace(LAMBDA, backend="nccl"), hellos, runs.ranks(1, 2), [bare]) == ("nccl", "")


def test_memory_and_names_are_those_of_the_gpu_that_a_rank_has():
    machine = with_gpu(node(0), 7, name="NVIDIA H100 NVL", memory_free=20 << 30)
    rank = runs.ranks(1, 2)[0]
    assert device_name(rank, "nccl", [machine], {0: 7}) == "cuda:0 NVIDIA H100 NVL"
    assert device_name(rank, "nccl", [machine], {0: None}) == "cuda:0 no such GPU"
    assert "GPU 7" in memory([rank], [machine], "nccl", {0: 7}).where
    assert "GPU 0" in memory([rank], [machine], "nccl").where
    assert "GPU 0" in memory([rank], [machine], "nccl", {0: None}).where


class Paper:
    """A recorder of paper."""

    def __init__(self) -> None:
        self.lines: list[Joined] = []

    def add(self, line: Joined) -> None:
        self.lines.append(line)


def test_a_workers_gpu_is_written_once_and_again_where_it_is_another():
    paper = Paper()
    chief = Coordinator(None, None, paper, Limits(), Told(), ranks=runs.ranks(1, 3))
    for turn, third in (("evidence", "GPU-2"), ("rails", "GPU-2"), ("again", "GPU-9")):
        gpus = [{"uuid": "GPU-0"}, {"uuid": "GPU-1"}, {"uuid": third}]
        chief._states = {
            at: RankState(ready={"seconds": {"init": 1.0}, "versions": {}, "gpu": gpu})
            for at, gpu in enumerate(gpus)
        }
        chief._record_joined(Phase(turn, "", ()))
    assert [sorted(line.gpus) for line in paper.lines] == [["0", "1", "2"], [], ["2"]]
    assert paper.lines[2].gpus == {"2": WorkerGpu(uuid="GPU-9")}


@pytest.mark.parametrize(
    ("gpu", "name"),
    [
        (WorkerGpu(uuid="GPU-x", pci="0000:07:00.0"), "GPU-x"),
        (WorkerGpu(pci="ffff:07:00.0"), "ffff:07:00.0"),
        (WorkerGpu(index=3), "neither UUID nor PCI address"),
    ],
)
def test_a_gpu_that_the_facts_do_not_hold_is_called_by_what_is_known_of_it(gpu, name):
    found = _placed(runs.ranks(1, 8)[2], gpu, node(0), 2)
    assert found.ok is None and f"its worker has {name}, which is none of the 8 GPUs" in found.measured
