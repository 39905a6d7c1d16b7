"""Is an import whole, and does it fit together?"""

from __future__ import annotations

from collections.abc import Iterator

from bench.judge.evidence import Evidence
from bench.judge.findings import Finding
from bench.judge.registry import check
from bench.judge.wire.group_shape import NO_LAYOUT
from bench.store import IMPORTED


def is_import(evidence: Evidence) -> bool:
    return evidence.manifest.launcher == IMPORTED


@check(
    "import.whole",
    subject="import",
    wanted="files that are whole and fit together",
    source="RailGauge",
    on_inconclusive="import the whole output again, and give what it lacks with --collective, --ranks or --nodes",
    only=is_import,
)
def whole(evidence: Evidence) -> Iterator[Finding]:
    """The imported runs did not fail, their files are complete and their figures fit together."""
    settings = evidence.manifest.settings
    for fault in settings.faults:
        yield Finding(
            "import",
            False,
            fault,
            wanted="a run that ends without an error",
            source="the imported tool",
            step="find the cause on the hosts or the link that the output names, then run the tool again",
        )
    problems = list(settings.problems)
    if settings.layout == NO_LAYOUT:
        problems.append("the files do not say which ranks share a node, so the share of the wire is unknown")
    yield from (Finding("import", None, problem) for problem in problems)
    if not problems:
        yield Finding("import", True, f"{', '.join(settings.files)} fit together")
