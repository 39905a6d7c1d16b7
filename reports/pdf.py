"""``report.pdf``: the first page for paper, with the digest of the evidence and room for two signatures.

Typst sets it without a browser, with the fonts of its own wheel: the same bytes on every machine. All text reaches
the template as JSON, so no name from a cluster is markup.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.judge.evidence import Evidence
from bench.judge.problems import Problem, problems_of
from bench.judge.scope import next_after_pass, simulated
from bench.judge.verdicts import spoken
from bench.model.printable import on_one_line
from bench.model.verdict import Status
from bench.store import Run, write_file
from bench.store.sums import evidence_digest
from bench.store.titles import titles_of

from . import sections
from .first_page import MOST, as_sentence, bars, floor_of, leading, sentence, tiles, uncovered
from .frames import frames
from .port_facts import port_facts
from .rail_map import rail_map
from .summary import PageInput, about, coverage, heading_of, headline, identity, kind_of, moment, read_target
from .tables import as_text
from .templating import FOLDER

NAME = "report.pdf"
MOST_INCONCLUSIVE = 12


def write_pdf(judged: Evidence, paper: str) -> Path:
    """Write report.pdf of a judged run on ``paper``, as Typst calls it. Raises RunError."""
    import typst  # 30 MB that nothing else needs

    run, shown = judged.run, PageInput(judged, frames(judged), {})
    data = json.dumps(_printable(document(shown, evidence_digest(run.path), paper)))
    source = (FOLDER / "report.typ").read_bytes()
    made = typst.compile(
        source,
        format="pdf",
        sys_inputs={"data": data},
        ignore_system_fonts=True,
        timestamp=int(run.manifest.started),
    )
    write_file(run.path, NAME, made)
    return run.path / NAME


def document(shown: PageInput, digest: str, paper: str) -> dict[str, Any]:
    """The values that the PDF's template prints."""
    run, titles = shown.run, titles_of(shown.run.path, shown.profile.report)
    status, counts = headline(run)
    found, target = problems_of(run), read_target(shown.judged)
    rails = rail_map(shown)
    return {
        "paper": paper,
        "title": heading_of(run, titles),
        "kind": kind_of(run),
        "simulated": simulated(run),
        "about": f"{about(shown, titles)} · {moment(run.manifest.started)}",
        "identity": _identity(run, digest),
        "status": status.shown,
        "headline": found.summary or counts,
        "counts": ". ".join(filter(None, (counts, found.tally))) if found.summary else "",
        "next": as_sentence(next_after_pass(run, run.path.name)) if status is Status.PASS else "",
        "sentence": "" if found.first else sentence(status, shown, target),
        "spoken": uncovered(shown) if status is Status.PASS else list(map(as_sentence, spoken(run))),
        "problems": [_problem(each, shown.judged) for each in leading(found)],
        "more": max(0, len(found.first) - MOST),
        "map": asdict(rails) if rails else None,
        "tiles": [(each.title, each.answer, each.status.shown, each.text) for each in tiles(shown, target)],
        "target": target.target.text if target and target.target else "",
        "floor": floor_of(shown),
        "bars": [
            (each.name, each.share, each.rate, each.percent, each.good, each.note)
            for each in bars(shown, target)
        ],
        "coverage": _cells(sections.coverage_table(coverage(shown.judged)).rows),
        "inconclusive": [
            (each.subject, each.measured, each.next_step) for each in found.inconclusive[:MOST_INCONCLUSIVE]
        ],
        "left": max(0, len(found.inconclusive) - MOST_INCONCLUSIVE),
    }


def _identity(run: Run, digest: str) -> list[tuple[str, str]]:
    return [
        *identity(run),
        ("Command", " ".join(run.manifest.command)),
        ("Evidence", f"SHA-256 {digest}"),
    ]


def _problem(found: Problem, judged: Evidence) -> dict[str, Any]:
    verdict = found.verdict
    source = f" ({verdict.source})" if verdict.source else ""
    return {
        "status": found.status.shown,
        "slight": found.slight,
        "sentence": found.sentence,
        "wanted": f"{verdict.wanted}{source}" if verdict.wanted else "",
        "check": verdict.check,
        "hardware": port_facts(judged, found),
        "also": [f"{each.subject}: {each.measured}" for each in found.related[:3]],
        "next": verdict.next_step,
        "follows": found.follows,
    }


def _cells(rows: Sequence[Sequence[Any]]) -> list[list[str]]:
    # the fonts of the wheel have no ✔ and ✘
    return [[as_text(cell).replace("✔ ", "").replace("✘ ", "") for cell in row] for row in rows]


def _printable(value: Any) -> Any:
    """The value without control characters, at any depth."""
    if isinstance(value, str):
        return on_one_line(value)
    if isinstance(value, dict):
        return {key: _printable(each) for key, each in value.items()}
    return [_printable(each) for each in value] if isinstance(value, list | tuple) else value
