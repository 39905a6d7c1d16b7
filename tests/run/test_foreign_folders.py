"""A run folder that somebody else made, or changed: what it says is neither run nor written by who resumes it."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace

import pytest

import mpi_jobs
import runs
from bench.plan import AcceptOptions, Job, acceptance
from bench.plan.budget import CUTS, without
from bench.run.resume import OtherRun, ResumeRefused, check_own, planned_anew
from bench.store import COUNTERS, HEALTH, JOURNAL, MANIFEST, PLAN, Recorder, RunError, load
from bench.store.owner_seal import SEAL, not_own
from bench.store.sums import SUMS
from bench.store.user_state import state_folder

EVIL = {"LD_PRELOAD": "/nowhere/evil.so"}


def rewrite(path, name, change):
    """A JSON file of the folder, changed as its sender would."""
    data = json.loads((path / name).read_text())
    change(data)
    (path / name).write_text(json.dumps(data))


def cut_short(path):
    """The folder as if its run had been killed in its last case."""
    lines = (path / JOURNAL).read_text().splitlines(keepends=True)
    rows = [json.loads(line) for line in lines]
    last = max(at for at, row in enumerate(rows) if row["kind"] == "measurement")
    kept = [line for at, line in enumerate(lines) if at != last and rows[at]["kind"] != "end"]
    (path / JOURNAL).write_text("".join(kept))
    (path / SUMS).unlink(missing_ok=True)  # they are written when a run has ended


def test_the_folder_that_a_user_made_is_the_users_own_wherever_it_is_moved(tmp_path):
    runs.folder(tmp_path / "run").rename(tmp_path / "moved")
    assert not_own(tmp_path / "moved") == ""
    check_own(load(tmp_path / "moved"), trust=False)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        (PLAN, lambda plan: plan["phases"][0].update(environment=EVIL)),
        (MANIFEST, lambda manifest: manifest.update(command=["railgauge", "run", "all_gather"])),
        (MANIFEST, lambda manifest: manifest.update(profile_text="[environment]")),
    ],
)
def test_a_folder_whose_plan_or_manifest_was_changed_is_not_the_users_own(tmp_path, name, change):
    path = runs.folder(tmp_path / "run")
    rewrite(path, name, change)
    assert "was changed after your run" in not_own(path)
    with pytest.raises(OtherRun, match=r"may not be your own: .* railgauge resume --trust") as told:
        check_own(load(path), trust=False)
    assert told.value.exit_status == 2
    check_own(load(path), trust=True)


def test_a_folder_of_another_user_is_not_the_users_own(tmp_path, monkeypatch):
    path = runs.folder(tmp_path / "run")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another"))
    assert not_own(path) == "you have made no run here yet"
    runs.folder(tmp_path / "mine")
    assert "its seal is not yours" in not_own(path)
    (path / SEAL).unlink()
    assert not_own(path) == "it has no seal of yours"
    (path / SEAL).write_text("[" * 10)
    assert not_own(path) == "it has no seal of yours"
    monkeypatch.setattr(os, "getuid", lambda: 123456)
    assert not_own(path) == f"{path} belongs to another user"


@pytest.mark.parametrize("name", ["", MANIFEST, PLAN])
def test_a_link_to_what_a_user_made_is_not_the_users_own(tmp_path, name):
    path = runs.folder(tmp_path / "run")
    link = path / name if name else tmp_path / "link"
    if name:
        link.rename(tmp_path / name)
    link.symlink_to(tmp_path / (name or "run"))
    assert not_own(path if name else link) == f"{link} is a link"


def test_no_key_is_looked_for_in_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_STATE_HOME", "state")
    assert state_folder() == tmp_path / "home" / ".local" / "state" / "railgauge"


def test_a_key_that_others_can_read_seals_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    path = runs.folder(tmp_path / "run")
    key = tmp_path / "railgauge" / "folders.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert not_own(path) == ""
    key.chmod(0o640)
    assert not_own(path) == "you have made no run here yet"
    key.chmod(0o600)
    key.rename(tmp_path / "real")
    key.symlink_to(tmp_path / "real")
    assert not_own(path) == "you have made no run here yet"


def test_a_run_that_is_killed_between_its_seal_and_its_plan_is_still_the_users_own(tmp_path, monkeypatch):
    path = runs.folder(tmp_path / "run")
    run = load(path)
    rename = os.replace

    def killed(old, new, **folders):
        if new != SEAL:
            raise OSError(errno.EIO, "killed")
        rename(old, new, **folders)

    monkeypatch.setattr(os, "replace", killed)
    with Recorder(path, again=True) as recorder, pytest.raises(RunError, match=r"plan\.json"):
        recorder.plan(replace(run.plan, phases=()))
    assert not_own(path) == ""


def test_without_a_home_there_is_no_seal_and_the_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setattr("pathlib.Path.home", staticmethod(no_home))
    path = runs.folder(tmp_path / "run")
    assert load(path).measurements and not (path / SEAL).exists()


def no_home():
    raise RuntimeError("no home")


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("/tmp/escaped", "phases[0].name"),
        ("../escaped", "phases[0].name"),
        ("", "phases[0].name"),
        (".hidden", "phases[0].name"),
        ("two\nlines", "phases[0].name"),
    ],
)
def test_a_phase_that_is_called_as_a_path_is_refused_where_it_is_read(tmp_path, name, place):
    path = runs.folder(tmp_path / "run")
    rewrite(path, PLAN, lambda plan: plan["phases"][0].update(name=name))
    with pytest.raises(RunError, match="is damaged: plan.json") as told:
        load(path)
    assert place in str(told.value)


@pytest.mark.parametrize("name", ["/x/y", "run/../../x", "run//x", "two\nlines", "x" * 500])
def test_a_case_that_is_called_as_a_path_is_refused_where_it_is_read(tmp_path, name):
    path = runs.folder(tmp_path / "run")
    rewrite(path, PLAN, lambda plan: plan["phases"][0]["cases"][0].update(id=name))
    with pytest.raises(RunError, match=r"is damaged: plan.json: .*id"):
        load(path)


@pytest.mark.parametrize("name", ["/x/y", "..", "", "two\nlines"])
def test_a_run_that_is_called_as_no_folder_can_be_is_refused(tmp_path, name):
    path = runs.folder(tmp_path / "run")
    rewrite(path, MANIFEST, lambda manifest: manifest.update(id=name))
    with pytest.raises(RunError, match=r"manifest.*id"):
        load(path)


@pytest.mark.parametrize(
    ("file", "row"),
    [
        (JOURNAL, {"kind": "phase", "time": 1.0, "name": "/x", "state": "begin", "cases": 1}),
        (JOURNAL, {"kind": "joined", "time": 1.0, "phase": "/x", "ranks": 1, "seconds": {}, "versions": {}}),
        (COUNTERS, {"phase": "/x", "when": "before", "snapshots": []}),
        (HEALTH, {"phase": "/x", "rank": 0}),
    ],
)
def test_a_line_that_names_a_path_as_its_phase_is_refused(tmp_path, file, row):
    path = runs.folder(tmp_path / "run")
    with (path / file).open("a") as opened:
        opened.write(json.dumps(row) + "\n")
    with pytest.raises(RunError, match=f"is damaged: {file} line"):
        load(path)


def planned(path, skipped=(), **changes):
    """A folder of an acceptance run, and its phases as they are planned now."""
    where = runs.ranks(2, 2)
    asked = AcceptOptions(**changes)
    job = without(Job(runs.LOCAL, where, "nccl", accept=asked), skipped)
    phases, _ = acceptance(Job(job.profile, where, "nccl", job.accept), 1.0)
    runs.folder(path, [], [case for phase in phases for case in phase.cases], where)
    return phases


def test_what_a_worker_gets_is_planned_anew_whatever_the_folder_says(tmp_path):
    phases = planned(tmp_path / "run")
    ring = next(phase for phase in phases if phase.name == "ring")
    assert ring.environment == {"NCCL_ALGO": "Ring"}
    for name in ("ring", "collectives"):
        rewrite(
            tmp_path / "run",
            PLAN,
            lambda plan, name=name: next(row for row in plan["phases"] if row["name"] == name).update(
                environment=EVIL, rules={"budget": 1e9}, title="x"
            ),
        )
    plan = planned_anew(load(tmp_path / "run"), phases)
    assert {phase.name: (phase.environment, phase.rules) for phase in plan.phases} == {
        phase.name: (phase.environment, phase.rules) for phase in phases
    }
    assert [phase.cases for phase in plan.phases] == [phase.cases for phase in phases]


def test_a_follow_up_of_the_folder_has_no_environment_and_no_message_of_its_own(tmp_path):
    phases = planned(tmp_path / "run")
    rails = next(phase for phase in phases if phase.name == "rails")
    case = replace(rails.cases[0], id="suspects-2/test-0/there", phase="suspects-2")
    more = replace(rails, name="suspects-2", cases=(case,), environment=EVIL)
    run = load(tmp_path / "run")
    run = replace(run, plan=replace(run.plan, phases=(*run.plan.phases, more)))
    (again,) = (phase for phase in planned_anew(run, phases).phases if phase.name == "suspects-2")
    assert again.cases == (case,) and again.environment == {} and again.rules["budget"] < 1
    for strange in (replace(more, name="suspects-x"), replace(more, cases=(replace(case, size=1 << 50),))):
        wrong = replace(run, plan=replace(run.plan, phases=(strange,)))
        with pytest.raises(ResumeRefused, match="nobody would plan"):
            planned_anew(wrong, phases)


def test_a_case_that_nobody_would_plan_is_refused(tmp_path):
    phases = planned(tmp_path / "run")
    rewrite(tmp_path / "run", PLAN, lambda plan: plan["phases"][-1]["cases"][-1].update(count=1 << 40))
    with pytest.raises(ResumeRefused, match="nobody would plan"):
        planned_anew(load(tmp_path / "run"), phases)


def test_a_plan_that_was_cut_for_its_budget_is_planned_anew_with_the_same_cuts(tmp_path):
    given_up = [CUTS[1].text, CUTS[-3].text]
    phases = planned(tmp_path / "run", given_up)
    assert {case.collective for phase in phases for case in phase.cases if phase.name == "collectives"} == {
        "all_reduce"
    }
    job = Job(runs.LOCAL, runs.ranks(2, 2), "nccl")
    again = without(job, given_up)
    now, _ = acceptance(Job(again.profile, again.ranks, "nccl", again.accept), 1.0)
    assert planned_anew(load(tmp_path / "run"), now).phases == tuple(now)
    whole, _ = acceptance(Job(runs.LOCAL, job.ranks, "nccl"), 1.0)
    assert whole != now


@pytest.mark.torch
def test_resume_runs_no_code_of_a_folder_that_was_sent(tmp_path):
    path = tmp_path / "run"
    words = ("run", "all_reduce", "--ranks", "1", "-b", "1K", "-e", "16K", "-f", "4", "-n", "5")
    assert mpi_jobs.railgauge(*words, "--out", path).returncode in (0, 3)
    cut_short(path)
    rewrite(path, PLAN, lambda plan: plan["phases"][0].update(environment=EVIL))
    before = (path / JOURNAL).read_bytes()
    hosts = tmp_path / "hosts"
    hosts.write_text("localhost slots=1\n")

    refused = mpi_jobs.railgauge("resume", path)
    assert refused.returncode == 2 and "may not be your own" in refused.stderr
    launched = mpi_jobs.railgauge("launch", "--hosts", hosts, "--dry-run", "--", "resume", path)
    assert launched.returncode == 2 and "may not be your own" in launched.stderr
    assert (path / JOURNAL).read_bytes() == before

    trusted = mpi_jobs.railgauge("resume", "--trust", path)
    assert "resumed: 2 of 3 cases are reused" in trusted.stderr, trusted.stdout + trusted.stderr
    assert len(load(path).measurements) == 3
    logs = "".join(log.read_text() for log in (path / "logs").iterdir())
    assert "evil" not in logs + trusted.stderr
    assert json.loads((path / PLAN).read_text())["phases"][0]["environment"] == {}
