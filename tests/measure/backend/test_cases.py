"""Cases on one real rank of gloo, and the GPU's parts over a CUDA of paper."""

from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest

from bench.model import typed_json

torch = pytest.importorskip("torch")
import torch.distributed as dist  # noqa: E402

from bench.measure.backend import cuda_graphs as replay  # noqa: E402
from bench.measure.backend import device as devices  # noqa: E402
from bench.measure.backend import registered_buffers as registering  # noqa: E402
from bench.measure.backend.cases import CaseContext, measure_case  # noqa: E402
from bench.measure.backend.group import Group, HostClock  # noqa: E402
from bench.measure.loop import TimingRules  # noqa: E402
from bench.measure.work_order import Progress, WorkOrder  # noqa: E402
from bench.model.collectives import COPIES  # noqa: E402
from bench.model.measurement import Window  # noqa: E402
from bench.plan import Request, sweep_cases  # noqa: E402

CPU = torch.device("cpu")


@pytest.fixture
def alone():
    """A job of one rank."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield Group((0,), 0, None, CPU, HostClock())
    dist.destroy_process_group()


def teller(case, rules=None, told=None):
    rules = rules or TimingRules(iterations=3, warmup=1)
    order = WorkOrder("x", (case,), 0, 1, 0, "gloo", "", 30.0, rules, 2)

    def tell(kind, **fields):
        (told if told is not None else []).append((kind, fields))

    return CaseContext(order, Progress(), tell)


def case_of(name, algorithm="auto", size=4096):
    return sweep_cases("run", Request(name, size, size, algorithm=algorithm), ((0,),))[0]


@pytest.mark.parametrize("name", COPIES)
def test_every_element_of_a_copy_is_checked(alone, name):
    case = case_of(name)
    row = measure_case(case, alone, teller(case))
    assert (row.wrong, row.stop) == ((0,), "count")
    assert row.checked == row.verified * case.count
    assert 2 < row.verified <= row.made
    assert all(seconds > 0 for block in row.pipelined for seconds in block)


def test_a_copy_that_does_not_arrive_is_wrong(alone, monkeypatch):
    row = replace(COPIES["copy_device"], call=lambda c, send, recv: None)
    monkeypatch.setitem(COPIES, "copy_device", row)
    case = case_of("copy_device")
    found = measure_case(case, alone, teller(case))
    assert found.wrong[0] > 0.9 * found.checked
    assert found.mismatches[0].rank == 0


def test_one_rank_runs_a_collective(alone):
    case = case_of("all_reduce")
    assert measure_case(case, alone, teller(case)).wrong == (0,)


@pytest.mark.parametrize("how", ["graph", "registered"])
def test_what_needs_a_gpu_says_so_without_one(alone, how):
    case = case_of("all_reduce", how)
    with pytest.raises(devices.Unsupported, match="CPU"):
        measure_case(case, alone, teller(case))


def test_a_steady_load_tells_its_windows(alone):
    case, told = case_of("all_reduce"), []
    row = measure_case(case, alone, teller(case, TimingRules(budget=0.4, window=0.2), told))
    windows = [
        typed_json.load(Window, {k: v for k, v in fields.items() if k != "kind"}) for _, fields in told
    ]
    assert [kind for kind, _ in told] == ["window"] * len(row.pipelined)
    assert windows[-1].ended >= 0.4
    assert all(window.case == case.id and window.wrong == (0,) for window in windows)


def test_a_rank_without_a_gpu_of_its_own_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert devices.of_rank("nccl", 3) == torch.device("cuda", 3)
    with pytest.raises(RuntimeError, match="local rank 4 has no GPU: torch sees 4"):
        devices.of_rank("nccl", 4)


def test_a_launcher_that_shows_one_gpu_to_each_rank_is_understood(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert devices.of_rank("nccl", 5) == torch.device("cuda", 0)


def test_no_gpu_at_all_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(RuntimeError, match="torch sees 0"):
        devices.of_rank("nccl", 0)


@pytest.mark.parametrize(
    ("properties", "uuid", "pci"),
    [
        (SimpleNamespace(name="H100", uuid="8a1b", pci_bus_id=0x1B, pci_domain_id=0), "GPU-8a1b", "0000:1b"),
        (SimpleNamespace(name="H100", uuid="GPU-8a1b", pci_bus_id=0), "GPU-8a1b", "0000:00"),
        (SimpleNamespace(name="H100"), "", ""),
    ],
    ids=["new torch", "older torch", "oldest torch"],
)
def test_a_gpu_is_named_as_far_as_torch_tells(monkeypatch, properties, uuid, pci):
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    found = devices.identity(torch.device("cuda", 2))
    assert (found["index"], found["uuid"], found["pci"]) == (2, uuid, pci)


def test_init_is_eager_where_torch_can(monkeypatch):
    gpu = torch.device("cuda", 0)
    assert devices.eager(gpu) == {"device_id": gpu}
    assert devices.eager(CPU) == {}
    monkeypatch.setattr(dist, "init_process_group", lambda backend, store: None)
    assert devices.eager(gpu) == {}


def test_a_torch_that_hangs_after_an_eager_init_is_not_asked_for_one(monkeypatch):
    monkeypatch.setattr(torch, "__version__", "2.7.0+cu126")
    assert devices.eager(torch.device("cuda", 0)) == {}


class PaperCuda:
    """As much of torch.cuda as a capture needs; it writes down what happens."""

    def __init__(self) -> None:
        self.done: list[str] = []
        outer = self

        class CUDAGraph:
            def replay(self) -> None:
                outer.done.append("replay")

            def reset(self) -> None:
                outer.done.append("reset")

        self.CUDAGraph = CUDAGraph

    def Stream(self, device):
        return SimpleNamespace(wait_stream=lambda other: None)

    def current_stream(self, device):
        return SimpleNamespace(wait_stream=lambda other: None)

    def synchronize(self, device):
        self.done.append("synchronize")

    @contextmanager
    def stream(self, stream):
        yield

    @contextmanager
    def graph(self, graph, capture_error_mode):
        assert capture_error_mode == "thread_local"
        self.done.append("begin")
        yield
        self.done.append("end")


def test_each_buffer_is_captured_once_and_replayed(monkeypatch):
    cuda, launched = PaperCuda(), []
    monkeypatch.setattr(replay, "torch", SimpleNamespace(cuda=cuda))
    with replay.replayed(launched.append, 3, torch.device("cuda", 0)) as again:
        assert launched == [0, 1, 2, 0, 1, 2]  # warm, then captured
        for number in range(5):
            again(number)
    assert launched == [0, 1, 2, 0, 1, 2]
    assert cuda.done.count("begin") == cuda.done.count("end") == cuda.done.count("reset") == 3
    assert cuda.done.count("replay") == 5


def test_graphs_are_gone_even_when_the_timing_breaks(monkeypatch):
    cuda = PaperCuda()
    monkeypatch.setattr(replay, "torch", SimpleNamespace(cuda=cuda))
    with (
        pytest.raises(ZeroDivisionError),
        replay.replayed(lambda number: None, 2, torch.device("cuda", 0)),
    ):
        1 / 0  # noqa: B018
    assert cuda.done.count("reset") == 2


def paper_registering(monkeypatch, backend):
    """torch with a process group whose backend is ``backend``."""
    cuda = SimpleNamespace(
        MemPool=lambda allocator: f"pool of {allocator}",
        use_mem_pool=lambda pool: pool,
        synchronize=lambda device: None,
    )
    monkeypatch.setattr(registering, "torch", SimpleNamespace(cuda=cuda, __version__="2.5"))
    return SimpleNamespace(_get_backend=lambda device: backend)


def test_buffers_are_registered_and_given_back(monkeypatch):
    done = []
    backend = SimpleNamespace(
        mem_allocator="ncclMemAlloc",
        register_mem_pool=lambda pool: done.append(f"register {pool}"),
        deregister_mem_pool=lambda pool: done.append(f"deregister {pool}"),
    )
    group = paper_registering(monkeypatch, backend)
    with registering.registered(group, torch.device("cuda", 0)) as pool:
        assert pool.allocating() == "pool of ncclMemAlloc"
        pool.register()
    assert done == ["register pool of ncclMemAlloc", "deregister pool of ncclMemAlloc"]


@pytest.mark.parametrize("lacking", ["register_mem_pool", "mem_allocator"])
def test_a_torch_that_cannot_register_is_named(monkeypatch, lacking):
    parts = {
        "mem_allocator": "a",
        "register_mem_pool": lambda pool: None,
        "deregister_mem_pool": lambda pool: None,
    }
    group = paper_registering(
        monkeypatch, SimpleNamespace(**{name: part for name, part in parts.items() if name != lacking})
    )
    with (
        pytest.raises(devices.Unsupported, match="torch 2.5"),
        registering.registered(group, torch.device("cuda", 0)),
    ):
        pass


def test_an_nccl_that_lends_no_memory_is_named(monkeypatch):
    """As torch 2.7.1 says where the driver has no multicast."""

    class Lacking:
        register_mem_pool = deregister_mem_pool = print

        @property
        def mem_allocator(self):
            raise RuntimeError("NCCL mem allocator is not supported in this NCCL version")

    group = paper_registering(monkeypatch, Lacking())
    with (
        pytest.raises(devices.Unsupported, match="not supported in this NCCL version"),
        registering.registered(group, torch.device("cuda", 0)),
    ):
        pass


def test_what_nccl_refuses_to_register_is_not_given_back(monkeypatch):
    def refuse(pool):
        raise RuntimeError("NCCL error: invalid usage")

    backend = SimpleNamespace(
        mem_allocator="a", register_mem_pool=refuse, deregister_mem_pool=lambda pool: pytest.fail("gave back")
    )
    group = paper_registering(monkeypatch, backend)
    with (
        pytest.raises(devices.Unsupported, match="invalid usage"),
        registering.registered(group, torch.device("cuda", 0)) as pool,
    ):
        pool.register()
