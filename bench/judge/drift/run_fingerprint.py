"""The fingerprint of a run: what may move its figures, so that nights are compared with their like."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from itertools import chain

from bench.model.facts import Node
from bench.model.profile import Profile
from bench.model.units import show_some
from bench.store import Manifest

# how a figure is taken; raised when a change of the measuring itself may move figures
METHOD = "1"
UNKNOWN = "unknown"
MOST = 4  # values of one part that are told; a cluster with more versions has other worries
# settings that move no figure, or differ from run to run
_NOT_ABOUT_SPEED = ("NCCL_DEBUG", "TORCH_NCCL_TRACE", "TORCH_NCCL_DEBUG", "TORCH_NCCL_DUMP", "NCCL_HOSTID")


def parts(manifest: Manifest, nodes: Iterable[Node], profile: Profile) -> dict[str, str]:
    """GPUs, nodes, NCCL, driver, firmware, algorithm, profile … of a run; what nobody knows is "unknown"."""
    nodes = tuple(nodes)
    gloo = manifest.backend == "gloo"
    found = {
        "method": METHOD,
        "backend": manifest.backend,
        "nodes": str(len(manifest.nodes)),
        "ranks": str(len(manifest.ranks)),
        "torch": said(node.software.torch for node in nodes),
        "firmware": said((port.fw for node in nodes for port in node.ports), "no HCA"),
        "settings": settings(manifest),
        "profile": f"{profile.name}/{digest(profile)}",
    }
    if gloo:
        return found | {
            "cpu": said(node.host.cpu for node in nodes),
            "kernel": said(node.host.kernel for node in nodes),
        }
    return found | {
        "gpus": said((gpu.name for node in nodes for gpu in node.gpus), "none"),
        "driver": said(node.software.driver for node in nodes),
        "nccl": said(_nccl(node) for node in nodes),
        "algorithm": algorithm(manifest),
    }


def said(values: Iterable[str | None], none: str = UNKNOWN) -> str:
    """``550.90.07``; where nodes differ, each value once, in order."""
    found = sorted({value or UNKNOWN for value in values})
    return show_some(found, MOST) or none


def _nccl(node: Node) -> str | None:
    """The library that torch brings, else the system's: which one a process loads only it can say."""
    wheels = node.software.nccl_wheels
    return node.software.torch_nccl or ", ".join(sorted(set(wheels.values()))) or None


def settings(manifest: Manifest) -> str:
    """``NCCL_IB_HCA=^=mlx5_0 NCCL_NET=IB``: what NCCL and gloo were told on any rank, and by the profile."""
    told: Mapping[str, str] = manifest.settings.worker_environment
    values = chain(told.items(), *(each.items() for each in manifest.environment.values()))
    wanted = {
        f"{name}={value}"
        for name, value in values
        if name.startswith(("NCCL_", "TORCH_NCCL_", "GLOO_")) and not name.startswith(_NOT_ABOUT_SPEED)
    }
    return " ".join(sorted(wanted)) or "none"


def algorithm(manifest: Manifest) -> str:
    """What NCCL is forced to, else ``auto``."""
    given = {
        f"{name.removeprefix('NCCL_').lower()} {each[name]}"
        for each in (*manifest.environment.values(), manifest.settings.worker_environment)
        for name in ("NCCL_ALGO", "NCCL_PROTO")
        if name in each
    }
    return ", ".join(sorted(given)) or "auto"


def digest(profile: Profile) -> str:
    """Eight digits of what a profile says of the measuring; its bounds and words move no figure."""
    text = repr(
        (profile.backend, profile.gpus, profile.rails.devices, profile.environment, profile.sweep.dtype)
    )
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def cluster_name(given: str, manifest: Manifest, slurm: str = "") -> str:
    """The name that the nights of a cluster share: as given; else one machine's own, Slurm's, the profile's."""
    alone = manifest.nodes[0] if len(manifest.nodes) == 1 else ""
    return given or alone or slurm or manifest.profile_name
