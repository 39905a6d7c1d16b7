"""What NCCL's own diagnostics of a communicator show, as verdicts (NCCL_RUN_DIAGNOSTICS=1, from NCCL 2.31).

When a communicator begins, each GPU writes to and reads from its peers, and from 2.32 on ib_write_bw runs between the
ranks; rank 0 prints what became of it past the log. NCCL_RUN_RAS_DIAGNOSTICS=1 adds what the RAS threads of all ranks
know of their machines. Sources: src/diagnostics.cc and src/diagnostics/p2p.cc of 2.31.2, and the texts in the library
of 2.32.3.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from bench.model.units import show_some
from bench.model.verdict import Status, Verdict
from bench.nccl.log import Log
from bench.nccl.log_facts import Diagnosed

SETTINGS = ("NCCL_RUN_DIAGNOSTICS", "NCCL_RUN_RAS_DIAGNOSTICS")
_BEGUN, _ENDED = "=== NCCL Diagnostics ===", "NCCL diagnostics completed in "
_RAS_BEGUN, _RAS_ENDED = "=== RAS Diagnostics ===", "RAS diagnostics completed in "
_RAS_SKIPPED = "RAS diagnostics skipped"
_NETWORK = "net bw: "
_WRONG = re.compile(r"p2p: (?:write|read) mismatch ")
_RATES = re.compile(r"net bw: [\d.]+/[\d.]+/[\d.]+ Gbit/s ")
_NOT_RUN = re.compile(r"net bw: (?:skipped|required external tool missing)")
# said of every pair of GPUs in one process, and of how ranks and devices are laid out: no faults
_BENIGN = re.compile(
    r"p2p: temporarily enabled context-wide CUDA peer access "
    r"|net bw: (?:multiple net devices per rank detected|net devices are shared across ranks|mode=)"
)
Found = tuple[Status, str]


def asked_for(log: Log) -> bool:
    """Whether diagnostics ran, or were to run."""
    return bool(log.diagnosed or _asked(log))


def _asked(log: Log) -> set[str]:
    settings = (each for process in log.processes for each in process.settings)
    return {each.name for each in settings if each.name in SETTINGS and each.value != "0"}


def diagnostics(log: Log) -> Iterator[Verdict]:
    """FAIL where bytes between two GPUs were wrong; PASS where the check of every communicator ended well."""
    said = [each for each in log.diagnosed if not _BENIGN.match(each.text)]
    ras = _of_ras(said)
    network = [each for each in said if each.text.startswith(_NETWORK)]
    rest = {*ras, *network}
    pairs = [each for each in said if each not in rest]
    if pairs or SETTINGS[0] in _asked(log):
        wanted = "every directed pair of GPUs that NCCL checks is verified"
        yield _verdict("GPU pairs", _pairs(pairs), wanted, pairs)
    if network:
        yield _verdict("network", _rates(network), "every rank within 30 % of the median", network)
    if ras or SETTINGS[1] in _asked(log):
        yield _verdict("RAS", _machines(ras), "nothing that NCCL's RAS threads remark on", ras)


def _of_ras(said: Sequence[Diagnosed]) -> list[Diagnosed]:
    """The lines of RAS's reports; a check of pairs may print its own lines among them."""
    found, inside = list[Diagnosed](), False
    for each in said:
        own = each.text == _RAS_BEGUN or each.text.startswith(_RAS_ENDED) or _RAS_SKIPPED in each.text
        other = each.text == _BEGUN or each.text.startswith((_ENDED, _NETWORK, "p2p: "))
        if own or (inside and not other):
            found.append(each)
        inside = (inside or each.text == _RAS_BEGUN) and not each.text.startswith(_RAS_ENDED)
    return found


def _ended(said: Sequence[Diagnosed], begun: str, ended: str) -> tuple[list[Diagnosed], str]:
    """The lines between the first and the last of each check, and why some are missing; "" where none is."""
    first = sum(each.text == begun for each in said)
    last = sum(each.text.startswith(ended) for each in said)
    found = [each for each in said if each.text != begun and not each.text.startswith(ended)]
    return found, "" if first and last >= first else f"{last} of {first} checks came to their end"


def _pairs(said: Sequence[Diagnosed]) -> Found:
    found, missing = _ended(said, _BEGUN, _ENDED)
    wrong = [each.text for each in found if _WRONG.match(each.text)]
    if wrong:
        return Status.FAIL, show_some(wrong, 1)
    nothing = "no two GPUs reach each other without the network: no pair was checked"
    return _all_well(found, missing, nothing)


def _rates(said: Sequence[Diagnosed]) -> Found:
    if all(_NOT_RUN.match(each.text) for each in said):
        return Status.NOT_APPLICABLE, show_some([each.text for each in said], 1)
    measured = any(_RATES.match(each.text) for each in said)
    return _all_well(said, "" if measured else "no rate was measured", "")


def _machines(said: Sequence[Diagnosed]) -> Found:
    if said and all(_RAS_SKIPPED in each.text for each in said):
        return Status.NOT_APPLICABLE, show_some([each.text for each in said], 1)
    found, missing = _ended(said, _RAS_BEGUN, _RAS_ENDED)
    return _all_well(found, missing, "nothing was checked")


def _all_well(found: Sequence[Diagnosed], missing: str, nothing: str) -> Found:
    """PASS only where something was said, all of it is OK and nothing is missing."""
    other = [each.text for each in found if each.level != "OK"]
    if other or missing:
        return Status.INCONCLUSIVE, show_some(other, 1) if other else missing
    if not found:
        return Status.NOT_APPLICABLE, nothing
    return Status.PASS, show_some(list(dict.fromkeys(each.text for each in found)), 1)


def _verdict(subject: str, found: Found, wanted: str, said: Sequence[Diagnosed]) -> Verdict:
    status, text = found
    step = {
        Status.FAIL: "do what the line of NCCL DIAG says, then measure again",
        Status.INCONCLUSIVE: "read the lines of NCCL DIAG in logs/, then measure again",
    }
    return Verdict(
        "nccl.diagnostics",
        subject,
        status,
        text,
        wanted,
        f"NCCL's own diagnostics ({' or '.join(SETTINGS)})",
        step.get(status, ""),
        evidence=tuple(each.text for each in said[:64]),
    )
