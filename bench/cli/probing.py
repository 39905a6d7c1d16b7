"""probe, explain, profiles: the commands that look at machines and measure nothing."""

from __future__ import annotations

import time
from pathlib import Path

import click

from bench.model.errors import EXIT_HELP

from .invocation import Invocation, Measuring
from .json_output import JSON, print_json
from .measuring import measure
from .option_types import GPUS, PATH, VERDICTS, SharedOptions, option, out_option, profile_option


@click.command(cls=Measuring, epilog=EXIT_HELP)
@profile_option("Judge what needs no measurement by this profile")
@out_option("probe")
@GPUS
@option("--root DIR", "Read this copy of a machine's /sys and /proc instead; no run folder is written", PATH)
@VERDICTS
@JSON
def probe(
    profile_name: str, out: Path | None, gpus: int | None, root: Path | None, verbose: bool, as_json: bool
) -> Invocation:
    """Show the hardware, versions and settings of every node.

    \b
        railgauge probe
        mpirun -n 8 --map-by ppr:1:node --host node1,node2,... railgauge probe --profile lambda-1cc-h100
    """
    shared = SharedOptions(profile_name, out, gpus=gpus, verbose=verbose)
    return Invocation("probe", shared, _probe_copy if root else measure, folder=root, as_json=as_json)


def _probe_copy(typed: Invocation) -> int:
    """Print the facts of a copied tree and the verdicts that need no measurement."""
    from bench.judge.verdicts import judge, status
    from bench.model.measurement import Rank
    from bench.model.profile import load
    from bench.model.verdict import EXIT
    from bench.probe.node import probe
    from bench.store import Manifest, Settings, of_facts

    from .facts_table import table
    from .start import check_order
    from .terminal import summarise

    root = typed.folder
    assert root is not None
    profile = load(typed.shared.profile_name)
    check_order(profile, typed.shared.gpus)
    node = probe(tree(root))
    manifest = Manifest(
        id=root.name,
        started=0.0,
        command=(),
        profile_name=profile.name,
        profile_text=profile.text,
        launcher="none",
        backend="none",
        ranks=tuple(Rank(i, node.name, i) for i in range(max(1, profile.gpus))),
        settings=Settings(gpus=typed.shared.gpus),
    )
    judged = judge(of_facts(root, manifest, node), profile, facts_only=True)
    if typed.as_json:
        from .answers import probe_answer

        print_json(probe_answer(judged, (node,), root))
    else:
        click.echo(table([node], judged.rails)[0])
        summarise(judged, typed.shared.verbose, short=True)
    return EXIT[status(judged)]


def tree(folder: Path) -> Path:
    """``folder``, or the one below it that holds sys/: archives come with or without a top folder."""
    if not folder.is_dir():
        raise click.UsageError(f"no folder at {folder}")
    if (folder / "sys").exists() or (folder / "proc").exists():
        return folder
    inner = [path for path in folder.iterdir() if (path / "sys").exists()]
    return inner[0] if len(inner) == 1 else folder


@click.command(
    epilog="Exit status: 0 nothing is odd, 1 something is (a trap; sockets in place of RDMA), 2 wrong usage, "
    "3 there is no device to explain, or the log does not tell enough."
)
@click.argument("spec_or_logs", metavar="SPEC|LOG...", nargs=-1, required=True)
@click.option(
    "--devices", metavar="'mlx5_0 mlx5_1:1+2'", help="Use these HCAs (and ports) instead of this machine's"
)
@option("--root DIR", "Use the HCAs of this copy of a machine's /sys", PATH)
@profile_option("Compare with this profile", None)
@option("--sockets", "SPEC is NCCL_SOCKET_IFNAME, not NCCL_IB_HCA", bool)
@JSON
def explain(
    spec_or_logs: tuple[str, ...],
    devices: str | None,
    root: Path | None,
    profile_name: str | None,
    sockets: bool,
    as_json: bool,
) -> int:
    """Show which HCAs NCCL_IB_HCA=SPEC selects, or what NCCL's LOG tells.

    Files are logs: which network, HCAs and GPUDirect RDMA each rank uses, what
    NCCL warned of, and what would change it. They may hold many ranks and any
    launcher's prefixes, or be compressed by gzip; - is standard input.

    \b
        railgauge explain '^=mlx5_0'
        railgauge explain '^mlx5_1' --devices 'mlx5_0 mlx5_1 mlx5_10 mlx5_11'
        railgauge explain nccl.*.log --profile lambda-1cc-h100
        kubectl logs my-pod | railgauge explain -
    """
    if all(name == "-" or _may_be_log(Path(name)) for name in spec_or_logs):
        if devices is not None or root or sockets:
            raise click.UsageError(
                "--devices, --root and --sockets belong to a SPEC, and were given with a log"
            )
        from .explaining_log import explain_logs

        return explain_logs(spec_or_logs, profile_name, as_json)
    if len(spec_or_logs) > 1:
        gone = ", ".join(name for name in spec_or_logs if name != "-" and not _may_be_log(Path(name)))
        raise click.UsageError(f"no file at {gone}; give one SPEC, or logs alone")
    spec = spec_or_logs[0]
    if "/" in spec or spec.endswith(_OF_LOGS):  # neither HCAs nor interfaces are called so
        raise click.UsageError(
            f"no file at {spec}" if not Path(spec).is_dir() else f"{spec} is a folder: give its logs"
        )
    from bench.model.discovered_rails import at_hand
    from bench.model.profile import load
    from bench.model.verdict import EXIT
    from bench.nccl.explain import explain, explain_interfaces, explain_node, wanted_of
    from bench.nccl.selector import parse_devices
    from bench.probe.node import probe
    from bench.probe.sysfs import LIVE

    profile = load(profile_name) if profile_name else None
    node = None if devices is not None else probe(tree(root) if root else LIVE)
    rails = at_hand(profile, [node] if node else []).rails if profile else None
    by_name = rails.interfaces if rails else ()
    if node is None:
        assert devices is not None
        names = devices.replace(",", " ").split()
        if not names:
            raise click.UsageError("--devices names no device; write for example --devices 'mlx5_0 mlx5_1'")
        given = () if sockets else parse_devices(" ".join(names))
        wanted = wanted_of(given, rails) if rails else ()
        answer = explain_interfaces(spec, names, by_name) if sockets else explain(spec, given, wanted)
    else:
        names = [interface.name for interface in node.interfaces]
        here = (spec, names, by_name, node.name)
        answer = explain_interfaces(*here) if sockets else explain_node(spec, node, rails)
    if as_json:
        print_json(answer.answer)
    else:
        click.echo(answer.text)
    return EXIT[answer.status]


_OF_LOGS = (".log", ".txt", ".out", ".err", ".gz")


def _may_be_log(path: Path) -> bool:
    return path.exists() and not path.is_dir()


@click.command()
@click.argument("name", required=False)
@click.argument("title", required=False, metavar="[NEW_NAME]")
def profiles(name: str | None, title: str | None) -> None:
    """List profiles, print one, or draft one from this machine.

    \b
        railgauge profiles
        railgauge profiles lambda-1cc-h100
        railgauge profiles new my-cluster > my-cluster.toml
    """
    from bench.model.profile import load, names

    if name == "new":
        from bench.probe.node import probe
        from bench.probe.profile_draft import draft

        click.echo(draft(probe(), title or "my-cluster", time.strftime("%Y-%m-%d")), nl=False)
    elif name:
        click.echo(load(name).text, nl=False)
    else:
        for known in names():
            click.echo(f"{known:24} {load(known).title}")
