"""GPUs while they were measured: what is a fault, what is work, and what nobody saw."""

from dataclasses import replace

import runs
from bench.judge.verdicts import judge
from bench.model.run_folder_lines import GpuDuringCase, HealthLine, WorkerGpu
from bench.model.verdict import Status
from bench.store import load


def spell(**changes):
    usual = GpuDuringCase(
        case="collectives/all_reduce/1024/float32/sum/in",
        begun=5.0,
        samples=8,
        clock_sm=[1.755e9, 1.98e9],
        clock_memory=[2.6e9, 2.6e9],
        temperature=[31.0, 64.0],
        power=[120.0, 691.0],
    )
    return replace(usual, **changes)


def judged(tmp_path, *lines, backend="nccl"):
    run = load(runs.folder(tmp_path / "run", backend=backend))
    verdicts = judge(replace(run, health=lines), runs.LOCAL).verdicts
    return [verdict for verdict in verdicts if verdict.check == "gpus.throttled"]


def line(rank, *cases, note=""):
    gpu = WorkerGpu(rank, "H100", clock_sm_max=1.98e9)
    return HealthLine("collectives", rank, gpu, list(cases), note)


def test_gpus_that_nothing_held_pass(tmp_path):
    found = judged(tmp_path, line(0, spell()), line(1, spell()))
    assert [verdict.status for verdict in found] == [Status.PASS]
    assert "SM 1755 to 1980 MHz of at most 1980, 31 to 64 °C, 120 to 691 W" in found[0].evidence[0]


def test_a_throttled_gpu_is_named_with_reason_case_and_clocks(tmp_path):
    hot = spell(reasons={"hw_thermal": 6, "gpu_idle": 2}, clock_sm=[345e6, 1.1e9], temperature=[88.0, 91.0])
    found = judged(tmp_path, line(0, spell()), line(1, spell(), hot))
    assert [verdict.status for verdict in found] == [Status.FAIL]
    assert found[0].subject == "n0 GPU 1 (rank 1)"
    assert (
        "hw_thermal in 6 of 8 samples during collectives/all_reduce/1024/float32/sum/in" in found[0].measured
    )
    assert "SM 345 to 1100 MHz of at most 1980, 88 to 91 °C" in found[0].measured


def test_a_power_cap_is_work_and_is_told(tmp_path):
    capped = spell(reasons={"sw_power_cap": 8})
    found = judged(tmp_path, line(0, capped), line(1, spell()))
    assert [verdict.status for verdict in found] == [Status.PASS]
    assert "held by sw_power_cap" in found[0].evidence[0]


def test_a_gpu_that_nobody_looked_at_is_no_pass(tmp_path):
    found = judged(tmp_path, line(0, spell()), line(1, note="the module pynvml is not installed"))
    assert [verdict.status for verdict in found] == [Status.INCONCLUSIVE]
    assert "pynvml is not installed" in found[0].measured


def test_a_gpu_whose_reasons_nvml_hides_is_no_pass(tmp_path):
    silent = spell(silent=8)
    assert [verdict.status for verdict in judged(tmp_path, line(0, silent), line(1, silent))] == [
        Status.INCONCLUSIVE
    ]


def test_no_lines_at_all_are_no_pass(tmp_path):
    assert {verdict.status for verdict in judged(tmp_path)} == {Status.INCONCLUSIVE}


def test_without_gpus_there_is_nothing_to_throttle(tmp_path):
    assert [verdict.status for verdict in judged(tmp_path, backend="gloo")] == [Status.NOT_APPLICABLE]


def test_a_phase_in_which_nobody_looked_is_no_pass_although_others_were_seen(tmp_path):
    other = [replace(line(rank, spell()), phase="inside") for rank in (0, 1)]
    found = judged(tmp_path, *other)
    assert [verdict.status for verdict in found] == [Status.INCONCLUSIVE]
    assert "not known in collectives" in found[0].measured


def test_a_gpu_that_nvml_told_of_in_less_than_half_of_the_looks_is_no_pass(tmp_path):
    found = judged(tmp_path, line(0, spell(samples=8, silent=4)), line(1, spell(samples=8, silent=3)))
    assert [verdict.status for verdict in found] == [Status.INCONCLUSIVE]
    assert "n0 GPU 0 (rank 0)" in found[0].subject
