"""``report.html``: one file that a vendor can be sent. It opens without a network and runs only its own script.

The policy (CSP) allows the two scripts and the one style sheet of this page by their hashes and nothing
else: no network, no inline handler, no ``eval`` (Vega interprets its expressions from their syntax trees).
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import vl_convert

from bench.model import Status
from bench.profile import Profile
from bench.readings import TargetReading, TargetReadings
from bench.store import Run

from . import details
from .charts import CHARTS
from .frames import Frames
from .markup import Html, tag
from .pieces import badge, fold, section, verdict_table
from .summary import (
    METHOD,
    WORDS,
    coverage,
    duration,
    headline,
    moment,
    ordered,
    read_target,
    unmeasured,
)
from .tables import Cell, rate_cell, table
from .theme import config

ASSETS = Path(__file__).with_name("assets")
OPEN_VERDICTS = 25  # so many stand open; the others of that status are one click away


def page(run: Run, profile: Profile, f: Frames, specs: Mapping[str, dict[str, Any]]) -> str:
    """The whole page. ``specs``: name of CHARTS → Vega-Lite specification, for those that were drawn."""
    style, library, script = asset("page.css"), vega(), asset("page.js")
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src {digest(library)} {digest(script)}",
            f"style-src {digest(style)}",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    status, _ = headline(run)
    title = f"{WORDS[status]}: {run.manifest.profile_name}, {len(run.manifest.nodes)} nodes – RailGauge"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", title),
        tag("link", rel="icon", href="data:,"),
        tag("style", Html(style)),
    )
    sections = [
        *_verdict(run),
        _attention(run),
        _coverage(run),
        _target(read_target(run, f, profile)),
        _charts("Collectives", "collectives", f, specs),
        _charts("Rails and pairs of nodes", "rails", f, specs),
        details.rows_section(run, f, profile),
        details.traffic_section(run, profile),
        details.passed_section(run),
        details.environment_section(run),
        details.method_section(run, profile, METHOD),
    ]
    body = tag(
        "body",
        tag("a", "Skip to the verdict", href="#verdict", class_="jump"),
        _header(run, profile),
        tag("main", sections),
        tag(
            "footer",
            f"Made by RailGauge from the run folder {run.manifest.id}. The evidence is in the folder beside this page.",
        ),
        tag(
            "script",
            embedded({"specs": dict(specs), "config": config("light")}),
            type="application/json",
            id="charts",
        ),
        tag("script", Html(library)),
        tag("script", Html(script)),
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def embedded(data: Any) -> Html:
    """JSON for a script element: nothing in it can end the element or open a comment."""
    text = json.dumps(data, sort_keys=True, allow_nan=False, ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Html(text)


def digest(text: str) -> str:
    """The CSP source of an inline script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def asset(name: str) -> str:
    """The text of a file of ``assets/``."""
    return (ASSETS / name).read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def vega() -> str:
    """Vega, Vega-Lite and vega-embed as one script, from the wheel of vl-convert: about 0.9 MB."""
    text: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    # inside a script element these would end or change the parsing of it
    return text.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _header(run: Run, profile: Profile) -> Html:
    links = (
        ("verdict", "Verdict"),
        ("coverage", "Coverage"),
        ("collectives", "Collectives"),
        ("rows", "All rows"),
        ("environment", "Environment"),
        ("method", "Method"),
    )
    nodes, ranks = len(run.manifest.nodes), len(run.manifest.ranks)
    return tag(
        "header",
        tag("p", "RailGauge", class_="brand"),
        tag("h1", profile.title),
        tag(
            "p",
            f"{ranks} ranks on {nodes} {'node' if nodes == 1 else 'nodes'} · {run.manifest.backend} · "
            f"{moment(run.manifest.started)} · {duration(run)} · run {run.manifest.id}",
            class_="soft",
        ),
        tag("nav", [tag("a", text, href=f"#{name}") for name, text in links], aria_label="Sections"),
    )


def _verdict(run: Run) -> Iterable[Html]:
    status, words = headline(run)
    yield tag(
        "section",
        tag("h2", "Verdict", class_="hidden"),
        tag("p", badge(status), tag("strong", f" {words}"), class_="verdict-line"),
        id="verdict",
        class_=f"verdict {status.value}",
    )


def _attention(run: Run) -> Html | None:
    """What failed or could not be told: on what, by how much, by whom, what to do next."""
    bad = ordered(run.verdicts, Status.FAIL, Status.ERROR)
    if not bad:
        return None
    shown, rest = bad[:OPEN_VERDICTS], bad[OPEN_VERDICTS:]
    more = fold(f"{len(rest)} more", verdict_table(rest)) if rest else None
    return section("attention", "What failed or could not be told", verdict_table(shown), more)


def _coverage(run: Run) -> Html:
    rows = [
        (
            row.what,
            f"{row.measured} of {row.planned}",
            Cell(
                "✔ all"
                if row.measured == row.planned and row.planned
                else f"✘ {row.planned - row.measured} not measured"
                if row.planned
                else "? nothing planned"
            ),
            row.missing,
        )
        for row in coverage(run)
    ]
    gone = unmeasured(run)
    names = [(row.became, Cell(tag("code", row.what), row.what), row.why) for row in gone]
    counts = {
        word: sum(row.became == word for row in gone)
        for word in ("refused", "lost", "not reached", "skipped")
    }
    text = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    notes = (
        [tag("p", "Notes of the run:"), tag("ul", [tag("li", note) for note in run.notes])]
        if run.notes
        else None
    )
    return section(
        "coverage",
        "Coverage",
        tag("p", "What was not measured is not known to be healthy.", class_="soft"),
        table(("what", "measured", "result", "missing"), rows, "Coverage"),
        fold(
            f"Not measured: {text}",
            table(("became", "what", "why"), names, "Not measured"),
            opened=bool(counts["lost"] or counts["refused"]),
        )
        if gone
        else None,
        notes,
    )


def _target(found: TargetReadings | None) -> Html | None:
    """Independent readings of what the rails of a node carried, side by side, and what they say together."""
    if found is None:
        return None
    rows = [(row.name, *rate_cell(row.rate, row.share), _from(row)) for row in found.readings]
    title = f"Readings of the {found.target.text} target" if found.target else "Readings of the target"
    about = "Bytes that crossed the rails of one node, each way, taken in independent ways that must agree."
    source = f" Target: {found.target.text} ({found.target.source})." if found.target else ""
    return section(
        "target",
        title,
        tag("p", badge(found.status), f" {found.text}"),
        tag("p", about + source, class_="soft"),
        table(("reading", "Gb/s", "GB/s", "share of target", "from"), rows, "Readings of the target"),
        tag("p", f"next: {found.next_step}") if found.next_step else None,
    )


def _from(row: TargetReading) -> Cell:
    evidence = tag("ul", [tag("li", text) for text in row.evidence])
    return Cell(
        [row.text, fold(f"evidence ({len(row.evidence)})", evidence) if row.evidence else None], row.text
    )


def _charts(title: str, name: str, f: Frames, specs: Mapping[str, dict[str, Any]]) -> Html | None:
    figures = []
    for chart in CHARTS:
        if chart.section == name and chart.name in specs:
            about = chart.about(f)
            figures.append(
                tag(
                    "figure",
                    tag(
                        "div",
                        tag("p", "The chart needs JavaScript; its figures are in the tables.", class_="soft"),
                        class_="chart",
                        id=f"chart-{chart.name}",
                        data_chart=chart.name,
                        role="img",
                        aria_label=about,
                    ),
                    tag("figcaption", fold("In words", tag("p", about))),
                )
            )
    return section(name, title, figures) if figures else None
