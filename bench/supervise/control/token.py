"""The secret of a job without MPI: a process that knows it may join.

It comes from the variable RAILGAUGE_TOKEN, or from a file that RAILGAUGE_TOKEN_FILE names and that only
its owner can read. It is never given on a command line (every user of a machine sees those), both variables are
taken out of the environment before anything else is started (the process that forks the workers, the workers, tools),
under every launcher, and it is never written into a run folder. What the launcher itself started keeps them where the
kernel shows them to this user alone.

Where all ranks are on one machine and no token was given, the first of them makes one, in a folder that
only this user can enter. Across machines nothing that a launcher hands out is a secret (torchrun's run id
and its store can be read by anybody who reaches them), so there a token must be given.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import math
import os
import secrets
import stat
import tempfile
from collections.abc import MutableMapping
from pathlib import Path

from bench.model.errors import RailGaugeError
from bench.model.late_dataclass import dataclass, field

VARIABLE, FILE = "RAILGAUGE_TOKEN", "RAILGAUGE_TOKEN_FILE"
SHORTEST, LONGEST = 16, 1024  # bytes
DIFFERENT = 8  # different bytes at least
BITS = 56.0  # of length times bits for each different byte, at least
ROUNDS = 200_000  # of SHA-256 for each guess at a token: about 0.04 s


class NoToken(RailGaugeError):
    """No usable token; the message says how to give one, and never holds one."""


@dataclass(frozen=True)
class TokenSource:
    """The token itself, or the name of a file that holds it; both may be ""."""

    text: str = field(default="", repr=False)
    file: str = ""

    def token(self) -> bytes | None:
        """The token, if any. Raises NoToken for one that is easy to guess, or a file that others can read."""
        if self.text:
            return _checked(os.fsencode(self.text), f"${VARIABLE}")
        return read(Path(self.file)) if self.file else None


def take(environment: MutableMapping[str, str]) -> TokenSource:
    """Take the token out of the environment, also where no process will need it.

    This comes before any process is started: a process shows its first environment in /proc/PID/environ until it ends.
    """
    return TokenSource(environment.pop(VARIABLE, ""), environment.pop(FILE, ""))


def read(path: Path) -> bytes:
    """The token in a file. Raises NoToken where it is missing, open to others, or not a plain file."""
    try:
        # a link is followed on purpose, a FIFO must not keep us waiting
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise NoToken(f"cannot read the token file {path}: {error.strerror}") from None
    try:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode):
            raise NoToken(f"the token file {path} is not a plain file")
        if about.st_uid not in (os.geteuid(), 0):
            raise NoToken(f"the token file {path} belongs to another user")
        if about.st_mode & 0o077:
            raise NoToken(f"the token file {path} can be read by others: chmod 600 {path}")
        return _checked(os.read(handle, LONGEST + 2), str(path))
    finally:
        os.close(handle)


def _checked(raw: bytes, where: str) -> bytes:
    token = raw.strip()
    if not SHORTEST <= len(token) <= LONGEST:
        raise NoToken(
            f"the token in {where} has {len(token) if len(token) <= LONGEST else 'too many'} bytes, wanted "
            f"{SHORTEST} to {LONGEST}; make one with: openssl rand -hex 32"
        )
    different = len(set(token))
    if different < DIFFERENT or len(token) * math.log2(different) < BITS:
        raise NoToken(
            f"the token in {where} is easy to guess: {len(token)} bytes, of which {different} are different; "
            "make one with: openssl rand -hex 32"
        )
    return token


@functools.lru_cache(maxsize=2)
def derived_key(token: bytes) -> bytes:
    """The key that a token stands for.

    A stranger who listens in rank 0's place receives a proof on which guesses at the token can be tried offline:
    each guess costs ROUNDS.
    """
    return hashlib.pbkdf2_hmac("sha256", token, b"railgauge", ROUNDS)


def make(path: Path) -> None:
    """Write a new token to ``path``, readable by its owner alone. Raises NoToken where it cannot, or exists."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise NoToken(f"cannot make the token file {path}: {error.strerror}") from None
    with os.fdopen(handle, "w") as file:
        file.write(secrets.token_hex(32) + "\n")


def _runtime_folder(users: Path = Path("/run/user")) -> Path:
    """This user's folder: the system's own where there is one, so that nobody can have taken its name before.

    It is not asked of the environment: two shells of one job could be told differently.
    """
    mine = users / str(os.geteuid())
    if _is_private(mine) and os.access(mine, os.W_OK):
        return mine / "railgauge"
    return Path(tempfile.gettempdir()) / f"railgauge-{os.geteuid()}"


def _is_private(folder: Path) -> bool:
    """Whether the folder is this user's, and nobody else can enter it."""
    try:
        about = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(about.st_mode) and about.st_uid == os.geteuid() and not about.st_mode & 0o077


def of_this_machine(job: str, folder: Path | None = None) -> Path:
    """The path of this user's token for ``job`` on this machine, made by whoever comes first.

    Raises NoToken where somebody else holds the folder.
    """
    home = folder or _runtime_folder()
    with contextlib.suppress(FileExistsError):
        home.mkdir(mode=0o700)
    if not _is_private(home):
        raise NoToken(
            f"{home} is not a folder of this user alone, so another user could read a token in it: have its owner or "
            f"root remove it, or set {VARIABLE} to a secret of your own (openssl rand -hex 32)"
        )
    path = home / f"{hashlib.sha256(job.encode()).hexdigest()[:24]}.token"
    if not path.exists():
        # made aside and linked: nobody can read half a token, and of two makers one wins
        aside = home / f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}"
        make(aside)
        try:
            with contextlib.suppress(FileExistsError):
                os.link(aside, path)
        finally:
            aside.unlink()
    return path
