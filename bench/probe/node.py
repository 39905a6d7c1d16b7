"""Probes one machine: runs all probes, notes each source that gave nothing, takes snapshots of the counters."""

from __future__ import annotations

import functools
import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from bench.model.counters import Snapshot
from bench.model.counters import snapshot as counters_in
from bench.model.facts import Environment, Gpu, Host, Interface, Node, Port, Software
from bench.model.kernel_log import KernelLog
from bench.probe import (
    addresses,
    cpu,
    environment,
    ethtool,
    gpus,
    host,
    infiniband,
    mtu,
    network,
    software,
    topology,
)
from bench.probe.kernel_log import LAST, kernel_log
from bench.probe.sysfs import LIVE
from bench.probe.torch_gpus import torch_gpus

T = TypeVar("T")
COPY = "not read: the root is a copied tree, and what runs here is another machine's"


def probe(root: Path = LIVE, *, nvml: Any = None, environ: Mapping[str, str] | None = None) -> Node:
    """The facts of this machine, or of a copied tree. Never raises: what fails is a note.

    GPUs, IP addresses, software and environment are asked of the running system, so a copied tree has none.
    ``nvml`` and ``environ`` stand in for NVML and ``os.environ`` in tests.
    """
    live = root.resolve() == LIVE
    notes: list[str] = []
    seen = _part(notes, "nvml", lambda: _gpus(live, nvml, root), gpus.NvmlAnswer())
    if live and nvml is None and not seen.gpus:
        none_seen: tuple[Gpu, ...] = ()
        by_torch = _part(notes, "torch", torch_gpus, none_seen)
        note = [f"nvml: shows no GPU, and torch {len(by_torch)}: these are used, without clocks and counters"]
        seen = replace(seen, gpus=by_torch, notes=(*seen.notes, *note[: len(by_torch)]))
    found = _part(notes, "software", lambda: _software(live, root, environ), Software())
    none: tuple[Port, ...] = ()
    ports = _part(notes, "infiniband", lambda: infiniband.ports(root), none)
    if live and ports:
        ports = _part(notes, mtu.TOOL, lambda: mtu.with_mtu(ports, notes), ports)
    node = Node(
        name=_part(notes, "hostname", lambda: _name(live, root), None) or _unnamed(live),
        ports=ports,
        interfaces=_part(notes, "network", lambda: _interfaces(live, root, notes), ()),
        tcp=_part(notes, "tcp", lambda: network.tcp(root), {}),
        gpus=seen.gpus,
        topology=_part(notes, "topology", lambda: topology.topology(software.ask) if live else (), ()),
        host=_part(notes, "host", lambda: _host(live, root), Host()),
        software=replace(found, driver=seen.driver, driver_cuda=seen.cuda),
        environment=_part(notes, "environment", lambda: _environment(live, root, environ), Environment()),
        kernel_log=_part(notes, "kernel log", lambda: kernel_log(software.ask) if live else None, None),
    )
    return replace(node, notes=(*notes, *seen.notes, *_nothing(root, node)))


def snapshot(root: Path = LIVE) -> Snapshot:
    """All counters now: ports, interfaces, TCP, CPU quota, kernel log. A source that fails has no readings."""
    notes: list[str] = []
    empty_ports: tuple[Port, ...] = ()
    empty_interfaces: tuple[Interface, ...] = ()
    ports = _part(notes, "infiniband", lambda: infiniband.counters(root), empty_ports)
    live = root.resolve() == LIVE
    own = socket.if_nameindex if live else None
    interfaces = _part(notes, "network", lambda: network.statistics(root, own), empty_interfaces)
    tcp: dict[str, int] = _part(notes, "tcp", lambda: network.tcp(root), {})
    quota: dict[str, int] = _part(notes, "cpu", lambda: cpu.throttled(root), {})
    look = functools.partial(kernel_log, software.ask, LAST)
    log = _part(notes, "kernel log", look, KernelLog()) if live else KernelLog()
    own_counters: dict[str, dict[str, int]] = _part(notes, "ethtool", lambda: _pauses(ports, live), {})
    now = time.time(), time.monotonic()
    return counters_in(*now, ports, interfaces, tcp, quota, log.readings, own_counters)


def _pauses(ports: tuple[Port, ...], live: bool) -> dict[str, dict[str, int]]:
    """What the drivers of RoCE ports count, by the port's name; the interfaces of a copied tree are not here."""
    return {port.name: ethtool.pauses(port.netdev) for port in ports if live and port.netdev}


def _part(notes: list[str], source: str, read: Callable[[], T], otherwise: T) -> T:
    """One source of facts, or ``otherwise`` where it cannot be read, with a note why."""
    try:
        return read()
    except Exception as error:  # whatever goes wrong in one source, the facts of the others count
        notes.append(f"{source}: {type(error).__name__}: {error}")
        return otherwise


def _gpus(live: bool, nvml: Any, root: Path) -> gpus.NvmlAnswer:
    if nvml is None and not live:
        return gpus.NvmlAnswer(notes=(f"nvml: {COPY}",))
    return gpus.gpus(nvml or gpus.load(), root)


def _software(live: bool, root: Path, environ: Mapping[str, str] | None) -> Software:
    return software.software(root, os.environ if environ is None else environ) if live else Software()


def _interfaces(live: bool, root: Path, notes: list[str]) -> tuple[Interface, ...]:
    if not live:
        return network.interfaces(root)
    if network.foreign(root, socket.if_nameindex):
        notes.append(
            "network: /sys is of another network namespace; state, speed and MTU of interfaces are not known"
        )
    return network.interfaces(root, _part(notes, "addresses", addresses.addresses, None), socket.if_nameindex)


def _host(live: bool, root: Path) -> Host:
    facts = host.host(root)
    return replace(facts, clock=time.time()) if live else facts


def _environment(live: bool, root: Path, environ: Mapping[str, str] | None) -> Environment:
    if not live and environ is None:
        return environment.environment(root, None)
    return environment.environment(root, os.environ if environ is None else environ, environment.home())


def _name(live: bool, root: Path) -> str | None:
    return host.node_name() if live else host.hostname(root)


def _unnamed(live: bool) -> str:
    return os.uname().nodename if live else "unnamed"


def _nothing(root: Path, node: Node) -> list[str]:
    """A note for each source that is not there at all."""
    sources = (
        (infiniband.CLASS, node.ports, "no RDMA device"),
        (network.CLASS, node.interfaces, "no network interface"),
        (network.SNMP, node.tcp, "no TCP counters"),
    )
    notes = [f"/{path}: {what}" for path, found, what in sources if not found]
    if root.resolve() != LIVE:
        notes.append(f"software, environment, addresses, clock: {COPY}")
    return notes
