"""gpu-check's own judgement: what it makes of what its jobs left. No GPU is needed to test that."""

import contextlib
import importlib.util
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.model.measurement import Extra
from bench.model.run_folder_lines import GpuDuringCase, HealthLine, Loss, PhaseMark, WorkerGpu

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "ci" / "gpu"))

import card_items  # noqa: E402
import check  # noqa: E402
import comparisons  # noqa: E402
import endings  # noqa: E402
import gpu_jobs  # noqa: E402
import here as machine  # noqa: E402
import items  # noqa: E402
import job  # noqa: E402
import profiles  # noqa: E402

import runs  # noqa: E402
from bench.judge.verdicts import judge  # noqa: E402
from bench.model.facts import Gpu, Node, Port  # noqa: E402
from bench.model.profile import parse  # noqa: E402
from bench.model.verdict import Status, Verdict  # noqa: E402
from bench.plan import Job, Request, acceptance, sweep_cases  # noqa: E402
from bench.plan.single_node_phases import copies  # noqa: E402
from bench.store import load  # noqa: E402

TORCH = {"torch": "2.11.0", "cuda": "13.0", "gpus": 1, "names": ["NVIDIA H200"], "nccl": "2.28.9"}


def one_gpu(tmp_path, jobs=None, gpus=1, node=None):
    node = node or Node("n0", gpus=tuple(Gpu(i, clock_sm=1e9, limits=()) for i in range(gpus)))
    told = {**TORCH, "gpus": gpus, "names": ["NVIDIA H200"] * gpus}
    return machine.Here(tmp_path, time.monotonic() + 100, node, told, False, None, jobs or {})


def done(tmp_path, cases, change=lambda row: row, health=(), profile=runs.LOCAL, n=1):
    """A job that measured these cases; ``change`` is put to every measurement."""
    rows = [change(row) for case in cases for row in runs.measured(case)]
    folder = runs.folder(tmp_path / "job" / "run", rows, cases, where=runs.ranks(1, n), backend="nccl")
    run = replace(load(folder), health=tuple(health))
    return job.Done(tmp_path / "job", judge(run, profile).run)


COPIES = list(copies(Job(runs.LOCAL, runs.ranks(1, 1), "nccl")).cases)


def test_copies_that_are_right_are_seen_working(tmp_path):
    said = items.copies(one_gpu(tmp_path, {"gpus": done(tmp_path, COPIES)}))
    assert said.status == machine.SEEN
    assert "6 rows, 0 wrong; at 256 MiB: copy_device" in said.text


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"wrong": (3,)}, "3 wrong"),
        ({"wrong": (None,), "checked": 0}, "not checked"),
        ({"extra": Extra(failed="CUDA error"), "pipelined": ()}, "CUDA error"),
    ],
)
def test_copies_that_are_not_right_have_failed(tmp_path, change, why):
    job_done = done(tmp_path, COPIES, lambda row: replace(row, **change))
    said = items.copies(one_gpu(tmp_path, {"gpus": job_done}))
    assert said.status == machine.FAILED
    assert why in said.text


def test_a_job_that_left_nothing_has_failed_and_says_why(tmp_path):
    lost = job.Done(tmp_path, None, "no run folder; rank.0.log: CUDA out of memory")
    said = items.one_rank_a_gpu(one_gpu(tmp_path, {"gpus": lost}))
    assert (said.status, said.text) == (machine.FAILED, lost.trouble)


def test_a_collective_that_is_missing_has_failed(tmp_path):
    cases = sweep_cases("collectives", Request("all_reduce", 4096, 4096), ((0,),))
    said = items.one_rank_a_gpu(one_gpu(tmp_path, {"gpus": done(tmp_path, cases)}))
    assert said.status == machine.FAILED
    assert "not measured: all_gather" in said.text


def test_what_one_gpu_cannot_show_is_named_with_the_reason(tmp_path):
    here = one_gpu(tmp_path, {"gpus": done(tmp_path, COPIES)})
    assert items.links(here).status == comparisons.against_nccl_tests(here).status == machine.NOT_POSSIBLE
    assert "1 GPU: NVLink joins two" in items.links(here).text


def test_a_torch_that_cannot_register_buffers_is_no_failure(tmp_path):
    cases = sweep_cases("registered", Request("all_reduce", 4096, 4096, algorithm="registered"), ((0,),))
    job_done = done(
        tmp_path, cases, lambda row: replace(row, extra=Extra(failed="torch 2.3 has no register_mem_pool"))
    )
    said = items.registered(one_gpu(tmp_path, {"shared": job_done}))
    assert (said.status, said.text) == (machine.NOT_POSSIBLE, "torch 2.3 has no register_mem_pool")


def test_clocks_that_nobody_saw_have_failed(tmp_path):
    said = items.clocks(one_gpu(tmp_path, {"gpus": done(tmp_path, COPIES)}))
    assert said.status == machine.FAILED


def test_clocks_that_were_seen_are_told(tmp_path):
    spell = GpuDuringCase(
        COPIES[0].id, 0.0, samples=4, clock_sm=[1.9e9, 1.98e9], temperature=[40.0, 41.0], power=[100.0, 500.0]
    )
    line = HealthLine("copies", 0, WorkerGpu(0, clock_sm_max=1.98e9), [spell])
    said = items.clocks(one_gpu(tmp_path, {"gpus": done(tmp_path, COPIES, health=[line])}))
    assert said.status == machine.SEEN
    assert "4 looks at 1 cases; PASS" in said.text


def test_gpus_that_nvml_does_not_show_have_failed(tmp_path):
    said = items.nvml(one_gpu(tmp_path, gpus=2, node=Node("n0", gpus=(Gpu(0),))))
    assert said.status == machine.FAILED


def without(monkeypatch, *names):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in names else found(name))


@pytest.mark.torch
def test_without_pynvml_only_what_needs_nvml_is_not_possible(tmp_path, monkeypatch):
    without(monkeypatch, "pynvml")
    _, reason = machine.look(tmp_path / "new", time.monotonic() + 100, False, None, lambda: TORCH)
    assert reason == ""
    bare = one_gpu(tmp_path, {"gpus": done(tmp_path, COPIES)}, node=Node("n0"))
    for item in (items.nvml, items.clocks):
        assert (item(bare).status, item(bare).text) == (machine.NOT_POSSIBLE, "no pynvml (nvidia-ml-py)")
    assert items.machine(bare).status == items.copies(bare).status == machine.SEEN


def test_an_nvml_that_does_not_open_is_named_with_its_own_words(tmp_path, monkeypatch):
    note = "nvml: NVML Shared Library Not Found"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    said = items.nvml(one_gpu(tmp_path, node=Node("n0", notes=("x", note))))
    assert (said.status, said.text) == (machine.NOT_POSSIBLE, note)


def test_what_a_layer_cannot_tell_is_not_possible_here_and_says_why(tmp_path):
    def job_done(*statuses):
        verdicts = tuple(
            Verdict("exclusion.bytes", f"n{at}", each, "no counters: /sys is hidden", "none", "x")
            for at, each in enumerate(statuses)
        )
        run = replace(done(tmp_path / "".join(each.name for each in statuses), COPIES).run, verdicts=verdicts)
        return job.Done(tmp_path, run)

    item = items.layer("exclusion.bytes")
    said = item(one_gpu(tmp_path, {"shared": job_done(Status.PASS, Status.INCONCLUSIVE)}))
    assert said.status == machine.NOT_POSSIBLE
    assert said.text == "exclusion.bytes INCONCLUSIVE: n1: no counters: /sys is hidden"
    assert item(one_gpu(tmp_path, {"shared": job_done(Status.PASS)})).status == machine.SEEN
    both = job_done(Status.INCONCLUSIVE, Status.FAIL)
    assert item(one_gpu(tmp_path, {"shared": both})).status == machine.FAILED


def test_infiniband_needs_a_port_to_exclude_and_one_to_use(tmp_path):
    node = Node("n0", ports=(Port("mlx5_0", 1, state="ACTIVE", link_layer="InfiniBand"),))
    said = items.exclusion_infiniband(one_gpu(tmp_path, node=node))
    assert (said.status, said.text[:31]) == (machine.NOT_POSSIBLE, "1 active InfiniBand ports: one ")


def test_an_item_that_breaks_has_failed_and_the_others_go_on(tmp_path):
    def broken(here):
        raise KeyError("surprise")

    status, text, _ = check._one(one_gpu(tmp_path), broken)
    assert (status, text) == (machine.FAILED, "broke: KeyError: 'surprise' (broken.log)")


def test_an_item_for_which_no_time_is_left_is_no_success(tmp_path):
    here = one_gpu(tmp_path)
    here.deadline = time.monotonic()
    assert check._one(here, items.machine)[0] == machine.FAILED


@pytest.mark.parametrize(
    "text",
    [
        profiles.every_gpu("nccl"),
        profiles.shared_gpu("nccl", "socket", ["lo"], ["eth0"], gpu_jobs.OVER_SOCKETS),
        profiles.shared_gpu("nccl", "infiniband", ["mlx5_1/1"], ["mlx5_0"], {"NCCL_IB_HCA": "^=mlx5_0"}),
    ],
)
def test_the_profiles_are_profiles(text):
    profile = parse(text, "gpu-check")
    phases, _ = acceptance(Job(profile, runs.ranks(1, 2), "nccl"), 0.4)
    assert {"evidence", "collectives", "pairs"} <= {phase.name for phase in phases}


def test_all_phases_of_a_gpu_are_in_the_job_of_every_gpu():
    phases, _ = acceptance(Job(parse(profiles.every_gpu("nccl"), "x"), runs.ranks(1, 1), "nccl"), 0.4)
    assert {"evidence", "copies", "collectives", "registered"} == {phase.name for phase in phases}


def test_graphs_of_one_gpu_are_those_of_two_ranks_that_share_it():
    text = profiles.shared_gpu("nccl", "socket", ["lo"], [], gpu_jobs.OVER_SOCKETS)
    phases, _ = acceptance(Job(parse(text, "x"), runs.ranks(2, 1), "nccl"), 0.4)
    assert {"graphs", "registered"} <= {phase.name for phase in phases}


@pytest.mark.parametrize(
    ("gpus", "visible", "shown"),
    [(1, None, "000"), (2, None, "010"), (8, None, "012"), (2, "5,3", "535"), (1, "5", "555")],
)
def test_three_ranks_have_a_gpu_each_as_far_as_there_are_gpus(tmp_path, monkeypatch, gpus, visible, shown):
    """On two GPUs a third local rank would have none."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    each = [gpu_jobs.on_gpu(one_gpu(tmp_path, gpus=gpus))(rank) for rank in range(3)]
    assert "".join(one["CUDA_VISIBLE_DEVICES"] for one in each) == shown
    assert len({one["NCCL_HOSTID"] for one in each}) == 3


def test_what_another_phase_lost_is_not_held_against_these_rows(tmp_path):
    job_done = done(tmp_path, COPIES)
    (phase,) = {row.case.phase for row in job_done.rows}

    def said(case: str) -> str:
        lost = replace(job_done.run, losses=(Loss(case, "rank 0 did not join"),))
        return items.copies(one_gpu(tmp_path, {"gpus": replace(job_done, run=lost)})).status

    assert said("graphs/all_reduce/8") == machine.SEEN
    assert said(f"{phase}/copy_device/8") == machine.FAILED


def test_what_was_done_before_its_job_was_ended_for_time_counts(tmp_path):
    job_done = replace(done(tmp_path, COPIES), trouble="not done within 150 s and ended")
    (phase,) = {row.case.phase for row in job_done.rows}

    def said(*marks: PhaseMark) -> str:
        run = replace(job_done.run, phases=marks)
        return items.copies(one_gpu(tmp_path, {"gpus": replace(job_done, run=run)})).status

    assert said(PhaseMark(phase, "begin"), PhaseMark(phase, "end")) == machine.SEEN
    assert said(PhaseMark(phase, "begin")) == machine.FAILED


@pytest.mark.parametrize(
    ("mode", "gpus", "started"), [("exclusive process", 1, 0), ("exclusive process", 2, 1), ("default", 1, 1)]
)
def test_ranks_that_may_not_share_a_gpu_are_not_possible_here(tmp_path, monkeypatch, mode, gpus, started):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    asked = []
    monkeypatch.setattr(
        job, "run", lambda one, out, seconds: asked.append(one) or job.Done(tmp_path, None, "stop")
    )
    node = Node("n0", gpus=tuple(Gpu(i, compute_mode=mode) for i in range(gpus)))
    outcome = check._one(one_gpu(tmp_path, gpus=gpus, node=node), items.hang_named("all_reduce"))
    assert len(asked) == started
    assert outcome[0] == (machine.FAILED if started else machine.NOT_POSSIBLE)
    assert started or "exclusive process: one process each" in outcome[1]


def test_who_gives_more_seconds_gives_them_to_each_job(tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(job, "run", lambda one, out, seconds: given.append(seconds))
    here = one_gpu(tmp_path)
    for here.patience in (0.5, 3.0):
        here.jobs.clear()
        here.job(job.Asked("x", 1, ""), 30.0)
    assert given[0] == 15.0
    assert 30.0 < given[1] <= 90.0


def test_memory_must_be_taken_and_the_lack_of_it_named(tmp_path, monkeypatch):
    run = done(tmp_path, COPIES).run
    lost = replace(
        run, losses=(Loss("x", "rank 0: OutOfMemoryError: CUDA out of memory. Tried to allocate 4 GiB"),)
    )

    def said(answer: bytes, run) -> items.Said:
        @contextlib.contextmanager
        def beside(log, *words, **environment):
            reader, writer = os.pipe()
            os.write(writer, answer)
            os.close(writer)
            with os.fdopen(reader, "rb") as stdout:
                yield SimpleNamespace(stdin=io.BytesIO(), stdout=stdout)

        def played(asked, out, seconds):
            (out / "memory" / "run").mkdir(parents=True, exist_ok=True)
            (out / "memory" / "run" / "journal.jsonl").write_text("")
            assert not asked.disturb([1, 2])
            (out / "memory" / "run" / "journal.jsonl").write_text('{"kind":"phase","state":"begin"}')
            assert asked.disturb([1, 2])
            assert asked.sweeps[0]["begin"] == 8 << 30
            return job.Done(tmp_path, run)

        monkeypatch.setattr(card_items, "beside", beside)
        monkeypatch.setattr(job, "run", played)
        node = Node("n0", gpus=(Gpu(0, memory_free=79 << 30),))
        return endings.out_of_memory(one_gpu(tmp_path, node=node), gpu_jobs.on_gpu, {})

    assert said(b"held\n", lost).status == machine.SEEN
    other = replace(run, losses=(Loss("x", "rank 0: an illegal memory access"),))
    assert said(b"held\n", run).status == said(b"held\n", other).status == machine.FAILED
    assert "could not be taken" in said(b"", lost).text
    assert endings.out_of_memory(one_gpu(tmp_path), gpu_jobs.on_gpu, {}).status == machine.NOT_POSSIBLE


def test_whoever_ends_it_has_the_archive(tmp_path, monkeypatch):
    """A signal between two items: what was seen until then is packed."""
    seen = machine.Here(tmp_path / "out", time.monotonic() + 99, Node("n0"), TORCH, True, None)
    (tmp_path / "out").mkdir()
    monkeypatch.setattr(check, "look", lambda *words: (seen, ""))
    monkeypatch.setattr(sys, "argv", ["check.py"])
    items_ = (("one", lambda here: machine_said), ("two", lambda here: os.kill(os.getpid(), signal.SIGTERM)))
    machine_said = items.Said(machine.SEEN, "well")
    monkeypatch.setattr(items, "ITEMS", items_)
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(KeyboardInterrupt):
            check.main()
    finally:
        signal.signal(signal.SIGTERM, before)
    with tarfile.open(tmp_path / "out.tar.gz") as archive:
        assert json.load(archive.extractfile("out/summary.json"))["items"][0]["item"] == "one"


def test_a_command_that_is_too_late_is_ended_with_all_that_it_started(tmp_path):
    script = "import os, subprocess, sys; subprocess.run([sys.executable, '-c', 'import os, time; print(os.getpid(), "
    script += "flush=True); time.sleep(600)'])"
    status, said = job.finish([sys.executable, "-c", script], tmp_path / "log", 8.0)
    assert status is None
    deadline = time.monotonic() + 60
    while Path(f"/proc/{int(said)}/cmdline").exists() and Path(f"/proc/{int(said)}/cmdline").read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_reason_of_a_hang_must_name_the_rank_that_was_stopped(tmp_path):
    measured = done(tmp_path, COPIES).run

    def said(reason: str) -> str:
        run = replace(measured, losses=(Loss("collectives/x", reason),))
        here = one_gpu(tmp_path, {"hung-all_reduce": job.Done(tmp_path, run)})
        return items.hang_named("all_reduce")(here).status

    named = "n0 (rank 1) is stopped (state T)"
    assert said(f"{named}; torch's recorder: rank 0 waits in all_reduce 7") == machine.SEEN
    assert said(named) == said("nothing moves") == machine.FAILED


def test_two_ranks_on_one_gpu_must_be_refused_by_name(tmp_path):
    measured = done(tmp_path, COPIES).run

    def said(reason: str) -> str:
        run = replace(measured, losses=(Loss("collectives/x", reason),))
        return items.duplicate_named(one_gpu(tmp_path, {"duplicate": job.Done(tmp_path, run)})).status

    assert said("DistBackendError: Duplicate GPU detected : rank 1 and rank 0") == machine.SEEN
    assert said("nothing moves") == machine.FAILED


def test_gpus_that_torch_alone_shows_are_not_nvmls(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    notes = ("nvml: Driver Not Loaded", "nvml: shows no GPU, and torch 1: these are used")
    assert one_gpu(tmp_path, node=Node("n0", gpus=(Gpu(0),), notes=notes)).no_nvml == notes[0]


def test_the_archive_holds_the_summary(tmp_path):
    (out := tmp_path / "out").mkdir()
    (out / "summary.json").write_text("{}")
    with tarfile.open(check._packed(out)) as archive:
        assert archive.getnames() == ["out", "out/summary.json"]


def test_without_a_gpu_it_says_so(tmp_path):
    told = {**TORCH, "gpus": 0, "names": []}
    _, reason = machine.look(tmp_path / "new", time.monotonic() + 9, False, None, lambda: told)
    assert reason.startswith(("no GPU here: torch 2.11.0 sees none", sys.executable))
    assert not (tmp_path / "new").exists()


@pytest.mark.torch
def test_on_this_machine_the_command_ends_with_3_where_there_is_no_gpu(tmp_path):
    if Path("/dev/nvidiactl").exists():
        pytest.skip("there is a GPU here")
    found = subprocess.run(
        [str(ROOT / "ci" / "gpu-check"), "--out", str(tmp_path / "out")],
        env={"PATH": "/usr/bin:/bin", "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert found.returncode == 3, found.stderr
    assert "no GPU here" in found.stdout


def test_the_summary_is_kept_with_every_item(tmp_path):
    outcome = check.Outcome("copies", machine.SEEN, "well", 1.0)
    check._write(one_gpu(tmp_path), [outcome], 2.0)
    assert json.loads((tmp_path / "summary.json").read_text())["items"][0]["status"] == "seen working"


RATES = {"name": "NVIDIA H200", "bytes": 1 << 30, "copies": 20, "events": 0.0107, "host": 0.0108}


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({}, machine.SEEN, "83.6 % of the H200 datasheet's 4800.0 GB/s"),
        ({"host": 0.0150}, machine.FAILED, "the clocks differ"),
        ({"host": float("nan")}, machine.FAILED, "the clocks differ"),
        ({"events": 0.0080, "host": 0.0080}, machine.FAILED, "datasheet"),  # faster than its memory can be
        ({"events": 0.0300, "host": 0.0301}, machine.FAILED, "29.8 %"),
        ({"name": "NVIDIA GH200 480GB"}, machine.SEEN, "no datasheet of NVIDIA GH200 480GB is known"),
        (
            {"name": "NVIDIA H100 80GB HBM3 MIG 1g.10gb", "events": 0.09, "host": 0.09},
            machine.SEEN,
            "no datasheet",
        ),
        ({"name": "NVIDIA L40", "events": 0.06, "host": 0.06}, machine.SEEN, "the L40 datasheet"),
        ({"name": "NVIDIA X1"}, machine.SEEN, "no datasheet of NVIDIA X1 is known"),
        ({"name": "NVIDIA H100 PCIe", "events": 0.0240, "host": 0.0241}, machine.SEEN, "H100 PCIe datasheet"),
    ],
)
def test_a_copy_is_held_against_the_datasheet_and_events_against_the_host(change, status, words):
    said = card_items.judge_rates({**RATES, **change})
    assert (said.status, words in said.text) == (status, True), said.text


def test_the_end_of_a_worker_must_be_named_with_its_cause(tmp_path):
    measured = done(tmp_path, COPIES).run

    def said(*reasons: str) -> str:
        run = replace(measured, losses=tuple(Loss("collectives/x", reason) for reason in reasons))
        return endings.named(job.Done(tmp_path, run), ("rank 1", "SIGKILL")).status

    assert said("x", "the worker of rank 1 ended by signal 9 (SIGKILL)") == machine.SEEN
    assert said("rank 1 is gone", "SIGKILL somewhere") == said() == machine.FAILED
    assert endings.named(job.Done(tmp_path, None, "no folder"), ()).text == "no folder"
