"""What the history said, in the run folder and back; where histories lie; what identifies a cluster."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import shutil
from dataclasses import replace

import pytest

pytest.importorskip("pyarrow")

from hypothesis import given, settings
from hypothesis import strategies as st

from bench.cli.nightly import ready
from bench.judge.drift import Acceptance, NightValue, Series, fingerprint
from bench.judge.drift.past import Past, from_saved, read_past, record, recorded_beside
from bench.judge.drift.run_fingerprint import cluster_name, parts, said
from bench.judge.drift.series import recorded_run
from bench.judge.drift.tonight import COMPARED
from bench.judge.evidence import Evidence
from bench.model.facts import Gpu, Node, Port, Software
from bench.model.profile import load as load_profile
from bench.model.typed_json import decode, encode
from bench.model.verdict import Status
from bench.run.nightly import name_of
from bench.store import HISTORY, load
from bench.store.history import HistoryError, LeftOutFile, WrongPlace, check, create, lasting, read, runs
from bench.store.history.nights import SavedPast
from tests import made_nights as made
from tests import runs as made_runs

H100 = load_profile("lambda-1cc-h100")
names = st.text(st.characters(codec="utf-8"), max_size=8)
values = st.one_of(st.floats(), st.just(math.nan))
prints = st.dictionaries(names, names, max_size=3).map(fingerprint)
nights = st.builds(
    NightValue,
    run=names,
    time=st.floats(0, 2e9),
    value=values,
    fingerprint=prints,
    rerun=st.one_of(st.none(), values),
    status=st.sampled_from(Status),
)
series = st.builds(Series, st.just("c1"), names, names, names, names)
pasts = st.builds(
    Past,
    cluster=st.just("c1"),
    parts=prints,
    nights=st.dictionaries(series, st.lists(nights, max_size=4).map(tuple), max_size=3),
    accepted=st.lists(st.builds(Acceptance, names, st.floats(0, 2e9), names, st.floats(0, 2e9), names)).map(
        tuple
    ),
    left_out=st.lists(st.builds(LeftOutFile, names, names), max_size=2).map(tuple),
    plan=names,
    reserve=st.floats(0, 1e6),
    recorded=names,
    trouble=names,
    where=names,
)


@settings(max_examples=60)
@given(pasts)
def test_a_past_is_read_back_as_it_was_written(past):
    back = from_saved(decode(SavedPast, encode(past.saved())))

    # what is no figure stays none; infinity is none either
    def plain(each: Past) -> Past:
        def number(value):
            return value if value is None or math.isfinite(value) else "none"

        return replace(
            each,
            nights={
                key: tuple(
                    replace(night, value=number(night.value), rerun=number(night.rerun)) for night in found
                )
                for key, found in each.nights.items()
            },
        )

    assert plain(back) == plain(past)


# --- where a history lies -----------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["", "file://", "memory://"])
def test_a_history_may_lie_in_a_folder_or_behind_a_url(tmp_path, scheme):
    pytest.importorskip("fsspec")
    history = f"{scheme}{tmp_path}/history"
    first = made.nightly(tmp_path / "one", history)
    second = made.nightly(tmp_path / "two", history, 1)
    assert from_saved(first.history).recorded.endswith("one.parquet")
    assert {len(found) for found in from_saved(second.history).nights.values()} == {1}
    entries, problems = check(history)
    assert ([entry.run for entry in entries], problems) == (["one", "two"], ())


@pytest.mark.skipif(importlib.util.find_spec("s3fs") is not None, reason="s3fs is installed")
def test_a_bucket_without_its_library_is_one_clear_line():
    with pytest.raises(HistoryError) as caught:
        runs("s3://bucket/history")
    assert "s3fs" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_night_of_another_cluster_is_none_of_ours(tmp_path):
    history = str(tmp_path / "history")
    made.nightly(tmp_path / "theirs", history, 0, cluster="c2")
    run = made.nightly(tmp_path / "ours", history, 1, cluster="c1")
    assert from_saved(run.history).nights == {}
    assert read(history, "theirs").cluster == "c2"


@pytest.mark.parametrize("day", [5, 9])
def test_a_night_after_this_one_or_of_its_very_second_is_not_looked_at(tmp_path, day):
    history = str(tmp_path / "history")
    made.nightly(tmp_path / "later", history, 9)
    past = read_past(history, "c1", {}, made.FIRST + day * made.DAY)
    assert not any(past.nights.values())
    assert past.ahead == 1


def test_nights_that_are_dated_ahead_are_no_first_night(tmp_path):
    history = str(tmp_path / "history")
    made.nightly(tmp_path / "later", history, 9)
    run = made.nightly(tmp_path / "tonight", history, 5)
    (found,) = [each for each in run.verdicts if each.check == COMPARED]
    assert found.status is Status.INCONCLUSIVE
    assert "1 night of the history are dated after this one" in found.message


# --- fingerprint --------------------------------------------------------------------------------------


def node(name: str, driver: str = "550.90", fw: str = "28.39") -> Node:
    return Node(
        name,
        ports=(Port("mlx5_1", 1, fw=fw),),
        gpus=(Gpu(0, name="NVIDIA H100 80GB HBM3"),),
        software=Software(driver=driver, torch="2.6", torch_nccl="2.21.5"),
    )


def manifest(tmp_path, profile=H100, backend="nccl", **changes):
    path = made_runs.folder(tmp_path / "run", profile=profile, backend=backend, where=made_runs.ranks(2, 1))
    return replace(load(path).manifest, **changes)


def test_a_driver_on_one_node_changes_the_fingerprint(tmp_path):
    same_everywhere = parts(manifest(tmp_path), [node("n0"), node("n1")], H100)
    mixed = parts(manifest(tmp_path / "b"), [node("n0"), node("n1", "560.28")], H100)
    assert same_everywhere["driver"] == "550.90"
    assert mixed["driver"] == "550.90, 560.28"
    assert {key for key in mixed if mixed[key] != same_everywhere[key]} == {"driver"}


@pytest.mark.parametrize(
    ("part", "environment"),
    [
        ("algorithm", {"NCCL_ALGO": "Ring"}),
        ("settings", {"NCCL_IB_HCA": "mlx5_1"}),
        ("settings", {"NCCL_NET": "IB"}),
    ],
)
def test_what_nccl_is_told_is_part_of_it(tmp_path, part, environment):
    plain = parts(manifest(tmp_path), [node("n0")], H100)
    told = parts(manifest(tmp_path / "b", environment={"0": environment}), [node("n0")], H100)
    assert told[part] != plain[part]
    assert next(iter(environment.values())) in told["settings"]


def test_a_log_level_and_a_bound_are_not(tmp_path):
    plain = parts(manifest(tmp_path), [node("n0")], H100)
    logged = parts(manifest(tmp_path / "b", environment={"0": {"NCCL_DEBUG": "INFO"}}), [node("n0")], H100)
    assert logged == plain
    assert parts(manifest(tmp_path / "c"), [node("n0")], replace(H100, limits=())) == plain
    assert parts(manifest(tmp_path / "d"), [node("n0")], replace(H100, environment={})) != plain


def test_what_nobody_knows_is_unknown_and_not_empty(tmp_path):
    found = parts(manifest(tmp_path), [Node("n0")], H100)
    assert (found["driver"], found["nccl"], found["gpus"]) == ("unknown", "unknown", "none")
    assert all(found.values())


def test_many_versions_are_counted():
    assert said(map(str, range(9))) == "0, 1, 2, 3 and 5 more"


def test_a_cluster_is_called_as_given_else_by_what_is_known(tmp_path):
    several = manifest(tmp_path)
    alone = load(made_runs.folder(tmp_path / "alone")).manifest
    assert cluster_name("mine", several) == "mine"
    assert cluster_name("", several, "slurm-a") == "slurm-a"
    assert cluster_name("", several) == "lambda-1cc-h100"
    assert cluster_name("", alone, "slurm-a") == "n0"
    assert name_of(load(tmp_path / "run"), "", {"SLURM_CLUSTER_NAME": "here"}) == "here"


# --- where no history is, or none is left --------------------------------------------------------------


def test_a_history_is_made_in_a_folder_that_is_there_and_nowhere_else(tmp_path):
    create(str(tmp_path / "history"))
    create(str(tmp_path / "history"))
    assert (tmp_path / "history").is_dir()
    with pytest.raises(WrongPlace, match=r"no folder .*nosuch.*is it mounted\?") as caught:
        create(str(tmp_path / "nosuch" / "history"))
    assert caught.value.exit_status == 2
    assert not (tmp_path / "nosuch").exists()
    (tmp_path / "file").write_text("x")
    with pytest.raises(WrongPlace, match="is a file"):
        create(str(tmp_path / "file"))


def test_nothing_is_kept_in_memory(tmp_path):
    with pytest.raises(WrongPlace, match="nothing is kept in memory"):
        lasting("memory://host/history")
    assert lasting(str(tmp_path)).local


def test_a_folder_that_went_away_in_the_night_is_not_begun_anew(tmp_path):
    history = tmp_path / "history"
    run = made.nightly(tmp_path / "one", history)
    shutil.rmtree(history)
    past = record(
        str(history),
        from_saved(run.history),
        recorded_run(Evidence(load(tmp_path / "one"), made_runs.LOCAL), "c1", ()),
    )
    assert past.recorded == "" and "is it mounted?" in past.trouble
    assert not history.exists()


def test_nights_that_were_there_and_are_gone_are_no_first_night(tmp_path):
    history = tmp_path / "history"
    made.nightly(tmp_path / "one", history)
    shutil.rmtree(history)
    with pytest.raises(
        WrongPlace, match=r"holds no night of c1, and .*one was recorded in it: is it mounted\?"
    ) as caught:
        made.nightly(tmp_path / "two", history, 1)
    assert caught.value.exit_status == 2
    made.nightly(tmp_path / "other-cluster", history, 1, cluster="c2")
    made.nightly(tmp_path / "other-history", tmp_path / "elsewhere", 1)
    made.nightly(tmp_path / "three", history, 2, new=True)
    made.nightly(tmp_path / "four", history, 3)
    with pytest.raises(WrongPlace, match="already: omit --new"):
        made.nightly(tmp_path / "five", history, 4, new=True)


def test_nights_that_are_gone_are_missed_before_anything_is_made(tmp_path):
    history, out = tmp_path / "history", tmp_path / "runs"
    made.nightly(out / "one", history)
    ready(str(history), out / "two", False)
    shutil.rmtree(history)
    for _ in range(2):
        with pytest.raises(WrongPlace, match=r"holds no night of c1, and .*one was recorded in it"):
            ready(str(history), out / "two", False)
        assert not history.exists()
    history.mkdir()
    with pytest.raises(WrongPlace, match="is it mounted"):
        ready(str(history), out / "two", False)
    ready(str(history), tmp_path / "elsewhere" / "two", False)
    ready(str(history), out / "two", True)


def test_a_run_is_not_beside_itself(tmp_path):
    history = tmp_path / "history"
    made.nightly(tmp_path / "one", history)
    assert recorded_beside(tmp_path / "one", str(history)) is None
    found = recorded_beside(tmp_path / "two", str(history))
    assert found is not None and found[:2] == (str(tmp_path / "one"), "c1")


def test_a_damaged_run_beside_this_one_says_nothing(tmp_path):
    for number, text in enumerate(("", "[]", "{}", '{"cluster": "c1", "recorded": 1}')):
        folder = tmp_path / f"broken{number}"
        folder.mkdir()
        (folder / "history.json").write_text(text)
    made.nightly(tmp_path / "one", tmp_path / "history")


@pytest.mark.parametrize(("newer", "asked"), [(19, True), (20, False)])
def test_the_twenty_newest_runs_beside_this_one_are_asked_and_no_older_one(tmp_path, newer, asked):
    """A folder of years of runs is not read as a whole each night."""
    for age in range(newer + 1):
        folder = tmp_path / f"run{age}"
        folder.mkdir()
        where = "/nights" if age == newer else "/elsewhere"
        (folder / HISTORY).write_text(json.dumps({"cluster": "c1", "recorded": f"{where}/{age}.parquet"}))
        os.utime(folder / HISTORY, (2e9 - age, 2e9 - age))
    found = recorded_beside(tmp_path / "tonight", "/nights")
    assert found == ((str(tmp_path / f"run{newer}"), "c1", f"/nights/{newer}.parquet") if asked else None)
