"""``report.html``: one file that can be sent to a vendor. It opens without a network and runs only its own script.

The policy (CSP) allows the two scripts and the one style sheet of this page by their hashes and nothing
else: no network, no inline handler, no ``eval`` (Vega interprets its expressions from their syntax trees).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from markupsafe import Markup

from bench.judge.evidence import Evidence
from bench.judge.scope import simulated
from bench.judge.watched import is_watch
from bench.model.late_dataclass import dataclass
from bench.model.units import show_count
from bench.store.titles import titles_of

from . import first_page, sections
from .exclusion import exclusion
from .frames import Frames
from .layers import layers
from .nightly import nightly_section
from .scripts import asset, page_script, vega
from .summary import PageInput, about, heading_of, headline, identity, kind_of
from .templating import render
from .theme import config


@dataclass(frozen=True)
class Section:
    """One row: its anchor, the word that leads to it (empty: none), the values of its template; None: not shown.

    template  its file in ``templates/``; by default called as the anchor
    """

    name: str
    link: str
    view: Callable[[PageInput], sections.View | None]
    template: str = ""

    def drawn(self, shown: PageInput) -> Markup | None:
        values = self.view(shown)
        return None if values is None else render(self.template or f"{self.name}.html", **values)


def _charts(name: str, link: str, title: str) -> Section:
    return Section(name, link, lambda shown: sections.charts(shown, title, name), "charts.html")


SECTIONS = (
    Section("verdict", "Verdict", first_page.verdict),
    Section("nightly", "Drift", nightly_section),
    _charts("soak", "Soak", "Soak"),
    _charts("watch", "Watch", "The watched job"),
    Section("attention", "Other findings", first_page.attention),
    Section("coverage", "Coverage", sections.coverage),
    Section("target", "Target", sections.target),
    _charts("collectives", "Collectives", "Collectives"),
    _charts("rails", "Rails", "Rails and pairs of nodes"),
    Section("layers", "Layers", layers),
    Section("exclusion", "Exclusion", exclusion),
    Section("rows", "All results", sections.rows),
    Section("traffic", "", sections.traffic),
    Section("passed", "", sections.passed),
    Section("environment", "Environment", sections.environment),
    Section("method", "Method", sections.method),
)


# of what RailGauge measured itself, which is nothing in a watch
OF_MEASURED = ("coverage", "target", "collectives", "rails", "layers", "exclusion", "rows")


def page(judged: Evidence, f: Frames, specs: Mapping[str, dict[str, Any]]) -> str:
    """The whole page. ``specs``: name of a chart → Vega-Lite specification, for those that were drawn."""
    style, library, script = asset("page.css"), vega(), page_script()
    run, m = judged.run, judged.manifest
    titles = titles_of(run.path, judged.profile.report)
    nodes = show_count(len(m.nodes), "node")
    sources = f"script-src {digest(library)} {digest(script)}; style-src {digest(style)}"
    shown = PageInput(judged, f, specs)
    sections = [row for row in SECTIONS if not (is_watch(judged) and row.name in OF_MEASURED)]
    return render(
        "page.html",
        policy=f"default-src 'none'; {sources}; img-src data:; base-uri 'none'; form-action 'none'",
        title=f"{headline(run)[0].shown}: {run.profile_name}, {nodes} – RailGauge",
        kind=kind_of(run),
        about=about(shown, titles),
        identity=identity(run),
        heading=heading_of(run, titles),
        sections=[(row, html) for row in sections if (html := row.drawn(shown)) is not None],
        charts={"specs": dict(specs), "config": config("light")},
        style=Markup(style), library=Markup(library), script=Markup(script),
        run=run, profile=judged.profile, simulated=simulated(run),
    )  # fmt: skip


def digest(text: str) -> str:
    """The CSP source of an inline script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
