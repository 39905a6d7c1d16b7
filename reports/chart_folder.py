"""A folder of charts for documentation: specifications, their data, pictures, and pages that show them.

Every file has a stable name, so that a page updates in place. A chart that was drawn before and cannot be drawn now
says so: the old chart would show untested hardware as healthy. The same input gives the same bytes.

    <name>.vl.json  <name>.csv  <page>.md  index.md  vegalite.js     for documentation sites
    pictures/<name>.svg  .dark.svg  .png  README.md                  for places without Vega: GitHub, mail, wikis
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd

from bench.model.late_dataclass import dataclass
from bench.store import not_written, write_text

from .pictures import png, svgs
from .scripts import docs_script, vega
from .sources import by_url
from .templating import render
from .theme import specification, text_of

PICTURES = "pictures"


@dataclass(frozen=True)
class Drawn:
    """One chart: the name of its file, its heading, its alternative text, its specification.

    The specification has its data inline; None if there was nothing to draw.
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
        """How many of its charts were drawn."""
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

    A page with nothing on it is left out, unless an earlier call wrote it: then it says that nothing was measured.
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
    """Every chart that gets files: those drawn now, and those drawn by an earlier call but not now."""
    for chart in dict.fromkeys(chart.name for page in pages for chart in page.charts):
        drawn = next(each for page in pages for each in page.charts if each.name == chart)
        if drawn.spec is not None:
            yield drawn
        elif (out / f"{drawn.name}.vl.json").exists():
            yield empty(drawn)


def empty(chart: Drawn) -> Drawn:
    """A chart that says that nothing was measured."""
    text = f"{chart.title}: nothing was measured for this chart"
    picture = alt.Chart(pd.DataFrame({"text": [text]})).mark_text(fontSize=14)
    spec = specification(picture.encode(text="text:N").properties(width=800, height=60, name="nothing"))
    return Drawn(chart.name, chart.title, f"{text}.", {**spec, "description": f"{text}."})


def _texts(out: Path, title: str, pages: Sequence[Page], form: Form) -> Iterator[tuple[str, str]]:
    yield "index.md", render("docs_index.md", title=title, pages=pages)
    links: dict[str, list[tuple[str, str]]] = {}  # what a page links to: a word and a file
    for chart in _all(out, pages):
        assert chart.spec is not None
        spec, tables = (chart.spec, {}) if form.inline else by_url(chart.spec, chart.name, form.base)
        links[chart.name] = [(_word(file, chart.name), file) for file in (*tables, f"{chart.name}.vl.json")]
        yield f"{chart.name}.vl.json", text_of(spec)
        yield from tables.items()
        if form.pictures:
            picture, drawn = f"{PICTURES}/{chart.name}", svgs(chart.spec)
            links[chart.name].append(("picture", f"{picture}.svg"))
            yield f"{picture}.svg", drawn["light"]
            yield f"{picture}.dark.svg", drawn["dark"]
    for page in pages:
        yield f"{page.name}.md", render("docs_page.md", page=page, links=links)
    if form.pictures:
        yield f"{PICTURES}/README.md", render("docs_pictures.md", title=title, pages=pages)
    yield "vegalite.js", docs_script()
    if form.library:
        yield "vega.js", vega()


def _word(file: str, chart: str) -> str:
    """``data``, ``data: steps`` or ``specification``."""
    last = file.removeprefix(chart)
    part = last.removesuffix(".csv").strip(".")
    return {".vl.json": "specification", ".csv": "data"}.get(last, f"data: {part}")


def _replace(path: Path, content: bytes) -> None:
    """Readers see the old file or the new, never half of either; an unchanged one is left alone."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_symlink() and path.is_file() and path.read_bytes() == content:
            return
    except OSError as error:
        raise not_written(path, error) from None
    write_text(path, content)
