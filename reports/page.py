"""``report.html``: one file that a vendor can be sent. It opens without a network and runs only its own script.

The policy (CSP) allows the two scripts and the one style sheet of this page by their hashes and nothing
else: no network, no inline handler, no ``eval`` (Vega interprets its expressions from their syntax trees).
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.model.profile import Profile
from bench.model.units import show_count
from bench.store import Run

from . import details, opening
from .exclusion import exclusion
from .frames import Frames
from .layers import layers
from .markup import Html, tag
from .nightly import nightly_section
from .pieces import Shown
from .scripts import asset, page_script, vega
from .summary import WORDS, duration, headline, moment
from .theme import config


@dataclass(frozen=True)
class Section:
    """One row: its anchor, the word that leads to it (empty: none), its drawing; None has nothing to show."""

    name: str
    link: str
    draw: Callable[[Shown], Html | None]


SECTIONS = (
    Section("verdict", "Verdict", opening.verdict),
    Section("attention", "Failures", opening.attention),
    Section("coverage", "Coverage", opening.coverage),
    Section("nightly", "Drift", nightly_section),
    Section("target", "Target", opening.target),
    Section("collectives", "Collectives", lambda shown: opening.charts(shown, "Collectives", "collectives")),
    Section("rails", "Rails", lambda shown: opening.charts(shown, "Rails and pairs of nodes", "rails")),
    Section("layers", "Layers", layers),
    Section("soak", "Soak", lambda shown: opening.charts(shown, "Soak", "soak")),
    Section("exclusion", "Exclusion", exclusion),
    Section("rows", "All rows", details.rows_section),
    Section("traffic", "", details.traffic_section),
    Section("passed", "", details.passed_section),
    Section("environment", "Environment", details.environment_section),
    Section("method", "Method", details.method_section),
)


def page(run: Run, profile: Profile, f: Frames, specs: Mapping[str, dict[str, Any]]) -> str:
    """The whole page. ``specs``: name of CHARTS → Vega-Lite specification, for those that were drawn."""
    style, library, script = asset("page.css"), vega(), page_script()
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
    title = f"{WORDS[status]}: {run.profile_name}, {show_count(len(run.manifest.nodes), 'node')} – RailGauge"
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
    shown = Shown(run, profile, f, specs)
    drawn = [(row, html) for row in SECTIONS if (html := row.draw(shown)) is not None]
    links = [(row.name, row.link) for row, _ in drawn if row.link]
    made = f"Made by RailGauge from the run folder {run.manifest.id}. The evidence is in the folder beside this page."
    data = embedded({"specs": dict(specs), "config": config("light")})
    # joined once: each tag around all of it would be another copy of a page of many MB
    return "".join(
        (
            '<!doctype html>\n<html lang="en">',
            head,
            "<body>",
            tag("a", "Skip to the verdict", href="#verdict", class_="jump"),
            _header(run, profile, links),
            "<main>",
            *(html for _, html in drawn),
            "</main>",
            tag("footer", made),
            tag("script", data, type="application/json", id="charts"),
            tag("script", Html(library)),
            tag("script", Html(script)),
            "</body></html>\n",
        )
    )


def embedded(data: Any) -> Html:
    """JSON for a script element: nothing in it can end the element or open a comment."""
    text = json.dumps(data, sort_keys=True, allow_nan=False, ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Html(text)


def digest(text: str) -> str:
    """The CSP source of an inline script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _header(run: Run, profile: Profile, links: Sequence[tuple[str, str]]) -> Html:
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
