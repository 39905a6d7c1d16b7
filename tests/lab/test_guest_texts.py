"""The verbs lab's readers of ibstat and ibstatus."""

import re
import sys
from pathlib import Path

import pytest

from bench.model.units import BITS, GIGA
from bench.probe.fabric.link import Link
from bench.probe.fabric.pasted_text import UnknownToolOutput

sys.path.insert(0, str(Path(__file__).parents[2] / "ci" / "lab" / "verbs" / "guest"))
import ibstat
import ibstatus

GUEST = Path(ibstat.__file__).parent
DATA = Path(__file__).parents[1] / "probe" / "fabric" / "data"
GBIT = GIGA / BITS


def text(name: str) -> str:
    return (DATA / name).read_text()


def test_ibstat_of_a_host_with_mixed_link_layers():
    seen = ibstat.parse(text("ibstat-h100.txt"))
    rails = ("mlx5_0", "mlx5_10", "mlx5_11", "mlx5_3", "mlx5_4", "mlx5_5", "mlx5_6", "mlx5_9")
    assert ibstat.active_infiniband(seen) == rails
    assert seen.unparsed == ()
    first = seen.adapters[0]
    assert (first.name, first.type, first.firmware, first.port_count) == ("mlx5_0", "MT4129", "28.41.1000", 1)
    port = first.ports[0]
    assert (port.state, port.physical, port.base_lid, port.sm_lid) == ("Active", "LinkUp", 287, 1024)
    assert port.rate == 400 * GBIT
    assert port.guid == "0x58a2e103001b2576"


def test_a_port_that_is_down_has_a_rate_but_not_now():
    down = next(
        adapter for adapter in ibstat.parse(text("ibstat-h100.txt")).adapters if adapter.name == "mlx5_1"
    )
    assert down.ports[0].rate == 40 * GBIT
    assert down.ports[0].rate_now is None


def test_ibstat_in_noise_and_cut_in_a_port():
    seen = ibstat.parse(text("ibstat-noise.txt"))
    assert len(seen.warnings) == 4
    first, second = seen.adapters[0].ports
    assert (first.state, first.base_lid, first.rate) == ("Down", 38, 10 * GBIT)
    assert (second.number, second.state, second.rate) == (2, "Active", 56 * GBIT)
    assert (second.base_lid, second.link_layer) == (None, None)


@pytest.mark.parametrize(
    ("said", "rate"),
    [("400", 400), ("2.5", 2.5), ("10 (FDR10)", 10), ("200 (HDR)", 200), ("fast", None), ("", None)],
)
def test_ibstat_rates(said, rate):
    port = ibstat.parse(f"CA 'mlx5_0'\n\tPort 1:\n\t\tRate: {said}\n").adapters[0].ports[0]
    assert port.rate == (None if rate is None else rate * GBIT)


def test_what_ibstat_does_not_know_is_kept():
    seen = ibstat.parse("CA 'a'\n\tPort 1:\n\t\tState: Active\n\t\tMood: fine\n\t\tBase lid: many\n")
    assert seen.unparsed == ("Mood: fine", "Base lid: many")
    assert seen.adapters[0].ports[0].base_lid is None


def test_ibstat_of_one_port_and_of_a_simulator():
    seen = ibstat.parse("CA: 'mlx5_0'\nPort 1:\nState: Active\nRate: 104\nLink layer: IB\n")
    assert seen.adapters[0].ports[0].link_layer == "IB"
    assert ibstat.active_infiniband(seen) == ()


IBSTATUS = """\
Infiniband device 'mlx5_0' port 1 status:
\tdefault gid:\t fe80:0000:0000:0000:8ae9:a4ff:fe9c:7f1a
\tbase lid:\t 0x30
\tsm lid:\t\t 0x0
\tstate:\t\t 4: ACTIVE
\tphys state:\t 5: LinkUp
\trate:\t\t 100 Gb/sec (4X EDR)
\tlink_layer:\t Ethernet

Infiniband device 'mlx5_1' port 1 status:
\tdefault gid:\t unknown
\tstate:\t\t 1: DOWN
\trate:\t\t unknown
"""


def test_ibstatus():
    first, second = ibstatus.parse(IBSTATUS).ports
    assert (first.hca, first.number, first.state, first.physical) == ("mlx5_0", 1, "ACTIVE", "LinkUp")
    assert (first.rate, first.link, first.link_layer) == (100 * GBIT, Link(4, "EDR"), "Ethernet")
    assert (first.base_lid, first.sm_lid) == (0x30, 0)
    assert (second.state, second.gid, second.rate, second.link_layer) == ("DOWN", None, None, None)


def test_what_ibstatus_calls_unknown_is_said():
    assert ibstatus.parse(IBSTATUS).unparsed == ("default gid:\t unknown", "rate:\t\t unknown")


@pytest.mark.parametrize("tool", [ibstat, ibstatus])
def test_text_of_another_tool_is_refused(tool):
    with pytest.raises(UnknownToolOutput, match=r"not \w+ output: no line like .* it starts with"):
        tool.parse(text("topo-rocm-smi.txt"))


def test_an_empty_text_says_nothing():
    assert ibstat.parse("").adapters == ()
    assert ibstatus.parse("\n").ports == ()


@pytest.mark.parametrize("script", ["check.py", "beside.py"])
def test_what_the_machines_run_finds_the_tree_before_it_imports_it(script):
    text = (GUEST / script).read_text()
    imported = re.search(r"^(?:from|import) (?:bench|ibstat)", text, re.MULTILINE)
    found = [text.index(f'sys.path.insert(0, "/share/{part}")') for part in ("site", "tree")]
    assert imported and max(found) < imported.start()
