"""What a person asks of a night."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Nightly:
    """A folder or URL of nights, the name of the cluster in it ("" finds one), seconds.

    ``new``: a person says that there were no nights before, or that those that were are meant to be gone.
    """

    history: str
    cluster: str = ""
    budget: float = 600.0
    new: bool = False
