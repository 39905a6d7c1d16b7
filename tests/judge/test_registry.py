"""The table of checks: what a row is made of, and when it says that it does not apply."""

from __future__ import annotations

import pytest

import runs
from bench.judge import registry
from bench.judge.evidence import Evidence
from bench.judge.findings import Finding
from bench.judge.registry import check, no_rails, unplanned
from bench.model.verdict import Status
from made_nodes import LAMBDA, LOCAL, nodes


@pytest.fixture(autouse=True)
def table(monkeypatch: pytest.MonkeyPatch) -> dict[str, registry.Check]:
    empty: dict[str, registry.Check] = {}
    monkeypatch.setattr(registry, "CHECKS", empty)
    return empty


EVIDENCE = Evidence(runs.read_only(nodes(2)), LAMBDA)


def finds(evidence: Evidence):
    """Every rail is up: ACTIVE for a port.

    More of it.
    """
    yield Finding("n0", True, "it is")


def test_a_check_is_found_by_its_name_and_has_it_alone(table):
    made = check("a.check")(finds)
    assert table == {"a.check": made} and made.about == "Every rail is up: ACTIVE for a port."
    with pytest.raises(ValueError, match="two checks are called a.check"):
        check("a.check")(finds)


@pytest.mark.parametrize(
    ("facts_only", "beside", "is_beside"),
    [(False, None, False), (True, None, True), (False, True, True), (True, False, False)],
)
def test_what_judges_facts_of_machines_is_for_a_watch_too_unless_it_says_otherwise(
    facts_only, beside, is_beside
):
    made = check("a.check", facts_only=facts_only, beside=beside)(finds)
    assert (made.facts_only, made.beside) == (facts_only, is_beside)
    plain = check("b.check")(finds)
    assert (plain.facts_only, plain.beside, plain.unless, plain.only(EVIDENCE)) == (False, False, (), True)


@pytest.mark.parametrize(
    ("sentence", "every"),
    [
        ("Every rail is up: ACTIVE for a port.", "every rail is up"),
        ("PCI links are wide.", "PCI links are wide"),
        ("No rail.", "no rail"),
        ("A", "a"),
        ("", ""),
    ],
)
def test_the_line_for_all_that_is_well_is_the_first_sentence(sentence, every):
    def find(evidence):
        yield Finding("n0", True, "it is")

    find.__doc__ = sentence
    (said,) = check("a.check", unit="rails")(find)(EVIDENCE)
    assert said.measured == f"{every} (1 of 1 rails)"
    (said,) = check("b.check", unit="rails", every="all is well")(find)(EVIDENCE)
    assert said.measured == "all is well (1 of 1 rails)"
    (said,) = check("c.check", every="all is well")(find)(EVIDENCE)
    assert (said.subject, said.measured) == ("n0", "it is")


def test_words_and_bounds_may_follow_from_the_evidence():
    made = check(
        "a.check", subject=lambda seen: seen.backend, wanted="more", source=lambda seen: seen.profile.name,
        on_fail="mend", on_inconclusive="ask", unit="x", bound=lambda seen: seen.node_count,
    )(finds)  # fmt: skip
    (said,) = made(EVIDENCE)
    assert (said.subject, said.wanted, said.source, said.bound) == ("nccl", "more", LAMBDA.name, 2)
    (said,) = check("b.check", unit="x", bound=3.0)(finds)(EVIDENCE)
    assert said.bound == 3.0
    (said,) = check("c.check", unit="x")(finds)(EVIDENCE)
    assert (said.bound, said.subject) == (None, "all nodes")


@pytest.mark.parametrize(
    ("reasons", "said"),
    [
        ((), None),
        (("",), None),
        (("", "second"), "second"),
        (("first", "second"), "first"),
        (("first", ""), "first"),
    ],
)
def test_the_first_reason_why_it_does_not_apply_is_said(reasons, said):
    made = check("a.check", unless=[lambda _, why=why: why for why in reasons])(finds)
    (found,) = made(EVIDENCE)
    assert (found.status, found.measured) == (
        (Status.NOT_APPLICABLE, said) if said else (Status.PASS, "it is")
    )


def test_of_another_kind_of_run_nothing_at_all_is_said():
    assert (
        list(
            check("a.check", only=lambda seen: seen.backend == "gloo", unless=[lambda _: "why"])(finds)(
                EVIDENCE
            )
        )
        == []
    )


def test_a_phase_that_was_not_planned_has_the_reason_of_the_plan_or_the_one_given():
    assert unplanned("ring", lambda _: [1], "nothing")(EVIDENCE) == ""
    assert unplanned("ring", lambda _: [], "nothing")(EVIDENCE) == "nothing"
    vars(EVIDENCE)["skipped"] = {"ring": "no time"}
    assert unplanned("ring", lambda _: [], "nothing")(EVIDENCE) == "no time"
    assert unplanned("rails", lambda _: [], "nothing")(EVIDENCE) == "nothing"


def test_a_profile_without_rails_says_so():
    assert no_rails(EVIDENCE) == "" and no_rails(Evidence(EVIDENCE.run, LOCAL)) == "the profile has no rails"
