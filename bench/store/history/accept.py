"""Accepted levels: who said when that a new level is meant, and why. One immutable JSON file each."""

from __future__ import annotations

import json
import math
import uuid
from dataclasses import asdict
from typing import Any

from bench.store.history.folder import ACCEPTED, HistoryError, Problem, day, found, open_folder, put, safe
from bench.store.history.nights import Acceptance

FORMAT = 1
_TEXTS = ("cluster", "who", "why", "collective", "size_class", "quantity")
_TIMES = ("since", "when")


def accept(history: str, acceptance: Acceptance) -> str:
    """Record an acceptance for good; the path of its file.

    Raises HistoryError without a who or a why: next year somebody will ask.
    """
    for name in ("who", "why"):
        if not getattr(acceptance, name).strip():
            raise HistoryError(f"an accepted level needs a {name}; give --{name}")
    name = f"{day(acceptance.when)}-{uuid.uuid4().hex[:12]}.json"
    try:
        content = json.dumps({"format": FORMAT, **asdict(acceptance)}, ensure_ascii=False, allow_nan=False)
        path = f"{ACCEPTED}/cluster={safe(acceptance.cluster)}/{name}"
        return put(open_folder(history), path, f"{content}\n".encode())
    except (UnicodeEncodeError, ValueError) as error:
        raise HistoryError(f"the acceptance cannot be stored: {error}") from error


def acceptances(
    history: str, cluster: str | None = None
) -> tuple[tuple[Acceptance, ...], tuple[Problem, ...]]:
    """The accepted levels, oldest first, and the files that are none."""
    folder = open_folder(history)
    under = ACCEPTED if cluster is None else f"{ACCEPTED}/cluster={safe(cluster)}"
    good, bad = [], []
    for path, _ in found(folder, under):
        try:
            acceptance = _parse(folder.files.cat_file(f"{folder.root}/{path}"))
        except (ValueError, OSError, RecursionError) as error:
            bad.append(Problem(path, f"not an accepted level: {folder.told(error)}"))
        else:
            good.append(acceptance)
    mine = [one for one in good if cluster is None or one.cluster == cluster]
    return tuple(sorted(mine, key=lambda one: (one.when, one.since))), tuple(bad)


def _parse(content: bytes) -> Acceptance:
    row: Any = json.loads(content)
    if not isinstance(row, dict) or row.get("format") != FORMAT:
        raise ValueError(f"not format {FORMAT}")
    for name in _TEXTS:
        if not isinstance(row.get(name), str):
            raise ValueError(f"no usable {name}")
    for name in _TIMES:
        value = row.get(name)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise ValueError(f"no usable {name}")
    return Acceptance(**{name: row[name] for name in (*_TEXTS, *_TIMES)})
