"""The soak's section: what the charts show, and that a run without a soak has none."""

import json
from dataclasses import replace

import pytest

import runs
from bench.judge.evidence import Evidence
from bench.model.measurement import Window
from bench.model.profile import Limit
from bench.model.run_folder_lines import GpuDuringCase, HealthLine, WorkerGpu
from bench.model.verdict import Bound
from bench.plan import Request, sweep_cases
from bench.store import load
from reports.charts import CHARTS
from reports.frames import frames

CASE = sweep_cases("soak", Request("all_reduce", 1 << 20, 1 << 20), ((0, 1),))[0]
SOAK = [chart for chart in CHARTS if chart.section == "soak"]


def soak(tmp_path, errors=(), changes=()):
    windows = [
        Window(5.0 * (i + 1), (1e-3, 0.9e-3), 2e-3, 1e-3, 10, (0, 0), 2 * CASE.count, CASE.id, (0, 1))
        for i in range(4)
    ]
    spell = GpuDuringCase(CASE.id, 0.0, changes=list(changes))
    memory = [(0.0, 100 << 20, 50 << 20), (1.0, 101 << 20, 50 << 20)]
    lines = [
        HealthLine("soak", 0, WorkerGpu(3), [spell], memory=memory, errors=list(errors)),
        HealthLine("soak", 1, memory=[(0.0, 300 << 20, 40 << 20)]),
    ]
    run = load(runs.folder(tmp_path / "run", planned=[CASE]))
    return frames(Evidence(replace(run, windows=tuple(windows), health=tuple(lines)), runs.LOCAL))


def test_a_window_is_a_point_and_its_slowest_block_the_band(tmp_path):
    f = soak(tmp_path)
    # 2 ranks: factor 1, so busbw is size / seconds
    assert list(f.soak["busbw"]) == pytest.approx([(1 << 20) / 1e-3 / 1e9] * 4)
    assert list(f.soak["slowest"]) == pytest.approx([(1 << 20) / 2e-3 / 1e9] * 4)
    assert list(f.soak["seconds"]) == [5.0, 10.0, 15.0, 20.0]


def test_memory_is_that_of_the_largest_process(tmp_path):
    f = soak(tmp_path)
    worker = f.memory[f.memory["process"] == "worker"]
    assert list(worker["mib"]) == [300, 101]


def test_errors_and_throttling_stand_at_their_time(tmp_path):
    f = soak(tmp_path, [[30.0, "mlx5_3/1 symbol_error", 12]], [[7.5, ["hw_thermal"]], [9.0, ["gpu_idle"]]])
    assert list(f.events.itertuples(index=False, name=None)) == [
        (7.5, "n0 GPU 3: hw_thermal"),
        (30.0, "n0: mlx5_3/1 symbol_error +12"),
    ]


def test_the_charts_are_drawn_and_described(tmp_path):
    f = soak(tmp_path, [[30.0, "mlx5_3/1 symbol_error", 12]])
    assert {"soak-bandwidth", "soak-memory"} <= {chart.name for chart in SOAK}
    for chart in SOAK:
        assert chart.draw(f).to_dict()["title"]["text"] == chart.title
        assert chart.about(f)
    assert "4 windows over 20 s" in next(chart for chart in SOAK if chart.name == "soak-bandwidth").about(f)


def test_a_run_without_a_soak_draws_none(tmp_path):
    f = frames(Evidence(load(runs.folder(tmp_path / "run")), runs.LOCAL))
    assert SOAK and not any(chart.draw(f) for chart in SOAK)


def test_the_floor_of_the_profile_is_ruled(tmp_path):
    f = soak(tmp_path)
    assert f.soak["floor"].isna().all()
    limit = Limit("all_reduce", "busbw", Bound(0.5e9, "0.5 GB/s", "a source"))
    run = load(tmp_path / "run")
    window = Window(5.0, (1e-3, 0.9e-3), 2e-3, 1e-3, 10, (0, 0), 2 * CASE.count, CASE.id, (0, 1))
    f = frames(Evidence(replace(run, windows=(window,)), replace(runs.LOCAL, limits=(limit,))))
    assert list(f.soak["floor"]) == [0.5]
    (chart,) = (each for each in SOAK if each.name == "soak-bandwidth")
    assert "floor 0.5 GB/s" in json.dumps(chart.draw(f).to_dict())
