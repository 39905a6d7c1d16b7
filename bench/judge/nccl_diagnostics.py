"""What NCCL's own diagnostics of a communicator show, as a verdict (NCCL_RUN_DIAGNOSTICS=1, from NCCL 2.31).

When a communicator begins, each GPU writes to and reads from its peers, and rank 0 prints what became of it past the
log (src/diagnostics.cc and src/diagnostics/p2p.cc of 2.31.2).
"""

from __future__ import annotations

import re

from bench.model.units import show_some
from bench.model.verdict import Status, Verdict
from bench.nccl.log import Log

SETTING = "NCCL_RUN_DIAGNOSTICS"
_BEGUN, _ENDED = "=== NCCL Diagnostics ===", "NCCL diagnostics completed in "
_WRONG = re.compile(r"p2p: (?:write|read) mismatch ")
# said of every pair of GPUs in one process, and no fault
_BENIGN = "p2p: temporarily enabled context-wide CUDA peer access "


def asked_for(log: Log) -> bool:
    """Whether diagnostics ran, or were to run."""
    set_to = (each.value for process in log.processes for each in process.settings if each.name == SETTING)
    return bool(log.diagnosed) or any(value != "0" for value in set_to)


def diagnostics(log: Log) -> Verdict:
    """FAIL where bytes between two GPUs were wrong; PASS where the check of every communicator ended well."""
    said = [each for each in log.diagnosed if not each.text.startswith(_BENIGN)]
    begun = sum(each.text == _BEGUN for each in said)
    ended = sum(each.text.startswith(_ENDED) for each in said)
    found = [each for each in said if each.text != _BEGUN and not each.text.startswith(_ENDED)]
    wrong = [each.text for each in found if _WRONG.match(each.text)]
    other = [each.text for each in found if each.level != "OK"]
    if wrong:
        status, text = Status.FAIL, show_some(wrong, 1)
    elif other:
        status, text = Status.INCONCLUSIVE, show_some(other, 1)
    elif not begun or ended < begun:
        status, text = Status.INCONCLUSIVE, f"{ended} of {begun} checks came to their end"
    elif not found:
        status, text = Status.SKIP, "no two GPUs reach each other without the network: no pair was checked"
    else:
        status, text = Status.PASS, show_some(list(dict.fromkeys(each.text for each in found)), 1)
    step = {
        Status.FAIL: "do what the line of NCCL DIAG says, then measure again",
        Status.INCONCLUSIVE: "read the lines of NCCL DIAG in logs/, then measure again",
    }
    return Verdict(
        "nccl.diagnostics",
        "GPU pairs",
        status,
        text,
        "every directed pair of GPUs that NCCL checks is verified",
        f"NCCL's own diagnostics ({SETTING})",
        step.get(status, ""),
        evidence=tuple(each.text for each in said[:64]),
    )
