"""What needs a real GPU: run by ci/gpu-check wherever there is one."""

import os
import sys
from dataclasses import replace

import pytest

from bench.model.measurement import Extra
from bench.model.run_folder_lines import WorkerGpu

torch = pytest.importorskip("torch")
import torch.distributed as dist  # noqa: E402

from bench.measure import flight_recorder  # noqa: E402
from bench.measure.backend import device as devices  # noqa: E402
from bench.measure.backend.cases import CaseContext, measure_case  # noqa: E402
from bench.measure.backend.correctness import Data  # noqa: E402
from bench.measure.backend.group import CudaClock, Group  # noqa: E402
from bench.measure.loop import TimingRules  # noqa: E402
from bench.measure.work_order import Progress, WorkOrder  # noqa: E402
from bench.measure.worker import RECORDERS  # noqa: E402
from bench.model.collectives import COLLECTIVES, COPIES  # noqa: E402
from bench.model.elements import ELEMENTS, pattern, reduction  # noqa: E402
from bench.plan import Request, sweep_cases  # noqa: E402
from bench.probe.gpu_load import GpuSampler  # noqa: E402
from bench.probe.gpus import gpus, load  # noqa: E402

pytestmark = [
    pytest.mark.gpu,
    # torch warns of what it does by itself, and of what its next version will; that is its affair
    pytest.mark.filterwarnings("ignore"),
]
ALONE = [row.name for row in COLLECTIVES.values() if row.least == 1]


@pytest.fixture(scope="module")
def gpu():
    """A job of one rank on the first GPU."""
    device = devices.of_rank("nccl", 0)
    devices.use(device)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in flight_recorder.switched_on(os.environ, sys.modules[RECORDERS]).items():
            patch.setenv(name, value)
        store = dist.TCPStore("127.0.0.1", 0, 1, True)
        dist.init_process_group("nccl", store=store, rank=0, world_size=1, **devices.eager(device))
        group = Group((0,), 0, None, device, CudaClock(device))
        group.together()
        yield group
        dist.destroy_process_group()


def measured(group, name, size=1 << 20, algorithm="auto", rules=None, dtype="float32"):
    case = sweep_cases("run", Request(name, size, size, dtype=dtype, algorithm=algorithm), ((0,),))[0]
    order = WorkOrder(
        "x", (case,), 0, 1, 0, "nccl", "", 60.0, rules or TimingRules(iterations=5, warmup=2), 2
    )
    return measure_case(case, group, CaseContext(order, Progress(), lambda kind, **fields: None))


@pytest.mark.parametrize("name", [*ALONE, *COPIES])
def test_one_gpu_runs_it_right(gpu, name):
    row = measured(gpu, name)
    assert row.wrong == (0,)
    assert row.checked > 0
    assert all(seconds > 0 for block in row.pipelined for seconds in block)


@pytest.mark.parametrize("dtype", ELEMENTS)
def test_every_element_type_is_right_on_the_gpu(gpu, dtype):
    assert measured(gpu, "all_reduce", 1 << 16, dtype=dtype).wrong == (0,)


@pytest.mark.parametrize("dtype", ELEMENTS)
def test_one_flipped_element_is_found_on_the_gpu(gpu, dtype):
    kind = ELEMENTS[dtype]
    data = Data(kind, reduction("sum"), pattern(kind, "sum", 1), 1)
    buffer = torch.zeros(10_000, dtype=getattr(torch, dtype), device=gpu.device)
    data.fill(buffer, 0, 1)
    truth = COLLECTIVES["all_reduce"].truth(0, 1, 0)
    assert data.wrong(buffer, truth, 0, 1)[0] == 0
    buffer[7_777] += 1
    count, first = data.wrong(buffer, truth, 0, 1)
    assert (count, first.index) == (1, 7_777)


def test_a_mark_is_where_the_device_is(gpu):
    matrix = torch.randn(1024, 1024, device=gpu.device)
    gpu.together()
    start = gpu.mark()
    for _ in range(10):
        matrix @ matrix
    seconds = gpu.seconds(start, gpu.mark())
    # 10 × 2 × 1024³ operations are 21 GFLOP: no GPU does that in 10 µs, and any in 10 s
    assert 1e-5 < seconds < 10


def test_a_graph_replays_the_same_result(gpu):
    row = measured(gpu, "all_gather", 4096, "graph")
    assert row.wrong == (0,)
    assert all(seconds > 0 for block in row.pipelined for seconds in block)


def test_a_graph_of_a_call_that_does_nothing_is_refused(gpu):
    """In place on one rank an all_reduce puts nothing on the device: its replay would be called 1 µs."""
    with pytest.raises(devices.Unsupported, match="nothing to replay"):
        measured(gpu, "all_reduce", 4096, "graph")


def test_a_replay_that_writes_nothing_is_wrong(gpu, monkeypatch):
    monkeypatch.setattr(torch.cuda.CUDAGraph, "replay", lambda self: None)
    assert measured(gpu, "all_gather", 4096, "graph").wrong[0] > 0


def test_the_runtime_tells_the_bus_that_torch_tells(gpu):
    """Of torch before 2.5 it is all that is known."""
    told = devices.identity(gpu.device)["pci"]
    assert told == devices._bus_by_runtime(gpu.device) != ""


def test_registered_buffers_are_right_or_named(gpu):
    try:
        assert measured(gpu, "all_reduce", 1 << 20, "registered").wrong == (0,)
    except devices.Unsupported as reason:
        pytest.skip(str(reason))


def test_starting_a_call_is_a_number_of_its_own(gpu):
    launch = measured(gpu, "all_gather", 4096).extra.launch
    assert len(launch) == 1
    assert 1e-7 < launch[0] < 0.1


def test_nvml_knows_the_gpu_that_torch_uses(gpu):
    pytest.importorskip("pynvml")
    identity = devices.identity(gpu.device)
    gauge = GpuSampler(WorkerGpu(**identity))
    seen = gauge.read()
    assert seen.clock_sm is None or seen.clock_sm > 1e8
    known = gpus(load()).gpus
    assert identity["name"] in {each.name for each in known}
    if identity["uuid"]:
        assert identity["uuid"] in {each.uuid for each in known}


def test_versions_name_the_nccl_that_is_loaded(gpu):
    assert devices.versions()["nccl"].count(".") >= 2


def test_the_flight_recorder_holds_what_was_called(gpu):
    measured(gpu, "all_gather", 4096)
    found = flight_recorder.held(sys.modules[RECORDERS], "nccl")
    assert found.last, "NCCL's calls are in a recorder that nobody reads"
    assert found.last[0].number > 0


def test_a_steady_load_tells_windows_on_the_gpu(gpu):
    row = measured(gpu, "all_gather", 1 << 20, rules=TimingRules(budget=2.0, window=0.2))
    assert len(row.pipelined) >= 3
    assert replace(row, extra=Extra()).wrong == (0,)
