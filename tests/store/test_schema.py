"""The JSON Schema that is printed holds for real run folders, old and new, and for nothing else."""

import json
from pathlib import Path

import jsonschema
import pytest

import runs
from bench.judge.drift import NightValue, Series
from bench.judge.drift.past import Past
from bench.judge.evidence import Evidence
from bench.model.measurement import Mismatch
from bench.model.typed_json import encode, to_json
from bench.probe.fabric.ask_all import look
from bench.probe.rail_wiring import hear_broadcasts
from bench.store import JOURNAL, LOGS, WIRING, Recorder, load, save_history, write_file
from bench.store.files import DRAWN
from bench.store.owner_seal import SEAL
from bench.store.schema import FILES, schema
from reports import up_to_date

RECORDED = Path(__file__).with_name("data") / "two-nodes"


def rows(path):
    text = path.read_text()
    parts = text.splitlines() if path.suffix == ".jsonl" else [text]
    return [json.loads(part, parse_constant=pytest.fail) for part in parts]


@pytest.mark.parametrize("name", FILES)
def test_files_fit_their_schema(tmp_path, name):
    validator = jsonschema.Draft202012Validator(schema(name))
    validator.check_schema(schema(name))
    for folder in (RECORDED, runs.folder(tmp_path / "r")):
        for row in rows(folder / name) if (folder / name).exists() else ():
            validator.validate(row)


def whole_folder(path):
    """A folder with every file beside the journal, each made by what makes it in a run."""
    folder = runs.folder(path)
    with Recorder(folder, True) as recorder:
        recorder.fabric(to_json(look(5.0).answers))
    write_file(folder, f"{LOGS}/{WIRING}", encode({"n0": hear_broadcasts(["no-such-rail"], "job", 0.01)}))
    nights = {
        Series("c1", "all_reduce", "8 B", "busbw"): (
            NightValue("r1", 1.0, float("nan"), (("driver", "550"),)),
        )
    }
    save_history(folder, Past("c1", (("driver", "560"),), nights).saved())
    up_to_date.mark(Evidence(load(folder), runs.LOCAL), "digest", ["manifest.json"])
    return folder


def test_files_that_few_runs_have_fit_their_schema_too(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = whole_folder(tmp_path / "r")
    few = [SEAL, DRAWN, "history.json", "logs/fabric.jsonl", "logs/wiring.json"]
    for name in few:
        (row,) = rows(folder / name)
        jsonschema.Draft202012Validator(schema(name)).validate(row)
        assert not jsonschema.Draft202012Validator(schema(name)).is_valid(["x"])
    beside = {str(path.relative_to(folder)) for path in folder.rglob("*.json*")}
    assert set(few) <= beside <= set(FILES)


def test_fields_are_described_as_their_classes_describe_them():
    parts = schema("plan.json")["$defs"]
    assert parts["Case"]["properties"]["root"]["description"].startswith(
        "rank of the group that sends or receives"
    )
    assert parts["Case"]["properties"]["dtype"]["description"].startswith("element type")
    assert schema("logs/wiring.json")["$defs"]["HeardBroadcasts"]["properties"]["silent"]["description"] == (
        "rail → why it could not be asked"
    )


def test_a_line_of_another_kind_or_type_does_not_fit():
    validator = jsonschema.Draft202012Validator(schema(JOURNAL))
    assert validator.is_valid({"kind": "note", "time": 1.0, "text": "x"})
    assert not validator.is_valid({"kind": "note", "time": 1.0, "text": 1})
    assert not validator.is_valid({"kind": "loss", "time": 1.0, "text": "x"})


def test_what_is_unknown_or_not_finite_is_null_in_the_file_and_none_when_it_is_read(tmp_path):
    planned = runs.cases()[:1]
    odd = Mismatch(0, 1, 2, float("nan"), float("-inf"))
    (row,) = runs.measured(planned[0], width=None, mismatches=(odd,))
    folder = runs.folder(tmp_path / "r", [row], planned)
    line = rows(folder / JOURNAL)[0]
    assert (line["width"], line["mismatches"][0]["got"], line["mismatches"][0]["wanted"]) == (None,) * 3
    (back,) = load(folder).measurements
    assert (back.precision, back.mismatches[0].got, back.mismatches[0].wanted) == (None,) * 3
