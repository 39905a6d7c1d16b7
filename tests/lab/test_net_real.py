"""The lab on a real kernel: counters, faults, and that nothing is left, whatever happened. Needs root."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import programs

ROOT = Path(__file__).parents[2]
NET = str(ROOT / "ci" / "lab" / "net")
RANKS = str(Path(__file__).with_name("net_ranks.py"))
NUMBERS = itertools.count()
LINE = 200e6 / 8  # bytes/s of a rail in these labs

pytestmark = [pytest.mark.root, pytest.mark.needs("iproute2", "nftables")]


def words(name: str, *rest: str) -> list[str]:
    return [sys.executable, NET, "--name", name, *rest]


def environment() -> dict[str, str]:
    return {**os.environ, "PATH": programs.PATH, "OMP_NUM_THREADS": "1"}


def net(name: str, *rest: str, limit: float = 60) -> str:
    """What a lab command printed; it must succeed."""
    done = subprocess.run(
        words(name, *rest), capture_output=True, text=True, env=environment(), timeout=limit, check=False
    )
    assert done.returncode == 0, f"{rest}: rc {done.returncode}: {done.stdout[-2000:]} {done.stderr[-2000:]}"
    return done.stdout


@contextlib.contextmanager
def started(name: str, *rest: str) -> Iterator[subprocess.Popen]:
    """A lab command on its way. Whatever is still on its way at the end goes down with the lab."""
    process = subprocess.Popen(
        words(name, *rest),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            net(name, "down")  # a frozen process cannot be killed before
        process.communicate(timeout=30)


def until(holds: Callable[[], object], limit: float = 30) -> bool:
    """Whether it came to hold within ``limit`` seconds."""
    end = time.monotonic() + limit
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def traces(name: str) -> list[str]:
    """Whatever the kernel and the file system still have of a lab, found without the lab's own code."""
    mark = f"railgauge-{name}-"
    found = [
        line
        for line in Path("/proc/self/mountinfo").read_text().splitlines()
        if mark in line or f"/{name} " in line
    ]
    for folder in (
        "/run/netns",
        "/etc/netns",
        "/sys/fs/cgroup",
        "/sys/fs/cgroup/freezer",
        "/sys/fs/cgroup/cpu",
    ):
        found += [str(path) for path in Path(folder).glob(f"{mark}*")]
    found += [str(path) for path in Path("/run/railgauge-lab").glob(f"{name}*")]
    found += [str(path) for path in Path("/dev/shm").glob(f"*{name}*")]
    return found


def processes(name: str) -> list[int]:
    return [int(line.split()[1]) for line in net(name, "ps").splitlines()]


def alive(pid: int) -> bool:
    """Whether it runs; a zombie that init has yet to bury does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def interfaces(name: str) -> dict[tuple[str, str], list[str]]:
    """{(node, interface): the rest of its row in ``stat``}."""
    rows = [line.split() for line in net(name, "stat").splitlines()]
    return {(row[0], row[1]): row[2:] for row in rows if row[1:] and row[1].startswith("eth")}


@pytest.fixture
def name() -> Iterator[str]:
    """A name of this test's own; nothing must be left of it at the end."""
    text = f"t{os.getpid() % 1_000_000}x{next(NUMBERS)}"
    yield text
    net(text, "down")
    assert traces(text) == []


@pytest.fixture
def lab(name: str) -> str:
    net(name, "up", "--nodes", "3", "--rails", "2")
    return name


def test_a_node_has_its_own_name_interfaces_and_neighbours_and_no_way_out(lab: str) -> None:
    script = "hostname 2>/dev/null || cat /proc/sys/kernel/hostname; ls /sys/class/net; cat /etc/hostname; ip route"
    out = net(lab, "exec", "n1", "--", "sh", "-c", script).split("\n")
    assert out[:6] == ["n1", "eth0", "eth1", "eth2", "lo", "n1"]
    assert [line.split()[:3] for line in out[6:9]] == [
        [f"198.18.{r}.0/24", "dev", f"eth{r}"] for r in (0, 1, 2)
    ]
    assert out[9:] == [""]
    assert Path("/proc/sys/kernel/hostname").read_text().strip() != "n1"
    look = "import socket; print(socket.gethostbyname('n2'))"
    assert net(lab, "exec", "n1", "--", sys.executable, "-c", look).strip() == "198.18.0.12"
    away = "import socket; s = socket.socket(); s.settimeout(5); print(s.connect_ex(('192.0.2.1', 80)))"
    assert net(lab, "exec", "n1", "--", sys.executable, "-c", away).strip() == "101"  # ENETUNREACH


def test_no_interface_of_the_machine_is_part_of_a_lab(name: str) -> None:
    before = sorted(path.name for path in Path("/sys/class/net").iterdir())
    net(name, "up")
    assert sorted(path.name for path in Path("/sys/class/net").iterdir()) == before


def test_nodes_keep_shared_memory_apart_and_see_the_cgroups(lab: str) -> None:
    net(lab, "exec", "n0", "--", "touch", "/dev/shm/mine")
    assert net(lab, "exec", "n0", "--", "ls", "/dev/shm").split() == ["mine"]
    assert net(lab, "exec", "n1", "--", "ls", "/dev/shm").split() == []
    assert not Path("/dev/shm/mine").exists()
    assert net(lab, "exec", "n1", "--", "ls", "/sys/fs/cgroup").split()


def test_the_exit_status_is_that_of_the_command(lab: str) -> None:
    done = subprocess.run(words(lab, "exec", "n0", "--", "sh", "-c", "exit 7"), check=False, timeout=30)
    assert done.returncode == 7


@pytest.mark.mpi
@pytest.mark.torch
@pytest.mark.needs("mpirun")
def test_an_all_reduce_moves_its_rail_alone_and_faults_show_on_theirs(name: str) -> None:
    """Rail 1 at half rate, rail 2 lossy, rail 3 healthy, by one launch of real ranks."""
    net(name, "up", "--rails", "3", "--rate", "200mbit")
    net(name, "fault", "slow-rail", "n2", "1")
    net(name, "fault", "lossy-rail", "n1", "2", "5%")
    out = net(
        name,
        "mpirun",
        "1",
        "-x",
        "OMP_NUM_THREADS",
        "--",
        sys.executable,
        RANKS,
        "3",
        "2",
        "4",
        "60",
        limit=300,
    )
    slow, lossy, healthy = (json.loads(line) for line in out.splitlines() if line.startswith("{"))
    wire = 2 * (3 - 1) / 3 * 2e6 * 4  # bytes every rank sends: ring, 4 repetitions of 2 MB
    for row in (slow, healthy):
        for moved in row["sent"].values():
            assert wire <= moved[f"eth{row['rail']}"] < 1.05 * wire
    for row in (slow, lossy, healthy):
        for moved in row["sent"].values():
            assert all(moved[f"eth{rail}"] < 0.05 * wire for rail in range(4) if rail != row["rail"]), moved
    assert slow["rate"] * 4 / 3 < 0.55 * LINE  # busbw; a rail cannot be faster than it is shaped
    assert healthy["rate"] > slow["rate"]
    assert sum(lossy["resent"].values()) > 10 + sum(healthy["resent"].values())


@pytest.mark.parametrize(
    ("fault", "node", "interface", "column", "wanted"),
    [
        ("rail-down n2 1", "n2", "eth1", 1, "0"),
        ("rail-down n2 1", "n1", "eth1", 1, "1"),
        ("admin-down n2 1", "n2", "eth1", 1, "-"),
        ("admin-down n2 1", "n2", "eth2", 1, "1"),
        ("wrong-mtu n2 1 1400", "n2", "eth1", 2, "1400"),
        ("wrong-mtu n2 1 1400", "n2", "eth2", 2, "1500"),
        ("swapped-rails n2 1", "n2", "eth1", 1, "1"),
        ("black-hole n2 1", "n2", "eth1", 2, "1500"),
    ],
)
def test_a_fault_is_seen_where_it_is_and_gone_when_healed(
    lab: str, fault: str, node: str, interface: str, column: int, wanted: str
) -> None:
    net(lab, "fault", *fault.split())
    assert interfaces(lab)[node, interface][column] == wanted
    assert f"planted faults: {fault}" in net(lab, "stat")
    net(lab, "heal")
    assert until(lambda: all(row[:3] == ["up", "1", "1500"] for row in interfaces(lab).values()), 10)
    assert "planted faults: none" in net(lab, "stat")


RECEIVE = """\
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("198.18.%s.12" % sys.argv[1], 5000)); s.settimeout(float(sys.argv[2])); print("ready", flush=True)
try:
    while True: print(len(s.recv(9000)), flush=True)
except TimeoutError: pass
"""
SEND = """\
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for size in (100, 1400): s.sendto(b"x" * size, ("198.18.%s.12" % sys.argv[1], 5000))
"""


@pytest.mark.parametrize(
    ("fault", "arrives"),
    [
        ("", ["100", "1400"]),
        ("black-hole n2 1", ["100"]),
        ("black-hole n2 2", ["100", "1400"]),
        ("lossy-rail n2 1 100%", []),
        ("swapped-rails n2 1", []),
        ("rail-down n0 1", []),
        ("dead n0", ["100", "1400"]),  # n0 is frozen: what n1 sends arrives
    ],
)
def test_packets_arrive_or_do_not_as_the_fault_says(lab: str, fault: str, arrives: list[str]) -> None:
    if fault:
        net(lab, "fault", *fault.split())
    sender = "n1" if fault.startswith("dead") else "n0"
    with started(lab, "exec", "n2", "--", sys.executable, "-c", RECEIVE, "1", "1.5") as receiver:
        assert receiver.stdout.readline() == "ready\n"
        subprocess.run(
            words(lab, "exec", sender, "--", sys.executable, "-c", SEND, "1"), check=False, timeout=30
        )
        assert receiver.communicate(timeout=30)[0].split() == arrives


@pytest.mark.parametrize("fault", ["frozen", "dead"])
def test_a_frozen_or_dead_node_does_nothing_until_healed(lab: str, fault: str) -> None:
    with started(lab, "exec", "n1", "--", "sleep", "300") as before:
        assert until(lambda: any("sleep 300" in line for line in net(lab, "ps").splitlines()))
        planted = subprocess.run(
            words(lab, "fault", fault, "n1"), capture_output=True, text=True, check=False
        )
        if "not possible on this machine" in planted.stderr:
            pytest.skip(planted.stderr.strip())
        assert planted.returncode == 0
        with started(lab, "exec", "n1", "--", "true") as late:
            before.terminate()
            with pytest.raises(subprocess.TimeoutExpired):
                late.wait(2)
            assert before.poll() is None
            net(lab, "heal")
            assert late.wait(30) == 0
            assert before.wait(30) == -signal.SIGTERM


BURN = """\
import time
wall, cpu = time.time(), time.process_time()
while time.time() < wall + 1: pass
print(time.process_time() - cpu)
"""


def test_a_slow_cpu_gets_the_cores_it_was_left(lab: str) -> None:
    planted = subprocess.run(
        words(lab, "fault", "slow-cpu", "n1", "0.2"), capture_output=True, text=True, check=False
    )
    if "not possible on this machine" in planted.stderr:
        pytest.skip(planted.stderr.strip())
    assert float(net(lab, "exec", "n1", "--", sys.executable, "-c", BURN)) < 0.45
    net(lab, "heal")


# nothing is left


def test_down_may_be_said_twice_or_for_a_lab_that_never_was(name: str) -> None:
    net(name, "down")
    net(name, "up")
    net(name, "down")
    net(name, "down")
    assert traces(name) == []


def test_a_lab_that_is_up_is_not_built_over(lab: str) -> None:
    again = subprocess.run(words(lab, "up"), capture_output=True, text=True, check=False, timeout=60)
    assert again.returncode == 1
    assert "is up already" in again.stderr
    assert net(lab, "exec", "n2", "--", "cat", "/etc/hostname") == "n2\n"


@pytest.mark.parametrize("mark", ["sw", "n0", "n4", "n9"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_up_that_is_ended_half_way_leaves_nothing_or_is_cleaned_by_the_next(
    name: str, mark: str, number: int
) -> None:
    with started(name, "up", "--nodes", "10", "--rails", "4") as process:
        assert until(Path(f"/run/netns/railgauge-{name}-{mark}").exists)
        process.send_signal(number)
        assert process.wait(60) == -number if number == signal.SIGKILL else 128 + number
    if number != signal.SIGKILL:
        assert traces(name) == []
    net(name, "up", "--nodes", "2")
    assert len(interfaces(name)) == 6


def test_down_cleans_what_a_killed_up_left(name: str) -> None:
    with started(name, "up", "--nodes", "10", "--rails", "4") as process:
        assert until(Path(f"/run/netns/railgauge-{name}-n5").exists)
        process.kill()
        process.wait(30)
    assert traces(name)
    net(name, "down")
    assert traces(name) == []


@pytest.mark.mpi
@pytest.mark.needs("mpirun")
@pytest.mark.parametrize("ending", ["kill", "down", "frozen"])
def test_nothing_is_left_of_ranks_when_mpirun_is_killed_or_the_lab_goes_down(lab: str, ending: str) -> None:
    def ranks() -> int:
        return sum(line.split()[3:] == ["sleep", "300"] for line in net(lab, "ps").splitlines())

    with started(lab, "mpirun", "2", "--", "sleep", "300") as process:
        assert until(lambda: ranks() == 6, 60)
        pids = processes(lab)
        if ending == "frozen":
            net(lab, "fault", "frozen", "n1")
        if ending != "down":
            process.kill()
        net(lab, "down")
        process.wait(30)
    assert not [pid for pid in pids if alive(pid)]
    assert traces(lab) == []


def test_only_its_own_processes_are_ended_and_labs_stand_side_by_side(
    lab: str, request: pytest.FixtureRequest
) -> None:
    other = lab.replace("x", "y")
    request.addfinalizer(lambda: net(other, "down"))
    net(other, "up", "--nodes", "2", "--rails", "1")
    with (
        subprocess.Popen(["sleep", "300"]) as stranger,
        started(other, "exec", "n0", "--", "sleep", "300") as neighbour,
        started(lab, "exec", "n0", "--", "sleep", "300") as own,
    ):
        try:
            assert until(lambda: processes(other) and processes(lab))
            net(lab, "down")
            assert own.wait(30) == -signal.SIGKILL
            assert stranger.poll() is None
            assert neighbour.poll() is None
            assert net(other, "exec", "n1", "--", "cat", "/etc/hostname") == "n1\n"
        finally:
            stranger.kill()
    assert traces(lab) == []


def test_a_lab_is_not_taken_down_from_one_of_its_own_nodes(lab: str) -> None:
    inside = words(lab, "exec", "n0", "--", *words(lab, "down"))
    done = subprocess.run(inside, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "runs on a node of lab" in done.stderr
    assert len(interfaces(lab)) == 9


def test_a_fault_may_be_planted_from_a_node(lab: str) -> None:
    net(lab, "exec", "n0", "--", *words(lab, "fault", "frozen", "n1"))
    assert "frozen n1" in net(lab, "stat")
    net(lab, "exec", "n0", "--", *words(lab, "heal"))
    assert net(lab, "exec", "n1", "--", "cat", "/etc/hostname") == "n1\n"
