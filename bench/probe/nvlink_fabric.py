"""How a GPU stands in its NVLink fabric, by ``nvmlDeviceGetGpuFabricInfoV``: registered or not, domain, clique, health.

Source: nvml.h, nvmlGpuFabricInfo_v2_t and NVML_GPU_FABRIC_HEALTH_MASK_*. NVSwitch machines from Hopper on know it;
an older GPU or driver refuses.
"""

from __future__ import annotations

import ctypes
from typing import Any

from bench.model.facts import NvlinkFabric

STATES = ("not supported", "not started", "in progress", "completed")  # nvmlGpuFabricState_t
FUNCTION, STRUCTURE = "nvmlDeviceGetGpuFabricInfoV", "c_nvmlGpuFabricInfo_v2_t"
# of the health mask: first bit, bits, what is unhealthy by its value
_HEALTH: tuple[tuple[int, int, dict[int, str]], ...] = (
    (0, 2, {1: "its bandwidth is degraded"}),
    (2, 2, {1: "a route is being recovered"}),
    (4, 2, {1: "a route is unhealthy"}),
    (6, 2, {1: "it recovers from an access timeout"}),
    (
        8,
        4,
        {
            2: "its configuration is wrong: system GUID",
            3: "its configuration is wrong: chassis serial number",
            4: "its configuration is wrong: no partition",
            5: "its configuration is wrong: too few NVLinks",
            6: "its configuration is wrong: GPU firmware",
            7: "its configuration is wrong: location",
            8: "its configuration is wrong: state of the GPU",
        },
    ),
)


def fabric(asker: Any, nvml: Any, handle: object) -> NvlinkFabric | None:
    """The GPU's place in the fabric; None where it is in none or where NVML does not tell."""
    structure = getattr(nvml, STRUCTURE, None)
    if structure is None:
        return None
    info = structure()
    # the binding hands the pointer on as it is, and fills in nothing
    if asker.ask(FUNCTION, handle, ctypes.byref(info)) is None or info.state == 0:
        return None
    state = STATES[info.state] if info.state < len(STATES) else f"unknown {info.state}"
    cluster = bytes(info.clusterUuid).hex()
    return NvlinkFabric(
        state,
        int(info.status),
        cluster if cluster.strip("0") else "",
        int(info.cliqueId),
        health(info.healthMask),
    )


def health(mask: int) -> tuple[str, ...]:
    """What is unhealthy by the mask; () where nothing is, or where the driver does not say."""
    found = (words.get(mask >> first & (1 << bits) - 1) for first, bits, words in _HEALTH)
    return tuple(word for word in found if word)
