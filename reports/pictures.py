"""Pictures of specifications, for places without Vega: SVG for light and dark pages, PNG on an opaque background.

Nothing is fetched: the data are inline.
"""

from __future__ import annotations

from typing import Any

import vl_convert

from .theme import INK, PAPER, config, config_of_colours, drawable, text_of

VEGA_LITE = "5.21"
STAND_INS = ("#0d0a01", "#0d0a02", "#0d0a03")  # for the colours of INK, in its order


def svg(spec: dict[str, Any], mode: str) -> str:
    """A picture without a background; ``mode``: light or dark."""
    return _svg(spec, config(mode))


def svgs(spec: dict[str, Any]) -> dict[str, str]:
    """Mode → picture, as ``svg`` draws them. Only the colours of their ink differ, so one is drawn."""
    text = text_of(spec)
    if any(colour in text for colour in STAND_INS):
        return {mode: svg(spec, mode) for mode in INK}
    drawn = _svg(spec, config_of_colours(STAND_INS))
    return {mode: _dyed(drawn, colours) for mode, colours in INK.items()}


def png(spec: dict[str, Any], mode: str) -> bytes:
    """A picture at twice its size on an opaque background, for places that take neither Vega nor SVG."""
    dressed = {**config(mode), "background": PAPER[mode]}
    picture: bytes = vl_convert.vegalite_to_png(
        drawable(spec), vl_version=VEGA_LITE, config=dressed, scale=2, allowed_base_urls=[]
    )
    return picture


def _svg(spec: dict[str, Any], dressed: dict[str, Any]) -> str:
    text: str = vl_convert.vegalite_to_svg(
        drawable(spec), vl_version=VEGA_LITE, config=dressed, allowed_base_urls=[]
    )
    return text


def _dyed(picture: str, colours: tuple[str, ...]) -> str:
    for stand_in, colour in zip(STAND_INS, colours, strict=True):
        picture = picture.replace(stand_in, colour)
    return picture
