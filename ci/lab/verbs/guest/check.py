"""Runs on node0 of the verbs lab with the project's own code: facts, texts, traffic, faults, as a table.

``check.py facts`` and ``check.py counters`` print a machine's facts and counters as JSON: node0 asks node1.
``check.py PART …`` runs some of PARTS.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, "/share/site")
sys.path.insert(0, "/share/tree")

import ibstat
import ibstatus

from bench.measure.perftest import output
from bench.model import typed_json
from bench.model.counter_table import CounterRole
from bench.model.counters import Delta, Snapshot, bytes_moved, delta
from bench.model.facts import Node
from bench.model.units import parse_rate, show_rate
from bench.model.verdict import Status
from bench.nccl import selector
from bench.probe import mtu
from bench.probe.fabric import run_tools
from bench.probe.node import probe, snapshot

HCAS = [f"mlx5_{rail}" for rail in range(9)]
RATE = parse_rate("100 Gb/s")
SIZE, ITERATIONS = 65536, 100
NOISE = 2000  # bytes on an idle rail: the kernel's own IPv6 and ARP packets
PEER = "node1"
LIMIT_S = 90.0


def sh(command: str, limit: float = LIMIT_S) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["timeout", f"{limit:g}", "bash", "-c", command], capture_output=True, text=True, check=False
    )


def on_peer(command: str, limit: float = LIMIT_S) -> str:
    return sh(f"ssh {PEER} {command!r}", limit).stdout


def facts() -> dict[str, Node]:
    return {
        "node0": probe(),
        PEER: typed_json.load(Node, json.loads(on_peer("python3 /share/check.py facts"))),
    }


def counters() -> dict[str, Snapshot]:
    other = json.loads(on_peer("python3 /share/check.py counters"))
    return {"node0": snapshot(), PEER: typed_json.load(Snapshot, other)}


class Tally:
    """The table: one line a check, counted."""

    def __init__(self) -> None:
        self.passed = self.failed = self.skipped = 0

    def check(self, what: str, seen: object, wanted: object) -> None:
        """``seen`` must equal ``wanted``."""
        self.true(what, seen == wanted, f"{seen}" if seen == wanted else f"{seen}, wanted {wanted}")

    def true(self, what: str, ok: bool, detail: object = "") -> None:
        self.passed, self.failed = self.passed + ok, self.failed + (not ok)
        said = str(detail)
        said = said if len(said) < 90 or not ok else f"{said[:86]} …"
        print(f"{'ok  ' if ok else 'FAIL'} {time.monotonic():6.1f} s  {what:<42} {said}", flush=True)

    def skip(self, what: str, why: str) -> None:
        self.skipped += 1
        print(f"skip {time.monotonic():6.1f} s  {what:<42} {why}", flush=True)

    def part(self, work: Callable[[Tally], None]) -> None:
        """One part; what it raises is a failed check, and the next part runs."""
        try:
            work(self)
        except Exception as error:
            self.true(work.__name__, False, f"{type(error).__name__}: {error}")


# ── the lab itself ──────────────────────────────────────────────────────────────────────────────────────


def wires(tally: Tally) -> None:
    """Every rail connects the two machines, before anything is asked of RailGauge; else what both machines know."""
    for rail in range(9):
        try:
            socket.create_connection((f"10.{rail}.0.2", 22), timeout=20.0).close()
            broken = ""
        except OSError as error:
            ask = f"ip -s link show r{rail}; ip address show r{rail}; ip neigh; rdma link; grep virtio /proc/interrupts"
            broken = f"{error}\n{sh(ask).stdout}\n{PEER}:\n{on_peer(ask)}"
        tally.true(f"r{rail} connects the machines", not broken, broken)


# ── facts ───────────────────────────────────────────────────────────────────────────────────────────────


def healthy(tally: Tally) -> None:
    """The probe sees nine ports on each machine, all as they were made."""
    for name, node in facts().items():
        tally.check(f"{name}: HCAs", [port.hca for port in node.ports], HCAS)
        tally.check(
            f"{name}: states", {(port.state, port.phys_state) for port in node.ports}, {("ACTIVE", "LinkUp")}
        )
        tally.check(f"{name}: rates", {port.rate for port in node.ports}, {RATE})
        tally.check(f"{name}: link layers", {port.link_layer for port in node.ports}, {"Ethernet"})
        tally.check(
            f"{name}: interfaces", [port.netdev for port in node.ports], [f"r{rail}" for rail in range(9)]
        )


def texts(tally: Tally) -> None:
    """The tools' texts, read by our parsers, say what sysfs says, read by our probe."""
    node = probe()
    seen = [(port.hca, port.state, port.rate, port.link_layer) for port in node.ports]
    status = ibstatus.parse(sh("ibstatus").stdout)
    tally.check("ibstatus", sorted((p.hca, p.state, p.rate, p.link_layer) for p in status.ports), seen)
    stat = ibstat.parse(sh("ibstat").stdout)
    found = [
        (a.name, (a.ports[0].state or "").upper(), a.ports[0].rate, a.ports[0].link_layer)
        for a in stat.adapters
    ]
    tally.check("ibstat", sorted(found), seen)
    sizes = mtu.parse(sh("ibv_devinfo").stdout)
    tally.check(
        "ibv_devinfo",
        {name: set(seen) for name, seen in sizes.items()},
        {(hca, 1): {"max_mtu", "active_mtu"} for hca in HCAS},
    )
    nodes = {port.hca: port.node_guid.replace(":", "") for port in node.ports if port.node_guid}
    tally.check("node GUIDs", nodes, {a.name: (a.node_guid or "").removeprefix("0x") for a in stat.adapters})
    answer = run_tools.ask(run_tools.DISCOVER, 20)
    tally.true(
        "no subnet to ask is no PASS",
        answer.status in (Status.NOT_APPLICABLE, Status.INCONCLUSIVE),
        answer.reason,
    )


def selection(tally: Tally) -> None:
    """NCCL's own rule on the devices really present."""
    ports = probe().ports
    devices = [selector.Device(p.hca, p.number, bool(p.active), p.link_layer or "") for p in ports]
    taken = [choice.name for choice in selector.select("^=mlx5_0", devices) if choice.taken]
    tally.check("NCCL_IB_HCA=^=mlx5_0 takes", taken, HCAS[1:])


# ── traffic ─────────────────────────────────────────────────────────────────────────────────────────────


def write_bw(hca: str, *more: str) -> str:
    """ib_write_bw to the peer over one device, both ends under a limit; the client's text."""
    tool = f"ib_write_bw -d {hca} -F -u 18 -s {SIZE} -n {ITERATIONS} {' '.join(more)}"
    server = subprocess.Popen(["ssh", PEER, f"timeout {LIMIT_S:g} {tool}"], stdout=subprocess.DEVNULL)
    listening = (
        "for i in $(seq 120); do ss -Hltn sport = :18515 | grep -q . && exit 0; sleep 0.25; done; exit 1"
    )
    try:
        on_peer(listening)
        return sh(f"{tool} {PEER}").stdout
    finally:
        server.wait(timeout=LIMIT_S + 10)


def moved(before: dict[str, Snapshot], after: dict[str, Snapshot]) -> dict[str, Delta]:
    return {name: delta(before[name], after[name]) for name in before}


def active(change: Delta) -> list[str]:
    """The HCAs that sent or received a packet."""
    rows = [
        change.find(f"{hca}/1", "hw_counters", name) for hca in HCAS for name in ("sent_pkts", "rcvd_pkts")
    ]
    if any(row is None or row.growth is None for row in rows):
        return ["a packet counter is absent"]
    return sorted({row.subject for row in rows if row and row.growth})


def traffic(tally: Tally) -> None:
    """Bytes over mlx5_3 move mlx5_3, on both machines, and nothing else; mlx5_0 is silent."""
    before = counters()
    text = write_bw("mlx5_3")
    changes = moved(before, counters())
    rows = [row for run in output.parse(text) if run.complete and not run.failures for row in run.rows]
    rate = show_rate(rows[0].average, "MB/s") if rows else text[-200:]
    tally.true("ib_write_bw ran (its speed means nothing)", len(rows) == 1 and rows[0].valid, rate)
    for name, change in changes.items():
        tally.check(f"{name}: HCAs that moved", active(change), ["mlx5_3/1"])
        tally.check(
            f"{name}: error counters that grew", [row.counter for row in change.grown(CounterRole.ERROR)], []
        )
    sent = bytes_moved(changes["node0"], "r3").sent
    tally.true(
        "r3 sent the payload and a little more",
        sent is not None and 1 <= sent / (SIZE * ITERATIONS) < 1.1,
        sent,
    )
    others = {f"r{rail}": bytes_moved(changes["node0"], f"r{rail}").sent for rail in range(1, 9) if rail != 3}
    loud = {rail: sent for rail, sent in others.items() if sent is None or sent > NOISE}
    tally.check(f"other rails that sent over {NOISE} bytes", loud, {})


# ── faults ──────────────────────────────────────────────────────────────────────────────────────────────


def loss(tally: Tally) -> None:
    """A rail that loses packets is named by its error counters."""
    sh("tc qdisc add dev r5 root netem loss 3%")
    before = counters()
    write_bw("mlx5_5")
    changes = moved(before, counters())
    grown = [
        (row.subject, row.counter) for change in changes.values() for row in change.grown(CounterRole.ERROR)
    ]
    tally.check("3 % loss on rail 5: ports with errors", {subject for subject, _ in grown}, {"mlx5_5/1"})
    print("      ", ", ".join(sorted({counter for _, counter in grown})))
    sh("tc qdisc del dev r5 root")


def down(tally: Tally) -> None:
    """A rail that is taken down on one machine is found there, and only there."""
    on_peer("ip link set r7 down")
    for name, node in facts().items():
        dead = [(port.name, port.state, port.phys_state) for port in node.ports if port.active is not True]
        tally.check(
            f"{name}: ports that are down", dead, [("mlx5_7/1", "DOWN", "Disabled")] if name == PEER else []
        )
        interface = next(item for item in node.interfaces if item.name == "r7")
        tally.check(f"{name}: operstate of r7", interface.operstate, "down" if name == PEER else "up")
    on_peer("ip link set r7 up")


def command(tally: Tally) -> None:
    """``railgauge probe`` itself, on a machine with a rail down: its table names the rail."""
    railgauge = "cd /share/tree && PYTHONPATH=/share/site python3 -m bench"
    known = sh(f"{railgauge} --help", 300)
    if "probe" not in known.stdout:
        why = (known.stderr.strip().splitlines() or ["this tree has no such command"])[-1]
        tally.skip("railgauge probe", why)
        return
    sh("ip link set r7 down")
    ended = sh(f"{railgauge} probe", 300)
    sh("ip link set r7 up")
    line = next((line for line in ended.stdout.splitlines() if "mlx5_7" in line), "")
    ok = ended.returncode in (0, 1, 3) and "DOWN" in line.upper()
    tally.true("railgauge probe names the dead rail", ok, line.strip() or ended.stderr[-300:])


# ── verbs beside the rest ───────────────────────────────────────────────────────────────────────────────


def beside(name: str, prefix: str = "") -> list[str]:
    """The verbs phase under mpirun on both machines; what rank 0 prints. ``prefix``: before each rank's python."""
    mpirun = (
        "mpirun --allow-run-as-root -np 2 --host node0,node1 --mca pml ob1 --mca btl tcp,self "
        "--mca btl_tcp_if_include r0 --mca oob_tcp_if_include r0 -x PYTHONPATH=/share/tree:/share/site"
    )
    ended = sh(f"{mpirun} {prefix} python3 /share/beside.py /share/lab.toml /share/{name}", 300)
    if ended.returncode:
        print(ended.stdout[-1000:], ended.stderr[-2000:])
    return ended.stdout.splitlines()


def rows_of(lines: list[str]) -> dict[tuple[str, str], str]:
    """(node, rail) → status and text of each row of the table."""
    found = {}
    for line in lines:
        kind, _, rest = line.partition(" ")
        if kind == "row":
            node, rail, text = rest.split(" ", 2)
            found[node, rail] = text
    return found


def side_by_side(tally: Tally) -> None:
    """ib_write_bw on every rail, both ways, started by our own supervisors; the excluded one stays silent."""
    before = counters()
    lines = beside("run-healthy")
    changes = moved(before, counters())
    rows = rows_of(lines)
    tally.check("rows of the table", len(rows), 16)
    odd = {key: text for key, text in rows.items() if not text.startswith("pass:")}
    tally.check("rails that do not pass", odd, {})
    for key in (("node0", "mlx5_1/1"), ("node1", "mlx5_8/1")):
        print(f"       {' '.join(key)} {rows.get(key)}")
    for name, change in changes.items():
        tally.check(f"{name}: HCAs that moved", active(change), [f"{hca}/1" for hca in HCAS[1:]])
    left = sh("pgrep -c ib_write_bw").stdout.split() + on_peer("pgrep -c ib_write_bw").split()
    tally.check("perftest left behind", left, ["0", "0"])


LITTLE_MEMORY = r"""#!/bin/bash
case " $* " in *" mlx5_3 "*) ulimit -l 4; exec setpriv --bounding-set=-ipc_lock /usr/bin/ib_write_bw "$@";; esac
exec /usr/bin/ib_write_bw "$@"
"""


def layers_lost(tally: Tally) -> None:
    """Slow in one direction, down, and without memory: each is named on its own rail, and on no other."""
    sh("tc qdisc add dev r5 root tbf rate 400kbit burst 16k limit 4m")
    on_peer("ip link set r7 down")
    Path("/share/ib_write_bw").write_text(LITTLE_MEMORY)
    on_peer("install -m 755 /share/ib_write_bw /usr/local/bin/ib_write_bw")
    rows = rows_of(beside("run-faults"))
    on_peer("rm /usr/local/bin/ib_write_bw; ip link set r7 up")
    sh("tc qdisc del dev r5 root")
    for key, words in {
        ("node0", "mlx5_5/1"): ("fail:", "verbs loses", "sends"),
        ("node1", "mlx5_5/1"): ("fail:", "verbs loses", "receives"),
        ("node1", "mlx5_7/1"): ("fail:", "the link loses 100.0 %"),
        ("node0", "mlx5_7/1"): ("inconclusive:", "node1 mlx5_7/1: the port is Down"),
        ("node1", "mlx5_3/1"): ("inconclusive:", "node1 mlx5_3/1: memory could not be registered"),
    }.items():
        text = rows.pop(key, "no such row")
        tally.true(" ".join(key), all(word in text for word in words), text)
    rows.pop(("node0", "mlx5_3/1"), None)  # cannot be measured either: its only partner has no memory
    odd = {key: text for key, text in rows.items() if not text.startswith("pass:")}
    tally.check("other rails that do not pass", odd, {})


PARTS = (wires, healthy, texts, selection, traffic, loss, down, command, side_by_side, layers_lost)


def main() -> int:
    if sys.argv[1:] == ["facts"]:
        print(json.dumps(typed_json.to_json(probe())))
        return 0
    if sys.argv[1:] == ["counters"]:
        print(json.dumps(typed_json.to_json(snapshot())))
        return 0
    tally = Tally()
    for part in PARTS:
        if not sys.argv[1:] or part.__name__ in sys.argv[1:]:
            tally.part(part)
    print(f"{tally.passed} passed, {tally.failed} failed, {tally.skipped} skipped")
    return 1 if tally.failed else 0 if tally.passed else 3


if __name__ == "__main__":
    sys.exit(main())
