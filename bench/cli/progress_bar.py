"""The progress bar of a run: the case that is measured, how many cases are done, elapsed and remaining time."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from bench.model.printable import plain
from bench.model.units import show_seconds

if TYPE_CHECKING:
    from .live_table import LiveTable

WIDEST = 70


class ProgressBar:
    """A bar on standard error, drawn by rich; text that is printed meanwhile passes above it."""

    def __init__(self, table: LiveTable | None = None) -> None:
        """``table``: drawn above the bar; it may be given later."""
        self.table, outer = table, self
        from rich.console import Console, Group, RenderableType
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        class WithTable(Progress):
            def get_renderable(self) -> RenderableType:
                bar = super().get_renderable()
                return Group(outer.table.render(), bar) if outer.table else bar

        self._progress = WithTable(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[count]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=Console(file=sys.__stderr__),  # its own sequences are to be obeyed
            transient=True,
        )
        self._task = self._progress.add_task("starting", total=None, count="", left="")

    def start(self) -> None:
        """Draw it; a second call changes nothing."""
        if not self._progress.live.is_started:
            self._progress.start()

    def stop(self) -> None:
        """Take it away."""
        self._progress.stop()

    def update(self, what: str, done: int, planned: int, left: float) -> None:
        """``done`` of ``planned`` cases, both 0 while there is no plan; ``left``: seconds at most, 0 unknown."""
        self._progress.update(
            self._task,
            description=plain(what)[:WIDEST],
            completed=done,
            total=planned or None,
            count=f"{done}/{planned}" if planned else "",
            left=f"at most {show_seconds(left)} left" if left else "",
        )

    def print(self, text: str) -> None:
        """A line above the bar."""
        console: Any = self._progress.console
        console.print(plain(text), markup=False, highlight=False, soft_wrap=True)
