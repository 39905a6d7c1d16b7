"""Which checks are made before anything is measured, and which beside somebody else's job."""

from __future__ import annotations

from bench.judge.checks import CHECKS
from bench.judge.evidence import Evidence
from made_nodes import LAMBDA, nodes, seen

# of facts alone, so that they are made before the first byte of traffic
EARLY = """
host.facts host.gpudirect host.acs host.iommu host.memlock host.clock gpus.count gpus.name gpus.ecc gpus.remap
gpus.mig gpus.persistence gpus.clocks gpus.compute_mode gpus.idle gpus.alike gpus.nvlink gpus.fabric gpus.rail
host.addresses rails.guids gpus.uuids rails.count rails.state rails.physical rails.rate rails.width rails.link_layer
rails.subnet rails.counters rails.others rails.pkey rails.gid rails.flaps rails.mtu pcie.link pcie.rate
exclusion.selector exclusion.own_environment exclusion.census kernel.boot kernel.others versions.firmware
versions.host versions.quota versions.system versions.driver versions.software environment.distortions
environment.ranks environment.files fabric rails.names
"""
# of them, those of processes of our own: they say nothing of a job of somebody else
OURS = """
host.memlock gpus.idle exclusion.selector exclusion.own_environment versions.quota versions.software
environment.distortions environment.ranks environment.files
"""
# of what is not facts, those that hold whoever loads the machines
BESIDE = """
exclusion.bytes growth.errors growth.others growth.congestion growth.retransmissions growth.pauses growth.marks
coverage.command coverage.losses coverage.memory coverage.nodes coverage.end watch.traffic watch.waiting watch.share
watch.events watch.ras watch.collectives
"""


def test_checks_of_facts_are_made_before_anything_is_measured() -> None:
    assert {name for name, check in CHECKS.items() if check.facts_only} == {*EARLY.split()}


def test_beside_a_job_of_somebody_else_our_own_processes_are_not_judged() -> None:
    wanted = ({*EARLY.split()} - {*OURS.split()}) | {*BESIDE.split()}
    assert {name for name, check in CHECKS.items() if check.beside} == wanted


def test_no_check_fails_where_nothing_is_known() -> None:
    evidence = Evidence(seen(nodes(1)).run, LAMBDA)
    assert all(list(check(evidence)) is not None for check in CHECKS.values())
