"""The scripts and styles of pages, as texts: Vega from vl-convert's wheel, and our own of ``assets/``."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

from .text_cache import cached
from .theme import config

ASSETS = Path(__file__).with_name("assets")


def asset(name: str) -> str:
    """The text of a file of ``assets/``."""
    return (ASSETS / name).read_text(encoding="utf-8")


def page_script() -> str:
    """What the report page runs."""
    return asset("draw.js") + asset("page.js")


def docs_script() -> str:
    """``vegalite.js``: what a page of documentation runs, after Vega."""
    modes = {mode: config(mode) for mode in ("light", "dark")}
    text = json.dumps(modes, sort_keys=True, ensure_ascii=False)
    return asset("draw.js") + asset("vegalite.js").replace('"@CONFIG@"', text)


@lru_cache(maxsize=1)
def vega() -> str:
    """Vega, Vega-Lite and vega-embed as one script that sets ``vegaEmbed``: about 0.9 MB."""
    import vl_convert

    # bundling takes more than a second and gives the same text until the library changes
    built = sum(file.stat().st_size for file in Path(vl_convert.__file__).parent.glob("vl_convert.*"))
    text = cached(f"vega-{getattr(vl_convert, '__version__', '')}-{built}.js", _bundle)
    # in a function: names of the bundle (``_``) would collide with those of other scripts of a page;
    # the two replaced texts would end a script element, or change how it is parsed
    wrapped = f"(() => {{\n{text}\n}})();\n"
    return wrapped.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _bundle() -> str:
    import vl_convert

    text: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return text
