"""A folder of the user's whose modules are called as ours and as libraries, and tell when somebody imports them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MODULES = (
    *("bench/__init__.py", "bench/__main__.py", "reports/__init__.py"),
    *("torch.py", "signal.py", "numpy.py", "click.py"),
)


@dataclass(frozen=True)
class HostileFolder:
    """``place`` holds it, the script ``railgauge`` as pip writes it, and what was imported."""

    place: Path

    @property
    def script(self) -> Path:
        return self.place / "bin" / "railgauge"

    @property
    def path(self) -> Path:
        """Where the commands are typed."""
        return self.place / "theirs"

    @property
    def _imported(self) -> Path:
        return self.place / "imported"

    def write(self, python: str) -> None:
        self._imported.unlink(missing_ok=True)
        for name in MODULES:
            module = self.path / name
            module.parent.mkdir(parents=True, exist_ok=True)
            note = f"pathlib.Path({str(self._imported)!r}).write_text({name!r})"
            module.write_text(f"import os, pathlib\n{note}\nos._exit(0)\n")
        self.script.parent.mkdir(exist_ok=True)
        self.script.write_text(f"#!{python}\nimport sys\nfrom bench.__main__ import main\nsys.exit(main())\n")
        self.script.chmod(0o755)

    def imported(self) -> str:
        """A module that was imported, "" while none was."""
        return self._imported.read_text() if self._imported.exists() else ""
