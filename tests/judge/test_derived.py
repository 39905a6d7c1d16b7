"""What follows from the evidence of a run is worked out once for it, and for no other run."""

import pytest

import runs
from bench.judge.evidence import Evidence, derived
from bench.store import load


@pytest.fixture
def evidence(tmp_path):
    return Evidence(load(runs.folder(tmp_path / "run")), runs.LOCAL)


def counting(answer):
    asked = []

    @derived
    def question(evidence):
        asked.append(evidence)
        return answer

    return question, asked


def test_a_derived_function_is_asked_once_for_each_evidence(evidence):
    question, asked = counting(["answer"])
    assert question(evidence) is question(evidence) == ["answer"]
    assert len(asked) == 1
    question(Evidence(evidence.run, evidence.profile))  # equal, and another
    assert len(asked) == 2


def test_none_is_an_answer(evidence):
    question, asked = counting(None)
    assert question(evidence) is None and question(evidence) is None
    assert len(asked) == 1


def test_two_functions_do_not_share_their_answers(evidence):
    one, other = counting("one")[0], counting("other")[0]
    assert (one(evidence), other(evidence), one(evidence)) == ("one", "other", "one")


def test_what_fails_is_asked_again(evidence):
    asked = []

    @derived
    def broken(evidence):
        asked.append(evidence)
        raise ValueError("no")

    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            broken(evidence)
    assert len(asked) == 2


def test_judged_evidence_keeps_what_was_derived(evidence):
    question, asked = counting("answer")
    rows = evidence.rows
    question(evidence)
    judged = evidence.judged(())
    assert question(judged) == "answer" and len(asked) == 1
    assert judged.rows is rows
    assert judged.run.by == runs.LOCAL.name and evidence.run.by == ""
