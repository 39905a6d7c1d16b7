"""What all tests share: the markers' conditions and a factory of runs."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import programs

# a shell that starts the tests in its background has them, and all that they start, ignore interrupts
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
HAS_TORCH = importlib.util.find_spec("torch") is not None
# ci/gpu-check runs the tests marked gpu on machines that have no hypothesis
with contextlib.suppress(ModuleNotFoundError):
    from hypothesis import HealthCheck, settings

    # no test asserts how long something takes: machines that run tests do other work as well
    settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("any machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite golden files; read the difference")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reasons = {
        "torch": None if HAS_TORCH else "torch is not installed",
        "mpi": None if HAS_TORCH and programs.find("mpirun") else "mpirun or torch is not installed",
        "gpu": None if any(map(_needs_gpu, items)) and _torch_has_gpu() else "torch sees no GPU here",
        "root": None if os.geteuid() == 0 else "this test needs root",
    }
    for item in items:
        for name, reason in reasons.items():
            if reason and item.get_closest_marker(name):
                by_choice = name == "gpu" or (name != "root" and os.environ.get("TORCH") == "none")
                item.add_marker(pytest.mark.skip(reason=reason) if by_choice else pytest.mark.lacks(reason))


def _needs_gpu(item: pytest.Item) -> bool:
    return item.get_closest_marker("gpu") is not None


def _torch_has_gpu() -> bool:
    """What torch says counts: a container may hide /dev/nvidiactl. A torch without CUDA is not imported for it."""
    found = importlib.util.find_spec("torch")
    if not found or not found.origin or not (Path(found.origin).parent / "lib/libtorch_cuda.so").exists():
        return False
    import torch

    return torch.cuda.is_available()


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("lacks"):
        programs.lack(*marker.args)
    for marker in item.iter_markers("needs"):
        programs.need(*marker.args)


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is kept from one process to the next is kept among the tests' own files, not in the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield
