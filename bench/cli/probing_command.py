"""Commands that look at machines and measure nothing: probe of a copy, explain, profiles new."""

from __future__ import annotations

import time
from pathlib import Path

import click

from bench.cli.terminal import summarise
from bench.judge.verdicts import judge, status
from bench.model.measurement import Rank
from bench.model.profile import load
from bench.model.verdict import EXIT
from bench.store import Manifest, of_facts


def probe_copy(root: Path, profile_name: str, verbose: bool) -> int:
    """The facts of a copied tree, and what the checks that need no measurement say of them."""
    from bench.cli.facts_table import table
    from bench.probe.node import probe

    profile = load(profile_name)
    node = probe(tree(root))
    click.echo(table([node], profile.rails)[0])
    ranks = tuple(Rank(i, node.name, i) for i in range(max(1, profile.gpus)))
    manifest = Manifest(
        id=root.name,
        started=0.0,
        command=(),
        profile_name=profile.name,
        profile_text=profile.text,
        launcher="none",
        backend="none",
        ranks=ranks,
    )
    run = judge(of_facts(root, manifest, node.to_json()), profile, early=True)
    summarise(run, verbose, short=True)
    return EXIT[status(run)]


def tree(folder: Path) -> Path:
    """``folder``, or the one below it that holds sys/: archives come with or without a top folder."""
    if not folder.is_dir():
        raise click.UsageError(f"no folder at {folder}")
    if (folder / "sys").exists() or (folder / "proc").exists():
        return folder
    inner = [path for path in folder.iterdir() if (path / "sys").exists()]
    return inner[0] if len(inner) == 1 else folder


def explained(
    spec: str, devices: str | None, root: Path | None, profile_name: str | None, sockets: bool
) -> int:
    """Print which devices a specification takes; the exit status."""
    from bench.nccl.explain import explain, explain_interfaces, explain_node, wanted_of
    from bench.nccl.selector import parse_devices
    from bench.probe.node import LIVE, probe

    rails = load(profile_name).rails if profile_name else None
    by_name = rails.interfaces if rails else ()
    if devices is not None:
        names = devices.replace(",", " ").split()
        if not names:
            raise click.UsageError("--devices names no device; write for example --devices 'mlx5_0 mlx5_1'")
        try:
            given = () if sockets else parse_devices(" ".join(names))
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        wanted = wanted_of(given, rails) if rails else ()
        answer = explain_interfaces(spec, names, by_name) if sockets else explain(spec, given, wanted)
    else:
        node = probe(tree(root) if root else LIVE)
        names = [interface.name for interface in node.interfaces]
        answer = explain_interfaces(spec, names, by_name) if sockets else explain_node(spec, node, rails)
    click.echo(answer.text)
    return EXIT[answer.status]


def drafted(name: str) -> str:
    """A profile drafted from this machine, for a person to fill in."""
    from bench.probe.node import probe
    from bench.probe.profile_draft import draft

    return draft(probe(), name, time.strftime("%Y-%m-%d"))
