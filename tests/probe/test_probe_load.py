"""One GPU as NVML shows it at a moment."""

import pytest

from bench.model.run_folder_lines import WorkerGpu
from bench.probe.gpu_load import GpuSampler
from fake_nvml import GPU_IS_LOST, Nvml


def by_uuid(uuid):
    return int(uuid.removeprefix("GPU-"))


def test_a_gpu_is_found_by_its_uuid_whatever_its_number():
    nvml = Nvml(nvmlDeviceGetHandleByUUID=by_uuid, nvmlDeviceGetPowerUsage=lambda gpu: 1000 * (gpu + 1))
    assert GpuSampler(WorkerGpu(uuid="GPU-1", index=0), nvml).read().power == 2.0


def test_a_gpu_is_found_by_its_bus_where_torch_tells_no_uuid():
    nvml = Nvml(nvmlDeviceGetPowerUsage=lambda gpu: 1000 * (gpu + 1))
    assert GpuSampler(WorkerGpu(uuid="", pci="0000:53", index=0), nvml).read().power == 2.0


def test_a_gpu_is_taken_by_its_number_where_torch_tells_nothing_else():
    nvml = Nvml(nvmlDeviceGetPowerUsage=lambda gpu: 1000 * (gpu + 1))
    assert GpuSampler(WorkerGpu(uuid="", pci="", index=1), nvml).read().power == 2.0


def test_a_bus_that_nvml_does_not_show_is_not_mistaken_for_another():
    with pytest.raises(LookupError, match="knows no GPU"):
        GpuSampler(WorkerGpu(uuid="", pci="0000:99", index=0), Nvml())


def test_without_nvml_a_reason_is_given():
    with pytest.raises(LookupError, match="Not Found"):
        GpuSampler(WorkerGpu(index=0), Nvml({"nvmlInit": 12}))


def test_readings_are_in_base_units():
    load = GpuSampler(WorkerGpu(index=0), Nvml()).read()
    assert (load.clock_sm, load.clock_memory) == (1.98e9, 2.619e9)
    assert (load.temperature, load.power) == (31.0, 71.5)
    assert load.limits == ("gpu_idle", "sw_power_cap")


def test_a_lost_gpu_refuses_everything_and_nothing_is_zero():
    functions = "ClockInfo", "Temperature", "TemperatureV", "PowerUsage"
    reasons = "CurrentClocksEventReasons", "CurrentClocksThrottleReasons"
    nvml = Nvml({f"nvmlDeviceGet{name}": GPU_IS_LOST for name in (*functions, *reasons)})
    load = GpuSampler(WorkerGpu(index=0), nvml).read()
    assert (load.clock_sm, load.clock_memory, load.temperature, load.power, load.limits) == (None,) * 5
