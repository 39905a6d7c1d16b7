"""Builds the documentation site: hand-written pages, pages made from the program, sample reports. See ci/docs."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [
    str(path) for path in (HERE, ROOT, ROOT / "tests", ROOT / "tests" / "reports", ROOT / "ci" / "lab")
]

from maker.checks_page import checks_page  # noqa: E402
from maker.commands_page import commands_page  # noqa: E402
from maker.normal_page import normal_page  # noqa: E402
from maker.profiles_page import profiles_page  # noqa: E402
from maker.samples import write_samples  # noqa: E402
from maker.schema_page import schema_page  # noqa: E402
from netlab.acceptance import DEMO, run_name  # noqa: E402
from reports.scripts import docs_script, vega  # noqa: E402

MADE: dict[str, Callable[[], str]] = {
    "checks.md": checks_page,
    "normal.md": normal_page,
    "profiles.md": profiles_page,
    "run-folder.md": schema_page,
    "commands.md": commands_page,
}
# what a page links to in the source tree → where the site has it
OF_THE_SITE = {
    "../../bench/judge/checks": "checks.md",
    "../../bench/profiles": "profiles.md",
    "../../reports/accuracy.md": "accuracy.md",
    "../../reports/assets/report.png": "report.png",
    "../maker/samples.py": "samples.md",
}


def write_pages(pages: Path) -> None:
    """All but the samples: what is in docs/pages, and what the program says of itself."""
    shutil.rmtree(pages, ignore_errors=True)
    shutil.copytree(HERE / "pages", pages)
    for page in pages.glob("*.md"):
        text = page.read_text(encoding="utf-8")
        for source, name in OF_THE_SITE.items():
            text = text.replace(f"]({source}", f"]({name}")
        page.write_text(text, encoding="utf-8")
    for name, make in MADE.items():
        (pages / name).write_text(make(), encoding="utf-8")
    accuracy = (ROOT / "reports" / "accuracy.md").read_text(encoding="utf-8")
    # what it links to outside the site stays as words
    (pages / "accuracy.md").write_text(
        re.sub(r"\[([^\]]+)\]\(\.\./[^)]+\)", r"\1", accuracy), encoding="utf-8"
    )
    shutil.copyfile(ROOT / "reports" / "assets" / "report.png", pages / "report.png")
    (pages / "vegalite.js").write_text(docs_script(), encoding="utf-8")
    (pages / "vega.js").write_text(vega(), encoding="utf-8")


def measure(folder: Path) -> Path:
    """A run of this machine. Its verdict is shown as it is; a run that left no folder is an error."""
    shutil.rmtree(folder, ignore_errors=True)
    words = [sys.executable, "-m", "bench", "accept", "--profile", "local", "--ranks", "2", "--quiet"]
    subprocess.run([*words, "--out", str(folder)], cwd=ROOT, check=False)
    return folder


def lab_run(folder: Path) -> Path | None:
    """The faulty acceptance of ``ci/lab/net demo``; None for a user who may not make network namespaces.

    Raises CalledProcessError where the lab did not name its fault, or passed no healthy acceptance.
    """
    if os.geteuid() != 0:
        print(
            "docs: the site has no lab sample, since a lab needs root; next: sudo ci/docs, or --lab RUN",
            file=sys.stderr,
        )
        return None
    shutil.rmtree(folder, ignore_errors=True)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # mpirun lies beside the interpreter
    words = [sys.executable, ROOT / "ci" / "lab" / "net", "demo", "--out", folder]
    subprocess.run(words, cwd=ROOT, env={**os.environ, "PATH": path}, check=True)
    return folder / run_name(DEMO)


def build_site(pages: Path, site: Path) -> int:
    """Exit status of MkDocs; a warning is an error."""
    config = pages.parent / "mkdocs.yml"
    text = (HERE / "mkdocs.yml").read_text(encoding="utf-8")
    config.write_text(f"{text}docs_dir: {pages.name}\nsite_dir: {site}\n", encoding="utf-8")
    env = {**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", str(config)]
    return subprocess.run(command, env=env, check=False).returncode


def main() -> int:
    """Write the pages and build the site; the exit status."""
    parser = argparse.ArgumentParser(prog="ci/docs", description="Build the documentation site of RailGauge.")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "build" / "docs", help="folder; the site is OUT/site"
    )
    parser.add_argument("--nodes", type=int, default=64, help="nodes of the simulated cluster (default: 64)")
    parser.add_argument(
        "--measured", type=Path, help="run folder of a real machine (default: measure this one)"
    )
    parser.add_argument(
        "--lab",
        type=Path,
        help="run folder of a lab, such as sudo ci/lab/net demo leaves (default: root runs that lab, two minutes; of "
        "other users the site has no lab sample)",
    )
    given = parser.parse_args()
    out = given.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    pages, site = out / "pages", out / "site"
    write_pages(pages)
    lab = given.lab or lab_run(out / "lab")
    write_samples(pages, given.nodes, given.measured or measure(out / "local"), lab)
    status = build_site(pages, site)
    if status == 0:
        print(f"docs: {site / 'index.html'}")
    return status


if __name__ == "__main__":
    sys.exit(main())
