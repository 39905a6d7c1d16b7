"""--json: standard output holds one object that fits its schema, whatever the command has to say."""

import json
import math
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

import runs
from bench.cli import json_output, main, probing
from bench.cli.answers import ANSWERS
from bench.model.errors import RailGaugeError
from bench.model.facts import Interface, Node
from bench.store.schema import schema_of

DATA = Path(__file__).parents[1] / "exchange" / "importing" / "data"


@pytest.fixture
def railgauge(monkeypatch, capfd, tmp_path):
    """The whole command, as its user starts it: (object on standard output, standard error, exit status)."""
    monkeypatch.chdir(tmp_path)

    def call(*words):
        monkeypatch.setattr(json_output, "_answered", False)
        monkeypatch.setattr(sys, "argv", ["railgauge", *map(str, words)])
        monkeypatch.setenv("PYTHONSAFEPATH", "1")  # which main sets, here to be taken back
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capfd.readouterr()
        return json.loads(out, parse_constant=pytest.fail), err, end.value.code

    return call


def fits(found, name):
    """Validate and look for fields that the schema does not speak of."""
    schema = schema_of(name, ANSWERS[name], whole=True)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(found)
    top = schema["$defs"][schema["$ref"].rpartition("/")[2]]
    assert set(found) == set(top["properties"]) == set(top["required"])
    assert (found["schema"], found["version"]) == (f"railgauge {name}", 1)


def test_explain_of_a_log(railgauge):
    log = Path(__file__).parents[1] / "nccl" / "data" / "005-nebius-h100-2node-sharp-pxn-2.19.3.txt"
    found, err, code = railgauge("explain", log, "--profile", "lambda-1cc-h100", "--json")
    fits(found, "explain log")
    assert (code, err, found["status"], len(found["verdicts"])) == (1, "", "fail", 4)
    assert found["summary"]["networks"] == [{"value": "IBext", "ranks": list(range(16)), "processes": []}]


def test_plan(railgauge):
    found, err, code = railgauge("plan", "--profile", "lambda-1cc-h100", "--nodes", 8, "--json")
    fits(found, "plan")
    assert (code, err, found["nodes"]) == (0, "", 8)
    assert found["cases"] == sum(phase["cases"] for phase in found["phases"]) > 0


def test_gate(railgauge, tmp_path):
    found, _, code = railgauge("gate", "--state", tmp_path / "gate.json", "--limit", "60s", "--json")
    fits(found, "gate")
    assert code == {"pass": 0, "fail": 1, "inconclusive": 3}[found["status"]]


def test_explain_ends_with_1_where_a_trap_was_found(railgauge):
    found, err, code = railgauge("explain", "^mlx5_1", "--devices", "mlx5_0 mlx5_1 mlx5_10", "--json")
    fits(found, "explain")
    assert (code, err, found["status"]) == (1, "", "fail")
    assert [each["name"] for each in found["devices"] if each["taken"]] == ["mlx5_0:1"]
    assert len(found["traps"]) == 1 and "mlx5_10" in found["traps"][0]


def test_explain_of_interfaces_and_of_no_device(railgauge):
    found, _, code = railgauge("explain", "=eth1", "--devices", "eth0 eth1", "--sockets", "--json")
    fits(found, "explain")
    assert (code, found["variable"]) == (0, "NCCL_SOCKET_IFNAME")
    found, _, code = railgauge("explain", "mlx5", "--root", Path.cwd(), "--json")
    fits(found, "explain")
    assert (code, found["status"], found["devices"]) == (3, "inconclusive", [])


def test_judge_says_what_the_text_says(railgauge, tmp_path):
    rows = [row for case in runs.cases() for row in runs.measured(case, wrong=(0, 1))]
    runs.folder(tmp_path / "r", rows)
    found, _, code = railgauge("judge", tmp_path / "r", "--json")
    fits(found, "judge")
    assert (code, found["status"], found["unsaved"], found["profile"]) == (1, "fail", "", "local")
    saved = json.loads((tmp_path / "r" / "verdicts.json").read_text())["verdicts"]
    for row in saved:
        del row["message"]
    assert found["verdicts"] == saved
    assert found["problems"][0]["status"] == "fail" and "correctness" in found["problems"][0]["check"]
    assert {peak["wrong"] for peak in found["peaks"]} == {1}


def test_import(railgauge):
    found, _, code = railgauge("import", DATA / "nccl-16-ranks.txt", "--nodes", 2, "--json")
    fits(found, "import")
    assert (found["ranks"], found["nodes"]) == (16, 2) and found["figures"] > 0
    assert code == {"pass": 0, "fail": 1, "inconclusive": 3}[found["status"]]
    assert Path(found["run"], "report.html").exists()


def test_compare_has_null_for_what_is_not_finite(railgauge, tmp_path):
    for name, seconds in (("a", 1e-3), ("b", 2e-3)):
        rows = [row for case in runs.cases() for row in runs.measured(case, seconds)]
        runs.folder(tmp_path / name, rows[:-1] if name == "b" else rows)
    found, err, code = railgauge("compare", tmp_path / "a", tmp_path / "b", "--json")
    fits(found, "compare")
    assert (code, err[:9], found["status"]) == (3, "railgauge", "inconclusive") or (code, err) == (3, "")
    assert [side["run"] for side in (*found["a"], *found["b"])] == [str(tmp_path / "a"), str(tmp_path / "b")]
    both, only = found["cases"][0], found["cases"][-1]
    assert math.isclose(both["ratio"], 0.5) and both["a_busbw"] > both["b_busbw"] > 0
    assert (only["outcome"], only["b"], only["ratio"], only["b_busbw"]) == ("only a", None, None, None)


def test_history_list_of_runs_and_of_an_empty_history(railgauge, tmp_path):
    pytest.importorskip("pyarrow")
    from bench.judge.drift import Series
    from bench.store.history import RecordedRun, Sample, append, create

    create(str(tmp_path / "h"))
    found, err, code = railgauge("history", "list", tmp_path / "h", "--json")
    fits(found, "history list")
    assert (code, found["runs"]) == (3, []) and "no such runs" in err
    sample = Sample(Series("c1", "all_reduce", "8 B", "busbw"), 1e9)
    for night, driver in enumerate(("550", "560")):
        append(
            str(tmp_path / "h"), RecordedRun(f"r{night}", 1e9 + night, "c1", (("driver", driver),), (sample,))
        )
    (tmp_path / "h" / "c1").mkdir(exist_ok=True)
    found, err, code = railgauge("history", "list", tmp_path / "h", "--json")
    fits(found, "history list")
    assert (code, [run["run"] for run in found["runs"]]) == (0, ["r0", "r1"])
    assert [run["changed"] for run in found["runs"]] == [[], ["driver 550 → 560"]]


def test_probe_of_a_copy_keeps_odd_names_as_they_are(railgauge, tmp_path, monkeypatch):
    odd = "eth\x7f\x1b[2J\udc80€"
    monkeypatch.setattr(
        "bench.probe.node.probe", lambda root: Node("n0", interfaces=(Interface(odd, carrier=True),))
    )
    found, err, code = railgauge("probe", "--root", tmp_path, "--json")
    fits(found, "probe")
    assert found["nodes"][0]["interfaces"][0]["name"] == "eth\x7f\x1b[2J\\udc80€"
    assert code == {"pass": 0, "fail": 1, "inconclusive": 3}[found["status"]] and err == ""


def test_probe_of_this_machine_prints_nothing_else(tmp_path):
    words = [sys.executable, "-m", "bench", "probe", "--json"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    found = json.loads(done.stdout)
    fits(found, "probe")
    assert len(found["nodes"]) == 1 and found["nodes"][0]["host"]["kernel"], done.stderr
    assert (tmp_path / found["run"] / "facts.jsonl").exists()


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("plan", "--json"), 2),
        (("nonsense", "--json"), 2),
        (("judge", "no-such-folder", "--json"), 2),
        (("import", "no-such-file", "--json"), 2),
        (("compare", "a", "--json"), 2),
        (("history", "list", "no-such-history", "--json"), 2),
        (("probe", "--profile", "no-such-profile", "--json"), 2),
        (("explain", "x", "--devices", "", "--json"), 2),
    ],
)
def test_a_mistake_is_an_object_too(railgauge, words, status):
    found, err, code = railgauge(*words)
    fits(found, "error")
    assert code == found["exit_status"] == status
    assert err.strip().endswith(found["message"]) and "Traceback" not in err


def test_a_fault_of_ours_is_an_object_too(railgauge, monkeypatch):
    monkeypatch.setattr(probing, "tree", lambda folder: 1 / 0)
    found, err, code = railgauge("explain", "mlx5", "--root", ".", "--json")
    fits(found, "error")
    assert code == 3 and "ZeroDivisionError" in err and "bug in RailGauge" in found["message"]


def test_another_rank_prints_no_object_of_its_own(monkeypatch, capfd):
    monkeypatch.setattr(json_output, "_answered", False)
    monkeypatch.setattr("bench.cli.OTHERS_WAIT", 0)
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "3")
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    monkeypatch.setattr(sys, "argv", ["railgauge", "probe", "--profile", "no-such-profile", "--json"])
    with pytest.raises(SystemExit):
        main()
    out, err = capfd.readouterr()
    assert out == "" and "(rank 3 on " in err


def test_secrets_of_the_command_line_are_in_no_object(railgauge, monkeypatch):
    def refuse(folder):
        raise RailGaugeError('a library says: s3cret"word is wrong')

    monkeypatch.setattr(probing, "tree", refuse)
    url = 's3://key:s3cret"word@nowhere.invalid/bucket'  # JSON writes it with a backslash
    found, err, _ = railgauge("explain", url, "--root", ".", "--json")
    fits(found, "error")
    assert "s3cret" not in json.dumps(found) + err and "***" in found["message"]


def test_schema_prints_every_object(monkeypatch, capfd):
    monkeypatch.setattr(sys, "argv", ["railgauge", "schema"])
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    with pytest.raises(SystemExit):
        main()
    printed = json.loads(capfd.readouterr().out)
    assert {*ANSWERS, "journal.jsonl"} <= set(printed)
    for name in ANSWERS:
        properties = printed[name]["$defs"][ANSWERS[name].__name__]["properties"]
        assert properties["schema"] == {"enum": [f"railgauge {name}"]}
    monkeypatch.setattr(sys, "argv", ["railgauge", "schema", "railgauge", "history", "list"])
    with pytest.raises(SystemExit):
        main()
    assert json.loads(capfd.readouterr().out) == printed["history list"]
