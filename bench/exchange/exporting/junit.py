"""JUnit XML: a test case for every verdict, for the CI servers that read nothing else.

The format is what Jenkins' xUnit plugin (junit-10.xsd), GitLab and GitHub's actions agree on: one suite a check,
``classname`` and ``name`` that stay the same from run to run, so that a server can follow one case over time.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timezone
from xml.etree import ElementTree as xml

from bench.judge.problems import problems_of
from bench.judge.verdicts import status
from bench.model.verdict import Status, Verdict, counted
from bench.store import Run

# what XML 1.0 cannot hold, not even escaped
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_CHILD = {Status.FAIL: "failure", Status.INCONCLUSIVE: "error", Status.NOT_APPLICABLE: "skipped"}


def junit(run: Run) -> str:
    """The verdicts of a run as JUnit XML, ending in a newline.

    A run without verdicts is one case in error: an empty file would read as green.
    """
    verdicts = run.verdicts or (
        Verdict(
            "judge",
            run.manifest.id,
            Status.INCONCLUSIVE,
            "nothing was judged",
            next_step="railgauge judge RUN",
        ),
    )
    root = xml.Element("testsuites", {"name": "railgauge", **_counts(verdicts)})
    if run.ended is not None:
        root.set("time", f"{max(0.0, run.ended - run.manifest.started):.3f}")
    message = problems_of(run).message
    for number, check in enumerate(dict.fromkeys(verdict.check for verdict in verdicts)):
        mine = [verdict for verdict in verdicts if verdict.check == check]
        root.append(_suite(run, check, mine, number, message))
    xml.indent(root)
    return f"{_HEAD}{xml.tostring(root, encoding='unicode')}\n"


_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'


def _suite(
    run: Run, check: str, verdicts: Sequence[Verdict], number: int, message: Callable[[Verdict], str]
) -> xml.Element:
    began = datetime.fromtimestamp(run.manifest.started, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
    suite = xml.Element(
        "testsuite",
        {
            "name": _text(f"railgauge.{check}"),
            **_counts(verdicts),
            "skipped": str(sum(verdict.status is Status.NOT_APPLICABLE for verdict in verdicts)),
            "timestamp": began,
            "hostname": _text(run.manifest.nodes[0] if run.manifest.nodes else "unknown"),
            "id": str(number),
        },
    )
    properties = xml.SubElement(suite, "properties")
    for name, value in _properties(run):
        xml.SubElement(properties, "property", {"name": name, "value": _text(value)})
    seen: Counter[str] = Counter()
    for verdict in verdicts:
        seen[verdict.subject] += 1
        # servers take two cases of one name for one
        more = f" ({seen[verdict.subject]})" if seen[verdict.subject] > 1 else ""
        suite.append(_case(verdict, verdict.subject + more, message(verdict)))
    return suite


def _case(verdict: Verdict, name: str, message: str) -> xml.Element:
    case = xml.Element("testcase", {"classname": _text(f"railgauge.{verdict.check}"), "name": _text(name)})
    said = "\n".join((message, *verdict.evidence))
    if verdict.status in _CHILD:
        child = xml.SubElement(case, _CHILD[verdict.status], {"message": _text(message)})
        if verdict.status is not Status.NOT_APPLICABLE:
            child.set("type", _text(verdict.check))
        child.text = _text(said)
    else:
        xml.SubElement(case, "system-out").text = _text(said)
    return case


def _counts(verdicts: Iterable[Verdict]) -> dict[str, str]:
    count = Counter(verdict.status for verdict in verdicts)
    return {
        "tests": str(sum(count.values())),
        "failures": str(count[Status.FAIL]),
        "errors": str(count[Status.INCONCLUSIVE]),
    }


def _properties(run: Run) -> Iterable[tuple[str, str]]:
    manifest = run.manifest
    yield "run", manifest.id
    yield "profile", run.profile_name
    yield "backend", manifest.backend
    yield "nodes", str(len(manifest.nodes))
    yield "ranks", str(len(manifest.ranks))
    yield "verdict", f"{status(run).shown}: {counted(verdict.status for verdict in run.verdicts)}"
    yield from sorted(manifest.versions.items())


def _text(text: str) -> str:
    return _ILLEGAL.sub("\N{REPLACEMENT CHARACTER}", text)
