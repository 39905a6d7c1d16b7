"""Profiles of the machine at hand, as gpu-check's jobs need them. Nothing in them claims a speed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_HEAD = """
format = 1
name = "{name}"
title = "{title}"
source = "gpu-check: what is there; no speed is claimed"

[cluster]
backend = "{backend}"
"""
_SWEEP = """
[sweep]
begin = "4K"
end = "{end}"
factor = {factor}
pairs = ["p2p", "p2p_bidirectional", "p2p_ring"]
pair_sizes = ["64K"]
budget = "{budget}"
precision = "5 %"
graphs = "{graphs}"
registered = {registered}
"""


def every_gpu(backend: str) -> str:
    """Every GPU a rank of its own: all phases, with CUDA graphs and registered buffers."""
    head = _HEAD.format(name="gpus", title="every GPU of this machine", backend=backend)
    return head + _SWEEP.format(end="64M", factor=128, budget="400 ms", graphs="4K", registered="true")


def shared_gpu(
    backend: str, kind: str, rails: Sequence[str], excluded: Sequence[str], environment: Mapping[str, str]
) -> str:
    """Several ranks on one GPU that talk over ``rails``: what is measured is whether it works, never how fast."""
    text = _HEAD.format(name=f"shared-{kind}", title=f"ranks that share a GPU, over {kind}", backend=backend)
    text += f'\n[rails]\nkind = "{kind}"\ncount = {len(rails)}\ndevices = {_texts(rails)}\n'
    text += f"excluded = {_texts(excluded)}\n\n[environment]\n"
    text += "".join(f'{name} = "{value}"\n' for name, value in environment.items())
    return text + _SWEEP.format(end="64K", factor=16, budget="250 ms", graphs="4K", registered="true")


def _texts(names: Sequence[str]) -> str:
    return "[" + ", ".join(f'"{name}"' for name in names) + "]"
