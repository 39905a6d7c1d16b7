"""The ports of a node as NCCL's selector sees them, and the names that NCCL gives them."""

from __future__ import annotations

from bench.model.facts import Node
from bench.model.rails import Role
from bench.nccl.selector import Device


def nccl_devices(node: Node) -> tuple[Device, ...]:
    """The ports in the form that NCCL's selector takes. A state that could not be read counts as ACTIVE: an
    excluded port must be kept out by its name.
    """
    return tuple(
        Device(port.hca, port.number, port.active is not False, port.link_layer or "InfiniBand")
        for port in node.ports
    )


def nccl_name(role: Role) -> str:
    """The name in NCCL's spelling: ``mlx5_3:1``, or the interface's name."""
    return f"{role.port.hca}:{role.port.number}" if role.port else role.name
