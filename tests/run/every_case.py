"""Every collective × element type × reduction × placement on real ranks, once; started under mpirun by a test."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from bench.cli.terminal import Terminal
from bench.launch import launch_context
from bench.measure.loop import TimingRules
from bench.model.collectives import COLLECTIVES
from bench.model.elements import ELEMENTS, REDUCTIONS
from bench.model.profile import load
from bench.plan import Request
from bench.run.join import take_part
from bench.run.options import Options


def sweeps() -> tuple[Request, ...]:
    return tuple(
        Request(row.name, size, size, dtype=kind.name, op=op.name, root=root, placements=row.placements)
        for row in COLLECTIVES.values()
        for kind in ELEMENTS.values()
        for op in (REDUCTIONS.values() if row.reduces else (REDUCTIONS["sum"],))
        if kind.floating or not op.floating_only
        for root in ((0, 2) if row.rooted else (0,))
        for size in (4096,)
    )


if __name__ == "__main__":
    options = Options(
        profile=load("local"),
        out=Path(sys.argv[1]),
        command=("railgauge", "run"),
        rules=TimingRules(iterations=1, warmup=1),
        sweeps=sweeps(),
    )
    sys.exit(take_part(options, launch_context(os.environ), Terminal(quiet=True)))
