"""gpu-check: a table of items, each seen working, not possible here (why), or failed.

    ci/gpu-check [--out DIR] [--seconds 460] [--nccl-tests DIR] [--only WORD] [--rehearse]

``--rehearse`` plays the whole of it on CPUs with gloo where NCCL would be: it tests this program and proves
nothing about GPUs, so it ends with 3 as a machine without a GPU does.
"""

from __future__ import annotations

import argparse
import json
import platform
import signal
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import items
from gpu_said import Said
from here import FAILED, NOT_POSSIBLE, SEEN, Here, NotPossible, look

EXIT_OK, EXIT_FAILED, EXIT_NO_GPU = 0, 1, 3
SECONDS = 460.0  # in all: jobs have time to match, and more where more is given
RESERVE = 5.0  # seconds that the summary takes


@dataclass(frozen=True)
class Outcome:
    """One line of the summary."""

    item: str
    status: str
    text: str
    seconds: float
    details: dict[str, Any] = field(default_factory=dict)


def main() -> int:
    asked = _arguments()
    begun = time.monotonic()
    here, reason = look(asked.out, begun + asked.seconds - RESERVE, asked.rehearse, asked.nccl_tests)
    here.only, here.patience = asked.only, max(1.0, asked.seconds / SECONDS)
    if reason:
        print(f"gpu-check: {reason}")
        return EXIT_NO_GPU
    print(f"gpu-check: {here.title}; artefacts in {here.out}", flush=True)
    outcomes: list[Outcome] = []
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: the archive is still packed
    try:
        for outcome in _outcomes(here):
            outcomes.append(outcome)
            # after each: whoever ends us has what was seen so far
            _write(here, outcomes, time.monotonic() - begun)
    finally:
        print(f"everything in one file: {_packed(here.out)}", flush=True)
    counts = {
        status: sum(each.status == status for each in outcomes) for status in (SEEN, NOT_POSSIBLE, FAILED)
    }
    spent = time.monotonic() - begun
    print("\n" + ", ".join(f"{count} {status}" for status, count in counts.items()) + f"; {spent:.0f} s")
    if here.rehearsal:
        print("a rehearsal on CPUs: nothing was shown about GPUs")
        return EXIT_NO_GPU
    return EXIT_FAILED if counts[FAILED] or not counts[SEEN] else EXIT_OK


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="gpu-check", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--out", type=Path, default=Path("gpu-check"), help="folder for logs and summary.json"
    )
    parser.add_argument("--seconds", type=float, default=SECONDS, help="in all; what does not fit is named")
    parser.add_argument("--nccl-tests", type=Path, help="folder of built nccl-tests (all_reduce_perf)")
    parser.add_argument("--only", default="", help="items whose name contains this, such as stops")
    parser.add_argument("--rehearse", action="store_true", help="on CPUs with gloo: a test of this program")
    return parser.parse_args()


def _outcomes(here: Here) -> Iterator[Outcome]:
    for name, item in items.ITEMS:
        if here.only not in name:
            continue
        begun = time.monotonic()
        status, text, details = _one(here, item)
        outcome = Outcome(name, status, text, round(time.monotonic() - begun, 1), details)
        print(f"{outcome.status:>18}  {name}: {text}", flush=True)
        yield outcome


def _one(here: Here, item: Callable[[Here], Said]) -> tuple[str, str, dict[str, Any]]:
    """An item's answer; one that breaks has failed, and the others go on: hence the broad except."""
    if here.left() < 1.0:
        return FAILED, "no time was left for it: give more --seconds", {}
    try:
        said = item(here)
    except NotPossible as error:
        return NOT_POSSIBLE, str(error), {}
    except Exception as error:
        import traceback

        with (here.out / "broken.log").open("a", encoding="utf-8") as log:
            log.write(traceback.format_exc())
        return FAILED, f"broke: {type(error).__name__}: {str(error)[:300]} (broken.log)", {}
    return said.status, said.text, said.details


def _write(here: Here, outcomes: list[Outcome], seconds: float) -> None:
    summary = {
        "machine": here.title,
        "rehearsal": here.rehearsal,
        "python": platform.python_version(),
        "seconds": round(seconds, 1),
        "items": [asdict(each) for each in outcomes],
    }
    (here.out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")


def _packed(out: Path) -> Path:
    """``out`` in one archive beside it."""
    archive = out.with_name(f"{out.name}.tar.gz")
    with tarfile.open(archive, "w:gz") as file:
        file.add(out, out.name)
    return archive


if __name__ == "__main__":
    sys.exit(main())
