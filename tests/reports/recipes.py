"""The recipes of a page of documentation: their files and commands, word by word."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^(?P<ticks>`{3,})(?P<info>[^\n]*)\n(?P<text>.*?)^(?P=ticks)$", re.M | re.S)


@dataclass(frozen=True)
class Recipe:
    """What a person does below one heading: files to write, lines to type."""

    files: dict[str, str]
    lines: tuple[str, ...]

    @property
    def packages(self) -> list[str]:
        """What ``pip install`` is told to install."""
        return [word for line in self.lines if line.startswith("pip install ") for word in line.split()[2:]]

    def follow(self, folder: Path, run: Path) -> None:
        """Do as the recipe says in an empty folder. ``run`` stands for RUN; what pip would install is there already."""
        for name, text in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        # the checkout stands for an installed RailGauge
        env = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
        for line in self.lines:
            if line.startswith("pip install "):
                continue
            words = re.sub(r"\bRUN\b", str(run), line)
            done = subprocess.run(
                words, shell=True, cwd=folder, env=env, capture_output=True, text=True, timeout=300
            )
            assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"


def recipe(page: str, heading: str) -> Recipe:
    """The recipe below a heading of the second level."""
    (text,) = re.findall(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", page, re.M | re.S)
    files, lines = {}, []
    for fence in _FENCE.finditer(text):
        title = re.search(r'title="([^"]+)"', fence["info"])
        if title:
            files[title[1]] = fence["text"]
        elif fence["info"].strip() == "sh":
            lines += fence["text"].splitlines()
    return Recipe(files, tuple(lines))
