"""Runs a module as ``python -m`` does, without the current folder among what is imported (see ``as_module``)."""

import sys

if not getattr(sys.flags, "safe_path", False):
    del sys.path[0]  # the folder of this file, whose modules must stand in for no library either

from runpy import run_module

del sys.argv[0]
run_module(sys.argv[0], run_name="__main__", alter_sys=True)
