"""A profile drafted from what the probes saw of one node, for a person to fill in.

A draft claims nothing that nobody said: what was seen stands as a value with that source, what was sold
stands under ``open``, which keeps every conclusion about the wire back, and the rest stands as comments.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from bench.model.facts import Gpu, Interface, Node, Port
from bench.model.profile import FORMAT
from bench.model.units import show_rate

LAYERS = {"InfiniBand": "infiniband", "Ethernet": "roce"}
HEAD = """\
# Drafted from {node}, {date}. Everything below was seen on that one machine: check it against what was sold,
# fill in what stands as a comment, delete `open`, then: railgauge accept --profile ./{name}.toml
"""
BOUNDS = """\
# Bounds, each with its source; delete what nobody can tell. For examples: railgauge profiles lambda-1cc-h100
# [[bounds]]
# collective = "all_reduce"
# quantity = "wire_share"          # of the target; or busbw, rail_rate, p50 (then at_most)
# algorithm = "ring"
# nodes = [2, 64]
# size = ["4G", "16G"]
# at_least = "85 %"
# source = "who says so"
# date = "2026-11"
# confidence = "stated"            # measured, published, derived or stated
"""


def draft(node: Node, name: str, date: str) -> str:
    """The TOML text of a profile called ``name``, as far as a profile may be; it parses as it stands.

    ``date``: when the node was probed.
    """
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", name).lstrip("._-")[:100] or "my-cluster"
    gpus = len(node.gpus)
    lines = [
        HEAD.format(node=_comment(node.name), date=_comment(date), name=_comment(name)).rstrip(),
        f"format = {FORMAT}",
        f"name = {quoted(name)}",
        f"title = {quoted(f'drafted from {node.name}: to be filled in')}",
        f"source = {quoted(f'railgauge profiles new on {node.name}, {date}')}",
        "",
        "[cluster]",
        f"backend = {quoted('nccl' if gpus else 'auto')}",
        "# nodes = [2, 64]",
        f"gpus_per_node = {gpus}" if gpus else "# gpus_per_node = 8  (no GPU was seen)",
        *_gpu_name(node.gpus),
        '# nvlink = { value = "450 GB/s", source = "datasheet: of one GPU, each way", confidence = "published" }',
        '# alone = { value = "480 GB/s", source = "all_reduce on one healthy node alone", confidence = "measured" }',
        '# power_limit = { value = "600 W", source = "the contract, where it caps the GPUs" }',
        "",
        "[rails]",
        *_rails(node, date),
        "",
        "[environment]",
        *_environment(node),
        "",
        "[sweep]",
        'begin = "8"',
        f"end = {quoted('8G' if gpus else '64M')}",
        "factor = 4",
        f"dtype = {quoted('bfloat16' if gpus else 'float32')}",
        'pairs = ["p2p", "p2p_bidirectional", "p2p_ring"]',
        f"pair_sizes = {'[' + quoted('64K') + ', ' + quoted('256M' if gpus else '4M') + ']'}",
        'budget = "4 s"',
        "",
        BOUNDS,
    ]
    return "\n".join(lines)


def quoted(text: str) -> str:
    """A TOML basic string of at most 400 characters; what TOML cannot hold is replaced."""
    kept = text[:400].encode("utf-8", "replace").decode()
    return '"' + "".join(_escaped(each) for each in kept) + '"'


def _escaped(each: str) -> str:
    if each in '\\"':
        return f"\\{each}"
    return each if each.isprintable() else f"\\U{ord(each):08x}"


def _comment(text: str) -> str:
    """``text`` on one line: a comment ends with its line, and holds no control characters."""
    return "".join(each if each.isprintable() else "?" for each in text.encode("utf-8", "replace").decode())[
        :400
    ]


def _gpu_name(gpus: Sequence[Gpu]) -> list[str]:
    names = Counter(gpu.name for gpu in gpus if gpu.name)
    if not names:
        return ['# gpu_name = "H100"']
    lines = [f"gpu_name = {quoted(names.most_common(1)[0][0])}"]
    if len(names) > 1:
        lines.append(f"# seen beside it: {_comment(', '.join(sorted(names)[:8]))}")
    return lines


def rail_ports(node: Node) -> tuple[Port, ...]:
    """The active ports that look like rails: of one link layer, InfiniBand first, at the highest rate that
    several of them share.
    """
    active = [port for port in node.ports if port.active and port.rate and port.link_layer in LAYERS]
    for layer in LAYERS:
        rates = Counter(port.rate for port in active if port.link_layer == layer and port.rate)
        if rates:
            several = [rate for rate, count in rates.items() if count > 1] or list(rates)
            best = max(several)
            return tuple(port for port in active if port.link_layer == layer and port.rate == best)
    return ()


def _rails(node: Node, date: str) -> list[str]:
    found = rail_ports(node)
    if not found:
        return _sockets(node)
    names = [_device(port, found) for port in found]
    others = sorted({port.hca for port in node.ports} - {port.hca for port in found})
    inactive = sorted(port.name for port in node.ports if not port.active)
    rate = found[0].rate or 0.0
    total = show_rate(rate * len(found), "Gb/s")
    seen = quoted(f"{node.name}, as its ports say, {date}")
    lines = [
        f"kind = {quoted(LAYERS[str(found[0].link_layer)])}",
        f"count = {len(found)}",
        f"devices = [{', '.join(map(quoted, names))}]",
        f"excluded = [{', '.join(map(quoted, others))}]",
        f'rate = {{ value = {quoted(show_rate(rate, "Gb/s"))}, source = {seen}, confidence = "measured" }}',
        f'open = "target: what a node is sold; its {len(found)} rails carry {total} at most"',
        f'# target = {{ value = "{total}", source = "the order", confidence = "stated" }}',
    ]
    if inactive:
        lines.append(
            f"# not active when probed: {_comment(', '.join(inactive))}: a rail that is down is missing above"
        )
    return lines


def _device(port: Port, rails: Sequence[Port]) -> str:
    """The HCA, with its port number where the HCA has several rails or its rail is not port 1."""
    alone = sum(other.hca == port.hca for other in rails) == 1
    return port.hca if alone and port.number == 1 else f"{port.hca}:{port.number}"


def _sockets(node: Node) -> list[str]:
    faces = [face for face in node.interfaces if _may_carry(face)]
    listed = [f"# {_comment(face.name)}: {_speed(face)}" for face in faces]
    if not faces:
        return ['kind = "none"', "# no HCA and no interface that could be a rail was seen"]
    return [
        "# no active HCA was seen, so the rails, if any, are interfaces; which are for management nobody says:",
        *listed,
        'kind = "none"',
        '# kind = "socket"',
        f"# count = {len(faces)}",
        f"# devices = [{', '.join(quoted(face.name) for face in faces)}]",
        '# management = "eth0"',
        '# rate = { value = "100 Gb/s", source = "the order", confidence = "stated" }',
        '# target = { value = "800 Gb/s", source = "the order", confidence = "stated" }',
    ]


def _may_carry(face: Interface) -> bool:
    return face.name != "lo" and not face.virtual and face.operstate != "down"


def _speed(face: Interface) -> str:
    return show_rate(face.speed, "Gb/s") if face.speed else "its speed is not known"


def _environment(node: Node) -> list[str]:
    found = rail_ports(node)
    if not found:
        return ['# NCCL_SOCKET_IFNAME = "=eth1,eth2"  (= takes these names exactly)']
    others = sorted({port.hca for port in node.ports} - {port.hca for port in found})
    taken = ",".join(_device(port, found) for port in found)
    chosen = f"^={','.join(others)}" if others else f"={taken}"
    return [f"NCCL_IB_HCA = {quoted(chosen)}", 'NCCL_NET = "IB"']
