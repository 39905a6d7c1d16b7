"""Imported by Python's start (a ``.pth`` file in the lab's own environment): switches the paper GPU on with torch.

It waits until ``torch.distributed`` was imported, which is the last part of ``import torch``.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType


class AfterTorch(importlib.abc.MetaPathFinder):
    """Finds ``torch.distributed`` as usual, and has the paper GPU switched on after it was executed."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != "torch.distributed" or self not in sys.meta_path:
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def execute_and_switch_on(module: ModuleType) -> None:
            execute(module)
            import dispatch

            dispatch.on()

        spec.loader.exec_module = execute_and_switch_on  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, AfterTorch())
