"""Which star a place gets, and where rank 0 listens."""

import pytest

from bench.launch import Meet, Place
from bench.supervise.control.connect import choose, connect, listening
from bench.supervise.control.protocol import Alone
from bench.supervise.control.token import NoToken

LO = {"lo": ("127.0.0.1/8", "::1/128")}
NODE = {
    **LO,
    "eth0": ("10.0.0.5/24",),
    "eth1": ("10.1.0.5/24",),
    "docker0": ("172.17.0.1/16",),
}
RAILS = ("eth1", "eth2")


@pytest.mark.parametrize(
    ("told", "own", "management", "addresses"),
    [
        # the address that the others were told, also on a rail: they know no other
        (["10.0.0.5"], NODE, "eth0", ("10.0.0.5",)),
        (["10.1.0.5"], NODE, "eth0", ("10.1.0.5",)),
        # a name that is the loopback here and something else elsewhere
        (["127.0.1.1"], NODE, "eth0", ("127.0.1.1", "10.0.0.5")),
        (["127.0.1.1", "10.0.0.5"], NODE, "", ("10.0.0.5",)),
        (
            ["127.0.0.1"],
            {**LO, "a": ("10.0.0.5/24",), "b": ("10.2.0.5/24",)},
            "",
            ("127.0.0.1", "10.0.0.5", "10.2.0.5"),
        ),
        # translated on the way: no address of ours
        (["203.0.113.7"], NODE, "", ("10.0.0.5",)),
        (["203.0.113.7"], NODE, "eth9", ("10.0.0.5",)),
        # nothing but rails and inward networks
        (["203.0.113.7"], {**LO, "eth1": ("10.1.0.5/24",), "docker0": ("172.17.0.1/16",)}, "", ()),
        (["203.0.113.7"], {**LO, "eth0": ("fe80::1/64",)}, "", ()),
        (["fd00::5"], {**LO, "eth0": ("10.0.0.5/24", "fd00::5/64")}, "", ("fd00::5",)),
    ],
)
def test_rank_0_listens_where_the_others_call_and_on_no_rail_of_its_own_accord(
    told, own, management, addresses
):
    assert choose(told, own, management, RAILS) == addresses


def test_ranks_of_one_machine_meet_on_the_loopback():
    assert listening(Meet("node1", (29501,), "r", local=True), "eth0", ()) == ("127.0.0.1",)


def test_a_job_of_one_needs_nobody():
    assert isinstance(connect(Place()), Alone)
    assert isinstance(connect(Place("torchrun", 0, 1)), Alone)


def test_ranks_on_several_machines_need_a_token(monkeypatch):
    monkeypatch.delenv("RAILGAUGE_TOKEN", raising=False)
    monkeypatch.delenv("RAILGAUGE_TOKEN_FILE", raising=False)
    where = Place("torchrun", 0, 4, False, Meet("node1", (29501,), "r", local=False))
    with pytest.raises(NoToken, match="RAILGAUGE_TOKEN.*openssl rand.*--token-file"):
        connect(where, limit=0.1)
