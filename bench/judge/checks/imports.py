"""Is an import whole, and does it fit together?"""

from __future__ import annotations

from collections.abc import Iterator

from bench.judge.evidence import Evidence
from bench.judge.registry import check
from bench.judge.wire.fabric_of import NO_LAYOUT
from bench.model.verdict import Status, Verdict
from bench.store import IMPORTED


@check("import.whole")
def whole(evidence: Evidence) -> Iterator[Verdict]:
    """The imported runs did not fail, their files are complete and their figures fit together."""
    manifest = evidence.manifest
    if manifest.launcher != IMPORTED:
        return
    for fault in manifest.settings.faults:
        yield Verdict(
            "import.whole",
            "import",
            Status.FAIL,
            fault,
            "a run that ends without an error",
            "the imported tool",
            "find the cause on the hosts or the link that the output names, then run the tool again",
        )
    problems = list(manifest.settings.problems)
    if manifest.settings.layout == NO_LAYOUT:
        problems.append("the files do not say which ranks share a node, so the share of the wire is unknown")
    for problem in problems:
        yield Verdict(
            "import.whole",
            "import",
            Status.INCONCLUSIVE,
            problem,
            "files that are whole and fit together",
            "RailGauge",
            "import the whole output again, and give what it lacks with --collective, --ranks or --nodes",
        )
    if not problems:
        files = ", ".join(manifest.settings.files)
        yield Verdict("import.whole", "import", Status.PASS, f"{files} fit together")
