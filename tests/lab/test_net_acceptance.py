"""What counts as named: the right place and no other; nothing told is not a pass."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench.model.profile import parse

sys.path.insert(0, str(Path(__file__).parents[2] / "ci" / "lab"))
from netlab import acceptance
from netlab.acceptance import EVERY, QUICK, Trial, check, profile, table
from netlab.naming import Outcome, complaint
from netlab.plan import Lab, LabError
from netlab.rules import DEFAULT


def outcome(status: int | None, *rows: str) -> Outcome:
    """Rows are ``status check subject``."""
    words = [row.split(" ", 2) for row in rows]
    return Outcome(
        status, 1.0, tuple({"status": s, "check": c, "subject": t, "message": f"{t}: x"} for s, c, t in words)
    )


RIGHT = "fail blame.rails n2 rail eth1"


def test_a_healthy_lab_must_pass_and_blame_nothing() -> None:
    assert complaint("", outcome(0, "pass blame.rails rails")) == ""
    assert complaint("", outcome(3)) == "wanted a pass, got exit status 3, blamed: nobody"
    assert complaint("", outcome(None)).startswith("wanted a pass, got exit status None")
    assert complaint("", outcome(1, RIGHT)).endswith("n2 rail eth1")


@pytest.mark.parametrize(
    ("fault", "rows"),
    [
        ("slow-rail n2 1", [RIGHT]),
        (
            "slow-rail n2 1",
            [RIGHT, "fail limits.rail_rate p2p/524288/round-1", "error coverage.cases suspects"],
        ),
        ("slow-tx n2 1", ["fail blame.rails n2 rail eth1, sending only"]),
        ("slow-rx n2 1", ["fail blame.rails n2 rail eth1, receiving only"]),
        ("lossy-rail n2 1", ["fail blame.rails n2 rail eth1, receiving only"]),
        ("slow-node n2", ["fail blame.rails node n2"]),
        ("swapped-rails n2 1", ["fail rails.wiring n2 rails eth1 and eth2, swapped"]),
        ("swapped-rails n2 2", ["fail rails.wiring n2 rails eth1 and eth2, swapped", RIGHT]),
        ("wrong-mtu n2 1 1400", ["fail net.mtu n2 eth1"]),
        ("frozen n2", ["error coverage.lost n2 (ranks 4-5)"]),
        ("frozen n2", ["error coverage.nodes n2"]),
        ("slow-rail n2 1", [RIGHT, "fail limits.rail_rate n0 to n2 on eth1"]),
    ],
)
def test_a_fault_is_named_by_its_node_and_its_rail(fault: str, rows: list[str]) -> None:
    assert complaint(fault, outcome(1, *rows)) == ""


@pytest.mark.parametrize(
    ("fault", "rows"),
    [
        ("slow-rail n2 1", []),
        ("slow-rail n2 1", ["error blame.rails n2 rail eth1"]),
        ("slow-rail n2 1", ["fail limits.busbw all_reduce/1048576"]),
        ("slow-rail n2 1", [RIGHT, "fail blame.rails n1 rail eth1"]),
        ("slow-rail n2 1", [RIGHT, "fail blame.rails rail eth1, all nodes"]),
        ("slow-rail n2 1", [RIGHT, "fail blame.rails node n2"]),
        ("slow-rail n2 1", ["fail blame.rails n2 rail eth2"]),
        ("slow-rail n2 1", ["fail blame.rails n0 to n2 rail eth1"]),
        ("slow-rail n2 1", ["fail blame.rails n2 rail eth1, sending only"]),
        ("slow-rail n2 1", ["fail blame.rails n12 rail eth1"]),
        ("slow-rail n2 1", ["fail blame.rails n2 rail eth12"]),
        ("slow-tx n2 1", [RIGHT]),
        ("slow-node n2", [RIGHT]),
        ("frozen n2", ["error coverage.lost n1 (rank 2)"]),
        ("frozen n2", ["error coverage.lost n2 (ranks 4-5)", "error coverage.lost n1 (rank 2)"]),
        ("frozen n2", ["error coverage.losses n2"]),
        ("slow-rail n2 1", ["fail limits.rail_rate n0 to n2 on eth1"]),
        ("slow-rail n2 1", [RIGHT, "fail limits.rail_rate n0 to n1 on eth1"]),
        ("slow-rail n2 1", [RIGHT, "fail limits.rail_rate n0 to n2 on eth2"]),
        ("dead n2", []),
        ("swapped-rails n2 1", [RIGHT]),
        ("swapped-rails n2 1", [RIGHT, "fail blame.rails n2 rail eth2"]),
        ("swapped-rails n2 1", ["fail rails.wiring n1 rails eth1 and eth2, swapped"]),
        ("swapped-rails n2 1", ["fail rails.wiring n2 rails eth1 and eth3, swapped"]),
        ("swapped-rails n2 1 3", ["fail rails.wiring n2 rails eth1 and eth2, swapped"]),
    ],
)
def test_a_fault_that_is_named_elsewhere_or_not_at_all_is_a_complaint(fault: str, rows: list[str]) -> None:
    assert complaint(fault, outcome(1, *rows))


REST = ("pass coverage.cases rails", "pass coverage.ranks job", "pass coverage.end run")
ASIDE = "fail coverage.nodes n2 eth1"


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ((ASIDE, *REST), ""),
        (REST, "nobody is set aside"),
        (("fail rails.state n2 eth1", *REST), "nobody is set aside"),
        ((ASIDE, *REST[1:]), "not measured whole: coverage.cases"),
        ((ASIDE, *REST, "error coverage.cases nodes"), "not measured whole: coverage.cases"),
        ((ASIDE, *REST[:2]), "not measured whole: coverage.end"),
    ],
)
def test_a_node_that_is_set_aside_must_cost_the_others_nothing(rows, said) -> None:
    found = complaint("half-open n2 1", outcome(1, *rows))
    assert (said in found) if said else found == ""


def test_a_run_that_must_stop_names_the_node_and_sets_nobody_aside() -> None:
    stopped = ("fail rails.state n2 eth1", "error coverage.cases rails")
    assert complaint("admin-down n2 1", outcome(1, *stopped), stops=True) == ""
    assert complaint("admin-down n2 1", outcome(1, *stopped)) == "nobody is set aside"
    assert complaint("admin-down n2 1", outcome(1, stopped[1]), stops=True).startswith("it is not named")


@pytest.mark.parametrize("kind", ["isolated-management", "bridges"])
def test_what_every_node_has_is_nobodys_fault(kind) -> None:
    assert complaint(kind, outcome(0, *REST)) == ""
    assert complaint(kind, outcome(3, *REST)).startswith("wanted a pass, got exit status 3")
    assert complaint(kind, outcome(1, ASIDE)).endswith("blamed: n2 eth1")


def test_a_pass_under_a_fault_is_a_complaint_whatever_was_said() -> None:
    assert complaint("slow-rail n2 1", outcome(0, RIGHT)) == "it passed"


def test_a_lab_is_sold_by_a_profile_that_the_bench_reads() -> None:
    want = parse(profile(Lab(nodes=4, rails=3)), "lab.toml")
    assert want.nodes == (4, 4)
    assert want.rails.devices == ("eth1", "eth2", "eth3")
    assert want.rails.rate is not None
    assert want.rails.rate.value == 12.5e6
    assert want.limits[0].bound.value == 10e6


def test_an_unshaped_lab_cannot_be_judged() -> None:
    with pytest.raises(LabError, match="give --rate"):
        profile(Lab(rate=None))


def test_the_table_counts_a_row_a_fault_and_tells_each_complaint_once() -> None:
    done = [
        Trial("", "", frozenset(), 30.0, 1.0),
        Trial("slow-rail n2 1", "", frozenset(), 40.0, 1.0),
        Trial("slow-rail n2 1", "it blames n1", frozenset({"n1"}), 60.0, 7.0),
        Trial("slow-rail n2 1", "it blames n1", frozenset({"n1"}), 50.0, 2.0),
    ]
    head, healthy, slow, complaint_ = table(done, {})
    assert head.split() == ["fault", "right", "false", "names", "seconds", "load"]
    assert healthy.split() == ["healthy", "1", "of", "1", "0", "30..30", "1.0"]
    assert slow.split() == ["slow-rail", "n2", "1", "1", "of", "3", "2", "50..60", "7.0"]
    assert complaint_.strip() == "it blames n1"


def test_a_fault_that_this_machine_cannot_show_stands_in_the_table_and_is_no_success() -> None:
    done, lacking = [Trial("", "", frozenset(), 30.0, 1.0)], {"frozen n2": "no freezer here"}
    *_, row, why = table(done, lacking)
    assert row.split()[:4] == ["frozen", "n2", "not", "run"]
    assert "no freezer here" in why
    assert DEFAULT.exit_status(done, lacking) == 3
    assert DEFAULT.exit_status(done, {}) == 0
    assert DEFAULT.exit_status([], {}) == 3
    assert DEFAULT.exit_status([Trial("", "it blames n1", frozenset(), 1.0, 1.0)], lacking) == 1


@pytest.mark.parametrize(
    ("given", "quick", "tried"),
    [
        ((), False, ("", *EVERY)),
        ((), True, ("", *QUICK)),
        (("slow-rail n2 1",), False, ("slow-rail n2 1",)),
        (("healthy", "slow-tx n1 2"), False, ("", "slow-tx n1 2")),
    ],
)
def test_what_is_named_is_tried_alone_and_otherwise_a_healthy_lab_first(
    monkeypatch: pytest.MonkeyPatch, given: tuple[str, ...], quick: bool, tried: tuple[str, ...]
) -> None:
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(acceptance, "trials", lambda _lab, faults, *_, **__: asked.append(faults) or 0)
    assert check("made", quick, 1, given) == 0
    assert asked == [tried]


def test_a_fault_that_cannot_be_planted_is_refused_before_a_lab_is_built() -> None:
    with pytest.raises(LabError, match="known:"):
        check("made", False, 1, ("healthy", "slow-cable n2 1"))
