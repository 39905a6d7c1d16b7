"""Which warnings NCCL's proxy prints while its communicator is destroyed: they are no fault."""

from __future__ import annotations

import re

from bench.nccl.log import LogProcess
from bench.nccl.log_facts import Warned

# src/proxy.cc, WARN up to 2.29 and ATTN from 2.32 on: the abort flag makes its own accept and receive end with
# ncclInternalError, which is 3
_TEARDOWN = re.compile(
    r"\[Service thread\] (?:Accept failed |Could not receive type from localRank \d+, res=3, closed=0)"
    r"|\[Proxy Service \d+\] Failed to execute operation Close from rank \d+, retcode 3"
)


def torn_down(process: LogProcess, warning: Warned) -> bool:
    """Whether the proxy warned of its own end: the communicator says afterwards that it is destroyed or aborted."""
    ended = process.completed("Destroy", "Abort") > warning.line
    return ended and "proxy.cc" in warning.where and bool(_TEARDOWN.match(warning.text))
