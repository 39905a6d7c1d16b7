"""Accepted levels: who accepted which new level, when and why. One immutable JSON file each."""

from __future__ import annotations

import uuid

from bench.model.typed_json import encode, load, parse, to_json
from bench.store.history.location import (
    ACCEPTED,
    HistoryError,
    LeftOutFile,
    day,
    found,
    open_folder,
    put,
    safe,
    unreadable,
)
from bench.store.history.nights import Acceptance

FORMAT = 1


def accept(history: str, acceptance: Acceptance) -> str:
    """Record an acceptance for good; the path of its file.

    Raises HistoryError without a who or a why: next year somebody will ask.
    """
    for name in ("who", "why"):
        if not getattr(acceptance, name).strip():
            raise HistoryError(f"an accepted level needs a {name}; give --{name}")
    path = (
        f"{ACCEPTED}/cluster={safe(acceptance.cluster)}/{day(acceptance.when)}-{uuid.uuid4().hex[:12]}.json"
    )
    content = encode({"format": FORMAT, **to_json(acceptance)})
    try:
        whole = _parse(content) == acceptance
    except ValueError as error:
        raise HistoryError(f"the acceptance cannot be stored: {error}") from error
    if not whole:
        raise HistoryError("the acceptance cannot be stored: a text in it is not valid Unicode")
    return put(open_folder(history), path, content + b"\n")


def acceptances(
    history: str, cluster: str | None = None
) -> tuple[tuple[Acceptance, ...], tuple[LeftOutFile, ...]]:
    """The accepted levels, oldest first, and the files that hold none."""
    folder = open_folder(history)
    under = ACCEPTED if cluster is None else f"{ACCEPTED}/cluster={safe(cluster)}"
    good, bad = [], []
    for path, size in found(folder, under):
        try:
            if why := unreadable(size):
                raise ValueError(why)
            acceptance = _parse(folder.files.cat_file(f"{folder.root}/{path}"))
        except (ValueError, OSError) as error:
            bad.append(LeftOutFile(path, f"not an accepted level: {folder.in_one_line(error)}"))
        else:
            good.append(acceptance)
    mine = [one for one in good if cluster is None or one.cluster == cluster]
    return tuple(sorted(mine, key=lambda one: (one.when, one.since))), tuple(bad)


def _parse(content: bytes) -> Acceptance:
    row = parse(content)
    if not isinstance(row, dict) or row.get("format") != FORMAT:
        raise ValueError(f"not format {FORMAT}")
    return load(Acceptance, row)
