"""The NVLink fabric by NVML, with nvidia-ml-py's own structure."""

from __future__ import annotations

from typing import Any

import pynvml
import pytest

from bench.model.facts import NvlinkFabric
from bench.probe.gpus import gpus
from bench.probe.nvlink_fabric import health
from fake_nvml import NOT_SUPPORTED, Nvml


def seen(refused: dict[str, int] | None = None, **fields: Any) -> NvlinkFabric | None:
    def fill(_: object, pointer: Any) -> int:
        for name, value in fields.items():
            setattr(pointer._obj, name, value)
        return 0

    nvml = Nvml(refused, nvmlDeviceGetGpuFabricInfoV=fill)
    nvml.c_nvmlGpuFabricInfo_v2_t = pynvml.c_nvmlGpuFabricInfo_v2_t
    return gpus(nvml).gpus[0].fabric


def test_a_registered_gpu_of_one_node_has_no_cluster():
    assert seen(state=3, cliqueId=0) == NvlinkFabric("completed", 0, "", 0)


def test_a_domain_over_nodes_has_a_cluster_and_a_clique():
    uuid = (pynvml.c_uint8 * 16)(*range(16))
    assert seen(state=3, cliqueId=7, clusterUuid=uuid) == NvlinkFabric(
        "completed", 0, "000102030405060708090a0b0c0d0e0f", 7
    )


def test_a_gpu_without_a_fabric_has_none():
    assert seen(state=0) is None
    assert seen({"nvmlDeviceGetGpuFabricInfoV": NOT_SUPPORTED}) is None


def test_an_error_of_the_registration_is_kept():
    assert seen(state=3, status=999, cliqueId=1) == NvlinkFabric("completed", 999, "", 1)


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (0, ()),
        (0b10 | 0b10 << 2 | 0b10 << 4 | 0b10 << 6 | 1 << 8, ()),
        (0b01 | 0b01 << 4, ("its bandwidth is degraded", "a route is unhealthy")),
        (4 << 8, ("its configuration is wrong: no partition",)),
    ],
)
def test_the_health_mask_is_read_by_nvml_h(mask, words):
    assert health(mask) == words
