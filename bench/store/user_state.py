"""What is kept of this user between two commands: a key, and what the last gate saw."""

from __future__ import annotations

import os
from pathlib import Path


def state_folder() -> Path | None:
    """``$XDG_STATE_HOME/railgauge``, by default in ``~/.local/state``; None for a user without a home."""
    named = os.environ.get("XDG_STATE_HOME", "")
    try:
        base = Path(named) if Path(named).is_absolute() else Path.home() / ".local" / "state"
    except RuntimeError:
        return None
    return base / "railgauge"
