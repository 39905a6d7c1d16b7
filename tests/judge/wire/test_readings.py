"""What measured rows mean on the wire."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.exchange.exporting.formats import export
from bench.judge.evidence import Evidence
from bench.judge.wire import algorithm_used, of_row, of_target, why_not
from bench.judge.wire.counters import (
    LEAST_SHARE,
    Carried,
    Undetermined,
    _long_enough,
    _sent,
    busy_seconds,
    carried,
    rail_subjects,
)
from bench.judge.wire.group_shape import Unplaced, rail_rate
from bench.judge.wire.row_reading import _single_node_algbw, sustained_algbw
from bench.model.collectives import collective
from bench.model.facts import Node, Port
from bench.model.measurement import Rank
from bench.model.profile import load, parse
from bench.model.units import GIGA
from bench.model.verdict import Status
from bench.plan import Request, sweep_cases
from bench.store import load as load_run
from bench.store.rows import row_of, rows
from reports.frames import frames
from reports.summary import network
from tests import runs

LAMBDA = load("lambda-1cc-h100")
B200 = load("lambda-1cc-b200")
SIZE = 8 << 30
EVERYONE = (tuple(range(16)),)
NODES = ("n0", "n1")


def case(name="all_reduce", phase="collectives", size=SIZE, algorithm="auto", groups=EVERYONE, rail=""):
    made = sweep_cases(phase, Request(name, size, size, algorithm=algorithm), groups)[0]
    return replace(made, rail=rail)


def at(one, busbw, **changes):
    """Measurements of a case that runs at ``busbw`` GB/s, two seconds of calls."""
    n = len(one.groups[0])
    seconds = one.size * collective(one.collective).factor(n) / (busbw * GIGA)
    calls = max(1, round(1.0 / seconds / 6))
    busy = seconds * (calls * 6 + 12 * 1.1 + (4 + 2) * 1.1)
    made = {"calls": calls, "started": 100.0, "ended": 100.0 + busy * 1.3, **changes}
    return runs.measured(one, seconds, **made)


def folder(tmp_path, pairs, profile=LAMBDA, where=None, backend="nccl", counters=None, logs=None, nodes=None):
    """A run of cases with their measurements; ``counters``: phase -> (before, after) snapshots by node."""
    path = runs.folder(
        tmp_path / "run",
        rows=[row for _, rows_ in pairs for row in rows_],
        planned=[one for one, _ in pairs],
        where=where or runs.ranks(2, 8),
        profile=profile,
        backend=backend,
        nodes=nodes,
    )
    for phase, (before, after) in (counters or {}).items():
        with (path / "counters.jsonl").open("a") as file:
            for when, shots in (("before", before), ("after", after)):
                file.write(json.dumps({"phase": phase, "when": when, "snapshots": shots}) + "\n")
    for name, text in (logs or {}).items():
        (path / "logs" / name).write_text(text)
    return load_run(path)


def read(tmp_path, busbw, one=None, profile=LAMBDA, **given):
    one = one or case()
    run = folder(tmp_path, [(one, at(one, busbw))], profile, **given)
    return of_row(rows(run)[0], Evidence(run, profile))


# --- one row


def test_two_nodes_of_b200_have_both_readings_and_say_which_is_impossible(tmp_path):
    reading = read(tmp_path, 696.1, profile=B200)
    assert not reading.used.known
    assert [each.algorithm for each in reading.possible] == ["hierarchical"]
    assert reading.wire[0] * 8 / GIGA == pytest.approx(2970, abs=1)
    assert reading.share[0] == pytest.approx(0.928, abs=1e-3)
    assert reading.ceiling == pytest.approx(750 * GIGA)
    assert reading.network_text.endswith("92.8 % as hierarchical; impossible as ring")
    assert reading.ceiling_text == "750.0 GB/s (6000.0 Gb/s) by any algorithm"
    assert reading.conclusion.kind == "healthy"


def test_a_forced_ring_has_one_reading_of_its_own_busbw(tmp_path):
    reading = read(tmp_path, 365, case(algorithm="ring", phase="ring"))
    assert (reading.used.algorithm, reading.used.how) == ("ring", "forced")
    assert reading.wire == pytest.approx((365 * GIGA, 365 * GIGA))
    assert reading.ceiling == pytest.approx(400 * GIGA)


def test_ncclogs_name_the_algorithm_of_their_own_size_and_no_other(tmp_path):
    log = f"n0:1:1 [0] NCCL INFO AllReduce: {SIZE} Bytes -> Algo NVLS_TREE proto SIMPLE channel{{Lo..Hi}}={{0..15}}\n"
    large, small = case(), case(size=SIZE // 4)
    run = folder(tmp_path, [(large, at(large, 470)), (small, at(small, 450))], logs={"evidence.0.log": log})
    seen = [of_row(row, Evidence(run, LAMBDA)) for row in rows(run)]
    assert seen[0].used.algorithm == "tree"
    assert seen[0].used.how == "NCCL's log: NVLS_TREE"
    assert not seen[1].used.known


@pytest.mark.parametrize(
    ("said", "one", "protocol"),
    [
        ([("RING", "LL128")], case(), "LL128"),
        ([("RING", "SIMPLE")], case(), "Simple"),
        ([("1", "2")], case(), "Simple"),  # up to 2.23 both are numbers
        ([("RING", "LL"), ("RING", "LL128")], case(), "LL/LL128"),
        ([("TREE", "LL"), ("RING", "SIMPLE")], case(algorithm="ring"), "Simple"),
        ([("TREE", "LL")], case(algorithm="ring"), ""),
        ([("RING", "LL")], case(size=SIZE // 4), ""),
        ([("RING", "LL")], case(algorithm="registered"), ""),
        ([("RING", "LL")], case(groups=(tuple(range(8)), tuple(range(8, 16)))), ""),
        ([], case(), ""),
    ],
)
def test_the_protocol_is_told_of_the_calls_that_the_log_speaks_of(tmp_path, said, one, protocol):
    text = "".join(f"n0:1:1 [0] NCCL INFO AllReduce: {SIZE} Bytes -> Algo {a} proto {p} x\n" for a, p in said)
    run = folder(tmp_path, [(one, at(one, 380))], logs={"evidence.0.log": text})
    assert algorithm_used(one, Evidence(run, LAMBDA)).protocol == protocol


def test_the_protocol_stands_in_the_report_the_tables_and_the_target(tmp_path):
    text = f"n0:1:1 [0] NCCL INFO AllReduce: {SIZE} Bytes -> Algo RING proto SIMPLE x\n"
    run = folder(tmp_path, [(case(), at(case(), 380))], logs={"evidence.0.log": text})
    (row,) = rows(run)
    assert "; protocol Simple; ceiling" in network(row, Evidence(run, LAMBDA))
    (line,) = csv.DictReader(io.StringIO(export(run, "csv")))
    assert (line["in_force"], line["protocol"]) == ("ring", "Simple")
    assert list(frames(Evidence(run, LAMBDA)).rows["protocol"]) == ["Simple"]
    assert any(
        reading.text.endswith("protocol Simple") for reading in of_target(Evidence(run, LAMBDA)).readings
    )


@pytest.mark.parametrize(
    ("names", "algorithm"),
    [
        (["RING"], "ring"),
        (["Ring"], "ring"),
        (["1"], "ring"),
        (["NVLSTree"], "tree"),
        (["COLLNET_CHAIN"], "in_network"),
        (["NVLS"], "in_network"),
        (["RING", "TREE"], "unknown"),
        (["TREE", "NVLS_TREE"], "tree"),
        (["SOMETHING_NEW"], "unknown"),
        ([], "unknown"),
    ],
)
def test_what_the_log_says_is_believed_when_it_says_one_thing(tmp_path, names, algorithm):
    text = "".join(
        f"n0:1:1 [0] NCCL INFO AllReduce: {SIZE} Bytes -> Algo {name} proto SIMPLE x\n" for name in names
    )
    run = folder(tmp_path, [(case(), at(case(), 380))], logs={"evidence.3.log": text})
    assert algorithm_used(case(), Evidence(run, LAMBDA)).algorithm == algorithm


def test_the_log_of_the_ring_phase_says_nothing_of_the_default_run(tmp_path):
    text = f"n0:1:1 [0] NCCL INFO AllReduce: {SIZE} Bytes -> Algo RING proto SIMPLE x\n"
    both = [case(), case(phase="ring")]
    run = folder(tmp_path, [(each, at(each, 380)) for each in both], logs={"ring.0.log": text})
    assert [algorithm_used(each, Evidence(run, LAMBDA)).known for each in both] == [False, True]


def test_a_busbw_above_the_hierarchical_ceiling_is_an_error(tmp_path):
    reading = read(tmp_path, 760)
    assert reading.conclusion.kind == "error"
    assert reading.possible == ()
    assert math.isnan(reading.wire[0])


def test_the_switches_may_reduce_only_where_the_profile_says_so(tmp_path):
    azure = load("azure-nd-h100-v5")
    where = runs.ranks(8, 8)
    one = case(groups=(tuple(range(64)),))
    with_sharp = read(tmp_path / "a", 450, one, azure, where=where)
    without = read(tmp_path / "b", 450, one, LAMBDA, where=where)
    assert "in_network" in [each.algorithm for each in with_sharp.readings]
    assert "in_network" not in [each.algorithm for each in without.readings]


def test_a_pair_on_its_own_rail_is_compared_with_one_rail(tmp_path):
    one = case("p2p_bidirectional", "rails", 1 << 28, groups=tuple((i, i + 8) for i in range(8)), rail="own")
    reading = read(tmp_path, 48.5, one)
    assert reading.shape.rails == 1
    assert reading.share[0] == pytest.approx(0.97)


def test_on_oci_a_gpu_has_two_rails(tmp_path):
    one = case("p2p_bidirectional", "rails", 1 << 28, groups=tuple((i, i + 8) for i in range(8)), rail="own")
    reading = read(tmp_path, 48.5, one, load("oci-h100"))
    assert reading.shape.rails == 2
    assert reading.share[0] == pytest.approx(0.97)


def test_neighbours_on_one_node_say_nothing_of_the_rails(tmp_path):
    reading = read(tmp_path, 300, case("p2p", "pairs", 1 << 28))
    assert reading.conclusion.kind == "no_wire"
    assert reading.network_text == "nothing crosses the rails"


def test_ranks_that_no_bound_describes_have_no_reading_and_a_reason(tmp_path):
    one = case()
    uneven = tuple(Rank(i, "n0" if i < 9 else "n1", i) for i in range(16))
    run = folder(tmp_path, [(one, at(one, 400))], where=uneven)
    assert of_row(rows(run)[0], Evidence(run, LAMBDA)) is None
    assert "uneven nodes: 9 ranks on n0, 7" in why_not(rows(run)[0], Evidence(run, LAMBDA))


def test_gloos_ring_follows_the_ranks(tmp_path):
    profile = socket_profile()
    mixed = tuple(Rank(i, f"n{i % 2}", i // 2) for i in range(8))
    one = case(groups=(tuple(range(8)),), size=1 << 24)
    run = folder(tmp_path, [(one, at(one, 0.2))], profile, where=mixed, backend="gloo")
    assert "back and forth" in why_not(rows(run)[0], Evidence(run, profile))


def test_an_open_profile_gives_no_reading(tmp_path):
    runpod = load("runpod-instant-cluster")
    run = folder(tmp_path, [(case(), at(case(), 100))], runpod)
    assert of_row(rows(run)[0], Evidence(run, runpod)) is None
    assert "leaves open" in why_not(rows(run)[0], Evidence(run, runpod))


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    return folder(tmp_path_factory.mktemp("empty"), [])


@given(st.floats(allow_nan=True, allow_infinity=True), st.sampled_from(["auto", "ring"]))
@settings(max_examples=100)
def test_no_time_makes_a_healthy_row_out_of_nothing(empty, seconds, algorithm):
    one = case(algorithm=algorithm)
    made = runs.measured(one, 0.02)
    row = row_of(one, replace(made[0], pipelined=((seconds,) * 16,)))
    reading = of_row(row, Evidence(empty, LAMBDA))
    if reading.conclusion.kind == "healthy":
        assert reading.share[0] >= 0.85
        assert row.busbw <= reading.ceiling * 1.001


def test_what_one_node_does_alone_is_read_of_the_largest_message_of_the_slowest_node(tmp_path):
    """A small message is slower by itself, and the other node is faster."""
    large, small = (
        case(phase="nodes", size=size, groups=(tuple(range(8)), tuple(range(8, 16))))
        for size in (SIZE, SIZE // 4)
    )
    both = [*at(large, 480)[:1], *at(large, 400)[1:]]
    run = folder(tmp_path, [(small, at(small, 200)), (large, both)])
    assert _single_node_algbw(Evidence(run, LAMBDA))["all_reduce"] == pytest.approx(400 * GIGA / (2 * 7 / 8))


def test_what_a_healthy_node_does_alone_stands_in_the_profile_where_none_was_measured(tmp_path):
    """Of all of its GPUs, however many ranks a node has; a node without a figure tells nothing."""
    alone = case(phase="nodes", groups=(tuple(range(4)), tuple(range(4, 8))))
    lost = [*at(alone, 480)[:1], replace(at(alone, 480)[1], pipelined=())]
    expected = {"all_reduce": LAMBDA.alone.value / (2 * 7 / 8)}
    for number, pairs in enumerate(([], [(alone, lost)])):
        run = folder(tmp_path / str(number), pairs, where=runs.ranks(2, 4))
        assert _single_node_algbw(Evidence(run, LAMBDA)) == pytest.approx(expected)
    blind = replace(LAMBDA, gpus=0)
    assert _single_node_algbw(Evidence(run, blind))["all_reduce"] == LAMBDA.alone.value / (2 * 3 / 4)


@pytest.mark.parametrize(("share", "counts"), [(0.99, True), (0.98, False)])
def test_a_port_can_be_a_rail_at_the_least_rate_of_rails(share, counts):
    """Without devices in the profile a port is one from 99 % of the rate of a rail on."""
    rails = replace(LAMBDA.rails, devices=(), excluded=(), count=9 if counts else 0)
    (window, _) = (SimpleNamespace(node=one) for one in nodes_with_ports(8, LAMBDA.rails.rate.value * share))
    assert len(rail_subjects(window, rails)) == rails.count


@pytest.mark.parametrize(
    "changes", [{}, {"link_layer": "Ethernet"}, {"state": "DOWN"}, {"rate": None}, {"hca": "mlx5_9"}]
)
def test_a_port_that_is_down_excluded_or_of_another_kind_is_no_rail(changes):
    rails = replace(LAMBDA.rails, devices=(), excluded=("mlx5_0", "mlx5_9"), count=7 if changes else 8)
    (one, _) = nodes_with_ports(8)
    one = replace(one, ports=(*one.ports[:-1], replace(one.ports[-1], **changes)))
    assert len(rail_subjects(SimpleNamespace(node=one), rails)) == rails.count


# --- three readings of the target


def snapshots(sent, names=tuple(f"mlx5_{i}" for i in range(1, 9)), seconds=0.0):
    """One snapshot a node: ``sent`` bytes on each rail."""
    readings = {
        f"{name}/1": {"counters": {"port_xmit_data": sent // 4, "port_rcv_data": sent // 4}} for name in names
    }
    return [{"time": seconds, "monotonic": seconds, "readings": readings} for _ in NODES]


def nodes_with_ports(count=8, rate=50e9):
    ports = [Port("mlx5_0", 1, state="ACTIVE", rate=rate, link_layer="InfiniBand")]
    ports += [
        Port(f"mlx5_{i}", 1, state="ACTIVE", rate=rate, link_layer="InfiniBand") for i in range(1, count + 1)
    ]
    return [Node(name, ports=tuple(ports)) for name in NODES]


def ring_bytes(one, measurement, header=1 + 24 / 4096):
    """What a node's eight rails count for the calls of a Ring all_reduce."""
    number = (
        2 + measurement.warmup + measurement.calls * len(measurement.pipelined) + len(measurement.isolated)
    )
    return 2 * 15 / 16 * one.size * number * header


def acceptance(tmp_path, ring=365.0, rail=48.5, counted=1.0, changes=None, profile=LAMBDA, **given):
    """A run with all three: forced Ring at ``ring``, each rail at ``rail`` GB/s, ``counted`` × the Ring's bytes."""
    forced = case(algorithm="ring", phase="ring")
    pair = case("p2p_bidirectional", "rails", 1 << 28, groups=tuple((i, i + 8) for i in range(8)), rail="own")
    measured = at(forced, ring, **(changes or {}))
    each = int(counted * ring_bytes(forced, measured[0]) / 8) // 4 * 4
    counters = {"ring": (snapshots(1000), snapshots(1000 + each, seconds=9.0))}
    given = {"counters": counters, "nodes": nodes_with_ports(), **given}
    run = folder(tmp_path, [(pair, at(pair, rail)), (forced, measured)], profile, **given)
    return of_target(Evidence(run, profile))


def test_three_readings_that_agree_pass_and_stand_side_by_side(tmp_path):
    found = acceptance(tmp_path)
    told = {reading.name: reading for reading in found.readings if reading.told}
    assert set(told) == {"port counters", "Ring all_reduce", "rails point-to-point"}
    assert told["Ring all_reduce"].share == pytest.approx(0.9125)
    assert told["port counters"].share == pytest.approx(0.9125, rel=1e-3)
    assert told["rails point-to-point"].share == pytest.approx(0.97)
    assert found.status is Status.PASS
    assert "mlx5_8/1" in told["port counters"].evidence[0]
    assert "mlx5_0/1" not in told["port counters"].evidence[0]


def test_transfers_side_by_side_take_as_long_as_the_slowest_of_them(tmp_path):
    pair = case("p2p_bidirectional", "rails", 1 << 28, groups=tuple((i, i + 8) for i in range(8)), rail="own")
    rows_ = [*at(pair, 48.5)[:7], at(pair, 24.0, calls=at(pair, 48.5)[7].calls, ended=103.0)[7]]
    counters = {"rails": (snapshots(1000), snapshots(1 << 36, seconds=90.0))}
    run = folder(tmp_path, [(pair, rows_)], counters=counters, nodes=nodes_with_ports())
    seen = Evidence(run, LAMBDA)
    slowest = max(busy_seconds(row, 2) for row in seen.rows)
    assert {each.busy for each in carried("rails", seen)} == {slowest}


def test_what_single_rails_carried_in_turn_says_nothing_of_all_of_them(tmp_path):
    pinned = case("p2p_bidirectional", "pinned", 1 << 28, groups=((0, 8),), rail="own")
    counters = {"pinned": (snapshots(1000), snapshots(1 << 40, seconds=9.0))}
    run = folder(tmp_path, [(pinned, at(pinned, 48.5))], counters=counters, nodes=nodes_with_ports())
    (reading,) = [each for each in of_target(Evidence(run, LAMBDA)).readings if each.kind == "counters"]
    assert (reading.told, reading.text) == (False, "no phase was measured")


def test_half_of_the_bytes_elsewhere_names_the_counters(tmp_path):
    found = acceptance(tmp_path, counted=0.5)
    assert (found.status, found.odd) == (Status.INCONCLUSIVE, "port counters")
    assert "port counters is the odd one" in found.text


def test_a_ring_that_claims_more_than_the_rest_is_odd_only_if_the_rest_agrees(tmp_path):
    found = acceptance(tmp_path, rail=30.0)
    assert (found.status, found.odd) == (Status.INCONCLUSIVE, "rails point-to-point")


def test_agreement_on_too_little_fails(tmp_path):
    found = acceptance(tmp_path, ring=228, rail=29)
    assert found.status is Status.FAIL
    assert "57.0 %" in found.text
    assert found.wanted == "at least 85 % of 3200 Gb/s"


def test_two_readings_that_disagree_leave_open_which_is_wrong(tmp_path):
    found = acceptance(tmp_path, rail=30.0, counters={})
    assert (found.status, found.odd) == (Status.INCONCLUSIVE, "")
    assert "cannot be determined" in found.text


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"counters": {}}, "no counters were recorded"),
        ({"changes": {"calls": 1, "isolated": (0.05,), "warmup": 0}}, "seconds of calls|s of calls"),
        ({"changes": {"started": 0.0, "ended": 0.0}}, "two clocks do not fit"),
        ({"changes": {"started": 0.0, "ended": 900.0}}, "two clocks do not fit"),
        ({"nodes": nodes_with_ports(7)}, "7 ports can be rails, the profile says 8"),
        ({"nodes": nodes_with_ports(9)}, "9 ports can be rails"),
        ({"nodes": nodes_with_ports(8, 25e9)}, "0 ports can be rails"),
        ({"counters": {"ring": (snapshots(9), snapshots(9, names=("mlx5_1",)))}}, "absent"),
        (
            {"counters": {"ring": (snapshots(9)[:1], snapshots(9)[:1])}},
            "1 nodes before and 1 after phase “collectives as a ring”, of 2",
        ),
        ({"counters": {"ring": (snapshots(9000), snapshots(400))}}, "reset"),
    ],
)
def test_counters_that_cannot_be_told_say_why_and_two_readings_do_not_pass(tmp_path, given, words):
    found = acceptance(tmp_path, **given)
    assert not found.readings[0].told
    assert re.search(words, found.readings[0].text)
    assert found.status is Status.INCONCLUSIVE
    assert "they agree, but port counters: " in found.text
    assert acceptance(tmp_path / "slow", ring=228, rail=29, **given).status is Status.FAIL


def test_fewer_than_two_kinds_cannot_tell(tmp_path):
    forced = case(algorithm="ring", phase="ring")
    gather = case("all_gather", algorithm="ring", phase="ring")
    run = folder(tmp_path, [(forced, at(forced, 365)), (gather, at(gather, 361))])
    found = of_target(Evidence(run, LAMBDA))
    assert found.status is Status.INCONCLUSIVE
    assert "one kind of reading" in found.text


def test_nothing_measured_cannot_tell(tmp_path):
    run = folder(tmp_path, [])
    found = of_target(Evidence(run, LAMBDA))
    assert found.status is Status.INCONCLUSIVE
    assert "no reading" in found.text


def test_a_rail_that_carried_nothing_counts_as_nothing(tmp_path):
    pair = case("p2p_bidirectional", "rails", 1 << 28, groups=tuple((i, i + 8) for i in range(8)), rail="own")
    rows_ = at(pair, 48.0)
    rows_[3] = replace(rows_[3], pipelined=(), isolated=(), stop="failed")
    run = folder(tmp_path, [(pair, rows_)])
    reading = of_target(Evidence(run, LAMBDA)).readings[-1]
    assert reading.rate == pytest.approx(7 * 48 * GIGA)


def test_too_few_ranks_do_not_load_all_rails(tmp_path):
    pair = case("p2p_bidirectional", "rails", 1 << 28, groups=((0, 2), (1, 3)), rail="own")
    run = folder(tmp_path, [(pair, at(pair, 48.0))], where=runs.ranks(2, 2))
    reading = of_target(Evidence(run, LAMBDA)).readings[-1]
    assert not reading.told
    assert "2 ranks a node cannot load all 8 rails" in reading.text


def test_the_node_with_the_fewest_ranks_says_whether_all_rails_were_loaded(tmp_path):
    where = (*runs.ranks(1, 8), Rank(8, "n1", 0), Rank(9, "n1", 1))
    pair = case("p2p_bidirectional", "rails", 1 << 28, groups=((0, 8), (1, 9)), rail="own")
    run = folder(tmp_path, [(pair, at(pair, 48.0))], where=where)
    assert "2 ranks a node cannot load all 8 rails" in of_target(Evidence(run, LAMBDA)).readings[-1].text


@pytest.mark.parametrize(
    ("profile", "where", "status", "words"),
    [
        (LAMBDA, runs.ranks(1, 8), Status.NOT_APPLICABLE, "one node"),
        (runs.LOCAL, runs.ranks(2, 8), Status.NOT_APPLICABLE, "names no target"),
        (load("runpod-instant-cluster"), runs.ranks(2, 8), Status.INCONCLUSIVE, "leaves open"),
    ],
)
def test_where_there_is_no_target_that_is_said(tmp_path, profile, where, status, words):
    run = folder(tmp_path, [], profile, where=where)
    found = of_target(Evidence(run, profile))
    assert found.status is status
    assert words in found.text


# --- socket clusters


def socket_profile(rails=2, rate="1 Gb/s"):
    names = [f"eth{i}" for i in range(1, rails + 1)]
    return parse(
        f"""
format = 1
name = "sockets"
title = "sockets"
source = "test"
[rails]
kind = "socket"
count = {rails}
devices = {names}
management = "eth0"
rate = {{ value = "{rate}", source = "test" }}
target = {{ value = "{rails} Gb/s", source = "test" }}
""",
        "test",
    )


def test_a_socket_cluster_is_read_against_its_own_target(tmp_path):
    profile, where = socket_profile(), runs.ranks(2, 2)
    pair = case("p2p_bidirectional", "rails", 1 << 22, groups=((0, 2), (1, 3)), rail="own")
    reduce = case(size=1 << 24, groups=(tuple(range(4)),))
    pairs = at(pair, 0.117)
    calls = 2 + 4 + pairs[0].calls * 6 + 12
    # full packets of 1500 bytes hold 1448 of payload, and the interface counts 1514 of each
    sent = int(pair.size * calls * 1514 / 1448)

    def shot(count):
        faces = {f"eth{i}": {"statistics": {"tx_bytes": count, "rx_bytes": count}} for i in (1, 2)}
        return [{"time": 0.0, "monotonic": float(count), "readings": faces} for _ in NODES]

    run = folder(
        tmp_path,
        [(pair, pairs), (reduce, at(reduce, 0.23))],
        profile,
        where=where,
        backend="gloo",
        counters={"rails": (shot(5), shot(5 + sent))},
    )
    found = of_target(Evidence(run, profile))
    told = {reading.name: reading for reading in found.readings if reading.told}
    assert set(told) == {"port counters", "rails point-to-point"}
    assert "cannot load 2 rails" in found.readings[1].text
    assert told["port counters"].rate == pytest.approx(2 * 0.117 * GIGA, rel=1e-3)
    assert told["rails point-to-point"].share == pytest.approx(0.936)
    assert found.status is Status.PASS
    assert "TCP" in found.source


def test_a_call_of_gloo_is_compared_with_the_one_rail_that_it_uses(tmp_path):
    profile, where = socket_profile(), runs.ranks(2, 2)
    one = case(size=1 << 24, groups=(tuple(range(4)),))
    run = folder(tmp_path, [(one, at(one, 0.118))], profile, where=where, backend="gloo")
    reading = of_row(rows(run)[0], Evidence(run, profile))
    assert (reading.used.algorithm, reading.shape.rails) == ("gloo", 1)
    assert reading.share[0] == pytest.approx(0.944)


def test_one_way_pairs_count_the_bytes_of_the_sender(tmp_path):
    profile, where = socket_profile(), runs.ranks(2, 2)
    there = case("p2p", "rails", 1 << 22, groups=((0, 2), (1, 3)), rail="own")
    run = folder(tmp_path, [(there, at(there, 0.11))], profile, where=where, backend="gloo")
    sent = [_sent(row, Evidence(run, profile)) for row in rows(run)]
    assert sent == [{"n0": float(1 << 22), "n1": 0.0}] * 2


def test_what_each_node_sends_in_a_broadcast_is_not_known(tmp_path):
    profile, where = socket_profile(), runs.ranks(2, 2)
    cast = case("broadcast", size=1 << 22, groups=(tuple(range(4)),))
    run = folder(tmp_path, [(cast, at(cast, 0.11))], profile, where=where, backend="gloo")
    with pytest.raises(Undetermined, match="broadcast loads the nodes unevenly"):
        _sent(rows(run)[0], Evidence(run, profile))


def test_what_each_node_sends_by_an_unknown_algorithm_is_not_known(tmp_path):
    one = case(size=1 << 22)
    run = folder(tmp_path, [(one, at(one, 48.0))])
    reason = algorithm_used(rows(run)[0].case, Evidence(run, LAMBDA)).how
    with pytest.raises(Undetermined, match=re.escape(f"is not known: {reason}")):
        _sent(rows(run)[0], Evidence(run, LAMBDA))


@pytest.mark.parametrize(("wall", "told"), [(2.0, True), (1.99, False), (1.0 / LEAST_SHARE * 2.1, True)])
def test_two_clocks_may_differ_by_the_twentieth_part(wall, told):
    """2.1 s of calls, by the clock that timed them."""
    nodes = [Carried("n0", {}, 1.0, 1.0, busy=2.1, wall=wall)]
    if told:
        _long_enough("ring", nodes)
    else:
        with pytest.raises(Undetermined, match="two clocks"):
            _long_enough("ring", nodes)


def test_of_many_blocks_one_slow_one_does_not_set_what_was_sustained_and_of_few_it_does():
    def sustained(*seconds: float) -> float:
        blocks = tuple((one, one) for one in seconds)
        return sustained_algbw(row_of(case(), replace(at(case(), 100.0)[0], pipelined=blocks)))

    assert sustained(*[1.0] * 30, 4.0) == pytest.approx(SIZE)
    assert sustained(1.0, 4.0) == pytest.approx(SIZE / 4)
    assert math.isnan(sustained())


def test_a_rail_without_a_rate_has_its_share_of_the_target():
    told = replace(LAMBDA.rails, rate=None)
    assert rail_rate(replace(LAMBDA, rails=told)) == pytest.approx(3200e9 / 8 / 8)
    for rails, why in (
        (replace(told, target=None), "gives no rate"),
        (replace(told, count=0), "gives no rate"),
    ):
        with pytest.raises(Unplaced, match=why):
            rail_rate(replace(LAMBDA, rails=rails))


def test_a_target_of_no_rails_is_not_read(tmp_path):
    profile = replace(LAMBDA, rails=replace(LAMBDA.rails, count=0))
    assert acceptance(tmp_path, profile=profile).status is Status.NOT_APPLICABLE
