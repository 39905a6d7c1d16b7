"""Is an import whole, and does it fit together?"""

from __future__ import annotations

from collections.abc import Iterator

from bench.judge.evidence import Evidence
from bench.judge.registry import check
from bench.judge.wire.fabric_of import NO_LAYOUT
from bench.model.profile import Profile
from bench.model.verdict import Status, Verdict
from bench.store import IMPORTED


@check("import.whole")
def whole(seen: Evidence, want: Profile) -> Iterator[Verdict]:
    """The imported files are complete and their figures fit together."""
    manifest = seen.run.manifest
    if manifest.launcher != IMPORTED:
        return
    problems = [str(problem) for problem in manifest.settings.get("problems", [])]
    if manifest.settings.get("layout") == NO_LAYOUT:
        problems.append("the files do not tell which ranks share a node, so nothing is said of the wire")
    for problem in problems:
        yield Verdict(
            "import.whole",
            "import",
            Status.ERROR,
            problem,
            "files that are whole and fit together",
            "RailGauge",
            "import the whole output again, and say with --collective, --ranks or --nodes what it lacks",
        )
    if not problems:
        files = ", ".join(str(name) for name in manifest.settings.get("files", []))
        yield Verdict("import.whole", "import", Status.PASS, f"{files} fit together")
