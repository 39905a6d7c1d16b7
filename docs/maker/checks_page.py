"""The page of checks, from the table of checks itself: what each looks at, and what to do."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from itertools import groupby

from bench.judge.checks import CHECKS
from bench.judge.registry import Check

from .markdown import text

# by the first part of a check's name: heading, and why it matters
GROUPS = {
    "host": (
        "Hosts",
        "One machine with another setting slows or stops every collective of the job, because all "
        "ranks wait for the slowest.",
    ),
    "gpus": (
        "GPUs",
        "A GPU that is missing, slowed or shared holds back each collective that it takes part in; "
        "one with uncorrected errors may return wrong data.",
    ),
    "rails": (
        "Rails",
        "Eight rails of 400 Gb/s make the 3200 Gb/s of a node. NCCL goes on without a word when one "
        "of them is down or slow, and the whole job runs at its pace.",
    ),
    "pcie": (
        "PCI Express",
        "A card that trained at half of its width caps its rail, whatever the link to the switch says.",
    ),
    "exclusion": (
        "Excluded adapters",
        "An adapter that is not meant for GPU traffic, often `mlx5_0`, is slower, shared with storage "
        "or not on the fabric. NCCL takes it unless it is told not to, and then tells nobody.",
    ),
    "nccl": (
        "What NCCL says",
        "NCCL falls back to sockets or to copies through the host instead of failing. Only its own "
        "log shows it.",
    ),
    "kernel": (
        "The kernel's log",
        "Xid errors of a GPU and faults of PCI Express stand in the kernel's log first, often for days before a part "
        "is lost.",
    ),
    "versions": (
        "Versions",
        "Nodes that differ in firmware, driver or NCCL behave differently, and such a difference "
        "explains many a slow or hanging job.",
    ),
    "environment": (
        "Environment",
        "A forgotten variable or conf file can switch off a transport on one node alone.",
    ),
    "fabric": (
        "Fabric",
        "The switches see bad cables and wrong wiring that no node can see by itself.",
    ),
    "growth": (
        "Counters while measuring",
        "Totals since boot say little. What grows while the job runs is about this job.",
    ),
    "coverage": (
        "Coverage",
        "What was not measured must not look healthy: a missing case is never a PASS.",
    ),
    "correctness": (
        "Correctness",
        "A fast collective that returns wrong numbers ruins a training run without a trace.",
    ),
    "clock": (
        "Clocks",
        "A time that no clock can have measured would become a bandwidth that nobody has.",
    ),
    "import": (
        "Imports",
        "Files of other tools are judged only as far as they are whole and fit together.",
    ),
    "limits": (
        "Limits",
        "Each bound has a source. Averages over sizes gate nothing, because one slow size hides in them.",
    ),
    "wire": (
        "Share of the wire",
        "`busbw` is not what the rails carry: on two nodes a rail can fail behind a good busbw.",
    ),
    "blame": (
        "Blame",
        "A cluster is mended part by part. These checks name the node, GPU, rail, port or path.",
    ),
    "drift": (
        "Drift",
        "A loss of 3 % overnight is invisible to fixed limits and visible against earlier nights.",
    ),
    "nvlink": (
        "NVLink",
        "A slow GPU inside a node looks like a slow network from outside.",
    ),
    "watch": (
        "Watch",
        "A job that is slower than it should be is seldom stopped for a test: its rails can be watched meanwhile.",
    ),
    "soak": (
        "Soak",
        "Some faults show only after minutes of heat and load.",
    ),
}


def checks_page() -> str:
    """Every check, by the first part of its name."""
    lines = [
        "# The checks",
        f"RailGauge has {len(CHECKS)} checks. Each reads the run folder and the profile and yields verdicts; none can "
        "read anything else, so that any run can be judged again anywhere. A check that needs data which are not "
        "there is INCONCLUSIVE. This page is made from the checks' own words.",
        "Checks marked *before anything is measured* need no measurement: they run before the first byte of traffic "
        "too, and `railgauge accept` stops there when one of them fails.",
    ]
    for group, found in groupby(
        sorted(CHECKS.values(), key=_place), lambda each: each.name.partition(".")[0]
    ):
        title, why = GROUPS[group]
        lines += [f"## {title}", f"**Why it matters.** {why}"]
        for each in found:
            lines += _one(each)
    return "\n\n".join(lines) + "\n"


def _place(check: Check) -> tuple[int, int]:
    return list(GROUPS).index(check.name.partition(".")[0]), list(CHECKS).index(check.name)


def _one(check: Check) -> Iterator[str]:
    yield f"### `{check.name}`"
    yield text(check.about) + (" *Before anything is measured.*" if check.facts_only else "")
    said = []
    for name, words in (("on_fail", "If it fails"), ("on_inconclusive", "If it is inconclusive")):
        step = check.words.get(name, "")
        if isinstance(step, str) and step:
            said.append(f"- **{words}:** {text(step)}")
    steps = _steps(check)
    if not said and not steps:
        said.append(
            "- **What to do:** the verdict names the part and the next step, or it is for information alone."
        )
    said += [f"- **What to do, as the case may be:** {text(step)}" for step in steps]
    yield "\n".join(said)


def _steps(check: Check) -> list[str]:
    """The next steps that the function itself writes into its findings; … stands for what it fills in."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(check.find)))
    words = [word for node in ast.walk(tree) if isinstance(node, ast.Call) for word in node.keywords]
    found = [_literal(word.value) for word in words if word.arg == "step"]
    return list(dict.fromkeys(step for step in found if any(letter.isalpha() for letter in step)))


def _literal(node: ast.expr) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
    return ""
