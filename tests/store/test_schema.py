"""The JSON Schema that is printed holds for real run folders, old and new, and for nothing else."""

import json
from pathlib import Path

import jsonschema
import pytest

import runs
from bench.model.measurement import Mismatch
from bench.store import JOURNAL, load
from bench.store.kinds import FILES
from bench.store.schema import schema

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
