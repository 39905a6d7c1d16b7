"""```` ```vegalite ```` fences for MkDocs, Zensical and whatever else renders by pymdownx.superfences.

    markdown_extensions:
      - pymdownx.superfences:
          custom_fences:
            - name: vegalite
              class: vegalite
              format: !!python/name:reports.vegalite_fence.vegalite

A fence holds ``{"schema-url": "charts/rail-matrix.vl.json"}`` or a whole specification. Addresses are written as
in any Markdown link: from the page's own file; one that begins with ``/``, or that is found only there, is from
the root of the documentation. ``vegalite.js`` of ``railgauge charts`` draws the charts. It needs only the
standard library, so that a copy of this file works as well.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

ABSOLUTE = ("http://", "https://", "//")


class FenceError(ValueError):
    """A fence with an invalid or missing chart; the message is one line."""


def vegalite(
    source: str, language: str, class_name: str, options: dict[str, Any], md: Any, **more: Any
) -> str:
    """A formatter of pymdownx.superfences: the element that ``vegalite.js`` draws into.

    An invalid fence stops the build: superfences silently turns other exceptions into a block of code.
    """
    page = _Page(md)
    try:
        return element(read(source, page.name), page.address, class_name or "vegalite")
    except FenceError as error:
        from pymdownx.superfences import SuperFencesException

        raise SuperFencesException(str(error)) from None


def read(source: str, where: str) -> dict[str, Any]:
    """The JSON object in a fence. Raises FenceError with the name of the page."""
    try:
        found = json.loads(source)
    except ValueError as error:
        raise FenceError(
            f"{where or 'a page'}: a vegalite fence holds no JSON ({error}); "
            'write {"schema-url": "FILE.vl.json"} or a specification'
        ) from None
    if not isinstance(found, dict) or not found:
        raise FenceError(f"{where or 'a page'}: a vegalite fence holds no object; write a specification")
    return found


def element(found: dict[str, Any], address: Any, class_name: str = "vegalite") -> str:
    """The HTML of a fence. ``address``: from an address in the source to one that the browser can follow."""
    url = found.get("schema-url")
    if isinstance(url, str):
        target = escape(address(url), quote=True)
        without = "<p>The chart needs JavaScript.</p>"  # no link: Zensical would make it relative once more
        return f'<div class="{escape(class_name, quote=True)}" data-spec="{target}">{without}</div>'
    text = json.dumps(found, sort_keys=True, ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    base = escape(address("./"), quote=True)
    return (
        f'<div class="{escape(class_name, quote=True)}" data-base="{base}">'
        f'<script type="application/json">{text}</script></div>'
    )


class _Page:
    """The page that is being rendered, as the site builder describes it; else addresses stay as written.

    ``name``: its source, from the root of the documentation; ``url``: its address, from the root of the site.
    """

    def __init__(self, md: Any) -> None:
        # MkDocs: the processor that makes relative links right has the page's file, and all others
        links = _processor(md, "treeprocessors", "relpath")
        # Zensical: the page, and the settings with the folder of the documentation
        context = _processor(md, "preprocessors", "rendering_context")
        page = getattr(links, "file", None) or getattr(context, "page", None)
        self.name = str(getattr(page, "src_uri", None) or getattr(page, "path", ""))
        self.url = str(getattr(page, "url", ""))
        self.files, self.settings = getattr(links, "files", None), getattr(context, "config", None)

    def address(self, url: str) -> str:
        if not self.name or url.startswith(ABSOLUTE):
            return url
        return relative(from_root(url, self.name, self._exists), self.url)

    def _exists(self, path: str) -> bool:
        if self.files is not None:
            return self.files.get_file_from_path(path) is not None
        root = self.settings.get("docs_dir") if isinstance(self.settings, dict) else None
        return root is None or Path(root, path).is_file()


def from_root(url: str, page: str, there: Callable[[str], bool]) -> str:
    """The address from the root of the documentation. Raises FenceError where no such file is ``there``."""
    folder = posixpath.dirname(page)
    if url == "./":
        return f"{folder}/" if folder else "./"
    tried = [posixpath.normpath(url.lstrip("/"))]
    if not url.startswith("/"):
        tried.insert(0, posixpath.normpath(posixpath.join(folder, url)))
    found = next((path for path in tried if there(path)), None)
    if found is None:
        names = " nor ".join(dict.fromkeys(tried))
        raise FenceError(f"{page}: no file {names} in the documentation for a vegalite fence")
    return found


def _processor(md: Any, kind: str, name: str) -> Any:
    """A processor of Python-Markdown by its name; None where there is none."""
    registry: Any = getattr(md, kind, None)
    if registry is None or name not in registry:
        return None
    return registry[name]


def relative(target: str, page: str) -> str:
    """The path from one page's address to a target, both from the root; ``a/b/`` is a page that is a folder."""
    folder = page if page.endswith("/") else posixpath.dirname(page)
    path = posixpath.relpath(target, folder or ".")
    return f"{path}/" if target.endswith("/") and not path.endswith("/") else path
