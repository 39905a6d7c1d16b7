"""What a bare Python 3.10 has in pip alone: the reader of TOML. Nothing is installed."""

from __future__ import annotations

import importlib
import importlib.util
import sys

LENDERS = ("pip._vendor.tomli", "setuptools._vendor.tomli")


def tomli() -> bool:
    """Whether a profile can be read here; pip's own copy of tomli stands in where neither module is installed."""
    if any(importlib.util.find_spec(name) for name in ("tomllib", "tomli")):
        return True
    for name in LENDERS:
        try:
            sys.modules["tomli"] = importlib.import_module(name)
        except ImportError:
            continue
        return True
    return False
