"""The networks of NCCL's log (``Using network IB``) by kind."""

from __future__ import annotations

import re

SOCKETS = ("Socket", "FastSocket")
# NCCL's own, HPC-X's (IBext, IBext_v8 ...) and Google's: those whose list is the "NET/... : Using" line
_INFINIBAND = re.compile(r"g?IB(ext)?(_v\d{1,3})?")


def is_infiniband(network: str) -> bool:
    """Whether verbs carry it: InfiniBand or RoCE."""
    return bool(_INFINIBAND.fullmatch(network))
