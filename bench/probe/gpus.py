"""GPUs through NVML (module ``pynvml`` of nvidia-ml-py). Importing this module needs neither.

Every field is asked by itself, and what NVML refuses is None: old drivers, virtual GPUs and sick boards
refuse different things. A refusal that is not "not supported" is kept as a note: so a lost GPU looks.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from bench.model.facts import Ecc, Gpu, NvLink, PciPath
from bench.model.late_dataclass import dataclass, replace
from bench.model.units import MEGA
from bench.probe import pci
from bench.probe.nvlink_fabric import fabric

# bits of nvmlDeviceGetCurrentClocksEventReasons (nvml.h); gpu_idle says only that nothing runs
LIMITS = (
    "gpu_idle",
    "applications_clocks",
    "sw_power_cap",
    "hw_slowdown",
    "sync_boost",
    "sw_thermal",
    "hw_thermal",
    "hw_power_brake",
    "display_clocks",
    "board_limit",
    "reliability",
)
COMPUTE_MODES = ("default", "exclusive thread", "prohibited", "exclusive process")
_LINKS = 36  # NVML_NVLINK_MAX_LINKS in 2026; older modules say 18 or 6
SM, MEMORY = 1, 2  # nvmlClockType_t
_GPU_SENSOR = 0  # nvmlTemperatureSensors_t
_CORRECTED, _UNCORRECTED = 0, 1  # nvmlMemoryErrorType_t
_VOLATILE, _AGGREGATE = 0, 1  # nvmlEccCounterType_t
_MILLI = 1e-3
# nvmlReturn_t of "this device has no such thing": invalid argument, not supported, no permission, not found,
# function not found
_NO_SUCH_THING = (2, 3, 4, 6, 13)


@dataclass(frozen=True)
class NvmlAnswer:
    """The GPUs that NVML lists. None, with a note, is a machine without NVML or without a driver."""

    gpus: tuple[Gpu, ...] = ()
    driver: str | None = None
    cuda: str | None = None
    notes: tuple[str, ...] = ()


def load() -> ModuleType | None:
    """Import the NVML binding; None where it is not installed."""
    try:
        import pynvml
    except ImportError:
        return None
    module: ModuleType = pynvml
    return module


def gpus(nvml: Any, root: Path = Path("/")) -> NvmlAnswer:
    """Every GPU that NVML lists. ``nvml`` is the module ``pynvml``, something like it, or None."""
    if nvml is None:
        return NvmlAnswer(notes=("nvml: the module pynvml (nvidia-ml-py) is not installed",))
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return NvmlAnswer(notes=(f"nvml: {error}",))
    try:
        return _facts(nvml, root)
    finally:
        Asker(nvml).ask("nvmlShutdown")


class Asker:
    """Calls NVML's functions one by one and keeps the refusals that mean trouble."""

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml
        self.trouble: dict[str, None] = {}

    def ask(self, function: str, *arguments: object) -> Any:
        """The answer; None where NVML refuses or the binding is too old to know the function."""
        call: Callable[..., Any] | None = getattr(self._nvml, function, None)
        if call is None:
            return None
        try:
            return call(*arguments)
        except self._nvml.NVMLError as error:
            if getattr(error, "value", None) not in _NO_SUCH_THING:
                self.trouble[f"{function}: {error}"] = None
            return None


def _facts(nvml: Any, root: Path) -> NvmlAnswer:
    asker = Asker(nvml)
    count = asker.ask("nvmlDeviceGetCount")
    cuda = asker.ask("nvmlSystemGetCudaDriverVersion_v2")
    return NvmlAnswer(
        gpus=tuple(_gpu(nvml, index, root) for index in range(count or 0)),
        driver=_text(asker.ask("nvmlSystemGetDriverVersion")),
        cuda=f"{cuda // 1000}.{cuda % 1000 // 10}" if cuda else None,
        notes=(*(f"nvml: {text}" for text in asker.trouble), *(() if count else ("nvml: lists no GPU",))),
    )


def _gpu(nvml: Any, index: int, root: Path) -> Gpu:
    asker = Asker(nvml)
    ask, handle = asker.ask, asker.ask("nvmlDeviceGetHandleByIndex", index)
    if handle is None:
        return Gpu(index, notes=tuple(asker.trouble) or ("nvml gives no handle for it",))
    memory = ask("nvmlDeviceGetMemoryInfo", handle)
    mig, mode = ask("nvmlDeviceGetMigMode", handle), ask("nvmlDeviceGetComputeMode", handle)
    persistence = ask("nvmlDeviceGetPersistenceMode", handle)
    processes = ask("nvmlDeviceGetComputeRunningProcesses", handle)
    gpu = Gpu(
        index,
        name=_text(ask("nvmlDeviceGetName", handle)),
        uuid=_text(ask("nvmlDeviceGetUUID", handle)),
        serial=_text(ask("nvmlDeviceGetSerial", handle)),
        vbios=_text(ask("nvmlDeviceGetVbiosVersion", handle)),
        pci=_pci(ask("nvmlDeviceGetPciInfo", handle), root),
        memory_total=None if memory is None else int(memory.total),
        memory_free=None if memory is None else int(memory.free),
        ecc=_ecc(ask, handle),
        nvlinks=_nvlinks(asker, handle, nvml),
        fabric=fabric(asker, nvml, handle),
        clock_sm=scaled(ask("nvmlDeviceGetClockInfo", handle, SM), MEGA),
        clock_sm_max=scaled(ask("nvmlDeviceGetMaxClockInfo", handle, SM), MEGA),
        clock_memory=scaled(ask("nvmlDeviceGetClockInfo", handle, MEMORY), MEGA),
        clock_memory_max=scaled(ask("nvmlDeviceGetMaxClockInfo", handle, MEMORY), MEGA),
        limits=clock_limits(ask, handle),
        temperature=celsius(ask, handle),
        power=scaled(ask("nvmlDeviceGetPowerUsage", handle), _MILLI),
        power_limit=scaled(ask("nvmlDeviceGetEnforcedPowerLimit", handle), _MILLI),
        power_limit_default=scaled(ask("nvmlDeviceGetPowerManagementDefaultLimit", handle), _MILLI),
        persistence=None if persistence is None else bool(persistence),
        mig=None if mig is None else bool(mig[0]),
        compute_mode=None if mode is None else _named(mode),
        processes=None if processes is None else len(processes),
    )
    return replace(gpu, notes=tuple(asker.trouble))


_Ask = Callable[..., Any]


def _ecc(ask: _Ask, handle: object) -> Ecc:
    mode, rows = ask("nvmlDeviceGetEccMode", handle), ask("nvmlDeviceGetRemappedRows", handle)
    corrected, uncorrected, pending, failed = rows or (None, None, None, None)
    return Ecc(
        enabled=None if mode is None else bool(mode[0]),
        volatile_corrected=ask("nvmlDeviceGetTotalEccErrors", handle, _CORRECTED, _VOLATILE),
        volatile_uncorrected=ask("nvmlDeviceGetTotalEccErrors", handle, _UNCORRECTED, _VOLATILE),
        aggregate_corrected=ask("nvmlDeviceGetTotalEccErrors", handle, _CORRECTED, _AGGREGATE),
        aggregate_uncorrected=ask("nvmlDeviceGetTotalEccErrors", handle, _UNCORRECTED, _AGGREGATE),
        remapped_corrected=corrected,
        remapped_uncorrected=uncorrected,
        remap_pending=None if pending is None else bool(pending),
        remap_failed=None if failed is None else bool(failed),
    )


def _nvlinks(asker: Asker, handle: object, nvml: Any) -> tuple[NvLink, ...] | None:
    """The links this GPU has; () none; None where NVML would not say (a note then tells why) or cannot."""
    ask, state_of = asker.ask, "nvmlDeviceGetNvLinkState"
    if not hasattr(nvml, state_of):
        return None
    links = [
        (link, ask(state_of, handle, link)) for link in range(getattr(nvml, "NVML_NVLINK_MAX_LINKS", _LINKS))
    ]
    if any(text.startswith(state_of) for text in asker.trouble):
        return None
    return tuple(
        NvLink(
            link,
            bool(state),
            version=ask("nvmlDeviceGetNvLinkVersion", handle, link) if state else None,
            peer=bus_address(ask("nvmlDeviceGetNvLinkRemotePciInfo", handle, link)) if state else None,
        )
        for link, state in links
        if state is not None
    )


def clock_limits(ask: _Ask, handle: object) -> tuple[str, ...] | None:
    """The clock limits, by the new function or by the one that drivers before 535 have."""
    mask = ask("nvmlDeviceGetCurrentClocksEventReasons", handle)
    if mask is None:
        mask = ask("nvmlDeviceGetCurrentClocksThrottleReasons", handle)
    if mask is None:
        return None
    known = [name for bit, name in enumerate(LIMITS) if mask >> bit & 1]
    return (
        (*known, f"unknown {mask >> len(LIMITS) << len(LIMITS):#x}") if mask >> len(LIMITS) else tuple(known)
    )


def celsius(ask: _Ask, handle: object) -> int | None:
    """°C by the name that CUDA 14 will remove, or by the new one."""
    for function in ("nvmlDeviceGetTemperature", "nvmlDeviceGetTemperatureV"):
        answer = ask(function, handle, _GPU_SENSOR)
        if answer is not None:
            return int(answer)
    return None


def _named(mode: int) -> str:
    return COMPUTE_MODES[mode] if 0 <= mode < len(COMPUTE_MODES) else f"unknown {mode}"


def _pci(info: Any, root: Path) -> PciPath | None:
    """The PCI path to the root; only the address where sysfs hides the device (some containers)."""
    address = bus_address(info)
    if address is None:
        return None
    return pci.path(root / pci.DEVICES / address) or PciPath(address, root="")


def bus_address(info: Any) -> str | None:
    text = None if info is None else _text(info.busId)
    return None if text is None else pci.parse_bus_id(text)


def _text(answer: object) -> str | None:
    """Text; bytes in older bindings."""
    if isinstance(answer, bytes):
        return answer.decode("utf-8", "replace")
    return None if answer is None else str(answer)


def scaled(answer: int | None, unit: float) -> float | None:
    return None if answer is None else answer * unit
