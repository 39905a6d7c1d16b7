"""What passes over the rails, on a tree of paper and a clock that is moved by hand."""

from pathlib import Path

import pytest

from bench.probe.rail_activity import RailActivity


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def interface(root: Path, name: str, sent: int, received: int, state: str = "up") -> None:
    folder = root / "sys/class/net" / name
    (folder / "statistics").mkdir(parents=True, exist_ok=True)
    (folder / "operstate").write_text(state + "\n")
    (folder / "statistics/tx_bytes").write_text(f"{sent}\n")
    (folder / "statistics/rx_bytes").write_text(f"{received}\n")


def port(root: Path, hca: str, sent: int, state: str = "4: ACTIVE") -> None:
    folder = root / "sys/class/infiniband" / hca / "ports/1"
    (folder / "counters").mkdir(parents=True, exist_ok=True)
    (folder / "state").write_text(state + "\n")
    (folder / "counters/port_xmit_data").write_text(f"{sent}\n")
    (folder / "counters/port_rcv_data").write_text("0\n")


def test_a_rail_is_flat_from_the_moment_its_bytes_stop(tmp_path):
    clock = Clock()
    passing = RailActivity(("eth1",), tmp_path, clock)
    interface(tmp_path, "eth1", 1000, 0)
    assert passing.look() == {"eth1": [0.0, True]}
    clock.now = 103.0
    assert passing.look() == {"eth1": [3.0, True]}
    interface(tmp_path, "eth1", 1000, 1_000_000)
    assert passing.look() == {"eth1": [0.0, True]}


@pytest.mark.parametrize("more", [0, 60, 8192])
def test_keepalives_and_retries_are_no_traffic(tmp_path, more):
    clock = Clock()
    passing = RailActivity(("eth1",), tmp_path, clock)
    interface(tmp_path, "eth1", 5_000_000, 0)
    passing.look()
    clock.now = 110.0
    interface(tmp_path, "eth1", 5_000_000 + more, 0)
    assert passing.look() == {"eth1": [10.0, True]}


def test_a_pulled_cable_is_seen_and_an_unknown_state_is_not_guessed(tmp_path):
    interface(tmp_path, "eth1", 0, 0, "down")
    interface(tmp_path, "eth2", 0, 0, "unknown")
    assert RailActivity(("eth1", "eth2"), tmp_path, Clock()).look() == {
        "eth1": [0.0, False],
        "eth2": [0.0, None],
    }


def test_a_rail_that_is_not_there_has_nothing_to_tell(tmp_path):
    assert RailActivity(("eth9",), tmp_path, Clock()).look() == {}
    assert RailActivity((), tmp_path, Clock()).look() == {}


def test_ports_are_counted_in_words_and_those_that_were_never_up_are_left_out(tmp_path):
    clock = Clock()
    passing = RailActivity((), tmp_path, clock)
    port(tmp_path, "mlx5_0", 0)
    port(tmp_path, "mlx5_1", 0)
    port(tmp_path, "mlx5_2", 0, "1: DOWN")
    assert set(passing.look()) == {"mlx5_0/1", "mlx5_1/1"}
    clock.now = 107.0
    port(tmp_path, "mlx5_1", 10_000)
    port(tmp_path, "mlx5_0", 100, "2: INIT")
    assert passing.look() == {"mlx5_0/1": [7.0, False], "mlx5_1/1": [0.0, True]}
