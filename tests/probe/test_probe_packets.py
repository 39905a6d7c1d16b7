"""The MTU of InfiniBand ports, from what ibv_devinfo prints, or a note that says why not."""

import pytest

from bench.model.facts import Port
from bench.model.verdict import Status
from bench.probe.fabric.run_tools import ToolAnswer
from bench.probe.mtu import parse, with_mtu

TEXT = """hca_id:	mlx5_1
	transport:			InfiniBand (0)
	fw_ver:				28.41.1000
	phys_port_cnt:			1
		port:	1
			state:			PORT_ACTIVE (4)
			max_mtu:		4096 (5)
			active_mtu:		2048 (4)
			sm_lid:			1
			port_lid:		11
			port_lmc:		0x00
			link_layer:		InfiniBand

"""
PORTS = (Port("mlx5_1", 1, state="ACTIVE"), Port("mlx5_2", 1))


def asked(answer):
    told = []
    return with_mtu(PORTS, told, lambda command, limit: answer), told


def test_both_sizes_of_every_port_that_is_listed():
    found, told = asked(ToolAnswer(("ibv_devinfo",), Status.PASS, "", TEXT))
    assert [(port.mtu, port.max_mtu) for port in found] == [(2048, 4096), (None, None)]
    assert found[0].state == "ACTIVE" and told == []


@pytest.mark.parametrize(
    "answer",
    [
        ToolAnswer(("ibv_devinfo",), Status.NOT_APPLICABLE, "ibv_devinfo is not installed"),
        ToolAnswer(("ibv_devinfo",), Status.INCONCLUSIVE, "no answer within 20 s"),
        ToolAnswer(
            ("ibv_devinfo",), Status.PASS, "", "Failed to get IB devices list: Function not implemented"
        ),
    ],
)
def test_what_cannot_be_asked_is_a_note_and_no_size(answer):
    found, told = asked(answer)
    assert found == PORTS and len(told) == 1 and told[0].startswith("ibv_devinfo: ")


def test_each_hca_has_ports_of_its_own():
    second = TEXT.replace("mlx5_1", "mlx5_2").replace("2048", "1024")
    assert parse(TEXT + second) == {
        ("mlx5_1", 1): {"max_mtu": 4096, "active_mtu": 2048},
        ("mlx5_2", 1): {"max_mtu": 4096, "active_mtu": 1024},
    }
    # a port without a number is nobody's, and a size before any port too
    assert parse(TEXT + "port: x\nmax_mtu: 9\n")["mlx5_1", 1] == {"max_mtu": 4096, "active_mtu": 2048}
    assert parse("hca_id: mlx5_0\nmax_mtu: 4096 (5)\n") == {}
