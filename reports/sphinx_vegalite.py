"""A Sphinx extension: the ```` ```vegalite ```` fences of MyST pages, and a ``vegalite`` directive.

    extensions = ["myst_parser", "reports.sphinx_vegalite"]

Specifications that a fence names are copied into the site with the CSV files that they read, so that both
stand to the page as in the source. Vega comes from a CDN; a site that must load nothing from elsewhere sets
``vegalite_library = True`` and gets it from vl-convert.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

from .scripts import docs_script, vega
from .vegalite_fence import ABSOLUTE, FenceError, element, from_root, read, relative

# address → hash, which the browser holds against what it gets; of the packages on npm
CDN = {
    "https://cdn.jsdelivr.net/npm/vega@6.2.0/build/vega.min.js": (
        "sha384-0Wc8+KeboSkAq/fK81pd4uFbWKu4ouB+y4KWCYxlC69hRWol7vnc6zZSruXOtc0F"
    ),
    "https://cdn.jsdelivr.net/npm/vega-lite@6.4.1/build/vega-lite.min.js": (
        "sha384-QtG7pnWvq1Tk0Rcvl53B1TEVw7U1PUqfciCz3XMUqSmi1fNpJwiv5ml+m5NeOOzH"
    ),
    "https://cdn.jsdelivr.net/npm/vega-embed@7.1.0/build/vega-embed.min.js": (
        "sha384-giTAWqsEDsWuWzWKi6NCvjgwi160SClnTYYXWPLuy/DnaQTqmk4soinrpxcCS4dx"
    ),
}


class Vegalite(SphinxDirective):
    """``{"schema-url": "FILE.vl.json"}`` or a whole specification, as ``reports.vegalite_fence`` reads it."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        try:
            found = read("\n".join(self.content), self.env.docname)
            html = element(found, self._address)
        except FenceError as error:
            raise self.error(str(error)) from None
        return [nodes.raw("", html, format="html")]

    def _address(self, url: str) -> str:
        """The file's address from the built page; the file keeps its place in the source."""
        if url.startswith(ABSOLUTE):
            return url
        path = from_root(url, self.env.docname, lambda path: (Path(self.env.srcdir) / path).is_file())
        if url != "./":
            self.env.note_dependency(path)
            _wanted(self.env).setdefault(self.env.docname, set()).add(path)
        return relative(path, self.env.app.builder.get_target_uri(self.env.docname))


def _wanted(env: Any) -> dict[str, set[str]]:
    """Document → specifications that it shows; kept with the environment, for documents that are not read again."""
    if not hasattr(env, "vegalite_specifications"):
        env.vegalite_specifications = {}
    found: dict[str, set[str]] = env.vegalite_specifications
    return found


def _purge(app: Any, env: Any, name: str) -> None:
    _wanted(env).pop(name, None)


def _merge(app: Any, env: Any, names: Any, other: Any) -> None:
    _wanted(env).update({name: found for name, found in _wanted(other).items() if name in names})


def _copy(app: Any, exception: Exception | None) -> None:
    if exception is not None or app.builder.format != "html":
        return
    for path in sorted({path for paths in _wanted(app.env).values() for path in paths}):
        spec = Path(app.srcdir) / path
        for source in (spec, *(spec.parent / url for url in data_of(json.loads(spec.read_text("utf-8"))))):
            if not source.is_file():
                raise ExtensionError(f"{path} reads {source.name}, and there is no such file beside it")
            target = Path(app.outdir) / source.resolve().relative_to(Path(app.srcdir).resolve())
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


def data_of(spec: Any) -> Iterator[str]:
    """The relative addresses of data in a specification."""
    if isinstance(spec, dict):
        data = spec.get("data")
        url = data.get("url") if isinstance(data, dict) else None
        if isinstance(url, str) and not url.startswith(ABSOLUTE):
            yield url
        spec = list(spec.values())
    if isinstance(spec, list):
        for each in spec:
            yield from data_of(each)


def _scripts(app: Any) -> None:
    """Vega and our own script, before any page is written."""
    if app.builder.format != "html":
        return
    folder = Path(app.outdir) / "_static"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vegalite.js").write_text(docs_script(), encoding="utf-8")
    if app.config.vegalite_library:
        (folder / "vega.js").write_text(vega(), encoding="utf-8")
        app.add_js_file("vega.js")
    else:
        for url, integrity in CDN.items():
            app.add_js_file(url, integrity=integrity, crossorigin="anonymous")
    app.add_js_file("vegalite.js")


def _fences(app: Any, config: Any) -> None:
    """MyST hands fences of these names to directives."""
    if hasattr(config, "myst_fence_as_directive"):
        config.myst_fence_as_directive = {*config.myst_fence_as_directive, "vegalite"}


def setup(app: Any) -> dict[str, Any]:
    """What Sphinx calls."""
    app.add_config_value("vegalite_library", False, "html")
    app.add_directive("vegalite", Vegalite)
    app.connect("config-inited", _fences, priority=100)
    app.connect("builder-inited", _scripts)
    app.connect("env-purge-doc", _purge)
    app.connect("env-merge-info", _merge)
    app.connect("build-finished", _copy)
    return {"parallel_read_safe": True, "parallel_write_safe": True, "env_version": 1}
