"""How GPUs reach HCAs, as NVIDIA's driver sees it: ``nvidia-smi topo -m``, PIX (one PCIe bridge) to SYS (two sockets).

SYS does not mean that GPUDirect is impossible (GB200 goes by C2C), and NIC3 is not mlx5_3: the NIC legend tells.
"""

from __future__ import annotations

import re

from bench.model.facts import LEVELS, GpuToHca
from bench.probe.fabric import pasted_text
from bench.probe.software import Ask

_GPU = re.compile(r"GPU[0-9]{1,3}")
_AFFINITY = re.compile(r"\b(?:CPU|NUMA) Affinity\b|\bGPU NUMA ID\b")
_LEGEND = re.compile(r"\s*(NIC[0-9]{1,3}):\s*([\w.-]+)")


def topology(ask: Ask) -> tuple[GpuToHca, ...]:
    """The matrix of the running machine; empty where there is no nvidia-smi."""
    text = ask(("nvidia-smi", "topo", "-m"))
    return parse(text) if text else ()


def parse(text: str) -> tuple[GpuToHca, ...]:
    """GPU against NIC, by the names in the legend, else by those in the header, which old drivers leave empty.

    A text without a matrix, a matrix without NICs, and a cell that is none of ``LEVELS`` say nothing.
    """
    lines = pasted_text.lines(text)  # drivers underline the header, even in a pipe
    at, header = next(((at, found) for at, line in enumerate(lines) if (found := _header(line))), (0, []))
    legend = {match[1]: match[2] for line in lines if (match := _LEGEND.match(line))}
    nics = [column for column, name in enumerate(header) if not _GPU.fullmatch(name)]
    names = {
        column: legend.get(header[column]) or header[column] or f"NIC column {place}"
        for place, column in enumerate(nics)
    }
    rows = [cells for cells in map(_cells, lines[at + 1 :]) if cells and _GPU.fullmatch(cells[0])]
    return tuple(
        GpuToHca(int(cells[0].removeprefix("GPU")), names[column], cells[1 + column])
        for cells in rows
        for column in nics
        if column + 1 < len(cells) and cells[1 + column] in LEVELS
    )


def _cells(line: str) -> list[str]:
    """The columns of a line: by tabs, where an empty one counts, else by blanks; less the corner of a header."""
    cells = [cell.strip() for cell in line.split("\t")]
    cells = line.split() if len(cells) == 1 or any(" " in cell for cell in cells) else cells
    return cells[1:] if cells[:1] == [""] else cells


def _header(line: str) -> list[str]:
    """The names of the columns before those of the affinity; empty where the line is no header.

    A header names GPU0 first, and so does the row of GPU0, which goes on with its relation to itself.
    """
    affinity = _AFFINITY.search(line)
    cells = _cells(line[: affinity.start()] if affinity else line)
    while cells and cells[-1] == "":
        cells.pop()
        if affinity:
            break  # the affinity column itself; names before it may be empty too, and count
    return cells if cells[:1] == ["GPU0"] and "X" not in cells else []
