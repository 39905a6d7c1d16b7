"""The page of profiles: every bound with its source, from the TOML files that RailGauge reads."""

from __future__ import annotations

from collections.abc import Iterator

from bench.model.profile import Bound, Limit, Profile, load, names
from bench.model.units import show_size

from .markdown import table, text


def profiles_page() -> str:
    """Each profile, what it wants, and who says so."""
    lines = [
        "# The profiles",
        "A profile says what a platform should be. It is one TOML file; each bound stands beside its source, its date "
        "and how sure it is: `published` by somebody who measured or built it, `stated` in a contract or product page, "
        "`derived` from such figures by us.",
        "    railgauge profiles                              # this list\n"
        "    railgauge profiles lambda-1cc-h100              # the file itself\n"
        "    railgauge profiles new my-cluster > my-cluster.toml   # a first version, drafted on a real node",
    ]
    for name in names():
        lines += _one(load(name))
    return "\n\n".join(lines) + "\n"


def _one(profile: Profile) -> Iterator[str]:
    yield f"## `{profile.name}`"
    yield f"{text(profile.title)}. Source: {text(profile.source)}."
    rails = profile.rails
    if rails.kind != "none":
        out = f", without {', '.join(f'`{name}`' for name in rails.excluded)}" if rails.excluded else ""
        gpus = f"{profile.gpus or 'any number of'} GPUs a node"
        yield f"{rails.count or 'Any number of'} rails ({rails.kind}){out}; {gpus}."
    rows = list(_bounds(profile))
    if rows:
        yield table(("what", "at least", "source", "since", "confidence"), rows)
    if profile.environment:
        yield "Environment of the workers: " + ", ".join(
            f"`{key}={value}`" for key, value in profile.environment.items()
        )


def _bounds(profile: Profile) -> Iterator[tuple[str, ...]]:
    for words, bound in (
        ("rate of a rail", profile.rails.rate),
        ("rails of a node together", profile.rails.target),
        ("NVLink of a GPU, each way", profile.nvlink),
        ("all_reduce on one healthy node", profile.alone),
        ("share of the ceiling, where no bound speaks", profile.share_of_ceiling),
        ("copies from and to the host", profile.host_copies),
        ("power that a GPU is meant to draw at most", profile.power_limit),
    ):
        if bound is not None:
            yield _row(words, bound)
    for limit in profile.limits:
        yield _row(_words(limit), limit.bound)


def _row(words: str, bound: Bound) -> tuple[str, ...]:
    return text(words), text(bound.text), text(bound.source), bound.date, bound.confidence


def _words(limit: Limit) -> str:
    least, most = limit.nodes
    sizes = " to ".join(dict.fromkeys(show_size(size) for size in limit.size))
    how = f" by {limit.algorithm}" if limit.algorithm not in ("", "auto") else ""
    nodes = f"{least}" if least == most else f"{least} to {most}"
    return f"{limit.collective}, {limit.quantity}{how}, {nodes} nodes, {sizes}"
