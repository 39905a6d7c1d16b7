"""ci/lab/control and ci/lab/schedules.py: what they would measure, without starting a job."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path

import numpy as np
import pytest

import runs
from bench.measure.loop import TimingRules
from bench.measure.work_order import WorkOrder
from bench.model import typed_json
from bench.model.case_templates import digest, unpacked
from bench.model.profile import load
from bench.plan import Job, acceptance
from bench.supervise.phase_orders import start_messages

LAB = Path(__file__).parents[2] / "ci" / "lab"
CONTROL = LAB / "control"


def script(name: str):
    loader = SourceFileLoader(f"lab_{name}", str(LAB / name))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules[loader.name] = module
    loader.exec_module(module)
    return module


control = script("control")


def order_bytes(nodes: int) -> float:
    """Bytes of what begins the rails phase, a rank."""
    ranks = runs.ranks(nodes, 8)
    phase = control.rails_phase(8 * nodes, 2)
    plain = WorkOrder("", (), 0, 8 * nodes, 0, "nccl", "10.0.0.1", 90.0, TimingRules(), 2)
    sent = start_messages(plain, phase, phase.cases, ranks, {rank.node: {} for rank in ranks})
    return sum(len(json.dumps(message)) for _, message in sent) / len(ranks)


def test_an_order_is_as_long_at_any_number_of_nodes():
    assert order_bytes(16) / order_bytes(2) < 1.1


def test_every_rank_makes_all_cases_of_the_description():
    ranks = runs.ranks(5, 2)
    phases, _ = acceptance(Job(load("lambda-1cc-h100"), ranks, "nccl"), 1.0)
    plain = WorkOrder("", (), 0, 10, 0, "nccl", "10.0.0.1", 90.0, TimingRules(), 2)
    for phase in phases:
        sent = list(start_messages(plain, phase, phase.cases, ranks, {rank.node: {} for rank in ranks}))
        assert [to for to, _ in sent] == list(range(10))
        for _, message in sent:
            order = typed_json.load(WorkOrder, json.loads(json.dumps(message["order"])))
            assert unpacked(order.cases) == phase.cases
            assert digest(unpacked(order.cases)) == digest(phase.cases)


def test_a_paper_worker_is_ready_and_reports_the_rows_of_the_pairs_that_it_leads():
    ranks, phase = runs.ranks(4, 8), control.rails_phase(32, 2)
    plain = WorkOrder("", (), 0, 32, 0, "nccl", "10.0.0.1", 90.0, TimingRules(), 2)
    sent = dict(start_messages(plain, phase, phase.cases, ranks, {rank.node: {} for rank in ranks}))
    said = []
    for rank in (0, 31):
        worker = control.PaperWorker(sent[rank]["order"], {}, Path(), None)
        if rank:
            worker.send({"port": 1})
        control.GO[0] = 1
        said.append([each["kind"] for _ in range(4) for each in worker.receive()])
        assert worker.ended() == 0
    # of a pair one rank leads both ways and there, the other leads back
    assert [each.count("measurement") for each in said] == [4, 2]
    assert [each.count("ready") for each in said] == [1, 1]


def test_the_power_of_a_growth_is_read_from_all_sizes():
    row = dict.fromkeys(control.Cost.__dataclass_fields__, 1)
    rows = [control.Cost(**{**row, "ranks": n, "round": n**2, "start": 3 * n}) for n in (8, 64, 512)]
    found = control.powers(rows)
    assert [round(found[name], 6) for name in ("round", "start", "memory")] == [2, 1, 0]


def test_a_size_that_does_not_fit_is_not_run_and_that_is_said():
    done = subprocess.run(
        [sys.executable, str(CONTROL), "--json", "--ranks", "80000000"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 3
    told = json.loads(done.stdout)
    assert told["rows"] == []
    assert "do not fit" in told["not_run"][0]


@pytest.mark.parametrize("words", [["--ranks", "7"], ["--ranks", "0"], ["--rounds", "0"]])
def test_sizes_that_are_none_are_wrong_usage(words):
    done = subprocess.run([sys.executable, str(CONTROL), *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2


@pytest.mark.parametrize("nodes", [2, 4])
def test_whole_runs_of_paper_name_what_was_planted_and_stay_silent_when_healthy(monkeypatch, nodes):
    monkeypatch.syspath_prepend(str(LAB))
    import schedules
    import simulate

    where = simulate.cluster(nodes, 2)
    random = np.random.default_rng(3)
    truth = [simulate.plant(random, where, "port", 0.2)]
    answer, again = schedules.as_run(random, where, truth, simulate.GAUSS)
    assert [row.subject for row in answer.named] == [truth[0].subject]
    assert again
    answer, _ = schedules.as_run(random, where, [], simulate.GAUSS)
    assert answer.named == ()


def test_a_screening_of_paper_finds_a_path_on_a_ring_and_not_one_elsewhere(monkeypatch):
    monkeypatch.syspath_prepend(str(LAB))
    import schedules
    import simulate
    from bench.judge.blame import Subject

    where, random = simulate.cluster(16, 2), np.random.default_rng(3)
    near = simulate.Truth(Subject("path", "n001", "n002", "mlx5_1"), 0.2)
    far = simulate.Truth(Subject("path", "n000", "n015", "mlx5_1"), 0.2)
    assert schedules.can_be_found(where, near)
    assert not schedules.can_be_found(where, far)
    last, _ = schedules.screen(random, where, [near], simulate.GAUSS)
    assert [schedules.subject_of(found) for found in last.findings] == [near.subject]
    last, _ = schedules.screen(random, where, [far], simulate.GAUSS)
    assert last.findings == ()
