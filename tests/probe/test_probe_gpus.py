import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.model.facts import Ecc, Gpu, NvLink, PciPath
from bench.probe import gpus
from fake_nvml import ANSWERS, GPU_IS_LOST, NOT_SUPPORTED, UNKNOWN, Nvml
from trees import plant, rail_machine

FUNCTIONS = (*ANSWERS, "nvmlDeviceGetNvLinkState")


def test_a_gpu_is_read_in_base_units(tmp_path):
    seen = gpus.gpus(Nvml(), plant(tmp_path, rail_machine()))
    assert (seen.driver, seen.cuda, seen.notes, len(seen.gpus)) == ("570.86.15", "12.8", (), 2)
    gpu = seen.gpus[0]
    assert (gpu.index, gpu.name, gpu.uuid) == (0, "NVIDIA H100 80GB HBM3", "GPU-0")
    assert (gpu.memory_total, gpu.memory_free) == (85520809984, 85000000000)
    assert (gpu.clock_sm, gpu.clock_memory_max) == (1980e6, 2619e6)
    assert (gpu.power, gpu.power_limit, gpu.temperature) == (71.5, 700.0, 31)
    assert gpu.power_limit_default == 650.0
    assert (gpu.persistence, gpu.mig, gpu.compute_mode, gpu.processes) == (True, False, "default", 0)
    assert gpu.limits == ("gpu_idle", "sw_power_cap")
    assert gpu.ecc == Ecc(True, 0, 10, 1, 11, 1, 2, False, True)
    assert gpu.notes == ()


def test_the_way_of_a_gpu_comes_from_sysfs_and_without_it_the_address_remains(tmp_path):
    shown, hidden = gpus.gpus(Nvml(), plant(tmp_path, rail_machine())).gpus
    assert shown.pci is not None
    assert (shown.pci.root, shown.pci.numa, len(shown.pci.hops)) == ("pci0000:10", 1, 4)
    assert hidden.pci == PciPath("0000:53:00.0", root="")


def test_a_link_that_is_down_is_a_link(tmp_path):
    (links,) = {gpu.nvlinks for gpu in gpus.gpus(Nvml(), tmp_path).gpus}
    assert links is not None
    assert [link.active for link in links] == [True, True, False, True, True, True]
    assert links[0] == NvLink(0, True, 4, "0000:05:00.0")
    assert links[2] == NvLink(2, False)


def test_no_nvlink_is_not_unknown(tmp_path):
    seen = gpus.gpus(Nvml({"nvmlDeviceGetNvLinkState": NOT_SUPPORTED}), tmp_path)
    assert seen.gpus[0].nvlinks == ()
    assert seen.gpus[0].notes == ()


def test_links_that_nvml_will_not_talk_about_are_unknown_and_not_none(tmp_path):
    gpu = gpus.gpus(Nvml({"nvmlDeviceGetNvLinkState": UNKNOWN}), tmp_path).gpus[0]
    assert (gpu.nvlinks, gpu.notes) == (None, ("nvmlDeviceGetNvLinkState: error 999",))


def test_the_temperature_has_a_new_name_from_cuda_14(tmp_path):
    assert gpus.gpus(Nvml({"nvmlDeviceGetTemperature": 13}), tmp_path).gpus[0].temperature == 32


def test_the_real_binding_knows_what_is_asked_of_it():
    real = pytest.importorskip("pynvml")
    assert [name for name in ("nvmlInit", "nvmlShutdown", *FUNCTIONS) if not hasattr(real, name)] == []
    assert (real.NVML_CLOCK_SM, real.NVML_CLOCK_MEM, real.NVML_TEMPERATURE_GPU) == (1, 2, 0)
    assert (real.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, real.NVML_AGGREGATE_ECC) == (1, 1)
    assert (real.NVML_ERROR_NOT_SUPPORTED, real.NVML_ERROR_GPU_IS_LOST) == (NOT_SUPPORTED, GPU_IS_LOST)
    assert gpus.LIMITS[real.nvmlClocksThrottleReasonHwPowerBrakeSlowdown.bit_length() - 1] == "hw_power_brake"
    assert gpus.COMPUTE_MODES[real.NVML_COMPUTEMODE_EXCLUSIVE_PROCESS] == "exclusive process"


def test_no_binding_and_no_library_are_no_gpus_with_a_reason(tmp_path):
    assert gpus.gpus(None, tmp_path).gpus == ()
    assert "not installed" in gpus.gpus(None, tmp_path).notes[0]
    seen = gpus.gpus(Nvml({"nvmlInit": 12}), tmp_path)
    assert (seen.gpus, seen.notes) == ((), ("nvml: NVML Shared Library Not Found",))


def test_no_gpu_has_a_reason_too(tmp_path):
    assert gpus.gpus(Nvml(nvmlDeviceGetCount=lambda: 0), tmp_path).notes == ("nvml: lists no GPU",)
    seen = gpus.gpus(Nvml({"nvmlDeviceGetCount": UNKNOWN}), tmp_path)
    assert seen.notes == ("nvml: nvmlDeviceGetCount: error 999", "nvml: lists no GPU")


def test_a_lost_gpu_is_still_counted(tmp_path):
    def handle(index: int) -> int:
        if index == 1:
            raise Nvml.NVMLError(GPU_IS_LOST, "GPU is lost")
        return index

    first, lost = gpus.gpus(Nvml(nvmlDeviceGetHandleByIndex=handle), tmp_path).gpus
    assert first.name is not None
    assert lost == Gpu(1, notes=("nvmlDeviceGetHandleByIndex: GPU is lost",))


def test_an_older_driver_says_throttle_reasons(tmp_path):
    old = Nvml({"nvmlDeviceGetCurrentClocksEventReasons": 13})
    assert gpus.gpus(old, tmp_path).gpus[0].limits == ("hw_thermal",)


def test_an_older_binding_without_a_function_leaves_its_field_out(tmp_path):
    old = Nvml()
    for name in ("nvmlDeviceGetRemappedRows", "nvmlDeviceGetNvLinkState", "nvmlDeviceGetMigMode"):
        delattr(old, name)
    gpu = gpus.gpus(old, tmp_path).gpus[0]
    assert (gpu.ecc.remapped_corrected, gpu.ecc.remap_failed, gpu.nvlinks, gpu.mig) == (
        None,
        None,
        None,
        None,
    )
    assert gpu.ecc.volatile_corrected == 0


@pytest.mark.parametrize(
    ("mask", "limits"),
    [(0, ()), (8, ("hw_slowdown",)), (1 << 10, ("reliability",)), (1 << 40, ("unknown 0x10000000000",))],
)
def test_clock_limits_have_names(mask, limits, tmp_path):
    nvml = Nvml(nvmlDeviceGetCurrentClocksEventReasons=lambda gpu: mask)
    assert gpus.gpus(nvml, tmp_path).gpus[0].limits == limits


def test_an_unknown_compute_mode_is_said(tmp_path):
    seen = gpus.gpus(Nvml(nvmlDeviceGetComputeMode=lambda gpu: 9), tmp_path)
    assert seen.gpus[0].compute_mode == "unknown 9"


def test_a_refusal_that_means_trouble_is_a_note_and_its_field_is_absent(tmp_path):
    gpu = gpus.gpus(
        Nvml({"nvmlDeviceGetName": UNKNOWN, "nvmlDeviceGetPowerUsage": NOT_SUPPORTED}), tmp_path
    ).gpus[0]
    assert (gpu.name, gpu.power) == (None, None)
    assert gpu.notes == ("nvmlDeviceGetName: error 999",)


def test_nvml_is_closed_even_when_a_function_breaks(tmp_path):
    nvml = Nvml(nvmlDeviceGetName=lambda gpu: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        gpus.gpus(nvml, tmp_path)
    assert not nvml.open


@settings(max_examples=40)
@given(st.sets(st.sampled_from(FUNCTIONS)), st.sampled_from((NOT_SUPPORTED, UNKNOWN, GPU_IS_LOST)))
def test_whatever_nvml_refuses_is_absent_and_nothing_else(tmp_path_factory, refused, code):
    seen = gpus.gpus(Nvml(dict.fromkeys(refused, code)), tmp_path_factory.getbasetemp())
    assert len(seen.gpus) == (0 if "nvmlDeviceGetCount" in refused else 2)
    assert (seen.driver is None) == ("nvmlSystemGetDriverVersion" in refused)
    for gpu in seen.gpus:
        lost = "nvmlDeviceGetHandleByIndex" in refused
        assert (gpu.name is None) == (lost or "nvmlDeviceGetName" in refused)
        assert (gpu.memory_total is None) == (lost or "nvmlDeviceGetMemoryInfo" in refused)
        assert (gpu.ecc.volatile_corrected is None) == (lost or "nvmlDeviceGetTotalEccErrors" in refused)
        assert (gpu.pci is None) == (lost or "nvmlDeviceGetPciInfo" in refused)
