"""How GPUs reach HCAs, as NVIDIA's driver sees it: ``nvidia-smi topo -m``."""

from __future__ import annotations

from bench.model.facts import LEVELS, Near
from bench.probe.fabric import topo_matrix
from bench.probe.fabric.pasted_text import Refused
from bench.probe.software import Ask


def topology(ask: Ask) -> tuple[Near, ...]:
    """The matrix of the running machine; empty where there is no nvidia-smi."""
    text = ask(("nvidia-smi", "topo", "-m"))
    return parse(text) if text else ()


def parse(text: str) -> tuple[Near, ...]:
    """GPU against NIC, by the names in the legend; text of another tool, or a matrix without NICs, says nothing."""
    try:
        matrix = topo_matrix.parse(text)
    except Refused:
        return ()
    return tuple(
        Near(int(row.name.removeprefix("GPU")), matrix.name(column), cell)
        for row in matrix.rows
        for column, cell in enumerate(row.nics)
        if cell in LEVELS
    )
