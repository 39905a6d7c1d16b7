"""Runs a module as ``python -m`` does, without the current folder among what is imported (see ``as_module``)."""

import sys

if not getattr(sys.flags, "safe_path", False):
    del sys.path[0]  # the folder of this file, whose modules must stand in for no library either

from pathlib import Path
from runpy import run_module

tree = str(Path(__file__).parents[2])
if tree not in sys.path:  # a source tree that is not installed
    sys.path.insert(0, tree)
del sys.argv[0]
run_module(sys.argv[0], run_name="__main__", alter_sys=True)
