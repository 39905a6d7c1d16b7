"""What ``railgauge gate`` keeps of one node, so that errors between two gates are seen."""

from __future__ import annotations

import os
from pathlib import Path

from bench.model.counters import Snapshot
from bench.model.late_dataclass import dataclass
from bench.model.typed_json import decode, encode

from .files import RunError, read_file, write_file
from .user_state import state_folder

FOR_ROOT = Path("/var/lib/railgauge")  # a prolog and a systemd unit run as root, often without a home
FORMAT = 1


@dataclass(frozen=True)
class GateState:
    """The counters of a node when a gate last found no error in them.

    machine    of which boot they are: after another boot all counters begin again
    """

    node: str
    machine: str
    counters: Snapshot
    format: int = FORMAT


def usual_file() -> Path | None:
    """``/var/lib/railgauge/gate.json`` for root, else ``gate.json`` in the user's state folder."""
    folder = FOR_ROOT if os.geteuid() == 0 else state_folder()
    return folder / "gate.json" if folder else None


def read_state(path: Path) -> GateState | None:
    """The state that the last gate kept; None before any. Raises RunError, also for a damaged file."""
    try:
        owner = path.lstat().st_uid
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}") from None
    if owner not in (os.geteuid(), 0):
        raise RunError(
            f"{path} belongs to another user, who could hide errors by it: give another with --state"
        )
    try:
        state = decode(GateState, read_file(path.parent, path.name))
    except ValueError as error:
        raise RunError(f"{path} is damaged ({error}); remove it, then run the gate again") from None
    if state.format != FORMAT:
        raise RunError(
            f"{path} has format {state.format}, this RailGauge reads {FORMAT}: give another with --state, or upgrade"
        )
    return state


def save_state(path: Path, state: GateState) -> None:
    """Replace the file as a whole, in a folder that is made if it is missing. Raises RunError."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot make {path.parent}: {error.strerror}") from None
    write_file(path.parent, path.name, encode(state) + b"\n")
