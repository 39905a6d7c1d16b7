"""What stands at the head of a report."""

from __future__ import annotations

from .late_dataclass import dataclass


@dataclass(frozen=True)
class Titles:
    """``titles.json``: what a person calls the cluster, and the site or the order, on every report."""

    title: str = ""
    site: str = ""
