"""Folders for what does not last: removed at the end, and where a process was killed, by the next start.

Each holds a file that its process keeps locked, so that whoever starts later can tell a folder in use from one whose
process is gone, in whatever container either of them is.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

PREFIX, LOCK = "railgauge-", ".lock"
SHARED_MEMORY = Path("/dev/shm")


@contextlib.contextmanager
def folder(place: Path | None = None) -> Iterator[Path]:
    """A folder of this process alone in ``place``, by default where temporary files go. It is gone afterwards."""
    place = place or Path(tempfile.gettempdir())
    sweep(place)
    made = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
    lock = os.open(made / f"{LOCK}.new", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        _is_free(lock)
        (made / f"{LOCK}.new").rename(made / LOCK)  # only now can somebody else look whether it is in use
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
        os.close(lock)


def sweep(place: Path) -> None:
    """Remove this user's folders in ``place`` whose process is gone."""
    for path in place.glob(f"{PREFIX}*/{LOCK}"):
        with contextlib.suppress(OSError):  # somebody else's, or another start was faster
            if path.parent.lstat().st_uid != os.geteuid():
                continue
            lock = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                if _is_free(lock):
                    shutil.rmtree(path.parent, ignore_errors=True)
            finally:
                os.close(lock)


def _is_free(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # held, or a file system without locks, where nobody can tell
        return False
    return True


@contextlib.contextmanager
def of_job() -> Iterator[dict[str, str]]:
    """Variables by which a job on this machine keeps its files in folders of ours, Open MPI's shared memory too."""
    shared = SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK) else None
    with folder() as temporary, folder(shared) as memory:
        backing = {f"OMPI_MCA_btl_{name}_backing_directory": str(memory) for name in ("sm", "vader")}
        yield {**backing, "TMPDIR": str(temporary)}
