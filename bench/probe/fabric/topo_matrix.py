"""``nvidia-smi topo -m``: how GPUs and NICs reach each other, PIX (one PCIe bridge) to SYS (two sockets).

SYS does not mean that GPUDirect is impossible (GB200 goes by C2C), and NIC3 is not mlx5_3: the NIC legend
tells.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bench.probe.fabric import pasted_text as noise

# nearest first; SOC is what drivers before 384 called SYS
NEAREST = ("PIX", "PXB", "PHB", "NODE", "SYS", "SOC")
_CELL = re.compile(r"X|NV[0-9]{1,3}|PIX|PXB|PHB|NODE|SYS|SOC")
_OTHER_CELL = re.compile(r"OK|GNS|CNS|TNS|NS|DR|U|XGMI|PCIE|[0-9]+(?:\.[0-9]+)?")
_GPU = re.compile(r"GPU[0-9]{1,3}")
_AFFINITY = re.compile(r"\b(?:CPU|NUMA) Affinity\b|\bGPU NUMA ID\b")
_LEGEND = re.compile(r"\b(NIC[0-9]{1,3})\s*[:=]\s*([\w.-]+)")


@dataclass(frozen=True)
class GpuRow:
    """One GPU's row: its relation to every GPU and every NIC, in the header's order; "" where the row was
    cut.
    """

    name: str
    gpus: tuple[str, ...]
    nics: tuple[str, ...]
    cpu_affinity: str | None
    numa_affinity: str | None

    @property
    def numa(self) -> int | None:
        """The NUMA node, None where there is none or more than one (``0-1``)."""
        return noise.number(self.numa_affinity)


@dataclass(frozen=True)
class TopoMatrix:
    """``nics`` are the header's names ("" where the driver printed none), ``devices`` the legend's (None
    without one).

    ``complete``: every GPU of the header has a row with every cell.
    """

    gpus: tuple[str, ...]
    nics: tuple[str, ...]
    devices: tuple[str | None, ...]
    rows: tuple[GpuRow, ...]
    complete: bool
    unparsed: tuple[str, ...]

    def name(self, nic: int) -> str:
        """The device's name where it is known, else the header's, else its column: ``NIC column 3``."""
        return self.devices[nic] or self.nics[nic] or f"NIC column {nic}"


def nearest(row: GpuRow) -> tuple[str, tuple[int, ...]]:
    """The nearest relation of this GPU to a NIC and the columns of all NICs that have it: often a tie.

    ("", ()) without.
    """
    for relation in NEAREST:
        columns = tuple(column for column, cell in enumerate(row.nics) if cell == relation)
        if columns:
            return relation, columns
    return "", ()


def parse(text: str) -> TopoMatrix:
    """The first matrix of the text; a second one (``topo -p2p``) is left alone. Raises ``Refused``."""
    found = noise.lines(text)
    tables = [(at, header) for at, line in enumerate(found) if (header := _header(line)) is not None]
    if not tables:
        noise.refuse_unless(False, text, "nvidia-smi topo -m", "GPU0 GPU1 NIC0 CPU Affinity")
        return TopoMatrix((), (), (), (), False, ())
    at, header = tables[0]
    end = tables[1][0] if len(tables) > 1 else len(found)
    rows, unparsed = _rows(header, found[at + 1 : end])
    if not rows:
        raise noise.Refused(
            f"not nvidia-smi topo -m output: no cell like NV18, PIX or SYS under {' '.join(header)[:60]!r}"
        )
    gpus = tuple(name for name in header if _GPU.fullmatch(name))
    nics = tuple(name for name in header if not _GPU.fullmatch(name))
    legend = {match[1]: match[2] for line in found for match in _LEGEND.finditer(line)}
    devices = tuple(
        legend.get(name) or (name if name and not name.startswith("NIC") else None) for name in nics
    )
    whole = tuple(row.name for row in rows) == gpus and not any("" in row.gpus + row.nics for row in rows)
    return TopoMatrix(gpus, nics, devices, rows, whole, unparsed)


def _cells(line: str) -> list[str]:
    """Columns of a line: by bars (Markdown), else by tabs (an empty one counts), else by blanks."""
    if line.strip().startswith("|"):
        return [cell.strip() for cell in line.strip().strip("|").split("|")]
    cells = [cell.strip() for cell in line.split("\t")]
    return line.split() if len(cells) == 1 or any(" " in cell for cell in cells) else cells


def _header(line: str) -> tuple[str, ...] | None:
    """Column names before the affinity columns; None where the line is no header.

    A header names GPU0 first, after nothing or an empty corner; a row starts with GPU0 too, and goes on with
    a cell.
    """
    affinity = _AFFINITY.search(line)
    cells = _cells(line[: affinity.start()] if affinity else line)
    if cells and cells[0] == "":
        cells = cells[1:]
    if affinity and cells and cells[-1] == "":
        cells = cells[:-1]  # the affinity column itself; names before it may be empty too, and count
    while not affinity and cells and cells[-1] == "":
        cells = cells[:-1]
    if (
        not cells
        or cells[0] != "GPU0"
        or any(_CELL.fullmatch(cell) or _OTHER_CELL.fullmatch(cell) for cell in cells)
    ):
        return None
    return tuple(cells)


def _rows(header: tuple[str, ...], body: list[str]) -> tuple[tuple[GpuRow, ...], tuple[str, ...]]:
    """The GPU rows, and the lines with cells that are not understood."""
    rows, unparsed = [], []
    for line in body:
        cells = _cells(line)
        if cells[:1] == [""]:
            cells = cells[1:]  # an indented row
        if not cells or not _GPU.fullmatch(cells[0]):
            continue
        row = _row(header, cells)
        if row is None:
            unparsed.append(line.strip())
        else:
            rows.append(row)
    return tuple(rows), tuple(unparsed)


def _row(header: tuple[str, ...], cells: list[str]) -> GpuRow | None:
    """A GPU's row; None where a cell is none of the known relations (``topo -p2p``, rocm-smi)."""
    related, tail = cells[1 : len(header) + 1], cells[len(header) + 1 :]
    if not related or not all(_CELL.fullmatch(cell) for cell in related):
        return None
    related += [""] * (len(header) - len(related))
    at = dict(enumerate(related))
    cpu, numa = (cell if cell not in ("", "N/A") else None for cell in (*tail, "", "")[:2])
    return GpuRow(
        name=cells[0],
        gpus=tuple(at[column] for column, name in enumerate(header) if _GPU.fullmatch(name)),
        nics=tuple(at[column] for column, name in enumerate(header) if not _GPU.fullmatch(name)),
        cpu_affinity=cpu,
        numa_affinity=numa,
    )
