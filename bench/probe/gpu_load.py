"""Reads the present state of one GPU in five NVML calls: clocks, temperature, power and throttle reasons.

Asked by the supervisor, beside the process that measures.
"""

from __future__ import annotations

from typing import Any

from bench.model.late_dataclass import dataclass
from bench.model.run_folder_lines import WorkerGpu
from bench.model.units import MEGA
from bench.probe.gpus import MEMORY, SM, Asker, bus_address, celsius, clock_limits, load, scaled

_MILLI = 1e-3


@dataclass(frozen=True)
class Load:
    """Clocks in Hz, °C, W, and NVML's reasons for the present clocks; None where NVML refuses."""

    clock_sm: float | None
    clock_memory: float | None
    temperature: float | None
    power: float | None
    limits: tuple[str, ...] | None


class GpuSampler:
    """One GPU, found by the identity that the process using it reports."""

    def __init__(self, identity: WorkerGpu, nvml: Any = None) -> None:
        """``identity``: uuid, pci and index, as far as known. LookupError where NVML knows no such GPU."""
        nvml = nvml if nvml is not None else load()
        if nvml is None:
            raise LookupError("the module pynvml (nvidia-ml-py) is not installed")
        try:
            nvml.nvmlInit()
        except nvml.NVMLError as error:
            raise LookupError(f"nvml: {error}") from None
        self._ask = Asker(nvml).ask
        self._handle = self._find(identity)
        if self._handle is None:
            raise LookupError(f"nvml knows no GPU {identity.uuid or identity.index}")
        self.clock_sm_max = scaled(self._ask("nvmlDeviceGetMaxClockInfo", self._handle, SM), MEGA)

    def _find(self, identity: WorkerGpu) -> Any:
        if identity.uuid:
            found = self._ask("nvmlDeviceGetHandleByUUID", identity.uuid)
            if found is not None:
                return found
        for index in range(self._ask("nvmlDeviceGetCount") or 0):
            handle = self._ask("nvmlDeviceGetHandleByIndex", index)
            address = bus_address(self._ask("nvmlDeviceGetPciInfo", handle))
            if identity.pci and address and address.startswith(f"{identity.pci}:"):
                return handle
        if identity.uuid or identity.pci:
            return None
        # an old torch tells neither: the number is right unless CUDA_VISIBLE_DEVICES renames the GPUs
        return self._ask("nvmlDeviceGetHandleByIndex", identity.index)

    def read(self) -> Load:
        """Read the present state. A GPU that fell off the bus refuses every call."""
        ask, handle = self._ask, self._handle
        temperature = celsius(ask, handle)
        return Load(
            scaled(ask("nvmlDeviceGetClockInfo", handle, SM), MEGA),
            scaled(ask("nvmlDeviceGetClockInfo", handle, MEMORY), MEGA),
            None if temperature is None else float(temperature),
            scaled(ask("nvmlDeviceGetPowerUsage", handle), _MILLI),
            clock_limits(ask, handle),
        )
