"""A module like pynvml, by hand: two H100, and any function can be made to refuse."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

NOT_SUPPORTED, UNKNOWN, GPU_IS_LOST = 3, 999, 15


class NVMLError(Exception):
    def __init__(self, value: int, text: str) -> None:
        super().__init__(text)
        self.value = value


ANSWERS: dict[str, Callable[..., Any]] = {
    "nvmlSystemGetDriverVersion": lambda: "570.86.15",
    "nvmlSystemGetCudaDriverVersion_v2": lambda: 12080,
    "nvmlDeviceGetCount": lambda: 2,
    "nvmlDeviceGetHandleByIndex": lambda index: index,
    "nvmlDeviceGetName": lambda gpu: b"NVIDIA H100 80GB HBM3",
    "nvmlDeviceGetUUID": lambda gpu: f"GPU-{gpu}",
    "nvmlDeviceGetSerial": lambda gpu: f"16511230{gpu}",
    "nvmlDeviceGetVbiosVersion": lambda gpu: "96.00.5E.00.01",
    "nvmlDeviceGetPciInfo": lambda gpu: SimpleNamespace(busId=f"00000000:{0x13 + 0x40 * gpu:02X}:00.0"),
    "nvmlDeviceGetMemoryInfo": lambda gpu: SimpleNamespace(total=85520809984, free=85000000000),
    "nvmlDeviceGetEccMode": lambda gpu: [1, 1],
    "nvmlDeviceGetTotalEccErrors": lambda gpu, error, counter: 10 * error + counter,
    "nvmlDeviceGetRemappedRows": lambda gpu: (1, 2, 0, 1),
    "nvmlDeviceGetNvLinkVersion": lambda gpu, link: 4,
    "nvmlDeviceGetNvLinkRemotePciInfo": lambda gpu, link: SimpleNamespace(busId=b"00000000:05:00.0"),
    "nvmlDeviceGetClockInfo": lambda gpu, kind: {1: 1980, 2: 2619}[kind],
    "nvmlDeviceGetMaxClockInfo": lambda gpu, kind: {1: 1980, 2: 2619}[kind],
    "nvmlDeviceGetCurrentClocksEventReasons": lambda gpu: 0x1 | 0x4,
    "nvmlDeviceGetCurrentClocksThrottleReasons": lambda gpu: 0x40,
    "nvmlDeviceGetTemperature": lambda gpu, sensor: 31,
    "nvmlDeviceGetTemperatureV": lambda gpu, sensor: 32,
    "nvmlDeviceGetPowerUsage": lambda gpu: 71500,
    "nvmlDeviceGetEnforcedPowerLimit": lambda gpu: 700000,
    "nvmlDeviceGetPowerManagementDefaultLimit": lambda gpu: 650000,
    "nvmlDeviceGetPersistenceMode": lambda gpu: 1,
    "nvmlDeviceGetMigMode": lambda gpu: [0, 0],
    "nvmlDeviceGetComputeMode": lambda gpu: 0,
    "nvmlDeviceGetComputeRunningProcesses": lambda gpu: [],
}


class Nvml:
    """``refused``: function → error code. ``answers`` replace single functions."""

    NVMLError = NVMLError
    NVML_NVLINK_MAX_LINKS = 18

    def __init__(self, refused: Mapping[str, int] | None = None, **answers: Callable[..., Any]) -> None:
        self.open = False
        self._refused = dict(refused or {})
        table = {**ANSWERS, "nvmlDeviceGetNvLinkState": self._link_state, **answers}
        for name, answer in table.items():
            setattr(self, name, self._guarded(name, answer))

    def nvmlInit(self) -> None:
        if "nvmlInit" in self._refused:
            raise NVMLError(self._refused["nvmlInit"], "NVML Shared Library Not Found")
        self.open = True

    def nvmlShutdown(self) -> None:
        self.open = False

    @staticmethod
    def _link_state(gpu: int, link: int) -> int:
        """Six links, the third one down."""
        if link >= 6:
            raise NVMLError(NOT_SUPPORTED, "Not Supported")
        return int(link != 2)

    def _guarded(self, name: str, answer: Callable[..., Any]) -> Callable[..., Any]:
        def asked(*arguments: Any) -> Any:
            assert self.open, "asked before nvmlInit or after nvmlShutdown"
            if name in self._refused:
                raise NVMLError(self._refused[name], f"error {self._refused[name]}")
            return answer(*arguments)

        return asked
