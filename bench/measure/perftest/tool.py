"""The capabilities of the installed ib_write_bw, read from its own help: builds differ more than versions tell.

Distributions build it without CUDA; ``--bind_source_ip`` came with 24.04. Its help ends with status 1.
"""

from __future__ import annotations

import re

from bench.model.run_folder_lines import PerftestTool

NAME = "ib_write_bw"
LATENCY = "ib_write_lat"
USED = (
    "bind_source_ip",
    "tclass",
    "use_cuda",
    "use_cuda_bus_id",
    "use_cuda_dmabuf",
)  # taken where they are there
NEEDED = ("ib-dev", "duration", "margin", "tx-depth")
_FLAG = re.compile(r"--([A-Za-z][\w-]*)")
_VERSION = re.compile(r"Version:\s*(\S+)")


def read(node: str, help_text: str, version_text: str, latency: bool = False) -> PerftestTool:
    """The tool by its ``--help`` and ``--version``; a text that is not perftest's help makes it missing.

    ``latency``: ib_write_lat is there too. Both programs of one package read their options by one function.
    """
    flags = set(_FLAG.findall(help_text))
    version = _VERSION.search(version_text)
    lacking = [flag for flag in NEEDED if flag not in flags]
    if lacking:
        said = next((line.strip() for line in help_text.splitlines() if line.strip()), "nothing")[:200]
        return PerftestTool(node, missing=f"{NAME} does not know --{lacking[0]}; it says: {said}")
    knows = tuple(flag for flag in USED if flag in flags)
    return PerftestTool(node, version[1] if version else "", knows, latency=latency)
