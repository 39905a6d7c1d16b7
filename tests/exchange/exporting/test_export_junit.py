"""JUnit XML, read back by a JUnit reader and held against the schema that CI servers use."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as xml

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.exchange.exporting.formats import export
from bench.model.verdict import Status, Verdict
from bench.store import load
from tests import runs

junitparser = pytest.importorskip("junitparser")
xmlschema = pytest.importorskip("xmlschema")
SCHEMA = xmlschema.XMLSchema(str(Path(__file__).with_name("junit.xsd")))
KINDS = {
    Status.FAIL: junitparser.Failure,
    Status.INCONCLUSIVE: junitparser.Error,
    Status.NOT_APPLICABLE: junitparser.Skipped,
}


def cases(text: str):
    return [case for suite in junitparser.JUnitXml.fromstring(text.encode()) for case in suite]


def test_every_verdict_is_a_test_case_with_its_outcome(night):
    found = cases(export(night, "junit"))
    assert len(found) == len(night.verdicts)
    said = Counter((case.classname, type(case.result[0]) if case.result else None) for case in found)
    wanted = Counter((f"railgauge.{each.check}", KINDS.get(each.status)) for each in night.verdicts)
    assert said == wanted


def test_the_reader_counts_what_the_run_counts(night):
    suites = junitparser.JUnitXml.fromstring(export(night, "junit").encode())
    count = Counter(verdict.status for verdict in night.verdicts)
    assert (suites.tests, suites.failures, suites.errors) == (
        len(night.verdicts),
        count[Status.FAIL],
        count[Status.INCONCLUSIVE],
    )
    assert sum(suite.skipped for suite in suites) == count[Status.NOT_APPLICABLE]
    assert count[Status.FAIL] > 0


def test_a_failure_says_all_five_parts_and_its_evidence(night):
    failed = next(verdict for verdict in night.verdicts if verdict.status is Status.FAIL and verdict.evidence)
    case = next(case for case in cases(export(night, "junit")) if case.name == failed.subject)
    assert case.result[0].message == failed.message
    assert all(line in case.result[0].text for line in failed.evidence)
    assert case.result[0].type == failed.check


def test_the_schema_holds(night):
    SCHEMA.validate(export(night, "junit"))
    with pytest.raises(xmlschema.XMLSchemaValidationError):
        SCHEMA.validate("<testsuites><testsuite/></testsuites>")


def test_no_two_cases_have_one_name(night):
    twice = replace(night, verdicts=(*night.verdicts, *night.verdicts))
    names = [(case.classname, case.name) for case in cases(export(twice, "junit"))]
    assert len(set(names)) == len(names)


def test_nothing_judged_is_one_case_in_error(tmp_path):
    run = load(runs.folder(tmp_path / "run"))
    assert run.verdicts == ()
    (case,) = cases(export(run, "junit"))
    assert isinstance(case.result[0], junitparser.Error)


@settings(max_examples=60)
@given(text=st.text(max_size=40), status=st.sampled_from(Status))
def test_no_text_breaks_the_file(bare, text, status):
    odd = Verdict(text, text, status, text, text, text, text, evidence=(text,))
    answer = export(replace(bare, verdicts=(odd,)), "junit")
    SCHEMA.validate(answer)
    (case,) = cases(answer)
    assert xml.fromstring(answer.encode()).tag == "testsuites"
    assert bool(case.result) is (status is not Status.PASS)
