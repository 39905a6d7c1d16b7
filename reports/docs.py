"""A folder of charts for documentation: specifications, their data, pictures, and pages that show them.

Every file has a stable name, so that a page updates in place; what was drawn before and cannot be drawn now says
so, for an old chart that stays would show what was not tested as healthy. The same input gives the same bytes.

    <name>.vl.json  <name>.csv  <page>.md  index.md  vegalite.js     for documentation sites
    pictures/<name>.svg  .dark.svg  .png  README.md                  for places without Vega: GitHub, mail, wikis
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd

from bench.model.printable import as_markdown as plain
from bench.store import not_written

from .pictures import png, svgs
from .scripts import docs_script, vega
from .sources import by_url
from .theme import NEUTRAL, specification, text_of

PICTURES = "pictures"


@dataclass(frozen=True)
class Drawn:
    """One chart: its file's name, its heading, a sentence or two for those who do not see it, its specification.

    The specification has its data inline. None: there was nothing to draw.
    """

    name: str
    title: str
    about: str
    spec: dict[str, Any] | None


@dataclass(frozen=True)
class Page:
    """A page of charts; ``intro`` are paragraphs of Markdown that stand before them."""

    name: str
    title: str
    intro: tuple[str, ...]
    charts: tuple[Drawn, ...]

    @property
    def drawn(self) -> int:
        """How many of its charts have something to see."""
        return sum(chart.spec is not None for chart in self.charts)


@dataclass(frozen=True)
class Form:
    """How the folder is to be used.

    inline   the data stand in the specifications, and there are no CSV files
    base     what goes before a CSV file's name; empty: the files lie beside the specification
    library  Vega is written too, for sites that load nothing from elsewhere
    pictures SVG in light and dark, and PNG, of every chart
    """

    inline: bool = False
    base: str = ""
    library: bool = False
    pictures: bool = True


def write(out: Path, title: str, pages: Sequence[Page], form: Form) -> list[Path]:
    """Write the folder; the paths. Each file is replaced as a whole. Raises RunError.

    A page with nothing on it is left out, unless a former call wrote it: then it says that nothing was measured.
    """
    pages = [page for page in pages if page.drawn or (out / f"{page.name}.md").exists()]
    files: dict[str, bytes] = {}
    for name, text in _texts(out, title, pages, form):
        files[name] = text.encode()
    for chart in _all(out, pages) if form.pictures else ():
        if chart.spec is not None:
            files[f"{PICTURES}/{chart.name}.png"] = png(chart.spec, "light")
    for name, content in files.items():
        _replace(out / name, content)
    return [out / name for name in files]


def _all(out: Path, pages: Sequence[Page]) -> Iterator[Drawn]:
    """Every chart that gets files: those drawn, and those that a former call drew and this one could not."""
    for chart in dict.fromkeys(chart.name for page in pages for chart in page.charts):
        drawn = next(each for page in pages for each in page.charts if each.name == chart)
        if drawn.spec is not None:
            yield drawn
        elif (out / f"{drawn.name}.vl.json").exists():
            yield empty(drawn)


def empty(chart: Drawn) -> Drawn:
    """A chart that says that there is nothing to see."""
    text = f"{chart.title}: nothing was measured that it could show"
    picture = alt.Chart(pd.DataFrame({"text": [text]})).mark_text(fontSize=14, color=NEUTRAL)
    spec = specification(picture.encode(text="text:N").properties(width=800, height=60, name="nothing"))
    return Drawn(chart.name, chart.title, f"{text}.", {**spec, "description": f"{text}."})


def _texts(out: Path, title: str, pages: Sequence[Page], form: Form) -> Iterator[tuple[str, str]]:
    yield "index.md", _index(title, pages)
    files: dict[str, list[str]] = {}  # what a page links to
    for chart in _all(out, pages):
        assert chart.spec is not None
        spec, tables = (chart.spec, {}) if form.inline else by_url(chart.spec, chart.name, form.base)
        files[chart.name] = [*tables, f"{chart.name}.vl.json"]
        yield f"{chart.name}.vl.json", text_of(spec)
        yield from tables.items()
        if form.pictures:
            files[chart.name].append(f"{PICTURES}/{chart.name}.svg")
            drawn = svgs(chart.spec)
            yield f"{PICTURES}/{chart.name}.svg", drawn["light"]
            yield f"{PICTURES}/{chart.name}.dark.svg", drawn["dark"]
    for page in pages:
        yield f"{page.name}.md", _page(page, files)
    if form.pictures:
        yield f"{PICTURES}/README.md", _pictures(title, pages)
    yield "vegalite.js", docs_script()
    if form.library:
        yield "vega.js", vega()


def _index(title: str, pages: Sequence[Page]) -> str:
    lines = [f"# {plain(title)}", ""]
    for page in pages:
        lines += [f"## [{plain(page.title)}]({page.name}.md)", "", *_paragraphs(page)]
        lines += [f"* {plain(chart.title)}: {plain(chart.about)}" for chart in page.charts]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _page(page: Page, files: Mapping[str, Sequence[str]]) -> str:
    lines = [f"# {plain(page.title)}", "", *_paragraphs(page)]
    for chart in page.charts:
        lines += [f"## {plain(chart.title)}", ""]
        if chart.spec is not None:
            fence = f'{{"schema-url": "{chart.name}.vl.json"}}'
            lines += ["```vegalite", fence, "```", "", plain(chart.about), ""]
            links = (f"[{_called(file, chart.name)}]({file})" for file in files[chart.name])
            lines += [", ".join(links), ""]
        else:
            lines += [plain(chart.about), ""]
    return "\n".join(lines).rstrip() + "\n"


def _called(file: str, chart: str) -> str:
    """``data``, ``data: steps``, ``specification`` or ``picture``."""
    last = file.rpartition("/")[2].removeprefix(chart)
    part = last.removesuffix(".csv").strip(".")
    return {".vl.json": "specification", ".svg": "picture", ".csv": "data"}.get(last, f"data: {part}")


def _pictures(title: str, pages: Sequence[Page]) -> str:
    """What GitHub shows of the folder: pictures that follow its light and dark mode."""
    lines = [f"# {plain(title)}: pictures", ""]
    for page in pages:
        lines += [f"## {plain(page.title)}", "", *_paragraphs(page)]
        for chart in page.charts:
            lines += [f"### {plain(chart.title)}", ""]
            if chart.spec is None:
                lines += [plain(chart.about), ""]
                continue
            text = escape(" ".join(chart.about.split()), quote=True)
            dark = f'<source media="(prefers-color-scheme: dark)" srcset="{chart.name}.dark.svg">'
            lines += [f'<picture>{dark}<img alt="{text}" src="{chart.name}.svg"></picture>', ""]
    return "\n".join(lines).rstrip() + "\n"


def _paragraphs(page: Page) -> Iterator[str]:
    for text in page.intro:
        yield text
        yield ""


def _replace(path: Path, content: bytes) -> None:
    """Readers see the old file or the new, never half of either; an unchanged one is left alone."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file() and path.read_bytes() == content:
            return
        partial.write_bytes(content)
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise not_written(path, error) from None
