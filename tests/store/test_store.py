import json
import os
import threading

import pytest

import runs
from bench.judge.verdicts import judge, status
from bench.model.counters import snapshot
from bench.model.facts import Port
from bench.model.run_folder_lines import CounterLine
from bench.model.typed_json import decode, encode
from bench.model.verdict import Status
from bench.store import COUNTERS, JOURNAL, MANIFEST, Loss, Plan, Recorder, RunError, load


def test_a_run_folder_is_read_back_as_it_was_written(tmp_path):
    planned = runs.cases()
    rows = [row for case in planned for row in runs.measured(case)]
    run = load(runs.folder(tmp_path / "r", rows, planned))
    assert run.measurements == tuple(rows)
    assert run.plan.cases == tuple(planned)
    assert run.manifest.ranks == runs.ranks()
    assert run.ended is not None
    assert run.notes == ()


def test_what_many_measurements_have_alike_is_kept_once(tmp_path):
    (planned,) = runs.cases()[:1]
    first, second = load(runs.folder(tmp_path / "r", runs.measured(planned) * 2, [planned])).measurements
    for name in ("case", "ranks", "wrong", "stop", "extra"):
        assert getattr(first, name) is getattr(second, name)
    assert first.pipelined is not second.pipelined


def test_a_missing_folder_is_wrong_usage(tmp_path):
    with pytest.raises(RunError, match="no run folder") as caught:
        load(tmp_path / "none")
    assert caught.value.exit_status == 2


def test_an_empty_folder_is_no_run(tmp_path):
    with pytest.raises(RunError, match="not a run folder"):
        load(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"id": "x"}', "\x00\xff"])
def test_a_damaged_manifest_is_said(tmp_path, text):
    path = runs.folder(tmp_path / "r")
    (path / MANIFEST).write_text(text, encoding="latin-1")
    with pytest.raises(RunError, match="damaged|format"):
        load(path)


def test_a_newer_format_asks_for_an_upgrade(tmp_path):
    path = runs.folder(tmp_path / "r")
    row = json.loads((path / MANIFEST).read_text())
    (path / MANIFEST).write_text(json.dumps({**row, "format": 99, "novelty": 1}))
    with pytest.raises(RunError, match="newer RailGauge.*upgrade"):
        load(path)


def test_a_journal_cut_at_any_byte_is_read_and_never_passes_unless_whole(tmp_path):
    path = runs.folder(tmp_path / "r", planned=runs.cases()[:2])
    whole = (path / JOURNAL).read_bytes()
    for cut in range(len(whole)):
        (path / JOURNAL).write_bytes(whole[:cut])
        run = judge(load(path), runs.LOCAL).run
        complete = whole[:cut].count(b"\n") + (cut + 1 == len(whole))
        assert len(run.measurements) + (run.ended is not None) >= complete
        if cut < len(whole) - 1:
            assert status(run) is Status.INCONCLUSIVE, f"cut at byte {cut} passed"


def test_a_cut_line_is_noted_with_its_place(tmp_path):
    path = runs.folder(tmp_path / "r")
    (path / JOURNAL).write_bytes((path / JOURNAL).read_bytes()[:-30])
    assert "journal.jsonl line" in " ".join(load(path).notes)


def test_what_was_given_up_is_told_from_other_notes_also_in_folders_of_versions_that_marked_none(tmp_path):
    path = runs.folder(tmp_path / "r")
    with Recorder(path, again=True) as recorder:
        recorder.note("pinned was not begun", given_up=True)
        recorder.note("n1 was slow to answer")
    old = {"kind": "note", "time": 1.0, "text": "verbs was not begun: 3 s of the budget are left"}
    with (path / JOURNAL).open("a") as journal:
        journal.write(json.dumps(old) + "\n")
    run = load(path)
    assert run.given_up == ("pinned was not begun", old["text"]) and len(run.notes) == 3


def test_no_line_of_the_journal_has_a_field_twice(tmp_path):
    path = runs.folder(tmp_path / "r")
    with Recorder(path, again=True) as recorder:
        recorder.note("n1 was slow to answer")
    for line in (path / JOURNAL).read_text().splitlines():
        names = json.loads(line, object_pairs_hook=lambda pairs: [name for name, _ in pairs])
        assert len(names) == len({*names}), line


def test_a_folder_in_use_is_refused_and_untouched(tmp_path):
    path = runs.folder(tmp_path / "r")
    before = (path / JOURNAL).read_bytes()
    with pytest.raises(RunError, match="give a new folder"):
        Recorder(path)
    assert (path / JOURNAL).read_bytes() == before


def test_of_many_runs_started_at_once_in_one_folder_one_wins(tmp_path):
    outcomes: list[str] = []
    kept: list[Recorder] = []

    def begin():
        try:
            kept.append(Recorder(tmp_path / "same"))
            outcomes.append("won")
        except RunError:
            outcomes.append("refused")

    threads = [threading.Thread(target=begin) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["refused"] * 11 + ["won"]
    kept[0].__exit__()


def test_a_run_that_never_began_leaves_no_folder(tmp_path):
    with Recorder(tmp_path / "r"):
        pass
    assert not (tmp_path / "r").exists()


def test_a_full_disk_is_one_clear_line(tmp_path):
    with Recorder(tmp_path / "r") as recorder:
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, recorder._journal)
        os.close(full)
        with pytest.raises(RunError, match="cannot write .*No space left on device") as caught:
            recorder.loss(Loss("case", "x"))
    assert caught.value.exit_status == 3


def test_a_file_where_the_folder_should_be_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "below" / "it"):
        with pytest.raises(RunError, match="file is a file; give a new folder"):
            Recorder(path)


def test_a_plan_is_read_back(tmp_path):
    plan = load(runs.folder(tmp_path / "r")).plan
    assert decode(Plan, encode(plan)) == plan


def test_counters_that_stand_as_before_are_kept_once_and_those_that_moved_as_they_were_read(tmp_path):
    path = runs.folder(tmp_path / "r")
    shots = [
        snapshot(at, at, [Port("mlx5_1", 1, counters={"moves": at}, hw_counters={"stands": 7})], [], {})
        for at in (1, 2)
    ]
    lines = [CounterLine("p", when, (shot,)) for when, shot in zip(("before", "after"), shots, strict=True)]
    (path / COUNTERS).write_bytes(b"".join(encode(line) + b"\n" for line in lines))
    first, last = (line.snapshots[0] for line in load(path).counters)
    assert [first, last] == shots
    assert first.readings["mlx5_1/1"]["hw_counters"] is last.readings["mlx5_1/1"]["hw_counters"]


def test_a_line_whose_kind_does_not_stand_first_is_read(tmp_path):
    path = runs.folder(tmp_path / "r")
    whole = load(path).measurements
    lines = [json.loads(line) for line in (path / JOURNAL).read_text().splitlines()]
    turned = (json.dumps({name: line[name] for name in reversed(line)}) for line in lines)
    (path / JOURNAL).write_text("".join(f"{line}\n" for line in turned))
    assert load(path).measurements == whole != ()
