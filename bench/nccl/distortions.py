"""Variables that disable or distort what is measured: one row each, with the reason.

Sources: NVIDIA/nccl docs/userguide/source/env.rst; ``ncclLoadParam`` (src/misc/param.cc) for how a number
is read; the torch.distributed documentation for TORCH_*.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping

from bench.model.late_dataclass import dataclass
from bench.nccl.c_strings import strtoll

FAIL = "fail"
WARN = "warn"


def integer(text: str) -> int | None:
    """A parameter as NCCL reads it: ``yes`` is 0; None where it keeps its default."""
    return strtoll(text) if text else None


Predicate = Callable[[str], bool]


def on(value: str) -> bool:
    return bool(integer(value))


def off(value: str) -> bool:
    return integer(value) == 0


def present(value: str) -> bool:
    return value != ""


def one_of(*words: str) -> Predicate:
    return lambda value: value.strip().upper() in words


def _flag(value: str) -> bool:
    """A switch of torch or CUDA, which take 1, true, yes, on."""
    return value.strip().lower() in ("1", "y", "yes", "t", "true", "on")


def _observes_calls(value: str) -> bool:
    return any(word in re.split(r"[,^]", value.upper()) for word in ("COLL", "P2P", "ALL", "CALL", "PROXY"))


@dataclass(frozen=True)
class Rule:
    """``applies`` sees the variable's text. Severity "fail" is disabled hardware or spoilt timing."""

    name: str
    applies: Predicate
    severity: str
    reason: str


@dataclass(frozen=True)
class Distortion:
    name: str
    value: str
    severity: str
    reason: str


_DISABLES = "disables the hardware under test"
_PINS = "pins what NCCL would choose"
_SLOWS = "instrumentation distorts the timing; take the log in a short run of its own"
_FAKES = "makes ranks look like other hosts than they are, so what is measured is not the fabric"
_HIDES = "hides the machine's real topology"

RULES: tuple[Rule, ...] = (
    Rule("NCCL_IB_DISABLE", on, FAIL, f"{_DISABLES}: no InfiniBand, traffic goes by sockets"),
    Rule("NCCL_NET", one_of("SOCKET"), FAIL, f"{_DISABLES}: traffic goes by sockets"),
    Rule("NCCL_NET_DISABLE_INTRA", on, WARN, _PINS),
    Rule("NCCL_P2P_DISABLE", on, FAIL, f"{_DISABLES}: no NVLink or PCIe between GPUs"),
    Rule("NCCL_P2P_LEVEL", one_of("LOC", "0"), FAIL, f"{_DISABLES}: no NVLink or PCIe between GPUs"),
    Rule("NCCL_P2P_LEVEL", lambda value: not one_of("LOC", "0", "")(value), WARN, _PINS),
    Rule("NCCL_SHM_DISABLE", on, FAIL, f"{_DISABLES}: no shared memory inside a node"),
    Rule("NCCL_NET_GDR_LEVEL", one_of("LOC", "0"), FAIL, f"{_DISABLES}: no GPUDirect RDMA"),
    Rule("NCCL_NET_GDR_LEVEL", lambda value: not one_of("LOC", "0", "")(value), WARN, _PINS),
    Rule("NCCL_NET_GDR_READ", off, WARN, "sends without GPUDirect RDMA"),
    Rule("NCCL_DMABUF_ENABLE", off, WARN, "without nvidia_peermem there is no GPUDirect RDMA left"),
    Rule("NCCL_NVLS_ENABLE", off, FAIL, f"{_DISABLES}: no NVLink SHARP"),
    Rule("NCCL_PXN_DISABLE", on, FAIL, f"{_DISABLES}: no way over NVLink to another GPU's rail"),
    Rule("NCCL_CUMEM_ENABLE", off, WARN, "without cuMem there is no NVLS and no multi-node NVLink"),
    Rule("NCCL_MNNVL_ENABLE", off, WARN, f"{_DISABLES} where nodes share an NVLink domain"),
    Rule("NCCL_ALGO", present, WARN, _PINS),
    Rule("NCCL_PROTO", present, WARN, _PINS),
    Rule("NCCL_MIN_NCHANNELS", present, WARN, _PINS),
    Rule("NCCL_MAX_NCHANNELS", present, WARN, _PINS),
    Rule("NCCL_MIN_CTAS", present, WARN, _PINS),
    Rule("NCCL_MAX_CTAS", present, WARN, _PINS),
    Rule("NCCL_BUFFSIZE", present, WARN, _PINS),
    Rule("NCCL_NTHREADS", present, WARN, _PINS),
    Rule("NCCL_LAUNCH_MODE", present, WARN, _PINS),
    Rule("NCCL_CROSS_NIC", present, WARN, _PINS),
    Rule("NCCL_IB_RAIL_POLICY", present, WARN, _PINS),
    Rule(
        "NCCL_IB_GID_INDEX", present, WARN, "from 2.21 NCCL chooses the GID itself; a fixed one may be wrong"
    ),
    Rule("NCCL_TOPO_FILE", present, WARN, _HIDES),
    Rule("NCCL_GRAPH_FILE", present, WARN, _HIDES),
    Rule("NCCL_IGNORE_NET_MISMATCH", on, WARN, "lets ranks with different counts of rails start"),
    Rule("NCCL_HOSTID", present, FAIL, _FAKES),
    Rule(
        "NCCL_MULTI_RANK_GPU_ENABLE",
        on,
        FAIL,
        "several ranks share a GPU, so what is measured is not its speed",
    ),
    Rule("NCCL_DEBUG", one_of("TRACE"), FAIL, _SLOWS),
    Rule("NCCL_DEBUG_SUBSYS", _observes_calls, FAIL, _SLOWS),
    Rule("NCCL_CHECK_POINTERS", on, FAIL, _SLOWS),
    Rule("NCCL_CHECK_MODE", present, FAIL, _SLOWS),
    Rule("TORCH_DISTRIBUTED_DEBUG", one_of("INFO", "DETAIL"), FAIL, _SLOWS),
    Rule("TORCH_NCCL_NAN_CHECK", _flag, FAIL, _SLOWS),
    Rule("TORCH_NCCL_BLOCKING_WAIT", _flag, FAIL, _SLOWS),
    Rule("NCCL_BLOCKING_WAIT", _flag, FAIL, _SLOWS),
    Rule("CUDA_LAUNCH_BLOCKING", _flag, FAIL, _SLOWS),
)

# what NCCL does by these is judged by other checks, is no part of a measurement, or is set by container images
KNOWN = {
    *(rule.name for rule in RULES), "NCCL_IB_HCA", "NCCL_SOCKET_IFNAME", "NCCL_OOB_NET_IFNAME", "NCCL_SOCKET_FAMILY",
    "NCCL_DEBUG_FILE", "NCCL_CONF_FILE", "NCCL_COMM_ID", "NCCL_VERSION", "NCCL_ASYNC_ERROR_HANDLING",
}  # fmt: skip
NO_RULE = "may change what is measured; RailGauge has no rule for it"


def distortions(
    variables: Mapping[str, str], planned: Collection[str] = (), rules: Collection[Rule] = RULES
) -> Iterator[Distortion]:
    """The rows that apply. ``planned`` are names the plan itself sets: what was meant is no distortion."""
    for rule in rules:
        value = variables.get(rule.name)
        if value is not None and rule.name not in planned and rule.applies(value):
            yield Distortion(rule.name, value, rule.severity, rule.reason)


def without_rule(
    variables: Mapping[str, str], planned: Collection[str] = (), nccl: bool = True
) -> Iterator[Distortion]:
    """The variables that no row speaks of: what they do to a measurement is not known, only that they are set."""
    for name, value in variables.items():
        unknown = nccl and name.startswith("NCCL_") and name not in KNOWN and name not in planned
        if unknown or name == "LD_PRELOAD":
            yield Distortion(name, value, WARN, NO_RULE)
