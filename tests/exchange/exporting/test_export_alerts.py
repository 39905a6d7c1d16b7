"""Alert rules and dashboard by Prometheus' own checker; what an alert reads is what is written; JSON; completion."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace

import pytest

import programs
from bench.exchange.exporting.alerts import ALERTS, alerts
from bench.exchange.exporting.digest import digest
from bench.exchange.exporting.formats import export
from bench.exchange.exporting.grafana import PANELS
from bench.exchange.exporting.metrics import METRICS
from bench.judge.problems import problems_of
from bench.model.verdict import Status

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
NAME = re.compile(r"railgauge_\w+")


def checked(*words, cwd=None):
    done = subprocess.run(
        [programs.find("promtool"), *map(str, words)], capture_output=True, text=True, timeout=60, cwd=cwd
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_metric_of_an_alert_and_of_a_panel_is_written():
    known = {metric.name for metric in METRICS}
    for expression in (*(each.expression for each in ALERTS), *(each.expression for each in PANELS)):
        assert NAME.findall(expression) and set(NAME.findall(expression)) <= known


@pytest.mark.needs("promtool")
def test_promtool_takes_every_rule(tmp_path):
    (tmp_path / "railgauge.rules.yml").write_text(alerts())
    assert f"SUCCESS: {len(ALERTS)} rules found" in checked(
        "check", "rules", tmp_path / "railgauge.rules.yml"
    )


@pytest.mark.needs("promtool")
def test_promtool_takes_every_query_of_the_dashboard(tmp_path):
    rules = [
        {"record": f"panel:{number}", "expr": panel.expression.replace("$cluster", ".*")}
        for number, panel in enumerate(PANELS)
    ]
    (tmp_path / "panels.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"SUCCESS: {len(PANELS)} rules found" in checked("check", "rules", tmp_path / "panels.yml")


@pytest.mark.needs("promtool")
@pytest.mark.parametrize(
    ("series", "alert", "raised"),
    [
        ('railgauge_run_status{cluster="a",status="fail"}', "RailGaugeFailed", "1x300"),
        ('railgauge_run_status{cluster="a",status="inconclusive"}', "RailGaugeInconclusive", "1x300"),
        ('railgauge_run_completion_timestamp_seconds{cluster="a"}', "RailGaugeTooOld", "-90000x300"),
        ('railgauge_run_start_timestamp_seconds{cluster="a"}', "RailGaugeDidNotComplete", "1x300"),
        ('railgauge_wrong_elements{cluster="a",collective="all_reduce"}', "RailGaugeWrongElements", "2x300"),
        ('railgauge_drift_series{cluster="a",label="regression"}', "RailGaugeRegression", "1x300"),
        ('railgauge_history_left_out_files{cluster="a"}', "RailGaugeHistoryDamaged", "1x300"),
    ],
)
@pytest.mark.parametrize("bad", [True, False])
def test_an_alert_is_raised_by_its_fault_and_by_nothing_else(tmp_path, series, alert, raised, bad):
    values = raised if bad else "0x300"
    given = [{"series": series, "values": values}] if bad or "timestamp" not in series else []
    labels = dict(re.findall(r'(\w+)="(\w+)"', series))
    rule = next(each for each in ALERTS if each.name == alert)
    expected = []
    if bad:
        value = {"RailGaugeTooOld": "1d 2h 0m 0s", "RailGaugeWrongElements": "2"}.get(alert, "1")
        age = "1d 3h 0m 0s" if alert == "RailGaugeTooOld" else value
        says = rule.says.replace("{{ $value | humanizeDuration }}", age).replace("{{ $value }}", value)
        for name, text in labels.items():
            says = says.replace(f"{{{{ $labels.{name} }}}}", text)
        shown = {"summary": says, "description": f"Next: {rule.do}"}
        expected = [{"exp_labels": {**labels, "severity": rule.severity}, "exp_annotations": shown}]
    test = {
        "interval": "1m",
        "input_series": given,
        "alert_rule_test": [{"eval_time": "2h", "alertname": alert, "exp_alerts": expected}],
    }
    (tmp_path / "rules.yml").write_text(alerts())
    (tmp_path / "test.yml").write_text(yaml.safe_dump({"rule_files": ["rules.yml"], "tests": [test]}))
    checked("test", "rules", "test.yml", cwd=tmp_path)


def test_json_holds_what_the_run_says(night):
    found = json.loads(export(night, "json"), parse_constant=pytest.fail)
    assert found["version"] == 1 and found["run"] == night.manifest.id
    assert found["status"] == "fail" and found["exit_status"] == 1
    assert sum(found["counts"].values()) == len(found["verdicts"]) == len(night.verdicts)
    assert [each["sentence"] for each in found["problems"]] == [
        each.sentence for each in problems_of(night).listed
    ]
    assert len(found["rows"]) == len(night.measurements) and found["rows"][0]["seconds"] > 0
    assert found["counts"]["fail"] == sum(each.status is Status.FAIL for each in night.verdicts)


def test_the_digest_links_the_report_right_below_the_verdict(night, tmp_path):
    run = replace(night, path=tmp_path / "2026 night")
    linked = digest(run, "https://reports.example.org/runs/").splitlines()
    assert linked[1] == "report: https://reports.example.org/runs/2026%20night/report.html"
    assert digest(run).splitlines()[1] == f"report: {tmp_path / '2026 night' / 'report.html'}"
    assert re.search(r"\d+ failed, .*passed", linked[0])


@pytest.mark.parametrize(
    ("shell", "mark"), [("bash", "complete -o nosort"), ("zsh", "compdef"), ("fish", "complete --no-files")]
)
def test_completion_comes_from_the_command_itself(shell, mark):
    assert mark in completed(shell=f"{shell}_source")


def test_commands_options_and_choices_are_completed():
    assert "plain,accept" in completed("railgauge ac", 1)
    assert "plain,--format" in completed("railgauge export --fo", 2)
    assert "plain,lambda-1cc-h100\n" in completed("railgauge accept --profile lam", 3)
    assert completed("railgauge export --format j", 3).split() == ["plain,junit", "plain,json"]


def completed(words="", at=0, shell="bash_complete"):
    env = {**os.environ, "_RAILGAUGE_COMPLETE": shell, "COMP_WORDS": words, "COMP_CWORD": str(at)}
    code = "import sys; sys.argv = ['railgauge']; from bench.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60
    ).stdout
