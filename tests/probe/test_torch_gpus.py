"""GPUs as torch sees them: a build for CUDA or ROCm is asked, in a process of its own; any other is not started."""

from __future__ import annotations

import sys

import pytest

from bench.probe import torch_gpus

TORCH = """
class cuda:
    device_count = staticmethod(lambda: 1)
    mem_get_info = staticmethod(lambda index: (5, 9))
    get_device_properties = staticmethod(lambda index: type("Properties", (), {"name": "AMD Instinct MI300X"}))
"""


@pytest.mark.parametrize(
    ("library", "seen"),
    [("libtorch_cuda.so", 1), ("libtorch_hip.so", 1), ("libtorch_cpu.so", 0)],
)
def test_a_build_for_gpus_is_asked(tmp_path, monkeypatch, library, seen):
    (tmp_path / "torch" / "lib").mkdir(parents=True)
    (tmp_path / "torch" / "__init__.py").write_text(TORCH)
    (tmp_path / "torch" / "lib" / library).touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    found = torch_gpus.torch_gpus()
    assert [(gpu.name, gpu.memory_free, gpu.memory_total) for gpu in found] == [
        ("AMD Instinct MI300X", 5, 9)
    ] * seen
