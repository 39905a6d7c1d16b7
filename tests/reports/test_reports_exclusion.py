"""The evidence for the exclusion: four layers, each with what was seen; what is missing is never shown as good."""

import re
from dataclasses import replace
from html import unescape

import pytest

import made_runs
from bench.judge.evidence import Evidence
from bench.model.printable import ranges
from bench.model.profile import Rails
from bench.model.verdict import Status, Verdict
from reports.exclusion import LAYERS
from reports.frames import frames
from reports.page import SECTIONS
from reports.summary import PageInput

CHECKS = [layer.check for layer in LAYERS]


def shown(made, verdicts=(), profile=None):
    run = replace(made.run, verdicts=tuple(verdicts))
    profile = profile or made.profile
    return PageInput(Evidence(run, profile), frames(Evidence(made.run, made.profile)), {})


def exclusion(values):
    """The section of the page."""
    return next(row for row in SECTIONS if row.name == "exclusion").drawn(values)


def words(html):
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def passed(check, *evidence):
    return Verdict(check, "all nodes", Status.PASS, "2 of 2", "exactly the rails", "made", evidence=evidence)


def badges(text):
    """The words of the badges after the headings of the layers."""
    return re.findall(r"[1-4]\. [^✔✘?–]*([✔✘?–] (?:PASS|FAIL|INCONCLUSIVE|NOT APPLICABLE))", text)


@pytest.fixture
def made():
    return made_runs.cluster()


def test_four_layers_that_passed_are_a_pass_with_what_was_seen_of_each_node(made):
    text = words(exclusion(shown(made, [passed(check, f"node001: {check} is well") for check in CHECKS])))
    assert text.startswith("Exclusion of mlx5_0: four layers of evidence ✔ PASS")
    assert badges(text) == ["✔ PASS"] * 4
    assert all(f"node001: {check} is well" in text for check in CHECKS)


@pytest.mark.parametrize("missing", CHECKS)
def test_a_layer_that_was_not_judged_is_unknown_and_so_is_the_whole(made, missing):
    text = words(exclusion(shown(made, [passed(check) for check in CHECKS if check != missing])))
    assert badges(text)[CHECKS.index(missing)] == "? INCONCLUSIVE"
    assert text.startswith("Exclusion of mlx5_0: four layers of evidence ? INCONCLUSIVE")
    assert "Nothing was judged: whether this layer holds is unknown." in text


def test_one_layer_that_failed_fails_the_whole_and_says_what_to_do(made):
    said = ("NCCL uses the excluded mlx5_0:1", "exactly the rails", "NCCL log", "set NCCL_IB_HCA")
    bad = Verdict("exclusion.log", "run", Status.FAIL, *said)
    text = words(
        exclusion(shown(made, [*(passed(check) for check in CHECKS if check != "exclusion.log"), bad]))
    )
    assert "four layers of evidence ✘ FAIL" in text
    assert (
        "NCCL uses the excluded mlx5_0:1. Wanted: exactly the rails (NCCL log). Next: set NCCL_IB_HCA."
        in text
    )


def test_bytes_on_the_excluded_port_stand_beside_those_of_the_rails(made):
    html = exclusion(shown(made, [passed(check) for check in CHECKS]))
    rows = re.findall(r"<tr>(?:<td.*?)</tr>", html, re.S)
    seen = [words(row) for row in rows if "mlx5_0/1" in row]
    assert seen == [
        "all rails between all nodes mlx5_0/1 0 B 2 of 2 3.725 GiB",
        "collectives as a ring mlx5_0/1 0 B 2 of 2 3.725 GiB",
    ]


def test_without_counters_it_says_that_none_were_recorded(made):
    bare = made_runs.Made(replace(made.run, counters=()), made.profile)
    assert "No byte counter of an excluded port was recorded." in words(exclusion(shown(bare)))


def test_nccls_own_lists_stand_with_the_ranks_that_wrote_them(made, tmp_path):
    (tmp_path / "logs").mkdir()
    for rank in made.run.manifest.ranks:
        devices = "[0]mlx5_3:1/IB [1]mlx5_4:1/IB" if rank.rank != 5 else "[0]mlx5_0:1/IB [1]mlx5_4:1/IB"
        line = f"{rank.node}:{900 + rank.rank}:{900 + rank.rank} [{rank.local_rank}] NCCL INFO NET/IB : Using {devices} [RO]; OOB eth0:10.0.0.{rank.rank}<0>"  # noqa: E501
        (tmp_path / "logs" / f"evidence.{rank.rank}.log").write_text(f"words of a worker\n{line}\n")
    made = made_runs.Made(replace(made.run, path=tmp_path), made.profile)
    html = exclusion(shown(made))
    rows = [words(row) for row in re.findall(r"<tr>(?:<td.*?)</tr>", html, re.S) if "[1]mlx5_4" in row]
    assert rows == [
        "[0]mlx5_3:1/IB [1]mlx5_4:1/IB [RO] 0-4, 6-15 15",
        "[0]mlx5_0:1/IB [1]mlx5_4:1/IB [RO] 5 1",
    ]


def test_the_interfaces_of_nccls_sockets_stand_with_the_ranks_that_wrote_them(made, tmp_path):
    (tmp_path / "logs").mkdir()
    for rank in made.run.manifest.ranks:
        names = ("eth1", "eth2") if rank.rank != 5 else ("eth0",)
        listed = " ".join(f"[{at}]{name}:10.0.{at}.{rank.rank}<0>" for at, name in enumerate(names))
        head = f"{rank.node}:{900 + rank.rank}:{900 + rank.rank} [{rank.local_rank}] NCCL INFO"
        line = f"{head} NET/Socket : Using {listed}"
        (tmp_path / "logs" / f"evidence.{rank.rank}.log").write_text(f"{line}\n")
    made = made_runs.Made(replace(made.run, path=tmp_path), made.profile)
    html = exclusion(shown(made))
    rows = [words(row) for row in re.findall(r"<tr>(?:<td.*?)</tr>", html, re.S) if "NET/Socket" in row]
    assert rows == ["NET/Socket: [0]eth1 [1]eth2 0-4, 6-15 15", "NET/Socket: [0]eth0 5 1"]


@pytest.mark.parametrize("rails", [Rails(), Rails(kind="infiniband", count=8)])
def test_a_platform_that_excludes_nothing_has_no_section(made, rails):
    assert exclusion(shown(made, profile=replace(made.profile, rails=rails))) is None


def test_what_does_not_apply_does_not_apply(made):
    skips = [Verdict(check, "all nodes", Status.NOT_APPLICABLE, "gloo moves the data") for check in CHECKS]
    assert badges(words(exclusion(shown(made, skips)))) == ["– NOT APPLICABLE"] * 4


@pytest.mark.parametrize(("ranks", "text"), [([], ""), ([3], "3"), ([5, 0, 1, 2, 7, 2], "0-2, 5, 7")])
def test_ranks_are_ranges(ranks, text):
    assert ranges(ranks) == text
